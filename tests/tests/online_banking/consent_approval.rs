//! Approving, refusing and ending consents on the bank's own pages and on the phone, and what
//! attackers try there.

use std::sync::Arc;

use bank_client::environment::{Randomness as _, SystemRandomness};
use bank_server::RunningBank;
use bank_server::config::Config;
use bank_server::consent::authorisation::Start;
use bank_server::core_banking::ledger::import;
use bank_server::domain::{PsuId, TotpSecret};
use bank_server::sca::Passwords;
use bank_server::store::credentials::CustomerCredentials;
use bank_server::store::vault::Vault;
use chrono::{Days, NaiveDate, TimeDelta};
use fixtures::browser::Page;
use fixtures::sandbox::CUSTOMER;
use fixtures::world::{Bank, SampleCustomer};
use serde_json::{Value, json};
use shared_types::xs2a::authorisation::ScaApproach;
use tests::banks::Banks;
use tests::browser::{Tab, at_bank_b, code_of};
use tests::http::Tpp;
use tests::stores;

/// Redirect URI of the TPP.
const BACK: &str = "https://bank-a.example/back?state=1";
const BACK_UNHAPPY: &str = "https://bank-a.example/sorry";

/// The button that leads on as another customer.
const ANOTHER: &str = "Log out and continue as another customer";

struct Stage {
    banks: Banks,
    tpp: Tpp,
    anna: SampleCustomer,
    browser: Tab,
}

impl Stage {
    async fn set() -> Self {
        let (banks, browser, anna) = at_bank_b().await;
        Self {
            tpp: banks.a_at_b(),
            anna,
            browser,
            banks,
        }
    }

    fn bank(&self) -> &RunningBank {
        &self.banks.sandbox.bank(Bank::B).running
    }

    fn another_customer(&self) -> SampleCustomer {
        self.banks.other_customer(Bank::B)
    }

    async fn consent(&self, access: &Value) -> String {
        let consent = self.banks.consent(&self.tpp).access(access);
        consent.received().await
    }

    /// Whether the bank ends the consent when that customer asks for it.
    async fn revoke(&self, customer: &SampleCustomer, consent: &str) -> bool {
        let psu = PsuId(customer.id.clone());
        let revoked = self.bank().authorisations().revoke(&psu, consent);
        revoked.await.unwrap()
    }

    /// An authorisation of the consent, as Bank A starts it.
    async fn authorise(&self, consent: &str, approach: ScaApproach, psu: Option<&str>) -> String {
        let tpp = self.banks.sandbox.bank(Bank::A).organisation.clone();
        let psu = psu.map(|id| PsuId(id.to_owned()));
        let redirect = approach == ScaApproach::Redirect;
        let started = self.bank().authorisations().start(Start {
            tpp: &tpp,
            consent_id: consent,
            digest: "",
            request_id: SystemRandomness.uuid(),
            psu: psu.as_ref(),
            approach,
            redirect_uri: redirect.then_some(BACK),
            nok_redirect_uri: redirect.then_some(BACK_UNHAPPY),
        });
        started.await.unwrap().id
    }

    /// A consent for a bank-offered choice, and the path at which it is approved.
    async fn asked(&self) -> (String, String) {
        let consent = self
            .consent(&json!({ "balances": [], "transactions": [] }))
            .await;
        let id = self.authorise(&consent, ScaApproach::Redirect, None).await;
        (consent, format!("/authorise/{id}"))
    }

    async fn status(&self, consent: &str) -> String {
        let answer = self
            .tpp
            .get(&format!("/v1/consents/{consent}/status"), &[])
            .await;
        answer.json()["consentStatus"].as_str().unwrap().to_owned()
    }

    /// The browser stands for the bank's app from then on.
    async fn enrol(&self, browser: &mut Tab, customer: &SampleCustomer) {
        browser.get("/phone/enrol").await;
        self.banks.clock.advance(TimeDelta::seconds(30));
        let code = code_of(&self.banks, customer, 0);
        browser.submit("/phone/enrol", &[("answer", &code)]).await;
        assert_eq!(browser.page.path(), "/phone", "{:?}", browser.page);
    }

    /// Anna, before the question of an authorisation, for which she has logged in.
    async fn before(&self, path: &str) -> Tab {
        let mut browser = self.browser.clone();
        browser.get(path).await;
        self.banks.clock.advance(TimeDelta::seconds(30));
        let code = code_of(&self.banks, &self.anna, 0);
        browser.identify(&self.anna, &code).await;
        assert_eq!(browser.page.path(), path, "{:?}", browser.page);
        browser
    }

    /// The same, logged in for all pages before.
    async fn logged_in_before(&self, path: &str) -> Tab {
        let mut browser = self.browser.clone();
        self.banks.clock.advance(TimeDelta::seconds(30));
        browser.log_in(&self.banks, &self.anna).await;
        self.banks.clock.advance(TimeDelta::seconds(30));
        browser.get(path).await;
        browser
    }
}

