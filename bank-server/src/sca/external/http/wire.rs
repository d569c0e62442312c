//! Requests and answers of the SCA methods API (`docs/sca-methods-api.md`).

use serde::{Deserialize, Serialize};
use shared_types::xs2a::authorisation::{AuthenticationType, ChallengeData};
use utoipa::ToSchema;
use uuid::Uuid;

use super::super::AnswerKind;
use crate::domain::ApprovalFacts;

/// Query for the methods of a customer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerMethodsQuery<'a> {
    /// The customer's id.
    #[schema(example = "clara.holm")]
    pub(super) customer_id: &'a str,
}

/// The methods of a customer.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerMethods {
    /// The id of the query.
    pub(super) customer_id: String,
    /// In the order in which they are offered; none for an unknown customer.
    #[schema(max_items = 20)]
    pub(super) methods: Vec<CustomerMethod>,
}

/// A method that a customer can use.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CustomerMethod {
    /// Its id, unique for the customer.
    #[schema(pattern = "^[A-Za-z0-9._~-]{1,35}$", example = "sms-1")]
    pub(super) method_id: String,
    /// `authenticationType` of `NextGenPSD2`.
    #[schema(value_type = String, example = "SMS_OTP")]
    pub(super) authentication_type: AuthenticationType,
    /// Its name for the customer.
    #[schema(max_length = 140, example = "SMS to +49 ··· 42")]
    pub(super) name: String,
    /// Explanation for the customer.
    #[schema(max_length = 500)]
    pub(super) explanation: Option<String>,
    /// Kind of the answer.
    pub(super) answer: AnswerKind,
}

/// Request for a challenge.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartQuery<'a> {
    /// Id of the challenge: that of the authorisation.
    pub(super) challenge_id: &'a str,
    /// Repeated, it has no second effect; another one replaces the challenge.
    #[schema(value_type = String, format = "uuid")]
    pub(super) request_id: Uuid,
    /// The method.
    pub(super) method_id: &'a str,
    /// What the customer approves.
    pub(super) facts: &'a ApprovalFacts,
    /// Digest of `facts`, to be returned with the approval.
    #[schema(min_length = 64, max_length = 64)]
    pub(super) facts_digest: &'a str,
}

/// A challenge that was started.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Started {
    /// The id of the query.
    pub(super) challenge_id: String,
    /// For a code: `challengeData` of `NextGenPSD2`, which the TPP shows to the customer.
    pub(super) challenge_data: Option<ChallengeData>,
}

/// Query for the state of a challenge.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct StateQuery<'a> {
    /// The challenge.
    pub(super) challenge_id: &'a str,
}

/// A code to verify.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CodeQuery<'a> {
    /// The challenge.
    pub(super) challenge_id: &'a str,
    /// What the customer has entered.
    #[schema(max_length = 512)]
    pub(super) code: &'a str,
}

/// State of a challenge.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChallengeState)]
pub(super) struct State {
    /// The id of the query.
    pub(super) challenge_id: String,
    /// The state.
    pub(super) status: Status,
    /// While it is pending: how many codes can still be tried.
    pub(super) attempts_left: Option<u32>,
    /// If it is approved: the digest that came with the facts that the customer has approved.
    pub(super) facts_digest: Option<String>,
}

/// Status of a challenge.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChallengeStatus)]
pub(super) enum Status {
    /// The customer has not answered yet, or with a wrong code.
    Pending,
    /// The customer has entered the right code, or has approved.
    Approved,
    /// The customer has refused.
    Refused,
    /// It has expired, its attempts are used up, or there is none.
    Over,
}
