//! The life of a consent over time: what is asked for, approved, replaced, and ended; and what each kind opens.

use bank_server::config::Config;
use chrono::{Days, TimeDelta};
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::consent_requests::PSU;
use tests::http::Tpp;

/// Status and day of the last action.
async fn stands(tpp: &Tpp, consent: &str) -> String {
    let body = tpp
        .get(&format!("/v1/consents/{consent}"), &[])
        .await
        .json();
    let status = tpp
        .get(&format!("/v1/consents/{consent}/status"), &[])
        .await
        .json();
    assert_eq!(body["consentStatus"], status["consentStatus"]);
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    format!("{} {}", text("consentStatus"), text("lastActionDate"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_day_is_cut_to_180_days_told_and_kept() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let (today, longest) = (banks.today(), banks.today() + Days::new(180));
    for (asked, granted) in [
        (json!("9999-12-31"), longest),
        (json!(today + Days::new(181)), longest),
        (json!(longest), longest),
        (json!(today + Days::new(7)), today + Days::new(7)),
    ] {
        let asked = asked.as_str().unwrap();
        let created = banks.consent(&tpp).until(asked).ask().await.json();
        let id = created["consentId"].as_str().unwrap();
        let cut = asked != granted.to_string();
        let message = &created["psuMessage"];
        assert_eq!(
            message
                .as_str()
                .is_some_and(|text| text.contains(&granted.to_string())),
            cut,
            "{asked}: {message}"
        );
        let consent = tpp.get(&format!("/v1/consents/{id}"), &[]).await.json();
        assert_eq!(consent["validUntil"], json!(granted), "{asked}");
    }
    // One that was cut, and one that was not: the last day counts, and the next does not.
    for (asked, days) in [(Some("9999-12-31"), 180), (None, 30)] {
        let in_30_days = (banks.today() + Days::new(30)).to_string();
        let asked = asked.unwrap_or(&in_30_days);
        let id = banks.consent(&tpp).until(asked).approved().await;
        banks.clock.advance(TimeDelta::days(days));
        assert_eq!(tpp.read("/v1/accounts", &id).await.status, 200, "{asked}");
        banks.clock.advance(TimeDelta::days(1));
        assert_eq!(
            tpp.read("/v1/accounts", &id).await.refusal(),
            "401 CONSENT_EXPIRED"
        );
        assert_eq!(
            stands(&tpp, &id).await,
            format!("expired {}", banks.today())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_day_is_the_banks_own() {
    let banks = Banks::start().await;
    let berlin = |config: &mut Config| config.bank.time_zone = "Europe/Berlin".parse().unwrap();
    let bank = banks.replica_of_b(berlin).await;
    let tpp = Tpp::new(bank.xs2a_address(), banks.a_at_b().identity);
    // In Berlin it is the day before clocks go forward, and an hour later the day itself.
    banks.move_to("2027-03-27T22:00:00Z");
    let consent = banks.consent(&tpp).until("2027-03-28");
    let id = consent.clone().approved().await;
    assert_eq!(stands(&tpp, &id).await, "valid 2027-03-27");
    banks.move_to("2027-03-28T21:59:59Z");
    assert_eq!(tpp.read("/v1/accounts", &id).await.status, 200);
    banks.move_to("2027-03-28T22:00:00Z");
    assert_eq!(stands(&tpp, &id).await, "expired 2027-03-29");
    let answer = consent.ask().await;
    assert_eq!(answer.refusal(), "400 PERIOD_INVALID validUntil");
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_without_approval_lapses() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    banks.move_to(&format!("{}T12:00:00Z", banks.today() + Days::new(1)));
    let day = banks.today();
    let id = banks.consent(&tpp).received().await;
    banks
        .clock
        .advance(TimeDelta::minutes(60) - TimeDelta::seconds(1));
    assert_eq!(stands(&tpp, &id).await, format!("received {day}"));
    banks.clock.advance(TimeDelta::seconds(1));
    assert_eq!(stands(&tpp, &id).await, format!("rejected {day}"));
    let path = format!("/v1/consents/{id}/authorisations");
    assert_eq!(
        tpp.post(&path, &[], "{}").await.refusal(),
        "409 STATUS_INVALID"
    );
    assert_eq!(
        tpp.read("/v1/accounts", &id).await.refusal(),
        "401 CONSENT_INVALID"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_recurring_consent_replaces_the_old_one_when_it_is_approved_and_not_before() {
    let banks = Banks::start().await;
    let (tpp, stranger) = (banks.a_at_b(), banks.at_b(&banks.sandbox.pki.bank_r.qwac));
    let strangers = banks.consent(&stranger).approved().await;
    let old = banks.consent(&tpp).approved().await;
    let once = banks.consent(&tpp).once().approved().await;
    let new = banks.consent(&tpp).received().await;
    let status = async |tpp: &Tpp, id: &str| {
        let path = format!("/v1/consents/{id}/status");
        tpp.get(&path, &[]).await.json()["consentStatus"].clone()
    };
    assert_eq!(status(&tpp, &old).await, "valid", "it is not approved yet");
    assert_eq!(tpp.read("/v1/accounts", &old).await.status, 200);
    banks.approve(&tpp, &new).await;
    assert_eq!(status(&tpp, &old).await, "terminatedByTpp");
    assert_eq!(
        tpp.read("/v1/accounts", &old).await.refusal(),
        "401 CONSENT_INVALID"
    );
    assert_eq!(status(&tpp, &new).await, "valid");
    assert_eq!(
        status(&tpp, &once).await,
        "valid",
        "one for one read is none of it"
    );
    assert_eq!(
        status(&stranger, &strangers).await,
        "valid",
        "nor is another TPP's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn old_transactions_are_shown_shortly_after_the_customer_has_authenticated() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let account = banks.accounts_at_b()[0].id;
    let consent = banks.consent(&tpp).approved().await;
    let days_ago = |days: u64| banks.today() - Days::new(days);
    let list = |days: u64| {
        format!(
            "/v1/accounts/{account}/transactions?dateFrom={}&bookingStatus=booked&pageSize=5",
            days_ago(days)
        )
    };
    let details = async |list: &str| {
        let answer = tpp.read(list, &consent).await.json();
        let first = &answer["transactions"]["booked"][0];
        first["_links"]["transactionDetails"]["href"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let until = format!("{}&dateTo={}", list(700), days_ago(91));
    let (old, recent) = (details(&until).await, details(&list(90)).await);
    let walk = tpp.read(&list(700), &consent).await.json();
    let next = walk["transactions"]["_links"]["next"]["href"]
        .as_str()
        .unwrap();
    banks.clock.advance(TimeDelta::minutes(15));
    assert_eq!(tpp.read(&list(91), &consent).await.status, 200);
    assert_eq!(tpp.read(&old, &consent).await.status, 200);

    banks.clock.advance(TimeDelta::seconds(1));
    for list in [list(91), list(700), until] {
        assert_eq!(
            tpp.read(&list, &consent).await.refusal(),
            "400 PERIOD_INVALID dateFrom",
            "{list}"
        );
        let attended = tpp.get(&list, &[("Consent-ID", &consent), PSU]).await;
        assert_eq!(attended.refusal(), "400 PERIOD_INVALID dateFrom");
    }
    let never = format!("/v1/accounts/{account}/transactions/never");
    let (old, never) = (
        tpp.read(&old, &consent).await,
        tpp.read(&never, &consent).await,
    );
    assert_eq!(old.refusal(), "404 RESOURCE_UNKNOWN");
    assert_eq!(
        old.without_date_and_request_id(),
        never.without_date_and_request_id()
    );
    assert_eq!(tpp.read(&list(90), &consent).await.status, 200);
    assert_eq!(tpp.read(&recent, &consent).await.status, 200);
    assert_eq!(
        tpp.read(next, &consent).await.refusal(),
        "400 PERIOD_INVALID dateFrom",
        "nor on the later pages of a list that was begun in time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_available_accounts_opens_a_list_and_no_account() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let accounts = banks.accounts_at_b();
    let (account, card) = (accounts[0].id, accounts[3].id);
    let days = format!("dateFrom={}&bookingStatus=both", banks.today());
    for (access, balances, owner) in [
        (json!({ "availableAccounts": "allAccounts" }), false, false),
        (
            json!({ "availableAccounts": "allAccountsWithOwnerName" }),
            false,
            true,
        ),
        (
            json!({ "availableAccountsWithBalance": "allAccounts" }),
            true,
            false,
        ),
        (
            json!({ "availableAccountsWithBalance": "allAccountsWithOwnerName" }),
            true,
            true,
        ),
    ] {
        let consent = banks.consent(&tpp).access(&access).approved().await;
        for (kind, list, number) in [
            ("accounts", "accounts", 3),
            ("card-accounts", "cardAccounts", 1),
        ] {
            let answer = tpp
                .read(&format!("/v1/{kind}?withBalance=true"), &consent)
                .await
                .json();
            let listed = answer[list].as_array().unwrap();
            assert_eq!(listed.len(), number, "{access}");
            for account in listed {
                assert_eq!(account["balances"].is_array(), balances, "{access}");
                assert_eq!(account["ownerName"].is_string(), owner, "{access}");
                assert_eq!(account["_links"], Value::Null, "{access}");
                assert_eq!(account["resourceId"], Value::Null, "{access}");
            }
        }
        for path in [
            format!("/v1/accounts/{account}"),
            format!("/v1/accounts/{account}/balances"),
            format!("/v1/accounts/{account}/transactions?{days}"),
            format!("/v1/accounts/{account}/transactions/T0000001"),
            format!("/v1/card-accounts/{card}"),
            format!("/v1/card-accounts/{card}/balances"),
            format!("/v1/card-accounts/{card}/transactions?{days}"),
        ] {
            let refusal = tpp.read(&path, &consent).await.refusal();
            assert_eq!(refusal, "401 CONSENT_INVALID", "{access} {path}");
        }
        let stored = tpp
            .get(&format!("/v1/consents/{consent}"), &[])
            .await
            .json();
        assert_eq!(stored["access"], access);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owners_name_is_told_where_it_was_asked_for() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let accounts = banks.accounts_at_b();
    let (first, second) = (
        json!({ "iban": accounts[0].number }),
        json!({ "iban": accounts[1].number }),
    );
    for (access, named) in [
        (
            json!({ "accounts": [first, second], "additionalInformation": { "ownerName": [second] } }),
            vec![false, true],
        ),
        (json!({ "accounts": [first, second] }), vec![false, false]),
        (
            json!({ "balances": [], "additionalInformation": { "ownerName": [] } }),
            vec![true, true, true],
        ),
        (
            json!({ "allPsd2": "allAccountsWithOwnerName" }),
            vec![true; 3],
        ),
        (json!({ "allPsd2": "allAccounts" }), vec![false; 3]),
    ] {
        let consent = banks.consent(&tpp).access(&access).approved().await;
        let listed = tpp.read("/v1/accounts", &consent).await.json();
        let listed = listed["accounts"].as_array().unwrap();
        let found: Vec<bool> = listed
            .iter()
            .map(|account| account["ownerName"] == "Anna Weber")
            .collect();
        assert_eq!(found, named, "{access}");
        let id = listed[0]["resourceId"].as_str().unwrap();
        let one = tpp
            .read(&format!("/v1/accounts/{id}"), &consent)
            .await
            .json();
        assert_eq!(
            one["account"]["ownerName"].is_string(),
            named[0],
            "{access}"
        );
    }
}
