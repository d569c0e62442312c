//! Repository of requests to the identity provider that wait for the customer's return.
//!
//! Only the SHA-256 of a request's state is stored, and its content is sealed: a copy of the
//! database redeems none. A request counts for two limits, of its source and of all, until it ends
//! in a log-in or an approval, or until its time is over: so a browser that returns without one
//! has not made room for the next.

use chrono::{DateTime, TimeDelta, Utc};
use shared_types::pki::digest;

use super::{Database, Result};
use crate::calendar::MAX_CLOCK_SKEW;

/// Time in which the customer has to return.
pub(super) const LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Requests of one source in that time that have led to no log-in and no approval.
const MAX_OF_SOURCE: i64 = 100;

/// The same of all sources together: with about a kilobyte each, 20 MB.
const MAX_OF_ALL: i64 = 20_000;

/// Requests beyond that limit which are left for known devices, so that strangers do not keep
/// customers out.
const RESERVED: i64 = 20_000;

/// Requests in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRequests {
    database: Database,
}

/// Name of a request: that of its source, and the digest of its state.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestName {
    source: String,
    name: String,
}

impl RequestName {
    /// The request with that state, which begins with the name of its source.
    pub(crate) fn of(source: &str, state: &str) -> Self {
        let digest = digest::sha256(state.as_bytes());
        Self {
            source: source.to_owned(),
            name: format!("{source}{digest}"),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }
}

/// Limit of open requests that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestLimit {
    #[error("{MAX_OF_SOURCE} requests of this network or device have not been completed")]
    Source,
    #[error("{MAX_OF_ALL} requests have not been completed, or {} with known devices", MAX_OF_ALL + RESERVED)]
    All,
}

impl IdentityRequests {
    /// The requests in that database.
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores a request, and removes those whose time is over: the table holds no more than those
    /// of the last minutes. Returns the limit that is reached, if one is, and stores nothing then.
    ///
    /// Cost: counts at most the rows of the limits, in the index. Replicas that store at the same
    /// time can exceed the limits by as many.
    pub(crate) async fn put(
        &self,
        request: &RequestName,
        sealed: &str,
        is_known_device: bool,
        now: DateTime<Utc>,
    ) -> Result<Option<RequestLimit>> {
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
        let of_all: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM identity_request")
            .fetch_one(&mut *transaction)
            .await?;
        let of_source: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM identity_request WHERE state >= $1 AND state < $2",
        )
        .bind(&request.source)
        // After every character of a digest.
        .bind(format!("{}~", request.source))
        .fetch_one(&mut *transaction)
        .await?;
        let reserved = if is_known_device { RESERVED } else { 0 };
        let limit = if of_source >= MAX_OF_SOURCE {
            Some(RequestLimit::Source)
        } else {
            (of_all >= MAX_OF_ALL + reserved).then_some(RequestLimit::All)
        };
        if limit.is_none() {
            sqlx::query("INSERT INTO identity_request (state, sealed, begun) VALUES ($1, $2, $3)")
                .bind(request.as_str())
                .bind(sealed)
                .bind(now.timestamp())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(limit)
    }

