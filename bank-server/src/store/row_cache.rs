//! What was read a moment ago, and has not changed since.
//!
//! A TPP reads a consent's accounts in bursts, and each read asks first what the consent opens. What is kept here answers
//! that without the database, as long as it is sure to hold: changes of this process drop it before they are
//! acknowledged, and changes of others within a second (see `Freshness`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bank_client::environment::uptime;
use quick_cache::sync::Cache;
use shared_types::account::Balance;

use crate::domain::{Account, Granted};

/// Rows that are kept, of each kind.
const ROWS: usize = 20_000;

/// What was read and is known to hold, of each kind.
#[derive(Debug)]
pub struct Caches {
    pub(super) certainty: Arc<Freshness>,
    /// Consents that are valid, with what they open.
    pub consents: RowCache<Granted>,
    /// Accounts of the built-in ledger.
    pub accounts: RowCache<WithBalances>,
}

impl Caches {
    pub(super) fn new(certainty: Freshness) -> Self {
        let certainty = Arc::new(certainty);
        Self {
            consents: RowCache::new(ROWS, &certainty),
            accounts: RowCache::new(ROWS, &certainty),
            certainty,
        }
    }

    /// Whether what is read now holds.
    #[cfg(test)]
    pub(super) fn holds(&self) -> bool {
        self.certainty.holds(uptime())
    }

    /// Nobody knows what has changed.
    pub(super) fn forget_all(&self) {
        self.consents.forget_all();
        self.accounts.forget_all();
    }

    /// Forgets what a trigger has told of: the kind of row, and its id.
    pub(super) fn forget(&self, told: &str) {
        match told.split_once(' ') {
            Some(("consent", id)) => self.consents.forget(id),
            Some(("account", id)) => self.accounts.forget(id),
            _ => self.forget_all(),
        }
    }
}

/// An account of the ledger, and its balances.
pub type WithBalances = (Account, Vec<Balance>);

/// How long what another process has changed may still be answered as it was before.
pub(super) const STALE: Duration = Duration::from_secs(1);

/// How long anything is kept: what nobody tells of (triggers that were switched off, a table that was emptied) ends some time.
const LONGEST: Duration = Duration::from_mins(1);

/// Rows by their id. Cost of a look-up: one hash and a count of references; of all of them, the memory of so many rows.
#[derive(Debug)]
pub struct RowCache<V> {
    /// Each with the [`uptime`] at which it was read: one that a machine held while it was suspended is too old afterwards.
    rows: Cache<String, (Duration, Arc<V>)>,
    /// How often something was forgotten.
    forgotten: Mutex<u64>,
    certainty: Arc<Freshness>,
}

/// A moment before a row was read.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    forgotten: u64,
    moment: Duration,
}

impl<V> RowCache<V> {
    pub(super) fn new(rows: usize, certainty: &Arc<Freshness>) -> Self {
        Self {
            rows: Cache::new(rows),
            forgotten: Mutex::new(0),
            certainty: Arc::clone(certainty),
        }
    }

    /// The row of that id, if it is there and holds.
    pub fn get(&self, id: &str) -> Option<Arc<V>> {
        let (read, value) = self.rows.get(id)?;
        self.certainty.holds(read).then_some(value)
    }

    /// To be called before a row is read that is to be [kept](Self::keep).
    pub fn before(&self) -> Before {
        Before {
            forgotten: *self.lock(),
            moment: uptime(),
        }
    }

    /// Keeps a row, unless something has been forgotten since: it could have been this, as it was before.
    pub fn keep(&self, before: Before, id: &str, value: Arc<V>) {
        let forgotten = self.lock();
        if *forgotten == before.forgotten {
            self.rows.insert(id.to_owned(), (before.moment, value));
        }
    }

    /// Forgets a row that has changed.
    pub fn forget(&self, id: &str) {
        let mut forgotten = self.lock();
        *forgotten += 1;
        self.rows.remove(id);
    }

    /// Forgets all rows: nobody knows what has changed.
    pub(super) fn forget_all(&self) {
        let mut forgotten = self.lock();
        *forgotten += 1;
        self.rows.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, u64> {
        self.forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// How what was read stays sure.
#[derive(Debug)]
pub(super) enum Freshness {
    /// A file belongs to one process. Whoever changes it by hand meanwhile is heard of when the row is read again, which
    /// it is when it is as old as [`STALE`].
    File,
    /// The server tells what others change. It holds until then: an [`uptime`], in milliseconds.
    Told(AtomicU64),
}

impl Freshness {
    pub(super) fn told() -> Self {
        Self::Told(AtomicU64::new(0))
    }

    /// Whether what was read at that [`uptime`] holds.
    pub(super) fn holds(&self, read: Duration) -> bool {
        let now = uptime();
        let age = now.saturating_sub(read);
        match self {
            Self::File => age < STALE,
            Self::Told(until) => millis(now) < until.load(Ordering::Acquire) && age < LONGEST,
        }
    }

    /// All that others had changed by then has been heard of: it holds for that long.
    pub(super) fn extend(&self, heard: Duration, time: Duration) {
        if let Self::Told(until) = self {
            until.store(millis(heard + time), Ordering::Release);
        }
    }

    /// Nothing is heard any more.
    pub(super) fn end(&self) {
        if let Self::Told(until) = self {
            until.store(0, Ordering::Release);
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(certainty: Freshness) -> RowCache<&'static str> {
        let recent = RowCache::new(8, &Arc::new(certainty));
        recent.keep(recent.before(), "a", Arc::new("first"));
        recent
    }

    #[test]
    fn what_was_forgotten_while_it_was_read_is_not_kept() {
        let recent = kept(Freshness::told());
        let long = Duration::from_hours(1);
        recent.certainty.extend(uptime(), long);
        let before = recent.before();
        recent.forget("a");
        recent.keep(before, "a", Arc::new("as it was"));
        assert_eq!(recent.get("a"), None);
        recent.keep(recent.before(), "a", Arc::new("as it is"));
        assert_eq!(recent.get("a").as_deref(), Some(&"as it is"));
        let before = recent.before();
        recent.forget_all();
        recent.keep(before, "a", Arc::new("as it was"));
        assert_eq!(recent.get("a"), None);
    }

    #[test]
    fn a_row_of_a_file_holds_for_a_moment() {
        let recent = kept(Freshness::File);
        // More than a second may pass in between, now and then.
        let holds = (0..100).any(|_| {
            recent.keep(recent.before(), "a", Arc::new("new"));
            recent.get("a").is_some()
        });
        assert!(holds);
        let before = Before {
            forgotten: 0,
            moment: uptime().checked_sub(STALE).unwrap(),
        };
        recent.keep(before, "a", Arc::new("old"));
        assert!(recent.get("a").is_none());
    }

    #[test]
    fn a_row_of_a_server_holds_while_changes_are_told() {
        let recent = kept(Freshness::told());
        assert_eq!(recent.get("a"), None, "nothing has been told yet");
        let long = Duration::from_hours(1);
        recent.certainty.extend(uptime(), long);
        assert_eq!(recent.get("a").as_deref(), Some(&"first"));
        recent.certainty.end();
        assert_eq!(recent.get("a"), None);
        recent.certainty.extend(uptime(), Duration::ZERO);
        assert_eq!(recent.get("a"), None);
    }
}
