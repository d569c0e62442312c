//! Page of the customer's passkeys and devices for approvals, and adding a passkey after a second
//! factor.

use actix_web::{HttpRequest, web};
use maud::{Markup, html};

use super::confirming::Act;
use super::csrf::Purpose;
use super::foreign::Foreign;
use super::forms::{Fields, FormBody};
use super::layout::{Field, Page, Section, token_field};
use super::message::{Message, Next};
use super::problem::{Problem, problem};
use super::request::moment;
use super::second_factor::ANSWER;
use super::session::Customer;
use super::{OnlineBanking, PageResult, phone};
use crate::http::resource;
use crate::sca::{NamedPasskey, Passkeys, PasskeysError, ScaError, Subject};

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/passkeys").get(page))
        .service(resource("/passkeys/add").get(confirm).post(begin))
        .service(resource("/passkeys/new").post(finish));
}

/// Longest name, in characters.
const MAX_NAME: usize = 50;

pub(super) fn stored(state: &OnlineBanking) -> Result<&Passkeys, Problem> {
    // They are there wherever there are pages.
    state.sca.passkeys().ok_or_else(Problem::failed)
}

async fn page(customer: Customer) -> PageResult {
    let words = &customer.state.texts.passkeys;
    let passkeys = stored(&customer.state)?.of(&customer.psu).await?;
    let content = html! {
        p { (words.lead) }
        @if passkeys.is_empty() { p.panel { (words.none) } }
        @else { div.panel { (table(&customer.state, &passkeys)) } }
        p { a.button href="/passkeys/add" { (words.add) } }
        (phone::list(&customer).await?)
    };
    Ok(customer.page(Section::Passkeys, words.title, content))
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
                                @let name = [("name", passkey.name.as_str())];
                                a.button.quiet href={ "/passkeys/" (passkey.id) "/remove" }
                                    aria-label=(texts.fill(words.remove_of, &name)) {
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

/// Beginning to add a passkey.
const ADDING: Act = Act {
    name: "add-passkey",
    path: "/passkeys/add",
    title: |texts| texts.passkeys.add_title,
    lead: |texts| texts.passkeys.confirm_lead,
    go_on: |texts| texts.passkeys.go_on,
};

/// Subject of the new passkey's registration.
fn registration(customer: &Customer) -> Subject {
    Subject::act(&customer.session, "new-passkey")
}

async fn confirm(customer: Customer, request: HttpRequest) -> PageResult {
    ADDING.page(&customer, request.query_string()).await
}

async fn begin(customer: Customer, body: FormBody) -> PageResult {
    match ADDING.check(&customer, body).await? {
        Some(again) => Ok(again),
        None => new_page(&customer).await,
    }
}

async fn new_page(customer: &Customer) -> PageResult {
    let texts = customer.state.texts;
    let words = &texts.passkeys;
    let passkeys = stored(&customer.state)?;
    let options = passkeys
        .begin(&customer.psu, &registration(customer))
        .await?;
    let content = html! {
        div.panel.narrow {
            p { (words.new_lead) }
            form method="post" action="/passkeys/new" data-passkey=(options) data-act="make" {
                (token_field(customer, &Purpose::new("new-passkey")))
                input type="hidden" name=(ANSWER) value="";
                (Field {
                    hint: Some(words.name_hint),
                    value: words.name_default,
                    max_length: MAX_NAME,
                    ..Field::new("text", "name", words.name)
                }.render())
                p.error data-failed hidden role="alert" { (words.not_added.happened) }
                p.notice.warning data-no-script { (texts.second_factor.passkey_needs_script) }
                button type="submit" data-passkey-button hidden { (words.save) }
            }
        }
    };
    let page = Page::new(words.add_title, content).section(Section::Passkeys);
    Ok(page.script(true).respond(customer))
}

async fn finish(customer: Customer, body: FormBody) -> PageResult {
    let fields = Fields::single(&["name", ANSWER]);
    let form = body.read(Purpose::new("new-passkey"), fields).await?;
    let name = form.field("name")?.trim();
    let answer = form.field(ANSWER)?;
    if name.is_empty() || name.chars().count() > MAX_NAME {
        // Browsers enforce both. The challenge has been used, so the registration starts again.
        return Err(not_added());
    }
    let passkeys = stored(&customer.state)?;
    let (subject, credentials) = (registration(&customer), customer.credentials);
    let finished = passkeys.finish(&customer.psu, &subject, credentials, name, answer);
    match finished.await {
        Ok(()) => {
            Ok(Message::done(|texts| &texts.passkeys.done, Next::Passkeys).respond(&customer))
        }
        Err(ScaError::Passkeys(PasskeysError::Answer) | ScaError::NoChallenge) => Err(not_added()),
        Err(error) => Err(error.into()),
    }
}

fn not_added() -> Problem {
    problem!(UNPROCESSABLE_ENTITY, passkeys.not_added, Passkeys)
}
