//! Transport: sends one HTTP request to a bank and reads the response within our limits.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    LOCATION,
};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_types::decode::{MAX_DEPTH, Malformed, Shape};
use shared_types::pki::alert::Alert;
use shared_types::xs2a::message::{TppMessage, TppMessages};
use shared_types::xs2a::money::Currency;
use uuid::Uuid;

use crate::bank::Bank;
use crate::connections::Connections;
use crate::deviations::Deviations;
use crate::error::{ConfigurationError, Error, ErrorKind};
use crate::reading::{ValidateResponse, read};
use crate::response::Response;
use crate::retries::retry_after;
use crate::transport_error::{ask_for_alert, explain};

/// Of larger refusals than this, the reasons are not read: fields whose names say nothing to us
/// take memory too, while the form is looked for. A hundred messages with texts of 500 characters
/// have a quarter of it.
const MAX_REFUSAL_BYTES: usize = 256 * 1024;

/// One request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// Its `X-Request-ID`, where the caller chose one.
    pub(crate) id: Option<Uuid>,
    pub(crate) consent: Option<&'a str>,
    pub(crate) psu: Option<IpAddr>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// More header fields, instead of ours where they have the same name.
    pub(crate) extra: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// An answer with any status is an answer; only redirects are not.
    pub(crate) any_status: bool,
}

impl Request<'_> {
    /// One with nothing but that.
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
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Of the body, if it is JSON.
    shape: Option<Shape>,
}

/// An attempt that did not succeed.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// The bank's answer, where it is a whole one with another status than success.
    pub(crate) answer: Option<Answer>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            error,
            answer: None,
        }
    }
}

/// A bank, and the consent under which it is asked.
#[derive(Debug, Clone)]
pub(crate) struct UnderConsent {
    pub(crate) bank: Bank,
    pub(crate) consent_id: String,
    /// The customer's device, if she is present.
    pub(crate) psu: Option<IpAddr>,
}

impl UnderConsent {
    /// Reads what is at that address, about an account whose currency may be known.
    pub(crate) async fn get<T: ValidateResponse>(
        &self,
        url: Url,
        currency: Option<Currency>,
    ) -> Result<Response<T>, Error> {
        let answer = self.send(url).await?;
        self.bank.read(&answer, currency)
    }

    /// The same. `None`: the bank says that there is nothing (204 No Content).
    pub(crate) async fn get_if_any<T: ValidateResponse>(
        &self,
        url: Url,
        currency: Option<Currency>,
    ) -> Result<Option<Response<T>>, Error> {
        let answer = self.send(url).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.bank.read(&answer, currency).map(Some)
    }

    /// A list. Where the bank says that there is nothing (204 No Content), an empty one.
    pub(crate) async fn list<T: ValidateResponse + Default>(
        &self,
        url: Url,
        currency: Option<Currency>,
    ) -> Result<Response<T>, Error> {
        let list = self.get_if_any(url, currency).await?;
        Ok(list.unwrap_or_else(|| Response::new(T::default(), Deviations::default())))
    }

    /// Sends a request. A bank that refuses it with balances, perhaps because of the balances, is
    /// asked without.
    async fn send(&self, mut url: Url) -> Result<Answer, Error> {
        loop {
            let without = without_balances(&url);
            // What a list is read in stays small.
            let outcome = Box::pin(self.bank.send(self.request(url))).await;
            match (outcome, without) {
                (Err(error), Some(without)) if error.may_be_about_balances() => url = without,
                (outcome, _) => return outcome,
            }
        }
    }

    fn request(&self, url: Url) -> Request<'_> {
        Request {
            consent: Some(&self.consent_id),
            psu: self.psu,
            ..Request::new(Method::GET, url)
        }
    }
}

/// The address without `withBalance`, if that is in it.
fn without_balances(url: &Url) -> Option<Url> {
    let (balances, others): (Vec<_>, Vec<_>) = url
        .query_pairs()
        .partition(|(name, _)| name == "withBalance");
    let mut without = url.clone();
    without.set_query(None);
    if !others.is_empty() {
        without.query_pairs_mut().extend_pairs(others);
    }
    (!balances.is_empty()).then_some(without)
}

impl Bank {
    /// Sends a request whose answer has a body of that type.
    pub(crate) async fn ask<T: ValidateResponse>(
        &self,
        request: Request<'_>,
    ) -> Result<Response<T>, Error> {
        self.ask_with_headers(request).await.map(|(body, _)| body)
    }

