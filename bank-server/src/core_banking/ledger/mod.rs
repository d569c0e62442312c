//! The built-in ledger: a core banking system on the server's own database.

mod batch;
mod currencies;
mod import;
mod pages;
mod statements;
mod sums;
#[cfg(test)]
mod tests;
pub mod world;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytestring::ByteString;
use serde::de::DeserializeOwned;
use shared_types::xs2a::account::Balance;
use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::transaction::Transaction;
use sqlx::FromRow;
use sqlx::any::AnyRow;

pub use self::import::{ImportError, Imported, Turnover, import};
pub use self::statements::{
    DecimalSign, Encoding, Format, ImportOptions, NewAccountHolder, import_file,
};
use super::{Arrived, CoreBanking, CoreBankingError, Listed, Page, Result, TransactionQuery};
use crate::domain::{Account, AccountId, AccountKind, PsuId};
use crate::store::columns::Columns;
use crate::store::row_cache::AccountWithBalances;
use crate::store::{Database, StoreError, placeholders};

/// The ledger. It is filled by [`import`] and otherwise only read.
#[derive(Debug, Clone)]
pub struct Ledger {
    database: Database,
}

/// Whether the ledger has that customer, or no customers at all.
pub async fn knows(database: &Database, psu: &PsuId) -> Result<bool, StoreError> {
    let known: i64 = sqlx::query_scalar(
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM customer WHERE id = $1) \
         OR NOT EXISTS (SELECT 1 FROM customer) THEN 1 ELSE 0 END",
    )
    .bind(&psu.0)
    .fetch_one(database.pool())
    .await?;
    Ok(known != 0)
}

/// The columns of an account.
const ACCOUNT: &str = "id AS account_id, card AS ledger_card, approvals AS ledger_approvals, \
    details AS ledger_details";

/// Maximum number of ids in one statement. More are split over several statements.
const IDS_AT_ONCE: usize = 200;

impl Ledger {
    /// The ledger in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The accounts with these ids, with their balances: an element for each id, `None` if there is
    /// no such account.
    ///
    /// Cost: no statement for cached accounts; one statement for each [`IDS_AT_ONCE`] of the
    /// others, with one look-up by primary key for each.
    async fn known(&self, ids: &[AccountId]) -> Result<Vec<Option<Arc<AccountWithBalances>>>> {
        let cache = &self.database.caches().accounts;
        let mut found: HashMap<&str, Arc<AccountWithBalances>> = HashMap::with_capacity(ids.len());
        let mut missing: Vec<&str> = Vec::new();
        for AccountId(id) in ids {
            match cache.get(id) {
                Some(account) => drop(found.insert(id, account)),
                None => missing.push(id),
            }
        }
        let read = cache.begin_read();
        for missing in missing.chunks(IDS_AT_ONCE) {
            for account in self.read(missing).await? {
                let account = Arc::new(account);
                let AccountId(id) = &account.0.id;
                cache.insert(read, id, Arc::clone(&account));
                if let Some(asked) = missing.iter().find(|asked| *asked == id) {
                    found.insert(asked, account);
                }
            }
        }
        let accounts = ids.iter().map(|AccountId(id)| found.get(&**id).cloned());
        Ok(accounts.collect())
    }

    async fn read(&self, ids: &[&str]) -> Result<Vec<AccountWithBalances>> {
        let ids_in = placeholders(0, ids.len());
        let sql = format!(
            "SELECT {ACCOUNT}, balances AS ledger_balances FROM account WHERE id IN {ids_in}"
        );
        // The text is made of a constant and of numbers.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
        for id in ids {
            query = query.bind((*id).to_owned());
        }
        let rows = query.fetch_all(self.database.pool()).await;
        let rows = rows.map_err(failed)?;
        rows.iter()
            .map(|row| with_balances(row).map_err(failed))
            .collect()
    }
}

/// The `+` keeps the planner from scanning all booked entries of the account in the requested
/// order.
const ARRIVAL: &str = "SELECT date, sequence FROM entry WHERE account = $1 AND reference = $2 AND \
    +booked = 1 \
    ORDER BY sequence LIMIT 1";

#[async_trait]
impl CoreBanking for Ledger {
    async fn ready(&self) -> Result<()> {
        self.database.ready().await.map_err(failed)
    }

