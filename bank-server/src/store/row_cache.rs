//! Read-through cache for valid consents and ledger accounts.
//!
//! Local writes invalidate an entry when their transaction ends. Writes by other replicas arrive
//! through PostgreSQL `LISTEN/NOTIFY`; if that connection has been silent for 0.9 s, the cache is
//! bypassed. Consents that are not valid are never cached, so a consent that has just been approved
//! is never refused.
//!
//! A TPP reads a consent's accounts in bursts, and each read needs the consent and its grants
//! first.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quick_cache::sync::Cache;
use shared_types::environment::uptime;
use shared_types::xs2a::account::Balance;

use crate::domain::{Account, Granted};

/// Rows that each cache holds at most.
const MAX_ROWS: usize = 20_000;

/// One cache for each kind of row.
#[derive(Debug)]
pub struct Caches {
    pub(super) freshness: Arc<Freshness>,
    /// Valid consents with their grants.
    pub consents: RowCache<Granted>,
    /// Accounts of the built-in ledger.
    pub accounts: RowCache<AccountWithBalances>,
}

impl Caches {
    pub(super) fn new(freshness: Freshness) -> Self {
        let freshness = Arc::new(freshness);
        Self {
            consents: RowCache::new(MAX_ROWS, &freshness),
            accounts: RowCache::new(MAX_ROWS, &freshness),
            freshness,
        }
    }

    /// Whether a row that is read now may be cached.
    #[cfg(test)]
    pub(super) fn is_fresh(&self) -> bool {
        self.freshness.is_fresh(uptime())
    }

    /// Invalidates every row: which ones have changed is not known.
    pub(super) fn invalidate_all(&self) {
        self.consents.invalidate_all();
        self.accounts.invalidate_all();
    }

    /// Invalidates the row that a notification names: the kind of row, and its id.
    pub(super) fn invalidate(&self, notification: &str) {
        match notification.split_once(' ') {
            Some(("consent", id)) => self.consents.invalidate(id),
            Some(("account", id)) => self.accounts.invalidate(id),
            _ => self.invalidate_all(),
        }
    }
}

/// An account of the ledger, and its balances.
pub type AccountWithBalances = (Account, Vec<Balance>);

/// Longest time for which a row that another process has changed may be served from the cache.
pub(super) const STALE: Duration = Duration::from_secs(1);

/// Longest age of a cached row: changes without a notification (triggers switched off, a table
/// truncated) end with it.
const MAX_AGE: Duration = Duration::from_mins(1);

/// Cache of rows by id.
///
/// Cost of a look-up: one hash and one reference count. Memory: that of the maximum number of rows.
#[derive(Debug)]
pub struct RowCache<V> {
    /// Each row with the [`uptime`] at which it was read, which counts suspension: after it, a row
    /// is too old.
    rows: Cache<String, (Duration, Arc<V>)>,
    /// Number of invalidations so far.
    invalidations: Mutex<u64>,
    freshness: Arc<Freshness>,
}

/// State of the cache before a row was read: what [`RowCache::insert`] compares.
#[derive(Debug, Clone, Copy)]
pub struct ReadStart {
    invalidations: u64,
    at: Duration,
}

impl<V> RowCache<V> {
    pub(super) fn new(rows: usize, freshness: &Arc<Freshness>) -> Self {
        Self {
            rows: Cache::new(rows),
            invalidations: Mutex::new(0),
            freshness: Arc::clone(freshness),
        }
    }

    /// The row of that id, if it is cached and fresh.
    pub fn get(&self, id: &str) -> Option<Arc<V>> {
        let (read, value) = self.rows.get(id)?;
        self.freshness.is_fresh(read).then_some(value)
    }

    /// Call this before reading a row that is to be [inserted](Self::insert).
    pub fn begin_read(&self) -> ReadStart {
        ReadStart {
            invalidations: *self.lock(),
            at: uptime(),
        }
    }

