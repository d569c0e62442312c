//! HTTP client for the bank's own systems: timeouts, bounded concurrency, one repetition, circuit breaker,
//! and the size limit of an answer.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bank_client::{HandshakeLayer, fetch_alert, tls_error};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, StatusCode, Url, redirect, retry};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_types::circuit::{Breaker, Change, Circuit, CircuitPermit, Outage};
use shared_types::decode::{Malformed, Shape};
use shared_types::environment::{Clock, Randomness};
use shared_types::pki::alert::Alert;
use shared_types::pki::pkcs11::HandshakeThreads;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{Instrument as _, info_span};
use uuid::Uuid;

use super::{ServiceKind, request_id};
use crate::telemetry::spans::inject;
use crate::transport::fetch::{no_tls, root_cause};
use crate::transport::service_tls::{ServiceTls, ServiceVerdicts};

/// Maximum size of an answer with a list of any length.
const MAX_LIST_BYTES: usize = 32 * 1024 * 1024;

/// Maximum size of other answers.
const MAX_OBJECT_BYTES: usize = 1024 * 1024;

/// Elements of all lists in an answer together: a thousand entries with several hundred each.
const MAX_ELEMENTS: usize = 500_000;

/// Size from which an answer is decoded on a thread of its own, so that no other request waits.
const LARGE_ANSWER_BYTES: usize = 256 * 1024;

/// When the circuit opens: soon, and for a short time, since the service is the bank's own.
const BREAKER: Breaker = Breaker {
    failures: 5,
    pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(15),
};

/// Interval of HTTP/2 pings: a connection without an answer to them is closed.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum time of a connection without a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Error of a query. No text repeats a value of an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("{operation}: no answer within {} s", .limit.as_secs())]
    Timeout {
        operation: &'static str,
        limit: Duration,
    },
    #[error("{operation}: all {limit} requests to it are in use")]
    Busy {
        operation: &'static str,
        limit: usize,
    },
    #[error("{operation}: it is left alone until {until} because of: {cause}")]
    CircuitOpen {
        operation: &'static str,
        until: String,
        cause: String,
    },
    #[error("{operation}: {cause}")]
    Connection {
        operation: &'static str,
        cause: String,
    },
    #[error("{operation}: status {status}{hint}")]
    Status {
        operation: &'static str,
        status: u16,
        hint: &'static str,
        retry_after: Duration,
    },
    #[error("{operation}: the answer has more than {} MiB", .max_bytes / (1024 * 1024))]
    TooLarge {
        operation: &'static str,
        max_bytes: usize,
    },
    #[error("{operation}: the lists of the answer have more than {MAX_ELEMENTS} elements")]
    TooMany { operation: &'static str },
    #[error("{operation}: the Content-Type of the answer is not application/json")]
    ContentType { operation: &'static str },
    #[error("{operation}: the answer is malformed{}", place(.malformed))]
    Malformed {
        operation: &'static str,
        malformed: Malformed,
    },
    #[error("{operation}: the answer breaks the contract: {breach}")]
    Breach {
        operation: &'static str,
        breach: String,
    },
    #[error("{operation}: {cause}")]
    Internal {
        operation: &'static str,
        cause: String,
    },
}

impl ServiceError {
    /// Whether a later attempt can succeed.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Busy { .. }
            | Self::CircuitOpen { .. }
            | Self::Connection { .. } => true,
            Self::Status { status, .. } => matches!(status, 429 | 502..=504),
            Self::TooLarge { .. }
            | Self::TooMany { .. }
            | Self::ContentType { .. }
            | Self::Malformed { .. }
            | Self::Breach { .. }
            | Self::Internal { .. } => false,
        }
    }

    /// Name in metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::Busy { .. } => "busy",
            Self::CircuitOpen { .. } => "circuit open",
            Self::Connection { .. } => "connection",
            Self::Status { .. } => "status",
            Self::TooLarge { .. } | Self::TooMany { .. } => "too large",
            Self::ContentType { .. } | Self::Malformed { .. } => "malformed",
            Self::Breach { .. } => "breach",
            Self::Internal { .. } => "internal",
        }
    }

    /// The outage of which it is a sign, if it is one.
    fn outage(&self) -> Option<Outage<String>> {
        let retry_after = match self {
            Self::Timeout { .. } | Self::Connection { .. } => Duration::ZERO,
            Self::Status {
                status: 502..=504,
                retry_after,
                ..
            } => *retry_after,
            _ => return None,
        };
        Some(Outage {
            cause: self.to_string(),
            retry_after,
        })
    }
}

/// The place and reason; the document as a whole is no place.
fn place(malformed: &Malformed) -> String {
    match malformed.path.as_str() {
        "." => format!(": {}", malformed.reason),
        _ => format!(" {malformed}"),
    }
}

