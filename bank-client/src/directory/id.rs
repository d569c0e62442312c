//! Bank id, by which configurations and stores name a bank.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// The short name of a bank in a directory, such as `bank-b`: 1 to 40 of `a` to `z`, `0` to `9` and
/// `-`. Stores file under it what they keep for the bank, so it stays when the bank's name or
/// address changes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct BankId(String);

/// The text is not a bank's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a bank's id: 1 to 40 of a to z, 0 to 9 and -")]
pub struct NotABankId;

impl BankId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BankId {
    type Err = NotABankId;

    fn from_str(text: &str) -> Result<Self, NotABankId> {
        let shaped = (1..=40).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        shaped.then(|| Self(text.to_owned())).ok_or(NotABankId)
    }
}

impl<'de> Deserialize<'de> for BankId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for BankId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for BankId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_plain() {
        for good in ["bank-b", "1822direkt", "-", &"a".repeat(40)] {
            assert_eq!(good.parse::<BankId>().unwrap().as_str(), good);
        }
        for wrong in [
            "",
            "Bank",
            "bank b",
            "bank_b",
            "../b",
            "bänk",
            &"a".repeat(41),
        ] {
            assert_eq!(wrong.parse::<BankId>(), Err(NotABankId), "{wrong}");
        }
    }
}
