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
use rustls_pki_types::{CertificateDer, UnixTime};
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
use super::gateways::Gateways;
use super::ocsp_worker::{OcspHandle, OcspRequests, OcspWorker};
use super::pem_files::{self, Source};
use super::trust::{Trust, TrustSnapshot};
use super::watched::Watched;
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
    credential_files: Watched,
    anchor_files: Watched,
    intermediate_files: Watched,
    gateway_files: Watched,
    policy_files: Watched,
    list_files: Vec<Watched>,
    intermediates: Arc<[CertificateDer<'static>]>,
    /// Valid anchors without a CRL, which would lock out every peer: applied once a CRL arrives.
    pending_anchors: Option<Anchors>,
    /// The issuers whose CRLs are accepted.
    issuers: Issuers,
    /// Whether each CRL address was fetched once.
    all_fetched_once: bool,
    /// Errors of rejected parts, by part.
    rejected: BTreeMap<String, Vec<ConfigError>>,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    changes: u64,
    refusals: u64,
}

/// The accepted parts of a reload.
struct PendingChange<P> {
    credentials: Option<Credentials>,
    anchors: Option<Anchors>,
    gateways: Option<Gateways>,
    intermediates: bool,
    policy: Option<P>,
    lists: Vec<Arc<List>>,
}