/// Hint after status 400 to a request that has no content: a port for HTTPS answers HTTP so.
const HTTPS_PORT: &str = ", as a port for https answers; `url` begins with http";

/// Parts and limits of a client.
pub(super) struct Setup {
    pub(super) kind: &'static ServiceKind,
    pub(super) url: Url,
    pub(super) response_timeout: Duration,
    pub(super) max_concurrent_requests: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
}

/// Client of one service.
pub(super) struct ServiceClient {
    setup: Setup,
    /// Replaced as a whole when certificates change.
    http: ArcSwap<Http>,
    /// `None` over plain HTTP.
    verdicts: Option<ServiceVerdicts>,
    slots: Arc<Semaphore>,
    circuit: Circuit<String>,
    queries: Family<[(&'static str, &'static str); 2], Counter>,
}

/// HTTP client, and the TLS of its connections.
struct Http {
    client: Client,
    tls: ClientConfig,
    threads: Option<HandshakeThreads>,
}

/// An operation of a service, and the maximum size of its answer in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    max_bytes: usize,
}

impl Operation {
    /// An answer with a list of any length.
    pub(crate) const fn list(name: &'static str) -> Self {
        let max_bytes = MAX_LIST_BYTES;
        Self { name, max_bytes }
    }

    /// Another answer.
    pub(crate) const fn object(name: &'static str) -> Self {
        let max_bytes = MAX_OBJECT_BYTES;
        Self { name, max_bytes }
    }
}

struct Call {
    operation: &'static str,
    method: Method,
    body: Vec<u8>,
    max_bytes: usize,
}

impl ServiceClient {
    /// `tls` is `None` for a service at a loopback address over plain HTTP.
    pub(super) fn new(setup: Setup, tls: Option<&ServiceTls>) -> Result<Self, String> {
        let threads = tls.and_then(ServiceTls::handshake_threads);
        let verdicts = tls.map(ServiceTls::verdicts);
        let tls = tls.map_or_else(no_tls, ServiceTls::config);
        let http = Http::new(&setup, tls.map_err(|error| error.to_string())?, threads)?;
        Ok(Self {
            verdicts,
            slots: Arc::new(Semaphore::new(setup.max_concurrent_requests)),
            setup,
            http: ArcSwap::from_pointee(http),
            circuit: Circuit::new(BREAKER),
            queries: Family::default(),
        })
    }

    /// Opens connections with other certificates from now on.
    pub(super) fn replace_tls(&self, tls: &ServiceTls) -> Result<(), String> {
        let config = tls.config().map_err(|error| error.to_string())?;
        let http = Http::new(&self.setup, config, tls.handshake_threads())?;
        self.http.store(Arc::new(http));
        Ok(())
    }

