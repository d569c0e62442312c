//! Counter of unattended reads on the bank's day, and the time of the next one. No I/O.
//!
//! A consent allows so many a day (`frequencyPerDay`; at most four, Delegated Regulation (EU)
//! 2018/389, article 36). Runs are counted: each reads a resource once.

use std::num::NonZeroU32;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// Runs so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    /// The bank's day on which the last run was.
    day: Option<NaiveDate>,
    /// Runs on that day.
    runs: u32,
    /// The last run.
    last: Option<DateTime<Utc>>,
    /// The bank has refused further reads, until a time.
    refused_until: Option<DateTime<Utc>>,
}

impl Usage {
    /// Time at which an unattended read is allowed again; `None` if one is now.
    pub(super) fn used_up_until(
        &self,
        now: DateTime<Utc>,
        reads_per_day: NonZeroU32,
        zone: Tz,
    ) -> Option<DateTime<Utc>> {
        let counted = self.runs_on(day_of(now, zone)) >= reads_per_day.get();
        let counted = counted.then(|| next_day(now, zone));
        let told = self.refused_until.filter(|until| *until > now);
        counted.max(told)
    }

    /// Number of unattended reads that are left on this day.
    pub(super) fn left(&self, now: DateTime<Utc>, reads_per_day: NonZeroU32, zone: Tz) -> u32 {
        match self.used_up_until(now, reads_per_day, zone) {
            Some(_) => 0,
            None => reads_per_day
                .get()
                .saturating_sub(self.runs_on(day_of(now, zone))),
        }
    }

    /// Time at which the next one is due, evenly over the day: one and a share of a day
    /// later. At the earliest when it is allowed.
    pub(super) fn next(
        &self,
        now: DateTime<Utc>,
        reads_per_day: NonZeroU32,
        zone: Tz,
    ) -> DateTime<Utc> {
        let apart = TimeDelta::days(1) / i32::try_from(reads_per_day.get()).unwrap_or(i32::MAX);
        // A clock that went back does not put reads off for longer than the share.
        let planned = self.last.map(|last| last.min(now) + apart);
        let allowed = self.used_up_until(now, reads_per_day, zone);
        planned.max(allowed).map_or(now, |time| time.max(now))
    }

    /// One more run.
    pub(super) fn count(&mut self, now: DateTime<Utc>, zone: Tz) {
        let today = day_of(now, zone);
        self.runs = self.runs_on(today).saturating_add(1);
        self.day = Some(today);
        self.last = Some(now);
    }

    /// The last run never came to the bank: it does not count. When the next one is due stays.
    pub(super) fn uncount(&mut self) {
        self.runs = self.runs.saturating_sub(1);
    }

    /// The bank has refused further reads: until its next day, or for the time that it gives.
    pub(super) fn refused(
        &mut self,
        now: DateTime<Utc>,
        wait: Option<TimeDelta>,
        zone: Tz,
    ) -> DateTime<Utc> {
        let next_day = next_day(now, zone);
        let until = wait.map_or(next_day, |wait| next_day.min(now + wait));
        self.refused_until = Some(until);
        until
    }

    /// Another consent has a count of its own. When reads are due stays.
    pub(super) fn reset(&self) -> Self {
        Self {
            last: self.last,
            ..Self::default()
        }
    }

    fn runs_on(&self, day: NaiveDate) -> u32 {
        if self.day == Some(day) { self.runs } else { 0 }
    }
}

/// The bank's day at that moment.
pub(super) fn day_of(time: DateTime<Utc>, zone: Tz) -> NaiveDate {
    time.with_timezone(&zone).date_naive()
}

