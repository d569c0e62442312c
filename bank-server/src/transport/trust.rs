//! Immutable trust snapshots, and the evaluation of certificate chains against the current one.
//!
//! A handshake and each request use one snapshot; a change replaces the whole snapshot atomically.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::environment::Clock;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::revocation::{
    List, PathCertificate, RevocationStatus, Statuses, UnknownStatus,
};
use shared_types::pki::trust::{Anchors, Path, Refusal, Window};
use tokio::sync::watch;

use super::gateways::Gateways;
use super::ocsp_worker::{OcspCounters, OcspHandle};
use super::policy::Policy;
use super::verified_chain_cache::VerifiedChainCache;
use super::verifier::{self, PeerClass};

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

/// A snapshot, and the TLS configurations built from it.
struct TlsConfigs<P> {
    snapshot: Arc<TrustSnapshot<P>>,
    tls: Arc<ServerConfig>,
    gateway_tls: Arc<ServerConfig>,
}

/// Holder of the current snapshot. Reading it takes no lock.
pub struct Trust<P> {
    current: ArcSwap<TlsConfigs<P>>,
    /// Held while a snapshot is derived from the current one, so that no update is lost.
    update_lock: Mutex<()>,
    changed: watch::Sender<()>,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
    path_cache: VerifiedChainCache,
    ocsp: OcspHandle,
}

/// TLS session caches, one for each kind of listener, so that no session can be resumed at the
/// other kind.
struct Sessions {
    peers: Arc<dyn StoresServerSessions>,
    gateways: Arc<dyn StoresServerSessions>,
}

/// A favourable verdict on a chain: by which snapshot, for how long, and what the policy returned.
pub(super) struct Verdict<P: Policy> {
    snapshot: Arc<TrustSnapshot<P>>,
    path: Path,
    window: Window,
    pub(super) peer: Result<Arc<P::Peer>, P::Objection>,
}

