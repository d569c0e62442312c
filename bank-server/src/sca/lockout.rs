//! How often a password, or a code, may be tried.
//!
//! After five wrong ones in a row each further attempt has to wait: half a minute, doubling up to an hour. What is counted
//! together is one customer's attempts from one source: a device that she has used before, all other browsers together,
//! each TPP. Somebody who tries her password over and over slows down strangers' browsers, and nobody else; and an hour
//! is the end of it. A TPP that tries many customers is slowed down as such, too.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;

use super::{ScaError, Source};
use crate::calendar::Calendar;
use crate::core_banking::PsuId;
use crate::store::vault::Vault;
use crate::store::{Database, StoreError};

/// Attempts that nobody has to wait for: for one customer, and for all customers of one TPP together.
const FREE: i64 = 5;
const FREE_FOR_ALL: i64 = 50;

/// After that long without an attempt, all is forgotten.
const MEMORY: TimeDelta = TimeDelta::hours(24);

/// Counts the failures of one kind of secret.
pub(super) struct Lockout {
    kind: &'static str,
    database: Database,
    vault: Vault,
    calendar: Calendar,
}

/// How long after the last of so many failures the next attempt has to wait.
fn pause(failed: i64, free: i64) -> TimeDelta {
    if failed < free {
        return TimeDelta::zero();
    }
    let doublings = u32::try_from(failed - free).unwrap_or(u32::MAX).min(7);
    TimeDelta::seconds(30 * 2_i64.pow(doublings)).min(TimeDelta::hours(1))
}

impl Lockout {
    pub(super) fn new(
        kind: &'static str,
        database: Database,
        vault: Vault,
        calendar: Calendar,
    ) -> Self {
        Self {
            kind,
            database,
            vault,
            calendar,
        }
    }

