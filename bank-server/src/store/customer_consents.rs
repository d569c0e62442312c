//! Repository of consents for the customer's side: the TPP, the grants, and ending a consent.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::any::AnyRow;

use super::columns::Columns;
use super::consents::{COLUMNS, Rule, by_id, change_in};
use super::{Database, Result};
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
    pub async fn find(&self, id: &str) -> Result<Option<(Consent, TppRecord)>> {
        let consent = sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1")))
            .bind(id)
            .fetch_optional(self.database.pool())
            .await?;
        Ok(match consent {
            Some(consent) => Some((consent, self.tpp_of(id).await?)),
            None => None,
        })
    }

    /// The grants of a consent.
    pub async fn grants_of(&self, id: &str) -> Result<Vec<Grant>> {
        let grants =
            sqlx::query_as("SELECT * FROM consent_account WHERE consent_id = $1 ORDER BY position");
        Ok(grants.bind(id).fetch_all(self.database.pool()).await?)
    }

    /// The consents that a customer has approved, those that hold first, then the newest, as they
    /// are written down; 200 at most.
    pub async fn given_by(&self, psu: &PsuId) -> Result<Vec<CustomerConsent>> {
        let consents: Vec<Consent> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE id IN (SELECT consent_id FROM authorisation WHERE psu = $1 \
             AND status IN ('finalised', 'exempted')) ORDER BY CASE status WHEN 'valid' THEN 0 \
             WHEN 'partiallyAuthorised' THEN 1 ELSE 2 END, last_action DESC, id \
             LIMIT 200"
        )))
        .bind(&psu.0)
        .fetch_all(self.database.pool())
        .await?;
        let mut given = Vec::with_capacity(consents.len());
        for consent in consents {
            given.push(CustomerConsent {
                status: consent.status,
                tpp: self.tpp_of(&consent.id).await?,
                grants: self.grants_of(&consent.id).await?,
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
    ) -> Result<bool> {
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

    /// The TPP of a consent.
    async fn tpp_of(&self, id: &str) -> Result<TppRecord> {
        let tpp = sqlx::query_as(
            "SELECT c.tpp, t.name, t.authority FROM consent c LEFT JOIN tpp t ON \
             t.organisation = c.tpp WHERE c.id = $1",
        );
        Ok(tpp.bind(id).fetch_one(self.database.pool()).await?)
    }
}

/// Without a record of it, the TPP has its number alone.
impl FromRow<'_, AnyRow> for TppRecord {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("tpp", row);
        let organisation: String = row.get("tpp")?;
        let name: Option<String> = row.get("name")?;
        let authority: Option<String> = row.get("authority")?;
        Ok(Self {
            name: name.unwrap_or_else(|| organisation.clone()),
            authority: authority.unwrap_or_default(),
            organisation,
        })
    }
}
