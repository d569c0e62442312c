//! Reader of MT940: the customer statement message of SWIFT.
//!
//! Strict in what moves money (fields 25, 28C, 60, 61, 62), and tolerant around it: envelope blocks
//! (`{1:...}{4:`), headers of banks between messages, `-` or a new `:20:` as the end of a message,
//! free text in field 86. Its German structure (`?20` and so on) and the keywords of SEPA in it are
//! read.

use std::collections::VecDeque;
use std::io::BufRead;

use chrono::{Datelike as _, NaiveDate};
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::money::{Amount, Currency};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::Transaction;

use super::amounts::{self, DecimalSign};
use super::details::{self, Party};
use super::lines::Lines;
use super::{Entry, Event, Place, Source, Stated, Statement};
use crate::core_banking::ledger::import::Result;

/// Most lines of one field. The standard has six in field 86.
const MAX_LINES: usize = 100;

/// Most lines of a bank's own header before a message.
const MAX_HEADER: usize = 50;

/// One field of a message.
#[derive(Debug)]
struct Field {
    line: u64,
    tag: String,
    /// Its first line without the tag, and the further ones.
    lines: Vec<String>,
}

impl Field {
    fn first(&self) -> &str {
        self.lines.first().map_or("", String::as_str).trim_end()
    }
}

/// An entry whose field 86 has not come yet.
#[derive(Debug)]
struct Pending(Box<Entry>, Kind);

/// The identification of an entry's type in field 61, such as `NTRF`.
type Kind = String;

/// Part of the message that was read last.
#[derive(Debug)]
enum Part {
    /// Before the account's number.
    Start,
    /// The account's number is known.
    Account(Place, String),
    /// The opening balance is known, in this currency.
    Entries(Currency, Option<Pending>),
    /// After the closing balance.
    Closed,
}

/// Result of reading on.
enum Piece {
    Field(Field),
    EndOfMessage,
    EndOfFile,
}

/// Reader of a file of messages.
pub(super) struct Reader<R> {
    lines: Lines<R>,
    /// A line that was read, and belongs to the next field.
    next_line: Option<(u64, String)>,
    part: Part,
    events: VecDeque<Event>,
    /// Whether a message is open, and whether any was.
    is_open: bool,
    has_message: bool,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(text: R) -> Self {
        Self {
            lines: Lines::new(text),
            next_line: None,
            part: Part::Start,
            events: VecDeque::new(),
            is_open: false,
            has_message: false,
        }
    }

    fn line(&mut self) -> Result<Option<(u64, String)>> {
        if let Some(line) = self.next_line.take() {
            return Ok(Some(line));
        }
        let line = self.lines.next()?;
        Ok(line.map(|line| (self.lines.line(), line)))
    }

    /// The next field, or the end of the message or of the file.
    fn piece(&mut self) -> Result<Piece> {
        let mut header = 0;
        let (line, tag, first) = loop {
            let Some((line, text)) = self.line()? else {
                return Ok(Piece::EndOfFile);
            };
            let text = without_envelope(&text);
            if let Some((tag, content)) = tag_of(text) {
                break (line, tag.to_owned(), content.to_owned());
            }
            if self.is_open && is_end(text) {
                return Ok(Piece::EndOfMessage);
            }
            let place = Place::new(line, ".");
            if self.is_open && !text.trim().is_empty() {
                return Err(place.wrong("not a field such as :61:"));
            }
            if text.starts_with(':') && text.trim_end() != ":940:" {
                return Err(place.wrong("not a field such as :20:"));
            }
            header += 1;
            if header > MAX_HEADER {
                let problem = format!("no message starts within {MAX_HEADER} lines");
                return Err(place.wrong(problem));
            }
        };
        let mut lines = vec![first];
        while let Some((line, text)) = self.line()? {
            if is_end(&text) || text.starts_with("{1:") || tag_of(&text).is_some() {
                self.next_line = Some((line, text));
                break;
            }
            if lines.len() >= MAX_LINES {
                let problem = format!("a field has at most {MAX_LINES} lines");
                return Err(Place::new(line, ".").wrong(problem));
            }
            if !text.trim().is_empty() {
                lines.push(text);
            }
        }
        Ok(Piece::Field(Field { line, tag, lines }))
    }

