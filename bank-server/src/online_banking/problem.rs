//! Errors of a page or form. Each has a message page that explains what happened and what to do.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, ResponseError};

use shared_types::xs2a::authorisation::ScaStatus;
use shared_types::xs2a::consent::ConsentStatus;

use super::destination::Destination;
use super::message::{Message, Next};
use super::session::Visit;
use super::texts::{Explained, Texts};
use crate::consent::authorisation::AuthorisationError;
use crate::core_banking::CoreBankingError;
use crate::sca::{PasskeysError, ScaError};
use crate::store::StoreError;

/// Error of a handler. The middleware renders its page.
#[derive(Debug)]
pub(super) enum Problem {
    /// Answered with a message page.
    Message(Message),
    /// The page requires a session: redirect to the log-in, then to the destination.
    LogIn(Destination),
}

/// `problem!(CONFLICT, passkeys.gone, Passkeys)`: an error with that status, text and link.
macro_rules! problem {
    ($status:ident, $group:ident.$text:ident, $next:ident) => {
        $crate::online_banking::problem::Problem::new(
            actix_web::http::StatusCode::$status,
            |texts| &texts.$group.$text,
            $crate::online_banking::message::Next::$next,
        )
    };
}
pub(super) use problem;

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $next:ident;)*) => {
        impl Problem {
            $($(#[$doc])* pub(super) fn $name() -> Self {
                problem!($status, problems.$name, $next)
            })*
        }
    };
}

problems! {
    /// No page at this path.
    not_found: NOT_FOUND, Start;
    /// The page does not accept this method.
    wrong_method: METHOD_NOT_ALLOWED, Start;
    /// The form was sent after the session had ended.
    session_over: FORBIDDEN, LogIn;
    /// The form's token is missing, or that of another form or session.
    foreign_form: FORBIDDEN, Start;
    /// The same, without a session.
    foreign_form_before_log_in: FORBIDDEN, LogIn;
    /// The `Origin` header names another site.
    foreign_origin: FORBIDDEN, Start;
    /// The form is too large.
    form_too_large: PAYLOAD_TOO_LARGE, Start;
    /// The content type is not that of our forms.
    form_type: UNSUPPORTED_MEDIA_TYPE, Start;
    /// The form is malformed.
    form_unreadable: BAD_REQUEST, Start;
    /// The form has an unknown field.
    form_unknown_field: BAD_REQUEST, Start;
    /// The form has a field twice.
    form_repeated_field: BAD_REQUEST, Start;
    /// The form lacks a field.
    form_missing_field: BAD_REQUEST, Start;
    /// The header fields are too large.
    headers_too_large: REQUEST_HEADER_FIELDS_TOO_LARGE, None;
    /// The request timed out.
    too_slow: SERVICE_UNAVAILABLE, Start;
    /// Internal error.
    failed: INTERNAL_SERVER_ERROR, Start;
    /// A system of the bank is unavailable.
    unavailable: SERVICE_UNAVAILABLE, Start;
}

impl Problem {
    /// Error with a text that is particular to one page.
    pub(super) const fn new(
        status: StatusCode,
        text: fn(&Texts) -> &Explained,
        next: Next,
    ) -> Self {
        Self::Message(Message::new(status, text, next))
    }

    fn map_message(self, of: impl FnOnce(Message) -> Message) -> Self {
        match self {
            Self::Message(message) => Self::Message(of(message)),
            log_in @ Self::LogIn(_) => log_in,
        }
    }

    /// Sets the value of a placeholder.
    pub(super) fn with(self, name: &'static str, value: &str) -> Self {
        self.map_message(|message| message.with(name, value.to_owned()))
    }

    /// Replaces the link at the end.
    pub(super) fn then(self, next: Next) -> Self {
        self.map_message(|message| message.then(next))
    }

    /// The page, or the redirect to the log-in.
    pub(super) fn respond(&self, visit: &Visit) -> HttpResponse {
        match self {
            Self::Message(message) => message.respond(visit),
            Self::LogIn(_) => self.error_response(),
        }
    }

