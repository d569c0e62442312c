//! Repository of online banking sessions.
//!
//! Only the SHA-256 of a token is stored: a copy of the database gives access to no session.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use sqlx::any::AnyRow;

use super::columns::Columns;
use super::credentials::{CredentialsVersion, is_current};
use super::{Database, Result};
use crate::calendar::MAX_CLOCK_SKEW;
use crate::domain::PsuId;

/// Scope of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionScope {
    /// For answering one authorisation, and nothing else.
    Authorisation {
        /// Its id.
        id: String,
        /// The method of the second element with which the session began, by its name.
        method: String,
    },
    /// For all pages.
    Full,
}

impl SessionScope {
    /// The columns: level, authorisation and method.
    fn columns(&self) -> (&'static str, Option<&str>, Option<&str>) {
        match self {
            Self::Authorisation { id, method } => ("authorisation", Some(id), Some(method)),
            Self::Full => ("full", None, None),
        }
    }
}

/// A session that has not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its token, in hexadecimal: its name within the bank.
    pub digest: String,
    /// The customer.
    pub psu: PsuId,
    /// Its scope.
    pub scope: SessionScope,
    /// Time of its begin: that of the second element.
    pub begun: DateTime<Utc>,
    /// Time of the last recorded use.
    pub last_seen: DateTime<Utc>,
    /// Version of the customer's credentials when the session was found.
    pub credentials: CredentialsVersion,
}

/// A session that is about to begin.
#[derive(Debug, Clone)]
pub struct NewSession<'a> {
    /// SHA-256 of its token.
    pub digest: &'a str,
    /// The customer.
    pub psu: &'a PsuId,
    /// Its scope.
    pub scope: SessionScope,
    /// Under which credentials.
    pub credentials: CredentialsVersion,
    /// The session that it takes the place of, by its digest.
    pub instead_of: Option<&'a str>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Lifetime of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLifetime {
    /// Without a request.
    pub idle: TimeDelta,
    /// In any case.
    pub whole: TimeDelta,
}

/// Sessions of one customer and level. Those that a clock wrote that was ahead go first, then the
/// oldest. A session for one authorisation ends none that is for all pages.
const PER_CUSTOMER: i64 = 20;

/// Sessions in the database.
#[derive(Debug, Clone)]
pub struct Sessions {
    database: Database,
    lifetime: SessionLifetime,
}

impl Sessions {
    /// The sessions in that database.
    #[must_use]
    pub fn new(database: Database, lifetime: SessionLifetime) -> Self {
        Self { database, lifetime }
    }

    /// The session with this digest, unless it has expired.
    ///
    /// Cost: two indexed look-ups; and about ten times within the idle time, a write that records
    /// the use.
    pub async fn find(&self, digest: &str, now: DateTime<Utc>) -> Result<Option<Session>> {
        let session: Option<Session> = sqlx::query_as(
            "SELECT s.digest, s.psu, s.level, s.begun, s.last_seen, s.authorisation, s.method, \
             c.version FROM session s \
             LEFT JOIN credential c ON c.psu = s.psu WHERE s.digest = $1",
        )
        .bind(digest)
        .fetch_optional(self.database.pool())
        .await?;
        let Some(mut session) = session else {
            return Ok(None);
        };
        // Written by a clock that was ahead, it counts from now.
        let is_from_the_future = session.begun > now || session.last_seen > now;
        session.begun = session.begun.min(now);
        session.last_seen = session.last_seen.min(now);
        if now - session.last_seen >= self.lifetime.idle
            || now - session.begun >= self.lifetime.whole
        {
            return Ok(None);
        }
        if is_from_the_future || now - session.last_seen >= self.lifetime.idle / 10 {
            sqlx::query("UPDATE session SET begun = $1, last_seen = $2 WHERE digest = $3")
                .bind(session.begun.timestamp())
                .bind(now.timestamp())
                .bind(digest)
                .execute(self.database.pool())
                .await?;
        }
        Ok(Some(session))
    }

