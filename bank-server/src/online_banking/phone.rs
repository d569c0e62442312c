//! Page in place of the bank's app: requests that wait for approval in the decoupled approach.
//!
//! The device holds a cookie for ninety days, set after a second factor: the possession element.
//! The customer enters the password, the knowledge element, for each approval. Everything that is
//! approved is shown beside the button.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use shared_types::pki::digest::sha256;

use super::confirming::Act;
use super::csrf::Purpose;
use super::forms::{Fields, FormBody};
use super::layout::{Field, FieldErrors, Page, Tone, notice, see_other, token_field};
use super::message::{Message, Next};
use super::problem::{Problem, problem};
use super::request::{self, ACCOUNT, Shown, named};
use super::session::{Customer, Visit, Visitor};
use super::texts::{Explained, Texts};
use super::{OnlineBanking, PageResult};
use crate::consent::authorisation::{ApprovalRequest, OfferedAccess};
use crate::domain::{AccountId, MethodId, PsuId};
use crate::http::resource;
use crate::sca::{PhonesError, ScaError, Source, Subject};

/// Name of the field for the password.
const PASSWORD: &str = "password";

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/phone").get(page))
        .service(resource("/phone/enrol").get(confirm).post(enrol))
        .service(resource("/phone/remove").post(remove))
        .service(resource("/phone/{authorisation}/approve").post(approve))
        .service(resource("/phone/{authorisation}/refuse").post(refuse));
}

/// Enrolled device, with its customer.
struct Phone<'a> {
    token: &'a str,
    psu: PsuId,
}

async fn phone(visit: &Visit) -> Result<Option<Phone<'_>>, Problem> {
    let Some(token) = visit.phone() else {
        return Ok(None);
    };
    let owner = visit.state.sca.phones().owner(token).await?;
    Ok(owner.map(|psu| Phone { token, psu }))
}

async fn enrolled(visit: &Visit) -> Result<Phone<'_>, Problem> {
    let phone = phone(visit).await?;
    phone.ok_or_else(|| problem!(FORBIDDEN, phone.over, Phone))
}

async fn page(visit: Visitor) -> PageResult {
    match phone(&visit).await? {
        Some(phone) => waiting(&visit, &phone, None).await,
        None => Ok(not_enrolled(&visit)),
    }
}

fn not_enrolled(visit: &Visit) -> HttpResponse {
    let texts = visit.state.texts;
    let words = &texts.phone;
    let content = html! {
        (sandbox_note(&visit.state))
        div.panel.narrow {
            p.lead { (words.not_enrolled) }
            @if visit.customer().is_some() {
                p { (words.enrol_lead) }
                p { a.button href="/phone/enrol" { (words.enrol) } }
            } @else {
                p { (words.log_in_first) }
                p { a.button href="/log-in?to=/phone" { (texts.frame.to_log_in) } }
            }
        }
    };
    Page::new(words.title, content).respond(visit)
}

/// Note of a sandbox that the page replaces an app that the bank does not have.
fn sandbox_note(state: &OnlineBanking) -> Markup {
    html! { @if state.is_sandbox { p.hint { (state.texts.phone.sandbox) } } }
}

