//! The consent manager and a bank that follows a script: one that changes its mind, gives less than
//! it is asked for, keeps old consents, wants approvals confirmed. Over real mutual TLS.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_client::consent_manager::{
    Approval, Attendance, ConnectionStatus, ConsentManager, ConsentTerms, EndReason, ManagerError,
    Renewal,
};
use bank_client::environment::{Clock as _, ManualClock};
use bank_client::store::{Kind, MemoryStore, Owner, Store, Token, Tokens};
use bank_client::{ErrorKind, Retries};
use chrono::{Days, NaiveDate, TimeDelta};
use serde_json::{Value, json};
use shared_types::xs2a::consent::{AccountAccess, AllAccounts};
use tests::consent_requests::{DEVICE, bank_b_id, vault};
use tests::log_capture::LogCapture;
use tests::lone_bank::{LoneBank, refusal};
use tests::tls_terminator::Manners;
use tracing::Level;
use wiremock::matchers::{body_partial_json, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

struct Scene {
    clock: Arc<ManualClock>,
    script: MockServer,
    store: Arc<dyn Store>,
    manager: ConsentManager,
    /// Each who connects is another one.
    customers: AtomicUsize,
}

impl Scene {
    async fn set() -> Self {
        let (lone, script) = LoneBank::mocked(Manners::Honest).await;
        let bank = lone
            .builder()
            .retries(Retries {
                first_pause: Duration::from_millis(1),
                ..Retries::default()
            })
            .build()
            .unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let manager = ConsentManager::builder(Arc::clone(&store), vault())
            .bank(bank_b_id(), bank)
            .clock(Arc::<ManualClock>::clone(&lone.clock))
            .build();
        Self {
            clock: lone.clock,
            script,
            store,
            manager,
            customers: AtomicUsize::new(17),
        }
    }

    fn today(&self) -> NaiveDate {
        self.clock.now().date_naive()
    }

    fn in_days(&self, days: u64) -> NaiveDate {
        self.today() + Days::new(days)
    }

    /// The next answer to that, once; after it, the one that was given last before.
    async fn says(&self, what: &str, at: &str, answer: ResponseTemplate, times: Option<u64>) {
        let mock = Mock::given(method(what)).and(path(at)).respond_with(answer);
        let mock = match times {
            Some(times) => mock.up_to_n_times(times).with_priority(1),
            None => mock.with_priority(5),
        };
        mock.mount(&self.script).await;
    }

    async fn gives(&self, consent: &str, until: NaiveDate) {
        let links = json!({
            "scaRedirect": { "href": format!("https://bank-b.example/{consent}") },
            "scaStatus": { "href": format!("/v1/consents/{consent}/authorisations/a-{consent}") },
        });
        let created = json!({ "consentStatus": "received", "consentId": consent, "_links": links });
        let answer = ResponseTemplate::new(201).set_body_json(created);
        self.says("POST", "/v1/consents", answer, Some(1)).await;
        let information = json!({
            "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true, "validUntil": until,
            "frequencyPerDay": 4, "consentStatus": "received",
        });
        let answer = ResponseTemplate::new(200).set_body_json(information);
        self.says("GET", &format!("/v1/consents/{consent}"), answer, None)
            .await;
    }

    async fn status(&self, consent: &str, status: &str) {
        let answer = ResponseTemplate::new(200).set_body_json(json!({ "consentStatus": status }));
        let at = format!("/v1/consents/{consent}/status");
        // Later ones count before earlier ones.
        let mock = Mock::given(method("GET"))
            .and(path(at))
            .respond_with(answer);
        let asked = self.script.received_requests().await.unwrap().len();
        let priority = u8::try_from(200_usize.saturating_sub(asked))
            .unwrap()
            .max(2);
        mock.with_priority(priority).mount(&self.script).await;
    }

    async fn connect(&self, options: &ApprovalOptions) -> Result<Approval, ManagerError> {
        let customer = self.customers.fetch_add(1, Ordering::Relaxed).to_string();
        let wish = ConsentTerms::all_accounts();
        self.manager
            .connect(&bank_b_id(), &customer, DEVICE, &wish, options)
            .await
    }

    async fn connected(&self) -> Approval {
        self.gives("c-1", self.in_days(180)).await;
        let approval = self.connect(&ApprovalOptions::new()).await.unwrap();
        self.status("c-1", "valid").await;
        let status = self.manager.follow(&approval.connection).await.unwrap();
        assert!(status.is_serving(), "{status}");
        approval
    }

    async fn read(&self, approval: &Approval) -> Result<usize, ManagerError> {
        let id = &approval.connection;
        self.manager
            .read(id, Attendance::Unattended, |bank| async move {
                bank.accounts(false).await.map(|accounts| accounts.len())
            })
            .await
    }

    /// Requests in order: method and path.
    async fn asked(&self) -> Vec<String> {
        let requests = self.script.received_requests().await.unwrap();
        let line =
            |request: &wiremock::Request| format!("{} {}", request.method, request.url.path());
        requests.iter().map(line).collect()
    }

    async fn posted(&self) -> Vec<(Value, String)> {
        let requests = self.script.received_requests().await.unwrap();
        requests
            .iter()
            .filter(|request| request.method.as_str() == "POST")
            .map(|request| {
                let id = request.headers["x-request-id"].to_str().unwrap().to_owned();
                (serde_json::from_slice(&request.body).unwrap(), id)
            })
            .collect()
    }
}

fn no_accounts() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "accounts": [] }))
}

