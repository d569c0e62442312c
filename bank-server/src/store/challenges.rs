//! Repository of the challenges of external SCA methods: which are to start, which are open, and how
//! many a customer receives.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::authorisations::FIELDS;
use super::{AdvisoryLock, Database, Result};
use crate::domain::{Authorisation, MethodId, PsuId};

/// Time in which the challenges of a customer are counted.
const WINDOW: TimeDelta = TimeDelta::hours(1);

/// Maximum number of challenges for one customer through one TPP in that time.
const MAX_IN_WINDOW: i64 = 6;

/// Maximum number of challenges of one TPP that are started in one round.
const MAX_STARTS_OF_TPP: i64 = 50;

/// Maximum number of challenges that are started in one round, and of open ones that are polled.
const MAX_STARTS: i64 = 500;
const MAX_POLLS: i64 = 10_000;

/// Outcome of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The challenge can be started: for the first time, or once more for the same request.
    Granted,
    /// The customer has received too many.
    TooMany {
        /// When the next one is possible.
        until: DateTime<Utc>,
    },
    /// The authorisation is no longer in the status in which it was read.
    Overtaken,
}

/// State of a challenge that the service does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There was nothing to start: the customer has no such method, or no such account.
    None,
    /// It has ended without an answer.
    Over,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Over => "over",
        }
    }
}

/// The challenges in a database. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    database: Database,
}

impl Challenges {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Claims the right to start the challenge of an authorisation, before the service is called.
    /// `between` is the least time since the last one for that customer through the same TPP.
    pub(crate) async fn claim(
        &self,
        seen: &Authorisation,
        psu: &PsuId,
        request_id: Uuid,
        between: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Claim> {
        let request_id = request_id.to_string();
        let repeated: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM authorisation WHERE id = $1 AND status = $2 AND \
             challenge_request = $3 AND challenge IN ('claimed', 'sent')",
        )
        .bind(&seen.id)
        .bind(seen.status.as_str())
        .bind(&request_id)
        .fetch_one(self.database.pool())
        .await?;
        if repeated > 0 {
            return Ok(Claim::Granted);
        }
        let mut transaction = self.database.begin_write().await?;
        // No other challenge for this customer is claimed until the transaction ends.
        transaction.take(AdvisoryLock::Customer(psu)).await?;
        let (first, last, number): (i64, i64, i64) = sqlx::query_as(
            "SELECT COALESCE(MIN(a.challenge_claimed), 0), COALESCE(MAX(a.challenge_claimed), 0), \
             COALESCE(CAST(SUM(a.challenges) AS BIGINT), 0) \
             FROM authorisation a JOIN consent c ON c.id = a.consent_id \
             WHERE a.psu = $1 AND a.challenge_claimed > $2 \
             AND c.tpp = (SELECT tpp FROM consent WHERE id = $3)",
        )
        .bind(&psu.0)
        .bind((now - WINDOW).timestamp())
        .bind(&seen.consent_id)
        .fetch_one(&mut *transaction)
        .await?;
        // A clock that was ahead may have written them.
        let time = |stored| DateTime::from_timestamp(stored, 0).map_or(now, |time| time.min(now));
        let until = if number >= MAX_IN_WINDOW {
            time(first) + WINDOW
        } else {
            time(last) + between
        };
        if number > 0 && now < until {
            return Ok(Claim::TooMany { until });
        }
        let claimed = sqlx::query(
            "UPDATE authorisation SET challenge = 'claimed', challenge_request = $1, \
             challenge_claimed = $2, challenges = challenges + 1 WHERE id = $3 AND status = $4",
        )
        .bind(&request_id)
        .bind(now.timestamp())
        .bind(&seen.id)
        .bind(seen.status.as_str())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(if claimed.rows_affected() > 0 {
            Claim::Granted
        } else {
            Claim::Overtaken
        })
    }

    /// Whether that request has started the challenge of the authorisation, and none since.
    pub(crate) async fn is_of_request(&self, id: &str, request_id: Uuid) -> Result<bool> {
        let request: Option<Option<String>> =
            sqlx::query_scalar("SELECT challenge_request FROM authorisation WHERE id = $1")
                .bind(id)
                .fetch_optional(self.database.pool())
                .await?;
        Ok(request.flatten() == Some(request_id.to_string()))
    }

    /// The service has started the challenge, by that method. The time of the last step stays: it
    /// would reveal to the TPP that the customer exists.
    pub(crate) async fn sent(&self, id: &str, method: &MethodId) -> Result<()> {
        sqlx::query(
            "UPDATE authorisation SET challenge = 'sent', method = $1 \
             WHERE id = $2 AND challenge = 'claimed'",
        )
        .bind(method.as_str())
        .bind(id)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// Nothing is to be started or polled any more.
    pub(crate) async fn end(&self, id: &str, ended: Ended) -> Result<()> {
        sqlx::query("UPDATE authorisation SET challenge = $1 WHERE id = $2")
            .bind(ended.as_str())
            .bind(id)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }

    /// Authorisations of the decoupled approach since then whose challenge is to start, the oldest
    /// first; of each TPP some, so that none delays the others.
    ///
    /// Cost: one pass over the index of what has changed since then.
    pub(crate) async fn to_start(&self, since: DateTime<Utc>) -> Result<Vec<Authorisation>> {
        let waiting = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "WITH waiting AS (SELECT a.*, ROW_NUMBER() OVER \
             (PARTITION BY c.tpp ORDER BY a.created, a.id) AS place \
             FROM authorisation a JOIN consent c ON c.id = a.consent_id \
             WHERE a.last_action > $1 AND a.approach = 'DECOUPLED' AND a.status = 'started' \
             AND a.psu IS NOT NULL AND COALESCE(a.method, '') <> 'app' \
             AND COALESCE(a.challenge, 'claimed') = 'claimed' \
             AND c.status IN ('received', 'partiallyAuthorised')) \
             SELECT {FIELDS} FROM waiting a WHERE a.place <= $2 ORDER BY a.created, a.id LIMIT $3"
        )));
        let waiting = waiting.bind(since.timestamp()).bind(MAX_STARTS_OF_TPP);
        let waiting = waiting.bind(MAX_STARTS);
        Ok(waiting.fetch_all(self.database.pool()).await?)
    }

    /// Authorisations of the decoupled approach since then whose challenge is open, the oldest
    /// first.
    ///
    /// Cost: as with [`to_start`](Self::to_start).
    pub(crate) async fn open(&self, since: DateTime<Utc>) -> Result<Vec<Authorisation>> {
        let open = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT {FIELDS} FROM authorisation a JOIN consent c ON c.id = a.consent_id \
             WHERE a.last_action > $1 AND a.approach = 'DECOUPLED' \
             AND a.status IN ('started', 'psuAuthenticated') AND a.challenge = 'sent' \
             AND c.status IN ('received', 'partiallyAuthorised') \
             ORDER BY a.created, a.id LIMIT $2"
        )));
        let open = open.bind(since.timestamp()).bind(MAX_POLLS);
        Ok(open.fetch_all(self.database.pool()).await?)
    }
}
