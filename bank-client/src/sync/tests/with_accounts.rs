//! Accounts and balances from run to run, at a mock bank whose accounts change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use shared_types::environment::{Clock as _, ManualClock, SystemRandomness};
use shared_types::xs2a::money::{Amount, Currency};
use tempfile::TempDir;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::super::*;
use crate::bank::BankBuilder;
use crate::error::ErrorKind;
use crate::test_util::{MockAccount, MockBank, MockBehaviour};
use crate::vault::{Key, Vault};

fn vault() -> Vault {
    let key = Key::from_bytes([1; 32]);
    Vault::new(&key, "copy", Arc::new(SystemRandomness)).unwrap()
}

struct Scene {
    copy: LocalCopy,
    clock: Arc<ManualClock>,
    folder: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copy = LocalCopy::open(folder.path().join("copy.db"), vault())
            .await
            .unwrap();
        let start = "2026-02-01T12:00:00Z".parse().unwrap();
        Self {
            copy,
            clock: Arc::new(ManualClock::at(start)),
            folder,
        }
    }

    /// A run against a bank that has these accounts by now, a day after the one before; and when it
    /// was.
    async fn run(&self, accounts: &[MockAccount]) -> (Report, DateTime<Utc>) {
        let mock = MockBank::with_accounts(accounts.to_vec()).await;
        let report = self.run_at(&mock).await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        (report, self.clock.now())
    }

    async fn run_at(&self, mock: &MockBank) -> Result<Report, SyncError> {
        self.run_under(mock.builder(), mock.consent_id(), None)
            .await
    }

    /// The same under that consent, at a bank that tells what is new in that way.
    async fn run_under(
        &self,
        bank: BankBuilder,
        consent: &str,
        delta: Option<Delta>,
    ) -> Result<Report, SyncError> {
        self.clock.advance(TimeDelta::days(1));
        let clock = Arc::<ManualClock>::clone(&self.clock);
        let under = bank.clock(clock).build().unwrap().with_consent(consent);
        Synchroniser::new(&self.copy, "bank")
            .delta(delta)
            .run(&under, |_| ())
            .await
    }

    /// What an account's entries are about, the newest first.
    async fn about(&self, account: AccountKey) -> Vec<String> {
        let entries = self.copy.transactions(account, Period::default());
        let about = entries.map_ok(|entry| match entry.transaction {
            CopiedTransaction::Payment(transaction) => {
                let text = transaction.remittance_information_unstructured;
                text.unwrap().as_str().to_owned()
            }
            CopiedTransaction::Card(transaction) => {
                transaction.transaction_details.unwrap().as_str().to_owned()
            }
        });
        about.try_collect().await.unwrap()
    }

    async fn accounts(&self) -> Vec<CopiedAccount> {
        self.copy.accounts("bank").await.unwrap()
    }

    async fn transactions(&self, account: &CopiedAccount) -> usize {
        let entries = self.copy.transactions(account.key, Period::default());
        entries.try_collect::<Vec<_>>().await.unwrap().len()
    }

    /// All that was said of its balances: since when, whether it still is, and the amount.
    async fn history(&self, account: AccountKey) -> Vec<(DateTime<Utc>, bool, String)> {
        let said = self.copy.balance_history(account).map_ok(|said| {
            let amount = said.balance.balance_amount.to_string();
            (said.at, said.current, amount)
        });
        said.try_collect().await.unwrap()
    }

    async fn current(&self, account: AccountKey) -> Vec<String> {
        let said = self.copy.balances(account).await.unwrap();
        said.iter()
            .map(|said| said.balance.balance_amount.to_string())
            .collect()
    }
}

fn id(account: &CopiedAccount) -> &str {
    match &account.details {
        CopiedDetails::Payment(details) => details.resource_id.as_deref().unwrap(),
        CopiedDetails::Card(_) => panic!("a card's"),
    }
}

/// A bank that answers each path as it is told, with the query or without, and knows no others.
struct Scripted {
    server: MockServer,
    answers: Arc<Mutex<HashMap<String, (u16, Value)>>>,
}

impl Scripted {
    async fn set() -> Self {
        let answers: Arc<Mutex<HashMap<String, (u16, Value)>>> = Arc::default();
        let told = Arc::clone(&answers);
        let answer = move |request: &Request| {
            let answers = told.lock().unwrap();
            let unknown = refusal(404, "RESOURCE_UNKNOWN");
            let path = request.url.path();
            let query = request.url.query().unwrap_or_default();
            let answer = answers.get(&format!("{path}?{query}"));
            let (status, body) = answer.or_else(|| answers.get(path)).unwrap_or(&unknown);
            let id = request.headers.get("x-request-id").unwrap().as_bytes();
            ResponseTemplate::new(*status)
                .set_body_json(body)
                .insert_header("X-Request-ID", id)
        };
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        Self { server, answers }
    }

    fn says(&self, path: &str, (status, body): (u16, Value)) {
        let mut answers = self.answers.lock().unwrap();
        answers.insert(path.to_owned(), (status, body));
    }

