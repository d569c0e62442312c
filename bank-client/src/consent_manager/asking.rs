//! Asking for a consent: the first one of a connection, and those that renew it.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;

use super::ConnectionId;
use super::consent_terms::{Learnt, fewer_days, is_too_long};
use super::life::{Current, Event, Life, Next};
use super::record::{Answer, Asking, Connection};
use super::usage::day_of;
use super::{Approval, ConsentManager, ConsentTerms, ManagerError, TRIES, is_conflict};
use crate::authorisations::{ApprovalOptions, ConsentAsked, NextStep};
use crate::bank::Bank;
use crate::directory::BankId;
use crate::error::Error;
use crate::store::Kind;

/// After that, whoever was about to ask a bank has not lived to see the answer.
const INTENDED_FOR: TimeDelta = TimeDelta::minutes(2);

/// How often, and how many times, another process's answer is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS: usize = TRIES;

/// Whether the bank was asked the same before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It was not.
    Never,
    /// By somebody who has not seen the answer.
    Perhaps,
}

impl Asking {
    /// Asks the bank: each time it is the same request.
    pub(super) async fn send(&self, bank: &Bank) -> Result<ConsentAsked, Error> {
        let options = (&self.options).into();
        bank.ask_for_consent_once(Some(self.request_id), &self.request, self.psu, &options)
            .await
    }
}

