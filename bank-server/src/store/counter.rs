//! Counting many reads with one statement.
//!
//! A statement for each read would cost more than the rest of the read. So one statement runs at a time, and counts all
//! that have come while the one before ran. It both asks and adds, so that no two readers get the last one, on whichever
//! replica.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU32;

use chrono::NaiveDate;
use tokio::sync::{mpsc, oneshot};

use super::{Database, StoreError};

/// What is counted by itself: a consent's reads of one resource. Statements take them in this order, so that no two wait
/// for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) consent: String,
    pub(super) endpoint: String,
    pub(super) account: String,
    pub(super) item: String,
}

/// Counts in turn. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Counter(mpsc::UnboundedSender<Asked>);

/// What one statement counts has this in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct On {
    day: NaiveDate,
    latest: NaiveDate,
    limit: NonZeroU32,
}

/// A read that is to be counted.
#[derive(Debug)]
struct Asked {
    key: Key,
    on: On,
    /// With a statement of its own, because it was not counted with others.
    alone: bool,
    /// Closed if the request was given up. While its statement runs, it counts all the same.
    told: oneshot::Sender<Result<bool, StoreError>>,
}

/// Reads in one statement, each of another key. A statement is kept prepared for each number of them.
const AT_ONCE: usize = 32;

impl Counter {
    /// Begins to count, on this runtime, until all clones are gone.
    pub(super) fn start(database: Database) -> Self {
        let (asking, asked) = mpsc::unbounded_channel();
        tokio::spawn(work(database, asked));
        Self(asking)
    }

    /// Counts on `day`. A count of a day after `latest` was written by a clock that was ahead, and starts anew.
    pub(super) async fn count(
        &self,
        key: Key,
        day: NaiveDate,
        latest: NaiveDate,
        limit: NonZeroU32,
    ) -> Result<bool, StoreError> {
        // It is gone only if its runtime is, and the connections with that.
        let gone = || StoreError::Sql(sqlx::Error::PoolClosed);
        let (told, counted) = oneshot::channel();
        let asked = Asked {
            key,
            on: On { day, latest, limit },
            alone: false,
            told,
        };
        self.0.send(asked).map_err(|_| gone())?;
        counted.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn work(database: Database, mut asking: mpsc::UnboundedReceiver<Asked>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && asking.recv_many(&mut waiting, AT_ONCE).await == 0 {
            return;
        }
        while let Ok(asked) = asking.try_recv() {
            waiting.push(asked);
        }
        // A request that was given up reads nothing.
        waiting.retain(|asked| !asked.told.is_closed());
        let (batch, left) = pick(waiting);
        let again = settle(&database, batch).await;
        waiting = left;
        waiting.extend(again);
    }
}

/// What one statement counts, and who waits on. Of one key only one: a statement cannot change a row twice.
fn pick(waiting: Vec<Asked>) -> (Vec<Asked>, Vec<Asked>) {
    let (mut batch, mut left): (Vec<Asked>, _) = (Vec::new(), Vec::new());
    for asked in waiting {
        let fits = batch.first().is_none_or(|first| {
            !first.alone && !asked.alone && first.on == asked.on && batch.len() < AT_ONCE
        });
        if fits && batch.iter().all(|other| other.key != asked.key) {
            batch.push(asked);
        } else {
            left.push(asked);
        }
    }
    batch.sort_by(|one, other| one.key.cmp(&other.key));
    // Whoever has other days and limits comes next, however many there are of these.
    let on = batch.first().map(|first| first.on);
    left.sort_by_key(|asked: &Asked| Some(asked.on) == on);
    (batch, left)
}

/// Counts those. Says which are to be tried again, each alone.
async fn settle(database: &Database, batch: Vec<Asked>) -> Vec<Asked> {
    match add(database, &batch).await {
        Ok(counted) => {
            for (asked, counted) in batch.into_iter().zip(counted) {
                // Nobody may wait for it any more.
                let _ = asked.told.send(Ok(counted));
            }
            Vec::new()
        }
        // One of them is at fault, or all of them met somebody else's transaction.
        Err(StoreError::Sql(sqlx::Error::Database(_))) if batch.len() > 1 => {
            let again = |asked| Asked {
                alone: true,
                ..asked
            };
            batch.into_iter().map(again).collect()
        }
        Err(error) => {
            let text = error.to_string();
            // It cannot be cloned: of several, each is told what it says.
            let mut only = (batch.len() == 1).then_some(error);
            for asked in batch {
                let same = || StoreError::Sql(sqlx::Error::Io(io::Error::other(text.clone())));
                let _ = asked.told.send(Err(only.take().unwrap_or_else(same)));
            }
            Vec::new()
        }
    }
}

/// Counts each of them that its day has left. Says which.
async fn add(database: &Database, batch: &[Asked]) -> Result<Vec<bool>, StoreError> {
    let Some(On { day, latest, limit }) = batch.first().map(|first| first.on) else {
        return Ok(Vec::new());
    };
    // The text is made of constants and numbers.
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(statement(batch.len())))
        .bind(day.to_string())
        .bind(i64::from(limit.get()))
        .bind(latest.to_string());
    for Asked { key, .. } in batch {
        query = query
            .bind(key.consent.as_str())
            .bind(key.endpoint.as_str())
            .bind(key.account.as_str())
            .bind(key.item.as_str());
    }
    let rows: Vec<(String, String, String, String)> = query.fetch_all(database.counting()).await?;
    let key = |(consent, endpoint, account, item)| Key {
        consent,
        endpoint,
        account,
        item,
    };
    let counted: BTreeSet<Key> = rows.into_iter().map(key).collect();
    Ok(batch
        .iter()
        .map(|asked| counted.contains(&asked.key))
        .collect())
}

