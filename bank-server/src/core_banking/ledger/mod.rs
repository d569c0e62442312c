//! The built-in ledger: a core banking system on the server's own database.

mod batch;
mod import;
mod sums;
#[cfg(test)]
mod tests;
pub mod world;

use std::collections::HashMap;
use std::fmt::Write as _;

use async_trait::async_trait;
use chrono::NaiveDate;
use serde::de::DeserializeOwned;
use shared_types::account::Balance;
use shared_types::card_account::CardTransaction;
use shared_types::transaction::Transaction;
use sqlx::Row as _;
use sqlx::any::AnyRow;

pub use self::import::{ImportError, Imported, import};
use self::world::from_json;
use super::{
    Account, AccountId, AccountKind, Arrival, Arrived, CoreBanking, CoreBankingError, Page,
    PageKey, PsuId, TransactionQuery,
};
use crate::store::{Database, StoreError};

/// The ledger. It is filled by [`import`] and otherwise only read.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
}

/// Whether the ledger has that customer, or nobody at all.
pub async fn knows(database: &Database, psu: &PsuId) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM customer WHERE id = $1) OR NOT EXISTS (SELECT 1 FROM customer) \
         THEN 1 ELSE 0 END AS known",
    )
    .bind(&psu.0)
    .fetch_one(database.pool())
    .await?;
    Ok(row.try_get::<i64, _>("known")? != 0)
}

/// Ids in one statement; more are asked for in several.
const IDS_AT_ONCE: usize = 200;

impl Ledger {
    /// The ledger in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The rows of those accounts, by id. One look-up by primary key for each id.
    async fn rows(
        &self,
        column: &str,
        ids: &[AccountId],
    ) -> Result<HashMap<String, AnyRow>, CoreBankingError> {
        let mut found = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_ONCE) {
            let mut sql =
                format!("SELECT id, card, approvals, {column} FROM account WHERE id IN (");
            for number in 1..=ids.len() {
                // Writing to a String cannot fail.
                let _ = write!(sql, "{}${number}", if number == 1 { "" } else { ", " });
            }
            sql.push(')');
            // The text is made of a constant and of numbers.
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for id in ids {
                query = query.bind(id.0.clone());
            }
            for row in query
                .fetch_all(self.database.pool())
                .await
                .map_err(failed)?
            {
                found.insert(row.try_get("id").map_err(failed)?, row);
            }
        }
        Ok(found)
    }

    /// One page: pending entries first, then booked ones, each the newest first.
    async fn page<D: DeserializeOwned>(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<D>, CoreBankingError> {
        let mut entries: Vec<(PageKey, D)> = Vec::new();
        let after_pending = query.after.is_some_and(|after| after.booked);
        let parts = [
            (false, query.status.wants_pending() && !after_pending),
            (true, query.status.wants_booked()),
        ];
        for (booked, wanted) in parts {
            // One more than asked for shows whether there is a next page.
            let room = (query.limit + 1).saturating_sub(entries.len());
            if wanted && room > 0 {
                let after = query.after.filter(|after| after.booked == booked);
                let part = match query.since {
                    Some(since) if booked => {
                        let before = after.map_or(i64::MAX, |after| after.sequence);
                        self.arrivals(account, query.from, (since, Arrival(before)), room)
                            .await?
                    }
                    _ => self.part(account, query, booked, after, room).await?,
                };
                entries.extend(part);
            }
        }
        let more = entries.len() > query.limit;
        entries.truncate(query.limit);
        let next = if more {
            entries.last().map(|(key, _)| *key)
        } else {
            None
        };
        let newest = entries
            .iter()
            .find(|(key, _)| key.booked && query.since.is_some())
            .map(|(key, _)| Arrival(key.sequence));
        let (booked, pending): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(key, _)| key.booked);
        let details =
            |entries: Vec<(PageKey, D)>| entries.into_iter().map(|(_, details)| details).collect();
        Ok(Page {
            pending: details(pending),
            booked: details(booked),
            next,
            newest,
        })
    }

    /// Booked entries that arrived between two places, the latest first: one look-up by index.
    async fn arrivals<D: DeserializeOwned>(
        &self,
        account: &AccountId,
        from: NaiveDate,
        between: (Arrival, Arrival),
        room: usize,
    ) -> Result<Vec<(PageKey, D)>, CoreBankingError> {
        let rows = sqlx::query(ARRIVALS)
            .bind(account.0.clone())
            .bind(between.0.0)
            .bind(between.1.0)
            .bind(from.to_string())
            .bind(i64::try_from(room).unwrap_or(i64::MAX))
            .fetch_all(self.database.pool())
            .await
            .map_err(failed)?;
        rows.iter().map(|row| entry(row, true)).collect()
    }

    async fn part<D: DeserializeOwned>(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
        booked: bool,
        after: Option<PageKey>,
        room: usize,
    ) -> Result<Vec<(PageKey, D)>, CoreBankingError> {
        // Everything before this place: the end of the last day, or the end of the page before.
        let before = after
            .map_or((query.to, i64::MAX), |after| (after.date, after.sequence))
            .min((query.to, i64::MAX));
        let rows = sqlx::query(
            "SELECT date, sequence, details FROM entry \
             WHERE account = $1 AND booked = $2 AND date >= $3 AND (date, sequence) < ($4, $5) \
             ORDER BY date DESC, sequence DESC LIMIT $6",
        )
        .bind(account.0.clone())
        .bind(i64::from(booked))
        .bind(query.from.to_string())
        .bind(before.0.to_string())
        .bind(before.1)
        .bind(i64::try_from(room).unwrap_or(i64::MAX))
        .fetch_all(self.database.pool())
        .await
        .map_err(failed)?;
        rows.iter().map(|row| entry(row, booked)).collect()
    }
}

