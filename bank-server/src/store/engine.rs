//! Differences between SQLite and PostgreSQL: opening, settings, locks.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shared_types::files;

use super::connection_manager::ConnectionManager;
use super::health::DatabaseHealth;
use super::metrics::DatabaseMetrics;
use super::pool::{Pool, code};
use super::row_cache::{Caches, Freshness};
use super::{Database, Result, Shared, StoreError, lock, migrations, schema};
use crate::config::Server;
use shared_types::files::is_open_to_others;

/// The database under the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    /// Embedded: one process, one writer at a time.
    Sqlite,
    /// A server that several replicas share.
    Postgres,
}

impl Engine {
    /// Begins a transaction that will write.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            // It waits for the lock now: one that reads first, and then writes, could find it
            // taken, and fail.
            Self::Sqlite => "BEGIN IMMEDIATE",
            // Each statement sees all earlier commits: after waiting for a lock, the writes of its
            // last holder.
            Self::Postgres => "BEGIN ISOLATION LEVEL READ COMMITTED",
        }
    }

    /// Suffix of a `SELECT` that locks its rows until the transaction ends.
    pub(super) const fn lock_rows(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            // The keys are not locked, so that rows that refer to a locked row can still be
            // written.
            Self::Postgres => " FOR NO KEY UPDATE",
        }
    }

    /// Suffix of a `SELECT` of rows to be removed, which skips rows that other transactions have
    /// locked.
    pub(super) const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Writes something that needs space on the disk, and can be overwritten by the next.
    pub(super) const fn trial(self) -> &'static str {
        match self {
            // The log of writes grows by it, as by any other write. What stays as it is would not
            // be written.
            Self::Sqlite => {
                "INSERT INTO bank_state (name, value) VALUES ('trial', '0') ON CONFLICT (name) \
                 DO UPDATE SET value = CASE bank_state.value WHEN '0' THEN '1' ELSE '0' END"
            }
            // 32 kB that cannot be compressed: more than the free space of a page.
            Self::Postgres => {
                "INSERT INTO bank_state (name, value) \
                 SELECT 'trial', string_agg(md5(random()::text), '') FROM generate_series(1, 1000) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value"
            }
        }
    }

    /// Takes the advisory lock of a name until the transaction ends, and waits for it.
    pub(super) const fn advisory_lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ':' || $1, 0))",
            ),
        }
    }

    /// Takes the advisory lock if it is free; returns whether it was.
    pub(super) const fn try_advisory_lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(
                "SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || ':' || $1, \
                 0))",
            ),
        }
    }
}

/// Connections to a SQLite file. One of them writes at a time; the others read.
const CONNECTIONS: u32 = 8;

/// Size in bytes to which the journal is truncated after a large transaction, committed or not.
const JOURNAL: u32 = 16 * 1024 * 1024;

/// Timeout of waiting for other processes that open the same file.
const OPENING: Duration = Duration::from_secs(30);

/// Timeout of a counter that waits for a locked row.
const LOCKED: Duration = Duration::from_millis(500);

/// Added to the statement timeout: a server that enforces the timeout responds by then; one that
/// does not respond is considered lost.
const GRACE: Duration = Duration::from_secs(1);

/// Opens a file, creates it if it is missing, and migrates its tables.
pub(super) async fn sqlite(path: &Path) -> Result<Database> {
    Ok(open_sqlite(path).await?.0)
}

/// Migrates a file's tables, as opening it does. Returns the version before and after.
pub(super) async fn migrate_sqlite(path: &Path) -> Result<(i64, i64)> {
    let (database, versions) = open_sqlite(path).await?;
    database.close().await;
    Ok(versions)
}

async fn open_sqlite(path: &Path) -> Result<(Database, (i64, i64))> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        let path = path.to_owned();
        match damage(error.as_ref()) {
            Some(problem) => StoreError::Damaged { path, problem },
            None => StoreError::Open { path, error },
        }
    };
    sqlx::any::install_default_drivers();
    make_file(path).map_err(|error| failed(error.into()))?;
    if let Some(file) = open_to_others(path).next() {
        return Err(StoreError::OpenToOthers(file));
    }
    // One program at a time: of two that change the journal mode or the tables of a new file,
    // SQLite fails one.
    let beside = with_suffix(path, "-opening");
    make_file(&beside).map_err(|error| failed(error.into()))?;
    let _opening = files::lock(&beside, OPENING)
        .await
        .map_err(|error| failed(error.into()))?;
    let whole = std::path::absolute(path).map_err(|error| failed(error.into()))?;
    let url =
        url::Url::from_file_path(&whole).map_err(|()| failed("the path is not absolute".into()))?;
    let address = format!("sqlite://{}", url.path());
    let settings = |synchronous: &str| {
        format!(
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = \
             {synchronous}; \
             PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = {JOURNAL};"
        )
    };
    let metrics = DatabaseMetrics::new();
    let health = Arc::new(DatabaseHealth::new());
    let open = async |connections, synchronous| {
        let manager = ConnectionManager {
            address: address.clone(),
            settings: settings(synchronous),
            is_remote: false,
        };
        let pool = Pool::open(manager, connections, None, &metrics, &health).await;
        pool.map_err(|error| failed(error.into()))
    };
    // FULL: commits survive a power failure, not only a crash of the process.
    let pool = open(CONNECTIONS, "FULL").await?;
    // NORMAL: commits survive a crash of the process, and do not wait for the disk.
    let counting = open(1, "NORMAL").await?;
    let pools = [pool, counting];
    let database = database(
        Engine::Sqlite,
        pools,
        metrics,
        health,
        Freshness::File,
        None,
    );
    let mut connection = database.pool().acquire().await?;
    let versions = schema::migrate(&migrations::sqlite(), connection.unbounded()?)
        .await
        .map_err(|error| failed(error.into()))?;
    drop(connection);
    Ok((database, versions))
}

