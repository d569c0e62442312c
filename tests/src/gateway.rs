//! Real gateways in front of a bank, with the configurations of `docs/gateways`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bank_client::environment::Clock as _;
use bank_server::config::{Config, GatewayListenerConfig, HeaderForm};
use bank_server::core_banking::ledger::import;
use bank_server::store::Database;
use bank_server::{BankServer, RunningBank};
use chrono::{DateTime, TimeDelta, Utc};
use fixtures::pki::Identity;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::{X509Builder, X509NameBuilder};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use crate::banks::Banks;
use crate::child_process::{ChildProcess, OnDrop};
use crate::ports;
use crate::programs::system;
use crate::stores;

/// Bank B once more, with its customers, and with a listener for gateways.
pub struct GatewayListener {
    pub bank: RunningBank,
    pub config: Config,
    pub gateway: Identity,
}

impl GatewayListener {
    pub async fn start(banks: &Banks, form: HeaderForm) -> Self {
        Self::start_with(banks, form, |_| {}).await
    }

    pub async fn start_with(
        banks: &Banks,
        form: HeaderForm,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let folder = banks.folder.path();
        let gateway = self_signed("gateway", banks.clock.now(), TimeDelta::days(700));
        let pinned = folder.join("gateway.pem");
        fs::write(&pinned, &gateway.chain_pem).unwrap();
        let mut config = Config::read(&folder.join("bank-b.toml")).unwrap();
        config.store.location = stores::empty(&folder.join("gateway_listener.db")).await;
        config.gateway_listener = Some(GatewayListenerConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            gateways: vec![pinned],
            header: form,
            header_name: None,
            max_connections: 1000,
        });
        change(&mut config);
        let world = fs::read(folder.join("world/bank-b.jsonl")).unwrap();
        let database = Database::open(&config.store.location).await.unwrap();
        import(&database, banks.today(), world.as_slice())
            .await
            .unwrap();
        database.close().await;
        let clock = Arc::clone(&banks.clock);
        let bank = BankServer::new(config.clone()).clock(clock).start();
        Self {
            // Boxed: a configuration is large.
            bank: Box::pin(bank).await.unwrap(),
            config,
            gateway,
        }
    }

    /// The address for gateways.
    pub fn address(&self) -> SocketAddr {
        self.bank.gateway_address().unwrap()
    }
}

/// A self-signed certificate.
pub fn self_signed(name: &str, now: DateTime<Utc>, valid_for: TimeDelta) -> Identity {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let time = |time: DateTime<Utc>| Asn1Time::from_unix(time.timestamp()).unwrap();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&time(now - TimeDelta::hours(1)))
        .unwrap();
    builder.set_not_after(&time(now + valid_for)).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let text = |pem: Vec<u8>| String::from_utf8(pem).unwrap();
    Identity {
        chain_pem: text(builder.build().to_pem().unwrap()),
        key_pem: text(key.private_key_to_pem_pkcs8().unwrap()),
    }
}

/// The gateways that the documentation has configurations for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    HaProxy,
    Nginx,
}

/// The peers that a gateway lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// For a certificate of CA1, as documented.
    Ca1,
    /// For any certificate or none: the bank alone judges.
    Nothing,
}

impl Kind {
    pub fn form(self) -> HeaderForm {
        match self {
            Self::HaProxy => HeaderForm::Rfc9440,
            Self::Nginx => HeaderForm::NginxEscapedPem,
        }
    }
}

/// A gateway that runs, until it is dropped.
pub struct Gateway {
    pub address: SocketAddr,
    _child: ChildProcess,
    _folder: TempDir,
}