    /// These are its payment accounts.
    fn lists(&self, accounts: &Value) {
        self.says("/v1/accounts", (200, json!({ "accounts": accounts })));
    }

    /// Of the account of that id, it lists one transaction, about that.
    fn has(&self, id: &str, about: &str) {
        let entry = json!({
            "entryReference": about, "bookingDate": "2026-01-20",
            "remittanceInformationUnstructured": about,
            "transactionAmount": { "currency": "EUR", "amount": "1.00" },
        });
        let page = json!({ "booked": [entry], "pending": [], "_links": {} });
        let path = format!("/v1/accounts/{id}/transactions");
        self.says(&path, (200, json!({ "transactions": page })));
    }

    /// Of the account of that id, it lists no transactions.
    fn has_none(&self, id: &str) {
        let page = json!({ "booked": [], "pending": [], "_links": {} });
        let path = format!("/v1/accounts/{id}/transactions");
        self.says(&path, (200, json!({ "transactions": page })));
    }

    fn builder(&self) -> BankBuilder {
        let organisation = "PSDXX-MOCK-1".parse().unwrap();
        BankBuilder::mock(*self.server.address(), organisation).name("Mock Bank")
    }

    /// What it was asked.
    async fn asked(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        let of = |request: &Request| {
            let query = request.url.query().unwrap_or_default();
            format!("{}?{query}", request.url.path())
        };
        requests.iter().map(of).collect()
    }
}

fn refusal(status: u16, code: &str) -> (u16, Value) {
    let message = json!({ "category": "ERROR", "code": code });
    (status, json!({ "tppMessages": [message] }))
}

const ANNAS: &str = "DE02120300000000202051";
const BENS: &str = "DE02500105170137075030";

/// An account with that number, and no balances.
fn listed(id: &str, iban: &str) -> Value {
    json!({ "resourceId": id, "iban": iban, "currency": "EUR", "balances": [] })
}

fn closing(amount: &str, day: &str) -> Value {
    json!({
        "balanceType": "closingBooked", "referenceDate": day,
        "balanceAmount": { "currency": "EUR", "amount": amount },
    })
}

/// The two sample accounts.
fn sample() -> [MockAccount; 2] {
    MockBank::sample_accounts().try_into().unwrap()
}

#[tokio::test]
async fn an_account_that_vanishes_stays_marked_and_is_known_when_it_comes_back() {
    let scene = Scene::set().await;
    let [current, savings] = sample();
    let (report, first) = scene.run(&[current.clone(), savings.clone()]).await;
    assert_eq!((report.new_accounts, report.gone_accounts), (2, 0));
    let before = scene.accounts().await;
    assert!(before.iter().all(|account| account.gone.is_none()));

    // The bank lists the other one first, too: that one is left.
    let (report, vanished) = scene.run(std::slice::from_ref(&savings)).await;
    assert_eq!((report.new_accounts, report.gone_accounts), (0, 1));
    assert_eq!(report.accounts.len(), 1, "it is not asked for");
    let after = scene.accounts().await;
    assert_eq!(
        after.iter().map(id).collect::<Vec<_>>(),
        ["savings", "current"],
        "at the end"
    );
    let gone = &after[1];
    assert_eq!(gone.gone, Some(vanished));
    assert_eq!((gone.key, gone.synced), (before[0].key, Some(first)));
    assert_eq!(after[0].gone, None);
    assert_eq!(scene.transactions(gone).await, 4);
    assert_eq!(scene.current(gone.key).await.len(), 2);

    // It has been gone since then.
    let (report, _) = scene.run(std::slice::from_ref(&savings)).await;
    assert_eq!(report.gone_accounts, 0);
    assert_eq!(scene.accounts().await[1].gone, Some(vanished));

    let (report, _) = scene.run(&[current, savings]).await;
    assert_eq!((report.new_accounts, report.gone_accounts), (0, 0));
    assert_eq!(report.new_entries(), 0);
    let back = scene.accounts().await;
    assert_eq!((id(&back[0]), back[0].gone), ("current", None));
    assert_eq!((back[0].key, back[0].first_seen), (before[0].key, first));
}

