//! Transactions that write, and how they keep out of each other's way.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::Row as _;

use super::StoreError;
use super::engine::Engine;
use super::pool::{Pool, PooledConnection};
use super::row_cache::Caches;
use crate::domain::PsuId;

/// A transaction that writes. What is not committed when it is dropped has not happened.
#[derive(Debug)]
pub struct WriteTransaction {
    engine: Engine,
    held: PooledConnection,
    caches: Arc<Caches>,
    /// Consents that it changes.
    changed: Vec<String>,
}

/// Whatever has become of it, and even if nobody knows: nothing that was read before is taken to hold.
impl Drop for WriteTransaction {
    fn drop(&mut self) {
        for id in &self.changed {
            self.caches.consents.forget(id);
        }
    }
}

/// What only one transaction does at a time, on whichever replica.
#[derive(Debug, Clone, Copy)]
pub enum AdvisoryLock<'a> {
    /// What is decided by all that there is of one customer: how much waits for her, how many sessions she has.
    Customer(&'a PsuId),
    /// The codes of one customer.
    Codes(&'a PsuId),
    /// Attempts that count together, by the name of their bucket.
    Attempts(&'a str),
    /// Removing what has been kept for long enough.
    Retention,
}

impl AdvisoryLock<'_> {
    fn name(self) -> String {
        match self {
            Self::Customer(psu) => format!("customer:{}", psu.0),
            Self::Codes(psu) => format!("codes:{}", psu.0),
            Self::Attempts(bucket) => format!("attempts:{bucket}"),
            Self::Retention => "retention".to_owned(),
        }
    }
}

impl WriteTransaction {
    pub(super) async fn begin(
        engine: Engine,
        pool: &Pool,
        caches: &Arc<Caches>,
    ) -> Result<Self, StoreError> {
        let mut held = pool.acquire().await?;
        held.begin(engine.begin()).await?;
        Ok(Self {
            engine,
            held,
            caches: Arc::clone(caches),
            changed: Vec::new(),
        })
    }

    /// Waits until no other transaction has that turn, and keeps it to the end. Take turns in the order in which
    /// [`AdvisoryLock`] names them, and before rows are locked; of these, authorisations come before consents. So no two
    /// transactions wait for each other.
    pub async fn take(&mut self, turn: AdvisoryLock<'_>) -> Result<(), StoreError> {
        let Some(statement) = self.engine.take_turn() else {
            return Ok(());
        };
        sqlx::query(statement)
            .bind(turn.name())
            .execute(&mut self.held)
            .await?;
        Ok(())
    }

    /// Takes that turn if no other transaction has it. Says whether it does.
    pub async fn try_take(&mut self, turn: AdvisoryLock<'_>) -> Result<bool, StoreError> {
        let Some(statement) = self.engine.try_take_turn() else {
            return Ok(true);
        };
        let row = sqlx::query(statement)
            .bind(turn.name())
            .fetch_one(&mut self.held)
            .await?;
        Ok(row.try_get("taken")?)
    }

    /// A `SELECT` whose rows stay as they are until this transaction ends.
    #[must_use]
    pub fn locked(&self, select: &str) -> String {
        format!("{select}{}", self.engine.lock_rows())
    }

    /// To be said of each consent that it changes, or whose accounts: what was read of it before does not hold any more.
    pub(super) fn changes(&mut self, consent: &str) {
        self.changed.push(consent.to_owned());
    }

    /// Has it not happened, before this returns. What is dropped is rolled back soon after.
    pub async fn roll_back(mut self) -> Result<(), StoreError> {
        Ok(self.held.roll_back().await?)
    }

    /// Has it happen.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        Ok(self.held.commit().await?)
    }
}

impl Deref for WriteTransaction {
    type Target = PooledConnection;

    fn deref(&self) -> &PooledConnection {
        &self.held
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut PooledConnection {
        &mut self.held
    }
}
