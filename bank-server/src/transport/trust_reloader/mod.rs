//! Keeps trust up to date: watches the files it is made of, fetches revocation lists, and puts each change in place.
//!
//! What belongs together is taken or refused together: certificate and key, the anchors, the intermediates, the gateways,
//! the policy, each list. What is refused leaves the old in place and is reported; it does not hold up the rest, so that a broken
//! register cannot keep a revocation out. All that was taken in one look is put in place as one snapshot.

mod apply;
mod crl_cache;
mod fetching;
mod reload;
mod report;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bank_client::credentials::Credentials;
use bank_client::environment::{Clock, Randomness};
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::certificate::CertificateSummary;
use shared_types::revocation::{FoundList, Issuers, List, ListError, Lists, Statuses};
use shared_types::trust::Anchors;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::Span;

pub use self::crl_cache::{Look, SharedCrlCache, ShelfError, Wanted};
pub(crate) use self::fetching::wait_for_first;
use self::fetching::{Fetched, Fetching, keep_fetching};
pub use self::report::{ListReport, Report};
pub use self::sources::{PolicySource, Sources};
use super::fetch::Fetcher;
use super::gateways::Gateways;
use super::ocsp_worker::{Inbox, Inquirer, OcspHandle};
use super::pem_files::{self, Source};
use super::trust::{Trust, TrustSnapshot};
use super::watched::Watched;
use crate::config_error::ConfigError;

/// Keeps one [`Trust`] up to date.
pub struct TrustReloader<S: PolicySource> {
    trust: Arc<Trust<S::Policy>>,
    report: Arc<ArcSwap<Report>>,
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    /// Taken out when the asking begins.
    inbox: Option<Inbox>,
    sources: Sources,
    policy: S,
    credential_files: Watched,
    anchor_files: Watched,
    intermediate_files: Watched,
    gateway_files: Watched,
    policy_files: Watched,
    list_files: Vec<Watched>,
    intermediates: Arc<[CertificateDer<'static>]>,
    /// Anchors that are good, and would lock everybody out for want of their lists: they wait for those.
    waiting: Option<Anchors>,
    /// Whose lists are read.
    issuers: Issuers,
    /// Whether each address of a list was asked once.
    all_asked: bool,
    /// What was refused, by what it is a part of.
    refused: BTreeMap<String, Vec<ConfigError>>,
    tally: Tally,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    changes: u64,
    refusals: u64,
}

/// What a look has brought.
struct Found<P> {
    credentials: Option<Credentials>,
    anchors: Option<Anchors>,
    gateways: Option<Gateways>,
    intermediates: bool,
    policy: Option<P>,
    lists: Vec<Arc<List>>,
}

impl<P> Found<P> {
    fn nothing() -> Self {
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

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);

impl<S: PolicySource> TrustReloader<S> {
    /// Reads everything there is in files. What is wrong with any of it is told; only a list whose time is over is
    /// taken all the same, because what it says was revoked still is.
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
        // Whether or not there is a certificate for the rules to be made with, their files have to be there.
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
            ask_responders: sources.ocsp_worker.about_peers,
            unknown_status: sources.unknown_status,
            policy: Arc::new(made),
            credentials,
        };
        let (ocsp, inbox) = OcspHandle::new();
        let trust = Trust::new(snapshot, Arc::clone(&clock), ocsp)
            .map_err(|error| vec![sources.certificate.fault(&error)])?;
        let mut trust_reloader = Self {
            trust: Arc::new(trust),
            report: Arc::default(),
            clock,
            randomness,
            inbox: Some(inbox),
            all_asked: sources.list_addresses.is_empty(),
            sources,
            policy,
            credential_files,
            anchor_files,
            intermediate_files,
            gateway_files,
            policy_files,
            list_files,
            intermediates,
            waiting: None,
            issuers,
            refused: BTreeMap::new(),
            tally: Tally::default(),
        };
        trust_reloader.tell();
        Ok(trust_reloader)
    }

    /// The trust that is kept up to date.
    #[must_use]
    pub fn trust(&self) -> Arc<Trust<S::Policy>> {
        Arc::clone(&self.trust)
    }

    /// How trust stands; always the latest.
    #[must_use]
    pub fn report(&self) -> Arc<ArcSwap<Report>> {
        Arc::clone(&self.report)
    }

