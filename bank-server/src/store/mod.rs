//! Repositories on SQL: consents, authorisations, sessions, counters and the other rows that XS2A
//! needs.
//!
//! One set of statements serves SQLite and PostgreSQL: sqlx's `Any` driver, `$1` placeholders, no
//! vendor's own types. Times are integers (seconds since 1970), booleans are 0 or 1, dates,
//! decimals and JSON are text. The differences between the two (opening, locking) stand in
//! `engine`. Rows are mapped to the types of [`crate::domain`].

pub mod authorisations;
mod cache_invalidation;
pub(crate) mod challenges;
pub(crate) mod columns;
mod connection_manager;
pub mod connections;
pub mod consents;
mod counter;
pub mod credentials;
pub mod customer_consents;
mod engine;
pub mod fetched_lists;
mod health;
pub(crate) mod identity_requests;
mod lock;
mod metrics;
mod migrations;
mod pool;
pub mod reports;
pub mod retention;
pub mod row_cache;
mod schema;
pub mod scratch;
pub mod sessions;
#[cfg(test)]
pub(crate) mod tests;
mod tpps;
pub mod usage;
pub mod vault;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use shared_types::environment::{Clock, Randomness};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use self::engine::Engine;
pub(crate) use self::engine::open_to_others;
pub use self::health::WrongClock;
use self::health::{DatabaseHealth, HealthMetrics};
pub use self::lock::DatabaseUse;
use self::metrics::DatabaseMetrics;
pub use self::pool::{Pool, PooledConnection};
use self::row_cache::Caches;
use self::vault::{Vault, VaultError};
pub use self::write::{AdvisoryLock, WriteTransaction};
pub use crate::config::{DatabaseLocation, DatabaseLocationError, Server};

/// Placeholders of a row of values, `($3, $4)`, after a number of earlier ones.
pub(crate) fn placeholders(before: usize, values: usize) -> String {
    let numbers: Vec<String> = (before + 1..=before + values)
        .map(|number| format!("${number}"))
        .collect();
    format!("({})", numbers.join(", "))
}

/// The database of one bank. Cheap to clone: all clones share the connections.
#[derive(Debug, Clone)]
pub struct Database(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Engine,
    pool: Pool,
    counting: Pool,
    metrics: DatabaseMetrics,
    health: Arc<DatabaseHealth>,
    caches: Arc<Caches>,
    /// The PostgreSQL server, which other replicas write to as well; `None` for SQLite.
    server: Option<Server>,
    listening: OnceLock<AbortOnDropHandle<()>>,
    /// Lock file of a SQLite database, held until the process ends.
    lock: OnceLock<File>,
}

/// Result of an operation of the store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened or made.
    #[error("the database {} cannot be opened: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is not a database: an incomplete copy, another file, or damaged pages.
    #[error("{} is no whole database: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The file mode lets more than the owner write, or more than owner and group read.
    #[error("{} is open to others: it holds customers' data; run chmod 600", .0.display())]
    OpenToOthers(PathBuf),
    /// The key is missing, and the database holds data that was sealed with it.
    #[error("the key {} is not there, and the database holds what was sealed with \
        it", .0.display())]
    NoKey(PathBuf),
    /// The key is there, and the database file is missing or empty.
    #[error("the database {} is not there or empty, and its key {} is \
        there", path.display(), key.display())]
    NoFile {
        /// The file.
        path: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// The key cannot be used, or something that was sealed with it does not open.
    #[error(transparent)]
    Key(#[from] VaultError),
    /// The key is not the one with which secrets in the database were sealed.
    #[error("this is not the key with which secrets in the database were sealed")]
    OtherKey,
    /// The file is in use: an import excludes banks that serve, and they exclude an import.
    #[error("{}: {}", path.display(), match wanted_for {
        DatabaseUse::Serving => "an import into this database is under way",
        DatabaseUse::Importing => "a bank serves from this database, and an import would keep it \
            from writing",
    })]
    InUse {
        /// The file.
        path: PathBuf,
        /// The use that was refused.
        wanted_for: DatabaseUse,
    },
    /// The database server is unreachable, or refuses the login.
    #[error("the database at {server} cannot be opened: {error}")]
    Connect {
        /// The server and database; without user and password.
        server: Box<Server>,
        /// The cause.
        error: sqlx::Error,
    },
    /// The tables are missing, or of an older version.
    #[error(
        "the tables of the database at {server} are of version {found}, and version {needed} is \
         needed"
    )]
    Schema {
        /// The server and database.
        server: Box<Server>,
        /// The version they have; 0 if there are none.
        found: i64,
        /// The version this program needs.
        needed: i64,
    },
    /// The tables cannot be brought up to date.
    #[error("the tables of the database cannot be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The clock of this machine is wrong: rows with its times would harm other replicas.
    #[error(transparent)]
    Clock(WrongClock),
    /// A statement failed.
    #[error("the database failed: {0}")]
    Sql(sqlx::Error),
    /// A stored value cannot be decoded.
    #[error("the database holds something that cannot be read in {what}")]
    Corrupt {
        /// The table and column.
        what: String,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match WrongClock::of(&error) {
            Some(wrong) => Self::Clock(wrong),
            None => match error {
                sqlx::Error::ColumnDecode { index, .. } => Self::corrupt(&index),
                error => Self::Sql(error),
            },
        }
    }
}

