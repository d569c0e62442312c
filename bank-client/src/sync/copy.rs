//! The file with the copy.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row as _, Sqlite, Transaction};

use super::row::Digester;
use crate::environment::{Randomness as _, SystemRandomness};
use crate::own_file::own_file;
use crate::vault::{Vault, VaultError};

/// Connections at a time. SQLite has one writer; the others read.
const CONNECTIONS: u32 = 4;

/// How long a statement waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// A local copy of accounts, balances and transactions, in an SQLite file. Cheap to clone.
///
/// What is in an account, a balance or an entry is sealed with the [`Vault`]; days, order, and digests under a key of the
/// file's own are not. The file is readable by its owner alone.
#[derive(Clone)]
pub struct LocalCopy {
    pub(super) pool: SqlitePool,
    pub(super) vault: Vault,
    pub(super) digester: Digester,
}

/// Why the copy could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The file cannot be opened or made.
    #[error("the copy {} cannot be opened: {cause}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
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
    /// A statement failed.
    #[error("the copy's database failed: {0}")]
    Sql(#[from] sqlx::Error),
    /// Something in it was not sealed, or does not open.
    #[error("the copy holds something that does not open: {0}")]
    Sealed(#[from] VaultError),
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
        // FULL: what a bank tells once must not be lost with the power either.
        Self::open_as(path.as_ref(), vault, SqliteSynchronous::Full).await
    }

    pub(super) async fn open_as(
        path: &Path,
        vault: Vault,
        synchronous: SqliteSynchronous,
    ) -> Result<Self, CopyError> {
        let failed = |cause: String| CopyError::Open {
            path: path.to_owned(),
            cause,
        };
        own_file(path).map_err(|error| failed(error.to_string()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .foreign_keys(true)
            .busy_timeout(PATIENCE);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await
            .map_err(|error| failed(error.to_string()))?;
        sqlx::migrate!("./migrations/copy")
            .run(&pool)
            .await
            .map_err(|error| match error {
                MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
                    CopyError::Newer {
                        path: path.to_owned(),
                    }
                }
                error => failed(error.to_string()),
            })?;
        let key = match digest_key(&pool, &vault).await {
            Err(CopyError::Sealed(VaultError::Foreign)) => {
                return Err(CopyError::Key {
                    path: path.to_owned(),
                });
            }
            key => key?,
        };
        Ok(Self {
            pool,
            vault,
            digester: Digester::new(&key),
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

    /// Begins a transaction that will write. It waits for its turn now, so that it cannot fail for that later.
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, CopyError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

impl std::fmt::Debug for LocalCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<local copy>")
    }
}

/// The key of the file's digests: made along with the file.
async fn digest_key(pool: &SqlitePool, vault: &Vault) -> Result<Vec<u8>, CopyError> {
    let fresh = [SystemRandomness.bytes(), SystemRandomness.bytes()].concat();
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

/// To what an entry's seal is bound.
pub(super) fn about_entry(account: i64, booked: bool, identity: &[u8]) -> String {
    use std::fmt::Write as _;

    let kind = if booked { "booked" } else { "pending" };
    let mut about = format!("{kind}/{account}/");
    for byte in identity {
        // Writing to a String cannot fail.
        let _ = write!(about, "{byte:02x}");
    }
    about
}
