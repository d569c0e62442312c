//! Point at which a test kills a run.

/// The point at which a test kills the program that writes: before or after one of its commits.
pub(crate) struct CrashPoint {
    /// Points that are passed before it.
    left: std::sync::atomic::AtomicU64,
    reached: tokio::sync::Notify,
}

impl Default for CrashPoint {
    fn default() -> Self {
        Self {
            left: u64::MAX.into(),
            reached: tokio::sync::Notify::new(),
        }
    }
}

impl CrashPoint {
    pub(crate) fn set(&self, points: u64) {
        self.left
            .store(points, std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) async fn pass(&self) {
        if self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}
