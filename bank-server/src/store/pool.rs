//! Connection pool with timeouts on acquiring a connection and on each statement.
//!
//! No wait is without a bound, because a cut network produces no error. A connection whose
//! statement timed out is closed: whether that statement took effect is not known.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, Object, PoolError, QueueMode};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::error::BoxDynError;
use sqlx::{Any, AnyConnection, Connection as _, Describe, Either, Execute, Executor, SqlStr};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span, debug_span};

use super::connection_manager::ConnectionManager;
use super::health::DatabaseHealth;
use super::metrics::{DatabaseMetrics, OTHER, operation_of};
use crate::telemetry::gauge_guard::GaugeGuard;

/// Connection pool. Cheap to clone: all clones share the connections. A statement that is run on
/// the pool has a connection of its own until it ends.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: managed::Pool<ConnectionManager>,
    /// Timeout of a statement, after which its connection counts as lost; `None` for a file.
    time: Option<Duration>,
    /// Connections belong to the runtime on which the database was opened.
    runtime: Handle,
    metrics: DatabaseMetrics,
    health: Arc<DatabaseHealth>,
}

/// A connection of the pool. Dropping it returns it, and rolls back an open transaction.
#[derive(Debug)]
pub struct PooledConnection {
    /// There until it is dropped.
    connection: Option<Object<ConnectionManager>>,
    pool: Pool,
    in_transaction: bool,
    /// A statement is running. If its future was dropped, the response is still to come.
    is_running: bool,
    lost: bool,
}

/// Timeout of acquiring a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for making a connection reusable: a statement whose future was dropped may still run.
const RECYCLE_TIMEOUT: Duration = Duration::from_secs(2);

impl Pool {
    /// Creates a pool with a maximum number of connections, and opens one of them. The pool belongs
    /// to the runtime that this is called on.
    pub(super) async fn open(
        manager: ConnectionManager,
        most: u32,
        time: Option<Duration>,
        metrics: &DatabaseMetrics,
        health: &Arc<DatabaseHealth>,
    ) -> sqlx::Result<Self> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let connections = managed::Pool::builder(manager)
            .max_size(most)
            // Those that were used last have their statements prepared; the others may rest.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| sqlx::Error::Configuration(error.into()))?;
        let pool = Self {
            connections,
            time,
            runtime: Handle::current(),
            metrics: metrics.clone(),
            health: Arc::clone(health),
        };
        pool.acquire().await?;
        Ok(pool)
    }

    /// Waits for a connection. Fails while the clock of this machine is wrong: nothing is read,
    /// written or removed by it.
    pub async fn acquire(&self) -> sqlx::Result<PooledConnection> {
        self.health.clock_is_right()?;
        let begun = Instant::now();
        let connection = {
            let _waiting = GaugeGuard::among(&self.metrics.waiting);
            match timeout(ACQUIRE_TIMEOUT, self.connections.get()).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(PoolError::Backend(error))) => Err(error),
                Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
                Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
            }
        };
        let connection = connection.inspect_err(|_| self.metrics.unconnected())?;
        self.metrics.waited(begun.elapsed());
        Ok(PooledConnection {
            connection: Some(connection),
            pool: self.clone(),
            in_transaction: false,
            is_running: false,
            lost: false,
        })
    }

    /// The runtime on which connections are used.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Numbers of idle and of used connections.
    pub(super) fn connections(&self) -> (usize, usize) {
        let status = self.connections.status();
        let used = status.size.saturating_sub(status.available);
        (status.available, used)
    }

    /// Ends all connections. Connections in use end when they are returned.
    pub async fn close(&self) {
        let idle = self.connections.retain(|_, _| false).removed;
        self.connections.close();
        for connection in idle {
            // The connection is not needed any more: its error is of no use.
            let _ = timeout(RECYCLE_TIMEOUT, connection.close()).await;
        }
    }
}

impl PooledConnection {
    /// The connection without a timeout, for migrations.
    pub(super) fn unbounded(&mut self) -> sqlx::Result<&mut AnyConnection> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok(connection)
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self, statement: &'static str) -> sqlx::Result<()> {
        // Set before: if this future is dropped, whether the transaction has begun is not known.
        self.in_transaction = true;
        self.execute(statement).await.map(|_| ())
    }

    /// Commits the transaction.
    pub(super) async fn commit(&mut self) -> sqlx::Result<()> {
        self.execute("COMMIT").await?;
        self.in_transaction = false;
        self.pool.health.set_full(false);
        Ok(())
    }

    /// Rolls the transaction back.
    pub(super) async fn roll_back(&mut self) -> sqlx::Result<()> {
        self.execute("ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.lost {
            drop(Object::take(connection));
            return;
        }
        if !self.in_transaction && !self.is_running {
            // Dropping it returns it to the pool.
            return;
        }
        let in_transaction = self.in_transaction;
        self.pool.runtime.spawn(async move {
            let ready = timeout(RECYCLE_TIMEOUT, async {
                if in_transaction {
                    connection.execute("ROLLBACK").await?;
                }
                connection.ping().await
            });
            if !matches!(ready.await, Ok(Ok(()))) {
                drop(Object::take(connection));
            }
        });
    }
}

