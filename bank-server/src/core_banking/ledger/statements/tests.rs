//! Readers and the rules of booking, on a database.

use std::io::Cursor;

use proptest::prelude::*;
use shared_types::environment::SystemRandomness;
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::BookingStatus;
use tempfile::TempDir;

use super::*;
use crate::core_banking::ledger::Ledger;
use crate::core_banking::{CoreBanking as _, TransactionQuery};
use crate::domain::PsuId;
use crate::store::tests;

const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();

const CUSTOMER: &str = "clara.holm";

struct Scene {
    database: Database,
    _folder: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let (database, folder) = tests::database().await;
        Self {
            database,
            _folder: folder,
        }
    }

    async fn import_with(&self, file: &[u8], options: ImportOptions) -> Result<Imported, String> {
        let holder = NewAccountHolder {
            id: CUSTOMER.to_owned(),
            name: Some("Clara Holm".to_owned()),
        };
        let options = ImportOptions {
            customer: Some(holder),
            ..options
        };
        let file = Cursor::new(file);
        let imported = import_file(&self.database, TODAY, &SystemRandomness, file, &options).await;
        imported.map_err(|error| error.to_string())
    }

    async fn import(&self, file: &str) -> Result<Imported, String> {
        self.import_with(file.as_bytes(), ImportOptions::default())
            .await
    }

    /// The balances of the only account, each with its day, and its entries, the newest first.
    async fn account(&self) -> (Vec<String>, Vec<Transaction>) {
        let ledger = Ledger::new(self.database.clone());
        let accounts = ledger
            .accounts_of(&PsuId(CUSTOMER.to_owned()))
            .await
            .unwrap();
        let [account] = accounts.try_into().unwrap();
        self.database.caches().accounts.invalidate(&account.id.0);
        let ids = [account.id.clone()];
        let [balances] = ledger.balances(&ids).await.unwrap().try_into().unwrap();
        let balances = balances.iter().map(|balance| {
            let date = balance.reference_date.unwrap();
            format!(
                "{} {} {date}",
                balance.balance_type.as_str(),
                balance.balance_amount
            )
        });
        let query = TransactionQuery {
            from: NaiveDate::from_ymd_opt(1900, 1, 1).unwrap(),
            to: TODAY,
            status: BookingStatus::Both,
            since: None,
            after: None,
            limit: 100,
        };
        let page = ledger.transactions(&account.id, &query).await.unwrap();
        (balances.collect(), page.booked)
    }

    async fn rows(&self, table: &'static str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(count));
        count.fetch_one(self.database.pool()).await.unwrap()
    }
}

/// A statement of MT940 with these entries.
fn mt940(opening: &str, entries: &[&str], closing: &str) -> String {
    let entries = entries.join("\r\n");
    format!(
        "{{1:F01BANKDEFFXXXX0000000000}}{{2:I940BANKDEFFXXXXN}}{{4:\r\n:20:1\r\n\
         :25:37040044/532013000\r\n:28C:1/1\r\n:60F:{opening}\r\n{entries}\r\n:62F:{closing}\r\n-}}\r\n"
    )
}

const FIRST: &str = ":61:2611021102C1200,NTRFNONREF//B1\r\n:86:Salary";

/// `docs/import.md`'s example of that format.
fn example(format: &str) -> String {
    let text = include_str!("../../../../../docs/import.md");
    let (_, example) = text.split_once(&format!("```{format}\n")).unwrap();
    let (example, _) = example.split_once("```").unwrap();
    example.to_owned()
}

#[tokio::test]
async fn the_examples_of_the_documentation_are_one_statement_in_three_formats() {
    let mut all = Vec::new();
    for format in ["csv", "xml", "text"] {
        let scene = Scene::set().await;
        let imported = scene.import(&example(format)).await.unwrap();
        let turnover = imported.turnovers[&Currency::EUR];
        assert_eq!(imported.transactions, 2, "{format}");
        assert_eq!((turnover.credits, turnover.debits), (1, 1), "{format}");
        assert_eq!(turnover.credit_sum.to_string(), "1200.00", "{format}");
        assert_eq!(turnover.debit_sum.to_string(), "-49.50", "{format}");
        let (balances, entries) = scene.account().await;
        let kind = if format == "csv" {
            "interimBooked"
        } else {
            "closingBooked"
        };
        assert_eq!(
            balances[0],
            format!("{kind} 1250.50 EUR 2026-10-28"),
            "{format}"
        );
        assert_eq!(balances[1], "expected 1250.50 EUR 2026-10-28", "{format}");
        let facts = entries.iter().map(|entry| {
            format!(
                "{} {} {} {}",
                entry.booking_date.unwrap(),
                entry.transaction_amount,
                entry.counterparty(),
                entry.remittance_text().unwrap(),
            )
        });
        all.push(facts.collect::<Vec<_>>());
    }
    assert_eq!(
        all[0],
        [
            "2026-10-28 -49.50 EUR Bookshop Order 4411",
            "2026-10-27 1200.00 EUR Holm & Sons Salary October",
        ]
    );
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

#[tokio::test]
async fn a_statement_continues_the_ledger_and_no_entry_is_booked_twice() {
    let scene = Scene::set().await;
    let coffee = ":61:2611031103D3,NMSCNONREF\r\n:86:Coffee";
    let first = mt940(
        "C261101EUR100,",
        &[FIRST, coffee, coffee],
        "C261103EUR1294,",
    );
    let imported = scene.import(&first).await.unwrap();
    assert_eq!(
        (imported.transactions, imported.accounts, imported.customers),
        (3, 1, 1)
    );
    // The same file again.
    let again = scene.import(&first).await.unwrap();
    assert_eq!(
        (again.transactions, again.known, again.statements),
        (0, 3, 1)
    );
    assert!(again.turnovers.is_empty());
    // One that begins with the same entries, and has one more.
    let more = ":61:2611041104D94,NMSCNONREF";
    let longer = mt940(
        "C261101EUR100,",
        &[FIRST, coffee, coffee, more],
        "C261104EUR1200,",
    );
    let imported = scene.import(&longer).await.unwrap();
    assert_eq!((imported.transactions, imported.known), (1, 3));
    // The older one is in the ledger as a whole: nothing changes.
    let old = scene.import(&first).await.unwrap();
    assert_eq!((old.transactions, old.known), (0, 3));
    let (balances, entries) = scene.account().await;
    assert_eq!(balances[0], "closingBooked 1200.00 EUR 2026-11-04");
    assert_eq!(entries.len(), 4);
    // A gap.
    let late = mt940(
        "C261105EUR1300,",
        &[":61:261106C1,NMSCX"],
        "C261106EUR1301,",
    );
    let refused = scene.import(&late).await.unwrap_err();
    assert!(
        refused.contains(
            "line 7, at :62F:: with the new entries the balance in the ledger would be \
             1201.00 EUR, and the closing balance is 1301.00 EUR"
        ),
        "{refused}"
    );
    let empty = "C261106EUR7,";
    let refused = scene.import(&mt940(empty, &[], empty)).await.unwrap_err();
    assert!(refused.contains("without a gap"), "{refused}");
    assert_eq!(scene.rows("entry").await, 4);
}

/// A statement of the second of November with these entries, each a sign and an amount, which all
/// have the same reference of the bank.
fn of_one_day(opening: &str, entries: &[&str], closing: &str) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|entry| format!(":61:2611021102{entry},NTRFNONREF//77"))
        .collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    mt940(
        &format!("C261102EUR{opening},"),
        &entries,
        &format!("C261102EUR{closing},"),
    )
}

