//! TPP client that speaks HTTP/1.1 over OpenSSL and sends exactly the given bytes.

use std::io::{Read, Write};
use std::net::SocketAddr;

use fixtures::openssl_client::{self, CallOutcome, Reaction, Tls};
use fixtures::pki::Identity;
use serde_json::Value;

/// The request id of every request that does not bring its own.
pub const REQUEST_ID: &str = "99391c7e-ad88-49ec-a2ad-99ddcb1f7721";

/// The status of a consent that does not exist: a bank that accepts the certificate answers 403.
pub const STATUS_PATH: &str = "/v1/consents/none/status";

/// A request for [`STATUS_PATH`] on a connection that stays open.
pub const STATUS_REQUEST: &str = "GET /v1/consents/none/status HTTP/1.1\r\nHost: localhost\r\n\
                                  X-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\n\r\n";

/// A request for [`STATUS_PATH`] after which the bank ends the connection.
pub const LAST_STATUS_REQUEST: &str = "GET /v1/consents/none/status HTTP/1.1\r\nHost: localhost\r\n\
                                       X-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\n\
                                       Connection: close\r\n\r\n";

/// The alert with which a new TLS 1.3 connection is refused. Fails if it is not.
#[track_caller]
pub fn alert(address: SocketAddr, identity: &Identity) -> String {
    let met = openssl_client::call(address, Some(identity), Tls::V1_3, LAST_STATUS_REQUEST)
        .unwrap()
        .reaction;
    match met {
        Reaction::Alert(alert) => alert.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Sends the head of a request that has a body, and waits until the server wants that: the request
/// is in progress then.
pub fn begin_request(connection: &mut (impl Read + Write), head: &str) {
    write!(connection, "{head}\r\nExpect: 100-continue\r\n\r\n").unwrap();
    let mut go_on = [0; 25];
    connection.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[derive(Clone)]
pub struct Tpp {
    pub bank: SocketAddr,
    pub identity: Identity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|fault| panic!("no JSON ({fault}): {self:?}"))
    }

    /// Status, code and path of a refusal, in one text.
    pub fn refusal(&self) -> String {
        let body = self.json();
        let message = &body["tppMessages"][0];
        assert_eq!(message["category"], "ERROR", "{body}");
        assert!(
            message["text"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{body}"
        );
        let code = message["code"].as_str().unwrap();
        match message["path"].as_str() {
            Some(path) => format!("{} {code} {path}", self.status),
            None => format!("{} {code}", self.status),
        }
    }

    /// The common part of two answers to the same request: all but the date and the request id.
    /// The order of the header fields is chance.
    #[must_use]
    pub fn without_date_and_request_id(mut self) -> Self {
        self.headers.sort();
        self.headers
            .retain(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
        self
    }

    /// One whole answer, or its head alone.
    pub fn read(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("an HTTP head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self {
            status,
            headers,
            body: bytes[end + 4..].to_vec(),
        }
    }
}

impl Tpp {
    pub fn new(bank: SocketAddr, identity: Identity) -> Self {
        Self { bank, identity }
    }

    /// Sends bytes as they are, over TLS 1.3.
    pub async fn raw(&self, request: String) -> CallOutcome {
        let (bank, identity) = (self.bank, self.identity.clone());
        tokio::task::spawn_blocking(move || {
            openssl_client::call(bank, Some(&identity), Tls::V1_3, &request)
        })
        .await
        .unwrap()
        .unwrap()
    }

    /// Sends a request with an `X-Request-ID`, unless the headers bring one: an empty value leaves
    /// it out.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Response {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
        };
        let given = |name: &str| {
            headers
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if !given("X-Request-ID") {
            line("X-Request-ID", REQUEST_ID);
        }
        if let Some(body) = body {
            line("Content-Length", &body.len().to_string());
            if !given("Content-Type") {
                line("Content-Type", "application/json");
            }
        }
        for (name, value) in headers {
            line(name, value);
        }
        request.push_str("\r\n");
        request.push_str(body.unwrap_or_default());
        match self.raw(request).await.reaction {
            Reaction::Http(answer) => Response::read(&answer),
            other => panic!("{method} {path}: {other:?}"),
        }
    }

    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.send("GET", path, headers, None).await
    }

    /// Reads under a consent.
    pub async fn read(&self, path: &str, consent: &str) -> Response {
        self.get(path, &[("Consent-ID", consent)]).await
    }

    /// Posts with a request id of its own: one id has one effect.
    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        use bank_client::environment::{Randomness as _, SystemRandomness};

        let id = SystemRandomness.uuid().to_string();
        let own = [("X-Request-ID", id.as_str())];
        let brings_id = headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("X-Request-ID"));
        let headers: Vec<_> = if brings_id {
            headers.to_vec()
        } else {
            own.iter().chain(headers).copied().collect()
        };
        self.send("POST", path, &headers, Some(body)).await
    }
}
