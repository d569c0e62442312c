//! Reader of the configuration file. Reports all faults, each with its line.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer, Error};

use super::{Config, ReadConfig, WHOLE_FILE};
use crate::config_error::ConfigError;

/// The lines of a configuration file at which its fields stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Gives faults the lines of their places: of the field, or else of what it is a part of.
    pub(crate) fn locate(&self, faults: Vec<ConfigError>) -> Vec<ConfigError> {
        let locate = |mut fault: ConfigError| {
            let mut place = fault.place.as_str();
            while fault.line.is_none() && !place.is_empty() {
                fault.line = self.0.get(place).copied();
                let outer = place.rfind(['.', '[']).and_then(|end| place.get(..end));
                place = outer.unwrap_or_default();
            }
            fault
        };
        faults.into_iter().map(locate).collect()
    }

    fn add(&mut self, text: &str, place: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    let place = below(place, key.get_ref());
                    self.0.insert(place.clone(), line(text, key.span().start));
                    self.add(text, &place, value.get_ref());
                }
            }
            DeValue::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    let place = format!("{place}[{index}]");
                    self.0.insert(place.clone(), line(text, value.span().start));
                    self.add(text, &place, value.get_ref());
                }
            }
            _ => {}
        }
    }
}

/// Reads a configuration. The parser stops at the first fault of a field: the field is noted,
/// another value is put in its place, and it is read again.
pub(super) fn read(text: &str) -> ReadConfig {
    /// More are not told.
    const MAX_FAULTS: usize = 100;

    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reading = ReadConfig {
        config: None,
        faults: Vec::new(),
        made_up: BTreeSet::new(),
    };
    if !errors.is_empty() {
        let errors = errors.into_iter().take(MAX_FAULTS);
        let faults = errors.map(|error| {
            let start = error.span().map_or(0, |span| span.start);
            ConfigError::new(WHOLE_FILE, one_line(&error)).at(line(text, start))
        });
        reading.faults = faults.collect();
        return reading;
    }
    let span = document.span();
    let mut lines = Lines::default();
    let mut root = DeValue::Table(document.into_inner());
    lines.add(text, "", &root);
    let mut substitutes = Substitutes::new(text.len());
    while reading.faults.len() < MAX_FAULTS {
        let DeValue::Table(table) = &root else {
            break;
        };
        let document = Spanned::new(span.clone(), table.clone());
        let error = match Config::deserialize(Deserializer::from(document)) {
            Ok(mut config) => {
                config.lines = lines;
                reading.config = Some(config);
                break;
            }
            Err(error) => error,
        };
        let span = error.span().unwrap_or_default();
        let mut place = substitutes
            .place(&span)
            .unwrap_or_else(|| innermost(&root, &span));
        let missing = quoted(error.message(), "missing field `");
        if let Some(field) = missing {
            place = below(&place, field);
        }
        let is_unknown = error.message().starts_with("unknown field `");
        if !reading.is_made_up(&place) {
            let fault = ConfigError::new(
                if place.is_empty() { WHOLE_FILE } else { &place },
                one_line(&error),
            );
            let located = lines.locate(vec![fault]).into_iter();
            reading.faults.extend(located);
        }
        reading.made_up.insert(place.clone());
        let next = if is_unknown {
            Some(Change::Remove)
        } else {
            substitutes.next(&place, missing.is_some())
        };
        let Some(change) = next else {
            break;
        };
        if place.is_empty() || put(&mut root, &place, change).is_none() {
            break;
        }
    }
    reading
}

