//! Bounded wait for a condition.

use std::time::{Duration, Instant};

/// Timeout of a condition: long enough for a machine that does much else.
pub const MAX_WAIT: Duration = Duration::from_mins(1);

/// Interval between checks, so that waiting leaves the processor to the awaited work.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Waits for a condition that is checked asynchronously.
pub async fn wait_until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(MAX_WAIT, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come about"))
}

/// Waits for a condition.
pub async fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < MAX_WAIT, "{what} did not come about");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
