//! The pages that the story does not meet, before axe-core and at both widths: what went wrong, what is over, and what there
//! is to know about other banks.

use chrono::TimeDelta;
use fixtures::sandbox::CUSTOMER;
use fixtures::world::{Bank, SampleCustomer};
use tests::banks::Banks;
use tests::browser::{code_of, customer};
use tests::chromium::{Chromium, Scripts};

struct Visit {
    banks: Banks,
    browser: Chromium,
}

impl Visit {
    async fn begin() -> Self {
        let (banks, browser) = futures::join!(Banks::start(), Chromium::start(Scripts::On));
        Self { banks, browser }
    }

    fn at(&self, bank: Bank) -> SampleCustomer {
        customer(&self.banks, bank, CUSTOMER)
    }

    async fn open(&self, bank: Bank, path: &str) {
        let pages = self.banks.sandbox.bank(bank).pages();
        self.browser.open(&format!("{pages}{path}")).await;
    }

    async fn give(&self, bank: Bank, password: &str) {
        self.browser.fill("Customer id", &self.at(bank).id).await;
        self.browser.fill("Password", password).await;
        self.browser.press("Go on").await;
    }

    fn code(&self, bank: Bank) -> String {
        self.banks.clock.advance(TimeDelta::seconds(30));
        code_of(&self.banks, &self.at(bank), 0)
    }

    async fn log_in(&self, bank: Bank) {
        self.open(bank, "/").await;
        self.give(bank, &self.at(bank).password).await;
        self.browser.fill("Code", &self.code(bank)).await;
        self.browser.press("Log in").await;
        self.browser.sees_heading("Accounts").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_wrong_at_the_bank_is_told_to_everybody() {
    let visit = Visit::begin().await;
    let browser = &visit.browser;
    visit.open(Bank::B, "/nowhere").await;
    browser.look_at("not-found").await;
    visit
        .open(Bank::B, "/authorise/00000000-0000-4000-8000-000000000000")
        .await;
    browser.look_at("no-such-request").await;
    visit.open(Bank::B, "/").await;
    visit.give(Bank::B, "wrong password").await;
    browser.sees_heading("Log in").await;
    browser.look_at("log-in-wrong").await;
    for _ in 0..4 {
        visit.give(Bank::B, "wrong password").await;
    }
    visit.give(Bank::B, "wrong password").await;
    browser.sees_heading("Locked for a while").await;
    browser.look_at("locked").await;
    visit.banks.clock.advance(TimeDelta::minutes(2));
    visit.open(Bank::B, "/").await;
    visit.give(Bank::B, &visit.at(Bank::B).password).await;
    browser.sees_heading("Confirm that it is you").await;
    browser.fill("Code", "000000").await;
    browser.press("Log in").await;
    browser.look_at("code-wrong").await;
    browser.fill("Code", &visit.code(Bank::B)).await;
    browser.press("Log in").await;
    browser.sees_heading("Accounts").await;
    visit.open(Bank::B, "/log-in").await;
    browser.look_at("logged-in-already").await;
    visit.open(Bank::B, "/consents").await;
    browser.look_at("nobody-has-access").await;
    // The page stays open, and the session ends.
    visit.banks.clock.advance(TimeDelta::minutes(11));
    browser.press("Log out").await;
    browser.look_at("logged-out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_to_know_about_other_banks_is_told_to_everybody() {
    let visit = Visit::begin().await;
    visit.log_in(Bank::A).await;
    let b = visit
        .banks
        .sandbox
        .bank(Bank::B)
        .party
        .organisation
        .name
        .clone();
    visit
        .open(Bank::A, "/elsewhere/return/nobody-began-this")
        .await;
    visit.browser.look_at("unknown-return").await;
    visit.open(Bank::A, "/elsewhere/connect/PSDXX-NONE-1").await;
    visit.browser.look_at("no-such-bank").await;

    visit.open(Bank::A, "/elsewhere/connect").await;
    visit.browser.follow(&b).await;
    visit.browser.press(&format!("Ask {b} now")).await;
    visit.browser.sees_heading(&format!("Now go to {b}")).await;
    let go = visit.browser.url().await;
    visit.open(Bank::A, "/elsewhere").await;
    visit.browser.sees("have not finished").await;
    visit.browser.look_at("connection-waits").await;
    visit.browser.open(&go).await;
    visit.browser.follow(&format!("Go to {b}")).await;
    visit.give(Bank::B, &visit.at(Bank::B).password).await;
    visit.browser.fill("Code", &visit.code(Bank::B)).await;
    visit.browser.press("Give access").await;
    visit
        .browser
        .sees_heading(&format!("{b} is connected"))
        .await;

    // Five days before the end.
    visit.banks.clock.advance(TimeDelta::days(175));
    visit.log_in(Bank::A).await;
    visit.open(Bank::A, "/elsewhere").await;
    visit.browser.sees("Renew access").await;
    visit.browser.look_at("renewal").await;

    let [a, bank_b, c] = visit.banks.sandbox.banks;
    bank_b.running.stop().await;
    let pages = a.pages();
    visit.banks.clock.advance(TimeDelta::minutes(6));
    visit.browser.open(&format!("{pages}/elsewhere")).await;
    visit.browser.sees("cannot be reached").await;
    visit.browser.look_at("bank-down").await;
    visit.browser.follow(&format!("Disconnect {b}")).await;
    visit.browser.press("Disconnect").await;
    visit.browser.look_at("disconnected").await;
    visit
        .browser
        .open(&format!("{pages}/elsewhere/connect"))
        .await;
    visit.browser.follow(&b).await;
    visit.browser.press(&format!("Ask {b} now")).await;
    visit
        .browser
        .sees_heading(&format!("{b} could not be asked"))
        .await;
    visit.browser.look_at("could-not-be-asked").await;
    drop((a, c));
}
