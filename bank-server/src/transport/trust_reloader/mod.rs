//! Trust reloader: watches the files that trust is built from, fetches CRLs, and applies valid
//! changes.
//!
//! Each part is accepted or rejected as a whole: certificate and key, anchors, intermediates,
//! gateways, policy, each CRL. A rejected part keeps its previous value and is reported; it does
//! not hold up the others, so that a broken register cannot keep a revocation out. All parts
//! accepted in one reload are applied as one snapshot.

mod apply;
mod crl_cache;
mod fetching;
mod reload;
mod report;
mod sources;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls_pki_types::UnixTime;
use shared_types::environment::{Clock, Randomness};
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::revocation::{FoundList, Issuers, List, ListError, Lists, Statuses};
use shared_types::pki::trust::Anchors;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Span;

pub use self::crl_cache::{CacheError, CacheLookup, CrlRequest, SharedCrlCache};
pub(crate) use self::fetching::wait_for_first_fetches;
use self::fetching::{CrlFetcher, FetchedCrl, fetch_periodically};
pub use self::report::{CrlReport, TrustReport};
pub use self::sources::{PolicySource, Sources};
use super::fetch::Fetcher;
use super::ocsp_worker::{OcspHandle, OcspRequests, OcspWorker};
use super::pem_files::{self, Source};
use super::source_watcher::SourceWatcher;
use super::trust::{Trust, TrustSnapshot};
use crate::config_error::ConfigError;

/// Keeps one [`Trust`] up to date.
pub struct TrustReloader<S: PolicySource> {
    trust: Arc<Trust<S::Policy>>,
    report: Arc<ArcSwap<TrustReport>>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    /// Moved to the OCSP worker when it starts.
    ocsp_requests: Option<OcspRequests>,
    sources: Sources,
    policy: S,
    files: Files,
    /// Valid anchors that are not applied yet: without a CRL, they would lock out every peer.
    pending_anchors: Option<Anchors>,
    /// The issuers whose CRLs are accepted.
    issuers: Issuers,
    /// Whether each CRL address was fetched once.
    all_fetched_once: bool,
    rejections: Rejections,
    /// Whether the token of our key had a problem when it was last looked at.
    has_key_problem: bool,
    /// Number of applied changes.
    changes: u64,
}

/// The files of each part.
struct Files {
    credentials: SourceWatcher,
    anchors: SourceWatcher,
    intermediates: SourceWatcher,
    gateways: SourceWatcher,
    policy: SourceWatcher,
    lists: Vec<SourceWatcher>,
}

/// Rejected parts.
#[derive(Default)]
struct Rejections {
    /// The errors of each part.
    errors: BTreeMap<String, Vec<ConfigError>>,
    /// Number of rejections so far.
    count: u64,
}

impl Rejections {
    /// Records the rejection of a part, or clears it.
    fn record<T>(&mut self, part: &str, outcome: Result<T, Vec<ConfigError>>) -> Option<T> {
        let faults = match outcome {
            Ok(good) => {
                self.errors.remove(part);
                return Some(good);
            }
            Err(faults) => faults,
        };
        if self.errors.get(part) != Some(&faults) {
            for fault in &faults {
                tracing::error!(%fault, "reload rejected, keeping previous value");
            }
            self.count += 1;
            self.errors.insert(part.to_owned(), faults);
        }
        None
    }
}

