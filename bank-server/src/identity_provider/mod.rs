//! OpenID Connect client: customers log in and approve at the bank's own identity provider.
//!
//! The authorization code flow with PKCE (RFC 7636, S256), `state` and `nonce`. A request waits in
//! the store, sealed, for the customer's return: it is valid once, for ten minutes, and in the
//! browser that began it. The number of waiting requests is limited, for each source and altogether.
//! The provider's keys are fetched with each ID token, so that a key that the provider has
//! withdrawn is refused from then on.

mod client_authentication;
mod endpoint;
mod files;
mod id_token;
mod metadata;

use std::fmt::Write as _;
use std::ops::DerefMut;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared_types::environment::{Clock, Randomness};
use shared_types::pki::digest;
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;
use url::Url;

use self::client_authentication::ClientAuthentication;
use self::endpoint::Endpoint;
pub(crate) use self::endpoint::RequestError;
use self::files::Files;
pub(crate) use self::id_token::IdTokenError;
use self::id_token::{Expected, Keys};
use self::metadata::{Metadata, MetadataError};
use crate::config::{ApprovalBinding, ConfigError, IdentityProviderConfig};
use crate::domain::{AccountId, PsuId};
use crate::store::StoreError;
use crate::store::identity_requests::{IdentityRequests, RequestLimit, RequestName};
use crate::store::vault::{Vault, VaultError};

/// Path of the redirect URI.
pub(crate) const CALLBACK: &str = "/log-in/callback";

/// Type of the `authorization_details` of an approval (RFC 9396, section 2).
pub(crate) const DETAILS_TYPE: &str = "account_information";

/// Time after which the provider's metadata is fetched again.
const METADATA_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Length of the name of a source, at the beginning of a state.
const SOURCE_LENGTH: usize = 16;

/// Error code for an authorization code that cannot be redeemed (RFC 6749, section 5.2).
const INVALID_GRANT: &str = "invalid_grant";

/// Maximum length of a customer's id.
const MAX_CUSTOMER: usize = 70;

/// The bank's identity provider. Cheap to clone.
#[derive(Clone)]
pub(crate) struct IdentityProvider(Arc<Inner>);

struct Inner {
    config: IdentityProviderConfig,
    endpoint: Endpoint,
    authentication: ArcSwap<ClientAuthentication>,
    files: Mutex<Files>,
    redirect_uri: String,
    /// Maximum age of an authentication with which a customer logs in.
    max_age: TimeDelta,
    requests: IdentityRequests,
    vault: Vault,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    metadata: ArcSwapOption<(DateTime<Utc>, Arc<Metadata>)>,
    /// Problem of the last request to the provider, if it failed.
    problem: ArcSwapOption<String>,
    /// The last refusal of the bank as a client, until it is accepted.
    refusal: ArcSwapOption<String>,
    /// By request and outcome.
    counts: Family<[(&'static str, &'static str); 2], Counter>,
}

/// Parts of an [`IdentityProvider`].
pub(crate) struct Parts {
    pub(crate) config: IdentityProviderConfig,
    /// Origin of the pages.
    pub(crate) origin: String,
    /// Maximum age of an authentication with which a customer logs in.
    pub(crate) max_age: TimeDelta,
    pub(crate) requests: IdentityRequests,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
}

/// Browser that begins a request.
#[derive(Clone, Copy)]
pub(crate) struct BrowserOrigin<'a> {
    /// Digest of its session, or of its visit before one.
    pub(crate) session: &'a str,
    /// Name of the network or device under which its requests are counted.
    pub(crate) source: &'a str,
    /// Whether that is a device with which a customer has logged in before.
    pub(crate) is_known_device: bool,
}

/// Purpose of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// A log-in.
    LogIn {
        /// Path of the page to which it leads.
        to: String,
        /// Whether the customer has to authenticate anew.
        again: bool,
    },
    /// The approval of an authorisation.
    Approval(Approval),
}

/// Approval that the customer confirms at the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Approval {
    /// Id of the authorisation.
    pub(crate) authorisation: String,
    /// Customer who approves.
    pub(crate) psu: String,
    /// Accounts that the customer has chosen, if the consent leaves the choice.
    pub(crate) selected: Option<Vec<AccountId>>,
    /// The access, as it was shown.
    pub(crate) details: Value,
}

/// Request that waits for the customer's return.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending {
    /// Digest of the browser's session, or of its visit before one.
    browser: String,
    verifier: String,
    nonce: String,
    /// Unix time of its begin.
    begun: i64,
    pub(crate) purpose: Purpose,
    #[serde(skip)]
    name: RequestName,
}

