//! The bytes of an open connection, and the ways in which it ends from our side.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::Protocol;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::connection::{Connection, Patience};
use super::policy::Policy;

/// The bytes of an open connection. It reads as ended once
/// - it has been quiet for too long, or its answers are not collected: HTTP/2 would otherwise keep it open for as long as
///   the peer answers pings;
/// - its peer may no longer be here: then after a last word.
pub struct MtlsStream<P: Policy> {
    tls: TlsStream<TcpStream>,
    connection: Arc<Connection<P>>,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    protocol: Protocol,
    /// Whether what was last given to be sent was not all taken: the last word may not come between its parts.
    unsent: bool,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    close_message: CloseMessage,
}

/// How far the end is that comes when the peer may no longer be here.
enum CloseMessage {
    /// It may be here.
    None,
    /// It may not, and has until then to collect what it was told.
    Due { until: Instant },
    /// The last word is being sent.
    Speaking {
        word: Vec<u8>,
        sent: usize,
        until: Instant,
    },
    /// It is said. Closing while the peer still sends would reset the connection, and the reset would overtake the word:
    /// what comes is read, and dropped.
    Lingering { until: Instant },
    /// It is over.
    Over,
}

/// How long answers that are under way, and the last word, may take.
const GRACE: Duration = Duration::from_millis(500);

/// How long after the last answer was made it is certain to be among the bytes sent.
const SETTLING: Duration = Duration::from_millis(20);

impl<P: Policy> MtlsStream<P> {
    pub(super) fn new(
        tls: TlsStream<TcpStream>,
        protocol: Protocol,
        connection: Arc<Connection<P>>,
        patience: Patience,
    ) -> Self {
        let timer = Box::pin(sleep_until(
            Instant::now() + patience.idle.min(patience.answer),
        ));
        Self {
            tls,
            patience,
            timer,
            protocol,
            unsent: false,
            ended: Box::pin(connection.when_ended().cancelled_owned()),
            close_message: CloseMessage::None,
            connection,
        }
    }

    /// Whose bytes they are.
    #[must_use]
    pub fn connection(&self) -> &Arc<Connection<P>> {
        &self.connection
    }

