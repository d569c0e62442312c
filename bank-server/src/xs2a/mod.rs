//! XS2A: the HTTP resources of the interface, one file for each.
//!
//! Every request first passes the `middleware`: limits, trust, identity, `X-Request-ID`. The
//! resources themselves are thin: they parse the request, apply the rules, and write the response
//! in the standard's form.

mod accounts;
mod admission;
mod approach;
mod authentication;
mod authorisation_headers;
mod authorisations;
mod body;
mod card_accounts;
mod consent_access;
mod consents;
mod error;
mod listing;
mod middleware;
mod next_steps;
mod openapi;
mod pages;
mod parameters;
mod redirect;
mod report;
mod traced;

use std::sync::Arc;

use actix_web::web;
use shared_types::environment::Randomness;
use shared_types::xs2a::authorisation::ScaApproach;

pub use self::openapi::document as openapi_document;
use crate::calendar::Calendar;
use crate::config::{ConsentConfig, LimitsConfig, ScaConfig};
use crate::consent::authorisation::Authorisations;
use crate::core_banking::CoreBanking;
use crate::http;
use crate::store::consents::Consents;
use crate::store::reports::Reports;
use crate::store::usage::Usage;
use crate::store::vault::Vault;
use crate::telemetry::request_metrics::RequestMetrics;
use crate::transport::certificate_header::CertificateHeader;

/// Shared state of all resources.
pub(crate) struct Xs2a {
    pub(crate) consents: Consents,
    pub(crate) usage: Usage,
    pub(crate) reports: Reports,
    pub(crate) rules: ConsentConfig,
    pub(crate) authorisations: Authorisations,
    pub(crate) approving: Approving,
    pub(crate) core: Arc<dyn CoreBanking>,
    pub(crate) calendar: Calendar,
    pub(crate) vault: Vault,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) limits: LimitsConfig,
    pub(crate) request_metrics: RequestMetrics,
    /// The header in which gateways forward certificates, if there is a listener for them.
    pub(crate) certificate_header: Option<CertificateHeader>,
}

/// SCA settings that concern TPPs.
#[derive(Debug, Clone)]
pub(crate) struct Approving {
    /// The approaches that the bank offers, its preferred one first.
    pub(crate) offered: Vec<ScaApproach>,
    /// Origin of the bank's own pages.
    pub(crate) origin: Option<String>,
    /// Whether customers approve decoupled requests on a page of the bank server.
    pub(crate) has_app_page: bool,
    /// The configured rules.
    pub(crate) rules: ScaConfig,
}

/// Registers the resources; all of them need an AISP's certificate, which the middleware checks.
pub(crate) fn configure(app: &mut web::ServiceConfig) {
    let resource = |path| http::resource(path).refuse(error::wrong_method);
    // Routes are matched in this order, so the most frequent come first.
    app.service(resource("/v1/accounts").get(accounts::list))
        .service(resource("/v1/accounts/{account_id}/transactions").get(accounts::transactions))
        .service(resource("/v1/accounts/{account_id}/balances").get(accounts::balances))
        .service(resource("/v1/accounts/{account_id}").get(accounts::details))
        .service(
            resource("/v1/accounts/{account_id}/transactions/{transaction_id}")
                .get(accounts::transaction),
        )
        .service(resource("/v1/card-accounts").get(card_accounts::list))
        .service(resource("/v1/card-accounts/{account_id}").get(card_accounts::details))
        .service(resource("/v1/card-accounts/{account_id}/balances").get(card_accounts::balances))
        .service(
            resource("/v1/card-accounts/{account_id}/transactions")
                .get(card_accounts::transactions),
        )
        .service(resource("/v1/consents/{consent_id}/status").get(consents::status))
        .service(resource("/openapi.json").get(openapi::serve))
        .service(resource("/v1/consents").post(consents::create))
        .service(
            resource("/v1/consents/{consent_id}")
                .get(consents::read)
                .delete(consents::delete),
        )
        .service(
            resource("/v1/consents/{consent_id}/authorisations")
                .post(authorisations::start)
                .get(authorisations::list),
        )
        .service(
            resource("/v1/consents/{consent_id}/authorisations/{authorisation_id}")
                .get(authorisations::status)
                .put(authorisations::update),
        );
    app.default_service(web::to(error::no_such_path));
}

pub(crate) use self::middleware::middleware;
