//! Shared cache of fetched CRLs, for the replicas of a server.

use std::time::Duration;

use async_trait::async_trait;

/// Shared cache of fetched CRLs. Its content is validated as if it had been fetched: it is trusted
/// no more than the network.
#[async_trait]
pub trait SharedCrlCache: Send + Sync + 'static {
    /// Returns the list of an address, or claims the fetch.
    async fn get_or_claim(&self, request: CrlRequest) -> Result<CacheLookup, CacheError>;

    /// Stores a fetched list in place of the previous one.
    async fn store(&self, address: &str, content: Vec<u8>, now: i64) -> Result<(), CacheError>;

    /// Releases the claim of a fetch that failed.
    async fn release_claim(&self, address: &str) -> Result<(), CacheError>;
}

/// A request for the list of an address. Times are seconds since 1970.
#[derive(Debug, Clone)]
pub struct CrlRequest {
    /// The address.
    pub address: String,
    /// The earliest acceptable time of the fetch.
    pub since: i64,
    /// The current time.
    pub now: i64,
    /// Duration of a claim: the time limit of a fetch.
    pub claim_time: Duration,
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheLookup {
    /// Another replica has fetched the list.
    Hit {
        /// Time of the fetch.
        fetched: i64,
        /// The content.
        content: Vec<u8>,
    },
    /// The caller has the claim, and is to fetch the list.
    Claimed,
    /// Another replica is fetching the list.
    InProgress,
}

/// Failure of the shared cache.
pub type CacheError = Box<dyn std::error::Error + Send + Sync>;
