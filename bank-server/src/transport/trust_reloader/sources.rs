//! Where trust comes from.

use std::time::Duration;

use bank_client::credentials::Credentials;
use rustls_pki_types::UnixTime;
use shared_types::revocation::UnknownStatus;

use crate::config_error::ConfigError;
use crate::transport::fetch::FetchLimits;
use crate::transport::ocsp_worker::InquiryOptions;
use crate::transport::pem_files::Source;
use crate::transport::policy::Policy;

/// Where trust comes from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Our own certificate, with the issuing CA after it, as PEM.
    pub certificate: Source,
    /// The key that belongs to it, as PEM.
    pub private_key: Source,
    /// The agreed certification authorities, as PEM.
    pub anchors: Vec<Source>,
    /// CAs below them whose lists are used as well, and which complete chains that gateways forward, as PEM.
    pub intermediates: Vec<Source>,
    /// The certificates of the gateways, as PEM.
    pub gateways: Vec<Source>,
    /// Revocation lists in files.
    pub list_files: Vec<Source>,
    /// Revocation lists at `http://` addresses; the paths are the addresses.
    pub list_addresses: Vec<Source>,
    /// What happens when nothing fresh says whether a certificate was revoked.
    pub unknown_status: UnknownStatus,
    /// How responders are asked.
    pub ocsp_worker: InquiryOptions,
    /// Limits of fetching.
    pub fetch: FetchLimits,
    /// How long between two fetches from one address, or two questions about one certificate, at most.
    pub refresh: Duration,
}

/// Where a policy comes from.
pub trait PolicySource: Send + 'static {
    /// The policy.
    type Policy: Policy;

    /// The files that it is made of.
    fn files(&self) -> Vec<Source>;

    /// Makes it from the content of those files, in the same order. `credentials` are our own. A policy that would let
    /// nobody in is a fault.
    fn make(
        &self,
        contents: &[Vec<u8>],
        credentials: &Credentials,
        now: UnixTime,
    ) -> Result<Self::Policy, ConfigError>;

    /// Whether new credentials of ours can take the place of the old ones; if not, why.
    fn check_own(&self, new: &Credentials, old: &Credentials) -> Result<(), String>;
}
