//! Errors as `tppMessages`, with the standard's code for account information.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use shared_types::decode::Malformed;
use shared_types::pki::trust::Refusal;
use shared_types::xs2a::message::{Category, MessageCode, TppMessage, TppMessages};
use shared_types::xs2a::text::Text;

use crate::consent::Violation;
use crate::consent::authorisation::AuthorisationError;
use crate::core_banking::CoreBankingError;
use crate::http::NotAHost;
use crate::identity::NotATpp;
use crate::sca::ScaError;
use crate::store::StoreError;
use crate::transport::policy::{CloseMessage, PeerRejection};

/// One error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: MessageCode,
    path: Option<String>,
    text: String,
}

impl ApiError {
    fn new(status: StatusCode, code: MessageCode, text: impl Into<String>) -> Self {
        Self {
            status,
            code,
            path: None,
            text: text.into(),
        }
    }

    fn at(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Something in the request does not have its form.
    pub(crate) fn format(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, MessageCode::FormatError, text).at(path)
    }

    /// A parameter, or its value, is not supported here.
    pub(crate) fn not_supported(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            MessageCode::ParameterNotSupported,
            text,
        )
        .at(path)
    }

    /// A period that cannot be.
    pub(crate) fn period(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, MessageCode::PeriodInvalid, text).at(path)
    }

    /// No consent of that id for this TPP, asked for by its path. Another TPP's is answered alike.
    pub(crate) fn no_such_consent() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            MessageCode::ConsentUnknown,
            "there is no such consent for you",
        )
    }

    /// No consent of that id for this TPP, named in the header. Another TPP's is answered alike.
    pub(crate) fn unknown_consent_id() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            MessageCode::ConsentUnknown,
            "there is no such consent for you",
        )
        .at("Consent-ID")
    }

    /// The consent does not allow this.
    pub(crate) fn consent_invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, MessageCode::ConsentInvalid, text)
    }

    /// The consent's last day has passed.
    pub(crate) fn consent_expired() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            MessageCode::ConsentExpired,
            "the consent has expired; ask the customer for a new one",
        )
    }

    /// No such account or transaction under this consent.
    pub(crate) fn no_such_resource(text: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, MessageCode::ResourceUnknown, text)
    }

    /// No booked entry of that reference in this account. One that is too old to be shown is answered alike.
    ///
    /// The standard has `RESOURCE_UNKNOWN` with 404 for what a path names, and with 400 for what anything else does.
    pub(crate) fn unknown_reference() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            MessageCode::ResourceUnknown,
            "there is no booked entry of that reference in this account, or it is too old; use dateFrom",
        )
        .at("entryReferenceFrom")
    }

    /// Two parameters that do not go together.
    pub(crate) fn not_consistent(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            MessageCode::ParameterNotConsistent,
            text,
        )
        .at(path)
    }

    /// With no customer present, the resource was read as often as the consent allows.
    pub(crate) fn read_too_often(limit: u32) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            MessageCode::AccessExceeded,
            format!(
                "the consent allows {limit} such reads a day with no customer present; read again on another day, or \
                 when the customer asks for it"
            ),
        )
    }

    /// A consent for one read, and a second one.
    pub(crate) fn read_twice() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            MessageCode::AccessExceeded,
            "the consent is for one read, and this was read; ask for one with recurringIndicator true",
        )
    }

    /// The resource is not at the point at which this can be done.
    pub(crate) fn status_invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, MessageCode::StatusInvalid, text)
    }

    /// The customer has no such SCA method.
    pub(crate) fn no_such_method() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            MessageCode::ScaMethodUnknown,
            "the customer has no such method; take one of scaMethods",
        )
        .at("authenticationMethodId")
    }

    /// What the customer entered for SCA is wrong.
    fn sca_invalid(path: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, MessageCode::ScaInvalid, text).at(path)
    }

    /// More attempts, or more at a time, than there may be.
    fn exceeded(text: impl Into<String>) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            MessageCode::AccessExceeded,
            text,
        )
    }

    /// The TPP is not licensed for account information.
    pub(crate) fn role() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            MessageCode::RoleInvalid,
            "account information needs the role PSP_AI, in the certificate's PSD2 statement and in the register",
        )
    }

    /// The peer's certificate is not, or no longer, trusted.
    pub(crate) fn peer_rejected(rejection: &PeerRejection<NotATpp>) -> Self {
        let code = match rejection {
            PeerRejection::Untrusted(Refusal::Expired { .. }) => MessageCode::CertificateExpired,
            PeerRejection::Untrusted(Refusal::Revoked { .. }) => MessageCode::CertificateRevoke,
            PeerRejection::NotAuthorised(NotATpp::NotLicensed(_)) => {
                MessageCode::CertificateBlocked
            }
            PeerRejection::Untrusted(_) | PeerRejection::NotAuthorised(NotATpp::Identity(_)) => {
                MessageCode::CertificateInvalid
            }
        };
        let text = match rejection {
            PeerRejection::Untrusted(refusal) => {
                format!("your certificate is not accepted: {refusal}")
            }
            PeerRejection::NotAuthorised(objection) => objection.to_string(),
        };
        Self::new(StatusCode::UNAUTHORIZED, code, text)
    }

    /// A gateway forwarded no certificate: its peer showed none.
    pub(crate) fn no_certificate() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            MessageCode::CertificateMissing,
            "no certificate came with the request; show your QWAC in the TLS handshake",
        )
    }

    /// The gateway's own certificate is not trusted at present. Its peer cannot mend that.
    pub(crate) fn gateway() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            MessageCode::ServiceUnavailable,
            "the bank's gateway cannot pass requests on at this time; try again later",
        )
    }

    /// The request does not name one host.
    pub(crate) fn not_a_host(error: NotAHost) -> Self {
        Self::format("Host", error.to_string())
    }

    /// The same as the close message of a connection.
    pub(crate) fn close_message(&self) -> CloseMessage {
        let body = serde_json::to_vec(&self.messages()).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.status,
            body.len()
        );
        CloseMessage {
            response: [head.into_bytes(), body].concat(),
            debug_data: format!("{}: {}", self.code, self.text),
        }
    }

    /// More connections than the organisation may hold.
    pub(crate) fn too_many_connections() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            MessageCode::AccessExceeded,
            "your organisation holds more connections than it may; close some, or use HTTP/2",
        )
    }

    /// More requests at a time than the organisation may have.
    pub(crate) fn too_many_body_bytes() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            MessageCode::AccessExceeded,
            "the bodies of your organisation's open requests are larger together than they may be; wait for answers",
        )
    }
    pub(crate) fn too_many_requests() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            MessageCode::AccessExceeded,
            "your organisation has more requests open than it may; wait for answers",
        )
    }

    /// The header fields are too large.
    pub(crate) fn headers_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            MessageCode::FormatError,
            format!("the header fields together are larger than {limit} bytes"),
        )
    }

    /// The body is too large.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            MessageCode::FormatError,
            format!("the body is larger than {limit} bytes"),
        )
    }

    /// The body is not JSON.
    pub(crate) fn media_type(path: &'static str, text: &'static str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            MessageCode::FormatError,
            text,
        )
        .at(path)
    }

    /// The TPP does not take JSON.
    pub(crate) fn not_acceptable() -> Self {
        Self::new(
            StatusCode::NOT_ACCEPTABLE,
            MessageCode::RequestedFormatsInvalid,
            "this bank answers in application/json only",
        )
        .at("Accept")
    }

    /// The request did not arrive in time.
    pub(crate) fn slow_request() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            MessageCode::FormatError,
            "the request did not arrive in time",
        )
    }

    /// The bank did not answer in time.
    pub(crate) fn slow_answer() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            MessageCode::ServiceUnavailable,
            "the bank did not answer in time; try again later",
        )
    }

    /// The bank's database, or the systems behind it, do not answer at this time.
    fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            MessageCode::ServiceUnavailable,
            "the bank cannot answer at this time; try again later",
        )
    }

    /// The bank failed. What failed is for its log.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            MessageCode::InternalServerError,
            "the bank could not answer; try again later",
        )
    }

    /// The code, for the log.
    pub(crate) fn code(&self) -> &MessageCode {
        &self.code
    }

    /// The answer itself.
    pub(crate) fn respond(&self) -> HttpResponse {
        HttpResponse::build(self.status).json(self.messages())
    }

    fn messages(&self) -> TppMessages {
        TppMessages {
            tpp_messages: vec![TppMessage {
                category: Category::Error,
                code: self.code.clone(),
                path: self.path.clone(),
                text: Some(Text::cut(&self.text)),
            }],
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.code)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.respond()
    }
}

