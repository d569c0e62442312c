//! `bank-client` with a bank that is named by options instead of a directory: tables for people, JSON for programs.

use std::path::Path;

use fixtures::world::Bank;
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::files::replace;
use tests::lone_bank::LoneBank;
use tests::programs::{both, own};
use tests::sdk::BANK_B;
use tests::tls_terminator::Manners;
use wiremock::matchers::any;
use wiremock::{Mock, ResponseTemplate};

#[tokio::test(flavor = "multi_thread")]
async fn bank_client_asks_for_people_and_for_programs() {
    let banks = Banks::start().await;
    let (bank, account) = (
        banks.sandbox.bank(Bank::B),
        banks.accounts_at_b()[0].clone(),
    );
    let client = |arguments: &[&str]| {
        let pki = banks.folder.path().join("pki");
        own("bank-client")
            .args([
                "--url",
                &bank.url(),
                "--organisation",
                BANK_B,
                "--name",
                "Bank B",
                "--anchors",
            ])
            .arg(pki.join("ca1/root.pem"))
            .arg("--certificate")
            .arg(pki.join("bank-a/qwac.pem"))
            .arg("--key")
            .arg(pki.join("bank-a/qwac.key"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let json_of = |arguments: &[&str]| -> Value {
        let output = client(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let created = json_of(&[
        "consent",
        "create",
        "--transactions",
        &account.number,
        "--balances",
        &account.number,
    ]);
    let id = created["consentId"].as_str().unwrap();
    assert_eq!(json_of(&["consent", "status", id]), "received");
    let early = client(&["accounts", "--consent", id]);
    assert_eq!(early.status.code(), Some(4));
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(
        said.contains("Bank B refused the request with 401 CONSENT_INVALID")
            && said.contains("to do: "),
        "{said}"
    );
    banks.approve(&banks.a_at_b(), id).await;

    let accounts = json_of(&["accounts", "--consent", id, "--with-balance"]);
    assert_eq!(accounts.as_array().unwrap().len(), 1);
    let table = both(&client(&["accounts", "--consent", id, "--with-balance"]));
    assert!(
        table.contains(&account.number) && table.contains("EUR"),
        "{table}"
    );
    let resource = account.id.to_string();
    assert_eq!(
        json_of(&["balances", "--consent", id, &resource])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let from = banks
        .today()
        .checked_sub_months(chrono::Months::new(25))
        .unwrap()
        .to_string();
    let all = json_of(&[
        "transactions",
        "--consent",
        id,
        &resource,
        "--from",
        &from,
        "--page-size",
        "50",
    ]);
    assert_eq!(all.as_array().unwrap().len(), account.transactions);
    assert!(
        both(&client(&[
            "transactions",
            "--consent",
            id,
            &resource,
            "--from",
            &from
        ]))
        .contains("Supermarkt Nord")
    );
    assert!(both(&client(&["consent", "show", id])).contains("valid"));
    assert!(client(&["consent", "delete", id]).status.success());
    assert_eq!(json_of(&["consent", "status", id]), "terminatedByTpp");
    assert_eq!(
        client(&["accounts"]).status.code(),
        Some(2),
        "a wrong command line"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_after_rfc_7807_is_told_and_ends_with_its_exit_code() {
    let (lone, behind) = LoneBank::mocked(Manners::Honest).await;
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        replace(&path, content);
        path
    };
    let own_certificate = &lone.pki.bank_a.qwac;
    let anchors = file("anchors.pem", &lone.pki.ca1.root_pem().unwrap());
    let certificate = file("qwac.pem", &own_certificate.chain_pem);
    let key = file("qwac.key", &own_certificate.key_pem);
    for (status, code, exit) in [(401, "CONSENT_EXPIRED", 4), (401, "CERTIFICATE_BLOCKED", 5)] {
        behind.reset().await;
        let problem = json!({ "type": "https://bank.example/errors/1", "title": "Not allowed", "code": code });
        let answer = ResponseTemplate::new(status);
        Mock::given(any())
            .respond_with(answer.set_body_raw(problem.to_string(), "application/problem+json"))
            .mount(&behind)
            .await;
        let output = own("bank-client")
            .args(["--url", &format!("https://{}", lone.front)])
            .args(["--organisation", BANK_B, "--anchors"])
            .args([&anchors, Path::new("--certificate"), &certificate])
            .args([Path::new("--key"), &key])
            .args(["accounts", "--consent", "c"])
            .output()
            .unwrap();
        let said = both(&output);
        assert_eq!(output.status.code(), Some(exit), "{said}");
        assert!(
            said.contains(&format!("{status} {code}: Not allowed")),
            "{said}"
        );
    }
}
