use std::path::PathBuf;

use chrono_tz::Tz;
use proptest::prelude::*;

use super::terms::Terms;
use super::*;

const BANKS: &str = r#"
[[banks]]
id = "bank-a"
name = "Bank A"
bic = "BNKADEBB"
bank_codes = ["10090001", "10090002"]
country = "DE"
url = "https://127.0.0.1:8441"
organisation = "PSDDE-BAFIN-100001"
anchors = ["pki/ca1.pem"]
sca_approaches = ["redirect", "decoupled"]
time_zone = "Europe/Berlin"

[banks.limits]
history_days = 90
calls_a_day = 4
consent_days = 180
delta = "entry-reference"

[[banks]]
id = "bank-b"
name = "Crédit de la Baie"
bic = "BNKBFRPPXXX"
bank_codes = ["20020"]
country = "FR"
url = "https://127.0.0.1:8442"
organisation = "PSDFR-ACPR-20002"
anchors = ["/pki/ca1.pem"]

[[banks]]
id = "bank-b-south"
name = "Crédit de la Baie, Sud"
bic = "BNKBFRPP13A"
bank_codes = ["2002000018"]
country = "FR"
url = "https://127.0.0.1:8443"
organisation = "PSDFR-ACPR-20003"
anchors = ["ca1.pem", "ca3.pem"]
"#;

const JSON: &str = r#"{
  "banks": [
    {
      "id": "bank-a", "name": "Bänk A", "bic": "BNKADEBB", "country": "DE",
      "bank_codes": ["10090001", "10090002"],
      "url": "https://127.0.0.1:8441", "organisation": "PSDDE-BAFIN-100001", "anchors": ["ca1.pem"],
      "limits": { "delta": "delta-list" }
    },
    {
      "id": "bank-b", "name": "Bank B", "country": "DE",
      "bank_codes": ["10090003"],
      "url": "https://127.0.0.1:8442", "organisation": "PSDFR-ACPR-20002", "anchors": ["ca1.pem"]
    }
  ]
}
"#;

fn toml() -> Directory {
    Directory::from_toml(BANKS, "/etc/banks").unwrap()
}

fn ids(banks: &[&BankEntry]) -> Vec<String> {
    banks.iter().map(|bank| bank.id.to_string()).collect()
}

#[test]
fn a_directory_says_all_there_is_to_know() {
    let directory = toml();
    let [a, b, south] = directory.banks() else {
        panic!("{directory:?}");
    };
    assert_eq!(a.bic.unwrap().to_string(), "BNKADEBBXXX");
    assert_eq!(a.limits.history_days, Some(90));
    assert_eq!(a.limits.delta, Some(Delta::EntryReference));
    assert_eq!(a.sca_approaches.len(), 2);
    assert_eq!(b.limits, BankLimits::default());
    // Its days, and the longest consent that it gives, are what a consent manager has to know.
    let terms = a.terms();
    assert_eq!(
        (terms.time_zone, terms.max_validity_days),
        (Tz::Europe__Berlin, Some(180))
    );
    assert_eq!(b.terms(), Terms::default());
    // Paths start at the folder; those that start elsewhere stay.
    assert_eq!(a.anchors, [Path::new("/etc/banks/pki/ca1.pem")]);
    assert_eq!(b.anchors, [Path::new("/pki/ca1.pem")]);
    assert_eq!(directory.get(&south.id), Some(south));
    assert_eq!(directory.get(&"bank-c".parse().unwrap()), None);
    let json = Directory::from_json(JSON, "").unwrap();
    assert_eq!(json.banks()[0].limits.delta, Some(Delta::DeltaList));
    assert_eq!(json.banks()[1].bank_codes, ["10090003"]);
}

#[test]
fn an_iban_leads_to_the_bank_with_the_longest_code() {
    let directory = toml();
    let found = |iban: &str| {
        let found = directory.by_iban(&iban.parse().unwrap());
        found.map(|bank| bank.id.to_string())
    };
    let bank = |id: &str| Ok(id.to_owned());
    assert_eq!(found("DE80100900011234567890"), bank("bank-a"));
    assert_eq!(found("FR3320020000170123456789041"), bank("bank-b"));
    assert_eq!(found("FR1620020000180123456789041"), bank("bank-b-south"));
    assert_eq!(found("DE84100900011234567890"), Err(NoBank::CheckDigits));
    let (country, code) = ("DE".to_owned(), "37040044".to_owned());
    assert_eq!(
        found("DE89370400440532013000"),
        Err(NoBank::Unknown { country, code })
    );
    let country = "BR".to_owned();
    assert_eq!(
        found("BR1800360305000010009795493C1"),
        Err(NoBank::Country { country })
    );
    let short = Iban::with_check_digits("DE", "100900011").unwrap();
    let (country, expected) = ("DE".to_owned(), 22);
    assert_eq!(
        found(short.as_str()),
        Err(NoBank::Length { country, expected })
    );
}

