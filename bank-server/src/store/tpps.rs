//! The TPPs, as certificate and register named them: for the customer, who is asked when the TPP is not there.

use chrono::{DateTime, Utc};
use sqlx::{Any, Transaction};

use super::StoreError;
use crate::identity::Tpp;

/// Notes who a TPP is, beside what it asks for.
pub(super) async fn note(
    transaction: &mut Transaction<'static, Any>,
    tpp: &Tpp,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO tpp (organisation, name, authority, updated) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (organisation) DO UPDATE SET name = excluded.name, authority = excluded.authority, \
         updated = excluded.updated WHERE tpp.name <> excluded.name OR tpp.authority <> excluded.authority",
    )
    .bind(tpp.organisation().as_str())
    .bind(tpp.name())
    .bind(tpp.nca())
    .bind(now.timestamp())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
