//! Import of a world file into the ledger: all of it, or nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, Read as _};

use chrono::{Datelike as _, NaiveDate, TimeDelta};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use shared_types::decode::Malformed;
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction};
use shared_types::xs2a::money::{Amount, AmountError, Currency};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::Transaction;
use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use uuid::Uuid;

use super::batch::{Batch, Row};
use super::sums::Sums;
use super::world::{AccountRecord, EntryRecord, Record, Sum, VERSION, read};
use crate::domain::PsuId;
use crate::store::{AdvisoryLock, Database, StoreError, WriteTransaction};

/// The longest line, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// Older entries are mistakes, and days are compared as texts of ten characters.
pub(super) const EARLIEST_YEAR: i32 = 1900;

/// Maximum distance of the value date or day of purchase from the booking date.
pub(super) const LONGEST_APART: TimeDelta = TimeDelta::days(366);

/// Names of the records of accounts.
const ACCOUNT: &str = "account";
const CARD_ACCOUNT: &str = "card-account";

const KNOWN: &str = "this id is there already, in the file or in the database";

/// Numbers and sums of what was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Customers.
    pub customers: u64,
    /// Accounts of both kinds.
    pub accounts: u64,
    /// Transactions of both kinds.
    pub transactions: u64,
    /// Their sums, by currency.
    pub turnovers: BTreeMap<Currency, Turnover>,
    /// Statements that were read. A world file and a CSV file have none.
    pub statements: u64,
    /// Entries that were in the ledger already, and were not loaded again.
    pub known: u64,
    /// Entries of statements that are not booked, and were left out.
    pub not_booked: u64,
    /// Entries whose payments do not add up to them, and were left out.
    pub without_payments: u64,
}

/// Sums of transactions in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Number of credits; an amount of zero is one.
    pub credits: u64,
    /// Their sum.
    pub credit_sum: Decimal,
    /// Number of debits.
    pub debits: u64,
    /// Their sum, which is negative.
    pub debit_sum: Decimal,
}

impl Imported {
    /// Adds a transaction.
    pub(super) fn add(&mut self, amount: &Amount) {
        self.transactions += 1;
        let turnover = self.turnovers.entry(amount.currency()).or_default();
        // 14 digits before the point leave room for 10^14 transactions.
        if amount.value().is_sign_negative() {
            turnover.debits += 1;
            turnover.debit_sum += amount.value();
        } else {
            turnover.credits += 1;
            turnover.credit_sum += amount.value();
        }
    }
}

/// Result of an import.
pub(super) type Result<T, E = ImportError> = std::result::Result<T, E>;

