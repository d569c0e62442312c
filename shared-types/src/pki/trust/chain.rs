//! Path building, at a bounded cost.
//!
//! Names decide which certificates could lead from the party's own to an agreed anchor. Signatures
//! are then checked from the anchors down: a key verifies something only after it was itself
//! vouched for, so keys that a stranger has made up cost nothing, however many there are and
//! however they point to one another. Each pair of certificate and key is checked once, and a few
//! mismatches end it. Paths are looked for among what authorities have signed, and each is
//! validated.

use std::collections::VecDeque;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};

use super::anchors::Anchors;
use super::certificate::Certificate;
use super::validation::Validation;
use super::{Path, Refusal, Usage, Window};
use crate::pki::certificate::printable;
use crate::pki::name::display;
use crate::pki::revocation::{Issuer, PathCertificate};

/// Certificates of a chain, at most, the party's own among them.
pub const MAX_CERTIFICATES: usize = 16;
/// CA certificates between the party's own and the anchor, at most.
pub const MAX_INTERMEDIATES: usize = 6;
/// Signatures that may turn out not to match, at most, beside one for each anchor of a name that is
/// looked for. What is made up has none that matches.
const MAX_MISMATCHES: usize = 3;
/// Signatures that may match, at most: twice the longest path, for CAs that have several
/// certificates.
const MAX_SIGNATURES: usize = 2 * (MAX_INTERMEDIATES + 1);
/// Paths that are validated for a chain, at most.
const MAX_PATHS: usize = 8;
/// Steps upwards that are taken while paths are looked for, at most.
const MAX_STEPS: usize = 100;

/// A certificate, and one whose key has signed it.
#[derive(Debug, Clone, Copy)]
struct Signature<'c> {
    of: &'c Certificate<'c>,
    by: &'c Certificate<'c>,
    by_anchor: bool,
}

/// Finds the path from a chain to an anchor, and validates it.
pub(super) fn find(
    anchors: &Anchors,
    leaf: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
    usage: Usage,
    now: UnixTime,
) -> Result<Path, Refusal> {
    if sent.len() >= MAX_CERTIFICATES {
        return Err(Refusal::TooManyCertificates {
            sent: sent.len() + 1,
            most: MAX_CERTIFICATES,
        });
    }
    let leaf = Certificate::read(leaf)?;
    // One that cannot be read does not help, and does no harm either.
    let sent: Vec<Certificate<'_>> = sent
        .iter()
        .filter_map(|certificate| Certificate::read(certificate).ok())
        .collect();
    let upwards = upwards(&leaf, &sent);
    let mut anchors = anchors.issuers_of(&upwards);
    // Where an anchor was renewed, the refusal is to be about the one that is valid.
    anchors.sort_by_key(|anchor| !Window::of(&anchor.parsed).contains(now));
    let mut search = Search {
        signatures: Vec::new(),
        validation: Validation::new(usage, now),
        paths: 0,
        steps: 0,
        is_exhausted: false,
        refused: None,
    };
    search.check_signatures(&anchors, &upwards);
    search.from(&mut vec![&leaf]).ok_or_else(|| {
        if search.is_exhausted {
            return Refusal::TooManyPaths;
        }
        search
            .refused
            .unwrap_or_else(|| explain_unknown_issuer(&upwards))
    })
}

/// The party's own certificate, and those to which issuers' names lead from it.
fn upwards<'c>(leaf: &'c Certificate<'c>, sent: &'c [Certificate<'c>]) -> Vec<&'c Certificate<'c>> {
    let mut found = vec![leaf];
    let mut next = 0;
    while let Some(certificate) = found.get(next).copied() {
        let above = sent.iter().filter(|candidate| {
            candidate.subject == certificate.issuer
                && !found.iter().any(|known| known.is(candidate))
        });
        let above: Vec<_> = above.collect();
        for candidate in above {
            // It may have been sent twice.
            if !found.iter().any(|known| known.is(candidate)) {
                found.push(candidate);
            }
        }
        next += 1;
    }
    found
}

struct Search<'c> {
    signatures: Vec<Signature<'c>>,
    validation: Validation,
    paths: usize,
    steps: usize,
    /// Whether there were more signatures, steps or paths than are looked at.
    is_exhausted: bool,
    /// The reason for refusing the first path.
    refused: Option<Refusal>,
}

