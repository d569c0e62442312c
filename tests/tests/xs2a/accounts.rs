//! Accounts, balances and transactions: what a consent opens, and not one byte more.

use chrono::{Months, NaiveDate};
use fixtures::world::{Bank, SampleAccount};
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::http::Tpp;

struct Scene {
    banks: Banks,
    tpp: Tpp,
    /// Current, savings, foreign currency, card.
    accounts: Vec<SampleAccount>,
}

impl Scene {
    async fn set() -> Self {
        let banks = Banks::start().await;
        let (tpp, accounts) = (banks.a_at_b(), banks.accounts_at_b());
        Self {
            banks,
            tpp,
            accounts,
        }
    }

    async fn consent(&self, access: Value) -> String {
        self.banks
            .consent(&self.tpp)
            .access(&access)
            .approved()
            .await
    }

    fn since(&self, months: u32) -> NaiveDate {
        self.banks
            .today()
            .checked_sub_months(Months::new(months))
            .unwrap()
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|account| account["resourceId"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dedicated_consent_opens_what_it_names_as_far_as_it_says() {
    let scene = Scene::set().await;
    let [current, savings, foreign, card] = &scene.accounts[..] else {
        panic!()
    };
    let consent = scene
        .consent(json!({
            "accounts": [{ "iban": savings.number }],
            "balances": [{ "iban": current.number }],
            "transactions": [{ "iban": current.number }, { "maskedPan": card.number }],
        }))
        .await;

    let listed = scene
        .tpp
        .read("/v1/accounts?withBalance=true", &consent)
        .await
        .json();
    let accounts = &listed["accounts"];
    assert_eq!(
        ids(accounts),
        [current.id.to_string(), savings.id.to_string()]
    );
    assert!(accounts[0]["balances"].is_array());
    assert_eq!(
        accounts[1]["balances"],
        Value::Null,
        "the balances of the second are not opened"
    );
    assert_eq!(
        accounts[0]["ownerName"],
        Value::Null,
        "the owner's name was not requested"
    );
    let path = format!("/v1/accounts/{}", current.id);
    assert_eq!(
        accounts[0]["_links"],
        json!({
            "balances": { "href": format!("{path}/balances") },
            "transactions": { "href": format!("{path}/transactions") },
        })
    );
    assert_eq!(accounts[1]["_links"], json!({}));

    let days = format!("dateFrom={}&bookingStatus=both", scene.since(1));
    for (path, refusal) in [
        (
            format!("/v1/accounts/{}/balances", savings.id),
            "401 CONSENT_INVALID",
        ),
        (
            format!("/v1/accounts/{}/transactions?{days}", savings.id),
            "401 CONSENT_INVALID",
        ),
        (
            format!("/v1/accounts/{}/transactions/T0000001", savings.id),
            "401 CONSENT_INVALID",
        ),
        (
            format!("/v1/card-accounts/{}/balances", card.id),
            "401 CONSENT_INVALID",
        ),
        (format!("/v1/accounts/{}", card.id), "404 RESOURCE_UNKNOWN"),
        (
            format!("/v1/card-accounts/{}", current.id),
            "404 RESOURCE_UNKNOWN",
        ),
        (
            format!("/v1/accounts/{}/transactions/none", current.id),
            "404 RESOURCE_UNKNOWN",
        ),
    ] {
        assert_eq!(
            scene.tpp.read(&path, &consent).await.refusal(),
            refusal,
            "{path}"
        );
    }
    // An account outside the consent, one of another customer, and one that never was, are answered alike.
    let others = scene.banks.other_customer(Bank::B).accounts[0].id;
    for rest in [
        String::new(),
        "/balances".to_owned(),
        format!("/transactions?{days}"),
        "/transactions/T0000001".to_owned(),
    ] {
        let read = async |id: &str| {
            let path = format!("/v1/accounts/{id}{rest}");
            let answer = scene.tpp.read(&path, &consent).await;
            assert_eq!(answer.refusal(), "404 RESOURCE_UNKNOWN", "{path}");
            answer.without_date_and_request_id()
        };
        let never = read("7d3f6c1e-0000-4000-8000-000000000000").await;
        for guessed in [foreign.id, others] {
            assert_eq!(read(&guessed.to_string()).await, never, "{rest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_offered_consent_says_what_was_chosen() {
    let scene = Scene::set().await;
    let consent = scene.consent(json!({ "balances": [] })).await;
    let listed = scene.tpp.read("/v1/accounts", &consent).await.json();
    assert_eq!(listed["accounts"].as_array().unwrap().len(), 3);
    let access = scene
        .tpp
        .get(&format!("/v1/consents/{consent}"), &[])
        .await
        .json()["access"]
        .clone();
    assert_eq!(access["balances"].as_array().unwrap().len(), 4);
    assert_eq!(access["transactions"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_are_the_sum_of_all_transactions() {
    let scene = Scene::set().await;
    let consent = scene.consent(json!({ "allPsd2": "allAccounts" })).await;
    let world =
        std::fs::read_to_string(scene.banks.folder.path().join("world/bank-b.jsonl")).unwrap();
    for account in &scene.accounts {
        let (kind, record) = if account.card {
            ("card-accounts", "card-account")
        } else {
            ("accounts", "account")
        };
        let cents = |text: &Value| {
            text.as_str()
                .unwrap()
                .replace('.', "")
                .parse::<i64>()
                .unwrap()
        };
        let lines = world
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let opening = lines
            .filter_map(|line| line.get(record).cloned())
            .find(|line| line["id"] == account.id.to_string())
            .map(|line| cents(&line["openingBalance"]))
            .unwrap();

        let balances = scene
            .tpp
            .read(&format!("/v1/{kind}/{}/balances", account.id), &consent)
            .await
            .json();
        let booked = balances["balances"]
            .as_array()
            .unwrap()
            .iter()
            .find(|balance| balance["balanceType"] == "interimBooked");
        let booked = cents(&booked.unwrap()["balanceAmount"]["amount"]);
        let all = walk(&scene, kind, account, &consent, 500, "booked").await;
        let sum: i64 = all
            .iter()
            .map(|entry| cents(&entry["transactionAmount"]["amount"]))
            .sum();
        assert_eq!(opening + sum, booked, "{} {}", kind, account.currency);
    }
}

/// All transactions of an account, by following `next`.
async fn walk(
    scene: &Scene,
    kind: &str,
    account: &SampleAccount,
    consent: &str,
    size: usize,
    status: &str,
) -> Vec<Value> {
    let from = scene.since(25);
    let mut next = Some(format!(
        "/v1/{kind}/{}/transactions?dateFrom={from}&bookingStatus={status}&pageSize={size}",
        account.id
    ));
    let list = if account.card {
        "cardTransactions"
    } else {
        "transactions"
    };
    let mut all = Vec::new();
    while let Some(path) = next {
        let page = scene.tpp.read(&path, consent).await.json();
        let mut here = Vec::new();
        for part in ["pending", "booked"] {
            here.extend(page[list][part].as_array().cloned().unwrap_or_default());
        }
        assert!(here.len() <= size);
        next = page[list]["_links"]["next"]["href"]
            .as_str()
            .map(str::to_owned);
        assert!(
            next.is_none() || here.len() == size,
            "a page before the last is full"
        );
        all.extend(here);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_give_every_transaction_once_and_the_newest_first() {
    let scene = Scene::set().await;
    let consent = scene.consent(json!({ "allPsd2": "allAccounts" })).await;
    for (kind, account) in [
        ("accounts", &scene.accounts[0]),
        ("card-accounts", &scene.accounts[3]),
    ] {
        let whole = walk(&scene, kind, account, &consent, 500, "both").await;
        assert_eq!(whole.len(), account.transactions);
        let dates: Vec<&str> = whole
            .iter()
            .filter_map(|entry| entry["bookingDate"].as_str())
            .collect();
        assert!(
            dates.is_sorted_by(|newer, older| newer >= older),
            "the newest first"
        );
        let first_booked = whole
            .iter()
            .position(|entry| entry["bookingDate"].is_string())
            .unwrap();
        assert!(
            whole[first_booked..]
                .iter()
                .all(|entry| entry["bookingDate"].is_string()),
            "pending ones first"
        );
        for size in [7, 100] {
            assert_eq!(
                walk(&scene, kind, account, &consent, size, "both").await,
                whole,
                "pages of {size}"
            );
        }
        let pending = walk(&scene, kind, account, &consent, 100, "pending").await;
        assert_eq!(pending, whole[..first_booked]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn days_and_statuses_limit_what_is_listed() {
    let scene = Scene::set().await;
    let consent = scene.consent(json!({ "allPsd2": "allAccounts" })).await;
    let path = format!("/v1/accounts/{}/transactions", scene.accounts[0].id);
    let day = scene.since(6);
    let answer = scene
        .tpp
        .read(
            &format!("{path}?dateFrom={day}&dateTo={day}&bookingStatus=booked"),
            &consent,
        )
        .await
        .json();
    let booked = answer["transactions"]["booked"].as_array().unwrap();
    assert!(
        booked
            .iter()
            .all(|entry| entry["bookingDate"] == day.to_string())
    );
    assert_eq!(
        answer["transactions"]["pending"],
        Value::Null,
        "pending ones were not asked for"
    );
    assert_eq!(answer["balances"], Value::Null);

    let since = scene.since(1);
    let answer = scene
        .tpp
        .read(
            &format!("{path}?dateFrom={since}&bookingStatus=both&withBalance=true"),
            &consent,
        )
        .await
        .json();
    assert!(answer["transactions"]["pending"].is_array());
    assert!(answer["balances"].is_array());
    let one = &answer["transactions"]["booked"][0];
    let details = one["_links"]["transactionDetails"]["href"]
        .as_str()
        .unwrap();
    let details = scene.tpp.read(details, &consent).await.json();
    let inner = &details["transactionsDetails"]["transactionDetails"];
    assert_eq!(inner["transactionId"], one["transactionId"]);
    assert_eq!(inner["transactionAmount"], one["transactionAmount"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parameters_are_named() {
    let scene = Scene::set().await;
    let consent = scene.consent(json!({ "allPsd2": "allAccounts" })).await;
    let path = format!("/v1/accounts/{}/transactions", scene.accounts[0].id);
    for (query, refusal) in [
        ("", "400 FORMAT_ERROR bookingStatus"),
        ("bookingStatus=both", "400 FORMAT_ERROR dateFrom"),
        (
            "bookingStatus=none&dateFrom=2026-01-01",
            "400 FORMAT_ERROR bookingStatus",
        ),
        (
            "bookingStatus=information&dateFrom=2026-01-01",
            "400 PARAMETER_NOT_SUPPORTED bookingStatus",
        ),
        (
            "bookingStatus=both&dateFrom=2026-02-30",
            "400 FORMAT_ERROR dateFrom",
        ),
        (
            "bookingStatus=both&dateFrom=26-2-3",
            "400 FORMAT_ERROR dateFrom",
        ),
        (
            "bookingStatus=both&dateFrom=2026-02-02&dateTo=2026-02-01",
            "400 PERIOD_INVALID dateFrom",
        ),
        (
            "bookingStatus=both&dateFrom=2026-01-01&pageSize=0",
            "400 FORMAT_ERROR pageSize",
        ),
        (
            "bookingStatus=both&dateFrom=2026-01-01&pageSize=501",
            "400 FORMAT_ERROR pageSize",
        ),
        (
            "bookingStatus=both&dateFrom=2026-01-01&pageSize=x",
            "400 FORMAT_ERROR pageSize",
        ),
        (
            "bookingStatus=both&dateFrom=2026-01-01&page=b.2026-01-01",
            "400 FORMAT_ERROR page",
        ),
        (
            "bookingStatus=both&dateFrom=2026-01-01&withBalance=yes",
            "400 FORMAT_ERROR withBalance",
        ),
        (
            "bookingStatus=both&dateFrom=2026-01-01&dateFrom=2026-01-02",
            "400 FORMAT_ERROR dateFrom",
        ),
        (
            "bookingStatus=both&deltaList=false",
            "400 FORMAT_ERROR dateFrom",
        ),
        (
            "bookingStatus=both&deltaList=1",
            "400 FORMAT_ERROR deltaList",
        ),
        (
            "bookingStatus=both&deltaList=true&entryReferenceFrom=T0000001",
            "400 PARAMETER_NOT_CONSISTENT deltaList",
        ),
        (
            "bookingStatus=both&entryReferenceFrom=",
            "400 FORMAT_ERROR entryReferenceFrom",
        ),
        (
            "bookingStatus=both&entryReferenceFrom=none",
            "400 RESOURCE_UNKNOWN entryReferenceFrom",
        ),
        (
            "entryReferenceFrom=T0000001",
            "400 FORMAT_ERROR bookingStatus",
        ),
    ] {
        assert_eq!(
            scene
                .tpp
                .read(&format!("{path}?{query}"), &consent)
                .await
                .refusal(),
            refusal,
            "{query}"
        );
    }
    let missing = scene.tpp.get("/v1/accounts", &[]).await;
    assert_eq!(missing.refusal(), "400 FORMAT_ERROR Consent-ID");
    let twice = [("Consent-ID", "a"), ("Consent-ID", "b")];
    let twice = scene.tpp.get("/v1/accounts", &twice).await;
    assert_eq!(twice.refusal(), "400 FORMAT_ERROR Consent-ID");
    for (method, path, refusal) in [
        ("GET", "/v1/nothing", "404 RESOURCE_UNKNOWN"),
        ("GET", "/", "404 RESOURCE_UNKNOWN"),
        ("POST", "/v1/accounts", "405 SERVICE_INVALID"),
        ("PUT", "/v1/consents", "405 SERVICE_INVALID"),
        ("TRACE", "/v1/accounts", "405 SERVICE_INVALID"),
    ] {
        assert_eq!(
            scene.tpp.send(method, path, &[], None).await.refusal(),
            refusal,
            "{method} {path}"
        );
    }
}
