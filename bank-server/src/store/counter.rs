//! Batched counter of reads under a consent.
//!
//! A statement for each read would cost more than the rest of the read. So one statement runs at a
//! time, and counts all reads that arrived while the one before ran. It checks the limit and
//! increments in one step, so that two requests never get the last read, on whichever replica.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU32;

use chrono::NaiveDate;
use tokio::sync::{mpsc, oneshot};

use super::{Database, Result, StoreError};

/// Key of a counter: a consent, and the endpoint, account and item of one resource. Statements lock
/// rows in the order of the keys, so that no two deadlock.
pub(super) type Key = [String; 4];

/// Handle of the counting task. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Counter(mpsc::UnboundedSender<CountRequest>);

/// Day and limit that all counts of one statement share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DayLimit {
    day: NaiveDate,
    latest: NaiveDate,
    limit: NonZeroU32,
}

/// Request to count a read.
#[derive(Debug)]
struct CountRequest {
    key: Key,
    on: DayLimit,
    /// Count it with a statement of its own, because a shared one failed.
    is_alone: bool,
    /// Closed if the HTTP request was cancelled. Once its statement runs, the read counts all the
    /// same.
    reply: oneshot::Sender<Result<bool, StoreError>>,
}

/// Reads in one statement, each of another key. A statement is kept prepared for each number of
/// them.
const MAX_BATCH: usize = 32;

impl Counter {
    /// Starts the counting task on this runtime. It ends when all clones are dropped.
    pub(super) fn start(database: Database) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(work(database, receiver));
        Self(sender)
    }

    /// Counts on `day`. A count of a day after `latest` was written by a clock that was ahead, and
    /// starts anew.
    pub(super) async fn count(
        &self,
        key: Key,
        day: NaiveDate,
        latest: NaiveDate,
        limit: NonZeroU32,
    ) -> Result<bool> {
        // The task ends only with its runtime, and so do the connections.
        let gone = || StoreError::Sql(sqlx::Error::PoolClosed);
        let (reply, counted) = oneshot::channel();
        let request = CountRequest {
            key,
            on: DayLimit { day, latest, limit },
            is_alone: false,
            reply,
        };
        self.0.send(request).map_err(|_| gone())?;
        counted.await.unwrap_or_else(|_| Err(gone()))
    }
}

async fn work(database: Database, mut requests: mpsc::UnboundedReceiver<CountRequest>) {
    let mut waiting = Vec::new();
    loop {
        if waiting.is_empty() && requests.recv_many(&mut waiting, MAX_BATCH).await == 0 {
            return;
        }
        while let Ok(request) = requests.try_recv() {
            waiting.push(request);
        }
        // A request that was cancelled reads nothing.
        waiting.retain(|request| !request.reply.is_closed());
        let (batch, left) = pick(waiting);
        let again = count_batch(&database, batch).await;
        waiting = left;
        waiting.extend(again);
    }
}

/// Splits the requests into the batch of the next statement and the rest. A key is in a batch once:
/// a statement cannot change a row twice.
fn pick(waiting: Vec<CountRequest>) -> (Vec<CountRequest>, Vec<CountRequest>) {
    let (mut batch, mut left): (Vec<CountRequest>, _) = (Vec::new(), Vec::new());
    for request in waiting {
        let fits = batch.first().is_none_or(|first| {
            !first.is_alone
                && !request.is_alone
                && first.on == request.on
                && batch.len() < MAX_BATCH
        });
        if fits && batch.iter().all(|other| other.key != request.key) {
            batch.push(request);
        } else {
            left.push(request);
        }
    }
    batch.sort_by(|one, other| one.key.cmp(&other.key));
    // Requests of other days and limits come next, so that none of them starves.
    let on = batch.first().map(|first| first.on);
    left.sort_by_key(|request: &CountRequest| Some(request.on) == on);
    (batch, left)
}

/// Counts a batch. Returns the requests to retry, each alone.
async fn count_batch(database: &Database, batch: Vec<CountRequest>) -> Vec<CountRequest> {
    match add(database, &batch).await {
        Ok(counted) => {
            for (request, counted) in batch.into_iter().zip(counted) {
                // The receiver is dropped if the request was cancelled.
                let _ = request.reply.send(Ok(counted));
            }
            Vec::new()
        }
        // One of them is at fault, or the statement conflicted with another transaction.
        Err(StoreError::Sql(sqlx::Error::Database(_))) if batch.len() > 1 => {
            let again = |request| CountRequest {
                is_alone: true,
                ..request
            };
            batch.into_iter().map(again).collect()
        }
        Err(error) => {
            let text = error.to_string();
            // The error cannot be cloned: of several, each gets its text.
            let mut only = (batch.len() == 1).then_some(error);
            for request in batch {
                let same = || StoreError::Sql(sqlx::Error::Io(io::Error::other(text.clone())));
                let _ = request.reply.send(Err(only.take().unwrap_or_else(same)));
            }
            Vec::new()
        }
    }
}

