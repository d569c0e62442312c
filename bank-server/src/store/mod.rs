//! What the bank remembers, on SQL.
//!
//! One set of statements for SQLite and PostgreSQL: sqlx's `Any` driver, `$1` placeholders, no vendor's own types. Times are
//! integers (seconds since 1970), truth is 0 or 1, dates, decimals and JSON are text. Where the two differ at all is in
//! `engine`: how it is opened, and how transactions keep out of each other's way.

pub mod authorisations;
mod cache_invalidation;
mod condition;
mod connection_manager;
pub mod connections;
pub mod consents;
mod counter;
pub mod credentials;
pub mod customer_consents;
mod database_location;
mod engine;
pub mod fetched_lists;
mod figures;
mod lock;
mod migrations;
mod pool;
pub mod reports;
pub mod retention;
pub mod row_cache;
mod schema;
pub mod scratch;
pub mod sessions;
#[cfg(test)]
pub(crate) mod testing;
mod tpps;
pub mod usage;
pub mod vault;
mod write;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bank_client::environment::{Clock, Randomness};
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

pub use self::condition::WrongClock;
use self::condition::{Condition, ConditionFigures};
pub use self::database_location::{DatabaseLocation, DatabaseLocationError, Server};
use self::engine::Engine;
pub(crate) use self::engine::open_to_others;
use self::figures::Figures;
pub use self::lock::DatabaseUse;
pub use self::pool::{Pool, PooledConnection};
use self::row_cache::Caches;
use self::vault::{Vault, VaultError};
pub use self::write::{AdvisoryLock, WriteTransaction};

/// The database of one bank. Cheap to clone: all clones share the connections.
#[derive(Debug, Clone)]
pub struct Database(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Engine,
    pool: Pool,
    counting: Pool,
    figures: Figures,
    condition: Arc<Condition>,
    caches: Arc<Caches>,
    /// Which others may change too.
    server: Option<Server>,
    listening: OnceLock<AbortOnDropHandle<()>>,
    /// What keeps other uses of a SQLite file away.
    lock: OnceLock<File>,
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
    /// The file holds no database: a copy that broke off, another file, or pages that are damaged.
    #[error("{} is no whole database: {problem}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Others than the file's owner, and a group that reads it, can use it.
    #[error("{} is open to others: it holds customers' data; run chmod 600", .0.display())]
    OpenToOthers(PathBuf),
    /// What is sealed in the database was sealed with a key that is not there.
    #[error("the key {} is not there, and the database holds what was sealed with it", .0.display())]
    NoKey(PathBuf),
    /// The key is there, and the file with what was sealed is not.
    #[error("the database {} is not there or empty, and its key {} is there", path.display(), key.display())]
    NoFile {
        /// Which file.
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
    /// The file is used in a way that leaves no room for this one.
    #[error("{}: {}", path.display(), match wanted_for {
        DatabaseUse::Serving => "an import into this database is under way",
        DatabaseUse::Importing => "a bank serves from this database, and an import would keep it from writing",
    })]
    InUse {
        /// Which file.
        path: PathBuf,
        /// What it was wanted for.
        wanted_for: DatabaseUse,
    },
    /// The server of the database cannot be reached, or does not let us in.
    #[error("the database at {server} cannot be opened: {error}")]
    Connect {
        /// Which server and database; without user and password.
        server: Box<Server>,
        /// What went wrong.
        error: sqlx::Error,
    },
    /// The tables are those of an older version, or not there.
    #[error(
        "the tables of the database at {server} are of version {found}, and version {needed} is needed"
    )]
    Schema {
        /// Which server and database.
        server: Box<Server>,
        /// The version they have; 0 if there are none.
        found: i64,
        /// The version this program needs.
        needed: i64,
    },
    /// The tables cannot be brought up to date.
    #[error("the tables of the database cannot be brought up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The clock of this machine is wrong: what was written by it would harm other replicas.
    #[error(transparent)]
    Clock(WrongClock),
    /// A statement failed.
    #[error("the database failed: {0}")]
    Sql(sqlx::Error),
    /// What is stored cannot be read back.
    #[error("the database holds something that cannot be read in {what}")]
    Corrupt {
        /// The table and column.
        what: &'static str,
    },
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match WrongClock::of(&error) {
            Some(wrong) => Self::Clock(wrong),
            None => Self::Sql(error),
        }
    }
}

