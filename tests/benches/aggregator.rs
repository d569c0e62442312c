//! Benchmark of one request to 200 banks at once, of which ten are dead in ten ways; beside it the
//! same with Python's httpx.
//!
//! `docs/performance.md` says how it is measured, and what came of it. Exit code 0 if the promise
//! is kept.

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

const LATENCY: Duration = Duration::from_millis(50);
const LIVING: usize = 190;
/// Each is measured so often, in turns.
const ROUNDS: usize = 7;
/// At most: the last answer, in parts of the slowest living bank's, once the handshakes are taken
/// off.
const MOST_RATIO: f64 = 1.3;
/// Ample: the time is measured, and no living bank is to be given up on a busy machine.
const CONNECTING: Duration = Duration::from_secs(15);
const CALL: Duration = Duration::from_secs(30);
/// The most that is taken of one answer, in bytes: what a body without end costs is not the point
/// here.
const ANSWER: usize = 1024 * 1024;

const HTTPX: &str = "pip:httpx[http2]@0.28.1";

/// Duration.
#[derive(Debug, Clone, Copy)]
struct Took {
    /// To the last of the answers.
    last: Duration,
    /// To the last outcome.
    all: Duration,
}

fn main() -> ExitCode {
    // The banks run on threads of their own, apart from the client's.
    let theirs = runtime();
    let ours = runtime();
    // The dead ones are among the living.
    let manners = (0..200).map(|number| match number % 20 {
        7 => Manners::DEAD[number / 20],
        _ => Manners::Good,
    });
    let banks = theirs.block_on(ManyBanks::start(manners, LATENCY));
    let folder = tempfile::tempdir().unwrap();
    let python = python();

    let slowest = ours.block_on(slowest(&banks));
    let mut rounds = [const { Vec::new() }; 3];
    let mut building = Vec::new();
    for _ in 0..ROUNDS {
        rounds[0].push(ours.block_on(shake_hands(&banks)));
        let began = Instant::now();
        let handles = handles(&banks);
        building.push(began.elapsed());
        rounds[1].push(ours.block_on(ask(handles)));
        // Once more, so that neither of the two is always the first after a pause.
        rounds[0].push(ours.block_on(shake_hands(&banks)));
        rounds[2].push(httpx(&python, &banks, folder.path()));
    }
    building.sort_unstable();
    let building = building[ROUNDS / 2];
    let [alone, sdk, httpx] = rounds.map(median);
    println!("medians of {ROUNDS} rounds       | last of {LIVING} answers | all 200 outcomes");
    println!(
        "handshakes, no request    | {:>9.1?}            |",
        alone.last
    );
    println!(
        "bank-client               | {:>9.1?}            | {:.1?}",
        sdk.last, sdk.all
    );
    println!(
        "httpx                     | {:>9.1?}            | {:.1?}",
        httpx.last, httpx.all
    );
    println!("200 handles made in {building:.1?}, before");
    let besides = sdk.last.saturating_sub(alone.last);
    let ratio = besides.as_secs_f64() / slowest.as_secs_f64();
    println!(
        "besides the handshakes {besides:.1?}: {ratio:.2} of the slowest living bank's {slowest:.1?}; at most {MOST_RATIO} is promised"
    );
    let times = httpx.last.as_secs_f64() / sdk.last.as_secs_f64();
    println!("httpx takes {times:.2} times as long");
    if ratio <= MOST_RATIO {
        ExitCode::SUCCESS
    } else {
        println!("a promise is not kept");
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

fn median(mut rounds: Vec<Took>) -> Took {
    rounds.sort_by_key(|took| took.last);
    rounds[rounds.len() / 2]
}

fn handles(banks: &ManyBanks) -> Vec<Bank> {
    let limits = Limits {
        connecting: CONNECTING,
        call: CALL,
        answer: ANSWER,
        ..Limits::default()
    };
    banks.handles(|_, builder| builder.limits(limits))
}

/// The accounts of all banks, over connections none of which is open.
async fn ask(handles: Vec<Bank>) -> Took {
    let members = handles.into_iter().map(|bank| bank.with_consent("c"));
    let aggregator = Aggregator::builder().members(members).build();
    let began = Instant::now();
    let mut answers = aggregator.accounts(true);
    let (mut answered, mut last) = (0, Duration::ZERO);
    while let Some(answer) = answers.next().await {
        if answer.outcome.is_ok() {
            answered += 1;
            last = began.elapsed();
        }
    }
    assert_eq!(answered, LIVING);
    Took {
        last,
        all: began.elapsed(),
    }
}

/// The slowest of the living banks, asked by itself over a connection that is open: of each, the
/// best of three answers.
async fn slowest(banks: &ManyBanks) -> Duration {
    let mut slowest = Duration::ZERO;
    for (bank, handle) in banks.banks.iter().zip(handles(banks)) {
        if bank.manners != Manners::Good {
            continue;
        }
        let under = handle.with_consent("c");
        under.accounts(true).await.unwrap();
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            under.accounts(true).await.unwrap();
            best = best.min(began.elapsed());
        }
        slowest = slowest.max(best);
    }
    slowest
}

/// Handshakes with all banks at once, and nothing else. Those with the dead ones have to be tried
/// as well.
async fn shake_hands(banks: &ManyBanks) -> Took {
    let client = client(&banks.pki.ca1, &banks.pki.bank_a.qwac, b"h2");
    let mut handshakes = JoinSet::new();
    let began = Instant::now();
    for bank in &banks.banks {
        let (client, address) = (client.clone(), bank.address);
        let lives = bank.manners == Manners::Good;
        handshakes.spawn(async move { (lives, shake_hands_with(address, client).await) });
    }
    let (mut done, mut last) = (0, Duration::ZERO);
    while done < LIVING {
        let (lives, outcome) = handshakes.join_next().await.unwrap().unwrap();
        if lives {
            outcome.unwrap();
            done += 1;
            last = began.elapsed();
        }
    }
    // Some of the dead never say a word.
    Took { last, all: last }
}

async fn shake_hands_with(address: SocketAddr, client: TlsConnector) -> std::io::Result<()> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::from(address.ip());
    let mut tls = client.connect(name, tcp).await?;
    // The first byte of HTTP/2, the bank's SETTINGS: by then it has judged our certificate.
    tls.read_exact(&mut [0]).await?;
    Ok(())
}

