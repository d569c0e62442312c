//! Background tasks that fetch CRLs periodically.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use shared_types::environment::{Clock, uptime};
use shared_types::pki::revocation::List;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::crl_cache::{CacheError, CacheLookup, CrlRequest, SharedCrlCache};
use crate::transport::fetch::Fetcher;
use crate::transport::pem_files::Source;

/// A fetched CRL or the error; the receiver answers for how long it is valid.
pub(super) struct FetchedCrl {
    pub(super) source: Source,
    pub(super) content: Result<Vec<u8>, String>,
    pub(super) answer: oneshot::Sender<Option<Duration>>,
}

/// Fetches one address periodically: soon after a failure and later with each further one,
/// otherwise in time before the list expires, and whenever `at_once` changes. Holds `first_fetch`
/// until the address was fetched once, or a list from the shared cache was accepted.
pub(super) async fn fetch_periodically(
    mut fetching: CrlFetcher,
    source: Source,
    refresh: Duration,
    mut at_once: watch::Receiver<()>,
    arrivals: mpsc::Sender<FetchedCrl>,
    first_fetch: mpsc::Sender<Infallible>,
) {
    const MIN_DELAY: Duration = Duration::from_secs(1);

    let mut retry_delay = MIN_DELAY;
    // After a reload request, a list that another replica fetched earlier is too old.
    let mut use_shared = true;
    let mut first_fetch = Some(first_fetch);
    loop {
        let address = source.path.to_string_lossy().into_owned();
        let shared = if use_shared {
            fetching.take_shared(&address, refresh).await
        } else {
            None
        };
        let (content, age) = match shared {
            Some((content, age)) => (Ok(content), Some(age)),
            None => (fetching.fetch(&address).await, None),
        };
        let fetched = fetching.clock.now().timestamp();
        let to_share = match &content {
            Ok(content) if age.is_none() && fetching.shared.is_some() => Some(content.clone()),
            _ => None,
        };
        let (answer, answered) = oneshot::channel();
        let arrival = FetchedCrl {
            source: source.clone(),
            content,
            answer,
        };
        if arrivals.send(arrival).await.is_err() {
            return;
        }
        let Ok(valid_for) = answered.await else {
            return;
        };
        if age.is_none() {
            // Only an accepted list.
            let list = to_share.filter(|_| valid_for.is_some());
            fetching.share(&address, list, fetched).await;
        }
        let wait = match valid_for {
            Some(valid_for) => {
                retry_delay = MIN_DELAY;
                // Before it expires, with time left to retry.
                let delay = (valid_for / 2).min(refresh);
                delay.saturating_sub(age.unwrap_or_default()).max(MIN_DELAY)
            }
            None if age.is_some() => {
                // Other replicas accepted a list that is rejected here: fetch the address itself.
                use_shared = false;
                continue;
            }
            None => {
                let wait = retry_delay;
                retry_delay = (retry_delay * 2).min(refresh.max(MIN_DELAY));
                wait
            }
        };
        drop(first_fetch.take());
        tokio::select! {
            () = sleep_including_suspend(wait) => use_shared = true,
            // Also if it changed meanwhile. Once the sender is gone, this task ends.
            changed = at_once.changed() => match changed {
                Ok(()) => use_shared = false,
                Err(_) => return,
            },
        }
    }
}

/// Sleeps for that time, including a suspension of the machine: an expired list is due at once.
async fn sleep_including_suspend(wait: Duration) {
    const STEP: Duration = Duration::from_secs(1);

    let end = uptime() + wait;
    loop {
        let left = end.saturating_sub(uptime());
        if left.is_zero() {
            return;
        }
        sleep(left.min(STEP)).await;
    }
}

/// Fetches from one address, unless another replica has done so.
pub(super) struct CrlFetcher {
    pub(super) fetcher: Fetcher,
    pub(super) shared: Option<Arc<dyn SharedCrlCache>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Time of the fetch of the latest list in this replica.
    pub(super) latest: i64,
}

impl CrlFetcher {
    /// A list that another replica has fetched within `refresh`, and its age. `None` if it is to be
    /// fetched here.
    async fn take_shared(
        &mut self,
        address: &str,
        refresh: Duration,
    ) -> Option<(Vec<u8>, Duration)> {
        /// Interval at which the shared cache is polled.
        const POLL: Duration = Duration::from_millis(250);

        let shared = self.shared.as_ref()?;
        let time_limit = self.fetcher.time();
        let begun = Instant::now();
        loop {
            let now = self.clock.now().timestamp();
            let request = CrlRequest {
                address: address.to_owned(),
                since: now
                    .saturating_sub_unsigned(refresh.as_secs())
                    .max(self.latest.saturating_add(1)),
                now,
                claim_time: time_limit,
            };
            match with_timeout(shared.get_or_claim(request)).await {
                Ok(CacheLookup::Hit { fetched, content }) => {
                    self.latest = fetched;
                    let age = u64::try_from(now.saturating_sub(fetched)).unwrap_or(0);
                    return Some((content, Duration::from_secs(age)));
                }
                Ok(CacheLookup::InProgress) if self.latest > 0 && begun.elapsed() < time_limit => {
                    sleep(POLL).await;
                }
                // Without any list no peer is accepted, or the claim of another replica has lasted
                // too long.
                Ok(CacheLookup::Claimed | CacheLookup::InProgress) => return None,
                Err(error) => {
                    tracing::warn!(%error, "shared CRL cache not readable, fetching directly");
                    return None;
                }
            }
        }
    }

    async fn fetch(&self, address: &str) -> Result<Vec<u8>, String> {
        let fetched = self.fetcher.get(address, List::MOST_BYTES).await;
        fetched.map_err(|error| error.to_string())
    }

    /// Stores an accepted list in the shared cache, or releases the claim.
    async fn share(&mut self, address: &str, list: Option<Vec<u8>>, fetched: i64) {
        let Some(shared) = &self.shared else {
            return;
        };
        let outcome = match list {
            Some(list) => {
                self.latest = fetched;
                with_timeout(shared.store(address, list, fetched)).await
            }
            None => with_timeout(shared.release_claim(address)).await,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "shared CRL cache not updated");
        }
    }
}

/// The shared cache is optional: its operations have a short timeout.
async fn with_timeout<T>(
    answer: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    const CACHE_TIMEOUT: Duration = Duration::from_secs(3);

    timeout(CACHE_TIMEOUT, answer).await?
}

/// Waits until every address was fetched once, up to a limit.
pub(crate) async fn wait_for_first_fetches(ready: oneshot::Receiver<()>, limit: Duration) {
    if timeout(limit, ready).await.is_err() {
        tracing::warn!("not all CRLs fetched yet, accepting connections");
    }
}
