//! Cache of verified certificate paths: a returning peer costs no CA signatures again.

use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::digest;
use shared_types::pki::trust::{Anchors, Path, Refusal, Usage, judge};

/// Paths by the chain that each was verified for. Revocation is not part of a path and is checked
/// each time. Cheap to clone: all clones share the entries.
#[derive(Clone)]
pub(super) struct VerifiedChainCache(Arc<Cache<String, (Arc<Anchors>, Path)>>);

/// Cached chains; more than there are TPPs in Europe.
const MAX_CACHED_CHAINS: usize = 4096;

impl Default for VerifiedChainCache {
    fn default() -> Self {
        Self(Arc::new(Cache::new(MAX_CACHED_CHAINS)))
    }
}

impl VerifiedChainCache {
    /// The path from a chain to an anchor, without regard to revocation.
    ///
    /// Cost: for a path cached with these very anchors, one digest of the chain and a look-up; else
    /// that of [`judge`].
    pub(super) fn find_or_verify(
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

    /// Caches a path that was verified with those anchors.
    pub(super) fn insert(&self, chain: &[CertificateDer<'_>], anchors: &Arc<Anchors>, path: &Path) {
        self.0
            .insert(digest_of(chain), (Arc::clone(anchors), path.clone()));
    }
}

impl fmt::Debug for VerifiedChainCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifiedChainCache")
            .field(&self.0.len())
            .finish()
    }
}

/// The cache key of a chain. Each certificate is digested after its length, so that no two chains
/// have the same key.
pub(super) fn digest_of(chain: &[CertificateDer<'_>]) -> String {
    let mut bytes = Vec::with_capacity(chain.iter().map(|one| one.len() + 8).sum());
    for certificate in chain {
        bytes.extend_from_slice(&certificate.len().to_be_bytes());
        bytes.extend_from_slice(certificate);
    }
    digest::sha256(&bytes)
}
