//! `bank-client` as a newcomer meets it, from an empty home directory to a synced copy of two
//! banks; and as scripts do.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use fixtures::sandbox::CUSTOMER;
use fixtures::world::Bank;
use serde_json::Value;
use tests::browser::code_of;
use tests::first_time_user::{FirstTimeUser, skeleton};
use tests::programs::{both, own, system};
use tests::script::Script;

/// Text before the transcript.
const INTRODUCTION: &str = "\
# `bank-client` from the beginning

From an empty home directory to a local copy of the accounts at two banks, with a sandbox that runs with `--dir DIR`.
This page is the output of the program, 120 columns wide; in a narrower terminal, tables leave columns out. In a
terminal there are colours, and a progress line for each bank.

A test runs these commands and compares what they print, except for figures and the rows of tables
(`WRITE_TRANSCRIPT=1 tests/run --test cli commands` writes this page).
";

fn transcript() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/command-line.md")
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_from_nothing_to_a_copy_of_two_banks() {
    let mut newcomer = FirstTimeUser::start().await;
    let empty = newcomer.types("There is no configuration yet:", &["banks"]);
    assert!(
        empty.contains("to do: ") && empty.contains("bank-client init"),
        "{empty}"
    );
    let (directory, certificate, key) = (
        newcomer.sandbox("banks.toml"),
        newcomer.sandbox("pki/budget-app/qwac.pem"),
        newcomer.sandbox("pki/budget-app/qwac.key"),
    );
    let init = [
        "init",
        "--directory",
        path(&directory),
        "--certificate",
        path(&certificate),
        "--key",
        path(&key),
    ];
    newcomer.types(
        "`init` writes one to start from; here with the certificate of Budget App, the aggregator of the sandbox:",
        &init,
    );
    let banks = newcomer.types("The banks of the directory:", &["banks"]);
    assert!(
        banks.contains("Bank A") && banks.contains("BNKBFRPPXXX"),
        "{banks}"
    );
    let iban = newcomer.banks.accounts_at_b()[0].number.clone();
    let found = newcomer.types("The bank of an account, by its IBAN:", &["banks", &iban]);
    assert!(
        found.contains("bank-b") && !found.contains("bank-a"),
        "{found}"
    );

    let caption = "Connect the first bank. The program requests a consent, opens the bank's page in the browser, and waits \
                   until the customer has approved there and is redirected back. Some banks require the IP address of \
                   the customer's device; it is given here:";
    newcomer
        .connects(
            caption,
            Bank::A,
            &["connect", "bank-a", "--psu-ip-address", "127.0.0.1"],
        )
        .await;
    let caption = "Connect the second bank. `--print` prints the address of its page, for a browser of your choice:";
    newcomer
        .connects(
            caption,
            Bank::B,
            &[
                "connect",
                "bank b",
                "--print",
                "--psu-ip-address",
                "127.0.0.1",
            ],
        )
        .await;
    let refused = newcomer.types(
        "Bank C cannot be connected: its certificate comes from an authority that the directory does not name:",
        &["connect", "bank-c"],
    );
    assert!(
        refused.contains("we refused the certificate of Bank C"),
        "{refused}"
    );

    let accounts = newcomer.types(
        "Commands read from all connected banks at once:",
        &["accounts"],
    );
    for bank in ["bank-a", "bank-b"] {
        assert_eq!(
            accounts.matches(&format!(" {bank} ")).count(),
            3,
            "{accounts}"
        );
    }
    let transactions = newcomer.types(
        "Transactions, with a running total for each currency:",
        &["transactions", "--bank", "bank-b"],
    );
    assert!(transactions.contains("\ntotal: "), "{transactions}");
    let first = newcomer.types("`sync` writes an encrypted local copy:", &["sync"]);
    assert!(
        first
            .lines()
            .filter(|row| row.trim_end().ends_with(" yes"))
            .count()
            == 2,
        "{first}"
    );
    let again = newcomer.types("The next `sync` reads only what is new:", &["sync"]);
    for row in again.lines().filter(|row| row.starts_with(" bank-")) {
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[2..], ["0", "0", "0", "yes"], "{again}");
    }
    let balances = newcomer.types(
        "With a copy, balances come with their history over the last 60 days:",
        &["balances"],
    );
    assert!(balances.contains('█'), "{balances}");
    let consents = newcomer.types("The status of each connection:", &["consents"]);
    assert!(
        consents.contains(" 95 of 100 until 00:00 UTC"),
        "five of a hundred reads: {consents}"
    );
    newcomer.types(
        "`revoke` ends a connection, at the bank and here:",
        &["revoke", "bank-a"],
    );
    let ended = newcomer.types(
        "Without a connection, a command fails with exit code 4:",
        &["accounts", "--bank", "bank-a"],
    );
    assert!(ended.contains("connect bank-a"), "{ended}");
    let consents = both(&newcomer.run(&["consents"]));
    assert!(
        consents.contains("bank-b") && !consents.contains("bank-a"),
        "{consents}"
    );

    // What is kept is in the newcomer's own folder, for her alone.
    let kept = newcomer
        .home
        .path()
        .join(".local/share/bank-client/default");
    let key = fs::metadata(kept.join("store.key")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&key.permissions());
    assert_eq!(mode & 0o777, 0o600);
    for file in ["consents.db", "copy.db"] {
        let content = fs::read(kept.join(file)).unwrap();
        let holds = |text: &str| {
            content
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        assert!(!holds(&iban) && !holds("Supermarkt"), "{file}");
    }

    let shown = format!("{INTRODUCTION}{}", newcomer.shown());
    if std::env::var_os("WRITE_TRANSCRIPT").is_some() {
        fs::write(transcript(), &shown).unwrap();
    }
    let written = fs::read_to_string(transcript()).unwrap_or_default();
    assert_eq!(
        skeleton(&shown),
        skeleton(&written),
        "write it anew: WRITE_TRANSCRIPT=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_json_and_csv_and_people_tables_that_fit() {
    let script = Script::ready().await;
    let accounts = script.json(&["accounts", "--with-balance"]);
    assert_eq!(accounts.len(), 6);
    assert!(
        accounts
            .iter()
            .all(|account| account["balances"].is_array()),
        "{accounts:?}"
    );
    let cards = script.json(&["accounts", "--cards"]);
    assert_eq!(cards.len(), 2, "{cards:?}");

    let listed = script.json(&["transactions", "--from", "2000-01-01", "--status", "booked"]);
    let csv = script.stdout(&[
        "--csv",
        "transactions",
        "--from",
        "2000-01-01",
        "--status",
        "booked",
    ]);
    let mut lines = csv.split("\r\n");
    assert_eq!(
        lines.next(),
        Some(
            "bank,account,status,date,id,with,with_account,what,amount,currency,running_total,value_date,json"
        )
    );
    assert_eq!(lines.filter(|line| !line.is_empty()).count(), listed.len());
    // What is there in the end is the sum of what was listed.
    let of_bank_b = script.json(&["transactions", "--bank", "bank-b"]);
    let last = of_bank_b
        .iter()
        .rfind(|row| row["transactionAmount"]["currency"] == "EUR")
        .unwrap();
    let cents = |text: &Value| {
        text.as_str()
            .unwrap()
            .replace('.', "")
            .parse::<i64>()
            .unwrap()
    };
    let sum: i64 = of_bank_b
        .iter()
        .filter(|row| row["transactionAmount"]["currency"] == "EUR")
        .map(|row| cents(&row["transactionAmount"]["amount"]))
        .sum();
    assert_eq!(cents(&last["runningTotal"]), sum);
    // In each line it is the sum of the lines down to there.
    let mut so_far = 0;
    for row in &of_bank_b {
        if row["transactionAmount"]["currency"] == "EUR" {
            so_far += cents(&row["transactionAmount"]["amount"]);
            assert_eq!(cents(&row["runningTotal"]), so_far, "{row}");
        }
    }
    // What a connection is read under can be read under step by step, too.
    let connections = script.json(&["consents"]);
    let connection = connections.iter().find(|row| row["bank"] == "bank-b");
    let consent = connection.unwrap()["consent"].as_str().unwrap();
    let shown = script.stdout(&["consent", "--bank", "bank-b", "status", consent]);
    assert_eq!(shown.trim(), "valid");
    let under = ["accounts", "--bank", "bank-b", "--consent", consent];
    assert_eq!(script.json(&under).len(), 3);
    let table = script.stdout(&["consents"]);
    assert!(table.contains(consent), "{table}");
    assert_eq!(connection.unwrap()["readsPerDay"], 100);
    let until = connection.unwrap()["readsLeftUntil"].as_str().unwrap();
    assert!(until.contains("T00:00:00"), "{until}");
    // One account, by its id.
    let current = accounts
        .iter()
        .find(|account| account["bank"] == "bank-b")
        .unwrap();
    let id = current["resourceId"].as_str().unwrap();
    assert_eq!(script.json(&["balances", "--bank", "bank-b", id]).len(), 2);
    let whole = script.json(&[
        "transactions",
        "--bank",
        "bank-b",
        id,
        "--from",
        "2000-01-01",
    ]);
    assert!(!whole.is_empty() && whole.len() < listed.len());

    // No colours without a terminal, or where they are switched off.
    assert!(!script.stdout(&["balances"]).contains('\x1b'));
    let forced = |more: Option<&str>| {
        let mut command = script.command(&["banks"]);
        command.env("CLICOLOR_FORCE", "1");
        if let Some(variable) = more {
            command.env(variable, "1");
        }
        both(&command.output().unwrap()).contains('\x1b')
    };
    assert!(forced(None));
    assert!(!forced(Some("NO_COLOR")));
    for columns in ["40", "72"] {
        let mut command = script.command(&["accounts", "--with-balance"]);
        let output = command.env("COLUMNS", columns).output().unwrap();
        let [table, notes] =
            [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(notes.contains("no room for: "), "{notes}");
        let widest = table
            .lines()
            .map(|line| line.chars().count())
            .max()
            .unwrap();
        assert!(
            widest <= columns.parse::<usize>().unwrap(),
            "{widest}: {table}"
        );
    }
    // A reader that closes the pipe after the first line is no error.
    let mut child = script
        .command(&["--csv", "transactions", "--from", "2000-01-01"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(
        ended.status.success() && ended.stderr.is_empty(),
        "{}",
        both(&ended)
    );
}

/// Each makes the key and the store if they are not there: they come to the same.
#[tokio::test(flavor = "multi_thread")]
async fn twelve_first_starts_at_once_make_one_store() {
    let newcomer = FirstTimeUser::start().await;
    let [directory, certificate, key] =
        ["banks.toml", "pki/bank-a/qwac.pem", "pki/bank-a/qwac.key"]
            .map(|file| newcomer.sandbox(file));
    for _ in 0..5 {
        let home = tempfile::tempdir().unwrap();
        let command = |arguments: &[&str]| {
            let mut command = newcomer.command(arguments);
            command.env("HOME", home.path());
            command
        };
        let init = command(&["init", "--directory", path(&directory)])
            .args(["--certificate", path(&certificate), "--key", path(&key)])
            .output()
            .unwrap();
        assert!(init.status.success(), "{}", both(&init));
        let started: Vec<Child> = (0..12)
            .map(|_| {
                let mut command = command(&["consents"]);
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().unwrap()
            })
            .collect();
        for child in started {
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "{}", both(&ended));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_scripts_what_happened() {
    let script = Script::ready().await;
    let code = |arguments: &[&str]| {
        let output = script.run(arguments);
        (output.status.code().unwrap(), both(&output))
    };
    let says = |arguments: &[&str], expected: i32, text: &str| {
        let (code, said) = code(arguments);
        assert_eq!(code, expected, "{arguments:?}: {said}");
        assert!(said.contains(text), "{arguments:?}: {said}");
        if code > 2 {
            assert!(
                said.contains("error: ") && said.contains("\n  to do: "),
                "{said}"
            );
        }
    };
    says(&["accounts"], 0, "bank-b");
    says(&["banks", "--nonsense"], 2, "--nonsense");
    says(&["--json", "--csv", "banks"], 2, "cannot be used with");
    for dates in [
        &["transactions", "--from", "yesterday"][..],
        &["transactions", "--to", "30.11.2026"],
        &[
            "consent",
            "--bank",
            "bank-b",
            "create",
            "--valid-until",
            "2026-02-30",
        ],
    ] {
        says(dates, 2, "a day is written as YYYY-MM-DD");
    }
    says(
        &["--profile", "unknown", "banks"],
        1,
        "has no profile unknown",
    );
    says(
        &["connect", "bank"],
        1,
        "can be any of bank-a, bank-b, bank-c",
    );
    says(&["accounts", "--bank", "bank-c"], 4, "connect bank-c");
    says(
        &["connect", "bank-c", "--print"],
        5,
        "we refused the certificate of Bank C",
    );
    says(
        &["--profile", "bank-c", "connect", "bank-b", "--print"],
        5,
        "Bank B refused our certificate",
    );
    let silent = [
        "connect",
        "bank-a",
        "--approach",
        "embedded",
        "--no-input",
        "--psu-id",
        CUSTOMER,
    ];
    says(&silent, 1, "--no-input");

    // What is wrong with the directory is told with file, line and column.
    let directory = script.0.sandbox("banks.toml");
    let good = fs::read_to_string(&directory).unwrap();
    fs::write(&directory, good.replace("bank-c", "bank-b")).unwrap();
    says(&["banks"], 1, "the id bank-b is that of the bank at ");
    let (_, said) = code(&["banks"]);
    assert!(said.contains("banks.toml:"), "{said}");
    fs::write(&directory, &good).unwrap();

    // The customer ends it at the bank.
    let bank = &script.0.banks.sandbox.bank(Bank::B).running;
    let psu = bank_server::domain::PsuId(CUSTOMER.to_owned());
    let given = bank.authorisations().consents_of(&psu).await.unwrap();
    for consent in given {
        bank.authorisations()
            .revoke(&psu, &consent.consent.id)
            .await
            .unwrap();
    }
    says(
        &["accounts"],
        3,
        "bank-b: nothing can be read: the connection has ended: revoked by the customer",
    );
    says(&["accounts", "--bank", "bank-b"], 4, "connect bank-b");
    says(&["--csv", "consents"], 0, "revoked by the customer");
}

/// An account at Bank B has two holders. Each gets a page of the bank.
#[tokio::test(flavor = "multi_thread")]
async fn connecting_leads_each_holder_of_an_account_to_an_approval() {
    let script = Script(FirstTimeUser::start().await);
    let bank = script.0.banks.sandbox.bank(Bank::B);
    let [lucas, sofia] =
        ["lucas.moreau", "sofia.navarro"].map(|id| bank.customer(id).unwrap().clone());
    let connect = ["connect", "bank-b", "--approach", "redirect", "--print"];

    // The other holder is not there: scripts learn of it.
    script.0.banks.clock.advance(chrono::TimeDelta::seconds(30));
    let answers = script.0.home.path().join("answers");
    let code = code_of(&script.0.banks, &lucas, 0);
    fs::write(&answers, format!("{}\n{code}\n", lucas.password)).unwrap();
    let alone = script
        .command(&[
            "connect",
            "bank-b",
            "--approach",
            "embedded",
            "--psu-id",
            &lucas.id,
        ])
        .stdin(fs::File::open(&answers).unwrap())
        .output()
        .unwrap();
    assert_eq!(alone.status.code(), Some(7), "{}", both(&alone));
    let note = "bank-b: approved; another holder of an account has to approve as well";
    assert!(both(&alone).contains(note), "{}", both(&alone));
    let waits = both(&script.run(&["accounts", "--bank", "bank-b"]));
    assert!(
        waits.contains("to do: `bank-client connect bank-b`"),
        "{waits}"
    );

    let mut command = script.command(&connect);
    let (told, status) = script.0.approves([lucas, sofia], &mut command).await;
    assert!(status.success(), "{told}");
    assert!(
        told.contains("bank-b: the connection serves until "),
        "{told}"
    );
    let accounts = script.json(&["accounts", "--bank", "bank-b"]);
    assert!(accounts.len() > 1, "{accounts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bank_that_is_connected_is_to_be_asked_for_is_asked_for() {
    let script = Script::ready().await;
    let until = |days| {
        let last = script.0.banks.today() + chrono::Days::new(days);
        Value::from(last.to_string())
    };
    let connect = |more: &[&str]| {
        let connected = script.connect_with(Bank::B, "bank-b", more);
        assert!(connected.status.success(), "{}", both(&connected));
        let consents = script.json(&["consents"]);
        let bank_b: Vec<&Value> = consents
            .iter()
            .filter(|one| one["bank"] == "bank-b")
            .collect();
        assert_eq!(bank_b.len(), 1, "{consents:?}");
        let accounts = script.json(&["accounts", "--bank", "bank-b"]);
        (bank_b[0]["validUntil"].clone(), accounts.len())
    };
    assert_eq!(connect(&["--days", "30"]), (until(30), 3));
    let iban = script.0.banks.accounts_at_b()[0].number.clone();
    assert_eq!(
        connect(&["--accounts", &iban]),
        (until(30), 1),
        "30 days, as before"
    );
    assert_eq!(connect(&[]), (until(30), 1), "as before");
    assert_eq!(connect(&["--all", "--days", "60"]), (until(60), 3));
}

#[test]
fn shells_and_manual_readers_are_served() {
    let client = |arguments: &[&str]| {
        let output = own("bank-client").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", both(&output));
        output.stdout
    };
    let judge = |program: &str, arguments: &[&str], text: &[u8]| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        fs::write(&file, text).unwrap();
        let judged = system(program).args(arguments).arg(&file).output().unwrap();
        assert!(judged.status.success(), "{program}: {}", both(&judged));
    };
    for shell in ["bash", "zsh", "fish"] {
        let completions = client(&["completions", shell]);
        assert!(String::from_utf8_lossy(&completions).contains("transactions"));
        judge(shell, &["-n"], &completions);
    }
    judge(
        "mandoc",
        &["-T", "lint", "-W", "warning"],
        &client(&["man"]),
    );
    for command in [
        "init",
        "connect",
        "accounts",
        "balances",
        "transactions",
        "sync",
        "consents",
        "revoke",
        "probe",
    ] {
        judge(
            "mandoc",
            &["-T", "lint", "-W", "error"],
            &client(&["man", command]),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_finds_the_bank_of_an_account() {
    let newcomer = FirstTimeUser::start().await;
    let iban = newcomer.banks.accounts_at_b()[0].number.clone();
    let found = own("examples/find_bank")
        .arg(newcomer.sandbox("banks.toml"))
        .arg(&iban)
        .output()
        .unwrap();
    assert!(
        both(&found).starts_with("Bank B (bank-b), at https://"),
        "{}",
        both(&found)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_reads_and_keeps_what_the_command_line_has_connected() {
    let script = Script::ready().await;
    let file = |file: &str| script.0.sandbox(file);
    let told = own("examples/whole_app")
        .arg(file("banks.toml"))
        .args([
            file("pki/budget-app/qwac.pem"),
            file("pki/budget-app/qwac.key"),
        ])
        .arg(file("bank-client/default/consents.db"))
        .arg(file("bank-client/default/store.key"))
        .arg(script.0.home.path().join("copy.db"))
        .output()
        .unwrap();
    let told = both(&told);
    for bank in ["bank-a", "bank-b"] {
        let line = told.lines().find(|line| line.starts_with(bank)).unwrap();
        assert!(line.contains("4 accounts"), "{told}");
        assert!(line.ends_with("new entries, up to date"), "{told}");
    }
    assert!(told.contains("EUR") && told.contains("CHF"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connected_bank_list_and_examples_say_what_to_do() {
    let script = Script(FirstTimeUser::start().await);
    let to_do = "no bank is connected: `bank-client connect BANK` connects one";
    let consents = script.run(&["consents"]);
    assert!(consents.status.success(), "{}", both(&consents));
    assert_eq!(both(&consents).trim(), to_do);
    assert_eq!(script.stdout(&["--json", "consents"]).trim(), "[]");

    let file = |file: &str| script.0.sandbox(file);
    let listed = own("examples/connected_banks")
        .arg(file("bank-client.toml"))
        .output();
    let whole = own("examples/whole_app")
        .arg(file("banks.toml"))
        .args([
            file("pki/budget-app/qwac.pem"),
            file("pki/budget-app/qwac.key"),
        ])
        .args(["consents.db", "store.key"].map(|name| file("bank-client/default").join(name)))
        .arg(script.0.home.path().join("copy.db"))
        .output();
    for output in [listed.unwrap(), whole.unwrap()] {
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        assert_eq!(both(&output).trim(), format!("error: {to_do}"));
    }
}

/// A bank that refuses is no bank without accounts.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_fails_where_a_bank_does_and_prints_no_empty_total() {
    let newcomer = FirstTimeUser::start().await;
    let refused = own("examples/many_banks")
        .arg(newcomer.sandbox("banks.toml"))
        .args([
            newcomer.sandbox("pki/bank-c/qwac.pem"),
            newcomer.sandbox("pki/bank-c/qwac.key"),
        ])
        .arg("bank-b=00000000-0000-4000-8000-000000000000")
        .output()
        .unwrap();
    let told = both(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("Bank B refused our certificate"), "{told}");
    assert!(!told.contains("in all"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_lists_the_accounts_at_connected_banks() {
    let script = Script::ready().await;
    let told = own("examples/connected_banks")
        .arg(script.0.sandbox("bank-client.toml"))
        .output()
        .unwrap();
    let told = both(&told);
    for bank in ["bank-a", "bank-b"] {
        let line = told.lines().find(|line| line.starts_with(bank)).unwrap();
        assert!(line.contains("serves until"), "{told}");
    }
    let numbers = told.lines().filter(|line| {
        let number = line.trim();
        number.starts_with("DE") || number.starts_with("FR")
    });
    assert_eq!(numbers.count(), 6, "{told}");
}
