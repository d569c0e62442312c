//! How far a TPP's delta reports went.
//!
//! Noting it waits for no disk flush: after a loss of power, what was reported last may be reported once more.

use sqlx::Row as _;

use super::consents::Consent;
use super::{Database, StoreError};
use crate::core_banking::{AccountId, Arrival};

/// The last reports of TPPs, in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reports {
    database: Database,
}

impl Reports {
    /// The reports in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// How far the last report of that account went that the consent's TPP got for this customer. A consent that replaces
    /// another one goes on where that left off. `None`: there was none.
    pub async fn last(
        &self,
        consent: &Consent,
        account: &AccountId,
    ) -> Result<Option<Arrival>, StoreError> {
        let row = sqlx::query(
            "SELECT arrival FROM delta_report WHERE tpp = $1 AND psu = $2 AND account = $3",
        )
        .bind(consent.tpp.to_string())
        .bind(psu(consent))
        .bind(&account.0)
        .fetch_optional(self.database.pool())
        .await?;
        Ok(row
            .map(|row| row.try_get("arrival"))
            .transpose()?
            .map(Arrival))
    }

    /// Notes that a report went so far. Of two at a time, the one that went farther counts.
    pub async fn note(
        &self,
        consent: &Consent,
        account: &AccountId,
        reached: Arrival,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO delta_report (tpp, psu, account, arrival) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tpp, psu, account) DO UPDATE SET arrival = excluded.arrival \
             WHERE excluded.arrival > delta_report.arrival",
        )
        .bind(consent.tpp.to_string())
        .bind(psu(consent))
        .bind(&account.0)
        .bind(reached.0)
        .execute(self.database.counting())
        .await?;
        Ok(())
    }
}

fn psu(consent: &Consent) -> String {
    consent
        .psu
        .as_ref()
        .map(|psu| psu.0.clone())
        .unwrap_or_default()
}
