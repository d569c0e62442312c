//! SCA methods of the bank's own systems: behind an HTTP service, and as a trait object.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bank_client::Bank;
use bank_client::authorisations::{ApprovalOptions, Authorisation, NextStep};
use bank_client::environment::ManualClock;
use bank_server::config::Config;
use bank_server::domain::{ExternalMethodId, PsuId};
use bank_server::sca::external::{
    AnswerKind, ChallengeRequest, ChallengeState, ExternalMethod, ScaMethods, ScaMethodsError,
};
use bank_server::{BankServer, RunningBank};
use chrono::TimeDelta;
use fixtures::sandbox::CUSTOMER;
use futures::future::join_all;
use serde_json::{Value, json};
use shared_types::xs2a::authorisation::{
    AuthenticationType, ChallengeData, ScaApproach, ScaStatus, Secret,
};
use shared_types::xs2a::consent::ConsentStatus;
use tests::banks::Banks;
use tests::consent_requests::{DEVICE, embedded, refusal, wanted};
use tests::customer::Customer;
use tests::ledger::Ledger;
use tests::operator;
use tests::sca_methods_double::{CODE, ScaMethodsDouble};
use tests::sdk::{BANK_B, bank_builder};
use tests::wait::wait_until;
use wiremock::ResponseTemplate;

/// Bank B with the service, Bank A as its TPP, and the story's customer.
struct Story {
    banks: Banks,
    service: ScaMethodsDouble,
    bank_b: RunningBank,
    bank: Bank,
    customer: Customer,
}

impl Story {
    async fn start() -> Self {
        let banks = Banks::start().await;
        let service = ScaMethodsDouble::start().await;
        let section = service.section();
        let bank_b = banks
            .replica_of_b(|config| config.sca_methods = Some(section))
            .await;
        let (bank, customer) = (client(&banks, &bank_b), Customer::of(&banks).await);
        Self {
            banks,
            service,
            bank_b,
            bank,
            customer,
        }
    }

    async fn consent(&self, options: &ApprovalOptions) -> String {
        let wanted = wanted(&self.banks);
        let asked = self.bank.ask_for_consent(&wanted, DEVICE, options).await;
        asked.unwrap().consent.consent_id
    }

    /// The password through the TPP.
    async fn with_password(&self, consent: &str) -> Authorisation {
        let (options, password) = (embedded(), self.customer.password());
        let step = self
            .bank
            .start_authorisation_with_password(consent, &options, password);
        step.await.unwrap()
    }

    /// An authorisation whose next step is the code by SMS.
    async fn with_sms(&self) -> (String, String) {
        let consent = self.consent(&embedded()).await;
        let id = self.with_password(&consent).await.id;
        let step = self.bank.select_method(&consent, &id, "sms-1");
        assert_eq!(step.await.unwrap().next(), NextStep::Code);
        (consent, id)
    }

    /// An authorisation that waits in the bank's app.
    async fn decoupled(&self, psu: &str) -> (String, String) {
        let options = ApprovalOptions::new()
            .prefer(ScaApproach::Decoupled)
            .psu_id(psu);
        let wanted = wanted(&self.banks);
        let asked = self.bank.ask_for_consent(&wanted, DEVICE, &options).await;
        let asked = asked.unwrap();
        assert_eq!(asked.approach, Some(ScaApproach::Decoupled));
        assert_eq!(asked.next(), NextStep::Wait);
        let id = asked.authorisation_id().unwrap().to_owned();
        (asked.consent.consent_id, id)
    }

    async fn code(&self, consent: &str, id: &str, code: &str) -> Result<ScaStatus, String> {
        let step = self
            .bank
            .authorise(consent, id, Secret::new(code).unwrap())
            .await;
        match step {
            Ok(step) => Ok(step.status),
            Err(error) => Err(refusal::<()>(Err(error))),
        }
    }

    async fn ends(&self, consent: &str, id: &str) -> (ScaStatus, ConsentStatus) {
        let status = wait_until("the end of the authorisation", async || {
            let status = self.bank.authorisation_status(consent, id).await.unwrap();
            status.is_final().then_some(status)
        });
        (
            status.await,
            self.bank.consent_status(consent).await.unwrap(),
        )
    }
}

