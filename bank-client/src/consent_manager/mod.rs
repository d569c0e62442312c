//! Consent manager: requests, polls, renews and terminates consents for customers.
//!
//! A [`ConsentManager`] keeps one connection for each customer and bank that she connects. It asks
//! for the consent, learns from the bank what has become of it, and hands out what to read with
//! ([`AccountInformation`](crate::AccountInformation)). Before the consent ends it is renewed: the
//! old one serves until the customer has approved the new one, and not one read is lost.
//!
//! ```no_run
//! use std::net::IpAddr;
//! use std::sync::Arc;
//!
//! use bank_client::authorisations::{ApprovalOptions, NextStep};
//! use bank_client::consent_manager::{Attendance, ConsentManager, ConsentTerms};
//! use bank_client::environment::SystemRandomness;
//! use bank_client::store::MemoryStore;
//! use bank_client::vault::{Key, Vault};
//!
//! # async fn example(bank: bank_client::Bank) -> Result<(), Box<dyn std::error::Error>> {
//! let key = Key::from_env("APP_KEY")?;
//! let vault = Vault::new(&key, "consents", Arc::new(SystemRandomness))?;
//! let manager = ConsentManager::builder(Arc::new(MemoryStore::new()), vault)
//!     .bank("bank-b".parse()?, bank)
//!     .build();
//!
//! let options = ApprovalOptions::new().return_to("https://app.example/back");
//! let bank_b = "bank-b".parse()?;
//! let approval = manager
//!     .connect(&bank_b, "customer 17", IpAddr::from([192, 0, 2, 7]), &ConsentTerms::all_accounts(), &options)
//!     .await?;
//! if let NextStep::Redirect(url) = &approval.next {
//!     println!("send the customer to {url}");
//! }
//! // … she comes back, and brings this along:
//! let status = manager.handle_redirect(&approval.connection, "/back?state=…").await?;
//! println!("the connection {status}");
//!
//! let accounts = manager
//!     .read(&approval.connection, Attendance::Unattended, |bank| async move { bank.accounts(true).await })
//!     .await?;
//! # let _ = accounts;
//! # Ok(())
//! # }
//! ```
//!
//! **Status.** [`ConnectionStatus`] is whether a connection is waiting, valid, used up for today,
//! was never approved (refused, lapsed, request rejected), or has ended (expired, revoked by the
//! customer, replaced, unknown to the bank).
//!
//! **When a bank refuses a read** because of the consent, its status is requested once before the
//! connection changes: a bank can be wrong for a moment. See [`ConsentManager::handle_error`].
//!
//! **One connection for each customer and bank**, also where two programs connect her at the same
//! moment: its id follows from both. A customer with two log-ins at one bank has two names here.
//!
//! **Several programs, one store.** Each change is written only over what was read, so that two
//! programs never renew the same connection twice. Each request to a bank is stored before it
//! is sent, with the `X-Request-ID`: if the program ends before the answer is kept, the request
//! is repeated, and has one effect.
//!
//! **Web apps** take the id of the connection that [`ConsentManager::handle_redirect`] gets from
//! the customer's session, never from the address: else an attacker could have another customer
//! approve access for his own session. With [`ManagerBuilder::only_after_return`] an approval by
//! redirect counts only once she has come back.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use shared_types::environment::{Clock, Randomness, SystemClock, SystemRandomness};
use tokio::sync::{Mutex, MutexGuard};
use uuid::{Builder, Uuid};

use crate::authorisations::NextStep;
use crate::bank::Bank;
use crate::directory::BankId;
use crate::store::{Kind, RecordError, Sealed, Store, Version};
use crate::vault::Vault;

mod connection_status;
mod consent_terms;
mod disconnecting;
mod error;
mod lifecycle;
mod polling;
mod reading;
mod record;
mod redirect_return;
mod refusal;
mod requesting;
#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests;
mod usage;

pub use self::connection_status::{ConnectionStatus, Renewal};
pub use self::consent_terms::ConsentTerms;
pub use self::error::ManagerError;
pub use self::lifecycle::{ApprovalFailure, EndReason};
pub use self::reading::Verdict;
pub use crate::directory::Terms;
pub use crate::store::{ConnectionId, NotAConnectionId};

use self::error::is_conflict;
use self::record::Connection;

