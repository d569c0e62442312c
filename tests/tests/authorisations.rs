//! Authorisations: each approach to its end, each step in its turn, and what nobody gets done.

use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_client::{Bank, ErrorKind};
use bank_server::config::{Approach, Config, RedirectUris};
use bank_server::core_banking::ledger::import;
use bank_server::store::Database;
use chrono::{Days, TimeDelta};
use fixtures::sandbox::CUSTOMER;
use fixtures::world;
use serde_json::{Value, json};
use shared_types::authorisation::{ScaApproach, ScaStatus, Secret};
use shared_types::consent::{ConsentRequest, ConsentStatus};
use tests::banks::{Banks, bank_b_also};
use tests::customer::Customer;
use tests::http::{Response, Tpp};

const PSU: (&str, &str) = ("PSU-IP-Address", "192.0.2.7");
const DEVICE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const BACK: &str = "https://bank-a.example/back";

fn client(banks: &Banks) -> Bank {
    use world::Bank::{A, B};

    banks.sandbox.client(A, B, B).unwrap()
}

fn wanted(banks: &Banks) -> ConsentRequest {
    let body = banks.consent_body(&json!({ "allPsd2": "allAccounts" }));
    serde_json::from_value(body).unwrap()
}

fn embedded() -> ApprovalOptions {
    ApprovalOptions::new()
        .psu_id(CUSTOMER)
        .prefer(ScaApproach::Embedded)
}

/// What a refused call was refused with: status, code, path.
fn refusal<T: std::fmt::Debug>(outcome: Result<T, bank_client::Error>) -> String {
    match outcome.unwrap_err().kind {
        ErrorKind::Refused {
            status, messages, ..
        } => {
            let message = &messages[0];
            let path = message.path.as_deref().unwrap_or_default();
            format!("{status} {} {path}", message.code)
                .trim_end()
                .to_owned()
        }
        other => panic!("{other:?}"),
    }
}

async fn ask(banks: &Banks, tpp: &Tpp, headers: &[(&str, &str)]) -> Response {
    let body = banks.consent_body(&json!({ "allPsd2": "allAccounts" }));
    let headers: Vec<_> = [PSU].iter().chain(headers).copied().collect();
    tpp.post("/v1/consents", &headers, &body.to_string()).await
}

fn links(answer: &Response) -> Vec<String> {
    let links = answer.json()["_links"].as_object().unwrap().clone();
    links.keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_goes_from_password_to_code_to_a_valid_consent() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &embedded())
        .await
        .unwrap();
    assert_eq!(asked.approach, Some(ScaApproach::Embedded));
    assert_eq!(asked.next(), NextStep::Password);
    assert_eq!(
        asked.authorisation_id(),
        None,
        "it starts with the password"
    );
    let consent = &asked.consent.consent_id;

    let step = bank
        .start_authorisation_with_password(consent, &embedded(), customer.password())
        .await
        .unwrap();
    assert_eq!(
        step.status,
        ScaStatus::ScaMethodSelected,
        "there is one method"
    );
    assert_eq!(step.next(), NextStep::Code);
    let method = step.chosen_method.as_ref().unwrap();
    assert_eq!(method.authentication_method_id.as_str(), "totp");
    assert_eq!(step.challenge.as_ref().unwrap().otp_max_length, Some(6));
    assert_eq!(
        bank.authorisations(consent).await.unwrap(),
        [step.id.clone()]
    );

    let done = bank
        .authorise(consent, &step.id, customer.code())
        .await
        .unwrap();
    assert_eq!(
        (done.status, done.next()),
        (ScaStatus::Finalised, NextStep::Nothing)
    );
    assert_eq!(
        bank.authorisation_status(consent, &step.id).await.unwrap(),
        ScaStatus::Finalised
    );
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::Valid
    );
    let accounts = bank.with_consent(consent).accounts(false).await.unwrap();
    assert_eq!(accounts.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_step_by_step_with_a_choice_of_methods() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    customer.enrol_phone().await;
    let options = ApprovalOptions::new().prefer(ScaApproach::Embedded);
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &options)
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    let step = bank.start_authorisation(consent, &options).await.unwrap();
    assert_eq!(step.status, ScaStatus::Received);
    let step = bank.identify(consent, &step.id, CUSTOMER).await.unwrap();
    assert_eq!(
        (step.status, step.next()),
        (ScaStatus::PsuIdentified, NextStep::Password)
    );
    let step = bank
        .authenticate(consent, &step.id, CUSTOMER, customer.password())
        .await
        .unwrap();
    assert_eq!(
        (step.status, step.next()),
        (ScaStatus::PsuAuthenticated, NextStep::SelectMethod)
    );
    let methods: Vec<_> = step
        .methods
        .iter()
        .map(|method| method.authentication_method_id.as_str())
        .collect();
    assert_eq!(methods, ["totp", "app"]);
    for unknown in ["sms", "passkey"] {
        let outcome = bank.select_method(consent, &step.id, unknown).await;
        assert_eq!(
            refusal(outcome),
            "400 SCA_METHOD_UNKNOWN authenticationMethodId"
        );
    }
    let step = bank.select_method(consent, &step.id, "totp").await.unwrap();
    assert_eq!(
        (step.status, step.next()),
        (ScaStatus::ScaMethodSelected, NextStep::Code)
    );
    let done = bank
        .authorise(consent, &step.id, customer.code())
        .await
        .unwrap();
    assert_eq!(done.status, ScaStatus::Finalised);
}

