//! Putting in place what was found good, as one snapshot, and telling how things stand.

use std::sync::Arc;

use shared_types::certificate::CertificateSummary;
use shared_types::revocation::{Issuers, List, PathCertificate, RevocationStatus, UnknownStatus};
use shared_types::trust::{Anchors, Refusal};

use super::report::{ListReport, Report};
use super::sources::PolicySource;
use super::{Found, TrustReloader, anchor_faults};
use crate::config_error::ConfigError;
use crate::transport::ocsp_worker::InquiryTally;
use crate::transport::own_certificate::own_link;
use crate::transport::trust::TrustSnapshot;

impl<S: PolicySource> TrustReloader<S> {
    /// Notes what was refused, and what no longer is.
    pub(super) fn settle<T>(
        &mut self,
        part: &str,
        outcome: Result<T, Vec<ConfigError>>,
    ) -> Option<T> {
        match outcome {
            Ok(good) => {
                self.refused.remove(part);
                Some(good)
            }
            Err(faults) => {
                if self.refused.get(part) != Some(&faults) {
                    for fault in &faults {
                        tracing::error!(%fault, "it was refused; what was there before stays");
                    }
                    self.tally.refusals += 1;
                    self.refused.insert(part.to_owned(), faults);
                }
                None
            }
        }
    }

    pub(super) fn put_in_place(
        &mut self,
        found: Found<S::Policy>,
        current: &TrustSnapshot<S::Policy>,
    ) {
        let Found {
            credentials,
            anchors,
            intermediates,
            gateways,
            policy,
            lists,
        } = found;
        let anchors = anchors.or_else(|| self.waiting.take());
        let at_hand = &current.statuses.lists;
        let lists: Vec<Arc<List>> = lists
            .into_iter()
            .filter(|list| !at_hand.holds(list))
            .collect();
        let mut news = Vec::new();
        if intermediates {
            news.push("intermediates");
        }
        if !lists.is_empty() {
            news.push("lists");
        }
        let mut next = current.clone();
        next.intermediates = Arc::clone(&self.intermediates);
        for list in lists {
            // Each was tried before; of two of the same kind in one look, the newer one stays.
            let _ = next.statuses.lists.add(list);
        }
        if let Some(policy) = policy {
            next.policy = Arc::new(policy);
            news.push("policy");
        }
        if let Some(credentials) = credentials {
            next.credentials = credentials;
            news.push("certificate");
        }
        if let Some(gateways) = gateways {
            next.gateways = gateways;
            news.push("gateways");
        }
        if let Some(anchors) = anchors
            && self.adopt(anchors, &mut next)
        {
            news.push("anchors");
        }
        if news.is_empty() {
            return;
        }
        let changed = self.trust.change(|latest| {
            // Answers arrive meanwhile, and not through us.
            next.statuses.answers = latest.statuses.answers.clone();
            next
        });
        match changed {
            Ok(()) => {
                self.tally.changes += 1;
                self.log_change(&news);
            }
            Err(error) => {
                let fault = self.sources.certificate.fault(&error);
                self.settle::<()>("certificate", Err(vec![fault]));
            }
        }
    }

    fn log_change(&self, news: &[&str]) {
        let now = self.trust.current();
        let own = now.credentials.chain().first().map(CertificateSummary::of);
        let lists: Vec<String> = now
            .statuses
            .lists
            .iter()
            .map(|list| format!("{} of {}", list.issuer(), list.this_update().as_secs()))
            .collect();
        tracing::info!(
            what = news.join(", "),
            certificate = own.map(|own| own.serial),
            anchors = now.anchors.certificates().len(),
            lists = lists.join("; "),
            "trust has changed"
        );
    }

    /// Puts new anchors in the place of the old ones, unless that would lock everybody out: then they wait.
    fn adopt(&mut self, anchors: Anchors, next: &mut TrustSnapshot<S::Policy>) -> bool {
        let now = self.now();
        let was_known = next.has_fresh_list(now);
        let old = std::mem::replace(&mut next.anchors, Arc::new(anchors));
        let is_asked_for = next.unknown_status == UnknownStatus::HardFail;
        if is_asked_for && was_known && !next.has_fresh_list(now) {
            let anchors = std::mem::replace(&mut next.anchors, old);
            self.waiting = Arc::into_inner(anchors);
            let faults = self.of_anchors(
                "no revocation list of the new anchors is at hand: nobody could connect",
            );
            self.settle::<()>("anchors", Err(faults));
            return false;
        }
        self.settle("anchors", Ok(()));
        let known = next.anchors.certificates().iter();
        self.issuers = Issuers::new(known.chain(&*self.intermediates));
        // What those say who are trusted no longer is of no more use.
        let issuers = &self.issuers;
        next.statuses
            .lists
            .retain(|list| issuers.includes(list.issuer()));
        true
    }

