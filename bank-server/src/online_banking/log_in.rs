//! Log-in and log-out.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use serde::{Deserialize, Serialize};

use super::csrf::Purpose;
use super::destination::Destination;
use super::forms::{Fields, FormBody};
use super::layout::{Field, FieldErrors, Page, see_other, token_field};
use super::message::{Message, Next};
use super::problem::{Problem, problem};
use super::second_factor::{self, ANSWER, FactorPrompt, METHOD};
use super::session::{Visit, Visitor};
use super::{OnlineBanking, PageResult};
use crate::domain::{MethodId, PsuId};
use crate::http::resource;
use crate::sca::{ScaError, Subject};
use crate::store::credentials::CredentialsVersion;
use crate::store::sessions::SessionScope;

/// Names of fields of the forms.
const CODE: &str = "code";
const SEALED: &str = "sealed";

/// Bytes of a log-in that waits for a passkey: a path and a customer id fit.
const MAX_PASSKEY_LOG_IN: usize = 1024;

pub(super) fn configure(app: &mut web::ServiceConfig) {
    app.service(resource("/log-in").get(page).post(log_in))
        .service(resource("/log-in/passkey").post(finish))
        .service(resource("/log-out").post(log_out));
}

async fn page(visit: Visitor, request: HttpRequest) -> HttpResponse {
    let query = request.query_string();
    let to = Destination::of_query(query);
    if let Some(customer) = visit.customer() {
        return already(&visit, &customer.0, &to);
    }
    let begun = LogIn::new(&visit.state, to, second_factor::method_of(query).as_ref());
    begun.page(&visit, "", &FieldErrors::default())
}

/// Page for a customer who is logged in already.
pub(super) fn already(visit: &Visit, customer: &str, to: &Destination) -> HttpResponse {
    let texts = visit.state.texts;
    let words = &texts.log_in;
    let content = html! {
        div.panel.narrow {
            p.lead { (texts.fill(words.already_lead, &[("customer", customer)])) }
            p { a.button href=(to.path()) { (words.already_go_on) } }
        }
    };
    Page::new(words.already, content).respond(visit)
}

/// Log-in in progress: where it leads, and its second factor.
struct LogIn {
    to: Destination,
    with_passkey: bool,
}

impl LogIn {
    /// With a code, unless a passkey is wanted and the bank has passkeys.
    fn new(state: &OnlineBanking, to: Destination, method: Option<&MethodId>) -> Self {
        let with_passkey = method == Some(&MethodId::Passkey) && state.sca.passkeys().is_some();
        Self { to, with_passkey }
    }

    fn method(&self) -> MethodId {
        if self.with_passkey {
            MethodId::Passkey
        } else {
            MethodId::Totp
        }
    }

    /// Subject of both factors: the authorisation that the customer came to answer, or this visit.
    fn subject(&self, visit: &Visit) -> Subject {
        match self.to.authorisation() {
            Some(id) => Subject::authorisation(id),
            None => Subject::log_in(visit.digest()),
        }
    }

    /// Path of the page of this log-in with the other second factor.
    fn other_way(&self) -> String {
        let method = if self.with_passkey {
            MethodId::Totp
        } else {
            MethodId::Passkey
        };
        format!("/log-in?method={method}&to={}", self.to.path())
    }

    /// The page with the form.
    fn page(&self, visit: &Visit, customer: &str, errors: &FieldErrors) -> HttpResponse {
        let state = &visit.state;
        let (texts, factor) = (&state.texts.log_in, &state.texts.second_factor);
        let lead = if self.to.authorisation().is_some() {
            texts.to_approve
        } else {
            texts.lead
        };
        let origin = format!("{}/", state.origin.text());
        let content = html! {
            div.panel.narrow {
                p { (lead) }
                (errors.render(state.texts))
                form method="post" action="/log-in" {
                    (token_field(visit, &Purpose::new("log-in")))
                    input type="hidden" name="to" value=(self.to.path());
                    input type="hidden" name=(METHOD) value=(self.method());
                    (Field {
                        hint: Some(texts.customer_hint),
                        value: customer,
                        autocomplete: "username",
                        error: errors.get("customer"),
                        ..Field::new("text", "customer", texts.customer)
                    }.render())
                    (Field {
                        error: errors.get("password"),
                        ..Field::password(texts.password, None)
                    }.render())
                    @if !self.with_passkey {
                        (second_factor::code_field(state.texts, CODE, errors.get(CODE)))
                    }
                    button type="submit" {
                        @if self.with_passkey { (texts.go_on) } @else { (factor.log_in) }
                    }
                }
                @if state.sca.passkeys().is_some() {
                    p {
                        a href=(self.other_way()) {
                            @if self.with_passkey { (factor.with_code) }
                            @else { (factor.with_passkey) }
                        }
                    }
                }
                p.hint { (texts.no_second_element) }
                p.hint { (state.texts.fill(texts.check_address, &[("origin", &origin)])) }
            }
        };
        Page::new(texts.title, content)
            .status(errors.status())
            .respond(visit)
    }

