//! Revocation of trust while connections are open: those concerned end, each with its reason, and no others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bank_client::ErrorKind;
use bank_server::BankServer;
use bank_server::config::Config;
use chrono::TimeDelta;
use fixtures::pki::{Identity, Wanted};
use fixtures::world::Bank;
use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use shared_types::pki::register::{Service, Status};
use tests::banks::{Banks, trust_changed};
use tests::files;
use tests::handshake::resuming_client;
use tests::held_connection::{HeldConnection, connect as connect_with_openssl};
use tests::http::{LAST_STATUS_REQUEST, STATUS_PATH, alert};
use tests::sdk::{BANK_B, bank_builder};
use tests::stores;
use tests::wait::wait_for;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a peer is promised: its connection is over that long after the bank knows.
const PROMISED: Duration = Duration::from_secs(1);

/// What one measurement may take: the promise, and 9 s of scheduling on a machine that runs other tests as well. The
/// promise itself is kept by the median of several: `a_licence_that_was_withdrawn_or_blocked_ends_connections`.
const MAX_DELAY: Duration = PROMISED.saturating_add(Duration::from_secs(9));

/// A client that speaks HTTP/2, or keeps sessions.
fn connector(banks: &Banks, identity: &Identity, alpn: &[u8]) -> TlsConnector {
    resuming_client(&banks.sandbox.pki.ca1, identity, alpn, rustls::ALL_VERSIONS)
}

async fn connect(
    client: &TlsConnector,
    bank: SocketAddr,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(bank).await?;
    client.connect(ServerName::from(bank.ip()), tcp).await
}

/// An HTTP/2 connection that has had one answer; it ends with what the bank says in its GOAWAY.
async fn hold_http2(
    banks: &Banks,
    bank: SocketAddr,
    identity: &Identity,
) -> tokio::task::JoinHandle<(String, Instant)> {
    let tls = connect(&connector(banks, identity, b"h2"), bank)
        .await
        .unwrap();
    let (mut requests, connection) = h2::client::handshake(tls).await.unwrap();
    let ended = tokio::spawn(async move {
        let word = match connection.await {
            Ok(()) => String::new(),
            Err(error) => format!("{error:?}"),
        };
        (word, Instant::now())
    });
    let request = http::Request::get("https://localhost/v1/consents/none/status")
        .header("x-request-id", "99391c7e-ad88-49ec-a2ad-99ddcb1f7721")
        .body(())
        .unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 403);
    tokio::spawn(async move {
        let told = ended.await.unwrap();
        // Kept until here: a client that is done would end the connection itself.
        drop(requests);
        told
    })
}

/// Resumes a session; what the bank answers to a request on it.
async fn resume(client: &TlsConnector, bank: SocketAddr) -> (Option<HandshakeKind>, String) {
    let Ok(mut tls) = connect(client, bank).await else {
        return (None, String::new());
    };
    let mut answer = Vec::new();
    let _ = tls.write_all(LAST_STATUS_REQUEST.as_bytes()).await;
    let _ = tls.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (tls.get_ref().1.handshake_kind(), answer)
}

/// Another TPP, that asks all the time and counts what goes wrong.
struct Bystander {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    failed: tokio::task::JoinHandle<Vec<String>>,
}

impl Bystander {
    fn start(banks: &Banks, bank: SocketAddr) -> Self {
        let pki = &banks.sandbox.pki;
        let handle = bank_builder(bank, BANK_B, pki, &pki.bank_r.qwac)
            .build()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicUsize::new(0));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let failed = tokio::spawn(async move {
            let mut failed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let error = handle.consent_status("none").await.unwrap_err();
                if !matches!(error.kind, ErrorKind::Refused { status: 403, .. }) {
                    failed.push(error.to_string());
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            failed
        });
        Self {
            stop,
            asked,
            failed,
        }
    }