impl StoreError {
    /// The error for a database server that cannot be used.
    fn connect(server: &Server, error: sqlx::Error) -> Self {
        Self::Connect {
            server: Box::new(server.clone()),
            error,
        }
    }

    /// The error for a value that cannot be decoded or encoded, by its table and column.
    pub(crate) fn corrupt(what: &str) -> Self {
        let what = what.to_owned();
        Self::Corrupt { what }
    }

    /// Whether a retry can succeed: the database was unreachable, busy or full, or the clock is
    /// wrong.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Clock(_) => true,
            Self::Sql(sqlx::Error::Database(error)) => {
                let code = pool::code(error.as_ref());
                // Of PostgreSQL (appendix A of its documentation): connections; a transaction that
                // idled or lasted too long; read-only, as a standby server is; rolled back for
                // other transactions; resources, such as the disk; locks that were not granted;
                // cancelled or timed out; system errors. Of SQLite: BUSY, READONLY, IOERR, FULL,
                // CANTOPEN.
                [
                    "08", "25006", "25P03", "25P04", "40", "53", "55P03", "57", "58", "5", "8",
                    "10", "13", "14",
                ]
                .iter()
                .any(|class| {
                    code == *class
                        || (class.len() == 2 && code.len() == 5 && code.starts_with(class))
                })
            }
            Self::Sql(error) => matches!(
                error,
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed
            ),
            _ => false,
        }
    }
}

/// Timeout of the test write of [`Database::ready`].
const TRIAL_TIMEOUT: Duration = Duration::from_millis(500);

impl Database {
    /// Opens the database at that location.
    ///
    /// A SQLite file is made if it is not there (readable by its owner alone), and its tables are
    /// brought up to date. The tables of a server's database have to be there:
    /// [`migrate`](Self::migrate) makes them. Tables of a newer version are good for this one as
    /// well: migrations add, and take nothing away that the version before needs.
    pub async fn open(place: &DatabaseLocation) -> Result<Self> {
        match place {
            DatabaseLocation::File(path) => engine::sqlite(path).await,
            DatabaseLocation::Server(server) => {
                let database = engine::postgres(server).await?;
                schema::check(&database, server).await?;
                Ok(database)
            }
        }
    }

    /// Opens the database, and the key of its sealed values. Creates both if both are missing.
    /// Fails if only one is missing, because a bank that has lost one of them must not start over.
    pub async fn open_with_key(
        wanted_for: DatabaseUse,
        place: &DatabaseLocation,
        key: &Path,
        randomness: Arc<dyn Randomness>,
    ) -> Result<(Self, Vault)> {
        let has_key = key.exists();
        // Neither is a file that a copy or a full disk has left without content.
        let is_empty = |path: &Path| path.metadata().map_or(true, |file| file.len() == 0);
        // Where its folder is not there, the path is wrong.
        let has_folder = |path: &Path| {
            path.parent()
                .is_none_or(|folder| folder.as_os_str().is_empty() || folder.is_dir())
        };
        if let DatabaseLocation::File(path) = place
            && has_key
            && is_empty(path)
            && has_folder(path)
        {
            return Err(StoreError::NoFile {
                path: path.clone(),
                key: key.to_owned(),
            });
        }
        let database = Self::open_for(wanted_for, place).await?;
        let sealed = sqlx::query(
            "SELECT 1 FROM credential WHERE totp IS NOT NULL UNION ALL \
             SELECT 1 FROM connection WHERE consent IS NOT NULL OR link IS NOT NULL LIMIT 1",
        );
        if !has_key && sealed.fetch_optional(database.pool()).await?.is_some() {
            return Err(StoreError::NoKey(key.to_owned()));
        }
        let vault = Vault::open_file(key, randomness)?;
        Ok((database, vault))
    }

