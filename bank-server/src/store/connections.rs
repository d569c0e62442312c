//! Repository of connections to other banks: our consents there, and the data that was last fetched
//! under them.
//!
//! Ids of consents, links and data are sealed with the bank's own key, for one customer and one
//! bank each.

use chrono::{DateTime, NaiveDate, Utc};
use shared_types::pki::eidas::OrganisationId;
use sqlx::any::AnyRow;

use super::columns::Columns;
use super::vault::Vault;
use super::{AdvisoryLock, Database, Result, StoreError, WriteTransaction};
use crate::calendar::MAX_CLOCK_SKEW;
use crate::domain::PsuId;

/// Status of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// A consent was requested; no approval by the customer is known yet.
    Requested,
    /// The other bank serves the access that the customer has approved.
    Active,
    /// The other bank no longer serves it.
    Ended,
}

impl ConnectionStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "asked",
            Self::Active => "running",
            Self::Ended => "ended",
        }
    }

    fn read(text: &str) -> Option<Self> {
        let all = [Self::Requested, Self::Active, Self::Ended];
        all.into_iter().find(|status| status.as_str() == text)
    }
}

/// A connection, opened. It has no `Debug`: account data is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id, on our own pages.
    pub id: String,
    /// The customer.
    pub psu: PsuId,
    /// The other bank.
    pub bank: OrganisationId,
    /// Its status.
    pub status: ConnectionStatus,
    /// Time of its begin.
    pub begun: DateTime<Utc>,
    /// Time of the customer's return from the other bank.
    pub returned: Option<DateTime<Utc>>,
    /// The id of the consent at the other bank.
    pub consent: Option<String>,
    /// The id of its authorisation.
    pub authorisation: Option<String>,
    /// Link for the approval.
    pub link: Option<String>,
    /// The last day of the consent.
    pub valid_until: Option<NaiveDate>,
    /// The data that was last fetched.
    pub data: Option<Vec<u8>>,
    /// When.
    pub fetched: Option<DateTime<Utc>>,
    /// When it was last tried.
    pub tried: Option<DateTime<Utc>>,
    /// The error of the last fetch, or the reason of the end.
    pub problem: Option<String>,
}

/// A connection to store.
pub struct NewConnection<'a> {
    /// The id it will have.
    pub id: &'a str,
    /// The customer.
    pub psu: &'a PsuId,
    /// The other bank.
    pub bank: &'a OrganisationId,
    /// SHA-256 of the `state` with which the customer returns.
    pub state: &'a str,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Consent that was requested at the other bank, and the link for its approval.
pub struct RequestedConsent {
    /// The id of the consent.
    pub consent: String,
    /// The id of its authorisation, if the bank has returned it.
    pub authorisation: Option<String>,
    /// Link for the approval.
    pub link: String,
}

/// Outcome of a customer's return from another bank.
#[derive(Clone, PartialEq, Eq)]
pub enum ReturnOutcome {
    /// No connection has that state.
    Unknown,
    /// Another customer than the one who began it: the connection is removed.
    Foreign(Box<Connection>),
    /// The customer, once more.
    Repeated,
    /// The customer, for the first time.
    First(Box<Connection>),
}

/// Connections in the database.
#[derive(Clone)]
pub struct Connections {
    database: Database,
    vault: Vault,
}

const COLUMNS: &str = "id, psu, bank, status, begun, returned, consent, authorisation, link, \
    valid_until, data, fetched, tried, problem";

/// Sealed columns.
const CONSENT: &str = "consent";
const LINK: &str = "link";
const DATA: &str = "data";

impl Connections {
    /// The connections in that database.
    #[must_use]
    pub fn new(database: Database, vault: Vault) -> Self {
        Self { database, vault }
    }

    /// Stores a connection before its consent is requested. An earlier one at that bank that was
    /// not approved is removed and returned.
    pub async fn begin(&self, new: &NewConnection<'_>) -> Result<Option<Connection>> {
        let mut transaction = self.database.begin_write().await?;
        transaction.take(AdvisoryLock::Customer(new.psu)).await?;
        let earlier = self
            .remove(
                &mut transaction,
                new.psu,
                new.bank,
                ConnectionStatus::Requested,
            )
            .await?;
        sqlx::query(
            "INSERT INTO connection (id, psu, bank, status, state, begun) VALUES ($1, $2, $3, $4, \
             $5, $6)",
        )
        .bind(new.id)
        .bind(&new.psu.0)
        .bind(new.bank.as_str())
        .bind(ConnectionStatus::Requested.as_str())
        .bind(new.state)
        .bind(new.now.timestamp())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(earlier)
    }

