//! Issuer of certificates, CRLs and OCSP responses, by name and key.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use crate::pki::certificate::printable;
use crate::pki::digest::hex;
use crate::pki::name::{comparable, display, is_one_name};

/// Identifier of a CA: the digest of its name and key. It differs between two CAs of one name, and
/// between two keys of one CA. The encoding of the name makes no difference (RFC 5280, section
/// 7.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IssuerId([u8; 32]);

impl fmt::Debug for IssuerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// A CA: signs certificates, and publishes their revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    id: IssuerId,
    name: Vec<u8>,
    key: Vec<u8>,
}

impl Issuer {
    /// A CA of that name and that public key, each in DER.
    #[must_use]
    pub fn new(name: &[u8], key: &[u8]) -> Self {
        let mut digest = Sha256::new();
        // The digest's length keeps the two apart.
        digest.update(Sha256::digest(comparable(name)));
        digest.update(key);
        Self {
            id: IssuerId(digest.finalize().into()),
            name: name.to_vec(),
            key: key.to_vec(),
        }
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        Self::new(certificate.subject().as_raw(), certificate.public_key().raw)
    }

    /// Whether this is its name, in any encoding.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        is_one_name(name, &self.name)
    }

    /// Name and key, as one digest.
    #[must_use]
    pub fn id(&self) -> IssuerId {
        self.id
    }

    /// The name, as DER.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The public key (`SubjectPublicKeyInfo`), as DER.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

/// The name as text.
impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name_text(&self.name))
    }
}

pub(super) fn name_text(der: &[u8]) -> String {
    X509Name::from_der(der).map_or_else(
        |_| "(unreadable)".to_owned(),
        |(_, name)| printable(&display(&name)),
    )
}

/// The CAs from which revocation lists are accepted, by their names as these are compared.
#[derive(Debug, Clone, Default)]
pub struct Issuers(HashMap<Vec<u8>, Vec<Arc<Issuer>>>);

impl Issuers {
    /// The CAs of those certificates. One that is no CA, or that may not sign lists (`cRLSign`), is
    /// left out.
    #[must_use]
    pub fn new<'a, 'b: 'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'b>>) -> Self {
        let mut known = Self::default();
        for certificate in certificates {
            let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
                continue;
            };
            let signs_lists = parsed
                .key_usage()
                .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()));
            if parsed.is_ca() && signs_lists {
                let issuer = Arc::new(Issuer::of(&parsed));
                let name = comparable(&issuer.name);
                known.0.entry(name).or_default().push(issuer);
            }
        }
        known
    }

    /// Whether that CA is one of them.
    #[must_use]
    pub fn includes(&self, issuer: &Issuer) -> bool {
        self.named(&issuer.name)
            .iter()
            .any(|known| known.id == issuer.id)
    }

    /// Returns the CAs of that name; several, if a CA changed its key.
    pub(super) fn named(&self, name: &[u8]) -> &[Arc<Issuer>] {
        self.0.get(&comparable(name)).map_or(&[], Vec::as_slice)
    }
}
