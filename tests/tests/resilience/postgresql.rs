//! On PostgreSQL: the way to the database, its tables and their versions, and what happens when it is gone.

use std::process::Output;
use std::time::{Duration, Instant};

use bank_client::environment::Clock as _;
use bank_server::RunningBank;
use bank_server::config::{Config, RetentionConfig, RevocationConfig};
use bank_server::store::consents::Consents;
use bank_server::store::retention::Retention;
use bank_server::store::{AdvisoryLock, Database, DatabaseLocation, Server, StoreError};
use chrono::{DateTime, TimeDelta};
use serde_json::json;
use shared_types::xs2a::consent::ConsentStatus;
use tempfile::TempDir;
use tests::banks::Banks;
use tests::cluster::Cluster;
use tests::consent_requests::PSU;
use tests::http::Tpp;
use tests::operator;
use tests::process::{Process, consent_body, prepare_with};
use tests::programs::{both, own};
use tests::sdk::BANK_A;
use tests::tcp_proxy::{Healed, Wire};
use tests::wait::{wait_for, wait_until};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// The section `[store]` for that database.
fn section(url: &str) -> String {
    format!(
        "{{ url = \"{url}\", key = \"bank.key\", max_connections = 4, statement_timeout_seconds = 2 }}"
    )
}

