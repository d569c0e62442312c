//! Every property that the contract has for accounts, balances and transactions, through everything
//! that takes it on.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use bank_client::AccountInformation;
use bank_client::environment::{Clock as _, SystemClock, SystemRandomness};
use bank_client::sync::{CopiedDetails, CopiedTransaction, LocalCopy, Period, Synchroniser};
use bank_client::vault::{Key, Vault};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared_types::decode::decode;
use shared_types::xs2a::account::{AccountBalances, AccountList, AccountReference};
use shared_types::xs2a::card_account::{
    CardAccountBalances, CardAccountList, CardTransactionsResponse,
};
use shared_types::xs2a::transaction::{TransactionDetails, TransactionsResponse};
use tempfile::TempDir;
use tests::banks::Banks;
use tests::files;
use tests::lone_bank::LoneBank;
use tests::programs::{both, own};
use tests::reference::version_1_3_16;
use tests::schema_values::{SchemaValues, lost, without};
use tests::sdk::BANK_B;
use tests::stores;
use tests::tls_terminator::Manners;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Properties of `given` that are missing in `kept`, with the place where they were lost.
fn check(place: &str, given: &Value, kept: &Value) {
    let lost = lost(given, kept);
    assert!(lost.is_empty(), "{place}: {lost:#?}");
}

fn read_and_written<T: DeserializeOwned + Serialize>(whole: &SchemaValues<'_>, schema: &str) {
    let given = whole.of(schema);
    let read: T =
        decode(given.to_string().as_bytes()).unwrap_or_else(|fault| panic!("{schema}: {fault}"));
    check(schema, &given, &serde_json::to_value(&read).unwrap());
}

#[test]
fn every_property_of_the_contract_is_a_field_of_ours() {
    let Some(document) = version_1_3_16() else {
        return;
    };
    let day = SystemClock.now().date_naive();
    let whole = SchemaValues { document, day };
    read_and_written::<AccountReference>(&whole, "accountReference");
    read_and_written::<AccountList>(&whole, "accountList");
    read_and_written::<AccountBalances>(&whole, "readAccountBalanceResponse-200");
    read_and_written::<TransactionsResponse>(&whole, "transactionsResponse-200_json");
    read_and_written::<TransactionDetails>(&whole, "transactionDetailsBody");
    read_and_written::<CardAccountList>(&whole, "cardAccountList");
    read_and_written::<CardAccountBalances>(&whole, "readCardAccountBalanceResponse-200");
    read_and_written::<CardTransactionsResponse>(&whole, "cardAccountsTransactionsResponse200");
}

const ACCOUNT: &str = "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11";
const CARD: &str = "0d7a3b52-3c1f-4c58-8b57-6a1a5e0d2f22";

/// Properties that a bank computes, and no world file contains.
const WORKED_OUT: [&str; 3] = ["resourceId", "balances", "_links"];

