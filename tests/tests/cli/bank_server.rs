//! `bank-server check` and `import`, and the files they refuse.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use bank_client::environment::{Clock as _, SystemClock};
use chrono::TimeDelta;
use fixtures::pki::{Identity, Pki};
use fixtures::world::{Bank, World};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509Name};
use tempfile::TempDir;
use tests::process::{Process, prepare, prepare_with};
use tests::programs::{both, own, system};

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

/// Output of a bank with Anna's credentials that is started after its files were changed. It must
/// not start with new ones.
fn start_after(what: impl Fn(&Path)) -> String {
    let (folder, _) = prepare_with(r#"{ path = "bank.db", key = "bank.key" }"#);
    let path = folder.path();
    assert!(import(path, &world()).status.success());
    let enrol = || {
        let mut child = own("bank-server")
            .args(["enrol", "--config"])
            .arg(path.join("bank.toml"))
            .arg("anna.weber")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"start12345\n")
            .unwrap();
        child.wait_with_output().unwrap()
    };
    let enrolled = enrol();
    assert!(enrolled.status.success(), "{}", both(&enrolled));
    let said = both(&enrolled);
    let (_, secret) = said.split_once("authenticator: ").unwrap();
    let secret = secret.lines().next().unwrap();
    assert_eq!(said.matches(secret).count(), 1, "in no command: {said}");
    // The key, and whether there is a database.
    let files = || {
        let database = fs::read(path.join("bank.db")).ok();
        let is_one = database.map(|content| content.starts_with(b"SQLite format 3"));
        (fs::read(path.join("bank.key")).ok(), is_one)
    };
    what(path);
    let before = files();
    // One that starts is ended.
    let refused = system("timeout")
        .arg("20")
        .arg(own("bank-server").get_program())
        .args(["serve", "--config"])
        .arg(path.join("bank.toml"))
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", both(&refused));
    let again = enrol();
    assert_eq!(again.status.code(), Some(1), "{}", both(&again));
    assert!(
        files() == before,
        "nothing was made or changed: {}",
        both(&refused)
    );
    both(&refused)
}

#[test]
fn a_bank_that_lost_its_key_or_its_database_does_not_begin_anew() {
    let said = start_after(|path| fs::remove_file(path.join("bank.key")).unwrap());
    assert!(said.contains("bank.key is not there"), "{said}");
    assert!(said.contains("put the key that was used before"), "{said}");
    let said = start_after(|path| fs::remove_file(path.join("bank.db")).unwrap());
    assert!(said.contains("bank.db is not there or empty"), "{said}");
    let said = start_after(|path| fs::write(path.join("bank.db"), "").unwrap());
    assert!(said.contains("bank.db is not there or empty"), "{said}");
    assert!(
        said.contains("restore the database from a backup"),
        "{said}"
    );
    let said = start_after(|path| fs::write(path.join("bank.db"), "x".repeat(8192)).unwrap());
    assert!(said.contains("bank.db is no whole database"), "{said}");
    assert!(said.contains("restore the file from a backup"), "{said}");
}

