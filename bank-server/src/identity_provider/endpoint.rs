//! HTTP client for the identity provider: own trust anchors, no redirects, bounded in time, size
//! and number.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::config::IdentityProviderConfig;
use crate::transport::fetch::{no_tls, root_cause};
use crate::transport::service_tls::ServiceTls;

/// Maximum size of an answer.
const MAX_ANSWER: usize = 256 * 1024;

/// Maximum number of concurrent requests: a provider that hangs holds no more.
const MAX_REQUESTS: usize = 64;

/// Error of a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the provider cannot be reached: {0}")]
    Unreachable(String),
    #[error("the provider did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the provider answered {0}")]
    Status(StatusCode),
    #[error("the provider refused: {0}")]
    OAuth(String),
    #[error("the provider sent more than {} KiB", MAX_ANSWER / 1024)]
    TooLarge,
    #[error("the provider's answer cannot be read: {0}")]
    Unreadable(String),
    #[error("{MAX_REQUESTS} requests to the provider are open at this time")]
    Busy,
}

impl RequestError {
    /// Whether the provider refuses the bank itself (RFC 6749, section 5.2), whatever it is asked.
    pub(super) fn is_of_client(&self) -> bool {
        match self {
            Self::OAuth(error) => {
                matches!(error.as_str(), "invalid_client" | "unauthorized_client")
            }
            Self::Status(status) => {
                matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            }
            _ => false,
        }
    }
}

/// The client.
pub(super) struct Endpoint {
    /// Replaced as a whole when trust anchors change.
    client: ArcSwap<Client>,
    timeout: Duration,
    permits: Semaphore,
}

impl Endpoint {
    /// `tls` is `None` for a provider at a loopback address over plain HTTP.
    pub(super) fn new(
        config: &IdentityProviderConfig,
        tls: Option<&ServiceTls>,
    ) -> Result<Self, String> {
        Ok(Self {
            client: ArcSwap::from_pointee(client(tls)?),
            timeout: Duration::from_secs(config.response_timeout_seconds),
            permits: Semaphore::new(MAX_REQUESTS),
        })
    }

    /// Opens connections with other trust anchors from now on. Those that are open close after
    /// their requests.
    pub(super) fn replace_tls(&self, tls: &ServiceTls) -> Result<(), String> {
        self.client.store(Arc::new(client(Some(tls))?));
        Ok(())
    }

    /// End of a step of a log-in that begins now, which can take several requests.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        address: &Url,
        deadline: Instant,
    ) -> Result<T, RequestError> {
        let request = self.client.load().get(address.clone());
        self.exchange(request, deadline).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        address: &Url,
        form: &[(&'static str, String)],
        authorization: Option<HeaderValue>,
        deadline: Instant,
    ) -> Result<T, RequestError> {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let mut request = self
            .client
            .load()
            .post(address.clone())
            .body(body.finish())
            .header(
                reqwest::header::CONTENT_TYPE,
                "application/x-www-form-urlencoded",
            );
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.exchange(request, deadline).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        deadline: Instant,
    ) -> Result<T, RequestError> {
        let _permit = self.permits.try_acquire().map_err(|_| RequestError::Busy)?;
        let exchanged = timeout_at(deadline, send(request)).await;
        exchanged.unwrap_or(Err(RequestError::TimedOut(self.timeout)))
    }
}

async fn send<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, RequestError> {
    let failed = |error: reqwest::Error| RequestError::Unreachable(root_cause(&error));
    let request = request.header(ACCEPT, "application/json");
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    let mut content = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(failed)? {
        if content.len() + piece.len() > MAX_ANSWER {
            return Err(RequestError::TooLarge);
        }
        content.extend_from_slice(&piece);
    }
    if status.is_client_error()
        && let Ok(error) = serde_json::from_slice::<OAuthError>(&content)
    {
        return Err(RequestError::OAuth(plain(&error.error)));
    }
    if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
        return Err(RequestError::Status(status));
    }
    // The text of a decoding error can hold a value: its place is enough.
    serde_json::from_slice(&content).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        RequestError::Unreadable(place)
    })
}

/// Error response (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct OAuthError {
    error: String,
}

/// An error code of the provider for a log: of the characters that it may have (RFC 6749, section
/// 4.1.2.1), and no longer than any of the registered ones.
pub(super) fn plain(code: &str) -> String {
    let plain = code.chars().filter(|letter| matches!(letter, ' '..='~'));
    plain.take(60).collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the TLS configuration trusts the configured anchors alone, or none"
)]
fn client(tls: Option<&ServiceTls>) -> Result<Client, String> {
    let config = tls.map_or_else(no_tls, ServiceTls::config);
    Client::builder()
        .tls_backend_preconfigured(config.map_err(|error| error.to_string())?)
        .https_only(tls.is_some())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("bank-server/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| root_cause(&error))
}
