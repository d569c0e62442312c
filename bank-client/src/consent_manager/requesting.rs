//! Consent requests: the first of a connection, and renewals.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use shared_types::xs2a::authorisation::ScaStatus;
use shared_types::xs2a::consent::ConsentStatus;

use super::ConnectionId;
use super::consent_terms::{LearntBankLimits, fewer_days, is_too_long};
use super::lifecycle::{Current, Event, Lifecycle, Next};
use super::record::{Answer, Connection, PendingRequest};
use super::usage::day_of;
use super::{
    Approval, ConsentManager, ConsentTerms, MAX_CONFLICT_RETRIES, ManagerError, is_conflict,
};
use crate::authorisations::{ApprovalOptions, ConsentAsked, NextStep};
use crate::bank::Bank;
use crate::directory::BankId;
use crate::error::Error;
use crate::store::Kind;

/// Time after which another process that recorded an intent has certainly died.
const INTENT_EXPIRY: TimeDelta = TimeDelta::minutes(2);

/// Interval and number of polls for another process's response.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const MAX_POLLS: usize = MAX_CONFLICT_RETRIES;

/// Whether the same request may have been sent before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SentBefore {
    /// It was not sent.
    No,
    /// It may have been sent, and its response was lost.
    Possibly,
}

impl PendingRequest {
    /// Sends the request. It is the same each time.
    pub(super) async fn send(&self, bank: &Bank) -> Result<ConsentAsked, Error> {
        let id = Some(self.request_id);
        bank.ask_for_consent_once(id, &self.request, self.psu, &self.options)
            .await
    }
}

impl ConsentManager {
    /// Connects a customer's bank: requests a consent, and returns how the customer approves it.
    ///
    /// `customer` is the program's name for the customer; it is stored encrypted, and returned by
    /// [`connections`](Self::connections). `psu` is the address of the customer's device
    /// (`PSU-IP-Address`); with `None` no address is sent, and a bank that insists on it refuses
    /// ([`Error::lacks_psu_address`]). Where `options` say where she is to come back to, a `state`
    /// is added to that address, for [`handle_redirect`](Self::handle_redirect).
    ///
    /// Of a customer who is connected to that bank this is [`renew_as`](Self::renew_as): there is
    /// one connection for each customer and bank, also where two programs connect her at once.
    ///
    /// A bank that refuses so long a consent is asked again for a shorter one, and remembered for
    /// it if it gives that.
    pub async fn connect(
        &self,
        bank: &BankId,
        customer: &str,
        psu: impl Into<Option<IpAddr>> + Send,
        consent_terms: &ConsentTerms,
        options: &ApprovalOptions,
    ) -> Result<Approval, ManagerError> {
        let psu = psu.into();
        let id = self.id_of(bank, customer);
        let _guard = self.lock(&id).await?;
        for _ in 0..MAX_CONFLICT_RETRIES {
            let mut connection = Connection::new(bank.clone(), customer, consent_terms, self.now());
            let seen = match self.load(&id).await {
                Err(ManagerError::NoSuchConnection(_)) => None,
                Err(error) => return Err(error),
                Ok((known, _)) if known.lifecycle.current != Current::Leaving => {
                    match self
                        .renew_locked(&id, Some(consent_terms), psu, options)
                        .await
                    {
                        // It was given up meanwhile, or the bank did not take the first request.
                        Err(ManagerError::NoSuchConnection(_)) => continue,
                        outcome => return outcome,
                    }
                }
                Ok((leaving, seen)) => {
                    if let Some(pending) = &leaving.pending {
                        self.resolve_unanswered(&id, self.bank_handle(bank)?, pending)
                            .await?;
                        continue;
                    }
                    // Consents that the bank has not ended yet are ended at the next occasion.
                    self.remove_tokens(&id).await?;
                    connection.to_terminate = leaving.to_terminate;
                    Some(seen)
                }
            };
            self.record_intent(&mut connection, consent_terms, psu, options)
                .await?;
            if !self.save(&id, &connection, seen).await? {
                continue;
            }
            let outcome = self.send_request(&id, SentBefore::No).await;
            if let Err(ManagerError::Bank(_)) = &outcome {
                self.remove_rejected(&id).await?;
            }
            return outcome;
        }
        Err(ManagerError::Busy)
    }