/// Rows of a CSV file, each with its balance where it has one.
fn rows(reference: &str, rows: &[(&str, &str, &str)]) -> String {
    let has_balance = rows.iter().any(|(_, _, balance)| !balance.is_empty());
    let balance = |balance: &str| {
        let column = has_balance.then(|| format!(";{balance}"));
        column.unwrap_or_default()
    };
    let rows = rows.iter().map(|(day, amount, after)| {
        let after = balance(after);
        format!("37040044/532013000;2026-11-{day};{amount};EUR;{reference}{after}\n")
    });
    let header = format!(
        "account;booking_date;amount;currency;reference{}\n",
        balance("balance")
    );
    format!("{header}{}", rows.collect::<String>())
}

/// Imports each file, and compares the numbers of new and of known entries.
async fn import_all(scene: &Scene, files: &[(&str, u64, u64)]) {
    for (number, (file, new, known)) in files.iter().enumerate() {
        let imported = scene.import(file).await;
        let imported = imported.unwrap_or_else(|error| panic!("file {number}: {error}"));
        let found = (imported.transactions, imported.known);
        assert_eq!(found, (*new, *known), "file {number}");
    }
}

async fn refused(scene: &Scene, file: &str, said: &str) {
    let before = scene.rows("entry").await;
    let refused = scene.import(file).await.unwrap_err();
    assert!(refused.contains(said), "{said}\n{refused}");
    assert_eq!(scene.rows("entry").await, before, "{said}");
}

/// Checks that each file is refused with its error, and changes nothing.
async fn refused_each(cases: &[(String, &str)]) {
    for (file, said) in cases {
        let scene = Scene::set().await;
        refused(&scene, file, said).await;
        assert_eq!(scene.rows("customer").await, 0, "{said}");
    }
}

#[tokio::test]
async fn equal_entries_in_the_next_statement_of_a_day_are_booked() {
    let first = of_one_day("100", &["C50"], "150");
    let second = of_one_day("150", &["C50"], "200");
    let csv = rows("77", &[("02", "50", "250")]);
    let without_reference = rows("", &[("02", "50", "300")]);
    let again = rows("", &[("02", "50", "350")]);
    let scene = Scene::set().await;
    let files = [&first, &second, &csv, &without_reference, &again];
    import_all(&scene, &files.map(|file| (file.as_str(), 1, 0))).await;
    import_all(&scene, &files.map(|file| (file.as_str(), 0, 1))).await;
    let (balances, entries) = scene.account().await;
    assert_eq!(balances[0], "interimBooked 350.00 EUR 2026-11-02");
    assert_eq!(entries.len(), 5);
    // They are not those of the ledger, and do not continue it either.
    for file in [
        of_one_day("170", &["C50"], "220"),
        of_one_day("300", &["C50", "C50", "C50"], "450"),
        rows("77", &[("02", "50", "220")]),
    ] {
        refused(
            &scene,
            &file,
            "with the new entries the balance in the ledger would be",
        )
        .await;
    }
    // A statement of the whole day has them all.
    let whole = of_one_day("100", &["C50", "C50", "C50"], "250");
    import_all(&scene, &[(&whole, 0, 3)]).await;
}

#[tokio::test]
async fn entries_that_could_be_booked_once_more_are_refused() {
    const SAID: &str = "the ledger has all of these entries, and is at the balance before them";

    let up = of_one_day("100", &["C50"], "150");
    let down = of_one_day("150", &["D50"], "100");
    let both = format!("{up}{down}");
    let scene = Scene::set().await;
    import_all(&scene, &[(&up, 1, 0), (&down, 1, 0), (&down, 0, 1)]).await;
    refused(&scene, &up, SAID).await;
    let csv = rows("77", &[("02", "50", "150")]);
    refused(&scene, &csv, SAID).await;
    let whole = of_one_day("100", &["C50", "D50", "C50"], "150");
    let twice = both.repeat(2);
    let files = [(&both, 0, 2), (&twice, 0, 4), (&whole, 1, 2), (&up, 0, 1)];
    import_all(
        &scene,
        &files.map(|(file, new, known)| (file.as_str(), new, known)),
    )
    .await;
    // On a later day, it can only be an older one.
    let next = mt940("C261103EUR150,", &[":61:261103D50,NTRFX"], "C261103EUR100,");
    import_all(&scene, &[(&next, 1, 0), (&up, 0, 1), (&csv, 0, 1)]).await;
}

#[tokio::test]
async fn another_reference_or_content_is_another_entry() {
    let scene = Scene::set().await;
    for (number, content) in [
        "NONREF//77",
        "NONREF//78",
        "X1",
        "X2",
        "NONREF\r\n:86:Rent",
        "NONREF\r\n:86:Rent, May",
        "NONREF\r\n:86:166?00A?20Rent?32Anna",
        "NONREF\r\n:86:166?00A?20Rent?32Anton",
        "NONREF\r\n:86:166?00A?20Rent?31123?32Anton",
    ]
    .into_iter()
    .enumerate()
    {
        let up = format!(":61:2611021102C50,NTRF{content}");
        let down = format!(":61:2611021102D50,NTRFNONREF//{number}X");
        let up = mt940("C261102EUR100,", &[&up], "C261102EUR150,");
        let down = mt940("C261102EUR150,", &[&down], "C261102EUR100,");
        import_all(&scene, &[(&up, 1, 0), (&up, 0, 1), (&down, 1, 0)]).await;
    }
}

#[tokio::test]
async fn entries_that_cancel_out_are_not_booked_twice() {
    const REPEATED: &str = "the ledger has entries of the same days and amounts";

    let statement = of_one_day("100", &["C50", "D50"], "100");
    let scene = Scene::set().await;
    import_all(&scene, &[(&statement, 2, 0), (&statement, 0, 2)]).await;
    let turned = of_one_day("100", &["D50", "C50"], "100");
    refused(&scene, &turned, REPEATED).await;
    let csv = rows("", &[("02", "50", "150"), ("02", "-50", "100")]);
    refused(&scene, &csv, REPEATED).await;
    let other = of_one_day("100", &["C7", "D7"], "100");
    import_all(&scene, &[(&other, 2, 0), (&other, 0, 2)]).await;
    let both = of_one_day("100", &["C50", "D50", "C7", "D7", "C50", "D50"], "100");
    import_all(&scene, &[(&both, 2, 4)]).await;
    // The same statement with one of the next day.
    let more = mt940(
        "C261101EUR100,",
        &[
            ":61:261102D50,NTRFX",
            ":61:261102C50,NTRFX",
            ":61:261103C1,NTRFX",
        ],
        "C261103EUR101,",
    );
    refused(&scene, &more, REPEATED).await;
    // Of an earlier day, and not in the ledger.
    let earlier = mt940(
        "C261101EUR100,",
        &[":61:261101C9,NTRFX", ":61:261101D9,NTRFX"],
        "C261101EUR100,",
    );
    let said = "line 8, at :62F:: some entries are not in the ledger, which is booked up to";
    refused(&scene, &earlier, said).await;
    let csv = rows("X", &[("01", "9", "109"), ("01", "-9", "100")]);
    let said = "line 2, at booking_date: not in the ledger, which is booked up to 2026-11-02";
    refused(&scene, &csv, said).await;
}