/// Whether that place, or one around it, is among those.
pub(super) fn is_within(places: &BTreeSet<String>, place: &str) -> bool {
    places.iter().any(|outer| {
        place
            .strip_prefix(outer.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// What is done to a field that is wrong or missing.
enum Change {
    Remove,
    Set(Spanned<DeValue<'static>>),
}

/// Values for what is wrong or missing, tried one after the other. Each has a span of its own
/// behind the text, by which the next error names its place.
struct Substitutes {
    start: usize,
    places: Vec<String>,
    tried: BTreeMap<String, usize>,
}

impl Substitutes {
    fn new(start: usize) -> Self {
        Self {
            start,
            places: Vec::new(),
            tried: BTreeMap::new(),
        }
    }

    fn place(&self, span: &Range<usize>) -> Option<String> {
        let index = span.start.checked_sub(self.start + 1)?;
        self.places.get(index).cloned()
    }

    /// The next value for that place: first none, where it need not be there. `None`, if all were
    /// tried.
    fn next(&mut self, place: &str, is_needed: bool) -> Option<Change> {
        let tried = self.tried.entry(place.to_owned()).or_default();
        if is_needed {
            *tried = (*tried).max(1);
        }
        let at = self.start + 1 + self.places.len();
        let span = at..at + 1;
        let text = |text: &'static str| DeValue::String(Cow::Borrowed(text));
        let mut table = DeTable::new();
        let value = match *tried {
            0 => None,
            1 => Some(text("127.0.0.1:0")),
            2 => Some(text("https://localhost")),
            3 => Some(text("PSDDE-BAFIN-1")),
            4 => DeValue::parse("1").ok().map(Spanned::into_inner),
            5 => Some(DeValue::Boolean(false)),
            6 => Some(DeValue::Array(DeArray::new())),
            7 => Some(DeValue::Table(table)),
            // The store's section.
            8 => {
                let path = Spanned::new(span.clone(), text("bank.db"));
                table.insert(Spanned::new(span.clone(), Cow::Borrowed("path")), path);
                Some(DeValue::Table(table))
            }
            _ => return None,
        };
        *tried += 1;
        self.places.push(place.to_owned());
        Some(value.map_or(Change::Remove, |value| {
            Change::Set(Spanned::new(span, value))
        }))
    }
}

/// The place of the innermost field that holds that part of the text.
fn innermost(root: &DeValue<'_>, span: &Range<usize>) -> String {
    fn search(value: &DeValue<'_>, place: &str, span: &Range<usize>, best: &mut (usize, String)) {
        let mut visit = |place: String, at: Range<usize>, value: &DeValue<'_>| {
            if at.start <= span.start && span.end <= at.end && at.len() <= best.0 {
                *best = (at.len(), place.clone());
            }
            search(value, &place, span, best);
        };
        match value {
            DeValue::Table(table) => {
                for (key, value) in table {
                    let place = below(place, key.get_ref());
                    visit(place.clone(), key.span(), &DeValue::Boolean(true));
                    visit(place, value.span(), value.get_ref());
                }
            }
            DeValue::Array(array) => {
                for (index, value) in array.iter().enumerate() {
                    visit(format!("{place}[{index}]"), value.span(), value.get_ref());
                }
            }
            _ => {}
        }
    }

    let mut best = (usize::MAX, String::new());
    if !span.is_empty() {
        search(root, "", span, &mut best);
    }
    best.1
}

/// Changes the value at that place; nothing, if there is no such place.
fn put(root: &mut DeValue<'_>, place: &str, change: Change) -> Option<()> {
    let (first, rest) = match place.find(['.', '[']) {
        Some(0) => return put(root, place.get(1..)?, change),
        Some(end) => place.split_at(end),
        None => (place, ""),
    };
    if rest.is_empty() || rest == "]" {
        match (root, change) {
            (DeValue::Table(table), Change::Remove) => drop(table.remove(first)),
            (DeValue::Table(table), Change::Set(value)) => {
                let key = Spanned::new(value.span(), Cow::Owned(first.to_owned()));
                table.remove(first);
                table.insert(key, value);
            }
            (DeValue::Array(array), Change::Set(value)) => {
                let index: usize = first.trim_end_matches(']').parse().ok()?;
                *array.get_mut(index)? = value;
            }
            // The next one is tried.
            (DeValue::Array(_), Change::Remove) => {}
            _ => return None,
        }
        return Some(());
    }
    let inner = match root {
        DeValue::Table(table) => table.get_mut(first)?,
        DeValue::Array(array) => {
            let index: usize = first.trim_end_matches(']').parse().ok()?;
            array.get_mut(index)?
        }
        _ => return None,
    };
    put(inner.get_mut(), rest, change)
}

pub(super) fn below(place: &str, field: &str) -> String {
    if place.is_empty() {
        field.to_owned()
    } else {
        format!("{place}.{field}")
    }
}

fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('`').next()
}

fn one_line(error: &Error) -> String {
    if error.message().starts_with("invalid socket address") {
        return "must be an IP address and a port, such as 127.0.0.1:8443".to_owned();
    }
    let lines = error.message().lines().map(str::trim);
    lines.collect::<Vec<_>>().join("; ")
}

/// The line of that byte, from 1.
fn line(text: &str, byte: usize) -> usize {
    let before = text.as_bytes().iter().take(byte);
    1 + before.filter(|byte| **byte == b'\n').count()
}
