//! Terms of a consent request: access, validity and frequency, within a bank's known maximum.

use std::num::NonZeroU32;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared_types::xs2a::consent::{AccountAccess, AllAccounts, ConsentRequest};
use shared_types::xs2a::message::{MessageCode, TppMessage};

use crate::error::{Error, ErrorKind};

/// Terms that a customer is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct ConsentTerms {
    access: AccountAccess,
    recurring: bool,
    days: Option<u32>,
    a_day: NonZeroU32,
}

/// Longer than that no consent lasts without the customer's approval (Delegated Regulation (EU)
/// 2018/389, article 10a).
const LONGEST_DAYS: u32 = 180;

/// Validity that is tried in turn where a bank refuses a longer one.
const TRIED_DAYS: [u32; 2] = [LONGEST_DAYS, 90];

/// Reads a day with no customer present (article 36).
const A_DAY: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

impl ConsentTerms {
    /// Repeated reads of that, for as long as the bank allows, four times a day with no customer
    /// present.
    pub const fn of(access: AccountAccess) -> Self {
        Self {
            access,
            recurring: true,
            days: None,
            a_day: A_DAY,
        }
    }

    /// The same, of something else.
    pub fn access(mut self, access: AccountAccess) -> Self {
        self.access = access;
        self
    }

    /// The same, of all that the customer has.
    pub fn all_accounts() -> Self {
        Self::of(AccountAccess {
            all_psd2: Some(AllAccounts::AllAccounts),
            ..AccountAccess::default()
        })
    }

    /// For one read alone.
    pub const fn once(mut self) -> Self {
        self.recurring = false;
        self.a_day = NonZeroU32::MIN;
        self
    }

    /// For so many days, or fewer if the bank wants it so.
    pub const fn days(mut self, days: u32) -> Self {
        self.days = Some(days);
        self
    }

    /// Sets the reads a day with no customer present.
    pub const fn a_day(mut self, reads: NonZeroU32) -> Self {
        self.a_day = reads;
        self
    }

    pub(super) const fn is_recurring(&self) -> bool {
        self.recurring
    }

    /// For how many days to ask first.
    pub(super) fn first_days(&self, known: Option<u32>) -> u32 {
        let wished = self.days.unwrap_or(LONGEST_DAYS);
        known.map_or(wished, |known| known.min(wished))
    }

    /// The request for so many days from the bank's today on.
    pub(super) fn request(&self, today: NaiveDate, days: u32) -> ConsentRequest {
        let last = today.checked_add_days(Days::new(days.into()));
        ConsentRequest {
            access: self.access.clone(),
            recurring_indicator: self.recurring,
            valid_until: last.unwrap_or(NaiveDate::MAX),
            frequency_per_day: self.a_day,
            combined_service_indicator: false,
        }
    }
}

/// For how many days to ask next, if so many were too many; `None` if there is nothing less to try.
pub(super) fn fewer_days(than: u32) -> Option<u32> {
    TRIED_DAYS.into_iter().find(|days| *days < than)
}

/// Whether a bank's refusal can mean that the last day is too far away.
pub(super) fn is_too_long(error: &Error) -> bool {
    let ErrorKind::Refused {
        status: 400 | 422,
        messages,
        ..
    } = &error.kind
    else {
        return false;
    };
    !error.lacks_psu_address() && messages.iter().any(about_last_day)
}

fn about_last_day(message: &TppMessage) -> bool {
    let code = matches!(
        message.code,
        MessageCode::PeriodInvalid
            | MessageCode::TimestampInvalid
            | MessageCode::FormatError
            | MessageCode::ParameterNotSupported
            | MessageCode::ParameterNotConsistent
    );
    // If the bank names a field, only `validUntil` counts.
    let path = message.path.as_deref();
    code && path.is_none_or(|path| path.to_ascii_lowercase().contains("validuntil"))
}

/// Learnt limits of a bank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LearntBankLimits {
    /// The most days it gives, and when that was.
    longest: Option<(u32, DateTime<Utc>)>,
}

/// After that, it is tried again whether the bank gives more: one refused request a month, where it
/// does not.
const LEARNT_FOR: TimeDelta = TimeDelta::days(30);

impl LearntBankLimits {
    /// The most days the bank gives, as far as is known.
    pub(super) fn max_validity_days(&self, now: DateTime<Utc>) -> Option<u32> {
        let fresh = self.longest.filter(|(_, when)| now - *when < LEARNT_FOR);
        fresh.map(|(days, _)| days)
    }