#[tokio::test(flavor = "multi_thread")]
async fn every_property_of_the_contract_survives_import_and_server() {
    let Some(document) = version_1_3_16() else {
        return;
    };
    let banks = Banks::start().await;
    let whole = SchemaValues {
        document,
        day: banks.today(),
    };
    let (account, card) = (whole.of("accountDetails"), whole.of("cardAccountDetails"));
    let entry = whole.of("transactions");
    let card_entry = whole.of("cardTransaction");
    let id = entry["transactionId"].as_str().unwrap();
    let record = |id: &str, details: &Value| {
        json!({
            "id": id, "customer": fixtures::sandbox::CUSTOMER,
            "openingBalance": "0", "closingBalance": "-12.34",
            "details": without(details.clone(), &WORKED_OUT),
        })
    };
    let lines = [
        json!({ "world": { "version": 1 } }),
        json!({ "account": record(ACCOUNT, &account) }),
        json!({ "transaction": { "account": ACCOUNT, "details": without(entry.clone(), &["_links"]) } }),
        json!({ "card-account": record(CARD, &card) }),
        json!({ "card-transaction": { "account": CARD, "details": card_entry } }),
    ];
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let database = stores::of(&banks.folder.path().join("bank-b.toml")).await;
    let file = lines.join("\n") + "\n";
    bank_server::core_banking::ledger::import(&database, banks.today(), file.as_bytes())
        .await
        .unwrap();
    database.close().await;

    let tpp = banks.a_at_b();
    let access = json!({ "allPsd2": "allAccountsWithOwnerName" });
    let consent = banks.consent(&tpp).access(&access).approved().await;
    let read = async |path: &str| {
        let answer = tpp.read(path, &consent).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    };
    let days = format!("dateFrom={}&bookingStatus=both&withBalance=true", whole.day);
    for (path, list, id, details) in [
        ("accounts", "accounts", ACCOUNT, &account),
        ("card-accounts", "cardAccounts", CARD, &card),
    ] {
        let answer = read(&format!("/v1/{path}?withBalance=true")).await;
        let accounts = answer[list].as_array().unwrap();
        let listed = accounts.iter().find(|account| account["resourceId"] == id);
        let listed = listed.unwrap();
        check(path, &without(details.clone(), &WORKED_OUT), listed);
        for property in WORKED_OUT {
            assert!(listed.get(property).is_some(), "{path}: {property}");
        }
    }
    let list = read(&format!("/v1/accounts/{ACCOUNT}/transactions?{days}")).await;
    let listed = &list["transactions"]["booked"][0];
    check("list", &without(entry.clone(), &["_links"]), listed);
    let link = listed["_links"]["transactionDetails"]["href"].as_str();
    assert_eq!(
        link,
        Some(&*format!("/v1/accounts/{ACCOUNT}/transactions/{id}"))
    );
    let one = read(link.unwrap()).await;
    let one = &one["transactionsDetails"]["transactionDetails"];
    check("details", &without(entry, &["_links"]), one);
    let list = read(&format!("/v1/card-accounts/{CARD}/transactions?{days}")).await;
    check("cards", &card_entry, &list["cardTransactions"]["booked"][0]);
    assert_eq!(list["debitAccounting"], card["debitAccounting"]);

    // Names are given only where the consent says so.
    let access = json!({ "allPsd2": "allAccounts" });
    let consent = banks.consent(&tpp).access(&access).approved().await;
    let answer = tpp.read(&format!("/v1/accounts/{ACCOUNT}"), &consent).await;
    for name in ["ownerName", "ownerNames", "psuName"] {
        assert_eq!(answer.json()["account"].get(name), None, "{name}");
    }
}