#[test]
fn a_bic_without_branch_stands_for_all() {
    let directory = toml();
    for (bic, expected) in [
        ("BNKADEBB", vec!["bank-a"]),
        ("BNKADEBB100", vec!["bank-a"]),
        ("BNKBFRPP", vec!["bank-b", "bank-b-south"]),
        ("BNKBFRPP13A", vec!["bank-b-south", "bank-b"]),
        ("BNKBFRPP75A", vec!["bank-b"]),
        ("BNKCESMM", vec![]),
    ] {
        assert_eq!(
            ids(&directory.by_bic(&bic.parse().unwrap())),
            expected,
            "{bic}"
        );
    }
    let named = directory.by_name("credti de la baie");
    assert_eq!(ids(&named), ["bank-b", "bank-b-south"]);
}

/// The error of the text, with these changes made to it.
fn fault(
    read: fn(&str, &str) -> Result<Directory, DirectoryError>,
    text: &str,
    changes: &[(&str, &str)],
) -> String {
    let faulty = changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    read(&faulty, "").unwrap_err().to_string()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faults_in_toml_are_told_with_line_and_column() {
    let fault = |from, to| {
        fault(
            |text, folder| Directory::from_toml(text, folder),
            BANKS,
            &[(from, to)],
        )
    };
    for (from, to, expected) in [
        (
            "name = \"Bank A\"",
            "name = \"Bank A",
            "directory:4:15: invalid basic string",
        ),
        ("bic =", "bik =", "directory:5:1: unknown field `bik`"),
        (
            "calls_a_day",
            "calls_an_hour",
            "directory:16:1: unknown field `calls_an_hour`",
        ),
        ("[[banks]]", "[[bank]]", "directory:20:3: duplicate key"),
        ("BNKADEBB", "bnkadebb", "directory:5:7: not a BIC"),
        (
            "\"10090002\"",
            "\"100 900 02\"",
            "directory:6:14: a bank code is 1 to 10",
        ),
        (
            "\"DE\"",
            "\"Germany\"",
            "directory:7:11: a country is two capital letters",
        ),
        (
            "Europe/Berlin",
            "CET+1",
            "directory:12:13: a time zone is one of IANA's",
        ),
        (
            "https://127.0.0.1:8441",
            "http://127.0.0.1",
            "directory:8:7: http://127.0.0.1 is not an https URL",
        ),
        (
            "PSDDE-BAFIN-100001",
            "BAFIN",
            "directory:9:16: not an organisation id",
        ),
        (
            "[\"pki/ca1.pem\"]",
            "[]",
            "directory:10:11: without anchors no bank is believed",
        ),
        (
            "decoupled",
            "oauth",
            "directory:11:31: unknown variant `oauth`",
        ),
        (
            "history_days = 90",
            "history_days = 0",
            "directory:15:16: invalid value",
        ),
        (
            "history_days = 90",
            "history_days = \"90\"",
            "directory:15:16: invalid type",
        ),
        (
            "name = \"Bank A\"",
            "name = \" \"",
            "directory:4:8: a name is 1 to 140 characters",
        ),
        (
            "name = \"Bank A\"",
            "name = \"\\u001b[2J\"",
            "directory:4:8: a name is 1 to 140 characters",
        ),
        (
            "country = \"DE\"",
            "",
            "directory:2:1: missing field `country`",
        ),
        // What two banks share.
        (
            "bank-b-south",
            "bank-b",
            "directory:31:6: the id bank-b is that of the bank at 21:6 already",
        ),
        (
            "Crédit de la Baie, Sud",
            "CREDIT DE LA  BAIE",
            "directory:32:8: the name CREDIT DE LA  BAIE is that of the bank at 22:8 already",
        ),
        (
            "BNKBFRPP13A",
            "BNKBFRPP",
            "directory:33:7: the BIC BNKBFRPPXXX is that of the bank at 23:7 already",
        ),
        (
            "2002000018",
            "20020",
            "directory:34:15: the bank code 20020 is that of the bank at 24:15 already",
        ),
        (
            "10090002",
            "10090001",
            "directory:6:27: the bank code 10090001 is that of the bank at 6:15 already",
        ),
    ] {
        let told = fault(from, to);
        assert!(told.starts_with(expected), "{to}: {told}");
        assert!(!told.contains('\n'), "{told}");
    }
    // The code of another country is another code.
    let abroad = BANKS.replace("\"2002000018\"", "\"10090001\"");
    assert_eq!(Directory::from_toml(&abroad, "").unwrap().banks().len(), 3);
}

#[test]
fn faults_in_json_are_told_with_line_and_column() {
    let fault = |from, to| {
        fault(
            |text, folder| Directory::from_json(text, folder),
            JSON,
            &[(from, to)],
        )
    };
    for (from, to, expected) in [
        ("{\n", "{,\n", "directory:1:2: "),
        ("\"bic\"", "\"bik\"", "directory:4:45: unknown field `bik`"),
        ("BNKADEBB", "bnkadebb", "directory:4:57: not a BIC"),
        (
            "\"banks\"",
            "\"bank\"",
            "directory:2:8: unknown field `bank`",
        ),
        (
            "  ]\n}\n",
            "  ]\n} {}\n",
            "directory:15:3: trailing characters",
        ),
        (
            "\"bank-b\"",
            "\"bank-a\"",
            "directory:10:20: the id bank-a is that of the bank at 4:20 already",
        ),
        (
            "\"Bank B\"",
            "\"bank a\"",
            "directory:10:38: the name bank a is that of the bank at 4:38 already",
        ),
        (
            "10090003",
            "10090001",
            "directory:11:31: the bank code 10090001 is that of the bank at 5:31 already",
        ),
        (
            "\"id\": \"bank-b\"",
            "\"id\": \"bank-b\", \"id\": \"bank-d\"",
            "directory:10:26: duplicate field `id`",
        ),
    ] {
        let told = fault(from, to);
        assert!(told.starts_with(expected), "{to}: {told}");
        assert!(!told.contains(" at line "), "{told}");
    }
}

#[test]
fn files_say_what_they_are_and_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let read = Directory::read(file("banks.toml", BANKS.as_bytes())).unwrap();
    assert_eq!(read.banks()[2].anchors[1], folder.path().join("ca3.pem"));
    assert_eq!(
        Directory::read(file("banks.json", JSON.as_bytes()))
            .unwrap()
            .banks()
            .len(),
        2
    );
    let fault = |path: PathBuf| Directory::read(path).unwrap_err();
    assert!(matches!(
        fault(file("banks.yaml", b"")),
        DirectoryError::UnknownForm { .. }
    ));
    assert!(matches!(
        fault(folder.path().join("none.toml")),
        DirectoryError::Unreadable { .. }
    ));
    let large = vec![b'\n'; MOST_BYTES + 1];
    assert!(matches!(
        fault(file("large.toml", &large)),
        DirectoryError::TooLarge {
            limit: MOST_BYTES,
            ..
        }
    ));
    let wrong = fault(file("latin1.toml", b"\n# Cr\xe9dit"));
    assert!(
        wrong.to_string().ends_with("latin1.toml:2:5: not UTF-8"),
        "{wrong}"
    );
}

