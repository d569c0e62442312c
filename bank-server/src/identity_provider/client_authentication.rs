//! Authentication of the bank to the provider: a client secret, or signed assertions
//! (`private_key_jwt`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::HeaderValue;
use serde::Serialize;
use shared_types::files::is_open_to_others;
use shared_types::pki::pem::{self, Kind};

use super::metadata::Metadata;
use crate::config::{ConfigError, IdentityProviderConfig};
use crate::transport::pem_files::{Files, Source};

/// Validity of an assertion.
const ASSERTION_LIFETIME: TimeDelta = TimeDelta::minutes(1);

/// Type of an assertion (RFC 7523, section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Maximum length of a client secret.
const MAX_SECRET: usize = 1024;

/// A secret or a key. Without `Debug`.
pub(super) enum ClientAuthentication {
    Secret(String),
    Key(EncodingKey),
}

/// An assertion could not be signed.
pub(super) struct SigningFailed;

#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: &'a str,
    iat: i64,
    exp: i64,
}

impl ClientAuthentication {
    /// The file that the configuration names.
    pub(super) fn sources(config: &IdentityProviderConfig) -> Vec<Source> {
        let key = config.private_key.as_ref();
        let secret = config.client_secret_file.as_ref();
        let key = key.map(|path| Source::new("identity_provider.private_key", path));
        let secret = secret.map(|path| Source::new("identity_provider.client_secret_file", path));
        key.into_iter().chain(secret).collect()
    }

    /// Reads the content of that file.
    pub(super) fn read(
        config: &IdentityProviderConfig,
        files: Files<'_>,
    ) -> Result<Self, Vec<ConfigError>> {
        // None, or two, are a fault of the section.
        let Ok([(source, file)]) = <[_; 1]>::try_from(files) else {
            return Err(Vec::new());
        };
        let read = if is_open_to_others(&source.path) {
            Err("is open to others; run chmod 600".to_owned())
        } else if config.private_key.is_some() {
            key(&file).map(Self::Key)
        } else {
            secret(file).map(Self::Secret)
        };
        read.map_err(|problem| vec![source.fault(&problem)])
    }

    /// Adds to a form what authenticates the bank, or returns the header that does. `id` is the
    /// unique id of an assertion.
    pub(super) fn apply(
        &self,
        client_id: &str,
        metadata: &Metadata,
        id: &str,
        now: DateTime<Utc>,
        form: &mut Vec<(&'static str, String)>,
    ) -> Result<Option<HeaderValue>, SigningFailed> {
        // Parameters must not come twice (RFC 6749, section 3.2); a pushed request has it already.
        form.retain(|(name, _)| *name != "client_id");
        form.push(("client_id", client_id.to_owned()));
        match self {
            Self::Secret(secret) => {
                let methods = metadata.token_endpoint_auth_methods_supported.as_deref();
                let has = |name: &str| methods.is_some_and(|all| all.iter().any(|one| one == name));
                if has("client_secret_post") && !has("client_secret_basic") {
                    form.push(("client_secret", secret.clone()));
                    return Ok(None);
                }
                basic(client_id, secret).map(Some).ok_or(SigningFailed)
            }
            Self::Key(key) => {
                let assertion = Assertion {
                    iss: client_id,
                    sub: client_id,
                    aud: &metadata.issuer,
                    jti: id,
                    iat: now.timestamp(),
                    exp: (now + ASSERTION_LIFETIME).timestamp(),
                };
                let signed = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &assertion, key);
                let signed = signed.map_err(|_| SigningFailed)?;
                form.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", signed));
                Ok(None)
            }
        }
    }
}

fn secret(file: Vec<u8>) -> Result<String, String> {
    let secret = String::from_utf8(file).map_err(|_| "is no text".to_owned())?;
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.len() > MAX_SECRET || secret.contains(char::is_control) {
        return Err(format!(
            "must hold one line of at most {MAX_SECRET} characters"
        ));
    }
    Ok(secret.to_owned())
}

fn key(file: &[u8]) -> Result<EncodingKey, String> {
    let found = pem::only(Kind::PrivateKey, file).map_err(|error| error.to_string())?;
    let [only] = found.as_slice() else {
        return Err("holds several keys; leave one".to_owned());
    };
    let key = EncodingKey::from_ec_der(&only.der);
    // A key of another kind signs nothing.
    let trial = jsonwebtoken::crypto::sign(b"", &key, Algorithm::ES256);
    trial.map(|_| key).map_err(|_| {
        "is no EC P-256 key in PKCS#8: openssl genpkey -algorithm EC -pkeyopt \
         ec_paramgen_curve:P-256"
            .to_owned()
    })
}

/// Header of HTTP basic authentication (RFC 6749, section 2.3.1): both parts are encoded as in a
/// form first.
fn basic(client_id: &str, secret: &str) -> Option<HeaderValue> {
    let encoded =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let both = format!("{}:{}", encoded(client_id), encoded(secret));
    let mut header = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(both))).ok()?;
    header.set_sensitive(true);
    Some(header)
}
