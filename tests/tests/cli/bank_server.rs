//! `bank-server check` and `import`, and the files they refuse.

use std::fs;

use bank_client::environment::{Clock as _, SystemClock};
use fixtures::world::{Bank, World};
use tests::process::{prepare, prepare_with};
use tests::programs::{both, own};

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
    let import = |lines: &str| {
        let file = folder.path().join("world.jsonl");
        fs::write(&file, lines).unwrap();
        own("bank-server")
            .args(["import", "--config"])
            .arg(folder.path().join("bank.toml"))
            .arg(&file)
            .output()
            .unwrap()
    };
    let mut good = Vec::new();
    World::generate(3, SystemClock.now().date_naive())
        .of(Bank::B)
        .write(&mut good)
        .unwrap();
    let good = String::from_utf8(good).unwrap();
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
