//! Checks a signature over DER: of a list, or of an answer about one certificate.

use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::der;

/// A signature does not belong to what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadSignature;

/// `SIGNED { ToBeSigned }`: what is signed, the algorithm's identifier without its outer tag, and the signature.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed<'a> {
    pub(super) content: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn new(content: &'a [u8], algorithm: &'a [u8], signature: &'a [u8]) -> Option<Self> {
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
    pub(super) fn read(whole: &'a [u8]) -> Option<Self> {
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
    pub(super) fn verify(&self, key: &[u8]) -> Result<(), BadSignature> {
        let (_, parsed) = SubjectPublicKeyInfo::from_der(key).map_err(|_| BadSignature)?;
        let (outer, _) = der::element(key, der::SEQUENCE).ok_or(BadSignature)?;
        let (key_algorithm, _) = der::element(outer.content, der::SEQUENCE).ok_or(BadSignature)?;
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            let same = |known: AlgorithmIdentifier, found: &[u8]| known.as_ref() == found;
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
            .ok_or(BadSignature)
    }
}