/// Manager of the customers' connections to banks. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct ConsentManager {
    inner: Arc<Inner>,
}

struct Inner {
    sealed: Sealed,
    banks: BTreeMap<BankId, Bank>,
    terms: BTreeMap<BankId, Terms>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    only_after_return: bool,
    /// Distinguishes this process's recorded intents from those of other processes.
    name: Uuid,
    /// Serialise the work on a connection within this process; sharded by connection id.
    locks: Vec<Mutex<()>>,
}

/// Whether the customer is present while something is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    /// She is, at a device of that address. Such reads are not counted.
    Attended(IpAddr),
    /// She is not.
    Unattended,
}

/// A requested consent, and how the customer approves it.
#[derive(Clone)]
pub struct Approval {
    /// The connection that it is for.
    pub connection: ConnectionId,
    /// Next step. [`NextStep::Nothing`]: it is approved.
    pub next: NextStep,
    /// The bank, to take the further steps of an approval without redirect with.
    pub bank: Bank,
    consent: String,
    authorisation: Option<String>,
}

impl Approval {
    /// The id of the consent at the bank.
    #[must_use]
    pub fn consent_id(&self) -> &str {
        &self.consent
    }

    /// The id of its authorisation, if the bank has started one.
    #[must_use]
    pub fn authorisation_id(&self) -> Option<&str> {
        self.authorisation.as_deref()
    }
}

// Ids at the bank and addresses that lead to the approval stay out of logs.
partial_debug!(Approval { connection, bank });

/// A connection, as lists show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionSummary {
    /// Its id.
    pub id: ConnectionId,
    /// The bank.
    pub bank: BankId,
    /// The program's name for the customer.
    pub customer: String,
    /// Time of the first consent request.
    pub begun: DateTime<Utc>,
    /// The status.
    pub status: ConnectionStatus,
    /// The id of its consent at the bank: of the one under which is read, or was; else of the one
    /// that waits.
    pub consent: Option<String>,
    /// Days to the last one, by the bank's calendar; none if it does not serve.
    pub days_left: Option<i64>,
    /// The reads with no customer present that its consent still allows; none if it does not serve.
    pub unattended: Option<UnattendedReads>,
}

// Ids at the bank stay out of logs.
partial_debug!(ConnectionSummary { id, bank, status });

/// Reads with no customer present under one consent: each is a run over all accounts. Reads of a
/// customer who is present are not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnattendedReads {
    /// Number of reads that are left, as far as is known here.
    pub left: u32,
    /// Number that the consent allows on each of the bank's days.
    pub a_day: NonZeroU32,
    /// Time of the next count: the bank's midnight, or the time that the bank has given.
    pub until: DateTime<Tz>,
}

/// A connection that cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unreadable {
    /// Its id.
    pub id: ConnectionId,
    /// The reason.
    pub error: RecordError,
}

/// Builder of a [`ConsentManager`]: [`ConsentManager::builder`].
#[must_use]
pub struct ManagerBuilder(Inner);

impl ManagerBuilder {
    /// A bank that customers can connect.
    pub fn bank(mut self, id: BankId, bank: Bank) -> Self {
        self.0.banks.insert(id, bank);
        self
    }

    /// Terms of a bank. A manager without a handle for it needs this too: where a
    /// connection stands depends on the bank's day.
    pub fn terms(mut self, id: BankId, terms: Terms) -> Self {
        self.0.terms.insert(id, terms);
        self
    }

    /// An approval by redirect counts only once the customer has come back
    /// ([`ConsentManager::handle_redirect`]): for web apps, where an attacker could send another
    /// customer to the bank.
    ///
    /// A bank that ends the old consent at the approval of the new one leaves nothing to read under
    /// until then.
    pub const fn only_after_return(mut self) -> Self {
        self.0.only_after_return = true;
        self
    }

    /// Sets the clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.0.clock = clock;
        self
    }

    /// Sets the source of randomness.
    pub fn randomness(mut self, randomness: Arc<dyn Randomness>) -> Self {
        self.0.randomness = randomness;
        self
    }

    /// Builds the manager. Nothing is read or sent yet.
    #[must_use]
    pub fn build(self) -> ConsentManager {
        let name = self.0.randomness.uuid();
        ConsentManager {
            inner: Arc::new(Inner { name, ..self.0 }),
        }
    }
}