impl Gateway {
    /// Starts it with the documentation's configuration, in which names and paths are replaced by
    /// those of the test.
    pub async fn start(
        kind: Kind,
        asks: Asks,
        banks: &Banks,
        own: &Identity,
        behind: SocketAddr,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        let write = |name: &str, content: String| {
            fs::write(folder.path().join(name), content).unwrap();
        };
        let bank = &banks.sandbox.pki.bank_b.qwac;
        // HAProxy takes certificate and key from one file, nginx from two.
        for (name, identity) in [("bank", bank), ("gateway", own)] {
            let pem = identity.chain_pem.clone() + identity.key_pem.as_str();
            write(&format!("{name}.pem"), pem);
            write(&format!("{name}.key"), identity.key_pem.clone());
        }
        write("ca1.pem", banks.sandbox.pki.ca1.root_pem().unwrap());
        let address = ports::free();
        let (file, mut changes) = match kind {
            Kind::HaProxy => (
                "haproxy.cfg",
                vec![
                    ("/etc/haproxy", place.to_owned()),
                    // On a busy machine a test can last longer than quiet connections do; it counts
                    // them.
                    ("pool-purge-delay 30s", "pool-purge-delay 10m".to_owned()),
                    ("bind :443", format!("bind {address}")),
                ],
            ),
            Kind::Nginx => (
                "nginx.conf",
                vec![
                    ("/etc/nginx", place.to_owned()),
                    ("listen 443", format!("listen {address}")),
                    ("http {", nginx_folders(place)),
                ],
            ),
        };
        changes.push(("bank.internal:8444", behind.to_string()));
        changes.push(("bank.example", "bank-b.example".to_owned()));
        if asks == Asks::Nothing {
            changes.push(match kind {
                Kind::HaProxy => (
                    "verify required alpn",
                    "verify optional ca-ignore-err all crt-ignore-err all alpn".to_owned(),
                ),
                Kind::Nginx => (
                    "ssl_verify_client on;",
                    "ssl_verify_client optional_no_ca;".to_owned(),
                ),
            });
        }
        write(file, documented(file, &changes));
        Self::launch(kind, folder, file, address).await
    }

    /// Starts it in front of the customers' pages, at that address, with the documentation's
    /// configuration.
    pub async fn for_pages(
        kind: Kind,
        own: &Identity,
        address: SocketAddr,
        behind: SocketAddr,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap().to_owned();
        let write = |name: &str, content: String| {
            fs::write(folder.path().join(name), content).unwrap();
        };
        write("pages.pem", own.chain_pem.clone() + own.key_pem.as_str());
        write("pages.key", own.key_pem.clone());
        let (file, mut changes) = match kind {
            Kind::HaProxy => (
                "pages-haproxy.cfg",
                vec![
                    ("/etc/haproxy", place),
                    ("bind :443", format!("bind {address}")),
                ],
            ),
            Kind::Nginx => (
                "pages-nginx.conf",
                vec![
                    ("http {", nginx_folders(&place)),
                    ("/etc/nginx", place),
                    ("listen 443", format!("listen {address}")),
                ],
            ),
        };
        changes.push(("127.0.0.1:8451", behind.to_string()));
        write(file, documented(file, &changes));
        Self::launch(kind, folder, file, address).await
    }

    async fn launch(kind: Kind, folder: TempDir, file: &str, address: SocketAddr) -> Self {
        let log = folder.path().join("log");
        let output = fs::File::create(&log).unwrap();
        let mut child = ChildProcess::spawn(
            command(kind, folder.path(), file)
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output),
        )
        .on_drop(OnDrop::Terminate);
        let listening = || std::net::TcpStream::connect(address).ok();
        child.wait_for("the gateway", &log, listening).await;
        Self {
            address,
            _child: child,
            _folder: folder,
        }
    }
}

fn command(kind: Kind, folder: &Path, file: &str) -> Command {
    match kind {
        Kind::HaProxy => {
            let mut command = system("haproxy");
            command.arg("-db").arg("-f").arg(folder.join(file));
            command
        }
        Kind::Nginx => {
            let mut command = system("nginx");
            let pid = folder.join("pid");
            command
                .args(["-g", &format!("daemon off; pid {};", pid.display())])
                .args(["-e", "stderr", "-c"])
                .arg(folder.join(file));
            command
        }
    }
}

/// nginx has folders of its own outside the configuration, which others than root may not write to.
pub fn nginx_folders(place: &str) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("    {name}_temp_path {place}/{name};\n"))
        .concat();
    format!("http {{\n{temporary}    access_log {place}/access.log;\n")
}

/// A configuration of the documentation, with these texts replaced. Each of them has to be there.
fn documented(file: &str, changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gateways");
    let mut text = fs::read_to_string(path.join(file)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file} has no {from}");
        text = text.replace(from, to);
    }
    text
}

/// Passes bytes on and counts the connections that the bank ends: what cannot be seen of a gateway
/// from outside. How many it opens is its own affair.
pub struct Relay {
    pub address: SocketAddr,
    ended: Arc<AtomicUsize>,
}

impl Relay {
    pub async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        tokio::spawn(async move {
            while let Ok((mut front, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut back = TcpStream::connect(behind).await.unwrap();
                    let (mut from_gateway, mut to_gateway) = front.split();
                    let (mut from_bank, mut to_bank) = back.split();
                    tokio::select! {
                        _ = tokio::io::copy(&mut from_gateway, &mut to_bank) => {}
                        _ = tokio::io::copy(&mut from_bank, &mut to_gateway) => {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        Self { address, ended }
    }

    /// The number of connections that the bank has ended so far.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}