/// The Python in which httpx is installed.
fn python() -> PathBuf {
    tests::programs::unpacked(HTTPX).join("bin/python")
}

/// The accounts of all banks, with httpx.
fn httpx(python: &Path, banks: &ManyBanks, folder: &Path) -> Took {
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let own = &banks.pki.bank_a.qwac;
    let urls = banks
        .banks
        .iter()
        .map(|bank| format!("https://{}", bank.address));
    let plan = json!({
        "anchor": write("anchor.pem", &banks.pki.ca1.root_pem().unwrap()),
        "certificate": write("own.pem", &own.chain_pem),
        "key": write("own.key", &own.key_pem),
        "banks": urls.collect::<Vec<_>>(),
        "at_a_time": AggregatorLimits::default().at_a_time,
        "connecting": CONNECTING.as_secs_f64(),
        "call": CALL.as_secs_f64(),
        "answer": ANSWER,
    });
    let plan = write("plan.json", &plan.to_string());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/aggregator_httpx.py");
    let output = Command::new(python).arg(script).arg(plan).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        tests::programs::both(&output)
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    // It does not tell one bank from another by the organisation in the certificate.
    assert_eq!(told["answered"], LIVING + 1);
    let seconds = |key: &str| Duration::from_secs_f64(told[key].as_f64().unwrap());
    Took {
        last: seconds("last"),
        all: seconds("all"),
    }
}
