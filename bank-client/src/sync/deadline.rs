//! Deadline of a synchronisation run.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::error::ErrorKind;

/// The end of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// `None` if it is too far in the future for an `Instant`.
    at: Option<Instant>,
    limit: Duration,
}

impl Deadline {
    /// A deadline after that time.
    pub(super) fn after(limit: Duration) -> Self {
        Self {
            at: Instant::now().checked_add(limit),
            limit,
        }
    }

    /// Time limit of the run.
    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether it has passed.
    pub(super) fn is_over(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// Waits until then at most.
    pub(super) async fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, ErrorKind> {
        let Some(at) = self.at else {
            return Ok(what.await);
        };
        let late = ErrorKind::Timeout { limit: self.limit };
        // The timer is coarser than the clock, and what is ready wins over it.
        if self.is_over() {
            return Err(late);
        }
        timeout_at(at, what).await.map_err(|_| late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_late_is_told_how_long_there_was() {
        let never = std::future::pending::<()>;
        let over = Deadline::after(Duration::ZERO);
        assert!(over.is_over());
        let limit = Duration::ZERO;
        assert_eq!(over.wait(never()).await, Err(ErrorKind::Timeout { limit }));
        assert_eq!(over.wait(async {}).await, Err(ErrorKind::Timeout { limit }));
        for far in [Duration::from_hours(1), Duration::MAX] {
            let deadline = Deadline::after(far);
            assert!(!deadline.is_over());
            assert_eq!(deadline.wait(async { 1 }).await, Ok(1));
        }
    }
}
