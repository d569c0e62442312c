//! The document of this interface, generated from the handlers and the wire types.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use utoipa::OpenApi;

use super::{accounts, authorisations, card_accounts, consents};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "XS2A: access to account",
        description = "Account information for TPPs (PSD2), after the Berlin Group's NextGenPSD2 XS2A framework \
                       1.3.12. Reached over mutual TLS with a QWAC (ETSI TS 119 495) that has the role PSP_AI.",
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
    )
)]
struct Document;

/// The document, as it is served at `/openapi.json`.
#[must_use]
pub fn document() -> String {
    // A document of our own types can always be written as JSON.
    let mut text = Document::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Made once: it costs as much as many other answers together.
static DOCUMENT: LazyLock<String> = LazyLock::new(document);

/// Serves the document.
pub(super) async fn serve() -> HttpResponse {
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(DOCUMENT.as_str())
}
