//! Looking at what trust is made of: what has changed, and is it good?

use std::sync::Arc;
use std::time::Duration;

use bank_client::credentials::Credentials;
use rustls_pki_types::UnixTime;
use shared_types::revocation::{Issuers, List};
use shared_types::trust::Anchors;

use super::fetching::Fetched;
use super::sources::PolicySource;
use super::{Found, TrustReloader, anchor_faults, credentials_of, each_list, paired};
use crate::config_error::ConfigError;
use crate::transport::gateways::Gateways;
use crate::transport::pem_files::{self, Source};
use crate::transport::watched::Watched;

impl<S: PolicySource> TrustReloader<S> {
    /// Looks at all files, and puts in place what has changed and is good.
    pub(super) fn look(&mut self, anyway: bool) {
        let now = self.now();
        let current = self.trust.current();
        let mut found = Found::nothing();
        self.look_at_what_was_refused();
        if let Some(contents) = self.credential_files.changed(anyway) {
            let outcome = contents
                .and_then(|contents| {
                    credentials_of(&paired(self.credential_files.sources(), &contents))
                })
                .and_then(|new| self.check_credentials(new, &current.credentials, now));
            found.credentials = self.settle("certificate", outcome);
        }
        let mut other_issuers = false;
        if let Some(contents) = self.anchor_files.changed(anyway) {
            found.anchors = self.check_anchors(contents, now);
            self.waiting = None;
            other_issuers = found.anchors.is_some();
        }
        if let Some(contents) = self.intermediate_files.changed(anyway) {
            let outcome = contents.and_then(|contents| {
                pem_files::authorities(&paired(self.intermediate_files.sources(), &contents))
            });
            if let Some(intermediates) = self.settle("intermediates", outcome) {
                self.intermediates = intermediates.into();
                found.intermediates = true;
            }
        }
        if let Some(contents) = self.gateway_files.changed(anyway) {
            let outcome = contents.and_then(|contents| {
                pem_files::gateways(&paired(self.gateway_files.sources(), &contents))
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
        if other_issuers || found.intermediates {
            // The old anchors' lists count until the new ones are in place.
            let anchors = [found.anchors.as_ref(), Some(&current.anchors)];
            let anchors = anchors.into_iter().flatten();
            let known = anchors.flat_map(Anchors::certificates);
            self.issuers = Issuers::new(known.chain(&*self.intermediates));
            // A list that was refused because its CA was not known may be good now.
            self.list_files.iter_mut().for_each(Watched::forget);
        }
        for index in 0..self.list_files.len() {
            found.lists.extend(self.look_at_list(index, anyway, now));
        }
        self.put_in_place(found, &current);
        self.tell();
    }

    /// What was refused because of its time can have become good by itself. These files are small; lists are not, and
    /// come again of their own accord.
    fn look_at_what_was_refused(&mut self) {
        let parts = [
            ("certificate", &mut self.credential_files),
            ("gateways", &mut self.gateway_files),
            ("policy", &mut self.policy_files),
        ];
        for (part, files) in parts {
            if self.refused.contains_key(part) {
                files.forget();
            }
        }
        if self.refused.contains_key("anchors") && self.waiting.is_none() {
            self.anchor_files.forget();
        }
    }

    fn look_at_list(&mut self, index: usize, anyway: bool, now: UnixTime) -> Vec<Arc<List>> {
        let Some(watched) = self.list_files.get_mut(index) else {
            return Vec::new();
        };
        let (Some(contents), Some(source)) = (watched.changed(anyway), watched.sources().first())
        else {
            return Vec::new();
        };
        let source = source.clone();
        let outcome = contents.map(|contents| {
            let content = contents.into_iter().next().unwrap_or_default();
            self.check_lists(&source, content, now)
        });
        let (lists, faults) = outcome.unwrap_or_else(|faults| (Vec::new(), faults));
        self.settle_lists(&source, faults);
        lists
    }

    /// The lists of a file or an answer that are good, and what is wrong with the others: one that is not good does not
    /// keep those in that another list revokes.
    fn check_lists(
        &self,
        source: &Source,
        content: Vec<u8>,
        now: UnixTime,
    ) -> (Vec<Arc<List>>, Vec<ConfigError>) {
        // Tried on a copy: an older one than that at hand is refused here, with its own reason.
        let mut tried = self.trust.current().statuses.lists.clone();
        let mut good = Vec::new();
        let faults = each_list(source, content, &self.issuers, |list| {
            list.check_fresh(now)?;
            tried.add(Arc::clone(&list))?;
            good.push(list);
            Ok(())
        });
        (good, faults)
    }

    fn settle_lists(&mut self, source: &Source, faults: Vec<ConfigError>) {
        let outcome = if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        };
        self.settle(&source.place, outcome);
    }

    /// Lists that were fetched from one address.
    pub(super) fn take(&mut self, fetched: Fetched) {
        let Fetched {
            source,
            content,
            answer,
        } = fetched;
        let now = self.now();
        let (lists, faults) = match content {
            Ok(content) => self.check_lists(&source, content, now),
            Err(problem) => (Vec::new(), vec![source.fault(&problem)]),
        };
        // Where one of several is no good, the address is asked again soon.
        let until = lists.iter().map(|list| list.next_update().as_secs()).min();
        let good_for = until
            .filter(|_| faults.is_empty())
            .map(|until| Duration::from_secs(until.saturating_sub(now.as_secs())));
        self.settle_lists(&source, faults);
        let current = self.trust.current();
        let found = Found {
            lists,
            ..Found::nothing()
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
    ) -> Result<Credentials, Vec<ConfigError>> {
        if new.chain() == old.chain() {
            return Ok(new);
        }
        let problem = pem_files::own_certificate_problem(&new, now)
            .or_else(|| self.policy.check_own(&new, old).err());
        match problem {
            Some(problem) => Err(vec![self.sources.certificate.fault(&problem)]),
            None => Ok(new),
        }
    }

    fn check_anchors(
        &mut self,
        contents: Result<Vec<Vec<u8>>, Vec<ConfigError>>,
        now: UnixTime,
    ) -> Option<Anchors> {
        let outcome = contents.and_then(|contents| {
            pem_files::anchors(&paired(self.anchor_files.sources(), &contents))
        });
        match outcome {
            Ok(anchors) if anchors.any_valid_at(now) => Some(anchors),
            Ok(anchors) => {
                let faults = anchor_faults(&self.sources, &anchors, now);
                self.settle("anchors", Err(faults))
            }
            Err(faults) => self.settle("anchors", Err(faults)),
        }
    }

    /// What is wrong where no gateway can come in.
    pub(super) fn gateway_fault(&self, gateways: &Gateways, now: UnixTime) -> Option<ConfigError> {
        let source = self.sources.gateways.first()?;
        gateways.all_out_of_time(now).then(|| {
            let problem = "no gateway's certificate is valid at this time: none could connect";
            ConfigError::new(&source.place, problem)
        })
    }

    pub(super) fn of_anchors(&self, problem: &str) -> Vec<ConfigError> {
        let place = self.sources.anchors.first();
        place
            .map(|source| ConfigError::new(&source.place, problem))
            .into_iter()
            .collect()
    }
}
