//! Accounts, their ids, and the order in which entries arrive at them.

use serde::{Deserialize, Serialize};
use shared_types::xs2a::account::{AccountDetails, AccountReference};
use shared_types::xs2a::card_account::CardAccountDetails;

/// An account's `resourceId`: the same for every TPP and every consent, and no account number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub String);

/// An account as the bank keeps it.
///
/// The XS2A layer sets `resource_id`, `balances` and `links` of the wire types; their values here
/// are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The id.
    pub id: AccountId,
    /// Payment account or card account.
    pub kind: AccountKind,
    /// Number of its holders who have to approve a consent for it: 1, for nearly all.
    pub approvals_needed: u32,
}

/// The two kinds of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountKind {
    /// Served at `/v1/accounts`.
    Payment(Box<AccountDetails>),
    /// Served at `/v1/card-accounts`.
    Card(Box<CardAccountDetails>),
}

impl Account {
    /// Reference by which transactions and balances name the account.
    #[must_use]
    pub fn reference(&self) -> AccountReference {
        match &self.kind {
            AccountKind::Payment(details) => AccountReference {
                iban: details.iban.clone(),
                bban: details.bban.clone(),
                currency: Some(details.currency),
                ..AccountReference::default()
            },
            AccountKind::Card(details) => AccountReference {
                masked_pan: Some(details.masked_pan.clone()),
                currency: Some(details.currency),
                ..AccountReference::default()
            },
        }
    }
}

/// Position in the order in which entries arrived at an account: the greater, the later, whatever
/// their booking date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival(pub i64);

impl Arrival {
    /// Before the first entry.
    pub const BEFORE_ALL: Self = Self(i64::MIN);
}
