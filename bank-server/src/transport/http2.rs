//! HTTP/2 server (RFC 9113): dispatches the requests of a connection to an actix service.
//!
//! The h2 crate holds the protocol's state and its limits: header lists, streams, resets,
//! CONTINUATION frames and windows. It does not limit frames that cost work and carry no
//! request, such as PING and SETTINGS; `FrameBudget` counts these. A peer that exceeds any of them
//! is sent a GOAWAY with `ENHANCE_YOUR_CALM`.
//!
//! Cost: a connection holds its TLS and HPACK state, and at most one header list that has not all
//! come in, `WINDOW_BYTES` of bodies that were not read, and `MAX_STREAMS` requests that are being
//! answered. A request is being answered until the last part of its answer was written to the
//! connection.

use std::any::Any;
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use actix_http::body::{BodySize, BoxBody, MessageBody};
use actix_http::error::PayloadError;
use actix_http::header::{
    CONNECTION, HeaderName, HeaderValue, HttpDate, TRANSFER_ENCODING, UPGRADE,
};
use actix_http::{HttpMessage as _, Method, Payload, Request, Response, StatusCode, Version};
use actix_service::Service;
use actix_web::web::Bytes;
use bytes::Buf;
use futures::Stream;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use rustls_pki_types::UnixTime;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::policy::Policy;
use super::quota::StreamPermit;
use super::stream::MtlsStream;

/// Streams that a peer may have open on one connection (`SETTINGS_MAX_CONCURRENT_STREAMS`).
const MAX_STREAMS: u32 = 100;

/// Bytes of request bodies that a peer may have on the way: for each stream, and over all streams
/// of one connection. The protocol's initial value (RFC 9113, section 6.9.2).
const WINDOW_BYTES: u32 = 65_535;

/// Bytes of an answer that are copied ahead of the peer's window.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Resets and refused streams on one connection, by the peer (rapid reset, CVE-2023-44487) or by
/// this server in response to the peer's frames (CVE-2025-8671). Ordinary clients cancel a few
/// requests in a connection's life.
const MAX_RESETS: usize = 100;

/// Serves a connection until it ends, and gracefully until then once `stopping` is ready or the
/// server drains. Each request has its [`Connection`] in its extensions.
///
/// `max_header_bytes` limits the header list of a request, counted as in RFC 9113, section 6.5.2. A
/// larger one is answered 431, and not held in memory.
///
/// Must be called in a `LocalSet`. A request whose stream is reset, or whose connection ends, is
/// dropped.
pub async fn serve<P, S, B>(
    mut stream: MtlsStream<P>,
    address: Option<SocketAddr>,
    service: Rc<S>,
    max_header_bytes: u32,
    stopping: impl Future<Output = ()>,
) -> Result<(), h2::Error>
where
    P: Policy,
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let connection = Arc::clone(stream.connection());
    let budget = Arc::new(FrameBudget::default());
    stream.frames = Some(FrameCounter::new(Arc::clone(&budget)));
    let mut http2 = Builder::new()
        .max_header_list_size(max_header_bytes)
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buffer_size(MAX_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_concurrent_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(Some(MAX_RESETS))
        .handshake(stream)
        .await?;
    let draining = connection.draining.clone();
    let mut stopping = pin!(async move {
        tokio::select! {
            () = draining.cancelled_owned() => {}
            () = stopping => {}
        }
    });
    let mut is_stopping = false;
    let mut is_flooded = false;
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut stopping, if !is_stopping => {
                is_stopping = true;
                http2.graceful_shutdown();
            }
            () = budget.exhausted.cancelled(), if !is_flooded => {
                is_flooded = true;
                tracing::warn!(
                    peer = %connection.address,
                    certificate = %connection.certificate,
                    limit = MAX_CONTROL_FRAMES,
                    "HTTP/2 connection closed: too many frames without a request"
                );
                http2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            }
            accepted = http2.accept() => match accepted {
                None => return Ok(()),
                Some(accepted) => {
                    let (request, mut respond) = accepted?;
                    let Some(open) = connection.permit.open_stream() else {
                        // The request was not looked at, and can be sent again (RFC 9113, section
                        // 8.7).
                        respond.send_reset(Reason::REFUSED_STREAM);
                        continue;
                    };
                    let is_head = request.method() == http::Method::HEAD;
                    let (given_up, unread) = oneshot::channel();
                    let Some(request) = into_actix(request, given_up, address) else {
                        respond.send_reset(Reason::PROTOCOL_ERROR);
                        continue;
                    };
                    request.extensions_mut().insert(Arc::clone(&connection));
                    let (service, connection) = (Rc::clone(&service), Arc::clone(&connection));
                    let response = async move {
                        match service.call(request).await {
                            Ok(response) => response.into().map_into_boxed_body(),
                            Err(error) => error.into(),
                        }
                    };
                    let answering = async move {
                        tokio::select! {
                            biased;
                            sent = answer(response, respond, is_head, &*connection, open) => sent,
                            never = discard(unread) => never,
                        }
                    };
                    let budget = Arc::clone(&budget);
                    requests.spawn_local(async move {
                        match answering.await {
                            Ok(()) => budget.earn(FRAMES_PER_ANSWER),
                            Err(error) => tracing::debug!(%error, "answer not sent"),
                        }
                    });
                }
            },
            // Those that ended are forgotten.
            Some(_) = requests.join_next() => {}
        }
    }
}