    /// Removes a connection whose first request the bank rejected.
    async fn remove_rejected(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let (connection, seen) = match self.load(id).await {
            Err(ManagerError::NoSuchConnection(_)) => return Ok(()),
            found => found?,
        };
        let Lifecycle { current, next } = connection.lifecycle;
        let unasked = current == Current::None && matches!(next, Next::Failed(_));
        if unasked && connection.to_terminate.is_empty() {
            // Another program that asks once more goes before.
            self.remove_as_seen(id, seen).await?;
        }
        Ok(())
    }

    /// Requests a new consent to replace the current one, which serves until the new one is
    /// approved.
    ///
    /// A pending consent is returned, whichever process requested it: two calls do not renew twice.
    /// If one holder of an account has approved it and another one has to, the next step is that of
    /// a new authorisation, for the other holder.
    /// If its approval would use another return address or approach than `options`, it is
    /// terminated and a new one requested. If it was approved meanwhile, the next step is
    /// [`NextStep::Nothing`].
    pub async fn renew(
        &self,
        id: &ConnectionId,
        psu: impl Into<Option<IpAddr>> + Send,
        options: &ApprovalOptions,
    ) -> Result<Approval, ManagerError> {
        let psu = psu.into();
        let _guard = self.lock(id).await?;
        self.renew_locked(id, None, psu, options).await
    }

    /// The same, with other terms than before: other accounts, more or fewer days. Once the
    /// customer has approved them, later renewals request the same terms. A pending request with
    /// other terms is withdrawn.
    pub async fn renew_as(
        &self,
        id: &ConnectionId,
        psu: impl Into<Option<IpAddr>> + Send,
        consent_terms: &ConsentTerms,
        options: &ApprovalOptions,
    ) -> Result<Approval, ManagerError> {
        let psu = psu.into();
        let _guard = self.lock(id).await?;
        self.renew_locked(id, Some(consent_terms), psu, options)
            .await
    }

    async fn renew_locked(
        &self,
        id: &ConnectionId,
        consent_terms: Option<&ConsentTerms>,
        psu: Option<IpAddr>,
        options: &ApprovalOptions,
    ) -> Result<Approval, ManagerError> {
        for _ in 0..MAX_POLLS {
            let (mut connection, seen) = self.load(id).await?;
            if connection.lifecycle.current == Current::Leaving {
                return Err(ManagerError::NotServing(
                    self.status_of_connection(&connection),
                ));
            }
            match connection.lifecycle.next {
                Next::None | Next::Failed(_) => {
                    let consent_terms = match consent_terms {
                        Some(consent_terms) => consent_terms.clone(),
                        None if connection.consent_terms.is_recurring() => {
                            connection.consent_terms.clone()
                        }
                        None => return Err(ManagerError::OneOff),
                    };
                    self.record_intent(&mut connection, &consent_terms, psu, options)
                        .await?;
                    if self.save(id, &connection, Some(seen)).await? {
                        return self.send_request(id, SentBefore::No).await;
                    }
                }
                Next::Intended if self.is_intent_expired(&connection) => {
                    self.send_request(id, SentBefore::Possibly).await?;
                }
                // Another process is asking: its answer is ours.
                Next::Intended => tokio::time::sleep(POLL_INTERVAL).await,
                Next::Waiting => {
                    self.poll_pending(id).await?;
                    self.replace_ended_authorisation(id).await?;
                    let (connection, _) = self.load(id).await?;
                    let Some(approval) = self.approval(id, &connection)? else {
                        continue;
                    };
                    let redirected = matches!(approval.next, NextStep::Redirect(_));
                    if connection.waits_for(consent_terms, options, redirected) {
                        return Ok(approval);
                    }
                    tracing::info!(bank = %connection.bank, connection = %id, "pending consent has other terms, requesting a new one");
                    self.fail_pending(id, &connection, Event::Lapsed).await?;
                }
            }
        }
        Err(ManagerError::Busy)
    }

