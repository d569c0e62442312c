//! `bank-client` with a bank that is named by options instead of a directory: tables for people,
//! JSON for programs.

use std::path::Path;

use fixtures::world::Bank;
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::files::replace;
use tests::lone_bank::{LoneBank, well};
use tests::programs::{both, own};
use tests::sdk::BANK_B;
use tests::tls_terminator::Manners;
use wiremock::matchers::{any, path};
use wiremock::{Mock, Request, ResponseTemplate};

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
        "--psu-ip-address",
        "192.0.2.7",
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

/// Response of the bank, whichever way the request names it.
fn says(body: Value) -> impl Fn(&Request) -> ResponseTemplate {
    move |request: &Request| {
        let id = request.headers["x-request-id"].as_bytes();
        well(body.clone()).insert_header("X-Request-ID", id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_name_the_other_party_the_newest_balances_and_each_account_of_an_iban() {
    const IBAN: &str = "DE02120300000000202051";
    let (lone, behind) = LoneBank::mocked(Manners::Honest).await;
    let closing = |amount: &str, currency: &str, day: &str| {
        json!({
            "balanceType": "closingBooked", "referenceDate": day,
            "balanceAmount": { "currency": currency, "amount": amount },
        })
    };
    let account = |id: &str, currency: &str| {
        let balances = [
            closing("1.11", currency, "2026-01-30"),
            closing("2.22", currency, "2026-01-31"),
        ];
        json!({ "resourceId": id, "iban": IBAN, "currency": currency, "balances": balances })
    };
    let accounts = json!({ "accounts": [account("2", "USD"), account("1", "EUR")] });
    let entry = |amount: &str, names: Value| {
        let mut entry = json!({
            "bookingDate": "2026-01-20",
            "transactionAmount": { "currency": "EUR", "amount": amount },
        });
        let fields = names.as_object().unwrap().clone();
        entry.as_object_mut().unwrap().extend(fields);
        entry
    };
    let both_names = json!({ "creditorName": "Creditor", "debtorName": "Debtor" });
    let booked = [
        entry("-1.00", both_names.clone()),
        entry("2.00", both_names),
        entry("3.00", json!({ "creditorName": "Holder" })),
        entry(
            "4.00",
            json!({ "debtorAccount": { "iban": "DE02500105170137075030" } }),
        ),
    ];
    let list = |booked: &[Value]| json!({ "transactions": { "booked": booked, "pending": [], "_links": {} } });
    for (at, body) in [
        ("/v1/accounts", accounts),
        ("/v1/accounts/1/transactions", list(&booked)),
        ("/v1/accounts/2/transactions", list(&[])),
    ] {
        let answer = Mock::given(path(at)).respond_with(says(body));
        answer.mount(&behind).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let own_certificate = &lone.pki.bank_a.qwac;
    for (name, text) in [
        ("anchors", &lone.pki.ca1.root_pem().unwrap()),
        ("certificate", &own_certificate.chain_pem),
        ("key", &own_certificate.key_pem),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let owner_alone = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&file, owner_alone).unwrap();
    }
    let url = format!("https://{}", lone.front);
    let client = |arguments: &[&str]| {
        let mut command = own("bank-client");
        command
            .current_dir(folder.path())
            .env("COLUMNS", "200")
            .args(["--url", &url, "--organisation", BANK_B, "--name", "Bank B"])
            .args(["--anchors", "anchors", "--certificate", "certificate"])
            .args(["--key", "key"])
            .args(arguments)
            .args(["--consent", "c"]);
        let output = tokio::task::block_in_place(|| command.output().unwrap());
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        let out = String::from_utf8(output.stdout).unwrap();
        (out, String::from_utf8(output.stderr).unwrap())
    };

    let (table, said) = client(&["accounts", "--with-balance"]);
    assert!(
        table.contains("2.22 EUR") && !table.contains("1.11"),
        "{table}"
    );
    assert!(said.contains("accounts --cards"), "{said}");
    let (table, said) = client(&["balances"]);
    assert!(
        table.contains("2.22 EUR") && !table.contains("1.11"),
        "{table}"
    );
    for account in ["DE02…2051 EUR", "DE02…2051 USD"] {
        assert_eq!(table.matches(account).count(), 1, "{table}");
    }
    assert!(said.contains("--cards"), "{said}");
    let (json, said) = client(&["--json", "balances"]);
    assert_eq!(said, "");
    let rows: Vec<Value> = serde_json::from_str(&json).unwrap();
    let amounts: Vec<&Value> = rows
        .iter()
        .map(|row| &row["balanceAmount"]["amount"])
        .collect();
    assert_eq!(amounts, ["2.22", "1.11", "2.22", "1.11"]);
    assert_eq!(rows[0]["account"], format!("{IBAN} EUR"));

    let (csv, _) = client(&["--csv", "transactions", "--from", "2026-01-01"]);
    let with: Vec<Vec<&str>> = csv
        .lines()
        .skip(1)
        .map(|line| line.split(',').skip(5).take(2).collect())
        .collect();
    assert_eq!(
        with,
        [
            ["Creditor", ""],
            ["Debtor", ""],
            ["", ""],
            ["", "DE02500105170137075030"]
        ]
    );
    let (table, said) = client(&["transactions", "--from", "2026-01-01"]);
    assert!(
        !table.contains("Holder") && table.contains("DE02500105170137075030"),
        "{table}"
    );
    assert!(said.contains("transactions ID --card"), "{said}");
}
