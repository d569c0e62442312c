//! Summary sentence of a probe: who refused whom, and what to do.

use std::fmt;
use std::time::Duration;

use shared_types::pki::trust::Refusal;

use super::answer::Reason;
use super::verdict::{Policy, Stage, Verdict};
use crate::tls::ServerRefusal;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { server, .. } => write!(
                f,
                "We accepted {server}, it accepted us, and access is granted: mutual TLS works, so that a consent can be \
                 asked for."
            ),
            Self::Unreachable { server, cause } => write!(
                f,
                "Neither side refused the other: there is no connection to {server} ({cause}); check that \
                 host and port are right and that the server is up."
            ),
            Self::NotTls { server } => write!(
                f,
                "Neither side refused the other: {server} does not speak TLS; check that host and port \
                 are those of the interface."
            ),
            Self::PlainTls { server } => write!(
                f,
                "We accepted {server}, and it did not ask for our certificate: this is plain TLS and no XS2A interface \
                 behind mutual TLS, so check that host and port are those of the interface."
            ),
            Self::WeRefused {
                server,
                certificate,
                reason,
            } => write!(
                f,
                "We refused {server} with its certificate of {certificate}: {reason}; {}.",
                about_theirs(reason)
            ),
            Self::WeBrokeOff { server, fault } => write!(
                f,
                "We broke the handshake with {server} off ({fault}): check that host and port are those of the \
                 interface, then tell the bank."
            ),
            Self::TheyRefused {
                server,
                alert,
                meaning,
                advice,
            } => write!(
                f,
                "{server} refused us with the alert {alert}: {meaning}; {advice}."
            ),
            Self::TheyRefusedOverHttp {
                server,
                status,
                words,
                shown,
            } => over_http(f, server, *status, words, *shown),
            Self::RefusedByPolicy { server, by } => write!(
                f,
                "{server} accepted our certificate and then refused us by policy with {by}: {}.",
                about_policy(by)
            ),
            Self::NotInsisted { server, status } => write!(
                f,
                "{server} asked for a certificate, got none, and answered all the same (HTTP {status}): show a \
                 certificate, with its key, to see whether it accepts that."
            ),
            Self::Closed {
                server,
                shown,
                cause,
            } => closed(f, server, *shown, cause.as_deref()),
            Self::TimedOut {
                server,
                stage,
                limit,
            } => timed_out(f, server, *stage, *limit),
            Self::NotHttp { server } => write!(
                f,
                "Neither side refused the other, but {server} sent no HTTP/1.1 after the handshake: check \
                 that host and port are those of the interface."
            ),
            Self::TooLarge { server, limit } => write!(
                f,
                "Neither side refused the other, but the response headers of {server} are larger than the \
                 {limit} bytes that we read: tell the bank."
            ),
            Self::ServerFailed { server, status } => write!(
                f,
                "{server} did not refuse us, but failed at our request with HTTP {status}: try again later, \
                 then tell the bank."
            ),
        }
    }
}

fn over_http(
    f: &mut fmt::Formatter<'_>,
    server: &str,
    status: u16,
    words: &str,
    shown: bool,
) -> fmt::Result {
    let (what, advice) = if shown {
        (
            "our certificate",
            "check that it is valid, complete with its issuing CA, and of an authority the bank agreed to",
        )
    } else {
        ("us without a certificate", "show one, with its key")
    };
    write!(
        f,
        "{server} let the handshake pass and refused {what} over HTTP with {status}"
    )?;
    if !words.is_empty() {
        write!(f, " \"{words}\"")?;
    }
    write!(f, ": {advice}.")
}

fn closed(
    f: &mut fmt::Formatter<'_>,
    server: &str,
    shown: bool,
    cause: Option<&str>,
) -> fmt::Result {
    let after = if shown {
        "after we had shown our certificate, and so may have refused it"
    } else {
        "without having been shown a certificate of ours"
    };
    write!(f, "{server} ended the connection without an alert ")?;
    if let Some(cause) = cause {
        write!(f, "({cause}) ")?;
    }
    write!(
        f,
        "{after}: ask the bank what its log says, for the protocol does not."
    )
}