#[tokio::test]
async fn rows_without_balances_are_recognised_by_whole_days() {
    const PARTS: &str = "the ledger has entries of this day that the file does not have";

    let (first, coffee, lunch) = (("01", "-1", ""), ("02", "-3", ""), ("02", "-9", ""));
    let next = ("03", "-3", "");
    for reference in ["", "77"] {
        let of = |all: &[(&str, &str, &str)]| rows(reference, all);
        let old = of(&[first, coffee]);
        let scene = Scene::set().await;
        import_all(&scene, &[(&old, 2, 0), (&old, 0, 2)]).await;
        // The whole of the last day again, with more.
        import_all(&scene, &[(&of(&[coffee, coffee, lunch]), 2, 1)]).await;
        // A file that was imported before, whose last day has fewer.
        import_all(&scene, &[(&old, 0, 2)]).await;
        // A part of that day: which coffee it has cannot be known.
        for part in [
            of(&[coffee]),
            of(&[coffee, coffee]),
            of(&[coffee, next]),
            of(&[first, coffee, next]),
            of(&[first, coffee, coffee, coffee]),
            of(&[lunch, lunch]),
            of(&[("02", "-8", "")]),
        ] {
            refused(&scene, &part, PARTS).await;
        }
        let said = "line 2, at booking_date: the ledger has";
        refused(&scene, &of(&[coffee, next]), said).await;
        let said = "line 3, at booking_date: not in the ledger, which is booked up to 2026-11-02";
        refused(&scene, &of(&[first, first, coffee, coffee, lunch]), said).await;
        let whole = of(&[coffee, lunch, coffee, next]);
        import_all(&scene, &[(&whole, 1, 3), (&of(&[next, next]), 1, 1)]).await;
        let (balances, entries) = scene.account().await;
        assert_eq!(balances[0], "interimBooked -22.00 EUR 2026-11-03");
        assert_eq!(entries.len(), 6);
    }
    // Entries of a statement are not those of a file without balances.
    let scene = Scene::set().await;
    let statement = of_one_day("100", &["D3"], "97");
    import_all(&scene, &[(&statement, 1, 0)]).await;
    refused(&scene, &rows("77", &[coffee]), PARTS).await;
    import_all(&scene, &[(&rows("77", &[next]), 1, 0)]).await;
}

#[tokio::test]
async fn an_account_is_found_by_its_number_or_needs_a_customer() {
    let scene = Scene::set().await;
    let file = mt940("C261101EUR100,", &[FIRST], "C261102EUR1300,");
    let import = async |options: ImportOptions| {
        let file = Cursor::new(file.as_bytes());
        let done = import_file(&scene.database, TODAY, &SystemRandomness, file, &options).await;
        done.map_err(|error| error.to_string())
    };
    let refused = import(ImportOptions::default()).await.unwrap_err();
    assert!(
        refused.contains("line 3, at :25:: the ledger has no account in EUR"),
        "{refused}"
    );
    let named = |name: Option<&str>| ImportOptions {
        customer: Some(NewAccountHolder {
            id: CUSTOMER.to_owned(),
            name: name.map(str::to_owned),
        }),
        ..ImportOptions::default()
    };
    let refused = import(named(None)).await.unwrap_err();
    assert!(
        refused.contains("--customer: the ledger has no customer of that id"),
        "{refused}"
    );
    let refused = import(named(Some(" "))).await.unwrap_err();
    assert!(
        refused.contains("--customer-name: a name has 1 to 140"),
        "{refused}"
    );
    assert_eq!(scene.rows("customer").await, 0);

    // An account of a world file, whose IBAN has the number of the statement. Its pending entry
    // stays.
    let world = include_str!("../../../../../docs/world-file.md");
    let (_, world) = world.rsplit_once("```json\n").unwrap();
    let (world, _) = world.split_once("```").unwrap();
    scene
        .import(&world.lines().take(6).collect::<Vec<_>>().join("\n"))
        .await
        .unwrap();
    let next = mt940("C261101EUR1250,50", &[FIRST], "C261102EUR2450,50");
    let imported = scene.import(&next).await.unwrap();
    assert_eq!((imported.accounts, imported.transactions), (0, 1));
    let (balances, entries) = scene.account().await;
    assert_eq!(balances[0], "closingBooked 2450.50 EUR 2026-11-02");
    assert_eq!(balances[1], "expected 2438.50 EUR 2026-11-02");
    assert_eq!(entries.len(), 3);
}

#[tokio::test]
async fn an_account_is_the_same_with_its_iban_and_with_its_national_number() {
    let row = |account: &str, day: u32| {
        format!("account;booking_date;amount;currency\n{account};2026-11-0{day};1;EUR\n")
    };
    for numbers in [
        ["37040044/532013000", "DE89370400440532013000"],
        ["DE89370400440532013000", "37040044/532013000"],
        ["bnkadeff123", "BNKADEFF123"],
    ] {
        let scene = Scene::set().await;
        for (number, accounts) in [(numbers[0], 1), (numbers[1], 0)] {
            let day = 3 - accounts;
            let imported = scene.import(&row(number, day)).await.unwrap();
            let found = (imported.accounts, imported.transactions);
            assert_eq!(found, (u64::from(accounts), 1), "{numbers:?}");
        }
    }
    // Two countries can have the same national number.
    let scene = Scene::set().await;
    for iban in ["DK5000400440116243", "FO2000400440116243"] {
        let imported = scene.import(&row(iban, 1)).await.unwrap();
        assert_eq!(imported.accounts, 1, "{iban}");
    }
    let file = row("00400440116243", 2);
    let said = "line 2, at account: several accounts of the ledger have this number; give the IBAN";
    refused(&scene, &file, said).await;
}

#[tokio::test]
async fn what_is_wrong_in_mt940_is_refused_at_its_line() {
    let with = |entry: &str| mt940("C261101EUR100,", &[entry], "C261102EUR99,");
    let good = with(":61:261102D1,NMSCX");
    let cases = [
        (
            good.replace("EUR99,", "EUR98,"),
            "line 7, at :62F:: the opening balance and the entries make 99.00 EUR, and the closing balance is 98.00 EUR",
        ),
        (
            good.replace("EUR99,", "USD99,"),
            "line 7, at :62F:: not the currency of the opening",
        ),
        (
            good.replace("EUR100,", "EUX100,"),
            "line 5, at :60F:: no currency of ISO 4217",
        ),
        (
            good.replace("EUR100,", "EUR100,001"),
            "line 5, at :60F:: EUR has 2 decimals",
        ),
        (
            good.replace("C261101", "C261301"),
            "line 5, at :60F:: not a date",
        ),
        (
            good.replace("C261101", "X261101"),
            "line 5, at :60F:: neither C nor D",
        ),
        (
            good.replace("37040044/532013000", "DE88370400440532013000"),
            "line 3, at :25:: the check digits",
        ),
        (
            good.replace(":62F:", ":64:"),
            "line 7, at .: the field :64: does not stand here: :61: or :62F: does",
        ),
        (
            good.replace(":62F:C261102EUR99,\r\n", ""),
            "at :62F:: the statement ends without",
        ),
        (
            good.replace("C261102EUR", "C261125EUR"),
            "line 7, at :62F:: after today",
        ),
        (
            with(":61:261102EC1,NMSCX"),
            "line 6, at :61:: an expected entry is not booked",
        ),
        (
            with(":61:261102X1,NMSCX"),
            "line 6, at :61:: no mark C, D, RC or RD",
        ),
        (
            with(":61:261102D1.00NMSCX"),
            "line 6, at :61:: the sign before the decimals is `,`",
        ),
        (
            with(":61:261102D1,XMSCX"),
            "line 6, at :61:: no type behind the amount",
        ),
        (with(":61:261132D1,NMSCX"), "line 6, at :61:: no value date"),
        (
            with(":61:2611021301D1,NMSCX"),
            "line 6, at :61:: not a booking date",
        ),
        (
            with(":61:261125D1,NMSCX"),
            "line 6, at :61:: booked after today, 2026-11-24",
        ),
        (
            with(":61:261102D1,NMSCX\r\n:34F:EUR1,"),
            "line 7, at .: an MT942 report",
        ),
        (
            with(":61:261102D1,NMSCX\r\n:86:a\u{1b}b"),
            "line 7, at :86:: a text has no control",
        ),
        (
            good.replace(":25:", ":21:"),
            "line 5, at .: the field :60F: does not stand here: :25: does",
        ),
    ];
    refused_each(&cases).await;
}

