//! The program `sandbox`: what it prints and writes.

use std::fs;
use std::process::Stdio;

use serde_json::Value;
use tests::programs::{both, own};
use tests::sdk::BANK_B;

#[test]
fn the_sandbox_tells_the_story_for_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let told = own("sandbox")
        .args(["--once", "--json", "--port-base", "0", "--dir"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", both(&told));
    let steps: Vec<Value> = serde_json::from_slice(&told.stdout).unwrap();
    assert!(steps.len() > 30);
    for step in &steps {
        let mut fields: Vec<&String> = step.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(
            fields,
            ["expected", "from", "outcome", "reason", "to", "what"]
        );
        assert_eq!(step["expected"], step["outcome"], "{step}");
    }
    let description: Value =
        serde_json::from_slice(&fs::read(folder.path().join("sandbox.json")).unwrap()).unwrap();
    assert_eq!(description["banks"]["bank-b"]["organisation"], BANK_B);
    assert!(description["consents"]["bank-a-at-bank-b"].is_string());
    for file in [
        "pki/bank-a/qwac.pem",
        "bank-a.toml",
        "bank-b.db",
        "sandbox.log",
        "world/bank-c.jsonl",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
    // A second run in the same folder replaces the first.
    let again = own("sandbox")
        .args(["--once", "--port-base", "0", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .status();
    assert!(again.unwrap().success());
    let log = fs::read_to_string(folder.path().join("sandbox.log")).unwrap();
    for secret in ["Anna", "anna.weber", "PRIVATE", "FR76"] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
}

#[test]
fn the_sandbox_writes_certificates_alone() {
    let folder = tempfile::tempdir().unwrap();
    let written = own("sandbox")
        .arg("pki")
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(written.status.success(), "{}", both(&written));
    assert_eq!(
        fs::read_dir(folder.path().join("refused")).unwrap().count(),
        28
    );
    assert!(folder.path().join("ca2/issuing.pem").is_file());
}
