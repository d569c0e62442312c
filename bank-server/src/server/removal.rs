//! Periodic removal of expired rows from the database, paused while the clock may be wrong.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use rustls_pki_types::UnixTime;
use shared_types::environment::Clock;
use shared_types::pki::revocation::List;
use tokio::sync::Mutex;

use crate::store::StoreError;
use crate::store::retention::Retention;
use crate::transport::trust_reloader::TrustReport;

/// Interval of removals.
const INTERVAL: Duration = Duration::from_mins(10);

/// Pause after the start and after a clock step: a wrong clock is often corrected or noticed soon.
const SETTLING: Duration = Duration::from_mins(5);

/// Drift between wall clock and uptime, between two checks, that counts as a clock step.
const MAX_DRIFT: TimeDelta = TimeDelta::minutes(1);

/// Interval at which [`Removal::run_if_due`] is to be called. A clock step is noticed before the
/// next removal in any case.
pub(super) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Removes rows whose retention has ended, unless the clock may be wrong.
pub(super) struct Removal {
    retention: Retention,
    clock: Arc<dyn Clock>,
    trust: Arc<ArcSwap<TrustReport>>,
    schedule: Mutex<Schedule>,
}

impl Removal {
    /// To be created at the start of the server.
    pub(super) fn new(
        retention: Retention,
        clock: Arc<dyn Clock>,
        trust: Arc<ArcSwap<TrustReport>>,
    ) -> Self {
        let schedule = Mutex::new(Schedule::new(clock.now(), clock.uptime()));
        Self {
            retention,
            clock,
            trust,
            schedule,
        }
    }

    /// Removes rows if a removal is due.
    pub(super) async fn run_if_due(&self) {
        let mut schedule = self.schedule.lock().await;
        let (now, uptime) = (self.clock.now(), self.clock.uptime());
        if !schedule.has_begun {
            // A failure of the database is logged where it is detected.
            schedule.has_begun = self.retention.begin(now).await.is_ok();
        }
        if schedule.is_due(now, uptime) {
            if let Some(reason) = clock_contradiction(&self.trust.load(), self.clock.unix()) {
                tracing::warn!(
                    reason,
                    "removal of expired rows skipped, clock may be wrong"
                );
                return;
            }
            let passed = schedule.passed(uptime);
            match logged(self.remove(now, passed).await) {
                Some(0) | None => {}
                Some(removed) => tracing::info!(removed, "expired rows removed"),
            }
        }
    }

    async fn remove(&self, now: DateTime<Utc>, passed: Duration) -> Result<u64, StoreError> {
        match self.retention.move_on(now, passed).await? {
            Some(time) => self.retention.remove(time).await,
            None => Ok(0),
        }
    }
}

fn logged<T>(outcome: Result<T, StoreError>) -> Option<T> {
    outcome
        .inspect_err(|error| tracing::warn!(%error, "removal of expired rows failed"))
        .ok()
}

/// The part of our own trust that contradicts the clock.
fn clock_contradiction(report: &TrustReport, now: UnixTime) -> Option<&'static str> {
    // The clock of a list's issuer may be ahead, as where the list is judged.
    let latest =
        UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + List::CLOCKS_APART);
    if report.lists.iter().any(|list| latest < list.this_update) {
        Some("a revocation list is not valid yet")
    } else if report.lists.iter().any(|list| list.next_update < now) {
        Some("a revocation list is stale")
    } else if report.certificate_until.is_some_and(|until| until < now) {
        Some("our own certificate has expired")
    } else {
        None
    }
}

/// Schedule of removals.
#[derive(Debug)]
struct Schedule {
    has_begun: bool,
    /// Wall clock and uptime at the last check.
    seen: (DateTime<Utc>, Duration),
    /// The uptime at the start, or when the last step of the clock was noticed.
    settling_since: Duration,
    /// The uptime when it was last due; at first, that of the start.
    due: Duration,
    /// The uptime of the last removal; at first, that of the start.
    removed: Duration,
}

