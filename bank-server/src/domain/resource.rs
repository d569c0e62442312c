//! Resources of account information, as far as the access frequency counts reads of them.

use super::AccountId;

/// A resource, as far as reads of it are counted together. The pages of a list are one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The list of payment accounts.
    Accounts,
    /// The list of card accounts.
    CardAccounts,
    /// One account, of either kind.
    Account(&'a AccountId),
    /// Its balances.
    Balances(&'a AccountId),
    /// The list of its transactions.
    Transactions(&'a AccountId),
    /// One of its transactions.
    Transaction(&'a AccountId, &'a str),
}

impl<'a> Resource<'a> {
    /// Key of its counter: the operation, the account, and the item.
    #[must_use]
    pub fn key(&self) -> (&'static str, &'a str, &'a str) {
        match *self {
            Self::Accounts => ("accounts", "", ""),
            Self::CardAccounts => ("card-accounts", "", ""),
            Self::Account(account) => ("account", &account.0, ""),
            Self::Balances(account) => ("balances", &account.0, ""),
            Self::Transactions(account) => ("transactions", &account.0, ""),
            Self::Transaction(account, id) => ("transaction", &account.0, id),
        }
    }
}
