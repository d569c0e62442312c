//! Approval in the bank's own app, on a device that the customer has enrolled.
//!
//! The device keeps a token, which is what the customer has; what she knows, her password, is checked beside it. What
//! waits is shown to her there: who asks, for what.

use std::sync::Arc;

use async_trait::async_trait;
use bank_client::environment::Randomness;
use chrono::TimeDelta;
use shared_types::digest;
use sqlx::Row as _;

use super::{Challenge, Method, MethodId, ScaError, Source, Subject};
use crate::calendar::Calendar;
use crate::core_banking::PsuId;
use crate::store::{Database, StoreError};

/// How long a device stays enrolled.
const LIFETIME: TimeDelta = TimeDelta::days(90);

/// The customers' devices. Cheap to clone.
#[derive(Clone)]
pub struct Phones {
    database: Database,
    calendar: Calendar,
    randomness: Arc<dyn Randomness>,
}

/// What a device keeps, once it is enrolled. A secret.
#[derive(Clone)]
pub struct Phone(pub String);

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<phone>")
    }
}

impl Phones {
    pub(super) fn new(
        database: Database,
        calendar: Calendar,
        randomness: Arc<dyn Randomness>,
    ) -> Self {
        Self {
            database,
            calendar,
            randomness,
        }
    }

    /// Enrols a device for a customer who has just proved who she is.
    pub async fn enrol(&self, psu: &PsuId) -> Result<Phone, StoreError> {
        let token = format!(
            "{}{}",
            self.randomness.uuid().simple(),
            self.randomness.uuid().simple()
        );
        sqlx::query("INSERT INTO phone (token, psu, enrolled) VALUES ($1, $2, $3)")
            .bind(digest::sha256(token.as_bytes()))
            .bind(&psu.0)
            .bind(self.calendar.now().timestamp())
            .execute(self.database.pool())
            .await?;
        Ok(Phone(token))
    }

    /// Whose device that is, if it is enrolled.
    pub async fn owner(&self, token: &str) -> Result<Option<PsuId>, StoreError> {
        let row = sqlx::query("SELECT psu FROM phone WHERE token = $1 AND enrolled > $2")
            .bind(digest::sha256(token.as_bytes()))
            .bind(self.oldest())
            .fetch_optional(self.database.pool())
            .await?;
        Ok(row.map(|row| row.try_get("psu")).transpose()?.map(PsuId))
    }

    /// Forgets a device.
    pub async fn forget(&self, token: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM phone WHERE token = $1")
            .bind(digest::sha256(token.as_bytes()))
            .execute(self.database.pool())
            .await?;
        Ok(())
    }

    fn oldest(&self) -> i64 {
        (self.calendar.now() - LIFETIME).timestamp()
    }
}

#[async_trait]
impl Method for Phones {
    fn id(&self) -> MethodId {
        MethodId::App
    }

    async fn is_enrolled(&self, psu: &PsuId) -> Result<bool, ScaError> {
        let row =
            sqlx::query("SELECT 1 AS there FROM phone WHERE psu = $1 AND enrolled > $2 LIMIT 1")
                .bind(&psu.0)
                .bind(self.oldest())
                .fetch_optional(self.database.pool())
                .await?;
        Ok(row.is_some())
    }

    /// What waits is read from the authorisations themselves: there is nothing to send.
    async fn challenge(
        &self,
        _: &PsuId,
        _: &Subject,
        _: Source<'_>,
    ) -> Result<Challenge, ScaError> {
        Ok(Challenge::App)
    }

    /// The answer is the token of the device on which the customer approves.
    async fn check(&self, psu: &PsuId, _: &Subject, answer: &str) -> Result<(), ScaError> {
        match self.owner(answer).await? {
            Some(owner) if owner == *psu => Ok(()),
            _ => Err(ScaError::WrongAnswer { attempts_left: 0 }),
        }
    }
}
