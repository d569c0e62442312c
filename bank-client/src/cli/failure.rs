//! What is told when something fails: a line of cause, a line of what to do, and the exit code.

use std::borrow::Cow;
use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use bank_client::Error;

use super::screen::plain;

/// What to do where a bank insists on the address of the customer's device.
const PSU_ADDRESS: &str = "the bank insists on the address from which the customer reaches it: give it with --psu-ip-address, for \
`connect` also as psu_ip_address of the profile";

/// How the program ends. [`AFTER_LONG`](super::arguments) tells users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    SomeBanksFailed = 3,
    ConsentNeeded = 4,
    CertificateRefused = 5,
    Unreachable = 6,
}

/// Why a command was not carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line lacks something.
    CommandLine(Box<clap::Error>),
    /// Something failed; it has not been told yet.
    BankFailure(BankFailure),
    /// Nobody reads on: whoever closes the pipe early has read enough.
    NobodyReads,
}

/// What failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BankFailure {
    pub(crate) cause: String,
    pub(crate) advice: Cow<'static, str>,
    pub(crate) exit: Exit,
}

impl Exit {
    /// What an error of a bank comes to.
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

    /// What it comes to if so many were answered, and these were not.
    pub(crate) fn of_all(answered: usize, troubles: &[Self]) -> Self {
        match troubles {
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

impl BankFailure {
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

impl From<&Error> for BankFailure {
    fn from(error: &Error) -> Self {
        let advice = if error.lacks_psu_address() {
            PSU_ADDRESS
        } else {
            error.advice()
        };
        Self::new(error, advice).exit(Exit::of(error))
    }
}

impl From<BankFailure> for Failure {
    fn from(trouble: BankFailure) -> Self {
        Self::BankFailure(trouble)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::BankFailure(BankFailure::from(&error))
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(Box::new(error))
    }
}

/// Printing has failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::NobodyReads;
        }
        failure(
            format!("cannot print: {error}"),
            "see where standard output leads",
        )
    }
}

pub(crate) fn failure(cause: impl Display, advice: impl Into<Cow<'static, str>>) -> Failure {
    Failure::BankFailure(BankFailure::new(cause, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_what_scripts_can_do_about_it() {
        use Exit::{CertificateRefused, ConsentNeeded, Done, Failed, SomeBanksFailed};
        for (answered, troubles, expected) in [
            (2, vec![], Done),
            (0, vec![], Done),
            (1, vec![ConsentNeeded], SomeBanksFailed),
            (0, vec![ConsentNeeded, ConsentNeeded], ConsentNeeded),
            (0, vec![CertificateRefused], CertificateRefused),
            (0, vec![ConsentNeeded, CertificateRefused], Failed),
        ] {
            assert_eq!(
                Exit::of_all(answered, &troubles),
                expected,
                "{answered} {troubles:?}"
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
        let trouble = BankFailure::new("Bank\x1b[2J B", "wait");
        assert_eq!(trouble.cause, "Bank\u{fffd}[2J B");
    }
}
