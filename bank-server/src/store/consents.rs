//! The consents, and what each of them opens.

use std::num::NonZeroU32;

use chrono::{DateTime, NaiveDate, Utc};
use shared_types::consent::{AccountAccess, ConsentRequest, ConsentStatus};
use shared_types::eidas::OrganisationId;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{Database, StoreError};
use crate::core_banking::{AccountId, PsuId};

/// A consent as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Its id on the wire.
    pub id: String,
    /// What was asked for; for a bank-offered consent, what the customer chose.
    pub access: AccountAccess,
    /// For repeated reads, or for one.
    pub recurring: bool,
    /// Last day on which it holds.
    pub valid_until: NaiveDate,
    /// Unattended reads a day.
    pub frequency_per_day: NonZeroU32,
    /// Where it stands. That its last day has passed is not written down: ask
    /// [`crate::consent::status_on`].
    pub status: ConsentStatus,
    /// When its status last changed.
    pub last_action: DateTime<Utc>,
}

/// One account that a consent opens; its details are always included.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grant {
    /// The account.
    pub account: AccountId,
    /// It can be read by itself.
    pub details: bool,
    /// Its balances too.
    pub balances: bool,
    /// Its transactions too.
    pub transactions: bool,
    /// Its owner's name too.
    pub owner_name: bool,
}

/// What storing a new consent led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored. For a repeated request: it was stored before, and this is it.
    Consent(Consent),
    /// The same request id came with another body before.
    OtherBody,
}

/// Consents in the database.
#[derive(Debug, Clone)]
pub struct Consents {
    database: Database,
}

/// A request for a consent, as it came in.
#[derive(Debug, Clone)]
pub struct NewConsent<'a> {
    /// The id it will have.
    pub id: Uuid,
    /// Who asks.
    pub tpp: &'a OrganisationId,
    /// The request's `X-Request-ID`.
    pub request_id: Uuid,
    /// Stands for the body: two requests with one id must have one digest.
    pub digest: &'a str,
    /// What is asked for.
    pub request: &'a ConsentRequest,
    /// The time.
    pub now: DateTime<Utc>,
}

pub(super) const COLUMNS: &str = "SELECT id, access, recurring, valid_until, frequency_per_day, status, last_action, request_digest FROM consent";

