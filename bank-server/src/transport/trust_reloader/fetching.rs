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

/// A fetched CRL or the error of the fetch.
pub(super) struct FetchedCrl {
    pub(super) source: Source,
    pub(super) content: Result<Vec<u8>, String>,
    /// Receives for how long the list is valid, or `None` if it was rejected.
    pub(super) validity: oneshot::Sender<Option<Duration>>,
}

/// Fetches the CRL of one address periodically, and whenever `reload` changes.
///
/// The next fetch is due after half the list's validity, or after `refresh` if that is shorter.
/// Failed fetches are retried with exponential backoff. Drops `first_fetch` once a fetch has ended,
/// even if it failed, or a cached list was accepted.
pub(super) async fn fetch_periodically(
    mut fetcher: CrlFetcher,
    source: Source,
    refresh: Duration,
    mut reload: watch::Receiver<()>,
    results: mpsc::Sender<FetchedCrl>,
    first_fetch: mpsc::Sender<Infallible>,
) {
    const MIN_DELAY: Duration = Duration::from_secs(1);

    let mut retry_delay = MIN_DELAY;
    // False after a reload request: a list in the cache may be older than the request.
    let mut use_cache = true;
    let mut first_fetch = Some(first_fetch);
    loop {
        let address = source.path.to_string_lossy().into_owned();
        let cached = if use_cache {
            fetcher.get_cached(&address, refresh).await
        } else {
            None
        };
        let (content, age) = match cached {
            Some((content, age)) => (Ok(content), Some(age)),
            None => (fetcher.fetch(&address).await, None),
        };
        let fetched_at = fetcher.clock.now().timestamp();
        let to_cache = match &content {
            Ok(content) if age.is_none() && fetcher.shared_cache.is_some() => Some(content.clone()),
            _ => None,
        };
        let (validity, validity_receiver) = oneshot::channel();
        let fetched_crl = FetchedCrl {
            source: source.clone(),
            content,
            validity,
        };
        if results.send(fetched_crl).await.is_err() {
            return;
        }
        let Ok(valid_for) = validity_receiver.await else {
            return;
        };
        if age.is_none() {
            let accepted = to_cache.filter(|_| valid_for.is_some());
            fetcher.update_cache(&address, accepted, fetched_at).await;
        }
        let wait = match valid_for {
            Some(valid_for) => {
                retry_delay = MIN_DELAY;
                // Leaves time for retries before the list expires.
                let delay = (valid_for / 2).min(refresh);
                delay.saturating_sub(age.unwrap_or_default()).max(MIN_DELAY)
            }
            None if age.is_some() => {
                // The cached list is rejected here, although another replica accepted it: fetch it.
                use_cache = false;
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
            () = sleep_including_suspend(wait) => use_cache = true,
            // Completes at once if it changed before this wait. Ends the task if the sender was
            // dropped.
            changed = reload.changed() => match changed {
                Ok(()) => use_cache = false,
                Err(_) => return,
            },
        }
    }
}

/// Sleeps for `wait`. Time in which the machine is suspended counts: a list that expired meanwhile
/// is fetched at once.
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

/// Fetches CRLs from their address or, if another replica has fetched them, from the shared cache.
pub(super) struct CrlFetcher {
    pub(super) fetcher: Fetcher,
    pub(super) shared_cache: Option<Arc<dyn SharedCrlCache>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Time at which the current list was fetched, by any replica; 0 before the first.
    pub(super) fetched_at: i64,
}

impl CrlFetcher {
    /// A newer list that another replica has fetched within `refresh`, and its age. `None` if this
    /// replica must fetch the list.
    async fn get_cached(
        &mut self,
        address: &str,
        refresh: Duration,
    ) -> Option<(Vec<u8>, Duration)> {
        /// Interval at which the shared cache is polled.
        const POLL: Duration = Duration::from_millis(250);

        let cache = self.shared_cache.as_ref()?;
        let time_limit = self.fetcher.time_limit();
        let started = Instant::now();
        loop {
            let now = self.clock.now().timestamp();
            let request = CrlRequest {
                address: address.to_owned(),
                since: now
                    .saturating_sub_unsigned(refresh.as_secs())
                    .max(self.fetched_at.saturating_add(1)),
                now,
                claim_time: time_limit,
            };
            match with_timeout(cache.get_or_claim(request)).await {
                Ok(CacheLookup::Hit { fetched, content }) => {
                    self.fetched_at = fetched;
                    let age = u64::try_from(now.saturating_sub(fetched)).unwrap_or(0);
                    return Some((content, Duration::from_secs(age)));
                }
                Ok(CacheLookup::InProgress)
                    if self.fetched_at > 0 && started.elapsed() < time_limit =>
                {
                    sleep(POLL).await;
                }
                // This replica has the claim, or must not wait for the one that has: it has no list
                // yet and accepts no peer, or the wait has timed out.
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

    /// Stores an accepted list in the shared cache, or releases the claim if there is none.
    async fn update_cache(&mut self, address: &str, accepted: Option<Vec<u8>>, fetched_at: i64) {
        let Some(cache) = &self.shared_cache else {
            return;
        };
        let outcome = match accepted {
            Some(list) => {
                self.fetched_at = fetched_at;
                with_timeout(cache.store(address, list, fetched_at)).await
            }
            None => with_timeout(cache.release_claim(address)).await,
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "shared CRL cache not updated");
        }
    }
}

/// Limits an operation of the shared cache, which must not delay a fetch for long.
async fn with_timeout<T>(
    operation: impl Future<Output = Result<T, CacheError>>,
) -> Result<T, CacheError> {
    const CACHE_TIMEOUT: Duration = Duration::from_secs(3);

    timeout(CACHE_TIMEOUT, operation).await?
}

/// Waits until the first fetch of every address has ended, for at most `limit`.
pub(crate) async fn wait_for_first_fetches(ready: oneshot::Receiver<()>, limit: Duration) {
    if timeout(limit, ready).await.is_err() {
        tracing::warn!("not all CRLs fetched yet, accepting connections");
    }
}
