//! Reader of CSV: one booked entry a row, with the columns of [`Column`].

use std::io::BufRead;

use chrono::NaiveDate;
use csv::{ByteRecord, ErrorKind, ReaderBuilder, StringRecord};
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::money::{Amount, Currency};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::{StructuredRemittance, Transaction};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::amounts::{self, DecimalSign};
use super::details::{self, Party};
use super::lines::Bounded;
use super::{Entry, Event, ImportOptions, Place, Source, Stated, Statement};
use crate::core_banking::ledger::import::{ImportError, Result};

/// Longest row, in bytes.
const LONGEST_ROW: usize = 64 * 1024;

/// The reader's own buffer, which it fills beyond the row.
const BUFFER: usize = 64 * 1024;

const DELIMITERS: [char; 4] = [';', ',', '\t', '|'];

/// Columns of a file, in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
enum Column {
    Account,
    BookingDate,
    Amount,
    Currency,
    ValueDate,
    Balance,
    Reference,
    EndToEndId,
    MandateId,
    CreditorId,
    CounterpartyName,
    CounterpartyAccount,
    CounterpartyBic,
    Remittance,
    RemittanceReference,
    PurposeCode,
    BankTransactionCode,
    ProprietaryCode,
    AdditionalInformation,
}

/// Columns that each file has.
const REQUIRED: [Column; 4] = [
    Column::Account,
    Column::BookingDate,
    Column::Amount,
    Column::Currency,
];

/// Whether this line names the required columns.
pub(super) fn is_header(line: &str) -> bool {
    let names: Vec<&str> = line.split(DELIMITERS).map(unquoted).collect();
    let mut required = REQUIRED.iter();
    required.all(|column| names.contains(&column.name()))
}

fn unquoted(name: &str) -> &str {
    name.trim().trim_matches('"')
}

impl Column {
    fn name(self) -> &'static str {
        self.into()
    }
}

/// Reader of a file with rows.
pub(super) struct Reader<R> {
    rows: csv::Reader<Bounded<R>>,
    row: ByteRecord,
    /// Index of each column, in the order of their declaration.
    places: Vec<Option<usize>>,
    /// Decimal sign, and the line that showed it; line 0 if it was named.
    decimal: Option<(DecimalSign, u64)>,
    /// Account and currency of the row before, as they were written, and the currency.
    open: Option<(String, String, Currency)>,
    /// Entry of the row that opened an account.
    next: Option<Box<Entry>>,
    has_rows: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header. `head` is the beginning of the file, in which the delimiter is looked for.
    pub(super) fn new(text: R, options: &ImportOptions, head: &str) -> Result<Self> {
        let first = Place::new(1, ".");
        let line = head.lines().next().unwrap_or_default();
        let found = line.chars().find(|letter| DELIMITERS.contains(letter));
        let delimiter = options.delimiter.or(found);
        let delimiter = delimiter
            .ok_or_else(|| first.wrong("no delimiter in the header: `;`, `,`, tab or `|`"))?;
        let delimiter = u8::try_from(delimiter).ok().filter(|delimiter| {
            let is_usable = delimiter.is_ascii_punctuation() || *delimiter == b'\t';
            is_usable && !matches!(delimiter, b'"' | b'-' | b'_' | b'.' | b'+')
        });
        let delimiter = delimiter.ok_or_else(|| {
            first.wrong("a delimiter is a tab or an ASCII sign other than `\"`, `-`, `_`, `.`, `+`")
        })?;
        let mut rows = ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .buffer_capacity(BUFFER)
            .from_reader(Bounded::new(text));
        let mut row = ByteRecord::new();
        read(&mut rows, &mut row)?;
        let places = columns(&row)?;
        Ok(Self {
            rows,
            row,
            places,
            decimal: options.decimal.map(|decimal| (decimal, 0)),
            open: None,
            next: None,
            has_rows: false,
        })
    }

    /// The text of a column in this row, without blanks at its ends; empty, if there is none.
    fn text(&self, column: Column) -> Result<&str> {
        let place = self.places.get(column as usize).copied().flatten();
        let bytes = place
            .and_then(|place| self.row.get(place))
            .unwrap_or_default();
        let text = str::from_utf8(bytes).map_err(|_| self.wrong(column, "not UTF-8"))?;
        Ok(text.trim())
    }

