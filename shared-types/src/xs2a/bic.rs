//! Business Identifier Codes (ISO 9362).

use std::fmt;
use std::str::FromStr;

use serde_with::{DeserializeFromStr, SerializeDisplay};

/// The BIC of a bank or of one of its branches. That of a bank, eight characters, is kept with
/// `XXX` behind it: both forms name the same, and are equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, DeserializeFromStr, SerializeDisplay)]
pub struct Bic([u8; 11]);

/// The text is not a BIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a BIC: four letters or digits, two letters of a country, two or five letters or digits, \
     all capitals"
)]
pub struct NotABic;

/// The branch code for no branch in particular.
const NO_BRANCH: &str = "XXX";

impl Bic {
    /// All eleven characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever stored.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The eight characters that name the bank, whatever the branch.
    #[must_use]
    pub fn bank(&self) -> &str {
        self.as_str().get(..8).unwrap_or_default()
    }

    /// The two letters of its country.
    #[must_use]
    pub fn country(&self) -> &str {
        self.as_str().get(4..6).unwrap_or_default()
    }

    /// The three characters of the branch, if it names one.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.as_str().get(8..).filter(|branch| *branch != NO_BRANCH)
    }
}

impl FromStr for Bic {
    type Err = NotABic;

    fn from_str(text: &str) -> Result<Self, NotABic> {
        let whole = match text.len() {
            8 => format!("{text}{NO_BRANCH}"),
            _ => text.to_owned(),
        };
        let characters = <[u8; 11]>::try_from(whole.as_bytes()).map_err(|_| NotABic)?;
        let shaped = characters.iter().enumerate().all(|(at, byte)| match at {
            4 | 5 => byte.is_ascii_uppercase(),
            _ => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        });
        shaped.then_some(Self(characters)).ok_or(NotABic)
    }
}

impl fmt::Display for Bic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Bic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn eight_characters_are_eleven_with_three_x() {
        let bank: Bic = "BNKBFRPP".parse().unwrap();
        assert_eq!(bank, "BNKBFRPPXXX".parse().unwrap());
        assert_eq!(
            (bank.bank(), bank.country(), bank.branch()),
            ("BNKBFRPP", "FR", None)
        );
        let branch: Bic = "BNKBFRPP75A".parse().unwrap();
        assert_eq!(branch.branch(), Some("75A"));
        assert_eq!(bank.to_string(), "BNKBFRPPXXX");
    }

    #[test]
    fn what_has_another_shape_is_none() {
        for wrong in [
            "",
            "BNKBFRP",
            "BNKBFRPPX",
            "bnkbfrpp",
            "BNKB1RPP",
            "BNKBFRPPXX-",
            "BNKBFRÉP",
            "BNKBFRPPXXXX",
        ] {
            assert_eq!(wrong.parse::<Bic>(), Err(NotABic), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Bic>().map(|bic| format!("{bic} {:?}", bic.branch()));
        }
    }
}
