//! Immutable trust snapshots, and the evaluation of certificate chains against the current one.
//!
//! A handshake and each request use one snapshot; a change replaces the whole snapshot atomically.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::environment::Clock;
use shared_types::pki::credentials::{Credentials, provider};
use shared_types::pki::revocation::{
    List, PathCertificate, RevocationStatus, Statuses, UnknownStatus,
};
use shared_types::pki::trust::{Anchors, Path, Refusal, Window};
use tokio::sync::watch;

use super::gateways::Gateways;
use super::ocsp_worker::{OcspCounters, OcspHandle};
use super::own_certificate::OwnCertificate;
use super::policy::Policy;
use super::verified_chain_cache::{VerifiedChainCache, VerifiedPath};

/// Everything that decides which peers are trusted, and our own credentials. Never modified, only
/// replaced as a whole. Cheap to clone.
pub struct TrustSnapshot<P> {
    /// The agreed certification authorities.
    pub anchors: Arc<Anchors>,
    /// Known intermediate CAs. They complete the chains that gateways forward.
    pub intermediates: Arc<[CertificateDer<'static>]>,
    /// The gateways that may forward peers.
    pub gateways: Gateways,
    /// The revocation statuses: CRLs and OCSP responses.
    pub statuses: Statuses,
    /// Whether OCSP responders are queried where no fresh status is known.
    pub ask_responders: bool,
    /// Treatment of certificates without a fresh revocation status.
    pub unknown_status: UnknownStatus,
    /// The server's own rules.
    pub policy: Arc<P>,
    /// Our own certificate and key.
    pub credentials: Credentials,
}

/// A snapshot, and how it presents our own certificate.
struct Current<P> {
    snapshot: Arc<TrustSnapshot<P>>,
    own_certificate: Arc<OwnCertificate>,
}

/// Holder of the current snapshot. Reading it takes no lock.
pub struct Trust<P> {
    current: ArcSwap<Current<P>>,
    /// Held while a snapshot is derived from the current one, so that no update is lost.
    update_lock: Mutex<()>,
    changed: watch::Sender<()>,
    clock: Arc<dyn Clock>,
    pub(super) tls: ConfigBuilder<ServerConfig, WantsVerifier>,
    /// TLS session caches, one for each kind of listener, so that no session can be resumed at the
    /// other kind. A resumed session is evaluated again when its connection is established, so it
    /// may save the peer a signature.
    pub(super) peer_sessions: Arc<dyn StoresServerSessions>,
    pub(super) gateway_sessions: Arc<dyn StoresServerSessions>,
    pub(super) path_cache: VerifiedChainCache,
    ocsp: OcspHandle,
}

/// A favourable verdict on a chain: its snapshot, its validity, and the policy's result.
pub(super) struct Verdict<P: Policy> {
    snapshot: Arc<TrustSnapshot<P>>,
    pub(super) verified: VerifiedPath,
    window: Window,
    pub(super) peer: Result<Arc<P::Peer>, P::Objection>,
}

/// TLS sessions that are cached for resumption.
const MAX_SESSIONS: usize = 4096;

impl<P: Policy> Trust<P> {
    /// Starts with that snapshot. Unknown revocation statuses are queried through `ocsp`.
    pub(super) fn new(
        snapshot: TrustSnapshot<P>,
        clock: Arc<dyn Clock>,
        ocsp: OcspHandle,
    ) -> Result<Self, rustls::Error> {
        let tls = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
        Ok(Self {
            current: ArcSwap::from_pointee(Current::new(snapshot, &clock)),
            update_lock: Mutex::default(),
            changed: watch::Sender::new(()),
            clock,
            tls,
            peer_sessions: ServerSessionMemoryCache::new(MAX_SESSIONS),
            gateway_sessions: ServerSessionMemoryCache::new(MAX_SESSIONS),
            path_cache: VerifiedChainCache::default(),
            ocsp,
        })
    }

    /// Replaces the snapshot by one derived from it: for new handshakes at once, for open
    /// connections as soon as each has been re-evaluated.
    pub fn update(&self, make: impl FnOnce(&TrustSnapshot<P>) -> TrustSnapshot<P>) {
        // A panic here leaves the previous snapshot in place.
        let guard = self
            .update_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let snapshot = make(&self.current.load().snapshot);
        self.current
            .store(Arc::new(Current::new(snapshot, &self.clock)));
        drop(guard);
        self.changed.send_replace(());
    }

    /// The current snapshot.
    #[must_use]
    pub fn current(&self) -> Arc<TrustSnapshot<P>> {
        Arc::clone(&self.current.load().snapshot)
    }

    /// Subscribes to changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Our own certificate, for a handshake that starts now.
    pub(super) fn own_certificate(&self) -> Arc<OwnCertificate> {
        Arc::clone(&self.current.load().own_certificate)
    }

    /// Counters of the OCSP client.
    pub(super) fn ocsp_counters(&self) -> OcspCounters {
        self.ocsp.counters()
    }

