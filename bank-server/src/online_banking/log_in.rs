//! Logging in, and out.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};

use super::OnlineBanking;
use super::csrf::Purpose;
use super::destination::Destination;
use super::forms::{Fields, Form};
use super::layout::{Field, Page, errors, token_field};
use super::problem::{Next, Problem};
use super::second_factor::{self, ANSWER, Answered, Asked, METHOD};
use super::session::{Recognised, Visit, Visitor};
use crate::core_banking::PsuId;
use crate::http::resource;
use crate::sca::{MethodId, PASSWORD_LENGTH, ScaError, Subject};
use crate::store::sessions::Level;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/log-in").get(page).post(password))
        .service(resource("/log-in/second-factor").get(second).post(finish))
        .service(resource("/log-out").post(log_out));
}

/// Sends the browser to a page of ours.
pub(super) fn see_other(path: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((LOCATION, path))
        .finish()
}

async fn page(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    request: HttpRequest,
) -> HttpResponse {
    let to = Destination::of_query(request.query_string());
    if let Some(customer) = visit.customer() {
        return already(&state, &visit, &customer.0, &to);
    }
    log_in_page(&state, &visit, &to, "", &[])
}

/// The log-in once more is no log-in: it says who is logged in.
fn already(state: &OnlineBanking, visit: &Visit, customer: &str, to: &Destination) -> HttpResponse {
    let texts = &state.texts.log_in;
    let content = html! {
        div.panel.narrow {
            p.lead { (state.texts.fill(texts.already_lead, &[("customer", customer)])) }
            p { a.button href=(to.path()) { (texts.already_go_on) } }
        }
    };
    Page::new(texts.already, content).respond(state, visit)
}

/// The page with the form, and what was wrong with it.
fn log_in_page(
    state: &OnlineBanking,
    visit: &Visit,
    to: &Destination,
    customer: &str,
    wrong: &[(&str, String)],
) -> HttpResponse {
    let texts = &state.texts.log_in;
    let lead = if to.is_approval() {
        texts.to_approve
    } else {
        texts.lead
    };
    let error = |field: &str| {
        wrong
            .iter()
            .find(|(name, _)| *name == field)
            .map(|(_, text)| text.as_str())
    };
    let content = html! {
        div.panel.narrow {
            p { (lead) }
            (errors(state.texts, wrong))
            form method="post" action="/log-in" {
                (token_field(visit, &Purpose::new("log-in")))
                input type="hidden" name="to" value=(to.path());
                (Field {
                    name: "customer",
                    label: texts.customer,
                    hint: Some(texts.customer_hint),
                    kind: "text",
                    value: customer,
                    autocomplete: "username",
                    digits: false,
                    longest: 70,
                    required: true,
                    error: error("customer"),
                }.render())
                (Field {
                    name: "password",
                    label: texts.password,
                    hint: None,
                    kind: "password",
                    value: "",
                    autocomplete: "current-password",
                    digits: false,
                    longest: *PASSWORD_LENGTH.end(),
                    required: true,
                    error: error("password"),
                }.render())
                button type="submit" { (texts.go_on) }
            }
            (address(state))
        }
    };
    Page::new(texts.title, content)
        .status(status_of(wrong))
        .respond(state, visit)
}

fn address(state: &OnlineBanking) -> Markup {
    let text = state.texts.log_in.check_address;
    let origin = format!("{}/", state.origin.text());
    html! { p.hint { (state.texts.fill(text, &[("origin", &origin)])) } }
}

async fn password(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    if visit.customer().is_some() {
        return Err(already_other());
    }
    let fields = Fields::single(&["customer", "password", "to"]);
    let purpose = Purpose::new("log-in");
    let form = Form::read(&visit, &purpose, fields, request.headers(), body).await?;
    let customer = form.field("customer")?.trim();
    let password = form.field("password")?;
    let to = Destination::or_start(form.optional("to"));
    let texts = &state.texts.log_in;
    let missing: Vec<(&str, String)> = [
        ("customer", customer, texts.customer_missing),
        ("password", password, texts.password_missing),
    ]
    .into_iter()
    .filter(|(_, value, _)| value.is_empty())
    .map(|(name, _, text)| (name, text.to_owned()))
    .collect();
    if !missing.is_empty() {
        return Ok(log_in_page(&state, &visit, &to, customer, &missing));
    }
    let psu = PsuId(customer.to_owned());
    let checked = state
        .sca
        .check_password(&psu, password, visit.source(&psu))
        .await;
    let is_begun = match checked {
        Ok(credentials) => {
            visit
                .begin(&state, &psu, Level::Password, credentials)
                .await?
        }
        Err(ScaError::WrongCredentials) => false,
        Err(error) => return Err(Problem::of_sca(&state, error)),
    };
    if !is_begun {
        // Which of the two is wrong is not told, nor whether there is such a customer.
        let wrong = [("customer", texts.wrong.to_owned())];
        return Ok(log_in_page(&state, &visit, &to, customer, &wrong));
    }
    Ok(see_other(&if to.is_approval() {
        to.path().to_owned()
    } else {
        second_factor_path(&to)
    }))
}

