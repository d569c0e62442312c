//! HTTP client for the identity provider: own trust anchors, no redirects, bounded in time, size
//! and number.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{RequestBuilder, StatusCode};
use rustls::client::Resumption;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::UnixTime;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shared_types::environment::Clock;
use shared_types::pki::credentials::provider;
use shared_types::pki::trust::Anchors;
use tokio::sync::Semaphore;
use url::Url;

use crate::config::{ConfigError, IdentityProviderConfig};
use crate::transport::fetch::root_cause;
use crate::transport::pem_files::Source;

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

/// The client.
pub(super) struct Endpoint {
    client: reqwest::Client,
    timeout: Duration,
    permits: Semaphore,
}

impl Endpoint {
    /// Reads the trust anchors.
    pub(super) fn open(
        config: &IdentityProviderConfig,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Vec<ConfigError>> {
        let roots = roots(config)?;
        let timeout = Duration::from_secs(config.response_timeout_seconds);
        let client = client(roots, config, clock, timeout)
            .map_err(|error| vec![ConfigError::new("identity_provider.anchors", error)])?;
        Ok(Self {
            client,
            timeout,
            permits: Semaphore::new(MAX_REQUESTS),
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, address: &Url) -> Result<T, RequestError> {
        self.exchange(self.client.get(address.clone())).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        address: &Url,
        form: &[(&'static str, String)],
        authorization: Option<HeaderValue>,
    ) -> Result<T, RequestError> {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(form);
        let mut request = self
            .client
            .post(address.clone())
            .body(body.finish())
            .header(
                reqwest::header::CONTENT_TYPE,
                "application/x-www-form-urlencoded",
            );
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        self.exchange(request).await
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, RequestError> {
        let _permit = self.permits.try_acquire().map_err(|_| RequestError::Busy)?;
        let failed = |error: reqwest::Error| {
            if error.is_timeout() {
                RequestError::TimedOut(self.timeout)
            } else {
                RequestError::Unreachable(root_cause(&error))
            }
        };
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

fn roots(config: &IdentityProviderConfig) -> Result<RootCertStore, Vec<ConfigError>> {
    let mut roots = RootCertStore::empty();
    let mut faults = Vec::new();
    for source in Source::each("identity_provider.anchors", &config.anchors) {
        let read = std::fs::read(&source.path)
            .map_err(|error| source.fault(&format!("cannot be read: {error}")));
        let read = read.and_then(|file| {
            let anchors = Anchors::from_pem(&file).map_err(|error| source.fault(&error))?;
            for certificate in anchors.certificates() {
                let added = roots.add(certificate.clone());
                added.map_err(|error| source.fault(&error))?;
            }
            Ok(())
        });
        faults.extend(read.err());
    }
    if faults.is_empty() {
        Ok(roots)
    } else {
        Err(faults)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is given its TLS configuration, with the anchors of the bank's configuration alone"
)]
fn client(
    roots: RootCertStore,
    config: &IdentityProviderConfig,
    clock: &Arc<dyn Clock>,
    timeout: Duration,
) -> Result<reqwest::Client, String> {
    let time = Arc::new(OurTime(Arc::clone(clock)));
    let mut tls = ClientConfig::builder_with_details(provider(), time)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A resumed session brings no certificate to verify.
    tls.resumption = Resumption::disabled();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(!config.is_plain_http())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .pool_idle_timeout(Duration::from_secs(30))
        .user_agent(concat!("bank-server/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| root_cause(&error))
}

/// The bank's clock, for rustls.
struct OurTime(Arc<dyn Clock>);

impl std::fmt::Debug for OurTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<clock>")
    }
}

impl TimeProvider for OurTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(self.0.unix())
    }
}