    /// Evaluates the chain of a peer that connects, its own certificate first, with the path that
    /// its handshake has verified, if it has. Where the revocation status of a certificate is
    /// unknown and OCSP is enabled, queries its responder before the evaluation.
    ///
    /// Cost: that of one evaluation, without its signatures if the path is verified or cached;
    /// where a responder is queried, waiting for its response, for a bounded time.
    pub(super) async fn admit(
        &self,
        chain: &[CertificateDer<'_>],
        verified: Option<VerifiedPath>,
    ) -> Result<Verdict<P>, Refusal> {
        let snapshot = self.current();
        let verified = match verified {
            Some(verified) => verified,
            None => self
                .path_cache
                .find_or_verify(chain, &snapshot.anchors, self.now())?,
        };
        // Cached here, where the peer has proved possession of its key: chains of others must not
        // evict those of peers.
        self.path_cache.insert(chain, &verified);
        if snapshot.ask_responders {
            let unknown = snapshot.with_unknown_status(&verified.path, self.now());
            let unknown: Vec<PathCertificate> = unknown.cloned().collect();
            if unknown.is_empty() {
                self.ocsp.enqueue(verified.path.links.clone());
            } else {
                self.ocsp.query(unknown).await;
            }
        }
        self.evaluate(chain, &verified)
    }

    /// Evaluates a chain again, by the current snapshot and time.
    pub(super) fn reevaluate(
        &self,
        chain: &[CertificateDer<'_>],
        previous: &Verdict<P>,
    ) -> Result<Verdict<P>, Refusal> {
        self.evaluate(chain, &previous.verified)
    }

    /// Evaluates a chain by the current snapshot and time. Reuses that path if it leads to the
    /// current anchors and is within its validity.
    ///
    /// Cost: with that path, a look-up in CRLs and OCSP responses for each certificate, and that of
    /// the policy. No signature is checked.
    fn evaluate(
        &self,
        chain: &[CertificateDer<'_>],
        verified: &VerifiedPath,
    ) -> Result<Verdict<P>, Refusal> {
        let (snapshot, now) = (self.current(), self.now());
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let verified = if verified.is_valid(&snapshot.anchors, now) {
            verified.clone()
        } else {
            self.path_cache
                .find_or_verify(chain, &snapshot.anchors, now)?
        };
        let Window { from, until } = verified.path.window;
        let mut until = until.min(snapshot.check_revocation(&verified.path, now)?);
        let admitted = snapshot.policy.admit(leaf, now);
        if let Ok(admitted) = &admitted {
            until = until.min(admitted.until.unwrap_or(until));
        }
        Ok(Verdict {
            window: Window { from, until },
            verified,
            peer: admitted.map(|admitted| Arc::new(admitted.peer)),
            snapshot,
        })
    }

    /// Queries OCSP responders about those certificates again, before their statuses expire.
    pub(super) fn refresh_statuses_of(&self, links: Vec<PathCertificate>) {
        if self.current().ask_responders {
            self.ocsp.enqueue(links);
        }
    }

    /// Whether a verdict is still current. If so, evaluating again would change nothing.
    ///
    /// Cost: two comparisons of the clock and one of a pointer; no signature is checked.
    #[must_use]
    pub(super) fn is_current(&self, verdict: &Verdict<P>) -> bool {
        Arc::ptr_eq(&verdict.snapshot, &self.current.load().snapshot)
            && verdict.window.contains(self.now())
    }

    /// Checks the certificate that a gateway presented.
    ///
    /// Cost: one comparison for each that is pinned.
    pub(super) fn check_gateway(&self, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        self.current().gateways.check(leaf, self.now())
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.unix()
    }
}

impl<P> Current<P> {
    fn new(snapshot: TrustSnapshot<P>, clock: &Arc<dyn Clock>) -> Self {
        Self {
            own_certificate: Arc::new(OwnCertificate::of(&snapshot, Arc::clone(clock))),
            snapshot: Arc::new(snapshot),
        }
    }
}

impl<P> TrustSnapshot<P> {
    /// Checks that no certificate of the path is revoked; returns until when that is known.
    pub(super) fn check_revocation(&self, path: &Path, now: UnixTime) -> Result<UnixTime, Refusal> {
        self.statuses.check(&path.links, self.unknown_status, now)
    }

    /// The certificates of a path whose revocation status is unknown.
    pub(super) fn with_unknown_status<'a>(
        &'a self,
        path: &'a Path,
        now: UnixTime,
    ) -> impl Iterator<Item = &'a PathCertificate> {
        path.links
            .iter()
            .filter(move |link| self.statuses.status(link, now) == RevocationStatus::Unknown)
    }

    /// Whether OCSP responders can be queried for all unknown statuses of a path.
    pub(super) fn can_query_ocsp(&self, path: &Path, now: UnixTime) -> bool {
        self.ask_responders
            && self
                .with_unknown_status(path, now)
                .all(|link| !link.responders.is_empty())
    }

    /// Whether no certificate can have the fresh status that is required: no anchor has a fresh
    /// CRL, and OCSP is disabled.
    pub(super) fn rejects_all_peers(&self, now: UnixTime) -> bool {
        self.unknown_status == UnknownStatus::HardFail
            && !self.ask_responders
            && !self.has_fresh_list(now)
    }

    /// Whether an anchor has a fresh CRL.
    pub(super) fn has_fresh_list(&self, now: UnixTime) -> bool {
        let fresh = |list: &Arc<List>| {
            list.check_fresh(now).is_ok() && self.anchors.includes(list.issuer())
        };
        self.statuses.lists.iter().any(fresh)
    }
}

impl<P> Clone for TrustSnapshot<P> {
    fn clone(&self) -> Self {
        Self {
            anchors: Arc::clone(&self.anchors),
            intermediates: Arc::clone(&self.intermediates),
            gateways: self.gateways.clone(),
            statuses: self.statuses.clone(),
            ask_responders: self.ask_responders,
            unknown_status: self.unknown_status,
            policy: Arc::clone(&self.policy),
            credentials: self.credentials.clone(),
        }
    }
}
