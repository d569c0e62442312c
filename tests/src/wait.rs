//! Waiting for what comes about, and not for time to pass.

use std::time::{Duration, Instant};

/// Waits for a condition that takes asking, at most 30 seconds.
pub async fn wait_until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come about"))
}

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
