//! Paths that were found: a peer that comes back costs no signatures of its authorities again.

use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::digest;
use shared_types::trust::{Anchors, Path, Refusal, Usage, judge};

/// Paths, by the chain that each was found for. Whether a certificate was revoked is none of a path's, and is looked for
/// each time. Cheap to clone: all clones share them.
#[derive(Clone)]
pub(super) struct Paths(Arc<Cache<String, (Arc<Anchors>, Path)>>);

/// Chains that are remembered; more than there are TPPs in Europe.
const MOST: usize = 4096;

impl Default for Paths {
    fn default() -> Self {
        Self(Arc::new(Cache::new(MOST)))
    }
}

impl Paths {
    /// The path from a chain to an anchor, which says nothing of revocation yet.
    ///
    /// Cost: for a chain whose path is remembered, by those very anchors, one digest of it and a look-up; else that of
    /// [`judge`].
    pub(super) fn find(
        &self,
        chain: &[CertificateDer<'_>],
        anchors: &Arc<Anchors>,
        now: UnixTime,
    ) -> Result<Path, Refusal> {
        let (leaf, intermediates) = chain.split_first().ok_or(Refusal::NoCertificate)?;
        match self.0.get(&digest_of(chain)) {
            Some((by, path)) if Arc::ptr_eq(&by, anchors) && path.window.contains(now) => Ok(path),
            _ => judge(anchors, leaf, intermediates, Usage::Client, now),
        }
    }

    /// Remembers a path that was found by those anchors.
    pub(super) fn keep(&self, chain: &[CertificateDer<'_>], anchors: &Arc<Anchors>, path: &Path) {
        self.0
            .insert(digest_of(chain), (Arc::clone(anchors), path.clone()));
    }
}

impl fmt::Debug for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Paths").field(&self.0.len()).finish()
    }
}

/// Stands for a chain. Each certificate is digested with its length before it, so that no two chains are taken for one
/// another.
pub(super) fn digest_of(chain: &[CertificateDer<'_>]) -> String {
    let mut bytes = Vec::with_capacity(chain.iter().map(|one| one.len() + 8).sum());
    for certificate in chain {
        bytes.extend_from_slice(&certificate.len().to_be_bytes());
        bytes.extend_from_slice(certificate);
    }
    digest::sha256(&bytes)
}