#[tokio::test]
async fn an_account_with_another_id_is_the_same_and_one_with_another_number_is_not() {
    let scene = Scene::set().await;
    let [mut current, mut savings] = sample();
    scene.run(&[current.clone(), savings.clone()]).await;
    let before = scene.accounts().await;

    // Another consent, other ids.
    current.details.resource_id = Some("A1".to_owned());
    savings.details.resource_id = Some("A2".to_owned());
    let (report, _) = scene.run(&[savings.clone(), current.clone()]).await;
    assert_eq!((report.new_accounts, report.gone_accounts), (0, 0));
    assert_eq!(report.new_entries(), 0);
    let after = scene.accounts().await;
    assert_eq!(after.iter().map(id).collect::<Vec<_>>(), ["A2", "A1"]);
    assert_eq!((after[0].key, after[1].key), (before[1].key, before[0].key));

    // One more under the same number, and first in the list, takes nothing from the one that is
    // known.
    let mut twin = savings.clone();
    twin.details.resource_id = Some("A0".to_owned());
    twin.balances.clear();
    twin.booked.clear();
    let (report, _) = scene
        .run(&[twin.clone(), savings.clone(), current.clone()])
        .await;
    assert_eq!((report.new_accounts, report.gone_accounts), (1, 0));
    assert_eq!(scene.accounts().await[1].key, before[1].key);

    // Nor is one in another currency, under that IBAN, the one that has gone.
    let mut dollars = twin.clone();
    dollars.details.resource_id = Some("A3".to_owned());
    dollars.details.currency = "USD".parse().unwrap();
    let (report, _) = scene
        .run(&[dollars, savings.clone(), current.clone()])
        .await;
    assert_eq!((report.new_accounts, report.gone_accounts), (1, 1));

    // Another number and another id: nothing says that it is the same. The old one stays, with all
    // it had.
    current.details.resource_id = Some("A4".to_owned());
    current.details.iban = "DE88100900001234567892".parse().ok();
    assert!(current.details.iban.is_some());
    let (report, renumbered) = scene.run(&[savings, current]).await;
    assert_eq!((report.new_accounts, report.gone_accounts), (1, 2));
    assert_eq!(report.new_entries(), 4);
    let all = scene.accounts().await;
    let of = |wanted: &str| all.iter().find(|account| id(account) == wanted).unwrap();
    assert_eq!(all.len(), 5);
    assert_eq!(of("A4").first_seen, renumbered);
    assert_eq!((of("A4").gone, of("A2").gone), (None, None));
    assert_eq!(of("A1").gone, Some(renumbered));
    assert_eq!(of("A1").key, before[0].key);
    assert_eq!(scene.transactions(of("A1")).await, 4);
    assert_eq!(scene.transactions(of("A4")).await, 4);
}

#[tokio::test]
async fn each_change_of_a_balance_is_kept_with_its_time() {
    let scene = Scene::set().await;
    let [mut account, _] = sample();
    let euros = |amount: &str| Amount::parse(amount, Currency::EUR).unwrap();
    let (report, first) = scene.run(std::slice::from_ref(&account)).await;
    assert_eq!(report.balances_changed, 2);
    let key = report.accounts[0].account;

    let (report, _) = scene.run(std::slice::from_ref(&account)).await;
    assert_eq!(report.balances_changed, 0, "it says the same");

    account.balances[0].balance_amount = euros("7.00");
    let (report, second) = scene.run(std::slice::from_ref(&account)).await;
    assert_eq!(report.balances_changed, 1);

    // Back to what it was: that is a change as well.
    account.balances[0].balance_amount = euros("1480.10");
    let (report, third) = scene.run(std::slice::from_ref(&account)).await;
    assert_eq!(report.balances_changed, 1);
    assert_eq!(scene.current(key).await, ["1460.20 EUR", "1480.10 EUR"]);

    // One that the bank gives no more is current no more.
    account.balances.pop();
    let (report, _) = scene.run(std::slice::from_ref(&account)).await;
    assert_eq!(report.balances_changed, 0);
    assert_eq!(scene.current(key).await, ["1480.10 EUR"]);

    let history = scene.history(key).await;
    let expected = [
        (first, false, "1460.20 EUR"),
        (first, false, "1480.10 EUR"),
        (second, false, "7.00 EUR"),
        (third, true, "1480.10 EUR"),
    ];
    let expected = expected.map(|(at, current, amount)| (at, current, amount.to_owned()));
    assert_eq!(history, expected);
}

#[tokio::test]
async fn an_account_that_fails_is_named_and_the_others_are_read() {
    for (failing, other) in [(0, 1), (1, 0)] {
        let scene = Scene::set().await;
        let mock = MockBank::happy().await;
        // The two lists of accounts, then each account.
        for number in 0..4 {
            mock.once(if number == 2 + failing {
                MockBehaviour::Broken
            } else {
                MockBehaviour::Happy
            });
        }
        let report = scene.run_at(&mock).await.unwrap();
        assert!(!report.is_complete());
        assert!(report.failures.is_empty());
        let (failed, read) = (&report.accounts[failing], &report.accounts[other]);
        let Some(SyncError::Bank(error)) = &failed.failure else {
            panic!("{report:?}")
        };
        assert!(matches!(error.kind, ErrorKind::Status { status: 503, .. }));
        assert!(read.failure.is_none());
        let copied = scene.accounts().await;
        assert_eq!(failed.account, copied[failing].key);
        assert_eq!(read.account, copied[other].key);
        assert_eq!(copied[failing].synced, None);
        assert_eq!(copied[other].synced, Some(scene.clock.now()));
        assert_eq!(scene.transactions(&copied[failing]).await, 0);
        let here = scene.transactions(&copied[other]).await;
        assert_eq!(here, [4, 1][other]);
        assert!(!scene.current(failed.account).await.is_empty());

        // The next run makes up for it.
        let report = scene.run_at(&mock).await.unwrap();
        assert!(report.is_complete());
        assert_eq!(report.accounts[failing].new, [4, 1][failing]);
        assert_eq!(report.accounts[other].new, 0);
    }
}

