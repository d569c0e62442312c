//! Approval page of a consent, to which a TPP sends the customer in the redirect approach.
//!
//! A customer who comes from the TPP logs in for this authorisation alone, with both elements: that
//! log-in is the proof with which the consent is approved, and its session ends with the answer. A
//! customer who was logged in before gives a second element here, which is valid for this
//! authorisation alone.
//!
//! The authorisation becomes that of the customer who logs in for it, or who answers it, if she can. Opening the page while
//! logged in binds it to no customer: the page says who is logged in, and leads on as another one. Until it is answered,
//! another customer who logs in for it takes the place of the one before, unless the TPP has named that one.

use std::rc::Rc;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::ConsentStatus;
use url::Url;

use super::OnlineBanking;
use super::csrf::Purpose;
use super::destination::Destination;
use super::forms::{Fields, Form};
use super::layout::{Page, as_another_customer, errors, token_field};
use super::log_in::status_of;
use super::message::{Message, Next};
use super::problem::Problem;
use super::request::{self, ACCOUNT, Shown};
use super::second_factor::{self, ANSWER, Answered, Asked, METHOD};
use super::session::{Answering, Visit, Visitor};
use super::texts::{Explained, Texts};
use crate::consent::authorisation::{AuthorisationError, Done, Offer, Page as Request};
use crate::domain::{AccountId, MethodId, TppRecord};
use crate::http::resource;
use crate::sca::Subject;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/authorise/{authorisation}").get(page))
        .service(resource("/authorise/{authorisation}/approve").post(approve))
        .service(resource("/authorise/{authorisation}/refuse").post(refuse));
}

/// What is wrong with an answer, and what it was.
#[derive(Default)]
struct Before<'a> {
    method: Option<MethodId>,
    chosen: &'a [AccountId],
    wrong: Vec<(&'static str, String)>,
}

async fn page(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    // A request that has ended shows that without a log-in. The id cannot be guessed.
    let asked = state.authorisations.page(&id).await;
    let asked = asked.map_err(|error| request::problem(&state, error, None))?;
    check_open(&state, &asked)?;
    let known = Answering::of(&visit, &id);
    let known = known.ok_or_else(|| Problem::log_in(request.path()))?;
    let (asked, offer) = if known.proof.is_some() {
        claimed(&state, &known, &id).await?
    } else {
        let offer = state.authorisations.preview(&asked, &known.psu).await;
        let offer = offer.map_err(|error| not_by_her(&state, error, &asked))?;
        (asked, offer)
    };
    let before = Before {
        method: second_factor::method_of(request.query_string()),
        ..Before::default()
    };
    question(&state, &known, &asked, &offer, before).await
}

/// Fails if there is nothing to approve any more.
fn check_open(state: &OnlineBanking, asked: &Request) -> Result<(), Problem> {
    let told = |error| Err(request::problem(state, error, Some(&asked.tpp)));
    let authorisation = &asked.authorisation;
    if authorisation.approach != ScaApproach::Redirect {
        return told(AuthorisationError::OtherApproach(authorisation.approach));
    }
    if authorisation.status.is_final() || authorisation.status == ScaStatus::Unconfirmed {
        return told(AuthorisationError::OutOfTurn(authorisation.status));
    }
    match asked.consent_status {
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised => Ok(()),
        status => told(AuthorisationError::ConsentOver(status)),
    }
}

/// The request, which is this customer's from now on, and what she would open.
async fn claimed(
    state: &OnlineBanking,
    known: &Answering,
    id: &str,
) -> Result<(Request, Offer), Problem> {
    let asked = state.authorisations.page(id).await;
    let asked = asked.map_err(|error| request::problem(state, error, None))?;
    check_open(state, &asked)?;
    let claimed = state
        .authorisations
        .claim_under(id, &known.psu, known.credentials)
        .await;
    let claimed = claimed.map_err(|error| refused_answer(state, error, &asked))?;
    let offer = state.authorisations.offer(&claimed, &known.psu).await;
    let offer = offer.map_err(|error| not_by_her(state, error, &asked))?;
    Ok((claimed, offer))
}

/// What this customer cannot answer, another one perhaps can.
fn not_by_her(state: &OnlineBanking, error: AuthorisationError, asked: &Request) -> Problem {
    use AuthorisationError::{ApprovedBefore, NoAccount, NotTheCustomers, OtherCustomer};

    let is_hers_alone = matches!(
        error,
        ApprovedBefore | NoAccount | NotTheCustomers(_) | OtherCustomer
    );
    let problem = request::problem(state, error, Some(&asked.tpp));
    if !is_hers_alone {
        return problem;
    }
    let path = format!("/authorise/{}", asked.authorisation.id);
    problem.then(Next::AsAnotherCustomer(Destination::or_start(Some(&path))))
}

