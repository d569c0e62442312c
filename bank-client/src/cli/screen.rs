//! Output as tables, JSON or CSV, with terminal escapes and spreadsheet formulas neutralised.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, StdoutLock, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle,
};
use console::Term;
use serde::Serialize;
use shared_types::xs2a::consent::ConsentInformation;
use shared_types::xs2a::text::is_obeyed;
pub(super) use shared_types::xs2a::text::plain;

use super::arguments::OutputArgs;
use super::failure::{Diagnostic, Failure, failure};

const ERROR_STYLE: Style = Style::new()
    .bold()
    .fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red)));
const BOLD: Style = Style::new().bold();

/// Table style with one line, under the header.
const UNDERLINED: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

/// Standard output with its format and width.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    pub(super) format: Format,
    /// Maximum width of tables; unlimited if absent.
    width: Option<u16>,
}

/// Columns of a table, each with the cell of a row. The printer escapes control characters.
pub(super) type Columns<L> = &'static [(Column, fn(&L) -> String)];

/// Columns of CSV, each with the field of a record.
pub(super) type Fields<L> = &'static [(&'static str, fn(&L) -> Field)];

/// An item of a list, printable as a table row, a CSV record or JSON.
pub(super) trait ListRow: Serialize + Sized + 'static {
    const COLUMNS: Columns<Self>;
    const FIELDS: Fields<Self>;
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    name: &'static str,
    is_amount: bool,
    /// Hidden if the table is too wide; JSON and CSV always have it.
    is_optional: bool,
}

impl Column {
    pub(super) const fn optional(mut self) -> Self {
        self.is_optional = true;
        self
    }
}

/// A column of text.
pub(super) const fn text(name: &'static str) -> Column {
    Column {
        name,
        is_amount: false,
        is_optional: false,
    }
}

/// A column of amounts, aligned right.
pub(super) const fn amount(name: &'static str) -> Column {
    Column {
        name,
        is_amount: true,
        is_optional: false,
    }
}

/// A field of CSV.
pub(super) enum Field {
    /// Text from a bank.
    Untrusted(String),
    /// Our own text, or a validated value: amounts and the like.
    Trusted(String),
    /// The whole item as JSON, as `--json` prints it.
    Json,
}

impl Field {
    pub(super) fn untrusted(value: &(impl ToString + ?Sized)) -> Self {
        Self::Untrusted(value.to_string())
    }

    pub(super) fn trusted(value: &(impl ToString + ?Sized)) -> Self {
        Self::Trusted(value.to_string())
    }
}

/// The text of an optional value.
pub(super) fn or_empty<T: Display>(value: impl IntoIterator<Item = T>) -> String {
    value.into_iter().map(|value| value.to_string()).collect()
}

