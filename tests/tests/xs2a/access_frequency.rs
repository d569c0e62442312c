//! Access frequency of a consent: each endpoint and account by itself, by the bank's day, and exactly.

use bank_client::environment::Clock as _;
use bank_server::config::Config;
use chrono::{Days, Months, NaiveDate, TimeDelta};
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::consent_requests::PSU;
use tests::http::{Response, Tpp};
use tests::stores;

/// A consent for all accounts and 150 days, that allows so many unattended reads a day; approved.
async fn consent(banks: &Banks, tpp: &Tpp, per_day: u32) -> String {
    let until = banks.today() + Days::new(150);
    let consent = banks.consent(tpp).until(until).frequency(per_day);
    consent.approved().await
}

async fn attended(tpp: &Tpp, path: &str, consent: &str) -> Response {
    tpp.get(path, &[("Consent-ID", consent), PSU]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_answered_whose_note_cannot_be_made() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let earlier = consent(&banks, &tpp, 4).await;
    let consent = consent(&banks, &tpp, 4).await;
    let database = stores::of(&banks.folder.path().join("bank-b.toml")).await;
    // Of two that are used at this time, only one can be noted.
    let used = sqlx::query("UPDATE consent SET last_use = $1 WHERE id = $2");
    let used = used.bind(banks.clock.now().timestamp()).bind(earlier);
    used.execute(database.pool()).await.unwrap();
    let only_one = sqlx::query("CREATE UNIQUE INDEX only_one ON consent (last_use)");
    only_one.execute(database.pool()).await.unwrap();
    let answer = attended(&tpp, "/v1/accounts", &consent).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let noted = async || {
        let noted = sqlx::query_scalar("SELECT COUNT(last_use) FROM consent");
        let noted: i64 = noted.fetch_one(database.pool()).await.unwrap();
        noted
    };
    assert_eq!(noted().await, 1);
    // It was that alone.
    let any_number = sqlx::query("DROP INDEX only_one");
    any_number.execute(database.pool()).await.unwrap();
    attended(&tpp, "/v1/accounts", &consent).await;
    assert_eq!(noted().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_threads_that_hammer_exactly_four_reads_succeed() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    // The same bank, twice: what counts is in the database.
    let twin = banks.replica_of_b(|_| ()).await;
    let at_twin = Tpp::new(twin.xs2a_address(), tpp.identity.clone());
    for path in ["/v1/accounts", "/v1/card-accounts"] {
        let consent = consent(&banks, &tpp, 4).await;
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let tpp = if number % 2 == 0 { &tpp } else { &at_twin }.clone();
                let consent = consent.clone();
                tokio::spawn(async move {
                    let mut statuses = Vec::new();
                    for _ in 0..3 {
                        statuses.push(tpp.read(path, &consent).await.status);
                    }
                    statuses
                })
            })
            .collect();
        let mut statuses = Vec::new();
        for thread in threads {
            statuses.extend(thread.await.unwrap());
        }
        let answered = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!((statuses.len(), answered), (24, 4), "{path}: {statuses:?}");
        // A row that is locked for too long is answered with 503, and counts nothing.
        let known = statuses
            .iter()
            .all(|status| [200, 429, 503].contains(status));
        assert!(known, "{path}: {statuses:?}");
    }
    twin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_and_account_counts_by_itself_and_the_customers_presence_not_at_all() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let accounts = banks.accounts_at_b();
    let (first, second, card) = (accounts[0].id, accounts[1].id, accounts[3].id);
    let consent = consent(&banks, &tpp, 2).await;
    let since = banks.today().checked_sub_months(Months::new(2)).unwrap();
    let days = format!("dateFrom={since}&bookingStatus=booked");
    let listed = attended(
        &tpp,
        &format!("/v1/accounts/{first}/transactions?{days}"),
        &consent,
    )
    .await
    .json();
    let booked = listed["transactions"]["booked"].as_array().unwrap();
    let details = |index: usize| {
        booked[index]["_links"]["transactionDetails"]["href"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for path in [
        "/v1/accounts".to_owned(),
        "/v1/card-accounts".to_owned(),
        format!("/v1/accounts/{first}"),
        format!("/v1/accounts/{second}"),
        format!("/v1/card-accounts/{card}"),
        format!("/v1/accounts/{first}/balances"),
        format!("/v1/accounts/{second}/balances"),
        format!("/v1/card-accounts/{card}/balances"),
        format!("/v1/accounts/{first}/transactions?{days}"),
        format!("/v1/accounts/{second}/transactions?{days}"),
        format!("/v1/card-accounts/{card}/transactions?{days}"),
        details(0),
        details(1),
    ] {
        for expected in [200, 200, 429, 429] {
            let answer = tpp.read(&path, &consent).await;
            assert_eq!(answer.status, expected, "{path}");
            if expected == 429 {
                assert_eq!(answer.refusal(), "429 ACCESS_EXCEEDED");
            }
        }
        for _ in 0..3 {
            assert_eq!(attended(&tpp, &path, &consent).await.status, 200, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_another_reason_does_not_count() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let account = banks.accounts_at_b()[0].id;
    let consent = consent(&banks, &tpp, 1).await;
    let list = format!("/v1/accounts/{account}/transactions");
    let today = banks.today();
    for wrong in [
        format!("{list}?bookingStatus=booked"),
        format!("{list}?bookingStatus=none&dateFrom={today}"),
        format!("{list}?bookingStatus=booked&dateFrom={today}&page=made-up"),
        format!("{list}/none"),
        "/v1/accounts?withBalance=perhaps".to_owned(),
    ] {
        for _ in 0..2 {
            let status = tpp.read(&wrong, &consent).await.status;
            assert!([400, 404].contains(&status), "{wrong}: {status}");
        }
    }
    for right in [
        format!("{list}?bookingStatus=booked&dateFrom={today}"),
        "/v1/accounts".to_owned(),
    ] {
        assert_eq!(tpp.read(&right, &consent).await.status, 200, "{right}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_one_read_and_page_tokens_cannot_be_forged() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let accounts = banks.accounts_at_b();
    let consent = consent(&banks, &tpp, 1).await;
    let since = banks.today().checked_sub_months(Months::new(2)).unwrap();
    let path = |account: usize| {
        let id = accounts[account].id;
        format!(
            "/v1/accounts/{id}/transactions?dateFrom={since}&bookingStatus=both&pageSize=5&withBalance=true"
        )
    };
    let next = |answer: &Response| {
        let link = &answer.json()["transactions"]["_links"]["next"]["href"];
        link.as_str().map(str::to_owned)
    };
    let first = tpp.read(&path(0), &consent).await;
    assert!(first.json()["balances"].is_array());
    let mut page = next(&first).expect("more than one page");
    let second = page.clone();
    for _ in 0..3 {
        let answer = tpp.read(&page, &consent).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.json()["balances"],
            Value::Null,
            "balances are counted"
        );
        page = next(&answer).unwrap_or(page);
    }
    let with_balances = tpp
        .read(&format!("{second}&withBalance=true"), &consent)
        .await;
    assert_eq!(with_balances.json()["balances"], Value::Null);
    assert_eq!(
        tpp.read(&path(0), &consent).await.refusal(),
        "429 ACCESS_EXCEEDED"
    );

    // A page of one list is none of another, nor one with other days, nor of another consent.
    let refused = "400 FORMAT_ERROR page";
    let (_, token) = second.split_once("&page=").unwrap();
    let moved = path(1).replace("&withBalance=true", "") + "&page=" + token;
    let other_days = second.replace(&since.to_string(), "2020-01-01");
    let touched = second
        .replacen("&page=b", "&page=p", 1)
        .replacen("&page=p", "&page=b", 1)
        + "x";
    let made_up = path(0) + "&page=b.2020-01-01.1.1800000000.AAAA";
    for wrong in [moved, other_days, touched, made_up] {
        assert_eq!(
            tpp.read(&wrong, &consent).await.refusal(),
            refused,
            "{wrong}"
        );
    }
    let another = banks
        .consent(&banks.at_b(&banks.sandbox.pki.bank_r.qwac))
        .approved()
        .await;
    let stranger = banks.at_b(&banks.sandbox.pki.bank_r.qwac);
    assert_eq!(stranger.read(&second, &another).await.refusal(), refused);

    // A walk lasts an hour.
    banks.clock.advance(TimeDelta::minutes(60));
    assert_eq!(tpp.read(&second, &consent).await.status, 200);
    banks.clock.advance(TimeDelta::seconds(1));
    assert_eq!(tpp.read(&second, &consent).await.refusal(), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_count_begins_anew_at_the_banks_midnight_whatever_the_clocks_do() {
    let banks = Banks::start().await;
    let berlin = |config: &mut Config| config.bank.time_zone = "Europe/Berlin".parse().unwrap();
    let bank = banks.replica_of_b(berlin).await;
    let tpp = Tpp::new(bank.xs2a_address(), banks.a_at_b().identity);
    // A day in winter, one of 23 hours, and one of 25.
    for (begin, last_second) in [
        ("2027-01-14T23:00:00Z", "2027-01-15T22:59:59Z"),
        ("2027-03-27T23:00:00Z", "2027-03-28T21:59:59Z"),
        ("2027-10-30T22:00:00Z", "2027-10-31T22:59:59Z"),
    ] {
        let midnight: chrono::DateTime<chrono::Utc> = begin.parse().unwrap();
        banks.move_to(&(midnight - TimeDelta::hours(1)).to_rfc3339());
        let consent = consent(&banks, &tpp, 1).await;
        let read = async || tpp.read("/v1/accounts", &consent).await.status;
        assert_eq!(
            (read().await, read().await),
            (200, 429),
            "the evening before"
        );
        banks.move_to(&(midnight - TimeDelta::seconds(1)).to_rfc3339());
        assert_eq!(read().await, 429, "{begin}: a second before midnight");
        banks.move_to(begin);
        assert_eq!((read().await, read().await), (200, 429), "{begin}");
        banks.move_to(last_second);
        assert_eq!(read().await, 429, "{last_second}");
        banks.clock.advance(TimeDelta::seconds(1));
        assert_eq!(
            (read().await, read().await),
            (200, 429),
            "after {last_second}"
        );
    }
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_for_one_read_opens_each_resource_once_and_ends() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let account = banks.accounts_at_b()[0].id;
    let status = async |consent: &str| {
        let path = format!("/v1/consents/{consent}/status");
        tpp.get(&path, &[]).await.json()["consentStatus"].clone()
    };
    // By time: it opens transactions, of which there is always one more to look at.
    let until = banks.today() + Days::new(150);
    let by_time = banks.consent(&tpp).until(until).once().approved().await;
    let balances = format!("/v1/accounts/{account}/balances");
    banks
        .clock
        .advance(TimeDelta::minutes(60) - TimeDelta::seconds(1));
    for path in [
        "/v1/accounts?withBalance=true",
        "/v1/card-accounts",
        &balances,
    ] {
        assert_eq!(attended(&tpp, path, &by_time).await.status, 200, "{path}");
        for again in [
            attended(&tpp, path, &by_time).await,
            tpp.read(path, &by_time).await,
        ] {
            assert_eq!(again.refusal(), "429 ACCESS_EXCEEDED", "{path}");
        }
    }
    banks
        .clock
        .advance(TimeDelta::minutes(20) - TimeDelta::seconds(1));
    assert_eq!(status(&by_time).await, "valid");
    banks.clock.advance(TimeDelta::seconds(1));
    assert_eq!(status(&by_time).await, "expired");
    let late = tpp.read(&format!("/v1/accounts/{account}"), &by_time).await;
    assert_eq!(late.refusal(), "401 CONSENT_EXPIRED");

    // By use: all that it opens was read.
    let list = json!({ "availableAccounts": "allAccounts" });
    let by_use = banks.consent(&tpp).access(&list).once().approved().await;
    assert_eq!(tpp.read("/v1/accounts", &by_use).await.status, 200);
    assert_eq!(status(&by_use).await, "valid", "the card is left");
    assert_eq!(tpp.read("/v1/card-accounts", &by_use).await.status, 200);
    assert_eq!(status(&by_use).await, "expired");
    assert_eq!(
        tpp.read("/v1/card-accounts", &by_use).await.refusal(),
        "401 CONSENT_EXPIRED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_for_one_read_that_is_not_used_ends_an_hour_after_its_approval() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let until = banks.today() + Days::new(90);
    let consent = banks.consent(&tpp).until(until).once().approved().await;
    // The last day is cut to the one on which it can be read, and told.
    let told = tpp.get(&format!("/v1/consents/{consent}"), &[]).await;
    let last: NaiveDate = serde_json::from_value(told.json()["validUntil"].clone()).unwrap();
    assert!(last <= banks.today() + Days::new(1), "{last}");
    banks.clock.advance(TimeDelta::minutes(60));
    let late = tpp.read("/v1/accounts", &consent).await;
    assert_eq!(late.refusal(), "401 CONSENT_EXPIRED");
    let path = format!("/v1/consents/{consent}/status");
    assert_eq!(tpp.get(&path, &[]).await.json()["consentStatus"], "expired");
}
