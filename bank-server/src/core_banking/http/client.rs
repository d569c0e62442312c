//! HTTP client of a core: timeouts, bounded concurrency, one repetition, circuit breaker, and the
//! size limit of an answer.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, Request, Response, StatusCode, Url, redirect, retry};
use rustls::ClientConfig;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_types::circuit::{Breaker, Change, Circuit, Outage};
use shared_types::decode::{Malformed, decode};
use shared_types::environment::{Clock, Randomness};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument as _, info_span};

use super::validate::Breach;
use crate::core_banking::{CoreBankingError, request_id};
use crate::telemetry::spans::inject;
use crate::transport::fetch::no_tls;
use crate::transport::service_tls::ServiceTls;

/// Maximum size of an answer.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Size from which an answer is decoded on a thread of its own, so that no other request waits.
const LARGE_ANSWER_BYTES: usize = 256 * 1024;

/// When the circuit of a core opens: soon, and for a short time, since the core is the bank's own.
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
pub(super) enum CoreError {
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
    #[error("{operation}: status {status}")]
    Status {
        operation: &'static str,
        status: u16,
        retry_after: Duration,
    },
    #[error("{operation}: the answer has more than {} MiB", MAX_ANSWER_BYTES / (1024 * 1024))]
    TooLarge { operation: &'static str },
    #[error("{operation}: the answer is malformed {malformed}")]
    Malformed {
        operation: &'static str,
        malformed: Malformed,
    },
    #[error("{operation}: the answer breaks the contract: {breach}")]
    Breach {
        operation: &'static str,
        breach: Breach,
    },
}

impl CoreError {
    /// Whether a later attempt can succeed.
    fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::Busy { .. }
            | Self::CircuitOpen { .. }
            | Self::Connection { .. } => true,
            Self::Status { status, .. } => matches!(status, 429 | 502..=504),
            Self::TooLarge { .. } | Self::Malformed { .. } | Self::Breach { .. } => false,
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

impl From<CoreError> for CoreBankingError {
    fn from(error: CoreError) -> Self {
        if error.is_transient() {
            Self::Unavailable(Box::new(error))
        } else {
            Self::Failed(Box::new(error))
        }
    }
}

/// Parts and limits of a client.
pub(super) struct Setup {
    pub(super) url: Url,
    pub(super) response_timeout: Duration,
    pub(super) max_concurrent_requests: usize,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
}

/// Client of one core.
pub(super) struct CoreClient {
    setup: Setup,
    /// Replaced as a whole when certificates change.
    http: ArcSwap<Client>,
    permits: Semaphore,
    circuit: Circuit<String>,
}

impl CoreClient {
    /// `tls` is `None` for a core at a loopback address over plain HTTP.
    pub(super) fn new(setup: Setup, tls: Option<&ServiceTls>) -> Result<Self, String> {
        let tls = tls.map_or_else(no_tls, ServiceTls::config);
        let http = http_client(&setup, tls.map_err(|error| error.to_string())?)?;
        Ok(Self {
            permits: Semaphore::new(setup.max_concurrent_requests),
            setup,
            http: ArcSwap::from_pointee(http),
            circuit: Circuit::new(BREAKER),
        })
    }

    /// Opens connections with other certificates from now on.
    pub(super) fn replace_tls(&self, tls: &ServiceTls) -> Result<(), String> {
        let tls = tls.config().map_err(|error| error.to_string())?;
        let http = http_client(&self.setup, tls)?;
        self.http.store(Arc::new(http));
        Ok(())
    }

    /// Sends a query, and returns its decoded answer.
    ///
    /// Cost: one round trip on an open connection. The time limit covers everything: the wait for a
    /// permit, the connection, the repetition, the answer's last byte.
    pub(super) async fn query<A: DeserializeOwned + Send + 'static>(
        &self,
        operation: &'static str,
        query: &(impl Serialize + Sync),
    ) -> Result<A, CoreError> {
        let body = serde_json::to_vec(query).map_err(|error| CoreError::Connection {
            operation,
            cause: error.to_string(),
        })?;
        self.send(operation, Method::POST, body).await
    }

    /// Reads a resource without parameters.
    pub(super) async fn get<A: DeserializeOwned + Send + 'static>(
        &self,
        operation: &'static str,
    ) -> Result<A, CoreError> {
        self.send(operation, Method::GET, Vec::new()).await
    }

