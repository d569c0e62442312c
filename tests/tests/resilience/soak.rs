//! A minute of load while everything a bank can be given anew is given anew, every second: no
//! request fails, nothing leaks.
//!
//! `SOAK_SECONDS` makes it another time than 60 s.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bank_client::environment::{Clock as _, SystemClock};
use bank_client::{AccountInformation, Bank as Handle, TransactionFilter};
use bank_server::BankServer;
use bank_server::config::Config;
use bank_server::core_banking::ledger::import;
use chrono::{Days, Months};
use fixtures::pki::{Identity, Pki, Wanted, bank_b};
use fixtures::scheme_ca::CaLevel;
use fixtures::world::{Bank, World};
use futures::FutureExt as _;
use serde_json::Value;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::xs2a::consent::{AccountAccess, AllAccounts, ConsentRequest, ConsentStatus};
use tempfile::TempDir;
use tests::customer;
use tests::files::replace;
use tests::process::{Process, prepare};
use tests::sdk::{BANK_B, bank_builder, credentials};
use tests::stores;
use tests::wait::wait_for;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Requests a second.
const RATE: u32 = 200;
/// Handles of each TPP; each has a connection of its own.
const HANDLES: usize = 3;
/// Certificates of the bank that take turns.
const CERTIFICATES: usize = 5;
/// Requests under way at most, for each TPP: fewer than the bank allows an organisation.
const AT_A_TIME: usize = 50;
/// The customer is there: her address.
const PSU: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Memory is flat if it ends at no more than that many percent of what it was after a quarter of
/// the time,
const PERCENT: u64 = 115;
/// and so many KiB: an allocator's whim.
const ALLOWANCE: u64 = 8 * 1024;
/// So many more descriptors at the end are no leak: the database's. One for each rotation would be
/// twice as many.
const DESCRIPTORS: usize = 20;

/// Database of Bank B.
struct Scene {
    folder: TempDir,
    pki: Pki,
}