    async fn accounts_of(&self, psu: &PsuId) -> Result<Vec<Account>> {
        // The text is made of constants.
        sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT {ACCOUNT}, position FROM account WHERE customer = $1 UNION ALL SELECT \
             {ACCOUNT}, position FROM account \
             JOIN account_holder h ON h.account = id WHERE h.customer = $1 ORDER BY position, \
             account_id"
        )))
        .bind(psu.0.clone())
        .fetch_all(self.database.pool())
        .await
        .map_err(failed)
    }

    async fn accounts(&self, ids: &[AccountId]) -> Result<Vec<Account>> {
        let known = self.known(ids).await?;
        let accounts = known.iter().flatten();
        Ok(accounts.map(|account| account.0.clone()).collect())
    }

    async fn balances(&self, ids: &[AccountId]) -> Result<Vec<Vec<Balance>>> {
        let known = self.known(ids).await?;
        let balances = |account: &Option<Arc<AccountWithBalances>>| {
            let account = account.as_ref();
            account.map_or_else(Vec::new, |account| account.1.clone())
        };
        Ok(known.iter().map(balances).collect())
    }

    async fn transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Transaction>> {
        self.page(account, query, |_, _, details| parse(details))
            .await
    }

    async fn transaction(
        &self,
        account: &AccountId,
        transaction_id: &str,
    ) -> Result<Option<Transaction>> {
        let details: Option<String> = sqlx::query_scalar(
            "SELECT details FROM entry WHERE account = $1 AND transaction_id = $2",
        )
        .bind(account.0.clone())
        .bind(transaction_id.to_owned())
        .fetch_optional(self.database.pool())
        .await
        .map_err(failed)?;
        details.as_deref().map(parse).transpose()
    }

    async fn card_transactions(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<CardTransaction>> {
        self.page(account, query, |_, _, details| parse(details))
            .await
    }

    async fn transactions_as_json(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Listed>> {
        self.page(account, query, |text, id, details| {
            Ok(listed(text, id, details))
        })
        .await
    }

    async fn card_transactions_as_json(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
    ) -> Result<Page<Listed>> {
        self.page(account, query, |text, id, details| {
            Ok(listed(text, id, details))
        })
        .await
    }

    fn has_deltas(&self) -> bool {
        true
    }

    async fn arrival_of(&self, account: &AccountId, reference: &str) -> Result<Option<Arrived>> {
        sqlx::query_as(ARRIVAL)
            .bind(account.0.clone())
            .bind(reference.to_owned())
            .fetch_optional(self.database.pool())
            .await
            .map_err(failed)
    }
}

/// Listed entry as stored: the import has validated it by the standard's rules.
fn listed(page: &ByteString, id: &str, details: &str) -> Listed {
    Listed {
        id: Some(page.slice_ref(id)),
        json: page.slice_ref(details),
    }
}

fn parse<D: DeserializeOwned>(details: &str) -> Result<D> {
    serde_json::from_str(details).map_err(|_| corrupt("entry.details"))
}

impl FromRow<'_, AnyRow> for Arrived {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("entry", row);
        Ok(Self {
            place: row.get("sequence")?,
            date: row.get("date")?,
        })
    }
}

/// The account that was read along with a consent, if the ledger has it. A row that cannot be
/// decoded is an error when the account itself is read.
#[must_use]
pub fn read_along(row: &AnyRow) -> Option<AccountWithBalances> {
    with_balances(row).ok()
}

fn with_balances(row: &AnyRow) -> sqlx::Result<AccountWithBalances> {
    let balances = Columns::of("account", row).json("ledger_balances")?;
    Ok((Account::from_row(row)?, balances))
}

/// The columns are called so wherever they are read: along with a consent as well, which has a
/// `details` of its own.
impl FromRow<'_, AnyRow> for Account {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let columns = Columns::of("account", row);
        Ok(Self {
            id: columns.get("account_id")?,
            kind: if columns.get("ledger_card")? {
                AccountKind::Card(Box::new(columns.json("ledger_details")?))
            } else {
                AccountKind::Payment(Box::new(columns.json("ledger_details")?))
            },
            approvals_needed: columns.get("ledger_approvals")?,
        })
    }
}

fn failed(error: impl Into<StoreError>) -> CoreBankingError {
    let error: StoreError = error.into();
    if error.is_transient() {
        CoreBankingError::Unavailable(Box::new(error))
    } else {
        CoreBankingError::Failed(Box::new(error))
    }
}

fn corrupt(what: &str) -> CoreBankingError {
    failed(StoreError::corrupt(what))
}
