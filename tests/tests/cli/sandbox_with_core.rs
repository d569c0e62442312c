//! The program `sandbox` with reference cores in place of the built-in ledger.

use std::fs;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use tests::programs::{both, own, system};
use tests::running_sandbox::RunningSandbox;
use tests::wait::wait_for;

use crate::sandbox::{both_holders_approve, ended_as_expected, fails, once};

/// The story; the same again in the folder, without the option; another core, which is refused; and
/// anew with the ledger.
fn tells_the_story(core: &str, other: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let configuration =
        |bank: &str| fs::read_to_string(folder.join(format!("{bank}.toml"))).unwrap();
    let has_core = |bank: &str| configuration(bank).contains("[core_banking]\nurl = \"https://");

    let first = once(folder, &["--core", core]);
    assert!(ended_as_expected(&both(&first)), "{}", both(&first));
    assert!(both(&first).contains(" transactions"), "{}", both(&first));
    assert_eq!(
        ["bank-a", "bank-b", "bank-c"].map(has_core),
        [true, true, false]
    );

    let again = once(folder, &[]);
    assert!(ended_as_expected(&both(&again)), "{}", both(&again));
    assert!(has_core("bank-a"), "the same core");

    let refused = once(folder, &["--core", other]);
    fails(&refused, "not in a core in ", "leave --core out");

    let anew = once(folder, &["--fresh"]);
    assert!(ended_as_expected(&both(&anew)), "{}", both(&anew));
    assert!(!has_core("bank-a"), "the ledger");
    assert!(
        !folder.join("core").exists(),
        "its certificates are removed"
    );
}

#[test]
fn the_story_with_cores_in_python() {
    tells_the_story("python", "java");
}

#[test]
fn the_story_with_cores_in_java() {
    tells_the_story("java", "python");
}

fn address(url: &Value) -> SocketAddr {
    let url = url.as_str().unwrap();
    url.strip_prefix("https://").unwrap().parse().unwrap()
}

/// What a sandbox with cores offers to try: a delta report, a consent of two holders, the test-kit,
/// and the printed request to a core. Its cores end with it, also if it is killed.
async fn can_be_tried(core: &str) {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = RunningSandbox::start(folder.path(), &["--core", core]);
    let description = sandbox.description();
    let cores = ["bank-a", "bank-b"].map(|bank| address(&description["banks"][bank]["core"]));
    assert_eq!(description["banks"]["bank-c"]["core"], Value::Null);

    let consent = description["consents"]["bank-a-at-bank-b"]
        .as_str()
        .unwrap();
    let consent = format!("Consent-ID: {consent}");
    let read = |path: &str| sandbox.asks_as("bank-a", "bank-b", &[path, "-H", &consent]);
    let accounts = read("accounts?withBalance=true");
    let account = accounts["accounts"][0]["resourceId"].as_str().unwrap();
    let list = |query: &str| {
        let path = format!("accounts/{account}/transactions?bookingStatus=booked&{query}");
        read(&path)["transactions"]["booked"]
            .as_array()
            .unwrap()
            .clone()
    };
    let entries = list("dateFrom=2000-01-01");
    let reference = entries[3]["entryReference"].as_str();
    let reference = reference
        .or_else(|| entries[3]["transactionId"].as_str())
        .unwrap();
    assert_eq!(
        list(&format!("entryReferenceFrom={reference}")),
        entries[..3]
    );
    both_holders_approve(&sandbox).await;

    let checked = own("bank-server")
        .args(["core", "check", "--config"])
        .arg(folder.path().join("bank-b.toml"))
        .args(["--customer", "anna.weber", "--customer", "lucas.moreau"])
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", both(&checked));
    assert!(
        !both(&checked).contains("not checked"),
        "{}",
        both(&checked)
    );

    let (_, printed) = sandbox
        .printed
        .split_once("reads the accounts of a customer")
        .unwrap();
    let (_, printed) = printed.split_once(":\n\n").unwrap();
    let (command, _) = printed.split_once("\n\n").unwrap();
    let answer = system("sh").args(["-c", command]).output().unwrap();
    let answer: Value = serde_json::from_slice(&answer.stdout)
        .unwrap_or_else(|fault| panic!("{fault}: {command}: {}", both(&answer)));
    assert!(
        !answer["accounts"].as_array().unwrap().is_empty(),
        "{answer}"
    );

    drop(sandbox.child);
    for core in cores {
        let gone = || TcpStream::connect(core).is_err().then_some(());
        wait_for("the end of the core", gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_with_cores_in_python_can_be_tried() {
    can_be_tried("python").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_with_cores_in_java_can_be_tried() {
    can_be_tried("java").await;
}
