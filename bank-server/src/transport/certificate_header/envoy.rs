//! Parser of Envoy's `x-forwarded-client-cert`: one element for each proxy of the request, with
//! pairs such as `Hash=…;Cert="…";Chain="…"` of URL-encoded PEM.

use rustls_pki_types::CertificateDer;

use super::{HeaderProblem, escaped_pem};

/// The chain in the header's one element. `Chain` has the peer's own certificate first, as has
/// `Cert`.
pub(super) fn chain(value: &[u8]) -> Result<Vec<CertificateDer<'static>>, HeaderProblem> {
    let (mut cert, mut chain) = (None, None);
    let mut rest = Some(value);
    while let Some(text) = rest {
        let (key, value, after) = pair(text)?;
        rest = after;
        let place = match key.to_ascii_lowercase().as_slice() {
            b"cert" => &mut cert,
            b"chain" => &mut chain,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(HeaderProblem::NoCert);
        }
    }
    match (cert, chain) {
        (Some(cert), None) => Ok(vec![escaped_pem::certificate(&cert)?]),
        (None, Some(chain)) => escaped_pem::certificates(&chain),
        (Some(cert), Some(chain)) => {
            let cert = escaped_pem::certificate(&cert)?;
            let chain = escaped_pem::certificates(&chain)?;
            if chain.first() == Some(&cert) {
                Ok(chain)
            } else {
                Err(HeaderProblem::OtherLeaf)
            }
        }
        (None, None) => Err(HeaderProblem::NoCert),
    }
}

/// A key, its value without the quotes, and what comes after it, if something does.
type Pair<'a> = (&'a [u8], Vec<u8>, Option<&'a [u8]>);

fn pair(text: &[u8]) -> Result<Pair<'_>, HeaderProblem> {
    let equals = text.iter().position(|byte| *byte == b'=');
    let (key, rest) = equals
        .and_then(|place| text.split_at_checked(place))
        .ok_or(HeaderProblem::NotPairs)?;
    if key.is_empty() || !key.iter().all(u8::is_ascii_alphanumeric) {
        return Err(HeaderProblem::NotPairs);
    }
    let opened = rest.get(1) == Some(&b'"');
    let mut within = opened;
    let mut value = Vec::new();
    for (place, byte) in rest.iter().enumerate().skip(1 + usize::from(opened)) {
        match byte {
            // A quote that belongs to the value has a backslash before it. Envoy does not double
            // backslashes, so that no value ends in one.
            b'"' if within && value.last() == Some(&b'\\') => {
                value.pop();
                value.push(b'"');
            }
            b'"' if within => within = false,
            b',' if !within => return Err(HeaderProblem::SeveralElements),
            b';' if !within => return Ok((key, value, rest.get(place + 1..))),
            // No text is allowed between a closing quote and the end of the pair.
            _ if opened && !within => return Err(HeaderProblem::NotPairs),
            byte => value.push(*byte),
        }
    }
    if within {
        return Err(HeaderProblem::NotPairs);
    }
    Ok((key, value, None))
}
