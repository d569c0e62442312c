//! A disk that takes no more: the bank says that it is not there, loses nothing, and is back by itself.

use std::process::Command;

use fixtures::sandbox::Databases;
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::cluster::Cluster;
use tests::consent_requests::PSU;
use tests::operator;
use tests::process::{Process, consent_body, prepare_with, replica_of};
use tests::programs::{both, own};
use tests::wait::{wait_for, wait_until};

/// The largest file that a process may write, in bytes: a write beyond fails as on a full disk.
fn limit(bank: &Process, bytes: &str) {
    let set = Command::new("prlimit")
        .args(["--pid", &bank.child.id().to_string()])
        .arg(format!("--fsize={bytes}:"))
        .output()
        .unwrap();
    assert!(set.status.success(), "{}", both(&set));
}

fn is_ready(bank: &Process) -> bool {
    operator::get(bank.operator, "/health/ready").starts_with("HTTP/1.1 200")
}

/// Creates consents as the bank takes them, then while it takes none, and again: none that was acknowledged is lost.
async fn full_and_free_again(bank: &Process, fill: impl AsyncFn(), free: impl AsyncFn()) {
    let create = async || {
        let body = consent_body("2099-12-31");
        bank.tpp.post("/v1/consents", &[PSU], &body).await
    };
    wait_for("readiness", || is_ready(bank).then_some(())).await;
    let mut acknowledged: Vec<Value> = Vec::new();
    let mut keep = |created: &Value| acknowledged.push(created["consentId"].clone());
    keep(&create().await.json());
    fill().await;
    // What is free on pages and in the log is still used up.
    wait_until("a full disk", async || {
        let answer = create().await;
        if answer.status == 201 {
            keep(&answer.json());
            return None;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        Some(())
    })
    .await;
    wait_for("the fall of readiness", || (!is_ready(bank)).then_some(())).await;
    let figures = operator::get(bank.operator, "/metrics");
    assert!(figures.contains("bank_store_full 1\n"), "{figures}");
    free().await;
    wait_for("readiness", || is_ready(bank).then_some(())).await;
    let answer = create().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    keep(&answer.json());
    for id in acknowledged {
        let path = format!("/v1/consents/{}/status", id.as_str().unwrap());
        let status = bank.tpp.get(&path, &[]).await;
        assert_eq!(status.json(), json!({ "consentStatus": "received" }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_grow_is_no_readiness_until_it_can() {
    let banks = Banks::on(Databases::Files).await;
    let consent = banks.consent(&banks.a_at_b()).approved().await;
    // Otherwise a write beyond the limit ends the process.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(own("bank-server").get_program());
    let configuration = banks.folder.path().join("bank-b.toml");
    let configuration = replica_of(&configuration, "on-a-full-disk", "", |_| None);
    let client = &banks.sandbox.pki.bank_a.qwac;
    let bank = Process::started_by(command, &configuration, client).await;
    let unattended = async || bank.tpp.read("/v1/accounts", &consent).await.status;
    assert_eq!(unattended().await, 200);
    // Without a single write of a TPP.
    limit(&bank, "4096");
    wait_for("the fall of readiness", || (!is_ready(&bank)).then_some(())).await;
    // It is counted.
    assert_eq!(unattended().await, 503);
    limit(&bank, "unlimited");
    let fill = async || limit(&bank, "4096");
    full_and_free_again(&bank, fill, async || limit(&bank, "unlimited")).await;
    assert_eq!(unattended().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_no_readiness_until_it_does() {
    let cluster = Cluster::start();
    let (folder, pki) = prepare_with(&format!(
        "{{ url = \"{}\", key = \"bank.key\" }}",
        cluster.url("")
    ));
    let path = folder.path().join("bank.toml");
    let mut migrate = own("bank-server");
    let made = migrate.args(["migrate", "--config"]).arg(&path).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", both(&made));
    let bank = Process::configured(&path, &pki.bank_a.qwac).await;
    // As PostgreSQL says it when it cannot make a table's file longer.
    let raise = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$";
    cluster.ask(raise);
    let fill = async || {
        for table in ["consent", "bank_state"] {
            cluster.ask(&format!(
                "CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()"
            ));
        }
    };
    let free = async || {
        cluster.ask("DROP TRIGGER full_disk ON consent; DROP TRIGGER full_disk ON bank_state");
    };
    full_and_free_again(&bank, fill, free).await;
    // As a server that has become a standby.
    let read_only = async |setting: &str| {
        cluster.ask(&format!(
            "ALTER SYSTEM SET default_transaction_read_only = {setting}"
        ));
        cluster.ask("SELECT pg_reload_conf()");
    };
    full_and_free_again(
        &bank,
        async || read_only("on").await,
        async || {
            read_only("off").await;
        },
    )
    .await;
}
