//! TPPs that send requests throughout the faults, and record every acknowledged result.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bank_client::environment::{Randomness as _, SystemRandomness};
use fixtures::openssl_client::{OpensslClientError, Reaction, Tls, call};
use fixtures::pki::Identity;

use super::{PACE, PATIENCE};
use crate::consent_requests::PSU;
use crate::http::Response;

/// Results of the requests, so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) answered: AtomicUsize,
    pub(super) acknowledged: AtomicUsize,
    pub(super) refused: AtomicUsize,
    pub(super) broken: AtomicUsize,
}

/// State that the clients share.
pub(super) struct Load {
    pub(super) identity: Identity,
    /// For everything, with as good as no limit.
    pub(super) consent: String,
    pub(super) consent_body: String,
    pub(super) places: Mutex<Vec<SocketAddr>>,
    pub(super) enough: AtomicBool,
    pub(super) tally: Tally,
    pub(super) reads: AtomicUsize,
    pub(super) wrong: Mutex<Vec<String>>,
    pub(super) known: Mutex<Vec<Known>>,
}

/// Responses to a client.
pub(super) struct Known {
    pub(super) consent: String,
    pub(super) status: &'static str,
    pub(super) authorisation: String,
}

impl Load {
    /// One request, and its answer, if there is one.
    pub(super) async fn ask(
        &self,
        place: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Response> {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "X-Request-ID") {
            request += &format!("X-Request-ID: {}\r\n", SystemRandomness.uuid());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            request += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        request = request + "\r\n" + body;
        let identity = self.identity.clone();
        let answer =
            tokio::task::spawn_blocking(move || call(place, Some(&identity), Tls::V1_3, &request));
        match answer.await.unwrap() {
            Ok(outcome) => match outcome.reaction {
                Reaction::Http(bytes) if whole(&bytes) => Some(Response::read(&bytes)),
                _ => None,
            },
            Err(OpensslClientError::Network(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

fn one_more(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::SeqCst);
}

/// Whether the answer has arrived to its end. A process that is killed may leave half of one.
fn whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let answer = Response::read(bytes);
    let length = answer.header("content-length");
    length.is_none_or(|length| length.parse() == Ok(bytes.len() - end - 4))
}

pub(super) struct Client {
    pub(super) load: Arc<Load>,
    pub(super) turn: usize,
}

impl Client {
    pub(super) async fn keep_asking(mut self) {
        while !self.load.enough.load(Ordering::SeqCst) {
            self.round().await;
        }
    }

    /// Creates a consent and an authorisation, reads accounts, and deletes every second consent.
    /// Repeats each request until there is a response; repeats the creations once more.
    async fn round(&mut self) {
        let body = self.load.consent_body.clone();
        let id = SystemRandomness.uuid().to_string();
        // Otherwise the bank begins an authorisation along with it.
        let explicit = ("TPP-Explicit-Authorisation-Preferred", "true");
        let headers = [("X-Request-ID", id.as_str()), PSU, explicit];
        let Some(consent) = self
            .create("/v1/consents", &headers, &body, "consentId")
            .await
        else {
            return;
        };
        let path = format!("/v1/consents/{consent}");
        self.shows(&path, "received").await;
        let id = SystemRandomness.uuid().to_string();
        let headers = [("X-Request-ID", id.as_str()), PSU];
        let authorisations = format!("{path}/authorisations");
        let Some(authorisation) = self
            .create(&authorisations, &headers, "{}", "authorisationId")
            .await
        else {
            return;
        };
        let accounts = self.load.consent.clone();
        let accounts = [("Consent-ID", accounts.as_str())];
        if self
            .until_answered("GET", "/v1/accounts", &accounts, "", 200)
            .await
            .is_some()
        {
            one_more(&self.load.reads);
        }
        let ends = self.turn.is_multiple_of(2);
        if ends {
            let ended = self.until_answered("DELETE", &path, &[], "", 204).await;
            if ended.is_none() {
                return;
            }
            one_more(&self.load.tally.acknowledged);
        }
        let status = if ends { "terminatedByTpp" } else { "received" };
        self.shows(&path, status).await;
        self.load.known.lock().unwrap().push(Known {
            consent,
            status,
            authorisation,
        });
    }

    /// Creates a resource. A repetition of the same request must return the same id.
    async fn create(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        id: &str,
    ) -> Option<String> {
        let first = self
            .until_answered("POST", path, headers, body, 201)
            .await?;
        one_more(&self.load.tally.acknowledged);
        let again = self
            .until_answered("POST", path, headers, body, 201)
            .await?;
        let (first, again) = (first.json()[id].clone(), again.json()[id].clone());
        if first != again {
            self.load
                .is_wrong(format!("POST {path}: {first}, and again {again}"));
        }
        Some(first.as_str()?.to_owned())
    }

    async fn shows(&mut self, path: &str, status: &str) {
        let path = format!("{path}/status");
        if let Some(answer) = self.until_answered("GET", &path, &[], "", 200).await {
            let shown = answer.json();
            if shown["consentStatus"] != status {
                self.load
                    .is_wrong(format!("GET {path}: {shown} instead of {status}"));
            }
        }
    }

    /// Sends a request to one replica after the other, until one responds. Fails on any response
    /// but the expected one.
    async fn until_answered(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        expected: u16,
    ) -> Option<Response> {
        let begun = Instant::now();
        loop {
            self.turn += 1;
            let place = {
                let places = self.load.places.lock().unwrap();
                places[self.turn % places.len()]
            };
            tokio::time::sleep(PACE).await;
            match self.load.ask(place, method, path, headers, body).await {
                Some(answer) if answer.status == expected => {
                    one_more(&self.load.tally.answered);
                    return Some(answer);
                }
                Some(answer) if answer.status == 503 => {
                    one_more(&self.load.tally.refused);
                }
                Some(answer) => {
                    let body = String::from_utf8_lossy(&answer.body);
                    let status = answer.status;
                    self.load
                        .is_wrong(format!("{method} {path}: {status} {body}"));
                    return None;
                }
                None => {
                    one_more(&self.load.tally.broken);
                }
            }
            if begun.elapsed() > PATIENCE {
                self.load.is_wrong(format!("{method} {path}: no answer"));
                return None;
            }
        }
    }
}
