//! An open connection: who is at the other end, and whether it may stay.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::certificate::CertificateSummary;
use shared_types::revocation::PathCertificate;
use shared_types::trust::Refusal;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::forwarding::Forwarded;
use super::peer_verdict::{PeerKind, PeerVerdict, Role};
use super::policy::{Ended, Policy};
pub use super::quota::RequestPermit;
use super::quota::{ConnectionPermit, OpenStream};
use super::trust::Trust;

/// What is known of a connection whose peer came in over mutual TLS.
pub struct Connection<P: Policy> {
    /// Where the peer connects from.
    pub address: SocketAddr,
    /// The peer's certificate in a few words.
    pub certificate: CertificateSummary,
    gateway: bool,
    chain: Vec<CertificateDer<'static>>,
    place: ConnectionPermit,
    trust: Arc<Trust<P>>,
    ended: CancellationToken,
    draining: CancellationToken,
    state: Mutex<State<P>>,
}

struct State<P: Policy> {
    peer_verdict: PeerVerdict<P>,
    /// Why the peer may no longer be here, once it was so.
    end: Option<Ended<P::Objection>>,
    /// Whether a request was answered with that.
    told: bool,
    /// The requests whose answers are not all sent, with the time at which each came in.
    open: HashMap<u64, Instant>,
    /// How many requests there were.
    requests: u64,
    /// When the last answer was sent, or the connection opened.
    quiet_since: Instant,
}

/// How long a connection may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without a request.
    pub(super) idle: Duration,
    /// With one whose answer is not collected.
    pub(super) answer: Duration,
}

impl<P: Policy> Connection<P> {
    /// Takes in a peer whose handshake succeeded, after judging it once more: a resumed session brings its
    /// certificate along and was not judged in its handshake.
    pub(super) async fn admit(
        address: SocketAddr,
        chain: Vec<CertificateDer<'static>>,
        trust: Arc<Trust<P>>,
        role: &Role<P>,
        draining: CancellationToken,
        place: impl FnOnce(Option<&str>) -> ConnectionPermit,
    ) -> Result<Self, Refusal> {
        let peer_verdict = PeerVerdict::new(role, &trust, &chain).await?;
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let certificate = CertificateSummary::of(leaf);
        let place = place(peer_verdict.group(&certificate.fingerprint));
        Ok(Self {
            address,
            certificate,
            gateway: peer_verdict.is_gateway(),
            chain,
            place,
            trust,
            ended: CancellationToken::new(),
            draining,
            state: Mutex::new(State {
                peer_verdict,
                end: None,
                told: false,
                open: HashMap::new(),
                requests: 0,
                quiet_since: Instant::now(),
            }),
        })
    }

    /// Whether this connection is one more than its peer may have.
    #[must_use]
    pub fn is_excess(&self) -> bool {
        self.place.is_excess()
    }

    /// Whether its peer holds so many more than it may that it is not even told.
    pub(super) fn is_flood(&self) -> bool {
        self.place.is_flood()
    }

    /// Counts an HTTP/2 stream of its peer. `None` if the peer has far too many.
    pub(super) fn open_stream(&self) -> Option<OpenStream> {
        self.place.stream()
    }

    /// Who is at the other end, or why the peer may not be here. Asked for every request, and whenever trust changes.
    ///
    /// Cost: two comparisons of the clock and one of a pointer, unless something changed; then that of one judgement.
    pub fn judge(&self) -> Result<PeerKind<P>, Ended<P::Objection>> {
        let mut state = self.state();
        if let Some(end) = &state.end {
            return Err(end.clone());
        }
        let stood = state.peer_verdict.stands(&self.trust);
        let judged = if stood {
            Ok(())
        } else {
            state.peer_verdict.renew(&self.trust, &self.chain)
        };
        let end = match (judged, state.peer_verdict.caller()) {
            (Ok(()), Ok(caller)) => return Ok(caller),
            (Ok(()), Err(objection)) => Ended::Unwelcome(objection),
            (Err(refusal), _) => Ended::Untrusted(refusal),
        };
        // Who was never welcome is told when it asks for something; who no longer is, at once.
        if !stood {
            tracing::warn!(peer = %self.address, certificate = %self.certificate, reason = %end, "trust in an open connection ended");
            state.end = Some(end.clone());
            // A gateway would take a last word over HTTP/1.1 for the answer to what its next peer asks.
            state.told |= self.gateway;
            drop(state);
            self.ended.cancel();
        }
        Err(end)
    }

    /// The certificates by which its peer was judged.
    pub(super) fn links(&self) -> Vec<PathCertificate> {
        self.state().peer_verdict.links().to_vec()
    }

    /// Whether a gateway is at the other end.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.gateway
    }

    /// Ready once the peer may no longer be here.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Notes that a request was answered with the reason why the peer may no longer be here.
    pub fn told(&self) {
        self.state().told = true;
    }

    /// Whether the server is about to stop, and its peers are to ask elsewhere.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    pub(super) fn when_leaving(&self) -> CancellationToken {
        self.draining.clone()
    }

    pub(super) fn when_ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Why it ended, and whether the peer knows.
    pub(super) fn end(&self) -> Option<(Ended<P::Objection>, bool)> {
        let state = self.state();
        state.end.clone().map(|end| (end, state.told))
    }

    /// Counts a request for as long as the returned guard lives: until its answer is sent.
    #[must_use]
    pub fn begin_request(self: &Arc<Self>) -> Answering<P> {
        let mut state = self.state();
        let number = state.requests;
        state.requests += 1;
        state.open.insert(number, Instant::now());
        Answering {
            connection: Arc::clone(self),
            number,
            permit: self.place.permit().map(Arc::new),
            forwarded: None,
        }
    }

    /// Since when no request is being received or answered, if none is.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        let state = self.state();
        state.open.is_empty().then_some(state.quiet_since)
    }

    /// When the connection ends, if nothing more happens.
    pub(super) fn deadline(&self, patience: Patience) -> Instant {
        let state = self.state();
        match state.open.values().min() {
            Some(oldest) => *oldest + patience.answer,
            None => state.quiet_since + patience.idle,
        }
    }

    /// The time by which the connection is judged.
    pub(super) fn now(&self) -> UnixTime {
        self.trust.now()
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        // Nothing panics while the lock is held; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Policy> fmt::Debug for Connection<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A request whose answer is not all sent yet.
#[derive(Debug)]
pub struct Answering<P: Policy> {
    connection: Arc<Connection<P>>,
    number: u64,
    permit: Option<Arc<RequestPermit>>,
    /// The peer whose turn it is, if a gateway forwarded it: its place lasts as long as its turns.
    forwarded: Option<Arc<Forwarded<P>>>,
}

impl<P: Policy> Answering<P> {
    /// The connection it came over.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection<P>> {
        &self.connection
    }

    /// Its turn, if the peer may have this request beside those it has.
    #[must_use]
    pub fn permit(&self) -> Option<Arc<RequestPermit>> {
        self.permit.clone()
    }

    /// Counts the request among those of the peer that the gateway forwards.
    pub fn count_for(&mut self, forwarded: &Arc<Forwarded<P>>, peer: &P::Peer) {
        self.permit = forwarded.permit(peer).map(Arc::new);
        self.forwarded = Some(Arc::clone(forwarded));
    }
}

impl<P: Policy> Drop for Answering<P> {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.open.remove(&self.number);
        state.quiet_since = Instant::now();
    }
}
