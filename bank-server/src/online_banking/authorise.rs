//! Approval page of a consent, to which a TPP sends the customer in the redirect approach.
//!
//! A customer who comes from the TPP logs in for this authorisation alone, with both factors: that
//! log-in is the proof with which the consent is approved, and its session ends with the answer. A
//! customer who was logged in before gives a second factor here, which is valid for this
//! authorisation alone. With an identity provider, each approval is confirmed there, whichever way
//! the customer has logged in.
//!
//! An authorisation is assigned to the customer who logs in for it, or who answers it. Opening the
//! page while logged in assigns it to no customer. Until it is answered, a log-in of another
//! customer reassigns it, unless the TPP has named the customer.

use std::rc::Rc;

use actix_web::{HttpRequest, web};
use maud::html;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::ConsentStatus;
use url::Url;

use super::PageResult;
use super::csrf::Purpose;
use super::destination::Destination;
use super::forms::{Fields, Form, FormBody};
use super::identity_provider;
use super::layout::{FieldErrors, Page, as_another_customer, see_other, token_field};
use super::message::{Message, Next};
use super::problem::{Problem, problem};
use super::request::{self, ACCOUNT, Shown, named};
use super::second_factor::{self, ANSWER, FactorPrompt, FactorResult, METHOD};
use super::session::{Answering, Visit, Visitor};
use super::texts::{Explained, Texts};
use crate::consent::authorisation::{
    ApprovalOutcome, ApprovalRequest, AuthorisationError, OfferedAccess,
};
use crate::domain::{AccountId, MethodId, TppRecord};
use crate::http::resource;
use crate::sca::Subject;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/authorise/{authorisation}").get(page))
        .service(resource("/authorise/{authorisation}/approve").post(approve))
        .service(resource("/authorise/{authorisation}/refuse").post(refuse));
}

/// Answer that is shown again with its errors.
#[derive(Default)]
struct PreviousAnswer<'a> {
    method: Option<MethodId>,
    chosen: &'a [AccountId],
    errors: FieldErrors,
}

async fn page(visit: Visitor, id: web::Path<String>, request: HttpRequest) -> PageResult {
    // A request that has ended shows that without a log-in. The id cannot be guessed.
    let approval = open(&visit, &id).await?;
    let known = Answering::of(&visit.0, &id);
    let known = known.ok_or_else(|| Problem::log_in(request.path()))?;
    let (approval, offer) = if known.proof.is_some() {
        claimed(&known, &id).await?
    } else {
        let offer = visit
            .state
            .authorisations
            .preview(&approval, &known.psu)
            .await;
        let offer = offer.map_err(|error| refused(error, &approval))?;
        (approval, offer)
    };
    let previous = PreviousAnswer {
        method: second_factor::method_of(request.query_string()),
        ..PreviousAnswer::default()
    };
    show(&known, &approval, &offer, previous).await
}

/// The request, if it waits for an answer on this page.
pub(super) async fn open(visit: &Visit, id: &str) -> Result<ApprovalRequest, Problem> {
    let approval = visit.state.authorisations.request(id).await?;
    let authorisation = &approval.authorisation;
    let error = if authorisation.approach != ScaApproach::Redirect {
        AuthorisationError::OtherApproach(authorisation.approach)
    } else if authorisation.status.is_final() || authorisation.status == ScaStatus::Unconfirmed {
        AuthorisationError::OutOfTurn(authorisation.status)
    } else {
        match approval.consent_status {
            ConsentStatus::Received | ConsentStatus::PartiallyAuthorised => return Ok(approval),
            status => AuthorisationError::ConsentOver(status),
        }
    };
    Err(named(&approval.tpp)(error))
}

/// Assigns the request to this customer, with the accounts that it would open.
pub(super) async fn claimed(
    known: &Answering,
    id: &str,
) -> Result<(ApprovalRequest, OfferedAccess), Problem> {
    let authorisations = &known.visit.state.authorisations;
    let approval = open(&known.visit, id).await?;
    let claimed = authorisations.claim_under(id, &known.psu, known.credentials);
    let claimed = claimed.await;
    let claimed = claimed.map_err(|error| refused_answer(error, &approval))?;
    let offer = authorisations.offer(&claimed, &known.psu).await;
    let offer = offer.map_err(|error| refused(error, &approval))?;
    Ok((claimed, offer))
}