impl From<Malformed> for ApiError {
    fn from(fault: Malformed) -> Self {
        Self::format(fault.path, fault.reason)
    }
}

impl From<Violation> for ApiError {
    fn from(violation: Violation) -> Self {
        Self::new(StatusCode::BAD_REQUEST, violation.code, violation.text).at(violation.path)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "database request failed");
        if error.is_transient() {
            Self::unavailable()
        } else {
            Self::internal()
        }
    }
}

impl From<CoreBankingError> for ApiError {
    fn from(error: CoreBankingError) -> Self {
        tracing::error!(%error, "core banking request failed");
        match error {
            CoreBankingError::Unavailable(_) => Self::unavailable(),
            CoreBankingError::Failed(_) => Self::internal(),
        }
    }
}

impl From<AuthorisationError> for ApiError {
    fn from(error: AuthorisationError) -> Self {
        match error {
            AuthorisationError::NoSuchConsent => Self::no_such_consent(),
            AuthorisationError::Unknown => Self::new(
                StatusCode::FORBIDDEN,
                MessageCode::ResourceUnknown,
                "there is no such authorisation for you",
            ),
            AuthorisationError::ConsentOver(_)
            | AuthorisationError::OutOfTurn(_)
            | AuthorisationError::OtherApproach(_)
            | AuthorisationError::ApprovedBefore => Self::status_invalid(error.to_string()),
            AuthorisationError::OtherCustomer => Self::new(
                StatusCode::BAD_REQUEST,
                MessageCode::ParameterNotConsistent,
                "the authorisation is for another customer; start one for this one",
            )
            .at("PSU-ID"),
            AuthorisationError::TooMany | AuthorisationError::TooManyWaiting => {
                Self::exceeded(error.to_string())
            }
            AuthorisationError::OtherRequest => Self::format("X-Request-ID", error.to_string()),
            AuthorisationError::WrongConfirmation => Self::sca_invalid(
                "confirmationCode",
                "the code is wrong, and the authorisation has failed; start another",
            ),
            AuthorisationError::NeedsChoice => Self::not_supported("psuData", error.to_string()),
            AuthorisationError::NotTheCustomers(_) | AuthorisationError::NoAccount => {
                Self::consent_invalid(error.to_string())
            }
            AuthorisationError::Sca(error) => error.into(),
            AuthorisationError::CoreBanking(error) => error.into(),
            AuthorisationError::Store(error) => error.into(),
        }
    }
}