    /// Records the request before it is sent.
    async fn record_intent(
        &self,
        connection: &mut Connection,
        consent_terms: &ConsentTerms,
        psu: Option<IpAddr>,
        options: &ApprovalOptions,
    ) -> Result<(), ManagerError> {
        self.bank_handle(&connection.bank)?;
        let terms = self.terms(&connection.bank);
        let now = self.now();
        let learnt = self
            .load_bank_limits(&connection.bank)
            .await?
            .max_validity_days(now);
        let days = consent_terms.first_days(learnt.or(terms.max_validity_days));
        let today = day_of(now, terms.time_zone);
        let state = self.new_state();
        if !connection.apply(Event::Intended) {
            return Err(ManagerError::Busy);
        }
        let mut options = options.clone();
        for address in [&mut options.return_to, &mut options.return_to_if_refused] {
            *address = address
                .as_deref()
                .map(|address| super::record::with_state(address, &state));
        }
        connection.pending = Some(PendingRequest {
            request_id: self.inner.randomness.uuid(),
            consent_terms: consent_terms.clone(),
            request: consent_terms.request(today, days),
            days,
            shortened: false,
            psu,
            options,
            since: now,
            by: self.inner.name,
            returned: false,
            answer: None,
        });
        connection.state = Some(state);
        Ok(())
    }

    /// Whether the process that recorded the intent no longer waits for the response. Intents of
    /// this process are handled under the connection's lock.
    pub(super) fn is_intent_expired(&self, connection: &Connection) -> bool {
        connection.pending.as_ref().is_none_or(|pending| {
            pending.by == self.inner.name || self.now() - pending.since >= INTENT_EXPIRY
        })
    }

    /// Sends the recorded request and stores the response.
    ///
    /// A request that may have reached the bank is kept until the bank has answered: its consent
    /// could otherwise exist there, and be approved, without a record here.
    pub(super) async fn send_request(
        &self,
        id: &ConnectionId,
        mut before: SentBefore,
    ) -> Result<Approval, ManagerError> {
        loop {
            let (connection, _) = self.load(id).await?;
            let bank = self.bank_handle(&connection.bank)?;
            let pending = connection.pending.as_ref().ok_or(ManagerError::Busy)?;
            tracing::info!(bank = %connection.bank, connection = %id, days = pending.days, "requesting a consent");
            let error = match pending.send(bank).await {
                Ok(asked) => return self.store_response(id, pending, asked, bank).await,
                Err(error) => error,
            };
            let reasons = error.kind.label();
            if let Some(days) = fewer_days(pending.days).filter(|_| is_too_long(&error)) {
                tracing::info!(bank = %connection.bank, connection = %id, %reasons, days, "consent validity refused, requesting a shorter one");
                self.shorten(id, pending, days).await?;
                before = SentBefore::No;
            } else if error.may_have_been_heard()
                || before == SentBefore::Possibly && !error.is_refusal()
            {
                tracing::warn!(bank = %connection.bank, connection = %id, %reasons, "consent request unanswered, it may have reached the bank");
                let connection = id.clone();
                return Err(ManagerError::Unanswered { connection, error });
            } else {
                tracing::warn!(bank = %connection.bank, connection = %id, %reasons, "consent request rejected");
                self.fail_pending(id, &connection, Event::NotAsked).await?;
                return Err(error.into());
            }
        }
    }

