//! Blocking aggregator over many banks.

use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::transaction::Transaction;

use super::{Items, Runtime};
use crate::aggregator::{AccountResult, BankResult};
use crate::pages::{Entry, TransactionFilter};
use crate::response::Response;

/// [`aggregator::Aggregator`](crate::aggregator::Aggregator), on a [`Runtime`].
/// [`Runtime::aggregator`] makes one.
#[derive(Debug, Clone)]
pub struct Aggregator {
    aggregator: crate::aggregator::Aggregator,
    runtime: Runtime,
}

impl Runtime {
    /// Puts an aggregator on it.
    #[must_use]
    pub fn aggregator(&self, aggregator: crate::aggregator::Aggregator) -> Aggregator {
        Aggregator {
            aggregator,
            runtime: self.clone(),
        }
    }
}

impl Aggregator {
    /// The payment accounts of every member, in the order of arrival.
    pub fn accounts(&self, with_balance: bool) -> Items<BankResult<Response<Vec<AccountDetails>>>> {
        self.runtime.items(self.aggregator.accounts(with_balance))
    }

    /// The balances of every account of every member.
    pub fn balances(&self) -> Items<AccountResult<Vec<Balance>>> {
        self.runtime.entries(self.aggregator.balances())
    }

    /// The transactions of every account of every member, entry by entry.
    pub fn transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Items<AccountResult<Entry<Transaction>>> {
        self.runtime.entries(self.aggregator.transactions(filter))
    }
}
