//! Values with every property of a schema of the contract, and the properties that a round trip
//! loses.

use chrono::NaiveDate;
use serde_json::{Map, Value, json};

/// Characters of a text for which the contract sets no length.
const OPEN: usize = 500;

/// Makes values after the schemas of a document. Texts are as long as they may be, and every day is
/// the same.
pub struct SchemaValues<'a> {
    pub document: &'a Value,
    pub day: NaiveDate,
}

impl SchemaValues<'_> {
    /// A value of that schema with all its properties, and theirs.
    pub fn of(&self, schema: &str) -> Value {
        let schema = json!({ "$ref": format!("#/components/schemas/{schema}") });
        self.value(&schema, "")
    }

    fn value(&self, schema: &Value, name: &str) -> Value {
        let schema = self.resolved(schema);
        if let Some(values) = schema["enum"].as_array() {
            return values[0].clone();
        }
        match schema["type"].as_str() {
            Some("object") => {
                let properties = schema["properties"].as_object().unwrap();
                let of = |(name, schema): (&String, &Value)| {
                    let value = self.value(schema, name);
                    (name.clone(), value)
                };
                properties.iter().map(of).collect::<Map<_, _>>().into()
            }
            Some("array") => {
                let entry = self.value(&schema["items"], name);
                json!([entry, entry])
            }
            Some("boolean") => json!(true),
            Some("integer") => json!(2),
            Some("number") => json!(1.5),
            Some("string") => json!(self.text(&schema, name)),
            other => panic!("{name} is {other:?}: {schema}"),
        }
    }

    /// The schema with its references followed, and the parts of `allOf` put together.
    fn resolved(&self, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let target = self.document.pointer(&reference[1..]).unwrap();
            return self.resolved(target);
        }
        let mut whole = schema.as_object().unwrap().clone();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            for (key, value) in self.resolved(part).as_object().unwrap() {
                whole.insert(key.clone(), value.clone());
            }
        }
        whole.into()
    }

    fn text(&self, schema: &Value, name: &str) -> String {
        // Decimals, which the contract describes only in prose.
        match (schema["format"].as_str(), schema["pattern"].as_str(), name) {
            (_, _, "exchangeRate" | "markupFeePercentage") => "1.0842".to_owned(),
            (_, _, "href") => "/v1/accounts/acc-1".to_owned(),
            (Some("date"), ..) => self.day.to_string(),
            (Some("date-time"), ..) => format!("{}T10:20:30Z", self.day),
            (_, Some(pattern), _) => {
                let fitting = [
                    "EUR",
                    "-12.34",
                    "DE89370400440532013000",
                    "BNKBFRPPXXX",
                    "FR",
                    "+33-142345678",
                ];
                let whole = format!("^({pattern})$");
                let fits = |text: &&&str| {
                    let schema = json!({ "type": "string", "pattern": whole });
                    jsonschema::is_valid(&schema, &json!(text))
                };
                let found = fitting.iter().find(fits);
                (*found.unwrap_or_else(|| panic!("no text for {name}: {pattern}"))).to_owned()
            }
            _ => {
                let most = schema["maxLength"]
                    .as_u64()
                    .map_or(OPEN, |most| usize::try_from(most).unwrap());
                format!("{name}.").chars().cycle().take(most).collect()
            }
        }
    }
}

/// The paths at which `kept` lacks what `given` has.
pub fn lost(given: &Value, kept: &Value) -> Vec<String> {
    fn below(given: &Value, kept: &Value, path: &str, lost: &mut Vec<String>) {
        match (given, kept) {
            (Value::Object(given), Value::Object(kept)) => {
                for (name, value) in given {
                    let path = format!("{path}.{name}");
                    match kept.get(name) {
                        Some(kept) => below(value, kept, &path, lost),
                        None => lost.push(path),
                    }
                }
            }
            (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => {
                for (number, (given, kept)) in given.iter().zip(kept).enumerate() {
                    below(given, kept, &format!("{path}[{number}]"), lost);
                }
            }
            _ if given == kept => {}
            _ => lost.push(format!("{path}: {given} became {kept}")),
        }
    }
    let mut found = Vec::new();
    below(given, kept, "", &mut found);
    found
}

/// The value without these properties.
pub fn without(mut value: Value, properties: &[&str]) -> Value {
    for property in properties {
        assert!(
            value.as_object_mut().unwrap().remove(*property).is_some(),
            "{property}"
        );
    }
    value
}
