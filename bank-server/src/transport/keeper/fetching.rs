//! Fetching lists, again and again, in the background.

use std::sync::Arc;
use std::time::Duration;

use shared_types::revocation::List;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::transport::fetch::Fetcher;
use crate::transport::material::Source;

/// A list that was fetched, or why not; the answer says how long it is good for.
pub(super) struct Fetched {
    pub(super) source: Source,
    pub(super) content: Result<Vec<u8>, String>,
    pub(super) answer: oneshot::Sender<Option<Duration>>,
}

/// Fetches from one address, again and again: soon after a failure and later with each further one, otherwise in time
/// before the list ends, and whenever it is told to.
pub(super) async fn keep_fetching(
    fetcher: Fetcher,
    source: Source,
    refresh: Duration,
    at_once: Arc<Notify>,
    arrivals: mpsc::Sender<Fetched>,
) {
    const SOONEST: Duration = Duration::from_secs(1);

    let mut after_failure = SOONEST;
    loop {
        let address = source.path.to_string_lossy().into_owned();
        let content = fetcher
            .get(&address, List::MOST_BYTES)
            .await
            .map_err(|error| error.to_string());
        let (answer, answered) = oneshot::channel();
        let arrival = Fetched {
            source: source.clone(),
            content,
            answer,
        };
        if arrivals.send(arrival).await.is_err() {
            return;
        }
        let wait = match answered.await {
            Ok(Some(good_for)) => {
                after_failure = SOONEST;
                // Before it ends, with time left to try again.
                (good_for / 2).clamp(SOONEST, refresh.max(SOONEST))
            }
            Ok(None) => {
                let wait = after_failure;
                after_failure = (after_failure * 2).min(refresh.max(SOONEST));
                wait
            }
            Err(_) => return,
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = at_once.notified() => {}
        }
    }
}

/// Waits until every address was asked once, for a while.
pub(crate) async fn wait_for_first(ready: oneshot::Receiver<()>, most: Duration) {
    if timeout(most, ready).await.is_err() {
        tracing::warn!("not every revocation list has been fetched yet");
    }
}
