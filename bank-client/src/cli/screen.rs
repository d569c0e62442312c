//! What is printed, and how: for people, or for programs.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, StdoutLock, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle,
};
use console::Term;
use serde::Serialize;
use shared_types::consent::ConsentInformation;
use shared_types::text::is_obeyed;
pub(super) use shared_types::text::plain;

use super::arguments::Form;
use super::failure::{BankFailure, Failure, failure};

const ALARM: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const STRONG: Style = Style::new().bold();

/// A line under the header, and no other.
const UNDERLINED: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

/// Where results go, and in what form.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    pub(super) format: Format,
    /// How wide tables may be; as wide as it takes, if absent.
    width: Option<u16>,
}

/// What can be listed.
pub(super) trait Listed: Serialize {
    /// The columns of a table.
    const COLUMNS: &'static [Column];
    /// The columns of CSV.
    const FIELDS: &'static [&'static str];

    /// A row of a table, a cell for each column. What comes from a bank need not be made plain.
    fn row(&self) -> Vec<String>;

    /// A row of CSV, a field for each column. Amounts and the like are [`Field::Own`].
    fn fields(&self) -> Vec<Field>;
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    amount: bool,
    /// It is left out where there is no room: JSON and CSV have it all the same.
    spare: bool,
}

impl Column {
    pub(super) const fn spare(mut self) -> Self {
        self.spare = true;
        self
    }
}

/// A column of text.
pub(super) const fn text(name: &'static str) -> Column {
    Column {
        name,
        amount: false,
        spare: false,
    }
}

/// A column of amounts: they stand under each other at their right end.
pub(super) const fn amount(name: &'static str) -> Column {
    Column {
        name,
        amount: true,
        spare: false,
    }
}

/// A field of CSV.
pub(super) enum Field {
    /// Text of a bank, or of whom it had it from.
    Foreign(String),
    /// What we have written ourselves, or read and found to be what it should be.
    Own(String),
    /// The whole item in JSON, as `--json` prints it: what has no column of its own is here.
    Whole,
}

impl Field {
    pub(super) fn foreign<T: ToString>(value: Option<&T>) -> Self {
        Self::Foreign(or_empty(value))
    }

    pub(super) fn own<T: ToString>(value: Option<&T>) -> Self {
        Self::Own(or_empty(value))
    }
}

pub(super) fn or_empty<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// JSON in which what a terminal would obey is escaped. It means the same.
fn plain_json(json: &str) -> String {
    json.chars()
        .fold(String::with_capacity(json.len()), |mut plain, character| {
            if is_obeyed(character) && character != '\n' {
                // Writing to a text does not fail.
                let _ = write!(plain, "\\u{:04x}", u32::from(character));
            } else {
                plain.push(character);
            }
            plain
        })
}

/// A field of CSV that no spreadsheet takes for a formula, and no part of it either: one that parts fields with something
/// else than commas knows nothing of our quotes.
fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut begins = true;
    for character in plain(text).chars() {
        if begins && is_formula(character) {
            harmless.push('\'');
        }
        begins = matches!(character, ',' | ';' | '|') || begins && character == ' ';
        harmless.push(character);
    }
    harmless
}

/// A field of CSV that is JSON: it means the same, and no part of it begins a formula.
fn harmless_json(json: &str) -> String {
    let mut harmless = String::with_capacity(json.len());
    let mut begins = false;
    for character in plain_json(json).chars() {
        if begins && is_formula(character) {
            // It is within a text: between the values of JSON stand no such characters.
            let _ = write!(harmless, "\\u{:04x}", u32::from(character));
        } else {
            harmless.push(character);
        }
        begins = matches!(character, ',' | ';' | '|') || begins && character == ' ';
    }
    harmless
}

/// Whether a formula begins so: the wide forms count in some countries' spreadsheets.
const fn is_formula(character: char) -> bool {
    matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠')
}

impl Screen {
    pub(super) fn new(form: &Form) -> Self {
        let format = match form {
            Form { json: true, .. } => Format::Json,
            Form { csv: true, .. } => Format::Csv,
            Form { .. } => Format::Table,
        };
        Self {
            format,
            width: width(),
        }
    }

