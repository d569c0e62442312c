//! Parser of RFC 9440 headers: DER as Byte Sequences of structured fields (RFC 8941, section
//! 3.3.5).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustls_pki_types::CertificateDer;

use super::{HeaderProblem, MAX_INTERMEDIATES, sized};

/// RFC 8941, section 4.2.7: a parser should not insist on padding, nor on the bits that it leaves
/// over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `Client-Cert`: one Byte Sequence. RFC 9440 defines no parameters, and none are taken.
pub(super) fn certificate(value: &[u8]) -> Result<CertificateDer<'static>, HeaderProblem> {
    let inner = value
        .strip_prefix(b":")
        .and_then(|rest| rest.strip_suffix(b":"))
        .ok_or(HeaderProblem::NotAByteSequence)?;
    let der = BASE64
        .decode(inner)
        .map_err(|_| HeaderProblem::NotAByteSequence)?;
    sized(der.into())
}

/// `Client-Cert-Chain`: a List of Byte Sequences, over one line or several, without the peer's own
/// certificate.
pub(super) fn chain<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<CertificateDer<'static>>, HeaderProblem> {
    let mut above = Vec::new();
    for member in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        if above.len() == MAX_INTERMEDIATES {
            return Err(HeaderProblem::TooLong);
        }
        above.push(certificate(member.trim_ascii())?);
    }
    Ok(above)
}