    /// Counts an attempt as failed, until it has succeeded; or says how long it has to wait.
    pub(super) async fn attempt(&self, psu: &PsuId, source: Source<'_>) -> Result<(), ScaError> {
        let now = self.calendar.now();
        let mut transaction = self.database.begin_write().await?;
        sqlx::query("DELETE FROM failure WHERE last < $1")
            .bind((now - MEMORY).timestamp())
            .execute(&mut *transaction)
            .await?;
        for (bucket, free) in self.buckets(psu, source) {
            let row = sqlx::query("SELECT failed, last FROM failure WHERE bucket = $1")
                .bind(&bucket)
                .fetch_optional(&mut *transaction)
                .await?;
            if let Some(row) = row {
                let last = DateTime::<Utc>::from_timestamp(row.try_get("last")?, 0).ok_or(
                    StoreError::Corrupt {
                        what: "failure.last",
                    },
                )?;
                let until = last + pause(row.try_get("failed")?, free);
                if now < until {
                    return Err(ScaError::Locked { until });
                }
            }
            sqlx::query(
                "INSERT INTO failure (bucket, failed, last) VALUES ($1, 1, $2) \
                 ON CONFLICT (bucket) DO UPDATE SET failed = failure.failed + 1, last = excluded.last",
            )
            .bind(bucket)
            .bind(now.timestamp())
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets the failures of that source. Those that a TPP had with other customers are not forgotten for one success.
    pub(super) async fn succeeded(&self, psu: &PsuId, source: Source<'_>) -> Result<(), ScaError> {
        self.forgive(psu, source).await?;
        if let Some((bucket, _)) = self.buckets(psu, source).into_iter().next() {
            sqlx::query("DELETE FROM failure WHERE bucket = $1")
                .bind(bucket)
                .execute(self.database.pool())
                .await?;
        }
        Ok(())
    }

    /// The attempt was none: nothing was guessed.
    pub(super) async fn forgive(&self, psu: &PsuId, source: Source<'_>) -> Result<(), ScaError> {
        for (bucket, _) in self.buckets(psu, source) {
            sqlx::query("UPDATE failure SET failed = failed - 1 WHERE bucket = $1 AND failed > 0")
                .bind(bucket)
                .execute(self.database.pool())
                .await?;
        }
        Ok(())
    }

    /// Where an attempt counts, with the attempts that are free there. The names are stamps: who reads the table does not
    /// learn whom somebody tried to be.
    fn buckets(&self, psu: &PsuId, source: Source<'_>) -> Vec<(String, i64)> {
        let from = match source {
            Source::Device(id) => format!("device:{id}"),
            Source::UnknownBrowser => "browser".to_owned(),
            Source::Tpp(tpp) => format!("tpp:{tpp}"),
        };
        let stamp = |text: String| hex(&self.vault.mac(self.kind, text.as_bytes()));
        let mut buckets = vec![(stamp(format!("{from}\n{}", psu.0)), FREE)];
        if matches!(source, Source::Tpp(_)) {
            buckets.push((stamp(from), FREE_FOR_ALL));
        }
        buckets
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bank_client::environment::{Clock, ManualClock, SystemRandomness};
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_no_further() {
        let seconds: Vec<i64> = (0..16)
            .map(|failed| pause(failed, FREE).num_seconds())
            .collect();
        assert_eq!(
            seconds,
            [
                0, 0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600
            ]
        );
        assert_eq!(pause(i64::MAX, FREE), TimeDelta::hours(1));
    }

    #[tokio::test]
    async fn strangers_are_slowed_down_and_known_devices_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("bank.db"))
            .await
            .unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-24T12:00:00Z".parse().unwrap()));
        let vault = Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap();
        let calendar = Calendar::new(Arc::clone(&clock) as Arc<dyn Clock>, Tz::UTC);
        let lockout = Lockout::new("password", database, vault, calendar);
        let anna = PsuId("anna.weber".to_owned());
        let stranger = async || lockout.attempt(&anna, Source::UnknownBrowser).await;
        for _ in 0..5 {
            stranger().await.unwrap();
        }
        let Err(ScaError::Locked { until }) = stranger().await else {
            panic!("not locked")
        };
        assert_eq!(until - clock.now(), TimeDelta::seconds(30));
        lockout
            .attempt(&anna, Source::Device("hers"))
            .await
            .unwrap();
        lockout
            .attempt(&PsuId("lucas.moreau".to_owned()), Source::UnknownBrowser)
            .await
            .unwrap();
        // A refused attempt does not make the pause longer; a failed one does.
        clock.advance(TimeDelta::seconds(30));
        stranger().await.unwrap();
        clock.advance(TimeDelta::seconds(59));
        assert!(matches!(stranger().await, Err(ScaError::Locked { .. })));
        clock.advance(TimeDelta::seconds(1));
        stranger().await.unwrap();
        lockout
            .succeeded(&anna, Source::UnknownBrowser)
            .await
            .unwrap();
        stranger().await.unwrap();
    }

    #[tokio::test]
    async fn a_tpp_that_tries_many_customers_is_slowed_down() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("bank.db"))
            .await
            .unwrap();
        let clock = Arc::new(ManualClock::at("2026-11-24T12:00:00Z".parse().unwrap()));
        let vault = Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap();
        let lockout = Lockout::new("password", database, vault, Calendar::new(clock, Tz::UTC));
        let tpp = "PSDDE-BAFIN-125314".parse().unwrap();
        for number in 0..FREE_FOR_ALL {
            let psu = PsuId(format!("customer-{number}"));
            lockout.attempt(&psu, Source::Tpp(&tpp)).await.unwrap();
        }
        let next = PsuId("one-more".to_owned());
        assert!(matches!(
            lockout.attempt(&next, Source::Tpp(&tpp)).await,
            Err(ScaError::Locked { .. })
        ));
        let other = "PSDFR-ACPR-11111".parse().unwrap();
        lockout.attempt(&next, Source::Tpp(&other)).await.unwrap();
    }
}