    /// One value: JSON for programs, or a text for people.
    pub(super) fn value<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let printed = match self.format {
            Format::Json => plain_json(&serde_json::to_string_pretty(value).map_err(not_json)?),
            Format::Table => text(value).trim_end().to_owned(),
            Format::Csv => {
                return Err(failure(
                    "this is no list",
                    "leave --csv out, or take --json instead",
                ));
            }
        };
        Ok(writeln!(
            AutoStream::auto(io::stdout().lock()),
            "{printed}"
        )?)
    }

    /// A list.
    pub(super) fn list<L: Listed>(self, items: impl IntoIterator<Item = L>) -> Result<(), Failure> {
        let mut printer = self.printer();
        for item in items {
            printer.print(&item)?;
        }
        printer.finish()
    }

    /// A list whose items come one after the other.
    pub(super) fn printer<L: Listed>(self) -> Printer<L> {
        Printer {
            screen: self,
            out: AutoStream::auto(io::stdout().lock()),
            printed: 0,
            rows: Vec::new(),
            list: std::marker::PhantomData,
        }
    }

    /// A line for people: nothing where programs read.
    pub(super) fn line(self, line: impl Display) -> Result<(), Failure> {
        if self.format == Format::Table {
            let line = plain(&line.to_string());
            writeln!(AutoStream::auto(io::stdout().lock()), "{line}")?;
        }
        Ok(())
    }

    /// A table of these rows. Columns in which there is nothing are left out.
    pub(super) fn table(self, columns: &[Column], rows: Vec<Vec<String>>) -> String {
        let filled = |place: &usize| {
            let mut cells = rows.iter().filter_map(|row| row.get(*place));
            rows.is_empty() || cells.any(|cell| !cell.is_empty())
        };
        let mut shown: Vec<bool> = (0..columns.len()).map(|place| filled(&place)).collect();
        if let Some(width) = self.width {
            leave_out(columns, &rows, &mut shown, width.into());
        }
        let columns: Vec<Column> = only(columns.iter().copied(), &shown).collect();
        let mut table = Table::new();
        let header = columns
            .iter()
            .map(|column| Cell::new(column.name).add_attribute(Attribute::Bold));
        // Whether colours are printed is decided where all output passes.
        table
            .load_style(UNDERLINED)
            .enforce_styling()
            .set_header(header);
        if let Some(width) = self.width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        for row in rows {
            let cells = only(row.into_iter(), &shown).zip(&columns);
            table.add_row(cells.map(|(text, column)| cell(&text, *column)));
        }
        for (place, column) in columns.iter().enumerate() {
            if column.amount
                && let Some(column) = table.column_mut(place)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }
}

/// Leaves spare columns out, the last first, until the rest has room.
fn leave_out(columns: &[Column], rows: &[Vec<String>], shown: &mut [bool], room: usize) {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let cells = rows.iter().filter_map(|row| row.get(place));
            let lines = cells.flat_map(|cell| cell.lines()).chain([column.name]);
            // A blank at either side, and one in between.
            lines.map(console::measure_text_width).max().unwrap_or(0) + 3
        })
        .collect();
    for place in (0..columns.len()).rev() {
        let wide: usize = only(widths.iter(), shown).sum();
        if wide <= room {
            return;
        }
        if let (Some(column), Some(shown)) = (columns.get(place), shown.get_mut(place))
            && column.spare
        {
            *shown = false;
        }
    }
}

/// Those that are shown.
fn only<T>(all: impl Iterator<Item = T>, shown: &[bool]) -> impl Iterator<Item = T> {
    all.zip(shown)
        .filter(|(_, shown)| **shown)
        .map(|(one, _)| one)
}

