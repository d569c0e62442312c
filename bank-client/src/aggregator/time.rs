//! How long a round of questions may go on.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The time of one round. While an answer waits for the program to take it, the round's time stands still: who reads
/// slowly, or through a pager, loses nothing.
pub(super) struct Time {
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

/// Which of the two times has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// That for each question.
    Each,
    /// That for the whole round.
    Deadline,
}

/// As long as it is held, the time stands still.
pub(super) struct HeldUp<'a>(&'a Time);

/// How soon it is looked again whether a time that stands still goes on.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// As good as never.
const NEVER: Duration = Duration::from_hours(24 * 365 * 30);

impl Time {
    pub(super) fn starts(limit: Duration) -> Self {
        Self {
            began: Instant::now(),
            limit: limit.min(NEVER),
            pause: Mutex::default(),
        }
    }

    /// An answer waits for the program.
    pub(super) fn held_up(&self) -> HeldUp<'_> {
        let mut pause = self.pause();
        if pause.waiting == 0 {
            pause.since = Some(Instant::now());
        }
        pause.waiting += 1;
        HeldUp(self)
    }

    /// Waits until then at most; `each` is the time for this question alone.
    pub(super) async fn within<T>(
        &self,
        each: Option<Duration>,
        answer: impl Future<Output = T>,
    ) -> Result<T, Late> {
        let mut answer = pin!(answer);
        let each = Instant::now() + each.unwrap_or(NEVER).min(NEVER);
        loop {
            let until = each.min(self.deadline());
            if let Ok(answer) = timeout_at(until, &mut answer).await {
                return Ok(answer);
            }
            let now = Instant::now();
            if now >= each {
                return Err(Late::Each);
            }
            if self.is_over() {
                return Err(Late::Deadline);
            }
        }
    }

    /// Whether the round's time has passed.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline()
    }

    fn deadline(&self) -> Instant {
        let pause = self.pause();
        let ends = self.began + self.limit + pause.total;
        match pause.since {
            Some(since) => (ends + since.elapsed()).max(Instant::now() + LOOK_AGAIN),
            None => ends,
        }
    }

    fn pause(&self) -> MutexGuard<'_, Pause> {
        // Nothing panics while the lock is held.
        self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldUp<'_> {
    fn drop(&mut self) {
        let mut pause = self.0.pause();
        pause.waiting = pause.waiting.saturating_sub(1);
        if pause.waiting == 0
            && let Some(since) = pause.since.take()
        {
            pause.total += since.elapsed();
        }
    }
}
