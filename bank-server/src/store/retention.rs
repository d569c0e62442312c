//! Retention: removal of rows past their retention period.
//!
//! Rows are removed in small batches, each a transaction of its own, with pauses: requests hardly
//! notice. One replica at a time removes. No rule depends on it: a consent that has ended has ended
//! whether its rows are there or not.
//!
//! No clock alone decides which rows are old. The database holds the time up to which rows were
//! removed, and a run moves it on by at most twice the time that has passed since the run before.
//! So no run takes more than what became old in a few minutes, also where the clock is wrong by
//! years; and a bank that was down for a week catches up within one.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::{AdvisoryLock, Database, Result, identity_requests};
use crate::config::RetentionConfig;

/// Removes rows past their retention period.
#[derive(Debug, Clone)]
pub struct Retention {
    database: Database,
    periods: RetentionConfig,
    /// From the enrolment of a device with the bank's app to its end.
    phones: TimeDelta,
}

/// Rows of a batch.
const BATCH: u64 = 200;

/// Pause after a batch, as a multiple of the duration of the batch.
const PAUSE: u32 = 4;

/// Statements that remove at most [`BATCH`] things of one kind: first the rows that belong to
/// them, then the things themselves. If the last statement removes fewer rows, nothing is left. The
/// statements contain times as literals, so that the database plans for these.
type Batch = Vec<String>;

impl Retention {
    /// Retention in that database.
    #[must_use]
    pub fn new(database: Database, periods: RetentionConfig, phones: TimeDelta) -> Self {
        Self {
            database,
            periods,
            phones,
        }
    }

