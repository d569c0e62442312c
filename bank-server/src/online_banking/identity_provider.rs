//! Log-in, log-out and approval by the bank's identity provider.
//!
//! The log-in page redirects to the provider, and so does the approval of a consent. The provider
//! sends the browser back to one address, with an answer that is valid once, in the session that
//! asked for it.
//!
//! A request is stored, and pushed to the provider, when a person opens the log-in page: from a
//! page of ours, from a link or the address bar, or from a TPP with a request to approve. If
//! another site or the browser itself opens it, it has a button instead.

use std::rc::Rc;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use serde_json::{Value, json};

use super::authorise;
use super::csrf::Purpose as FormPurpose;
use super::destination::Destination;
use super::forms::{Fields, FormBody, decoded};
use super::layout::{Page, see_other};
use super::log_in::{already, begin_session};
use super::message::{Message, Next};
use super::problem::{Problem, problem};
use super::session::{Answering, Visit, Visitor};
use super::{OnlineBanking, PageResult};
use crate::consent::authorisation::{ApprovalRequest, OfferedAccess};
use crate::domain::{AccountId, MethodId, PsuId};
use crate::http::resource;
use crate::identity_provider::{
    Approval, Authenticated, BrowserOrigin, CALLBACK, Callback, DETAILS_TYPE, IdentityProvider,
    ProviderError, Purpose,
};
use crate::sca::{Proof, Source, Subject};
use crate::store::identity_requests::RequestLimit;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/log-in").get(log_in))
        .service(resource(CALLBACK).get(callback))
        .service(resource("/log-out").get(logged_out).post(log_out));
}

/// Redirects to the provider.
async fn log_in(visit: Visitor, request: HttpRequest) -> PageResult {
    let query = request.query_string();
    let to = Destination::of_query(query);
    if let Some(customer) = visit.customer() {
        return Ok(already(&visit, &customer.0, &to));
    }
    let is_asked_for = match Opening::of(&request) {
        Opening::Asked => true,
        // The id of a request to approve cannot be guessed: it is the TPP that sends its customer.
        Opening::Linked => match to.authorisation() {
            Some(id) => authorise::open(&visit, id).await.is_ok(),
            None => false,
        },
        Opening::Embedded => false,
        // A browser drops it, and opens the page again when it is wanted.
        Opening::Prefetched => return Ok(begin_page(&visit, &to, StatusCode::SERVICE_UNAVAILABLE)),
    };
    if !is_asked_for {
        return Ok(begin_page(&visit, &to, StatusCode::OK));
    }
    let asks_anew = query.split('&').any(|pair| pair == "prompt=login");
    let purpose = Purpose::LogIn {
        to: to.path().to_owned(),
        again: asks_anew || visit.is_after_end(),
    };
    begin(&visit, purpose).await
}

/// How a browser opens a page, by its Fetch Metadata and `Sec-Purpose`. A client that sends neither
/// opens it as if asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// By a person, or by a page of the bank's own site.
    Asked,
    /// By another site, without a click.
    Linked,
    /// As a part of a page, by a script, or for its headers alone.
    Embedded,
    /// In advance, in case it is wanted.
    Prefetched,
}

impl Opening {
    fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        let is_for = |name: &str| header(name).is_some_and(|value| value.contains("prefetch"));
        let is_one_of = |name: &str, expected: &[&str]| {
            header(name).is_none_or(|value| expected.contains(&value))
        };
        if ["sec-purpose", "purpose", "x-moz"].into_iter().any(is_for) {
            Self::Prefetched
        } else if request.method() != Method::GET
            || !is_one_of("sec-fetch-mode", &["navigate"])
            || !is_one_of("sec-fetch-dest", &["document"])
        {
            Self::Embedded
        } else if is_one_of("sec-fetch-site", &["same-origin", "same-site", "none"])
            || header("sec-fetch-user") == Some("?1")
        {
            Self::Asked
        } else {
            Self::Linked
        }
    }
}

/// Page with the button that begins a log-in.
fn begin_page(visit: &Visit, to: &Destination, status: StatusCode) -> HttpResponse {
    let texts = visit.state.texts;
    let content = html! {
        div.panel.narrow {
            p { (texts.log_in.lead) }
            p {
                a.button href={ "/log-in?to=" (to.path()) } { (texts.frame.to_log_in) }
            }
        }
    };
    Page::new(texts.log_in.title, content)
        .status(status)
        .respond(visit)
}

async fn begin(visit: &Visit, purpose: Purpose) -> PageResult {
    let provider = provider(&visit.state)?;
    let source = visit.visitor_source();
    let browser = BrowserOrigin {
        session: visit.digest(),
        source: &source.name(),
        is_known_device: matches!(source, Source::Device(_)),
    };
    match provider.begin(browser, purpose.clone()).await {
        Ok(address) => Ok(see_other(address.as_str())),
        Err(error) => Err(failed(&error, Some(&purpose))),
    }
}

