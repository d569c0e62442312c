//! Low-level HTTP client for a bank's endpoints that have no method in the SDK.
//!
//! Its requests use the same certificate, trust anchors, limits, retries, circuit breaker and
//! `X-Request-ID` as the SDK's own calls, and return the same errors. They go to the bank only: a
//! path that leads to another host is an error, and nothing is sent.
//!
//! ```no_run
//! # async fn example(bank: bank_client::Bank) -> Result<(), bank_client::Error> {
//! #[derive(serde::Deserialize)]
//! struct StandingOrders {
//!     orders: Vec<serde_json::Value>,
//! }
//!
//! let response = bank
//!     .http()
//!     .get("v1/standing-orders")
//!     .query("state", "active")
//!     .consent("0f7a…")
//!     .send()
//!     .await?;
//! let standing: StandingOrders = response.json()?;
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
use crate::transport::{RawResponse, Request, json_body};

/// Header fields that callers cannot set, because the SDK or the HTTP connection sets them.
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

/// Low-level HTTP client of one bank, from [`Bank::http`].
#[derive(Debug, Clone)]
pub struct Http(Bank);

impl Bank {
    /// Low-level HTTP client, for endpoints that have no method in the SDK.
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

    /// Starts a request. A relative `path`, such as `v1/accounts`, is appended to the bank's base
    /// URL. A path that begins with `/`, or a URL, replaces it, but must have the same host.
    pub fn request(&self, method: Method, path: &str) -> HttpRequest {
        let bank = self.0.clone();
        let mut base = bank.inner.base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let (url, problem) = match follow(&bank.inner.base, &base, path) {
            Ok(url) => (url, None),
            Err(LinkError::Foreign(_)) => (base, Some("it leads to another host")),
            Err(LinkError::NotAUrl) => (base, Some("it is not a path")),
        };
        HttpRequest {
            error: problem.map(|reason| ErrorKind::unsendable("path", reason)),
            bank,
            request: Request::new(method, url),
        }
    }
}

/// Builder of a request. [`send`](Self::send) returns the first error of the other methods.
#[must_use = "a request is sent by `send` only"]
pub struct HttpRequest {
    bank: Bank,
    request: Request,
    /// The first error in the request.
    error: Option<ErrorKind>,
}

impl HttpRequest {
    /// Adds a query parameter.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.request.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Sets a header field, in place of any of the same name. Fields that the SDK or the connection
    /// sets, such as `X-Request-ID` and `Host`, are an error.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        match (parsed, HeaderValue::from_str(value)) {
            (Ok(name), Ok(_)) if RESERVED.contains(&name.as_str()) => {
                self.fail(name.as_str(), "set by the SDK or the connection");
            }
            (Ok(name), Ok(value)) => {
                self.request.extra.insert(name, value);
            }
            (Ok(name), Err(_)) => self.fail(name.as_str(), "not plain text"),
            // The error does not quote an invalid name, which may contain anything.
            (Err(_), _) => self.fail("header", "not a valid header name"),
        }
        self
    }

    /// Sets the consent (`Consent-ID`).
    pub fn consent(mut self, consent_id: impl Into<String>) -> Self {
        self.request.consent = Some(consent_id.into());
        self
    }

    /// Sets the IP address of the customer's device (`PSU-IP-Address`): the customer is present.
    pub fn psu_ip_address(mut self, psu: IpAddr) -> Self {
        self.request.psu = Some(psu);
        self
    }

    /// Sets the `X-Request-ID`. A request that is repeated with the same id takes effect once.
    /// Default: a random id.
    pub fn request_id(mut self, id: Uuid) -> Self {
        self.request.id = Some(id);
        self
    }

    /// Sets a JSON body.
    pub fn json_body(mut self, body: &impl Serialize) -> Self {
        match json_body(body) {
            Ok(body) => self.request.body = Some(body),
            Err(error) => _ = self.error.get_or_insert(error),
        }
        self
    }

    /// Sets a body of any content type.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut builder = self.header("Content-Type", content_type);
        builder.request.body = Some(body.into());
        builder
    }

    /// Returns responses with an error status too. By default they are an error
    /// ([`ErrorKind::Refused`] or
    /// [`ErrorKind::Status`]). Redirects remain an error, and retries do
    /// not change.
    pub const fn any_status(mut self) -> Self {
        self.request.any_status = true;
        self
    }

    /// Sends the request, and reads the response.
    pub async fn send(self) -> Result<Response, Error> {
        if let Some(error) = self.error {
            return Err(self.bank.error(error));
        }
        let response = self.bank.execute(self.request).await?;
        Ok(Response {
            bank: self.bank,
            response,
        })
    }

    /// Keeps an error, unless there is one already.
    fn fail(&mut self, part: &str, reason: &str) {
        self.error
            .get_or_insert_with(|| ErrorKind::unsendable(part, reason));
    }
}

/// Omits ids, headers and body, which may be confidential.
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("bank", &self.bank.name())
            .field("method", &self.request.method)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// A bank's response.
pub struct Response {
    bank: Bank,
    response: RawResponse,
}

impl Response {
    /// HTTP status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.response.status
    }

    /// Header fields.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.response.headers
    }

    /// Body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.response.body
    }

    /// Consumes the response, and returns its body.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.response.body
    }

    /// Decodes the body as JSON. Errors contain the path of the invalid value, and no data of the
    /// bank.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let decoded =
            (self.response.shape()).and_then(|shape| Ok(shape.decode(&self.response.body)?));
        decoded.map_err(|kind| self.bank.error(kind))
    }
}

/// Omits headers and body, which may be confidential.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("bank", &self.bank.name())
            .field("status", &self.response.status)
            .field("bytes", &self.response.body.len())
            .finish_non_exhaustive()
    }
}