/// A consent, as the bank tells it.
pub(super) fn consent_table(screen: Screen, consent: &ConsentInformation) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("status", consent.consent_status.to_string());
    row("last day", or_empty(consent.valid_until.as_ref()));
    row("reads a day", or_empty(consent.frequency_per_day.as_ref()));
    let recurring = consent.recurring_indicator;
    let recurring = recurring.map(|recurring| if recurring { "yes" } else { "no" });
    row("recurring", or_empty(recurring.as_ref()));
    row("last action", or_empty(consent.last_action_date.as_ref()));
    let access = &consent.access;
    let lists = [
        ("accounts", &access.accounts),
        ("balances", &access.balances),
        ("transactions", &access.transactions),
    ];
    for (name, references) in lists {
        let numbers = references.iter().flatten().map(|reference| {
            let iban = reference.iban.as_ref().map(ToString::to_string);
            let pan = || reference.masked_pan.as_ref().map(ToString::to_string);
            iban.or_else(pan).unwrap_or_default()
        });
        let numbers: Vec<String> = numbers.collect();
        if !numbers.is_empty() {
            row(name, numbers.join("\n"));
        }
    }
    if access.all_psd2.is_some() {
        row("accounts", "all".to_owned());
    }
    screen.table(&[text("consent"), text("")], rows)
}

/// Each line is made plain; what is owed is red.
fn cell(text: &str, column: Column) -> Cell {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    let cell = Cell::new(lines.join("\n"));
    if column.amount && text.starts_with('-') {
        cell.fg(Color::Red)
    } else {
        cell
    }
}

/// How wide tables may be.
fn width() -> Option<u16> {
    let told = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let terminal = || Term::stdout().size_checked().map(|(_, columns)| columns);
    told.or_else(terminal).filter(|columns| *columns > 0)
}

fn not_json(error: serde_json::Error) -> Failure {
    failure(error, "tell the makers of bank-client")
}

/// Prints a list item by item. Of a table, so many rows are held back and no more.
pub(super) struct Printer<L> {
    screen: Screen,
    out: AutoStream<StdoutLock<'static>>,
    printed: usize,
    rows: Vec<Vec<String>>,
    list: std::marker::PhantomData<fn(L)>,
}

/// Rows of one table; a longer list is several.
const ROWS: usize = 200;

impl<L: Listed> Printer<L> {
    pub(super) fn print(&mut self, item: &L) -> Result<(), Failure> {
        match self.screen.format {
            Format::Json => {
                let json = plain_json(&serde_json::to_string(item).map_err(not_json)?);
                let before = if self.printed == 0 { "[\n" } else { ",\n" };
                write!(self.out, "{before}{json}")?;
            }
            Format::Csv => {
                if self.printed == 0 {
                    self.head()?;
                }
                let fields = item.fields().into_iter().map(|field| match field {
                    Field::Foreign(text) => Ok(harmless(&text)),
                    Field::Own(text) => Ok(plain(&text)),
                    Field::Whole => serde_json::to_string(item).map(|json| harmless_json(&json)),
                });
                let fields: Result<Vec<_>, _> = fields.collect();
                record(&mut self.out, fields.map_err(not_json)?.into_iter())?;
            }
            Format::Table => {
                self.rows.push(item.row());
                if self.rows.len() >= ROWS {
                    self.table()?;
                }
            }
        }
        self.printed += 1;
        Ok(())
    }

    /// Prints what is left, and the end.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match self.screen.format {
            Format::Json if self.printed == 0 => writeln!(self.out, "[]")?,
            Format::Json => writeln!(self.out, "\n]")?,
            Format::Csv if self.printed == 0 => self.head()?,
            Format::Csv => {}
            Format::Table => {
                if !self.rows.is_empty() || self.printed == 0 {
                    self.table()?;
                }
            }
        }
        Ok(self.out.flush()?)
    }

    /// The same, but where there is nothing, people are shown nothing.
    pub(super) fn finish_some(self) -> Result<(), Failure> {
        if self.screen.format == Format::Table && self.printed == 0 {
            return Ok(());
        }
        self.finish()
    }

    fn head(&mut self) -> io::Result<()> {
        record(
            &mut self.out,
            L::FIELDS.iter().map(|name| (*name).to_owned()),
        )
    }

    fn table(&mut self) -> io::Result<()> {
        let table = self
            .screen
            .table(L::COLUMNS, std::mem::take(&mut self.rows));
        writeln!(self.out, "{table}")
    }
}

fn record(out: &mut impl Write, fields: impl Iterator<Item = String>) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(fields)?;
    writer.flush()
}