#[tokio::test]
async fn a_list_of_accounts_that_fails_leaves_what_is_known_of_its_kind() {
    let scene = Scene::set().await;
    let mock = MockBank::happy().await;
    scene.run_at(&mock).await.unwrap();
    let before = scene.accounts().await;

    // The list of payment accounts, and that of cards.
    mock.once(MockBehaviour::Broken);
    let report = scene.run_at(&mock).await.unwrap();
    assert_eq!((report.failures.len(), report.gone_accounts), (1, 0));
    assert!(!report.is_complete() && report.accounts.is_empty());
    mock.turns(MockBehaviour::Broken);
    assert!(matches!(scene.run_at(&mock).await, Err(SyncError::Bank(_))));
    assert_eq!(scene.accounts().await, before);
}

#[tokio::test]
async fn of_two_runs_for_one_connection_the_first_goes_on() {
    let scene = Scene::set().await;
    let mock = MockBank::happy().await;
    let path = scene.folder.path().join("copy.db");
    let claim = scene.copy.claim("bank").unwrap().unwrap();
    let busy = scene.run_at(&mock).await.unwrap_err();
    assert!(
        matches!(&busy, SyncError::Busy { key } if key == "bank"),
        "{busy}"
    );
    assert!(mock.asked().await.is_empty());
    // As another program sees it.
    let other_copy = LocalCopy::open(&path, vault()).await.unwrap();
    assert!(other_copy.claim("bank").unwrap().is_none());
    assert!(other_copy.claim("another bank").unwrap().is_some());
    drop(claim);
    assert!(scene.run_at(&mock).await.unwrap().is_complete());
}

#[tokio::test]
async fn more_accounts_than_can_be_kept_are_refused() {
    let scene = Scene::set().await;
    let accounts = |number| {
        let account = |number: usize| {
            let mut account = MockBank::sample_accounts().remove(1);
            account.details.resource_id = Some(format!("a-{number}"));
            account.details.iban = None;
            account.booked.clear();
            account
        };
        (0..number).map(account).collect()
    };
    let mock = MockBank::with_accounts(accounts(accounts::MAX_ACCOUNTS)).await;
    assert_eq!(scene.run_at(&mock).await.unwrap().new_accounts, 1000);
    let mock = MockBank::with_accounts(accounts(accounts::MAX_ACCOUNTS + 1)).await;
    let report = scene.run_at(&mock).await.unwrap();
    let limit = accounts::MAX_ACCOUNTS;
    assert_eq!(report.failures[0].kind, ErrorKind::TooMany { limit });
    assert_eq!(scene.accounts().await.len(), 1000);
}

#[tokio::test]
async fn a_run_that_has_no_time_asks_for_nothing() {
    let scene = Scene::set().await;
    let mock = MockBank::happy().await;
    let bank = mock.builder().build().unwrap();
    let under = bank.with_consent(mock.consent_id());
    let run = Synchroniser::new(&scene.copy, "bank").deadline(Duration::ZERO);
    let Err(SyncError::Bank(late)) = run.run(&under, |_| ()).await else {
        panic!("it was read")
    };
    let limit = Duration::ZERO;
    assert_eq!(late.kind, ErrorKind::Timeout { limit });
    assert_eq!(late.bank, bank.name());
}

#[tokio::test]
async fn an_id_that_is_used_again_in_another_consent_mixes_no_accounts() {
    let scene = Scene::set().await;
    let bank = Scripted::set().await;
    let run = async |consent: &str| {
        let report = scene
            .run_under(bank.builder(), consent, None)
            .await
            .unwrap();
        assert!(report.is_complete(), "{report:?}");
        report
    };
    bank.lists(&json!([listed("1", ANNAS), listed("2", BENS)]));
    bank.has("1", "Anna");
    bank.has("2", "Ben");
    let first = run("first").await;
    let [annas, bens] = [0, 1].map(|place| first.accounts[place].account);

    bank.lists(&json!([listed("1", BENS)]));
    bank.has("1", "Ben");
    let second = run("second").await;
    assert_eq!((second.new_accounts, second.gone_accounts), (0, 1));
    assert_eq!(second.accounts[0].account, bens);
    assert_eq!((second.accounts[0].new, second.accounts[0].removed), (0, 0));
    let expect_both = async || {
        assert_eq!(scene.about(annas).await, ["Anna"]);
        assert_eq!(scene.about(bens).await, ["Ben"]);
    };
    expect_both().await;

    // Against a number, an id is nothing in one consent either.
    bank.lists(&json!([listed("1", ANNAS), listed("2", BENS)]));
    bank.has("1", "Anna");
    run("second").await;
    expect_both().await;
    bank.lists(&json!([listed("2", ANNAS), listed("1", BENS)]));
    bank.has("1", "Ben");
    bank.has("2", "Anna");
    let swapped = run("second").await;
    assert_eq!((swapped.new_accounts, swapped.gone_accounts), (0, 0));
    expect_both().await;

    // Once a number is known, leaving it out does not make way for another one.
    let unnamed = json!({ "resourceId": "2", "currency": "EUR", "balances": [] });
    bank.lists(&json!([unnamed, listed("1", BENS)]));
    let unnamed = run("second").await;
    assert_eq!((unnamed.new_accounts, unnamed.gone_accounts), (0, 0));
    bank.lists(&json!([
        listed("2", "DE88100900001234567892"),
        listed("1", BENS)
    ]));
    bank.has("2", "Carl");
    let third = run("second").await;
    assert_eq!((third.new_accounts, third.gone_accounts), (1, 1));
    expect_both().await;
    assert_eq!(scene.about(third.accounts[0].account).await, ["Carl"]);

    // By the id alone nothing is found under another consent.
    let found = async |consent: &str, id: &str| {
        let under = bank.builder().build().unwrap().with_consent(consent);
        let found = scene.copy.account("bank", &under, false, id).await.unwrap();
        found.map(|account| account.key)
    };
    assert_eq!(found("second", "1").await, Some(bens));
    assert_eq!(found("second", "2").await, Some(third.accounts[0].account));
    assert_eq!(found("third", "1").await, None);
}

