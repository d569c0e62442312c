//! Queries on the local copy.

use chrono::{DateTime, NaiveDate, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, try_unfold};
use serde::de::DeserializeOwned;
use shared_types::decode::kept;
use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction};
use shared_types::xs2a::transaction::Transaction;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::AccountKey;
use super::accounts::{StoredAccount, about_account};
use super::copy::{CopyError, LocalCopy, about_entry};
use crate::accounts::AccountInformation;

/// Entries that are read at a time.
const BATCH_ROWS: i64 = 200;

/// An account in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedAccount {
    /// Key for reading its balances and transactions.
    pub key: AccountKey,
    /// Its details, `resourceId` included, as the bank gives them; balances and links are not kept
    /// with it.
    pub details: CopiedDetails,
    /// Time of the first read.
    pub first_seen: DateTime<Utc>,
    /// Since when the consent does not open it any more. Data copied before is still here.
    pub gone: Option<DateTime<Utc>>,
    /// Time of the last complete read of its transactions, pending ones included.
    pub synced: Option<DateTime<Utc>>,
    /// The first day from which on all transactions are here, up to `synced`. `None`: there is no
    /// such day that is known. Older ones may be here too, with gaps: a bank that shows less than
    /// before leaves one.
    pub since: Option<NaiveDate>,
}

/// Account details, by kind of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopiedDetails {
    /// A payment account.
    Payment(Box<AccountDetails>),
    /// A card account.
    Card(Box<CardAccountDetails>),
}

/// A balance in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedBalance {
    /// Time of the first read with this content.
    pub at: DateTime<Utc>,
    /// Time at which the bank last sent this balance. A balance that is current and was read before
    /// the account's other balances, or before [`synced`](CopiedAccount::synced), is the last that
    /// is known: the bank has not given it since.
    pub read: DateTime<Utc>,
    /// Whether it is the bank's latest balance.
    pub current: bool,
    /// The balance.
    pub balance: Balance,
}

/// A transaction in the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopiedEntry {
    /// Booked, or pending.
    pub booked: bool,
    /// The day of booking; where there is none, the nearest day that is known.
    pub day: NaiveDate,
    /// Time of the first read with this content.
    pub first_seen: DateTime<Utc>,
    /// Of a booked one that was seen pending before: since when.
    pub pending_since: Option<DateTime<Utc>>,
    /// The transaction as the bank gives it; links are not kept.
    pub transaction: CopiedTransaction,
}

/// Transaction, by kind of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopiedTransaction {
    /// Of a payment account.
    Payment(Box<Transaction>),
    /// Of a card account.
    Card(Box<CardTransaction>),
}

/// Period of transactions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Period {
    /// First day; without it, from the beginning.
    pub from: Option<NaiveDate>,
    /// Last day; without it, to the end.
    pub to: Option<NaiveDate>,
}

