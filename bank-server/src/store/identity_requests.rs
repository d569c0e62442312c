//! Repository of requests to the identity provider that wait for the customer's return.
//!
//! Only the SHA-256 of a request's state is stored, and its content is sealed: a copy of the
//! database redeems none.

use chrono::{DateTime, TimeDelta, Utc};
use shared_types::pki::digest;

use super::{Database, Result};
use crate::calendar::MAX_CLOCK_SKEW;

/// Time in which the customer has to return.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Requests in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRequests {
    database: Database,
}

impl IdentityRequests {
    /// The requests in that database.
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores a request, and removes those whose time is over: the table holds no more than those
    /// of the last minutes.
    pub(crate) async fn put(&self, state: &str, sealed: &str, now: DateTime<Utc>) -> Result<()> {
        let (oldest, latest) = times(now);
        let mut transaction = self.database.begin_write().await?;
        sqlx::query("DELETE FROM identity_request WHERE begun <= $1 OR begun > $2")
            .bind(oldest)
            .bind(latest)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM identity_authentication WHERE used <= $1 OR used > $2")
            .bind(oldest - LIFETIME.num_seconds())
            .bind(latest)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO identity_request (state, sealed, begun) VALUES ($1, $2, $3)")
            .bind(state)
            .bind(sealed)
            .bind(now.timestamp())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Records that an authentication of a customer, by its time at the provider, was used. Returns
    /// whether it was not used before, at any replica.
    ///
    /// It is kept as long as requests that were begun before its use can return.
    pub(crate) async fn use_authentication(
        &self,
        customer: &str,
        authenticated: i64,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let digest = digest::sha256(format!("{authenticated} {customer}").as_bytes());
        let inserted = sqlx::query(
            "INSERT INTO identity_authentication (digest, used) VALUES ($1, $2) \
             ON CONFLICT DO NOTHING",
        )
        .bind(digest)
        .bind(now.timestamp())
        .execute(self.database.pool())
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Takes a request out: each is returned once, to one replica.
    pub(crate) async fn take(&self, state: &str, now: DateTime<Utc>) -> Result<Option<String>> {
        let (oldest, latest) = times(now);
        // Reads all rows: before that, SQLite has returned the row, but not committed its deletion.
        let taken: Vec<String> = sqlx::query_scalar(
            "DELETE FROM identity_request WHERE state = $1 AND begun > $2 AND begun <= $3 \
             RETURNING sealed",
        )
        .bind(state)
        .bind(oldest)
        .bind(latest)
        .fetch_all(self.database.pool())
        .await?;
        Ok(taken.into_iter().next())
    }
}

/// Times after which, and until which, a valid request was begun. Later ones were written by a
/// clock that is ahead.
fn times(now: DateTime<Utc>) -> (i64, i64) {
    let (oldest, latest) = (now - LIFETIME, now + MAX_CLOCK_SKEW);
    (oldest.timestamp(), latest.timestamp())
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::store::tests;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
    }

    #[tokio::test]
    async fn a_request_is_taken_once_even_at_the_same_time() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database);
        requests.put("one", "sealed", at(0)).await.unwrap();
        let all = join_all((0..8).map(|_| requests.take("one", at(1)))).await;
        let taken = all.into_iter().filter_map(Result::unwrap);
        assert_eq!(taken.collect::<Vec<_>>(), ["sealed"]);
        assert_eq!(requests.take("other", at(1)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_authentication_is_used_once_even_at_the_same_time() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database);
        let together = (0..8).map(|_| requests.use_authentication("anna", 17, at(0)));
        let first = join_all(together).await.into_iter().map(Result::unwrap);
        assert_eq!(first.filter(|first| *first).count(), 1);
        for (customer, authenticated, first) in
            [("anna", 17, false), ("anna", 18, true), ("bert", 17, true)]
        {
            let used = requests
                .use_authentication(customer, authenticated, at(1))
                .await;
            assert_eq!(used.unwrap(), first, "{customer} {authenticated}");
        }
        // A request of that time can return for ten minutes, with an authentication before it.
        requests.put("later", "sealed", at(15)).await.unwrap();
        assert!(
            !requests
                .use_authentication("anna", 17, at(15))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_request_is_over_after_ten_minutes_and_its_row_goes_with_the_next() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database.clone());
        requests.put("old", "sealed", at(0)).await.unwrap();
        requests.put("ahead", "sealed", at(1000)).await.unwrap();
        // The clock that was ahead has removed the first one, and is no obstacle itself.
        requests.put("young", "sealed", at(5)).await.unwrap();
        for (state, minute, found) in [
            ("old", 5, false),
            ("ahead", 5, false),
            ("young", 15, false),
            ("young", 14, true),
        ] {
            let taken = requests.take(state, at(minute)).await.unwrap();
            assert_eq!(taken.is_some(), found, "{state} {minute}");
        }
        requests.put("late", "sealed", at(5)).await.unwrap();
        requests.put("next", "sealed", at(15)).await.unwrap();
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM identity_request")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(rows, 1);
    }
}
