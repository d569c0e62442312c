//! Disconnecting another bank.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;

use super::super::OnlineBanking;
use super::super::csrf::Purpose;
use super::super::forms::{Fields, Form};
use super::super::layout::{Page, Section, token_field};
use super::super::problem::Problem;
use super::super::session::Customer;
use super::{find, to_all, told};

/// Whether she is sure.
pub(super) async fn confirm(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.other_banks;
    let (connection, bank) = find(&state, &customer, &id).await?;
    let fill = |text: &str| texts.fill(text, &[("other", &bank.name)]);
    let content = html! {
        div.panel.narrow {
            p.lead { (fill(words.end_lead)) }
            div.actions {
                form method="post" action={ "/other-banks/disconnect/" (connection.id) } {
                    (token_field(&customer.visit, &Purpose::of("disconnect", &connection.id)))
                    button.danger type="submit" { (words.end_button) }
                }
                a.button.quiet href=(super::START) { (words.cancel) }
            }
        }
    };
    Ok(Page::new(fill(words.end), content)
        .section(Section::OtherBanks)
        .respond(&state, &customer.visit))
}

/// Deletes what was read, and gives the consent up at the other bank.
pub(super) async fn disconnect(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let visit = &customer.visit;
    let (purpose, none) = (Purpose::of("disconnect", &id), Fields::single(&[]));
    Form::read(visit, &purpose, none, request.headers(), body).await?;
    let (connection, bank) = find(&state, &customer, &id).await?;
    let words = &state.texts.other_banks;
    let text = if state.other_banks.disconnect(&connection).await? {
        &words.ended
    } else {
        &words.ended_untold
    };
    let values = [("other", bank.name.as_str())];
    Ok(told(
        &state,
        visit,
        StatusCode::OK,
        text,
        &values,
        &to_all(&state),
    ))
}
