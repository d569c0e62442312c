//! What the bank remembers, on SQL.
//!
//! One set of statements for SQLite now and PostgreSQL later: sqlx's `Any` driver, `$1` placeholders, no vendor's own
//! types. Times are integers (seconds since 1970), truth is 0 or 1, dates, decimals and JSON are text.

pub mod authorisations;
pub mod connections;
pub mod consents;
pub mod credentials;
pub mod given;
pub mod reports;
pub mod sessions;
mod tpps;
pub mod usage;
pub mod vault;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::AnyPoolOptions;
use sqlx::migrate::MigrateError;
use sqlx::{Any, AnyPool, Executor as _, Transaction};

/// The database of one bank. Cheap to clone: all clones share the connections.
#[derive(Debug, Clone)]
pub struct Database {
    pool: AnyPool,
    counting: AnyPool,
}

/// Why the database could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("the database {} cannot be opened: {error}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A statement failed.
    #[error("the database failed: {0}")]
    Sql(#[from] sqlx::Error),
    /// What is stored cannot be read back.
    #[error("the database holds something that cannot be read in {what}")]
    Corrupt {
        /// The table and column.
        what: &'static str,
    },
}

/// Connections at a time. SQLite has one writer; the others read.
const CONNECTIONS: u32 = 8;

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

impl Database {
    /// Opens the SQLite file, makes it if it is not there (readable by its owner alone), and brings its tables up to
    /// date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
            path: path.to_owned(),
            error,
        };
        sqlx::any::install_default_drivers();
        make_file(path).map_err(|error| failed(error.into()))?;
        let whole = std::path::absolute(path).map_err(|error| failed(error.into()))?;
        let url = url::Url::from_file_path(&whole)
            .map_err(|()| failed("the path is not absolute".into()))?;
        let address = format!("sqlite://{}", url.path());
        // FULL: what is committed survives the loss of power, not only of the process.
        let pool = connect(&address, CONNECTIONS, "FULL")
            .await
            .map_err(|error| failed(error.into()))?;
        // NORMAL: it survives the loss of the process, and nobody waits for the disk.
        let counting = connect(&address, 1, "NORMAL")
            .await
            .map_err(|error| failed(error.into()))?;
        sqlx::migrate!("./migrations")
            .run(&pool)
            .await
            .map_err(|error: MigrateError| failed(error.into()))?;
        Ok(Self { pool, counting })
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// The connection for what is counted along with reads, which must not wait for the disk. There is one: whoever
    /// counts comes in turn, instead of contending for the lock.
    #[must_use]
    pub fn counting(&self) -> &AnyPool {
        &self.counting
    }

    /// Begins a transaction that will write. It waits for its turn now, so that it cannot fail for that later.
    pub async fn begin_write(&self) -> Result<Transaction<'static, Any>, StoreError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Whether the database answers.
    pub async fn ready(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Ends all connections.
    pub async fn close(&self) {
        self.counting.close().await;
        self.pool.close().await;
    }
}

async fn connect(
    address: &str,
    connections: u32,
    synchronous: &'static str,
) -> Result<AnyPool, sqlx::Error> {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                let settings = format!(
                    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; \
                     PRAGMA synchronous = {synchronous}; PRAGMA foreign_keys = ON;"
                );
                // The text is made of constants.
                let settings = sqlx::AssertSqlSafe(settings);
                connection.execute(settings).await.map(|_| ())
            })
        })
        .connect(address)
        .await
}

fn make_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;

    #[tokio::test]
    async fn what_is_committed_is_on_disk_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.db");
        let database = Database::open(&path).await.unwrap();
        let synchronous = sqlx::query("PRAGMA synchronous")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(synchronous.get::<i64, _>(0), 2, "FULL");
        let synchronous = sqlx::query("PRAGMA synchronous")
            .fetch_one(database.counting())
            .await
            .unwrap();
        assert_eq!(
            synchronous.get::<i64, _>(0),
            1,
            "NORMAL, where reads are counted"
        );
        let journal = sqlx::query("PRAGMA journal_mode")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(journal.get::<String, _>(0), "wal");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        let error = Database::open(&folder.path().join("nowhere/bank.db"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("nowhere/bank.db"), "{error}");
    }
}
