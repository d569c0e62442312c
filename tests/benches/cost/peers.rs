//! Servers that are measured: a bank, and the usual alternatives.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use fixtures::pki::Pki;
use tests::child_process::{ChildProcess, OnDrop, memory};
use tests::gateway::nginx_folders;
use tests::ports;
use tests::process::Process;
use tests::programs::{own, system, system_of};

/// A server that runs until it is dropped.
pub struct Peer {
    pub address: SocketAddr,
    process: ChildProcess,
}

impl Peer {
    pub async fn bank(configuration: &Path, pki: &Pki) -> Self {
        Self::started_by(own("bank-server"), configuration, pki).await
    }

    /// A bank as a child of a command that executes `bank-server` with its arguments.
    pub async fn started_by(command: Command, configuration: &Path, pki: &Pki) -> Self {
        let process = Process::started_by(command, configuration, &pki.bank_a.qwac).await;
        Self {
            address: process.tpp.bank,
            process: process.child,
        }
    }

    /// Debian's nginx with its defaults, and what mutual TLS needs. Answers with the files of the folder `files`.
    pub async fn nginx(folder: &Path) -> Self {
        let place = folder.display();
        let address = ports::free();
        let open = nginx_folders(folder.to_str().unwrap());
        let text = format!(
            r"
            worker_processes 2;
            worker_rlimit_nofile 20000;
            events {{ worker_connections 15000; }}
            {open}
                sendfile on;
                keepalive_requests 1000000000;
                keepalive_timeout 1h;
                default_type application/json;
                server {{
                    listen {address} ssl http2 backlog=1024;
                    ssl_certificate {place}/pki/bank-b/qwac.pem;
                    ssl_certificate_key {place}/pki/bank-b/qwac.key;
                    ssl_protocols TLSv1.2 TLSv1.3;
                    ssl_client_certificate {place}/pki/ca1/root.pem;
                    ssl_verify_client on;
                    ssl_verify_depth 3;
                    ssl_session_cache off;
                    ssl_session_tickets off;
                    root {place}/files;
                    add_header Cache-Control no-store;
                }}
            }}
            "
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let log = folder.join("nginx.log");
        let mut process = ChildProcess::spawn(
            system("nginx")
                .args(["-g", &format!("daemon off; pid {place}/nginx.pid;")])
                .args(["-e", "stderr", "-c"])
                .arg(&file)
                .stderr(fs::File::create(&log).unwrap()),
        )
        .on_drop(OnDrop::Terminate);
        let listening = || std::net::TcpStream::connect(address).ok();
        process.wait_for("nginx", &log, listening).await;
        Self { address, process }
    }

    /// Go's `net/http` with its defaults, and the files of the folder `files`: server.go.
    pub fn go(folder: &Path) -> Self {
        Self::go_with(folder, "files")
    }

    /// The same, with the files of another folder.
    pub fn go_with(folder: &Path, files: &str) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/cost/server.go");
        let server = folder.join(format!("go-{files}"));
        let built = system_of("go", "golang-go")
            .args(["build", "-o"])
            .args([&server, &source])
            .status()
            .unwrap();
        assert!(built.success());
        let pki = folder.join("pki");
        let process = ChildProcess::spawn(
            Command::new(&server)
                .arg(folder.join(files))
                .arg(pki.join("bank-b/qwac.pem"))
                .arg(pki.join("bank-b/qwac.key"))
                .arg(pki.join("ca1/root.pem"))
                .stdout(Stdio::piped())
                .stderr(fs::File::create(folder.join(format!("go-{files}.log"))).unwrap()),
        );
        let address = process.line(|line| line.parse().ok());
        Self { address, process }
    }

    /// User and system time that it has taken so far.
    pub fn cpu(&self) -> Duration {
        family(self.process.id()).into_iter().map(cpu_of).sum()
    }

    /// Resident memory, in KiB.
    pub fn resident(&self) -> u64 {
        let family = family(self.process.id()).into_iter();
        family.map(|process| memory(process, "VmRSS:")).sum()
    }
}

/// A process and its children.
pub fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let children = children.unwrap();
    let children = children.split_whitespace().map(|id| id.parse().unwrap());
    std::iter::once(process).chain(children).collect()
}

pub fn cpu_of(process: u32) -> Duration {
    /// Of Linux, on all its platforms, in what it tells programs.
    const TICKS_A_SECOND: u64 = 100;

    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name comes second, in brackets, and can hold anything; user and system time are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 1000 / TICKS_A_SECOND)
}
