//! Peers that gateways forward: judged as if they had come themselves, and remembered for as long as that stands.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use rustls_pki_types::CertificateDer;
use shared_types::certificate::CertificateSummary;
use shared_types::revocation::PathCertificate;
use shared_types::trust::{Refusal, complete};

use tokio::time::{MissedTickBehavior, interval};

use super::connection_registry::IN_USE;
use super::policy::{Ended, Policy};
use super::quota::{ConnectionPermit, Quota, RequestPermit};
use super::trust::{Trust, Verdict};
use super::verified_chain_cache::digest_of;

/// What all gateways of a listener have forwarded.
pub struct Forwarding<P: Policy> {
    trust: Arc<Trust<P>>,
    quota: Quota,
    known: Cache<String, Arc<Forwarded<P>>>,
}

/// A peer whose certificate a gateway forwards.
pub struct Forwarded<P: Policy> {
    /// The peer's certificate in a few words.
    pub certificate: CertificateSummary,
    chain: Vec<CertificateDer<'static>>,
    verdict: ArcSwap<Verdict<P>>,
    trust: Arc<Trust<P>>,
    quota: Quota,
    /// Where its requests are counted, once it was found welcome.
    place: OnceLock<ConnectionPermit>,
}

/// Chains that are remembered for each listener.
const MOST: usize = 1024;

impl<P: Policy> Forwarding<P> {
    /// Requests of forwarded peers are counted there, together with those of peers that come themselves.
    pub(super) fn new(trust: Arc<Trust<P>>, quota: Quota) -> Self {
        Self {
            trust,
            quota,
            known: Cache::new(MOST),
        }
    }

    /// The peer of a forwarded chain, its own certificate first. A chain that is not known yet is judged.
    ///
    /// Cost: one digest of the chain and one look-up. For an unknown chain that of one judgement as well.
    pub async fn peer(
        &self,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Arc<Forwarded<P>>, Refusal> {
        let digest = digest_of(&chain);
        if let Some(known) = self.known.get(&digest) {
            return Ok(known);
        }
        let verdict = judge(&self.trust, &chain, None).await?;
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let forwarded = Arc::new(Forwarded {
            certificate: CertificateSummary::of(leaf),
            verdict: ArcSwap::from_pointee(verdict),
            trust: Arc::clone(&self.trust),
            quota: self.quota.clone(),
            place: OnceLock::new(),
            chain,
        });
        self.known.insert(digest, Arc::clone(&forwarded));
        Ok(forwarded)
    }

    /// Forgets all peers whenever trust changes: each would keep the beliefs alive that it was last judged by, long lists
    /// and all. Until then, responders are asked about them again in time. Runs for as long as it is polled.
    pub(super) async fn keep_up(&self) {
        let mut changes = self.trust.changes();
        let mut in_use = interval(IN_USE);
        in_use.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let forget = tokio::select! {
                // The sender lives in `trust`.
                _ = changes.changed() => true,
                _ = in_use.tick() => false,
            };
            self.trust.keep_informed_of(self.links());
            if forget {
                self.known.clear();
            }
        }
    }

    /// The certificates by which the known peers were judged.
    fn links(&self) -> Vec<PathCertificate> {
        let known = self.known.iter().map(|(_, forwarded)| forwarded);
        known
            .flat_map(|forwarded| forwarded.verdict.load().links().to_vec())
            .collect()
    }
}

impl<P: Policy> Forwarded<P> {
    /// Who it is, or why it may not be here. Asked for every request, as for a connection.
    ///
    /// Cost: that of [`Trust`]'s look at an earlier verdict, two comparisons of the clock and one of a pointer, unless
    /// something changed; then that of one judgement.
    pub async fn judge(&self) -> Result<Arc<P::Peer>, Ended<P::Objection>> {
        let mut verdict = self.verdict.load_full();
        if !self.trust.stands(&verdict) {
            let renewed = judge(&self.trust, &self.chain, Some(&verdict)).await;
            verdict = Arc::new(renewed.map_err(Ended::Untrusted)?);
            self.verdict.store(Arc::clone(&verdict));
        }
        verdict.peer.clone().map_err(Ended::Unwelcome)
    }

    /// A turn for one request, unless the peer has too many as it is.
    pub(super) fn permit(&self, peer: &P::Peer) -> Option<RequestPermit> {
        self.place
            .get_or_init(|| self.quota.visit(P::group(peer)))
            .permit()
    }
}

/// The very judgement that a chain gets whose holder comes itself, after the intermediates that are known here were
/// added: gateways may forward the peer's own certificate alone.
async fn judge<P: Policy>(
    trust: &Trust<P>,
    chain: &[CertificateDer<'static>],
    earlier: Option<&Verdict<P>>,
) -> Result<Verdict<P>, Refusal> {
    let whole = complete(chain, &trust.current().intermediates, trust.now());
    match earlier.map(|earlier| trust.judge_again(&whole, earlier)) {
        Some(judged) if !matches!(judged, Err(Refusal::StatusUnknown { .. })) => judged,
        // Not known before, or no longer known well enough: a responder may have to be asked.
        _ => trust.admit(&whole).await,
    }
}

impl<P: Policy> fmt::Debug for Forwarding<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarding").finish_non_exhaustive()
    }
}

impl<P: Policy> fmt::Debug for Forwarded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forwarded")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}
