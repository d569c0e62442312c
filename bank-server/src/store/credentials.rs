//! What customers prove themselves with: passwords, as hashes, and the secrets of their authenticators, sealed.

use sqlx::Row as _;

use super::vault::Vault;
use super::{Database, StoreError, Turn};
use crate::core_banking::PsuId;
use crate::sca::{ScaError, Secret};

/// What a customer has by her credentials ends with them.
const ENDINGS: [&str; 5] = [
    "DELETE FROM session WHERE psu = $1",
    "DELETE FROM phone WHERE psu = $1",
    "DELETE FROM passkey WHERE psu = $1",
    "DELETE FROM passkey_question WHERE psu = $1",
    "DELETE FROM code WHERE psu = $1",
];

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

    /// Gives a customer a password, as its hash, and the secret of her authenticator. Those before are gone, and with them
    /// all that was proved by them: her sessions, devices and passkeys, and what she was being asked.
    ///
    /// With another key than that of the secrets that are there, nothing is changed.
    pub async fn set(
        &self,
        psu: &PsuId,
        password_hash: &str,
        secret: Option<&Secret>,
    ) -> Result<(), ScaError> {
        if !self.has_their_key().await? {
            return Err(ScaError::OtherKey);
        }
        let sealed = secret
            .map(|secret| self.vault.seal(&context(psu), secret.as_bytes()))
            .transpose()?;
        let mut transaction = self.database.begin_write().await?;
        transaction.take(Turn::Customer(psu)).await?;
        transaction.take(Turn::Codes(psu)).await?;
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
        transaction.commit().await?;
        Ok(())
    }

    /// Whether this is the key with which secrets here were sealed: one of some opens, or there are none.
    pub async fn has_their_key(&self) -> Result<bool, StoreError> {
        // More than one, so that one that was damaged decides nothing.
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

    /// The hash of a customer's password, if there is such a customer.
    pub async fn password(&self, psu: &PsuId) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT password FROM credential WHERE psu = $1")
            .bind(&psu.0)
            .fetch_optional(self.database.pool())
            .await?;
        Ok(row.map(|row| row.try_get("password")).transpose()?)
    }

    /// The secret of a customer's authenticator, if she has one.
    pub async fn secret(&self, psu: &PsuId) -> Result<Option<Secret>, ScaError> {
        let row = sqlx::query("SELECT totp FROM credential WHERE psu = $1")
            .bind(&psu.0)
            .fetch_optional(self.database.pool())
            .await?;
        let Some(sealed) = row
            .map(|row| row.try_get::<Option<String>, _>("totp"))
            .transpose()?
            .flatten()
        else {
            return Ok(None);
        };
        let secret =
            Secret::from_slice(&self.vault.open(&context(psu), &sealed)?).map_err(|_| {
                StoreError::Corrupt {
                    what: "credential.totp",
                }
            })?;
        Ok(Some(secret))
    }
}

fn context(psu: &PsuId) -> String {
    format!("totp:{}", psu.0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bank_client::environment::SystemRandomness;

    use super::*;

    #[tokio::test]
    async fn another_key_seals_nothing_beside_what_is_there() {
        let (database, _folder) = crate::store::testing::database().await;
        let with = |key| {
            let vault = Vault::new(&[key; 32], Arc::new(SystemRandomness)).unwrap();
            CustomerCredentials::new(database.clone(), vault)
        };
        let (ours, another) = (with(3), with(4));
        let (anna, lucas) = (PsuId("anna".to_owned()), PsuId("lucas".to_owned()));
        let secret = Secret::random(&SystemRandomness);
        assert!(another.has_their_key().await.unwrap(), "there is nothing");
        ours.set(&lucas, "hash", Some(&secret)).await.unwrap();
        assert!(ours.has_their_key().await.unwrap());
        assert!(!another.has_their_key().await.unwrap());
        let refused = another.set(&anna, "hash", Some(&secret)).await;
        assert!(matches!(refused, Err(ScaError::OtherKey)), "{refused:?}");
        assert_eq!(another.password(&anna).await.unwrap(), None);
        // One that was damaged is that customer's trouble alone.
        let damaged = "INSERT INTO credential (psu, password, totp) VALUES ('a', 'hash', 'x')";
        sqlx::query(damaged).execute(database.pool()).await.unwrap();
        assert!(ours.has_their_key().await.unwrap());
    }

    #[tokio::test]
    async fn with_the_credentials_all_ends_that_came_of_them() {
        const HERS: [(&str, &str); 5] = [
            (
                "INSERT INTO session (digest, psu, level, begun, last_seen) VALUES ($1, $1, 'full', 0, 0)",
                "SELECT psu FROM session",
            ),
            (
                "INSERT INTO phone (token, psu, enrolled) VALUES ($1, $1, 0)",
                "SELECT psu FROM phone",
            ),
            (
                "INSERT INTO passkey (id, psu, name, credential, created) VALUES ($1, $1, '', '{}', 0)",
                "SELECT psu FROM passkey",
            ),
            (
                "INSERT INTO passkey_question (psu, subject, state, asked) VALUES ($1, '', '{}', 0)",
                "SELECT psu FROM passkey_question",
            ),
            (
                "INSERT INTO code (psu, opened, first_step, used_step, wrong, standing) VALUES ($1, 0, 0, 0, 0, 0)",
                "SELECT psu FROM code",
            ),
        ];
        let (database, _folder) = crate::store::testing::database().await;
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
        assert_eq!(
            credentials.password(&anna).await.unwrap().as_deref(),
            Some("hash")
        );
    }
}
