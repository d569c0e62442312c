//! Hearing of what other replicas change.
//!
//! A trigger tells whoever listens which row has changed (LISTEN and NOTIFY, in the migration), when the change is
//! committed. This asks a few times a second over the connection that listens: the answer proves that the connection
//! lives, and comes after all that was told before.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bank_client::environment::uptime;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Executor as _, Row as _, SqlSafeStr as _, SqlStr};
use tokio::time::timeout;

use super::condition::Condition;
use super::database_location::Server;
use super::figures::Figures;
use super::pool::silent;
use super::row_cache::{Caches, STALE};

/// How often is asked.
const EVERY: Duration = Duration::from_millis(200);

/// How long an answer holds, from its question. What was changed right after that is heard with the next; should that come
/// late, trust has ended before it is stale.
const HOLDS: Duration = STALE.saturating_sub(Duration::from_millis(100));

/// How long may be waited for an answer. One that comes late gives no trust, but what was told meanwhile is not lost.
const ANSWER: Duration = Duration::from_secs(3);

/// The time of the server, in seconds since 1970.
pub(super) const SERVER_TIME: &str = "extract(epoch FROM clock_timestamp())::float8";

/// How long making the connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Listens, for as long as it is polled.
pub(super) async fn listen(
    caches: Arc<Caches>,
    server: Server,
    figures: Figures,
    condition: Arc<Condition>,
) {
    loop {
        let Err(error) = hear(&caches, &server, &condition).await;
        caches.certainty.end();
        figures.unconnected();
        tracing::warn!(%error, "changes by other replicas are not heard of; everything is read from the database");
        tokio::time::sleep(EVERY).await;
    }
}

/// Listens over one connection, for as long as it lives.
async fn hear(
    caches: &Caches,
    server: &Server,
    condition: &Condition,
) -> Result<Infallible, sqlx::Error> {
    let (mut listener, question) = soon(CONNECT, Box::pin(open(server))).await?;
    // What was told before, nobody has heard.
    caches.forget_all();
    loop {
        let (asked, before) = (uptime(), condition.before());
        let answer = soon(ANSWER, listener.fetch_one(question.clone())).await?;
        condition.told(before, answer.try_get("now")?);
        while let Some(told) = listener.next_buffered() {
            caches.forget(told.payload());
        }
        match condition.clock_is_right() {
            Ok(()) => caches.certainty.extend(asked, HOLDS),
            Err(_) => caches.certainty.end(),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The connection, and a question that has an answer only while it listens.
async fn open(server: &Server) -> Result<(PgListener, SqlStr), sqlx::Error> {
    let mut listener = PgListener::connect(server.url().as_str()).await?;
    // The schema of the tables, wherever on the path that is.
    let channel = listener
        .fetch_one(
            "SELECT 'bank_server_' || md5(n.nspname) AS channel FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('consent')",
        )
        .await?
        .try_get::<String, _>("channel")?;
    listener.listen(&channel).await?;
    // Letters, digits and underscores.
    let question = AssertSqlSafe(format!(
        "SELECT {SERVER_TIME} AS now FROM pg_listening_channels() AS channel WHERE channel = '{channel}'"
    ));
    Ok((listener, question.into_sql_str()))
}

async fn soon<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(time, answer)
        .await
        .unwrap_or_else(|_| Err(silent()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use chrono::DateTime;
    use shared_types::consent::ConsentStatus;
    use shared_types::eidas::OrganisationId;

    use super::*;
    use crate::store::consents::Consents;
    use crate::store::{Database, DatabaseLocation, testing};

    const CONSENT: &str = "\
        INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, valid_until, frequency_per_day, \
        psu, last_action, created, approve_by) VALUES ('c', 'PSDDE-BAFIN-100001', 'r', 'd', 'valid', \
        '{\"allPsd2\":\"allAccounts\"}', 1, '2027-01-01', 4, 'anna', 1790000000, 1790000000, 1790003600)";

    /// One of the replicas on a database, which listens.
    async fn replica(place: &DatabaseLocation) -> (Database, Consents) {
        let database = Database::open(place).await.unwrap();
        database.follow();
        (database.clone(), Consents::new(database))
    }

    fn tpp() -> OrganisationId {
        "PSDDE-BAFIN-100001".parse().unwrap()
    }

    async fn status(consents: &Consents) -> ConsentStatus {
        let found = consents.find_with_grants(&tpp(), "c").await.unwrap();
        found.unwrap().consent.status
    }

    /// Reads until the row is cached: a read that takes longer than the cache may be trusted caches nothing.
    async fn keep(database: &Database, consents: &Consents) {
        for _ in 0..100 {
            database.until_it_hears().await;
            assert_eq!(status(consents).await, ConsentStatus::Valid);
            if database.caches().consents.get("c").is_some() {
                return;
            }
        }
        panic!("a valid consent is never kept");
    }

    async fn end(consents: &Consents) {
        let ended = |_: &_| Some(ConsentStatus::TerminatedByTpp);
        let now = DateTime::UNIX_EPOCH;
        consents.change(&tpp(), "c", &ended, now).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_replica_changes_it_knows_at_once_and_the_others_within_a_second() {
        let (place, _folder) = testing::empty().await;
        Database::migrate(&place).await.unwrap();
        let (here, at_home) = replica(&place).await;
        let (there, elsewhere) = replica(&place).await;
        sqlx::query(CONSENT).execute(here.pool()).await.unwrap();
        keep(&here, &at_home).await;
        keep(&there, &elsewhere).await;
        end(&at_home).await;
        let ended = Instant::now();
        assert_eq!(status(&at_home).await, ConsentStatus::TerminatedByTpp);
        loop {
            let asked = ended.elapsed();
            if status(&elsewhere).await == ConsentStatus::TerminatedByTpp {
                break;
            }
            assert!(asked < STALE, "still valid after {asked:?}");
        }
    }

    #[tokio::test]
    async fn a_consent_is_known_for_its_own_tpp_alone_and_only_while_it_is_valid() {
        let (place, _folder) = testing::empty().await;
        Database::migrate(&place).await.unwrap();
        let (here, consents) = replica(&place).await;
        sqlx::query(CONSENT).execute(here.pool()).await.unwrap();
        keep(&here, &consents).await;
        let other = "PSDDE-BAFIN-100002".parse().unwrap();
        assert_eq!(consents.find_with_grants(&other, "c").await.unwrap(), None);
        end(&consents).await;
        assert_eq!(status(&consents).await, ConsentStatus::TerminatedByTpp);
        assert!(here.caches().consents.get("c").is_none());
    }
}
