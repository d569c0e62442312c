//! Validation of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::MAX_CUSTOMER;
use crate::config::IdentityProviderConfig;

/// Difference between the provider's clock and ours that is tolerated. It is short: an
/// authentication that is older than its approval is refused.
const CLOCK_LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// Age at which an ID token is refused, however long the provider lets it be valid: it is fetched
/// when it has been issued.
const MAX_AGE: TimeDelta = TimeDelta::minutes(5);

/// Signature algorithms that are accepted: public keys alone, and none of them `none`.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::EdDSA,
];

/// The provider's keys. Those of kinds that we do not know are skipped.
#[derive(Deserialize)]
pub(super) struct Keys {
    keys: Vec<Value>,
}

/// Requirements of a token.
pub(super) struct Expected<'a> {
    pub(super) config: &'a IdentityProviderConfig,
    pub(super) nonce: &'a str,
    /// Time before which the customer must not have authenticated.
    pub(super) not_before: DateTime<Utc>,
    /// The access that has been approved, if the provider returns it.
    pub(super) details: Option<&'a Value>,
}

/// Fault of an ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdTokenError {
    #[error("it cannot be read")]
    Unreadable,
    #[error("its signature algorithm is not accepted")]
    Algorithm,
    #[error("it is signed with a key that is none of the provider's current ones")]
    UnknownKey,
    #[error("its signature is wrong")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another client")]
    Audience,
    #[error("it has expired, or is too old")]
    Expired,
    #[error("it is not valid yet: the clocks of bank and provider differ")]
    Early,
    #[error("its nonce is that of another request")]
    Nonce,
    #[error("it does not state when the customer authenticated")]
    NoAuthenticationTime,
    #[error("the customer authenticated before this was asked for, or too long ago")]
    StaleAuthentication,
    #[error("its acr is none of identity_provider.required_acr")]
    Acr,
    #[error("its amr lacks one of identity_provider.required_amr")]
    Amr,
    #[error("the claim of identity_provider.customer_claim is missing, or is no customer id")]
    Customer,
    #[error("it does not return the access that was to be approved")]
    Details,
}

impl IdTokenError {
    /// Whether the customer has authenticated, but not strongly enough.
    pub(crate) const fn is_weak(self) -> bool {
        matches!(self, Self::Acr | Self::Amr)
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: Option<String>,
    auth_time: Option<i64>,
    acr: Option<String>,
    #[serde(default)]
    amr: Vec<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Validates a token. Returns the customer's id, and when the customer was authenticated, in seconds
/// since 1970.
pub(super) fn validate(
    token: &str,
    keys: &Keys,
    expected: &Expected<'_>,
    now: DateTime<Utc>,
) -> Result<(String, i64), IdTokenError> {
    let claims = verify(token, keys)?;
    let config = expected.config;
    if claims.iss != config.issuer {
        return Err(IdTokenError::Issuer);
    }
    // Another audience could use the token, or have obtained it.
    let is_ours = match &claims.aud {
        Audience::One(audience) => *audience == config.client_id,
        Audience::Several(all) => matches!(all.as_slice(), [only] if *only == config.client_id),
    };
    if !is_ours || claims.azp.is_some_and(|party| party != config.client_id) {
        return Err(IdTokenError::Audience);
    }
    let (earliest, latest) = (
        (now - CLOCK_LEEWAY).timestamp(),
        (now + CLOCK_LEEWAY).timestamp(),
    );
    if claims.exp <= earliest || claims.iat < (now - MAX_AGE).timestamp() {
        return Err(IdTokenError::Expired);
    }
    if claims.iat > latest || claims.nbf.is_some_and(|time| time > latest) {
        return Err(IdTokenError::Early);
    }
    if claims.nonce.as_deref() != Some(expected.nonce) {
        return Err(IdTokenError::Nonce);
    }
    let authenticated = claims.auth_time.ok_or(IdTokenError::NoAuthenticationTime)?;
    if authenticated < (expected.not_before - CLOCK_LEEWAY).timestamp() {
        return Err(IdTokenError::StaleAuthentication);
    }
    if authenticated > latest {
        return Err(IdTokenError::Early);
    }
    let has_acr = |acr: &String| claims.acr.as_ref() == Some(acr);
    if !config.required_acr.is_empty() && !config.required_acr.iter().any(has_acr) {
        return Err(IdTokenError::Acr);
    }
    if !config
        .required_amr
        .iter()
        .all(|amr| claims.amr.contains(amr))
    {
        return Err(IdTokenError::Amr);
    }
    if let Some(details) = expected.details {
        let returned = claims.others.get(&config.authorization_details_claim);
        let returned = returned.and_then(Value::as_array).map(Vec::as_slice);
        if !matches!(returned, Some([only]) if only == details) {
            return Err(IdTokenError::Details);
        }
    }
    let customer = claims.others.get(&config.customer_claim);
    let customer = customer.and_then(Value::as_str).unwrap_or_default();
    let is_id = !customer.trim().is_empty()
        && customer.chars().count() <= MAX_CUSTOMER
        && !customer.contains(char::is_control);
    is_id
        .then(|| (customer.to_owned(), authenticated))
        .ok_or(IdTokenError::Customer)
}

/// Verifies the signature, and returns the claims.
fn verify(token: &str, keys: &Keys) -> Result<Claims, IdTokenError> {
    // `none` is no algorithm of the library: such a header cannot be read.
    let header = jsonwebtoken::decode_header(token).map_err(|_| IdTokenError::Algorithm)?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(IdTokenError::Algorithm);
    }
    let keys: Vec<Jwk> = keys
        .keys
        .iter()
        .filter_map(|key| serde_json::from_value(key.clone()).ok())
        .filter(|key| signs(key, header.alg))
        .collect();
    let key = match &header.kid {
        Some(id) => {
            let mut named = keys.iter();
            named.find(|key| key.common.key_id.as_ref() == Some(id))
        }
        // Without an id there must be no choice.
        None => keys.first().filter(|_| keys.len() == 1),
    };
    let key = key.and_then(|key| DecodingKey::from_jwk(key).ok());
    let key = key.ok_or(IdTokenError::UnknownKey)?;
    // The claims are validated above, on our own clock.
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode(token, &key, &validation);
    let claims: Value = decoded
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::InvalidSignature => IdTokenError::Signature,
            _ => IdTokenError::Unreadable,
        })?
        .claims;
    serde_json::from_value(claims).map_err(|_| IdTokenError::Unreadable)
}

/// Whether a key is for signatures of that algorithm.
fn signs(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_for_signatures = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
    let is_of_algorithm = match key.common.key_algorithm {
        Some(named) => Algorithm::try_from(named).is_ok_and(|named| named == algorithm),
        None => DecodingKey::from_jwk(key).is_ok_and(|key| key.family() == algorithm.family()),
    };
    is_for_signatures && is_of_algorithm
}
