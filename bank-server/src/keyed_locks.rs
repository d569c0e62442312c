//! Locks by name, within this process: one holder of a name at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// Locks by name. Cheap to clone: all clones share them. Stores only the names that are locked or
/// waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyedLocks(Arc<Mutex<HashMap<String, Weak<Lock>>>>);

impl KeyedLocks {
    /// Locks a name until the guard is dropped. Waits in first-in, first-out order.
    pub(crate) async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        self.named(name).lock_owned().await
    }

    fn named(&self, name: &str) -> Arc<Lock> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(Lock::default());
        locks.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn one_name_is_held_once_and_forgotten_afterwards() {
        let locks = KeyedLocks::default();
        let held = locks.lock("a").await;
        let mut next = Box::pin(locks.lock("a"));
        assert!((&mut next).now_or_never().is_none());
        let other = locks.lock("b").now_or_never().unwrap();
        drop(held);
        drop(next.await);
        drop(other);
        let _last = locks.lock("c").await;
        assert_eq!(locks.0.lock().unwrap().len(), 1);
    }
}
