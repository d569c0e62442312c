//! Disconnecting another bank.

use actix_web::http::StatusCode;
use actix_web::web;

use super::super::PageResult;
use super::super::csrf::Purpose;
use super::super::forms::FormBody;
use super::super::layout::{Confirmation, Section};
use super::super::session::Customer;
use super::{find, message, to_all};

/// Page that asks for confirmation.
pub(super) async fn confirm(customer: Customer, id: web::Path<String>) -> PageResult {
    let texts = customer.state.texts;
    let words = &texts.other_banks;
    let (_, bank) = find(&customer, &id).await?;
    let fill = |text: &str| texts.fill(text, &[("other", &bank.name)]);
    Ok(customer.confirmation(Confirmation {
        section: Section::OtherBanks,
        title: fill(words.end),
        lead: fill(words.end_lead),
        path: format!("/other-banks/disconnect/{id}"),
        purpose: Purpose::of("disconnect", &id),
        button: words.end_button,
        back: words.cancel,
    }))
}

/// Deletes the data and ends the consent at the other bank.
pub(super) async fn disconnect(
    customer: Customer,
    id: web::Path<String>,
    body: FormBody,
) -> PageResult {
    body.read_empty(Purpose::of("disconnect", &id)).await?;
    let (connection, bank) = find(&customer, &id).await?;
    let words = &customer.state.texts.other_banks;
    let text = if customer.state.other_banks.disconnect(&connection).await? {
        &words.ended
    } else {
        &words.ended_untold
    };
    let values = [("other", bank.name.as_str())];
    Ok(message(
        &customer,
        StatusCode::OK,
        text,
        &values,
        &to_all(&customer),
    ))
}
