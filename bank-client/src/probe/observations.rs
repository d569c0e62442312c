//! Observations of a probe, from which steps and verdict are derived.

use std::net::SocketAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::Serialize;
use shared_types::pki::alert::Alert;
use shared_types::pki::certificate::{CertificateSummary, hosts};
use shared_types::pki::eidas::organisation_of;
use shared_types::pki::trust::validity;

use super::answer::Answer;
use super::{Limits, Stage};
use crate::tls::ServerRefusal;

/// All observations of a probe.
#[derive(Debug, Clone)]
pub(super) struct Observations {
    /// Host and port, as they were asked for.
    pub(super) server: String,
    /// The time.
    pub(super) at: DateTime<Utc>,
    pub(super) limits: Limits,
    /// Our own chain, if we have one to show.
    pub(super) own: Vec<CertificateFacts>,
    /// The address to which the connection led.
    pub(super) address: Option<SocketAddr>,
    pub(super) offered: Vec<Fact>,
    pub(super) agreed: Agreed,
    /// The server's chain, its own certificate first.
    pub(super) chain: Vec<CertificateFacts>,
    /// Our reason to refuse it, if we did.
    pub(super) refused: Option<ServerRefusal>,
    /// Whether it proved that it holds the key of its certificate.
    pub(super) proved: bool,
    /// The server's certificate request, if it sent one.
    pub(super) asked: Option<CertificateRequest>,
    pub(super) end: End,
}

/// Negotiated TLS parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) version: Option<String>,
    /// In TLS 1.2 the handshake ends after the server has judged our certificate; in TLS 1.3
    /// before.
    pub(super) judged_within: bool,
    pub(super) suite: Option<String>,
    pub(super) group: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) kind: Option<String>,
    /// Whether our side of the handshake was done.
    pub(super) complete: bool,
}

/// The server's certificate request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateRequest {
    /// The authorities that it named, as text.
    pub(super) authorities: Vec<String>,
    pub(super) shown: Presented,
}

/// Our response to a certificate request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presented {
    Certificate,
    /// We have none.
    None,
    /// Our key makes none of the signatures that the server accepts.
    NoneThatFits,
}

/// End of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// No connection came about.
    Unreachable(String),
    /// A limit in time was reached.
    TimedOut(Stage),
    /// The server sent an alert.
    Alert(Alert),
    /// The server does not speak TLS.
    NotTls,
    /// We broke the handshake off, or the server sent what cannot be understood.
    Fault(String),
    /// The connection ended without an alert; what the system said, if it was not closed in an
    /// orderly way.
    Closed(Option<String>),
    /// The response is not HTTP/1.1.
    NotHttp,
    /// The head of the answer is larger than we take.
    TooLarge,
    /// The server answered over HTTP.
    Answered(Answer),
}

impl Observations {
    /// Whether the server's certificate, and its proof that it holds the key, were found good.
    pub(super) fn verified(&self) -> bool {
        !self.chain.is_empty() && self.refused.is_none() && self.proved
    }

    /// Whether we showed our certificate.
    pub(super) fn shown(&self) -> bool {
        self.verified()
            && self
                .asked
                .as_ref()
                .is_some_and(|asked| asked.shown == Presented::Certificate)
    }

    /// Whether the handshake went by without a word about our certificate.
    pub(super) fn not_asked(&self) -> bool {
        self.agreed.complete && self.asked.is_none()
    }

    /// The server, with the organisation that it proved to be.
    pub(super) fn name(&self) -> String {
        let organisation = self.chain.first().and_then(|own| own.organisation.as_ref());
        match organisation {
            Some(organisation) if self.verified() => format!("{} ({organisation})", self.server),
            _ => self.server.clone(),
        }
    }
}

/// One of the protocol's facts, for people and programs alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// Name, such as `cipher suite`.
    pub name: String,
    /// The fact, such as `TLS13_AES_256_GCM_SHA384`.
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

/// Contents of a certificate, whether trusted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CertificateFacts {
    pub(super) summary: CertificateSummary,
    /// The first and the last second.
    pub(super) validity: Option<(UnixTime, UnixTime)>,
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

    fn line(&self) -> String {
        let mut parts = vec![self.summary.to_string()];
        if let Some((from, until)) = self.validity {
            parts.push(format!("valid from {} to {}", when(from), when(until)));
        }
        if !self.hosts.is_empty() {
            parts.push(format!("for {}", self.hosts.join(", ")));
        }
        parts.push(format!("SHA-256 {}", self.summary.fingerprint));
        parts.join(", ")
    }
}

/// The certificates of a chain, numbered from the party's own.
pub(super) fn chain(certificates: &[CertificateFacts]) -> impl Iterator<Item = Fact> {
    certificates
        .iter()
        .enumerate()
        .map(|(index, one)| Fact::new(format!("certificate {}", index + 1), one.line()))
}

/// A moment, for people.
pub(super) fn when(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
        .map_or_else(|| "an unknown time".to_owned(), moment)
}

/// A moment, to the second.
pub(super) fn moment(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