    /// Sends a query, and returns its decoded answer.
    ///
    /// Cost: one round trip on an open connection. The time limit counts twice: for the wait until
    /// one of the concurrent queries has ended, and for connection, repetition and answer.
    pub(super) async fn query<A: DeserializeOwned + Send + 'static>(
        self: &Arc<Self>,
        operation: Operation,
        query: &(impl Serialize + Sync),
    ) -> Result<A, ServiceError> {
        let Operation { name, max_bytes } = operation;
        let body = serde_json::to_vec(query).map_err(|error| ServiceError::Internal {
            operation: name,
            cause: error.to_string(),
        })?;
        let call = Call {
            operation: name,
            method: Method::POST,
            body,
            max_bytes,
        };
        self.send(call).await
    }

    /// Reads a resource without parameters.
    pub(super) async fn get<A: DeserializeOwned + Send + 'static>(
        self: &Arc<Self>,
        operation: Operation,
    ) -> Result<A, ServiceError> {
        let call = Call {
            operation: operation.name,
            method: Method::GET,
            body: Vec::new(),
            max_bytes: operation.max_bytes,
        };
        self.send(call).await
    }

    /// Whether the service answers a caller with that TLS configuration.
    pub(super) async fn accepts(&self, tls: Result<ClientConfig, rustls::Error>) -> bool {
        let operation = "ready";
        let request = self.request(operation, Method::GET, Vec::new());
        let answered = async {
            let tls = tls.map_err(|error| error.to_string()).ok()?;
            let http = http_client(&self.setup, tls, None).ok()?;
            let response = http.execute(request).await.ok()?;
            Some(response.status().is_success())
        };
        let answered = timeout(self.setup.response_timeout, answered).await;
        answered.ok().flatten().unwrap_or_default()
    }

    /// Counts a query by its outcome.
    pub(super) fn count(&self, operation: &'static str, outcome: &'static str) {
        let labels = [("operation", operation), ("outcome", outcome)];
        self.queries.get_or_create(&labels).inc();
    }

    /// Registers the number of queries.
    pub(super) fn register(&self, registry: &mut Registry) {
        let ServiceKind { metric, help, .. } = *self.setup.kind;
        registry.register(metric, help, self.queries.clone());
    }

    /// Sends a request when one of the permitted ones is free.
    ///
    /// From then on it goes on if its caller is cancelled: a peer that resets its requests can
    /// neither exceed the number of concurrent queries nor hide an outage.
    async fn send<A: DeserializeOwned + Send + 'static>(
        self: &Arc<Self>,
        call: Call,
    ) -> Result<A, ServiceError> {
        let operation = call.operation;
        let id = request_id().unwrap_or_else(|| self.setup.randomness.uuid());
        let span = info_span!(
            "service of the bank",
            otel.kind = "client",
            service = self.setup.kind.name,
            operation,
            request_id = %id,
        );
        let slot = Arc::clone(&self.slots).acquire_owned();
        let Ok(Ok(slot)) = timeout(self.setup.response_timeout, slot).await else {
            self.count(operation, "busy");
            let limit = self.setup.max_concurrent_requests;
            return Err(ServiceError::Busy { operation, limit });
        };
        let client = Arc::clone(self);
        let exchange = async move {
            let outcome = client.send_now(call, id).await;
            let kind = outcome
                .as_ref()
                .err()
                .map_or("answered", ServiceError::kind);
            client.count(operation, kind);
            drop(slot);
            outcome
        };
        let ended = tokio::spawn(exchange.instrument(span)).await;
        ended.unwrap_or_else(|error| {
            let cause = error.to_string();
            Err(ServiceError::Internal { operation, cause })
        })
    }

    async fn send_now<A: DeserializeOwned + Send + 'static>(
        &self,
        call: Call,
        id: Uuid,
    ) -> Result<A, ServiceError> {
        let (operation, name) = (call.operation, self.setup.kind.name);
        let limit = self.setup.response_timeout;
        // Readiness is asked for while the circuit is open, and says nothing of the queries.
        let permit = match call.method {
            Method::GET => None,
            _ => Some(self.admit(operation)?),
        };
        let max_bytes = call.max_bytes;
        let mut request = self.request(operation, call.method, call.body);
        let headers = request.headers_mut();
        if let Ok(id) = HeaderValue::try_from(id.to_string()) {
            headers.insert("x-request-id", id);
        }
        inject(headers);
        let exchanged = timeout(limit, self.exchange(operation, request, max_bytes)).await;
        let outcome = exchanged.unwrap_or(Err(ServiceError::Timeout { operation, limit }));
        let outage = outcome.as_ref().err().and_then(ServiceError::outage);
        match permit.and_then(|permit| permit.record(outage, self.setup.clock.now())) {
            Some(Change::Opened { until }) => {
                let until = until.format("%FT%TZ");
                tracing::warn!(%until, "circuit of the {name} open");
            }
            Some(Change::Closed) => tracing::info!("circuit of the {name} closed"),
            None => {}
        }
        decode_answer(operation, outcome?).await
    }

    fn admit(&self, operation: &'static str) -> Result<CircuitPermit<'_, String>, ServiceError> {
        let admitted = self.circuit.admit(self.setup.clock.now());
        admitted.map_err(|open| ServiceError::CircuitOpen {
            operation,
            until: open.until.format("%FT%TZ").to_string(),
            cause: open.cause,
        })
    }

    fn request(&self, operation: &'static str, method: Method, body: Vec<u8>) -> Request {
        let mut url = self.setup.url.clone();
        let path = format!("{}/v1/{operation}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let mut request = Request::new(method, url);
        let json = HeaderValue::from_static("application/json");
        if !body.is_empty() {
            request.headers_mut().insert(CONTENT_TYPE, json.clone());
            *request.body_mut() = Some(body.into());
        }
        request.headers_mut().insert(ACCEPT, json);
        request
    }

    /// The body of a 200, and its shape.
    async fn exchange(
        &self,
        operation: &'static str,
        request: Request,
        max_bytes: usize,
    ) -> Result<(Vec<u8>, Shape), ServiceError> {
        let failed = |error: reqwest::Error| ServiceError::Connection {
            operation,
            cause: root_cause(&error),
        };
        let http = self.http.load_full();
        let is_get_over_http = request.method() == Method::GET && self.verdicts.is_none();
        let mut response = match http.client.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                let cause = self.explain(&http, &error).await;
                return Err(ServiceError::Connection { operation, cause });
            }
        };
        if response.status() != StatusCode::OK {
            let is_other_port = is_get_over_http && response.status() == StatusCode::BAD_REQUEST;
            return Err(ServiceError::Status {
                operation,
                status: response.status().as_u16(),
                hint: if is_other_port { HTTPS_PORT } else { "" },
                retry_after: retry_after(&response),
            });
        }
        if !is_json(&response) {
            return Err(ServiceError::ContentType { operation });
        }
        let too_large = || ServiceError::TooLarge {
            operation,
            max_bytes,
        };
        let announced = response.content_length().unwrap_or_default();
        if announced > u64::try_from(max_bytes).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        let (mut body, mut shape) = (Vec::new(), Shape::default());
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > max_bytes {
                return Err(too_large());
            }
            shape.scan(&piece);
            if shape.elements() > MAX_ELEMENTS {
                return Err(ServiceError::TooMany { operation });
            }
            body.extend_from_slice(&piece);
        }
        Ok((body, shape))
    }

    /// The cause of a failed request, in the words of TLS where it is the handshake.
    async fn explain(&self, http: &Http, error: &reqwest::Error) -> String {
        let Some(verdicts) = &self.verdicts else {
            return root_cause(error);
        };
        match tls_error(error) {
            Some(rustls::Error::AlertReceived(alert)) => refused_by(Alert((*alert).into())),
            Some(rustls::Error::InvalidCertificate(_)) => {
                verdicts.take_refused().unwrap_or_else(|| root_cause(error))
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                "its answer is not TLS: is it a port for plain HTTP? `url` begins with https"
                    .to_owned()
            }
            Some(_) => root_cause(error),
            None if error.is_connect() => root_cause(error),
            None => {
                let alert = fetch_alert(&http.tls, http.threads.as_ref(), &self.setup.url).await;
                alert.map_or_else(
                    || {
                        format!(
                            "{}; a service that refuses our certificate can end a connection so",
                            root_cause(error)
                        )
                    },
                    refused_by,
                )
            }
        }
    }
}

