//! Open mutual TLS connection: its peer, whether the peer is trusted, and its open requests.
//!
//! Trust is evaluated for every request, and whenever trust changes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::revocation::PathCertificate;
use shared_types::pki::trust::Refusal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forwarded_peers::{ForwardedPeer, ForwardedPeers};
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
    Gateway(Arc<ForwardedPeers<P>>),
}

/// An open connection whose peer authenticated over mutual TLS.
pub struct Connection<P: Policy> {
    /// The peer's address.
    pub address: SocketAddr,
    /// Summary of the peer's certificate, for the log.
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
    /// Why the peer lost trust, if it did.
    rejection: Option<PeerRejection<P::Objection>>,
    /// Whether the peer has received the reason in a response.
    is_notified: bool,
    /// Requests whose responses are not fully sent, with the time at which each arrived.
    open_requests: HashMap<u64, Instant>,
    /// Number of requests since the connection was opened. Numbers the next request.
    request_count: u64,
    /// When the last response was sent, or the connection was opened.
    idle_since: Instant,
}

/// Result of the peer's authentication, by kind of peer.
enum VerifiedPeer<P: Policy> {
    /// A direct peer: the latest verdict on its certificate chain.
    Chain(Verdict<P>),
    /// A gateway: its certificate is compared with the pinned ones at each evaluation.
    Gateway(Arc<ForwardedPeers<P>>),
}

impl<P: Policy> Connection<P> {
    /// Creates the connection after a successful handshake, and evaluates the peer. The handshake
    /// does not suffice: TLS session resumption restores the peer's certificate without verifying
    /// it.
    pub(super) async fn establish(
        address: SocketAddr,
        chain: Vec<CertificateDer<'static>>,
        verified: Option<VerifiedPath>,
        listener: &MtlsListener<P>,
    ) -> Result<Self, Refusal> {
        let trust = Arc::clone(&listener.trust);
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let certificate = CertificateSummary::of(leaf);
        let (peer, quota_key) = if let Some(forwarded_peers) = &listener.forwarded_peers {
            trust.check_gateway(&chain)?;
            let quota_key = certificate.fingerprint.clone();
            (
                VerifiedPeer::Gateway(Arc::clone(forwarded_peers)),
                Some(quota_key),
            )
        } else {
            let verdict = trust.admit(&chain, verified).await?;
            let quota_key = verdict.peer.as_deref().ok().map(P::quota_key);
            let quota_key = quota_key.map(str::to_owned);
            (VerifiedPeer::Chain(verdict), quota_key)
        };
        let permit = listener.quota.acquire(quota_key);
        Ok(Self {
            address,
            certificate,
            is_gateway: listener.forwarded_peers.is_some(),
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
                idle_since: Instant::now(),
            }),
        })
    }

    /// Whether this connection exceeds its peer's limit.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        self.permit.is_over_limit()
    }

    /// Evaluates the peer's trust: returns the peer, or why it is rejected. Called for every
    /// request, and whenever trust changes.
    ///
    /// Cost: two comparisons of the clock and one of a pointer while the last verdict is current;
    /// otherwise one evaluation of the chain.
    pub fn evaluate(&self) -> Result<PeerKind<P>, PeerRejection<P::Objection>> {
        let mut state = self.state();
        if let Some(rejection) = &state.rejection {
            return Err(rejection.clone());
        }
        let (was_current, evaluated) = match &mut state.peer {
            VerifiedPeer::Gateway(forwarded_peers) => {
                let checked = self.trust.check_gateway(&self.chain);
                let peer = || Ok(PeerKind::Gateway(Arc::clone(forwarded_peers)));
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
        // A current verdict that rejects the peer dates from the handshake: the response to the
        // request reports it. A peer that has just lost trust is notified at once.
        if !was_current {
            tracing::warn!(
                peer = %self.address,
                certificate = %self.certificate,
                reason = %rejection,
                "open connection lost trust"
            );
            state.rejection = Some(rejection.clone());
            // A gateway counts as notified: it would take an HTTP/1.1 close message for the
            // response to its next request.
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

    /// Records that the peer has received the reason for its rejection in a response.
    pub fn mark_notified(&self) {
        self.state().is_notified = true;
    }

    /// Whether the server is shutting down gracefully, so that new requests need another
    /// connection.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Why the peer lost trust, and whether it has received that reason in a response. `None` while
    /// it is trusted.
    pub(super) fn rejection(&self) -> Option<(PeerRejection<P::Objection>, bool)> {
        let state = self.state();
        let rejection = state.rejection.clone();
        rejection.map(|rejection| (rejection, state.is_notified))
    }

    /// Counts a request as open until the returned guard is dropped, after its response is sent.
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

    /// Start of the idle time. `None` while a request is open.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        state.open_requests.is_empty().then_some(state.idle_since)
    }

    /// When the connection times out: the response timeout of the oldest open request, or the idle
    /// timeout if there is none.
    pub(super) fn deadline(&self, limits: ConnectionLimits) -> Instant {
        let state = self.state();
        match state.open_requests.values().min() {
            Some(oldest_arrival) => *oldest_arrival + limits.response,
            None => state.idle_since + limits.idle,
        }
    }

    /// Current time of the clock that certificates are checked against.
    pub(super) fn now(&self) -> UnixTime {
        self.trust.now()
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        // No code panics while it holds the lock. If it did, the state would still be consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guard of a request whose response is not fully sent.
pub struct OpenRequest<P: Policy> {
    connection: Arc<Connection<P>>,
    number: u64,
    permit: Option<Arc<RequestPermit>>,
    /// The peer whose request this is, if a gateway forwarded it. Held so that the peer's
    /// connection permit lives as long as its requests.
    forwarded: Option<Arc<ForwardedPeer<P>>>,
}

impl<P: Policy> OpenRequest<P> {
    /// The connection of the request.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection<P>> {
        &self.connection
    }

    /// The permit of the request. `None` if its peer exceeds its limit.
    #[must_use]
    pub fn permit(&self) -> Option<Arc<RequestPermit>> {
        self.permit.clone()
    }

    /// Counts the request towards the limit of the forwarded peer instead of the gateway's.
    pub fn count_towards(&mut self, forwarded: &Arc<ForwardedPeer<P>>, peer: &P::Peer) {
        self.permit = forwarded.acquire_request(peer).map(Arc::new);
        self.forwarded = Some(Arc::clone(forwarded));
    }
}

impl<P: Policy> Drop for OpenRequest<P> {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.open_requests.remove(&self.number);
        state.idle_since = Instant::now();
    }
}
