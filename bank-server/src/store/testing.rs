//! Test databases, one for each test, on the engine that the tests are run for: SQLite, or the
//! PostgreSQL server that `BANK_TEST_POSTGRES` names (`tests/run` starts one, and runs these tests
//! for both).

use std::time::Duration;

use prometheus_client::registry::Registry;
use shared_types::environment::{Randomness as _, SystemRandomness};
use sqlx::Row as _;
use tempfile::TempDir;

use super::engine::Engine;
use super::{Database, DatabaseLocation, Server, WriteTransaction, scratch};

/// The folder is removed when it is dropped.
pub(crate) async fn database() -> (Database, TempDir) {
    let (place, folder) = empty().await;
    Database::migrate(&place).await.unwrap();
    (Database::open(&place).await.unwrap(), folder)
}

/// Where no tables are.
pub(crate) async fn empty() -> (DatabaseLocation, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let place = match std::env::var("BANK_TEST_POSTGRES") {
        Ok(url) => {
            let name = SystemRandomness.uuid().simple().to_string();
            let server = Server::new(&url).unwrap();
            DatabaseLocation::Server(scratch::without_tables(&server, &name).await.unwrap())
        }
        Err(_) => DatabaseLocation::File(folder.path().join("bank 100%?.db")),
    };
    (place, folder)
}

impl WriteTransaction {
    /// Waits until another transaction waits for this one. A file has one writer, which begins only
    /// when it has its turn: there is nothing to wait for.
    pub(crate) async fn until_it_blocks_another(&mut self) {
        if std::env::var("BANK_TEST_POSTGRES").is_err() {
            return;
        }
        for _ in 0..1000 {
            let blocked: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = \
                 ANY(pg_blocking_pids(pid))",
            )
            .fetch_one(&mut **self)
            .await
            .unwrap();
            if blocked > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing waits for this transaction");
    }
}

/// Parameter of a statement.
pub(crate) enum Value {
    Number(i64),
    Text(&'static str),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl Database {
    /// How many statements have been run: each is a round trip, where the database is a server.
    pub(crate) fn statements(&self) -> u64 {
        let mut registry = Registry::default();
        self.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let counts = text
            .lines()
            .filter(|line| line.starts_with("store_statement_seconds_count"));
        counts
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Waits until rows that are read may be cached.
    pub(crate) async fn wait_until_caching(&self) {
        for _ in 0..1000 {
            if self.caches().is_fresh() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("rows are never cached");
    }

    /// How the engine goes about a statement, in its own words.
    pub(crate) async fn plan(&self, statement: &str, values: Vec<Value>) -> String {
        let mut transaction = self.begin_write().await.unwrap();
        let explain = match self.0.engine {
            Engine::Sqlite => "EXPLAIN QUERY PLAN",
            Engine::Postgres => {
                // On small tables it would read all there is.
                let large = sqlx::query("SET LOCAL enable_seqscan = off");
                large.execute(&mut *transaction).await.unwrap();
                "EXPLAIN"
            }
        };
        let statement = sqlx::AssertSqlSafe(format!("{explain} {statement}"));
        let mut query = sqlx::query(statement);
        for value in values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        let rows = query.fetch_all(&mut *transaction).await.unwrap();
        let column = match self.0.engine {
            Engine::Sqlite => "detail",
            Engine::Postgres => "QUERY PLAN",
        };
        let lines: Vec<String> = rows.iter().map(|row| row.get(column)).collect();
        lines.join("\n")
    }
}
