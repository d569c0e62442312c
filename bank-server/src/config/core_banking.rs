//! Section `[core_banking]`: a core banking system over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_types::pki::key_location::KeyLocation;
use url::Url;
use utoipa::ToSchema;

use super::ServiceSection;

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
    /// The service that the section describes.
    pub(crate) fn service(&self) -> ServiceSection<'_> {
        ServiceSection {
            name: "core_banking",
            url: &self.url,
            certificate: self.certificate.as_deref(),
            private_key: self.private_key.as_ref(),
            anchors: &self.anchors,
            response_timeout: Duration::from_secs(self.response_timeout_seconds),
            max_concurrent_requests: self.max_concurrent_requests,
        }
    }

    /// The paths of the section.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        self.certificate.iter_mut().chain(&mut self.anchors)
    }
}