    /// Stores the bank's response.
    async fn store_response(
        &self,
        id: &ConnectionId,
        pending: &PendingRequest,
        asked: ConsentAsked,
        bank: &Bank,
    ) -> Result<Approval, ManagerError> {
        let answer = Answer {
            consent: asked.consent.consent_id.clone(),
            authorisation: asked.authorisation_id().map(str::to_owned),
            links: asked.consent.links,
        };
        let changed = self.change(id, |connection| {
            let kept = connection.is_pending(pending.request_id) && connection.apply(Event::Asked);
            let pending = connection.pending.as_mut().filter(|_| kept);
            if let Some(pending) = pending {
                pending.answer = Some(answer.clone());
            } else if connection.has_consent(&answer.consent) {
                // Another process has the answer to the same request.
                return None;
            } else {
                // It is no longer wanted.
                connection.to_terminate.push(answer.consent.clone());
            }
            Some(())
        });
        let connection = match changed.await {
            Ok((connection, _)) => connection,
            Err(error) => {
                // Where our own store has failed, the intention is still there, and is repeated.
                if matches!(error, ManagerError::NoSuchConnection(_)) {
                    // It is as well as it can be: nothing is kept here that could be tried again.
                    let _ = bank.end_consent(&answer.consent).await;
                }
                return Err(error);
            }
        };
        tracing::info!(bank = %connection.bank, connection = %id, "consent created, waiting for the customer's approval");
        if pending.shortened {
            self.store_max_validity(&connection.bank, pending.days)
                .await;
        }
        self.learn_granted_validity(&connection.bank, pending, bank, &answer.consent)
            .await;
        let approval = self.approval(id, &connection)?;
        approval.ok_or(ManagerError::Busy)
    }

    /// Approval of the consent that waits for the customer; if none does, that there is nothing to
    /// do any more. `None`: there is nothing to approve, and nothing approved.
    fn approval(
        &self,
        id: &ConnectionId,
        connection: &Connection,
    ) -> Result<Option<Approval>, ManagerError> {
        let bank = self.bank_handle(&connection.bank)?;
        let approval = |consent: &str, authorisation, next| Approval {
            connection: id.clone(),
            next,
            bank: bank.clone(),
            consent: consent.to_owned(),
            authorisation,
        };
        Ok(match (connection.waiting(), &connection.active) {
            (Some((_, answer)), _) => {
                let next = NextStep::of(&answer.links, None);
                Some(approval(
                    &answer.consent,
                    answer.authorisation.clone(),
                    next,
                ))
            }
            (None, Some(active)) if connection.lifecycle.next == Next::None => {
                Some(approval(&active.consent, None, NextStep::Nothing))
            }
            _ => None,
        })
    }

    /// Drops a pending consent whose authorisation has failed: its link is dead. If it has succeeded
    /// and another holder of an account has to approve too, starts that holder's authorisation.
    async fn replace_ended_authorisation(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let (connection, _) = self.load(id).await?;
        let Some((_, answer)) = connection.waiting() else {
            return Ok(());
        };
        let Some(authorisation) = &answer.authorisation else {
            return Ok(());
        };
        let bank = self.bank_handle(&connection.bank)?;
        match bank
            .authorisation_status(&answer.consent, authorisation)
            .await
        {
            Ok(ScaStatus::Failed) => self.fail_pending(id, &connection, Event::Lapsed).await,
            Ok(ScaStatus::Finalised) => self.start_further_authorisation(id, &connection).await,
            _ => Ok(()),
        }
    }

    /// Starts another holder's authorisation of a consent that one holder has approved. Its return
    /// addresses have a `state` of their own: the first holder's return is not the other's. A bank
    /// that does not start one is asked again at the next call.
    async fn start_further_authorisation(
        &self,
        id: &ConnectionId,
        connection: &Connection,
    ) -> Result<(), ManagerError> {
        let Some((pending, answer)) = connection.waiting() else {
            return Ok(());
        };
        let (bank, consent) = (self.bank_handle(&connection.bank)?, &answer.consent);
        let status = bank.consent_status(consent).await;
        if !matches!(status, Ok(ConsentStatus::PartiallyAuthorised)) {
            return Ok(());
        }
        let state = self.new_state();
        let mut options = ApprovalOptions {
            psu_id: None,
            ..pending.options.clone()
        };
        if let Some(used) = &connection.state {
            let addresses = [&mut options.return_to, &mut options.return_to_if_refused];
            for address in addresses.into_iter().flatten() {
                *address = address.replace(used, &state);
            }
        }
        let started = match bank.start_authorisation(consent, &options).await {
            Ok(started) => started,
            Err(error) => {
                let reasons = error.kind.label();
                tracing::warn!(bank = %connection.bank, connection = %id, %reasons, "authorisation of another holder not started");
                return Ok(());
            }
        };
        tracing::info!(bank = %connection.bank, connection = %id, "consent partially authorised, waiting for another holder's approval");
        let request_id = pending.request_id;
        self.change(id, |now| {
            let same = now.is_pending(request_id);
            let pending = now.pending.as_mut().filter(|_| same)?;
            pending.answer = Some(Answer {
                consent: consent.clone(),
                authorisation: Some(started.id.clone()),
                links: started.links.clone(),
            });
            (pending.options, pending.returned) = (options.clone(), false);
            now.state = Some(state.clone());
            Some(())
        })
        .await?;
        Ok(())
    }