impl StoreError {
    /// Whether the same can go well in a moment: the database was not there, busy or full, or our clock is wrong.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Clock(_) => true,
            Self::Sql(sqlx::Error::Database(error)) => {
                let code = pool::code(error.as_ref());
                // Of PostgreSQL (appendix A of its documentation): connections; a transaction that idled or lasted too long;
                // read-only, as a standby server is; rolled back for others' sake; resources, such as the disk; locks that were
                // not given; stopped by somebody or for its time; the system's own errors. Of SQLite: BUSY, READONLY, IOERR,
                // FULL, CANTOPEN.
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

/// How long a write that tries whether the disk takes more is waited for.
const TRIAL: Duration = Duration::from_millis(500);

impl Database {
    /// Opens the database at that place.
    ///
    /// A SQLite file is made if it is not there (readable by its owner alone), and its tables are brought up to date. The
    /// tables of a server's database have to be there: [`migrate`](Self::migrate) makes them. Tables of a newer version
    /// are good for this one as well: migrations add, and take nothing away that the version before needs.
    pub async fn open(place: &DatabaseLocation) -> Result<Self, StoreError> {
        match place {
            DatabaseLocation::File(path) => engine::sqlite(path).await,
            DatabaseLocation::Server(server) => {
                let database = engine::postgres(server).await?;
                schema::check(&database, server).await?;
                Ok(database)
            }
        }
    }

    /// Opens the database, and the key of what is sealed in it. Both are made where neither is there, and neither where there
    /// is the other: a bank that lost one of them must not begin anew.
    pub async fn open_with_key(
        wanted_for: DatabaseUse,
        place: &DatabaseLocation,
        key: &Path,
        randomness: Arc<dyn Randomness>,
    ) -> Result<(Self, Vault), StoreError> {
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
        if !has_key && database.holds_sealed().await? {
            return Err(StoreError::NoKey(key.to_owned()));
        }
        let vault = Vault::open_file(key, randomness)?;
        Ok((database, vault))
    }

    /// Whether anything in it was sealed.
    async fn holds_sealed(&self) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT 1 AS sealed FROM credential WHERE totp IS NOT NULL UNION ALL \
             SELECT 1 FROM connection WHERE consent IS NOT NULL OR link IS NOT NULL LIMIT 1",
        )
        .fetch_optional(self.pool())
        .await?;
        Ok(row.is_some())
    }

    /// Opens the database at that place, as [`open`](Self::open) does. On SQLite, where one writes at a time, a bank does not
    /// serve while an import is under way, nor is there an import while a bank serves.
    pub async fn open_for(
        wanted_for: DatabaseUse,
        place: &DatabaseLocation,
    ) -> Result<Self, StoreError> {
        let lock = lock::take(wanted_for, place)?;
        let database = Self::open(place).await?;
        if let Some(lock) = lock {
            database.0.lock.get_or_init(|| lock);
        }
        Ok(database)
    }

    /// Brings the tables at that place up to date, while replicas of this version and the one before serve from them. Says
    /// from which version to which.
    pub async fn migrate(place: &DatabaseLocation) -> Result<(i64, i64), StoreError> {
        match place {
            DatabaseLocation::File(path) => engine::migrate_sqlite(path).await,
            DatabaseLocation::Server(server) => engine::migrate_postgres(server).await,
        }
    }

