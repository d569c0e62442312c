//! Log-in and log-out.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::OnlineBanking;
use super::csrf::Purpose;
use super::destination::Destination;
use super::forms::{Fields, Form};
use super::layout::{Field, Page, errors, token_field};
use super::message::{Message, Next};
use super::problem::Problem;
use super::second_factor::{self, ANSWER, Asked, METHOD};
use super::session::{Visit, Visitor};
use super::texts::Texts;
use crate::domain::{MethodId, PsuId};
use crate::http::resource;
use crate::sca::{PASSWORD_LENGTH, ScaError, Subject};
use crate::store::credentials::CredentialsVersion;
use crate::store::sessions::Level;

/// Fields of the forms.
const CODE: &str = "code";
const SEALED: &str = "sealed";

/// Bytes of a log-in that waits for a passkey: a path and a customer id fit.
const MAX_PASSKEY_LOG_IN: usize = 1024;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/log-in").get(page).post(log_in))
        .service(resource("/log-in/passkey").post(finish))
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
    let query = request.query_string();
    let to = Destination::of_query(query);
    if let Some(customer) = visit.customer() {
        return already(&state, &visit, &customer.0, &to);
    }
    let begun = Begun::new(&state, to, second_factor::method_of(query));
    log_in_page(&state, &visit, &begun, "", &[])
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

/// A log-in that has begun: where it leads, and the second element that it takes.
struct Begun {
    to: Destination,
    with_passkey: bool,
}

impl Begun {
    /// With a code, unless the other is wanted, and there are pages for it.
    fn new(state: &OnlineBanking, to: Destination, method: Option<MethodId>) -> Self {
        let with_passkey = method == Some(MethodId::Passkey) && state.sca.passkeys().is_some();
        Self { to, with_passkey }
    }

    fn method(&self) -> MethodId {
        if self.with_passkey {
            MethodId::Passkey
        } else {
            MethodId::Totp
        }
    }

    /// The one thing that both elements are given for: the authorisation that the customer came to answer, or this visit.
    fn subject(&self, visit: &Visit) -> Subject {
        match self.to.authorisation() {
            Some(id) => Subject::authorisation(id),
            None => Subject::log_in(visit.digest()),
        }
    }

    /// What the session will be for.
    fn level(&self) -> Level {
        match self.to.authorisation() {
            Some(id) => Level::Authorisation {
                id: id.to_owned(),
                method: self.method().to_string(),
            },
            None => Level::Full,
        }
    }

    /// The page of this log-in, with the other second element.
    fn other_way(&self) -> String {
        let method = if self.with_passkey {
            MethodId::Totp
        } else {
            MethodId::Passkey
        };
        format!("/log-in?method={method}&to={}", self.to.path())
    }