/// Error page of a request that this customer cannot answer, with a way on for another customer, or
/// that cannot be answered while the core fails, with a link to try again.
fn refused(error: AuthorisationError, approval: &ApprovalRequest) -> Problem {
    use AuthorisationError::{
        ApprovedBefore, CoreBanking, NoAccount, NotTheCustomers, OtherCustomer,
    };

    let path = format!("/authorise/{}", approval.authorisation.id);
    let page = Destination::or_start(Some(&path));
    let next = match &error {
        ApprovedBefore | NoAccount | NotTheCustomers(_) | OtherCustomer => {
            Some(Next::AsAnotherCustomer(page))
        }
        CoreBanking(_) => Some(Next::Again(page)),
        _ => None,
    };
    let problem = named(&approval.tpp)(error);
    match next {
        Some(next) => problem.then(next),
        None => problem,
    }
}

/// Error page of an answer: another customer may have logged in for the request since its page was
/// shown.
fn refused_answer(error: AuthorisationError, approval: &ApprovalRequest) -> Problem {
    match error {
        AuthorisationError::OtherCustomer if approval.authorisation.by_log_in => {
            named(&approval.tpp)(AuthorisationError::OutOfTurn(approval.authorisation.status))
        }
        error => refused(error, approval),
    }
}

/// The page: the decision first, then the details of the request.
async fn show(
    known: &Answering,
    approval: &ApprovalRequest,
    offer: &OfferedAccess,
    previous: PreviousAnswer<'_>,
) -> PageResult {
    let visit: &Visit = &known.visit;
    let texts = visit.state.texts;
    let words = &texts.authorise;
    let authorisation = &approval.authorisation;
    let path = format!("/authorise/{}", authorisation.id);
    let is_confirmed = known.proof.is_some() || is_exempt(known, approval).await?;
    let provider = visit.state.identity_provider.as_ref();
    let provider = provider.filter(|_| !is_confirmed);
    let prompt = if is_confirmed || provider.is_some() {
        None
    } else {
        let subject = Subject::authorisation(&authorisation.id);
        Some(FactorPrompt::begin(visit, &known.psu, &subject, previous.method).await?)
    };
    let errors = &previous.errors;
    let shown = Shown {
        within: &authorisation.id,
        is_masked: false,
        chosen: previous.chosen,
        wrong: errors.get(ACCOUNT),
    };
    let is_passkey = prompt.as_ref().is_some_and(FactorPrompt::is_passkey);
    let names = [
        ("name", approval.tpp.name.as_str()),
        ("bank", &visit.state.bank_name),
    ];
    let customer = [("customer", known.psu.0.as_str())];
    let content = html! {
        p.lead { (texts.fill(words.lead, &names)) }
        (errors.render(texts))
        form.panel method="post" action={ (path) "/approve" }
            data-passkey=[prompt.as_ref().and_then(FactorPrompt::options)]
            aria-labelledby="decision" {
            (token_field(visit, &purpose(&authorisation.id)))
            h2 #decision { (words.your_answer) }
            (request::accounts(texts, offer, shown))
            (request::terms(texts, &approval.consent))
            @if let Some(prompt) = &prompt { (prompt.fields(texts, errors.get(ANSWER))) }
            @if provider.is_some() { p.hint { (texts.identity_provider.confirm_next) } }
            div.actions {
                button type="submit" data-passkey-button hidden[is_passkey] { (words.approve) }
                button.danger type="submit" formaction={ (path) "/refuse" } formnovalidate {
                    (words.refuse)
                }
            }
            @if let Some(prompt) = &prompt { (prompt.other_way(texts, &path)) }
            p.hint { (texts.fill(words.as_customer, &customer)) }
        }
        section.panel aria-labelledby="who" {
            h2 #who { (words.who) }
            (request::who(texts, &approval.tpp))
            (request::limits(texts))
        }
        @if authorisation.psu.is_none() || authorisation.by_log_in {
            section.panel aria-labelledby="not-you" {
                h2 #not-you { (words.not_you) }
                (as_another_customer(visit, &path))
            }
        }
    };
    let confirmed_at = match provider {
        Some(provider) => provider.origin().await,
        None => None,
    };
    let page = Page::new(words.title, content)
        .status(errors.status())
        .leads_to(origins(approval, confirmed_at))
        .script(is_passkey);
    Ok(page.respond(visit))
}

/// Whether the password alone is enough. With an identity provider, the customer has given none.
async fn is_exempt(known: &Answering, approval: &ApprovalRequest) -> Result<bool, Problem> {
    if known.visit.state.identity_provider.is_some() {
        return Ok(false);
    }
    let authorisations = &known.visit.state.authorisations;
    let exempt = authorisations.is_exempt(&approval.authorisation, &known.psu);
    exempt.await.map_err(named(&approval.tpp))
}

