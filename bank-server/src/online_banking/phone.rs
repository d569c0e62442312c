//! Page that stands for the bank's app: requests that wait for approval in the decoupled approach.
//!
//! The device holds a cookie for ninety days, set after a second factor: the possession element.
//! The customer enters the password, the knowledge element, for each approval. Everything that is
//! approved is shown beside the button.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use shared_types::pki::digest::sha256;

use super::OnlineBanking;
use super::confirming::Act;
use super::csrf::Purpose;
use super::forms::{Fields, Form};
use super::layout::{Field, Page, Tone, errors, notice, token_field};
use super::log_in::{see_other, status_of};
use super::message::{Message, Next};
use super::problem::Problem;
use super::request::{self, ACCOUNT, Shown};
use super::session::{Customer, Visit, Visitor};
use crate::consent::authorisation::{Offer, Page as Request};
use crate::domain::{AccountId, MethodId, PsuId};
use crate::http::resource;
use crate::sca::{PASSWORD_LENGTH, PhonesError, ScaError, Source, Subject};

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/phone").get(page))
        .service(resource("/phone/enrol").get(confirm).post(enrol))
        .service(resource("/phone/remove").post(remove))
        .service(resource("/phone/{authorisation}/approve").post(approve))
        .service(resource("/phone/{authorisation}/refuse").post(refuse));
}

/// An enrolled device, and whose it is.
struct Phone<'a> {
    token: &'a str,
    psu: PsuId,
}

async fn phone<'a>(state: &OnlineBanking, visit: &'a Visit) -> Result<Option<Phone<'a>>, Problem> {
    let Some(token) = visit.phone() else {
        return Ok(None);
    };
    let owner = state.sca.phones().owner(token).await?;
    Ok(owner.map(|psu| Phone { token, psu }))
}

async fn enrolled<'a>(state: &OnlineBanking, visit: &'a Visit) -> Result<Phone<'a>, Problem> {
    phone(state, visit).await?.ok_or_else(|| {
        Problem::new(
            StatusCode::FORBIDDEN,
            |texts| &texts.phone.over,
            Next::Phone,
        )
    })
}

async fn page(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
) -> Result<HttpResponse, Problem> {
    match phone(&state, &visit).await? {
        Some(phone) => waiting(&state, &visit, &phone, None).await,
        None => Ok(not_enrolled(&state, &visit)),
    }
}

fn not_enrolled(state: &OnlineBanking, visit: &Visit) -> HttpResponse {
    let words = &state.texts.phone;
    let content = html! {
        (sandbox_note(state))
        div.panel.narrow {
            p.lead { (words.not_enrolled) }
            @if visit.customer().is_some() {
                p { (words.enrol_lead) }
                p { a.button href="/phone/enrol" { (words.enrol) } }
            } @else {
                p { (words.log_in_first) }
                p { a.button href="/log-in?to=/phone" { (state.texts.frame.to_log_in) } }
            }
        }
    };
    Page::new(words.title, content).respond(state, visit)
}

/// In a sandbox, the page stands for an app that the bank does not have.
fn sandbox_note(state: &OnlineBanking) -> Markup {
    html! { @if state.is_sandbox { p.hint { (state.texts.phone.sandbox) } } }
}

/// The customer's devices.
pub(super) async fn list(state: &OnlineBanking, customer: &Customer) -> Result<Markup, Problem> {
    let texts = state.texts;
    let words = &texts.phone;
    let phones = state.sca.phones().of(&customer.psu).await?;
    let here = customer.visit.phone().map(|token| sha256(token.as_bytes()));
    Ok(html! {
        section aria-labelledby="phones" {
            h2 #phones { (words.devices) }
            @if phones.is_empty() { p.panel { (words.devices_none) } }
            @else {
                ul.panel {
                    @for phone in &phones {
                        @let since = texts.time(&state.calendar.local(phone.enrolled));
                        li {
                            p {
                                (texts.fill(words.since, &[("time", &since)]))
                                @if here.as_deref() == Some(phone.id.as_str()) { " " span.tag { (words.this_device) } }
                            }
                            p {
                                a.button.quiet href={ "/phones/" (phone.id) "/remove" }
                                    aria-label=(texts.fill(words.remove_of, &[("time", &since)])) {
                                    (texts.passkeys.remove)
                                }
                            }
                        }
                    }
                }
            }
            p { a href="/phone" { (words.title) } }
        }
    })
}

/// What was wrong with the answer to one of the requests.
struct Wrong {
    authorisation: String,
    field: &'static str,
    text: String,
    /// The accounts that were ticked.
    chosen: Vec<AccountId>,
}

