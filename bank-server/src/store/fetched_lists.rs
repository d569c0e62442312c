//! Shared CRL cache: revocation lists that one replica has fetched, for all of them.

use std::time::Duration;

use async_trait::async_trait;

use super::{Database, Result};
use crate::calendar::MAX_CLOCK_SKEW;
use crate::transport::trust_reloader::{CacheError, CacheLookup, CrlRequest, SharedCrlCache};

/// Lists in the database. Usable on any runtime: statements run on that of the database.
#[derive(Debug, Clone)]
pub struct FetchedLists {
    database: Database,
}

/// Time after a fetch's timeout at which it counts as abandoned.
const GRACE: Duration = Duration::from_secs(5);

impl FetchedLists {
    /// The lists in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn found(self, wanted: CrlRequest) -> Result<CacheLookup> {
        match self.fetched(&wanted).await? {
            Some(list) => Ok(list),
            None if self.claim(wanted).await? => Ok(CacheLookup::Claimed),
            None => Ok(CacheLookup::InProgress),
        }
    }

    async fn fetched(&self, wanted: &CrlRequest) -> Result<Option<CacheLookup>> {
        // A newer list may be stored at the same time; this one remains valid.
        let found: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT fetched, body FROM fetched_list WHERE address = $1 AND fetched >= $2 AND \
             fetched > 0 AND fetched <= $3",
        )
        .bind(wanted.address.as_str())
        .bind(wanted.since)
        .bind(latest(wanted))
        .fetch_optional(self.database.pool())
        .await?;
        Ok(found.map(|(fetched, content)| CacheLookup::Hit { fetched, content }))
    }

    /// Claims the fetch, unless another replica has claimed it or has stored the list in the
    /// meantime.
    async fn claim(&self, wanted: CrlRequest) -> Result<bool> {
        let claim_time = i64::try_from((wanted.claim_time + GRACE).as_secs()).unwrap_or(i64::MAX);
        let claimed = sqlx::query(
            "INSERT INTO fetched_list (address, fetched, claimed, body) VALUES ($1, 0, $2, $3) \
             ON CONFLICT (address) DO UPDATE SET claimed = excluded.claimed \
             WHERE (fetched_list.claimed <= $4 OR fetched_list.claimed > $6) \
             AND (fetched_list.fetched < $5 OR fetched_list.fetched = 0 OR fetched_list.fetched > \
             $7)",
        )
        .bind(&wanted.address)
        .bind(wanted.now.saturating_add(claim_time))
        .bind(Vec::<u8>::new())
        .bind(wanted.now)
        .bind(wanted.since)
        .bind(latest(&wanted).saturating_add(claim_time))
        .bind(latest(&wanted))
        .execute(self.database.pool())
        .await?;
        Ok(claimed.rows_affected() > 0)
    }
}

/// Latest plausible time of a fetch or claim. Later ones were written by a clock that is ahead, and
/// block no fetch.
fn latest(wanted: &CrlRequest) -> i64 {
    wanted.now.saturating_add(MAX_CLOCK_SKEW.num_seconds())
}

#[async_trait]
impl SharedCrlCache for FetchedLists {
    async fn get_or_claim(&self, wanted: CrlRequest) -> Result<CacheLookup, CacheError> {
        let runtime = self.database.pool().runtime();
        Ok(runtime.spawn(self.clone().found(wanted)).await??)
    }

    async fn store(&self, address: &str, content: Vec<u8>, now: i64) -> Result<(), CacheError> {
        let (database, address) = (self.database.clone(), address.to_owned());
        let store = async move {
            sqlx::query(
                "INSERT INTO fetched_list (address, fetched, claimed, body) VALUES ($1, $2, 0, $3) \
                 ON CONFLICT (address) DO UPDATE SET fetched = excluded.fetched, claimed = 0, \
                 body = excluded.body",
            )
            .bind(address)
            .bind(now)
            .bind(content)
            .execute(database.pool())
            .await
        };
        self.database.pool().runtime().spawn(store).await??;
        Ok(())
    }

