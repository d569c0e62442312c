//! Both replicas are replaced, one after the other, while clients keep asking over connections that
//! they keep.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bank_client::Bank;
use bank_server::RunningBank;
use fixtures::pki::Identity;
use tests::banks::Banks;
use tests::held_connection::connect;
use tests::http::Tpp;
use tests::operator;
use tests::sdk::{BANK_B, bank_builder};
use tests::wait::{wait_for, wait_until};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Clients over HTTP/1.1, and as many over HTTP/2.
const CLIENTS: usize = 4;

/// How long a client waits between two requests: all together ask 200 times a second.
const PACE: Duration = Duration::from_millis(40);

/// TCP load balancer: passes each connection to a replica whose readiness check succeeds, and reads
/// no byte of it.
#[derive(Clone)]
struct Spreader {
    address: SocketAddr,
    replicas: Arc<Mutex<Vec<Replica>>>,
}

#[derive(Clone, Copy)]
struct Replica {
    xs2a: SocketAddr,
    operator: SocketAddr,
}

impl Spreader {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let spreader = Self {
            address: socket.local_addr().unwrap(),
            replicas: Arc::default(),
        };
        let all = spreader.clone();
        tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((mut client, _)) = socket.accept().await {
                turn += 1;
                let all = all.clone();
                // A connection that finds no replica is closed, which its client counts as a
                // failure.
                tokio::spawn(async move {
                    let replica = all.choose(turn).await;
                    let mut bank = TcpStream::connect(replica).await.unwrap();
                    // However it ends: both ends are told.
                    let _ = copy_bidirectional(&mut client, &mut bank).await;
                });
            }
        });
        spreader
    }

    /// The next replica that is ready. One that answers late is asked again.
    async fn choose(&self, turn: usize) -> SocketAddr {
        let choice = async {
            loop {
                let mut replicas = self.replicas.lock().unwrap().clone();
                let first = turn % replicas.len();
                replicas.rotate_left(first);
                for replica in replicas {
                    if is_ready(replica.operator).await {
                        return replica.xs2a;
                    }
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_mins(1), choice)
            .await
            .expect("a replica that is ready")
    }

    fn add(&self, bank: &RunningBank) {
        self.replicas.lock().unwrap().push(Replica {
            xs2a: bank.xs2a_address(),
            operator: bank.operator_address(),
        });
    }

    fn remove(&self, bank: SocketAddr) {
        self.replicas
            .lock()
            .unwrap()
            .retain(|replica| replica.xs2a != bank);
    }
}

/// Whether a replica answers its readiness check with 200. One that has stopped does not answer.
async fn is_ready(operator: SocketAddr) -> bool {
    let answer = operator::try_get(operator, "/health/ready").await;
    answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// Outcomes of the requests.
#[derive(Default)]
struct Outcome {
    answered: AtomicUsize,
    failed: Mutex<Vec<String>>,
    enough: AtomicBool,
}

impl Outcome {
    fn note<E: std::fmt::Display>(&self, outcome: Result<(), E>) {
        match outcome {
            Ok(()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => self.failed.lock().unwrap().push(failure.to_string()),
        }
    }

    /// Waits for so many more answers.
    async fn more(&self, count: usize) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        wait_for("answers", || {
            (self.answered.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }
}

/// One request after the other over HTTP/1.1; another connection only where the bank has said that
/// it closes this one.
#[expect(
    clippy::disallowed_methods,
    reason = "it is the pace of a client; nothing is waited for"
)]
fn keep_asking(bank: SocketAddr, identity: &Identity, request: &str, outcome: &Outcome) {
    let mut kept = None;
    while !outcome.enough.load(Ordering::Relaxed) {
        let connection = kept
            .take()
            .unwrap_or_else(|| BufReader::new(connect(bank, identity)));
        match ask(connection, request) {
            Ok(still_open) => {
                kept = still_open;
                outcome.note(Ok::<_, io::Error>(()));
            }
            Err(failure) => outcome.note(Err(failure)),
        }
        thread::sleep(PACE);
    }
}

type Stream = BufReader<openssl::ssl::SslStream<std::net::TcpStream>>;

/// Sends it, reads the answer, and gives the connection back if it stays open.
fn ask(mut connection: Stream, request: &str) -> io::Result<Option<Stream>> {
    connection.get_mut().write_all(request.as_bytes())?;
    let (mut length, mut closes, mut line) = (0, false, String::new());
    for number in 0.. {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = line.trim_end().to_ascii_lowercase();
        if number == 0 && !text.contains(" 200 ") {
            return Err(io::Error::other(text));
        }
        if let Some(value) = text.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        closes |= text == "connection: close";
        if text.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((!closes).then_some(connection))
}

/// The SDK's handle, which repeats nothing, for what the spreader leads to.
fn handle(banks: &Banks, address: SocketAddr) -> Bank {
    let pki = &banks.sandbox.pki;
    let builder = bank_builder(address, BANK_B, pki, &pki.bank_a.qwac);
    builder
        .clock(Arc::clone(&banks.clock) as _)
        .build()
        .unwrap()
}

async fn replica(banks: &Banks) -> RunningBank {
    banks
        .replica_of_b(|config| config.limits.drain_timeout_seconds = 5)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_fails_before_the_listener_closes() {
    let banks = Banks::start().await;
    let bank = banks
        .replica_of_b(|config| config.limits.drain_timeout_seconds = 10)
        .await;
    let (address, operator) = (bank.xs2a_address(), bank.operator_address());
    let identity = banks.sandbox.pki.bank_a.qwac.clone();
    wait_until("readiness", async || is_ready(operator).await.then_some(())).await;
    // No connection is open that `stop` could wait for.
    let stopping = tokio::spawn(bank.stop());
    wait_until("503 while the replica stops", async || {
        let answer = operator::try_get(operator, "/health/ready").await?;
        let stops = answer.starts_with("HTTP/1.1 503") && answer.contains("\"stopping\":true");
        stops.then_some(())
    })
    .await;
    // A load balancer sends requests until it has seen that.
    let answer = Tpp::new(address, identity).get("/openapi.json", &[]).await;
    assert_eq!(answer.status, 200);
    stopping.await.unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_replicas_are_replaced_and_no_request_fails() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let consent = banks.consent(&tpp).approved().await;
    let spreader = Spreader::start().await;
    let mut replicas = [replica(&banks).await, replica(&banks).await];
    for bank in &replicas {
        spreader.add(bank);
    }
    let request = format!(
        "GET /v1/accounts HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: 99391c7e-ad88-49ec-a2ad-99ddcb1f7721\r\n\
         Consent-ID: {consent}\r\nPSU-IP-Address: 192.0.2.7\r\n\r\n"
    );
    let outcome = Arc::new(Outcome::default());
    let mut threads = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let (address, identity) = (spreader.address, tpp.identity.clone());
        let (request, noted) = (request.clone(), Arc::clone(&outcome));
        threads.push(thread::spawn(move || {
            keep_asking(address, &identity, &request, &noted);
        }));
        let under = handle(&banks, spreader.address)
            .with_consent(&consent)
            .psu_ip_address("192.0.2.7".parse().unwrap());
        let noted = Arc::clone(&outcome);
        tasks.push(tokio::spawn(async move {
            while !noted.enough.load(Ordering::Relaxed) {
                noted.note(under.accounts(false).await.map(drop));
                sleep(PACE).await;
            }
        }));
    }
    outcome.more(200).await;
    for place in &mut replicas {
        let next = replica(&banks).await;
        spreader.add(&next);
        let old = std::mem::replace(place, next);
        let address = old.xs2a_address();
        old.stop().await;
        spreader.remove(address);
        outcome.more(200).await;
    }
    outcome.enough.store(true, Ordering::Relaxed);
    for thread in threads {
        tokio::task::spawn_blocking(|| thread.join())
            .await
            .unwrap()
            .unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*outcome.failed.lock().unwrap(), Vec::<String>::new());
    for bank in replicas {
        bank.stop().await;
    }
}
