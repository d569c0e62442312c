//! Application of accepted changes as one trust snapshot, and the status report for operators.

use std::sync::Arc;

use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::revocation::{
    Issuers, List, PathCertificate, RevocationStatus, UnknownStatus,
};
use shared_types::pki::trust::{Anchors, Refusal};

use super::report::{CrlReport, TrustReport};
use super::sources::PolicySource;
use super::{PendingChange, TrustReloader, anchor_faults};
use crate::config_error::ConfigError;
use crate::transport::ocsp_worker::OcspCounters;
use crate::transport::own_certificate::own_path_certificate;
use crate::transport::trust::TrustSnapshot;

impl<S: PolicySource> TrustReloader<S> {
    /// Records the rejection of a part, or clears it.
    pub(super) fn record_outcome<T>(
        &mut self,
        part: &str,
        outcome: Result<T, Vec<ConfigError>>,
    ) -> Option<T> {
        match outcome {
            Ok(good) => {
                self.rejected.remove(part);
                Some(good)
            }
            Err(faults) => {
                if self.rejected.get(part) != Some(&faults) {
                    for fault in &faults {
                        tracing::error!(%fault, "reload rejected, keeping previous value");
                    }
                    self.counters.refusals += 1;
                    self.rejected.insert(part.to_owned(), faults);
                }
                None
            }
        }
    }

    pub(super) fn apply(
        &mut self,
        found: PendingChange<S::Policy>,
        current: &TrustSnapshot<S::Policy>,
    ) {
        let PendingChange {
            credentials,
            anchors,
            intermediates,
            gateways,
            policy,
            lists,
        } = found;
        let anchors = anchors.or_else(|| self.pending_anchors.take());
        let known = &current.statuses.lists;
        let lists: Vec<Arc<List>> = lists
            .into_iter()
            .filter(|list| !known.holds(list))
            .collect();
        let mut changed_parts = Vec::new();
        if intermediates {
            changed_parts.push("intermediates");
        }
        if !lists.is_empty() {
            changed_parts.push("lists");
        }
        let mut next = current.clone();
        next.intermediates = Arc::clone(&self.intermediates);
        for list in lists {
            // Each was validated before; of two of the same kind in one reload, the newer one
            // stays.
            let _ = next.statuses.lists.add(list);
        }
        if let Some(policy) = policy {
            next.policy = Arc::new(policy);
            changed_parts.push("policy");
        }
        if let Some(credentials) = credentials {
            next.credentials = credentials;
            changed_parts.push("certificate");
        }
        if let Some(gateways) = gateways {
            next.gateways = gateways;
            changed_parts.push("gateways");
        }
        if let Some(anchors) = anchors
            && self.replace_anchors(anchors, &mut next)
        {
            changed_parts.push("anchors");
        }
        if changed_parts.is_empty() {
            return;
        }
        self.trust.update(|latest| {
            // OCSP responses arrive independently.
            next.statuses.answers = latest.statuses.answers.clone();
            next
        });
        self.counters.changes += 1;
        self.log_change(&changed_parts);
    }

    fn log_change(&self, parts: &[&str]) {
        let now = self.trust.current();
        let own = now.credentials.chain().first().map(CertificateSummary::of);
        let lists: Vec<String> = now
            .statuses
            .lists
            .iter()
            .map(|list| format!("{} of {}", list.issuer(), list.this_update().as_secs()))
            .collect();
        tracing::info!(
            parts = parts.join(", "),
            certificate = own.map(|own| own.serial),
            anchors = now.anchors.certificates().len(),
            lists = lists.join("; "),
            "trust updated"
        );
    }

    /// Replaces the anchors, unless that would lock out every peer: then they stay pending.
    fn replace_anchors(&mut self, anchors: Anchors, next: &mut TrustSnapshot<S::Policy>) -> bool {
        let now = self.now();
        let had_fresh_list = next.has_fresh_list(now);
        let old = std::mem::replace(&mut next.anchors, Arc::new(anchors));
        let is_required = next.unknown_status == UnknownStatus::HardFail;
        if is_required && had_fresh_list && !next.has_fresh_list(now) {
            let anchors = std::mem::replace(&mut next.anchors, old);
            self.pending_anchors = Arc::into_inner(anchors);
            let faults =
                self.anchor_error("no CRL of the new anchors is available: no peer could connect");
            self.record_outcome::<()>("anchors", Err(faults));
            return false;
        }
        self.record_outcome("anchors", Ok(()));
        let known = next.anchors.certificates().iter();
        self.issuers = Issuers::new(known.chain(&*self.intermediates));
        // Lists of issuers that are no longer trusted are dropped.
        let issuers = &self.issuers;
        next.statuses
            .lists
            .retain(|list| issuers.includes(list.issuer()));
        true
    }

    /// Authorities without a CRL, where their certificates are refused for that. Those of our own
    /// certificate's path count too: most peers have the same issuers.
    fn unlisted_faults(&self, current: &TrustSnapshot<S::Policy>) -> Vec<ConfigError> {
        let is_list_needed = current.unknown_status == UnknownStatus::HardFail
            && !current.ask_responders
            && self.all_fetched_once;
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
                "no CRL of {authority} is available: all certificates that it has issued are \
                 refused; name its CRL (and the CA itself in xs2a.intermediates, unless \
                 it is an anchor), set ocsp.peers = true, or set unknown_status = \"soft-fail\""
            );
            ConfigError::new("revocation.lists", problem)
        };
        unlisted.into_iter().map(fault).collect()
    }

    /// Updates the status report for operators.
    pub(super) fn update_report(&mut self) {
        let now = self.now();
        let current = self.trust.current();
        let mut problems: Vec<ConfigError> = self.rejected.values().flatten().cloned().collect();
        problems.extend(self.own_certificate_fault());
        if let Some(own) = own_path_certificate(&current.credentials)
            && let RevocationStatus::Revoked { since, reason } = current.statuses.status(&own, now)
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
        let lists: Vec<CrlReport> = current
            .statuses
            .lists
            .iter()
            .map(|list| CrlReport {
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
        let unknown = current.rejects_all_peers(now);
        let closed = unknown || !current.anchors.any_valid_at(now);
        if unknown && self.all_fetched_once {
            problems.push(ConfigError::new(
                "revocation",
                "no anchor has a fresh CRL and OCSP is disabled: no peer can connect",
            ));
        }
        let OcspCounters {
            queries,
            failures,
            unanswered,
        } = self.trust.ocsp_counters();
        if unanswered > 0 {
            problems.push(ConfigError::new(
                "revocation.ocsp",
                format!("the OCSP queries of {unanswered} certificates in use fail"),
            ));
        }
        self.report.store(Arc::new(TrustReport {
            problems,
            changes: self.counters.changes,
            refusals: self.counters.refusals,
            ocsp_queries: queries,
            ocsp_failures: failures,
            closed,
            certificate_until: current.credentials.valid_until(),
            lists,
        }));
    }
}
