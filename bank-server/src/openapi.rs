//! Text of an OpenAPI document that is generated from our types.

use serde_json::Value;
use utoipa::openapi::OpenApi;

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