/// The same of an answer: since its page was shown, another customer may have logged in for the request.
fn refused_answer(state: &OnlineBanking, error: AuthorisationError, asked: &Request) -> Problem {
    match error {
        AuthorisationError::OtherCustomer if asked.authorisation.by_log_in => {
            let error = AuthorisationError::OutOfTurn(asked.authorisation.status);
            request::problem(state, error, Some(&asked.tpp))
        }
        error => not_by_her(state, error, asked),
    }
}

async fn question(
    state: &OnlineBanking,
    known: &Answering,
    asked: &Request,
    offer: &Offer,
    before: Before<'_>,
) -> Result<HttpResponse, Problem> {
    let texts = state.texts;
    let words = &texts.authorise;
    let authorisation = &asked.authorisation;
    let path = format!("/authorise/{}", authorisation.id);
    let factor = if known.proof.is_some() || is_exempt(state, known, asked).await? {
        None
    } else {
        let subject = Subject::authorisation(&authorisation.id);
        Some(Asked::ask(state, &known.visit, &known.psu, &subject, before.method).await?)
    };
    let wrong = |field: &str| {
        let mut wrong = before.wrong.iter();
        let found = wrong.find(|(name, _)| *name == field);
        found.map(|(_, text)| text.as_str())
    };
    let shown = Shown {
        within: &authorisation.id,
        is_masked: false,
        chosen: before.chosen,
        wrong: wrong(ACCOUNT),
    };
    let is_passkey = factor.as_ref().is_some_and(Asked::is_passkey);
    let content = html! {
        p.lead { (texts.fill(words.lead, &[("name", &asked.tpp.name), ("bank", &state.bank_name)])) }
        (errors(texts, &before.wrong))
        @if authorisation.psu.is_none() || authorisation.by_log_in {
            section.panel aria-labelledby="logged-in" {
                h2 #logged-in { (texts.fill(words.logged_in_as, &[("customer", &known.psu.0)])) }
                (as_another_customer(texts, &known.visit, &path))
            }
        }
        section.panel aria-labelledby="who" {
            h2 #who { (words.who) }
            (request::who(texts, &asked.tpp))
        }
        form method="post" action={ (path) "/approve" } data-passkey=[factor.as_ref().and_then(Asked::options)] {
            (token_field(&known.visit, &purpose(&authorisation.id)))
            section.panel aria-labelledby="which" {
                h2 #which { (words.which) }
                (request::accounts(texts, offer, shown))
            }
            section.panel aria-labelledby="terms" {
                h2 #terms { (words.how_long) }
                (request::terms(texts, &asked.consent))
            }
            section.panel aria-labelledby="answer-title" {
                h2 #answer-title { (words.your_answer) }
                p.hint { (texts.fill(words.as_customer, &[("customer", &known.psu.0)])) }
                @if let Some(factor) = &factor {
                    (factor.fields(texts, wrong(ANSWER)))
                    (factor.other_way(texts, &path))
                }
            }
            div.actions {
                button type="submit" data-passkey-button hidden[is_passkey] { (words.approve) }
                button.danger type="submit" formaction={ (path) "/refuse" } formnovalidate {
                    (words.refuse)
                }
            }
        }
    };
    let page = Page::new(words.title, content)
        .status(status_of(&before.wrong))
        .leads_to(origins(asked));
    let page = if is_passkey { page.with_script() } else { page };
    Ok(page.respond(state, &known.visit))
}

async fn is_exempt(
    state: &OnlineBanking,
    known: &Answering,
    asked: &Request,
) -> Result<bool, Problem> {
    let authorisations = &state.authorisations;
    let exempt = authorisations.is_exempt(&asked.authorisation, &known.psu);
    let exempt = exempt.await;
    exempt.map_err(|error| request::problem(state, error, Some(&asked.tpp)))
}

/// Where the answer may lead: to the TPP's own addresses, which were checked when it named them.
fn origins(asked: &Request) -> Option<String> {
    let authorisation = &asked.authorisation;
    let mut origins: Vec<String> = [&authorisation.redirect_uri, &authorisation.nok_redirect_uri]
        .into_iter()
        .flatten()
        .filter_map(|uri| Url::parse(uri).ok())
        .filter(|uri| matches!(uri.scheme(), "https" | "http"))
        .map(|uri| uri.origin().ascii_serialization())
        .collect();
    origins.dedup();
    (!origins.is_empty()).then(|| origins.join(" "))
}