#[tokio::test]
async fn what_does_not_belong_to_a_message_of_mt940_is_refused_at_its_line() {
    let with = |entry: &str| mt940("C261101EUR100,", &[entry], "C261102EUR99,");
    let good = with(":61:261102D1,NMSCX");
    let cases = [
        (
            good.replace(":20:1", ":20:1\r\n:20:2"),
            "line 3, at .: the field :20: does not stand here: :25: does",
        ),
        (
            good.replace(":20:1\r\n", ""),
            "line 2, at .: the field :25: does not stand here: :20: does",
        ),
        (
            good.replace("-}", "{1:A}{4:x"),
            "line 8, at .: not a field such as :61:",
        ),
        (
            format!(":x:\r\n{good}"),
            "line 1, at .: not a field such as :20:",
        ),
        (
            with(&format!(
                ":61:261102D1,NMSCX\r\n:86:{}",
                "x\r\n".repeat(101)
            )),
            "line 107, at .: a field has at most 100 lines",
        ),
        (
            format!("{good}{}", "x\n".repeat(60)),
            "no message starts within 50 lines",
        ),
        (
            format!(
                ":20:1\n:25:1\n:60F:C261101EUR1,\n:86:{}",
                "x".repeat(20_000)
            ),
            "line 4, at .: longer than",
        ),
    ];
    refused_each(&cases).await;
}

/// The entries that a reader finds.
fn entries(mut source: impl Source) -> Vec<Entry> {
    let mut found = Vec::new();
    while let Some(event) = source.next().unwrap() {
        if let Event::Entry(entry) = event {
            found.push(*entry);
        }
    }
    found
}

#[test]
fn field_61_has_dates_signs_and_references() {
    let lines = [
        ":61:2512310102D1,50NTRFINV 7//B1\r\nmore of it",
        ":61:2601021231RC2,NMSCNONREF",
        ":61:260102RD3,SCHGX//",
        ":61:2601020102CR4,NTRFNONREF",
        ":61:2601020102C5,NCHK123//B5",
    ];
    let file = mt940("C251230EUR0,", &lines, "C260102EUR0,");
    let found = entries(mt940::Reader::new(file.as_bytes()));
    let facts: Vec<String> = found
        .iter()
        .map(|entry| {
            let details = &entry.details;
            let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {} {} {}",
                entry.booking_date,
                details.value_date.unwrap(),
                details.transaction_amount.value(),
                text(entry.reference.as_deref()),
                text(details.end_to_end_id.as_ref().map(Text::as_str)),
                text(details.check_id.as_ref().map(Text::as_str)),
                text(details.additional_information.as_ref().map(Text::as_str)),
            )
        })
        .collect();
    assert_eq!(
        facts,
        [
            "2026-01-02 2025-12-31 -1.50 B1 INV 7 - more of it",
            "2025-12-31 2026-01-02 -2.00 - - - Reversal",
            "2026-01-02 2026-01-02 3.00 - X - Reversal",
            "2026-01-02 2026-01-02 4.00 - - - -",
            "2026-01-02 2026-01-02 5.00 B5 - 123 -",
        ]
    );
}

#[tokio::test]
async fn messages_follow_each_other_with_and_without_envelopes() {
    let entry = |number: u32| format!(":61:991102C100,NMSCNONREF//{number}");
    let one = mt940("D991101EUR50,", &[&entry(1)], "C991102EUR50,");
    let two = mt940("C991102EUR50,", &[&entry(2)], "C991102EUR150,");
    let bare = |text: &str| {
        let (_, text) = text.split_once("{4:\r\n").unwrap();
        text.replace("-}\r\n", "")
    };
    for file in [
        format!("{one}{two}"),
        format!("{}{}", bare(&one), bare(&two)),
        format!(":940:\r\n{}{}", bare(&one), bare(&two)).replace("\r\n", "\r"),
        format!(":940:\r\n{}-\r\n:940:\r\n{}", bare(&one), bare(&two)),
        format!("{one}{two}").replace("-}\r\n{1:", "-}{1:"),
        // The envelope ends the message before, and has the first field behind it.
        format!("{one}{two}")
            .replace("-}\r\n", "")
            .replace("{4:\r\n", "{4:"),
    ] {
        let scene = Scene::set().await;
        let imported = scene.import(&file).await.unwrap();
        let found = (imported.statements, imported.transactions);
        assert_eq!(found, (2, 2), "{file}");
        let (balances, _) = scene.account().await;
        assert_eq!(balances[0], "closingBooked 150.00 EUR 1999-11-02", "{file}");
    }
}

#[test]
fn keywords_of_field_86_count_and_text_that_only_looks_like_a_structure_does_not() {
    let of = |text: &str| {
        let entry = format!(":61:2601020102C1,NTRFNONREF\r\n:86:{text}");
        let file = mt940("C251230EUR0,", &[&entry], "C260102EUR1,");
        let [entry] = entries(mt940::Reader::new(file.as_bytes()))
            .try_into()
            .unwrap();
        let details = entry.details;
        let account = details.debtor_account.as_ref().map(ToString::to_string);
        let agent = details.debtor_agent.as_ref().map(ToString::to_string);
        (
            details.remittance_text().unwrap_or_default().into_owned(),
            account.unwrap_or_default(),
            agent.unwrap_or_default(),
        )
    };
    let found = of(
        "166?00A?20Rent ?21EREF+E-1?22IBAN+DE02120300000000202051?23BIC+BYLADEM1001?30OTHER?31123",
    );
    let expected = ["Rent", "DE02120300000000202051", "BYLADEM1001"].map(str::to_owned);
    assert_eq!(<[String; 3]>::from(found), expected);
    for text in [
        "See?20 Rent",
        "12A?20Rent",
        "166/20Rent",
        "166a20Rent",
        "166 20Rent",
    ] {
        let (remittance, ..) = of(text);
        assert_eq!(remittance, text);
    }
}

#[test]
fn field_86_is_structured_as_in_germany_or_free_text() {
    let structured = ":61:2601020102D1,NDDTNONREF\r\n\
        :86:105?00LASTSCHRIFT?109310?20EREF+E-1?21MREF+M-7?22CRED+DE98ZZZ09999999999\r\n\
        ?23SVWZ+Invoice 7 for?24 water?30BYLADEM1001?31DE02120300000000202051\r\n\
        ?32Stadtwerke ?33Musterstadt?60 and gas";
    let old = ":61:2601020102C1,NTRFNONREF\r\n:86:051?00GUTSCHRIFT?20Rent?21May?3010020030?31532013000?32Anna";
    let free = ":61:2601020102C1,NTRFNONREF\r\n:86:Rent\r\n\r\nMay";
    let file = mt940("C251230EUR0,", &[structured, old, free], "C260102EUR1,");
    let found = entries(mt940::Reader::new(file.as_bytes()));
    let one = &found[0].details;
    let text = |text: Option<&Text<35>>| text.unwrap().as_str().to_owned();
    assert_eq!(text(one.end_to_end_id.as_ref()), "E-1");
    assert_eq!(text(one.mandate_id.as_ref()), "M-7");
    assert_eq!(text(one.creditor_id.as_ref()), "DE98ZZZ09999999999");
    assert_eq!(
        text(one.proprietary_bank_transaction_code.as_ref()),
        "NDDT+105+9310"
    );
    assert_eq!(
        one.creditor_name.as_ref().unwrap().as_str(),
        "Stadtwerke Musterstadt"
    );
    assert_eq!(one.creditor_agent.as_ref().unwrap().as_str(), "BYLADEM1001");
    let iban = one
        .creditor_account
        .as_ref()
        .unwrap()
        .iban
        .as_ref()
        .unwrap();
    assert_eq!(iban.as_str(), "DE02120300000000202051");
    assert_eq!(
        one.remittance_text().unwrap(),
        "Invoice 7 for water and gas"
    );
    assert_eq!(
        one.additional_information.as_ref().unwrap().as_str(),
        "LASTSCHRIFT"
    );
    assert!(one.debtor_name.is_none());
    let two = &found[1].details;
    assert_eq!(two.remittance_text().unwrap(), "Rent May");
    assert_eq!(two.debtor_name.as_ref().unwrap().as_str(), "Anna");
    assert_eq!(found[2].details.remittance_text().unwrap(), "Rent May");
}