/// A favourable verdict on a gateway: by which snapshot, and for how long.
pub(super) struct GatewayVerdict<P> {
    snapshot: Arc<TrustSnapshot<P>>,
    window: Window,
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
        // A resumed session is evaluated again when its connection is established, so it may save
        // the peer a signature.
        let sessions = Sessions {
            peers: ServerSessionMemoryCache::new(MAX_SESSIONS),
            gateways: ServerSessionMemoryCache::new(MAX_SESSIONS),
        };
        let path_cache = VerifiedChainCache::default();
        let snapshot = TlsConfigs::new(snapshot, &clock, &sessions, &path_cache)?;
        Ok(Self {
            current: ArcSwap::from_pointee(snapshot),
            update_lock: Mutex::default(),
            changed: watch::Sender::new(()),
            clock,
            sessions,
            path_cache,
            ocsp,
        })
    }

    /// Replaces the snapshot by one derived from it: for new handshakes at once, for open
    /// connections as soon as each has been re-evaluated.
    pub fn update(
        &self,
        make: impl FnOnce(&TrustSnapshot<P>) -> TrustSnapshot<P>,
    ) -> Result<(), rustls::Error> {
        // A panic here leaves the previous snapshot in place.
        let guard = self
            .update_lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let snapshot = make(&self.current.load().snapshot);
        let snapshot = TlsConfigs::new(snapshot, &self.clock, &self.sessions, &self.path_cache)?;
        self.current.store(Arc::new(snapshot));
        drop(guard);
        self.changed.send_replace(());
        Ok(())
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

    /// The TLS configuration for a handshake that starts now.
    pub(super) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().tls)
    }

    /// The TLS configuration of a handshake at a listener for gateways.
    pub(super) fn gateway_tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().gateway_tls)
    }

    /// Counters of the OCSP client.
    pub(super) fn ocsp_counters(&self) -> OcspCounters {
        self.ocsp.counters()
    }

    /// Evaluates the chain of a peer that connects, its own certificate first. Where the revocation
    /// status of a certificate is unknown and OCSP is enabled, queries its responder before the
    /// evaluation.
    ///
    /// Cost: that of one evaluation, without its signatures if the path is cached; where a
    /// responder is queried, waiting for its response, for a bounded time.
    pub(super) async fn admit(&self, chain: &[CertificateDer<'_>]) -> Result<Verdict<P>, Refusal> {
        let snapshot = self.current();
        let path = self
            .path_cache
            .find_or_verify(chain, &snapshot.anchors, self.now())?;
        // Cached here, where the peer has proved possession of its key: chains of others must not
        // evict those of peers.
        self.path_cache.insert(chain, &snapshot.anchors, &path);
        if snapshot.ask_responders {
            let unknown: Vec<PathCertificate> = snapshot
                .with_unknown_status(&path, self.now())
                .cloned()
                .collect();
            if unknown.is_empty() {
                self.ocsp.enqueue(path.links.clone());
            } else {
                self.ocsp.query(unknown).await;
            }
        }
        self.evaluate(chain, &snapshot.anchors, &path)
    }

    /// Evaluates a chain again, by the current snapshot and time. Reuses the path of the previous
    /// verdict where it cannot have changed.
    pub(super) fn reevaluate(
        &self,
        chain: &[CertificateDer<'_>],
        previous: &Verdict<P>,
    ) -> Result<Verdict<P>, Refusal> {
        self.evaluate(chain, &previous.snapshot.anchors, &previous.path)
    }

    /// Evaluates a chain by the current snapshot and time. Reuses that path if it leads to the
    /// current anchors and is within its validity.
    fn evaluate(
        &self,
        chain: &[CertificateDer<'_>],
        anchors: &Arc<Anchors>,
        path: &Path,
    ) -> Result<Verdict<P>, Refusal> {
        let (snapshot, now) = (self.current(), self.now());
        let path = if Arc::ptr_eq(anchors, &snapshot.anchors) && path.window.contains(now) {
            path.clone()
        } else {
            self.path_cache
                .find_or_verify(chain, &snapshot.anchors, now)?
        };
        snapshot.evaluate(chain, path, now)
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

    /// Evaluates the certificate that a gateway presented.
    pub(super) fn evaluate_gateway(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<GatewayVerdict<P>, Refusal> {
        let snapshot = self.current();
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let window = snapshot.gateways.check(leaf, self.now())?;
        Ok(GatewayVerdict { snapshot, window })
    }

    /// Whether a verdict on a gateway is still current, at the cost of [`Self::is_current`].
    pub(super) fn is_gateway_current(&self, verdict: &GatewayVerdict<P>) -> bool {
        Arc::ptr_eq(&verdict.snapshot, &self.current.load().snapshot)
            && verdict.window.contains(self.now())
    }

    pub(super) fn now(&self) -> UnixTime {
        self.clock.unix()
    }
}

impl<P: Policy> TlsConfigs<P> {
    fn new(
        snapshot: TrustSnapshot<P>,
        clock: &Arc<dyn Clock>,
        sessions: &Sessions,
        path_cache: &VerifiedChainCache,
    ) -> Result<Self, rustls::Error> {
        let snapshot = Arc::new(snapshot);
        let tls = |peer_class, sessions| {
            verifier::configure(
                &snapshot,
                peer_class,
                clock,
                Arc::clone(sessions),
                path_cache,
            )
            .map(Arc::new)
        };
        Ok(Self {
            tls: tls(PeerClass::Peers, &sessions.peers)?,
            gateway_tls: tls(PeerClass::Gateways, &sessions.gateways)?,
            snapshot,
        })
    }
}

impl<P: Policy> TrustSnapshot<P> {
    /// Evaluates a chain with a path to these anchors.
    ///
    /// Cost: a look-up in CRLs and OCSP responses for each certificate, and that of the policy. No
    /// signature is checked.
    fn evaluate(
        self: &Arc<Self>,
        chain: &[CertificateDer<'_>],
        path: Path,
        now: UnixTime,
    ) -> Result<Verdict<P>, Refusal> {
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let mut until = path.window.until.min(self.check_revocation(&path, now)?);
        let admitted = self.policy.admit(leaf, now);
        if let Ok(admitted) = &admitted {
            until = until.min(admitted.until.unwrap_or(until));
        }
        Ok(Verdict {
            snapshot: Arc::clone(self),
            window: Window {
                from: path.window.from,
                until,
            },
            path,
            peer: admitted.map(|admitted| Arc::new(admitted.peer)),
        })
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

impl<P> fmt::Debug for TrustSnapshot<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustSnapshot")
            .field("anchors", &self.anchors.certificates().len())
            .field("lists", &self.statuses.lists)
            .field("answers", &self.statuses.answers.len())
            .field("gateways", &self.gateways)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl<P: Policy> Verdict<P> {
    /// The certificates of the verified path.
    pub(super) fn path_certificates(&self) -> &[PathCertificate] {
        &self.path.links
    }
}

impl<P: Policy> fmt::Debug for Trust<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}
