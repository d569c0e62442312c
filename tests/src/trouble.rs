//! Two replicas of a bank on one PostgreSQL, clients that keep asking, and what goes wrong meanwhile: the database stops, a
//! replica is killed, the network between them is cut.
//!
//! Each client knows what it was told, and nothing else. In the end, and all the time, that has to be so.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bank_client::environment::{Randomness as _, SystemRandomness};
use fixtures::outsider::{Met, OutsiderError, Tls, call};
use fixtures::pki::Identity;
use fixtures::sandbox::Databases;
use serde_json::json;
use std::sync::Mutex;
use tokio::task::JoinHandle;

use crate::banks::Banks;
use crate::cluster::Cluster;
use crate::http::Response;
use crate::operator;
use crate::process::{Process, replica_of};
use crate::wire::{CUT, Healed, Wire};

/// Clients that ask at a time.
const CLIENTS: usize = 8;

/// How long a client waits between two requests.
const PACE: Duration = Duration::from_millis(10);

/// How long nothing may be answered, before that is wrong as well.
const PATIENCE: Duration = Duration::from_mins(1);

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// PostgreSQL is stopped in immediate mode, and started again.
    DatabaseStopped,
    /// A replica is killed with SIGKILL, and another one started in its place.
    ReplicaKilled,
    /// Nothing passes between replicas and database for some seconds. Every second time the connections that there were
    /// are forgotten by the network.
    NetworkCut,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DatabaseStopped => "PostgreSQL stopped at once and started again",
            Self::ReplicaKilled => "a replica killed (`kill -9`) and another one started",
            Self::NetworkCut => "the network to the database cut and healed",
        })
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Figures {
    /// Requests that were answered as they should be.
    pub answered: usize,
    /// Of them, writes that were acknowledged.
    pub acknowledged: usize,
    /// Requests that were answered with 503, and repeated.
    pub refused: usize,
    /// Requests without an answer, and repeated.
    pub broken: usize,
    /// Acknowledged writes that are not there.
    pub lost: usize,
    /// Writes that are there twice.
    pub doubled: usize,
    /// Answers that are not true.
    pub wrong: Vec<String>,
    /// Reads that were answered and are not counted.
    pub uncounted: i64,
    /// From the end of the fault until all replicas answered a request each, one number each time.
    pub recovered: Vec<Duration>,
}

impl Figures {
    /// The longest.
    pub fn slowest(&self) -> Duration {
        self.recovered.iter().max().copied().unwrap_or_default()
    }
}

/// Two replicas under load.
pub struct Trouble {
    banks: Banks,
    cluster: Cluster,
    wire: Wire,
    schema: String,
    consent: String,
    rows_before: [usize; 2],
    replicas: Vec<(PathBuf, Process)>,
    load: Arc<Load>,
    clients: Vec<JoinHandle<()>>,
}

/// What the clients share.
struct Load {
    identity: Identity,
    /// For everything, with as good as no limit.
    consent: String,
    consent_body: String,
    places: Mutex<Vec<SocketAddr>>,
    enough: AtomicBool,
    answered: AtomicUsize,
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
    broken: AtomicUsize,
    reads: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    known: Mutex<Vec<Known>>,
}

/// What a client was told.
struct Known {
    consent: String,
    status: &'static str,
    authorisation: String,
}

impl Trouble {
    /// Starts all of it.
    pub async fn start() -> Self {
        let cluster = Cluster::start();
        let wire = Wire::to(cluster.socket()).await;
        let banks = Banks::on(Databases::Schemas {
            server: Box::new(cluster.server()),
            prefix: String::new(),
        })
        .await;
        let tpp = banks.a_at_b();
        let everything = json!({ "allPsd2": "allAccounts" });
        let consent = banks.approved_consent(&tpp, &everything).await;
        let load = Arc::new(Load {
            identity: tpp.identity.clone(),
            consent: consent.clone(),
            consent_body: banks.consent_body(&everything).to_string(),
            places: Mutex::default(),
            enough: AtomicBool::new(false),
            answered: AtomicUsize::new(0),
            acknowledged: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            wrong: Mutex::default(),
            known: Mutex::default(),
        });
        let mut trouble = Self {
            banks,
            cluster,
            wire,
            schema: "sandbox_bank_b".to_owned(),
            consent,
            rows_before: [0; 2],
            replicas: Vec::new(),
            load,
            clients: Vec::new(),
        };
        for number in 1..=2 {
            let configuration = trouble.configure(number);
            let replica = Process::configured(&configuration, &trouble.load.identity).await;
            trouble.load.places.lock().unwrap().push(replica.tpp.bank);
            trouble.replicas.push((configuration, replica));
        }
        trouble.rows_before = trouble.rows();
        for number in 0..CLIENTS {
            let client = Client {
                load: Arc::clone(&trouble.load),
                turn: number,
            };
            trouble.clients.push(tokio::spawn(client.keep_asking()));
        }
        trouble.more_answers().await;
        trouble
    }

