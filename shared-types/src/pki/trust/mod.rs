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
mod validation;

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use self::anchors::{AnchorError, Anchors};
use self::certificate::Certificate;
pub use self::chain::{MAX_CERTIFICATES, MAX_INTERMEDIATES};
pub use self::completion::complete;
pub(crate) use self::handshake::is_signed_by;
pub use self::handshake::{signature_schemes, verify_tls12_signature, verify_tls13_signature};
pub use self::hosts::is_for_host;
pub use super::refusal::{Refusal, Usage};
use super::revocation::PathCertificate;
pub use super::validity::Window;

/// The validity of a certificate, if it can be parsed.
#[must_use]
pub fn validity(certificate: &CertificateDer<'_>) -> Option<Window> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Window::of(&parsed))
}

/// Whether the certificate can be used so: its extended key usage names the purpose, or it has none.
/// Nothing else is looked at.
#[must_use]
pub fn allows(certificate: &CertificateDer<'_>, usage: Usage) -> bool {
    Certificate::read(certificate).is_ok_and(|read| validation::allows(&read, usage))
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
