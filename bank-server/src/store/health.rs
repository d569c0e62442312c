//! Health of the database, as this replica sees it: clock skew against the database server, and a
//! disk that is full.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;
use shared_types::environment::Clock;

use crate::telemetry::gauges::gauges;

/// Clock skew, in seconds, from which on the database is not used: times that this replica wrote,
/// and decisions that it made by its clock, would harm the others.
const MAX_SECONDS: i64 = 60;

/// Longest round trip whose response is compared: over a longer one, the time in between is too
/// uncertain.
const MAX_ROUND_TRIP: TimeDelta = TimeDelta::seconds(2);

/// No comparison yet.
const UNKNOWN: i64 = i64::MIN;

/// Health of a database. Shared by all of its connections.
pub(super) struct DatabaseHealth {
    /// Clock that is compared with the database server's. Unset if the database is a file, or the
    /// clock is moved by hand.
    clock: OnceLock<Arc<dyn Clock>>,
    /// The time of the database's server less our [uptime](Clock::uptime), in milliseconds, at the
    /// last comparison. Together with the uptime of any later moment it returns what our clock
    /// ought to show then, also right after it was set.
    reference: AtomicI64,
    /// Whether the clocks differed when that was last logged.
    differed: AtomicBool,
    /// Whether the last write failed for want of space.
    full: AtomicBool,
}

/// The clock of this machine disagrees with that of the database's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the clock of this machine is {} s {} that of the database's server, and may differ by less \
     than {MAX_SECONDS} s: have both set by the same time server (NTP)",
    .ahead.abs(),
    if *.ahead < 0 { "behind" } else { "ahead of" }
)]
pub struct WrongClock {
    /// Seconds by which it is ahead; negative if it is behind.
    pub ahead: i64,
}

impl From<WrongClock> for sqlx::Error {
    fn from(error: WrongClock) -> Self {
        Self::Io(io::Error::other(error))
    }
}

impl WrongClock {
    /// The clock error that caused that SQL error, if one did.
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::Io(error) => error.get_ref()?.downcast_ref().copied(),
            _ => None,
        }
    }
}

impl DatabaseHealth {
    pub(super) fn new() -> Self {
        Self {
            clock: OnceLock::new(),
            reference: AtomicI64::new(UNKNOWN),
            differed: AtomicBool::new(false),
            full: AtomicBool::new(false),
        }
    }

    /// Sets the clock that is compared. A second call has no effect.
    pub(super) fn compare(&self, clock: Arc<dyn Clock>) {
        self.clock.get_or_init(|| clock);
    }

    /// Our time, read before the server is queried for its own.
    pub(super) fn now(&self) -> Option<DateTime<Utc>> {
        self.clock.get().map(|clock| clock.now())
    }

    /// Compares the server's time, in seconds since 1970, with ours. Logs when the clocks begin to
    /// differ, and when they agree again.
    pub(super) fn record_server_time(&self, before: Option<DateTime<Utc>>, server: f64) {
        let (Some(clock), Some(before)) = (self.clock.get(), before) else {
            return;
        };
        let took = clock.now() - before;
        // The clock was set during the query, or the response was late.
        if took < TimeDelta::zero() || took > MAX_ROUND_TRIP {
            return;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "seconds since 1970, with a fraction"
        )]
        let server = (server * 1000.0) as i64;
        let then = server + took.num_milliseconds() / 2;
        self.reference
            .store(then.saturating_sub(uptime(clock)), Ordering::Release);
        match self.clock_is_right() {
            Err(error) if !self.differed.swap(true, Ordering::Relaxed) => {
                tracing::error!(%error, "clock skew too large, database not used");
            }
            Ok(()) if self.differed.swap(false, Ordering::Relaxed) => {
                tracing::info!("clock skew gone, database used again");
            }
            _ => {}
        }
    }

    /// By how many seconds our clock is ahead of the server's; `None` where they are not compared.
    fn ahead(&self) -> Option<i64> {
        let clock = self.clock.get()?;
        let reference = self.reference.load(Ordering::Acquire);
        let right = reference.saturating_add(uptime(clock));
        let ahead = clock.now().timestamp_millis().saturating_sub(right);
        // Rounded: the way to the server and back is part of it.
        (reference != UNKNOWN).then(|| (ahead + 500 * ahead.signum()) / 1000)
    }

    /// Fails while the clocks differ by too much. Cost: two readings of the clock.
    pub(super) fn clock_is_right(&self) -> Result<(), WrongClock> {
        match self.ahead() {
            Some(ahead) if ahead.abs() >= MAX_SECONDS => Err(WrongClock { ahead }),
            _ => Ok(()),
        }
    }

    /// Whether the last write failed for want of space.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Records whether a write failed for want of space. Logs when that changes.
    pub(super) fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) == full {
            return;
        }
        if full {
            tracing::error!("database takes no writes, free space on its disk");
        } else {
            tracing::info!("database takes writes again");
        }
    }
}

