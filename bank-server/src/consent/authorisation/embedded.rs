//! TPP's side of authorisations: the steps of the embedded approach (customer, password, method,
//! code), and confirmation.

use chrono::TimeDelta;
use shared_types::pki::digest;
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::ConsentStatus;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::customer::ended_by;
use super::{AuthorisationError, Authorisations, Result, Start, check_waiting};
use crate::bank_service::request_id;
use crate::domain::{
    ApprovedAccess, Authorisation, AuthorisationKey, ExternalMethodId, MethodId, PsuId,
};
use crate::sca::external::AnswerKind;
use crate::sca::{Challenge, OfferedMethod, ScaError, Source, Subject, totp_challenge};
use crate::store::authorisations::{Advanced, Change, WaitingLimits};

/// Time between two codes for one customer through one TPP.
const BETWEEN_CODES: TimeDelta = TimeDelta::seconds(30);

/// Outcome of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The authorisation, with its current status.
    pub authorisation: Authorisation,
    /// The methods that the customer can choose among, if that is the next step.
    pub methods: Vec<OfferedMethod>,
    /// The chosen method, if its answer is the next step.
    pub chosen: Option<OfferedMethod>,
    /// The challenge, if that is the next step.
    pub challenge: Option<Challenge>,
}

impl Step {
    /// Whether the customer chooses a method next.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        !self.methods.is_empty()
    }
}

impl From<Authorisation> for Step {
    fn from(authorisation: Authorisation) -> Self {
        Self {
            authorisation,
            methods: Vec::new(),
            chosen: None,
            challenge: None,
        }
    }
}

impl Authorisations {
    /// Starts an authorisation, and takes the step of the customer's password along. The same
    /// request again has no second effect and the same answer, be it at the same time or later.
    pub async fn start_with_password(
        &self,
        start: Start<'_>,
        psu: &PsuId,
        password: &str,
    ) -> Result<Step> {
        let id = self.start(start).await?.id;
        let key = AuthorisationKey {
            tpp: start.tpp,
            consent_id: start.consent_id,
            id: &id,
        };
        let _turn = self.starting.lock(&id).await;
        let started = self.find(key).await?;
        if !awaits_password(started.status) {
            return self.as_step(started).await;
        }
        if started.refused {
            return Err(ScaError::WrongCredentials.into());
        }
        let outcome = self.authenticate(key, Some(psu), password).await;
        match &outcome {
            Err(AuthorisationError::Sca(ScaError::WrongCredentials)) => {
                self.store.refuse_start(&id).await?;
                outcome
            }
            // It was faster on another replica.
            Err(AuthorisationError::OutOfTurn(_)) => self.as_step(self.find(key).await?).await,
            _ => outcome,
        }
    }

    /// An authorisation as the response to the step that led to its status.
    async fn as_step(&self, authorisation: Authorisation) -> Result<Step> {
        let mut step = Step::from(authorisation);
        let now = &step.authorisation;
        let Some(psu) = &now.psu else {
            return Ok(step);
        };
        match (now.approach, now.status, &now.method) {
            (ScaApproach::Embedded, ScaStatus::PsuAuthenticated, _) => {
                step.methods = self.sca.methods_for_tpp(psu).await?;
            }
            (ScaApproach::Embedded, ScaStatus::ScaMethodSelected, Some(method)) => {
                step.chosen = self.sca.method_for_tpp(psu, method).await?;
                step.challenge = self.challenge_again(now, psu, method).await?;
            }
            (ScaApproach::Decoupled, ScaStatus::Started, Some(method)) => {
                step.chosen = self.sca.method_for_tpp(psu, method).await?;
            }
            _ => {}
        }
        Ok(step)
    }