#[tokio::test]
async fn accounts_without_numbers_are_mixed_by_no_consent() {
    let scene = Scene::set().await;
    let bank = Scripted::set().await;
    let plain = |id: &str| json!({ "resourceId": id, "currency": "EUR", "balances": [] });
    let card = |id: &str| json!({ "resourceId": id, "maskedPan": "1234********5678", "currency": "EUR", "balances": [] });
    let entry = |about: &str| {
        json!({
            "bookingDate": "2026-01-20", "transactionDetails": about,
            "transactionAmount": { "currency": "EUR", "amount": "1.00" },
        })
    };
    let has = |id: &str, about: &str| {
        bank.has(id, about);
        let page = json!({ "booked": [entry(about)], "pending": [], "_links": {} });
        let path = format!("/v1/card-accounts/{id}/transactions");
        bank.says(&path, (200, json!({ "cardTransactions": page })));
    };
    let lists = |ids: &[&str]| {
        let accounts: Vec<Value> = ids.iter().map(|id| plain(id)).collect();
        bank.lists(&json!(accounts));
        let cards: Vec<Value> = ids.iter().map(|id| card(id)).collect();
        bank.says("/v1/card-accounts", (200, json!({ "cardAccounts": cards })));
    };
    let run = async |consent: &str| {
        let report = scene
            .run_under(bank.builder(), consent, None)
            .await
            .unwrap();
        assert!(report.is_complete(), "{report:?}");
        report
    };
    lists(&["1"]);
    has("1", "Anna");
    run("first").await;
    // There is one before and one now.
    lists(&["7"]);
    has("7", "Anna");
    let again = run("second").await;
    assert_eq!((again.new_accounts, again.gone_accounts), (0, 0));
    // Which of two it is cannot be known.
    lists(&["7", "2"]);
    has("7", "Ben");
    has("2", "Anna");
    let two = run("third").await;
    assert_eq!((two.new_accounts, two.gone_accounts), (4, 2));
    for account in scene.accounts().await {
        let about = scene.about(account.key).await;
        assert_eq!(about.len(), 1, "{about:?}");
    }
    // Within their consent the ids are good.
    lists(&["2", "7"]);
    let same = run("third").await;
    assert_eq!((same.new_accounts, same.gone_accounts), (0, 0));

    // A bank that knows no cards all of a sudden has not said that they are gone.
    bank.says("/v1/card-accounts", refusal(404, "RESOURCE_UNKNOWN"));
    let report = scene
        .run_under(bank.builder(), "third", None)
        .await
        .unwrap();
    assert!(!report.is_complete());
    assert_eq!((report.accounts.len(), report.gone_accounts), (2, 0));
}

/// Some banks name their accounts anew in each answer, also under one and the same consent.
#[tokio::test]
async fn accounts_whose_ids_change_at_every_read_are_known_again_where_no_other_can_be_meant() {
    let (scene, bank) = (Scene::set().await, Scripted::set().await);
    let named = |id: &str, name: &str| json!({ "resourceId": id, "name": name, "currency": "EUR", "balances": [] });
    let lists = |round: u32, names: &[&str]| {
        let mut accounts = vec![listed(&format!("iban-{round}"), ANNAS)];
        bank.has(&format!("iban-{round}"), "Anna");
        for (place, name) in names.iter().enumerate() {
            let id = format!("{place}-{round}");
            accounts.push(named(&id, name));
            bank.has(&id, name);
        }
        bank.lists(&json!(accounts));
    };
    let run = async || {
        let report = scene.run_under(bank.builder(), "consent", None).await;
        let report = report.unwrap();
        assert!(report.is_complete(), "{report:?}");
        (
            report.new_accounts,
            report.gone_accounts,
            report.new_entries(),
        )
    };
    for (round, expected) in [(1, (3, 0, 3)), (2, (0, 0, 0)), (3, (0, 0, 0))] {
        lists(round, &["Savings", "Holidays"]);
        assert_eq!(run().await, expected, "{round}");
    }
    // Which of two alike it is cannot be known; the others are known still.
    lists(4, &["Savings", "Holidays", "Savings"]);
    assert_eq!(run().await, (2, 1, 2));
}

