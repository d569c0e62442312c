//! The trust decision: may the holder of this certificate chain come in?
//!
//! Both ends ask the same question with the same code: the bank about a TPP ([`Usage::Client`]), the SDK about a
//! bank ([`Usage::Server`]). The answer depends on the agreed anchors, the chain and the time, and on nothing
//! else: the system's root store is never looked at. Paths are built and checked after RFC 5280 by webpki; this
//! module adds what a scheme of licensed parties needs beyond it, and says *why* it refuses.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::CertificateError;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ExtendedKeyUsage;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use crate::certificate::printable;

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

/// The certification authorities that were agreed upon, and no others.
#[derive(Debug, Clone)]
pub struct Anchors {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Why a set of anchors cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// There is none: nobody could ever come in.
    #[error("holds no certificate")]
    None,
    /// The text is not PEM.
    #[error("is not PEM: {0}")]
    NotPem(String),
    /// A certificate cannot be read.
    #[error("certificate {number} cannot be read: {reason}")]
    Unreadable {
        /// Which one, from 1.
        number: usize,
        /// What the parser said.
        reason: String,
    },
    /// A certificate is not that of a certification authority.
    #[error("certificate {number} is not a certification authority: {subject}")]
    NotAnAuthority {
        /// Which one, from 1.
        number: usize,
        /// Its subject.
        subject: String,
    },
}

impl Anchors {
    /// Reads one or more CA certificates from PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AnchorError> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|fault| AnchorError::NotPem(fault.to_string()))?;
        Self::new(certificates)
    }

    /// Takes one or more CA certificates.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, AnchorError> {
        if certificates.is_empty() {
            return Err(AnchorError::None);
        }
        let mut anchors = Vec::with_capacity(certificates.len());
        for (index, certificate) in certificates.iter().enumerate() {
            let number = index + 1;
            let unreadable = |reason: String| AnchorError::Unreadable { number, reason };
            let (_, parsed) = X509Certificate::from_der(certificate)
                .map_err(|fault| unreadable(fault.to_string()))?;
            if !parsed.is_ca() {
                return Err(AnchorError::NotAnAuthority {
                    number,
                    subject: parsed.subject().to_string(),
                });
            }
            let anchor = webpki::anchor_from_trusted_cert(certificate)
                .map_err(|fault| unreadable(fault.to_string()))?;
            anchors.push(anchor.to_owned());
        }
        Ok(Self {
            anchors,
            certificates,
        })
    }

    /// The certificates themselves, in the order in which they were given.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The distinguished names of the anchors, as a peer wants to know them in a TLS certificate request.
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.anchors.iter().map(|anchor| anchor.subject.as_ref())
    }
}

/// Why a chain was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer showed no certificate at all.
    #[error("no certificate was shown")]
    NoCertificate,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// The certificate vouches for itself.
    #[error("the certificate is self-signed")]
    SelfSigned,
    /// The chain leads to an authority that was not agreed upon.
    #[error("its chain ends at {issuer}, which is not an agreed authority")]
    UnknownIssuer {
        /// The authority it leads to.
        issuer: String,
    },
    /// The certificate came alone, and its issuer is not an agreed anchor.
    #[error("the certificate of its issuer {issuer} was not sent along")]
    IncompleteChain {
        /// The issuer whose certificate is missing.
        issuer: String,
    },
    /// The certificate, or one above it, is past its last second.
    #[error("expired at {}", when(*not_after))]
    Expired {
        /// The last second.
        not_after: UnixTime,
    },
    /// The certificate, or one above it, is not valid yet.
    #[error("not valid before {}", when(*not_before))]
    NotYetValid {
        /// The first second.
        not_before: UnixTime,
    },
    /// The certificate may not be used for this.
    #[error("the certificate is not for {0}")]
    WrongUsage(Usage),
    /// The key is too small or of a kind that is not used.
    #[error("the key is too weak: {0}")]
    WeakKey(String),
    /// A critical extension that we do not understand.
    #[error("the certificate has a critical extension that is not understood")]
    UnknownCriticalExtension,
    /// A certificate in the chain was issued by one that is not a CA.
    #[error("a certificate in the chain was issued by one that is not a CA")]
    LeafUsedAsCa,
    /// A CA certificate was shown as if it were a party's own.
    #[error("a CA certificate was shown as a party's own")]
    CaUsedAsLeaf,
    /// The names in the certificate are not among those its CA may issue for.
    #[error("the issuing CA may not issue for the names in the certificate")]
    NameConstraintViolated,
    /// The chain is longer than a CA in it allows.
    #[error("the chain is longer than a CA in it allows")]
    PathTooLong,
    /// A signature in the chain is wrong.
    #[error("a signature in the chain does not match")]
    BadSignature,
    /// Anything else, in the words of the path checker.
    #[error("the chain is not valid: {0}")]
    Other(String),
}

