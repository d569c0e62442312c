//! SCA methods over HTTP: the client side of `docs/sca-methods-api.md`.

mod openapi;
mod wire;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use shared_types::environment::{Clock, Randomness};
use shared_types::xs2a::authorisation::ChallengeData;

pub use self::openapi::sca_methods_api;
use super::{ChallengeRequest, ChallengeState, ExternalMethod, ScaMethods, ScaMethodsError};
use crate::bank_service::{
    BankService, Breach, Operation, ServiceError, ServiceKind, matches_query,
};
use crate::config::ScaMethodsConfig;
use crate::config_error::ConfigError;
use crate::domain::{ExternalMethodId, PsuId};

/// Maximum number of methods of one customer.
const MAX_METHODS: usize = 20;

/// Maximum length of a method's name, in characters.
const MAX_NAME_CHARS: usize = 140;

/// Maximum length of a method's explanation, in characters.
const MAX_EXPLANATION_CHARS: usize = 500;

/// Wait after a 429 without `Retry-After`.
const DEFAULT_WAIT: TimeDelta = TimeDelta::seconds(30);

/// Longest wait that `Retry-After` can state.
const MAX_WAIT: TimeDelta = TimeDelta::hours(24);

const CUSTOMER_METHODS: Operation = Operation::object("customer-methods");
const START: Operation = Operation::object("start-challenge");
const STATE: Operation = Operation::object("challenge-state");
const VERIFY: Operation = Operation::object("verify-code");

const KIND: ServiceKind = ServiceKind {
    name: "SCA methods service",
    metric: "sca_methods_queries",
    help: "Queries to the SCA methods of the bank's own, by operation and outcome",
    // A second attempt counts as one.
    not_repeated: &[VERIFY.name],
};

/// SCA methods over HTTP.
pub struct HttpScaMethods {
    service: Arc<BankService>,
    clock: Arc<dyn Clock>,
}

impl HttpScaMethods {
    /// Reads certificate, key and anchors; no connection is opened. Returns all errors.
    pub fn open(
        config: &ScaMethodsConfig,
        clock: Arc<dyn Clock>,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self, Vec<ConfigError>> {
        let service = BankService::open(&KIND, &config.service(), Arc::clone(&clock), randomness)?;
        Ok(Self {
            service: Arc::new(service),
            clock,
        })
    }

    /// The service behind it.
    pub(crate) fn service(&self) -> Arc<BankService> {
        Arc::clone(&self.service)
    }

    fn conform<T>(
        &self,
        operation: Operation,
        validated: Result<T, Breach>,
    ) -> Result<T, ScaMethodsError> {
        Ok(self.service.conform(operation, validated)?)
    }
}

impl From<ServiceError> for ScaMethodsError {
    fn from(error: ServiceError) -> Self {
        if error.is_transient() {
            Self::Unavailable(Box::new(error))
        } else {
            Self::Failed(Box::new(error))
        }
    }
}

#[async_trait]
impl ScaMethods for HttpScaMethods {
    async fn ready(&self) -> Result<(), ScaMethodsError> {
        Ok(self.service.ready().await?)
    }

    async fn methods_of(&self, psu: &PsuId) -> Result<Vec<ExternalMethod>, ScaMethodsError> {
        let PsuId(customer_id) = psu;
        let query = wire::CustomerMethodsQuery { customer_id };
        let answer: wire::CustomerMethods = self.service.query(CUSTOMER_METHODS, &query).await?;
        let validated = matches_query("customerId", &answer.customer_id, customer_id)
            .and_then(|()| methods(answer.methods));
        self.conform(CUSTOMER_METHODS, validated)
    }

    async fn start(
        &self,
        request: &ChallengeRequest<'_>,
    ) -> Result<ChallengeData, ScaMethodsError> {
        let facts = request.facts;
        let query = wire::StartQuery {
            challenge_id: &facts.authorisation_id,
            request_id: request.request_id,
            method_id: request.method.as_str(),
            facts,
            facts_digest: &facts.digest(),
        };
        let answer = self.service.query(START, &query).await;
        let answer: wire::Started = answer.map_err(|error| match error {
            ServiceError::Status { status: 404, .. } => ScaMethodsError::NoSuchMethod,
            ServiceError::Status {
                status: 429,
                retry_after,
                ..
            } => {
                let wait = TimeDelta::from_std(retry_after).unwrap_or(MAX_WAIT);
                let wait = if wait.is_zero() { DEFAULT_WAIT } else { wait };
                let until = self.clock.now() + wait.min(MAX_WAIT);
                ScaMethodsError::TooMany { until }
            }
            error => error.into(),
        })?;
        let validated = matches_query("challengeId", &*answer.challenge_id, query.challenge_id);
        self.conform(START, validated)?;
        Ok(answer.challenge_data.unwrap_or_default())
    }

    async fn poll(&self, challenge_id: &str) -> Result<ChallengeState, ScaMethodsError> {
        let query = wire::StateQuery { challenge_id };
        let answer = self.service.query(STATE, &query).await?;
        self.conform(STATE, state(answer, challenge_id))
    }

    async fn verify(
        &self,
        challenge_id: &str,
        code: &str,
    ) -> Result<ChallengeState, ScaMethodsError> {
        let query = wire::CodeQuery { challenge_id, code };
        let answer = self.service.query(VERIFY, &query).await?;
        self.conform(VERIFY, state(answer, challenge_id))
    }
}

fn methods(answered: Vec<wire::CustomerMethod>) -> Result<Vec<ExternalMethod>, Breach> {
    if answered.len() > MAX_METHODS {
        return Err(format!("methods has more than {MAX_METHODS} elements"));
    }
    let mut ids = HashSet::with_capacity(answered.len());
    let mut methods = Vec::with_capacity(answered.len());
    for (index, method) in answered.into_iter().enumerate() {
        let at = |breach: &str| format!("methods[{index}].{breach}");
        let id = ExternalMethodId::new(method.method_id).map_err(|_| {
            at("methodId: is not 1 to 35 of A-Z a-z 0-9 . _ ~ -, or a name of the bank server")
        })?;
        if !ids.insert(id.clone()) {
            return Err(at("methodId: comes twice"));
        }
        if is_too_long(&method.name, MAX_NAME_CHARS) {
            return Err(at("name: is too long"));
        }
        let explanation = method.explanation.as_deref().unwrap_or_default();
        if is_too_long(explanation, MAX_EXPLANATION_CHARS) {
            return Err(at("explanation: is too long"));
        }
        methods.push(ExternalMethod {
            id,
            authentication_type: method.authentication_type,
            name: method.name,
            explanation: method.explanation,
            answer: method.answer,
        });
    }
    Ok(methods)
}

fn is_too_long(text: &str, max: usize) -> bool {
    text.chars().nth(max).is_some()
}

fn state(answered: wire::State, challenge_id: &str) -> Result<ChallengeState, Breach> {
    matches_query("challengeId", &*answered.challenge_id, challenge_id)?;
    Ok(match answered.status {
        wire::Status::Pending => ChallengeState::Pending {
            attempts_left: answered.attempts_left,
        },
        wire::Status::Approved => ChallengeState::Approved {
            facts_digest: answered
                .facts_digest
                .ok_or("factsDigest: is missing in an approval")?,
        },
        wire::Status::Refused => ChallengeState::Refused,
        wire::Status::Over => ChallengeState::Over,
    })
}