/// The request in the types of actix-http, which are those of an older version of the http crate.
///
/// Cost: a copy of each field.
fn into_actix(
    request: http::Request<RecvStream>,
    given_up: oneshot::Sender<RecvStream>,
    address: Option<SocketAddr>,
) -> Option<Request> {
    let (parts, stream) = request.into_parts();
    let body = Body(Some((stream, given_up)));
    let mut request = Request::with_payload(Payload::Stream {
        payload: Box::pin(body) as Pin<Box<dyn Stream<Item = _>>>,
    });
    let head = request.head_mut();
    head.uri = parts.uri.to_string().parse().ok()?;
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.version = Version::HTTP_2;
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        head.headers.append(name, value);
    }
    head.peer_addr = address;
    Some(request)
}

/// Sends a response once it is there. Fails when the peer resets the stream.
async fn answer<P: Policy>(
    response: impl Future<Output = Response<BoxBody>>,
    mut respond: SendResponse<Part>,
    is_head: bool,
    connection: &Connection<P>,
    open: StreamPermit,
) -> Result<(), h2::Error> {
    let reset = poll_fn(|cx| respond.poll_reset(cx));
    let response = tokio::select! {
        biased;
        reason = reset => return Err(reason?.into()),
        response = response => response,
    };
    let (response, body) = response.into_parts();
    let size = match response.status() {
        StatusCode::NO_CONTENT => BodySize::None,
        _ => body.size(),
    };
    let is_empty = is_head || size.is_eof();
    let mut stream = respond.send_response(head(&response, size, connection.now()), is_empty)?;
    if is_empty {
        return Ok(());
    }
    let body = Rc::new((RefCell::new(body), open));
    while let Some(chunk) = poll_fn(|cx| Pin::new(&mut *body.0.borrow_mut()).poll_next(cx)).await {
        let Ok(mut chunk) = chunk else {
            stream.send_reset(Reason::INTERNAL_ERROR);
            return Err(Reason::INTERNAL_ERROR.into());
        };
        while !chunk.is_empty() {
            stream.reserve_capacity(chunk.len());
            let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
            let capacity = capacity.ok_or(Reason::STREAM_CLOSED)??;
            let bytes = chunk.split_to(capacity.min(chunk.len()));
            let body = Rc::clone(&body) as Rc<dyn Any>;
            stream.send_data(Part { bytes, _body: body }, false)?;
        }
    }
    let bytes = Bytes::new();
    stream.send_data(Part { bytes, _body: body }, true)
}

/// Part of a response on its way to the connection. It keeps the body alive, and with it the
/// permits of request and stream: a peer that reads nothing would otherwise have as many short
/// responses buffered as it has streams.
struct Part {
    bytes: Bytes,
    _body: Rc<dyn Any>,
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes);
    }
}

