//! The bank's own pages, as a browser meets them: logging in and out, and what attackers try there.

use std::time::Duration;

use bank_server::config::{Config, OnlineBankingConfig};
use chrono::TimeDelta;
use fixtures::browser::{Page, encode};
use fixtures::openssl_client::{Reaction, Tls, call};
use fixtures::sandbox::CUSTOMER;
use fixtures::world::Bank;
use tests::banks::Banks;
use tests::browser::{Tab, at_bank_b, code_of};
use tests::http::Response;
use tests::stores;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Whether it is the first page after log-in.
fn is_start(page: &Page) -> bool {
    page.status == 200 && page.path() == "/" && page.heading() == "Accounts"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_logs_in_with_two_factors_sees_her_accounts_and_logs_out() {
    let (banks, mut browser, anna) = at_bank_b().await;
    browser.get("/").await;
    assert_eq!((browser.page.path(), browser.page.status), ("/log-in", 200));
    let code = code_of(&banks, &anna, 0);
    browser.identify(&anna, &code).await;
    assert!(is_start(&browser.page), "{:?}", browser.page);

    let accounts = browser.page.links("/accounts/");
    assert_eq!(accounts.len(), anna.accounts.len());
    for (link, account) in accounts.iter().zip(&anna.accounts) {
        let page = browser.get(link).await;
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(text.replace(' ', "").contains(&account.number), "{text}");
        assert!(
            text.contains("Transactions") && text.contains("Money in and out"),
            "{text}"
        );
        assert!(page.html.contains("<svg viewBox"), "a chart");
    }
    browser.submit("/log-out", &[]).await;
    assert_eq!(browser.page.problem().as_deref(), Some("logged-out"));
    browser.get(&accounts[0]).await;
    assert!(
        browser.page.path().starts_with("/log-in?to=/accounts/"),
        "{}",
        browser.page.path()
    );

    // And back to where she wanted to go.
    let code = code_of(&banks, &anna, 1);
    browser.identify(&anna, &code).await;
    assert_eq!(browser.page.path(), accounts[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_are_found_by_text_and_day_page_by_page() {
    let (banks, mut browser, anna) = at_bank_b().await;
    browser.log_in(&banks, &anna).await;
    let account = browser.page.links("/accounts/")[0].clone();
    let rows = |page: &Page| {
        let document = scraper::Html::parse_document(&page.html);
        let rows = scraper::Selector::parse("table:has(caption) tbody tr").unwrap();
        document.select(&rows).count()
    };
    let mut seen = 0;
    let mut next = Some(account.clone());
    while let Some(path) = next {
        let page = browser.get(path.split('#').next().unwrap()).await;
        seen += rows(page);
        next = page.links(&format!("{account}?after=")).pop();
    }
    let all = anna.accounts[0].transactions;
    assert_eq!(seen, all, "every transaction, once");

    let name = browser.get(&account).await.text_of("td .what").unwrap();
    let shouted = encode(&[("text".into(), name.to_uppercase())]);
    let page = browser.get(&format!("{account}?{shouted}&from=&to=")).await;
    let found = rows(page);
    assert!((1..=50).contains(&found), "{name}: {found}");
    // In these rows alone: the customer's own name stands at the head of the page as well.
    let document = scraper::Html::parse_document(&page.html);
    let what = scraper::Selector::parse("table:has(caption) td .what").unwrap();
    let named = document
        .select(&what)
        .filter(|cell| cell.text().collect::<String>() == name);
    assert_eq!(named.count(), found);
    let page = browser
        .get(&format!("{account}?text=no+such+text+anywhere"))
        .await;
    assert_eq!(rows(page), 0);
    let page = browser
        .get(&format!("{account}?from=2000-01-01&to=2000-12-31"))
        .await;
    assert!(
        page.text().contains("No transactions found"),
        "{}",
        page.text()
    );
    let page = browser.get(&format!("{account}?from=yesterday")).await;
    assert_eq!(page.status, 422);
    assert!(
        page.text().contains("Enter a date such as"),
        "{}",
        page.text()
    );
    for broken in ["?after=x", "?text=%zz"] {
        let page = browser.get(&format!("{account}{broken}")).await;
        assert_eq!(
            (page.status, page.problem().as_deref()),
            (404, Some("bad-page"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_unknown_accounts_get_the_same_page() {
    let (banks, mut browser, anna) = at_bank_b().await;
    let lucas = banks.other_customer(Bank::B);
    let foreign = lucas.accounts[0].id;
    browser.log_in(&banks, &anna).await;
    let page = browser.get(&format!("/accounts/{foreign}")).await.clone();
    assert_eq!(
        (page.status, page.problem().as_deref()),
        (404, Some("account-unknown"))
    );
    let never = browser
        .get("/accounts/5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11")
        .await;
    assert_eq!(page.html, never.html);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_in_errors_do_not_name_the_wrong_factor() {
    let (banks, mut browser, anna) = at_bank_b().await;
    browser.get("/log-in").await;
    let attempt = async |customer: &str, password: &str, code: &str| {
        let mut browser = browser.clone();
        let begun = std::time::Instant::now();
        let entered = [
            ("customer", customer),
            ("password", password),
            ("code", code),
        ];
        let page = browser.submit("/log-in", &entered).await;
        let cookies = page.header("set-cookie").map(str::to_owned);
        ((page.status, page.html.clone(), cookies), begun.elapsed())
    };
    let (right, wrong_code) = (code_of(&banks, &anna, 0), code_of(&banks, &anna, 100));
    // The least of two each: other work can only add to a time. Five failures are allowed.
    let mut least = [Duration::MAX; 2];
    for _ in 0..2 {
        let (wrong, first) = attempt(&anna.id, "wrong", &right).await;
        let (unknown, second) = attempt("no.such.body", "wrong", &right).await;
        let (code_alone, _) = attempt(&anna.id, &anna.password, &wrong_code).await;
        assert_eq!(wrong.0, 422);
        let said = "The customer ID, the password or the code is not right";
        assert!(wrong.1.contains(said), "{}", wrong.1);
        assert_eq!(wrong, unknown);
        assert_eq!(wrong, code_alone);
        least = [least[0].min(first), least[1].min(second)];
    }
    // Both pay for argon2id: neither is answered at once.
    let ratio = least[0].as_secs_f64() / least[1].as_secs_f64();
    assert!((0.1..10.0).contains(&ratio), "{least:?}");
    let (empty, _) = attempt(&anna.id, "", "").await;
    assert!(empty.1.contains("Enter your password"));
    assert!(empty.1.contains("Enter the code from your app"));
    // A right code that was used, too, though the password is right.
    let mut other = browser.clone();
    assert!(is_start(other.identify(&anna, &right).await));
    let (wrong, _) = attempt(&anna.id, "wrong", &wrong_code).await;
    assert_eq!(attempt(&anna.id, &anna.password, &right).await.0, wrong);
}

/// With a passkey, the page after the password is the same whatever the password and the name are.
#[tokio::test(flavor = "multi_thread")]
async fn the_password_result_is_hidden_until_the_passkey() {
    let (_banks, mut browser, anna) = at_bank_b().await;
    browser.get("/log-in?method=passkey").await;
    let form = browser.clone();
    let mut pages = Vec::new();
    for (customer, password) in [
        (anna.id.as_str(), anna.password.as_str()),
        (anna.id.as_str(), "wrong"),
        ("no.such.body", "wrong"),
    ] {
        let mut browser = form.clone();
        browser
            .submit("/log-in", &[("customer", customer), ("password", password)])
            .await;
        let page = &browser.page;
        assert_eq!(page.heading(), "Confirm that it is you", "{page:?}");
        let asked = page
            .attribute("form[data-passkey]", "data-passkey")
            .unwrap();
        let asked: serde_json::Value = serde_json::from_str(&asked).unwrap();
        let asked = asked["publicKey"].as_object().unwrap();
        let sealed = page.attribute("input[name=sealed]", "value").unwrap();
        let keys = asked["allowCredentials"].as_array().unwrap().len();
        pages.push((
            page.status,
            page.header("set-cookie").map(str::to_owned),
            sealed.len(),
            asked.keys().cloned().collect::<Vec<_>>(),
            keys,
        ));
        browser.submit("/log-in/passkey", &[("answer", "{}")]).await;
        let said = "The customer ID, the password or the passkey is not right";
        assert!(browser.page.text().contains(said), "{:?}", browser.page);
    }
    assert_eq!(pages[0], pages[1]);
    assert_eq!(pages[0], pages[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lockout_ends_and_spares_the_customers_own_device() {
    let (banks, browser, anna) = at_bank_b().await;
    let mut own = browser.clone();
    own.log_in(&banks, &anna).await;
    own.submit("/log-out", &[]).await;
    banks.clock.advance(TimeDelta::minutes(5));

    let mut stranger = browser;
    stranger.get("/log-in").await;
    let wrong = [
        ("customer", anna.id.as_str()),
        ("password", "wrong"),
        ("code", "000000"),
    ];
    for _ in 0..5 {
        stranger.submit("/log-in", &wrong).await;
        assert_eq!(stranger.page.status, 422);
    }
    let form = stranger.clone();
    stranger.submit("/log-in", &wrong).await;
    assert_eq!(stranger.page.problem().as_deref(), Some("locked"));
    let mut right = form.clone();
    right.identify(&anna, &code_of(&banks, &anna, 0)).await;
    assert_eq!(
        right.page.problem().as_deref(),
        Some("locked"),
        "the right one is not tried"
    );

    own.log_in(&banks, &anna).await;
    assert!(is_start(&own.page), "her own device is free");
    // Another customer's device is no device of hers.
    let mut other = form.clone();
    let lucas = banks.other_customer(Bank::B);
    other.log_in(&banks, &lucas).await;
    other.submit("/log-out", &[]).await;
    other.log_in(&banks, &anna).await;
    assert_eq!(other.page.problem().as_deref(), Some("locked"));

    banks.clock.advance(TimeDelta::seconds(31));
    let mut again = form;
    again.identify(&anna, &code_of(&banks, &anna, 0)).await;
    assert!(is_start(&again.page), "it ends: {:?}", again.page);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_known_device_awaits_a_code_others_cannot_log_in() {
    let (banks, browser, anna) = at_bank_b().await;
    let mut own = browser.clone();
    own.log_in(&banks, &anna).await;
    banks.clock.advance(TimeDelta::seconds(60));
    own.get("/phone/enrol").await;
    banks.clock.advance(TimeDelta::seconds(60));
    let mut stranger = browser;
    // That would tell that the password is right.
    assert_eq!(stranger.log_in(&banks, &anna).await.status, 422);
    banks.clock.advance(TimeDelta::seconds(60));
    let code = code_of(&banks, &anna, 1);
    assert!(is_start(stranger.identify(&anna, &code).await));
}

/// The same browser in another network of this machine.
fn in_network(browser: &Tab, number: u8) -> Tab {
    let mut other = browser.clone();
    other.browser.from = Some([127, 0, number, 1].into());
    other
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_guessed_five_times_from_all_networks_together() {
    let (banks, browser, anna) = at_bank_b().await;
    let mut own = browser.clone();
    own.log_in(&banks, &anna).await;
    own.submit("/log-out", &[]).await;
    banks.clock.advance(TimeDelta::minutes(5));

    let wrong = code_of(&banks, &anna, 100);
    let mut told = Vec::new();
    for number in 1..=20 {
        let mut thief = in_network(&browser, number);
        thief.get("/log-in").await;
        thief.identify(&anna, &wrong).await;
        told.push(
            thief
                .page
                .problem()
                .unwrap_or_else(|| thief.page.status.to_string()),
        );
    }
    assert!(told.iter().all(|told| told == "422"), "{told:?}");
    // A right one is not judged any more, and that is not told.
    banks.clock.advance(TimeDelta::seconds(30));
    let mut thief = in_network(&browser, 30);
    assert_eq!(thief.log_in(&banks, &anna).await.status, 422);

    // This step's codes are for what was asked for elsewhere, the next one's for her own device.
    assert_eq!(own.log_in(&banks, &anna).await.status, 422);
    banks.clock.advance(TimeDelta::seconds(30));
    own.identify(&anna, &code_of(&banks, &anna, 0)).await;
    assert!(is_start(&own.page), "{:?}", own.page);
}

/// Neither the sixth log-in nor one from elsewhere tells whether the password of those before was right.
#[tokio::test(flavor = "multi_thread")]
async fn a_lockout_does_not_reveal_a_right_password() {
    let (banks, browser, anna) = at_bank_b().await;
    let wrong_code = code_of(&banks, &anna, 100);
    let enter = async |browser: &mut Tab, password: &str, method: &str| {
        browser.get(&format!("/log-in?method={method}")).await;
        let entered = [("customer", anna.id.as_str()), ("password", password)];
        if method == "passkey" {
            browser.submit("/log-in", &entered).await;
        } else {
            let entered = [&entered[..], &[("code", wrong_code.as_str())]].concat();
            browser.submit("/log-in", &entered).await;
        }
        let page = &browser.page;
        page.problem().unwrap_or_else(|| page.status.to_string())
    };
    let mut told = Vec::new();
    for (network, (password, method)) in [
        ("wrong", "totp"),
        (anna.password.as_str(), "totp"),
        ("wrong", "passkey"),
        (anna.password.as_str(), "passkey"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut browser = in_network(&browser, 100 + u8::try_from(network).unwrap());
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(enter(&mut browser, "junk", method).await);
        }
        answers.push(enter(&mut browser, password, method).await);
        answers.push(enter(&mut browser, "junk", method).await);
        told.push(answers);
    }
    assert_eq!(told[0], ["422", "422", "422", "422", "422", "locked"]);
    assert_eq!(told[0], told[1]);
    assert_eq!(told[2], told[3]);
    // From five networks, and then from a sixth.
    for password in ["wrong", &anna.password] {
        for number in 1..=5 {
            let mut thief = in_network(&browser, number);
            assert_eq!(enter(&mut thief, password, "totp").await, "422");
        }
        let mut thief = in_network(&browser, 6);
        assert_eq!(enter(&mut thief, "junk", "totp").await, "422", "{password}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_code_is_no_failed_attempt() {
    let (banks, mut browser, anna) = at_bank_b().await;
    browser.get("/log-in").await;
    let wrong = code_of(&banks, &anna, 100);
    for _ in 0..5 {
        assert_eq!(browser.identify(&anna, &wrong).await.status, 422);
    }
    let page = browser.clone().identify(&anna, "12345").await.clone();
    assert!(
        page.text().contains("Enter the six digits"),
        "{}",
        page.text()
    );
    let waiting = browser.clone().identify(&anna, &wrong).await.problem();
    assert_eq!(waiting.as_deref(), Some("locked"));
    banks.clock.advance(TimeDelta::seconds(60));
    let code = code_of(&banks, &anna, 0);
    browser.identify(&anna, &code).await;
    assert!(is_start(&browser.page), "{:?}", browser.page);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_network_tries_passwords_of_fifty_customers_an_hour() {
    let (banks, browser, anna) = at_bank_b().await;
    let mut own = in_network(&browser, 3);
    own.log_in(&banks, &anna).await;
    own.submit("/log-out", &[]).await;
    let mut guessing = in_network(&browser, 3);
    guessing.get("/log-in").await;
    let form = guessing.clone();
    let mut judged = 0;
    for number in 0..60 {
        let customer = format!("customer-{number}");
        let guess = [
            ("customer", customer.as_str()),
            ("password", "Spring 2026"),
            ("code", "000000"),
        ];
        guessing.page = form.page.clone();
        guessing.submit("/log-in", &guess).await;
        match guessing.page.problem().as_deref() {
            None => judged += 1,
            problem => assert_eq!(problem, Some("locked")),
        }
    }
    assert_eq!(judged, 50);
    let mut other_network = in_network(&browser, 4);
    let lucas = banks.other_customer(Bank::B);
    assert!(is_start(other_network.log_in(&banks, &lucas).await));
    own.get("/log-in").await;
    let code = code_of(&banks, &anna, 1);
    assert!(is_start(own.identify(&anna, &code).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planted_session_is_worthless() {
    let (banks, mut victim, anna) = at_bank_b().await;
    victim.get("/log-in").await;
    // The attacker knows the cookie that the victim begins with.
    let mut attacker = victim.clone();
    let code = code_of(&banks, &anna, 0);
    victim.identify(&anna, &code).await;
    assert!(is_start(&victim.page));
    assert_eq!(attacker.get("/").await.path(), "/log-in");
    // What is stored is no cookie either.
    let session = victim.browser.cookies["bank-b.localhost"]["session"].clone();
    let bytes = stores::bytes(&banks.folder.path().join("bank-b.toml"));
    let found = bytes
        .windows(session.len())
        .any(|window| window == session.as_bytes());
    assert!(!found, "{session}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_it_is_idle_and_its_pages_say_so() {
    let (banks, mut browser, anna) = at_bank_b().await;
    browser.log_in(&banks, &anna).await;
    let old = browser.clone();
    banks.clock.advance(TimeDelta::minutes(4));
    assert!(is_start(browser.get("/").await));
    banks.clock.advance(TimeDelta::minutes(4));
    assert!(is_start(browser.get("/").await), "each request prolongs it");
    let mut stale = old;
    banks.clock.advance(TimeDelta::minutes(5));
    stale.page = browser.page.clone();
    assert_eq!(browser.get("/").await.path(), "/log-in");
    stale.submit("/log-out", &[]).await;
    assert_eq!(stale.page.problem().as_deref(), Some("logged-out"));
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_or_stale_forms_change_nothing() {
    let (banks, mut browser, anna) = at_bank_b().await;
    let anonymous = {
        let mut anonymous = browser.clone();
        anonymous.get("/log-in").await;
        anonymous
    };
    // Without the cookie that belongs to it.
    let mut foreign = anonymous.clone();
    foreign.browser.cookies.clear();
    foreign.identify(&anna, "000000").await;
    assert_eq!(
        (foreign.page.status, foreign.page.problem().as_deref()),
        (403, Some("foreign-form"))
    );

    browser.log_in(&banks, &anna).await;
    let form = browser.form("/log-out");
    let (path, body) = (form.action.path(), form.body());
    let refused = async |headers: &[(&str, &str)], body: &str| {
        let page = browser.send("POST", path, headers, body).await;
        assert!(
            is_start(browser.clone().get("/").await),
            "she is still logged in"
        );
        format!("{} {}", page.status, page.problem().unwrap_or_default())
    };
    let origin = [("Origin", "https://evil.example")];
    assert_eq!(refused(&origin, &body).await, "403 foreign-origin");
    assert_eq!(
        refused(&[("Origin", "null")], &body).await,
        "403 foreign-origin"
    );
    let site = [("Origin", ""), ("Sec-Fetch-Site", "cross-site")];
    assert_eq!(refused(&site, &body).await, "403 foreign-origin");
    let site = [("Origin", ""), ("Sec-Fetch-Site", "same-site")];
    assert_eq!(refused(&site, &body).await, "403 foreign-origin");
    // An old browser says neither: then the token alone decides.
    let silent = [("Origin", ""), ("Sec-Fetch-Site", "")];
    assert_eq!(refused(&silent, "").await, "403 foreign-form");
    assert_eq!(refused(&[], "csrf=").await, "403 foreign-form");
    assert_eq!(refused(&[], "csrf=AAAA").await, "403 foreign-form");
    // Of another form, and of another session.
    let other = anonymous.form("/log-in").body();
    let token = other
        .split('&')
        .find(|pair| pair.starts_with("csrf="))
        .unwrap();
    assert_eq!(refused(&[], token).await, "403 foreign-form");
    let mut lucas = anonymous.clone();
    let someone = banks.other_customer(Bank::B);
    lucas.log_in(&banks, &someone).await;
    let theirs = lucas.form("/log-out").body();
    assert_eq!(refused(&[], &theirs).await, "403 foreign-form");

    // The log-in page of before, in another tab: she is logged in, and no other customer will be.
    let mut tab = browser.clone();
    tab.page = anonymous.page.clone();
    tab.identify(&someone, "000000").await;
    assert_eq!(tab.page.problem().as_deref(), Some("already-logged-in"));
    let back = tab.get("/log-in").await;
    assert!(
        back.text().contains(&format!("logged in as {CUSTOMER}")),
        "{}",
        back.text()
    );

    // What was replayed after the log-out.
    browser.get("/phone/enrol").await;
    let enrol = browser.form("/phone/enrol");
    browser.get("/").await;
    browser.submit("/log-out", &[]).await;
    let mut replay = browser.clone();
    replay.submit_form(&enrol).await;
    assert_eq!(
        (replay.page.status, replay.page.problem().as_deref()),
        (403, Some("session-over"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_code_is_wrong_and_five_log_ins_are_judged() {
    let (banks, mut browser, anna) = at_bank_b().await;
    let mut second = browser.clone();
    browser.log_in(&banks, &anna).await;
    let used = code_of(&banks, &anna, 0);
    second.get("/log-in").await;
    let wrong = code_of(&banks, &anna, 100);
    for code in [&used, &wrong, &wrong, &wrong, &wrong] {
        assert_eq!(second.identify(&anna, code).await.status, 422);
    }
    second.identify(&anna, &wrong).await;
    assert_eq!(second.page.problem().as_deref(), Some("locked"));
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_forms_get_their_error_pages() {
    let (_banks, mut browser, _) = at_bank_b().await;
    browser.get("/log-in").await;
    let form = browser.form("/log-in").with("customer", "a");
    let form = form.with("password", "b");
    let (path, body) = (form.action.path(), form.body());
    let told = async |headers: &[(&str, &str)], body: &str| {
        let page = browser.send("POST", path, headers, body).await;
        format!("{} {}", page.status, page.problem().unwrap_or_default())
    };
    let large = format!("{body}&x={}", "a".repeat(65 * 1024));
    assert_eq!(told(&[], &large).await, "413 form-too-large");
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let header = [("Content-Length", ""), ("Transfer-Encoding", "chunked")];
    assert_eq!(told(&header, &chunked).await, "413 form-too-large");
    assert_eq!(
        told(&[], &format!("{body}&admin=1")).await,
        "400 form-unknown-field"
    );
    assert_eq!(
        told(&[], &format!("{body}&password=c")).await,
        "400 form-repeated-field"
    );
    assert_eq!(
        told(&[], &format!("{body}&to=%")).await,
        "400 form-unreadable"
    );
    let json = [("Content-Type", "application/json")];
    assert_eq!(told(&json, "{}").await, "415 form-type");
    let fewer = body.replace("&password=b", "").replace("password=b&", "");
    assert_eq!(told(&[], &fewer).await, "400 form-missing-field");
    let cookie = "a".repeat(40 * 1024);
    assert_eq!(
        told(&[("X-Large", &cookie)], &body).await,
        "431 headers-too-large"
    );
    let answer = browser.send("GET", "/log-out", &[], "").await;
    assert_eq!(answer.status, 405);
    let answer = browser.send("GET", "/nowhere", &[], "").await;
    assert_eq!(answer.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_not_framed_kept_or_led_elsewhere() {
    let (banks, mut browser, anna) = at_bank_b().await;
    browser.get("/log-in").await;
    let page = &browser.page;
    let expected = [
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; form-action 'self'; \
             frame-ancestors 'none'; base-uri 'none'",
        ),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in expected {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let cookie = page.header("set-cookie").unwrap();
    for part in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    // Nothing but our own stylesheet, nothing inline.
    assert!(
        !page.html.contains("style=") && !page.html.contains("<script"),
        "{}",
        page.html
    );
    let style = page.attribute("link[rel=stylesheet]", "href").unwrap();
    let answer = browser.send("GET", &style, &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(
        browser
            .send("GET", "/assets/0/style.css", &[], "")
            .await
            .status,
        404
    );

    // Another name that leads here is told nothing.
    for host in ["evil.example", "localhost", "bank-b.localhost:1"] {
        let answer = browser.send("GET", "/log-in", &[("Host", host)], "").await;
        assert_eq!(answer.status, 421, "{host}");
    }
    // After the log-in she goes to a page of the bank, whatever the address says.
    for to in [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/%09/evil.example",
    ] {
        let mut lured = Tab::at(&banks.sandbox.bank(Bank::B).running);
        lured.get(&format!("/log-in?to={to}")).await;
        assert!(!lured.page.html.contains("evil"), "{to}");
        let form = lured.form("/log-in").with("customer", &anna.id);
        banks.clock.advance(TimeDelta::seconds(30));
        let form = form.with("password", &anna.password).with("to", to);
        let form = form.with("code", &code_of(&banks, &anna, 0));
        let answer = lured
            .send("POST", form.action.path(), &[], &form.body())
            .await;
        assert_eq!(answer.header("location"), Some("/"), "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_cookies_belong_to_the_host_and_plain_http_is_not_spoken() {
    let banks = Banks::start().await;
    let place = stores::empty(&banks.folder.path().join("tls.db")).await;
    let key = banks.folder.path().join("pki/bank-b");
    let online_banking = OnlineBankingConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        origin: "https://localhost:0".parse().unwrap(),
        certificate: Some(key.join("qwac.pem")),
        private_key: Some(key.join("qwac.key").into()),
        idle_timeout_minutes: 5,
        max_session_minutes: 480,
        max_connections: 100,
        trusted_proxies: Vec::new(),
        sandbox: false,
    };
    let over_tls = |config: &mut Config| {
        config.store.location = place;
        config.xs2a.listen.set_port(0);
        config.operator.listen.set_port(0);
        config.online_banking = Some(online_banking);
    };
    let bank = banks.replica_of_b(over_tls).await;
    let address = bank.online_banking_address().unwrap();
    let request = format!(
        "GET /log-in HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n",
        address.port()
    );
    for version in [Tls::V1_2, Tls::V1_3] {
        let request = request.clone();
        let met = tokio::task::spawn_blocking(move || call(address, None, version, &request));
        let Reaction::Http(answer) = met.await.unwrap().unwrap().reaction else {
            panic!("no HTTP");
        };
        let page = Response::read(&answer);
        assert_eq!(page.status, 200);
        let lasting = "max-age=31536000; includeSubDomains";
        assert_eq!(page.header("strict-transport-security"), Some(lasting));
        let cookie = page.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-session="), "{cookie}");
        assert!(
            cookie.contains("; Secure")
                && cookie.contains("; Path=/")
                && !cookie.contains("Domain")
        );
    }
    let mut plain = tokio::net::TcpStream::connect(address).await.unwrap();
    plain.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(
        !answer.starts_with(b"HTTP"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    bank.stop().await;
}
