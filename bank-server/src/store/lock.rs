//! Lock file beside a SQLite database: banks that serve share it, an import has it alone.
//!
//! SQLite has one writer at a time, and an import of a large file writes for seconds: a bank that
//! served requests at that time could not record a consent. The file is empty, and stays; the lock
//! ends with the process (`flock`).

use std::fs::{File, TryLockError};

use super::engine::{make_file, with_suffix};
use super::{DatabaseLocation, Result, StoreError};
use shared_types::files::is_open_to_others;

/// Use of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseUse {
    /// A bank serves from it; several may.
    Serving,
    /// A world file is loaded.
    Importing,
}

/// Suffix of the lock file.
pub(super) const SUFFIX: &str = "-lock";

/// Takes the lock, or fails at once. A database server needs no lock, because its transactions do
/// not wait for each other.
pub(super) fn take(wanted_for: DatabaseUse, place: &DatabaseLocation) -> Result<Option<File>> {
    let DatabaseLocation::File(path) = place else {
        return Ok(None);
    };
    // Where the file itself is, as SQLite has its journal.
    let file = path.canonicalize().unwrap_or_else(|_| path.clone());
    let name = with_suffix(&file, SUFFIX);
    let failed = |error: std::io::Error| StoreError::Open {
        path: path.clone(),
        error: error.into(),
    };
    // Other users could hold the lock, and keep the bank from starting.
    make_file(&name).map_err(failed)?;
    let file = File::options().append(true).open(&name).map_err(failed)?;
    if is_open_to_others(&name) {
        return Err(StoreError::OpenToOthers(name));
    }
    let locked = match wanted_for {
        DatabaseUse::Serving => file.try_lock_shared(),
        DatabaseUse::Importing => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.clone(),
            wanted_for,
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Database;

    #[tokio::test]
    async fn banks_share_a_file_and_an_import_has_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = DatabaseLocation::File(folder.path().join("bank.db"));
        let open = async |wanted_for| Database::open_for(wanted_for, &place).await;
        let one = open(DatabaseUse::Serving).await.unwrap();
        let two = open(DatabaseUse::Serving).await.unwrap();
        drop(one);
        let refused = open(DatabaseUse::Importing).await.unwrap_err();
        assert!(refused.to_string().contains("a bank serves"), "{refused}");
        drop(two);
        let import = open(DatabaseUse::Importing).await.unwrap();
        let refused = open(DatabaseUse::Serving).await.unwrap_err();
        assert!(refused.to_string().contains("under way"), "{refused}");
        drop(import);
        open(DatabaseUse::Serving).await.unwrap();
    }
}