#[tokio::test]
async fn a_bank_that_refuses_balances_along_with_accounts_gives_the_accounts() {
    for (status, code) in [
        (400, "PARAMETER_NOT_SUPPORTED"),
        (404, "PARAMETER_NOT_SUPPORTED"),
        (409, "PARAMETER_NOT_CONSISTENT"),
        (401, "CONSENT_INVALID"),
    ] {
        let bank = Scripted::set().await;
        let account = json!({ "resourceId": "1", "iban": ANNAS, "currency": "EUR" });
        let card = json!({ "resourceId": "2", "maskedPan": "1234********5678", "currency": "EUR" });
        for (path, body) in [
            ("/v1/accounts", json!({ "accounts": [account] })),
            ("/v1/accounts/1", json!({ "account": account })),
            ("/v1/card-accounts", json!({ "cardAccounts": [card] })),
            ("/v1/card-accounts/2", json!({ "cardAccount": card })),
        ] {
            let with = format!("{path}?withBalance=true");
            bank.says(&with, refusal(status, code));
            bank.says(path, (200, body));
        }
        let under = bank.builder().build().unwrap().with_consent("consent");
        assert_eq!(under.accounts(true).await.unwrap().len(), 1, "{status}");
        assert_eq!(under.card_accounts(true).await.unwrap().len(), 1);
        assert!(under.account("1", true).await.unwrap().balances.is_none());
        under.card_account("2", true).await.unwrap();
        assert_eq!(bank.asked().await.len(), 8, "{status} {code}");
    }
}

#[tokio::test]
async fn balances_that_fail_are_told_and_those_of_before_keep_their_time() {
    let scene = Scene::set().await;
    let bank = Scripted::set().await;
    let links = json!({ "balances": { "href": "/b" }, "transactions": { "href": "/t" } });
    let account = json!({ "resourceId": "1", "iban": ANNAS, "currency": "EUR", "_links": links });
    bank.lists(&json!([account]));
    bank.has("1", "Anna");
    let path = "/v1/accounts/1/balances";
    bank.says(
        path,
        (200, json!({ "balances": [closing("5.00", "2026-01-31")] })),
    );
    let run = async || {
        scene
            .run_under(bank.builder(), "consent", None)
            .await
            .unwrap()
    };
    let first = run().await;
    assert!(first.is_complete(), "{first:?}");
    let read = scene.clock.now();
    let key = first.accounts[0].account;
    for (fault, code) in [
        (503, "SERVICE_UNAVAILABLE"),
        (400, "FORMAT_ERROR"),
        (401, "CONSENT_INVALID"),
    ] {
        bank.says(path, refusal(fault, code));
        let report = run().await;
        assert!(!report.is_complete(), "{fault}");
        let account = &report.accounts[0];
        assert!(account.failure.is_none(), "{fault}");
        let error = account.balances_failure.as_ref().unwrap();
        assert_eq!(error.code().unwrap().as_str(), code);
        assert_eq!(report.bank_errors().count(), 1);
        let balances = scene.copy.balances(key).await.unwrap();
        assert_eq!((balances.len(), balances[0].read), (1, read), "{fault}");
    }
    bank.says(
        path,
        (200, json!({ "balances": [closing("5.00", "2026-01-31")] })),
    );
    assert!(run().await.is_complete());
    let balances = scene.copy.balances(key).await.unwrap();
    assert_eq!(
        (balances[0].at, balances[0].read),
        (read, scene.clock.now())
    );
}

