//! Observations of a probe, from which steps and verdict are derived.

use std::net::SocketAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::Serialize;
use shared_types::pki::alert::Alert;
use shared_types::pki::certificate::{CertificateSummary, hosts};
use shared_types::pki::eidas::organisation_of;
use shared_types::pki::trust::validity;

use super::answer::ProbeResponse;
use super::{Limits, Stage};
use crate::tls::ServerRefusal;

/// All observations of a probe.
#[derive(Debug, Clone)]
pub(super) struct Observations {
    /// Host and port of the probed URL.
    pub(super) server: String,
    /// Start of the probe.
    pub(super) at: DateTime<Utc>,
    pub(super) limits: Limits,
    /// Our certificate chain, leaf first; empty without credentials.
    pub(super) own_chain: Vec<CertificateFacts>,
    /// The server's address, once the TCP connection is open.
    pub(super) address: Option<SocketAddr>,
    /// TLS parameters that we offer.
    pub(super) offered: Vec<Fact>,
    pub(super) negotiated: Negotiated,
    /// The server's certificate chain, leaf first.
    pub(super) server_chain: Vec<CertificateFacts>,
    /// Our reason for refusing the server's certificate, if we refused it.
    pub(super) refusal: Option<ServerRefusal>,
    /// Whether the server's handshake signature is valid: it holds the key of its certificate.
    pub(super) is_key_proved: bool,
    /// The server's certificate request, if it sent one.
    pub(super) certificate_request: Option<CertificateRequest>,
    pub(super) end: End,
}

/// Negotiated TLS parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Negotiated {
    pub(super) version: Option<String>,
    /// Whether the server verifies our certificate before our handshake completes: in TLS 1.2 it
    /// does, in TLS 1.3 afterwards.
    pub(super) verifies_client_in_handshake: bool,
    pub(super) cipher_suite: Option<String>,
    pub(super) key_exchange_group: Option<String>,
    pub(super) application_protocol: Option<String>,
    /// Full, full after a retry with another group, or resumed.
    pub(super) handshake_kind: Option<String>,
    /// Whether the handshake is complete on our side.
    pub(super) is_complete: bool,
}

/// The server's certificate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateRequest {
    /// Names of the authorities that the server accepts.
    pub(super) authorities: Vec<String>,
    pub(super) response: Presented,
}

/// Our response to a certificate request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presented {
    Certificate,
    /// No certificate, for we have no credentials.
    None,
    /// No certificate, for our key supports no signature scheme that the server accepts.
    NoCommonScheme,
}

/// End of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The TCP connection failed.
    Unreachable(String),
    /// The timeout of a stage expired.
    TimedOut(Stage),
    /// The server sent an alert.
    Alert(Alert),
    /// The server does not speak TLS.
    NotTls,
    /// We aborted the handshake, or the server violated the protocol.
    TlsError(String),
    /// The connection ended without an alert; with the I/O error, if there was one.
    Closed(Option<String>),
    /// The response is not HTTP/1.1.
    NotHttp,
    /// The head of the response exceeds the limit.
    TooLarge,
    /// The server sent an HTTP response.
    Answered(ProbeResponse),
}

impl Observations {
    /// Whether the server's certificate is trusted and its handshake signature is valid.
    pub(super) fn is_server_verified(&self) -> bool {
        !self.server_chain.is_empty() && self.refusal.is_none() && self.is_key_proved
    }

    /// Whether we sent our certificate. We send it to a verified server only.
    pub(super) fn is_certificate_sent(&self) -> bool {
        self.is_server_verified()
            && self
                .certificate_request
                .as_ref()
                .is_some_and(|request| request.response == Presented::Certificate)
    }

    /// Whether the handshake completed without a certificate request.
    pub(super) fn is_certificate_not_requested(&self) -> bool {
        self.negotiated.is_complete && self.certificate_request.is_none()
    }

    /// Host and port of the server, and its organisation if it is verified.
    pub(super) fn server_name(&self) -> String {
        let organisation = (self.server_chain.first()).and_then(|leaf| leaf.organisation.as_ref());
        match organisation {
            Some(organisation) if self.is_server_verified() => {
                format!("{} ({organisation})", self.server)
            }
            _ => self.server.clone(),
        }
    }
}

/// Name and value of an observed property, such as the cipher suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Name, such as `cipher suite`.
    pub name: String,
    /// Value, such as `TLS13_AES_256_GCM_SHA384`.
    pub value: String,
}

impl Fact {
    pub(super) fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// Contents of a certificate, which need not be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    pub(super) summary: CertificateSummary,
    /// First and last second of its validity.
    pub(super) validity: Option<(UnixTime, UnixTime)>,
    /// Host names of its subject alternative name.
    pub(super) hosts: Vec<String>,
    pub(super) organisation: Option<String>,
}

impl CertificateFacts {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        Self {
            summary: CertificateSummary::of(certificate),
            validity: validity(certificate).map(|window| (window.from, window.until)),
            hosts: hosts(certificate),
            organisation: organisation_of(certificate).ok().map(|id| id.to_string()),
        }
    }

    fn to_text(&self) -> String {
        let mut parts = vec![self.summary.to_string()];
        if let Some((from, until)) = self.validity {
            parts.push(format!(
                "valid from {} to {}",
                format_unix(from),
                format_unix(until)
            ));
        }
        if !self.hosts.is_empty() {
            parts.push(format!("for {}", self.hosts.join(", ")));
        }
        parts.push(format!("SHA-256 {}", self.summary.fingerprint));
        parts.join(", ")
    }
}

/// The certificates of a chain as facts, numbered from the leaf.
pub(super) fn chain_facts(certificates: &[CertificateFacts]) -> impl Iterator<Item = Fact> {
    certificates
        .iter()
        .enumerate()
        .map(|(index, one)| Fact::new(format!("certificate {}", index + 1), one.to_text()))
}

/// A time in the format of RFC 3339.
pub(super) fn format_unix(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or_else(|| "an unknown time".to_owned(), format_time)
}

/// A time in the format of RFC 3339, to the second.
pub(super) fn format_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
