//! What a bank's refusals say of a consent. No I/O.

use chrono::TimeDelta;
use shared_types::consent::ConsentStatus;
use shared_types::message::MessageCode;

use crate::error::{Error, ErrorKind};

/// What an error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// The consent may have ended: the bank is to be asked.
    ConsentEnded,
    /// It was read without the customer as often as is allowed; the bank may say how long to wait.
    UsedUp(Option<TimeDelta>),
    /// Nothing of the consent.
    Nothing,
}

/// What an error says of the consent under which something was read.
pub(super) fn of(error: &Error) -> Says {
    match &error.kind {
        ErrorKind::Refused {
            status: 429,
            messages,
            ..
        } if messages
            .iter()
            .any(|message| message.code == MessageCode::AccessExceeded) =>
        {
            Says::UsedUp(wait(error))
        }
        ErrorKind::Refused {
            status: 400..=403, ..
        } if error.is_about_consent() => Says::ConsentEnded,
        // Some banks give no reason.
        ErrorKind::Status { status: 401, .. } => Says::ConsentEnded,
        _ => Says::Nothing,
    }
}

/// How long the bank asks us to wait.
fn wait(error: &Error) -> Option<TimeDelta> {
    let wait = error.retry_after()?;
    TimeDelta::from_std(wait).ok()
}

/// Whether the bank says that it does not know the consent.
pub(super) fn is_unknown(error: &Error) -> bool {
    match &error.kind {
        ErrorKind::Refused {
            status: 400..=404,
            messages,
            ..
        } => messages.iter().any(|message| {
            matches!(
                message.code,
                MessageCode::ConsentUnknown
                    | MessageCode::ResourceUnknown
                    | MessageCode::ResourceExpired
            )
        }),
        // A 404 without the standard's code may as well come from whatever stands before the bank.
        _ => false,
    }
}

/// Whether there is something to give up in a consent of that status.
pub(super) const fn stands(status: ConsentStatus) -> bool {
    matches!(
        status,
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised | ConsentStatus::Valid
    )
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn refused(status: u16, code: &str) -> Error {
        // The code that matters need not be the first.
        let messages = ["HOUSE_RULE", code]
            .map(|code| serde_json::json!({ "category": "ERROR", "code": code }))
            .map(|message| serde_json::from_value(message).unwrap());
        error(ErrorKind::Refused {
            status,
            messages: messages.into(),
            request_id: Uuid::nil(),
            retry_after: None,
        })
    }

    fn bare(status: u16) -> Error {
        error(ErrorKind::Status {
            status,
            request_id: Uuid::nil(),
            retry_after: None,
        })
    }

    fn error(kind: ErrorKind) -> Error {
        Error {
            bank: "Bank B".to_owned(),
            kind,
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        for (error, expected) in [
            (refused(401, "CONSENT_EXPIRED"), Says::ConsentEnded),
            (refused(401, "CONSENT_INVALID"), Says::ConsentEnded),
            (refused(403, "CONSENT_UNKNOWN"), Says::ConsentEnded),
            (refused(400, "CONSENT_UNKNOWN"), Says::ConsentEnded),
            (bare(401), Says::ConsentEnded),
            (refused(429, "ACCESS_EXCEEDED"), Says::UsedUp(None)),
            (refused(429, "SERVICE_BLOCKED"), Says::Nothing),
            (bare(429), Says::Nothing),
            (refused(401, "CERTIFICATE_EXPIRED"), Says::Nothing),
            (refused(404, "RESOURCE_UNKNOWN"), Says::Nothing),
            (refused(503, "CONSENT_EXPIRED"), Says::Nothing),
        ] {
            assert_eq!(of(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_consent_that_the_bank_does_not_know_is_told() {
        assert!(is_unknown(&refused(403, "CONSENT_UNKNOWN")));
        assert!(is_unknown(&refused(404, "RESOURCE_UNKNOWN")));
        assert!(!is_unknown(&bare(404)));
        assert!(!is_unknown(&refused(401, "CERTIFICATE_INVALID")));
        assert!(!is_unknown(&refused(503, "CONSENT_UNKNOWN")));
        assert!(!is_unknown(&bare(403)));
    }
}
