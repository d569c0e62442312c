//! Execution of an SDK call: attempts, retries, tracing span and log events.
//!
//! Each call is a `tracing` span named `call`, with the bank, the operation, the request id and, at
//! its end, attempts, status and duration. Operations are templates (`GET
//! /v1/accounts/{id}/balances`); no id of an account or a consent, and no word of the bank's own,
//! reaches the log.
//!
//! Cost of a call beside the network: a request id from the source of chance, a handful of
//! header fields, one lock held for a look at the connections (and one for a look at the circuit,
//! where there is a breaker), and the decoding of the answer in one pass after another that counts
//! it. Without a subscriber the spans cost a load and a branch. A kept connection makes it one
//! round trip; a new one adds one for TCP and one for TLS 1.3.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::{Method, Url};
use shared_types::circuit::{Change, CircuitPermit};
use shared_types::xs2a::money::Currency;
use tokio::time::{Instant, sleep, timeout};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span, debug, info, info_span, warn};
use uuid::Uuid;

use crate::bank::Bank;
use crate::decode::{ValidateResponse, decode};
use crate::error::{Error, ErrorKind};
use crate::response::Response;
use crate::retries::Retries;
use crate::transport::{RawResponse, Request, send_once};

/// A failed attempt, with the bank's response where it is whole and has an error status.
type Failed = (Error, Option<RawResponse>);

type Permit<'a> = CircuitPermit<'a, ErrorKind>;

impl Bank {
    /// Executes a request: the only way to the bank.
    pub(crate) async fn execute(&self, request: Request) -> Result<RawResponse, Error> {
        let request_id = request.id.unwrap_or_else(|| self.inner.randomness.uuid());
        let span = info_span!(
            "call",
            bank = self.name(),
            operation = %format_args!("{} {}", request.method, template(&self.inner.base, &request.url)),
            %request_id,
            attempts = Empty,
            status = Empty,
            took_ms = Empty,
        );
        self.attempts(request, request_id).instrument(span).await
    }

