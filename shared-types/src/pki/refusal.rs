//! Reasons for refusing a chain, and the TLS alert that each sends.

use std::fmt;
use std::sync::Arc;

use rustls::CertificateError;
use rustls_pki_types::UnixTime;

use super::reason::Reason;

/// Purpose of a certificate (RFC 5280, section 4.2.1.12).
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

/// Reason for refusing a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer sent no certificate.
    #[error("no certificate was shown")]
    NoCertificate,
    /// The certificate cannot be read.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// The certificate is self-signed.
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
    /// The key is so large that its signatures are expensive to verify.
    #[error("the RSA key of {certificate} has {bits} bits; at most {most} are accepted")]
    LargeKey {
        /// Its size.
        bits: usize,
        /// The largest that is accepted.
        most: usize,
        /// The certificate that it is in, by its subject.
        certificate: String,
    },
    /// A certificate is larger than the maximum.
    #[error("the certificate has {bytes} bytes; at most {most} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that is read.
        most: usize,
    },
    /// The chain has more certificates than the maximum.
    #[error(
        "{sent} certificates were sent; at most {most} are read: send the party's own and the CAs \
         between it and the \
         agreed authority"
    )]
    TooManyCertificates {
        /// The number of certificates received.
        sent: usize,
        /// The maximum number.
        most: usize,
    },
    /// Too many certificates with signatures that do not match.
    #[error(
        "several certificates carry the name of {issuer}, which has not issued them: send the \
         party's own certificate \
         and the CAs between it and the agreed authority, and no others"
    )]
    TooManyMismatches {
        /// The authority whose name they carry.
        issuer: String,
    },
    /// There are more paths from the certificate to an anchor than are tried.
    #[error(
        "the certificates lead to agreed authorities in more ways than are tried: send the party's \
         own certificate and \
         the CAs of one way, and no others"
    )]
    TooManyPaths,
    /// There are too many CAs between the certificate and its anchor.
    #[error(
        "the chain has more than {most} CA certificates between the party's own and the agreed \
         authority: use a \
         certificate that is issued nearer to it"
    )]
    ChainTooLong {
        /// The maximum number.
        most: usize,
    },
    /// A critical extension that we do not process.
    #[error(
        "the certificate of {certificate} has a critical extension that is not understood: \
         {extension}"
    )]
    UnknownCriticalExtension {
        /// Its object identifier, with its name if it has one.
        extension: String,
        /// The certificate that it is in, by its subject.
        certificate: String,
    },
    /// A certificate does not have the form that RFC 5280 asks for.
    #[error("the certificate of {certificate} is malformed: {what}; its CA has to issue it anew")]
    Malformed {
        /// The problem.
        what: String,
        /// The certificate, by its subject.
        certificate: String,
    },
    /// A certificate is signed in a way that is not accepted.
    #[error(
        "the certificate of {certificate} is signed with {algorithm}, which is not accepted; its \
         CA has to issue it anew"
    )]
    UnsupportedSignature {
        /// The algorithm.
        algorithm: String,
        /// The certificate, by its subject.
        certificate: String,
    },
    /// A CA may not sign certificates (RFC 5280, section 6.1.4, n).
    #[error("the CA {ca} may not sign certificates: its key usage lacks keyCertSign")]
    NotForCertificates {
        /// The CA.
        ca: String,
    },
    /// A CA may not issue for this.
    #[error("the CA {ca} may not issue for {usage}: its extended key usage lacks that")]
    WrongUsageOfCa {
        /// The purpose.
        usage: Usage,
        /// The CA.
        ca: String,
    },
    /// A CA asks for a policy that the certificates below it do not have (RFC 5280, section 6.1.5).
    #[error(
        "a CA in the chain demands a certificate policy that the certificates below it do not have"
    )]
    PolicyRequired,
    /// A certificate in the chain was issued by one that is not a CA.
    #[error("a certificate in the chain was issued by one that is not a CA")]
    LeafUsedAsCa,
    /// A CA certificate was presented as the peer's own.
    #[error("a CA certificate was shown as a party's own")]
    CaUsedAsLeaf,
    /// The names in the certificate are not among those its CA may issue for.
    #[error("the CA {ca} may not issue for the names in the certificate: {name}")]
    NameConstraintViolated {
        /// The CA whose constraints are not met.
        ca: String,
        /// The name that it may not issue for.
        name: String,
    },
    /// The chain is longer than a CA in it allows.
    #[error("the chain is longer than the CA {ca} allows: at most {most} CAs below it")]
    PathTooLong {
        /// The CA.
        ca: String,
        /// The number of CAs that it allows below it (`pathLenConstraint`).
        most: u32,
    },
    /// A signature in the chain is wrong.
    #[error(
        "a signature in the chain does not match: {issuer} has not issued what carries its name, \
         unless the one that is \
         known here is another authority of the same name"
    )]
    BadSignature {
        /// The authority whose name the certificate carries.
        issuer: String,
    },
    /// The certificate, or one above it, was revoked.
    #[error("revoked by {issuer} since {}: {reason}", when(*since))]
    Revoked {
        /// The authority that revoked it.
        issuer: String,
        /// The time of the revocation.
        since: UnixTime,
        /// The reason.
        reason: Reason,
    },
    /// No current CRL or OCSP response covers the certificate, or one above it.
    #[error("nothing fresh from {issuer} says whether the certificate was revoked")]
    StatusUnknown {
        /// The authority without a current CRL or OCSP response.
        issuer: String,
    },
    /// The issuer's responder does not know the certificate, or one above it.
    #[error("{issuer} does not know the certificate that it is said to have issued")]
    Unrecorded {
        /// The authority of the responder.
        issuer: String,
    },
    /// Only configured gateways are accepted, and this is none of them.
    #[error("the certificate is not that of a gateway that is known here")]
    UnknownGateway,
    /// The anchor at the top is outside its own validity.
    #[error("the agreed authority's own certificate, {anchor}, is not valid at this time: {cause}")]
    AnchorNotValid {
        /// Its subject.
        anchor: String,
        /// [`Expired`](Self::Expired) or [`NotYetValid`](Self::NotYetValid), with the moment.
        cause: Box<Self>,
    },
}