/// Interval at which files are checked for changes.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl<S: PolicySource> TrustReloader<S> {
    /// Reads all files, and returns all errors. A stale CRL alone is accepted, because its
    /// revocations still hold.
    pub fn open(
        sources: Sources,
        policy: S,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, Vec<ConfigError>> {
        let now = clock.unix();
        let mut faults = Vec::new();
        let each = |list: &Source| SourceWatcher::new(vec![list.clone()]);
        let mut files = Files {
            credentials: SourceWatcher::new(sources.credential_files()),
            anchors: SourceWatcher::new(sources.anchors.clone()),
            intermediates: SourceWatcher::new(sources.intermediates.clone()),
            gateways: SourceWatcher::new(sources.gateways.clone()),
            policy: SourceWatcher::new(policy.files()),
            lists: sources.crl_files.iter().map(each).collect(),
        };
        let read =
            |files: pem_files::Files<'_>| pem_files::credentials(&sources.private_key, files);
        let credentials = note(&mut faults, files.credentials.read(read));
        let anchors = note(&mut faults, files.anchors.read(pem_files::anchors));
        let intermediates = files.intermediates.read(pem_files::authorities);
        let intermediates: Arc<[_]> = note(&mut faults, intermediates).unwrap_or_default().into();
        let gateways = note(&mut faults, files.gateways.read(pem_files::gateways));
        // The files of the policy must exist even if it cannot be built for want of a certificate.
        let made = files.policy.read(|files| {
            let make = |own| make_policy(&policy, files, own, now);
            credentials.as_ref().map(make).transpose()
        });
        let made = note(&mut faults, made).flatten();
        if let Some(anchors) = anchors
            .as_ref()
            .filter(|anchors| !anchors.any_valid_at(now))
        {
            faults.extend(anchor_faults(&sources, anchors, now));
        }
        let mut lists = Lists::default();
        let issuers = anchors
            .as_ref()
            .map(|anchors| Issuers::new(anchors.certificates().iter().chain(&*intermediates)));
        for watcher in &mut files.lists {
            // Without issuers, the file has to exist.
            let read = watcher.read(|files| match &issuers {
                Some(issuers) => add_lists(&mut lists, files, issuers, |_| Ok(())).map(drop),
                None => Ok(()),
            });
            note(&mut faults, read);
        }
        let (Some(credentials), Some(anchors), Some(gateways), Some(issuers), Some(made), true) = (
            credentials,
            anchors,
            gateways,
            issuers,
            made,
            faults.is_empty(),
        ) else {
            return Err(faults);
        };
        let snapshot = TrustSnapshot {
            anchors: Arc::new(anchors),
            intermediates,
            gateways,
            statuses: Statuses {
                lists,
                ..Statuses::default()
            },
            ask_responders: sources.ocsp.check_peers,
            unknown_status: sources.unknown_status,
            policy: Arc::new(made),
            credentials,
        };
        let (ocsp, ocsp_requests) = OcspHandle::new();
        let trust = Trust::new(snapshot, Arc::clone(&clock), ocsp)
            .map_err(|error| vec![sources.certificate.fault(&error)])?;
        let mut trust_reloader = Self {
            trust: Arc::new(trust),
            report: Arc::default(),
            clock,
            randomness,
            ocsp_requests: Some(ocsp_requests),
            all_fetched_once: sources.crl_addresses.is_empty(),
            sources,
            policy,
            files,
            pending_anchors: None,
            issuers,
            rejections: Rejections::default(),
            has_key_problem: false,
            changes: 0,
        };
        trust_reloader.update_report();
        Ok(trust_reloader)
    }

    /// The trust that this reloader updates.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust<S::Policy>> {
        Arc::clone(&self.trust)
    }

    /// The status report; always the latest.
    #[must_use]
    pub fn report(&self) -> Arc<ArcSwap<TrustReport>> {
        Arc::clone(&self.report)
    }

    /// The problem of our own certificate at this time.
    #[must_use]
    pub fn own_certificate_fault(&self) -> Option<ConfigError> {
        let problem =
            pem_files::own_certificate_problem(&self.trust.current().credentials, self.now())?;
        Some(self.sources.certificate.fault(&problem))
    }

    /// Watches and fetches until it is dropped. `reload_requested` reads all files and fetches all
    /// addresses at once. `ready` is sent when every address was fetched once. `shared` is the CRL
    /// cache of all replicas, if there is one.
    pub async fn run(
        mut self,
        reload_requested: Arc<Notify>,
        shared: Option<Arc<dyn SharedCrlCache>>,
        ready: oneshot::Sender<()>,
    ) {
        let (fetched_sender, mut fetched_crls) = mpsc::channel(1);
        let mut fetching = JoinSet::new();
        let mut ocsp_tasks = JoinSet::new();
        let fetch_at_once = watch::Sender::new(());
        // No message is ever sent: the channel closes once all senders are dropped.
        let (first, mut first_fetch) = mpsc::channel(1);
        match Fetcher::new(self.sources.fetch) {
            Ok(fetcher) => {
                if let Some(ocsp_worker) = self.ocsp_worker(&fetcher) {
                    ocsp_tasks.spawn(ocsp_worker.run());
                }
                for source in &self.sources.crl_addresses {
                    let fetching_one = fetch_periodically(
                        CrlFetcher {
                            fetcher: fetcher.clone(),
                            shared_cache: shared.clone(),
                            clock: Arc::clone(&self.clock),
                            fetched_at: 0,
                        },
                        source.clone(),
                        self.sources.refresh,
                        fetch_at_once.subscribe(),
                        fetched_sender.clone(),
                        first.clone(),
                    );
                    fetching.spawn(fetching_one);
                }
            }
            Err(error) => tracing::error!(%error, "HTTP client for CRLs and OCSP not available"),
        }
        drop(first);
        let mut ready = Some(ready);
        let mut tick = interval(POLL_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let report = self.report();
        let mut trust_reloader = self;
        loop {
            let work: Work = tokio::select! {
                _ = tick.tick() => Work::Reload { force: false },
                () = reload_requested.notified() => {
                    fetch_at_once.send_replace(());
                    Work::Reload { force: true }
                }
                Some(fetched) = fetched_crls.recv() => Work::ApplyFetched(fetched),
                None = first_fetch.recv(), if ready.is_some() => {
                    trust_reloader.all_fetched_once = true;
                    // The receiver may have stopped waiting.
                    let _ = ready.take().map(|ready| ready.send(()));
                    continue;
                }
            };
            // Reading, validating and sorting a long CRL takes a while. A blocking task keeps it
            // from delaying requests.
            let span = Span::current();
            let done = tokio::task::spawn_blocking(move || {
                span.in_scope(|| match work {
                    Work::Reload { force } => trust_reloader.reload(force),
                    Work::ApplyFetched(fetched) => trust_reloader.apply_fetched(fetched),
                });
                trust_reloader
            });
            trust_reloader = match done.await {
                Ok(trust_reloader) => trust_reloader,
                Err(error) => {
                    tracing::error!(%error, "trust reloader failed, trust is no longer updated");
                    report.store(Arc::new(report.load().reloader_failed()));
                    return;
                }
            };
        }
    }

    fn ocsp_worker(&mut self, fetcher: &Fetcher) -> Option<OcspWorker<S::Policy>> {
        let options = self.sources.ocsp;
        let (requests, counters) = self.ocsp_requests.take()?;
        (options.check_peers || options.staple).then(|| OcspWorker {
            trust: Arc::clone(&self.trust),
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.randomness),
            options,
            refresh: self.sources.refresh,
            fetcher: fetcher.clone(),
            requests,
            counters,
            tracked: HashMap::new(),
            queries: JoinSet::new(),
        })
    }

    fn now(&self) -> UnixTime {
        self.clock.unix()
    }
}