/// A statement, with its operation for metrics and spans.
struct Statement {
    sql: SqlStr,
    /// Taken when it is run.
    arguments: Result<Option<AnyArguments>, BoxDynError>,
    persistent: bool,
    operation: &'static str,
}

impl Statement {
    fn new<'q>(mut query: impl Execute<'q, Any>) -> Self {
        let (arguments, persistent) = (query.take_arguments(), query.persistent());
        let sql = query.sql();
        Self {
            operation: operation_of(sql.as_str()),
            sql,
            arguments,
            persistent,
        }
    }

    /// The text of a statement holds no value of a row: those are arguments.
    fn span(&self) -> Span {
        debug_span!(
            "statement",
            otel.name = self.operation,
            otel.kind = "client",
            db.query.text = self.sql.as_str(),
        )
    }
}

impl Execute<'_, Any> for Statement {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&AnyStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<AnyArguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

impl PooledConnection {
    /// Runs a statement with the timeout, and records its metrics.
    async fn run<T>(
        &mut self,
        operation: &'static str,
        run: impl for<'a> FnOnce(&'a mut AnyConnection) -> BoxFuture<'a, sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let begun = Instant::now();
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        self.is_running = true;
        let answer = run(connection);
        let answer = match self.pool.time {
            None => answer.await,
            Some(time) => timeout(time, answer).await.unwrap_or_else(|_| {
                self.lost = true;
                Err(timed_out())
            }),
        };
        self.is_running = false;
        self.lost |= answer.as_ref().is_err_and(ends_connection);
        if answer.as_ref().is_err_and(is_full) {
            self.pool.health.set_full(true);
        }
        let (took, failed) = (begun.elapsed(), answer.is_err());
        self.pool.metrics.statement(operation, took, failed);
        answer
    }
}

/// The error of a timeout.
pub(super) fn timed_out() -> sqlx::Error {
    let late = io::Error::new(io::ErrorKind::TimedOut, "the database does not answer");
    sqlx::Error::Io(late)
}

/// Whether a connection is over with that error.
fn ends_connection(error: &sqlx::Error) -> bool {
    match error {
        // Of PostgreSQL (appendix A of its documentation): connections; terminated by an operator;
        // idle, or in a transaction, for too long.
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            ["08", "57P", "25P03", "25P04"]
                .iter()
                .any(|class| code.starts_with(class))
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    }
}

/// The code of an error of SQLite, without its extension, or of PostgreSQL.
pub(super) fn code(error: &dyn sqlx::error::DatabaseError) -> String {
    let code = error.code().unwrap_or_default();
    // A code of PostgreSQL has five characters, of which some can be letters; one of SQLite has at
    // most four digits, of which the lower byte is the primary code
    // (https://www.sqlite.org/rescode.html).
    match code.parse::<u32>() {
        Ok(extended) if code.len() < 5 => (extended & 0xff).to_string(),
        _ => code.into_owned(),
    }
}

/// Whether a write failed for want of space: a disk that is full, fails or is read-only, or a
/// standby server.
fn is_full(error: &sqlx::Error) -> bool {
    // Of SQLite: READONLY, IOERR, FULL. Of PostgreSQL (appendix A of its documentation): disk_full,
    // io_error, read_only_sql_transaction.
    const CODES: [&str; 6] = ["8", "10", "13", "53100", "58030", "25006"];

    match error {
        sqlx::Error::Database(error) => CODES.contains(&code(error.as_ref()).as_str()),
        _ => false,
    }
}

type Step = Either<AnyQueryResult, AnyRow>;

impl<'c> Executor<'c> for &'c mut PooledConnection {
    type Database = Any;

    /// Reads all rows at once, so that a slow reader does not occupy a connection.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let statement = Statement::new(query);
        let span = statement.span();
        async move {
            let steps = self.run::<Vec<Step>>(statement.operation, |connection| {
                connection.fetch_many(statement).try_collect().boxed()
            });
            Ok(stream::iter(steps.await?).map(Ok))
        }
        .instrument(span)
        .try_flatten_stream()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let statement = Statement::new(query);
        let span = statement.span();
        self.run(statement.operation, |connection| {
            connection.fetch_optional(statement)
        })
        .instrument(span)
        .boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        // Clones the types, because the connection may outlive the borrow.
        let parameters = parameters.to_vec();
        self.run(OTHER, |connection| {
            async move { connection.prepare_with(sql, &parameters).await }.boxed()
        })
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.run(OTHER, |connection| connection.describe(sql))
            .boxed()
    }
}

impl<'p> Executor<'p> for &Pool {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Step>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let pool = self.clone();
        async move {
            let mut connection = pool.acquire().await?;
            let steps: Vec<Step> = connection.fetch_many(query).try_collect().await?;
            Ok(stream::iter(steps).map(Ok))
        }
        .try_flatten_stream()
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.fetch_optional(query).await }.boxed()
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.prepare_with(sql, parameters).await }.boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, sqlx::Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        async move { pool.acquire().await?.describe(sql).await }.boxed()
    }
}