    /// Notes where the removal begins, unless it has begun before: now, or when something was last
    /// done to a consent, whichever is earlier. To be called at the start, before anything is
    /// written by this clock.
    pub async fn begin(&self, now: DateTime<Utc>) -> Result<()> {
        sqlx::query(
            "INSERT INTO bank_state (name, value) SELECT 'removed until', \
             CAST(CASE WHEN MAX(last_action) < $1 THEN MAX(last_action) ELSE $1 END AS TEXT) FROM \
             consent \
             WHERE NOT EXISTS (SELECT 1 FROM bank_state WHERE name = 'removed until') \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(now.timestamp())
        .execute(self.database.counting())
        .await?;
        Ok(())
    }

    /// Removes rows past their retention period at that time. Returns how many consents,
    /// authorisations, counts and so on these were; if another replica is removing, 0.
    pub async fn remove(&self, now: DateTime<Utc>) -> Result<u64> {
        let mut removed = 0;
        for batch in self.batches(now) {
            loop {
                let begun = Instant::now();
                let Some(rows) = self.remove_batch(&batch).await? else {
                    return Ok(removed);
                };
                removed += rows;
                if rows < BATCH {
                    break;
                }
                let pause = begun.elapsed() * PAUSE;
                tokio::time::sleep(pause.min(Duration::from_secs(10))).await;
            }
        }
        Ok(removed)
    }

    /// The time to [remove](Self::remove) by: now, and at most twice what has `passed` since this
    /// replica's last run after the time by which was removed before. `None` if another replica is
    /// at it, or none has [begun](Self::begin).
    pub async fn move_on(
        &self,
        now: DateTime<Utc>,
        passed: Duration,
    ) -> Result<Option<DateTime<Utc>>> {
        let mut transaction = self.database.begin_counting().await?;
        if !transaction.try_take(AdvisoryLock::Retention).await? {
            return Ok(None);
        }
        let before: Option<String> =
            sqlx::query_scalar("SELECT value FROM bank_state WHERE name = 'removed until'")
                .fetch_optional(&mut *transaction)
                .await?;
        let before = before.and_then(|text| DateTime::from_timestamp(text.parse().ok()?, 0));
        let Some(before) = before else {
            return Ok(None);
        };
        let most = TimeDelta::from_std(passed * 2).unwrap_or(TimeDelta::MAX);
        let most = before.checked_add_signed(most).unwrap_or(before);
        if now <= before {
            return Ok(Some(now));
        }
        let until = now.min(most);
        sqlx::query("UPDATE bank_state SET value = $1 WHERE name = 'removed until'")
            .bind(until.timestamp().to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(until))
    }

    /// `None` if another replica is at it.
    async fn remove_batch(&self, batch: &[String]) -> Result<Option<u64>> {
        let mut transaction = self.database.begin_counting().await?;
        if !transaction.try_take(AdvisoryLock::Retention).await? {
            return Ok(None);
        }
        let mut rows = 0;
        for statement in batch {
            rows = sqlx::query(sqlx::AssertSqlSafe(statement.as_str()))
                .persistent(false)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
        }
        transaction.commit().await?;
        Ok(Some(rows))
    }

    fn batches(&self, now: DateTime<Utc>) -> Vec<Batch> {
        let periods = &self.periods;
        let unlocked = self.database.0.engine.skip_locked();
        let ago = |days: u32| now - TimeDelta::days(days.into());
        let time = |days| ago(days).timestamp();
        let day = |days| ago(days).date_naive();
        // Whatever is over was last acted on before that, so that the index leads to it.
        let (before, last_day) = (time(periods.consents_days), day(periods.consents_days));
        let consents = format!(
            "SELECT id FROM consent WHERE last_action < {before} AND \
             (status IN ('rejected', 'revokedByPsu', 'expired', 'terminatedByTpp') OR valid_until \
             < '{last_day}' \
             OR (status <> 'valid' AND approve_by < {before}) OR ends < {before}) ORDER BY \
             last_action, id LIMIT {BATCH}"
        );
        let of_consents =
            |table: &str| format!("DELETE FROM {table} WHERE consent_id IN ({consents})");
        // Of a TPP without any other consent.
        let tpps = format!(
            "DELETE FROM tpp WHERE organisation IN (SELECT tpp FROM consent WHERE id IN \
             ({consents})) AND NOT EXISTS \
             (SELECT 1 FROM consent c WHERE c.tpp = tpp.organisation AND c.id NOT IN ({consents}))"
        );
        let [authorisations, counters, sessions] = [
            periods.authorisations_days,
            periods.counters_days,
            periods.sessions_days,
        ]
        .map(time);
        let phones = (now - self.phones).timestamp();
        let counted = day(periods.counters_days);
        // The next request removes them as well.
        let [requests, authentications] =
            [1, 2].map(|times| (now - identity_requests::LIFETIME * times).timestamp());
        let now = now.timestamp();
        // Of one table each: its key, and which rows are old.
        let old = [
            (
                "authorisation",
                "id",
                format!(
                    "last_action < {authorisations} AND status NOT IN ('finalised', 'exempted')"
                ),
            ),
            // A read that happens once has no day, and is kept with its consent.
            (
                "consent_use",
                "consent_id, endpoint, account, item",
                format!("day < '{counted}' AND day > ''"),
            ),
            ("failure", "bucket", format!("last < {counters}")),
            ("session", "digest", format!("last_seen < {sessions}")),
            (
                "passkey_question",
                "psu, subject",
                format!("asked < {sessions}"),
            ),
            ("phone", "token", format!("enrolled <= {phones}")),
            // A list that is still wanted has been fetched again long ago.
            (
                "fetched_list",
                "address",
                format!("fetched < {counters} AND claimed < {now}"),
            ),
            (
                "delta_report",
                "tpp, psu, account",
                format!("noted < {before}"),
            ),
            ("acquainted", "stamp", format!("since < {before}")),
            ("identity_request", "state", format!("begun < {requests}")),
            (
                "identity_authentication",
                "digest",
                format!("used < {authentications}"),
            ),
            (
                "connection",
                "id",
                format!("status = 'ended' AND tried < {before}"),
            ),
            (
                "connection",
                "id",
                format!("status = 'asked' AND begun < {authorisations}"),
            ),
        ];
        // Rows that another transaction has locked are left for later. Chosen rows are locked, and
        // checked again if they were changed.
        let single = old.map(|(table, key, old)| {
            vec![format!(
                "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {old} \
                 LIMIT {BATCH}{unlocked})"
            )]
        });
        let mut batches = vec![vec![
            of_consents("consent_account"),
            of_consents("consent_use"),
            of_consents("authorisation"),
            tpps,
            format!("DELETE FROM consent WHERE id IN ({consents})"),
        ]];
        batches.extend(single);
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests;

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn retention(database: &Database) -> Retention {
        let periods = RetentionConfig {
            authorisations_days: 100,
            ..RetentionConfig::default()
        };
        Retention::new(database.clone(), periods, TimeDelta::days(90))
    }

    async fn run(database: &Database, statement: &str) {
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(database.pool())
            .await
            .unwrap();
    }

    async fn ids(database: &Database, statement: &str) -> Vec<String> {
        sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_all(database.pool())
            .await
            .unwrap()
    }

    /// So many days ago.
    fn ago(days: i64) -> i64 {
        (now() - TimeDelta::days(days)).timestamp()
    }

    async fn consent(database: &Database, id: &str, status: &str, acted: i64, valid_until: &str) {
        run(
            database,
            &format!(
                "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, \
                 recurring, valid_until, \
                 frequency_per_day, last_action, created, approve_by) VALUES ('{id}', 'tpp', \
                 '{id}', '', '{status}', \
                 '{{}}', 1, '{valid_until}', 4, {}, {0}, {0})",
                ago(acted)
            ),
        )
        .await;
        run(
            database,
            &format!(
                "INSERT INTO consent_account (consent_id, position, account_id, balances, \
                transactions) VALUES ('{id}', 0, 'a', 1, 1)"
            ),
        )
        .await;
        authorisation(database, &format!("{id} approval"), id, "finalised", acted).await;
    }

    async fn authorisation(database: &Database, id: &str, consent: &str, status: &str, acted: i64) {
        run(
            database,
            &format!(
                "INSERT INTO authorisation (id, consent_id, request_id, request_digest, approach, \
                 status, created, \
                 last_action) VALUES ('{id}', '{consent}', '{id}', '', 'REDIRECT', '{status}', \
                 {}, {0})",
                ago(acted)
            ),
        )
        .await;
    }

    async fn removed(database: &Database) -> u64 {
        retention(database).remove(now()).await.unwrap()
    }

    #[tokio::test]
    async fn consents_go_so_long_after_they_are_over_and_what_belongs_to_them_goes_with_them() {
        let (database, _folder) = tests::database().await;
        consent(
            &database,
            "revoked long ago",
            "revokedByPsu",
            397,
            "2026-01-01",
        )
        .await;
        consent(
            &database,
            "revoked lately",
            "revokedByPsu",
            395,
            "2026-01-01",
        )
        .await;
        consent(&database, "never approved", "received", 397, "2027-01-01").await;
        consent(&database, "expired long ago", "valid", 500, "2025-10-23").await;
        consent(&database, "expired lately", "valid", 500, "2025-10-25").await;
        consent(&database, "goes on", "valid", 500, "2027-01-01").await;
        assert_eq!(removed(&database).await, 3);
        let left = ids(&database, "SELECT id FROM consent ORDER BY id").await;
        let expected = ["expired lately", "goes on", "revoked lately"];
        assert_eq!(left, expected);
        for table in ["consent_account", "authorisation"] {
            let of = format!("SELECT consent_id FROM {table} ORDER BY consent_id");
            assert_eq!(ids(&database, &of).await, expected, "{table}");
        }
    }

    #[tokio::test]
    async fn of_a_consent_that_goes_on_approvals_stay_and_what_came_to_nothing_goes() {
        let (database, _folder) = tests::database().await;
        consent(&database, "goes on", "valid", 300, "2027-01-01").await;
        for (id, status, acted) in [
            ("refused long ago", "failed", 101),
            ("left lying long ago", "started", 101),
            ("refused lately", "failed", 99),
            ("exempted", "exempted", 101),
        ] {
            authorisation(&database, id, "goes on", status, acted).await;
        }
        assert_eq!(removed(&database).await, 2);
        let left = ids(&database, "SELECT id FROM authorisation ORDER BY id").await;
        assert_eq!(left, ["exempted", "goes on approval", "refused lately"]);
    }

    #[tokio::test]
    async fn counts_sessions_and_the_rest_go_in_their_time() {
        let (database, _folder) = tests::database().await;
        consent(&database, "goes on", "valid", 300, "2027-01-01").await;
        for day in ["2026-10-19", "2026-10-20", "2026-11-24", ""] {
            run(
                &database,
                &format!(
                    "INSERT INTO consent_use (consent_id, endpoint, account, \
                item, day, count) VALUES ('goes on', 'accounts', '', '{day}', '{day}', 1)"
                ),
            )
            .await;
        }
        for (days, name) in [
            (0, "new"),
            (2, "two"),
            (36, "thirty-six"),
            (91, "ninety-one"),
        ] {
            let then = ago(days);
            run(
                &database,
                &format!("INSERT INTO failure (bucket, failed, last) VALUES ('{name}', 1, {then})"),
            )
            .await;
            run(
                &database,
                &format!(
                    "INSERT INTO session (digest, psu, level, begun, last_seen) \
                VALUES ('{name}', 'a', 'full', {then}, {then})"
                ),
            )
            .await;
            run(
                &database,
                &format!(
                    "INSERT INTO passkey_question (psu, subject, state, asked) \
                VALUES ('a', '{name}', '', {then})"
                ),
            )
            .await;
            run(
                &database,
                &format!(
                    "INSERT INTO fetched_list (address, fetched, claimed, body) \
                VALUES ('{name}', {then}, 0, '')"
                ),
            )
            .await;
            run(
                &database,
                &format!("INSERT INTO phone (token, psu, enrolled) VALUES ('{name}', 'a', {then})"),
            )
            .await;
        }
        removed(&database).await;
        let left = async |column: &str, table: &str| {
            ids(
                &database,
                &format!("SELECT {column} FROM {table} ORDER BY {column}"),
            )
            .await
        };
        assert_eq!(
            left("day", "consent_use").await,
            ["", "2026-10-20", "2026-11-24"]
        );
        assert_eq!(left("bucket", "failure").await, ["new", "two"]);
        assert_eq!(left("address", "fetched_list").await, ["new", "two"]);
        assert_eq!(left("digest", "session").await, ["new"]);
        assert_eq!(left("subject", "passkey_question").await, ["new"]);
        assert_eq!(left("token", "phone").await, ["new", "thirty-six", "two"]);
    }

    #[tokio::test]
    async fn by_a_clock_that_is_years_fast_a_run_takes_what_became_old_in_minutes() {
        let (database, _folder) = tests::database().await;
        consent(&database, "goes on", "valid", 0, "2027-02-01").await;
        consent(&database, "over", "revokedByPsu", 397, "2026-01-01").await;
        let retention = retention(&database);
        let wrong = now() + TimeDelta::days(700);
        let passed = Duration::from_mins(10);
        assert_eq!(retention.move_on(wrong, passed).await.unwrap(), None);
        // As of the last action, not of the clock; and once.
        for clock in [wrong, now() - TimeDelta::days(700)] {
            retention.begin(clock).await.unwrap();
        }
        // On PostgreSQL, the turn of a run may end a moment after it.
        let move_on = async |clock| {
            let moved = async {
                loop {
                    match retention.move_on(clock, passed).await.unwrap() {
                        Some(time) => return time,
                        None => tokio::task::yield_now().await,
                    }
                }
            };
            let moved = tokio::time::timeout(Duration::from_mins(1), moved).await;
            moved.expect("a turn")
        };
        let mut minutes = 0;
        for _ in 0..3 {
            minutes += 20;
            let time = move_on(wrong).await;
            assert_eq!(time, now() + TimeDelta::minutes(minutes));
            retention.remove(time).await.unwrap();
        }
        let left = ids(&database, "SELECT id FROM consent").await;
        assert_eq!(left, ["goes on"]);
        // The right clock continues from there. A clock that is behind removes less, and does
        // not change the progress.
        for (clock, expected) in [(now(), now()), (wrong, now() + TimeDelta::minutes(80))] {
            let time = move_on(clock).await;
            assert_eq!(time, expected);
        }
    }

    #[tokio::test]
    async fn requests_to_the_identity_provider_go_without_another_log_in() {
        let (database, _folder) = tests::database().await;
        for minutes in [5, 15, 25] {
            let then = (now() - TimeDelta::minutes(minutes)).timestamp();
            for statement in [
                format!("INSERT INTO identity_request VALUES ('{minutes}', 'sealed', {then})"),
                format!("INSERT INTO identity_authentication VALUES ('{minutes}', {then})"),
            ] {
                run(&database, &statement).await;
            }
        }
        assert_eq!(removed(&database).await, 3);
        let requests = ids(&database, "SELECT state FROM identity_request").await;
        assert_eq!(requests, ["5"]);
        let used = "SELECT digest FROM identity_authentication ORDER BY digest";
        assert_eq!(ids(&database, used).await, ["15", "5"]);
    }

    #[tokio::test]
    async fn a_tpp_goes_with_its_last_consent() {
        let (database, _folder) = tests::database().await;
        for (id, tpp, acted) in [
            ("over", "stays", 397),
            ("goes on", "stays", 0),
            ("over too", "gone", 397),
            ("and this", "gone", 397),
        ] {
            consent(&database, id, "revokedByPsu", acted, "2026-01-01").await;
            let of = format!("UPDATE consent SET tpp = '{tpp}' WHERE id = '{id}'");
            run(&database, &of).await;
        }
        for tpp in ["stays", "gone"] {
            run(
                &database,
                &format!(
                    "INSERT INTO tpp (organisation, name, authority, updated) \
                VALUES ('{tpp}', '', '', 0)"
                ),
            )
            .await;
        }
        assert_eq!(removed(&database).await, 3);
        assert_eq!(
            ids(&database, "SELECT organisation FROM tpp").await,
            ["stays"]
        );
    }

    #[tokio::test]
    async fn who_was_known_reports_and_connections_that_ended_go_in_their_time() {
        let (database, _folder) = tests::database().await;
        for days in [1, 101, 397] {
            let then = ago(days);
            run(
                &database,
                &format!("INSERT INTO acquainted (stamp, since) VALUES ('{days}', {then})"),
            )
            .await;
            run(
                &database,
                &format!(
                    "INSERT INTO delta_report (tpp, psu, account, arrival, noted) \
                VALUES ('', '{days}', '', 1, {then})"
                ),
            )
            .await;
            for status in ["asked", "running", "ended"] {
                run(
                    &database,
                    &format!(
                        "INSERT INTO connection (id, psu, bank, status, state, \
                    begun, tried) VALUES ('{status} {days}', 'a', '{days}', '{status}', '{status} \
                    {days}', {then}, {then})"
                    ),
                )
                .await;
            }
        }
        removed(&database).await;
        let left = ids(&database, "SELECT stamp FROM acquainted ORDER BY stamp").await;
        assert_eq!(left, ["1", "101"]);
        let left = ids(&database, "SELECT psu FROM delta_report ORDER BY psu").await;
        assert_eq!(left, ["1", "101"]);
        let left = ids(&database, "SELECT id FROM connection ORDER BY id").await;
        let expected = [
            "asked 1",
            "ended 1",
            "ended 101",
            "running 1",
            "running 101",
            "running 397",
        ];
        assert_eq!(left, expected);
    }

    #[tokio::test]
    async fn more_than_a_piece_goes_in_several() {
        let (database, _folder) = tests::database().await;
        for number in 0..=2 * BATCH {
            run(
                &database,
                &format!(
                    "INSERT INTO failure (bucket, failed, last) VALUES ('{number}', 1, {})",
                    ago(36)
                ),
            )
            .await;
        }
        assert_eq!(removed(&database).await, 2 * BATCH + 1);
    }

    #[tokio::test]
    async fn what_is_old_is_found_by_its_index() {
        let (database, _folder) = tests::database().await;
        for batch in retention(&database).batches(now()) {
            for (statement, index) in batch.iter().flat_map(|statement| {
                [
                    ("FROM consent WHERE last_action", "consent_by_last_action"),
                    (
                        "FROM authorisation WHERE last_action",
                        "authorisation_by_last_action",
                    ),
                    ("FROM consent_use WHERE day", "consent_use_by_day"),
                    ("FROM session WHERE", "session_by_last_seen"),
                    ("FROM failure WHERE", "failure_by_time"),
                ]
                .into_iter()
                .filter(|(part, _)| statement.contains(part))
                .map(move |(_, index)| (statement, index))
            }) {
                let plan = database.plan(statement, Vec::new()).await;
                assert!(plan.contains(index), "{statement}: {plan}");
            }
        }
    }
}
