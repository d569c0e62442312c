//! Typed, sealed records on top of a store.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use shared_types::decode::kept;

use super::{Kind, Store, StoreError, Version};
use crate::vault::{SealError, Vault};

/// A store, and what seals the records in it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sealed {
    store: Arc<dyn Store>,
    vault: Vault,
}

/// Failure to read or write a record.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It does not open, or cannot be sealed.
    #[error(transparent)]
    Vault(#[from] SealError),
    /// It opens, and does not read: another version of this program has written it.
    #[error("a record of kind {kind} cannot be read: {cause}")]
    Format {
        /// Its kind.
        kind: Kind,
        /// The fault.
        cause: String,
    },
}

/// Records that are read from the store at a time.
const PIECE: usize = 100;

impl Sealed {
    pub(crate) fn new(store: Arc<dyn Store>, vault: Vault) -> Self {
        Self { store, vault }
    }

    /// Keyed digest of `about`. It is always the same, and reveals nothing without the key.
    pub(crate) fn name(&self, about: &str) -> [u8; 16] {
        self.vault.name(about)
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
    ) -> Result<Option<(T, Version)>, RecordError> {
        let Some(record) = self.store.get(kind, id).await? else {
            return Ok(None);
        };
        Ok(Some((self.open(kind, id, &record.sealed)?, record.version)))
    }

    /// Records after that id, at most that many. One that cannot be read does not hide the others.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        kind: Kind,
        after: &str,
        most: usize,
    ) -> Result<Vec<(String, Result<T, RecordError>)>, RecordError> {
        let found = self.store.list(kind, after, most).await?;
        let opened = found.into_iter().map(|(id, record)| {
            let opened = self.open(kind, &id, &record.sealed);
            (id, opened)
        });
        Ok(opened.collect())
    }

    pub(crate) async fn put<T: Serialize + Sync>(
        &self,
        kind: Kind,
        id: &str,
        seen: Option<Version>,
        value: &T,
    ) -> Result<Version, RecordError> {
        let plain = serde_json::to_vec(value).map_err(|_| format(kind, &"it cannot be written"))?;
        let sealed = self.vault.seal(&about(kind, id), &plain)?;
        Ok(self.store.put(kind, id, seen, &sealed).await?)
    }

    pub(crate) async fn remove(
        &self,
        kind: Kind,
        id: &str,
        seen: Version,
    ) -> Result<(), RecordError> {
        Ok(self.store.remove(kind, id, seen).await?)
    }

    /// Removes all records of that kind whose ids begin so. They need not open.
    pub(crate) async fn remove_all(&self, kind: Kind, prefix: &str) -> Result<(), RecordError> {
        loop {
            // Removed records are no longer at the front of the list.
            let found = self.store.list(kind, prefix, PIECE).await?;
            let mut removed = 0;
            for (id, record) in found {
                if !id.starts_with(prefix) {
                    break;
                }
                match self.store.remove(kind, &id, record.version).await {
                    // It was changed meanwhile: the next look sees to it.
                    Ok(()) | Err(StoreError::Conflict) => removed += 1,
                    Err(error) => return Err(error.into()),
                }
            }
            if removed == 0 {
                return Ok(());
            }
        }
    }

    fn open<T: DeserializeOwned>(
        &self,
        kind: Kind,
        id: &str,
        sealed: &[u8],
    ) -> Result<T, RecordError> {
        let plain = self.vault.open(&about(kind, id), sealed)?;
        // Parts of it may be of a bank's answer.
        kept(&plain).map_err(|error| format(kind, &error))
    }
}

/// Associated data of a record: sealed for one place, it opens in no other.
fn about(kind: Kind, id: &str) -> String {
    format!("{kind}/{id}")
}

/// Error of a record that does not read: its kind and the fault, and nothing of the content.
fn format(kind: Kind, fault: &impl ToString) -> RecordError {
    let cause = fault.to_string();
    RecordError::Format { kind, cause }
}

#[cfg(test)]
mod tests {
    use shared_types::xs2a::account::AccountReference;

    use super::*;
    use crate::store::MemoryStore;
    use crate::vault::Key;
    use shared_types::environment::SystemRandomness;

    #[tokio::test]
    async fn a_number_that_is_longer_than_the_standard_has_it_reads_back() {
        let key = Key::from_bytes([1; 32]);
        let vault = Vault::new(&key, "records", Arc::new(SystemRandomness)).unwrap();
        let sealed = Sealed::new(Arc::new(MemoryStore::new()), vault);
        let json = serde_json::json!({ "maskedPan": "x".repeat(36) }).to_string();
        let reference: AccountReference = kept(json.as_bytes()).unwrap();
        let kind = Kind::Connection;
        sealed.put(kind, "1", None, &reference).await.unwrap();
        let (read, _) = sealed.get(kind, "1").await.unwrap().unwrap();
        assert_eq!(reference, read);
    }
}