/// The order of an entry's number is that of its arrival: see the migration.
const ARRIVALS: &str = "SELECT date, sequence, details FROM entry \
    WHERE account = $1 AND booked = 1 AND sequence > $2 AND sequence < $3 AND date >= $4 \
    ORDER BY sequence DESC LIMIT $5";

/// The `+` keeps the planner from walking through all that is booked on the account, in the order that is asked for.
const ARRIVAL: &str = "SELECT date, sequence FROM entry WHERE account = $1 AND reference = $2 AND +booked = 1 \
    ORDER BY sequence LIMIT 1";

#[async_trait]
impl CoreBanking for Ledger {
    async fn ready(&self) -> Result<(), CoreBankingError> {
        self.database.ready().await.map_err(failed)
    }

    async fn accounts_of(&self, psu: &PsuId) -> Result<Vec<Account>, CoreBankingError> {
        let rows = sqlx::query(
            "SELECT id, card, approvals, details, position FROM account WHERE customer = $1 \
             UNION ALL SELECT a.id, a.card, a.approvals, a.details, a.position FROM account a \
             JOIN account_holder h ON h.account = a.id WHERE h.customer = $1 ORDER BY position, id",
        )
        .bind(psu.0.clone())
        .fetch_all(self.database.pool())
        .await
        .map_err(failed)?;
        rows.iter().map(account).collect()
    }

    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Account>, CoreBankingError> {
        let rows = self.rows("details", ids).await?;
        ids.iter()
            .filter_map(|id| rows.get(&id.0))
            .map(account)
            .collect()
    }

    async fn balances(&self, ids: &[AccountId]) -> Result<Vec<Vec<Balance>>, CoreBankingError> {
        let rows = self.rows("balances", ids).await?;
        ids.iter()
            .map(|id| {
                rows.get(&id.0).map_or(Ok(Vec::new()), |row| {
                    json(row, "balances", "account.balances")
                })
            })
            .collect()
    }

    async fn transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Transaction>, CoreBankingError> {
        self.page(account, query).await
    }

    async fn transaction(
        &self,
        account: &AccountId,
        transaction_id: &str,
    ) -> Result<Option<Transaction>, CoreBankingError> {
        let row =
            sqlx::query("SELECT details FROM entry WHERE account = $1 AND transaction_id = $2")
                .bind(account.0.clone())
                .bind(transaction_id.to_owned())
                .fetch_optional(self.database.pool())
                .await
                .map_err(failed)?;
        row.map(|row| json(&row, "details", "entry.details"))
            .transpose()
    }

    async fn card_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<CardTransaction>, CoreBankingError> {
        self.page(account, query).await
    }

    fn has_deltas(&self) -> bool {
        true
    }

    async fn arrival_of(
        &self,
        account: &AccountId,
        reference: &str,
    ) -> Result<Option<Arrived>, CoreBankingError> {
        let row = sqlx::query(ARRIVAL)
            .bind(account.0.clone())
            .bind(reference.to_owned())
            .fetch_optional(self.database.pool())
            .await
            .map_err(failed)?;
        row.map(|row| {
            let (date, sequence) = place(&row)?;
            Ok(Arrived {
                place: Arrival(sequence),
                date,
            })
        })
        .transpose()
    }
}

fn entry<D: DeserializeOwned>(
    row: &AnyRow,
    booked: bool,
) -> Result<(PageKey, D), CoreBankingError> {
    let (date, sequence) = place(row)?;
    let key = PageKey {
        booked,
        date,
        sequence,
    };
    Ok((key, json(row, "details", "entry.details")?))
}

fn place(row: &AnyRow) -> Result<(NaiveDate, i64), CoreBankingError> {
    let date: String = row.try_get("date").map_err(failed)?;
    let date = date.parse().map_err(|_| corrupt("entry.date"))?;
    Ok((date, row.try_get("sequence").map_err(failed)?))
}

fn account(row: &AnyRow) -> Result<Account, CoreBankingError> {
    let kind = if row.try_get::<i64, _>("card").map_err(failed)? == 0 {
        AccountKind::Payment(Box::new(json(row, "details", "account.details")?))
    } else {
        AccountKind::Card(Box::new(json(row, "details", "account.details")?))
    };
    Ok(Account {
        id: AccountId(row.try_get("id").map_err(failed)?),
        kind,
        approvals_needed: u32::try_from(row.try_get::<i64, _>("approvals").map_err(failed)?)
            .map_err(|_| corrupt("account.approvals"))?,
    })
}

fn json<T: DeserializeOwned>(
    row: &AnyRow,
    column: &str,
    what: &'static str,
) -> Result<T, CoreBankingError> {
    let text: String = row.try_get(column).map_err(failed)?;
    from_json(&text).map_err(|_| corrupt(what))
}

fn failed(error: impl Into<StoreError>) -> CoreBankingError {
    let error: StoreError = error.into();
    if error.is_passing() {
        CoreBankingError::Unavailable(Box::new(error))
    } else {
        CoreBankingError::Failed(Box::new(error))
    }
}

fn corrupt(what: &'static str) -> CoreBankingError {
    failed(StoreError::Corrupt { what })
}