/// Log lines from `INFO` on: the message, and the field with the reason.
fn story(log: &LogCapture) -> Vec<String> {
    let events = log.events().into_iter();
    let told = events.filter(|event| event.level <= Level::INFO);
    told.map(|event| {
        // How long exactly is waited is left to chance.
        let message = event.message.split(" ms").next().unwrap();
        let message = message.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let mut reasons = event
            .fields
            .iter()
            .filter(|(name, _)| ["reasons", "cause"].contains(name));
        let reason = reasons.next_back();
        let reason = reason.map(|(_, reason)| format!(" [{}]", reason.trim_matches('"')));
        format!("{}{}", message.trim_end(), reason.unwrap_or_default())
    })
    .collect()
}

#[tokio::test]
async fn a_bank_that_changes_its_mind_is_handled_as_a_person_would_and_the_log_tells_the_story() {
    let scene = Scene::set().await;
    let approval = scene.connected().await;
    let slow_down = refusal(429, "ACCESS_EXCEEDED").insert_header("Retry-After", "1");
    for answer in [
        slow_down,
        refusal(401, "CONSENT_EXPIRED"),
        ResponseTemplate::new(503),
    ] {
        scene.says("GET", "/v1/accounts", answer, Some(1)).await;
    }
    scene.says("GET", "/v1/accounts", no_accounts(), None).await;
    let before = scene.asked().await.len();

    let log = LogCapture::start();
    assert_eq!(scene.read(&approval).await.unwrap(), 0);
    let story = story(&log);

    assert_eq!(
        scene.asked().await[before..],
        [
            "GET /v1/accounts",
            "GET /v1/accounts",
            "GET /v1/consents/c-1/status",
            "GET /v1/accounts",
            "GET /v1/accounts",
        ]
    );
    assert!(
        scene
            .manager
            .status(&approval.connection)
            .await
            .unwrap()
            .is_serving()
    );
    assert_eq!(
        story,
        [
            "retrying in [429 ACCESS_EXCEEDED]",
            "failed [401 CONSENT_EXPIRED]",
            "read refused because of the consent, checking its status [401 CONSENT_EXPIRED]",
            "consent still valid, retrying the read",
            "retrying in [503]",
        ]
    );
}

