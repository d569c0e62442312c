//! `bank-client` where something is wrong: what it says, what it leaves as it was, and whether what
//! it advises works.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use fixtures::sandbox::CUSTOMER;
use fixtures::world::Bank;
use serde_json::Value;
use tests::files::list_bundle;
use tests::first_time_user::FirstTimeUser;
use tests::lone_bank::refusal;
use tests::programs::{both, own};
use tests::script::Script;
use tests::tls_terminator::{self, Manners};
use tests::wait::wait_for;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// It ends with that exit code, and says that.
fn says(script: &Script, arguments: &[&str], code: i32, texts: &[&str]) -> String {
    let output = script.run(arguments);
    let said = both(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for text in texts {
        assert!(said.contains(text), "{arguments:?}: {said}");
    }
    said
}

/// Bank A is away from now on.
fn away(script: &Script) {
    let directory = script.0.sandbox("banks.toml");
    let good = fs::read_to_string(&directory).unwrap();
    let at_a = script.0.banks.sandbox.bank(Bank::A).url();
    fs::write(&directory, good.replace(&at_a, "https://127.0.0.1:1")).unwrap();
}

/// Reads of Bank A that are left today with no customer present.
fn reads_left(script: &Script) -> u64 {
    let connections = script.json(&["consents"]);
    let of_a = connections.iter().find(|row| row["bank"] == "bank-a");
    of_a.unwrap()["readsLeftToday"].as_u64().unwrap()
}

fn key_file(script: &Script) -> PathBuf {
    script.0.sandbox("bank-client/default/store.key")
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_alike_from_run_to_run() {
    let script = Script::ready().await;
    let accounts = script.json(&["accounts"]);
    let all = ["transactions", "--from", "2000-01-01"];
    let rows = script.json(&all);
    let of = |row: &Value, what: &str| (row["bank"].clone(), row[what].clone());
    let mut order: Vec<_> = rows.iter().map(|row| of(row, "account")).collect();
    order.dedup();
    let listed: Vec<_> = accounts.iter().map(|account| of(account, "iban")).collect();
    let with_entries: Vec<_> = listed
        .into_iter()
        .filter(|one| order.contains(one))
        .collect();
    assert_eq!(
        order, with_entries,
        "one account after the other, as they are listed"
    );
    assert_eq!(rows, script.json(&all));
    assert_eq!(script.json(&["balances"]), script.json(&["balances"]));
    assert_eq!(accounts[0]["bank"], "bank-a");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_known_is_not_made_up_and_asked_for_where_a_bank_insists() {
    let script = Script::ready().await;
    let file = script.0.sandbox("bank-client.toml");
    let text = fs::read_to_string(&file).unwrap();
    let without: String = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("psu_ip_address"))
        .collect();
    assert_ne!(without, text);
    fs::write(&file, without).unwrap();
    let connect = [
        "connect",
        "bank-b",
        "--customer",
        "anna",
        "--print",
        "--wait",
        "1",
    ];
    says(
        &script,
        &connect,
        1,
        &[
            "FORMAT_ERROR at PSU-IP-Address",
            "\n  to do: ",
            "--psu-ip-address",
        ],
    );
    let told = [&connect[..], &["--psu-ip-address", "192.0.2.7"]].concat();
    says(&script, &told, 4, &["not approved within 1 s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_that_a_bank_has_ended_is_told_with_the_command_for_a_new_one() {
    let script = Script::ready().await;
    let directory = script.0.sandbox("banks.toml");
    let mut text = fs::read_to_string(&directory).unwrap();
    let pki = &script.0.banks.sandbox.pki;
    let root = pki.ca1.root_pem().unwrap();
    let sandbox = &script.0.banks.sandbox;
    let refused = refusal(401, "CONSENT_EXPIRED");
    let mut servers = Vec::new();
    for (bank, own, answer) in [
        (Bank::A, &pki.bank_a.qwac, refused),
        (Bank::B, &pki.bank_b.qwac, ResponseTemplate::new(410)),
    ] {
        let behind = MockServer::start().await;
        let always = Mock::given(any()).respond_with(answer);
        always.mount(&behind).await;
        let address = *behind.address();
        let front = tls_terminator::start(own, &root, address, Manners::Honest).await;
        text = text.replace(&sandbox.bank(bank).url(), &format!("https://{front}"));
        servers.push(behind);
    }
    fs::write(&directory, text).unwrap();
    let told = [
        "bank-a: nothing can be read: the connection has ended: expired\n  to do: `bank-client connect bank-a`",
        "bank-b: nothing can be read: the connection has ended: unknown to the bank\n  to do: `bank-client connect bank-b`",
    ];
    for _ in 0..2 {
        says(&script, &["accounts"], 4, &told);
    }
    for row in script.json(&["consents"]) {
        assert_eq!(row["serving"], false, "{row}");
        assert!(row["daysLeft"].is_null(), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connect_has_no_use_for_is_refused() {
    let script = Script::ready().await;
    for option in ["--certificate", "--key", "--anchors", "--name", "--url"] {
        let connect = ["connect", "bank-b", option, "x", "--print", "--wait", "1"];
        says(&script, &connect, 2, &["the certificate from the profile"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_connect_a_customer_at_once_make_one_connection() {
    let script = Script::ready().await;
    let connect = [
        "connect",
        "bank-b",
        "--customer",
        "anna",
        "--print",
        "--wait",
        "2",
    ];
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut command = script.command(&connect);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{}", both(&output));
    }
    let consents = script.json(&["consents"]);
    let annas = consents.iter().filter(|one| one["bank"] == "bank-b/anna");
    assert_eq!(annas.count(), 1, "{consents:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_advised_works() {
    let script = Script::ready().await;
    let connect = [
        "connect",
        "bank-b",
        "--customer",
        "anna",
        "--print",
        "--wait",
        "1",
    ];
    let again = "`bank-client connect bank-b --customer anna`";
    says(
        &script,
        &connect,
        4,
        &["error: ", "not approved within 1 s", "\n  to do: ", again],
    );
    let give_up = "or `bank-client revoke bank-b/anna` to give it up";
    let said = says(
        &script,
        &["accounts"],
        0,
        &["left out: bank-b/anna: ", again, give_up],
    );
    assert!(said.contains(" bank-a "), "{said}");
    let alone = ["accounts", "--bank", "bank-b/anna"];
    says(&script, &alone, 4, &[again, give_up]);
    let revoke = ["revoke", "bank-b/anna"];
    says(&script, &revoke, 0, &["bank-b/anna is disconnected"]);
    let said = says(&script, &["accounts"], 0, &[" bank-a ", " bank-b "]);
    assert!(!said.contains("left out"), "{said}");

    says(&script, &["accounts", "--bank", "Bank B"], 0, &[" bank-b "]);
    // A bank is not guessed where a consent is asked for, or data read.
    let near = "no bank of the directory is called bakn-b; nearest: bank-b";
    for command in [
        &["connect", "bakn-b"][..],
        &["accounts", "--bank", "bakn-b"],
    ] {
        says(&script, command, 1, &[near, "give its id"]);
    }
    // Of one that is connected, what becomes of that; and for how long the customer is waited for.
    let twice = ["connect", "bank-b", "--print", "--wait", "1"];
    says(
        &script,
        &twice,
        4,
        &[
            "bank-b is connected until ",
            "A new approval replaces the present consent",
            ", within 1 s:",
        ],
    );
    let backwards = ["transactions", "--from", "2026-02-01", "--to", "2026-01-31"];
    says(
        &script,
        &backwards,
        2,
        &["--from 2026-02-01 is after --to 2026-01-31"],
    );
    let wrong = ["banks", "DE03120300000000202051"];
    says(&script, &wrong, 1, &["check digits of that IBAN are wrong"]);
    says(
        &script,
        &["banks", "--url", "https://127.0.0.1:1"],
        0,
        &["Bank A"],
    );

    let key = script.0.sandbox("pki/budget-app/qwac.key");
    let open = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    for (mode, code) in [(0o644, 1), (0o620, 1), (0o640, 0), (0o600, 0)] {
        open(mode);
        let said = says(&script, &["banks"], code, &[]);
        assert_eq!(said.contains("`chmod 600 "), code == 1, "{said}");
    }
}

/// Each list of a file is read; of certificate, key and list, the one that is wrong is named, with
/// the place in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_is_named_with_the_place() {
    let script = Script::ready().await;
    let at = |name: &str| script.0.sandbox(name);
    let list = |ca: &str, which: &str| {
        fs::read(at(&format!("scheme-ca/{ca}/published/{which}.crl"))).unwrap()
    };
    let config = fs::read_to_string(at("bank-client.toml")).unwrap();
    let with_lists = |lists: &str| {
        let lists = format!(
            "lists = [\"{lists}\"]\nissuers = [\"pki/ca1/root.pem\", \"pki/ca1/issuing.pem\"]\n"
        );
        let config = format!("{config}\n[profiles.default.revocation]\n{lists}");
        fs::write(at("bank-client.toml"), config).unwrap();
    };
    with_lists("lists.pem");
    let root = list("ca1", "root");
    let lists = |of: &str| list_bundle(&[root.clone(), list(of, "issuing")]);
    fs::write(at("lists.pem"), lists("ca1")).unwrap();
    says(&script, &["banks"], 0, &[]);
    fs::write(at("lists.pem"), lists("ca2")).unwrap();
    says(
        &script,
        &["banks"],
        1,
        &["lists.pem holds a list (object 2, line "],
    );
    with_lists("https://ca1.example/root.crl");
    says(&script, &["banks"], 1, &["lists are files"]);

    fs::write(at("bank-client.toml"), &config).unwrap();
    let key = at("pki/budget-app/qwac.key");
    let other = fs::read_to_string(at("pki/bank-b/qwac.key")).unwrap();
    let own = fs::read_to_string(&key).unwrap();
    fs::write(&key, format!("{own}{other}")).unwrap();
    says(
        &script,
        &["banks"],
        1,
        &["qwac.key holds a private key (object 2, line 6)"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_is_away_costs_no_read_and_can_be_left() {
    let script = Script::ready().await;
    let left = || reads_left(&script);
    let first = left();
    script.stdout(&["accounts"]);
    assert_eq!(left(), first - 1);
    away(&script);
    let texts = ["Bank A cannot be reached", "error: ", "\n  to do: "];
    let of_the_other = says(&script, &["accounts"], 3, &["FR76"]);
    assert!(!of_the_other.contains("DE49"), "{of_the_other}");
    for command in [
        &["accounts"][..],
        &["transactions"],
        &["balances"],
        &["sync"],
    ] {
        says(&script, command, 3, &texts);
        assert_eq!(left(), first - 1, "{command:?}");
    }
    let alone = says(&script, &["accounts", "--bank", "bank-a"], 6, &texts);
    assert!(!alone.contains("IBAN"), "no empty table: {alone}");

    let told = says(
        &script,
        &["revoke", "bank-a"],
        6,
        &[
            "bank-a is not read any more, but the bank could not be told",
            "--forget",
        ],
    );
    says(
        &script,
        &["accounts"],
        0,
        &["left out: bank-a: ", " bank-b "],
    );
    let forget = told
        .split('`')
        .find(|part| part.ends_with("--forget"))
        .unwrap();
    let forget: Vec<&str> = forget.split(' ').skip(1).collect();
    says(&script, &forget, 0, &["bank-a is disconnected"]);
    says(&script, &["consents"], 0, &["bank-b"]);
    assert_eq!(script.json(&["consents"]).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_not_replaced() {
    let script = Script::ready().await;
    let key = key_file(&script);
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    let missing = [
        "consents.db exists, but the key that encrypted it does not: ",
        "store.key",
    ];
    for command in ["consents", "accounts", "sync"] {
        says(&script, &[command], 1, &missing);
        assert!(!key.exists());
    }
    fs::write(&key, kept).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(script.json(&["consents"]).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_of_sync_the_second_costs_no_read() {
    let script = Script::ready().await;
    script.stdout(&["sync"]);
    let left = reads_left(&script);
    // As another process that is at it.
    let runs = fs::read_dir(script.0.sandbox("bank-client/default/copy.db.runs")).unwrap();
    let held: Vec<File> = runs
        .map(|file| File::open(file.unwrap().path()).unwrap())
        .collect();
    assert_eq!(held.len(), 2);
    for file in &held {
        // A child that another test forks holds the lock of the first run until it runs its
        // program.
        wait_for("the lock", || file.try_lock().ok()).await;
    }
    for bank in ["bank-a", "bank-b"] {
        let told = format!("another run for {bank} is under way");
        says(&script, &["sync"], 1, &[&told]);
    }
    assert_eq!(reads_left(&script), left);
    for file in &held {
        // Closing it would leave the lock with a child that another test forks.
        file.unlock().unwrap();
    }
    script.stdout(&["sync"]);
    assert_eq!(reads_left(&script), left - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_could_not_be_told_is_connected_anew_as_the_same_connection() {
    let script = Script::ready().await;
    let directory = script.0.sandbox("banks.toml");
    let good = fs::read_to_string(&directory).unwrap();
    away(&script);
    says(&script, &["revoke", "bank-a"], 6, &["could not be told"]);
    let of_bank_a = || {
        let mut consents = script.json(&["consents"]);
        consents.retain(|row| row["bank"] == "bank-a");
        assert_eq!(consents.len(), 1, "{consents:?}");
        consents.remove(0)
    };
    let left = of_bank_a();
    assert_eq!(left["serving"], false, "{left}");
    fs::write(&directory, good).unwrap();
    let connected = script.connect(Bank::A, "bank-a");
    assert!(connected.status.success(), "{}", both(&connected));
    let serving = of_bank_a();
    assert_eq!(serving["connection"], left["connection"]);
    assert_eq!(serving["serving"], true, "{serving}");
    script.stdout(&["sync"]);
    let course = script.stdout(&["balances", "--bank", "bank-a"]);
    assert!(course.contains('█'), "{course}");
    let removed = ["bank-a is disconnected", "its copy removed"];
    says(&script, &["revoke", "bank-a"], 0, &removed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_sends_no_browser_to_this_machine_is_told_with_what_to_do() {
    let script = Script(FirstTimeUser::start().await);
    let strict = script
        .0
        .banks
        .replica_of_b(|config| config.sca.allow_loopback_redirects = false)
        .await;
    let directory = script.0.sandbox("banks.toml");
    let good = fs::read_to_string(&directory).unwrap();
    let at_b = script.0.banks.sandbox.bank(Bank::B).url();
    let at_strict = format!("https://{}", strict.xs2a_address());
    fs::write(&directory, good.replace(&at_b, &at_strict)).unwrap();

    let connect = ["connect", "bank-b", "--print", "--wait", "1"];
    let refused = [
        "400 FORMAT_ERROR at TPP-Redirect-URI: the address must be https: this bank does not allow http on loopback",
        "\n  to do: ",
        "`--approach decoupled`",
    ];
    says(&script, &connect, 1, &refused);
    let in_the_app = [
        &connect[..],
        &["--approach", "decoupled", "--psu-id", CUSTOMER],
    ]
    .concat();
    says(&script, &in_the_app, 4, &["not approved within 1 s"]);
}

#[test]
fn files_that_are_not_there_are_told_with_their_path() {
    let output = own("bank-client")
        .args([
            "probe",
            "https://127.0.0.1:1",
            "--anchors",
            "nosuch/root.pem",
        ])
        .output()
        .unwrap();
    let said = both(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("nosuch/root.pem: No such file"), "{said}");
    assert!(
        said.contains("to do: check that the path is right"),
        "{said}"
    );
}
