//! Attacks on the bank's own pages, beyond those of `login_and_sessions` and `consent_approval`.

use std::time::{Duration, Instant};

use bank_client::environment::{Randomness as _, SystemRandomness};
use bank_server::consent::authorisation::Start;
use bank_server::domain::PsuId;
use chrono::TimeDelta;
use fixtures::sandbox::CUSTOMER;
use fixtures::world::Bank;
use shared_types::xs2a::authorisation::ScaApproach;
use sqlx::Row as _;
use tests::banks::Banks;
use tests::browser::{Tab, at_bank_b, code_of};
use tests::stores;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn anna() -> PsuId {
    PsuId(CUSTOMER.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_set_up_after_a_second_factor_and_removed_by_its_customer() {
    let (banks, mut browser, customer) = at_bank_b().await;
    let phones = banks.sandbox.bank(Bank::B).running.sca().phones();
    browser.log_in(&banks, &customer).await;
    let page = browser.get("/passkeys").await;
    assert!(
        page.text().contains("No device is set up"),
        "{}",
        page.text()
    );
    // A session that was left open is not enough, nor is the code that it was begun with.
    browser.get("/phone/enrol").await;
    for answer in ["", &code_of(&banks, &customer, 0)] {
        browser.submit("/phone/enrol", &[("answer", answer)]).await;
        assert_eq!(browser.page.status, 422, "{answer}");
    }
    assert_eq!(phones.of(&anna()).await.unwrap(), []);
    let enrol = async |browser: &mut Tab| {
        browser.get("/phone/enrol").await;
        banks.clock.advance(TimeDelta::seconds(30));
        let code = code_of(&banks, &customer, 0);
        browser.submit("/phone/enrol", &[("answer", &code)]).await;
    };
    enrol(&mut browser).await;
    assert!(
        browser.page.text().contains("No requests are waiting"),
        "{:?}",
        browser.page
    );
    // The same device once more is one device.
    enrol(&mut browser).await;
    let enrolled = phones.of(&anna()).await.unwrap();
    assert_eq!(enrolled.len(), 1);

    // She sees it, and another that she does not know; and removes that.
    banks.clock.advance(TimeDelta::seconds(1));
    let unknown = phones.enrol(&anna()).await.unwrap();
    let page = browser.get("/passkeys").await;
    assert!(page.text().contains("This device"), "{}", page.text());
    assert!(!page.html.contains(&unknown.0), "no secrets");
    let links = page.links("/phones/");
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(links[0].contains(&enrolled[0].id), "{links:?}");
    browser.get(&links[1]).await;
    let mut twice = browser.clone();
    browser.submit("/remove", &[]).await;
    assert_eq!(
        browser.page.problem().as_deref(),
        Some("phone-of-yours-removed")
    );
    assert_eq!(phones.owner(&unknown.0).await.unwrap(), None);
    assert_eq!(phones.of(&anna()).await.unwrap(), enrolled);
    twice.submit("/remove", &[]).await;
    assert_eq!(twice.page.problem().as_deref(), Some("nothing-to-remove"));

    // Another customer does not find it.
    let other = banks.other_customer(Bank::B);
    let mut foreign = Tab::at(&banks.sandbox.bank(Bank::B).running);
    foreign.log_in(&banks, &other).await;
    let page = foreign.get(&links[0]).await;
    assert_eq!(page.problem().as_deref(), Some("nothing-to-remove"));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_devices_are_enough_and_old_ones_make_room() {
    let (banks, mut browser, customer) = at_bank_b().await;
    let phones = banks.sandbox.bank(Bank::B).running.sca().phones();
    for _ in 0..10 {
        phones.enrol(&anna()).await.unwrap();
    }
    let refused = phones.enrol(&anna()).await.unwrap_err();
    assert!(refused.to_string().contains("may have 10"), "{refused}");
    browser.log_in(&banks, &customer).await;
    browser.get("/phone/enrol").await;
    let code = code_of(&banks, &customer, 1);
    browser.submit("/phone/enrol", &[("answer", &code)]).await;
    assert_eq!(browser.page.problem().as_deref(), Some("too-many-phones"));
    assert_eq!(phones.of(&anna()).await.unwrap().len(), 10);

    banks.clock.advance(TimeDelta::days(90));
    assert_eq!(phones.of(&anna()).await.unwrap(), []);
    phones.enrol(&anna()).await.unwrap();
    assert_eq!(phones.of(&anna()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_is_removed_after_a_question_and_by_its_customer() {
    let (banks, mut browser, customer) = at_bank_b().await;
    browser.log_in(&banks, &customer).await;
    let database = stores::of(&banks.folder.path().join("bank-b.toml")).await;
    for (id, psu) in [("her-key", CUSTOMER), ("his-key", "another")] {
        let inserted = sqlx::query(
            "INSERT INTO passkey (id, psu, name, credential, created) VALUES ($1, $2, 'My phone', '{}', 0)",
        );
        let inserted = inserted.bind(id).bind(psu).execute(database.pool());
        inserted.await.unwrap();
    }
    let keys = async || {
        let rows = sqlx::query("SELECT id FROM passkey ORDER BY id")
            .fetch_all(database.pool())
            .await
            .unwrap();
        rows.iter()
            .map(|row| row.get("id"))
            .collect::<Vec<String>>()
    };
    let page = browser.get("/passkeys").await;
    let links = page.links("/passkeys/");
    assert_eq!(links[0], "/passkeys/her-key/remove", "{links:?}");
    let page = browser.get(&links[0]).await;
    assert_eq!(page.heading(), "Remove the passkey My phone?");
    assert_eq!(keys().await, ["her-key", "his-key"], "not by looking");
    // The form of her own does not remove his.
    let mut form = browser.form("/remove");
    form.action.set_path("/passkeys/his-key/remove");
    let mut other = browser.clone();
    other.submit_form(&form).await;
    assert_eq!(other.page.problem().as_deref(), Some("foreign-form"));
    let page = other.get("/passkeys/his-key/remove").await;
    assert_eq!(page.problem().as_deref(), Some("nothing-to-remove"));
    browser.submit("/remove", &[]).await;
    assert_eq!(browser.page.problem().as_deref(), Some("passkey-removed"));
    assert_eq!(keys().await, ["his-key"]);
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_codes_end_an_authorisation() {
    let (banks, mut browser, customer) = at_bank_b().await;
    let tpp = banks.a_at_b();
    let created = banks.consent(&tpp).ask().await;
    let consent = created.json()["consentId"].as_str().unwrap().to_owned();
    let organisation = &banks.sandbox.bank(Bank::A).organisation;
    let bank = &banks.sandbox.bank(Bank::B).running;
    let started = bank.authorisations().start(Start {
        tpp: organisation,
        consent_id: &consent,
        request_id: SystemRandomness.uuid(),
        digest: "",
        psu: None,
        approach: ScaApproach::Redirect,
        redirect_uri: Some("https://bank-a.example/back"),
        nok_redirect_uri: None,
    });
    let id = started.await.unwrap().id;
    let at = format!("/v1/consents/{consent}/authorisations/{id}");
    let status = async || tpp.get(&at, &[]).await.json()["scaStatus"].clone();

    let path = format!("/authorise/{id}");
    browser.log_in(&banks, &customer).await;
    browser.get(&path).await;
    // As wrong as a code can be: right, but of long ago.
    let wrong = code_of(&banks, &customer, -1000);
    for left in (1..=4).rev() {
        let page = browser.submit("/approve", &[("answer", &wrong)]).await;
        assert_eq!(page.status, 422, "{page:?}");
        let said = format!("Attempts left: {left}");
        assert!(page.text().contains(&said), "{}", page.text());
    }
    assert_eq!(status().await, "psuAuthenticated");
    let before = browser.clone();
    browser.submit("/approve", &[("answer", &wrong)]).await;
    assert_eq!(
        (browser.page.status, browser.page.problem().as_deref()),
        (429, Some("authorisation-used-up"))
    );
    assert_eq!(status().await, "failed");
    let page = browser.get(&path).await;
    assert_eq!(page.problem().as_deref(), Some("authorisation-lapsed"));
    // Nor does the page of before take the right one, when there is one again.
    banks.clock.advance(TimeDelta::seconds(60));
    let mut before = before;
    let code = code_of(&banks, &customer, 0);
    before.submit("/approve", &[("answer", &code)]).await;
    assert!(before.page.status >= 400, "{:?}", before.page);
    // The consent waits: the TPP may begin again.
    let answer = tpp
        .get(&format!("/v1/consents/{consent}/status"), &[])
        .await;
    assert_eq!(answer.json()["consentStatus"], "received");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_drips_is_answered_and_cut() {
    /// Interval of the bytes.
    const PAUSE: Duration = Duration::from_millis(100);

    let banks = Banks::start().await;
    let bank = banks
        .limited_bank_b(|limits| {
            limits.request_timeout_seconds = 1;
            limits.idle_timeout_seconds = 600;
        })
        .await;
    let origin = bank.online_banking_origin().unwrap().text();
    let head = format!(
        "POST /log-in HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        origin.split("//").nth(1).unwrap()
    );
    let address = bank.online_banking_address().unwrap();
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let is_cut = loop {
        if begun.elapsed() > Duration::from_secs(20) {
            break false;
        }
        if tcp.write_all(b"1\r\na\r\n").await.is_err() {
            break true;
        }
        if let Ok(read) = timeout(PAUSE, tcp.read_buf(&mut answer)).await
            && read.is_ok_and(|read| read == 0)
        {
            break true;
        }
    };
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(is_cut, "it drips still");
    bank.stop().await;
}
