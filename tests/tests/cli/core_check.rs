//! `bank-server core check`: an honest core passes, and each planted fault is found.

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::pki::Identity;
use fixtures::sandbox::CUSTOMER;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::core_double::{CoreDouble, operation};
use tests::process::prepare;
use tests::programs::{both, own};
use tests::tls_terminator::{self, Manners};
use tokio::net::TcpListener;
use wiremock::{Request, ResponseTemplate};

/// Change of an honest answer to a query.
type Fault = fn(&Value, &mut Value);

/// The configuration of a bank, without a core.
struct Bench {
    folder: TempDir,
    text: String,
}

impl Bench {
    async fn new() -> Self {
        let (folder, _) = prepare().await;
        let text = fs::read_to_string(folder.path().join("bank.toml")).unwrap();
        Self { folder, text }
    }

    /// Writes the configuration with that core, and runs a command with it.
    fn run(&self, section: &str, command: &[&str], customers: &[&str]) -> (bool, String) {
        let configuration = self.folder.path().join("bank.toml");
        let text = format!("{}\n[core_banking]\n{section}", self.text);
        fs::write(&configuration, text).unwrap();
        let mut program = own("bank-server");
        program.args(command).arg("--config").arg(&configuration);
        for customer in customers {
            program.args(["--customer", customer]);
        }
        let output = program.output().unwrap();
        (output.status.success(), both(&output))
    }

