//! SDK errors: what failed in a call to a bank, who refused whom, and what to do about it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use shared_types::circuit::Outage;
use shared_types::decode::Malformed;
use shared_types::pki::alert::Alert;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::trust::Refusal;
use shared_types::xs2a::message::{MessageCode, TppMessage};
use shared_types::xs2a::text::Text;
use uuid::Uuid;

use crate::tls::ServerRefusal;

/// Advice for a certificate of ours that was revoked or has expired.
const NEW_CERTIFICATE: &str = "have a new certificate issued, and use that";

/// Failure of a call. It names the bank, which side refused which, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The bank, by the name it was given.
    pub bank: String,
    /// The error.
    pub kind: ErrorKind,
}

/// The error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bank broke the handshake off: it does not accept our certificate.
    TheyRefused {
        /// The reason it gave.
        alert: Alert,
    },
    /// We broke the handshake off: we do not accept its certificate.
    WeRefused {
        /// The certificate it showed.
        certificate: Box<CertificateSummary>,
        /// The reason.
        reason: ServerRefusal,
    },
    /// The bank understood the request and refused it.
    Refused {
        /// HTTP status.
        status: u16,
        /// Its reasons.
        messages: Vec<TppMessage>,
        /// Under which the bank has it in its log.
        request_id: Uuid,
        /// Time to wait (`Retry-After`, RFC 9110, section 10.2.3), if it gives one; never more than
        /// a day.
        retry_after: Option<Duration>,
    },
    /// The bank refused the request without reasons in the standard's form.
    Status {
        /// HTTP status.
        status: u16,
        /// Under which the bank may have it in its log.
        request_id: Uuid,
        /// Time to wait (`Retry-After`, RFC 9110, section 10.2.3), if it gives one; never more than
        /// a day.
        retry_after: Option<Duration>,
    },
    /// The answer is not what it should be.
    Malformed {
        /// JSON path, or header name.
        path: String,
        /// The expected value.
        reason: String,
    },
    /// The bank's word for where a consent stands is none of the standard's: the consent is not
    /// known to be valid, nor to have ended.
    UnknownStatus {
        /// The word, cut to 70 characters.
        word: String,
    },
    /// The response lacks the requested list. This does not mean that the list is empty.
    NotListed {
        /// The fault.
        reason: &'static str,
    },
    /// The response exceeds the size limit.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The response exceeds the limit of entries.
    TooMany {
        /// The limit, in elements of its lists, all lists together.
        limit: usize,
    },
    /// The response is compressed or encoded, which we did not request.
    Encoded {
        /// Its `Content-Encoding`.
        encoding: String,
    },
    /// The bank sent us elsewhere. Data goes to the bank that was asked, and nowhere else.
    Redirect {
        /// The target.
        location: String,
    },
    /// A link leads to another host.
    ForeignLink {
        /// The target.
        link: String,
    },
    /// The pages of a list lead back to one that was read.
    PageLoop,
    /// There is no end of the pages of a list.
    TooManyPages {
        /// The limit.
        limit: usize,
    },
    /// It took too long.
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// The bank's turn did not come in time: others, or earlier calls to it, took all there was.
    NotAsked {
        /// The limit.
        limit: Duration,
    },
    /// There is no connection.
    Unreachable {
        /// The operating system's error.
        cause: String,
    },
    /// The connection broke before the answer was whole.
    Interrupted {
        /// The operating system's error.
        cause: String,
    },
    /// The bank was not asked: it failed again and again, and gets a rest (see
    /// [`Breaker`](crate::Breaker)).
    CircuitOpen {
        /// Until when it is left alone, by the handle's clock.
        until: DateTime<Utc>,
        /// Its last failure.
        cause: Box<ErrorKind>,
    },
    /// There is no connection: the token that holds our private key did not sign.
    OwnKey {
        /// The URI of the key, and what is wrong with it.
        reason: String,
    },
    /// Nothing was sent: the call's arguments make no valid request to this bank.
    Unsendable {
        /// Which part: a header, the path, or the body.
        part: String,
        /// The reason.
        reason: String,
    },
}

