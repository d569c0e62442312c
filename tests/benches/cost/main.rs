//! Benchmark of the cost of a request, beside nginx and a server on Go's standard library, and how
//! that grows with what the bank holds. Writes its tables into `docs/performance.md`, which says
//! how they come about.

#![forbid(unsafe_code)]

mod core;
mod filling;
mod load;
mod peers;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bank_client::environment::{Clock as _, SystemClock};
use bank_server::store::{Database, DatabaseLocation};
use chrono::TimeDelta;
use fixtures::pki::{Pki, bank_a};
use tempfile::TempDir;
use tests::cluster::Cluster;
use tests::generators::{longer, write_list};
use tests::process::prepare_with;
use tests::programs::{both, system, system_of};
use tests::soft_token::SoftToken;

use self::load::{Askers, Connections, Http, Question};
use self::peers::{Peer, cpu_of, family};

/// Everybody is asked as often, in turns; the medians count.
const ROUNDS: usize = 3;
/// For how long, each time.
const TIME: Duration = Duration::from_secs(2);
const IDLE: u32 = 10_000;
/// Reads are under so many consents, one after the other.
const CONSENTS: u64 = 1000;

/// All are measured and written down, or those that are named, and only printed.
const PARTS: [&str; 9] = [
    "side-by-side",
    "core",
    "idle",
    "transactions",
    "consents",
    "revoked",
    "tpps",
    "tokens",
    "replicas",
];

const BEGIN: &str = "<!-- tests/benchmark writes what follows -->\n";
const END: &str = "<!-- as far as here -->\n";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // Making the list takes memory that would be in the way of measuring: a process of its own does
    // it.
    if let [_, make, authority, file, entries] = arguments.as_slice()
        && make == "make"
    {
        write_list(
            Path::new(authority),
            Path::new(file),
            entries.parse().unwrap(),
        );
        return;
    }
    // `cargo bench` adds an argument of its own.
    let wanted: Vec<&String> = arguments
        .iter()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let scene = Scene::set().await;
    let mut report = machine();
    if !wanted.is_empty() {
        for part in wanted {
            scene.part(part).await;
        }
        return;
    }
    for part in PARTS {
        report.push_str(&scene.part(part).await);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    fs::write(path, format!("{before}{BEGIN}\n{report}{END}{after}")).unwrap();
}

