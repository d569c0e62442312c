//! Both replicas are replaced, one after the other, while clients keep asking over connections that they keep.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bank_client::Bank;
use bank_client::credentials::Credentials;
use bank_server::RunningBank;
use fixtures::outsider::{Tls, context, dial, shake_hands};
use fixtures::pki::Identity;
use openssl::ssl::Ssl;
use serde_json::json;
use shared_types::trust::Anchors;
use tests::banks::{Banks, bank_b_also};
use tests::http::Tpp;
use tests::wait::wait_for;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Clients over HTTP/1.1, and as many over HTTP/2.
const CLIENTS: usize = 4;

/// How long a client waits between two requests: all together ask 200 times a second.
const PACE: Duration = Duration::from_millis(40);

/// Spreads connections over the replicas that are ready, as a load balancer does. It sees no byte of what is said.
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
                let replica = all.choose(turn);
                tokio::spawn(async move {
                    let mut bank = TcpStream::connect(replica).await.unwrap();
                    // However it ends: both ends are told.
                    let _ = copy_bidirectional(&mut client, &mut bank).await;
                });
            }
        });
        spreader
    }

    fn choose(&self, turn: usize) -> SocketAddr {
        let replicas = self.replicas.lock().unwrap().clone();
        let first = turn % replicas.len();
        let (after, before) = replicas.split_at(first);
        // One that answers late is asked again.
        let in_turn = before.iter().chain(after).cycle().take(10 * replicas.len());
        let ready = in_turn.copied().find(|replica| is_ready(replica.operator));
        ready.expect("a replica that is ready").xs2a
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

/// Whether a replica says that it is. One that has stopped says nothing.
fn is_ready(operator: SocketAddr) -> bool {
    let asked = || -> io::Result<String> {
        let mut tcp = dial(operator)?;
        tcp.set_read_timeout(Some(Duration::from_secs(1)))?;
        tcp.write_all(
            b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// What became of the requests.
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

/// One request after the other over HTTP/1.1; another connection only where the bank has said that it closes this one.
#[expect(
    clippy::disallowed_methods,
    reason = "it is the pace of a client; nothing is waited for"
)]
fn keep_asking(bank: SocketAddr, identity: &Identity, request: &str, outcome: &Outcome) {
    let mut kept = None;
    while !outcome.enough.load(Ordering::Relaxed) {
        let connection = kept.take().unwrap_or_else(|| {
            let ssl = Ssl::new(&context(Some(identity), Tls::V1_3).unwrap()).unwrap();
            let stream = shake_hands(ssl, dial(bank).unwrap()).unwrap();
            BufReader::new(stream.unwrap_or_else(|met| panic!("{met:?}")))
        });
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
    let root = banks.sandbox.pki.ca1.root_pem().unwrap();
    let own = &banks.sandbox.pki.bank_a.qwac;
    Bank::builder(
        format!("https://{address}"),
        "PSDFR-ACPR-20002".parse().unwrap(),
        Anchors::from_pem(root.as_bytes()).unwrap(),
        Credentials::from_pem(own.chain_pem.as_bytes(), own.key_pem.as_bytes()).unwrap(),
    )
    .clock(Arc::<bank_client::environment::ManualClock>::clone(
        &banks.clock,
    ))
    .build()
    .unwrap()
}

async fn replica(banks: &Banks) -> RunningBank {
    bank_b_also(banks, |config| config.limits.drain_seconds = 5).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_whether_it_is_ready_is_told_before_the_door_closes() {
    let banks = Banks::start().await;
    let bank = bank_b_also(&banks, |config| config.limits.drain_seconds = 3).await;
    let (address, operator) = (bank.xs2a_address(), bank.operator_address());
    let identity = banks.sandbox.pki.bank_a.qwac.clone();
    assert!(is_ready(operator));
    // Nobody is connected whose leaving could be waited for.
    let stopping = tokio::spawn(bank.stop());
    wait_for("the end of readiness", || {
        (!is_ready(operator)).then_some(())
    })
    .await;
    assert!(tests::operator::get(operator, "/health/ready").starts_with("HTTP/1.1 503"));
    // Until that has been asked, requests come.
    let answer = Tpp::new(address, identity).get("/openapi.json", &[]).await;
    assert_eq!(answer.status, 200);
    stopping.await.unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_replicas_are_replaced_and_no_request_fails() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let consent = banks
        .approved_consent(&tpp, &json!({ "allPsd2": "allAccounts" }))
        .await;
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
            .attended_by("192.0.2.7".parse().unwrap());
        let noted = Arc::clone(&outcome);
        tasks.push(tokio::spawn(async move {
            while !noted.enough.load(Ordering::Relaxed) {
                noted.note(under.accounts(false).await.map(drop));
                tokio::time::sleep(PACE).await;
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
