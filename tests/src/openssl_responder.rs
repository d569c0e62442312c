//! OpenSSL as the OCSP responder of an authority, and a bank that queries it.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bank_client::environment::{Clock as _, ManualClock, SystemClock};
use bank_server::config::Config;
use bank_server::transport::listener::{ConnectionObserver, RejectedConnection};
use bank_server::{BankServer, RunningBank};
use chrono::{DateTime, TimeDelta, Utc};
use fixtures::openssl_client::{Reaction, Tls, call};
use fixtures::pki::{Identity, Pki};
use openssl::x509::X509;
use tempfile::TempDir;

use crate::child_process::ChildProcess;
use crate::http::LAST_STATUS_REQUEST;
use crate::ports;
use crate::process::bank_toml;
use crate::programs::{both, system};
use crate::wait::wait_for;

/// An authority whose certificates name a responder on this machine.
pub struct World {
    pub folder: TempDir,
    pub pki: Pki,
    pub clock: Arc<ManualClock>,
    pub responder: SocketAddr,
}

impl World {
    pub fn make() -> Self {
        let responder = ports::free();
        let now = SystemClock.now();
        let base = format!("http://{responder}");
        let pki = Pki::make_at(
            ["CA1", "CA2"],
            [&base, "http://ca2.example"],
            TimeDelta::days(729),
            now,
        )
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        pki.write(&folder.path().join("pki"), now).unwrap();
        pki.ca1.keep_in(&folder.path().join("ca1"), now).unwrap();
        pki.ca2.keep_in(&folder.path().join("ca2"), now).unwrap();
        Self {
            folder,
            pki,
            clock: Arc::new(ManualClock::at(now)),
            responder,
        }
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Bank B, with the root's CRL and no CRL of the issuing CA: the status of TPPs comes from the
    /// responder alone, which has 15 s for each response.
    pub async fn bank(&self, unknown_status: &str, ocsp: &str) -> Bank {
        self.bank_that_waits(15, unknown_status, ocsp).await
    }

    /// Like `bank`, with a timeout for each OCSP response.
    pub async fn bank_that_waits(
        &self,
        response_timeout_seconds: u64,
        unknown_status: &str,
        ocsp: &str,
    ) -> Bank {
        let number = fs::read_dir(self.folder.path()).unwrap().count();
        let file = self.path(&format!("bank-{number}.toml"));
        let revocation = format!(
            r#"
            lists = ["pki/ca1/root.crl"]
            refresh_interval_seconds = 1
            allow_local_addresses = true
            unknown_status = "{unknown_status}"
            ocsp = {{ peers = true, response_timeout_seconds = {response_timeout_seconds}{ocsp} }}
            "#
        );
        let store = format!("{{ path = \"bank-{number}.db\" }}");
        let text = bank_toml("Bank B", &store, &revocation);
        // The wait for the responder is a part of the handshake.
        let limits = "[limits]\nhandshake_timeout_seconds = 30\n";
        fs::write(&file, text + limits).unwrap();
        let config = Config::read(&file).unwrap();
        let witness = Arc::new(Witness::default());
        let running = BankServer::new(config)
            .clock(Arc::clone(&self.clock) as Arc<ManualClock>)
            .observer(Arc::clone(&witness) as Arc<dyn ConnectionObserver>)
            .start()
            .await
            .unwrap();
        Bank { running, witness }
    }

    /// Writes the responder's index of good and revoked certificates, in OpenSSL's CA format.
    pub fn index(&self, good: &[&Identity], revoked: &[(&Identity, DateTime<Utc>, &str)]) {
        let time = |time: DateTime<Utc>| time.format("%y%m%d%H%M%SZ").to_string();
        let end = time(self.clock.now() + TimeDelta::days(700));
        let good = good
            .iter()
            .map(|identity| serial_of(identity))
            .map(|serial| format!("V\t{end}\t\t{serial}\tunknown\t/CN={serial}\n"));
        let revoked = revoked.iter().map(|(identity, since, reason)| {
            let (since, serial) = (time(*since), serial_of(identity));
            format!("R\t{end}\t{since},{reason}\t{serial}\tunknown\t/CN={serial}\n")
        });
        fs::write(
            self.path("index.txt"),
            good.chain(revoked).collect::<String>(),
        )
        .unwrap();
    }

    /// Starts OpenSSL's responder, which signs with that certificate and key.
    pub fn respond(&self, signer: (&Path, &Path), more: &[&str]) -> ChildProcess {
        let child = ChildProcess::spawn(
            system("openssl")
                .args(["ocsp", "-port", &self.responder.port().to_string()])
                .arg("-index")
                .arg(self.path("index.txt"))
                .arg("-CA")
                .arg(self.path("ca1/issuing.pem"))
                .arg("-rsigner")
                .arg(signer.0)
                .arg("-rkey")
                .arg(signer.1)
                .args(more)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped()),
        );
        // A connection to check that it listens would be a client that it waits for.
        let listening = "waiting for OCSP client connections";
        child.line(|line| line.contains(listening).then_some(()));
        child
    }