    /// Opens the database at that place, as [`open`](Self::open) does. On SQLite, where one writes
    /// at a time, a bank does not serve while an import is under way, nor is there an import while
    /// a bank serves.
    pub async fn open_for(wanted_for: DatabaseUse, place: &DatabaseLocation) -> Result<Self> {
        let lock = lock::take(wanted_for, place)?;
        let database = Self::open(place).await?;
        if let Some(lock) = lock {
            database.0.lock.get_or_init(|| lock);
        }
        Ok(database)
    }

    /// Migrates the tables at that location, while replicas of this version and the one before
    /// serve from them. Returns the version before and after.
    pub async fn migrate(place: &DatabaseLocation) -> Result<(i64, i64)> {
        match place {
            DatabaseLocation::File(path) => engine::migrate_sqlite(path).await,
            DatabaseLocation::Server(server) => engine::migrate_postgres(server).await,
        }
    }

    /// Compares that clock with the one of the database's server from now on, if the database is on
    /// one: at once, and as often as
    /// [`start_invalidation_listener`](Self::start_invalidation_listener) listens. While they
    /// differ by a minute or more, all use of the database fails with [`StoreError::Clock`].
    pub async fn compare_clock(&self, clock: &Arc<dyn Clock>) -> Result<()> {
        if self.0.server.is_none() || clock.is_manual() {
            return Ok(());
        }
        self.0.health.compare(Arc::clone(clock));
        let mut connection = self.0.pool.acquire().await?;
        let before = self.0.health.now();
        let server = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT {}",
            cache_invalidation::SERVER_TIME
        )))
        .fetch_one(&mut connection)
        .await?;
        self.0.health.record_server_time(before, server);
        Ok(())
    }

    /// Starts the listener for changes of other replicas, on the runtime on which the database was
    /// opened. Until then, rows of a server are not cached.
    pub fn start_invalidation_listener(&self) {
        if let Some(server) = self.0.server.clone() {
            self.0.listening.get_or_init(|| {
                let caches = Arc::clone(&self.0.caches);
                let metrics = self.0.metrics.clone();
                let health = Arc::clone(&self.0.health);
                let listening = cache_invalidation::listen(caches, server, metrics, health);
                AbortOnDropHandle::new(tokio::spawn(listening.in_current_span()))
            });
        }
    }

    /// The caches of rows.
    #[must_use]
    pub fn caches(&self) -> &Caches {
        &self.0.caches
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Connections for counters of reads, whose commits do not wait for the disk. SQLite has one:
    /// counts queue for it instead of contending for the lock.
    #[must_use]
    pub fn counting(&self) -> &Pool {
        &self.0.counting
    }

    /// Begins a transaction that will write.
    ///
    /// On SQLite it is the only writer: it waits for the write lock here, so that no later
    /// statement fails for want of it. On PostgreSQL transactions write side by side: rows that a
    /// decision depends on are read with [`WriteTransaction::locked`], and decisions on rows that
    /// may not exist yet take an [`AdvisoryLock`].
    pub async fn begin_write(&self) -> Result<WriteTransaction> {
        WriteTransaction::begin(self.0.engine, &self.0.pool, &self.0.caches).await
    }

    /// Begins a transaction that counts: like [`begin_write`](Self::begin_write), and its commit
    /// does not wait for the disk.
    pub async fn begin_counting(&self) -> Result<WriteTransaction> {
        WriteTransaction::begin(self.0.engine, &self.0.counting, &self.0.caches).await
    }

    /// Registers the metrics of the database.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let pools = [
            ("main", self.0.pool.clone()),
            ("counting", self.0.counting.clone()),
        ];
        self.0.metrics.register(registry, pools);
        let health = Arc::clone(&self.0.health);
        registry.register_collector(Box::new(HealthMetrics(health)));
    }

    /// Readiness check: fails unless the database answers and accepts writes.
    ///
    /// A file is written to each time. A server is written to only after it has refused a write for
    /// want of space, with a row that needs a new page.
    pub async fn ready(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.0.pool).await?;
        if self.0.engine == Engine::Postgres && !self.0.health.is_full() {
            return Ok(());
        }
        let trial = sqlx::query(self.0.engine.trial()).execute(&self.0.counting);
        match timeout(TRIAL_TIMEOUT, trial).await {
            Ok(written) => {
                written?;
                self.0.health.set_full(false);
                Ok(())
            }
            Err(_) if self.0.health.is_full() => Err(pool::timed_out().into()),
            // It waits behind another write: that proves nothing.
            Err(_) => Ok(()),
        }
    }

    /// Ends all connections.
    pub async fn close(&self) {
        if let Some(listening) = self.0.listening.get() {
            listening.abort();
        }
        self.0.counting.close().await;
        self.0.pool.close().await;
    }
}