#[tokio::test]
async fn what_is_wrong_in_camt_is_refused_at_its_line() {
    let good = example("xml");
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let deep = "<a>".repeat(40);
    let long = format!("<Nm>{}</Nm>", "x".repeat(70_000));
    let cases = [
        (
            change("camt.053.001.08", "camt.053.001.04"),
            "line 2, at .: not a document of camt.053",
        ),
        (
            change("1250.50", "1250.51"),
            "at Stmt/Bal: the opening balance and the entries make 1250.50 EUR, and the closing balance is 1250.51 EUR",
        ),
        (
            change("Ccy=\"EUR\">1200", "Ccy=\"USD\">1200"),
            "at Ntry/Amt: not the currency of the account",
        ),
        (
            change("Ccy=\"EUR\">100.00", "Ccy=\"EUX\">100.00"),
            "at Stmt/Bal: no currency of ISO 4217",
        ),
        (
            change("1200.00", "1200.001"),
            "at Ntry/Amt: EUR has 2 decimals",
        ),
        (
            change("1200.00", "1200,00"),
            "at Ntry/Amt: the sign before the decimals is `.`",
        ),
        (
            change("DE89370400440532013000", "DE88370400440532013000"),
            "at Acct/Id: the check digits",
        ),
        (
            change("<Cd>OPBD</Cd>", "<Cd>XXXX</Cd>"),
            "at Stmt/Bal: there is no opening balance",
        ),
        (
            change("<Cd>CLBD</Cd>", "<Cd>XXXX</Cd>"),
            "at Stmt/Bal: there is no closing balance",
        ),
        (
            change("<Cd>BOOK</Cd>", "<Cd>XXXX</Cd>"),
            "at Ntry/Sts: none of BOOK",
        ),
        (
            change("<BookgDt><Dt>2026-10-27", "<BookgDt><Dt>2026-10-32"),
            "at Ntry/BookgDt: not a date",
        ),
        (
            change("<NbOfNtries>2<", "<NbOfNtries>3<"),
            "at TxsSummry/TtlNtries: the statement has 2",
        ),
        (
            change("<Sum>1249.50<", "<Sum>1249.51<"),
            "at TxsSummry/TtlNtries: the sum of these entries is 1249.50",
        ),
        (
            change("<Document", "<!DOCTYPE a [<!ENTITY e \"x\">]><Document"),
            "line 2, at .: a DOCTYPE",
        ),
        (
            change("Bookshop", "&e;"),
            "an entity that XML does not define itself",
        ),
        (change("Bookshop", &deep), "nested deeper than 32"),
        (
            change("<Nm>Bookshop</Nm>", &long),
            "a tag or text is longer than 65536 bytes",
        ),
        (change("</Stmt>", ""), "not well-formed XML"),
        (
            good.split("</Ntry>").next().unwrap().to_owned(),
            "the file ends within an element",
        ),
        (
            good.split("</Stmt>").next().unwrap().to_owned(),
            "the file ends within an element",
        ),
        (
            good.replace("</Document>", ""),
            "the file ends within an element",
        ),
        (
            change("<BkToCstmrStmt>", "<BkToCstmrAcctRpt>"),
            "at Document: there is no BkToCstmrStmt",
        ),
        ("<a/>".to_owned(), "there is no statement"),
    ];
    refused_each(&cases).await;
}

#[tokio::test]
async fn balances_days_and_sizes_of_camt_have_limits() {
    let good = example("xml");
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let before = |tag: &str, more: String| change(tag, &format!("{more}{tag}"));
    let line = format!("<Ustrd>{}</Ustrd>", "x".repeat(60_000));
    let cases = [
        (
            change("<Cd>OPBD</Cd>", "<Cd>ITBD</Cd>").replace("CLBD", "XXXX"),
            "at Stmt/Bal: there is no closing balance",
        ),
        (
            change("<Ccy>EUR</Ccy>", "<Ccy>USD</Ccy>"),
            "at Stmt/Bal: balances of several currencies",
        ),
        (
            change("Ccy=\"EUR\">100.00", "Ccy=\"USD\">100.00").replace("<Ccy>EUR</Ccy>", ""),
            "at Stmt/Bal: balances of several currencies",
        ),
        (
            change("</Ntry>", "</Ntry><Bal/>"),
            "at Stmt: account and balances come before the entries",
        ),
        (
            before("<Bal>", "<Bal/>".repeat(100)),
            "at Stmt/Bal: a statement has at most 100 balances",
        ),
        (
            before("<TxDtls>", "<TxDtls/>".repeat(1000)),
            "at Ntry/NtryDtls: an entry has at most 1000 payments",
        ),
        (
            before("<Ustrd>", line.repeat(20)),
            "at Ntry: the entry is longer than 1048576 bytes",
        ),
        (
            before("<Ustrd>", line.repeat(80)),
            "at .: the element is larger than 4194304 bytes",
        ),
        (
            change(
                "<AcctSvcrRef>",
                "<ValDt><Dt>2025-10-25</Dt></ValDt><AcctSvcrRef>",
            ),
            "at Ntry: the value date is more than 366 days from the day of booking",
        ),
        (
            change("<BookgDt><Dt>2026", "<BookgDt><Dt>1899"),
            "at Ntry: booked before 1900",
        ),
    ];
    refused_each(&cases).await;
}

#[tokio::test]
async fn camt_in_an_envelope_with_batches_reversals_and_pending_entries() {
    let good = example("xml");
    let (_, document) = good.split_once("?>").unwrap();
    let batch = "<NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>\
        <TxDtls><Refs><EndToEndId>A</EndToEndId></Refs><Amt Ccy=\"EUR\">40.00</Amt></TxDtls>\
        <TxDtls><Refs><EndToEndId>B</EndToEndId></Refs><Amt Ccy=\"EUR\">9.50</Amt></TxDtls></NtryDtls>";
    let (before, rest) = document.rsplit_once("<NtryDtls>").unwrap();
    let (_, after) = rest.split_once("</NtryDtls>").unwrap();
    let pending = "<Ntry><Amt Ccy=\"EUR\">5.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>\
        <Sts><Cd>PDNG</Cd></Sts></Ntry></Stmt>";
    let document = format!("{before}{batch}{after}")
        .replacen(
            "<CdtDbtInd>DBIT</CdtDbtInd><Sts>",
            "<CdtDbtInd>DBIT</CdtDbtInd><RvslInd>true</RvslInd><Sts>",
            1,
        )
        .replace("</Stmt>", pending)
        .replace("<NbOfNtries>2<", "<NbOfNtries>3<")
        .replace("<Sum>1249.50<", "<Sum>1254.50<");
    let file = format!(
        "<?xml version=\"1.0\"?><e:Envelope xmlns:e=\"urn:e\"><e:Header><Document/></e:Header>{document}</e:Envelope>"
    );
    // A `Document` of another namespace is not ours.
    let scene = Scene::set().await;
    let refused = scene.import(&file).await.unwrap_err();
    assert!(refused.contains("not a document of camt.053"), "{refused}");
    let file = file.replace("<Document/>", "");
    let imported = scene.import(&file).await.unwrap();
    assert_eq!((imported.transactions, imported.not_booked), (2, 1));
    let (_, entries) = scene.account().await;
    let batch = &entries[0];
    assert_eq!(batch.batch_indicator, Some(true));
    assert_eq!(batch.batch_number_of_transactions, Some(2));
    let parts = batch.entry_details.as_ref().unwrap();
    let amounts: Vec<String> = parts
        .iter()
        .map(|part| part.transaction_amount.to_string())
        .collect();
    assert_eq!(amounts, ["-40.00 EUR", "-9.50 EUR"]);
    let information = batch.additional_information.as_ref();
    assert!(
        information.unwrap().as_str().starts_with("Reversal"),
        "the sign is that of CdtDbtInd"
    );
}

