//! The Berlin Group's OpenAPI document, if it is available.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// The document of version 1.3.12: named by `XS2A_REFERENCE`, or beside this repository. Without
/// it, what needs it says so and proves nothing.
pub fn document() -> Option<&'static Value> {
    static DOCUMENT: OnceLock<Option<Value>> = OnceLock::new();

    DOCUMENT
        .get_or_init(|| {
            let mut document = read(&path())?;
            // The envelopes of single accounts are written out in the operations; here they get a
            // name.
            document["x-envelopes"] = json!({
                "account": envelope("account", "accountDetails"),
                "cardAccount": envelope("cardAccount", "cardAccountDetails"),
            });
            Some(document)
        })
        .as_ref()
}

/// The document of version 1.3.16, in the same folder.
pub fn latest() -> Option<&'static Value> {
    static LATEST: OnceLock<Option<Value>> = OnceLock::new();

    LATEST
        .get_or_init(|| read(&path().with_file_name("nextgenpsd2-1.3.16-merged.openapi.json")))
        .as_ref()
}

fn path() -> PathBuf {
    let beside = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/reference/nextgenpsd2-1.3.12.openapi.json"
    );
    std::env::var_os("XS2A_REFERENCE").map_or_else(|| PathBuf::from(beside), PathBuf::from)
}

fn read(path: &Path) -> Option<Value> {
    let Ok(text) = std::fs::read(path) else {
        eprintln!(
            "NOT CHECKED against the Berlin Group's document: there is none at {}",
            path.display()
        );
        return None;
    };
    Some(serde_json::from_slice(&text).expect("the reference document is JSON"))
}

fn envelope(field: &str, schema: &str) -> Value {
    json!({
        "type": "object",
        "required": [field],
        "properties": { (field): { "$ref": format!("#/components/schemas/{schema}") } },
    })
}

/// The faults of a value against a schema within the document, such as
/// `/components/schemas/accountList`.
pub fn faults(document: &Value, schema: &str, value: &Value) -> Vec<String> {
    // The whole document is the schema's home, so that its references resolve.
    let mut root = document.clone();
    root["$ref"] = json!(format!("#{schema}"));
    let validator = jsonschema::options()
        .with_draft(jsonschema::Draft::Draft4)
        .should_validate_formats(true)
        .build(&root)
        .expect("a schema");
    validator
        .iter_errors(value)
        .map(|fault| format!("{}: {fault}", fault.instance_path()))
        .collect()
}