    /// Stores the consent that was requested, and the link for its approval. Returns whether the
    /// connection still exists.
    pub async fn asked(&self, new: &NewConnection<'_>, asked: &RequestedConsent) -> Result<bool> {
        let changed = sqlx::query(
            "UPDATE connection SET consent = $1, authorisation = $2, link = $3 \
             WHERE id = $4 AND status = 'asked'",
        )
        .bind(self.seal(CONSENT, new.psu, new.bank, asked.consent.as_bytes())?)
        .bind(asked.authorisation.as_deref())
        .bind(self.seal(LINK, new.psu, new.bank, asked.link.as_bytes())?)
        .bind(new.id)
        .execute(self.database.pool())
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// All connections of a customer, in the order in which they were begun.
    ///
    /// Cost: one indexed look-up, and decrypting the sealed columns.
    pub async fn of(&self, psu: &PsuId) -> Result<Vec<Connection>> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM connection WHERE psu = $1 ORDER BY begun, id"
        )))
        .bind(&psu.0)
        .fetch_all(self.database.pool())
        .await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// That customer's connection of that id.
    pub async fn find(&self, psu: &PsuId, id: &str) -> Result<Option<Connection>> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM connection WHERE id = $1 AND psu = $2"
        )))
        .bind(id)
        .bind(&psu.0)
        .fetch_optional(self.database.pool())
        .await?
        .as_ref()
        .map(|row| self.read(row))
        .transpose()
    }

    /// Records the return of a customer. The `state` is valid once, and for the customer who began
    /// the connection. If another customer returns with it, the connection is removed: the consent
    /// was approved by the wrong person.
    pub async fn come_back(
        &self,
        psu: &PsuId,
        state: &str,
        now: DateTime<Utc>,
    ) -> Result<ReturnOutcome> {
        let mut transaction = self.database.begin_write().await?;
        let select = transaction.locked(&format!(
            "SELECT {COLUMNS} FROM connection WHERE state = $1"
        ));
        let row = sqlx::query(sqlx::AssertSqlSafe(select))
            .bind(state)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = row else {
            return Ok(ReturnOutcome::Unknown);
        };
        let connection = self.read(&row)?;
        let is_first =
            connection.returned.is_none() && connection.status == ConnectionStatus::Requested;
        let is_own = connection.psu == *psu;
        let query = match (is_first, is_own) {
            (true, true) => sqlx::query("UPDATE connection SET returned = $2 WHERE id = $1")
                .bind(&connection.id)
                .bind(now.timestamp()),
            (true, false) => {
                sqlx::query("DELETE FROM connection WHERE id = $1").bind(&connection.id)
            }
            (false, true) => return Ok(ReturnOutcome::Repeated),
            (false, false) => return Ok(ReturnOutcome::Unknown),
        };
        query.execute(&mut *transaction).await?;
        transaction.commit().await?;
        let connection = Box::new(connection);
        Ok(if is_own {
            ReturnOutcome::First(connection)
        } else {
            ReturnOutcome::Foreign(connection)
        })
    }

    /// Marks a connection as running, once its consent is approved. It replaces earlier ones at
    /// that bank, which are returned, and takes over their data. Has no effect on a connection that
    /// has been removed since.
    pub async fn take_over(
        &self,
        asked: &Connection,
        valid_until: NaiveDate,
    ) -> Result<Vec<Connection>> {
        let mut transaction = self.database.begin_write().await?;
        let (psu, bank) = (&asked.psu, &asked.bank);
        transaction.take(AdvisoryLock::Customer(psu)).await?;
        let running = self
            .remove(&mut transaction, psu, bank, ConnectionStatus::Active)
            .await?;
        let ended = self
            .remove(&mut transaction, psu, bank, ConnectionStatus::Ended)
            .await?;
        let data = running.as_ref().and_then(|old| old.data.as_deref());
        let data = data
            .map(|data| self.seal(DATA, psu, bank, data))
            .transpose()?;
        let fetched = running.as_ref().and_then(|old| old.fetched);
        let changed = sqlx::query(
            "UPDATE connection SET status = 'running', link = NULL, valid_until = $1, data = $2, \
             fetched = $3 \
             WHERE id = $4 AND status = 'asked'",
        )
        .bind(valid_until.to_string())
        .bind(data)
        .bind(fetched.map(|time| time.timestamp()))
        .bind(&asked.id)
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            // It is rolled back: the other ones stay.
            return Ok(Vec::new());
        }
        transaction.commit().await?;
        Ok([running, ended].into_iter().flatten().collect())
    }

    /// Stores fetched data.
    pub async fn keep(
        &self,
        connection: &Connection,
        data: &[u8],
        now: DateTime<Utc>,
    ) -> Result<()> {
        let sealed = self.seal(DATA, &connection.psu, &connection.bank, data)?;
        sqlx::query(
            "UPDATE connection SET data = $1, fetched = $2, tried = $2, problem = NULL \
             WHERE id = $3 AND status = 'running'",
        )
        .bind(sealed)
        .bind(now.timestamp())
        .bind(&connection.id)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Records a failed fetch and its reason. Earlier data stays.
    pub async fn failed(
        &self,
        connection: &Connection,
        problem: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE connection SET tried = $1, problem = $2 WHERE id = $3 AND status = 'running'",
        )
        .bind(now.timestamp())
        .bind(problem)
        .bind(&connection.id)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Ends a connection that the other bank no longer serves. Its data is deleted; the row stays.
    pub async fn end(
        &self,
        connection: &Connection,
        problem: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut transaction = self.database.begin_write().await?;
        let psu = &connection.psu;
        transaction.take(AdvisoryLock::Customer(psu)).await?;
        let ended = ConnectionStatus::Ended;
        self.remove(&mut transaction, psu, &connection.bank, ended)
            .await?;
        sqlx::query(
            "UPDATE connection SET status = 'ended', consent = NULL, authorisation = NULL, link = \
             NULL, data = NULL, fetched = NULL, \
             tried = $1, problem = $2 WHERE id = $3 AND status = 'running'",
        )
        .bind(now.timestamp())
        .bind(problem)
        .bind(&connection.id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Deletes a connection with its data. Returns whether there was one.
    pub async fn forget(&self, psu: &PsuId, id: &str) -> Result<bool> {
        let deleted = sqlx::query("DELETE FROM connection WHERE id = $1 AND psu = $2")
            .bind(id)
            .bind(&psu.0)
            .execute(self.database.pool())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// The ids of running connections that were last tried before that time, the longest ago first;
    /// and then of those that a clock has tried that was ahead.
    pub async fn due(
        &self,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
        most: u32,
    ) -> Result<Vec<String>> {
        let due = sqlx::query_scalar(
            "SELECT id FROM connection WHERE status = 'running' AND (tried < $1 OR tried > $2) \
             ORDER BY tried LIMIT $3",
        );
        let due = due
            .bind(before.timestamp())
            .bind((now + MAX_CLOCK_SKEW).timestamp())
            .bind(i64::from(most));
        Ok(due.fetch_all(self.database.pool()).await?)
    }

    /// Claims a connection that was not tried since that time, and returns it: replicas that find
    /// the same one due at once do not all fetch it. One that cannot be read counts as tried, too.
    pub async fn claim(
        &self,
        id: &str,
        before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Option<Connection>> {
        let claimed = sqlx::query(sqlx::AssertSqlSafe(format!(
            "UPDATE connection SET tried = $1 WHERE id = $2 AND status = 'running' AND (tried < \
             $3 OR tried > $4) RETURNING {COLUMNS}"
        )));
        let claimed = claimed.bind(now.timestamp()).bind(id);
        // To the end: before that, SQLite has given the row, and not committed that it is claimed.
        let rows = claimed
            .bind(before.timestamp())
            .bind((now + MAX_CLOCK_SKEW).timestamp())
            .fetch_all(self.database.pool())
            .await?;
        rows.first().map(|row| self.read(row)).transpose()
    }

    async fn remove(
        &self,
        transaction: &mut WriteTransaction,
        psu: &PsuId,
        bank: &OrganisationId,
        status: ConnectionStatus,
    ) -> Result<Option<Connection>> {
        let removed = sqlx::query(sqlx::AssertSqlSafe(format!(
            "DELETE FROM connection WHERE psu = $1 AND bank = $2 AND status = $3 \
             RETURNING {COLUMNS}"
        )))
        .bind(&psu.0)
        .bind(bank.as_str())
        .bind(status.as_str())
        .fetch_all(&mut **transaction)
        .await?;
        removed.first().map(|row| self.read(row)).transpose()
    }

    fn seal(
        &self,
        column: &str,
        psu: &PsuId,
        bank: &OrganisationId,
        plain: &[u8],
    ) -> Result<String> {
        self.vault
            .seal(&context(column, psu, bank), plain)
            .map_err(|_| StoreError::corrupt(&format!("connection.{column}")))
    }

    fn read(&self, row: &AnyRow) -> Result<Connection> {
        let row = Columns::of("connection", row);
        let (psu, bank): (PsuId, OrganisationId) = (row.get("psu")?, row.get("bank")?);
        let open = |column: &str| -> Result<Option<Vec<u8>>> {
            let sealed: Option<String> = row.get(column)?;
            let context = context(column, &psu, &bank);
            let opened = sealed.map(|sealed| self.vault.open(&context, &sealed));
            Ok(opened.transpose().map_err(|_| row.corrupt(column))?)
        };
        let text = |column: &str| -> Result<Option<String>> {
            let text = open(column)?.map(String::from_utf8).transpose();
            Ok(text.map_err(|_| row.corrupt(column))?)
        };
        let status: String = row.get("status")?;
        Ok(Connection {
            id: row.get("id")?,
            status: ConnectionStatus::read(&status).ok_or_else(|| row.corrupt("status"))?,
            begun: row.get("begun")?,
            returned: row.get("returned")?,
            consent: text(CONSENT)?,
            authorisation: row.get("authorisation")?,
            link: text(LINK)?,
            valid_until: row.get("valid_until")?,
            data: open(DATA)?,
            fetched: row.get("fetched")?,
            tried: row.get("tried")?,
            problem: row.get("problem")?,
            psu,
            bank,
        })
    }
}

/// Context of a seal: a value that is sealed for one customer and bank cannot be unsealed
/// for another.
fn context(column: &str, psu: &PsuId, bank: &OrganisationId) -> String {
    format!("connection/{column}/{bank}/{}", psu.0)
}

#[cfg(test)]
mod tests;
