//! Monitoring: metrics scraped by a real Prometheus, and traces received over OTLP.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use fixtures::browser::Browser;
use fixtures::openssl_client::{Reaction, Tls, call};
use fixtures::sandbox::CUSTOMER;
use fixtures::world;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use prost::Message as _;
use serde_json::Value;
use tests::banks::Banks;
use tests::browser::Tab;
use tests::child_process::ChildProcess;
use tests::operator;
use tests::ports;
use tests::process::{Process, replica_of};
use tests::programs::{both, system_of};
use tests::sdk::{BANK_B, bank_builder};
use tests::wait::wait_for;
use tracing::instrument::{Instrument as _, WithSubscriber as _};
use tracing_subscriber::layer::SubscriberExt as _;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

fn documented(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/monitoring")
        .join(name)
}

/// The names of figures in a text, without what histograms add to theirs.
fn figures_in(text: &str) -> BTreeSet<String> {
    let name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !name(letter))
        .filter(|word| word.starts_with("bank_") && !["bank_server", "bank_client"].contains(word))
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// The metrics of a bank that has answered requests and rejected a connection.
async fn told(banks: &Banks) -> (SocketAddr, String) {
    let bank = banks.a_at_b();
    let consent = banks.consent(&bank).approved().await;
    let accounts = bank.read("/v1/accounts", &consent).await;
    assert_eq!(accounts.status, 200, "{accounts:?}");
    bank.get("/v1/nowhere", &[]).await;
    let stranger = &banks.sandbox.pki.bank_c.qwac;
    let met = call(bank.bank, Some(stranger), Tls::V1_3, "")
        .unwrap()
        .reaction;
    assert!(matches!(met, Reaction::Alert(_)), "{met:?}");
    let mut browser = Tab::at(&banks.sandbox.bank(world::Bank::B).running);
    browser.get("/log-in").await;
    let wrong = [
        ("customer", CUSTOMER),
        ("password", "wrong"),
        ("code", "000000"),
    ];
    browser.submit("/log-in", &wrong).await;
    let operator = banks
        .sandbox
        .bank(world::Bank::B)
        .running
        .operator_address();
    let answer = operator::get(operator, "/metrics");
    let (_, text) = answer.split_once("\r\n\r\n").unwrap();
    (operator, text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_handshakes_and_the_database_have_figures_and_none_is_of_a_customer() {
    let banks = Banks::start().await;
    let (operator, _) = told(&banks).await;
    let expected = [
        "bank_requests_total{operation=\"GET /v1/accounts\",status=\"200\",role=\"PSP_AI\"} 1\n",
        "bank_requests_total{operation=\"POST /v1/consents\",status=\"201\",role=\"PSP_AI\"} 1\n",
        "bank_request_duration_seconds_count{operation=\"GET /v1/accounts\"} 1\n",
        "bank_handshakes_total{outcome=\"unknown issuer\"} 1\n",
        "bank_store_connections{pool=\"counting\",state=\"idle\"}",
        "bank_store_statement_seconds_count{operation=\"SELECT\"}",
        "bank_store_waiting 0\n",
        "bank_passwords_waiting 0\n",
        "bank_authentication_attempts_total{element=\"password\",source=\"network\",outcome=\"wrong\"} 1\n",
        "bank_authentication_attempts_total{element=\"app\",source=\"device\",outcome=\"right\"} 1\n",
        "bank_page_requests_total{page=\"POST /log-in\",status=\"422\"} 1\n",
        "bank_connections{listener=\"xs2a\"}",
    ];
    // A peer reads its refusal before the refusal is counted.
    let mut text = String::new();
    for line in expected {
        text = wait_for(line, || {
            let text = operator::get(operator, "/metrics");
            text.contains(line).then_some(text)
        })
        .await;
    }
    let anna = banks.accounts_at_b();
    for account in &anna {
        assert!(!text.contains(&account.id.to_string()), "{text}");
    }
    assert!(!text.contains(CUSTOMER), "{text}");
    // Those that rules, dashboard and documentation speak of are there. Some come with what has not happened here.
    let there = figures_in(&text);
    let may_come = BTreeSet::from([
        "bank_store_failures_total".to_owned(),
        // With the section of that name alone.
        "bank_core_banking_queries_total".to_owned(),
        "bank_identity_provider_requests_total".to_owned(),
        "bank_sca_methods_queries_total".to_owned(),
        // On PostgreSQL alone.
        "bank_clock_ahead_seconds".to_owned(),
    ]);
    for file in ["alerts.yml", "dashboard.json", "../monitoring.md"] {
        let named = figures_in(&fs::read_to_string(documented(file)).unwrap());
        let unknown: Vec<&String> = named
            .iter()
            .filter(|name| {
                !there
                    .iter()
                    .any(|there| there.trim_end_matches("_count") == name.as_str())
            })
            .filter(|name| !may_come.contains(*name))
            .collect();
        assert_eq!(unknown, Vec::<&String>::new(), "{file}");
    }
}

#[test]
fn guesses_at_passwords_raise_an_alert_and_mistakes_of_customers_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let series = |outcome: &str, values: &str| {
        format!(
            "      - series: 'bank_authentication_attempts_total{{instance=\"b\", element=\"password\", \
             source=\"network\", outcome=\"{outcome}\"}}'\n        values: '{values}'\n"
        )
    };
    // In each minute, for half an hour: right, wrong and refused ones.
    let of = |name: &str, right: &str, wrong: &str, locked: &str, alerts: &str| {
        format!(
            "  - name: {name}\n    interval: 1m\n    input_series:\n{}{}{}    alert_rule_test:\n      - eval_time: 30m\n        \
             alertname: BankPasswordsGuessed\n        exp_alerts: {alerts}\n",
            series("right", &format!("0+{right}x30")),
            series("wrong", &format!("0+{wrong}x30")),
            series("locked", &format!("0+{locked}x30")),
        )
    };
    let raised = "[{ exp_labels: { instance: b, severity: ticket }, exp_annotations: { summary: \"more failed \
                  log-ins at b than right ones: the log has their networks\" } }]";
    let tests = [
        of("a quiet bank", "0", "0", "0", "[]"),
        of("customers who mistype", "60", "20", "1", "[]"),
        of("guesses", "2", "50", "0", raised),
        of("guesses that are refused", "60", "1", "100", raised),
    ];
    test_rules(folder.path(), &tests.concat());
}

/// Runs unit tests of the alert rules.
fn test_rules(folder: &Path, tests: &str) {
    let rules = documented("alerts.yml").canonicalize().unwrap();
    let text = format!(
        "rule_files: [{}]\nevaluation_interval: 1m\ntests:\n{tests}",
        rules.display()
    );
    let file = folder.join("test.yml");
    fs::write(&file, text).unwrap();
    let tested = system_of("promtool", "prometheus")
        .args(["test", "rules"])
        .arg(file)
        .output()
        .unwrap();
    assert!(tested.status.success(), "{}", both(&tested));
}

#[test]
fn failing_services_of_the_bank_raise_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let test =
        |(metric, alert, service, property): (&str, &str, &str, &str), failed: &str, raised| {
            let labels = format!(
                "[{{ exp_labels: {{ instance: b, severity: page }}, exp_annotations: {{ \
             summary: \"more than 5 % of {service} fail: see {property} in /health/ready\" }} }}]"
            );
            format!(
                "  - interval: 1m\n    input_series:\n      - series: \
             '{metric}{{instance=\"b\", outcome=\"answered\"}}'\n        values: '0+100x30'\n      \
             - series: '{metric}{{instance=\"b\", outcome=\"failed\"}}'\n        values: \
             '0+{failed}x30'\n    alert_rule_test:\n      - eval_time: 30m\n        alertname: \
             {alert}\n        exp_alerts: {}\n",
                if raised { labels.as_str() } else { "[]" }
            )
        };
    let services = [
        (
            "bank_core_banking_queries_total",
            "BankCoreFails",
            "queries of b to its core banking system",
            "coreBanking",
        ),
        (
            "bank_sca_methods_queries_total",
            "BankScaMethodsFail",
            "queries of b to its SCA methods",
            "scaMethods",
        ),
        (
            "bank_identity_provider_requests_total",
            "BankIdentityProviderFails",
            "requests of b to its identity provider",
            "identityProvider",
        ),
    ];
    let tests = services
        .iter()
        .flat_map(|service| [test(*service, "20", true), test(*service, "2", false)]);
    let tests = tests.collect::<String>();
    test_rules(folder.path(), &tests);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_log_ins_are_logged_with_their_network_and_without_their_customer() {
    let banks = Banks::start().await;
    let configuration = banks.folder.path().join("bank-b.toml");
    let configuration = replica_of(&configuration, "logged", "", |_| None);
    let process = Process::configured(&configuration, &banks.sandbox.pki.bank_a.qwac).await;
    let log = || fs::read_to_string(&process.log).unwrap();
    let serving: Value = log()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .find(|line| line["message"] == "serving")
        .unwrap();
    let mut browser = Browser::at(serving["online_banking"].as_str().unwrap()).unwrap();
    browser.from = Some([127, 0, 9, 1].into());
    let form = browser
        .open("/log-in")
        .await
        .unwrap()
        .form_to("/log-in")
        .unwrap();
    let wrong = form.with("customer", CUSTOMER).with("password", "wrong");
    let wrong = wrong.with("code", "000000");
    for _ in 0..6 {
        browser.submit(&wrong).await.unwrap();
    }
    let logged: Vec<(String, String)> = wait_for("the failures in the log", || {
        let lines = log();
        let events = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["element"] == "password");
        let events: Vec<_> = events
            .map(|line| {
                assert_eq!(line["from"], "127.0.9.1");
                let text = |key: &str| line[key].as_str().unwrap().to_owned();
                (text("level"), text("message"))
            })
            .collect();
        (events.len() == 6).then_some(events)
    })
    .await;
    let failed = ("INFO".to_owned(), "authentication failed".to_owned());
    assert_eq!(logged[..5], vec![failed; 5]);
    assert_eq!(logged[5].0, "WARN");
    assert!(!log().contains(CUSTOMER), "{}", log());
}