    /// Begins a session, and ends the one that it replaces. Returns false, and begins none, if the
    /// customer's credentials have changed since the authentication.
    pub async fn begin(&self, new: NewSession<'_>) -> Result<bool> {
        let mut transaction = self.database.begin_write().await?;
        if !is_current(&mut transaction, new.psu, new.credentials).await? {
            return Ok(false);
        }
        let psu = &new.psu.0;
        let (level, authorisation, method) = new.scope.columns();
        sqlx::query("DELETE FROM session WHERE digest = $1")
            .bind(new.instead_of.unwrap_or_default())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "DELETE FROM session WHERE psu = $1 AND level = $2 AND digest NOT IN \
             (SELECT digest FROM session WHERE psu = $1 AND level = $2 \
             ORDER BY CASE WHEN last_seen > $4 THEN 0 ELSE last_seen END DESC LIMIT $3)",
        )
        .bind(psu)
        .bind(level)
        .bind(PER_CUSTOMER - 1)
        .bind((new.now + MAX_CLOCK_SKEW).timestamp())
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO session (digest, psu, level, authorisation, method, begun, last_seen) \
             VALUES ($1, $2, $3, $4, $5, $6, $6)",
        )
        .bind(new.digest)
        .bind(psu)
        .bind(level)
        .bind(authorisation)
        .bind(method)
        .bind(new.now.timestamp())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Ends a session.
    pub async fn end(&self, digest: &str) -> Result<()> {
        sqlx::query("DELETE FROM session WHERE digest = $1")
            .bind(digest)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }
}

