//! Accounts that the customer holds at other banks, and the pages that connect them.

mod connect;
mod connection_error;
mod disconnect;
mod fetching;
mod freshness;
mod handles;
mod merging;
mod overview;
mod returning;
mod service;
mod snapshot;
mod wording;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use maud::{Markup, html};
use shared_types::pki::eidas::OrganisationId;
use url::form_urlencoded::byte_serialize;

use self::handles::OtherBank;
pub(crate) use self::service::{OtherBanks, OtherBanksParts};
use super::OnlineBanking;
use super::layout::{Page, Section};
use super::problem::{Problem, problem};
use super::session::{Customer, Visit};
use super::texts::Explained;
use crate::http::resource;
use crate::store::connections::Connection;

/// Path of the first page of this section.
const START: &str = "/other-banks";

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource(START).get(overview::page))
        .service(resource("/other-banks/refresh").post(overview::refresh))
        .service(resource("/other-banks/connect").get(connect::pick))
        .service(
            resource("/other-banks/connect/{bank}")
                .get(connect::explain)
                .post(connect::request),
        )
        .service(resource("/other-banks/go/{connection}").get(connect::go))
        .service(resource("/other-banks/return/{state}").get(returning::page))
        .service(resource("/other-banks/check/{connection}").post(returning::check))
        .service(
            resource("/other-banks/disconnect/{connection}")
                .get(disconnect::confirm)
                .post(disconnect::disconnect),
        );
}

/// Reads the connections that are due while their customers are away. Cost, if none is: one query.
pub(crate) async fn read_what_is_due(state: &OnlineBanking) {
    if let Err(error) = state.other_banks.refresh_unattended().await {
        tracing::error!(%error, "accounts at other banks not refreshed");
    }
}

/// Message page about a bank, with actions.
fn message(
    visit: &Visit,
    status: StatusCode,
    text: &Explained,
    values: &[(&str, &str)],
    actions: &Markup,
) -> HttpResponse {
    let fill = |text: &str| visit.state.texts.fill(text, values);
    let content = html! {
        div.panel.narrow data-message=(text.name) {
            p.lead { (fill(text.happened)) }
            p { (fill(text.to_do)) }
            div.actions { (actions) }
        }
    };
    Page::new(fill(text.title), content)
        .status(status)
        .section(Section::OtherBanks)
        .respond(visit)
}

/// Link to all accounts.
fn to_all(visit: &Visit) -> Markup {
    html! { a.button href=(START) { (visit.state.texts.other_banks.see_all) } }
}

/// Path of the page on which a connection begins. An authorisation number has any characters.
fn connect_path(bank: &OrganisationId) -> String {
    let encoded = byte_serialize(bank.as_str().as_bytes()).collect::<String>();
    // In a path, a plus sign is one.
    format!("/other-banks/connect/{}", encoded.replace('+', "%20"))
}

/// Link to that page.
fn to_connect(bank: &OtherBank, text: &str) -> Markup {
    html! { a.button href=(connect_path(&bank.organisation)) { (text) } }
}

/// The customer's connection with that id, and its bank.
async fn find<'a>(
    customer: &'a Customer,
    id: &str,
) -> Result<(Connection, &'a OtherBank), Problem> {
    let other_banks = &customer.state.other_banks;
    let found = other_banks.connections.find(&customer.psu, id).await?;
    let connection = found.ok_or_else(no_such_connection)?;
    let bank = other_banks.bank(connection.bank.as_str());
    Ok((connection, bank.ok_or_else(no_such_connection)?))
}

/// The bank with that organisation id.
fn bank<'a>(state: &'a OnlineBanking, organisation: &str) -> Result<&'a OtherBank, Problem> {
    let bank = state.other_banks.bank(organisation);
    bank.ok_or_else(|| problem!(NOT_FOUND, other_banks.no_such_bank, OtherBanks))
}

/// The connection has ended, or is in another state than the page shows.
fn no_such_connection() -> Problem {
    problem!(NOT_FOUND, other_banks.no_such_connection, OtherBanks)
}

#[cfg(test)]
mod tests {
    use actix_web::{App, test};

    use super::*;

    #[actix_web::test]
    async fn any_authorisation_number_has_an_address() {
        let echo = async |bank: web::Path<String>| bank.into_inner();
        let connect = web::resource("/other-banks/connect/{bank}").get(echo);
        let app = test::init_service(App::new().service(connect)).await;
        for id in [
            "PSDPL-KNF-IP48/2019",
            "PSDMT-MFSA-A 12345",
            "PSDXX-AB-a+b%2F?c#d&e",
            "PSDGR-BOG-\u{391}\u{3a1}.1",
        ] {
            let address = connect_path(&id.parse().unwrap());
            let request = test::TestRequest::get().uri(&address).to_request();
            let answer = test::call_and_read_body(&app, request).await;
            assert_eq!(answer, id.as_bytes(), "{address}");
        }
    }
}