/// The body of the bank's answer to a question.
async fn answer(bank: &Peer, pki: &Pki, question: &Question) -> Vec<u8> {
    let client = tests::http::Tpp::new(bank.address, pki.bank_a.qwac.clone());
    let headers = question.headers.iter();
    let mut headers: Vec<(&str, &str)> = headers
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    headers.push(("Consent-ID", filling::CONSENT));
    let answer = client.get(&question.path, &headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

struct Scene {
    folder: TempDir,
    pki: Pki,
    askers: Askers,
    accounts: Question,
    counted: Question,
    transactions: Question,
}

/// CPU time of a request, and how many were answered in a second.
#[derive(Clone, Copy)]
struct Cost {
    microseconds: f64,
    a_second: f64,
}

impl Scene {
    async fn set() -> Self {
        let (folder, pki) = prepare_with("{ path = \"bank.db\" }");
        let from = SystemClock.now().date_naive() - TimeDelta::days(80);
        let question = |path: String, present: bool| Question {
            path,
            headers: present
                .then(|| ("PSU-IP-Address", "192.0.2.7".to_owned()))
                .into_iter()
                .collect(),
            consents: CONSENTS,
            length: 0,
        };
        let accounts = "/v1/accounts?withBalance=true";
        let account = filling::ACCOUNT;
        let page = format!(
            "/v1/accounts/{account}/transactions?bookingStatus=booked&dateFrom={from}&pageSize=100"
        );
        let mut scene = Self {
            askers: Askers::new(&pki),
            accounts: question(accounts.to_owned(), true),
            counted: question(accounts.to_owned(), false),
            transactions: question(page, true),
            folder,
            pki,
        };
        // How long the answers are, and what the others are to answer.
        let bank = scene.bank("bank").await;
        let files = scene.path("files");
        fs::create_dir(&files).unwrap();
        for (name, question) in [
            ("accounts.json", &mut scene.accounts),
            ("accounts.json", &mut scene.counted),
            ("transactions.json", &mut scene.transactions),
        ] {
            let answer = answer(&bank, &scene.pki, question).await;
            question.length = answer.len();
            fs::write(files.join(name), &answer).unwrap();
        }
        scene
    }

    async fn part(&self, name: &str) -> String {
        match name {
            "side-by-side" => self.side_by_side().await,
            "core" => self.with_core().await,
            "idle" => self.idle().await,
            "transactions" => self.with_transactions().await,
            "consents" => self.with_consents().await,
            "revoked" => self.with_revoked().await,
            "tpps" => self.with_tpps().await,
            "tokens" => self.with_tokens().await,
            "replicas" => self.with_replicas().await,
            _ => panic!("the parts are {PARTS:?}"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A configuration of that name, with a database of its own as a file, which has been filled
    /// with the customer.
    async fn configure(
        &self,
        name: &str,
        change: impl Fn(String) -> String,
    ) -> (PathBuf, DatabaseLocation) {
        let place = DatabaseLocation::File(self.path(&format!("{name}.db")));
        let store = format!("{{ path = \"{name}.db\" }}");
        let file = self.configure_at(name, &store, &place, change).await;
        (file, place)
    }

    async fn configure_at(
        &self,
        name: &str,
        store: &str,
        place: &DatabaseLocation,
        change: impl Fn(String) -> String,
    ) -> PathBuf {
        let more = "limits = { idle_timeout_seconds = 3600, max_connections_per_organisation = 20000, max_requests_per_organisation = 1000 }";
        let text = fs::read_to_string(self.path("bank.toml")).unwrap();
        let lines = text.lines().map(|line| match line.trim() {
            line if line.starts_with("store = ") => format!("store = {store}"),
            line if line.starts_with("limits = ") => String::new(),
            line if line.starts_with("log = ") => format!("{line}\n{more}"),
            line => line.to_owned(),
        });
        let text: Vec<String> = lines.collect();
        let file = self.path(&format!("{name}.toml"));
        fs::write(&file, change(text.join("\n"))).unwrap();
        let database = Database::open(place).await.unwrap();
        let tpp = bank_a().id.unwrap();
        filling::begin(&database, &tpp, SystemClock.now()).await;
        filling::consents(&database, CONSENTS).await;
        database.close().await;
        file
    }

    async fn bank(&self, name: &str) -> Peer {
        let (file, _) = self.configure(name, |text| text).await;
        Peer::bank(&file, &self.pki).await
    }

    /// Asks everybody in turns. What one is asked can be another path than what another is asked.
    async fn measure(
        &self,
        peers: &[(&Peer, &Question)],
        http: Http,
        connections: Connections,
    ) -> Vec<Cost> {
        let mut costs = vec![Vec::new(); peers.len()];
        for round in 0..=ROUNDS {
            // The first round only warms up.
            let time = if round == 0 { TIME / 8 } else { TIME };
            for (number, (peer, question)) in peers.iter().enumerate() {
                let (cpu, began) = (peer.cpu(), Instant::now());
                let answers = self
                    .askers
                    .ask(&[peer.address], question, http, connections, time)
                    .await;
                let took = began.elapsed();
                if round > 0 {
                    costs[number].push(Cost::of(peer.cpu().saturating_sub(cpu), took, answers));
                }
            }
        }
        costs.into_iter().map(median).collect()
    }

    async fn side_by_side(&self) -> String {
        let mut text = told(String::from(
            "### Side by side\n\nMicroseconds of CPU (user and system) for each request, and in brackets requests a second.\n\n\
             | request | HTTP | connections | bank-server | nginx | Go | bank-server / nginx |\n|---|---|---|---|---|---|---|\n",
        ));
        let bank = self.bank("beside").await;
        let nginx = Peer::nginx(self.folder.path()).await;
        let go = Peer::go(self.folder.path());
        let mut alone = [const { Vec::new() }; 3];
        for (name, question, file) in [
            (
                "accounts with balances, customer present",
                &self.accounts,
                "/accounts.json",
            ),
            (
                "the same, counted for the day",
                &self.counted,
                "/accounts.json",
            ),
            ("100 transactions", &self.transactions, "/transactions.json"),
        ] {
            let plain = Question {
                path: file.to_owned(),
                headers: Vec::new(),
                consents: 0,
                length: question.length,
            };
            let peers = [(&bank, question), (&nginx, &plain), (&go, &plain)];
            for (http, version) in [(Http::One, "1.1"), (Http::Two, "2")] {
                let kept = self.measure(&peers, http, Connections::Kept).await;
                let new = self.measure(&peers, http, Connections::New).await;
                for (connections, costs) in [("kept", &kept), ("new", &new)] {
                    text.push_str(&told(format!(
                        "| {name}, {} bytes | {version} | {connections} | {} | {} | {} | {:.2} |\n",
                        question.length,
                        costs[0],
                        costs[1],
                        costs[2],
                        costs[0].microseconds / costs[1].microseconds
                    )));
                }
                for ((alone, new), kept) in alone.iter_mut().zip(&new).zip(&kept) {
                    alone.push(new.microseconds - kept.microseconds);
                }
            }
        }
        let [bank, nginx, go] = alone.map(|mut alone| {
            alone.sort_by(f64::total_cmp);
            alone[alone.len() / 2]
        });
        text.push_str(&told(format!(
            "| a connection and its handshake alone: median of what new connections take more | | | {bank:.0} | {nginx:.0} | {go:.0} | {:.2} |\n\n",
            bank / nginx
        )));
        text
    }

    /// The bank's cost of a read through a core over HTTP, beside the ledger's.
    async fn with_core(&self) -> String {
        let folder = self.folder.path();
        let files = self.path("files");
        core::write_answers(
            &self.path("core-accounts"),
            &self.path("core-transactions"),
            filling::ACCOUNT,
            &fs::read(files.join("accounts.json")).unwrap(),
            &fs::read(files.join("transactions.json")).unwrap(),
        );
        let ledger = self.bank("ledger").await;
        let mut text = String::from(
            "### A core over HTTP\n\nThe bank's CPU, µs (requests a second), with the ledger and with a core at a server on \
             Go's standard library, whose own CPU comes on top.\n\n\
             | request | ledger | core | core / ledger |\n|---|---|---|---|\n",
        );
        for (name, files, question) in [
            ("accounts with balances", "core-accounts", &self.accounts),
            ("100 transactions", "core-transactions", &self.transactions),
        ] {
            let server = Peer::go_with(folder, files);
            let section = format!(
                "\n[core_banking]\nurl = \"https://{}\"\nanchors = [\"pki/ca1/root.pem\"]\n\
                 certificate = \"pki/bank-a/qwac.pem\"\nprivate_key = \"pki/bank-a/qwac.key\"\n",
                server.address
            );
            let name_of_bank = format!("with-{files}");
            let configured = self.configure(&name_of_bank, |text| text + section.as_str());
            let (file, _) = configured.await;
            let bank = Peer::bank(&file, &self.pki).await;
            // The link to the next page has another place, and so another length.
            let through_core = Question {
                length: answer(&bank, &self.pki, question).await.len(),
                ..question.clone()
            };
            let peers = [(&ledger, question), (&bank, &through_core)];
            let costs = self.measure(&peers, Http::One, Connections::Kept).await;
            let ratio = costs[1].microseconds / costs[0].microseconds;
            text.push_str(&format!(
                "| {name} | {} | {} | {ratio:.2} |\n",
                costs[0], costs[1]
            ));
        }
        text.push('\n');
        told(text)
    }

    async fn idle(&self) -> String {
        let mut text = format!(
            "### Idle\n\n| | bank-server | nginx | Go |\n|---|---|---|---|\n| memory with no connection | BEFORE |\n\
             | memory for each of {IDLE} connections, after a request over each | EACH |\n\n"
        );
        let bank = self.bank("idle").await;
        let nginx = Peer::nginx(self.folder.path()).await;
        let go = Peer::go(self.folder.path());
        let plain = Question {
            path: "/accounts.json".to_owned(),
            headers: Vec::new(),
            consents: 0,
            length: self.accounts.length,
        };
        let (mut before, mut each) = (Vec::new(), Vec::new());
        for (peer, question) in [(&bank, &self.accounts), (&nginx, &plain), (&go, &plain)] {
            let least = peer.resident();
            let mut open = Vec::new();
            for _ in 0..IDLE {
                open.push(self.askers.idle(peer.address, question).await);
            }
            let grown = peer.resident() - least;
            before.push(format!("{:.1} MiB", float(least) / 1024.0));
            each.push(format!("{:.1} KiB", float(grown) / f64::from(IDLE)));
        }
        text = text
            .replace("BEFORE", &before.join(" | "))
            .replace("EACH", &each.join(" | "));
        told(text)
    }

    /// Cost of one request at banks that differ in the amount of one kind of data.
    async fn growth(
        &self,
        what: &str,
        sizes: &[u64],
        asked: &[(&Peer, &Question)],
        connections: Connections,
    ) -> String {
        let costs = self.measure(asked, Http::One, connections).await;
        let mut text = format!(
            "### {what}\n\n| number | CPU, µs (requests a second) | against the least |\n|---|---|---|\n"
        );
        for (size, cost) in sizes.iter().zip(&costs) {
            let ratio = cost.microseconds / costs[0].microseconds;
            text.push_str(&format!("| {size} | {cost} | {ratio:.2} |\n"));
        }
        text.push('\n');
        text
    }

    async fn with_transactions(&self) -> String {
        let sizes = [10_000, 1_000_000, 10_000_000];
        let mut banks = Vec::new();
        for size in sizes {
            let (file, place) = self
                .configure(&format!("entries-{size}"), |text| text)
                .await;
            let database = Database::open(&place).await.unwrap();
            filling::entries(&database, size).await;
            database.close().await;
            banks.push(Peer::bank(&file, &self.pki).await);
        }
        let asked: Vec<_> = banks
            .iter()
            .map(|bank| (bank, &self.transactions))
            .collect();
        told(
            self.growth(
                "Transactions in the ledger: a page of 100 of them",
                &sizes,
                &asked,
                Connections::Kept,
            )
            .await,
        )
    }

    async fn with_tokens(&self) -> String {
        let token = SoftToken::make();
        let mut text = String::from(
            "### Private keys on a token: a new connection, and accounts with balances\n\n\
             | key | CPU, µs (requests a second) | against the file |\n|---|---|---|\n",
        );
        let parties = [
            ("ECDSA, P-256", "bank-b", &self.pki.bank_b.qwac),
            ("RSA, 3072 bits", "bank-r", &self.pki.bank_r.qwac),
        ];
        for (kind, party, identity) in parties {
            token.import(party, &identity.key_pem);
            let uri = token.uri(Some(party));
            let mut banks = Vec::new();
            for (place, key) in [("file", None), ("token", Some(uri))] {
                let name = format!("{party}-{place}");
                let (file, _) = self
                    .configure(&name, |text| {
                        let text = text.replace("bank-b/qwac", &format!("{party}/qwac"));
                        match &key {
                            Some(uri) => text.replace(&format!("pki/{party}/qwac.key"), uri),
                            None => text,
                        }
                    })
                    .await;
                let command = token.own("bank-server");
                banks.push(Peer::started_by(command, &file, &self.pki).await);
            }
            let asked: Vec<_> = banks.iter().map(|bank| (bank, &self.accounts)).collect();
            let costs = self.measure(&asked, Http::One, Connections::New).await;
            for (place, cost) in ["file", "SoftHSM"].iter().zip(&costs) {
                let ratio = cost.microseconds / costs[0].microseconds;
                text.push_str(&format!("| {kind}, {place} | {cost} | {ratio:.2} |\n"));
            }
        }
        text.push('\n');
        told(text)
    }

    async fn with_consents(&self) -> String {
        let sizes = [CONSENTS, 100_000, 1_000_000];
        let (mut banks, mut ready) = (Vec::new(), Vec::new());
        for size in sizes {
            let (file, place) = self
                .configure(&format!("consents-{size}"), |text| text)
                .await;
            let database = Database::open(&place).await.unwrap();
            filling::more_consents(&database, CONSENTS, size).await;
            database.close().await;
            let mut took = Vec::new();
            for _ in 0..5 {
                let began = Instant::now();
                let process =
                    tests::process::Process::configured(&file, &self.pki.bank_a.qwac).await;
                let answer = tests::operator::get(process.operator, "/health/ready");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                took.push(began.elapsed());
            }
            took.sort_unstable();
            ready.push(took[2]);
            banks.push(Peer::bank(&file, &self.pki).await);
        }
        let questions: Vec<Question> = sizes
            .iter()
            .map(|consents| Question {
                consents: *consents,
                ..self.accounts.clone()
            })
            .collect();
        let asked: Vec<_> = banks.iter().zip(&questions).collect();
        let mut text = self
            .growth(
                "Consents in the store, each asked with in turn: accounts with balances",
                &sizes,
                &asked,
                Connections::Kept,
            )
            .await;
        for (size, ready) in sizes.iter().zip(ready) {
            text.push_str(&format!(
                "With {size}, the bank is ready {} ms after its process was started (median of 5).\n",
                ready.as_millis()
            ));
        }
        told(text + "\n")
    }

    async fn with_revoked(&self) -> String {
        let sizes: [u64; 3] = [1, 10_000, 1_000_000];
        let ca = self.path("ca1");
        self.pki.ca1.keep_in(&ca, SystemClock.now()).unwrap();
        let mut banks = Vec::new();
        for size in sizes {
            let list = format!("revoked-{size}.crl");
            let made = Command::new(std::env::current_exe().unwrap())
                .arg("make")
                .args([&ca, &self.path(&list)])
                .arg(size.to_string())
                .status()
                .unwrap();
            assert!(made.success());
            let change = |text: String| text.replace("pki/ca1/issuing.crl", &list);
            let (file, _) = self.configure(&format!("revoked-{size}"), change).await;
            banks.push(Peer::bank(&file, &self.pki).await);
        }
        let asked: Vec<_> = banks.iter().map(|bank| (bank, &self.accounts)).collect();
        told(
            self.growth(
                "Revoked certificates: a new connection, and accounts with balances",
                &sizes,
                &asked,
                Connections::New,
            )
            .await,
        )
    }

    async fn with_tpps(&self) -> String {
        let sizes = [10, 10_000];
        let mut banks = Vec::new();
        for size in sizes {
            let register = format!("register-{size}.json");
            let longer = longer(&self.pki.register, usize::try_from(size).unwrap());
            fs::write(self.path(&register), serde_json::to_vec(&longer).unwrap()).unwrap();
            let change = |text: String| text.replace("pki/register.json", &register);
            let (file, _) = self.configure(&format!("tpps-{size}"), change).await;
            banks.push(Peer::bank(&file, &self.pki).await);
        }
        let asked: Vec<_> = banks.iter().map(|bank| (bank, &self.accounts)).collect();
        told(
            self.growth(
                "TPPs in the register: a new connection, and accounts with balances",
                &sizes,
                &asked,
                Connections::New,
            )
            .await,
        )
    }

    async fn with_replicas(&self) -> String {
        let cluster = Cluster::start();
        let place = DatabaseLocation::Server(cluster.server());
        Database::migrate(&place).await.unwrap();
        let store = format!("{{ url = \"{}\", key = \"bank.key\" }}", cluster.url(""));
        let file = self
            .configure_at("replica", &store, &place, |text| text)
            .await;
        let mut replicas = vec![Peer::bank(&file, &self.pki).await];
        let server = cluster.process();
        let mut text = String::from(
            "### Replicas on one PostgreSQL\n\nMicroseconds of CPU for each request, over kept connections of HTTP/1.1, and in brackets \
             requests a second; everything shares the two cores.\n\n\
             | request | replicas | bank-server | PostgreSQL |\n|---|---|---|---|\n",
        );
        for number in [1, 2] {
            if number == 2 {
                replicas.push(Peer::bank(&file, &self.pki).await);
            }
            for (name, question) in [
                ("accounts with balances, customer present", &self.accounts),
                ("the same, counted for the day", &self.counted),
                ("100 transactions", &self.transactions),
            ] {
                let addresses: Vec<_> = replicas.iter().map(|replica| replica.address).collect();
                let (mut of_banks, mut of_database) = (Vec::new(), Vec::new());
                for _ in 0..ROUNDS {
                    let banks = || replicas.iter().map(Peer::cpu).sum::<Duration>();
                    let database = || family(server).into_iter().map(cpu_of).sum::<Duration>();
                    let (cpu, of_server, began) = (banks(), database(), Instant::now());
                    let answers = self
                        .askers
                        .ask(&addresses, question, Http::One, Connections::Kept, TIME)
                        .await;
                    let took = began.elapsed();
                    of_banks.push(Cost::of(banks().saturating_sub(cpu), took, answers));
                    // Its processes for single connections can have ended meanwhile.
                    of_database.push(Cost::of(
                        database().saturating_sub(of_server),
                        took,
                        answers,
                    ));
                }
                text.push_str(&format!(
                    "| {name} | {number} | {} | {:.0} |\n",
                    median(of_banks),
                    median(of_database).microseconds
                ));
            }
        }
        told(text + "\n")
    }
}

fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("an unknown processor", |model| {
        model.trim_start_matches([':', ' ', '\t'])
    });
    let cores = std::thread::available_parallelism().unwrap();
    let said = |command: &mut Command| both(&command.output().unwrap()).trim().to_owned();
    let nginx = said(system("nginx").arg("-v"));
    let go = said(system_of("go", "golang-go").arg("version"));
    told(format!(
        "Measured on {}: {cores} cores, {}, Linux {}; {}, {}. Medians of {ROUNDS} rounds of {} s.\n\n",
        SystemClock.now().date_naive(),
        model.trim(),
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap()
            .trim(),
        nginx.replace("nginx version: ", ""),
        go.replace("go version ", ""),
        TIME.as_secs()
    ))
}

impl Cost {
    fn of(cpu: Duration, took: Duration, answers: usize) -> Self {
        let answers = f64::from(u32::try_from(answers).unwrap());
        Self {
            microseconds: cpu.as_secs_f64() * 1_000_000.0 / answers,
            a_second: answers / took.as_secs_f64(),
        }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ({:.0})", self.microseconds, self.a_second)
    }
}

/// By CPU time.
fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|one, other| one.microseconds.total_cmp(&other.microseconds));
    costs[costs.len() / 2]
}

/// Prints it as well, as soon as it is known.
fn told(text: String) -> String {
    print!("{text}");
    text
}

fn float(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap())
}