impl Schedule {
    fn new(now: DateTime<Utc>, uptime: Duration) -> Self {
        Self {
            has_begun: false,
            seen: (now, uptime),
            settling_since: uptime,
            due: uptime,
            removed: uptime,
        }
    }

    /// Whether a removal is due. If so, the next is due ten minutes later.
    fn is_due(&mut self, now: DateTime<Utc>, uptime: Duration) -> bool {
        let (then, since) = std::mem::replace(&mut self.seen, (now, uptime));
        let passed = TimeDelta::from_std(uptime.saturating_sub(since)).unwrap_or(TimeDelta::MAX);
        let drift = (now - then).checked_sub(&passed).unwrap_or(TimeDelta::MAX);
        if drift.abs() > MAX_DRIFT {
            tracing::warn!(
                seconds = drift.num_seconds(),
                "clock step detected, removal of expired rows paused"
            );
            self.settling_since = uptime;
        }
        let is_settled = uptime.saturating_sub(self.settling_since) >= SETTLING;
        let is_due = is_settled && uptime.saturating_sub(self.due) >= INTERVAL;
        if is_due {
            self.due = uptime;
        }
        is_due
    }

    /// The time since the last removal, of which this is the next.
    fn passed(&mut self, uptime: Duration) -> Duration {
        uptime.saturating_sub(std::mem::replace(&mut self.removed, uptime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::trust_reloader::CrlReport;

    fn at(minutes: i64) -> DateTime<Utc> {
        let start: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        start + TimeDelta::minutes(minutes)
    }

    fn up(minutes: u64) -> Duration {
        Duration::from_mins(minutes)
    }

    #[test]
    fn removal_is_due_every_ten_minutes_and_not_at_the_start() {
        let mut schedule = Schedule::new(at(0), up(0));
        let due = (0..=30).filter(|minute| {
            let uptime = up(u64::try_from(*minute).unwrap());
            schedule.is_due(at(*minute), uptime)
        });
        assert_eq!(due.collect::<Vec<_>>(), [10, 20, 30]);
    }

    #[test]
    fn a_clock_step_pauses_removal() {
        const DAYS: i64 = 700 * 24 * 60;
        for step in [2, -2, DAYS, -DAYS] {
            let mut schedule = Schedule::new(at(0), up(0));
            assert!(!schedule.is_due(at(9), up(9)));
            assert!(!schedule.is_due(at(10 + step), up(10)), "{step}");
            assert!(!schedule.is_due(at(14 + step), up(14)), "{step}");
            assert!(schedule.is_due(at(15 + step), up(15)), "{step}");
        }
    }

    #[test]
    fn skipped_removals_are_caught_up() {
        let mut schedule = Schedule::new(at(0), up(0));
        assert!(schedule.is_due(at(10), up(10)));
        assert!(schedule.is_due(at(20), up(20)));
        assert_eq!(schedule.passed(up(20)), up(20));
        assert_eq!(schedule.passed(up(30)), up(10));
    }

    #[test]
    fn nothing_is_removed_when_the_clock_contradicts_our_own_trust() {
        let second = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let report = TrustReport {
            certificate_until: Some(second(3000)),
            lists: vec![CrlReport {
                issuer: "CN=CA1".to_owned(),
                this_update: second(1000),
                next_update: second(2000),
                entries: 0,
            }],
            ..TrustReport::default()
        };
        let contradiction = |seconds| clock_contradiction(&report, second(seconds));
        // The issuer's clock may be five minutes ahead.
        assert_eq!(
            contradiction(699),
            Some("a revocation list is not valid yet")
        );
        assert_eq!(contradiction(700), None);
        assert_eq!(contradiction(2000), None);
        assert_eq!(contradiction(2001), Some("a revocation list is stale"));
        let report = TrustReport {
            lists: Vec::new(),
            ..report
        };
        let expired = clock_contradiction(&report, second(3001));
        assert_eq!(expired, Some("our own certificate has expired"));
    }
}