#[tokio::test]
async fn a_bank_that_counts_reads_after_rfc_7807_is_not_asked_again_today() {
    let scene = Scene::set().await;
    let approval = scene.connected().await;
    let problem = json!({
        "type": "https://bank.example/errors/access", "title": "Too many reads", "code": "ACCESS_EXCEEDED",
    });
    let answer = ResponseTemplate::new(429)
        .insert_header("Retry-After", "36000")
        .set_body_raw(problem.to_string(), "application/problem+json");
    scene.says("GET", "/v1/accounts", answer, None).await;
    let before = scene.asked().await.len();
    for _ in 0..2 {
        let outcome = scene.read(&approval).await;
        assert!(
            matches!(outcome, Err(ManagerError::UsedUp { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(scene.asked().await[before..], ["GET /v1/accounts"]);
}

#[tokio::test]
async fn a_bank_that_refuses_long_consents_is_asked_for_shorter_ones_and_remembered() {
    for code in ["PERIOD_INVALID", "FORMAT_ERROR", "PARAMETER_NOT_SUPPORTED"] {
        let scene = Scene::set().await;
        let long = json!({ "validUntil": scene.in_days(180) });
        Mock::given(method("POST"))
            .and(path("/v1/consents"))
            .and(body_partial_json(long))
            .respond_with(refusal(400, code))
            .with_priority(1)
            .mount(&scene.script)
            .await;
        for consent in ["c-1", "c-2"] {
            scene.gives(consent, scene.in_days(90)).await;
            let approval = scene.connect(&ApprovalOptions::new()).await.unwrap();
            assert_eq!(approval.consent_id(), consent);
        }
        let posted = scene.posted().await;
        let days = [180, 90, 90].map(|days| json!(scene.in_days(days)));
        let asked: Vec<&Value> = posted.iter().map(|(body, _)| &body["validUntil"]).collect();
        assert_eq!(asked, days.iter().collect::<Vec<_>>(), "{code}");
        assert_ne!(
            posted[0].1, posted[1].1,
            "another request has an id of its own"
        );
    }
}

#[tokio::test]
async fn what_a_bank_gives_is_learnt_and_other_refusals_are_not_mistaken_for_it() {
    let scene = Scene::set().await;
    scene.gives("c-1", scene.in_days(30)).await;
    scene.connect(&ApprovalOptions::new()).await.unwrap();
    scene.gives("c-2", scene.in_days(30)).await;
    scene.connect(&ApprovalOptions::new()).await.unwrap();
    let posted = scene.posted().await;
    assert_eq!(posted[0].0["validUntil"], json!(scene.in_days(180)));
    assert_eq!(posted[1].0["validUntil"], json!(scene.in_days(30)));

    scene
        .says(
            "POST",
            "/v1/consents",
            refusal(400, "SERVICE_INVALID"),
            Some(1),
        )
        .await;
    let outcome = scene.connect(&ApprovalOptions::new()).await;
    assert!(matches!(outcome, Err(ManagerError::Bank(_))), "{outcome:?}");
    assert_eq!(scene.posted().await.len(), 3, "it is asked once");
    assert_eq!(scene.manager.connections().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_old_consent_that_still_stands_is_given_up_after_the_switch_and_not_before() {
    let scene = Scene::set().await;
    let old = scene.connected().await;
    let id = &old.connection;
    let tokens = Tokens::new(Arc::clone(&scene.store), vault());
    let token = Token {
        name: "access".to_owned(),
        secret: "s".to_owned(),
        expires: None,
    };
    tokens
        .keep(&Owner::Connection(id.clone()), &token)
        .await
        .unwrap();

    scene.gives("c-2", scene.in_days(180)).await;
    scene
        .manager
        .renew(id, DEVICE, &ApprovalOptions::new())
        .await
        .unwrap();
    scene.status("c-2", "received").await;
    scene.manager.follow(id).await.unwrap();
    scene.status("c-2", "valid").await;
    // The bank cannot be told at first.
    let gone = ResponseTemplate::new(500);
    scene
        .says("DELETE", "/v1/consents/c-1", gone, Some(1))
        .await;
    let deleted = async || {
        let asked = scene.asked().await;
        asked
            .iter()
            .filter(|line| line.starts_with("DELETE"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert!(deleted().await.is_empty());
    assert!(scene.manager.follow(id).await.unwrap().is_serving());
    assert_eq!(deleted().await, ["DELETE /v1/consents/c-1"]);
    scene
        .says(
            "DELETE",
            "/v1/consents/c-1",
            ResponseTemplate::new(204),
            Some(1),
        )
        .await;
    scene.manager.follow(id).await.unwrap();
    assert_eq!(deleted().await.len(), 2, "told at the next occasion");
    // Giving it all up: as long as the bank does not know, it is told again.
    let refused = ResponseTemplate::new(500);
    scene
        .says("DELETE", "/v1/consents/c-2", refused, Some(1))
        .await;
    assert!(matches!(
        scene.manager.disconnect(id).await,
        Err(ManagerError::NotGivenUp { .. })
    ));
    assert_eq!(
        scene.manager.status(id).await.unwrap(),
        ConnectionStatus::Leaving
    );
    assert!(matches!(
        scene.read(&old).await,
        Err(ManagerError::NotServing(ConnectionStatus::Leaving))
    ));
    scene
        .says(
            "DELETE",
            "/v1/consents/c-2",
            ResponseTemplate::new(204),
            Some(1),
        )
        .await;
    scene.manager.disconnect(id).await.unwrap();
    assert!(matches!(
        scene.manager.status(id).await,
        Err(ManagerError::NoSuchConnection(_))
    ));
    for kind in [Kind::Connection, Kind::Token] {
        let left = scene.store.list(kind, "", 9).await.unwrap();
        assert!(left.is_empty(), "{kind}");
    }
}

/// Responses of a bank for a consent that it no longer knows, with the standard's code and without.
fn dead() -> Vec<(ResponseTemplate, EndReason)> {
    vec![
        (refusal(401, "CONSENT_EXPIRED"), EndReason::Expired),
        (refusal(401, "CONSENT_INVALID"), EndReason::Gone),
        (refusal(403, "CONSENT_UNKNOWN"), EndReason::Gone),
        (refusal(404, "RESOURCE_UNKNOWN"), EndReason::Gone),
        (refusal(403, "RESOURCE_EXPIRED"), EndReason::Gone),
        (ResponseTemplate::new(401), EndReason::Gone),
        (ResponseTemplate::new(403), EndReason::Gone),
        (ResponseTemplate::new(404), EndReason::Gone),
        (ResponseTemplate::new(410), EndReason::Gone),
    ]
}

#[tokio::test]
async fn every_consent_is_given_up_whatever_becomes_of_the_others() {
    let failing = ResponseTemplate::new(500);
    for (answer, is_gone) in (dead().into_iter().map(|(answer, _)| (answer, true))).chain([
        (failing, false),
        (refusal(401, "CERTIFICATE_EXPIRED"), false),
    ]) {
        let scene = Scene::set().await;
        let approval = scene.connected().await;
        let id = &approval.connection;
        // The bank cannot be told at the renewal that the old one is over.
        let gone = ResponseTemplate::new(500);
        scene
            .says("DELETE", "/v1/consents/c-1", gone, Some(1))
            .await;
        scene.gives("c-2", scene.in_days(180)).await;
        let options = ApprovalOptions::new();
        scene.manager.renew(id, DEVICE, &options).await.unwrap();
        scene.status("c-2", "valid").await;
        assert!(scene.manager.follow(id).await.unwrap().is_serving());
        // Now the old one is dead, and the new one is given up in the customer's name.
        for (what, at) in [
            ("GET", "/v1/consents/c-1/status"),
            ("DELETE", "/v1/consents/c-1"),
        ] {
            scene.says(what, at, answer.clone(), None).await;
        }
        let well = ResponseTemplate::new(204);
        scene
            .says("DELETE", "/v1/consents/c-2", well, Some(1))
            .await;
        let outcome = scene.manager.disconnect(id).await;
        let asked = scene.asked().await;
        assert!(
            asked.contains(&"DELETE /v1/consents/c-2".to_owned()),
            "{answer:?}: {asked:?}"
        );
        if is_gone {
            assert!(outcome.is_ok(), "{answer:?}: {outcome:?}");
            assert!(scene.manager.connections().await.unwrap().is_empty());
            continue;
        }
        let Err(ManagerError::NotGivenUp { errors }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(errors.len(), 1, "{errors:?}");
        // What is done is done: the next call is about the other one alone.
        let before = scene.asked().await.len();
        assert!(scene.manager.disconnect(id).await.is_err());
        let asked = &scene.asked().await[before..];
        assert!(
            !asked.is_empty() && asked.iter().all(|line| line.contains("/c-1")),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn a_consent_that_the_bank_has_ended_has_ended_here() {
    for (answer, reason) in dead() {
        let scene = Scene::set().await;
        let approval = scene.connected().await;
        for at in ["/v1/accounts", "/v1/consents/c-1/status"] {
            scene.says("GET", at, answer.clone(), None).await;
        }
        let outcome = scene.read(&approval).await;
        let ended = ConnectionStatus::Ended {
            reason,
            renewal: None,
        };
        assert!(
            matches!(&outcome, Err(ManagerError::NotServing(status)) if *status == ended),
            "{answer:?}: {outcome:?}"
        );
        let id = &approval.connection;
        assert_eq!(scene.manager.status(id).await.unwrap(), ended);
    }
}

#[tokio::test]
async fn what_a_bank_says_of_our_certificate_ends_no_consent() {
    for code in ["CERTIFICATE_EXPIRED", "CERTIFICATE_BLOCKED", "ROLE_INVALID"] {
        let scene = Scene::set().await;
        let approval = scene.connected().await;
        let answer = refusal(401, code);
        for at in ["/v1/accounts", "/v1/consents/c-1/status"] {
            scene.says("GET", at, answer.clone(), None).await;
        }
        let outcome = scene.read(&approval).await;
        assert!(matches!(outcome, Err(ManagerError::Bank(_))), "{outcome:?}");
        let outcome = scene.manager.follow(&approval.connection).await;
        assert!(matches!(outcome, Err(ManagerError::Bank(_))), "{outcome:?}");
        let status = scene.manager.status(&approval.connection).await;
        assert!(status.unwrap().is_serving(), "{code}");
    }
}

#[tokio::test]
async fn a_consent_that_the_bank_knows_again_serves_again() {
    let scene = Scene::set().await;
    let approval = scene.connected().await;
    for at in ["/v1/accounts", "/v1/consents/c-1/status"] {
        scene
            .says("GET", at, ResponseTemplate::new(403), Some(1))
            .await;
    }
    scene.says("GET", "/v1/accounts", no_accounts(), None).await;
    assert!(matches!(
        scene.read(&approval).await,
        Err(ManagerError::NotServing(_))
    ));
    assert_eq!(scene.read(&approval).await.unwrap(), 0);
}

#[tokio::test]
async fn a_refusal_that_has_another_reason_teaches_nothing() {
    let scene = Scene::set().await;
    scene
        .says(
            "POST",
            "/v1/consents",
            refusal(400, "FORMAT_ERROR"),
            Some(2),
        )
        .await;
    let outcome = scene.connect(&ApprovalOptions::new()).await;
    assert!(matches!(outcome, Err(ManagerError::Bank(_))), "{outcome:?}");
    assert_eq!(scene.posted().await.len(), 2, "a shorter one was tried");
    assert!(scene.manager.connections().await.unwrap().is_empty());
    scene.gives("c-1", scene.in_days(180)).await;
    scene.connect(&ApprovalOptions::new()).await.unwrap();
    let posted = scene.posted().await;
    assert_eq!(posted[2].0["validUntil"], json!(scene.in_days(180)));
    assert!(
        scene
            .store
            .list(Kind::Bank, "", 9)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_connection_is_renewed_by_another_wish() {
    let scene = Scene::set().await;
    let approval = scene.connected().await;
    let id = &approval.connection;
    let before = scene.manager.consent_terms(id).await.unwrap();
    assert_eq!(before, ConsentTerms::all_accounts());
    let options = ApprovalOptions::new();
    let shorter = before.clone().days(30);
    let renew = async |wish: &ConsentTerms, consent: &str, days| {
        scene.gives(consent, scene.in_days(days)).await;
        scene.status(consent, "received").await;
        let renewed = scene.manager.renew_as(id, DEVICE, wish, &options).await;
        renewed.unwrap().consent_id().to_owned()
    };
    assert_eq!(renew(&shorter, "c-2", 30).await, "c-2");
    assert_eq!(
        scene.manager.consent_terms(id).await.unwrap(),
        before,
        "as approved"
    );
    // Another one meanwhile is asked for in place of that.
    let narrower = shorter.clone().access(AccountAccess {
        available_accounts: Some(AllAccounts::AllAccounts),
        ..AccountAccess::default()
    });
    assert_eq!(renew(&narrower, "c-3", 30).await, "c-3");
    let posted = scene.posted().await;
    let asked: Vec<&Value> = posted.iter().map(|(body, _)| body).collect();
    assert_eq!(asked[1]["validUntil"], json!(scene.in_days(30)));
    assert_eq!(asked[2]["validUntil"], json!(scene.in_days(30)));
    assert_eq!(asked[1]["access"], asked[0]["access"]);
    assert_eq!(
        asked[2]["access"],
        json!({ "availableAccounts": "allAccounts" })
    );
    scene.status("c-3", "valid").await;
    let status = scene.manager.follow(id).await.unwrap();
    assert_eq!(status.until(), Some(scene.in_days(30)));
    assert_eq!(scene.manager.consent_terms(id).await.unwrap(), narrower);
    // So it is with the way of approving.
    scene.gives("c-4", scene.in_days(30)).await;
    scene.status("c-4", "received").await;
    let waiting = scene.manager.renew(id, DEVICE, &options).await.unwrap();
    assert_eq!(waiting.consent_id(), "c-4");
    scene.gives("c-5", scene.in_days(30)).await;
    let options = options.psu_id("anna.weber");
    let asked = scene.manager.renew(id, DEVICE, &options).await.unwrap();
    assert_eq!(asked.consent_id(), "c-5");
}

#[tokio::test]
async fn the_status_alone_says_that_a_consent_is_approved() {
    let odd = json!({
        "access": { "allPsd2": "everything" }, "recurringIndicator": true, "validUntil": "one day",
        "frequencyPerDay": 0, "consentStatus": "valid", "lastActionDate": "2026-11-30T12:00:00+01:00",
    });
    for content in [
        ResponseTemplate::new(200).set_body_json(odd),
        ResponseTemplate::new(405),
        refusal(403, "SERVICE_BLOCKED"),
    ] {
        let scene = Scene::set().await;
        scene
            .says("GET", "/v1/consents/c-1", content, Some(9))
            .await;
        scene.gives("c-1", scene.in_days(180)).await;
        let approval = scene.connect(&ApprovalOptions::new()).await.unwrap();
        scene.status("c-1", "valid").await;
        let status = scene.manager.follow(&approval.connection).await.unwrap();
        assert!(status.is_serving(), "{status}");
        assert_eq!(status.until(), Some(scene.in_days(180)), "as asked for");
        scene.says("GET", "/v1/accounts", no_accounts(), None).await;
        assert_eq!(scene.read(&approval).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn an_address_of_the_customer_that_is_not_known_is_not_made_up() {
    let scene = Scene::set().await;
    let connect = async |customer: &'static str, psu: Option<IpAddr>| {
        let (bank, wish, options) = (
            bank_b_id(),
            ConsentTerms::all_accounts(),
            ApprovalOptions::new(),
        );
        let connecting = scene.manager.connect(&bank, customer, psu, &wish, &options);
        connecting.await
    };
    scene.gives("c-1", scene.in_days(180)).await;
    connect("17", None).await.unwrap();
    scene.gives("c-2", scene.in_days(180)).await;
    connect("18", Some(DEVICE)).await.unwrap();
    let requests = scene.script.received_requests().await.unwrap();
    let mut sent = requests
        .iter()
        .filter(|request| request.method.as_str() == "POST")
        .map(|request| request.headers.get("psu-ip-address").cloned());
    assert_eq!(sent.next(), Some(None));
    assert_eq!(sent.next().unwrap().unwrap(), "192.0.2.7");
    for request in &requests {
        let others = request.headers.keys();
        let others =
            others.filter(|name| name.as_str().starts_with("psu-") && *name != "psu-ip-address");
        assert_eq!(others.count(), 0, "{:?}", request.headers);
    }

    // A bank that insists on it is understood, and is not taken for one that gives shorter consents
    // alone.
    let message =
        json!({ "category": "ERROR", "code": "FORMAT_ERROR", "text": "PSU-IP-Address is missing" });
    let insists = ResponseTemplate::new(400).set_body_json(json!({ "tppMessages": [message] }));
    scene.says("POST", "/v1/consents", insists, Some(2)).await;
    let before = scene.posted().await.len();
    match connect("19", None).await {
        Err(ManagerError::Bank(error)) => {
            assert!(error.lacks_psu_address());
            assert!(
                error.advice().contains("PSU-IP-Address"),
                "{}",
                error.advice()
            );
        }
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(scene.posted().await.len(), before + 1);
}

#[tokio::test]
async fn who_comes_back_brings_what_was_sent_along_and_the_code_is_passed_on() {
    let scene = Scene::set().await;
    scene.gives("c-1", scene.in_days(180)).await;
    let options = ApprovalOptions::new()
        .return_to("https://app.example/back?from=bank")
        .return_to_if_refused("https://app.example/back");
    let approval = scene.connect(&options).await.unwrap();
    let id = &approval.connection;
    assert_eq!(
        approval.next,
        NextStep::Redirect("https://bank-b.example/c-1".to_owned())
    );
    let requests = scene.script.received_requests().await.unwrap();
    let sent = |name: &str| requests[0].headers[name].to_str().unwrap().to_owned();
    let way_back = sent("tpp-redirect-uri");
    let state = way_back
        .strip_prefix("https://app.example/back?from=bank&state=")
        .unwrap();
    assert_eq!(
        sent("tpp-nok-redirect-uri"),
        format!("https://app.example/back?state={state}")
    );
    assert!(state.len() >= 22, "{state}");

    for foreign in [
        "",
        "code=1",
        "state=",
        "state=x",
        &format!("state={state}x"),
        &format!("state={}", &state[1..]),
    ] {
        let outcome = scene.manager.handle_redirect(id, foreign).await;
        let refused = match &outcome {
            Err(ManagerError::StateMissing) => !foreign.contains("state"),
            Err(ManagerError::Foreign(connection)) => connection == id,
            _ => false,
        };
        assert!(refused, "{foreign}: {outcome:?}");
    }
    let before = scene.asked().await.len();
    scene.status("c-1", "received").await;
    let confirmed = json!({ "scaStatus": "finalised" });
    let answer = ResponseTemplate::new(200).set_body_json(confirmed);
    let at = "/v1/consents/c-1/authorisations/a-c-1";
    Mock::given(method("PUT"))
        .and(path(at))
        .and(body_partial_json(json!({ "confirmationCode": "12-ab" })))
        .respond_with(answer)
        .mount(&scene.script)
        .await;
    let query = format!("state={state}&code=12-ab");
    assert_eq!(
        scene.manager.handle_redirect(id, &query).await.unwrap(),
        ConnectionStatus::Waiting
    );
    let put = format!("PUT {at}");
    assert_eq!(
        scene.asked().await[before..],
        [put.as_str(), "GET /v1/consents/c-1/status"]
    );
    scene.status("c-1", "valid").await;
    assert!(
        scene
            .manager
            .handle_redirect(id, &query)
            .await
            .unwrap()
            .is_serving()
    );
    let puts = scene
        .asked()
        .await
        .iter()
        .filter(|line| **line == put)
        .count();
    assert_eq!(puts, 1, "coming back twice changes nothing");
}

#[tokio::test]
async fn a_consent_with_odd_fields_is_approved_once_its_status_says_so() {
    for (field, odd) in [
        ("lastActionDate", json!("2026-11-27T00:00:00")),
        ("frequencyPerDay", json!(0)),
        ("frequencyPerDay", json!("4")),
        ("access", json!({ "allPsd2": "everything" })),
        ("validUntil", json!("soon")),
    ] {
        let scene = Scene::set().await;
        scene.gives("c-1", scene.in_days(180)).await;
        let mut information = json!({
            "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true, "validUntil": scene.in_days(180),
            "frequencyPerDay": 4, "consentStatus": "valid",
        });
        information[field] = odd.clone();
        let answer = ResponseTemplate::new(200).set_body_json(information);
        scene
            .says("GET", "/v1/consents/c-1", answer, Some(u64::MAX))
            .await;
        let approval = scene.connect(&ApprovalOptions::new()).await.unwrap();
        scene.status("c-1", "valid").await;
        let status = scene.manager.follow(&approval.connection).await.unwrap();
        assert!(status.is_serving(), "{field} {odd}: {status}");
    }
}

/// Banks have words of their own: they are taken neither as an approval nor as an end.
#[tokio::test]
async fn a_status_that_the_standard_does_not_have_changes_nothing() {
    let scene = Scene::set().await;
    scene.gives("c-1", scene.in_days(180)).await;
    let created = json!({ "consentStatus": "handedOver", "consentId": "c-1", "_links": {} });
    let answer = ResponseTemplate::new(201).set_body_json(created);
    let posted = Mock::given(method("POST")).respond_with(answer);
    posted.with_priority(1).mount(&scene.script).await;
    let approval = scene.connect(&ApprovalOptions::new()).await.unwrap();
    let id = &approval.connection;
    scene.status("c-1", "underReview").await;
    assert_eq!(
        scene.manager.follow(id).await.unwrap(),
        ConnectionStatus::Waiting
    );
    scene.status("c-1", "valid").await;
    assert!(scene.manager.follow(id).await.unwrap().is_serving());
    scene.status("c-1", "suspended").await;
    assert!(scene.manager.follow(id).await.unwrap().is_serving());
    // Of the bank itself the word is told.
    let told = approval.bank.consent_status("c-1").await.unwrap_err();
    let word = "suspended".to_owned();
    assert_eq!(told.kind, ErrorKind::UnknownStatus { word });
    // Where it is to end, it is told to the bank all the same.
    let deleted = ResponseTemplate::new(204);
    scene
        .says("DELETE", "/v1/consents/c-1", deleted, None)
        .await;
    scene.manager.disconnect(id).await.unwrap();
    let asked = scene.asked().await;
    assert!(
        asked.contains(&"DELETE /v1/consents/c-1".to_owned()),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_bank_that_gives_more_than_was_asked_for_is_not_believed() {
    let log = LogCapture::start();
    let scene = Scene::set().await;
    scene.gives("c-1", scene.in_days(400)).await;
    let approval = scene.connect(&ApprovalOptions::new()).await.unwrap();
    scene.status("c-1", "valid").await;
    let status = scene.manager.follow(&approval.connection).await.unwrap();
    assert_eq!(status.until(), Some(scene.in_days(180)));
    let summary = scene.manager.connections().await.unwrap().remove(0);
    assert_eq!(summary.consent.as_deref(), Some("c-1"));
    assert_eq!(summary.days_left, Some(180));
    assert!(!format!("{summary:?}").contains("c-1"), "{summary:?}");
    let told = log.text();
    assert!(told.contains("consent exceeds the request"), "{told}");
}

#[tokio::test]
async fn a_bank_that_cannot_be_asked_has_not_ended_anything() {
    let scene = Scene::set().await;
    let approval = scene.connected().await;
    let id = &approval.connection;
    scene
        .says("GET", "/v1/accounts", refusal(401, "CONSENT_INVALID"), None)
        .await;
    scene
        .says(
            "GET",
            "/v1/consents/c-1/status",
            ResponseTemplate::new(500),
            Some(1),
        )
        .await;
    assert!(matches!(
        scene.read(&approval).await,
        Err(ManagerError::Bank(_))
    ));
    assert!(scene.manager.status(id).await.unwrap().is_serving());
    // One that says valid and refuses all the same is not asked for ever.
    let before = scene.asked().await.len();
    assert!(matches!(
        scene.read(&approval).await,
        Err(ManagerError::Bank(_))
    ));
    assert!(scene.asked().await.len() - before <= 6);
    assert!(scene.manager.status(id).await.unwrap().is_serving());
    // One that does not know it any more.
    scene
        .says(
            "GET",
            "/v1/consents/c-1/status",
            refusal(403, "CONSENT_UNKNOWN"),
            Some(1),
        )
        .await;
    let outcome = scene.read(&approval).await;
    let gone = ConnectionStatus::Ended {
        reason: EndReason::Gone,
        renewal: None,
    };
    assert!(
        matches!(&outcome, Err(ManagerError::NotServing(status)) if *status == gone),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_asked_for_again_as_the_same_request() {
    let scene = Scene::set().await;
    scene
        .says("POST", "/v1/consents", ResponseTemplate::new(500), Some(1))
        .await;
    let outcome = scene.connect(&ApprovalOptions::new()).await;
    let Err(ManagerError::Unanswered { connection, .. }) = outcome else {
        panic!("{outcome:?}")
    };
    scene.gives("c-1", scene.in_days(180)).await;
    scene.status("c-1", "received").await;
    scene.clock.advance(TimeDelta::days(1));
    assert_eq!(
        scene.manager.follow(&connection).await.unwrap(),
        ConnectionStatus::Waiting
    );
    let posted = scene.posted().await;
    assert_eq!(posted.len(), 2);
    assert_eq!(posted[0], posted[1], "word for word, and of one id");
}

#[tokio::test]
async fn for_a_web_app_an_approval_counts_once_the_customer_is_back() {
    let scene = Scene::set().await;
    let old = scene.connected().await;
    let id = &old.connection;
    let careful = ConsentManager::builder(Arc::clone(&scene.store), vault())
        .bank(bank_b_id(), old.bank.clone())
        .clock(Arc::<ManualClock>::clone(&scene.clock))
        .only_after_return()
        .build();
    scene.gives("c-2", scene.in_days(180)).await;
    let options = ApprovalOptions::new().return_to("https://app.example/back");
    careful.renew(id, DEVICE, &options).await.unwrap();
    scene.status("c-2", "valid").await;
    let status = careful.follow(id).await.unwrap();
    assert_eq!(status.renewal(), Some(Renewal::Waiting));
    let requests = scene.script.received_requests().await.unwrap();
    let posts: Vec<_> = requests
        .iter()
        .filter(|one| one.method.as_str() == "POST")
        .collect();
    let way_back = posts[1].headers["tpp-redirect-uri"].to_str().unwrap();
    let query = way_back.split_once('?').unwrap().1;
    assert_eq!(
        careful.handle_redirect(id, query).await.unwrap().renewal(),
        None
    );
}
