//! Reload of changed sources: reads and validates each part on its own.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::UnixTime;
use shared_types::pki::credentials::Credentials;
use shared_types::pki::revocation::Issuers;
use shared_types::pki::trust::Anchors;

use super::fetching::FetchedCrl;
use super::sources::PolicySource;
use super::{TrustReloader, add_lists, anchor_faults, make_policy};
use crate::config_error::ConfigError;
use crate::transport::gateways::Gateways;
use crate::transport::pem_files;
use crate::transport::source_watcher::SourceWatcher;

impl<S: PolicySource> TrustReloader<S> {
    /// Reads all changed files, and applies the valid ones.
    pub(super) fn reload(&mut self, force: bool) {
        let now = self.now();
        let mut next = (*self.trust.current()).clone();
        let mut changed = Vec::new();
        self.retry_rejected();
        let open =
            |files: pem_files::Files<'_>| pem_files::credentials(&self.sources.private_key, files);
        if let Some(read) = self.files.credentials.read_changed(force, open) {
            let outcome = read.and_then(|new| self.check_credentials(new, &next.credentials, now));
            if let Some(credentials) = self.rejections.record("certificate", outcome) {
                next.credentials = credentials;
                changed.push("certificate");
            }
        }
        let mut has_other_issuers = false;
        let read = &mut self.files.anchors;
        if let Some(read) = read.read_changed(force, pem_files::anchors) {
            self.pending_anchors = match read {
                Ok(anchors) if anchors.any_valid_at(now) => Some(anchors),
                Ok(anchors) => {
                    let faults = anchor_faults(&self.sources, &anchors, now);
                    self.rejections.record("anchors", Err(faults))
                }
                Err(faults) => self.rejections.record("anchors", Err(faults)),
            };
            has_other_issuers = self.pending_anchors.is_some();
        }
        let read = &mut self.files.intermediates;
        if let Some(read) = read.read_changed(force, pem_files::authorities)
            && let Some(intermediates) = self.rejections.record("intermediates", read)
        {
            next.intermediates = intermediates.into();
            changed.push("intermediates");
            has_other_issuers = true;
        }
        let read = &mut self.files.gateways;
        if let Some(read) = read.read_changed(force, pem_files::gateways) {
            let outcome = read.and_then(|gateways| match self.gateway_fault(&gateways, now) {
                Some(fault) => Err(vec![fault]),
                None => Ok(gateways),
            });
            if let Some(gateways) = self.rejections.record("gateways", outcome) {
                next.gateways = gateways;
                changed.push("gateways");
            }
        }
        let make =
            |files: pem_files::Files<'_>| make_policy(&self.policy, files, &next.credentials, now);
        if let Some(made) = self.files.policy.read_changed(force, make)
            && let Some(policy) = self.rejections.record("policy", made)
        {
            next.policy = Arc::new(policy);
            changed.push("policy");
        }
        if has_other_issuers {
            // CRLs of the old anchors count until the new ones are applied.
            let anchors = self.pending_anchors.iter().chain([&*next.anchors]);
            let known = anchors.flat_map(Anchors::certificates);
            self.issuers = Issuers::new(known.chain(&*next.intermediates));
            // A CRL that was rejected for an unknown issuer may be valid now.
            self.files.lists.iter_mut().for_each(SourceWatcher::forget);
        }
        for (watcher, source) in self.files.lists.iter_mut().zip(&self.sources.crl_files) {
            let lists = &mut next.statuses.lists;
            let added = watcher.read_changed(force, |files| {
                add_lists(lists, files, &self.issuers, |list| list.check_fresh(now))
            });
            if let Some(added) = added {
                self.rejections.record(&source.key, added);
            }
        }
        self.apply(next, changed);
        self.update_report();
    }

    /// A part that was rejected because of its time can become valid by itself. These files are
    /// small; CRLs are not, and are replaced regularly anyway.
    fn retry_rejected(&mut self) {
        let parts = [
            ("certificate", &mut self.files.credentials),
            ("gateways", &mut self.files.gateways),
            ("policy", &mut self.files.policy),
            ("anchors", &mut self.files.anchors),
        ];
        for (part, files) in parts {
            let is_pending = part == "anchors" && self.pending_anchors.is_some();
            if self.rejections.errors.contains_key(part) && !is_pending {
                files.forget();
            }
        }
    }

    /// Applies the CRLs that were fetched from one address.
    pub(super) fn apply_fetched(&mut self, fetched: FetchedCrl) {
        let FetchedCrl {
            source,
            content,
            validity,
        } = fetched;
        let now = self.now();
        let mut next = (*self.trust.current()).clone();
        let lists = &mut next.statuses.lists;
        let outcome = match content {
            Ok(content) => add_lists(lists, vec![(&source, content)], &self.issuers, |list| {
                list.check_fresh(now)
            }),
            Err(problem) => Err(vec![source.fault(&problem)]),
        };
        // If one of several is invalid, the address is fetched again soon.
        let until = self.rejections.record(&source.key, outcome).flatten();
        self.apply(next, Vec::new());
        self.update_report();
        let valid_seconds = until.map(|until| until.as_secs().saturating_sub(now.as_secs()));
        // The fetching task may have ended.
        let _ = validity.send(valid_seconds.map(Duration::from_secs));
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
            .or_else(|| self.policy.check_replacement(&new, old).err());
        match problem {
            Some(problem) => Err(vec![self.sources.certificate.fault(&problem)]),
            None => Ok(new),
        }
    }

    /// The error if no gateway could connect.
    pub(super) fn gateway_fault(&self, gateways: &Gateways, now: UnixTime) -> Option<ConfigError> {
        let source = self.sources.gateways.first()?;
        gateways.none_valid_at(now).then(|| {
            let problem = "no gateway's certificate is valid at this time: none could connect";
            ConfigError::new(&source.key, problem)
        })
    }
}
