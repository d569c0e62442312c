//! The program `sandbox`: what it prints and writes, and its folder from one run to the next.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use bank_client::directory::Directory;
use bank_client::environment::{Clock as _, ManualClock, SystemClock};
use bank_server::config::Config;
use chrono::TimeDelta;
use fixtures::browser::Browser;
use fixtures::sandbox::{Options, Sandbox, SandboxFolder, run_story};
use fixtures::world::STORY_CUSTOMER;
use serde_json::Value;
use tests::http::begin_request;
use tests::programs::{both, own, system};
use tests::running_sandbox::{RunningSandbox, enter};
use tests::sdk::BANK_B;
use tests::stores;

const ANNA: &str = "anna.weber";

/// Runs it to its end, at ports that the system chooses.
pub(crate) fn once(folder: &Path, arguments: &[&str]) -> Output {
    own("sandbox")
        .args(["--once", "--port-base", "0", "--dir"])
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap()
}

pub(crate) fn fails(output: &Output, cause: &str, advice: &str) {
    let said = both(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let (error, to_do) = said.split_once("\n  to do: ").unwrap();
    assert!(error.contains(cause), "{said}");
    assert!(to_do.contains(advice), "{said}");
}

/// Why a sandbox that was started again makes fewer calls.
const FEWER: &str = "so the story makes fewer calls";

/// Whether the story was told, and each of its calls ended as expected.
pub(crate) fn ended_as_expected(printed: &str) -> bool {
    let mut lines = printed.lines();
    let counted = lines.find_map(|line| line.strip_suffix(" calls ended as expected."));
    counted.is_some_and(
        |counted| matches!(counted.split_once(" of "), Some((good, all)) if good == all),
    )
}

fn description(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("sandbox.json")).unwrap()).unwrap()
}

/// The files below a folder, with their content, without databases and the log: those are written
/// while a sandbox runs.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !name.contains(".db") && name != "sandbox.log" && name != "record.jsonl" {
            let mut content = Vec::new();
            let mut file = fs::File::open(&path).unwrap();
            file.read_to_end(&mut content).unwrap();
            found.insert(path, content);
        }
    }
    found
}

#[test]
fn the_sandbox_tells_the_story_for_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let told = once(folder.path(), &["--json"]);
    assert!(told.status.success(), "{}", both(&told));
    let steps: Vec<Value> = serde_json::from_slice(&told.stdout).unwrap();
    assert!(steps.len() > 30);
    for step in &steps {
        let mut fields: Vec<&String> = step.as_object().unwrap().keys().collect();
        fields.sort();
        assert_eq!(
            fields,
            ["expected", "from", "outcome", "reason", "to", "what"]
        );
        assert_eq!(step["expected"], step["outcome"], "{step}");
    }
    let of = |from: &str| steps.iter().filter(|step| step["from"] == from).count();
    assert!(of("Budget App") > 0 && of("Bank C") > 0);
    let description = description(folder.path());
    assert_eq!(description["banks"]["bank-b"]["organisation"], BANK_B);
    assert!(description["consents"]["bank-a-at-bank-b"].is_string());
    for file in [
        "pki/bank-a/qwac.pem",
        "pki/budget-app/qwac.pem",
        "bank-a.toml",
        "bank-b.db",
        "sandbox.log",
        "world/bank-c.jsonl",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
    // The directory says by whose days each bank counts.
    let directory = Directory::read(folder.path().join("banks.toml")).unwrap();
    for entry in directory.banks() {
        let own = folder.path().join(format!("{}.toml", entry.id));
        let zone = Config::read(&own).unwrap().bank.time_zone;
        assert_eq!(entry.time_zone, zone);
        let written = fs::read_to_string(folder.path().join("banks.toml")).unwrap();
        let line = format!("time_zone = \"{zone}\"");
        assert_eq!(written.matches(&line).count(), 3, "{written}");
    }
    // A second run in the same folder goes on with the first.
    let again = once(folder.path(), &["--json"]);
    assert!(again.status.success(), "{}", both(&again));
    let log = fs::read_to_string(folder.path().join("sandbox.log")).unwrap();
    for secret in ["Anna", ANNA, "Clara", STORY_CUSTOMER, "PRIVATE", "FR76"] {
        assert!(!log.contains(secret), "the log holds {secret}");
    }
    for line in log.lines() {
        let named = [
            "bank{name=Bank A}",
            "bank{name=Bank B}",
            "bank{name=Bank C}",
            "authority{name=CA",
            "story",
        ];
        assert!(
            named.iter().any(|name| line.contains(name)),
            "whose is it? {line}"
        );
    }
    for bank in ["Bank A", "Bank B", "Bank C"] {
        let connection_rejected = log
            .lines()
            .any(|line| line.contains(&format!("bank{{name={bank}}}")) && line.contains("serving"));
        assert!(connection_rejected, "{bank}: {log}");
    }
}

