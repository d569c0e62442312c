//! Where replicas share the lists that one of them has fetched.

use std::time::Duration;

use async_trait::async_trait;

/// A place that all replicas of a server reach. What is on it is judged as if it had been fetched: it is believed no more
/// than the network.
#[async_trait]
pub trait SharedCrlCache: Send + Sync + 'static {
    /// What there is of an address that is wanted; or the turn to fetch it.
    async fn look(&self, wanted: Wanted) -> Result<Look, ShelfError>;

    /// Puts down what was fetched, in place of what was there.
    async fn put(&self, address: &str, content: Vec<u8>, now: i64) -> Result<(), ShelfError>;

    /// Gives the turn back: nothing came of it.
    async fn give_up(&self, address: &str) -> Result<(), ShelfError>;
}

/// What is looked for. Times are seconds since 1970.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// From where.
    pub address: String,
    /// What was fetched before then is not wanted.
    pub since: i64,
    /// The time.
    pub now: i64,
    /// How long a fetch may take. Whoever has the turn has it for so long.
    pub turn: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Another one has fetched it.
    Fetched {
        /// When it was fetched.
        fetched: i64,
        /// What came.
        content: Vec<u8>,
    },
    /// It is to be fetched by whoever asked.
    Ours,
    /// Another one is fetching it.
    Wait,
}

/// The shelf cannot be reached.
pub type ShelfError = Box<dyn std::error::Error + Send + Sync>;
