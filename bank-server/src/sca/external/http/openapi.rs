//! OpenAPI document of the SCA methods API, generated from the wire types.

use utoipa::OpenApi;

use super::wire;
use crate::bank_service::Ready;
use crate::openapi::{SharedAnswers, to_text};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "SCA methods API",
        version = "1.0",
        description = "Contract between the bank server, which is the client, and a bank's own SCA methods. \
                       docs/sca-methods-api.md explains it.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(ready, customer_methods, start_challenge, challenge_state, verify_code),
    modifiers(&SharedAnswers),
)]
struct Document;

/// The document as JSON.
#[must_use]
pub fn sca_methods_api() -> String {
    to_text(&Document::openapi())
}

/// Whether the service can answer.
#[utoipa::path(get, path = "/v1/ready", responses((status = 200, description = "The answer", body = Ready)))]
#[expect(dead_code, reason = "carries the description of the operation")]
fn ready() {}

/// The methods that a customer can use.
#[utoipa::path(
    post,
    path = "/v1/customer-methods",
    request_body = wire::CustomerMethodsQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::CustomerMethods)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn customer_methods() {}

/// Starts a challenge: sends a code, or shows the facts in the bank's app.
#[utoipa::path(
    post,
    path = "/v1/start-challenge",
    request_body = wire::StartQuery<'_>,
    responses(
        (status = 200, description = "The answer", body = wire::Started),
        (status = 404, description = "The customer does not have this method"),
        (status = 429, description = "Too many codes or requests were sent to the customer. With Retry-After"),
    ),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn start_challenge() {}

/// The state of a challenge.
#[utoipa::path(
    post,
    path = "/v1/challenge-state",
    request_body = wire::StateQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::State)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn challenge_state() {}

/// Verifies a code. Never repeated by the bank server.
#[utoipa::path(
    post,
    path = "/v1/verify-code",
    request_body = wire::CodeQuery<'_>,
    responses((status = 200, description = "The answer", body = wire::State)),
)]
#[expect(dead_code, reason = "carries the description of the operation")]
fn verify_code() {}
