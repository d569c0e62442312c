//! Schemas on a PostgreSQL server that are made anew, for the sandbox and for tests. A bank's own
//! tables are left alone.

use std::sync::{Mutex, PoisonError};

use sqlx::{AnyConnection, Connection as _, Executor as _};

use super::{Database, DatabaseLocation, Result, Server, StoreError};

/// The schemas that this makes, and removes, begin with this.
pub const PREFIX: &str = "sandbox_";

/// An empty schema with all tables. One of that name that was made so before is removed, with all
/// that is in it.
///
/// `name` consists of [`PREFIX`] and letters, digits and `_`.
pub async fn schema(server: &Server, name: &str) -> Result<Server> {
    let server = without_tables(server, name).await?;
    Database::migrate(&DatabaseLocation::Server(server.clone())).await?;
    Ok(server)
}

/// Schemas that one sandbox has for itself, until this is released or dropped: a session's advisory
/// lock.
pub struct Claim(Mutex<AnyConnection>);

impl Claim {
    /// Leaves them to others.
    pub async fn release(self) {
        let connection = self.0.into_inner();
        let connection = connection.unwrap_or_else(PoisonError::into_inner);
        // The lock ends with the session, however that ends.
        let _ = connection.close().await;
    }
}

/// Claims the schemas whose names begin with [`PREFIX`] and `prefix`. None if another sandbox has
/// them.
pub async fn claim(server: &Server, prefix: &str) -> Result<Option<Claim>> {
    let failed = |error| StoreError::connect(server, error);
    let mut connection = connect(server).await.map_err(failed)?;
    let claimed: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended($1, 0))")
        .bind(format!("{PREFIX}{prefix}"))
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    Ok(claimed.then(|| Claim(Mutex::new(connection))))
}

/// Opens a schema that was created by [`schema`], with its data, and migrates its tables.
pub async fn kept(server: &Server, name: &str) -> Result<Server> {
    let server = server.clone().in_schema(&format!("{PREFIX}{name}"));
    Database::migrate(&DatabaseLocation::Server(server.clone())).await?;
    Ok(server)
}

pub(super) async fn without_tables(server: &Server, name: &str) -> Result<Server> {
    let failed = |error| StoreError::connect(server, error);
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if !name.chars().all(plain) {
        return Err(failed(sqlx::Error::Configuration(
            "not the name of a schema".into(),
        )));
    }
    let mut connection = connect(server).await.map_err(failed)?;
    let anew =
        format!("DROP SCHEMA IF EXISTS {PREFIX}{name} CASCADE; CREATE SCHEMA {PREFIX}{name};");
    // The name has been looked at.
    connection
        .execute(sqlx::AssertSqlSafe(anew))
        .await
        .map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(server.clone().in_schema(&format!("{PREFIX}{name}")))
}

async fn connect(server: &Server) -> sqlx::Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(server.url().as_str()).await
}
