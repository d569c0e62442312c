//! Errors as `tppMessages`, with the standard's code for account information.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use shared_types::decode::Malformed;
use shared_types::pki::trust::Refusal;
use shared_types::xs2a::message::MessageCode::{
    self, AccessExceeded, CertificateBlocked, CertificateExpired, CertificateInvalid,
    CertificateMissing, CertificateRevoke, ConsentExpired, ConsentInvalid, ConsentUnknown,
    FormatError, InternalServerError, ParameterNotConsistent, ParameterNotSupported, PeriodInvalid,
    PsuCredentialsInvalid, RequestedFormatsInvalid, ResourceUnknown, RoleInvalid, ScaInvalid,
    ScaMethodUnknown, ServiceInvalid, ServiceUnavailable, StatusInvalid,
};
use shared_types::xs2a::message::{Category, TppMessage, TppMessages};
use shared_types::xs2a::text::Text;

use crate::consent::Violation;
use crate::consent::authorisation::AuthorisationError;
use crate::core_banking::CoreBankingError;
use crate::http::NotAHost;
use crate::identity::TppRejection;
use crate::sca::ScaError;
use crate::sca::external::ScaMethodsError;
use crate::store::StoreError;
use crate::transport::policy::{CloseMessage, PeerRejection};

/// Result of a handler, and of its steps.
pub(super) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Error response.
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

    fn bad_request(code: MessageCode, text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, text)
    }

    fn unauthorized(code: MessageCode, text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, text)
    }

    fn forbidden(code: MessageCode, text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, text)
    }

    /// More reads, attempts, connections or requests than allowed.
    fn exceeded(text: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, AccessExceeded, text)
    }

    fn unavailable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ServiceUnavailable, text)
    }

    /// Malformed header, parameter or field.
    pub(crate) fn format(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::bad_request(FormatError, text).at(path)
    }

    /// Unsupported parameter, or unsupported value of one.
    pub(crate) fn not_supported(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::bad_request(ParameterNotSupported, text).at(path)
    }

    /// Invalid period.
    pub(crate) fn period(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::bad_request(PeriodInvalid, text).at(path)
    }

    /// Contradictory parameters.
    pub(crate) fn not_consistent(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::bad_request(ParameterNotConsistent, text).at(path)
    }

    /// Unknown consent in the path. A consent of another TPP gets the same error.
    pub(crate) fn no_such_consent() -> Self {
        Self::forbidden(ConsentUnknown, "there is no such consent for you")
    }

    /// Unknown consent in the header. A consent of another TPP gets the same error.
    pub(crate) fn unknown_consent_id() -> Self {
        Self::bad_request(ConsentUnknown, "there is no such consent for you").at("Consent-ID")
    }

    /// Access that the consent does not give.
    pub(crate) fn consent_invalid(text: impl Into<String>) -> Self {
        Self::unauthorized(ConsentInvalid, text)
    }

    /// Consent past its last day.
    pub(crate) fn consent_expired() -> Self {
        let text = "the consent has expired; ask the customer for a new one";
        Self::unauthorized(ConsentExpired, text)
    }

    /// Unknown account or transaction, under this consent.
    pub(crate) fn no_such_resource(text: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, ResourceUnknown, text)
    }

    /// Unknown reference of a booked entry. An entry that is too old to be shown gets the same
    /// error.
    ///
    /// The standard has `RESOURCE_UNKNOWN` with 404 for a resource in the path, and with 400
    /// for one in a parameter, header or body.
    pub(crate) fn unknown_reference() -> Self {
        let text = "there is no booked entry of that reference in this account, or it is too old; \
                    use dateFrom";
        Self::bad_request(ResourceUnknown, text).at("entryReferenceFrom")
    }

    /// More unattended reads of the resource than the consent allows.
    pub(crate) fn read_too_often(limit: u32) -> Self {
        Self::exceeded(format!(
            "the consent allows {limit} such reads a day with no customer present; read again on \
             another day, or when the customer asks for it"
        ))
    }

    /// Second read under a one-off consent.
    pub(crate) fn read_twice() -> Self {
        Self::exceeded(
            "the consent is for one read, and this was read; ask for one with recurringIndicator \
             true",
        )
    }

    /// Step that the status of the resource does not allow.
    pub(crate) fn status_invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, StatusInvalid, text)
    }

    /// SCA method that the customer does not have.
    pub(crate) fn no_such_method() -> Self {
        let text = "the customer has no such method; take one of scaMethods";
        Self::bad_request(ScaMethodUnknown, text).at("authenticationMethodId")
    }

    /// Wrong code or answer of the customer.
    fn sca_invalid(path: &'static str, text: impl Into<String>) -> Self {
        Self::bad_request(ScaInvalid, text).at(path)
    }

    /// TPP without a licence for account information.
    pub(crate) fn role() -> Self {
        let text = "account information needs the role PSP_AI, in the certificate's PSD2 statement \
                    and in the register";
        Self::unauthorized(RoleInvalid, text)
    }

    /// Peer whose certificate is not, or no longer, trusted.
    pub(crate) fn peer_rejected(rejection: &PeerRejection<TppRejection>) -> Self {
        let code = match rejection {
            PeerRejection::Untrusted(Refusal::Expired { .. }) => CertificateExpired,
            PeerRejection::Untrusted(Refusal::Revoked { .. }) => CertificateRevoke,
            PeerRejection::NotAuthorised(TppRejection::NotLicensed(_)) => CertificateBlocked,
            PeerRejection::Untrusted(_)
            | PeerRejection::NotAuthorised(TppRejection::Identity(_)) => CertificateInvalid,
        };
        let text = match rejection {
            PeerRejection::Untrusted(refusal) => {
                format!("your certificate is not accepted: {refusal}")
            }
            PeerRejection::NotAuthorised(objection) => objection.to_string(),
        };
        Self::unauthorized(code, text)
    }

    /// Request without a forwarded certificate: the peer of the gateway showed none.
    pub(crate) fn no_certificate() -> Self {
        let text = "no certificate came with the request; show your QWAC in the TLS handshake";
        Self::unauthorized(CertificateMissing, text)
    }

    /// Gateway whose own certificate is not trusted at present. Its peer cannot mend that.
    pub(crate) fn gateway() -> Self {
        Self::unavailable(
            "the bank's gateway cannot pass requests on at this time; try again later",
        )
    }

    /// Request that does not name one host.
    pub(crate) fn not_a_host(error: NotAHost) -> Self {
        Self::format("Host", error.to_string())
    }

    /// The error as the close message of a connection.
    pub(crate) fn close_message(&self) -> CloseMessage {
        let body = serde_json::to_vec(&self.messages()).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
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
        Self::exceeded(
            "your organisation holds more connections than it may; close some, or use HTTP/2",
        )
    }

    /// More bytes of bodies at a time than the organisation may send.
    pub(crate) fn too_many_body_bytes() -> Self {
        Self::exceeded(
            "the bodies of your organisation's open requests are larger together than they may \
             be; wait for answers",
        )
    }

    /// More requests at a time than the organisation may have.
    pub(crate) fn too_many_requests() -> Self {
        Self::exceeded("your organisation has more requests open than it may; wait for answers")
    }

    /// Header fields over the limit.
    pub(crate) fn headers_too_large(limit: usize) -> Self {
        let text = format!("the header fields together are larger than {limit} bytes");
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            FormatError,
            text,
        )
    }

    /// Body over the limit.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let text = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, FormatError, text)
    }

    /// Body that is not JSON.
    pub(crate) fn media_type(path: &'static str, text: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, FormatError, text).at(path)
    }

    /// TPP that does not accept JSON.
    pub(crate) fn not_acceptable() -> Self {
        let text = "this bank answers in application/json only";
        Self::new(StatusCode::NOT_ACCEPTABLE, RequestedFormatsInvalid, text).at("Accept")
    }

    /// Timeout of the request.
    pub(crate) fn slow_request() -> Self {
        let text = "the request did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, FormatError, text)
    }

    /// Timeout of the response.
    pub(crate) fn slow_answer() -> Self {
        Self::unavailable("the bank did not answer in time; try again later")
    }

    /// Temporary failure of the database or of the systems behind it.
    fn temporary() -> Self {
        Self::unavailable("the bank cannot answer at this time; try again later")
    }

    /// Permanent failure. Its cause is for the bank's log.
    pub(crate) fn internal() -> Self {
        let text = "the bank could not answer; try again later";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, InternalServerError, text)
    }

    /// The code, for the log.
    pub(crate) fn code(&self) -> &MessageCode {
        &self.code
    }

    /// The response.
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
        Self::bad_request(violation.code, violation.text).at(violation.path)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "database request failed");
        if error.is_transient() {
            Self::temporary()
        } else {
            Self::internal()
        }
    }
}

