//! A bank's ledger, written by the bank's own systems while TPPs read.

use bank_server::RunningBank;
use bank_server::store::{Database, WriteTransaction};
use chrono::NaiveDate;
use serde_json::{Value, json};
use sqlx::Row as _;

pub struct Ledger(Database);

/// An entry as the ledger has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    pub booked: bool,
    /// Of booking; of entry, while pending.
    pub date: NaiveDate,
    /// In the standard's form.
    pub details: Value,
}

impl Ledger {
    /// That bank's, which knows of each change at once.
    pub fn of(bank: &RunningBank) -> Self {
        Self(bank.database().clone())
    }

    /// Books an entry under that day.
    pub async fn book(&self, account: &str, id: &str, date: NaiveDate, details: Value) {
        let mut details = details;
        details["bookingDate"] = json!(date);
        self.post(account, id, true, date, details).await;
    }

    /// An entry that is pending, entered on that day.
    pub async fn pend(&self, account: &str, id: &str, date: NaiveDate, details: Value) {
        self.post(account, id, false, date, details).await;
    }

    /// A pending entry is gone: rejected, or cancelled.
    pub async fn drop_pending(&self, account: &str, id: &str) {
        let gone = sqlx::query(
            "DELETE FROM entry WHERE account = $1 AND transaction_id = $2 AND booked = 0",
        )
        .bind(account)
        .bind(id)
        .execute(self.0.pool())
        .await
        .unwrap();
        assert_eq!(gone.rows_affected(), 1, "{id} is pending");
    }

    /// A pending entry is booked, under another id.
    pub async fn settle(&self, account: &str, id: &str, new_id: &str, date: NaiveDate) {
        let found = self.entries(account).await;
        let pending = found
            .into_iter()
            .find(|entry| !entry.booked && id_of(&entry.details) == id)
            .unwrap();
        // In one transaction: no reader sees both, or neither.
        let mut sql = self.0.begin_write().await.unwrap();
        sqlx::query("DELETE FROM entry WHERE account = $1 AND transaction_id = $2")
            .bind(account)
            .bind(id)
            .execute(&mut *sql)
            .await
            .unwrap();
        let mut details = pending.details;
        details["bookingDate"] = json!(date);
        insert(&mut sql, account, new_id, true, date, details).await;
        sql.commit().await.unwrap();
    }

    /// The account's balances are others now.
    pub async fn set_balance(&self, account: &str, amount: &str) {
        let balances = json!([{
            "balanceAmount": { "currency": "EUR", "amount": amount },
            "balanceType": "interimBooked",
        }]);
        sqlx::query("UPDATE account SET balances = $1 WHERE id = $2")
            .bind(balances.to_string())
            .bind(account)
            .execute(self.0.pool())
            .await
            .unwrap();
        self.0.caches().accounts.invalidate(account);
    }

    /// The bank's balances of an account.
    pub async fn balances(&self, account: &str) -> Value {
        let row = sqlx::query("SELECT balances FROM account WHERE id = $1")
            .bind(account)
            .fetch_one(self.0.pool())
            .await
            .unwrap();
        serde_json::from_str(&row.get::<String, _>("balances")).unwrap()
    }

    /// All entries of an account, in the order of their arrival.
    pub async fn entries(&self, account: &str) -> Vec<Posted> {
        let rows = sqlx::query(
            "SELECT booked, date, details FROM entry WHERE account = $1 ORDER BY sequence",
        )
        .bind(account)
        .fetch_all(self.0.pool())
        .await
        .unwrap();
        let posted = rows.iter().map(|row| Posted {
            booked: row.get::<i64, _>("booked") == 1,
            date: row.get::<String, _>("date").parse().unwrap(),
            details: serde_json::from_str(&row.get::<String, _>("details")).unwrap(),
        });
        posted.collect()
    }

    async fn post(&self, account: &str, id: &str, booked: bool, date: NaiveDate, details: Value) {
        let mut sql = self.0.begin_write().await.unwrap();
        insert(&mut sql, account, id, booked, date, details).await;
        sql.commit().await.unwrap();
    }
}

/// `transactionId`, or for a card `cardTransactionId`.
pub fn id_of(details: &Value) -> &str {
    details["transactionId"]
        .as_str()
        .or_else(|| details["cardTransactionId"].as_str())
        .unwrap_or_default()
}

/// A payment of so many cents, to be booked or pending.
pub fn payment(cents: i64, creditor: &str) -> Value {
    let amount = format!(
        "{}{}.{:02}",
        if cents < 0 { "-" } else { "" },
        cents.abs() / 100,
        cents.abs() % 100
    );
    json!({
        "transactionAmount": { "currency": "EUR", "amount": amount },
        "creditorName": creditor,
    })
}

async fn insert(
    sql: &mut WriteTransaction,
    account: &str,
    id: &str,
    booked: bool,
    date: NaiveDate,
    mut details: Value,
) {
    let card: i64 = sqlx::query("SELECT card FROM account WHERE id = $1")
        .bind(account)
        .fetch_one(&mut **sql)
        .await
        .unwrap()
        .get("card");
    if card == 1 {
        details["cardTransactionId"] = json!(id);
        let fields = details.as_object_mut().unwrap();
        if let Some(name) = fields.remove("creditorName") {
            fields.insert("transactionDetails".to_owned(), name);
        }
    } else {
        details["transactionId"] = json!(id);
        if booked {
            details["entryReference"] = json!(id);
        }
    }
    sqlx::query(
        "INSERT INTO entry (account, booked, date, sequence, transaction_id, reference, details) \
         VALUES ($1, $2, $3, (SELECT COALESCE(MAX(sequence), 0) + 1 FROM entry WHERE account = \
         $1), $4, $5, $6)",
    )
    .bind(account)
    .bind(i64::from(booked))
    .bind(date.to_string())
    .bind(id)
    .bind(booked.then(|| id.to_owned()))
    .bind(details.to_string())
    .execute(&mut **sql)
    .await
    .unwrap();
}