impl Scene {
    async fn set() -> Self {
        let (folder, pki) = prepare().await;
        let scene = Self { folder, pki };
        let mut world = Vec::new();
        World::generate(1, SystemClock.now().date_naive())
            .of(Bank::B)
            .write(&mut world)
            .unwrap();
        let database = stores::of(&scene.path("bank.toml")).await;
        import(&database, SystemClock.now().date_naive(), world.as_slice())
            .await
            .unwrap();
        database.close().await;
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A TPP's handle for the bank, with connections of its own.
    fn handle(&self, bank: SocketAddr, identity: &Identity) -> Handle {
        let builder = bank_builder(bank, BANK_B, &self.pki, identity);
        builder.build().unwrap()
    }

    fn tpps(&self) -> [&Identity; 2] {
        [&self.pki.bank_a.qwac, &self.pki.bank_r.qwac]
    }

    /// An approved consent for each TPP. The customer approves in a bank of the same data that runs
    /// in this process.
    async fn consents(&self) -> [String; 2] {
        let config = Config::read(&self.path("bank.toml")).unwrap();
        let bank = BankServer::new(config).start().await.unwrap();
        let wanted = ConsentRequest {
            access: AccountAccess {
                all_psd2: Some(AllAccounts::AllAccounts),
                ..AccountAccess::default()
            },
            recurring_indicator: true,
            valid_until: SystemClock.now().date_naive() + Days::new(30),
            // The TPPs read all the time.
            frequency_per_day: NonZeroU32::MAX,
            combined_service_indicator: false,
        };
        let mut consents = Vec::new();
        for identity in self.tpps() {
            let handle = self.handle(bank.xs2a_address(), identity);
            let created = handle.create_consent(&wanted, PSU).await.unwrap();
            let id = created.consent_id.clone();
            customer::approve(&bank, identity, &id).await;
            consents.push(id);
        }
        bank.stop().await;
        consents.try_into().unwrap()
    }

    /// Puts the next of everything in place.
    fn rotate(&self, round: usize, certificates: &[Identity]) {
        let own = &certificates[round % certificates.len()];
        replace(&self.path("pki/bank-b/qwac.pem"), &own.chain_pem);
        replace(&self.path("pki/bank-b/qwac.key"), &own.key_pem);
        for level in CaLevel::BOTH {
            let list = self.pki.ca1.publish(level, SystemClock.now()).unwrap();
            replace(
                &self.path(&format!("pki/ca1/{}.crl", level.as_str())),
                &list,
            );
        }
        let mut anchors = self.pki.ca1.root_pem().unwrap();
        if round.is_multiple_of(2) {
            anchors += &self.pki.ca2.root_pem().unwrap();
        }
        replace(&self.path("pki/ca1/root.pem"), anchors);
    }
}

fn serial(identity: &Identity) -> String {
    CertificateSummary::of(&credentials(identity).chain()[0]).serial
}

/// The lines of a log with that message.
fn lines(log: &Path, message: &str) -> Vec<Value> {
    let message = format!(r#""message":"{message}""#);
    let text = fs::read_to_string(log).unwrap();
    text.lines()
        .filter(|line| line.contains(&message))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// One TPP at one connection, with what it reads.
#[derive(Clone)]
struct Reader {
    handle: Handle,
    under: AccountInformation,
    consent: String,
    account: String,
    filter: TransactionFilter,
    places: Arc<Semaphore>,
}

impl Reader {
    /// The next request of four kinds.
    async fn ask(&self, number: usize) -> Result<(), String> {
        let _place = self.places.acquire().await.unwrap();
        let outcome = match number % 4 {
            0 => self.under.accounts(true).await.map(|read| read.len() == 3),
            1 => self
                .under
                .balances(&self.account)
                .await
                .map(|read| read.balances.len() == 2),
            2 => self
                .under
                .transactions_page(&self.account, &self.filter)
                .await
                .map(|_| true),
            _ => self
                .handle
                .consent_status(&self.consent)
                .await
                .map(|status| status == ConsentStatus::Valid),
        };
        match outcome {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("request {number} was answered with something else")),
            Err(error) => Err(error.to_string()),
        }
    }
}

async fn readers(scene: &Scene, bank: SocketAddr, consents: &[String; 2]) -> Vec<Reader> {
    let since = SystemClock.now().date_naive() - Months::new(3);
    let mut readers = Vec::new();
    for (identity, consent) in scene.tpps().into_iter().zip(consents) {
        let places = Arc::new(Semaphore::new(AT_A_TIME));
        for _ in 0..HANDLES {
            let handle = scene.handle(bank, identity);
            let under = handle.with_consent(consent).psu_ip_address(PSU);
            let accounts = under.accounts(false).await.unwrap();
            readers.push(Reader {
                account: accounts[0].resource_id.clone().unwrap(),
                handle,
                under,
                consent: consent.clone(),
                filter: TransactionFilter::since(since),
                places: Arc::clone(&places),
            });
        }
    }
    readers
}

/// Measurements in the middle and at the end.
#[derive(Debug)]
struct Seen {
    memory: u64,
    connections: usize,
    descriptors: usize,
}

impl Seen {
    fn now(bank: &Process) -> Self {
        Self {
            memory: bank.child.resident_memory(),
            connections: bank.connections(),
            descriptors: bank.descriptors(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_load_and_of_rotation_fails_no_request_and_leaks_nothing() {
    let seconds: u32 = std::env::var("SOAK_SECONDS").map_or(60, |text| text.parse().unwrap());
    let scene = Scene::set().await;
    let consents = scene.consents().await;
    let certificates: Vec<Identity> = (0..CERTIFICATES)
        .map(|_| {
            scene
                .pki
                .enrol(&bank_b(), &Wanted::default(), SystemClock.now())
                .unwrap()
        })
        .collect();
    let bank = Process::serve(scene.folder.path(), &scene.pki).await;
    let readers = readers(&scene, bank.tpp.bank, &consents).await;

    let started = Instant::now();
    let mut tick = interval(Duration::from_secs(1) / RATE);
    // Requests that were due while the machine was busy are made up for.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // Rotations are not: the bank would see only the last of several at once.
    let mut rotation = interval(Duration::from_secs(1));
    rotation.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut round, rounds) = (0, usize::try_from(seconds).unwrap());
    let mut requests = JoinSet::new();
    let mut failed = Vec::new();
    let mut early = None;
    let due = usize::try_from(seconds * RATE).unwrap();
    // One that was given up may still be closing.
    let most = readers.len() + 2;
    let mut number = 0;
    while number < due || round < rounds {
        tick.tick().await;
        if rotation.tick().now_or_never().is_some() {
            scene.rotate(round, &certificates);
            // A TPP renews its connection too: without it, no new certificate of the bank would
            // ever be shown.
            let renewing = &readers[round % readers.len()];
            let identity = scene.tpps()[round % readers.len() / HANDLES];
            renewing
                .handle
                .replace_credentials(credentials(identity))
                .unwrap();
            round += 1;
        }
        if number >= due / 4 && early.is_none() {
            let seen = Seen::now(&bank);
            early = (seen.connections <= most).then_some(seen);
        }
        let reader = readers[number % readers.len()].clone();
        // Each kind of request comes to each reader.
        let kind = number / readers.len();
        requests.spawn(async move { reader.ask(kind).await });
        number += 1;
        while let Some(answered) = requests.try_join_next() {
            failed.extend(answered.unwrap().err());
        }
    }
    let made = started.elapsed();
    while let Some(answered) = requests.join_next().await {
        failed.extend(answered.unwrap().err());
    }
    let took = started.elapsed();
    wait_for("the end of connections that were given up", || {
        (bank.connections() <= most).then_some(())
    })
    .await;
    let early = early.unwrap_or_else(|| panic!("always more than {most} connections"));
    let late = Seen::now(&bank);

    let changes = lines(&bank.log, "trust updated");
    let refused = lines(&bank.log, "reload rejected, keeping previous value");
    let rate = f64::from(u32::try_from(number).unwrap()) / took.as_secs_f64();
    println!(
        "{number} requests, due in {seconds} s, made in {made:.1?}, answered in {took:.1?}: {rate:.0}/s; {} failed; \
         {} changes of trust, {} refused; {early:?} after a quarter, {late:?} at the end",
        failed.len(),
        changes.len(),
        refused.len(),
    );
    assert_eq!(failed, Vec::<String>::new());
    check_rotation(&changes, seconds, &certificates);
    assert!(
        late.memory <= early.memory * PERCENT / 100 + ALLOWANCE,
        "memory: {early:?}, {late:?}"
    );
    assert!(
        late.descriptors <= early.descriptors + DESCRIPTORS,
        "something stays open: {early:?}, {late:?}"
    );
    drop(readers);
    wait_for("the end of every connection", || {
        (bank.connections() == 0).then_some(())
    })
    .await;
}

/// The bank took what it was given: most of the editions, each certificate, both sets of anchors.
fn check_rotation(changes: &[Value], seconds: u32, certificates: &[Identity]) {
    let most = usize::try_from(seconds).unwrap() * 2 / 3;
    assert!(changes.len() >= most, "{} changes of trust", changes.len());
    let ever = |field: &str, value: Value| {
        assert!(
            changes.iter().any(|change| change[field] == value),
            "{field} was never {value}"
        );
    };
    for certificate in certificates {
        ever("certificate", serial(certificate).into());
    }
    ever("anchors", 1.into());
    ever("anchors", 2.into());
    let mut editions: Vec<&str> = changes
        .iter()
        .map(|change| change["lists"].as_str().unwrap())
        .collect();
    editions.sort_unstable();
    editions.dedup();
    assert!(
        editions.len() >= most,
        "{} editions of lists",
        editions.len()
    );
}
