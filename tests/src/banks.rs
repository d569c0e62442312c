//! The three banks of the sandbox, in their own folder, on a clock that a test can move.

use std::sync::Arc;
use std::time::Instant;

use bank_client::environment::{Clock as _, ManualClock, SystemClock};
use bank_server::config::{Config, LimitsConfig};
use bank_server::{BankServer, RunningBank, StartError};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use fixtures::pki::Identity;
use fixtures::sandbox::{CUSTOMER, Databases, Options, Sandbox, SandboxFolder};
use fixtures::world::{Bank, SampleAccount, SampleCustomer};
use serde_json::{Value, json};
use shared_types::pki::register::RegisterFile;
use tempfile::TempDir;

use crate::consent_requests::PSU;
use crate::customer;
use crate::files;
use crate::http::{Response, Tpp};
use crate::programs::{both, own};
use crate::sdk::BANK_A;
use crate::stores;
use crate::wait::wait_for;

pub struct Banks {
    pub sandbox: Box<Sandbox>,
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
            folder: SandboxFolder::open(folder.path(), false).await.unwrap(),
            port_base: 0,
            databases,
            seed: None,
            core: None,
            // Tests move the clock; the lists are to last as long as the certificates.
            lists_for: TimeDelta::days(729),
            clock: Arc::<ManualClock>::clone(&clock),
        };
        Self {
            // Boxed: three banks are large while they start.
            sandbox: Box::new(Box::pin(Sandbox::start(options)).await.unwrap()),
            clock,
            folder,
        }
    }

    pub fn today(&self) -> NaiveDate {
        self.clock.now().date_naive()
    }

    /// Bank A as a TPP of Bank B.
    pub fn a_at_b(&self) -> Tpp {
        self.at_b(&self.sandbox.pki.bank_a.qwac)
    }

    /// A request to Bank B.
    pub fn at_b(&self, identity: &Identity) -> Tpp {
        Tpp::new(
            self.sandbox.bank(Bank::B).running.xs2a_address(),
            identity.clone(),
        )
    }

    /// The accounts of the story's customer at Bank B: current, savings, foreign currency, card.
    pub fn accounts_at_b(&self) -> Vec<SampleAccount> {
        self.customer(Bank::B).accounts
    }

    /// The story's customer at that bank.
    pub fn customer(&self, bank: Bank) -> SampleCustomer {
        self.sandbox.bank(bank).customer(CUSTOMER).unwrap().clone()
    }

    /// Another customer of that bank.
    pub fn other_customer(&self, bank: Bank) -> SampleCustomer {
        self.sandbox.bank(bank).other_customer().unwrap().clone()
    }

    /// A consent request of that TPP: at Bank B, for all accounts, for 30 days.
    pub fn consent<'a>(&'a self, tpp: &'a Tpp) -> ConsentBuilder<'a> {
        ConsentBuilder {
            banks: self,
            tpp,
            body: self.consent_body(),
            headers: vec![PSU],
        }
    }

    /// The body of such a request.
    pub fn consent_body(&self) -> Value {
        let until = self.today() + Days::new(30);
        consent_body(&json!(until), UNLIMITED)
    }

    /// Publishes another edition of the register, and waits until Bank B has it.
    pub async fn publish(&self, register: &RegisterFile) {
        let bank = &self.sandbox.bank(Bank::B).running;
        let before = bank.trust_report().changes;
        let json = serde_json::to_string(register).unwrap();
        files::replace(&self.folder.path().join("pki/register.json"), json);
        trust_changed(bank, before).await;
    }

    /// The serial number of Bank A's certificate, as the authority records it.
    pub fn serial_of_bank_a(&self) -> String {
        let mut serials = self.sandbox.pki.ca1.serials_of(BANK_A);
        serials.remove(0)
    }

    /// Revokes a certificate of CA1 for `keyCompromise` with `scheme-ca`, waits until the bank has
    /// the new CRL, and returns when it had. The bank's clock stands still during the wait; the
    /// authority's runs.
    pub async fn revoke(&self, bank: &RunningBank, serial: &str) -> Instant {
        let before = bank.trust_report().changes;
        let revoked = own("scheme-ca")
            .arg("--dir")
            .arg(self.folder.path().join("scheme-ca/ca1"))
            .args(["--list-days", "729", "revoke", serial])
            .args(["--reason", "keyCompromise", "--by", "Rita"])
            .output()
            .unwrap();
        assert!(revoked.status.success(), "{}", both(&revoked));
        trust_changed(bank, before).await
    }

    /// Starts a replica of Bank B, on the same database, with a changed configuration.
    pub async fn replica_of_b(&self, change: impl FnOnce(&mut Config)) -> RunningBank {
        self.start_replica("bank-b.toml", change).await.unwrap()
    }

    /// Starts a replica of Bank A.
    pub async fn replica_of_a(&self) -> RunningBank {
        self.start_replica("bank-a.toml", |_| ()).await.unwrap()
    }

    /// Starts Bank B once more, with other limits, and on an empty database.
    pub async fn limited_bank_b(&self, change: impl FnOnce(&mut LimitsConfig)) -> RunningBank {
        let place = stores::empty(&self.folder.path().join("limited.db")).await;
        let limited = |config: &mut Config| {
            config.store.location = place;
            change(&mut config.limits);
        };
        self.replica_of_b(limited).await
    }

    /// Starts a bank with the configuration in that file, changed, on the clock of the test.
    pub async fn start_replica(
        &self,
        file: &str,
        change: impl FnOnce(&mut Config),
    ) -> Result<RunningBank, StartError> {
        let mut config = Config::read(&self.folder.path().join(file)).unwrap();
        change(&mut config);
        let clock: Arc<ManualClock> = Arc::clone(&self.clock);
        // Boxed: a configuration is large.
        Box::pin(BankServer::new(config).clock(clock).start()).await
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

/// Practically no limit. Tests of the limit set their own.
const UNLIMITED: u32 = 100_000;

/// The body of a consent request for all accounts.
pub fn consent_body(valid_until: &Value, frequency_per_day: u32) -> Value {
    json!({
        "access": { "allPsd2": "allAccounts" },
        "recurringIndicator": true,
        "validUntil": valid_until,
        "frequencyPerDay": frequency_per_day,
        "combinedServiceIndicator": false,
    })
}

/// Builder of a consent request: the requested access, and how the request is sent.
#[derive(Clone)]
#[must_use]
pub struct ConsentBuilder<'a> {
    banks: &'a Banks,
    tpp: &'a Tpp,
    body: Value,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> ConsentBuilder<'a> {
    pub fn access(self, access: &Value) -> Self {
        self.field("access", access.clone())
    }

    /// Reads a day without the customer.
    pub fn frequency(self, per_day: u32) -> Self {
        self.field("frequencyPerDay", per_day.into())
    }

    /// The last day.
    pub fn until(self, day: impl Into<Day>) -> Self {
        self.field("validUntil", day.into().0)
    }

    /// For one read.
    pub fn once(self) -> Self {
        self.field("recurringIndicator", false.into()).frequency(1)
    }

    /// More headers.
    pub fn headers(mut self, headers: &[(&'a str, &'a str)]) -> Self {
        self.headers.extend(headers);
        self
    }

    /// Its body.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Sends it. The response may be a refusal.
    pub async fn ask(self) -> Response {
        let body = self.body.to_string();
        self.tpp.post("/v1/consents", &self.headers, &body).await
    }

    /// Sends it, and returns the id of the consent, which is not approved.
    pub async fn received(self) -> String {
        let created = self.ask().await;
        assert_eq!(created.status, 201, "{created:?}");
        created.json()["consentId"].as_str().unwrap().to_owned()
    }

    /// The id of a consent that the story's customer has approved.
    pub async fn approved(self) -> String {
        let (banks, tpp) = (self.banks, self.tpp);
        let id = self.received().await;
        banks.approve(tpp, &id).await;
        id
    }

    fn field(mut self, name: &str, value: Value) -> Self {
        self.body[name] = value;
        self
    }
}

/// A day as a request writes it.
pub struct Day(Value);

impl From<NaiveDate> for Day {
    fn from(day: NaiveDate) -> Self {
        Self(json!(day))
    }
}

impl From<&str> for Day {
    fn from(day: &str) -> Self {
        Self(day.into())
    }
}

/// Waits until the bank has changed its trust more often than `before`; returns when it had.
pub async fn trust_changed(bank: &RunningBank, before: u64) -> Instant {
    wait_for("a change of trust at the bank", || {
        (bank.trust_report().changes > before).then_some(())
    })
    .await;
    Instant::now()
}
