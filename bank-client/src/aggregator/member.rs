//! Members of an aggregator: a key and a handle for one bank.

use std::sync::Arc;

use crate::accounts::AccountInformation;
use crate::bank::Bank;

/// A handle by which one bank is asked.
pub trait AtBank: Clone + Send + Sync + 'static {
    /// The bank.
    fn bank(&self) -> &Bank;
}

impl AtBank for Bank {
    fn bank(&self) -> &Bank {
        self
    }
}

impl AtBank for AccountInformation {
    fn bank(&self) -> &Bank {
        self.bank()
    }
}

/// One of those whom an [`Aggregator`](super::Aggregator) asks.
#[derive(Debug, Clone)]
pub struct Member<M = AccountInformation> {
    key: Arc<str>,
    handle: M,
}

impl<M: AtBank> Member<M> {
    /// A member with a key, which is in each of its outcomes. The key distinguishes two consents at
    /// one bank.
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
impl<M: AtBank> From<M> for Member<M> {
    fn from(handle: M) -> Self {
        let name = Arc::<str>::from(handle.bank().name());
        Self::new(name, handle)
    }
}
