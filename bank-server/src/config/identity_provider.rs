//! Section `[identity_provider]`: log-in and approval by the bank's own identity provider.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::is_loopback;
use crate::config_error::ConfigError;

/// Section `[identity_provider]`: customers log in and approve at this OpenID Connect provider. The
/// bank keeps no passwords, codes and passkeys then, and offers the redirect approach alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdentityProviderConfig {
    /// Issuer identifier, exactly as in the provider's ID tokens. Plain `http` is accepted for a
    /// loopback address only.
    #[schema(example = "https://login.bank-b.example")]
    pub issuer: String,
    /// Id under which the bank is registered with the provider. The redirect URI to register is
    /// `/log-in/callback` at `online_banking.origin`.
    #[schema(example = "online-banking")]
    pub client_id: String,
    /// File with the client secret, with file mode 600. Needs to be there unless `private_key` is.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "identity-provider.secret")]
    pub client_secret_file: Option<PathBuf>,
    /// PEM file with an EC P-256 key in PKCS#8, with file mode 600: the bank authenticates by
    /// signed assertions (`private_key_jwt`, ES256) instead of a secret.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "identity-provider.key")]
    pub private_key: Option<PathBuf>,
    /// PEM or DER files: the trust anchors for the provider's TLS certificate. The system's root
    /// store is never used.
    #[serde(default, serialize_with = "super::schema::nothing")]
    #[schema(value_type = Vec<String>, example = json!(["internal-ca.pem"]))]
    pub anchors: Vec<PathBuf>,
    /// Scopes to request; `openid` has to be among them.
    #[serde(default = "scopes")]
    #[schema(example = json!(["openid", "profile"]))]
    pub scopes: Vec<String>,
    /// Claim of the ID token that holds the customer's id at the core banking system: a string.
    #[serde(default = "customer_claim")]
    #[schema(example = "customer_number")]
    pub customer_claim: String,
    /// Values of `acr` that stand for strong customer authentication: the ID token has to have one
    /// of them. At least one of `required_acr` and `required_amr` has to be set.
    #[serde(default)]
    #[schema(example = json!(["urn:bank-b:sca"]))]
    pub required_acr: Vec<String>,
    /// Values of `amr` that the ID token has to have, all of them.
    #[serde(default)]
    #[schema(example = json!(["mfa"]))]
    pub required_amr: Vec<String>,
    /// Method by which an approval is bound to what was shown to the customer, beside the fresh
    /// authentication that each approval takes: `fresh-log-in`, no further one;
    /// `authorization-details`, the provider is sent the access to approve (RFC 9396) in a pushed
    /// request (RFC 9126), shows it, and returns it in the ID token.
    #[serde(default)]
    pub approval: ApprovalBinding,
    /// Claim of the ID token in which the provider returns the approved `authorization_details`.
    #[serde(default = "details_claim")]
    pub authorization_details_claim: String,
    /// Timeout of a step of a log-in or approval: of all its requests to the provider together.
    #[serde(default = "response_timeout")]
    #[schema(minimum = 1, maximum = 10)]
    pub response_timeout_seconds: u64,
}

/// Binding of an approval to what was shown to the customer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalBinding {
    /// By a fresh authentication, whose nonce is that of the approval.
    #[default]
    FreshLogIn,
    /// And by the access itself, which the provider shows and returns.
    AuthorizationDetails,
}

fn scopes() -> Vec<String> {
    vec!["openid".to_owned()]
}

fn customer_claim() -> String {
    "sub".to_owned()
}

fn details_claim() -> String {
    "authorization_details".to_owned()
}

fn response_timeout() -> u64 {
    5
}

