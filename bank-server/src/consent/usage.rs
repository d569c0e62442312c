//! Limits on the use of a consent: access frequency, history, and last day.

use std::num::NonZeroU32;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::ONE_OFF_UNUSED;
use crate::calendar::Calendar;
use crate::config::ConsentConfig;
use crate::domain::Consent;

/// The last day of a consent that is requested now, `asked` at the latest. A one-off consent ends
/// on the last day on which it can be used: if it is approved, and first used, as late as possible.
#[must_use]
pub fn last_day(
    rules: &ConsentConfig,
    asked: NaiveDate,
    recurring: bool,
    now: DateTime<Utc>,
    calendar: &Calendar,
) -> NaiveDate {
    let longest = if recurring {
        let days = Days::new(rules.max_validity_days.into());
        calendar.date_of(now).checked_add_days(days)
    } else {
        Some(calendar.date_of(
            now + minutes(rules.approval_minutes) + ONE_OFF_UNUSED + minutes(rules.one_off_minutes),
        ))
    };
    longest.map_or(asked, |longest| asked.min(longest))
}

/// The first day whose transactions a consent shows now.
#[must_use]
pub fn first_day(
    rules: &ConsentConfig,
    consent: &Consent,
    now: DateTime<Utc>,
    today: NaiveDate,
) -> NaiveDate {
    // Whole seconds: that is how the time of the authentication is kept, by a clock that may
    // have been ahead.
    let fresh = consent.authenticated.is_some_and(|time| {
        (now.timestamp() - time.timestamp()).abs() <= minutes(rules.history_minutes).num_seconds()
    });
    let recent = today.checked_sub_days(Days::new(rules.history_days.into()));
    if fresh {
        NaiveDate::MIN
    } else {
        recent.unwrap_or(NaiveDate::MIN)
    }
}

fn minutes(minutes: u32) -> TimeDelta {
    TimeDelta::minutes(minutes.into())
}

/// Access frequency of a resource under a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// The customer is there, and sees to it.
    Unlimited,
    /// So often on one of the bank's days.
    ADay(NonZeroU32),
    /// The consent is for one read.
    Once,
}

/// The access frequency under that consent, with or without the customer.
#[must_use]
pub fn allowance(consent: &Consent, attended: bool) -> Allowance {
    match (consent.recurring, attended) {
        (false, _) => Allowance::Once,
        (true, true) => Allowance::Unlimited,
        (true, false) => Allowance::ADay(consent.frequency_per_day),
    }
}

#[cfg(test)]
mod tests {
    use shared_types::xs2a::consent::ConsentStatus;

    use super::*;
    use crate::consent::state::tests::consent;
    use crate::domain::{AccountId, Resource};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_day_is_at_most_so_many_days_ahead_and_near_for_one_read() {
        let now = "2026-11-24T21:40:00Z".parse().unwrap();
        let clock = shared_types::environment::ManualClock::at(now);
        let calendar = Calendar::new(std::sync::Arc::new(clock), chrono_tz::Tz::UTC);
        for (asked, recurring, granted) in [
            ("2026-11-24", true, "2026-11-24"),
            ("2027-05-23", true, "2027-05-23"),
            ("2027-05-24", true, "2027-05-23"),
            ("9999-12-31", true, "2027-05-23"),
            // Approved by 22:40, used by 23:40, and read until midnight.
            ("2027-02-22", false, "2026-11-25"),
            ("2026-11-24", false, "2026-11-24"),
        ] {
            let last = last_day(
                &ConsentConfig::default(),
                day(asked),
                recurring,
                now,
                &calendar,
            );
            assert_eq!(last, day(granted), "{asked}");
        }
    }

    #[test]
    fn history_is_open_for_a_while_after_an_authentication_of_this_consent() {
        let today = day("2026-11-24");
        let mut consent = consent(ConsentStatus::Valid);
        let now = consent.created;
        let recent = day("2026-08-26");
        assert_eq!(
            first_day(&ConsentConfig::default(), &consent, now, today),
            recent,
            "none yet"
        );
        for (seconds, first) in [
            (0, NaiveDate::MIN),
            (900, NaiveDate::MIN),
            (901, recent),
            (-86_400, recent),
        ] {
            consent.authenticated = Some(now - TimeDelta::seconds(seconds));
            assert_eq!(
                first_day(&ConsentConfig::default(), &consent, now, today),
                first,
                "{seconds}"
            );
        }
    }

    #[test]
    fn only_the_customers_absence_counts_and_one_read_is_one() {
        let mut consent = consent(ConsentStatus::Valid);
        consent.frequency_per_day = NonZeroU32::MIN.saturating_add(3);
        let limit = consent.frequency_per_day;
        assert_eq!(allowance(&consent, true), Allowance::Unlimited);
        assert_eq!(allowance(&consent, false), Allowance::ADay(limit));
        consent.recurring = false;
        assert_eq!(allowance(&consent, true), Allowance::Once);
        assert_eq!(allowance(&consent, false), Allowance::Once);
    }

    #[test]
    fn no_two_resources_are_counted_together() {
        let (one, other) = (AccountId("1".to_owned()), AccountId("2".to_owned()));
        let resources = [
            Resource::Accounts,
            Resource::CardAccounts,
            Resource::Account(&one),
            Resource::Account(&other),
            Resource::Balances(&one),
            Resource::Transactions(&one),
            Resource::Transaction(&one, "1"),
            Resource::Transaction(&one, "2"),
            Resource::Transaction(&other, "1"),
        ];
        for (index, resource) in resources.iter().enumerate() {
            for another in &resources[index + 1..] {
                assert_ne!(resource.key(), another.key());
            }
        }
    }
}