async fn waiting(
    state: &OnlineBanking,
    visit: &Visit,
    phone: &Phone<'_>,
    wrong: Option<Wrong>,
) -> Result<HttpResponse, Problem> {
    let words = &state.texts.phone;
    let waiting = state.authorisations.waiting_for(&phone.psu).await;
    let waiting = waiting.map_err(|error| request::problem(state, error, None))?;
    let mut requests = Vec::with_capacity(waiting.len());
    for asked in waiting {
        let offer = state.authorisations.offer(&asked, &phone.psu).await;
        requests.push((asked, offer));
    }
    let errors_there: Vec<(String, String)> = wrong
        .iter()
        .map(|wrong| match wrong.field {
            "password" => (
                format!("password-{}", wrong.authorisation),
                wrong.text.clone(),
            ),
            field => (field.to_owned(), wrong.text.clone()),
        })
        .collect();
    let errors_there: Vec<(&str, String)> = errors_there
        .iter()
        .map(|(field, text)| (field.as_str(), text.clone()))
        .collect();
    let nothing = requests.is_empty();
    // The device alone is one factor.
    let is_masked = visit.customer() != Some(&phone.psu);
    let content = html! {
        (sandbox_note(state))
        p.hint { (state.texts.fill(words.of, &[("customer", &phone.psu.0)])) }
        (errors(state.texts, &errors_there))
        @if nothing { p.panel role="status" { (words.nothing) } }
        @for (asked, offer) in &requests {
            @let wrong = wrong.as_ref().filter(|wrong| wrong.authorisation == asked.authorisation.id);
            (asking(state, visit, is_masked, asked, offer.as_ref().ok(), wrong))
        }
        div.actions {
            a.button.quiet href="/phone" { (words.again) }
            form method="post" action="/phone/remove" {
                (token_field(visit, &Purpose::new("remove-phone")))
                button.quiet type="submit" { (words.remove) }
            }
        }
    };
    let page = Page::new(words.title, content).status(status_of(&errors_there));
    Ok(page.respond(state, visit))
}

/// One request, with all that it asks for. What she cannot approve, for want of such an account, she can refuse.
fn asking(
    state: &OnlineBanking,
    visit: &Visit,
    is_masked: bool,
    asked: &Request,
    offer: Option<&Offer>,
    wrong: Option<&Wrong>,
) -> Markup {
    let texts = state.texts;
    let words = &texts.phone;
    let id = &asked.authorisation.id;
    let of = |field: &str| {
        wrong
            .filter(|wrong| wrong.field == field)
            .map(|wrong| wrong.text.as_str())
    };
    let shown = Shown {
        within: id,
        is_masked,
        chosen: wrong
            .map(|wrong| wrong.chosen.as_slice())
            .unwrap_or_default(),
        wrong: of(ACCOUNT),
    };
    html! {
        article.panel {
            h2 { (texts.fill(words.asks, &[("name", &asked.tpp.name)])) }
            p.hint { (texts.fill(words.asked_at, &[("time", &texts.time(&state.calendar.local(asked.authorisation.created)))])) }
            (request::who(texts, &asked.tpp))
            @if let Some(offer) = offer {
                form method="post" action={ "/phone/" (id) "/approve" } {
                    (token_field(visit, &Purpose::of("phone-approve", id)))
                    h3 { (texts.authorise.which) }
                    (request::accounts(texts, offer, shown))
                    h3 { (texts.authorise.how_long) }
                    (request::terms(texts, &asked.consent))
                    (notice(Tone::Warning, words.only_if))
                    (Field {
                        name: "password",
                        label: words.password,
                        hint: Some(words.password_hint),
                        kind: "password",
                        value: "",
                        autocomplete: "current-password",
                        digits: false,
                        longest: *PASSWORD_LENGTH.end(),
                        required: true,
                        error: of("password"),
                    }.render_as(&format!("password-{id}")))
                    button type="submit" { (texts.authorise.approve) }
                }
            } @else {
                (notice(Tone::Warning, texts.authorise.no_account.happened))
            }
            form method="post" action={ "/phone/" (id) "/refuse" } {
                (token_field(visit, &Purpose::of("phone-refuse", id)))
                button.danger type="submit" { (texts.authorise.refuse) }
            }
        }
    }
}

/// A device is set up after a second factor alone: later it is one itself.
const ENROLLING: Act = Act {
    name: "enrol-phone",
    path: "/phone/enrol",
    title: |texts| texts.phone.enrol,
    lead: |texts| texts.phone.confirm_lead,
    go_on: |texts| texts.phone.enrol_now,
};

async fn confirm(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    ENROLLING
        .page(&state, &customer, request.query_string())
        .await
}

