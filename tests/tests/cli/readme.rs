//! Shell blocks of the README and of the documents to which it leads, run in a shell: what a reader
//! does first.

use std::fs;

use bank_client::environment::{Clock as _, SystemClock};
use tests::core_double::CoreDouble;
use tests::ports;
use tests::programs::{both, own, system};
use tests::running_sandbox::RunningSandbox;

/// A sign of a block of lines, and what they print.
const BLOCKS: [(&str, &[&str]); 21] = [
    (
        "sandbox codes $DIR",
        &["anna.weber      password anna-", "code "],
    ),
    ("withBalance=true\"\n", &["\"balances\":["]),
    (
        "openssl s_client",
        &["verify return:1", "HTTP/1.1 200 OK", "\"accounts\":["],
    ),
    ("--cert $DIR/pki/bank-c", &["alert unknown ca"]),
    (
        "accounts --consent $CONSENT",
        &["Current account", "booked now"],
    ),
    ("JOINT=$(", &[".localhost:", "/authorise/"]),
    (
        "$JOINT/authorisations",
        &["\"received\"", ".localhost:", "/authorise/"],
    ),
    ("$B/accounts", &["\"received\"", "CONSENT_INVALID"]),
    ("cat > bank.toml", &[]),
    (
        "bank-server check",
        &[
            "bank.toml: nothing wrong",
            "imported ",
            "for anna.weber's authenticator: ",
            "oathtool --totp -b -\n",
        ],
    ),
    (
        "9443/v1/consents",
        &["\"received\"", "http://own-bank.localhost:"],
    ),
    (
        "bank-server core check",
        &["bank.toml: nothing wrong", "no breach of the contract"],
    ),
    ("bank.toml $CUSTOMER", &["for anna.weber's authenticator: "]),
    ("cat > banks.toml", &["Core Bank", "https://127.0.0.1:"]),
    (
        "scheme-ca --dir ca1 init",
        &[
            "CA1 is founded",
            "\n4\n",
            "\n7\n",
            " is revoked\n",
            "published in ca1/published",
        ],
    ),
    ("bank-client probe", &["PSDFR-ACPR-20002"]),
    ("bank-client banks", &["BNKADEBBXXX", "BNKBFRPPXXX"]),
    ("../first-call/Cargo.toml\n", &["FR76", " EUR"]),
    ("--example many_banks", &["Bank B", "in all"]),
    ("--example sync", &[" new, 0 changed"]),
    (
        "scheme-ca --dir $DIR/scheme-ca/ca1 revoke",
        &[
            "\"accounts\":[",
            " is revoked\n",
            "alert certificate revoked",
        ],
    ),
];

/// A line that runs until it is stopped: for the others it runs in the background, to the end of all lines.
const SERVE: &str = "bank-server serve --config bank.toml";

/// The documents whose blocks are run.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "docs/sandbox.md",
    "docs/running-a-bank.md",
    "docs/scheme-ca.md",
    "docs/sdk.md",
];

/// Lines that wait for a browser, or until they are stopped, or need another database.
const LEFT_OUT: [&str; 7] = [
    "bank-server migrate",
    "scheme-ca --dir ca1 serve",
    "bank-client connect",
    "bank-client accounts --with",
    "bank-client transactions",
    "bank-client sync",
    "bank-client consents",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_the_documents_do_what_they_say() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let documents = DOCUMENTS.map(|path| fs::read_to_string(format!("{root}/{path}")).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("sandbox");
    let sandbox = RunningSandbox::start(&dir, &[]);
    let description = sandbox.description();
    let bank_b = description["banks"]["bank-b"]["xs2a"].as_str().unwrap();
    // The core that a reader has.
    let core = CoreDouble::start("a-1", SystemClock.now().date_naive()).await;
    let first_call = own("examples/first_call").get_program().to_owned();
    let many_banks = own("examples/many_banks").get_program().to_owned();
    let sync = own("examples/sync").get_program().to_owned();
    // With the colon: 9000 is a part of 29000.
    let own_bank = [":9443", ":9451", ":9000"].map(|port| {
        let free = ports::free().port();
        (port, format!(":{free}"))
    });
    let background = format!(
        "{SERVE} 2>serve.log & SERVING=$!; trap 'kill $SERVING' EXIT\n\
         curl -s --retry 60 --retry-delay 1 --retry-connrefused http://127.0.0.1{}/health/live #",
        own_bank[2].1
    );

    let blocks: Vec<&str> = documents
        .iter()
        .flat_map(|document| document.split("```sh\n").skip(1))
        .filter_map(|rest| rest.split_once("```").map(|(block, _)| block))
        .collect();
    let mut script = String::new();
    for (number, (sign, _)) in BLOCKS.iter().enumerate() {
        let block = blocks.iter().find(|block| block.contains(sign));
        let block = block.unwrap_or_else(|| panic!("no lines with {sign}"));
        let lines = block
            .lines()
            .filter(|line| !LEFT_OUT.iter().any(|left_out| line.contains(left_out)));
        let lines: Vec<&str> = lines.collect();
        let lines = lines
            .join("\n")
            .replace("/tmp/sandbox", dir.to_str().unwrap())
            .replace("https://127.0.0.1:8442", bank_b)
            .replace("127.0.0.1:8442", bank_b.trim_start_matches("https://"))
            .replace("127.0.0.1:8080", &core.address().to_string())
            .replace(
                "cargo run --manifest-path ../first-call/Cargo.toml",
                first_call.to_str().unwrap(),
            )
            .replace(
                "cargo run -p bank-client --example many_banks --",
                many_banks.to_str().unwrap(),
            )
            .replace(
                "cargo run -p bank-client --features sqlite --example sync --",
                sync.to_str().unwrap(),
            );
        let lines = own_bank
            .iter()
            .fold(lines, |lines, (port, free)| lines.replace(port, free));
        // One bank at a time on these ports.
        let serve = if *sign == "bank-server check" {
            &*background
        } else {
            ""
        };
        let lines = lines.replace(SERVE, serve);
        script += &format!("echo '@@ {number}'\n{lines}\n");
    }
    let file = folder.path().join("lines.sh");
    fs::write(&file, script).unwrap();
    let ran = system("sh")
        .args(["-c", ". \"$0\" 2>&1"])
        .arg(&file)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let printed = both(&ran);
    for (number, (sign, expected)) in BLOCKS.iter().enumerate() {
        let (_, of_block) = printed.split_once(&format!("@@ {number}\n")).unwrap();
        let of_block = of_block.split("@@ ").next().unwrap();
        for text in *expected {
            assert!(of_block.contains(text), "{sign}: no {text}: {of_block}");
        }
        for wrong in ["not found", "syntax error", "No such file", "unbound"] {
            assert!(!of_block.contains(wrong), "{sign}: {of_block}");
        }
    }
}
