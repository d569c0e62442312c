//! The bank's own day.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use shared_types::environment::Clock;

/// How much the clocks of replicas may differ. A stored time that is farther ahead was written by a clock that was wrong.
pub(crate) const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

/// Tells the time, and which day it is where the bank is: limits by the day, and last days, go by this one.
#[derive(Clone)]
pub struct Calendar {
    clock: Arc<dyn Clock>,
    zone: Tz,
}

impl Calendar {
    /// The days of that time zone.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, zone: Tz) -> Self {
        Self { clock, zone }
    }

    /// The time of this moment.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The bank's day.
    #[must_use]
    pub fn today(&self) -> NaiveDate {
        self.day_of(self.now())
    }

    /// The day that a replica with another clock may have begun already; today, but shortly before midnight.
    #[must_use]
    pub fn latest_day(&self) -> NaiveDate {
        self.day_of(self.now() + MAX_CLOCK_SKEW)
    }

    /// The bank's day at that moment.
    #[must_use]
    pub fn day_of(&self, time: DateTime<Utc>) -> NaiveDate {
        time.with_timezone(&self.zone).date_naive()
    }

    /// The same moment, as the bank's clocks show it.
    #[must_use]
    pub fn local(&self, time: DateTime<Utc>) -> DateTime<Tz> {
        time.with_timezone(&self.zone)
    }
}

#[cfg(test)]
mod tests {
    use shared_types::environment::ManualClock;

    use super::*;

    #[test]
    fn the_day_changes_at_the_banks_midnight_in_winter_and_in_summer() {
        // The clocks of Berlin go forward on 29 March 2026 at 1:00 UTC.
        let start = "2026-03-28T22:59:59Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        let calendar = Calendar::new(Arc::clone(&clock) as Arc<dyn Clock>, Tz::Europe__Berlin);
        let day = |calendar: &Calendar| calendar.today().to_string();
        assert_eq!(day(&calendar), "2026-03-28");
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(day(&calendar), "2026-03-29");
        // That day has 23 hours.
        clock.advance(TimeDelta::hours(23) - TimeDelta::seconds(1));
        assert_eq!(day(&calendar), "2026-03-29");
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(day(&calendar), "2026-03-30");
    }
}