#[test]
fn a_database_that_others_can_read_is_refused() {
    for name in ["bank.db", "bank.db-wal", "bank.db-lock"] {
        let said = start_after(|path| {
            let file = path.join(name);
            if !file.exists() {
                fs::write(&file, "").unwrap();
            }
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        });
        let told = format!("{name} is open to others");
        assert!(said.contains(&told), "{said}");

        // What `serve` refuses, `check` tells.
        let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
        let file = folder.path().join(name);
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let mut check = own("bank-server");
        check.args(["check", "--config"]);
        let checked = check.arg(folder.path().join("bank.toml")).output().unwrap();
        assert_eq!(checked.status.code(), Some(1), "{}", both(&checked));
        assert!(both(&checked).contains(&told), "{}", both(&checked));
    }
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
        "xs2a.private_key",
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

#[test]
fn a_configuration_that_is_not_there_is_one_clear_error() {
    for command in ["check", "serve", "migrate"] {
        let output = own("bank-server")
            .args([command, "--config", "nowhere.toml"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = both(&output);
        let (error, to_do) = said.split_once("\n  to do: ").unwrap();
        assert!(
            error.starts_with("error: nowhere.toml cannot be read: "),
            "{said}"
        );
        assert!(
            to_do.contains("--config") && to_do.lines().count() == 1,
            "{said}"
        );
    }
}

#[test]
fn check_names_every_file_that_is_missing() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    fs::remove_dir_all(folder.path().join("pki")).unwrap();
    let said = said_of(folder.path()).unwrap();
    for wanted in [
        "xs2a.certificate: ",
        "xs2a.private_key: ",
        "xs2a.anchors[0]: ",
        "xs2a.intermediates[0]: ",
        "revocation.lists[0]: ",
        "revocation.lists[1]: ",
        "register.file: ",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

/// A part of the text that cannot be read does not stop the check of the rest.
#[test]
fn check_goes_on_after_a_fault_and_says_what_it_left_out() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let file = folder.path().join("bank.toml");
    let text = fs::read_to_string(&file).unwrap();
    let good = own("bank-server")
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let left_out = "not looked at: the network (";
    assert!(both(&good).contains(left_out), "{}", both(&good));
    let wrong = text
        .replace("name = \"Bank B\"", "name = \"\", colour = 1")
        .replace("anchors = [\"pki/ca1/root.pem\"]", "anchors = 1")
        .replace("certificate = ", "certificat = ")
        .replace("pki/ca1/root.crl", "https://ca1.example/root.crl")
        .replace("pki/ca1/issuing.pem", "pki/ca9/issuing.pem")
        + "[limits]\npage_size = \"many\"\nidle_timeout_seconds = 0\n";
    fs::write(&file, wrong).unwrap();
    let said = said_of(folder.path()).unwrap();
    for wanted in [
        "line 2, bank.name: ",
        "line 2, bank.colour: ",
        "line 8, xs2a.certificat: ",
        "xs2a.certificate: missing field",
        "line 10, xs2a.anchors: ",
        "line 11, xs2a.intermediates[0]: ",
        "line 13, revocation.lists[0]: https://",
        "line 17, limits.page_size: ",
        "line 18, limits.idle_timeout_seconds: ",
        left_out,
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(said.contains("bank.toml: 9\n"), "and no more: {said}");
}

/// The pages' certificate has to be for the host that browsers look for.
#[test]
fn a_certificate_for_another_host_is_named() {
    let (folder, pki) = prepare_with(r#"{ path = "bank.db" }"#);
    let file = folder.path().join("bank.toml");
    let text = fs::read_to_string(&file).unwrap();
    let with_pages = |origin: &str| {
        let pages = format!(
            "[online_banking]\nlisten = \"127.0.0.1:0\"\norigin = \"{origin}\"\n\
             certificate = \"pki/bank-b/qwac.pem\"\nprivate_key = \"pki/bank-b/qwac.key\"\n"
        );
        fs::write(&file, format!("{text}\n{pages}")).unwrap();
        said_of(folder.path())
    };
    assert_eq!(with_pages("https://localhost"), None);
    let said = with_pages("https://banking.example").unwrap();
    assert!(
        said.contains("online_banking.certificate: ") && said.contains("banking.example"),
        "{said}"
    );
    let key = folder.path().join("pki/bank-b/qwac.key");
    fs::write(key, &pki.bank_a.qwac.key_pem).unwrap();
    let said = with_pages("https://localhost").unwrap();
    assert!(said.contains("online_banking.private_key: "), "{said}");
}

/// Both files of the pages are looked at, and who can read the key; so is who can read what the
/// bank keeps.
#[test]
fn check_tells_what_is_wrong_with_the_files_of_the_pages_and_who_can_read_secrets() {
    let (folder, pki) = prepare_with(r#"{ path = "bank.db", key = "bank.key" }"#);
    let path = |name: &str| folder.path().join(name);
    let text = fs::read_to_string(path("bank.toml")).unwrap();
    let pages = "[online_banking]\nlisten = \"127.0.0.1:0\"\norigin = \"https://localhost\"\n\
                 certificate = \"pages.pem\"\nprivate_key = \"pages.key\"\n";
    fs::write(path("bank.toml"), format!("{text}\n{pages}")).unwrap();
    let said = said_of(folder.path()).unwrap();
    for missing in ["pages.pem cannot be read", "pages.key cannot be read"] {
        assert!(said.contains(missing), "{missing}: {said}");
    }
    let write = |name: &str, content: &[u8], mode: u32| {
        fs::write(path(name), content).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let Identity { chain_pem, key_pem } = &pki.bank_b.qwac;
    write("pages.pem", chain_pem.as_bytes(), 0o644);
    for name in ["pages.key", "bank.key", "bank.db"] {
        write(name, key_pem.as_bytes(), 0o644);
    }
    let said = said_of(folder.path()).unwrap();
    for open in ["pages.key", "bank.key", "bank.db"] {
        let wanted = format!("{open} is open to others; run chmod 600");
        assert!(said.contains(&wanted), "{wanted}: {said}");
    }
    for name in ["pages.key", "bank.key", "bank.db"] {
        write(name, key_pem.as_bytes(), 0o600);
    }
    assert_eq!(said_of(folder.path()), None);
    // A common name alone is no host.
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    write("pages.key", &key.private_key_to_pem_pkcs8().unwrap(), 0o600);
    write("pages.pem", &self_signed(&key), 0o644);
    let said = said_of(folder.path()).unwrap();
    assert!(said.contains("names no host"), "{said}");
}

/// A certificate whose status is unknown because a list is missing is reported before a peer is
/// refused.
#[test]
fn check_names_each_authority_without_a_list() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let file = folder.path().join("bank.toml");
    let text = fs::read_to_string(&file).unwrap();
    let lists = r#"lists = ["pki/ca1/root.crl", "pki/ca1/issuing.crl"]"#;
    let with = |from: &str, to: &str, lists_now: &str| {
        let changed = text.replace(from, to).replace(lists, lists_now);
        assert_ne!(changed, text);
        fs::write(&file, changed).unwrap();
        said_of(folder.path())
    };
    let (root, issuing) = (
        r#"lists = ["pki/ca1/root.crl"]"#,
        r#"lists = ["pki/ca1/issuing.crl"]"#,
    );
    let intermediates = "intermediates = [\"pki/ca1/issuing.pem\"]";
    for (from, to, lists, wanted) in [
        ("", "", root, "CN=CA1 Issuing CA"),
        ("", "", issuing, "CN=CA1 Root CA"),
        // Known from the bank's own certificate.
        (intermediates, "", root, "CN=CA1 Issuing CA"),
    ] {
        let said = with(from, to, lists).unwrap();
        let told = said
            .lines()
            .filter(|line| line.contains("revocation.lists: no CRL of "));
        let told: Vec<_> = told.collect();
        assert!(
            told.len() == 1 && told[0].contains(wanted),
            "{wanted}: {said}"
        );
    }
    // Responders are asked, no status is needed, or the lists are fetched.
    for lists in [
        &format!("{root}\nocsp = {{ peers = true }}"),
        &format!("{root}\nunknown_status = \"soft-fail\""),
        r#"lists = ["http://ca.example/root.crl"]"#,
    ] {
        assert_eq!(with("", "", lists), None, "{lists}");
    }
}

/// The driver would pass over what it cannot read.
#[test]
fn the_authorities_of_the_database_server_are_read_too() {
    let url = "postgres://bank@db.example/bank?sslmode=verify-full&sslrootcert=ca.pem";
    let (folder, pki) = prepare_with(&format!("{{ url = \"{url}\", key = \"bank.key\" }}"));
    let root = pki.ca1.root_pem().unwrap();
    let with = |authorities: &[u8]| {
        fs::write(folder.path().join("ca.pem"), authorities).unwrap();
        said_of(folder.path())
    };
    assert_eq!(with(root.as_bytes()), None);
    let der = X509::from_pem(root.as_bytes()).unwrap().to_der().unwrap();
    for (wrong, wanted) in [
        (
            root.replace("CERTIFICATE", "TRUSTED CERTIFICATE")
                .into_bytes(),
            "TRUSTED CERTIFICATE (object 1",
        ),
        (der, "openssl x509 -inform DER"),
        (Vec::new(), "no certificate"),
    ] {
        let said = with(&wrong).unwrap();
        assert!(
            said.contains("store.url: ") && said.contains(wanted),
            "{said}"
        );
    }
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
        both(&refused).contains("line 6, at account.details.currency: "),
        "{}",
        both(&refused)
    );
    // Nothing was loaded: the same customers can come.
    let imported = import(&good);
    assert!(imported.status.success(), "{}", both(&imported));
    assert!(
        both(&imported).contains("imported 4 customers, 16 accounts"),
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
        .filter(|name| name.starts_with("bank.db-"))
        .filter(|name| !["bank.db-lock", "bank.db-opening"].contains(&name.as_str()))
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

/// Output of `check` for the bank in that folder; empty, if it has no fault.
fn said_of(folder: &Path) -> Option<String> {
    let output = own("bank-server")
        .args(["check", "--config"])
        .arg(folder.join("bank.toml"))
        .output()
        .unwrap();
    (!output.status.success()).then(|| both(&output))
}

fn self_signed(key: &PKey<Private>) -> Vec<u8> {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", "weak").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(key).unwrap();
    let (from, until) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(9));
    certificate.set_not_before(&from.unwrap()).unwrap();
    certificate.set_not_after(&until.unwrap()).unwrap();
    certificate.sign(key, MessageDigest::sha256()).unwrap();
    certificate.build().to_pem().unwrap()
}

/// A bank with which nothing is wrong, whose files are replaced one at a time.
struct Files {
    folder: TempDir,
    pki: Pki,
}

const CERTIFICATE: &str = "pki/bank-b/qwac.pem";
const KEY: &str = "pki/bank-b/qwac.key";
const ANCHORS: &str = "pki/ca1/root.pem";

impl Files {
    fn prepare() -> Self {
        let (folder, pki) = prepare_with(r#"{ path = "bank.db" }"#);
        // Of other anchors there are no lists.
        let file = folder.path().join("bank.toml");
        let text = fs::read_to_string(&file).unwrap();
        let section = "[revocation]\nunknown_status = \"soft-fail\"";
        fs::write(&file, text.replace("[revocation]", section)).unwrap();
        Self { folder, pki }
    }

    /// Output of `check` with that content in the file.
    fn with(&self, file: &str, content: impl AsRef<[u8]>) -> Option<String> {
        let file = self.folder.path().join(file);
        let good = fs::read(&file).unwrap();
        fs::write(&file, content).unwrap();
        let said = said_of(self.folder.path());
        fs::write(&file, good).unwrap();
        said
    }

    fn refuses(&self, file: &str, content: impl AsRef<[u8]>, wanted: &[&str]) {
        let said = self.with(file, content).unwrap_or_default();
        for part in wanted {
            assert!(said.contains(part), "{part}: {said}");
        }
    }

    fn own(&self) -> (&[u8], &[u8], PKey<Private>) {
        let Identity { chain_pem, key_pem } = &self.pki.bank_b.qwac;
        let key = PKey::private_key_from_pem(key_pem.as_bytes()).unwrap();
        (chain_pem.as_bytes(), key_pem.as_bytes(), key)
    }

    fn roots(&self) -> [String; 2] {
        [&self.pki.ca1, &self.pki.ca2].map(|ca| ca.root_pem().unwrap())
    }
}

#[test]
fn files_as_people_have_them_are_read() {
    let files = Files::prepare();
    let (chain, key, own) = files.own();
    let [ca1, ca2] = files.roots();
    let parameters =
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let of_openssl = own.ec_key().unwrap().private_key_to_pem().unwrap();
    let anchor = X509::from_pem(ca1.as_bytes()).unwrap();
    for (index, (file, content)) in [
        (KEY, own.private_key_to_der().unwrap()),
        (KEY, own.private_key_to_pkcs8().unwrap()),
        (KEY, [parameters.as_bytes(), &of_openssl].concat()),
        (KEY, [chain, key].concat()),
        (ANCHORS, anchor.to_der().unwrap()),
        (ANCHORS, format!("\u{feff}{ca2}{ca1}").into_bytes()),
        (ANCHORS, format!("{}{ca1}", ca2.trim_end()).into_bytes()),
        (ANCHORS, ca1.replace('\n', "\r\n").into_bytes()),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(files.with(file, content), None, "{index}");
    }
}

/// It is said what is wrong, in which of the two files and where in it, and what mends it.
#[test]
fn a_certificate_or_key_that_is_not_read_is_named_with_its_place() {
    let files = Files::prepare();
    let (chain, key, own) = files.own();
    let [ca1, _] = files.roots();
    let other = files.pki.bank_a.qwac.key_pem.as_bytes();
    let certificates = X509::stack_from_pem(chain).unwrap();
    let pem = |index: usize| certificates[index].to_pem().unwrap();
    let mut bundle = Pkcs12::builder();
    let bundle = bundle.pkey(&own).cert(&certificates[0]).build2("password");
    let bundle = bundle.unwrap().to_der().unwrap();
    let cipher = Cipher::aes_256_cbc();
    let encrypted = own.private_key_to_pem_pkcs8_passphrase(cipher, b"password");
    let rsa = Rsa::generate(2048).unwrap();
    let traditional = rsa.private_key_to_pem_passphrase(cipher, b"password");
    let place = "xs2a.private_key: ";
    for (content, wanted) in [
        (encrypted.unwrap(), ["encrypted", "openssl pkey -in FILE"]),
        (traditional.unwrap(), ["encrypted", "openssl pkey -in FILE"]),
        (other.to_vec(), ["does not fit", "xs2a.certificate"]),
        ([key, other].concat(), ["a private key", "object 2, line 6"]),
        (bundle.clone(), ["PKCS #12", "openssl pkcs12"]),
        (chain.to_vec(), ["no private key", ""]),
        (
            [ca1.as_bytes(), key].concat(),
            ["a certificate", "object 1, line 1"],
        ),
    ] {
        files.refuses(KEY, content, &[&[place], wanted.as_slice()].concat());
    }
    let place = "xs2a.certificate: ";
    for (content, wanted) in [
        ([pem(1), pem(0)].concat(), "number 2"),
        (bundle, "openssl pkcs12"),
        ([chain, key].concat(), "private key (object 3"),
    ] {
        files.refuses(CERTIFICATE, content, &[place, wanted]);
    }
    let short = PKey::from_rsa(Rsa::generate(2047).unwrap()).unwrap();
    let of_short = short.private_key_to_pem_pkcs8().unwrap();
    fs::write(files.folder.path().join(KEY), of_short).unwrap();
    let wanted = ["xs2a.private_key: ", "2047 bits", "openssl genpkey"];
    files.refuses(CERTIFICATE, self_signed(&short), &wanted);
}

#[test]
fn an_anchor_that_is_not_read_or_has_expired_is_named() {
    let files = Files::prepare();
    let [ca1, ca2] = files.roots();
    let trusted = ca2.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    let damaged = ca2.replacen('-', "", 1);
    let key = &files.pki.bank_b.qwac.key_pem;
    let long_ago = Pki::make(SystemClock.now() - TimeDelta::days(365 * 60)).unwrap();
    let expired = long_ago.ca1.root_pem().unwrap();
    for (content, wanted) in [
        (
            format!("{trusted}{ca1}"),
            ["TRUSTED CERTIFICATE (object 1, line 1)", "openssl x509"],
        ),
        (
            format!("{ca1}{trusted}"),
            ["TRUSTED CERTIFICATE (object 2", "openssl x509"],
        ),
        (format!("{ca1}{damaged}"), ["outside one (line ", "BEGIN"]),
        (
            format!("{ca1}{key}"),
            ["a private key (object 2", "take it out"],
        ),
        (expired.clone(), ["CN=CA1", "none of the anchors"]),
        (format!("{ca1}{expired}"), ["CN=CA1", "expired at"]),
    ] {
        let wanted = [&["xs2a.anchors[0]: "], wanted.as_slice()].concat();
        files.refuses(ANCHORS, content, &wanted);
    }
}

#[test]
fn a_bank_whose_anchors_have_expired_does_not_start() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let long_ago = Pki::make(SystemClock.now() - TimeDelta::days(365 * 60)).unwrap();
    let anchors = folder.path().join("pki/ca1/root.pem");
    fs::write(anchors, long_ago.ca1.root_pem().unwrap()).unwrap();
    let refused = own("bank-server")
        .args(["serve", "--config"])
        .arg(folder.path().join("bank.toml"))
        .output()
        .unwrap();
    assert!(!refused.status.success());
    let said = both(&refused);
    assert!(
        said.contains("xs2a.anchors[0]") && said.contains("expired at"),
        "{said}"
    );
}
