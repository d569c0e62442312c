//! Tests of the mock bank, called as an app's tests call it.

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

const SOON: Duration = Duration::from_millis(1);

fn quick() -> Retries {
    Retries {
        first_pause: SOON,
        longest_pause: SOON,
        ..Retries::default()
    }
}

fn since_january() -> TransactionFilter {
    TransactionFilter::since("2026-01-01".parse().unwrap())
}

async fn fault(mock: &MockBank, bank: &Bank) -> ErrorKind {
    let reading = bank.with_consent(mock.consent_id());
    reading.accounts(false).await.unwrap_err().kind
}

#[tokio::test]
async fn a_happy_bank_shows_its_accounts_page_by_page() {
    let mock = MockBank::happy().await;
    let reading = mock.bank().with_consent(mock.consent_id());
    assert!(reading.card_accounts(true).await.unwrap().is_empty());
    for account in reading.accounts(true).await.unwrap() {
        let id = account.resource_id.clone().unwrap();
        assert_eq!(*reading.account(&id, true).await.unwrap(), account);
        let balances = reading.balances(&id).await.unwrap().into_inner().balances;
        assert_eq!(Some(balances), account.balances);
    }
    let small = TransactionFilter {
        page_size: Some(2),
        ..since_january()
    };
    let entries: Vec<_> = reading
        .transactions("current", &small)
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
    let late = TransactionFilter::since("2026-01-03".parse().unwrap());
    let late: Vec<_> = reading
        .transactions("current", &late)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(late.len(), 3);
    let one = reading.transaction("savings", "s-1").await.unwrap();
    assert_eq!(one.transaction_amount.to_string(), "5000.00 EUR");
    let pages = mock.asked().await.into_iter();
    assert_eq!(
        pages
            .filter(|asked| asked.contains("/transactions?"))
            .count(),
        3
    );
}

#[tokio::test]
async fn each_mood_is_a_line() {
    let mock = MockBank::broken().await;
    let broken = fault(&mock, &mock.bank()).await;
    assert!(matches!(broken, ErrorKind::Status { status: 503, .. }));
    mock.turns(MockBehaviour::Malformed);
    let malformed = fault(&mock, &mock.bank()).await;
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
    let expired = fault(&mock, &mock.bank()).await;
    assert!(matches!(expired, ErrorKind::Refused { status: 401, .. }));

    let mock = MockBank::slow(Duration::from_mins(1)).await;
    let limits = Limits {
        call: Duration::from_millis(50),
        ..Limits::default()
    };
    let hasty = mock.builder().limits(limits).build().unwrap();
    let limit = limits.call;
    assert_eq!(fault(&mock, &hasty).await, ErrorKind::Timeout { limit });
}

#[tokio::test]
async fn a_consent_has_its_life() {
    let mock = MockBank::with_accounts(Vec::new()).await;
    let bank = mock.bank();
    let wanted = serde_json::from_value(json!({
        "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true,
        "validUntil": "2026-06-30", "frequencyPerDay": 4, "combinedServiceIndicator": false,
    }))
    .unwrap();
    let psu = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let created = bank.create_consent(&wanted, psu).await.unwrap();
    let id = created.into_inner().consent_id;
    let reading = bank.with_consent(&id);
    assert_eq!(
        bank.consent_status(&id).await.unwrap(),
        ConsentStatus::Received
    );
    assert_eq!(
        reading
            .accounts(false)
            .await
            .unwrap_err()
            .code()
            .unwrap()
            .as_str(),
        "CONSENT_INVALID"
    );
    mock.customer_approves();
    assert!(reading.accounts(false).await.unwrap().is_empty());
    let read = bank.consent(&id).await.unwrap();
    assert_eq!(read.consent_status, ConsentStatus::Valid);
    assert_eq!(read.access, wanted.access);
    mock.customer_revokes();
    assert!(reading.accounts(false).await.is_err());
    assert_eq!(
        bank.consent_status(&id).await.unwrap(),
        ConsentStatus::RevokedByPsu
    );
    bank.delete_consent(&id).await.unwrap();
    assert_eq!(
        bank.consent_status(&id).await.unwrap(),
        ConsentStatus::TerminatedByTpp
    );
    let strange = bank.with_consent("unknown").accounts(false).await;
    assert_eq!(
        strange.unwrap_err().code().unwrap().as_str(),
        "CONSENT_UNKNOWN"
    );
}