/// A point in time as text.
pub(crate) fn when(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0))
        .map_or_else(
            || "an unknown time".to_owned(),
            |moment| moment.to_rfc3339(),
        )
}

impl Refusal {
    /// The error from which rustls chooses the alert to the peer (RFC 8446, section 6.2).
    #[must_use]
    pub fn to_tls(&self) -> rustls::Error {
        let error = match self {
            Self::NoCertificate => return rustls::Error::NoCertificatesPresented,
            Self::Unreadable
            | Self::WeakKey(_)
            | Self::LargeKey { .. }
            | Self::TooLarge { .. }
            | Self::TooManyCertificates { .. }
            | Self::TooManyMismatches { .. }
            | Self::TooManyPaths
            | Self::Malformed { .. }
            | Self::UnsupportedSignature { .. } => CertificateError::BadEncoding,
            Self::Revoked { .. } => CertificateError::Revoked,
            Self::Expired { .. } => CertificateError::Expired,
            Self::NotYetValid { .. } => CertificateError::NotValidYet,
            Self::WrongUsage(_) | Self::WrongUsageOfCa { .. } => CertificateError::InvalidPurpose,
            Self::UnknownCriticalExtension { .. } => CertificateError::UnhandledCriticalExtension,
            Self::BadSignature { .. } => CertificateError::BadSignature,
            // "The certificate was not accepted because the CA could not be matched with a known
            // trust anchor."
            Self::SelfSigned
            | Self::UnknownIssuer { .. }
            | Self::IncompleteChain { .. }
            | Self::LeafUsedAsCa
            | Self::NotForCertificates { .. }
            | Self::PathTooLong { .. }
            | Self::ChainTooLong { .. }
            | Self::AnchorNotValid { .. } => CertificateError::UnknownIssuer,
            // "A valid certificate or PSK was received, but when access control was applied, the
            // sender decided not to proceed with negotiation."
            Self::UnknownGateway => CertificateError::ApplicationVerificationFailure,
            Self::StatusUnknown { .. }
            | Self::Unrecorded { .. }
            | Self::CaUsedAsLeaf
            | Self::NameConstraintViolated { .. }
            | Self::PolicyRequired => {
                CertificateError::Other(rustls::OtherError(Arc::new(self.clone())))
            }
        };
        rustls::Error::InvalidCertificate(error)
    }
}
