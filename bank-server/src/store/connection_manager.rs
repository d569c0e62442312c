//! Opening connections to the database, and finding out whether an idle one is still good.

use std::io;
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tokio::time::{Instant, sleep, timeout};

/// Opens connections, each with its settings.
#[derive(Debug)]
pub(super) struct Opener {
    pub(super) address: String,
    /// Statements that are run on a connection before anybody has it: constants and numbers.
    pub(super) settings: String,
    /// A file is always there. A server can be gone: a connection that has been idle is tried before it is used.
    pub(super) can_be_gone: bool,
}

/// For how long a database that is just coming up is waited for.
const COMING: Duration = Duration::from_secs(4);
/// How often it is tried meanwhile.
const AGAIN: Duration = Duration::from_millis(100);

/// Connections that have been idle for longer are tried; the others have just worked. So long that may take.
const PROVEN: Duration = Duration::from_secs(1);

/// Older ones are replaced: what a server keeps for a connection grows.
const OLDEST: Duration = Duration::from_mins(30);

impl Manager for Opener {
    type Type = AnyConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<AnyConnection, sqlx::Error> {
        let begun = Instant::now();
        let mut connection = loop {
            match AnyConnection::connect(&self.address).await {
                Err(error) if is_coming(&error) && begun.elapsed() < COMING => sleep(AGAIN).await,
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
        if !self.can_be_gone {
            return Ok(());
        }
        if metrics.age() > OLDEST {
            return Err(RecycleError::message("it is old"));
        }
        if metrics.last_used() > PROVEN {
            timeout(PROVEN, connection.ping())
                .await
                .map_err(|_| RecycleError::message("it is silent"))??;
        }
        Ok(())
    }
}

/// Whether a server that cannot be connected to may be about to be there.
fn is_coming(error: &sqlx::Error) -> bool {
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
