//! Parts that the contracts of all services share: readiness and version, and the subject of an
//! answer.

use serde::Deserialize;
use utoipa::ToSchema;

/// A breach of a contract. It repeats no value of an answer, which may be account data.
pub(crate) type Breach = String;

/// Answer of `ready`.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Ready {
    /// Version of the contract that the service implements.
    #[schema(example = "1.0")]
    version: String,
}

impl Ready {
    /// Checks that the major version is the one that this bank server speaks.
    pub(super) fn check_version(&self) -> Result<(), Breach> {
        const MAJOR: &str = "1";

        let is_number =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match self.version.split_once('.') {
            Some((MAJOR, minor)) if is_number(minor) => Ok(()),
            _ => Err(format!("version is not {MAJOR}.x, such as {MAJOR}.0")),
        }
    }
}

/// Checks that a property of an answer, such as the account, equals that of its query.
pub(crate) fn matches_query<T: PartialEq + ?Sized>(
    name: &str,
    answered: &T,
    queried: &T,
) -> Result<(), Breach> {
    if answered == queried {
        Ok(())
    } else {
        Err(format!("{name} is not that of the query"))
    }
}
