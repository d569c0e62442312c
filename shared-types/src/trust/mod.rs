//! The trust decision: may the holder of this certificate chain come in?
//!
//! Both ends ask the same question with the same code: the bank about a TPP ([`Usage::Client`]), the SDK about a
//! bank ([`Usage::Server`]). The answer depends on the agreed anchors, the chain and the time, and on nothing
//! else: the system's root store is never looked at. Paths are built and checked after RFC 5280 by webpki; this
//! module adds what a scheme of licensed parties needs beyond it, and says *why* it refuses.

mod anchors;
mod completion;
mod refusal;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

pub use self::anchors::{AnchorError, Anchors};
pub use self::completion::complete;
pub use self::refusal::Refusal;
pub(crate) use self::refusal::when;
use crate::certificate::printable;
use crate::revocation::{Issuer, Link};

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

/// For how long a favourable judgement stands, as long as what it was made by stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first second.
    pub from: UnixTime,
    /// The last second.
    pub until: UnixTime,
}

impl Window {
    /// Whether the judgement stands at that time.
    #[must_use]
    pub fn contains(&self, now: UnixTime) -> bool {
        (self.from..=self.until).contains(&now)
    }

    /// Why what is valid in this window is not valid at that time, if it is not.
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

    /// The time in which both stand.
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

/// When a certificate is valid, if it can be read.
#[must_use]
pub fn validity(certificate: &CertificateDer<'_>) -> Option<Window> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Window::of(&parsed))
}

/// A path that was found good.
#[derive(Debug, Clone)]
pub struct Path {
    /// The time in which every certificate of it, and every other that was sent, is valid.
    pub window: Window,
    /// What it is made of, from the peer's own certificate up to the last one below the anchor.
    pub links: Vec<Link>,
}

/// Judges a chain: the peer's own certificate first, then what it sent along.
///
/// The judgement stands for the returned window: asking again within it, of the same anchors, gives the same answer.
/// Whether a certificate of the path was revoked is not asked here; the path's links are what to ask with.
///
/// Cost: one signature check for each certificate below the anchor (two in a usual chain), and one reading of each
/// certificate.
pub fn judge(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: Usage,
    now: UnixTime,
) -> Result<Path, Refusal> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| Refusal::Unreadable)?;
    let mut path = check_path(anchors, leaf, &parsed, intermediates, usage, now)?;
    check_usage(&parsed, usage)?;
    check_key(&parsed)?;
    path.window = path.window.intersection(Window::of(&parsed));
    for certificate in intermediates {
        // One that cannot be read has not helped the path either.
        if let Ok((_, intermediate)) = X509Certificate::from_der(certificate) {
            check_key(&intermediate)?;
            path.window = path.window.intersection(Window::of(&intermediate));
        }
    }
    Ok(path)
}

fn check_path(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: Usage,
    now: UnixTime,
) -> Result<Path, Refusal> {
    let key_usage = match usage {
        Usage::Client => KeyUsage::client_auth(),
        Usage::Server => KeyUsage::server_auth(),
    };
    let refused = |fault| explain(fault, parsed, intermediates, usage);
    let end_entity = EndEntityCert::try_from(leaf).map_err(refused)?;
    let verify = |anchors| {
        end_entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            anchors,
            intermediates,
            now,
            key_usage,
            None,
            None,
        )
    };
    let valid = anchors.valid_at(now);
    let verified = verify(&valid).map_err(|fault| {
        let but_for_time = valid.len() < anchors.certificates().len()
            && fault == webpki::Error::UnknownIssuer
            && verify(anchors.all()).is_ok();
        if but_for_time {
            Refusal::AnchorNotValid
        } else {
            refused(fault)
        }
    })?;
    let (top, window) = anchors
        .issuer(verified.anchor())
        .ok_or(Refusal::Unreadable)?;
    let mut above: Vec<CertificateDer<'_>> = verified
        .intermediate_certificates()
        .map(webpki::Cert::der)
        .collect();
    // From the anchor down, each is the issuer of the one before.
    let mut links = Vec::with_capacity(above.len() + 1);
    let mut issuer = top;
    above.reverse();
    for certificate in &above {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| Refusal::Unreadable)?;
        let own = Arc::new(Issuer::of(&certificate));
        links.push(Link::new(&certificate, issuer));
        issuer = own;
    }
    links.push(Link::new(parsed, issuer));
    links.reverse();
    Ok(Path { window, links })
}

