//! Transport: sends one HTTP request to a bank and reads the response within our limits.

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

/// Of larger refusals than this, the reasons are not read: fields whose names say nothing to us
/// take memory too, while the form is looked for. A hundred messages with texts of 500 characters
/// have a quarter of it.
const MAX_REFUSAL_BYTES: usize = 256 * 1024;

/// One request.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Its `X-Request-ID`, where the caller chose one.
    pub(crate) id: Option<Uuid>,
    pub(crate) consent: Option<String>,
    pub(crate) psu: Option<IpAddr>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// More header fields, instead of ours where they have the same name.
    pub(crate) extra: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// An answer with any status is an answer; only redirects are not.
    pub(crate) any_status: bool,
}

impl Request {
    /// A request without header fields and body of its own.
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

    /// The request on the wire, the same at each attempt.
    pub(crate) fn encode(self, request_id: Uuid) -> Result<reqwest::Request, ErrorKind> {
        let mut outgoing = reqwest::Request::new(self.method, self.url);
        let headers = outgoing.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // A small answer that unpacks into a large one would pass by the limit (RFC 9110, section
        // 12.5.3).
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let own = [
            ("X-Request-ID", Some(request_id.to_string())),
            ("Consent-ID", self.consent),
            ("PSU-IP-Address", self.psu.map(|psu| psu.to_string())),
        ];
        let own = own
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)));
        for (name, text) in own.chain(self.headers) {
            // As they are written in the standard; on the wire, case says nothing (RFC 9110,
            // section 5.1).
            let known = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| ErrorKind::unsendable(name, "not the name of a header"))?;
            let value = HeaderValue::from_str(&text)
                .map_err(|_| ErrorKind::unsendable(name, "not plain text"))?;
            headers.insert(known, value);
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

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Of the body, if it is JSON.
    shape: Option<Shape>,
}

/// A request body in JSON.
pub(crate) fn json_body(body: &impl Serialize) -> Result<Vec<u8>, ErrorKind> {
    serde_json::to_vec(body).map_err(|fault| ErrorKind::unsendable("body", fault.to_string()))
}

/// Sends a request once. Any status but a redirect is an answer.
pub(crate) async fn send_once(
    bank: &Inner,
    connections: &Connections,
    outgoing: &reqwest::Request,
) -> Result<Answer, ErrorKind> {
    let mut outcome = exchange(&bank.limits, connections, outgoing).await;
    // If the connection broke because the bank does not want us: the reason it gives.
    if let Err(kind @ ErrorKind::Interrupted { .. }) = &mut outcome
        && let Some(secured) = connections.secured()
        && let alert = fetch_alert(&secured.tls, &bank.base)
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
) -> Result<Answer, ErrorKind> {
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
    // Only a body that is a stream could not be had again, and ours never is.
    let outgoing = outgoing
        .try_clone()
        .ok_or_else(|| ErrorKind::unsendable("body", "it can be sent only once"))?;
    let first = connections.first(limits.connecting).await;
    let mut incoming = connections
        .client()
        .execute(outgoing)
        .await
        .map_err(failed)?;
    drop(first);
    let mut answer = Answer {
        status: incoming.status(),
        headers: incoming.headers().clone(),
        body: Vec::new(),
        shape: is_json(incoming.headers()).then(Shape::default),
    };
    if answer.status.is_redirection() {
        let location = answer
            .headers
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let location = location.unwrap_or("(nowhere)").chars().take(200).collect();
        return Err(ErrorKind::Redirect { location });
    }
    if let Some(encoding) = encoding(&answer.headers) {
        // The reasons of an encoded refusal are not read; that it is one is.
        if answer.status.is_success() {
            return Err(ErrorKind::Encoded { encoding });
        }
        answer.shape = None;
        return Ok(answer);
    }
    let limit = limits.answer;
    let announced = incoming.content_length().unwrap_or(0);
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(ErrorKind::TooLarge { limit });
    }
    while let Some(chunk) = incoming.chunk().await.map_err(failed)? {
        if answer.body.len() + chunk.len() > limit {
            return Err(ErrorKind::TooLarge { limit });
        }
        if let Some(shape) = &mut answer.shape {
            shape.see(&chunk);
            check_shape(shape, limits.entries)?;
        }
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// A bomb is cut off while it comes in: a few bytes of JSON can take a kilobyte of memory once
/// they are decoded.
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

impl Answer {
    /// The shape of a body in JSON.
    pub(crate) fn shape(&self) -> Result<&Shape, ErrorKind> {
        (self.shape.as_ref())
            .ok_or_else(|| ErrorKind::malformed("Content-Type", "expected application/json"))
    }

    /// The error of an answer without success.
    pub(crate) fn refusal(&self, request_id: Uuid, bank: &Inner) -> ErrorKind {
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

    /// The reasons of a refusal, where the body gives them, whatever media type it claims.
    fn messages(&self, max_elements: usize) -> Option<Vec<TppMessage>> {
        if self.body.len() > MAX_REFUSAL_BYTES {
            return None;
        }
        let shape = self.shape.clone().unwrap_or_else(|| {
            let mut shape = Shape::default();
            shape.see(&self.body);
            shape
        });
        if shape.elements() > max_elements {
            return None;
        }
        let messages: TppMessages = shape.decode(&self.body).ok()?;
        Some(messages.tpp_messages)
    }
}

/// `Content-Encoding` of an answer that is encoded (RFC 9110, section 8.4).
fn encoding(headers: &HeaderMap) -> Option<String> {
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

/// Whether a body claims to be JSON: `application/json`, or a type of its own in that syntax (RFC
/// 6839, section 3.1), such as `application/problem+json`.
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