/// Both answers are in one form, with two buttons.
fn purpose(id: &str) -> Purpose {
    Purpose::of("authorise", id)
}

async fn read(
    visit: &Rc<Visit>,
    id: &str,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<(Answering, Form), Problem> {
    let known = Answering::of(visit, id).ok_or_else(Problem::session_over)?;
    let fields = Fields {
        single: &[METHOD, ANSWER],
        repeated: &[ACCOUNT],
    };
    let form = Form::read(visit, &purpose(id), fields, request.headers(), body).await?;
    Ok((known, form))
}

async fn approve(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (known, form) = read(&visit, &id, &request, body).await?;
    let (asked, offer) = claimed(&state, &known, &id).await?;
    let told = |error| request::problem(&state, error, Some(&asked.tpp));
    let chosen = request::chosen(&form, &offer)?;
    if chosen.is_empty() {
        let before = Before {
            method: form.optional(METHOD).and_then(|name| name.parse().ok()),
            chosen: &chosen,
            wrong: vec![(ACCOUNT, state.texts.authorise.none_chosen.to_owned())],
        };
        return question(&state, &known, &asked, &offer, before).await;
    }
    let selected = offer.is_choice.then_some(chosen.as_slice());
    if known.proof.is_none() && selected.is_none() && is_exempt(&state, &known, &asked).await? {
        let done = state.authorisations.approve_exempt(&id, &known.psu).await;
        return finish(&state, &known, done.map_err(told)?, &asked.tpp).await;
    }
    if let Some(proof) = known.proof.clone() {
        let done = state.authorisations.approve(&id, proof, selected).await;
        return finish(&state, &known, done.map_err(told)?, &asked.tpp).await;
    }
    let subject = Subject::authorisation(&id);
    match second_factor::check(&state, &known.visit, &known.psu, &subject, &form).await? {
        Answered::Proved(proof) => {
            let done = state.authorisations.approve(&id, proof, selected).await;
            finish(&state, &known, done.map_err(told)?, &asked.tpp).await
        }
        Answered::Wrong(method, text) => {
            let before = Before {
                method: Some(method),
                chosen: &chosen,
                wrong: vec![(ANSWER, text)],
            };
            question(&state, &known, &asked, &offer, before).await
        }
        Answered::UsedUp => {
            let given_up = state.authorisations.give_up(&id, &known.psu).await;
            given_up.map_err(told)?;
            end_if_begun_for_this(&state, &known.visit).await?;
            Err(used_up(&asked.tpp))
        }
    }
}

/// So many codes were wrong that the request has ended. The consent waits: its TPP may ask once more.
fn used_up(tpp: &TppRecord) -> Problem {
    let problem = Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        |texts| &texts.authorise.used_up,
        Next::None,
    );
    problem.with("name", tpp.name.clone())
}

async fn refuse(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    id: web::Path<String>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (known, _) = read(&visit, &id, &request, body).await?;
    // A customer without a matching account can still refuse.
    let asked = state.authorisations.page(&id).await;
    let asked = asked.map_err(|error| request::problem(&state, error, None))?;
    check_open(&state, &asked)?;
    let told = |error| request::problem(&state, error, Some(&asked.tpp));
    let authorisations = &state.authorisations;
    let claimed = authorisations.claim_under(&id, &known.psu, known.credentials);
    claimed
        .await
        .map_err(|error| refused_answer(&state, error, &asked))?;
    let done = authorisations.refuse(&id, &known.psu).await.map_err(told)?;
    finish(&state, &known, done, &asked.tpp).await
}

/// Redirects to the TPP, or shows the outcome.
async fn finish(
    state: &OnlineBanking,
    known: &Answering,
    done: Done,
    tpp: &TppRecord,
) -> Result<HttpResponse, Problem> {
    end_if_begun_for_this(state, &known.visit).await?;
    if let Some(uri) = done.return_to {
        return Ok(HttpResponse::SeeOther()
            .insert_header((LOCATION, uri.as_str()))
            .finish());
    }
    let text: fn(&Texts) -> &Explained = match done.consent_status {
        ConsentStatus::Rejected => |texts| &texts.authorise.refused,
        ConsentStatus::PartiallyAuthorised | ConsentStatus::Received => {
            |texts| &texts.authorise.approved_partly
        }
        _ => |texts| &texts.authorise.approved,
    };
    let done = Message::done(text, Next::None).with("name", tpp.name.clone());
    Ok(done.respond(state, &known.visit))
}

async fn end_if_begun_for_this(state: &OnlineBanking, visit: &Visit) -> Result<(), Problem> {
    if visit.customer().is_none() {
        visit.end(state).await?;
    }
    Ok(())
}
