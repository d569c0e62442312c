//! State machine of consents: the status after each event.
//!
//! Status changes by time alone are never stored. They are computed on each read, so that no rule
//! depends on a job that ran, or did not.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use shared_types::xs2a::consent::ConsentStatus;

use crate::calendar::Calendar;
use crate::domain::Consent;

/// How long after its approval a consent for one read ends, if it is not used: as long as a consent
/// waits for its approval by default. The TPP requested it for a read while the customer is
/// present. No rule sets a time, and the standard lets the bank shorten `validUntil`.
pub const ONE_OFF_UNUSED: TimeDelta = TimeDelta::minutes(60);

/// Event in the life of a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A customer approved it.
    Approved {
        /// No further approval is needed.
        complete: bool,
    },
    /// A customer refused it.
    Refused,
    /// A customer revoked the approval.
    Revoked,
    /// Its TPP ended it.
    Terminated,
    /// It was not approved in time.
    Lapsed,
    /// Its last day has passed.
    LastDayPassed,
    /// It was for one read, and that is over; or nothing was read in time.
    UsedUp,
    /// A newer recurring consent of the same customer and TPP became valid.
    Replaced,
}

/// The status after an event; `None` where the event is not possible, or changes nothing.
#[must_use]
pub const fn after(status: ConsentStatus, event: Event) -> Option<ConsentStatus> {
    use ConsentStatus::{
        Expired, PartiallyAuthorised, Received, Rejected, RevokedByPsu, TerminatedByTpp, Valid,
    };

    match (status, event) {
        (Received | PartiallyAuthorised, Event::Approved { complete: true }) => Some(Valid),
        (Received | PartiallyAuthorised, Event::Approved { complete: false }) => {
            Some(PartiallyAuthorised)
        }
        (Received | PartiallyAuthorised, Event::Refused | Event::Lapsed) => Some(Rejected),
        // Before the first approval, there is nothing to revoke: that is refusing.
        (PartiallyAuthorised | Valid, Event::Revoked) => Some(RevokedByPsu),
        (Received | PartiallyAuthorised | Valid, Event::Terminated) | (Valid, Event::Replaced) => {
            Some(TerminatedByTpp)
        }
        (Received | PartiallyAuthorised | Valid, Event::LastDayPassed) | (Valid, Event::UsedUp) => {
            Some(Expired)
        }
        _ => None,
    }
}

/// The status of a consent at this moment, deadlines included.
#[must_use]
pub fn current_status(consent: &Consent, now: DateTime<Utc>, calendar: &Calendar) -> ConsentStatus {
    due(consent, now, calendar)
        .and_then(|(event, _)| after(consent.status, event))
        .unwrap_or(consent.status)
}

/// The status of a consent after an event at this moment; `None` where the event changes nothing.
#[must_use]
pub fn next(
    consent: &Consent,
    event: Event,
    now: DateTime<Utc>,
    calendar: &Calendar,
) -> Option<ConsentStatus> {
    after(current_status(consent, now, calendar), event)
}

/// The bank's day of the last action on a consent, time's own included.
#[must_use]
pub fn last_action_day(consent: &Consent, now: DateTime<Utc>, calendar: &Calendar) -> NaiveDate {
    due(consent, now, calendar)
        .map_or_else(|| calendar.date_of(consent.last_action), |(_, day)| day)
}

/// The first deadline that has passed since the status was stored, as an event, and the bank's day
/// of it.
fn due(consent: &Consent, now: DateTime<Utc>, calendar: &Calendar) -> Option<(Event, NaiveDate)> {
    let passed = |time: &DateTime<Utc>| *time <= now;
    let deadline = match consent.status {
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised => {
            Some((Event::Lapsed, consent.approve_by)).filter(|(_, time)| passed(time))
        }
        ConsentStatus::Valid => consent
            .ends
            .or_else(|| unused_until(consent))
            .filter(passed)
            .map(|time| (Event::UsedUp, time)),
        _ => return None,
    };
    let deadline = deadline
        .map(|(event, time)| (event, calendar.date_of(time)))
        .filter(|(_, day)| *day <= consent.valid_until);
    deadline.or_else(|| {
        (calendar.date_of(now) > consent.valid_until).then(|| {
            let first = consent.valid_until.succ_opt();
            (Event::LastDayPassed, first.unwrap_or(consent.valid_until))
        })
    })
}

