//! The Berlin Group's OpenAPI documents, and validation against their schemas.
//!
//! The documents are not part of this repository. If one is missing, the tests that need it print
//! that they checked nothing, and pass.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// The document of version 1.3.12, from the path in `XS2A_REFERENCE`, or by default from
/// `shared/reference` beside this repository. `None` if there is no such file.
pub fn version_1_3_12() -> Option<&'static Value> {
    static DOCUMENT: OnceLock<Option<Value>> = OnceLock::new();

    DOCUMENT
        .get_or_init(|| {
            let mut document = read(&path())?;
            // The standard writes the response bodies of single accounts inline in its operations,
            // without a schema name. Adds named schemas for them.
            document["x-envelopes"] = json!({
                "account": envelope("account", "accountDetails"),
                "cardAccount": envelope("cardAccount", "cardAccountDetails"),
            });
            Some(document)
        })
        .as_ref()
}

/// The document of version 1.3.16, from the same folder. `None` if there is no such file.
pub fn version_1_3_16() -> Option<&'static Value> {
    static DOCUMENT: OnceLock<Option<Value>> = OnceLock::new();

    DOCUMENT
        .get_or_init(|| read(&path().with_file_name("nextgenpsd2-1.3.16-merged.openapi.json")))
        .as_ref()
}

fn path() -> PathBuf {
    let default_path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/reference/nextgenpsd2-1.3.12.openapi.json"
    );
    std::env::var_os("XS2A_REFERENCE").map_or_else(|| PathBuf::from(default_path), PathBuf::from)
}

fn read(path: &Path) -> Option<Value> {
    let Ok(bytes) = std::fs::read(path) else {
        eprintln!(
            "NOT CHECKED against the Berlin Group's OpenAPI document: no file at {}",
            path.display()
        );
        return None;
    };
    Some(serde_json::from_slice(&bytes).expect("the reference document is JSON"))
}

/// Schema of an object that holds `schema` in its only field.
fn envelope(field: &str, schema: &str) -> Value {
    json!({
        "type": "object",
        "required": [field],
        "properties": { (field): { "$ref": format!("#/components/schemas/{schema}") } },
    })
}

/// Validates a value against one of the document's schemas and returns the violations. `schema` is
/// its JSON pointer, such as `/components/schemas/accountList`.
pub fn schema_violations(document: &Value, schema: &str, value: &Value) -> Vec<String> {
    // The schema is compiled within the whole document, so that its `$ref`s resolve.
    let mut root = document.clone();
    root["$ref"] = json!(format!("#{schema}"));
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft4)
        .should_validate_formats(true)
        .build(&root)
        .expect("the document's schema is valid");
    validator
        .iter_errors(value)
        .map(|violation| format!("{}: {violation}", violation.instance_path()))
        .collect()
}
