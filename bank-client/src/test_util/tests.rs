//! Tests of the mock bank, and of the SDK's retries, circuit breaker and HTTP requests with it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use shared_types::environment::ManualClock;
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::consent::ConsentStatus;
use uuid::Uuid;

use super::*;
use crate::pages::{Entry, TransactionFilter};
use crate::{Breaker, ErrorKind, Limits, Retries};

const SHORT_PAUSE: Duration = Duration::from_millis(1);

fn fast_retries() -> Retries {
    Retries {
        first_pause: SHORT_PAUSE,
        longest_pause: SHORT_PAUSE,
        ..Retries::default()
    }
}

fn since_january() -> TransactionFilter {
    TransactionFilter::since("2026-01-01".parse().unwrap())
}

/// Error of a request for the accounts.
async fn account_error(mock: &MockBank, bank: &Bank) -> ErrorKind {
    let consent = bank.with_consent(mock.consent_id());
    consent.accounts(false).await.unwrap_err().kind
}

#[tokio::test]
async fn accounts_and_pages_of_transactions_are_read() {
    let mock = MockBank::happy().await;
    let consent = mock.bank().with_consent(mock.consent_id());
    assert!(consent.card_accounts(true).await.unwrap().is_empty());
    for account in consent.accounts(true).await.unwrap() {
        let id = account.resource_id.clone().unwrap();
        assert_eq!(*consent.account(&id, true).await.unwrap(), account);
        let balances = consent.balances(&id).await.unwrap().into_inner().balances;
        assert_eq!(Some(balances), account.balances);
    }
    let two_per_page = TransactionFilter {
        page_size: Some(2),
        ..since_january()
    };
    let entries: Vec<_> = consent
        .transactions("current", &two_per_page)
        .try_collect()
        .await
        .unwrap();
    let ids: Vec<_> = entries
        .iter()
        .map(|entry| match entry {
            Entry::Pending(entry) => format!("pending {}", entry.transaction_id.as_ref().unwrap()),
            Entry::Booked(entry) => entry.transaction_id.as_ref().unwrap().to_string(),
        })
        .collect();
    assert_eq!(ids, ["pending c-4", "c-3", "c-2", "c-1"]);
    let from_third = TransactionFilter::since("2026-01-03".parse().unwrap());
    let later_entries: Vec<_> = consent
        .transactions("current", &from_third)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(later_entries.len(), 3);
    let one = consent.transaction("savings", "s-1").await.unwrap();
    assert_eq!(one.transaction_amount.to_string(), "5000.00 EUR");
    let requests = mock.asked().await.into_iter();
    let list_requests = requests.filter(|request| request.contains("/transactions?"));
    // Two pages of the first list, and one of the second.
    assert_eq!(list_requests.count(), 3);
}

#[tokio::test]
async fn each_behaviour_causes_its_error() {
    let mock = MockBank::broken().await;
    let broken = account_error(&mock, &mock.bank()).await;
    assert!(matches!(broken, ErrorKind::Status { status: 503, .. }));
    mock.turns(MockBehaviour::Malformed);
    let malformed = account_error(&mock, &mock.bank()).await;
    assert!(matches!(malformed, ErrorKind::Malformed { .. }));

    let mock = MockBank::rate_limited(Duration::from_mins(1)).await;
    let error = mock
        .bank()
        .with_consent(mock.consent_id())
        .accounts(false)
        .await
        .unwrap_err();
    assert_eq!(error.code().unwrap().as_str(), "ACCESS_EXCEEDED");
    assert_eq!(error.retry_after(), Some(Duration::from_mins(1)));
    assert!(error.is_transient());

    let mock = MockBank::consent_expired().await;
    let expired = account_error(&mock, &mock.bank()).await;
    assert!(matches!(expired, ErrorKind::Refused { status: 401, .. }));

    let mock = MockBank::slow(Duration::from_mins(1)).await;
    let limits = Limits {
        call: Duration::from_millis(50),
        ..Limits::default()
    };
    let impatient = mock.builder().limits(limits).build().unwrap();
    let limit = limits.call;
    assert_eq!(
        account_error(&mock, &impatient).await,
        ErrorKind::Timeout { limit }
    );
}

