//! Sources of trust: the files and addresses that the reloader watches.

use std::time::Duration;

use rustls_pki_types::UnixTime;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::revocation::UnknownStatus;

use crate::config_error::ConfigError;
use crate::transport::fetch::FetchLimits;
use crate::transport::ocsp_worker::OcspOptions;
use crate::transport::pem_files::Source;
use crate::transport::policy::Policy;

/// Sources of trust.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Our own certificate, with the issuing CA after it, as PEM.
    pub certificate: Source,
    /// The key that belongs to it, as PEM.
    pub private_key: Source,
    /// The agreed certification authorities, as PEM.
    pub anchors: Vec<Source>,
    /// Intermediate CAs whose CRLs are used as well, and which complete chains that gateways
    /// forward, as PEM.
    pub intermediates: Vec<Source>,
    /// The certificates of the gateways, as PEM.
    pub gateways: Vec<Source>,
    /// Revocation lists in files.
    pub list_files: Vec<Source>,
    /// Revocation lists at `http://` addresses; the paths are the addresses.
    pub list_addresses: Vec<Source>,
    /// Treatment of certificates without a fresh revocation status.
    pub unknown_status: UnknownStatus,
    /// Settings of the OCSP client.
    pub ocsp: OcspOptions,
    /// Limits of the HTTP client.
    pub fetch: FetchLimits,
    /// Longest interval between two fetches of one address, or two OCSP queries for one
    /// certificate.
    pub refresh: Duration,
}

/// Source of a policy.
pub trait PolicySource: Send + 'static {
    /// The policy.
    type Policy: Policy;

    /// The files that it is built from.
    fn files(&self) -> Vec<Source>;

    /// Builds the policy from the contents of those files, in the same order. `credentials` are our
    /// own. Fails if the policy would authorise no peer.
    fn make(
        &self,
        contents: &[Vec<u8>],
        credentials: &Credentials,
        now: UnixTime,
    ) -> Result<Self::Policy, ConfigError>;

    /// Checks that new credentials may replace the old ones.
    fn check_own(&self, new: &Credentials, old: &Credentials) -> Result<(), String>;
}
