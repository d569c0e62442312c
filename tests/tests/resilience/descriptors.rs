//! Connections do not take the last file descriptors of a bank.

use std::fs;
use std::net::TcpStream;

use tests::operator;
use tests::process::{Process, prepare};
use tests::programs::{own, system};
use tests::wait::wait_for;

/// Files that the process may open.
const DESCRIPTORS: usize = 256;

/// More than that.
const CONNECTIONS: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_listener_answers_when_all_others_are_taken() {
    let (folder, pki) = prepare().await;
    let program = own("bank-server").get_program().to_owned();
    let mut command = system("sh");
    command
        .args(["-c", &format!(r#"ulimit -n {DESCRIPTORS}; exec "$0" "$@""#)])
        .arg(program);
    let configuration = folder.path().join("bank.toml");
    // They are held for longer than the operator waits.
    let mut text = fs::read_to_string(&configuration).unwrap();
    text += "[limits]\nhandshake_timeout_seconds = 60\n";
    fs::write(&configuration, text).unwrap();
    let bank = Process::started_by(command, &configuration, &pki.bank_a.qwac).await;
    // Nothing is said on them; each waits for a handshake.
    let connect = |_| TcpStream::connect(bank.tpp.bank).unwrap();
    let held: Vec<TcpStream> = (0..CONNECTIONS).map(connect).collect();
    let ready = operator::try_get(bank.operator, "/health/ready").await;
    let ready = ready.expect("an answer while connections are held");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    // Connections that the system has accepted and the bank has not yet seen count at first.
    wait_for("the refusal of connections beyond the limit", || {
        (bank.connections() <= DESCRIPTORS / 2).then_some(())
    })
    .await;
    drop(held);
    assert_eq!(bank.tpp.get("/v1/consents/none", &[]).await.status, 403);
}
