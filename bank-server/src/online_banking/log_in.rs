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
use super::session::{Visit, Visitor};

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(web::resource("/log-in").get(page))
        .service(web::resource("/log-out").post(log_out));
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
                    longest: 200,
                    required: true,
                    error: error("password"),
                }.render())
                button type="submit" { (texts.go_on) }
            }
            (address(state))
        }
    };
    let status = if wrong.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    Page::new(texts.title, content)
        .status(status)
        .respond(state, visit)
}

fn address(state: &OnlineBanking) -> Markup {
    let text = state.texts.log_in.check_address;
    let origin = format!("{}/", state.origin.text());
    html! { p.hint { (state.texts.fill(text, &[("origin", &origin)])) } }
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
