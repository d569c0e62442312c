//! Reader of camt.053.001: the bank-to-customer statement of ISO 20022, versions 02, 06 and 08.
//!
//! A statement is read part by part: its account, each balance, each entry is a small tree of
//! [`Element`]s. Elements of other namespaces are skipped. A DOCTYPE is refused, and with it
//! entities of its own.

use std::collections::VecDeque;
use std::io::BufRead;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;
use quick_xml::NsReader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event as XmlEvent};
use quick_xml::name::{Namespace, ResolveResult};
use rust_decimal::Decimal;
use shared_types::xs2a::account::{AccountDetails, AccountReference};
use shared_types::xs2a::money::{Amount, Currency};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::{EntryDetails, StructuredRemittance, Transaction};

use super::amounts::{self, DecimalSign};
use super::details;
use super::lines::Bounded;
use super::{Entry, Event, ImportError, Place, Source, Stated, Statement};
use crate::core_banking::ledger::import::Result;

const NAMESPACE: &str = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.";

const VERSIONS: [&str; 3] = ["02", "06", "08"];

/// Longest tag or text, in bytes.
const LONGEST_PIECE: usize = 64 * 1024;

/// Largest entry, balance or account, in bytes of its names and texts.
const LARGEST_PART: usize = 4 << 20;

/// Deepest nesting of elements. The standard has 15 levels.
const DEEPEST: usize = 32;

/// Most payments in one entry.
const MAX_PAYMENTS: usize = 1000;

/// Most balances in one statement.
const MAX_BALANCES: usize = 100;

/// Element with what is in it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    line: u64,
    /// Whether it is of the message's namespace.
    is_own: bool,
    /// Attribute `Ccy`.
    currency: Option<String>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter()
            .try_fold(self, |element, name| element.child(name))
    }

    /// The text at that path, unless it is blank.
    fn text_at(&self, path: &[&str]) -> Option<&str> {
        let text = self.at(path)?.text.trim();
        (!text.is_empty()).then_some(text)
    }

    /// The text at that path, cut to what its field allows.
    fn cut<const MAX: usize>(
        &self,
        path: &[&str],
        field: &'static str,
    ) -> Result<Option<Text<MAX>>> {
        let Some(element) = self.at(path) else {
            return Ok(None);
        };
        let text = details::cut(&element.text);
        text.map_err(|problem| element.wrong(field, problem))
    }

    /// A reference at that path, unless it stands for none.
    fn reference<const MAX: usize>(
        &self,
        path: &[&str],
        field: &'static str,
    ) -> Result<Option<Text<MAX>>> {
        match self.text_at(path).and_then(details::reference) {
            Some(_) => self.cut(path, field),
            None => Ok(None),
        }
    }

    /// Name of a party, which newer versions nest one level deeper.
    fn party(&self, role: &str) -> Result<Option<Text<70>>> {
        match self.cut(&[role, "Nm"], "RltdPties")? {
            Some(name) => Ok(Some(name)),
            None => self.cut(&[role, "Pty", "Nm"], "RltdPties"),
        }
    }

    /// Account at that path.
    fn account(&self, path: &[&str]) -> Option<AccountReference> {
        let id = self.at(path)?.child("Id")?;
        let number = id
            .text_at(&["IBAN"])
            .or_else(|| id.text_at(&["Othr", "Id"]));
        number.and_then(details::account_reference)
    }

    /// BIC of a bank, which newer versions call BICFI.
    fn bic(&self, path: &[&str]) -> Result<Option<Text<11>>> {
        let Some(bank) = self.at(path).and_then(|bank| bank.child("FinInstnId")) else {
            return Ok(None);
        };
        match bank.cut(&["BICFI"], "FinInstnId/BICFI")? {
            Some(bic) => Ok(Some(bic)),
            None => bank.cut(&["BIC"], "FinInstnId/BIC"),
        }
    }

    fn wrong(&self, field: &'static str, problem: impl Into<String>) -> ImportError {
        Place::new(self.line, field).wrong(problem)
    }

    /// The amount that its child `Amt` has, negative where its `CdtDbtInd` says so.
    fn amount(&self, field: &'static str) -> Result<(Currency, Amount)> {
        let amount = self.child("Amt");
        let amount = amount.ok_or_else(|| self.wrong(field, "there is no Amt"))?;
        let (currency, value) = amount.value(field)?;
        let value = match self.text_at(&["CdtDbtInd"]) {
            Some("CRDT") => value,
            Some("DBIT") => value.opposite(),
            _ => return Err(self.wrong(field, "CdtDbtInd is neither CRDT nor DBIT")),
        };
        Ok((currency, value))
    }

    /// Its own amount, without a sign.
    fn value(&self, field: &'static str) -> Result<(Currency, Amount)> {
        let wrong = |problem: String| self.wrong(field, problem);
        let code = self.currency.as_deref();
        let code = code.ok_or_else(|| wrong("there is no Ccy".to_owned()))?;
        let currency = amounts::currency(code).map_err(|problem| wrong(problem.to_owned()))?;
        let value = amounts::amount(self.text.trim(), DecimalSign::Point, currency);
        Ok((currency, value.map_err(wrong)?))
    }

    /// The day of a child that has a date, or a date and time.
    fn day(&self, name: &str, field: &'static str, zone: Tz) -> Result<Option<NaiveDate>> {
        let Some(day) = self.child(name) else {
            return Ok(None);
        };
        let text = day.text_at(&["Dt"]).or_else(|| day.text_at(&["DtTm"]));
        let date = text.and_then(|text| day_of(text, zone));
        let problem = "not a date such as 2026-11-24";
        date.map(Some).ok_or_else(|| day.wrong(field, problem))
    }
}

