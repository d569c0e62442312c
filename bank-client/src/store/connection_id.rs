//! Id of a connection.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Id of a connection, which is one customer's access to one bank.
///
/// The id is a keyed digest of bank and customer: the same pair always has the same id, and without
/// the vault's key the id reveals neither of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConnectionId(Uuid);

impl ConnectionId {
    pub(crate) const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// Index of the shard of this connection, out of `count` shards.
    pub(crate) fn shard_index(&self, count: usize) -> usize {
        let sum: usize = self
            .0
            .as_bytes()
            .iter()
            .map(|byte| usize::from(*byte))
            .sum();
        sum.checked_rem(count).unwrap_or(0)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Error of parsing a [`ConnectionId`]: the text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a connection must be a UUID")]
pub struct NotAConnectionId;

impl FromStr for ConnectionId {
    type Err = NotAConnectionId;

    fn from_str(text: &str) -> Result<Self, NotAConnectionId> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| NotAConnectionId)
    }
}

impl TryFrom<String> for ConnectionId {
    type Error = NotAConnectionId;

    fn try_from(text: String) -> Result<Self, NotAConnectionId> {
        text.parse()
    }
}

impl From<ConnectionId> for String {
    fn from(id: ConnectionId) -> Self {
        id.to_string()
    }
}
