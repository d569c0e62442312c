//! Repository of customers' credentials: password hashes, and the sealed TOTP secrets of their
//! authenticators.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::vault::Vault;
use super::{AdvisoryLock, Database, Result, StoreError, WriteTransaction};
use crate::domain::{PsuId, TotpSecret};

/// Statements that end what depends on replaced credentials. Spent TOTP codes stay recorded,
/// because a secret can be set again; the reservation of a known device for a code does not.
const ENDINGS: [&str; 5] = [
    "DELETE FROM session WHERE psu = $1",
    "DELETE FROM phone WHERE psu = $1",
    "DELETE FROM passkey WHERE psu = $1",
    "DELETE FROM passkey_question WHERE psu = $1",
    "UPDATE code SET standing = 0 WHERE psu = $1",
];

/// Statements that end unfinished log-ins and approvals under the credentials: log-ins before their
/// second factor, approvals before their end or confirmation.
const UNDER_WAY: [&str; 2] = [
    "DELETE FROM session WHERE psu = $1 AND level = 'authorisation'",
    "UPDATE authorisation SET status = 'failed', confirmation = NULL, pending = NULL \
     WHERE psu = $1 AND (status IN ('psuAuthenticated', 'scaMethodSelected', 'unconfirmed') \
     OR status = 'started' AND method IS NOT NULL)",
];

/// Version of a customer's credentials. Changes with the password, the authenticator, the passkeys
/// and the devices.
///
/// An authentication under one version counts only while that is the current one (`is_current`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsVersion(i64);

/// 0 for a customer without credentials.
impl FromRow<'_, AnyRow> for CredentialsVersion {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self(row.try_get::<Option<i64>, _>("version")?.unwrap_or(0)))
    }
}

/// Whether that is still the version of the customer's credentials. It stays so until the
/// transaction ends.
pub(crate) async fn is_current(
    transaction: &mut WriteTransaction,
    psu: &PsuId,
    version: CredentialsVersion,
) -> Result<bool> {
    transaction.take(AdvisoryLock::Customer(psu)).await?;
    let current: Option<CredentialsVersion> =
        sqlx::query_as("SELECT version FROM credential WHERE psu = $1")
            .bind(&psu.0)
            .fetch_optional(&mut **transaction)
            .await?;
    Ok(current.unwrap_or_default() == version)
}