#[test]
fn the_sandbox_writes_certificates_alone() {
    let folder = tempfile::tempdir().unwrap();
    let write = |folder: &Path| own("sandbox").arg("pki").arg(folder).output().unwrap();
    let written = write(folder.path());
    assert!(written.status.success(), "{}", both(&written));
    assert_eq!(
        fs::read_dir(folder.path().join("refused")).unwrap().count(),
        28
    );
    for file in [
        "ca2/issuing.pem",
        "budget-app/qwac.key",
        "world/bank-b.jsonl",
    ] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
    let root = fs::read(folder.path().join("ca1/root.pem")).unwrap();
    let root = openssl::x509::X509::from_pem(&root).unwrap();
    assert!(
        format!("{:?}", root.subject_name()).contains("Offline CA1 Root CA"),
        "it is not taken for a sandbox's authority"
    );

    // Not over the certificates of banks that run with others.
    let sandbox = tempfile::tempdir().unwrap();
    assert!(once(sandbox.path(), &[]).status.success());
    let before = files(sandbox.path());
    for folder in [sandbox.path().to_owned(), sandbox.path().join("pki")] {
        fails(
            &write(&folder),
            "is the folder of a sandbox",
            "name another folder",
        );
    }
    assert_eq!(files(sandbox.path()), before);
}

/// The story uses no code of a customer whose log-in is printed, and a printed code is good for a
/// minute.
#[tokio::test(flavor = "multi_thread")]
async fn printed_log_ins_work_at_both_banks() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = RunningSandbox::start(folder.path(), &[]);
    assert!(!sandbox.printed.contains(&format!("  {STORY_CUSTOMER}  ")));
    for (bank, key) in [("Bank A", "bank-a"), ("Bank B", "bank-b")] {
        let known = RunningSandbox::log_in_of(&sandbox.printed, bank, ANNA);
        let mut browser = Browser::new();
        let page = enter(&mut browser, &sandbox.pages(key), ANNA, &known, None).await;
        assert_eq!(page.heading(), "Accounts", "{bank}: {}", page.text());
    }
    // And so does an approval, with what `codes` prints.
    let known = RunningSandbox::log_in_of(&sandbox.codes(), "Bank B", "sofia.navarro");
    let asked = sandbox.asks(
        "bank-b",
        &[
            "consents",
            "-H",
            "PSU-IP-Address: 127.0.0.1",
            "-d",
            &sandbox.wanted("bank-b", "sofia.navarro"),
        ],
    );
    let page = asked["_links"]["scaRedirect"]["href"].as_str().unwrap();
    let page = enter(
        &mut Browser::new(),
        page,
        "sofia.navarro",
        &known,
        Some("Allow access"),
    )
    .await;
    assert_eq!(page.heading(), "Access allowed", "{}", page.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_holders_approve_one_consent() {
    let folder = tempfile::tempdir().unwrap();
    both_holders_approve(&RunningSandbox::start(folder.path(), &[])).await;
}

/// Lucas and Sofia hold an account together: the steps that the README gives for it.
pub(crate) async fn both_holders_approve(sandbox: &RunningSandbox) {
    let wanted = r#"{"access":{"allPsd2":"allAccounts"},"recurringIndicator":true,"validUntil":"9999-12-31",
                     "frequencyPerDay":4,"combinedServiceIndicator":false}"#;
    let ask = |arguments: &[&str]| sandbox.asks("bank-b", arguments);
    let first = ask(&["consents", "-H", "PSU-IP-Address: 127.0.0.1", "-d", wanted]);
    let consent = first["consentId"].as_str().unwrap();
    let status = || ask(&[&format!("consents/{consent}/status")])["consentStatus"].clone();
    // One browser, as on the reader's desk.
    let mut browser = Browser::new();
    let mut approve = async |asked: &Value, customer: &str| {
        let page = asked["_links"]["scaRedirect"]["href"].as_str().unwrap();
        let known = RunningSandbox::log_in_of(&sandbox.codes(), "Bank B", customer);
        enter(&mut browser, page, customer, &known, Some("Allow access"))
            .await
            .heading()
    };
    assert_eq!(approve(&first, "lucas.moreau").await, "You have approved");
    assert_eq!(status(), "partiallyAuthorised");
    let second = ask(&["-X", "POST", &format!("consents/{consent}/authorisations")]);
    assert_eq!(approve(&second, "sofia.navarro").await, "Access allowed");
    assert_eq!(status(), "valid");
    let accounts = ask(&["accounts", "-H", &format!("Consent-ID: {consent}")]);
    assert!(
        !accounts["accounts"].as_array().unwrap().is_empty(),
        "{accounts}"
    );
}

