//! Execution of an SDK call: attempts, retries, tracing span and log events.
//!
//! Each call is a `tracing` span named `call`, with the bank, the operation, the request id and, at
//! its end, attempts, status and duration. Operations are templates (`GET
//! /v1/accounts/{id}/balances`); no id of an account or a consent, and no word of the bank's own,
//! reaches the log.
//!
//! What a call costs us, beside the network: a request id from the source of chance, a handful of
//! header fields, one lock held for a look at the connections (and one for a look at the circuit,
//! where there is a breaker), and the decoding of the answer in one pass after another that counts
//! it. Without a subscriber the spans cost a load and a branch. A kept connection makes it one
//! round trip; a new one adds one for TCP and one for TLS 1.3.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::{Instant, sleep};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span, debug, info, info_span, warn};
use uuid::Uuid;

use crate::bank::Bank;
use crate::breaker::{Change, Circuit, Leave};
use crate::error::{Error, ErrorKind};
use crate::transport::{Answer, Failed, Request};

impl Bank {
    /// The one way in which a request reaches the bank.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, Error> {
        let request_id = request.id.unwrap_or_else(|| self.inner.randomness.uuid());
        let span = info_span!(
            "call",
            bank = self.name(),
            operation = %Operation(&request.method, template(&self.inner.base, &request.url)),
            %request_id,
            attempts = Empty,
            status = Empty,
            took_ms = Empty,
        );
        self.attempts(request, request_id).instrument(span).await
    }

    async fn attempts(&self, request: Request<'_>, request_id: Uuid) -> Result<Answer, Error> {
        let any_status = request.any_status;
        let once = is_told_once(&request.url);
        let has_effect = request.method != reqwest::Method::GET;
        let outgoing = self.outgoing(request, request_id)?;
        let started = Instant::now();
        let mut made = 0;
        let mut unsure = None;
        let failed = loop {
            let pass = match self.admit() {
                Ok(pass) => pass,
                Err(error) if made == 0 => return Err(error),
                Err(error) => break error.into(),
            };
            let (limit, told) = self.limit(started.elapsed());
            made += 1;
            let failed = match self.attempt(&outgoing, request_id, limit, told).await {
                Ok(answer) => {
                    pass.note(None);
                    close(made, started, Some(answer.status.as_u16()));
                    debug!("answered");
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            let kind = &failed.error.kind;
            let opened = pass.note(Some(kind));
            let pause = if opened || once {
                None
            } else {
                self.pause(made, kind, started.elapsed())
            };
            let Some(pause) = pause else { break failed };
            if has_effect && failed.error.may_have_been_heard() {
                unsure = Some(failed.error.clone());
            }
            info!(
                attempt = made,
                cause = kind.label(),
                "retrying in {} ms",
                pause.as_millis()
            );
            sleep(pause).await;
        };
        self.conclude(made, started, last_word(unsure, failed), any_status)
    }

    fn conclude(
        &self,
        made: u32,
        started: Instant,
        failed: Failed,
        any_status: bool,
    ) -> Result<Answer, Error> {
        let Failed { error, answer } = failed;
        close(made, started, error.kind.status());
        match answer {
            Some(answer) if any_status => {
                debug!(cause = error.kind.label(), "answered");
                Ok(answer)
            }
            _ => {
                let cause = error.kind.label();
                if error.is_transient() && self.inner.retries.is_some() {
                    warn!(
                        cause,
                        "gave up after {made} attempt{}",
                        if made == 1 { "" } else { "s" }
                    );
                } else {
                    info!(cause, "failed");
                }
                Err(error)
            }
        }
    }

    /// For how long an attempt may take, and of which limit to tell if it does not do.
    fn limit(&self, spent: Duration) -> (Duration, Duration) {
        let call = self.inner.limits.call;
        match &self.inner.retries {
            Some(retries) if retries.overall.saturating_sub(spent) < call => {
                (retries.overall.saturating_sub(spent), retries.overall)
            }
            _ => (call, call),
        }
    }

    fn pause(&self, made: u32, kind: &ErrorKind, spent: Duration) -> Option<Duration> {
        let retries = self.inner.retries.as_ref()?;
        let bytes = self.inner.randomness.bytes();
        let chance = u64::from_be_bytes(*bytes.first_chunk()?);
        retries.pause(made, kind, retries.overall.saturating_sub(spent), chance)
    }

    fn admit(&self) -> Result<Pass<'_>, Error> {
        let Some(circuit) = &self.inner.circuit else {
            return Ok(Pass {
                bank: self,
                leave: None,
            });
        };
        let now = self.inner.clock.now();
        match locked(circuit, |circuit| circuit.admit(now)) {
            Ok(leave) => {
                if leave == Leave::Probe {
                    info!("the circuit is half open: asking whether the bank is well again");
                }
                Ok(Pass {
                    bank: self,
                    leave: Some((circuit, leave)),
                })
            }
            Err(kind) => {
                debug!("not asked: the circuit is open");
                Err(self.error(kind))
            }
        }
    }
}