    /// Caches a row, unless there was an invalidation since `read` began: the row could be a stale
    /// one.
    pub fn insert(&self, read: ReadStart, id: &str, value: Arc<V>) {
        let invalidations = self.lock();
        if *invalidations == read.invalidations {
            self.rows.insert(id.to_owned(), (read.at, value));
        }
    }

    /// Invalidates a row that has changed.
    pub fn invalidate(&self, id: &str) {
        let mut invalidations = self.lock();
        *invalidations += 1;
        self.rows.remove(id);
    }

    /// Invalidates all rows.
    pub(super) fn invalidate_all(&self) {
        let mut invalidations = self.lock();
        *invalidations += 1;
        self.rows.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, u64> {
        self.invalidations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rule for the freshness of cached rows.
#[derive(Debug)]
pub(super) enum Freshness {
    /// A database file belongs to one process. Changes that are made by hand take effect once the
    /// cached row is older than [`STALE`] and is read again.
    File,
    /// The server notifies of changes by other replicas. Rows are fresh until that [`uptime`], in
    /// milliseconds.
    Notified(AtomicU64),
}

impl Freshness {
    pub(super) fn notified() -> Self {
        Self::Notified(AtomicU64::new(0))
    }

    /// Whether a row that was read at that [`uptime`] is fresh.
    pub(super) fn is_fresh(&self, read: Duration) -> bool {
        let now = uptime();
        let age = now.saturating_sub(read);
        match self {
            Self::File => age < STALE,
            Self::Notified(until) => millis(now) < until.load(Ordering::Acquire) && age < MAX_AGE,
        }
    }

    /// All changes up to `heard` have been received: cached rows are fresh for that `time` from
    /// then.
    pub(super) fn extend(&self, heard: Duration, time: Duration) {
        if let Self::Notified(until) = self {
            until.store(millis(heard + time), Ordering::Release);
        }
    }

    /// The listener has lost its connection: no row is fresh.
    pub(super) fn expire(&self) {
        if let Self::Notified(until) = self {
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

    fn cache_with(freshness: Freshness) -> RowCache<&'static str> {
        let cache = RowCache::new(8, &Arc::new(freshness));
        cache.insert(cache.begin_read(), "a", Arc::new("first"));
        cache
    }

    #[test]
    fn a_row_that_was_invalidated_while_it_was_read_is_not_cached() {
        let cache = cache_with(Freshness::notified());
        let long = Duration::from_hours(1);
        cache.freshness.extend(uptime(), long);
        let before = cache.begin_read();
        cache.invalidate("a");
        cache.insert(before, "a", Arc::new("as it was"));
        assert_eq!(cache.get("a"), None);
        cache.insert(cache.begin_read(), "a", Arc::new("as it is"));
        assert_eq!(cache.get("a").as_deref(), Some(&"as it is"));
        let before = cache.begin_read();
        cache.invalidate_all();
        cache.insert(before, "a", Arc::new("as it was"));
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn a_row_of_a_file_is_fresh_for_less_than_a_second() {
        let cache = cache_with(Freshness::File);
        // More than a second may pass in between, now and then.
        let is_fresh = (0..100).any(|_| {
            cache.insert(cache.begin_read(), "a", Arc::new("new"));
            cache.get("a").is_some()
        });
        assert!(is_fresh);
        let before = ReadStart {
            invalidations: 0,
            at: uptime().checked_sub(STALE).unwrap(),
        };
        cache.insert(before, "a", Arc::new("old"));
        assert!(cache.get("a").is_none());
    }

    #[test]
    fn a_row_of_a_server_is_fresh_while_notifications_arrive() {
        let cache = cache_with(Freshness::notified());
        assert_eq!(cache.get("a"), None, "no notification has arrived yet");
        let long = Duration::from_hours(1);
        cache.freshness.extend(uptime(), long);
        assert_eq!(cache.get("a").as_deref(), Some(&"first"));
        cache.freshness.expire();
        assert_eq!(cache.get("a"), None);
        cache.freshness.extend(uptime(), Duration::ZERO);
        assert_eq!(cache.get("a"), None);
    }
}
