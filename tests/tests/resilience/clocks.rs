//! Replicas whose clock is wrong: they say so, are not ready, and harm nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bank_client::environment::{Clock, SystemClock};
use bank_server::config::Config;
use bank_server::{BankServer, RunningBank, StartError};
use chrono::{DateTime, TimeDelta, Utc};
use fixtures::sandbox::Databases;
use fixtures::world::Bank;
use tests::banks::Banks;
use tests::browser::Tab;
use tests::cluster::Cluster;
use tests::consent_requests::PSU;
use tests::http::Tpp;
use tests::operator;
use tests::stores;
use tests::wait::{wait_for, wait_until};

const DAY: i64 = 86_400;

/// The system's clock, ahead by so many seconds, or behind.
#[derive(Default)]
struct Shifted(AtomicI64);

impl Shifted {
    fn by(seconds: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(seconds)))
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> DateTime<Utc> {
        SystemClock.now() + TimeDelta::seconds(self.0.load(Ordering::SeqCst))
    }
}

/// Three banks on a PostgreSQL server of their own, and what a TPP and a customer have there.
struct World {
    banks: Banks,
    cluster: Cluster,
    tpp: Tpp,
    consent: String,
    tab: Tab,
}

impl World {
    async fn start() -> Self {
        let cluster = Cluster::start();
        let banks = Banks::on(Databases::Schemas {
            server: Box::new(cluster.server()),
            prefix: "clocks_".to_owned(),
        })
        .await;
        let tpp = banks.a_at_b();
        let consent = banks.consent(&tpp).approved().await;
        let mut tab = Tab::at(&banks.sandbox.bank(Bank::B).running);
        banks.clock.advance(TimeDelta::seconds(30));
        tab.log_in(&banks, &banks.customer(Bank::B)).await;
        Self {
            banks,
            cluster,
            tpp,
            consent,
            tab,
        }
    }

    /// Another replica of Bank B, with that clock.
    async fn replica(&self, clock: &Arc<Shifted>) -> Result<RunningBank, StartError> {
        let config = Config::read(&self.banks.folder.path().join("bank-b.toml")).unwrap();
        let clock = Arc::<Shifted>::clone(clock);
        BankServer::new(config).clock(clock).start().await
    }

    /// All rows of Bank B, as they are.
    fn rows(&self) -> String {
        let schema = self
            .cluster
            .ask("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'sandbox_clocks_%b' LIMIT 1");
        assert!(!schema.is_empty());
        [
            "consent",
            "consent_account",
            "authorisation",
            "session",
            "failure",
            "code",
            "tpp",
        ]
        .map(|table| {
            self.cluster.ask(&format!(
                "SELECT '{table}', t::text FROM {schema}.{table} t ORDER BY t::text"
            ))
        })
        .join("\n")
    }

    /// The consent is read, and the customer is logged in, where the clock is right.
    async fn goes_on(&mut self) {
        let answer = self.tpp.read("/v1/accounts", &self.consent).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = self.tab.get("/").await;
        assert_eq!((page.status, page.path()), (200, "/"));
    }
}

