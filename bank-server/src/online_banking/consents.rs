//! Page of the customer's consents, current and past, and the form that ends one.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use shared_types::xs2a::consent::ConsentStatus;

use super::OnlineBanking;
use super::accounts::{View, views};
use super::csrf::Purpose;
use super::foreign::Foreign;
use super::forms::{Fields, Form};
use super::layout::{Page, Section, token_field};
use super::message::{Message, Next};
use super::problem::Problem;
use super::request;
use super::session::Customer;
use super::texts::Texts;
use crate::domain::GivenConsent;
use crate::http::resource;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/consents").get(page))
        .service(resource("/consents/{consent}/end").get(confirm).post(end));
}

async fn page(
    state: web::Data<OnlineBanking>,
    customer: Customer,
) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.consents;
    let given = given(&state, &customer).await?;
    let views = views(&state, &customer.psu).await?;
    let (now, before): (Vec<_>, Vec<_>) = given.iter().partition(|one| runs(one));
    let content = html! {
        p { (words.lead) }
        section aria-labelledby="now" {
            h2 #now { (words.now) }
            @if now.is_empty() { p.panel { (words.now_none) } }
            @for one in &now { (consent(&state, one, &views)) }
        }
        @if !before.is_empty() {
            section aria-labelledby="before" {
                h2 #before { (words.before) }
                @for one in &before { (consent(&state, one, &views)) }
            }
        }
    };
    Ok(Page::new(words.title, content)
        .section(Section::Consents)
        .respond(&state, &customer.visit))
}

async fn given(state: &OnlineBanking, customer: &Customer) -> Result<Vec<GivenConsent>, Problem> {
    let given = state.authorisations.consents_of(&customer.psu).await;
    given.map_err(|error| request::problem(state, error, None))
}

/// Whether it opens something, or will once others have approved.
fn runs(one: &GivenConsent) -> bool {
    matches!(
        one.status,
        ConsentStatus::Valid | ConsentStatus::PartiallyAuthorised
    )
}

fn consent(state: &OnlineBanking, one: &GivenConsent, views: &[View]) -> Markup {
    let texts = state.texts;
    let words = &texts.consents;
    let runs = runs(one);
    let name = texts.fill(words.end_of, &[("name", &one.tpp.name)]);
    html! {
        article.panel {
            h3 { (Foreign::new(&one.tpp.name)) " " (status(texts, one.status)) }
            dl.facts {
                dt { (texts.authorise.number) }
                dd {
                    (Foreign::new(&one.tpp.organisation))
                    @if !one.tpp.authority.is_empty() { ", " (Foreign::new(&one.tpp.authority)) }
                }
                dt { (words.accounts) }
                dd { (opened(texts, one, views)) }
                @if runs {
                    dt { (words.until) }
                    dd { (request::last_day(texts, &one.consent)) }
                }
                dt { @if runs { (words.given) } @else { (words.ended) } }
                dd { (request::moment(state, one.consent.last_action)) }
                dt { (words.last_used) }
                dd {
                    @match one.last_used {
                        Some(time) => (request::moment(state, time)),
                        None => (words.never_used),
                    }
                }
            }
            @if runs {
                p {
                    a.button.danger href={ "/consents/" (one.consent.id) "/end" } aria-label=(name) { (words.end) }
                }
            }
        }
    }
}

fn status(texts: &Texts, status: ConsentStatus) -> Markup {
    let words = &texts.consents;
    let (class, text) = match status {
        ConsentStatus::Valid => ("tag good", words.valid),
        ConsentStatus::PartiallyAuthorised => ("tag warning", words.partly),
        ConsentStatus::Received => ("tag", words.received),
        ConsentStatus::Rejected => ("tag", words.rejected),
        ConsentStatus::Expired => ("tag", words.expired),
        ConsentStatus::RevokedByPsu => ("tag", words.revoked),
        ConsentStatus::TerminatedByTpp => ("tag", words.terminated),
    };
    html! { span class=(class) { (text) } }
}

/// The accounts that it opens, each with what of it.
fn opened(texts: &Texts, one: &GivenConsent, views: &[View]) -> Markup {
    let lines = one.grants.iter().map(|grant| {
        let view = views.iter().find(|view| view.id == grant.account);
        let line = view.map_or_else(|| html! { (texts.consents.gone_account) }, request::named);
        (line, grant)
    });
    request::opened(texts, lines.collect(), false)
}

/// The one that the address names, if it runs and is hers.
async fn running(
    state: &OnlineBanking,
    customer: &Customer,
    id: &str,
) -> Result<GivenConsent, Problem> {
    let given = given(state, customer).await?;
    given
        .into_iter()
        .find(|one| one.consent.id == id && runs(one))
        .ok_or_else(not_running)
}

fn not_running() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        |texts| &texts.consents.not_running,
        Next::Consents,
    )
}

async fn confirm(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.consents;
    let one = running(&state, &customer, &id).await?;
    let name = [("name", one.tpp.name.as_str())];
    let content = html! {
        div.panel.narrow {
            p.lead { (texts.fill(words.end_lead, &name)) }
            div.actions {
                form method="post" action={ "/consents/" (one.consent.id) "/end" } {
                    (token_field(&customer.visit, &Purpose::of("end", &one.consent.id)))
                    button.danger type="submit" { (words.end_now) }
                }
                a.button.quiet href="/consents" { (words.keep) }
            }
        }
    };
    Ok(Page::new(texts.fill(words.end_title, &name), content)
        .section(Section::Consents)
        .respond(&state, &customer.visit))
}

async fn end(
    state: web::Data<OnlineBanking>,
    customer: Customer,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let purpose = Purpose::of("end", &id);
    let none = Fields::single(&[]);
    Form::read(&customer.visit, &purpose, none, request.headers(), body).await?;
    let ended = state.authorisations.revoke(&customer.psu, &id).await;
    if !ended.map_err(|error| request::problem(&state, error, None))? {
        return Err(not_running());
    }
    let done = Message::done(|texts| &texts.consents.done, Next::Consents);
    Ok(done.respond(&state, &customer.visit))
}
