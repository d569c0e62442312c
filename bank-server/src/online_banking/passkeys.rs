//! The customer's passkeys: which there are, adding one after a second factor, removing one.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::OnlineBanking;
use super::csrf::Purpose;
use super::forms::{Fields, Form};
use super::layout::{Field, Page, Section, errors, token_field};
use super::log_in::status_of;
use super::problem::{Next, Problem};
use super::request::moment;
use super::second_factor::{self, ANSWER, Answered, Asked, METHOD};
use super::session::Customer;
use crate::sca::{MethodId, NamedPasskey, Passkeys, PasskeysError, ScaError, Subject};

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(web::resource("/passkeys").get(page))
        .service(web::resource("/passkeys/add").get(confirm).post(begin))
        .service(web::resource("/passkeys/new").post(finish))
        .service(web::resource("/passkeys/remove").post(remove));
}

/// The longest name, in letters.
const LONGEST: usize = 50;

fn of(state: &OnlineBanking) -> Result<&Passkeys, Problem> {
    // They are there wherever there are pages.
    state.sca.passkeys().ok_or_else(Problem::failed)
}

async fn page(
    state: web::Data<OnlineBanking>,
    customer: Customer,
) -> Result<HttpResponse, Problem> {
    let words = &state.texts.passkeys;
    let passkeys = of(&state)?.of(&customer.psu).await?;
    let content = html! {
        p { (words.lead) }
        @if passkeys.is_empty() { p.panel { (words.none) } }
        @else { div.panel { (table(&state, &customer, &passkeys)) } }
        p { a.button href="/passkeys/add" { (words.add) } }
    };
    Ok(Page::new(words.title, content)
        .section(Section::Passkeys)
        .respond(&state, &customer.visit))
}

fn table(state: &OnlineBanking, customer: &Customer, passkeys: &[NamedPasskey]) -> Markup {
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
                            th scope="row" { (passkey.name) }
                            td { (moment(state, passkey.created)) }
                            td {
                                @match passkey.last_used {
                                    Some(time) => (moment(state, time)),
                                    None => (words.never_used),
                                }
                            }
                            td {
                                form method="post" action="/passkeys/remove" {
                                    (token_field(&customer.visit, &Purpose::new("remove-passkey")))
                                    input type="hidden" name="id" value=(passkey.id);
                                    button.quiet type="submit"
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
}

/// What the second factor is asked for before a passkey is added.
fn adding(customer: &Customer) -> Subject {
    Subject::act(&customer.session, "add-passkey")
}

/// What the new passkey is made for.
fn making(customer: &Customer) -> Subject {
    Subject::act(&customer.session, "new-passkey")
}

async fn confirm(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let chosen = second_factor::method_of(request.query_string());
    confirm_page(&state, &customer, chosen, None).await
}

async fn confirm_page(
    state: &OnlineBanking,
    customer: &Customer,
    chosen: Option<MethodId>,
    wrong: Option<String>,
) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.passkeys;
    let asked = Asked::ask(
        state,
        &customer.visit,
        &customer.psu,
        &adding(customer),
        chosen,
    )
    .await?;
    let errors_there: Vec<_> = wrong.iter().map(|text| (ANSWER, text.clone())).collect();
    let content = html! {
        div.panel.narrow {
            p { (words.confirm_lead) }
            (errors(texts, &errors_there))
            form method="post" action="/passkeys/add" data-passkey=[asked.options()] {
                (token_field(&customer.visit, &Purpose::new("add-passkey")))
                (asked.fields(texts, wrong.as_deref()))
                button type="submit" data-passkey-button hidden[asked.is_passkey()] { (words.go_on) }
            }
            (asked.other_way(texts, "/passkeys/add"))
        }
    };
    let page = Page::new(words.add_title, content)
        .status(status_of(&errors_there))
        .section(Section::Passkeys);
    let page = if asked.is_passkey() {
        page.with_script()
    } else {
        page
    };
    Ok(page.respond(state, &customer.visit))
}

async fn begin(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::new("add-passkey");
    let fields = Fields::single(&[METHOD, ANSWER]);
    let form = Form::read(&customer.visit, &purpose, fields, request.headers(), body).await?;
    match second_factor::check(
        &state,
        &customer.visit,
        &customer.psu,
        &adding(&customer),
        &form,
    )
    .await?
    {
        Answered::Wrong(method, text) => {
            confirm_page(&state, &customer, Some(method), Some(text)).await
        }
        Answered::Proved(_) => new_page(&state, &customer).await,
    }
}

async fn new_page(state: &OnlineBanking, customer: &Customer) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.passkeys;
    let options = of(state)?.begin(&customer.psu, &making(customer)).await;
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
    let finished = of(&state)?
        .finish(&customer.psu, &making(&customer), name, answer)
        .await;
    match finished {
        Ok(()) => Err(Problem::told(
            StatusCode::OK,
            |texts| &texts.passkeys.done,
            Next::Passkeys,
        )),
        Err(ScaError::Passkeys(PasskeysError::Answer) | ScaError::NoChallenge) => Err(not_added()),
        Err(error) => Err(Problem::of_sca(&state, error)),
    }
}

fn not_added() -> Problem {
    Problem::told(
        StatusCode::UNPROCESSABLE_ENTITY,
        |texts| &texts.passkeys.not_added,
        Next::Passkeys,
    )
}

async fn remove(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::new("remove-passkey");
    let fields = Fields::single(&["id"]);
    let form = Form::read(&customer.visit, &purpose, fields, request.headers(), body).await?;
    of(&state)?.remove(&customer.psu, form.field("id")?).await?;
    Err(Problem::told(
        StatusCode::OK,
        |texts| &texts.passkeys.removed,
        Next::Passkeys,
    ))
}
