//! Repository of consents for requests of customers, who approve, list and revoke them.
//!
//! [`Consents`](super::consents::Consents) serves the requests of TPPs: it finds a consent only for
//! the TPP that owns it. Here a consent is found by its id alone.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use sqlx::any::AnyRow;

use super::columns::Columns;
use super::consents::{COLUMNS, Rule, by_id, change_in};
use super::{Database, Result};
use crate::domain::{Consent, CustomerConsent, Grant, PsuId, TppRecord};

/// Consents as customers access them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CustomerConsents {
    database: Database,
}

impl CustomerConsents {
    /// Repository on this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The consent with this id, of any TPP, and that TPP.
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

    /// The grants of a consent: the accounts that it covers, with the data that can be read.
    pub async fn grants_of(&self, id: &str) -> Result<Vec<Grant>> {
        let grants =
            sqlx::query_as("SELECT * FROM consent_account WHERE consent_id = $1 ORDER BY position");
        Ok(grants.bind(id).fetch_all(self.database.pool()).await?)
    }

    /// The consents that a customer has approved, 200 at most: valid ones first, then partially
    /// authorised ones, then all others; within each of these groups, the latest action first.
    ///
    /// The status is the stored one, even if the consent has expired since.
    pub async fn approved_by(&self, psu: &PsuId) -> Result<Vec<CustomerConsent>> {
        let consents: Vec<Consent> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "{COLUMNS} WHERE id IN (SELECT consent_id FROM authorisation WHERE psu = $1 \
             AND status IN ('finalised', 'exempted')) ORDER BY CASE status WHEN 'valid' THEN 0 \
             WHEN 'partiallyAuthorised' THEN 1 ELSE 2 END, last_action DESC, id \
             LIMIT 200"
        )))
        .bind(&psu.0)
        .fetch_all(self.database.pool())
        .await?;
        let mut approved = Vec::with_capacity(consents.len());
        for consent in consents {
            approved.push(CustomerConsent {
                status: consent.status,
                tpp: self.tpp_of(&consent.id).await?,
                grants: self.grants_of(&consent.id).await?,
                consent,
            });
        }
        Ok(approved)
    }

    /// Changes the status of a consent to the one that `rule` returns, if the customer has approved
    /// the consent. Returns whether the status changed.
    pub async fn change(
        &self,
        psu: &PsuId,
        id: &str,
        rule: Rule<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut transaction = self.database.begin_write().await?;
        let consent = by_id(&mut transaction, id).await?;
        let approval = sqlx::query(
            "SELECT 1 AS approved FROM authorisation WHERE consent_id = $1 AND psu = $2 \
             AND status IN ('finalised', 'exempted') LIMIT 1",
        )
        .bind(id)
        .bind(&psu.0)
        .fetch_optional(&mut *transaction)
        .await?;
        let changed = match consent.filter(|_| approval.is_some()) {
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

/// If the table `tpp` has no row for the TPP, its authorisation number stands in for the name, and
/// the authority is empty.
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