    fn place(&self, column: Column) -> Place {
        let line = self.row.position().map_or(1, csv::Position::line);
        Place::new(line, column.name())
    }

    fn wrong(&self, column: Column, problem: impl Into<String>) -> ImportError {
        self.place(column).wrong(problem)
    }

    fn cut<const MAX: usize>(&self, column: Column) -> Result<Option<Text<MAX>>> {
        let text = self.text(column)?;
        details::cut(text).map_err(|problem| self.wrong(column, problem))
    }

    fn date(&self, column: Column) -> Result<Option<NaiveDate>> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        let part = |range| text.get(range).unwrap_or_default();
        let date = match (part(4..5), part(2..3), part(5..6), part(7..8), text.len()) {
            ("-", _, _, "-", 10) => amounts::date(part(0..4), part(5..7), part(8..10)),
            (_, ".", ".", _, 10) => amounts::date(part(6..10), part(3..5), part(0..2)),
            _ => None,
        };
        match date {
            Some(date) => Ok(Some(date)),
            None => Err(self.wrong(column, "not a date such as 2026-11-24 or 24.11.2026")),
        }
    }

    fn amount(&mut self, column: Column, currency: Currency) -> Result<Option<Amount>> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        let sign = DecimalSign::of(text);
        let line = self.place(column).line;
        let is_named = matches!(self.decimal, Some((_, 0)));
        if !is_named && amounts::may_have_thousands(text) {
            let problem = "three digits behind the only sign: thousands or decimals? \
                           --decimal names the sign before the decimals";
            return Err(self.wrong(column, problem));
        }
        let known = match (self.decimal, sign) {
            (Some((known, first)), Some(sign)) if sign != known && first > 0 => {
                return Err(self.wrong(
                    column,
                    format!(
                        "another sign before the decimals than in line {first}; --decimal names \
                         the one of the file"
                    ),
                ));
            }
            (Some((known, _)), _) => known,
            (None, sign) => sign.unwrap_or(DecimalSign::Point),
        };
        let amount = amounts::signed(text, known, currency);
        let amount = amount.map_err(|problem| self.wrong(column, problem))?;
        if self.decimal.is_none() && sign.is_some() {
            self.decimal = Some((known, line));
        }
        Ok(Some(amount))
    }

    /// Opens the account of this row if it is not that of the row before. Returns its currency.
    fn account(&self) -> Result<(Currency, Option<AccountDetails>)> {
        let (number, code) = (self.text(Column::Account)?, self.text(Column::Currency)?);
        match &self.open {
            Some((before, code_before, currency)) if before == number && code_before == code => {
                Ok((*currency, None))
            }
            _ => {
                let currency = amounts::currency(code)
                    .map_err(|problem| self.wrong(Column::Currency, problem))?;
                let account = details::account(number, currency)
                    .map_err(|problem| self.wrong(Column::Account, problem))?;
                Ok((currency, Some(account)))
            }
        }
    }

    fn entry(&mut self, currency: Currency) -> Result<Box<Entry>> {
        let booking_date = self.date(Column::BookingDate)?;
        let booking_date = booking_date
            .ok_or_else(|| self.wrong(Column::BookingDate, "empty: each entry is booked"))?;
        let amount = self.amount(Column::Amount, currency)?;
        let amount = amount.ok_or_else(|| self.wrong(Column::Amount, "empty"))?;
        let balance_after = self.amount(Column::Balance, currency)?;
        let mut transaction = Transaction::of(amount);
        transaction.value_date = self.date(Column::ValueDate)?;
        transaction.end_to_end_id = self.cut(Column::EndToEndId)?;
        transaction.mandate_id = self.cut(Column::MandateId)?;
        transaction.creditor_id = self.cut(Column::CreditorId)?;
        let account = self.text(Column::CounterpartyAccount)?;
        Party {
            name: self.cut(Column::CounterpartyName)?,
            account: details::account_reference(account),
            agent: self.cut(Column::CounterpartyBic)?,
        }
        .set(&mut transaction);
        let remittance = details::clean(self.text(Column::Remittance)?)
            .map_err(|problem| self.wrong(Column::Remittance, problem))?;
        details::set_remittance(&mut transaction, remittance.as_slice());
        if let Some(reference) = self.cut(Column::RemittanceReference)? {
            transaction.remittance_information_structured_array =
                Some(vec![StructuredRemittance {
                    reference,
                    reference_type: None,
                    reference_issuer: None,
                }]);
        }
        transaction.purpose_code = self.cut(Column::PurposeCode)?;
        transaction.bank_transaction_code = self.cut(Column::BankTransactionCode)?;
        transaction.proprietary_bank_transaction_code = self.cut(Column::ProprietaryCode)?;
        transaction.additional_information = self.cut(Column::AdditionalInformation)?;
        let reference = details::reference(self.text(Column::Reference)?).map(details::clean);
        let reference = reference
            .transpose()
            .map_err(|problem| self.wrong(Column::Reference, problem))?;
        Ok(Box::new(Entry {
            place: self.place(Column::BookingDate),
            is_booked: true,
            booking_date,
            reference: reference.flatten(),
            balance_after,
            omits_payments: false,
            details: Box::new(transaction),
        }))
    }
}

