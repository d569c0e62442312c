//! The ledger: importing whole or not at all, and reading page by page.

use tempfile::TempDir;

use super::*;
use chrono::Days;
use shared_types::transaction::BookingStatus;

struct Scene {
    database: Database,
    _folder: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A name that a URL would have to escape.
        let database = Database::open(&folder.path().join("bank 100%?.db"))
            .await
            .unwrap();
        assert!(folder.path().join("bank 100%?.db").is_file());
        Self {
            database,
            _folder: folder,
        }
    }

    async fn customers(&self) -> i64 {
        let row = sqlx::query("SELECT count(*) AS number FROM customer")
            .fetch_one(self.database.pool())
            .await
            .unwrap();
        row.try_get("number").unwrap()
    }
}

/// The example of `docs/world-file.md`, line by line.
fn example() -> Vec<String> {
    let text = include_str!("../../../../docs/world-file.md");
    let (_, example) = text.rsplit_once("```json\n").unwrap();
    example
        .lines()
        .take_while(|line| !line.starts_with("```"))
        .map(str::to_owned)
        .collect()
}

const ACCOUNT: &str = "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11";
const CARD: &str = "0d7a3b52-3c1f-4c58-8b57-6a1a5e0d2f22";

#[tokio::test]
async fn the_example_of_the_documentation_is_loaded_and_adds_up() {
    let scene = Scene::set().await;
    let imported = import(&scene.database, example().join("\n").as_bytes())
        .await
        .unwrap();
    assert_eq!(
        imported,
        Imported {
            customers: 1,
            accounts: 2,
            transactions: 4
        }
    );
    let ledger = Ledger::new(scene.database.clone());
    let ids = [
        AccountId(CARD.to_owned()),
        AccountId("none".to_owned()),
        AccountId(ACCOUNT.to_owned()),
    ];
    let balances = ledger.balances(&ids).await.unwrap();
    let amounts: Vec<Vec<String>> = balances
        .iter()
        .map(|balances| {
            balances
                .iter()
                .map(|balance| balance.balance_amount.to_string())
                .collect()
        })
        .collect();
    assert_eq!(amounts[0], ["-80.00 EUR", "-80.00 EUR"]);
    assert!(amounts[1].is_empty());
    assert_eq!(amounts[2], ["1250.50 EUR", "1238.50 EUR"]);
    let accounts = ledger.accounts(&ids).await.unwrap();
    assert_eq!(
        accounts
            .iter()
            .map(|account| &account.id)
            .collect::<Vec<_>>(),
        [&ids[0], &ids[2]]
    );
    assert_eq!(
        ledger
            .accounts_of(&PsuId("clara.holm".to_owned()))
            .await
            .unwrap()
            .len(),
        2
    );
    assert!(ledger.transaction(&ids[2], "2").await.unwrap().is_some());
    assert!(ledger.transaction(&ids[2], "9").await.unwrap().is_none());
    assert!(
        ledger.transaction(&ids[0], "2").await.unwrap().is_none(),
        "ids are those of one account"
    );
}

#[tokio::test]
async fn a_bad_line_is_refused_with_its_place_and_nothing_is_loaded() {
    let change = |line: usize, from: &str, to: &str| {
        let mut lines = example();
        assert!(lines[line - 1].contains(from), "{from}");
        lines[line - 1] = lines[line - 1].replace(from, to);
        lines.join("\n")
    };
    let long = format!("{}\n{}", example()[0], "x".repeat(70_000));
    for (file, said) in [
        (String::new(), "line 1, at .: the file is empty"),
        (example()[1..].join("\n"), "line 1, at .: the first line"),
        (
            change(1, "1}", "2}"),
            "line 1, at world.version: only version 1",
        ),
        (long, "line 2, at .: longer than 65536 bytes"),
        (
            change(2, "\"name\"", "\"nmae\""),
            "line 2, at customer: missing field `name`",
        ),
        (change(2, "\"customer\"", "\"customers\""), "line 2, at .: "),
        (
            change(3, "clara.holm", "nobody"),
            "line 3, at account.customer: no earlier line",
        ),
        (
            change(3, "DE89", "DE88"),
            "line 3, at account.details.iban: the check digits",
        ),
        (
            change(3, "\"iban\"", "\"ibna\""),
            "line 3, at account.details.ibna: no field of that name",
        ),
        (
            change(3, "\"100.00\"", "\"1e2\""),
            "line 3, at account.openingBalance: ",
        ),
        (
            change(3, "1250.50", "1250.51"),
            "(line 3): the opening balance and the booked transactions do not add up",
        ),
        (
            change(4, "\"EUR\"", "\"USD\""),
            "line 4, at transaction.details.transactionAmount.currency: not the currency",
        ),
        (
            change(4, "2026-10-27", "2026-10-32"),
            "line 4, at transaction.details.bookingDate: ",
        ),
        (
            change(4, ACCOUNT, CARD),
            "line 4, at transaction.account: no earlier line",
        ),
        (
            change(5, "\"transactionId\":\"2\"", "\"transactionId\":\"1\""),
            "line 5, at transaction.details.transactionId: this id",
        ),
        (
            change(5, "\"transactionId\":\"2\",", ""),
            "line 5, at transaction.details.transactionId: every transaction",
        ),
        (
            change(6, "\"entryDate\":\"2026-10-29\",", ""),
            "line 6, at transaction: give a bookingDate",
        ),
        (
            change(5, "\"details\"", "\"entryDate\":\"2026-10-29\",\"details\""),
            "line 5, at transaction.entryDate: ",
        ),
        (
            change(6, "\"details\":{", "\"details\":{\"_links\":{},"),
            "line 6, at transaction.details._links: ",
        ),
        (
            change(7, "maskedPan", "maskedPAN"),
            "line 7, at card-account.details: missing field `maskedPan`",
        ),
        (
            change(8, "-80.00", "-80.0001"),
            "line 8, at card-transaction.details.transactionAmount: more than 3 digits",
        ),
    ] {
        let scene = Scene::set().await;
        let error = import(&scene.database, file.as_bytes())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{said}\n{error}");
        for data in ["clara", "DE8", "1250", "Holm"] {
            assert!(!error.contains(data), "{error}");
        }
        assert_eq!(scene.customers().await, 0, "{said}");
    }
}

