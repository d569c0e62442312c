//! Test handle for a sandbox bank's ledger.
//!
//! Writes entries and balances to the bank's database, as its core banking system does while TPPs
//! read.

use bank_server::RunningBank;
use bank_server::store::{Database, WriteTransaction};
use chrono::NaiveDate;
use serde_json::{Value, json};
use sqlx::Row as _;

/// The ledger of one running bank.
pub struct Ledger(Database);

/// A row of the table `entry`.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerEntry {
    /// Whether it is booked. Otherwise, it is pending.
    pub is_booked: bool,
    /// Booking date, or the date of entry while it is pending.
    pub date: NaiveDate,
    /// The transaction as the JSON object of the Berlin Group's schema.
    pub details: Value,
}

impl Ledger {
    /// The ledger of this bank. It shares the bank's database handle, so that the bank's cache does
    /// not serve old data after a change.
    pub fn of(bank: &RunningBank) -> Self {
        Self(bank.database().clone())
    }

    /// Adds a booked entry with this booking date.
    pub async fn book(&self, account: &str, id: &str, date: NaiveDate, details: Value) {
        let mut details = details;
        details["bookingDate"] = json!(date);
        self.add(account, id, true, date, details).await;
    }

    /// Adds a pending entry with this date of entry.
    pub async fn add_pending(&self, account: &str, id: &str, date: NaiveDate, details: Value) {
        self.add(account, id, false, date, details).await;
    }

    /// Removes a pending entry, as after a rejection or cancellation.
    pub async fn remove_pending(&self, account: &str, id: &str) {
        let result = sqlx::query(
            "DELETE FROM entry WHERE account = $1 AND transaction_id = $2 AND booked = 0",
        )
        .bind(account)
        .bind(id)
        .execute(self.0.pool())
        .await
        .unwrap();
        assert_eq!(result.rows_affected(), 1, "{id} is pending");
    }

    /// Replaces a pending entry by a booked one with a new id.
    pub async fn book_pending(&self, account: &str, id: &str, new_id: &str, date: NaiveDate) {
        let entries = self.entries(account).await;
        let pending = entries
            .into_iter()
            .find(|entry| !entry.is_booked && transaction_id(&entry.details) == id)
            .unwrap();
        // One database transaction, so that each reader sees exactly one of the two entries.
        let mut transaction = self.0.begin_write().await.unwrap();
        sqlx::query("DELETE FROM entry WHERE account = $1 AND transaction_id = $2")
            .bind(account)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .unwrap();
        let mut details = pending.details;
        details["bookingDate"] = json!(date);
        insert(&mut transaction, account, new_id, true, date, details).await;
        transaction.commit().await.unwrap();
    }

    /// Opens one more account for that customer, with the details of another.
    pub async fn open_account(&self, customer: &str) {
        sqlx::query(
            "INSERT INTO account (id, customer, position, card, details, balances, approvals) \
             SELECT 'opened', customer, 1000, card, details, balances, approvals FROM account \
             WHERE customer = $1 AND card = 0 ORDER BY position LIMIT 1",
        )
        .bind(customer)
        .execute(self.0.pool())
        .await
        .unwrap();
    }

    /// Replaces the account's balances by this booked balance in EUR.
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

    /// The account's balances, as stored.
    pub async fn balances(&self, account: &str) -> Value {
        let row = sqlx::query("SELECT balances FROM account WHERE id = $1")
            .bind(account)
            .fetch_one(self.0.pool())
            .await
            .unwrap();
        serde_json::from_str(&row.get::<String, _>("balances")).unwrap()
    }

    /// All entries of an account, in order of arrival.
    pub async fn entries(&self, account: &str) -> Vec<LedgerEntry> {
        let rows = sqlx::query(
            "SELECT booked, date, details FROM entry WHERE account = $1 ORDER BY sequence",
        )
        .bind(account)
        .fetch_all(self.0.pool())
        .await
        .unwrap();
        let entries = rows.iter().map(|row| LedgerEntry {
            is_booked: row.get::<i64, _>("booked") == 1,
            date: row.get::<String, _>("date").parse().unwrap(),
            details: serde_json::from_str(&row.get::<String, _>("details")).unwrap(),
        });
        entries.collect()
    }

    async fn add(&self, account: &str, id: &str, booked: bool, date: NaiveDate, details: Value) {
        let mut transaction = self.0.begin_write().await.unwrap();
        insert(&mut transaction, account, id, booked, date, details).await;
        transaction.commit().await.unwrap();
    }
}

/// Returns `transactionId`, or `cardTransactionId` on a card account.
pub fn transaction_id(details: &Value) -> &str {
    details["transactionId"]
        .as_str()
        .or_else(|| details["cardTransactionId"].as_str())
        .unwrap_or_default()
}

/// Details of a payment of `cents` in EUR. A negative amount is a debit.
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
    transaction: &mut WriteTransaction,
    account: &str,
    id: &str,
    booked: bool,
    date: NaiveDate,
    mut details: Value,
) {
    let is_card_account: i64 = sqlx::query("SELECT card FROM account WHERE id = $1")
        .bind(account)
        .fetch_one(&mut **transaction)
        .await
        .unwrap()
        .get("card");
    if is_card_account == 1 {
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
    .execute(&mut **transaction)
    .await
    .unwrap();
}
