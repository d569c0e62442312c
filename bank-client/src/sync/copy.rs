//! Local copy: the SQLite file.

use std::fs::{DirBuilder, File, TryLockError};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqlitePool, SqliteSynchronous};
use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::row::Digester;
use crate::own_file::own_file;
use crate::sqlite::{self, OpenError};
use crate::vault::{SealError, Vault};

const MIGRATIONS: [(i64, &str, &str); 4] = [
    (
        1,
        "copy",
        include_str!("../../migrations/copy/0001_copy.sql"),
    ),
    (
        2,
        "runs",
        include_str!("../../migrations/copy/0002_runs.sql"),
    ),
    (
        3,
        "accounts",
        include_str!("../../migrations/copy/0003_accounts.sql"),
    ),
    (
        4,
        "entries",
        include_str!("../../migrations/copy/0004_entries.sql"),
    ),
];

/// Rows written in one transaction: some milliseconds of work, for which other writers wait.
pub(super) const BATCH_ROWS: usize = 500;

/// Time that a statement waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// A local copy of accounts, balances and transactions, in an SQLite file. Cheap to clone.
///
/// The content of accounts, balances and entries is sealed with the [`Vault`]; days, order, and
/// digests under a key of the file's own are not. The file is readable by its owner alone.
#[derive(Clone)]
pub struct LocalCopy {
    pub(super) pool: SqlitePool,
    pub(super) vault: Vault,
    pub(super) digester: Digester,
    /// Queue of this process's writers: SQLite itself prefers a writer that writes repeatedly.
    writers: Arc<Mutex<()>>,
    /// One lock file for each connection, locked while it is synchronised.
    runs: Arc<Path>,
    #[cfg(test)]
    pub(super) crash: Arc<super::tests::CrashPoint>,
}

/// A transaction that writes.
pub(super) struct WriteTransaction {
    sql: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
    #[cfg(test)]
    crash: Arc<super::tests::CrashPoint>,
}

impl WriteTransaction {
    pub(super) async fn commit(self) -> Result<(), CopyError> {
        #[cfg(test)]
        self.crash.pass().await;
        self.sql.commit().await?;
        #[cfg(test)]
        self.crash.pass().await;
        Ok(())
    }
}

impl Deref for WriteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.sql
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.sql
    }
}

/// Error of the local copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The file cannot be opened or made.
    #[error("the copy {} cannot be opened: {cause}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// The cause.
        cause: String,
    },
    /// A newer version of this program has made it.
    #[error("the copy {} was made by a newer version of this program; use that one, or another file", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
    },
    /// It was made with another key.
    #[error("the copy {} was made with another key; use that one, or another file", path.display())]
    Key {
        /// Which file.
        path: PathBuf,
    },
    /// Another program writes, and did not come to an end within half a minute. Try again.
    #[error("the copy is kept busy by another program; try again")]
    Busy,
    /// A statement failed.
    #[error("the copy's database failed: {0}")]
    Sql(sqlx::Error),
    /// Something in it was not sealed, or does not open.
    #[error("the copy holds something that does not open: {0}")]
    Sealed(#[from] SealError),
    /// Something in it cannot be read back.
    #[error("the copy holds something that cannot be read in {what}")]
    Corrupt {
        /// The table and column.
        what: &'static str,
    },
}

impl LocalCopy {
    /// Opens the file, makes it if it is not there, and brings its tables up to date.
    pub async fn open(path: impl AsRef<Path>, vault: Vault) -> Result<Self, CopyError> {
        // FULL: a report that the bank gives only once must survive a power failure.
        Self::open_as(path.as_ref(), vault, SqliteSynchronous::Full).await
    }

