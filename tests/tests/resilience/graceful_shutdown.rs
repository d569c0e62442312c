//! Graceful shutdown of `bank-server` on SIGTERM, its health endpoints, and what its log holds then.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use fixtures::openssl_client::{Reaction, send_request};
use serde_json::Value;
use tests::banks::Banks;
use tests::held_connection::connect;
use tests::http::begin_request;
use tests::operator;
use tests::process::{Process, consent_body, prepare};
use tests::programs::{both, system};
use tests::sdk::BANK_A;
use tests::wait::{MAX_WAIT, wait_until};

/// Head of a request for a consent.
fn head_for(body: &str) -> String {
    format!(
        "POST /v1/consents HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\n\
         PSU-IP-Address: 192.0.2.7\r\nContent-Type: application/json\r\nContent-Length: {}",
        body.len()
    )
}

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
    begin_request(&mut busy, &head_for(&body));
    server.child.terminate();
    // The quiet one ends after a while, in which it could have asked; the busy one gets its answer.
    assert!(matches!(quiet.read(&mut [0]), Ok(0) | Err(_)));
    let Reaction::Http(answer) = send_request(&mut busy, &body) else {
        panic!()
    };
    assert!(
        answer.starts_with(b"HTTP/1.1 201"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    assert!(server.child.wait().await.success());
    let log = fs::read_to_string(folder.path().join("bank.log")).unwrap();
    assert!(log.contains("\"shut down\""), "{log}");
    let request = log
        .lines()
        .find(|line| line.contains(r#""message":"request""#))
        .unwrap();
    let request: Value = serde_json::from_str(request).unwrap();
    assert_eq!(request["tpp"], BANK_A);
    assert_eq!(request["resource"], "/v1/consents/{consent_id}");
    assert_eq!(request["status"], 403);
}

/// Browsers keep connections open between requests, and open some before they need them.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_browsers_do_not_hold_up_the_end() {
    const DAY: u64 = 24 * 60 * 60;

    let banks = Banks::start().await;
    let replica = banks.replica_of_b(|config| {
        let limits = &mut config.limits;
        (
            limits.drain_timeout_seconds,
            limits.shutdown_timeout_seconds,
        ) = (0, DAY);
        (limits.idle_timeout_seconds, limits.request_timeout_seconds) = (DAY, DAY);
    });
    let replica = replica.await;
    let pages = replica.online_banking_address().unwrap();
    let host = replica.online_banking_origin().unwrap().authority();
    let _unused = TcpStream::connect(pages).unwrap();
    let mut answered = TcpStream::connect(pages).unwrap();
    write!(answered, "GET /log-in HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    answered.read_exact(&mut [0; 15]).unwrap();
    let stopped = tokio::time::timeout(MAX_WAIT, replica.stop()).await;
    assert!(
        stopped.is_ok(),
        "it waits for connections without a request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_interrupt_ends_the_server_at_once() {
    let (folder, pki) = prepare().await;
    let mut server = Process::serve(folder.path(), &pki).await;
    let mut busy = connect(server.tpp.bank, &pki.bank_a.qwac);
    begin_request(&mut busy, &head_for(&consent_body("2099-12-31")));
    server.child.signal("INT");
    let log = server.log.clone();
    let stopping = || fs::read_to_string(&log).unwrap().contains("shutting down");
    let told = server
        .child
        .wait_for("its word", &server.log, || stopping().then_some(()));
    told.await;
    server.child.signal("INT");
    assert_eq!(server.child.wait().await.code(), Some(130));
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
