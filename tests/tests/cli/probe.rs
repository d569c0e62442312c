//! `bank-client probe` says who refused whom, and it is true.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use bank_client::credentials::provider;
use bank_client::environment::Clock as _;
use bank_client::probe::{Limits, Outcome, Probe, Report, Stage, Verdict};
use fixtures::pki::{Identity, Pki};
use fixtures::world::Bank;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use shared_types::pki::register::Status;
use tests::banks::Banks;
use tests::closed_port::ClosedPort;
use tests::files::replace;
use tests::programs::{both, own};
use tests::sdk::{BANK_A, BANK_B, anchors, credentials};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Probes with the program: that server, with the certificate of those files, and more arguments.
fn probe(banks: &Banks, server: &str, certificate: Option<&str>, more: &[&str]) -> Output {
    let pki = banks.folder.path().join("pki");
    let mut program = own("bank-client");
    program.args(["probe", server, "--anchors"]);
    program.arg(pki.join("ca1/root.pem"));
    if let Some(name) = certificate {
        let file = |extension: &str| -> PathBuf { pki.join(format!("{name}.{extension}")) };
        program.arg("--certificate").arg(file("pem"));
        program.arg("--key").arg(file("key"));
    }
    program.args(more).output().unwrap()
}

/// The last sentence; the exit code says whether access was granted.
#[track_caller]
fn sentence(output: &Output, granted: bool) -> String {
    let code = i32::from(!granted);
    assert_eq!(output.status.code(), Some(code), "{}", both(output));
    assert!(output.stderr.is_empty(), "{}", both(output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.trim_end().lines().last().unwrap().to_owned()
}

/// Client certificates that a server requests.
enum Asks {
    Nothing,
    /// It takes a certificate, and goes on without.
    Perhaps(String),
}

/// Result for a server that never answers.
const NOTHING_EVER: &str = "nothing, ever";

/// A TLS server with a certificate of Bank B that gives everybody the same answer, and then closes
/// the connection.
async fn tls_server(banks: &Banks, asks: Asks, answer: &'static str) -> SocketAddr {
    let identity = &banks.sandbox.pki.bank_b.qwac;
    let credentials = credentials(identity);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match asks {
        Asks::Nothing => builder.with_no_client_auth(),
        Asks::Perhaps(of) => {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(of.as_bytes()).unwrap())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
    };
    let config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(
        credentials.certified_key(),
    )));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // A client that refuses us is part of the tests.
            if let Ok(mut tls) = acceptor.accept(tcp).await {
                let _ = tls.read(&mut [0; 1024]).await;
                if answer == NOTHING_EVER {
                    // Until the client gives up.
                    let _ = tls.read(&mut [0; 1024]).await;
                    continue;
                }
                let _ = tls.write_all(answer.as_bytes()).await;
                let _ = tls.shutdown().await;
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_endings_have_eight_last_sentences_each_true() {
    let banks = Banks::start().await;
    let bank_b = banks.sandbox.bank(Bank::B).url();
    let at_bank_b = |certificate, more: &[&str]| probe(&banks, &bank_b, certificate, more);
    let expected = ["--organisation", BANK_B];
    let plain = tls_server(
        &banks,
        Asks::Nothing,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let closed = ClosedPort::reserve();

    let mut sentences = vec![
        (
            sentence(&at_bank_b(Some("bank-a/qwac"), &expected), true),
            vec![
                "We accepted",
                BANK_B,
                "it accepted us",
                "access is granted: mutual TLS works",
            ],
        ),
        (
            sentence(&at_bank_b(Some("bank-c/qwac"), &expected), false),
            vec![
                "refused us",
                "unknown_ca",
                "our chain ends at",
                "CA2",
                "use a certificate from",
                "CA1",
            ],
        ),
        (
            sentence(&at_bank_b(None, &expected), false),
            vec![
                "refused us",
                "certificate_required",
                "we showed none; show one",
                "CA1",
            ],
        ),
        (
            sentence(&at_bank_b(Some("refused/expired"), &expected), false),
            vec![
                "refused us",
                "certificate_expired",
                "our certificate ended at",
            ],
        ),
        (
            sentence(
                &at_bank_b(Some("bank-a/qwac"), &["--organisation", BANK_A]),
                false,
            ),
            vec![
                "We refused",
                "it is PSDFR-ACPR-20002, and PSDDE-BAFIN-100001 was expected",
            ],
        ),
        (
            sentence(
                &probe(
                    &banks,
                    &format!("https://{plain}"),
                    Some("bank-a/qwac"),
                    &expected,
                ),
                false,
            ),
            vec!["did not ask for our certificate", "plain TLS"],
        ),
        (
            sentence(
                &probe(
                    &banks,
                    &format!("https://{}", closed.address()),
                    Some("bank-a/qwac"),
                    &expected,
                ),
                false,
            ),
            vec![
                "Neither side refused the other",
                "no connection",
                "refused (os error",
            ],
        ),
    ];
    banks
        .revoke(
            &banks.sandbox.bank(Bank::B).running,
            &banks.serial_of_bank_a(),
        )
        .await;
    sentences.push((
        sentence(&at_bank_b(Some("bank-a/qwac"), &expected), false),
        vec!["refused us", "certificate_revoked", "have a new one issued"],
    ));

    for (sentence, facts) in &sentences {
        for fact in facts {
            assert!(sentence.contains(fact), "{fact:?} is missing: {sentence}");
        }
    }
    let different: BTreeSet<_> = sentences.iter().map(|(sentence, _)| sentence).collect();
    assert_eq!(different.len(), 8, "{sentences:#?}");
}

/// A sandbox that is set up twice has two authorities CA1.
#[tokio::test(flavor = "multi_thread")]
async fn another_authority_of_the_same_name_is_suspected_on_both_sides() {
    let banks = Banks::start().await;
    let other = Pki::make(banks.clock.now()).unwrap();
    let file = |name: &str, content: &str| {
        let path = banks.folder.path().join("pki").join(name);
        replace(&path, content);
        path
    };
    file("other.pem", &other.bank_a.qwac.chain_pem);
    file("other.key", &other.bank_a.qwac.key_pem);
    let root = file("other-root.pem", &other.ca1.root_pem().unwrap());
    let bank_b = banks.sandbox.bank(Bank::B).url();
    let theirs = sentence(&probe(&banks, &bank_b, Some("other"), &[]), false);
    let ours = own("bank-client")
        .args(["probe", &bank_b, "--anchors"])
        .arg(root)
        .output()
        .unwrap();
    let ours = sentence(&ours, false);
    for (sentence, fact) in [
        (&theirs, "refused us with the alert decrypt_error"),
        (
            &theirs,
            "is not the authority of that name that it agreed to",
        ),
        (&theirs, "and not from another of the same name"),
        (&ours, "We refused"),
        (&ours, "and not another of the same name"),
    ] {
        assert!(sentence.contains(fact), "{fact:?} is missing: {sentence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_and_then_refused_by_policy_is_told_apart() {
    let banks = Banks::start().await;
    let bank_b = banks.sandbox.bank(Bank::B).url();
    let mut register = banks.sandbox.pki.register.clone();
    register.organisations[0].status = Status::Blocked;
    banks.publish(&register).await;
    let blocked = sentence(&probe(&banks, &bank_b, Some("bank-a/qwac"), &[]), false);
    assert!(
        blocked.contains("accepted our certificate and then refused us by policy with HTTP 401 CERTIFICATE_BLOCKED"),
        "{blocked}"
    );
    assert!(
        blocked.contains("is blocked"),
        "in the bank's own words: {blocked}"
    );
    let role = sentence(
        &probe(&banks, &bank_b, Some("refused/payment-role-only"), &[]),
        false,
    );
    assert!(
        role.contains("refused us by policy with HTTP 401 ROLE_INVALID"),
        "{role}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_every_step_with_the_facts_of_the_protocol() {
    let banks = Banks::start().await;
    let bank_b = banks.sandbox.bank(Bank::B).url();
    let report = |certificate, code| -> Value {
        let output = probe(&banks, &bank_b, certificate, &["--json"]);
        assert_eq!(output.status.code(), Some(code), "{}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let outcomes = |report: &Value| -> Vec<String> {
        let steps = report["steps"].as_array().unwrap();
        let outcome = |step: &Value| {
            format!(
                "{} {}",
                step["name"].as_str().unwrap(),
                step["outcome"].as_str().unwrap()
            )
        };
        steps.iter().map(outcome).collect()
    };
    let granted = report(Some("bank-a/qwac"), 0);
    assert_eq!(
        outcomes(&granted),
        [
            "clientConnects passed",
            "serverPresents passed",
            "clientVerifies passed",
            "clientPresents passed",
            "serverVerifies passed",
            "accessGranted passed",
            "encryptedExchange passed",
        ]
    );
    assert_eq!(granted["granted"], true);
    assert_eq!(granted["verdict"]["kind"], "granted");
    let facts = granted["steps"][1]["facts"].to_string();
    for fact in [
        "TLS 1.3",
        "X25519MLKEM768",
        "TLS13_AES",
        BANK_B,
        "valid from 20",
        "127.0.0.1",
    ] {
        assert!(facts.contains(fact), "{fact} is missing: {facts}");
    }
    let presents = granted["steps"][3]["facts"].to_string();
    assert!(
        presents.contains("CA1") && presents.contains(BANK_A),
        "{presents}"
    );

    let refused = report(Some("bank-c/qwac"), 1);
    assert_eq!(
        outcomes(&refused)[3..6],
        [
            "clientPresents passed",
            "serverVerifies failed",
            "accessGranted notReached"
        ]
    );
    assert_eq!(refused["verdict"]["alert"], "unknown_ca");
    assert_eq!(refused["granted"], false);
    let people = sentence(&probe(&banks, &bank_b, Some("bank-c/qwac"), &[]), false);
    assert_eq!(refused["sentence"].as_str(), Some(people.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_what_is_missing() {
    let banks = Banks::start().await;
    let asked = own("bank-client")
        .args(["--url", "https://127.0.0.1:1", "accounts", "--consent", "x"])
        .output()
        .unwrap();
    assert_eq!(asked.status.code(), Some(2));
    for argument in ["--organisation", "--anchors", "--certificate", "--key"] {
        assert!(both(&asked).contains(argument), "{}", both(&asked));
    }
    assert!(!both(&asked).contains("--url <URL>\n"), "{}", both(&asked));
    let key = banks.folder.path().join("pki/bank-a/qwac.key");
    let half = probe(
        &banks,
        "https://127.0.0.1:1",
        None,
        &["--key", key.to_str().unwrap()],
    );
    assert_eq!(half.status.code(), Some(2));
    assert!(both(&half).contains("--certificate"), "{}", both(&half));
    let bare = own("bank-client")
        .args(["probe", "https://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(bare.status.code(), Some(2));
    assert!(both(&bare).contains("--anchors"), "{}", both(&bare));
    let twice = own("bank-client")
        .args([
            "--url",
            "https://127.0.0.1:1",
            "probe",
            "https://127.0.0.1:2",
        ])
        .output()
        .unwrap();
    assert_eq!(twice.status.code(), Some(2));
    assert!(both(&twice).contains("not in --url"), "{}", both(&twice));
    let insecure = probe(&banks, "http://127.0.0.1:1", None, &[]);
    assert_eq!(insecure.status.code(), Some(1));
    assert!(
        both(&insecure).contains("is not an https URL"),
        "{}",
        both(&insecure)
    );
}

/// The default times, and 1000 bytes for the answer.
fn limits() -> Limits {
    Limits {
        answer: 1000,
        ..Limits::default()
    }
}

/// Probes with the library, with the default times.
async fn probe_with_library(
    banks: &Banks,
    server: SocketAddr,
    identity: Option<&Identity>,
) -> Report {
    probe_within(limits(), banks, server, identity).await
}

/// Probes with the library, within those limits.
async fn probe_within(
    limits: Limits,
    banks: &Banks,
    server: SocketAddr,
    identity: Option<&Identity>,
) -> Report {
    let anchors = anchors(&banks.sandbox.pki.ca1);
    let mut probe = Probe::new(&format!("https://{server}"), anchors)
        .unwrap()
        .clock(Arc::clone(&banks.clock) as _)
        .limits(limits);
    if let Some(identity) = identity {
        probe = probe.credentials(credentials(identity));
    }
    let report = probe.run().await.unwrap();
    assert_eq!(report.at, banks.clock.now());
    report
}

/// A server without TLS: it says that at once, reads, and closes the connection after that time.
async fn tcp_server(says: &'static str, closes_after: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.write_all(says.as_bytes()).await;
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(closes_after, tcp.read_to_end(&mut rest)).await;
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_silent_or_speak_something_else_are_told_apart() {
    let banks = Banks::start().await;
    let silent = tcp_server("", Duration::from_secs(30)).await;
    let soon = Limits {
        handshake: Duration::from_millis(200),
        ..limits()
    };
    let verdict = probe_within(soon, &banks, silent, None).await.verdict;
    assert!(
        matches!(
            verdict,
            Verdict::TimedOut {
                stage: Stage::Handshake,
                ..
            }
        ),
        "{verdict:?}"
    );
    let ssh = tcp_server("SSH-2.0-OpenSSH_10.0\r\n", Duration::from_secs(30)).await;
    let verdict = probe_with_library(&banks, ssh, None).await.verdict;
    assert!(matches!(verdict, Verdict::NotTls { .. }), "{verdict:?}");
    let leaving = tcp_server("", Duration::from_millis(1)).await;
    let verdict = probe_with_library(&banks, leaving, None).await.verdict;
    assert!(
        matches!(verdict, Verdict::Closed { shown: false, .. }),
        "{verdict:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_ask_and_do_not_insist_are_told_apart() {
    let banks = Banks::start().await;
    let root = || Asks::Perhaps(banks.sandbox.pki.ca1.root_pem().unwrap());
    let a = &banks.sandbox.pki.bank_a.qwac;
    let lax = tls_server(
        &banks,
        root(),
        "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let verdict = probe_with_library(&banks, lax, None).await.verdict;
    assert!(
        matches!(verdict, Verdict::NotInsisted { status: 404, .. }),
        "{verdict:?}"
    );
    assert!(probe_with_library(&banks, lax, Some(a)).await.granted);

    // As nginx answers a client without a certificate.
    let front =
        "HTTP/1.1 400 Bad Request\r\n\r\n<title>400 No required SSL certificate was sent</title>";
    let nginx = tls_server(&banks, root(), front).await;
    let report = probe_with_library(&banks, nginx, None).await;
    assert!(
        report
            .sentence
            .contains("\"No required SSL certificate was sent\": show one"),
        "{}",
        report.sentence
    );

    let speechless = tls_server(&banks, root(), "").await;
    let report = probe_with_library(&banks, speechless, Some(a)).await;
    assert!(
        matches!(report.verdict, Verdict::Closed { shown: true, .. }),
        "{report:?}"
    );
    assert_eq!(report.steps[4].outcome, Outcome::Unknown);

    let other = tls_server(&banks, root(), "220 mail.example ESMTP\r\n").await;
    let verdict = probe_with_library(&banks, other, Some(a)).await.verdict;
    assert!(matches!(verdict, Verdict::NotHttp { .. }), "{verdict:?}");
    let wordy: &'static str =
        Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2000)).into_boxed_str());
    let endless = tls_server(&banks, root(), wordy).await;
    let verdict = probe_with_library(&banks, endless, Some(a)).await.verdict;
    assert!(
        matches!(verdict, Verdict::TooLarge { limit: 1000, .. }),
        "{verdict:?}"
    );
    let slow = tls_server(&banks, root(), NOTHING_EVER).await;
    let soon = Limits {
        exchange: Duration::from_millis(500),
        ..limits()
    };
    let verdict = probe_within(soon, &banks, slow, Some(a)).await.verdict;
    assert!(
        matches!(
            verdict,
            Verdict::TimedOut {
                stage: Stage::Exchange,
                ..
            }
        ),
        "{verdict:?}"
    );
    let half = tls_server(&banks, root(), "HTTP/1.1 200 OK\r\n").await;
    let verdict = probe_with_library(&banks, half, Some(a)).await.verdict;
    assert!(
        matches!(verdict, Verdict::Closed { shown: true, .. }),
        "{verdict:?}"
    );
}