impl FromRow<'_, AnyRow> for Session {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let columns = Columns::of("session", row);
        Ok(Self {
            digest: columns.get("digest")?,
            psu: columns.get("psu")?,
            scope: match columns.get::<String>("level")?.as_str() {
                "authorisation" => SessionScope::Authorisation {
                    id: columns.get("authorisation")?,
                    method: columns.get("method")?,
                },
                "full" => SessionScope::Full,
                _ => return Err(columns.corrupt("level")),
            },
            begun: columns.get("begun")?,
            last_seen: columns.get("last_seen")?,
            credentials: CredentialsVersion::from_row(row)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared_types::environment::SystemRandomness;

    use super::*;
    use crate::store::credentials::CustomerCredentials;
    use crate::store::vault::Vault;

    async fn sessions() -> (Sessions, tempfile::TempDir) {
        let (database, folder) = crate::store::tests::database().await;
        let lifetime = SessionLifetime {
            idle: TimeDelta::minutes(10),
            whole: TimeDelta::hours(8),
        };
        (Sessions::new(database, lifetime), folder)
    }

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
    }

    fn for_one() -> SessionScope {
        SessionScope::Authorisation {
            id: "1".to_owned(),
            method: "totp".to_owned(),
        }
    }

    fn anna() -> PsuId {
        PsuId("anna.weber".to_owned())
    }

    async fn begin(
        sessions: &Sessions,
        digest: &str,
        scope: SessionScope,
        instead_of: Option<&str>,
        now: DateTime<Utc>,
    ) -> bool {
        let new = NewSession {
            digest,
            psu: &anna(),
            scope,
            credentials: CredentialsVersion::default(),
            instead_of,
            now,
        };
        sessions.begin(new).await.unwrap()
    }

    #[tokio::test]
    async fn a_session_is_over_when_it_is_idle_or_old() {
        let (sessions, _folder) = sessions().await;
        let begin = async |digest| {
            begin(&sessions, digest, SessionScope::Full, None, at(0)).await;
        };
        let goes_on =
            async |digest: &str, minute| sessions.find(digest, at(minute)).await.unwrap().is_some();
        begin("idle").await;
        assert!(goes_on("idle", 9).await);
        assert!(goes_on("idle", 18).await, "each request prolongs it");
        assert!(!goes_on("idle", 28).await);
        begin("old").await;
        for minute in (0..480).step_by(9) {
            assert!(goes_on("old", minute).await, "{minute}");
        }
        assert!(!goes_on("old", 480).await);
    }

    #[tokio::test]
    async fn a_session_of_a_clock_that_was_ahead_counts_from_when_it_is_found() {
        let (sessions, _folder) = sessions().await;
        let ahead = 30 * 24 * 60;
        for number in 0..PER_CUSTOMER {
            let digest = format!("ahead {number}");
            let begun = at(ahead) + TimeDelta::seconds(number);
            begin(&sessions, &digest, SessionScope::Full, None, begun).await;
        }
        let found = async |digest: &str, minute| sessions.find(digest, at(minute)).await.unwrap();
        assert_eq!(found("ahead 19", 0).await.unwrap().begun, at(0));
        assert!(found("ahead 19", 10).await.is_none(), "idle");
        assert!(found("ahead 18", 0).await.is_some());
        for minute in (9..480).step_by(9) {
            assert!(found("ahead 18", minute).await.is_some(), "{minute}");
        }
        assert!(found("ahead 18", 480).await.is_none(), "old");
        // A session that begins now outlives one that was begun by a clock ahead.
        for (digest, minute) in [("one", 480), ("two", 481), ("three", 482)] {
            begin(&sessions, digest, SessionScope::Full, None, at(minute)).await;
        }
        assert!(found("one", 482).await.is_some());
    }

    #[tokio::test]
    async fn another_session_takes_the_place_of_the_first() {
        let (sessions, _folder) = sessions().await;
        begin(&sessions, "first", for_one(), None, at(0)).await;
        let first = sessions.find("first", at(0)).await.unwrap().unwrap();
        assert_eq!(first.scope, for_one());
        begin(
            &sessions,
            "second",
            SessionScope::Full,
            Some("first"),
            at(1),
        )
        .await;
        assert!(sessions.find("first", at(1)).await.unwrap().is_none());
        let second = sessions.find("second", at(1)).await.unwrap().unwrap();
        assert_eq!((second.scope, second.psu), (SessionScope::Full, anna()));
        sessions.end("second").await.unwrap();
        assert!(sessions.find("second", at(1)).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_customer_has_so_many_sessions_and_no_more() {
        let (sessions, _folder) = sessions().await;
        for number in 0..=PER_CUSTOMER {
            let now = at(0) + TimeDelta::seconds(number);
            begin(
                &sessions,
                &number.to_string(),
                SessionScope::Full,
                None,
                now,
            )
            .await;
        }
        assert!(sessions.find("0", at(1)).await.unwrap().is_none());
        assert!(sessions.find("1", at(1)).await.unwrap().is_some());
        // Regardless of how many authorisations the customer answers.
        for number in 0..=PER_CUSTOMER {
            let digest = format!("authorisation {number}");
            begin(&sessions, &digest, for_one(), None, at(1)).await;
        }
        for number in 1..=PER_CUSTOMER {
            let found = sessions.find(&number.to_string(), at(1)).await.unwrap();
            assert!(found.is_some(), "{number}");
        }
    }

    #[tokio::test]
    async fn no_session_begins_under_credentials_that_were_replaced() {
        let (database, _folder) = crate::store::tests::database().await;
        let lifetime = SessionLifetime {
            idle: TimeDelta::minutes(10),
            whole: TimeDelta::hours(8),
        };
        let sessions = Sessions::new(database.clone(), lifetime);
        let vault = Vault::new(&[3; 32], Arc::new(SystemRandomness)).unwrap();
        let credentials = CustomerCredentials::new(database, vault);
        let anna = anna();
        // The customer's password is checked, but replaced before the session begins.
        credentials.set(&anna, "old", None).await.unwrap();
        let checked = credentials.version(&anna).await.unwrap();
        let new = |scope: SessionScope, instead_of, credentials| NewSession {
            digest: match scope {
                SessionScope::Authorisation { .. } => "authorisation",
                SessionScope::Full => "full",
            },
            psu: &anna,
            scope,
            credentials,
            instead_of,
            now: at(0),
        };
        credentials.set(&anna, "new", None).await.unwrap();
        let late = sessions.begin(new(for_one(), None, checked));
        assert!(!late.await.unwrap());
        assert!(
            sessions
                .find("authorisation", at(0))
                .await
                .unwrap()
                .is_none()
        );
        // The same between the two factors.
        let checked = credentials.version(&anna).await.unwrap();
        let begun = sessions.begin(new(for_one(), None, checked));
        assert!(begun.await.unwrap());
        let found = sessions
            .find("authorisation", at(0))
            .await
            .unwrap()
            .unwrap();
        credentials.set(&anna, "newer", None).await.unwrap();
        let late = sessions.begin(new(
            SessionScope::Full,
            Some("authorisation"),
            found.credentials,
        ));
        assert!(!late.await.unwrap());
        for digest in ["password", "full"] {
            assert!(sessions.find(digest, at(0)).await.unwrap().is_none());
        }
    }
}
