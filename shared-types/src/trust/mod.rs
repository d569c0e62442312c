//! Trust decision on a certificate chain: path building, path validation, revocation and policy.
//!
//! Both ends use the same code: the bank for a TPP ([`Usage::Client`]), the SDK for a bank
//! ([`Usage::Server`]). The verdict depends on the agreed anchors, the chain and the time, and on
//! nothing else: the system's root store is never used. Paths are built at a bounded cost and
//! validated after RFC 5280; to that is added what a scheme of licensed parties needs beyond it,
//! and *why* a chain is refused.

mod anchors;
mod certificate;
mod chain;
mod completion;
mod constraints;
mod handshake;
mod hosts;
mod policies;
mod refusal;
mod validation;

use std::fmt;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

pub use self::anchors::{AnchorError, Anchors};
use self::certificate::Certificate;
pub use self::chain::{MAX_CERTIFICATES, MAX_INTERMEDIATES};
pub use self::completion::complete;
pub use self::handshake::{signature_schemes, verify_tls12_signature, verify_tls13_signature};
pub use self::hosts::is_for_host;
pub use self::refusal::Refusal;
pub(crate) use self::refusal::when;
use crate::revocation::PathCertificate;

/// What a certificate is used for (RFC 5280, section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A TPP that connects (`id-kp-clientAuth`).
    Client,
    /// A bank that is connected to (`id-kp-serverAuth`).
    Server,
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client authentication",
            Self::Server => "server authentication",
        })
    }
}

/// Validity of a positive verdict, as long as its inputs stay the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first second.
    pub from: UnixTime,
    /// The last second.
    pub until: UnixTime,
}

impl Window {
    /// Whether the verdict is valid at that time.
    #[must_use]
    pub fn contains(&self, now: UnixTime) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// Returns why something with this validity is not valid at that time, if it is not.
    pub fn check(&self, now: UnixTime) -> Result<(), Refusal> {
        if now < self.from {
            Err(Refusal::NotYetValid {
                not_before: self.from,
            })
        } else if now > self.until {
            Err(Refusal::Expired {
                not_after: self.until,
            })
        } else {
            Ok(())
        }
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self {
            from: unix(validity.not_before),
            until: unix(validity.not_after),
        }
    }

    /// The intersection of both.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }
}

/// Seconds since 1970. Before that, nothing of ours was valid.
pub(crate) fn unix(time: ASN1Time) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(time.timestamp()).unwrap_or(0),
    ))
}

/// The validity of a certificate, if it can be parsed.
#[must_use]
pub fn validity(certificate: &CertificateDer<'_>) -> Option<Window> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Window::of(&parsed))
}

/// A validated path.
#[derive(Debug, Clone)]
pub struct Path {
    /// The time in which every certificate of it is valid, and the anchor above it.
    pub window: Window,
    /// Its certificates, from the peer's own up to the last one below the anchor.
    pub links: Vec<PathCertificate>,
}

/// Decides whether a chain is trusted: the peer's own certificate first, then the others it sent.
///
/// The verdict is valid for the returned window: within it, the same anchors give the same verdict.
/// Revocation is not checked here; check it with the returned path.
///
/// Only the certificates of the path count: others that the peer sent may be expired, weak or
/// useless (RFC 8446, section 4.4.2).
///
/// Cost: one reading of each certificate, of which there are [`MAX_CERTIFICATES`] at most, and one
/// signature check for each below the anchor (two in a usual chain). Of what no authority has
/// signed, a few signatures are checked, however much was sent.
pub fn judge(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: Usage,
    now: UnixTime,
) -> Result<Path, Refusal> {
    chain::find(anchors, leaf, intermediates, usage, now)
}

/// The public key of a certificate (`SubjectPublicKeyInfo`, RFC 5280, section 4.1.2.7), as DER,
/// unless it cannot be read.
#[must_use]
pub fn public_key(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    Some(Certificate::read(certificate).ok()?.key().to_vec())
}

/// Returns why the key of a certificate is too weak, if it is.
#[must_use]
pub fn weakness(certificate: &CertificateDer<'_>) -> Option<Refusal> {
    Certificate::read(certificate).ok()?.check_key().err()
}
