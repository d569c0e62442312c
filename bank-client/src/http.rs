//! Low-level HTTP layer: calls for which the SDK has no method.
//!
//! A bank may offer more than account information. What it offers is reached here with all that the
//! SDK's own calls have: our certificate and the agreed authorities, limits, retries and the
//! circuit breaker, an `X-Request-ID`, and typed errors. A request stays with the bank: a path that
//! leads to another host is refused before anything is sent.
//!
//! ```no_run
//! # async fn example(bank: bank_client::Bank) -> Result<(), bank_client::Error> {
//! #[derive(serde::Deserialize)]
//! struct StandingOrders {
//!     orders: Vec<serde_json::Value>,
//! }
//!
//! let answer = bank
//!     .http()
//!     .get("v1/standing-orders")
//!     .query("state", "active")
//!     .consent("0f7a…")
//!     .send()
//!     .await?;
//! let standing: StandingOrders = answer.json()?;
//! println!("{} standing orders", standing.orders.len());
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::net::IpAddr;

pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::address::{LinkError, follow};
use crate::bank::Bank;
use crate::error::{Error, ErrorKind};
use crate::transport::{Answer, Request, json_body};

/// Header fields that are not a caller's to set: they are ours, or the connection's.
const RESERVED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// The open HTTP layer of one bank. [`Bank::http`] makes one.
#[derive(Debug, Clone)]
pub struct Http(Bank);

impl Bank {
    /// Calls that the SDK has no method for.
    #[must_use]
    pub fn http(&self) -> Http {
        Http(self.clone())
    }
}

impl Http {
    /// Starts a `GET`. See [`Http::request`].
    pub fn get(&self, path: &str) -> HttpRequest {
        self.request(Method::GET, path)
    }

    /// Starts a `POST`. See [`Http::request`].
    pub fn post(&self, path: &str) -> HttpRequest {
        self.request(Method::POST, path)
    }

    /// Starts a `PUT`. See [`Http::request`].
    pub fn put(&self, path: &str) -> HttpRequest {
        self.request(Method::PUT, path)
    }

    /// Starts a `DELETE`. See [`Http::request`].
    pub fn delete(&self, path: &str) -> HttpRequest {
        self.request(Method::DELETE, path)
    }

    /// Starts a request. `path` goes on from the bank's address (`v1/accounts`); one that begins
    /// with `/`, or a whole URL, is taken as the bank's own links are: it must lead to the same
    /// host.
    pub fn request(&self, method: Method, path: &str) -> HttpRequest {
        let bank = self.0.clone();
        let mut below = bank.inner.base.clone();
        if !below.path().ends_with('/') {
            below.set_path(&format!("{}/", below.path()));
        }
        let (url, fault) = match follow(&bank.inner.base, &below, path) {
            Ok(url) => (url, None),
            Err(LinkError::Foreign(_)) => (below, Some("it leads to another host")),
            Err(LinkError::NotAUrl) => (below, Some("it is not a path")),
        };
        HttpRequest {
            fault: fault.map(|reason| ErrorKind::unsendable("path", reason)),
            bank,
            request: Request::new(method, url),
        }
    }
}

/// A request that is being put together. What is wrong with it is told when it is sent.
#[must_use = "nothing happens before it is sent"]
pub struct HttpRequest {
    bank: Bank,
    request: Request,
    /// The first thing that is wrong.
    fault: Option<ErrorKind>,
}

impl HttpRequest {
    /// One more query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.request.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// A header field, instead of one of that name. Those that are ours or the connection's are
    /// refused.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        match (parsed, HeaderValue::from_str(value)) {
            (Ok(name), Ok(_)) if RESERVED.contains(&name.as_str()) => {
                self.refuse(name.as_str(), "not a caller's to set");
            }
            (Ok(name), Ok(value)) => {
                self.request.extra.insert(name, value);
            }
            (Ok(name), Err(_)) => self.refuse(name.as_str(), "not plain text"),
            // What is no name might be anything.
            (Err(_), _) => self.refuse("header", "not the name of one"),
        }
        self
    }

    /// Under that consent.
    pub fn consent(mut self, consent_id: impl Into<String>) -> Self {
        self.request.consent = Some(consent_id.into());
        self
    }

    /// The customer is present, and that is the address of her device.
    pub fn attended_by(mut self, psu: IpAddr) -> Self {
        self.request.psu = Some(psu);
        self
    }

    /// The `X-Request-ID`, where it is to be known beforehand: a request that is sent again with
    /// the same id has one effect. Without it, chance decides.
    pub fn request_id(mut self, id: Uuid) -> Self {
        self.request.id = Some(id);
        self
    }

    /// A body in JSON.
    pub fn json_body(mut self, body: &impl Serialize) -> Self {
        match json_body(body) {
            Ok(body) => self.request.body = Some(body),
            Err(fault) => _ = self.fault.get_or_insert(fault),
        }
        self
    }

    /// A body of another type.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut with = self.header("Content-Type", content_type);
        with.request.body = Some(body.into());
        with
    }

    /// Takes an answer with any status as an answer. Otherwise one without success is an error
    /// ([`ErrorKind::Refused`](crate::ErrorKind::Refused) or
    /// [`ErrorKind::Status`](crate::ErrorKind::Status)). Retries are as ever; a redirect remains an
    /// error.
    pub const fn any_status(mut self) -> Self {
        self.request.any_status = true;
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<Response, Error> {
        if let Some(fault) = self.fault {
            return Err(self.bank.error(fault));
        }
        let answer = self.bank.execute(self.request).await?;
        Ok(Response {
            bank: self.bank,
            answer,
        })
    }

    fn refuse(&mut self, part: &str, reason: &str) {
        self.fault
            .get_or_insert_with(|| ErrorKind::unsendable(part, reason));
    }
}

/// `Debug` shows neither ids nor what is sent.
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("bank", &self.bank.name())
            .field("method", &self.request.method)
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}

/// A bank's answer.
pub struct Response {
    bank: Bank,
    answer: Answer,
}

impl Response {
    /// Its status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.answer.status
    }

    /// Its header fields.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.answer.headers
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.answer.body
    }

    /// The body alone.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.answer.body
    }

    /// The body, decoded as JSON. An error has the place of a fault, and nothing that the bank
    /// sent.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let decoded = (self.answer.shape()).and_then(|shape| Ok(shape.decode(&self.answer.body)?));
        decoded.map_err(|kind| self.bank.error(kind))
    }
}

/// `Debug` does not show what the bank sent.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("bank", &self.bank.name())
            .field("status", &self.answer.status)
            .field("bytes", &self.answer.body.len())
            .finish_non_exhaustive()
    }
}