/// Answer of the provider, in the query of the redirect URI.
pub(crate) struct Callback {
    pub(crate) state: String,
    pub(crate) outcome: Result<String, String>,
    issuer: Option<String>,
}

impl Callback {
    /// An answer with a code, or the code of an error.
    pub(crate) fn new(
        state: String,
        outcome: Result<String, String>,
        issuer: Option<String>,
    ) -> Self {
        let outcome = outcome.map_err(|error| endpoint::plain(&error));
        Self {
            state,
            outcome,
            issuer,
        }
    }
}

/// Customer whom the provider has strongly authenticated for one [`Pending`] request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authenticated {
    psu: PsuId,
}

impl Authenticated {
    pub(crate) fn psu(&self) -> &PsuId {
        &self.psu
    }
}

/// Error of a log-in or an approval at the provider.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    #[error("{0}: {1}")]
    Request(&'static str, RequestError),
    #[error("metadata: {0}")]
    Metadata(#[from] MetadataError),
    #[error("{0}")]
    Limit(RequestLimit),
    #[error("no such request waits for an answer: it was answered before, or is too old")]
    UnknownRequest,
    #[error("the request was begun in another browser, or in another session")]
    OtherBrowser,
    #[error("the answer names another issuer, or none")]
    Issuer,
    #[error("the provider refused: {0}")]
    Refused(String),
    #[error("ID token: {0}")]
    IdToken(#[from] IdTokenError),
    #[error("the client assertion could not be signed")]
    Signing,
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ProviderError {
    /// Whether the provider could not be used at all, through no fault of the customer.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Request(..) | Self::Metadata(_) | Self::Signing)
    }
}

type Result<T, E = ProviderError> = std::result::Result<T, E>;

impl IdentityProvider {
    /// Reads the files of the configuration. Connects to nothing yet.
    pub(crate) fn open(parts: Parts) -> Result<Self, Vec<ConfigError>> {
        let (files, authentication) = Files::open(&parts.config, &parts.clock)?;
        let endpoint = Endpoint::new(&parts.config, files.tls())
            .map_err(|problem| vec![ConfigError::new("identity_provider.anchors", problem)])?;
        Ok(Self(Arc::new(Inner {
            endpoint,
            authentication: ArcSwap::from_pointee(authentication),
            files: Mutex::new(files),
            redirect_uri: format!("{}{CALLBACK}", parts.origin),
            max_age: parts.max_age,
            requests: parts.requests,
            vault: parts.vault,
            clock: parts.clock,
            randomness: parts.randomness,
            config: parts.config,
            metadata: ArcSwapOption::empty(),
            problem: ArcSwapOption::empty(),
            refusal: ArcSwapOption::empty(),
            counts: Family::default(),
        })))
    }

    /// Reads trust anchors and the secret or key again if their files have changed, and opens new
    /// connections when a certificate of the provider has expired. After an error, the previous
    /// ones stay in use. It reads files: not for a thread that serves requests.
    pub(crate) fn reload(&self) {
        let inner = &*self.0;
        let mut files = self.files();
        if let Some(tls) = files.reload_tls()
            && let Err(problem) = inner.endpoint.replace_tls(tls)
        {
            tracing::warn!(%problem, "no new connections to the identity provider");
        }
        if let Some(authentication) = files.reload_client(&inner.config) {
            inner.authentication.store(Arc::new(authentication));
        }
    }

    /// Errors of changed files, while the previous content stays in use.
    pub(crate) fn problems(&self) -> Vec<ConfigError> {
        self.files().problems()
    }

    /// Nothing panics while the lock is held; if it did, the content would still be whole.
    fn files(&self) -> impl DerefMut<Target = Files> {
        self.0.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a log-in or an approval in that browser: returns the address to which it goes.
    ///
    /// The access to approve is pushed to the provider (RFC 9126) where it takes pushed requests,
    /// so that nothing in the browser can change it.
    pub(crate) async fn begin(&self, browser: BrowserOrigin<'_>, purpose: Purpose) -> Result<Url> {
        let inner = &*self.0;
        let deadline = inner.endpoint.deadline();
        let metadata = self.metadata(deadline).await?;
        let now = inner.clock.now();
        let source = self.source(browser.source);
        let state = format!("{source}{}", self.random());
        let verifier = self.random();
        let nonce = nonce(&self.random(), &purpose);
        let parameters = self.parameters(&state, &nonce, &verifier, &purpose);
        let pending = Pending {
            browser: browser.session.to_owned(),
            verifier,
            nonce,
            begun: now.timestamp(),
            purpose,
            name: RequestName::of(&source, &state),
        };
        let name = &pending.name;
        let plain = serde_json::to_vec(&pending).map_err(|_| StoreError::corrupt(SEALED))?;
        let sealed = inner.vault.seal(&context(name), &plain)?;
        // Before the provider is asked: its limits are not reached by what is refused here.
        let put = inner
            .requests
            .put(name, &sealed, browser.is_known_device, now);
        if let Some(limit) = put.await? {
            return Err(ProviderError::Limit(limit));
        }
        let endpoint = &metadata.authorization_endpoint;
        let Some(pushed) = &metadata.pushed_authorization_request_endpoint else {
            return Ok(with_query(endpoint, &parameters));
        };
        let pushed = self.post("pushed request", &metadata, pushed, parameters, deadline);
        let PushedResponse { request_uri } = match pushed.await {
            Ok(answer) => answer,
            Err(error) => {
                inner.requests.remove(name).await?;
                return Err(error);
            }
        };
        let short = [
            ("client_id", inner.config.client_id.clone()),
            ("request_uri", request_uri),
        ];
        Ok(with_query(endpoint, &short))
    }

    /// Parameters of an authorization request.
    fn parameters(
        &self,
        state: &str,
        nonce: &str,
        verifier: &str,
        purpose: &Purpose,
    ) -> Vec<(&'static str, String)> {
        let inner = &*self.0;
        let mut parameters: Vec<(&'static str, String)> = vec![
            ("response_type", "code".to_owned()),
            ("client_id", inner.config.client_id.clone()),
            ("redirect_uri", inner.redirect_uri.clone()),
            ("scope", inner.config.scopes.join(" ")),
            ("state", state.to_owned()),
            ("nonce", nonce.to_owned()),
            ("code_challenge", challenge(verifier)),
            ("code_challenge_method", "S256".to_owned()),
        ];
        if !inner.config.required_acr.is_empty() {
            parameters.push(("acr_values", inner.config.required_acr.join(" ")));
        }
        let (is_anew, max_age) = match purpose {
            Purpose::LogIn { again, .. } => (*again, inner.max_age),
            Purpose::Approval(approval) => {
                if inner.config.approval == ApprovalBinding::AuthorizationDetails {
                    let details = Value::Array(vec![approval.details.clone()]);
                    parameters.push(("authorization_details", details.to_string()));
                }
                (true, TimeDelta::zero())
            }
        };
        if is_anew {
            parameters.push(("prompt", "login".to_owned()));
        }
        parameters.push(("max_age", max_age.num_seconds().to_string()));
        parameters
    }

    /// Name of a source: a keyed digest, since it goes through the browser.
    fn source(&self, source: &str) -> String {
        let mac = self.0.vault.mac("identity request", source.as_bytes());
        let text = URL_SAFE_NO_PAD.encode(mac);
        text.chars().take(SOURCE_LENGTH).collect()
    }

    /// Takes the request that an answer is for. It can be answered once, whatever becomes of the
    /// answer.
    pub(crate) async fn take(&self, state: &str, browser: &str) -> Result<Pending> {
        let inner = &*self.0;
        let source = state.get(..SOURCE_LENGTH);
        let name = RequestName::of(source.ok_or(ProviderError::UnknownRequest)?, state);
        let sealed = inner.requests.take(&name, inner.clock.now()).await?;
        let sealed = sealed.ok_or(ProviderError::UnknownRequest)?;
        let plain = inner.vault.open(&context(&name), &sealed)?;
        let pending: Pending =
            serde_json::from_slice(&plain).map_err(|_| StoreError::corrupt(SEALED))?;
        if !bool::from(pending.browser.as_bytes().ct_eq(browser.as_bytes())) {
            return Err(ProviderError::OtherBrowser);
        }
        Ok(Pending { name, ..pending })
    }

    /// Redeems the code of an answer, and validates the ID token: all within one timeout.
    pub(crate) async fn redeem(
        &self,
        pending: &Pending,
        callback: &Callback,
    ) -> Result<Authenticated> {
        let inner = &*self.0;
        let deadline = inner.endpoint.deadline();
        let metadata = self.metadata(deadline).await?;
        // RFC 9207: an answer of another provider, whose code is not ours to redeem.
        let is_ours = match &callback.issuer {
            Some(issuer) => *issuer == inner.config.issuer,
            None => !metadata.authorization_response_iss_parameter_supported,
        };
        if !is_ours {
            return Err(ProviderError::Issuer);
        }
        let code = callback.outcome.as_ref();
        let code = code.map_err(|error| ProviderError::Refused(error.clone()))?;
        let form = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.clone()),
            ("redirect_uri", inner.redirect_uri.clone()),
            ("code_verifier", pending.verifier.clone()),
        ];
        let answer: TokenResponse = self
            .post("token", &metadata, &metadata.token_endpoint, form, deadline)
            .await?;
        let keys = inner.endpoint.get(&metadata.jwks_uri, deadline).await;
        let keys: Keys = self
            .counted("keys", keys)
            .map_err(|error| ProviderError::Request("keys", error))?;
        let approval = match &pending.purpose {
            Purpose::Approval(approval) => Some(approval),
            Purpose::LogIn { .. } => None,
        };
        let begun = DateTime::from_timestamp(pending.begun, 0).unwrap_or_default();
        let must_be_fresh = !matches!(pending.purpose, Purpose::LogIn { again: false, .. });
        let details =
            approval.filter(|_| inner.config.approval == ApprovalBinding::AuthorizationDetails);
        let expected = Expected {
            config: &inner.config,
            nonce: &pending.nonce,
            not_before: if must_be_fresh {
                begun
            } else {
                begun - inner.max_age
            },
            details: details.map(|approval| &approval.details),
        };
        let now = inner.clock.now();
        let (psu, authenticated) = id_token::validate(&answer.id_token, &keys, &expected, now)?;
        let requests = &inner.requests;
        let is_first = requests
            .use_authentication(&pending.name, &psu, authenticated, now)
            .await?;
        // A provider can serve two waiting requests with one authentication, and one that is not
        // asked to authenticate anew returns that of a log-in.
        if approval.is_some() && !is_first {
            return Err(IdTokenError::StaleAuthentication.into());
        }
        Ok(Authenticated { psu: PsuId(psu) })
    }

    /// Address at which the customer ends the session with the provider, if the provider has one
    /// (RP-initiated logout); it leads back to `return_to`.
    pub(crate) async fn end_session_address(&self, return_to: &str) -> Option<Url> {
        let metadata = self.metadata(self.0.endpoint.deadline()).await.ok()?;
        let endpoint = metadata.end_session_endpoint.as_ref()?;
        let parameters = [
            ("client_id", self.0.config.client_id.clone()),
            ("post_logout_redirect_uri", return_to.to_owned()),
        ];
        Some(with_query(endpoint, &parameters))
    }

    /// Origin of the provider's pages, to which our forms redirect.
    pub(crate) async fn origin(&self) -> Option<String> {
        let metadata = self.metadata(self.0.endpoint.deadline()).await.ok()?;
        let origin = metadata.authorization_endpoint.origin();
        Some(origin.ascii_serialization())
    }

    /// Whether the provider can be used, as far as the last request to it has shown. After a
    /// problem, and before the first request, it is tried. A refusal of the bank as a client is
    /// reported until the provider accepts it: only a customer's log-in shows that.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        let inner = &*self.0;
        if inner.problem.load().is_some() || inner.metadata.load().is_none() {
            self.fetch_metadata(inner.endpoint.deadline())
                .await
                .map_err(|error| error.to_string())?;
        }
        match &*inner.refusal.load() {
            Some(refusal) => Err(String::clone(refusal)),
            None => Ok(()),
        }
    }

    /// Registers the metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "identity_provider_requests",
            "Requests to the identity provider, by kind and outcome",
            self.0.counts.clone(),
        );
    }

    async fn metadata(&self, deadline: Instant) -> Result<Arc<Metadata>> {
        let now = self.0.clock.now();
        if let Some(cached) = &*self.0.metadata.load()
            && (now - cached.0).abs() < METADATA_LIFETIME
        {
            return Ok(Arc::clone(&cached.1));
        }
        self.fetch_metadata(deadline).await
    }

    async fn fetch_metadata(&self, deadline: Instant) -> Result<Arc<Metadata>> {
        let inner = &*self.0;
        let address = metadata::address(&inner.config.issuer)?;
        let answer = self.counted("metadata", inner.endpoint.get(&address, deadline).await);
        let metadata: Metadata =
            answer.map_err(|error| ProviderError::Request("metadata", error))?;
        let checked = metadata.check(&inner.config);
        if let Err(error) = &checked {
            inner.problem.store(Some(Arc::new(error.to_string())));
        }
        checked?;
        let metadata = Arc::new(metadata);
        let fetched = (inner.clock.now(), Arc::clone(&metadata));
        inner.metadata.store(Some(Arc::new(fetched)));
        Ok(metadata)
    }

    /// Posts a form, authenticated as the bank.
    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        metadata: &Metadata,
        endpoint: &Url,
        mut form: Vec<(&'static str, String)>,
        deadline: Instant,
    ) -> Result<T> {
        let inner = &*self.0;
        let client_id = &inner.config.client_id;
        let id = self.random();
        let authorization = inner
            .authentication
            .load()
            .apply(client_id, metadata, &id, inner.clock.now(), &mut form)
            .map_err(|_| ProviderError::Signing)?;
        let posted = inner
            .endpoint
            .post(endpoint, &form, authorization, deadline);
        let answer = self.counted(what, posted.await);
        match &answer {
            Err(error) if error.is_of_client() => {
                let refusal =
                    format!("{what}: {error}; check client_id, and the client's secret or key");
                inner.refusal.store(Some(Arc::new(refusal)));
            }
            Ok(_) => inner.refusal.store(None),
            Err(_) => {}
        }
        answer.map_err(|error| match error {
            RequestError::OAuth(error) if error == INVALID_GRANT => ProviderError::Refused(error),
            error => ProviderError::Request(what, error),
        })
    }

    /// Records the outcome of a request.
    fn counted<T>(
        &self,
        what: &'static str,
        answer: Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        let inner = &*self.0;
        let (outcome, problem) = match &answer {
            Ok(_) => ("answered", None),
            // The customer's doing, and no problem of the provider.
            Err(RequestError::OAuth(error)) if error == INVALID_GRANT => ("refused", None),
            Err(error @ RequestError::OAuth(_)) => ("refused", Some(error)),
            Err(error) => ("failed", Some(error)),
        };
        let problem = problem.map(|error| Arc::new(format!("{what}: {error}")));
        inner.problem.store(problem);
        let labels = [("request", what), ("outcome", outcome)];
        inner.counts.get_or_create(&labels).inc();
        answer
    }

    /// 256 random bits as text.
    fn random(&self) -> String {
        let randomness = &self.0.randomness;
        URL_SAFE_NO_PAD.encode([randomness.bytes(), randomness.bytes()].concat())
    }
}