async fn enrol(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    if let Some(again) = ENROLLING
        .check(&state, &customer, request.headers(), body)
        .await?
    {
        return Ok(again);
    }
    let phones = state.sca.phones();
    let enrolled = phones
        .enrol_in_place_of(
            customer.visit.phone(),
            &customer.psu,
            Some(customer.credentials),
        )
        .await;
    match enrolled {
        Ok(phone) => customer.visit.keep_phone(&phone.0),
        Err(PhonesError::TooMany) => return Err(too_many()),
        Err(PhonesError::CredentialsChanged) => return Err(Problem::session_over()),
        Err(PhonesError::Store(error)) => return Err(error.into()),
    }
    Ok(see_other("/phone"))
}

fn too_many() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        |texts| &texts.phone.too_many,
        Next::Passkeys,
    )
}

async fn remove(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::new("remove-phone");
    Form::read(
        &visit,
        &purpose,
        Fields::single(&[]),
        request.headers(),
        body,
    )
    .await?;
    let phone = enrolled(&state, &visit).await?;
    state.sca.phones().forget(phone.token).await?;
    visit.keep_phone("");
    Ok(Message::done(|texts| &texts.phone.removed, Next::Phone).respond(&state, &visit))
}

async fn approve(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let fields = Fields {
        single: &["password"],
        repeated: &[ACCOUNT],
    };
    let purpose = Purpose::of("phone-approve", &id);
    let form = Form::read(&visit, &purpose, fields, request.headers(), body).await?;
    let phone = enrolled(&state, &visit).await?;
    let asked = waiting_request(&state, &phone, &id).await?;
    let told = |error| request::problem(&state, error, Some(&asked.tpp));
    let offer = state
        .authorisations
        .offer(&asked, &phone.psu)
        .await
        .map_err(told)?;
    let chosen = request::chosen(&form, &offer)?;
    let wrong = |field, text: &str| Wrong {
        authorisation: id.to_string(),
        field,
        text: text.to_owned(),
        chosen: chosen.clone(),
    };
    if chosen.is_empty() {
        let wrong = wrong(ACCOUNT, state.texts.authorise.none_chosen);
        return waiting(&state, &visit, &phone, Some(wrong)).await;
    }
    let device = sha256(phone.token.as_bytes());
    let password = form.field("password")?;
    if password.is_empty() {
        let wrong = wrong("password", state.texts.log_in.password_missing);
        return waiting(&state, &visit, &phone, Some(wrong)).await;
    }
    let credentials = match state
        .sca
        .check_password(&phone.psu, password, Source::Device(&device))
        .await
    {
        Ok(credentials) => credentials,
        Err(ScaError::WrongCredentials) => {
            let wrong = wrong("password", state.texts.phone.wrong);
            return waiting(&state, &visit, &phone, Some(wrong)).await;
        }
        Err(error) => return Err(Problem::of_sca(&state, error)),
    };
    state
        .authorisations
        .claim_under(&id, &phone.psu, credentials)
        .await
        .map_err(told)?;
    let subject = Subject::authorisation(&id);
    let proof = state
        .sca
        .prove(
            &phone.psu,
            MethodId::App,
            &subject,
            phone.token,
            Source::Device(&device),
        )
        .await;
    let proof = proof.map_err(|error| Problem::of_sca(&state, error))?;
    let selected = offer.is_choice.then_some(chosen.as_slice());
    state
        .authorisations
        .approve(&id, proof, selected)
        .await
        .map_err(told)?;
    let done = Message::done(|texts| &texts.phone.approved, Next::Phone);
    let done = done.with("name", asked.tpp.name.clone());
    Ok(done.respond(&state, &visit))
}

async fn refuse(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::of("phone-refuse", &id);
    Form::read(
        &visit,
        &purpose,
        Fields::single(&[]),
        request.headers(),
        body,
    )
    .await?;
    let phone = enrolled(&state, &visit).await?;
    let asked = waiting_request(&state, &phone, &id).await?;
    let refused = state.authorisations.refuse(&id, &phone.psu).await;
    refused.map_err(|error| request::problem(&state, error, Some(&asked.tpp)))?;
    let done = Message::done(|texts| &texts.phone.refused, Next::Phone);
    let done = done.with("name", asked.tpp.name.clone());
    Ok(done.respond(&state, &visit))
}

/// A request that waits in this customer's app. What has become of any other of hers is told; another's is none.
async fn waiting_request(
    state: &OnlineBanking,
    phone: &Phone<'_>,
    id: &str,
) -> Result<Request, Problem> {
    let waiting = state.authorisations.waiting_for(&phone.psu).await;
    let waiting = waiting.map_err(|error| request::problem(state, error, None))?;
    match waiting
        .into_iter()
        .find(|asked| asked.authorisation.id == id)
    {
        Some(asked) => Ok(asked),
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            |texts| &texts.authorise.lapsed,
            Next::Phone,
        )),
    }
}