    /// Begins the session, after both factors.
    async fn finish(
        &self,
        visit: &Visit,
        psu: &PsuId,
        credentials: CredentialsVersion,
    ) -> PageResult {
        match begin_session(visit, &self.to, self.method(), psu, credentials).await? {
            Some(response) => Ok(response),
            None => self.failed(visit, ScaError::WrongCredentials),
        }
    }

    /// The page again for a wrong factor; otherwise the error.
    fn failed(&self, visit: &Visit, error: ScaError) -> PageResult {
        let words = &visit.state.texts.log_in;
        let text = match error {
            ScaError::WrongCredentials if self.with_passkey => words.wrong_with_passkey,
            ScaError::WrongCredentials => words.wrong,
            error => return Err(error.into()),
        };
        Ok(self.page(visit, "", &FieldErrors::of("customer", text)))
    }
}

/// Begins the session of a customer who has authenticated by that method, and redirects: for all
/// pages, or for the authorisation that the customer came to answer. Returns `None`, and begins
/// none, if the credentials were replaced since they were checked.
pub(super) async fn begin_session(
    visit: &Visit,
    to: &Destination,
    method: MethodId,
    psu: &PsuId,
    credentials: CredentialsVersion,
) -> Result<Option<HttpResponse>, Problem> {
    let scope = match to.authorisation() {
        Some(id) => SessionScope::Authorisation {
            id: id.to_owned(),
            method: method.to_string(),
        },
        None => SessionScope::Full,
    };
    if !visit.begin(psu, scope, credentials).await? {
        return Ok(None);
    }
    // A session at the identity provider logs a customer in without a click: she is assigned when
    // she answers, or a TPP could learn whose account a visitor has.
    let claims = method != MethodId::IdentityProvider;
    if let Some(id) = to.authorisation().filter(|_| claims) {
        let authorisations = &visit.state.authorisations;
        let claimed = authorisations.claim_by_log_in(id, psu, credentials).await;
        if let Err(error) = claimed {
            // The page of the authorisation shows the error.
            tracing::debug!(%error, "online banking: authorisation not assigned by log-in");
        }
    }
    Ok(Some(see_other(to.path())))
}

/// Checks both factors before revealing anything of either (Delegated Regulation (EU) 2018/389,
/// article 4(3)(a)): password and code in this form; with a passkey, the password in this form and
/// the passkey on the next page, whether the password was right or not.
async fn log_in(visit: Visitor, body: FormBody) -> PageResult {
    check_not_logged_in(&visit)?;
    let state = &visit.state;
    let fields = Fields::single(&["customer", "password", CODE, METHOD, "to"]);
    let form = body.read(Purpose::new("log-in"), fields).await?;
    let customer = form.field("customer")?.trim();
    let password = form.field("password")?;
    let code = form.optional(CODE).unwrap_or_default().trim();
    let method = form
        .optional(METHOD)
        .and_then(|name| name.parse::<MethodId>().ok());
    let log_in = LogIn::new(
        state,
        Destination::or_start(form.optional("to")),
        method.as_ref(),
    );
    let (texts, factor) = (&state.texts.log_in, &state.texts.second_factor);
    let mut missing = FieldErrors::default();
    for (name, value, text) in [
        ("customer", customer, texts.customer_missing),
        ("password", password, texts.password_missing),
        (CODE, code, factor.code_missing),
    ] {
        if value.is_empty() && !(log_in.with_passkey && name == CODE) {
            missing.add(name, text);
        }
    }
    if !missing.is_empty() {
        return Ok(log_in.page(&visit, customer, &missing));
    }
    let psu = PsuId(customer.to_owned());
    let (subject, source) = (log_in.subject(&visit), visit.source(&psu));
    let sca = &state.sca;
    if log_in.with_passkey {
        let checked = sca.begin_passkey_log_in(&psu, password, &subject, source);
        let (credentials, options) = checked.await?;
        let waiting = PasskeyLogIn {
            to: log_in.to.path().to_owned(),
            customer: psu.0,
            credentials,
        };
        return waiting.page(&visit, &options);
    }
    match sca.log_in(&psu, password, code, &subject, source).await {
        Ok((proof, credentials)) => log_in.finish(&visit, proof.psu(), credentials).await,
        Err(ScaError::NotACode) => {
            Ok(log_in.page(&visit, customer, &FieldErrors::of(CODE, factor.no_code)))
        }
        Err(error) => log_in.failed(&visit, error),
    }
}

