//! Chains that come without the certificates in their middle.

use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::Window;

/// A chain, the party's own certificate first, with those CA certificates of `known` after it that lead upwards from it
/// and are valid at that time. Where several CAs of one name are known, all of them: the path is built later.
///
/// It is for chains that arrive through a gateway, which may forward the party's own certificate alone.
///
/// Cost: one reading of each certificate; no signature is checked.
#[must_use]
pub fn complete(
    chain: &[CertificateDer<'static>],
    known: &[CertificateDer<'static>],
    now: UnixTime,
) -> Vec<CertificateDer<'static>> {
    let read = |certificate| {
        X509Certificate::from_der(certificate)
            .ok()
            .map(|(_, parsed)| parsed)
    };
    let mut completed = chain.to_vec();
    let mut issuers: Vec<Vec<u8>> = chain
        .iter()
        .filter_map(|certificate| Some(read(certificate)?.issuer().as_raw().to_vec()))
        .collect();
    // Each round finds what leads upwards from the one before; none takes a certificate twice.
    while let Some(issuer) = issuers.pop() {
        for candidate in known {
            let Some(parsed) = read(candidate) else {
                continue;
            };
            if parsed.subject().as_raw() == issuer
                && Window::of(&parsed).contains(now)
                && !completed.contains(candidate)
            {
                issuers.push(parsed.issuer().as_raw().to_vec());
                completed.push(candidate.clone());
            }
        }
    }
    completed
}
