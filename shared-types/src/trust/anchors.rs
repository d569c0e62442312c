//! The certification authorities that were agreed upon.

use std::borrow::Cow;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{Refusal, Window};
use crate::pem::{self, Kind, PemError};
use crate::revocation::Issuer;

/// The certification authorities that were agreed upon, and no others.
#[derive(Debug, Clone)]
pub struct Anchors {
    trusted: Vec<TrustAnchor<'static>>,
    certificates: Vec<CertificateDer<'static>>,
    /// As revocation knows them, and when they are valid, in the same order.
    issuers: Vec<(Arc<Issuer>, Window)>,
}

/// Why a set of anchors cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// There is none: nobody could ever come in.
    #[error("holds no certificate")]
    None,
    /// The file is not certificates alone, in PEM or DER.
    #[error(transparent)]
    Pem(#[from] PemError),
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
    /// Reads one or more CA certificates from PEM, or one from DER. Any other object in the file refuses it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AnchorError> {
        let certificates = pem::only(Kind::Certificate, pem)?.into_iter();
        Self::new(certificates.map(|found| found.der.into()).collect())
    }

    /// Takes one or more CA certificates.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, AnchorError> {
        if certificates.is_empty() {
            return Err(AnchorError::None);
        }
        let mut anchors = Vec::with_capacity(certificates.len());
        let mut issuers = Vec::with_capacity(certificates.len());
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
            issuers.push((Arc::new(Issuer::of(&parsed)), Window::of(&parsed)));
        }
        Ok(Self {
            trusted: anchors,
            certificates,
            issuers,
        })
    }

    /// The certificates themselves, in the order in which they were given.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The distinguished names of the anchors, as a peer wants to know them in a TLS certificate request.
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.trusted.iter().map(|anchor| anchor.subject.as_ref())
    }

    /// Whether at least one of them is within its own validity.
    #[must_use]
    pub fn any_valid_at(&self, now: UnixTime) -> bool {
        self.issuers.iter().any(|(_, window)| window.contains(now))
    }

    /// Those that are outside their own validity at that time, and why: [`Refusal::Expired`] or
    /// [`Refusal::NotYetValid`].
    pub fn invalid_at(
        &self,
        now: UnixTime,
    ) -> impl Iterator<Item = (&CertificateDer<'static>, Refusal)> {
        let all = self.certificates.iter().zip(&self.issuers);
        all.filter_map(move |(certificate, (_, window))| {
            Some((certificate, window.check(now).err()?))
        })
    }

    /// Whether that CA is one of them.
    #[must_use]
    pub fn includes(&self, issuer: &Issuer) -> bool {
        self.issuers
            .iter()
            .any(|(known, _)| known.id() == issuer.id())
    }

    pub(super) fn all(&self) -> &[TrustAnchor<'static>] {
        &self.trusted
    }

    /// Those that are within their own validity.
    pub(super) fn valid_at(&self, now: UnixTime) -> Cow<'_, [TrustAnchor<'static>]> {
        if self.issuers.iter().all(|(_, window)| window.contains(now)) {
            return Cow::Borrowed(&self.trusted);
        }
        let valid = self.trusted.iter().zip(&self.issuers);
        valid
            .filter(|(_, (_, window))| window.contains(now))
            .map(|(anchor, _)| anchor.clone())
            .collect()
    }

    /// The CA behind an anchor, and when the anchor is valid.
    pub(super) fn issuer(&self, anchor: &TrustAnchor<'_>) -> Option<(Arc<Issuer>, Window)> {
        let place = self.trusted.iter().position(|known| {
            known.subject == anchor.subject
                && known.subject_public_key_info == anchor.subject_public_key_info
        })?;
        self.issuers.get(place).cloned()
    }
}
