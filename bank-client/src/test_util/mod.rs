//! Mock banks for tests without a network and certificates (feature `test-util`).
//!
//! A [`MockBank`] listens on this machine's loopback address and answers like a bank: accounts,
//! balances, transactions page by page, consents. A line sets its behaviour. An app's own test,
//! complete (`docs/sdk.md` has it with its attribute):
//!
//! ```
//! use bank_client::test_util::{MockBank, MockBehaviour};
//!
//! # async fn an_app_notices_the_end_of_a_consent() -> Result<(), Box<dyn std::error::Error>> {
//! let mock = MockBank::happy().await;
//! let reading = mock.bank().with_consent(mock.consent_id());
//!
//! let accounts = reading.accounts(true).await?;
//! assert_eq!(accounts.len(), 2);
//!
//! mock.turns(MockBehaviour::ConsentExpired);
//! let error = reading.accounts(true).await.unwrap_err();
//! assert_eq!(error.code().map(|code| code.as_str()), Some("CONSENT_EXPIRED"));
//! assert_eq!(mock.asked().await.len(), 2);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(an_app_notices_the_end_of_a_consent()).unwrap();
//! ```
//!
//! The way by redirect, whole: the customer approves, and [`MockBank::approve`] gives the address
//! by which she comes back.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bank_client::authorisations::ApprovalOptions;
//! use bank_client::consent_manager::{Attendance, ConsentManager, ConsentTerms};
//! use bank_client::environment::SystemRandomness;
//! use bank_client::store::MemoryStore;
//! use bank_client::test_util::MockBank;
//! use bank_client::vault::{Key, Vault};
//!
//! # async fn an_app_connects_a_bank() -> Result<(), Box<dyn std::error::Error>> {
//! let (mock, mock_id) = (MockBank::happy().await, "mock".parse()?);
//! let vault = Vault::new(&Key::from_bytes([1; 32]), "consents", Arc::new(SystemRandomness))?;
//! let manager = ConsentManager::builder(Arc::new(MemoryStore::new()), vault)
//!     .bank("mock".parse()?, mock.bank())
//!     .build();
//! let options = ApprovalOptions::new().return_to("https://app.example/back");
//! let asked = manager.connect(&mock_id, "customer 17", None, &ConsentTerms::all_accounts(), &options).await?;
//!
//! let status = manager.handle_redirect(&asked.connection, &mock.approve(&asked)).await?;
//! assert!(status.is_serving());
//!
//! let unattended = Attendance::Unattended;
//! let accounts = manager.read(&asked.connection, unattended, async |bank| bank.accounts(true).await).await?;
//! assert_eq!(accounts.len(), 2);
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(an_app_connects_a_bank()).unwrap();
//! ```
//!
//! The handle is a real [`Bank`], with all that handles do; only the connection is plain HTTP, to
//! loopback and to nowhere else. There is no other way to a handle without TLS, also where this
//! feature is on.

mod responder;
mod sample;
mod servers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::consent::ConsentStatus;
use shared_types::xs2a::transaction::Transaction;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer};

use self::responder::Responder;
pub use self::servers::judge_server;
use crate::bank::{Bank, BankBuilder};
use crate::consent_manager::Approval;

/// Behaviour of a mock bank.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MockBehaviour {
    /// It answers as it should.
    Happy,
    /// It does so, after that time.
    Slow(Duration),
    /// 503, with a page in HTML.
    Broken,
    /// 429 `ACCESS_EXCEEDED`, and how long to wait (in whole seconds).
    RateLimited(Duration),
    /// 401 `CONSENT_EXPIRED` for account requests.
    ConsentExpired,
    /// JSON that is none of the standard's.
    Malformed,
}

/// An account of a mock bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockAccount {
    /// The account; its `resource_id` is its place in paths.
    pub details: AccountDetails,
    /// Its balances.
    pub balances: Vec<Balance>,
    /// Its booked transactions, in the bank's order.
    pub booked: Vec<Transaction>,
    /// Its pending transactions.
    pub pending: Vec<Transaction>,
}

/// A bank on this machine, for tests. It ends when it is dropped.
pub struct MockBank {
    server: MockServer,
    shared: Arc<Mutex<State>>,
}

/// State of a mock bank.
pub(crate) struct State {
    pub(crate) mood: MockBehaviour,
    /// For the next requests, one each.
    pub(crate) script: VecDeque<MockBehaviour>,
    pub(crate) accounts: Vec<MockAccount>,
    /// In the order in which they were asked for.
    pub(crate) consents: Vec<MockConsent>,
}

/// A consent, as a mock bank knows it.
pub(crate) struct MockConsent {
    pub(crate) id: String,
    pub(crate) status: ConsentStatus,
    /// The requested access.
    pub(crate) wanted: serde_json::Value,
    /// Return addresses of the customer: after her approval, and after a refusal.
    pub(crate) way_back: [Option<String>; 2],
}

/// The consent that every mock bank knows from the start.
const CONSENT: &str = "mock-consent";

impl MockBank {
    /// One that answers as it should.
    pub async fn happy() -> Self {
        Self::start(MockBehaviour::Happy, sample::accounts()).await
    }

    /// One that takes its time.
    pub async fn slow(delay: Duration) -> Self {
        Self::start(MockBehaviour::Slow(delay), sample::accounts()).await
    }

    /// One that is down: 503, and no reason.
    pub async fn broken() -> Self {
        Self::start(MockBehaviour::Broken, sample::accounts()).await
    }

