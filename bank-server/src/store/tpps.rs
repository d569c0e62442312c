//! TPP records, as certificate and register name them: shown to the customer, who approves while
//! the TPP is not connected.

use chrono::{DateTime, Utc};

use super::{Result, WriteTransaction};
use crate::domain::TppRecord;

/// Records a TPP, in the transaction that stores its request.
pub(super) async fn record(
    transaction: &mut WriteTransaction,
    tpp: &TppRecord,
    now: DateTime<Utc>,
) -> Result<()> {
    // Locks no row if nothing has changed; otherwise all requests of a TPP would wait for each
    // other.
    sqlx::query(
        "INSERT INTO tpp (organisation, name, authority, updated) SELECT $1, $2, $3, $4 \
         WHERE NOT EXISTS (SELECT 1 FROM tpp WHERE organisation = $1 AND name = $2 AND authority \
         = $3) \
         ON CONFLICT (organisation) DO UPDATE SET name = excluded.name, authority = \
         excluded.authority, \
         updated = excluded.updated",
    )
    .bind(&tpp.organisation)
    .bind(&tpp.name)
    .bind(&tpp.authority)
    .bind(now.timestamp())
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
