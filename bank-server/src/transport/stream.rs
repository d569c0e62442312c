//! TLS stream of an open connection, with idle and response timeouts.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::connection::Connection;
use super::goaway::{CloseState, GRACE};
use super::http2::FrameCounter;
use super::listener::ConnectionLimits;
use super::policy::Policy;

/// TLS stream of an open connection. It reads as ended once
/// - it has been idle for too long, or its responses are not collected: HTTP/2 would otherwise keep
///   it open for as long as the peer answers pings;
/// - its peer has lost trust, after the close message.
pub struct MtlsStream<P: Policy> {
    pub(super) tls: TlsStream<TcpStream>,
    pub(super) connection: Arc<Connection<P>>,
    limits: ConnectionLimits,
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) protocol: Protocol,
    /// Whether the last write was partial: the close message must not come between its parts.
    pub(super) has_unsent: bool,
    pub(super) trust_lost: Pin<Box<WaitForCancellationFutureOwned>>,
    pub(super) close_state: CloseState,
    /// Counts the frames of an HTTP/2 connection.
    pub(super) frames: Option<FrameCounter>,
}

impl<P: Policy> MtlsStream<P> {
    pub(super) fn new(
        tls: TlsStream<TcpStream>,
        protocol: Protocol,
        connection: Arc<Connection<P>>,
        limits: ConnectionLimits,
    ) -> Self {
        let timer = Box::pin(sleep_until(
            Instant::now() + limits.idle.min(limits.response),
        ));
        Self {
            tls,
            limits,
            timer,
            protocol,
            has_unsent: false,
            trust_lost: Box::pin(connection.trust_lost.clone().cancelled_owned()),
            close_state: CloseState::Open,
            frames: None,
            connection,
        }
    }

    /// The connection of this stream.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection<P>> {
        &self.connection
    }

    /// Ready once the connection has timed out.
    pub(super) fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    fn deadline(&self) -> Instant {
        let deadline = self.connection.deadline(self.limits);
        match self.close_state {
            CloseState::Open => deadline,
            CloseState::Due { until }
            | CloseState::Sending { until, .. }
            | CloseState::Lingering { until } => until.min(deadline),
            CloseState::Closed => Instant::now(),
        }
    }

    /// The result of the stream, or a timeout.
    fn or_timeout<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self
                .poll_timeout(cx)
                .map(|()| Err(io::ErrorKind::TimedOut.into())),
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl<P: Policy> AsyncRead for MtlsStream<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // A read of zero bytes ends the stream.
        if this.poll_close(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if this.frames.as_ref().is_some_and(FrameCounter::is_exhausted) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.tls).poll_read(cx, buffer) {
            Poll::Pending => this.poll_timeout(cx).map(Ok),
            ready @ Poll::Ready(_) => {
                if let Some(frames) = &mut this.frames {
                    frames.read(buffer.filled().get(before..).unwrap_or_default());
                }
                ready
            }
        }
    }
}

impl<P: Policy> AsyncWrite for MtlsStream<P> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// HTTP/2 has the head of a frame in one buffer and its payload in another: both go out in one
    /// write.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // After the close message, or the time for it, nothing more is written.
        if this.is_overdue(cx)
            || !matches!(this.close_state, CloseState::Open | CloseState::Due { .. })
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut this.tls).poll_write_vectored(cx, pieces);
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        this.has_unsent = !matches!(polled, Poll::Ready(Ok(written)) if written == total);
        if let (Poll::Ready(Ok(written)), Some(frames)) = (&polled, &mut this.frames) {
            frames.sent(*written);
        }
        this.or_timeout(polled, cx)
    }

    /// h2 hands over a frame whole, head and payload, to a stream with vectored writes.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_overdue(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut this.tls).poll_flush(cx);
        this.or_timeout(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.protocol == Protocol::Http2 {
            // Its last frame may be a GOAWAY, and the peer may still be sending.
            if matches!(this.close_state, CloseState::Open | CloseState::Due { .. }) {
                let until = Instant::now() + GRACE;
                this.timer.as_mut().reset(until);
                this.close_state = CloseState::Sending {
                    message: Vec::new(),
                    sent: 0,
                    until,
                };
            }
            return this.poll_close(cx).map(Ok);
        }
        let polled = Pin::new(&mut this.tls).poll_shutdown(cx);
        this.or_timeout(polled, cx)
    }
}