#[test]
fn camt_of_older_versions_and_with_elements_of_others_is_read() {
    let mut file = example("xml");
    for (from, to) in [
        (
            "<Ntry>",
            "<x:Ntry xmlns:x=\"urn:x\"/><Ntry xmlns:x=\"urn:x\"><x:Amt Ccy=\"USD\">9</x:Amt>",
        ),
        (
            "<BookgDt><Dt>2026-10-27</Dt></BookgDt><AcctSvcrRef>20261027-1</AcctSvcrRef>",
            "<ValDt><Dt>2026-10-26</Dt></ValDt>",
        ),
        (
            "<RltdPties><Dbtr><Pty><Nm>Holm &amp; Sons</Nm></Pty></Dbtr>",
            "<Refs><AcctSvcrRef>T-1</AcctSvcrRef></Refs><RltdAgts><DbtrAgt><FinInstnId>\
             <BIC>BYLADEM1001</BIC></FinInstnId></DbtrAgt></RltdAgts><RltdPties>\
             <Cdtr><Id><PrvtId><Othr><Id>C-1</Id></Othr></PrvtId></Id></Cdtr>\
             <Dbtr><Nm>Holm &amp; Sons</Nm></Dbtr>",
        ),
        (
            "<Cdtr><Pty><Nm>Bookshop</Nm></Pty></Cdtr></RltdPties>",
            "<Cdtr><Pty><Nm>Bookshop</Nm><Id><PrvtId><Othr><Id>C-2</Id></Othr></PrvtId></Id></Pty>\
             </Cdtr></RltdPties><Refs><MndtId>M-2</MndtId></Refs>",
        ),
    ] {
        assert!(file.contains(from), "{from}");
        file = file.replacen(from, to, 1);
    }
    let found = entries(camt053::Reader::new(file.as_bytes(), Tz::UTC));
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let facts = found.iter().map(|entry| {
        let details = &entry.details;
        [
            entry.booking_date.to_string(),
            details.transaction_amount.to_string(),
            text(entry.reference.as_deref()),
            text(details.debtor_name.as_ref().map(Text::as_str)),
            text(details.debtor_agent.as_ref().map(Text::as_str)),
            text(details.creditor_name.as_ref().map(Text::as_str)),
            text(details.mandate_id.as_ref().map(Text::as_str)),
            text(details.creditor_id.as_ref().map(Text::as_str)),
        ]
        .join(" ")
    });
    assert_eq!(
        facts.collect::<Vec<_>>(),
        [
            "2026-10-26 1200.00 EUR T-1 Holm & Sons BYLADEM1001 - - -",
            "2026-10-28 -49.50 EUR 20261028-1 - - Bookshop M-2 C-2",
        ]
    );
}