    /// It has asked, before and after, and nothing went wrong.
    async fn lost_nothing(self) {
        let before = self.asked.load(Ordering::Relaxed);
        wait_for("some more requests", || {
            (self.asked.load(Ordering::Relaxed) > before + 5).then_some(())
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.failed.await.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_is_out_within_a_second() {
    let banks = Banks::start().await;
    let bank = &banks.sandbox.bank(Bank::B).running;
    let (address, a) = (bank.xs2a_address(), &banks.sandbox.pki.bank_a.qwac);
    let sessions = connector(&banks, a, b"http/1.1");
    resume(&sessions, address).await;
    let (kind, answer) = resume(&sessions, address).await;
    assert_eq!(kind, Some(HandshakeKind::Resumed));
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let http1 = HeldConnection::accepted(address, a).until_the_end();
    let http2 = hold_http2(&banks, address, a).await;
    let bystander = Bystander::start(&banks, address);

    let known = banks.revoke(bank, &banks.serial_of_bank_a()).await;

    let (said, ended) = tokio::task::spawn_blocking(move || http1.join().unwrap())
        .await
        .unwrap();
    assert!(said.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{said}");
    assert!(
        said.contains("CERTIFICATE_REVOKE") && said.contains("keyCompromise"),
        "{said}"
    );
    assert!(
        ended < known + MAX_DELAY,
        "HTTP/1.1 took {:?}",
        ended - known
    );
    let (word, ended) = http2.await.unwrap();
    assert!(
        word.contains("GoAway") && word.contains("CERTIFICATE_REVOKE"),
        "{word}"
    );
    assert!(ended < known + MAX_DELAY, "HTTP/2 took {:?}", ended - known);
    let (kind, answer) = resume(&sessions, address).await;
    assert_eq!(
        kind,
        Some(HandshakeKind::Resumed),
        "the ticket is good, its holder is not"
    );
    assert_eq!(answer, "", "not one byte of HTTP");
    assert_eq!(alert(address, a), "certificate_revoked");
    bystander.lost_nothing().await;
}

/// A peer that asks for much and reads nothing keeps the bank from reading; it is cut off all the same, and so is what it
/// has not collected.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_collects_nothing_is_cut_off_in_time() {
    let banks = Banks::start().await;
    let bank = &banks.sandbox.bank(Bank::B).running;
    let mut tls = connect_with_openssl(bank.xs2a_address(), &banks.sandbox.pki.bank_a.qwac);
    let socket = tls.get_ref().try_clone().unwrap();
    let padding = "x".repeat(5000);
    let request =
        format!("GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-Padding: {padding}\r\n\r\n");
    for _ in 0..300 {
        std::io::Write::write_all(&mut tls, request.as_bytes()).unwrap();
    }
    // Until nothing more comes: then answers wait on both sides.
    let mut arrived = vec![0; 16 * 1024 * 1024];
    let mut stands = (0, Instant::now());
    wait_for("answers that pile up", || {
        let now = socket.peek(&mut arrived).unwrap();
        if now > stands.0 {
            stands = (now, Instant::now());
        }
        (stands.1.elapsed() > PROMISED).then_some(())
    })
    .await;
    let known = banks.revoke(bank, &banks.serial_of_bank_a()).await;
    wait_for("the end of the connection", || {
        socket.take_error().unwrap().map(|_| ())
    })
    .await;
    let took = known.elapsed();
    assert!(took < MAX_DELAY, "it took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_was_withdrawn_or_blocked_ends_connections() {
    let banks = Banks::start().await;
    let address = banks.sandbox.bank(Bank::B).running.xs2a_address();
    let a = &banks.sandbox.pki.bank_a.qwac;
    let bystander = Bystander::start(&banks, address);
    let mut delays = Vec::new();
    for (status, says) in [
        (Status::Withdrawn, "was withdrawn"),
        (Status::Blocked, "is blocked"),
    ]
    .repeat(3)
    {
        let mut register = banks.sandbox.pki.register.clone();
        let held = HeldConnection::accepted(address, a).until_the_end();
        let http2 = hold_http2(&banks, address, a).await;
        register.organisations[0].status = status;
        banks.publish(&register).await;
        let known = Instant::now();
        let (said, ended) = tokio::task::spawn_blocking(move || held.join().unwrap())
            .await
            .unwrap();
        assert!(
            said.starts_with("HTTP/1.1 401") && said.contains("CERTIFICATE_BLOCKED"),
            "{said}"
        );
        assert!(said.contains(says), "{said}");
        let (word, goaway) = http2.await.unwrap();
        assert!(word.contains("CERTIFICATE_BLOCKED"), "{word}");
        let took = ended.max(goaway).saturating_duration_since(known);
        assert!(took < MAX_DELAY, "it took {took:?}");
        delays.push(took);
        // The certificate itself is good: a new connection is told over HTTP.
        let answer = banks.a_at_b().get(STATUS_PATH, &[]).await;
        assert_eq!(answer.refusal(), "401 CERTIFICATE_BLOCKED");
        banks.publish(&banks.sandbox.pki.register).await;
        let answer = banks.a_at_b().get(STATUS_PATH, &[]).await;
        assert_eq!(answer.refusal(), "403 CONSENT_UNKNOWN", "and back again");
    }
    delays.sort();
    assert!(delays[delays.len() / 2] < PROMISED, "{delays:?}");
    bystander.lost_nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_was_withdrawn_fails_its_calls_and_nothing_else() {
    let banks = Banks::start().await;
    let address = banks.sandbox.bank(Bank::B).running.xs2a_address();
    let mut held = HeldConnection::accepted(address, &banks.sandbox.pki.bank_a.qwac);
    let mut register = banks.sandbox.pki.register.clone();
    // In another country, it does not matter here.
    let services = &mut register.organisations[0].services;
    services
        .get_mut("DE")
        .unwrap()
        .remove(&Service::AccountInformation);
    banks.publish(&register).await;
    assert_eq!(held.get_status().status, 403);
    let services = &mut register.organisations[0].services;
    services
        .get_mut("FR")
        .unwrap()
        .remove(&Service::AccountInformation);
    banks.publish(&register).await;
    assert_eq!(held.get_status().refusal(), "401 ROLE_INVALID");
    banks.publish(&banks.sandbox.pki.register).await;
    assert_eq!(held.get_status().status, 403, "on the same connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_that_was_removed_takes_its_certificates_along() {
    let banks = Banks::start().await;
    let (folder, pki) = (banks.folder.path(), &banks.sandbox.pki);
    let anchors = folder.join("anchors.pem");
    let both = [&pki.ca1, &pki.ca2].map(|ca| ca.root_pem().unwrap());
    std::fs::write(&anchors, both.concat()).unwrap();
    let mut config = Config::read(&folder.join("bank-b.toml")).unwrap();
    config.xs2a.anchors = vec![anchors.clone()];
    config
        .xs2a
        .intermediates
        .push(folder.join("pki/ca2/issuing.pem"));
    for list in ["root", "issuing"] {
        let list = folder.join(format!("scheme-ca/ca2/published/{list}.crl"));
        config
            .revocation
            .lists
            .push(list.to_str().unwrap().to_owned());
    }
    config.store.location = stores::empty(&folder.join("other.db")).await;
    let clock = Arc::clone(&banks.clock);
    let bank = BankServer::new(config).clock(clock).start().await.unwrap();
    let address = bank.xs2a_address();
    // An overlap: both are trusted, and each finds its way in.
    let of_ca1 = HeldConnection::accepted(address, &pki.bank_a.qwac).until_the_end();
    let mut asking = HeldConnection::accepted(address, &pki.bank_a.qwac);
    let mut of_ca2 = HeldConnection::accepted(address, &pki.bank_c.qwac);

    let before = bank.trust_report().changes;
    files::replace(&anchors, &both[1]);
    let known = trust_changed(&bank, before).await;
    let asked = asking.get_status();
    assert_eq!(asked.refusal(), "401 CERTIFICATE_INVALID");
    assert!(asking.is_closed());
    let (said, ended) = tokio::task::spawn_blocking(move || of_ca1.join().unwrap())
        .await
        .unwrap();
    assert!(
        said.starts_with("HTTP/1.1 401") && said.contains("CERTIFICATE_INVALID"),
        "{said}"
    );
    assert!(ended < known + MAX_DELAY);
    assert_eq!(alert(address, &pki.bank_a.qwac), "unknown_ca");
    assert_eq!(of_ca2.get_status().status, 403);
    bank.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_is_told_on_its_open_connection() {
    let banks = Banks::start().await;
    let now = bank_client::environment::Clock::now(&*banks.clock);
    let brief = Wanted {
        valid_for: TimeDelta::days(1),
        ..Wanted::default()
    };
    let pki = &banks.sandbox.pki;
    let brief = pki.enrol(&fixtures::pki::bank_a(), &brief, now).unwrap();
    let address = banks.sandbox.bank(Bank::B).running.xs2a_address();
    let held = HeldConnection::accepted(address, &brief).until_the_end();
    let mut other = HeldConnection::accepted(address, &pki.bank_r.qwac);
    banks.clock.advance(TimeDelta::days(2));
    let moved = Instant::now();
    let (said, ended) = tokio::task::spawn_blocking(move || held.join().unwrap())
        .await
        .unwrap();
    assert!(
        said.starts_with("HTTP/1.1 401") && said.contains("CERTIFICATE_EXPIRED"),
        "{said}"
    );
    assert!(ended < moved + MAX_DELAY);
    assert_eq!(alert(address, &brief), "certificate_expired");
    assert_eq!(other.get_status().status, 403);
}
