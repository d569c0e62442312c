//! Repository of consents for the customer's side: the TPP, the grants, and ending a consent.

use chrono::{DateTime, Utc};
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::consents::{COLUMNS, Rule, by_id, change_in, consent, grant};
use super::{Database, StoreError};
use crate::domain::{Consent, CustomerConsent, Grant, PsuId, TppRecord};

/// Consents by id alone, not by TPP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CustomerConsents {
    database: Database,
}

impl CustomerConsents {
    /// The consents in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// A consent by its id alone, and its TPP.
    pub async fn find(&self, id: &str) -> Result<Option<(Consent, TppRecord)>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id)
            .fetch_optional(self.database.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (tpp, _) = self.use_of(id).await?;
        Ok(Some((consent(&row)?, tpp)))
    }

    /// The grants of a consent.
    pub async fn grants_of(&self, id: &str) -> Result<Vec<Grant>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM consent_account WHERE consent_id = $1 ORDER BY position")
                .bind(id)
                .fetch_all(self.database.pool())
                .await?;
        rows.iter().map(grant).collect()
    }

    /// The consents that a customer has approved, those that hold first, then the newest, as they
    /// are written down; 200 at most.
    pub async fn given_by(&self, psu: &PsuId) -> Result<Vec<CustomerConsent>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE id IN (SELECT consent_id FROM authorisation WHERE psu = $1 \
             AND status IN ('finalised', 'exempted')) ORDER BY CASE status WHEN 'valid' THEN 0 \
             WHEN 'partiallyAuthorised' THEN 1 ELSE 2 END, last_action DESC, id \
             LIMIT 200"
        )))
        .bind(&psu.0)
        .fetch_all(self.database.pool())
        .await?;
        let mut given = Vec::with_capacity(rows.len());
        for row in &rows {
            let consent = consent(row)?;
            let (tpp, last_used) = self.use_of(&consent.id).await?;
            let grants = self.grants_of(&consent.id).await?;
            given.push(CustomerConsent {
                status: consent.status,
                tpp,
                grants,
                last_used,
                consent,
            });
        }
        Ok(given)
    }

    /// Changes the status of a consent that the customer has approved, as the rule returns it.
    /// Returns whether it changed.
    pub async fn change(
        &self,
        psu: &PsuId,
        id: &str,
        rule: Rule<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.database.begin_write().await?;
        let found = by_id(&mut transaction, id).await?;
        let approved = sqlx::query(
            "SELECT 1 AS approved FROM authorisation WHERE consent_id = $1 AND psu = $2 \
             AND status IN ('finalised', 'exempted') LIMIT 1",
        )
        .bind(id)
        .bind(&psu.0)
        .fetch_optional(&mut *transaction)
        .await?;
        let changed = match found.filter(|_| approved.is_some()) {
            Some(consent) => change_in(&mut transaction, &consent, rule, now).await?,
            None => false,
        };
        transaction.commit().await?;
        Ok(changed)
    }

    /// The TPP of a consent, and when it was last used.
    async fn use_of(&self, id: &str) -> Result<(TppRecord, Option<DateTime<Utc>>), StoreError> {
        let row = sqlx::query(
            "SELECT c.tpp, c.last_use, t.name, t.authority FROM consent c LEFT JOIN tpp t ON \
             t.organisation = c.tpp \
             WHERE c.id = $1",
        )
        .bind(id)
        .fetch_one(self.database.pool())
        .await?;
        let last_use: Option<i64> = row.try_get("last_use")?;
        let last_use = last_use.map(|last| {
            DateTime::from_timestamp(last, 0).ok_or(StoreError::Corrupt {
                what: "consent.last_use",
            })
        });
        Ok((tpp(&row)?, last_use.transpose()?))
    }
}

/// Without a record of it, the TPP has its number alone.
fn tpp(row: &AnyRow) -> Result<TppRecord, StoreError> {
    let organisation: String = row.try_get("tpp")?;
    let name: Option<String> = row.try_get("name")?;
    let authority: Option<String> = row.try_get("authority")?;
    Ok(TppRecord {
        name: name.unwrap_or_else(|| organisation.clone()),
        authority: authority.unwrap_or_default(),
        organisation,
    })
}
