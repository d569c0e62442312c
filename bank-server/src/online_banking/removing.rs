//! Removal of a passkey or of a device for approvals, with a page that asks for confirmation.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;

use super::OnlineBanking;
use super::csrf::Purpose;
use super::forms::{Fields, Form};
use super::layout::{Page, Section, token_field};
use super::message::{Message, Next};
use super::passkeys::stored;
use super::problem::Problem;
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

/// What the page asks.
struct Question<'a> {
    title: String,
    lead: &'a str,
    /// The page, to which its form goes too.
    path: String,
    purpose: Purpose,
}

fn ask(state: &OnlineBanking, customer: &Customer, question: &Question<'_>) -> HttpResponse {
    let words = &state.texts.passkeys;
    let content = html! {
        div.panel.narrow {
            p.lead { (question.lead) }
            div.actions {
                form method="post" action=(question.path) {
                    (token_field(&customer.visit, &question.purpose))
                    button.danger type="submit" { (words.remove_now) }
                }
                a.button.quiet href="/passkeys" { (words.keep) }
            }
        }
    };
    Page::new(question.title.as_str(), content)
        .section(Section::Passkeys)
        .respond(state, &customer.visit)
}

/// There is none of that name among hers: it was removed before, or never was there.
fn gone() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        |texts| &texts.passkeys.gone,
        Next::Passkeys,
    )
}

async fn passkey(
    state: &OnlineBanking,
    customer: &Customer,
    id: &str,
) -> Result<NamedPasskey, Problem> {
    let passkeys = stored(state)?.of(&customer.psu).await?;
    passkeys
        .into_iter()
        .find(|passkey| passkey.id == id)
        .ok_or_else(gone)
}

async fn confirm_passkey(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let words = &state.texts.passkeys;
    let passkey = passkey(&state, &customer, &id).await?;
    let name = [("name", passkey.name.as_str())];
    let question = Question {
        title: state.texts.fill(words.remove_title, &name),
        lead: words.remove_lead,
        path: format!("/passkeys/{}/remove", passkey.id),
        purpose: Purpose::of("remove-passkey", &passkey.id),
    };
    Ok(ask(&state, &customer, &question))
}

async fn remove_passkey(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::of("remove-passkey", &id);
    let none = Fields::single(&[]);
    Form::read(&customer.visit, &purpose, none, request.headers(), body).await?;
    let passkey = passkey(&state, &customer, &id).await?;
    stored(&state)?.remove(&customer.psu, &passkey.id).await?;
    let done = Message::done(|texts| &texts.passkeys.removed, Next::Passkeys);
    Ok(done.respond(&state, &customer.visit))
}

async fn phone(state: &OnlineBanking, customer: &Customer, id: &str) -> Result<Phone, Problem> {
    let phones = state.sca.phones().of(&customer.psu).await?;
    phones
        .into_iter()
        .find(|phone| phone.id == id)
        .ok_or_else(gone)
}

async fn confirm_phone(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let words = &state.texts.phone;
    let phone = phone(&state, &customer, &id).await?;
    let since = state.texts.time(&state.calendar.local(phone.enrolled));
    let question = Question {
        title: state.texts.fill(words.remove_title, &[("time", &since)]),
        lead: words.remove_lead,
        path: format!("/phones/{}/remove", phone.id),
        purpose: Purpose::of("remove-this-phone", &phone.id),
    };
    Ok(ask(&state, &customer, &question))
}

async fn remove_phone(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::of("remove-this-phone", &id);
    let none = Fields::single(&[]);
    Form::read(&customer.visit, &purpose, none, request.headers(), body).await?;
    let phone = phone(&state, &customer, &id).await?;
    state.sca.phones().remove(&customer.psu, &phone.id).await?;
    let done = Message::done(|texts| &texts.phone.removed_one, Next::Passkeys);
    Ok(done.respond(&state, &customer.visit))
}