/// Access that accounts share is listed once, on the approval page and in the list of consents.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_accounts_share_is_listed_once() {
    let stage = Stage::set().await;
    let accounts = stage.banks.accounts_at_b().into_iter();
    let ibans: Vec<String> = accounts
        .filter(|account| !account.card)
        .map(|account| account.number)
        .collect();
    let all: Vec<Value> = ibans.iter().map(|iban| json!({ "iban": iban })).collect();
    for (transactions, groups) in [(&all[..], 1), (&all[..1], 2), (&all[..2], 2)] {
        let access = json!({ "accounts": all, "balances": all, "transactions": transactions });
        let consent = stage.consent(&access).await;
        let id = stage.authorise(&consent, ScaApproach::Redirect, None).await;
        let mut browser = stage.before(&format!("/authorise/{id}")).await;
        let is_grouped = |page: &Page| {
            let text = page.text();
            let text = text.split("Past access").next().unwrap();
            for bullet in [
                "Account number, name and type",
                "Balances",
                "Transactions, past and new",
                "For each of these accounts it can see:",
            ] {
                assert_eq!(text.matches(bullet).count(), 1, "{bullet}: {text}");
            }
            let additional = text.matches("In addition:").count();
            assert_eq!(additional, groups - 1, "{text}");
            let text = text.replace(' ', "");
            for iban in &ibans {
                assert_eq!(text.matches(iban.as_str()).count(), 1, "{iban}: {text}");
            }
        };
        is_grouped(&browser.page);
        browser.submit("/approve", &[]).await;
        assert_eq!(stage.status(&consent).await, "valid", "{:?}", browser.page);
        browser = stage.logged_in_before("/consents").await;
        is_grouped(&browser.page);
        assert!(stage.revoke(&stage.anna, &consent).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_note_is_shown_in_a_sandbox_alone() {
    const NOTE: &str = "Sandbox: this page stands for the bank's app.";

    let stage = Stage::set().await;
    for sandbox in [true, false] {
        let replica = stage.banks.replica_of_b(|config| {
            config.online_banking.as_mut().unwrap().sandbox = sandbox;
        });
        let replica = replica.await;
        let mut browser = Tab::at(&replica);
        browser.get("/phone").await;
        let text = browser.page.text();
        assert!(text.contains("not set up for approvals"), "{text}");
        assert_eq!(text.contains(NOTE), sandbox, "{text}");
        stage.banks.clock.advance(TimeDelta::seconds(30));
        browser.log_in(&stage.banks, &stage.anna).await;
        stage.enrol(&mut browser, &stage.anna).await;
        let text = browser.page.text();
        assert!(text.contains("No requests are waiting"), "{text}");
        assert_eq!(text.contains(NOTE), sandbox, "{text}");
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_read_in_plain_words_approved_seen_and_ended() {
    let stage = Stage::set().await;
    let (consent, path) = stage.asked().await;
    let mut browser = stage.browser.clone();
    browser.get(&path).await;
    assert!(
        browser
            .page
            .text()
            .contains("A third party is requesting access"),
        "{}",
        browser.page.text()
    );
    let code = code_of(&stage.banks, &stage.anna, 0);
    browser.identify(&stage.anna, &code).await;
    let page = browser.page.clone();
    let text = page.text();
    let organisation = stage.banks.sandbox.bank(Bank::A).organisation.to_string();
    for said in [
        "Bank A is requesting access to your accounts at Bank B",
        &organisation,
        "Balances",
        "Transactions, past and new",
        "times a day without you",
        "Until ",
        "It cannot make payments",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    // Only to where the answer leads; browsers hold redirects to it.
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("form-action 'self' https://bank-a.example;"),
        "{policy}"
    );
    // This log-in opens this page, and no account.
    assert_eq!(browser.clone().get("/").await.path(), "/log-in");
    // There is nothing to end yet.
    assert!(!stage.revoke(&stage.anna, &consent).await);

    // Of four accounts, one.
    let chosen = stage.anna.accounts[0].id.to_string();
    let page = browser.submit("/approve", &[("account", &chosen)]).await;
    assert_eq!(
        (page.status, page.header("location")),
        (303, Some(BACK)),
        "{page:?}"
    );
    assert_eq!(stage.status(&consent).await, "valid");
    let accounts = stage
        .tpp
        .read("/v1/accounts?withBalance=true", &consent)
        .await
        .json();
    assert_eq!(
        accounts["accounts"].as_array().unwrap().len(),
        1,
        "{accounts}"
    );
    assert_eq!(accounts["accounts"][0]["resourceId"], chosen.as_str());

    // The session was for this alone, and the page is over.
    let mut back = browser.clone();
    back.get(&path).await;
    assert_eq!(
        back.page.problem().as_deref(),
        Some("authorisation-finished")
    );

    stage.banks.clock.advance(TimeDelta::seconds(60));
    browser.log_in(&stage.banks, &stage.anna).await;
    let page = browser.get("/consents").await;
    let text = page.text();
    assert!(
        text.contains("Bank A Active") && text.contains("Last used"),
        "{text}"
    );
    // Only she can end it.
    assert!(!stage.revoke(&stage.another_customer(), &consent).await);
    assert_eq!(stage.status(&consent).await, "valid");
    let end = page.links("/consents/")[0].clone();
    let page = browser.get(&end).await;
    assert_eq!(page.heading(), "End access of Bank A?");
    let twice = browser.clone();
    browser.submit("/end", &[]).await;
    assert_eq!(browser.page.problem().as_deref(), Some("access-ended"));
    assert_eq!(stage.status(&consent).await, "revokedByPsu");
    let refused = stage.tpp.read("/v1/accounts", &consent).await;
    assert_eq!(refused.status, 401, "at once: {refused:?}");
    let mut twice = twice;
    twice.submit("/end", &[]).await;
    assert_eq!(twice.page.problem().as_deref(), Some("no-access-to-end"));
    let text = browser.get("/consents").await.text();
    assert!(
        text.contains("No one has access") && text.contains("Ended by you"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_refused_and_nothing_is_opened() {
    let stage = Stage::set().await;
    let (consent, path) = stage.asked().await;
    let mut browser = stage.before(&path).await;
    let tab = browser.clone();
    let page = browser.submit("/refuse", &[]).await;
    assert_eq!(
        (page.status, page.header("location")),
        (303, Some(BACK_UNHAPPY))
    );
    assert_eq!(stage.status(&consent).await, "rejected");
    // The other tab, and the back button.
    let mut tab = tab;
    tab.submit("/approve", &[]).await;
    assert_eq!(
        (tab.page.status, tab.page.problem().as_deref()),
        (403, Some("session-over"))
    );
    assert_eq!(
        browser.get(&path).await.problem().as_deref(),
        Some("authorisation-lapsed")
    );
    assert_eq!(stage.status(&consent).await, "rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn answering_an_ended_request_changes_nothing() {
    let stage = Stage::set().await;

    // The TPP has deleted the consent meanwhile.
    let (consent, path) = stage.asked().await;
    let mut browser = stage.before(&path).await;
    let deleted = stage
        .tpp
        .send("DELETE", &format!("/v1/consents/{consent}"), &[], None)
        .await;
    assert_eq!(deleted.status, 204);
    browser.submit("/approve", &[]).await;
    assert_eq!(
        (browser.page.status, browser.page.problem().as_deref()),
        (410, Some("consent-over"))
    );
    assert_eq!(stage.status(&consent).await, "terminatedByTpp");

    // The authorisation was left lying for too long.
    let (consent, path) = stage.asked().await;
    let mut browser = stage.logged_in_before(&path).await;
    for _ in 0..4 {
        stage.banks.clock.advance(TimeDelta::minutes(4));
        let mut other = browser.clone();
        other.get("/").await;
    }
    browser.submit("/approve", &[]).await;
    assert_eq!(
        browser.page.problem().as_deref(),
        Some("authorisation-lapsed")
    );
    assert_ne!(stage.status(&consent).await, "valid");
    browser
        .get("/authorise/5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11")
        .await;
    assert_eq!(
        browser.page.problem().as_deref(),
        Some("authorisation-unknown")
    );
    let answer = browser.send("GET", "/authorise/%2e%2e", &[], "").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_for_one_authorisation_and_once() {
    let stage = Stage::set().await;
    let (first, first_path) = stage.asked().await;
    let (second, second_path) = stage.asked().await;
    let mut browser = stage.browser.clone();
    browser.log_in(&stage.banks, &stage.anna).await;
    // The code that is shown while the first question is open, once the second is asked.
    stage.banks.clock.advance(TimeDelta::minutes(1));
    let question = {
        browser.get(&first_path).await;
        browser.clone()
    };
    let code = code_of(&stage.banks, &stage.anna, 0);
    let account = stage.anna.accounts[0].id.to_string();
    let account = ("account", account.as_str());
    browser.get(&second_path).await;
    let page = browser
        .submit("/approve", &[account, ("answer", &code)])
        .await;
    assert_eq!(page.status, 422, "it was shown for the first: {page:?}");
    assert!(page.text().contains("used before"), "{}", page.text());
    let mut first_again = question;
    first_again
        .submit("/approve", &[account, ("answer", &code)])
        .await;
    assert_eq!(
        first_again.page.status, 409,
        "and the first is not asked any more"
    );
    assert_eq!(stage.status(&second).await, "received");
    assert_eq!(stage.status(&first).await, "received");

    stage.banks.clock.advance(TimeDelta::minutes(2));
    browser.get(&second_path).await;
    let code = code_of(&stage.banks, &stage.anna, 0);
    let page = browser
        .submit("/approve", &[account, ("answer", &code)])
        .await;
    assert_eq!(page.status, 303, "{page:?}");
    browser.get(&first_path).await;
    browser
        .submit("/approve", &[account, ("answer", &code)])
        .await;
    assert_eq!(browser.page.status, 422, "replayed");
    assert!(browser.page.text().contains("used before"));
    assert_eq!(stage.status(&first).await, "received");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_customer_approves_for_another_or_for_anothers_account() {
    let stage = Stage::set().await;
    let else_ = stage.another_customer();
    // Started for Anna: another customer is not shown it.
    let consent = stage.consent(&json!({ "balances": [] })).await;
    let id = stage
        .authorise(&consent, ScaApproach::Redirect, Some(CUSTOMER))
        .await;
    let path = format!("/authorise/{id}");
    let mut other = stage.browser.clone();
    other.get(&path).await;
    other
        .identify(&else_, &code_of(&stage.banks, &else_, 0))
        .await;
    assert_eq!(
        (other.page.status, other.page.problem().as_deref()),
        (403, Some("authorisation-of-another"))
    );
    // Looked at by Anna: it is hers, and another's form for it is none of this session's.
    let (_, path) = stage.asked().await;
    let anna = stage.before(&path).await;
    let mut other = stage.browser.clone();
    // A log-in for one authorisation answers no other.
    let (_, second) = stage.asked().await;
    let page = anna.clone().get(&second).await.clone();
    assert_eq!(page.path(), format!("/log-in?to={second}"), "{page:?}");
    other.log_in(&stage.banks, &else_).await;
    other.get(&path).await;
    assert_eq!(
        other.page.problem().as_deref(),
        Some("authorisation-of-another")
    );
    other.page = anna.page.clone();
    let code = code_of(&stage.banks, &else_, 1);
    other.submit("/approve", &[("answer", &code)]).await;
    assert_eq!(other.page.problem().as_deref(), Some("foreign-form"));

    // An account of another's, named by the TPP, or put into the form.
    let foreign = else_.accounts.iter().find(|account| !account.card).unwrap();
    let named = json!({ "balances": [{ "iban": foreign.number }] });
    let consent = stage.consent(&named).await;
    let id = stage.authorise(&consent, ScaApproach::Redirect, None).await;
    let mut browser = stage.before(&format!("/authorise/{id}")).await;
    assert_eq!(
        (browser.page.status, browser.page.problem().as_deref()),
        (403, Some("not-the-customers"))
    );
    let (consent, path) = stage.asked().await;
    browser = stage.before(&path).await;
    let foreign = foreign.id.to_string();
    browser.submit("/approve", &[("account", &foreign)]).await;
    assert_eq!(browser.page.problem().as_deref(), Some("form-unreadable"));
    assert_eq!(stage.status(&consent).await, "received");
    // None at all is a mistake that is told at its place.
    browser.get(&path).await;
    let none = browser.form("/approve").without("account");
    browser.submit_form(&none).await;
    assert_eq!(browser.page.status, 422);
    assert!(browser.page.text().contains("Choose at least one account"));
}

/// A customer who was logged in before is named on the page, and a request that she only looks at
/// goes to the customer for whom it was made.
#[tokio::test(flavor = "multi_thread")]
async fn opening_a_request_binds_it_to_no_customer_who_was_logged_in_before() {
    let stage = Stage::set().await;
    let else_ = stage.another_customer();
    let goes_on_as = async |browser: &mut Tab, customer: &SampleCustomer, path: &str| {
        let form = browser.page.form(ANOTHER).unwrap();
        browser.submit_form(&form).await;
        assert_eq!(browser.page.path(), format!("/log-in?to={path}"));
        stage.banks.clock.advance(TimeDelta::seconds(30));
        let code = code_of(&stage.banks, customer, 0);
        browser.identify(customer, &code).await;
        assert_eq!(browser.page.path(), path, "{:?}", browser.page);
    };
    let (consent, path) = stage.asked().await;
    let mut browser = stage.logged_in_before(&path).await;
    let text = browser.page.text();
    assert!(text.contains("You are logged in as anna.weber"), "{text}");
    let mut old = browser.clone();
    goes_on_as(&mut browser, &else_, &path).await;
    old.submit("/refuse", &[]).await;
    assert_eq!(old.page.problem().as_deref(), Some("session-over"));
    // To all others it is another's, and they are not left there.
    stage.banks.clock.advance(TimeDelta::minutes(2));
    let mut anna = old;
    // The code of that half minute belongs to the question that she has left.
    anna.log_in(&stage.banks, &stage.anna).await;
    stage.banks.clock.advance(TimeDelta::seconds(30));
    let code = code_of(&stage.banks, &stage.anna, 0);
    anna.identify(&stage.anna, &code).await;
    assert_eq!(anna.page.path(), "/", "{:?}", anna.page);
    anna.get(&path).await;
    assert_eq!(
        (anna.page.status, anna.page.problem().as_deref()),
        (403, Some("authorisation-of-another"))
    );
    let form = anna.page.form(ANOTHER).unwrap();
    anna.submit_form(&form).await;
    assert_eq!(anna.page.path(), format!("/log-in?to={path}"));
    browser.submit("/refuse", &[]).await;
    assert_eq!(stage.status(&consent).await, "rejected");

    // Nor does it become hers where she has no such account.
    let own = stage.anna.accounts.iter().find(|account| !account.card);
    let iban = &own.unwrap().number;
    let consent = stage
        .consent(&json!({ "balances": [{ "iban": iban }] }))
        .await;
    let id = stage.authorise(&consent, ScaApproach::Redirect, None).await;
    let path = format!("/authorise/{id}");
    let mut browser = stage.browser.clone();
    stage.banks.clock.advance(TimeDelta::seconds(30));
    browser.log_in(&stage.banks, &else_).await;
    browser.get(&path).await;
    assert_eq!(browser.page.problem().as_deref(), Some("not-the-customers"));
    goes_on_as(&mut browser, &stage.anna, &path).await;
    browser.submit("/approve", &[]).await;
    assert_eq!(stage.status(&consent).await, "valid");

    // An answer makes it hers. Where its TPP has named her, it learns no earlier that she is logged
    // in.
    for named in [None, Some(stage.anna.id.as_str())] {
        // So long are codes kept for a question that was left.
        stage.banks.clock.advance(TimeDelta::minutes(11));
        let consent = stage
            .consent(&json!({ "balances": [], "transactions": [] }))
            .await;
        let id = stage.authorise(&consent, ScaApproach::Redirect, named);
        let id = id.await;
        let at = format!("/v1/consents/{consent}/authorisations/{id}");
        let status = async || stage.tpp.get(&at, &[]).await.json()["scaStatus"].clone();
        let before = status().await;
        let mut browser = stage.logged_in_before(&format!("/authorise/{id}")).await;
        assert!(
            browser.page.text().contains("Your decision"),
            "{:?}",
            browser.page
        );
        assert_eq!(status().await, before);
        // An answer that lacks the code is one.
        let form = browser.form("/approve").without("answer");
        browser.submit_form(&form).await;
        assert_eq!(status().await, "psuAuthenticated", "{:?}", browser.page);
        browser.submit("/refuse", &[]).await;
        assert_eq!(stage.status(&consent).await, "rejected");
    }
}

/// A log-in binds what can be answered alone, and only until the next customer logs in for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_request_is_assigned_to_the_last_customer_who_logged_in_for_it() {
    let stage = Stage::set().await;
    let else_ = stage.another_customer();
    let logs_in = async |path: &str| {
        let mut other = stage.browser.clone();
        other.get(path).await;
        stage.banks.clock.advance(TimeDelta::seconds(30));
        let code = code_of(&stage.banks, &else_, 0);
        other.identify(&else_, &code).await;
        other
    };
    // She has no such account.
    let own = stage.anna.accounts.iter().find(|account| !account.card);
    let own = own.unwrap();
    let named = json!({ "balances": [{ "iban": own.number }] });
    let consent = stage.consent(&named).await;
    let id = stage.authorise(&consent, ScaApproach::Redirect, None).await;
    let path = format!("/authorise/{id}");
    let other = logs_in(&path).await;
    assert_eq!(other.page.problem().as_deref(), Some("not-the-customers"));
    assert!(other.page.form(ANOTHER).is_ok(), "{:?}", other.page);
    let mut anna = stage.before(&path).await;
    anna.submit("/approve", &[]).await;
    assert_eq!(stage.status(&consent).await, "valid");
    // She has logged in, and left it. What is answered on the older page is not done.
    let (consent, path) = stage.asked().await;
    let old = stage.before(&path).await;
    let mut other = logs_in(&path).await;
    assert_eq!(other.page.path(), path, "{:?}", other.page);
    let account = own.id.to_string();
    for (answer, fields) in [
        ("/approve", vec![("account", account.as_str())]),
        ("/refuse", vec![]),
    ] {
        let mut anna = old.clone();
        anna.submit(answer, &fields).await;
        assert_eq!(
            (anna.page.status, anna.page.problem().as_deref()),
            (409, Some("not-finished"))
        );
    }
    assert_eq!(stage.status(&consent).await, "received");
    other.submit("/refuse", &[]).await;
    assert_eq!(stage.status(&consent).await, "rejected");
    // A wrong code is no answer.
    let (_, path) = stage.asked().await;
    let mut anna = stage.logged_in_before(&path).await;
    let wrong = [("account", account.as_str()), ("answer", "")];
    anna.submit("/approve", &wrong).await;
    assert_eq!(anna.page.status, 422, "{:?}", anna.page);
    assert!(anna.page.form(ANOTHER).is_ok(), "{:?}", anna.page);
    let other = logs_in(&path).await;
    assert_eq!(other.page.path(), path, "{:?}", other.page);
    anna.submit("/approve", &wrong).await;
    assert_eq!(anna.page.problem().as_deref(), Some("not-finished"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_phone_shows_what_waits_and_approves_with_the_password() {
    let stage = Stage::set().await;
    let mut phone = stage.browser.clone();
    phone.get("/phone").await;
    assert!(
        phone.page.text().contains("not set up"),
        "{}",
        phone.page.text()
    );
    phone.log_in(&stage.banks, &stage.anna).await;
    stage.enrol(&mut phone, &stage.anna).await;
    assert!(
        phone.page.text().contains("No requests are waiting"),
        "{}",
        phone.page.text()
    );
    // The app needs no session.
    phone.submit("/phone/remove", &[]).await;
    assert_eq!(phone.page.problem().as_deref(), Some("phone-removed"));
    stage.enrol(&mut phone, &stage.anna).await;
    let cookies = phone.browser.cookies.get_mut("bank-b.localhost");
    cookies.unwrap().remove("session");

    let consent = stage.consent(&json!({ "allPsd2": "allAccounts" })).await;
    stage
        .authorise(&consent, ScaApproach::Decoupled, Some(CUSTOMER))
        .await;
    let page = phone.get("/phone").await;
    let text = page.text();
    for said in [
        "Bank A is requesting access",
        "Authorisation number",
        "Transactions, past and new",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    phone.submit("/approve", &[("password", "wrong")]).await;
    assert_eq!(phone.page.status, 422);
    assert!(phone.page.text().contains("The password is not right"));
    // Nothing entered is no attempt.
    for _ in 0..5 {
        phone.submit("/approve", &[("password", "")]).await;
        assert!(phone.page.text().contains("Enter your password"));
    }
    assert_eq!(stage.status(&consent).await, "received");
    let mut other_tab = phone.clone();
    phone
        .submit("/approve", &[("password", &stage.anna.password)])
        .await;
    assert_eq!(
        phone.page.problem().as_deref(),
        Some("phone-approved"),
        "{:?}",
        phone.page
    );
    assert_eq!(stage.status(&consent).await, "valid");
    other_tab
        .submit("/approve", &[("password", &stage.anna.password)])
        .await;
    assert_eq!(other_tab.page.status, 409);

    let consent = stage.consent(&json!({ "balances": [] })).await;
    let id = stage
        .authorise(&consent, ScaApproach::Decoupled, Some(CUSTOMER))
        .await;
    // Another's phone does not show it, and cannot answer for her.
    let else_ = stage.another_customer();
    let mut other = stage.browser.clone();
    other.log_in(&stage.banks, &else_).await;
    stage.enrol(&mut other, &else_).await;
    assert!(other.page.text().contains("No requests are waiting"));
    phone.get("/phone").await;
    other
        .submit_form(&phone.form(&format!("{id}/refuse")))
        .await;
    assert_eq!(other.page.problem().as_deref(), Some("foreign-form"));
    phone.submit("/refuse", &[]).await;
    assert_eq!(phone.page.problem().as_deref(), Some("phone-refused"));
    assert_eq!(stage.status(&consent).await, "rejected");
    // Not on the page for the redirect approach, either.
    let consent = stage.consent(&json!({ "balances": [] })).await;
    let id = stage
        .authorise(&consent, ScaApproach::Decoupled, Some(CUSTOMER))
        .await;
    assert_eq!(
        other
            .get(&format!("/authorise/{id}"))
            .await
            .problem()
            .as_deref(),
        Some("other-way")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_off_consent_shows_its_last_day() {
    let stage = Stage::set().await;
    let until = stage.banks.today() + Days::new(90);
    let access = json!({ "availableAccounts": "allAccounts" });
    let consent = stage.banks.consent(&stage.tpp).access(&access);
    let consent = consent.until(until).once().received().await;
    let told = stage.tpp.get(&format!("/v1/consents/{consent}"), &[]).await;
    let last = told.json()["validUntil"].as_str().unwrap().to_owned();
    let last: NaiveDate = last.parse().unwrap();
    assert!(last < until, "{last}");
    let id = stage.authorise(&consent, ScaApproach::Redirect, None).await;
    let mut browser = stage.before(&format!("/authorise/{id}")).await;
    let last = last.format("%-d %B %Y").to_string();
    let once = format!("Once, within 60 minutes of your approval and no later than {last}");
    let text = browser.page.text();
    assert!(text.contains(&once), "{text}");
    browser.submit("/approve", &[]).await;
    stage.banks.clock.advance(TimeDelta::seconds(60));
    browser.log_in(&stage.banks, &stage.anna).await;
    let text = browser.get("/consents").await.text();
    assert!(text.contains(&last), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passkeys_are_listed_and_added_after_a_second_factor_alone() {
    let stage = Stage::set().await;
    let mut browser = stage.browser.clone();
    browser.log_in(&stage.banks, &stage.anna).await;
    let page = browser.get("/passkeys").await;
    assert!(
        page.text().contains("You have no passkeys yet"),
        "{}",
        page.text()
    );
    browser.get("/passkeys/add").await;
    let used = code_of(&stage.banks, &stage.anna, 0);
    browser.submit("/passkeys/add", &[("answer", &used)]).await;
    assert_eq!(browser.page.status, 422, "the code of the log-in");
    let next = code_of(&stage.banks, &stage.anna, 1);
    let page = browser.submit("/passkeys/add", &[("answer", &next)]).await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(
        page.html.contains("data-act=\"make\"") && page.html.contains("passkey.js"),
        "{}",
        page.html
    );
    assert!(page.text().contains("Passkeys need JavaScript"));
    browser.submit("/passkeys/new", &[("answer", "{}")]).await;
    assert_eq!(browser.page.problem().as_deref(), Some("passkey-not-added"));
    assert!(
        browser
            .get("/passkeys")
            .await
            .text()
            .contains("You have no passkeys yet")
    );
}

/// A mere list of accounts, at a bank that exempts it from a second factor and has approvals
/// confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn an_exempted_list_takes_a_first_second_factor_and_each_confirmation() {
    let stage = Stage::set().await;
    let bank = stage.banks.replica_of_b(|config| {
        config.sca.exempt_account_list = true;
        config.sca.confirmation_code = true;
    });
    let bank = bank.await;
    let tpp = Tpp::new(bank.xs2a_address(), stage.tpp.identity.clone());
    let list = json!({ "availableAccounts": "allAccounts" });
    for (takes_a_code, ended) in [(true, "finalised"), (false, "exempted")] {
        let asked = stage.banks.consent(&tpp).access(&list);
        let asked = asked.headers(&[("TPP-Redirect-URI", BACK)]).ask().await;
        let asked = asked.json();
        let consent = asked["consentId"].as_str().unwrap();
        let at = asked["_links"]["scaStatus"]["href"].as_str().unwrap();
        let path = format!("/authorise/{}", at.rsplit('/').next().unwrap());
        let mut browser = Tab::at(&bank);
        stage.banks.clock.advance(TimeDelta::seconds(30));
        browser.log_in(&stage.banks, &stage.anna).await;
        stage.banks.clock.advance(TimeDelta::seconds(30));
        browser.get(&path).await;
        let asks = browser.page.html.contains("name=\"answer\"");
        assert_eq!(asks, takes_a_code, "{:?}", browser.page);
        let code = code_of(&stage.banks, &stage.anna, 0);
        let answer = [("answer", code.as_str())];
        let answer = if takes_a_code { &answer[..] } else { &[] };
        browser.submit("/approve", answer).await;
        let sent_to = browser.page.sent_to.clone().unwrap();
        // Without the code that the customer brings back, nothing is opened.
        let read = tpp.read("/v1/accounts", consent).await;
        assert_eq!(read.refusal(), "401 CONSENT_INVALID");
        let mut brought = sent_to.query_pairs();
        let (_, code) = brought.find(|(name, _)| name == "code").unwrap();
        let body = json!({ "confirmationCode": code }).to_string();
        let confirmed = tpp.send("PUT", at, &[], Some(&body)).await;
        assert_eq!(confirmed.json()["scaStatus"], ended, "{confirmed:?}");
        assert_eq!(tpp.read("/v1/accounts", consent).await.status, 200);
    }
    bank.stop().await;
}

/// A world of one customer, whose names and texts are all the same.
fn world_full_of(text: &str) -> String {
    let account = "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11";
    let transaction = json!({
        "transactionId": "1", "bookingDate": "2026-11-02", "transactionAmount": { "currency": "EUR", "amount": "-1.00" },
        "creditorName": text, "remittanceInformationUnstructured": text
    });
    let details = json!({
        "iban": "DE89370400440532013000", "currency": "EUR", "name": text, "product": "Product", "ownerName": text
    });
    [
        json!({ "world": { "version": 1 } }),
        json!({ "customer": { "id": "eve", "name": text } }),
        json!({ "account": {
            "id": account, "customer": "eve", "openingBalance": "2.00", "closingBalance": "1.00", "details": details
        } }),
        json!({ "transaction": { "account": account, "details": transaction } }),
    ]
    .map(|line| line.to_string())
    .join("\n")
}

/// A customer of Bank B with one account, whose names and texts are all the same, as is Bank A's
/// name in the register.
async fn eve(stage: &Stage, text: &str) -> SampleCustomer {
    let folder = stage.banks.folder.path();
    let database = stores::of(&folder.join("bank-b.toml")).await;
    let world = world_full_of(text);
    import(&database, stage.banks.today(), world.as_bytes())
        .await
        .unwrap();
    let randomness = || Arc::new(SystemRandomness);
    let config = Config::read(&folder.join("bank-b.toml")).unwrap();
    let vault = Vault::open_file(&config.store.key, randomness()).unwrap();
    let eve = SampleCustomer {
        id: "eve".to_owned(),
        password: "of no importance".to_owned(),
        secret: TotpSecret::new([7; 20]),
        accounts: Vec::new(),
    };
    let hash = Passwords::new(randomness()).hash(&eve.password).unwrap();
    let credentials = CustomerCredentials::new(database.clone(), vault);
    let psu = PsuId(eve.id.clone());
    credentials
        .set(&psu, &hash, Some(&eve.secret))
        .await
        .unwrap();
    database.close().await;
    let mut register = stage.banks.sandbox.pki.register.clone();
    for entry in &mut register.organisations {
        text.clone_into(&mut entry.name);
    }
    stage.banks.publish(&register).await;
    eve
}

/// The pages that eve is shown when all that others wrote is that text.
async fn pages_full_of(text: &str) -> Vec<Page> {
    let stage = Stage::set().await;
    let eve = eve(&stage, text).await;
    let consent = stage.consent(&json!({ "allPsd2": "allAccounts" })).await;
    let id = stage.authorise(&consent, ScaApproach::Redirect, None).await;
    let mut browser = stage.browser.clone();
    browser.log_in(&stage.banks, &eve).await;
    let account = browser.page.links("/accounts/")[0].clone();
    let mut shown = vec![browser.page.clone(), browser.get(&account).await.clone()];
    shown.push(
        browser
            .get(&format!("{account}?text=%3Cscript%3E"))
            .await
            .clone(),
    );
    shown.push(browser.get(&format!("/authorise/{id}")).await.clone());
    let code = code_of(&stage.banks, &eve, 1);
    browser.submit("/approve", &[("answer", &code)]).await;
    assert_eq!(browser.page.status, 303, "{:?}", browser.page);
    let consents = browser.get("/consents").await.clone();
    let end = consents.links("/consents/")[0].clone();
    shown.push(consents);
    shown.push(browser.get(&end).await.clone());
    for page in &shown {
        assert_eq!(page.status, 200, "{}", page.path());
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_in_names_and_texts_are_shown_as_text() {
    const SCRIPT: &str = "\"'><script>alert(1)</script><img src=x>";
    for page in &pages_full_of(SCRIPT).await {
        assert!(
            page.text().contains(SCRIPT),
            "{}: {}",
            page.path(),
            page.text()
        );
        assert!(
            !page.html.contains("<script>") && !page.html.contains("<img"),
            "{}",
            page.html
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_text_does_not_reorder_the_page() {
    // Shown in its own direction, it ends where it ends; what would turn the rest of the page is a
    // box.
    const SHOWN: &str = "\u{fffd}بنك";
    for page in &pages_full_of("\u{202e}بنك").await {
        assert!(!page.html.contains('\u{202e}'), "{}", page.html);
        let isolated = page.html.matches(&format!("<bdi>{SHOWN}</bdi>")).count()
            + page
                .html
                .matches(&format!("\u{2068}{SHOWN}\u{2069}"))
                .count();
        assert_eq!(page.html.matches("بنك").count(), isolated, "{}", page.html);
        assert!(isolated > 0, "{}", page.path());
    }
}

/// The boxes of a page, and whether they are ticked.
fn boxes(page: &Page) -> Vec<bool> {
    let inputs = page.html.split("<input").skip(1);
    let boxes = inputs.filter(|input| input.contains("type=\"checkbox\""));
    boxes
        .map(|input| input.split('>').next().unwrap().contains(" checked"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ticked_beforehand_and_what_was_ticked_stays() {
    let stage = Stage::set().await;
    let mut phone = stage.browser.clone();
    phone.log_in(&stage.banks, &stage.anna).await;
    stage.enrol(&mut phone, &stage.anna).await;
    stage.banks.clock.advance(TimeDelta::seconds(60));
    let (consent, path) = stage.asked().await;
    let mut browser = stage.logged_in_before(&path).await;
    assert_eq!(boxes(&browser.page), [false; 4]);
    let chosen = stage.anna.accounts[1].id.to_string();
    let account = ("account", chosen.as_str());
    let page = browser
        .submit("/approve", &[account, ("answer", "000000")])
        .await;
    assert_eq!(page.status, 422);
    assert_eq!(boxes(page), [false, true, false, false]);

    // In the bank's app, too.
    stage
        .authorise(&consent, ScaApproach::Decoupled, Some(CUSTOMER))
        .await;
    assert_eq!(boxes(phone.get("/phone").await), [false; 4]);
    let page = phone
        .submit("/approve", &[account, ("password", "wrong")])
        .await;
    assert_eq!(boxes(page), [false, true, false, false]);
    let page = phone
        .submit("/approve", &[("password", &stage.anna.password)])
        .await;
    assert_eq!(
        page.problem().as_deref(),
        Some("phone-approved"),
        "{page:?}"
    );
    let accounts = stage.tpp.read("/v1/accounts", &consent).await.json();
    let accounts = accounts["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 1, "{accounts:?}");
    assert_eq!(accounts[0]["resourceId"], chosen.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_is_no_choice() {
    let stage = Stage::set().await;
    let eve = eve(&stage, "Eve").await;
    let (consent, path) = stage.asked().await;
    let mut browser = stage.browser.clone();
    browser.get(&path).await;
    let code = code_of(&stage.banks, &eve, 0);
    browser.identify(&eve, &code).await;
    assert!(boxes(&browser.page).is_empty(), "{}", browser.page.html);
    let page = browser.submit("/approve", &[]).await;
    assert_eq!(page.status, 303, "{page:?}");
    let accounts = stage.tpp.read("/v1/accounts", &consent).await.json();
    assert_eq!(accounts["accounts"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_factor_shows_the_ends_of_account_numbers_alone() {
    let stage = Stage::set().await;
    let eve = eve(&stage, "Eve Adams").await;
    let is_masked = |page: &Page| {
        let text = page.text().replace(['\u{a0}', ' '], "");
        assert!(text.contains("3000EUR"), "{text}");
        let number = text.contains("DE89370400440532013000");
        // Bank A has her name as well: once where it asks, and once among who it is.
        let names = text.matches("EveAdams").count();
        assert_eq!(number, names > 2, "{text}");
        text.contains("DE••••••3000") && !number
    };
    // The device alone.
    let mut browser = stage.browser.clone();
    browser.log_in(&stage.banks, &eve).await;
    stage.enrol(&mut browser, &eve).await;
    let consent = stage.consent(&json!({ "allPsd2": "allAccounts" })).await;
    stage
        .authorise(&consent, ScaApproach::Decoupled, Some("eve"))
        .await;
    let mut phone = browser.clone();
    let cookies = phone.browser.cookies.get_mut("bank-b.localhost");
    cookies.unwrap().remove("session");
    assert!(is_masked(phone.get("/phone").await));

    // Both.
    let text = browser.get("/phone").await.text();
    assert!(text.contains("DE89 3704 0044 0532 0130 00"), "{text}");
}
