//! Sends a final message on a connection whose peer has lost trust: an HTTP/1.1 error response or
//! an HTTP/2 GOAWAY.
//!
//! actix-http cannot send unsolicited messages, so this writes to the TLS stream directly: once all
//! responses under way have been sent, and only between writes, because the message must not split
//! another frame. It also completes the close of an HTTP/2 connection after a graceful shutdown.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::Protocol;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::Instant;

use super::policy::Policy;
use super::stream::MtlsStream;

/// Progress of closing a connection.
pub(super) enum CloseState {
    /// The connection is open.
    Open,
    /// The peer has lost trust; it has until then to receive the responses under way.
    Due { until: Instant },
    /// The close message is being sent.
    Sending {
        message: Vec<u8>,
        sent: usize,
        until: Instant,
    },
    /// The message is sent. Closing while the peer still sends would reset the connection, and the
    /// reset would overtake the message: the input is drained.
    Lingering { until: Instant },
    /// The connection is closed.
    Closed,
}

/// Time limit for responses under way and the close message.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// Time after which the last response is certain to be among the bytes written.
const SETTLING: Duration = Duration::from_millis(20);

impl<P: Policy> MtlsStream<P> {
    fn begin_close(&mut self) {
        let until = Instant::now() + GRACE;
        self.timer.as_mut().reset(until);
        self.close_state = CloseState::Due { until };
    }

    /// Aborts the connection, so that the peer receives no more of the data already sent. After an
    /// orderly close, the kernel would still deliver that data whenever the peer reads.
    fn abort(&mut self) {
        self.close_state = CloseState::Closed;
        // If the kernel refuses, the connection still ends.
        let _ = self.tls.get_ref().0.set_zero_linger();
    }

    /// Whether the time of a peer that has lost trust is over. Checked on writes as well: a peer
    /// that receives no responses can keep the connection from being read.
    pub(super) fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if matches!(self.close_state, CloseState::Open)
            && self.trust_lost.as_mut().poll(cx).is_ready()
        {
            self.begin_close();
        }
        if matches!(self.close_state, CloseState::Due { .. }) && self.poll_timeout(cx).is_ready() {
            self.abort();
        }
        matches!(self.close_state, CloseState::Closed)
    }

    /// Ready once a peer that has lost trust was notified, or its time is over.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.close_state {
                CloseState::Open => {
                    ready!(self.trust_lost.as_mut().poll(cx));
                    self.begin_close();
                }
                CloseState::Due { until } => {
                    let until = *until;
                    let is_late = self.poll_timeout(cx).is_ready();
                    let settled = self.connection.idle_since().is_some_and(|idle_since| {
                        let settled = idle_since + SETTLING;
                        self.timer.as_mut().reset(settled.min(until));
                        self.timer.as_mut().poll(cx).is_ready()
                    });
                    match (settled && !self.has_unsent, is_late) {
                        (true, _) => {
                            self.close_state = CloseState::Sending {
                                message: self.encode_message(),
                                sent: 0,
                                until,
                            };
                        }
                        (false, true) => self.abort(),
                        (false, false) => return Poll::Pending,
                    }
                }
                CloseState::Sending {
                    message,
                    sent,
                    until,
                } => {
                    let until = *until;
                    let rest = message.get(*sent..).unwrap_or_default();
                    let polled = if rest.is_empty() {
                        Pin::new(&mut self.tls).poll_shutdown(cx).map_ok(|()| 0)
                    } else {
                        Pin::new(&mut self.tls).poll_write(cx, rest)
                    };
                    match polled {
                        Poll::Ready(Ok(written)) if !rest.is_empty() => *sent += written,
                        Poll::Ready(Ok(_)) => self.close_state = CloseState::Lingering { until },
                        // The peer has closed the connection.
                        Poll::Ready(Err(_)) => self.close_state = CloseState::Closed,
                        Poll::Pending => {
                            ready!(self.poll_timeout(cx));
                            self.abort();
                        }
                    }
                }
                CloseState::Lingering { .. } => {
                    let mut scratch = [0; 1024];
                    let mut dropped = ReadBuf::new(&mut scratch);
                    match Pin::new(&mut self.tls).poll_read(cx, &mut dropped) {
                        Poll::Ready(Ok(())) if !dropped.filled().is_empty() => {}
                        Poll::Ready(_) => self.close_state = CloseState::Closed,
                        Poll::Pending => {
                            ready!(self.poll_timeout(cx));
                            self.abort();
                        }
                    }
                }
                CloseState::Closed => return Poll::Ready(()),
            }
        }
    }

    fn encode_message(&self) -> Vec<u8> {
        let Some((rejection, is_notified)) = self.connection.rejection() else {
            return Vec::new();
        };
        let message = P::close_message(&rejection);
        match self.protocol {
            Protocol::Http2 => goaway(&message.debug_data),
            _ if is_notified => Vec::new(),
            _ => message.response,
        }
    }
}

/// A GOAWAY frame (RFC 9113, section 6.8) for a peer that has lost trust, with debug data for its
/// log.
///
/// Of the standard's codes, `INADEQUATE_SECURITY` is the nearest; with `NO_ERROR`, clients drop the
/// debug data. It names the highest possible stream: open requests are answered or shown as
/// aborted, and are not to be retried elsewhere.
fn goaway(debug_data: &str) -> Vec<u8> {
    const GOAWAY: u8 = 0x07;
    const MAX_DEBUG_BYTES: usize = 1024;
    const LAST_STREAM: u32 = 0x7fff_ffff;
    const INADEQUATE_SECURITY: u32 = 0x0c;

    let debug_data = debug_data.as_bytes();
    let debug_data = debug_data.get(..MAX_DEBUG_BYTES).unwrap_or(debug_data);
    let length = u16::try_from(8 + debug_data.len()).unwrap_or(8);
    let mut frame = vec![0];
    frame.extend(length.to_be_bytes());
    frame.extend([GOAWAY, 0, 0, 0, 0, 0]);
    frame.extend(LAST_STREAM.to_be_bytes());
    frame.extend(INADEQUATE_SECURITY.to_be_bytes());
    frame.extend(debug_data);
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