/// Tells what failed, on standard error.
pub(crate) fn tell(trouble: &BankFailure) {
    let mut out = anstream::stderr().lock();
    let BankFailure { cause, advice, .. } = trouble;
    let advice = plain(advice);
    // If standard error is closed, the exit code still tells.
    let _ = writeln!(
        out,
        "{ALARM}error{ALARM:#}: {cause}\n  {STRONG}to do{STRONG:#}: {advice}"
    );
}

/// Tells something in passing, on standard error. Each of its lines is made plain.
pub(super) fn note(text: impl Display) {
    let mut out = anstream::stderr().lock();
    for line in text.to_string().lines() {
        let _ = writeln!(out, "{}", plain(line));
    }
}

/// Whether somebody sits there who can be asked.
pub(super) fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_that_a_bank_says() {
        let json = plain_json(&serde_json::to_string("\u{9b}\u{7f}\u{202e}é\n").unwrap());
        assert_eq!(json, r#""\u009b\u007f\u202eé\n""#);
        assert_eq!(
            serde_json::from_str::<String>(&json).unwrap(),
            "\u{9b}\u{7f}\u{202e}é\n"
        );
    }

    #[test]
    fn a_spreadsheet_takes_no_text_of_a_bank_for_a_formula() {
        for (text, expected) in [
            ("=HYPERLINK(\"x\")", "'=HYPERLINK(\"x\")"),
            ("+49", "'+49"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2+3", "'-2+3"),
            ("  =1", "  '=1"),
            ("\t=1", " '=1"),
            ("＝1", "'＝1"),
            ("Shop;=1", "Shop;'=1"),
            ("Shop, @A1|-2", "Shop, '@A1|'-2"),
            ("Rent = 2", "Rent = 2"),
            ("Meier-Huber", "Meier-Huber"),
        ] {
            assert_eq!(harmless(text), expected);
        }
    }

    #[test]
    fn json_in_csv_means_the_same_and_begins_no_formula() {
        for text in [
            "=1",
            "a;=1",
            "a, -2|@A1",
            "a;＝1",
            "Rent = 2",
            "\u{202e}\n;+1",
            "\"},{\";=1",
        ] {
            let value = serde_json::json!({ "a": text, "b": [{ "c": -1 }, "-2"], "d": "x" });
            let json = harmless_json(&value.to_string());
            let back: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(back, value);
            assert_eq!(harmless(&json), json, "{text}");
        }
    }

    #[test]
    fn what_has_no_room_is_left_out_and_the_rest_is_whole() {
        let columns = [
            text("bank"),
            text("id").spare(),
            amount("amount"),
            text("course").spare(),
        ];
        let row = ["bank-b", "571aface-719e-45ed", "1.00 EUR", "▁▅▅█"];
        let table = |width| {
            let screen = Screen {
                format: Format::Table,
                width: Some(width),
            };
            let rows = vec![row.map(str::to_owned).to_vec()];
            let table = screen.table(&columns, rows);
            anstream::adapter::strip_str(&table).to_string()
        };
        for (width, left_out) in [
            (80, [false, false]),
            (45, [false, true]),
            (25, [true, true]),
        ] {
            let table = table(width);
            let missing = [row[1], row[3]].map(|cell| !table.contains(cell));
            assert_eq!(missing, left_out, "{width}: {table}");
            assert!(
                table.contains(" bank-b ") && table.contains(" 1.00 EUR "),
                "{table}"
            );
        }
    }

    #[test]
    fn tables_fit_where_they_are_printed() {
        let screen = |width| Screen {
            format: Format::Table,
            width,
        };
        let columns = [text("name"), amount("amount")];
        let long = "a very long name indeed ".repeat(5);
        let rows = || vec![vec![long.clone(), "-1.00 EUR".to_owned()]];
        for width in [30, 60] {
            let table = anstream::adapter::strip_str(&screen(Some(width)).table(&columns, rows()))
                .to_string();
            let widest = table.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.into()), "{table}");
        }
        assert!(
            screen(None)
                .table(&columns, rows())
                .contains(long.trim_end())
        );
    }
}
