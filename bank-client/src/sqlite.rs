//! SQLite databases of the stores: opened for their owner alone, with embedded migrations.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared_types::files::lock;
use sqlx::SqlStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::own_file::own_file;

/// Timeout while other processes open the same database.
const OPENING: Duration = Duration::from_secs(30);

/// Connections at a time. SQLite has one writer; the others read.
const CONNECTIONS: u32 = 4;

/// Reason for which a database is not opened.
pub(crate) enum OpenError {
    /// A newer version of this program, which has that migration, made it.
    Newer(i64),
    Failed(Box<dyn Error + Send + Sync>),
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for OpenError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Opens a database, makes it if it is not there (readable by its owner alone), and runs the
/// migrations. `timeout` limits the wait for a connection and for another process's write.
///
/// All others are kept from opening that database until the file is dropped, in this process and in
/// others: of two that change the journal mode or the tables of a new file at once, SQLite fails
/// one. The lock is a file beside the database.
pub(crate) async fn open(
    path: &Path,
    migrations: &[(i64, &'static str, &'static str)],
    synchronous: SqliteSynchronous,
    timeout: Duration,
) -> Result<(SqlitePool, File), OpenError> {
    own_file(path)?;
    let opening = opening(path).await?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(timeout);
    let pool = SqlitePoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(timeout)
        .connect_with(options)
        .await?;
    match migrator(migrations).run(&pool).await {
        Ok(()) => Ok((pool, opening)),
        Err(MigrateError::VersionMissing(found) | MigrateError::VersionTooNew(found, _)) => {
            Err(OpenError::Newer(found))
        }
        Err(error) => Err(error.into()),
    }
}

/// A migrator of these versions, each with its description and SQL, in one transaction each.
///
/// They are listed by hand because `sqlx::migrate!` would build SQLite a second time, for the
/// compiler's own use.
fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|&(version, description, sql)| {
        let (sql, kind) = (SqlStr::from_static(sql), MigrationType::Simple);
        Migration::new(version, description.into(), kind, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

async fn opening(database: &Path) -> io::Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    own_file(&path)?;
    lock(&path, OPENING).await
}
