//! How much each peer may have at a time: connections, and requests and bytes of their bodies over all of them.

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
    pub(super) body_bytes: usize,
}

/// What the requests of a peer hold.
#[derive(Debug, Default)]
struct UnderWay {
    /// HTTP/2 streams with a request, whether it has a turn or is refused.
    streams: AtomicUsize,
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Held {
    connections: usize,
    /// Places without a connection.
    visits: usize,
    under_way: Arc<UnderWay>,
}

/// One connection's place among those of its peer; given back when dropped. A peer that a gateway forwards has a place
/// without a connection, number 0.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    quota: Quota,
    group: Option<String>,
    number: usize,
    under_way: Arc<UnderWay>,
}

/// One request's turn among those of its peer, and the bytes of its body; given back when dropped.
#[derive(Debug)]
pub struct RequestPermit {
    under_way: Arc<UnderWay>,
    body_bytes: AtomicUsize,
    max_body_bytes: usize,
}

/// One HTTP/2 stream among those of its peer; given back when dropped.
#[derive(Debug)]
pub(super) struct OpenStream(Arc<UnderWay>);

impl Quota {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: Arc::default(),
        }
    }

    pub(super) fn take(&self, group: Option<&str>) -> ConnectionPermit {
        let mut all = self.held();
        let held = all.entry(group.map(str::to_owned)).or_default();
        held.connections += 1;
        ConnectionPermit {
            quota: self.clone(),
            group: group.map(str::to_owned),
            number: held.connections,
            under_way: Arc::clone(&held.under_way),
        }
    }

    /// A place for requests alone.
    pub(super) fn visit(&self, group: &str) -> ConnectionPermit {
        let mut all = self.held();
        let held = all.entry(Some(group.to_owned())).or_default();
        held.visits += 1;
        ConnectionPermit {
            quota: self.clone(),
            group: Some(group.to_owned()),
            number: 0,
            under_way: Arc::clone(&held.under_way),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Option<String>, Held>> {
        // Nothing panics while the lock is held; if it did, the counts would still be whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// One more than allowed: the peer is told so, over HTTP, and nothing else.
    pub(super) fn is_excess(&self) -> bool {
        self.number > self.quota.limits.connections
    }

    /// So many more than allowed that the peer is not even told.
    pub(super) fn is_flood(&self) -> bool {
        self.number > self.quota.limits.connections.saturating_mul(2)
    }

    /// A place for one HTTP/2 stream, unless the peer has so many that its requests are not even refused with an answer:
    /// twice as many as it may have requests.
    pub(super) fn stream(&self) -> Option<OpenStream> {
        let stream = OpenStream(Arc::clone(&self.under_way));
        let before = self.under_way.streams.fetch_add(1, Ordering::Relaxed);
        let most = self.quota.limits.requests.saturating_mul(2);
        (before < most).then_some(stream)
    }

    /// A turn for one request, unless the peer has too many requests as it is.
    pub(super) fn permit(&self) -> Option<RequestPermit> {
        let permit = RequestPermit {
            under_way: Arc::clone(&self.under_way),
            body_bytes: AtomicUsize::new(0),
            max_body_bytes: self.quota.limits.body_bytes,
        };
        // Counted first, so that two at the same moment cannot both be the last; dropping the turn counts back.
        let before = self.under_way.requests.fetch_add(1, Ordering::Relaxed);
        (before < self.quota.limits.requests).then_some(permit)
    }
}

impl RequestPermit {
    /// Counts so many more bytes of the request's body, until the turn is given back. False if these are more than all
    /// bodies of the peer together may have.
    #[must_use]
    pub fn hold(&self, bytes: usize) -> bool {
        self.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = self
            .under_way
            .body_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.max_body_bytes
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let UnderWay {
            requests,
            body_bytes,
            ..
        } = &*self.under_way;
        requests.fetch_sub(1, Ordering::Relaxed);
        body_bytes.fetch_sub(*self.body_bytes.get_mut(), Ordering::Relaxed);
    }
}

impl Drop for ConnectionPermit {
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
            body_bytes: 10,
        });
        let [one, two] = ["one", "two"];
        let first = quota.take(Some(one));
        let second = quota.take(Some(one));
        let third = quota.take(Some(one));
        assert_eq!(
            [&first, &second, &third].map(ConnectionPermit::is_excess),
            [false, true, true]
        );
        assert_eq!(
            [&first, &second, &third].map(ConnectionPermit::is_flood),
            [false, false, true]
        );
        assert!(!quota.take(Some(two)).is_excess());
        assert!(!quota.take(None).is_excess());
        let turns = (first.permit(), second.permit());
        assert!(turns.0.is_some() && turns.1.is_some());
        assert!(
            first.permit().is_none() && third.permit().is_none(),
            "over all connections"
        );
        assert!(quota.take(Some(two)).permit().is_some());
        drop(turns);
        assert!(first.permit().is_some());
        drop((first, second, third));
        assert!(!quota.take(Some(one)).is_excess());
        assert!(quota.held().is_empty());
    }

    #[test]
    fn requests_of_visitors_are_counted_with_those_of_connections() {
        let quota = Quota::new(Limits {
            connections: 1,
            requests: 2,
            body_bytes: 10,
        });
        let visit = quota.visit("one");
        let connection = quota.take(Some("one"));
        assert!(
            !connection.is_excess() && !visit.is_excess(),
            "a visit is no connection"
        );
        let turns = (visit.permit(), connection.permit());
        assert!(turns.0.is_some() && turns.1.is_some());
        assert!(visit.permit().is_none() && connection.permit().is_none());
        drop(connection);
        assert!(
            quota.visit("one").permit().is_none(),
            "as long as one is there"
        );
        drop((turns, visit));
        assert!(quota.held().is_empty());
    }

    #[test]
    fn bytes_of_bodies_are_counted_for_each_peer_and_given_back() {
        let quota = Quota::new(Limits {
            connections: 2,
            requests: 2,
            body_bytes: 10,
        });
        let (first, second) = (quota.take(Some("one")), quota.take(Some("one")));
        let (one, two) = (first.permit().unwrap(), second.permit().unwrap());
        assert!(one.hold(4) && two.hold(6));
        assert!(!two.hold(1), "over all connections");
        let other = quota.take(Some("two")).permit().unwrap();
        assert!(other.hold(10));
        drop(two);
        assert!(one.hold(6), "what was refused is given back as well");
        assert!(!one.hold(1));
    }

    #[test]
    fn streams_are_counted_for_each_peer_and_given_back() {
        let quota = Quota::new(Limits {
            connections: 2,
            requests: 1,
            body_bytes: 10,
        });
        let (first, second) = (quota.take(Some("one")), quota.take(Some("one")));
        let streams = (first.stream().unwrap(), second.stream().unwrap());
        assert!(first.stream().is_none(), "over all connections");
        assert!(quota.take(Some("two")).stream().is_some());
        drop(streams);
        assert!(first.stream().is_some());
    }
}
