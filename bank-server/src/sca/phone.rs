//! Approval in the bank's own app, on a device that the customer has enrolled.
//!
//! The device holds a token, the possession element; the password, the knowledge element, is
//! checked beside it. The device shows each waiting request: the TPP, and the access that it
//! requests.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use shared_types::environment::Randomness;
use shared_types::pki::digest;
use sqlx::FromRow;
use sqlx::any::AnyRow;

use super::{Challenge, Method, Result, ScaError, Source, Subject};
use crate::calendar::{Calendar, MAX_CLOCK_SKEW};
use crate::domain::{MethodId, PsuId};
use crate::store::columns::Columns;
use crate::store::credentials::{CredentialsVersion, begin_version, is_current, remove_element};
use crate::store::{AdvisoryLock, Database, StoreError};

/// Validity of a device's enrolment.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::days(90);

/// Maximum number of enrolled devices of one customer.
const MAX_DEVICES: i64 = 10;

/// The customers' devices. Cheap to clone.
#[derive(Clone)]
pub struct Phones {
    database: Database,
    calendar: Calendar,
    randomness: Arc<dyn Randomness>,
}

/// Token of an enrolled device. A secret.
#[derive(Clone)]
pub struct PhoneToken(pub String);

impl std::fmt::Debug for PhoneToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<phone>")
    }
}

/// A device, as its customer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// Its id: the SHA-256 of its token. No secret.
    pub id: String,
    /// Time of its enrolment.
    pub enrolled: DateTime<Utc>,
}

/// Error of an enrolment.
#[derive(Debug, thiserror::Error)]
pub enum PhonesError {
    /// The customer has the maximum number of devices.
    #[error("a customer may have {MAX_DEVICES} devices with the bank's app; remove one first")]
    TooMany,
    /// The customer's credentials have changed since the authentication.
    #[error("the customer's credentials were changed meanwhile; log in again")]
    CredentialsChanged,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PhonesError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
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

    /// Enrols a device for a customer who has just authenticated.
    pub async fn enrol(&self, psu: &PsuId) -> Result<PhoneToken, PhonesError> {
        self.enrol_in_place_of(None, psu, None).await
    }

    /// Enrols a device for a customer who has authenticated under this version of the credentials.
    /// Ends any earlier enrolment of the device, for this or another customer.
    pub(crate) async fn enrol_in_place_of(
        &self,
        before: Option<&str>,
        psu: &PsuId,
        credentials: Option<CredentialsVersion>,
    ) -> Result<PhoneToken, PhonesError> {
        let token = format!(
            "{}{}",
            self.randomness.uuid().simple(),
            self.randomness.uuid().simple()
        );
        let mut transaction = self.database.begin_write().await?;
        transaction.take(AdvisoryLock::Customer(psu)).await?;
        if let Some(version) = credentials
            && !is_current(&mut transaction, psu, version).await?
        {
            return Err(PhonesError::CredentialsChanged);
        }
        sqlx::query("DELETE FROM phone WHERE psu = $1 AND token = $2")
            .bind(&psu.0)
            .bind(before.map(|before| digest::sha256(before.as_bytes())))
            .execute(&mut *transaction)
            .await?;
        let stored = sqlx::query(
            "INSERT INTO phone (token, psu, enrolled) \
             SELECT $1, $2, $3 WHERE (SELECT COUNT(*) FROM phone WHERE psu = $2 AND enrolled > $5) < $4",
        )
        .bind(digest::sha256(token.as_bytes()))
        .bind(&psu.0)
        .bind(self.calendar.now().timestamp())
        .bind(MAX_DEVICES)
        .bind(self.oldest())
        .execute(&mut *transaction)
        .await?;
        if stored.rows_affected() == 0 {
            return Err(PhonesError::TooMany);
        }
        begin_version(&mut transaction, psu).await?;
        transaction.commit().await?;
        if let Some(others) = before {
            self.forget(others).await?;
        }
        Ok(PhoneToken(token))
    }

    /// A customer's devices, the oldest first.
    pub async fn of(&self, psu: &PsuId) -> Result<Vec<Phone>, StoreError> {
        let phones = sqlx::query_as(
            "SELECT token, enrolled FROM phone WHERE psu = $1 AND enrolled > $2 \
             ORDER BY enrolled, token",
        );
        let phones = phones.bind(&psu.0).bind(self.oldest());
        Ok(phones.fetch_all(self.database.pool()).await?)
    }