#[test]
fn plain_http_leads_to_this_machine_and_nowhere_else() {
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
async fn a_repetition_carries_the_same_request_id_and_a_refusal_is_not_repeated() {
    let mock = MockBank::happy().await;
    let bank = mock.builder().retries(quick()).build().unwrap();
    mock.once(MockBehaviour::Broken);
    mock.once(MockBehaviour::Broken);
    let reading = bank.with_consent(mock.consent_id());
    assert_eq!(reading.accounts(false).await.unwrap().len(), 2);
    let ids = || async {
        let requests = mock.server.received_requests().await.unwrap();
        let ids = requests
            .iter()
            .map(|request| request.headers["x-request-id"].clone());
        ids.collect::<Vec<_>>()
    };
    let asked = ids().await;
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|id| *id == asked[0]), "{asked:?}");

    mock.once(MockBehaviour::ConsentExpired);
    mock.once(MockBehaviour::RateLimited(Duration::from_hours(1)));
    assert!(reading.accounts(false).await.is_err());
    assert!(reading.accounts(false).await.is_err());
    let asked = ids().await;
    assert_eq!(asked.len(), 5);
    assert_ne!(asked[3], asked[4]);

    // A plain handle asks once.
    mock.once(MockBehaviour::Broken);
    assert!(fault(&mock, &mock.bank()).await.status() == Some(503));
}

/// What the bank tells once only is not asked for a second time: the second answer would lack it.
#[tokio::test]
async fn what_is_new_since_the_last_report_is_asked_for_once() {
    let mock = MockBank::broken().await;
    let bank = mock.builder().retries(quick()).build().unwrap();
    let reading = bank.with_consent(mock.consent_id());
    let first = async |filter: TransactionFilter| {
        let mut entries = reading.transactions("a", &filter);
        assert!(entries.next().await.unwrap().is_err());
        mock.asked().await.len()
    };
    assert_eq!(first(TransactionFilter::after_last_report()).await, 1);
    assert_eq!(first(TransactionFilter::after_entry("E1")).await, 1 + 3);
}

#[tokio::test]
async fn attempts_and_the_time_for_them_are_bounded() {
    let mock = MockBank::broken().await;
    let bank = mock.builder().retries(quick()).build().unwrap();
    assert_eq!(fault(&mock, &bank).await.status(), Some(503));
    assert_eq!(mock.asked().await.len(), 3);

    mock.turns(MockBehaviour::Slow(Duration::from_mins(1)));
    let overall = Duration::from_millis(50);
    let retries = Retries { overall, ..quick() };
    let bank = mock.builder().retries(retries).build().unwrap();
    let limit = overall;
    assert_eq!(fault(&mock, &bank).await, ErrorKind::Timeout { limit });
}

#[tokio::test]
async fn a_bank_that_is_down_is_left_alone_and_asked_again_by_one_call() {
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
    let other = bank.clone();
    assert_eq!(fault(&mock, &bank).await.status(), Some(503));
    assert_eq!(fault(&mock, &other).await.status(), Some(503));
    let ErrorKind::CircuitOpen { until, cause } = fault(&mock, &bank).await else {
        panic!("the circuit is closed")
    };
    assert_eq!(
        until,
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::seconds(10)
    );
    assert_eq!(cause.status(), Some(503));
    assert_eq!(mock.asked().await.len(), 2);

    mock.turns(MockBehaviour::Happy);
    clock.advance(TimeDelta::seconds(10));
    let reading = other.with_consent(mock.consent_id());
    assert!(reading.accounts(false).await.is_ok());
    assert!(
        bank.with_consent(mock.consent_id())
            .accounts(false)
            .await
            .is_ok()
    );
    assert_eq!(mock.asked().await.len(), 4);
}

#[tokio::test]
async fn a_probe_that_is_dropped_is_followed_by_another() {
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
    fault(&mock, &bank).await;
    clock.advance(TimeDelta::minutes(1));
    mock.turns(MockBehaviour::Slow(Duration::from_mins(1)));
    let reading = bank.with_consent(mock.consent_id());
    let dropped = tokio::time::timeout(Duration::from_millis(20), reading.accounts(false));
    assert!(dropped.await.is_err());
    mock.turns(MockBehaviour::Happy);
    assert!(reading.accounts(false).await.is_ok());
}

#[tokio::test]
async fn the_open_layer_asks_what_the_sdk_does_not_know() {
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
async fn what_does_not_belong_to_the_bank_is_not_sent() {
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