/// List of the customer's devices.
pub(super) async fn list(customer: &Customer) -> Result<Markup, Problem> {
    let state = &customer.state;
    let texts = state.texts;
    let words = &texts.phone;
    let phones = state.sca.phones().of(&customer.psu).await?;
    let here = customer.phone().map(|token| sha256(token.as_bytes()));
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
                                @if here.as_deref() == Some(&*phone.id) {
                                    " " span.tag { (words.this_device) }
                                }
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

/// Answer to one of the requests that is shown again with its error.
struct WrongAnswer {
    authorisation: String,
    field: &'static str,
    text: String,
    /// The accounts that were ticked.
    chosen: Vec<AccountId>,
}

async fn waiting(visit: &Visit, phone: &Phone<'_>, wrong: Option<WrongAnswer>) -> PageResult {
    let state = &visit.state;
    let words = &state.texts.phone;
    let mut requests = Vec::new();
    for approval in state.authorisations.waiting_for(&phone.psu).await? {
        let offer = state.authorisations.offer(&approval, &phone.psu).await.ok();
        requests.push((approval, offer));
    }
    let errors = match &wrong {
        None => FieldErrors::default(),
        Some(wrong) if wrong.field == PASSWORD => {
            FieldErrors::of(&format!("{PASSWORD}-{}", wrong.authorisation), &*wrong.text)
        }
        Some(wrong) => FieldErrors::of(wrong.field, &*wrong.text),
    };
    // The device alone is one factor.
    let is_masked = visit.customer() != Some(&phone.psu);
    let content = html! {
        (sandbox_note(state))
        p.hint { (state.texts.fill(words.of, &[("customer", &phone.psu.0)])) }
        (errors.render(state.texts))
        @if requests.is_empty() { p.panel role="status" { (words.nothing) } }
        @for (approval, offer) in &requests {
            @let id = &approval.authorisation.id;
            @let wrong = wrong.as_ref().filter(|wrong| wrong.authorisation == *id);
            (asking(visit, is_masked, approval, offer.as_ref(), wrong))
        }
        div.actions {
            a.button.quiet href="/phone" { (words.again) }
            form method="post" action="/phone/remove" {
                (token_field(visit, &Purpose::new("remove-phone")))
                button.quiet type="submit" { (words.remove) }
            }
        }
    };
    let page = Page::new(words.title, content).status(errors.status());
    Ok(page.respond(visit))
}

/// Panel of one request. A customer without a matching account can only refuse it.
fn asking(
    visit: &Visit,
    is_masked: bool,
    approval: &ApprovalRequest,
    offer: Option<&OfferedAccess>,
    wrong: Option<&WrongAnswer>,
) -> Markup {
    let state = &visit.state;
    let texts = state.texts;
    let words = &texts.phone;
    let id = &approval.authorisation.id;
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
    let time = texts.time(&state.calendar.local(approval.authorisation.created));
    html! {
        article.panel {
            h2 { (texts.fill(words.asks, &[("name", &approval.tpp.name)])) }
            p.hint { (texts.fill(words.asked_at, &[("time", &time)])) }
            (request::who(texts, &approval.tpp))
            @if let Some(offer) = offer {
                form method="post" action={ "/phone/" (id) "/approve" } {
                    (token_field(visit, &Purpose::of("phone-approve", id)))
                    h3 { (texts.authorise.which) }
                    (request::accounts(texts, offer, shown))
                    h3 { (texts.authorise.how_long) }
                    (request::terms(texts, &approval.consent))
                    (request::limits(texts))
                    (notice(Tone::Warning, words.only_if))
                    (Field {
                        error: of(PASSWORD),
                        ..Field::password(words.password, Some(words.password_hint))
                    }.render_as(&format!("{PASSWORD}-{id}")))
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

/// Enrolment of a device, confirmed by a second factor: the device is one itself from then on.
const ENROLLING: Act = Act {
    name: "enrol-phone",
    path: "/phone/enrol",
    title: |texts| texts.phone.enrol,
    lead: |texts| texts.phone.confirm_lead,
    go_on: |texts| texts.phone.enrol_now,
};

async fn confirm(customer: Customer, request: HttpRequest) -> PageResult {
    ENROLLING.page(&customer, request.query_string()).await
}

async fn enrol(customer: Customer, body: FormBody) -> PageResult {
    if let Some(again) = ENROLLING.check(&customer, body).await? {
        return Ok(again);
    }
    let (earlier, credentials) = (customer.phone(), Some(customer.credentials));
    let phones = customer.state.sca.phones();
    match phones
        .enrol_in_place_of(earlier, &customer.psu, credentials)
        .await
    {
        Ok(phone) => {
            customer.keep_phone(&phone.0);
            Ok(see_other("/phone"))
        }
        Err(PhonesError::TooMany) => Err(problem!(CONFLICT, phone.too_many, Passkeys)),
        Err(PhonesError::CredentialsChanged) => Err(Problem::session_over()),
        Err(PhonesError::Store(error)) => Err(error.into()),
    }
}

async fn remove(visit: Visitor, body: FormBody) -> PageResult {
    body.read_empty(Purpose::new("remove-phone")).await?;
    let phone = enrolled(&visit).await?;
    visit.state.sca.phones().forget(phone.token).await?;
    visit.keep_phone("");
    Ok(Message::done(|texts| &texts.phone.removed, Next::Phone).respond(&visit))
}

async fn approve(visit: Visitor, id: web::Path<String>, body: FormBody) -> PageResult {
    let fields = Fields {
        single: &[PASSWORD],
        repeated: &[ACCOUNT],
    };
    let form = body.read(Purpose::of("phone-approve", &id), fields).await?;
    let phone = enrolled(&visit).await?;
    let approval = waiting_request(&visit, &phone, &id).await?;
    let OnlineBanking {
        authorisations,
        sca,
        texts,
        ..
    } = visit.state.get_ref();
    let named = named(&approval.tpp);
    let offer = authorisations.offer(&approval, &phone.psu).await;
    let offer = offer.map_err(&named)?;
    let chosen = request::chosen(&form, &offer)?;
    let selected = offer.is_choice.then_some(chosen.as_slice());
    let device = sha256(phone.token.as_bytes());
    let source = Source::Device(&device);
    let password = form.field(PASSWORD)?;
    let (field, text) = if chosen.is_empty() {
        (ACCOUNT, texts.authorise.none_chosen)
    } else if password.is_empty() {
        (PASSWORD, texts.log_in.password_missing)
    } else {
        match sca.check_password(&phone.psu, password, source).await {
            Ok(credentials) => {
                let claimed = authorisations.claim_under(&id, &phone.psu, credentials);
                claimed.await.map_err(&named)?;
                let subject = Subject::authorisation(&id);
                let proof = sca.prove(&phone.psu, &MethodId::App, &subject, phone.token, source);
                let approved = authorisations.approve(&id, proof.await?, selected).await;
                approved.map_err(&named)?;
                return Ok(done(&visit, |texts| &texts.phone.approved, &approval));
            }
            Err(ScaError::WrongCredentials) => (PASSWORD, texts.phone.wrong),
            Err(error) => return Err(error.into()),
        }
    };
    let wrong = WrongAnswer {
        authorisation: id.into_inner(),
        field,
        text: text.to_owned(),
        chosen,
    };
    waiting(&visit, &phone, Some(wrong)).await
}

async fn refuse(visit: Visitor, id: web::Path<String>, body: FormBody) -> PageResult {
    body.read_empty(Purpose::of("phone-refuse", &id)).await?;
    let phone = enrolled(&visit).await?;
    let approval = waiting_request(&visit, &phone, &id).await?;
    let refused = visit.state.authorisations.refuse(&id, &phone.psu).await;
    refused.map_err(named(&approval.tpp))?;
    Ok(done(&visit, |texts| &texts.phone.refused, &approval))
}

fn done(visit: &Visit, text: fn(&Texts) -> &Explained, approval: &ApprovalRequest) -> HttpResponse {
    let done = Message::done(text, Next::Phone).with("name", approval.tpp.name.clone());
    done.respond(visit)
}

/// The request with that id, if it waits in this customer's app.
async fn waiting_request(
    visit: &Visit,
    phone: &Phone<'_>,
    id: &str,
) -> Result<ApprovalRequest, Problem> {
    let waiting = visit.state.authorisations.waiting_for(&phone.psu).await?;
    let mut waiting = waiting.into_iter();
    let found = waiting.find(|approval| approval.authorisation.id == id);
    found.ok_or_else(|| problem!(CONFLICT, authorise.lapsed, Phone))
}
