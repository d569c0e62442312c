//! Cache invalidation by PostgreSQL `LISTEN/NOTIFY`.
//!
//! A trigger (in the migration) notifies all replicas of a changed row when the change is
//! committed. The listener polls the server a few times a second over the connection that listens:
//! the response proves that the connection lives, and comes after all notifications before it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use shared_types::environment::uptime;
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, Executor as _, Row as _, SqlSafeStr as _, SqlStr};
use tokio::time::timeout;

use super::health::DatabaseHealth;
use super::metrics::DatabaseMetrics;
use super::pool::timed_out;
use super::row_cache::{Caches, STALE};
use crate::config::Server;

/// Interval of the poll.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Validity of a poll, from its start. A change right after it arrives with the next poll; if that
/// is late, the caches are bypassed before a row is stale.
const POLL_VALIDITY: Duration = STALE.saturating_sub(Duration::from_millis(100));

/// Timeout of a poll. A late response extends no validity; the notifications before it are not
/// lost.
const POLL_TIMEOUT: Duration = Duration::from_secs(3);

/// The time of the server, in seconds since 1970.
pub(super) const SERVER_TIME: &str = "extract(epoch FROM clock_timestamp())::float8";

/// Timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Listens and reconnects, for as long as it is polled.
pub(super) async fn listen(
    caches: Arc<Caches>,
    server: Server,
    metrics: DatabaseMetrics,
    health: Arc<DatabaseHealth>,
) {
    loop {
        let Err(error) = receive(&caches, &server, &health).await;
        caches.freshness.expire();
        metrics.unconnected();
        tracing::warn!(%error, "cache invalidation disconnected, bypassing the caches");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Listens over one connection, until it fails.
async fn receive(
    caches: &Caches,
    server: &Server,
    health: &DatabaseHealth,
) -> sqlx::Result<Infallible> {
    let (mut listener, query) = with_timeout(CONNECT_TIMEOUT, Box::pin(open(server))).await?;
    // Notifications before this moment are lost.
    caches.invalidate_all();
    loop {
        let (polled, before) = (uptime(), health.now());
        let row = with_timeout(POLL_TIMEOUT, listener.fetch_one(query.clone())).await?;
        health.record_server_time(before, row.try_get("now")?);
        while let Some(notification) = listener.next_buffered() {
            caches.invalidate(notification.payload());
        }
        match health.clock_is_right() {
            Ok(()) => caches.freshness.extend(polled, POLL_VALIDITY),
            Err(_) => caches.freshness.expire(),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The connection, and a query that returns a row only while it listens.
async fn open(server: &Server) -> sqlx::Result<(PgListener, SqlStr)> {
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
    let query = AssertSqlSafe(format!(
        "SELECT {SERVER_TIME} AS now FROM pg_listening_channels() AS channel WHERE channel = \
         '{channel}'"
    ));
    Ok((listener, query.into_sql_str()))
}

async fn with_timeout<T>(
    time: Duration,
    response: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(time, response)
        .await
        .unwrap_or_else(|_| Err(timed_out()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use chrono::DateTime;
    use shared_types::pki::eidas::OrganisationId;
    use shared_types::xs2a::consent::ConsentStatus;

    use super::*;
    use crate::store::consents::Consents;
    use crate::store::{Database, DatabaseLocation, tests};

    const CONSENT: &str = "\
        INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, \
        valid_until, frequency_per_day, \
        psu, last_action, created, approve_by) VALUES ('c', 'PSDDE-BAFIN-100001', 'r', 'd', \
        'valid', \
        '{\"allPsd2\":\"allAccounts\"}', 1, '2027-01-01', 4, 'anna', 1790000000, 1790000000, \
        1790003600)";

    /// One of the replicas on a database, which listens.
    async fn replica(place: &DatabaseLocation) -> (Database, Consents) {
        let database = Database::open(place).await.unwrap();
        database.start_invalidation_listener();
        (database.clone(), Consents::new(database))
    }

    fn tpp() -> OrganisationId {
        "PSDDE-BAFIN-100001".parse().unwrap()
    }

    async fn status(consents: &Consents) -> ConsentStatus {
        let found = consents.find_with_grants(&tpp(), "c").await.unwrap();
        found.unwrap().consent.status
    }

    /// Reads until the row is cached: a read that takes longer than the cache may be trusted caches
    /// nothing.
    async fn keep(database: &Database, consents: &Consents) {
        for _ in 0..100 {
            database.wait_until_caching().await;
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
        let (place, _folder) = tests::empty().await;
        Database::migrate(&place).await.unwrap();
        let (here, at_home) = replica(&place).await;
        let (there, other_replica) = replica(&place).await;
        sqlx::query(CONSENT).execute(here.pool()).await.unwrap();
        keep(&here, &at_home).await;
        keep(&there, &other_replica).await;
        end(&at_home).await;
        let ended = Instant::now();
        assert_eq!(status(&at_home).await, ConsentStatus::TerminatedByTpp);
        loop {
            let asked = ended.elapsed();
            if status(&other_replica).await == ConsentStatus::TerminatedByTpp {
                break;
            }
            assert!(asked < STALE, "still valid after {asked:?}");
        }
    }

    #[tokio::test]
    async fn a_consent_is_known_for_its_own_tpp_alone_and_only_while_it_is_valid() {
        let (place, _folder) = tests::empty().await;
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