/// Escapes terminal control characters in JSON. The value stays the same.
fn escape_json(json: &str) -> String {
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

/// Escapes a CSV field so that no spreadsheet evaluates it, or a part of it, as a formula. A part
/// counts because a spreadsheet set to another separator ignores our quotes.
fn escape_formulas(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    let mut at_start = true;
    for character in plain(text).chars() {
        if at_start && is_formula(character) {
            harmless.push('\'');
        }
        at_start = matches!(character, ',' | ';' | '|') || at_start && character == ' ';
        harmless.push(character);
    }
    harmless
}

/// Escapes JSON in a CSV field so that no part begins a formula. The value stays the same.
fn escape_json_for_csv(json: &str) -> String {
    let mut harmless = String::with_capacity(json.len());
    let mut at_start = false;
    for character in escape_json(json).chars() {
        if at_start && is_formula(character) {
            // This is inside a JSON string: outside strings these characters cannot follow.
            let _ = write!(harmless, "\\u{:04x}", u32::from(character));
        } else {
            harmless.push(character);
        }
        at_start = matches!(character, ',' | ';' | '|') || at_start && character == ' ';
    }
    harmless
}

/// Whether a spreadsheet reads a field that starts with this character as a formula. Some also read
/// the full-width forms.
const fn is_formula(character: char) -> bool {
    matches!(character, '=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠')
}

impl Screen {
    pub(super) fn new(output: &OutputArgs) -> Self {
        let format = match output {
            OutputArgs { json: true, .. } => Format::Json,
            OutputArgs { csv: true, .. } => Format::Csv,
            OutputArgs { .. } => Format::Table,
        };
        Self {
            format,
            width: width(),
        }
    }

    /// Prints one value, as JSON or as text.
    pub(super) fn value<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let printed = match self.format {
            Format::Json => escape_json(&serde_json::to_string_pretty(value).map_err(not_json)?),
            Format::Table => text(value).trim_end().to_owned(),
            Format::Csv => {
                return Err(failure(
                    "CSV is for lists only",
                    "leave --csv out, or take --json instead",
                ));
            }
        };
        Ok(writeln!(
            AutoStream::auto(io::stdout().lock()),
            "{printed}"
        )?)
    }

    /// Prints a list.
    pub(super) fn list<L: ListRow>(
        self,
        items: impl IntoIterator<Item = L>,
    ) -> Result<(), Failure> {
        let mut printer = self.printer();
        for item in items {
            printer.print(&item)?;
        }
        printer.finish()
    }

    /// A printer for a list whose items arrive one after the other.
    pub(super) fn printer<L: ListRow>(self) -> Printer<L> {
        Printer {
            screen: self,
            out: AutoStream::auto(io::stdout().lock()),
            printed: 0,
            rows: Vec::new(),
            left_out: Vec::new(),
            list: std::marker::PhantomData,
        }
    }

    /// Prints a line; nothing if the format is JSON or CSV.
    pub(super) fn line(self, line: impl Display) -> Result<(), Failure> {
        if self.format == Format::Table {
            let line = plain(&line.to_string());
            writeln!(AutoStream::auto(io::stdout().lock()), "{line}")?;
        }
        Ok(())
    }

    /// Formats rows as a table, without empty columns. Returns the names of the columns too for
    /// which there is no room.
    fn table(self, columns: &[Column], rows: Vec<Vec<String>>) -> (String, Vec<&'static str>) {
        let is_filled = |index: &usize| {
            let mut cells = rows.iter().filter_map(|row| row.get(*index));
            rows.is_empty() || cells.any(|cell| !cell.is_empty())
        };
        let mut shown: Vec<bool> = (0..columns.len()).map(|index| is_filled(&index)).collect();
        let mut left_out = Vec::new();
        if let Some(width) = self.width {
            left_out = hide_optional_columns(columns, &rows, &mut shown, width.into());
        }
        let columns: Vec<Column> = visible(columns.iter().copied(), &shown).collect();
        let mut table = Table::new();
        let header = columns
            .iter()
            .map(|column| Cell::new(column.name).add_attribute(Attribute::Bold));
        // `AutoStream` strips the colours if the output is no terminal.
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
            let cells = visible(row.into_iter(), &shown).zip(&columns);
            table.add_row(cells.map(|(text, column)| cell(&text, *column)));
        }
        for (index, column) in columns.iter().enumerate() {
            if column.is_amount
                && let Some(column) = table.column_mut(index)
            {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        (table.to_string(), left_out)
    }
}

/// Hides optional columns, the last first, until the rest fits. Returns their names, in order.
fn hide_optional_columns(
    columns: &[Column],
    rows: &[Vec<String>],
    shown: &mut [bool],
    room: usize,
) -> Vec<&'static str> {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            let lines = cells.flat_map(|cell| cell.lines()).chain([column.name]);
            // One space on either side, and one between columns.
            lines.map(console::measure_text_width).max().unwrap_or(0) + 3
        })
        .collect();
    let mut left_out = Vec::new();
    for index in (0..columns.len()).rev() {
        let wide: usize = visible(widths.iter(), shown).sum();
        if wide <= room {
            break;
        }
        if let (Some(column), Some(shown)) = (columns.get(index), shown.get_mut(index))
            && column.is_optional
            && *shown
        {
            *shown = false;
            left_out.insert(0, column.name);
        }
    }
    left_out
}

/// The items at indices that are shown.
fn visible<T>(all: impl Iterator<Item = T>, shown: &[bool]) -> impl Iterator<Item = T> {
    all.zip(shown)
        .filter(|(_, shown)| **shown)
        .map(|(one, _)| one)
}

