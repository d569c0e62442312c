//! Write transactions, and the advisory locks that keep them apart.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::Result;
use super::engine::Engine;
use super::pool::{Pool, PooledConnection};
use super::row_cache::Caches;
use crate::domain::PsuId;

/// Write transaction. It is rolled back if it is dropped before its commit.
#[derive(Debug)]
pub struct WriteTransaction {
    engine: Engine,
    connection: PooledConnection,
    caches: Arc<Caches>,
    /// Consents that it changes, which are invalidated when it ends.
    changed: Vec<String>,
}

/// Invalidates the changed consents, also if the outcome of the commit is not known.
impl Drop for WriteTransaction {
    fn drop(&mut self) {
        for id in &self.changed {
            self.caches.consents.invalidate(id);
        }
    }
}

/// Lock that one transaction holds at a time, on whichever replica.
#[derive(Debug, Clone, Copy)]
pub enum AdvisoryLock<'a> {
    /// Decisions on all rows of one customer: waiting approvals, and the number of sessions.
    Customer(&'a PsuId),
    /// The codes of one customer.
    Codes(&'a PsuId),
    /// Attempts of one bucket, by its name.
    Attempts(&'a str),
    /// Removing rows past their retention period.
    Retention,
    /// Importing accounts and entries.
    Import,
}

impl AdvisoryLock<'_> {
    fn name(self) -> String {
        match self {
            Self::Customer(psu) => format!("customer:{}", psu.0),
            Self::Codes(psu) => format!("codes:{}", psu.0),
            Self::Attempts(bucket) => format!("attempts:{bucket}"),
            Self::Retention => "retention".to_owned(),
            Self::Import => "import".to_owned(),
        }
    }
}

impl WriteTransaction {
    pub(super) async fn begin(engine: Engine, pool: &Pool, caches: &Arc<Caches>) -> Result<Self> {
        let mut connection = pool.acquire().await?;
        connection.begin(engine.begin()).await?;
        Ok(Self {
            engine,
            connection,
            caches: Arc::clone(caches),
            changed: Vec::new(),
        })
    }

    /// Takes that lock until the transaction ends, and waits for it.
    ///
    /// To avoid deadlocks, take advisory locks in the order of [`AdvisoryLock`]'s variants and
    /// before rows are locked; of rows, lock authorisations before consents.
    pub async fn take(&mut self, lock: AdvisoryLock<'_>) -> Result<()> {
        let Some(statement) = self.engine.advisory_lock() else {
            return Ok(());
        };
        sqlx::query(statement)
            .bind(lock.name())
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    /// Takes that lock if it is free. Returns whether it was.
    pub async fn try_take(&mut self, lock: AdvisoryLock<'_>) -> Result<bool> {
        let Some(statement) = self.engine.try_advisory_lock() else {
            return Ok(true);
        };
        let taken = sqlx::query_scalar(statement).bind(lock.name());
        Ok(taken.fetch_one(&mut self.connection).await?)
    }

    /// A `SELECT` whose rows stay as they are until this transaction ends.
    #[must_use]
    pub fn locked(&self, select: &str) -> String {
        format!("{select}{}", self.engine.lock_rows())
    }

    /// Marks a consent as changed, or its grants: it is invalidated in the cache when the
    /// transaction ends.
    pub(super) fn mark_changed(&mut self, consent: &str) {
        self.changed.push(consent.to_owned());
    }

    /// Rolls back before this returns. A dropped transaction is rolled back soon after.
    pub async fn roll_back(mut self) -> Result<()> {
        Ok(self.connection.roll_back().await?)
    }

    /// Commits.
    pub async fn commit(mut self) -> Result<()> {
        Ok(self.connection.commit().await?)
    }
}

impl Deref for WriteTransaction {
    type Target = PooledConnection;

    fn deref(&self) -> &PooledConnection {
        &self.connection
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut PooledConnection {
        &mut self.connection
    }
}