/// The day of a date, or of a time in the bank's time zone. A date, and a time without an offset,
/// are the bank's own.
fn day_of(text: &str, zone: Tz) -> Option<NaiveDate> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let signs = (date.get(4..5)?, date.get(7..8)?);
    let parts = (date.get(..4)?, date.get(5..7)?, date.get(8..)?);
    let date = amounts::date(parts.0, parts.1, parts.2).filter(|_| signs == ("-", "-"))?;
    match rest.strip_prefix('T') {
        Some(time) if time.contains(['Z', '+', '-']) => {
            let time = DateTime::parse_from_rfc3339(text).ok()?;
            Some(time.with_timezone(&zone).date_naive())
        }
        Some(_) => text.parse::<NaiveDateTime>().ok().map(|time| time.date()),
        // The standard's type allows an offset behind a date.
        None => (rest.is_empty() || rest.starts_with(['Z', '+', '-'])).then_some(date),
    }
}

/// Place of an open element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Around the document.
    Envelope,
    Document,
    Message,
    Statement,
}

/// A statement while its parts come in.
#[derive(Debug, Default)]
struct Draft {
    line: u64,
    zone: Tz,
    account: Option<Element>,
    balances: Vec<Element>,
    summary: Option<Element>,
    /// Currency and closing balance, as soon as the first entry has come.
    opened: Option<(Currency, Stated)>,
    credits: Totals,
    debits: Totals,
}

/// Number and sum of entries.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    number: u64,
    sum: Decimal,
}

/// Part of an XML document.
enum Xml {
    Start(Element),
    End,
    Text(String),
    Eof,
}

/// Reader of a file with one or more messages.
pub(super) struct Reader<R> {
    xml: NsReader<Bounded<R>>,
    buffer: Vec<u8>,
    depth: usize,
    /// Namespace of the open document.
    namespace: Option<String>,
    levels: Vec<Level>,
    statement: Option<Draft>,
    events: VecDeque<Event>,
    has_statement: bool,
    /// Time zone of the bank.
    zone: Tz,
}

impl<R: BufRead> Reader<R> {
    pub(super) fn new(text: R, zone: Tz) -> Self {
        let mut xml = NsReader::from_reader(Bounded::new(text));
        xml.config_mut().expand_empty_elements = true;
        Self {
            xml,
            buffer: Vec::new(),
            depth: 0,
            namespace: None,
            levels: Vec::new(),
            statement: None,
            events: VecDeque::new(),
            has_statement: false,
            zone,
        }
    }