/// A table of a consent's properties.
pub(super) fn consent_table(screen: Screen, consent: &ConsentInformation) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    row("status", consent.consent_status.to_string());
    row("last day", or_empty(consent.valid_until));
    row("reads a day", or_empty(consent.frequency_per_day));
    let recurring = consent.recurring_indicator;
    let recurring = recurring.map(|recurring| if recurring { "yes" } else { "no" });
    row("recurring", or_empty(recurring));
    row("last action", or_empty(consent.last_action_date));
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
    screen.table(&[text("consent"), text("")], rows).0
}

/// A cell without control characters; negative amounts are red.
fn cell(text: &str, column: Column) -> Cell {
    let lines: Vec<String> = text.split('\n').map(plain).collect();
    let cell = Cell::new(lines.join("\n"));
    if column.is_amount && text.starts_with('-') {
        cell.fg(Color::Red)
    } else {
        cell
    }
}

/// Maximum width of tables: `COLUMNS`, else the terminal's width.
fn width() -> Option<u16> {
    let configured = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let terminal = || Term::stdout().size_checked().map(|(_, columns)| columns);
    configured.or_else(terminal).filter(|columns| *columns > 0)
}

fn not_json(error: serde_json::Error) -> Failure {
    failure(error, "report this to the developers of bank-client")
}

/// Prints a list item by item. Buffers at most [`ROWS`] rows of a table.
pub(super) struct Printer<L> {
    screen: Screen,
    out: AutoStream<StdoutLock<'static>>,
    printed: usize,
    rows: Vec<Vec<String>>,
    /// Columns for which a table had no room.
    left_out: Vec<&'static str>,
    list: std::marker::PhantomData<fn(L)>,
}

/// Maximum rows of one table; a longer list is printed as several tables.
const ROWS: usize = 200;

impl<L: ListRow> Printer<L> {
    pub(super) fn print(&mut self, item: &L) -> Result<(), Failure> {
        match self.screen.format {
            Format::Json => {
                let json = escape_json(&serde_json::to_string(item).map_err(not_json)?);
                let before = if self.printed == 0 { "[\n" } else { ",\n" };
                write!(self.out, "{before}{json}")?;
            }
            Format::Csv => {
                if self.printed == 0 {
                    self.header()?;
                }
                let fields = L::FIELDS.iter().map(|(_, field)| match field(item) {
                    Field::Untrusted(text) => Ok(escape_formulas(&text)),
                    Field::Trusted(text) => Ok(plain(&text)),
                    Field::Json => {
                        serde_json::to_string(item).map(|json| escape_json_for_csv(&json))
                    }
                });
                let fields: Result<Vec<_>, _> = fields.collect();
                record(&mut self.out, fields.map_err(not_json)?)?;
            }
            Format::Table => {
                let cells = L::COLUMNS.iter().map(|(_, cell)| cell(item));
                self.rows.push(cells.collect());
                if self.rows.len() >= ROWS {
                    self.table()?;
                }
            }
        }
        self.printed += 1;
        Ok(())
    }

    /// Prints the remaining rows and the end of the list.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        match self.screen.format {
            Format::Json if self.printed == 0 => writeln!(self.out, "[]")?,
            Format::Json => writeln!(self.out, "\n]")?,
            Format::Csv if self.printed == 0 => self.header()?,
            Format::Csv => {}
            Format::Table => {
                if !self.rows.is_empty() || self.printed == 0 {
                    self.table()?;
                }
            }
        }
        self.out.flush()?;
        drop(self.out);
        if !self.left_out.is_empty() {
            let names = self.left_out.join(", ");
            note(format!(
                "no room for: {names} (a wider terminal, or --json, has all)"
            ));
        }
        Ok(())
    }

    /// Like [`finish`](Self::finish), but prints no empty table.
    pub(super) fn finish_nonempty(self) -> Result<(), Failure> {
        if self.screen.format == Format::Table && self.printed == 0 {
            return Ok(());
        }
        self.finish()
    }

    fn header(&mut self) -> io::Result<()> {
        record(&mut self.out, L::FIELDS.iter().map(|(name, _)| *name))
    }

    fn table(&mut self) -> io::Result<()> {
        let columns: Vec<Column> = L::COLUMNS.iter().map(|(column, _)| *column).collect();
        let (table, left_out) = self.screen.table(&columns, std::mem::take(&mut self.rows));
        for name in left_out {
            if !self.left_out.contains(&name) {
                self.left_out.push(name);
            }
        }
        writeln!(self.out, "{table}")
    }
}

