//! Signature verification over the DER of a CRL or an OCSP response.

use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::extension::dotted;
use crate::pki::der;

/// Error of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignatureError {
    /// It is of a kind that is not accepted, such as one with SHA-1; its name.
    Algorithm(String),
    /// It is not that of the key over the content.
    Mismatch,
}

/// `SIGNED { ToBeSigned }`: what is signed, the algorithm's identifier without its outer tag, and
/// the signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) content: &'a [u8],
    /// The content of the `AlgorithmIdentifier`.
    pub(crate) algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn new(content: &'a [u8], algorithm: &'a [u8], signature: &'a [u8]) -> Option<Self> {
        // A BIT STRING starts with the number of bits its last octet leaves unused.
        let (0, signature) = signature
            .split_first()
            .map(|(unused, rest)| (*unused, rest))?
        else {
            return None;
        };
        Some(Self {
            content,
            algorithm,
            signature,
        })
    }

    /// Splits `SEQUENCE { content, AlgorithmIdentifier, BIT STRING }`.
    pub(crate) fn read(whole: &'a [u8]) -> Option<Self> {
        let (sequence, rest) = der::element(whole, der::SEQUENCE)?;
        let (content, after) = der::any(sequence.content)?;
        let (algorithm, after) = der::element(after, der::SEQUENCE)?;
        let (signature, after) = der::element(after, der::BIT_STRING)?;
        if !rest.is_empty() || !after.is_empty() {
            return None;
        }
        Self::new(content.whole, algorithm.content, signature.content)
    }

    /// Whether the holder of that key (`SubjectPublicKeyInfo`) signed it.
    pub(crate) fn verify(&self, key: &[u8]) -> Result<(), SignatureError> {
        let same = |known: AlgorithmIdentifier, found: &[u8]| known.as_ref() == found;
        let mut known = webpki::ALL_VERIFICATION_ALGS.iter();
        if !known.any(|algorithm| same(algorithm.signature_alg_id(), self.algorithm)) {
            return Err(SignatureError::Algorithm(algorithm_name(self.algorithm)));
        }
        let mismatch = || SignatureError::Mismatch;
        let (_, parsed) = SubjectPublicKeyInfo::from_der(key).map_err(|_| mismatch())?;
        let (outer, _) = der::element(key, der::SEQUENCE).ok_or_else(mismatch)?;
        let (key_algorithm, _) = der::element(outer.content, der::SEQUENCE).ok_or_else(mismatch)?;
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            same(algorithm.public_key_alg_id(), key_algorithm.content)
                && same(algorithm.signature_alg_id(), self.algorithm)
        };
        let public_key = &parsed.subject_public_key.data;
        // More than one can fit: the key's length decides between some.
        webpki::ALL_VERIFICATION_ALGS
            .iter()
            .filter(fits)
            .any(|algorithm| {
                algorithm
                    .verify_signature(public_key, self.content, self.signature)
                    .is_ok()
            })
            .then_some(())
            .ok_or_else(mismatch)
    }
}

/// Name of a signature algorithm that is not accepted: those that people still meet by name,
/// others by OID.
fn algorithm_name(identifier: &[u8]) -> String {
    let id = der::element(identifier, der::OID).map(|(id, _)| dotted(id.content));
    match id.as_deref() {
        Some("1.2.840.113549.1.1.4") => "MD5 (md5WithRSAEncryption)".to_owned(),
        Some("1.2.840.113549.1.1.5") => "SHA-1 (sha1WithRSAEncryption)".to_owned(),
        Some("1.2.840.113549.1.1.10") => "RSASSA-PSS with parameters of its own".to_owned(),
        Some("1.2.840.10045.4.1") => "SHA-1 (ecdsa-with-SHA1)".to_owned(),
        Some("1.2.840.10040.4.3") => "SHA-1 (dsaWithSHA1)".to_owned(),
        Some(other) => format!("the algorithm {other}"),
        None => "an algorithm that cannot be read".to_owned(),
    }
}
