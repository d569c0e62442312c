//! What was read a moment ago, and has not changed since.
//!
//! A TPP reads a consent's accounts in bursts, and each read asks first what the consent opens. What is kept here answers
//! that without the database, as long as it is sure to hold: changes of this process drop it before they are
//! acknowledged, and changes of others within a second (see [`Trust`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

/// How long what another process has changed may still be answered as it was before.
pub(super) const STALE: Duration = Duration::from_secs(1);

/// Rows by their id. Cost of a look-up: one hash and a count of references; of all of them, the memory of so many rows.
#[derive(Debug)]
pub struct Recent<V> {
    rows: Cache<String, Row<V>>,
    /// How often something was forgotten.
    forgotten: Mutex<u64>,
    trust: Arc<Trust>,
}

#[derive(Debug)]
struct Row<V> {
    read: Instant,
    value: Arc<V>,
}

impl<V> Clone for Row<V> {
    fn clone(&self) -> Self {
        Self {
            read: self.read,
            value: Arc::clone(&self.value),
        }
    }
}

/// A moment before a row was read.
#[derive(Debug, Clone, Copy)]
pub struct Before(u64, Instant);

impl<V> Recent<V> {
    pub(super) fn new(rows: usize, trust: &Arc<Trust>) -> Self {
        Self {
            rows: Cache::new(rows),
            forgotten: Mutex::new(0),
            trust: Arc::clone(trust),
        }
    }

    /// The row of that id, if it is there and holds.
    pub fn get(&self, id: &str) -> Option<Arc<V>> {
        let row = self.rows.get(id)?;
        self.trust.holds(row.read).then_some(row.value)
    }

    /// To be called before a row is read that is to be [kept](Self::keep).
    pub fn before(&self) -> Before {
        Before(*self.lock(), Instant::now())
    }

    /// Keeps a row, unless something has been forgotten since: it could have been this, as it was before.
    pub fn keep(&self, before: Before, id: &str, value: Arc<V>) {
        let forgotten = self.lock();
        if *forgotten == before.0 {
            let read = before.1;
            self.rows.insert(id.to_owned(), Row { read, value });
        }
    }

    /// Forgets a row that has changed.
    pub(super) fn forget(&self, id: &str) {
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
pub(super) enum Trust {
    /// A file belongs to one process. Whoever changes it by hand meanwhile is heard of when the row is read again, which
    /// it is when it is as old as [`STALE`].
    File,
    /// The server tells what others change. It holds until then: milliseconds from that moment.
    Told(Instant, AtomicU64),
}

impl Trust {
    pub(super) fn told() -> Self {
        Self::Told(Instant::now(), AtomicU64::new(0))
    }

    pub(super) fn holds(&self, read: Instant) -> bool {
        match self {
            Self::File => read.elapsed() < STALE,
            Self::Told(began, until) => millis(began.elapsed()) < until.load(Ordering::Acquire),
        }
    }

    /// All that others had changed by then has been heard of: it holds for that long.
    pub(super) fn extend(&self, heard: Instant, lasting: Duration) {
        if let Self::Told(began, until) = self {
            let end = heard.duration_since(*began) + lasting;
            until.store(millis(end), Ordering::Release);
        }
    }

    /// Nothing is heard any more.
    pub(super) fn end(&self) {
        if let Self::Told(_, until) = self {
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

    fn kept(trust: Trust) -> Recent<&'static str> {
        let recent = Recent::new(8, &Arc::new(trust));
        recent.keep(recent.before(), "a", Arc::new("first"));
        recent
    }

    #[test]
    fn what_was_forgotten_while_it_was_read_is_not_kept() {
        let recent = kept(Trust::File);
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
        let recent = kept(Trust::File);
        assert!(recent.get("a").is_some());
        let Some(long_ago) = Instant::now().checked_sub(STALE) else {
            return;
        };
        recent.keep(Before(0, long_ago), "a", Arc::new("old"));
        assert!(recent.get("a").is_none());
    }

    #[test]
    fn a_row_of_a_server_holds_while_changes_are_told() {
        let recent = kept(Trust::told());
        assert_eq!(recent.get("a"), None, "nothing has been told yet");
        let long = Duration::from_secs(3600);
        recent.trust.extend(Instant::now(), long);
        assert_eq!(recent.get("a").as_deref(), Some(&"first"));
        recent.trust.end();
        assert_eq!(recent.get("a"), None);
        recent.trust.extend(Instant::now(), Duration::ZERO);
        assert_eq!(recent.get("a"), None);
    }
}
