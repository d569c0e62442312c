//! Migrations of the SQLite stores, embedded in the program.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use shared_types::files::lock;
use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::own_file::own_file;

/// Timeout while other processes open the same database.
const OPENING: Duration = Duration::from_secs(30);

/// A migrator of these versions, each with its description and SQL, in one transaction each.
///
/// They are listed by hand because `sqlx::migrate!` would build SQLite a second time, for the
/// compiler's own use.
pub(crate) fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migrations = migrations.iter().map(|&(version, description, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(
            version,
            description.into(),
            MigrationType::Simple,
            sql,
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

/// Keeps all others from opening that database until it is dropped, in this process and in others:
/// of two that change the journal mode or the tables of a new file at once, SQLite fails one. The
/// lock is a file beside the database.
pub(crate) async fn opening(database: &Path) -> io::Result<File> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    own_file(&path)?;
    lock(&path, OPENING).await
}
