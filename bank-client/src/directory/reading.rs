//! Parsing of a directory file, with the position of each fault.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::entry::BankEntry;
use super::error::Place;

/// In what form a directory is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Toml,
    Json,
}

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    banks: Vec<BankEntry>,
}

/// A fault and its place.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) reason: String,
}

/// One step into a file, from the outside in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Field(&'static str),
    Item(usize),
}

impl Form {
    /// The banks, each by itself as it should be.
    pub(super) fn banks(self, text: &str) -> Result<Vec<BankEntry>, Fault> {
        self.parse(text, std::marker::PhantomData::<File>)
            .map(|file| file.banks)
    }

    /// Place of the value that these steps lead to. The parser itself is asked: it reads the text
    /// once more, and is stopped there.
    pub(super) fn place(self, text: &str, steps: &[Step]) -> Place {
        match self.parse(text, Stop(steps)) {
            Err(fault) => fault.place,
            // There is no such value.
            Ok(()) => Place { line: 1, column: 1 },
        }
    }

    fn parse<'a, S: DeserializeSeed<'a>>(self, text: &'a str, seed: S) -> Result<S::Value, Fault> {
        match self {
            Self::Toml => {
                let fault = |error: toml::de::Error| Fault {
                    place: Place::of(text, error.span().map_or(0, |span| span.start)),
                    reason: one_line(error.message()),
                };
                let document = toml::Deserializer::parse(text).map_err(fault)?;
                seed.deserialize(document).map_err(fault)
            }
            Self::Json => {
                let fault = |error: serde_json::Error| Fault {
                    place: Place::of(text, byte(text, error.line(), error.column())),
                    reason: without_place(&error),
                };
                let mut document = serde_json::Deserializer::from_str(text);
                let value = seed.deserialize(&mut document).map_err(fault)?;
                document.end().map_err(fault)?;
                Ok(value)
            }
        }
    }
}

/// Offset of a line and column, counted in bytes from 1 and 1.
fn byte(text: &str, line: usize, column: usize) -> usize {
    let before = text.split_inclusive('\n').take(line.saturating_sub(1));
    let start: usize = before.map(str::len).sum();
    let mut byte = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

fn one_line(text: &str) -> String {
    text.split('\n')
        .map(str::trim)
        .collect::<Vec<_>>()
        .join("; ")
}

/// `serde_json` puts the place behind its message; ours stands before it.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    one_line(text.strip_suffix(&place).unwrap_or(&text))
}

/// Follows the steps, and fails where they end: the parser's error has the position.
struct Stop<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for Stop<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Stop<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the place")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom("here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Field(wanted), inner)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        while let Some(name) = map.next_key::<String>()? {
            if name == *wanted {
                return map.next_value_seed(Stop(inner));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Step::Item(wanted), inner)) = self.0.split_first() else {
            return Err(A::Error::custom("here"));
        };
        for _ in 0..*wanted {
            seq.next_element::<IgnoredAny>()?;
        }
        seq.next_element_seed(Stop(inner))
            .map(Option::unwrap_or_default)
    }
}