#[tokio::test(flavor = "multi_thread")]
async fn decoupled_waits_on_the_phone() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let phone = customer.enrol_phone().await;
    let options = ApprovalOptions::new().prefer(ScaApproach::Decoupled);
    // Without the customer's id: first say who it is.
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &options)
        .await
        .unwrap();
    assert_eq!(asked.next(), NextStep::Identify);
    let late = asked.consent.consent_id.clone();
    let step = bank
        .start_authorisation(&late, &ApprovalOptions::new().psu_id(CUSTOMER))
        .await
        .unwrap();
    assert_eq!(
        step.approach,
        Some(ScaApproach::Decoupled),
        "as it was settled"
    );
    assert_eq!(
        (step.status, step.next()),
        (ScaStatus::Started, NextStep::Wait)
    );
    customer.refuse(&step.id).await.unwrap();
    assert_eq!(
        bank.consent_status(&late).await.unwrap(),
        ConsentStatus::Rejected
    );
    assert_eq!(
        bank.authorisation_status(&late, &step.id).await.unwrap(),
        ScaStatus::Failed
    );

    // With it, the request waits at once.
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &options.psu_id(CUSTOMER))
        .await
        .unwrap();
    assert_eq!(asked.approach, Some(ScaApproach::Decoupled));
    assert_eq!(asked.next(), NextStep::Wait);
    assert!(asked.consent.psu_message.is_some());
    let (consent, id) = (&asked.consent.consent_id, asked.authorisation_id().unwrap());
    assert_eq!(
        bank.authorisation_status(consent, id).await.unwrap(),
        ScaStatus::Started
    );
    let outcome = bank.authorise(consent, id, customer.code()).await;
    assert_eq!(
        refusal(outcome),
        "409 STATUS_INVALID",
        "no code goes through the TPP"
    );
    assert_eq!(customer.waiting().await, [id]);
    customer.approve_on_the_phone(id, &phone).await.unwrap();
    assert_eq!(
        bank.authorisation_status(consent, id).await.unwrap(),
        ScaStatus::Finalised
    );
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::Valid
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_leads_to_the_bank_and_back() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let options = ApprovalOptions::new()
        .return_to(BACK)
        .return_to_if_refused("https://bank-a.example/no");
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &options)
        .await
        .unwrap();
    assert_eq!(asked.approach, Some(ScaApproach::Redirect));
    let (consent, id) = (&asked.consent.consent_id, asked.authorisation_id().unwrap());
    let pages = banks.sandbox.bank(world::Bank::B).pages();
    let page = format!("{pages}/authorise/{id}");
    assert_eq!(asked.next(), NextStep::Redirect(page.clone()));
    let done = customer.approve_at_the_bank(id).await.unwrap();
    assert_eq!(done.return_to.unwrap().as_str(), BACK);
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::Valid
    );

    // Started by the TPP itself, later; refused by the customer.
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &options.clone().explicit())
        .await
        .unwrap();
    assert_eq!(
        (asked.next(), asked.authorisation_id()),
        (NextStep::Start, None)
    );
    let consent = &asked.consent.consent_id;
    let step = bank
        .start_authorisation(consent, &ApprovalOptions::new())
        .await
        .unwrap();
    assert!(matches!(step.next(), NextStep::Redirect(url) if url.ends_with(&step.id)));
    let done = customer.refuse(&step.id).await.unwrap();
    assert_eq!(
        done.return_to.unwrap().as_str(),
        "https://bank-a.example/no",
        "the address came with the consent"
    );
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::Rejected
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_confirmation_is_asked_for_nothing_opens_without_it() {
    let banks = Banks::start().await;
    let other = bank_b_also(&banks, |config| config.sca.confirmation_code = true).await;
    let customer = Customer::named(&banks, CUSTOMER, true).await;
    let tpp = Tpp::new(other.xs2a_address(), banks.a_at_b().identity);
    let start = async || {
        let asked = ask(&banks, &tpp, &[("TPP-Redirect-URI", BACK)]).await;
        assert!(links(&asked).contains(&"confirmation".to_owned()));
        let body = asked.json();
        let path = body["_links"]["scaStatus"]["href"]
            .as_str()
            .unwrap()
            .to_owned();
        (body["consentId"].as_str().unwrap().to_owned(), path)
    };
    let confirm = async |path: &str, code: &str| {
        let body = json!({ "confirmationCode": code }).to_string();
        tpp.send("PUT", path, &[], Some(&body)).await
    };
    let approve = async |path: &str| {
        let id = path.rsplit('/').next().unwrap();
        let done = customer.approve_at_the_bank(id).await.unwrap();
        let back = done.return_to.unwrap();
        let code = back.query_pairs().find(|(name, _)| name == "code").unwrap();
        code.1.into_owned()
    };
    let (consent, path) = start().await;
    assert_eq!(
        confirm(&path, "early").await.refusal(),
        "409 STATUS_INVALID"
    );
    let code = approve(&path).await;
    let read = tpp.read("/v1/accounts", &consent).await;
    assert_eq!(read.refusal(), "401 CONSENT_INVALID", "not confirmed");
    assert_eq!(tpp.get(&path, &[]).await.json()["scaStatus"], "unconfirmed");
    let confirmed = confirm(&path, &code).await;
    assert_eq!(confirmed.json()["scaStatus"], "finalised", "{confirmed:?}");
    assert_eq!(tpp.read("/v1/accounts", &consent).await.status, 200);
    assert_eq!(confirm(&path, &code).await.refusal(), "409 STATUS_INVALID");

    // One wrong code, and it is over.
    customer.wait_for_the_next_code();
    let (consent, path) = start().await;
    let code = approve(&path).await;
    assert_eq!(
        confirm(&path, "wrong").await.refusal(),
        "400 SCA_INVALID confirmationCode"
    );
    assert_eq!(confirm(&path, &code).await.refusal(), "409 STATUS_INVALID");
    assert_eq!(
        tpp.read("/v1/accounts", &consent).await.refusal(),
        "401 CONSENT_INVALID"
    );
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tpps_authorisation_and_one_that_never_was_are_answered_alike() {
    let banks = Banks::start().await;
    let (tpp, stranger) = (banks.a_at_b(), banks.at_b(&banks.sandbox.pki.bank_r.qwac));
    let asked = ask(&banks, &tpp, &[("PSU-ID", CUSTOMER)]).await.json();
    let path = asked["_links"]["scaStatus"]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    let (list, id) = path.rsplit_once('/').unwrap();
    let own = ask(&banks, &stranger, &[]).await.json();
    let own = own["consentId"].as_str().unwrap();
    let never = "7d3f6c1e-0000-4000-8000-000000000000";
    let code = json!({ "scaAuthenticationData": "123456" }).to_string();
    let password = json!({ "psuData": { "password": "x" } }).to_string();
    for (method, body) in [
        ("GET", None),
        ("PUT", Some("{}")),
        ("PUT", Some(&*code)),
        ("PUT", Some(&*password)),
    ] {
        let send = async |path: &str| {
            let answer = stranger
                .send(method, path, &[("PSU-ID", CUSTOMER)], body)
                .await;
            assert_eq!(answer.refusal(), "403 RESOURCE_UNKNOWN", "{method} {path}");
            answer.without_date_and_request_id()
        };
        let nobodys = send(&format!("/v1/consents/{never}/authorisations/{never}")).await;
        assert_eq!(send(&path).await, nobodys);
        // Under a consent of its own, too.
        assert_eq!(
            send(&format!("/v1/consents/{own}/authorisations/{id}")).await,
            nobodys
        );
    }
    for method in ["GET", "POST"] {
        let body = (method == "POST").then_some("{}");
        let others = stranger.send(method, list, &[], body).await;
        let nobodys = format!("/v1/consents/{never}/authorisations");
        let nobodys = stranger.send(method, &nobodys, &[], body).await;
        assert_eq!(others.refusal(), "403 CONSENT_UNKNOWN");
        assert_eq!(
            others.without_date_and_request_id(),
            nobodys.without_date_and_request_id()
        );
    }
    let ids = tpp.get(list, &[]).await.json();
    assert_eq!(
        ids,
        json!({ "authorisationIds": [id] }),
        "nothing was started"
    );
    assert_eq!(
        tpp.get(&path, &[]).await.json()["scaStatus"],
        "psuIdentified"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_are_limited_and_tell_nothing_of_who_is_a_customer() {
    let banks = Banks::start().await;
    let (tpp, customer) = (banks.a_at_b(), Customer::of(&banks).await);
    let asked = ask(&banks, &tpp, &[("TPP-Redirect-Preferred", "false")])
        .await
        .json();
    let start = asked["_links"]["startAuthorisationWithPsuAuthentication"]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    let password = |password: &str| json!({ "psuData": { "password": password } }).to_string();
    let attempt =
        async |who: &str, text: &str| tpp.post(&start, &[("PSU-ID", who)], &password(text)).await;
    let (known, unknown) = (
        attempt(CUSTOMER, "wrong").await,
        attempt("nobody.atall", "wrong").await,
    );
    assert_eq!(known.refusal(), "401 PSU_CREDENTIALS_INVALID");
    assert_eq!(
        known.without_date_and_request_id(),
        unknown.without_date_and_request_id()
    );
    for _ in 0..4 {
        let answer = attempt(CUSTOMER, "wrong").await;
        assert_eq!(answer.refusal(), "401 PSU_CREDENTIALS_INVALID");
    }
    let right = customer.password();
    let locked = attempt(CUSTOMER, right.expose()).await;
    assert_eq!(
        locked.refusal(),
        "429 ACCESS_EXCEEDED",
        "even the right one waits"
    );
    banks.clock.advance(TimeDelta::minutes(1));
    let answer = attempt(CUSTOMER, right.expose()).await;
    assert_eq!(answer.status, 201, "not shut out for good: {answer:?}");
    // What is no password in the clear is not looked at.
    let encrypted = json!({ "psuData": { "encryptedPassword": "x" } }).to_string();
    let answer = tpp.post(&start, &[("PSU-ID", CUSTOMER)], &encrypted).await;
    assert_eq!(answer.refusal(), "400 PARAMETER_NOT_SUPPORTED psuData");
    let nobody = tpp.post(&start, &[], &password("x")).await;
    assert_eq!(nobody.refusal(), "400 FORMAT_ERROR PSU-ID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once_and_for_one_authorisation() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let begin = async || {
        let asked = bank
            .ask_for_consent(&wanted(&banks), DEVICE, &embedded())
            .await
            .unwrap();
        let consent = asked.consent.consent_id;
        let step = bank
            .start_authorisation_with_password(&consent, &embedded(), customer.password())
            .await
            .unwrap();
        (consent, step.id)
    };
    let (first, first_id) = begin().await;
    let code = customer.code();
    let (second, second_id) = begin().await;
    // The code that was on the screen while the first was asked for is none for the second.
    let outcome = bank.authorise(&second, &second_id, code.clone()).await;
    assert_eq!(refusal(outcome), "400 SCA_INVALID scaAuthenticationData");
    let outcome = bank.authorise(&first, &first_id, code).await;
    assert!(outcome.is_err(), "{outcome:?}");
    customer.wait_for_the_next_code();
    let code = customer.code();
    bank.authorise(&second, &second_id, code.clone())
        .await
        .unwrap();
    let (third, third_id) = begin().await;
    let outcome = bank.authorise(&third, &third_id, code).await;
    assert_eq!(
        refusal(outcome),
        "400 SCA_INVALID scaAuthenticationData",
        "replayed"
    );
    assert_eq!(
        bank.consent_status(&first).await.unwrap(),
        ConsentStatus::Received
    );
    assert_eq!(
        bank.consent_status(&third).await.unwrap(),
        ConsentStatus::Received
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_out_of_turn_change_nothing() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &embedded())
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    let step = bank
        .start_authorisation(consent, &embedded())
        .await
        .unwrap();
    let id = &step.id;
    assert_eq!(step.status, ScaStatus::PsuIdentified);
    let refused = "409 STATUS_INVALID";
    assert_eq!(
        refusal(bank.authorise(consent, id, customer.code()).await),
        refused
    );
    assert_eq!(
        refusal(bank.select_method(consent, id, "totp").await),
        refused
    );
    assert_eq!(
        refusal(bank.confirm(consent, id, customer.code()).await),
        refused
    );
    let other = bank
        .authenticate(consent, id, "lucas.moreau", customer.password())
        .await;
    assert_eq!(refusal(other), "400 PARAMETER_NOT_CONSISTENT PSU-ID");
    assert_eq!(
        bank.authorisation_status(consent, id).await.unwrap(),
        ScaStatus::PsuIdentified
    );
    bank.authenticate(consent, id, CUSTOMER, customer.password())
        .await
        .unwrap();
    let again = bank
        .authenticate(consent, id, CUSTOMER, customer.password())
        .await;
    assert_eq!(refusal(again), refused);
    bank.authorise(consent, id, customer.code()).await.unwrap();
    for outcome in [
        bank.authorise(consent, id, customer.code()).await,
        bank.identify(consent, id, CUSTOMER).await,
        bank.start_authorisation(consent, &embedded()).await,
    ] {
        assert_eq!(refusal(outcome), refused, "it is over");
    }
    // Nothing is approved that ended meanwhile.
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &embedded())
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    let step = bank
        .start_authorisation_with_password(consent, &embedded(), customer.password())
        .await
        .unwrap();
    bank.delete_consent(consent).await.unwrap();
    customer.wait_for_the_next_code();
    let late = bank.authorise(consent, &step.id, customer.code()).await;
    assert_eq!(refusal(late), refused);
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::TerminatedByTpp
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_lying_fails_and_another_can_be_started() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &embedded())
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    let step = bank
        .start_authorisation_with_password(consent, &embedded(), customer.password())
        .await
        .unwrap();
    banks.clock.advance(TimeDelta::minutes(15));
    assert_eq!(
        bank.authorisation_status(consent, &step.id).await.unwrap(),
        ScaStatus::Failed
    );
    let late = bank.authorise(consent, &step.id, customer.code()).await;
    assert_eq!(refusal(late), "409 STATUS_INVALID");
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::Received
    );
    let again = bank
        .start_authorisation_with_password(consent, &embedded(), customer.password())
        .await
        .unwrap();
    assert_eq!(bank.authorisations(consent).await.unwrap().len(), 2);
    bank.authorise(consent, &again.id, customer.code())
        .await
        .unwrap();
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::Valid
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_has_so_many_authorisations_and_a_customers_phone_so_many_requests() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let asked = ask(
        &banks,
        &tpp,
        &[("TPP-Explicit-Authorisation-Preferred", "true")],
    )
    .await;
    let consent = asked.json()["consentId"].as_str().unwrap().to_owned();
    let path = format!("/v1/consents/{consent}/authorisations");
    let once = [("X-Request-ID", "11111111-2222-4333-8444-555555555555")];
    let first = tpp.post(&path, &once, "{}").await;
    assert_eq!(first.status, 201);
    assert_eq!(first.header("aspsp-sca-approach"), Some("REDIRECT"));
    let again = tpp.post(&path, &once, "").await;
    assert_eq!(
        first.without_date_and_request_id(),
        again.without_date_and_request_id(),
        "one request id has one effect"
    );
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(tpp.post(&path, &[], "{}").await.status);
    }
    assert_eq!(statuses.pop(), Some(429));
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");

    let decoupled = [("TPP-Decoupled-Preferred", "true"), ("PSU-ID", CUSTOMER)];
    for _ in 0..5 {
        assert_eq!(ask(&banks, &tpp, &decoupled).await.status, 201);
    }
    let refused = ask(&banks, &tpp, &decoupled).await;
    assert_eq!(refused.refusal(), "429 ACCESS_EXCEEDED");
    banks.clock.advance(TimeDelta::minutes(15));
    assert_eq!(ask(&banks, &tpp, &decoupled).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_to_return_to_belong_to_the_tpp() {
    let banks = Banks::start().await;
    let strict = bank_b_also(&banks, |config| {
        config.sca.allow_loopback_redirects = false;
    })
    .await;
    let any = bank_b_also(&banks, |config| {
        config.sca.redirect_uris = RedirectUris::AnyHttps
    })
    .await;
    let identity = banks.a_at_b().identity;
    let at = |address| Tpp::new(address, identity.clone());
    let (strict_tpp, any_tpp) = (at(strict.xs2a_address()), at(any.xs2a_address()));
    for header in ["TPP-Redirect-URI", "TPP-Nok-Redirect-URI"] {
        for (address, taken) in [
            (BACK, true),
            ("https://bank-a.example:8443/back?x=1", true),
            ("https://evil.example/", false),
            ("https://bank-a.example.evil.example/", false),
            ("https://bank-a.example@evil.example/", false),
            ("https://bank-r.example/", false),
            ("http://bank-a.example/", false),
            ("//evil.example/", false),
            ("javascript:alert(1)", false),
            ("https://bank-a.example/#x", false),
            ("http://127.0.0.1:8451/", false),
        ] {
            let answer = ask(&banks, &strict_tpp, &[(header, address)]).await;
            if taken {
                assert_eq!(answer.status, 201, "{address}");
            } else {
                assert_eq!(
                    answer.refusal(),
                    format!("400 FORMAT_ERROR {header}"),
                    "{address}"
                );
                assert!(!String::from_utf8_lossy(&answer.body).contains("evil"));
            }
        }
    }
    for (address, status) in [
        ("https://anywhere.example/back", 201),
        ("http://anywhere.example/back", 400),
    ] {
        let headers = [("TPP-Redirect-URI", address)];
        assert_eq!(
            ask(&banks, &any_tpp, &headers).await.status,
            status,
            "{address}"
        );
    }
    // The sandbox takes those on this machine.
    let headers = [("TPP-Redirect-URI", "http://bank-a.localhost:8451/back")];
    assert_eq!(ask(&banks, &banks.a_at_b(), &headers).await.status, 201);
    strict.stop().await;
    any.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_goes_the_ways_that_it_offers() {
    let banks = Banks::start().await;
    let with = async |approaches: Vec<Approach>| {
        let change = |config: &mut Config| config.sca.approaches = Some(approaches);
        bank_b_also(&banks, change).await
    };
    let approach = async |bank: &bank_server::RunningBank, headers: &[(&str, &str)]| {
        let tpp = Tpp::new(bank.xs2a_address(), banks.a_at_b().identity);
        let answer = ask(&banks, &tpp, headers).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("aspsp-sca-approach").unwrap().to_owned()
    };
    let redirect = ("TPP-Redirect-Preferred", "true");
    let not_redirect = ("TPP-Redirect-Preferred", "false");
    let decoupled = ("TPP-Decoupled-Preferred", "true");
    let all = &banks.sandbox.bank(world::Bank::B).running;
    assert_eq!(approach(all, &[]).await, "REDIRECT");
    assert_eq!(approach(all, &[decoupled]).await, "DECOUPLED");
    assert_eq!(approach(all, &[not_redirect]).await, "EMBEDDED");
    assert_eq!(
        approach(all, &[not_redirect, ("PSU-ID", CUSTOMER)]).await,
        "DECOUPLED"
    );
    let one = with(vec![Approach::Embedded]).await;
    assert_eq!(approach(&one, &[redirect]).await, "EMBEDDED");
    let two = with(vec![Approach::Decoupled, Approach::Redirect]).await;
    assert_eq!(approach(&two, &[redirect]).await, "REDIRECT");
    assert_eq!(approach(&two, &[("PSU-ID", CUSTOMER)]).await, "DECOUPLED");

    // Where no password may go through TPPs, none is taken.
    let tpp = Tpp::new(two.xs2a_address(), banks.a_at_b().identity);
    let asked = ask(&banks, &tpp, &[]).await.json();
    let path = format!(
        "/v1/consents/{}/authorisations",
        asked["consentId"].as_str().unwrap()
    );
    let password = json!({ "psuData": { "password": "x" } }).to_string();
    let answer = tpp.post(&path, &[("PSU-ID", CUSTOMER)], &password).await;
    assert_eq!(answer.refusal(), "400 PARAMETER_NOT_SUPPORTED psuData");
    let wrong = ask(&banks, &tpp, &[("TPP-Redirect-Preferred", "yes")]).await;
    assert_eq!(wrong.refusal(), "400 FORMAT_ERROR TPP-Redirect-Preferred");
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_is_not_approved_for_one_customer_and_used_for_anothers_account() {
    let banks = Banks::start().await;
    let bank = client(&banks);
    let customers = &banks.sandbox.bank(world::Bank::B).customers;
    let other = customers
        .iter()
        .find(|customer| customer.id != CUSTOMER)
        .unwrap();
    let customer = Customer::of(&banks).await;
    let body = json!({
        "access": { "balances": [{ "iban": other.accounts[0].number }] },
        "recurringIndicator": true, "frequencyPerDay": 4,
        "validUntil": banks.today() + Days::new(30),
    });
    let wanted: ConsentRequest = serde_json::from_value(body).unwrap();
    let asked = bank
        .ask_for_consent(&wanted, DEVICE, &embedded())
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    let step = bank
        .start_authorisation_with_password(consent, &embedded(), customer.password())
        .await
        .unwrap();
    let outcome = bank.authorise(consent, &step.id, customer.code()).await;
    assert_eq!(refusal(outcome), "401 CONSENT_INVALID");
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::Received
    );
    let read = bank.with_consent(consent).accounts(false).await;
    assert_eq!(refusal(read), "401 CONSENT_INVALID");
}

/// An account of which two customers dispose together.
const JOINT: &str = "DE89370400440532013000";

async fn open_joint_account(banks: &Banks, other: &str) {
    let config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
    let database = Database::open(&config.store.path).await.unwrap();
    let account = json!({ "account": {
        "id": "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11",
        "customer": CUSTOMER, "holders": [other], "approvals": 2,
        "openingBalance": "100.00", "closingBalance": "100.00",
        "details": { "iban": JOINT, "currency": "EUR" },
    } });
    let world = format!("{}\n{account}\n", json!({ "world": { "version": 1 } }));
    import(&database, world.as_bytes()).await.unwrap();
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_two_takes_the_approval_of_both() {
    let banks = Banks::start().await;
    let bank = client(&banks);
    let (one, two) = (Customer::of(&banks).await, customers_other(&banks).await);
    open_joint_account(&banks, &two.psu.0).await;
    let body = json!({
        "access": { "balances": [{ "iban": JOINT }] },
        "recurringIndicator": true, "frequencyPerDay": 100,
        "validUntil": banks.today() + Days::new(30),
    });
    let wanted: ConsentRequest = serde_json::from_value(body).unwrap();
    let options = ApprovalOptions::new();
    let asked = bank
        .ask_for_consent(&wanted, DEVICE, &options)
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    let first = asked.authorisation_id().unwrap();
    one.approve_at_the_bank(first).await.unwrap();
    let status = async || bank.consent_status(consent).await.unwrap();
    assert_eq!(status().await, ConsentStatus::PartiallyAuthorised);
    let read = bank.with_consent(consent).accounts(false).await;
    assert_eq!(refusal(read), "401 CONSENT_INVALID");
    let links = bank.consent(consent).await.unwrap().links.unwrap();
    let path = format!("/v1/consents/{consent}/authorisations");
    assert_eq!(links.get("startAuthorisation"), Some(&*path));

    // The same customer once more is not two.
    let second = bank.start_authorisation(consent, &options).await.unwrap();
    one.wait_for_the_next_code();
    assert!(one.approve_at_the_bank(&second.id).await.is_err());
    assert_eq!(status().await, ConsentStatus::PartiallyAuthorised);
    let third = bank.start_authorisation(consent, &options).await.unwrap();
    two.approve_at_the_bank(&third.id).await.unwrap();
    assert_eq!(status().await, ConsentStatus::Valid);
    assert_eq!(bank.authorisations(consent).await.unwrap().len(), 3);
    let accounts = bank.with_consent(consent).accounts(true).await.unwrap();
    assert_eq!(accounts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_takes_a_consent_back_at_once() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let asked = bank
        .ask_for_consent(&wanted(&banks), DEVICE, &ApprovalOptions::new())
        .await
        .unwrap();
    let consent = &asked.consent.consent_id;
    let id = asked.authorisation_id().unwrap();
    assert!(!customer.revoke(consent).await, "nothing is approved yet");
    customer.approve_at_the_bank(id).await.unwrap();
    let under = bank.with_consent(consent);
    assert_eq!(under.accounts(false).await.unwrap().len(), 3);
    let stranger = customers_other(&banks).await;
    assert!(!stranger.revoke(consent).await, "it is not hers");
    assert!(customer.revoke(consent).await);
    assert_eq!(refusal(under.accounts(false).await), "401 CONSENT_INVALID");
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::RevokedByPsu
    );
}

async fn customers_other(banks: &Banks) -> Customer {
    let customers = &banks.sandbox.bank(world::Bank::B).customers;
    let other = customers
        .iter()
        .find(|customer| customer.id != CUSTOMER)
        .unwrap();
    Customer::named(banks, &other.id, false).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_step_are_named_and_their_secrets_not_repeated() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let asked = ask(&banks, &tpp, &[("PSU-ID", CUSTOMER)]).await.json();
    let path = asked["_links"]["scaStatus"]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    let long = json!({ "scaAuthenticationData": "4711".repeat(200) }).to_string();
    for (body, refusal) in [
        ("{", "400 FORMAT_ERROR ."),
        ("[]", "400 FORMAT_ERROR ."),
        (
            r#"{"scaAuthenticationData":"4711","confirmationCode":"4711"}"#,
            "400 FORMAT_ERROR .",
        ),
        (
            r#"{"scaAuthenticationData":4711}"#,
            "400 FORMAT_ERROR scaAuthenticationData",
        ),
        (&long, "400 FORMAT_ERROR scaAuthenticationData"),
        (
            r#"{"psuData":{"password":["4711"]}}"#,
            "400 FORMAT_ERROR psuData.password",
        ),
    ] {
        let answer = tpp.send("PUT", &path, &[], Some(body)).await;
        assert_eq!(answer.refusal(), refusal, "{body:.80}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("4711"), "{text}");
    }
    let nobody = tpp.send("PUT", &path, &[], Some("{}")).await;
    assert_eq!(nobody.refusal(), "400 FORMAT_ERROR PSU-ID");
    let status: Value = tpp.get(&path, &[]).await.json();
    assert_eq!(status["scaStatus"], "psuIdentified");
    assert!(Secret::new("4711").is_ok());
}
