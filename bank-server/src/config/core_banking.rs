//! Section `[core_banking]`: a core banking system over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_types::pki::key_location::KeyLocation;
use url::Url;
use utoipa::ToSchema;

use super::is_loopback;
use crate::config_error::ConfigError;

/// Section `[core_banking]`: the bank's own core banking system behind an HTTP API
/// (`docs/core-banking-api.md`), in place of the built-in ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CoreBankingConfig {
    /// Address of the API, without `/v1`. `https`, or `http` to a loopback address.
    #[schema(value_type = String, example = "https://core.internal")]
    pub url: Url,
    /// PEM or DER file: the certificate that the bank server presents, then the CA that issued it.
    /// Required with `https`.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "core-client.pem")]
    pub certificate: Option<PathBuf>,
    /// PEM or DER file: the private key of the certificate, with file mode 600. Or a key on a
    /// token, by its PKCS#11 URI: see [keys-on-tokens.md](keys-on-tokens.md).
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "core-client.key")]
    pub private_key: Option<KeyLocation>,
    /// PEM or DER files: the trust anchors of the core's certificate. The system's root store is
    /// never used. Required with `https`.
    #[serde(default, serialize_with = "super::schema::nothing")]
    #[schema(value_type = Vec<String>, example = json!(["core-ca.pem"]))]
    pub anchors: Vec<PathBuf>,
    /// Whether the core numbers entries in the order of their arrival, for delta reports.
    #[serde(default)]
    pub deltas: bool,
    /// Whether the core searches the texts of transactions. If not, the bank server reads pages and
    /// searches them.
    #[serde(default)]
    pub text_search: bool,
    /// Timeout for an answer of the core, with connection and repetition.
    #[serde(default = "response_timeout_seconds")]
    #[schema(minimum = 1, maximum = 300)]
    pub response_timeout_seconds: u64,
    /// Maximum concurrent queries. Each further one waits for at most `response_timeout_seconds`.
    #[serde(default = "max_concurrent_requests")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub max_concurrent_requests: usize,
}

fn response_timeout_seconds() -> u64 {
    5
}

fn max_concurrent_requests() -> usize {
    128
}

impl CoreBankingConfig {
    /// Timeout for an answer.
    pub(crate) fn response_timeout(&self) -> Duration {
        Duration::from_secs(self.response_timeout_seconds)
    }

    /// The paths of the section.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.certificate.iter_mut().chain(&mut self.anchors)
    }

    /// Errors that can be found without opening anything.
    pub(crate) fn faults(&self) -> Vec<ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, problem: &str| {
            faults.push(ConfigError::new(format!("core_banking.{key}"), problem));
        };
        let is_plain = self.url.username().is_empty()
            && self.url.password().is_none()
            && self.url.query().is_none()
            && self.url.fragment().is_none();
        if !is_plain {
            fault("url", "must be an address without user, query and fragment");
        }
        match self.url.scheme() {
            "https" => {
                if self.anchors.is_empty() {
                    fault(
                        "anchors",
                        "names no certification authority: no core could be trusted",
                    );
                }
                if self.certificate.is_none() {
                    fault(
                        "certificate",
                        "is missing: the core accepts no caller without one",
                    );
                }
                if self.private_key.is_none() {
                    fault("private_key", "is missing: it belongs to the certificate");
                }
            }
            "http" if is_loopback(&self.url) => {
                if self.certificate.is_some() || self.private_key.is_some() {
                    fault(
                        "certificate",
                        "has no use over http: remove it, or use https",
                    );
                }
            }
            _ => fault(
                "url",
                "must be an https address; http is for a core on this machine alone, such as \
                 http://127.0.0.1:8080",
            ),
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TLS: &str = "certificate = \"c.pem\"\nprivate_key = \"c.key\"\nanchors = [\"ca.pem\"]";

    #[test]
    fn each_value_has_its_fault() {
        let places = |text: &str| -> Vec<String> {
            let config: CoreBankingConfig = toml::from_str(text).unwrap();
            let faults = config.faults().into_iter();
            faults.map(|fault| fault.key).collect()
        };
        for good in [
            format!("url = \"https://core.internal/xs2a\"\n{TLS}"),
            "url = \"http://127.0.0.1:8080\"".to_owned(),
            "url = \"http://[::1]\"".to_owned(),
            "url = \"http://localhost:1\"".to_owned(),
        ] {
            assert_eq!(places(&good), Vec::<String>::new(), "{good}");
        }
        let text = format!("url = \"http://127.0.0.1\"\n{TLS}");
        assert_eq!(places(&text), ["core_banking.certificate"]);
        for url in [
            "http://core.internal",
            "http://127.0.0.1.example",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "https://u@core.internal",
            "https://core.internal?q",
            "https://core.internal#f",
        ] {
            let text = format!("url = \"{url}\"\n{TLS}");
            assert_eq!(places(&text), ["core_banking.url"], "{url}");
        }
        assert_eq!(
            places("url = \"https://core.internal\""),
            [
                "core_banking.anchors",
                "core_banking.certificate",
                "core_banking.private_key"
            ]
        );
    }
}
