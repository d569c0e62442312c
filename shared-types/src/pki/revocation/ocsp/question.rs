//! OCSP request about one certificate.

use sha1::{Digest as _, Sha1};
use sha2::{Sha256, Sha384, Sha512};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::pki::der;
use crate::pki::revocation::issuer::{Issuer, IssuerId};
use crate::pki::revocation::path_certificate::PathCertificate;
use crate::pki::revocation::serial::{minimal, significant};

/// Identifier of a certificate: issuer and serial number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateId {
    /// The issuer, by name and key.
    pub issuer: IssuerId,
    /// The octets of the serial number, without leading zeros.
    pub serial: Vec<u8>,
}

impl CertificateId {
    /// The identifier of a certificate of a path.
    #[must_use]
    pub fn of(link: &PathCertificate) -> Self {
        Self {
            issuer: link.issuer.id(),
            serial: significant(&link.serial).to_vec(),
        }
    }
}

/// An OCSP request about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    nonce: Option<Vec<u8>>,
    der: Vec<u8>,
}

/// 1.3.6.1.5.5.7.48.1.2: the nonce (RFC 6960, section 4.4.1).
pub(super) const NONCE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];

impl Question {
    /// The media type of a request (RFC 6960, appendix A.1).
    pub const MEDIA_TYPE: &str = "application/ocsp-request";

    /// Builds a request about a certificate. The nonce binds the response to this request; it has 1
    /// to 128 unpredictable octets (RFC 9654, section 2.1).
    #[must_use]
    pub fn about(link: &PathCertificate, nonce: &[u8]) -> Self {
        let value = der::write(
            der::OCTET_STRING,
            &[&der::write(der::OCTET_STRING, &[nonce])],
        );
        let extension = der::write(der::SEQUENCE, &[&der::write(der::OID, &[NONCE]), &value]);
        let extensions = der::write(der::SEQUENCE, &[&extension]);
        Self {
            nonce: Some(nonce.to_vec()),
            der: Self::write(link, &der::write(der::context_tag(2), &[&extensions])),
        }
    }

    /// Builds a request without a nonce, for a responder that refuses nonces, or their length.
    #[must_use]
    pub fn without_nonce(link: &PathCertificate) -> Self {
        Self {
            nonce: None,
            der: Self::write(link, &[]),
        }
    }

    /// `OCSPRequest ::= SEQUENCE { SEQUENCE { SEQUENCE OF Request, requestExtensions [2] OPTIONAL }
    /// }`
    fn write(link: &PathCertificate, extensions: &[u8]) -> Vec<u8> {
        let request = der::write(der::SEQUENCE, &[&certificate_id(link)]);
        let requests = der::write(der::SEQUENCE, &[&request]);
        let asked = der::write(der::SEQUENCE, &[&requests, extensions]);
        der::write(der::SEQUENCE, &[&asked])
    }

    /// The DER encoding, to send to the responder.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The nonce that a response with a nonce has to repeat.
    #[must_use]
    pub fn nonce(&self) -> Option<&[u8]> {
        self.nonce.as_deref()
    }
}

/// 1.3.14.3.2.26
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
/// 2.16.840.1.101.3.4.2.1
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 2.16.840.1.101.3.4.2.2
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
/// 2.16.840.1.101.3.4.2.3
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

/// `CertID ::= SEQUENCE { hashAlgorithm, issuerNameHash, issuerKeyHash, serialNumber }`, with
/// SHA-1: it only identifies the certificate, and every responder supports it (RFC 5019,
/// section 2.1.1).
fn certificate_id(link: &PathCertificate) -> Vec<u8> {
    const NULL: u8 = 0x05;

    let algorithm = der::write(
        der::SEQUENCE,
        &[&der::write(der::OID, &[SHA1]), &der::write(NULL, &[])],
    );
    der::write(
        der::SEQUENCE,
        &[
            &algorithm,
            &der::write(der::OCTET_STRING, &[&Sha1::digest(link.issuer.name())]),
            &der::write(der::OCTET_STRING, &[&key_hash(&link.issuer)]),
            &der::write(der::INTEGER, &[minimal(&link.serial)]),
        ],
    )
}

/// Whether the content of a `CertID` names this certificate. A response produced in advance may use
/// another digest than we do.
pub(super) fn names(certificate_id: &[u8], link: &PathCertificate) -> bool {
    let parts = || {
        let (algorithm, rest) = der::element(certificate_id, der::SEQUENCE)?;
        let (algorithm, _) = der::element(algorithm.content, der::OID)?;
        let (name, rest) = der::element(rest, der::OCTET_STRING)?;
        let (key, rest) = der::element(rest, der::OCTET_STRING)?;
        let (serial, _) = der::element(rest, der::INTEGER)?;
        Some((algorithm.content, name.content, key.content, serial.content))
    };
    let Some((algorithm, name, key, serial)) = parts() else {
        return false;
    };
    let hash = |bytes: &[u8]| match algorithm {
        SHA1 => Some(Sha1::digest(bytes).to_vec()),
        SHA256 => Some(Sha256::digest(bytes).to_vec()),
        SHA384 => Some(Sha384::digest(bytes).to_vec()),
        SHA512 => Some(Sha512::digest(bytes).to_vec()),
        _ => None,
    };
    significant(serial) == significant(&link.serial)
        && hash(link.issuer.name()).is_some_and(|hash| hash == name)
        && hash(&key_bits(&link.issuer)).is_some_and(|hash| hash == key)
}

/// SHA-1 of a CA's public key, without its algorithm: also the `byKey` form of a responder's name.
pub(super) fn key_hash(issuer: &Issuer) -> Vec<u8> {
    Sha1::digest(key_bits(issuer)).to_vec()
}

fn key_bits(issuer: &Issuer) -> Vec<u8> {
    SubjectPublicKeyInfo::from_der(issuer.key())
        .map(|(_, key)| key.subject_public_key.data.into_owned())
        .unwrap_or_default()
}