    /// Compares that clock with the one of the database's server from now on, if the database is on one: at once, and as
    /// often as [`follow`](Self::follow) listens. While they differ by a minute and more, all that needs the database fails
    /// with [`StoreError::Clock`].
    pub async fn compare_clock(&self, clock: &Arc<dyn Clock>) -> Result<(), StoreError> {
        if self.0.server.is_none() || clock.is_manual() {
            return Ok(());
        }
        self.0.condition.compare(Arc::clone(clock));
        let mut connection = self.0.pool.acquire().await?;
        let before = self.0.condition.before();
        let server = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT {}",
            cache_invalidation::SERVER_TIME
        )))
        .fetch_one(&mut connection)
        .await?;
        self.0.condition.told(before, server);
        Ok(())
    }

    /// Begins to listen for what other replicas change, on the runtime on which the database was opened. Before that, what
    /// was read from a server is not taken to hold.
    pub fn follow(&self) {
        if let Some(server) = self.0.server.clone() {
            self.0.listening.get_or_init(|| {
                let caches = Arc::clone(&self.0.caches);
                let figures = self.0.figures.clone();
                let condition = Arc::clone(&self.0.condition);
                let listening = cache_invalidation::listen(caches, server, figures, condition);
                AbortOnDropHandle::new(tokio::spawn(listening.in_current_span()))
            });
        }
    }

    /// What was read a moment ago and still holds.
    #[must_use]
    pub fn caches(&self) -> &Caches {
        &self.0.caches
    }

    /// The end of a `SELECT` of rows that are about to be removed.
    fn skip_locked(&self) -> &'static str {
        self.0.engine.skip_locked()
    }

    /// The connections.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Connections for what is counted along with reads, which must not wait for the disk. Of SQLite there is one: whoever
    /// counts comes in turn, instead of contending for the lock.
    #[must_use]
    pub fn counting(&self) -> &Pool {
        &self.0.counting
    }

    /// Begins a transaction that will write.
    ///
    /// On SQLite nobody else writes from now on; it waits for its turn now, so that it cannot fail for that later. On
    /// PostgreSQL others do: rows that a decision depends on are read with [`WriteTransaction::locked`], and decisions that depend
    /// on rows that may not be there yet wait for a [`AdvisoryLock`].
    pub async fn begin_write(&self) -> Result<WriteTransaction, StoreError> {
        WriteTransaction::begin(self.0.engine, &self.0.pool, &self.0.caches).await
    }

    /// Begins a transaction that counts: like [`begin_write`](Self::begin_write), and nobody waits for the disk.
    pub async fn begin_counting(&self) -> Result<WriteTransaction, StoreError> {
        WriteTransaction::begin(self.0.engine, &self.0.counting, &self.0.caches).await
    }

    /// Has it told what it costs.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let pools = [
            ("main", self.0.pool.clone()),
            ("counting", self.0.counting.clone()),
        ];
        self.0.figures.register(registry, pools);
        let condition = Arc::clone(&self.0.condition);
        registry.register_collector(Box::new(ConditionFigures(condition)));
    }

    /// Whether the database answers, and takes what is written.
    ///
    /// To a file something is written each time. To a server only after it has refused a write for want of space: so much
    /// that it needs more.
    pub async fn ready(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.0.pool).await?;
        if self.0.engine == Engine::Postgres && !self.0.condition.is_full() {
            return Ok(());
        }
        let trial = sqlx::query(self.0.engine.trial()).execute(&self.0.counting);
        match timeout(TRIAL, trial).await {
            Ok(written) => {
                written?;
                self.0.condition.set_full(false);
                Ok(())
            }
            Err(_) if self.0.condition.is_full() => Err(pool::silent().into()),
            // It waits for its turn behind another write: that proves nothing.
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

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;

    #[tokio::test]
    async fn a_file_that_is_full_or_read_only_can_take_more_in_a_moment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bank.db");
        let database = Database::open(&DatabaseLocation::File(path)).await.unwrap();
        let mut connection = database.pool().acquire().await.unwrap();
        for (set, unset) in [
            (
                "PRAGMA max_page_count = 1",
                "PRAGMA max_page_count = 1000000",
            ),
            ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        ] {
            sqlx::query(set).fetch_all(&mut connection).await.unwrap();
            let large =
                "INSERT INTO bank_state (name, value) VALUES ('large', hex(zeroblob(1000000)))";
            let refused = sqlx::query(large).execute(&mut connection).await;
            let refused = StoreError::from(refused.unwrap_err());
            assert!(refused.is_passing(), "{refused}");
            assert!(database.0.condition.is_full(), "{refused}");
            sqlx::query(unset).fetch_all(&mut connection).await.unwrap();
            database.ready().await.unwrap();
            assert!(!database.0.condition.is_full());
        }
    }

    #[test]
    fn any_number_can_make_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().unwrap()
        };
        for round in 0..3 {
            let place = DatabaseLocation::File(folder.path().join(format!("{round}.db")));
            let open = || {
                runtime().block_on(async {
                    let database = Database::open(&place).await.unwrap();
                    database.ready().await.unwrap();
                    database.close().await;
                });
            };
            std::thread::scope(|scope| {
                for _ in 0..12 {
                    scope.spawn(open);
                }
            });
        }
    }

    #[tokio::test]
    async fn what_is_committed_is_on_disk_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        // A name that a URL would have to escape.
        let path = folder.path().join("bank 100%?.db");
        let database = Database::open(&DatabaseLocation::File(path.clone()))
            .await
            .unwrap();
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
        let nowhere = DatabaseLocation::File(folder.path().join("nowhere/bank.db"));
        let error = Database::open(&nowhere).await.unwrap_err();
        assert!(error.to_string().contains("nowhere/bank.db"), "{error}");
    }
}