fn run(folder: &TempDir, command: &str) -> Output {
    let mut program = own("bank-server");
    program
        .args([command, "--config"])
        .arg(folder.path().join("bank.toml"));
    program.output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", both(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_asked_for_at_the_start_and_made_by_migrate_alone() {
    let cluster = Cluster::start();
    let (folder, pki) = prepare_with(&section(&cluster.url("")));
    let refused = run(&folder, "serve");
    assert!(!refused.status.success());
    let told = both(&refused);
    assert!(
        told.contains("of version 0, and version 20 is needed"),
        "{told}"
    );
    assert!(told.contains("bank-server migrate"), "{told}");
    // Several at once wait for each other.
    let path = folder.path().join("bank.toml");
    let migrations: Vec<_> = (0..4)
        .map(|_| {
            let mut program = own("bank-server");
            program.args(["migrate", "--config"]).arg(&path);
            std::thread::spawn(move || program.output().unwrap())
        })
        .collect();
    let said: Vec<String> = migrations
        .into_iter()
        .map(|one| said(&one.join().unwrap()))
        .collect();
    let told = |line: &str| said.iter().filter(|found| *found == line).count();
    let made = told("the tables were at version 0, and are at version 20\n");
    let done_before = told("the tables are at version 20; nothing to do\n");
    assert_eq!((made, done_before), (1, 3), "{said:?}");
    let bank = Process::serve(folder.path(), &pki).await;
    let created = bank
        .tpp
        .post("/v1/consents", &[PSU], &consent_body("2099-12-31"))
        .await;
    assert_eq!(created.status, 201, "{created:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_the_version_before_are_brought_up_to_date_and_those_of_the_next_are_good() {
    let cluster = Cluster::start();
    let (folder, pki) = prepare_with(&section(&cluster.url("")));
    said(&run(&folder, "migrate"));
    let bank = Process::serve(folder.path(), &pki).await;
    let create = async |bank: &Process| {
        let body = consent_body("2099-12-31");
        let created = bank.tpp.post("/v1/consents", &[PSU], &body).await;
        assert_eq!(created.status, 201, "{created:?}");
        created.json()["consentId"].as_str().unwrap().to_owned()
    };
    let before = create(&bank).await;
    // As the next version does: it adds.
    cluster.ask(
        "ALTER TABLE consent ADD COLUMN of_the_next_version TEXT; \
         CREATE TABLE of_the_next_version (id BIGINT PRIMARY KEY); \
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'the next', true, '\\x00', 0)",
    );
    // The replica goes on, and another one of its version can be started.
    let meanwhile = create(&bank).await;
    let another = Process::serve(folder.path(), &pki).await;
    for id in [&before, &meanwhile, &create(&another).await] {
        for bank in [&bank, &another] {
            let status = bank
                .tpp
                .get(&format!("/v1/consents/{id}/status"), &[])
                .await;
            assert_eq!(status.json(), json!({ "consentStatus": "received" }));
        }
    }
    // One that was made beside other work, and not to the end, is made anew.
    cluster.ask(
        "DELETE FROM _sqlx_migrations WHERE version = 8; \
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'consent_by_last_action'::regclass",
    );
    let told = both(&run(&folder, "serve"));
    assert!(
        told.contains("of version 7, and version 20 is needed"),
        "{told}"
    );
    said(&run(&folder, "migrate"));
    let valid =
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'consent_by_last_action'::regclass";
    assert_eq!(cluster.ask(valid), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_database_is_tls_with_the_authority_that_is_named() {
    let (folder, pki) = prepare_with("{ path = \"unused.db\" }");
    let cluster = Cluster::with_tls(&pki.bank_b.qwac);
    let open = async |root: &str| {
        let root = folder.path().join(root);
        let url = cluster.url_at_port(&format!(
            "sslmode=verify-full&sslrootcert={}",
            root.display()
        ));
        let place = DatabaseLocation::Server(Server::new(&url).unwrap());
        Database::migrate(&place).await?;
        Database::open(&place).await
    };
    let database = open("pki/ca1/root.pem").await.unwrap();
    let tls: bool = sqlx::query_scalar("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert!(tls);
    let refused = open("pki/ca2/root.pem").await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_lying_for_too_long_can_be_asked_again() {
    let cluster = Cluster::start();
    let place = DatabaseLocation::Server(cluster.server());
    Database::migrate(&place).await.unwrap();
    let database = Database::open(&place).await.unwrap();
    let mut write = database.begin_write().await.unwrap();
    sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 1")
        .execute(&mut *write)
        .await
        .unwrap();
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
    wait_for("the end of its session", || {
        (cluster.ask(idle) == "0").then_some(())
    })
    .await;
    let late = sqlx::query("SELECT 1").execute(&mut *write).await;
    let late = StoreError::from(late.unwrap_err());
    assert!(late.is_transient(), "{late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_does_not_wait_and_runs_on_one_replica() {
    let cluster = Cluster::start();
    let place = DatabaseLocation::Server(cluster.server());
    Database::migrate(&place).await.unwrap();
    let database = Database::open(&place).await.unwrap();
    let insert = "INSERT INTO failure (bucket, failed, last) VALUES ('one', 1, 0), ('two', 1, 0)";
    sqlx::query(insert).execute(database.pool()).await.unwrap();
    let retention = Retention::new(
        database.clone(),
        RetentionConfig::default(),
        TimeDelta::days(90),
    );
    let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
    let remove = async || retention.remove(now).await.unwrap();

    let mut other = database.begin_write().await.unwrap();
    assert!(other.try_take(AdvisoryLock::Retention).await.unwrap());
    assert_eq!(remove().await, 0, "another one is at it");
    other.commit().await.unwrap();

    let mut request = database.begin_write().await.unwrap();
    let lock = request.locked("SELECT bucket FROM failure WHERE bucket = 'one'");
    sqlx::query(sqlx::AssertSqlSafe(lock))
        .execute(&mut *request)
        .await
        .unwrap();
    // A statement that waits for a lock fails.
    assert_eq!(remove().await, 1);
    assert_eq!(cluster.ask("SELECT bucket FROM failure"), "one");
    request.commit().await.unwrap();
    assert_eq!(remove().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_falls_with_the_database_and_comes_back_with_it() {
    let cluster = Cluster::start();
    let (folder, pki) = prepare_with(&section(&cluster.url("")));
    said(&run(&folder, "migrate"));
    let bank = Process::serve(folder.path(), &pki).await;
    let ready = || operator::get(bank.operator, "/health/ready").starts_with("HTTP/1.1 200");
    wait_for("readiness", || ready().then_some(())).await;
    let body = consent_body("2099-12-31");
    let created = bank.tpp.post("/v1/consents", &[PSU], &body).await.json();
    cluster.stop_at_once();
    // What listens for changes needs a connection as well: it is counted while there is no request.
    wait_for("a figure", || {
        let figures = operator::get(bank.operator, "/metrics");
        let missing = "bank_store_failures_total{operation=\"CONNECT\"}";
        figures.contains(missing).then_some(())
    })
    .await;
    wait_for("the fall of readiness", || (!ready()).then_some(())).await;
    let path = format!(
        "/v1/consents/{}/status",
        created["consentId"].as_str().unwrap()
    );
    let refused = bank.tpp.get(&path, &[]).await;
    assert_eq!(refused.refusal(), "503 SERVICE_UNAVAILABLE");
    cluster.start_again();
    wait_for("readiness", || ready().then_some(())).await;
    let status = bank.tpp.get(&path, &[]).await;
    assert_eq!(status.json(), json!({ "consentStatus": "received" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_does_not_wait_for_the_database() {
    let cluster = Cluster::start();
    let wire = Wire::to(cluster.socket()).await;
    let url = format!("postgres://bank@{}/postgres?sslmode=disable", wire.address);
    let (folder, pki) = prepare_with(&section(&url));
    said(&run(&folder, "migrate"));
    let bank = Process::serve(folder.path(), &pki).await;
    let ready = || operator::get(bank.operator, "/health/ready");
    wait_for("readiness", || {
        ready().starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    wire.cut();
    let answer = ready();
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("\"no answer within 1 s\""),
        "{answer}"
    );
}

/// A consent `c`, which is valid.
fn insert_consent(cluster: &Cluster) {
    cluster.ask(
        "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, valid_until, \
         frequency_per_day, last_action, created, approve_by) \
         VALUES ('c', 'PSDDE-BAFIN-100001', 'r', 'd', 'valid', '{}', 1, '2099-01-01', 4, 0, 0, 0)",
    );
}

/// Whether the consent `c` is valid, or why that is unknown.
async fn is_valid(consents: &Consents) -> Result<bool, StoreError> {
    let tpp = BANK_A.parse().unwrap();
    let found = consents.find_with_grants(&tpp, "c").await?;
    Ok(found.unwrap().consent.status == ConsentStatus::Valid)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_loses_touch_does_not_go_by_what_it_has_read() {
    let cluster = Cluster::start();
    let wire = Wire::to(cluster.socket()).await;
    Database::migrate(&DatabaseLocation::Server(cluster.server()))
        .await
        .unwrap();
    insert_consent(&cluster);
    let url = format!("postgres://bank@{}/postgres?sslmode=disable", wire.address);
    let mut server = Server::new(&url).unwrap();
    server.statement = Duration::from_secs(1);
    let place = DatabaseLocation::Server(server);
    let database = Database::open(&place).await.unwrap();
    database.start_invalidation_listener();
    let consents = Consents::new(database.clone());
    for healed in [Healed::AsBefore, Healed::ForNewConnections] {
        let kept = async || {
            assert!(is_valid(&consents).await.unwrap());
            database.caches().consents.get("c").is_some()
        };
        wait_until("its being kept", async || kept().await.then_some(())).await;
        wire.cut();
        let cut = Instant::now();
        // It is changed by hand, without a notification.
        cluster.ask("UPDATE consent SET status = 'revokedByPsu'");
        wait_until("a read that fails", async || {
            let after = cut.elapsed();
            let Ok(valid) = is_valid(&consents).await else {
                return Some(());
            };
            assert!(valid && after < Duration::from_secs(1), "{after:?}");
            None
        })
        .await;
        wire.heal(healed);
        let valid = wait_until("the end of the cut", async || {
            is_valid(&consents).await.ok()
        })
        .await;
        assert!(!valid, "{healed:?}");
        cluster.ask("UPDATE consent SET status = 'valid'");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_list_is_fetched_once_for_all() {
    let banks = Banks::start().await;
    let folder = banks.folder.path();
    let published = folder.join("scheme-ca/ca1/published");
    let lists = MockServer::start().await;
    let list = std::fs::read(published.join("issuing.crl")).unwrap();
    let answer = ResponseTemplate::new(200).set_body_bytes(list);
    Mock::given(path("/issuing.crl"))
        .respond_with(answer)
        .mount(&lists)
        .await;
    let cluster = Cluster::start();
    let place = DatabaseLocation::Server(cluster.server());
    Database::migrate(&place).await.unwrap();
    let requests = async || lists.received_requests().await.unwrap().len();
    let first = with_list_from(&banks, &place, &lists).await;
    wait_for("the list for the others", || is_shared(&cluster)).await;
    let replicas = [first, with_list_from(&banks, &place, &lists).await];
    for replica in &replicas {
        let identity = &banks.sandbox.pki.bank_a.qwac;
        // Without that list no peer is accepted.
        let answer = Tpp::new(replica.xs2a_address(), identity.clone())
            .get("/openapi.json", &[])
            .await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(requests().await, 1);
    // A replica that reads everything again does not ask the others.
    replicas[1].reload();
    wait_until("the second fetch", async || {
        (requests().await == 2).then_some(())
    })
    .await;
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_list_is_not_handed_on_and_not_taken() {
    const NONE: &str = "<html>";

    let banks = Banks::start().await;
    let published = banks.folder.path().join("scheme-ca/ca1/published");
    let lists = MockServer::start().await;
    let list = std::fs::read(published.join("issuing.crl")).unwrap();
    for (content, times) in [(NONE.as_bytes().to_vec(), Some(1)), (list, None)] {
        let mock = Mock::given(path("/issuing.crl"))
            .respond_with(ResponseTemplate::new(200).set_body_bytes(content));
        match times {
            Some(times) => mock.up_to_n_times(times).mount(&lists).await,
            None => mock.mount(&lists).await,
        }
    }
    let cluster = Cluster::start();
    let place = DatabaseLocation::Server(cluster.server());
    Database::migrate(&place).await.unwrap();
    // Another replica believes what this one cannot read. Whatever is put down is written down.
    let now = banks.clock.now().timestamp();
    let address = format!("{}/issuing.crl", lists.uri());
    cluster.ask(&format!(
        "INSERT INTO fetched_list (address, fetched, claimed, body) VALUES ('{address}', {now}, 0, '{NONE}'); \
         CREATE TABLE put_down AS SELECT body FROM fetched_list WHERE false; \
         CREATE FUNCTION write_down() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN INSERT INTO put_down VALUES (NEW.body); RETURN NULL; END $$; \
         CREATE TRIGGER write_down AFTER UPDATE OF body ON fetched_list FOR EACH ROW EXECUTE FUNCTION write_down()"
    ));
    let bank = with_list_from(&banks, &place, &lists).await;
    let no_list = format!("SELECT count(*) FROM put_down WHERE body = '{NONE}'");
    wait_for("a list", || {
        (cluster.ask("SELECT count(*) FROM put_down") != "0").then_some(())
    })
    .await;
    assert_eq!(cluster.ask(&no_list), "0");
    let fetched = lists.received_requests().await.unwrap().len();
    assert_eq!(fetched, 2, "what is no list, and the list");
    let answer = Tpp::new(bank.xs2a_address(), banks.sandbox.pki.bank_a.qwac.clone())
        .get("/openapi.json", &[])
        .await;
    assert_eq!(answer.status, 200);
    bank.stop().await;
}

/// Bank B on that database, which fetches a list of revoked certificates from there.
async fn with_list_from(
    banks: &Banks,
    place: &DatabaseLocation,
    lists: &MockServer,
) -> RunningBank {
    let folder = banks.folder.path();
    let root = folder.join("scheme-ca/ca1/published/root.crl");
    let change = |config: &mut Config| {
        config.store.location = place.clone();
        config.revocation = RevocationConfig {
            lists: vec![
                root.to_str().unwrap().to_owned(),
                format!("{}/issuing.crl", lists.uri()),
            ],
            allow_local_addresses: true,
            ..RevocationConfig::default()
        };
    };
    banks.replica_of_b(change).await
}

fn is_shared(cluster: &Cluster) -> Option<()> {
    (cluster.ask("SELECT count(*) FROM fetched_list WHERE fetched > 0") == "1").then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_heard_of_in_whatever_schema_the_tables_are() {
    let cluster = Cluster::start();
    let place = DatabaseLocation::Server(cluster.server());
    Database::migrate(&place).await.unwrap();
    insert_consent(&cluster);
    let database = Database::open(&place).await.unwrap();
    // Meanwhile the user gets one of its own, which comes first where names are looked for, and has no tables.
    cluster.ask("CREATE SCHEMA bank");
    database.start_invalidation_listener();
    let consents = Consents::new(database.clone());
    wait_until("its being kept", async || {
        is_valid(&consents).await.unwrap();
        database.caches().consents.get("c").map(drop)
    })
    .await;
    cluster.ask("UPDATE consent SET status = 'revokedByPsu'");
    let changed = Instant::now();
    wait_until("the change", async || {
        let after = changed.elapsed();
        let valid = is_valid(&consents).await.unwrap();
        assert!(!valid || after < Duration::from_secs(1), "{after:?}");
        (!valid).then_some(())
    })
    .await;
    // No second set of tables is made there, and none is taken for ours.
    for outcome in [
        Database::migrate(&place).await.map(drop),
        Database::open(&place).await.map(drop),
    ] {
        let refused = outcome.unwrap_err().to_string();
        let why = "there are tables in the schema public, and names lead to bank first; if they are this bank's, add options=-csearch_path=public";
        assert!(refused.contains(why), "{refused}");
    }
    let nowhere = cluster.url("&options=-csearch_path=nowhere");
    let refused =
        Database::migrate(&DatabaseLocation::Server(Server::new(&nowhere).unwrap())).await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("is not there (CREATE SCHEMA)"),
        "{refused}"
    );
}
