//! Fault injection on two replicas of a bank that share one PostgreSQL: the database stops, a
//! replica is killed, the network between them is cut.
//!
//! Each client checks throughout, and at the end, that the bank agrees with what it acknowledged.
//!
//! A client's expectations come from the responses that it has received, and from nothing else.

mod clients;

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fixtures::sandbox::Databases;
use tokio::task::JoinHandle;

use self::clients::{Client, Load, Tally};
use crate::banks::Banks;
use crate::cluster::Cluster;
use crate::operator;
use crate::process::{Process, replica_of};
use crate::tcp_proxy::{Healed, Wire};
use crate::wait::{wait_for, wait_until};

/// Number of concurrent clients.
const CLIENTS: usize = 8;

/// Pause of a client between two requests.
const PACE: Duration = Duration::from_millis(10);

/// The longest time without an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Fault to inject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// PostgreSQL is stopped in immediate mode, and started again.
    DatabaseStopped,
    /// A replica is killed with SIGKILL, and another one started in its place.
    ReplicaKilled,
    /// The network between replicas and database is cut until clients have received errors. Every
    /// second time, the network drops the open connections without closing them.
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

/// Result of a run.
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
        let consent = banks.consent(&tpp).approved().await;
        let load = Arc::new(Load {
            identity: tpp.identity.clone(),
            consent: consent.clone(),
            consent_body: banks.consent_body().to_string(),
            places: Mutex::default(),
            enough: AtomicBool::new(false),
            tally: Tally::default(),
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
             max_connections = 4\nstatement_timeout_seconds = 1",
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
                    self.trouble_shows().await;
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
            answered: after.answered - before.answered,
            acknowledged: after.acknowledged - before.acknowledged,
            refused: after.refused - before.refused,
            broken: after.broken - before.broken,
            uncounted: (self.uncounted() - uncounted).max(0),
            wrong,
            recovered,
            ..self.verdict()
        }
    }

    /// Errors in the logs of the replicas.
    fn complaints(&self) -> Vec<String> {
        let logs = self.replicas.iter().map(|(configuration, _)| {
            std::fs::read_to_string(configuration.with_extension("log")).unwrap()
        });
        let logs: String = logs.collect();
        let errors = logs.lines().filter(|line| line.contains(r#""ERROR""#));
        errors.map(str::to_owned).collect()
    }

    /// Results of the requests, so far.
    fn tally(&self) -> Figures {
        let tally = &self.load.tally;
        let read = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        Figures {
            answered: read(&tally.answered),
            acknowledged: read(&tally.acknowledged),
            refused: read(&tally.refused),
            broken: read(&tally.broken),
            ..Figures::default()
        }
    }

    fn number(&self, statement: &str) -> i64 {
        self.ask(statement).parse().unwrap()
    }

    /// Runs a statement on the cluster, while clients and network continue.
    fn ask(&self, statement: &str) -> String {
        let statement = statement.replace("SCHEMA", &self.schema);
        tokio::task::block_in_place(|| self.cluster.ask(&statement))
    }

    /// Lower bound of the reads that were answered but not counted. Reads that were counted but not
    /// answered can hide others.
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
        old.child.kill();
        let next = Process::configured(configuration, &self.load.identity).await;
        self.load.places.lock().unwrap()[which] = next.tpp.bank;
        self.replicas[which].1 = next;
    }

    /// Waits until clients have received as many errors as there are clients.
    async fn trouble_shows(&self) {
        let before = self.tally().refused;
        let shown = || (self.tally().refused >= before + CLIENTS).then_some(());
        wait_for("trouble", shown).await;
    }

    /// Waits for answers, and for as long as clients do.
    async fn more_answers(&self) {
        let before = self.tally().answered;
        let more = || (self.tally().answered >= before + 25 * CLIENTS).then_some(());
        wait_for("answers", more).await;
    }

    /// Consents and authorisations.
    fn rows(&self) -> [usize; 2] {
        ["consent", "authorisation"].map(|table| {
            let rows = self.number(&format!("SELECT count(*) FROM SCHEMA.{table}"));
            usize::try_from(rows).unwrap()
        })
    }

    /// The time from now until each replica is ready, and answers a client.
    async fn recovery(&self) -> Duration {
        let begun = Instant::now();
        for (_, replica) in &self.replicas {
            wait_until("readiness", async || {
                let answer = operator::try_get(replica.operator, "/health/ready").await?;
                answer.contains(" 200 OK").then_some(())
            })
            .await;
            let place = replica.tpp.bank;
            let path = format!("/v1/consents/{}/status", self.consent);
            wait_until("an answer of each replica", async || {
                let answer = self.load.ask(place, "GET", &path, &[], "").await?;
                (answer.status == 200).then_some(())
            })
            .await;
        }
        begun.elapsed()
    }

    /// Compares the database with the responses that the clients have received. Fails on any
    /// difference.
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

    /// Stops each client once all of its requests have a response, and checks everything once more:
    /// by then there is exactly one consent and one authorisation for each request.
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
