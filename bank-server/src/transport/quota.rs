//! Limits for each peer: connections, and requests and bytes of their bodies over all connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The usage of all peers, counted over all workers, by the policy's quota key.
///
/// Peers that the policy does not authorise are counted together.
#[derive(Debug, Clone)]
pub(super) struct Quota {
    limits: Limits,
    peers: Arc<Mutex<HashMap<Option<String>, PeerUsage>>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) requests: usize,
    pub(super) body_bytes: usize,
}

/// The open requests of a peer.
#[derive(Debug, Default)]
struct OpenRequests {
    /// HTTP/2 streams with a request, whether it has a permit or is refused.
    streams: AtomicUsize,
    requests: AtomicUsize,
    body_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct PeerUsage {
    connections: usize,
    /// Permits without a connection, of forwarded peers.
    forwarded: usize,
    open_requests: Arc<OpenRequests>,
}

/// Permit of one connection of a peer; released when dropped. A forwarded peer has a permit without
/// a connection, number 0.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    quota: Quota,
    quota_key: Option<String>,
    number: usize,
    open_requests: Arc<OpenRequests>,
}

/// Permit of one request of a peer, and of the bytes of its body; released when dropped.
#[derive(Debug)]
pub struct RequestPermit {
    open_requests: Arc<OpenRequests>,
    body_bytes: AtomicUsize,
    max_body_bytes: usize,
}

/// Permit of one HTTP/2 stream of a peer; released when dropped.
#[derive(Debug)]
pub(super) struct StreamPermit(Arc<OpenRequests>);

