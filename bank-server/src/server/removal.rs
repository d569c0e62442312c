//! When old rows are removed from the database, and when that is held back because the clock may be wrong.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bank_client::environment::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use rustls_pki_types::UnixTime;
use shared_types::revocation::List;
use tokio::sync::Mutex;

use crate::store::StoreError;
use crate::store::retention::Retention;
use crate::transport::trust_reloader::Report;

/// How often old rows are removed.
const EVERY: Duration = Duration::from_mins(10);

/// For so long nothing is removed after the start, and after the clock was set: a clock that is wrong is often corrected, or
/// noticed, soon.
const SETTLING: Duration = Duration::from_mins(5);

/// By how much wall clock and uptime may drift apart between two looks. More is a step: the clock was set.
const MAX_DRIFT: TimeDelta = TimeDelta::minutes(1);

/// How often [`Removal::look`] is to be called. A step of the clock is noticed before the next removal in any case.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Removes from the database what has been kept for long enough, as long as the clock can be right.
pub(super) struct Removal {
    retention: Retention,
    clock: Arc<dyn Clock>,
    trust: Arc<ArcSwap<Report>>,
    pace: Mutex<Pace>,
}

impl Removal {
    /// Begins now: to be called at the start.
    pub(super) fn new(
        retention: Retention,
        clock: Arc<dyn Clock>,
        trust: Arc<ArcSwap<Report>>,
    ) -> Self {
        let pace = Mutex::new(Pace::new(clock.now(), clock.uptime()));
        Self {
            retention,
            clock,
            trust,
            pace,
        }
    }

    /// Removes if it is time.
    pub(super) async fn look(&self) {
        let mut pace = self.pace.lock().await;
        let (now, uptime) = (self.clock.now(), self.clock.uptime());
        if !pace.has_begun {
            // Why the database cannot be used is logged and shown where that is found out.
            pace.has_begun = self.retention.begin(now).await.is_ok();
        }
        if pace.is_due(now, uptime) {
            if let Some(reason) = looks_wrong(&self.trust.load(), self.clock.unix()) {
                tracing::warn!(
                    reason,
                    "old rows are not removed: the clock of this machine may be wrong"
                );
                return;
            }
            let passed = pace.passed(uptime);
            match logged(self.remove(now, passed).await) {
                Some(0) | None => {}
                Some(removed) => tracing::info!(removed, "what was over has been removed"),
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
        .inspect_err(|error| tracing::warn!(%error, "what is over could not be removed"))
        .ok()
}

/// What of our own trust says that it can not be that time.
fn looks_wrong(report: &Report, now: UnixTime) -> Option<&'static str> {
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

/// When it is time to remove.
#[derive(Debug)]
struct Pace {
    has_begun: bool,
    /// Wall clock and uptime at the last look.
    seen: (DateTime<Utc>, Duration),
    /// The uptime at the start, or when the last step of the clock was noticed.
    settling_since: Duration,
    /// The uptime when it was last due; at first, that of the start.
    due: Duration,
    /// The uptime of the last removal; at first, that of the start.
    removed: Duration,
}

impl Pace {
    fn new(now: DateTime<Utc>, uptime: Duration) -> Self {
        Self {
            has_begun: false,
            seen: (now, uptime),
            settling_since: uptime,
            due: uptime,
            removed: uptime,
        }
    }

    /// Whether it is time. If it is, the next time is ten minutes later.
    fn is_due(&mut self, now: DateTime<Utc>, uptime: Duration) -> bool {
        let (then, since) = std::mem::replace(&mut self.seen, (now, uptime));
        let passed = TimeDelta::from_std(uptime.saturating_sub(since)).unwrap_or(TimeDelta::MAX);
        let drift = (now - then).checked_sub(&passed).unwrap_or(TimeDelta::MAX);
        if drift.abs() > MAX_DRIFT {
            tracing::warn!(
                seconds = drift.num_seconds(),
                "the clock was set; no old rows are removed for some minutes"
            );
            self.settling_since = uptime;
        }
        let is_settled = uptime.saturating_sub(self.settling_since) >= SETTLING;
        let is_due = is_settled && uptime.saturating_sub(self.due) >= EVERY;
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
    use crate::transport::trust_reloader::ListReport;

    fn at(minutes: i64) -> DateTime<Utc> {
        let start: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        start + TimeDelta::minutes(minutes)
    }

    fn up(minutes: u64) -> Duration {
        Duration::from_mins(minutes)
    }

    #[test]
    fn it_is_time_every_ten_minutes_and_not_at_the_start() {
        let mut pace = Pace::new(at(0), up(0));
        let due = (0..=30).filter(|minute| {
            let uptime = up(u64::try_from(*minute).unwrap());
            pace.is_due(at(*minute), uptime)
        });
        assert_eq!(due.collect::<Vec<_>>(), [10, 20, 30]);
    }

    #[test]
    fn after_a_step_of_the_clock_it_is_not_time_for_some_minutes() {
        const DAYS: i64 = 700 * 24 * 60;
        for step in [2, -2, DAYS, -DAYS] {
            let mut pace = Pace::new(at(0), up(0));
            assert!(!pace.is_due(at(9), up(9)));
            assert!(!pace.is_due(at(10 + step), up(10)), "{step}");
            assert!(!pace.is_due(at(14 + step), up(14)), "{step}");
            assert!(pace.is_due(at(15 + step), up(15)), "{step}");
        }
    }

    #[test]
    fn what_was_held_back_is_made_up_for() {
        let mut pace = Pace::new(at(0), up(0));
        assert!(pace.is_due(at(10), up(10)));
        assert!(pace.is_due(at(20), up(20)));
        assert_eq!(pace.passed(up(20)), up(20));
        assert_eq!(pace.passed(up(30)), up(10));
    }

    #[test]
    fn by_a_clock_that_contradicts_our_own_trust_nothing_is_removed() {
        let second = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let report = Report {
            certificate_until: Some(second(3000)),
            lists: vec![ListReport {
                issuer: "CN=CA1".to_owned(),
                this_update: second(1000),
                next_update: second(2000),
                entries: 0,
            }],
            ..Report::default()
        };
        let wrong = |seconds| looks_wrong(&report, second(seconds));
        // The issuer's clock may be five minutes ahead.
        assert_eq!(wrong(699), Some("a revocation list is not valid yet"));
        assert_eq!(wrong(700), None);
        assert_eq!(wrong(2000), None);
        assert_eq!(wrong(2001), Some("a revocation list is stale"));
        let report = Report {
            lists: Vec::new(),
            ..report
        };
        let expired = looks_wrong(&report, second(3001));
        assert_eq!(expired, Some("our own certificate has expired"));
    }
}
