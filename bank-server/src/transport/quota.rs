//! How much each peer may have at a time: connections, and requests over all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What all peers have, counted over all workers, by the policy's name for each.
///
/// Those to whom the policy objects are counted together.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    limits: Limits,
    held: Arc<Mutex<HashMap<Option<String>, Held>>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) requests: usize,
}

#[derive(Debug, Default)]
struct Held {
    connections: usize,
    /// Places without a connection.
    visits: usize,
    requests: Arc<AtomicUsize>,
}

/// One connection's place among those of its peer; given back when dropped. A peer that a gateway forwards has a place
/// without a connection, number 0.
#[derive(Debug)]
pub(super) struct Place {
    quota: Quota,
    group: Option<String>,
    number: usize,
    requests: Arc<AtomicUsize>,
}

/// One request's turn among those of its peer; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<AtomicUsize>);

impl Quota {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: Arc::default(),
        }
    }

    pub(super) fn take(&self, group: Option<&str>) -> Place {
        let mut all = self.held();
        let held = all.entry(group.map(str::to_owned)).or_default();
        held.connections += 1;
        Place {
            quota: self.clone(),
            group: group.map(str::to_owned),
            number: held.connections,
            requests: Arc::clone(&held.requests),
        }
    }

    /// A place for requests alone.
    pub(super) fn visit(&self, group: &str) -> Place {
        let mut all = self.held();
        let held = all.entry(Some(group.to_owned())).or_default();
        held.visits += 1;
        Place {
            quota: self.clone(),
            group: Some(group.to_owned()),
            number: 0,
            requests: Arc::clone(&held.requests),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Option<String>, Held>> {
        // Nothing panics while the lock is held; if it did, the counts would still be whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// One more than allowed: the peer is told so, over HTTP, and nothing else.
    pub(super) fn is_excess(&self) -> bool {
        self.number > self.quota.limits.connections
    }

    /// So many more than allowed that the peer is not even told.
    pub(super) fn is_flood(&self) -> bool {
        self.number > self.quota.limits.connections.saturating_mul(2)
    }

    /// A turn for one request, unless the peer has too many requests as it is.
    pub(super) fn turn(&self) -> Option<Turn> {
        let turn = Turn(Arc::clone(&self.requests));
        // Counted first, so that two at the same moment cannot both be the last; dropping the turn counts back.
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        (before < self.quota.limits.requests).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.quota.held();
        if let Some(held) = all.get_mut(&self.group) {
            if self.number == 0 {
                held.visits -= 1;
            } else {
                held.connections -= 1;
            }
            if held.connections + held.visits == 0 {
                all.remove(&self.group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_for_each_peer_and_given_back() {
        let quota = Quota::new(Limits {
            connections: 1,
            requests: 2,
        });
        let [one, two] = ["one", "two"];
        let first = quota.take(Some(one));
        let second = quota.take(Some(one));
        let third = quota.take(Some(one));
        assert_eq!(
            [&first, &second, &third].map(Place::is_excess),
            [false, true, true]
        );
        assert_eq!(
            [&first, &second, &third].map(Place::is_flood),
            [false, false, true]
        );
        assert!(!quota.take(Some(two)).is_excess());
        assert!(!quota.take(None).is_excess());
        let turns = (first.turn(), second.turn());
        assert!(turns.0.is_some() && turns.1.is_some());
        assert!(
            first.turn().is_none() && third.turn().is_none(),
            "over all connections"
        );
        assert!(quota.take(Some(two)).turn().is_some());
        drop(turns);
        assert!(first.turn().is_some());
        drop((first, second, third));
        assert!(!quota.take(Some(one)).is_excess());
        assert!(quota.held().is_empty());
    }

    #[test]
    fn requests_of_visitors_are_counted_with_those_of_connections() {
        let quota = Quota::new(Limits {
            connections: 1,
            requests: 2,
        });
        let visit = quota.visit("one");
        let connection = quota.take(Some("one"));
        assert!(
            !connection.is_excess() && !visit.is_excess(),
            "a visit is no connection"
        );
        let turns = (visit.turn(), connection.turn());
        assert!(turns.0.is_some() && turns.1.is_some());
        assert!(visit.turn().is_none() && connection.turn().is_none());
        drop(connection);
        assert!(
            quota.visit("one").turn().is_none(),
            "as long as one is there"
        );
        drop((turns, visit));
        assert!(quota.held().is_empty());
    }
}
