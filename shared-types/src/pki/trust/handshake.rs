//! Proof of a key in the handshake (RFC 8446, section 4.4.3; RFC 5246, section 7.4.8).
//!
//! The functions of rustls read the certificate once more, with a parser that refuses critical
//! extensions which paths are validated by here. These take the key alone.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::verify_tls13_signature_with_raw_key;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use webpki::RawPublicKeyEntity;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::pki::crypto::provider;

/// Checks the signature of a TLS 1.3 handshake against the certificate's key.
pub fn verify_tls13_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = provider().signature_verification_algorithms;
    verify_tls13_signature_with_raw_key(message, &key_of(certificate)?, signature, &algorithms)
}

/// Checks the signature of a TLS 1.2 handshake against the certificate's key. Several algorithms
/// can have the scheme's name there: the key decides.
pub fn verify_tls12_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    // ML-DSA is not defined for TLS 1.2.
    let only_tls13 = matches!(
        signature.scheme,
        SignatureScheme::ML_DSA_44 | SignatureScheme::ML_DSA_65 | SignatureScheme::ML_DSA_87
    );
    if only_tls13 || !signature_schemes().contains(&signature.scheme) {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let key = key_of(certificate)?;
    is_signed_by(&key, signature.scheme, message, signature.signature())
        .then(HandshakeSignatureValid::assertion)
        .ok_or_else(|| CertificateError::BadSignature.into())
}

/// Whether the holder of that key signed the message, by any algorithm that has the scheme's name.
pub(crate) fn is_signed_by(
    key: &SubjectPublicKeyInfoDer<'_>,
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(key) = RawPublicKeyEntity::try_from(key) else {
        return false;
    };
    let algorithms = provider().signature_verification_algorithms;
    let mut known = algorithms.mapping.iter();
    let candidates = known.find(|(known, _)| *known == scheme);
    candidates.is_some_and(|(_, candidates)| {
        let mut candidates = candidates.iter();
        candidates.any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    })
}

/// The signature schemes of both handshakes.
#[must_use]
pub fn signature_schemes() -> Vec<SignatureScheme> {
    provider()
        .signature_verification_algorithms
        .supported_schemes()
}

fn key_of<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(
        parsed.tbs_certificate.subject_pki.raw,
    ))
}

/// Implements the methods of rustls's certificate verifiers that check the peer's proof of its key.
/// `record` names a method of the verifier that the outcome passes through.
#[macro_export]
macro_rules! verify_handshake_signatures {
    ($($record:ident)?) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &::rustls_pki_types::CertificateDer<'_>,
            signature: &::rustls::DigitallySignedStruct,
        ) -> Result<::rustls::client::danger::HandshakeSignatureValid, ::rustls::Error> {
            let verify = $crate::pki::trust::verify_tls12_signature;
            $(self.$record)?(verify(message, certificate, signature))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &::rustls_pki_types::CertificateDer<'_>,
            signature: &::rustls::DigitallySignedStruct,
        ) -> Result<::rustls::client::danger::HandshakeSignatureValid, ::rustls::Error> {
            let verify = $crate::pki::trust::verify_tls13_signature;
            $(self.$record)?(verify(message, certificate, signature))
        }

        fn supported_verify_schemes(&self) -> Vec<::rustls::SignatureScheme> {
            $crate::pki::trust::signature_schemes()
        }
    };
}
