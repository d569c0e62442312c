//! Blocking handle for one bank, and for the accounts under a consent.

use std::net::IpAddr;

use shared_types::xs2a::account::{AccountBalances, AccountDetails};
use shared_types::xs2a::card_account::{CardAccountBalances, CardAccountDetails, CardTransaction};
use shared_types::xs2a::consent::{
    ConsentCreated, ConsentInformation, ConsentRequest, ConsentStatus,
};
use shared_types::xs2a::transaction::Transaction;

use super::{Items, Runtime};
use crate::authorisations::{ApprovalOptions, ConsentAsked};
use crate::error::Error;
use crate::pages::{Entry, TransactionFilter};
use crate::response::Response;

/// [`Bank`](crate::Bank), on a [`Runtime`]. [`Runtime::bank`] makes one.
#[derive(Debug, Clone)]
pub struct Bank {
    bank: crate::bank::Bank,
    runtime: Runtime,
}

/// [`AccountInformation`](crate::AccountInformation), on a [`Runtime`]. [`Bank::with_consent`]
/// makes one.
#[derive(Debug, Clone)]
pub struct AccountInformation {
    accounts: crate::accounts::AccountInformation,
    runtime: Runtime,
}

impl Runtime {
    /// Puts a bank on it.
    #[must_use]
    pub fn bank(&self, bank: crate::bank::Bank) -> Bank {
        Bank {
            bank,
            runtime: self.clone(),
        }
    }
}

impl Bank {
    /// The name by which errors call the bank.
    #[must_use]
    pub fn name(&self) -> &str {
        self.bank.name()
    }

    /// Reads accounts under that consent.
    #[must_use]
    pub fn with_consent(&self, consent_id: impl Into<String>) -> AccountInformation {
        AccountInformation {
            accounts: self.bank.with_consent(consent_id),
            runtime: self.runtime.clone(),
        }
    }

    /// Asks for a consent.
    pub fn create_consent(
        &self,
        consent: &ConsentRequest,
        psu: impl Into<Option<IpAddr>> + Send,
    ) -> Result<Response<ConsentCreated>, Error> {
        self.runtime
            .block_on(self.bank.create_consent(consent, psu))
    }

    /// Asks for a consent, and says how the customer is to approve it.
    pub fn ask_for_consent(
        &self,
        consent: &ConsentRequest,
        psu: impl Into<Option<IpAddr>> + Send,
        options: &ApprovalOptions,
    ) -> Result<ConsentAsked, Error> {
        self.runtime
            .block_on(self.bank.ask_for_consent(consent, psu, options))
    }

    /// Reads a consent.
    pub fn consent(&self, id: &str) -> Result<Response<ConsentInformation>, Error> {
        self.runtime.block_on(self.bank.consent(id))
    }

    /// Reads where a consent stands.
    pub fn consent_status(&self, id: &str) -> Result<ConsentStatus, Error> {
        self.runtime.block_on(self.bank.consent_status(id))
    }

    /// Ends a consent.
    pub fn delete_consent(&self, id: &str) -> Result<(), Error> {
        self.runtime.block_on(self.bank.delete_consent(id))
    }
}

impl AccountInformation {
    /// The customer is present, and that is the address of her device.
    #[must_use]
    pub fn attended_by(self, psu: IpAddr) -> Self {
        Self {
            accounts: self.accounts.attended_by(psu),
            ..self
        }
    }

    /// The payment accounts.
    pub fn accounts(&self, with_balance: bool) -> Result<Response<Vec<AccountDetails>>, Error> {
        self.runtime.block_on(self.accounts.accounts(with_balance))
    }

    /// One payment account.
    pub fn account(&self, id: &str, with_balance: bool) -> Result<Response<AccountDetails>, Error> {
        self.runtime
            .block_on(self.accounts.account(id, with_balance))
    }

    /// The balances of a payment account.
    pub fn balances(&self, id: &str) -> Result<Response<AccountBalances>, Error> {
        self.runtime.block_on(self.accounts.balances(id))
    }

    /// All transactions of a payment account, page by page as they are asked for.
    pub fn transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Items<Result<Entry<Transaction>, Error>> {
        self.runtime.entries(self.accounts.transactions(id, filter))
    }

    /// The standing orders of a payment account.
    pub fn standing_orders(&self, id: &str) -> Items<Result<Transaction, Error>> {
        self.runtime.entries(self.accounts.standing_orders(id))
    }

    /// One transaction.
    pub fn transaction(
        &self,
        id: &str,
        transaction_id: &str,
    ) -> Result<Response<Transaction>, Error> {
        self.runtime
            .block_on(self.accounts.transaction(id, transaction_id))
    }

    /// The card accounts.
    pub fn card_accounts(
        &self,
        with_balance: bool,
    ) -> Result<Response<Vec<CardAccountDetails>>, Error> {
        self.runtime
            .block_on(self.accounts.card_accounts(with_balance))
    }

    /// One card account.
    pub fn card_account(
        &self,
        id: &str,
        with_balance: bool,
    ) -> Result<Response<CardAccountDetails>, Error> {
        self.runtime
            .block_on(self.accounts.card_account(id, with_balance))
    }

    /// The balances of a card account.
    pub fn card_balances(&self, id: &str) -> Result<Response<CardAccountBalances>, Error> {
        self.runtime.block_on(self.accounts.card_balances(id))
    }

    /// Sign of a card account's debits, as the last answer said that did.
    #[must_use]
    pub fn debit_accounting(&self, id: &str) -> Option<bool> {
        self.accounts.debit_accounting(id)
    }

    /// All transactions of a card account.
    pub fn card_transactions(
        &self,
        id: &str,
        filter: &TransactionFilter,
    ) -> Items<Result<Entry<CardTransaction>, Error>> {
        self.runtime
            .entries(self.accounts.card_transactions(id, filter))
    }
}
