//! Removal of a passkey or of a device for approvals, with a page that asks for confirmation.

use actix_web::{HttpResponse, web};

use super::PageResult;
use super::csrf::Purpose;
use super::forms::FormBody;
use super::layout::{Confirmation, Section};
use super::message::{Message, Next};
use super::passkeys::stored;
use super::problem::{Problem, problem};
use super::session::Customer;
use crate::http::resource;
use crate::sca::{NamedPasskey, Phone};

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(
        resource("/passkeys/{passkey}/remove")
            .get(confirm_passkey)
            .post(remove_passkey),
    )
    .service(
        resource("/phones/{phone}/remove")
            .get(confirm_phone)
            .post(remove_phone),
    );
}

fn confirm(
    customer: &Customer,
    title: String,
    lead: &str,
    path: String,
    purpose: Purpose,
) -> HttpResponse {
    let words = &customer.state.texts.passkeys;
    customer.confirmation(Confirmation {
        section: Section::Passkeys,
        title,
        lead: lead.to_owned(),
        path,
        purpose,
        button: words.remove_now,
        back: words.keep,
    })
}

/// The customer has none with that id: it was removed before, or never existed.
fn gone() -> Problem {
    problem!(CONFLICT, passkeys.gone, Passkeys)
}

async fn passkey(customer: &Customer, id: &str) -> Result<NamedPasskey, Problem> {
    let mut passkeys = stored(&customer.state)?
        .of(&customer.psu)
        .await?
        .into_iter();
    passkeys.find(|passkey| passkey.id == id).ok_or_else(gone)
}

async fn confirm_passkey(customer: Customer, id: web::Path<String>) -> PageResult {
    let texts = customer.state.texts;
    let words = &texts.passkeys;
    let passkey = passkey(&customer, &id).await?;
    let title = texts.fill(words.remove_title, &[("name", &passkey.name)]);
    let path = format!("/passkeys/{id}/remove");
    let purpose = Purpose::of("remove-passkey", &id);
    Ok(confirm(&customer, title, words.remove_lead, path, purpose))
}

async fn remove_passkey(customer: Customer, id: web::Path<String>, body: FormBody) -> PageResult {
    body.read_empty(Purpose::of("remove-passkey", &id)).await?;
    let passkey = passkey(&customer, &id).await?;
    stored(&customer.state)?
        .remove(&customer.psu, &passkey.id)
        .await?;
    Ok(Message::done(|texts| &texts.passkeys.removed, Next::Passkeys).respond(&customer))
}

async fn phone(customer: &Customer, id: &str) -> Result<Phone, Problem> {
    let mut phones = customer
        .state
        .sca
        .phones()
        .of(&customer.psu)
        .await?
        .into_iter();
    phones.find(|phone| phone.id == id).ok_or_else(gone)
}

async fn confirm_phone(customer: Customer, id: web::Path<String>) -> PageResult {
    let state = &customer.state;
    let words = &state.texts.phone;
    let phone = phone(&customer, &id).await?;
    let since = state.texts.time(&state.calendar.local(phone.enrolled));
    let title = state.texts.fill(words.remove_title, &[("time", &since)]);
    let path = format!("/phones/{id}/remove");
    let purpose = Purpose::of("remove-this-phone", &id);
    Ok(confirm(&customer, title, words.remove_lead, path, purpose))
}

async fn remove_phone(customer: Customer, id: web::Path<String>, body: FormBody) -> PageResult {
    body.read_empty(Purpose::of("remove-this-phone", &id))
        .await?;
    let phone = phone(&customer, &id).await?;
    let phones = customer.state.sca.phones();
    phones.remove(&customer.psu, &phone.id).await?;
    Ok(Message::done(|texts| &texts.phone.removed_one, Next::Passkeys).respond(&customer))
}
