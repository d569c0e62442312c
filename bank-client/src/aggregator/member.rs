//! Members of an aggregator: a key and a handle for one bank.

use std::sync::Arc;

use crate::accounts::AccountInformation;
use crate::bank::Bank;

/// A handle for requests to one bank.
pub trait BankHandle: Clone + Send + Sync + 'static {
    /// The bank.
    fn bank(&self) -> &Bank;
}

impl BankHandle for Bank {
    fn bank(&self) -> &Bank {
        self
    }
}

impl BankHandle for AccountInformation {
    fn bank(&self) -> &Bank {
        self.bank()
    }
}

/// Member of an [`Aggregator`](super::Aggregator): a bank, or a consent at a bank.
#[derive(Debug, Clone)]
pub struct Member<M = AccountInformation> {
    key: Arc<str>,
    handle: M,
}

impl<M: BankHandle> Member<M> {
    /// Creates a member whose results carry this key, which distinguishes several consents at one
    /// bank.
    pub fn new(key: impl Into<Arc<str>>, handle: M) -> Self {
        Self {
            key: key.into(),
            handle,
        }
    }

    /// The key of its results.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The handle.
    #[must_use]
    pub fn handle(&self) -> &M {
        &self.handle
    }

    pub(super) fn shared_key(&self) -> Arc<str> {
        Arc::clone(&self.key)
    }
}

/// Its key is the bank's name.
impl<M: BankHandle> From<M> for Member<M> {
    fn from(handle: M) -> Self {
        let name = Arc::<str>::from(handle.bank().name());
        Self::new(name, handle)
    }
}