impl IdentityProviderConfig {
    /// The files that the section names.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let secrets = self.client_secret_file.iter_mut();
        secrets
            .chain(&mut self.private_key)
            .chain(&mut self.anchors)
    }

    /// Whether the provider is reached over plain HTTP, on this machine.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.issuer.starts_with("http://")
    }

    /// Faults that need no file or socket to find.
    pub(super) fn faults(&self, has_pages: bool) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, problem: &str| {
            faults.push(ConfigError::new(
                format!("identity_provider.{key}"),
                problem,
            ));
        };
        if !has_pages {
            fault(
                "issuer",
                "is for the bank's own pages: add [online_banking], or leave this section out",
            );
        }
        match Url::parse(&self.issuer) {
            Ok(url) if is_endpoint(&url, true) && is_bare(&url) => {}
            _ => fault(
                "issuer",
                "must be an https address without user, query and fragment, such as \
                 https://login.bank.example; plain http is for a loopback address",
            ),
        }
        if self.client_id.is_empty() {
            fault("client_id", "is empty");
        }
        match (&self.client_secret_file, &self.private_key) {
            (None, None) => fault(
                "client_secret_file",
                "is missing: name the file of the client secret, or a private_key",
            ),
            (Some(_), Some(_)) => fault(
                "private_key",
                "stands beside client_secret_file: the bank authenticates by one of them",
            ),
            _ => {}
        }
        if self.anchors.is_empty() && !self.is_plain_http() {
            fault(
                "anchors",
                "names no certification authority: the provider could not be reached",
            );
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            fault("scopes", "must have \"openid\" among them");
        }
        if self.required_acr.is_empty() && self.required_amr.is_empty() {
            fault(
                "required_acr",
                "is missing, and so is required_amr: without them a log-in by password alone would \
                 count as strong customer authentication",
            );
        }
        faults
    }
}

/// Whether the bank connects to that address: over TLS, or on this machine if plain HTTP is
/// allowed.
pub(crate) fn is_endpoint(url: &Url, plain_http: bool) -> bool {
    match url.scheme() {
        "https" => url.has_host(),
        "http" => plain_http && is_loopback(url),
        _ => false,
    }
}

fn is_bare(url: &Url) -> bool {
    url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
issuer = "https://login.example"
client_id = "c"
client_secret_file = "s"
anchors = ["a"]
required_acr = ["sca"]
"#;

    fn places(text: &str, has_pages: bool) -> Vec<String> {
        let config: IdentityProviderConfig = toml::from_str(text).unwrap();
        let faults = config.faults(has_pages).into_iter();
        faults.map(|fault| fault.key).collect()
    }

    #[test]
    fn each_value_has_its_fault() {
        assert!(places(GOOD, true).is_empty());
        assert_eq!(places(GOOD, false), ["identity_provider.issuer"]);
        for (from, to, key) in [
            ("https://login.example", "http://login.example", "issuer"),
            // A name server decides where it leads.
            ("https://login.example", "http://login.localhost", "issuer"),
            ("https://login.example", "https://login.example?x", "issuer"),
            ("https://login.example", "https://u@login.example", "issuer"),
            ("https://login.example", "login.example", "issuer"),
            ("client_id = \"c\"", "client_id = \"\"", "client_id"),
            ("client_secret_file = \"s\"", "", "client_secret_file"),
            (
                "client_secret_file = \"s\"",
                "client_secret_file = \"s\"\nprivate_key = \"k\"",
                "private_key",
            ),
            ("[\"a\"]", "[]", "anchors"),
            ("[\"sca\"]", "[]", "required_acr"),
            (
                "required_acr",
                "scopes = [\"profile\"]\nrequired_acr",
                "scopes",
            ),
        ] {
            let found = places(&GOOD.replace(from, to), true);
            assert_eq!(found, [format!("identity_provider.{key}")], "{to}");
        }
        // On this machine, and with `amr` in place of `acr`.
        let local = GOOD
            .replace("https://login.example", "http://127.0.0.1:9")
            .replace("anchors = [\"a\"]", "")
            .replace("required_acr", "required_amr");
        assert!(places(&local, true).is_empty());
    }
}