    /// The same, where the answer's header fields say something too.
    pub(crate) async fn ask_with_headers<T: ValidateResponse>(
        &self,
        request: Request<'_>,
    ) -> Result<(Response<T>, HeaderMap), Error> {
        let answer = self.send(request).await?;
        let body = self.read(&answer, None)?;
        Ok((body, answer.headers))
    }

    /// An answer's body, read as JSON that conforms.
    pub(crate) fn json<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Error> {
        self.decode(answer, |shape| shape.decode(&answer.body))
    }

    /// An answer's body, and what deviates in it; about an account whose currency may be known.
    fn read<T: ValidateResponse>(
        &self,
        answer: &Answer,
        currency: Option<Currency>,
    ) -> Result<Response<T>, Error> {
        let body = self.decode(answer, |shape| {
            read(self.name(), &answer.body, shape, currency)
        })?;
        let deviations = &body.deviations;
        if let Some(first) = deviations.iter().next() {
            tracing::warn!(
                bank = self.name(),
                deviations = deviations.total(),
                left_out = deviations.left_out(),
                first = first.field(),
                "the answer deviates from the standard",
            );
        }
        Ok(body)
    }

    fn decode<T>(
        &self,
        answer: &Answer,
        decode: impl FnOnce(&Shape) -> Result<T, Malformed>,
    ) -> Result<T, Error> {
        let Some(shape) = &answer.shape else {
            return Err(self.malformed("Content-Type", "expected application/json"));
        };
        decode(shape).map_err(|fault| self.malformed(fault.path, fault.reason))
    }

