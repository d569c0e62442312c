//! Two replicas on one database: any request can go to any of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bank_client::environment::{Clock as _, ManualClock, SystemRandomness};
use bank_client::vault::Key;
use bank_server::config::Config;
use bank_server::{BankServer, RunningBank, StartError};
use chrono::{Days, TimeDelta, Timelike as _};
use fixtures::sandbox::CUSTOMER;
use fixtures::world::Bank;
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::browser::{Tab, code_of};
use tests::consent_requests::{PSU, ask};
use tests::customer::Customer;
use tests::http::{Response, Tpp};
use tests::stores;
use tests::wait::wait_until;

/// Bank B, twice, and a TPP at each.
struct Pair {
    banks: Banks,
    second: RunningBank,
    at_first: Tpp,
    at_second: Tpp,
}

impl Pair {
    async fn start() -> Self {
        let banks = Banks::start().await;
        let second = banks.replica_of_b(|_| ()).await;
        let at_first = banks.a_at_b();
        let at_second = Tpp::new(second.xs2a_address(), at_first.identity.clone());
        Self {
            banks,
            second,
            at_first,
            at_second,
        }
    }

    /// So many at once, half of them at each.
    async fn at_once<F>(&self, requests: usize, send: impl Fn(Tpp) -> F) -> Vec<Response>
    where
        F: Future<Output = Response> + Send + 'static,
    {
        let asked: Vec<_> = (0..requests)
            .map(|number| {
                let tpp = if number % 2 == 0 {
                    &self.at_first
                } else {
                    &self.at_second
                };
                tokio::spawn(send(tpp.clone()))
            })
            .collect();
        let mut answers = Vec::new();
        for answer in asked {
            answers.push(answer.await.unwrap());
        }
        answers
    }
}

/// The headers of a request that is sent again and again.
const ONE_REQUEST: [(&str, &str); 2] = [
    PSU,
    ("X-Request-ID", "5c3b6a0e-5d0c-4b35-8d3b-0a6a5a1d7b01"),
];

/// Asks for a consent and passes the customer's password on. Gives where her code goes.
async fn awaiting_a_code(tpp: &Tpp, banks: &Banks, customer: &Customer) -> String {
    let embedded = [("TPP-Redirect-Preferred", "false")];
    let asked = ask(banks, tpp, &embedded).await.json();
    let start = asked["_links"]["startAuthorisationWithPsuAuthentication"]["href"]
        .as_str()
        .unwrap_or_else(|| panic!("{asked}"));
    let password = json!({ "psuData": { "password": customer.password().expose() } }).to_string();
    let begun = tpp.post(start, &[("PSU-ID", CUSTOMER)], &password).await;
    assert_eq!(begun.status, 201, "{begun:?}");
    let id = begun.json()["authorisationId"].as_str().unwrap().to_owned();
    format!("{start}/{id}")
}

/// Passes a code on.
fn answer(tpp: Tpp, path: &str, code: &str) -> impl Future<Output = Response> + Send + 'static {
    let (path, code) = (path.to_owned(), code.to_owned());
    async move { tpp.send("PUT", &path, &[], Some(&code)).await }
}