impl ConsentManager {
    /// Connects a customer's bank: asks for a consent, and says how she approves it.
    ///
    /// `customer` is what the program calls her; it is kept, sealed, and told back by
    /// [`connections`](Self::connections). `psu` is the address of her device, as we saw it (`PSU-IP-Address`); of `None`
    /// nothing is sent, and a bank that insists on it refuses ([`Error::lacks_psu_address`]). Where `options` say where she
    /// is to come back to, a `state` is added to that address, for [`returned`](Self::returned).
    ///
    /// Of a customer who is connected to that bank this is [`renew_as`](Self::renew_as): there is one connection for each
    /// customer and bank, also where two programs connect her at once.
    ///
    /// A bank that refuses so long a consent is asked again for a shorter one, and remembered for it if it gives that.
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
        let _turn = self.turn(&id).await?;
        for _ in 0..TRIES {
            let mut connection = Connection::new(bank.clone(), customer, consent_terms, self.now());
            let seen = match self.load(&id).await {
                Err(ManagerError::NoSuchConnection(_)) => None,
                Err(error) => return Err(error),
                Ok((known, _)) if known.life.current != Current::Leaving => {
                    match self
                        .renew_in_turn(&id, Some(consent_terms), psu, options)
                        .await
                    {
                        // It was given up meanwhile, or the bank did not take the first request.
                        Err(ManagerError::NoSuchConnection(_)) => continue,
                        outcome => return outcome,
                    }
                }
                Ok((leaving, seen)) => {
                    if let Some(asking) = &leaving.asking {
                        self.recall(&id, self.managed(bank)?, asking).await?;
                        continue;
                    }
                    // What the bank was not told yet, it is told at the next occasion.
                    self.remove_tokens(&id).await?;
                    connection.to_give_up = leaving.to_give_up;
                    Some(seen)
                }
            };
            self.intend(&mut connection, consent_terms, psu, options)
                .await?;
            if !self.save(&id, &connection, seen).await? {
                continue;
            }
            let outcome = self.ask(&id, Before::Never).await;
            if let Err(ManagerError::Bank(_)) = &outcome {
                self.remove_unasked(&id).await?;
            }
            return outcome;
        }
        Err(ManagerError::Busy)
    }

    /// A first request that the bank did not take leaves nothing behind.
    async fn remove_unasked(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let (connection, seen) = match self.load(id).await {
            Err(ManagerError::NoSuchConnection(_)) => return Ok(()),
            found => found?,
        };
        let Life { current, next } = connection.life;
        let unasked = current == Current::None && matches!(next, Next::Failed(_));
        if unasked && connection.to_give_up.is_empty() {
            // Another program that asks once more goes before.
            self.remove_as_seen(id, seen).await?;
        }
        Ok(())
    }

    /// Asks for a new consent in place of the one there is, or was; that one serves until the new one is approved.
    ///
    /// If one has been asked for and still waits, it is returned, whoever has asked: two calls do not renew twice. But if
    /// its approval would lead the customer back to another address, or another way, than `options` say, it is given up, and
    /// another asked for. If it was approved meanwhile, the next step is [`NextStep::Nothing`].
    pub async fn renew(
        &self,
        id: &ConnectionId,
        psu: impl Into<Option<IpAddr>> + Send,
        options: &ApprovalOptions,
    ) -> Result<Approval, ManagerError> {
        let psu = psu.into();
        let _turn = self.turn(id).await?;
        self.renew_in_turn(id, None, psu, options).await
    }

    /// The same, and asks for something else than before: other accounts, more or fewer days. Once the customer has
    /// approved, the connection is renewed by that wish. One that was asked for by another wish and still waits is given up.
    pub async fn renew_as(
        &self,
        id: &ConnectionId,
        psu: impl Into<Option<IpAddr>> + Send,
        consent_terms: &ConsentTerms,
        options: &ApprovalOptions,
    ) -> Result<Approval, ManagerError> {
        let psu = psu.into();
        let _turn = self.turn(id).await?;
        self.renew_in_turn(id, Some(consent_terms), psu, options)
            .await
    }

    async fn renew_in_turn(
        &self,
        id: &ConnectionId,
        consent_terms: Option<&ConsentTerms>,
        psu: Option<IpAddr>,
        options: &ApprovalOptions,
    ) -> Result<Approval, ManagerError> {
        for _ in 0..LOOKS {
            let (mut connection, seen) = self.load(id).await?;
            if connection.life.current == Current::Leaving {
                return Err(ManagerError::NotServing(self.standing_of(&connection)));
            }
            match connection.life.next {
                Next::None | Next::Failed(_) => {
                    let consent_terms = match consent_terms {
                        Some(consent_terms) => consent_terms.clone(),
                        None if connection.consent_terms.is_recurring() => {
                            connection.consent_terms.clone()
                        }
                        None => return Err(ManagerError::OneOff),
                    };
                    self.intend(&mut connection, &consent_terms, psu, options)
                        .await?;
                    if self.save(id, &connection, Some(seen)).await? {
                        return self.ask(id, Before::Never).await;
                    }
                }
                Next::Intended if self.is_abandoned(&connection) => {
                    self.ask(id, Before::Perhaps).await?;
                }
                // Another process is asking: its answer is ours.
                Next::Intended => tokio::time::sleep(LOOK_AGAIN).await,
                Next::Waiting => {
                    self.look_at_next(id).await?;
                    self.give_up_dead_link(id).await?;
                    let (connection, _) = self.load(id).await?;
                    let Some(approval) = self.approval(id, &connection)? else {
                        continue;
                    };
                    let redirected = matches!(approval.next, NextStep::Redirect(_));
                    if connection.waits_for(consent_terms, options, redirected) {
                        return Ok(approval);
                    }
                    tracing::info!(bank = %connection.bank, connection = %id, "the consent that waits was asked for in another way: asking anew");
                    self.fail_asking(id, &connection, Event::Lapsed).await?;
                }
            }
        }
        Err(ManagerError::Busy)
    }

    /// Writes down what will be asked, before it is.
    async fn intend(
        &self,
        connection: &mut Connection,
        consent_terms: &ConsentTerms,
        psu: Option<IpAddr>,
        options: &ApprovalOptions,
    ) -> Result<(), ManagerError> {
        self.managed(&connection.bank)?;
        let terms = self.terms(&connection.bank);
        let now = self.now();
        let learnt = self.learnt(&connection.bank).await?.max_validity_days(now);
        let days = consent_terms.first_days(learnt.or(terms.max_validity_days));
        let today = day_of(now, terms.time_zone);
        let state = URL_SAFE_NO_PAD.encode(self.inner.randomness.bytes());
        if !connection.meet(Event::Intended) {
            return Err(ManagerError::Busy);
        }
        let mut options: super::record::StoredOptions = options.into();
        for address in [&mut options.return_to, &mut options.return_to_if_refused] {
            *address = address
                .as_deref()
                .map(|address| super::record::with_state(address, &state));
        }
        connection.asking = Some(Asking {
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

    /// Whether nobody waits any more for the answer to what was intended. Our own are done in turn.
    pub(super) fn is_abandoned(&self, connection: &Connection) -> bool {
        connection.asking.as_ref().is_none_or(|asking| {
            asking.by == self.inner.name || self.now() - asking.since >= INTENDED_FOR
        })
    }

    /// Asks the bank for what is intended, and keeps the answer.
    ///
    /// What the bank may have heard is not given up before it has said a word about it: it would stand there, and could be
    /// approved, and nobody here would know.
    pub(super) async fn ask(
        &self,
        id: &ConnectionId,
        mut before: Before,
    ) -> Result<Approval, ManagerError> {
        loop {
            let (connection, _) = self.load(id).await?;
            let bank = self.managed(&connection.bank)?;
            let asking = connection.asking.as_ref().ok_or(ManagerError::Busy)?;
            tracing::info!(bank = %connection.bank, connection = %id, days = asking.days, "asking for a consent");
            let error = match asking.send(bank).await {
                Ok(asked) => return self.asked(id, asking, asked, bank).await,
                Err(error) => error,
            };
            let reasons = error.kind.label();
            if let Some(days) = fewer_days(asking.days).filter(|_| is_too_long(&error)) {
                tracing::info!(bank = %connection.bank, connection = %id, %reasons, days, "the bank refuses so long a consent: asking for a shorter one");
                self.shorten(id, asking, days).await?;
                before = Before::Never;
            } else if error.may_have_been_heard()
                || before == Before::Perhaps && !error.is_refusal()
            {
                tracing::warn!(bank = %connection.bank, connection = %id, %reasons, "it is not known whether the bank has heard");
                let connection = id.clone();
                return Err(ManagerError::Unanswered { connection, error });
            } else {
                tracing::warn!(bank = %connection.bank, connection = %id, %reasons, "the bank does not take the request for a consent");
                self.fail_asking(id, &connection, Event::NotAsked).await?;
                return Err(error.into());
            }
        }
    }

    /// Keeps the bank's answer.
    async fn asked(
        &self,
        id: &ConnectionId,
        asking: &Asking,
        asked: ConsentAsked,
        bank: &Bank,
    ) -> Result<Approval, ManagerError> {
        let answer = Answer {
            consent: asked.consent.consent_id.clone(),
            authorisation: asked.authorisation_id().map(str::to_owned),
            links: asked.consent.links,
        };
        let changed = self.change(id, |connection| {
            let kept = connection.is_asking(asking.request_id) && connection.meet(Event::Asked);
            let asking = connection.asking.as_mut().filter(|_| kept);
            if let Some(asking) = asking {
                asking.answer = Some(answer.clone());
            } else if connection.knows(&answer.consent) {
                // Another process has the answer to the same request.
                return None;
            } else {
                // Nobody wants it any more.
                connection.to_give_up.push(answer.consent.clone());
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
        tracing::info!(bank = %connection.bank, connection = %id, "the consent waits for the customer");
        if asking.shortened {
            self.learn(&connection.bank, asking.days).await;
        }
        self.learn_what_is_given(&connection.bank, asking, bank, &answer.consent)
            .await;
        let approval = self.approval(id, &connection)?;
        approval.ok_or(ManagerError::Busy)
    }

    /// How the customer approves what waits for her; if nothing does, that there is nothing to do any more. `None`: there is
    /// nothing to approve, and nothing approved.
    fn approval(
        &self,
        id: &ConnectionId,
        connection: &Connection,
    ) -> Result<Option<Approval>, ManagerError> {
        let bank = self.managed(&connection.bank)?;
        let approval = |consent: &str, authorisation, next| Approval {
            connection: id.clone(),
            next,
            bank: bank.clone(),
            consent: consent.to_owned(),
            authorisation,
        };
        Ok(match (connection.waiting(), &connection.held) {
            (Some((_, answer)), _) => {
                let next = NextStep::of(&answer.links, None);
                Some(approval(
                    &answer.consent,
                    answer.authorisation.clone(),
                    next,
                ))
            }
            (None, Some(held)) if connection.life.next == Next::None => {
                Some(approval(&held.consent, None, NextStep::Nothing))
            }
            _ => None,
        })
    }

    /// A link leads nowhere any more once its authorisation has failed: the consent is given up, and another asked for.
    async fn give_up_dead_link(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let (connection, _) = self.load(id).await?;
        let Some((_, answer)) = connection.waiting() else {
            return Ok(());
        };
        let Some(authorisation) = &answer.authorisation else {
            return Ok(());
        };
        let bank = self.managed(&connection.bank)?;
        let status = bank
            .authorisation_status(&answer.consent, authorisation)
            .await;
        if !matches!(
            status,
            Ok(shared_types::xs2a::authorisation::ScaStatus::Failed)
        ) {
            return Ok(());
        }
        self.fail_asking(id, &connection, Event::Lapsed).await
    }

    /// Nothing comes of what was asked for, as it was seen.
    async fn fail_asking(
        &self,
        id: &ConnectionId,
        seen: &Connection,
        event: Event,
    ) -> Result<(), ManagerError> {
        if let Some(asking) = &seen.asking {
            self.change(id, |now| {
                (now.is_asking(asking.request_id) && now.fail(event)).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    async fn shorten(
        &self,
        id: &ConnectionId,
        refused: &Asking,
        days: u32,
    ) -> Result<(), ManagerError> {
        let request_id = self.inner.randomness.uuid();
        self.change(id, |connection| {
            let today = day_of(self.now(), self.zone(&connection.bank));
            let asking = connection.asking.as_mut()?;
            if asking.request_id != refused.request_id {
                return None;
            }
            (asking.request_id, asking.days, asking.shortened) = (request_id, days, true);
            asking.request = asking.consent_terms.request(today, days);
            Some(())
        })
        .await?;
        Ok(())
    }

    /// A bank that gives less than it was asked for says so in the consent, while nobody has approved it yet.
    async fn learn_what_is_given(&self, id: &BankId, asking: &Asking, bank: &Bank, consent: &str) {
        let learnt = self.learnt(id).await.unwrap_or_default();
        if learnt.max_validity_days(self.now()) == Some(asking.days) {
            return;
        }
        let Ok(given) = bank.consent(consent).await else {
            return;
        };
        let Some(last_day) = given.valid_until else {
            return;
        };
        let missing = asking.request.valid_until - last_day;
        if let Ok(missing @ 1..) = u32::try_from(missing.num_days()) {
            self.learn(id, asking.days.saturating_sub(missing)).await;
        }
    }

    async fn learnt(&self, bank: &BankId) -> Result<Learnt, ManagerError> {
        let found = self.inner.sealed.get(Kind::Bank, bank.as_str()).await?;
        Ok(found.map(|(learnt, _)| learnt).unwrap_or_default())
    }

    /// Remembers the most days that a bank gives. Nothing depends on it: what is not kept is learnt again.
    async fn learn(&self, bank: &BankId, days: u32) {
        let sealed = &self.inner.sealed;
        for _ in 0..TRIES {
            let found = sealed.get::<Learnt>(Kind::Bank, bank.as_str()).await;
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
                    return tracing::warn!(%bank, %error, "what was learnt of a bank is not kept");
                }
                Ok(_) => return tracing::info!(%bank, days, "the bank gives so many days at most"),
            }
        }
    }
}
