//! Poller of decoupled authorisations: starts their challenges by external SCA methods, and takes
//! the customers' answers.
//!
//! A TPP's request does not wait for it, so that response times do not reveal whether a customer
//! exists. What a crash leaves undone is done by the next round. Replicas may do the same round at a
//! time: the request id of a challenge is the id of its authorisation, and the database counts one
//! answer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt as _;
use futures::stream;
use tokio::time::timeout;
use uuid::Uuid;

use super::{AuthorisationError, Authorisations, Result};
use crate::domain::{Authorisation, ExternalMethodId, MethodId, PsuId};
use crate::sca::external::ScaMethodsError;
use crate::sca::{ExternalAnswer, ScaError};
use crate::store::StoreError;
use crate::store::challenges::{Claim, Ended};

/// Interval of the rounds.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of concurrent queries of a round.
const MAX_CONCURRENT_QUERIES: usize = 8;

/// Time limit of one authorisation in a round.
const STEP_TIMEOUT: Duration = Duration::from_mins(1);

impl Authorisations {
    /// Starts the challenges of authorisations that have none yet.
    pub(crate) async fn start_external_challenges(&self) {
        let waiting = self.challenges.to_start(self.since()).await;
        run_round("start", waiting, |authorisation| {
            self.start_step(authorisation)
        })
        .await;
    }

    /// Takes the customers' answers to open challenges.
    pub(crate) async fn poll_external_challenges(&self) {
        let open = self.challenges.open(self.since()).await;
        run_round("poll", open, |authorisation| self.poll_step(authorisation)).await;
    }

    async fn start_step(&self, authorisation: Authorisation) -> Result<()> {
        match self.start_challenge(&authorisation).await {
            Err(error) if error.ends_challenge() => {
                let id = &authorisation.id;
                tracing::info!(authorisation = id, reason = %error, "no challenge to start");
                Ok(self.challenges.end(id, Ended::None).await?)
            }
            started => started,
        }
    }

    /// The time since which an authorisation without a step has failed.
    fn since(&self) -> DateTime<Utc> {
        self.calendar.now() - self.rules.authorisation_lifetime()
    }

    async fn start_challenge(&self, authorisation: &Authorisation) -> Result<()> {
        let (Some(psu), Ok(request_id)) = (&authorisation.psu, Uuid::parse_str(&authorisation.id))
        else {
            return Err(StoreError::corrupt("authorisation").into());
        };
        let between = TimeDelta::zero();
        match self
            .claim_challenge(authorisation, psu, request_id, between)
            .await
        {
            // It waits for its turn, or is over.
            Err(
                AuthorisationError::Sca(ScaError::TooManyChallenges { .. })
                | AuthorisationError::OutOfTurn(_),
            ) => return Ok(()),
            claimed => claimed?,
        }
        let method = match &authorisation.method {
            Some(MethodId::External(chosen)) => Some(chosen.clone()),
            _ => self.sca.first_approval_method(psu).await?,
        };
        let method = method.ok_or(ScaError::NoSuchMethod)?;
        let request = self.request_of(authorisation.clone()).await?;
        self.check_first_approval(&request.consent.id, psu).await?;
        let offer = self.offer(&request, psu).await?;
        if offer.is_choice {
            return Err(AuthorisationError::NeedsChoice);
        }
        let facts = request.facts(psu, &offer, None);
        self.sca.start_external(&method, &facts, request_id).await?;
        let method = MethodId::External(method);
        Ok(self.challenges.sent(&authorisation.id, &method).await?)
    }

    /// Claims the right to start a challenge for the customer.
    pub(super) async fn claim_challenge(
        &self,
        authorisation: &Authorisation,
        psu: &PsuId,
        request_id: Uuid,
        between: TimeDelta,
    ) -> Result<()> {
        let now = self.calendar.now();
        let claim = self
            .challenges
            .claim(authorisation, psu, request_id, between, now);
        match claim.await? {
            Claim::Granted => Ok(()),
            Claim::TooMany { until } => Err(ScaError::TooManyChallenges { until }.into()),
            Claim::Overtaken => Err(self.overtaken(&authorisation.id).await),
        }
    }

    async fn poll_step(&self, authorisation: Authorisation) -> Result<()> {
        let (Some(psu), Some(MethodId::External(method))) =
            (&authorisation.psu, &authorisation.method)
        else {
            return Err(StoreError::corrupt("authorisation").into());
        };
        match self.take_answer(&authorisation, psu, method).await {
            // Another replica was faster, or the TPP has deleted the consent.
            Err(AuthorisationError::OutOfTurn(_) | AuthorisationError::ConsentOver(_)) => Ok(()),
            Err(error) if error.ends_challenge() => {
                let id = &authorisation.id;
                tracing::warn!(authorisation = id, reason = %error, "approval does not count");
                self.fail(&authorisation).await.map(drop)
            }
            outcome => outcome,
        }
    }

    async fn take_answer(
        &self,
        authorisation: &Authorisation,
        psu: &PsuId,
        method: &ExternalMethodId,
    ) -> Result<()> {
        let id = &authorisation.id;
        match self.sca.poll_external(psu, method, id).await? {
            ExternalAnswer::Pending => Ok(()),
            ExternalAnswer::Approved(proof) => {
                self.claim(id, psu).await?;
                self.approve(id, proof, None).await.map(drop)
            }
            ExternalAnswer::Refused => self.refuse(id, psu).await.map(drop),
            // The authorisation lasts for its lifetime: an earlier end would reveal to the TPP that
            // the customer exists.
            ExternalAnswer::Over => Ok(self.challenges.end(id, Ended::Over).await?),
        }
    }
}

impl AuthorisationError {
    /// Whether the challenge of an authorisation ends with that error. After others, the next round
    /// tries again.
    const fn ends_challenge(&self) -> bool {
        matches!(
            self,
            Self::NotTheCustomers(_)
                | Self::NoAccount
                | Self::NeedsChoice
                | Self::ApprovedBefore
                | Self::OtherCustomer
                | Self::Sca(ScaError::OtherFacts | ScaError::NoSuchMethod)
        )
    }
}

/// Takes a step for each authorisation, some at a time, and logs the failures as one.
async fn run_round<F: Future<Output = Result<()>>>(
    name: &'static str,
    authorisations: Result<Vec<Authorisation>, StoreError>,
    step: impl Fn(Authorisation) -> F,
) {
    let authorisations = match authorisations {
        Ok(authorisations) => authorisations,
        Err(error) => {
            tracing::warn!(round = name, %error, "waiting authorisations not read");
            return;
        }
    };
    let steps = authorisations.into_iter().map(|authorisation| {
        let step = timeout(STEP_TIMEOUT, step(authorisation));
        async { step.await.unwrap_or_else(|_| Err(late().into())).err() }
    });
    let mut steps = stream::iter(steps).buffer_unordered(MAX_CONCURRENT_QUERIES);
    let (mut failed, mut first) = (0_usize, None);
    while let Some(error) = steps.next().await {
        failed += usize::from(error.is_some());
        first = first.or(error);
    }
    if let Some(error) = first {
        tracing::warn!(round = name, failed, first = %error, "external SCA methods failed, retrying");
    }
}

fn late() -> ScaError {
    ScaMethodsError::Unavailable("no answer in time".into()).into()
}