/// Killed or stopped: certificates, consents and used codes are what they were.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_goes_on_where_it_was_and_begins_anew_when_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut sandbox = RunningSandbox::start(path, &[]);
    assert!(!sandbox.printed.contains(FEWER), "{}", sandbox.printed);
    let known = RunningSandbox::log_in_of(&sandbox.printed, "Bank A", ANNA);
    let mut browser = Browser::new();
    let page = enter(&mut browser, &sandbox.pages("bank-a"), ANNA, &known, None).await;
    assert_eq!(page.heading(), "Accounts");
    let (before, made) = (sandbox.description(), files(path));
    // The files of the user.
    for own in [
        "notes.txt",
        "pki/own.pem",
        "bank-a.db.bak",
        "pki/refused/own.key",
    ] {
        fs::write(path.join(own), "mine").unwrap();
    }
    sandbox.child.kill();

    let mut sandbox = RunningSandbox::start(path, &[]);
    assert!(ended_as_expected(&sandbox.printed), "{}", sandbox.printed);
    assert!(sandbox.printed.contains(FEWER), "{}", sandbox.printed);
    let after = sandbox.description();
    assert_eq!(after["consents"], before["consents"]);
    assert_eq!(after["authorities"], before["authorities"]);
    for bank in ["bank-a", "bank-b"] {
        assert_eq!(
            after["banks"][bank]["customers"],
            before["banks"][bank]["customers"]
        );
    }
    let same = |name: &str, now: &BTreeMap<PathBuf, Vec<u8>>| {
        made.iter()
            .filter(|(file, _)| file.starts_with(path.join(name)))
            .filter(|(file, _)| {
                file.extension()
                    .is_some_and(|suffix| suffix == "pem" || suffix == "key")
            })
            .all(|(file, content)| now.get(file) == Some(content))
    };
    let now = files(path);
    assert!(same("pki", &now) && same("scheme-ca", &now) && same("bank-a.key", &now));
    let page = enter(
        &mut Browser::new(),
        &sandbox.pages("bank-a"),
        ANNA,
        &known,
        None,
    )
    .await;
    assert_ne!(
        page.heading(),
        "Accounts",
        "a code is used once, whatever happens in between"
    );
    // What `bank-client` keeps, with a local copy.
    let (password, code) = RunningSandbox::log_in_of(&sandbox.codes(), "Bank B", ANNA);
    fs::write(path.join("notes.txt"), format!("{password}\n{code}\n")).unwrap();
    let connect = [
        "connect",
        "bank-b",
        "--approach",
        "embedded",
        "--psu-id",
        ANNA,
    ];
    for arguments in [&connect[..], &["sync"]] {
        let output = own("bank-client")
            .args(arguments)
            .env("BANK_CLIENT_CONFIG", path.join("bank-client.toml"))
            .stdin(fs::File::open(path.join("notes.txt")).unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", both(&output));
    }
    assert!(path.join("bank-client/default/copy.db.runs").is_dir());
    // What the documents' commands with the examples keep.
    let made_by_examples = [
        "accounts.db",
        "accounts.key",
        "consent-life.db",
        "whole-app.db-wal",
    ]
    .map(|file| path.join("bank-client/examples").join(file));
    for file in &made_by_examples {
        fs::write(file, "sealed with a key that is removed").unwrap();
    }
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let consent = after["consents"]["bank-a-at-bank-b"].as_str().unwrap();
    let read = sandbox.asks_as(
        "bank-a",
        "bank-b",
        &["accounts", "-H", &format!("Consent-ID: {consent}")],
    );
    assert_eq!(read["accounts"].as_array().unwrap().len(), 3, "{read}");
    sandbox.child.terminate();
    assert!(sandbox.child.wait().await.success());

    let sandbox = RunningSandbox::start(path, &["--fresh"]);
    let anew = sandbox.description();
    assert_ne!(anew["consents"], before["consents"]);
    assert!(sandbox.printed.contains("local copies of bank-client"));
    assert!(!path.join("bank-client/default").exists());
    assert!(made_by_examples.iter().all(|file| !file.exists()));
    let now = files(path);
    assert!(!same("pki", &now) && !same("scheme-ca", &now) && !same("bank-a.key", &now));
    for own in [
        "notes.txt",
        "pki/own.pem",
        "bank-a.db.bak",
        "pki/refused/own.key",
    ] {
        assert_eq!(fs::read(path.join(own)).unwrap(), b"mine", "{own}");
    }
    let page = enter(
        &mut Browser::new(),
        &sandbox.pages("bank-a"),
        ANNA,
        &RunningSandbox::log_in_of(&sandbox.printed, "Bank A", ANNA),
        None,
    )
    .await;
    assert_eq!(page.heading(), "Accounts", "its codes are not used");
}