#[test]
fn payments_of_an_entry_add_up_to_it_with_their_own_signs() {
    const REVERSAL: &str = "<RvslInd>true</RvslInd>";

    let good = example("xml");
    let payments = |more: &str, parts: &[&str]| {
        let parts = parts.iter().map(|part| {
            let (amount, sign) = part.split_once(' ').unwrap_or((part, ""));
            let sign = match sign {
                "" => String::new(),
                sign => format!("<CdtDbtInd>{sign}</CdtDbtInd>"),
            };
            format!("<TxDtls><Amt Ccy=\"EUR\">{amount}</Amt>{sign}</TxDtls>")
        });
        let parts = parts.collect::<Vec<_>>().concat();
        // The second entry is a debit of 49.50.
        let (before, rest) = good.rsplit_once("<NtryDtls>").unwrap();
        let (_, after) = rest.split_once("</NtryDtls>").unwrap();
        let (before, entry) = before.rsplit_once("<Sts>").unwrap();
        format!("{before}{more}<Sts>{entry}<NtryDtls>{parts}</NtryDtls>{after}")
    };
    let parts = |more: &str, parts: &[&str]| {
        let file = payments(more, parts);
        let found = entries(camt053::Reader::new(file.as_bytes(), Tz::UTC));
        let entry = &found[1];
        assert_eq!(entry.details.batch_number_of_transactions, Some(2));
        let parts = entry.details.entry_details.as_ref();
        let amounts = parts.map(|parts| {
            let amounts = parts
                .iter()
                .map(|part| part.transaction_amount.value().to_string());
            amounts.collect::<Vec<_>>().join(" ")
        });
        (amounts.unwrap_or_default(), entry.omits_payments)
    };
    for (more, payments, expected) in [
        ("", ["40", "9.50"], "-40.00 -9.50"),
        ("", ["40 DBIT", "9.50 DBIT"], "-40.00 -9.50"),
        ("", ["50 DBIT", "0.50 CRDT"], "-50.00 0.50"),
        ("", ["50", "0.50 CRDT"], "-50.00 0.50"),
        (REVERSAL, ["40", "9.50"], "-40.00 -9.50"),
        (REVERSAL, ["40 DBIT", "9.50 DBIT"], "-40.00 -9.50"),
        // As what is reversed.
        (REVERSAL, ["50 CRDT", "0.50 DBIT"], "-50.00 0.50"),
    ] {
        let found = parts(more, &payments);
        assert_eq!(found, (expected.to_owned(), false), "{payments:?}");
    }
    let other = |from: &str, to: &str| {
        let file = payments("", &["40", "9.50"]).replace(from, to);
        let found = entries(camt053::Reader::new(file.as_bytes(), Tz::UTC));
        let parts = found[1].details.entry_details.as_ref().map(Vec::len);
        (parts, found[1].omits_payments)
    };
    let amount = "<Amt Ccy=\"EUR\">9.50</Amt></TxDtls>";
    let nested = amount.replace("<Amt", "<AmtDtls><TxAmt><Amt");
    let nested = nested.replace("</Amt>", "</Amt></TxAmt></AmtDtls>");
    assert_eq!(other(amount, &nested), (Some(2), false));
    // Nothing to add up.
    assert_eq!(other(amount, &amount.replace("EUR", "USD")), (None, false));
    assert_eq!(other(amount, "</TxDtls>"), (None, false));
    for payments in [
        ["40", "9.51"],
        ["40 CRDT", "9.50 CRDT"],
        ["40 CRDT", "9.50 DBIT"],
    ] {
        assert_eq!(parts("", &payments), (String::new(), true), "{payments:?}");
    }
    assert!(!parts("<RvslInd>false</RvslInd>", &["40", "9.50"]).1);
    assert!(parts("<RvslInd>false</RvslInd>", &["40 CRDT", "9.50 CRDT"]).1);
    let mut reader = payments("", &["40 XXXX", "9.50"]);
    reader.push('\n');
    let mut reader = camt053::Reader::new(reader.as_bytes(), Tz::UTC);
    let refused = loop {
        match reader.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was read"),
            Err(refused) => break refused.to_string(),
        }
    };
    assert!(
        refused.contains("at TxDtls/CdtDbtInd: neither CRDT nor DBIT"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_time_with_an_offset_has_the_day_of_the_banks_time_zone() {
    let entry = "<BookgDt><Dt>2026-10-28</Dt></BookgDt>";
    let closing = "<Dt><Dt>2026-10-28</Dt></Dt></Bal>\n<TxsSummry>";
    let good = example("xml");
    assert!(good.contains(entry) && good.contains(closing));
    // Berlin is an hour before UTC from the 25th of October on.
    for (time, zone, expected) in [
        (
            "<DtTm>2026-10-27T23:30:00Z</DtTm>",
            Tz::Europe__Berlin,
            "2026-10-28",
        ),
        (
            "<DtTm>2026-10-27T22:30:00.123Z</DtTm>",
            Tz::Europe__Berlin,
            "2026-10-27",
        ),
        (
            "<DtTm>2026-10-28T00:30:00+01:00</DtTm>",
            Tz::Europe__Berlin,
            "2026-10-28",
        ),
        (
            "<DtTm>2026-10-28T00:30:00+01:00</DtTm>",
            Tz::Europe__Lisbon,
            "2026-10-27",
        ),
        (
            "<DtTm>2026-10-27T18:30:00-05:00</DtTm>",
            Tz::Europe__Berlin,
            "2026-10-28",
        ),
        (
            "<DtTm>2026-10-28T23:30:00</DtTm>",
            Tz::Asia__Tokyo,
            "2026-10-28",
        ),
        (
            "<Dt>2026-10-28+01:00</Dt>",
            Tz::Europe__Lisbon,
            "2026-10-28",
        ),
        ("<Dt>2026-10-28Z</Dt>", Tz::America__New_York, "2026-10-28"),
    ] {
        let file = good
            .replace(entry, &format!("<BookgDt>{time}</BookgDt>"))
            .replace(closing, &format!("<Dt>{time}</Dt></Bal>\n<TxsSummry>"));
        let options = ImportOptions {
            time_zone: zone,
            ..ImportOptions::default()
        };
        let scene = Scene::set().await;
        scene.import_with(file.as_bytes(), options).await.unwrap();
        let (balances, entries) = scene.account().await;
        let day = entries[0].booking_date.unwrap().to_string();
        assert_eq!(day, expected, "{time} {zone}");
        let balance = format!("closingBooked 1250.50 EUR {expected}");
        assert_eq!(balances[0], balance, "{time} {zone}");
    }
    for time in [
        "2026-10-28T25:00:00Z",
        "2026-10-28T10:00:00+1",
        "2026-10-28T",
        "2026-10-28Tx",
        "2026-10-28 10:00:00",
        "2026/10/28",
    ] {
        let file = good.replace(entry, &format!("<BookgDt><DtTm>{time}</DtTm></BookgDt>"));
        let scene = Scene::set().await;
        refused(&scene, &file, "at Ntry/BookgDt: not a date").await;
    }
}

#[tokio::test]
async fn pages_of_a_statement_and_several_statements_are_read_in_their_order() {
    let page = |opening: &str, day: u32, closing: &str, kinds: (&str, &str)| {
        let balance = |kind: &str, value: &str| {
            format!(
                "<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy=\"EUR\">{value}</Amt>\
                 <CdtDbtInd>CRDT</CdtDbtInd><Dt><DtTm>2026-11-0{day}T20:00:00+01:00</DtTm></Dt></Bal>"
            )
        };
        format!(
            "<Stmt><Id>1</Id><Acct><Id><IBAN>DE89370400440532013000</IBAN></Id></Acct>{}{}\
             <Ntry><Amt Ccy=\"EUR\">1</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts>\
             <BookgDt><Dt>2026-11-0{day}</Dt></BookgDt></Ntry></Stmt>",
            balance(kinds.0, opening),
            balance(kinds.1, closing)
        )
    };
    let document = |pages: &[String]| {
        format!(
            "<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.02\"><BkToCstmrStmt>{}\
             </BkToCstmrStmt></Document>",
            pages.concat()
        )
    };
    let pages = [
        page("10", 1, "11", ("PRCD", "ITBD")),
        page("11", 1, "12", ("ITBD", "ITBD")),
        page("12", 1, "13", ("ITBD", "CLBD")),
        page("13", 2, "14", ("OPBD", "CLBD")),
    ];
    let scene = Scene::set().await;
    let imported = scene.import(&document(&pages)).await.unwrap();
    assert_eq!((imported.statements, imported.transactions), (4, 4));
    let (balances, _) = scene.account().await;
    assert_eq!(balances[0], "closingBooked 14.00 EUR 2026-11-02");
    // Two documents of different versions in one file.
    let first = document(&pages[..3]);
    let second = document(&pages[3..]).replace("001.02", "001.08");
    let file = format!("<e:Envelope xmlns:e=\"urn:e\">{first}{second}</e:Envelope>");
    let scene = Scene::set().await;
    let imported = scene.import(&file).await.unwrap();
    assert_eq!((imported.statements, imported.transactions), (4, 4));
    let scene = Scene::set().await;
    let turned = [pages[3].clone(), pages[0].clone()];
    let refused = scene.import(&document(&turned)).await.unwrap_err();
    assert!(
        refused.contains("in their order, without a gap"),
        "{refused}"
    );
}

#[tokio::test]
async fn csv_is_read_with_any_delimiter_decimal_sign_and_encoding() {
    let comma = "account;booking_date;amount;currency;counterparty_name\r\n\
        DE89370400440532013000;02.11.2026;-1234,50;EUR;\"M\u{fc}ller; S\u{f6}hne\"\n\
        DE89370400440532013000;2026-11-02;-1234,50;EUR;\"two\nlines\"\r\n";
    let latin: Vec<u8> = comma
        .chars()
        .map(|letter| u8::try_from(letter).unwrap())
        .collect();
    let tabs = comma.replace("; S", " S").replace(';', "\t");
    let points = comma.replace(';', ",").replace("1234,50", "1234.50");
    for (file, options) in [
        (comma.as_bytes().to_vec(), ImportOptions::default()),
        (
            format!("\u{feff}{comma}").into_bytes(),
            ImportOptions::default(),
        ),
        (latin, ImportOptions::default()),
        (tabs.into_bytes(), ImportOptions::default()),
        (points.into_bytes(), ImportOptions::default()),
        (
            comma.as_bytes().to_vec(),
            ImportOptions {
                format: Some(Format::Csv),
                delimiter: Some(';'),
                decimal: Some(DecimalSign::Comma),
                ..ImportOptions::default()
            },
        ),
    ] {
        let scene = Scene::set().await;
        let imported = scene.import_with(&file, options.clone()).await.unwrap();
        assert_eq!((imported.transactions, imported.statements), (2, 0));
        let (balances, entries) = scene.account().await;
        assert_eq!(balances[0], "interimBooked -2469.00 EUR 2026-11-02");
        let names: Vec<_> = entries
            .iter()
            .map(|entry| entry.counterparty().to_string())
            .collect();
        assert_eq!(names[0], "two lines");
        assert!(names[1].starts_with("Müller"), "{names:?}");
        let again = scene.import_with(&file, options).await.unwrap();
        assert_eq!(
            (again.transactions, again.known),
            (0, 2),
            "equal entries are two"
        );
    }
}

#[tokio::test]
async fn named_options_of_csv_count_and_blanks_do_not() {
    let options = |delimiter, decimal| ImportOptions {
        format: Some(Format::Csv),
        delimiter,
        decimal,
        ..ImportOptions::default()
    };
    let file = " account :booking_date: amount:currency\n 1234567 :2026-11-02 : 1,234 :KWD\n";
    let scene = Scene::set().await;
    let comma = options(Some(':'), Some(DecimalSign::Comma));
    scene.import_with(file.as_bytes(), comma).await.unwrap();
    let (balances, _) = scene.account().await;
    assert_eq!(balances[0], "interimBooked 1.234 KWD 2026-11-02");
    for (file, delimiter, said) in [
        (file, None, "line 1, at .: no delimiter in the header"),
        (file, Some('x'), "line 1, at .: a delimiter is a tab or"),
        (file, Some('"'), "line 1, at .: a delimiter is a tab or"),
        (file, Some('_'), "line 1, at .: a delimiter is a tab or"),
        (
            file,
            Some('\u{a7}'),
            "line 1, at .: a delimiter is a tab or",
        ),
        (
            "account:booking_date:amount\n",
            Some(':'),
            "line 1, at currency: the file needs this column",
        ),
    ] {
        let scene = Scene::set().await;
        let refused = scene
            .import_with(file.as_bytes(), options(delimiter, None))
            .await;
        let refused = refused.unwrap_err();
        assert!(refused.contains(said), "{said}\n{refused}");
    }
}

#[tokio::test]
async fn what_is_wrong_in_csv_is_refused_at_its_line_and_column() {
    const HEADER: &str = "account;booking_date;amount;currency;balance\n";
    const ROW: &str = "DE89370400440532013000;2026-11-02;1,00;EUR;11,00\n";
    let with = |from: &str, to: &str| format!("{HEADER}{ROW}{}", ROW.replace(from, to));
    let cases = [
        (
            with("1,00;EUR;11", "1,00;EUR;13"),
            "line 3, at balance: the balance before and this entry make 12.00 EUR, and the row states 13.00 EUR",
        ),
        (
            with("1,00", "1.00"),
            "line 3, at amount: another sign before the decimals than in line 2",
        ),
        (with("1,00", "1.234,00"), "line 3, at amount: another sign"),
        (
            with("1,00", "1,0001"),
            "line 3, at amount: EUR has 2 decimals",
        ),
        (
            with("1,00", "1,000"),
            "line 3, at amount: three digits behind the only sign",
        ),
        (with("1,00", ""), "line 3, at amount: empty"),
        (
            with(";11,00", ";"),
            "line 3, at balance: each row of an account has its balance, or none has",
        ),
        (
            format!("{HEADER}{}{ROW}", ROW.replace(";11,00", ";")),
            "line 3, at balance: each row of an account has its balance, or none has",
        ),
        (
            with("EUR", "EUX"),
            "line 3, at currency: no currency of ISO 4217",
        ),
        (with("DE89", "DE88"), "line 3, at account: the check digits"),
        (
            with("2026-11-02", "02/11/2026"),
            "line 3, at booking_date: not a date such as",
        ),
        (with("2026-11-02", ""), "line 3, at booking_date: empty"),
        (
            with("2026-11-02", "2026-11-01"),
            "line 3, at booking_date: earlier than the row before",
        ),
        (
            with("2026-11-02", "2026-11-25"),
            "line 3, at booking_date: booked after today",
        ),
        (
            with(";EUR", ""),
            "line 3, at .: the row has 4 fields, and the header 5",
        ),
        (
            format!("{HEADER}{ROW}{}", "x".repeat(200_000)),
            "a row is longer than 65536 bytes",
        ),
        (
            HEADER.to_owned(),
            "line 1, at .: the file has a header and no rows",
        ),
        (
            HEADER.replace("balance", "blance") + ROW,
            "line 1, at .: column 5 has no known name",
        ),
        (
            HEADER.replace("balance", "amount") + ROW,
            "line 1, at amount: two columns have this name",
        ),
        (
            format!("{HEADER}{ROW}").replace("currency", "remittance"),
            "line 1, at .: the format is not recognised",
        ),
    ];
    refused_each(&cases).await;
    // The balance continues that of the ledger.
    let scene = Scene::set().await;
    scene.import(&format!("{HEADER}{ROW}")).await.unwrap();
    let (balances, _) = scene.account().await;
    assert_eq!(balances[0], "interimBooked 11.00 EUR 2026-11-02");
    let later = ROW.replace("-02;", "-03;");
    let refused = scene
        .import(&format!("{HEADER}{}", later.replace("11,00", "15,00")))
        .await;
    let refused = refused.unwrap_err();
    assert!(refused.contains("line 2, at balance: with the new entries the balance in the ledger would be 12.00 EUR, and this row states 15.00 EUR"), "{refused}");
    scene
        .import(&format!("{HEADER}{}", later.replace("11,00", "12,00")))
        .await
        .unwrap();
}

/// Reads all of a source, and ignores what it is.
fn drain(mut source: impl Source) {
    while let Ok(Some(_)) = source.next() {}
}

/// Reads these bytes in each format.
fn read_as_all(bytes: &[u8]) {
    drain(camt053::Reader::new(bytes, Tz::UTC));
    drain(mt940::Reader::new(bytes));
    let options = ImportOptions::default();
    let head = String::from_utf8_lossy(bytes);
    if let Ok(reader) = csv::Reader::new(bytes, &options, &head) {
        drain(reader);
    }
    let _ = Format::detect(&head);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_as_all(&bytes);
    }

    /// A part of an example is replaced, or repeated.
    #[test]
    fn no_mutation_of_an_example_panics(
        which in 0usize..3,
        at in any::<proptest::sample::Index>(),
        length in 0usize..30,
        other in "[\\PC]{0,12}|[0-9A-Z:,;?+/<>&\"\r\n-]{0,12}",
    ) {
        let mut text = example(["csv", "xml", "text"][which]);
        let start = at.index(text.len());
        let end = (start + length).min(text.len());
        if text.is_char_boundary(start) && text.is_char_boundary(end) {
            text.replace_range(start..end, &other);
        }
        read_as_all(text.as_bytes());
    }

    /// What is written in a format is read again.
    #[test]
    fn entries_are_read_as_they_were_written(
        cents in proptest::collection::vec(-99_999_999i64..99_999_999, 1..20),
        name in "Rent [A-Za-z .]{0,20}[a-z]",
    ) {
        let amount = |cents: i64| format!("{}.{:02}", cents.abs() / 100, cents.abs() % 100);
        let sign = |cents: i64| if cents < 0 { "-" } else { "" };
        let rows = cents.iter().map(|cents| {
            format!("1234567;2026-11-02;{}{};EUR;{name}\n", sign(*cents), amount(*cents))
        });
        let header = "account;booking_date;amount;currency;remittance\n";
        let csv = format!("{header}{}", rows.collect::<String>());
        let lines: Vec<String> = cents
            .iter()
            .map(|cents| {
                let mark = if *cents < 0 { "D" } else { "C" };
                let amount = amount(*cents).replace('.', ",");
                format!(":61:2611021102{mark}{amount}NTRFNONREF\r\n:86:{name}")
            })
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mt940 = mt940("C261101EUR0,", &lines, "C261102EUR0,");
        let options = ImportOptions::default();
        let all = [
            entries(csv::Reader::new(csv.as_bytes(), &options, &csv).unwrap()),
            entries(mt940::Reader::new(mt940.as_bytes())),
        ];
        for found in all {
            let read: Vec<i64> = found
                .iter()
                .map(|entry| {
                    let value = entry.details.transaction_amount.value();
                    i64::try_from(value.mantissa()).unwrap()
                })
                .collect();
            prop_assert_eq!(&read, &cents);
            for entry in &found {
                let text = entry.details.remittance_text();
                prop_assert_eq!(text.as_deref().unwrap_or_default(), name.as_str());
            }
        }
    }
}