/// Begins the next version of a customer's credentials, in the transaction that changes them, and
/// ends the pending authentications under the previous one.
pub(crate) async fn begin_version(transaction: &mut WriteTransaction, psu: &PsuId) -> Result<()> {
    transaction.take(AdvisoryLock::Customer(psu)).await?;
    let next = "UPDATE credential SET version = version + 1 WHERE psu = $1";
    for statement in std::iter::once(next).chain(UNDER_WAY) {
        sqlx::query(statement)
            .bind(&psu.0)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// Removes a customer's device or passkey by a statement with the customer's id and its own. If one
/// was removed, increments the version of the credentials.
pub(crate) async fn remove_element(
    database: &Database,
    delete: &'static str,
    psu: &PsuId,
    id: &str,
) -> Result<()> {
    let mut transaction = database.begin_write().await?;
    transaction.take(AdvisoryLock::Customer(psu)).await?;
    let delete = sqlx::query(delete).bind(&psu.0).bind(id);
    let removed = delete.execute(&mut *transaction).await?;
    if removed.rows_affected() > 0 {
        begin_version(&mut transaction, psu).await?;
    }
    transaction.commit().await
}

/// Credentials in the database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CustomerCredentials {
    database: Database,
    vault: Vault,
}

impl CustomerCredentials {
    /// The credentials in that database.
    #[must_use]
    pub fn new(database: Database, vault: Vault) -> Self {
        Self { database, vault }
    }

    /// Sets a customer's password, as its hash, and the secret of the authenticator. Replaces the
    /// previous ones, and removes all that was proved by them: the customer's sessions, devices,
    /// passkeys and open challenges, and approvals that have not taken effect yet.
    ///
    /// With another key than that of the secrets that are there, nothing is changed.
    pub async fn set(
        &self,
        psu: &PsuId,
        password_hash: &str,
        secret: Option<&TotpSecret>,
    ) -> Result<()> {
        if !self.has_their_key().await? {
            return Err(StoreError::OtherKey);
        }
        let sealed = secret
            .map(|secret| self.vault.seal(&context(psu), secret.as_bytes()))
            .transpose()?;
        let mut transaction = self.database.begin_write().await?;
        transaction.take(AdvisoryLock::Customer(psu)).await?;
        transaction.take(AdvisoryLock::Codes(psu)).await?;
        for ending in ENDINGS {
            sqlx::query(ending)
                .bind(&psu.0)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(
            "INSERT INTO credential (psu, password, totp) VALUES ($1, $2, $3) \
             ON CONFLICT (psu) DO UPDATE SET password = excluded.password, totp = excluded.totp",
        )
        .bind(&psu.0)
        .bind(password_hash)
        .bind(sealed)
        .execute(&mut *transaction)
        .await?;
        begin_version(&mut transaction, psu).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Whether this is the key that sealed the secrets in this database: one of several can be
    /// decrypted, or there are none.
    pub async fn has_their_key(&self) -> Result<bool> {
        // Several rows, so that a single damaged one does not decide the result.
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT psu, totp FROM credential WHERE totp IS NOT NULL ORDER BY psu LIMIT 100",
        )
        .fetch_all(self.database.pool())
        .await?;
        let opens = |(psu, sealed): &(String, String)| {
            let opened = self.vault.open(&context(&PsuId(psu.clone())), sealed);
            opened.is_ok()
        };
        Ok(rows.is_empty() || rows.iter().any(opens))
    }

    /// Password hash of a customer, if the customer exists, and the version of the credentials.
    pub async fn password(&self, psu: &PsuId) -> Result<Option<(String, CredentialsVersion)>> {
        let known: Option<(String, i64)> =
            sqlx::query_as("SELECT password, version FROM credential WHERE psu = $1")
                .bind(&psu.0)
                .fetch_optional(self.database.pool())
                .await?;
        Ok(known.map(|(password, version)| (password, CredentialsVersion(version))))
    }

    /// The version of a customer's credentials.
    pub async fn version(&self, psu: &PsuId) -> Result<CredentialsVersion> {
        let known = self.password(psu).await?;
        Ok(known.map(|(_, version)| version).unwrap_or_default())
    }

    /// The secret of a customer's authenticator, if any.
    pub async fn secret(&self, psu: &PsuId) -> Result<Option<TotpSecret>> {
        let sealed: Option<Option<String>> =
            sqlx::query_scalar("SELECT totp FROM credential WHERE psu = $1")
                .bind(&psu.0)
                .fetch_optional(self.database.pool())
                .await?;
        let Some(sealed) = sealed.flatten() else {
            return Ok(None);
        };
        let secret = TotpSecret::from_slice(&self.vault.open(&context(psu), &sealed)?);
        Ok(Some(
            secret.map_err(|_| StoreError::corrupt("credential.totp"))?,
        ))
    }
}

fn context(psu: &PsuId) -> String {
    format!("totp:{}", psu.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared_types::environment::SystemRandomness;

    use super::*;

    #[tokio::test]
    async fn another_key_seals_nothing_beside_what_is_there() {
        let (database, _folder) = crate::store::tests::database().await;
        let with = |key| {
            let vault = Vault::new(&[key; 32], Arc::new(SystemRandomness)).unwrap();
            CustomerCredentials::new(database.clone(), vault)
        };
        let (ours, another) = (with(3), with(4));
        let (anna, lucas) = (PsuId("anna".to_owned()), PsuId("lucas".to_owned()));
        let secret = TotpSecret::random(&SystemRandomness);
        assert!(another.has_their_key().await.unwrap(), "there is nothing");
        ours.set(&lucas, "hash", Some(&secret)).await.unwrap();
        assert!(ours.has_their_key().await.unwrap());
        assert!(!another.has_their_key().await.unwrap());
        let refused = another.set(&anna, "hash", Some(&secret)).await;
        assert!(matches!(refused, Err(StoreError::OtherKey)), "{refused:?}");
        assert!(another.password(&anna).await.unwrap().is_none());
        // One that was damaged is that customer's trouble alone.
        let damaged = "INSERT INTO credential (psu, password, totp) VALUES ('a', 'hash', 'x')";
        sqlx::query(damaged).execute(database.pool()).await.unwrap();
        assert!(ours.has_their_key().await.unwrap());
    }

    #[tokio::test]
    async fn with_the_credentials_all_ends_that_came_of_them() {
        const HERS: [(&str, &str); 4] = [
            (
                "INSERT INTO session (digest, psu, level, begun, last_seen) VALUES ($1, $1, \
                 'full', 0, 0)",
                "SELECT psu FROM session",
            ),
            (
                "INSERT INTO phone (token, psu, enrolled) VALUES ($1, $1, 0)",
                "SELECT psu FROM phone",
            ),
            (
                "INSERT INTO passkey (id, psu, name, credential, created) VALUES ($1, $1, '', \
                 '{}', 0)",
                "SELECT psu FROM passkey",
            ),
            (
                "INSERT INTO passkey_question (psu, subject, state, asked) VALUES ($1, '', '{}', \
                 0)",
                "SELECT psu FROM passkey_question",
            ),
        ];
        let (database, _folder) = crate::store::tests::database().await;
        let vault = Vault::new(&[3; 32], Arc::new(SystemRandomness)).unwrap();
        let credentials = CustomerCredentials::new(database.clone(), vault);
        for (insert, _) in HERS {
            for psu in ["anna", "lucas"] {
                let inserted = sqlx::query(insert).bind(psu).execute(database.pool()).await;
                inserted.unwrap();
            }
        }
        let anna = PsuId("anna".to_owned());
        credentials.set(&anna, "hash", None).await.unwrap();
        for (_, select) in HERS {
            let rows = sqlx::query(select)
                .fetch_all(database.pool())
                .await
                .unwrap();
            let left: Vec<String> = rows.iter().map(|row| row.get("psu")).collect();
            assert_eq!(left, ["lucas"], "{select}");
        }
        let known = credentials.password(&anna).await.unwrap();
        assert_eq!(known.map(|(hash, _)| hash).as_deref(), Some("hash"));
    }

    #[tokio::test]
    async fn new_credentials_have_another_version() {
        let (database, _folder) = crate::store::tests::database().await;
        let vault = Vault::new(&[3; 32], Arc::new(SystemRandomness)).unwrap();
        let credentials = CustomerCredentials::new(database.clone(), vault);
        let anna = PsuId("anna".to_owned());
        let mut before = credentials.version(&anna).await.unwrap();
        for _ in 0..2 {
            credentials.set(&anna, "hash", None).await.unwrap();
            let now = credentials.version(&anna).await.unwrap();
            let mut transaction = database.begin_write().await.unwrap();
            for (version, current) in [(before, false), (now, true)] {
                let found = is_current(&mut transaction, &anna, version).await;
                assert_eq!(found.unwrap(), current, "{version:?}");
            }
            before = now;
        }
    }
}
