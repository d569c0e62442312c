//! Requests and answers of the core banking API (`docs/core-banking-api.md`).

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::{BookingStatus, Transaction};
use utoipa::ToSchema;

use crate::core_banking::PageKey;
use crate::domain::AccountId;

/// Query for the accounts of one customer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerAccountsQuery<'a> {
    /// The customer's id, with which she logs in.
    #[schema(example = "clara.holm")]
    pub(super) customer_id: &'a str,
}

/// The accounts of one customer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerAccounts {
    /// The id of the query.
    pub(super) customer_id: String,
    /// In an order that stays the same; none for an unknown customer.
    #[schema(value_type = Vec<AccountSchema>)]
    pub(super) accounts: Vec<CoreAccount>,
}

/// Query for accounts, or for their balances.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountsQuery<'a> {
    /// Ids, each once.
    #[schema(max_items = 1000, value_type = Vec<String>)]
    pub(super) account_ids: &'a [AccountId],
}

/// Accounts.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Accounts {
    /// Those of the ids that exist, in any order.
    #[schema(value_type = Vec<AccountSchema>)]
    pub(super) accounts: Vec<CoreAccount>,
}

/// An account.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CoreAccount {
    pub(super) account_id: AccountId,
    pub(super) kind: Kind,
    pub(super) approvals_needed: u32,
    /// By its kind.
    pub(super) details: serde_json::Value,
}

/// Kind of account.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Payment account.
    Payment,
    /// Card account.
    Card,
}

/// Schema of an account. Accounts are read in two steps, so that an error has its full path.
#[derive(ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[schema(as = CoreAccount)]
#[expect(dead_code, reason = "a schema")]
pub(super) enum AccountSchema {
    /// Payment account.
    Payment(AccountOf<AccountDetails>),
    /// Card account.
    Card(AccountOf<CardAccountDetails>),
}

/// An account of one kind.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "a schema")]
pub(super) struct AccountOf<D> {
    /// The `resourceId` that TPPs see: the same for ever, and not derived from the account number.
    #[schema(
        pattern = "^[A-Za-z0-9._~-]{1,70}$",
        example = "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11"
    )]
    account_id: String,
    /// Number of holders who have to approve a consent for it.
    #[schema(minimum = 1)]
    approvals_needed: u32,
    /// `accountDetails` or `cardAccountDetails` of `NextGenPSD2`, without `resourceId`, `balances`
    /// and `_links`.
    details: D,
}

/// Balances of several accounts.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Balances {
    /// One element for each id of the query, in any order.
    pub(super) balances: Vec<AccountBalances>,
}

/// Balances of one account.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CoreAccountBalances)]
pub(super) struct AccountBalances {
    /// The account.
    #[schema(value_type = String)]
    pub(super) account_id: AccountId,
    /// Empty for an account without any, or that does not exist.
    pub(super) balances: Vec<Balance>,
}

/// Query for a page of an account's entries.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntriesQuery<'a> {
    /// The account.
    #[schema(value_type = String)]
    pub(super) account_id: &'a AccountId,
    /// First day of `date`.
    pub(super) date_from: NaiveDate,
    /// Last day of `date`, inclusive.
    pub(super) date_to: NaiveDate,
    /// Booked entries, pending ones, or both.
    pub(super) booking_status: BookingStatus,
    /// Maximum number of entries.
    #[schema(minimum = 1, maximum = 1000)]
    pub(super) limit: usize,
    /// Only entries that come after this place; absent: from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<PageKey>,
    /// Delta report: of the booked entries only those with a greater `sequence`, in order of
    /// `sequence` alone. Sent only with `deltas = true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arrived_after: Option<i64>,
    /// Text search. Sent only with `text_search = true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<&'a str>,
}

/// A page of an account's entries.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryPage<D> {
    /// The account of the query.
    #[schema(value_type = String)]
    pub(super) account_id: AccountId,
    /// In the order of their places.
    pub(super) entries: Vec<Entry<D>>,
    /// Place after which the next page starts; absent: there is none.
    pub(super) next: Option<PageKey>,
}

/// An entry of an account.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Entry<D> {
    /// Whether it is booked or pending.
    pub(super) booked: bool,
    /// Its booking date, or the day on which the pending one was entered.
    pub(super) date: NaiveDate,
    /// Order within the day: the greater, the newer. Never two alike in one account.
    pub(super) sequence: i64,
    /// The entry in the form of `NextGenPSD2`, without `_links`.
    pub(super) details: D,
}

impl<D> Entry<D> {
    pub(super) fn place(&self) -> PageKey {
        PageKey {
            booked: self.booked,
            date: self.date,
            sequence: self.sequence,
        }
    }
}

/// Query for one transaction.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneTransactionQuery<'a> {
    /// The account.
    #[schema(value_type = String)]
    pub(super) account_id: &'a AccountId,
    /// Its `transactionId`.
    pub(super) transaction_id: &'a str,
}

/// One transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneTransaction {
    /// The account of the query.
    #[schema(value_type = String)]
    pub(super) account_id: AccountId,
    /// The transaction; absent if there is none.
    pub(super) details: Option<Transaction>,
}

/// Query for the arrival of a booked entry.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArrivalQuery<'a> {
    /// The account.
    #[schema(value_type = String)]
    pub(super) account_id: &'a AccountId,
    /// `entryReference` of a transaction, or `cardTransactionId` of a card's.
    pub(super) reference: &'a str,
}

/// Arrival of a booked entry.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ArrivalAnswer {
    /// The account of the query.
    #[schema(value_type = String)]
    pub(super) account_id: AccountId,
    /// The arrival; absent if there is no such entry.
    pub(super) arrival: Option<ArrivalPlace>,
}

/// Place of a booked entry in the order of arrival.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ArrivalPlace {
    /// Its `sequence`.
    pub(super) sequence: i64,
    /// Its booking date.
    pub(super) date: NaiveDate,
}

/// An entry in the form of the standard: a transaction of a payment account or of a card account.
pub(super) trait EntryDetails {
    /// Its id, if it has one.
    fn id(&self) -> Option<&str>;
    /// Its booking date, if it is booked.
    fn booking_date(&self) -> Option<NaiveDate>;
    /// The masked number of the card that was used, if it has one.
    fn masked_pan(&self) -> Option<&str>;
}

impl EntryDetails for Transaction {
    fn id(&self) -> Option<&str> {
        self.transaction_id.as_ref().map(Text::as_str)
    }

    fn booking_date(&self) -> Option<NaiveDate> {
        self.booking_date
    }

    fn masked_pan(&self) -> Option<&str> {
        None
    }
}

impl EntryDetails for CardTransaction {
    fn id(&self) -> Option<&str> {
        self.card_transaction_id.as_ref().map(Text::as_str)
    }

    fn booking_date(&self) -> Option<NaiveDate> {
        self.booking_date
    }

    fn masked_pan(&self) -> Option<&str> {
        self.masked_pan.as_ref().map(Text::as_str)
    }
}
