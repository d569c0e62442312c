//! Decoupled approach with SCA methods of the bank's own systems: starts the challenge in the
//! bank's app, and takes the customer's answer.
//!
//! The TPP's request is answered before: its time must not reveal whether the customer exists. What
//! a crash leaves undone is done by the next round. Replicas may do the same round at a time: a
//! challenge has the id of its authorisation, and the database counts one answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream;
use shared_types::xs2a::authorisation::ScaStatus;
use uuid::Uuid;

use super::{AuthorisationError, Authorisations, Result};
use crate::bank_service::with_request_id;
use crate::domain::{Authorisation, ExternalMethodId, MethodId, PsuId};
use crate::sca::{ExternalAnswer, ScaError};
use crate::store::authorisations::Change;

/// Interval of the rounds.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of authorisations in one round, the newest first.
const MAX_IN_ROUND: i64 = 1000;

/// Authorisations that are looked at at a time.
const CONCURRENCY: usize = 8;

/// Time after which a customer without a method is looked up again.
const WITHOUT_METHOD: TimeDelta = TimeDelta::minutes(1);

/// Authorisations whose challenge is not started before that time.
#[derive(Clone, Default)]
pub(super) struct Postponed(Arc<Mutex<HashMap<String, DateTime<Utc>>>>);

impl Postponed {
    fn with<T>(&self, read: impl FnOnce(&mut HashMap<String, DateTime<Utc>>) -> T) -> T {
        // Nothing panics while the lock is held; if it did, the content would still be whole.
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Authorisations {
    /// Looks at each waiting authorisation of the decoupled approach once: starts its challenge, or
    /// takes the customer's answer. Errors are logged, and the next round tries again.
    pub(crate) async fn poll_external_methods(&self) {
        if self.sca.external().is_none() {
            return;
        }
        let now = self.calendar.now();
        let since = now - self.rules.authorisation_lifetime();
        let waiting = match self.store.waiting_decoupled(since, MAX_IN_ROUND).await {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::warn!(%error, "waiting authorisations not read");
                return;
            }
        };
        self.postponed.with(|postponed| {
            postponed.retain(|id, until| *until > now && waiting.iter().any(|one| one.id == *id));
        });
        stream::iter(waiting)
            .for_each_concurrent(CONCURRENCY, async |authorisation| {
                let id = authorisation.id.clone();
                if let Err(error) = self.poll_external_method(authorisation).await {
                    tracing::warn!(authorisation = id, %error, "SCA method not polled");
                }
            })
            .await;
    }

    async fn poll_external_method(&self, authorisation: Authorisation) -> Result<()> {
        match (&authorisation.psu, &authorisation.method) {
            (Some(psu), None) if authorisation.status == ScaStatus::Started => {
                if self
                    .postponed
                    .with(|postponed| !postponed.contains_key(&authorisation.id))
                {
                    self.start_in_app(&authorisation, psu).await?;
                }
                Ok(())
            }
            (Some(psu), Some(MethodId::External(method))) => {
                self.take_answer(&authorisation, psu, method).await
            }
            _ => Ok(()),
        }
    }

    async fn start_in_app(&self, authorisation: &Authorisation, psu: &PsuId) -> Result<()> {
        let until = match self.try_start_in_app(authorisation, psu).await {
            Ok(true) => return Ok(()),
            Ok(false) => self.calendar.now() + WITHOUT_METHOD,
            Err(AuthorisationError::Sca(ScaError::Locked { until })) => until,
            Err(AuthorisationError::OutOfTurn(_)) => return Ok(()),
            Err(error) if error.is_final() => {
                tracing::info!(authorisation = authorisation.id, %error, "no approval in the app");
                self.calendar.now() + WITHOUT_METHOD
            }
            Err(error) => return Err(error),
        };
        let id = authorisation.id.clone();
        self.postponed.with(|postponed| postponed.insert(id, until));
        Ok(())
    }

    /// Returns whether the customer has a method for it.
    async fn try_start_in_app(&self, authorisation: &Authorisation, psu: &PsuId) -> Result<bool> {
        let request = self.request_of(authorisation.clone()).await?;
        self.check_first_approval(&request.consent.id, psu).await?;
        let Some(offered) = self.sca.external_approval_of(psu).await? else {
            return Ok(false);
        };
        let offer = self.offer(&request, psu).await?;
        if offer.is_choice {
            return Err(AuthorisationError::NeedsChoice);
        }
        let MethodId::External(method) = &offered.id else {
            return Ok(false);
        };
        let facts = request.facts(psu, &offer, None);
        let starting = self.sca.start_external(method, &facts);
        match Uuid::parse_str(&authorisation.id) {
            // The same for all replicas, and after a crash.
            Ok(id) => with_request_id(id, starting).await?,
            Err(_) => starting.await?,
        };
        let change = Change {
            method: Some(&offered.id),
            ..Change::default()
        };
        self.advance(authorisation, ScaStatus::Started, change, None)
            .await?;
        Ok(true)
    }

    async fn take_answer(
        &self,
        authorisation: &Authorisation,
        psu: &PsuId,
        method: &ExternalMethodId,
    ) -> Result<()> {
        let id = &authorisation.id;
        let outcome = match self.sca.poll_external(method, id).await? {
            ExternalAnswer::None => return Ok(()),
            ExternalAnswer::Refused => self.refuse(id, psu).await.map(drop),
            ExternalAnswer::Over => self.fail(authorisation).await.map(drop),
            ExternalAnswer::Approved(approval) => {
                let approving = async {
                    let request = self.claim(id, psu).await?;
                    let offer = self.offer(&request, psu).await?;
                    let proof = approval.prove(&request.facts(psu, &offer, None))?;
                    self.approve(id, proof, None).await
                };
                approving.await.map(drop)
            }
        };
        match outcome {
            // Another replica was faster, or the TPP has withdrawn the consent.
            Err(AuthorisationError::OutOfTurn(_) | AuthorisationError::ConsentOver(_)) => Ok(()),
            Err(error) if error.is_final() => {
                tracing::warn!(authorisation = id, %error, "approval in the app does not count");
                self.give_up(id, psu).await
            }
            outcome => outcome,
        }
    }
}
