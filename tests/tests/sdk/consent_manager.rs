//! The consent manager and a bank that follows a script: one that changes its mind, gives less than it is asked for, keeps
//! old consents, wants approvals confirmed. Over real mutual TLS.

use std::sync::Arc;
use std::time::Duration;

use bank_client::Retries;
use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_client::consent_manager::{
    Approval, Attendance, ConsentManager, Ending, ManagerError, Renewal, Standing, Wish,
};
use bank_client::environment::{Clock as _, ManualClock};
use bank_client::store::{Kind, MemoryStore, Owner, Store, Token, Tokens};
use chrono::{Days, NaiveDate, TimeDelta};
use serde_json::{Value, json};
use tests::asking::{DEVICE, bank_b_id, vault};
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
        self.manager
            .connect(&bank_b_id(), "17", DEVICE, &Wish::all_accounts(), options)
            .await
    }

    async fn connected(&self) -> Approval {
        self.gives("c-1", self.in_days(180)).await;
        let approval = self.connect(&ApprovalOptions::new()).await.unwrap();
        self.status("c-1", "valid").await;
        let standing = self.manager.follow(&approval.connection).await.unwrap();
        assert!(standing.is_serving(), "{standing}");
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

    /// What was asked, in order: method and path.
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

/// What is logged from `INFO` on, line by line: the message, and the field that has the reason.
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
            .standing(&approval.connection)
            .await
            .unwrap()
            .is_serving()
    );
    assert_eq!(
        story,
        [
            "retrying in [429 ACCESS_EXCEEDED]",
            "failed [401 CONSENT_EXPIRED]",
            "the bank refuses a read because of the consent: asking where it stands [401 CONSENT_EXPIRED]",
            "asked, the bank says that the consent is valid: going on",
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
        .says("DELETE", "/v1/consents/c-2", refused, Some(2))
        .await;
    assert!(matches!(
        scene.manager.disconnect(id).await,
        Err(ManagerError::Bank(_))
    ));
    assert_eq!(scene.manager.standing(id).await.unwrap(), Standing::Leaving);
    assert!(matches!(
        scene.read(&old).await,
        Err(ManagerError::NotServing(Standing::Leaving))
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
        scene.manager.standing(id).await,
        Err(ManagerError::NoSuchConnection(_))
    ));
    for kind in [Kind::Connection, Kind::Token] {
        let left = scene.store.list(kind, "", 9).await.unwrap();
        assert!(left.is_empty(), "{kind}");
    }
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
        let outcome = scene.manager.returned(id, foreign).await;
        assert!(matches!(outcome, Err(ManagerError::Foreign)), "{foreign}");
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
        scene.manager.returned(id, &query).await.unwrap(),
        Standing::Waiting
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
            .returned(id, &query)
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
    assert!(scene.manager.standing(id).await.unwrap().is_serving());
    // One that says valid and refuses all the same is not asked for ever.
    let before = scene.asked().await.len();
    assert!(matches!(
        scene.read(&approval).await,
        Err(ManagerError::Bank(_))
    ));
    assert!(scene.asked().await.len() - before <= 6);
    assert!(scene.manager.standing(id).await.unwrap().is_serving());
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
    let gone = Standing::Ended {
        why: Ending::Gone,
        renewal: None,
    };
    assert!(
        matches!(&outcome, Err(ManagerError::NotServing(standing)) if *standing == gone),
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
        Standing::Waiting
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
    let standing = careful.follow(id).await.unwrap();
    assert_eq!(standing.renewal(), Some(Renewal::Waiting));
    let requests = scene.script.received_requests().await.unwrap();
    let posts: Vec<_> = requests
        .iter()
        .filter(|one| one.method.as_str() == "POST")
        .collect();
    let way_back = posts[1].headers["tpp-redirect-uri"].to_str().unwrap();
    let query = way_back.split_once('?').unwrap().1;
    assert_eq!(careful.returned(id, query).await.unwrap().renewal(), None);
}
