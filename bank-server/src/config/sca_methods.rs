//! Section `[sca_methods]`: SCA methods of the bank's own, behind an HTTP API.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shared_types::pki::key_location::KeyLocation;
use url::Url;
use utoipa::ToSchema;

use super::ServiceSection;

/// Section `[sca_methods]`: SCA methods of the bank's own systems, such as codes by SMS and
/// approvals in the bank's app, behind an HTTP API (`docs/sca-methods-api.md`). They serve the
/// embedded and the decoupled approach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaMethodsConfig {
    /// Address of the API, without `/v1`. `https`, or `http` to a loopback address.
    #[schema(value_type = String, example = "https://sca.internal")]
    pub url: Url,
    /// PEM or DER file: the certificate that the bank server presents, then the CA that issued it.
    /// Required with `https`.
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "sca-client.pem")]
    pub certificate: Option<PathBuf>,
    /// PEM or DER file: the private key of the certificate, with file mode 600. Or a key on a
    /// token, by its PKCS#11 URI: see [keys-on-tokens.md](keys-on-tokens.md).
    #[serde(serialize_with = "super::schema::nothing")]
    #[schema(value_type = Option<String>, example = "sca-client.key")]
    pub private_key: Option<KeyLocation>,
    /// PEM or DER files: the trust anchors of the service's certificate. The system's root store is
    /// never used. Required with `https`.
    #[serde(default, serialize_with = "super::schema::nothing")]
    #[schema(value_type = Vec<String>, example = json!(["internal-ca.pem"]))]
    pub anchors: Vec<PathBuf>,
    /// Timeout for an answer of the service, with connection and repetition.
    #[serde(default = "response_timeout_seconds")]
    #[schema(minimum = 1, maximum = 60)]
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
    64
}

impl ScaMethodsConfig {
    /// The service that the section describes.
    pub(crate) fn service(&self) -> ServiceSection<'_> {
        ServiceSection {
            name: "sca_methods",
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