impl From<CoreBankingError> for ApiError {
    fn from(error: CoreBankingError) -> Self {
        tracing::error!(%error, "core banking request failed");
        match error {
            CoreBankingError::Unavailable(_) => Self::temporary(),
            CoreBankingError::Failed(_) => Self::internal(),
        }
    }
}

impl From<AuthorisationError> for ApiError {
    fn from(error: AuthorisationError) -> Self {
        match error {
            AuthorisationError::NoSuchConsent => Self::no_such_consent(),
            AuthorisationError::Unknown => {
                Self::forbidden(ResourceUnknown, "there is no such authorisation for you")
            }
            AuthorisationError::ConsentOver(_)
            | AuthorisationError::OutOfTurn(_)
            | AuthorisationError::OtherApproach(_)
            | AuthorisationError::ApprovedBefore => Self::status_invalid(error.to_string()),
            AuthorisationError::OtherCustomer => Self::not_consistent(
                "PSU-ID",
                "the authorisation is for another customer; start one for this one",
            ),
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
            ScaError::WrongCredentials | ScaError::CredentialsChanged => Self::unauthorized(
                PsuCredentialsInvalid,
                "the customer or the password is wrong",
            ),
            ScaError::WrongAnswer { .. } | ScaError::Taken | ScaError::NotACode => {
                Self::sca_invalid("scaAuthenticationData", error.to_string())
            }
            ScaError::Locked { .. }
            | ScaError::AskedElsewhere { .. }
            | ScaError::TooManyChallenges { .. } => Self::exceeded(error.to_string()),
            ScaError::NoSuchMethod => Self::no_such_method(),
            ScaError::NoChallenge => Self::status_invalid(error.to_string()),
            ScaError::OtherFacts => Self::sca_invalid("scaAuthenticationData", error.to_string()),
            ScaError::Busy | ScaError::External(ScaMethodsError::Unavailable(_)) => {
                tracing::warn!(%error, "strong customer authentication not possible");
                Self::slow_answer()
            }
            ScaError::Store(error) => error.into(),
            ScaError::Password(_)
            | ScaError::Vault(_)
            | ScaError::Passkeys(_)
            | ScaError::External(_) => {
                tracing::error!(%error, "strong customer authentication failed");
                Self::internal()
            }
        }
    }
}

/// Response to a method that the resource does not have.
pub(super) fn wrong_method(request: &HttpRequest) -> HttpResponse {
    let text = format!(
        "{} is not possible here; the header Allow names what is",
        request.method()
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, ServiceInvalid, text).respond()
}

/// Error for a path without a resource.
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