    /// A body that we send.
    pub(crate) fn body_of(&self, body: &impl Serialize) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(body).map_err(|fault| self.unsendable("body", fault.to_string()))
    }

    /// Sends a request whose answer has no body.
    pub(crate) async fn tell(&self, request: Request<'_>) -> Result<(), Error> {
        self.send(request).await.map(|_| ())
    }

    /// What goes on the wire, the same at each attempt.
    pub(crate) fn outgoing(
        &self,
        request: Request<'_>,
        request_id: Uuid,
    ) -> Result<reqwest::Request, Error> {
        let value = |name: &str, value: &str| {
            HeaderValue::from_str(value).map_err(|_| self.unsendable(name, "not plain text"))
        };
        let mut outgoing = reqwest::Request::new(request.method, request.url);
        let headers = outgoing.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // A small answer that unpacks into a large one would pass by the limit (RFC 9110, section
        // 12.5.3).
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(
            "x-request-id",
            value("X-Request-ID", &request_id.to_string())?,
        );
        if let Some(consent) = request.consent {
            headers.insert("consent-id", value("Consent-ID", consent)?);
        }
        if let Some(psu) = request.psu {
            headers.insert("psu-ip-address", value("PSU-IP-Address", &psu.to_string())?);
        }
        for (name, text) in request.headers {
            // As they are written in the standard; on the wire, case says nothing (RFC 9110,
            // section 5.1).
            let known = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| self.unsendable(name, "not the name of a header"))?;
            headers.insert(known, value(name, &text)?);
        }
        if request.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        #[cfg(feature = "opentelemetry")]
        crate::trace_context::carry(headers);
        headers.extend(request.extra);
        *outgoing.body_mut() = request.body.map(Into::into);
        Ok(outgoing)
    }

    /// Sends a request once. `told` is the limit that an error tells of.
    pub(crate) async fn attempt(
        &self,
        outgoing: &reqwest::Request,
        request_id: Uuid,
        limit: Duration,
        told: Duration,
    ) -> Result<Answer, Failed> {
        let answer = tokio::time::timeout(limit, self.exchange_or_alert(outgoing))
            .await
            .map_err(|_| self.error(ErrorKind::Timeout { limit: told }))??;
        if !answer.status.is_success() {
            return Err(Failed {
                error: self.refused(&answer, request_id),
                answer: Some(answer),
            });
        }
        // A bank that does not echo the id is forgiven; one that answers another request is not.
        let echo = answer.headers.get("x-request-id");
        let sent = request_id.to_string();
        // A UUID is the same in either case (RFC 9562, section 4).
        if echo.is_some_and(|echo| !echo.as_bytes().eq_ignore_ascii_case(sent.as_bytes())) {
            let reason = "the answer is to another request";
            return Err(self.malformed("X-Request-ID", reason).into());
        }
        Ok(answer)
    }

    async fn exchange_or_alert(&self, outgoing: &reqwest::Request) -> Result<Answer, Error> {
        let connections = self
            .connections()
            .map_err(|error| self.unreachable(&error))?;
        let mut outcome = self.exchange(&connections, outgoing).await;
        if let Err(Error {
            kind: kind @ ErrorKind::Interrupted { .. },
            ..
        }) = &mut outcome
            && let Some(alert) = self.ask_for_alert(&connections).await
        {
            *kind = ErrorKind::TheyRefused { alert };
        }
        outcome
    }

    /// If the connection broke because the bank does not want us: the reason it gives.
    async fn ask_for_alert(&self, connections: &Connections) -> Option<Alert> {
        let asking = ask_for_alert(&connections.secured()?.tls, &self.inner.base);
        tokio::time::timeout(self.inner.limits.connecting, asking)
            .await
            .ok()?
    }

    fn unreachable(&self, error: &ConfigurationError) -> Error {
        let cause = error.to_string();
        self.error(ErrorKind::Unreachable { cause })
    }

    async fn exchange(
        &self,
        connections: &Connections,
        outgoing: &reqwest::Request,
    ) -> Result<Answer, Error> {
        let failed = |error: reqwest::Error| {
            let connecting = self.inner.limits.connecting;
            self.error(if error.is_timeout() {
                ErrorKind::Timeout { limit: connecting }
            } else {
                let verifier = connections.secured().map(|secured| &*secured.verifier);
                explain(&error, verifier)
            })
        };
        // Only a body that is a stream could not be had again, and ours never is.
        let outgoing = outgoing
            .try_clone()
            .ok_or_else(|| self.unsendable("body", "it can be sent only once"))?;
        let first = connections.first(self.inner.limits.connecting).await;
        let mut incoming = connections
            .client()
            .execute(outgoing)
            .await
            .map_err(failed)?;
        drop(first);
        let status = incoming.status();
        if status.is_redirection() {
            return Err(self.redirected(incoming.headers()));
        }
        if let Some(encoding) = encoding(incoming.headers()) {
            // What a refusal says in a foreign tongue is not heard; that it is one is.
            return if status.is_success() {
                Err(self.error(ErrorKind::Encoded { encoding }))
            } else {
                Ok(Answer {
                    status,
                    headers: incoming.headers().clone(),
                    body: Vec::new(),
                    shape: None,
                })
            };
        }
        let limit = self.inner.limits.answer;
        let too_large = || self.error(ErrorKind::TooLarge { limit });
        let announced = incoming.content_length().unwrap_or(0);
        if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        let mut shape = is_json(incoming.headers()).then(Shape::default);
        while let Some(chunk) = incoming.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            if let Some(shape) = &mut shape {
                shape.see(&chunk);
                self.check_shape(shape)?;
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            headers: incoming.headers().clone(),
            body,
            shape,
        })
    }

    /// A bomb is cut off while it comes in: a few bytes of JSON can take a kilobyte of memory once
    /// they are decoded.
    fn check_shape(&self, shape: &Shape) -> Result<(), Error> {
        let limit = self.inner.limits.entries;
        if shape.elements() > limit {
            return Err(self.error(ErrorKind::TooMany { limit }));
        }
        if shape.is_too_deep() {
            let reason = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(self.malformed(".", reason));
        }
        Ok(())
    }

    fn redirected(&self, headers: &HeaderMap) -> Error {
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.unwrap_or("(nowhere)").chars().take(200).collect();
        self.error(ErrorKind::Redirect { location })
    }

    fn refused(&self, answer: &Answer, request_id: Uuid) -> Error {
        let status = answer.status.as_u16();
        let retry_after = retry_after(&answer.headers, self.inner.clock.now());
        self.error(match self.messages(answer) {
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
        })
    }

    /// The reasons of a refusal, where the body gives them, whatever media type it claims.
    fn messages(&self, answer: &Answer) -> Option<Vec<TppMessage>> {
        if answer.body.len() > MAX_REFUSAL_BYTES {
            return None;
        }
        let shape = answer.shape.clone().unwrap_or_else(|| {
            let mut shape = Shape::default();
            shape.see(&answer.body);
            shape
        });
        if shape.elements() > self.inner.limits.entries {
            return None;
        }
        let read = shape.decode::<TppMessages>(&answer.body).ok()?;
        Some(read.tpp_messages)
    }
}

/// In which way an answer is encoded, if it is (RFC 9110, section 8.4).
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
