//! The one way in which a request reaches a bank, and its answer us.

use std::net::IpAddr;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_types::alert::Alert;
use shared_types::decode::decode;
use shared_types::message::TppMessages;
use uuid::Uuid;

use crate::bank::Bank;
use crate::connections::Connections;
use crate::error::{Error, ErrorKind};
use crate::transport_error::{ask_for_alert, explain};

/// One request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) consent: Option<&'a str>,
    pub(crate) psu: Option<IpAddr>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Request<'_> {
    /// One with nothing but that.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            consent: None,
            psu: None,
            headers: Vec::new(),
            body: None,
        }
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
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
    /// Reads what is at that address.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        let request = Request {
            consent: Some(&self.consent_id),
            psu: self.psu,
            ..Request::new(Method::GET, url)
        };
        self.bank.ask(request).await
    }
}

impl Bank {
    /// Sends a request whose answer has a body of that type.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: Request<'_>) -> Result<T, Error> {
        self.ask_with_headers(request).await.map(|(body, _)| body)
    }

    /// The same, where the answer's header fields say something too.
    pub(crate) async fn ask_with_headers<T: DeserializeOwned>(
        &self,
        request: Request<'_>,
    ) -> Result<(T, HeaderMap), Error> {
        let answer = self.send(request).await?;
        if !is_json(&answer.headers) {
            return Err(self.malformed("Content-Type", "expected application/json"));
        }
        let body =
            decode(&answer.body).map_err(|fault| self.malformed(fault.path, fault.reason))?;
        Ok((body, answer.headers))
    }

    /// A body that we send.
    pub(crate) fn body_of(&self, body: &impl Serialize) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(body).map_err(|fault| self.malformed("request", fault.to_string()))
    }

    /// Sends a request whose answer has no body.
    pub(crate) async fn tell(&self, request: Request<'_>) -> Result<(), Error> {
        self.send(request).await.map(|_| ())
    }

    /// The one way in which a request reaches the bank.
    async fn send(&self, request: Request<'_>) -> Result<Answer, Error> {
        let limit = self.inner.limits.call;
        let request_id = self.inner.randomness.uuid();
        let exchange = async {
            let connections = self
                .connections()
                .map_err(|error| self.unreachable(&error))?;
            let mut outcome = self.exchange(&connections, request, request_id).await;
            if let Err(Error {
                kind: kind @ ErrorKind::Interrupted { .. },
                ..
            }) = &mut outcome
                && let Some(alert) = self.ask_for_alert(&connections).await
            {
                *kind = ErrorKind::TheyRefused { alert };
            }
            outcome
        };
        let answer = tokio::time::timeout(limit, exchange)
            .await
            .map_err(|_| self.error(ErrorKind::Timeout { limit }))??;
        if answer.status.is_redirection() {
            let location = answer
                .headers
                .get(LOCATION)
                .and_then(|value| value.to_str().ok());
            let location = location.unwrap_or("(nowhere)").chars().take(200).collect();
            return Err(self.error(ErrorKind::Redirect { location }));
        }
        if !answer.status.is_success() {
            return Err(self.refused(&answer, request_id));
        }
        // A bank that does not echo the id is forgiven; one that answers another request is not.
        let echo = answer.headers.get("x-request-id");
        if echo.is_some_and(|echo| echo.as_bytes() != request_id.to_string().as_bytes()) {
            return Err(self.malformed("X-Request-ID", "the answer is to another request"));
        }
        Ok(answer)
    }

    /// If the connection broke because the bank does not want us: the reason it gives.
    async fn ask_for_alert(&self, connections: &Connections) -> Option<Alert> {
        let asking = ask_for_alert(connections.tls(), &self.inner.base);
        tokio::time::timeout(self.inner.limits.connecting, asking)
            .await
            .ok()?
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let cause = error.to_string();
        self.error(ErrorKind::Unreachable { cause })
    }

    async fn exchange(
        &self,
        connections: &Connections,
        request: Request<'_>,
        request_id: Uuid,
    ) -> Result<Answer, Error> {
        let failed = |error: reqwest::Error| {
            let connecting = self.inner.limits.connecting;
            self.error(if error.is_timeout() {
                ErrorKind::Timeout { limit: connecting }
            } else {
                explain(&error, connections.verifier())
            })
        };
        let mut outgoing = connections
            .client()
            .request(request.method, request.url)
            .header(ACCEPT, "application/json")
            .header("X-Request-ID", request_id.to_string());
        if let Some(consent) = request.consent {
            let value = HeaderValue::from_str(consent)
                .map_err(|_| self.malformed("Consent-ID", "the id of a consent is plain text"))?;
            outgoing = outgoing.header("Consent-ID", value);
        }
        if let Some(psu) = request.psu {
            outgoing = outgoing.header("PSU-IP-Address", psu.to_string());
        }
        for (name, value) in request.headers {
            let value = HeaderValue::from_str(&value)
                .map_err(|_| self.malformed(name, "a header is plain text"))?;
            outgoing = outgoing.header(name, value);
        }
        if let Some(body) = request.body {
            outgoing = outgoing.header(CONTENT_TYPE, "application/json").body(body);
        }
        let first = connections.first(self.inner.limits.connecting).await;
        let mut incoming = outgoing.send().await.map_err(failed)?;
        drop(first);
        let mut body = Vec::new();
        while let Some(chunk) = incoming.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.inner.limits.answer {
                return Err(self.error(ErrorKind::TooLarge {
                    limit: self.inner.limits.answer,
                }));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: incoming.status(),
            headers: incoming.headers().clone(),
            body,
        })
    }

    fn refused(&self, answer: &Answer, request_id: Uuid) -> Error {
        let status = answer.status.as_u16();
        let messages = if is_json(&answer.headers) {
            decode::<TppMessages>(&answer.body).ok()
        } else {
            None
        };
        self.error(match messages {
            Some(TppMessages {
                tpp_messages: messages,
            }) => ErrorKind::Refused {
                status,
                messages,
                request_id,
            },
            None => ErrorKind::Status { status, request_id },
        })
    }
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
}
