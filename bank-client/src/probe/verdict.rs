//! Verdict of a probe: which side refused which.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use shared_types::pki::alert::Alert;

use super::alert::explain;
use super::answer::{ProbeResponse, Reaction, Reason};
use super::observations::{End, Observations};
use crate::tls::ServerRefusal;

/// Verdict of a probe. Its `Display` is one sentence: who refused whom, and what to do.
///
/// In all of them, `server` is host and port, with the organisation that the server proved to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
#[non_exhaustive]
pub enum Verdict {
    /// Both accepted each other, and the server serves us.
    Granted {
        /// Host, port and organisation.
        server: String,
        /// HTTP status of the answer.
        status: u16,
    },
    /// There was no connection.
    Unreachable {
        /// Host, port and organisation.
        server: String,
        /// The operating system's error.
        cause: String,
    },
    /// The server does not speak TLS.
    NotTls {
        /// Host, port and organisation.
        server: String,
    },
    /// The handshake completed without a certificate request.
    PlainTls {
        /// Host, port and organisation.
        server: String,
    },
    /// We refused the server's certificate.
    WeRefused {
        /// Host, port and organisation.
        server: String,
        /// The subject of its certificate.
        certificate: String,
        /// The reason.
        #[serde(serialize_with = "as_text")]
        reason: ServerRefusal,
    },
    /// We aborted the handshake: the server violated the protocol.
    WeBrokeOff {
        /// Host, port and organisation.
        server: String,
        /// The fault.
        fault: String,
    },
    /// The server broke off with an alert.
    TheyRefused {
        /// Host, port and organisation.
        server: String,
        /// The alert.
        #[serde(serialize_with = "as_text")]
        alert: Alert,
        /// Its meaning in this situation.
        meaning: String,
        /// Advice for the operator.
        advice: String,
    },
    /// The server completed the handshake, and refused our certificate, or its absence, over HTTP.
    TheyRefusedOverHttp {
        /// Host, port and organisation.
        server: String,
        /// HTTP status.
        status: u16,
        /// Its error sentence or codes; empty if it gave none.
        words: String,
        /// Whether we had shown a certificate.
        shown: bool,
    },
    /// The server accepted our certificate, and then refused us.
    RefusedByPolicy {
        /// Host, port and organisation.
        server: String,
        /// Form of the refusal.
        by: Policy,
    },
    /// The server requested a certificate, received none, and continued.
    NotInsisted {
        /// Host, port and organisation.
        server: String,
        /// HTTP status of the answer.
        status: u16,
    },
    /// The server ended the connection without an alert.
    Closed {
        /// Host, port and organisation.
        server: String,
        /// Whether we had shown our certificate.
        shown: bool,
        /// The operating system's error, if the connection was not closed in an orderly way.
        cause: Option<String>,
    },
    /// The timeout of a stage expired.
    TimedOut {
        /// Host, port and organisation.
        server: String,
        /// At what.
        stage: Stage,
        /// The limit.
        #[serde(rename = "limitSeconds", serialize_with = "as_seconds")]
        limit: Duration,
    },
    /// The handshake completed, and the data after it is not HTTP/1.1.
    NotHttp {
        /// Host, port and organisation.
        server: String,
    },
    /// The handshake completed, and the head of the response exceeded the limit.
    TooLarge {
        /// Host, port and organisation.
        server: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The handshake completed, and the server failed at the request.
    ServerFailed {
        /// Host, port and organisation.
        server: String,
        /// HTTP status.
        status: u16,
    },
}

/// Form in which a server that accepted our certificate refused us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Policy {
    /// With the alert `access_denied`: "a valid certificate was received, but when access control
    /// was applied, the sender decided not to proceed" (RFC 8446, section 6.2).
    AccessDenied,
    /// Over HTTP.
    Http {
        /// HTTP status.
        status: u16,
        /// Its reasons; empty if it gave none in the standard's form.
        reasons: Vec<Reason>,
    },
}

/// Stage of a probe with a timeout of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Finding the host and connecting to it.
    Connecting,
    /// The handshake.
    Handshake,
    /// One request and its answer.
    Exchange,
}

impl Verdict {
    /// Whether both ends accepted each other, and the server serves us.
    #[must_use]
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted { .. })
    }

    /// Derives the verdict from the observations.
    pub(super) fn of(seen: &Observations) -> Self {
        if let Some(reason) = &seen.refusal {
            let certificate = seen.server_chain.first();
            return Self::WeRefused {
                server: seen.server_name(),
                certificate: certificate
                    .map_or_else(String::new, |one| one.summary.subject.clone()),
                reason: reason.clone(),
            };
        }
        if seen.is_certificate_not_requested() {
            return Self::PlainTls {
                server: seen.server_name(),
            };
        }
        Self::of_end(seen)
    }

    fn of_end(seen: &Observations) -> Self {
        let server = seen.server_name();
        match &seen.end {
            End::Unreachable(cause) => Self::Unreachable {
                server,
                cause: cause.clone(),
            },
            End::TimedOut(stage) => Self::TimedOut {
                server,
                stage: *stage,
                limit: seen.limits.of(*stage),
            },
            // access_denied
            End::Alert(Alert(49)) if seen.is_certificate_sent() => Self::RefusedByPolicy {
                server,
                by: Policy::AccessDenied,
            },
            End::Alert(alert) => {
                let (meaning, advice) = explain(*alert, seen);
                Self::TheyRefused {
                    server,
                    alert: *alert,
                    meaning,
                    advice,
                }
            }
            End::NotTls => Self::NotTls { server },
            End::TlsError(fault) => Self::WeBrokeOff {
                server,
                fault: fault.clone(),
            },
            End::Closed(cause) => Self::Closed {
                server,
                shown: seen.is_certificate_sent(),
                cause: cause.clone(),
            },
            End::NotHttp => Self::NotHttp { server },
            End::TooLarge => Self::TooLarge {
                server,
                limit: seen.limits.answer,
            },
            End::Answered(answer) => Self::of_answer(seen, answer),
        }
    }

    fn of_answer(seen: &Observations, answer: &ProbeResponse) -> Self {
        let server = seen.server_name();
        let status = answer.status;
        match &answer.reaction {
            Reaction::RefusesCertificate(words) => Self::TheyRefusedOverHttp {
                server,
                status,
                words: (*words).to_owned(),
                shown: seen.is_certificate_sent(),
            },
            Reaction::Fails => Self::ServerFailed { server, status },
            Reaction::Refuses(reasons) if seen.is_certificate_sent() => Self::RefusedByPolicy {
                server,
                by: Policy::Http {
                    status,
                    reasons: reasons.clone(),
                },
            },
            Reaction::Accepts if seen.is_certificate_sent() => Self::Granted { server, status },
            Reaction::Refuses(reasons) => Self::TheyRefusedOverHttp {
                server,
                status,
                words: codes(reasons),
                shown: false,
            },
            Reaction::Accepts => Self::NotInsisted { server, status },
        }
    }
}

fn codes(reasons: &[Reason]) -> String {
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
    codes.join(", ")
}

fn as_text<T: fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_seconds<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.as_secs_f64())
}
