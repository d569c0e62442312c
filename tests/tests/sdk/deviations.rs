//! Answers that deviate from the standard: read as far as the policy of reading goes, and what deviates is told beside them,
//! on the terminal and in the log, without content. Over real mutual TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bank_client::aggregator::Aggregator;
use bank_client::environment::SystemRandomness;
use bank_client::sync::{LocalCopy, Period, Synchroniser};
use bank_client::vault::{Key, Vault};
use bank_client::{AccountInformation, Deviations, Entry, Outcome};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use shared_types::xs2a::transaction::Transaction;
use tests::consent_requests::since;
use tests::log_capture::LogCapture;
use tests::lone_bank::{ScriptedBank, well};
use tests::programs::{both, own};
use tests::sdk::BANK_B;

/// A bank that gives these answers, one after the other, and what a consent opens there.
async fn bank(answers: impl IntoIterator<Item = Value>) -> (ScriptedBank, AccountInformation) {
    let bank = ScriptedBank::start(answers.into_iter().map(well)).await;
    let reading = bank.lone.builder().build().unwrap().with_consent("c");
    (bank, reading)
}

fn money(amount: &str) -> Value {
    json!({ "currency": "EUR", "amount": amount })
}

fn entry(id: &str) -> Value {
    json!({
        "transactionId": id, "bookingDate": "2026-11-27", "valueDate": "2026-11-27", "transactionAmount": money("-1.00"),
        "creditorName": "Shop",
    })
}

fn page(booked: &[Value]) -> Value {
    json!({ "transactions": { "booked": booked, "pending": [], "_links": { "account": { "href": "/v1/accounts/a" } } } })
}

fn told(deviations: &Deviations) -> Vec<(&str, Outcome)> {
    let told = deviations.iter();
    told.map(|deviation| (deviation.path.as_str(), deviation.outcome))
        .collect()
}

async fn booked(reading: &AccountInformation) -> (Vec<Transaction>, Deviations) {
    let mut entries = reading.transactions("a", &since());
    let mut booked = Vec::new();
    while let Some(entry) = entries.try_next().await.unwrap() {
        match entry {
            Entry::Booked(entry) | Entry::Pending(entry) => booked.push(entry),
        }
    }
    (booked, entries.deviations())
}

#[tokio::test]
async fn an_id_of_96_characters_is_read_whole() {
    let id = "A".repeat(96);
    let (_bank, reading) = bank([page(&[entry(&id)])]).await;
    let (booked, _) = booked(&reading).await;
    assert_eq!(booked[0].transaction_id.as_ref().unwrap().as_str(), id);
}

#[tokio::test]
async fn a_partial_exchange_rate_is_left_out_and_its_entry_kept() {
    let mut abroad = entry("t3");
    abroad["currencyExchange"] = json!([{ "sourceCurrency": "USD", "exchangeRate": "0.9771505376", "targetCurrency": "EUR" }]);
    let (_bank, reading) = bank([page(&[abroad])]).await;
    let (booked, deviations) = booked(&reading).await;
    assert_eq!(booked[0].creditor_name.as_ref().unwrap().as_str(), "Shop");
    assert_eq!(booked[0].currency_exchange, None);
    assert_eq!(deviations.left_out(), 0);
    assert_eq!(deviations.total(), 1);
    assert_eq!(deviations.iter().next().unwrap().bank, "Bank B");
}

