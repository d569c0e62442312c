//! JSON schema of the configuration file, derived from the types that read it. The range checks and
//! the reference of keys both come from it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use serde::{Deserialize as _, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Config, WHOLE_FILE};
use crate::config_error::ConfigError;

/// Introduction of the reference.
const INTRODUCTION: &str = "\
# Configuration

A bank is configured by one TOML file, such as that in [running-a-bank.md](running-a-bank.md).
Relative paths start at the folder of the file. Unknown keys are refused.
`bank-server check --config bank.toml` reports every fault with its line.

This page is the output of `bank-server config --reference`, which reads the types that parse the
file. A test compares the two.
";

/// Errors of the values of a section, or configuration, that are outside their range.
pub(super) fn range_faults<T: Serialize + ToSchema>(section: &T) -> Vec<ConfigError> {
    let mut faults = Vec::new();
    match serde_json::to_value(section) {
        Ok(value) => {
            let schemas = Schemas::of::<T>();
            schemas.check("", &schemas.root, &value, &mut faults);
        }
        Err(error) => faults.push(ConfigError::new(WHOLE_FILE, error.to_string())),
    }
    faults
}

/// Serialises nothing: for paths, which need not be UTF-8, and secrets. Neither has a range or a
/// default.
pub(super) fn nothing<T, S: Serializer>(_: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_none()
}

/// Serialises a value as its text.
pub(super) fn text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reference of every key of the configuration file, as Markdown.
#[must_use]
pub fn reference() -> String {
    let schemas = Schemas::of::<Config>();
    let defaults = Config::deserialize(schemas.minimum(&schemas.root))
        .ok()
        .and_then(|config| serde_json::to_value(config).ok())
        .unwrap_or_default();
    let mut text = INTRODUCTION.to_owned();
    for section in schemas.sections() {
        let presence = if section.is_required {
            "Required"
        } else {
            "Optional"
        };
        let _ = write!(
            text,
            "\n## `{}`\n\n{presence}. {}\n\n\
             | key | default | unit | range | example | meaning |\n|---|---|---|---|---|---|\n",
            section.heading, section.about
        );
        let defaults = defaults.pointer(&section.pointer);
        for (name, property) in section.keys {
            let key = schemas.resolve(property);
            // The section of the store is parsed into another type; its schema has the defaults.
            let default = defaults
                .and_then(|defaults| defaults.get(name))
                .or_else(|| property.get("default"))
                .filter(|default| !is_empty(default));
            let default = match default {
                _ if is_required(section.schema, name) => "required".to_owned(),
                Some(default) => literal(default),
                None => "none".to_owned(),
            };
            let example = property
                .get("example")
                .map_or_else(|| default.clone(), literal);
            let _ = writeln!(
                text,
                "| `{name}` | {default} | {} | {} | {example} | {} |",
                unit(name),
                range(key),
                about(property)
            );
        }
    }
    text
}

/// The schema of a type, and the schemas that it refers to.
struct Schemas {
    root: Value,
    named: BTreeMap<String, Value>,
}

/// A table of the file, or a list of tables.
struct Section<'a> {
    /// Heading in the file: `[limits]`, `[[other_banks]]`.
    heading: String,
    /// JSON pointer to its value, or to the first one.
    pointer: String,
    about: String,
    is_required: bool,
    schema: &'a Value,
    /// Keys, without inner tables: those are sections.
    keys: Vec<(&'a str, &'a Value)>,
}

impl Schemas {
    fn of<T: ToSchema>() -> Self {
        let mut named = Vec::new();
        T::schemas(&mut named);
        let json = |schema| serde_json::to_value(schema).unwrap_or_default();
        let named = named.into_iter().map(|(name, schema)| (name, json(schema)));
        Self {
            root: json(T::schema()),
            named: named.collect(),
        }
    }