fn database(
    engine: Engine,
    [pool, counting]: [Pool; 2],
    metrics: DatabaseMetrics,
    health: Arc<DatabaseHealth>,
    freshness: Freshness,
    server: Option<Server>,
) -> Database {
    Database(Arc::new(Shared {
        engine,
        pool,
        counting,
        metrics,
        health,
        caches: Arc::new(Caches::new(freshness)),
        server,
        listening: OnceLock::new(),
        lock: OnceLock::new(),
    }))
}

/// Connects to a server.
pub(super) async fn postgres(server: &Server) -> Result<Database> {
    let time = server.statement.as_millis();
    // A transaction of a lost replica ends soon: others wait for its rows.
    let settings = format!(
        "SET statement_timeout = {time}; SET lock_timeout = {time}; SET \
         idle_in_transaction_session_timeout = {};",
        time * 2
    );
    // Commits do not wait for the disk: after a crash of the database, the last reads may count
    // once more. A statement counts for several requests: one locked row does not delay them for
    // long.
    let counting = format!(
        "{settings} SET synchronous_commit = off; SET lock_timeout = {};",
        time.min(LOCKED.as_millis())
    );
    let count = (server.connections.get() / 4).max(1);
    let metrics = DatabaseMetrics::new();
    let health = Arc::new(DatabaseHealth::new());
    let connect = async |connections, settings| {
        connect(server, connections, settings, &metrics, &health).await
    };
    let pool = connect(server.connections.get(), settings).await?;
    let counting = connect(count, counting).await?;
    let freshness = Freshness::notified();
    let server = Some(server.clone());
    Ok(database(
        Engine::Postgres,
        [pool, counting],
        metrics,
        health,
        freshness,
        server,
    ))
}

/// Migrates a server's tables. Returns the version before and after.
pub(super) async fn migrate_postgres(server: &Server) -> Result<(i64, i64)> {
    // An index on a large table takes its time. A wait for a lock blocks the requests behind it, so
    // it times out.
    let settings = "SET statement_timeout = 0; SET lock_timeout = '5s';".to_owned();
    let health = Arc::new(DatabaseHealth::new());
    let pool = connect(server, 1, settings, &DatabaseMetrics::new(), &health).await?;
    let versions = alone(server, &pool).await;
    // The advisory lock ends with the connection.
    pool.close().await;
    versions
}

/// Migrates under an advisory lock of this schema.
async fn alone(server: &Server, pool: &Pool) -> Result<(i64, i64)> {
    let mut connection = pool.acquire().await?;
    schema::check_place(server, connection.unbounded()?).await?;
    // Polled instead of waited for: a waiting statement has a snapshot, and CREATE INDEX
    // CONCURRENTLY waits until no snapshot is older. The two would wait for each other.
    while !sqlx::query_scalar(
        "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || ':migrate', 0))",
    )
    .fetch_one(&mut connection)
    .await?
    {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let connection = connection.unbounded()?;
    schema::remove_half_made(connection).await?;
    schema::migrate(&migrations::postgres(), connection).await
}

async fn connect(
    server: &Server,
    connections: u32,
    settings: String,
    metrics: &DatabaseMetrics,
    health: &Arc<DatabaseHealth>,
) -> Result<Pool> {
    sqlx::any::install_default_drivers();
    let manager = ConnectionManager {
        address: server.url().to_string(),
        settings,
        is_remote: true,
    };
    let time = Some(server.statement + GRACE);
    Pool::open(manager, connections, time, metrics, health)
        .await
        .map_err(|error| StoreError::connect(server, error))
}

/// The path with `suffix` appended to its file name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates a file, readable by its owner alone, if it is missing.
pub(super) fn make_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // An existing file is not opened: closing it would release the locks that SQLite holds on
        // it in this process.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(|_| ()),
    }
}

/// The error text of SQLite for a file that is not a database (NOTADB), or damaged (CORRUPT).
fn damage(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(sqlx::Error::Database(error)) = error.downcast_ref() {
            let code = code(error.as_ref());
            return ["11", "26"]
                .contains(&code.as_ref())
                .then(|| error.to_string());
        }
        cause = error.source();
    }
    None
}

/// Files of a database that other users can access: the file, its journal, and the lock beside it.
pub(crate) fn open_to_others(path: &Path) -> impl Iterator<Item = PathBuf> {
    // Where the file itself is, SQLite has its journal.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let files = ["", "-wal", "-shm", lock::SUFFIX].map(|suffix| with_suffix(&path, suffix));
    files.into_iter().filter(|file| is_open_to_others(file))
}
