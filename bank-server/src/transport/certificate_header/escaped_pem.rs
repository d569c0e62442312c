//! Parser of URL-encoded PEM, as nginx and Envoy send it.

use rustls_pki_types::CertificateDer;
use shared_types::pki::pem::{Kind, text_objects};

use super::{HeaderProblem, MAX_INTERMEDIATES, sized};

/// nginx's `$ssl_client_escaped_cert`: the peer's own certificate.
pub(super) fn certificate(value: &[u8]) -> Result<CertificateDer<'static>, HeaderProblem> {
    let mut certificates = certificates(value)?.into_iter();
    match (certificates.next(), certificates.next()) {
        (Some(certificate), None) => Ok(certificate),
        _ => Err(HeaderProblem::NotOne),
    }
}

/// One certificate, and those above it.
pub(super) fn certificates(value: &[u8]) -> Result<Vec<CertificateDer<'static>>, HeaderProblem> {
    let found = text_objects(&unescaped(value)?).map_err(|_| HeaderProblem::NotPem)?;
    if found.len() > MAX_INTERMEDIATES + 1 {
        return Err(HeaderProblem::TooLong);
    }
    if found.is_empty() || found.iter().any(|object| object.kind != Kind::Certificate) {
        return Err(HeaderProblem::NotPem);
    }
    found
        .into_iter()
        .map(|object| sized(object.der.into()))
        .collect()
}

/// RFC 3986, section 2.1. A plus sign is itself: base64 has it.
fn unescaped(value: &[u8]) -> Result<Vec<u8>, HeaderProblem> {
    let digit = |byte: Option<u8>| {
        byte.and_then(|byte| char::from(byte).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
            .ok_or(HeaderProblem::NotUrlEncoded)
    };
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => digit(bytes.next())? * 16 + digit(bytes.next())?,
            byte => byte,
        });
    }
    Ok(plain)
}
