//! In-memory store.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{Kind, Record, Store, StoreError, Version, check_record};

/// Keeps records in memory: for tests, and for programs that connect anew each time.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    records: BTreeMap<(Kind, String), Record>,
    last: u64,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing is half done while the lock is held.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.lock().records.get(&(kind, id.to_owned())).cloned())
    }

    async fn list(
        &self,
        kind: Kind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, StoreError> {
        let kept = self.lock();
        let from = (kind, after.to_owned());
        let later = kept
            .records
            .range((Bound::Excluded(from), Bound::Unbounded));
        let of_kind = later.take_while(|((other, _), _)| *other == kind);
        let found = of_kind.take(limit);
        Ok(found
            .map(|((_, id), record)| (id.clone(), record.clone()))
            .collect())
    }

    async fn put(
        &self,
        kind: Kind,
        id: &str,
        expected: Option<Version>,
        sealed: &[u8],
    ) -> Result<Version, StoreError> {
        check_record(id, sealed)?;
        let mut kept = self.lock();
        let key = (kind, id.to_owned());
        if kept.records.get(&key).map(|record| record.version) != expected {
            return Err(StoreError::Conflict);
        }
        kept.last += 1;
        let version = Version(kept.last);
        let sealed = sealed.to_vec();
        kept.records.insert(key, Record { version, sealed });
        Ok(version)
    }

    async fn remove(&self, kind: Kind, id: &str, expected: Version) -> Result<(), StoreError> {
        let mut kept = self.lock();
        let key = (kind, id.to_owned());
        if kept.records.get(&key).map(|record| record.version) != Some(expected) {
            return Err(StoreError::Conflict);
        }
        kept.records.remove(&key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::contract;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        contract::all(|| async { Arc::new(MemoryStore::new()) as Arc<dyn Store> }).await;
    }
}
