//! A program that synchronises is killed with SIGKILL at random moments, while the bank's books go on: in the end its copy
//! is what the bank has, entry by entry.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bank_client::environment::SystemRandomness;
use bank_client::sync::{CopiedDetails, CopiedTransaction, LocalCopy, Period};
use bank_client::vault::{Key, Vault};
use bank_server::RunningBank;
use chrono::{Days, NaiveDate};
use fixtures::world::Bank;
use futures::TryStreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared_types::xs2a::account::Balance;
use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::transaction::Transaction;
use tempfile::TempDir;
use tests::banks::Banks;
use tests::child_process::ChildProcess;
use tests::ledger::{Ledger, payment, transaction_id};
use tests::programs::own;
use tokio::time::timeout;

/// A random number generator (SplitMix64): the same moments every time.
struct TestRng(u64);

impl TestRng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

struct Scene {
    banks: Banks,
    /// Bank B once more, with short pages: there are more moments between two of them.
    bank: RunningBank,
    ledger: Ledger,
    consent: String,
    accounts: Vec<(String, bool)>,
    folder: TempDir,
    rng: TestRng,
    posted: u64,
}

impl Scene {
    async fn set(delta: Option<&str>, seed: u64) -> Self {
        let banks = Banks::start().await;
        let bank = banks
            .replica_of_b(|config| config.limits.page_size = 20)
            .await;
        let consent = banks.consent(&banks.a_at_b()).approved().await;
        let scene = Self {
            ledger: Ledger::of(&bank),
            accounts: banks
                .accounts_at_b()
                .iter()
                .map(|account| (account.id.to_string(), account.card))
                .collect(),
            banks,
            bank,
            consent,
            folder: tempfile::tempdir().unwrap(),
            rng: TestRng(seed),
            posted: 0,
        };
        scene.write_files(delta);
        scene
    }

    fn write_files(&self, delta: Option<&str>) {
        let write = |name: &str, text: &str| std::fs::write(self.folder.path().join(name), text);
        let pki = &self.banks.sandbox.pki;
        write("qwac.pem", &pki.bank_a.qwac.chain_pem).unwrap();
        write("qwac.key", &pki.bank_a.qwac.key_pem).unwrap();
        write("ca1.pem", &pki.ca1.root_pem().unwrap()).unwrap();
        let b = self.banks.sandbox.bank(Bank::B);
        let delta = delta.map_or_else(String::new, |delta| format!("delta = \"{delta}\""));
        let (address, organisation) = (self.bank.xs2a_address(), &b.organisation);
        let directory = format!(
            "[[banks]]\nid = \"bank-b\"\nname = \"Bank B\"\ncountry = \"FR\"\nurl = \"https://{address}\"\n\
             organisation = \"{organisation}\"\nanchors = [\"ca1.pem\"]\n\n[banks.limits]\nhistory_days = 800\n{delta}\n"
        );
        write("banks.toml", &directory).unwrap();
    }

    fn program(&self, copy: &Path) -> Command {
        let mut command = own("examples/sync");
        let file = |name: &str| self.folder.path().join(name);
        command
            .arg(file("banks.toml"))
            .arg("bank-b")
            .args([file("qwac.pem"), file("qwac.key")])
            .arg(&self.consent)
            .arg(copy)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        command
    }

    fn day(&mut self) -> NaiveDate {
        let ago = self.rng.below(10);
        self.banks.today().checked_sub_days(Days::new(ago)).unwrap()
    }

    /// Some of what happens at a bank.
    async fn happen(&mut self) {
        for _ in 0..=self.rng.below(3) {
            let index = if self.rng.below(3) == 0 { 3 } else { 0 };
            let account = self.accounts[index].0.clone();
            self.posted += 1;
            let id = format!("X{}", self.posted);
            let day = self.day();
            let cents = i64::try_from(self.rng.below(900)).unwrap() - 450;
            let shop = format!("Shop {}", self.rng.below(5));
            let pending = self.pending(&account).await;
            let some = usize::try_from(self.rng.below(8)).unwrap();
            match self.rng.below(8) {
                0..3 => {
                    self.ledger
                        .book(&account, &id, day, payment(cents, &shop))
                        .await;
                }
                3..5 => {
                    self.ledger
                        .add_pending(&account, &id, day, payment(cents, &shop))
                        .await;
                }
                5..7 => {
                    if let Some(known) = pending.get(some) {
                        let new = if some.is_multiple_of(2) { known } else { &id };
                        self.ledger.book_pending(&account, known, new, day).await;
                    }
                }
                _ => {
                    if let Some(known) = pending.get(some) {
                        self.ledger.remove_pending(&account, known).await;
                    }
                }
            }
        }
        let cents = self.rng.below(100_000);
        let account = self.accounts[0].0.clone();
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        self.ledger.set_balance(&account, &amount).await;
    }

