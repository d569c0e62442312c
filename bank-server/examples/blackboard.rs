//! Example server with a protocol of its own behind the mutual-TLS transport: a blackboard for the
//! machines of a fleet.
//!
//! Every machine has a certificate of the fleet's own CA. Machines whose host name is on the roster
//! may write keys and values on the board, and read what others wrote; other machines of the fleet
//! receive an error line. A machine with a certificate of another CA receives a TLS alert before
//! any application data. The protocol is lines of text:
//!
//! ```text
//! set KEY VALUE    ok
//! get KEY          VALUE (from MACHINE), or: nothing
//! ```
//!
//! Certificate, key, anchors, revocation lists and roster are watched. A machine that is struck off
//! the roster, or whose certificate is revoked, loses its open connections within a second, with a
//! last line that says why.
//!
//! ```sh
//! cargo run -p bank-server --example blackboard -- --listen 127.0.0.1:7070 \
//!     --certificate board.pem --key board.key --anchors fleet-ca.pem --intermediates fleet-issuing.pem \
//!     --lists root.crl --lists issuing.crl --roster roster.txt
//! openssl s_client -quiet -connect 127.0.0.1:7070 -CAfile fleet-ca.pem \
//!     -cert machine-1.pem -cert_chain machine-1.pem -key machine-1.key
//! ```
//!
//! The parts that a server of your own needs are in the order of this file: a [`Policy`], a
//! [`PolicySource`], then `main`: a [`TrustReloader`], a [`MtlsListener`], and a loop that accepts.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bank_server::environment::{SystemClock, SystemRandomness};
use bank_server::transport::ConfigError;
use bank_server::transport::connection::PeerKind;
use bank_server::transport::fetch::FetchLimits;
use bank_server::transport::listener::{ConnectionLimits, LogRejectedConnections, MtlsListener};
use bank_server::transport::ocsp_worker::OcspOptions;
use bank_server::transport::pem_files::{KeySource, Source};
use bank_server::transport::policy::{Admitted, CloseMessage, PeerRejection, Policy};
use bank_server::transport::stream::MtlsStream;
use bank_server::transport::trust_reloader::{PolicySource, Sources, TrustReloader};
use clap::Parser;
use rustls_pki_types::{CertificateDer, UnixTime};
use shared_types::pki::credentials::Credentials;
use shared_types::pki::revocation::UnknownStatus;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

// What a certificate means to this server.

/// The machines that are authorised.
struct Fleet {
    roster: BTreeSet<String>,
}

/// A machine of the fleet.
#[derive(Debug)]
struct Machine {
    name: String,
}

/// Why a machine with a trusted certificate is not authorised.
#[derive(Debug, Clone)]
enum Stranger {
    Nameless,
    NotOnTheRoster(String),
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nameless => f.write_str("your certificate names no host"),
            Self::NotOnTheRoster(name) => write!(f, "{name} is not on the roster"),
        }
    }
}

impl Policy for Fleet {
    type Peer = Machine;
    type Objection = Stranger;

    /// The ALPN name of our own protocol. A peer may omit it, but not offer others alone.
    const PROTOCOLS: &'static [&'static [u8]] = &[b"blackboard/1"];

    fn admit(
        &self,
        certificate: &CertificateDer<'_>,
        _now: UnixTime,
    ) -> Result<Admitted<Machine>, Stranger> {
        let name = host_of(certificate).ok_or(Stranger::Nameless)?;
        if !self.roster.contains(&name) {
            return Err(Stranger::NotOnTheRoster(name));
        }
        Ok(Admitted {
            peer: Machine { name },
            until: None,
        })
    }

    /// Each machine has its own share of connections and requests.
    fn quota_key(peer: &Machine) -> &str {
        &peer.name
    }

    /// The last line to a machine that has lost trust.
    fn close_message(rejection: &PeerRejection<Stranger>) -> CloseMessage {
        CloseMessage {
            response: error_line(rejection).into_bytes(),
            // Used over HTTP/2 alone.
            debug_data: String::new(),
        }
    }
}

/// The first host name of a certificate, in lower case.
fn host_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
            _ => None,
        })
}

/// Source of the policy: a file with one host name in each line.
struct RosterFile(Source);

impl PolicySource for RosterFile {
    type Policy = Fleet;

    fn files(&self) -> Vec<Source> {
        vec![self.0.clone()]
    }

    /// Fails if the roster is empty: more likely, the file is being written.
    fn build(
        &self,
        contents: &[Vec<u8>],
        _credentials: &Credentials,
        _now: UnixTime,
    ) -> Result<Fleet, ConfigError> {
        let text = contents.first().map_or(&[][..], Vec::as_slice);
        let text = std::str::from_utf8(text).map_err(|error| self.0.fault(&error))?;
        let roster: BTreeSet<String> = text
            .lines()
            .map(|line| line.trim().to_ascii_lowercase())
            .filter(|line| !line.is_empty())
            .collect();
        if roster.is_empty() {
            return Err(self.0.fault(&"names no machine: no peer could connect"));
        }
        Ok(Fleet { roster })
    }

    /// Accepts any valid server certificate.
    fn check_replacement(&self, _new: &Credentials, _old: &Credentials) -> Result<(), String> {
        Ok(())
    }
}

// The server.