    /// A new `state` of return addresses, which cannot be guessed.
    fn new_state(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.inner.randomness.bytes())
    }

    /// Fails the pending request, if it is still the one that was seen.
    async fn fail_pending(
        &self,
        id: &ConnectionId,
        seen: &Connection,
        event: Event,
    ) -> Result<(), ManagerError> {
        if let Some(pending) = &seen.pending {
            self.change(id, |now| {
                (now.is_pending(pending.request_id) && now.fail(event)).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    async fn shorten(
        &self,
        id: &ConnectionId,
        refused: &PendingRequest,
        days: u32,
    ) -> Result<(), ManagerError> {
        let request_id = self.inner.randomness.uuid();
        self.change(id, |connection| {
            let today = day_of(self.now(), self.zone(&connection.bank));
            let pending = connection.pending.as_mut()?;
            if pending.request_id != refused.request_id {
                return None;
            }
            (pending.request_id, pending.days, pending.shortened) = (request_id, days, true);
            pending.request = pending.consent_terms.request(today, days);
            Some(())
        })
        .await?;
        Ok(())
    }

    /// Learns the validity that the bank grants, which the consent has before its approval.
    async fn learn_granted_validity(
        &self,
        id: &BankId,
        pending: &PendingRequest,
        bank: &Bank,
        consent: &str,
    ) {
        let learnt = self.load_bank_limits(id).await.unwrap_or_default();
        if learnt.max_validity_days(self.now()) == Some(pending.days) {
            return;
        }
        let Ok(given) = bank.consent(consent).await else {
            return;
        };
        let Some(last_day) = given.valid_until else {
            return;
        };
        let missing = pending.request.valid_until - last_day;
        if let Ok(missing @ 1..) = u32::try_from(missing.num_days()) {
            self.store_max_validity(id, pending.days.saturating_sub(missing))
                .await;
        }
    }

    async fn load_bank_limits(&self, bank: &BankId) -> Result<LearntBankLimits, ManagerError> {
        let found = self.inner.sealed.get(Kind::Bank, bank.as_str()).await?;
        Ok(found.map(|(learnt, _)| learnt).unwrap_or_default())
    }

    /// Stores a bank's maximum validity. It is only a hint: if lost, it is learnt again.
    async fn store_max_validity(&self, bank: &BankId, days: u32) {
        let sealed = &self.inner.sealed;
        for _ in 0..MAX_CONFLICT_RETRIES {
            let found = sealed
                .get::<LearntBankLimits>(Kind::Bank, bank.as_str())
                .await;
            let outcome = match found {
                Ok(found) => {
                    let (mut learnt, seen) =
                        found.map_or_else(Default::default, |(learnt, seen)| (learnt, Some(seen)));
                    if !learnt.learn(days, self.now()) {
                        return;
                    }
                    sealed.put(Kind::Bank, bank.as_str(), seen, &learnt).await
                }
                Err(error) => Err(error),
            };
            match outcome {
                Err(error) if is_conflict(&error) => {}
                Err(error) => {
                    return tracing::warn!(%bank, %error, "maximum consent validity not stored");
                }
                Ok(_) => return tracing::info!(%bank, days, "maximum consent validity learnt"),
            }
        }
    }
}