/// Number of locks; connections share them.
const LOCK_SHARDS: usize = 64;

/// Connections that are read from the store at a time.
const BATCH_SIZE: usize = 100;

/// Attempts of a change that conflicts with those of other processes.
const MAX_CONFLICT_RETRIES: usize = 50;

impl ConsentManager {
    /// Starts a manager that keeps what it knows in that store, sealed by that vault.
    pub fn builder(store: Arc<dyn Store>, vault: Vault) -> ManagerBuilder {
        ManagerBuilder(Inner {
            sealed: Sealed::new(store, vault),
            banks: BTreeMap::new(),
            terms: BTreeMap::new(),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
            only_after_return: false,
            name: Uuid::nil(),
            locks: (0..LOCK_SHARDS).map(|_| Mutex::new(())).collect(),
        })
    }

    /// The status of a connection, as it is stored: the bank is not called.
    pub async fn status(&self, id: &ConnectionId) -> Result<ConnectionStatus, ManagerError> {
        let (connection, _) = self.load(id).await?;
        Ok(self.status_of_connection(&connection))
    }

    /// Terms that a connection's customer is asked for, so that they can be changed: see
    /// [`renew_as`](Self::renew_as).
    pub async fn consent_terms(&self, id: &ConnectionId) -> Result<ConsentTerms, ManagerError> {
        let (connection, _) = self.load(id).await?;
        Ok(connection.consent_terms)
    }

    /// All connections that can be read, in the order of their ids.
    pub async fn connections(&self) -> Result<Vec<ConnectionSummary>, ManagerError> {
        let mut summaries = Vec::new();
        self.for_each(|id, connection| {
            let status = self.status_of_connection(&connection);
            summaries.push(ConnectionSummary {
                id,
                status,
                consent: connection.consent().map(str::to_owned),
                days_left: self.days_left(&connection.bank, status),
                unattended: self.unattended(&connection),
                bank: connection.bank,
                customer: connection.customer,
                begun: connection.begun,
            });
        })
        .await?;
        Ok(summaries)
    }

    /// Connections whose consents end within so many days, and whose renewal has not begun: the
    /// soonest first.
    pub async fn due_for_renewal(&self, days: u32) -> Result<Vec<ConnectionId>, ManagerError> {
        let mut due = Vec::new();
        self.for_each(|id, connection| {
            let status = self.status_of_connection(&connection);
            let left = self.days_left(&connection.bank, status);
            let (Some(left), true) = (left, connection.consent_terms.is_recurring()) else {
                return;
            };
            if left <= days.into() && status.renewal() != Some(Renewal::Waiting) {
                due.push((status.until(), id));
            }
        })
        .await?;
        due.sort();
        Ok(due.into_iter().map(|(_, id)| id).collect())
    }

    /// Time of a connection's next read with no customer present, so that its reads are evenly
    /// over the day and never more than the consent allows. `None`: it does not serve.
    pub async fn next_unattended(
        &self,
        id: &ConnectionId,
    ) -> Result<Option<DateTime<Utc>>, ManagerError> {
        let (connection, _) = self.load(id).await?;
        let (now, zone) = (self.now(), self.zone(&connection.bank));
        let active = connection.serving(now, zone);
        Ok(active.map(|active| connection.usage.next(now, active.reads_per_day, zone)))
    }

    /// The connections that are in the store and cannot be read: sealed with another key, damaged,
    /// or written by another version of this program. [`connections`](Self::connections) leaves
    /// them out.
    pub async fn unreadable(&self) -> Result<Vec<Unreadable>, ManagerError> {
        self.for_each(|_, _| ()).await
    }

