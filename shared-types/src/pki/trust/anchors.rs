//! Trust anchors: the agreed certification authorities.

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::certificate::Certificate;
use super::{Refusal, Window};
use crate::pki::der;
use crate::pki::pem::{self, Kind, PemError};
use crate::pki::revocation::Issuer;

/// The certification authorities that were agreed upon, and no others.
#[derive(Debug, Clone)]
pub struct Anchors {
    certificates: Vec<CertificateDer<'static>>,
    /// As revocation knows them, and when they are valid, in the same order.
    issuers: Vec<(Arc<Issuer>, Window)>,
    /// Their names, in the form in which names are compared, in the same order.
    names: Vec<Vec<u8>>,
}

/// Error of a set of anchors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// There is none: every peer would be refused.
    #[error("holds no certificate")]
    None,
    /// The file is not certificates alone, in PEM or DER.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A certificate cannot be read.
    #[error("certificate {number} cannot be read: {reason}")]
    Unreadable {
        /// Number of the certificate, from 1.
        number: usize,
        /// The parser's message.
        reason: String,
    },
    /// A certificate is not that of a certification authority.
    #[error("certificate {number} is not a certification authority: {subject}")]
    NotAnAuthority {
        /// Number of the certificate, from 1.
        number: usize,
        /// Its subject.
        subject: String,
    },
}

impl Anchors {
    /// Reads one or more CA certificates from PEM, or one from DER. Any other object in the file
    /// refuses it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, AnchorError> {
        let certificates = pem::only(Kind::Certificate, pem)?.into_iter();
        Self::new(certificates.map(|found| found.der.into()).collect())
    }

    /// Takes one or more CA certificates.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, AnchorError> {
        if certificates.is_empty() {
            return Err(AnchorError::None);
        }
        let mut names = Vec::with_capacity(certificates.len());
        let mut issuers = Vec::with_capacity(certificates.len());
        for (index, certificate) in certificates.iter().enumerate() {
            let number = index + 1;
            let unreadable = |reason: String| AnchorError::Unreadable { number, reason };
            // As it will be read for each chain: one that is left out then would be missed in
            // silence.
            let read = Certificate::read(certificate)
                .map_err(|refusal| unreadable(refusal.to_string()))?;
            let parsed = &read.parsed;
            if !parsed.is_ca() {
                return Err(AnchorError::NotAnAuthority {
                    number,
                    subject: parsed.subject().to_string(),
                });
            }
            issuers.push((Arc::new(Issuer::of(parsed)), Window::of(parsed)));
            names.push(read.subject);
        }
        Ok(Self {
            certificates,
            issuers,
            names,
        })
    }

    /// The certificates themselves, in the order in which they were given.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The distinguished names of the anchors, as a peer wants to know them in a TLS certificate
    /// request.
    pub fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.issuers.iter().map(|(issuer, _)| issuer.name());
        names.map(|name| der::any(name).map_or(name, |(name, _)| name.content))
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

    /// Those whose name one of the certificates has for its issuer.
    ///
    /// Cost: one reading of each.
    pub(super) fn issuers_of(&self, certificates: &[&Certificate<'_>]) -> Vec<Certificate<'_>> {
        let anchors = self.certificates.iter().zip(&self.names);
        anchors
            .filter(|(_, name)| certificates.iter().any(|below| below.issuer == **name))
            .filter_map(|(anchor, _)| Certificate::read(anchor).ok())
            .collect()
    }
}
