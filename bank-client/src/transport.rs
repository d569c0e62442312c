//! HTTP transport: encodes a request to a bank, sends it, and reads the response within the limits.

use std::net::IpAddr;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION,
};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use shared_types::decode::{MAX_DEPTH, Shape};
use shared_types::xs2a::message::{TppMessage, TppMessages};
use tokio::time::timeout;
use uuid::Uuid;

use crate::bank::Inner;
use crate::connections::Connections;
use crate::error::ErrorKind;
use crate::limits::Limits;
use crate::retries::retry_after;
use crate::transport_error::{explain, fetch_alert};

/// Maximum size of an error response whose `tppMessages` are decoded: decoding takes memory for
/// unknown fields too. A hundred messages of 500 characters have a quarter of this size.
const MAX_ERROR_RESPONSE_BYTES: usize = 256 * 1024;

/// A request to a bank, before it is encoded.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// `X-Request-ID`, if the caller sets it.
    pub(crate) id: Option<Uuid>,
    /// `Consent-ID`.
    pub(crate) consent: Option<String>,
    /// `PSU-IP-Address`.
    pub(crate) psu: Option<IpAddr>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Header fields of the caller. They replace ours of the same name.
    pub(crate) extra: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// Whether responses with an error status are returned. Redirects are an error in any case.
    pub(crate) any_status: bool,
}

impl Request {
    /// A request without header fields and body.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            id: None,
            consent: None,
            psu: None,
            headers: Vec::new(),
            extra: HeaderMap::new(),
            body: None,
            any_status: false,
        }
    }

    /// Encodes the request. Every attempt sends the same one.
    pub(crate) fn encode(self, request_id: Uuid) -> Result<reqwest::Request, ErrorKind> {
        let mut outgoing = reqwest::Request::new(self.method, self.url);
        let headers = outgoing.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // A small compressed body that expands to a large one would bypass the size limit (RFC
        // 9110, section 12.5.3).
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let standard = [
            ("X-Request-ID", Some(request_id.to_string())),
            ("Consent-ID", self.consent),
            ("PSU-IP-Address", self.psu.map(|psu| psu.to_string())),
        ];
        let standard = standard
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)));
        for (name, text) in standard.chain(self.headers) {
            // Names are written as in the standard; their case has no meaning (RFC 9110, section
            // 5.1).
            let name_on_wire = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| ErrorKind::unsendable(name, "not the name of a header"))?;
            let value = HeaderValue::from_str(&text)
                .map_err(|_| ErrorKind::unsendable(name, "not plain text"))?;
            headers.insert(name_on_wire, value);
        }
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        #[cfg(feature = "opentelemetry")]
        crate::trace_context::carry(headers);
        headers.extend(self.extra);
        *outgoing.body_mut() = self.body.map(Into::into);
        Ok(outgoing)
    }
}

/// A received response. Its body is not decoded yet.
pub(crate) struct RawResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Element count and depth of the body, if it is JSON.
    shape: Option<Shape>,
}

/// Encodes a request body as JSON.
pub(crate) fn json_body(body: &impl Serialize) -> Result<Vec<u8>, ErrorKind> {
    serde_json::to_vec(body).map_err(|fault| ErrorKind::unsendable("body", fault.to_string()))
}

/// Sends a request once. Returns responses of any status but a redirect.
pub(crate) async fn send_once(
    bank: &Inner,
    connections: &Connections,
    outgoing: &reqwest::Request,
) -> Result<RawResponse, ErrorKind> {
    let mut outcome = exchange(&bank.limits, connections, outgoing).await;
    // If the bank closed the connection because it refuses our certificate, its alert may be lost.
    // A further handshake receives it.
    if let Err(kind @ ErrorKind::Interrupted { .. }) = &mut outcome
        && let Some(secured) = connections.secured()
        && let threads = secured.setup.credentials.handshake_threads()
        && let alert = Box::pin(fetch_alert(&secured.tls, threads.as_ref(), &bank.base))
        && let Ok(Some(alert)) = timeout(bank.limits.connecting, alert).await
    {
        *kind = ErrorKind::TheyRefused { alert };
    }
    outcome
}