/// Origins to which the answer may redirect: the TPP's own addresses, which were checked when it
/// named them, and the identity provider.
fn origins(approval: &ApprovalRequest, provider: Option<String>) -> Option<String> {
    let authorisation = &approval.authorisation;
    let mut origins: Vec<String> = [&authorisation.redirect_uri, &authorisation.nok_redirect_uri]
        .into_iter()
        .flatten()
        .filter_map(|uri| Url::parse(uri).ok())
        .filter(|uri| matches!(uri.scheme(), "https" | "http"))
        .map(|uri| uri.origin().ascii_serialization())
        .collect();
    origins.dedup();
    origins.extend(provider);
    (!origins.is_empty()).then(|| origins.join(" "))
}

/// Purpose of the form, which has a button for each answer.
fn purpose(id: &str) -> Purpose {
    Purpose::of("authorise", id)
}

async fn read(visit: &Rc<Visit>, id: &str, body: FormBody) -> Result<(Answering, Form), Problem> {
    let known = Answering::of(visit, id).ok_or_else(Problem::session_over)?;
    let fields = Fields {
        single: &[METHOD, ANSWER],
        repeated: &[ACCOUNT],
    };
    Ok((known, body.read(purpose(id), fields).await?))
}

async fn approve(visit: Visitor, id: web::Path<String>, body: FormBody) -> PageResult {
    let (known, form) = read(&visit.0, &id, body).await?;
    let (approval, offer) = claimed(&known, &id).await?;
    let authorisations = &visit.state.authorisations;
    let chosen = request::chosen(&form, &offer)?;
    if chosen.is_empty() {
        let previous = PreviousAnswer {
            method: form.optional(METHOD).and_then(|name| name.parse().ok()),
            chosen: &chosen,
            errors: FieldErrors::of(ACCOUNT, visit.state.texts.authorise.none_chosen),
        };
        return show(&known, &approval, &offer, previous).await;
    }
    let selected = offer.is_choice.then_some(chosen.as_slice());
    if known.proof.is_none() && selected.is_none() && is_exempt(&known, &approval).await? {
        let decision = authorisations.approve_exempt(&id, &known.psu).await;
        return finish(&visit, decision, &approval.tpp).await;
    }
    if known.proof.is_none() && visit.state.identity_provider.is_some() {
        return identity_provider::begin_approval(&known, &approval, &offer, &chosen).await;
    }
    let proof = if let Some(proof) = known.proof.clone() {
        proof
    } else {
        let subject = Subject::authorisation(&id);
        match second_factor::check(&visit, &known.psu, &subject, &form).await? {
            FactorResult::Proved(proof) => proof,
            FactorResult::Wrong(method, text) => {
                let previous = PreviousAnswer {
                    method: Some(method),
                    chosen: &chosen,
                    errors: FieldErrors::of(ANSWER, text),
                };
                return show(&known, &approval, &offer, previous).await;
            }
            FactorResult::Exhausted => {
                let given_up = authorisations.give_up(&id, &known.psu).await;
                given_up.map_err(named(&approval.tpp))?;
                end_if_begun_for_this(&visit).await?;
                // The consent is still open: its TPP may start another authorisation.
                let problem = problem!(TOO_MANY_REQUESTS, authorise.used_up, None);
                return Err(problem.with("name", &approval.tpp.name));
            }
        }
    };
    let decision = authorisations.approve(&id, proof, selected).await;
    finish(&visit, decision, &approval.tpp).await
}

async fn refuse(visit: Visitor, id: web::Path<String>, body: FormBody) -> PageResult {
    let (known, _) = read(&visit.0, &id, body).await?;
    // A customer without a matching account can still refuse.
    let approval = open(&visit, &id).await?;
    let authorisations = &visit.state.authorisations;
    let claimed = authorisations.claim_under(&id, &known.psu, known.credentials);
    claimed
        .await
        .map_err(|error| refused_answer(error, &approval))?;
    let decision = authorisations.refuse(&id, &known.psu).await;
    finish(&visit, decision, &approval.tpp).await
}

/// Redirects to the TPP, or shows the outcome.
pub(super) async fn finish(
    visit: &Visit,
    decision: Result<ApprovalOutcome, AuthorisationError>,
    tpp: &TppRecord,
) -> PageResult {
    let decision = decision.map_err(named(tpp))?;
    end_if_begun_for_this(visit).await?;
    if let Some(uri) = decision.return_to {
        return Ok(see_other(uri.as_str()));
    }
    let text: fn(&Texts) -> &Explained = match decision.consent_status {
        ConsentStatus::Rejected => |texts| &texts.authorise.refused,
        ConsentStatus::PartiallyAuthorised | ConsentStatus::Received => {
            |texts| &texts.authorise.approved_partly
        }
        _ => |texts| &texts.authorise.approved,
    };
    let done = Message::done(text, Next::None).with("name", tpp.name.clone());
    Ok(done.respond(visit))
}

async fn end_if_begun_for_this(visit: &Visit) -> Result<(), Problem> {
    if visit.customer().is_none() {
        visit.end().await?;
    }
    Ok(())
}