/// A request in progress is waited for, unless there is another Ctrl-C.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_is_told_and_another_one_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = RunningSandbox::start(folder.path(), &[]);
    let pages = sandbox.pages("bank-a");
    let host = pages.strip_prefix("http://").unwrap();
    let port: u16 = host.rsplit(':').next().unwrap().parse().unwrap();
    let mut form = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST /log-in HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9"
    );
    begin_request(&mut form, &head);
    sandbox.child.signal("INT");
    sandbox
        .child
        .line(|line| line.starts_with("stopping; ").then_some(()));
    sandbox.child.signal("INT");
    assert_eq!(sandbox.child.wait().await.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn its_end_prints_the_command_that_starts_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut sandbox = RunningSandbox::start(&folder.path().join("it's mine"), &[]);
    sandbox.child.signal("INT");
    let child = &mut sandbox.child;
    child.line(|line| line.starts_with("stopped; ").then_some(()));
    let command = child.line(|line| Some(line.to_owned()));
    assert!(sandbox.child.wait().await.success());
    // Typed as it stands, in a shell that knows no folder of this build.
    assert!(command.ends_with(" --port-base 0"), "{command}");
    let again = system("sh")
        .args(["-c", &format!("{command} --once")])
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(ended_as_expected(&both(&again)), "{}", both(&again));
    let codes = own("sandbox").arg("codes").arg(&sandbox.folder).output();
    let note = both(&codes.unwrap());
    let (program, _) = command.split_once(" --dir ").unwrap();
    assert!(
        note.contains(&format!("`{} --dir '", program.trim())),
        "{note}"
    );
}

#[test]
fn one_sandbox_at_a_time_has_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = RunningSandbox::start(folder.path(), &[]);
    let before = files(folder.path());
    let log = || {
        fs::metadata(folder.path().join("sandbox.log"))
            .unwrap()
            .len()
    };
    let written = log();
    for arguments in [&[][..], &["--fresh"], &["--fresh", "--seed", "2"]] {
        fails(
            &once(folder.path(), arguments),
            "a sandbox runs in",
            "stop it first, or start another one beside it with --dir FOLDER --port-base 0",
        );
        let codes = format!("sandbox codes {}`", folder.path().display());
        fails(&once(folder.path(), arguments), "a sandbox runs in", &codes);
    }
    assert_eq!(files(folder.path()), before);
    assert!(log() >= written);
    assert!(!sandbox.codes().is_empty());
}