    async fn attempts(&self, request: Request, request_id: Uuid) -> Result<RawResponse, Error> {
        let any_status = request.any_status;
        let is_repeatable = !is_delta_list(&request.url);
        let has_effect = request.method != Method::GET;
        let outgoing = request
            .encode(request_id)
            .map_err(|kind| self.error(kind))?;
        let started = Instant::now();
        let mut made = 0;
        let mut unsure = None;
        let failed = loop {
            let permit = match self.admit() {
                Ok(permit) => permit,
                Err(error) if made == 0 => return Err(error),
                Err(error) => break (error, None),
            };
            made += 1;
            let attempt = self.attempt(&outgoing, request_id, started.elapsed());
            let (error, answer) = match attempt.await {
                Ok(answer) => {
                    self.record(permit, None);
                    record_outcome(made, started, Some(answer.status.as_u16()));
                    debug!("answered");
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            let opened = self.record(permit, Some(&error.kind));
            let pause = (is_repeatable && !opened)
                .then(|| self.pause(made, &error.kind, started.elapsed()));
            let Some(pause) = pause.flatten() else {
                break (error, answer);
            };
            let cause = error.kind.label();
            info!(
                attempt = made,
                cause,
                "retrying in {} ms",
                pause.as_millis()
            );
            if has_effect && error.may_have_been_heard() {
                unsure = Some(error);
            }
            sleep(pause).await;
        };
        let (error, answer) = last_word(unsure, failed);
        record_outcome(made, started, error.kind.status());
        let cause = error.kind.label();
        match answer.filter(|_| any_status) {
            Some(answer) => {
                debug!(cause, "answered");
                return Ok(answer);
            }
            None if error.is_transient() && self.inner.retries.is_some() => {
                let plural = if made == 1 { "" } else { "s" };
                warn!(cause, "gave up after {made} attempt{plural}");
            }
            None => info!(cause, "failed"),
        }
        Err(error)
    }

    /// Decodes and validates an answer, about an account whose currency may be known.
    pub(crate) fn decode<T: ValidateResponse>(
        &self,
        answer: &RawResponse,
        currency: Option<Currency>,
    ) -> Result<Response<T>, Error> {
        let shape = answer.shape().map_err(|kind| self.error(kind))?;
        let body = decode(self.name(), &answer.body, shape, currency)
            .map_err(|fault| self.error(fault.into()))?;
        if let Some(first) = body.deviations.iter().next() {
            warn!(
                bank = self.name(),
                deviations = body.deviations.total(),
                left_out = body.deviations.left_out(),
                first = first.field(),
                "the answer deviates from the standard",
            );
        }
        Ok(body)
    }

    /// Sends the request once, within what is left of the time limits.
    async fn attempt(
        &self,
        outgoing: &reqwest::Request,
        request_id: Uuid,
        spent: Duration,
    ) -> Result<RawResponse, Failed> {
        let inner = &*self.inner;
        let call = inner.limits.call;
        // The limit of this attempt, and the one that an error reports.
        let (limit, reported) = match &inner.retries {
            Some(Retries { overall, .. }) if overall.saturating_sub(spent) < call => {
                (overall.saturating_sub(spent), *overall)
            }
            _ => (call, call),
        };
        let failed = |kind| (self.error(kind), None);
        let connections = self.connections().map_err(|error| {
            failed(ErrorKind::Unreachable {
                cause: error.to_string(),
            })
        })?;
        let answer = timeout(limit, send_once(inner, &connections, outgoing))
            .await
            .unwrap_or(Err(ErrorKind::Timeout { limit: reported }))
            .map_err(failed)?;
        if !answer.status.is_success() {
            return Err((
                self.error(answer.status_error(request_id, inner)),
                Some(answer),
            ));
        }
        // A bank that does not echo the id is forgiven; one that answers another request is not.
        let echo = answer.headers.get("x-request-id");
        let id = request_id.to_string();
        // A UUID is the same in either case (RFC 9562, section 4).
        if echo.is_some_and(|echo| !echo.as_bytes().eq_ignore_ascii_case(id.as_bytes())) {
            let reason = "the answer is to another request";
            return Err(failed(ErrorKind::malformed("X-Request-ID", reason)));
        }
        Ok(answer)
    }

    fn pause(&self, made: u32, kind: &ErrorKind, spent: Duration) -> Option<Duration> {
        let retries = self.inner.retries.as_ref()?;
        let bytes = self.inner.randomness.bytes();
        let chance = u64::from_be_bytes(*bytes.first_chunk()?);
        retries.pause(made, kind, retries.overall.saturating_sub(spent), chance)
    }

    /// Admits a call; no permit is needed where there is no breaker.
    fn admit(&self) -> Result<Option<Permit<'_>>, Error> {
        let Some(circuit) = &self.inner.circuit else {
            return Ok(None);
        };
        let permit = circuit.admit(self.inner.clock.now()).map_err(|open| {
            debug!("not asked: the circuit is open");
            self.error(ErrorKind::CircuitOpen {
                until: open.until,
                cause: Box::new(open.cause),
            })
        })?;
        if permit.is_probe() {
            info!("the circuit is half open: asking whether the bank is well again");
        }
        Ok(Some(permit))
    }

    /// Records the outcome of a call; `true` if that opened the circuit.
    fn record(&self, permit: Option<Permit<'_>>, failure: Option<&ErrorKind>) -> bool {
        let Some(permit) = permit else {
            return false;
        };
        let outage = failure.and_then(ErrorKind::outage);
        let change = permit.record(outage, self.inner.clock.now());
        match change {
            Some(Change::Opened { until }) => {
                let cause = failure.map(ErrorKind::label).unwrap_or_default();
                let until = until.format("%FT%TZ");
                warn!(cause, %until, "the circuit is open: leaving the bank alone");
            }
            Some(Change::Closed) => info!("the circuit is closed: the bank is well again"),
            None => {}
        }
        matches!(change, Some(Change::Opened { .. }))
    }
}

/// A bank, and the consent under which it is read.
#[derive(Debug, Clone)]
pub(crate) struct ConsentScope {
    pub(crate) bank: Bank,
    pub(crate) consent_id: String,
    /// The customer's device, if she is present.
    pub(crate) psu: Option<IpAddr>,
}

impl ConsentScope {
    /// Executes a read. One that the bank refuses with balances, perhaps because of the balances,
    /// is repeated without.
    pub(crate) async fn execute(&self, mut url: Url) -> Result<RawResponse, Error> {
        loop {
            let without = without_balances(&url);
            let request = Request {
                consent: Some(self.consent_id.clone()),
                psu: self.psu,
                ..Request::new(Method::GET, url)
            };
            // Boxed, so that the future of a list stays small.
            match (Box::pin(self.bank.execute(request)).await, without) {
                (Err(error), Some(without)) if error.may_be_about_balances() => url = without,
                (outcome, _) => return outcome,
            }
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

/// The failure of a call of several attempts: the last one. But if that one did not reach the
/// bank, or was put off, an earlier one may still have had its effect: then that one.
fn last_word(unsure: Option<Error>, last: Failed) -> Failed {
    match unsure {
        Some(unsure) if !last.0.is_refusal() && !last.0.may_have_been_heard() => (unsure, None),
        _ => last,
    }
}

/// Records the outcome of a call in its span.
fn record_outcome(made: u32, started: Instant, status: Option<u16>) {
    let span = Span::current();
    span.record("attempts", made);
    span.record("took_ms", display(started.elapsed().as_millis()));
    if let Some(status) = status {
        span.record("status", status);
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

/// Whether a request is for what is new since the bank's last report (`deltaList`), which the bank
/// gives once only: if such an answer is lost, the next one lacks it, unnoticed.
fn is_delta_list(url: &Url) -> bool {
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
            let (error, _) = last_word(unsure.cloned(), (last.clone(), None));
            assert_eq!(&error, told, "{unsure:?} {last:?}");
        }
    }
}