/// The head of an answer, without the fields of HTTP/1.1 (RFC 9113, section 8.2.2).
///
/// Cost: a copy of each field, as for requests.
fn head(response: &Response<()>, size: BodySize, now: UnixTime) -> http::Response<()> {
    let mut head = http::Response::new(());
    // Both versions of the http crate take the same codes and fields.
    *head.status_mut() = http::StatusCode::from_u16(response.status().as_u16())
        .unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = head.headers_mut();
    for (name, value) in response.headers() {
        let is_of_http1 = [&CONNECTION, &TRANSFER_ENCODING, &UPGRADE].contains(&name)
            || ["keep-alive", "proxy-connection"].contains(&name.as_str());
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = http::HeaderValue::from_bytes(value.as_bytes());
        if let (false, Ok(name), Ok(value)) = (is_of_http1, name, value) {
            headers.append(name, value);
        }
    }
    if let BodySize::Sized(bytes) = size {
        headers.insert(http::header::CONTENT_LENGTH, bytes.into());
    }
    if !headers.contains_key(http::header::DATE) {
        let date = HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs()));
        if let Ok(date) = http::HeaderValue::from_str(&date.to_string()) {
            headers.insert(http::header::DATE, date);
        }
    }
    head
}

/// The body of a request. Reading from it releases flow control capacity. When dropped, it returns
/// the unread rest.
struct Body(Option<(RecvStream, oneshot::Sender<RecvStream>)>);

impl Drop for Body {
    fn drop(&mut self) {
        if let Some((stream, given_up)) = self.0.take() {
            // Fails when the request has ended.
            let _ = given_up.send(stream);
        }
    }
}

/// Reads and discards the rest of a request whose body is not wanted. Trailers would be held in
/// memory until the answer is sent: windows do not limit them. Does not return.
async fn discard<T>(unread: oneshot::Receiver<RecvStream>) -> T {
    if let Ok(mut stream) = unread.await {
        while let Some(Ok(chunk)) = stream.data().await {
            // Fails when the stream has ended.
            let _ = stream.flow_control().release_capacity(chunk.len());
        }
        let _ = stream.trailers().await;
    }
    pending().await
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // There until it is dropped.
        let Some((stream, _)) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let chunk = ready!(stream.poll_data(cx));
        Poll::Ready(chunk.map(|chunk| {
            let chunk = chunk.map_err(incomplete)?;
            let released = stream.flow_control().release_capacity(chunk.len());
            released.map_err(incomplete)?;
            Ok(chunk)
        }))
    }
}

fn incomplete(error: h2::Error) -> PayloadError {
    PayloadError::Incomplete(Some(io::Error::other(error)))
}

/// Frames that a peer may send beyond those that carry requests and their bodies, before it has had
/// any answer.
const MAX_CONTROL_FRAMES: u32 = 1000;

/// Such frames that an answer makes up for: a peer widens its windows, or cancels what it no longer
/// needs.
const FRAMES_PER_ANSWER: u32 = 8;

/// Bytes sent to a peer that make up for one such frame: some clients widen two windows with each
/// DATA frame.
const SENT_BYTES_PER_FRAME: usize = 1024;

/// Counts the frames of a connection that carry no request.
///
/// Time does not fill it up: a connection without a request is closed when it has been idle.
struct FrameBudget {
    left: AtomicU32,
    exhausted: CancellationToken,
}

impl Default for FrameBudget {
    fn default() -> Self {
        Self {
            left: AtomicU32::new(MAX_CONTROL_FRAMES),
            exhausted: CancellationToken::new(),
        }
    }
}

impl FrameBudget {
    fn spend(&self) {
        let spent = |left: u32| left.checked_sub(1);
        if self.left.fetch_update(Relaxed, Relaxed, spent).is_err() {
            self.exhausted.cancel();
        }
    }

    fn earn(&self, frames: u32) {
        let earned = |left: u32| Some(left.saturating_add(frames).min(MAX_CONTROL_FRAMES));
        let _ = self.left.fetch_update(Relaxed, Relaxed, earned);
    }
}

