//! OpenAPI document of this interface, generated from the handlers and the wire types.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use shared_types::xs2a::message::TppMessages;
use shared_types::xs2a::transaction::BookingStatus;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema as _, openapi};

use super::middleware::X_REQUEST_ID;
use super::{accounts, authorisations, card_accounts, consents};
use crate::openapi::to_text;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "XS2A: access to account",
        description = "Account information for TPPs (PSD2), after the Berlin Group's NextGenPSD2 XS2A framework \
                       1.3.16. Reached over mutual TLS with a QWAC (ETSI TS 119 495) that has the role PSP_AI.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        consents::create,
        consents::read,
        consents::delete,
        consents::status,
        authorisations::start,
        authorisations::list,
        authorisations::status,
        authorisations::update,
        accounts::list,
        accounts::details,
        accounts::balances,
        accounts::transactions,
        accounts::transaction,
        card_accounts::list,
        card_accounts::details,
        card_accounts::balances,
        card_accounts::transactions,
    ),
    // Parameters do not bring their schemas along.
    components(schemas(BookingStatus)),
    modifiers(&Common),
)]
struct Document;

/// Errors of the middleware, which every operation can respond with: status and codes.
const COMMON: &[(&str, &str)] = &[
    ("400", "FORMAT_ERROR"),
    (
        "401",
        "CERTIFICATE_INVALID, CERTIFICATE_EXPIRED, CERTIFICATE_REVOKE, CERTIFICATE_BLOCKED, ROLE_INVALID",
    ),
    ("406", "REQUESTED_FORMATS_INVALID: answers are JSON"),
    ("408", "FORMAT_ERROR: the request did not arrive in time"),
    (
        "429",
        "ACCESS_EXCEEDED: more reads than the consent allows, or more requests at a time",
    ),
    ("431", "FORMAT_ERROR: the header fields are too large"),
    ("500", "INTERNAL_SERVER_ERROR"),
    ("503", "SERVICE_UNAVAILABLE: try again later"),
];

/// The form of an `X-Request-ID`: a pattern, because clients that generators make of `format: uuid`
/// fail to write their type for it into header fields.
const REQUEST_ID: &str = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$";

/// Additions to all operations: the form of their `X-Request-ID`, and those of the [`COMMON`]
/// errors that they do not name themselves.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut openapi::OpenApi) {
        for operation in operations(document) {
            for (status, description) in COMMON {
                let responses = &mut operation.responses.responses;
                responses
                    .entry((*status).to_owned())
                    .or_insert_with(|| RefOr::T(refusal(description)));
            }
            for parameter in parameters(operation) {
                if parameter.name.eq_ignore_ascii_case(X_REQUEST_ID.as_str()) {
                    let form = ObjectBuilder::new()
                        .schema_type(Type::String)
                        .pattern(Some(REQUEST_ID));
                    parameter.schema = Some(form.into());
                }
            }
        }
    }
}

fn refusal(description: &str) -> Response {
    let body = openapi::Ref::from_schema_name(TppMessages::name());
    ResponseBuilder::new()
        .description(description)
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(body)).build(),
        )
        .build()
}

fn operations(document: &mut openapi::OpenApi) -> impl Iterator<Item = &mut Operation> {
    document.paths.paths.values_mut().flat_map(|path| {
        [
            &mut path.get,
            &mut path.put,
            &mut path.post,
            &mut path.delete,
        ]
        .into_iter()
        .flatten()
    })
}

fn parameters(operation: &mut Operation) -> impl Iterator<Item = &mut Parameter> {
    let parameters = operation.parameters.iter_mut().flatten();
    parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    })
}

/// The document as served at `/openapi.json`.
#[must_use]
pub fn document() -> String {
    to_text(&Document::openapi())
}

/// Generated once: it costs as much as many other responses together.
static DOCUMENT: LazyLock<String> = LazyLock::new(document);

/// Serves the document.
pub(super) async fn serve() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(DOCUMENT.as_str())
}
