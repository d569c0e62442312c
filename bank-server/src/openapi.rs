//! Text of an OpenAPI document that is generated from our types.

use serde_json::Value;
use utoipa::Modify;
use utoipa::openapi::{OpenApi, RefOr, ResponseBuilder};

/// The document as JSON, with a line end.
pub(crate) fn to_text(document: &OpenApi) -> String {
    // A document of our own types can always be written as JSON.
    let mut document = serde_json::to_value(document).unwrap_or_default();
    without_null(&mut document);
    format!("{document:#}\n")
}

/// Removes `null` from all schemas: absent fields are omitted, and never `null`. utoipa makes each
/// `Option` nullable, in header fields too.
fn without_null(value: &mut Value) {
    if let Some(types) = value.get_mut("type")
        && let Some(list) = types.as_array_mut()
    {
        list.retain(|one| one != "null");
        if let [only] = &mut **list {
            *types = only.take();
        }
    }
    if let Some(choice) = value.get_mut("oneOf").and_then(Value::as_array_mut) {
        choice.retain(|one| one.get("type").is_none_or(|only| only != "null"));
        if let [only] = &mut **choice {
            *value = only.take();
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(without_null),
        Value::Array(values) => values.iter_mut().for_each(without_null),
        _ => {}
    }
}

const TEMPORARY: &str = "Temporary: a later query can be answered. With Retry-After if known";

/// Answers of a service of the bank's own, other than 200, which all operations share.
pub(crate) struct SharedAnswers;

impl Modify for SharedAnswers {
    fn modify(&self, document: &mut OpenApi) {
        let items = document.paths.paths.values_mut();
        for operation in items
            .flat_map(|item| [&mut item.get, &mut item.post])
            .flatten()
        {
            for (status, description) in [
                ("400", "Malformed query: a fault of the bank server"),
                ("429", TEMPORARY),
                ("502", TEMPORARY),
                ("503", TEMPORARY),
                ("504", TEMPORARY),
                ("default", "A fault of the service"),
            ] {
                let response = ResponseBuilder::new().description(description).build();
                let responses = &mut operation.responses.responses;
                let shared = RefOr::T(response);
                responses.entry(status.to_owned()).or_insert(shared);
            }
        }
    }
}