#[tokio::test]
async fn what_links_leave_out_is_asked_for_unless_the_consent_does_not_open_it() {
    let access = |access: &Value| {
        json!({
            "access": access, "recurringIndicator": true, "validUntil": "2099-12-31",
            "frequencyPerDay": 4, "consentStatus": "valid",
        })
    };
    let links = json!({ "account": { "href": "/a" } });
    let account = json!({ "resourceId": "1", "iban": ANNAS, "currency": "EUR", "_links": links });
    let set = async |given: Option<Value>| {
        let (scene, bank) = (Scene::set().await, Scripted::set().await);
        bank.lists(&json!([account]));
        if let Some(given) = given {
            bank.says("/v1/consents/consent", (200, access(&given)));
        }
        (scene, bank)
    };
    let balances = "/v1/accounts/1/balances";
    let transactions = "/v1/accounts/1/transactions";
    let all = json!({ "allPsd2": "allAccounts" });
    let reference = json!([{ "iban": ANNAS }]);

    // Some banks leave all links out.
    for given in [None, Some(all.clone())] {
        let (scene, bank) = set(given).await;
        bank.has("1", "Anna");
        bank.says(
            balances,
            (200, json!({ "balances": [closing("5.00", "2026-01-31")] })),
        );
        let report = scene
            .run_under(bank.builder(), "consent", None)
            .await
            .unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.new_entries(), 1);
        assert_eq!(
            scene.current(report.accounts[0].account).await,
            ["5.00 EUR"]
        );
    }

    // The consent does not open them: they are not asked for, and nothing is missing.
    let (scene, bank) = set(Some(json!({ "accounts": reference }))).await;
    let report = scene
        .run_under(bank.builder(), "consent", None)
        .await
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
    let done = &report.accounts[0];
    assert!(matches!(
        done.transactions_not_opened,
        Some(NotOpened::ByConsent)
    ));
    assert!(matches!(
        done.balances_not_opened,
        Some(NotOpened::ByConsent)
    ));
    assert_eq!(done.way, None);
    let asked = bank.asked().await;
    assert!(!asked.iter().any(|path| path.contains("/1/")), "{asked:?}");

    // It opens them, or says nothing, and the bank refuses.
    for given in [
        None,
        Some(all),
        Some(json!({ "transactions": reference, "balances": reference })),
    ] {
        let (scene, bank) = set(given.clone()).await;
        bank.says(balances, refusal(401, "CONSENT_INVALID"));
        bank.says(transactions, refusal(403, "SERVICE_BLOCKED"));
        let report = scene
            .run_under(bank.builder(), "consent", None)
            .await
            .unwrap();
        assert!(!report.is_complete(), "{given:?}");
        let done = &report.accounts[0];
        assert!(
            matches!(done.transactions_not_opened, Some(NotOpened::Refused(_))),
            "{report:?}"
        );
        assert!(
            matches!(done.balances_not_opened, Some(NotOpened::Refused(_))),
            "{report:?}"
        );
        assert!(done.failure.is_none() && done.balances_failure.is_none());
    }

    // Where it has links, and the consent does not open them, that is no failure either.
    let (scene, bank) = set(Some(json!({ "balances": reference }))).await;
    let all_links = json!({ "balances": { "href": "/b" }, "transactions": { "href": "/t" } });
    bank.lists(&json!([
        { "resourceId": "1", "iban": ANNAS, "currency": "EUR", "balances": [], "_links": all_links }
    ]));
    bank.says(transactions, refusal(401, "CONSENT_INVALID"));
    let report = scene
        .run_under(bank.builder(), "consent", None)
        .await
        .unwrap();
    assert!(report.is_complete(), "{report:?}");
    let closed = &report.accounts[0].transactions_not_opened;
    assert!(matches!(closed, Some(NotOpened::ByConsent)), "{report:?}");
}

#[tokio::test]
async fn of_several_balances_of_a_kind_the_newest_is_the_first_in_the_copy_too() {
    let scene = Scene::set().await;
    let bank = Scripted::set().await;
    bank.has("1", "Anna");
    let run = async |balances: &Value| {
        bank.lists(&json!([
            { "resourceId": "1", "iban": ANNAS, "currency": "EUR", "balances": balances }
        ]));
        scene
            .run_under(bank.builder(), "consent", None)
            .await
            .unwrap()
    };
    let (old, new) = (closing("1.00", "2026-01-30"), closing("2.00", "2026-01-31"));
    let report = run(&json!([old, new])).await;
    let key = report.accounts[0].account;
    assert_eq!(scene.current(key).await, ["2.00 EUR", "1.00 EUR"]);
    // Another order is no change.
    assert_eq!(run(&json!([new, old])).await.balances_changed, 0);
    assert_eq!(scene.current(key).await, ["2.00 EUR", "1.00 EUR"]);
}

#[tokio::test]
async fn an_account_without_an_id_is_told_and_ends_none() {
    let scene = Scene::set().await;
    let bank = Scripted::set().await;
    bank.lists(&json!([listed("1", ANNAS), listed("2", BENS)]));
    bank.has("1", "Anna");
    bank.has("2", "Ben");
    scene
        .run_under(bank.builder(), "consent", None)
        .await
        .unwrap();
    bank.lists(&json!([listed("1", ANNAS), { "iban": BENS, "currency": "EUR" }]));
    let report = scene
        .run_under(bank.builder(), "consent", None)
        .await
        .unwrap();
    assert!(!report.is_complete());
    assert!(matches!(
        report.failures[0].kind,
        ErrorKind::Malformed { .. }
    ));
    assert_eq!((report.accounts.len(), report.gone_accounts), (1, 0));
}

#[tokio::test]
async fn days_are_counted_in_the_banks_time_zone() {
    for (zone, first) in [(Tz::UTC, "2026-01-22"), (Tz::Europe__Berlin, "2026-01-23")] {
        let (scene, bank) = (Scene::set().await, Scripted::set().await);
        bank.lists(&json!([listed("1", ANNAS)]));
        bank.has_none("1");
        // In Berlin it is the next day.
        scene.clock.advance(TimeDelta::minutes(11 * 60 + 30));
        let clock = Arc::<ManualClock>::clone(&scene.clock);
        let handle = bank.builder().clock(clock).build().unwrap();
        let sync = Synchroniser::new(&scene.copy, "bank").time_zone(zone);
        let under = handle.with_consent("consent");
        sync.history_days(10).run(&under, |_| ()).await.unwrap();
        let asked = bank.asked().await.concat();
        assert!(asked.contains(&format!("dateFrom={first}")), "{asked}");
    }
}

