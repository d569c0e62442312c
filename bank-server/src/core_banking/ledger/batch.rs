//! Batched inserts of transactions into the ledger: a statement for each would cost more than its
//! row.

use std::collections::HashSet;

use shared_types::xs2a::money::Amount;

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
    pub(super) amount: Amount,
}

/// Rows that are not in the database yet.
#[derive(Debug, Default)]
pub(super) struct Batch(Vec<Row>);

/// Result of writing rows.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) new: Vec<Row>,
    /// Rows that were there already: their account has a transaction of that id.
    pub(super) known: Vec<Row>,
}

impl Batch {
    /// Takes a row, and writes all if it is one of many.
    pub(super) async fn push(
        &mut self,
        row: Row,
        sql: &mut WriteTransaction,
    ) -> sqlx::Result<Written> {
        self.0.push(row);
        if self.0.len() < FULL {
            Ok(Written::default())
        } else {
            self.write(sql).await
        }
    }

    /// Writes the remaining rows.
    pub(super) async fn write(&mut self, sql: &mut WriteTransaction) -> sqlx::Result<Written> {
        let new = std::mem::take(&mut self.0);
        let known = Vec::new();
        if new.is_empty() || insert(&new, sql).await? == new.len() as u64 {
            return Ok(Written { new, known });
        }
        let found = find(&new, sql).await?;
        let is_new = |row: &Row| found.contains(&(row.account.clone(), row.sequence));
        let (new, known) = new.into_iter().partition(is_new);
        Ok(Written { new, known })
    }
}

/// Inserts the rows that are not there. Returns their number.
async fn insert(rows: &[Row], sql: &mut PooledConnection) -> sqlx::Result<u64> {
    let text = format!("{INSERT}{} ON CONFLICT DO NOTHING", values(rows, VALUES));
    // The text is made of constants and of numbers.
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
    bound.execute(sql).await.map(|done| done.rows_affected())
}

/// Account and sequence of the entries that have these ids.
async fn find(rows: &[Row], sql: &mut PooledConnection) -> sqlx::Result<HashSet<(String, i64)>> {
    let text = format!(
        "SELECT account, sequence FROM entry WHERE (account, transaction_id) IN (VALUES {})",
        values(rows, 2)
    );
    // The text is made of constants and of numbers.
    let query = sqlx::query_as(sqlx::AssertSqlSafe(text));
    let bound = rows.iter().fold(query, |query, row| {
        query
            .bind(row.account.clone())
            .bind(row.transaction_id.clone())
    });
    Ok(bound.fetch_all(sql).await?.into_iter().collect())
}

/// Placeholders of so many values for each row.
fn values(rows: &[Row], number: usize) -> String {
    let values: Vec<String> = (0..rows.len())
        .map(|index| placeholders(index * number, number))
        .collect();
    values.join(", ")
}