    fn wrong(&self, problem: impl Into<String>) -> ImportError {
        Place::new(self.xml.get_ref().line(), ".").wrong(problem)
    }

    /// The next tag or text.
    fn read(&mut self) -> Result<Xml> {
        const ENTITY: &str = "an entity that XML does not define itself";

        loop {
            self.buffer.clear();
            self.xml.get_mut().allow(LONGEST_PIECE);
            let read = match self.xml.read_event_into(&mut self.buffer) {
                Ok(XmlEvent::Start(tag)) => {
                    let resolved = self.xml.resolver().resolve_element(tag.name());
                    element(&tag, &resolved.0, self.namespace.as_deref()).map(Xml::Start)
                }
                Ok(XmlEvent::End(_)) => Ok(Xml::End),
                Ok(XmlEvent::Text(text)) => Ok(Xml::Text(text.xml10_content().into_owned())),
                Ok(XmlEvent::CData(text)) => Ok(Xml::Text(text.xml10_content().into_owned())),
                Ok(XmlEvent::GeneralRef(name)) => match name.resolve_char_ref() {
                    Ok(Some(character)) => Ok(Xml::Text(character.to_string())),
                    Ok(None) => {
                        let text = resolve_predefined_entity(&name);
                        text.map(|text| Xml::Text(text.to_owned())).ok_or(ENTITY)
                    }
                    Err(_) => Err("not a reference to a character"),
                },
                Ok(XmlEvent::DocType(_)) => Err("a DOCTYPE: a statement has none"),
                Ok(XmlEvent::Eof) => Ok(Xml::Eof),
                Ok(_) => continue,
                Err(_) if self.xml.get_ref().is_spent() => {
                    let problem = format!("a tag or text is longer than {LONGEST_PIECE} bytes");
                    return Err(self.wrong(problem));
                }
                Err(quick_xml::Error::Io(error)) => {
                    return Err(std::io::Error::new(error.kind(), error.to_string()).into());
                }
                Err(error) => {
                    return Err(self.wrong(format!("not well-formed XML: {error}")));
                }
            };
            let mut read = read.map_err(|problem| self.wrong(problem))?;
            match &mut read {
                Xml::Start(element) => {
                    element.line = self.xml.get_ref().line();
                    self.depth += 1;
                    if self.depth > DEEPEST {
                        let problem = format!("elements are nested deeper than {DEEPEST}");
                        return Err(self.wrong(problem));
                    }
                }
                Xml::End => self.depth = self.depth.saturating_sub(1),
                Xml::Eof if self.depth > 0 => {
                    return Err(self.wrong("the file ends within an element"));
                }
                Xml::Text(_) | Xml::Eof => {}
            }
            return Ok(read);
        }
    }

    /// Skips the content of an element that has just started.
    fn skip(&mut self) -> Result<()> {
        let outside = self.depth.saturating_sub(1);
        while self.depth > outside {
            self.read()?;
        }
        Ok(())
    }

    /// The content of an element that has just started.
    fn tree(&mut self, root: Element) -> Result<Element> {
        let (place, mut size) = (Place::new(root.line, "."), 0);
        let mut open = vec![root];
        loop {
            match self.read()? {
                Xml::Start(element) if !element.is_own => self.skip()?,
                Xml::Start(element) => {
                    size += size_of::<Element>() + element.name.len();
                    open.push(element);
                }
                Xml::Text(text) => {
                    size += text.len();
                    if let Some(element) = open.last_mut() {
                        element.text.push_str(&text);
                    }
                }
                Xml::End => {
                    let done = open.pop().unwrap_or_default();
                    match open.last_mut() {
                        Some(parent) => parent.children.push(done),
                        None => return Ok(done),
                    }
                }
                Xml::Eof => return Err(self.wrong("the file ends within an element")),
            }
            if size > LARGEST_PART {
                let problem = format!("the element is larger than {LARGEST_PART} bytes");
                return Err(place.wrong(problem));
            }
        }
    }