impl<R: BufRead> Source for Reader<R> {
    fn next(&mut self) -> Result<Option<Event>> {
        if let Some(entry) = self.next.take() {
            return Ok(Some(Event::Entry(entry)));
        }
        if !read(&mut self.rows, &mut self.row)? {
            if !self.has_rows {
                return Err(Place::new(1, ".").wrong("the file has a header and no rows"));
            }
            return Ok(None);
        }
        self.has_rows = true;
        let (currency, opened) = self.account()?;
        let entry = self.entry(currency)?;
        let Some(account) = opened else {
            return Ok(Some(Event::Entry(entry)));
        };
        let (number, code) = (self.text(Column::Account)?, self.text(Column::Currency)?);
        self.open = Some((number.to_owned(), code.to_owned(), currency));
        let balance = entry.balance_after;
        let amount = entry.details.transaction_amount;
        let opening = balance.map(|balance| balance.checked_add(&amount.opposite()));
        let opening = opening.transpose().map_err(|fault| {
            let problem = format!("the balance before it would be {fault}");
            self.wrong(Column::Balance, problem)
        })?;
        let statement = Statement {
            place: self.place(Column::Account),
            account,
            opening: opening.map(|amount| Stated {
                place: self.place(Column::Balance),
                amount,
                date: entry.booking_date,
            }),
            is_whole: false,
        };
        self.next = Some(entry);
        Ok(Some(Event::Open(Box::new(statement))))
    }
}

/// Reads a row. Returns whether there was one.
fn read<R: BufRead>(rows: &mut csv::Reader<Bounded<R>>, row: &mut ByteRecord) -> Result<bool> {
    rows.get_mut().allow(LONGEST_ROW + BUFFER);
    let read = rows.read_byte_record(row);
    let is_spent = rows.get_ref().is_spent();
    let line = rows.position().line();
    read.map_err(|error| match error.into_kind() {
        ErrorKind::Io(_) if is_spent => {
            Place::new(line, ".").wrong(format!("a row is longer than {LONGEST_ROW} bytes"))
        }
        ErrorKind::Io(error) => error.into(),
        ErrorKind::UnequalLengths {
            pos,
            expected_len,
            len,
        } => {
            let line = pos.map_or(line, |place| place.line());
            Place::new(line, ".").wrong(format!(
                "the row has {len} fields, and the header {expected_len}"
            ))
        }
        _ => Place::new(line, ".").wrong("not a row of CSV"),
    })
}

/// Index of each column.
fn columns(header: &ByteRecord) -> Result<Vec<Option<usize>>> {
    let header = StringRecord::from_byte_record(header.clone());
    let header = header.map_err(|_| Place::new(1, ".").wrong("not UTF-8"))?;
    let mut places = vec![None; Column::VARIANTS.len()];
    for (index, name) in header.iter().enumerate() {
        let Ok(column) = name.trim().parse::<Column>() else {
            let names: Vec<&str> = Column::VARIANTS
                .iter()
                .map(|column| column.name())
                .collect();
            return Err(Place::new(1, ".").wrong(format!(
                "column {} has no known name; these are known: {}",
                index + 1,
                names.join(", ")
            )));
        };
        let place = places.get_mut(column as usize);
        if place.and_then(|place| place.replace(index)).is_some() {
            return Err(Place::new(1, column.name()).wrong("two columns have this name"));
        }
    }
    for column in REQUIRED {
        if places.get(column as usize).copied().flatten().is_none() {
            return Err(Place::new(1, column.name()).wrong("the file needs this column"));
        }
    }
    Ok(places)
}