#[tokio::test]
async fn a_time_without_offset_is_taken_as_utc() {
    let balance = json!({
        "balanceType": "interimBooked", "balanceAmount": money("1000.00"), "lastChangeDateTime": "2026-11-28T10:15:30.123",
    });
    let (_bank, reading) = bank([json!({ "balances": [balance] })]).await;
    let balances = reading.balances("a").await.unwrap();
    let changed = balances.balances[0].last_change_date_time.unwrap();
    assert_eq!(changed.to_rfc3339(), "2026-11-28T10:15:30.123+00:00");
    let expected = [("balances[0].lastChangeDateTime", Outcome::Kept)];
    assert_eq!(told(&balances.deviations), expected);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_left_out_of_streams_alone_and_counted() {
    let mut odd = entry("2");
    odd["transactionAmount"]["amount"] = json!("4711,00");
    let list = json!({ "accounts": [{ "resourceId": "a", "currency": "EUR" }, { "resourceId": "b", "currency": "euro" }] });
    let pages = [page(&[entry("1"), odd.clone()]), page(&[entry("1"), odd])];
    let (_bank, reading) = bank([pages[0].clone(), list, pages[1].clone()]).await;
    let (booked, deviations) = booked(&reading).await;
    assert_eq!(booked.len(), 1);
    let entry = (
        "transactions.booked[1].transactionAmount",
        Outcome::ElementLeftOut,
    );
    assert_eq!(told(&deviations), [entry]);
    assert_eq!(deviations.left_out(), 1);

    // So it is where many are asked, with the accounts that could not be read.
    let mut all = Aggregator::builder()
        .member(reading)
        .build()
        .transactions(&since());
    let read = all
        .by_ref()
        .map(|item| item.outcome.unwrap())
        .collect::<Vec<_>>();
    assert_eq!(read.await.len(), 1);
    let account = ("accounts[1].currency", Outcome::ElementLeftOut);
    assert_eq!(told(&all.deviations()), [account, entry]);
    let text = all
        .deviations()
        .iter()
        .map(ToString::to_string)
        .collect::<String>();
    assert!(!text.contains("4711") && !text.contains("euro"), "{text}");
}

#[tokio::test]
async fn what_is_in_another_currency_is_kept_and_told() {
    let other = json!({ "currency": "USD", "amount": "1.00" });
    let balance = json!({ "balanceType": "expected", "balanceAmount": other });
    let mut abroad = entry("1");
    abroad["transactionAmount"] = other.clone();
    let mut after = entry("2");
    after["balanceAfterTransaction"] = balance.clone();
    let list =
        json!({ "accounts": [{ "resourceId": "a", "currency": "EUR", "balances": [balance] }] });
    let entries =
        json!({ "transactions": { "booked": [after], "pending": [abroad], "_links": {} } });
    let balances = json!({ "account": { "currency": "USD" }, "balances": [balance] });
    let (_bank, reading) = bank([list, entries, balances]).await;
    let kept = |path| (path, Outcome::Kept);
    let accounts = reading.accounts(true).await.unwrap();
    assert_eq!(
        told(&accounts.deviations),
        [kept("accounts[0].balances[0].balanceAmount.currency")]
    );
    let (booked, deviations) = booked(&reading).await;
    assert_eq!(booked.len(), 2);
    assert_eq!(
        told(&deviations),
        [
            kept("transactions.pending[0].transactionAmount.currency"),
            kept("transactions.booked[0].balanceAfterTransaction.balanceAmount.currency"),
        ]
    );
    let balances = reading.balances("a").await.unwrap();
    assert_eq!(balances.balances.len(), 1);
    assert_eq!(told(&balances.deviations), [kept("account.currency")]);
}

#[tokio::test]
async fn deviations_are_an_event_of_the_log_without_content() {
    let mut odd = entry("1");
    odd["purposeCode"] = json!({ "secret": "4711" });
    let (_bank, reading) = bank([page(&[odd])]).await;
    let log = LogCapture::start();
    booked(&reading).await;
    let log = log.text();
    assert!(
        log.contains("deviates from the standard")
            && log.contains("transactions.booked[].purposeCode"),
        "{log}"
    );
    assert!(!log.contains("4711") && !log.contains("secret"), "{log}");
}

async fn copy(folder: &tempfile::TempDir) -> LocalCopy {
    let key = Key::from_bytes([7; 32]);
    let vault = Vault::new(&key, "copy", std::sync::Arc::new(SystemRandomness)).unwrap();
    LocalCopy::open(folder.path().join("copy.db"), vault)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_run_without_a_balance_that_the_bank_gave_is_not_complete() {
    let odd = json!({ "balanceType": "expected", "balanceAmount": { "currency": "EUR", "amount": "many" } });
    let account = json!({
        "resourceId": "a", "currency": "EUR", "balances": [odd], "_links": { "transactions": { "href": "/" } },
    });
    let accounts = json!({ "accounts": [account] });
    let answers = [accounts, json!({ "cardAccounts": [] }), page(&[entry("1")])];
    let (_bank, reading) = bank(answers).await;
    let folder = tempfile::tempdir().unwrap();
    let copy = copy(&folder).await;
    let sync = Synchroniser::new(&copy, "bank-b");
    let report = sync.run(&reading, |_| ()).await.unwrap();
    let path = "accounts[0].balances[0].balanceAmount";
    assert_eq!(
        told(&report.all_deviations()),
        [(path, Outcome::ElementLeftOut)]
    );
    assert!(!report.is_complete());
    assert_eq!(report.new_entries(), 1);
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_not_gone_from_the_copy() {
    let account = |id: &str, currency: &str| json!({ "resourceId": id, "name": id, "currency": currency, "balances": [], "_links": { "transactions": { "href": "/" } } });
    let list = |second: &str| json!({ "accounts": [account("a", "EUR"), account("b", second)] });
    let cards = json!({ "cardAccounts": [] });
    let long = "x".repeat(200);
    let mut wordy = entry("1");
    wordy["creditorName"] = json!(long);
    let pages = || [page(&[wordy.clone()]), page(&[entry("2")])];
    let first = [list("EUR"), cards.clone()].into_iter().chain(pages());
    let second = [list("euro"), cards, page(&[wordy.clone()])];
    let (_bank, reading) = bank(first.chain(second)).await;

    let folder = tempfile::tempdir().unwrap();
    let copy = copy(&folder).await;
    let sync = Synchroniser::new(&copy, "bank-b");
    let report = sync.run(&reading, |_| ()).await.unwrap();
    assert!(report.is_complete());
    assert_eq!(told(&report.all_deviations()).len(), 1);
    let report = sync.run(&reading, |_| ()).await.unwrap();
    assert_eq!(report.gone_accounts, 0);
    assert!(!report.is_complete());
    assert_eq!(report.deviations.left_out(), 1);
    let accounts = copy.accounts("bank-b").await.unwrap();
    assert_eq!(accounts.len(), 2);
    assert!(accounts.iter().all(|account| account.gone.is_none()));
    // What the bank wrote is in the copy as it wrote it.
    let entries = copy.transactions(accounts[0].key, Period::default());
    let entries: Vec<_> = entries.try_collect().await.unwrap();
    let kept = serde_json::to_value(match &entries[0].transaction {
        bank_client::sync::CopiedTransaction::Payment(entry) => entry,
        bank_client::sync::CopiedTransaction::Card(_) => panic!("no card"),
    });
    assert_eq!(kept.unwrap()["creditorName"], long);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_deviations_are_one_line_on_standard_error() {
    let mut odd = entry("1");
    odd["purposeCode"] = json!({ "secret": "4711" });
    let mut unreadable = entry("2");
    unreadable["transactionAmount"]["amount"] = json!("4711,00");
    let pages = [
        page(&[odd.clone(), odd.clone()]),
        page(&[odd.clone(), odd, unreadable]),
    ];
    let (bank, _) = bank(pages).await;
    let pki = &bank.lone.pki;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let mut command = own("bank-client");
    command
        .args(["--url", &format!("https://{}", bank.lone.front)])
        .args(["--organisation", BANK_B, "--name", "Bank B", "--anchors"])
        .arg(file("ca1.pem", &pki.ca1.root_pem().unwrap()))
        .arg("--certificate")
        .arg(file("qwac.pem", &pki.bank_a.qwac.chain_pem))
        .arg("--key")
        .arg(file("qwac.key", &pki.bank_a.qwac.key_pem))
        .args(["--json", "transactions", "--consent", "c", "a"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", both(&output));
    let errors = String::from_utf8_lossy(&output.stderr);
    let line =
        "Bank B deviates from the standard: 2 fields ignored (transactions.booked[].purposeCode)";
    assert!(errors.lines().any(|told| told == line), "{errors}");
    assert!(!both(&output).contains("4711"), "{}", both(&output));
    let entries: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(entries.as_array().unwrap().len(), 2);

    // What is missing makes the answer incomplete.
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", both(&output));
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = "Bank B deviates from the standard: 1 entry ignored (transactions.booked[].transactionAmount), \
                2 fields ignored (transactions.booked[].purposeCode); the list is incomplete: \
                report this to the bank";
    assert!(errors.lines().any(|told| told == line), "{errors}");
    let entries: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(entries.as_array().unwrap().len(), 2);
}
