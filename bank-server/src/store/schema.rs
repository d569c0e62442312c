//! The tables, and their versions.
//!
//! A version is the same tables on both engines. Migrations only go forward, and only add: what the version before reads
//! and writes stays good, because its replicas go on while the tables change under them.

use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, Row as _};

use super::place::Server;
use super::{Database, StoreError};

/// For SQLite.
pub(super) fn sqlite() -> Migrator {
    lenient(sqlx::migrate!("migrations/sqlite"))
}

/// For PostgreSQL. Its first migration is the seventh: those before never ran there.
pub(super) fn postgres() -> Migrator {
    lenient(sqlx::migrate!("migrations/postgres"))
}

/// Tables of a newer version are good for this one as well. Who else migrates is kept out by who opens the database.
fn lenient(mut migrator: Migrator) -> Migrator {
    migrator.set_ignore_missing(true);
    migrator.set_locking(false);
    migrator
}

/// Brings the tables up to date. Says from which version to which.
pub(super) async fn migrate(
    migrator: &Migrator,
    connection: &mut AnyConnection,
) -> Result<(i64, i64), StoreError> {
    // Without tables there is no version.
    let before = version(migrator, connection).await.unwrap_or(0);
    migrator.run(&mut *connection).await?;
    Ok((before, version(migrator, connection).await?))
}

/// Removes indexes that a server was making, beside other work, when it was interrupted: it does not go on with them.
pub(super) async fn remove_half_made(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND n.nspname = current_schema()",
    )
    .fetch_all(&mut *connection)
    .await?;
    for name in names {
        // The server has quoted it.
        let statement = sqlx::AssertSqlSafe(format!("DROP INDEX CONCURRENTLY {name}"));
        sqlx::query(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Whether a server's tables are good for this program.
pub(super) async fn check(database: &Database, server: &Server) -> Result<(), StoreError> {
    let ours = postgres();
    let mut connection = database.pool().acquire().await?;
    let tables = sqlx::query(
        "SELECT CASE WHEN to_regclass('_sqlx_migrations') IS NULL THEN 0 ELSE 1 END AS there",
    )
    .fetch_one(&mut *connection)
    .await?;
    let found = if tables.try_get::<i64, _>("there")? == 0 {
        0
    } else {
        version(&ours, &mut connection).await?
    };
    let needed = ours.iter().map(|migration| migration.version).max();
    match needed {
        Some(needed) if found < needed => Err(StoreError::Schema {
            server: Box::new(server.clone()),
            found,
            needed,
        }),
        _ => Ok(()),
    }
}

/// The version up to which all of these migrations are in place, as a whole. Newer ones of others do not count.
async fn version(migrator: &Migrator, connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let there: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(connection)
        .await?;
    let versions = migrator.iter().map(|migration| migration.version);
    let in_place = versions.take_while(|version| there.contains(version));
    Ok(in_place.last().unwrap_or(0))
}
