//! Benchmark of a revocation list of a million entries: time to load it, requests meanwhile, handshakes with it, memory.
//!
//! `docs/performance.md` says how it is measured, and what came of it. Exit code 0 if every promise is kept.

#![forbid(unsafe_code)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bank_client::ErrorKind;
use bank_client::environment::{Clock as _, SystemClock};
use bank_server::config::Config;
use bank_server::{BankServer, RunningBank};
use fixtures::pki::Pki;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use shared_types::pki::revocation::{Issuers, List};
use tests::child_process::memory;
use tests::generators::write_list;
use tests::handshake::client;
use tests::process::bank_toml;
use tests::sdk::{BANK_B, bank_builder};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const ENTRIES: usize = 1_000_000;
/// Handshakes with each bank.
const HANDSHAKES: usize = 500;
/// For how long requests are watched before the list comes.
const BEFORE: Duration = Duration::from_secs(3);

/// At most: the handshake with the long list, in parts of that without.
const MOST_RATIO: f64 = 1.05;
/// At most, in bytes.
const MOST_AN_ENTRY: f64 = 100.0;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    // Making the list takes memory that would be in the way of measuring: a process of its own does it.
    if let [_, make, authority, file] = arguments.as_slice()
        && make == "make"
    {
        write_list(Path::new(authority), Path::new(file), ENTRIES);
        return ExitCode::SUCCESS;
    }
    if measure().await {
        ExitCode::SUCCESS
    } else {
        println!("a promise is not kept");
        ExitCode::FAILURE
    }
}

async fn measure() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (folder, now) = (folder.path(), SystemClock.now());
    let pki = Pki::make(now).unwrap();
    pki.write(&folder.join("pki"), now).unwrap();
    pki.ca1.keep_in(&folder.join("ca1"), now).unwrap();
    let long = folder.join("long.crl");
    let made = Command::new(std::env::current_exe().unwrap())
        .arg("make")
        .args([&folder.join("ca1"), &long])
        .status()
        .unwrap();
    assert!(made.success());

    let without = start(folder, "without").await;
    let with = start(folder, "with").await;
    let bytes = fs::metadata(&long).unwrap().len();
    println!("a list of {ENTRIES} entries, {bytes} bytes");
    let small_enough = load(&pki, &with, folder).await;
    let fast_enough = shake_hands(&pki, &without, &with).await;
    without.stop().await;
    with.stop().await;
    read_alone(&pki, &folder.join("with.crl"));
    small_enough && fast_enough
}

/// Bank B, with a list of its issuing CA of its own.
async fn start(folder: &Path, name: &str) -> RunningBank {
    let configuration = bank_toml(
        &format!("Bank B {name}"),
        &format!("{{ path = \"{name}.db\" }}"),
        &format!("lists = [\"pki/ca1/root.crl\", \"{name}.crl\"]"),
    );
    let file = folder.join(format!("{name}.toml"));
    fs::write(&file, configuration).unwrap();
    fs::copy(
        folder.join("pki/ca1/issuing.crl"),
        folder.join(format!("{name}.crl")),
    )
    .unwrap();
    BankServer::new(Config::read(&file).unwrap())
        .start()
        .await
        .unwrap()
}

/// Asks one request after the other, and notes when each began and how long it took.
fn keep_asking(
    pki: &Pki,
    bank: SocketAddr,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<Vec<(Instant, Duration)>> {
    let handle = bank_builder(bank, BANK_B, pki, &pki.bank_a.qwac)
        .build()
        .unwrap();
    tokio::spawn(async move {
        let mut asked = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            let error = handle.consent_status("none").await.unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::Refused { status: 403, .. }),
                "{error}"
            );
            asked.push((began, began.elapsed()));
        }
        asked
    })
}

