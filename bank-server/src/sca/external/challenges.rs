//! Challenges of external SCA methods: offered, started, polled and verified.

use chrono::{DateTime, Utc};
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{AuthenticationObject, AuthenticationType, ChallengeData};
use shared_types::xs2a::text::Text;
use uuid::Uuid;

use super::{
    AnswerKind, ChallengeRequest, ChallengeState, ExternalMethod, ScaMethods, ScaMethodsError,
};
use crate::domain::{ApprovalFacts, ExternalMethodId, MethodId, PsuId};
use crate::sca::{Proof, Result, Sca, ScaError, Source, Subject};

/// Answer of a customer to a challenge in the bank's app.
pub(crate) enum ExternalAnswer {
    /// None yet.
    Pending,
    /// The customer has approved.
    Approved(Proof),
    /// The customer has refused.
    Refused,
    /// The challenge has ended without an answer.
    Over,
}

/// A method as TPPs are offered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedMethod {
    /// Its id.
    pub id: MethodId,
    /// Kind of the answer.
    pub answer: AnswerKind,
    /// Its description on the wire.
    pub description: AuthenticationObject,
}

impl OfferedMethod {
    /// `None` for methods that work in the customer's browser alone.
    fn built_in(id: MethodId) -> Option<Self> {
        let (answer, authentication_type, name) = match id {
            MethodId::Totp => (
                AnswerKind::Code,
                AuthenticationType::ChipOtp,
                "Code from your authenticator",
            ),
            MethodId::App => (
                AnswerKind::Approval,
                AuthenticationType::PushOtp,
                "Approval in the bank's app",
            ),
            MethodId::Passkey | MethodId::IdentityProvider | MethodId::External(_) => return None,
        };
        let description = AuthenticationObject {
            authentication_type,
            authentication_version: None,
            authentication_method_id: Text::cut(id.as_str()),
            name: Some(name.to_owned()),
            explanation: None,
        };
        Some(Self {
            id,
            answer,
            description,
        })
    }
}

impl From<ExternalMethod> for OfferedMethod {
    fn from(method: ExternalMethod) -> Self {
        Self {
            description: AuthenticationObject {
                authentication_type: method.authentication_type,
                authentication_version: None,
                authentication_method_id: Text::cut(method.id.as_str()),
                name: Some(method.name),
                explanation: method.explanation,
            },
            id: MethodId::External(method.id),
            answer: method.answer,
        }
    }
}

impl Proof {
    /// The proof of a customer who has approved facts with that digest by an external method.
    fn of_external(
        psu: &PsuId,
        authorisation: &str,
        method: &ExternalMethodId,
        facts_digest: String,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            psu: psu.clone(),
            subject: Subject::authorisation(authorisation),
            method: MethodId::External(method.clone()),
            facts_digest: Some(facts_digest),
            at,
        }
    }
}

impl Sca {
    /// The external methods, if the bank has any.
    pub(crate) fn external(&self) -> Option<&dyn ScaMethods> {
        self.external.as_deref()
    }

    fn some_external(&self) -> Result<&dyn ScaMethods> {
        self.external().ok_or(ScaError::NoSuchMethod)
    }

    /// The methods by which the customer can approve through a TPP, or beside it. Without external
    /// ones if they fail and there are others.
    pub(crate) async fn methods_for_tpp(&self, psu: &PsuId) -> Result<Vec<OfferedMethod>> {
        let built_in = self.methods_of(psu).await?.into_iter();
        let mut methods: Vec<_> = built_in.filter_map(OfferedMethod::built_in).collect();
        match self.external_methods_of(psu).await {
            Ok(external) => methods.extend(external.into_iter().map(OfferedMethod::from)),
            Err(error) if methods.is_empty() => return Err(error),
            Err(error) => tracing::warn!(%error, "external SCA methods not offered"),
        }
        Ok(methods)
    }

    /// That method, if the customer can approve by it through a TPP, or beside it.
    pub(crate) async fn method_for_tpp(
        &self,
        psu: &PsuId,
        id: &MethodId,
    ) -> Result<Option<OfferedMethod>> {
        let methods: Vec<_> = if let MethodId::External(_) = id {
            let methods = self.external_methods_of(psu).await?.into_iter();
            methods.map(OfferedMethod::from).collect()
        } else {
            let methods = self.methods_of(psu).await?.into_iter();
            methods.filter_map(OfferedMethod::built_in).collect()
        };
        Ok(methods.into_iter().find(|method| method.id == *id))
    }

