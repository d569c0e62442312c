//! Core banking interface: the trait that connects a bank's own systems to the XS2A server.
//!
//! A bank developer implements [`CoreBanking`] and hands it to [`crate::BankServer`]. The built-in
//! [`ledger`] implements it on the server's own database: for the sandbox, for tests, and for a
//! small bank. [`http`] implements it for a core behind an HTTP API of any language.

use async_trait::async_trait;
use bytestring::ByteString;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use shared_types::xs2a::account::Balance;
use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::{BookingStatus, Transaction};
use utoipa::ToSchema;

pub mod http;
pub mod ledger;
mod search;

pub use crate::bank_service::request_id;
use crate::domain::{Account, AccountId, Arrival, PsuId};

/// Query for transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionQuery {
    /// First day. Booked transactions count by their booking date, pending ones by the day they
    /// were entered.
    pub from: NaiveDate,
    /// Last day, inclusive.
    pub to: NaiveDate,
    /// Booked, pending or both.
    pub status: BookingStatus,
    /// A delta report: of the booked ones only what arrived after this place, in the reverse order
    /// of arrival; of the pending ones all. Only a system that [has
    /// deltas](CoreBanking::has_deltas) receives it.
    pub since: Option<Arrival>,
    /// Only what comes after this place; `None`: from the start.
    pub after: Option<PageKey>,
    /// Maximum number of entries; at least 1.
    pub limit: usize,
}

impl TransactionQuery {
    /// Whether `entry` comes after `before` in the requested order.
    fn comes_after(&self, before: &PageKey, entry: &PageKey) -> bool {
        let place = |key: &PageKey| {
            let by_arrival = key.booked && self.since.is_some();
            let day = (!by_arrival).then_some(key.date);
            (!key.booked, day, key.sequence)
        };
        place(entry) < place(before)
    }
}

/// A booked entry, as far as delta reports need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its place in the order of arrival.
    pub place: Arrival,
    /// Its booking date.
    pub date: NaiveDate,
}

/// A place in an account's list of transactions: pending ones first, then booked ones, each from
/// the newest to the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PageKey {
    /// Whether the place is among the booked ones.
    pub booked: bool,
    /// Booking date, or the day of entry.
    pub date: NaiveDate,
    /// Order within the day; the greater, the newer. Never two alike in one account. Where there
    /// are delta reports, it is the order in which the booked ones arrived.
    pub sequence: i64,
}

/// One page of transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Pending ones, newest first.
    pub pending: Vec<T>,
    /// Booked ones, newest first.
    pub booked: Vec<T>,
    /// Start of the next page, if there is one.
    pub next: Option<PageKey>,
    /// Of a delta report: the latest booked one on this page.
    pub newest: Option<Arrival>,
}

/// A transaction as a JSON object of the standard, an element of a list. The transactions of a page
/// may share one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its `transactionId` or `cardTransactionId`, if it has one.
    pub id: Option<ByteString>,
    /// An object of schema `transactions` or `cardTransaction`, without `_links`.
    pub json: ByteString,
}

impl Listed {
    fn of(id: Option<&str>, transaction: &impl Serialize) -> Result<Self> {
        Ok(Self {
            id: id.map(ByteString::from),
            json: serde_json::to_string(transaction)
                .map_err(|error| CoreBankingError::Failed(Box::new(error)))?
                .into(),
        })
    }
}

impl<T> Page<T> {
    /// Converts the entries of the page.
    fn try_map<U, E>(self, of: impl Fn(T) -> Result<U, E>) -> Result<Page<U>, E> {
        let all = |entries: Vec<T>| entries.into_iter().map(&of).collect::<Result<Vec<U>, E>>();
        Ok(Page {
            pending: all(self.pending)?,
            booked: all(self.booked)?,
            next: self.next,
            newest: self.newest,
        })
    }
}

/// Result of a call of the core banking system.
pub type Result<T, E = CoreBankingError> = std::result::Result<T, E>;

/// Error of the core banking system.
///
/// The text is for the bank's log; the TPP learns only whether a retry makes sense.
#[derive(Debug, thiserror::Error)]
pub enum CoreBankingError {
    /// Temporary failure: a retry can succeed. The TPP receives 503.
    #[error("the core banking system does not answer at this time: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Permanent failure. The TPP receives 500.
    #[error("the core banking system failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A bank's own systems, as far as XS2A needs them.
///
/// Whether a TPP may see an account is decided before any of these is called, by the consent.
#[async_trait]
pub trait CoreBanking: Send + Sync + 'static {
    /// Whether the system can answer at all: for `/health/ready`.
    async fn ready(&self) -> Result<()>;

    /// The accounts of one customer, in an order that stays the same.
    async fn accounts_of(&self, psu: &PsuId) -> Result<Vec<Account>>;

    /// The accounts with these ids, in the order of `ids`. Ids that do not exist are omitted.
    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Account>>;

    /// The balances of each of `ids`, in that order; an account without any has an empty list.
    async fn balances(&self, ids: &[AccountId]) -> Result<Vec<Vec<Balance>>>;

    /// A page of a payment account's transactions. An account without any, or that does not exist,
    /// has none.
    async fn transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Transaction>>;

    /// One transaction of a payment account, by its `transactionId`.
    async fn transaction(
        &self,
        account: &AccountId,
        transaction_id: &str,
    ) -> Result<Option<Transaction>>;

    /// A page of a card account's transactions.
    async fn card_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<CardTransaction>>;

    /// The same as [`transactions`](Self::transactions), for a TPP. A system that has them in the
    /// standard's form already saves the bank reading and writing each.
    async fn transactions_as_json(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Listed>> {
        let page = self.transactions(account, query).await?;
        page.try_map(|transaction| {
            let transaction = Transaction {
                links: None,
                ..transaction
            };
            let id = transaction.transaction_id.as_ref().map(Text::as_str);
            Listed::of(id, &transaction)
        })
    }

    /// The same as [`card_transactions`](Self::card_transactions), for a TPP.
    async fn card_transactions_as_json(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Listed>> {
        let page = self.card_transactions(account, query).await?;
        page.try_map(|transaction| {
            let id = transaction.card_transaction_id.as_ref().map(Text::as_str);
            Listed::of(id, &transaction)
        })
    }

    /// Whether the system records the order in which entries arrive at an account, for delta
    /// reports. By default it does not, and TPPs are refused delta reports.
    fn has_deltas(&self) -> bool {
        false
    }

    /// When the booked entry of that reference came to the account: of a payment account by its
    /// `entryReference`, of a card account by its `cardTransactionId`. Of several, the earliest.
    async fn arrival_of(&self, account: &AccountId, reference: &str) -> Result<Option<Arrived>> {
        let _ = (account, reference);
        Ok(None)
    }

    /// A page of those transactions of a payment account in whose names and purposes a text occurs,
    /// without regard to case. A page can have fewer than `limit`, or none, and still a next page,
    /// because the work of one call is limited.
    ///
    /// The default implementation reads up to twenty pages of the account. A core banking system
    /// with a full-text index can do better.
    async fn find_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
        text: &str,
    ) -> Result<Page<Transaction>> {
        search::transactions(self, account, query, text).await
    }

    /// The same for a card account.
    async fn find_card_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
        text: &str,
    ) -> Result<Page<CardTransaction>> {
        search::card_transactions(self, account, query, text).await
    }
}