    fn take(&mut self, field: &Field) -> Result<()> {
        let tag = field.tag.as_str();
        let part = std::mem::replace(&mut self.part, Part::Start);
        self.part = match (tag, part) {
            ("20", Part::Start) if !self.is_open => {
                self.is_open = true;
                self.has_message = true;
                Part::Start
            }
            ("25" | "25P", Part::Start) if self.is_open => {
                let place = Place::new(field.line, ":25:");
                Part::Account(place, field.first().trim().to_owned())
            }
            ("60F" | "60M", Part::Account(place, number)) => self.open(place, &number, field)?,
            ("61", Part::Entries(currency, pending)) => {
                self.finish(pending);
                Part::Entries(currency, Some(entry(field, currency)?))
            }
            ("86", Part::Entries(currency, Some(Pending(mut entry, kind)))) => {
                describe(&mut entry, &kind, field)?;
                self.events.push_back(Event::Entry(entry));
                Part::Entries(currency, None)
            }
            ("62F" | "62M", Part::Entries(currency, pending)) => {
                self.finish(pending);
                let (of_balance, stated) = balance(field, ":62F:")?;
                if of_balance != currency {
                    let problem = "not the currency of the opening balance";
                    return Err(stated.place.wrong(problem));
                }
                self.events.push_back(Event::Close(stated));
                Part::Closed
            }
            // Information about the whole statement, available balances, and what banks add.
            ("64" | "65" | "86", part @ Part::Closed)
            | ("13" | "13D" | "21" | "28" | "28C" | "NS", part) => part,
            ("34F" | "90C" | "90D", _) => {
                let problem = "an MT942 report: entries are imported from MT940 statements";
                return Err(Place::new(field.line, ".").wrong(problem));
            }
            (_, part) => return Err(misplaced(field, &part, self.is_open)),
        };
        Ok(())
    }

    fn open(&mut self, place: Place, number: &str, field: &Field) -> Result<Part> {
        let (currency, opening) = balance(field, ":60F:")?;
        let account: AccountDetails =
            details::account(number, currency).map_err(|problem| place.wrong(problem))?;
        self.events.push_back(Event::Open(Box::new(Statement {
            place,
            account,
            opening: Some(opening),
            is_whole: true,
        })));
        Ok(Part::Entries(currency, None))
    }

    fn finish(&mut self, pending: Option<Pending>) {
        if let Some(Pending(entry, _)) = pending {
            self.events.push_back(Event::Entry(entry));
        }
    }

    /// Ends the open message.
    fn end(&mut self) -> Result<()> {
        let part = std::mem::replace(&mut self.part, Part::Start);
        if self.is_open && !matches!(part, Part::Closed) {
            let place = Place::new(self.lines.line(), ":62F:");
            return Err(place.wrong("the statement ends without its closing balance"));
        }
        self.is_open = false;
        Ok(())
    }
}

impl<R: BufRead> Source for Reader<R> {
    fn next(&mut self) -> Result<Option<Event>> {
        while self.events.is_empty() {
            match self.piece()? {
                Piece::Field(field) => {
                    // Some banks end a message with the start of the next one.
                    if field.tag == "20" && matches!(self.part, Part::Closed) {
                        self.end()?;
                    }
                    self.take(&field)?;
                }
                Piece::EndOfMessage => self.end()?,
                Piece::EndOfFile => {
                    self.end()?;
                    if !self.has_message {
                        return Err(Place::new(1, ".").wrong("no message starts with :20:"));
                    }
                    return Ok(None);
                }
            }
        }
        Ok(self.events.pop_front())
    }
}

/// Whether a message ends with this line.
fn is_end(line: &str) -> bool {
    line.trim_end() == "-" || line.starts_with("-}")
}

/// The line without blocks of the envelope: what stands behind `{4:`.
fn without_envelope(line: &str) -> &str {
    if !line.starts_with('{') && !line.starts_with("-}") {
        return line;
    }
    match line.rsplit_once("{4:") {
        Some((_, text)) => text,
        // The end of a message comes before the envelope of the next one.
        None if line.starts_with("-}") => "-",
        None => "",
    }
}

/// The tag at the start of a line, and what stands behind it: `:61:`, `:28C:`, `:NS:`.
fn tag_of(line: &str) -> Option<(&str, &str)> {
    let (tag, content) = line.strip_prefix(':')?.split_once(':')?;
    let mut letters = tag.bytes();
    let is_tag = match (
        letters.next(),
        letters.next(),
        letters.next(),
        letters.next(),
    ) {
        (Some(one), Some(two), None, None) => {
            (one.is_ascii_digit() && two.is_ascii_digit()) || tag == "NS"
        }
        (Some(one), Some(two), Some(three), None) => {
            one.is_ascii_digit() && two.is_ascii_digit() && three.is_ascii_uppercase()
        }
        _ => false,
    };
    is_tag.then_some((tag, content))
}

