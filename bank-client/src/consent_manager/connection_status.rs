//! Status of a connection, as the program sees it.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};

use super::lifecycle::{ApprovalFailure, EndReason};

/// Status of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// The first consent waits for the customer.
    Waiting,
    /// It can be read.
    Serving {
        /// The last day.
        until: NaiveDate,
        /// The consent that is to take the place of the one there is.
        renewal: Option<Renewal>,
    },
    /// It can be read while the customer is present; without her it was read as often as is
    /// allowed.
    UsedUp {
        /// The last day.
        until: NaiveDate,
        /// From then on it can be read without her again.
        again: DateTime<Utc>,
        /// The consent that is to take the place of the one there is.
        renewal: Option<Renewal>,
    },
    /// There never was anything to read under.
    NeverApproved(ApprovalFailure),
    /// There is nothing to read under any more.
    Ended {
        /// The reason.
        reason: EndReason,
        /// The consent that is to take the place of the one there was.
        renewal: Option<Renewal>,
    },
    /// It is being disconnected, and the bank has not ended all its consents yet.
    Leaving,
}

/// A consent that is to take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Renewal {
    /// It waits for the customer.
    Waiting,
    /// Nothing came of it.
    Failed(ApprovalFailure),
}

impl ConnectionStatus {
    /// Whether it can be read, at least while the customer is present.
    #[must_use]
    pub const fn is_serving(&self) -> bool {
        matches!(self, Self::Serving { .. } | Self::UsedUp { .. })
    }

    /// The last day, if it can be read.
    #[must_use]
    pub const fn until(&self) -> Option<NaiveDate> {
        match self {
            Self::Serving { until, .. } | Self::UsedUp { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// The consent that is to take the place of the one there is, or was.
    #[must_use]
    pub const fn renewal(&self) -> Option<Renewal> {
        match self {
            Self::Serving { renewal, .. }
            | Self::UsedUp { renewal, .. }
            | Self::Ended { renewal, .. } => *renewal,
            _ => None,
        }
    }
}

impl fmt::Display for ConnectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waits for the customer's approval")?,
            Self::Serving { until, .. } => write!(f, "serves until {until}")?,
            Self::UsedUp { until, again, .. } => {
                let again = again.format("%Y-%m-%d %H:%M UTC");
                write!(
                    f,
                    "serves until {until}; used up for today, without the customer again from {again}"
                )?;
            }
            Self::NeverApproved(why) => write!(f, "was never approved: {why}")?,
            Self::Ended { reason, .. } => write!(f, "has ended: {reason}")?,
            Self::Leaving => f.write_str("is being given up")?,
        }
        match self.renewal() {
            None => Ok(()),
            Some(Renewal::Waiting) => f.write_str("; a new approval waits for the customer"),
            Some(Renewal::Failed(why)) => write!(f, "; the renewal was not approved: {why}"),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "expired",
            Self::RevokedByCustomer => "revoked by the customer",
            Self::Replaced => "replaced by a newer one, or given up",
            Self::Gone => "unknown to the bank",
        })
    }
}

impl fmt::Display for ApprovalFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Lapsed => "not approved in time",
            Self::NotAsked => "the bank did not take the request",
        })
    }
}