    pub(super) async fn open_as(
        path: &Path,
        vault: Vault,
        synchronous: SqliteSynchronous,
    ) -> Result<Self, CopyError> {
        let opened = sqlite::open(path, &MIGRATIONS, synchronous, BUSY_TIMEOUT).await;
        let (pool, opening) = opened.map_err(|error| match error {
            OpenError::Newer(_) => CopyError::Newer {
                path: path.to_owned(),
            },
            OpenError::Failed(cause) => CopyError::Open {
                path: path.to_owned(),
                cause: cause.to_string(),
            },
        })?;
        let key = match digest_key(&pool, &vault).await {
            Err(CopyError::Sealed(SealError::Foreign)) => {
                return Err(CopyError::Key {
                    path: path.to_owned(),
                });
            }
            key => key?,
        };
        drop(opening);
        let mut runs = path.as_os_str().to_owned();
        runs.push(".runs");
        Ok(Self {
            pool,
            vault,
            digester: Digester::new(&key),
            writers: Arc::default(),
            runs: PathBuf::from(runs).into(),
            #[cfg(test)]
            crash: Arc::default(),
        })
    }

    /// Removes all there is of a connection.
    pub async fn forget(&self, key: &str) -> Result<(), CopyError> {
        sqlx::query("DELETE FROM account WHERE connection = ?")
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Ends all work on the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a transaction that will write. It waits for its turn now, so that it cannot fail for
    /// that later.
    pub(super) async fn begin(&self) -> Result<WriteTransaction, CopyError> {
        let turn = Arc::clone(&self.writers).lock_owned().await;
        Ok(WriteTransaction {
            sql: self.pool.begin_with("BEGIN IMMEDIATE").await?,
            _turn: turn,
            #[cfg(test)]
            crash: Arc::clone(&self.crash),
        })
    }

    /// Keeps all other runs away from a connection, in this program and in others, until it is
    /// dropped or the process ends, in whichever way. `None`: there is another one.
    pub(super) fn claim(&self, key: &str) -> Result<Option<Claim>, CopyError> {
        let file = hex(&self.digester.digest("run", &[key.as_bytes()]));
        let path = self.runs.join(file);
        let claimed = claim(&self.runs, &path);
        claimed.map_err(|error| CopyError::Open {
            path,
            cause: error.to_string(),
        })
    }
}

impl std::fmt::Debug for LocalCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<local copy>")
    }
}

/// The key of the file's digests: made along with the file.
async fn digest_key(pool: &SqlitePool, vault: &Vault) -> Result<Vec<u8>, CopyError> {
    let fresh = [vault.chance(), vault.chance()].concat();
    // Of two programs that make the file at a time, one is first.
    sqlx::query("INSERT INTO copy (id, digest_key) VALUES (1, ?) ON CONFLICT (id) DO NOTHING")
        .bind(vault.seal(DIGEST_KEY, &fresh)?)
        .execute(pool)
        .await?;
    let row = sqlx::query("SELECT digest_key FROM copy")
        .fetch_one(pool)
        .await?;
    let sealed: Vec<u8> = row.try_get("digest_key")?;
    Ok(vault.open(DIGEST_KEY, &sealed)?)
}

const DIGEST_KEY: &str = "digest key";

/// Lock of a run. It is released when this is dropped, or the process ends.
#[derive(Debug)]
pub(super) struct Claim(File);

impl Drop for Claim {
    fn drop(&mut self) {
        // Closing alone would release it later where a child process is just being started, which
        // has the file until it is executed. An error leaves it to the closing.
        let _ = self.0.unlock();
    }
}

fn claim(folder: &Path, path: &Path) -> std::io::Result<Option<Claim>> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    own_file(path)?;
    let file = File::open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Claim(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        // SQLITE_BUSY, with or without its extended codes.
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        let code = code.and_then(|code| code.parse::<i32>().ok());
        if code.is_some_and(|code| code & 0xff == 5) {
            Self::Busy
        } else {
            Self::Sql(error)
        }
    }
}

/// To what an entry's seal is bound: its kind, its account, and the digest of its content.
pub(super) fn about_entry(account: i64, booked: bool, content: &[u8]) -> String {
    let kind = if booked { "booked" } else { "pending" };
    format!("{kind}/{account}/{}", hex(content))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
