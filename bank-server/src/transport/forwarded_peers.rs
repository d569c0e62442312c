//! Peers that gateways forward: evaluated like peers that connect directly, with cached verdicts.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use rustls_pki_types::CertificateDer;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::revocation::PathCertificate;
use shared_types::pki::trust::{Refusal, complete};

use tokio::time::{MissedTickBehavior, interval};

use super::connection_registry::STATUS_REFRESH;
use super::policy::{PeerRejection, Policy};
use super::quota::{ConnectionPermit, Quota, RequestPermit};
use super::trust::{Trust, Verdict};
use super::verified_chain_cache::digest_of;

/// The forwarded peers of a listener's gateways.
pub struct ForwardedPeers<P: Policy> {
    trust: Arc<Trust<P>>,
    quota: Quota,
    cache: Cache<String, Arc<ForwardedPeer<P>>>,
}

/// A peer whose certificate a gateway forwards.
pub struct ForwardedPeer<P: Policy> {
    /// The peer's certificate, summarised for the log.
    pub certificate: CertificateSummary,
    chain: Vec<CertificateDer<'static>>,
    verdict: ArcSwap<Verdict<P>>,
    trust: Arc<Trust<P>>,
    quota: Quota,
    /// Its permit for requests, once it was authorised.
    permit: OnceLock<ConnectionPermit>,
}

/// Cached chains of each listener.
const MAX_CACHED_CHAINS: usize = 1024;

impl<P: Policy> ForwardedPeers<P> {
    /// Requests of forwarded peers count towards `quota`, together with those of peers that connect
    /// directly.
    pub(super) fn new(trust: Arc<Trust<P>>, quota: Quota) -> Self {
        Self {
            trust,
            quota,
            cache: Cache::new(MAX_CACHED_CHAINS),
        }
    }

    /// The peer of a forwarded chain, its own certificate first. Evaluates a chain that is not
    /// cached.
    ///
    /// Cost: one digest of the chain and one look-up. For a chain that is not cached that of one
    /// evaluation as well.
    pub async fn peer(
        &self,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Arc<ForwardedPeer<P>>, Refusal> {
        let digest = digest_of(&chain);
        if let Some(cached) = self.cache.get(&digest) {
            return Ok(cached);
        }
        let verdict = evaluate(&self.trust, &chain, None).await?;
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let forwarded = Arc::new(ForwardedPeer {
            certificate: CertificateSummary::of(leaf),
            verdict: ArcSwap::from_pointee(verdict),
            trust: Arc::clone(&self.trust),
            quota: self.quota.clone(),
            permit: OnceLock::new(),
            chain,
        });
        self.cache.insert(digest, Arc::clone(&forwarded));
        Ok(forwarded)
    }

    /// Clears the cache whenever trust changes, because each entry would keep its snapshot alive,
    /// including long CRLs. Until then, refreshes the OCSP statuses of cached peers in time. Runs
    /// until it is dropped.
    pub(super) async fn invalidate_on_change(&self) {
        let mut changes = self.trust.subscribe();
        let mut status_refresh = interval(STATUS_REFRESH);
        status_refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_changed = tokio::select! {
                // The sender lives in `trust`.
                _ = changes.changed() => true,
                _ = status_refresh.tick() => false,
            };
            self.trust.refresh_statuses_of(self.path_certificates());
            if is_changed {
                self.cache.clear();
            }
        }
    }

    /// The certificates of the cached peers' paths.
    fn path_certificates(&self) -> Vec<PathCertificate> {
        let known = self.cache.iter().map(|(_, forwarded)| forwarded);
        known
            .flat_map(|forwarded| forwarded.verdict.load().verified.path.links.clone())
            .collect()
    }
}

impl<P: Policy> ForwardedPeer<P> {
    /// The peer, or why it is rejected. Called for every request, as for a connection.
    ///
    /// Cost: two comparisons of the clock and one of a pointer, unless something changed; then that
    /// of one evaluation.
    pub async fn evaluate(&self) -> Result<Arc<P::Peer>, PeerRejection<P::Objection>> {
        let mut verdict = self.verdict.load_full();
        if !self.trust.is_current(&verdict) {
            let reevaluated = evaluate(&self.trust, &self.chain, Some(&verdict)).await;
            verdict = Arc::new(reevaluated.map_err(PeerRejection::Untrusted)?);
            self.verdict.store(Arc::clone(&verdict));
        }
        verdict.peer.clone().map_err(PeerRejection::NotAuthorised)
    }

    /// A permit for one request, unless the peer has reached its limit.
    pub(super) fn acquire_request(&self, peer: &P::Peer) -> Option<RequestPermit> {
        self.permit
            .get_or_init(|| {
                self.quota
                    .acquire_without_connection(P::quota_key(peer).to_owned())
            })
            .acquire_request()
    }
}

/// The evaluation of a peer that connects directly, after known intermediates were added: gateways
/// may forward the peer's own certificate alone.
async fn evaluate<P: Policy>(
    trust: &Trust<P>,
    chain: &[CertificateDer<'static>],
    previous: Option<&Verdict<P>>,
) -> Result<Verdict<P>, Refusal> {
    let whole = complete(chain, &trust.current().intermediates, trust.now());
    match previous.map(|previous| trust.reevaluate(&whole, previous)) {
        Some(evaluated) if !matches!(evaluated, Err(Refusal::StatusUnknown { .. })) => evaluated,
        // Not known before, or the status has expired: a responder may have to be queried.
        _ => trust.admit(&whole, None).await,
    }
}