fn record<F: AsRef<[u8]>>(
    out: &mut impl Write,
    fields: impl IntoIterator<Item = F>,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(out);
    writer.write_record(fields)?;
    writer.flush()
}

/// Prints an error to standard error.
pub(crate) fn print_error(diagnostic: &Diagnostic) {
    let mut out = anstream::stderr().lock();
    let Diagnostic { cause, advice, .. } = diagnostic;
    let advice = plain(advice);
    // If standard error is closed, the exit code still reports the failure.
    let _ = writeln!(
        out,
        "{ERROR_STYLE}error{ERROR_STYLE:#}: {cause}\n  {BOLD}to do{BOLD:#}: {advice}"
    );
}

/// Prints a note to standard error, without control characters.
pub(super) fn note(text: impl Display) {
    let mut out = anstream::stderr().lock();
    for line in text.to_string().lines() {
        let _ = writeln!(out, "{}", plain(line));
    }
}

/// Whether standard input and standard error are a terminal.
pub(super) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_terminal_control_characters() {
        let json = escape_json(&serde_json::to_string("\u{9b}\u{7f}\u{202e}é\n").unwrap());
        assert_eq!(json, r#""\u009b\u007f\u202eé\n""#);
        assert_eq!(
            serde_json::from_str::<String>(&json).unwrap(),
            "\u{9b}\u{7f}\u{202e}é\n"
        );
    }

    #[test]
    fn csv_escapes_formulas_in_text_from_banks() {
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
            assert_eq!(escape_formulas(text), expected);
        }
    }

    #[test]
    fn json_in_csv_keeps_its_value_and_begins_no_formula() {
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
            let json = escape_json_for_csv(&value.to_string());
            let back: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(back, value);
            assert_eq!(escape_formulas(&json), json, "{text}");
        }
    }

    #[test]
    fn optional_columns_are_hidden_if_the_table_is_too_wide() {
        let columns = [
            text("bank"),
            text("id").optional(),
            amount("amount"),
            text("history").optional(),
        ];
        let row = ["bank-b", "571aface-719e-45ed", "1.00 EUR", "▁▅▅█"];
        let table = |width| {
            let screen = Screen {
                format: Format::Table,
                width: Some(width),
            };
            let rows = vec![row.map(str::to_owned).to_vec()];
            let (table, names) = screen.table(&columns, rows);
            (anstream::adapter::strip_str(&table).to_string(), names)
        };
        for (width, left_out) in [
            (80, [false, false]),
            (45, [false, true]),
            (25, [true, true]),
        ] {
            let (table, names) = table(width);
            let hidden = ["id", "history"].into_iter().zip(left_out);
            let hidden = hidden.filter_map(|(name, is_hidden)| is_hidden.then_some(name));
            assert_eq!(names, hidden.collect::<Vec<_>>(), "{width}");
            let missing = [row[1], row[3]].map(|cell| !table.contains(cell));
            assert_eq!(missing, left_out, "{width}: {table}");
            assert!(
                table.contains(" bank-b ") && table.contains(" 1.00 EUR "),
                "{table}"
            );
        }
    }

    #[test]
    fn tables_fit_the_width_of_the_terminal() {
        let screen = |width| Screen {
            format: Format::Table,
            width,
        };
        let columns = [text("name"), amount("amount")];
        let long = "a very long name indeed ".repeat(5);
        let rows = || vec![vec![long.clone(), "-1.00 EUR".to_owned()]];
        for width in [30, 60] {
            let table =
                anstream::adapter::strip_str(&screen(Some(width)).table(&columns, rows()).0)
                    .to_string();
            let widest = table.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(width.into()), "{table}");
        }
        assert!(
            screen(None)
                .table(&columns, rows())
                .0
                .contains(long.trim_end())
        );
    }
}
