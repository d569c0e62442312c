//! Whatever goes wrong has a page that says what happened and what to do.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, ResponseError};

use super::OnlineBanking;
use super::destination::Destination;
use super::texts::{Explained, Texts};
use chrono::{DateTime, TimeDelta, Utc};

use crate::core_banking::CoreBankingError;
use crate::sca::{PasskeysError, ScaError};
use crate::store::StoreError;

/// Why a page, or what a form asked for, was not given. The middleware makes a page of it.
#[derive(Debug)]
pub(super) enum Problem {
    /// A page that says what happened.
    Told(Told),
    /// The page is there for whoever is logged in: the log-in comes first.
    LogIn(Destination),
}

/// What is said, with which status, and where to go on.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) text: fn(&Texts) -> &Explained,
    pub(super) next: Next,
    /// What is put into the places of the text.
    pub(super) values: Vec<(&'static str, String)>,
}

/// The link at the end of such a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// To the first page.
    Start,
    /// To the log-in.
    LogIn,
    /// To the consents.
    Consents,
    /// To the accounts at other banks.
    OtherBanks,
    /// To the passkeys.
    Passkeys,
    /// To the page for the phone.
    Phone,
    /// Back to that page, once another customer has logged in.
    AsAnotherCustomer(Destination),
    /// There is nothing more to do here.
    Nowhere,
}

macro_rules! told {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $next:ident;)*) => {
        impl Problem {
            $($(#[$doc])* pub(super) fn $name() -> Self {
                Self::told(StatusCode::$status, |texts| &texts.problems.$name, Next::$next)
            })*
        }
    };
}

told! {
    /// There is no such page.
    not_found: NOT_FOUND, Start;
    /// The page is there, but not to be asked so.
    wrong_method: METHOD_NOT_ALLOWED, Start;
    /// The form was sent after the session had ended.
    session_over: FORBIDDEN, LogIn;
    /// The form's token is missing, or that of another form or session.
    foreign_form: FORBIDDEN, Start;
    /// The same, where nobody is logged in.
    foreign_form_before_log_in: FORBIDDEN, LogIn;
    /// The browser says that another site sent the form.
    foreign_origin: FORBIDDEN, Start;
    /// The form is too large.
    form_too_large: PAYLOAD_TOO_LARGE, Start;
    /// It is not the kind of form that our pages send.
    form_type: UNSUPPORTED_MEDIA_TYPE, Start;
    /// It is broken.
    form_unreadable: BAD_REQUEST, Start;
    /// It has a field that our page has not.
    form_unknown_field: BAD_REQUEST, Start;
    /// It has a field twice.
    form_repeated_field: BAD_REQUEST, Start;
    /// It has too few fields.
    form_missing_field: BAD_REQUEST, Start;
    /// The header fields are too large.
    headers_too_large: REQUEST_HEADER_FIELDS_TOO_LARGE, Nowhere;
    /// The request, or its answer, took too long.
    too_slow: SERVICE_UNAVAILABLE, Start;
    /// The bank failed.
    failed: INTERNAL_SERVER_ERROR, Start;
    /// The bank's systems did not answer.
    unavailable: SERVICE_UNAVAILABLE, Start;
}

impl Problem {
    /// A problem that a room of its own has words for.
    pub(super) fn told(status: StatusCode, text: fn(&Texts) -> &Explained, next: Next) -> Self {
        Self::Told(Told {
            status,
            text,
            next,
            values: Vec::new(),
        })
    }

    /// With a value in its place.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        if let Self::Told(told) = &mut self {
            told.values.push((name, value));
        }
        self
    }

    /// With another link at its end.
    pub(super) fn then(mut self, next: Next) -> Self {
        if let Self::Told(told) = &mut self {
            told.next = next;
        }
        self
    }

    /// A time, to the minute: the one that is surely late enough.
    fn surely_after(state: &OnlineBanking, time: DateTime<Utc>) -> String {
        state
            .texts
            .time(&state.calendar.local(time + TimeDelta::seconds(59)))
    }

    /// Why a customer has not proved who she is, where nothing better can be said on the page itself.
    pub(super) fn of_sca(state: &OnlineBanking, error: ScaError) -> Self {
        match error {
            ScaError::Locked { until } => {
                let locked: fn(&Texts) -> &Explained = |texts| &texts.log_in.locked;
                let until = Self::surely_after(state, until);
                Self::told(StatusCode::TOO_MANY_REQUESTS, locked, Next::LogIn).with("until", until)
            }
            ScaError::AskedElsewhere { until } => {
                let other_banks: fn(&Texts) -> &Explained =
                    |texts| &texts.second_factor.other_banks;
                let until = Self::surely_after(state, until);
                Self::told(StatusCode::CONFLICT, other_banks, Next::LogIn).with("until", until)
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

    /// So many customers log in that this one was not looked at.
    pub(super) fn busy() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.second_factor.busy;
        Self::told(StatusCode::SERVICE_UNAVAILABLE, text, Next::Start)
    }

    /// What was proved, or not, is for a step that is over.
    pub(super) fn stale_factor() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.second_factor.stale;
        Self::told(StatusCode::CONFLICT, text, Next::Start)
    }

    /// The last answer that could be tried was wrong.
    pub(super) fn used_up() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.second_factor.used_up;
        Self::told(StatusCode::TOO_MANY_REQUESTS, text, Next::Start)
    }

    fn too_many_passkeys() -> Self {
        let text: fn(&Texts) -> &Explained = |texts| &texts.passkeys.too_many;
        Self::told(StatusCode::CONFLICT, text, Next::Passkeys)
    }

    /// The log-in comes first, and then the page at that path.
    pub(super) fn log_in(path: &str) -> Self {
        Self::LogIn(Destination::or_start(Some(path)))
    }

    /// Its name, in tests and on the page.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Told(told) => (told.text)(&super::texts::ENGLISH).name,
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
            Self::Told(told) => told.status,
            Self::LogIn(_) => StatusCode::SEE_OTHER,
        }
    }

    /// Only the redirection is whole; the middleware puts the page in.
    fn error_response(&self) -> HttpResponse {
        match self {
            Self::Told(told) => HttpResponse::new(told.status),
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
        tracing::error!(%error, "online banking: the database failed");
        if error.is_transient() {
            Self::unavailable()
        } else {
            Self::failed()
        }
    }
}

impl From<CoreBankingError> for Problem {
    fn from(error: CoreBankingError) -> Self {
        tracing::error!(%error, "online banking: the core banking system failed");
        Self::unavailable()
    }
}
