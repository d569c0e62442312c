//! Private keys on a PKCS#11 token: banks and TPPs sign there, and go on when the token fails and
//! comes back. The token is SoftHSM's; the other end is OpenSSL.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{Bank, Error, ErrorKind};
use fixtures::openssl_client::{Reaction, Tls, call};
use fixtures::pki::{Identity, Pki, Wanted, bank_b};
use openssl::x509::X509;
use rustls_pki_types::CertificateDer;
use shared_types::pki::trust::{Anchors, Usage, judge};
use tests::files::replace;
use tests::held_connection::{HeldConnection, connect};
use tests::http::LAST_STATUS_REQUEST;
use tests::lone_bank::LoneBank;
use tests::operator;
use tests::process::{Process, bank_toml, prepare};
use tests::programs::both;
use tests::sdk::BANK_B;
use tests::soft_token::{PIN, SoftToken, TokenServer};
use tests::tls_terminator::Manners;
use tests::wait::{wait_for, wait_until};

/// Writes the configuration of Bank B with another certificate and key.
fn configure(folder: &Path, certificate: &str, key: &str) {
    let lists = r#"lists = ["pki/ca1/root.crl", "pki/ca1/issuing.crl"]"#;
    let text = bank_toml("Bank B", r#"{ path = "bank.db" }"#, lists)
        .replace("pki/bank-b/qwac.pem", certificate)
        .replace("pki/bank-b/qwac.key", key);
    fs::write(folder.join("bank.toml"), text).unwrap();
}

async fn serve(token: &SoftToken, folder: &Path, client: &Identity) -> Process {
    let command = token.own("bank-server");
    Process::started_by(command, &folder.join("bank.toml"), client).await
}

/// A new connection, and a request that only an accepted peer gets an answer to.
fn is_served(bank: &Process, tls: Tls) -> bool {
    let met = call(
        bank.tpp.bank,
        Some(&bank.tpp.identity),
        tls,
        LAST_STATUS_REQUEST,
    )
    .unwrap();
    matches!(&met.reaction, Reaction::Http(answer) if answer.starts_with(b"HTTP/1.1 403"))
}

fn ready(bank: &Process) -> String {
    operator::get(bank.operator, "/health/ready")
}

/// Waits until the bank is ready, or is not, for a reason.
async fn wait_until_ready(bank: &Process, status: &str, says: &str) {
    wait_for(says, || {
        let answer = ready(bank);
        (answer.starts_with(status) && answer.contains(says)).then_some(())
    })
    .await;
}

/// The certificate that the bank shows.
fn shown(bank: &Process) -> X509 {
    connect(bank.tpp.bank, &bank.tpp.identity)
        .ssl()
        .peer_certificate()
        .unwrap()
}

fn leaf(identity: &Identity) -> X509 {
    X509::from_pem(identity.chain_pem.as_bytes()).unwrap()
}

fn client(token: &SoftToken, folder: &Path, bank: &Process, party: &str, key: &str) -> Command {
    let pki = folder.join("pki");
    let mut command = token.own("bank-client");
    command
        .args([
            "--url",
            &format!("https://{}", bank.tpp.bank),
            "--organisation",
            BANK_B,
        ])
        .arg("--anchors")
        .arg(pki.join("ca1/root.pem"))
        .arg("--certificate")
        .arg(pki.join(format!("{party}/qwac.pem")))
        .args(["--key", key]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_signs_on_its_token_with_ecdsa_and_rsa() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    for (party, identity) in [("bank-b", &pki.bank_b.qwac), ("bank-r", &pki.bank_r.qwac)] {
        token.import(party, &identity.key_pem);
        fs::remove_file(folder.path().join(format!("pki/{party}/qwac.key"))).unwrap();
        let certificate = format!("pki/{party}/qwac.pem");
        configure(folder.path(), &certificate, &token.uri(Some(party)));
        let bank = serve(&token, folder.path(), &pki.bank_a.qwac).await;
        for tls in [Tls::V1_3, Tls::V1_2] {
            assert!(is_served(&bank, tls), "{party}");
        }
        assert_eq!(shown(&bank), leaf(identity));
        assert!(ready(&bank).starts_with("HTTP/1.1 200"));
        let log = fs::read_to_string(&bank.log).unwrap();
        assert!(!log.contains(PIN), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpp_signs_on_its_token_with_ecdsa_and_rsa() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    let bank = Process::serve(folder.path(), &pki).await;
    for (party, identity) in [("bank-a", &pki.bank_a.qwac), ("bank-r", &pki.bank_r.qwac)] {
        token.import(party, &identity.key_pem);
        let key = token.uri(Some(party));
        let mut command = client(&token, folder.path(), &bank, party, &key);
        let output = command
            .args(["consent", "status", "none"])
            .output()
            .unwrap();
        let said = both(&output);
        assert!(said.contains("403 CONSENT_UNKNOWN"), "{party}: {said}");
    }
    // The key of another certificate.
    let key = token.uri(Some("bank-r"));
    let output = client(&token, folder.path(), &bank, "bank-a", &key)
        .args(["consent", "status", "none"])
        .output()
        .unwrap();
    let said = both(&output);
    assert!(said.contains("names no private key of that kind"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_key_is_told_at_its_place() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    token.import("qwac", &pki.bank_b.qwac.key_pem);
    token.import("other", &pki.bank_a.qwac.key_pem);
    let good = token.uri(Some("qwac"));
    let check = |key: &str| {
        configure(folder.path(), "pki/bank-b/qwac.pem", key);
        let output = token
            .own("bank-server")
            .args(["check", "--config"])
            .arg(folder.path().join("bank.toml"))
            .output()
            .unwrap();
        let said = both(&output);
        assert!(!said.contains(PIN) && !said.contains("111111"), "{said}");
        (output.status.success(), said)
    };
    let (is_good, said) = check(&good);
    assert!(is_good, "{said}");
    let module = SoftToken::module().display().to_string();
    for (key, says) in [
        (
            good.replace("token=bank", "token=bonk"),
            "names a token that is not there",
        ),
        (
            good.replace("object=qwac", "object=none"),
            "names no private key of that kind",
        ),
        (
            good.replace("object=qwac", "object=other"),
            "names 1 private keys, none of which belongs",
        ),
        (
            good.replace(&module, "/none.so"),
            "needs the module /none.so, which cannot be loaded",
        ),
        (
            good.replace("&pin-source", "&pin-sauce"),
            "has the attribute pin-sauce, which is not used",
        ),
        (
            good.replace("pin-source=file:", "pin-value=111111&module-name="),
            "holds the PIN itself",
        ),
        (
            token.uri(None).split("&pin").next().unwrap().to_owned(),
            "demands a PIN",
        ),
    ] {
        let (is_good, said) = check(&key);
        assert!(
            !is_good && said.contains("xs2a.private_key") && said.contains(says),
            "{key}: {said}"
        );
    }
    token.write_pin("111111");
    let (_, said) = check(&good);
    assert!(said.contains("that the token has refused"), "{said}");
    token.write_pin("");
    assert!(check(&good).1.contains("which is empty"));
    token.write_pin(PIN);
    fs::set_permissions(token.pin_file(), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(
        check(&good)
            .1
            .contains("which is open to others; run chmod 600")
    );
    fs::remove_file(token.pin_file()).unwrap();
    assert!(check(&good).1.contains("cannot be read"));
}

/// Real tokens lock after a few wrong PINs. SoftHSM does not: that the right PIN is not tried either
/// while it is the one that was refused shows that none is.
#[tokio::test(flavor = "multi_thread")]
async fn a_pin_that_was_refused_is_not_tried_again() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    token.import("qwac", &pki.bank_b.qwac.key_pem);
    configure(
        folder.path(),
        "pki/bank-b/qwac.pem",
        &token.uri(Some("qwac")),
    );
    let bank = serve(&token, folder.path(), &pki.bank_a.qwac).await;
    token.change_pin(PIN, "111111");
    // New sessions need a log-in.
    token.pull();
    wait_until_ready(&bank, "HTTP/1.1 503", "names a token that is not there").await;
    token.put_back();
    wait_until_ready(&bank, "HTTP/1.1 503", "that the token has refused").await;
    token.change_pin("111111", PIN);
    let uptime = Instant::now();
    let refused = || ready(&bank).contains("that the token has refused");
    // The check runs each second.
    wait_for("three checks", || {
        assert!(refused());
        (uptime.elapsed() > Duration::from_secs(3)).then_some(())
    })
    .await;
    token.change_pin(PIN, "222222");
    token.write_pin("222222");
    wait_until_ready(&bank, "HTTP/1.1 200", "\"problems\":[]").await;
    assert!(is_served(&bank, Tls::V1_3));
}

/// An authority whose keys were made on the token issues a certificate, a list and OCSP answers,
/// and our bank believes them.
#[tokio::test(flavor = "multi_thread")]
async fn an_authority_signs_on_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = SoftToken::make();
    token.generate("root", "EC:secp384r1");
    token.generate("issuing", "EC:secp384r1");
    token.generate("small", "EC:prime256v1");
    let (root, issuing) = (token.uri(Some("root")), token.uri(Some("issuing")));
    let run = |arguments: &[&str]| {
        let mut command = token.own("scheme-ca");
        let output = command
            .current_dir(folder.path())
            .args(["--dir", "ca"])
            .args(arguments)
            .output()
            .unwrap();
        (output.status.success(), both(&output))
    };
    let found = |root: &str, issuing: &str| {
        let mut arguments = vec!["init", "--name", "CA9", "--country", "FR", "--by", "Frida"];
        arguments.extend(["--base", "http://ca9.example"]);
        arguments.extend(["--root-key", root, "--issuing-key", issuing]);
        run(&arguments)
    };
    let small = token.uri(Some("small"));
    let (is_founded, said) = found(&root, &small);
    assert!(
        !is_founded && said.contains("names a key that is not on P-384"),
        "{said}"
    );
    let (is_founded, said) = found(&root, &issuing);
    assert!(is_founded, "{said}");
    let file = |name: &str| fs::read_to_string(folder.path().join("ca").join(name)).unwrap();
    assert_eq!(file("root.key").trim(), root);
    assert_eq!(file("issuing.key").trim(), issuing);

    let pki = Pki::make(SystemClock.now()).unwrap();
    pki.write(&folder.path().join("pki"), SystemClock.now())
        .unwrap();
    let key = tests::issuing::key();
    let request = fixtures::pki::request("bank-a.example", &key).unwrap();
    fs::write(folder.path().join("bank.csr"), request).unwrap();
    let apply = [
        "apply",
        "--csr",
        "bank.csr",
        "--organisation",
        "PSDDE-BAFIN-100001",
    ];
    let applicant = [
        "--host",
        "bank-a.example",
        "--role",
        "PSP_AI",
        "--by",
        "Anton",
    ];
    let (is_done, number) = run(&[&apply[..], &applicant[..]].concat());
    assert!(is_done, "{number}");
    let number = number.trim();
    let (is_done, said) = run(&["vet", number, "--evidence", "seen", "--by", "Vera"]);
    assert!(is_done, "{said}");
    let register = ["--register", "pki/register.json", "--by", "Ines"];
    let (is_done, chain) = run(&[&["issue", number][..], &register[..]].concat());
    assert!(is_done, "{chain}");

    let anchors = Anchors::from_pem(file("root.pem").as_bytes()).unwrap();
    let chain: Vec<CertificateDer<'static>> = X509::stack_from_pem(chain.as_bytes())
        .unwrap()
        .iter()
        .map(|one| one.to_der().unwrap().into())
        .collect();
    let now = SystemClock.unix();
    judge(&anchors, &chain[0], &chain[1..], Usage::Client, now).unwrap();
    let (is_done, said) = run(&["crl"]);
    assert!(is_done, "{said}");
    for name in ["root", "issuing"] {
        let certificate = X509::from_pem(file(&format!("{name}.pem")).as_bytes()).unwrap();
        let list = fs::read(folder.path().join(format!("ca/published/{name}.crl"))).unwrap();
        let list = openssl::x509::X509Crl::from_der(&list).unwrap();
        assert!(
            list.verify(&certificate.public_key().unwrap()).unwrap(),
            "{name}"
        );
    }
}

/// Connects again and again, and counts who was served and who was not.
struct Load {
    is_over: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(bank: &Process) -> Self {
        let mut load = Self {
            is_over: Arc::default(),
            served: Arc::default(),
            refused: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..4 {
            let (is_over, tpp) = (Arc::clone(&load.is_over), bank.tpp.clone());
            let (served, refused) = (Arc::clone(&load.served), Arc::clone(&load.refused));
            load.threads.push(std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let met = call(
                        tpp.bank,
                        Some(&tpp.identity),
                        Tls::V1_3,
                        LAST_STATUS_REQUEST,
                    );
                    let count = match met.unwrap().reaction {
                        Reaction::Http(_) => &served,
                        _ => &refused,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        load
    }

    /// Waits until more connections have been served, or refused.
    async fn more(&self, of: &AtomicUsize) {
        let before = of.load(Ordering::Relaxed);
        wait_for("more connections", || {
            (of.load(Ordering::Relaxed) > before + 20).then_some(())
        })
        .await;
    }

    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_pulled_under_load_and_comes_back() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    token.import("qwac", &pki.bank_b.qwac.key_pem);
    configure(
        folder.path(),
        "pki/bank-b/qwac.pem",
        &token.uri(Some("qwac")),
    );
    let bank = serve(&token, folder.path(), &pki.bank_a.qwac).await;
    let mut open = HeldConnection::accepted(bank.tpp.bank, &pki.bank_a.qwac);
    let load = Load::start(&bank);
    load.more(&load.served).await;

    token.pull();
    wait_until_ready(&bank, "HTTP/1.1 503", "xs2a.private_key: pkcs11:token=bank").await;
    load.more(&load.refused).await;
    assert_eq!(open.get_status().status, 403, "an open connection goes on");

    token.put_back();
    wait_until_ready(&bank, "HTTP/1.1 200", "\"trust\":\"ready\"").await;
    load.more(&load.served).await;
    let refused = load.refused.load(Ordering::Relaxed);
    load.more(&load.served).await;
    assert_eq!(load.refused.load(Ordering::Relaxed), refused);
    load.end();
    let log = fs::read_to_string(&bank.log).unwrap();
    for event in [
        "token of the private key has a problem",
        "token of the private key works again",
    ] {
        assert!(log.contains(event), "{event}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_brings_its_key_along_without_a_restart() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    token.import("2026", &pki.bank_b.qwac.key_pem);
    // The URI names the token alone.
    configure(folder.path(), "pki/bank-b/qwac.pem", &token.uri(None));
    let bank = serve(&token, folder.path(), &pki.bank_a.qwac).await;
    let mut open = HeldConnection::accepted(bank.tpp.bank, &pki.bank_a.qwac);
    let certificate = folder.path().join("pki/bank-b/qwac.pem");

    let next = pki
        .enrol(&bank_b(), &Wanted::default(), SystemClock.now())
        .unwrap();
    replace(&certificate, &next.chain_pem);
    let missing = "names 1 private keys, none of which belongs to the certificate";
    wait_until_ready(&bank, "HTTP/1.1 200", missing).await;
    assert_eq!(
        shown(&bank),
        leaf(&pki.bank_b.qwac),
        "the previous pair stays"
    );

    token.import("2027", &next.key_pem);
    wait_for("the new certificate", || {
        (shown(&bank) == leaf(&next)).then_some(())
    })
    .await;
    wait_until_ready(&bank, "HTTP/1.1 200", "\"problems\":[]").await;
    assert!(is_served(&bank, Tls::V1_3));
    assert_eq!(open.get_status().status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_the_uri_is_reloaded_with_the_certificate() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    token.import("2026", &pki.bank_b.qwac.key_pem);
    let path = |name: &str| folder.path().join("pki/bank-b").join(name);
    replace(&path("qwac.key"), token.uri(Some("2026")));
    configure(folder.path(), "pki/bank-b/qwac.pem", "pki/bank-b/qwac.key");
    let bank = serve(&token, folder.path(), &pki.bank_a.qwac).await;
    assert_eq!(shown(&bank), leaf(&pki.bank_b.qwac));

    let next = pki
        .enrol(&bank_b(), &Wanted::default(), SystemClock.now())
        .unwrap();
    token.import("2027", &next.key_pem);
    replace(&path("qwac.key"), token.uri(Some("2027")));
    replace(&path("qwac.pem"), &next.chain_pem);
    wait_for("the new certificate", || {
        (shown(&bank) == leaf(&next)).then_some(())
    })
    .await;

    // And back to a file.
    replace(&path("qwac.key"), &pki.bank_b.qwac.key_pem);
    replace(&path("qwac.pem"), &pki.bank_b.qwac.chain_pem);
    wait_for("the old certificate", || {
        (shown(&bank) == leaf(&pki.bank_b.qwac)).then_some(())
    })
    .await;
}

/// The bank has one worker: a signature that is waited for there would stall everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hangs_or_goes_away_stalls_nothing_else() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    token.import("qwac", &pki.bank_b.qwac.key_pem);
    let server = TokenServer::start(&token);
    configure(
        folder.path(),
        "pki/bank-b/qwac.pem",
        &TokenServer::uri(&token, "qwac"),
    );
    let configuration = folder.path().join("bank.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    fs::write(
        &configuration,
        text.replace("[xs2a]", "[xs2a]\nworkers = 1"),
    )
    .unwrap();
    let command = token.own("bank-server");
    let bank = Process::started_by(command, &configuration, &pki.bank_a.qwac).await;
    let mut open = HeldConnection::accepted(bank.tpp.bank, &pki.bank_a.qwac);
    assert!(is_served(&bank, Tls::V1_3));

    server.hang();
    let load = Load::start(&bank);
    let mut slowest = Duration::ZERO;
    let unready = "names a token that has not answered within";
    wait_for(unready, || {
        let start = Instant::now();
        assert_eq!(open.get_status().status, 403);
        let answer = ready(&bank);
        slowest = slowest.max(start.elapsed());
        (answer.starts_with("HTTP/1.1 503") && answer.contains(unready)).then_some(())
    })
    .await;
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    // New connections do not wait any more.
    load.more(&load.refused).await;

    server.go_on();
    wait_until_ready(&bank, "HTTP/1.1 200", "\"problems\":[]").await;
    load.more(&load.served).await;

    drop(server);
    wait_until_ready(&bank, "HTTP/1.1 503", "xs2a.private_key: pkcs11:token=bank").await;
    load.more(&load.refused).await;
    let _server = TokenServer::start(&token);
    wait_until_ready(&bank, "HTTP/1.1 200", "\"problems\":[]").await;
    load.more(&load.served).await;
    load.end();
    assert_eq!(open.get_status().status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_are_served_with_a_key_on_the_token() {
    let (folder, pki) = prepare().await;
    let token = SoftToken::make();
    token.import("pages", &pki.bank_b.qwac.key_pem);
    let configuration = folder.path().join("bank.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    let pages = format!(
        "[online_banking]\nlisten = \"127.0.0.1:0\"\norigin = \"https://localhost:0\"\n\
         certificate = \"pki/bank-b/qwac.pem\"\nprivate_key = \"{}\"\n",
        token.uri(Some("pages"))
    );
    fs::write(&configuration, format!("{text}\n{pages}")).unwrap();
    let bank = serve(&token, folder.path(), &pki.bank_a.qwac).await;
    let log = fs::read_to_string(&bank.log).unwrap();
    let (_, after) = log.split_once("https://localhost:").unwrap();
    let port = after.split('"').next().unwrap();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let request =
        format!("GET /log-in HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    for tls in [Tls::V1_3, Tls::V1_2] {
        let met = call(address, None, tls, &request).unwrap().reaction;
        let Reaction::Http(answer) = met else {
            panic!("{met:?}")
        };
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // The pages alone are out: TPPs are served.
    token.pull();
    let problem = "online_banking.private_key: pkcs11:token=bank;object=pages";
    wait_until_ready(&bank, "HTTP/1.1 200", problem).await;
    assert!(is_served(&bank, Tls::V1_3));
    token.put_back();
    wait_until_ready(&bank, "HTTP/1.1 200", "\"problems\":[]").await;
}

/// Banks, TPPs and an authority of the sandbox sign on a token: the whole story ends as ever.
#[test]
fn the_sandbox_tells_the_whole_story_with_keys_on_a_token() {
    let (folder, token) = (tempfile::tempdir().unwrap(), SoftToken::make());
    let run = || {
        let mut sandbox = token.own("sandbox");
        let sandbox = sandbox.args(["--once", "--port-base", "0", "--dir"]);
        let output = sandbox.arg(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
    };
    run();
    let keys = [
        "pki/bank-a/qwac.key",
        "pki/bank-b/qwac.key",
        "pki/budget-app/qwac.key",
        "scheme-ca/ca1/root.key",
        "scheme-ca/ca1/issuing.key",
    ];
    for key in keys {
        let file = folder.path().join(key);
        let label = key.replace('/', "-");
        token.import(&label, &fs::read_to_string(&file).unwrap());
        replace(&file, token.uri(Some(&label)));
    }
    run();
    for key in keys {
        let text = fs::read_to_string(folder.path().join(key)).unwrap();
        assert!(text.starts_with("pkcs11:"), "{key} is made anew");
    }
}

/// The folder of the token that a process has been given.
const TOKEN_FOLDER: &str = "TOKEN_FOLDER";

/// Runs a test of this module in a process that sees a token.
fn in_a_process_with_a_token(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "--nocapture"])
        .arg(format!("keys_on_tokens::{test}"))
        .envs(SoftToken::variables(folder.path()))
        .env(TOKEN_FOLDER, folder.path())
        .output()
        .unwrap();
    let said = both(&output);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn the_sdk_reports_a_token_that_is_gone_and_goes_on_when_it_is_back() {
    in_a_process_with_a_token("within_the_process_of_an_app");
}

/// The app has one thread.
#[tokio::test]
#[ignore = "needs a token: run by the test above"]
async fn within_the_process_of_an_app() {
    let folder = std::env::var_os(TOKEN_FOLDER).unwrap();
    let token = SoftToken::make_in(Path::new(&folder));
    let (bank, _) = LoneBank::mocked(Manners::Honest).await;
    token.import("app", &bank.pki.bank_a.qwac.key_pem);
    let mut server = TokenServer::start(&token);
    let handle = |uri: String| {
        let own = Identity {
            chain_pem: bank.pki.bank_a.qwac.chain_pem.clone(),
            key_pem: uri,
        };
        bank.builder_for(bank.front, BANK_B, &own).build().unwrap()
    };
    // Each handle makes its connection with the first call that succeeds. The bank knows nothing.
    let call = async |handle: &Bank| handle.consent_status("none").await.unwrap_err();
    let is_reached = |error: &Error| matches!(error.kind, ErrorKind::Status { status: 404, .. });
    let reached = call(&handle(token.uri(Some("app")))).await;
    assert!(is_reached(&reached), "{reached:?}");
    let [first, second] = [(); 2].map(|()| handle(TokenServer::uri(&token, "app")));

    server.hang();
    let (started, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    let calling = call(&first);
    tokio::pin!(calling);
    let error = loop {
        let tick = tokio::time::sleep(Duration::from_millis(5));
        let ended = tokio::select! {
            error = &mut calling => Some(error),
            () = tick => None,
        };
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if let Some(error) = ended {
            break error;
        }
    };
    assert!(matches!(error.kind, ErrorKind::OwnKey { .. }), "{error:?}");
    assert!(error.is_transient() && error.is_unasked());
    let said = error.to_string();
    assert!(said.contains("has not answered within"), "{said}");
    assert!(started.elapsed() > Duration::from_secs(1));
    assert!(
        longest < Duration::from_secs(1),
        "the app stood still for {longest:?}"
    );

    server.go_on();
    let goes_on = async |handle: &Bank| is_reached(&call(handle).await).then_some(());
    wait_until("the token", async || goes_on(&first).await).await;

    drop(server);
    let error = call(&second).await;
    assert!(matches!(error.kind, ErrorKind::OwnKey { .. }), "{error:?}");
    server = TokenServer::start(&token);
    wait_until("the token", async || goes_on(&second).await).await;
    drop(server);
}
