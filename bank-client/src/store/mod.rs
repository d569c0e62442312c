//! Store for consents and tokens.
//!
//! A [`Store`] keeps sealed records, and never sees what is in one: sealing is done before, by a
//! [`Vault`](crate::vault::Vault). There is one on SQLite (feature `sqlite`), and one in memory for
//! tests. A program that wants another writes these four methods, and runs `store::contract`
//! (feature `test-util`) on it.
//!
//! Several processes can share a store. Each record has a version, and is written or removed only
//! by a process that has read the latest one: no write overwrites an unread change.

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

/// Keeps sealed records.
///
/// The result of a method is durable: it survives the end of the process, and the loss of power,
/// as far as the store is one that does.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The record of that kind and id.
    async fn get(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError>;

    /// Records of that kind whose ids come after `after`, in the order of their ids' bytes; `most`
    /// of them at most.
    async fn list(
        &self,
        kind: Kind,
        after: &str,
        most: usize,
    ) -> Result<Vec<(String, Record)>, StoreError>;

    /// Writes a record, and returns its new version. `seen` is the version it has to have, or
    /// `None` if there must be none yet; else the answer is [`StoreError::Conflict`], and nothing
    /// is changed.
    async fn put(
        &self,
        kind: Kind,
        id: &str,
        seen: Option<Version>,
        sealed: &[u8],
    ) -> Result<Version, StoreError>;

    /// Removes a record of that version.
    async fn remove(&self, kind: Kind, id: &str, seen: Version) -> Result<(), StoreError>;
}

/// Kind of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A customer's connection to a bank, with its consents.
    Connection,
    /// Learnt properties of a bank.
    Bank,
    /// A token.
    Token,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connection, Self::Bank, Self::Token];

    /// As it is stored.
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

/// A version of a record. A store gives none out twice, not even for records of the same id one
/// after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// A record, as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Its version.
    pub version: Version,
    /// Its content, sealed.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.sealed.len();
        write!(f, "<{bytes} sealed bytes of version {}>", self.version.0)
    }
}

/// The longest id, in bytes.
pub const LONGEST_ID: usize = 200;

/// The largest record, in bytes.
pub const LARGEST_RECORD: usize = 1024 * 1024;

/// Failure of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The record has another version than the one that was seen.
    #[error("the record was changed meanwhile; read it again")]
    Conflict,
    /// The id has no byte, or more than [`LONGEST_ID`].
    #[error("an id has 1 to {LONGEST_ID} bytes")]
    Id,
    /// The record is larger than [`LARGEST_RECORD`].
    #[error("a record has {LARGEST_RECORD} bytes at most")]
    TooLarge,
    /// The file was made by a newer version of this program.
    #[error(
        "{path} was made by a newer version of this program ({found}; this one knows {known}); use that one"
    )]
    Newer {
        /// Which file.
        path: String,
        /// The version of its tables.
        found: i64,
        /// The latest that is known here.
        known: i64,
    },
    /// The file cannot be opened or made.
    #[error("{path} cannot be opened or made: {cause}")]
    Open {
        /// Which file.
        path: String,
        /// The cause.
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error("the store failed: {0}")]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// Whether a record may be written. Each store asks this first.
pub fn check(id: &str, sealed: &[u8]) -> Result<(), StoreError> {
    if id.is_empty() || id.len() > LONGEST_ID {
        return Err(StoreError::Id);
    }
    if sealed.len() > LARGEST_RECORD {
        return Err(StoreError::TooLarge);
    }
    Ok(())
}