/// Log-in that waits for a passkey, sealed in its page, so that the page does not reveal whether
/// the password was right.
#[derive(Serialize, Deserialize)]
struct PasskeyLogIn {
    to: String,
    customer: String,
    /// Without any, the password was wrong.
    credentials: Option<CredentialsVersion>,
}

impl PasskeyLogIn {
    fn page(&self, visit: &Visit, options: &serde_json::Value) -> PageResult {
        let prompt = FactorPrompt::passkey(options);
        let texts = visit.state.texts;
        let content = html! {
            div.panel.narrow {
                form method="post" action="/log-in/passkey" data-passkey=[prompt.options()] {
                    (token_field(visit, &Purpose::new("passkey-log-in")))
                    input type="hidden" name=(SEALED) value=(self.sealed(visit)?);
                    (prompt.fields(texts, None))
                    button type="submit" data-passkey-button hidden { (texts.second_factor.log_in) }
                }
            }
        };
        let page = Page::new(texts.second_factor.title, content).script(true);
        Ok(page.respond(visit))
    }

    /// Sealed for the page, with the same length whether the password was right or wrong.
    fn sealed(&self, visit: &Visit) -> Result<String, Problem> {
        let mut plain = serde_json::to_vec(self).map_err(|_| Problem::failed())?;
        let length = plain.len().next_multiple_of(64);
        plain.resize(length.max(MAX_PASSKEY_LOG_IN), b' ');
        let sealed = visit.state.vault.seal(&context(visit), &plain);
        sealed.map_err(|error| ScaError::from(error).into())
    }

    /// Opens what this visit's page held.
    fn open(visit: &Visit, sealed: &str) -> Option<Self> {
        let plain = visit.state.vault.open(&context(visit), sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// Context that binds a log-in that waits for a passkey to its visit.
fn context(visit: &Visit) -> String {
    format!("log-in with a passkey\n{}", visit.digest())
}

async fn finish(visit: Visitor, body: FormBody) -> PageResult {
    check_not_logged_in(&visit)?;
    let fields = Fields::single(&[SEALED, METHOD, ANSWER]);
    let form = body.read(Purpose::new("passkey-log-in"), fields).await?;
    let waiting = PasskeyLogIn::open(&visit, form.field(SEALED)?);
    let waiting = waiting.ok_or_else(Problem::form_unreadable)?;
    let to = Destination::or_start(Some(&waiting.to));
    let log_in = LogIn::new(&visit.state, to, Some(&MethodId::Passkey));
    let Some(credentials) = waiting.credentials else {
        return log_in.failed(&visit, ScaError::WrongCredentials);
    };
    let (psu, subject) = (PsuId(waiting.customer), log_in.subject(&visit));
    let (answer, source) = (form.field(ANSWER)?, visit.source(&psu));
    let proof = visit
        .state
        .sca
        .finish_passkey_log_in(&psu, &subject, answer, source);
    match proof.await {
        Ok(proof) => log_in.finish(&visit, proof.psu(), credentials).await,
        Err(error) => log_in.failed(&visit, error),
    }
}

/// Fails for an old form: the customer has logged in since.
fn check_not_logged_in(visit: &Visit) -> Result<(), Problem> {
    match visit.customer() {
        Some(_) => Err(problem!(CONFLICT, log_in.already_other, Start)),
        None => Ok(()),
    }
}

async fn log_out(visit: Visitor, body: FormBody) -> PageResult {
    // Without a session the page is the same.
    if visit.session().is_some() {
        let fields = Fields::single(&["to"]);
        let form = body.read(Purpose::new("log-out"), fields).await?;
        visit.end().await?;
        if let Some(to) = form.optional("to") {
            return Ok(see_other(Destination::or_start(Some(to)).path()));
        }
    }
    Ok(Message::done(|texts| &texts.log_in.logged_out, Next::LogIn).respond(&visit))
}