fn when(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
        .map_or_else(
            || "an unknown time".to_owned(),
            |moment| moment.to_rfc3339(),
        )
}

impl Refusal {
    /// The error from which rustls picks the alert that tells the peer (RFC 8446, section 6.2).
    #[must_use]
    pub fn to_tls(&self) -> rustls::Error {
        let error = match self {
            Self::NoCertificate => return rustls::Error::NoCertificatesPresented,
            Self::Unreadable | Self::WeakKey(_) => CertificateError::BadEncoding,
            Self::SelfSigned | Self::UnknownIssuer { .. } | Self::IncompleteChain { .. } => {
                CertificateError::UnknownIssuer
            }
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotYetValid { .. } => CertificateError::NotValidYet,
            Self::WrongUsage(_) => CertificateError::InvalidPurpose,
            Self::UnknownCriticalExtension => CertificateError::UnhandledCriticalExtension,
            Self::BadSignature => CertificateError::BadSignature,
            // "The certificate was not accepted because the CA could not be matched with a known trust anchor."
            Self::LeafUsedAsCa | Self::PathTooLong => CertificateError::UnknownIssuer,
            Self::CaUsedAsLeaf | Self::NameConstraintViolated | Self::Other(_) => {
                CertificateError::Other(rustls::OtherError(Arc::new(self.clone())))
            }
        };
        rustls::Error::InvalidCertificate(error)
    }
}

/// For how long a favourable judgement stands, as long as the anchors stay the same.
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

    fn of(certificate: &X509Certificate<'_>) -> Self {
        let seconds = |time: ASN1Time| {
            // Before 1970 nothing of ours was valid.
            UnixTime::since_unix_epoch(Duration::from_secs(
                u64::try_from(time.timestamp()).unwrap_or(0),
            ))
        };
        let validity = certificate.validity();
        Self {
            from: seconds(validity.not_before),
            until: seconds(validity.not_after),
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

/// Judges a chain: the peer's own certificate first, then what it sent along.
///
/// The judgement stands for the returned window, the time in which every certificate that was sent is valid: asking
/// again within it, of the same anchors, gives the same answer.
///
/// Cost: one signature check for each certificate below the anchor (two in a usual chain), and one reading of each
/// certificate.
pub fn judge(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: Usage,
    now: UnixTime,
) -> Result<Window, Refusal> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| Refusal::Unreadable)?;
    check_path(anchors, leaf, &parsed, intermediates, usage, now)?;
    check_usage(&parsed, usage)?;
    check_key(&parsed)?;
    let mut window = Window::of(&parsed);
    for certificate in intermediates {
        // One that cannot be read has not helped the path either.
        if let Ok((_, intermediate)) = X509Certificate::from_der(certificate) {
            check_key(&intermediate)?;
            window = window.intersection(Window::of(&intermediate));
        }
    }
    Ok(window)
}

fn check_path(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    intermediates: &[CertificateDer<'_>],
    usage: Usage,
    now: UnixTime,
) -> Result<(), Refusal> {
    let key_usage = match usage {
        Usage::Client => KeyUsage::client_auth(),
        Usage::Server => KeyUsage::server_auth(),
    };
    let refused = |fault| explain(fault, parsed, intermediates, usage);
    let end_entity = EndEntityCert::try_from(leaf).map_err(refused)?;
    let verified = end_entity.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors.anchors,
        intermediates,
        now,
        key_usage,
        None,
        None,
    );
    verified.map(|_| ()).map_err(refused)
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
        Ok(PublicKey::RSA(key)) if key.key_size() < SMALLEST_RSA => weak(format!(
            "RSA with {} bits; at least {SMALLEST_RSA} are asked for",
            key.key_size()
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