async fn exchange(
    limits: &Limits,
    connections: &Connections,
    outgoing: &reqwest::Request,
) -> Result<RawResponse, ErrorKind> {
    let failed = |error: reqwest::Error| {
        if error.is_timeout() {
            let limit = limits.connecting;
            return ErrorKind::Timeout { limit };
        }
        explain(
            &error,
            connections.secured().map(|secured| &*secured.verifier),
        )
    };
    // Cannot fail: only streaming bodies cannot be cloned.
    let outgoing = outgoing
        .try_clone()
        .ok_or_else(|| ErrorKind::unsendable("body", "it can be sent only once"))?;
    let first_call = connections.first(limits.connecting).await;
    let mut incoming = connections
        .client()
        .execute(outgoing)
        .await
        .map_err(failed)?;
    drop(first_call);
    let mut response = RawResponse {
        status: incoming.status(),
        headers: incoming.headers().clone(),
        body: Vec::new(),
        shape: is_json(incoming.headers()).then(Shape::default),
    };
    if response.status.is_redirection() {
        let location = response
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let location = location.unwrap_or("(nowhere)").chars().take(200).collect();
        return Err(ErrorKind::Redirect { location });
    }
    if let Some(encoding) = content_encoding(&response.headers) {
        // The body of an encoded error response is not read: its status is enough.
        if response.status.is_success() {
            return Err(ErrorKind::Encoded { encoding });
        }
        response.shape = None;
        return Ok(response);
    }
    let limit = limits.answer;
    let content_length = incoming.content_length().unwrap_or(0);
    if content_length > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(ErrorKind::TooLarge { limit });
    }
    while let Some(chunk) = incoming.chunk().await.map_err(failed)? {
        if response.body.len() + chunk.len() > limit {
            return Err(ErrorKind::TooLarge { limit });
        }
        if let Some(shape) = &mut response.shape {
            shape.scan(&chunk);
            check_shape(shape, limits.entries)?;
        }
        response.body.extend_from_slice(&chunk);
    }
    Ok(response)
}

/// Checks the element count and depth of the JSON received so far. This limits memory: a few bytes
/// of JSON can take a kilobyte once they are decoded.
fn check_shape(shape: &Shape, limit: usize) -> Result<(), ErrorKind> {
    if shape.elements() > limit {
        return Err(ErrorKind::TooMany { limit });
    }
    if shape.is_too_deep() {
        let reason = format!("nested deeper than {MAX_DEPTH} levels");
        return Err(ErrorKind::malformed(".", reason));
    }
    Ok(())
}

impl RawResponse {
    /// Element count and depth of the body. Fails if its media type is not JSON.
    pub(crate) fn shape(&self) -> Result<&Shape, ErrorKind> {
        (self.shape.as_ref())
            .ok_or_else(|| ErrorKind::malformed("Content-Type", "expected application/json"))
    }

    /// Error for a response with an error status.
    pub(crate) fn status_error(&self, request_id: Uuid, bank: &Inner) -> ErrorKind {
        let status = self.status.as_u16();
        let retry_after = retry_after(&self.headers, bank.clock.now());
        match self.messages(bank.limits.entries) {
            Some(messages) => ErrorKind::Refused {
                status,
                messages,
                request_id,
                retry_after,
            },
            None => ErrorKind::Status {
                status,
                request_id,
                retry_after,
            },
        }
    }

    /// Decodes the `tppMessages` of an error response, whatever its media type. `None` if it has
    /// none or exceeds a limit.
    fn messages(&self, max_elements: usize) -> Option<Vec<TppMessage>> {
        if self.body.len() > MAX_ERROR_RESPONSE_BYTES {
            return None;
        }
        let shape = self.shape.clone().unwrap_or_else(|| {
            let mut shape = Shape::default();
            shape.scan(&self.body);
            shape
        });
        if shape.elements() > max_elements {
            return None;
        }
        let messages: TppMessages = shape.decode(&self.body).ok()?;
        Some(messages.tpp_messages)
    }
}

/// `Content-Encoding`, unless it is `identity` (RFC 9110, section 8.4).
fn content_encoding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_ENCODING)?;
    let text: String = value
        .to_str()
        .unwrap_or("(not text)")
        .chars()
        .take(40)
        .collect();
    let encoded = text
        .split(',')
        .map(str::trim)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
    encoded.then_some(text)
}

/// Whether the media type is `application/json` or has the suffix `+json` (RFC 6839, section 3.1),
/// such as `application/problem+json`.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind.strip_prefix("application/")
        .is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}