fn misplaced(field: &Field, part: &Part, is_open: bool) -> super::ImportError {
    let expected = match part {
        _ if !is_open => ":20:",
        Part::Start => ":25:",
        Part::Account(..) => ":60F:",
        Part::Entries(..) => ":61: or :62F:",
        Part::Closed => ":64:, :65:, :86: or the end of the message",
    };
    let problem = format!(
        "the field :{}: does not stand here: {expected} does",
        field.tag
    );
    Place::new(field.line, ".").wrong(problem)
}

/// A balance: `C140331EUR1234,56`.
fn balance(field: &Field, name: &'static str) -> Result<(Currency, Stated)> {
    const FORM: &str = "a balance is a mark, a date, a currency and an amount: C261124EUR1234,56";

    let place = Place::new(field.line, name);
    let parts = || {
        let text = field.first().trim_end();
        Some((
            text.get(..1)?,
            text.get(1..7)?,
            text.get(7..10)?,
            text.get(10..)?,
        ))
    };
    let (mark, day, code, amount) = parts().ok_or_else(|| place.wrong(FORM))?;
    let date = date(day).ok_or_else(|| place.wrong("not a date: six digits, YYMMDD"))?;
    let currency = amounts::currency(code).map_err(|problem| place.wrong(problem))?;
    let amount = amounts::amount(amount, DecimalSign::Comma, currency);
    let amount: Amount = amount.map_err(|problem| place.wrong(problem))?;
    let amount = match mark {
        "C" => amount,
        "D" => amount.opposite(),
        _ => return Err(place.wrong("neither C nor D is before the date")),
    };
    let stated = Stated {
        place,
        amount,
        date,
    };
    Ok((currency, stated))
}

/// Six digits: years from 80 on are of the twentieth century.
fn date(text: &str) -> Option<NaiveDate> {
    let year = text.get(..2)?;
    let century = if year < "80" { "20" } else { "19" };
    amounts::date(
        &format!("{century}{year}"),
        text.get(2..4)?,
        text.get(4..6)?,
    )
}

/// The date of that month and day which is nearest to another date: an entry of the second of
/// January can have a value date in December.
fn nearest(month_and_day: &str, to: NaiveDate) -> Option<NaiveDate> {
    let (month, day) = (month_and_day.get(..2)?, month_and_day.get(2..)?);
    let years = [to.year(), to.year() - 1, to.year() + 1];
    let dates = years.iter();
    let dates = dates.filter_map(|year| amounts::date(&year.to_string(), month, day));
    dates.min_by_key(|date| (*date - to).abs())
}

/// The parts of field 61.
#[derive(Debug)]
struct EntryLine<'a> {
    value_date: NaiveDate,
    booking_date: NaiveDate,
    amount: Amount,
    is_reversal: bool,
    kind: &'a str,
    customer_reference: &'a str,
    bank_reference: &'a str,
}