impl LocalCopy {
    /// The connections of which there is something, by the keys they were synchronised under.
    pub async fn connections(&self) -> Result<Vec<String>, CopyError> {
        let rows = sqlx::query("SELECT DISTINCT connection FROM account ORDER BY connection")
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok(row.try_get("connection")?))
            .collect()
    }

    /// The accounts of a connection: in the bank's order, payment accounts first, and at the end
    /// those that are gone.
    pub async fn accounts(&self, key: &str) -> Result<Vec<CopiedAccount>, CopyError> {
        let rows = sqlx::query(
            "SELECT id, card, details, first_seen, gone, synced, since FROM account WHERE connection = ? \
             ORDER BY gone IS NOT NULL, card, position < 0, position, id",
        )
        .bind(key)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| self.copied(row)).collect()
    }

    /// The account that a bank lists under that `resourceId` in that consent, if it was
    /// synchronised under it. In another consent the same id may be another account's.
    pub async fn account(
        &self,
        key: &str,
        under: &AccountInformation,
        card: bool,
        resource_id: &str,
    ) -> Result<Option<CopiedAccount>, CopyError> {
        let row = sqlx::query(
            "SELECT id, card, details, first_seen, gone, synced, since FROM account \
             WHERE connection = ? AND card = ? AND consent = ? AND resource = ?",
        )
        .bind(key)
        .bind(card)
        .bind(self.consent_digest(under.consent_id()).as_slice())
        .bind(self.resource_digest(resource_id).as_slice())
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| self.copied(&row)).transpose()
    }

    fn copied(&self, row: &SqliteRow) -> Result<CopiedAccount, CopyError> {
        let id: i64 = row.try_get("id")?;
        let kept: StoredAccount = self.opened(row, &about_account(id), "account.details")?;
        let resource_id = Some(kept.resource.clone());
        let details = if row.try_get("card")? {
            let details = kept.decode()?;
            CopiedDetails::Card(Box::new(CardAccountDetails {
                resource_id,
                ..details
            }))
        } else {
            let details = kept.decode()?;
            CopiedDetails::Payment(Box::new(AccountDetails {
                resource_id,
                ..details
            }))
        };
        let (gone, synced): (Option<i64>, Option<i64>) =
            (row.try_get("gone")?, row.try_get("synced")?);
        let since: Option<String> = row.try_get("since")?;
        Ok(CopiedAccount {
            key: AccountKey(id),
            details,
            first_seen: time(row.try_get("first_seen")?)?,
            gone: gone.map(time).transpose()?,
            synced: synced.map(time).transpose()?,
            since: since.map(|text| day(&text)).transpose()?,
        })
    }

    /// An account's balances, as the bank last gave them: of each kind, the newest first.
    pub async fn balances(&self, account: AccountKey) -> Result<Vec<CopiedBalance>, CopyError> {
        let rows = sqlx::query(
            "SELECT slot, at, read, current, details FROM balance WHERE account = ? AND current = 1 ORDER BY slot",
        )
        .bind(account.0)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| self.balance(account, row)).collect()
    }

    /// All readings of an account's balances, oldest first. Each stands once for the time
    /// in which it did not change.
    #[must_use]
    pub fn balance_history(
        &self,
        account: AccountKey,
    ) -> BoxStream<'_, Result<CopiedBalance, CopyError>> {
        sqlx::query(
            "SELECT slot, at, read, current, details FROM balance WHERE account = ? ORDER BY at, slot",
        )
        .bind(account.0)
        .fetch(&self.pool)
        .map(move |row| self.balance(account, &row?))
        .boxed()
    }

    fn balance(&self, account: AccountKey, row: &SqliteRow) -> Result<CopiedBalance, CopyError> {
        let (slot, at): (String, i64) = (row.try_get("slot")?, row.try_get("at")?);
        let about = format!("balance/{}/{slot}/{at}", account.0);
        Ok(CopiedBalance {
            at: time(at)?,
            read: time(row.try_get("read")?)?,
            current: row.try_get("current")?,
            balance: self.opened(row, &about, "balance.details")?,
        })
    }

    /// An account's transactions: pending ones first, then booked ones, each from the newest to the
    /// oldest.
    #[must_use]
    pub fn transactions(
        &self,
        account: AccountKey,
        period: Period,
    ) -> BoxStream<'_, Result<CopiedEntry, CopyError>> {
        let start = Some(Cursor::start(false, period));
        let from = text(period.from, "0000-01-01");
        try_unfold(start, move |next| {
            let from = from.clone();
            async move {
                let Some(cursor) = next else {
                    return Ok::<_, CopyError>(None);
                };
                let (entries, next) = self.entries(account, &from, period, cursor).await?;
                let entries = futures::stream::iter(entries.into_iter().map(Ok::<_, CopyError>));
                Ok(Some((entries, next)))
            }
        })
        .try_flatten()
        .boxed()
    }

    async fn entries(
        &self,
        account: AccountKey,
        from: &str,
        period: Period,
        cursor: Cursor,
    ) -> Result<(Vec<CopiedEntry>, Option<Cursor>), CopyError> {
        let rows = sqlx::query(
            "SELECT e.id, e.booked, e.sealed_for, e.day, e.place, e.first_seen, e.pending_since, \
             e.doubtful OR COALESCE((SELECT NOT b.doubtful FROM entry b WHERE b.id = e.booked_as), 0) AS hidden, \
             e.details, a.card FROM entry e JOIN account a ON a.id = e.account \
             WHERE e.account = ? AND e.booked = ? AND e.day >= ? AND (e.day, e.place, e.id) < (?, ?, ?) \
             ORDER BY e.day DESC, e.place DESC, e.id DESC LIMIT ?",
        )
        .bind(account.0)
        .bind(cursor.booked)
        .bind(from)
        .bind(&cursor.day)
        .bind(cursor.order)
        .bind(cursor.id)
        .bind(BATCH_ROWS)
        .fetch_all(&self.pool)
        .await?;
        let next = match rows.last() {
            Some(row) => Some(Cursor {
                booked: cursor.booked,
                day: row.try_get("day")?,
                order: row.try_get("place")?,
                id: row.try_get("id")?,
            }),
            None if cursor.booked => None,
            None => Some(Cursor::start(true, period)),
        };
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            // It is here as a booked one already, or in another form as long as it is not clear
            // that there are two.
            if !row.try_get::<bool, _>("hidden")? {
                entries.push(self.entry(account, row)?);
            }
        }
        Ok((entries, next))
    }

    fn entry(&self, account: AccountKey, row: &SqliteRow) -> Result<CopiedEntry, CopyError> {
        let booked = row.try_get("booked")?;
        let sealed_for: Vec<u8> = row.try_get("sealed_for")?;
        let about = about_entry(account.0, booked, &sealed_for);
        let transaction = if row.try_get("card")? {
            CopiedTransaction::Card(self.opened(row, &about, "entry.details")?)
        } else {
            CopiedTransaction::Payment(self.opened(row, &about, "entry.details")?)
        };
        let since: Option<i64> = row.try_get("pending_since")?;
        Ok(CopiedEntry {
            booked,
            day: day(&row.try_get::<String, _>("day")?)?,
            first_seen: time(row.try_get("first_seen")?)?,
            pending_since: since.map(time).transpose()?,
            transaction,
        })
    }

    pub(super) fn opened<T: DeserializeOwned>(
        &self,
        row: &SqliteRow,
        about: &str,
        what: &'static str,
    ) -> Result<T, CopyError> {
        let sealed: Vec<u8> = row.try_get("details")?;
        let plain = self.vault.open(about, &sealed)?;
        kept(&plain).map_err(|_| CopyError::Corrupt { what })
    }
}

/// Position in the list of an account's entries.
struct Cursor {
    booked: bool,
    day: String,
    order: i64,
    id: i64,
}

impl Cursor {
    fn start(booked: bool, period: Period) -> Self {
        Self {
            booked,
            day: text(period.to, "9999-12-31"),
            order: i64::MAX,
            id: i64::MAX,
        }
    }
}

fn text(day: Option<NaiveDate>, otherwise: &str) -> String {
    day.map_or_else(|| otherwise.to_owned(), |day| day.to_string())
}

fn day(text: &str) -> Result<NaiveDate, CopyError> {
    text.parse()
        .map_err(|_| CopyError::Corrupt { what: "a day" })
}

fn time(seconds: i64) -> Result<DateTime<Utc>, CopyError> {
    DateTime::from_timestamp(seconds, 0).ok_or(CopyError::Corrupt { what: "a time" })
}
