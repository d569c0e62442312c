//! Sources of trust: the files and addresses from which the reloader loads it.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::revocation::UnknownStatus;

use crate::config_error::ConfigError;
use crate::transport::fetch::FetchLimits;
use crate::transport::ocsp_worker::OcspOptions;
use crate::transport::pem_files::{KeySource, Source};
use crate::transport::policy::Policy;

/// Files and addresses of our credentials, trust anchors and CRLs, with settings for loading them.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Our certificate chain, leaf first, as PEM.
    pub certificate: Source,
    /// The private key of our certificate: a PEM file, or a key on a token.
    pub private_key: KeySource,
    /// Trust anchors: the agreed certification authorities, as PEM.
    pub anchors: Vec<Source>,
    /// Intermediate CAs, as PEM. CRLs that they issued are accepted, and chains that gateways
    /// forward may omit them.
    pub intermediates: Vec<Source>,
    /// The certificates of the gateways, as PEM.
    pub gateways: Vec<Source>,
    /// CRLs in files.
    pub crl_files: Vec<Source>,
    /// CRLs at `http://` addresses. The `path` of such a source is the address.
    pub crl_addresses: Vec<Source>,
    /// Treatment of certificates without a fresh revocation status.
    pub unknown_status: UnknownStatus,
    /// Settings of the OCSP client.
    pub ocsp: OcspOptions,
    /// Limits of the HTTP client.
    pub fetch: FetchLimits,
    /// Maximum interval between two fetches of one CRL, and two OCSP queries for one certificate.
    pub refresh: Duration,
}

impl Sources {
    /// The files of certificate and key, which change together.
    pub(super) fn credential_files(&self) -> Vec<Source> {
        let secret = self.private_key.secret_file();
        std::iter::once(self.certificate.clone())
            .chain(secret)
            .collect()
    }
}

/// Files from which a [`Policy`] is built.
pub trait PolicySource: Send + 'static {
    /// The policy that is built.
    type Policy: Policy;

    /// The files, in the order that [`build`](Self::build) expects.
    fn files(&self) -> Vec<Source>;

    /// Builds the policy from the contents of the files, and from our own `credentials`. Fails if
    /// the policy would authorise no peer.
    fn build(
        &self,
        contents: &[Vec<u8>],
        credentials: &Credentials,
        now: UnixTime,
    ) -> Result<Self::Policy, ConfigError>;

    /// Checks that `new` credentials may replace our `old` ones, such as that both are of the same
    /// organisation.
    fn check_replacement(&self, new: &Credentials, old: &Credentials) -> Result<(), String>;
}