/// Bank A's handle for that replica of Bank B.
fn client(banks: &Banks, bank_b: &RunningBank) -> Bank {
    let pki = &banks.sandbox.pki;
    let address = bank_b.xs2a_address();
    let builder = bank_builder(address, BANK_B, pki, &pki.bank_a.qwac);
    let clock: Arc<ManualClock> = Arc::clone(&banks.clock);
    builder.clock(clock).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_by_sms_serves_the_embedded_approach() {
    let story = Story::start().await;
    let consent = story.consent(&embedded()).await;
    let step = story.with_password(&consent).await;
    let methods = step.methods.iter();
    let ids = methods.map(|method| method.authentication_method_id.as_str());
    assert_eq!(ids.collect::<Vec<_>>(), ["totp", "sms-1", "app-1"]);
    let step = story.bank.select_method(&consent, &step.id, "sms-1").await;
    let step = step.unwrap();
    assert_eq!(step.next(), NextStep::Code);
    let chosen = step.chosen_method.unwrap();
    assert_eq!(chosen.authentication_type, AuthenticationType::SmsOtp);
    assert_eq!(chosen.name.as_deref(), Some("SMS to +49 ··· 42"));
    let information = step.challenge.unwrap().additional_information;
    assert_eq!(information.as_deref(), Some("SMS sent to +49 ··· 42"));

    assert_eq!(
        story.code(&consent, &step.id, "000000").await,
        Err("400 SCA_INVALID scaAuthenticationData".to_owned())
    );
    assert_eq!(
        story.code(&consent, &step.id, CODE).await,
        Ok(ScaStatus::Finalised)
    );
    assert_eq!(
        story.bank.consent_status(&consent).await.unwrap(),
        ConsentStatus::Valid
    );
    let accounts = story.bank.with_consent(&consent).accounts(false).await;
    assert_eq!(accounts.unwrap().len(), 3);

    // The customer has read what the consent opens.
    let [message] = story.service.sent().try_into().unwrap();
    let facts = &message["facts"];
    assert_eq!(facts["authorisationId"], step.id.as_str());
    assert_eq!(message["challengeId"], step.id.as_str());
    assert_eq!(facts["customerId"], CUSTOMER);
    assert_eq!(facts["tpp"]["name"], "Bank A");
    assert_eq!(facts["recurring"], true);
    assert_eq!(facts["validUntil"], json!(wanted(&story.banks).valid_until));
    let of_customer = story.banks.accounts_at_b();
    let listed = facts["accounts"].as_array().unwrap();
    assert_eq!(listed.len(), of_customer.len());
    for account in &of_customer {
        let found = listed
            .iter()
            .find(|one| one["accountId"] == json!(account.id));
        let actions = &found.unwrap()["actions"];
        assert!(
            actions
                .as_array()
                .unwrap()
                .contains(&json!("read_transactions")),
            "{actions}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_limited() {
    let story = Story::start().await;
    let (consent, id) = story.with_sms().await;
    // Another code follows after half a minute, and replaces the first.
    let again = async || story.bank.select_method(&consent, &id, "sms-1").await;
    assert_eq!(refusal(again().await), "429 ACCESS_EXCEEDED");
    let half_a_minute = || story.banks.clock.advance(TimeDelta::seconds(30));
    half_a_minute();
    again().await.unwrap();
    let [first, second] = story.service.sent().try_into().unwrap();
    assert_ne!(first["requestId"], second["requestId"]);
    assert_eq!(first["facts"], second["facts"]);
    // After the third wrong code, nothing is left to try.
    let wrong = Err("400 SCA_INVALID scaAuthenticationData".to_owned());
    for _ in 0..3 {
        assert_eq!(story.code(&consent, &id, "000000").await, wrong);
    }
    assert_eq!(
        story.ends(&consent, &id).await,
        (ScaStatus::Failed, ConsentStatus::Received)
    );
    // Two more wrong ones in another challenge, and the customer waits, whatever the service says.
    half_a_minute();
    let (consent, id) = story.with_sms().await;
    for _ in 0..2 {
        assert_eq!(story.code(&consent, &id, "000000").await, wrong);
    }
    assert_eq!(
        story.code(&consent, &id, CODE).await,
        Err("429 ACCESS_EXCEEDED".to_owned())
    );
    // Many at the same time are one; the time since the last counts over all authorisations.
    half_a_minute();
    let before = story.service.sent().len();
    let consent = story.consent(&embedded()).await;
    let id = story.with_password(&consent).await.id;
    let many = (0..8).map(|_| story.bank.select_method(&consent, &id, "sms-1"));
    let granted = join_all(many).await.into_iter().flatten().count();
    assert_eq!(granted, 1);
    let other = story.consent(&embedded()).await;
    let step = story.with_password(&other).await;
    let refused = story.bank.select_method(&other, &step.id, "sms-1").await;
    assert_eq!(refusal(refused), "429 ACCESS_EXCEEDED");
    assert_eq!(story.service.sent().len(), before + 1);
    // Six in an hour, whether as codes or in the app.
    for _ in 0..2 {
        half_a_minute();
        story.with_sms().await;
    }
    half_a_minute();
    let consent = story.consent(&embedded()).await;
    let id = story.with_password(&consent).await.id;
    let seventh = async || story.bank.select_method(&consent, &id, "sms-1").await;
    assert_eq!(refusal(seventh().await), "429 ACCESS_EXCEEDED");
    assert_eq!(story.service.sent().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_limits_what_it_sends() {
    let story = Story::start().await;
    let consent = story.consent(&embedded()).await;
    let id = story.with_password(&consent).await.id;
    story.service.fail(|request, _| {
        let is_start = request.url.path() == "/v1/start-challenge";
        is_start.then(|| ResponseTemplate::new(429).insert_header("retry-after", "60"))
    });
    let refused = story.bank.select_method(&consent, &id, "sms-1").await;
    assert_eq!(refusal(refused), "429 ACCESS_EXCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_in_the_banks_app_serves_the_decoupled_approach() {
    let story = Story::start().await;
    let (consent, id) = story.decoupled(CUSTOMER).await;
    let request = story.service.wait_for_challenge(&id).await;
    assert_eq!(request["methodId"], "app-1");
    assert_eq!(request["facts"]["tpp"]["name"], "Bank A");
    story.service.answer(&id, "approved");
    assert_eq!(
        story.ends(&consent, &id).await,
        (ScaStatus::Finalised, ConsentStatus::Valid)
    );
    // Refused in the app: the consent is rejected.
    let (consent, id) = story.decoupled(CUSTOMER).await;
    story.service.wait_for_challenge(&id).await;
    story.service.answer(&id, "refused");
    assert_eq!(
        story.ends(&consent, &id).await,
        (ScaStatus::Failed, ConsentStatus::Rejected)
    );
    // Expired there: the TPP learns it when the authorisation ends, as with an unknown customer.
    let (consent, id) = story.decoupled(CUSTOMER).await;
    story.service.wait_for_challenge(&id).await;
    story.service.answer(&id, "over");
    story.service.wait_for_poll(&id).await;
    // A later round: that one has ended.
    let (_, next) = story.decoupled(CUSTOMER).await;
    story.service.wait_for_challenge(&next).await;
    story.service.wait_for_poll(&next).await;
    let status = async || {
        story
            .bank
            .authorisation_status(&consent, &id)
            .await
            .unwrap()
    };
    assert_eq!(status().await, ScaStatus::Started);
    story.banks.clock.advance(TimeDelta::minutes(15));
    assert_eq!(status().await, ScaStatus::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_send_and_count_an_approval_once() {
    let story = Story::start().await;
    let section = story.service.section();
    let other = story
        .banks
        .replica_of_b(|config| config.sca_methods = Some(section))
        .await;
    let (consent, id) = story.decoupled(CUSTOMER).await;
    story.service.wait_for_challenge(&id).await;
    // Both have polled it.
    story.service.wait_for_poll(&id).await;
    story.service.wait_for_poll(&id).await;
    story.service.answer(&id, "approved");
    let valid = (ScaStatus::Finalised, ConsentStatus::Valid);
    assert_eq!(story.ends(&consent, &id).await, valid);
    assert_eq!(story.service.sent().len(), 1);
    let at_other = client(&story.banks, &other);
    let status = at_other.consent_status(&consent).await;
    assert_eq!(status.unwrap(), ConsentStatus::Valid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_chosen_after_the_password_goes_on_in_the_app() {
    let story = Story::start().await;
    let consent = story.consent(&embedded()).await;
    let id = story.with_password(&consent).await.id;
    let step = story.bank.select_method(&consent, &id, "app-1").await;
    let step = step.unwrap();
    assert_eq!(
        (step.approach, step.status, step.next()),
        (
            Some(ScaApproach::Decoupled),
            ScaStatus::Started,
            NextStep::Wait
        )
    );
    story.service.wait_for_challenge(&id).await;
    story.service.answer(&id, "approved");
    assert_eq!(
        story.ends(&consent, &id).await,
        (ScaStatus::Finalised, ConsentStatus::Valid)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_has_to_be_what_is_asked_for() {
    let story = Story::start().await;
    let (_, first) = story.decoupled(CUSTOMER).await;
    let digest = story.service.wait_for_challenge(&first).await["factsDigest"].clone();
    story.service.fail(move |_, answer| {
        let is_approved = answer["status"] == "approved";
        let mut foreign = answer.clone();
        foreign["factsDigest"] = digest.clone();
        is_approved.then(|| ResponseTemplate::new(200).set_body_json(foreign))
    });
    let (consent, id) = story.decoupled(CUSTOMER).await;
    story.service.wait_for_challenge(&id).await;
    story.service.answer(&id, "approved");
    let failed = (ScaStatus::Failed, ConsentStatus::Received);
    assert_eq!(story.ends(&consent, &id).await, failed);

    story.banks.clock.advance(TimeDelta::seconds(30));
    let (consent, id) = story.with_sms().await;
    assert_eq!(
        story.code(&consent, &id, CODE).await,
        Err("400 SCA_INVALID scaAuthenticationData".to_owned())
    );
    assert_eq!(story.ends(&consent, &id).await, failed);

    // An honest approval of what has changed since: an account has come.
    story.service.recover();
    story.banks.clock.advance(TimeDelta::seconds(30));
    let (consent, id) = story.with_sms().await;
    let (app_consent, in_app) = story.decoupled(CUSTOMER).await;
    story.service.wait_for_challenge(&in_app).await;
    Ledger::of(&story.bank_b).open_account(CUSTOMER).await;
    assert_eq!(
        story.code(&consent, &id, CODE).await,
        Err("400 SCA_INVALID scaAuthenticationData".to_owned())
    );
    assert_eq!(story.ends(&consent, &id).await, failed);
    story.service.answer(&in_app, "approved");
    assert_eq!(story.ends(&app_consent, &in_app).await, failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_without_a_method_is_answered_like_one_with() {
    let story = Story::start().await;
    // Neither answer waits for the service.
    story.service.fail(|_, _| {
        let late = Duration::from_secs(30);
        Some(ResponseTemplate::new(200).set_delay(late))
    });
    let (unknown_consent, unknown) = story.decoupled("unknown.customer").await;
    let (known_consent, known) = story.decoupled(CUSTOMER).await;
    story.service.recover();
    story.service.wait_for_challenge(&known).await;
    wait_until("the look-up of both", async || {
        let lookups = story.service.requests("customer-methods").await;
        let names = lookups
            .iter()
            .map(|request| String::from_utf8_lossy(&request.body));
        let names = names.collect::<Vec<_>>().join(" ");
        (names.contains("unknown.customer") && names.contains(CUSTOMER)).then_some(())
    })
    .await;
    let status =
        async |consent: &str, id: &str| story.bank.authorisation_status(consent, id).await.unwrap();
    for minutes in [0, 14, 1] {
        story.banks.clock.advance(TimeDelta::minutes(minutes));
        assert_eq!(
            status(&unknown_consent, &unknown).await,
            status(&known_consent, &known).await,
        );
    }
    assert_eq!(status(&known_consent, &known).await, ScaStatus::Failed);
    assert_eq!(story.service.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_credentials_end_an_open_approval() {
    let story = Story::start().await;
    let consent = story.consent(&embedded()).await;
    let id = story.with_password(&consent).await.id;
    let step = story.bank.select_method(&consent, &id, "app-1").await;
    assert_eq!(step.unwrap().status, ScaStatus::Started);
    story.service.wait_for_challenge(&id).await;
    story
        .customer
        .change_password(&story.banks, "another one")
        .await;
    story.service.answer(&id, "approved");
    let failed = (ScaStatus::Failed, ConsentStatus::Received);
    assert_eq!(story.ends(&consent, &id).await, failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_of_accounts_needs_a_page() {
    let banks = Banks::start().await;
    let service = ScaMethodsDouble::start().await;
    let section = service.section();
    let without_pages = banks.replica_of_b(|config| {
        config.sca_methods = Some(section);
        config.online_banking = None;
        config.other_banks.clear();
    });
    let bank_b = without_pages.await;
    let bank = client(&banks, &bank_b);
    let mut wanted = wanted(&banks);
    wanted.access = serde_json::from_value(json!({ "accounts": [] })).unwrap();
    let options = ApprovalOptions::new().psu_id(CUSTOMER);
    let refused = bank.ask_for_consent(&wanted, DEVICE, &options).await;
    assert_eq!(refusal(refused), "400 PARAMETER_NOT_SUPPORTED access");
}

/// An answer in place of the honest one.
type Answer = Box<dyn Fn(&Value) -> ResponseTemplate + Send>;

/// Ways in which the service fails, each with the TPP's answer to a code.
fn faults() -> Vec<(&'static str, &'static str, Answer)> {
    const UNAVAILABLE: &str = "503 SERVICE_UNAVAILABLE";
    const FAULT: &str = "500 INTERNAL_SERVER_ERROR";

    let foreign = |answer: &Value| {
        let mut answer = answer.clone();
        for key in ["challengeId", "customerId"] {
            if answer.get(key).is_some() {
                answer[key] = "another".into();
            }
        }
        ResponseTemplate::new(200).set_body_json(answer)
    };
    let without_digest = |answer: &Value| {
        let mut answer = answer.clone();
        answer["status"] = "approved".into();
        answer.as_object_mut().unwrap().remove("factsDigest");
        ResponseTemplate::new(200).set_body_json(answer)
    };
    let late = |_: &Value| ResponseTemplate::new(200).set_delay(Duration::from_secs(30));
    let status = |status| move |_: &Value| ResponseTemplate::new(status);
    let no_json = |_: &Value| ResponseTemplate::new(200).set_body_string("ok");
    vec![
        ("503", UNAVAILABLE, Box::new(status(503))),
        ("504", UNAVAILABLE, Box::new(status(504))),
        ("403", FAULT, Box::new(status(403))),
        ("late", UNAVAILABLE, Box::new(late)),
        ("no JSON", FAULT, Box::new(no_json)),
        ("foreign", FAULT, Box::new(foreign)),
        ("no digest", FAULT, Box::new(without_digest)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_takes_no_code_and_loses_none() {
    let story = Story::start().await;
    let (consent, id) = story.with_sms().await;
    for (name, answer, fault) in faults() {
        story.service.fail(move |_, honest| Some(fault(honest)));
        let before = story.service.requests("verify-code").await.len();
        assert_eq!(
            story.code(&consent, &id, CODE).await,
            Err(answer.to_owned()),
            "{name}"
        );
        let codes = story.service.requests("verify-code").await.len() - before;
        assert_eq!(codes, 1, "{name}: a code is not repeated");
        // Past the pause of the circuit.
        story.banks.clock.advance(TimeDelta::seconds(40));
    }
    // The built-in methods are there.
    story.service.fail(|_, _| Some(ResponseTemplate::new(503)));
    let other = story.consent(&embedded()).await;
    let step = story.with_password(&other).await;
    assert_eq!(step.next(), NextStep::Code);
    let chosen = step.chosen_method.unwrap();
    assert_eq!(chosen.authentication_method_id.as_str(), "totp");
    // The right code has come, and the answer was lost.
    story.banks.clock.advance(TimeDelta::seconds(40));
    story.service.recover();
    assert_eq!(
        story.code(&consent, &id, CODE).await,
        Ok(ScaStatus::Finalised)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_approves_nothing_and_recovers() {
    let story = Story::start().await;
    let (consent, id) = story.decoupled(CUSTOMER).await;
    story.service.wait_for_challenge(&id).await;
    let valid = (ScaStatus::Finalised, ConsentStatus::Valid);
    for (name, _, fault) in faults() {
        story.service.fail(move |_, honest| Some(fault(honest)));
        story.service.answer(&id, "approved");
        story.banks.clock.advance(TimeDelta::seconds(40));
        story.service.wait_for_poll(&id).await;
        let status = story.bank.authorisation_status(&consent, &id).await;
        assert_eq!(status.unwrap(), ScaStatus::Started, "{name}");
    }
    // A challenge that could not be started is started later.
    let (later, not_yet) = story.decoupled(CUSTOMER).await;
    story.banks.clock.advance(TimeDelta::seconds(40));
    story.service.recover();
    assert_eq!(story.ends(&consent, &id).await, valid);
    story.service.wait_for_challenge(&not_yet).await;
    story.service.answer(&not_yet, "approved");
    assert_eq!(story.ends(&later, &not_yet).await, valid);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_and_metrics_tell_of_the_service() {
    let story = Story::start().await;
    let ready = || operator::get(story.bank_b.operator_address(), "/health/ready");
    assert!(ready().contains("\"scaMethods\":\"ready\""), "{}", ready());
    story
        .service
        .fail(|_, _| Some(ResponseTemplate::new(200).set_body_json(json!({ "version": "2.0" }))));
    let answer = ready();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("version is not 1.x"), "{answer}");
    let metrics = operator::get(story.bank_b.operator_address(), "/metrics");
    let counted = "bank_sca_methods_queries_total{operation=\"ready\",outcome=\"answered\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

/// SCA methods of a program that embeds the bank server: approvals at once.
struct Embedded(Mutex<Vec<String>>);

#[async_trait]
impl ScaMethods for Embedded {
    async fn ready(&self) -> Result<(), ScaMethodsError> {
        Ok(())
    }

    async fn methods_of(&self, _: &PsuId) -> Result<Vec<ExternalMethod>, ScaMethodsError> {
        Ok(vec![ExternalMethod {
            id: ExternalMethodId::new("embedded").unwrap(),
            authentication_type: AuthenticationType::PushOtp,
            name: "App".to_owned(),
            explanation: None,
            answer: AnswerKind::Approval,
        }])
    }

    async fn start(
        &self,
        request: &ChallengeRequest<'_>,
    ) -> Result<ChallengeData, ScaMethodsError> {
        self.0.lock().unwrap().push(request.facts.digest());
        Ok(ChallengeData::default())
    }

    async fn poll(&self, _: &str) -> Result<ChallengeState, ScaMethodsError> {
        let facts_digest = self.0.lock().unwrap()[0].clone();
        Ok(ChallengeState::Approved { facts_digest })
    }

    async fn verify(&self, _: &str, _: &str) -> Result<ChallengeState, ScaMethodsError> {
        Ok(ChallengeState::Over)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_of_a_program_are_handed_to_the_server() {
    let banks = Banks::start().await;
    let config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
    let clock: Arc<ManualClock> = Arc::clone(&banks.clock);
    let methods = Arc::new(Embedded(Mutex::default()));
    let server = BankServer::new(config).clock(clock).sca_methods(methods);
    let bank_b = Box::pin(server.start()).await.unwrap();
    let bank = client(&banks, &bank_b);
    let options = ApprovalOptions::new()
        .prefer(ScaApproach::Decoupled)
        .psu_id(CUSTOMER);
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &options)
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    wait_until("the consent", async || {
        let status = bank.consent_status(consent).await.unwrap();
        (status == ConsentStatus::Valid).then_some(())
    })
    .await;
}
