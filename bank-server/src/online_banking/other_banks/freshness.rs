//! Age of data, and time left until access has to be renewed.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

/// Age of data, in the unit in which it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// Less than two minutes.
    Now,
    Minutes(i64),
    Hours(i64),
    Days(i64),
}

impl Age {
    /// Rounded down to whole units. Data from the future, after the clock was set back, is new.
    pub(super) fn of(fetched: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        let age = now - fetched;
        if age < TimeDelta::minutes(2) {
            Self::Now
        } else if age < TimeDelta::hours(2) {
            Self::Minutes(age.num_minutes())
        } else if age < TimeDelta::days(2) {
            Self::Hours(age.num_hours())
        } else {
            Self::Days(age.num_days())
        }
    }
}

/// Renewal of a consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Not yet.
    Later,
    /// Number of days after which the consent ends; 0 is today.
    Offered(i64),
    /// The last day has passed.
    Over,
}

/// Days before the end from which on renewal is offered.
const OFFERED: i64 = 7;

impl Renewal {
    /// Renewal of a consent with that last day.
    pub(super) fn of(last_day: NaiveDate, today: NaiveDate) -> Self {
        match (last_day - today).num_days() {
            ..0 => Self::Over,
            days @ 0..=OFFERED => Self::Offered(days),
            _ => Self::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn age_is_rounded_down_to_units() {
        let fetched: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let after = |seconds| Age::of(fetched, fetched + TimeDelta::seconds(seconds));
        assert_eq!(after(-30), Age::Now);
        assert_eq!(after(119), Age::Now);
        assert_eq!(after(120), Age::Minutes(2));
        assert_eq!(after(2 * 3600 - 1), Age::Minutes(119));
        assert_eq!(after(2 * 3600), Age::Hours(2));
        assert_eq!(after(48 * 3600 - 1), Age::Hours(47));
        assert_eq!(after(48 * 3600), Age::Days(2));
    }

    #[test]
    fn renewal_is_offered_a_week_before_the_end() {
        let last: NaiveDate = "2026-11-24".parse().unwrap();
        let on = |day: &str| Renewal::of(last, day.parse().unwrap());
        assert_eq!(on("2026-11-16"), Renewal::Later);
        assert_eq!(on("2026-11-17"), Renewal::Offered(7));
        assert_eq!(on("2026-11-24"), Renewal::Offered(0), "the last day counts");
        assert_eq!(on("2026-11-25"), Renewal::Over);
    }
}