    /// Records that the bank gave `days` when more were requested. Returns whether that is new.
    pub(super) fn learn(&mut self, days: u32, now: DateTime<Utc>) -> bool {
        if days == 0 || self.max_validity_days(now) == Some(days) {
            return false;
        }
        self.longest = Some((days, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn refusal(status: u16, code: &str, path: Option<&str>) -> Error {
        let mut message = serde_json::json!({ "category": "ERROR", "code": code });
        if let Some(path) = path {
            message["path"] = path.into();
        }
        Error {
            bank: "Bank B".to_owned(),
            kind: ErrorKind::Refused {
                status,
                messages: vec![serde_json::from_value(message).unwrap()],
                request_id: Uuid::nil(),
                retry_after: None,
            },
        }
    }

    #[test]
    fn a_last_day_that_is_too_far_away_is_told_from_other_refusals() {
        for (status, code, path, expected) in [
            (400, "PERIOD_INVALID", None, true),
            (400, "PERIOD_INVALID", Some("validUntil"), true),
            (400, "FORMAT_ERROR", Some("$.validUntil"), true),
            (400, "FORMAT_ERROR", Some("/consents/validuntil"), true),
            (400, "FORMAT_ERROR", None, true),
            (422, "PARAMETER_NOT_SUPPORTED", None, true),
            (400, "PARAMETER_NOT_CONSISTENT", Some("validUntil"), true),
            (400, "FORMAT_ERROR", Some("access"), false),
            (
                400,
                "PARAMETER_NOT_SUPPORTED",
                Some("recurringIndicator"),
                false,
            ),
            (400, "SERVICE_INVALID", None, false),
            (401, "PERIOD_INVALID", None, false),
            (500, "INTERNAL_SERVER_ERROR", None, false),
        ] {
            let error = refusal(status, code, path);
            assert_eq!(is_too_long(&error), expected, "{error}");
        }
    }

    #[test]
    fn less_is_asked_for_step_by_step() {
        let consent_terms = ConsentTerms::all_accounts();
        for (consent_terms, known, expected) in [
            (consent_terms.clone(), None, vec![180, 90]),
            (consent_terms.clone(), Some(90), vec![90]),
            (consent_terms.clone(), Some(365), vec![180, 90]),
            (consent_terms.clone().days(365), None, vec![365, 180, 90]),
            (
                consent_terms.clone().days(365),
                Some(200),
                vec![200, 180, 90],
            ),
            (consent_terms.clone().days(100), None, vec![100, 90]),
            (consent_terms.days(30), Some(90), vec![30]),
        ] {
            let first = consent_terms.first_days(known);
            let tried: Vec<u32> =
                std::iter::successors(Some(first), |days| fewer_days(*days)).collect();
            assert_eq!(tried, expected);
        }
    }

    #[test]
    fn the_request_says_what_was_wished() {
        let today = "2026-11-25".parse().unwrap();
        let request = ConsentTerms::all_accounts().request(today, 180);
        assert_eq!(request.valid_until.to_string(), "2027-05-24");
        assert!(request.recurring_indicator);
        assert_eq!(request.frequency_per_day.get(), 4);
        let once = ConsentTerms::all_accounts().once().request(today, 1);
        assert!(!once.recurring_indicator);
        assert_eq!(once.frequency_per_day.get(), 1);
        let forever = ConsentTerms::all_accounts().request(NaiveDate::MAX, u32::MAX);
        assert_eq!(forever.valid_until, NaiveDate::MAX);
    }

    #[test]
    fn what_was_learnt_is_known_for_a_month() {
        let now: DateTime<Utc> = "2026-11-25T12:00:00Z".parse().unwrap();
        let mut learnt = LearntBankLimits::default();
        assert_eq!(learnt.max_validity_days(now), None);
        assert!(learnt.learn(90, now));
        assert!(!learnt.learn(90, now + TimeDelta::days(1)), "it is known");
        assert!(!learnt.learn(0, now), "what ends today teaches nothing");
        assert_eq!(
            learnt.max_validity_days(now + TimeDelta::days(29)),
            Some(90)
        );
        assert_eq!(learnt.max_validity_days(now + TimeDelta::days(30)), None);
        assert!(learnt.learn(180, now + TimeDelta::days(2)));
        assert_eq!(
            learnt.max_validity_days(now + TimeDelta::days(2)),
            Some(180)
        );
    }
}