    fn start(&mut self, element: Element) -> Result<()> {
        let name = element.name.as_str();
        match (self.levels.last(), name) {
            (None | Some(Level::Envelope), "Document") => {
                // `element` has checked its namespace.
                self.levels.push(Level::Document);
            }
            (None | Some(Level::Envelope), _) => self.levels.push(Level::Envelope),
            (Some(_), _) if !element.is_own => self.skip()?,
            (Some(Level::Document), "BkToCstmrStmt") => self.levels.push(Level::Message),
            (Some(Level::Document), _) => {
                return Err(element.wrong("Document", "there is no BkToCstmrStmt"));
            }
            (Some(Level::Message), "Stmt") => {
                self.levels.push(Level::Statement);
                self.has_statement = true;
                self.statement = Some(Draft {
                    line: element.line,
                    zone: self.zone,
                    ..Draft::default()
                });
            }
            (Some(Level::Statement), "Acct" | "Bal" | "TxsSummry" | "Ntry") => {
                let part = self.tree(element)?;
                if let Some(statement) = &mut self.statement {
                    statement.take(part, &mut self.events)?;
                }
            }
            (Some(Level::Message | Level::Statement), _) => self.skip()?,
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        match self.levels.pop() {
            Some(Level::Statement) => match self.statement.take() {
                Some(statement) => statement.close(&mut self.events),
                None => Ok(()),
            },
            Some(Level::Document) => {
                self.namespace = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Source for Reader<R> {
    fn next(&mut self) -> Result<Option<Event>> {
        while self.events.is_empty() {
            match self.read()? {
                Xml::Start(element) => {
                    if element.name == "Document" && self.namespace.is_none() {
                        self.namespace = Some(element.text.clone());
                    }
                    self.start(element)?;
                }
                Xml::End => self.end()?,
                Xml::Text(_) => {}
                Xml::Eof if self.has_statement => return Ok(None),
                Xml::Eof => return Err(Place::new(1, ".").wrong("there is no statement (Stmt)")),
            }
        }
        Ok(self.events.pop_front())
    }
}

/// An element without its content. The text of a document is its namespace.
fn element(
    tag: &BytesStart<'_>,
    namespace: &ResolveResult<'_>,
    own: Option<&str>,
) -> Result<Element, &'static str> {
    let local = tag.local_name();
    let name = local.as_ref();
    let namespace = match namespace {
        ResolveResult::Bound(Namespace(namespace)) => Some(*namespace),
        ResolveResult::Unbound => None,
        ResolveResult::Unknown(_) => return Err("a prefix that no namespace is declared for"),
    };
    let mut element = Element {
        name: name.to_owned(),
        is_own: own.is_some() && namespace == own,
        ..Element::default()
    };
    if own.is_none() && name == "Document" {
        let version = namespace.and_then(|namespace| namespace.strip_prefix(NAMESPACE));
        if !version.is_some_and(|version| VERSIONS.contains(&version)) {
            return Err(
                "not a document of camt.053.001.02, camt.053.001.06 or camt.053.001.08, by its \
                 namespace",
            );
        }
        namespace.unwrap_or_default().clone_into(&mut element.text);
    }
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| "an attribute that is not well-formed")?;
        if attribute.key.local_name().as_ref() == "Ccy" {
            element.currency = Some(attribute.value.into_owned());
        }
    }
    Ok(element)
}

impl Draft {
    fn take(&mut self, part: Element, events: &mut VecDeque<Event>) -> Result<()> {
        match part.name.as_str() {
            "Ntry" => {
                let (currency, closing) = self.open(events)?;
                let entry = entry(&part, currency, closing.date, self.zone)?;
                let amount = entry.details.transaction_amount.value();
                let totals = if amount.is_sign_negative() {
                    &mut self.debits
                } else {
                    &mut self.credits
                };
                totals.number += 1;
                totals.sum += amount.abs();
                events.push_back(Event::Entry(Box::new(entry)));
            }
            _ if self.opened.is_some() => {
                return Err(part.wrong("Stmt", "account and balances come before the entries"));
            }
            "Acct" => self.account = Some(part),
            "Bal" if self.balances.len() >= MAX_BALANCES => {
                let problem = format!("a statement has at most {MAX_BALANCES} balances");
                return Err(part.wrong("Stmt/Bal", problem));
            }
            "Bal" => self.balances.push(part),
            _ => self.summary = Some(part),
        }
        Ok(())
    }

    /// Opens the statement, if it is not open. Returns its currency and its closing balance.
    fn open(&mut self, events: &mut VecDeque<Event>) -> Result<(Currency, Stated)> {
        if let Some(opened) = &self.opened {
            return Ok(opened.clone());
        }
        let place = Place::new(self.line, "Stmt/Acct");
        let account = self.account.take();
        let account = account.ok_or_else(|| place.wrong("there is no account"))?;
        let (opening, closing, currency) = self.balances(account.text_at(&["Ccy"]))?;
        let place = Place::new(account.line, "Acct/Id");
        let number = account.text_at(&["Id", "IBAN"]);
        let number = number.or_else(|| account.text_at(&["Id", "Othr", "Id"]));
        let number = number.ok_or_else(|| place.wrong("neither an IBAN nor another number"))?;
        let mut details: AccountDetails =
            details::account(number, currency).map_err(|problem| place.wrong(problem))?;
        details.owner_name = account.cut(&["Ownr", "Nm"], "Acct/Ownr/Nm")?;
        details.name = account.cut(&["Nm"], "Acct/Nm")?;
        details.bic = account.bic(&["Svcr"])?;
        let code = account.text_at(&["Tp", "Cd"]);
        details.cash_account_type = code.map(Text::cut);
        events.push_back(Event::Open(Box::new(Statement {
            place,
            account: details,
            opening: Some(opening),
            is_whole: true,
        })));
        self.opened = Some((currency, closing.clone()));
        Ok((currency, closing))
    }

    /// The opening and the closing balance, and their currency.
    fn balances(&self, code: Option<&str>) -> Result<(Stated, Stated, Currency)> {
        const FIELD: &str = "Stmt/Bal";

        let place = Place::new(self.line, FIELD);
        let of = |kind: &str| {
            let is_of_kind =
                |balance: &&Element| balance.text_at(&["Tp", "CdOrPrtry", "Cd"]) == Some(kind);
            self.balances.iter().filter(is_of_kind).collect::<Vec<_>>()
        };
        // A page of a longer statement has interim balances instead.
        let interim = of("ITBD");
        let first = |kind: &str| of(kind).first().copied();
        let opening = first("OPBD").or_else(|| first("PRCD"));
        let last = interim.last().copied();
        let has_pair = opening.is_some() || interim.len() > 1;
        let opening = opening.or_else(|| interim.first().copied());
        let closing = first("CLBD").or(last.filter(|_| has_pair));
        let opening = opening
            .ok_or_else(|| place.wrong("there is no opening balance (OPBD, PRCD or ITBD)"))?;
        let closing =
            closing.ok_or_else(|| place.wrong("there is no closing balance (CLBD or ITBD)"))?;
        let stated = |balance: &Element| {
            let (currency, amount) = balance.amount(FIELD)?;
            let date = balance.day("Dt", FIELD, self.zone)?;
            let date = date.ok_or_else(|| balance.wrong(FIELD, "there is no date"))?;
            let place = Place::new(balance.line, FIELD);
            Ok::<_, ImportError>((
                currency,
                Stated {
                    place,
                    amount,
                    date,
                },
            ))
        };
        let (opening_currency, opening) = stated(opening)?;
        let (currency, closing) = stated(closing)?;
        let of_account = code.is_none_or(|code| code == currency.as_str());
        if opening_currency != currency || !of_account {
            let problem = "balances of several currencies: each account has one";
            return Err(closing.place.wrong(problem));
        }
        Ok((opening, closing, currency))
    }

    fn close(mut self, events: &mut VecDeque<Event>) -> Result<()> {
        let (_, closing) = self.open(events)?;
        self.check_summary()?;
        events.push_back(Event::Close(closing));
        Ok(())
    }

    /// Checks the numbers and sums that the statement states.
    fn check_summary(&self) -> Result<()> {
        let Some(summary) = &self.summary else {
            return Ok(());
        };
        let all = Totals {
            number: self.credits.number + self.debits.number,
            sum: self.credits.sum + self.debits.sum,
        };
        for (name, field, totals) in [
            ("TtlNtries", "TxsSummry/TtlNtries", all),
            ("TtlCdtNtries", "TxsSummry/TtlCdtNtries", self.credits),
            ("TtlDbtNtries", "TxsSummry/TtlDbtNtries", self.debits),
        ] {
            let Some(stated) = summary.child(name) else {
                continue;
            };
            if let Some(number) = stated.text_at(&["NbOfNtries"])
                && number.parse() != Ok(totals.number)
            {
                let problem = format!("the statement has {} of these entries", totals.number);
                return Err(stated.wrong(field, problem));
            }
            if let Some(sum) = stated.text_at(&["Sum"])
                && Decimal::from_str_exact(sum) != Ok(totals.sum)
            {
                let problem = format!("the sum of these entries is {}", totals.sum);
                return Err(stated.wrong(field, problem));
            }
        }
        Ok(())
    }
}

fn entry(element: &Element, currency: Currency, closing: NaiveDate, zone: Tz) -> Result<Entry> {
    let (of_entry, amount) = element.amount("Ntry/Amt")?;
    if of_entry != currency {
        return Err(element.wrong("Ntry/Amt", "not the currency of the account"));
    }
    let status = element
        .text_at(&["Sts"])
        .or_else(|| element.text_at(&["Sts", "Cd"]));
    let is_booked = match status {
        Some("BOOK") => true,
        Some("PDNG" | "INFO" | "FUTR") => false,
        _ => return Err(element.wrong("Ntry/Sts", "none of BOOK, PDNG, INFO and FUTR")),
    };
    let is_reversal = match element.text_at(&["RvslInd"]) {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(element.wrong("Ntry/RvslInd", "neither true nor false")),
    };
    let value_date = element.day("ValDt", "Ntry/ValDt", zone)?;
    let booking_date = element.day("BookgDt", "Ntry/BookgDt", zone)?;
    let mut transaction = Transaction::of(amount);
    transaction.value_date = value_date;
    transaction.bank_transaction_code = element.child("BkTxCd").and_then(transaction_code);
    transaction.proprietary_bank_transaction_code =
        element.cut(&["BkTxCd", "Prtry", "Cd"], "Ntry/BkTxCd/Prtry/Cd")?;
    let information = element.cut::<500>(&["AddtlNtryInf"], "Ntry/AddtlNtryInf")?;
    transaction.additional_information = match (is_reversal, information) {
        (false, information) => information,
        (true, None) => Some(Text::cut("Reversal")),
        (true, Some(information)) => Some(Text::cut(&format!("Reversal {information}"))),
    };
    let payments: Vec<&Element> = element
        .all("NtryDtls")
        .flat_map(|details| details.all("TxDtls"))
        .collect();
    if payments.len() > MAX_PAYMENTS {
        let problem = format!("an entry has at most {MAX_PAYMENTS} payments");
        return Err(element.wrong("Ntry/NtryDtls", problem));
    }
    let mut omits_payments = false;
    let mut batches = element.all("NtryDtls");
    let batch = batches.find_map(|details| details.text_at(&["Btch", "NbOfTxs"]));
    match payments.as_slice() {
        [payment] => describe(&mut transaction, &Payment::of(payment)?),
        payments => {
            let payments: Vec<Payment> = payments
                .iter()
                .map(|payment| Payment::of(payment))
                .collect::<Result<_>>()?;
            let parts = payments.iter().map(|payment| payment.part(amount));
            let parts: Option<Vec<EntryDetails>> = parts.collect();
            if let Some(parts) = parts.filter(|parts| !parts.is_empty()) {
                transaction.entry_details = adding_up(parts, amount, is_reversal);
                omits_payments = transaction.entry_details.is_none();
            }
            let number = u64::try_from(payments.len())
                .ok()
                .filter(|number| *number > 0);
            transaction.batch_number_of_transactions = number;
        }
    }
    let number = batch.and_then(|number| number.parse().ok());
    transaction.batch_number_of_transactions = number.or(transaction.batch_number_of_transactions);
    transaction.batch_indicator = transaction
        .batch_number_of_transactions
        .is_some_and(|number: u64| number > 1)
        .then_some(true);
    if transaction.batch_indicator.is_none() {
        transaction.batch_number_of_transactions = None;
    }
    let reference = match element
        .text_at(&["AcctSvcrRef"])
        .and_then(details::reference)
    {
        None => match payments.as_slice() {
            [payment] => payment.text_at(&["Refs", "AcctSvcrRef"]),
            _ => None,
        },
        own => own,
    };
    let reference = reference.and_then(details::reference).map(details::clean);
    let reference = reference.transpose();
    let reference = reference.map_err(|problem| element.wrong("Ntry/AcctSvcrRef", problem))?;
    Ok(Entry {
        place: Place::new(element.line, "Ntry"),
        is_booked,
        booking_date: booking_date.or(value_date).unwrap_or(closing),
        reference: reference.flatten(),
        balance_after: None,
        omits_payments,
        details: Box::new(transaction),
    })
}

/// Parts of an entry, if they add up to it. Those of a reversal can have the sign of what is
/// reversed.
fn adding_up(
    mut parts: Vec<EntryDetails>,
    entry: Amount,
    is_reversal: bool,
) -> Option<Vec<EntryDetails>> {
    // Amounts have 14 digits before the point: their sum is far below the maximum of a decimal.
    let amounts = parts.iter().map(|part| part.transaction_amount.value());
    let sum: Decimal = amounts.sum();
    if is_reversal && sum == -entry.value() {
        for part in &mut parts {
            part.transaction_amount = part.transaction_amount.opposite();
        }
    } else if sum != entry.value() {
        return None;
    }
    Some(parts)
}

/// Domain, family and sub-family: `PMNT-RCDT-ESCT`.
fn transaction_code<const MAX: usize>(code: &Element) -> Option<Text<MAX>> {
    let domain = code.child("Domn")?;
    let parts = [
        domain.text_at(&["Cd"])?,
        domain.text_at(&["Fmly", "Cd"])?,
        domain.text_at(&["Fmly", "SubFmlyCd"])?,
    ];
    Some(Text::cut(&parts.join("-")))
}

/// Sets the fields that a payment and an entry have under the same names.
macro_rules! fill {
    ($from:ident, $to:ident) => {
        fill!($from, $to; end_to_end_id mandate_id check_id creditor_id creditor_name
            creditor_account creditor_agent ultimate_creditor debtor_name debtor_account
            debtor_agent ultimate_debtor purpose_code);
        let (line, lines) = details::remittance(&$from.remittance);
        $to.remittance_information_unstructured = line;
        $to.remittance_information_unstructured_array = lines;
        $to.remittance_information_structured_array = $from.references();
    };
    ($from:ident, $to:ident; $($field:ident)+) => {
        $($to.$field = $from.$field.clone();)+
    };
}

/// A payment behind an entry.
#[derive(Debug, Default)]
struct Payment {
    amount: Option<Amount>,
    /// Whether money goes out, if it has a sign of its own.
    is_debit: Option<bool>,
    end_to_end_id: Option<Text<35>>,
    mandate_id: Option<Text<35>>,
    check_id: Option<Text<35>>,
    creditor_id: Option<Text<35>>,
    creditor_name: Option<Text<70>>,
    creditor_account: Option<AccountReference>,
    creditor_agent: Option<Text<11>>,
    ultimate_creditor: Option<Text<70>>,
    debtor_name: Option<Text<70>>,
    debtor_account: Option<AccountReference>,
    debtor_agent: Option<Text<11>>,
    ultimate_debtor: Option<Text<70>>,
    remittance: Vec<String>,
    references: Vec<StructuredRemittance>,
    purpose_code: Option<Text<4>>,
    information: Option<Text<500>>,
}

impl Payment {
    fn of(element: &Element) -> Result<Self> {
        const REFERENCES: &str = "TxDtls/Refs";

        let none = Element::default();
        let part = |name: &str| element.child(name).unwrap_or(&none);
        let (references, parties, agents) = (part("Refs"), part("RltdPties"), part("RltdAgts"));
        let mandate_id = references.reference(&["MndtId"], REFERENCES)?;
        let amount = element.child("Amt");
        let amount = amount.or_else(|| element.at(&["AmtDtls", "TxAmt", "Amt"]));
        let mut payment = Self {
            amount: amount
                .map(|amount| amount.value("TxDtls/Amt"))
                .transpose()?
                .map(|(_, amount)| amount),
            is_debit: match element.text_at(&["CdtDbtInd"]) {
                None => None,
                Some("CRDT") => Some(false),
                Some("DBIT") => Some(true),
                Some(_) => {
                    return Err(element.wrong("TxDtls/CdtDbtInd", "neither CRDT nor DBIT"));
                }
            },
            end_to_end_id: references.reference(&["EndToEndId"], REFERENCES)?,
            check_id: references.reference(&["ChqNb"], REFERENCES)?,
            creditor_name: parties.party("Cdtr")?,
            creditor_account: parties.account(&["CdtrAcct"]),
            creditor_agent: agents.bic(&["CdtrAgt"])?,
            ultimate_creditor: parties.party("UltmtCdtr")?,
            debtor_name: parties.party("Dbtr")?,
            debtor_account: parties.account(&["DbtrAcct"]),
            debtor_agent: agents.bic(&["DbtrAgt"])?,
            ultimate_debtor: parties.party("UltmtDbtr")?,
            purpose_code: element.cut(&["Purp", "Cd"], "TxDtls/Purp/Cd")?,
            information: element.cut(&["AddtlTxInf"], "TxDtls/AddtlTxInf")?,
            ..Self::default()
        };
        if mandate_id.is_some() {
            let creditor = parties.child("Cdtr").unwrap_or(&none);
            let creditor = creditor.child("Pty").unwrap_or(creditor);
            let path = ["Id", "PrvtId", "Othr", "Id"];
            payment.creditor_id = creditor.cut(&path, "RltdPties/Cdtr/Id")?;
        }
        payment.mandate_id = mandate_id;
        let remittance = part("RmtInf");
        let structured = remittance
            .all("Strd")
            .flat_map(|part| part.all("AddtlRmtInf"));
        for line in remittance.all("Ustrd").chain(structured) {
            let text = details::clean(&line.text);
            let text = text.map_err(|problem| line.wrong("TxDtls/RmtInf", problem))?;
            payment.remittance.extend(text);
        }
        for part in remittance.all("Strd") {
            const FIELD: &str = "TxDtls/RmtInf/Strd";

            let Some(reference) = part.cut(&["CdtrRefInf", "Ref"], FIELD)? else {
                continue;
            };
            payment.references.push(StructuredRemittance {
                reference,
                reference_type: part.cut(&["CdtrRefInf", "Tp", "CdOrPrtry", "Cd"], FIELD)?,
                reference_issuer: part.cut(&["CdtrRefInf", "Tp", "Issr"], FIELD)?,
            });
        }
        Ok(payment)
    }

    /// As a part of an entry, with its own sign or else the entry's. `None`, if its amount is not
    /// known in the entry's currency.
    fn part(&self, entry: Amount) -> Option<EntryDetails> {
        let amount = self.amount?;
        if amount.currency() != entry.currency() {
            return None;
        }
        let of_entry = entry.value().is_sign_negative();
        let is_debit = self.is_debit.unwrap_or(of_entry);
        let mut part = EntryDetails::of(if is_debit { amount.opposite() } else { amount });
        fill!(self, part);
        Some(part)
    }

    fn references(&self) -> Option<Vec<StructuredRemittance>> {
        (!self.references.is_empty()).then(|| self.references.clone())
    }
}

/// Describes an entry by its only payment.
fn describe(entry: &mut Transaction, payment: &Payment) {
    fill!(payment, entry);
    if entry.additional_information.is_none() {
        entry
            .additional_information
            .clone_from(&payment.information);
    }
}