#[test]
fn what_keeps_it_from_starting_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(once(path, &[]).status.success());
    let before = files(path);
    let base = tests::ports::free().port() - 1;
    let _taken = TcpListener::bind(("127.0.0.1", base + 1)).unwrap();
    let at = |arguments: &[&str]| {
        let mut sandbox = own("sandbox");
        sandbox.args(["--once", "--dir"]).arg(path).args(arguments);
        sandbox.output().unwrap()
    };
    for fresh in [&[][..], &["--fresh"]] {
        let wanted = base.to_string();
        let arguments = [&["--port-base", &wanted], fresh].concat();
        fails(
            &at(&arguments),
            &format!("127.0.0.1:{}", base + 1),
            "--port-base",
        );
    }
    let operator = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let base = operator.local_addr().unwrap().port() - 22;
    let base = base.to_string();
    fails(
        &at(&["--fresh", "--port-base", &base]),
        "cannot listen on",
        "--port-base",
    );
    fails(&at(&["--port-base", "65530"]), "port base", "lower");
    fails(
        &at(&["--port-base", "0", "--seed", "2"]),
        "seed 1, not 2",
        "--fresh",
    );
    let authority = description(path)["authorities"]["ca1"]
        .as_str()
        .unwrap()
        .to_owned();
    let authority = authority.strip_prefix("http://").unwrap();
    let _taken = TcpListener::bind(authority).unwrap();
    fails(&once(path, &[]), authority, "--fresh");
    assert_eq!(files(path), before);
}

#[test]
fn a_start_that_is_refused_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let left = || -> Vec<_> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    let base = tests::ports::free().port() - 1;
    let _taken = TcpListener::bind(("127.0.0.1", base + 1)).unwrap();
    for given in [path.to_owned(), path.join("new/folder")] {
        let mut sandbox = own("sandbox");
        sandbox.args(["--once", "--port-base", &base.to_string(), "--dir"]);
        let refused = sandbox.arg(&given).output().unwrap();
        fails(&refused, "cannot listen on", "--port-base");
        assert!(left().is_empty(), "{:?}", left());
    }
    fs::write(path.join("bank-a.db"), "theirs").unwrap();
    fails(&once(path, &[]), "not a sandbox's", "another folder");
    assert_eq!(left(), ["bank-a.db"]);
}

/// The sandbox trusts the content of its folder, and writes keys there.
#[test]
fn a_folder_in_which_others_can_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path| {
        let advice = "a folder of your own";
        fails(&once(path, &[]), "others can write to it", advice);
        fails(&once(path, &["--fresh"]), "others can write to it", advice);
    };
    let prepared = folder.path().join("prepared");
    fs::create_dir(&prepared).unwrap();
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        fs::set_permissions(&prepared, fs::Permissions::from_mode(mode)).unwrap();
        refused(&prepared);
    }
    fs::set_permissions(&prepared, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fs::read_dir(&prepared).unwrap().count(), 0);
    // Root alone can give a folder away; to other users, the system's are another's.
    let link = folder.path().join("link");
    symlink(&prepared, &link).unwrap();
    if lchown(&link, Some(1), None).is_ok() {
        refused(&link);
        refused(&link.join(""));
        chown(&prepared, Some(1), None).unwrap();
        refused(&prepared);
    } else {
        refused(Path::new("/usr"));
    }
    // One that it makes is its user's alone.
    let new = folder.path().join("around/new");
    assert!(once(&new, &[]).status.success());
    for made in [new.parent().unwrap(), &new] {
        let mode = fs::metadata(made).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", made.display());
    }
}

#[test]
fn what_a_link_leads_to_is_not_a_sandboxs() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (path, outside) = (folder.path(), outside.path());
    let kept = [
        "consents.db",
        "copy.db-wal",
        "copy.db.runs/0123456789abcdef0123456789abcdef",
    ];
    fs::create_dir_all(outside.join("copy.db.runs")).unwrap();
    for name in kept {
        fs::write(outside.join(name), "mine").unwrap();
    }
    let runs = path.join("bank-client/bank-c/copy.db.runs");
    fs::create_dir_all(&runs).unwrap();
    symlink(outside, path.join("bank-client/default")).unwrap();
    let cause = "bank-client/default is not a sandbox's";
    fails(&once(path, &[]), cause, "another folder");

    let run = runs.join("fedcba9876543210fedcba9876543210");
    for file in [&run, &runs.join("notes.txt")] {
        fs::write(file, "mine").unwrap();
    }
    fs::write(path.join("sandbox.state"), r#"{"version":0}"#).unwrap();
    let fresh = once(path, &["--fresh"]);
    assert!(fresh.status.success(), "{}", both(&fresh));
    assert!(!run.exists() && runs.join("notes.txt").exists());
    for name in kept {
        assert_eq!(fs::read(outside.join(name)).unwrap(), b"mine", "{name}");
    }
}

