//! The Berlin Group's own document, where it is at hand.

use std::path::PathBuf;
use std::sync::OnceLock;

use serde_json::{Value, json};

/// The document: named by `XS2A_REFERENCE`, or beside this repository. Without it, what needs it says so and proves
/// nothing.
pub fn document() -> Option<&'static Value> {
    static DOCUMENT: OnceLock<Option<Value>> = OnceLock::new();

    DOCUMENT
        .get_or_init(|| {
            let beside = concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../shared/reference/nextgenpsd2-1.3.12.openapi.json"
            );
            let path = std::env::var_os("XS2A_REFERENCE")
                .map_or_else(|| PathBuf::from(beside), PathBuf::from);
            let Ok(text) = std::fs::read(&path) else {
                eprintln!(
                    "NOT CHECKED against the Berlin Group's document: there is none at {}",
                    path.display()
                );
                return None;
            };
            let mut document: Value =
                serde_json::from_slice(&text).expect("the reference document is JSON");
            // The envelopes of single accounts are written out in the operations; here they get a name.
            document["x-envelopes"] = json!({
                "account": envelope("account", "accountDetails"),
                "cardAccount": envelope("cardAccount", "cardAccountDetails"),
            });
            Some(document)
        })
        .as_ref()
}

fn envelope(field: &str, schema: &str) -> Value {
    json!({
        "type": "object",
        "required": [field],
        "properties": { (field): { "$ref": format!("#/components/schemas/{schema}") } },
    })
}

/// The faults of a value against a schema within the document, such as `/components/schemas/accountList`.
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
