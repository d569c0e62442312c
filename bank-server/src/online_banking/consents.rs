//! Page of the customer's consents, current and past, and the form that ends one.

use actix_web::web;
use maud::{Markup, html};
use shared_types::xs2a::consent::ConsentStatus;

use super::accounts::{View, views};
use super::csrf::Purpose;
use super::foreign::Foreign;
use super::forms::FormBody;
use super::layout::{Confirmation, Section};
use super::message::{Message, Next};
use super::problem::{Problem, problem};
use super::request::Fold;
use super::session::Customer;
use super::texts::Texts;
use super::{OnlineBanking, PageResult, request};
use crate::domain::CustomerConsent;
use crate::http::resource;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/consents").get(page))
        .service(resource("/consents/{consent}/end").get(confirm).post(end));
}

async fn page(customer: Customer) -> PageResult {
    let state = &customer.state;
    let words = &state.texts.consents;
    let consents = state.authorisations.consents_of(&customer.psu).await?;
    let views = views(state, &customer.psu).await?;
    let (current, past): (Vec<_>, Vec<_>) = consents.iter().partition(|one| is_current(one));
    let content = html! {
        p { (words.lead) }
        section aria-labelledby="now" {
            h2 #now { (words.now) }
            @if current.is_empty() { p.panel { (words.now_none) } }
            @for one in &current { (consent(state, one, &views)) }
        }
        @if !past.is_empty() {
            section aria-labelledby="before" {
                h2 #before { (words.before) }
                @for one in &past { (consent(state, one, &views)) }
            }
        }
    };
    Ok(customer.page(Section::Consents, words.title, content))
}

/// Whether it gives access, or will once other account holders have approved.
fn is_current(one: &CustomerConsent) -> bool {
    matches!(
        one.status,
        ConsentStatus::Valid | ConsentStatus::PartiallyAuthorised
    )
}

fn consent(state: &OnlineBanking, one: &CustomerConsent, views: &[View]) -> Markup {
    let texts = state.texts;
    let words = &texts.consents;
    let is_current = is_current(one);
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
                @if is_current {
                    dt { (words.until) }
                    dd { (request::last_day(texts, &one.consent)) }
                }
                dt { @if is_current { (words.given) } @else { (words.ended) } }
                dd { (request::moment(state, one.consent.last_action)) }
                dt { (words.last_used) }
                dd {
                    @match one.consent.last_use {
                        Some(time) => (request::moment(state, time)),
                        None => (words.never_used),
                    }
                }
            }
            @if is_current {
                p {
                    a.button.danger href={ "/consents/" (one.consent.id) "/end" }
                        aria-label=(name) { (words.end) }
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

/// Accounts that the consent covers, with their data.
fn opened(texts: &Texts, one: &CustomerConsent, views: &[View]) -> Markup {
    let lines = one.grants.iter().map(|grant| {
        let view = views.iter().find(|view| view.id == grant.account);
        let line = view.map_or_else(|| html! { (texts.consents.gone_account) }, request::account);
        (line, grant)
    });
    request::opened(texts, lines, Fold::Rest)
}

/// The customer's consent with that id, if it is current.
async fn find(customer: &Customer, id: &str) -> Result<CustomerConsent, Problem> {
    let consents = customer.state.authorisations.consents_of(&customer.psu);
    let mut consents = consents.await?.into_iter();
    let found = consents.find(|one| one.consent.id == id && is_current(one));
    found.ok_or_else(not_current)
}

fn not_current() -> Problem {
    problem!(CONFLICT, consents.not_running, Consents)
}

async fn confirm(customer: Customer, id: web::Path<String>) -> PageResult {
    let texts = customer.state.texts;
    let words = &texts.consents;
    let one = find(&customer, &id).await?;
    let name = [("name", one.tpp.name.as_str())];
    Ok(customer.confirmation(Confirmation {
        section: Section::Consents,
        title: texts.fill(words.end_title, &name),
        lead: texts.fill(words.end_lead, &name),
        path: format!("/consents/{id}/end"),
        purpose: Purpose::of("end", &id),
        button: words.end_now,
        back: words.keep,
    }))
}

async fn end(customer: Customer, id: web::Path<String>, body: FormBody) -> PageResult {
    body.read_empty(Purpose::of("end", &id)).await?;
    let one = find(&customer, &id).await?;
    let authorisations = &customer.state.authorisations;
    if !authorisations.revoke(&customer.psu, &id).await? {
        return Err(not_current());
    }
    let done = Message::done(|texts| &texts.consents.done, Next::Consents);
    Ok(done.with("name", one.tpp.name).respond(&customer))
}