    /// The external method by which the customer approves in the bank's app, if there is one: the
    /// first that is offered.
    pub(crate) async fn first_approval_method(
        &self,
        psu: &PsuId,
    ) -> Result<Option<ExternalMethodId>> {
        let mut methods = self.external_methods_of(psu).await?.into_iter();
        let first = methods.find(|method| method.answer == AnswerKind::Approval);
        Ok(first.map(|method| method.id))
    }

    async fn external_methods_of(&self, psu: &PsuId) -> Result<Vec<ExternalMethod>> {
        match self.external() {
            Some(external) => Ok(external.methods_of(psu).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Starts the challenge of an authorisation.
    pub(crate) async fn start_external(
        &self,
        method: &ExternalMethodId,
        facts: &ApprovalFacts,
        request_id: Uuid,
    ) -> Result<ChallengeData> {
        let request = ChallengeRequest {
            request_id,
            method,
            facts,
        };
        Ok(self.some_external()?.start(&request).await?)
    }

    /// Verifies the code of a challenge. Wrong codes are counted like those of
    /// [`prove`](Self::prove), but only once they are known to be wrong: the service may be slow.
    ///
    /// It goes on if its caller is cancelled: a wrong code is counted in any case.
    pub(crate) async fn prove_external(
        &self,
        psu: &PsuId,
        method: &ExternalMethodId,
        authorisation: &str,
        code: &str,
        tpp: &OrganisationId,
    ) -> Result<Proof> {
        let (sca, psu, method) = (self.clone(), psu.clone(), method.clone());
        let (authorisation, code, tpp) = (authorisation.to_owned(), code.to_owned(), tpp.clone());
        let verifying = async move {
            let source = Source::Tpp(&tpp);
            let attempts = &sca.inner.code_attempts;
            let _turn = attempts.turn(&psu, source).await;
            // Fails while the customer has to wait.
            let attempt = attempts.attempt(&psu, source).await?;
            attempts.forgive(attempt).await?;
            let proven = sca
                .verify_external(&psu, &method, &authorisation, &code)
                .await;
            match &proven {
                Ok(_) => {
                    if let Ok(attempt) = attempts.attempt(&psu, source).await {
                        attempts.succeeded(attempt).await?;
                    }
                }
                Err(ScaError::WrongAnswer { .. }) => {
                    // It stays counted. If it is refused, others were counted meanwhile.
                    let _ = attempts.attempt(&psu, source).await;
                }
                Err(_) => {}
            }
            sca.record("external", source, &proven);
            proven
        };
        let verified = tokio::spawn(verifying).await;
        verified.unwrap_or_else(|error| {
            let error = ScaMethodsError::Failed(Box::new(error));
            Err(ScaError::External(error))
        })
    }

    async fn verify_external(
        &self,
        psu: &PsuId,
        method: &ExternalMethodId,
        authorisation: &str,
        code: &str,
    ) -> Result<Proof> {
        let external = self.some_external()?;
        let state = match external.verify(authorisation, code).await {
            // A right code counts once: the answer to an earlier attempt may have been lost.
            Ok(ChallengeState::Over) => external.poll(authorisation).await?,
            Err(error @ ScaMethodsError::Unavailable(_)) => {
                match external.poll(authorisation).await {
                    Ok(approved @ ChallengeState::Approved { .. }) => approved,
                    _ => return Err(error.into()),
                }
            }
            verified => verified?,
        };
        match state {
            ChallengeState::Approved { facts_digest } => {
                let now = self.inner.calendar.now();
                Ok(Proof::of_external(
                    psu,
                    authorisation,
                    method,
                    facts_digest,
                    now,
                ))
            }
            ChallengeState::Pending { attempts_left } => Err(ScaError::WrongAnswer {
                attempts_left: attempts_left.unwrap_or(1).max(1),
            }),
            ChallengeState::Refused | ChallengeState::Over => {
                Err(ScaError::WrongAnswer { attempts_left: 0 })
            }
        }
    }

    /// The customer's answer to the challenge of an authorisation in the bank's app.
    pub(crate) async fn poll_external(
        &self,
        psu: &PsuId,
        method: &ExternalMethodId,
        authorisation: &str,
    ) -> Result<ExternalAnswer> {
        Ok(match self.some_external()?.poll(authorisation).await? {
            ChallengeState::Pending { .. } => ExternalAnswer::Pending,
            ChallengeState::Approved { facts_digest } => {
                let now = self.inner.calendar.now();
                let proof = Proof::of_external(psu, authorisation, method, facts_digest, now);
                ExternalAnswer::Approved(proof)
            }
            ChallengeState::Refused => ExternalAnswer::Refused,
            ChallengeState::Over => ExternalAnswer::Over,
        })
    }
}