impl Error {
    /// Whether the same request may well succeed later, with nothing changed at our end: the bank
    /// could not be reached, broke off, was too slow, overloaded or down, or wants us to wait; or the
    /// token that holds our key did not sign.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        let is_deferred = matches!(
            self.kind,
            ErrorKind::NotAsked { .. } | ErrorKind::CircuitOpen { .. } | ErrorKind::OwnKey { .. }
        );
        is_deferred || self.kind.is_too_often() || self.kind.is_outage()
    }

    /// Whether the request may have taken effect although the call failed: no readable response
    /// arrived, or the bank failed. To find out, repeat the request with the same `X-Request-ID`,
    /// or read the resource.
    #[must_use]
    pub const fn may_have_been_heard(&self) -> bool {
        match &self.kind {
            ErrorKind::Timeout { .. }
            | ErrorKind::Interrupted { .. }
            | ErrorKind::Malformed { .. }
            | ErrorKind::UnknownStatus { .. }
            | ErrorKind::NotListed { .. }
            | ErrorKind::TooLarge { .. }
            | ErrorKind::TooMany { .. }
            | ErrorKind::Encoded { .. } => true,
            kind => matches!(kind.status(), Some(500..)),
        }
    }

    /// Whether the bank was certainly never asked: there was no connection, or none that either
    /// side would go on with.
    #[must_use]
    pub const fn is_unasked(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unreachable { .. }
                | ErrorKind::NotAsked { .. }
                | ErrorKind::CircuitOpen { .. }
                | ErrorKind::OwnKey { .. }
                | ErrorKind::Unsendable { .. }
                | ErrorKind::TheyRefused { .. }
                | ErrorKind::WeRefused { .. }
        )
    }

    /// Whether the bank has processed the request and refused it, whatever happened to earlier
    /// attempts. Not so with `429`, `408` and `ACCESS_EXCEEDED`, which mean to wait, nor if the
    /// certificate is refused: that is checked before the request.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.kind.status(), Some(400..=407 | 409..=499))
            && !self.kind.is_too_often()
            && !self.is_about_certificate()
    }

    /// Whether reads without the customer were more frequent than the consent allows
    /// (`ACCESS_EXCEEDED`): by the code, whatever the 4xx status. The standard has it with `429`.
    #[must_use]
    pub fn is_access_exceeded(&self) -> bool {
        self.kind.is_access_exceeded()
    }

    /// Whether the bank does not know the resource (`404 RESOURCE_UNKNOWN`). For a list of an
    /// account that it has just listed, that means an empty list.
    pub(crate) fn is_resource_unknown(&self) -> bool {
        self.kind.status() == Some(404) && self.kind.has_code(&[MessageCode::ResourceUnknown])
    }

    /// Whether a refusal may be about a parameter (a period, a kind of list, balances along with a
    /// list), and not about the resource itself: another request for the same resource may succeed.
    /// The code shows it, if there is one: `PERIOD_INVALID` and those about a
    /// parameter do with any status. `CONSENT_INVALID` is among these: banks refuse with it what is
    /// older than the last strong customer authentication allows, and balances that the consent
    /// does not open.
    #[must_use]
    pub fn may_be_about_the_request(&self) -> bool {
        let by_code =
            self.is_about_a_parameter() || self.kind.has_code(&[MessageCode::PeriodInvalid]);
        let by_status = matches!(self.kind.status(), Some(400 | 401 | 403 | 405 | 422));
        (by_code || by_status) && !self.has_other_reason()
    }

    /// Whether the refusal of a list with balances may be about the balances alone: the list may be
    /// given without them.
    pub(crate) fn may_be_about_balances(&self) -> bool {
        self.may_be_about_the_request() && (self.is_about_a_parameter() || !self.is_not_offered())
    }

    /// Whether the bank rejects a parameter, or its combination with another.
    fn is_about_a_parameter(&self) -> bool {
        self.kind.has_code(&[
            MessageCode::ParameterNotSupported,
            MessageCode::ParameterNotConsistent,
        ])
    }

    /// Whether, by one of the codes, no other request for the same resource would succeed.
    pub(crate) fn has_other_reason(&self) -> bool {
        self.is_about_certificate()
            || self.kind.has_code(&[
                MessageCode::ConsentUnknown,
                MessageCode::ConsentExpired,
                MessageCode::SignatureInvalid,
                MessageCode::SignatureMissing,
                MessageCode::TokenUnknown,
                MessageCode::TokenInvalid,
                MessageCode::TokenExpired,
                MessageCode::CorporateIdInvalid,
                MessageCode::PsuCredentialsInvalid,
                MessageCode::ServiceBlocked,
                MessageCode::ResourceBlocked,
                MessageCode::ResourceExpired,
                MessageCode::AccessExceeded,
                MessageCode::RequestedFormatsInvalid,
            ])
    }

    /// Of a list of accounts, where the list of the other kind was given under the same consent:
    /// whether the bank does not open this one. It has no such list, or refuses it, with whatever
    /// code; it does not only want us to wait.
    #[must_use]
    pub fn is_kind_not_opened(&self) -> bool {
        self.is_not_offered()
            || matches!(self.kind.status(), Some(400..=407 | 409..=499))
                && !self.kind.is_too_often()
    }

    /// Whether the bank has no such thing at all (`404`, `405`, `501`).
    #[must_use]
    pub const fn is_not_offered(&self) -> bool {
        matches!(self.kind.status(), Some(404 | 405 | 501))
    }

    /// The code for the reason of a refusal: of those that the bank gives, the first that the
    /// standard has, or else the first.
    #[must_use]
    pub fn code(&self) -> Option<&MessageCode> {
        self.kind.code()
    }

    /// Whether the bank refused because of the consent: it does not know it, it has ended, or it
    /// does not cover this.
    #[must_use]
    pub fn is_about_consent(&self) -> bool {
        !self.is_about_certificate()
            && self.kind.has_code(&[
                MessageCode::ConsentUnknown,
                MessageCode::ConsentInvalid,
                MessageCode::ConsentExpired,
            ])
    }

    /// Of a question about a consent itself (its status, its content, its end): whether the bank
    /// has no such consent any more, or none that opens anything. By the standard's codes, whatever
    /// the 4xx status. Without a code it is not clear: see
    /// [`is_bare_denial`](Self::is_bare_denial).
    #[must_use]
    pub fn is_consent_gone(&self) -> bool {
        let ended = [MessageCode::ResourceUnknown, MessageCode::ResourceExpired];
        self.is_refusal() && (self.is_about_consent() || self.kind.has_code(&ended))
    }

    /// Whether the bank refused with `401`, `403`, `404` or `410` and none of the standard's codes:
    /// because of the consent, of our certificate, or of something that stands before the bank. A
    /// consent has ended where a read under it and its status are both refused like that.
    #[must_use]
    pub fn is_bare_denial(&self) -> bool {
        !self.kind.has_standard_code() && matches!(self.kind.status(), Some(401 | 403 | 404 | 410))
    }

    /// Whether the bank refused because the address of the customer's device (`PSU-IP-Address`) was
    /// missing.
    #[must_use]
    pub fn lacks_psu_address(&self) -> bool {
        let names = |text: &str| text.to_ascii_lowercase().contains("psu-ip-address");
        self.kind.messages().iter().any(|message| {
            let text = message.text.as_ref().map(Text::as_str);
            message.path.as_deref().is_some_and(names) || text.is_some_and(names)
        })
    }

    /// Whether one of the two refused the other's certificate: in the handshake, or the bank over
    /// HTTP, for the certificate itself or for the roles in it.
    #[must_use]
    pub fn is_about_certificate(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::TheyRefused { .. } | ErrorKind::WeRefused { .. }
        ) || self.kind.has_code(&[
            MessageCode::CertificateInvalid,
            MessageCode::CertificateExpired,
            MessageCode::CertificateBlocked,
            MessageCode::CertificateRevoke,
            MessageCode::CertificateMissing,
            MessageCode::RoleInvalid,
        ])
    }

    /// Time to wait before a retry, if the bank gives one (`Retry-After`).
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.kind.retry_after()
    }

    /// Advice, in a sentence.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match &self.kind {
            ErrorKind::TheyRefused {
                alert: Alert(44 | 45),
            } => NEW_CERTIFICATE,
            ErrorKind::TheyRefused { alert: Alert(51) } => {
                "check that your certificate is of the very authority the bank agreed to, and not of another of the same name"
            }
            ErrorKind::TheyRefused { .. } => {
                "check that your certificate is valid, complete with its issuing CA, and of an authority the bank agreed to"
            }
            ErrorKind::WeRefused {
                reason: ServerRefusal::Trust(Refusal::BadSignature { .. }),
                ..
            } => {
                "check that the anchors hold the very authority that issued it, and not another of the same name; if they do, send this bank nothing"
            }
            ErrorKind::WeRefused { .. } => {
                "check that address, anchors and organisation id are those of the bank; if they are, send this bank nothing"
            }
            kind if kind.is_too_often() => "wait, and ask less often",
            ErrorKind::Refused { .. }
                if self.kind.has_code(&[
                    MessageCode::CertificateRevoke,
                    MessageCode::CertificateExpired,
                ]) =>
            {
                NEW_CERTIFICATE
            }
            ErrorKind::Refused { .. } if self.is_about_certificate() => {
                "check that your certificate is valid, in the register, and has the role for this"
            }
            ErrorKind::Refused { .. } if self.is_about_consent() => {
                "check that the consent is the right one, approved, and covers this"
            }
            ErrorKind::Refused { .. } if self.lacks_psu_address() => {
                "give the address of the customer's device, as you see it (PSU-IP-Address)"
            }
            ErrorKind::Refused {
                status: 401 | 403, ..
            } => "see in the bank's reason what it wants",
            ErrorKind::Refused { status: 500.., .. } | ErrorKind::Status { status: 500.., .. } => {
                "try again later; name the request id to the bank if it lasts"
            }
            ErrorKind::Refused { .. } | ErrorKind::Status { .. } | ErrorKind::Unsendable { .. } => {
                "correct the request"
            }
            ErrorKind::Malformed { .. } | ErrorKind::Encoded { .. } | ErrorKind::PageLoop => {
                "tell the bank: its answer does not follow the standard"
            }
            ErrorKind::UnknownStatus { .. } => {
                "ask the bank what it means; nothing is taken as approved or ended for it"
            }
            ErrorKind::NotListed { .. } => {
                "ask the bank for its lists as JSON; what is known of the account stays as it is"
            }
            ErrorKind::TooLarge { .. }
            | ErrorKind::TooMany { .. }
            | ErrorKind::TooManyPages { .. } => "ask for less at a time, or raise the limit",
            ErrorKind::Redirect { .. } | ErrorKind::ForeignLink { .. } => {
                "check that the address is the bank's own, and ask the bank why it sends you elsewhere"
            }
            ErrorKind::Timeout { .. } | ErrorKind::Interrupted { .. } => "try again later",
            ErrorKind::NotAsked { .. } => "allow more calls at a time, or more time",
            ErrorKind::Unreachable { .. } => "check that the address is right and the bank is up",
            ErrorKind::OwnKey { .. } => {
                "check that the token is there, that its PIN is right, and that it answers"
            }
            ErrorKind::CircuitOpen { .. } => "wait: the bank is asked again by itself, once",
        }
    }
}

