//! A core over HTTP that is down, slow or lying: its reads fail, each with the right status, and
//! nothing else does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bank_server::RunningBank;
use bank_server::config::CoreBankingConfig;
use chrono::{Days, TimeDelta};
use fixtures::world::Bank;
use serde_json::{Value, json};
use tests::banks::Banks;
use tests::browser::Tab;
use tests::core_double::{CoreDouble, operation};
use tests::http::Tpp;
use tests::operator;
use wiremock::ResponseTemplate;

/// Bank B with that core, a TPP of it, and an approved consent.
struct Scene {
    banks: Banks,
    core: CoreDouble,
    bank: RunningBank,
    tpp: Tpp,
    consent: String,
    account: String,
}

impl Scene {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut CoreBankingConfig)) -> Self {
        let banks = Banks::start().await;
        let consent = banks.consent(&banks.a_at_b()).approved().await;
        let account = banks.accounts_at_b()[0].id.to_string();
        let core = CoreDouble::start(&account, banks.today()).await;
        let mut section = core.section();
        change(&mut section);
        let bank = banks
            .replica_of_b(|config| {
                config.core_banking = Some(section);
                // Until the circuit opens, about a hundred reads wait, and more on a busy machine.
                config.limits.max_requests_per_organisation = 10_000;
            })
            .await;
        let identity = banks.sandbox.pki.bank_a.qwac.clone();
        Self {
            tpp: Tpp::new(bank.xs2a_address(), identity),
            banks,
            core,
            bank,
            consent,
            account,
        }
    }

    fn path(&self, resource: &str) -> String {
        format!("/v1/accounts/{}/{resource}", self.account)
    }

    /// The first page of all transactions.
    fn list(&self) -> String {
        let from = self.banks.today() - Days::new(60);
        self.path(&format!(
            "transactions?bookingStatus=both&pageSize=10&dateFrom={from}"
        ))
    }

    async fn status(&self, path: &str) -> u16 {
        self.tpp.read(path, &self.consent).await.status
    }

    async fn transactions(&self) -> u16 {
        self.status(&self.list()).await
    }
}

