//! Benchmark of the aggregator: requests the accounts of 200 banks at once. Ten of the banks fail,
//! each in its own way. Python's httpx makes the same requests for comparison.
//!
//! `docs/performance.md` describes the method and the results. The exit code is 0 if the ratio that
//! the benchmark prints is at most `MAX_RATIO`.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bank_client::aggregator::{Aggregator, AggregatorLimits};
use bank_client::{Bank, Limits};
use futures::StreamExt as _;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tests::handshake::client;
use tests::many_banks::{Manners, ManyBanks};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// Time for which a bank delays each response.
const LATENCY: Duration = Duration::from_millis(50);
const WORKING_BANKS: usize = 190;
/// Number of rounds. Each round measures the handshakes, the SDK and httpx in turn.
const ROUNDS: usize = 7;
/// Maximum ratio: the SDK's time to the last response, less the time for the handshakes, divided by
/// the response time of the slowest working bank.
const MAX_RATIO: f64 = 1.3;
/// Long enough that no working bank times out on a busy machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum size of a response. One of the failing banks sends a body without end.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

const HTTPX_PACKAGE: &str = "pip:httpx[http2]@0.28.1";

/// Times of one measurement, from its start.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// To the last successful response or handshake.
    last_response: Duration,
    /// To the last outcome, failures included.
    last_outcome: Duration,
}

fn main() -> ExitCode {
    // Banks and client run on separate threads.
    let bank_runtime = runtime();
    let client_runtime = runtime();
    // The failing banks are spread over the list: one in every 20.
    let behaviours = (0..200).map(|number| match number % 20 {
        7 => Manners::DEAD[number / 20],
        _ => Manners::Good,
    });
    let banks = bank_runtime.block_on(ManyBanks::start(behaviours, LATENCY));
    let folder = tempfile::tempdir().unwrap();
    let python = python();

    let slowest_bank = client_runtime.block_on(time_slowest_bank(&banks));
    let [mut handshakes, mut sdk, mut httpx] = [const { Vec::new() }; 3];
    let mut handle_creation = Vec::new();
    for _ in 0..ROUNDS {
        handshakes.push(client_runtime.block_on(time_handshakes(&banks)));
        let start = Instant::now();
        let handles = bank_handles(&banks);
        handle_creation.push(start.elapsed());
        sdk.push(client_runtime.block_on(time_sdk(handles)));
        // The handshakes are measured twice in each round: at its start, when the client's threads
        // have been idle while httpx ran, and here, directly after the SDK.
        handshakes.push(client_runtime.block_on(time_handshakes(&banks)));
        httpx.push(time_httpx(&python, &banks, folder.path()));
    }
    handle_creation.sort_unstable();
    let handle_creation = handle_creation[ROUNDS / 2];
    let [handshakes, sdk, httpx] = [handshakes, sdk, httpx].map(median);
    println!(
        "medians of {ROUNDS} rounds       | last of {WORKING_BANKS} responses | all 200 results"
    );
    println!(
        "handshakes, no request    | {:>9.1?}             |",
        handshakes.last_response
    );
    println!(
        "bank-client               | {:>9.1?}             | {:.1?}",
        sdk.last_response, sdk.last_outcome
    );
    println!(
        "httpx                     | {:>9.1?}             | {:.1?}",
        httpx.last_response, httpx.last_outcome
    );
    println!("creation of the SDK's 200 handles, not included above: {handle_creation:.1?}");
    let without_handshakes = sdk.last_response.saturating_sub(handshakes.last_response);
    let ratio = without_handshakes.as_secs_f64() / slowest_bank.as_secs_f64();
    println!("bank-client less the handshakes: {without_handshakes:.1?}");
    println!("slowest working bank: {slowest_bank:.1?}");
    println!("ratio: {ratio:.2}; at most {MAX_RATIO} is required");
    let httpx_ratio = httpx.last_response.as_secs_f64() / sdk.last_response.as_secs_f64();
    println!("httpx takes {httpx_ratio:.2} times as long as bank-client");
    if ratio <= MAX_RATIO {
        ExitCode::SUCCESS
    } else {
        println!("the requirement is not met");
        ExitCode::FAILURE
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn median(mut timings: Vec<Timing>) -> Timing {
    timings.sort_by_key(|timing| timing.last_response);
    timings[timings.len() / 2]
}

fn bank_handles(banks: &ManyBanks) -> Vec<Bank> {
    let limits = Limits {
        connecting: CONNECT_TIMEOUT,
        call: CALL_TIMEOUT,
        answer: MAX_RESPONSE_BYTES,
        ..Limits::default()
    };
    banks.handles(|_, builder| builder.limits(limits))
}

/// Requests the accounts of all banks with the SDK, over new connections.
async fn time_sdk(handles: Vec<Bank>) -> Timing {
    let members = handles.into_iter().map(|bank| bank.with_consent("c"));
    let aggregator = Aggregator::builder().members(members).build();
    let start = Instant::now();
    let mut results = aggregator.accounts(true);
    let (mut succeeded, mut last_response) = (0, Duration::ZERO);
    while let Some(result) = results.next().await {
        if result.outcome.is_ok() {
            succeeded += 1;
            last_response = start.elapsed();
        }
    }
    assert_eq!(succeeded, WORKING_BANKS);
    Timing {
        last_response,
        last_outcome: start.elapsed(),
    }
}

/// Response time of the slowest working bank. Each bank is measured alone, over an open connection,
/// and the best of three responses counts.
async fn time_slowest_bank(banks: &ManyBanks) -> Duration {
    let mut slowest = Duration::ZERO;
    for (bank, handle) in banks.banks.iter().zip(bank_handles(banks)) {
        if bank.manners != Manners::Good {
            continue;
        }
        let consent = handle.with_consent("c");
        // Opens the connection.
        consent.accounts(true).await.unwrap();
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            consent.accounts(true).await.unwrap();
            best = best.min(start.elapsed());
        }
        slowest = slowest.max(best);
    }
    slowest
}

/// TLS handshakes with all banks at once, without requests. Those with failing banks are attempted
/// too, because they also cost the machine time.
async fn time_handshakes(banks: &ManyBanks) -> Timing {
    let client = client(&banks.pki.ca1, &banks.pki.bank_a.qwac, b"h2");
    let mut handshakes = JoinSet::new();
    let start = Instant::now();
    for bank in &banks.banks {
        let (client, address) = (client.clone(), bank.address);
        let is_working = bank.manners == Manners::Good;
        handshakes.spawn(async move { (is_working, handshake(address, client).await) });
    }
    let (mut completed, mut last) = (0, Duration::ZERO);
    while completed < WORKING_BANKS {
        let (is_working, outcome) = handshakes.join_next().await.unwrap().unwrap();
        if is_working {
            outcome.unwrap();
            completed += 1;
            last = start.elapsed();
        }
    }
    // Other handshakes are abandoned: a silent bank never completes its own.
    Timing {
        last_response: last,
        last_outcome: last,
    }
}

async fn handshake(address: SocketAddr, client: TlsConnector) -> std::io::Result<()> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::from(address.ip());
    let mut tls = client.connect(name, tcp).await?;
    // The bank sends its first byte of HTTP/2 (SETTINGS) after it has accepted our certificate.
    tls.read_exact(&mut [0]).await?;
    Ok(())
}