#[test]
fn more_banks_than_a_directory_may_have_are_an_error() {
    let bank = |number: usize| {
        format!(
            r#"{{"id":"b{number}","name":"{number}","country":"DE","url":"https://b","organisation":"PSDDE-BAFIN-1","anchors":["a"]}}"#
        )
    };
    let many = |count: usize| {
        let banks: Vec<String> = (0..count).map(bank).collect();
        Directory::from_json(&format!(r#"{{"banks":[{}]}}"#, banks.join(",")), "")
    };
    assert_eq!(many(MOST_BANKS).unwrap().banks().len(), MOST_BANKS);
    let fault = many(MOST_BANKS + 1).unwrap_err();
    assert!(
        matches!(
            fault,
            DirectoryError::TooMany {
                limit: MOST_BANKS,
                ..
            }
        ),
        "{fault}"
    );
}

/// A text that was good, with some of its characters taken out, or others put in.
fn damaged(good: &'static str) -> impl Strategy<Value = String> {
    let places = proptest::collection::vec((0..good.len(), 0usize..12, "\\PC{0,4}"), 1..6);
    places.prop_map(move |places| {
        places
            .into_iter()
            .fold(good.to_owned(), |mut text, (at, taken, put)| {
                let boundary = |mut at: usize| {
                    at = at.min(text.len());
                    while !text.is_char_boundary(at) {
                        at -= 1;
                    }
                    at
                };
                let (start, end) = (boundary(at), boundary(at + taken));
                text.replace_range(start..end, &put);
                text
            })
    })
}

/// Whatever came of it, it is an answer.
fn answers(read: Result<Directory, DirectoryError>) {
    match read {
        Ok(directory) => {
            let _ = directory.by_name("Bank");
        }
        Err(fault) => assert!(fault.to_string().starts_with("directory:"), "{fault}"),
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        answers(Directory::from_toml(&text, ""));
        answers(Directory::from_json(&text, ""));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        for form in [Form::Toml, Form::Json] {
            answers(Directory::parse(form, &bytes, Path::new("directory"), Path::new("")));
        }
    }

    #[test]
    fn no_damage_panics(toml in damaged(BANKS), json in damaged(JSON)) {
        answers(Directory::from_toml(&toml, ""));
        answers(Directory::from_json(&json, ""));
    }

    #[test]
    fn no_question_panics(name in "\\PC{0,300}", bban in "[0-9A-Z]{1,30}", country in "[A-Z]{2}") {
        let directory = toml();
        let _ = directory.by_name(&name);
        let _ = directory.by_iban(&Iban::with_check_digits(&country, &bban).unwrap());
    }
}

#[test]
fn deep_nesting_is_an_error() {
    for opening in ["[", "{\"a\":"] {
        answers(Directory::from_json(&opening.repeat(100_000), ""));
    }
    answers(Directory::from_toml(
        &format!("a = {}", "[".repeat(100_000)),
        "",
    ));
    answers(Directory::from_toml(
        &format!("a = {}", "{a=".repeat(100_000)),
        "",
    ));
}
