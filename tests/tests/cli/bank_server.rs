//! `bank-server check` and `import`, and the files they refuse.

use std::fs;
use std::path::Path;
use std::process::Output;

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::world::{Bank, World};
use tests::process::{Process, prepare, prepare_with};
use tests::programs::{both, own};

/// Imports these lines with the configuration in that folder.
fn import(folder: &Path, lines: &str) -> Output {
    let file = folder.join("world.jsonl");
    fs::write(&file, lines).unwrap();
    own("bank-server")
        .args(["import", "--config"])
        .arg(folder.join("bank.toml"))
        .arg(&file)
        .output()
        .unwrap()
}

/// Bank B's part of the sample world.
fn world() -> String {
    let mut world = Vec::new();
    World::generate(3, SystemClock.now().date_naive())
        .of(Bank::B)
        .write(&mut world)
        .unwrap();
    String::from_utf8(world).unwrap()
}

#[test]
fn check_says_all_that_is_wrong() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let file = folder.path().join("bank.toml");
    let check = || {
        own("bank-server")
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap()
    };
    let good = check();
    assert!(good.status.success(), "{}", both(&good));

    let text = fs::read_to_string(&file).unwrap();
    let broken = text
        .replace("pki/bank-b/qwac.key", "pki/bank-a/qwac.key")
        .replace("127.0.0.1:0\" }", "0.0.0.0:0\" }")
        .replace("pki/ca1/root.pem", "pki/ca9/root.pem")
        .replace("bank.db", "nowhere/bank.db")
        + "\n[limits]\npage_size = 501\n";
    fs::write(&file, broken).unwrap();
    let bad = check();
    assert!(!bad.status.success());
    let said = both(&bad);
    for place in [
        "xs2a.certificate",
        "xs2a.anchors[0]",
        "operator.listen",
        "store.path",
        "limits.page_size",
    ] {
        assert!(said.contains(place), "{place}: {said}");
    }
    fs::write(&file, text.replace("anchors", "ankers")).unwrap();
    assert!(
        both(&check()).contains("ankers"),
        "a misspelt name is named"
    );
}

#[tokio::test]
async fn import_takes_all_of_a_file_or_nothing() {
    let (folder, _) = prepare().await;
    let import = |lines: &str| import(folder.path(), lines);
    let good = world();
    let number = good.lines().count();
    let broken = good.replacen("\"EUR\"", "\"EURO\"", 30);
    let refused = import(&broken);
    assert!(!refused.status.success());
    assert!(
        both(&refused).contains("line 5, at account.details.currency: "),
        "{}",
        both(&refused)
    );
    // Nothing was loaded: the same customers can come.
    let imported = import(&good);
    assert!(imported.status.success(), "{}", both(&imported));
    assert!(
        both(&imported).contains("imported 3 customers, 12 accounts"),
        "{} of {number} lines",
        both(&imported)
    );
    let again = import(&good);
    assert!(
        both(&again).contains("line 2, at customer.id: this id is there already"),
        "{}",
        both(&again)
    );
}

#[tokio::test]
async fn a_bank_that_serves_from_a_file_is_not_kept_from_writing_by_an_import() {
    let (folder, pki) = prepare_with(r#"{ path = "bank.db" }"#);
    let bank = Process::serve(folder.path(), &pki).await;
    let refused = import(folder.path(), &world());
    assert!(!refused.status.success());
    let said = both(&refused);
    for part in ["bank.db: a bank serves from this database", "stop the bank"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    drop(bank);
    let imported = import(folder.path(), &world());
    assert!(imported.status.success(), "{}", both(&imported));
}

#[test]
fn an_import_that_is_refused_leaves_no_journal() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let refused = import(folder.path(), &format!("{}{{}}\n", world()));
    assert!(!refused.status.success());
    let left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("bank.db-") && name != "bank.db-lock")
        .collect();
    assert!(left.is_empty(), "{left:?}: {}", both(&refused));
}

#[test]
fn what_cannot_log_in_is_not_enrolled() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let enrol = |customer: &str, password: &str| {
        let file = folder.path().join("password");
        fs::write(&file, password).unwrap();
        own("bank-server")
            .args(["enrol", "--config"])
            .arg(folder.path().join("bank.toml"))
            .arg(customer)
            .stdin(fs::File::open(&file).unwrap())
            .output()
            .unwrap()
    };
    for (customer, password, said) in [
        ("", "correct horse", "a customer id has 1 to 70 characters"),
        (" anna", "correct horse", "no blanks at its ends"),
        ("anna", "correct\x07horse", "no control characters"),
        (
            "anna",
            &"x".repeat(201),
            "a password has from 8 to 200 characters",
        ),
    ] {
        let refused = enrol(customer, password);
        assert!(!refused.status.success(), "{said}");
        assert!(both(&refused).contains(said), "{said}: {}", both(&refused));
    }
    let enrolled = enrol("anna", &"x".repeat(200));
    assert!(enrolled.status.success(), "{}", both(&enrolled));
}

#[test]
fn a_key_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;

    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let key = folder.path().join("pki/bank-b/qwac.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    for command in ["check", "serve"] {
        let refused = own("bank-server")
            .args([command, "--config"])
            .arg(folder.path().join("bank.toml"))
            .output()
            .unwrap();
        assert!(!refused.status.success());
        assert!(
            both(&refused).contains("chmod 600"),
            "{command}: {}",
            both(&refused)
        );
    }
}