/// The Python in which httpx is installed.
fn python() -> PathBuf {
    tests::programs::unpacked(HTTPX_PACKAGE).join("bin/python")
}

/// Requests the accounts of all banks with httpx, over new connections.
fn time_httpx(python: &Path, banks: &ManyBanks, folder: &Path) -> Timing {
    let write_file = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let identity = &banks.pki.bank_a.qwac;
    let urls = banks
        .banks
        .iter()
        .map(|bank| format!("https://{}", bank.address));
    let plan = json!({
        "anchor": write_file("anchor.pem", &banks.pki.ca1.root_pem().unwrap()),
        "certificate": write_file("own.pem", &identity.chain_pem),
        "key": write_file("own.key", &identity.key_pem),
        "banks": urls.collect::<Vec<_>>(),
        "at_a_time": AggregatorLimits::default().at_a_time,
        "connecting": CONNECT_TIMEOUT.as_secs_f64(),
        "call": CALL_TIMEOUT.as_secs_f64(),
        "answer": MAX_RESPONSE_BYTES,
    });
    let plan = write_file("plan.json", &plan.to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/aggregator_httpx.py");
    let output = Command::new(python).arg(script).arg(plan).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        tests::programs::both(&output)
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    // httpx does not check the organisation in a bank's certificate, so it accepts the response of
    // the bank that presents another bank's certificate.
    assert_eq!(report["answered"], WORKING_BANKS + 1);
    let seconds = |key: &str| Duration::from_secs_f64(report[key].as_f64().unwrap());
    Timing {
        last_response: seconds("last"),
        last_outcome: seconds("all"),
    }
}
