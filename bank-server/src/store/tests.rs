//! Tests of the store, and test databases, one for each test, on the engine that the tests are run
//! for: SQLite, or the PostgreSQL server that `BANK_TEST_POSTGRES` names (`tests/run` starts one,
//! and runs these tests for both).

use shared_types::environment::{Randomness as _, SystemRandomness};
use sqlx::Row as _;
use tempfile::TempDir;

use super::*;

/// The folder is removed when it is dropped.
pub(crate) async fn database() -> (Database, TempDir) {
    let (place, folder) = empty().await;
    Database::migrate(&place).await.unwrap();
    (Database::open(&place).await.unwrap(), folder)
}

/// Location of an empty database.
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
    /// Number of executed statements. On a database server, each is a round trip.
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

    /// The engine's query plan of a statement, as text.
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
        let large = "INSERT INTO bank_state (name, value) VALUES ('large', hex(zeroblob(1000000)))";
        let refused = sqlx::query(large).execute(&mut connection).await;
        let refused = StoreError::from(refused.unwrap_err());
        assert!(refused.is_transient(), "{refused}");
        assert!(database.0.health.is_full(), "{refused}");
        sqlx::query(unset).fetch_all(&mut connection).await.unwrap();
        database.ready().await.unwrap();
        assert!(!database.0.health.is_full());
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
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let nowhere = DatabaseLocation::File(folder.path().join("nowhere/bank.db"));
    let error = Database::open(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("nowhere/bank.db"), "{error}");
}