#[tokio::test]
async fn a_known_id_is_found_among_many() {
    for (number, again) in [(99, 50), (100, 100), (250, 201), (250, 250)] {
        let scene = Scene::set().await;
        let mut lines: Vec<String> = many(number).lines().map(str::to_owned).collect();
        lines.push(lines[2 + again].clone());
        let error = import(&scene.database, lines.join("\n").as_bytes())
            .await
            .unwrap_err()
            .to_string();
        let place = format!(
            "line {}, at transaction.details.transactionId: this id",
            lines.len()
        );
        assert!(error.contains(&place), "{error}");
        // A later fault does not hide an earlier one.
        lines.push("{}".to_owned());
        let error = import(&scene.database, lines.join("\n").as_bytes())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(&place), "{error}");
        assert_eq!(scene.customers().await, 0);
    }
}

/// So many transactions, several on each day, some of them pending.
fn many(number: u32) -> String {
    let mut lines = example();
    lines.truncate(3);
    lines[2] = lines[2].replace("1250.50", "100.00");
    let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    for count in 1..=number {
        let day = first
            .checked_add_days(Days::new(u64::from(count / 4)))
            .unwrap();
        let (outside, inside) = if count % 5 == 0 {
            (format!(r#""entryDate":"{day}","#), String::new())
        } else {
            (String::new(), format!(r#""bookingDate":"{day}","#))
        };
        lines.push(format!(
            r#"{{"transaction":{{"account":"{ACCOUNT}",{outside}"details":{{{inside}"transactionId":"{count}","transactionAmount":{{"currency":"EUR","amount":"0"}}}}}}}}"#
        ));
    }
    lines.join("\n")
}

#[tokio::test]
async fn pages_of_any_size_and_status_give_every_entry_once_in_one_order() {
    let scene = Scene::set().await;
    import(&scene.database, many(43).as_bytes()).await.unwrap();
    let ledger = Ledger::new(scene.database.clone());
    let account = AccountId(ACCOUNT.to_owned());
    let day = |day| NaiveDate::from_ymd_opt(2026, 1, day).unwrap();
    for (status, expected) in [
        (BookingStatus::Both, 32),
        (BookingStatus::Booked, 25),
        (BookingStatus::Pending, 7),
    ] {
        let mut whole: Option<Vec<String>> = None;
        for limit in [500, 1, 2, 3, 7, 31] {
            let mut query = TransactionQuery {
                from: day(2),
                to: day(9),
                status,
                after: None,
                limit,
            };
            let mut ids = Vec::new();
            loop {
                let page = ledger.transactions(&account, &query).await.unwrap();
                assert!(page.booked.len() + page.pending.len() <= limit);
                let entries = page.pending.iter().chain(&page.booked);
                ids.extend(entries.map(|entry| entry.transaction_id.as_ref().unwrap().to_string()));
                query.after = page.next;
                if page.next.is_none() {
                    break;
                }
            }
            assert_eq!(ids.len(), expected, "{status:?}, pages of {limit}");
            assert_eq!(
                whole.get_or_insert(ids.clone()),
                &ids,
                "{status:?}, pages of {limit}"
            );
        }
    }
}
