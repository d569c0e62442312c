//! Passkeys (`WebAuthn`, level 2): keys in a browser or a device, bound to the bank's own pages.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::FromRow;
use sqlx::any::AnyRow;
use url::Url;
use uuid::Uuid;
use webauthn_rs::prelude::{
    Credential, Passkey, PasskeyAuthentication, PasskeyRegistration, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use super::{Challenge, Method, Result, ScaError, Source, Subject};
use crate::calendar::{Calendar, MAX_CLOCK_SKEW};
use crate::domain::{MethodId, PsuId};
use crate::store::columns::{Columns, to_json};
use crate::store::credentials::{CredentialsVersion, begin_version, is_current, remove_element};
use crate::store::vault::Vault;
use crate::store::{Database, StoreError};

/// Lifetime of a challenge.
const CHALLENGE_LIFETIME: TimeDelta = TimeDelta::minutes(10);

/// Maximum number of passkeys of one customer.
const MAX_PASSKEYS: i64 = 10;

/// Columns of JSON.
const CREDENTIAL: &str = "passkey.credential";
const STATE: &str = "passkey_question.state";

/// The customers' passkeys. Cheap to clone.
#[derive(Clone)]
pub struct Passkeys {
    webauthn: Arc<Webauthn>,
    database: Database,
    vault: Vault,
    calendar: Calendar,
}

/// Error of a passkey operation.
#[derive(Debug, thiserror::Error)]
pub enum PasskeysError {
    /// The origin of the pages is not usable for passkeys: they need a host name.
    #[error("passkeys cannot be used at this address: {0}")]
    Origin(WebauthnError),
    /// The browser's answer is invalid.
    #[error("the browser's answer was not accepted")]
    Answer,
    /// The customer has the maximum number of passkeys.
    #[error("a customer may have {MAX_PASSKEYS} passkeys; remove one first")]
    TooMany,
    /// The library failed.
    #[error("passkeys failed: {0}")]
    Library(WebauthnError),
}

/// A passkey, as a customer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPasskey {
    /// Its id.
    pub id: String,
    /// The customer's name for it.
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
        let passkeys = sqlx::query_as(
            "SELECT id, name, created, last_used FROM passkey WHERE psu = $1 ORDER BY created, id",
        );
        let passkeys = passkeys.bind(&psu.0);
        Ok(passkeys.fetch_all(self.database.pool()).await?)
    }

    /// Begins a registration: returns the options of `navigator.credentials.create`, as JSON. The
    /// customer has just authenticated.
    pub async fn begin(&self, psu: &PsuId, subject: &Subject) -> Result<serde_json::Value> {
        let known = self.keys(psu).await?;
        if i64::try_from(known.len()).is_ok_and(|known| known >= MAX_PASSKEYS) {
            return Err(PasskeysError::TooMany.into());
        }
        let exclude = known.iter().map(|key| key.cred_id().clone()).collect();
        let (options, state) = self
            .webauthn
            .start_passkey_registration(self.handle_of(psu), &psu.0, &psu.0, Some(exclude))
            .map_err(PasskeysError::Library)?;
        self.store_challenge(psu, subject, &state).await?;
        value(&options)
    }

    /// Finishes a registration with the browser's answer, under the credentials by which the
    /// customer has authenticated.
    pub(crate) async fn finish(
        &self,
        psu: &PsuId,
        subject: &Subject,
        credentials: CredentialsVersion,
        name: &str,
        answer: &str,
    ) -> Result<()> {
        let state: PasskeyRegistration = self.take_challenge(psu, subject).await?;
        let answer = serde_json::from_str(answer).map_err(|_| PasskeysError::Answer)?;
        let key = self
            .webauthn
            .finish_passkey_registration(&answer, &state)
            .map_err(|_| PasskeysError::Answer)?;
        let mut transaction = self.database.begin_write().await?;
        if !is_current(&mut transaction, psu, credentials).await? {
            return Err(PasskeysError::Answer.into());
        }
        // Several may have been begun at once: what counts is how many there are now.
        let known: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM passkey WHERE psu = $1")
            .bind(&psu.0)
            .fetch_one(&mut *transaction)
            .await?;
        if known >= MAX_PASSKEYS {
            return Err(PasskeysError::TooMany.into());
        }
        let stored = sqlx::query(
            "INSERT INTO passkey (id, psu, name, credential, created) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(URL_SAFE_NO_PAD.encode(key.cred_id()))
        .bind(&psu.0)
        .bind(name)
        .bind(to_json(&key, CREDENTIAL)?)
        .bind(self.calendar.now().timestamp())
        .execute(&mut *transaction)
        .await?;
        if stored.rows_affected() == 0 {
            return Err(PasskeysError::Answer.into());
        }
        begin_version(&mut transaction, psu).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Removes a passkey of the customer.
    pub async fn remove(&self, psu: &PsuId, id: &str) -> Result<(), StoreError> {
        let delete = "DELETE FROM passkey WHERE psu = $1 AND id = $2";
        remove_element(&self.database, delete, psu, id).await
    }

    /// Decoy options that look like a challenge and accept no answer: with the customer's own
    /// passkeys, or with an invented one, the same each time. They do not reveal whether the
    /// customer exists (`WebAuthn`, section 14.6.2).
    pub(super) async fn decoy(&self, psu: &PsuId) -> Result<serde_json::Value> {
        let keys = self.keys(psu).await?;
        let (options, _) = self
            .webauthn
            .start_passkey_authentication(&keys)
            .map_err(PasskeysError::Library)?;
        let mut options = value(&options)?;
        if keys.is_empty() {
            let id = URL_SAFE_NO_PAD.encode(self.vault.mac("no-passkey", psu.0.as_bytes()));
            let key = serde_json::json!([{ "type": "public-key", "id": id }]);
            let asked = options
                .get_mut("publicKey")
                .and_then(|asked| asked.as_object_mut());
            asked.map(|asked| asked.insert("allowCredentials".to_owned(), key));
        }
        Ok(options)
    }

    /// User handle for authenticators, which does not reveal the customer's id.
    fn handle_of(&self, psu: &PsuId) -> Uuid {
        let mac = self.vault.mac("passkey-user", psu.0.as_bytes());
        let bytes = mac.first_chunk().copied().unwrap_or_default();
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    async fn keys(&self, psu: &PsuId) -> Result<Vec<Passkey>, StoreError> {
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT credential FROM passkey WHERE psu = $1 ORDER BY created, id",
        )
        .bind(&psu.0)
        .fetch_all(self.database.pool())
        .await?;
        keys.iter().map(|key| from_json(key, CREDENTIAL)).collect()
    }

    async fn store_challenge(
        &self,
        psu: &PsuId,
        subject: &Subject,
        state: &impl Serialize,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO passkey_question (psu, subject, state, asked) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (psu, subject) DO UPDATE SET state = excluded.state, asked = excluded.asked",
        )
        .bind(&psu.0)
        .bind(subject.as_str())
        .bind(to_json(state, STATE)?)
        .bind(self.calendar.now().timestamp())
        .execute(self.database.pool())
        .await?;
        Ok(())
    }

    /// The stored state of a challenge. A challenge is valid once: its answer deletes it.
    async fn take_challenge<T: DeserializeOwned>(
        &self,
        psu: &PsuId,
        subject: &Subject,
    ) -> Result<T> {
        // Reads all rows: before that, SQLite has returned the row, but not committed its deletion.
        let states: Vec<String> = sqlx::query_scalar(
            "DELETE FROM passkey_question WHERE psu = $1 AND subject = $2 AND asked > $3 AND asked <= $4 RETURNING state",
        )
        .bind(&psu.0)
        .bind(subject.as_str())
        .bind((self.calendar.now() - CHALLENGE_LIFETIME).timestamp())
        .bind((self.calendar.now() + MAX_CLOCK_SKEW).timestamp())
        .fetch_all(self.database.pool())
        .await?;
        let state = states.first().ok_or(ScaError::NoChallenge)?;
        Ok(from_json(state, STATE)?)
    }
}

