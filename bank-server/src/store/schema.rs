//! Schema of the tables, its versions and migrations.
//!
//! A version is the same tables on both engines. Migrations only go forward, and only add: replicas
//! of the version before continue to read and write while the tables change.

use sqlx::AnyConnection;
use sqlx::migrate::Migrator;

use super::migrations;
use super::{Database, Result, StoreError};
use crate::config::Server;

/// Migrates the tables. Returns the version before and after.
pub(super) async fn migrate(
    migrator: &Migrator,
    connection: &mut AnyConnection,
) -> Result<(i64, i64)> {
    // Without tables there is no version.
    let before = version(migrator, connection).await.unwrap_or(0);
    migrator.run(&mut *connection).await?;
    Ok((before, version(migrator, connection).await?))
}

/// Removes indexes that a server was making, beside other work, when it was interrupted: it does
/// not go on with them.
pub(super) async fn remove_half_made(connection: &mut AnyConnection) -> Result<()> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT quote_ident(c.relname) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT i.indisvalid AND n.nspname = \
         current_schema()",
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

/// Fails if there is no schema in which tables would be made, or if those that are there are in
/// another one: names would lead to both.
pub(super) async fn check_place(server: &Server, connection: &mut AnyConnection) -> Result<()> {
    let (first, tables): (Option<String>, Option<String>) = sqlx::query_as(
        "SELECT current_schema()::text, (SELECT n.nspname::text FROM pg_class c \
         JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = \
         to_regclass('_sqlx_migrations'))",
    )
    .fetch_one(connection)
    .await?;
    let wrong = match (first, tables) {
        (None, _) => {
            "the schema for its tables is not there (CREATE SCHEMA), or this user may not use it \
             (GRANT USAGE ON SCHEMA)"
                .to_owned()
        }
        (Some(first), Some(tables)) if first != tables => format!(
            "there are tables in the schema {tables}, and names lead to {first} first; if they \
             are this bank's, add \
             options=-csearch_path={tables} to the URL, and otherwise options=-csearch_path={first}"
        ),
        _ => return Ok(()),
    };
    let error = sqlx::Error::Configuration(wrong.into());
    Err(StoreError::connect(server, error))
}

