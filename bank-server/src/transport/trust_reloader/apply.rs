//! Application of accepted changes as one trust snapshot, and the status report for operators.

use std::sync::Arc;

use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::pkcs11::KeyProblem;
use shared_types::pki::revocation::{Issuers, PathCertificate, RevocationStatus, UnknownStatus};
use shared_types::pki::trust::{Anchors, Refusal};

use super::report::{CrlReport, TrustReport};
use super::sources::PolicySource;
use super::{TrustReloader, anchor_faults};
use crate::config_error::ConfigError;
use crate::transport::ocsp_worker::OcspCounters;
use crate::transport::own_certificate::own_path_certificate;
use crate::transport::trust::TrustSnapshot;

impl<S: PolicySource> TrustReloader<S> {
    /// Applies a snapshot with the changed parts, and the pending anchors if their CRLs are there.
    pub(super) fn apply(
        &mut self,
        mut next: TrustSnapshot<S::Policy>,
        mut changed: Vec<&'static str>,
    ) {
        let current = self.trust.current();
        let known = &current.statuses.lists;
        if next.statuses.lists.iter().any(|list| !known.holds(list)) {
            changed.push("lists");
        }
        if let Some(anchors) = self.pending_anchors.take()
            && self.replace_anchors(anchors, &mut next)
        {
            changed.push("anchors");
        }
        if changed.is_empty() {
            return;
        }
        self.trust.update(|latest| {
            // OCSP responses arrive independently.
            next.statuses.answers = latest.statuses.answers.clone();
            next
        });
        self.changes += 1;
        self.log_change(&changed);
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
            let problem = "no CRL of the new anchors is available: no peer could connect";
            let source = self.sources.anchors.first();
            let fault = source.map(|source| ConfigError::new(&source.key, problem));
            let faults = fault.into_iter().collect();
            self.rejections.record::<()>("anchors", Err(faults));
            return false;
        }
        self.rejections.record("anchors", Ok(()));
        let known = next.anchors.certificates().iter();
        self.issuers = Issuers::new(known.chain(&*next.intermediates));
        // Lists of issuers that are no longer trusted are dropped.
        let issuers = &self.issuers;
        next.statuses
            .lists
            .retain(|list| issuers.includes(list.issuer()));
        true
    }

    /// Errors for authorities without a CRL whose certificates are rejected for that reason.
    /// Includes the authorities of our own certificate's path, because most peers have the same
    /// issuers.
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

    /// Logs when the token of our key fails, and when it works again.
    fn log_key_problem(&mut self, problem: Option<&KeyProblem>) {
        let had_problem = std::mem::replace(&mut self.has_key_problem, problem.is_some());
        match problem {
            Some(problem) if !had_problem => {
                tracing::error!(
                    problem = problem.text,
                    "token of the private key has a problem"
                );
            }
            None if had_problem => tracing::info!("token of the private key works again"),
            _ => {}
        }
    }

    /// Updates the status report for operators.
    pub(super) fn update_report(&mut self) {
        let now = self.now();
        let current = self.trust.current();
        let mut problems: Vec<ConfigError> =
            self.rejections.errors.values().flatten().cloned().collect();
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
        let key_problem = current.credentials.key_problem();
        self.log_key_problem(key_problem.as_ref());
        let unknown = current.rejects_all_peers(now);
        let closed = unknown
            || !current.anchors.any_valid_at(now)
            || key_problem.as_ref().is_some_and(|problem| !problem.signs);
        let key = &self.sources.private_key.key;
        problems.extend(key_problem.map(|problem| ConfigError::new(key, problem.text)));
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
            changes: self.changes,
            refusals: self.rejections.count,
            ocsp_queries: queries,
            ocsp_failures: failures,
            closed,
            certificate_until: current.credentials.valid_until(),
            lists,
        }));
    }
}