#[async_trait]
impl Method for Passkeys {
    fn id(&self) -> MethodId {
        MethodId::Passkey
    }

    async fn is_enrolled(&self, psu: &PsuId) -> Result<bool> {
        Ok(!self.keys(psu).await?.is_empty())
    }

    async fn challenge(&self, psu: &PsuId, subject: &Subject, _: Source<'_>) -> Result<Challenge> {
        let keys = self.keys(psu).await?;
        let (options, state) = self
            .webauthn
            .start_passkey_authentication(&keys)
            .map_err(PasskeysError::Library)?;
        self.store_challenge(psu, subject, &state).await?;
        Ok(Challenge::Browser {
            options: value(&options)?,
        })
    }

    async fn check(&self, psu: &PsuId, subject: &Subject, answer: &str) -> Result<()> {
        let state: PasskeyAuthentication = self.take_challenge(psu, subject).await?;
        let wrong = ScaError::WrongAnswer { attempts_left: 0 };
        let Ok(answer) = serde_json::from_str(answer) else {
            return Err(wrong);
        };
        let Ok(result) = self.webauthn.finish_passkey_authentication(&answer, &state) else {
            return Err(wrong);
        };
        // The challenge holds the key of that time. It can have signed since, or have been removed.
        let id = URL_SAFE_NO_PAD.encode(result.cred_id());
        let mut transaction = self.database.begin_write().await?;
        let select =
            transaction.locked("SELECT credential FROM passkey WHERE id = $1 AND psu = $2");
        let key: Option<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(select))
            .bind(&id)
            .bind(&psu.0)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(key) = key else {
            return Err(wrong);
        };
        let mut key: Passkey = from_json(&key, CREDENTIAL)?;
        let stored = Credential::from(key.clone()).counter;
        if !is_ahead(result.counter(), stored) {
            tracing::warn!(
                passkey = id,
                counter = result.counter(),
                stored,
                "passkey refused: its signature counter did not increase, it may have been cloned"
            );
            return Err(wrong);
        }
        key.update_credential(&result);
        sqlx::query("UPDATE passkey SET credential = $1, last_used = $2 WHERE id = $3")
            .bind(to_json(&key, CREDENTIAL)?)
            .bind(self.calendar.now().timestamp())
            .bind(&id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Whether a signature counter has increased from the stored one (`WebAuthn`, section 7.2, step
/// 22). Both are 0 for a passkey that does not count.
const fn is_ahead(counter: u32, stored: u32) -> bool {
    counter > stored || (counter == 0 && stored == 0)
}

fn from_json<T: DeserializeOwned>(stored: &str, what: &str) -> Result<T, StoreError> {
    serde_json::from_str(stored).map_err(|_| StoreError::corrupt(what))
}

fn value(options: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(options).map_err(|_| StoreError::corrupt("passkey").into())
}

impl FromRow<'_, AnyRow> for NamedPasskey {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let row = Columns::of("passkey", row);
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            created: row.get("created")?,
            last_used: row.get("last_used")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use chrono_tz::Tz;
    use serde_json::{Value, json};
    use shared_types::environment::{Clock, ManualClock, SystemRandomness};
    use tempfile::TempDir;

    use super::*;
    use crate::store::credentials::CustomerCredentials;

    const ORIGIN: &str = "https://banking.example";
    const ID: [u8; 16] = [7; 16];

    /// An authenticator with one key (`WebAuthn`, sections 6.1 and 6.5.4): a copy of it signs as
    /// well.
    struct Authenticator(EcdsaKeyPair);

    impl Authenticator {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
        }

        fn data(flags: u8, counter: u32) -> Vec<u8> {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"banking.example");
            [hash.as_ref(), &[flags], &counter.to_be_bytes()].concat()
        }

        fn client_data(kind: &str, options: &Value) -> Vec<u8> {
            let challenge = &options["publicKey"]["challenge"];
            let data = json!({ "type": kind, "challenge": challenge, "origin": ORIGIN });
            data.to_string().into_bytes()
        }

        /// The answer to `navigator.credentials.create`, without attestation.
        fn make(&self, options: &Value) -> String {
            let point = self.0.public_key().as_ref();
            let key = [
                &[0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20][..],
                &point[1..33],
                &[0x22, 0x58, 0x20],
                &point[33..],
            ]
            .concat();
            // Present, verified, with the key.
            let data = [&Self::data(0x45, 0)[..], &[0; 16], &[0, 16], &ID, &key].concat();
            let length = u8::try_from(data.len()).unwrap();
            let attestation = [
                b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58",
                &[length][..],
                &data,
            ]
            .concat();
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            json!({
                "id": text(&ID), "rawId": text(&ID), "type": "public-key",
                "response": {
                    "attestationObject": text(&attestation),
                    "clientDataJSON": text(&Self::client_data("webauthn.create", options)),
                },
                "extensions": {},
            })
            .to_string()
        }

        /// The answer to `navigator.credentials.get`, with the counter at that number.
        fn sign(&self, challenge: &Challenge, counter: u32) -> String {
            let Challenge::Browser { options } = challenge else {
                panic!("{challenge:?}")
            };
            let (data, client) = (
                Self::data(0x05, counter),
                Self::client_data("webauthn.get", options),
            );
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &client);
            let message = [&data, hash.as_ref()].concat();
            let signature = self.0.sign(&SystemRandom::new(), &message).unwrap();
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            json!({
                "id": text(&ID), "rawId": text(&ID), "type": "public-key",
                "response": {
                    "authenticatorData": text(&data), "clientDataJSON": text(&client),
                    "signature": text(signature.as_ref()), "userHandle": null,
                },
                "extensions": {},
            })
            .to_string()
        }
    }

    struct Scene {
        passkeys: Passkeys,
        credentials: CustomerCredentials,
        anna: PsuId,
        _folder: TempDir,
    }

    impl Scene {
        async fn set() -> Self {
            let (database, folder) = crate::store::tests::database().await;
            let clock: Arc<dyn Clock> =
                Arc::new(ManualClock::at("2026-11-24T12:00:00Z".parse().unwrap()));
            let vault = Vault::new(&[3; 32], Arc::new(SystemRandomness)).unwrap();
            let origin = Url::parse(ORIGIN).unwrap();
            let calendar = Calendar::new(clock, Tz::UTC);
            let credentials = CustomerCredentials::new(database.clone(), vault.clone());
            let anna = PsuId("anna".to_owned());
            credentials.set(&anna, "hash", None).await.unwrap();
            Self {
                passkeys: Passkeys::new(&origin, "Bank", database, vault, calendar).unwrap(),
                credentials,
                anna,
                _folder: folder,
            }
        }

        async fn add(
            &self,
            authenticator: &Authenticator,
            credentials: CredentialsVersion,
        ) -> Result<()> {
            let making = Subject::act("session", "new-passkey");
            let options = self.passkeys.begin(&self.anna, &making).await?;
            let answer = authenticator.make(&options);
            self.passkeys
                .finish(&self.anna, &making, credentials, "My key", &answer)
                .await
        }

        async fn ask(&self, what: &str) -> (Subject, Challenge) {
            let subject = Subject::authorisation(what);
            let source = Source::Device("device");
            let challenge = self.passkeys.challenge(&self.anna, &subject, source).await;
            (subject, challenge.unwrap())
        }
    }

    #[tokio::test]
    async fn a_copy_of_a_key_is_found_out_under_challenges_that_were_asked_before() {
        let (scene, authenticator) = (Scene::set().await, Authenticator::new());
        let version = scene.credentials.version(&scene.anna).await.unwrap();
        scene.add(&authenticator, version).await.unwrap();
        // Three challenges are open at the same time. The key has signed nothing when they are
        // issued.
        let asked = [
            scene.ask("x").await,
            scene.ask("y").await,
            scene.ask("z").await,
        ];
        for ((subject, challenge), (counter, is_right)) in
            asked.iter().zip([(6, true), (6, false), (7, true)])
        {
            let answer = authenticator.sign(challenge, counter);
            let checked = scene.passkeys.check(&scene.anna, subject, &answer).await;
            assert_eq!(checked.is_ok(), is_right, "{subject:?} {checked:?}");
        }
    }

    /// A challenge that has an answer looks like one that has none.
    #[tokio::test]
    async fn a_question_without_an_answer_looks_like_one_with_one() {
        let (scene, authenticator) = (Scene::set().await, Authenticator::new());
        let form = |options: &Value| {
            let asked = options["publicKey"].as_object().unwrap();
            let keys = asked["allowCredentials"].as_array().unwrap();
            let names: Vec<String> = asked.keys().cloned().collect();
            (names, keys.len(), asked["userVerification"].clone())
        };
        let anna = &scene.anna;
        let before = scene.passkeys.decoy(anna).await.unwrap();
        let again = scene.passkeys.decoy(anna).await.unwrap();
        let keys = "/publicKey/allowCredentials";
        assert_eq!(before.pointer(keys), again.pointer(keys));
        let version = scene.credentials.version(anna).await.unwrap();
        scene.add(&authenticator, version).await.unwrap();
        let (subject, challenge) = scene.ask("x").await;
        let Challenge::Browser { options } = &challenge else {
            panic!("{challenge:?}")
        };
        assert_eq!(form(&before), form(options));
        // Contains the customer's own keys, but no challenge that can be answered.
        let with_key = scene.passkeys.decoy(anna).await.unwrap();
        assert_eq!(with_key.pointer(keys), options.pointer(keys));
        let answer = authenticator.sign(&Challenge::Browser { options: with_key }, 1);
        assert!(scene.passkeys.check(anna, &subject, &answer).await.is_err());
    }

    #[test]
    fn counters_go_on_or_are_none() {
        for (counter, stored, is_right) in [
            (0, 0, true),
            (1, 0, true),
            (6, 5, true),
            (5, 5, false),
            (4, 5, false),
            (0, 5, false),
        ] {
            assert_eq!(is_ahead(counter, stored), is_right, "{counter} {stored}");
        }
    }

    #[tokio::test]
    async fn no_passkey_is_added_under_credentials_that_were_replaced() {
        let (scene, authenticator) = (Scene::set().await, Authenticator::new());
        let version = scene.credentials.version(&scene.anna).await.unwrap();
        scene
            .credentials
            .set(&scene.anna, "new", None)
            .await
            .unwrap();
        let late = scene.add(&authenticator, version).await;
        assert!(
            matches!(late, Err(ScaError::Passkeys(PasskeysError::Answer))),
            "{late:?}"
        );
        assert_eq!(scene.passkeys.of(&scene.anna).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_question_is_good_for_ten_minutes_and_none_from_a_clock_that_is_ahead() {
        let (database, _folder) = crate::store::tests::database().await;
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let passkeys = |minutes| {
            let clock = Arc::new(ManualClock::at(now + TimeDelta::minutes(minutes)));
            let calendar = Calendar::new(clock as Arc<dyn Clock>, Tz::UTC);
            let vault = Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap();
            let origin = "https://banking.example".parse().unwrap();
            Passkeys::new(&origin, "Bank B", database.clone(), vault, calendar).unwrap()
        };
        let (anna, subject) = (PsuId("anna.weber".to_owned()), Subject::log_in("session"));
        for (asked, answered, is_good) in
            [(0, 9, true), (0, 10, false), (1, 0, true), (2, 0, false)]
        {
            passkeys(asked)
                .store_challenge(&anna, &subject, &"state")
                .await
                .unwrap();
            let recalled: Result<String, _> =
                passkeys(answered).take_challenge(&anna, &subject).await;
            assert_eq!(recalled.is_ok(), is_good, "{asked} {answered}");
        }
    }
}
