//! Return from another bank after an approval, and the form that checks its status again.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use maud::{Markup, html};

use super::super::PageResult;
use super::super::csrf::Purpose;
use super::super::destination::code;
use super::super::forms::FormBody;
use super::super::layout::token_field;
use super::super::problem::problem;
use super::super::session::{Customer, Visit};
use super::service::Outcome;
use super::{bank, find, message, no_such_connection, to_all, to_connect, wording};
use crate::store::connections::{Connection, ConnectionStatus, ReturnOutcome};

/// Return of the customer. The address works once, for this customer alone; the other bank decides
/// the outcome.
pub(super) async fn page(
    customer: Customer,
    returned: web::Path<String>,
    request: HttpRequest,
) -> PageResult {
    let state = &customer.state;
    match state
        .other_banks
        .come_back(&customer.psu, &returned)
        .await?
    {
        ReturnOutcome::First(connection) => {
            settle(&customer, &connection, request.query_string()).await
        }
        ReturnOutcome::Repeated => {
            let text = &state.texts.other_banks.came_again;
            Ok(message(
                &customer,
                StatusCode::OK,
                text,
                &[],
                &to_all(&customer),
            ))
        }
        // Answered alike, so that the other customer is not revealed.
        ReturnOutcome::Unknown | ReturnOutcome::Foreign(_) => {
            Err(problem!(NOT_FOUND, other_banks.came_unknown, OtherBanks))
        }
    }
}

/// Checks again whether the consent is approved.
pub(super) async fn check(
    customer: Customer,
    id: web::Path<String>,
    request: HttpRequest,
    body: FormBody,
) -> PageResult {
    body.read_empty(Purpose::of("check", &id)).await?;
    let (connection, _) = find(&customer, &id).await?;
    // Without a return, another person may have been sent to the other bank.
    if connection.status != ConnectionStatus::Requested || connection.returned.is_none() {
        return Err(no_such_connection());
    }
    settle(&customer, &connection, request.query_string()).await
}

async fn settle(visit: &Visit, connection: &Connection, query: &str) -> PageResult {
    let state = &visit.state;
    let bank = bank(state, connection.bank.as_str())?;
    let code = code(query);
    let outcome = state
        .other_banks
        .settle(bank, connection, code, visit.address());
    let outcome = outcome.await?;
    let words = &state.texts.other_banks;
    let begin = to_connect(bank, words.try_again);
    let (status, text, actions) = match outcome {
        Outcome::Connected => (StatusCode::OK, &words.came_connected, to_all(visit)),
        Outcome::Refused => (StatusCode::OK, &words.came_refused, begin),
        Outcome::Ended => (StatusCode::OK, &words.came_ended, begin),
        Outcome::Waiting => {
            let actions = html! { (check_form(visit, &connection.id, code)) (begin) };
            (StatusCode::OK, &words.came_waiting, actions)
        }
        Outcome::Unclear(connection_error) => {
            let actions = html! {
                p.hint { (wording::connection_error(state.texts, connection_error, &bank.name)) }
                (check_form(visit, &connection.id, code))
            };
            (StatusCode::BAD_GATEWAY, &words.came_unclear, actions)
        }
    };
    let values = [("other", bank.name.as_str())];
    Ok(message(visit, status, text, &values, &actions))
}

/// Form that checks again, with the code that the other bank may not have received yet.
pub(super) fn check_form(visit: &Visit, id: &str, code: Option<&str>) -> Markup {
    let code = code.map(|code| format!("?code={code}"));
    html! {
        form method="post" action={ "/other-banks/check/" (id) (code.unwrap_or_default()) } {
            (token_field(visit, &Purpose::of("check", id)))
            button type="submit" { (visit.state.texts.other_banks.check) }
        }
    }
}
