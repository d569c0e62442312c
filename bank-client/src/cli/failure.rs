//! Errors of the command line: a line of cause, a line of advice, and the exit code.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use bank_client::Error;

use super::screen::plain;

/// Advice for a bank that requires `PSU-IP-Address`.
const PSU_ADDRESS: &str = "the bank requires the IP address of the customer's device: \
give it with --psu-ip-address, for `connect` also as psu_ip_address of the profile";

/// Exit codes. Documented for users in [`AFTER_LONG`](super::arguments).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    SomeBanksFailed = 3,
    ConsentNeeded = 4,
    CertificateRefused = 5,
    Unreachable = 6,
    AnotherApproval = 7,
}

/// Failure of a command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is invalid or incomplete.
    CommandLine(Box<clap::Error>),
    /// An error that has not been printed yet.
    Diagnostic(Diagnostic),
    /// The reader of standard output has closed the pipe. This is no error.
    OutputClosed,
}

/// An error as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnostic {
    pub(crate) cause: String,
    pub(crate) advice: Cow<'static, str>,
    pub(crate) exit: Exit,
}

impl Exit {
    /// The exit code for an SDK error.
    pub(crate) fn of(error: &Error) -> Self {
        if error.is_about_certificate() {
            Self::CertificateRefused
        } else if error.is_about_consent() {
            Self::ConsentNeeded
        } else if error.is_transient() {
            Self::Unreachable
        } else {
            Self::Failed
        }
    }

    /// The exit code for a run over several banks: the number that answered, and the failures.
    pub(crate) fn of_all(answered: usize, failures: &[Self]) -> Self {
        match failures {
            [] => Self::Done,
            _ if answered > 0 => Self::SomeBanksFailed,
            [first, rest @ ..] if rest.iter().all(|exit| exit == first) => *first,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Diagnostic {
    pub(crate) fn new(cause: impl Display, advice: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause: plain(&cause.to_string()),
            advice: advice.into(),
            exit: Exit::Failed,
        }
    }

    pub(crate) fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }
}

impl From<&Error> for Diagnostic {
    fn from(error: &Error) -> Self {
        let advice = if error.lacks_psu_address() {
            PSU_ADDRESS
        } else {
            error.advice()
        };
        Self::new(error, advice).exit(Exit::of(error))
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Diagnostic(diagnostic)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Diagnostic(Diagnostic::from(&error))
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(Box::new(error))
    }
}

/// Writing to standard output failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        failure(
            format!("cannot print: {error}"),
            "see where standard output leads",
        )
    }
}

pub(crate) fn failure(cause: impl Display, advice: impl Into<Cow<'static, str>>) -> Failure {
    Failure::Diagnostic(Diagnostic::new(cause, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_what_scripts_can_do_about_it() {
        use Exit::{CertificateRefused, ConsentNeeded, Done, Failed, SomeBanksFailed};
        for (answered, failures, expected) in [
            (2, vec![], Done),
            (0, vec![], Done),
            (1, vec![ConsentNeeded], SomeBanksFailed),
            (0, vec![ConsentNeeded, ConsentNeeded], ConsentNeeded),
            (0, vec![CertificateRefused], CertificateRefused),
            (0, vec![ConsentNeeded, CertificateRefused], Failed),
        ] {
            assert_eq!(
                Exit::of_all(answered, &failures),
                expected,
                "{answered} {failures:?}"
            );
        }
    }

    #[test]
    fn reads_that_are_used_up_may_succeed_later_whatever_the_status() {
        for status in [400, 401, 403, 429] {
            let message = serde_json::json!({ "category": "ERROR", "code": "ACCESS_EXCEEDED" });
            let error = Error {
                bank: "Bank B".to_owned(),
                kind: bank_client::ErrorKind::Refused {
                    status,
                    messages: vec![serde_json::from_value(message).unwrap()],
                    request_id: uuid::Uuid::nil(),
                    retry_after: None,
                },
            };
            assert_eq!(Exit::of(&error), Exit::Unreachable, "{status}");
        }
    }

    #[test]
    fn causes_bring_no_control_characters_along() {
        let diagnostic = Diagnostic::new("Bank\x1b[2J B", "wait");
        assert_eq!(diagnostic.cause, "Bank\u{fffd}[2J B");
    }
}