/// Faults of the files that the section names.
pub(crate) fn file_faults(
    config: &IdentityProviderConfig,
    clock: &Arc<dyn Clock>,
) -> Vec<ConfigError> {
    Files::open(config, clock).err().unwrap_or_default()
}

/// Name of the stored request, for errors.
const SEALED: &str = "identity_request.sealed";

/// Context that binds a sealed request to its state.
fn context(name: &RequestName) -> String {
    format!("identity request\n{}", name.as_str())
}

/// Nonce of a request. That of an approval is derived from the authorisation and from what was
/// shown.
fn nonce(random: &str, purpose: &Purpose) -> String {
    let mut bound = random.to_owned();
    if let Purpose::Approval(approval) = purpose {
        // Writing to a String cannot fail.
        let _ = write!(bound, "\n{}\n{}", approval.authorisation, approval.details);
    }
    digest::sha256(bound.as_bytes())
}

/// Code challenge (RFC 7636, section 4.2).
fn challenge(verifier: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

fn with_query(endpoint: &Url, parameters: &[(&'static str, String)]) -> Url {
    let mut address = endpoint.clone();
    address.query_pairs_mut().extend_pairs(parameters);
    address
}

/// Response of the token endpoint. The access token is not used.
#[derive(Deserialize)]
struct TokenResponse {
    id_token: String,
}

/// Response to a pushed authorization request (RFC 9126, section 2.2).
#[derive(Deserialize)]
struct PushedResponse {
    request_uri: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_code_challenge_is_that_of_rfc_7636() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let expected = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge(verifier), expected);
    }

    #[test]
    fn a_nonce_is_bound_to_what_is_approved() {
        let approval = |authorisation: &str, details: Value| {
            Purpose::Approval(Approval {
                authorisation: authorisation.to_owned(),
                psu: "anna".to_owned(),
                selected: None,
                details,
            })
        };
        let first = nonce("random", &approval("1", json!({"a": 1})));
        assert_eq!(first, nonce("random", &approval("1", json!({"a": 1}))));
        for other in [
            nonce("other", &approval("1", json!({"a": 1}))),
            nonce("random", &approval("2", json!({"a": 1}))),
            nonce("random", &approval("1", json!({"a": 2}))),
        ] {
            assert_ne!(first, other);
        }
    }
}
