//! Open connection: its peer, its current verdict, and its requests in progress.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::revocation::PathCertificate;
use shared_types::pki::trust::Refusal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forwarding::{Forwarded, Forwarding};
use super::listener::{ConnectionLimits, MtlsListener};
use super::policy::{PeerRejection, Policy};
use super::quota::ConnectionPermit;
pub use super::quota::RequestPermit;
use super::trust::{Trust, Verdict};
use super::verified_chain_cache::VerifiedPath;

/// The peer of a connection.
pub enum PeerKind<P: Policy> {
    /// A peer that connected directly.
    Peer(Arc<P::Peer>),
    /// A gateway. Each of its requests carries the certificate of the peer it forwards.
    Gateway(Arc<Forwarding<P>>),
}

/// An open connection whose peer authenticated over mutual TLS.
pub struct Connection<P: Policy> {
    /// The peer's address.
    pub address: SocketAddr,
    /// The peer's certificate in a few words.
    pub certificate: CertificateSummary,
    is_gateway: bool,
    chain: Vec<CertificateDer<'static>>,
    pub(super) permit: ConnectionPermit,
    trust: Arc<Trust<P>>,
    pub(super) trust_lost: CancellationToken,
    pub(super) draining: CancellationToken,
    state: Mutex<State<P>>,
}

struct State<P: Policy> {
    peer: VerifiedPeer<P>,
    /// The reason, once the peer has lost trust.
    rejection: Option<PeerRejection<P::Objection>>,
    /// Whether the peer has received a response with that reason.
    is_notified: bool,
    /// Requests whose responses are not fully sent, with the time at which each arrived.
    open_requests: HashMap<u64, Instant>,
    /// Number of requests so far.
    request_count: u64,
    /// Time of the last response, or of the opening.
    quiet_since: Instant,
}

/// The evidence for the peer.
enum VerifiedPeer<P: Policy> {
    /// The latest verdict on its chain.
    Chain(Verdict<P>),
    /// Its pinned certificate, which is compared each time.
    Gateway(Arc<Forwarding<P>>),
}

impl<P: Policy> Connection<P> {
    /// Establishes a connection after a successful handshake. Evaluates the peer again: a resumed
    /// session brings its certificate along and was not verified in its handshake.
    pub(super) async fn establish(
        address: SocketAddr,
        chain: Vec<CertificateDer<'static>>,
        verified: Option<VerifiedPath>,
        listener: &MtlsListener<P>,
    ) -> Result<Self, Refusal> {
        let trust = Arc::clone(&listener.trust);
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let certificate = CertificateSummary::of(leaf);
        let (peer, group) = if let Some(forwarding) = &listener.forwarding {
            trust.check_gateway(&chain)?;
            let group = certificate.fingerprint.clone();
            (VerifiedPeer::Gateway(Arc::clone(forwarding)), Some(group))
        } else {
            let verdict = trust.admit(&chain, verified).await?;
            let group = verdict.peer.as_deref().ok().map(P::group);
            let group = group.map(str::to_owned);
            (VerifiedPeer::Chain(verdict), group)
        };
        let permit = listener.quota.acquire(group);
        Ok(Self {
            address,
            certificate,
            is_gateway: listener.forwarding.is_some(),
            chain,
            permit,
            trust,
            trust_lost: CancellationToken::new(),
            draining: listener.draining.clone(),
            state: Mutex::new(State {
                peer,
                rejection: None,
                is_notified: false,
                open_requests: HashMap::new(),
                request_count: 0,
                quiet_since: Instant::now(),
            }),
        })
    }