/// Error of an import; nothing was loaded. No variant repeats account data.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A line is wrong.
    #[error("line {line}, at {path}: {problem}")]
    Line {
        /// Number of the line, from 1.
        line: u64,
        /// Path in the line.
        path: String,
        /// The problem.
        problem: String,
    },
    /// An account's transactions do not add up to its closing balance.
    #[error(
        "account {account} (line {line}): the opening balance and the booked transactions do not \
         add up to the closing \
         balance; they differ by {difference}"
    )]
    Balance {
        /// The account's id.
        account: Uuid,
        /// Its line, from 1.
        line: u64,
        /// Closing balance minus the sum of the entries.
        difference: Decimal,
    },
    /// An option cannot be used with this file.
    #[error("{option}: {problem}")]
    Option {
        /// The option.
        option: &'static str,
        /// The problem.
        problem: String,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for ImportError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Loads a world file into the ledger, in one transaction, on the bank's day `today`. No entry may
/// have a booking date after it.
///
/// On SQLite it is the only writer: open the database with
/// [`Database::open_for`] where a bank may serve from it.
///
/// It reads the file on the calling thread. Memory grows with the number of accounts, not of
/// transactions.
pub async fn import(
    database: &Database,
    today: NaiveDate,
    mut file: impl BufRead + Send,
) -> Result<Imported> {
    let mut sql = database.begin_write().await?;
    sql.take(AdvisoryLock::Import).await?;
    let mut import = Import {
        sql,
        today,
        line: 0,
        numbers: HashSet::new(),
        accounts: HashMap::new(),
        batch: Batch::default(),
        imported: Imported::default(),
    };
    match import.load(&mut file).await {
        Ok(()) => {
            import.sql.commit().await?;
            Ok(import.imported)
        }
        Err(error) => {
            // Before this returns, so that closing the database leaves no journal behind. If it
            // fails, the database has rolled back by itself, and the first error counts.
            let _ = import.sql.roll_back().await;
            Err(error)
        }
    }
}

/// An account while its transactions come in.
struct Account {
    line: u64,
    card: bool,
    sums: Sums,
}

/// Number by which payment accounts are distinguished.
#[derive(Deserialize)]
struct Number {
    iban: Option<String>,
    bban: Option<String>,
    currency: Currency,
}

impl Number {
    /// The field that has the number, and the number with its currency.
    fn key(self) -> Option<(&'static str, (String, Currency))> {
        let iban = self.iban.map(|iban| ("iban", iban));
        let (field, number) = iban.or_else(|| self.bban.map(|bban| ("bban", bban)))?;
        Some((field, (number, self.currency)))
    }
}

struct Import {
    sql: WriteTransaction,
    today: NaiveDate,
    line: u64,
    /// The numbers of payment accounts with their currencies: an account is found by them.
    numbers: HashSet<(String, Currency)>,
    accounts: HashMap<Uuid, Account>,
    batch: Batch,
    imported: Imported,
}

/// Fields that both kinds of transaction share.
struct Entry<'a> {
    id: Option<&'a str>,
    /// Reference of a booked entry, for delta reports.
    reference: Option<&'a str>,
    id_path: &'static str,
    booking_date: Option<NaiveDate>,
    /// A further day, and its name: it is not far from that of booking.
    other_date: (&'static str, Option<NaiveDate>),
    amount: Amount,
    invoiced: bool,
}

impl Import {
    fn wrong(&self, path: impl Into<String>, problem: impl Into<String>) -> ImportError {
        ImportError::Line {
            line: self.line,
            path: path.into(),
            problem: problem.into(),
        }
    }

    async fn load(&mut self, file: &mut (impl BufRead + Send)) -> Result<()> {
        self.read_numbers().await?;
        let mut line = Vec::new();
        loop {
            line.clear();
            self.line += 1;
            let read = file
                .by_ref()
                .take(LONGEST_LINE + 1)
                .read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            if let Err(error) = self.take_line(&line).await {
                // Reports an undetected error of an earlier line first.
                self.write().await?;
                return Err(error);
            }
        }
        self.write().await?;
        if self.line == 1 {
            return Err(self.wrong(".", "the file is empty"));
        }
        self.set_balances().await
    }

    /// Writes all rows of the batch.
    async fn write(&mut self) -> Result<()> {
        let written = self.batch.write(&mut self.sql).await?;
        check_known(&written.known)
    }

    /// The numbers that are in the database.
    async fn read_numbers(&mut self) -> Result<()> {
        let all: Vec<String> = sqlx::query_scalar("SELECT details FROM account WHERE card = 0")
            .fetch_all(&mut *self.sql)
            .await?;
        for details in all {
            let number = serde_json::from_str::<Number>(&details);
            let number = number.map_err(|_| StoreError::corrupt("account.details"))?;
            self.numbers.extend(number.key().map(|(_, key)| key));
        }
        Ok(())
    }

    async fn take_line(&mut self, line: &[u8]) -> Result<()> {
        if line.len() as u64 > LONGEST_LINE {
            return Err(self.wrong(".", format!("longer than {LONGEST_LINE} bytes")));
        }
        let record = read(line).map_err(|Malformed { path, reason }| self.wrong(path, reason))?;
        self.take(record).await
    }

    async fn take(&mut self, record: Record) -> Result<()> {
        if (self.line == 1) != matches!(record, Record::World(_)) {
            return Err(self.wrong(
                ".",
                r#"the first line, and only it, is {"world":{"version":1}}"#,
            ));
        }
        match record {
            Record::World(header) if header.version == VERSION => Ok(()),
            Record::World(_) => {
                Err(self.wrong("world.version", format!("only version {VERSION} is known")))
            }
            Record::Customer(customer) => {
                PsuId::check(customer.id.as_str())
                    .map_err(|problem| self.wrong("customer.id", problem))?;
                let insert = sqlx::query(
                    "INSERT INTO customer (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                )
                .bind(customer.id.as_str().to_owned())
                .bind(customer.name.as_str().to_owned());
                self.insert(insert, "customer.id").await?;
                self.imported.customers += 1;
                Ok(())
            }
            Record::Account(account) => self.account(account).await,
            Record::CardAccount(account) => self.card_account(account).await,
            Record::Transaction(entry) => self.transaction(entry).await,
            Record::CardTransaction(entry) => self.card_transaction(entry).await,
        }
    }

    async fn account(&mut self, record: AccountRecord<AccountDetails>) -> Result<()> {
        let details = &record.details;
        let derived =
            details.resource_id.is_some() || details.balances.is_some() || details.links.is_some();
        self.check_derived(ACCOUNT, derived)?;
        let currency = details.currency;
        let number = Number {
            iban: details.iban.as_ref().map(ToString::to_string),
            bban: details.bban.as_ref().map(ToString::to_string),
            currency,
        };
        let Some((field, number)) = number.key() else {
            return Err(self.wrong("account.details", "give an iban or a bban"));
        };
        if let Some(iban) = &details.iban
            && !iban.check_digits_hold()
        {
            return Err(self.wrong("account.details.iban", "the check digits are wrong"));
        }
        if !self.numbers.insert(number) {
            return Err(self.wrong(
                format!("account.details.{field}"),
                "an account with this number and currency is there already, in the file or in the \
                 database",
            ));
        }
        self.insert_account(&record, currency, false).await
    }

    /// Fails if a record contains a field that the bank derives.
    fn check_derived(&self, kind: &str, derived: bool) -> Result<()> {
        let path = format!("{kind}.details");
        let problem = "resourceId, balances and _links are worked out by the bank";
        if derived {
            Err(self.wrong(path, problem))
        } else {
            Ok(())
        }
    }

    async fn card_account(&mut self, record: AccountRecord<CardAccountDetails>) -> Result<()> {
        let details = &record.details;
        let derived =
            details.resource_id.is_some() || details.balances.is_some() || details.links.is_some();
        self.check_derived(CARD_ACCOUNT, derived)?;
        self.insert_account(&record, details.currency, true).await
    }

    async fn insert_account<D: Serialize>(
        &mut self,
        record: &AccountRecord<D>,
        currency: Currency,
        card: bool,
    ) -> Result<()> {
        let kind = if card { CARD_ACCOUNT } else { ACCOUNT };
        let AccountRecord {
            opening_balance: Sum(opening),
            closing_balance: Sum(closing),
            ..
        } = *record;
        for (name, sum) in [("openingBalance", opening), ("closingBalance", closing)] {
            Amount::new(sum, currency)
                .map_err(|fault| self.wrong(format!("{kind}.{name}"), fault.to_string()))?;
        }
        self.check_customer(&record.customer, &format!("{kind}.customer"))
            .await?;
        let approvals = record.approvals.unwrap_or(1);
        if !(1..=record.holders.len() as u64 + 1).contains(&u64::from(approvals)) {
            return Err(self.wrong(
                format!("{kind}.approvals"),
                "from 1 to the number of its holders can be asked to approve",
            ));
        }
        let insert = sqlx::query(
            "INSERT INTO account (id, customer, position, card, details, balances, approvals) \
             VALUES ($1, $2, $3, $4, $5, '[]', $6) ON CONFLICT DO NOTHING",
        )
        .bind(record.id.to_string())
        .bind(record.customer.as_str().to_owned())
        .bind(i64::try_from(self.accounts.len()).unwrap_or(i64::MAX))
        .bind(i64::from(card))
        .bind(self.json(&record.details)?)
        .bind(i64::from(approvals));
        self.insert(insert, &format!("{kind}.id")).await?;
        self.insert_holders(kind, record).await?;
        let account = Account {
            line: self.line,
            card,
            sums: Sums::start(opening, closing, currency, card),
        };
        self.accounts.insert(record.id, account);
        self.imported.accounts += 1;
        Ok(())
    }

    async fn insert_holders<D>(&mut self, kind: &str, record: &AccountRecord<D>) -> Result<()> {
        for (index, holder) in record.holders.iter().enumerate() {
            let path = format!("{kind}.holders[{index}]");
            self.check_customer(holder, &path).await?;
            if *holder == record.customer {
                return Err(self.wrong(path, "the customer is a holder anyway; name the others"));
            }
            let insert = sqlx::query(
                "INSERT INTO account_holder (account, customer) VALUES ($1, $2) ON \
                    CONFLICT DO NOTHING",
            )
            .bind(record.id.to_string())
            .bind(holder.as_str().to_owned());
            self.insert(insert, &path).await?;
        }
        Ok(())
    }

    async fn check_customer(&mut self, id: &Text<70>, path: &str) -> Result<()> {
        let known = sqlx::query("SELECT 1 FROM customer WHERE id = $1")
            .bind(id.as_str().to_owned())
            .fetch_optional(&mut *self.sql)
            .await?;
        match known {
            Some(_) => Ok(()),
            None => Err(self.wrong(path, "no earlier line has a customer of that id")),
        }
    }

    async fn transaction(&mut self, record: EntryRecord<Transaction>) -> Result<()> {
        let details = &record.details;
        if details.links.is_some() {
            return Err(self.wrong(
                "transaction.details._links",
                "links are worked out by the bank",
            ));
        }
        let entry = Entry {
            id: details.transaction_id.as_ref().map(Text::as_str),
            reference: details.entry_reference.as_ref().map(Text::as_str),
            id_path: "transaction.details.transactionId",
            booking_date: details.booking_date,
            other_date: ("valueDate", details.value_date),
            amount: details.transaction_amount,
            invoiced: true,
        };
        self.insert_entry(&record, &entry, false).await
    }

    async fn card_transaction(&mut self, record: EntryRecord<CardTransaction>) -> Result<()> {
        let details = &record.details;
        let entry = Entry {
            id: details.card_transaction_id.as_ref().map(Text::as_str),
            reference: details.card_transaction_id.as_ref().map(Text::as_str),
            id_path: "card-transaction.details.cardTransactionId",
            booking_date: details.booking_date,
            other_date: ("transactionDate", details.transaction_date),
            amount: details.transaction_amount,
            invoiced: details.invoiced.unwrap_or(false),
        };
        self.insert_entry(&record, &entry, true).await
    }

    async fn insert_entry<D: Serialize>(
        &mut self,
        record: &EntryRecord<D>,
        entry: &Entry<'_>,
        card: bool,
    ) -> Result<()> {
        let kind = if card {
            "card-transaction"
        } else {
            "transaction"
        };
        let id = entry
            .id
            .ok_or_else(|| self.wrong(entry.id_path, "every transaction needs an id"))?;
        let date = match (entry.booking_date, record.entry_date) {
            (Some(date), None) | (None, Some(date)) => date,
            (Some(_), Some(_)) => {
                return Err(self.wrong(
                    format!("{kind}.entryDate"),
                    "a booked transaction has a bookingDate alone",
                ));
            }
            (None, None) => {
                return Err(self.wrong(
                    kind,
                    "give a bookingDate, or for a pending transaction an entryDate",
                ));
            }
        };
        self.check_days(kind, entry, date)?;
        let row = Row {
            line: self.line,
            id_path: entry.id_path,
            account: record.account.to_string(),
            booked: entry.booking_date.is_some(),
            date: date.to_string(),
            sequence: self.count(kind, record.account, entry, card)?,
            transaction_id: id.to_owned(),
            reference: entry
                .reference
                .filter(|_| entry.booking_date.is_some())
                .map(str::to_owned),
            details: self.json(&record.details)?,
            amount: entry.amount,
        };
        let written = self.batch.push(row, &mut self.sql).await?;
        self.imported.add(&entry.amount);
        check_known(&written.known)
    }

    /// Checks that the entry is not in the future, and that its other day is near.
    fn check_days(&self, kind: &str, entry: &Entry<'_>, date: NaiveDate) -> Result<()> {
        let path = if entry.booking_date.is_some() {
            format!("{kind}.details.bookingDate")
        } else {
            format!("{kind}.entryDate")
        };
        if date > self.today {
            let problem = format!(
                "after today, {}: leave out what has not happened",
                self.today
            );
            return Err(self.wrong(path, problem));
        }
        if date.year() < EARLIEST_YEAR {
            return Err(self.wrong(path, format!("before {EARLIEST_YEAR}")));
        }
        match entry.other_date {
            (name, Some(other)) if (other - date).abs() > LONGEST_APART => Err(self.wrong(
                format!("{kind}.details.{name}"),
                format!(
                    "more than {} days from the day of booking",
                    LONGEST_APART.num_days()
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Adds a transaction to its account's sums, and gives it its place.
    fn count(&mut self, kind: &str, id: Uuid, entry: &Entry<'_>, card: bool) -> Result<i64> {
        let known = self.accounts.get_mut(&id);
        let Some(account) = known.filter(|account| account.card == card) else {
            let problem = "no earlier line has an account of that id and kind";
            return Err(self.wrong(format!("{kind}.account"), problem));
        };
        let (amount, sums) = (&entry.amount, &mut account.sums);
        let added = sums.add(amount, entry.booking_date, entry.invoiced);
        added.map_err(|fault| {
            let path = format!("{kind}.details.transactionAmount");
            match fault {
                AmountError::DifferentCurrencies(..) => self.wrong(
                    format!("{path}.currency"),
                    "not the currency of the account",
                ),
                fault => self.wrong(
                    format!("{path}.amount"),
                    format!("the balance would be {fault}"),
                ),
            }
        })
    }

    /// All accounts add up; from now on they have their balances.
    async fn set_balances(&mut self) -> Result<()> {
        for (id, Account { line, sums, .. }) in std::mem::take(&mut self.accounts) {
            let difference = sums.difference();
            if !difference.is_zero() {
                return Err(ImportError::Balance {
                    account: id,
                    line,
                    difference,
                });
            }
            self.line = line;
            let balances = sums
                .balances()
                .map_err(|fault| self.wrong("closingBalance", fault.to_string()))?;
            let balances = self.json(&balances)?;
            sqlx::query("UPDATE account SET balances = $1 WHERE id = $2")
                .bind(balances)
                .bind(id.to_string())
                .execute(&mut *self.sql)
                .await?;
        }
        Ok(())
    }

    fn json<T: Serialize>(&self, value: &T) -> Result<String> {
        serde_json::to_string(value).map_err(|fault| self.wrong(".", fault.to_string()))
    }

    /// Inserts a row. Fails if it is there already.
    async fn insert(&mut self, insert: Query<'_, Any, AnyArguments>, path: &str) -> Result<()> {
        if insert.execute(&mut *self.sql).await?.rows_affected() == 0 {
            return Err(self.wrong(path, KNOWN));
        }
        Ok(())
    }
}

/// Fails if a transaction is there already.
fn check_known(known: &[Row]) -> Result<()> {
    match known.first() {
        None => Ok(()),
        Some(row) => Err(ImportError::Line {
            line: row.line,
            path: row.id_path.to_owned(),
            problem: KNOWN.to_owned(),
        }),
    }
}
