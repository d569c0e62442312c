//! The operators' listener: plain HTTP on loopback.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use arc_swap::ArcSwap;
use serde_json::json;

use crate::core_banking::CoreBanking;
use crate::identity::Licences;
use crate::store::Database;
use crate::telemetry::metrics::{MEDIA_TYPE, Metrics};
use crate::transport::keeper::Report;
use crate::transport::listener::Door;

pub(crate) struct Health {
    pub(crate) database: Database,
    pub(crate) core: Arc<dyn CoreBanking>,
    pub(crate) trust: Arc<ArcSwap<Report>>,
    pub(crate) metrics: Metrics,
    /// Each by the name of its listener.
    pub(crate) doors: Vec<(&'static str, Door<Licences>)>,
}

pub(crate) fn configure(app: &mut web::ServiceConfig) {
    app.route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
}

/// The process runs.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Requests can be answered: the database and the core banking system do, and peers can come in. A replacement that was
/// refused is told, and is no reason to take the bank out of service: it goes on with what it had. A bank that is about to
/// stop still answers, and is no longer ready: whoever spreads requests sends them elsewhere.
async fn ready(health: web::Data<Health>) -> HttpResponse {
    let store = health
        .database
        .ready()
        .await
        .map_err(|error| error.to_string());
    let core = health.core.ready().await.map_err(|error| error.to_string());
    let name = |outcome: &Result<(), String>| match outcome {
        Ok(()) => "ready".to_owned(),
        Err(problem) => problem.clone(),
    };
    let trust = health.trust.load();
    let problems: Vec<String> = trust.problems.iter().map(ToString::to_string).collect();
    let closed = if trust.closed { "closed" } else { "ready" };
    let stopping = health.doors.iter().any(|(_, door)| door.is_leaving());
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

/// Figures for Prometheus.
async fn metrics(health: web::Data<Health>) -> HttpResponse {
    match health.metrics.text() {
        Ok(text) => HttpResponse::Ok().content_type(MEDIA_TYPE).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
