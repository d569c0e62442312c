//! Calendar dates on the wire: RFC 3339 `full-date`, and nothing looser.

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer};

/// The text is not a date of the form `YYYY-MM-DD`, or no such day exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a calendar date of the form YYYY-MM-DD")]
pub struct NotADate;

/// Reads `YYYY-MM-DD`. chrono's own parser also takes blanks, signs and missing zeros; the standard
/// does not.
pub fn parse(text: &str) -> Result<NaiveDate, NotADate> {
    let shaped = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| {
            if at == 4 || at == 7 {
                byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        });
    if !shaped {
        return Err(NotADate);
    }
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| NotADate)
}

/// For `#[serde(deserialize_with = "crate::xs2a::date::strict")]`.
pub(crate) fn strict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveDate, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_existing_days_in_the_one_form() {
        assert_eq!(
            parse("2024-02-29"),
            Ok(NaiveDate::from_ymd_opt(2024, 2, 29).unwrap())
        );
        for wrong in [
            "2023-02-29",
            "2024-2-9",
            " 2024-02-29",
            "2024-02-30",
            "+024-02-29",
            "20240229",
            "",
            "2024-02-29T00:00:00Z",
        ] {
            assert_eq!(parse(wrong), Err(NotADate), "{wrong}");
        }
    }
}