#[tokio::test]
async fn a_consent_passes_through_its_statuses() {
    let mock = MockBank::with_accounts(Vec::new()).await;
    let bank = mock.bank();
    let request = serde_json::from_value(json!({
        "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true,
        "validUntil": "2026-06-30", "frequencyPerDay": 4, "combinedServiceIndicator": false,
    }))
    .unwrap();
    let psu = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let created = bank.create_consent(&request, psu).await.unwrap();
    let id = created.into_inner().consent_id;
    let consent = bank.with_consent(&id);
    assert_eq!(
        bank.consent_status(&id).await.unwrap(),
        ConsentStatus::Received
    );
    assert_eq!(
        consent
            .accounts(false)
            .await
            .unwrap_err()
            .code()
            .unwrap()
            .as_str(),
        "CONSENT_INVALID"
    );
    mock.customer_approves();
    assert!(consent.accounts(false).await.unwrap().is_empty());
    let read = bank.consent(&id).await.unwrap();
    assert_eq!(read.consent_status, ConsentStatus::Valid);
    assert_eq!(read.access, request.access);
    mock.customer_revokes();
    assert!(consent.accounts(false).await.is_err());
    assert_eq!(
        bank.consent_status(&id).await.unwrap(),
        ConsentStatus::RevokedByPsu
    );
    bank.delete_consent(&id).await.unwrap();
    assert_eq!(
        bank.consent_status(&id).await.unwrap(),
        ConsentStatus::TerminatedByTpp
    );
    let unknown = bank.with_consent("unknown").accounts(false).await;
    assert_eq!(
        unknown.unwrap_err().code().unwrap().as_str(),
        "CONSENT_UNKNOWN"
    );
}

#[test]
fn plain_http_is_limited_to_loopback_addresses() {
    let organisation: OrganisationId = "PSDXX-MOCK-1".parse().unwrap();
    for (address, loopback) in [
        ("127.0.0.1:80", true),
        ("[::1]:80", true),
        ("192.0.2.1:80", false),
        ("0.0.0.0:80", false),
        ("[2001:db8::1]:80", false),
    ] {
        let built = BankBuilder::mock(address.parse().unwrap(), organisation.clone()).build();
        assert_eq!(built.is_ok(), loopback, "{address}");
    }
}

#[tokio::test]
async fn retries_keep_the_request_id_and_refusals_are_not_retried() {
    let mock = MockBank::happy().await;
    let bank = mock.builder().retries(fast_retries()).build().unwrap();
    mock.once(MockBehaviour::Broken);
    mock.once(MockBehaviour::Broken);
    let consent = bank.with_consent(mock.consent_id());
    assert_eq!(consent.accounts(false).await.unwrap().len(), 2);
    let request_ids = || async {
        let requests = mock.server.received_requests().await.unwrap();
        let ids = requests
            .iter()
            .map(|request| request.headers["x-request-id"].clone());
        ids.collect::<Vec<_>>()
    };
    let sent = request_ids().await;
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(|id| *id == sent[0]), "{sent:?}");

    mock.once(MockBehaviour::ConsentExpired);
    mock.once(MockBehaviour::RateLimited(Duration::from_hours(1)));
    assert!(consent.accounts(false).await.is_err());
    assert!(consent.accounts(false).await.is_err());
    let sent = request_ids().await;
    assert_eq!(sent.len(), 5);
    assert_ne!(sent[3], sent[4]);

    // A handle without retries sends one request.
    mock.once(MockBehaviour::Broken);
    assert!(account_error(&mock, &mock.bank()).await.status() == Some(503));
}

/// A bank reports each transaction in one `deltaList` only. If that response is lost, the response
/// to a retry lacks the transactions.
#[tokio::test]
async fn a_delta_list_is_not_retried() {
    let mock = MockBank::broken().await;
    let bank = mock.builder().retries(fast_retries()).build().unwrap();
    let consent = bank.with_consent(mock.consent_id());
    let requests_after_failure = async |filter: TransactionFilter| {
        let mut entries = consent.transactions("a", &filter);
        assert!(entries.next().await.unwrap().is_err());
        mock.asked().await.len()
    };
    let delta_list = TransactionFilter::after_last_report();
    assert_eq!(requests_after_failure(delta_list).await, 1);
    let after_entry = TransactionFilter::after_entry("E1");
    // Three more requests: other lists are retried.
    assert_eq!(requests_after_failure(after_entry).await, 1 + 3);
}

#[tokio::test]
async fn retries_are_limited_in_number_and_time() {
    let mock = MockBank::broken().await;
    let bank = mock.builder().retries(fast_retries()).build().unwrap();
    assert_eq!(account_error(&mock, &bank).await.status(), Some(503));
    assert_eq!(mock.asked().await.len(), 3);

    mock.turns(MockBehaviour::Slow(Duration::from_mins(1)));
    let overall = Duration::from_millis(50);
    let retries = Retries {
        overall,
        ..fast_retries()
    };
    let bank = mock.builder().retries(retries).build().unwrap();
    let limit = overall;
    assert_eq!(
        account_error(&mock, &bank).await,
        ErrorKind::Timeout { limit }
    );
}