fn timed_out(
    f: &mut fmt::Formatter<'_>,
    server: &str,
    stage: Stage,
    limit: Duration,
) -> fmt::Result {
    let seconds = limit.as_secs_f32();
    match stage {
        Stage::Connecting => write!(
            f,
            "Neither side refused the other: there was no connection to {server} within {seconds} s; \
             check that host and port are right, and that no firewall is in between."
        ),
        Stage::Handshake => write!(
            f,
            "Neither side refused the other, but {server} did not finish the handshake within {seconds} \
             s: check that host and port are those of the interface, then try again later."
        ),
        Stage::Exchange => write!(
            f,
            "{server} neither refused us nor answered within {seconds} s: try again later, then ask the bank what its \
             log says."
        ),
    }
}

/// Advice for a server that we refused.
fn about_theirs(reason: &ServerRefusal) -> &'static str {
    match reason {
        ServerRefusal::Trust(Refusal::IncompleteChain { .. }) => {
            "ask the bank to send the certificate of its issuing CA along, if it is of an agreed authority"
        }
        ServerRefusal::Trust(Refusal::Expired { .. } | Refusal::NotYetValid { .. }) => {
            "check that our clock is right, and ask the bank for a valid certificate if it is"
        }
        ServerRefusal::Trust(Refusal::AnchorNotValid { .. }) => {
            "take the authority's new certificate among the anchors"
        }
        ServerRefusal::Trust(Refusal::SelfSigned | Refusal::UnknownIssuer { .. }) => {
            "check that the anchors are those agreed with this bank, and send it nothing if they are"
        }
        ServerRefusal::Trust(Refusal::BadSignature { .. }) => {
            "check that the anchors hold the very authority that issued it, and not another of the same name, and send \
             it nothing if they do"
        }
        ServerRefusal::Trust(_) => {
            "tell the bank, and send it nothing until it has another certificate"
        }
        ServerRefusal::WrongName(_) => {
            "use the host name under which the bank published its interface, and send it nothing if this is it"
        }
        ServerRefusal::WrongOrganisation { .. } | ServerRefusal::NoOrganisation(_) => {
            "check that address and organisation are those of one and the same bank, and send it nothing if they are"
        }
    }
}

/// Advice for a bank that accepted our certificate and then refused us.
fn about_policy(by: &Policy) -> &'static str {
    let Policy::Http { status, reasons } = by else {
        return "ask the bank which organisations it lets in";
    };
    let has = |code: &str| reasons.iter().any(|reason| reason.code == code);
    if has("CERTIFICATE_BLOCKED") || has("SERVICE_BLOCKED") {
        "ask the bank, and the authority that licensed us, why we are blocked"
    } else if has("ROLE_INVALID") {
        "use a certificate with the role that the service needs, and check that the register grants it"
    } else if has("CERTIFICATE_INVALID") || has("CERTIFICATE_MISSING") {
        "use a QWAC that names our organisation and its PSD2 roles"
    } else if has("CERTIFICATE_EXPIRED") || has("CERTIFICATE_REVOKE") {
        "have a new certificate issued"
    } else if *status == 429 {
        "wait, and ask less often"
    } else {
        "ask the bank what it holds against us"
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccessDenied => f.write_str("the alert access_denied"),
            Self::Http { status, reasons } if reasons.is_empty() => {
                write!(f, "HTTP {status} and no reason in the standard's form")
            }
            Self::Http { status, reasons } => write!(f, "HTTP {status}{}", Quoted(reasons)),
        }
    }
}

/// Codes, each with the bank's own words in quotes.
struct Quoted<'a>(&'a [Reason]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Reason { code, text } in self.0 {
            write!(f, " {code}")?;
            if let Some(text) = text {
                write!(f, " \"{text}\"")?;
            }
        }
        Ok(())
    }
}
