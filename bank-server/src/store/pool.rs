//! Connections to the database, and how long anybody waits for it.
//!
//! A database that is gone says so, or says nothing at all: where the network is cut, nobody is told. So nothing here waits
//! without a bound, and a connection that has kept silent is closed, for nobody knows what became of its last statement.

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

use super::condition::Condition;
use super::connection_manager::Opener;
use super::figures::{Figures, Operation};
use crate::telemetry::gauge_guard::GaugeGuard;

/// Connections. Cheap to clone: all clones share them. A statement that is run on it has a connection of its own for as long
/// as it takes.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: managed::Pool<Opener>,
    /// How long a statement may take before its connection counts as lost; without end for a file, which does not go away.
    time: Option<Duration>,
    /// Connections belong to the runtime on which the database was opened.
    runtime: Handle,
    figures: Figures,
    condition: Arc<Condition>,
}

/// A connection, until it is dropped. A transaction that is open by then has not happened.
#[derive(Debug)]
pub struct PooledConnection {
    /// There until it is dropped.
    connection: Option<Object<Opener>>,
    time: Option<Duration>,
    runtime: Handle,
    figures: Figures,
    condition: Arc<Condition>,
    in_transaction: bool,
    /// A statement is under way. If it is given up, its answer is still to come.
    asking: bool,
    lost: bool,
}

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a connection may take to be ready for the next one who needs it. A statement that was given up may still run.
const RETURN: Duration = Duration::from_secs(2);

impl Pool {
    /// At most so many connections, of which one is opened now. Belongs to the runtime that it is called on.
    pub(super) async fn open(
        opener: Opener,
        most: u32,
        time: Option<Duration>,
        figures: &Figures,
        condition: &Arc<Condition>,
    ) -> Result<Self, sqlx::Error> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let connections = managed::Pool::builder(opener)
            .max_size(most)
            // Those that were used last have their statements prepared; the others may rest.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| sqlx::Error::Configuration(error.into()))?;
        let pool = Self {
            connections,
            time,
            runtime: Handle::current(),
            figures: figures.clone(),
            condition: Arc::clone(condition),
        };
        pool.acquire().await?;
        Ok(pool)
    }

    /// Waits for a connection. Fails while the clock of this machine is wrong: nothing is read,
    /// written or removed by it.
    pub async fn acquire(&self) -> Result<PooledConnection, sqlx::Error> {
        self.condition.clock_is_right()?;
        let begun = Instant::now();
        let connection = {
            let _waiting = GaugeGuard::among(&self.figures.waiting);
            match timeout(PATIENCE, self.connections.get()).await {
                Ok(Ok(connection)) => Ok(connection),
                Ok(Err(PoolError::Backend(error))) => Err(error),
                Ok(Err(PoolError::Closed)) => Err(sqlx::Error::PoolClosed),
                Ok(Err(_)) | Err(_) => Err(sqlx::Error::PoolTimedOut),
            }
        };
        let connection = connection.inspect_err(|_| self.figures.unconnected())?;
        self.figures.waited(begun.elapsed());
        Ok(PooledConnection {
            connection: Some(connection),
            time: self.time,
            runtime: self.runtime.clone(),
            figures: self.figures.clone(),
            condition: Arc::clone(&self.condition),
            in_transaction: false,
            asking: false,
            lost: false,
        })
    }

    /// That on which connections are to be asked.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// How many are idle, and how many are used.
    pub(super) fn connections(&self) -> (usize, usize) {
        let status = self.connections.status();
        (
            status.available,
            status.size.saturating_sub(status.available),
        )
    }

    /// Ends all connections. Those that are in use end with what they are used for.
    pub async fn close(&self) {
        let idle = self.connections.retain(|_, _| false).removed;
        self.connections.close();
        for connection in idle {
            // It is not needed any more, whatever it says to that.
            let _ = timeout(RETURN, connection.close()).await;
        }
    }
}

impl PooledConnection {
    /// The connection itself, for what has no bound: migrations.
    pub(super) fn unbounded(&mut self) -> Result<&mut AnyConnection, sqlx::Error> {
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        Ok(connection)
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        // From now on: whether it has begun is not known if this is given up.
        self.in_transaction = true;
        self.execute(statement).await.map(|_| ())
    }

