//! Sample data for a bank's database, of any size. The database multiplies it itself.

use bank_server::store::Database;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

/// The customer's accounts; the first one has [`ENTRIES`].
const ACCOUNTS: [(&str, &str); 3] = [
    (
        "3dc3d5b3-7023-4848-9853-f5400a64e80f",
        "DE89370400440532013000",
    ),
    (
        "3dc3d5b3-7023-4848-9853-f5400a64e81e",
        "DE40100100103307118608",
    ),
    (
        "3dc3d5b3-7023-4848-9853-f5400a64e82d",
        "DE02100100109307118603",
    ),
];

/// The account whose transactions are read.
pub const ACCOUNT: &str = ACCOUNTS[0].0;
/// Transactions of an account.
pub const ENTRIES: u64 = 1000;
/// The first consent, for all accounts of the customer.
pub const CONSENT: &str = "dd1b1466-6c31-4a28-9cb1-100000000000";

/// The consent of that number, from 0.
pub fn consent(number: u64) -> String {
    format!("dd1b1466-6c31-4a28-9cb1-{}", 100_000_000_000 + number)
}

/// Rows that are made in one go.
const AT_ONCE: u64 = 500_000;

/// One customer with three accounts, the first of which has transactions, and a consent of that TPP for them, which may be
/// used as often as one likes.
pub async fn begin(database: &Database, tpp: &str, now: DateTime<Utc>) {
    run(
        database,
        "INSERT INTO customer (id, name) VALUES ('erika', 'Erika Mustermann')",
    )
    .await;
    let today = now.date_naive();
    for (position, (id, iban)) in ACCOUNTS.iter().enumerate() {
        let details = json!({
            "iban": iban, "currency": "EUR", "ownerName": "Erika Mustermann", "name": "Current account",
            "product": "Giro Plus", "cashAccountType": "CACC", "bic": "COBADEFFXXX",
        });
        let balance = |kind: &str, amount: &str| {
            json!({
                "balanceType": kind, "balanceAmount": { "currency": "EUR", "amount": amount },
                "referenceDate": today.to_string(),
            })
        };
        let balances = json!([
            balance("closingBooked", "2417.35"),
            balance("expected", "2350.10")
        ]);
        run(
            database,
            &format!(
                "INSERT INTO account (id, customer, position, card, details, balances) \
             VALUES ('{id}', 'erika', {position}, 0, '{details}', '{balances}')"
            ),
        )
        .await;
    }
    let rows: Vec<String> = (0..ENTRIES)
        .map(|number| {
            // Five a day, so that all of them are within the history that is shown.
            let day = today - TimeDelta::days(i64::try_from((ENTRIES - number) / 5).unwrap());
            let details = json!({
                "transactionId": format!("T-{number:08}"), "entryReference": format!("E-{number:08}"),
                "bookingDate": day.to_string(), "valueDate": day.to_string(),
                "transactionAmount": { "currency": "EUR", "amount": format!("-{}.{:02}", number % 90 + 1, number % 100) },
                "creditorName": "Stadtwerke Musterstadt", "creditorAccount": { "iban": "DE02120300000000202051" },
                "remittanceInformationUnstructured": format!("Invoice {number} of this month, thank you"),
            });
            format!("('{ACCOUNT}', 1, '{day}', {number}, 'T-{number:08}', 'E-{number:08}', '{details}')")
        })
        .collect();
    for rows in rows.chunks(200) {
        run(
            database,
            &format!(
                "INSERT INTO entry {ENTRY_COLUMNS} VALUES {}",
                rows.join(", ")
            ),
        )
        .await;
    }
    let (seconds, until) = (now.timestamp(), today + TimeDelta::days(150));
    run(database, &format!(
        "INSERT INTO consent {CONSENT_COLUMNS} VALUES ('{CONSENT}', '{tpp}', '{CONSENT}', 'none', 'valid', \
         '{{\"allPsd2\":\"allAccounts\"}}', 1, '{until}', 1000000000, 'erika', {seconds}, {seconds}, {seconds}, 1, {seconds})"
    ))
    .await;
    for (position, (id, _)) in ACCOUNTS.iter().enumerate() {
        run(database, &format!(
            "INSERT INTO consent_account {GRANT_COLUMNS} VALUES ('{CONSENT}', {position}, '{id}', 1, 1, 1, 0)"
        ))
        .await;
    }
}

const ENTRY_COLUMNS: &str = "(account, booked, date, sequence, transaction_id, reference, details)";
const CONSENT_COLUMNS: &str = "(id, tpp, request_id, request_digest, status, access, recurring, valid_until, \
    frequency_per_day, psu, last_action, created, approve_by, approvals_needed, authenticated)";
const GRANT_COLUMNS: &str =
    "(consent_id, position, account_id, balances, transactions, details, owner_name)";

/// Other customers' accounts, until there are so many transactions.
pub async fn entries(database: &Database, wanted: u64) {
    let id = "'00000000-0000-4000-8000-' || CAST(100000000000 + n.i AS TEXT)";
    for numbers in pieces(1, wanted / ENTRIES, AT_ONCE / ENTRIES) {
        run(database, &format!(
            "{numbers} INSERT INTO account (id, customer, position, card, details, balances) \
             SELECT {id}, 'erika', 3 + n.i, 0, a.details, a.balances FROM n CROSS JOIN account a WHERE a.id = '{ACCOUNT}'"
        ))
        .await;
        run(
            database,
            &format!(
                "{numbers} INSERT INTO entry {ENTRY_COLUMNS} \
             SELECT {id}, e.booked, e.date, e.sequence, e.transaction_id, e.reference, e.details \
             FROM n CROSS JOIN entry e WHERE e.account = '{ACCOUNT}'"
            ),
        )
        .await;
    }
}

/// Other customers' consents, until there are so many; the first of them is there.
pub async fn consents(database: &Database, wanted: u64) {
    more_consents(database, 1, wanted).await;
}

/// The same, where there are some already.
pub async fn more_consents(database: &Database, there: u64, wanted: u64) {
    let id = "'dd1b1466-6c31-4a28-9cb1-' || CAST(100000000000 + n.i AS TEXT)";
    for numbers in pieces(there, wanted, AT_ONCE / 5) {
        run(database, &format!(
            "{numbers} INSERT INTO consent {CONSENT_COLUMNS} \
             SELECT {id}, c.tpp, {id}, c.request_digest, c.status, c.access, c.recurring, c.valid_until, \
             c.frequency_per_day, 'psu' || CAST(n.i AS TEXT), c.last_action, c.created, c.approve_by, \
             c.approvals_needed, c.authenticated FROM n CROSS JOIN consent c WHERE c.id = '{CONSENT}'"
        ))
        .await;
        run(database, &format!(
            "{numbers} INSERT INTO consent_account {GRANT_COLUMNS} \
             SELECT {id}, a.position, a.account_id, a.balances, a.transactions, a.details, a.owner_name \
             FROM n CROSS JOIN consent_account a WHERE a.consent_id = '{CONSENT}'"
        ))
        .await;
    }
}

/// Tables `n` of whole numbers, which together go from the first to the one before the last.
fn pieces(first: u64, end: u64, size: u64) -> impl Iterator<Item = String> {
    (first..end)
        .step_by(usize::try_from(size).unwrap())
        .map(move |from| {
            let last = (from + size).min(end) - 1;
            format!(
                "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
            )
        })
}

async fn run(database: &Database, statement: &str) {
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(database.counting())
        .await
        .unwrap();
}