fn entry_line(text: &str, place: Place, currency: Currency) -> Result<EntryLine<'_>> {
    let wrong = |problem: &str| place.wrong(problem);
    let value_date = text.get(..6).and_then(date);
    let value_date = value_date.ok_or_else(|| wrong("no value date: six digits, YYMMDD"))?;
    let rest = text.get(6..).unwrap_or_default();
    let is_digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (booking_date, rest) = match rest.get(..4).filter(is_digits) {
        Some(day) => {
            let date = nearest(day, value_date);
            let date = date.ok_or_else(|| wrong("not a booking date: four digits, MMDD"))?;
            (date, rest.get(4..).unwrap_or_default())
        }
        None => (value_date, rest),
    };
    let marks = [
        ("RC", true, true),
        ("RD", false, true),
        ("C", false, false),
        ("D", true, false),
    ];
    let mark = marks.iter().find(|(mark, ..)| rest.starts_with(mark));
    let Some((mark, is_debit, is_reversal)) = mark else {
        let problem = if rest.starts_with("EC") || rest.starts_with("ED") {
            "an expected entry is not booked: leave it out"
        } else {
            "no mark C, D, RC or RD behind the dates"
        };
        return Err(wrong(problem));
    };
    let rest = rest.get(mark.len()..).unwrap_or_default();
    // The third letter of the currency.
    let without = rest.strip_prefix(|letter: char| letter.is_ascii_alphabetic());
    let rest = without.unwrap_or(rest);
    let end = rest.find(|letter: char| letter.is_ascii_alphabetic());
    let (amount, rest) = rest.split_at(end.unwrap_or(rest.len()));
    let amount = amounts::amount(amount, DecimalSign::Comma, currency);
    let amount = amount.map_err(|problem| place.wrong(problem))?;
    let kind = rest.get(..4).filter(|kind| {
        kind.starts_with(['S', 'N', 'F']) && kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    let kind = kind.ok_or_else(|| wrong("no type behind the amount, such as NTRF"))?;
    let references = rest.get(4..).unwrap_or_default();
    let (customer_reference, bank_reference) =
        references.split_once("//").unwrap_or((references, ""));
    Ok(EntryLine {
        value_date,
        booking_date,
        amount: if *is_debit { amount.opposite() } else { amount },
        is_reversal: *is_reversal,
        kind,
        customer_reference,
        bank_reference,
    })
}

fn entry(field: &Field, currency: Currency) -> Result<Pending> {
    let place = Place::new(field.line, ":61:");
    let line = entry_line(field.first(), place, currency)?;
    let wrong = |problem: &'static str| place.wrong(problem);
    let mut transaction = Transaction::of(line.amount);
    transaction.value_date = Some(line.value_date);
    if let Some(reference) = details::reference(line.customer_reference) {
        let reference = details::cut(reference).map_err(wrong)?;
        if line.kind == "NCHK" {
            transaction.check_id = reference;
        } else {
            transaction.end_to_end_id = reference;
        }
    }
    let further = field.lines.get(1..).unwrap_or_default().join(" ");
    let additional = [if line.is_reversal { "Reversal" } else { "" }, &further];
    let additional = details::clean(&additional.join(" ")).map_err(wrong)?;
    transaction.additional_information = additional.map(|text| Text::cut(&text));
    transaction.proprietary_bank_transaction_code = Some(Text::cut(line.kind));
    let reference = details::reference(line.bank_reference);
    let reference = reference.map(details::clean).transpose().map_err(wrong)?;
    let entry = Entry {
        place,
        is_booked: true,
        booking_date: line.booking_date,
        reference: reference.flatten(),
        balance_after: None,
        omits_payments: false,
        details: Box::new(transaction),
    };
    Ok(Pending(Box::new(entry), line.kind.to_owned()))
}

/// Reads field 86 of an entry.
fn describe(entry: &mut Entry, kind: &str, field: &Field) -> Result<()> {
    let place = Place::new(field.line, ":86:");
    let joined = field.lines.concat();
    if let Some(structured) = Structured::of(&joined) {
        let described = structured.describe(&mut entry.details, kind);
        return described.map_err(|problem| place.wrong(problem));
    }
    let lines = field.lines.iter().map(|line| details::clean(line));
    let lines: Result<Vec<_>, _> = lines.collect();
    let lines = lines.map_err(|problem| place.wrong(problem))?;
    let lines: Vec<String> = lines.into_iter().flatten().collect();
    details::set_remittance(&mut entry.details, &lines);
    Ok(())
}

/// Field 86 as German banks structure it: a code of three digits, then subfields with a sign and
/// two digits before each.
#[derive(Debug)]
struct Structured<'a> {
    code: &'a str,
    subfields: Vec<(u32, &'a str)>,
}

impl<'a> Structured<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (code, rest) = (text.get(..3)?, text.get(3..)?);
        let sign = rest.chars().next()?;
        let is_sign = !sign.is_alphanumeric() && !sign.is_whitespace() && sign != '/';
        if !code.bytes().all(|byte| byte.is_ascii_digit()) || !is_sign {
            return None;
        }
        let mut subfields: Vec<(u32, &str)> = Vec::new();
        let mut rest = rest;
        while let Some((key, content)) = key_of(rest, sign) {
            let end = content.match_indices(sign);
            let end = end
                .map(|(at, _)| at)
                .find(|at| key_of(content.get(*at..).unwrap_or_default(), sign).is_some());
            let (content, further) = content.split_at(end.unwrap_or(content.len()));
            subfields.push((key, content));
            rest = further;
        }
        (!subfields.is_empty()).then_some(Self { code, subfields })
    }

    /// The subfields of some keys.
    fn all(&self, keys: impl Fn(u32) -> bool) -> Vec<&'a str> {
        let all = self.subfields.iter();
        let all = all.filter(|(key, _)| keys(*key));
        all.map(|(_, content)| *content).collect()
    }

    fn one(&self, key: u32) -> Option<&'a str> {
        self.all(|other| other == key).first().copied()
    }

    fn describe(&self, entry: &mut Transaction, kind: &str) -> Result<(), &'static str> {
        let code = match self.one(10).map(str::trim) {
            Some(number) if !number.is_empty() => format!("{kind}+{}+{number}", self.code),
            _ => format!("{kind}+{}", self.code),
        };
        entry.proprietary_bank_transaction_code = details::cut(&code)?;
        if let Some(posting) = self.one(0).map(details::clean).transpose()?.flatten() {
            let before = entry.additional_information.take();
            let before = before.map(|text| format!("{text} ")).unwrap_or_default();
            entry.additional_information = Some(Text::cut(&format!("{before}{posting}")));
        }
        let lines = self.all(|key| matches!(key, 20..=29 | 60..=63));
        let text = lines.concat();
        let keywords = keywords(&text);
        let find = |key: &str| {
            let found = keywords.iter().find(|(other, _)| *other == key);
            found.map(|(_, content)| *content)
        };
        let remittance: Vec<String> = if keywords.iter().all(|(key, _)| key.is_empty()) {
            lines.iter().map(|line| (*line).to_owned()).collect()
        } else {
            let texts = keywords.iter();
            let texts = texts.filter(|(key, _)| matches!(*key, "" | "SVWZ"));
            texts.map(|(_, text)| (*text).to_owned()).collect()
        };
        let remittance = remittance.iter().map(|line| details::clean(line));
        let remittance: Vec<Option<String>> = remittance.collect::<Result<_, _>>()?;
        let remittance: Vec<String> = remittance.into_iter().flatten().collect();
        details::set_remittance(entry, &remittance);
        if let Some(reference) = find("EREF").and_then(details::reference) {
            entry.end_to_end_id = details::cut(reference)?;
        }
        if let Some(mandate) = find("MREF").and_then(details::reference) {
            entry.mandate_id = details::cut(mandate)?;
        }
        if let Some(creditor) = find("CRED").and_then(details::reference) {
            entry.creditor_id = details::cut(creditor)?;
        }
        entry.ultimate_debtor = find("ABWA").map(details::cut).transpose()?.flatten();
        entry.ultimate_creditor = find("ABWE").map(details::cut).transpose()?.flatten();
        let name = self.all(|key| matches!(key, 32 | 33)).concat();
        let agent = find("BIC").or_else(|| self.one(30)).map(details::cut);
        let account = find("IBAN").or_else(|| self.one(31));
        Party {
            name: details::cut(&name)?,
            account: account.and_then(details::account_reference),
            agent: agent.transpose()?.flatten(),
        }
        .set(entry);
        Ok(())
    }
}