impl<P> PendingChange<P> {
    fn none() -> Self {
        Self {
            credentials: None,
            anchors: None,
            intermediates: false,
            gateways: None,
            policy: None,
            lists: Vec::new(),
        }
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
        let mut credential_files = Watched::new(vec![
            sources.certificate.clone(),
            sources.private_key.clone(),
        ]);
        let mut anchor_files = Watched::new(sources.anchors.clone());
        let mut intermediate_files = Watched::new(sources.intermediates.clone());
        let mut gateway_files = Watched::new(sources.gateways.clone());
        let mut policy_files = Watched::new(policy.files());
        let mut list_files: Vec<Watched> = sources
            .list_files
            .iter()
            .map(|source| Watched::new(vec![source.clone()]))
            .collect();

        let mut note = |outcome: Result<(), Vec<ConfigError>>| {
            if let Err(more) = outcome {
                faults.extend(more);
            }
        };
        let mut credentials = None;
        note(read(&mut credential_files, credentials_of).map(|read| credentials = Some(read)));
        let mut anchors = None;
        note(read(&mut anchor_files, pem_files::anchors).map(|read| anchors = Some(read)));
        let mut intermediates: Arc<[_]> = Arc::default();
        note(
            read(&mut intermediate_files, pem_files::authorities)
                .map(|read| intermediates = read.into()),
        );
        let mut gateways = Gateways::default();
        note(read(&mut gateway_files, pem_files::gateways).map(|read| gateways = read));
        let mut made = None;
        // The files of the policy must exist even if it cannot be built for want of a certificate.
        let contents = first(&mut policy_files);
        note(contents.and_then(|contents| {
            match &credentials {
                None => Ok(()),
                Some(credentials) => policy
                    .make(&contents, credentials, now)
                    .map(|policy| made = Some(policy))
                    .map_err(|fault| vec![fault]),
            }
        }));
        if let Some(anchors) = anchors
            .as_ref()
            .filter(|anchors| !anchors.any_valid_at(now))
        {
            note(Err(anchor_faults(&sources, anchors, now)));
        }
        let mut lists = Lists::default();
        let issuers = anchors
            .as_ref()
            .map(|anchors| Issuers::new(anchors.certificates().iter().chain(&*intermediates)));
        for watched in &mut list_files {
            note(first_list(watched, issuers.as_ref(), &mut lists));
        }
        let (Some(credentials), Some(anchors), Some(issuers), Some(made), true) =
            (credentials, anchors, issuers, made, faults.is_empty())
        else {
            return Err(faults);
        };
        let snapshot = TrustSnapshot {
            anchors: Arc::new(anchors),
            intermediates: Arc::clone(&intermediates),
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
            all_fetched_once: sources.list_addresses.is_empty(),
            sources,
            policy,
            credential_files,
            anchor_files,
            intermediate_files,
            gateway_files,
            policy_files,
            list_files,
            intermediates,
            pending_anchors: None,
            issuers,
            rejected: BTreeMap::new(),
            counters: Counters::default(),
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
        let (arrivals, mut arriving) = mpsc::channel(1);
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
                for source in &self.sources.list_addresses {
                    let fetching_one = fetch_periodically(
                        CrlFetcher {
                            fetcher: fetcher.clone(),
                            shared: shared.clone(),
                            clock: Arc::clone(&self.clock),
                            latest: 0,
                        },
                        source.clone(),
                        self.sources.refresh,
                        fetch_at_once.subscribe(),
                        arrivals.clone(),
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
                _ = tick.tick() => Work::CacheLookup { force: false },
                () = reload_requested.notified() => {
                    fetch_at_once.send_replace(());
                    Work::CacheLookup { force: true }
                }
                Some(fetched) = arriving.recv() => Work::ApplyFetched(fetched),
                None = first_fetch.recv(), if ready.is_some() => {
                    trust_reloader.all_fetched_once = true;
                    // The receiver may have stopped waiting.
                    let _ = ready.take().map(|ready| ready.send(()));
                    continue;
                }
            };
            // Reading, validating and sorting a long CRL takes a while; requests are answered
            // meanwhile.
            let span = Span::current();
            let done = tokio::task::spawn_blocking(move || {
                span.in_scope(|| match work {
                    Work::CacheLookup { force } => trust_reloader.reload(force),
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
        let requests = self.ocsp_requests.take()?;
        (options.check_peers || options.staple).then(|| OcspWorker {
            trust: Arc::clone(&self.trust),
            clock: Arc::clone(&self.clock),
            randomness: Arc::clone(&self.randomness),
            options,
            refresh: self.sources.refresh,
            fetcher: fetcher.clone(),
            requests,
            tracked: HashMap::new(),
            queries: JoinSet::new(),
        })
    }

    fn now(&self) -> UnixTime {
        self.clock.unix()
    }
}

enum Work {
    CacheLookup { force: bool },
    ApplyFetched(FetchedCrl),
}

type Files<'a> = [(&'a Source, &'a [u8])];

fn credentials_of(files: &Files<'_>) -> Result<Credentials, Vec<ConfigError>> {
    match files {
        [certificate, key] => pem_files::credentials(*certificate, *key),
        _ => Err(Vec::new()),
    }
}

fn paired<'a>(sources: &'a [Source], contents: &'a [Vec<u8>]) -> Vec<(&'a Source, &'a [u8])> {
    let contents = contents.iter().map(Vec::as_slice);
    sources.iter().zip(contents).collect()
}

fn first(watched: &mut Watched) -> Result<Vec<Vec<u8>>, Vec<ConfigError>> {
    watched.changed(true).unwrap_or_else(|| Ok(Vec::new()))
}

fn read<T>(
    watched: &mut Watched,
    make: impl FnOnce(&Files<'_>) -> Result<T, Vec<ConfigError>>,
) -> Result<T, Vec<ConfigError>> {
    let contents = first(watched)?;
    make(&paired(watched.sources(), &contents))
}

/// Reads the CRLs of a file. Without issuers, only checks that it exists.
fn first_list(
    watched: &mut Watched,
    issuers: Option<&Issuers>,
    lists: &mut Lists,
) -> Result<(), Vec<ConfigError>> {
    let contents = first(watched)?;
    let Some(issuers) = issuers else {
        return Ok(());
    };
    let mut faults = Vec::new();
    for (source, content) in watched.sources().iter().zip(contents) {
        faults.extend(each_list(source, content, issuers, |list| lists.add(list)));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// Calls `take` with each CRL of a file or response; returns the errors.
fn each_list(
    source: &Source,
    content: Vec<u8>,
    issuers: &Issuers,
    mut take: impl FnMut(Arc<List>) -> Result<(), ListError>,
) -> Vec<ConfigError> {
    let read = List::read_all(content, issuers).unwrap_or_else(|error| vec![Err(error)]);
    let faults = read.into_iter().filter_map(|read| {
        let taken = read.and_then(|FoundList { list, position }| {
            take(Arc::new(list)).map_err(|error| error.at(position))
        });
        taken.err()
    });
    faults.map(|error| source.fault(&error)).collect()
}

/// Errors of anchors outside their validity, each by name.
fn anchor_faults(sources: &Sources, anchors: &Anchors, now: UnixTime) -> Vec<ConfigError> {
    // The subject identifies the anchor where there are several files.
    let place = match sources.anchors.as_slice() {
        [only] => only.place.as_str(),
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
        ConfigError::new(place, problem)
    });
    let mut faults: Vec<ConfigError> = invalid.collect();
    if !anchors.any_valid_at(now) {
        let problem = "none of the anchors is valid at this time: no peer could connect";
        faults.push(ConfigError::new(place, problem));
    }
    faults
}
