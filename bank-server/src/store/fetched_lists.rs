//! Revocation lists that one replica has fetched, for all of them.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;

use super::{Database, StoreError};
use crate::calendar::MAX_CLOCK_SKEW;
use crate::transport::trust_reloader::{Look, SharedCrlCache, ShelfError, Wanted};

/// Lists in the database. Can be asked on any runtime: the database is asked on its own.
#[derive(Debug, Clone)]
pub struct FetchedLists {
    database: Database,
}

/// How much later than it must have ended a fetch counts as abandoned.
const GRACE: Duration = Duration::from_secs(5);

impl FetchedLists {
    /// The lists in that database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn found(self, wanted: Wanted) -> Result<Look, StoreError> {
        match self.fetched(&wanted).await? {
            Some(list) => Ok(list),
            None if self.claim(wanted).await? => Ok(Look::Ours),
            None => Ok(Look::Wait),
        }
    }

    async fn fetched(&self, wanted: &Wanted) -> Result<Option<Look>, StoreError> {
        // Who puts another one in place meanwhile does not keep this one from being read, and good.
        let row = sqlx::query(
            "SELECT fetched, body FROM fetched_list WHERE address = $1 AND fetched >= $2 AND fetched > 0 AND fetched <= $3",
        )
        .bind(wanted.address.as_str())
        .bind(wanted.since)
        .bind(latest(wanted))
        .fetch_optional(self.database.pool())
        .await?;
        row.map(|row| {
            Ok(Look::Fetched {
                fetched: row.try_get("fetched")?,
                content: row.try_get("body")?,
            })
        })
        .transpose()
    }

    /// Takes the turn, unless another one has it, or has put the list down in the meantime.
    async fn claim(&self, wanted: Wanted) -> Result<bool, StoreError> {
        let turn = i64::try_from((wanted.turn + GRACE).as_secs()).unwrap_or(i64::MAX);
        let claimed = sqlx::query(
            "INSERT INTO fetched_list (address, fetched, claimed, body) VALUES ($1, 0, $2, $3) \
             ON CONFLICT (address) DO UPDATE SET claimed = excluded.claimed \
             WHERE (fetched_list.claimed <= $4 OR fetched_list.claimed > $6) \
             AND (fetched_list.fetched < $5 OR fetched_list.fetched = 0 OR fetched_list.fetched > $7)",
        )
        .bind(&wanted.address)
        .bind(wanted.now.saturating_add(turn))
        .bind(Vec::<u8>::new())
        .bind(wanted.now)
        .bind(wanted.since)
        .bind(latest(&wanted).saturating_add(turn))
        .bind(latest(&wanted))
        .execute(self.database.pool())
        .await?;
        Ok(claimed.rows_affected() > 0)
    }
}

/// What was fetched or claimed later than that, a clock has written that was ahead: it keeps no list from being fetched.
fn latest(wanted: &Wanted) -> i64 {
    wanted.now.saturating_add(MAX_CLOCK_SKEW.num_seconds())
}

#[async_trait]
impl SharedCrlCache for FetchedLists {
    async fn look(&self, wanted: Wanted) -> Result<Look, ShelfError> {
        let runtime = self.database.pool().runtime();
        Ok(runtime.spawn(self.clone().found(wanted)).await??)
    }

    async fn put(&self, address: &str, content: Vec<u8>, now: i64) -> Result<(), ShelfError> {
        let (database, address) = (self.database.clone(), address.to_owned());
        let put = async move {
            sqlx::query(
                "INSERT INTO fetched_list (address, fetched, claimed, body) VALUES ($1, $2, 0, $3) \
                 ON CONFLICT (address) DO UPDATE SET fetched = excluded.fetched, claimed = 0, body = excluded.body",
            )
            .bind(address)
            .bind(now)
            .bind(content)
            .execute(database.pool())
            .await
        };
        self.database.pool().runtime().spawn(put).await??;
        Ok(())
    }

    async fn give_up(&self, address: &str) -> Result<(), ShelfError> {
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
    use crate::store::testing;

    const ADDRESS: &str = "http://ca.example/list";

    fn wanted(since: i64, now: i64) -> Wanted {
        Wanted {
            address: ADDRESS.to_owned(),
            since,
            now,
            turn: Duration::from_secs(10),
        }
    }

    #[tokio::test]
    async fn one_fetches_and_the_others_have_what_it_fetched() {
        let (database, _folder) = testing::database().await;
        let crl_cache = FetchedLists::new(database);
        let look = async |since, now| crl_cache.look(wanted(since, now)).await.unwrap();
        let found = |fetched, content: &[u8]| Look::Fetched {
            fetched,
            content: content.to_vec(),
        };
        assert_eq!(look(0, 100).await, Look::Ours);
        assert_eq!(look(0, 101).await, Look::Wait, "another has the turn");
        crl_cache.put(ADDRESS, b"one".to_vec(), 102).await.unwrap();
        assert_eq!(look(0, 103).await, found(102, b"one"));
        assert_eq!(look(102, 103).await, found(102, b"one"));
        assert_eq!(look(103, 104).await, Look::Ours, "it is to be newer");
        crl_cache.put(ADDRESS, b"two".to_vec(), 105).await.unwrap();
        assert_eq!(look(103, 106).await, found(105, b"two"));
    }

    #[tokio::test]
    async fn nobody_takes_the_turn_once_the_list_is_there() {
        let (database, _folder) = testing::database().await;
        let crl_cache = FetchedLists::new(database);
        assert_eq!(crl_cache.fetched(&wanted(100, 101)).await.unwrap(), None);
        crl_cache.put(ADDRESS, b"one".to_vec(), 101).await.unwrap();
        assert!(!crl_cache.claim(wanted(100, 101)).await.unwrap());
        assert!(crl_cache.claim(wanted(102, 102)).await.unwrap());
    }

    #[tokio::test]
    async fn a_turn_that_comes_to_nothing_goes_to_the_next() {
        let (database, _folder) = testing::database().await;
        let crl_cache = FetchedLists::new(database);
        let look = async |now| crl_cache.look(wanted(0, now)).await.unwrap();
        assert_eq!(look(100).await, Look::Ours);
        crl_cache.give_up(ADDRESS).await.unwrap();
        assert_eq!(look(100).await, Look::Ours);
        // Whoever had it is gone without a word.
        assert_eq!(look(114).await, Look::Wait);
        assert_eq!(look(115).await, Look::Ours);
    }

    #[tokio::test]
    async fn a_replica_whose_clock_is_ahead_keeps_no_list_from_the_others() {
        let (database, _folder) = testing::database().await;
        let crl_cache = FetchedLists::new(database);
        let look = async |now| crl_cache.look(wanted(0, now)).await.unwrap();
        assert_eq!(look(1_000_000).await, Look::Ours, "ahead");
        assert_eq!(look(100).await, Look::Ours);
        assert_eq!(look(101).await, Look::Wait, "a clock that is right has it");
        crl_cache
            .put(ADDRESS, b"old".to_vec(), 1_000_000)
            .await
            .unwrap();
        assert_eq!(look(102).await, Look::Ours);
        crl_cache.put(ADDRESS, b"new".to_vec(), 103).await.unwrap();
        assert!(matches!(
            look(104).await,
            Look::Fetched { fetched: 103, .. }
        ));
    }
}