/// What is told of several attempts: how the last one failed. But if that one did not reach the
/// bank, or was put off, it says nothing of an earlier one, which may have had its effect: then
/// that is told.
fn last_word(unsure: Option<Error>, last: Failed) -> Failed {
    match unsure {
        Some(unsure) if !last.error.is_refusal() && !last.error.may_have_been_heard() => {
            unsure.into()
        }
        _ => last,
    }
}

/// Leave to ask the bank once. Dropped without a note, it says that the call was given up by its
/// caller.
struct Pass<'a> {
    bank: &'a Bank,
    leave: Option<(&'a Mutex<Circuit>, Leave)>,
}

impl Pass<'_> {
    /// Tells how the call ended; `true` if that opened the circuit.
    fn note(mut self, failure: Option<&ErrorKind>) -> bool {
        let Some((circuit, leave)) = self.leave.take() else {
            return false;
        };
        let now = self.bank.inner.clock.now();
        match locked(circuit, |circuit| circuit.note(leave, failure, now)) {
            Some(Change::Opened { until }) => {
                let cause = failure.map(ErrorKind::label).unwrap_or_default();
                warn!(cause, until = %until.format("%FT%TZ"), "the circuit is open: leaving the bank alone");
                true
            }
            Some(Change::Closed) => {
                info!("the circuit is closed: the bank is well again");
                false
            }
            None => false,
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if let Some((circuit, leave)) = self.leave.take() {
            locked(circuit, |circuit| circuit.abandon(leave));
        }
    }
}

fn locked<T>(circuit: &Mutex<Circuit>, look: impl FnOnce(&mut Circuit) -> T) -> T {
    // The circuit is replaced whole: no state of it is half done.
    look(&mut circuit.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Result of a call, for its span and log event.
fn close(made: u32, started: Instant, status: Option<u16>) {
    let span = Span::current();
    span.record("attempts", made);
    span.record("took_ms", display(started.elapsed().as_millis()));
    if let Some(status) = status {
        span.record("status", status);
    }
}

/// A method and the template of a path.
struct Operation<'a>(&'a reqwest::Method, String);

impl std::fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// The path of a resource without what names one: only the standard's own words are kept.
fn template(base: &Url, url: &Url) -> String {
    let base = base.path().trim_end_matches('/');
    let path = url.path();
    let path = path
        .strip_prefix(base)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path);
    path.split('/')
        .skip(1)
        .fold(String::new(), |kept, segment| {
            let known = WORDS.binary_search(&segment).is_ok();
            kept + "/" + if known { segment } else { "{id}" }
        })
}

/// The words in the standard's paths, sorted.
const WORDS: &[&str] = &[
    "accounts",
    "authorisations",
    "balances",
    "bulk-payments",
    "cancellation-authorisations",
    "card-accounts",
    "consents",
    "funds-confirmations",
    "payments",
    "periodic-payments",
    "signing-baskets",
    "status",
    "transactions",
    "v1",
    "v2",
];

/// Whether the bank tells what is asked for once only: what is new since its last report
/// (`deltaList`). If such an answer is lost, asking again would get another one, in which it is
/// missing, unnoticed.
fn is_told_once(url: &Url) -> bool {
    url.query_pairs()
        .any(|(name, value)| name == "deltaList" && value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_nothing_that_names_an_account_or_a_consent() {
        let base = Url::parse("https://bank.example/psd2/xs2a").unwrap();
        for (path, expected) in [
            ("/psd2/xs2a/v1/accounts", "/v1/accounts"),
            (
                "/psd2/xs2a/v1/accounts/DE02120300000000202051/balances?withBalance=true",
                "/v1/accounts/{id}/balances",
            ),
            ("/v1/consents/c-1/status", "/v1/consents/{id}/status"),
            ("/psd2/xs2a-other/v1/accounts", "/{id}/{id}/v1/accounts"),
            ("/", "/{id}"),
            ("/page/9f2c", "/{id}/{id}"),
        ] {
            let url = base.join(path).unwrap();
            assert_eq!(template(&base, &url), expected, "{path}");
        }
        assert!(WORDS.is_sorted());
    }

    #[test]
    fn an_attempt_that_may_have_been_heard_is_not_forgotten() {
        let error = |kind| Error {
            bank: "Bank B".to_owned(),
            kind,
        };
        let timeout = error(ErrorKind::Timeout {
            limit: Duration::from_secs(1),
        });
        let unreachable = error(ErrorKind::Unreachable {
            cause: String::new(),
        });
        let status = |status| {
            error(ErrorKind::Status {
                status,
                request_id: Uuid::nil(),
                retry_after: None,
            })
        };
        for (unsure, last, told) in [
            (None, &unreachable, &unreachable),
            (Some(&timeout), &unreachable, &timeout),
            (Some(&timeout), &status(429), &timeout),
            (Some(&timeout), &status(503), &status(503)),
            // The bank knows the request by its id: what it says now is what became of it.
            (Some(&timeout), &status(400), &status(400)),
        ] {
            let failed = last_word(unsure.cloned(), last.clone().into());
            assert_eq!(&failed.error, told, "{unsure:?} {last:?}");
        }
    }
}
