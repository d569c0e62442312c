//! Errors of the consent manager.

use std::fmt;

use chrono::{DateTime, Utc};

use super::ConnectionId;
use super::connection_status::ConnectionStatus;
use crate::directory::BankId;
use crate::error::Error;
use crate::store::{RecordError, StoreError};

/// Failure of a manager. Its `Debug` is the sentence too: a program whose `main` returns it
/// ends with what to do.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// There is no connection of that id.
    #[error("there is no connection {0}")]
    NoSuchConnection(ConnectionId),
    /// The manager was given no handle for that bank.
    #[error("the bank {0} is not set up; give the manager a handle for it")]
    NoSuchBank(BankId),
    /// A request to the bank failed. Earlier responses are kept.
    #[error(transparent)]
    Bank(#[from] Error),
    /// A consent request failed, and may have reached the bank. Following or renewing that
    /// connection repeats the request, which takes effect once.
    #[error("it is not known whether the bank has heard: {error}")]
    Unanswered {
        /// Which connection.
        connection: ConnectionId,
        /// The error.
        error: Error,
    },
    /// Nothing can be read under the connection as it stands.
    #[error("nothing can be read: the connection {0}")]
    NotServing(ConnectionStatus),
    /// It was read without the customer as often as is allowed.
    #[error("used up for today: without the customer it can be read again from {again}")]
    UsedUp {
        /// From when on it is allowed again.
        again: DateTime<Utc>,
    },
    /// Some of the connection's consents may still stand at the bank; all of them were tried.
    #[error("the bank could not be told that {} of its consents end: {}", .errors.len(), joined(.errors))]
    NotGivenUp {
        /// The error for each of them.
        errors: Vec<Error>,
    },
    /// The address by which the customer's browser came back has no `state`.
    #[error(
        "the customer came back without a state: pass on the address or its query as it came, and give `return_to` where \
         the consent is asked for"
    )]
    StateMissing,
    /// The `state` that the customer's browser has brought back belongs to another connection, or
    /// to an earlier approval of this one.
    #[error(
        "the customer came back with a state that was not sent for connection {0}: take the connection's id from her session, \
         and do not go on"
    )]
    Foreign(ConnectionId),
    /// A one-off consent is not renewed; connect anew.
    #[error(
        "a consent for one read is not renewed; connect anew, or renew it by a wish for repeated reads"
    )]
    OneOff,
    /// Another process is at it.
    #[error("another process is busy with this connection; try again in a moment")]
    Busy,
    /// A record could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl fmt::Debug for ManagerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn joined(errors: &[Error]) -> String {
    let errors: Vec<String> = errors.iter().map(Error::to_string).collect();
    errors.join("; ")
}

impl From<StoreError> for ManagerError {
    fn from(error: StoreError) -> Self {
        Self::Record(error.into())
    }
}

/// Whether a record was changed by another process meanwhile.
pub(super) const fn is_conflict(error: &RecordError) -> bool {
    matches!(error, RecordError::Store(StoreError::Conflict))
}
