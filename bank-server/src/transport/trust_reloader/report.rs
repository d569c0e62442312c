//! Status report of trust for operators, as shown by `/health/ready` and `/metrics`.

use rustls_pki_types::UnixTime;

use crate::config_error::ConfigError;

/// Status of trust.
#[derive(Debug, Clone, Default)]
pub struct TrustReport {
    /// Current problems: rejected reloads and expired parts. The server continues with the previous
    /// values.
    pub problems: Vec<ConfigError>,
    /// Number of applied changes.
    pub changes: u64,
    /// Number of rejected changes.
    pub refusals: u64,
    /// Number of OCSP queries.
    pub ocsp_queries: u64,
    /// Number of OCSP queries without a usable response.
    pub ocsp_failures: u64,
    /// Whether no peer can connect: CRLs of all anchors are missing or stale where one is required,
    /// no anchor is valid, or our key cannot sign.
    pub closed: bool,
    /// The last second of our own certificate.
    pub certificate_until: Option<UnixTime>,
    /// The current CRLs.
    pub lists: Vec<CrlReport>,
}

impl TrustReport {
    /// The last report of a reloader that has failed: it will not be updated again.
    pub(super) fn reloader_failed(&self) -> Self {
        let mut report = self.clone();
        let problem = "the trust reloader has failed; restart the server, and report its log";
        report.problems.push(ConfigError::new("trust", problem));
        report.closed = true;
        report
    }
}

/// Status of one CRL.
#[derive(Debug, Clone)]
pub struct CrlReport {
    /// The issuer.
    pub issuer: String,
    /// `thisUpdate`.
    pub this_update: UnixTime,
    /// `nextUpdate`.
    pub next_update: UnixTime,
    /// Number of revoked certificates.
    pub entries: usize,
}
