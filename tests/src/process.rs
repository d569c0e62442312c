//! Bank B as a separate process, without accounts.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::pki::{Identity, Pki};
use serde_json::Value;
use tempfile::TempDir;

use crate::banks;
use crate::child_process::ChildProcess;
use crate::http::Tpp;
use crate::programs::own;
use crate::stores;

/// It runs until it is dropped.
pub struct Process {
    pub child: ChildProcess,
    pub tpp: Tpp,
    /// The operators' listener.
    pub operator: SocketAddr,
    /// Its standard error.
    pub log: PathBuf,
}

/// The certificates and the configuration of Bank B, in a folder of their own.
pub async fn prepare() -> (TempDir, Pki) {
    prepare_with(&stores::section().await)
}

/// With that section `[store]`.
pub fn prepare_with(store: &str) -> (TempDir, Pki) {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::make(SystemClock.now()).unwrap();
    pki.write(&folder.path().join("pki"), SystemClock.now())
        .unwrap();
    let lists = r#"lists = ["pki/ca1/root.crl", "pki/ca1/issuing.crl"]"#;
    let text = bank_toml("Bank B", store, lists);
    fs::write(folder.path().join("bank.toml"), text).unwrap();
    (folder, pki)
}

/// A `bank.toml` with the certificates of Bank B, below `pki`; `revocation` is the content of that
/// section.
pub fn bank_toml(name: &str, store: &str, revocation: &str) -> String {
    format!(
        r#"
            bank = {{ name = "{name}" }}
            operator = {{ listen = "127.0.0.1:0" }}
            store = {store}
            log = {{ format = "json" }}
            [xs2a]
            listen = "127.0.0.1:0"
            certificate = "pki/bank-b/qwac.pem"
            private_key = "pki/bank-b/qwac.key"
            anchors = ["pki/ca1/root.pem"]
            intermediates = ["pki/ca1/issuing.pem"]
            [revocation]
            {revocation}
            [register]
            file = "pki/register.json"
        "#
    )
}

/// The configuration of a bank that runs already for another replica of it, in a file of that name
/// beside it: at ports that the system chooses, with a log for programs, with some lines changed,
/// and with more sections.
pub fn replica_of(
    configuration: &Path,
    name: &str,
    more: &str,
    change: impl Fn(&str) -> Option<String>,
) -> PathBuf {
    let text = fs::read_to_string(configuration).unwrap();
    let lines = text.lines().map(|line| {
        if line.starts_with("listen = ") {
            "listen = \"127.0.0.1:0\"".to_owned()
        } else {
            change(line).unwrap_or_else(|| line.to_owned())
        }
    });
    let lines: Vec<String> = lines.collect();
    let text = format!("{}\n[log]\nformat = \"json\"\n{more}\n", lines.join("\n"));
    let path = configuration.with_file_name(format!("{name}.toml"));
    fs::write(&path, text).unwrap();
    path
}

impl Process {
    /// Starts it, and waits until it serves.
    pub async fn serve(folder: &Path, pki: &Pki) -> Self {
        Self::configured(&folder.join("bank.toml"), &pki.bank_a.qwac).await
    }

    /// Starts a bank with this configuration, whose log is JSON, and waits until it serves requests
    /// that present the client's certificate.
    pub async fn configured(configuration: &Path, client: &Identity) -> Self {
        Self::started_by(own("bank-server"), configuration, client).await
    }

    /// Like `configured`, as a child of a command that executes `bank-server` with its arguments.
    pub async fn started_by(mut command: Command, configuration: &Path, client: &Identity) -> Self {
        let log = configuration.with_extension("log");
        let mut child = ChildProcess::spawn(
            command
                .args(["serve", "--config"])
                .arg(configuration)
                .stderr(fs::File::create(&log).unwrap()),
        );
        let serving = || {
            let text = fs::read_to_string(&log).ok()?;
            let line = text
                .lines()
                .find(|line| line.contains(r#""message":"serving""#))?;
            serde_json::from_str(line).ok()
        };
        let started: Value = child.wait_for("the bank's addresses", &log, serving).await;
        let address = |listener: &str| started[listener].as_str().unwrap().parse().unwrap();
        Self {
            child,
            tpp: Tpp::new(address("xs2a"), client.clone()),
            operator: address("operator"),
            log,
        }
    }

    /// Number of open file descriptors.
    pub fn descriptors(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        open.count()
    }

    /// Number of open connections of TPPs.
    pub fn connections(&self) -> usize {
        self.sockets().len()
    }

    /// Bytes that TPPs have sent and the bank has not read.
    pub fn unread_bytes(&self) -> u64 {
        let sockets = self.sockets();
        let unread = sockets.iter().map(|socket| {
            // "tx_queue:rx_queue", in hexadecimal.
            let (_, unread) = socket[4].split_once(':').unwrap();
            u64::from_str_radix(unread, 16).unwrap()
        });
        unread.sum()
    }

    /// The fields of each open connection of a TPP, as the system lists them.
    fn sockets(&self) -> Vec<Vec<String>> {
        const LISTENS: &str = "0A";
        /// The process has closed it, and the system has not.
        const NO_INODE: &str = "0";

        let table = fs::read_to_string(format!("/proc/{}/net/tcp", self.child.id())).unwrap();
        let port = format!(":{:04X}", self.tpp.bank.port());
        // Its number, the local address, the other one, the state, ..., the inode.
        table
            .lines()
            .map(|line| {
                line.split_whitespace()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .filter(|line| line[1].ends_with(&port) && line[3] != LISTENS && line[9] != NO_INODE)
            .collect()
    }
}

/// Body of a consent request for all accounts, four times a day.
pub fn consent_body(valid_until: &str) -> String {
    banks::consent_body(&valid_until.into(), 4).to_string()
}
