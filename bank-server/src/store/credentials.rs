//! What customers prove themselves with: passwords, as hashes, and the secrets of their authenticators, sealed.

use sqlx::Row as _;

use super::vault::Vault;
use super::{Database, StoreError};
use crate::core_banking::PsuId;
use crate::sca::{ScaError, Secret};

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

    /// Gives a customer a password, as its hash, and the secret of her authenticator. Those before are gone.
    pub async fn set(
        &self,
        psu: &PsuId,
        password_hash: &str,
        secret: Option<&Secret>,
    ) -> Result<(), ScaError> {
        let sealed = secret
            .map(|secret| self.vault.seal(&context(psu), secret.as_bytes()))
            .transpose()?;
        sqlx::query(
            "INSERT INTO credential (psu, password, totp) VALUES ($1, $2, $3) \
             ON CONFLICT (psu) DO UPDATE SET password = excluded.password, totp = excluded.totp",
        )
        .bind(&psu.0)
        .bind(password_hash)
        .bind(sealed)
        .execute(self.database.pool())
        .await?;
        Ok(())
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