    fn check(&self, section: &str, customers: &[&str]) -> (bool, String) {
        self.run(section, &["core", "check"], customers)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_core_passes_and_each_planted_fault_is_found() {
    let core = CoreDouble::start("a-1", SystemClock.now().date_naive()).await;
    let bench = Bench::new().await;
    let section = core.section_text();
    let check = |customers: &[&str]| bench.check(&section, customers);

    let (passed, output) = check(&[CUSTOMER]);
    assert!(passed, "{output}");
    assert!(
        output.contains("no breach of the contract was found"),
        "{output}"
    );
    let (passed, output) = check(&[]);
    assert!(passed && output.contains("--customer ID"), "{output}");
    let (passed, output) = check(&["unknown"]);
    for line in [
        "customer unknown: has no accounts",
        "not checked  the same accounts by their ids (no account could be read)\n",
        "not checked  pages together are the list (no entry could be read)\n",
        "error: breaches of the contract: 1\n",
    ] {
        assert!(!passed && output.contains(line), "{line}: {output}");
    }

    let faults: &[(&str, &str, Fault)] = &[
        ("ready", "version is not 1.x", |_, answer| {
            answer["version"] = json!("2.0");
        }),
        ("ready", "version is not 1.x", |_, answer| {
            answer["version"] = json!("1");
        }),
        (
            "customer-accounts",
            "customer-accounts: the accounts of a customer that does not exist are an empty list",
            |_, answer| {
                let details = json!({ "iban": "DE89370400440532013000", "currency": "EUR" });
                answer["accounts"] = json!([{ "accountId": "a-1", "kind": "payment", "approvalsNeeded": 1, "details": details }]);
            },
        ),
        (
            "accounts",
            "accounts and customer-accounts differ",
            |_, answer| {
                if let Some(account) = answer["accounts"].get_mut(0) {
                    account["details"]["name"] = json!("another name");
                }
            },
        ),
        (
            "customer-accounts",
            "accounts[1].details.maskedPan: is not masked",
            |_, answer| {
                let accounts = answer["accounts"].as_array_mut().unwrap();
                let details = json!({ "maskedPan": "5331 2000 0000 0077", "currency": "EUR" });
                let card = json!({ "accountId": "c-1", "kind": "card", "approvalsNeeded": 1, "details": details });
                accounts.push(card);
            },
        ),
        (
            "balances",
            "{\"balances\": [{\"accountId\": …, \"balances\": []}]}",
            |_, answer| {
                let unknown = "no-such-account-00000000-0000-0000-0000-000000000000";
                let all = answer["balances"].as_array_mut().unwrap();
                all.retain(|one| one["accountId"] != unknown);
            },
        ),
        (
            "balances",
            "balanceType: not one of closingBooked, expected",
            |_, answer| {
                if let Some(balance) = answer["balances"][0]["balances"].get_mut(0) {
                    balance["balanceType"] = json!("BOOKED");
                }
            },
        ),
        (
            "transactions",
            "details.bookingDate: not a date YYYY-MM-DD at line",
            |_, answer| {
                for entry in answer["entries"].as_array_mut().unwrap() {
                    if let Some(date) = entry["details"].get_mut("bookingDate") {
                        *date = json!(format!("{}T00:00:00Z", date.as_str().unwrap()));
                    }
                }
            },
        ),
        (
            "transactions",
            "pages of 31: `next` is there, and no entry follows",
            |query, answer| {
                let entries = answer["entries"].as_array().unwrap();
                if let Some(last) = entries.last()
                    && query["limit"] == entries.len()
                {
                    let (booked, date, sequence) =
                        (&last["booked"], &last["date"], &last["sequence"]);
                    answer["next"] =
                        json!({ "booked": booked, "date": date, "sequence": sequence });
                }
            },
        ),
        (
            "transactions",
            "two entries have the same `sequence`",
            |_, answer| {
                for entry in answer["entries"].as_array_mut().unwrap() {
                    if entry["sequence"] == 7 {
                        entry["sequence"] = json!(8);
                    }
                }
            },
        ),
        ("balances", "a balance in another currency", |_, answer| {
            if let Some(balance) = answer["balances"][0]["balances"].get_mut(0) {
                balance["balanceAmount"]["currency"] = json!("USD");
            }
        }),
        (
            "transactions",
            "pages of 2: are not the list in parts",
            |query, answer| {
                if query["limit"] == 2 && query["after"].is_null() {
                    answer["next"] = Value::Null;
                }
            },
        ),
        (
            "transactions",
            "does not come after `after`",
            |query, answer| {
                if let Some(place) = query.get("after") {
                    answer["entries"][0]["sequence"] = place["sequence"].clone();
                    answer["entries"][0]["date"] = place["date"].clone();
                    answer["entries"][0]["details"]["bookingDate"] = place["date"].clone();
                }
            },
        ),
        (
            "transactions",
            "bookingStatus pending is not that part of both",
            |query, answer| {
                if query["bookingStatus"] == "pending" {
                    answer["entries"] = json!([]);
                }
            },
        ),
        (
            "transactions",
            "dateFrom and dateTo on this day give 0 booked entries, and it has 1",
            |query, answer| {
                if query["dateFrom"] == query["dateTo"] {
                    answer["entries"] = json!([]);
                }
            },
        ),
        (
            "transactions",
            "transaction 31: an amount in another currency (31 times; this is the first)",
            |_, answer| {
                for entry in answer["entries"].as_array_mut().unwrap() {
                    entry["details"]["transactionAmount"]["currency"] = json!("USD");
                }
            },
        ),
        (
            "transaction",
            "transaction 31: is not the one in the list: transactionAmount",
            |_, answer| {
                if answer["details"].is_object() {
                    answer["details"]["transactionAmount"]["amount"] = json!("9.00");
                }
            },
        ),
        (
            "transaction",
            "is in the list, and not found by its id",
            |_, answer| {
                answer["details"] = Value::Null;
            },
        ),
        (
            "transactions",
            "a delta report from the start lacks entries",
            |query, answer| {
                if query["arrivedAfter"].is_i64() {
                    answer["entries"].as_array_mut().unwrap().pop();
                }
            },
        ),
        (
            "arrival",
            "arrival does not know a booked entry",
            |_, answer| {
                answer["arrival"] = Value::Null;
            },
        ),
        (
            "transactions",
            "a text of an entry is not found in any case",
            |query, answer| {
                if query["text"]
                    .as_str()
                    .is_some_and(|text| text.starts_with("BOOK"))
                {
                    answer["entries"] = json!([]);
                    answer["next"] = Value::Null;
                }
            },
        ),
    ];
    for (resource, found, fault) in faults {
        let (resource, fault) = (*resource, *fault);
        core.fail(move |request, answer| {
            if operation(request) != resource {
                return None;
            }
            let mut answer = answer.clone();
            fault(&query(request), &mut answer);
            Some(ResponseTemplate::new(200).set_body_json(answer))
        });
        let (passed, output) = check(&[CUSTOMER]);
        assert!(!passed && output.contains(found), "{found}: {output}");
        core.recover();
    }

    // What is not in an answer: the query itself, ...
    core.fail(|request, _| {
        let query = query(request);
        let is_known = query
            .as_object()?
            .keys()
            .all(|name| name != "of a later version");
        (!is_known).then(|| ResponseTemplate::new(400))
    });
    let (passed, output) = check(&[CUSTOMER]);
    assert!(
        !passed && output.contains("accounts: status 400"),
        "{output}"
    );
    // ... the media type, ...
    core.fail(|request, answer| {
        let body = answer.to_string();
        let text = ResponseTemplate::new(200).set_body_raw(body, "text/plain");
        (operation(request) == "balances").then_some(text)
    });
    let (passed, output) = check(&[CUSTOMER]);
    let found = "balances: the Content-Type of the answer is not application/json";
    assert!(!passed && output.contains(found), "{output}");
    // ... text that is not UTF-8, ...
    core.fail(|request, answer| {
        let mut body = answer.to_string().into_bytes();
        body.splice(1..1, *b"\"\xe9\": 1,");
        let latin = ResponseTemplate::new(200).set_body_raw(body, "application/json");
        (operation(request) == "balances").then_some(latin)
    });
    let (passed, output) = check(&[CUSTOMER]);
    let found = "balances: the answer is malformed: not UTF-8";
    assert!(!passed && output.contains(found), "{output}");
    // ... and answers that are mixed up when several queries come at a time: of two alike, the
    // second has the answer to another one.
    let asked = AtomicUsize::new(0);
    core.fail(move |request, answer| {
        let is_fifth = operation(request) == "transactions" && query(request)["limit"] == 5;
        if !is_fifth || asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return None;
        }
        let mut mixed = answer.clone();
        mixed["entries"].as_array_mut()?.pop();
        let last = mixed["entries"].as_array()?.last()?.clone();
        let (booked, date, sequence) = (&last["booked"], &last["date"], &last["sequence"]);
        mixed["next"] = json!({ "booked": booked, "date": date, "sequence": sequence });
        Some(ResponseTemplate::new(200).set_body_json(mixed))
    });
    let (passed, output) = check(&[CUSTOMER]);
    let found = "payment account a-1, limit 5: the answer is another one than before";
    assert!(!passed && output.contains(found), "{output}");
    // Port for HTTPS.
    core.fail(|_, _| Some(ResponseTemplate::new(400)));
    let (passed, output) = check(&[CUSTOMER]);
    let found = "ready: status 400, as a port for https answers";
    assert!(!passed && output.contains(found), "{output}");
    // What does not run breaks no contract.
    core.die();
    let (passed, output) = check(&[CUSTOMER]);
    let found = "error: the core at http://127.0.0.1:";
    assert!(!passed && output.contains(found), "{output}");
    assert!(output.contains("see that it runs"), "{output}");
    assert!(!output.contains("breach"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn enrol_warns_of_a_customer_whom_the_core_does_not_know() {
    let core = CoreDouble::start("a-1", SystemClock.now().date_naive()).await;
    let bench = Bench::new().await;
    let (_, output) = bench.run(&core.section_text(), &["check"], &[]);
    assert!(output.contains("nothing wrong"), "{output}");
    let enrol = |customer: &str| {
        let mut child = own("bank-server")
            .args(["enrol", customer, "--config"])
            .arg(bench.folder.path().join("bank.toml"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"a good password\n").unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        let text = both(&output);
        assert!(output.status.success(), "{text}");
        assert!(
            text.contains(&format!("for {customer}'s authenticator: ")),
            "{text}"
        );
        text
    };
    let warning = "answers customer-accounts for ana.weber without an account";
    assert!(enrol("ana.weber").contains(warning));
    assert!(!enrol(CUSTOMER).contains("warning"));
    core.die();
    assert!(!enrol("ana.weber").contains("warning"));
}

/// The certificates come from the commands of the document.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_certificate_has_its_reason_and_advice() {
    let bench = Bench::new().await;
    let folder = bench.folder.path();
    let document = include_str!("../../../docs/core-banking-api.md");
    let script = document
        .split("```sh\n")
        .find(|block| block.contains("core-ca.key"));
    let script = script.and_then(|block| block.split("```").next()).unwrap();
    let certify = |name: &str, host: &str| {
        let folder = folder.join(name);
        fs::create_dir(&folder).unwrap();
        let mut shell = Command::new("sh");
        let script = script.replace("core.internal", host);
        shell.args(["-ec", &script.replace("Core CA", &format!("CA {name}"))]);
        let output = shell.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
    };
    certify("here", "localhost");
    certify("there", "core.internal");
    let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let identity = |name: &str| Identity {
        chain_pem: file(&format!("{name}.pem")),
        key_pem: file(&format!("{name}.key")),
    };
    let section = |url: &str, anchors: &str, own: &str| {
        format!(
            "url = \"{url}\"\nanchors = [\"{anchors}/core-ca.pem\"]\ncertificate = \
             \"{own}.pem\"\nprivate_key = \"{own}.key\"\nresponse_timeout_seconds = 5\n"
        )
    };
    let core = CoreDouble::start("a-1", SystemClock.now().date_naive()).await;
    let plain = core.address();
    let (here, there) = (file("here/core-ca.pem"), file("there/core-ca.pem"));
    let listen = async |server: &str, client_ca: &str| {
        let identity = identity(server);
        tls_terminator::start(&identity, client_ca, plain, Manners::Honest).await
    };
    let honest = listen("here/core", &here).await;
    let over_http2 = {
        let acceptor = tls_terminator::acceptor(&identity("here/core"), &there, "h2");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let _ = acceptor.accept(tcp).await;
            }
        });
        address
    };
    let (passed, output) = bench.check(
        &section(&at(honest), "here", "here/core-client"),
        &[CUSTOMER],
    );
    assert!(passed, "{output}");

    let refused = [
        (
            listen("there/core", &here).await,
            "there",
            "it is for core.internal, and `url` names localhost",
        ),
        (
            listen("here/core-client", &here).await,
            "here",
            "extendedKeyUsage has to name serverAuth",
        ),
        (honest, "there", "or `anchors` to name it"),
        (
            listen("here/core", &there).await,
            "here",
            "it does not know the CA of the certificate that we presented (TLS alert unknown_ca)",
        ),
        (
            over_http2,
            "here",
            "it does not know the CA of the certificate that we presented (TLS alert unknown_ca)",
        ),
        (plain, "here", "is it a port for plain HTTP?"),
    ];
    for (address, anchors, reason) in refused {
        let section = section(&at(address), anchors, "here/core-client");
        let (passed, output) = bench.check(&section, &[CUSTOMER]);
        assert!(!passed && output.contains(reason), "{reason}: {output}");
        assert!(output.contains("see that it runs"), "{reason}: {output}");
    }

    let faults = [
        (
            section(&at(honest), "here", "here/core"),
            "core_banking.certificate: ",
            "is not for TLS clients: its extended key usage lacks clientAuth",
        ),
        (
            section(&format!("{}/v1/", at(honest)), "here", "here/core-client"),
            "core_banking.url: ",
            "must be without /v1, which the bank server adds",
        ),
    ];
    for (section, key, fault) in faults {
        let (passed, output) = bench.run(&section, &["check"], &[]);
        let is_found = output.contains(key) && output.contains(fault);
        assert!(!passed && is_found, "{fault}: {output}");
        assert!(
            output.contains("`bank-server core check` calls"),
            "{output}"
        );
    }
}

fn at(address: SocketAddr) -> String {
    format!("https://localhost:{}", address.port())
}

fn query(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}