    /// One that was asked too often, and wants to be left alone for so long.
    pub async fn rate_limited(retry_after: Duration) -> Self {
        Self::start(MockBehaviour::RateLimited(retry_after), sample::accounts()).await
    }

    /// One to whom the consent has ended.
    pub async fn consent_expired() -> Self {
        Self::start(MockBehaviour::ConsentExpired, sample::accounts()).await
    }

    /// A happy one, with those accounts instead of the sample ones.
    pub async fn with_accounts(accounts: Vec<MockAccount>) -> Self {
        Self::start(MockBehaviour::Happy, accounts).await
    }

    /// The accounts that a bank has which was given none: a current and a savings account, in
    /// euros.
    #[must_use]
    pub fn sample_accounts() -> Vec<MockAccount> {
        sample::accounts()
    }

    async fn start(mood: MockBehaviour, accounts: Vec<MockAccount>) -> Self {
        let state = State {
            mood,
            script: VecDeque::new(),
            accounts,
            consents: vec![MockConsent {
                id: CONSENT.to_owned(),
                status: ConsentStatus::Valid,
                wanted: sample::consent(),
                way_back: [None, None],
            }],
        };
        let shared = Arc::new(Mutex::new(state));
        let server = MockServer::start().await;
        Mock::given(any())
            .respond_with(Responder::new(Arc::clone(&shared)))
            .mount(&server)
            .await;
        Self { server, shared }
    }

    /// A handle for it. Like any handle, it neither repeats calls nor leaves the bank alone: see
    /// [`MockBank::builder`].
    ///
    /// # Panics
    ///
    /// If the system has no TLS to set up a client with.
    #[must_use]
    pub fn bank(&self) -> Bank {
        #[expect(
            clippy::expect_used,
            reason = "it is for tests, and the server listens on loopback"
        )]
        self.builder().build().expect("a handle for a mock bank")
    }

    /// Builder of a handle for it, so that a test can give it limits, retries, a breaker or a
    /// clock.
    ///
    /// # Panics
    ///
    /// Never: the organisation id that is read here is one.
    pub fn builder(&self) -> BankBuilder {
        #[expect(clippy::expect_used, reason = "the text is an organisation id")]
        let organisation: OrganisationId = "PSDXX-MOCK-1".parse().expect("an organisation id");
        BankBuilder::mock(*self.server.address(), organisation).name("Mock Bank")
    }

    /// The id of a consent that the customer has approved.
    #[must_use]
    pub fn consent_id(&self) -> &'static str {
        CONSENT
    }

    /// From now on it behaves like that.
    pub fn turns(&self, mood: MockBehaviour) {
        self.change(|state| state.mood = mood);
    }

    /// It behaves like that for one request, after those for which this was said before; then as
    /// ever.
    pub fn once(&self, mood: MockBehaviour) {
        self.change(|state| state.script.push_back(mood));
    }

    /// Its customer approves that consent on the bank's page. Returns the address by which her
    /// browser comes back, for
    /// [`ConsentManager::handle_redirect`](crate::consent_manager::ConsentManager::handle_redirect).
    ///
    /// # Panics
    ///
    /// If the bank does not know the consent, or has no address to redirect the customer to
    /// ([`ApprovalOptions::return_to`](crate::authorisations::ApprovalOptions::return_to)).
    #[must_use]
    pub fn approve(&self, asked: &Approval) -> String {
        self.decide(asked, ConsentStatus::Valid)
    }

    /// Its customer turns that consent down on the bank's page. Returns the address by which her
    /// browser comes back.
    ///
    /// # Panics
    ///
    /// As [`approve`](Self::approve).
    #[must_use]
    pub fn refuse(&self, asked: &Approval) -> String {
        self.decide(asked, ConsentStatus::Rejected)
    }

    #[expect(clippy::expect_used, reason = "a panic is how a test fails")]
    fn decide(&self, asked: &Approval, status: ConsentStatus) -> String {
        let mut state = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let mut consents = state.consents.iter_mut();
        let consent = consents.find(|consent| consent.id == asked.consent_id());
        let consent = consent.expect("a consent of this mock bank");
        consent.status = status;
        let [back, refused] = consent.way_back.clone();
        let back = match status {
            ConsentStatus::Rejected => refused.or(back),
            _ => back,
        };
        back.expect("an address to come back to: ApprovalOptions::return_to")
    }

    /// Its customer approves every consent that waits for her.
    pub fn customer_approves(&self) {
        self.settle(ConsentStatus::Received, ConsentStatus::Valid);
    }

    /// Its customer turns down every consent that waits for her.
    pub fn customer_rejects(&self) {
        self.settle(ConsentStatus::Received, ConsentStatus::Rejected);
    }

    /// Its customer takes every consent back that she has approved.
    pub fn customer_revokes(&self) {
        self.settle(ConsentStatus::Valid, ConsentStatus::RevokedByPsu);
    }

    /// The requests it received, in order: `GET /v1/accounts?withBalance=true`.
    pub async fn asked(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap_or_default();
        requests
            .iter()
            .map(|request| {
                let query = request.url.query().map(|query| format!("?{query}"));
                let query = query.unwrap_or_default();
                format!("{} {}{query}", request.method, request.url.path())
            })
            .collect()
    }

    fn settle(&self, from: ConsentStatus, to: ConsentStatus) {
        self.change(|state| {
            for consent in &mut state.consents {
                if consent.status == from {
                    consent.status = to;
                }
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl std::fmt::Debug for MockBank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MockBank")
            .field("address", self.server.address())
            .finish_non_exhaustive()
    }
}
