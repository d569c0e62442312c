//! Timer of an aggregator request, which pauses while a result waits for the program.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// Timer of one round of requests. While an answer waits for the program to take it, the round's
/// time stands still: who reads slowly, or through a pager, loses nothing.
pub(super) struct RequestTimer {
    began: Instant,
    limit: Duration,
    pause: Mutex<Pause>,
}

#[derive(Default)]
struct Pause {
    /// Answers that wait now.
    waiting: usize,
    /// Since when there has been one.
    since: Option<Instant>,
    /// All such times that are over.
    total: Duration,
}

/// The timeout that has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeLimit {
    /// That for each question.
    Each,
    /// That for the whole round.
    Deadline,
}

/// As long as it is held, the time stands still.
pub(super) struct PauseGuard<'a>(&'a RequestTimer);

/// Interval at which a paused timer is checked.
const RECHECK_INTERVAL: Duration = Duration::from_millis(100);

/// As good as never.
const NEVER: Duration = Duration::from_hours(24 * 365 * 30);

impl RequestTimer {
    pub(super) fn starts(limit: Duration) -> Self {
        Self {
            began: Instant::now(),
            limit: limit.min(NEVER),
            pause: Mutex::default(),
        }
    }

    /// An answer waits for the program.
    pub(super) fn pause_guard(&self) -> PauseGuard<'_> {
        self.pause().begin(Instant::now());
        PauseGuard(self)
    }

    /// Waits until then at most; `each` is the time for this question alone.
    pub(super) async fn within<T>(
        &self,
        each: Option<Duration>,
        answer: impl Future<Output = T>,
    ) -> Result<T, TimeLimit> {
        let mut answer = pin!(answer);
        let each = Instant::now() + each.unwrap_or(NEVER).min(NEVER);
        loop {
            let until = each.min(self.deadline());
            if let Ok(answer) = timeout_at(until, &mut answer).await {
                return Ok(answer);
            }
            let now = Instant::now();
            if now >= each {
                return Err(TimeLimit::Each);
            }
            if self.is_over() {
                return Err(TimeLimit::Deadline);
            }
        }
    }

    /// Whether the round's time has passed.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline()
    }

    fn deadline(&self) -> Instant {
        let now = Instant::now();
        self.pause().put_off(self.began + self.limit, now)
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        // Nothing panics while the lock is held.
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pause {
    fn begin(&mut self, now: Instant) {
        if self.waiting == 0 {
            self.since = Some(now);
        }
        self.waiting += 1;
    }

    fn end(&mut self, now: Instant) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0
            && let Some(since) = self.since.take()
        {
            self.total += now - since;
        }
    }

    /// End of the time limit as of `now`. While the clock of the limit is stopped, it is always in the
    /// future.
    fn put_off(&self, ends: Instant, now: Instant) -> Instant {
        let ends = ends + self.total;
        match self.since {
            Some(since) => (ends + (now - since)).max(now + RECHECK_INTERVAL),
            None => ends,
        }
    }
}

impl Drop for PauseGuard<'_> {
    fn drop(&mut self) {
        self.0.pause().end(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn while_an_answer_waits_the_time_stands_still() {
        let began = Instant::now();
        let ends = began + 10 * SECOND;
        let mut pause = Pause::default();
        assert_eq!(pause.put_off(ends, began), ends);
        pause.begin(began + 9 * SECOND);
        let late = began + 60 * SECOND;
        assert!(pause.put_off(ends, late) > late);
        pause.end(late);
        // A second of its ten is left.
        assert_eq!(pause.put_off(ends, late), late + SECOND);
        assert_eq!(pause.put_off(ends, late + 2 * SECOND), late + SECOND);
    }

    #[test]
    fn two_answers_that_wait_stop_it_once() {
        let began = Instant::now();
        let ends = began + 10 * SECOND;
        let mut pause = Pause::default();
        pause.begin(began);
        pause.begin(began + 5 * SECOND);
        pause.end(began + 7 * SECOND);
        let now = began + 20 * SECOND;
        assert!(pause.put_off(ends, now) > now);
        pause.end(now);
        assert_eq!(pause.put_off(ends, now), ends + 20 * SECOND);
    }

    #[test]
    fn a_pause_that_begins_late_is_looked_at_again_and_does_not_spin() {
        let began = Instant::now();
        let mut pause = Pause::default();
        pause.begin(began + 3 * SECOND);
        let ends = began + 2 * SECOND;
        let now = began + 3 * SECOND;
        assert_eq!(pause.put_off(ends, now), now + RECHECK_INTERVAL);
    }

    #[tokio::test]
    async fn each_question_has_its_own_time_and_the_round_has_one() {
        let never = std::future::pending::<()>;
        let time = RequestTimer::starts(Duration::MAX);
        assert_eq!(
            time.within(Some(Duration::ZERO), never()).await,
            Err(TimeLimit::Each)
        );
        assert!(!time.is_over());
        assert_eq!(time.within(None, async {}).await, Ok(()));
        let over = RequestTimer::starts(Duration::ZERO);
        assert!(over.is_over());
        assert_eq!(
            over.within(Some(Duration::MAX), never()).await,
            Err(TimeLimit::Deadline)
        );
    }
}
