//! Classification of a bank's refusals by what they mean for the consent. No I/O.

use chrono::TimeDelta;
use shared_types::xs2a::message::MessageCode;

use crate::error::Error;

/// Meaning of an error for the consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalMeaning {
    /// The consent may have ended: check its status.
    ConsentEnded,
    /// The same, but it may as well be about what was read under it.
    Ambiguous,
    /// It was read without the customer as often as is allowed; the bank may give the time to wait.
    UsedUp(Option<TimeDelta>),
    /// It does not concern the consent.
    Unrelated,
}

/// The meaning of a failed read's error for its consent.
pub(super) fn of(error: &Error) -> RefusalMeaning {
    match error.kind.status() {
        _ if error.is_access_exceeded() => {
            let wait = error.retry_after();
            RefusalMeaning::UsedUp(wait.and_then(|wait| TimeDelta::from_std(wait).ok()))
        }
        Some(400..=499) if error.is_about_consent() => RefusalMeaning::ConsentEnded,
        // Some banks give no reason.
        Some(401) if error.is_bare_denial() => RefusalMeaning::ConsentEnded,
        _ if error.is_bare_denial() || error.is_consent_gone() => RefusalMeaning::Ambiguous,
        _ => RefusalMeaning::Unrelated,
    }
}

/// Whether, by the bank's response, the last day of the consent has passed.
pub(super) fn is_expired(error: &Error) -> bool {
    error.is_consent_gone() && error.kind.has_code(&[MessageCode::ConsentExpired])
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::error::ErrorKind;

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
            (
                refused(401, "CONSENT_EXPIRED"),
                RefusalMeaning::ConsentEnded,
            ),
            (
                refused(401, "CONSENT_INVALID"),
                RefusalMeaning::ConsentEnded,
            ),
            (
                refused(403, "CONSENT_UNKNOWN"),
                RefusalMeaning::ConsentEnded,
            ),
            (
                refused(400, "CONSENT_UNKNOWN"),
                RefusalMeaning::ConsentEnded,
            ),
            (
                refused(404, "CONSENT_UNKNOWN"),
                RefusalMeaning::ConsentEnded,
            ),
            (
                refused(410, "CONSENT_EXPIRED"),
                RefusalMeaning::ConsentEnded,
            ),
            (bare(401), RefusalMeaning::ConsentEnded),
            (refused(401, "HOUSE_RULE"), RefusalMeaning::ConsentEnded),
            (bare(403), RefusalMeaning::Ambiguous),
            (bare(404), RefusalMeaning::Ambiguous),
            (bare(410), RefusalMeaning::Ambiguous),
            (refused(403, "RESOURCE_UNKNOWN"), RefusalMeaning::Ambiguous),
            (refused(404, "RESOURCE_UNKNOWN"), RefusalMeaning::Ambiguous),
            (refused(403, "RESOURCE_EXPIRED"), RefusalMeaning::Ambiguous),
            (
                refused(429, "ACCESS_EXCEEDED"),
                RefusalMeaning::UsedUp(None),
            ),
            (
                refused(400, "ACCESS_EXCEEDED"),
                RefusalMeaning::UsedUp(None),
            ),
            (
                refused(401, "ACCESS_EXCEEDED"),
                RefusalMeaning::UsedUp(None),
            ),
            (
                refused(403, "ACCESS_EXCEEDED"),
                RefusalMeaning::UsedUp(None),
            ),
            (refused(503, "ACCESS_EXCEEDED"), RefusalMeaning::Unrelated),
            (refused(429, "SERVICE_BLOCKED"), RefusalMeaning::Unrelated),
            (bare(429), RefusalMeaning::Unrelated),
            (bare(400), RefusalMeaning::Unrelated),
            (
                refused(401, "CERTIFICATE_EXPIRED"),
                RefusalMeaning::Unrelated,
            ),
            (
                refused(401, "CERTIFICATE_MISSING"),
                RefusalMeaning::Unrelated,
            ),
            (refused(403, "SERVICE_BLOCKED"), RefusalMeaning::Unrelated),
            (
                refused(401, "PSU_CREDENTIALS_INVALID"),
                RefusalMeaning::Unrelated,
            ),
            (refused(503, "CONSENT_EXPIRED"), RefusalMeaning::Unrelated),
        ] {
            assert_eq!(of(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_consent_that_is_gone_is_told_from_a_certificate_at_fault() {
        for (error, gone, expired) in [
            (refused(401, "CONSENT_EXPIRED"), true, true),
            (refused(401, "CONSENT_INVALID"), true, false),
            (refused(403, "CONSENT_UNKNOWN"), true, false),
            (refused(404, "RESOURCE_UNKNOWN"), true, false),
            (refused(403, "RESOURCE_EXPIRED"), true, false),
            (refused(410, "RESOURCE_EXPIRED"), true, false),
            (refused(404, "HOUSE_RULE"), false, false),
            (bare(404), false, false),
            (bare(410), false, false),
            (bare(401), false, false),
            (bare(403), false, false),
            (refused(401, "CERTIFICATE_INVALID"), false, false),
            (refused(404, "CERTIFICATE_BLOCKED"), false, false),
            (refused(404, "SERVICE_INVALID"), false, false),
            (refused(503, "CONSENT_UNKNOWN"), false, false),
            (refused(429, "CONSENT_EXPIRED"), false, false),
        ] {
            assert_eq!(error.is_consent_gone(), gone, "{error}");
            assert_eq!(is_expired(&error), expired, "{error}");
        }
        for status in [401, 403, 404, 410] {
            assert!(
                bare(status).is_bare_denial() && refused(status, "HOUSE_RULE").is_bare_denial()
            );
            assert!(!refused(status, "CERTIFICATE_INVALID").is_bare_denial());
        }
        assert!(!bare(400).is_bare_denial());
    }
}