/// The key of a subfield, and what stands behind it.
fn key_of(text: &str, sign: char) -> Option<(u32, &str)> {
    let rest = text.strip_prefix(sign)?;
    let key = rest.get(..2)?;
    let is_key = key.bytes().all(|byte| byte.is_ascii_digit());
    let key = is_key.then(|| key.parse().ok()).flatten()?;
    Some((key, rest.get(2..)?))
}

/// The keywords of SEPA in remittance information, with their contents. What stands before the
/// first has the empty keyword.
fn keywords(text: &str) -> Vec<(&str, &str)> {
    const KEYWORDS: [&str; 12] = [
        "EREF", "KREF", "MREF", "CRED", "DEBT", "COAM", "OAMT", "SVWZ", "ABWA", "ABWE", "IBAN",
        "BIC",
    ];

    let mut found: Vec<(usize, &str)> = Vec::new();
    for (at, _) in text.match_indices('+') {
        let before = text.get(..at).unwrap_or_default();
        let keyword = KEYWORDS.iter().find(|keyword| before.ends_with(*keyword));
        if let Some(keyword) = keyword {
            found.push((at - keyword.len(), keyword));
        }
    }
    let mut contents = Vec::new();
    let first = found.first().map_or(text.len(), |(start, _)| *start);
    contents.push(("", text.get(..first).unwrap_or_default()));
    for (index, (start, keyword)) in found.iter().enumerate() {
        let end = found.get(index + 1).map_or(text.len(), |(next, _)| *next);
        let start = start + keyword.len() + 1;
        contents.push((keyword, text.get(start..end).unwrap_or_default().trim()));
    }
    contents
}
