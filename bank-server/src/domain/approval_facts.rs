//! Facts of an approval, to which SCA is bound (dynamic linking).

use std::fmt;
use std::num::NonZeroU32;

use chrono::NaiveDate;
use serde::Serialize;
use shared_types::pki::digest;
use shared_types::xs2a::account::AccountReference;
use utoipa::ToSchema;

use super::{AccountId, Grant};

/// What a customer approves. An approval counts for exactly these facts (Delegated Regulation (EU)
/// 2018/389, article 5).
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalFacts {
    /// The authorisation. Each approval has its own.
    #[schema(example = "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11")]
    pub authorisation_id: String,
    /// The customer.
    #[schema(example = "clara.holm")]
    pub customer_id: String,
    /// The TPP that receives access.
    pub tpp: TppFacts,
    /// The accounts that it can read.
    pub accounts: Vec<AccountFacts>,
    /// Whether it can read them repeatedly.
    pub recurring: bool,
    /// Reads a day without the customer.
    #[schema(value_type = u32)]
    pub frequency_per_day: NonZeroU32,
    /// Last day of the access.
    pub valid_until: NaiveDate,
}

/// A TPP, as register and certificate name it.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TppFacts {
    /// Its legal name.
    pub name: String,
    /// Its authorisation number.
    #[schema(example = "PSDDE-BAFIN-125314")]
    pub organisation: String,
    /// The authority that licensed it.
    #[schema(example = "DE-BAFIN")]
    pub authority: String,
}

/// An account, and what can be read of it.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountFacts {
    /// Its id at the core banking system.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// Its number and currency.
    pub reference: AccountReference,
    /// What can be read.
    pub actions: Vec<AccountAction>,
}

/// Data of an account that a TPP can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountAction {
    /// The account in the list of accounts.
    ListAccount,
    /// Its details.
    ReadDetails,
    /// Its balances.
    ReadBalances,
    /// Its transactions.
    ReadTransactions,
    /// The name of its owner.
    ReadOwnerName,
}

impl AccountAction {
    /// Those that a grant covers.
    pub(crate) fn of(grant: &Grant) -> Vec<Self> {
        [
            (true, Self::ListAccount),
            (grant.details, Self::ReadDetails),
            (grant.balances, Self::ReadBalances),
            (grant.transactions, Self::ReadTransactions),
            (grant.owner_name, Self::ReadOwnerName),
        ]
        .into_iter()
        .filter_map(|(is_granted, action)| is_granted.then_some(action))
        .collect()
    }
}

impl ApprovalFacts {
    /// SHA-256 of the facts, in hexadecimal digits. An approval comes back with it.
    #[must_use]
    pub fn digest(&self) -> String {
        // Text and numbers can always be written as JSON.
        digest::sha256(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// Without account data.
impl fmt::Debug for ApprovalFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApprovalFacts")
            .field("authorisation_id", &self.authorisation_id)
            .finish_non_exhaustive()
    }
}