/// A blackboard for the machines of a fleet, behind mutual TLS.
#[derive(Debug, Parser)]
struct Arguments {
    /// Listening address; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Our own certificate, then the issuing CA, as PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// The key that belongs to it, as PEM; mode 600.
    #[arg(long)]
    key: PathBuf,
    /// The fleet's authority, as PEM. No other is trusted.
    #[arg(long, required = true)]
    anchors: Vec<PathBuf>,
    /// CAs below it whose lists are used too, as PEM.
    #[arg(long)]
    intermediates: Vec<PathBuf>,
    /// Revocation lists. A certificate of whose CA there is none is refused.
    #[arg(long, required = true)]
    lists: Vec<PathBuf>,
    /// The host names of the machines, one in each line.
    #[arg(long)]
    roster: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(faults) => {
            for fault in faults {
                // The exit code reports the failure even if standard error is closed.
                let _ = writeln!(io::stderr().lock(), "error: {fault}");
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Vec<ConfigError>> {
    let Arguments {
        listen,
        certificate,
        key,
        anchors,
        intermediates,
        lists,
        roster,
    } = arguments;
    // The trust reloader reads all files, watches them, and applies changes.
    let sources = Sources {
        certificate: Source::new("--certificate", certificate),
        private_key: KeySource::new("--key", key),
        anchors: Source::each("--anchors", &anchors),
        intermediates: Source::each("--intermediates", &intermediates),
        gateways: Vec::new(),
        crl_files: Source::each("--lists", &lists),
        crl_addresses: Vec::new(),
        unknown_status: UnknownStatus::HardFail,
        // CRLs alone, without OCSP.
        ocsp: OcspOptions::default(),
        fetch: FetchLimits {
            time: Duration::from_secs(10),
            allow_local: false,
        },
        refresh: Duration::from_hours(1),
    };
    let roster = RosterFile(Source::new("--roster", roster));
    let trust_reloader = TrustReloader::open(
        sources,
        roster,
        Arc::new(SystemClock),
        Arc::new(SystemRandomness),
    )?;
    // The listener accepts the machines that are trusted, and re-evaluates open connections when
    // trust changes.
    let limits = ConnectionLimits {
        handshake: Duration::from_secs(5),
        idle: Duration::from_mins(5),
        response: Duration::from_secs(10),
        per_peer: 4,
        requests_per_peer: 4,
        body_bytes_per_peer: 64 * 1024,
    };
    let mtls = Arc::new(MtlsListener::new(
        trust_reloader.trust(),
        limits,
        Arc::new(LogRejectedConnections),
    ));
    let (ready, _) = oneshot::channel();
    tokio::spawn(trust_reloader.run(Arc::new(Notify::new()), None, ready));
    tokio::spawn(mtls.clone().reevaluate_connections());

    let failed = |error: io::Error| {
        vec![ConfigError {
            key: "--listen".to_owned(),
            problem: format!("{listen}: {error}"),
            line: None,
        }]
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    // Standard output may be closed.
    let _ = writeln!(io::stdout().lock(), "listening on {address}");
    let board = Arc::new(Board::default());
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                tokio::spawn(serve(tcp, mtls.clone(), Arc::clone(&board)));
            }
            Err(error) => {
                // Such as too many open files: some will be closed.
                tracing::error!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one connection until it ends.
async fn serve(tcp: TcpStream, mtls: Arc<MtlsListener<Fleet>>, board: Arc<Board>) {
    // The observer logs rejected connections.
    let Some((stream, _, _)) = mtls.accept(tcp).await else {
        return;
    };
    if let Err(error) = handle_lines(stream, &board).await {
        tracing::debug!(%error, "connection ended");
    }
}

/// The longest line, in bytes.
const MAX_LINE_BYTES: u64 = 1024;

async fn handle_lines(stream: MtlsStream<Fleet>, board: &Board) -> io::Result<()> {
    let connection = Arc::clone(stream.connection());
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        if (&mut stream)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await?
            == 0
        {
            return Ok(());
        }
        // Until this guard is dropped, the connection is busy and the request counts.
        let request = connection.begin_request();
        let whole = line.ends_with(b"\n");
        // Evaluated for each request: trust may have changed.
        let (answer, keep_open) = match connection.evaluate() {
            Err(rejection) => {
                connection.mark_notified();
                (error_line(&rejection), false)
            }
            Ok(_) if connection.is_over_limit() => (error_line(&"too many connections"), false),
            Ok(_) if !whole => (error_line(&"the line is too long"), false),
            Ok(_) if request.permit().is_none() => {
                (error_line(&"too many requests at a time"), true)
            }
            // This listener accepts no gateways: each machine connects directly.
            Ok(PeerKind::Gateway(_)) => (error_line(&"gateways are not supported"), false),
            Ok(PeerKind::Peer(machine)) => (
                board.answer(&machine, &String::from_utf8_lossy(&line)),
                true,
            ),
        };
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
        drop(request);
        if !keep_open {
            return stream.shutdown().await;
        }
    }
}

fn error_line(problem: &impl fmt::Display) -> String {
    format!("error: {problem}\n")
}

/// The entries of the board: a value and its author.
#[derive(Default)]
struct Board(Mutex<BTreeMap<String, (String, String)>>);

/// Maximum number of keys.
const MOST_KEYS: usize = 10_000;

impl Board {
    fn answer(&self, machine: &Machine, line: &str) -> String {
        let mut words = line.trim().splitn(3, ' ');
        // Nothing is half written when this panics.
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (words.next(), words.next(), words.next()) {
            (Some("get"), Some(key), None) => match entries.get(key) {
                Some((value, writer)) => format!("{value} (from {writer})\n"),
                None => "nothing\n".to_owned(),
            },
            (Some("set"), Some(key), Some(_))
                if entries.len() >= MOST_KEYS && !entries.contains_key(key) =>
            {
                error_line(&"the board is full")
            }
            (Some("set"), Some(key), Some(value)) => {
                entries.insert(key.to_owned(), (value.to_owned(), machine.name.clone()));
                "ok\n".to_owned()
            }
            _ => error_line(&"say: set KEY VALUE, or: get KEY"),
        }
    }
}
