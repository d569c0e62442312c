//! The SDK against answers that are too much, without end, or not what they should be: a typed
//! error for that bank, in bounded time and memory. What is merely broken or lying is in
//! `response_validation.rs`.

use std::time::Duration;

use bank_client::{Bank, Entry, Error, ErrorKind, Limits, Outcome, Retries};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tests::consent_requests::since;
use tests::lone_bank::{Raw, RawBank, ScriptedBank, well};

const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";

fn checked(error: Error) -> ErrorKind {
    assert_eq!(error.bank, "Bank B");
    assert!(error.to_string().contains("Bank B"), "{error}");
    assert!(!error.advice().is_empty() && !error.is_transient());
    error.kind
}

/// The error of a call. A call that does not end by itself is told from one that does.
async fn accounts(bank: &Bank) -> Error {
    let reading = bank.with_consent("c");
    let asked = tokio::time::timeout(Duration::from_mins(2), reading.accounts(true));
    asked.await.expect("an end").unwrap_err()
}

/// Result of a response, by a handle with the default limits.
async fn fault_of(answer: impl Fn(&str) -> Raw + Send + Sync + 'static) -> (ErrorKind, RawBank) {
    let raw = RawBank::start(answer).await;
    let bank = raw.lone.builder().retries(Retries::default());
    let error = accounts(&bank.build().unwrap()).await;
    assert_eq!(raw.asked(), 1, "{error} was repeated");
    (checked(error), raw)
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_at_the_limit() {
    let limit = 32 * 1024 * 1024;
    let (kind, raw) = fault_of(|_| Raw::endless(JSON, vec![b' '; 65_536])).await;
    assert_eq!(kind, ErrorKind::TooLarge { limit });
    // What is under way between two sockets comes on top of it.
    assert!(raw.sent() < 48 * 1024 * 1024, "{}", raw.sent());
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_large_is_not_waited_for() {
    let answer = |length: u64| {
        Raw::once(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ))
    };
    let (kind, _) = fault_of(move |_| answer(99_999_999_999)).await;
    let limit = Limits::default().answer;
    assert_eq!(kind, ErrorKind::TooLarge { limit });
    // So is one that is too large for the caller's own limit.
    let raw = RawBank::start(move |_| answer(100_000)).await;
    let limit = 50_000;
    let limits = Limits {
        answer: limit,
        ..Limits::default()
    };
    let bank = raw.lone.builder().limits(limits).build().unwrap();
    let error = accounts(&bank).await;
    assert_eq!(checked(error), ErrorKind::TooLarge { limit });
}

#[tokio::test]
async fn a_bomb_of_tiny_entries_is_cut_off_while_it_comes_in() {
    let head = format!("{JSON}{{\"accounts\":[");
    let entries = r#"{"currency":"EUR"},"#.repeat(1000);
    let (kind, raw) = fault_of(move |_| Raw::endless(head.as_str(), entries.as_str())).await;
    let limit = Limits::default().entries;
    assert_eq!(kind, ErrorKind::TooMany { limit });
    assert!(raw.sent() < 12 * 1024 * 1024, "{}", raw.sent());
    // Wherever they are: also where they would be skipped.
    let head = format!("{JSON}{{\"accounts\":[],\"unheard of\":[");
    let (kind, _) = fault_of(move |_| Raw::endless(head.as_str(), "0,".repeat(1000))).await;
    assert_eq!(kind, ErrorKind::TooMany { limit });
}

#[tokio::test]
async fn a_bomb_in_depth_is_cut_off_while_it_comes_in() {
    let head = format!("{JSON}{{\"accounts\":");
    let (kind, raw) = fault_of(move |_| Raw::endless(head.as_str(), "[".repeat(1000))).await;
    assert!(
        matches!(&kind, ErrorKind::Malformed { path, reason } if path == "." && reason.contains("nested")),
        "{kind:?}"
    );
    assert!(raw.sent() < 8 * 1024 * 1024, "{}", raw.sent());
}

#[tokio::test]
async fn what_is_compressed_is_not_unpacked_and_was_not_asked_for() {
    // A megabyte for each kilobyte, once it is unpacked. It is not looked into.
    for coding in ["gzip", "br", "identity, gzip", "zstd"] {
        let head = JSON.replace(
            "Connection",
            &format!("Content-Encoding: {coding}\r\nConnection"),
        );
        let (kind, raw) = fault_of(move |request| {
            assert!(
                request.contains("accept-encoding: identity\r\n"),
                "{request}"
            );
            Raw::endless(head.as_str(), vec![0x1f; 65_536])
        })
        .await;
        let encoding = coding.to_owned();
        assert_eq!(kind, ErrorKind::Encoded { encoding });
        assert!(raw.sent() < 16 * 1024 * 1024, "{}", raw.sent());
    }
    let plain = |_: &str| {
        Raw::once(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: identity\r\nContent-Length: 15\r\n\r\n{\"accounts\":[]}",
        )
    };
    let raw = RawBank::start(plain).await;
    let bank = raw.lone.builder().build().unwrap();
    assert!(
        bank.with_consent("c")
            .accounts(false)
            .await
            .unwrap()
            .is_empty()
    );
    // A refusal is one in whatever way it is packed.
    let (kind, _) = fault_of(|_| {
        Raw::endless("HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n", "x")
    })
    .await;
    assert!(
        matches!(kind, ErrorKind::Status { status: 404, .. }),
        "{kind:?}"
    );
}

#[tokio::test]
async fn what_is_no_http_is_malformed_and_not_asked_for_again() {
    for answer in [
        "SSH-2.0-OpenSSH_10.0\r\n".to_owned(),
        "HTTP/1.1 abc\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-More: 1\r\n".repeat(5000)),
    ] {
        let (kind, _) = fault_of(move |_| Raw::once(answer.as_str())).await;
        assert!(
            matches!(&kind, ErrorKind::Malformed { path, .. } if path == "HTTP"),
            "{kind:?}"
        );
    }
    let (kind, raw) = fault_of(|_| Raw::endless("HTTP/1.1 200 OK\r\n", "X-More: 1\r\n")).await;
    assert!(matches!(kind, ErrorKind::Malformed { .. }), "{kind:?}");
    assert!(raw.sent() < 8 * 1024 * 1024, "{}", raw.sent());
}

#[tokio::test]
async fn a_redirect_is_not_followed_however_much_comes_with_it() {
    for (status, location) in [
        ("307 Temporary Redirect", "/other-banks"),
        ("302 Found", "https://evil.example/v1/accounts"),
    ] {
        let head =
            format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nConnection: close\r\n\r\n");
        let (kind, _) = fault_of(move |_| Raw::endless(head.as_str(), "x")).await;
        let location = location.to_owned();
        assert_eq!(kind, ErrorKind::Redirect { location });
    }
}

#[tokio::test]
async fn a_bank_that_drips_is_given_up_in_time() {
    let limit = Duration::from_millis(400);
    for first in [JSON, "HTTP/1.1 200 OK\r\nX-Slow: "] {
        let raw = RawBank::start(move |_| Raw {
            every: Duration::from_millis(20),
            ..Raw::endless(first, " ")
        })
        .await;
        let limits = Limits {
            call: limit,
            ..Limits::default()
        };
        let bank = raw.lone.builder().limits(limits).build().unwrap();
        let error = accounts(&bank).await;
        assert_eq!(error.kind, ErrorKind::Timeout { limit });

        // Asked again, it has no more time than there is for all of it.
        let retries = Retries {
            overall: limit,
            ..Retries::default()
        };
        let bank = raw.lone.builder().retries(retries).build().unwrap();
        let error = accounts(&bank).await;
        assert_eq!(error.kind, ErrorKind::Timeout { limit });
    }
}

/// Deviations of the first list of accounts, the balances or the transactions, and the result.
async fn place(script: Vec<Value>) -> (String, Outcome) {
    let asked = script.len();
    let scripted = ScriptedBank::start(script.into_iter().map(well)).await;
    let reading = scripted.lone.builder().build().unwrap().with_consent("c");
    let mut deviations = reading.accounts(true).await.unwrap().deviations;
    if asked > 1 {
        deviations.append(reading.balances("a").await.unwrap().deviations);
    }
    if asked > 2 {
        let mut entries = reading.transactions("a", &since());
        let all = entries.by_ref().try_collect::<Vec<Entry<_>>>().await;
        all.unwrap();
        deviations.append(entries.deviations());
    }
    let first = deviations.iter().next().unwrap();
    assert!(
        !first.reason.contains("4711") && !first.reason.contains("USD"),
        "{first}"
    );
    (first.path.clone(), first.outcome)
}

fn money(currency: &str, amount: &str) -> Value {
    json!({ "currency": currency, "amount": amount })
}

#[tokio::test]
async fn money_in_another_currency_is_told_and_money_that_is_none_is_not_read() {
    let balance = |money: Value| json!({ "balanceType": "expected", "balanceAmount": money });
    let account = |money: Value| json!({ "accounts": [{ "resourceId": "a", "currency": "EUR", "balances": [balance(money)] }] });
    let good = || account(money("EUR", "1"));
    let balances = |money: Value| json!({ "balances": [balance(money)] });
    let page = |money: Value| json!({ "transactions": { "booked": [{ "transactionAmount": money }], "_links": {} } });
    let dollars = || money("USD", "1");
    let kept = |path: &str| (path.to_owned(), Outcome::Kept);
    assert_eq!(
        place(vec![account(dollars())]).await,
        kept("accounts[0].balances[0].balanceAmount.currency")
    );
    assert_eq!(
        place(vec![good(), balances(dollars())]).await,
        kept("balances[0].balanceAmount.currency")
    );
    assert_eq!(
        place(vec![good(), balances(money("EUR", "1")), page(dollars())]).await,
        kept("transactions.booked[0].transactionAmount.currency")
    );
    // More than the standard allows, and not more than a number can hold here.
    let digits = "4711".repeat(5);
    assert_eq!(
        place(vec![account(money("EUR", &digits))]).await,
        (
            "accounts[0].balances[0].balanceAmount".to_owned(),
            Outcome::ElementLeftOut
        )
    );
    let decimals = format!("0.{digits}");
    assert_eq!(
        place(vec![good(), balances(money("EUR", &decimals))]).await,
        (
            "balances[0].balanceAmount".to_owned(),
            Outcome::ElementLeftOut
        )
    );
    assert_eq!(
        place(vec![json!({ "accounts": [
            { "resourceId": "4711", "currency": "EUR" }, { "resourceId": "4711", "currency": "USD" }
        ] })])
        .await,
        ("accounts[0].resourceId".to_owned(), Outcome::ElementLeftOut)
    );
}

#[tokio::test]
async fn pages_without_end_end_at_the_limit() {
    let raw = RawBank::start(|request| {
        let number: u32 = request
            .split_once("page=")
            .map_or(0, |(_, rest)| rest.split(' ').next().unwrap().parse().unwrap());
        let next = number + 1;
        Raw::json(&format!(
            r#"{{"transactions":{{"booked":[],"_links":{{"next":{{"href":"/v1/accounts/a/transactions?page={next}"}}}}}}}}"#
        ))
    })
    .await;
    let limits = Limits {
        pages: 30,
        ..Limits::default()
    };
    let bank = raw.lone.builder().limits(limits).build().unwrap();
    let entries = bank.with_consent("c").transactions("a", &since());
    let error = entries.try_collect::<Vec<Entry<_>>>().await.unwrap_err();
    assert_eq!(checked(error), ErrorKind::TooManyPages { limit: 30 });
    assert_eq!(raw.asked(), 30);
}