impl From<Malformed> for ErrorKind {
    fn from(Malformed { path, reason }: Malformed) -> Self {
        Self::Malformed { path, reason }
    }
}

impl ErrorKind {
    pub(crate) fn unsendable(part: impl Into<String>, reason: impl Into<String>) -> Self {
        let (part, reason) = (part.into(), reason.into());
        Self::Unsendable { part, reason }
    }

    pub(crate) fn malformed(path: impl Into<String>, reason: impl Into<String>) -> Self {
        let (path, reason) = (path.into(), reason.into());
        Self::Malformed { path, reason }
    }

    /// An account of that list without a `resourceId`: no request can name it.
    #[must_use]
    pub fn missing_resource_id(list: &str) -> Self {
        Self::malformed(format!("{list}.resourceId"), "missing")
    }

    /// The HTTP status, where the bank refused a request with one.
    pub(crate) const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } | Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The reasons of a refusal, as far as the bank gives any.
    pub(crate) fn messages(&self) -> &[TppMessage] {
        match self {
            Self::Refused { messages, .. } => messages,
            _ => &[],
        }
    }

    /// Whether the bank is down, as far as it shows: no connection, a broken one, no answer in
    /// time, 502, 503 or 504.
    pub(crate) const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. } | Self::Unreachable { .. } | Self::Interrupted { .. }
        ) || matches!(self.status(), Some(502..=504))
    }

    /// The outage of which it is a sign, if it is one.
    pub(crate) fn outage(&self) -> Option<Outage<Self>> {
        self.is_outage().then(|| Outage {
            cause: self.clone(),
            retry_after: self.retry_after().unwrap_or_default(),
        })
    }

    fn is_access_exceeded(&self) -> bool {
        matches!(self.status(), Some(400..=499)) && self.has_code(&[MessageCode::AccessExceeded])
    }

    /// Whether the bank was asked too often, by the status or the code.
    pub(crate) fn is_too_often(&self) -> bool {
        self.status() == Some(429) || self.is_access_exceeded()
    }

    fn code(&self) -> Option<&MessageCode> {
        let codes = || self.messages().iter().map(|message| &message.code);
        codes()
            .find(|code| MessageCode::STANDARD.contains(code))
            .or_else(|| codes().next())
    }

    /// Whether one of the reasons has one of these codes.
    pub(crate) fn has_code(&self, codes: &[MessageCode]) -> bool {
        self.messages()
            .iter()
            .any(|message| codes.contains(&message.code))
    }

    /// Whether one of the reasons has a code of the standard. A bank's own codes have no meaning
    /// beyond the status.
    fn has_standard_code(&self) -> bool {
        self.has_code(MessageCode::STANDARD)
    }

    /// Name of the error for logs, without a word of the bank's own, in which there may be account
    /// data.
    pub(crate) fn label(&self) -> String {
        let name = match self {
            Self::TheyRefused { alert } => return format!("they refused us: {alert}"),
            Self::Refused { status, .. } | Self::Status { status, .. } => {
                return match self.code() {
                    Some(code) if MessageCode::STANDARD.contains(code) => {
                        format!("{status} {code}")
                    }
                    _ => status.to_string(),
                };
            }
            Self::WeRefused { .. } => "we refused them",
            Self::Malformed { .. } => "malformed",
            Self::UnknownStatus { .. } => "unknown status",
            Self::NotListed { .. } => "not listed",
            Self::TooLarge { .. } => "too large",
            Self::TooMany { .. } => "too many entries",
            Self::Encoded { .. } => "encoded",
            Self::Redirect { .. } => "redirect",
            Self::ForeignLink { .. } => "foreign link",
            Self::PageLoop => "page loop",
            Self::TooManyPages { .. } => "too many pages",
            Self::Timeout { .. } => "timeout",
            Self::NotAsked { .. } => "not asked",
            Self::Unreachable { .. } => "unreachable",
            Self::Interrupted { .. } => "interrupted",
            Self::CircuitOpen { .. } => "circuit open",
            Self::OwnKey { .. } => "own key",
            Self::Unsendable { .. } => "unsendable",
        };
        name.to_owned()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.write_cause(&self.bank, f)
    }
}

