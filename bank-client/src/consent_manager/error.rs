//! What can keep a manager from doing what it is asked.

use chrono::{DateTime, Utc};

use super::record::ConnectionId;
use super::standing::Standing;
use crate::directory::BankId;
use crate::error::Error;
use crate::store::{RecordError, StoreError};

/// Why a manager did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// There is no connection of that id.
    #[error("there is no connection {0}")]
    NoSuchConnection(ConnectionId),
    /// The manager was given no handle for that bank.
    #[error("the bank {0} is not set up; give the manager a handle for it")]
    NoSuchBank(BankId),
    /// The bank did not do its part. What it has answered until then is kept.
    #[error(transparent)]
    Bank(#[from] Error),
    /// The bank was asked for a consent, and it is not known whether it has heard. Following or renewing that connection
    /// asks again, with one effect.
    #[error("it is not known whether the bank has heard: {error}")]
    Unanswered {
        /// Which connection.
        connection: ConnectionId,
        /// What went wrong.
        error: Error,
    },
    /// Nothing can be read under the connection as it stands.
    #[error("nothing can be read: the connection {0}")]
    NotServing(Standing),
    /// It was read without the customer as often as is allowed.
    #[error("used up for today: without the customer it can be read again from {again}")]
    UsedUp {
        /// From when on it is allowed again.
        again: DateTime<Utc>,
    },
    /// What the customer's browser has brought back does not belong to this connection. Whoever it was: do not go on.
    #[error("what came back from the bank does not belong to this connection")]
    Foreign,
    /// A one-off consent is not renewed; connect anew.
    #[error("a consent for one read is not renewed; connect anew")]
    OneOff,
    /// Another process is at it.
    #[error("another process is busy with this connection; try again in a moment")]
    Busy,
    /// What is stored could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl From<StoreError> for ManagerError {
    fn from(error: StoreError) -> Self {
        Self::Record(error.into())
    }
}

/// Whether a record was changed by somebody else meanwhile.
pub(super) const fn is_conflict(error: &RecordError) -> bool {
    matches!(error, RecordError::Store(StoreError::Conflict))
}
