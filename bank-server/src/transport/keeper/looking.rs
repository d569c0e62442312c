//! Looking at what trust is made of: what has changed, and is it good?

use std::sync::Arc;
use std::time::Duration;

use bank_client::credentials::Credentials;
use rustls_pki_types::UnixTime;
use shared_types::revocation::{Issuers, List};
use shared_types::trust::Anchors;

use super::fetching::Fetched;
use super::sources::PolicySource;
use super::{Found, Keeper, credentials_of, paired};
use crate::fault::Fault;
use crate::transport::gateways::Gateways;
use crate::transport::material;
use crate::transport::watched::Watched;

impl<S: PolicySource> Keeper<S> {
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
        self.trust
            .current()
            .statuses
            .lists
            .clone()
            .add(Arc::clone(&list))?;
        Ok(list)
    }

    /// A list that was fetched.
    pub(super) fn take(&mut self, fetched: Fetched) {
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
            lists: list.into_iter().collect(),
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

    fn check_anchors(
        &mut self,
        contents: Result<Vec<Vec<u8>>, Vec<Fault>>,
        now: UnixTime,
    ) -> Option<Anchors> {
        let outcome = contents.and_then(|contents| {
            material::anchors(&paired(self.anchor_files.sources(), &contents))
        });
        match outcome {
            Ok(anchors) if anchors.any_valid_at(now) => Some(anchors),
            Ok(_) => {
                let none = "none of the anchors is valid at this time: nobody could connect";
                self.settle("anchors", Err(self.of_anchors(none)))
            }
            Err(faults) => self.settle("anchors", Err(faults)),
        }
    }

    /// What is wrong where no gateway can come in.
    pub(super) fn gateway_fault(&self, gateways: &Gateways, now: UnixTime) -> Option<Fault> {
        let source = self.sources.gateways.first()?;
        gateways.all_out_of_time(now).then(|| {
            let problem = "no gateway's certificate is valid at this time: none could connect";
            Fault::new(&source.place, problem)
        })
    }

    pub(super) fn of_anchors(&self, problem: &str) -> Vec<Fault> {
        let place = self.sources.anchors.first();
        place
            .map(|source| Fault::new(&source.place, problem))
            .into_iter()
            .collect()
    }
}