    /// The configuration of Bank B, with the database behind the wire.
    fn configure(&self, number: usize) -> PathBuf {
        let url = format!(
            "url = \"postgres://bank@{}/postgres?sslmode=disable&options=-csearch_path%3D{}\"\n\
             connections = 4\nstatement_seconds = 1",
            self.wire.address, self.schema
        );
        let bank = self.banks.folder.path().join("bank-b.toml");
        replica_of(&bank, &format!("replica-{number}"), "", |line| {
            let is_url = line.starts_with("url = \"postgres");
            is_url.then(|| url.clone())
        })
    }

    /// That, so many times.
    pub async fn suffer(&mut self, fault: Fault, times: usize) -> Figures {
        let before = self.tally();
        let uncounted = self.uncounted();
        let mut recovered = Vec::new();
        for time in 0..times {
            match fault {
                Fault::DatabaseStopped => {
                    self.cluster.stop_at_once();
                    self.trouble_shows().await;
                    self.cluster.start_again();
                }
                Fault::ReplicaKilled => self.replace(time % 2).await,
                Fault::NetworkCut => {
                    self.wire.cut();
                    tokio::time::sleep(CUT).await;
                    self.wire.heal(if time % 2 == 0 {
                        Healed::AsBefore
                    } else {
                        Healed::ForNewConnections
                    });
                }
            }
            recovered.push(self.recovery().await);
            self.more_answers().await;
        }
        let after = self.tally();
        let mut wrong = std::mem::take(&mut *self.load.wrong.lock().unwrap());
        if !wrong.is_empty() {
            wrong.extend(self.complaints());
        }
        Figures {
            answered: after.0 - before.0,
            acknowledged: after.1 - before.1,
            refused: after.2 - before.2,
            broken: after.3 - before.3,
            uncounted: (self.uncounted() - uncounted).max(0),
            wrong,
            recovered,
            ..self.verdict()
        }
    }

