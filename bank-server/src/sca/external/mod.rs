//! External SCA methods: those of the bank's own systems, such as codes by SMS and approvals in its
//! app.
//!
//! A bank developer implements [`ScaMethods`] and hands it to [`crate::BankServer`], or puts an
//! HTTP API in front of the bank's systems ([`http`]).

mod challenges;
pub mod http;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared_types::xs2a::authorisation::{AuthenticationType, ChallengeData};
use utoipa::ToSchema;
use uuid::Uuid;

pub(crate) use self::challenges::ExternalAnswer;
pub use self::challenges::OfferedMethod;
use super::ScaError;
use crate::domain::{ApprovalFacts, ExternalMethodId, PsuId};

/// SCA methods of the bank's own systems, for approvals through a TPP (embedded approach) and
/// beside it (decoupled approach).
///
/// A challenge has the id of its authorisation: each authorisation has one challenge, and a new one
/// replaces it.
#[async_trait]
pub trait ScaMethods: Send + Sync {
    /// Whether the systems can answer.
    async fn ready(&self) -> Result<(), ScaMethodsError>;

    /// The methods that a customer can use, in the order in which they are offered; none for an
    /// unknown customer.
    async fn methods_of(&self, psu: &PsuId) -> Result<Vec<ExternalMethod>, ScaMethodsError>;

    /// Starts a challenge: sends a code, or shows the facts in the bank's app.
    ///
    /// With the challenge's last request id, it has no second effect and returns the same. Another
    /// request id replaces the challenge.
    async fn start(&self, request: &ChallengeRequest<'_>)
    -> Result<ChallengeData, ScaMethodsError>;

    /// The state of a challenge. The bank server polls those of [`AnswerKind::Approval`] every
    /// second.
    async fn poll(&self, challenge_id: &str) -> Result<ChallengeState, ScaMethodsError>;

    /// Verifies a code that the customer has entered. After a right one the challenge stays
    /// [approved](ChallengeState::Approved); after a few wrong ones it is
    /// [over](ChallengeState::Over).
    async fn verify(
        &self,
        challenge_id: &str,
        code: &str,
    ) -> Result<ChallengeState, ScaMethodsError>;
}

/// A method that a customer can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalMethod {
    /// Its id, unique for the customer.
    pub id: ExternalMethodId,
    /// Its kind in the standard's terms.
    pub authentication_type: AuthenticationType,
    /// Its name for the customer, such as "SMS to +49 ··· 42".
    pub name: String,
    /// Explanation for the customer.
    pub explanation: Option<String>,
    /// Kind of the answer.
    pub answer: AnswerKind,
}

/// Kind of the customer's answer to a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AnswerKind {
    /// A code, which the customer enters at the TPP: one element, beside the password.
    Code,
    /// An approval in the bank's app, which authenticates the customer with both elements.
    Approval,
}

/// Request for a challenge.
#[derive(Debug, Clone, Copy)]
pub struct ChallengeRequest<'a> {
    /// Id of the request.
    pub request_id: Uuid,
    /// The method.
    pub method: &'a ExternalMethodId,
    /// What the customer approves. The id of its authorisation is that of the challenge.
    pub facts: &'a ApprovalFacts,
}

/// State of a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChallengeState {
    /// The customer has not answered yet, or with a wrong code.
    Pending {
        /// Codes that can still be tried, if that is known.
        attempts_left: Option<u32>,
    },
    /// The customer has entered the right code, or has approved.
    Approved {
        /// [Digest](ApprovalFacts::digest) of the facts that were approved.
        facts_digest: String,
    },
    /// The customer has refused.
    Refused,
    /// It has expired, its attempts are used up, or there is none.
    Over,
}

/// Error of the bank's systems.
#[derive(Debug, thiserror::Error)]
pub enum ScaMethodsError {
    /// The customer does not have this method.
    #[error("the customer does not have this method")]
    NoSuchMethod,
    /// Too many challenges were sent to the customer.
    #[error(
        "too many codes or requests were sent to the customer; the next is possible at {until}"
    )]
    TooMany {
        /// When the next one is possible.
        until: DateTime<Utc>,
    },
    /// Temporary: a later attempt can succeed.
    #[error("SCA methods service unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A fault of the systems.
    #[error("SCA methods service failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<ScaMethodsError> for ScaError {
    fn from(error: ScaMethodsError) -> Self {
        match error {
            ScaMethodsError::NoSuchMethod => Self::NoSuchMethod,
            ScaMethodsError::TooMany { until } => Self::TooManyChallenges { until },
            error => Self::External(error),
        }
    }
}