fn second_factor_path(to: &Destination) -> String {
    match to.path() {
        "/" => "/log-in/second-factor".to_owned(),
        path => format!("/log-in/second-factor?to={path}"),
    }
}

/// The form is an old one: she has logged in since.
fn already_other() -> Problem {
    Problem::told(
        StatusCode::CONFLICT,
        |texts| &texts.log_in.already_other,
        Next::Start,
    )
}

async fn second(
    state: web::Data<OnlineBanking>,
    known: Recognised,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let to = Destination::of_query(request.query_string());
    if let Some(customer) = known.visit.customer() {
        return Ok(already(&state, &known.visit, &customer.0, &to));
    }
    let chosen = second_factor::method_of(request.query_string());
    second_page(&state, &known, &to, chosen, None).await
}

async fn second_page(
    state: &OnlineBanking,
    known: &Recognised,
    to: &Destination,
    chosen: Option<MethodId>,
    wrong: Option<String>,
) -> Result<HttpResponse, Problem> {
    let subject = Subject::log_in(&known.session);
    let asked = Asked::ask(state, &known.visit, &known.psu, &subject, chosen).await?;
    let texts = state.texts;
    let errors_there: Vec<_> = wrong.iter().map(|text| (ANSWER, text.clone())).collect();
    let content = html! {
        div.panel.narrow {
            p { (texts.second_factor.lead) }
            (errors(texts, &errors_there))
            form method="post" action="/log-in/second-factor" data-passkey=[asked.options()] {
                (token_field(&known.visit, &Purpose::new("second-factor")))
                input type="hidden" name="to" value=(to.path());
                (asked.fields(texts, wrong.as_deref()))
                button type="submit" data-passkey-button hidden[asked.is_passkey()] { (texts.second_factor.log_in) }
            }
            (asked.other_way(texts, &second_factor_path(to)))
        }
    };
    let page = Page::new(texts.second_factor.title, content).status(status_of(&errors_there));
    let page = if asked.is_passkey() {
        page.with_script()
    } else {
        page
    };
    Ok(page.respond(state, &known.visit))
}

async fn finish(
    state: web::Data<OnlineBanking>,
    known: Recognised,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    if known.visit.customer().is_some() {
        return Err(already_other());
    }
    let fields = Fields::single(&[METHOD, ANSWER, "to"]);
    let purpose = Purpose::new("second-factor");
    let form = Form::read(&known.visit, &purpose, fields, request.headers(), body).await?;
    let to = Destination::or_start(form.optional("to"));
    let subject = Subject::log_in(&known.session);
    match second_factor::check(&state, &known.visit, &known.psu, &subject, &form).await? {
        Answered::Proved(proof) => {
            let (visit, credentials) = (&known.visit, known.credentials);
            if !visit
                .begin(&state, proof.psu(), Level::Full, credentials)
                .await?
            {
                return Err(Problem::session_over());
            }
            Ok(see_other(to.path()))
        }
        Answered::Wrong(method, text) => {
            second_page(&state, &known, &to, Some(method), Some(text)).await
        }
        Answered::UsedUp => Err(Problem::used_up()),
    }
}

/// The status of a page with a form that was not right.
pub(super) fn status_of(wrong: &[(&str, String)]) -> StatusCode {
    if wrong.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    }
}

async fn log_out(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    // Who is logged out already has what she wants.
    if visit.session().is_some() {
        let purpose = Purpose::new("log-out");
        Form::read(
            &visit,
            &purpose,
            Fields::single(&[]),
            request.headers(),
            body,
        )
        .await?;
        visit.end(&state).await?;
    }
    Err(Problem::told(
        StatusCode::OK,
        |texts| &texts.log_in.logged_out,
        Next::LogIn,
    ))
}
