//! Cache of verified certificate paths: a returning peer costs no CA signatures again.

use std::sync::Arc;

use quick_cache::sync::Cache;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::digest;
use shared_types::pki::trust::{Anchors, Path, Refusal, Usage, judge};

/// Paths by the chain that each was verified for. Revocation is not part of a path and is checked
/// each time.
pub(super) struct VerifiedChainCache(Cache<String, VerifiedPath>);

/// A path, and the anchors that it was verified with.
#[derive(Debug, Clone)]
pub(super) struct VerifiedPath {
    anchors: Arc<Anchors>,
    pub(super) path: Path,
}

/// Cached chains; more than there are TPPs in Europe.
const MAX_CACHED_CHAINS: usize = 4096;

impl Default for VerifiedChainCache {
    fn default() -> Self {
        Self(Cache::new(MAX_CACHED_CHAINS))
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
    ) -> Result<VerifiedPath, Refusal> {
        let (leaf, intermediates) = chain.split_first().ok_or(Refusal::NoCertificate)?;
        let cached = self.0.get(&digest_of(chain));
        if let Some(cached) = cached.filter(|cached| cached.is_valid(anchors, now)) {
            return Ok(cached);
        }
        Ok(VerifiedPath {
            path: judge(anchors, leaf, intermediates, Usage::Client, now)?,
            anchors: Arc::clone(anchors),
        })
    }

    pub(super) fn insert(&self, chain: &[CertificateDer<'_>], path: &VerifiedPath) {
        self.0.insert(digest_of(chain), path.clone());
    }
}

impl VerifiedPath {
    /// Whether verifying it again, with these anchors and at this time, would change nothing.
    pub(super) fn is_valid(&self, anchors: &Arc<Anchors>, now: UnixTime) -> bool {
        Arc::ptr_eq(&self.anchors, anchors) && self.path.window.contains(now)
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
