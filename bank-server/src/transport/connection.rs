//! An open connection: who is at the other end, and how long it may stay.

use std::collections::HashMap;
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
    /// The requests whose answers are not all sent, with the time at which each came in.
    open: HashMap<u64, Instant>,
    /// How many requests there were.
    requests: u64,
    /// When the last answer was sent, or the connection opened.
    quiet_since: Instant,
}

/// Open answers on one connection, refusals included, at which it is cut: a peer that keeps asking over HTTP/2 and
/// never reads would otherwise pile them up.
const MOST_OPEN: usize = 1000;

/// How long a connection may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Without a request.
    pub(super) idle: Duration,
    /// With one whose answer is not collected.
    pub(super) answer: Duration,
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
                open: HashMap::new(),
                requests: 0,
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

    /// Counts a request for as long as the returned guard lives: until its answer is sent.
    #[must_use]
    pub fn begin_request(self: &Arc<Self>) -> Answering {
        let mut state = self.state();
        let number = state.requests;
        state.requests += 1;
        state.open.insert(number, Instant::now());
        Answering {
            connection: Arc::clone(self),
            number,
            turn: self.place.turn(),
        }
    }

    /// When the connection ends, if nothing more happens.
    fn deadline(&self, patience: Patience) -> Instant {
        let state = self.state();
        match state.open.values().min() {
            Some(oldest) => *oldest + patience.answer,
            None => state.quiet_since + patience.idle,
        }
    }

    /// Whether the peer piles up requests without collecting answers.
    fn is_overrun(&self) -> bool {
        self.state().open.len() > MOST_OPEN
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request whose answer is not all sent yet.
#[derive(Debug)]
pub struct Answering {
    connection: Arc<Connection>,
    number: u64,
    turn: Option<Turn>,
}

impl Answering {
    /// Whether the organisation may have this request, beside those it has.
    #[must_use]
    pub fn has_turn(&self) -> bool {
        self.turn.is_some()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.open.remove(&self.number);
        state.quiet_since = Instant::now();
    }
}

/// The bytes of an open connection. It reads as ended once it has been quiet for too long, or does not collect its
/// answers: HTTP/2 would otherwise keep it open for as long as the peer answers pings.
pub struct Bytes {
    tls: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
}

impl Bytes {
    pub(super) fn new(
        tls: TlsStream<TcpStream>,
        connection: Arc<Connection>,
        patience: Patience,
    ) -> Self {
        let timer = Box::pin(sleep_until(
            Instant::now() + patience.idle.min(patience.answer),
        ));
        Self {
            tls,
            connection,
            patience,
            timer,
        }
    }

    /// Whose bytes they are.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Ready once the connection has lasted too long.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let deadline = self.connection.deadline(self.patience);
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// What the stream says, or that its time is over.
    fn or_end<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self
                .poll_end(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl AsyncRead for Bytes {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.is_overrun() {
            // Reading nothing is how a stream ends.
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.tls).poll_read(cx, buffer) {
            Poll::Pending => this.poll_end(cx).map(Ok),
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
        let polled = Pin::new(&mut this.tls).poll_write(cx, bytes);
        this.or_end(polled, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tls).poll_flush(cx);
        this.or_end(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.tls).poll_shutdown(cx);
        this.or_end(polled, cx)
    }
}
