//! Errors of a page or form. Each has a message page that explains what happened and what to do.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, ResponseError};

use super::OnlineBanking;
use super::destination::Destination;
use super::message::{Message, Next};
use super::texts::{Explained, Texts};
use chrono::{DateTime, TimeDelta, Utc};

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

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $next:ident;)*) => {
        impl Problem {
            $($(#[$doc])* pub(super) fn $name() -> Self {
                Self::new(StatusCode::$status, |texts| &texts.problems.$name, Next::$next)
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

    /// Sets the value of a placeholder.
    pub(super) fn with(self, name: &'static str, value: String) -> Self {
        match self {
            Self::Message(message) => Self::Message(message.with(name, value)),
            log_in @ Self::LogIn(_) => log_in,
        }
    }

    /// Replaces the link at the end.
    pub(super) fn then(self, next: Next) -> Self {
        match self {
            Self::Message(message) => Self::Message(message.then(next)),
            log_in @ Self::LogIn(_) => log_in,
        }
    }

    /// A time rounded up to the minute.
    fn rounded_up(state: &OnlineBanking, time: DateTime<Utc>) -> String {
        state
            .texts
            .time(&state.calendar.local(time + TimeDelta::seconds(59)))
    }

    /// Error of strong customer authentication that the page itself cannot show.
    pub(super) fn of_sca(state: &OnlineBanking, error: ScaError) -> Self {
        match error {
            ScaError::Locked { until } => {
                let locked: fn(&Texts) -> &Explained = |texts| &texts.log_in.locked;
                let until = Self::rounded_up(state, until);
                Self::new(StatusCode::TOO_MANY_REQUESTS, locked, Next::LogIn).with("until", until)
            }
            ScaError::AskedElsewhere { until } => {
                let other_banks: fn(&Texts) -> &Explained =
                    |texts| &texts.second_factor.other_banks;
                let until = Self::rounded_up(state, until);
                Self::new(StatusCode::CONFLICT, other_banks, Next::LogIn).with("until", until)
            }
            ScaError::Busy => Self::busy(),
            ScaError::WrongCredentials
            | ScaError::CredentialsChanged
            | ScaError::WrongAnswer { .. }
            | ScaError::NoSuchMethod
            | ScaError::NoChallenge
            | ScaError::Taken
            | ScaError::NotACode
            | ScaError::Passkeys(PasskeysError::Answer) => Self::stale_factor(),
            ScaError::Passkeys(PasskeysError::TooMany) => Self::too_many_passkeys(),
            error => {
                tracing::error!(%error, "online banking: strong customer authentication failed");
                Self::failed()
            }
        }
    }

    /// Too many log-ins at once; this one was not checked.
    pub(super) fn busy() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.second_factor.busy;
        Self::new(StatusCode::SERVICE_UNAVAILABLE, text, Next::Start)
    }

    /// The answer belongs to a step that has ended.
    pub(super) fn stale_factor() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.second_factor.stale;
        Self::new(StatusCode::CONFLICT, text, Next::Start)
    }

    /// The last attempt was wrong.
    pub(super) fn used_up() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.second_factor.used_up;
        Self::new(StatusCode::TOO_MANY_REQUESTS, text, Next::Start)
    }

    fn too_many_passkeys() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.passkeys.too_many;
        Self::new(StatusCode::CONFLICT, text, Next::Passkeys)
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