    /// What the replicas themselves say went wrong.
    fn complaints(&self) -> Vec<String> {
        let logs = self.replicas.iter().map(|(configuration, _)| {
            std::fs::read_to_string(configuration.with_extension("log")).unwrap()
        });
        let logs: String = logs.collect();
        let errors = logs.lines().filter(|line| line.contains(r#""ERROR""#));
        errors.map(str::to_owned).collect()
    }

    fn tally(&self) -> (usize, usize, usize, usize) {
        let load = &self.load;
        let read = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (
            read(&load.answered),
            read(&load.acknowledged),
            read(&load.refused),
            read(&load.broken),
        )
    }

    fn number(&self, statement: &str) -> i64 {
        self.ask(statement).parse().unwrap()
    }

    /// The clients, and the wire, go on meanwhile.
    fn ask(&self, statement: &str) -> String {
        let statement = statement.replace("SCHEMA", &self.schema);
        tokio::task::block_in_place(|| self.cluster.ask(&statement))
    }

    /// At least so many reads were answered and are not counted; those that were counted and not answered hide others.
    fn uncounted(&self) -> i64 {
        let counted = self.number(&format!(
            "SELECT coalesce(sum(count), 0) FROM SCHEMA.consent_use WHERE consent_id = '{}'",
            self.consent
        ));
        let read = i64::try_from(self.load.reads.load(Ordering::SeqCst)).unwrap();
        (read - counted).max(0)
    }

    /// Another replica in the place of one that dies.
    async fn replace(&mut self, which: usize) {
        let (configuration, old) = &mut self.replicas[which];
        old.child.kill().unwrap();
        old.child.wait().unwrap();
        let next = Process::configured(configuration, &self.load.identity).await;
        self.load.places.lock().unwrap()[which] = next.tpp.bank;
        self.replicas[which].1 = next;
    }

    /// Waits until somebody was told that it does not work.
    async fn trouble_shows(&self) {
        let before = self.load.refused.load(Ordering::SeqCst);
        let shown = || self.load.refused.load(Ordering::SeqCst) > before;
        wait(shown, "trouble").await;
    }

    /// Waits for answers, and for as long as clients do.
    async fn more_answers(&self) {
        let before = self.load.answered.load(Ordering::SeqCst);
        let more = || self.load.answered.load(Ordering::SeqCst) >= before + 25 * CLIENTS;
        wait(more, "answers").await;
    }

    /// Consents and authorisations.
    fn rows(&self) -> [usize; 2] {
        ["consent", "authorisation"].map(|table| {
            let rows = self.number(&format!("SELECT count(*) FROM SCHEMA.{table}"));
            usize::try_from(rows).unwrap()
        })
    }

    /// How long it takes from now until each replica is ready, and answers a client.
    async fn recovery(&self) -> Duration {
        let begun = Instant::now();
        for (_, replica) in &self.replicas {
            let ready = || operator::get(replica.operator, "/health/ready").contains(" 200 OK");
            wait(ready, "readiness").await;
            let place = replica.tpp.bank;
            let path = format!("/v1/consents/{}/status", self.consent);
            loop {
                let answer = self.load.ask(place, "GET", &path, &[], "").await;
                if answer.is_some_and(|answer| answer.status == 200) {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{place} does not answer");
            }
        }
        begun.elapsed()
    }

    /// Whether all that clients were told is so, and nothing else.
    fn verdict(&self) -> Figures {
        let known = self.load.known.lock().unwrap();
        let consents = self.ask("SELECT id || ' ' || status FROM SCHEMA.consent");
        let consents: HashSet<&str> = consents.lines().collect();
        let authorisations = self.ask("SELECT id FROM SCHEMA.authorisation");
        let authorisations: HashSet<&str> = authorisations.lines().collect();
        let lost = known.iter().filter(|known| {
            let consent = format!("{} {}", known.consent, known.status);
            !consents.contains(consent.as_str())
                || !authorisations.contains(known.authorisation.as_str())
        });
        let doubled = ["consent", "authorisation"].map(|table| {
            self.number(&format!(
                "SELECT count(*) - count(DISTINCT request_id) FROM SCHEMA.{table}"
            ))
        });
        Figures {
            lost: lost.count(),
            doubled: usize::try_from(doubled[0] + doubled[1]).unwrap(),
            ..Figures::default()
        }
    }

    /// Stops the clients, once each has been answered all that it has asked, and looks at everything once more: by then
    /// there is one consent, and one authorisation, for each that was asked for.
    pub async fn end(mut self) -> Figures {
        self.load.enough.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            client.await.unwrap();
        }
        let mut figures = self.verdict();
        let known = self.load.known.lock().unwrap().len();
        for (rows, before) in self.rows().into_iter().zip(self.rows_before) {
            figures.doubled += (rows - before).saturating_sub(known);
        }
        figures.wrong = std::mem::take(&mut *self.load.wrong.lock().unwrap());
        figures
    }
}

impl Load {
    /// One request, and its answer, if there is one.
    async fn ask(
        &self,
        place: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Response> {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "X-Request-ID") {
            request += &format!("X-Request-ID: {}\r\n", SystemRandomness.uuid());
        }
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            request += &format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            );
        }
        request = request + "\r\n" + body;
        let identity = self.identity.clone();
        let answer =
            tokio::task::spawn_blocking(move || call(place, Some(&identity), Tls::V1_3, &request));
        match answer.await.unwrap() {
            Ok(meeting) => match meeting.met {
                Met::Http(bytes) if whole(&bytes) => Some(Response::read(&bytes)),
                _ => None,
            },
            Err(OutsiderError::Network(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn is_wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }
}

/// Whether the answer has arrived to its end. A process that is killed may leave half of one.
fn whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let answer = Response::read(bytes);
    let length = answer.header("content-length");
    length.is_none_or(|length| length.parse() == Ok(bytes.len() - end - 4))
}

struct Client {
    load: Arc<Load>,
    turn: usize,
}

impl Client {
    async fn keep_asking(mut self) {
        while !self.load.enough.load(Ordering::SeqCst) {
            self.round().await;
        }
    }

    /// A consent, what belongs to it, and its end; each asked for until there is an answer, and then once more.
    async fn round(&mut self) {
        let psu = ("PSU-IP-Address", "192.0.2.7");
        let body = self.load.consent_body.clone();
        let id = SystemRandomness.uuid().to_string();
        // Otherwise the bank begins an authorisation along with it.
        let explicit = ("TPP-Explicit-Authorisation-Preferred", "true");
        let headers = [("X-Request-ID", id.as_str()), psu, explicit];
        let Some(consent) = self
            .create("/v1/consents", &headers, &body, "consentId")
            .await
        else {
            return;
        };
        let path = format!("/v1/consents/{consent}");
        self.shows(&path, "received").await;
        let id = SystemRandomness.uuid().to_string();
        let headers = [("X-Request-ID", id.as_str()), psu];
        let authorisations = format!("{path}/authorisations");
        let Some(authorisation) = self
            .create(&authorisations, &headers, "{}", "authorisationId")
            .await
        else {
            return;
        };
        let accounts = self.load.consent.clone();
        let accounts = [("Consent-ID", accounts.as_str())];
        if self
            .until_answered("GET", "/v1/accounts", &accounts, "", 200)
            .await
            .is_some()
        {
            self.load.reads.fetch_add(1, Ordering::SeqCst);
        }
        let ends = self.turn.is_multiple_of(2);
        if ends {
            let ended = self.until_answered("DELETE", &path, &[], "", 204).await;
            if ended.is_none() {
                return;
            }
            self.load.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        let status = if ends { "terminatedByTpp" } else { "received" };
        self.shows(&path, status).await;
        self.load.known.lock().unwrap().push(Known {
            consent,
            status,
            authorisation,
        });
    }

    /// Creates something, and is told the same again for the same request.
    async fn create(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        id: &str,
    ) -> Option<String> {
        let first = self
            .until_answered("POST", path, headers, body, 201)
            .await?;
        self.load.acknowledged.fetch_add(1, Ordering::SeqCst);
        let again = self
            .until_answered("POST", path, headers, body, 201)
            .await?;
        let (first, again) = (first.json()[id].clone(), again.json()[id].clone());
        if first != again {
            self.load
                .is_wrong(format!("POST {path}: {first}, and again {again}"));
        }
        Some(first.as_str()?.to_owned())
    }

    async fn shows(&mut self, path: &str, status: &str) {
        let path = format!("{path}/status");
        if let Some(answer) = self.until_answered("GET", &path, &[], "", 200).await {
            let shown = answer.json();
            if shown["consentStatus"] != status {
                self.load
                    .is_wrong(format!("GET {path}: {shown} instead of {status}"));
            }
        }
    }

    /// Asks one replica after the other, until one answers. Any answer but that one is wrong, and then it gives up.
    async fn until_answered(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
        expected: u16,
    ) -> Option<Response> {
        let begun = Instant::now();
        loop {
            self.turn += 1;
            let place = {
                let places = self.load.places.lock().unwrap();
                places[self.turn % places.len()]
            };
            tokio::time::sleep(PACE).await;
            match self.load.ask(place, method, path, headers, body).await {
                Some(answer) if answer.status == expected => {
                    self.load.answered.fetch_add(1, Ordering::SeqCst);
                    return Some(answer);
                }
                Some(answer) if answer.status == 503 => {
                    self.load.refused.fetch_add(1, Ordering::SeqCst);
                }
                Some(answer) => {
                    let body = String::from_utf8_lossy(&answer.body);
                    let status = answer.status;
                    self.load
                        .is_wrong(format!("{method} {path}: {status} {body}"));
                    return None;
                }
                None => {
                    self.load.broken.fetch_add(1, Ordering::SeqCst);
                }
            }
            if begun.elapsed() > PATIENCE {
                self.load.is_wrong(format!("{method} {path}: no answer"));
                return None;
            }
        }
    }
}

async fn wait(mut so: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not come about");
        tokio::time::sleep(PACE).await;
    }
}
