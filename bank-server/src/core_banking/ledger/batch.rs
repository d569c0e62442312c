//! Batched inserts of transactions into the ledger: a statement for each would cost more than its
//! row.

use sqlx::Executor as _;

use crate::store::{PooledConnection, WriteTransaction, placeholders};

/// Rows in one statement. With seven values each, this is well below the databases' limits of
/// parameters.
const FULL: usize = 100;

/// Values in a row.
const VALUES: usize = 7;

const INSERT: &str = "INSERT INTO entry (account, booked, date, sequence, transaction_id, \
    reference, details) VALUES ";

/// One row of the table `entry`, and the line it came from.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    /// Path of the id in the line.
    pub(super) id_path: &'static str,
    pub(super) account: String,
    pub(super) booked: bool,
    pub(super) date: String,
    pub(super) sequence: i64,
    pub(super) transaction_id: String,
    pub(super) reference: Option<String>,
    pub(super) details: String,
}

/// Rows that are not in the database yet.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<Row>);

type Result<T, E = BatchError> = std::result::Result<T, E>;

/// Error of a batch.
#[derive(Debug)]
pub(super) enum BatchError {
    /// A transaction of that id is there already.
    Known {
        /// The line of the second one.
        line: u64,
        /// Path in the line.
        path: &'static str,
    },
    /// The database failed.
    Sql(sqlx::Error),
}

impl Batch {
    /// Takes a row, and writes all if it is one of many.
    pub(super) async fn push(&mut self, row: Row, sql: &mut WriteTransaction) -> Result<()> {
        self.0.push(row);
        if self.0.len() < FULL {
            Ok(())
        } else {
            self.write(sql).await
        }
    }

    /// Writes the remaining rows.
    pub(super) async fn write(&mut self, sql: &mut WriteTransaction) -> Result<()> {
        let rows = std::mem::take(&mut self.0);
        if rows.is_empty() {
            return Ok(());
        }
        // A savepoint, so that a statement that fails does not spoil the transaction around it.
        run("SAVEPOINT batch", sql).await?;
        match insert(&rows, sql).await {
            Ok(()) => run("RELEASE SAVEPOINT batch", sql).await,
            Err(error) if is_known(&error) => {
                run("ROLLBACK TO SAVEPOINT batch", sql).await?;
                Err(find_known(&rows, sql).await)
            }
            Err(error) => Err(BatchError::Sql(error)),
        }
    }
}

/// Finds the row that is there already: the first that fails on its own.
async fn find_known(rows: &[Row], sql: &mut WriteTransaction) -> BatchError {
    for row in rows {
        match insert(std::slice::from_ref(row), sql).await {
            Ok(()) => {}
            Err(error) if is_known(&error) => {
                return BatchError::Known {
                    line: row.line,
                    path: row.id_path,
                };
            }
            Err(error) => return BatchError::Sql(error),
        }
    }
    // Together they did not get in, and one by one they did.
    BatchError::Sql(sqlx::Error::WorkerCrashed)
}

fn is_known(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(refused) if refused.is_unique_violation())
}

async fn run(statement: &'static str, sql: &mut PooledConnection) -> Result<()> {
    let done = sql.execute(statement).await;
    done.map(|_| ()).map_err(BatchError::Sql)
}

async fn insert(rows: &[Row], sql: &mut PooledConnection) -> sqlx::Result<()> {
    let values: Vec<String> = (0..rows.len())
        .map(|index| placeholders(index * VALUES, VALUES))
        .collect();
    let text = format!("{INSERT}{}", values.join(", "));
    // The text is made of a constant and of numbers.
    let query = sqlx::query(sqlx::AssertSqlSafe(text));
    let bound = rows.iter().fold(query, |query, row| {
        query
            .bind(row.account.clone())
            .bind(i64::from(row.booked))
            .bind(row.date.clone())
            .bind(row.sequence)
            .bind(row.transaction_id.clone())
            .bind(row.reference.clone())
            .bind(row.details.clone())
    });
    bound.execute(sql).await.map(|_| ())
}