impl From<ScaError> for ApiError {
    fn from(error: ScaError) -> Self {
        match error {
            ScaError::WrongCredentials | ScaError::CredentialsChanged => Self::new(
                StatusCode::UNAUTHORIZED,
                MessageCode::PsuCredentialsInvalid,
                "the customer or the password is wrong",
            ),
            ScaError::WrongAnswer { .. } | ScaError::Taken | ScaError::NotACode => {
                Self::sca_invalid("scaAuthenticationData", error.to_string())
            }
            ScaError::Locked { .. } | ScaError::AskedElsewhere { .. } => {
                Self::exceeded(error.to_string())
            }
            ScaError::NoSuchMethod => Self::no_such_method(),
            ScaError::NoChallenge => Self::status_invalid(error.to_string()),
            ScaError::Busy => Self::slow_answer(),
            ScaError::Store(error) => error.into(),
            ScaError::Password(_) | ScaError::Vault(_) | ScaError::Passkeys(_) => {
                tracing::error!(%error, "strong customer authentication failed");
                Self::internal()
            }
        }
    }
}

/// A resource that exists, asked with a method it does not have.
pub(super) fn wrong_method(request: &HttpRequest) -> HttpResponse {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        MessageCode::ServiceInvalid,
        format!(
            "{} is not possible here; the header Allow names what is",
            request.method()
        ),
    )
    .respond()
}

/// No resource of that path.
pub(super) async fn no_such_path() -> ApiError {
    ApiError::no_such_resource(
        "there is nothing at this path; the bank's resources are listed in /openapi.json",
    )
}

impl actix_web::Responder for ApiError {
    type Body = actix_web::body::BoxBody;

    fn respond_to(self, _request: &HttpRequest) -> HttpResponse {
        self.respond()
    }
}
