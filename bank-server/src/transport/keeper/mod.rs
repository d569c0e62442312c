//! Keeps trust up to date: watches the files it is made of, fetches revocation lists, and puts each change in place.
//!
//! What belongs together is taken or refused together: certificate and key, the anchors, the intermediates, the gateways,
//! the policy, each list. What is refused leaves the old in place and is reported; it does not hold up the rest, so that a broken
//! register cannot keep a revocation out. All that was taken in one look is put in place as one snapshot.

mod fetching;
mod report;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bank_client::credentials::Credentials;
use bank_client::environment::Clock;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::revocation::{Issuers, List, Lists};
use shared_types::trust::Anchors;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

pub(crate) use self::fetching::wait_for_first;
use self::fetching::{Fetched, keep_fetching};
pub use self::report::{ListReport, Report};
pub use self::sources::{PolicySource, Sources};
use super::fetch::Fetcher;
use super::gateways::Gateways;
use super::material::{self, Source};
use super::trust::{Beliefs, Trust, unix_now};
use super::watched::Watched;
use crate::fault::Fault;

/// Keeps one [`Trust`] up to date.
pub struct Keeper<S: PolicySource> {
    trust: Arc<Trust<S::Policy>>,
    report: Arc<ArcSwap<Report>>,
    clock: Arc<dyn Clock>,
    sources: Sources,
    policy: S,
    credential_files: Watched,
    anchor_files: Watched,
    intermediate_files: Watched,
    gateway_files: Watched,
    policy_files: Watched,
    list_files: Vec<Watched>,
    intermediates: Arc<[CertificateDer<'static>]>,
    issuers: Issuers,
    /// What was refused, by what it is a part of.
    refused: BTreeMap<String, Vec<Fault>>,
    tally: Tally,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    changes: u64,
    refusals: u64,
}

/// What a look at the files has brought.
struct Found<P> {
    credentials: Option<Credentials>,
    anchors: Option<Anchors>,
    intermediates: bool,
    gateways: Option<Gateways>,
    policy: Option<P>,
    lists: Vec<Arc<List>>,
}

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(500);

impl<S: PolicySource> Keeper<S> {
    /// Reads everything there is in files. What is wrong with any of it is told; only a list whose time is over is
    /// taken all the same, because what it says was revoked still is.
    pub fn open(sources: Sources, policy: S, clock: Arc<dyn Clock>) -> Result<Self, Vec<Fault>> {
        let now = unix_now(&*clock);
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

        let mut note = |outcome: Result<(), Vec<Fault>>| {
            if let Err(more) = outcome {
                faults.extend(more);
            }
        };
        let mut credentials = None;
        note(read(&mut credential_files, credentials_of).map(|read| credentials = Some(read)));
        let mut anchors = None;
        note(read(&mut anchor_files, material::anchors).map(|read| anchors = Some(read)));
        let mut intermediates: Arc<[_]> = Arc::default();
        note(
            read(&mut intermediate_files, material::certificates)
                .map(|read| intermediates = read.into()),
        );
        let mut gateways = Gateways::default();
        note(read(&mut gateway_files, material::gateways).map(|read| gateways = read));
        let mut made = None;
        if let Some(credentials) = &credentials {
            let contents = first(&mut policy_files);
            note(contents.and_then(|contents| {
                policy
                    .make(&contents, credentials, now)
                    .map(|policy| made = Some(policy))
                    .map_err(|fault| vec![fault])
            }));
        }
        let mut lists = Lists::default();
        let mut issuers = Issuers::default();
        if let Some(anchors) = &anchors {
            issuers = Issuers::new(anchors.certificates().iter().chain(&*intermediates));
            for watched in &mut list_files {
                note(first(watched).and_then(|contents| {
                    let source = watched.sources().first().cloned();
                    for content in contents {
                        let added = List::read(content, &issuers)
                            .and_then(|list| lists.add(Arc::new(list)));
                        if let (Err(error), Some(source)) = (added, &source) {
                            return Err(vec![source.fault(&error)]);
                        }
                    }
                    Ok(())
                }));
            }
        }
        let (Some(credentials), Some(anchors), Some(made), true) =
            (credentials, anchors, made, faults.is_empty())
        else {
            return Err(faults);
        };
        let beliefs = Beliefs {
            anchors: Arc::new(anchors),
            intermediates: Arc::clone(&intermediates),
            gateways,
            lists,
            unknown_status: sources.unknown_status,
            policy: Arc::new(made),
            credentials,
        };
        let trust = Trust::new(beliefs, Arc::clone(&clock))
            .map_err(|error| vec![sources.certificate.fault(&error)])?;
        let mut keeper = Self {
            trust: Arc::new(trust),
            report: Arc::default(),
            clock,
            sources,
            policy,
            credential_files,
            anchor_files,
            intermediate_files,
            gateway_files,
            policy_files,
            list_files,
            intermediates,
            issuers,
            refused: BTreeMap::new(),
            tally: Tally::default(),
        };
        keeper.tell();
        Ok(keeper)
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
    pub fn own_certificate_fault(&self) -> Option<Fault> {
        let problem =
            material::own_certificate_problem(&self.trust.current().credentials, self.now())?;
        Some(self.sources.certificate.fault(&problem))
    }

    /// Watches and fetches, for as long as it is polled. `reread` has all files read at once. `ready` is told when every
    /// address was asked once.
    pub async fn keep(self, reread: Arc<Notify>, ready: oneshot::Sender<()>) {
        let (arrivals, mut arriving) = mpsc::channel(1);
        let mut fetching = tokio::task::JoinSet::new();
        match Fetcher::new(self.sources.fetch) {
            Ok(fetcher) => {
                for source in &self.sources.list_addresses {
                    let fetching_one = keep_fetching(
                        fetcher.clone(),
                        source.clone(),
                        self.sources.refresh,
                        arrivals.clone(),
                    );
                    fetching.spawn(fetching_one);
                }
            }
            Err(error) => tracing::error!(%error, "revocation lists cannot be fetched"),
        }
        let mut still_first = fetching.len();
        let mut ready = Some(ready);
        let mut tick = interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keeper = self;
        loop {
            if still_first == 0
                && let Some(ready) = ready.take()
            {
                // Who started us may have given up waiting.
                let _ = ready.send(());
            }
            let work: Work = tokio::select! {
                _ = tick.tick() => Work::Look { anyway: false },
                () = reread.notified() => Work::Look { anyway: true },
                Some(fetched) = arriving.recv() => {
                    still_first = still_first.saturating_sub(1);
                    Work::Take(fetched)
                }
            };
            // Reading, checking and sorting a long list takes a while; requests are answered meanwhile.
            let done = tokio::task::spawn_blocking(move || {
                match work {
                    Work::Look { anyway } => keeper.look(anyway),
                    Work::Take(fetched) => keeper.take(fetched),
                }
                keeper
            });
            keeper = match done.await {
                Ok(keeper) => keeper,
                Err(error) => {
                    tracing::error!(%error, "trust is no longer kept up to date");
                    return;
                }
            };
        }
    }

    /// Looks at all files, and puts in place what has changed and is good.
    fn look(&mut self, anyway: bool) {
        let now = self.now();
        let current = self.trust.current();
        let mut found = Found {
            credentials: None,
            anchors: None,
            intermediates: false,
            gateways: None,
            policy: None,
            lists: Vec::new(),
        };
        if let Some(contents) = self.credential_files.changed(anyway) {
            let outcome = contents
                .and_then(|contents| {
                    credentials_of(&paired(self.credential_files.sources(), &contents))
                })
                .and_then(|new| self.check_credentials(new, &current.credentials, now));
            found.credentials = self.settle("certificate", outcome);
        }
        if let Some(contents) = self.anchor_files.changed(anyway) {
            let outcome = contents.and_then(|contents| {
                material::anchors(&paired(self.anchor_files.sources(), &contents))
            });
            let outcome = outcome.and_then(|anchors| {
                if anchors.any_valid_at(now) {
                    Ok(anchors)
                } else {
                    Err(self.of_anchors(
                        "none of the anchors is valid at this time: nobody could connect",
                    ))
                }
            });
            found.anchors = self.settle("anchors", outcome);
        }
        if let Some(contents) = self.intermediate_files.changed(anyway) {
            let outcome = contents.and_then(|contents| {
                material::certificates(&paired(self.intermediate_files.sources(), &contents))
            });
            if let Some(intermediates) = self.settle("intermediates", outcome) {
                self.intermediates = intermediates.into();
                found.intermediates = true;
            }
        }
        if let Some(contents) = self.gateway_files.changed(anyway) {
            let outcome = contents.and_then(|contents| {
                material::gateways(&paired(self.gateway_files.sources(), &contents))
            });
            let outcome = outcome.and_then(|gateways| match self.gateway_fault(&gateways, now) {
                Some(fault) => Err(vec![fault]),
                None => Ok(gateways),
            });
            found.gateways = self.settle("gateways", outcome);
        }
        if let Some(contents) = self.policy_files.changed(anyway) {
            let credentials = found.credentials.as_ref().unwrap_or(&current.credentials);
            let outcome = contents.and_then(|contents| {
                self.policy
                    .make(&contents, credentials, now)
                    .map_err(|fault| vec![fault])
            });
            found.policy = self.settle("policy", outcome);
        }
        if found.anchors.is_some() || found.intermediates {
            let anchors = found.anchors.as_ref().unwrap_or(&current.anchors);
            self.issuers = Issuers::new(anchors.certificates().iter().chain(&*self.intermediates));
            // A list that was refused because its CA was not known may be good now.
            self.list_files.iter_mut().for_each(Watched::forget);
        }
        for index in 0..self.list_files.len() {
            found.lists.extend(self.look_at_list(index, anyway, now));
        }
        self.put_in_place(found, &current);
        self.tell();
    }

    fn look_at_list(&mut self, index: usize, anyway: bool, now: UnixTime) -> Option<Arc<List>> {
        let watched = self.list_files.get_mut(index)?;
        let contents = watched.changed(anyway)?;
        let source = watched.sources().first()?.clone();
        let outcome = contents.and_then(|contents| {
            let content = contents.into_iter().next().unwrap_or_default();
            self.check_list(content, now)
                .map_err(|error| vec![source.fault(&error)])
        });
        self.settle(&source.place, outcome)
    }

    fn check_list(
        &self,
        content: Vec<u8>,
        now: UnixTime,
    ) -> Result<Arc<List>, shared_types::revocation::ListError> {
        let list = List::read(content, &self.issuers)?;
        list.check_fresh(now)?;
        let list = Arc::new(list);
        // Tried on a copy: an older one than that at hand is refused here, with its own reason.
        self.trust.current().lists.clone().add(Arc::clone(&list))?;
        Ok(list)
    }

    /// A list that was fetched.
    fn take(&mut self, fetched: Fetched) {
        let Fetched {
            source,
            content,
            answer,
        } = fetched;
        let now = self.now();
        let outcome = content.and_then(|content| {
            self.check_list(content, now)
                .map_err(|error| error.to_string())
        });
        let outcome = outcome.map_err(|problem| vec![source.fault(&problem)]);
        let list = self.settle(&source.place, outcome);
        let good_for = list.as_ref().map(|list| {
            Duration::from_secs(list.next_update().as_secs().saturating_sub(now.as_secs()))
        });
        let current = self.trust.current();
        let found = Found {
            credentials: None,
            anchors: None,
            intermediates: false,
            gateways: None,
            policy: None,
            lists: list.into_iter().collect(),
        };
        self.put_in_place(found, &current);
        self.tell();
        // The fetching task has ended if nobody hears it.
        let _ = answer.send(good_for);
    }

    /// A new certificate has to be good, and to fit the old one.
    fn check_credentials(
        &self,
        new: Credentials,
        old: &Credentials,
        now: UnixTime,
    ) -> Result<Credentials, Vec<Fault>> {
        if new.chain() == old.chain() {
            return Ok(new);
        }
        let problem = material::own_certificate_problem(&new, now)
            .or_else(|| self.policy.check_own(&new, old).err());
        match problem {
            Some(problem) => Err(vec![self.sources.certificate.fault(&problem)]),
            None => Ok(new),
        }
    }

    /// What is wrong where no gateway can come in.
    fn gateway_fault(&self, gateways: &Gateways, now: UnixTime) -> Option<Fault> {
        let source = self.sources.gateways.first()?;
        gateways.all_out_of_time(now).then(|| {
            let problem = "no gateway's certificate is valid at this time: none could connect";
            Fault::new(&source.place, problem)
        })
    }

    fn of_anchors(&self, problem: &str) -> Vec<Fault> {
        let place = self.sources.anchors.first();
        place
            .map(|source| Fault::new(&source.place, problem))
            .into_iter()
            .collect()
    }

    /// Notes what was refused, and what no longer is.
    fn settle<T>(&mut self, part: &str, outcome: Result<T, Vec<Fault>>) -> Option<T> {
        match outcome {
            Ok(good) => {
                self.refused.remove(part);
                Some(good)
            }
            Err(faults) => {
                if self.refused.get(part) != Some(&faults) {
                    for fault in &faults {
                        tracing::error!(%fault, "a replacement was refused; the old one stays");
                    }
                    self.tally.refusals += 1;
                    self.refused.insert(part.to_owned(), faults);
                }
                None
            }
        }
    }

    fn put_in_place(&mut self, found: Found<S::Policy>, current: &Beliefs<S::Policy>) {
        let Found {
            credentials,
            anchors,
            intermediates,
            gateways,
            policy,
            lists: new_lists,
        } = found;
        let parts = [
            credentials.is_some(),
            anchors.is_some(),
            intermediates,
            gateways.is_some(),
            policy.is_some(),
            !new_lists.is_empty(),
        ];
        if !parts.contains(&true) {
            return;
        }
        let mut lists = current.lists.clone();
        for list in new_lists {
            // Each was tried before; two of the same kind in one look leave the newer one.
            let _ = lists.add(list);
        }
        let candidate = Beliefs {
            anchors: anchors.map_or_else(|| Arc::clone(&current.anchors), Arc::new),
            intermediates: Arc::clone(&self.intermediates),
            gateways: gateways.unwrap_or_else(|| current.gateways.clone()),
            lists,
            unknown_status: current.unknown_status,
            policy: policy.map_or_else(|| Arc::clone(&current.policy), Arc::new),
            credentials: credentials.unwrap_or_else(|| current.credentials.clone()),
        };
        let now = self.now();
        let locks_out = candidate.lets_nobody_in(now) && !current.lets_nobody_in(now);
        if locks_out {
            let faults = self.of_anchors(
                "no revocation list of the new anchors is at hand: nobody could connect",
            );
            self.anchor_files.forget();
            self.settle::<()>("anchors", Err(faults));
            return;
        }
        let described = format!("{candidate:?}");
        match self.trust.change(|_| candidate) {
            Ok(()) => {
                self.tally.changes += 1;
                tracing::info!(now = described, "trust has changed");
            }
            Err(error) => {
                let fault = self.sources.certificate.fault(&error);
                self.settle::<()>("certificate", Err(vec![fault]));
            }
        }
    }

    /// Tells operators how things stand.
    fn tell(&mut self) {
        let now = self.now();
        let current = self.trust.current();
        let mut problems: Vec<Fault> = self.refused.values().flatten().cloned().collect();
        problems.extend(self.own_certificate_fault());
        problems.extend(self.gateway_fault(&current.gateways, now));
        let lists: Vec<ListReport> = current
            .lists
            .iter()
            .map(|list| ListReport {
                issuer: list.issuer().to_string(),
                this_update: list.this_update(),
                next_update: list.next_update(),
                entries: list.len(),
            })
            .collect();
        problems.extend(current.lists.iter().filter_map(|list| {
            let stale = list.check_fresh(now).err()?;
            Some(Fault::new(
                "revocation",
                format!("the list of {} {stale}", list.issuer()),
            ))
        }));
        let closed = current.lets_nobody_in(now);
        if closed {
            problems.push(Fault::new(
                "revocation",
                "there is no fresh list of any anchor: nobody can connect",
            ));
        }
        self.report.store(Arc::new(Report {
            problems,
            changes: self.tally.changes,
            refusals: self.tally.refusals,
            closed,
            certificate_until: current.credentials.valid_until(),
            lists,
        }));
    }

    fn now(&self) -> UnixTime {
        unix_now(&*self.clock)
    }
}

enum Work {
    Look { anyway: bool },
    Take(Fetched),
}

type Files<'a> = [(&'a Source, &'a [u8])];

fn credentials_of(files: &Files<'_>) -> Result<Credentials, Vec<Fault>> {
    match files {
        [certificate, key] => material::credentials(*certificate, *key),
        _ => Err(Vec::new()),
    }
}

fn paired<'a>(sources: &'a [Source], contents: &'a [Vec<u8>]) -> Vec<(&'a Source, &'a [u8])> {
    let contents = contents.iter().map(Vec::as_slice);
    sources.iter().zip(contents).collect()
}

fn first(watched: &mut Watched) -> Result<Vec<Vec<u8>>, Vec<Fault>> {
    watched.changed(true).unwrap_or_else(|| Ok(Vec::new()))
}

fn read<T>(
    watched: &mut Watched,
    make: impl FnOnce(&Files<'_>) -> Result<T, Vec<Fault>>,
) -> Result<T, Vec<Fault>> {
    let contents = first(watched)?;
    make(&paired(watched.sources(), &contents))
}
