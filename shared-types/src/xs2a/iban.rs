//! International Bank Account Numbers (ISO 13616).

use std::fmt;

use serde::Serialize;
use serde_with::DeserializeFromStr;

/// An IBAN in its electronic form (no blanks).
///
/// Only the shape is guaranteed: two letters, two digits, up to thirty letters or digits. The
/// standard's own examples carry wrong check digits, so validate an IBAN that is *input* with
/// [`Iban::check_digits_hold`].
///
/// `Debug` shows country and last four characters only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, DeserializeFromStr)]
#[serde(transparent)]
pub struct Iban(String);

/// The text does not have the shape of an IBAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IBAN: two capital letters, two digits, then 1 to 30 letters or digits")]
pub struct NotAnIban;

impl Iban {
    /// The IBAN without blanks.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The IBAN made of a country code and a national account number, with its check digits worked
    /// out.
    pub fn with_check_digits(country: &str, bban: &str) -> Result<Self, NotAnIban> {
        let unchecked: Self = format!("{country}00{bban}").parse()?;
        let check = 98 - unchecked.remainder();
        format!("{country}{check:02}{bban}").parse()
    }

    /// Whether the check digits are right (ISO 7064 MOD 97-10).
    #[must_use]
    pub fn check_digits_hold(&self) -> bool {
        self.remainder() == 1
    }

    /// ISO 7064: the number, its first four characters moved to the end and letters written as 10
    /// to 35, modulo 97.
    fn remainder(&self) -> u32 {
        let (head, tail) = self.0.split_at(4);
        tail.chars()
            .chain(head.chars())
            .filter_map(|character| character.to_digit(36))
            .fold(0, |sum, digit| {
                (sum * if digit < 10 { 10 } else { 100 } + digit) % 97
            })
    }
}

impl std::str::FromStr for Iban {
    type Err = NotAnIban;

    fn from_str(text: &str) -> Result<Self, NotAnIban> {
        let shaped = (5..=34).contains(&text.len())
            && text.bytes().enumerate().all(|(at, byte)| match at {
                0 | 1 => byte.is_ascii_uppercase(),
                2 | 3 => byte.is_ascii_digit(),
                _ => byte.is_ascii_alphanumeric(),
            });
        shaped.then(|| Self(text.to_owned())).ok_or(NotAnIban)
    }
}

impl fmt::Display for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Iban {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let country = self.0.get(..2).unwrap_or_default();
        let last = self
            .0
            .get(self.0.len().saturating_sub(4)..)
            .unwrap_or_default();
        write!(f, "{country}…{last}")
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Iban {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .pattern(Some("^[A-Z]{2}[0-9]{2}[a-zA-Z0-9]{1,30}$"))
            .description(Some("IBAN (ISO 13616)"))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Iban {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn check_digits_of_published_ibans() {
        // From the SWIFT IBAN registry.
        for iban in [
            "DE89370400440532013000",
            "FR1420041010050500013M02606",
            "ES9121000418450200051332",
            "NL91ABNA0417164300",
        ] {
            assert!(iban.parse::<Iban>().unwrap().check_digits_hold(), "{iban}");
        }
        assert!(
            !"DE88370400440532013000"
                .parse::<Iban>()
                .unwrap()
                .check_digits_hold()
        );
    }

    #[test]
    fn debug_hides_the_account() {
        assert_eq!(
            format!("{:?}", "DE89370400440532013000".parse::<Iban>().unwrap()),
            "DE…3000"
        );
    }

    proptest! {
        #[test]
        fn made_check_digits_hold_and_one_changed_digit_breaks_them(bban in "[0-9]{10,30}", at in 0usize..10, by in 1u8..10) {
            let iban = Iban::with_check_digits("DE", &bban).unwrap();
            prop_assert!(iban.check_digits_hold());
            let mut bytes = iban.as_str().as_bytes().to_vec();
            bytes[4 + at] = b'0' + (bytes[4 + at] - b'0' + by) % 10;
            let wrong: Iban = String::from_utf8(bytes).unwrap().parse().unwrap();
            prop_assert!(!wrong.check_digits_hold());
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<Iban>().map(|iban| (iban.check_digits_hold(), format!("{iban:?}")));
        }
    }
}
