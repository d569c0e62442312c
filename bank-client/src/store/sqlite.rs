//! SQLite store.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteRow, SqliteSynchronous};
use sqlx::{Row as _, SqlitePool};

use super::{Kind, Record, Store, StoreError, Version, check_record};
use crate::sqlite::{self, OpenError};

const MIGRATIONS: [(i64, &str, &str); 1] = [(
    1,
    "records",
    include_str!("../../migrations/store/0001_records.sql"),
)];

/// Time limit of a call that waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps records in a file. Cheap to clone; clones share the connections. Several processes can
/// share the file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, makes it if it is not there (readable by its owner alone), and brings its
    /// tables up to date. A file that a newer version has made is left alone.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // Committed data survives a power failure, not only a crash.
        let opened = sqlite::open(path, &MIGRATIONS, SqliteSynchronous::Full, PATIENCE).await;
        let (pool, _opening) = opened.map_err(|error| match error {
            OpenError::Newer(found) => StoreError::NewerSchema {
                path: path.display().to_string(),
                found,
                supported: MIGRATIONS
                    .iter()
                    .map(|(version, ..)| *version)
                    .max()
                    .unwrap_or(0),
            },
            OpenError::Failed(cause) => StoreError::Open {
                path: path.display().to_string(),
                cause,
            },
        })?;
        Ok(Self { pool })
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

fn read(row: &SqliteRow) -> Result<Record, StoreError> {
    let version: i64 = row.try_get("version")?;
    let version = u64::try_from(version).map_err(|error| StoreError::Failed(error.into()))?;
    Ok(Record {
        version: Version(version),
        sealed: row.try_get("sealed")?,
    })
}

/// As it is stored. Versions count from one: there are no larger ones than fit.
fn stored(version: Version) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqliteStore {
    async fn get(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        sqlx::query("SELECT version, sealed FROM record WHERE kind = ? AND id = ?")
            .bind(kind.as_str())
            .bind(id)
            .fetch_optional(&self.pool)
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }

    async fn list(
        &self,
        kind: Kind,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Record)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, version, sealed FROM record WHERE kind = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(kind.as_str())
        .bind(after)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("id")?, read(row)?)))
            .collect()
    }

    async fn put(
        &self,
        kind: Kind,
        id: &str,
        expected: Option<Version>,
        sealed: &[u8],
    ) -> Result<Version, StoreError> {
        check_record(id, sealed)?;
        // It waits for its turn now, so that it cannot fail for that later.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let version: i64 = sqlx::query("UPDATE version SET last = last + 1 RETURNING last")
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?;
        let query = match expected {
            None => sqlx::query(
                "INSERT INTO record (version, sealed, kind, id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            ),
            Some(_) => sqlx::query(
                "UPDATE record SET version = ?, sealed = ? WHERE kind = ? AND id = ? AND version = ?",
            ),
        };
        let query = query
            .bind(version)
            .bind(sealed)
            .bind(kind.as_str())
            .bind(id);
        let query = match expected {
            None => query,
            Some(expected) => query.bind(stored(expected)),
        };
        if query.execute(&mut *transaction).await?.rows_affected() == 0 {
            // It is rolled back.
            return Err(StoreError::Conflict);
        }
        transaction.commit().await?;
        let version = u64::try_from(version).map_err(|error| StoreError::Failed(error.into()))?;
        Ok(Version(version))
    }

    async fn remove(&self, kind: Kind, id: &str, expected: Version) -> Result<(), StoreError> {
        let removed = sqlx::query("DELETE FROM record WHERE kind = ? AND id = ? AND version = ?")
            .bind(kind.as_str())
            .bind(id)
            .bind(stored(expected))
            .execute(&self.pool)
            .await?;
        if removed.rows_affected() == 0 {
            return Err(StoreError::Conflict);
        }
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
        let folder = tempfile::tempdir().unwrap();
        let count = std::sync::atomic::AtomicUsize::new(0);
        contract::all(|| async {
            let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let path = folder.path().join(format!("{count}.db"));
            Arc::new(SqliteStore::open(&path).await.unwrap()) as Arc<dyn Store>
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_written_is_on_disk_and_for_its_owner_alone_and_there_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let version = store.put(Kind::Token, "a", None, b"x").await.unwrap();
        let other = SqliteStore::open(&path).await.unwrap();
        assert_eq!(
            other.get(Kind::Token, "a").await.unwrap().unwrap().sealed,
            b"x",
            "another process sees it"
        );
        let setting = async |name: &'static str| {
            let row = sqlx::query(name).fetch_one(&store.pool).await.unwrap();
            row.try_get::<i64, _>(0)
                .map_or_else(|_| row.get::<String, _>(0), |number| number.to_string())
        };
        assert_eq!(setting("PRAGMA synchronous").await, "2", "FULL");
        assert_eq!(setting("PRAGMA journal_mode").await, "wal");
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            let permissions = file.metadata().unwrap().permissions();
            let mode = std::os::unix::fs::PermissionsExt::mode(&permissions);
            assert_eq!(mode & 0o777, 0o600, "{}", file.path().display());
        }
        store.close().await;
        other.close().await;
        let again = SqliteStore::open(&path).await.unwrap();
        again.remove(Kind::Token, "a", version).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn any_number_can_make_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let path = folder.path().join(format!("{round}.db"));
            let all = (0..12).map(|_| {
                let path = path.clone();
                tokio::spawn(async move { SqliteStore::open(&path).await })
            });
            for (number, opened) in futures::future::join_all(all).await.into_iter().enumerate() {
                let store = opened.unwrap().unwrap();
                let id = number.to_string();
                store.put(Kind::Token, &id, None, b"x").await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn files_that_are_not_ours_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("newer.db");
        let store = SqliteStore::open(&path).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9000, 'of tomorrow', TRUE, X'00', 0)",
        )
        .execute(&store.pool)
        .await
        .unwrap();
        store.close().await;
        let error = SqliteStore::open(&path).await.unwrap_err();
        assert!(
            matches!(error, StoreError::NewerSchema { found: 9000, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("newer.db"), "{error}");

        let text = folder.path().join("text.db");
        std::fs::write(&text, "no database at all, however long it is".repeat(100)).unwrap();
        let nowhere = folder.path().join("nowhere/app.db");
        for path in [text, nowhere] {
            let error = SqliteStore::open(&path).await.unwrap_err();
            assert!(matches!(error, StoreError::Open { .. }), "{error}");
        }
    }
}