    /// The challenge of a repeated request. An external method has it only for the request that has
    /// started it: another would replace it.
    async fn challenge_again(
        &self,
        authorisation: &Authorisation,
        psu: &PsuId,
        method: &MethodId,
    ) -> Result<Option<Challenge>> {
        let MethodId::External(method) = method else {
            return Ok(Some(Challenge::Code(totp_challenge())));
        };
        match request_id() {
            Some(id) if self.challenges.is_of_request(&authorisation.id, id).await? => {
                let challenge = self.start_code(authorisation, psu, method, id);
                Ok(Some(challenge.await?))
            }
            _ => Ok(None),
        }
    }

    /// The TPP names its customer.
    pub async fn identify(&self, key: AuthorisationKey<'_>, psu: &PsuId) -> Result<Step> {
        let authorisation = self.open(key).await?;
        let (status, limits) = match (authorisation.status, authorisation.approach) {
            (ScaStatus::Received, ScaApproach::Decoupled) => {
                (ScaStatus::Started, Some(self.limits(psu, key.consent_id)))
            }
            (ScaStatus::Received, _) => (ScaStatus::PsuIdentified, None),
            // Said once more: nothing changes.
            (ScaStatus::PsuIdentified | ScaStatus::Started, _) => {
                check_customer(&authorisation, psu)?;
                return Ok(authorisation.into());
            }
            // The TPP must not learn which customer has logged in at the bank.
            (status, _) => return Err(AuthorisationError::OutOfTurn(status)),
        };
        let change = Change {
            psu: Some(psu),
            ..Change::default()
        };
        self.advance(&authorisation, status, change, limits)
            .await
            .map(Step::from)
    }

    /// The TPP passes on the customer's password.
    pub async fn authenticate(
        &self,
        key: AuthorisationKey<'_>,
        psu: Option<&PsuId>,
        password: &str,
    ) -> Result<Step> {
        let authorisation = self.open(key).await?;
        check_embedded(&authorisation)?;
        if let Some(psu) = psu {
            check_customer(&authorisation, psu)?;
        }
        if !awaits_password(authorisation.status) {
            return Err(AuthorisationError::OutOfTurn(authorisation.status));
        }
        let psu = psu.or(authorisation.psu.as_ref()).cloned();
        let psu = psu.ok_or(AuthorisationError::OutOfTurn(authorisation.status))?;
        let credentials = self
            .sca
            .check_password(&psu, password, Source::Tpp(key.tpp))
            .await?;
        let change = Change {
            psu: Some(&psu),
            credentials: Some(credentials),
            ..Change::default()
        };
        let authenticated = self
            .advance(&authorisation, ScaStatus::PsuAuthenticated, change, None)
            .await?;
        if self.is_exempt(&authenticated, &psu).await? {
            self.approve_exempt(key.id, &psu).await?;
            return self.find(key).await.map(Step::from);
        }
        let mut methods = self.sca.methods_for_tpp(&psu).await?;
        match methods.len() {
            0 => Err(ScaError::NoSuchMethod.into()),
            1 => {
                self.choose(&authenticated, &psu, methods.remove(0), key.tpp)
                    .await
            }
            _ => Ok(Step {
                methods,
                ..Step::from(authenticated)
            }),
        }
    }

    /// The TPP passes on which method the customer has chosen.
    pub async fn select(&self, key: AuthorisationKey<'_>, method: MethodId) -> Result<Step> {
        let authorisation = self.open(key).await?;
        check_embedded(&authorisation)?;
        let psu = match (&authorisation.psu, authorisation.status) {
            (Some(psu), ScaStatus::PsuAuthenticated | ScaStatus::ScaMethodSelected) => psu.clone(),
            (_, status) => return Err(AuthorisationError::OutOfTurn(status)),
        };
        let chosen = self.sca.method_for_tpp(&psu, &method).await?;
        let chosen = chosen.ok_or(ScaError::NoSuchMethod)?;
        self.choose(&authorisation, &psu, chosen, key.tpp).await
    }