    async fn pending(&self, account: &str) -> Vec<String> {
        let entries = self.ledger.entries(account).await;
        let pending = entries.iter().filter(|entry| !entry.is_booked);
        pending
            .map(|entry| transaction_id(&entry.details).to_owned())
            .collect()
    }

    /// Runs the program to its end, and says how long that took.
    async fn run(&self, copy: &Path) -> Duration {
        let started = Instant::now();
        let mut child = ChildProcess::spawn(&mut self.program(copy));
        assert!(child.wait().await.success());
        started.elapsed()
    }

    /// Has it killed so many times, each time at another moment of its run.
    async fn kill(&mut self, times: u32) {
        let copy = self.folder.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let mut length = self.run(scratch.path()).await;
        let (mut killed, mut whole) = (0, 0);
        while killed < times {
            let micros = u64::try_from(length.as_micros()).unwrap();
            let moment = Duration::from_micros(self.rng.below(micros));
            let mut child = ChildProcess::spawn(&mut self.program(&copy));
            let ended = timeout(moment / 2, child.wait()).await.ok();
            self.happen().await;
            let ended = match ended {
                None => timeout(moment / 2, child.wait()).await.ok(),
                ended => ended,
            };
            if let Some(status) = ended {
                assert!(status.success());
                whole += 1;
            } else {
                child.kill();
                killed += 1;
            }
            self.happen().await;
            // The first read is long; what is new later is short: a whole run now and then, so that there are later ones.
            if killed.is_multiple_of(5) && ended.is_none() && killed > times / 3 {
                length = self.run(&copy).await;
                whole += 1;
                self.assert_equal(&copy).await;
            }
        }
        self.run(&copy).await;
        self.assert_equal(&copy).await;
        assert!(whole > 0, "and it came to an end in between");
    }

    async fn assert_equal(&self, copy: &Path) {
        let key = Key::from_file(&copy.join("accounts.key"), &SystemRandomness).unwrap();
        let vault = Vault::new(&key, "copy", Arc::new(SystemRandomness)).unwrap();
        let local = LocalCopy::open(copy.join("accounts.db"), vault)
            .await
            .unwrap();
        let copied = local.accounts("bank-b").await.unwrap();
        assert_eq!(copied.len(), self.accounts.len());
        for (id, card) in &self.accounts {
            let account = copied
                .iter()
                .find(|account| match &account.details {
                    CopiedDetails::Payment(details) => details.resource_id.as_ref() == Some(id),
                    CopiedDetails::Card(details) => details.resource_id.as_ref() == Some(id),
                })
                .unwrap();
            let mut here: Vec<(bool, String)> = local
                .transactions(account.key, Period::default())
                .map_ok(|entry| match entry.transaction {
                    CopiedTransaction::Payment(details) => (entry.booked, line(&details)),
                    CopiedTransaction::Card(details) => (entry.booked, line(&details)),
                })
                .try_collect()
                .await
                .unwrap();
            let there = self.ledger.entries(id).await.into_iter();
            let mut there: Vec<(bool, String)> = there
                .map(|entry| {
                    let details = if *card {
                        again::<CardTransaction>(entry.details)
                    } else {
                        again::<Transaction>(entry.details)
                    };
                    (entry.is_booked, details)
                })
                .collect();
            here.sort();
            there.sort();
            if here != there {
                let missing: Vec<_> = there.iter().filter(|entry| !here.contains(entry)).collect();
                let stray: Vec<_> = here.iter().filter(|entry| !there.contains(entry)).collect();
                panic!("missing: {missing:#?}\nstray: {stray:#?}, or not as often");
            }
            let balances = local.balances(account.key).await.unwrap();
            let mut here: Vec<String> = balances
                .iter()
                .map(|balance| line(&balance.balance))
                .collect();
            let there = self.ledger.balances(id).await;
            let there = there.as_array().unwrap().iter().cloned();
            let mut there: Vec<String> = there.map(again::<Balance>).collect();
            here.sort();
            there.sort();
            assert_eq!(here, there);
        }
        local.close().await;
    }
}

fn line(details: &impl Serialize) -> String {
    serde_json::to_string(details).unwrap()
}

/// The same, with its fields in the order of the type.
fn again<T: Serialize + DeserializeOwned>(details: Value) -> String {
    line(&serde_json::from_value::<T>(details).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_times_killed_and_equal_with_references() {
    Scene::set(Some("entry-reference"), 1).await.kill(50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_times_killed_and_equal_with_last_reports() {
    Scene::set(Some("delta-list"), 2).await.kill(12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_times_killed_and_equal_with_days_alone() {
    Scene::set(None, 3).await.kill(12).await;
}