fn ready(bank: &RunningBank) -> String {
    operator::get(bank.operator_address(), "/health/ready")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_clock_is_wrong_is_not_ready_and_harms_nothing() {
    let mut world = World::start().await;
    let right = world.replica(&Shifted::by(0)).await.unwrap();
    assert!(
        ready(&right).starts_with("HTTP/1.1 200"),
        "{}",
        ready(&right)
    );
    for seconds in [65, -65, DAY, -DAY, 730 * DAY, -730 * DAY] {
        let before = world.rows();
        let side = if seconds < 0 { "behind" } else { "ahead of" };
        // Known to a second, or two where the machine is busy.
        let about = seconds - 2..=seconds + 2;
        let is_told = |text: &str| {
            about
                .clone()
                .any(|seconds| text.contains(&format!("is {} s {side} that of", seconds.abs())))
        };
        let wrong = match world.replica(&Shifted::by(seconds)).await {
            Ok(wrong) => wrong,
            // Two years ago, neither its certificate was valid nor anybody licensed.
            Err(refused) => {
                assert_eq!(seconds, -730 * DAY, "{refused}");
                assert!(is_told(&refused.to_string()), "{refused}");
                continue;
            }
        };
        let told = ready(&wrong);
        assert!(told.starts_with("HTTP/1.1 503"), "{seconds}: {told}");
        assert!(is_told(&told), "{seconds}: {told}");
        let figures = operator::get(wrong.operator_address(), "/metrics");
        let figure = |seconds| format!("bank_clock_ahead_seconds {seconds}\n");
        let is_shown = about
            .clone()
            .any(|seconds| figures.contains(&figure(seconds)));
        assert!(is_shown, "{figures}");
        // By the others, the TPP's certificate is not valid yet, or no longer.
        if [65, -65, DAY].contains(&seconds) {
            let tpp = Tpp::new(wrong.xs2a_address(), world.tpp.identity.clone());
            let body = world.banks.consent_body().to_string();
            for answer in [
                tpp.read("/v1/accounts", &world.consent).await,
                tpp.post("/v1/consents", &[PSU], &body).await,
            ] {
                assert_eq!(answer.status, 503, "{seconds}: {answer:?}");
            }
            let mut tab = Tab::at(&wrong);
            tab.browser.cookies = world.tab.browser.cookies.clone();
            assert_eq!(tab.get("/").await.status, 503, "{seconds}");
        }
        assert_eq!(world.rows(), before, "{seconds}");
        world.goes_on().await;
        wrong.stop().await;
    }
    right.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_wrong_takes_its_replica_out_until_it_is_right() {
    let mut world = World::start().await;
    let clock = Shifted::by(0);
    let replica = world.replica(&clock).await.unwrap();
    let tpp = Tpp::new(replica.xs2a_address(), world.tpp.identity.clone());
    let read = async || tpp.read("/v1/accounts", &world.consent).await.status;
    wait_for("readiness", || {
        ready(&replica).starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    assert_eq!(read().await, 200);
    for days in [300, -300] {
        clock.set(days * DAY);
        // At once, and not with the next comparison.
        assert!(ready(&replica).starts_with("HTTP/1.1 503"), "{days}");
        clock.set(0);
        assert!(ready(&replica).starts_with("HTTP/1.1 200"), "{days}");
    }
    clock.set(DAY);
    assert_eq!(read().await, 503);
    clock.set(0);
    assert_eq!(read().await, 200);
    world.goes_on().await;
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_clock_was_set_years_ahead_nothing_that_is_valid_is_removed() {
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let consent = banks.consent(&tpp).approved().await;
    let database = stores::of(&banks.folder.path().join("bank-b.toml")).await;
    let then = (banks.clock.now() - TimeDelta::days(2)).timestamp();
    sqlx::query("INSERT INTO session (digest, psu, level, begun, last_seen) VALUES ('over', 'a', 'full', $1, $1)")
        .bind(then)
        .execute(database.pool())
        .await
        .unwrap();
    let replica = banks.replica_of_b(|_| ()).await;
    // Less than the lists are good for: nothing but the step and the pace speaks against it.
    banks.clock.step(TimeDelta::days(700));
    wait_until("a removal", async || {
        banks.clock.advance(TimeDelta::minutes(1));
        let left: Vec<String> = sqlx::query_scalar("SELECT digest FROM session")
            .fetch_all(database.pool())
            .await
            .unwrap();
        left.is_empty().then_some(())
    })
    .await;
    let left: Vec<String> = sqlx::query_scalar("SELECT id FROM consent")
        .fetch_all(database.pool())
        .await
        .unwrap();
    assert_eq!(left, [consent]);
    replica.stop().await;
}
