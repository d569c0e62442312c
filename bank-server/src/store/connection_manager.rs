//! Connection manager of the pool: opens connections, and tests idle ones before they are reused.

use std::io;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tokio::time::{Instant, sleep, timeout};

/// Opens connections, each with its settings.
#[derive(Debug)]
pub(super) struct ConnectionManager {
    pub(super) address: String,
    /// Statements that are run on a new connection: constants and numbers.
    pub(super) settings: String,
    /// A server can go away, a file cannot: a connection to a server that has been idle is tested
    /// before it is used.
    pub(super) is_remote: bool,
}

/// Longest wait for a database server that is starting up.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(4);
/// Interval between retries during that wait.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Idle time after which a connection is tested, and the timeout of the test.
const TEST_AFTER: Duration = Duration::from_secs(1);

/// Longest age of a connection: a server's memory for one grows.
const MAX_AGE: Duration = Duration::from_mins(30);

impl Manager for ConnectionManager {
    type Type = AnyConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> sqlx::Result<AnyConnection> {
        let begun = Instant::now();
        let mut connection = loop {
            match AnyConnection::connect(&self.address).await {
                Err(error) if is_starting(&error) && begun.elapsed() < STARTUP_TIMEOUT => {
                    sleep(RETRY_INTERVAL).await;
                }
                connected => break connected?,
            }
        };
        let settings = sqlx::AssertSqlSafe(self.settings.clone());
        connection.execute(settings).await?;
        Ok(connection)
    }

    async fn recycle(
        &self,
        connection: &mut AnyConnection,
        metrics: &Metrics,
    ) -> RecycleResult<sqlx::Error> {
        if !self.is_remote {
            return Ok(());
        }
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("it is old"));
        }
        if metrics.last_used() > TEST_AFTER {
            timeout(TEST_AFTER, connection.ping())
                .await
                .map_err(|_| RecycleError::message("it is silent"))??;
        }
        Ok(())
    }
}

/// Whether the server may be starting up.
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
        ),
        // PostgreSQL's cannot_connect_now: it is starting up, or shutting down.
        sqlx::Error::Database(error) => error.code().as_deref() == Some("57P03"),
        _ => false,
    }
}
