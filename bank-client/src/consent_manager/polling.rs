//! Polling of consent status at the bank, and switching to a renewed consent.

use chrono::TimeDelta;
use shared_types::xs2a::consent::ConsentStatus;

use super::ConnectionId;
use super::lifecycle::{Current, EndReason, Event, Next, of_current, of_next};
use super::record::ActiveConsent;
use super::requesting::SentBefore;
use super::usage::day_of;
use super::{ConnectionStatus, ConsentManager, ManagerError, refusal};
use crate::authorisations::NextStep;
use crate::bank::Bank;
use crate::error::{Error, ErrorKind};

/// A consent that is `rejected` sooner than this was refused, not abandoned.
const AUTHORISATION_EXPIRY: TimeDelta = TimeDelta::minutes(20);

impl ConsentManager {
    /// Polls the status of a connection's consents and applies it: an approved new consent replaces
    /// the old one at once, and the old one is terminated at the bank.
    pub async fn follow(&self, id: &ConnectionId) -> Result<ConnectionStatus, ManagerError> {
        let _guard = self.lock(id).await?;
        self.follow_locked(id).await
    }

    pub(super) async fn follow_locked(
        &self,
        id: &ConnectionId,
    ) -> Result<ConnectionStatus, ManagerError> {
        let (connection, _) = self.load(id).await?;
        if connection.lifecycle.current == Current::Leaving {
            return Ok(ConnectionStatus::Leaving);
        }
        if connection.lifecycle.next == Next::Intended && self.is_intent_expired(&connection) {
            self.send_request(id, SentBefore::Possibly).await?;
        }
        if !self.poll_pending(id).await? {
            self.poll_active(id, false).await?;
        }
        self.terminate_obsolete(id).await?;
        self.status(id).await
    }

    /// Polls the consent that waits for the customer. Returns whether it is approved and has
    /// replaced the other.
    pub(super) async fn poll_pending(&self, id: &ConnectionId) -> Result<bool, ManagerError> {
        let (connection, _) = self.load(id).await?;
        let Some((pending, answer)) = connection.waiting() else {
            return Ok(false);
        };
        let handle = self.bank_handle(&connection.bank)?;
        let now = self.now();
        let seen = pending.returned || now - pending.since < AUTHORISATION_EXPIRY;
        let event = match status_of(handle, &answer.consent, false).await? {
            ReportedStatus::Status(status) => of_next(status, seen),
            ReportedStatus::Unknown => Some(Event::Lapsed),
            ReportedStatus::Unsupported => None,
        };
        let request_id = pending.request_id;
        let is_first = connection.active.is_none();
        let bank = &connection.bank;
        match event {
            None => Ok(false),
            Some(Event::Approved) => {
                let redirected = matches!(NextStep::of(&answer.links, None), NextStep::Redirect(_));
                if self.inner.only_after_return && redirected && !pending.returned {
                    tracing::info!(%bank, connection = %id, "consent approved, waiting for the customer's return");
                    return Ok(false);
                }
                // The bank may give less time than was asked for. Only the status shows that it is
                // approved.
                let given = match handle.consent(&answer.consent).await {
                    Ok(given) => Some(given.into_inner()),
                    Err(error) if error.is_transient() => return Err(error.into()),
                    Err(error) => {
                        let reasons = error.kind.label();
                        tracing::warn!(%bank, connection = %id, %reasons, "approved consent unreadable, assuming the requested terms");
                        None
                    }
                };
                let excess = given
                    .as_ref()
                    .map(|given| ActiveConsent::excess(given, &pending.request));
                for field in excess.into_iter().flatten() {
                    tracing::warn!(%bank, connection = %id, field, "consent exceeds the request, using the requested value");
                }
                let active =
                    ActiveConsent::of(&answer.consent, given.as_ref(), &pending.request, now);
                let (_, switched) = self
                    .change(id, |connection| {
                        let active = active.clone();
                        (connection.is_pending(request_id) && connection.switch(active))
                            .then_some(())
                    })
                    .await?;
                if switched.is_some() {
                    let until = active.last_day;
                    let message = if is_first {
                        "consent approved"
                    } else {
                        "renewed consent approved, replacing the old one"
                    };
                    tracing::info!(%bank, connection = %id, %until, "{message}");
                }
                Ok(true)
            }
            Some(event) => {
                let (after, failed) = self
                    .change(id, |connection| {
                        (connection.is_pending(request_id) && connection.fail(event)).then_some(())
                    })
                    .await?;
                if failed.is_some() {
                    let status = self.status_of_connection(&after);
                    tracing::info!(%bank, connection = %id, "consent not approved: the connection {status}");
                }
                Ok(false)
            }
        }
    }

    /// Polls the active consent, or one that has become unknown to the bank. `denied`: the bank has
    /// just refused a read under it.
    pub(super) async fn poll_active(
        &self,
        id: &ConnectionId,
        denied: bool,
    ) -> Result<(), ManagerError> {
        let (connection, _) = self.load(id).await?;
        let Some(active) = connection.active.as_ref() else {
            return Ok(());
        };
        let zone = self.zone(&connection.bank);
        let event = match connection.lifecycle.current {
            Current::Serving | Current::Ended(EndReason::Gone)
                if day_of(self.now(), zone) <= active.last_day =>
            {
                let handle = self.bank_handle(&connection.bank)?;
                match status_of(handle, &active.consent, denied).await? {
                    ReportedStatus::Status(status) => of_current(status),
                    ReportedStatus::Unknown => Event::Ended(EndReason::Gone),
                    ReportedStatus::Unsupported => return Ok(()),
                }
            }
            Current::Serving => Event::Ended(EndReason::Expired),
            _ => return Ok(()),
        };
        let (after, ended) = self
            .change(id, |connection| {
                let same = connection.active.as_ref() == Some(active);
                (same && connection.apply(event)).then_some(())
            })
            .await?;
        if ended.is_some() {
            let status = self.status_of_connection(&after);
            tracing::info!(bank = %connection.bank, connection = %id, "the connection {status}");
        }
        Ok(())
    }
}

/// Status of a consent, as the bank reports it.
enum ReportedStatus {
    /// A status of the standard.
    Status(ConsentStatus),
    /// The bank does not know it.
    Unknown,
    /// A status that is not of the standard: neither approved nor ended.
    Unsupported,
}

/// The status of a consent at the bank. Denied for a read and denied here too, it counts as
/// unknown.
async fn status_of(bank: &Bank, consent: &str, denied: bool) -> Result<ReportedStatus, Error> {
    match bank.consent_status(consent).await {
        Ok(status) => Ok(ReportedStatus::Status(status)),
        Err(error) if refusal::is_expired(&error) => {
            Ok(ReportedStatus::Status(ConsentStatus::Expired))
        }
        Err(error) if error.is_consent_gone() || denied && error.is_bare_denial() => {
            Ok(ReportedStatus::Unknown)
        }
        Err(error) if matches!(error.kind, ErrorKind::UnknownStatus { .. }) => {
            Ok(ReportedStatus::Unsupported)
        }
        Err(error) => Err(error),
    }
}
