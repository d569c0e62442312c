//! The operators' listener: plain HTTP on loopback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::json;
use tokio::time::timeout;

use crate::core_banking::CoreBanking;
use crate::http::resource;
use crate::identity::Licences;
use crate::store::Database;
use crate::telemetry::metrics::{MEDIA_TYPE, Metrics};
use crate::transport::listener::MtlsListener;
use crate::transport::trust_reloader::Report;

pub(crate) struct Health {
    pub(crate) database: Database,
    pub(crate) core: Arc<dyn CoreBanking>,
    pub(crate) trust: Arc<ArcSwap<Report>>,
    pub(crate) metrics: Metrics,
    /// Each by the name of its listener.
    pub(crate) doors: Vec<(&'static str, MtlsListener<Licences>)>,
    pub(crate) questions: Questions,
}

/// When somebody last asked whether the bank is ready. Cheap to clone: all clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Questions(Arc<ArcSwapOption<Instant>>);

impl Questions {
    /// Whether somebody asks again and again, to send requests where they are answered. Nobody who does waits for longer.
    pub(crate) fn come(&self) -> bool {
        const LATELY: Duration = Duration::from_secs(30);

        let last = self.0.load();
        last.as_ref().is_some_and(|last| last.elapsed() < LATELY)
    }
}

/// Who asks each second or two wants an answer before the next question.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/health/live").get(live))
        .service(resource("/health/ready").get(ready))
        .service(resource("/metrics").get(metrics));
}

/// The process runs.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Requests can be answered: the database and the core banking system do, and peers can come in. A replacement that was
/// refused is told, and is no reason to take the bank out of service: it goes on with what it had. A bank that is about to
/// stop still answers, and is no longer ready: whoever spreads requests sends them elsewhere.
async fn ready(health: web::Data<Health>) -> HttpResponse {
    health.questions.0.store(Some(Arc::new(Instant::now())));
    let (store, core) = tokio::join!(
        in_time(health.database.ready()),
        in_time(health.core.ready())
    );
    let name = |outcome: &Result<(), String>| match outcome {
        Ok(()) => "ready".to_owned(),
        Err(problem) => problem.clone(),
    };
    let trust = health.trust.load();
    let problems: Vec<String> = trust.problems.iter().map(ToString::to_string).collect();
    let closed = if trust.closed { "closed" } else { "ready" };
    let stopping = health.doors.iter().any(|(_, door)| door.is_draining());
    let body = json!({
        "store": name(&store),
        "coreBanking": name(&core),
        "trust": closed,
        "problems": problems,
        "stopping": stopping,
    });
    if store.is_ok() && core.is_ok() && !trust.closed && !stopping {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

async fn in_time<E: ToString>(answer: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match timeout(PATIENCE, answer).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Figures for Prometheus.
async fn metrics(health: web::Data<Health>) -> HttpResponse {
    match health.metrics.text() {
        Ok(text) => HttpResponse::Ok().content_type(MEDIA_TYPE).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