impl Quota {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            peers: Arc::default(),
        }
    }

    pub(super) fn acquire(&self, quota_key: Option<String>) -> ConnectionPermit {
        self.permit(quota_key, |usage| {
            usage.connections += 1;
            usage.connections
        })
    }

    /// A permit for the requests of a forwarded peer.
    pub(super) fn acquire_without_connection(&self, quota_key: String) -> ConnectionPermit {
        self.permit(Some(quota_key), |usage| {
            usage.forwarded += 1;
            0
        })
    }

    fn permit(
        &self,
        quota_key: Option<String>,
        number: impl FnOnce(&mut PeerUsage) -> usize,
    ) -> ConnectionPermit {
        let mut all = self.lock();
        let usage = all.entry(quota_key.clone()).or_default();
        ConnectionPermit {
            quota: self.clone(),
            quota_key,
            number: number(usage),
            open_requests: Arc::clone(&usage.open_requests),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<String>, PeerUsage>> {
        // Nothing panics while the lock is held; if it did, the counts would still be whole.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionPermit {
    /// Whether the peer is over its limit: it receives an error response and nothing else.
    pub(super) fn is_over_limit(&self) -> bool {
        self.number > self.quota.limits.connections
    }

    /// Whether the peer is so far over its limit that it receives no error response.
    pub(super) fn is_far_over_limit(&self) -> bool {
        self.number > self.quota.limits.connections.saturating_mul(2)
    }

    /// A permit for one HTTP/2 stream. `None` if the peer has twice as many streams as it may have
    /// requests: then not even an error response is sent.
    pub(super) fn open_stream(&self) -> Option<StreamPermit> {
        let permit = StreamPermit(Arc::clone(&self.open_requests));
        let before = self.open_requests.streams.fetch_add(1, Ordering::Relaxed);
        let limit = self.quota.limits.requests.saturating_mul(2);
        (before < limit).then_some(permit)
    }

    /// A permit for one request, unless the peer has reached its limit.
    pub(super) fn acquire_request(&self) -> Option<RequestPermit> {
        let permit = RequestPermit {
            open_requests: Arc::clone(&self.open_requests),
            body_bytes: AtomicUsize::new(0),
            max_body_bytes: self.quota.limits.body_bytes,
        };
        // Counted first, so that two at the same moment cannot both be the last; dropping the
        // permit counts back.
        let before = self.open_requests.requests.fetch_add(1, Ordering::Relaxed);
        (before < self.quota.limits.requests).then_some(permit)
    }
}

impl RequestPermit {
    /// Counts bytes of the request's body until the permit is released. Returns false if they
    /// exceed the limit of all bodies of the peer together.
    #[must_use]
    pub fn add_body_bytes(&self, bytes: usize) -> bool {
        self.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        let before = self
            .open_requests
            .body_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.max_body_bytes
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        let OpenRequests {
            requests,
            body_bytes,
            ..
        } = &*self.open_requests;
        requests.fetch_sub(1, Ordering::Relaxed);
        body_bytes.fetch_sub(*self.body_bytes.get_mut(), Ordering::Relaxed);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut all = self.quota.lock();
        if let Some(usage) = all.get_mut(&self.quota_key) {
            if self.number == 0 {
                usage.forwarded -= 1;
            } else {
                usage.connections -= 1;
            }
            if usage.connections + usage.forwarded == 0 {
                all.remove(&self.quota_key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_requests_are_counted_per_peer_and_released() {
        let quota = Quota::new(Limits {
            connections: 1,
            requests: 2,
            body_bytes: 10,
        });
        let [one, two] = [|| "one".to_owned(), || "two".to_owned()];
        let first = quota.acquire(Some(one()));
        let second = quota.acquire(Some(one()));
        let third = quota.acquire(Some(one()));
        assert_eq!(
            [&first, &second, &third].map(ConnectionPermit::is_over_limit),
            [false, true, true]
        );
        assert_eq!(
            [&first, &second, &third].map(ConnectionPermit::is_far_over_limit),
            [false, false, true]
        );
        assert!(!quota.acquire(Some(two())).is_over_limit());
        assert!(!quota.acquire(None).is_over_limit());
        let permits = (first.acquire_request(), second.acquire_request());
        assert!(permits.0.is_some() && permits.1.is_some());
        assert!(
            first.acquire_request().is_none() && third.acquire_request().is_none(),
            "over all connections"
        );
        assert!(quota.acquire(Some(two())).acquire_request().is_some());
        drop(permits);
        assert!(first.acquire_request().is_some());
        drop((first, second, third));
        assert!(!quota.acquire(Some(one())).is_over_limit());
        assert!(quota.lock().is_empty());
    }

    #[test]
    fn requests_of_forwarded_peers_count_towards_the_same_limit() {
        let quota = Quota::new(Limits {
            connections: 1,
            requests: 2,
            body_bytes: 10,
        });
        let forwarded = quota.acquire_without_connection("one".to_owned());
        let connection = quota.acquire(Some("one".to_owned()));
        assert!(
            !connection.is_over_limit() && !forwarded.is_over_limit(),
            "a forwarded peer has no connection"
        );
        let permits = (forwarded.acquire_request(), connection.acquire_request());
        assert!(permits.0.is_some() && permits.1.is_some());
        assert!(forwarded.acquire_request().is_none() && connection.acquire_request().is_none());
        drop(connection);
        assert!(
            quota
                .acquire_without_connection("one".to_owned())
                .acquire_request()
                .is_none(),
            "while one permit is left"
        );
        drop((permits, forwarded));
        assert!(quota.lock().is_empty());
    }

    #[test]
    fn body_bytes_are_counted_per_peer_and_released() {
        let quota = Quota::new(Limits {
            connections: 2,
            requests: 2,
            body_bytes: 10,
        });
        let (first, second) = (
            quota.acquire(Some("one".to_owned())),
            quota.acquire(Some("one".to_owned())),
        );
        let (one, two) = (
            first.acquire_request().unwrap(),
            second.acquire_request().unwrap(),
        );
        assert!(one.add_body_bytes(4) && two.add_body_bytes(6));
        assert!(!two.add_body_bytes(1), "over all connections");
        let other = quota
            .acquire(Some("two".to_owned()))
            .acquire_request()
            .unwrap();
        assert!(other.add_body_bytes(10));
        drop(two);
        assert!(one.add_body_bytes(6), "refused bytes are released as well");
        assert!(!one.add_body_bytes(1));
    }

    #[test]
    fn streams_are_counted_per_peer_and_released() {
        let quota = Quota::new(Limits {
            connections: 2,
            requests: 1,
            body_bytes: 10,
        });
        let (first, second) = (
            quota.acquire(Some("one".to_owned())),
            quota.acquire(Some("one".to_owned())),
        );
        let streams = (first.open_stream().unwrap(), second.open_stream().unwrap());
        assert!(first.open_stream().is_none(), "over all connections");
        assert!(
            quota
                .acquire(Some("two".to_owned()))
                .open_stream()
                .is_some()
        );
        drop(streams);
        assert!(first.open_stream().is_some());
    }
}
