//! The three banks of the sandbox, in a folder of their own, on a clock that a test can move.

use std::sync::Arc;

use bank_client::environment::{Clock as _, ManualClock, SystemClock};
use bank_server::config::{Config, LimitsConfig};
use bank_server::{BankServer, RunningBank};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use fixtures::pki::Identity;
use fixtures::sandbox::{CUSTOMER, Databases, Options, Sandbox};
use fixtures::world::{Bank, SampleAccount};
use serde_json::{Value, json};
use shared_types::register::RegisterFile;
use tempfile::TempDir;

use crate::customer;
use crate::http::{Response, Tpp};
use crate::stores;
use crate::wait::wait_for;

pub struct Banks {
    pub sandbox: Sandbox,
    pub clock: Arc<ManualClock>,
    pub folder: TempDir,
}

impl Banks {
    pub async fn start() -> Self {
        Self::on(stores::databases()).await
    }

    /// With their data there.
    pub async fn on(databases: Databases) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let options = Options {
            folder: folder.path().to_owned(),
            port_base: 0,
            databases,
            seed: 1,
            // Tests move the clock; the lists are to last as long as the certificates.
            lists_for: TimeDelta::days(729),
            clock: Arc::<ManualClock>::clone(&clock),
        };
        Self {
            // Boxed: three banks are large while they start.
            sandbox: Box::pin(Sandbox::start(options)).await.unwrap(),
            clock,
            folder,
        }
    }

    pub fn today(&self) -> NaiveDate {
        self.clock.now().date_naive()
    }

    /// Bank A asks Bank B.
    pub fn a_at_b(&self) -> Tpp {
        self.at_b(&self.sandbox.pki.bank_a.qwac)
    }

    /// Somebody asks Bank B.
    pub fn at_b(&self, identity: &Identity) -> Tpp {
        Tpp::new(
            self.sandbox.bank(Bank::B).running.xs2a_address(),
            identity.clone(),
        )
    }

    /// The accounts of the story's customer at Bank B: current, savings, foreign currency, card.
    pub fn accounts_at_b(&self) -> Vec<SampleAccount> {
        let customers = &self.sandbox.bank(Bank::B).customers;
        customers
            .iter()
            .find(|customer| customer.id == CUSTOMER)
            .unwrap()
            .accounts
            .clone()
    }

    pub fn consent_body(&self, access: &Value) -> Value {
        json!({
            "access": access,
            "recurringIndicator": true,
            "validUntil": self.today().checked_add_days(Days::new(30)).unwrap(),
            // As good as no limit: tests of the limit ask for one.
            "frequencyPerDay": 100_000,
            "combinedServiceIndicator": false,
        })
    }

    pub async fn ask_for_consent(&self, tpp: &Tpp, access: &Value) -> Response {
        let body = self.consent_body(access).to_string();
        tpp.post("/v1/consents", &[("PSU-IP-Address", "192.0.2.7")], &body)
            .await
    }

    /// A consent for that access at Bank B, approved by the story's customer.
    pub async fn approved_consent(&self, tpp: &Tpp, access: &Value) -> String {
        let created = self.ask_for_consent(tpp, access).await;
        assert_eq!(created.status, 201, "{created:?}");
        let id = created.json()["consentId"].as_str().unwrap().to_owned();
        self.approve(tpp, &id).await;
        id
    }

    /// Publishes another edition of the register, and waits until Bank B has it.
    pub async fn publish(&self, register: &RegisterFile) {
        let bank = &self.sandbox.bank(Bank::B).running;
        let before = bank.trust_report().changes;
        let json = serde_json::to_string(register).unwrap();
        std::fs::write(self.folder.path().join("pki/register.json"), json).unwrap();
        wait_for("the register at Bank B", || {
            (bank.trust_report().changes > before).then_some(())
        })
        .await;
    }

    /// Moves the clock on to that time.
    pub fn move_to(&self, time: &str) {
        let time: DateTime<Utc> = time.parse().unwrap();
        let by = time - self.clock.now();
        assert!(by >= TimeDelta::zero(), "that time has passed");
        self.clock.advance(by);
    }

    /// The story's customer approves a consent of that TPP.
    pub async fn approve(&self, tpp: &Tpp, consent_id: &str) {
        customer::approve(
            &self.sandbox.bank(Bank::B).running,
            &tpp.identity,
            consent_id,
        )
        .await;
    }
}

/// Bank B once more, on the same database, set up in another way.
pub async fn bank_b_also(banks: &Banks, change: impl FnOnce(&mut Config)) -> RunningBank {
    also(banks, "bank-b.toml", change).await
}

/// Bank A once more.
pub async fn bank_a_also(banks: &Banks) -> RunningBank {
    also(banks, "bank-a.toml", |_| ()).await
}

async fn also(banks: &Banks, configuration: &str, change: impl FnOnce(&mut Config)) -> RunningBank {
    let mut config = Config::read(&banks.folder.path().join(configuration)).unwrap();
    change(&mut config);
    let clock: Arc<ManualClock> = Arc::clone(&banks.clock);
    BankServer::new(config).clock(clock).start().await.unwrap()
}

/// Bank B once more, with limits of the test's own, and an empty database.
pub async fn bank_b_with(banks: &Banks, change: impl FnOnce(&mut LimitsConfig)) -> RunningBank {
    let mut config = Config::read(&banks.folder.path().join("bank-b.toml")).unwrap();
    config.store.place = stores::empty(&banks.folder.path().join("limited.db")).await;
    change(&mut config.limits);
    let clock: Arc<ManualClock> = Arc::clone(&banks.clock);
    BankServer::new(config).clock(clock).start().await.unwrap()
}