    /// Removes a device of the customer.
    pub async fn remove(&self, psu: &PsuId, id: &str) -> Result<(), StoreError> {
        let delete = "DELETE FROM phone WHERE psu = $1 AND token = $2";
        remove_element(&self.database, delete, psu, id).await
    }

    /// The customer of that device, if it is enrolled. An enrolment by a clock that was ahead
    /// counts from now.
    pub async fn owner(&self, token: &str) -> Result<Option<PsuId>, StoreError> {
        let (token, now) = (digest::sha256(token.as_bytes()), self.calendar.now());
        let found: Option<(String, i64)> =
            sqlx::query_as("SELECT psu, enrolled FROM phone WHERE token = $1 AND enrolled > $2")
                .bind(&token)
                .bind(self.oldest())
                .fetch_optional(self.database.pool())
                .await?;
        let Some((psu, enrolled)) = found else {
            return Ok(None);
        };
        if enrolled > (now + MAX_CLOCK_SKEW).timestamp() {
            sqlx::query("UPDATE phone SET enrolled = $1 WHERE token = $2")
                .bind(now.timestamp())
                .bind(&token)
                .execute(self.database.pool())
                .await?;
        }
        Ok(Some(PsuId(psu)))
    }

    /// Ends the enrolment of a device.
    pub async fn forget(&self, token: &str) -> Result<(), StoreError> {
        match self.owner(token).await? {
            Some(psu) => self.remove(&psu, &digest::sha256(token.as_bytes())).await,
            None => Ok(()),
        }
    }

    fn oldest(&self) -> i64 {
        (self.calendar.now() - LIFETIME).timestamp()
    }
}

impl FromRow<'_, AnyRow> for Phone {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("phone", row);
        Ok(Self {
            id: row.get("token")?,
            enrolled: row.get("enrolled")?,
        })
    }
}

#[async_trait]
impl Method for Phones {
    fn id(&self) -> MethodId {
        MethodId::App
    }

    async fn is_enrolled(&self, psu: &PsuId) -> Result<bool> {
        let phones = sqlx::query("SELECT 1 FROM phone WHERE psu = $1 AND enrolled > $2 LIMIT 1");
        let phones = phones.bind(&psu.0).bind(self.oldest());
        let found = phones.fetch_optional(self.database.pool()).await?;
        Ok(found.is_some())
    }

    /// Sends nothing: the app reads the waiting authorisations.
    async fn challenge(&self, _: &PsuId, _: &Subject, _: Source<'_>) -> Result<Challenge> {
        Ok(Challenge::App)
    }

    /// The answer is the token of the device on which the customer approves.
    async fn check(&self, psu: &PsuId, _: &Subject, answer: &str) -> Result<()> {
        match self.owner(answer).await? {
            Some(owner) if owner == *psu => Ok(()),
            _ => Err(ScaError::WrongAnswer { attempts_left: 0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use shared_types::environment::{Clock, ManualClock, SystemRandomness};

    use super::*;

    #[tokio::test]
    async fn a_device_that_was_enrolled_by_a_clock_ahead_lasts_no_longer_than_others() {
        let (database, _folder) = crate::store::tests::database().await;
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let phones = |clock: &Arc<ManualClock>| {
            let calendar = Calendar::new(Arc::clone(clock) as Arc<dyn Clock>, Tz::UTC);
            Phones::new(database.clone(), calendar, Arc::new(SystemRandomness))
        };
        let fast = Arc::new(ManualClock::at(now + TimeDelta::days(700)));
        let right = Arc::new(ManualClock::at(now));
        let anna = PsuId("anna.weber".to_owned());
        let token = phones(&fast).enrol(&anna).await.unwrap();
        let owner = async || phones(&right).owner(&token.0).await.unwrap();
        assert_eq!(owner().await.as_ref(), Some(&anna));
        right.advance(LIFETIME - TimeDelta::seconds(1));
        assert_eq!(owner().await, Some(anna));
        right.advance(TimeDelta::seconds(1));
        assert_eq!(owner().await, None);
    }
}
