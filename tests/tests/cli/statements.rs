//! `bank-server import` of statements: CSV, camt.053 and MT940, written and read by tools of others.

use std::fs;
use std::path::Path;
use std::process::Output;

use bank_server::core_banking::ledger::{ImportOptions, NewAccountHolder, import_file};
use bank_server::environment::SystemRandomness;
use fixtures::sandbox::CUSTOMER;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::banks::Banks;
use tests::process::{prepare, prepare_with};
use tests::programs::{both, own, system_of, unpacked};
use tests::stores;

/// Writers and readers of statements that others wrote.
const TOOLS: &str = "pip:pyiso20022@1.6.2,xsdata@26.10,pycamt@1.1.1,mt940-writer@0.8,mt-940@5.1.1";

/// Runs one of the scripts in `statements` with these arguments. It writes a file, and prints what
/// a reader finds in it.
fn written_and_read(script: &str, arguments: &[&str]) -> Value {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/statements");
    let python = unpacked(TOOLS).join("bin/python");
    let output = system_of(python.to_str().unwrap(), "python3")
        .arg(format!("{scripts}/{script}"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", both(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// An amount with two decimals, in cents.
fn cents(amount: &Value) -> i64 {
    let amount = amount.as_str().unwrap();
    amount.replace('.', "").parse().unwrap()
}

/// Sum of the amounts that satisfy a condition, as the import reports it.
fn sum(amounts: &[i64], of: impl Fn(&i64) -> bool) -> String {
    let sum: i64 = amounts.iter().copied().filter(of).sum();
    let sign = if sum < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", sum.abs() / 100, sum.abs() % 100)
}

fn report(amounts: &[i64]) -> String {
    let debits = amounts.iter().filter(|amount| **amount < 0).count();
    format!(
        "EUR: {} credits {}, {debits} debits {}, together {}",
        amounts.len() - debits,
        sum(amounts, |amount| *amount >= 0),
        sum(amounts, |amount| *amount < 0),
        sum(amounts, |_| true),
    )
}

/// Amounts that pycamt found, with their signs.
fn of_camt(read: &Value) -> Vec<i64> {
    let entries = read["entries"].as_array().unwrap().iter();
    let amounts = entries.map(|entry| {
        let amount = cents(&entry["Amount"]);
        match entry["CreditDebitIndicator"].as_str() {
            Some("DBIT") => -amount,
            _ => amount,
        }
    });
    amounts.collect()
}

/// Amounts that mt-940 found.
fn of_mt940(read: &Value) -> Vec<i64> {
    let entries = read["entries"].as_array().unwrap().iter();
    entries.map(|entry| cents(&entry["amount"])).collect()
}

fn import(folder: &Path, arguments: &[&str]) -> Output {
    own("bank-server")
        .args(["import", "--config"])
        .arg(folder.join("bank.toml"))
        .args(arguments)
        .output()
        .unwrap()
}

const HOLDER: [&str; 4] = ["--customer", "clara.holm", "--customer-name", "Clara Holm"];

fn import_for_clara(folder: &Path, file: &str) -> Output {
    import(folder, &[&HOLDER[..], &[file]].concat())
}

/// A folder for files, and its path with this name in it.
fn file(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn sums_are_those_that_tools_of_others_find() {
    let (folder, _) = prepare().await;
    for (round, version) in ["02", "06", "08"].into_iter().enumerate() {
        let path = file(&folder, &format!("{version}.xml"));
        let read = written_and_read("write_camt053.py", &[version, &path]);
        let imported = import_for_clara(folder.path(), &path);
        let said = both(&imported);
        assert!(imported.status.success(), "{said}");
        if round == 0 {
            assert!(
                said.contains("imported 1 customers, 1 accounts, 3 transactions"),
                "{said}"
            );
            assert!(said.contains(&report(&of_camt(&read))), "{said}");
        } else {
            // The same statement in another version: its entries are in the ledger.
            assert!(
                said.contains("imported 0 customers, 0 accounts, 0 transactions"),
                "{said}"
            );
            assert!(
                said.contains("in the ledger already: 3 transactions"),
                "{said}"
            );
        }
    }
    let path = file(&folder, "statement.sta");
    let read = written_and_read("write_mt940.py", &[&path]);
    let imported = import_for_clara(folder.path(), &path);
    let said = both(&imported);
    assert!(
        said.contains("imported 0 customers, 1 accounts, 3 transactions"),
        "{said}"
    );
    assert!(said.contains(&report(&of_mt940(&read))), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpp_reads_what_was_imported_from_camt053_and_mt940() {
    let banks = Banks::start().await;
    let configuration = banks.folder.path().join("bank-b.toml");
    let database = stores::of(&configuration).await;
    let folder = tempfile::tempdir().unwrap();
    let (camt, mt940) = (
        file(&folder, "statement.xml"),
        file(&folder, "statement.sta"),
    );
    let of_camt = of_camt(&written_and_read("write_camt053.py", &["08", &camt]));
    let of_mt940 = of_mt940(&written_and_read("write_mt940.py", &[&mt940]));
    let options = ImportOptions {
        customer: Some(NewAccountHolder {
            id: CUSTOMER.to_owned(),
            name: None,
        }),
        ..ImportOptions::default()
    };
    for path in [&camt, &mt940] {
        let file = fs::File::open(path).unwrap();
        let imported =
            import_file(&database, banks.today(), &SystemRandomness, file, &options).await;
        assert_eq!(imported.unwrap().accounts, 1);
    }
    database.close().await;

    let tpp = banks.a_at_b();
    let consent = banks.consent(&tpp).approved().await;
    let read = async |path: &str| {
        let answer = tpp.read(path, &consent).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    };
    let accounts = read("/v1/accounts?withBalance=true").await;
    for (iban, amounts, date) in [
        ("DE89370400440532013000", of_camt, "2026-03-02"),
        ("NL91ABNA0417164300", of_mt940, "2026-03-03"),
    ] {
        let mut listed = accounts["accounts"].as_array().unwrap().iter();
        let account = listed.find(|account| account["iban"] == iban).unwrap();
        let booked = &account["balances"][0];
        assert_eq!(booked["balanceType"], "closingBooked", "{iban}");
        assert_eq!(booked["referenceDate"], date, "{iban}");
        assert_eq!(
            booked["balanceAmount"],
            json!({ "currency": "EUR", "amount": "3420.08" }),
            "{iban}"
        );
        let id = account["resourceId"].as_str().unwrap();
        let days = "dateFrom=2026-01-01&bookingStatus=booked";
        let list = read(&format!("/v1/accounts/{id}/transactions?{days}")).await;
        let entries = list["transactions"]["booked"].as_array().unwrap();
        let mut found: Vec<i64> = entries
            .iter()
            .map(|entry| cents(&entry["transactionAmount"]["amount"]))
            .collect();
        found.reverse();
        assert_eq!(found, amounts, "{iban}");
        let salary = entries.last().unwrap();
        assert_eq!(salary["endToEndId"], "SALARY-2026-02", "{iban}");
        assert_eq!(
            salary["debtorAccount"]["iban"], "DE02120300000000202051",
            "{iban}"
        );
        assert_eq!(salary["entryReference"], "2026030200001", "{iban}");
    }
}

#[test]
fn a_file_that_is_wrong_changes_nothing_and_says_where() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let header = "account;booking_date;amount;currency\n";
    let row = "DE89370400440532013000;2026-03-02;-12,50;EUR\n";
    let camt = "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'/>";
    let cases: [(&str, Vec<u8>, &str); 6] = [
        (
            "a.csv",
            format!("{header}{row}{}", row.replace("EUR", "EUX")).into_bytes(),
            "a.csv: line 3, at currency: no currency of ISO 4217",
        ),
        (
            "b.csv",
            format!("{header}{}", row.replace("DE89", "DE88")).into_bytes(),
            "b.csv: line 2, at account: the check digits of this IBAN are wrong",
        ),
        (
            "c.sta",
            b":20:1\n:25:1234\n:60F:C260301EUR1,\n:62F:C260302EUR2,\n".to_vec(),
            "c.sta: line 4, at :62F:: the opening balance and the entries make 1.00 EUR, and the \
             closing balance is 2.00 EUR",
        ),
        (
            "d.sta",
            b":20:1\n:25:1234\n:60F:C260301EUR1,\n:61:260302C1,NMSCM\xc3\xbc\n:86:M\xfc\n".to_vec(),
            "d.sta: line 5, at .: a byte that is not UTF-8, and line 4 has characters in UTF-8",
        ),
        (
            "e.xml",
            format!("<!DOCTYPE x [<!ENTITY y SYSTEM 'file:///etc/passwd'>]>{camt}").into_bytes(),
            "e.xml: line 1, at .: a DOCTYPE",
        ),
        (
            "f.xml",
            camt.as_bytes().to_vec(),
            "f.xml: line 1, at .: there is no statement",
        ),
    ];
    for (name, content, expected) in cases {
        let path = file(&folder, name);
        fs::write(&path, content).unwrap();
        let refused = import_for_clara(folder.path(), &path);
        let said = both(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
        assert!(said.contains("nothing was loaded"), "{said}");
    }
    let path = file(&folder, "good.csv");
    fs::write(&path, format!("{header}{row}")).unwrap();
    let said = both(&import(folder.path(), &[&path]));
    assert!(
        said.contains("line 2, at account: the ledger has no account in EUR"),
        "{said}"
    );
    assert!(said.contains("--customer"), "{said}");
    let said = both(&import(folder.path(), &["--customer", "clara.holm", &path]));
    assert!(
        said.contains("--customer: the ledger has no customer of that id"),
        "{said}"
    );
    // Nothing of those was loaded: customer and account are new.
    let named = ["--format", "csv", "--delimiter", ";", "--decimal", "comma"];
    let imported = import(folder.path(), &[&HOLDER[..], &named, &[&path]].concat());
    let said = both(&imported);
    assert!(
        said.contains("imported 1 customers, 1 accounts, 1 transactions"),
        "{said}"
    );
    assert!(
        said.contains("EUR: 0 credits 0, 1 debits -12.50, together -12.50"),
        "{said}"
    );
}

#[test]
fn a_times_day_is_the_banks_and_payments_that_do_not_add_up_are_reported() {
    let (folder, _) = prepare_with(r#"{ path = "bank.db" }"#);
    let config = folder.path().join("bank.toml");
    let text = fs::read_to_string(&config).unwrap();
    let zone = text.replacen(
        "name = \"Bank B\"",
        "name = \"Bank B\", time_zone = \"Europe/Berlin\"",
        1,
    );
    assert_ne!(text, zone);
    fs::write(&config, zone).unwrap();
    let balance = |kind: &str, amount: &str| {
        format!(
            "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy='EUR'>{amount}</Amt>\
             <CdtDbtInd>CRDT</CdtDbtInd><Dt><DtTm>2026-03-02T23:30:00Z</DtTm></Dt></Bal>"
        )
    };
    let payment = "<TxDtls><Amt Ccy='EUR'>4</Amt></TxDtls>";
    let camt = format!(
        "<Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><BkToCstmrStmt><Stmt>\
         <Acct><Id><IBAN>DE89370400440532013000</IBAN></Id></Acct>{}{}<Ntry><Amt Ccy='EUR'>9</Amt>\
         <CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts><NtryDtls>{payment}{payment}</NtryDtls>\
         </Ntry></Stmt></BkToCstmrStmt></Document>",
        balance("OPBD", "1"),
        balance("CLBD", "10"),
    );
    let path = file(&folder, "statement.xml");
    fs::write(&path, camt).unwrap();
    let said = both(&import_for_clara(folder.path(), &path));
    assert!(
        said.contains("without payments, which do not add up to the entry: 1 entries"),
        "{said}"
    );
    let csv = "account;booking_date;amount;currency\nDE89370400440532013000;2026-03-02;1;EUR\n";
    let path = file(&folder, "rows.csv");
    fs::write(&path, csv).unwrap();
    let said = both(&import_for_clara(folder.path(), &path));
    assert!(
        said.contains(
            "line 2, at booking_date: not in the ledger, which is booked up to 2026-03-03"
        ),
        "{said}"
    );
}
