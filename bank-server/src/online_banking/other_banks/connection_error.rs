//! Connection errors and reasons for the end of a connection, as shown to the customer.

use bank_client::{Error, ErrorKind};
use shared_types::xs2a::consent::ConsentStatus;

/// Failure of another bank. Data that was read before is still shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionError {
    /// It cannot be reached.
    Down,
    /// It does not respond in time.
    Slow,
    /// One of the two banks does not accept the other's certificate.
    NotTrusted,
    /// The other bank's daily limit of requests is used up.
    TooOften,
    /// Its response is invalid, or an error.
    Faulty,
}

impl ConnectionError {
    const ALL: [Self; 5] = [
        Self::Down,
        Self::Slow,
        Self::NotTrusted,
        Self::TooOften,
        Self::Faulty,
    ];

    pub(super) fn of(error: &Error) -> Self {
        match error.kind {
            ErrorKind::Unreachable { .. }
            | ErrorKind::Interrupted { .. }
            | ErrorKind::OwnKey { .. } => Self::Down,
            ErrorKind::Timeout { .. } => Self::Slow,
            ErrorKind::TheyRefused { .. } | ErrorKind::WeRefused { .. } => Self::NotTrusted,
            _ if error.is_access_exceeded() => Self::TooOften,
            ErrorKind::Refused { status: 429, .. } | ErrorKind::Status { status: 429, .. } => {
                Self::TooOften
            }
            ErrorKind::Refused { status: 503, .. } | ErrorKind::Status { status: 503, .. } => {
                Self::Down
            }
            _ => Self::Faulty,
        }
    }

    /// Name in the database.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Slow => "slow",
            Self::NotTrusted => "not-trusted",
            Self::TooOften => "too-often",
            Self::Faulty => "faulty",
        }
    }

    pub(super) fn read(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|connection_error| connection_error.name() == name)
    }
}

/// Reason for which a consent gives no access any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The customer has withdrawn it at the other bank.
    Revoked,
    /// Its last day has passed.
    Expired,
    /// It was replaced by a newer one, or abandoned.
    Replaced,
    /// The other bank does not know it, or does not accept it.
    Gone,
}

impl Ending {
    const ALL: [Self; 4] = [Self::Revoked, Self::Expired, Self::Replaced, Self::Gone];

    pub(super) const fn of(status: ConsentStatus) -> Self {
        match status {
            ConsentStatus::RevokedByPsu => Self::Revoked,
            ConsentStatus::Expired => Self::Expired,
            ConsentStatus::TerminatedByTpp => Self::Replaced,
            _ => Self::Gone,
        }
    }

    /// Name in the database.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Replaced => "replaced",
            Self::Gone => "gone",
        }
    }

    pub(super) fn read(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| ending.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_exceeded_is_too_often_with_any_status() {
        for status in [400, 401, 403, 429] {
            let message = serde_json::json!({ "category": "ERROR", "code": "ACCESS_EXCEEDED" });
            let error = Error {
                bank: "Bank B".to_owned(),
                kind: ErrorKind::Refused {
                    status,
                    messages: vec![serde_json::from_value(message).unwrap()],
                    request_id: uuid::Uuid::nil(),
                    retry_after: None,
                },
            };
            assert_eq!(
                ConnectionError::of(&error),
                ConnectionError::TooOften,
                "{status}"
            );
        }
    }

    #[test]
    fn stored_names_decode() {
        for connection_error in ConnectionError::ALL {
            assert_eq!(
                ConnectionError::read(connection_error.name()),
                Some(connection_error)
            );
        }
        for ending in Ending::ALL {
            assert_eq!(Ending::read(ending.name()), Some(ending));
        }
        assert_eq!(
            (ConnectionError::read("gone"), Ending::read("down")),
            (None, None)
        );
    }
}
