//! All connections that are open, so that a change of trust reaches those as well.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use shared_types::revocation::PathCertificate;
use tokio::time::{MissedTickBehavior, interval};

use super::connection::Connection;
use super::policy::Policy;
use super::trust::Trust;

/// The connections of one door. Cheap to clone.
pub(super) struct ConnectionRegistry<P: Policy>(Arc<Mutex<Vec<Weak<Connection<P>>>>>);

/// How often is looked for what time alone has changed, such as a certificate that expired.
const TICK: Duration = Duration::from_millis(250);

/// How often it is said whose certificates are in use, so that responders are asked about them again in time.
pub(super) const IN_USE: Duration = Duration::from_secs(30);

impl<P: Policy> ConnectionRegistry<P> {
    pub(super) fn add(&self, connection: &Arc<Connection<P>>) {
        self.all().push(Arc::downgrade(connection));
    }

    /// Has every open connection judged again whenever trust changes, and when time may have changed something. Runs for
    /// as long as it is polled.
    ///
    /// Cost: for each connection that of [`Trust::stands`], four times a second. After a change, a search in the lists
    /// and the policy's look-up for each; one path each, where the anchors changed.
    pub(super) async fn reevaluate_connections(self, trust: Arc<Trust<P>>) {
        let mut changes = trust.changes();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut in_use = interval(IN_USE);
        in_use.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The sender lives in `trust`.
                _ = changes.changed() => {}
                _ = tick.tick() => {}
                _ = in_use.tick() => trust.keep_informed_of(self.links()),
            }
            for connection in self.still_open() {
                // What comes of it, the connection tells its peer.
                let _ = connection.judge();
                // Many judgements take a while; whatever else runs on this thread gets its turn.
                tokio::task::consume_budget().await;
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.still_open().len()
    }

    /// The certificates in use.
    fn links(&self) -> Vec<PathCertificate> {
        let open = self.still_open();
        open.iter()
            .flat_map(|connection| connection.links())
            .collect()
    }

    /// Forgets those that have ended.
    fn still_open(&self) -> Vec<Arc<Connection<P>>> {
        let mut open = Vec::new();
        self.all().retain(|connection| {
            let living = connection.upgrade();
            let lives = living.is_some();
            open.extend(living);
            lives
        });
        open
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Connection<P>>>> {
        // Nothing panics while the lock is held; if it did, the list would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Policy> Default for ConnectionRegistry<P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<P: Policy> Clone for ConnectionRegistry<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