/// Response with an answer that was changed.
fn changed(answer: &Value, change: impl FnOnce(&mut Value)) -> ResponseTemplate {
    let mut answer = answer.clone();
    change(&mut answer);
    ResponseTemplate::new(200).set_body_json(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_core_is_read_page_by_page() {
    let scene = Scene::start().await;
    let mut path = scene.list();
    let mut ids = Vec::new();
    for _ in 0..4 {
        let page = scene.tpp.read(&path, &scene.consent).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        for list in ["pending", "booked"] {
            let entries = page["transactions"][list].as_array().into_iter().flatten();
            ids.extend(entries.map(|entry| entry["transactionId"].as_str().unwrap().to_owned()));
        }
        match page["transactions"]["_links"]["next"]["href"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    let expected: Vec<String> = (1..=31).rev().map(|id: u32| id.to_string()).collect();
    assert_eq!(ids, expected);
    let balances = scene
        .tpp
        .read(&scene.path("balances"), &scene.consent)
        .await;
    let amount = &balances.json()["balances"][0]["balanceAmount"]["amount"];
    assert_eq!(amount, "30.00");
    assert_eq!(scene.status(&scene.path("transactions/7")).await, 200);
    assert_eq!(scene.status(&scene.path("transactions/none")).await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_the_contract_is_a_fault_and_never_passed_on() {
    type Change = fn(&mut Value);
    let scene = Scene::start().await;
    let faults: &[(&str, &str, Change)] = &[
        ("transactions", "another account", |page| {
            page["accountId"] = json!("another");
        }),
        ("transactions", "an entry twice", |page| {
            page["entries"][1] = page["entries"][0].clone();
        }),
        ("transactions", "an id twice", |page| {
            let id = page["entries"][1]["details"]["transactionId"].clone();
            page["entries"][2]["details"]["transactionId"] = id;
        }),
        ("transactions", "the oldest first", |page| {
            page["entries"].as_array_mut().unwrap().reverse();
        }),
        ("transactions", "more than the limit", |page| {
            let entries = page["entries"].as_array_mut().unwrap();
            let mut oldest = entries.last().unwrap().clone();
            oldest["sequence"] = json!(-1);
            oldest["details"]["transactionId"] = json!("-1");
            entries.push(oldest);
        }),
        ("transactions", "a day out of range", |page| {
            let entry = page["entries"].as_array_mut().unwrap().last_mut().unwrap();
            entry["date"] = json!("1999-01-01");
            entry["details"]["bookingDate"] = json!("1999-01-01");
            page["next"] = Value::Null;
        }),
        ("transactions", "another booking date", |page| {
            page["entries"][1]["details"]["bookingDate"] = json!("1999-01-01");
        }),
        ("transactions", "a pending one that is booked", |page| {
            page["entries"][0]["details"]["bookingDate"] = page["entries"][0]["date"].clone();
        }),
        ("transactions", "a next page elsewhere", |page| {
            page["next"]["sequence"] = json!(99);
        }),
        ("transactions", "an amount that is a number", |page| {
            page["entries"][1]["details"]["transactionAmount"]["amount"] = json!(1.0);
        }),
        ("transactions", "a currency that is none", |page| {
            page["entries"][1]["details"]["transactionAmount"]["currency"] = json!("EURO");
        }),
        ("transactions", "no entries", |page| {
            page.as_object_mut().unwrap().remove("entries");
        }),
        ("transaction", "another transaction", |answer| {
            answer["details"]["transactionId"] = json!("8");
        }),
        ("balances", "another account", |answer| {
            answer["balances"][0]["accountId"] = json!("another");
        }),
        ("balances", "an account less", |answer| {
            answer["balances"] = json!([]);
        }),
        ("balances", "an account twice", |answer| {
            let again = answer["balances"][0].clone();
            answer["balances"].as_array_mut().unwrap().push(again);
        }),
        ("accounts", "an account that was not asked for", |answer| {
            answer["accounts"][0]["accountId"] = json!("another");
        }),
        ("accounts", "an account twice", |answer| {
            let again = answer["accounts"][0].clone();
            answer["accounts"].as_array_mut().unwrap().push(again);
        }),
        ("accounts", "an IBAN with wrong check digits", |answer| {
            answer["accounts"][0]["details"]["iban"] = json!("DE88370400440532013000");
        }),
        ("accounts", "no account number", |answer| {
            answer["accounts"][0]["details"]
                .as_object_mut()
                .unwrap()
                .remove("iban");
        }),
        ("accounts", "nothing about approvals", |answer| {
            let account = answer["accounts"][0].as_object_mut().unwrap();
            account.remove("approvalsNeeded");
        }),
        ("accounts", "a card number that is not masked", |answer| {
            let account = &mut answer["accounts"][0];
            account["kind"] = json!("card");
            account["details"] = json!({ "maskedPan": "5331200000000077", "currency": "EUR" });
        }),
        ("accounts", "a kind that is none", |answer| {
            answer["accounts"][0]["kind"] = json!("loan");
        }),
    ];
    let path = |resource: &str| match resource {
        "transactions" => scene.list(),
        "transaction" => scene.path("transactions/7"),
        "balances" => scene.path("balances"),
        _ => "/v1/accounts".to_owned(),
    };
    for (resource, fault, change) in faults {
        let path = path(resource);
        assert_eq!(scene.status(&path).await, 200, "{resource}");
        let (resource, change) = (*resource, *change);
        scene.core.fail(move |request, answer| {
            (operation(request) == resource).then(|| changed(answer, change))
        });
        let answer = scene.tpp.read(&path, &scene.consent).await;
        assert_eq!(answer.status, 500, "{resource}: {fault}: {answer:?}");
        scene.core.recover();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_has_its_status() {
    let scene = Scene::start().await;
    let mib = 1024 * 1024;
    let garbage =
        |text: &str| ResponseTemplate::new(200).set_body_raw(text.to_owned(), "application/json");
    for (response, status) in [
        (garbage(""), 500),
        (
            ResponseTemplate::new(200).set_body_string("text/plain"),
            500,
        ),
        (garbage("<html>"), 500),
        (garbage("{\"accountId\": "), 500),
        (garbage(&"[".repeat(100_000)), 500),
        (garbage(&" ".repeat(33 * mib)), 500),
        (ResponseTemplate::new(400), 500),
        (ResponseTemplate::new(401), 500),
        (ResponseTemplate::new(404), 500),
        (ResponseTemplate::new(500), 500),
        (ResponseTemplate::new(204), 500),
        (
            ResponseTemplate::new(307).insert_header("Location", "/v1/accounts"),
            500,
        ),
        (ResponseTemplate::new(429), 503),
        (ResponseTemplate::new(502), 503),
        (ResponseTemplate::new(503), 503),
        (ResponseTemplate::new(504), 503),
        (
            ResponseTemplate::new(200).set_delay(Duration::from_mins(1)),
            503,
        ),
    ] {
        assert_eq!(scene.transactions().await, 200);
        let named = format!("{response:.80?}");
        scene.core.fail(move |_, _| Some(response.clone()));
        assert_eq!(scene.transactions().await, status, "{named}");
        scene.core.recover();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_repeated_once_where_that_can_help() {
    let scene = Scene::start().await;
    for (status, outcome, attempts) in [(503, 200, 2), (502, 200, 2), (500, 500, 1), (429, 503, 1)]
    {
        let before = scene.core.requests().await.len();
        let first = std::sync::atomic::AtomicBool::new(true);
        scene.core.fail(move |_, _| {
            let first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
            first.then(|| ResponseTemplate::new(status))
        });
        assert_eq!(scene.status(&scene.path("transactions/7")).await, outcome);
        let after = scene.core.requests().await;
        let after = after.iter().skip(before);
        let queries = after.filter(|request| operation(request) == "accounts");
        assert_eq!(queries.count(), attempts, "{status}");
        scene.core.recover();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_is_down_is_left_alone_and_found_again() {
    let scene = Scene::start().await;
    scene.core.fail(|_, _| Some(ResponseTemplate::new(503)));
    for _ in 0..5 {
        assert_eq!(scene.transactions().await, 503);
    }
    let before = scene.core.requests().await.len();
    for _ in 0..10 {
        assert_eq!(scene.transactions().await, 503);
    }
    assert_eq!(scene.core.requests().await.len(), before, "left alone");
    scene.core.recover();
    scene.banks.clock.advance(TimeDelta::seconds(2));
    assert_eq!(scene.transactions().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_can_be_tried_again_after_an_outage() {
    let scene = Scene::start().await;
    let created = scene.banks.consent(&scene.tpp).ask().await.json();
    let page = created["_links"]["scaRedirect"]["href"].as_str().unwrap();
    let path = page.split_at(page.find("/authorise/").unwrap()).1;
    let mut browser = Tab::at(&scene.bank);
    let anna = scene.banks.customer(Bank::B);
    browser.log_in(&scene.banks, &anna).await;
    scene.core.fail(|_, _| Some(ResponseTemplate::new(503)));
    let failed = browser.get(path).await;
    assert_eq!(failed.status, 503, "{failed:?}");
    let again = format!("<a class=\"button\" href=\"{path}\">Try again</a>");
    assert!(failed.html.contains(&again), "{}", failed.html);
    scene.core.recover();
    assert_eq!(browser.get(path).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_core_hangs_everything_else_works() {
    let scene = Scene::with(|section| section.max_concurrent_requests = 2).await;
    let hung = ResponseTemplate::new(200).set_delay(Duration::from_mins(1));
    scene.core.fail(move |_, _| Some(hung.clone()));
    let reads = async {
        let started = Instant::now();
        let reads = (0..20).map(|_| scene.transactions());
        let statuses = futures::future::join_all(reads).await;
        assert_eq!(statuses, [503; 20]);
        started.elapsed()
    };
    let others = async {
        let consent = format!("/v1/consents/{}", scene.consent);
        assert_eq!(scene.status(&consent).await, 200);
        let created = scene.banks.consent(&scene.tpp).ask().await;
        assert_eq!(created.status, 201, "{created:?}");
        let health = operator::try_get(scene.bank.operator_address(), "/health/ready").await;
        let health = health.unwrap();
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        assert!(!health.contains("\"coreBanking\":\"ready\""), "{health}");
    };
    let (took, ()) = tokio::join!(reads, others);
    // Two after another: waiting for a free connection, and the core's own time limit.
    assert!(took < Duration::from_secs(15), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tpps_request_id_is_passed_on() {
    let scene = Scene::start().await;
    let id = "99391c7e-ad88-49ec-a2ad-99ddcb1f7721";
    let headers = [("X-Request-ID", id), ("Consent-ID", scene.consent.as_str())];
    let answer = scene.tpp.get(&scene.path("balances"), &headers).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let requests = scene.core.requests().await;
    let queries = requests
        .iter()
        .filter(|request| operation(request) == "balances");
    for query in queries {
        assert_eq!(query.headers["x-request-id"], id);
    }
}

/// A hundred reads a second while the core hangs, has died or answers garbage: each fails, none
/// takes longer than its limit, consents are read all the time, and the core is found again. Three
/// seconds for each fault, or as many as `CORE_FAULT_SECONDS` says.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_a_failing_core_fails_its_reads_alone() {
    let seconds = std::env::var("CORE_FAULT_SECONDS").map_or(3, |text| text.parse().unwrap());
    let scene = Arc::new(Scene::start().await);
    for fault in ["hangs", "has died", "answers garbage"] {
        assert_eq!(scene.transactions().await, 200, "{fault}");
        let response = match fault {
            "hangs" => ResponseTemplate::new(200).set_delay(Duration::from_mins(1)),
            _ => ResponseTemplate::new(200).set_body_string("<html>"),
        };
        match fault {
            "has died" => scene.core.die(),
            _ => scene.core.fail(move |_, _| Some(response.clone())),
        }
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        let mut reads = tokio::task::JoinSet::new();
        for number in 0..seconds * 100 {
            pace.tick().await;
            scene.banks.clock.advance(TimeDelta::milliseconds(10));
            let scene = Arc::clone(&scene);
            reads.spawn(async move {
                let began = Instant::now();
                let status = if number % 10 == 0 {
                    let consent = format!("/v1/consents/{}/status", scene.consent);
                    assert_eq!(scene.status(&consent).await, 200);
                    None
                } else {
                    Some(scene.transactions().await)
                };
                (status, began.elapsed())
            });
        }
        let (mut statuses, mut slowest) = (BTreeMap::new(), Duration::ZERO);
        for (status, took) in reads.join_all().await {
            if let Some(status) = status {
                *statuses.entry(status).or_insert(0) += 1;
                slowest = slowest.max(took);
            }
        }
        println!("a core that {fault}: {statuses:?}, slowest {slowest:?}");
        let expected = if fault == "answers garbage" { 500 } else { 503 };
        assert!(statuses.keys().eq([&expected]), "{fault}: {statuses:?}");
        // Its limits are one second for a permit and one for the answer; the rest is a busy machine.
        assert!(slowest < Duration::from_secs(20), "{fault}: {slowest:?}");

        scene.core.recover();
        scene.core.revive();
        let mut recovered = false;
        for _ in 0..20 {
            recovered = scene.transactions().await == 200;
            if recovered {
                break;
            }
            scene.banks.clock.advance(TimeDelta::seconds(1));
        }
        assert!(recovered, "found again within the longest pause: {fault}");
    }
}
