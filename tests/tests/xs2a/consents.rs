//! Consents: request, status, termination, and what other TPPs cannot learn of them.

use serde_json::{Value, json};
use tests::banks::Banks;
use tests::consent_requests::PSU;
use tests::http::REQUEST_ID;

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_lives_from_received_to_terminated() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let created = banks.consent(&tpp).ask().await;
    assert_eq!(created.status, 201);
    let body = created.json();
    assert_eq!(body["consentStatus"], "received");
    let id = body["consentId"].as_str().unwrap();
    let path = format!("/v1/consents/{id}");
    assert_eq!(created.header("location"), Some(path.as_str()));
    assert_eq!(body["_links"]["self"]["href"], path.as_str());

    let status = format!("{path}/status");
    assert_eq!(
        tpp.get(&status, &[]).await.json(),
        json!({ "consentStatus": "received" })
    );
    assert_eq!(
        tpp.read("/v1/accounts", id).await.refusal(),
        "401 CONSENT_INVALID"
    );
    banks.approve(&tpp, id).await;
    assert_eq!(
        tpp.get(&status, &[]).await.json(),
        json!({ "consentStatus": "valid" })
    );
    assert_eq!(tpp.read("/v1/accounts", id).await.status, 200);
    let consent = tpp.get(&path, &[]).await.json();
    assert_eq!(consent["access"], json!({ "allPsd2": "allAccounts" }));
    assert_eq!(consent["lastActionDate"], banks.today().to_string());
    assert_eq!(consent["_links"]["account"]["href"], "/v1/accounts");

    for _ in 0..2 {
        let deleted = tpp.send("DELETE", &path, &[], None).await;
        assert_eq!((deleted.status, deleted.body.len()), (204, 0));
        assert_eq!(deleted.header("x-request-id"), Some(REQUEST_ID));
    }
    assert_eq!(
        tpp.get(&status, &[]).await.json(),
        json!({ "consentStatus": "terminatedByTpp" })
    );
    assert_eq!(
        tpp.read("/v1/accounts", id).await.refusal(),
        "401 CONSENT_INVALID"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_consent_and_one_that_never_was_are_answered_alike() {
    let banks = Banks::start().await;
    let owner = banks.a_at_b();
    let stranger = banks.at_b(&banks.sandbox.pki.bank_r.qwac);
    let id = banks.consent(&owner).approved().await;
    let account = banks.accounts_at_b()[0].id;
    let never = "7d3f6c1e-0000-4000-8000-000000000000";

    for (method, path) in [
        ("GET", "/v1/consents/{consent}".to_owned()),
        ("GET", "/v1/consents/{consent}/status".to_owned()),
        ("DELETE", "/v1/consents/{consent}".to_owned()),
    ] {
        let ask = async |consent: &str| {
            let path = path.replace("{consent}", consent);
            let id = if consent == never {
                REQUEST_ID
            } else {
                "11111111-2222-4333-8444-555555555555"
            };
            stranger
                .send(method, &path, &[("X-Request-ID", id)], None)
                .await
        };
        let (others, unknown) = (ask(&id).await, ask(never).await);
        assert_eq!(others.refusal(), "403 CONSENT_UNKNOWN");
        assert_ne!(
            others.header("x-request-id"),
            unknown.header("x-request-id")
        );
        assert_eq!(
            others.without_date_and_request_id(),
            unknown.without_date_and_request_id(),
            "{method} {path}"
        );
    }
    for path in [
        "/v1/accounts".to_owned(),
        format!("/v1/accounts/{account}/balances"),
        "/v1/card-accounts".to_owned(),
    ] {
        let (others, unknown) = (
            stranger.read(&path, &id).await,
            stranger.read(&path, never).await,
        );
        assert_eq!(others.refusal(), "400 CONSENT_UNKNOWN Consent-ID");
        assert_eq!(
            others.without_date_and_request_id(),
            unknown.without_date_and_request_id(),
            "{path}"
        );
    }
    let status = owner
        .get(&format!("/v1/consents/{id}/status"), &[])
        .await
        .json();
    assert_eq!(
        status["consentStatus"], "valid",
        "the stranger's DELETE did nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_id_has_one_effect() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let body = banks.consent_body().to_string();
    let headers = [PSU, ("X-Request-ID", REQUEST_ID)];
    let first = tpp.post("/v1/consents", &headers, &body).await;
    let again = tpp.post("/v1/consents", &headers, &body).await;
    assert_eq!(first.status, 201);
    let created = first.json();
    assert_eq!(
        first.without_date_and_request_id(),
        again.without_date_and_request_id()
    );

    // A UUID is the same in either case, and comes back as it was sent.
    let shouted = REQUEST_ID.to_uppercase();
    assert_ne!(shouted, REQUEST_ID);
    for id in [REQUEST_ID, &shouted] {
        let answer = tpp
            .post("/v1/consents", &[PSU, ("X-Request-ID", id)], &body)
            .await;
        assert_eq!(answer.header("x-request-id"), Some(id));
        assert_eq!(answer.json(), created);
    }

    let access = json!({ "balances": [] });
    let other = banks.consent(&tpp).access(&access).body().to_string();
    assert_eq!(
        tpp.post("/v1/consents", &headers, &other).await.refusal(),
        "400 FORMAT_ERROR X-Request-ID"
    );
    // The ids of one TPP are no concern of another's.
    let stranger = banks.at_b(&banks.sandbox.pki.bank_r.qwac);
    assert_eq!(
        stranger.post("/v1/consents", &headers, &other).await.status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_refused_with_its_path() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let access = json!({ "accounts": [{ "iban": "DE89370400440532013000" }] });
    let good = banks.consent(&tpp).access(&access).body().clone();
    let changed = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        body.to_string()
    };
    let without = |field: &str| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        body.to_string()
    };
    // The values of a request, in the order of its fields and without their names.
    let in_order = json!([good["access"], true, good["validUntil"], 4, false]);
    let nested = format!(r#"{{"access":{}{}}}"#, "[".repeat(1000), "]".repeat(1000));
    let hidden = format!(
        r#"{{"other":{}{},{}"#,
        "[".repeat(1000),
        "]".repeat(1000),
        &good.to_string()[1..]
    );
    for (body, refusal) in [
        ("{".to_owned(), "400 FORMAT_ERROR ."),
        (String::new(), "400 FORMAT_ERROR ."),
        ("[]".to_owned(), "400 FORMAT_ERROR ."),
        (nested, "400 FORMAT_ERROR ."),
        (hidden, "400 FORMAT_ERROR ."),
        (format!("{good}{good}"), "400 FORMAT_ERROR ."),
        (without("access"), "400 FORMAT_ERROR access"),
        (changed("/access", json!({})), "400 FORMAT_ERROR access"),
        (
            changed("/access/accounts/0/iban", json!("DE88370400440532013000")),
            "400 FORMAT_ERROR access.accounts[0].iban",
        ),
        (
            changed("/access/accounts/0/iban", json!("x")),
            "400 FORMAT_ERROR access.accounts[0].iban",
        ),
        (
            changed("/access/accounts/0", json!({ "iban": 7 })),
            "400 FORMAT_ERROR access.accounts[0].iban",
        ),
        (
            changed("/access/accounts/0", json!({})),
            "400 FORMAT_ERROR access.accounts[0]",
        ),
        (
            changed("/access", json!({ "allPsd2": "some" })),
            "400 FORMAT_ERROR access.allPsd2",
        ),
        (
            changed(
                "/access",
                json!({ "accounts": [], "restrictedTo": ["CACC"] }),
            ),
            "400 PARAMETER_NOT_SUPPORTED access.restrictedTo",
        ),
        (
            changed("/recurringIndicator", json!(1)),
            "400 FORMAT_ERROR recurringIndicator",
        ),
        (
            changed("/recurringIndicator", json!("true")),
            "400 FORMAT_ERROR recurringIndicator",
        ),
        (
            without("combinedServiceIndicator"),
            "400 FORMAT_ERROR combinedServiceIndicator",
        ),
        (
            changed("/combinedServiceIndicator", json!("false")),
            "400 FORMAT_ERROR combinedServiceIndicator",
        ),
        (in_order.to_string(), "400 FORMAT_ERROR ."),
        (
            changed("/access", json!([[good["access"]["accounts"][0]]])),
            "400 FORMAT_ERROR access",
        ),
        (
            changed("/access/accounts/0", json!(["DE89370400440532013000"])),
            "400 FORMAT_ERROR access.accounts[0]",
        ),
        (
            changed("/access", json!({ "allPsd2": { "allAccounts": null } })),
            "400 FORMAT_ERROR access.allPsd2.allAccounts",
        ),
        (
            format!(r#"{{"validUntil":"2027-01-31",{}"#, &good.to_string()[1..]),
            "400 FORMAT_ERROR validUntil",
        ),
        (
            changed("/validUntil", json!("2027-02-30")),
            "400 FORMAT_ERROR validUntil",
        ),
        (
            changed("/validUntil", json!("2020-01-01")),
            "400 PERIOD_INVALID validUntil",
        ),
        (
            changed("/frequencyPerDay", json!(0)),
            "400 FORMAT_ERROR frequencyPerDay",
        ),
        (
            changed("/frequencyPerDay", json!(-1)),
            "400 FORMAT_ERROR frequencyPerDay",
        ),
        (
            changed("/frequencyPerDay", json!("4")),
            "400 FORMAT_ERROR frequencyPerDay",
        ),
        (
            changed("/combinedServiceIndicator", json!(true)),
            "400 SESSIONS_NOT_SUPPORTED combinedServiceIndicator",
        ),
    ] {
        let answer = tpp.post("/v1/consents", &[PSU], &body).await;
        assert_eq!(answer.refusal(), refusal, "{body:.200}");
        let text = String::from_utf8(answer.body).unwrap();
        assert!(
            !text.contains("3704004405320"),
            "the account is not repeated: {text}"
        );
        for rust in ["struct", "enum", "u32", "variant", "sequence", "elements"] {
            assert!(!text.contains(rust), "in the words of JSON: {text}");
        }
    }
    let accepted = tpp.post("/v1/consents", &[PSU], &good.to_string()).await;
    assert_eq!(accepted.status, 201, "and the server goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_missing_or_wrong_are_named() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let body = banks.consent_body().to_string();
    for (headers, refusal) in [
        (vec![], "400 FORMAT_ERROR PSU-IP-Address"),
        (
            vec![("PSU-IP-Address", "300.1.1.1")],
            "400 FORMAT_ERROR PSU-IP-Address",
        ),
        (vec![PSU, PSU], "400 FORMAT_ERROR PSU-IP-Address"),
        (
            vec![PSU, ("PSU-ID", "a"), ("PSU-ID", "b")],
            "400 FORMAT_ERROR PSU-ID",
        ),
        (
            vec![PSU, ("TPP-Redirect-URI", "\u{e4}")],
            "400 FORMAT_ERROR TPP-Redirect-URI",
        ),
        (
            vec![
                PSU,
                ("TPP-Decoupled-Preferred", "true"),
                ("TPP-Decoupled-Preferred", "true"),
            ],
            "400 FORMAT_ERROR TPP-Decoupled-Preferred",
        ),
        (
            vec![
                PSU,
                ("Content-Type", "application/json"),
                ("Content-Type", "text/plain"),
            ],
            "400 FORMAT_ERROR Content-Type",
        ),
        (
            vec![PSU, ("X-Request-ID", "")],
            "400 FORMAT_ERROR X-Request-ID",
        ),
        (
            vec![PSU, ("X-Request-ID", "not-a-uuid")],
            "400 FORMAT_ERROR X-Request-ID",
        ),
        (
            vec![
                PSU,
                ("X-Request-ID", REQUEST_ID),
                ("X-Request-ID", REQUEST_ID),
            ],
            "400 FORMAT_ERROR X-Request-ID",
        ),
        (
            vec![PSU, ("Content-Type", "text/plain")],
            "415 FORMAT_ERROR Content-Type",
        ),
        (
            vec![PSU, ("Content-Encoding", "gzip")],
            "415 FORMAT_ERROR Content-Encoding",
        ),
        (
            vec![PSU, ("Accept", "application/xml")],
            "406 REQUESTED_FORMATS_INVALID Accept",
        ),
        (
            vec![PSU, ("Accept", "application/json;q=0")],
            "406 REQUESTED_FORMATS_INVALID Accept",
        ),
    ] {
        assert_eq!(
            tpp.post("/v1/consents", &headers, &body).await.refusal(),
            refusal,
            "{headers:?}"
        );
    }
    for accept in ["*/*", "application/*;q=0.1", "text/html, application/json"] {
        assert_eq!(
            tpp.post("/v1/consents", &[PSU, ("Accept", accept)], &body)
                .await
                .status,
            201,
            "{accept}"
        );
    }
}