/// webpki accepts a certificate without any extended key usage; ETSI EN 319 412-4 requires one for websites, and a
/// seal certificate (QSealC), which has none, must not open a connection.
fn check_usage(leaf: &X509Certificate<'_>, usage: Usage) -> Result<(), Refusal> {
    let stated = leaf.extended_key_usage().map_err(|_| Refusal::Unreadable)?;
    let covers = |stated: &ExtendedKeyUsage<'_>| match usage {
        Usage::Client => stated.client_auth,
        Usage::Server => stated.server_auth,
    };
    if !stated.is_some_and(|extension| covers(extension.value)) {
        return Err(Refusal::WrongUsage(usage));
    }
    let key_usage = leaf.key_usage().map_err(|_| Refusal::Unreadable)?;
    if key_usage.is_some_and(|extension| !extension.value.digital_signature()) {
        return Err(Refusal::WrongUsage(usage));
    }
    Ok(())
}

/// The smallest RSA modulus, in bits (ETSI TS 119 312).
const SMALLEST_RSA: usize = 2048;
/// The smallest elliptic-curve field, in bits.
const SMALLEST_EC: usize = 256;

fn check_key(certificate: &X509Certificate<'_>) -> Result<(), Refusal> {
    let weak = |what: String| Err(Refusal::WeakKey(what));
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) if bits(key.modulus) < SMALLEST_RSA => weak(format!(
            "RSA with {} bits; at least {SMALLEST_RSA} are asked for",
            bits(key.modulus)
        )),
        Ok(PublicKey::EC(point)) if point.key_size() < SMALLEST_EC => weak(format!(
            "an elliptic curve of {} bits; at least {SMALLEST_EC} are asked for",
            point.key_size()
        )),
        Ok(PublicKey::DSA(_)) => weak("DSA".to_owned()),
        // Ed25519 arrives as `Unknown`; webpki has refused signatures by algorithms it does not know.
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::Unreadable),
    }
}

/// Why the key of a certificate is too weak to be used, if it is.
#[must_use]
pub fn weakness(certificate: &CertificateDer<'_>) -> Option<Refusal> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    check_key(&parsed).err()
}

/// The length of a positive number, in bits.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = number.get(zeros..).unwrap_or_default();
    significant.first().map_or(0, |first| {
        significant.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0)
    })
}

fn explain(
    fault: webpki::Error,
    leaf: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: Usage,
) -> Refusal {
    use webpki::Error as Fault;

    match fault {
        Fault::UnknownIssuer => explain_unknown_issuer(leaf, intermediates),
        Fault::CertExpired { not_after, .. } => Refusal::Expired { not_after },
        Fault::CertNotValidYet { not_before, .. } => Refusal::NotYetValid { not_before },
        Fault::RequiredEkuNotFoundContext(_) | Fault::EmptyEkuExtension => {
            Refusal::WrongUsage(usage)
        }
        Fault::UnsupportedCriticalExtension => Refusal::UnknownCriticalExtension,
        Fault::EndEntityUsedAsCa => Refusal::LeafUsedAsCa,
        Fault::CaUsedAsEndEntity => Refusal::CaUsedAsLeaf,
        Fault::NameConstraintViolation => Refusal::NameConstraintViolated,
        Fault::PathLenConstraintViolated | Fault::MaximumPathDepthExceeded => Refusal::PathTooLong,
        Fault::InvalidSignatureForPublicKey => Refusal::BadSignature,
        Fault::BadDer | Fault::BadDerTime | Fault::TrailingData(_) => Refusal::Unreadable,
        other => Refusal::Other(other.to_string()),
    }
}

/// Follows the names upwards through what was sent, to say where the chain ends.
fn explain_unknown_issuer(
    leaf: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
) -> Refusal {
    if leaf.issuer().as_raw() == leaf.subject().as_raw() {
        return Refusal::SelfSigned;
    }
    let sent: Vec<X509Certificate<'_>> = intermediates
        .iter()
        .filter_map(|certificate| X509Certificate::from_der(certificate).ok())
        .map(|(_, parsed)| parsed)
        .collect();
    let mut top = leaf;
    // A loop of names cannot be longer than what was sent.
    for _ in 0..sent.len() {
        let above = sent.iter().find(|candidate| {
            candidate.subject().as_raw() == top.issuer().as_raw()
                && candidate.subject().as_raw() != top.subject().as_raw()
        });
        match above {
            Some(certificate) => top = certificate,
            None => break,
        }
    }
    let issuer = printable(&top.issuer().to_string());
    if std::ptr::eq(top, leaf) {
        Refusal::IncompleteChain { issuer }
    } else {
        Refusal::UnknownIssuer { issuer }
    }
}
