//! Passkeys (`WebAuthn`, level 2): keys that a browser or a device keeps, bound to the bank's own pages.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use url::Url;
use webauthn_rs::prelude::{Passkey, PasskeyAuthentication, PasskeyRegistration, WebauthnError};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use super::{Challenge, Method, MethodId, ScaError, Source, Subject, handle_of};
use crate::calendar::Calendar;
use crate::core_banking::PsuId;
use crate::store::vault::Vault;
use crate::store::{Database, StoreError};

/// How long a browser may take.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// Passkeys that one customer may have.
const MOST: usize = 10;

/// The customers' passkeys. Cheap to clone.
#[derive(Clone)]
pub struct Passkeys {
    webauthn: Arc<Webauthn>,
    database: Database,
    vault: Vault,
    calendar: Calendar,
}

/// What a passkey could not be made of, or used for.
#[derive(Debug, thiserror::Error)]
pub enum PasskeysError {
    /// The pages' address is none for passkeys: they need a host name.
    #[error("passkeys cannot be used at this address: {0}")]
    Origin(WebauthnError),
    /// The browser's answer is not what it should be.
    #[error("the browser's answer was not accepted")]
    Answer,
    /// The customer has as many as she may have.
    #[error("a customer may have {MOST} passkeys; remove one first")]
    TooMany,
    /// The library failed.
    #[error("passkeys failed: {0}")]
    Library(WebauthnError),
}

/// A passkey, as a customer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPasskey {
    /// By which it is removed.
    pub id: String,
    /// As the customer calls it.
    pub name: String,
    /// When it was added.
    pub created: DateTime<Utc>,
    /// When it was last used.
    pub last_used: Option<DateTime<Utc>>,
}

impl Passkeys {
    /// Passkeys for the pages at that address.
    pub fn new(
        origin: &Url,
        bank: &str,
        database: Database,
        vault: Vault,
        calendar: Calendar,
    ) -> Result<Self, PasskeysError> {
        let host = origin.host_str().unwrap_or_default();
        let webauthn = WebauthnBuilder::new(host, origin)
            .and_then(|builder| builder.rp_name(bank).build())
            .map_err(PasskeysError::Origin)?;
        Ok(Self {
            webauthn: Arc::new(webauthn),
            database,
            vault,
            calendar,
        })
    }

