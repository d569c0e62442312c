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
use super::message::Next;
use super::problem::Problem;
use super::session::{Customer, Visit};
use super::texts::{Explained, Texts};
use crate::http::resource;
use crate::store::connections::Connection;

/// The first page of this room.
const START: &str = "/other-banks";

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource(START).get(overview::page))
        .service(resource("/other-banks/refresh").post(overview::refresh))
        .service(resource("/other-banks/connect").get(connect::pick))
        .service(
            resource("/other-banks/connect/{bank}")
                .get(connect::explain)
                .post(connect::ask),
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

/// Reads what customers have connected, and is due, while they are away. Finding that nothing is costs one look-up.
pub(crate) async fn read_what_is_due(state: &OnlineBanking) {
    if let Err(error) = state.other_banks.refresh_unattended().await {
        tracing::error!(%error, "accounts at other banks not refreshed");
    }
}

/// A page that says what happened and what to do, about that bank.
fn told(
    state: &OnlineBanking,
    visit: &Visit,
    status: StatusCode,
    text: &Explained,
    values: &[(&str, &str)],
    actions: &Markup,
) -> HttpResponse {
    let fill = |text: &str| state.texts.fill(text, values);
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
        .respond(state, visit)
}

/// The way to all accounts.
fn to_all(state: &OnlineBanking) -> Markup {
    html! { a.button href=(START) { (state.texts.other_banks.see_all) } }
}

/// The address of the explanation, from which a connection begins. An authorisation number has any characters.
fn connect_path(bank: &OrganisationId) -> String {
    let encoded = byte_serialize(bank.as_str().as_bytes()).collect::<String>();
    // In a path, a plus sign is one.
    format!("/other-banks/connect/{}", encoded.replace('+', "%20"))
}

/// The way there.
fn to_connect(bank: &OtherBank, text: &str) -> Markup {
    html! { a.button href=(connect_path(&bank.organisation)) { (text) } }
}

/// The customer's connection of that id, and its bank.
async fn find<'a>(
    state: &'a OnlineBanking,
    customer: &Customer,
    id: &str,
) -> Result<(Connection, &'a OtherBank), Problem> {
    let other_banks = &state.other_banks;
    let found = other_banks.connections.find(&customer.psu, id).await?;
    found
        .and_then(|connection| {
            let bank = other_banks.bank(connection.bank.as_str())?;
            Some((connection, bank))
        })
        .ok_or_else(no_such_connection)
}

/// The bank that an address names.
fn bank<'a>(state: &'a OnlineBanking, organisation: &str) -> Result<&'a OtherBank, Problem> {
    let bank = state.other_banks.bank(organisation);
    bank.ok_or_else(|| not_found(|texts| &texts.other_banks.no_such_bank))
}

/// The page is about what is there no more.
fn no_such_connection() -> Problem {
    not_found(|texts| &texts.other_banks.no_such_connection)
}

/// There is nothing at that address.
fn not_found(text: fn(&Texts) -> &Explained) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, text, Next::OtherBanks)
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
