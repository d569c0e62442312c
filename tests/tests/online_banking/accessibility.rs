//! The pages that the story does not meet, before axe-core and at both widths: what went wrong, what is over, and what there
//! is to know about other banks.

use chrono::TimeDelta;
use fixtures::world::Bank;
use tests::chromium::{Scripts, Visit};

async fn log_in(visit: &Visit, bank: Bank) {
    visit.open(bank, "/").await;
    visit.log_in(bank).await;
    visit.browser.sees_heading("Accounts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn error_pages_are_accessible() {
    let visit = Visit::begin(Scripts::On).await;
    let browser = &visit.browser;
    visit.open(Bank::B, "/nowhere").await;
    browser.look_at("not-found").await;
    visit
        .open(Bank::B, "/authorise/00000000-0000-4000-8000-000000000000")
        .await;
    browser.look_at("no-such-request").await;
    visit.open(Bank::B, "/").await;
    visit.give(Bank::B, "wrong password", "000000").await;
    browser.sees_heading("Log in").await;
    browser.look_at("log-in-wrong").await;
    for _ in 0..4 {
        visit.give(Bank::B, "wrong password", "000000").await;
    }
    visit.give(Bank::B, "wrong password", "000000").await;
    browser.sees_heading("Temporarily locked").await;
    browser.look_at("locked").await;
    visit.banks.clock.advance(TimeDelta::minutes(2));
    visit.open(Bank::B, "/").await;
    visit.give(Bank::B, "wrong password", "12345").await;
    browser.look_at("code-wrong").await;
    visit.log_in(Bank::B).await;
    browser.sees_heading("Accounts").await;
    visit.open(Bank::B, "/log-in").await;
    browser.look_at("logged-in-already").await;
    visit.open(Bank::B, "/consents").await;
    browser.look_at("no-access").await;
    // The page stays open, and the session ends.
    visit.banks.clock.advance(TimeDelta::minutes(6));
    browser.press("Log out").await;
    browser.look_at("logged-out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_about_other_banks_are_accessible() {
    let visit = Visit::begin(Scripts::On).await;
    log_in(&visit, Bank::A).await;
    let b = visit
        .banks
        .sandbox
        .bank(Bank::B)
        .party
        .organisation
        .name
        .clone();
    visit
        .open(Bank::A, "/other-banks/return/unknown-state")
        .await;
    visit.browser.look_at("unknown-return").await;
    visit
        .open(Bank::A, "/other-banks/connect/PSDXX-NONE-1")
        .await;
    visit.browser.look_at("no-such-bank").await;

    visit.open(Bank::A, "/other-banks/connect").await;
    visit.browser.follow(&b).await;
    visit.browser.press("Continue").await;
    visit
        .browser
        .sees_heading(&format!("Continue to {b}"))
        .await;
    let go = visit.browser.url().await;
    visit.open(Bank::A, "/other-banks").await;
    visit.browser.sees("have not returned").await;
    visit.browser.look_at("connection-waits").await;
    visit.browser.open(&go).await;
    visit.browser.follow(&format!("Go to {b}")).await;
    visit.log_in(Bank::B).await;
    visit.browser.press("Allow access").await;
    visit
        .browser
        .sees_heading(&format!("{b} is connected"))
        .await;

    // Five days before the end.
    visit.banks.clock.advance(TimeDelta::days(175));
    log_in(&visit, Bank::A).await;
    visit.open(Bank::A, "/other-banks").await;
    visit.browser.sees("Renew access").await;
    visit.browser.look_at("renewal").await;

    let [a, bank_b, c] = visit.banks.sandbox.banks;
    bank_b.running.stop().await;
    let pages = a.pages();
    visit.banks.clock.advance(TimeDelta::minutes(3));
    visit.browser.open(&pages).await;
    visit.banks.clock.advance(TimeDelta::minutes(3));
    visit.browser.open(&format!("{pages}/other-banks")).await;
    visit.browser.sees("We cannot reach").await;
    visit.browser.look_at("bank-down").await;
    visit.browser.follow(&format!("Disconnect {b}")).await;
    visit.browser.press("Disconnect").await;
    visit.browser.look_at("disconnected").await;
    visit
        .browser
        .open(&format!("{pages}/other-banks/connect"))
        .await;
    visit.browser.follow(&b).await;
    visit.browser.press("Continue").await;
    visit
        .browser
        .sees_heading(&format!("{b} could not be connected"))
        .await;
    visit.browser.look_at("could-not-be-asked").await;
    drop((a, c));
}
