//! Answers of a core over HTTP with the same data as the ledger's, as files for a static server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// Writes two folders of answers from the bank's XS2A responses: to the read of all accounts, and to
/// that of one account's transactions.
pub fn write_answers(all: &Path, one: &Path, account: &str, accounts: &[u8], transactions: &[u8]) {
    let listed: Value = serde_json::from_slice(accounts).unwrap();
    let listed = listed["accounts"].as_array().unwrap();
    let of_core = |listed: &Value| {
        let mut details = listed.as_object().unwrap().clone();
        let id = details.remove("resourceId").unwrap();
        let balances = details.remove("balances").unwrap_or_default();
        details.remove("_links");
        (
            json!({ "accountId": id, "kind": "payment", "approvalsNeeded": 1, "details": details }),
            json!({ "accountId": id, "balances": balances }),
        )
    };
    let (accounts, balances): (Vec<Value>, Vec<Value>) = listed.iter().map(of_core).unzip();
    write(all, "accounts", &json!({ "accounts": accounts }));
    write(all, "balances", &json!({ "balances": balances }));

    let own = accounts
        .iter()
        .filter(|record| record["accountId"] == account);
    write(
        one,
        "accounts",
        &json!({ "accounts": own.collect::<Vec<_>>() }),
    );
    let page: Value = serde_json::from_slice(transactions).unwrap();
    let booked = page["transactions"]["booked"].as_array().unwrap();
    let entries = booked
        .iter()
        .zip((0..booked.len()).rev())
        .map(|(listed, sequence)| {
            let mut details = listed.as_object().unwrap().clone();
            details.remove("_links");
            json!({
                "booked": true,
                "date": listed["bookingDate"],
                "sequence": sequence,
                "details": details,
            })
        });
    let entries: Vec<Value> = entries.collect();
    let last = entries.last().unwrap();
    let next = json!({ "booked": true, "date": last["date"], "sequence": last["sequence"] });
    let page = json!({ "accountId": account, "entries": entries, "next": next });
    write(one, "transactions", &page);
}

fn write(folder: &Path, name: &str, answer: &Value) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join(name), answer.to_string()).unwrap();
}