    /// Visits all readable connections and returns the unreadable ones. Fails if none is readable:
    /// the key must be another one.
    async fn for_each(
        &self,
        mut look: impl FnMut(ConnectionId, Connection),
    ) -> Result<Vec<Unreadable>, ManagerError> {
        let mut after = String::new();
        let mut unreadable = Vec::new();
        let mut readable = 0_usize;
        loop {
            let sealed = &self.inner.sealed;
            let piece = sealed.list(Kind::Connection, &after, BATCH_SIZE).await?;
            let read = piece.len();
            for (id, connection) in piece {
                match (id.parse(), connection) {
                    (Ok(id), Ok(connection)) => {
                        readable += 1;
                        look(id, connection);
                    }
                    (Ok(id), Err(error)) => unreadable.push(Unreadable { id, error }),
                    (Err(_), _) => {}
                }
                after = id;
            }
            if read < BATCH_SIZE {
                break;
            }
        }
        match unreadable.pop() {
            Some(Unreadable { error, .. }) if readable == 0 => Err(error.into()),
            last => {
                unreadable.extend(last);
                Ok(unreadable)
            }
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    fn bank_handle(&self, bank: &BankId) -> Result<&Bank, ManagerError> {
        let found = self.inner.banks.get(bank);
        found.ok_or_else(|| ManagerError::NoSuchBank(bank.clone()))
    }

    fn terms(&self, bank: &BankId) -> Terms {
        self.inner.terms.get(bank).copied().unwrap_or_default()
    }

    fn zone(&self, bank: &BankId) -> Tz {
        self.terms(bank).time_zone
    }

    /// The id of a customer's connection to a bank, whether there is one or not.
    fn id_of(&self, bank: &BankId, customer: &str) -> ConnectionId {
        let name = self.inner.sealed.name(&format!("{bank}/{customer}"));
        ConnectionId::new(Builder::from_custom_bytes(name).into_uuid())
    }

    fn days_left(&self, bank: &BankId, status: ConnectionStatus) -> Option<i64> {
        let today = usage::day_of(self.now(), self.zone(bank));
        Some((status.until()? - today).num_days())
    }

    fn unattended(&self, connection: &Connection) -> Option<UnattendedReads> {
        let (now, zone) = (self.now(), self.zone(&connection.bank));
        let a_day = connection.serving(now, zone)?.reads_per_day;
        let again = connection.usage.used_up_until(now, a_day, zone);
        let until = again.unwrap_or_else(|| usage::next_day(now, zone));
        Some(UnattendedReads {
            left: connection.usage.left(now, a_day, zone),
            a_day,
            until: until.with_timezone(&zone),
        })
    }

    fn status_of_connection(&self, connection: &Connection) -> ConnectionStatus {
        connection.status(self.now(), self.zone(&connection.bank))
    }

    /// Locks the connection within this process.
    async fn lock(&self, id: &ConnectionId) -> Result<MutexGuard<'_, ()>, ManagerError> {
        let locks = &self.inner.locks;
        let lock = locks.get(id.shard_index(locks.len()));
        Ok(lock.ok_or(ManagerError::Busy)?.lock().await)
    }

    async fn load(&self, id: &ConnectionId) -> Result<(Connection, Version), ManagerError> {
        let sealed = &self.inner.sealed;
        let found = sealed.get(Kind::Connection, &id.to_string()).await?;
        found.ok_or_else(|| ManagerError::NoSuchConnection(id.clone()))
    }

    /// Applies a change to the stored connection, retrying on conflicts with other processes.
    /// `None`: nothing to change, and nothing is written. Returns the connection afterwards.
    async fn change<T>(
        &self,
        id: &ConnectionId,
        mut change: impl FnMut(&mut Connection) -> Option<T>,
    ) -> Result<(Connection, Option<T>), ManagerError> {
        for _ in 0..MAX_CONFLICT_RETRIES {
            let (mut connection, seen) = self.load(id).await?;
            let Some(changed) = change(&mut connection) else {
                return Ok((connection, None));
            };
            if self.save(id, &connection, Some(seen)).await? {
                return Ok((connection, Some(changed)));
            }
        }
        Err(ManagerError::Busy)
    }

    /// Writes a connection if the stored version is still the one that was seen; returns whether it
    /// was.
    async fn save(
        &self,
        id: &ConnectionId,
        connection: &Connection,
        seen: Option<Version>,
    ) -> Result<bool, ManagerError> {
        let sealed = &self.inner.sealed;
        let id = id.to_string();
        match sealed.put(Kind::Connection, &id, seen, connection).await {
            Ok(_) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl fmt::Debug for ConsentManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let banks: Vec<&BankId> = self.inner.banks.keys().collect();
        f.debug_struct("ConsentManager")
            .field("banks", &banks)
            .finish_non_exhaustive()
    }
}