    /// A customer's passkeys, the oldest first.
    pub async fn of(&self, psu: &PsuId) -> Result<Vec<NamedPasskey>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, name, created, last_used FROM passkey WHERE psu = $1 ORDER BY created, id",
        )
        .bind(&psu.0)
        .fetch_all(self.database.pool())
        .await?;
        let time = |seconds| {
            DateTime::from_timestamp(seconds, 0).ok_or(StoreError::Corrupt {
                what: "passkey.created",
            })
        };
        rows.iter()
            .map(|row| {
                Ok(NamedPasskey {
                    id: row.try_get("id")?,
                    name: row.try_get("name")?,
                    created: time(row.try_get("created")?)?,
                    last_used: row
                        .try_get::<Option<i64>, _>("last_used")?
                        .map(time)
                        .transpose()?,
                })
            })
            .collect()
    }

    /// Begins to add one: the options of `navigator.credentials.create`, as JSON. The customer has just proved who she is.
    pub async fn begin(
        &self,
        psu: &PsuId,
        subject: &Subject,
    ) -> Result<serde_json::Value, ScaError> {
        let known = self.keys(psu).await?;
        if known.len() >= MOST {
            return Err(PasskeysError::TooMany.into());
        }
        let exclude = known.iter().map(|key| key.cred_id().clone()).collect();
        let (options, state) = self
            .webauthn
            .start_passkey_registration(handle_of(&self.vault, psu), &psu.0, &psu.0, Some(exclude))
            .map_err(PasskeysError::Library)?;
        self.remember(psu, subject, &state).await?;
        value(&options)
    }

    /// Ends adding one, with what the browser answered.
    pub async fn finish(
        &self,
        psu: &PsuId,
        subject: &Subject,
        name: &str,
        answer: &str,
    ) -> Result<(), ScaError> {
        let state: PasskeyRegistration = self.recall(psu, subject).await?;
        let answer = serde_json::from_str(answer).map_err(|_| PasskeysError::Answer)?;
        let key = self
            .webauthn
            .finish_passkey_registration(&answer, &state)
            .map_err(|_| PasskeysError::Answer)?;
        let stored = sqlx::query(
            "INSERT INTO passkey (id, psu, name, credential, created) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(id_of(&key))
        .bind(&psu.0)
        .bind(name)
        .bind(text(&key)?)
        .bind(self.calendar.now().timestamp())
        .execute(self.database.pool())
        .await?;
        if stored.rows_affected() == 0 {
            return Err(PasskeysError::Answer.into());
        }
        Ok(())
    }

    /// Removes one of the customer's.
    pub async fn remove(&self, psu: &PsuId, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM passkey WHERE psu = $1 AND id = $2")
            .bind(&psu.0)
            .bind(id)
            .execute(self.database.pool())
            .await?;
        Ok(())
    }

    async fn keys(&self, psu: &PsuId) -> Result<Vec<Passkey>, StoreError> {
        let rows =
            sqlx::query("SELECT credential FROM passkey WHERE psu = $1 ORDER BY created, id")
                .bind(&psu.0)
                .fetch_all(self.database.pool())
                .await?;
        rows.iter()
            .map(|row| {
                let json: String = row.try_get("credential")?;
                serde_json::from_str(&json).map_err(|_| StoreError::Corrupt {
                    what: "passkey.credential",
                })
            })
            .collect()
    }

    async fn remember(
        &self,
        psu: &PsuId,
        subject: &Subject,
        state: &impl Serialize,
    ) -> Result<(), ScaError> {
        sqlx::query(
            "INSERT INTO passkey_question (psu, subject, state, asked) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (psu, subject) DO UPDATE SET state = excluded.state, asked = excluded.asked",
        )
        .bind(&psu.0)
        .bind(subject.as_str())
        .bind(text(state)?)
        .bind(self.calendar.now().timestamp())
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// What the browser was asked. It is asked once: whoever answers takes the question along.
    async fn recall<T: DeserializeOwned>(
        &self,
        psu: &PsuId,
        subject: &Subject,
    ) -> Result<T, ScaError> {
        // To the end: before that, SQLite has given the row, and not committed that it is gone.
        let states: Vec<String> = sqlx::query_scalar(
            "DELETE FROM passkey_question WHERE psu = $1 AND subject = $2 AND asked > $3 RETURNING state",
        )
        .bind(&psu.0)
        .bind(subject.as_str())
        .bind((self.calendar.now() - PATIENCE).timestamp())
        .fetch_all(self.database.pool())
        .await?;
        let state = states.first().ok_or(ScaError::NoChallenge)?;
        let state = serde_json::from_str(state).map_err(|_| StoreError::Corrupt {
            what: "passkey_question.state",
        })?;
        Ok(state)
    }
}

#[async_trait]
impl Method for Passkeys {
    fn id(&self) -> MethodId {
        MethodId::Passkey
    }

    async fn is_enrolled(&self, psu: &PsuId) -> Result<bool, ScaError> {
        Ok(!self.keys(psu).await?.is_empty())
    }

    async fn challenge(
        &self,
        psu: &PsuId,
        subject: &Subject,
        _: Source<'_>,
    ) -> Result<Challenge, ScaError> {
        let keys = self.keys(psu).await?;
        let (options, state) = self
            .webauthn
            .start_passkey_authentication(&keys)
            .map_err(PasskeysError::Library)?;
        self.remember(psu, subject, &state).await?;
        Ok(Challenge::Browser {
            options: value(&options)?,
        })
    }

    async fn check(&self, psu: &PsuId, subject: &Subject, answer: &str) -> Result<(), ScaError> {
        let state: PasskeyAuthentication = self.recall(psu, subject).await?;
        let wrong = ScaError::WrongAnswer { attempts_left: 0 };
        let Ok(answer) = serde_json::from_str(answer) else {
            return Err(wrong);
        };
        let Ok(result) = self.webauthn.finish_passkey_authentication(&answer, &state) else {
            return Err(wrong);
        };
        let mut keys = self.keys(psu).await?;
        // It can have been removed since it was asked for.
        let Some(key) = keys
            .iter_mut()
            .find(|key| key.cred_id() == result.cred_id())
        else {
            return Err(wrong);
        };
        key.update_credential(&result);
        sqlx::query(
            "UPDATE passkey SET credential = $1, last_used = $2 WHERE id = $3 AND psu = $4",
        )
        .bind(text(key)?)
        .bind(self.calendar.now().timestamp())
        .bind(id_of(key))
        .bind(&psu.0)
        .execute(self.database.pool())
        .await?;
        Ok(())
    }
}

fn id_of(key: &Passkey) -> String {
    URL_SAFE_NO_PAD.encode(key.cred_id())
}

fn text(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt { what: "passkey" })
}

fn value(options: &impl Serialize) -> Result<serde_json::Value, ScaError> {
    serde_json::to_value(options).map_err(|_| StoreError::Corrupt { what: "passkey" }.into())
}