/// Redirects to the provider, for the approval of the access with those accounts.
pub(super) async fn begin_approval(
    known: &Answering,
    approval: &ApprovalRequest,
    offer: &OfferedAccess,
    chosen: &[AccountId],
) -> PageResult {
    let purpose = Purpose::Approval(Approval {
        authorisation: approval.authorisation.id.clone(),
        psu: known.psu.0.clone(),
        selected: offer.is_choice.then(|| chosen.to_vec()),
        details: details(
            &known.visit.state,
            &known.psu,
            approval,
            offer,
            Some(chosen),
        ),
    });
    begin(&known.visit, purpose).await
}

/// The return from the provider.
async fn callback(visit: Visitor, request: HttpRequest) -> PageResult {
    let callback = parse(request.query_string()).ok_or_else(Problem::form_unreadable)?;
    let provider = provider(&visit.state)?;
    let pending = provider.take(&callback.state, visit.digest()).await;
    let pending = pending.map_err(|error| failed(&error, None))?;
    let authenticated = provider.redeem(&pending, &callback).await;
    let authenticated = authenticated.map_err(|error| failed(&error, Some(&pending.purpose)))?;
    match pending.purpose {
        Purpose::LogIn { to, .. } => finish_log_in(&visit, &to, authenticated.psu()).await,
        Purpose::Approval(approval) => finish_approval(&visit.0, &approval, &authenticated).await,
    }
}

async fn finish_log_in(visit: &Visit, to: &str, psu: &PsuId) -> PageResult {
    let to = Destination::or_start(Some(to));
    let credentials = visit.state.sca.credentials_of(psu).await?;
    let begun = begin_session(visit, &to, MethodId::IdentityProvider, psu, credentials).await?;
    // The credentials that the bank itself keeps for the customer, if any, were replaced just now.
    begun.ok_or_else(|| problem!(CONFLICT, identity_provider.over, LogIn))
}

/// Approves, if the customer of the session has confirmed what the authorisation would give now.
async fn finish_approval(
    visit: &Rc<Visit>,
    confirmed: &Approval,
    authenticated: &Authenticated,
) -> PageResult {
    let id = confirmed.authorisation.as_str();
    let back = Next::Approval(approval_page(id));
    let known = Answering::of(visit, id).ok_or_else(Problem::session_over)?;
    if known.psu != *authenticated.psu() || known.psu.0 != confirmed.psu {
        tracing::warn!("online banking: approval refused, confirmed by another customer");
        let problem = problem!(FORBIDDEN, identity_provider.approval_of_another, None);
        return Err(problem.then(back));
    }
    let (approval, offer) = authorise::claimed(&known, id).await?;
    let selected = confirmed.selected.as_deref();
    if details(&visit.state, &known.psu, &approval, &offer, selected) != confirmed.details {
        let problem = problem!(CONFLICT, identity_provider.approval_changed, None);
        return Err(problem.with("name", &approval.tpp.name).then(back));
    }
    let now = visit.state.calendar.now();
    let proof = Proof::of_identity_provider(authenticated, Subject::authorisation(id), now);
    let decision = visit.state.authorisations.approve(id, proof, selected);
    authorise::finish(visit, decision.await, &approval.tpp).await
}

/// Ends the session here, and offers to log in anew; ends it at the provider too, if the provider
/// has an address for that and the customer does not go on.
async fn log_out(visit: Visitor, body: FormBody) -> PageResult {
    let mut to = None;
    if visit.session().is_some() {
        let fields = Fields::single(&["to"]);
        let form = body.read(FormPurpose::new("log-out"), fields).await?;
        to = form.optional("to").and_then(Destination::read);
        visit.end().await?;
    }
    let goes_on = to.is_some();
    let mut page = logged_out_page(&visit, to);
    let provider = provider(&visit.state)?;
    let here = visit.state.origin.page("/log-out");
    if !goes_on
        && let Some(address) = provider.end_session_address(&here).await
        && let Ok(refresh) = HeaderValue::from_str(&format!("0; url={address}"))
    {
        // No redirect: the policy of the page with the form forbids one to another origin.
        page.headers_mut()
            .insert(HeaderName::from_static("refresh"), refresh);
    }
    Ok(page)
}

/// The return from the end of the session at the provider.
async fn logged_out(visit: Visitor) -> HttpResponse {
    logged_out_page(&visit, None)
}

fn logged_out_page(visit: &Visit, to: Option<Destination>) -> HttpResponse {
    // The provider may still know the customer: the next log-in is a new one, with or without the
    // cookie that the end of a session leaves.
    let next = Next::LogInAnew(to.unwrap_or_else(Destination::start));
    Message::done(|texts| &texts.log_in.logged_out, next).respond(visit)
}

/// The provider. These pages are there only with one.
fn provider(state: &OnlineBanking) -> Result<&IdentityProvider, Problem> {
    state.identity_provider.as_ref().ok_or_else(Problem::failed)
}

fn approval_page(id: &str) -> Destination {
    Destination::or_start(Some(&format!("/authorise/{id}")))
}