#[tokio::test]
async fn what_was_reported_under_another_consent_is_read_by_its_days() {
    let scene = Scene::set().await;
    let bank = Scripted::set().await;
    bank.lists(&json!([listed("1", ANNAS)]));
    bank.has("1", "Anna");
    let run = async |consent: &str| {
        let delta = Some(Delta::DeltaList);
        let report = scene
            .run_under(bank.builder(), consent, delta)
            .await
            .unwrap();
        assert!(report.is_complete(), "{report:?}");
        report.accounts[0].way.clone().unwrap()
    };
    assert!(matches!(run("first").await, Way::Everything { .. }));
    // Nothing is new.
    bank.has_none("1");
    assert_eq!(run("first").await, Way::AfterLastReport);
    assert!(matches!(run("second").await, Way::Dates { .. }));
    assert_eq!(run("second").await, Way::AfterLastReport);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_number_can_make_the_copy_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let path = folder.path().join(format!("{round}.db"));
        let all = (0..12).map(|_| {
            let path = path.clone();
            tokio::spawn(async move { LocalCopy::open(path, vault()).await })
        });
        for opened in futures::future::join_all(all).await {
            let copy = opened.unwrap().unwrap();
            assert!(copy.connections().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn an_account_whose_names_are_longer_than_the_standard_has_them_is_known_again() {
    let scene = Scene::set().await;
    let bank = Scripted::set().await;
    let long = "x".repeat(71);
    bank.lists(&json!([{
        "resourceId": "1", "iban": ANNAS, "currency": "EUR", "name": long, "product": long,
        "balances": [],
    }]));
    bank.has_none("1");
    let card = json!({
        "resourceId": "c", "maskedPan": "x".repeat(36), "currency": "EUR", "name": long,
        "product": long, "balances": [],
    });
    bank.says(
        "/v1/card-accounts",
        (200, json!({ "cardAccounts": [card] })),
    );
    let page = json!({ "booked": [], "pending": [], "_links": {} });
    let transactions = "/v1/card-accounts/c/transactions";
    bank.says(transactions, (200, json!({ "cardTransactions": page })));
    for new in [2, 0] {
        let report = scene.run_under(bank.builder(), "consent", None).await;
        let report = report.unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!((report.new_accounts, report.gone_accounts), (new, 0));
    }
}

#[tokio::test]
async fn balances_are_left_away_where_the_refusal_may_be_about_them_alone() {
    for (status, code, again) in [
        (400, "FORMAT_ERROR", true),
        (401, "CONSENT_INVALID", true),
        (403, "CONSENT_INVALID", true),
        (422, "FORMAT_ERROR", true),
        (401, "CONSENT_EXPIRED", false),
        (403, "CONSENT_UNKNOWN", false),
        (401, "CERTIFICATE_EXPIRED", false),
        (401, "TOKEN_EXPIRED", false),
        (400, "ACCESS_EXCEEDED", false),
        (405, "SERVICE_INVALID", false),
        (404, "PARAMETER_NOT_SUPPORTED", true),
    ] {
        let (scene, bank) = (Scene::set().await, Scripted::set().await);
        bank.says("/v1/accounts", refusal(status, code));
        let report = scene.run_under(bank.builder(), "consent", None).await;
        assert!(report.is_err(), "{status} {code}");
        let asked = bank.asked().await;
        let of_accounts = asked.iter().filter(|at| at.starts_with("/v1/accounts?"));
        assert_eq!(
            of_accounts.count(),
            1 + usize::from(again),
            "{status} {code}"
        );
    }
}

#[tokio::test]
async fn a_list_that_is_refused_beside_another_one_is_not_opened() {
    let cards = "/v1/card-accounts";
    for (status, code, closed) in [
        (401, "CONSENT_INVALID", true),
        (403, "SERVICE_BLOCKED", true),
        (422, "FORMAT_ERROR", true),
        (401, "ACCESS_EXCEEDED", false),
        (503, "SERVICE_BLOCKED", false),
    ] {
        let (scene, bank) = (Scene::set().await, Scripted::set().await);
        let run = async || {
            let report = scene.run_under(bank.builder(), "consent", None).await;
            report.unwrap()
        };
        bank.lists(&json!([listed("1", ANNAS)]));
        bank.has_none("1");
        bank.says(cards, refusal(status, code));
        let report = run().await;
        assert_eq!(report.is_complete(), closed, "{report:?}");
        assert_eq!(report.lists_not_opened.len(), usize::from(closed));
        assert_eq!(report.failures.len(), usize::from(!closed));

        // What the bank has listed under it, the consent has opened.
        let card =
            json!({ "resourceId": "c", "maskedPan": "1", "currency": "EUR", "balances": [] });
        bank.says(cards, (200, json!({ "cardAccounts": [card] })));
        run().await;
        bank.says(cards, refusal(status, code));
        let report = run().await;
        assert!(!report.is_complete(), "{report:?}");
        assert_eq!((report.failures.len(), report.gone_accounts), (1, 0));
    }
}