    async fn release_claim(&self, address: &str) -> Result<(), CacheError> {
        let (database, address) = (self.database.clone(), address.to_owned());
        let given_up = async move {
            sqlx::query("UPDATE fetched_list SET claimed = 0 WHERE address = $1")
                .bind(address)
                .execute(database.pool())
                .await
        };
        self.database.pool().runtime().spawn(given_up).await??;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests;

    const ADDRESS: &str = "http://ca.example/list";

    fn wanted(since: i64, now: i64) -> CrlRequest {
        CrlRequest {
            address: ADDRESS.to_owned(),
            since,
            now,
            claim_time: Duration::from_secs(10),
        }
    }

    #[tokio::test]
    async fn a_list_is_fetched_once_for_all_replicas() {
        let (database, _folder) = tests::database().await;
        let crl_cache = FetchedLists::new(database);
        let look = async |since, now| crl_cache.get_or_claim(wanted(since, now)).await.unwrap();
        let found = |fetched, content: &[u8]| CacheLookup::Hit {
            fetched,
            content: content.to_vec(),
        };
        assert_eq!(look(0, 100).await, CacheLookup::Claimed);
        assert_eq!(
            look(0, 101).await,
            CacheLookup::InProgress,
            "another has the claim"
        );
        crl_cache
            .store(ADDRESS, b"one".to_vec(), 102)
            .await
            .unwrap();
        assert_eq!(look(0, 103).await, found(102, b"one"));
        assert_eq!(look(102, 103).await, found(102, b"one"));
        assert_eq!(
            look(103, 104).await,
            CacheLookup::Claimed,
            "it is to be newer"
        );
        crl_cache
            .store(ADDRESS, b"two".to_vec(), 105)
            .await
            .unwrap();
        assert_eq!(look(103, 106).await, found(105, b"two"));
    }

    #[tokio::test]
    async fn no_replica_claims_a_fetch_once_the_list_is_there() {
        let (database, _folder) = tests::database().await;
        let crl_cache = FetchedLists::new(database);
        assert_eq!(crl_cache.fetched(&wanted(100, 101)).await.unwrap(), None);
        crl_cache
            .store(ADDRESS, b"one".to_vec(), 101)
            .await
            .unwrap();
        assert!(!crl_cache.claim(wanted(100, 101)).await.unwrap());
        assert!(crl_cache.claim(wanted(102, 102)).await.unwrap());
    }

    #[tokio::test]
    async fn a_released_or_expired_claim_can_be_taken() {
        let (database, _folder) = tests::database().await;
        let crl_cache = FetchedLists::new(database);
        let look = async |now| crl_cache.get_or_claim(wanted(0, now)).await.unwrap();
        assert_eq!(look(100).await, CacheLookup::Claimed);
        crl_cache.release_claim(ADDRESS).await.unwrap();
        assert_eq!(look(100).await, CacheLookup::Claimed);
        // The replica that held the claim has stopped.
        assert_eq!(look(114).await, CacheLookup::InProgress);
        assert_eq!(look(115).await, CacheLookup::Claimed);
    }

    #[tokio::test]
    async fn a_replica_whose_clock_is_ahead_keeps_no_list_from_the_others() {
        let (database, _folder) = tests::database().await;
        let crl_cache = FetchedLists::new(database);
        let look = async |now| crl_cache.get_or_claim(wanted(0, now)).await.unwrap();
        assert_eq!(look(1_000_000).await, CacheLookup::Claimed, "ahead");
        assert_eq!(look(100).await, CacheLookup::Claimed);
        assert_eq!(
            look(101).await,
            CacheLookup::InProgress,
            "a clock that is right has it"
        );
        crl_cache
            .store(ADDRESS, b"old".to_vec(), 1_000_000)
            .await
            .unwrap();
        assert_eq!(look(102).await, CacheLookup::Claimed);
        crl_cache
            .store(ADDRESS, b"new".to_vec(), 103)
            .await
            .unwrap();
        assert!(matches!(
            look(104).await,
            CacheLookup::Hit { fetched: 103, .. }
        ));
    }
}
