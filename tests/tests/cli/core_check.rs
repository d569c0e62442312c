//! `bank-server core check`: an honest core passes, and each planted fault is found.

use std::fs;

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::sandbox::CUSTOMER;
use serde_json::{Value, json};
use tests::core_double::{CoreDouble, operation};
use tests::process::prepare;
use tests::programs::{both, own};
use wiremock::{Request, ResponseTemplate};

/// Change of an honest answer to a query.
type Fault = fn(&Value, &mut Value);

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_core_passes_and_each_planted_fault_is_found() {
    let core = CoreDouble::start("a-1", SystemClock.now().date_naive()).await;
    let (folder, _) = prepare().await;
    let configuration = folder.path().join("bank.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    let section = format!("{text}\n[core_banking]\n{}", core.section_text());
    fs::write(&configuration, section).unwrap();
    let check = |customers: &[&str]| {
        let mut command = own("bank-server");
        command
            .args(["core", "check", "--config"])
            .arg(&configuration);
        for customer in customers {
            command.args(["--customer", customer]);
        }
        let output = command.output().unwrap();
        (output.status.success(), both(&output))
    };

    let (passed, output) = check(&[CUSTOMER]);
    assert!(passed, "{output}");
    assert!(
        output.contains("no breach of the contract was found"),
        "{output}"
    );
    let (passed, output) = check(&[]);
    assert!(passed && output.contains("--customer ID"), "{output}");
    let (passed, output) = check(&["unknown"]);
    assert!(
        !passed && output.contains("unknown: has no accounts"),
        "{output}"
    );

    let faults: &[(&str, &str, Fault)] = &[
        ("ready", "version is not 1.x", |_, answer| {
            answer["version"] = json!("2.0");
        }),
        (
            "customer-accounts",
            "customer-accounts: the answer is not empty",
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
        ("balances", "a balance in another currency", |_, answer| {
            if let Some(balance) = answer["balances"][0]["balances"].get_mut(0) {
                balance["balanceAmount"]["currency"] = json!("USD");
            }
        }),
        (
            "transactions",
            "pages of 2 are not the list in parts",
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
            "dateFrom and dateTo on one day",
            |query, answer| {
                if query["dateFrom"] == query["dateTo"] {
                    answer["entries"] = json!([]);
                }
            },
        ),
        (
            "transactions",
            "an amount in another currency",
            |_, answer| {
                for entry in answer["entries"].as_array_mut().unwrap() {
                    entry["details"]["transactionAmount"]["currency"] = json!("USD");
                }
            },
        ),
        (
            "transaction",
            "a transaction is not the one in the list",
            |_, answer| {
                if answer["details"].is_object() {
                    answer["details"]["transactionAmount"]["amount"] = json!("9.00");
                }
            },
        ),
        ("transaction", "is not found by its id", |_, answer| {
            answer["details"] = Value::Null;
        }),
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

    // What is not in an answer: the query itself, and queries at the same time.
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
}

fn query(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}
