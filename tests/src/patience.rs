//! Waiting for what comes about, and not for time to pass.

use std::time::{Duration, Instant};

/// Waits for a condition, at most 20 seconds.
pub async fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{what} did not come about"
        );
        tokio::task::yield_now().await;
    }
}