    fn wrong(&self, texts: &Texts) -> [(&'static str, String); 1] {
        let text = if self.with_passkey {
            texts.log_in.wrong_with_passkey
        } else {
            texts.log_in.wrong
        };
        [("customer", text.to_owned())]
    }
}

/// The page with the form, and what was wrong with it.
fn log_in_page(
    state: &OnlineBanking,
    visit: &Visit,
    begun: &Begun,
    customer: &str,
    wrong: &[(&str, String)],
) -> HttpResponse {
    let (texts, factor) = (&state.texts.log_in, &state.texts.second_factor);
    let lead = if begun.to.authorisation().is_some() {
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
                input type="hidden" name="to" value=(begun.to.path());
                input type="hidden" name=(METHOD) value=(begun.method());
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
                @if !begun.with_passkey { (second_factor::code_field(state.texts, CODE, error(CODE))) }
                button type="submit" {
                    @if begun.with_passkey { (texts.go_on) } @else { (factor.log_in) }
                }
            }
            @if state.sca.passkeys().is_some() {
                p {
                    a href=(begun.other_way()) {
                        @if begun.with_passkey { (factor.with_code) } @else { (factor.with_passkey) }
                    }
                }
            }
            p.hint { (texts.no_second_element) }
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

/// Checks both elements before revealing anything of either (Delegated Regulation (EU) 2018/389,
/// article 4(3)(a)): password and code in this form; with a passkey, the password in this form and the
/// passkey on the next page, whether the password was right or not.
async fn log_in(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    if visit.customer().is_some() {
        return Err(already_other());
    }
    let fields = Fields::single(&["customer", "password", CODE, METHOD, "to"]);
    let purpose = Purpose::new("log-in");
    let form = Form::read(&visit, &purpose, fields, request.headers(), body).await?;
    let customer = form.field("customer")?.trim();
    let password = form.field("password")?;
    let code = form.optional(CODE).unwrap_or_default().trim();
    let method = form.optional(METHOD).and_then(|name| name.parse().ok());
    let begun = Begun::new(&state, Destination::or_start(form.optional("to")), method);
    let (texts, factor) = (&state.texts.log_in, &state.texts.second_factor);
    let missing: Vec<(&str, String)> = [
        ("customer", customer, texts.customer_missing),
        ("password", password, texts.password_missing),
        (CODE, code, factor.code_missing),
    ]
    .into_iter()
    .filter(|(name, value, _)| value.is_empty() && !(begun.with_passkey && *name == CODE))
    .map(|(name, _, text)| (name, text.to_owned()))
    .collect();
    if !missing.is_empty() {
        return Ok(log_in_page(&state, &visit, &begun, customer, &missing));
    }
    let psu = PsuId(customer.to_owned());
    let (subject, source) = (begun.subject(&visit), visit.source(&psu));
    if begun.with_passkey {
        let checked = state
            .sca
            .begin_passkey_log_in(&psu, password, &subject, source);
        let (credentials, options) = checked
            .await
            .map_err(|error| Problem::of_sca(&state, error))?;
        let begun = PasskeyLogIn {
            to: begun.to.path().to_owned(),
            customer: psu.0,
            credentials,
        };
        return begun.page(&state, &visit, &options);
    }
    let checked = state
        .sca
        .log_in(&psu, password, code, &subject, source)
        .await;
    match checked {
        Ok((proof, credentials)) => begin(&state, &visit, &begun, proof.psu(), credentials).await,
        Err(ScaError::NotACode) => {
            let wrong = [(CODE, factor.no_code.to_owned())];
            Ok(log_in_page(&state, &visit, &begun, customer, &wrong))
        }
        Err(error) => not_proved(&state, &visit, &begun, error),
    }
}

/// Both elements were right: begins the session.
async fn begin(
    state: &OnlineBanking,
    visit: &Visit,
    begun: &Begun,
    psu: &PsuId,
    credentials: CredentialsVersion,
) -> Result<HttpResponse, Problem> {
    if visit.begin(state, psu, begun.level(), credentials).await? {
        if let Some(id) = begun.to.authorisation() {
            let claimed = state
                .authorisations
                .claim_by_log_in(id, psu, credentials)
                .await;
            if let Err(error) = claimed {
                // The page to which she is led tells her.
                tracing::debug!(%error, "online banking: the customer cannot answer what she has logged in for");
            }
        }
        Ok(see_other(begun.to.path()))
    } else {
        // The credentials were replaced meanwhile.
        not_proved(state, visit, begun, ScaError::WrongCredentials)
    }
}

fn not_proved(
    state: &OnlineBanking,
    visit: &Visit,
    begun: &Begun,
    error: ScaError,
) -> Result<HttpResponse, Problem> {
    match error {
        ScaError::WrongCredentials => {
            let wrong = begun.wrong(state.texts);
            Ok(log_in_page(state, visit, begun, "", &wrong))
        }
        error => Err(Problem::of_sca(state, error)),
    }
}

/// Log-in that waits for a passkey, sealed in its page, so that the page does not reveal whether the
/// password was right.
#[derive(Serialize, Deserialize)]
struct PasskeyLogIn {
    to: String,
    customer: String,
    /// Without any, the password was wrong.
    credentials: Option<CredentialsVersion>,
}

impl PasskeyLogIn {
    fn page(
        &self,
        state: &OnlineBanking,
        visit: &Visit,
        options: &serde_json::Value,
    ) -> Result<HttpResponse, Problem> {
        let asked = Asked::passkey(options);
        let texts = state.texts;
        let content = html! {
            div.panel.narrow {
                form method="post" action="/log-in/passkey" data-passkey=[asked.options()] {
                    (token_field(visit, &Purpose::new("passkey-log-in")))
                    input type="hidden" name=(SEALED) value=(self.sealed(state, visit)?);
                    (asked.fields(texts, None))
                    button type="submit" data-passkey-button hidden { (texts.second_factor.log_in) }
                }
            }
        };
        let page = Page::new(texts.second_factor.title, content).with_script();
        Ok(page.respond(state, visit))
    }

    /// As long whether the password was right or wrong.
    fn sealed(&self, state: &OnlineBanking, visit: &Visit) -> Result<String, Problem> {
        let mut plain = serde_json::to_vec(self).map_err(|_| Problem::failed())?;
        let length = plain.len().next_multiple_of(64);
        plain.resize(length.max(MAX_PASSKEY_LOG_IN), b' ');
        let sealed = state.vault.seal(&context(visit), &plain);
        sealed.map_err(|error| Problem::of_sca(state, error.into()))
    }

    /// Fails for what this visit's page did not hold.
    fn open(state: &OnlineBanking, visit: &Visit, sealed: &str) -> Option<Self> {
        let plain = state.vault.open(&context(visit), sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// To what a log-in that waits for a passkey is bound.
fn context(visit: &Visit) -> String {
    format!("log-in with a passkey\n{}", visit.digest())
}

async fn finish(
    state: web::Data<OnlineBanking>,
    Visitor(visit): Visitor,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Problem> {
    if visit.customer().is_some() {
        return Err(already_other());
    }
    let fields = Fields::single(&[SEALED, METHOD, ANSWER]);
    let purpose = Purpose::new("passkey-log-in");
    let form = Form::read(&visit, &purpose, fields, request.headers(), body).await?;
    let waiting = PasskeyLogIn::open(&state, &visit, form.field(SEALED)?)
        .ok_or_else(Problem::form_unreadable)?;
    let to = Destination::or_start(Some(&waiting.to));
    let begun = Begun::new(&state, to, Some(MethodId::Passkey));
    let Some(credentials) = waiting.credentials else {
        return not_proved(&state, &visit, &begun, ScaError::WrongCredentials);
    };
    let (psu, subject) = (PsuId(waiting.customer), begun.subject(&visit));
    let answer = form.field(ANSWER)?;
    let proof = state
        .sca
        .finish_passkey_log_in(&psu, &subject, answer, visit.source(&psu));
    match proof.await {
        Ok(proof) => begin(&state, &visit, &begun, proof.psu(), credentials).await,
        Err(error) => not_proved(&state, &visit, &begun, error),
    }
}

/// The form is an old one: the customer has logged in since.
fn already_other() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        |texts| &texts.log_in.already_other,
        Next::Start,
    )
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
    // Without a session the page is the same.
    if visit.session().is_some() {
        let (purpose, fields) = (Purpose::new("log-out"), Fields::single(&["to"]));
        let form = Form::read(&visit, &purpose, fields, request.headers(), body).await?;
        visit.end(&state).await?;
        if let Some(to) = form.optional("to") {
            return Ok(see_other(Destination::or_start(Some(to)).path()));
        }
    }
    let done = Message::done(|texts| &texts.log_in.logged_out, Next::LogIn);
    Ok(done.respond(&state, &visit))
}
