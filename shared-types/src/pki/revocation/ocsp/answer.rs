//! OCSP response about one certificate, parsed and verified.

use std::fmt;

use super::basic::Basic;
use super::question::CertificateId;
use crate::pki::reason::Reason;
use crate::pki::refusal::when;
use crate::pki::revocation::list::List;
use crate::pki::revocation::path_certificate::PathCertificate;
use rustls_pki_types::UnixTime;

/// An OCSP response with verified signature, signer and subject. Freshness depends on the time.
pub struct Answer {
    about: CertificateId,
    said: CertStatus,
    this_update: UnixTime,
    /// The last second for which it, and the certificate of the responder that gave it, are good.
    until: UnixTime,
    delegate: Option<Delegate>,
    has_nonce: bool,
    der: Vec<u8>,
}

/// A responder that the issuer has authorised.
#[derive(Debug)]
pub struct Delegate {
    /// Its certificate.
    pub link: PathCertificate,
    /// Whether its certificate needs no revocation check (`id-pkix-ocsp-nocheck`; RFC 6960, section
    /// 4.2.2.2.1). A known revocation counts nevertheless.
    pub without_check: bool,
}

/// Status of a certificate, as its issuer states it (`CertStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertStatus {
    /// Not revoked.
    Good,
    /// Revoked.
    Revoked {
        /// When.
        since: UnixTime,
        /// The reason.
        reason: Reason,
    },
    /// The responder does not know the certificate.
    Unknown,
}

/// Reason for rejecting a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is larger than the maximum.
    #[error("is larger than {} KiB", Answer::MOST_BYTES / 1024)]
    TooLarge,
    /// It is malformed: an error page, or truncated.
    #[error("is no OCSP answer: {0}")]
    NotAnAnswer(&'static str),
    /// The responder returned an error status.
    #[error("is a refusal: {0}")]
    Refused(&'static str),
    /// The responder is overloaded (`tryLater`).
    #[error("is a refusal: try later")]
    TryLater,
    /// It is about other certificates.
    #[error("says nothing of the certificate that was asked about")]
    AnotherCertificate,
    /// Its nonce is that of another request.
    #[error("carries the nonce of another question")]
    AnotherNonce,
    /// It has no nonce, although one is required.
    #[error("carries no nonce")]
    NoNonce,
    /// It is signed neither by the issuer nor by a responder that the issuer authorised.
    #[error("is neither of {0} nor of a responder it has vouched for")]
    NotItsResponder(String),
    /// Its signature does not match.
    #[error("is not signed by the responder it names")]
    BadSignature,
    /// Its signature algorithm is insecure or unknown.
    #[error(
        "is signed with {0}, which is not accepted: its responder has to sign with SHA-256 \
         or better (with OpenSSL: openssl ocsp -rmd sha256)"
    )]
    WeakSignature(String),
    /// It has an unknown critical extension, of that OID (RFC 6960, section 4.4).
    #[error("has a critical extension that is not understood, {0}")]
    CriticalExtension(String),
    /// It is not valid yet: its validity starts at `thisUpdate`.
    #[error("is of {}, which is in the future", when(*.0))]
    NotYet(UnixTime),
    /// It has expired, after its last second.
    #[error("was good until {}", when(*.0))]
    Stale(UnixTime),
    /// There is a newer one.
    #[error("is of {}, and one of {} is at hand", when(*.this_update), when(*.at_hand))]
    Older {
        /// Its `thisUpdate`.
        this_update: UnixTime,
        /// The `thisUpdate` of the newer one.
        at_hand: UnixTime,
    },
}

impl Answer {
    /// Maximum size of a response, in bytes.
    pub const MOST_BYTES: usize = 64 * 1024;
    /// The media type of a response (RFC 6960, appendix A.2).
    pub const MEDIA_TYPE: &str = "application/ocsp-response";

    /// Parses a response about this certificate, and verifies that the issuer signed it, or a
    /// responder whose certificate the issuer issued for this purpose (RFC 6960, section 4.2.2.2).
    /// `nonce` is that of the request, if it had one; a response produced in advance has none.
    ///
    /// Cost: one signature check, and one more for the certificate of a responder.
    pub fn read(
        der: Vec<u8>,
        link: &PathCertificate,
        nonce: Option<&[u8]>,
    ) -> Result<Self, AnswerError> {
        if der.len() > Self::MOST_BYTES {
            return Err(AnswerError::TooLarge);
        }
        let basic = Basic::read(&der)?;
        let single = basic.about(link)?;
        if let (Some(sent), Some(echoed)) = (nonce, basic.nonce)
            && sent != echoed
        {
            return Err(AnswerError::AnotherNonce);
        }
        let signer = basic.signer(link)?;
        // RFC 6960, section 4.2.2.1: without an end, newer information is always to be had.
        let end = single.next_update.unwrap_or_else(|| {
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(
                single
                    .this_update
                    .as_secs()
                    .saturating_add(List::CLOCKS_APART.as_secs()),
            ))
        });
        Ok(Self {
            about: CertificateId::of(link),
            said: single.said,
            this_update: single.this_update.max(signer.from),
            until: end.min(signer.until),
            delegate: signer.delegate,
            has_nonce: basic.nonce.is_some(),
            der,
        })
    }

    /// Whether the response has a nonce. [`Self::read`] has verified that it is the request's.
    #[must_use]
    pub fn has_nonce(&self) -> bool {
        self.has_nonce
    }

    /// The certificate that it is about.
    #[must_use]
    pub fn about(&self) -> &CertificateId {
        &self.about
    }

    /// The status.
    #[must_use]
    pub fn said(&self) -> CertStatus {
        self.said
    }

    /// The start of its validity (`thisUpdate`).
    #[must_use]
    pub fn this_update(&self) -> UnixTime {
        self.this_update
    }

    /// The last second of its validity.
    #[must_use]
    pub fn until(&self) -> UnixTime {
        self.until
    }

    /// The delegated responder that signed it, if the issuer did not.
    #[must_use]
    pub fn delegate(&self) -> Option<&Delegate> {
        self.delegate.as_ref()
    }

    /// The response as received, for stapling.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Fails if it is not valid yet or has expired. The responder's clock may be ahead of ours by
    /// [`List::CLOCKS_APART`].
    pub fn check_fresh(&self, now: UnixTime) -> Result<(), AnswerError> {
        if now.as_secs() + List::CLOCKS_APART.as_secs() < self.this_update.as_secs() {
            Err(AnswerError::NotYet(self.this_update))
        } else if now > self.until {
            Err(AnswerError::Stale(self.until))
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("about", &self.about)
            .field("said", &self.said)
            .field("this_update", &self.this_update)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
