//! Positions of delta reports: up to which entry a TPP has been served.
//!
//! Recording one waits for no disk flush: after a loss of power, the last entries may be reported
//! once more.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

use super::vault::Vault;
use super::{Database, Result};
use crate::domain::{AccountId, Arrival, Consent};

/// The last reports of TPPs, in the database; customers are digests under the bank's own key. Cheap
/// to clone.
#[derive(Clone)]
pub struct Reports {
    database: Database,
    vault: Vault,
}

/// Precision of the time of the last report. Within this time, it is not updated.
const FRESH: TimeDelta = TimeDelta::days(1);

impl Reports {
    /// The reports in that database.
    #[must_use]
    pub fn new(database: Database, vault: Vault) -> Self {
        Self { database, vault }
    }

    /// Last arrival in the latest delta report that the consent's TPP received for this customer
    /// and account. A consent continues the reports of the one that it replaces. `None` if there
    /// was no report.
    pub async fn last(&self, consent: &Consent, account: &AccountId) -> Result<Option<Arrival>> {
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT arrival FROM delta_report WHERE tpp = $1 AND psu = $2 AND account = $3",
        )
        .bind(consent.tpp.to_string())
        .bind(self.psu(consent))
        .bind(&account.0)
        .fetch_optional(self.database.pool())
        .await?;
        Ok(last.map(Arrival))
    }

    /// Notes that a report went so far at that time. Of two at a time, the one that went farther
    /// counts.
    pub async fn note(
        &self,
        consent: &Consent,
        account: &AccountId,
        reached: Arrival,
        now: DateTime<Utc>,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO delta_report (tpp, psu, account, arrival, noted) VALUES ($1, $2, $3, $4, \
             $5) \
             ON CONFLICT (tpp, psu, account) DO UPDATE SET noted = excluded.noted, arrival = \
             CASE WHEN excluded.arrival > delta_report.arrival THEN excluded.arrival ELSE \
             delta_report.arrival END \
             WHERE excluded.arrival > delta_report.arrival OR delta_report.noted < $6 OR \
             delta_report.noted > $7",
        )
        .bind(consent.tpp.to_string())
        .bind(self.psu(consent))
        .bind(&account.0)
        .bind(reached.0)
        .bind(now.timestamp())
        .bind((now - FRESH).timestamp())
        .bind((now + FRESH).timestamp())
        .execute(self.database.counting())
        .await?;
        Ok(())
    }

    /// The customer, for that TPP alone.
    fn psu(&self, consent: &Consent) -> String {
        let psu = consent.psu.as_ref().map_or("", |psu| &psu.0);
        let of_tpp = format!("{}\n{psu}", consent.tpp);
        URL_SAFE_NO_PAD.encode(self.vault.mac("delta-report", of_tpp.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared_types::environment::SystemRandomness;

    use super::*;
    use crate::domain::PsuId;
    use crate::store::consents::Consents;
    use crate::store::tests;

    const CONSENT: &str = "\
        INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, \
        valid_until, frequency_per_day, \
        psu, last_action, created, approve_by) VALUES ('c', 'PSDDE-BAFIN-100001', 'r', 'd', \
        'valid', \
        '{\"allPsd2\":\"allAccounts\"}', 1, '2027-01-01', 4, 'anna', 1790000000, 1790000000, \
        1790003600)";

    #[tokio::test]
    async fn reports_go_on_for_a_customer_who_is_not_named_and_say_when_they_were_noted() {
        let (database, _folder) = tests::database().await;
        sqlx::query(CONSENT).execute(database.pool()).await.unwrap();
        let consents = Consents::new(database.clone());
        let tpp = "PSDDE-BAFIN-100001".parse().unwrap();
        let found = consents.find_with_grants(&tpp, "c").await.unwrap();
        let mut consent = Arc::unwrap_or_clone(found.unwrap()).consent;
        let vault = Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap();
        let reports = Reports::new(database.clone(), vault);
        let account = AccountId("a".to_owned());
        let day = |day| DateTime::UNIX_EPOCH + TimeDelta::days(day);
        for (arrival, now, reached, noted) in [
            (5, day(100), 5, day(100)),
            (5, day(101), 5, day(100)),
            (4, day(102), 5, day(102)),
            (6, day(103), 6, day(103)),
            // By a clock that is right again.
            (6, day(50), 6, day(50)),
        ] {
            let note = reports.note(&consent, &account, Arrival(arrival), now);
            note.await.unwrap();
            let last = reports.last(&consent, &account).await.unwrap();
            assert_eq!(last, Some(Arrival(reached)), "{now}");
            let (psu, at): (String, i64) = sqlx::query_as("SELECT psu, noted FROM delta_report")
                .fetch_one(database.pool())
                .await
                .unwrap();
            assert_eq!(at, noted.timestamp(), "{now}");
            assert!(!psu.contains("anna"), "{psu}");
        }
        consent.psu = Some(PsuId("ben".to_owned()));
        assert_eq!(reports.last(&consent, &account).await.unwrap(), None);
    }
}