impl Consents {
    /// The consents in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores a consent as `received`. Once this returns, it is on disk.
    ///
    /// A request id has one effect: a second time, the consent of the first time is returned.
    pub async fn insert(&self, new: NewConsent<'_>) -> Result<Inserted, StoreError> {
        sqlx::query(
            "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, valid_until, \
             frequency_per_day, last_action) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (tpp, request_id) DO NOTHING",
        )
        .bind(new.id.to_string())
        .bind(new.tpp.as_str())
        .bind(new.request_id.to_string())
        .bind(new.digest)
        .bind(ConsentStatus::Received.as_str())
        .bind(to_json(&new.request.access)?)
        .bind(i64::from(new.request.recurring_indicator))
        .bind(new.request.valid_until.to_string())
        .bind(i64::from(new.request.frequency_per_day.get()))
        .bind(new.now.timestamp())
        .execute(self.database.pool())
        .await?;
        let row = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE tpp = $1 AND request_id = $2"
        )))
        .bind(new.tpp.as_str())
        .bind(new.request_id.to_string())
        .fetch_one(self.database.pool())
        .await?;
        if row.try_get::<String, _>("request_digest")? != new.digest {
            return Ok(Inserted::OtherBody);
        }
        consent(&row).map(Inserted::Consent)
    }

    /// That TPP's consent of that id. Another TPP's is not found, just as one that never was.
    pub async fn find(
        &self,
        tpp: &OrganisationId,
        id: &str,
    ) -> Result<Option<Consent>, StoreError> {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE id = $1 AND tpp = $2"
        )))
        .bind(id)
        .bind(tpp.as_str())
        .fetch_optional(self.database.pool())
        .await?
        .as_ref()
        .map(consent)
        .transpose()
    }

    /// That TPP's consent of that id, and what it opens.
    ///
    /// Cost: one indexed look-up for the consent and one for its accounts.
    pub async fn find_with_grants(
        &self,
        tpp: &OrganisationId,
        id: &str,
    ) -> Result<Option<(Consent, Vec<Grant>)>, StoreError> {
        let Some(consent) = self.find(tpp, id).await? else {
            return Ok(None);
        };
        let rows = sqlx::query(
            "SELECT account_id, balances, transactions FROM consent_account WHERE consent_id = $1 ORDER BY position",
        )
        .bind(id)
        .fetch_all(self.database.pool())
        .await?;
        let grants = rows.iter().map(grant).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((consent, grants)))
    }

    /// A consent by its id alone, for the customer's side.
    pub async fn find_for_customer(&self, id: &str) -> Result<Option<Consent>, StoreError> {
        sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id)
            .fetch_optional(self.database.pool())
            .await?
            .as_ref()
            .map(consent)
            .transpose()
    }

    /// Ends a consent on behalf of its TPP, if it has not ended before.
    pub async fn terminate(
        &self,
        tpp: &OrganisationId,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE consent SET status = $1, last_action = $2 \
             WHERE id = $3 AND tpp = $4 AND status IN ('received', 'partiallyAuthorised', 'valid')",
        )
        .bind(ConsentStatus::TerminatedByTpp.as_str())
        .bind(now.timestamp())
        .bind(id)
        .bind(tpp.as_str())
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Makes a `received` consent `valid`, opening exactly `grants`. Says whether it did: a consent that is no longer
    /// `received` stays as it is.
    pub async fn approve(
        &self,
        id: &str,
        psu: &PsuId,
        access: &AccountAccess,
        grants: &[Grant],
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let changed = sqlx::query(
            "UPDATE consent SET status = $1, access = $2, psu = $3, last_action = $4 \
             WHERE id = $5 AND status = 'received'",
        )
        .bind(ConsentStatus::Valid.as_str())
        .bind(to_json(access)?)
        .bind(&psu.0)
        .bind(now.timestamp())
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        for (position, grant) in (0_i64..).zip(grants) {
            sqlx::query(
                "INSERT INTO consent_account (consent_id, position, account_id, balances, transactions) \
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(id)
            .bind(position)
            .bind(&grant.account.0)
            .bind(i64::from(grant.balances))
            .bind(i64::from(grant.transactions))
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

pub(super) fn consent(row: &AnyRow) -> Result<Consent, StoreError> {
    let corrupt = |what: &'static str| StoreError::Corrupt { what };
    let access: String = row.try_get("access")?;
    let valid_until: String = row.try_get("valid_until")?;
    let status: String = row.try_get("status")?;
    let frequency: i64 = row.try_get("frequency_per_day")?;
    Ok(Consent {
        id: row.try_get("id")?,
        access: serde_json::from_str(&access).map_err(|_| corrupt("consent.access"))?,
        recurring: row.try_get::<i64, _>("recurring")? != 0,
        valid_until: valid_until
            .parse()
            .map_err(|_| corrupt("consent.valid_until"))?,
        frequency_per_day: u32::try_from(frequency)
            .ok()
            .and_then(NonZeroU32::new)
            .ok_or_else(|| corrupt("consent.frequency_per_day"))?,
        status: status.parse().map_err(|_| corrupt("consent.status"))?,
        last_action: DateTime::from_timestamp(row.try_get("last_action")?, 0)
            .ok_or_else(|| corrupt("consent.last_action"))?,
    })
}

pub(super) fn grant(row: &AnyRow) -> Result<Grant, StoreError> {
    Ok(Grant {
        account: AccountId(row.try_get("account_id")?),
        balances: row.try_get::<i64, _>("balances")? != 0,
        transactions: row.try_get::<i64, _>("transactions")? != 0,
        details: true,
        owner_name: false,
    })
}

pub(super) fn to_json(access: &AccountAccess) -> Result<String, StoreError> {
    serde_json::to_string(access).map_err(|_| StoreError::Corrupt {
        what: "consent.access",
    })
}
