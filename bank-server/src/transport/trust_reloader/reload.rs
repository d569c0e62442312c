//! Reload of changed sources: reads and validates each part on its own.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::revocation::{Issuers, List};
use shared_types::pki::trust::Anchors;

use super::fetching::FetchedCrl;
use super::sources::PolicySource;
use super::{PendingChange, TrustReloader, anchor_faults, credentials_of, each_list, paired};
use crate::config_error::ConfigError;
use crate::transport::gateways::Gateways;
use crate::transport::pem_files::{self, Source};
use crate::transport::watched::Watched;

impl<S: PolicySource> TrustReloader<S> {
    /// Reads all changed files, and applies what is valid.
    pub(super) fn reload(&mut self, force: bool) {
        let now = self.now();
        let current = self.trust.current();
        let mut found = PendingChange::none();
        self.retry_rejected();
        if let Some(contents) = self.credential_files.changed(force) {
            let outcome = contents
                .and_then(|contents| {
                    credentials_of(&paired(self.credential_files.sources(), &contents))
                })
                .and_then(|new| self.check_credentials(new, &current.credentials, now));
            found.credentials = self.record_outcome("certificate", outcome);
        }
        let mut other_issuers = false;
        if let Some(contents) = self.anchor_files.changed(force) {
            found.anchors = self.check_anchors(contents, now);
            self.pending_anchors = None;
            other_issuers = found.anchors.is_some();
        }
        if let Some(contents) = self.intermediate_files.changed(force) {
            let outcome = contents.and_then(|contents| {
                pem_files::authorities(&paired(self.intermediate_files.sources(), &contents))
            });
            if let Some(intermediates) = self.record_outcome("intermediates", outcome) {
                self.intermediates = intermediates.into();
                found.intermediates = true;
            }
        }
        if let Some(contents) = self.gateway_files.changed(force) {
            let outcome = contents.and_then(|contents| {
                pem_files::gateways(&paired(self.gateway_files.sources(), &contents))
            });
            let outcome = outcome.and_then(|gateways| match self.gateway_fault(&gateways, now) {
                Some(fault) => Err(vec![fault]),
                None => Ok(gateways),
            });
            found.gateways = self.record_outcome("gateways", outcome);
        }
        if let Some(contents) = self.policy_files.changed(force) {
            let credentials = found.credentials.as_ref().unwrap_or(&current.credentials);
            let outcome = contents.and_then(|contents| {
                self.policy
                    .make(&contents, credentials, now)
                    .map_err(|fault| vec![fault])
            });
            found.policy = self.record_outcome("policy", outcome);
        }
        if other_issuers || found.intermediates {
            // CRLs of the old anchors count until the new ones are applied.
            let anchors = [found.anchors.as_ref(), Some(&current.anchors)];
            let anchors = anchors.into_iter().flatten();
            let known = anchors.flat_map(Anchors::certificates);
            self.issuers = Issuers::new(known.chain(&*self.intermediates));
            // A CRL that was rejected for an unknown issuer may be valid now.
            self.list_files.iter_mut().for_each(Watched::forget);
        }
        for index in 0..self.list_files.len() {
            found.lists.extend(self.reload_list(index, force, now));
        }
        self.apply(found, &current);
        self.update_report();
    }

    /// A part that was rejected because of its time can become valid by itself. These files are
    /// small; CRLs are not, and are replaced regularly anyway.
    fn retry_rejected(&mut self) {
        let parts = [
            ("certificate", &mut self.credential_files),
            ("gateways", &mut self.gateway_files),
            ("policy", &mut self.policy_files),
        ];
        for (part, files) in parts {
            if self.rejected.contains_key(part) {
                files.forget();
            }
        }
        if self.rejected.contains_key("anchors") && self.pending_anchors.is_none() {
            self.anchor_files.forget();
        }
    }

    fn reload_list(&mut self, index: usize, force: bool, now: UnixTime) -> Vec<Arc<List>> {
        let Some(watched) = self.list_files.get_mut(index) else {
            return Vec::new();
        };
        let (Some(contents), Some(source)) = (watched.changed(force), watched.sources().first())
        else {
            return Vec::new();
        };
        let source = source.clone();
        let outcome = contents.map(|contents| {
            let content = contents.into_iter().next().unwrap_or_default();
            self.check_lists(&source, content, now)
        });
        let (lists, faults) = outcome.unwrap_or_else(|faults| (Vec::new(), faults));
        self.record_list_outcome(&source, faults);
        lists
    }

    /// The valid lists of a file or response, and the errors of the others: an invalid list does
    /// not hold up the revocations of another.
    fn check_lists(
        &self,
        source: &Source,
        content: Vec<u8>,
        now: UnixTime,
    ) -> (Vec<Arc<List>>, Vec<ConfigError>) {
        // Added to a copy: a list older than the current one is rejected here, with its own reason.
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

    fn record_list_outcome(&mut self, source: &Source, faults: Vec<ConfigError>) {
        let outcome = if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        };
        self.record_outcome(&source.place, outcome);
    }

    /// Applies the lists that were fetched from one address.
    pub(super) fn apply_fetched(&mut self, fetched: FetchedCrl) {
        let FetchedCrl {
            source,
            content,
            answer,
        } = fetched;
        let now = self.now();
        let (lists, faults) = match content {
            Ok(content) => self.check_lists(&source, content, now),
            Err(problem) => (Vec::new(), vec![source.fault(&problem)]),
        };
        // If one of several is invalid, the address is fetched again soon.
        let until = lists.iter().map(|list| list.next_update().as_secs()).min();
        let good_for = until
            .filter(|_| faults.is_empty())
            .map(|until| Duration::from_secs(until.saturating_sub(now.as_secs())));
        self.record_list_outcome(&source, faults);
        let current = self.trust.current();
        let found = PendingChange {
            lists,
            ..PendingChange::none()
        };
        self.apply(found, &current);
        self.update_report();
        // The fetching task may have ended.
        let _ = answer.send(good_for);
    }

    /// Validates new credentials on their own and against the old ones.
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
                self.record_outcome("anchors", Err(faults))
            }
            Err(faults) => self.record_outcome("anchors", Err(faults)),
        }
    }

    /// The error if no gateway could connect.
    pub(super) fn gateway_fault(&self, gateways: &Gateways, now: UnixTime) -> Option<ConfigError> {
        let source = self.sources.gateways.first()?;
        gateways.none_valid_at(now).then(|| {
            let problem = "no gateway's certificate is valid at this time: none could connect";
            ConfigError::new(&source.place, problem)
        })
    }

    pub(super) fn anchor_error(&self, problem: &str) -> Vec<ConfigError> {
        let place = self.sources.anchors.first();
        place
            .map(|source| ConfigError::new(&source.place, problem))
            .into_iter()
            .collect()
    }
}