/// Checks that a server's tables suit this program.
pub(super) async fn check(database: &Database, server: &Server) -> Result<()> {
    let ours = migrations::postgres();
    let mut connection = database.pool().acquire().await?;
    let has_tables: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut connection)
        .await?;
    let encoding: String = sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(&mut connection)
        .await?;
    if encoding != "UTF8" {
        // Pages come with their lengths in bytes.
        let other = format!("its encoding is {encoding}, and has to be UTF8");
        let error = sqlx::Error::Configuration(other.into());
        return Err(StoreError::connect(server, error));
    }
    check_place(server, connection.unbounded()?).await?;
    let found = if has_tables {
        version(&ours, connection.unbounded()?).await?
    } else {
        0
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

/// The version up to which all of these migrations are in place, as a whole. Newer ones of others
/// do not count.
async fn version(migrator: &Migrator, connection: &mut AnyConnection) -> Result<i64> {
    let there: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(connection)
        .await?;
    let versions = migrator.iter().map(|migration| migration.version);
    let in_place = versions.take_while(|version| there.contains(version));
    Ok(in_place.last().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use sqlx::{AnyConnection, Connection as _, Executor as _};

    use super::*;
    use crate::domain::{Granted, PsuId, Resource};
    use crate::store::consents::Consents;
    use crate::store::engine::Engine;
    use crate::store::usage::Usage;
    use crate::store::{DatabaseLocation, tests};

    /// Rows of version 7: a consent, and its access.
    const OF_VERSION_7: &str = "\
        INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, \
        valid_until, frequency_per_day, \
        psu, last_action, created, approve_by) VALUES ('c', 'PSDDE-BAFIN-100001', 'r', 'd', \
        'valid', \
        '{\"allPsd2\":\"allAccounts\"}', 1, '2027-01-01', 4, 'anna', 1790000000, 1790000000, \
        1790003600); \
        INSERT INTO consent_account (consent_id, position, account_id, balances, transactions) \
        VALUES ('c', 0, 'a', 1, 0); \
        INSERT INTO consent_use (consent_id, endpoint, account, item, day, count) VALUES ('c', \
        'accounts', '', '', '2026-11-24', 3);";

    /// Brings the tables there to that version.
    async fn at_version(place: &DatabaseLocation, version: i64) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let (url, mut migrator) = match place {
            DatabaseLocation::File(path) => {
                crate::store::engine::make_file(path).unwrap();
                let url = url::Url::from_file_path(path).unwrap();
                (
                    format!("sqlite://{}?mode=rwc", url.path()),
                    migrations::sqlite(),
                )
            }
            DatabaseLocation::Server(server) => (server.url().to_string(), migrations::postgres()),
        };
        let older = migrator.iter().filter(|one| one.version <= version);
        migrator.migrations = older.cloned().collect::<Vec<_>>().into();
        let mut connection = AnyConnection::connect(&url).await.unwrap();
        let versions = migrate(&migrator, &mut connection).await.unwrap();
        assert_eq!(versions, (0, version));
        connection
    }

    #[tokio::test]
    async fn what_the_version_before_has_written_is_read_and_it_goes_on_writing() {
        let (place, _folder) = tests::empty().await;
        let mut old = at_version(&place, 7).await;
        old.execute(OF_VERSION_7).await.unwrap();
        let (before, after) = Database::migrate(&place).await.unwrap();
        assert!(before == 7 && after > 7, "{before}, {after}");
        // A replica of the version before is still there.
        let later = "INSERT INTO consent_use (consent_id, endpoint, account, item, day, count) \
             VALUES ('c', 'balances', 'a', '', '2026-11-24', 4)";
        old.execute(later).await.unwrap();
        let database = Database::open(&place).await.unwrap();
        let tpp = "PSDDE-BAFIN-100001".parse().unwrap();
        let consents = Consents::new(database.clone());
        let found = consents.find_with_grants(&tpp, "c").await.unwrap();
        let Granted { consent, grants } = Arc::unwrap_or_clone(found.unwrap());
        assert_eq!(consent.psu, Some(PsuId("anna".to_owned())));
        assert_eq!(
            (grants.len(), grants[0].balances, grants[0].transactions),
            (1, true, false)
        );
        let day = "2026-11-24".parse().unwrap();
        let usage = Usage::new(database);
        let mut left = Vec::new();
        for _ in 0..2 {
            let limit = NonZeroU32::new(4).unwrap();
            let counted = usage.count("c", Resource::Accounts, day, day, limit).await;
            left.push(counted.unwrap());
        }
        assert_eq!(left, [true, false], "three of four had been counted");
    }

    /// Lists the schema line by line: `table.column`, with `?` if it is nullable, and the indexes.
    const SQLITE: &str = "SELECT m.name || '.' || p.name || CASE WHEN p.\"notnull\" = 1 OR p.pk > \
        0 THEN '' ELSE '?' END AS line \
         FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name \
         NOT LIKE '\\_%' ESCAPE '\\' \
         UNION ALL SELECT tbl_name || ' index ' || name FROM sqlite_master WHERE type = 'index' \
         AND name NOT LIKE 'sqlite_%'";

    const POSTGRES: &str = "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' \
        THEN '' ELSE '?' END AS line \
         FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT \
         LIKE '\\_%' \
         UNION ALL SELECT tablename || ' index ' || indexname FROM pg_indexes \
         WHERE schemaname = current_schema() AND indexname NOT LIKE '%\\_pkey'";

    #[tokio::test]
    async fn both_engines_have_the_tables_that_are_listed() {
        let (database, _folder) = tests::database().await;
        let statement = match database.0.engine {
            Engine::Sqlite => SQLITE,
            Engine::Postgres => POSTGRES,
        };
        let mut found: Vec<String> = sqlx::query_scalar(statement)
            .fetch_all(database.pool())
            .await
            .unwrap();
        found.sort();
        let listed: Vec<&str> = include_str!("../../migrations/tables.txt")
            .lines()
            .collect();
        assert_eq!(found, listed, "\n{}\n", found.join("\n"));
    }
}