    /// Whether this connection exceeds its peer's limit.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.permit.is_over_limit()
    }

    /// The peer, or why it is rejected. Called for every request, and whenever trust changes.
    ///
    /// Cost: two comparisons of the clock and one of a pointer, unless something changed; then that
    /// of one evaluation.
    pub fn evaluate(&self) -> Result<PeerKind<P>, PeerRejection<P::Objection>> {
        let mut state = self.state();
        if let Some(rejection) = &state.rejection {
            return Err(rejection.clone());
        }
        let (was_current, evaluated) = match &mut state.peer {
            VerifiedPeer::Gateway(forwarding) => {
                let checked = self.trust.check_gateway(&self.chain);
                let peer = || Ok(PeerKind::Gateway(Arc::clone(forwarding)));
                (false, checked.map(|()| peer()))
            }
            VerifiedPeer::Chain(verdict) => {
                let was_current = self.trust.is_current(verdict);
                let evaluated = if was_current {
                    Ok(())
                } else {
                    let evaluated = self.trust.reevaluate(&self.chain, verdict);
                    evaluated.map(|new| *verdict = new)
                };
                let peer = || verdict.peer.clone().map(PeerKind::Peer);
                (was_current, evaluated.map(|()| peer()))
            }
        };
        let rejection = match evaluated {
            Ok(Ok(peer)) => return Ok(peer),
            Ok(Err(objection)) => PeerRejection::NotAuthorised(objection),
            Err(refusal) => PeerRejection::Untrusted(refusal),
        };
        // A peer that was never authorised learns so with its first response; one that loses trust,
        // at once.
        if !was_current {
            tracing::warn!(
                peer = %self.address,
                certificate = %self.certificate,
                reason = %rejection,
                "open connection lost trust"
            );
            state.rejection = Some(rejection.clone());
            // A gateway would take an HTTP/1.1 close message for the response to its next request.
            state.is_notified |= self.is_gateway;
            drop(state);
            self.trust_lost.cancel();
        }
        Err(rejection)
    }

    /// The certificates of the peer's verified path.
    pub(super) fn path_certificates(&self) -> Vec<PathCertificate> {
        match &self.state().peer {
            VerifiedPeer::Chain(verdict) => verdict.verified.path.links.clone(),
            // Gateways are pinned and have no revocation status to query.
            VerifiedPeer::Gateway(_) => Vec::new(),
        }
    }

    /// Whether the peer is a gateway.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.is_gateway
    }

    /// Completes once the peer has lost trust.
    pub async fn trust_lost(&self) {
        self.trust_lost.cancelled().await;
    }

    /// Records that a response with the reason was sent to the peer.
    pub fn mark_notified(&self) {
        self.state().is_notified = true;
    }

    /// Whether the server is shutting down gracefully, and peers are to connect elsewhere.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// The reason for the loss of trust, and whether it has received a response with that reason.
    pub(super) fn rejection(&self) -> Option<(PeerRejection<P::Objection>, bool)> {
        let state = self.state();
        let rejection = state.rejection.clone();
        rejection.map(|rejection| (rejection, state.is_notified))
    }

    /// Counts a request until the returned guard is dropped: until its response is sent.
    #[must_use]
    pub fn begin_request(self: &Arc<Self>) -> OpenRequest<P> {
        let mut state = self.state();
        let number = state.request_count;
        state.request_count += 1;
        state.open_requests.insert(number, Instant::now());
        OpenRequest {
            connection: Arc::clone(self),
            number,
            permit: self.permit.acquire_request().map(Arc::new),
            forwarded: None,
        }
    }

    /// Since when the connection is idle, if it is.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let state = self.state();
        state.open_requests.is_empty().then_some(state.quiet_since)
    }

    /// The timeout of the connection, if nothing more happens.
    pub(super) fn deadline(&self, limits: ConnectionLimits) -> Instant {
        let state = self.state();
        match state.open_requests.values().min() {
            Some(oldest) => *oldest + limits.answer,
            None => state.quiet_since + limits.idle,
        }
    }

    /// The time against which the connection is evaluated.
    pub(super) fn now(&self) -> UnixTime {
        self.trust.now()
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        // Nothing panics while the lock is held; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guard of a request whose response is not fully sent.
pub struct OpenRequest<P: Policy> {
    connection: Arc<Connection<P>>,
    number: u64,
    permit: Option<Arc<RequestPermit>>,
    /// The forwarded peer that the request belongs to, if a gateway forwarded it. Keeps its permit
    /// alive as long as its requests.
    forwarded: Option<Arc<Forwarded<P>>>,
}

impl<P: Policy> OpenRequest<P> {
    /// The connection of the request.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection<P>> {
        &self.connection
    }

    /// The permit of the request, if its peer is within its limit.
    #[must_use]
    pub fn permit(&self) -> Option<Arc<RequestPermit>> {
        self.permit.clone()
    }

    /// Counts the request towards the limit of the forwarded peer.
    pub fn count_for(&mut self, forwarded: &Arc<Forwarded<P>>, peer: &P::Peer) {
        self.permit = forwarded.acquire_request(peer).map(Arc::new);
        self.forwarded = Some(Arc::clone(forwarded));
    }
}

impl<P: Policy> Drop for OpenRequest<P> {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.open_requests.remove(&self.number);
        state.quiet_since = Instant::now();
    }
}
