//! Store for consents and tokens.
//!
//! A [`Store`] holds records that a [`Vault`](crate::vault::Vault) has encrypted ("sealed")
//! beforehand, and never sees their plaintext. `SqliteStore` (feature `sqlite`) is for production,
//! [`MemoryStore`] for tests. To use another database, implement the four methods of [`Store`],
//! and test them with `store::contract` (feature `test-util`).
//!
//! Several processes can share a store: optimistic locking prevents lost updates. Each record has a
//! version; a write or removal names the version that it replaces, and fails with
//! [`StoreError::Conflict`] if the record has another one.

use std::fmt;

use async_trait::async_trait;

mod connection_id;
#[cfg(any(feature = "test-util", test))]
pub mod contract;
mod memory;
mod sealed;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tokens;

pub use self::connection_id::{ConnectionId, NotAConnectionId};
pub use self::memory::MemoryStore;
pub use self::sealed::RecordError;
pub(crate) use self::sealed::Sealed;
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
pub use self::tokens::{Owner, Token, Tokens};

/// Key-value store for sealed records.
///
/// A persistent store returns success only once the change is on disk, where it survives a crash
/// and a power failure.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Returns the record with this kind and id.
    async fn get(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError>;

    /// Returns up to `limit` records of this kind with ids greater than `after`, ordered by the
    /// bytes of their ids.
    async fn list(
        &self,
        kind: Kind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, StoreError>;

    /// Writes a record, and returns its new version. `expected` is the version to replace, or
    /// `None` to create the record. If the record has another version, this fails with
    /// [`StoreError::Conflict`] and changes nothing.
    async fn put(
        &self,
        kind: Kind,
        id: &str,
        expected: Option<Version>,
        sealed: &[u8],
    ) -> Result<Version, StoreError>;

    /// Removes a record. Fails with [`StoreError::Conflict`] if its version is not `expected`.
    async fn remove(&self, kind: Kind, id: &str, expected: Version) -> Result<(), StoreError>;
}

/// Kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A customer's connection to a bank, with its consents.
    Connection,
    /// What the SDK has learnt about a bank from its responses.
    Bank,
    /// A token.
    Token,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Connection, Self::Bank, Self::Token];

    /// Name of the kind in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Bank => "bank",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Version of a record. A store never assigns the same version twice, not even after a record was
/// removed and created again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A stored record.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its version.
    pub version: Version,
    /// Its encrypted content.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.sealed.len();
        write!(f, "<{bytes} sealed bytes of version {}>", self.version.0)
    }
}

/// Maximum length of an id, in bytes.
pub const MAX_ID_BYTES: usize = 200;

/// Maximum size of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Failure of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The record's version is not the expected one: it has changed since it was read.
    #[error("the record has changed since it was read; read it again")]
    Conflict,
    /// The id is empty, or longer than [`MAX_ID_BYTES`].
    #[error("the id must have 1 to {MAX_ID_BYTES} bytes")]
    InvalidId,
    /// The record is larger than [`MAX_RECORD_BYTES`].
    #[error("the record exceeds {MAX_RECORD_BYTES} bytes")]
    TooLarge,
    /// A newer version of this program has created or migrated the file.
    #[error(
        "{path} has schema version {found}, but this program supports {supported}; use a newer one"
    )]
    NewerSchema {
        /// Path of the file.
        path: String,
        /// Schema version of the file.
        found: i64,
        /// Latest schema version that this program supports.
        supported: i64,
    },
    /// The file cannot be opened or created.
    #[error("{path} cannot be opened or created: {cause}")]
    Open {
        /// Path of the file.
        path: String,
        /// The cause.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// Checks the limits of a record's id and size. Implementations of [`Store::put`] call this first.
pub fn check_record(id: &str, sealed: &[u8]) -> Result<(), StoreError> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(StoreError::InvalidId);
    }
    if sealed.len() > MAX_RECORD_BYTES {
        return Err(StoreError::TooLarge);
    }
    Ok(())
}