/// Prometheus, until it is dropped.
struct Prometheus {
    _child: ChildProcess,
    address: SocketAddr,
}

impl Prometheus {
    fn start(folder: &Path, bank: SocketAddr) -> Self {
        let rules = documented("alerts.yml").canonicalize().unwrap();
        let configuration = folder.join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{}]\nscrape_configs:\n  \
             - job_name: bank\n    static_configs: [{{ targets: [\"{bank}\"] }}]\n",
            rules.display()
        );
        fs::write(&configuration, text).unwrap();
        let address = ports::free();
        let data = folder.join("data");
        let child = ChildProcess::spawn(
            system_of("prometheus", "prometheus")
                .arg(format!("--config.file={}", configuration.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={address}"))
                .stderr(fs::File::create(folder.join("prometheus.log")).unwrap()),
        );
        Self {
            _child: child,
            address,
        }
    }

    /// The data of an answer of its interface, once there is one.
    fn ask(&self, path: &str) -> Option<Value> {
        let mut tcp = TcpStream::connect(self.address).ok()?;
        write!(tcp, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        let answer: Value = serde_json::from_str(body).ok()?;
        (answer["status"] == "success").then(|| answer["data"].clone())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_takes_the_figures_and_the_rules() {
    let banks = Banks::start().await;
    let (operator, text) = told(&banks).await;
    let checked = system_of("promtool", "prometheus")
        .args(["check", "rules"])
        .arg(documented("alerts.yml"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{}", both(&checked));
    let mut checking = system_of("promtool", "prometheus")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut into = checking.stdin.take().unwrap();
    into.write_all(text.as_bytes()).unwrap();
    drop(into);
    let checked = checking.wait_with_output().unwrap();
    assert!(checked.status.success(), "{}", both(&checked));

    let folder = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(folder.path(), operator);
    let requests = wait_for("the figures in Prometheus", || {
        let query = "/api/v1/query?query=bank_requests_total%7Bstatus%3D%22200%22%7D";
        let found = prometheus.ask(query)?;
        found["result"].get(0).cloned()
    })
    .await;
    assert_eq!(requests["metric"]["operation"], "GET /v1/accounts");
    assert_eq!(requests["metric"]["role"], "PSP_AI");
    let rules = wait_for("the rules evaluated", || {
        let rules = prometheus.ask("/api/v1/rules")?["groups"][0]["rules"].clone();
        let all = rules.as_array()?;
        let evaluated = all.iter().all(|rule| rule["health"] != "unknown");
        (evaluated && !all.is_empty()).then_some(rules)
    })
    .await;
    for rule in rules.as_array().unwrap() {
        assert_eq!(rule["health"], "ok", "{rule}");
        // One late scrape makes a rule pending; it fires when its time is over.
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

/// All spans that have arrived.
async fn arrived(receiver: &MockServer) -> Vec<Span> {
    let requests = receiver.received_requests().await.unwrap();
    let exports = requests
        .iter()
        .map(|request| ExportTraceServiceRequest::decode(request.body.as_slice()).unwrap());
    exports
        .flat_map(|export| export.resource_spans)
        .flat_map(|of| of.scope_spans)
        .flat_map(|of| of.spans)
        .collect()
}

fn text_of(span: &Span, key: &str) -> Option<String> {
    let attribute = span.attributes.iter().find(|known| known.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text.clone()),
        AnyValue::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_from_the_client_through_the_bank_to_the_database() {
    let receiver = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/traces"))
        .respond_with(ResponseTemplate::new(200))
        .mount(&receiver)
        .await;
    let banks = Banks::start().await;
    let tpp = banks.a_at_b();
    let consent = banks.consent(&tpp).approved().await;
    let traces = format!(
        "[traces]\notlp = \"http://{}/v1/traces\"\n",
        receiver.address()
    );
    let configuration = banks.folder.path().join("bank-b.toml");
    let configuration = replica_of(&configuration, "traced", &traces, |_| None);
    let mut process = Process::configured(&configuration, &tpp.identity).await;

    // The client: the SDK, in a program whose own spans go elsewhere.
    let own = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(own.clone())
        .build();
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("app"));
    let subscriber = tracing_subscriber::registry().with(layer);
    let pki = &banks.sandbox.pki;
    let bank = bank_builder(process.tpp.bank, BANK_B, pki, &tpp.identity)
        .build()
        .unwrap();
    let reading = bank.with_consent(&consent);
    let accounts = async {
        let own = tracing::info_span!("the app's own");
        reading.accounts(true).instrument(own).await
    };
    let accounts = accounts.with_subscriber(subscriber).await;
    assert!(!accounts.unwrap().is_empty());

    // Spans leave when the bank does, at the latest.
    process.child.terminate();
    process.child.wait().await;
    let spans = arrived(&receiver).await;
    let calls = own.get_finished_spans().unwrap();
    let app = calls.iter().find(|span| span.name == "the app's own");
    let trace = app.unwrap().span_context.trace_id();
    let client = calls
        .iter()
        .find(|span| span.name == "call" && span.span_context.trace_id() == trace)
        .unwrap();
    let request = spans
        .iter()
        .find(|span| span.name == "GET /v1/accounts")
        .unwrap_or_else(|| {
            panic!(
                "{:?}",
                spans.iter().map(|span| &span.name).collect::<Vec<_>>()
            )
        });
    assert_eq!(
        request.trace_id,
        client.span_context.trace_id().to_bytes(),
        "one trace"
    );
    assert_eq!(
        request.parent_span_id,
        client.span_context.span_id().to_bytes(),
        "the call led to the request"
    );
    assert_eq!(
        text_of(request, "http.response.status_code").unwrap(),
        "200"
    );
    let asked = client
        .attributes
        .iter()
        .find(|known| known.key.as_str() == "request_id");
    assert_eq!(
        text_of(request, "request_id").unwrap(),
        asked.unwrap().value.to_string(),
        "the TPP's request id"
    );
    let statements: Vec<&Span> = spans
        .iter()
        .filter(|span| span.parent_span_id == request.span_id)
        .collect();
    assert!(
        statements.iter().any(|span| span.name == "SELECT"
            && text_of(span, "db.query.text").is_some_and(|text| text.contains("FROM consent"))),
        "{statements:#?}"
    );
    // Nothing of the customer's left.
    let all = format!("{spans:?}");
    let mut hers = vec![consent, CUSTOMER.to_owned(), "192.0.2.7".to_owned()];
    hers.extend(
        banks
            .accounts_at_b()
            .iter()
            .map(|account| account.id.to_string()),
    );
    for of_hers in hers {
        assert!(!all.contains(&of_hers), "{of_hers} is in {all}");
    }
}
