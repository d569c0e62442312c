//! Registry of open connections, so that a change of trust also reaches these.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use shared_types::pki::revocation::PathCertificate;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::Connection;
use super::policy::Policy;
use super::trust::Trust;

/// The open connections of one listener.
pub(super) struct ConnectionRegistry<P: Policy>(pub(super) Mutex<Vec<Weak<Connection<P>>>>);

/// Interval at which the passing of time is checked, such as the expiry of a certificate.
const TICK: Duration = Duration::from_millis(250);

/// Interval at which the revocation statuses of certificates in use are refreshed.
pub(super) const STATUS_REFRESH: Duration = Duration::from_secs(30);

impl<P: Policy> ConnectionRegistry<P> {
    pub(super) fn add(&self, connection: &Arc<Connection<P>>) {
        self.lock().push(Arc::downgrade(connection));
    }

    /// Re-evaluates every open connection whenever trust changes, and when time may have changed a
    /// verdict. Runs until it is dropped.
    ///
    /// Cost: for each connection that of [`Trust::is_current`], four times a second. After a
    /// change, one search in the CRLs and one look-up by the policy for each connection. If the
    /// anchors have changed, one path verification for each as well.
    pub(super) async fn reevaluate_connections(&self, trust: &Trust<P>) {
        let mut changes = trust.subscribe();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut status_refresh = interval(STATUS_REFRESH);
        status_refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The sender lives in `trust`.
                _ = changes.changed() => {}
                _ = tick.tick() => {}
                _ = status_refresh.tick() => trust.refresh_statuses_of(self.path_certificates()),
            }
            for connection in self.open_connections() {
                // The connection notifies its peer.
                let _ = connection.evaluate();
                // Many evaluations take a while: yield to other tasks of this thread.
                tokio::task::consume_budget().await;
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.open_connections().len()
    }

    /// The certificates in use.
    fn path_certificates(&self) -> Vec<PathCertificate> {
        let open = self.open_connections();
        open.iter()
            .flat_map(|connection| connection.path_certificates())
            .collect()
    }

    /// The connections that are still open. Removes the others from the registry.
    fn open_connections(&self) -> Vec<Arc<Connection<P>>> {
        let mut open = Vec::new();
        self.lock().retain(|connection| {
            let connection = connection.upgrade();
            let is_open = connection.is_some();
            open.extend(connection);
            is_open
        });
        open
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Connection<P>>>> {
        // Nothing panics while the lock is held; if it did, the list would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