    /// What is wrong with our own certificate at this time.
    #[must_use]
    pub fn own_certificate_fault(&self) -> Option<ConfigError> {
        let problem =
            pem_files::own_certificate_problem(&self.trust.current().credentials, self.now())?;
        Some(self.sources.certificate.fault(&problem))
    }

    /// Watches and fetches, for as long as it is polled. `reread` has all files read, and all addresses
    /// asked, at once. `ready` is told when every
    /// address was asked once. What is shared, if anything is, are lists that other replicas have fetched.
    pub async fn keep(
        mut self,
        reread: Arc<Notify>,
        shared: Option<Arc<dyn SharedCrlCache>>,
        ready: oneshot::Sender<()>,
    ) {
        let (arrivals, mut arriving) = mpsc::channel(1);
        let mut fetching = tokio::task::JoinSet::new();
        let mut asking = tokio::task::JoinSet::new();
        let fetch_at_once = watch::Sender::new(());
        // Nothing is ever sent: it ends once nobody holds it.
        let (first, mut still_first) = mpsc::channel(1);
        match Fetcher::new(self.sources.fetch) {
            Ok(fetcher) => {
                if let Some(inquirer) = self.inquirer(&fetcher) {
                    asking.spawn(inquirer.keep_asking());
                }
                for source in &self.sources.list_addresses {
                    let fetching_one = keep_fetching(
                        Fetching {
                            fetcher: fetcher.clone(),
                            others: shared.clone(),
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
            Err(error) => tracing::error!(%error, "nothing can be fetched or asked"),
        }
        drop(first);
        let mut ready = Some(ready);
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let report = self.report();
        let mut trust_reloader = self;
        loop {
            let work: Work = tokio::select! {
                _ = tick.tick() => Work::Look { anyway: false },
                () = reread.notified() => {
                    fetch_at_once.send_replace(());
                    Work::Look { anyway: true }
                }
                Some(fetched) = arriving.recv() => Work::Take(fetched),
                None = still_first.recv(), if ready.is_some() => {
                    trust_reloader.all_asked = true;
                    // Who started us may have given up waiting.
                    let _ = ready.take().map(|ready| ready.send(()));
                    continue;
                }
            };
            // Reading, checking and sorting a long list takes a while; requests are answered meanwhile.
            let span = Span::current();
            let done = tokio::task::spawn_blocking(move || {
                span.in_scope(|| match work {
                    Work::Look { anyway } => trust_reloader.look(anyway),
                    Work::Take(fetched) => trust_reloader.take(fetched),
                });
                trust_reloader
            });
            trust_reloader = match done.await {
                Ok(trust_reloader) => trust_reloader,
                Err(error) => {
                    tracing::error!(%error, "trust is no longer kept up to date");
                    report.store(Arc::new(report.load().given_up()));
                    return;
                }
            };
        }
    }

    fn inquirer(&mut self, fetcher: &Fetcher) -> Option<Inquirer<S::Policy>> {
        let options = self.sources.ocsp_worker;
        let inbox = self.inbox.take()?;
        (options.about_peers || options.about_ourselves).then(|| {
            Inquirer::new(
                Arc::clone(&self.trust),
                Arc::clone(&self.clock),
                Arc::clone(&self.randomness),
                options,
                self.sources.refresh,
                fetcher.clone(),
                inbox,
            )
        })
    }

    fn now(&self) -> UnixTime {
        self.clock.unix()
    }
}

enum Work {
    Look { anyway: bool },
    Take(Fetched),
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

/// Reads the lists of a file. Without issuers, it only has to be there.
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

/// Hands each list of a file or an answer on; what is wrong with those that are no good.
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

/// The anchors that are outside their own validity, each by its name.
fn anchor_faults(sources: &Sources, anchors: &Anchors, now: UnixTime) -> Vec<ConfigError> {
    // The subject tells which one, where there are several files.
    let place = match sources.anchors.as_slice() {
        [only] => only.place.as_str(),
        _ => "xs2a.anchors",
    };
    let invalid = anchors.invalid_at(now).map(|(certificate, refusal)| {
        let CertificateSummary {
            subject, serial, ..
        } = CertificateSummary::of(certificate);
        let problem = format!(
            "the anchor {subject} (serial {serial}): {refusal}; put the authority's present certificate in its place"
        );
        ConfigError::new(place, problem)
    });
    let mut faults: Vec<ConfigError> = invalid.collect();
    if !anchors.any_valid_at(now) {
        let problem = "none of the anchors is valid at this time: nobody could connect";
        faults.push(ConfigError::new(place, problem));
    }
    faults
}
