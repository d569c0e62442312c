//! Operator endpoints: health and metrics over plain HTTP on loopback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use arc_swap::{ArcSwap, ArcSwapOption};
use serde_json::json;
use shared_types::pki::credentials::Credentials;
use tokio::time::timeout;

use crate::bank_service::BankService;
use crate::config_error::ConfigError;
use crate::core_banking::CoreBanking;
use crate::http::resource;
use crate::identity::Licences;
use crate::identity_provider::IdentityProvider;
use crate::metrics::{MEDIA_TYPE, Metrics};
use crate::sca::Sca;
use crate::store::Database;
use crate::transport::listener::MtlsListener;
use crate::transport::trust_reloader::TrustReport;

pub(crate) struct Health {
    pub(crate) database: Database,
    pub(crate) core: Arc<dyn CoreBanking>,
    pub(crate) sca: Sca,
    /// The HTTP services of the bank's own: for problems of their certificates.
    pub(crate) services: Vec<Arc<BankService>>,
    pub(crate) identity_provider: Option<IdentityProvider>,
    pub(crate) trust: Arc<ArcSwap<TrustReport>>,
    pub(crate) metrics: Metrics,
    /// Certificate and key of online banking, if it has its own.
    pub(crate) pages: Option<Credentials>,
    /// Each by the name of its listener.
    pub(crate) listeners: Vec<(&'static str, Arc<MtlsListener<Licences>>)>,
    pub(crate) probes: ReadinessProbes,
}

/// Time of the latest readiness probe. Cheap to clone: all clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadinessProbes(Arc<ArcSwapOption<Instant>>);

impl ReadinessProbes {
    /// Whether a load balancer probes readiness periodically. Its interval is at most this window.
    pub(crate) fn is_active(&self) -> bool {
        const WINDOW: Duration = Duration::from_secs(30);

        let last = self.0.load();
        last.as_ref().is_some_and(|last| last.elapsed() < WINDOW)
    }
}

/// Time limit of a check: load balancers probe every second or two.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/health/live").get(live))
        .service(resource("/health/ready").get(ready))
        .service(resource("/metrics").get(metrics));
}

/// Liveness: the process runs.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "live" }))
}

/// Readiness: the database responds, and peers can connect. A core banking system, an identity
/// provider or an SCA methods service that does not respond is reported, but does not take the bank
/// out of service: all replicas have the same ones, and the rest works without them. Neither does a rejected reload:
/// the bank continues with the previous value. A bank that is shutting down still responds, and is
/// no longer ready, so that load balancers send requests elsewhere.
async fn ready(health: web::Data<Health>) -> HttpResponse {
    health.probes.0.store(Some(Arc::new(Instant::now())));
    let identity_provider = async {
        let provider = health.identity_provider.as_ref()?;
        Some(with_timeout(provider.ready()).await)
    };
    let sca_methods = async {
        let methods = health.sca.external()?;
        Some(with_timeout(methods.ready()).await)
    };
    let (store, core, identity_provider, sca_methods) = tokio::join!(
        with_timeout(health.database.ready()),
        with_timeout(health.core.ready()),
        identity_provider,
        sca_methods
    );
    let name = |outcome: &Result<(), String>| match outcome {
        Ok(()) => "ready".to_owned(),
        Err(problem) => problem.clone(),
    };
    let trust = health.trust.load();
    let pages_key = health.pages.as_ref().and_then(Credentials::key_problem);
    let pages_key =
        pages_key.map(|problem| ConfigError::new("online_banking.private_key", problem.text));
    let of_services = health.services.iter().map(|service| service.problems());
    let of_services: Vec<_> = of_services.flatten().collect();
    let of_provider = health.identity_provider.as_ref();
    let of_provider = of_provider.map(IdentityProvider::problems);
    let problems: Vec<String> = trust
        .problems
        .iter()
        .chain(&pages_key)
        .chain(&of_services)
        .chain(of_provider.iter().flatten())
        .map(ToString::to_string)
        .collect();
    let closed = if trust.closed { "closed" } else { "ready" };
    let stopping = health
        .listeners
        .iter()
        .any(|(_, listener)| listener.is_draining());
    let mut body = json!({
        "store": name(&store),
        "coreBanking": name(&core),
        "trust": closed,
        "problems": problems,
        "stopping": stopping,
    });
    if let Some(body) = body.as_object_mut() {
        for (service, outcome) in [
            ("identityProvider", &identity_provider),
            ("scaMethods", &sca_methods),
        ] {
            body.extend(
                outcome
                    .iter()
                    .map(|outcome| (service.to_owned(), name(outcome).into())),
            );
        }
    }
    if store.is_ok() && !trust.closed && !stopping {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

async fn with_timeout<E: ToString>(
    answer: impl Future<Output = Result<(), E>>,
) -> Result<(), String> {
    match timeout(CHECK_TIMEOUT, answer).await {
        Ok(answered) => answered.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
    }
}

/// Prometheus metrics.
async fn metrics(health: web::Data<Health>) -> HttpResponse {
    match health.metrics.text() {
        Ok(text) => HttpResponse::Ok().content_type(MEDIA_TYPE).body(text),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}