    /// The TPP passes on the code.
    pub async fn authorise(&self, key: AuthorisationKey<'_>, code: &str) -> Result<Step> {
        let authorisation = self.open(key).await?;
        check_embedded(&authorisation)?;
        let Authorisation {
            psu: Some(psu),
            method: Some(method),
            status: ScaStatus::ScaMethodSelected,
            ..
        } = &authorisation
        else {
            return Err(AuthorisationError::OutOfTurn(authorisation.status));
        };
        // A code is used up by a proof: none is taken that could approve nothing.
        self.ready(key.id, psu, None, None).await?;
        let proving = async {
            let proof = match method {
                MethodId::External(method) => {
                    let proving = self.sca.prove_external(psu, method, key.id, code, key.tpp);
                    proving.await?
                }
                method => {
                    let (subject, source) = (Subject::authorisation(key.id), Source::Tpp(key.tpp));
                    self.sca.prove(psu, method, &subject, code, source).await?
                }
            };
            self.approve(key.id, proof, None).await
        };
        match proving.await {
            Ok(_) => self.find(key).await.map(Step::from),
            Err(error) => {
                // With the last attempt, it has failed.
                if let AuthorisationError::Sca(
                    ScaError::WrongAnswer { attempts_left: 0 } | ScaError::OtherFacts,
                ) = error
                {
                    self.fail(&authorisation).await?;
                }
                Err(error)
            }
        }
    }

    /// The TPP confirms, with the code that the customer's browser has brought it, that this is
    /// its own customer.
    pub async fn confirm(&self, key: AuthorisationKey<'_>, code: &str) -> Result<Step> {
        let authorisation = self.open(key).await?;
        let pending = self.store.pending(&authorisation.id).await?;
        let (Some((expected, opening)), Some(psu)) = (pending, &authorisation.psu) else {
            return Err(AuthorisationError::OutOfTurn(authorisation.status));
        };
        let given = digest::sha256(code.as_bytes());
        if !bool::from(given.as_bytes().ct_eq(expected.as_bytes())) {
            // A wrong code belongs to another customer: there is no second attempt.
            self.fail(&authorisation).await?;
            return Err(AuthorisationError::WrongConfirmation);
        }
        // Another customer may have approved since.
        let opening = self.still_opening(&authorisation, opening).await?;
        let to = ended_by(authorisation.method.as_ref());
        self.succeed(&authorisation, to, psu, opening.as_ref())
            .await?;
        self.find(key).await.map(Step::from)
    }

    /// The access of an approval that waited for its confirmation: nothing more, if another
    /// customer has approved the same in between. If the consent's access has changed since,
    /// the approval fails, and the customer can approve again.
    async fn still_opening(
        &self,
        authorisation: &Authorisation,
        opening: Option<ApprovedAccess>,
    ) -> Result<Option<ApprovedAccess>> {
        let request = self.request(&authorisation.id).await?;
        let Some(approved) = opening else {
            return Ok(None);
        };
        if request.consent.status != ConsentStatus::PartiallyAuthorised {
            return Ok(Some(approved));
        }
        if self.given.grants_of(&request.consent.id).await? == approved.grants {
            return Ok(None);
        }
        self.fail(authorisation).await?;
        Err(AuthorisationError::OutOfTurn(ScaStatus::Failed))
    }

    /// Ends an authorisation without success. Returns whether it did: another request may have been
    /// faster.
    pub(super) async fn fail(&self, seen: &Authorisation) -> Result<bool> {
        Ok(self.store.fail(seen, None, self.calendar.now()).await?)
    }

    /// An authorisation that is not over, of a consent that is waiting.
    async fn open(&self, key: AuthorisationKey<'_>) -> Result<Authorisation> {
        let authorisation = self.find(key).await?;
        if authorisation.status.is_final() {
            return Err(AuthorisationError::OutOfTurn(authorisation.status));
        }
        let consent = self.consents.find(key.tpp, key.consent_id).await?;
        let consent = consent.ok_or(AuthorisationError::NoSuchConsent)?;
        check_waiting(self.current_consent_status(&consent))?;
        Ok(authorisation)
    }

