//! Authority operated through `scheme-ca`, with OpenSSL and curl as its clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::pki::{Pki, bank_a};
use openssl::x509::X509;
use shared_types::pki::register::Service;
use tempfile::TempDir;

use crate::child_process::ChildProcess;
use crate::programs::{both, own, system};

/// An authority in a folder of its own, with a register that licenses Bank A for all but payment
/// initiation.
pub struct Scene {
    folder: TempDir,
}

impl Scene {
    pub fn found() -> Self {
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let mut register = Pki::make(SystemClock.now()).unwrap().register;
        for entry in &mut register.organisations {
            for services in entry.services.values_mut() {
                services.remove(&Service::PaymentInitiation);
            }
        }
        let json = serde_json::to_string(&register).unwrap();
        fs::write(scene.path("register.json"), json).unwrap();
        let request = system("openssl")
            .args(["req", "-new", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=a"])
            .arg("-keyout")
            .arg(scene.path("bank.key"))
            .arg("-out")
            .arg(scene.path("bank.csr"))
            .output()
            .unwrap();
        assert!(request.status.success(), "{}", both(&request));
        scene.does(&[
            "init",
            "--name",
            "CA1",
            "--country",
            "FR",
            "--base",
            "http://ca1.example",
            "--by",
            "Frida",
        ]);
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Of the authority's own folder.
    pub fn of_ca(&self, name: &str) -> PathBuf {
        self.path("ca").join(name)
    }

    pub fn asks(&self, arguments: &[&str]) -> Output {
        own("scheme-ca")
            .arg("--dir")
            .arg(self.path("ca"))
            .args(arguments)
            .output()
            .unwrap()
    }

    pub fn does(&self, arguments: &[&str]) -> String {
        let done = self.asks(arguments);
        assert!(done.status.success(), "{arguments:?}: {}", both(&done));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// It refuses for that reason, and decides nothing.
    pub fn refuses(&self, arguments: &[&str], why: &str) {
        let before = self.does(&["record"]);
        let refused = self.asks(arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        assert!(
            refused.stdout.is_empty(),
            "{arguments:?}: {}",
            both(&refused)
        );
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(told.contains(why), "{arguments:?}: {told}");
        assert_eq!(self.does(&["record"]), before, "{arguments:?}");
    }

    pub fn applies(&self, request: &str, role: &str) -> Vec<String> {
        let id = bank_a().id.unwrap();
        let request = self.path(request).to_str().unwrap().to_owned();
        [
            "apply",
            "--csr",
            &request,
            "--organisation",
            &id,
            "--host",
            "bank-a.example",
        ]
        .into_iter()
        .chain(["--role", role, "--by", "Anton"])
        .map(str::to_owned)
        .collect()
    }

    /// An application's number.
    pub fn applied(&self, role: &str) -> String {
        let arguments = self.applies("bank.csr", role);
        self.does(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub fn vetted(&self, role: &str) -> String {
        let number = self.applied(role);
        self.does(&["vet", &number, "--evidence", "licence seen", "--by", "Vera"]);
        number
    }

    /// Writes a certificate to `leaf.pem`, and returns its serial number.
    pub fn issued(&self) -> String {
        let number = self.vetted("PSP_AI");
        let register = self.path("register.json");
        let register = register.to_str().unwrap();
        let chain = self.does(&["issue", &number, "--register", register, "--by", "Ines"]);
        fs::write(self.path("leaf.pem"), &chain).unwrap();
        let leaf = X509::from_pem(chain.as_bytes()).unwrap();
        leaf.serial_number()
            .to_bn()
            .unwrap()
            .to_hex_str()
            .unwrap()
            .to_lowercase()
    }

    /// Revokes the certificate with this serial number, which has a leading zero octet in the
    /// record if its first bit is set.
    pub fn revokes(&self, serial: &str, reason: &str) {
        let first = serial.chars().next().unwrap();
        let zero = if first.to_digit(16).unwrap() >= 8 {
            "00"
        } else {
            ""
        };
        self.does(&[
            "revoke",
            &format!("{zero}{serial}"),
            "--reason",
            reason,
            "--by",
            "Rita",
        ]);
    }
}

/// `scheme-ca serve`, as a process of its own.
pub struct Serving {
    pub child: ChildProcess,
    url: String,
}

impl Serving {
    pub fn start(scene: &Scene) -> Self {
        let child = ChildProcess::spawn(
            own("scheme-ca")
                .arg("--dir")
                .arg(scene.path("ca"))
                .args(["serve", "--listen", "127.0.0.1:0"])
                .stdout(Stdio::piped()),
        );
        let url = child.line(|line| Some(line.strip_prefix("serving at ")?.to_owned()));
        Self { child, url }
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The response that curl gets, with its head.
    pub fn curl(&self, path: &str, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.curl_bytes(path, arguments)).into_owned()
    }

    pub fn curl_bytes(&self, path: &str, arguments: &[&str]) -> Vec<u8> {
        let got = system("curl")
            .args(["--silent", "--show-error", "--max-time", "20"])
            .args(arguments)
            .arg(self.at(path))
            .output()
            .unwrap();
        assert!(got.status.success(), "{}", both(&got));
        got.stdout
    }
}

/// Runs `openssl ocsp` for a certificate of one of the two CAs, with the root as the only anchor.
pub fn ocsp(scene: &Scene, issuer: &str, arguments: &[&str]) -> String {
    let asked = system("openssl")
        .args(["ocsp", "-CAfile"])
        .arg(scene.of_ca("root.pem"))
        .arg("-issuer")
        .arg(scene.of_ca(issuer))
        .args(arguments)
        .output()
        .unwrap();
    both(&asked)
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
