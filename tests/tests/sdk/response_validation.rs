//! The SDK against banks that are slow, broken, truncated or lying, over real mutual TLS.

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bank_client::environment::{Clock as _, SystemClock, SystemRandomness};
use bank_client::sync::{LocalCopy, Period, SyncError, Synchroniser};
use bank_client::vault::{Key, Vault};
use bank_client::{
    Bank, BankBuilder, Entry, Error, ErrorKind, Limits, ServerRefusal, TransactionFilter,
};
use chrono::{NaiveDate, TimeDelta};
use fixtures::pki::{Identity, Pki};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use shared_types::pki::trust::Refusal;
use shared_types::xs2a::consent::{AccountAccess, AllAccounts, ConsentRequest};
use tests::closed_port::ClosedPort;
use tests::consent_requests::{DEVICE, since};
use tests::lone_bank::{LoneBank, refusal};
use tests::sdk::{BANK_A, BANK_B, anchors, credentials};
use tests::tls_terminator::{self, Manners};
use wiremock::matchers::{header, header_exists, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

struct Scene {
    lone: LoneBank,
    behind: MockServer,
}

impl Scene {
    async fn set() -> Self {
        Self::with(Manners::Honest).await
    }

    async fn with(manners: Manners) -> Self {
        let (lone, behind) = LoneBank::mocked(manners).await;
        Self { lone, behind }
    }

    /// Bank A's handle for it.
    fn bank(&self) -> Bank {
        self.lone.builder().build().unwrap()
    }

    /// Whatever is asked, this is the answer.
    async fn answers(&self, template: ResponseTemplate) {
        Mock::given(wiremock::matchers::any())
            .respond_with(template)
            .mount(&self.behind)
            .await;
    }

    async fn error(&self) -> Error {
        let error = accounts(self.lone.builder()).await;
        assert_eq!(error.bank, "Bank B");
        assert!(error.to_string().contains("Bank B"), "{error}");
        assert!(!error.advice().is_empty());
        error
    }

    async fn fault(&self) -> ErrorKind {
        self.error().await.kind
    }

    /// An answer that is malformed, and stays so: where, and what was expected there.
    async fn malformed(&self) -> (String, String) {
        let error = self.error().await;
        assert!(!error.is_transient(), "{error:?}");
        match error.kind {
            ErrorKind::Malformed { path, reason } => (path, reason),
            other => panic!("{other:?}"),
        }
    }
}

/// The error of a call.
async fn accounts(builder: BankBuilder) -> Error {
    let bank = builder.build().unwrap();
    bank.with_consent("c").accounts(false).await.unwrap_err()
}

fn json_answer(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

#[tokio::test]
async fn a_request_carries_what_the_standard_asks_for() {
    let scene = Scene::set().await;
    Mock::given(method("GET"))
        .and(path("/v1/accounts/an%2Fid/balances"))
        .and(header("Consent-ID", "the-consent"))
        .and(header("PSU-IP-Address", "192.0.2.7"))
        .and(header("Accept", "application/json"))
        .and(header_exists("X-Request-ID"))
        .respond_with(json_answer(json!({ "balances": [] })))
        .expect(1)
        .mount(&scene.behind)
        .await;
    let under = scene
        .bank()
        .with_consent("the-consent")
        .psu_ip_address(DEVICE);
    assert!(under.balances("an/id").await.unwrap().balances.is_empty());
}

#[tokio::test]
async fn a_refusal_keeps_its_codes_known_and_unknown() {
    let scene = Scene::set().await;
    let messages = json!({ "tppMessages": [{ "category": "ERROR", "code": "HOUSE_RULE", "text": "not on Mondays" }] });
    scene
        .answers(ResponseTemplate::new(403).set_body_json(messages))
        .await;
    let error = scene.error().await;
    let ErrorKind::Refused {
        status: 403,
        ref messages,
        ..
    } = error.kind
    else {
        panic!("{error:?}")
    };
    assert_eq!(messages[0].code.as_str(), "HOUSE_RULE");
    assert!(
        error.to_string().contains("HOUSE_RULE: not on Mondays"),
        "{error}"
    );
}

/// Refusal as a program sees it: status, messages, time to wait, and the properties that follow.
async fn refused(status: u16, body: &Value, media_type: &str) -> impl PartialEq + Debug + use<> {
    let scene = Scene::set().await;
    let template = ResponseTemplate::new(status).insert_header("Retry-After", "7");
    scene
        .answers(template.set_body_raw(body.to_string(), media_type))
        .await;
    let error = scene.error().await;
    let ErrorKind::Refused {
        status, messages, ..
    } = error.kind.clone()
    else {
        panic!("{media_type} {body}: {error:?}")
    };
    let follows = [
        error.is_about_consent(),
        error.is_about_certificate(),
        error.is_refusal(),
        error.is_transient(),
    ];
    (
        status,
        messages,
        error.retry_after(),
        follows,
        error.advice(),
    )
}

#[tokio::test]
async fn a_refusal_after_rfc_7807_is_one_with_messages() {
    let kind = "https://bank.example/errors/access";
    for (status, code, other) in [
        (401, "CONSENT_EXPIRED", "HOUSE_RULE"),
        (401, "HOUSE_RULE", "CONSENT_EXPIRED"),
        (401, "CERTIFICATE_EXPIRED", "HOUSE_RULE"),
        (429, "ACCESS_EXCEEDED", "HOUSE_RULE"),
    ] {
        let message =
            |code: &str, text: &str| json!({ "category": "ERROR", "code": code, "text": text });
        let standard = json!({ "tppMessages": [message(code, "not now"), message(other, "no")] });
        let expected = refused(status, &standard, "application/json").await;
        let additional = json!([{ "code": other, "title": "no" }]);
        let problem = json!({ "type": kind, "title": "not now", "code": code, "additionalErrors": additional });
        let detailed = json!({ "type": kind, "title": "short", "detail": "not now", "code": code, "additionalErrors": additional });
        let without_code = json!({ "type": kind, "title": "not now",
            "additionalErrors": [{ "code": code }, { "code": other, "detail": "no" }] });
        let of_payees =
            json!({ "apiClientMessages": [message(code, "not now"), message(other, "no")] });
        for (body, media_type) in [
            (&problem, "application/problem+json"),
            (&problem, "Application/Problem+JSON; charset=utf-8"),
            (&problem, "application/json"),
            (&problem, "text/plain"),
            (&detailed, "application/problem+json"),
            (&without_code, "application/problem+json"),
            (&of_payees, "application/json"),
            (&standard, "application/problem+json"),
            (&standard, "application/json;charset=UTF-8"),
        ] {
            let found = refused(status, body, media_type).await;
            assert_eq!(found, expected, "{media_type} {body}");
        }
    }
}

#[tokio::test]
async fn the_reasons_of_a_huge_refusal_are_not_read() {
    let message = json!({ "category": "ERROR", "code": "CONSENT_EXPIRED" });
    for (padding, read) in [(100_000, true), (300_000, false)] {
        let scene = Scene::set().await;
        let body = json!({ "tppMessages": [message], "padding": "x".repeat(padding) });
        scene
            .answers(ResponseTemplate::new(401).set_body_json(body))
            .await;
        let fault = scene.fault().await;
        assert_eq!(
            matches!(fault, ErrorKind::Refused { .. }),
            read,
            "{padding}"
        );
        assert_eq!(
            matches!(fault, ErrorKind::Status { .. }),
            !read,
            "{padding}"
        );
    }
}

#[tokio::test]
async fn an_error_page_in_html_is_a_status_without_a_reason() {
    let scene = Scene::set().await;
    scene
        .answers(ResponseTemplate::new(500).set_body_raw("<h1>Oops</h1>", "text/html"))
        .await;
    assert!(matches!(
        scene.fault().await,
        ErrorKind::Status { status: 500, .. }
    ));
}

#[tokio::test]
async fn malformed_answers_are_told_with_the_path_and_without_the_content() {
    // What is within one account is told beside the others (`deviations`); a list that is none is
    // no answer.
    for (body, place) in [
        (json!({ "accounts": { "4711": {} } }), "accounts"),
        (json!({ "accounts": "4711" }), "accounts"),
        (json!({ "4711": [] }), "accounts"),
        (json!([]), "."),
    ] {
        let scene = Scene::set().await;
        scene.answers(json_answer(body)).await;
        let (path, reason) = scene.malformed().await;
        assert_eq!(path, place);
        assert!(!reason.contains("4711"), "{reason}");
    }
    for (body, media_type) in [
        ("{\"accounts\":[]}", "text/plain"),
        ("<h1>Hello</h1>", "text/html"),
    ] {
        let scene = Scene::set().await;
        scene
            .answers(ResponseTemplate::new(200).set_body_raw(body, media_type))
            .await;
        assert_eq!(scene.malformed().await.0, "Content-Type", "{media_type}");
    }

    let scene = Scene::set().await;
    let lie = json_answer(json!({ "accounts": [] }))
        .insert_header("X-Request-ID", "99391c7e-ad88-49ec-a2ad-99ddcb1f7721");
    scene.answers(lie).await;
    assert_eq!(scene.malformed().await.0, "X-Request-ID");
}

#[tokio::test]
async fn a_slow_bank_is_given_up_in_time() {
    let scene = Scene::set().await;
    scene
        .answers(json_answer(json!({ "accounts": [] })).set_delay(Duration::from_mins(1)))
        .await;
    let limit = Duration::from_millis(200);
    let limits = Limits {
        call: limit,
        ..Limits::default()
    };
    let error = accounts(scene.lone.builder().limits(limits)).await;
    assert_eq!(error.kind, ErrorKind::Timeout { limit });
}

#[tokio::test]
async fn a_truncated_answer_is_an_interruption() {
    let scene = Scene::with(Manners::CutAfter(400)).await;
    scene
        .answers(json_answer(
            json!({ "accounts": [], "padding": "x".repeat(2000) }),
        ))
        .await;
    let fault = scene.fault().await;
    assert!(matches!(fault, ErrorKind::Interrupted { .. }), "{fault:?}");
}

#[tokio::test]
async fn no_server_listens() {
    let scene = Scene::set().await;
    let (port, own) = (ClosedPort::reserve(), &scene.lone.pki.bank_a.qwac);
    let error = accounts(scene.lone.builder_for(port.address(), BANK_B, own)).await;
    assert!(
        matches!(error.kind, ErrorKind::Unreachable { .. }),
        "{error:?}"
    );
}

fn page(ids: &[&str], next: Option<&str>) -> ResponseTemplate {
    let entry = |id: &&str| json!({ "transactionId": id, "transactionAmount": { "currency": "EUR", "amount": "1" } });
    let booked: Vec<Value> = ids.iter().map(entry).collect();
    let mut links = json!({ "account": { "href": "/v1/accounts/a" } });
    if let Some(next) = next {
        links["next"] = json!({ "href": next });
    }
    json_answer(json!({ "transactions": { "booked": booked, "_links": links } }))
}

async fn all(scene: &Scene) -> Result<Vec<String>, Error> {
    all_of(&scene.bank()).await
}

async fn all_of(bank: &Bank) -> Result<Vec<String>, Error> {
    let entries = bank.with_consent("c").transactions("a", &since());
    let ids = entries.map_ok(|entry| match entry {
        Entry::Booked(transaction) | Entry::Pending(transaction) => {
            transaction.transaction_id.unwrap().to_string()
        }
    });
    ids.try_collect().await
}

#[tokio::test]
async fn pages_are_followed_to_the_last() {
    let scene = Scene::set().await;
    let absolute = format!(
        "https://{}/v1/accounts/a/transactions?page=3",
        scene.lone.front
    );
    for (number, template) in [
        ("2", page(&["3"], Some(&absolute))),
        ("3", page(&["4", "5"], None)),
    ] {
        Mock::given(query_param("page", number))
            .respond_with(template)
            .mount(&scene.behind)
            .await;
    }
    scene
        .answers(page(
            &["1", "2"],
            Some("/v1/accounts/a/transactions?page=2"),
        ))
        .await;
    assert_eq!(all(&scene).await.unwrap(), ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn links_to_the_next_page_are_relative_to_their_page() {
    // As the bank stands behind a gateway, and knows of its path or does not.
    for (base, list) in [
        ("", "/v1/accounts/a/transactions"),
        ("/psd2/xs2a", "/psd2/xs2a/v1/accounts/a/transactions"),
        ("/psd2/xs2a/", "/psd2/xs2a/v1/accounts/a/transactions"),
    ] {
        for next in [
            "?page=2",
            "transactions?page=2",
            "./transactions?page=2",
            "/v1/accounts/a/transactions?page=2",
            &format!("{list}?page=2"),
        ] {
            let scene = Scene::set().await;
            let answers = [
                (query_param("page", "2"), page(&["2"], None)),
                (
                    query_param("bookingStatus", "both"),
                    page(&["1"], Some(next)),
                ),
            ];
            for (query, answer) in answers {
                Mock::given(path(list))
                    .and(query)
                    .respond_with(answer)
                    .mount(&scene.behind)
                    .await;
            }
            let address = format!("https://{}{base}", scene.lone.front);
            let pki = &scene.lone.pki;
            let own = credentials(&pki.bank_a.qwac);
            let builder = Bank::builder(address, BANK_B.parse().unwrap(), anchors(&pki.ca1), own);
            let bank = builder.build().unwrap();
            assert_eq!(all_of(&bank).await.unwrap(), ["1", "2"], "{base} {next}");
        }
    }
}

/// `"null" + path` is what some banks make of an address that they do not know.
#[tokio::test]
async fn a_link_that_begins_with_null_is_told_after_its_page() {
    for next in [
        "null",
        "null?page=2",
        "null/v1/accounts/a/transactions?page=2",
        "/null/v1/accounts/a/transactions?page=2",
    ] {
        let scene = Scene::set().await;
        Mock::given(path("/v1/accounts/a/transactions"))
            .respond_with(page(&["1"], Some(next)))
            .mount(&scene.behind)
            .await;
        let mut entries = scene.bank().with_consent("c").transactions("a", &since());
        assert!(entries.try_next().await.unwrap().is_some(), "{next}");
        let error = entries.try_next().await.unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::Status { status: 404, .. }),
            "{next}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_to_this_request_is_taken_in_whichever_case_it_names_it() {
    let id = "99391c7e-ad88-49ec-a2ad-99ddcb1f7721";
    for (echo, taken) in [
        (id.to_owned(), true),
        (id.to_uppercase(), true),
        (id.replace("ad88", "AD88"), true),
        (id.replace('-', ""), false),
        (id.replace("7721", "7722"), false),
        (String::new(), false),
    ] {
        let scene = Scene::set().await;
        let answer = ResponseTemplate::new(200).insert_header("X-Request-ID", &*echo);
        scene.answers(answer).await;
        let request = scene.bank().http().get("v1/accounts");
        let outcome = request.request_id(id.parse().unwrap()).send().await;
        assert_eq!(outcome.is_ok(), taken, "{echo}: {outcome:?}");
    }
}

#[tokio::test]
async fn pages_that_lead_back_or_away_are_not_followed() {
    let scene = Scene::set().await;
    scene
        .answers(page(&["1"], Some("/v1/accounts/a/transactions?page=2")))
        .await;
    assert_eq!(all(&scene).await.unwrap_err().kind, ErrorKind::PageLoop);
    for link in ["", "#2"] {
        let scene = Scene::set().await;
        scene.answers(page(&["1"], Some(link))).await;
        assert_eq!(all(&scene).await.unwrap_err().kind, ErrorKind::PageLoop);
    }

    for link in [
        "https://evil.example/v1/accounts/a/transactions",
        "http://127.0.0.1/x",
        "//evil.example/x",
    ] {
        let scene = Scene::set().await;
        scene.answers(page(&["1"], Some(link))).await;
        let error = all(&scene).await.unwrap_err();
        assert!(
            matches!(error.kind, ErrorKind::ForeignLink { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn consents_are_asked_for_read_and_ended() {
    let scene = Scene::set().await;
    let psu = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Mock::given(method("POST"))
        .and(path("/v1/consents"))
        .and(header("PSU-IP-Address", "127.0.0.1"))
        .respond_with(ResponseTemplate::new(201).set_body_json(json!({
            "consentStatus": "received", "consentId": "c1",
            "_links": { "self": { "href": "/v1/consents/c1" } }
        })))
        .mount(&scene.behind)
        .await;
    Mock::given(method("DELETE"))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&scene.behind)
        .await;
    let consent = ConsentRequest {
        access: AccountAccess {
            all_psd2: Some(AllAccounts::AllAccounts),
            ..AccountAccess::default()
        },
        recurring_indicator: true,
        valid_until: NaiveDate::from_ymd_opt(2027, 1, 1).unwrap(),
        frequency_per_day: std::num::NonZeroU32::MIN,
        combined_service_indicator: false,
    };
    let created = scene.bank().create_consent(&consent, psu).await.unwrap();
    assert_eq!(created.consent_id, "c1");
    scene.bank().delete_consent("c1").await.unwrap();
}

async fn refused_server(scene: &Scene, server: &Identity, expected: &str) -> ServerRefusal {
    let pki = &scene.lone.pki;
    let root = pki.ca1.root_pem().unwrap();
    let at = tls_terminator::start(server, &root, *scene.behind.address(), Manners::Honest).await;
    let builder = scene.lone.builder_for(at, expected, &pki.bank_a.qwac);
    let error = accounts(builder).await;
    let ErrorKind::WeRefused {
        reason,
        certificate,
    } = error.kind
    else {
        panic!("{error:?}")
    };
    assert!(!certificate.subject.is_empty());
    reason
}

#[tokio::test]
async fn we_refuse_servers_and_say_why() {
    let scene = Scene::set().await;
    scene.answers(json_answer(json!({ "accounts": [] }))).await;
    let pki = &scene.lone.pki;
    let reason = refused_server(&scene, &pki.bank_c.qwac, "PSDES-BE-3003").await;
    assert!(
        matches!(&reason, ServerRefusal::Trust(Refusal::UnknownIssuer { issuer }) if issuer.contains("CA2 Root")),
        "{reason}"
    );
    let reason = refused_server(&scene, &pki.bank_b.qwac, BANK_A).await;
    assert_eq!(
        reason,
        ServerRefusal::WrongOrganisation {
            expected: BANK_A.parse().unwrap(),
            found: BANK_B.parse().unwrap(),
        }
    );
    for (stem, matches) in [
        (
            "expired",
            (|reason| matches!(reason, Refusal::Expired { .. })) as fn(&Refusal) -> bool,
        ),
        ("self-signed", |reason| {
            matches!(reason, Refusal::SelfSigned)
        }),
        ("issuing-ca-missing", |reason| {
            matches!(reason, Refusal::IncompleteChain { .. })
        }),
    ] {
        let refused = pki
            .refused
            .iter()
            .find(|refused| refused.reason == stem)
            .unwrap();
        let reason = refused_server(&scene, &refused.identity, "PSDNL-DNB-5001").await;
        let ServerRefusal::Trust(reason) = reason else {
            panic!("{stem}: {reason}")
        };
        assert!(matches(&reason), "{stem}: {reason}");
    }
}

#[tokio::test]
async fn a_server_whose_certificate_expires_while_the_connection_is_open_is_refused() {
    let scene = Scene::set().await;
    scene.answers(json_answer(json!({ "accounts": [] }))).await;
    let under = scene.bank().with_consent("c");
    under.accounts(false).await.unwrap();
    scene.lone.clock.advance(TimeDelta::days(800));
    let error = under.accounts(false).await.unwrap_err();
    let ErrorKind::WeRefused {
        reason: ServerRefusal::Trust(Refusal::Expired { .. }),
        ..
    } = error.kind
    else {
        panic!("{error:?}")
    };
}

#[tokio::test]
async fn they_refuse_us_and_their_alert_is_told() {
    let scene = Scene::set().await;
    let lone = &scene.lone;
    let error = accounts(lone.builder_for(lone.front, BANK_B, &lone.pki.bank_c.qwac)).await;
    let ErrorKind::TheyRefused { alert } = error.kind else {
        panic!("{error:?}")
    };
    assert_eq!(alert.to_string(), "unknown_ca");
}

#[test]
fn an_address_that_is_not_https_is_not_taken() {
    let pki = Pki::make(SystemClock.now()).unwrap();
    for url in [
        "http://bank.example",
        "https://user@bank.example",
        "bank.example",
        "https://bank.example/?x=1",
    ] {
        let credentials = credentials(&pki.bank_a.qwac);
        assert!(!format!("{credentials:?}").contains("PRIVATE"));
        let organisation = BANK_B.parse().unwrap();
        let built = Bank::builder(url, organisation, anchors(&pki.ca1), credentials).build();
        assert!(built.is_err(), "{url}");
    }
}

/// One entry, listed as the standard wants it.
fn one_entry() -> Value {
    let entry = json!({
        "entryReference": "E1",
        "bookingDate": SystemClock.now().date_naive().to_string(),
        "transactionAmount": { "currency": "EUR", "amount": "-1.00" },
    });
    json!({ "transactions": { "booked": [entry], "pending": [], "_links": {} } })
}

#[tokio::test]
async fn an_answer_that_lists_nothing_is_an_error_and_takes_nothing_from_the_copy() {
    let scene = Scene::set().await;
    let account = json!({ "accounts": [{ "resourceId": "a1", "currency": "EUR" }] });
    let lists = async |answer: ResponseTemplate| {
        scene.behind.reset().await;
        for (at, template) in [
            ("/v1/accounts", json_answer(account.clone())),
            ("/v1/accounts/a1/transactions", answer),
            (
                "/v1/accounts/a1/balances",
                json_answer(json!({ "balances": [] })),
            ),
            ("/file.json", json_answer(one_entry())),
            (
                "/file.xml",
                ResponseTemplate::new(200).set_body_raw("<Document/>", "application/xml"),
            ),
        ] {
            Mock::given(path(at))
                .respond_with(template)
                .mount(&scene.behind)
                .await;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let key = Key::from_bytes([1; 32]);
    let vault = Vault::new(&key, "copy", Arc::new(SystemRandomness)).unwrap();
    let copy = LocalCopy::open(folder.path().join("copy.db"), vault)
        .await
        .unwrap();
    let under = scene.bank().with_consent("c");
    let sync = async || {
        let report = Synchroniser::new(&copy, "bank")
            .run(&under, |_| ())
            .await
            .unwrap();
        let key = copy.accounts("bank").await.unwrap()[0].key;
        let entries = copy.transactions(key, Period::default());
        let entries: Vec<_> = entries.try_collect().await.unwrap();
        (report, entries.len())
    };

    lists(json_answer(one_entry())).await;
    let (report, entries) = sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(entries, 1);

    let download = |file: &str| json!({ "_links": { "download": { "href": file } } });
    for body in [
        json!({}),
        json!({ "transactions": { "_links": {} } }),
        json!({ "transactions": { "pending": [], "_links": {} } }),
        json!({ "transactions": { "booked": null, "_links": {} } }),
        download("/file.xml"),
        download("/no-file.json"),
    ] {
        lists(json_answer(body.clone())).await;
        let (report, entries) = sync().await;
        assert!(!report.is_complete(), "{body}");
        assert_eq!(entries, 1, "{body}");
        let Some(SyncError::Bank(error)) = &report.accounts[0].failure else {
            panic!("{report:?}")
        };
        assert!(matches!(error.kind, ErrorKind::NotListed { .. }), "{error}");
        let streamed = under.transactions("a1", &since()).try_next().await;
        assert_eq!(streamed.unwrap_err().kind, error.kind, "{body}");
    }

    // A list that the bank gives as a file is read if it is JSON, and 204 says that there is
    // nothing.
    lists(json_answer(download("/file.json"))).await;
    let (report, entries) = sync().await;
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((entries, report.accounts[0].removed), (1, 0));
    lists(ResponseTemplate::new(204)).await;
    let streamed = under.transactions("a1", &since()).try_next().await;
    assert_eq!(streamed.unwrap(), None);
    let (report, entries) = sync().await;
    assert!(!report.is_complete(), "there was something");
    assert_eq!(entries, 1);
}

#[tokio::test]
async fn a_list_that_is_not_there_is_an_empty_one() {
    let scene = Scene::set().await;
    let account = json!({ "accounts": [{ "resourceId": "a1", "currency": "EUR" }] });
    let under = scene.bank().with_consent("c");
    Mock::given(path("/v1/accounts"))
        .respond_with(json_answer(account))
        .up_to_n_times(1)
        .mount(&scene.behind)
        .await;
    scene.answers(ResponseTemplate::new(204)).await;
    assert_eq!(under.accounts(true).await.unwrap().len(), 1);
    assert!(under.balances("a1").await.unwrap().balances.is_empty());
    let page = under.transactions_page("a1", &since()).await.unwrap();
    assert!(page.transactions.is_none() && page.deviations.is_empty());
    assert!(under.card_accounts(true).await.unwrap().is_empty());
    assert!(under.card_balances("c1").await.unwrap().balances.is_empty());
    let page = under.card_transactions_page("c1", &since()).await.unwrap();
    assert!(page.card_transactions.is_none());

    // Of an account that the bank has listed, it knows no transactions.
    scene.behind.reset().await;
    scene.answers(refusal(404, "RESOURCE_UNKNOWN")).await;
    let listed = under.transactions("a1", &since()).try_next().await;
    assert_eq!(listed.unwrap(), None);
    assert_eq!(under.standing_orders("a1").try_next().await.unwrap(), None);
    let unlisted = under.transactions("a2", &since()).try_next().await;
    assert!(unlisted.is_err());
    let after = TransactionFilter::after_entry("gone");
    assert!(under.transactions("a1", &after).try_next().await.is_err());
    scene.behind.reset().await;
    scene.answers(refusal(404, "SERVICE_INVALID")).await;
    assert!(under.transactions("a1", &since()).try_next().await.is_err());

    // That is so of lists alone, and until the next one.
    scene.behind.reset().await;
    scene.answers(ResponseTemplate::new(204)).await;
    assert!(under.account("a1", false).await.is_err());
    assert!(under.accounts(true).await.unwrap().is_empty());
    scene.behind.reset().await;
    scene.answers(refusal(404, "RESOURCE_UNKNOWN")).await;
    assert!(under.transactions("a1", &since()).try_next().await.is_err());
}
