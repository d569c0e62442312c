//! A million transactions, and bombs, in the memory of a page: the example `stream`, as a program
//! of its own.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Output;

use tests::lone_bank::{Raw, RawBank};
use tests::programs::own;
use tests::sdk::BANK_B;

const PAGES: u64 = 1000;
const ON_A_PAGE: u64 = 1000;

/// Memory that the program may use beyond that before the first page.
const MEMORY_MIB: u64 = 32;

/// Page after page of made-up entries: every other one in dollars. It is an account in any
/// currency.
fn page(request: &str) -> Raw {
    let number: u64 = request.split_once("page=").map_or(0, |(_, rest)| {
        rest.split(' ').next().unwrap().parse().unwrap()
    });
    let mut body = r#"{"account":{"currency":"XXX"},"transactions":{"booked":["#.to_owned();
    for entry in number * ON_A_PAGE..(number + 1) * ON_A_PAGE {
        let (currency, cents) = (if entry % 2 == 0 { "EUR" } else { "USD" }, cents(entry));
        let (whole, cents) = (cents / 100, cents % 100);
        let comma = if entry % ON_A_PAGE == 0 { "" } else { "," };
        write!(
            body,
            r#"{comma}{{"transactionId":"{entry}","bookingDate":"2026-01-02","transactionAmount":{{"currency":"{currency}","amount":"{whole}.{cents:02}"}},"remittanceInformationUnstructured":"Entry {entry}"}}"#
        )
        .unwrap();
    }
    body.push_str(r#"],"_links":{"account":{"href":"/v1/accounts/a"}"#);
    if number + 1 < PAGES {
        let next = number + 1;
        write!(
            body,
            r#","next":{{"href":"/v1/accounts/a/transactions?page={next}"}}"#
        )
        .unwrap();
    }
    body.push_str("}}}");
    Raw::json(&body)
}

fn cents(entry: u64) -> u64 {
    entry % 10_007
}

/// Runs the program against a bank, on a thread of its own.
async fn run(bank: &RawBank) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let lone = &bank.lone;
    let own_identity = &lone.pki.bank_a.qwac;
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let anchors = write("ca1.pem", &lone.pki.ca1.root_pem().unwrap());
    let certificate = write("qwac.pem", &own_identity.chain_pem);
    let key = write("qwac.key", &own_identity.key_pem);
    let mut program = own("examples/stream");
    program
        .arg(format!("https://{}", lone.front))
        .arg(BANK_B)
        .args([&anchors, &certificate, &key].map(|path| path as &Path))
        .args(["the-consent", "a", "2026-01-01"]);
    tokio::task::spawn_blocking(move || program.output().unwrap())
        .await
        .unwrap()
}

/// Its output, with the memory separate.
fn told(output: &Output) -> (String, u64) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let (sums, memory) = text
        .split_once("memory: ")
        .unwrap_or_else(|| panic!("{output:?}"));
    let mut numbers = memory.split(' ').filter_map(|word| word.parse().ok());
    let (before, most): (u64, u64) = (numbers.next().unwrap(), numbers.next().unwrap());
    (sums.to_owned(), most - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_entries_take_the_memory_of_a_page() {
    let bank = RawBank::start(page).await;
    let output = run(&bank).await;
    assert!(output.status.success(), "{output:?}");
    let (sums, memory) = told(&output);
    let sum = |parity: u64| {
        let entries = (0..PAGES * ON_A_PAGE).filter(|entry| entry % 2 == parity);
        let cents: u64 = entries.map(cents).sum();
        format!("{}.{:02}", cents / 100, cents % 100)
    };
    let expected = format!("1000000 transactions\nEUR {}\nUSD {}\n", sum(0), sum(1));
    assert_eq!(sums, expected);
    assert!(memory <= MEMORY_MIB, "{memory} MiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_take_no_more() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
    for (start, again, why) in [
        (
            r#"{"transactions":{"booked":["#,
            r#"{"transactionAmount":{"currency":"EUR","amount":"1"}},"#,
            "entries",
        ),
        (r#"{"transactions":"#, "[", "nested"),
    ] {
        let bank =
            RawBank::start(move |_| Raw::endless(format!("{head}{start}"), again.repeat(1000)))
                .await;
        let output = run(&bank).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let (sums, memory) = told(&output);
        assert_eq!(sums, "0 transactions\n");
        assert!(memory <= MEMORY_MIB, "{why}: {memory} MiB");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why) && said.contains("help: "), "{said}");
    }
}