    /// The authorities of which no list is at hand, where their certificates are refused for that. Those of the path of our
    /// own certificate count too: our peers' certificates are mostly of the same.
    fn unlisted_faults(&self, current: &TrustSnapshot<S::Policy>) -> Vec<ConfigError> {
        let is_list_needed = current.unknown_status == UnknownStatus::HardFail
            && !current.ask_responders
            && self.all_asked;
        if !is_list_needed {
            return Vec::new();
        }
        let trusted = current.anchors.certificates();
        let own = current.credentials.chain().iter().skip(1);
        let own = own.filter(|own| {
            trusted
                .iter()
                .any(|anchor| PathCertificate::between(own, anchor).is_some())
        });
        let mut unlisted: Vec<String> = trusted
            .iter()
            .chain(current.intermediates.iter())
            .chain(own)
            .filter(|authority| {
                let issuers = Issuers::new([*authority]);
                let mut lists = current.statuses.lists.iter();
                !lists.any(|list| issuers.includes(list.issuer()))
            })
            .map(|authority| CertificateSummary::of(authority).subject)
            .collect();
        unlisted.sort();
        unlisted.dedup();
        let fault = |authority| {
            let problem = format!(
                "no list of {authority} is at hand: all certificates that it has issued are refused; name its list (and \
                 the CA itself in xs2a.intermediates, unless it is an anchor), set ocsp.peers = true, or set \
                 unknown_status = \"soft-fail\""
            );
            ConfigError::new("revocation.lists", problem)
        };
        unlisted.into_iter().map(fault).collect()
    }

    /// Tells operators how things stand.
    pub(super) fn tell(&mut self) {
        let now = self.now();
        let current = self.trust.current();
        let mut problems: Vec<ConfigError> = self.refused.values().flatten().cloned().collect();
        problems.extend(self.own_certificate_fault());
        if let Some(own) = own_link(&current.credentials)
            && let RevocationStatus::Revoked { since, reason } =
                current.statuses.standing(&own, now)
        {
            let refusal = Refusal::Revoked {
                issuer: own.issuer.to_string(),
                since,
                reason,
            };
            problems.push(self.sources.certificate.fault(&refusal));
        }
        problems.extend(anchor_faults(&self.sources, &current.anchors, now));
        problems.extend(self.gateway_fault(&current.gateways, now));
        let lists: Vec<ListReport> = current
            .statuses
            .lists
            .iter()
            .map(|list| ListReport {
                issuer: list.issuer().to_string(),
                this_update: list.this_update(),
                next_update: list.next_update(),
                entries: list.len(),
            })
            .collect();
        problems.extend(current.statuses.lists.iter().filter_map(|list| {
            let stale = list.check_fresh(now).err()?;
            Some(ConfigError::new(
                "revocation",
                format!("the list of {} {stale}", list.issuer()),
            ))
        }));
        problems.extend(self.unlisted_faults(&current));
        let unknown = current.lets_nobody_in(now);
        let closed = unknown || !current.anchors.any_valid_at(now);
        if unknown && self.all_asked {
            problems.push(ConfigError::new(
                "revocation",
                "there is no fresh list of any anchor, and no responder is asked: nobody can connect",
            ));
        }
        let InquiryTally {
            questions,
            failures,
            unanswered,
        } = self.trust.inquiry_tally();
        if unanswered > 0 {
            problems.push(ConfigError::new(
                "revocation.ocsp",
                format!("the responders of {unanswered} certificates in use give no answer"),
            ));
        }
        self.report.store(Arc::new(Report {
            problems,
            changes: self.tally.changes,
            refusals: self.tally.refusals,
            questions,
            failures,
            closed,
            certificate_until: current.credentials.valid_until(),
            lists,
        }));
    }
}
