//! Putting in place what was found good, as one snapshot, and telling how things stand.

use std::sync::Arc;

use shared_types::revocation::{Issuers, List};
use shared_types::trust::Anchors;

use super::report::{ListReport, Report};
use super::sources::PolicySource;
use super::{Found, Keeper};
use crate::fault::Fault;
use crate::transport::inquiry::InquiryTally;
use crate::transport::trust::Beliefs;

impl<S: PolicySource> Keeper<S> {
    /// Notes what was refused, and what no longer is.
    pub(super) fn settle<T>(&mut self, part: &str, outcome: Result<T, Vec<Fault>>) -> Option<T> {
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

    pub(super) fn put_in_place(&mut self, found: Found<S::Policy>, current: &Beliefs<S::Policy>) {
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
        let mut news = intermediates || !lists.is_empty();
        let mut next = current.clone();
        next.intermediates = Arc::clone(&self.intermediates);
        for list in lists {
            // Each was tried before; of two of the same kind in one look, the newer one stays.
            let _ = next.statuses.lists.add(list);
        }
        if let Some(policy) = policy {
            next.policy = Arc::new(policy);
            news = true;
        }
        if let Some(credentials) = credentials {
            next.credentials = credentials;
            news = true;
        }
        if let Some(gateways) = gateways {
            next.gateways = gateways;
            news = true;
        }
        if let Some(anchors) = anchors {
            news |= self.adopt(anchors, &mut next);
        }
        if !news {
            return;
        }
        let described = format!("{next:?}");
        let changed = self.trust.change(|latest| {
            // Answers arrive meanwhile, and not through us.
            next.statuses.answers = latest.statuses.answers.clone();
            next
        });
        match changed {
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

    /// Puts new anchors in the place of the old ones, unless that would lock everybody out: then they wait.
    fn adopt(&mut self, anchors: Anchors, next: &mut Beliefs<S::Policy>) -> bool {
        let now = self.now();
        let locked_out = next.lets_nobody_in(now);
        let old = std::mem::replace(&mut next.anchors, Arc::new(anchors));
        if next.lets_nobody_in(now) && !locked_out {
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

    /// Tells operators how things stand.
    pub(super) fn tell(&mut self) {
        let now = self.now();
        let current = self.trust.current();
        let mut problems: Vec<Fault> = self.refused.values().flatten().cloned().collect();
        problems.extend(self.own_certificate_fault());
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
            Some(Fault::new(
                "revocation",
                format!("the list of {} {stale}", list.issuer()),
            ))
        }));
        let closed = current.lets_nobody_in(now);
        if closed {
            problems.push(Fault::new(
                "revocation",
                "there is no fresh list of any anchor, and no responder is asked: nobody can connect",
            ));
        }
        let InquiryTally {
            questions,
            failures,
        } = self.trust.inquiry_tally();
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