impl ErrorKind {
    /// The line of cause, for that bank.
    fn write_cause(&self, bank: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TheyRefused { alert } => write!(f, "{bank} refused our certificate: {alert}"),
            Self::WeRefused {
                certificate,
                reason,
            } => write!(
                f,
                "we refused the certificate of {bank}, {certificate}: {reason}"
            ),
            Self::Refused {
                status,
                messages,
                request_id,
                ..
            } => {
                write!(f, "{bank} refused the request with {status}")?;
                for message in messages {
                    write!(f, " {}", message.code)?;
                    if let Some(path) = &message.path {
                        write!(f, " at {path}")?;
                    }
                    if let Some(text) = &message.text {
                        write!(f, ": {text}")?;
                    }
                }
                write!(f, " (request {request_id})")
            }
            Self::Status {
                status, request_id, ..
            } => write!(
                f,
                "{bank} answered {status} without a reason (request {request_id})"
            ),
            Self::Malformed { path, reason } => {
                write!(f, "{bank} gave a malformed answer: at {path}: {reason}")
            }
            Self::UnknownStatus { word } => write!(
                f,
                "{bank} gave a status that the standard does not have: {word}"
            ),
            Self::NotListed { reason } => write!(
                f,
                "{bank} answered without the list that was asked for: {reason}"
            ),
            Self::TooLarge { limit } => {
                write!(f, "{bank} gave an answer of more than {limit} bytes")
            }
            Self::TooMany { limit } => {
                write!(f, "{bank} gave an answer of more than {limit} entries")
            }
            Self::Encoded { encoding } => write!(
                f,
                "{bank} gave an answer encoded as {encoding}, which was not requested"
            ),
            Self::Redirect { location } => write!(f, "{bank} redirects to {location}"),
            Self::ForeignLink { link } => write!(f, "{bank} links to another host: {link}"),
            Self::PageLoop => write!(f, "{bank} gives pages that lead back to themselves"),
            Self::TooManyPages { limit } => {
                write!(f, "{bank} gives more than {limit} pages of one list")
            }
            Self::Timeout { limit } => {
                write!(f, "{bank} did not answer within {} s", limit.as_secs_f32())
            }
            Self::NotAsked { limit } => write!(
                f,
                "{bank} was not asked: its turn did not come within {} s",
                limit.as_secs_f32()
            ),
            Self::Unreachable { cause } => write!(f, "{bank} cannot be reached: {cause}"),
            Self::Interrupted { cause } => write!(f, "the connection to {bank} broke: {cause}"),
            Self::CircuitOpen { until, cause } => {
                let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
                write!(
                    f,
                    "{bank} failed again and again and is left alone until {until}; the last time: "
                )?;
                cause.write_cause(bank, f)
            }
            Self::OwnKey { reason } => write!(f, "{bank} was not asked: our key {reason}"),
            Self::Unsendable { part, reason } => {
                write!(f, "{bank} was not asked: {part}: {reason}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// Configuration of a [`Bank`](crate::Bank) from which none can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The address is not one.
    #[error("{0} is not an https URL without user, query and fragment")]
    Url(String),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Http(#[from] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_no_answer_or_one_of_a_gateway() {
        let status = |status| ErrorKind::Status {
            status,
            request_id: Uuid::nil(),
            retry_after: Some(Duration::from_secs(7)),
        };
        for code in [400, 401, 403, 404, 429, 500] {
            assert_eq!(status(code).outage(), None, "{code}");
        }
        for code in [502, 503, 504] {
            let retry_after = Duration::from_secs(7);
            let cause = status(code);
            assert_eq!(status(code).outage(), Some(Outage { cause, retry_after }));
        }
        let cause = ErrorKind::Interrupted {
            cause: "reset".into(),
        };
        let retry_after = Duration::ZERO;
        assert_eq!(cause.outage(), Some(Outage { cause, retry_after }));
    }

    #[test]
    fn what_an_error_says_of_the_request() {
        let cause = String::new;
        let limit = Duration::from_secs(1);
        let status = |status| ErrorKind::Status {
            status,
            request_id: Uuid::nil(),
            retry_after: None,
        };
        let refused = |code: &str| ErrorKind::Refused {
            status: 401,
            // The code that matters need not be the first.
            messages: ["HOUSE_RULE", code]
                .map(|code| serde_json::json!({ "category": "ERROR", "code": code }))
                .map(|message| serde_json::from_value(message).unwrap())
                .into(),
            request_id: Uuid::nil(),
            retry_after: None,
        };
        let malformed = ErrorKind::Malformed {
            path: String::new(),
            reason: String::new(),
        };
        for (kind, heard, refusal, not_offered) in [
            (ErrorKind::Timeout { limit }, true, false, false),
            (
                ErrorKind::Interrupted { cause: cause() },
                true,
                false,
                false,
            ),
            (malformed, true, false, false),
            (ErrorKind::TooLarge { limit: 1 }, true, false, false),
            (status(500), true, false, false),
            (status(501), true, false, true),
            (status(503), true, false, false),
            (
                ErrorKind::Unreachable { cause: cause() },
                false,
                false,
                false,
            ),
            (ErrorKind::NotAsked { limit }, false, false, false),
            (ErrorKind::OwnKey { reason: cause() }, false, false, false),
            (status(400), false, true, false),
            (status(404), false, true, true),
            (status(405), false, true, true),
            (status(408), false, false, false),
            (status(429), false, false, false),
            (refused("CONSENT_INVALID"), false, true, false),
            (refused("CERTIFICATE_EXPIRED"), false, false, false),
        ] {
            let bank = "Bank B".to_owned();
            let error = Error { bank, kind };
            assert_eq!(error.may_have_been_heard(), heard, "{error}");
            assert_eq!(error.is_refusal(), refusal, "{error}");
            let unasked = !heard && error.kind.status().is_none();
            assert_eq!(error.is_unasked(), unasked, "{error}");
            assert_eq!(error.is_not_offered(), not_offered, "{error}");
        }
    }

    fn refused(status: u16, codes: &[&str]) -> Error {
        let message = |code: &&str| serde_json::json!({ "category": "ERROR", "code": code });
        let read = |message| serde_json::from_value(message).unwrap();
        Error {
            bank: "Bank B".to_owned(),
            kind: ErrorKind::Refused {
                status,
                messages: codes.iter().map(message).map(read).collect(),
                request_id: Uuid::nil(),
                retry_after: None,
            },
        }
    }

    /// A program whose `main` returns the error, or that unwraps it, prints its `Debug`.
    #[test]
    fn the_debug_of_a_refusal_has_the_bank_the_codes_and_the_texts() {
        let messages = serde_json::json!([
            { "category": "ERROR", "code": "CONSENT_INVALID", "text": "ask \u{1b}[2J anew" },
            { "category": "ERROR", "code": "HOUSE_RULE", "path": "withBalance" },
        ]);
        let error = Error {
            bank: "Bank B".to_owned(),
            kind: ErrorKind::Refused {
                status: 401,
                messages: serde_json::from_value(messages).unwrap(),
                request_id: Uuid::nil(),
                retry_after: None,
            },
        };
        let shown = format!("{error:?}");
        for part in [
            "Bank B",
            "Refused",
            "401",
            "CONSENT_INVALID",
            r"ask \u{1b}[2J anew",
            "HOUSE_RULE",
            "withBalance",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn access_exceeded_goes_by_the_code_and_not_by_the_status() {
        for status in [400, 401, 403, 429] {
            let error = refused(status, &["HOUSE_RULE", "ACCESS_EXCEEDED"]);
            assert!(
                error.is_access_exceeded() && error.is_transient(),
                "{error}"
            );
            assert!(!error.is_refusal() && !error.is_bare_denial(), "{error}");
            assert!(!error.may_be_about_the_request(), "{error}");
            assert_eq!(error.advice(), "wait, and ask less often", "{error}");
        }
        for (status, code) in [(503, "ACCESS_EXCEEDED"), (429, "SERVICE_BLOCKED")] {
            assert!(!refused(status, &[code]).is_access_exceeded(), "{status}");
        }
    }

    #[test]
    fn what_may_be_about_the_request_goes_by_the_code_where_there_is_one() {
        for (status, codes, may) in [
            (400, &[][..], true),
            (401, &[], true),
            (403, &[], true),
            (405, &[], true),
            (422, &[], true),
            (404, &[], false),
            (429, &[], false),
            (500, &[], false),
            (400, &["FORMAT_ERROR"], true),
            (401, &["CONSENT_INVALID"], true),
            (404, &["PERIOD_INVALID"], true),
            (404, &["PARAMETER_NOT_SUPPORTED"], true),
            (501, &["PARAMETER_NOT_CONSISTENT"], true),
            (404, &["PARAMETER_NOT_SUPPORTED", "CONSENT_UNKNOWN"], false),
            (401, &["CONSENT_EXPIRED"], false),
            (403, &["CONSENT_UNKNOWN"], false),
            (401, &["CERTIFICATE_INVALID"], false),
            (401, &["ROLE_INVALID"], false),
            (401, &["TOKEN_EXPIRED"], false),
            (403, &["SERVICE_BLOCKED"], false),
            (400, &["FORMAT_ERROR", "CONSENT_EXPIRED"], false),
        ] {
            let error = refused(status, codes);
            assert_eq!(error.may_be_about_the_request(), may, "{error}");
        }
    }

    #[test]
    fn a_list_beside_another_one_is_not_opened_unless_the_bank_wants_us_to_wait() {
        for (status, code, closed) in [
            (401, "CONSENT_INVALID", true),
            (403, "ROLE_INVALID", true),
            (422, "SERVICE_INVALID", true),
            (404, "RESOURCE_UNKNOWN", true),
            (501, "HOUSE_RULE", true),
            (401, "ACCESS_EXCEEDED", false),
            (408, "HOUSE_RULE", false),
            (429, "HOUSE_RULE", false),
            (503, "SERVICE_BLOCKED", false),
        ] {
            let error = refused(status, &[code]);
            assert_eq!(error.is_kind_not_opened(), closed, "{error}");
        }
    }
}
