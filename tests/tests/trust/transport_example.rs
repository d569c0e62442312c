//! The example of `transport` as a part of its own: a server that is no bank, with a protocol that is not HTTP.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::openssl_client::{Reaction, Tls, call};
use fixtures::pki::{Identity, Organisation, Pki, Wanted, bank_a};
use openssl::ssl::SslStream;
use tests::child_process::ChildProcess;
use tests::files;
use tests::held_connection::connect;
use tests::programs::own;

struct Process {
    _child: ChildProcess,
    address: SocketAddr,
}

impl Process {
    /// The example, with the files of Bank B as its own.
    fn start(folder: &Path) -> Self {
        let pki = folder.join("pki");
        let child = ChildProcess::spawn(
            own("examples/blackboard")
                .args(["--listen", "127.0.0.1:0", "--certificate"])
                .arg(pki.join("bank-b/qwac.pem"))
                .arg("--key")
                .arg(pki.join("bank-b/qwac.key"))
                .arg("--anchors")
                .arg(pki.join("ca1/root.pem"))
                .arg("--intermediates")
                .arg(pki.join("ca1/issuing.pem"))
                .arg("--lists")
                .arg(pki.join("ca1/root.crl"))
                .arg("--lists")
                .arg(pki.join("ca1/issuing.crl"))
                .arg("--roster")
                .arg(folder.join("roster.txt"))
                .stdout(Stdio::piped())
                .stderr(Stdio::null()),
        );
        Self {
            address: child.line(|line| line.strip_prefix("listening on ")?.parse().ok()),
            _child: child,
        }
    }
}

/// A machine's connection.
struct Machine(BufReader<SslStream<std::net::TcpStream>>);

impl Machine {
    fn connect(server: SocketAddr, identity: &Identity) -> Self {
        Self(BufReader::new(connect(server, identity)))
    }

    fn say(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(line.as_bytes()).unwrap();
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn is_over(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// A certificate of CA1 for that host.
fn machine(pki: &Pki, host: &str) -> Identity {
    let holder = Organisation {
        host: host.to_owned(),
        ..bank_a()
    };
    pki.enrol(&holder, &Wanted::default(), SystemClock.now())
        .unwrap()
}

#[test]
fn machines_of_the_fleet_alone_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::make(SystemClock.now()).unwrap();
    pki.write(&folder.path().join("pki"), SystemClock.now())
        .unwrap();
    let roster = folder.path().join("roster.txt");
    fs::write(&roster, "one.fleet.example\ntwo.fleet.example\n").unwrap();
    let server = Process::start(folder.path());
    let [one, two, three] =
        ["one", "two", "three"].map(|name| machine(&pki, &format!("{name}.fleet.example")));

    let mut first = Machine::connect(server.address, &one);
    let mut second = Machine::connect(server.address, &two);
    assert_eq!(second.say("get colour\n"), "nothing\n");
    assert_eq!(first.say("set colour dark red\n"), "ok\n");
    assert_eq!(
        second.say("get colour\n"),
        "dark red (from one.fleet.example)\n"
    );
    assert!(first.say("tell me all\n").starts_with("error: say:"));
    let mut wordy = Machine::connect(server.address, &one);
    assert_eq!(
        wordy.say(&"x".repeat(2000)),
        "error: the line is too long\n"
    );
    assert!(wordy.is_over());

    // Of the fleet's authority, and not on the roster.
    let mut third = Machine::connect(server.address, &three);
    assert_eq!(
        third.say("get colour\n"),
        "error: three.fleet.example is not on the roster\n"
    );
    assert!(third.is_over());
    // Of another authority.
    let stranger = &pki.bank_c.qwac;
    for tls in [Tls::V1_2, Tls::V1_3] {
        match call(server.address, Some(stranger), tls, "get colour\n")
            .unwrap()
            .reaction
        {
            Reaction::Alert(alert) => assert_eq!(alert.to_string(), "unknown_ca"),
            other => panic!("{other:?}"),
        }
    }

    // Struck off, on an open connection that asks nothing.
    files::replace(&roster, "two.fleet.example\nthree.fleet.example\n");
    assert_eq!(
        first.hear(),
        "error: one.fleet.example is not on the roster\n"
    );
    assert!(first.is_over());
    assert_eq!(
        second.say("get colour\n"),
        "dark red (from one.fleet.example)\n"
    );
    let mut third = Machine::connect(server.address, &three);
    assert_eq!(third.say("set colour blue\n"), "ok\n");
}
