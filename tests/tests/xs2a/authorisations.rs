//! Refused requests for authorisations: another TPP's, out of order, with wrong data, repeated, or too many.

use bank_server::config::RedirectUris;
use chrono::{Days, TimeDelta};
use fixtures::sandbox::CUSTOMER;
use fixtures::world;
use serde_json::{Value, json};
use shared_types::xs2a::authorisation::{ScaStatus, Secret};
use shared_types::xs2a::consent::{ConsentRequest, ConsentStatus};
use tests::banks::Banks;
use tests::consent_requests::{
    BACK, DEVICE, ask, begin_embedded, client, embedded, refusal, wanted,
};
use tests::customer::Customer;
use tests::http::{REQUEST_ID, Tpp};

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
        let unknown = send(&format!("/v1/consents/{never}/authorisations/{never}")).await;
        assert_eq!(send(&path).await, unknown);
        // Under a consent of its own, too.
        assert_eq!(
            send(&format!("/v1/consents/{own}/authorisations/{id}")).await,
            unknown
        );
    }
    for method in ["GET", "POST"] {
        let body = (method == "POST").then_some("{}");
        let others = stranger.send(method, list, &[], body).await;
        let unknown = format!("/v1/consents/{never}/authorisations");
        let unknown = stranger.send(method, &unknown, &[], body).await;
        assert_eq!(others.refusal(), "403 CONSENT_UNKNOWN");
        assert_eq!(
            others.without_date_and_request_id(),
            unknown.without_date_and_request_id()
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
        attempt("no.customer", "wrong").await,
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
    let unnamed = tpp.post(&start, &[], &password("x")).await;
    assert_eq!(unnamed.refusal(), "400 FORMAT_ERROR PSU-ID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_read_for_what_ended_unanswered_approves_nothing_else() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let begin = async || begin_embedded(&bank, &banks, &customer).await;
    let is_refused = async |consent: &str, id: &str, code: Secret| {
        let outcome = bank.authorise(consent, id, code).await;
        assert_eq!(refusal(outcome), "400 SCA_INVALID scaAuthenticationData");
    };
    // No answer: the consent is deleted.
    let (first, _) = begin().await;
    let code = customer.code();
    bank.delete_consent(&first).await.unwrap();
    let (second, second_id) = begin().await;
    is_refused(&second, &second_id, code).await;
    // No answer: the time for it runs out.
    banks
        .clock
        .advance(TimeDelta::minutes(10) - TimeDelta::seconds(1));
    let code = customer.code();
    banks.clock.advance(TimeDelta::seconds(1));
    let (third, third_id) = begin().await;
    is_refused(&third, &third_id, code).await;
    customer.wait_for_the_next_code();
    let code = customer.code();
    bank.authorise(&third, &third_id, code).await.unwrap();
    // Five wrong answers. The wait after them is over, and the code is not.
    customer.wait_for_the_next_code();
    let (fourth, fourth_id) = begin().await;
    let code = customer.code();
    for _ in 0..5 {
        is_refused(&fourth, &fourth_id, Secret::new("000000").unwrap()).await;
    }
    let (fifth, fifth_id) = begin().await;
    customer.wait_for_the_next_code();
    is_refused(&fifth, &fifth_id, code).await;
    let status = bank.authorisation_status(&fifth, &fifth_id).await.unwrap();
    assert_eq!(status, ScaStatus::ScaMethodSelected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_good_once_and_for_one_authorisation() {
    let banks = Banks::start().await;
    let (bank, customer) = (client(&banks), Customer::of(&banks).await);
    let begin = async || begin_embedded(&bank, &banks, &customer).await;
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
    let (consent, id) = &begin_embedded(&bank, &banks, &customer).await;
    bank.delete_consent(consent).await.unwrap();
    customer.wait_for_the_next_code();
    let late = bank.authorise(consent, id, customer.code()).await;
    assert_eq!(refusal(late), refused);
    assert_eq!(
        bank.consent_status(consent).await.unwrap(),
        ConsentStatus::TerminatedByTpp
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
    let again = tpp.post(&path, &once, "{}").await;
    assert_eq!(
        first.without_date_and_request_id(),
        again.without_date_and_request_id(),
        "one request id has one effect"
    );
    let other = [once[0], ("PSU-ID", CUSTOMER)];
    let other = tpp.post(&path, &other, "{}").await;
    assert_eq!(other.refusal(), "400 FORMAT_ERROR X-Request-ID");
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(tpp.post(&path, &[], "{}").await.status);
    }
    assert_eq!(statuses.pop(), Some(429));
    assert!(statuses.iter().all(|status| *status == 201), "{statuses:?}");

    let decoupled = [("TPP-Decoupled-Preferred", "true"), ("PSU-ID", CUSTOMER)];
    for _ in 0..3 {
        assert_eq!(ask(&banks, &tpp, &decoupled).await.status, 201);
    }
    let refused = ask(&banks, &tpp, &decoupled).await;
    assert_eq!(refused.refusal(), "429 ACCESS_EXCEEDED");
    banks.clock.advance(TimeDelta::minutes(15));
    assert_eq!(ask(&banks, &tpp, &decoupled).await.status, 201);
}

/// Where an authorisation of a new consent is started with the customer's password, and a body with that password.
async fn at_password(banks: &Banks, tpp: &Tpp, password: &Secret) -> (String, String) {
    let asked = ask(banks, tpp, &[("TPP-Redirect-Preferred", "false")]).await;
    let path = &asked.json()["_links"]["startAuthorisationWithPsuAuthentication"]["href"];
    let body = json!({ "psuData": { "password": password.expose() } });
    (path.as_str().unwrap().to_owned(), body.to_string())
}

/// So many of them at once.
async fn at_once(
    number: usize,
    request: impl AsyncFn(usize) -> tests::http::Response,
) -> Vec<tests::http::Response> {
    futures::future::join_all((0..number).map(|one| request(one))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_start_twenty_times_at_once_has_one_effect_and_one_answer() {
    let banks = Banks::start().await;
    let (tpp, customer) = (banks.a_at_b(), Customer::of(&banks).await);
    let (path, right) = at_password(&banks, &tpp, &customer.password()).await;
    let headers = [("PSU-ID", CUSTOMER), ("X-Request-ID", REQUEST_ID)];
    let mut answers = at_once(20, async |_| tpp.post(&path, &headers, &right).await).await;
    answers.push(tpp.post(&path, &headers, &right).await);
    let first = answers[0].clone().without_date_and_request_id();
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.json()["scaStatus"], "scaMethodSelected");
    assert_eq!(first.json()["challengeData"]["otpMaxLength"], 6);
    for answer in answers {
        assert_eq!(answer.without_date_and_request_id(), first);
    }
    let started = tpp.get(&path, &[]).await.json();
    let id = first.json()["authorisationId"].clone();
    assert_eq!(started, json!({ "authorisationIds": [id] }));

    // A wrong one is one wrong attempt, however often it comes.
    let wrong = json!({ "psuData": { "password": "wrong" } }).to_string();
    let headers = [
        ("PSU-ID", CUSTOMER),
        ("X-Request-ID", "5c3b6a0e-5d0c-4b35-8d3b-0a6a5a1d7b02"),
    ];
    for answer in at_once(8, async |_| tpp.post(&path, &headers, &wrong).await).await {
        assert_eq!(answer.refusal(), "401 PSU_CREDENTIALS_INVALID");
    }
    let answer = tpp.post(&path, &[("PSU-ID", CUSTOMER)], &right).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn right_passwords_at_the_same_time_are_no_wrong_ones() {
    let banks = Banks::start().await;
    let (tpp, customer) = (banks.a_at_b(), Customer::of(&banks).await);
    let (path, right) = at_password(&banks, &tpp, &customer.password()).await;
    let headers = [("PSU-ID", CUSTOMER)];
    for answer in at_once(20, async |_| tpp.post(&path, &headers, &right).await).await {
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_authorisations_at_once_a_consent_has_twenty() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let consent = banks
        .consent(&tpp)
        .headers(&[("TPP-Explicit-Authorisation-Preferred", "true")])
        .received()
        .await;
    let path = format!("/v1/consents/{consent}/authorisations");
    let answers = at_once(50, async |_| tpp.post(&path, &[], "{}").await).await;
    let started = answers.iter().filter(|answer| answer.status == 201);
    assert_eq!(started.count(), 20);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.refusal(), "429 ACCESS_EXCEEDED");
    }
    let listed = tpp.get(&path, &[]).await.json();
    assert_eq!(listed["authorisationIds"].as_array().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_to_return_to_belong_to_the_tpp() {
    let banks = Banks::start().await;
    let strict = banks
        .replica_of_b(|config| {
            config.sca.allow_loopback_redirects = false;
        })
        .await;
    let any = banks
        .replica_of_b(|config| {
            config.sca.redirect_uris = RedirectUris::AnyHttps;
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
async fn a_consent_is_not_approved_for_one_customer_and_used_for_anothers_account() {
    let banks = Banks::start().await;
    let bank = client(&banks);
    let other = banks.other_customer(world::Bank::B);
    let customer = Customer::of(&banks).await;
    let body = json!({
        "access": { "balances": [{ "iban": other.accounts[0].number }] },
        "recurringIndicator": true, "frequencyPerDay": 4,
        "validUntil": banks.today() + Days::new(30), "combinedServiceIndicator": false,
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
    let unnamed = tpp.send("PUT", &path, &[], Some("{}")).await;
    assert_eq!(unnamed.refusal(), "400 FORMAT_ERROR PSU-ID");
    let status: Value = tpp.get(&path, &[]).await.json();
    assert_eq!(status["scaStatus"], "psuIdentified");
    assert!(Secret::new("4711").is_ok());
}
