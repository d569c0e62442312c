//! Page of the customer's passkeys and devices for approvals, and adding a passkey after a second
//! factor.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::OnlineBanking;
use super::confirming::Act;
use super::csrf::Purpose;
use super::foreign::Foreign;
use super::forms::{Fields, Form};
use super::layout::{Field, Page, Section, token_field};
use super::message::{Message, Next};
use super::phone;
use super::problem::Problem;
use super::request::moment;
use super::second_factor::ANSWER;
use super::session::Customer;
use crate::http::resource;
use crate::sca::{NamedPasskey, Passkeys, PasskeysError, ScaError, Subject};

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/passkeys").get(page))
        .service(resource("/passkeys/add").get(confirm).post(begin))
        .service(resource("/passkeys/new").post(finish));
}

/// The longest name, in letters.
const LONGEST: usize = 50;

pub(super) fn stored(state: &OnlineBanking) -> Result<&Passkeys, Problem> {
    // They are there wherever there are pages.
    state.sca.passkeys().ok_or_else(Problem::failed)
}

async fn page(
    state: web::Data<OnlineBanking>,
    customer: Customer,
) -> Result<HttpResponse, Problem> {
    let words = &state.texts.passkeys;
    let passkeys = stored(&state)?.of(&customer.psu).await?;
    let content = html! {
        p { (words.lead) }
        @if passkeys.is_empty() { p.panel { (words.none) } }
        @else { div.panel { (table(&state, &passkeys)) } }
        p { a.button href="/passkeys/add" { (words.add) } }
        (phone::list(&state, &customer).await?)
    };
    Ok(Page::new(words.title, content)
        .section(Section::Passkeys)
        .respond(&state, &customer.visit))
}

fn table(state: &OnlineBanking, passkeys: &[NamedPasskey]) -> Markup {
    let texts = state.texts;
    let words = &texts.passkeys;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(words.title) {
            table {
                thead {
                    tr {
                        th scope="col" { (words.name) }
                        th scope="col" { (words.added) }
                        th scope="col" { (words.last_used) }
                        th scope="col" { (words.actions) }
                    }
                }
                tbody {
                    @for passkey in passkeys {
                        tr {
                            th scope="row" { (Foreign::new(&passkey.name)) }
                            td { (moment(state, passkey.created)) }
                            td {
                                @match passkey.last_used {
                                    Some(time) => (moment(state, time)),
                                    None => (words.never_used),
                                }
                            }
                            td {
                                a.button.quiet href={ "/passkeys/" (passkey.id) "/remove" }
                                    aria-label=(texts.fill(words.remove_of, &[("name", &passkey.name)])) {
                                    (words.remove)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adding one is begun with a second factor.
const ADDING: Act = Act {
    name: "add-passkey",
    path: "/passkeys/add",
    title: |texts| texts.passkeys.add_title,
    lead: |texts| texts.passkeys.confirm_lead,
    go_on: |texts| texts.passkeys.go_on,
};

/// What the new passkey is made for.
fn making(customer: &Customer) -> Subject {
    Subject::act(&customer.session, "new-passkey")
}

async fn confirm(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    ADDING.page(&state, &customer, request.query_string()).await
}

async fn begin(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    match ADDING
        .check(&state, &customer, request.headers(), body)
        .await?
    {
        Some(again) => Ok(again),
        None => new_page(&state, &customer).await,
    }
}

async fn new_page(state: &OnlineBanking, customer: &Customer) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.passkeys;
    let options = stored(state)?.begin(&customer.psu, &making(customer)).await;
    let options = options.map_err(|error| Problem::of_sca(state, error))?;
    let content = html! {
        div.panel.narrow {
            p { (words.new_lead) }
            form method="post" action="/passkeys/new" data-passkey=(options) data-act="make" {
                (token_field(&customer.visit, &Purpose::new("new-passkey")))
                input type="hidden" name=(ANSWER) value="";
                (Field {
                    name: "name",
                    label: words.name,
                    hint: Some(words.name_hint),
                    kind: "text",
                    value: words.name_default,
                    autocomplete: "off",
                    digits: false,
                    longest: LONGEST,
                    required: true,
                    error: None,
                }.render())
                p.error data-failed hidden role="alert" { (words.not_added.happened) }
                p.notice.warning data-no-script { (texts.second_factor.passkey_needs_script) }
                button type="submit" data-passkey-button hidden { (words.save) }
            }
        }
    };
    Ok(Page::new(words.add_title, content)
        .section(Section::Passkeys)
        .with_script()
        .respond(state, &customer.visit))
}

async fn finish(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::new("new-passkey");
    let fields = Fields::single(&["name", ANSWER]);
    let form = Form::read(&customer.visit, &purpose, fields, request.headers(), body).await?;
    let name = form.field("name")?.trim();
    let answer = form.field(ANSWER)?;
    if name.is_empty() || name.chars().count() > LONGEST {
        // The browser keeps to both; what it was asked, it has answered. So this begins anew.
        return Err(not_added());
    }
    let finished = stored(&state)?
        .finish(
            &customer.psu,
            &making(&customer),
            customer.credentials,
            name,
            answer,
        )
        .await;
    match finished {
        Ok(()) => {
            let done = Message::done(|texts| &texts.passkeys.done, Next::Passkeys);
            Ok(done.respond(&state, &customer.visit))
        }
        Err(ScaError::Passkeys(PasskeysError::Answer) | ScaError::NoChallenge) => Err(not_added()),
        Err(error) => Err(Problem::of_sca(&state, error)),
    }
}

fn not_added() -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        |texts| &texts.passkeys.not_added,
        Next::Passkeys,
    )
}