/// The access that an approval gives, as it is shown to the customer, with the accounts that were
/// chosen; without a choice, with all. It is what the provider is told, and what has to be the same
/// when the customer returns.
fn details(
    state: &OnlineBanking,
    psu: &PsuId,
    approval: &ApprovalRequest,
    offer: &OfferedAccess,
    chosen: Option<&[AccountId]>,
) -> Value {
    let facts = approval.facts(psu, offer, chosen);
    let accounts = facts.accounts.iter().map(|account| {
        json!({
            "id": account.account_id,
            "reference": account.reference,
            "actions": account.actions,
        })
    });
    json!({
        "type": DETAILS_TYPE,
        "identifier": facts.authorisation_id,
        "locations": [state.origin.text()],
        "customer": facts.customer_id,
        "tpp": facts.tpp,
        "accounts": accounts.collect::<Vec<_>>(),
        "recurring": facts.recurring,
        "frequency_per_day": facts.frequency_per_day,
        "valid_until": facts.valid_until,
        "approvals_needed": offer.approvals_needed,
        "approvals_given": offer.approvals_given,
    })
}

/// Error page of a log-in or approval at the provider, with the way on: back to the request to
/// approve, or to a log-in for which the provider authenticates the customer anew. Otherwise it
/// could repeat the answer that was refused.
fn failed(error: &ProviderError, purpose: Option<&Purpose>) -> Problem {
    let is_approval = matches!(purpose, Some(Purpose::Approval(_)));
    let next = match purpose {
        Some(Purpose::Approval(approval)) => Next::Approval(approval_page(&approval.authorisation)),
        Some(Purpose::LogIn { to, .. }) => Next::LogInAnew(Destination::or_start(Some(to))),
        None => Next::LogIn,
    };
    let problem = match error {
        ProviderError::Store(_) | ProviderError::Vault(_) => {
            tracing::error!(%error, "online banking: request to the identity provider not stored");
            return match error {
                ProviderError::Store(error) if error.is_transient() => Problem::unavailable(),
                _ => Problem::failed(),
            };
        }
        error if error.is_outage() => {
            tracing::error!(%error, "online banking: identity provider cannot be used");
            problem!(SERVICE_UNAVAILABLE, identity_provider.unavailable, None)
        }
        ProviderError::Limit(RequestLimit::Source) => {
            tracing::warn!(%error, "online banking: log-in refused");
            problem!(TOO_MANY_REQUESTS, identity_provider.too_many_here, None)
        }
        ProviderError::Limit(RequestLimit::All) => {
            tracing::error!(%error, "online banking: log-in refused");
            problem!(SERVICE_UNAVAILABLE, identity_provider.too_many, None)
        }
        ProviderError::UnknownRequest | ProviderError::OtherBrowser => {
            tracing::info!(%error, "online banking: answer of the identity provider refused");
            problem!(CONFLICT, identity_provider.over, None)
        }
        ProviderError::Refused(_) => {
            tracing::info!(%error, "online banking: not completed at the identity provider");
            if is_approval {
                problem!(FORBIDDEN, identity_provider.approval_cancelled, None)
            } else {
                problem!(FORBIDDEN, identity_provider.cancelled, None)
            }
        }
        error => {
            tracing::warn!(%error, "online banking: answer of the identity provider refused");
            match error {
                ProviderError::IdToken(token) if token.is_weak() => {
                    problem!(FORBIDDEN, identity_provider.weak, None)
                }
                _ if is_approval => {
                    problem!(FORBIDDEN, identity_provider.approval_not_accepted, None)
                }
                _ => problem!(FORBIDDEN, identity_provider.not_accepted, None),
            }
        }
    };
    problem.then(next)
}

/// Parses the query of the redirect URI: each parameter once, a state, and either a code or an
/// error.
fn parse(query: &str) -> Option<Callback> {
    let (mut state, mut code, mut error, mut issuer) = (None, None, None, None);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = match name {
            "state" => &mut state,
            "code" => &mut code,
            "error" => &mut error,
            "iss" => &mut issuer,
            _ => continue,
        };
        if slot.replace(decoded(value)?).is_some() {
            return None;
        }
    }
    let outcome = match (code, error) {
        (Some(code), None) => Ok(code),
        (None, Some(error)) => Err(error),
        _ => return None,
    };
    Some(Callback::new(state?, outcome, issuer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_state_and_either_a_code_or_an_error() {
        let parse = |query: &str| parse(query).map(|read| (read.state, read.outcome));
        for (query, outcome) in [
            (
                "code=a%2Fb&state=s&iss=https%3A%2F%2Fi&session_state=x",
                Ok("a/b"),
            ),
            ("state=s&error=access_denied", Err("access_denied")),
            // Nothing that could forge a line of the log.
            ("state=s&error=%0Aline", Err("line")),
        ] {
            let outcome = outcome.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(parse(query), Some(("s".to_owned(), outcome)), "{query}");
        }
        for wrong in [
            "",
            "code=a",
            "state=s",
            "code=a&error=b&state=s",
            "code=a&code=b&state=s",
            "code=a&state=s&state=t",
            "code=%zz&state=s",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
