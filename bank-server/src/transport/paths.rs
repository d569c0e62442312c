//! Paths that were found: a peer that comes back costs no signatures of its authorities again.

use std::fmt;
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::digest;
use shared_types::trust::{Anchors, Path};

/// Paths, by the chain that each was found for. Whether a certificate was revoked is none of a path's, and is looked for
/// each time. Cheap to clone: all clones share them.
#[derive(Clone)]
pub struct Paths(Arc<Cache<String, (Arc<Anchors>, Path)>>);

/// Chains that are remembered; more than there are TPPs in Europe.
const MOST: usize = 4096;

impl Default for Paths {
    fn default() -> Self {
        Self(Arc::new(Cache::new(MOST)))
    }
}

impl Paths {
    /// The path of that chain to those very anchors, if one was found that is valid now.
    pub(super) fn get(&self, chain: &str, anchors: &Arc<Anchors>, now: UnixTime) -> Option<Path> {
        let (by, path) = self.0.get(chain)?;
        (Arc::ptr_eq(&by, anchors) && path.window.contains(now)).then_some(path)
    }

    pub(super) fn keep(&self, chain: String, anchors: &Arc<Anchors>, path: &Path) {
        self.0.insert(chain, (Arc::clone(anchors), path.clone()));
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
