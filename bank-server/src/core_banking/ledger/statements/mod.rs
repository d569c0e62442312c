//! Statements of accounts as files: CSV, camt.053 and MT940.
//!
//! Each format has a reader that turns a file into [`Event`]s; [`posting`] books them. Files are
//! read as streams, so that memory does not grow with their length. `docs/import.md` explains the
//! formats to people.

mod amounts;
mod camt053;
mod csv;
mod details;
mod encoding;
mod format;
mod lines;
mod mt940;
mod posting;
#[cfg(test)]
mod tests;

use std::io::{Read, Seek};

use chrono::NaiveDate;
use chrono_tz::Tz;
use shared_types::environment::Randomness;
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::money::Amount;
use shared_types::xs2a::transaction::Transaction;

pub use self::amounts::DecimalSign;
pub use self::encoding::Encoding;
pub use self::format::Format;
use self::posting::Posting;
use super::import::{ImportError, Imported, Result};
use crate::store::Database;

/// Options of an import. What is not named is detected.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Format of the file.
    pub format: Option<Format>,
    /// Encoding of its text.
    pub encoding: Option<Encoding>,
    /// Delimiter of a CSV file: an ASCII character.
    pub delimiter: Option<char>,
    /// Sign before the decimals in a CSV file.
    pub decimal: Option<DecimalSign>,
    /// Customer for whom accounts are opened that the ledger does not have.
    pub customer: Option<NewAccountHolder>,
    /// Time zone of the bank: in it, a time with an offset has its day.
    pub time_zone: Tz,
}

/// Customer for whom accounts are opened.
#[derive(Debug, Clone)]
pub struct NewAccountHolder {
    /// The customer's id.
    pub id: String,
    /// The customer's name, if the ledger does not have the customer either.
    pub name: Option<String>,
}

/// Loads a file of any [`Format`] into the ledger, in one transaction, on the bank's day `today`:
/// all of it, or nothing. No entry may have a booking date after that day.
///
/// On SQLite it is the only writer: open the database with
/// [`Database::open_for`] where a bank may serve from it.
///
/// It reads the file twice on the calling thread: first for its encoding. Memory grows with the
/// number of accounts, not of transactions.
pub async fn import_file(
    database: &Database,
    today: NaiveDate,
    randomness: &dyn Randomness,
    mut file: impl Read + Seek + Send,
    options: &ImportOptions,
) -> Result<Imported> {
    let (text, head) = encoding::open(&mut file, options.encoding)?;
    let format = match options.format {
        Some(format) => format,
        None => Format::detect(&head)?,
    };
    let mut source: Box<dyn Source + Send> = match format {
        Format::World if text.encoding() != Encoding::Utf8 => {
            return Err(Place::new(1, ".").wrong("a world file is UTF-8"));
        }
        Format::World => return super::import::import(database, today, text).await,
        Format::Csv => Box::new(csv::Reader::new(text, options, &head)?),
        Format::Camt053 => Box::new(camt053::Reader::new(text, options.time_zone)),
        Format::Mt940 => Box::new(mt940::Reader::new(text)),
    };
    let posting = Posting::begin(database, today, randomness, options.customer.as_ref()).await?;
    posting.post(source.as_mut()).await
}

/// Reader of one format.
trait Source {
    /// Next event, `None` at the end of the file.
    fn next(&mut self) -> Result<Option<Event>>;
}

/// Content of a file, in its order.
#[derive(Debug)]
enum Event {
    /// Start of a statement, or of rows of another account.
    Open(Box<Statement>),
    /// Entry of the open statement.
    Entry(Box<Entry>),
    /// End of the open statement, with its closing balance.
    Close(Stated),
}

/// Start of a statement.
#[derive(Debug)]
struct Statement {
    /// Place of the account's number.
    place: Place,
    /// The account: its number and currency, and what else the file has for a new account.
    account: AccountDetails,
    /// Opening balance. In a CSV file, only a new account starts with it.
    opening: Option<Stated>,
    /// Whether it is a statement of the bank, which has a closing balance. Rows of a CSV file are
    /// not.
    is_whole: bool,
}

/// Balance as stated.
#[derive(Debug, Clone)]
struct Stated {
    place: Place,
    amount: Amount,
    date: NaiveDate,
}

/// Entry of a statement.
#[derive(Debug)]
struct Entry {
    place: Place,
    /// Whether it is booked. Entries that are not booked are counted and left out.
    is_booked: bool,
    booking_date: NaiveDate,
    /// The bank's own reference, by which the entry is recognised.
    reference: Option<String>,
    /// Balance after it, where the file states it.
    balance_after: Option<Amount>,
    /// Whether its payments are left out, because they do not add up to it.
    omits_payments: bool,
    /// The rest, without ids and booking date.
    details: Box<Transaction>,
}

/// Place in a file.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Number of the line, from 1.
    line: u64,
    /// Field, in the words of the format.
    field: &'static str,
}

impl Place {
    const fn new(line: u64, field: &'static str) -> Self {
        Self { line, field }
    }

    /// Error at this place.
    fn wrong(self, problem: impl Into<String>) -> ImportError {
        ImportError::Line {
            line: self.line,
            path: self.field.to_owned(),
            problem: problem.into(),
        }
    }
}