/// The first moment of the bank's next day.
pub(super) fn next_day(now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let day = day_of(now, zone);
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    // Where clocks go forward at midnight, the day begins an hour or two later.
    let begins = (0..3).find_map(|hour| {
        let local = next.and_hms_opt(hour, 0, 0)?;
        local.and_local_timezone(zone).earliest()
    });
    begins.map_or(now + TimeDelta::days(1), |local| local.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn four() -> NonZeroU32 {
        NonZeroU32::new(4).unwrap()
    }

    #[test]
    fn four_a_day_and_not_one_more() {
        let zone = Tz::Europe__Berlin;
        let mut usage = Usage::default();
        // In Berlin, it is 23:10 and the days after that.
        let mut now = time("2026-11-24T22:10:00Z");
        for left in [4, 3, 2, 1] {
            assert_eq!(usage.used_up_until(now, four(), zone), None);
            assert_eq!(usage.left(now, four(), zone), left);
            usage.count(now, zone);
            now += TimeDelta::minutes(10);
        }
        assert_eq!(usage.left(now, four(), zone), 0);
        let midnight = time("2026-11-24T23:00:00Z");
        assert_eq!(usage.used_up_until(now, four(), zone), Some(midnight));
        let last = midnight - TimeDelta::seconds(1);
        assert_eq!(usage.used_up_until(last, four(), zone), Some(midnight));
        assert_eq!(usage.used_up_until(midnight, four(), zone), None);
        for minute in 0..4 {
            usage.count(midnight + TimeDelta::minutes(minute), zone);
        }
        let next = time("2026-11-25T23:00:00Z");
        assert_eq!(
            usage.used_up_until(last + TimeDelta::hours(2), four(), zone),
            Some(next)
        );
    }

    #[test]
    fn a_program_that_follows_the_plan_reads_evenly_and_never_too_often() {
        // Over both days on which Berlin's clocks change.
        for start in [
            "2026-03-27T10:07:00Z",
            "2026-10-23T21:59:00Z",
            "2026-11-24T00:00:00Z",
        ] {
            let (zone, mut now) = (Tz::Europe__Berlin, time(start));
            let mut usage = Usage::default();
            let mut days: std::collections::BTreeMap<NaiveDate, u32> =
                std::collections::BTreeMap::new();
            let mut runs = Vec::new();
            for _ in 0..40 {
                let due = usage.next(now, four(), zone);
                assert!(due >= now);
                now = due;
                assert_eq!(usage.used_up_until(now, four(), zone), None);
                usage.count(now, zone);
                *days.entry(day_of(now, zone)).or_default() += 1;
                runs.push(now);
            }
            assert!(days.values().all(|runs| *runs <= 4), "{days:?}");
            assert!(
                runs.windows(2)
                    .all(|two| two[1] - two[0] >= TimeDelta::hours(6))
            );
            let whole = days.len() - 2;
            let full = days.values().filter(|runs| **runs == 4).count();
            assert!(full >= whole - 1, "{days:?}");
        }
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let (zone, mut usage) = (Tz::UTC, Usage::default());
        let late = time("2026-11-24T20:00:00Z");
        assert_eq!(
            usage.next(late, four(), zone),
            late,
            "the first is due at once"
        );
        usage.count(late, zone);
        assert_eq!(usage.next(late, four(), zone), time("2026-11-25T02:00:00Z"));
        let much_later = time("2026-12-24T20:00:00Z");
        assert_eq!(usage.next(much_later, four(), zone), much_later);
        let before = time("2026-11-24T08:00:00Z");
        assert_eq!(
            usage.next(before, four(), zone),
            time("2026-11-24T14:00:00Z"),
            "the clock went back"
        );
    }

    #[test]
    fn the_banks_word_holds_until_its_next_day_or_as_long_as_it_says() {
        let (zone, mut usage) = (Tz::UTC, Usage::default());
        let now = time("2026-11-24T20:00:00Z");
        let midnight = time("2026-11-25T00:00:00Z");
        assert_eq!(usage.refused(now, None, zone), midnight);
        assert_eq!(usage.used_up_until(now, four(), zone), Some(midnight));
        assert_eq!(usage.next(now, four(), zone), midnight);
        assert_eq!(usage.used_up_until(midnight, four(), zone), None);
        let wait = TimeDelta::seconds(30);
        assert_eq!(usage.refused(now, Some(wait), zone), now + wait);
        let wait = TimeDelta::days(30);
        assert_eq!(usage.refused(now, Some(wait), zone), midnight);
        usage.count(now, zone);
        let afresh = usage.reset();
        assert_eq!(afresh.used_up_until(now, four(), zone), None);
        assert_eq!(afresh.next(now, four(), zone), time("2026-11-25T02:00:00Z"));
    }

    #[test]
    fn days_begin_where_the_bank_is() {
        for (zone, now, expected) in [
            (
                Tz::Europe__Berlin,
                "2026-03-28T23:30:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Tz::Europe__Berlin,
                "2026-10-24T22:30:00Z",
                "2026-10-25T23:00:00Z",
            ),
            // Beirut's clocks go forward at midnight: the day begins at one.
            (
                Tz::Asia__Beirut,
                "2026-03-28T12:00:00Z",
                "2026-03-28T22:00:00Z",
            ),
            (Tz::UTC, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(next_day(time(now), zone), time(expected), "{zone} {now}");
        }
    }
}
