//! Text of bounded length: the standard's `Max35Text`, `Max140Text` and their kin.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::decode::{Manner, OPEN_TEXT};

/// Text of at most `MAX` characters; in an answer that deviates from the standard, up to
/// [`LONGEST`].
///
/// Its `Debug` shows the length only: names and remittance information are account data, and
/// account data stays out of logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// The text, cut to what its field allows.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        Self(text.chars().take(MAX).collect())
    }

    /// The text as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text for which the standard sets no length, such as `transactionId`: the limit is our own.
///
/// Four bytes a character, it still fits an index of PostgreSQL beside the id of an account.
pub type OpenText = Text<500>;

/// Text of others as it can be printed: control characters, and those that turn the direction of
/// writing (Unicode's `Bidi_Control` with the line and paragraph separators), are replaced by
/// U+FFFD; line breaks and tabs by blanks.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' => ' ',
            character if is_obeyed(character) => char::REPLACEMENT_CHARACTER,
            character => character,
        })
        .collect()
}

/// Whether a text stands for none: what banks write where there is nothing. Blanks, signs, zeros,
/// and words for "none" (ISO 20022's is `NOTPROVIDED`).
#[must_use]
pub fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 12] = [
        "NOTPROVIDED",
        "NOTAVAILABLE",
        "NOTAPPLICABLE",
        "NOTKNOWN",
        "NONE",
        "NULL",
        "NIL",
        "NA",
        "NOREF",
        "NOREFERENCE",
        "UNKNOWN",
        "UNDEFINED",
    ];
    let said: String = text
        .chars()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(char::to_uppercase)
        .collect();
    said.chars().all(|letter| letter == '0') || WORDS.contains(&said.as_str())
}

/// Whether a terminal or a browser obeys a character instead of showing it.
#[must_use]
pub fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// A text was longer than its field allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("longer than {max} characters")]
pub struct TooLong {
    /// The greatest length, in characters.
    pub max: usize,
}

impl<const MAX: usize> TryFrom<String> for Text<MAX> {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        // A UTF-8 text never has more characters than bytes: only a long one needs counting.
        if text.len() > MAX && text.chars().count() > MAX {
            return Err(TooLong { max: MAX });
        }
        Ok(Self(text))
    }
}

impl<const MAX: usize> std::str::FromStr for Text<MAX> {
    type Err = TooLong;

    fn from_str(text: &str) -> Result<Self, TooLong> {
        Self::try_from(text.to_owned())
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        open_text(deserializer, |text, manner| match manner {
            Manner::Exact => Self::try_from(text),
            Manner::Tolerant => Text::<LONGEST>::try_from(text).map(|text| Self(text.0)),
        })
    }
}

/// The longest text that is kept where it is longer than its field allows, in characters. The
/// standard's own longest is a quarter of it.
pub const LONGEST: usize = 4000;

/// Reads a text, and makes of it what the manner of reading allows.
pub(crate) fn open_text<'de, D: Deserializer<'de>, T, F: fmt::Display>(
    deserializer: D,
    make: impl FnOnce(String, Manner) -> Result<T, F>,
) -> Result<T, D::Error> {
    struct Open<M>(M);

    impl<'de, T, F: fmt::Display, M: FnOnce(String, Manner) -> Result<T, F>> Visitor<'de> for Open<M> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_newtype_struct<D: Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<T, D::Error> {
            (self.0)(String::deserialize(deserializer)?, Manner::Exact).map_err(D::Error::custom)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text.to_owned(), Manner::Exact).map_err(E::custom)
        }

        fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<T, E> {
            let text = str::from_utf8(text).map_err(E::custom)?;
            (self.0)(text.to_owned(), Manner::Tolerant).map_err(E::custom)
        }
    }

    deserializer.deserialize_newtype_struct(OPEN_TEXT, Open(make))
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} characters>", self.0.chars().count())
    }
}

#[cfg(feature = "openapi")]
mod openapi {
    use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
    use utoipa::openapi::{RefOr, schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::Text;

    impl<const MAX: usize> PartialSchema for Text<MAX> {
        fn schema() -> RefOr<Schema> {
            let text: schema::Object = ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .max_length(Some(MAX))
                .build();
            RefOr::T(Schema::Object(text))
        }
    }

    impl<const MAX: usize> ToSchema for Text<MAX> {
        fn name() -> std::borrow::Cow<'static, str> {
            format!("Max{MAX}Text").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_obeyed_instead_of_shown_is_replaced() {
        for (text, expected) in [
            ("two\r\nlines\tand more", "two  lines and more"),
            ("DE\u{202e}21", "DE\u{fffd}21"),
            ("\u{1b}[2J\0\u{9b}", "\u{fffd}[2J\u{fffd}\u{fffd}"),
            (
                "\u{7f}\u{200f}\u{2066}\u{206a}",
                "\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("שלום 👩\u{200d}💻", "שלום 👩\u{200d}💻"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_stands_for_nothing_is_a_placeholder() {
        for text in [
            "",
            " ",
            "0",
            "000000",
            "-",
            "--",
            "./.",
            "?",
            "NONE",
            "none",
            "N/A",
            "n.a.",
            "NOTPROVIDED",
            "NOT PROVIDED",
            "Not_Provided",
            "null",
            "unknown",
        ] {
            assert!(is_placeholder(text), "{text:?}");
        }
        for text in ["1", "00001", "A", "NO-1", "NONE1", "205-BATCH", "Ω"] {
            assert!(!is_placeholder(text), "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_and_debug_hides_the_text() {
        let fits: Text<3> = "äöü".parse().unwrap();
        assert_eq!(format!("{fits} {fits:?}"), "äöü <3 characters>");
        assert_eq!(Text::<3>::cut("abcd").as_str(), "abc");
        assert_eq!("abcd".parse::<Text<3>>(), Err(TooLong { max: 3 }));
    }
}
