//! Calendar days in the bank's time zone.

use std::sync::Arc;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use shared_types::environment::Clock;

/// Largest accepted difference between the clocks of two replicas. A stored time further in the
/// future was written by a replica with a wrong clock.
pub(crate) const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

/// Clock and time zone of the bank. Daily limits and expiry dates use its days.
#[derive(Clone)]
pub struct Calendar {
    clock: Arc<dyn Clock>,
    zone: Tz,
}

impl Calendar {
    /// Creates a calendar for a time zone.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, zone: Tz) -> Self {
        Self { clock, zone }
    }

    /// Current time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Current date in the bank's time zone.
    #[must_use]
    pub fn today(&self) -> NaiveDate {
        self.date_of(self.now())
    }

    /// Latest date that may be current on any replica: tomorrow within the maximum clock skew
    /// before midnight, otherwise today.
    #[must_use]
    pub fn latest_today(&self) -> NaiveDate {
        self.date_of(self.now() + MAX_CLOCK_SKEW)
    }

    /// Date of a time in the bank's time zone.
    #[must_use]
    pub fn date_of(&self, time: DateTime<Utc>) -> NaiveDate {
        time.with_timezone(&self.zone).date_naive()
    }

    /// Converts a time to the bank's time zone.
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
    fn the_date_changes_at_midnight_in_the_banks_time_zone_across_a_dst_change() {
        // Daylight saving time starts in Berlin on 29 March 2026 at 1:00 UTC.
        let start = "2026-03-28T22:59:59Z".parse().unwrap();
        let clock = Arc::new(ManualClock::at(start));
        let calendar = Calendar::new(Arc::clone(&clock) as Arc<dyn Clock>, Tz::Europe__Berlin);
        let today = |calendar: &Calendar| calendar.today().to_string();
        assert_eq!(today(&calendar), "2026-03-28");
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(today(&calendar), "2026-03-29");
        // 29 March has 23 hours.
        clock.advance(TimeDelta::hours(23) - TimeDelta::seconds(1));
        assert_eq!(today(&calendar), "2026-03-29");
        clock.advance(TimeDelta::seconds(1));
        assert_eq!(today(&calendar), "2026-03-30");
    }
}