/// Number of responses by status.
fn statuses(answers: &[Response]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_at_one_has_ended_at_the_other() {
    let pair = Pair::start().await;
    let customer = Customer::of(&pair.banks).await;
    let read = async |tpp: &Tpp, consent: &str| tpp.read("/v1/accounts", consent).await;
    for end in ["the customer", "the TPP"] {
        let consent = pair.banks.consent(&pair.at_first).approved();
        let consent = consent.await;
        for tpp in [&pair.at_first, &pair.at_second] {
            assert_eq!(read(tpp, &consent).await.status, 200);
        }
        if end == "the customer" {
            assert!(customer.revoke(&consent).await);
        } else {
            let path = format!("/v1/consents/{consent}");
            let answer = pair.at_first.send("DELETE", &path, &[], None).await;
            assert_eq!(answer.status, 204);
        }
        let ended = Instant::now();
        if end == "the TPP" {
            let answer = read(&pair.at_first, &consent).await;
            assert_eq!(
                answer.status, 401,
                "where it was ended, at once: {answer:?}"
            );
        }
        // The others know within a second: later requests are refused.
        for tpp in [&pair.at_second, &pair.at_first] {
            wait_until("the end of the consent", async || {
                let after = ended.elapsed();
                let answer = read(tpp, &consent).await;
                if answer.status == 401 {
                    return Some(());
                }
                assert_eq!(answer.status, 200, "{end}: {answer:?}");
                assert!(after < Duration::from_secs(1), "{end}: {after:?}");
                None
            })
            .await;
        }
    }
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_used_at_one_is_used_up_at_both() {
    let pair = Pair::start().await;
    let customer = Customer::of(&pair.banks).await;
    // Begun at one, carried on at both.
    let path = awaiting_a_code(&pair.at_first, &pair.banks, &customer).await;
    let code = json!({ "scaAuthenticationData": customer.code().expose() }).to_string();
    // Of more than five at once, the sixth might have to wait.
    let answers = pair.at_once(4, |tpp| answer(tpp, &path, &code)).await;
    let counts = statuses(&answers);
    assert_eq!(counts.get(&200), Some(&1), "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        let refusal = answer.refusal();
        assert!(
            refusal == "409 STATUS_INVALID" || refusal == "400 SCA_INVALID scaAuthenticationData",
            "{refusal}"
        );
    }
    // Nor is it good for anything else, at the other.
    let path = awaiting_a_code(&pair.at_second, &pair.banks, &customer).await;
    let again = answer(pair.at_second.clone(), &path, &code).await;
    assert_eq!(again.refusal(), "400 SCA_INVALID scaAuthenticationData");
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_wrong_codes_at_once_five_are_looked_at() {
    let pair = Pair::start().await;
    let anna = Customer::of(&pair.banks).await;
    let path = awaiting_a_code(&pair.at_first, &pair.banks, &anna).await;
    // As wrong as a code can be: right, but of long ago.
    let code = code_of(&pair.banks, &pair.banks.customer(Bank::B), -1000);
    let code = json!({ "scaAuthenticationData": code }).to_string();
    let answers = pair.at_once(8, |tpp| answer(tpp, &path, &code)).await;
    let counts = statuses(&answers);
    assert_eq!(counts.get(&400), Some(&5), "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 400) {
        let refusal = answer.refusal();
        assert!(
            refusal == "429 ACCESS_EXCEEDED" || refusal == "409 STATUS_INVALID",
            "{refusal}"
        );
    }
    // Nor are there more for something else.
    let path = awaiting_a_code(&pair.at_second, &pair.banks, &anna).await;
    let sixth = answer(pair.at_second.clone(), &path, &code).await;
    assert_eq!(sixth.refusal(), "429 ACCESS_EXCEEDED");
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_id_has_one_effect_wherever_it_goes() {
    let pair = Pair::start().await;
    let body = pair.banks.consent_body().to_string();
    let answers = pair
        .at_once(8, |tpp| {
            let body = body.clone();
            async move { tpp.post("/v1/consents", &ONE_REQUEST, &body).await }
        })
        .await;
    let ids: Vec<Value> = answers
        .iter()
        .map(|answer| answer.json()["consentId"].clone())
        .collect();
    assert!(ids[0].is_string(), "{answers:?}");
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // Another body is refused at both, of which one has not created the consent.
    for tpp in [&pair.at_first, &pair.at_second] {
        let access = json!({ "availableAccounts": "allAccounts" });
        let other = pair.banks.consent(tpp).access(&access).body().to_string();
        let refused = tpp.post("/v1/consents", &ONE_REQUEST, &other).await;
        assert_eq!(refused.refusal(), "400 FORMAT_ERROR X-Request-ID");
    }
    pair.second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_another_key_does_not_start() {
    let banks = Banks::start().await;
    let key = banks.folder.path().join("another.key");
    Key::from_file(&key, &SystemRandomness).unwrap();
    let replica = banks.start_replica("bank-b.toml", |config| config.store.key = key);
    let refused = replica.await.err().unwrap();
    assert!(matches!(refused, StartError::OtherKey(_)), "{refused}");
    assert!(refused.to_string().contains("another.key is not the key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_is_removed_while_the_bank_runs() {
    let banks = Banks::start().await;
    let database = stores::of(&banks.folder.path().join("bank-b.toml")).await;
    for (digest, days) in [("over", 2), ("goes on", 0)] {
        let then = (banks.clock.now() - TimeDelta::days(days)).timestamp();
        sqlx::query("INSERT INTO session (digest, psu, level, begun, last_seen) VALUES ($1, 'a', 'full', $2, $2)")
            .bind(digest)
            .bind(then)
            .execute(database.pool())
            .await
            .unwrap();
    }
    // Not at the start, but every ten minutes from then on.
    let replica = banks.replica_of_b(|_| ()).await;
    banks.clock.advance(TimeDelta::minutes(10));
    let left = wait_until("the removal", async || {
        let left: Vec<String> = sqlx::query_scalar("SELECT digest FROM session")
            .fetch_all(database.pool())
            .await
            .unwrap();
        (left.len() < 2).then_some(left)
    })
    .await;
    assert_eq!(left, ["goes on"]);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_at_one_is_logged_in_at_the_other_and_logged_out_of_both() {
    let banks = Banks::start().await;
    let second = banks.replica_of_b(|_| ()).await;
    let anna = banks.customer(Bank::B);
    let mut at_first = Tab::at(&banks.sandbox.bank(Bank::B).running);
    let mut at_second = Tab::at(&second);
    at_first.log_in(&banks, &anna).await;
    at_second.browser.cookies = at_first.browser.cookies.clone();
    assert_eq!(at_second.get("/").await.status, 200);
    assert_eq!(at_second.page.path(), "/");
    at_second.submit("/log-out", &[]).await;
    at_first.get("/").await;
    assert!(
        at_first.page.path().starts_with("/log-in"),
        "{:?}",
        at_first.page.path()
    );
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_clock_is_ahead_locks_no_customer_out() {
    let banks = Banks::start().await;
    let (tpp, anna) = (banks.a_at_b(), banks.customer(Bank::B));
    let right = &banks.sandbox.bank(Bank::B).running;
    // Noon: in the last minute of a day, the next one has begun for what is counted.
    let hour = i64::from(banks.clock.now().hour());
    banks.clock.advance(TimeDelta::hours((36 - hour) % 24));
    for (network, ahead) in [(1, TimeDelta::days(1)), (2, TimeDelta::days(30))] {
        let config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
        let clock = ManualClock::at(banks.clock.now() + ahead);
        let fast = BankServer::new(config).clock(Arc::new(clock));
        let fast = fast.start().await.unwrap();
        let until = banks.today() + Days::new(150);
        let consent = banks.consent(&tpp).until(until).frequency(4).approved();
        let consent = consent.await;
        let at_fast = Tpp::new(fast.xs2a_address(), tpp.identity.clone());
        let reads = async |tpp: &Tpp| {
            let mut statuses = Vec::new();
            for _ in 0..5 {
                statuses.push(tpp.read("/v1/accounts", &consent).await.status);
            }
            statuses
        };
        assert_eq!(reads(&at_fast).await, [200, 200, 200, 200, 429]);
        assert_eq!(reads(&tpp).await, [200, 200, 200, 200, 429], "{ahead}");

        let wrong = [
            ("customer", anna.id.as_str()),
            ("password", "wrong"),
            ("code", "000000"),
        ];
        let mut guessing = Tab::at(&fast);
        guessing.browser.from = Some([127, 0, network, 1].into());
        guessing.get("/log-in").await;
        for _ in 0..5 {
            guessing.submit("/log-in", &wrong).await;
        }
        let mut browser = Tab::at(right);
        browser.browser.from = guessing.browser.from;
        browser.get("/log-in").await;
        // That it has to wait begins now, if at all.
        browser.submit("/log-in", &wrong).await;
        banks.clock.advance(TimeDelta::seconds(61));
        browser.log_in(&banks, &anna).await;
        assert_eq!(browser.page.heading(), "Accounts", "{ahead}");
        fast.stop().await;
    }
}