impl<'c> Search<'c> {
    /// Finds out which certificates anchors have signed, and which those have signed in turn.
    fn check_signatures(
        &mut self,
        anchors: &'c [Certificate<'c>],
        certificates: &[&'c Certificate<'c>],
    ) {
        let mut refused = None;
        let mut mismatches = 0;
        let mut trusted: VecDeque<_> = anchors.iter().map(|anchor| (anchor, true)).collect();
        while let Some((by, by_anchor)) = trusted.pop_front() {
            let issued = certificates.iter().filter(|of| of.issuer == by.subject);
            for of in issued.filter(|of| !of.is_same_authority(by)) {
                if let Err(refusal) = of.check_algorithm().and_then(|()| by.check_key()) {
                    refused.get_or_insert(refusal);
                    continue;
                }
                let known = self.signatures.iter();
                let again = known
                    .clone()
                    .any(|known| known.of.is(of) && known.by.key() == by.key());
                let first = !known.clone().any(|known| known.of.is(of));
                // Another key of the same name has issued it, by its own authority key identifier.
                let excluded = of.names_key_of(by) == Some(false);
                if excluded || !(again || of.signed.verify(by.key()).is_ok()) {
                    refused.get_or_insert_with(|| Refusal::BadSignature { issuer: by.title() });
                    mismatches += usize::from(!excluded);
                    if mismatches > MAX_MISMATCHES + anchors.len() {
                        self.refused = Some(Refusal::TooManyMismatches { issuer: by.title() });
                        return;
                    }
                    continue;
                }
                self.signatures.push(Signature { of, by, by_anchor });
                if self.signatures.len() == MAX_SIGNATURES {
                    self.is_exhausted = true;
                    return;
                }
                if first && of.is_ca() {
                    trusted.push_back((of, false));
                } else if first && certificates.first().is_none_or(|own| !own.is(of)) {
                    refused.get_or_insert(Refusal::LeafUsedAsCa);
                }
            }
        }
        self.refused = refused;
    }

    /// The first valid path among those that begin with these certificates, the party's own first.
    fn from(&mut self, path: &mut Vec<&'c Certificate<'c>>) -> Option<Path> {
        let last = *path.last()?;
        let above = self
            .signatures
            .iter()
            .filter(|signature| signature.of.is(last));
        let above: Vec<Signature<'c>> = above.copied().collect();
        for Signature { by, by_anchor, .. } in above {
            self.steps += 1;
            if self.steps > MAX_STEPS || self.paths == MAX_PATHS {
                self.is_exhausted = true;
                return None;
            }
            if by_anchor {
                self.paths += 1;
                match self.validation.check(by, path) {
                    Ok(window) => return Some(path_of(by, path, window)),
                    Err(refusal) => self.refuse(refusal),
                }
            } else if path.iter().any(|below| below.is_same_authority(by)) {
                // A loop.
            } else if path.len() > MAX_INTERMEDIATES {
                self.refuse(Refusal::ChainTooLong {
                    most: MAX_INTERMEDIATES,
                });
            } else {
                path.push(by);
                let found = self.from(path);
                path.pop();
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    /// The problem of the first path is reported before those of certificates that are
    /// in none.
    fn refuse(&mut self, refusal: Refusal) {
        if self.paths <= 1 {
            self.refused = Some(refusal);
        }
    }
}

fn path_of(anchor: &Certificate<'_>, path: &[&Certificate<'_>], window: Window) -> Path {
    let above = path.iter().skip(1).copied().chain([anchor]);
    let links = path.iter().zip(above).map(|(certificate, issuer)| {
        // By the name that the certificate has for it: that is what its issuer's responder is asked
        // with.
        let name = certificate.parsed.issuer().as_raw();
        PathCertificate::new(
            &certificate.parsed,
            Arc::new(Issuer::new(name, issuer.key())),
        )
    });
    Path {
        window,
        links: links.collect(),
    }
}

/// Follows the names upwards, to determine where the chain ends. The party's own certificate is the
/// first.
fn explain_unknown_issuer(upwards: &[&Certificate<'_>]) -> Refusal {
    let Some((leaf, above)) = upwards.split_first() else {
        return Refusal::NoCertificate;
    };
    if leaf.is_self_issued() {
        return Refusal::SelfSigned;
    }
    let mut top = leaf;
    // A loop of names cannot be longer than what was sent.
    for _ in above {
        let mut above = above.iter();
        match above.find(|one| one.subject == top.issuer && one.subject != top.subject) {
            Some(certificate) => top = certificate,
            None => break,
        }
    }
    let issuer = printable(&display(top.parsed.issuer()));
    if top.is(leaf) {
        Refusal::IncompleteChain { issuer }
    } else {
        Refusal::UnknownIssuer { issuer }
    }
}
