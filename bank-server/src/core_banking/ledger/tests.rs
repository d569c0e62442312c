//! The ledger: importing whole or not at all, and reading page by page.

use chrono::{Days, NaiveDate};
use rust_decimal::Decimal;
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::transaction::BookingStatus;
use sqlx::Row as _;
use tempfile::TempDir;

use super::*;
use crate::domain::Arrival;
use crate::store::consents::Consents;
use crate::store::tests;

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

/// No entry of these files is of a later day.
const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 24).unwrap();

const ACCOUNT: &str = "5f0d7c1e-5d0c-4a53-9a8e-0d6b0b1a7c11";
const CARD: &str = "0d7a3b52-3c1f-4c58-8b57-6a1a5e0d2f22";

#[tokio::test]
async fn the_example_of_the_documentation_is_loaded_and_adds_up() {
    let scene = Scene::set().await;
    let imported = import(&scene.database, TODAY, example().join("\n").as_bytes())
        .await
        .unwrap();
    let turnover = Turnover {
        credits: 1,
        credit_sum: Decimal::from(1200),
        debits: 3,
        debit_sum: Decimal::new(-14150, 2),
    };
    assert_eq!(
        imported,
        Imported {
            customers: 1,
            accounts: 2,
            transactions: 4,
            turnovers: [(Currency::EUR, turnover)].into(),
            ..Imported::default()
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

/// The example with one line changed, counted from 1.
fn change(line: usize, from: &str, to: &str) -> String {
    let mut lines = example();
    assert!(lines[line - 1].contains(from), "{from}");
    lines[line - 1] = lines[line - 1].replace(from, to);
    lines.join("\n")
}

/// Each of the files is refused with what stands beside it, which repeats nothing of the file;
/// nothing is loaded.
async fn are_refused(cases: &[(String, &str)]) {
    for (file, said) in cases {
        let scene = Scene::set().await;
        let error = import(&scene.database, TODAY, file.as_bytes())
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
async fn a_bad_line_is_refused_with_its_place_and_nothing_is_loaded() {
    let long = format!("{}\n{}", example()[0], "x".repeat(70_000));
    let cases = [
        (String::new(), "line 1, at .: the file is empty"),
        (example()[1..].join("\n"), "line 1, at .: the first line"),
        (
            change(1, "1}", "2}"),
            "line 1, at world.version: only version 1",
        ),
        (long, "line 2, at .: longer than 65536 bytes"),
        (
            change(2, "\"name\"", "\"nmae\""),
            "line 2, at customer.name: the field is required",
        ),
        (change(2, "\"customer\"", "\"customers\""), "line 2, at .: "),
        (
            change(3, "clara.holm", "unknown"),
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
            "line 7, at card-account.details.maskedPan: the field is required",
        ),
        (
            change(8, "-80.00", "-80.0001"),
            "line 8, at card-transaction.details.transactionAmount: more than 3 digits",
        ),
    ];
    are_refused(&cases).await;
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_its_place() {
    let cases = [
        (change(2, "clara.holm", ""), "line 2, at customer.id: empty"),
        (
            change(2, "clara.holm", &"😀".repeat(36)),
            "line 2, at customer.id: a customer id has 1 to 70",
        ),
        (
            change(7, CARD, ACCOUNT),
            "line 7, at card-account.id: this id is there already",
        ),
        (
            change(2, "clara.holm", " clara.holm"),
            "line 2, at customer.id: a customer id has no blanks",
        ),
        (
            change(2, "Clara Holm", " "),
            "line 2, at customer.name: empty: give a text",
        ),
        (
            change(2, "Clara Holm", &"x".repeat(141)),
            "line 2, at customer.name: longer than 140",
        ),
        (
            change(3, "Current account", "Current\\u0000account"),
            "line 3, at account.details.name: a text has no control characters",
        ),
        (
            change(5, "Order 4411", "Order\\u001b[2J"),
            "line 5, at transaction.details.remittanceInformationUnstructured: a text has no \
             control",
        ),
        (
            change(5, "\"transactionId\":\"2\"", "\"transactionId\":\"\""),
            "line 5, at transaction.details.transactionId: empty",
        ),
        (
            change(3, "\"EUR\"", "\"EUX\""),
            "line 3, at account.details.currency: no currency of ISO 4217",
        ),
        (
            change(3, "\"1250.50\"", "\"100000000000000\""),
            "line 3, at account.closingBalance: more than 14 digits",
        ),
        (
            change(4, "2026-10-27", "2999-10-27"),
            "line 4, at transaction.details.bookingDate: after today, 2026-11-24",
        ),
        (
            change(4, "2026-10-27", "2026-11-25"),
            "line 4, at transaction.details.bookingDate: after today",
        ),
        (
            change(4, "2026-10-27", "1026-10-27"),
            "line 4, at transaction.details.bookingDate: before 1900",
        ),
        (
            change(
                5,
                "\"bookingDate\"",
                "\"valueDate\":\"2028-10-28\",\"bookingDate\"",
            ),
            "line 5, at transaction.details.valueDate: more than 366 days",
        ),
        (
            change(6, "2026-10-29", "2999-01-01"),
            "line 6, at transaction.entryDate: after today",
        ),
        (
            change(
                8,
                "\"bookingDate\"",
                "\"transactionDate\":\"1999-10-20\",\"bookingDate\"",
            ),
            "line 8, at card-transaction.details.transactionDate: more than 366 days",
        ),
    ];
    are_refused(&cases).await;
}

#[tokio::test]
async fn one_number_and_currency_is_one_account() {
    let scene = Scene::set().await;
    let second = "00000000-0000-4000-8000-000000000002";
    let account = |currency: &str| {
        let line = &example()[2];
        let line = line.replace("1250.50", "100.00").replace("EUR", currency);
        line.replace(ACCOUNT, second)
    };
    let refused = "at account.details.iban: an account with this number and currency is there";
    let mut lines = example();
    lines.push(account("EUR"));
    let import = async |lines: &[String]| {
        let file = lines.join("\n");
        import(&scene.database, TODAY, file.as_bytes()).await
    };
    let error = import(&lines).await.unwrap_err().to_string();
    assert!(error.contains(&format!("line 9, {refused}")), "{error}");
    assert_eq!(scene.customers().await, 0);

    // One that is in the database already.
    import(&example()).await.unwrap();
    let more = |currency| [example()[0].clone(), account(currency)];
    let error = import(&more("EUR")).await.unwrap_err().to_string();
    assert!(error.contains(&format!("line 2, {refused}")), "{error}");
    // Another currency of the same number is another account.
    import(&more("USD")).await.unwrap();
}

#[tokio::test]
async fn a_known_id_is_found_among_many() {
    for (number, again) in [(99, 50), (100, 100), (250, 201), (250, 250)] {
        let scene = Scene::set().await;
        let mut lines: Vec<String> = many(number).lines().map(str::to_owned).collect();
        lines.push(lines[2 + again].clone());
        let error = import(&scene.database, TODAY, lines.join("\n").as_bytes())
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
        let error = import(&scene.database, TODAY, lines.join("\n").as_bytes())
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
    import(&scene.database, TODAY, many(43).as_bytes())
        .await
        .unwrap();
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
                since: None,
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

/// Entries of a delta report after `since`, read in pages of `limit`: pending ones, then booked
/// ones.
async fn delta(ledger: &Ledger, since: Arrival, from: NaiveDate, limit: usize) -> Vec<String> {
    let mut query = TransactionQuery {
        from,
        to: NaiveDate::from_ymd_opt(9999, 12, 31).unwrap(),
        status: BookingStatus::Both,
        since: Some(since),
        after: None,
        limit,
    };
    let mut ids = Vec::new();
    let mut newest = None;
    loop {
        let account = AccountId(ACCOUNT.to_owned());
        let page = ledger.transactions(&account, &query).await.unwrap();
        assert!(page.booked.len() + page.pending.len() <= limit);
        assert_eq!(page.newest.is_some(), !page.booked.is_empty());
        newest = newest.max(page.newest);
        let entries = page.pending.iter().chain(&page.booked);
        ids.extend(entries.map(|entry| entry.transaction_id.as_ref().unwrap().to_string()));
        query.after = page.next;
        if page.next.is_none() {
            let latest = ids.iter().filter_map(|id| id.parse().ok());
            let booked = latest.filter(|id: &i64| id % 5 != 0).max();
            assert_eq!(
                newest,
                booked.map(Arrival),
                "the numbers are those of arrival"
            );
            return ids;
        }
    }
}

#[tokio::test]
async fn a_delta_report_has_what_arrived_later_and_all_that_is_pending() {
    let scene = Scene::set().await;
    import(&scene.database, TODAY, many(43).as_bytes())
        .await
        .unwrap();
    let ledger = Ledger::new(scene.database.clone());
    let long_ago = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap();
    let pending = ["40", "35", "30", "25", "20", "15", "10", "5"];
    for (since, booked) in [
        (43, vec![]),
        (40, vec!["43", "42", "41"]),
        (38, vec!["43", "42", "41", "39"]),
    ] {
        let expected = [&pending[..], &booked[..]].concat();
        for limit in [500, 1, 2, 3, 7, 8, 9, 10, 11] {
            let found = delta(&ledger, Arrival(since), long_ago, limit).await;
            assert_eq!(found, expected, "after {since}, pages of {limit}");
        }
    }
    let all = delta(&ledger, Arrival::BEFORE_ALL, long_ago, 7).await;
    assert_eq!(all.len(), 43);
    // The tenth of January and later ones.
    let recent = delta(
        &ledger,
        Arrival::BEFORE_ALL,
        NaiveDate::from_ymd_opt(2026, 1, 10).unwrap(),
        7,
    )
    .await;
    assert_eq!(recent, ["40", "43", "42", "41", "39", "38", "37", "36"]);
}

#[tokio::test]
async fn a_reference_is_that_of_a_booked_entry_of_its_account() {
    let scene = Scene::set().await;
    let mut lines = example();
    lines[3] = lines[3].replace(
        "\"transactionId\":\"1\"",
        "\"transactionId\":\"1\",\"entryReference\":\"R/1\"",
    );
    lines[4] = lines[4].replace(
        "\"transactionId\":\"2\"",
        "\"transactionId\":\"2\",\"entryReference\":\"R/1\"",
    );
    lines[5] = lines[5].replace(
        "\"transactionId\":\"3\"",
        "\"transactionId\":\"3\",\"entryReference\":\"R/3\"",
    );
    import(&scene.database, TODAY, lines.join("\n").as_bytes())
        .await
        .unwrap();
    let ledger = Ledger::new(scene.database.clone());
    for (account, reference, place) in [
        (ACCOUNT, "R/1", Some(1)), // of two, the earlier
        (ACCOUNT, "R/3", None),    // pending
        (ACCOUNT, "1", None),      // the id of a transaction
        (CARD, "1", Some(1)),      // by which a card's are named
        (CARD, "R/1", None),
    ] {
        let account = AccountId(account.to_owned());
        let found = ledger.arrival_of(&account, reference).await.unwrap();
        assert_eq!(
            found.map(|arrived| arrived.place),
            place.map(Arrival),
            "{reference}"
        );
    }
}

#[tokio::test]
async fn a_delta_report_is_one_look_up_by_index() {
    let scene = Scene::set().await;
    let account = || "account".into();
    for (statement, values, on_sqlite, on_postgres) in [
        (
            super::pages::ARRIVALS,
            vec![
                10.into(),
                account(),
                1.into(),
                2.into(),
                "2026-01-01".into(),
            ],
            "INDEX entry_by_arrival (account=? AND booked=? AND sequence>? AND sequence<?)",
            "using entry_by_arrival",
        ),
        (
            super::ARRIVAL,
            vec![account(), "reference".into()],
            "INDEX entry_by_reference (account=? AND reference=?)",
            "using entry_by_reference",
        ),
    ] {
        let plan = scene.database.plan(statement, values).await;
        assert!(
            plan.contains(on_sqlite) || plan.contains(on_postgres),
            "{plan}"
        );
    }
}

#[tokio::test]
async fn what_a_consent_opens_is_one_round_trip_away_and_then_none() {
    let scene = Scene::set().await;
    import(&scene.database, TODAY, example().join("\n").as_bytes())
        .await
        .unwrap();
    for statement in [
        "INSERT INTO consent (id, tpp, request_id, request_digest, status, access, recurring, \
         valid_until, \
         frequency_per_day, last_action, created, approve_by) \
         VALUES ('c', 'PSDDE-BAFIN-100001', 'r', 'd', 'valid', '{}', 1, '2027-01-01', 4, 0, 0, 0)",
        "INSERT INTO consent_account (consent_id, position, account_id, details, balances, \
         transactions, owner_name) \
         SELECT 'c', position, id, 1, 1, 1, 0 FROM account",
    ] {
        let done = sqlx::query(statement).execute(scene.database.pool()).await;
        done.unwrap();
    }
    let ledger = Ledger::new(scene.database.clone());
    let consents = Consents::new(scene.database.clone()).with_ledger(read_along);
    let tpp = "PSDDE-BAFIN-100001".parse().unwrap();
    scene.database.start_invalidation_listener();
    // Cached rows are valid for less than a second: a round that takes longer is repeated.
    let mut counts = [0; 3];
    for _ in 0..20 {
        let known = scene.database.caches();
        known.consents.invalidate("c");
        for account in [ACCOUNT, CARD] {
            known.accounts.invalidate(account);
        }
        scene.database.wait_until_caching().await;
        let before = scene.database.statements();
        for count in &mut counts {
            let granted = consents.find_with_grants(&tpp, "c").await.unwrap().unwrap();
            let grants = granted.grants.iter();
            let ids: Vec<AccountId> = grants.map(|grant| grant.account.clone()).collect();
            assert_eq!(ledger.accounts(&ids).await.unwrap().len(), 2);
            assert_eq!(ledger.balances(&ids).await.unwrap().concat().len(), 4);
            *count = scene.database.statements() - before;
        }
        if counts == [1; 3] {
            return;
        }
    }
    panic!("statements after each round: {counts:?}");
}
