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

impl Batch {
    /// Takes a row, and writes all if it is one of many. Returns the rows that were there already.
    pub(super) async fn push(
        &mut self,
        row: Row,
        sql: &mut WriteTransaction,
    ) -> sqlx::Result<Vec<Row>> {
        self.0.push(row);
        if self.0.len() < FULL {
            Ok(Vec::new())
        } else {
            self.write(sql).await
        }
    }

    /// Writes the remaining rows. Returns those that were there already: their account has a
    /// transaction of that id.
    pub(super) async fn write(&mut self, sql: &mut WriteTransaction) -> sqlx::Result<Vec<Row>> {
        let rows = std::mem::take(&mut self.0);
        if rows.is_empty() {
            return Ok(rows);
        }
        if insert(&rows, sql).await? == rows.len() as u64 {
            return Ok(Vec::new());
        }
        let written = find(&rows, sql).await?;
        let is_written = |row: &Row| written.contains(&(row.account.clone(), row.sequence));
        Ok(rows.into_iter().filter(|row| !is_written(row)).collect())
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
