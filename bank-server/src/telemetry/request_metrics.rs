//! Prometheus counters of requests and handshakes, updated while they happen.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use shared_types::pki::eidas::Role;
use shared_types::pki::trust::Refusal;

use super::gauge_guard::GaugeGuard;
use crate::transport::listener::{ConnectionObserver, RejectedConnection, RejectionReason};

/// Counters shared by all workers. Cheap to clone.
///
/// Cost for a request: two look-ups by its labels, each under a lock that is shared with reads
/// alone once the labels are known, and the additions.
#[derive(Debug, Clone)]
pub(crate) struct RequestMetrics {
    requests: Family<[(&'static str, String); 3], Counter>,
    durations: Family<[(&'static str, String); 1], Histogram>,
    handshakes: Family<[(&'static str, &'static str); 1], Counter>,
    pages: Family<[(&'static str, String); 2], Counter>,
    open: Gauge,
}

/// Histogram buckets, from 0.25 ms to 30 s, the default request timeout.
const SECONDS: [f64; 12] = [
    0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0, 10.0, 30.0,
];

/// One request that was answered.
pub(crate) struct Answered<'a> {
    /// Method and path as a template.
    pub(crate) operation: &'a str,
    pub(crate) status: u16,
    /// The role in which the TPP called; `None` for an unknown peer.
    pub(crate) role: Option<Role>,
    /// From its head to the head of its answer.
    pub(crate) took: Duration,
}

impl RequestMetrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            handshakes: Family::default(),
            pages: Family::default(),
            open: Gauge::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Answered requests of TPPs, by operation, status and role",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Duration of TPP requests, from request head to response head",
            Unit::Seconds,
            self.durations.clone(),
        );
        registry.register(
            "handshakes",
            "Handshakes of TPPs and gateways, by outcome",
            self.handshakes.clone(),
        );
        registry.register(
            "page_requests",
            "Answered requests of browsers, by page and status",
            self.pages.clone(),
        );
        registry.register("requests_open", "Open requests of TPPs", self.open.clone());
    }

    pub(crate) fn begin_request(&self) -> GaugeGuard {
        GaugeGuard::among(&self.open)
    }

    pub(crate) fn request(&self, answered: &Answered<'_>) {
        let role = answered.role.map_or("none", Role::as_str);
        let operation = answered.operation.to_owned();
        self.durations
            .get_or_create(&[("operation", operation.clone())])
            .observe(answered.took.as_secs_f64());
        let labels = [
            ("operation", operation),
            ("status", answered.status.to_string()),
            ("role", role.to_owned()),
        ];
        self.requests.get_or_create(&labels).inc();
    }

    /// One request of a browser that was answered: method and path as a template.
    pub(crate) fn page(&self, page: &str, status: u16) {
        let labels = [("page", page.to_owned()), ("status", status.to_string())];
        self.pages.get_or_create(&labels).inc();
    }

    fn handshake(&self, outcome: &'static str) {
        self.handshakes.get_or_create(&[("outcome", outcome)]).inc();
    }
}

/// Counts accepted and rejected connections, and forwards to another observer.
pub(crate) struct ConnectionMetrics {
    pub(crate) request_metrics: RequestMetrics,
    pub(crate) observer: Arc<dyn ConnectionObserver>,
}

impl ConnectionObserver for ConnectionMetrics {
    fn connection_rejected(&self, peer: &RejectedConnection) {
        self.request_metrics.handshake(outcome(&peer.reason));
        self.observer.connection_rejected(peer);
    }

    fn connection_accepted(&self) {
        self.request_metrics.handshake("let in");
        self.observer.connection_accepted();
    }
}

fn outcome(reason: &RejectionReason) -> &'static str {
    match reason {
        RejectionReason::Refused(refusal) => refused(refusal),
        RejectionReason::Handshake(_) => "failed",
        RejectionReason::HandshakeTimeout(_) => "too slow",
        RejectionReason::StatusTimeout(_) => "status not known in time",
        RejectionReason::TooManyConnections => "too many connections",
        RejectionReason::ConnectionLimit => "no room for connections",
    }
}

/// One label for each reason; the log has the details.
fn refused(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoCertificate => "no certificate",
        Refusal::Unreadable => "unreadable",
        Refusal::SelfSigned => "self-signed",
        Refusal::UnknownIssuer { .. } => "unknown issuer",
        Refusal::IncompleteChain { .. } => "incomplete chain",
        Refusal::Expired { .. } => "expired",
        Refusal::NotYetValid { .. } => "not yet valid",
        Refusal::WrongUsage(_) => "wrong usage",
        Refusal::WeakKey(_) => "weak key",
        Refusal::LargeKey { .. } => "large key",
        Refusal::TooLarge { .. } | Refusal::TooManyCertificates { .. } => "too large",
        Refusal::TooManyMismatches { .. } => "too many mismatches",
        Refusal::TooManyPaths => "too many paths",
        Refusal::Malformed { .. } => "malformed",
        Refusal::UnsupportedSignature { .. } => "unsupported signature",
        Refusal::NotForCertificates { .. } => "CA may not sign certificates",
        Refusal::WrongUsageOfCa { .. } => "wrong usage of CA",
        Refusal::PolicyRequired => "policy required",
        Refusal::UnknownCriticalExtension { .. } => "unknown critical extension",
        Refusal::LeafUsedAsCa => "leaf used as CA",
        Refusal::CaUsedAsLeaf => "CA used as leaf",
        Refusal::NameConstraintViolated { .. } => "name constraint violated",
        Refusal::PathTooLong { .. } | Refusal::ChainTooLong { .. } => "path too long",
        Refusal::BadSignature { .. } => "bad signature",
        Refusal::Revoked { .. } => "revoked",
        Refusal::StatusUnknown { .. } => "status unknown",
        Refusal::Unrecorded { .. } => "unrecorded",
        Refusal::UnknownGateway => "unknown gateway",
        Refusal::AnchorNotValid { .. } => "anchor not valid",
    }
}