    /// Whether the core answers a caller with that TLS configuration.
    pub(super) async fn accepts(&self, tls: Result<ClientConfig, rustls::Error>) -> bool {
        let operation = "ready";
        let request = self.request(operation, Method::GET, Vec::new());
        let answered = async {
            let tls = tls.map_err(|error| error.to_string()).ok()?;
            let http = http_client(&self.setup, tls).ok()?;
            let response = http.execute(request).await.ok()?;
            Some(response.status().is_success())
        };
        let answered = timeout(self.setup.response_timeout, answered).await;
        answered.ok().flatten().unwrap_or_default()
    }

    async fn send<A: DeserializeOwned + Send + 'static>(
        &self,
        operation: &'static str,
        method: Method,
        body: Vec<u8>,
    ) -> Result<A, CoreError> {
        let id = request_id().unwrap_or_else(|| self.setup.randomness.uuid());
        let span = info_span!(
            "core banking",
            otel.kind = "client",
            operation,
            request_id = %id,
        );
        async {
            let limit = self.setup.response_timeout;
            let deadline = Instant::now() + limit;
            let Ok(Ok(_permit)) = timeout_at(deadline, self.permits.acquire()).await else {
                let limit = self.setup.max_concurrent_requests;
                return Err(CoreError::Busy { operation, limit });
            };
            let admitted = self.circuit.admit(self.setup.clock.now());
            let permit = admitted.map_err(|open| CoreError::CircuitOpen {
                operation,
                until: open.until.format("%FT%TZ").to_string(),
                cause: open.cause,
            })?;
            let mut request = self.request(operation, method, body);
            let headers = request.headers_mut();
            if let Ok(id) = HeaderValue::try_from(id.to_string()) {
                headers.insert("x-request-id", id);
            }
            inject(headers);
            let exchanged = timeout_at(deadline, self.exchange(operation, request)).await;
            let outcome = exchanged.unwrap_or(Err(CoreError::Timeout { operation, limit }));
            let outage = outcome.as_ref().err().and_then(CoreError::outage);
            match permit.record(outage, self.setup.clock.now()) {
                Some(Change::Opened { until }) => {
                    let until = until.format("%FT%TZ");
                    tracing::warn!(%until, "circuit of the core banking system open");
                }
                Some(Change::Closed) => {
                    tracing::info!("circuit of the core banking system closed");
                }
                None => {}
            }
            decode_answer(operation, outcome?).await
        }
        .instrument(span)
        .await
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

    /// The body of a 200.
    async fn exchange(
        &self,
        operation: &'static str,
        request: Request,
    ) -> Result<Vec<u8>, CoreError> {
        let failed = |error: reqwest::Error| CoreError::Connection {
            operation,
            cause: causes(&error),
        };
        let http = self.http.load_full();
        let mut response = http.execute(request).await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(CoreError::Status {
                operation,
                status: response.status().as_u16(),
                retry_after: retry_after(&response),
            });
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Err(CoreError::TooLarge { operation });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

async fn decode_answer<A: DeserializeOwned + Send + 'static>(
    operation: &'static str,
    body: Vec<u8>,
) -> Result<A, CoreError> {
    let decoded = if body.len() < LARGE_ANSWER_BYTES {
        decode(&body)
    } else {
        let decoding = tokio::task::spawn_blocking(move || decode(&body));
        decoding.await.map_err(|error| CoreError::Connection {
            operation,
            cause: error.to_string(),
        })?
    };
    decoded.map_err(|malformed| CoreError::Malformed {
        operation,
        malformed,
    })
}

/// Whole seconds of `Retry-After`; zero without one.
fn retry_after(response: &Response) -> Duration {
    let seconds = |headers: &HeaderMap| headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok();
    Duration::from_secs(seconds(response.headers()).unwrap_or_default())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the TLS configuration trusts the configured anchors alone, or none"
)]
fn http_client(setup: &Setup, tls: ClientConfig) -> Result<Client, String> {
    let host = setup.url.host_str().unwrap_or_default().to_owned();
    // All operations only read.
    let once = retry::for_host(host)
        .max_retries_per_request(1)
        .classify_fn(|attempt| match attempt.status() {
            None | Some(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) => {
                attempt.retryable()
            }
            Some(_) => attempt.success(),
        });
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .retry(once)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(setup.max_concurrent_requests)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_INTERVAL)
        .build()
        .map_err(|error| causes(&error))
}

/// An error with its causes. reqwest's own text has the URL, which is configuration, and leaves the
/// causes out.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