    /// Redirect to the log-in, then to the page at `path`.
    pub(super) fn log_in(path: &str) -> Self {
        Self::LogIn(Destination::or_start(Some(path)))
    }

    /// Stable name, for tests and support.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Message(message) => (message.text)(&super::texts::ENGLISH).name,
            Self::LogIn(_) => "log-in",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Message(message) => message.status,
            Self::LogIn(_) => StatusCode::SEE_OTHER,
        }
    }

    /// Complete for a redirect only; the middleware renders the page of a message.
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Message(message) => HttpResponse::new(message.status),
            Self::LogIn(destination) => {
                let path = match destination.path() {
                    "/" => "/log-in".to_owned(),
                    path => format!("/log-in?to={path}"),
                };
                HttpResponse::SeeOther()
                    .insert_header((LOCATION, path))
                    .finish()
            }
        }
    }
}

/// Errors of strong customer authentication that the page itself cannot show.
impl From<ScaError> for Problem {
    fn from(error: ScaError) -> Self {
        match error {
            ScaError::Locked { until } => {
                let problem = problem!(TOO_MANY_REQUESTS, log_in.locked, LogIn);
                problem.map_message(|message| message.until(until))
            }
            ScaError::AskedElsewhere { until } => {
                let problem = problem!(CONFLICT, second_factor.other_banks, LogIn);
                problem.map_message(|message| message.until(until))
            }
            ScaError::Busy => problem!(SERVICE_UNAVAILABLE, second_factor.busy, Start),
            ScaError::WrongCredentials
            | ScaError::CredentialsChanged
            | ScaError::WrongAnswer { .. }
            | ScaError::NoSuchMethod
            | ScaError::NoChallenge
            | ScaError::Taken
            | ScaError::NotACode
            | ScaError::Passkeys(PasskeysError::Answer) => {
                problem!(CONFLICT, second_factor.stale, Start)
            }
            ScaError::Passkeys(PasskeysError::TooMany) => {
                problem!(CONFLICT, passkeys.too_many, Passkeys)
            }
            error => {
                tracing::error!(%error, "online banking: strong customer authentication failed");
                Self::failed()
            }
        }
    }
}

impl From<AuthorisationError> for Problem {
    fn from(error: AuthorisationError) -> Self {
        use AuthorisationError as E;

        match error {
            E::Unknown | E::NoSuchConsent => problem!(NOT_FOUND, authorise.unknown, None),
            E::OutOfTurn(ScaStatus::Failed) | E::ConsentOver(ConsentStatus::Rejected) => {
                problem!(GONE, authorise.lapsed, None)
            }
            E::OutOfTurn(ScaStatus::Finalised | ScaStatus::Exempted | ScaStatus::Unconfirmed)
            | E::ConsentOver(ConsentStatus::Valid) => {
                problem!(CONFLICT, authorise.finished, Consents)
            }
            E::OutOfTurn(_) | E::WrongConfirmation => {
                problem!(CONFLICT, authorise.not_finished, None)
            }
            E::ConsentOver(_) => problem!(GONE, authorise.consent_over, None),
            E::OtherApproach(_) | E::NeedsChoice => problem!(CONFLICT, authorise.other_way, None),
            E::OtherCustomer => problem!(FORBIDDEN, authorise.others, None),
            E::ApprovedBefore | E::TooMany | E::TooManyWaiting | E::OtherRequest => {
                problem!(CONFLICT, authorise.approved_before, Consents)
            }
            E::NotTheCustomers(_) => problem!(FORBIDDEN, authorise.not_the_customers, None),
            E::NoAccount => problem!(FORBIDDEN, authorise.no_account, None),
            E::Sca(error) => error.into(),
            E::CoreBanking(error) => error.into(),
            E::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "online banking: database request failed");
        if error.is_transient() {
            Self::unavailable()
        } else {
            Self::failed()
        }
    }
}

impl From<CoreBankingError> for Problem {
    fn from(error: CoreBankingError) -> Self {
        tracing::error!(%error, "online banking: core banking request failed");
        Self::unavailable()
    }
}