/// Meaning of the alert with which the service ended a handshake (RFC 8446, section 6.2).
fn refused_by(alert: Alert) -> String {
    let meaning = match alert.0 {
        40 | 70 | 71 | 120 => "it accepts nothing of what we offered",
        42 => "it cannot verify the certificate that we presented",
        43 => "the certificate that we presented is not of a kind or use that it accepts",
        44 => "the certificate that we presented was revoked",
        45 => "the certificate that we presented has expired, or a clock is wrong",
        46 | 49 => "it refuses the certificate that we presented",
        48 => "it does not know the CA of the certificate that we presented",
        51 => {
            "a signature of the certificate that we presented, or of our key, does not convince it: \
             does it know another CA of that name?"
        }
        112 => "it does not know the host of `url`",
        116 => "it received no certificate",
        _ => "it ended the handshake; its log has the reason",
    };
    format!("{meaning} (TLS alert {alert})")
}

fn is_json(response: &Response) -> bool {
    let value = response.headers().get(CONTENT_TYPE);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json")
}

async fn decode_answer<A: DeserializeOwned + Send + 'static>(
    operation: &'static str,
    (body, shape): (Vec<u8>, Shape),
) -> Result<A, ServiceError> {
    let decoded = if body.len() < LARGE_ANSWER_BYTES {
        shape.decode(&body)
    } else {
        let decoding = tokio::task::spawn_blocking(move || shape.decode(&body));
        decoding.await.map_err(|error| ServiceError::Internal {
            operation,
            cause: error.to_string(),
        })?
    };
    decoded.map_err(|malformed| ServiceError::Malformed {
        operation,
        malformed,
    })
}

/// Whole seconds of `Retry-After`; zero without one.
fn retry_after(response: &Response) -> Duration {
    let seconds = |headers: &HeaderMap| headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok();
    Duration::from_secs(seconds(response.headers()).unwrap_or_default())
}

impl Http {
    fn new(
        setup: &Setup,
        tls: ClientConfig,
        threads: Option<HandshakeThreads>,
    ) -> Result<Self, String> {
        Ok(Self {
            client: http_client(setup, tls.clone(), threads.clone())?,
            tls,
            threads,
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the TLS configuration trusts the configured anchors alone, or none"
)]
fn http_client(
    setup: &Setup,
    tls: ClientConfig,
    threads: Option<HandshakeThreads>,
) -> Result<Client, String> {
    let host = setup.url.host_str().unwrap_or_default().to_owned();
    let not_repeated = setup.kind.not_repeated;
    let once = retry::for_host(host)
        .max_retries_per_request(1)
        .classify_fn(move |attempt| {
            let operation = attempt.uri().path().rsplit('/').next().unwrap_or_default();
            match attempt.status() {
                _ if not_repeated.contains(&operation) => attempt.success(),
                None | Some(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) => {
                    attempt.retryable()
                }
                Some(_) => attempt.success(),
            }
        });
    let mut builder = Client::builder();
    if let Some(threads) = threads {
        builder = builder.connector_layer(HandshakeLayer(threads));
    }
    builder
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .retry(once)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(setup.max_concurrent_requests)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_INTERVAL)
        .build()
        .map_err(|error| root_cause(&error))
}