    /// Ready once the connection has lasted too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
        let deadline = self.connection.deadline(self.patience);
        match self.close_message {
            CloseMessage::None => deadline,
            CloseMessage::Due { until }
            | CloseMessage::Speaking { until, .. }
            | CloseMessage::Lingering { until } => until.min(deadline),
            CloseMessage::Over => Instant::now(),
        }
    }

    fn fall_due(&mut self) {
        let until = Instant::now() + GRACE;
        self.timer.as_mut().reset(until);
        self.close_message = CloseMessage::Due { until };
    }

    /// Ends it at once: what the peer has not collected by now is not for it any more. A usual close would leave it with
    /// the system, which delivers it whenever the peer likes.
    fn cut(&mut self) {
        self.close_message = CloseMessage::Over;
        // If the system refuses, the connection still ends.
        let _ = self.tls.get_ref().0.set_zero_linger();
    }

    /// Whether the time of a peer that may no longer be here is over. Asked where something is written: a peer that
    /// collects no answers can keep us from reading, and so from hearing of it there.
    fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if matches!(self.close_message, CloseMessage::None)
            && self.ended.as_mut().poll(cx).is_ready()
        {
            self.fall_due();
        }
        if matches!(self.close_message, CloseMessage::Due { .. }) && self.poll_late(cx).is_ready() {
            self.cut();
        }
        matches!(self.close_message, CloseMessage::Over)
    }

    /// Ready once a peer that may no longer be here has been told, or had its time.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.close_message {
                CloseMessage::None => {
                    ready!(self.ended.as_mut().poll(cx));
                    self.fall_due();
                }
                CloseMessage::Due { until } => {
                    let until = *until;
                    let late = self.poll_late(cx).is_ready();
                    let settled = self.connection.quiet_since().is_some_and(|quiet| {
                        let settled = quiet + SETTLING;
                        self.timer.as_mut().reset(settled.min(until));
                        self.timer.as_mut().poll(cx).is_ready()
                    });
                    match (settled && !self.unsent, late) {
                        (true, _) => {
                            self.close_message = CloseMessage::Speaking {
                                word: self.last_word(),
                                sent: 0,
                                until,
                            };
                        }
                        (false, true) => self.cut(),
                        (false, false) => return Poll::Pending,
                    }
                }
                CloseMessage::Speaking { word, sent, until } => {
                    let until = *until;
                    let rest = word.get(*sent..).unwrap_or_default();
                    let polled = if rest.is_empty() {
                        Pin::new(&mut self.tls).poll_shutdown(cx).map_ok(|()| 0)
                    } else {
                        Pin::new(&mut self.tls).poll_write(cx, rest)
                    };
                    match polled {
                        Poll::Ready(Ok(taken)) if !rest.is_empty() => *sent += taken,
                        Poll::Ready(Ok(_)) => {
                            self.close_message = CloseMessage::Lingering { until }
                        }
                        // The peer is gone, and hears nothing any more.
                        Poll::Ready(Err(_)) => self.close_message = CloseMessage::Over,
                        Poll::Pending => {
                            ready!(self.poll_late(cx));
                            self.cut();
                        }
                    }
                }
                CloseMessage::Lingering { .. } => {
                    let mut scratch = [0; 1024];
                    let mut dropped = ReadBuf::new(&mut scratch);
                    match Pin::new(&mut self.tls).poll_read(cx, &mut dropped) {
                        Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {}
                        Poll::Ready(_) => self.close_message = CloseMessage::Over,
                        Poll::Pending => {
                            ready!(self.poll_late(cx));
                            self.cut();
                        }
                    }
                }
                CloseMessage::Over => return Poll::Ready(()),
            }
        }
    }

    fn last_word(&self) -> Vec<u8> {
        let Some((end, told)) = self.connection.end() else {
            return Vec::new();
        };
        let close_message = P::close_message(&end);
        match self.protocol {
            Protocol::Http2 => goaway(&close_message.word),
            _ if told => Vec::new(),
            _ => close_message.response,
        }
    }

    /// What the stream says, or that its time is over.
    fn or_late<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        match polled {
            Poll::Pending => self
                .poll_late(cx)
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
        // Reading nothing is how a stream ends.
        if this.poll_farewell(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut this.tls).poll_read(cx, buffer) {
            Poll::Pending => this.poll_late(cx).map(Ok),
            ready @ Poll::Ready(_) => ready,
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

    /// HTTP/2 has the head of a frame in one place and what is in it in another: they go out as one.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // After the last word, or the time for it, nothing more is said.
        if this.is_overdue(cx)
            || !matches!(
                this.close_message,
                CloseMessage::None | CloseMessage::Due { .. }
            )
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut this.tls).poll_write_vectored(cx, pieces);
        let given: usize = pieces.iter().map(|piece| piece.len()).sum();
        this.unsent = !matches!(polled, Poll::Ready(Ok(taken)) if taken == given);
        this.or_late(polled, cx)
    }

    /// h2 gives a frame whole, head and content, to a stream that takes several pieces at once.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_overdue(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let polled = Pin::new(&mut this.tls).poll_flush(cx);
        this.or_late(polled, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.protocol == Protocol::Http2 {
            // Its last frame may be a GOAWAY, and the peer may still be sending.
            if matches!(
                this.close_message,
                CloseMessage::None | CloseMessage::Due { .. }
            ) {
                let until = Instant::now() + GRACE;
                this.timer.as_mut().reset(until);
                this.close_message = CloseMessage::Speaking {
                    word: Vec::new(),
                    sent: 0,
                    until,
                };
            }
            return this.poll_farewell(cx).map(Ok);
        }
        let polled = Pin::new(&mut this.tls).poll_shutdown(cx);
        this.or_late(polled, cx)
    }
}

/// A GOAWAY frame (RFC 9113, section 6.8) for a peer that may no longer be here, with a word for its log.
///
/// Of the standard's codes, `INADEQUATE_SECURITY` comes nearest; with `NO_ERROR`, clients drop the word. It names the highest
/// stream there can be: what the peer has asked is answered, or shown as broken off, and not for the peer to ask again
/// elsewhere.
fn goaway(word: &str) -> Vec<u8> {
    const GOAWAY: u8 = 0x07;
    const MAX_WORD_BYTES: usize = 1024;
    const LAST_STREAM: u32 = 0x7fff_ffff;
    const INADEQUATE_SECURITY: u32 = 0x0c;

    let word = word.as_bytes();
    let word = word.get(..MAX_WORD_BYTES).unwrap_or(word);
    let length = u16::try_from(8 + word.len()).unwrap_or(8);
    let mut frame = vec![0];
    frame.extend(length.to_be_bytes());
    frame.extend([GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend(LAST_STREAM.to_be_bytes());
    frame.extend(INADEQUATE_SECURITY.to_be_bytes());
    frame.extend(word);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goaway_is_a_frame_of_its_length() {
        let frame = goaway("CERTIFICATE_REVOKE");
        assert_eq!(frame.len(), 9 + 8 + 18);
        assert_eq!(&frame[..9], &[0, 0, 26, 7, 0, 0, 0, 0, 0]);
        assert!(frame.ends_with(b"CERTIFICATE_REVOKE"));
        assert_eq!(goaway(&"x".repeat(5000)).len(), 9 + 8 + 1024);
    }
}
