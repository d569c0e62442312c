//! Return from another bank after an approval, and the form that checks its status again.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::super::OnlineBanking;
use super::super::csrf::Purpose;
use super::super::destination::code;
use super::super::forms::{Fields, Form};
use super::super::layout::token_field;
use super::super::problem::Problem;
use super::super::session::{Customer, Visit};
use super::handles::OtherBank;
use super::service::Outcome;
use super::{bank, find, no_such_connection, not_found, to_all, to_connect, told, wording};
use crate::store::connections::{Connection, Return, Status};

/// Return of the customer. The address works once, for this customer alone; the other bank decides the
/// outcome.
pub(super) async fn page(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    brought: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let words = &state.texts.other_banks;
    let visit = &customer.visit;
    match state.other_banks.come_back(&customer.psu, &brought).await? {
        Return::First(connection) => {
            settle(&state, visit, &connection, request.query_string()).await
        }
        Return::Again => {
            let text = &words.came_again;
            let to_all = to_all(&state);
            Ok(told(&state, visit, StatusCode::OK, text, &[], &to_all))
        }
        // Answered alike, so that the other customer is not revealed.
        Return::Unknown | Return::Foreign(_) => {
            Err(not_found(|texts| &texts.other_banks.came_unknown))
        }
    }
}

/// Checks again whether the consent is approved.
pub(super) async fn check(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let visit = &customer.visit;
    let (purpose, none) = (Purpose::of("check", &id), Fields::single(&[]));
    Form::read(visit, &purpose, none, request.headers(), body).await?;
    let (connection, _) = find(&state, &customer, &id).await?;
    // Without a return, another person may have been sent to the other bank.
    if connection.status != Status::Asked || connection.returned.is_none() {
        return Err(no_such_connection());
    }
    settle(&state, visit, &connection, request.query_string()).await
}

async fn settle(
    state: &OnlineBanking,
    visit: &Visit,
    connection: &Connection,
    query: &str,
) -> Result<HttpResponse, Problem> {
    let bank = bank(state, connection.bank.as_str())?;
    let code = code(query);
    let outcome = state
        .other_banks
        .settle(bank, connection, code, visit.address())
        .await?;
    let words = &state.texts.other_banks;
    let begin = to_connect(bank, words.try_again);
    let (status, text, actions) = match outcome {
        Outcome::Connected => (StatusCode::OK, &words.came_connected, to_all(state)),
        Outcome::Refused => (StatusCode::OK, &words.came_refused, begin),
        Outcome::Ended => (StatusCode::OK, &words.came_ended, begin),
        Outcome::Waiting => {
            let actions = html! { (check_form(state, visit, &connection.id, code)) (begin) };
            (StatusCode::OK, &words.came_waiting, actions)
        }
        Outcome::Unclear(connection_error) => {
            let actions = html! {
                p.hint { (wording::connection_error(state.texts, connection_error, &bank.name)) }
                (check_form(state, visit, &connection.id, code))
            };
            (StatusCode::BAD_GATEWAY, &words.came_unclear, actions)
        }
    };
    let values = named(bank);
    Ok(told(state, visit, status, text, &values, &actions))
}

fn named(bank: &OtherBank) -> [(&str, &str); 1] {
    [("other", &bank.name)]
}

/// The button that looks again, with the code that the other bank may not have got yet.
pub(super) fn check_form(
    state: &OnlineBanking,
    visit: &Visit,
    id: &str,
    code: Option<&str>,
) -> Markup {
    let code = code.map(|code| format!("?code={code}"));
    html! {
        form method="post" action={ "/other-banks/check/" (id) (code.unwrap_or_default()) } {
            (token_field(visit, &Purpose::of("check", id)))
            button type="submit" { (state.texts.other_banks.check) }
        }
    }
}
