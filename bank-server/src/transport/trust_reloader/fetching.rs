//! Fetching lists, again and again, in the background.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bank_client::environment::{Clock, uptime};
use shared_types::revocation::List;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::crl_cache::{Look, SharedCrlCache, ShelfError, Wanted};
use crate::transport::fetch::Fetcher;
use crate::transport::pem_files::Source;

/// A list that was fetched, or why not; the answer says how long it is good for.
pub(super) struct Fetched {
    pub(super) source: Source,
    pub(super) content: Result<Vec<u8>, String>,
    pub(super) answer: oneshot::Sender<Option<Duration>>,
}

/// Has what is at one address, again and again: soon after a failure and later with each further one, otherwise in time
/// before the list ends, and whenever it is told to. Holds `still_first` until the address was asked once, or others' list
/// was believed.
pub(super) async fn keep_fetching(
    mut fetching: Fetching,
    source: Source,
    refresh: Duration,
    mut at_once: watch::Receiver<()>,
    arrivals: mpsc::Sender<Fetched>,
    still_first: mpsc::Sender<Infallible>,
) {
    const SOONEST: Duration = Duration::from_secs(1);

    let mut after_failure = SOONEST;
    // Told to fetch at once, nobody wants what another replica fetched before that.
    let mut ask_others = true;
    let mut still_first = Some(still_first);
    loop {
        let address = source.path.to_string_lossy().into_owned();
        let taken = if ask_others {
            fetching.take(&address, refresh).await
        } else {
            None
        };
        let (content, age) = match taken {
            Some((content, age)) => (Ok(content), Some(age)),
            None => (fetching.fetch(&address).await, None),
        };
        let fetched = fetching.clock.now().timestamp();
        let for_others = match &content {
            Ok(content) if age.is_none() && fetching.others.is_some() => Some(content.clone()),
            _ => None,
        };
        let (answer, answered) = oneshot::channel();
        let arrival = Fetched {
            source: source.clone(),
            content,
            answer,
        };
        if arrivals.send(arrival).await.is_err() {
            return;
        }
        let Ok(good_for) = answered.await else {
            return;
        };
        if age.is_none() {
            // Only what is believed here.
            let list = for_others.filter(|_| good_for.is_some());
            fetching.share(&address, list, fetched).await;
        }
        let wait = match good_for {
            Some(good_for) => {
                after_failure = SOONEST;
                // Before it ends, with time left to try again.
                let lasting = (good_for / 2).min(refresh);
                lasting.saturating_sub(age.unwrap_or_default()).max(SOONEST)
            }
            None if age.is_some() => {
                // Others believe what is not believed here: what does its address say?
                ask_others = false;
                continue;
            }
            None => {
                let wait = after_failure;
                after_failure = (after_failure * 2).min(refresh.max(SOONEST));
                wait
            }
        };
        drop(still_first.take());
        tokio::select! {
            () = sleep_through(wait) => ask_others = true,
            // Also if it was said meanwhile. Once nobody can say it any more, nobody needs this.
            said = at_once.changed() => match said {
                Ok(()) => ask_others = false,
                Err(_) => return,
            },
        }
    }
}

/// Waits for so long, a suspension of the machine included: a list that has become old meanwhile is due at once.
async fn sleep_through(wait: Duration) {
    const LOOK: Duration = Duration::from_secs(1);

    let end = uptime() + wait;
    loop {
        let left = end.saturating_sub(uptime());
        if left.is_zero() {
            return;
        }
        sleep(left.min(LOOK)).await;
    }
}

/// Fetches from one address, unless another replica has done it.
pub(super) struct Fetching {
    pub(super) fetcher: Fetcher,
    pub(super) others: Option<Arc<dyn SharedCrlCache>>,
    pub(super) clock: Arc<dyn Clock>,
    /// When the latest that this replica has was fetched.
    pub(super) latest: i64,
}

impl Fetching {
    /// What another replica has fetched, not longer ago than it may stay, and how long ago that was. `None` if it is to be
    /// fetched here.
    async fn take(&mut self, address: &str, refresh: Duration) -> Option<(Vec<u8>, Duration)> {
        /// How often is asked whether another replica has it by now.
        const AGAIN: Duration = Duration::from_millis(250);

        let others = self.others.as_ref()?;
        let most = self.fetcher.time();
        let begun = Instant::now();
        loop {
            let now = self.clock.now().timestamp();
            let wanted = Wanted {
                address: address.to_owned(),
                since: now
                    .saturating_sub_unsigned(refresh.as_secs())
                    .max(self.latest.saturating_add(1)),
                now,
                turn: most,
            };
            match soon(others.look(wanted)).await {
                Ok(Look::Fetched { fetched, content }) => {
                    self.latest = fetched;
                    let age = u64::try_from(now.saturating_sub(fetched)).unwrap_or(0);
                    return Some((content, Duration::from_secs(age)));
                }
                Ok(Look::Wait) if self.latest > 0 && begun.elapsed() < most => {
                    sleep(AGAIN).await;
                }
                // Nothing is known yet, and nobody is let in; or whoever was at it has been for too long.
                Ok(Look::Ours | Look::Wait) => return None,
                Err(error) => {
                    tracing::warn!(%error, "what other replicas have fetched is not known");
                    return None;
                }
            }
        }
    }

    async fn fetch(&self, address: &str) -> Result<Vec<u8>, String> {
        let fetched = self.fetcher.get(address, List::MOST_BYTES).await;
        fetched.map_err(|error| error.to_string())
    }

    /// Has the others know what has come of a fetch at that time: a list, or nothing.
    async fn share(&mut self, address: &str, list: Option<Vec<u8>>, fetched: i64) {
        let Some(others) = &self.others else {
            return;
        };
        let told = match list {
            Some(list) => {
                self.latest = fetched;
                soon(others.put(address, list, fetched)).await
            }
            None => soon(others.give_up(address)).await,
        };
        if let Err(error) = told {
            tracing::warn!(%error, "other replicas are not told what was fetched");
        }
    }
}

/// The shelf is a help: nobody waits for it for long.
async fn soon<T>(answer: impl Future<Output = Result<T, ShelfError>>) -> Result<T, ShelfError> {
    const SOON: Duration = Duration::from_secs(3);

    timeout(SOON, answer).await?
}

/// Waits until every address was asked once, for a while.
pub(crate) async fn wait_for_first(ready: oneshot::Receiver<()>, most: Duration) {
    if timeout(most, ready).await.is_err() {
        tracing::warn!("not every revocation list has been fetched yet");
    }
}