#[test]
fn a_folder_is_whole_or_made_anew_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // What was begun and not ended was never used.
    fs::create_dir_all(path.join("pki/ca1")).unwrap();
    fs::write(path.join("pki/ca1/root.pem"), "half a certific").unwrap();
    fs::write(path.join("bank-a.db"), "half a database").unwrap();
    let state = path.join("sandbox.state");
    fs::write(&state, r#"{"version":1,"sandbox":null}"#).unwrap();
    let made = once(path, &[]);
    assert!(made.status.success(), "{}", both(&made));

    fs::write(&state, r#"{"version":0,"other":"things"}"#).unwrap();
    fails(&once(path, &[]), "of another version", "--fresh");
    fs::write(&state, "no json").unwrap();
    fails(&once(path, &[]), "sandbox.state cannot be read", "--fresh");
    assert!(once(path, &["--fresh"]).status.success());
    // Before there was a state.
    fs::remove_file(&state).unwrap();
    fails(&once(path, &[]), "of another version", "--fresh");
    assert!(once(path, &["--fresh"]).status.success());

    let others = tempfile::tempdir().unwrap();
    let theirs = others.path().join("pki/register.json");
    fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    fs::write(&theirs, "theirs").unwrap();
    for arguments in [&[][..], &["--fresh"]] {
        fails(
            &once(others.path(), arguments),
            "pki/register.json is not a sandbox's",
            "another folder",
        );
    }
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
}

/// Two years later, certificates are issued anew, and the story is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_goes_on_when_its_certificates_have_expired() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let databases = stores::databases();
    let start = async || {
        let options = Options {
            folder: SandboxFolder::open(folder.path(), false).await.unwrap(),
            port_base: 0,
            databases: databases.clone(),
            seed: None,
            core: None,
            lists_for: TimeDelta::days(7),
            clock: Arc::<ManualClock>::clone(&clock),
        };
        Box::pin(Sandbox::start(options)).await.unwrap()
    };
    let tell = async |sandbox: &Sandbox| {
        let (steps, consents) = run_story(sandbox).await.unwrap();
        for step in &steps {
            assert!(step.is_as_expected(), "{step:?}");
        }
        sandbox.describe(&consents).unwrap();
    };
    let certificate = || fs::read_to_string(folder.path().join("pki/bank-b/qwac.pem")).unwrap();
    let sandbox = start().await;
    tell(&sandbox).await;
    sandbox.stop().await;
    let before = certificate();
    clock.advance(TimeDelta::days(730));
    let sandbox = start().await;
    tell(&sandbox).await;
    assert_ne!(certificate(), before);
    sandbox.stop().await;
    // What was revoked is issued anew as well.
    let before = certificate();
    let sandbox = start().await;
    let ca = &sandbox.pki.ca1;
    let serial = ca.serials_of(BANK_B);
    let reason = "keyCompromise".parse().unwrap();
    ca.revoke(&serial[serial.len() - 2], reason, "Rita", clock.now())
        .unwrap();
    sandbox.stop().await;
    let sandbox = start().await;
    assert_ne!(certificate(), before);
    assert_eq!(sandbox.pki.issued_anew, ["bank-b/qwac.pem"]);
    sandbox.stop().await;
}

#[test]
fn codes_say_where_there_is_no_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let codes = |folder: &Path| own("sandbox").arg("codes").arg(folder).output().unwrap();
    let advice = "the folder that the sandbox has printed";
    fails(&codes(folder.path()), "no sandbox is in", advice);
    fails(
        &codes(&folder.path().join("nowhere")),
        "no sandbox is in",
        advice,
    );
    assert!(once(folder.path(), &[]).status.success());
    let printed = codes(folder.path());
    assert!(printed.status.success());
    assert!(both(&printed).contains(ANNA), "{}", both(&printed));
    assert!(
        both(&printed).contains("note: no sandbox runs in"),
        "{}",
        both(&printed)
    );
}

#[test]
fn help_names_all_ports() {
    let help = own("sandbox").arg("--help").output().unwrap();
    let help = both(&help);
    for offset in [
        "+ 1, 2, 3",
        "+ 11, 12, 13",
        "+ 21, 22",
        "+ 31 and 32",
        "--fresh",
    ] {
        assert!(help.contains(offset), "{offset}: {help}");
    }
}