enum Work {
    Reload { force: bool },
    ApplyFetched(FetchedCrl),
}

/// Collects the errors of an outcome.
fn note<T>(faults: &mut Vec<ConfigError>, outcome: Result<T, Vec<ConfigError>>) -> Option<T> {
    outcome.map_err(|more| faults.extend(more)).ok()
}

fn make_policy<S: PolicySource>(
    source: &S,
    files: pem_files::Files<'_>,
    own: &Credentials,
    now: UnixTime,
) -> Result<S::Policy, Vec<ConfigError>> {
    let contents: Vec<_> = files.into_iter().map(|(_, content)| content).collect();
    source
        .build(&contents, own, now)
        .map_err(|fault| vec![fault])
}

/// Parses the CRLs of a file or response, validates each and adds it: an invalid CRL does not hold
/// up the revocations of another. Returns the earliest `nextUpdate`.
fn add_lists(
    lists: &mut Lists,
    files: pem_files::Files<'_>,
    issuers: &Issuers,
    validate: impl Fn(&List) -> Result<(), ListError>,
) -> Result<Option<UnixTime>, Vec<ConfigError>> {
    let mut faults = Vec::new();
    let mut until: Option<UnixTime> = None;
    for (source, content) in files {
        let read = List::read_all(content, issuers).unwrap_or_else(|error| vec![Err(error)]);
        for found in read {
            let added = found.and_then(|FoundList { list, position }| {
                let next_update = list.next_update();
                validate(&list)
                    .and_then(|()| lists.add(Arc::new(list)))
                    .map_err(|error| error.at(position))?;
                until = Some(until.map_or(next_update, |until| until.min(next_update)));
                Ok(())
            });
            faults.extend(added.err().map(|error| source.fault(&error)));
        }
    }
    if faults.is_empty() {
        Ok(until)
    } else {
        Err(faults)
    }
}

/// Errors of anchors outside their validity, each by name.
fn anchor_faults(sources: &Sources, anchors: &Anchors, now: UnixTime) -> Vec<ConfigError> {
    // The subject identifies the anchor where there are several files.
    let key = match sources.anchors.as_slice() {
        [only] => only.key.as_str(),
        _ => "xs2a.anchors",
    };
    let invalid = anchors.invalid_at(now).map(|(certificate, refusal)| {
        let CertificateSummary {
            subject, serial, ..
        } = CertificateSummary::of(certificate);
        let problem = format!(
            "the anchor {subject} (serial {serial}): {refusal}; put the authority's \
             present certificate in its place"
        );
        ConfigError::new(key, problem)
    });
    let mut faults: Vec<ConfigError> = invalid.collect();
    if !anchors.any_valid_at(now) {
        let problem = "none of the anchors is valid at this time: no peer could connect";
        faults.push(ConfigError::new(key, problem));
    }
    faults
}
