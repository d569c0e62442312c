//! An open connection: who is at the other end, and how long it may stay.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use shared_types::certificate::CertificateSummary;
use shared_types::eidas::IdentityError;
use shared_types::trust::Refusal;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use super::quota::{Place, Turn};
use super::trust::{Trust, Verdict};
use crate::identity::Tpp;

/// What is known of a connection whose peer came in over mutual TLS.
#[derive(Debug)]
pub struct Connection {
    /// Where the peer connects from.
    pub address: SocketAddr,
    /// The peer's certificate in a few words.
    pub certificate: CertificateSummary,
    /// The TPP it names, or why it names none.
    pub tpp: Result<Arc<Tpp>, IdentityError>,
    chain: Vec<CertificateDer<'static>>,
    place: Place,
    trust: Trust,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    verdict: Verdict,
    /// Requests that are being answered.
    in_flight: usize,
    /// When the last request was answered, or the connection opened.
    quiet_since: Instant,
}

impl Connection {
    /// Takes in a peer whose handshake succeeded, after judging it once more: a resumed session brings its
    /// certificate along and was not judged in its handshake.
    pub(super) fn admit(
        address: SocketAddr,
        chain: Vec<CertificateDer<'static>>,
        trust: Trust,
        place: impl FnOnce(Option<&Tpp>) -> Place,
    ) -> Result<Self, Refusal> {
        let verdict = trust.judge(&chain)?;
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let tpp = Tpp::of(leaf).map(Arc::new);
        let place = place(tpp.as_deref().ok());
        Ok(Self {
            address,
            certificate: CertificateSummary::of(leaf),
            tpp,
            chain,
            place,
            trust,
            state: Mutex::new(State {
                verdict,
                in_flight: 0,
                quiet_since: Instant::now(),
            }),
        })
    }

    /// Whether this connection is one more than its organisation may have.
    #[must_use]
    pub fn is_excess(&self) -> bool {
        self.place.is_excess()
    }

    /// Whether its organisation holds so many more than it may that the peer is not even told.
    pub(super) fn is_flood(&self) -> bool {
        self.place.is_flood()
    }

    /// Whether the peer may still be here: asked for every request.
    ///
    /// Cost: that of [`Trust::stands`], unless anchors or validity changed; then that of one judgement.
    pub fn judge(&self) -> Result<(), Refusal> {
        let mut state = self.state();
        if !self.trust.stands(&state.verdict) {
            state.verdict = self.trust.judge(&self.chain)?;
        }
        Ok(())
    }

    /// Counts a request for as long as the returned guard lives, unless the organisation has too many as it is.
    #[must_use]
    pub fn begin_request(self: &Arc<Self>) -> Option<InFlight> {
        let turn = self.place.turn()?;
        self.state().in_flight += 1;
        Some(InFlight {
            connection: Arc::clone(self),
            _turn: turn,
        })
    }

    /// Since when no request is being answered; `None` while one is.
    fn quiet_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.in_flight == 0).then_some(state.quiet_since)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct InFlight {
    connection: Arc<Connection>,
    _turn: Turn,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.quiet_since = Instant::now();
    }
}

/// The bytes of an open connection. It reads as ended once it has been quiet for too long: HTTP/2 would otherwise
/// keep it open for as long as the peer answers pings, and a peer that does not read would keep it for ever.
pub struct Bytes {
    tls: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Bytes {
    pub(super) fn new(
        tls: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        idle: Duration,
    ) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + idle));
        Self {
            tls,
            connection,
            idle,
            timer,
        }
    }

    /// Whose bytes they are.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Ready once the connection has been quiet for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let deadline = self.connection.quiet_since().unwrap_or(now) + self.idle;
            if deadline <= now {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl AsyncRead for Bytes {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.tls).poll_read(cx, buffer) {
            // Reading nothing is how a stream ends.
            Poll::Pending => this.poll_idle(cx).map(Ok),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl AsyncWrite for Bytes {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match Pin::new(&mut this.tls).poll_write(cx, bytes) {
            Poll::Pending => this
                .poll_idle(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.tls).poll_flush(cx) {
            Poll::Pending => this
                .poll_idle(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready @ Poll::Ready(_) => ready,
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.tls).poll_shutdown(cx) {
            Poll::Pending => this
                .poll_idle(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready @ Poll::Ready(_) => ready,
        }
    }
}
