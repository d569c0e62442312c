//! How trust stands, for operators.

use rustls_pki_types::UnixTime;

use crate::config_error::ConfigError;

/// How trust stands, for operators.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What was refused and still is, and what has run out. The server goes on with what it had.
    pub problems: Vec<ConfigError>,
    /// How often a change was put in place.
    pub changes: u64,
    /// How often something was refused.
    pub refusals: u64,
    /// How often an OCSP responder was asked.
    pub questions: u64,
    /// How often no answer came of it that can be used.
    pub failures: u64,
    /// Whether nobody at all can come in: every anchor's list is missing or stale where one is asked for.
    pub closed: bool,
    /// The last second of our own certificate.
    pub certificate_until: Option<UnixTime>,
    /// The lists at hand.
    pub lists: Vec<ListReport>,
}

impl Report {
    /// The last report of a keeper that has failed: what it says of trust will not become better.
    pub(super) fn given_up(&self) -> Self {
        let mut report = self.clone();
        let problem = "trust is no longer kept up to date; restart the server, and report its log";
        report.problems.push(ConfigError::new("trust", problem));
        report.closed = true;
        report
    }
}

/// A revocation list, for operators.
#[derive(Debug, Clone)]
pub struct ListReport {
    /// Whose.
    pub issuer: String,
    /// When it was made.
    pub this_update: UnixTime,
    /// By when there will be another.
    pub next_update: UnixTime,
    /// How many certificates are on it.
    pub entries: usize,
}
