//! What can go wrong between us and a bank, and what to do about it.

use std::fmt;
use std::time::Duration;

use shared_types::alert::Alert;
use shared_types::certificate::CertificateSummary;
use shared_types::message::TppMessage;
use uuid::Uuid;

use crate::tls::ServerRefusal;

/// A call that did not succeed. Each names the bank, and says who refused whom and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The bank, by the name it was given.
    pub bank: String,
    /// What happened.
    pub kind: ErrorKind,
}

/// What happened.
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
    },
    /// The bank refused the request, and did not say why in the standard's form.
    Status {
        /// HTTP status.
        status: u16,
        /// Under which the bank may have it in its log.
        request_id: Uuid,
    },
    /// The answer is not what it should be.
    Malformed {
        /// Where: a path in the JSON, or a header.
        path: String,
        /// What was expected there.
        reason: String,
    },
    /// The answer is larger than we take.
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The bank sent us elsewhere. Data goes to the bank that was asked, and nowhere else.
    Redirect {
        /// Where to.
        location: String,
    },
    /// A link leads to another host.
    ForeignLink {
        /// Where to.
        link: String,
    },
    /// The pages of a list lead back to one that was read, or there is no end of them.
    PageLoop,
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
        /// What the system said.
        cause: String,
    },
    /// The connection broke before the answer was whole.
    Interrupted {
        /// What the system said.
        cause: String,
    },
}

impl Error {
    /// What to do about it, in a sentence.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match &self.kind {
            ErrorKind::TheyRefused { .. } => {
                "see that your certificate is valid, complete with its issuing CA, and of an authority the bank agreed to"
            }
            ErrorKind::WeRefused { .. } => {
                "see that address, anchors and organisation id are those of the bank; do not go on if they are"
            }
            ErrorKind::Refused { status: 429, .. } => "wait, and ask less often",
            ErrorKind::Refused {
                status: 401 | 403, ..
            } => "see that the consent is the right one, approved, and covers this",
            ErrorKind::Refused { status: 500.., .. } | ErrorKind::Status { status: 500.., .. } => {
                "try again later; name the request id to the bank if it lasts"
            }
            ErrorKind::Refused { .. } | ErrorKind::Status { .. } => "correct the request",
            ErrorKind::Malformed { .. } | ErrorKind::PageLoop => {
                "tell the bank: its answer does not follow the standard"
            }
            ErrorKind::TooLarge { .. } => "ask for less at a time, or raise the limit",
            ErrorKind::Redirect { .. } | ErrorKind::ForeignLink { .. } => {
                "see that the address is the bank's own, and ask the bank why it sends you elsewhere"
            }
            ErrorKind::Timeout { .. } | ErrorKind::Interrupted { .. } => "try again later",
            ErrorKind::NotAsked { .. } => "allow more calls at a time, or more time",
            ErrorKind::Unreachable { .. } => "see that the address is right and the bank is up",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bank = &self.bank;
        match &self.kind {
            ErrorKind::TheyRefused { alert } => {
                write!(f, "{bank} refused our certificate: {alert}")
            }
            ErrorKind::WeRefused {
                certificate,
                reason,
            } => {
                write!(
                    f,
                    "we refused the certificate of {bank}, {certificate}: {reason}"
                )
            }
            ErrorKind::Refused {
                status,
                messages,
                request_id,
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
            ErrorKind::Status { status, request_id } => {
                write!(
                    f,
                    "{bank} answered {status} without a reason (request {request_id})"
                )
            }
            ErrorKind::Malformed { path, reason } => {
                write!(f, "{bank} gave a malformed answer: at {path}: {reason}")
            }
            ErrorKind::TooLarge { limit } => {
                write!(f, "{bank} gave an answer of more than {limit} bytes")
            }
            ErrorKind::Redirect { location } => write!(f, "{bank} redirects to {location}"),
            ErrorKind::ForeignLink { link } => write!(f, "{bank} links to another host: {link}"),
            ErrorKind::PageLoop => write!(f, "{bank} gives pages without end"),
            ErrorKind::Timeout { limit } => {
                write!(f, "{bank} did not answer within {} s", limit.as_secs_f32())
            }
            ErrorKind::NotAsked { limit } => {
                write!(
                    f,
                    "{bank} was not asked: its turn did not come within {} s",
                    limit.as_secs_f32()
                )
            }
            ErrorKind::Unreachable { cause } => write!(f, "{bank} cannot be reached: {cause}"),
            ErrorKind::Interrupted { cause } => {
                write!(f, "the connection to {bank} broke: {cause}")
            }
        }
    }
}

impl std::error::Error for Error {}