fn uptime(clock: &Arc<dyn Clock>) -> i64 {
    i64::try_from(clock.uptime().as_millis()).unwrap_or(i64::MAX)
}

/// Without the clock, which has no `Debug`.
impl fmt::Debug for DatabaseHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseHealth")
            .field("reference", &self.reference)
            .field("full", &self.full)
            .finish_non_exhaustive()
    }
}

/// Metrics of the health.
#[derive(Debug)]
pub(super) struct HealthMetrics(pub(super) Arc<DatabaseHealth>);

impl Collector for HealthMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        const NONE: [(&str, &str); 0] = [];

        let what =
            "By how much the clock is ahead of that of the database's server; behind, if negative";
        gauges(
            &mut encoder,
            ("clock_ahead", what, Some(&Unit::Seconds)),
            self.0.ahead().map(|ahead| (NONE, ahead)),
        )?;
        let what = "1 if the database took no writes when something was last written";
        let full = i64::from(self.0.is_full());
        gauges(&mut encoder, ("store_full", what, None), [(NONE, full)])
    }
}

#[cfg(test)]
mod tests {
    use shared_types::environment::ManualClock;

    use super::*;

    /// Health whose clock is ahead by a number of milliseconds, and the clock.
    fn ahead(millis: i64) -> (DatabaseHealth, Arc<ManualClock>) {
        let health = DatabaseHealth::new();
        let clock = Arc::new(ManualClock::at("2026-11-24T12:00:00Z".parse().unwrap()));
        health.compare(Arc::clone(&clock) as Arc<dyn Clock>);
        record(&health, &clock, millis);
        (health, clock)
    }

    fn record(health: &DatabaseHealth, clock: &ManualClock, ahead: i64) {
        let server = clock.now() - TimeDelta::milliseconds(ahead);
        #[expect(clippy::cast_precision_loss, reason = "as the server says it")]
        let seconds = server.timestamp_millis() as f64 / 1000.0;
        health.record_server_time(health.now(), seconds);
    }

    #[test]
    fn a_clock_that_is_wrong_by_a_minute_is_refused_in_both_directions() {
        const DAY: i64 = 86_400_000;
        for millis in [0, 59_000, -59_000] {
            assert_eq!(ahead(millis).0.clock_is_right(), Ok(()), "{millis}");
        }
        for millis in [
            59_900,
            -59_900,
            60_000,
            -60_000,
            DAY,
            -DAY,
            730 * DAY,
            -730 * DAY,
        ] {
            let error = ahead(millis).0.clock_is_right().unwrap_err();
            let seconds = (millis + 500 * millis.signum()) / 1000;
            assert_eq!(error.ahead, seconds);
            let text = error.to_string();
            assert!(
                text.contains(if millis < 0 { "behind" } else { "ahead of" }),
                "{text}"
            );
        }
    }

    #[test]
    fn a_clock_that_is_set_is_refused_at_once_and_taken_again_when_it_is_right() {
        let (health, clock) = ahead(0);
        clock.advance(TimeDelta::days(1));
        assert_eq!(health.clock_is_right(), Ok(()), "time passes");
        clock.step(TimeDelta::days(700));
        let ahead = 700 * 86_400;
        assert_eq!(health.clock_is_right(), Err(WrongClock { ahead }));
        record(&health, &clock, 0);
        assert_eq!(health.clock_is_right(), Ok(()));
    }

    #[test]
    fn without_a_comparison_and_by_an_answer_that_comes_late_nothing_is_refused() {
        let health = DatabaseHealth::new();
        health.record_server_time(health.now(), 0.0);
        assert_eq!(health.clock_is_right(), Ok(()));
        let (health, clock) = ahead(0);
        let before = health.now();
        clock.advance(MAX_ROUND_TRIP + TimeDelta::milliseconds(1));
        health.record_server_time(before, 0.0);
        assert_eq!(health.clock_is_right(), Ok(()));
    }
}
