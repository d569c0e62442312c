//! Whom we trust and who we are, as one immutable snapshot, and the question every handshake and every request asks of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bank_client::credentials::Credentials;
use bank_client::environment::Clock;
use rustls::ServerConfig;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::revocation::{List, PathCertificate, RevocationStatus, Statuses, UnknownStatus};
use shared_types::trust::{Anchors, Path, Refusal, Window};
use tokio::sync::watch;

use super::gateways::Gateways;
use super::ocsp_worker::{InquiryTally, OcspHandle};
use super::policy::Policy;
use super::verified_chain_cache::Paths;
use super::verifier::{self, Judges};

/// Everything that decides who may come in, and what we show of ourselves. Never changed, only replaced whole. Cheap to
/// clone.
pub struct TrustSnapshot<P> {
    /// The agreed certification authorities.
    pub anchors: Arc<Anchors>,
    /// CAs below them that are known here. They complete the chains that gateways forward.
    pub intermediates: Arc<[CertificateDer<'static>]>,
    /// The gateways that may forward peers.
    pub gateways: Gateways,
    /// What they and their CAs have revoked.
    pub statuses: Statuses,
    /// Whether the responder that a certificate names is asked how it stands, where nothing else is known of it.
    pub ask_responders: bool,
    /// What happens to a certificate of which nothing fresh says whether it was revoked.
    pub unknown_status: UnknownStatus,
    /// The server's own rules.
    pub policy: Arc<P>,
    /// Our own certificate and key.
    pub credentials: Credentials,
}

/// TrustSnapshot, and the TLS configuration that follows from them.
struct TlsConfigs<P> {
    snapshot: Arc<TrustSnapshot<P>>,
    tls: Arc<ServerConfig>,
    gateway_tls: Arc<ServerConfig>,
}

/// Where the current beliefs are kept. Reading them takes no lock.
pub struct Trust<P> {
    current: ArcSwap<TlsConfigs<P>>,
    /// Held while new beliefs are made from the current ones, so that no change is lost.
    changing: Mutex<()>,
    changed: watch::Sender<()>,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
    paths: Paths,
    ocsp: OcspHandle,
}

/// Kept apart, so that no session of one kind of listener can be resumed at the other.
struct Sessions {
    peers: Arc<dyn StoresServerSessions>,
    gateways: Arc<dyn StoresServerSessions>,
}

/// A favourable judgement of a chain: by which beliefs, for how long it stands, and what the policy says.
pub(super) struct Verdict<P: Policy> {
    by: Arc<TrustSnapshot<P>>,
    path: Path,
    window: Window,
    pub(super) peer: Result<Arc<P::Peer>, P::Objection>,
}

/// A favourable judgement of a gateway: by which beliefs, and for how long it stands.
pub(super) struct GatewayVerdict<P> {
    by: Arc<TrustSnapshot<P>>,
    window: Window,
}

/// TLS sessions that are kept for resumption.
const SESSIONS: usize = 4096;

impl<P: Policy> Trust<P> {
    /// Starts with those beliefs. What they leave open about a peer is asked of others.
    pub(super) fn new(
        snapshot: TrustSnapshot<P>,
        clock: Arc<dyn Clock>,
        ocsp: OcspHandle,
    ) -> Result<Self, rustls::Error> {
        // A resumed session is judged again when it is admitted, so it may save the peer a signature.
        let sessions = Sessions {
            peers: ServerSessionMemoryCache::new(SESSIONS),
            gateways: ServerSessionMemoryCache::new(SESSIONS),
        };
        let paths = Paths::default();
        let snapshot = TlsConfigs::new(snapshot, &clock, &sessions, &paths)?;
        Ok(Self {
            current: ArcSwap::from_pointee(snapshot),
            changing: Mutex::default(),
            changed: watch::Sender::new(()),
            clock,
            sessions,
            paths,
            ocsp,
        })
    }

    /// Puts beliefs in place that are made from the current ones: for new handshakes at once, and for open connections
    /// as soon as each has been judged again.
    pub fn change(
        &self,
        make: impl FnOnce(&TrustSnapshot<P>) -> TrustSnapshot<P>,
    ) -> Result<(), rustls::Error> {
        // Nothing is half done when this panics: the old snapshot is in place.
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = make(&self.current.load().snapshot);
        let snapshot = TlsConfigs::new(snapshot, &self.clock, &self.sessions, &self.paths)?;
        self.current.store(Arc::new(snapshot));
        drop(changing);
        self.changed.send_replace(());
        Ok(())
    }

    /// The beliefs of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<TrustSnapshot<P>> {
        Arc::clone(&self.current.load().snapshot)
    }

