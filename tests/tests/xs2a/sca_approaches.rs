//! Each approach to its end, through the SDK: on the bank's pages, in its app, through the TPP; by one customer, or by
//! two.

use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_server::config::{Approach, Config};
use bank_server::core_banking::ledger::import;
use chrono::{Days, TimeDelta};
use fixtures::sandbox::CUSTOMER;
use fixtures::world;
use serde_json::json;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::{ConsentRequest, ConsentStatus};
use tests::banks::Banks;
use tests::consent_requests::{
    BACK, DEVICE, ask, begin_embedded, client, embedded, refusal, wanted,
};
use tests::customer::Customer;
use tests::http::{Response, Tpp};
use tests::stores;

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
        std::slice::from_ref(&step.id)
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
    let other = banks
        .replica_of_b(|config| config.sca.confirmation_code = true)
        .await;
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

    // Without an address the code could not be brought back: refused with the consent, or when it is started later.
    let refused = ask(&banks, &tpp, &[]).await;
    assert_eq!(refused.refusal(), "400 FORMAT_ERROR TPP-Redirect-URI");
    let explicit = ask(
        &banks,
        &tpp,
        &[("TPP-Explicit-Authorisation-Preferred", "true")],
    )
    .await;
    let later = explicit.json()["_links"]["startAuthorisation"]["href"].clone();
    let later = later.as_str().unwrap();
    let refused = tpp.send("POST", later, &[], None).await;
    assert_eq!(refused.refusal(), "400 FORMAT_ERROR TPP-Redirect-URI");
    let started = tpp
        .send("POST", later, &[("TPP-Redirect-URI", BACK)], None)
        .await;
    assert_eq!(started.status, 201, "{started:?}");

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
async fn new_credentials_end_an_approval_that_is_not_confirmed() {
    let banks = Banks::start().await;
    let other = banks
        .replica_of_b(|config| config.sca.confirmation_code = true)
        .await;
    let customer = Customer::named(&banks, CUSTOMER, true).await;
    let tpp = Tpp::new(other.xs2a_address(), banks.a_at_b().identity);
    let asked = ask(&banks, &tpp, &[("TPP-Redirect-URI", BACK)])
        .await
        .json();
    let consent = asked["consentId"].as_str().unwrap();
    let path = asked["_links"]["scaStatus"]["href"].as_str().unwrap();
    let id = path.rsplit('/').next().unwrap();
    let done = customer.approve_at_the_bank(id).await.unwrap();
    let back = done.return_to.unwrap();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap();
    // The operator gives her a new password; her authenticator stays.
    customer.change_password(&banks, "another one").await;
    let body = json!({ "confirmationCode": code.1 }).to_string();
    let confirmed = tpp.send("PUT", path, &[], Some(&body)).await;
    assert_eq!(confirmed.refusal(), "409 STATUS_INVALID");
    assert_eq!(tpp.get(path, &[]).await.json()["scaStatus"], "failed");
    let read = tpp.read("/v1/accounts", consent).await;
    assert_eq!(read.refusal(), "401 CONSENT_INVALID");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_customer_chooses_the_accounts_she_is_led_to_the_bank() {
    let banks = Banks::start().await;
    let (tpp, customer) = (banks.a_at_b(), Customer::of(&banks).await);
    let offered = json!({ "balances": [], "transactions": [] });
    let no_redirect = [("TPP-Redirect-Preferred", "false")];
    let ask = async |tpp: &Tpp, headers: &[(&str, &str)]| {
        let consent = banks.consent(tpp).access(&offered).headers(headers);
        consent.ask().await
    };
    // What would be embedded, for accounts that are named, takes another way.
    let asked = ask(&tpp, &no_redirect).await;
    let approach = asked.header("aspsp-sca-approach").unwrap();
    assert!(["REDIRECT", "DECOUPLED"].contains(&approach), "{approach}");
    let consent = asked.json()["consentId"].as_str().unwrap().to_owned();
    let start = format!("/v1/consents/{consent}/authorisations");
    let password = json!({ "psuData": { "password": customer.password().expose() } });
    let refused = tpp
        .post(&start, &[("PSU-ID", CUSTOMER)], &password.to_string())
        .await;
    assert_eq!(refused.refusal(), "400 PARAMETER_NOT_SUPPORTED psuData");
    let started = tpp.send("POST", &start, &no_redirect, None).await;
    assert_eq!(started.status, 201, "{started:?}");
    let approach = started.header("aspsp-sca-approach").unwrap();
    assert!(["REDIRECT", "DECOUPLED"].contains(&approach), "{approach}");

    // A bank that has no other way says so.
    let other = banks
        .replica_of_b(|config| config.sca.approaches = Some(vec![Approach::Embedded]))
        .await;
    let tpp = Tpp::new(other.xs2a_address(), banks.a_at_b().identity);
    let refused = ask(&tpp, &[]).await;
    assert_eq!(refused.refusal(), "400 PARAMETER_NOT_SUPPORTED access");
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_lying_fails_and_another_can_be_started() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let (consent, id) = &begin_embedded(&bank, &banks, &customer).await;
    banks.clock.advance(TimeDelta::minutes(15));
    assert_eq!(
        bank.authorisation_status(consent, id).await.unwrap(),
        ScaStatus::Failed
    );
    let late = bank.authorise(consent, id, customer.code()).await;
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
async fn a_bank_goes_the_ways_that_it_offers() {
    let banks = Banks::start().await;
    let with = async |approaches: Vec<Approach>| {
        let change = |config: &mut Config| config.sca.approaches = Some(approaches);
        banks.replica_of_b(change).await
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

/// An account of which two customers dispose together.
const JOINT: &str = "DE89370400440532013000";

async fn open_joint_account(banks: &Banks, other: &str) {
    let database = stores::of(&banks.folder.path().join("bank-b.toml")).await;
    let account = json!({ "account": {
        "id": "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11",
        "customer": CUSTOMER, "holders": [other], "approvals": 2,
        "openingBalance": "100.00", "closingBalance": "100.00",
        "details": { "iban": JOINT, "currency": "EUR" },
    } });
    let world = format!("{}\n{account}\n", json!({ "world": { "version": 1 } }));
    import(&database, banks.today(), world.as_bytes())
        .await
        .unwrap();
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_two_takes_the_approval_of_both() {
    let banks = Banks::start().await;
    let bank = client(&banks);
    let (one, two) = (Customer::of(&banks).await, Customer::other(&banks).await);
    open_joint_account(&banks, &two.psu.0).await;
    let body = json!({
        "access": { "balances": [{ "iban": JOINT }] },
        "recurringIndicator": true, "frequencyPerDay": 100,
        "validUntil": banks.today() + Days::new(30), "combinedServiceIndicator": false,
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
    let links = bank.consent(consent).await.unwrap().links.clone().unwrap();
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
async fn two_holders_approve_through_their_tpp_one_between_the_others_steps() {
    // With a code for each round that neither has used before.
    for (at_the_bank, seconds) in [(false, 0), (false, 5), (true, 0), (true, 5)] {
        let banks = Banks::start().await;
        let bank = client(&banks);
        let (one, two) = (Customer::of(&banks).await, Customer::other(&banks).await);
        open_joint_account(&banks, &two.psu.0).await;
        let access = json!({ "balances": [{ "iban": JOINT }] });
        let wanted = banks
            .consent(&banks.a_at_b())
            .access(&access)
            .body()
            .clone();
        let wanted: ConsentRequest = serde_json::from_value(wanted).unwrap();
        let embedded = |customer: &Customer| {
            ApprovalOptions::new()
                .psu_id(&customer.psu.0)
                .prefer(ScaApproach::Embedded)
        };
        let asked = bank.ask_for_consent(&wanted, DEVICE, &embedded(&one)).await;
        let consent = &asked.unwrap().consent.consent_id;
        let hers = bank
            .start_authorisation_with_password(consent, &embedded(&one), one.password())
            .await
            .unwrap();
        banks.clock.advance(TimeDelta::seconds(seconds));
        // The other one begins and ends meanwhile.
        if at_the_bank {
            let options = ApprovalOptions::new().prefer(ScaApproach::Redirect);
            let his = bank.start_authorisation(consent, &options).await.unwrap();
            two.approve_at_the_bank(&his.id).await.unwrap();
        } else {
            let his = bank
                .start_authorisation_with_password(consent, &embedded(&two), two.password())
                .await
                .unwrap();
            bank.authorise(consent, &his.id, two.code()).await.unwrap();
        }
        let status = bank.consent_status(consent).await.unwrap();
        assert_eq!(status, ConsentStatus::PartiallyAuthorised);
        let done = bank.authorise(consent, &hers.id, one.code()).await;
        assert_eq!(done.unwrap().status, ScaStatus::Finalised);
        let status = bank.consent_status(consent).await.unwrap();
        assert_eq!(status, ConsentStatus::Valid);
    }
}
