//! Reader of the configuration file. Reports all faults, each with its line.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer, Error};

use super::{Config, ReadConfig, WHOLE_FILE};
use crate::config_error::ConfigError;

/// The line of each key in a configuration file, by its path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// Sets the line of each error: of its key, or of the table around it.
    pub(crate) fn locate(&self, faults: Vec<ConfigError>) -> Vec<ConfigError> {
        let locate = |mut fault: ConfigError| {
            let mut path = fault.key.as_str();
            while fault.line.is_none() && !path.is_empty() {
                fault.line = self.0.get(path).copied();
                let outer = path.rfind(['.', '[']).and_then(|end| path.get(..end));
                path = outer.unwrap_or_default();
            }
            fault
        };
        faults.into_iter().map(locate).collect()
    }
}

/// Reads a configuration. The parser stops at the first error: the error is recorded, its value is
/// substituted, and the document is parsed again.
pub(super) fn read(text: &str) -> ReadConfig {
    /// Limit of reported errors.
    const MAX_FAULTS: usize = 100;

    let (document, errors) = DeTable::parse_recoverable(text);
    let mut reading = ReadConfig {
        config: None,
        faults: Vec::new(),
        substituted: BTreeSet::new(),
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
    visit(&root, "", &mut |path, span| {
        let line = || line(text, span.start);
        lines.0.entry(path.to_owned()).or_insert_with(line);
    });
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
        let mut path = substitutes
            .path(&span)
            .unwrap_or_else(|| innermost(&root, &span));
        let missing = quoted(error.message(), "missing field `");
        if let Some(field) = missing {
            path = below(&path, field);
        }
        let is_unknown = error.message().starts_with("unknown field `");
        if !reading.is_substituted(&path) {
            let fault = ConfigError::new(
                if path.is_empty() { WHOLE_FILE } else { &path },
                one_line(&error),
            );
            let located = lines.locate(vec![fault]).into_iter();
            reading.faults.extend(located);
        }
        reading.substituted.insert(path.clone());
        let next = if is_unknown {
            Some(Change::Remove)
        } else {
            substitutes.next(&path, missing.is_some())
        };
        let Some(change) = next else {
            break;
        };
        if path.is_empty() || put(&mut root, &path, change).is_none() {
            break;
        }
    }
    reading
}

/// Whether the set contains that path, or one around it.
pub(super) fn is_within(paths: &BTreeSet<String>, path: &str) -> bool {
    paths.iter().any(|outer| {
        path.strip_prefix(outer.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    })
}

/// Change of a value that is wrong or missing.
enum Change {
    Remove,
    Set(Spanned<DeValue<'static>>),
}

/// Substitutes for values that are wrong or missing, tried one after the other. Each has a span of
/// its own behind the text, from which the path of the next error follows.
struct Substitutes {
    start: usize,
    paths: Vec<String>,
    tried: BTreeMap<String, usize>,
}

impl Substitutes {
    fn new(start: usize) -> Self {
        Self {
            start,
            paths: Vec::new(),
            tried: BTreeMap::new(),
        }
    }

    fn path(&self, span: &Range<usize>) -> Option<String> {
        let index = span.start.checked_sub(self.start + 1)?;
        self.paths.get(index).cloned()
    }

    /// The next substitute for that path: first its removal, if the key is optional. `None` if all
    /// were tried.
    fn next(&mut self, path: &str, is_needed: bool) -> Option<Change> {
        let tried = self.tried.entry(path.to_owned()).or_default();
        if is_needed {
            *tried = (*tried).max(1);
        }
        let at = self.start + 1 + self.paths.len();
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
        self.paths.push(path.to_owned());
        Some(value.map_or(Change::Remove, |value| {
            Change::Set(Spanned::new(span, value))
        }))
    }
}

/// The path of the innermost value around that part of the text.
fn innermost(root: &DeValue<'_>, span: &Range<usize>) -> String {
    let mut best = (usize::MAX, String::new());
    visit(root, "", &mut |path, at| {
        let is_around = !span.is_empty() && at.start <= span.start && span.end <= at.end;
        if is_around && at.len() <= best.0 {
            best = (at.len(), path.to_owned());
        }
    });
    best.1
}

/// Visits each key and each value below that value, with its path.
fn visit(value: &DeValue<'_>, path: &str, each: &mut impl FnMut(&str, Range<usize>)) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                let path = below(path, key.get_ref());
                each(&path, key.span());
                each(&path, value.span());
                visit(value.get_ref(), &path, each);
            }
        }
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                let path = format!("{path}[{index}]");
                each(&path, value.span());
                visit(value.get_ref(), &path, each);
            }
        }
        _ => {}
    }
}

/// Changes the value at that path; `None` if there is no such path.
fn put(root: &mut DeValue<'_>, path: &str, change: Change) -> Option<()> {
    let (first, rest) = match path.find(['.', '[']) {
        Some(0) => return put(root, path.get(1..)?, change),
        Some(end) => path.split_at(end),
        None => (path, ""),
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

pub(super) fn below(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
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
