//! Access frequency: counters of reads under a consent.
//!
//! Counting waits for no disk flush: after a loss of power, the reads of the last moments may count
//! once more.

use std::num::NonZeroU32;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::counter::Counter;
use super::{Database, Result};
use crate::domain::{AccountId, Consent, Resource};

/// Counters in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Usage {
    database: Database,
    counter: Counter,
}

/// Accounts that a read under a one-off consent returns.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The accounts.
    pub accounts: &'a [AccountId],
    /// With their balances.
    pub balances: bool,
}

/// Precision of the recorded last use.
const FRESH: TimeDelta = TimeDelta::seconds(60);

impl Usage {
    /// The counts in that database. To be called on a runtime that lasts as long as this: counting
    /// is done there.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self {
            counter: Counter::start(database.clone()),
            database,
        }
    }

    /// Counts one read on that day, if the limit allows it. Returns whether it did.
    ///
    /// A read that arrives after its day has ended counts towards the current day. `latest` is the
    /// latest day that may be current on any replica: reads that were counted on a later day, by a
    /// clock that was ahead, are ignored.
    ///
    /// Cost: one statement, shared by all reads that arrive while the previous statement runs.
    pub async fn count(
        &self,
        consent: &str,
        resource: Resource<'_>,
        day: NaiveDate,
        latest: NaiveDate,
        limit: NonZeroU32,
    ) -> Result<bool> {
        let (endpoint, account, item) = resource.key();
        let key = [consent, endpoint, account, item].map(str::to_owned);
        self.counter.count(key, day, latest, limit).await
    }

    /// Counts a read under a one-off consent, if it is the first of that resource. Returns whether
    /// it was.
    ///
    /// The first read starts the time after which the consent ends. It ends at once when no
    /// resource is left to read. A consent that covers transactions does not, because each
    /// transaction has details to read.
    pub async fn once(
        &self,
        consent: &str,
        resource: Resource<'_>,
        shown: Shown<'_>,
        now: DateTime<Utc>,
        ends: DateTime<Utc>,
    ) -> Result<bool> {
        let (endpoint, account, item) = resource.key();
        let mut transaction = self.database.begin_counting().await?;
        // One at a time: of two that are read at once, the second finds nothing left.
        let lock = transaction.locked("SELECT id FROM consent WHERE id = $1");
        sqlx::query(sqlx::AssertSqlSafe(lock))
            .bind(consent)
            .fetch_optional(&mut *transaction)
            .await?;
        let counted = sqlx::query(
            "INSERT INTO consent_use (consent_id, endpoint, account, item, day, count) \
             VALUES ($1, $2, $3, $4, '', 1) ON CONFLICT (consent_id, endpoint, account, item) DO \
             NOTHING",
        )
        .bind(consent)
        .bind(endpoint)
        .bind(account)
        .bind(item)
        .execute(&mut *transaction)
        .await?;
        if counted.rows_affected() == 0 {
            return Ok(false);
        }
        transaction.mark_changed(consent);
        for account in shown.accounts {
            sqlx::query(
                "UPDATE consent_account SET seen = 1, seen_balances = CASE WHEN $1 > \
                 seen_balances THEN $1 ELSE seen_balances END \
                 WHERE consent_id = $2 AND account_id = $3",
            )
            .bind(i64::from(shown.balances))
            .bind(consent)
            .bind(&account.0)
            .execute(&mut *transaction)
            .await?;
        }
        let left: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM consent_account WHERE consent_id = $1 \
             AND (transactions = 1 OR seen = 0 OR (balances = 1 AND seen_balances = 0))",
        )
        .bind(consent)
        .fetch_one(&mut *transaction)
        .await?;
        let ends = if left == 0 { now } else { ends };
        sqlx::query(
            "UPDATE consent SET last_use = $1, \
             ends = CASE WHEN ends IS NULL OR ends > $2 THEN $2 ELSE ends END WHERE id = $3",
        )
        .bind(now.timestamp())
        .bind(ends.timestamp())
        .bind(consent)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Records that a consent is used, unless that was recorded within the last minute.
    pub async fn note(&self, consent: &Consent, now: DateTime<Utc>) -> Result<()> {
        let fresh = consent
            .last_use
            .is_some_and(|last| now.signed_duration_since(last).abs() < FRESH);
        if !fresh {
            sqlx::query("UPDATE consent SET last_use = $1 WHERE id = $2")
                .bind(now.timestamp())
                .bind(&consent.id)
                .execute(self.database.counting())
                .await?;
            self.database.caches().consents.invalidate(&consent.id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests;

    #[tokio::test]
    async fn the_last_two_resources_read_at_once_end_a_consent_for_one_read() {
        let (database, _folder) = tests::database().await;
        let usage = Usage::new(database.clone());
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let later = now + TimeDelta::minutes(20);
        let [a, b] = ["a", "b"].map(|id| AccountId(id.to_owned()));
        let run = async |statement: String| {
            let run = sqlx::query(sqlx::AssertSqlSafe(statement)).execute(database.pool());
            run.await.unwrap();
        };
        for number in 0..20 {
            let id = format!("consent {number}");
            run(format!(
                "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, \
                 recurring, valid_until, \
                 frequency_per_day, last_action) VALUES ('{id}', 'tpp', '{id}', '', 'valid', \
                 '{{}}', 0, '2027-01-01', 1, 0)"
            ))
            .await;
            for (position, account) in [&a, &b].into_iter().enumerate() {
                run(format!(
                    "INSERT INTO consent_account (consent_id, position, account_id, balances, \
                     transactions) \
                     VALUES ('{id}', {position}, '{}', 0, 0)",
                    account.0
                ))
                .await;
            }
            let read = async |account: &AccountId| {
                let shown = Shown {
                    accounts: std::slice::from_ref(account),
                    balances: false,
                };
                let resource = Resource::Account(account);
                usage.once(&id, resource, shown, now, later).await.unwrap()
            };
            let (first, second) = tokio::join!(read(&a), read(&b));
            assert!(first && second);
            let ends: i64 = sqlx::query_scalar("SELECT ends FROM consent WHERE id = $1")
                .bind(&id)
                .fetch_one(database.pool())
                .await
                .unwrap();
            assert_eq!(ends, now.timestamp(), "{id} ends late");
        }
    }
}