    /// Hears of every change.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The TLS configuration for a handshake that starts now.
    pub(super) fn tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().tls)
    }

    /// The same, for a listener to which gateways connect.
    pub(super) fn gateway_tls(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.load().gateway_tls)
    }

    /// What has come of asking responders so far.
    pub(super) fn inquiry_tally(&self) -> InquiryTally {
        self.ocsp.tally()
    }

    /// Judges the chain of a peer that wants to come in, its own certificate first. Where it is not known how a
    /// certificate of it stands, and its responder may be asked, that comes before the judgement.
    ///
    /// Cost: that of one judgement, without its signatures if it is the chain of a peer that was here before; where a
    /// responder is asked, waiting for its answer, for a bounded time.
    pub(super) async fn admit(&self, chain: &[CertificateDer<'_>]) -> Result<Verdict<P>, Refusal> {
        let snapshot = self.current();
        let path = self.paths.find(chain, &snapshot.anchors, self.now())?;
        // Here, where the peer has proved that it has the key: others' chains are not to crowd out those of peers.
        self.paths.keep(chain, &snapshot.anchors, &path);
        if snapshot.ask_responders {
            let unknown: Vec<PathCertificate> =
                snapshot.unknown(&path, self.now()).cloned().collect();
            if unknown.is_empty() {
                self.ocsp.want(path.links.clone());
            } else {
                self.ocsp.ask(unknown).await;
            }
        }
        self.judge(chain, &snapshot.anchors, &path)
    }

    /// Judges a chain once more, by the beliefs and the time of this moment. What an earlier verdict found is not looked
    /// for again, where it cannot have changed.
    pub(super) fn judge_again(
        &self,
        chain: &[CertificateDer<'_>],
        earlier: &Verdict<P>,
    ) -> Result<Verdict<P>, Refusal> {
        self.judge(chain, &earlier.by.anchors, &earlier.path)
    }

    /// Judges a chain by the beliefs and the time of this moment. If these have the anchors to which that path leads, and it
    /// is valid, it is not looked for again.
    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        anchors: &Arc<Anchors>,
        path: &Path,
    ) -> Result<Verdict<P>, Refusal> {
        let (snapshot, now) = (self.current(), self.now());
        let path = if Arc::ptr_eq(anchors, &snapshot.anchors) && path.window.contains(now) {
            path.clone()
        } else {
            self.paths.find(chain, &snapshot.anchors, now)?
        };
        snapshot.judge(chain, path, now)
    }

    /// Has responders asked about those certificates again, before what they have said runs out.
    pub(super) fn keep_informed_of(&self, links: Vec<PathCertificate>) {
        if self.current().ask_responders {
            self.ocsp.want(links);
        }
    }

    /// Whether an earlier judgement still stands. If so, judging again would change nothing.
    ///
    /// Cost: two comparisons of the clock and one of a pointer; no signature is checked.
    #[must_use]
    pub(super) fn stands(&self, verdict: &Verdict<P>) -> bool {
        Arc::ptr_eq(&verdict.by, &self.current.load().snapshot)
            && verdict.window.contains(self.now())
    }

    /// Judges the certificate that a gateway has shown.
    pub(super) fn judge_gateway(
        &self,
        chain: &[CertificateDer<'_>],
    ) -> Result<GatewayVerdict<P>, Refusal> {
        let by = self.current();
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let window = by.gateways.judge(leaf, self.now())?;
        Ok(GatewayVerdict { by, window })
    }

    /// Whether an earlier judgement of a gateway still stands, at the cost of [`Self::stands`].
    pub(super) fn gateway_stands(&self, verdict: &GatewayVerdict<P>) -> bool {
        Arc::ptr_eq(&verdict.by, &self.current.load().snapshot)
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
        paths: &Paths,
    ) -> Result<Self, rustls::Error> {
        let snapshot = Arc::new(snapshot);
        let tls = |judges, sessions| {
            verifier::configure(&snapshot, judges, clock, Arc::clone(sessions), paths).map(Arc::new)
        };
        Ok(Self {
            tls: tls(Judges::Peers, &sessions.peers)?,
            gateway_tls: tls(Judges::Gateways, &sessions.gateways)?,
            snapshot,
        })
    }
}

impl<P: Policy> TrustSnapshot<P> {
    /// Judges a chain whose path these anchors led to.
    ///
    /// Cost: a search in lists and answers for each certificate, and that of the policy. No signature is checked.
    fn judge(
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
            by: Arc::clone(self),
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
    /// Until when it is known that nothing of the path was revoked.
    pub(super) fn check_revocation(&self, path: &Path, now: UnixTime) -> Result<UnixTime, Refusal> {
        self.statuses.check(&path.links, self.unknown_status, now)
    }

    /// The certificates of a path of which nothing fresh says how they stand.
    pub(super) fn unknown<'a>(
        &'a self,
        path: &'a Path,
        now: UnixTime,
    ) -> impl Iterator<Item = &'a PathCertificate> {
        path.links
            .iter()
            .filter(move |link| self.statuses.standing(link, now) == RevocationStatus::Unknown)
    }

    /// Whether what is not known of a path can be asked of a responder.
    pub(super) fn can_ask_about(&self, path: &Path, now: UnixTime) -> bool {
        self.ask_responders
            && self
                .unknown(path, now)
                .all(|link| !link.responders.is_empty())
    }

    /// Whether a fresh status is asked for that no certificate can have: there is no fresh list of any anchor, and no
    /// responder is asked.
    pub(super) fn lets_nobody_in(&self, now: UnixTime) -> bool {
        self.unknown_status == UnknownStatus::HardFail
            && !self.ask_responders
            && !self.has_fresh_list(now)
    }

    /// Whether there is a fresh list of an anchor.
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
    /// The certificates that were judged.
    pub(super) fn links(&self) -> &[PathCertificate] {
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