    /// Follows references, and options that allow no value.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let inner = match (schema.get("$ref"), schema.get("oneOf")) {
            (Some(Value::String(path)), _) => path
                .rsplit_once('/')
                .and_then(|(_, name)| self.named.get(name)),
            (_, Some(Value::Array(options))) => options
                .iter()
                .find(|option| option.get("type") != Some(&"null".into())),
            _ => return schema,
        };
        inner.map_or(schema, |inner| self.resolve(inner))
    }

    /// The schema of a table, also of one in a list of tables.
    fn of_table<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let schema = self.resolve(schema);
        let items = schema.get("items").map(|items| self.resolve(items));
        items
            .filter(|items| properties(items).is_some())
            .unwrap_or(schema)
    }

    fn check(&self, path: &str, schema: &Value, value: &Value, faults: &mut Vec<ConfigError>) {
        let schema = self.resolve(schema);
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(inner) = properties(schema).and_then(|inner| inner.get(name)) {
                        let path = super::reading::below(path, name);
                        self.check(&path, inner, value, faults);
                    }
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    if let Some(inner) = schema.get("items") {
                        self.check(&format!("{path}[{index}]"), inner, value, faults);
                    }
                }
            }
            _ if !is_in_range(schema, value) => {
                faults.push(ConfigError::new(path, format!("must be {}", range(schema))));
            }
            _ => {}
        }
    }

    fn sections(&self) -> Vec<Section<'_>> {
        let mut sections = Vec::new();
        self.add_sections("", "", &self.root, &mut sections);
        sections
    }

    fn add_sections<'a>(
        &'a self,
        name: &str,
        pointer: &str,
        outer: &'a Value,
        sections: &mut Vec<Section<'a>>,
    ) {
        for (key, property) in properties(outer).into_iter().flatten() {
            let schema = self.of_table(property);
            let Some(inner) = properties(schema) else {
                continue;
            };
            let is_list = self.resolve(property).get("items").is_some();
            let name = super::reading::below(name, key);
            let (heading, index) = if is_list {
                (format!("[[{name}]]"), "/0")
            } else {
                (format!("[{name}]"), "")
            };
            let pointer = format!("{pointer}/{key}{index}");
            let keys = inner
                .iter()
                .map(|(name, property)| (name.as_str(), property))
                .filter(|(_, property)| properties(self.of_table(property)).is_none());
            sections.push(Section {
                heading,
                pointer: pointer.clone(),
                about: about(property),
                is_required: is_required(outer, key),
                schema,
                keys: keys.collect(),
            });
            self.add_sections(&name, &pointer, schema, sections);
        }
    }

    /// The smallest configuration that has all sections.
    fn minimum(&self, table: &Value) -> Value {
        if let Some(example) = table.get("example") {
            return example.clone();
        }
        let mut fields = Map::new();
        for (name, property) in properties(table).into_iter().flatten() {
            let schema = self.of_table(property);
            let value = if properties(schema).is_some() {
                self.minimum(schema)
            } else if is_required(table, name) {
                property.get("example").cloned().unwrap_or_default()
            } else {
                continue;
            };
            let is_list = self.resolve(property).get("items").is_some();
            let is_table = properties(schema).is_some();
            let value = if is_list && is_table {
                vec![value].into()
            } else {
                value
            };
            fields.insert(name.clone(), value);
        }
        Value::Object(fields)
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties")?.as_object()
}

fn is_required(table: &Value, key: &str) -> bool {
    let required = table.get("required").and_then(Value::as_array);
    required.is_some_and(|required| required.contains(&key.into()))
}

/// Description of a key or section, on one line.
fn about(property: &Value) -> String {
    let options = property.get("oneOf").and_then(Value::as_array);
    let sentences = std::iter::once(property)
        .chain(options.into_iter().flatten())
        .find_map(|schema| schema.get("description")?.as_str());
    let lines = sentences.unwrap_or_default().lines().map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn is_in_range(schema: &Value, value: &Value) -> bool {
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let number = match value {
        Value::String(text) => {
            let most = schema.get("maxLength").and_then(Value::as_u64);
            return most.is_none_or(|most| text.chars().count() as u64 <= most);
        }
        // JSON has no other way to write what is not a number.
        Value::Null if schema.get("type") == Some(&"number".into()) => f64::NAN,
        _ => match value.as_f64() {
            Some(number) => number,
            None => return true,
        },
    };
    bound("minimum").is_none_or(|least| number >= least)
        && bound("maximum").is_none_or(|most| number <= most)
}

/// Allowed values; empty if the type restricts nothing.
fn range(schema: &Value) -> String {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(literal).collect::<Vec<_>>().join(", ");
    }
    match ["minimum", "maximum", "maxLength"].map(|bound| schema.get(bound)) {
        [Some(least), Some(most), _] => format!("from {least} to {most}"),
        [Some(least), None, _] => format!("at least {least}"),
        [_, _, Some(most)] => format!("at most {most} characters"),
        _ => String::new(),
    }
}

/// Unit at the end of a key's name.
fn unit(key: &str) -> &str {
    match key.rsplit('_').next() {
        Some("day") => "per day",
        Some(unit @ ("bytes" | "seconds" | "minutes" | "days")) => unit,
        _ => "",
    }
}

