//! The programs, as people and scripts use them.

use std::fs;

use std::process::Stdio;

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::outsider::{Met, Tls, ask, context, dial, shake_hands};

use fixtures::world::{Bank, World};
use openssl::ssl::Ssl;
use serde_json::{Value, json};

use tests::banks::Banks;

use tests::process::{Process, consent_body, prepare, prepare_with};
use tests::programs::{both, own};
use tests::wait::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_kill_9() {
    let (folder, pki) = prepare().await;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let mut server = Process::serve(folder.path(), &pki).await;
        for id in &acknowledged {
            let answer = server
                .tpp
                .get(&format!("/v1/consents/{id}/status"), &[])
                .await;
            assert_eq!(
                answer.json(),
                json!({ "consentStatus": "received" }),
                "round {round}: {id}"
            );
        }
        let before = acknowledged.len();
        let (sender, mut created) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..4 {
            let (tpp, sender) = (server.tpp.clone(), sender.clone());
            // Ends with the server: a request that is cut off panics in its own task.
            tokio::spawn(async move {
                loop {
                    let body = consent_body("2099-12-31");
                    let answer = tpp
                        .post("/v1/consents", &[("PSU-IP-Address", "192.0.2.7")], &body)
                        .await;
                    if answer.status != 201
                        || sender
                            .send(answer.json()["consentId"].as_str().unwrap().to_owned())
                            .is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        while acknowledged.len() < before + 25 {
            acknowledged.push(created.recv().await.expect("the server answers"));
        }
        // In the middle of writes.
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        while let Some(id) = created.recv().await {
            acknowledged.push(id);
        }
    }
    assert!(acknowledged.len() >= 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_server_and_health_tells_how_it_is() {
    let (folder, pki) = prepare().await;
    let mut server = Process::serve(folder.path(), &pki).await;
    for path in ["live", "ready"] {
        let url = format!("http://{}/health/{path}", server.operator);
        let answer = tests::programs::system("curl")
            .args(["-sf", "--max-time", "20", &url])
            .output()
            .unwrap();
        assert!(answer.status.success(), "{}", both(&answer));
    }
    assert_eq!(server.tpp.get("/v1/consents/none", &[]).await.status, 403);
    // One connection is quiet, on another a request is half-way in.
    let (address, identity) = (server.tpp.bank, pki.bank_a.qwac.clone());
    let connect = move || {
        let ssl = Ssl::new(&context(Some(&identity), Tls::V1_3).unwrap()).unwrap();
        shake_hands(ssl, dial(address).unwrap()).unwrap().unwrap()
    };
    let (mut quiet, mut busy) = (connect(), connect());
    let body = consent_body("2099-12-31");
    let head = format!(
        "POST /v1/consents HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\n\
         PSU-IP-Address: 192.0.2.7\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut busy, head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    std::io::Read::read_exact(&mut busy, &mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let pid = server.child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .arg(pid)
            .status()
            .unwrap()
            .success()
    );
    // The quiet one ends after a while, in which it could have asked; the busy one gets its answer.
    assert!(matches!(
        std::io::Read::read(&mut quiet, &mut [0]),
        Ok(0) | Err(_)
    ));
    let Met::Http(answer) = ask(&mut busy, &body) else {
        panic!()
    };
    assert!(
        answer.starts_with(b"HTTP/1.1 201"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    let status = wait_for("the end of the server", || server.child.try_wait().unwrap()).await;
    assert!(status.success());
    let log = fs::read_to_string(folder.path().join("bank.log")).unwrap();
    assert!(log.contains("\"stopped\""), "{log}");
    let request = log
        .lines()
        .find(|line| line.contains(r#""message":"request""#))
        .unwrap();
    let request: Value = serde_json::from_str(request).unwrap();
    assert_eq!(request["tpp"], "PSDDE-BAFIN-100001");
    assert_eq!(request["resource"], "/v1/consents/{consent_id}");
    assert_eq!(request["status"], 403);
}

#[test]
fn check_says_all_that_is_wrong() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let file = folder.path().join("bank.toml");
    let check = || {
        own("bank-server")
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap()
    };
    let good = check();
    assert!(good.status.success(), "{}", both(&good));

    let text = fs::read_to_string(&file).unwrap();
    let broken = text
        .replace("pki/bank-b/qwac.key", "pki/bank-a/qwac.key")
        .replace("127.0.0.1:0\" }", "0.0.0.0:0\" }")
        .replace("pki/ca1/root.pem", "pki/ca9/root.pem")
        .replace("bank.db", "nowhere/bank.db")
        + "\n[limits]\npage_size = 501\n";
    fs::write(&file, broken).unwrap();
    let bad = check();
    assert!(!bad.status.success());
    let said = both(&bad);
    for place in [
        "xs2a.certificate",
        "xs2a.anchors[0]",
        "operator.listen",
        "store.path",
        "limits.page_size",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
    fs::write(&file, text.replace("anchors", "ankers")).unwrap();
    assert!(
        both(&check()).contains("ankers"),
        "a misspelt name is named"
    );
}

#[tokio::test]
async fn import_takes_all_of_a_file_or_nothing() {
    let (folder, _) = prepare().await;
    let import = |lines: &str| {
        let file = folder.path().join("world.jsonl");
        fs::write(&file, lines).unwrap();
        own("bank-server")
            .args(["import", "--config"])
            .arg(folder.path().join("bank.toml"))
            .arg(&file)
            .output()
            .unwrap()
    };
    let mut good = Vec::new();
    World::generate(3, SystemClock.now().date_naive())
        .of(Bank::B)
        .write(&mut good)
        .unwrap();
    let good = String::from_utf8(good).unwrap();
    let number = good.lines().count();
    let broken = good.replacen("\"EUR\"", "\"EURO\"", 30);
    let refused = import(&broken);
    assert!(!refused.status.success());
    assert!(
        both(&refused).contains("line 5, at account.details.currency: "),
        "{}",
        both(&refused)
    );
    // Nothing was loaded: the same customers can come.
    let imported = import(&good);
    assert!(imported.status.success(), "{}", both(&imported));
    assert!(
        both(&imported).contains("imported 3 customers, 12 accounts"),
        "{} of {number} lines",
        both(&imported)
    );
    let again = import(&good);
    assert!(
        both(&again).contains("line 2, at customer.id: this id is there already"),
        "{}",
        both(&again)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bank_client_asks_for_people_and_for_programs() {
    let banks = Banks::start().await;
    let (bank, account) = (
        banks.sandbox.bank(Bank::B),
        banks.accounts_at_b()[0].clone(),
    );
    let client = |arguments: &[&str]| {
        let pki = banks.folder.path().join("pki");
        own("bank-client")
            .args([
                "--url",
                &bank.url(),
                "--organisation",
                "PSDFR-ACPR-20002",
                "--name",
                "Bank B",
                "--anchors",
            ])
            .arg(pki.join("ca1/root.pem"))
            .arg("--certificate")
            .arg(pki.join("bank-a/qwac.pem"))
            .arg("--key")
            .arg(pki.join("bank-a/qwac.key"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let json_of = |arguments: &[&str]| -> Value {
        let output = client(&[&["--json"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let created = json_of(&[
        "consent",
        "create",
        "--transactions",
        &account.number,
        "--balances",
        &account.number,
    ]);
    let id = created["consentId"].as_str().unwrap();
    assert_eq!(json_of(&["consent", "status", id]), "received");
    let early = client(&["accounts", "--consent", id]);
    assert_eq!(early.status.code(), Some(4));
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(
        said.contains("Bank B refused the request with 401 CONSENT_INVALID")
            && said.contains("to do: "),
        "{said}"
    );
    banks.approve(&banks.a_at_b(), id).await;

    let accounts = json_of(&["accounts", "--consent", id, "--with-balance"]);
    assert_eq!(accounts.as_array().unwrap().len(), 1);
    let table = both(&client(&["accounts", "--consent", id, "--with-balance"]));
    assert!(
        table.contains(&account.number) && table.contains("EUR"),
        "{table}"
    );
    let resource = account.id.to_string();
    assert_eq!(
        json_of(&["balances", "--consent", id, &resource])
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let from = banks
        .today()
        .checked_sub_months(chrono::Months::new(25))
        .unwrap()
        .to_string();
    let all = json_of(&[
        "transactions",
        "--consent",
        id,
        &resource,
        "--from",
        &from,
        "--page-size",
        "50",
    ]);
    assert_eq!(all.as_array().unwrap().len(), account.transactions);
    assert!(
        both(&client(&[
            "transactions",
            "--consent",
            id,
            &resource,
            "--from",
            &from
        ]))
        .contains("Supermarkt Nord")
    );
    assert!(both(&client(&["consent", "show", id])).contains("valid"));
    assert!(client(&["consent", "delete", id]).status.success());
    assert_eq!(json_of(&["consent", "status", id]), "terminatedByTpp");
    assert_eq!(
        client(&["accounts"]).status.code(),
        Some(2),
        "a wrong command line"
    );
}

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
    assert_eq!(
        description["banks"]["bank-b"]["organisation"],
        "PSDFR-ACPR-20002"
    );
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

#[test]
fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let key = folder.path().join("pki/bank-b/qwac.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["check", "serve"] {
        let refused = own("bank-server")
            .args([command, "--config"])
            .arg(folder.path().join("bank.toml"))
            .output()
            .unwrap();
        assert!(!refused.status.success());
        assert!(
            both(&refused).contains("chmod 600"),
            "{command}: {}",
            both(&refused)
        );
    }
}
