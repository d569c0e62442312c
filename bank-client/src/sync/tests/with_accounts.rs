//! What becomes of accounts and balances from run to run, at a mock bank whose accounts change.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt as _;
use shared_types::money::{Amount, Currency};
use tempfile::TempDir;

use super::super::*;
use crate::environment::{Clock as _, ManualClock, SystemRandomness};
use crate::error::ErrorKind;
use crate::test_util::{MockAccount, MockBank, Mood};
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

    /// A run against a bank that has these accounts by now, a day after the one before; and when it was.
    async fn run(&self, accounts: &[MockAccount]) -> (Report, DateTime<Utc>) {
        let mock = MockBank::with_accounts(accounts.to_vec()).await;
        let report = self.run_at(&mock).await.unwrap();
        assert!(report.is_complete(), "{report:?}");
        (report, self.clock.now())
    }

    async fn run_at(&self, mock: &MockBank) -> Result<Report, SyncError> {
        self.clock.advance(TimeDelta::days(1));
        let clock = Arc::<ManualClock>::clone(&self.clock);
        let bank = mock.builder().clock(clock).build().unwrap();
        let under = bank.with_consent(mock.consent_id());
        Synchroniser::new(&self.copy, "bank")
            .run(&under, |_| ())
            .await
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

    // One more under the same number, and first in the list, takes nothing from the one that is known.
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

    // Another number and another id: nothing says that it is the same. The old one stays, with all it had.
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
                Mood::Broken
            } else {
                Mood::Happy
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
    mock.once(Mood::Broken);
    let report = scene.run_at(&mock).await.unwrap();
    assert_eq!((report.failures.len(), report.gone_accounts), (1, 0));
    assert!(!report.is_complete() && report.accounts.is_empty());
    mock.turns(Mood::Broken);
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
    let elsewhere = LocalCopy::open(&path, vault()).await.unwrap();
    assert!(elsewhere.claim("bank").unwrap().is_none());
    assert!(elsewhere.claim("another bank").unwrap().is_some());
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
    let mock = MockBank::with_accounts(accounts(accounts::MOST_ACCOUNTS)).await;
    assert_eq!(scene.run_at(&mock).await.unwrap().new_accounts, 1000);
    let mock = MockBank::with_accounts(accounts(accounts::MOST_ACCOUNTS + 1)).await;
    let report = scene.run_at(&mock).await.unwrap();
    let limit = accounts::MOST_ACCOUNTS;
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