#[tokio::test]
async fn clones_share_a_circuit_that_opens_after_failures_and_closes_after_a_pause() {
    let mock = MockBank::broken().await;
    let clock = Arc::new(ManualClock::at(
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
    ));
    let breaker = Breaker {
        failures: 2,
        pause: Duration::from_secs(10),
        ..Breaker::default()
    };
    let bank = mock
        .builder()
        .breaker(breaker)
        .clock(Arc::<ManualClock>::clone(&clock))
        .build()
        .unwrap();
    let clone = bank.clone();
    assert_eq!(account_error(&mock, &bank).await.status(), Some(503));
    assert_eq!(account_error(&mock, &clone).await.status(), Some(503));
    let ErrorKind::CircuitOpen { until, cause } = account_error(&mock, &bank).await else {
        panic!("the circuit is not open")
    };
    assert_eq!(
        until,
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(10)
    );
    assert_eq!(cause.status(), Some(503));
    assert_eq!(mock.asked().await.len(), 2);

    mock.turns(MockBehaviour::Happy);
    clock.advance(TimeDelta::seconds(10));
    let consent = clone.with_consent(mock.consent_id());
    assert!(consent.accounts(false).await.is_ok());
    assert!(
        bank.with_consent(mock.consent_id())
            .accounts(false)
            .await
            .is_ok()
    );
    assert_eq!(mock.asked().await.len(), 4);
}

#[tokio::test]
async fn another_probe_follows_one_that_is_dropped() {
    let mock = MockBank::broken().await;
    let clock = Arc::new(ManualClock::at(
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
    ));
    let breaker = Breaker {
        failures: 1,
        ..Breaker::default()
    };
    let bank = mock
        .builder()
        .breaker(breaker)
        .clock(Arc::<ManualClock>::clone(&clock))
        .build()
        .unwrap();
    // Opens the circuit.
    account_error(&mock, &bank).await;
    clock.advance(TimeDelta::minutes(1));
    mock.turns(MockBehaviour::Slow(Duration::from_mins(1)));
    let consent = bank.with_consent(mock.consent_id());
    let probe = tokio::time::timeout(Duration::from_millis(20), consent.accounts(false));
    assert!(probe.await.is_err(), "the timeout drops the probe");
    mock.turns(MockBehaviour::Happy);
    assert!(consent.accounts(false).await.is_ok());
}

#[tokio::test]
async fn http_requests_can_have_any_path_of_the_bank() {
    let mock = MockBank::happy().await;
    let http = mock.bank().http();
    let id = Uuid::from_u128(7);
    let answer = http
        .get("v1/accounts")
        .query("withBalance", "true")
        .header("Accept-Language", "en")
        .consent(mock.consent_id())
        .psu_ip_address(IpAddr::V4(Ipv4Addr::LOCALHOST))
        .request_id(id)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-request-id"], id.to_string().as_str());
    let body: Value = answer.json().unwrap();
    assert_eq!(body["accounts"].as_array().unwrap().len(), 2);
    assert!(!format!("{answer:?}").contains("current"), "{answer:?}");
    let requests = mock.server.received_requests().await.unwrap();
    let headers = &requests[0].headers;
    assert_eq!(headers["consent-id"], mock.consent_id());
    assert_eq!(headers["psu-ip-address"], "127.0.0.1");
    assert_eq!(headers["accept-language"], "en");
    assert_eq!(headers["accept-encoding"], "identity");

    let posted = http
        .post("/v1/consents")
        .json_body(&json!({ "access": {} }))
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 201);

    let unknown = http.get("v1/periodic-things").send().await.unwrap_err();
    assert_eq!(unknown.code().unwrap().as_str(), "RESOURCE_UNKNOWN");
    let unknown = http.get("v1/periodic-things").any_status().send().await;
    let unknown = unknown.unwrap();
    assert_eq!(unknown.status(), 404);
    let body: Value = unknown.json().unwrap();
    assert_eq!(body["tppMessages"][0]["code"], "RESOURCE_UNKNOWN");
}

#[tokio::test]
async fn foreign_urls_and_reserved_or_malformed_headers_are_not_sent() {
    let mock = MockBank::happy().await;
    let http = mock.bank().http();
    let on_another_port = "http://127.0.0.1:1/v1/accounts";
    for path in [
        "https://evil.example/x",
        "//evil.example/x",
        "ftp://x/",
        on_another_port,
    ] {
        let error = http.get(path).send().await.unwrap_err();
        assert!(
            matches!(&error.kind, ErrorKind::Unsendable { part, .. } if part == "path"),
            "{path}: {error}"
        );
    }
    for (name, value) in [
        ("X-Request-ID", "1"),
        ("Host", "evil.example"),
        ("Accept-Encoding", "gzip"),
        ("Content-Length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("no name", "x"),
        ("X-Note", "line\r\nX-Other: 1"),
    ] {
        let error = http.get("v1/accounts").header(name, value).send().await;
        let error = error.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Unsendable { .. }), "{name}");
        assert!(!error.to_string().contains("X-Other"), "{error}");
    }
    let consent = mock.bank().with_consent("a\nb").accounts(false).await;
    assert!(matches!(
        consent.unwrap_err().kind,
        ErrorKind::Unsendable { .. }
    ));
    assert!(mock.asked().await.is_empty());
}
