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

/// Methods of the asynchronous handle, each waiting for its outcome or iterating over its stream.
macro_rules! blocking {
    ($inner:ident.$call:ident: $($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {$(
        $(#[$doc])*
        pub fn $name(&self, $($argument: $type),*) -> $result {
            self.runtime.$call(self.$inner.$name($($argument),*))
        }
    )*};
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

    /// Requests a consent, and returns how the customer can approve it.
    pub fn ask_for_consent(
        &self,
        consent: &ConsentRequest,
        psu: impl Into<Option<IpAddr>> + Send,
        options: &ApprovalOptions,
    ) -> Result<ConsentAsked, Error> {
        self.runtime
            .block_on(self.bank.ask_for_consent(consent, psu, options))
    }

    blocking! {
        bank.block_on:
        /// Reads a consent.
        fn consent(id: &str) -> Result<Response<ConsentInformation>, Error>;
        /// Reads where a consent stands.
        fn consent_status(id: &str) -> Result<ConsentStatus, Error>;
        /// Ends a consent.
        fn delete_consent(id: &str) -> Result<(), Error>;
    }
}

impl AccountInformation {
    /// Sets the IP address of the customer's device (`PSU-IP-Address`): the customer is present.
    #[must_use]
    pub fn psu_ip_address(self, psu: IpAddr) -> Self {
        Self {
            accounts: self.accounts.psu_ip_address(psu),
            ..self
        }
    }

    /// Sign of a card account's debits, by the last response that had it.
    #[must_use]
    pub fn debit_accounting(&self, id: &str) -> Option<bool> {
        self.accounts.debit_accounting(id)
    }

    blocking! {
        accounts.block_on:
        /// The payment accounts.
        fn accounts(with_balance: bool) -> Result<Response<Vec<AccountDetails>>, Error>;
        /// One payment account.
        fn account(id: &str, with_balance: bool) -> Result<Response<AccountDetails>, Error>;
        /// The balances of a payment account.
        fn balances(id: &str) -> Result<Response<AccountBalances>, Error>;
        /// One transaction.
        fn transaction(id: &str, transaction_id: &str) -> Result<Response<Transaction>, Error>;
        /// The card accounts.
        fn card_accounts(with_balance: bool) -> Result<Response<Vec<CardAccountDetails>>, Error>;
        /// One card account.
        fn card_account(id: &str, with_balance: bool) -> Result<Response<CardAccountDetails>, Error>;
        /// The balances of a card account.
        fn card_balances(id: &str) -> Result<Response<CardAccountBalances>, Error>;
    }

    blocking! {
        accounts.entries:
        /// All transactions of a payment account, page by page as they are asked for.
        fn transactions(id: &str, filter: &TransactionFilter) -> Items<Result<Entry<Transaction>, Error>>;
        /// The standing orders of a payment account.
        fn standing_orders(id: &str) -> Items<Result<Transaction, Error>>;
        /// All transactions of a card account.
        fn card_transactions(id: &str, filter: &TransactionFilter) -> Items<Result<Entry<CardTransaction>, Error>>;
    }
}