/// End of a consent for one read that was approved and not used.
fn unused_until(consent: &Consent) -> Option<DateTime<Utc>> {
    consent
        .authenticated
        .filter(|_| !consent.recurring)
        .map(|approved| approved + ONE_OFF_UNUSED)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use chrono_tz::Tz;
    use shared_types::environment::ManualClock;

    use super::*;

    impl Event {
        /// All of them.
        pub const ALL: [Self; 9] = [
            Self::Approved { complete: false },
            Self::Approved { complete: true },
            Self::Refused,
            Self::Revoked,
            Self::Terminated,
            Self::Lapsed,
            Self::LastDayPassed,
            Self::UsedUp,
            Self::Replaced,
        ];
    }

    /// Rows: the statuses in the order of `ConsentStatus::ALL`. Columns: the events in the order of
    /// `Event::ALL`.
    #[test]
    fn every_status_meets_every_event() {
        let table = "
                                partly   whole  refused   revoked      terminated  lapsed   lastDay usedUp  replaced
            received            partial  valid  rejected  -            terminated  rejected expired -       -
            rejected            -        -      -         -            -           -        -       -       -
            valid               -        -      -         revoked      terminated  -        expired expired terminated
            revokedByPsu        -        -      -         -            -           -        -       -       -
            expired             -        -      -         -            -           -        -       -       -
            terminatedByTpp     -        -      -         -            -           -        -       -       -
            partiallyAuthorised partial  valid  rejected  revoked      terminated  rejected expired -       -
        ";
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split_whitespace().collect())
            .filter(|row: &Vec<&str>| !row.is_empty())
            .skip(1)
            .collect();
        assert_eq!(rows.len(), ConsentStatus::ALL.len());
        for (status, row) in ConsentStatus::ALL.iter().copied().zip(&rows) {
            assert_eq!(row[0], status.as_str());
            assert_eq!(row.len(), 1 + Event::ALL.len());
            for (event, expected) in Event::ALL.into_iter().zip(&row[1..]) {
                let expected = match *expected {
                    "-" => None,
                    "partial" => Some(ConsentStatus::PartiallyAuthorised),
                    "terminated" => Some(ConsentStatus::TerminatedByTpp),
                    "revoked" => Some(ConsentStatus::RevokedByPsu),
                    name => Some(name.parse().unwrap()),
                };
                assert_eq!(after(status, event), expected, "{status} {event:?}");
            }
        }
    }

    #[test]
    fn what_has_ended_stays_as_it_ended() {
        for status in ConsentStatus::ALL.iter().copied() {
            let ends = Event::ALL
                .into_iter()
                .all(|event| after(status, event).is_none());
            let open = matches!(
                status,
                ConsentStatus::Received | ConsentStatus::PartiallyAuthorised | ConsentStatus::Valid
            );
            assert_eq!(ends, !open, "{status}");
        }
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn berlin() -> Calendar {
        let clock = ManualClock::at(time("2026-11-24T12:00:00Z"));
        Calendar::new(Arc::new(clock), Tz::Europe__Berlin)
    }

    pub(in crate::consent) fn consent(status: ConsentStatus) -> Consent {
        let created = time("2026-11-24T12:00:00Z");
        Consent {
            id: "c".to_owned(),
            tpp: "PSDDE-BAFIN-1".parse().unwrap(),
            access: serde_json::from_str(r#"{"allPsd2":"allAccounts"}"#).unwrap(),
            recurring: true,
            valid_until: "2026-12-31".parse().unwrap(),
            frequency_per_day: std::num::NonZeroU32::MIN,
            status,
            psu: None,
            created,
            approve_by: created + TimeDelta::hours(1),
            approvals_needed: 1,
            authenticated: None,
            last_use: None,
            ends: None,
            approach: None,
            redirect_uri: None,
            nok_redirect_uri: None,
            last_action: created,
        }
    }

    /// Status and day of the last action.
    fn at(consent: &Consent, now: &str) -> String {
        let (now, berlin) = (time(now), berlin());
        let status = current_status(consent, now, &berlin);
        format!("{status} {}", last_action_day(consent, now, &berlin))
    }

    #[test]
    fn a_consent_that_is_not_approved_lapses() {
        for status in [ConsentStatus::Received, ConsentStatus::PartiallyAuthorised] {
            let waiting = consent(status);
            assert_eq!(
                at(&waiting, "2026-11-24T12:59:59Z"),
                format!("{status} 2026-11-24")
            );
            assert_eq!(at(&waiting, "2026-11-24T13:00:00Z"), "rejected 2026-11-24");
            assert_eq!(at(&waiting, "2027-06-01T00:00:00Z"), "rejected 2026-11-24");
        }
        // Asked for before the midnight that ends it: it never gets to lapse.
        let mut late = consent(ConsentStatus::Received);
        late.valid_until = "2026-11-24".parse().unwrap();
        late.approve_by = time("2026-11-24T23:30:00Z");
        assert_eq!(at(&late, "2026-11-24T22:59:59Z"), "received 2026-11-24");
        assert_eq!(at(&late, "2026-11-24T23:00:00Z"), "expired 2026-11-25");
        assert_eq!(at(&late, "2026-11-24T23:30:00Z"), "expired 2026-11-25");
    }

    #[test]
    fn a_valid_consent_ends_with_the_banks_day() {
        let valid = consent(ConsentStatus::Valid);
        assert_eq!(at(&valid, "2026-12-31T22:59:59Z"), "valid 2026-11-24");
        assert_eq!(at(&valid, "2026-12-31T23:00:00Z"), "expired 2027-01-01");
    }

    #[test]
    fn a_consent_for_one_read_ends_with_it() {
        let mut once = consent(ConsentStatus::Valid);
        once.ends = Some(time("2026-11-25T08:20:00Z"));
        assert_eq!(at(&once, "2026-11-25T08:19:59Z"), "valid 2026-11-24");
        assert_eq!(at(&once, "2026-11-25T08:20:00Z"), "expired 2026-11-25");
    }

    #[test]
    fn a_consent_for_one_read_that_is_not_used_ends_an_hour_after_its_approval() {
        let mut once = consent(ConsentStatus::Valid);
        once.authenticated = Some(time("2026-11-24T12:30:00Z"));
        assert_eq!(at(&once, "2026-11-24T13:30:00Z"), "valid 2026-11-24");
        once.recurring = false;
        assert_eq!(at(&once, "2026-11-24T13:29:59Z"), "valid 2026-11-24");
        assert_eq!(at(&once, "2026-11-24T13:30:00Z"), "expired 2026-11-24");
        // First used just before that: the rest can be read for as long as after any first use.
        once.ends = Some(time("2026-11-24T13:49:00Z"));
        assert_eq!(at(&once, "2026-11-24T13:48:59Z"), "valid 2026-11-24");
        assert_eq!(at(&once, "2026-11-24T13:49:00Z"), "expired 2026-11-24");
    }

    #[test]
    fn what_was_ended_is_not_expired_by_time() {
        for status in ConsentStatus::ALL.iter().copied() {
            let much_later = at(&consent(status), "2030-01-01T00:00:00Z");
            let expected = match status {
                ConsentStatus::Valid => "expired 2027-01-01".to_owned(),
                ConsentStatus::Received | ConsentStatus::PartiallyAuthorised => {
                    "rejected 2026-11-24".to_owned()
                }
                _ => format!("{status} 2026-11-24"),
            };
            assert_eq!(much_later, expected);
        }
    }
}