/// Counts each read that is within its limit. Returns which were.
async fn add(database: &Database, batch: &[CountRequest]) -> Result<Vec<bool>> {
    let Some(DayLimit { day, latest, limit }) = batch.first().map(|first| first.on) else {
        return Ok(Vec::new());
    };
    // The text is made of constants and numbers.
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(statement(batch.len())))
        .bind(day.to_string())
        .bind(i64::from(limit.get()))
        .bind(latest.to_string());
    for part in batch.iter().flat_map(|request| &request.key) {
        query = query.bind(part.as_str());
    }
    let rows: Vec<(String, String, String, String)> = query.fetch_all(database.counting()).await?;
    let counted: BTreeSet<Key> = rows.into_iter().map(Key::from).collect();
    Ok(batch
        .iter()
        .map(|request| counted.contains(&request.key))
        .collect())
}

fn statement(reads: usize) -> String {
    let values = (0..reads).map(|read| {
        let [consent, endpoint, account, item] = [4, 5, 6, 7].map(|number| read * 4 + number);
        format!("(${consent}, ${endpoint}, ${account}, ${item}, $1, 1)")
    });
    let values = values.collect::<Vec<_>>().join(", ");
    format!(
        "INSERT INTO consent_use (consent_id, endpoint, account, item, day, count) VALUES {values} \
         ON CONFLICT (consent_id, endpoint, account, item) DO UPDATE SET \
         count = CASE WHEN excluded.day > consent_use.day OR consent_use.day > $3 THEN 1 ELSE \
         consent_use.count + 1 END, \
         day = CASE WHEN excluded.day > consent_use.day OR consent_use.day > $3 THEN excluded.day \
         ELSE consent_use.day END \
         WHERE excluded.day > consent_use.day OR consent_use.day > $3 OR consent_use.count < $2 \
         RETURNING consent_id, endpoint, account, item"
    )
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;
    use crate::store::tests;

    async fn with_consents(database: &Database, ids: &[&str]) {
        for id in ids {
            sqlx::query(
                "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, \
                 recurring, valid_until, \
                 frequency_per_day, last_action, created, approve_by) \
                 VALUES ($1, 'PSDDE-BAFIN-100001', $1, 'd', 'valid', '{}', 1, '2027-01-01', 4, 0, \
                 0, 0)",
            )
            .bind(*id)
            .execute(database.pool())
            .await
            .unwrap();
        }
    }

    fn key(consent: &str, item: &str) -> Key {
        [consent, "transaction", "a", item].map(str::to_owned)
    }

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 11, day).unwrap()
    }

    fn limit(limit: u32) -> NonZeroU32 {
        NonZeroU32::new(limit).unwrap()
    }

    #[tokio::test]
    async fn of_all_that_come_at_once_exactly_as_many_are_counted_as_a_day_has() {
        let (database, _folder) = tests::database().await;
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
        let (database, _folder) = tests::database().await;
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
        let (database, _folder) = tests::database().await;
        with_consents(&database, &["c"]).await;
        let counter = Counter::start(database);
        let mut outcomes = Vec::new();
        // A replica whose clock is a day or more ahead has counted; then those whose clocks are
        // right do.
        for (today, latest) in [(25, 25), (25, 25), (24, 24), (24, 24), (24, 24), (25, 25)] {
            let outcome = counter.count(key("c", ""), day(today), day(latest), limit(2));
            outcomes.push(outcome.await.unwrap());
        }
        assert_eq!(outcomes, [true, true, true, true, false, true]);
    }

    #[tokio::test]
    async fn what_cannot_be_counted_spoils_nothing_for_the_others() {
        let (database, _folder) = tests::database().await;
        with_consents(&database, &["c"]).await;
        let counter = Counter::start(database);
        let reads = (0..20).map(|read| {
            // No consent has that id.
            let key = key(if read == 7 { "unknown" } else { "c" }, &read.to_string());
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
