//! The wire contract: the Berlin Group's own document as the judge, and our own document of the
//! interface.

use chrono::Months;
use fixtures::sandbox::CUSTOMER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared_types::xs2a::account::{AccountBalances, AccountList, AccountResponse};
use shared_types::xs2a::authorisation::{
    AuthorisationList, AuthorisationStarted, AuthorisationUpdated, UpdatePsuData,
};
use shared_types::xs2a::card_account::{CardAccountBalances, CardAccountList, CardAccountResponse};
use shared_types::xs2a::consent::{
    ConsentCreated, ConsentInformation, ConsentRequest, ConsentStatusResponse,
};
use shared_types::xs2a::transaction::{TransactionResponse, TransactionsResponse};
use tests::banks::Banks;
use tests::customer::Customer;
use tests::http::Response;
use tests::reference::{schema_violations, version_1_3_12};

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_all_operations_are_valid_after_the_standard() {
    let Some(reference) = version_1_3_12() else {
        return;
    };
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let accounts = banks.accounts_at_b();
    let (payment, card) = (accounts[0].id, accounts[3].id);
    let since = banks.today().checked_sub_months(Months::new(3)).unwrap();
    let days = format!("dateFrom={since}&bookingStatus=both&withBalance=true");
    let created = banks.consent(&tpp).ask().await;
    let consent = created.json()["consentId"].as_str().unwrap().to_owned();
    banks.approve(&tpp, &consent).await;
    let valid = |schema: &str, value: &Value| {
        let found = schema_violations(reference, schema, value);
        assert!(found.is_empty(), "{schema}: {found:#?}\n{value:#}");
    };
    valid("/components/schemas/consentsResponse-201", &created.json());

    for (path, schema) in [
        (
            format!("/v1/consents/{consent}"),
            "/components/schemas/consentInformationResponse-200_json",
        ),
        (
            format!("/v1/consents/{consent}/status"),
            "/components/schemas/consentStatusResponse-200",
        ),
        (
            "/v1/accounts?withBalance=true".to_owned(),
            "/components/schemas/accountList",
        ),
        (
            format!("/v1/accounts/{payment}/balances"),
            "/components/schemas/readAccountBalanceResponse-200",
        ),
        (
            format!("/v1/accounts/{payment}/transactions?{days}"),
            "/components/schemas/transactionsResponse-200_json",
        ),
        (
            "/v1/card-accounts?withBalance=true".to_owned(),
            "/components/schemas/cardAccountList",
        ),
        (
            format!("/v1/card-accounts/{card}/balances"),
            "/components/schemas/readCardAccountBalanceResponse-200",
        ),
        (
            format!("/v1/card-accounts/{card}/transactions?{days}"),
            "/components/schemas/cardAccountsTransactionsResponse200",
        ),
    ] {
        let answer = tpp.read(&path, &consent).await;
        assert_eq!(answer.status, 200, "{path}");
        valid(schema, &answer.json());
    }
    // These have their envelope in the operation, not among the schemas.
    for (path, envelope, schema) in [
        (
            format!("/v1/accounts/{payment}"),
            "account",
            "/components/schemas/accountDetails",
        ),
        (
            format!("/v1/card-accounts/{card}"),
            "cardAccount",
            "/components/schemas/cardAccountDetails",
        ),
        (
            format!("/v1/accounts/{payment}/transactions/T0000001"),
            "transactionsDetails",
            "/components/schemas/transactionDetailsBody",
        ),
    ] {
        let answer = tpp.read(&path, &consent).await.json();
        assert_eq!(answer.as_object().unwrap().len(), 1, "{answer}");
        valid(schema, &answer[envelope]);
    }
    for (answer, schema) in [
        (tpp.post("/v1/consents", &[], "{").await, "Error400_NG_AIS"),
        (tpp.read("/v1/accounts", "none").await, "Error400_NG_AIS"),
        (
            banks
                .at_b(&banks.sandbox.pki.refused[9].identity)
                .read("/v1/accounts", "none")
                .await,
            "Error401_NG_AIS",
        ),
        (tpp.get("/v1/consents/none", &[]).await, "Error403_NG_AIS"),
        (
            tpp.read("/v1/accounts/none", &consent).await,
            "Error404_NG_AIS",
        ),
        (
            tpp.send("PUT", "/v1/accounts", &[], None).await,
            "Error405_NG_AIS",
        ),
        (
            tpp.get("/v1/accounts", &[("Accept", "text/html")]).await,
            "Error406_NG_AIS",
        ),
    ] {
        assert!(schema.contains(&answer.status.to_string()), "{answer:?}");
        valid(&format!("/components/schemas/{schema}"), &answer.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_about_authorisations_are_valid_after_the_standard() {
    let Some(reference) = version_1_3_12() else {
        return;
    };
    let banks = Banks::start().await;
    let (tpp, customer) = (banks.a_at_b(), Customer::of(&banks).await);
    customer.enrol_phone().await;
    let valid = |schema: &str, answer: &Response, status: u16| {
        assert_eq!(answer.status, status, "{schema}: {answer:?}");
        let value = answer.json();
        let found = schema_violations(reference, &format!("/components/schemas/{schema}"), &value);
        assert!(found.is_empty(), "{schema}: {found:#?}\n{value:#}");
        value
    };
    let who = ("PSU-ID", CUSTOMER);
    let ask = async |headers: &[(&str, &str)]| {
        let access = json!({ "availableAccounts": "allAccounts" });
        let consent = banks.consent(&tpp).access(&access).headers(headers);
        valid("consentsResponse-201", &consent.ask().await, 201)
    };
    // By redirect and in the app: the consent's own answer, and where it stands.
    for headers in [
        vec![],
        vec![who, ("TPP-Decoupled-Preferred", "true")],
        vec![("TPP-Explicit-Authorisation-Preferred", "true")],
    ] {
        let created = ask(&headers).await;
        if let Some(path) = created["_links"]["scaStatus"]["href"].as_str() {
            valid("scaStatusResponse", &tpp.get(path, &[]).await, 200);
        }
        let consent = created["consentId"].as_str().unwrap();
        let answer = tpp.get(&format!("/v1/consents/{consent}"), &[]).await;
        valid("consentInformationResponse-200_json", &answer, 200);
    }
    // Embedded: step by step.
    let created = ask(&[("TPP-Redirect-Preferred", "false")]).await;
    let consent = created["consentId"].as_str().unwrap();
    let list = format!("/v1/consents/{consent}/authorisations");
    let started = valid(
        "startScaprocessResponse",
        &tpp.post(&list, &[], "{}").await,
        201,
    );
    let path = format!("{list}/{}", started["authorisationId"].as_str().unwrap());
    valid("authorisations", &tpp.get(&list, &[]).await, 200);
    let put = async |headers: &[(&str, &str)], body: Value| {
        tpp.send("PUT", &path, headers, Some(&body.to_string()))
            .await
    };
    let answer = put(&[who], json!({})).await;
    valid("updatePsuIdentificationResponse", &answer, 200);
    let answer = put(&[], json!({ "psuData": { "password": "wrong" } })).await;
    valid("Error401_NG_AIS", &answer, 401);
    let password = json!({ "psuData": { "password": customer.password().expose() } });
    let answer = put(&[], password).await;
    valid("updatePsuAuthenticationResponse", &answer, 200);
    let answer = put(&[], json!({ "authenticationMethodId": "sms" })).await;
    valid("Error400_NG_AIS", &answer, 400);
    let answer = put(&[], json!({ "authenticationMethodId": "totp" })).await;
    valid("selectPsuAuthenticationMethodResponse", &answer, 200);
    let answer = put(&[], json!({ "scaAuthenticationData": "wrong" })).await;
    valid("Error400_NG_AIS", &answer, 400);
    let answer = put(&[], json!({ "confirmationCode": "early" })).await;
    valid("Error409_NG_AIS", &answer, 409);
    let code = customer.code();
    let answer = put(&[], json!({ "scaAuthenticationData": code.expose() })).await;
    let done = valid("scaStatusResponse", &answer, 200);
    valid("authorisationConfirmationResponse", &answer, 200);
    assert_eq!(done["scaStatus"], "finalised");
    // What this consent opens is valid too, and so is what it does not.
    let listed = tpp.read("/v1/accounts", consent).await;
    valid("accountList", &listed, 200);
    let listed = tpp.read("/v1/card-accounts", consent).await;
    valid("cardAccountList", &listed, 200);
    let never = tpp.get(&format!("{list}/none"), &[]).await;
    valid("Error403_NG_AIS", &never, 403);
    let answer = tpp
        .send("DELETE", &format!("/v1/consents/{consent}"), &[], None)
        .await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    // Read too often.
    let consent = banks.consent(&tpp).frequency(1).approved().await;
    tpp.read("/v1/accounts", &consent).await;
    let answer = tpp.read("/v1/accounts", &consent).await;
    valid("Error429_NG_AIS", &answer, 429);
}

/// Examples of the standard that violate its own schema, and the violated rule.
const ERRATA: [(&str, &str); 4] = [
    (
        "consentsInformationResponseExample",
        "recurringIndicator is a text; lastActionDate is missing",
    ),
    (
        "balancesExample_CardAccount",
        "debitAccounting stands among the balances",
    ),
    (
        "updatePsuIdentificationResponseExample_Decoupled_payments",
        "scaStatus is called scatransactionStatus",
    ),
    (
        "selectPsuAuthenticationMethodResponseExample_Embedded_payments",
        "otpMaxLength is a text",
    ),
];

/// What is wrong with an example: it is read into our type, written again, and must be the same and
/// valid.
fn round_trip<T: DeserializeOwned + Serialize>(
    reference: &Value,
    name: &str,
    schema: &str,
) -> Vec<String> {
    let example = &reference["components"]["examples"][name]["value"];
    let parsed: T = match shared_types::decode::decode(example.to_string().as_bytes()) {
        Ok(parsed) => parsed,
        Err(fault) => return vec![format!("{name} does not parse: {fault}")],
    };
    let mut written = serde_json::to_value(&parsed).unwrap();
    let mut wrong = Vec::new();
    let is_erratum = ERRATA.iter().any(|(erratum, _)| *erratum == name);
    if is_erratum {
        if schema_violations(reference, schema, example).is_empty() {
            wrong.push(format!("{name} is called an erratum, and is none"));
        }
        if name == "consentsInformationResponseExample" {
            // A bank always knows it; this example does not say.
            written["lastActionDate"] = json!("2017-10-01");
        }
    } else if written != *example {
        wrong.push(format!(
            "{name} changes on the way:\n{written:#}\n{example:#}"
        ));
    }
    wrong.extend(
        schema_violations(reference, schema, &written)
            .into_iter()
            .map(|fault| format!("{name}: {fault}")),
    );
    wrong
}

/// What is wrong with an example of a request: `recurringIndicator` is a text and
/// `combinedServiceIndicator` is missing in all of them, against the schema, and refused. Put
/// right, it is read.
fn request_example(reference: &Value, name: &str) -> Vec<String> {
    let schema = "/components/schemas/consents";
    let mut example = reference["components"]["examples"][name]["value"].clone();
    let read = |example: &Value| {
        let body = example.to_string();
        shared_types::decode::decode::<ConsentRequest>(body.as_bytes())
    };
    let mut wrong = Vec::new();
    if schema_violations(reference, schema, &example).is_empty() || read(&example).is_ok() {
        wrong.push(format!("{name} is called an erratum, and is none"));
    }
    example["recurringIndicator"] = json!(example["recurringIndicator"] == "true");
    example["combinedServiceIndicator"] = json!(false);
    match read(&example) {
        Ok(parsed) if json!(parsed) == example => {}
        other => wrong.push(format!("{name} changes on the way: {other:?}")),
    }
    wrong.extend(schema_violations(reference, schema, &example));
    wrong
}

#[test]
fn every_example_of_the_standard_parses_and_is_something_we_could_have_sent() {
    let Some(reference) = version_1_3_12() else {
        return;
    };
    let schema = |name: &str| format!("/components/schemas/{name}");
    let mut wrong = Vec::new();
    let mut covered = Vec::new();
    let mut check = |name: &'static str, faults: Vec<String>| {
        wrong.extend(faults);
        covered.push(name);
    };
    for name in [
        "consentsExample_DedicatedAccounts",
        "consentsExample_AccountList",
        "consentsExample_without_Accounts",
    ] {
        check(name, request_example(reference, name));
    }
    for name in [
        "consentResponseExample1a_Redirect",
        "consentResponseExample1b_Redirect",
        "consentResponseExample2_OAuth2",
        "consentResponseExample3_Decoupled",
        "consentResponseExample4_Embedded",
    ] {
        check(
            name,
            round_trip::<ConsentCreated>(reference, name, &schema("consentsResponse-201")),
        );
    }
    let name = "consentsInformationResponseExample";
    check(
        name,
        round_trip::<ConsentInformation>(
            reference,
            name,
            &schema("consentInformationResponse-200_json"),
        ),
    );
    let name = "consentStatusResponseExample1";
    check(
        name,
        round_trip::<ConsentStatusResponse>(reference, name, &schema("consentStatusResponse-200")),
    );
    for name in [
        "accountListExample1",
        "accountListExample2",
        "accountListExample3",
    ] {
        check(
            name,
            round_trip::<AccountList>(reference, name, &schema("accountList")),
        );
    }
    for name in [
        "accountDetailsRegularAccount",
        "accountDetailsMulticurrencyAccount",
    ] {
        check(
            name,
            round_trip::<AccountResponse>(reference, name, "/x-envelopes/account"),
        );
    }
    for name in [
        "balancesExample1_RegularAccount",
        "balancesExample2_MulticurrencyAccount",
        "balancesExample3_RegularAccount",
    ] {
        check(
            name,
            round_trip::<AccountBalances>(
                reference,
                name,
                &schema("readAccountBalanceResponse-200"),
            ),
        );
    }
    for name in [
        "transactionsExample1_RegularAccount_json",
        "transactionsExample2_Download_json",
        "transactionsExample3_MulticurrencyAccount_json",
    ] {
        check(
            name,
            round_trip::<TransactionsResponse>(
                reference,
                name,
                &schema("transactionsResponse-200_json"),
            ),
        );
    }
    let name = "cardAccountListExample1";
    check(
        name,
        round_trip::<CardAccountList>(reference, name, &schema("cardAccountList")),
    );
    let name = "cardAccountDetailsExample";
    check(
        name,
        round_trip::<CardAccountResponse>(reference, name, "/x-envelopes/cardAccount"),
    );
    let name = "balancesExample_CardAccount";
    check(
        name,
        round_trip::<CardAccountBalances>(
            reference,
            name,
            &schema("readCardAccountBalanceResponse-200"),
        ),
    );
    check("transactionDetailsExample", details_example(reference));
    for (name, faults) in authorisation_examples(reference) {
        check(name, faults);
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // No example that concerns us is forgotten.
    let forgotten: Vec<&String> = reference["components"]["examples"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| {
            let name = name.to_lowercase();
            [
                "consent",
                "account",
                "balances",
                "transactions",
                "transactiondetails",
                "transactionauthorisation",
                "authorisation",
                "startsca",
                "updatepsu",
                "selectpsu",
            ]
            .iter()
            .any(|part| name.starts_with(part))
                || name.contains("cardaccount")
        })
        .filter(|name| !covered.contains(&name.as_str()))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

/// The steps of an authorisation, as they are asked for and answered.
fn authorisation_examples(reference: &Value) -> Vec<(&'static str, Vec<String>)> {
    let requests = [
        (
            "updatePsuAuthenticationExample_Embedded",
            "updatePsuAuthentication",
        ),
        (
            "selectPsuAuthenticationMethodExample_Embedded",
            "selectPsuAuthenticationMethod",
        ),
        (
            "transactionAuthorisationExample_Embedded",
            "transactionAuthorisation",
        ),
        (
            "authorisationConfirmationExample_Redirect",
            "authorisationConfirmation",
        ),
    ];
    let answers = [
        (
            "updatePsuIdentificationResponseExample_Decoupled_payments",
            "updatePsuIdentificationResponse",
        ),
        (
            "updatePsuAuthenticationResponseExample_Embedded_payments",
            "updatePsuAuthenticationResponse",
        ),
        (
            "selectPsuAuthenticationMethodResponseExample_Embedded_payments",
            "selectPsuAuthenticationMethodResponse",
        ),
        (
            "transactionAuthorisationResponseExample",
            "scaStatusResponse",
        ),
        (
            "authorisationConfirmationResponseExample",
            "authorisationConfirmationResponse",
        ),
    ];
    let schema = |name: &str| format!("/components/schemas/{name}");
    let mut examples = Vec::new();
    for (name, of) in requests {
        examples.push((
            name,
            round_trip::<UpdatePsuData>(reference, name, &schema(of)),
        ));
    }
    for (name, of) in answers {
        examples.push((
            name,
            round_trip::<AuthorisationUpdated>(reference, name, &schema(of)),
        ));
    }
    let name = "startScaProcessResponseExample1";
    examples.push((
        name,
        round_trip::<AuthorisationStarted>(reference, name, &schema("startScaprocessResponse")),
    ));
    let name = "authorisationListExample";
    examples.push((
        name,
        round_trip::<AuthorisationList>(reference, name, &schema("authorisations")),
    ));
    examples
}

/// The example nests the transaction once, the schema twice: we read both, and write what the
/// schema says.
fn details_example(reference: &Value) -> Vec<String> {
    let example = &reference["components"]["examples"]["transactionDetailsExample"]["value"];
    let parsed: TransactionResponse = serde_json::from_value(example.clone()).unwrap();
    let written = serde_json::to_value(&parsed).unwrap();
    assert_eq!(
        written["transactionsDetails"]["transactionDetails"],
        example["transactionsDetails"]
    );
    let schema = "/components/schemas/transactionDetailsBody";
    assert!(
        !schema_violations(reference, schema, &example["transactionsDetails"]).is_empty(),
        "the example is an erratum"
    );
    let again: TransactionResponse = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(again, parsed);
    schema_violations(reference, schema, &written["transactionsDetails"])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_our_interface_is_checked_in_and_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let generated = bank_server::xs2a::openapi_document();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        checked_in, generated,
        "run the tests once with UPDATE_OPENAPI=1, and look at what changed"
    );

    let banks = Banks::start().await;
    let served = banks
        .a_at_b()
        .get("/openapi.json", &[("X-Request-ID", "")])
        .await;
    assert_eq!(served.body, generated.as_bytes());
}

#[test]
fn every_operation_of_our_document_is_one_of_the_standards() {
    let Some(reference) = version_1_3_12() else {
        return;
    };
    let ours: Value = serde_json::from_str(&bank_server::xs2a::openapi_document()).unwrap();
    let mut operations = 0;
    for (path, methods) in ours["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let standard = &reference["paths"][path][method]["operationId"];
            assert!(
                standard.is_string(),
                "{method} {path} is none of the standard's"
            );
            assert_eq!(operation["operationId"], *standard, "{method} {path}");
            operations += 1;
        }
    }
    assert_eq!(operations, 17);
}