    /// Has the transaction happen.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.execute("COMMIT").await?;
        self.in_transaction = false;
        self.condition.set_full(false);
        Ok(())
    }

    /// Has the transaction not happened.
    pub(super) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
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
        if !self.in_transaction && !self.asking {
            // It goes back with this.
            return;
        }
        let in_transaction = self.in_transaction;
        self.runtime.spawn(async move {
            let ready = timeout(RETURN, async {
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

/// A statement, with what is to be told of it.
struct Asked {
    sql: SqlStr,
    /// Taken when it is run.
    arguments: Result<Option<AnyArguments>, BoxDynError>,
    persistent: bool,
    operation: Operation,
}

impl Asked {
    fn new<'q>(mut query: impl Execute<'q, Any>) -> Self {
        let (arguments, persistent) = (query.take_arguments(), query.persistent());
        let sql = query.sql();
        Self {
            operation: Operation::of(sql.as_str()),
            sql,
            arguments,
            persistent,
        }
    }

    /// The text of a statement holds no value of a row: those are arguments.
    fn span(&self) -> Span {
        debug_span!(
            "statement",
            otel.name = self.operation.name(),
            otel.kind = "client",
            db.query.text = self.sql.as_str(),
        )
    }
}

impl Execute<'_, Any> for Asked {
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
    /// Waits for the database, for as long as a statement may take.
    async fn answer<T>(
        &mut self,
        operation: Operation,
        ask: impl for<'a> FnOnce(&'a mut AnyConnection) -> BoxFuture<'a, Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        let begun = Instant::now();
        let connection = self.connection.as_mut().ok_or(sqlx::Error::PoolClosed)?;
        self.asking = true;
        let answer = ask(connection);
        let answer = match self.time {
            None => answer.await,
            Some(time) => timeout(time, answer).await.unwrap_or_else(|_| {
                self.lost = true;
                Err(silent())
            }),
        };
        self.asking = false;
        self.lost |= answer.as_ref().is_err_and(ends_connection);
        if answer.as_ref().is_err_and(is_full) {
            self.condition.set_full(true);
        }
        self.figures
            .statement(operation, begun.elapsed(), answer.is_err());
        answer
    }
}

/// The database has said nothing for as long as is waited for it.
pub(super) fn silent() -> sqlx::Error {
    let late = io::Error::new(io::ErrorKind::TimedOut, "the database does not answer");
    sqlx::Error::Io(late)
}

/// Whether a connection is over with that error.
fn ends_connection(error: &sqlx::Error) -> bool {
    match error {
        // Of PostgreSQL (appendix A of its documentation): connections; stopped by somebody; idle, or in a transaction, for
        // too long.
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
    // A code of PostgreSQL has five characters, of which some can be letters; one of SQLite has at most four digits, of which
    // the lower byte is the primary code (https://www.sqlite.org/rescode.html).
    match code.parse::<u32>() {
        Ok(extended) if code.len() < 5 => (extended & 0xff).to_string(),
        _ => code.into_owned(),
    }
}

/// Whether what was to be written found no place: a full disk, one that fails or is read-only, a standby server.
fn is_full(error: &sqlx::Error) -> bool {
    // Of SQLite: READONLY, IOERR, FULL. Of PostgreSQL (appendix A of its documentation): disk_full, io_error,
    // read_only_sql_transaction.
    const CODES: [&str; 6] = ["8", "10", "13", "53100", "58030", "25006"];

    match error {
        sqlx::Error::Database(error) => CODES.contains(&code(error.as_ref()).as_str()),
        _ => false,
    }
}

type Step = Either<AnyQueryResult, AnyRow>;

impl<'c> Executor<'c> for &'c mut PooledConnection {
    type Database = Any;

    /// All at once: whoever reads is not to hold up a connection.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let asked = Asked::new(query);
        let span = asked.span();
        async move {
            let steps = self.answer::<Vec<Step>>(asked.operation, |connection| {
                connection.fetch_many(asked).try_collect().boxed()
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
        let asked = Asked::new(query);
        let span = asked.span();
        self.answer(asked.operation, |connection| {
            connection.fetch_optional(asked)
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
        // The types are handed on as they are: they do not live as long as a connection may.
        let parameters = parameters.to_vec();
        self.answer(Operation::Other, |connection| {
            async move { connection.prepare_with(sql, &parameters).await }.boxed()
        })
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, sqlx::Error>>
    where
        'c: 'e,
    {
        self.answer(Operation::Other, |connection| connection.describe(sql))
            .boxed()
    }
}

impl<'p> Executor<'p> for &Pool {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let pool = self.clone();
        async move {
            let mut held = pool.acquire().await?;
            let steps: Vec<Step> = held.fetch_many(query).try_collect().await?;
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