    /// Starts a challenge of an external method for a code, for the TPP's request in which this is
    /// called.
    async fn start_code(
        &self,
        authorisation: &Authorisation,
        psu: &PsuId,
        method: &ExternalMethodId,
        request_id: Uuid,
    ) -> Result<Challenge> {
        let request = self.request_of(authorisation.clone()).await?;
        let offer = self.offer(&request, psu).await?;
        let facts = request.facts(psu, &offer, None);
        self.claim_challenge(authorisation, psu, request_id, BETWEEN_CODES)
            .await?;
        let data = self.sca.start_external(method, &facts, request_id).await?;
        Ok(Challenge::Code(data))
    }

    async fn choose(
        &self,
        authorisation: &Authorisation,
        psu: &PsuId,
        chosen: OfferedMethod,
        tpp: &OrganisationId,
    ) -> Result<Step> {
        let challenge = match &chosen.id {
            // The poller starts it.
            MethodId::External(_) if chosen.answer == AnswerKind::Approval => Challenge::App,
            MethodId::External(method) => {
                let request_id = request_id().unwrap_or_else(|| self.randomness.uuid());
                self.start_code(authorisation, psu, method, request_id)
                    .await?
            }
            method => {
                let (subject, source) =
                    (Subject::authorisation(&authorisation.id), Source::Tpp(tpp));
                self.sca.challenge(psu, method, &subject, source).await?
            }
        };
        // An approval in the bank's app takes place there: the approach is decoupled from here on.
        let in_app = challenge == Challenge::App;
        let status = if in_app {
            ScaStatus::Started
        } else {
            ScaStatus::ScaMethodSelected
        };
        let limits = in_app.then(|| self.limits(psu, &authorisation.consent_id));
        let change = Change {
            method: Some(&chosen.id),
            approach: in_app.then_some(ScaApproach::Decoupled),
            ..Change::default()
        };
        let authorisation = self.advance(authorisation, status, change, limits).await?;
        if let (MethodId::External(_), false) = (&chosen.id, in_app) {
            self.challenges.sent(&authorisation.id, &chosen.id).await?;
        }
        Ok(Step {
            chosen: Some(chosen),
            challenge: Some(challenge),
            ..Step::from(authorisation)
        })
    }

    /// Changes the status, unless another request was faster.
    pub(super) async fn advance(
        &self,
        seen: &Authorisation,
        to: ScaStatus,
        change: Change<'_>,
        limits: Option<WaitingLimits<'_>>,
    ) -> Result<Authorisation> {
        let now = self.calendar.now();
        match self.store.advance(seen, to, change, limits, now).await? {
            Advanced::Done => {}
            Advanced::Overtaken => return Err(self.overtaken(&seen.id).await),
            Advanced::TooManyWaiting => return Err(AuthorisationError::TooManyWaiting),
            Advanced::CredentialsChanged => return Err(ScaError::CredentialsChanged.into()),
        }
        Ok(Authorisation {
            status: to,
            psu: change.psu.cloned().or_else(|| seen.psu.clone()),
            by_log_in: change.by_log_in.unwrap_or(seen.by_log_in),
            method: change.method.or(seen.method.as_ref()).cloned(),
            approach: change.approach.unwrap_or(seen.approach),
            shown: change.shown.or(seen.shown),
            last_action: now,
            ..seen.clone()
        })
    }
}

/// Fails if the authorisation is for another customer.
pub(super) fn check_customer(authorisation: &Authorisation, psu: &PsuId) -> Result<()> {
    match &authorisation.psu {
        Some(named) if named != psu => Err(AuthorisationError::OtherCustomer),
        _ => Ok(()),
    }
}

fn awaits_password(status: ScaStatus) -> bool {
    matches!(status, ScaStatus::Received | ScaStatus::PsuIdentified)
}

fn check_embedded(authorisation: &Authorisation) -> Result<()> {
    match authorisation.approach {
        ScaApproach::Embedded => Ok(()),
        other => Err(AuthorisationError::OtherApproach(other)),
    }
}