    /// Records that an authentication of a customer, by its time at the provider, was used, and
    /// removes its request. Returns whether it was not used before, at any replica.
    ///
    /// It is kept as long as requests that were begun before its use can return.
    pub(crate) async fn use_authentication(
        &self,
        request: &RequestName,
        customer: &str,
        authenticated: i64,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let digest = digest::sha256(format!("{authenticated} {customer}").as_bytes());
        let mut transaction = self.database.begin_write().await?;
        let inserted = sqlx::query(
            "INSERT INTO identity_authentication (digest, used) VALUES ($1, $2) \
             ON CONFLICT DO NOTHING",
        )
        .bind(digest)
        .bind(now.timestamp())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM identity_request WHERE state = $1")
            .bind(request.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// Takes the content of a request: each is returned once, to one replica. Its row remains.
    pub(crate) async fn take(
        &self,
        request: &RequestName,
        now: DateTime<Utc>,
    ) -> Result<Option<String>> {
        let (oldest, latest) = times(now);
        let sealed: Option<String> = sqlx::query_scalar(
            "SELECT sealed FROM identity_request WHERE state = $1 AND begun > $2 AND begun <= $3",
        )
        .bind(request.as_str())
        .bind(oldest)
        .bind(latest)
        .fetch_optional(self.database.pool())
        .await?;
        let taken = sqlx::query(
            "UPDATE identity_request SET sealed = '' WHERE state = $1 AND sealed <> ''",
        )
        .bind(request.as_str())
        .execute(self.database.pool())
        .await?;
        Ok(sealed.filter(|_| taken.rows_affected() == 1))
    }

    /// Removes a request that could not be sent.
    pub(crate) async fn remove(&self, request: &RequestName) -> Result<()> {
        sqlx::query("DELETE FROM identity_request WHERE state = $1")
            .bind(request.as_str())
            .execute(self.database.pool())
            .await?;
        Ok(())
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

    fn of_anna(state: &str) -> RequestName {
        RequestName::of("anna's network", state)
    }

    async fn rows(database: &Database) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM identity_request")
            .fetch_one(database.pool())
            .await
            .unwrap()
    }

    /// Stores so many requests of a source.
    async fn fill(database: &Database, source: &str, requests: i64) {
        let statement = "INSERT INTO identity_request (state, sealed, begun) \
            WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < $1) \
            SELECT $2 || CAST(n AS TEXT), 'sealed', $3 FROM number";
        sqlx::query(statement)
            .bind(requests)
            .bind(source)
            .bind(at(0).timestamp())
            .execute(database.pool())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_request_is_taken_once_even_at_the_same_time() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database);
        let one = of_anna("one");
        requests.put(&one, "sealed", false, at(0)).await.unwrap();
        let all = join_all((0..8).map(|_| requests.take(&one, at(1)))).await;
        let taken = all.into_iter().filter_map(Result::unwrap);
        assert_eq!(taken.collect::<Vec<_>>(), ["sealed"]);
        let other = requests.take(&of_anna("other"), at(1)).await.unwrap();
        assert_eq!(other, None);
    }

    #[tokio::test]
    async fn an_authentication_is_used_once_even_at_the_same_time() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database);
        let request = of_anna("one");
        let together = (0..8).map(|_| requests.use_authentication(&request, "anna", 17, at(0)));
        let first = join_all(together).await.into_iter().map(Result::unwrap);
        assert_eq!(first.filter(|first| *first).count(), 1);
        for (customer, authenticated, first) in
            [("anna", 17, false), ("anna", 18, true), ("bert", 17, true)]
        {
            let used = requests
                .use_authentication(&request, customer, authenticated, at(1))
                .await;
            assert_eq!(used.unwrap(), first, "{customer} {authenticated}");
        }
        // A request of that time can return for ten minutes, with an authentication before it.
        let later = of_anna("later");
        requests.put(&later, "sealed", false, at(15)).await.unwrap();
        let used = requests.use_authentication(&later, "anna", 17, at(15));
        assert!(!used.await.unwrap());
    }

    #[tokio::test]
    async fn a_request_is_over_after_ten_minutes_and_its_row_goes_with_the_next() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database.clone());
        for (state, minute) in [("old", 0), ("ahead", 1000), ("young", 5)] {
            // The clock that was ahead has removed the first one, and is no obstacle itself.
            let name = of_anna(state);
            let put = requests.put(&name, "sealed", false, at(minute)).await;
            assert_eq!(put.unwrap(), None);
        }
        for (state, minute, found) in [("old", 5, false), ("ahead", 5, false), ("young", 14, true)]
        {
            let taken = requests.take(&of_anna(state), at(minute)).await.unwrap();
            assert_eq!(taken.is_some(), found, "{state} {minute}");
        }
        let late = of_anna("late");
        requests.put(&late, "sealed", false, at(5)).await.unwrap();
        assert_eq!(requests.take(&late, at(15)).await.unwrap(), None);
        requests
            .put(&of_anna("next"), "sealed", false, at(15))
            .await
            .unwrap();
        assert_eq!(rows(&database).await, 1);
    }

    #[tokio::test]
    async fn one_source_holds_a_hundred_requests_and_only_success_or_time_makes_room() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database.clone());
        fill(&database, "anna's network", MAX_OF_SOURCE - 1).await;
        let last = of_anna("last");
        assert_eq!(
            requests.put(&last, "sealed", false, at(1)).await.unwrap(),
            None
        );
        let put = async |request: &RequestName, minute| {
            requests
                .put(request, "sealed", false, at(minute))
                .await
                .unwrap()
        };
        let further = of_anna("further");
        let full = Some(RequestLimit::Source);
        assert_eq!(put(&further, 1).await, full);
        // An answer alone makes no room.
        assert!(requests.take(&last, at(1)).await.unwrap().is_some());
        assert_eq!(put(&further, 1).await, full);
        // Another source has a limit of its own.
        let other = RequestName::of("bert's network", "other");
        assert_eq!(put(&other, 1).await, None);
        let used = requests.use_authentication(&last, "anna", 17, at(1));
        assert!(used.await.unwrap());
        assert_eq!(put(&further, 1).await, None);
        assert_eq!(put(&of_anna("one more"), 1).await, full);
        assert_eq!(put(&of_anna("one more"), 10).await, None);
    }

    #[tokio::test]
    async fn all_sources_together_have_a_limit_too() {
        let (database, _folder) = tests::database().await;
        let requests = IdentityRequests::new(database.clone());
        fill(&database, "many networks", MAX_OF_ALL).await;
        let one = of_anna("one");
        let put = async |is_known_device, minute| {
            let put = requests.put(&one, "sealed", is_known_device, at(minute));
            put.await.unwrap()
        };
        let full = Some(RequestLimit::All);
        assert_eq!(put(false, 1).await, full);
        assert_eq!(rows(&database).await, MAX_OF_ALL);
        fill(&database, "many devices", RESERVED - 1).await;
        assert_eq!(put(true, 1).await, None);
        assert_eq!(put(true, 1).await, full);
        assert_eq!(put(false, 11).await, None);
        assert_eq!(rows(&database).await, 1);
    }
}