    /// The CA itself signs.
    pub fn respond_as_ca(&self, more: &[&str]) -> ChildProcess {
        let (certificate, key) = (self.path("ca1/issuing.pem"), self.path("ca1/issuing.key"));
        self.respond((&certificate, &key), more)
    }

    /// A certificate of CA1 for answering, made by OpenSSL with those extensions.
    pub fn delegate(
        &self,
        name: &str,
        extensions: &str,
    ) -> (std::path::PathBuf, std::path::PathBuf) {
        let file = |suffix: &str| self.path(&format!("{name}.{suffix}"));
        let (key, request) = (file("key"), file("csr"));
        let (certificate, extension_file) = (file("pem"), file("ext"));
        fs::write(&extension_file, extensions).unwrap();
        let done = system("openssl")
            .args([
                "req",
                "-new",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=Responder",
            ])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&request)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", both(&done));
        let done = system("openssl")
            .args(["x509", "-req", "-days", "7", "-set_serial", "4711", "-in"])
            .arg(&request)
            .arg("-CA")
            .arg(self.path("ca1/issuing.pem"))
            .arg("-CAkey")
            .arg(self.path("ca1/issuing.key"))
            .arg("-extfile")
            .arg(&extension_file)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", both(&done));
        (certificate, key)
    }
}

/// A certificate's serial number, in OpenSSL's hexadecimal.
pub fn serial_of(identity: &Identity) -> String {
    let certificate = X509::from_pem(identity.chain_pem.as_bytes()).unwrap();
    let number = certificate.serial_number().to_bn().unwrap();
    number.to_hex_str().unwrap().to_string()
}

#[derive(Default)]
struct Witness(Mutex<HashMap<SocketAddr, String>>);

impl ConnectionObserver for Witness {
    fn connection_rejected(&self, peer: &RejectedConnection) {
        let mut seen = self.0.lock().unwrap();
        seen.insert(peer.address, peer.reason.to_string());
    }
}

pub struct Bank {
    pub running: RunningBank,
    witness: Arc<Witness>,
}

impl Bank {
    /// The outcome of a request: the status line, the alert, or the reason of a closed connection.
    pub async fn ask(&self, identity: &Identity) -> String {
        let (address, identity) = (self.running.xs2a_address(), identity.clone());
        let outcome = tokio::task::spawn_blocking(move || {
            call(address, Some(&identity), Tls::V1_3, LAST_STATUS_REQUEST).unwrap()
        });
        let outcome = outcome.await.unwrap();
        match outcome.reaction {
            Reaction::Http(answer) => String::from_utf8_lossy(&answer)[..12].to_owned(),
            Reaction::Alert(alert) => format!("alert {alert}"),
            Reaction::Closed => {
                wait_for("the bank's reason", || {
                    self.witness.0.lock().unwrap().get(&outcome.from).cloned()
                })
                .await
            }
        }
    }
}
