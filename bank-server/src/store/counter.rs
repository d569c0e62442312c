//! Counting many reads with one statement.
//!
//! A statement for each read would cost more than the rest of the read. So one statement runs at a time, and counts all
//! that have come while the one before ran. It both asks and adds, so that no two readers get the last one, on whichever
//! replica.

use std::fmt::Write as _;
use std::io;
use std::num::NonZeroU32;

use chrono::NaiveDate;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tokio::sync::{mpsc, oneshot};

use super::{Database, StoreError};

/// What is counted by itself: a consent's reads of one resource. Statements take them in this order, so that no two wait
/// for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) consent: String,
    pub(super) endpoint: &'static str,
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
    limit: NonZeroU32,
}

/// A read that is to be counted. There are never more than there are open requests.
#[derive(Debug)]
struct Asked {
    key: Key,
    on: On,
    /// With a statement of its own, because it was not counted with others.
    alone: bool,
    /// If the request was given up meanwhile, nobody waits for it. It counts all the same.
    told: oneshot::Sender<Result<bool, StoreError>>,
}

/// Keys in one statement: one for each number of them is kept prepared.
const FULL: usize = 32;

impl Counter {
    /// Begins to count, on this runtime, until all clones are gone.
    pub(super) fn start(database: Database) -> Self {
        let (asking, asked) = mpsc::unbounded_channel();
        tokio::spawn(work(database, asked));
        Self(asking)
    }

