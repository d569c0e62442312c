//! Completion of chains that arrive without intermediate certificates.

use rustls_pki_types::{CertificateDer, UnixTime};

use super::Window;
use super::certificate::Certificate;

/// A chain, the party's own certificate first, with those CA certificates of `known` after it that
/// lead upwards from it and are valid at that time. Where several CAs of one name are known, all of
/// them: the path is built later.
///
/// It is for chains that arrive through a gateway, which may forward the party's own certificate
/// alone.
///
/// Cost: one reading of each certificate of the chain, and of each that is known; no signature is
/// checked.
#[must_use]
pub fn complete(
    chain: &[CertificateDer<'static>],
    known: &[CertificateDer<'static>],
    now: UnixTime,
) -> Vec<CertificateDer<'static>> {
    let mut issuers: Vec<Vec<u8>> = chain
        .iter()
        .filter_map(|certificate| Some(Certificate::read(certificate).ok()?.issuer))
        .collect();
    let mut unused: Vec<Certificate<'_>> = known
        .iter()
        .filter(|candidate| !chain.contains(candidate))
        .filter_map(|candidate| Certificate::read(candidate).ok())
        .filter(|candidate| Window::of(&candidate.parsed).contains(now))
        .collect();
    let mut completed = chain.to_vec();
    // Each round finds what leads upwards from the one before; none takes a certificate twice.
    while let Some(issuer) = issuers.pop() {
        for above in unused.extract_if(.., |candidate| candidate.subject == issuer) {
            completed.push(above.parsed.as_raw().to_vec().into());
            issuers.push(above.issuer);
        }
    }
    completed
}