fn statement(reads: usize) -> String {
    let mut text =
        "INSERT INTO consent_use (consent_id, endpoint, account, item, day, count) VALUES "
            .to_owned();
    for read in 0..reads {
        let comma = if read == 0 { "" } else { ", " };
        let [consent, endpoint, account, item] = [4, 5, 6, 7].map(|number| read * 4 + number);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{comma}(${consent}, ${endpoint}, ${account}, ${item}, $1, 1)"
        );
    }
    text.push_str(
        " ON CONFLICT (consent_id, endpoint, account, item) DO UPDATE SET \
         count = CASE WHEN excluded.day > consent_use.day OR consent_use.day > $3 THEN 1 ELSE consent_use.count + 1 END, \
         day = CASE WHEN excluded.day > consent_use.day OR consent_use.day > $3 THEN excluded.day ELSE consent_use.day END \
         WHERE excluded.day > consent_use.day OR consent_use.day > $3 OR consent_use.count < $2 \
         RETURNING consent_id, endpoint, account, item",
    );
    text
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::store::testing;

    async fn with_consents(database: &Database, ids: &[&str]) {
        for id in ids {
            sqlx::query(
                "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, valid_until, \
                 frequency_per_day, last_action, created, approve_by) \
                 VALUES ($1, 'PSDDE-BAFIN-100001', $1, 'd', 'valid', '{}', 1, '2027-01-01', 4, 0, 0, 0)",
            )
            .bind(*id)
            .execute(database.pool())
            .await
            .unwrap();
        }
    }

    fn key(consent: &str, item: &str) -> Key {
        Key {
            consent: consent.to_owned(),
            endpoint: "transaction".to_owned(),
            account: "a".to_owned(),
            item: item.to_owned(),
        }
    }

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    fn limit(limit: u32) -> NonZeroU32 {
        NonZeroU32::new(limit).unwrap()
    }

    #[tokio::test]
    async fn of_all_that_come_at_once_exactly_as_many_are_counted_as_a_day_has() {
        let (database, _folder) = testing::database().await;
        with_consents(&database, &["c", "d"]).await;
        // As two replicas would.
        let counters = [
            Counter::start(database.clone()),
            Counter::start(database.clone()),
        ];
        let keys = [key("c", ""), key("c", "x"), key("d", "")];
        let reads = (0..300).map(|read| {
            let (key, limit) = (&keys[read % 3], limit(if read % 3 == 0 { 4 } else { 7 }));
            let counter = &counters[read % 2];
            async move {
                counter
                    .count(key.clone(), day(24), day(24), limit)
                    .await
                    .unwrap()
            }
        });
        let outcomes = join_all(reads).await;
        let of = |kind: usize| {
            (0..300)
                .filter(|read| read % 3 == kind && outcomes[*read])
                .count()
        };
        assert_eq!([of(0), of(1), of(2)], [4, 7, 7]);
    }

    #[tokio::test]
    async fn a_new_day_counts_from_the_start_and_an_old_one_to_the_day_that_has_begun() {
        let (database, _folder) = testing::database().await;
        with_consents(&database, &["c"]).await;
        let counter = Counter::start(database);
        let mut outcomes = Vec::new();
        let latest = day(25);
        for day in [day(24), day(24), day(24), day(25), day(24), day(24)] {
            let outcome = counter.count(key("c", ""), day, latest, limit(2));
            outcomes.push(outcome.await.unwrap());
        }
        assert_eq!(outcomes, [true, true, false, true, true, false]);
    }

    #[tokio::test]
    async fn a_count_of_a_day_that_has_not_begun_uses_up_nothing_of_today() {
        let (database, _folder) = testing::database().await;
        with_consents(&database, &["c"]).await;
        let counter = Counter::start(database);
        let mut outcomes = Vec::new();
        // A replica whose clock is a day or more ahead has counted; then those whose clocks are right do.
        for (today, latest) in [(25, 25), (25, 25), (24, 24), (24, 24), (24, 24), (25, 25)] {
            let outcome = counter.count(key("c", ""), day(today), day(latest), limit(2));
            outcomes.push(outcome.await.unwrap());
        }
        assert_eq!(outcomes, [true, true, true, true, false, true]);
    }

    #[tokio::test]
    async fn what_cannot_be_counted_spoils_nothing_for_the_others() {
        let (database, _folder) = testing::database().await;
        with_consents(&database, &["c"]).await;
        let counter = Counter::start(database);
        let reads = (0..20).map(|read| {
            // No consent has that id.
            let key = key(if read == 7 { "nobody's" } else { "c" }, &read.to_string());
            counter.count(key, day(24), day(24), limit(1))
        });
        for (read, outcome) in join_all(reads).await.into_iter().enumerate() {
            match outcome {
                Ok(took) => assert!(took && read != 7, "{read}"),
                Err(error) => assert_eq!(read, 7, "{error}"),
            }
        }
    }
}