    pub(super) async fn count(
        &self,
        key: Key,
        day: NaiveDate,
        limit: NonZeroU32,
    ) -> Result<bool, StoreError> {
        // It is gone only if its runtime is, and the connections with that.
        let gone = || StoreError::Sql(sqlx::Error::PoolClosed);
        let (told, counted) = oneshot::channel();
        let asked = Asked {
            key,
            on: On { day, limit },
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
        if waiting.is_empty() && asking.recv_many(&mut waiting, FULL).await == 0 {
            return;
        }
        while let Ok(asked) = asking.try_recv() {
            waiting.push(asked);
        }
        waiting = turn(&database, waiting).await;
    }
}

/// Counts some of those that wait, and says who still does.
async fn turn(database: &Database, waiting: Vec<Asked>) -> Vec<Asked> {
    let (on, mut groups, mut waiting) = pick(waiting);
    let Some(on) = on else {
        return waiting;
    };
    groups.sort_by(|one, other| one[0].key.cmp(&other[0].key));
    let number: usize = groups.iter().map(Vec::len).sum();
    let again = |asked: Asked| Asked {
        alone: true,
        ..asked
    };
    match add(database, &groups, on).await {
        Ok(counted) => {
            for (group, counted) in groups.into_iter().zip(counted) {
                if counted || group.len() == 1 {
                    if !counted {
                        waiting = refuse(waiting, &group[0]);
                    }
                    for asked in group {
                        // Nobody may wait for it any more.
                        let _ = asked.told.send(Ok(counted));
                    }
                } else {
                    // Not as many as that are left.
                    waiting.splice(0..0, group.into_iter().map(again));
                }
            }
        }
        // One of them is at fault, or all of them met somebody else's transaction.
        Err(StoreError::Sql(sqlx::Error::Database(_))) if number > 1 => {
            waiting.splice(0..0, groups.into_iter().flatten().map(again));
        }
        Err(error) => {
            let text = error.to_string();
            let mut error = Some(error);
            for asked in groups.into_iter().flatten() {
                let same = || StoreError::Sql(sqlx::Error::Io(io::Error::other(text.clone())));
                let _ = asked.told.send(Err(error.take().unwrap_or_else(same)));
            }
        }
    }
    waiting
}

/// What one statement counts, by key, and who waits on. Of one key never more than a day has.
fn pick(waiting: Vec<Asked>) -> (Option<On>, Vec<Vec<Asked>>, Vec<Asked>) {
    let mut groups: Vec<Vec<Asked>> = Vec::new();
    let mut left = Vec::new();
    let on = waiting.first().map(|first| first.on);
    for asked in waiting {
        let limit = usize::try_from(asked.on.limit.get()).unwrap_or(usize::MAX);
        let closed = Some(asked.on) != on
            || groups.first().is_some_and(|first| first[0].alone)
            || (asked.alone && !groups.is_empty());
        let room = groups.len() < FULL;
        let group = groups.iter_mut().find(|group| group[0].key == asked.key);
        match group {
            Some(group) if !closed && group.len() < limit => group.push(asked),
            None if !closed && room => groups.push(vec![asked]),
            _ => left.push(asked),
        }
    }
    (on, groups, left)
}

/// Where one read is too many, so is each that comes after it on that day.
fn refuse(waiting: Vec<Asked>, refused: &Asked) -> Vec<Asked> {
    let (same, others): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .partition(|asked| asked.key == refused.key && asked.on == refused.on);
    for asked in same {
        let _ = asked.told.send(Ok(false));
    }
    others
}

/// Counts those groups, each as a whole or not at all. Says which.
async fn add(database: &Database, groups: &[Vec<Asked>], on: On) -> Result<Vec<bool>, StoreError> {
    // The text is made of constants and numbers.
    let mut query = sqlx::query(sqlx::AssertSqlSafe(statement(groups.len())))
        .bind(on.day.to_string())
        .bind(i64::from(on.limit.get()));
    for group in groups {
        let key = &group[0].key;
        query = query
            .bind(key.consent.as_str())
            .bind(key.endpoint)
            .bind(key.account.as_str())
            .bind(key.item.as_str())
            .bind(i64::try_from(group.len()).unwrap_or(i64::MAX));
    }
    let rows = query.fetch_all(database.counting()).await?;
    let mut counted = vec![false; groups.len()];
    for row in &rows {
        for (group, counted) in groups.iter().zip(&mut counted) {
            *counted |= is_of(row, &group[0].key)?;
        }
    }
    Ok(counted)
}

fn is_of(row: &AnyRow, key: &Key) -> Result<bool, sqlx::Error> {
    for (column, value) in [
        ("consent_id", key.consent.as_str()),
        ("account", &key.account),
        ("item", &key.item),
        ("endpoint", key.endpoint),
    ] {
        if row.try_get::<String, _>(column)? != value {
            return Ok(false);
        }
    }
    Ok(true)
}

fn statement(groups: usize) -> String {
    let mut text =
        "INSERT INTO consent_use (consent_id, endpoint, account, item, day, count) VALUES "
            .to_owned();
    for group in 0..groups {
        let comma = if group == 0 { "" } else { ", " };
        let [consent, endpoint, account, item, count] =
            [3, 4, 5, 6, 7].map(|number| group * 5 + number);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{comma}(${consent}, ${endpoint}, ${account}, ${item}, $1, ${count})"
        );
    }
    text.push_str(
        " ON CONFLICT (consent_id, endpoint, account, item) DO UPDATE SET \
         count = CASE WHEN excluded.day > consent_use.day THEN excluded.count ELSE consent_use.count + excluded.count END, \
         day = CASE WHEN excluded.day > consent_use.day THEN excluded.day ELSE consent_use.day END \
         WHERE excluded.day > consent_use.day OR consent_use.count + excluded.count <= $2 \
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
            endpoint: "transaction",
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
            async move { counter.count(key.clone(), day(24), limit).await.unwrap() }
        });
        let counted = join_all(reads).await;
        let of = |kind: usize| {
            (0..300)
                .filter(|read| read % 3 == kind && counted[*read])
                .count()
        };
        assert_eq!([of(0), of(1), of(2)], [4, 7, 7]);
    }

    #[tokio::test]
    async fn a_new_day_counts_from_the_start_and_an_old_one_to_the_day_that_has_begun() {
        let (database, _folder) = testing::database().await;
        with_consents(&database, &["c"]).await;
        let counter = Counter::start(database);
        let mut counted = Vec::new();
        for day in [day(24), day(24), day(24), day(25), day(24), day(24)] {
            counted.push(counter.count(key("c", ""), day, limit(2)).await.unwrap());
        }
        assert_eq!(counted, [true, true, false, true, true, false]);
    }

    #[tokio::test]
    async fn what_cannot_be_counted_spoils_nothing_for_the_others() {
        let (database, _folder) = testing::database().await;
        with_consents(&database, &["c"]).await;
        let counter = Counter::start(database);
        let reads = (0..20).map(|read| {
            // No consent has that id.
            let key = key(if read == 7 { "nobody's" } else { "c" }, &read.to_string());
            counter.count(key, day(24), limit(1))
        });
        for (read, counted) in join_all(reads).await.into_iter().enumerate() {
            match counted {
                Ok(counted) => assert!(counted && read != 7, "{read}"),
                Err(error) => assert_eq!(read, 7, "{error}"),
            }
        }
    }
}