/// Counts the frames in the bytes of a connection, by their heads (RFC 9113, section 4.1).
pub(super) struct FrameCounter {
    budget: Arc<FrameBudget>,
    /// Sent bytes that do not make up for a frame yet.
    sent: usize,
    /// Bytes of the connection preface that were read (section 3.4).
    preface: usize,
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of the head that were read.
    read: usize,
    /// Bytes of the payload that are still to come.
    payload: usize,
}

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;

impl FrameCounter {
    fn new(budget: Arc<FrameBudget>) -> Self {
        Self {
            budget,
            sent: 0,
            preface: 0,
            head: [0; FRAME_HEAD_BYTES],
            read: 0,
            payload: 0,
        }
    }

    /// Whether nothing more is to be read.
    pub(super) fn is_exhausted(&self) -> bool {
        self.budget.exhausted.is_cancelled()
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        let sent = self.sent + bytes;
        self.sent = sent % SENT_BYTES_PER_FRAME;
        let frames = sent / SENT_BYTES_PER_FRAME;
        self.budget.earn(u32::try_from(frames).unwrap_or(u32::MAX));
    }

    /// Spends on each frame that carries no request and no part of a body.
    ///
    /// Cost: the parsing of frame headers; payloads are skipped.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        let preface = bytes.len().min(PREFACE_BYTES - self.preface);
        self.preface += preface;
        bytes = bytes.get(preface..).unwrap_or_default();
        loop {
            let payload = bytes.len().min(self.payload);
            self.payload -= payload;
            bytes = bytes.get(payload..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            if let Some(place) = self.head.get_mut(self.read) {
                *place = *byte;
            }
            self.read += 1;
            if self.read == FRAME_HEAD_BYTES {
                self.read = 0;
                let [high, middle, low, kind, flags, ..] = self.head;
                self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
                if is_control(kind, flags, self.payload) {
                    self.budget.spend();
                }
            }
        }
    }
}

/// Whether a frame carries no request and no part of a body. Frames of unknown types are among
/// these, and DATA that is empty and not the last.
fn is_control(kind: u8, flags: u8, payload: usize) -> bool {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;

    match kind {
        DATA => payload == 0 && flags & END_STREAM == 0,
        HEADERS => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn left_after(frames: &mut FrameCounter, pieces: &[&[u8]]) -> u32 {
        for piece in pieces {
            frames.read(piece);
        }
        frames.budget.left.load(Relaxed)
    }

    proptest! {
        /// However the bytes are cut, each frame is counted once.
        #[test]
        fn frames_are_counted_wherever_they_are_cut(
            frames in proptest::collection::vec((0_u8..12, 0_u8..6, 0_usize..400), 0..20),
            cut in 1_usize..50,
        ) {
            let mut bytes = vec![0; PREFACE_BYTES];
            let mut control = 0;
            for (kind, flags, payload) in frames {
                bytes.extend(&u32::try_from(payload).unwrap().to_be_bytes()[1..]);
                bytes.extend([kind, flags, 0, 0, 0, 0]);
                bytes.extend(vec![0xff; payload]);
                control += u32::from(is_control(kind, flags, payload));
            }
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            let mut counter = FrameCounter::new(Arc::default());
            prop_assert_eq!(left_after(&mut counter, &pieces), MAX_CONTROL_FRAMES - control);
        }
    }

    #[test]
    fn a_budget_is_filled_up_by_answers_and_bytes_and_never_beyond_its_size() {
        let mut counter = FrameCounter::new(Arc::default());
        let ping = [&[0, 0, 0, PING, 0, 0, 0, 0, 0][..]];
        counter.read(&[0; PREFACE_BYTES]);
        counter.budget.earn(FRAMES_PER_ANSWER);
        assert_eq!(left_after(&mut counter, &ping.repeat(10)), 990);
        counter.budget.earn(FRAMES_PER_ANSWER);
        counter.sent(1500);
        counter.sent(600);
        assert_eq!(left_after(&mut counter, &[]), 1000);
        left_after(&mut counter, &ping.repeat(1000));
        assert!(!counter.is_exhausted());
        left_after(&mut counter, &ping);
        assert!(counter.is_exhausted());
    }
}
