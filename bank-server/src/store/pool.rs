//! Connections to the database, and how long anybody waits for it.
//!
//! A database that is gone says so, or says nothing at all: where the network is cut, nobody is told. So nothing here waits
//! without a bound, and a connection that has kept silent is closed, for nobody knows what became of its last statement.

use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Describe, Either, Execute, Executor, SqlStr};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

/// Connections. Cheap to clone: all clones share them. A statement that is run on it has a connection of its own for as long
/// as it takes.
#[derive(Debug, Clone)]
pub struct Pool {
    connections: AnyPool,
    /// How long a statement may take before its connection counts as lost; without end for a file, which does not go away.
    time: Option<Duration>,
    /// Connections belong to the runtime on which the database was opened.
    runtime: Handle,
}

/// A connection, until it is dropped. A transaction that is open by then has not happened.
#[derive(Debug)]
pub struct Held {
    /// There until it is dropped.
    connection: Option<PoolConnection<Any>>,
    time: Option<Duration>,
    runtime: Handle,
    in_transaction: bool,
    lost: bool,
}

/// How long a connection may take to be ready for the next one who needs it. A statement that was given up may still run.
const RETURN: Duration = Duration::from_secs(2);

impl Pool {
    /// Belongs to the runtime that it is called on.
    pub(super) fn new(connections: AnyPool, time: Option<Duration>) -> Self {
        Self {
            connections,
            time,
            runtime: Handle::current(),
        }
    }

    /// Waits for a connection.
    pub async fn acquire(&self) -> Result<Held, sqlx::Error> {
        Ok(Held {
            connection: Some(self.connections.acquire().await?),
            time: self.time,
            runtime: self.runtime.clone(),
            in_transaction: false,
            lost: false,
        })
    }

    /// Ends all connections. Those that are in use end with what they are used for.
    pub async fn close(&self) {
        self.connections.close().await;
    }
}

impl Held {
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
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.lost {
            drop(connection.detach());
            return;
        }
        let in_transaction = self.in_transaction;
        self.runtime.spawn(async move {
            if in_transaction {
                let rollback = timeout(RETURN, connection.execute("ROLLBACK")).await;
                if !matches!(rollback, Ok(Ok(_))) {
                    drop(connection.detach());
                    return;
                }
            }
            // If it is late, it is closed: it is in there.
            let _ = timeout(RETURN, connection.return_to_pool()).await;
        });
    }
}

/// Waits for the database, until then.
async fn within<T>(
    end: Option<Instant>,
    lost: &mut bool,
    answer: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error> {
    let Some(end) = end else {
        return answer.await;
    };
    timeout_at(end, answer).await.unwrap_or_else(|_| {
        *lost = true;
        let late = io::Error::new(io::ErrorKind::TimedOut, "the database does not answer");
        Err(sqlx::Error::Io(late))
    })
}

fn after(time: Option<Duration>) -> Option<Instant> {
    time.map(|time| Instant::now() + time)
}

type Step = Either<AnyQueryResult, AnyRow>;

impl<'c> Executor<'c> for &'c mut Held {
    type Database = Any;

    /// All at once: whoever reads is not to hold up a connection.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Step, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        async move {
            let (end, connection) = (after(self.time), self.connection.as_mut());
            let connection = connection.ok_or(sqlx::Error::PoolClosed)?;
            let steps = connection.fetch_many(query).try_collect::<Vec<Step>>();
            let steps = within(end, &mut self.lost, steps).await?;
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
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        async move {
            let (end, connection) = (after(self.time), self.connection.as_mut());
            let connection = connection.ok_or(sqlx::Error::PoolClosed)?;
            within(end, &mut self.lost, connection.fetch_optional(query)).await
        }
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
        async move {
            let (end, connection) = (after(self.time), self.connection.as_mut());
            let connection = connection.ok_or(sqlx::Error::PoolClosed)?;
            within(
                end,
                &mut self.lost,
                connection.prepare_with(sql, parameters),
            )
            .await
        }
        .boxed()
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, sqlx::Error>>
    where
        'c: 'e,
    {
        async move {
            let (end, connection) = (after(self.time), self.connection.as_mut());
            let connection = connection.ok_or(sqlx::Error::PoolClosed)?;
            within(end, &mut self.lost, connection.describe(sql)).await
        }
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