/// A bank that gives one account and one card account, and who asks it.
struct Scene {
    lone: LoneBank,
    behind: MockServer,
    folder: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let (lone, behind) = LoneBank::mocked(Manners::Honest).await;
        let folder = tempfile::tempdir().unwrap();
        let bank_a = &lone.pki.bank_a.qwac;
        for (name, pem) in [
            ("anchors.pem", &lone.pki.ca1.root_pem().unwrap()),
            ("tpp.pem", &bank_a.chain_pem),
            ("tpp.key", &bank_a.key_pem),
        ] {
            files::replace(&folder.path().join(name), pem);
        }
        Self {
            lone,
            behind,
            folder,
        }
    }

    async fn answers(&self, at: &str, body: Value) {
        Mock::given(method("GET"))
            .and(path(at))
            .respond_with(ResponseTemplate::new(200).set_body_json(body))
            .mount(&self.behind)
            .await;
    }

    fn under(&self) -> AccountInformation {
        self.lone.builder().build().unwrap().with_consent("c")
    }

    fn client(&self, form: Option<&str>, arguments: &[&str]) -> Output {
        let file = |name: &str| self.folder.path().join(name);
        let url = format!("https://{}", self.lone.front);
        let output = own("bank-client")
            .args(form)
            .args(["--url", &url, "--organisation", BANK_B])
            .args(["--name", "Bank B", "--anchors"])
            .arg(file("anchors.pem"))
            .arg("--certificate")
            .arg(file("tpp.pem"))
            .arg("--key")
            .arg(file("tpp.key"))
            .args(arguments)
            .args(["--consent", "c"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        output
    }

    /// Output for programs: each row of JSON, and of CSV by the names of its columns.
    fn rows(&self, arguments: &[&str]) -> (Vec<Value>, Vec<Value>) {
        let json = self.client(Some("--json"), arguments).stdout;
        let csv = self.client(Some("--csv"), arguments).stdout;
        let mut rows = Vec::new();
        let mut reader = csv::Reader::from_reader(csv.as_slice());
        let columns = reader.headers().unwrap().clone();
        for record in reader.records() {
            let record = record.unwrap();
            let row = columns.iter().zip(record.iter());
            rows.push(
                row.map(|(name, text)| (name.to_owned(), json!(text)))
                    .collect(),
            );
        }
        (serde_json::from_slice(&json).unwrap(), rows)
    }

    /// JSON and the JSON within CSV have all of these, in this order; says what CSV has.
    fn printed(&self, arguments: &[&str], given: &[&Value]) -> Vec<Value> {
        let (json, csv) = self.rows(arguments);
        assert_eq!((json.len(), csv.len()), (given.len(), given.len()));
        for ((given, json), csv) in given.iter().zip(json).zip(&csv) {
            check(&format!("{arguments:?} --json"), given, &json);
            let within = csv["json"].as_str().unwrap();
            let within: Value = serde_json::from_str(within).unwrap();
            check(&format!("{arguments:?} --csv"), given, &within);
        }
        csv
    }

    async fn sync(&self) -> LocalCopy {
        let key = Key::from_bytes([1; 32]);
        let vault = Vault::new(&key, "copy", Arc::new(SystemRandomness)).unwrap();
        let file: &Path = &self.folder.path().join("copy.db");
        let copy = LocalCopy::open(file, vault).await.unwrap();
        let sync = Synchroniser::new(&copy, "bank-b");
        let report = sync.run(&self.under(), |_| ()).await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        copy
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_property_of_the_contract_survives_copy_json_and_csv() {
    let Some(document) = version_1_3_16() else {
        return;
    };
    let scene = Scene::set().await;
    let day = scene.lone.clock.now().date_naive();
    let whole = SchemaValues { document, day };
    let (mut account, mut card) = (whole.of("accountDetails"), whole.of("cardAccountDetails"));
    account["resourceId"] = json!("acc-1");
    card["resourceId"] = json!("card-1");
    let balances = account["balances"].clone();
    let (entry, card_entry) = (whole.of("transactions"), whole.of("cardTransaction"));
    scene
        .answers("/v1/accounts", json!({ "accounts": [account] }))
        .await;
    scene
        .answers("/v1/card-accounts", json!({ "cardAccounts": [card] }))
        .await;
    for (path, key) in [
        ("accounts/acc-1", "account"),
        ("card-accounts/card-1", "cardAccount"),
    ] {
        let body = json!({ "balances": balances, "debitAccounting": true });
        scene.answers(&format!("/v1/{path}/balances"), body).await;
        let details = if key == "account" { &account } else { &card };
        scene
            .answers(&format!("/v1/{path}"), json!({ key: details }))
            .await;
    }
    let page =
        json!({ "booked": [entry], "pending": [], "_links": { "account": { "href": "/" } } });
    scene
        .answers(
            "/v1/accounts/acc-1/transactions",
            json!({ "transactions": page }),
        )
        .await;
    let page = json!({ "booked": [card_entry], "pending": [], "_links": {} });
    let body = json!({ "debitAccounting": true, "cardTransactions": page });
    scene
        .answers("/v1/card-accounts/card-1/transactions", body)
        .await;

    let both_balances: Vec<&Value> = balances.as_array().unwrap().iter().collect();
    scene.printed(&["accounts"], &[&account]);
    scene.printed(&["accounts", "--cards"], &[&card]);
    scene.printed(&["balances", "acc-1"], &both_balances);
    scene.printed(&["balances", "card-1", "--card"], &both_balances);
    scene.printed(&["transactions", "acc-1"], &[&entry]);
    scene.printed(&["transactions", "card-1", "--card"], &[&card_entry]);

    let copy = Box::pin(scene.sync()).await;
    let copied = copy.accounts("bank-b").await.unwrap();
    assert_eq!(copied.len(), 2);
    for copied in copied {
        let (given, kept, entry) = match &copied.details {
            CopiedDetails::Payment(details) => (&account, json!(details), &entry),
            CopiedDetails::Card(details) => (&card, json!(details), &card_entry),
        };
        let given = without(given.clone(), &["balances", "_links"]);
        check("the copy's account", &given, &kept);
        let of_copy = copy.balances(copied.key).await.unwrap();
        let of_copy: Vec<_> = of_copy.into_iter().map(|copied| copied.balance).collect();
        check("the copy's balances", &balances, &json!(of_copy));
        let entries = copy.transactions(copied.key, Period::default());
        let entries: Vec<_> = entries.try_collect().await.unwrap();
        assert_eq!(entries.len(), 1);
        let (given, kept) = match &entries[0].transaction {
            CopiedTransaction::Payment(kept) => (without(entry.clone(), &["_links"]), json!(kept)),
            CopiedTransaction::Card(kept) => (entry.clone(), json!(kept)),
        };
        check("the copy's transaction", &given, &kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn remittance_lines_are_shown_and_kept() {
    let scene = Scene::set().await;
    let entry = json!({
        "transactionId": "t1", "bookingDate": scene.lone.clock.now().date_naive(),
        "transactionAmount": { "currency": "EUR", "amount": "-118.00" }, "creditorName": "Printer",
        "remittanceInformationUnstructuredArray": ["Invoice 2026-118", "second line"],
    });
    let page =
        json!({ "booked": [entry], "pending": [], "_links": { "account": { "href": "/" } } });
    scene
        .answers(
            "/v1/accounts/acc-1/transactions",
            json!({ "transactions": page }),
        )
        .await;
    let csv = scene.printed(&["transactions", "acc-1"], &[&entry]);
    assert_eq!(csv[0]["what"], "Invoice 2026-118 second line");
    let table = both(&scene.client(None, &["transactions", "acc-1"]));
    assert!(table.contains("Invoice 2026-118"), "{table}");
}

#[tokio::test]
async fn standing_orders_are_read_page_by_page() {
    let scene = Scene::set().await;
    let order = |amount: &str| {
        json!({
            "transactionAmount": { "currency": "EUR", "amount": amount }, "creditorName": "Landlord",
            "additionalInformationStructured": { "standingOrderDetails": { "frequency": "Monthly", "dayOfExecution": "1" } },
        })
    };
    let path = "/v1/accounts/acc-1/transactions";
    for (query, orders, links) in [
        (
            ("bookingStatus", "information"),
            [order("-1"), order("-2")],
            json!({ "next": { "href": format!("{path}?page=2") } }),
        ),
        (("page", "2"), [order("-3"), order("-4")], json!({})),
    ] {
        Mock::given(query_param(query.0, query.1))
            .respond_with(ResponseTemplate::new(200).set_body_json(
                json!({ "transactions": { "information": orders, "_links": links } }),
            ))
            .mount(&scene.behind)
            .await;
    }
    let read: Vec<_> = scene
        .under()
        .standing_orders("acc-1")
        .try_collect()
        .await
        .unwrap();
    let given = ["-1", "-2", "-3", "-4"].map(order);
    check("standing orders", &json!(given), &json!(read));
}

/// The standard lets a bank say how it quotes debits with the account, its balances or its
/// transactions.
#[tokio::test(flavor = "multi_thread")]
async fn debits_of_cards_are_negative_whichever_way_and_wherever_a_bank_says_so() {
    for (at, quoted) in [
        ("account", Some(true)),
        ("reports", Some(true)),
        ("reports", Some(false)),
        ("reports", None),
    ] {
        let scene = Scene::set().await;
        let day = scene.lone.clock.now().date_naive();
        let (of_account, of_reports) = match at {
            "account" => (quoted, None),
            _ => (None, quoted),
        };
        let signed = |amount: &str| {
            let sign = if quoted == Some(true) { "" } else { "-" };
            json!({ "currency": "EUR", "amount": format!("{sign}{amount}") })
        };
        let mut card = json!({ "resourceId": "card-1", "maskedPan": "1234*", "currency": "EUR" });
        let balance = json!({ "balanceType": "interimBooked", "balanceAmount": signed("80.00") });
        let entry = json!({ "cardTransactionId": "1", "bookingDate": day, "transactionAmount": signed("80.00") });
        let page = json!({ "booked": [entry], "pending": [], "_links": {} });
        let mut balances = json!({ "balances": [balance] });
        let mut transactions = json!({ "cardTransactions": page });
        if let Some(said) = of_account {
            card["debitAccounting"] = json!(said);
        }
        if let Some(said) = of_reports {
            balances["debitAccounting"] = json!(said);
            transactions["debitAccounting"] = json!(said);
        }
        scene
            .answers("/v1/accounts", json!({ "accounts": [] }))
            .await;
        scene
            .answers("/v1/card-accounts", json!({ "cardAccounts": [card] }))
            .await;
        scene
            .answers("/v1/card-accounts/card-1", json!({ "cardAccount": card }))
            .await;
        scene
            .answers("/v1/card-accounts/card-1/balances", balances)
            .await;
        scene
            .answers("/v1/card-accounts/card-1/transactions", transactions)
            .await;

        let what = format!("{quoted:?} by {at}");
        let csv = scene.printed(&["transactions", "card-1", "--card"], &[&entry]);
        assert_eq!(csv[0]["amount"], "-80.00", "{what}");
        assert_eq!(csv[0]["running_total"], "-80.00", "{what}");
        let csv = scene.printed(&["balances", "card-1", "--card"], &[&balance]);
        assert_eq!(csv[0]["amount"], "-80.00", "{what}");
        let (json, _) = scene.rows(&["balances", "card-1", "--card"]);
        assert_eq!(
            json[0].get("debitAccounting"),
            quoted.map(Value::from).as_ref(),
            "{what}"
        );

        // The copy has it with the account, from run to run.
        for _ in 0..2 {
            let copy = Box::pin(scene.sync()).await;
            let copied = copy.accounts("bank-b").await.unwrap();
            let CopiedDetails::Card(details) = &copied[0].details else {
                panic!("{copied:?}")
            };
            assert_eq!(details.debit_accounting, quoted, "{what}");
        }
    }
}
