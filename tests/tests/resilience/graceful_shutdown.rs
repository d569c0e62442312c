//! Graceful shutdown of `bank-server` on SIGTERM, its health endpoints, and what its log holds then.

use std::fs;

use fixtures::outsider::{Met, ask};
use serde_json::Value;
use tests::banks::Banks;
use tests::held_connection::connect;
use tests::operator;
use tests::process::{Process, consent_body, prepare};
use tests::programs::{both, system};
use tests::sdk::BANK_A;
use tests::wait::wait_until;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_the_server_and_health_tells_how_it_is() {
    let (folder, pki) = prepare().await;
    let mut server = Process::serve(folder.path(), &pki).await;
    for path in ["live", "ready"] {
        let url = format!("http://{}/health/{path}", server.operator);
        let answer = system("curl")
            .args(["-sf", "--max-time", "20", &url])
            .output()
            .unwrap();
        assert!(answer.status.success(), "{}", both(&answer));
    }
    assert_eq!(server.tpp.get("/v1/consents/none", &[]).await.status, 403);
    // One connection is quiet, on another a request is half-way in.
    let open = || connect(server.tpp.bank, &pki.bank_a.qwac);
    let (mut quiet, mut busy) = (open(), open());
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
    server.child.terminate();
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
    assert!(server.child.wait().await.success());
    let log = fs::read_to_string(folder.path().join("bank.log")).unwrap();
    assert!(log.contains("\"stopped\""), "{log}");
    let request = log
        .lines()
        .find(|line| line.contains(r#""message":"request""#))
        .unwrap();
    let request: Value = serde_json::from_str(request).unwrap();
    assert_eq!(request["tpp"], BANK_A);
    assert_eq!(request["resource"], "/v1/consents/{consent_id}");
    assert_eq!(request["status"], 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_dropped_stops() {
    let banks = Banks::start().await;
    let replica = banks.replica_of_b(|_| ()).await;
    let operator = replica.operator_address();
    assert!(operator::try_get(operator, "/health/live").await.is_some());
    drop(replica);
    wait_until("the end of its listeners", async || {
        operator::try_get(operator, "/health/live")
            .await
            .is_none()
            .then_some(())
    })
    .await;
}