/// Text, number, boolean or list in TOML, which writes them as JSON does.
fn literal(value: &Value) -> String {
    let text = match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            format!("[{}]", items.join(", "))
        }
        value => value.to_string(),
    };
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The smallest configuration with that value of a section's key.
    fn with(schemas: &Schemas, section: &Section<'_>, key: &str, value: Value) -> Value {
        let mut config = schemas.minimum(&schemas.root);
        let table = config.pointer_mut(&section.pointer).unwrap();
        table[key] = value;
        config
    }

    /// Errors of a configuration: that of the parser, or those of its values.
    fn problems(config: Value) -> Vec<String> {
        match Config::deserialize(config) {
            Ok(config) => config.faults().iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    #[test]
    fn the_reference_has_exactly_the_keys_that_the_parser_accepts() {
        let schemas = Schemas::of::<Config>();
        let mut keys = 0;
        for section in schemas.sections() {
            let wrong = with(&schemas, &section, "no_such_key", Value::Null);
            let error = Config::deserialize(wrong).unwrap_err().to_string();
            let (wrong, accepted) = error.split_once(", expected ").unwrap();
            assert_eq!(wrong, "unknown field `no_such_key`");
            let accepted: BTreeSet<&str> = accepted.split('`').skip(1).step_by(2).collect();
            let written: BTreeSet<&str> = properties(section.schema)
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            assert_eq!(written, accepted, "{}", section.heading);
            keys += section.keys.len();
        }
        assert!(keys > 50, "{keys}");
        let unknown = serde_json::json!({ "no_such_section": {} });
        let error = Config::deserialize(unknown).unwrap_err().to_string();
        let accepted: BTreeSet<&str> = error.split('`').skip(3).step_by(2).collect();
        let written: BTreeSet<&str> = properties(&schemas.root)
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(written, accepted);
    }

    #[test]
    fn the_examples_together_are_a_configuration() {
        let schemas = Schemas::of::<Config>();
        for left_out in [
            // Keys of SQLite and of PostgreSQL, and both ways of a client to authenticate.
            (
                vec!["url", "max_connections", "statement_timeout_seconds"],
                "private_key",
            ),
            (vec!["path"], "client_secret_file"),
        ] {
            let (of_store, of_provider) = left_out;
            let mut config = schemas.minimum(&schemas.root);
            for section in schemas.sections() {
                let table = config.pointer_mut(&section.pointer).unwrap();
                for (key, property) in &section.keys {
                    let example = property.get("example").or(property.get("default"));
                    let Some(example) = example else { continue };
                    table[*key] = example.clone();
                }
                if table.get("header_name").is_some() {
                    // The one form in which it has no name of its own.
                    table["header"] = "nginx-escaped-pem".into();
                }
                if section.heading == "[store]" {
                    let table = table.as_object_mut().unwrap();
                    table.retain(|key, _| !of_store.contains(&key.as_str()));
                }
                if section.heading == "[identity_provider]" {
                    let table = table.as_object_mut().unwrap();
                    table.remove(of_provider);
                }
            }
            assert_eq!(problems(config), [""; 0]);
        }
    }

    #[test]
    fn each_section_and_key_has_a_sentence_and_each_key_an_example() {
        let text = reference();
        for sentence in text
            .lines()
            .filter_map(|line| line.strip_prefix("Optional. "))
        {
            assert!(sentence.ends_with('.'), "{sentence}");
        }
        for row in text.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let [_, default, _, _, example, meaning] = cells[..] else {
                panic!("{row}");
            };
            assert!(!default.is_empty() && example.starts_with('`'), "{row}");
            assert!(meaning.trim_end_matches(" |").ends_with('.'), "{row}");
        }
    }

    #[test]
    fn each_range_is_checked() {
        let schemas = Schemas::of::<Config>();
        let mut checked = 0;
        for section in schemas.sections() {
            for (key, property) in &section.keys {
                let schema = schemas.resolve(property);
                for (bound, outside) in [("minimum", -1), ("maximum", 1)] {
                    let Some(bound) = schema.get(bound).and_then(Value::as_i64) else {
                        continue;
                    };
                    let config = |value: i64| {
                        let mut config = with(&schemas, &section, key, value.into());
                        if section.heading == "[store]" {
                            let url = "postgres://bank@localhost/bank";
                            let store = serde_json::json!({ "url": url, "key": "k", *key: value });
                            config["store"] = store;
                        }
                        config
                    };
                    // The parser refuses what is negative, or 0, where the type does.
                    let is_out_of_range = |problem: &String| {
                        problem.contains(*key) && problem.contains("must be ")
                            || problem.starts_with("invalid value: integer `")
                    };
                    let place = format!("{}.{key}", section.heading);
                    let allowed = problems(config(bound));
                    assert!(!allowed.iter().any(is_out_of_range), "{place}: {allowed:?}");
                    let wrong = problems(config(bound + outside));
                    assert!(wrong.iter().any(is_out_of_range), "{place}: {wrong:?}");
                    checked += 1;
                }
            }
        }
        assert!(checked > 40, "{checked}");
        // `nan` is TOML, and no share of anything.
        let mut config = Config::deserialize(schemas.minimum(&schemas.root)).unwrap();
        config.traces.as_mut().unwrap().sample_ratio = f64::NAN;
        let faults = config.faults().into_iter().map(|fault| fault.key);
        let of_traces = faults.filter(|place| place.starts_with("traces."));
        assert_eq!(of_traces.count(), 1);
    }
}