/// Loads the long list while requests are answered. Says whether it is small enough.
async fn load(pki: &Pki, bank: &RunningBank, folder: &Path) -> bool {
    let stop = Arc::new(AtomicBool::new(false));
    let asking = keep_asking(pki, bank.xs2a_address(), Arc::clone(&stop));
    tokio::time::sleep(BEFORE).await;
    let memory_before = memory(std::process::id(), "VmRSS:");
    let offered = Instant::now();
    fs::rename(folder.join("long.crl"), folder.join("with.crl")).unwrap();
    bank.reload();
    while !bank
        .trust_report()
        .lists
        .iter()
        .any(|list| list.entries == ENTRIES)
    {
        assert!(
            offered.elapsed() < Duration::from_mins(2),
            "{:?}",
            bank.trust_report()
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let taken = Instant::now();
    stop.store(true, Ordering::Relaxed);
    let asked = asking.await.unwrap();

    let took = taken - offered;
    println!("loaded and in use after {took:.2?}");
    // The first of all includes the handshake.
    let before = asked.iter().skip(1).filter(|(began, _)| *began < offered);
    let during = asked.iter().filter(|(began, _)| *began >= offered);
    tell("before", BEFORE, before.map(|(_, took)| *took).collect());
    tell(
        "while it was loaded",
        took,
        during.map(|(_, took)| *took).collect(),
    );
    let an_entry = |kib: u64| {
        let grown = u32::try_from(kib - memory_before).unwrap();
        f64::from(grown) * 1024.0 / f64::from(u32::try_from(ENTRIES).unwrap())
    };
    let held = an_entry(settled().await);
    println!(
        "memory: {held:.1} bytes an entry, at most {MOST_AN_ENTRY} are promised; {:.1} at the highest, while files are read",
        an_entry(memory(std::process::id(), "VmHWM:"))
    );
    held <= MOST_AN_ENTRY
}

fn tell(when: &str, time: Duration, mut took: Vec<Duration>) {
    took.sort_unstable();
    println!(
        "{} requests answered {when}, in {time:.2?}: half of them within {:.2?}, the slowest {:.2?}",
        took.len(),
        median(&took),
        took.last().copied().unwrap_or_default(),
    );
}

/// Resident memory in KiB, once the bank has had the second look at the file that it takes after each change.
async fn settled() -> u64 {
    const LOOKS: u32 = 60;

    let mut least = u64::MAX;
    for _ in 0..LOOKS {
        tokio::time::sleep(Duration::from_millis(100)).await;
        least = least.min(memory(std::process::id(), "VmRSS:"));
    }
    least
}

/// Handshakes with both banks in turn. Says whether the long list costs little enough.
async fn shake_hands(pki: &Pki, without: &RunningBank, with: &RunningBank) -> bool {
    let client = client(&pki.ca1, &pki.bank_a.qwac, b"h2");
    let [without, with] = [without, with].map(RunningBank::xs2a_address);
    for _ in 0..HANDSHAKES / 10 {
        handshake(&client, without).await;
        handshake(&client, with).await;
    }
    let mut times = [Vec::new(), Vec::new()];
    let mut ratios = Vec::new();
    for round in 0..HANDSHAKES {
        // The second one finds the machine warm, so they take turns.
        let (short, long) = if round % 2 == 0 {
            let short = handshake(&client, without).await;
            (short, handshake(&client, with).await)
        } else {
            let long = handshake(&client, with).await;
            (handshake(&client, without).await, long)
        };
        ratios.push(long.as_secs_f64() / short.as_secs_f64());
        times[0].push(short);
        times[1].push(long);
    }
    for times in &mut times {
        times.sort_unstable();
    }
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    println!(
        "{HANDSHAKES} handshakes each: {:.2?} without, {:.2?} with the list (medians); \
         median of the pairs' ratios {ratio:.3}; at most {MOST_RATIO} is promised",
        median(&times[0]),
        median(&times[1]),
    );
    ratio <= MOST_RATIO
}

fn median(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// From the first packet to the bank's first byte of HTTP/2, its SETTINGS: by then it has judged our certificate twice, in
/// the handshake and on admission.
async fn handshake(client: &TlsConnector, bank: SocketAddr) -> Duration {
    let began = Instant::now();
    let tcp = TcpStream::connect(bank).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut tls = client
        .connect(ServerName::from(bank.ip()), tcp)
        .await
        .unwrap();
    tls.read_exact(&mut [0]).await.unwrap();
    began.elapsed()
}

/// Reading, checking and sorting by itself, on one core.
fn read_alone(pki: &Pki, file: &Path) {
    let authority = [pki.ca1.root_pem().unwrap(), pki.ca1.issuing_pem().unwrap()];
    let certificates = authority.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
    let issuers = Issuers::new(&certificates);
    let bytes = fs::read(file).unwrap();
    let began = Instant::now();
    let list = List::read(bytes, &issuers).unwrap();
    println!("read by itself in {:.2?}", began.elapsed());
    assert_eq!(list.len(), ENTRIES);
}
