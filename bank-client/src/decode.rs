//! Tolerant JSON decoder for responses, after the policy of [`deviations`](crate::deviations).
//!
//! An answer that conforms is read in one go. One that does not is read once more as a document,
//! and then element by element of its lists: where a value does not fit its field, it is put into
//! the standard's form if that is certain, or removed, and the element is read again. What is
//! strict is not removed. The strict fields stand in small tables, one for each type of answer
//! (`validate`); what a type requires is strict in itself, because nothing can be read without it:
//! it takes along the optional object it belongs to (half an address is none), or the element.

use std::fmt::Write as _;

use chrono::NaiveDate;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use shared_types::decode::{Fault, Malformed, Manner, Shape, Step, at, at_mut, document, part};
use shared_types::xs2a::iban::Iban;
use shared_types::xs2a::money::Currency;

use crate::deviations::{Deviation, Deviations, Outcome};
use crate::response::Response;

/// Deviations of one element, at most: one with more is left out.
const MAX_IN_ONE_ELEMENT: usize = 100;

/// Decoder of a part of a document as some type, for the fault alone.
pub(crate) type Decode = fn(&Value, Manner) -> Result<(), Fault>;

/// A list of an answer whose elements are read one by one.
pub(crate) struct ListField {
    /// The names that lead to it.
    names: &'static [&'static str],
    /// The fields of an element that are strict though a type does not require them.
    strict: fn(&Value) -> &'static [&'static str],
    /// Decoder of an element.
    decode: Decode,
}

impl ListField {
    /// A list of elements of that type.
    pub(crate) const fn of<T: DeserializeOwned>(
        names: &'static [&'static str],
        strict: fn(&Value) -> &'static [&'static str],
    ) -> Self {
        Self {
            names,
            strict,
            decode: as_type::<T>,
        }
    }
}

/// A [`Decode`] of that type.
fn as_type<T: DeserializeOwned>(value: &Value, manner: Manner) -> Result<(), Fault> {
    part::<T>(value, manner).map(drop)
}

/// Collector of the deviations of a response while it is decoded.
pub(crate) struct DecodeNotes<'a> {
    bank: &'a str,
    /// The currency of the account that the response is about, where it is known.
    pub(crate) currency: Option<Currency>,
    deviations: Deviations,
    /// Elements that are not there any more: lists, and positions that they had.
    gone: Vec<(String, usize)>,
}

impl<'a> DecodeNotes<'a> {
    pub(crate) fn new(bank: &'a str, currency: Option<Currency>) -> Self {
        Self {
            bank,
            currency,
            deviations: Deviations::default(),
            gone: Vec::new(),
        }
    }

    pub(crate) fn into_deviations(self) -> Deviations {
        self.deviations
    }

    /// Records a deviation. The path is built only if it is recorded, not only counted.
    pub(crate) fn record(
        &mut self,
        path: impl FnOnce(&Self) -> String,
        reason: impl Into<String>,
        outcome: Outcome,
    ) {
        let deviation = self.deviations.has_room().then(|| Deviation {
            bank: self.bank.to_owned(),
            path: path(self),
            reason: reason.into(),
            outcome,
        });
        self.deviations.push(deviation, outcome);
    }

    /// Notes what was mended, beside or within an element.
    fn repairs(&mut self, repairs: Vec<Repair>, place: impl Fn(&[Step]) -> String) {
        for Repair { at, outcome } in repairs {
            self.record(|_| place(&at.steps), at.reason, outcome);
            if outcome == Outcome::ElementLeftOut {
                self.deviations.count_balance_left_out();
            }
        }
    }

    /// The place in the answer of what is at that position of the list now.
    pub(crate) fn place(&self, list: &str, mut position: usize) -> String {
        for (other, gone) in &self.gone {
            if other == list && *gone <= position {
                position += 1;
            }
        }
        format!("{list}[{position}]")
    }
}

/// An answer, with what is strict in it.
pub(crate) trait ValidateResponse: DeserializeOwned {
    /// Its lists whose elements are read one by one.
    const LISTS: &'static [ListField] = &[];
    /// The fields beside these lists that are strict though the type does not require them.
    const STRICT: &'static [&'static str] = &[];

    /// Brings a document into the standard's form where banks follow an example of the standard's
    /// against its schema.
    fn to_standard(_document: &mut Value) {}

    /// Validates the decoded value, and records its deviations from the standard.
    fn validate(&mut self, _notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Decodes and validates an answer about an account whose currency may be known.
pub(crate) fn decode<T: ValidateResponse>(
    bank: &str,
    body: &[u8],
    shape: &Shape,
    currency: Option<Currency>,
) -> Result<Response<T>, Malformed> {
    let mut notes = DecodeNotes::new(bank, currency);
    let exact = shape.decode::<T>(body);
    let mut value = exact.or_else(|_| decode_tolerantly(body, &mut notes))?;
    value.validate(&mut notes)?;
    Ok(Response::new(value, notes.into_deviations()))
}

fn decode_tolerantly<T: ValidateResponse>(
    body: &[u8],
    notes: &mut DecodeNotes<'_>,
) -> Result<T, Malformed> {
    let mut document = document(body)?;
    T::to_standard(&mut document);
    let mut work = RepairBudget::on(&document);
    let mut lists = Vec::new();
    for list in T::LISTS {
        let steps = steps(list.names);
        let name = list.names.join(".");
        let is_strict = T::STRICT.contains(&name.as_str());
        let mut is_wrapped = false;
        let elements = match at_mut(&mut document, &steps) {
            Some(Value::Array(elements)) => elements,
            // One element that is not in a list.
            Some(only @ Value::Object(_)) if !is_strict && *only != Value::Object(Map::new()) => {
                is_wrapped = true;
                notes.record(|_| name.clone(), "expected a list", Outcome::Kept);
                *only = Value::Array(vec![only.take()]);
                let Value::Array(elements) = only else {
                    continue;
                };
                elements
            }
            _ => continue,
        };
        let mut readable = Vec::with_capacity(elements.len());
        for (position, mut element) in std::mem::take(elements).into_iter().enumerate() {
            let place = |steps: &[Step]| format!("{name}[{position}]{}", path(steps, false));
            let strict = (list.strict)(&element);
            match repair(&mut element, strict, list.decode, &mut work) {
                Ok(repairs) => {
                    notes.repairs(repairs, place);
                    readable.push(element);
                }
                Err(fault) => {
                    let outcome = Outcome::ElementLeftOut;
                    notes.record(|_| place(&fault.steps), fault.reason, outcome);
                    notes.gone.push((name.clone(), position));
                }
            }
        }
        // What is no element either, is no list of one.
        if is_wrapped && readable.is_empty() {
            return Err(Malformed {
                path: name,
                reason: "expected a list".to_owned(),
            });
        }
        lists.push((steps, readable));
    }
    let malformed = |fault: Fault| Malformed {
        path: match path(&fault.steps, true) {
            root if root.is_empty() => ".".to_owned(),
            path => path,
        },
        reason: fault.reason,
    };
    let repairs = repair(&mut document, T::STRICT, as_type::<T>, &mut work).map_err(malformed)?;
    notes.repairs(repairs, |steps| path(steps, true));
    for (steps, readable) in lists {
        if let Some(list) = at_mut(&mut document, &steps) {
            *list = readable.into();
        }
    }
    part(&document, Manner::Tolerant).map_err(malformed)
}

/// Values that may still be looked at while an answer is mended: each deviation costs those of its
/// element. Without an end of it, few deviations in a large element would take minutes.
struct RepairBudget(usize);

impl RepairBudget {
    /// A budget for honest answers, in which each of many elements has some deviations; and a start
    /// for small ones.
    fn on(document: &Value) -> Self {
        Self(1_000_000 + 20 * values(document))
    }

    /// Whether there is as much left.
    fn take(&mut self, values: usize) -> bool {
        let left = self.0.checked_sub(values);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// The values in a value, itself included.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(values).sum(),
        Value::Object(members) => members.values().map(values).sum(),
        _ => 0,
    }
}

/// A deviation that does not keep the value from being read any more.
struct Repair {
    at: Fault,
    outcome: Outcome,
}

/// Makes of a value one that can be read, [tolerantly](Manner::Tolerant). Fails with what is
/// strict, or too much.
fn repair(
    value: &mut Value,
    strict: &[&str],
    decode: Decode,
    work: &mut RepairBudget,
) -> Result<Vec<Repair>, Fault> {
    let mut repairs = Vec::new();
    if decode(value, Manner::Exact).is_ok() {
        return Ok(repairs);
    }
    let weight = values(value);
    // Where there is something of ours now.
    let mut ours = Vec::new();
    // The last removed value, and its fault.
    let mut removed: Option<(Vec<Step>, Fault)> = None;
    while let Err(fault) = decode(value, Manner::Tolerant) {
        if repairs.len() >= MAX_IN_ONE_ELEMENT {
            return Err(Fault {
                reason: format!("more than {MAX_IN_ONE_ELEMENT} deviations in one element"),
                ..fault
            });
        }
        if !work.take(weight) {
            return Err(Fault {
                reason: "more deviations than can be looked at in one answer".to_owned(),
                ..fault
            });
        }
        let cause = match &removed {
            Some((steps, cause)) if fault.missing && *steps == fault.steps => Some(cause.clone()),
            _ => None,
        };
        if fault.missing && supply(value, &fault.steps, cause.is_some()) {
            ours.push(fault.steps.clone());
            // Otherwise the value was invalid, and its removal is reported.
            if cause.is_none() {
                repairs.push(Repair {
                    at: fault,
                    outcome: Outcome::FieldLeftOut,
                });
            }
            continue;
        }
        // The parent requires the value, and is removed too.
        if let Some(cause) = cause {
            let from = parent(&fault.steps);
            let steps = remove(value, from, strict).ok_or_else(|| cause.clone())?;
            if let (Outcome::ElementLeftOut, Some(last)) =
                (removal_outcome(from), repairs.last_mut())
            {
                last.outcome = Outcome::ElementLeftOut;
            }
            removed = Some((steps, cause));
            continue;
        }
        if let Some(place) = put_into_form(value, &fault, strict, decode) {
            ours.push(place);
            repairs.push(Repair {
                at: fault,
                outcome: Outcome::Kept,
            });
            continue;
        }
        let from = if fault.missing {
            parent(&fault.steps)
        } else {
            &fault.steps
        };
        let steps = remove(value, from, strict).ok_or_else(|| fault.clone())?;
        let outcome = removal_outcome(from);
        removed = Some((steps, fault.clone()));
        repairs.push(Repair { at: fault, outcome });
    }
    repairs.extend(kept(value, decode, &ours));
    Ok(repairs)
}

/// Outcome of a removal of what the steps lead to: a balance of a list is an element of it,
/// wherever the list is.
fn removal_outcome(steps: &[Step]) -> Outcome {
    match steps {
        [.., Step::Name(list), Step::Index(_)] if list == "balances" => Outcome::ElementLeftOut,
        _ => Outcome::FieldLeftOut,
    }
}

/// Values that are kept though the standard has them otherwise: texts that are too
/// long, and names of its own.
fn kept(value: &Value, decode: Decode, ours: &[Vec<Step>]) -> Vec<Repair> {
    let mut probe = value.clone();
    let mut kept = Vec::new();
    while kept.len() < MAX_IN_ONE_ELEMENT
        && let Err(at) = decode(&probe, Manner::Exact)
        && let Some(Value::String(text)) = at_mut(&mut probe, &at.steps)
    {
        let allowed = at
            .reason
            .strip_prefix("longer than ")
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        let exact = match (allowed, name(&at.steps)) {
            (Some(most), _) => text.chars().take(most).collect(),
            (None, Some("balanceType")) => "expected".to_owned(),
            (None, _) => break,
        };
        if *text == exact {
            break;
        }
        *text = exact;
        if !ours.contains(&at.steps) {
            kept.push(Repair {
                at,
                outcome: Outcome::Kept,
            });
        }
    }
    kept
}

/// Removes what the steps lead to, from its object or its list. A list that is empty then goes too.
/// Returns the way to what is not there any more; `None` if it is strict.
fn remove(value: &mut Value, steps: &[Step], strict: &[&str]) -> Option<Vec<Step>> {
    let (last, owner) = steps.split_last()?;
    match (last, at_mut(value, owner)?) {
        // "Nothing" and a blank text stand for what could be left out.
        (Step::Name(name), Value::Object(object))
            if !is_strict(steps, strict) || object.get(name).is_some_and(is_blank) =>
        {
            object.remove(name)?;
        }
        (Step::Index(index), Value::Array(elements))
            if !is_strict(steps, strict) && *index < elements.len() =>
        {
            elements.remove(*index);
            if elements.is_empty() {
                return remove(value, owner, strict);
            }
        }
        _ => return None,
    }
    Some(steps.to_vec())
}

/// Whether what the steps lead to is in the table of what is strict. Of a list that is, each
/// element is.
fn is_strict(steps: &[Step], strict: &[&str]) -> bool {
    strict.contains(&names(steps).join(".").as_str())
}

/// Money, which is never guessed at: an amount and its currency.
fn is_money(steps: &[Step]) -> bool {
    match names(steps).as_slice() {
        [.., "amount"] | ["currency"] => true,
        [.., owner, "currency"] => !owner.to_ascii_lowercase().ends_with("account"),
        _ => false,
    }
}

/// Nothing, or a placeholder text.
pub(crate) fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Puts something in the place of a required field that is missing, if what it belongs to says
/// enough without: which balance it is, the number of a card account that has an id, and the links
/// of a page. `was_odd`: something was there that cannot be read. A status that the standard does
/// not have is neither approved nor ended: `received`. Returns whether it did.
fn supply(value: &mut Value, steps: &[Step], was_odd: bool) -> bool {
    let neutral = match name(steps) {
        Some("consentStatus" | "scaStatus") if was_odd => "received".into(),
        Some("balanceType") => "unknown".into(),
        Some("maskedPan") => "".into(),
        Some("_links") if is_a_pages_links(steps) => Value::Object(Map::new()),
        _ => return false,
    };
    let (Some(Step::Name(name)), Some(Value::Object(owner))) =
        (steps.last(), at_mut(value, parent(steps)))
    else {
        return false;
    };
    if name == "maskedPan" && owner.get("resourceId").is_none_or(is_blank) {
        return false;
    }
    owner.insert(name.clone(), neutral);
    true
}

/// The links of a page of transactions. Many banks leave them out where there is no further page.
fn is_a_pages_links(steps: &[Step]) -> bool {
    matches!(
        names(steps).as_slice(),
        ["transactions" | "cardTransactions", "_links"]
    )
}

/// Puts a value into a form that its field takes and that means the same, if there is one. Returns
/// where that is.
fn put_into_form(
    value: &mut Value,
    fault: &Fault,
    strict: &[&str],
    decode: Decode,
) -> Option<Vec<Step>> {
    let steps = &fault.steps;
    if fault.missing || is_money(steps) {
        return None;
    }
    let odd = at(value, steps)?.clone();
    if is_blank(&odd) {
        return None;
    }
    let is_strict = is_strict(steps, strict);
    let forms = if is_strict {
        odd.as_str().and_then(day).into_iter().collect()
    } else {
        forms(steps, &odd)
    };
    for form in forms {
        let is_list = form.is_array();
        *at_mut(value, steps)? = form;
        let still = decode(value, Manner::Tolerant).err();
        // A fault within the only element of a list comes next.
        let is_within = |again: &Fault| is_list && again.steps.len() > steps.len() + 1;
        if still.is_none_or(|again| !again.steps.starts_with(steps) || is_within(&again)) {
            return Some(steps.clone());
        }
    }
    *at_mut(value, steps)? = odd;
    if is_strict {
        return None;
    }
    move_number(value, steps)
}

/// The day of a day with a time.
fn day(text: &str) -> Option<Value> {
    let (day, time) = text.trim().split_once(['T', ' '])?;
    let is_time = time.get(..5).is_some_and(|time| {
        let (hour, minute) = (time.get(..2), time.get(3..));
        let digits = |part: Option<&str>| part.is_some_and(|part| part.parse::<u8>().is_ok());
        digits(hour) && time.get(2..3) == Some(":") && digits(minute)
    });
    (is_time && day.parse::<NaiveDate>().is_ok()).then(|| day.into())
}

/// Forms in which the value may be meant, the likeliest first.
fn forms(steps: &[Step], odd: &Value) -> Vec<Value> {
    let name = name(steps);
    // Lists of objects whose elements some banks write as texts, and what these are.
    let only_member = match names(steps).last().copied() {
        Some(list) if list.ends_with("StructuredArray") => Some("reference"),
        Some("ownerNames") => Some("name"),
        _ => None,
    };
    match odd {
        Value::String(text) => {
            let text = text.trim();
            let mut forms = Vec::new();
            let mut form = |form: Value| forms.push(form);
            if name == Some("iban") {
                let compact: String = text.split_whitespace().collect();
                let iban: Option<Iban> = compact.to_ascii_uppercase().parse().ok();
                return iban
                    .filter(Iban::check_digits_hold)
                    .map(|iban| iban.as_str().into())
                    .into_iter()
                    .collect();
            }
            if name.is_some_and(|name| name.ends_with("Account")) && !text.is_empty() {
                let number = serde_json::json!({ "iban": text });
                let other = serde_json::json!({ "other": { "identification": text } });
                return vec![number, other];
            }
            if let Some(member) = only_member {
                let element = serde_json::json!({ member: text });
                form(match name {
                    Some(_) => Value::Array(vec![element]),
                    None => element,
                });
            }
            // A day with a time, a time without an offset.
            if let Some(day) = day(text) {
                form(day);
                form(format!("{text}Z").into());
            }
            if let Ok(number) = text.parse::<u64>() {
                form(number.into());
            }
            if let Ok(truth) = text.to_ascii_lowercase().parse::<bool>() {
                form(truth.into());
            }
            form(text.into());
            form(text.to_ascii_uppercase().into());
            form(text.to_ascii_lowercase().into());
            // One line of a list.
            form(Value::Array(vec![text.into()]));
            forms
        }
        // More digits than these are not certain to be those that were written.
        Value::Number(number) if number.to_string().len() <= 16 => {
            vec![number.to_string().into()]
        }
        Value::Bool(truth) => vec![truth.to_string().into()],
        // Lines of a text, or a list of the one thing that is wanted.
        Value::Array(elements) => {
            let lines: Option<Vec<&str>> = elements.iter().map(Value::as_str).collect();
            let text = lines
                .filter(|lines| !lines.is_empty())
                .map(|lines| lines.join(" ").into());
            let only = match elements.as_slice() {
                [only @ Value::Object(_)] => Some(only.clone()),
                _ => None,
            };
            text.into_iter().chain(only).collect()
        }
        Value::Object(object) => {
            let reference = object.get("reference").filter(|text| text.is_string());
            let only = (!object.is_empty()).then(|| Value::Array(vec![odd.clone()]));
            reference.cloned().into_iter().chain(only).collect()
        }
        Value::Number(_) | Value::Null => Vec::new(),
    }
}

/// A number that is no IBAN is kept where other numbers are: that of another party's account as its
/// other identification, that of the account itself as its BBAN. Returns where it is now.
fn move_number(value: &mut Value, steps: &[Step]) -> Option<Vec<Step>> {
    let (Step::Name(last), owner) = steps.split_last()? else {
        return None;
    };
    let of_others = name(owner).is_some_and(|name| name.ends_with("Account"));
    let Value::Object(account) = at_mut(value, owner)? else {
        return None;
    };
    let text = account.get("iban")?.as_str()?;
    if last != "iban" || text.trim().is_empty() {
        return None;
    }
    let (place, inner) = if of_others {
        ("other", Some("identification"))
    } else {
        ("bban", None)
    };
    if account.contains_key(place) {
        return None;
    }
    let number = account.remove("iban")?;
    let number = match inner {
        Some(inner) => serde_json::json!({ inner: number }),
        None => number,
    };
    account.insert(place.to_owned(), number);
    let mut steps = owner.to_vec();
    steps.extend(
        [Some(place), inner]
            .into_iter()
            .flatten()
            .map(|name| Step::Name(name.into())),
    );
    Some(steps)
}

fn steps(names: &[&str]) -> Vec<Step> {
    let step = |name: &&str| Step::Name((*name).to_owned());
    names.iter().map(step).collect()
}

fn parent(steps: &[Step]) -> &[Step] {
    steps.split_last().map_or(&[], |(_, parent)| parent)
}

/// The names among the steps, without positions.
fn names(steps: &[Step]) -> Vec<&str> {
    let steps = steps.iter();
    steps
        .filter_map(|step| name(std::slice::from_ref(step)))
        .collect()
}

/// The name of what the steps lead to, if it is a member of an object.
fn name(steps: &[Step]) -> Option<&str> {
    match steps.last()? {
        Step::Name(name) => Some(name),
        Step::Index(_) => None,
    }
}

/// The steps as a path, from the root of the answer or behind a place in it. A link has a name that
/// may be the bank's own: it is reported only if it is one of those that are followed.
fn path(steps: &[Step], from_root: bool) -> String {
    let mut path = String::new();
    let mut is_link = false;
    for step in steps {
        match step {
            Step::Index(index) => {
                // Writing to a text does not fail.
                let _ = write!(path, "[{index}]");
            }
            Step::Name(name) => {
                if !(from_root && path.is_empty()) {
                    path.push('.');
                }
                path.push_str(match name.as_str() {
                    other if is_link && !FOLLOWED.contains(&other) => "?",
                    name => name,
                });
                is_link = name == "_links";
            }
        }
    }
    path
}

/// The names of links that are followed, or that determine the next step.
const FOLLOWED: &[&str] = &[
    "authoriseTransaction",
    "balances",
    "confirmation",
    "download",
    "next",
    "scaRedirect",
    "scaStatus",
    "selectAuthenticationMethod",
    "startAuthorisation",
    "startAuthorisationWithPsuAuthentication",
    "startAuthorisationWithPsuIdentification",
    "transactions",
    "updatePsuAuthentication",
    "updatePsuIdentification",
];

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;
    use shared_types::xs2a::account::{AccountBalances, AccountList};
    use shared_types::xs2a::authorisation::{AuthorisationList, AuthorisationStarted};
    use shared_types::xs2a::card_account::{
        CardAccountBalances, CardAccountList, CardTransactionsResponse,
    };
    use shared_types::xs2a::consent::{ConsentCreated, ConsentInformation};
    use shared_types::xs2a::transaction::{TransactionResponse, TransactionsResponse};

    use super::*;

    fn answer<T: ValidateResponse>(body: &Value) -> Result<Response<T>, Malformed> {
        let body = body.to_string().into_bytes();
        let mut shape = Shape::default();
        shape.scan(&body);
        decode("Bank B", &body, &shape, None)
    }

    /// What was read, and where it deviates and how.
    fn read_odd<T: ValidateResponse + Serialize>(body: &Value) -> (Value, Vec<(String, Outcome)>) {
        let answer = answer::<T>(body).unwrap();
        let told = answer.deviations.iter();
        let told = told.map(|deviation| (deviation.path.clone(), deviation.outcome));
        (json!(*answer), told.collect())
    }

    fn money(amount: &str) -> Value {
        json!({ "currency": "EUR", "amount": amount })
    }

    fn balance() -> Value {
        json!({
            "balanceAmount": money("1000.00"), "balanceType": "interimBooked", "creditLimitIncluded": false,
            "lastChangeDateTime": "2026-11-28T10:15:30Z", "referenceDate": "2026-11-28", "lastCommittedTransaction": "E1",
        })
    }

    fn party() -> Value {
        json!({ "iban": "DE89370400440532013000", "currency": "EUR", "other": { "identification": "1", "issuer": "x" } })
    }

    fn entry(id: &str) -> Value {
        json!({
            "transactionId": id, "entryReference": "E1", "endToEndId": "e", "mandateId": "m", "checkId": "c", "creditorId": "i",
            "bookingDate": "2026-11-27", "valueDate": "2026-11-28", "transactionAmount": money("-14.54"),
            "currencyExchange": [
                { "sourceCurrency": "USD", "exchangeRate": "0.97", "unitCurrency": "USD", "targetCurrency": "EUR",
                  "quotationDate": "2026-11-27", "contractIdentification": "k" },
            ],
            "creditorName": "Shop", "creditorAccount": party(), "creditorAgent": "BNKBFRPP", "ultimateCreditor": "u",
            "debtorName": "Anna", "debtorAccount": party(), "debtorAgent": "BNKBFRPP", "ultimateDebtor": "v",
            "remittanceInformationUnstructured": "Rent", "remittanceInformationStructured": "RF18",
            "remittanceInformationStructuredArray": [{ "reference": "RF18", "referenceType": "SCOR", "referenceIssuer": "i" }],
            "additionalInformation": "a", "purposeCode": "SALA", "bankTransactionCode": "PMNT", "proprietaryBankTransactionCode": "p",
            "balanceAfterTransaction": balance(), "_links": { "transactionDetails": { "href": "/v1/x" } },
        })
    }

    fn page(booked: &[Value]) -> Value {
        json!({ "account": party(), "transactions": { "booked": booked, "pending": [], "_links": {} } })
    }

    /// Every member of objects within the value, by the steps that lead to it.
    fn members(value: &Value, steps: &[Step], found: &mut Vec<Vec<Step>>) {
        let mut within = |step: Step, value: &Value| {
            let steps = [steps, &[step]].concat();
            if matches!(steps.last(), Some(Step::Name(_))) {
                found.push(steps.clone());
            }
            members(value, &steps, found);
        };
        match value {
            Value::Object(object) => object
                .iter()
                .for_each(|(name, value)| within(Step::Name(name.clone()), value)),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .for_each(|(index, value)| within(Step::Index(index), value)),
            _ => {}
        }
    }

    /// What the schema requires in an object that an entry may have.
    const REQUIRED: &[&str] = &[
        "identification",
        "sourceCurrency",
        "exchangeRate",
        "unitCurrency",
        "targetCurrency",
        "quotationDate",
        "reference",
        "balanceAmount",
        "balanceType",
        "amount",
        "href",
    ];

    /// The value without that member, without what cannot be without it, and without lists that are
    /// empty then.
    fn without(value: &Value, steps: &[Step]) -> Value {
        let mut rest = value.clone();
        let mut steps = steps.to_vec();
        loop {
            let last = steps.pop().unwrap();
            let owner = at_mut(&mut rest, &steps).unwrap();
            let also = match (&last, owner) {
                (Step::Name(name), Value::Object(object)) => {
                    object.remove(name);
                    let of_money = object.contains_key("amount") && name == "currency";
                    REQUIRED.contains(&name.as_str()) || of_money
                }
                (Step::Index(index), Value::Array(elements)) => {
                    elements.remove(*index);
                    elements.is_empty()
                }
                _ => unreachable!(),
            };
            if !also {
                return rest;
            }
        }
    }

    #[test]
    fn a_status_that_the_standard_does_not_have_is_neither_approved_nor_ended() {
        let created = json!({ "consentId": "c-1", "_links": {} });
        let started = json!({ "authorisationId": "a-1", "_links": {} });
        for word in [json!("inProgressAtBank"), json!(7), json!("")] {
            let with = |body: &Value, field: &str| {
                let mut body = body.clone();
                body[field] = word.clone();
                body
            };
            let told = |field: &str| vec![(field.to_owned(), Outcome::FieldLeftOut)];
            let odd = with(&created, "consentStatus");
            let (read, deviations) = read_odd::<ConsentCreated>(&odd);
            assert_eq!(read["consentStatus"], "received", "{word}");
            assert_eq!(deviations, told("consentStatus"));
            let odd = with(&started, "scaStatus");
            let (read, deviations) = read_odd::<AuthorisationStarted>(&odd);
            assert_eq!(read["scaStatus"], "received", "{word}");
            assert_eq!(deviations, told("scaStatus"));
        }
        // Where there is none, nothing is made up.
        let fault = answer::<AuthorisationStarted>(&started).unwrap_err();
        assert_eq!(fault.path, "scaStatus");
    }

    #[test]
    fn one_odd_member_of_an_entry_hides_no_other_and_a_strict_one_hides_no_other_entry() {
        let whole = entry("2");
        let mut all = Vec::new();
        members(&whole, &[], &mut all);
        assert!(all.len() > 50, "{}", all.len());
        for steps in all {
            let names = names(&steps);
            let strict = matches!(names[0], "transactionAmount" | "bookingDate");
            let mut odd = whole.clone();
            // No type of ours takes it, in whichever form.
            *at_mut(&mut odd, &steps).unwrap() = json!([[7]]);
            let body = page(&[entry("1"), odd, entry("3")]);
            let (read, told) = read_odd::<TransactionsResponse>(&body);
            let [(path, outcome)] = told.as_slice() else {
                panic!("{names:?}: {told:?}")
            };
            assert!(path.starts_with("transactions.booked[1]."), "{path}");
            let expected = if strict {
                assert_eq!(*outcome, Outcome::ElementLeftOut, "{names:?}");
                page(&[entry("1"), entry("3")])
            } else {
                assert_eq!(*outcome, Outcome::FieldLeftOut, "{names:?}");
                let mut rest = whole.clone();
                if names == ["balanceAfterTransaction", "balanceType"] {
                    *at_mut(&mut rest, &steps).unwrap() = json!("unknown");
                } else {
                    rest = without(&whole, &steps);
                }
                page(&[entry("1"), rest, entry("3")])
            };
            assert_eq!(read, expected, "{names:?}");
        }
    }

    #[test]
    fn what_conforms_has_no_deviation() {
        assert_eq!(read_odd::<TransactionsResponse>(&page(&[entry("1")])).1, []);
    }

    /// The field of the only entry, after it was read with another value, and what became of it.
    fn field(name: &str, value: &Value) -> (Value, Vec<(String, Outcome)>) {
        let mut odd = entry("1");
        odd[name] = value.clone();
        let (read, told) = read_odd::<TransactionsResponse>(&page(&[odd]));
        (read["transactions"]["booked"][0][name].clone(), told)
    }

    #[test]
    fn what_is_meant_is_kept() {
        let long = "x".repeat(200);
        let lower = json!({ "iban": "de89 3704 0044 0532 0130 00" });
        let strange = json!({ "iban": "not an IBAN" });
        let kept = json!({ "other": { "identification": "not an IBAN" } });
        for (name, value, expected) in [
            ("creditorName", json!(long), json!(long)),
            (
                "remittanceInformationUnstructured",
                json!(long),
                json!(long),
            ),
            (
                "remittanceInformationUnstructured",
                json!(["Rent", "May"]),
                json!("Rent May"),
            ),
            (
                "remittanceInformationStructured",
                json!({ "reference": "RF18" }),
                json!("RF18"),
            ),
            ("endToEndId", json!(4711), json!("4711")),
            ("purposeCode", json!("SALARY"), json!("SALARY")),
            (
                "creditorAccount",
                lower,
                json!({ "iban": "DE89370400440532013000" }),
            ),
            ("creditorAccount", strange, kept),
            (
                "debtorAccount",
                json!("DE89370400440532013000"),
                json!({ "iban": "DE89370400440532013000" }),
            ),
            (
                "debtorAccount",
                json!({ "currency": "eur" }),
                json!({ "currency": "EUR" }),
            ),
            (
                "remittanceInformationUnstructuredArray",
                json!("Rent"),
                json!(["Rent"]),
            ),
            (
                "remittanceInformationStructuredArray",
                json!(["RF18"]),
                json!([{ "reference": "RF18" }]),
            ),
            (
                "remittanceInformationStructuredArray",
                json!("RF18"),
                json!([{ "reference": "RF18" }]),
            ),
            (
                "currencyExchange",
                entry("1")["currencyExchange"][0].clone(),
                entry("1")["currencyExchange"].clone(),
            ),
            ("creditorAccount", json!([party()]), party()),
            (
                "valueDate",
                json!("2026-11-28T00:00:00"),
                json!("2026-11-28"),
            ),
            (
                "bookingDate",
                json!("2026-11-27T23:30:00+01:00"),
                json!("2026-11-27"),
            ),
        ] {
            let (read, told) = field(name, &value);
            assert_eq!(read, expected, "{name}");
            assert!(
                matches!(told.as_slice(), [(_, Outcome::Kept)]),
                "{name}: {told:?}"
            );
        }
        // The check digits of a counterparty's IBAN are not ours to judge.
        let wrong = json!({ "iban": "DE88370400440532013000" });
        assert_eq!(field("creditorAccount", &wrong), (wrong, vec![]));
    }

    #[test]
    fn what_is_odd_within_the_only_element_of_a_list_costs_no_more_than_itself() {
        let mut rate = entry("1")["currencyExchange"][0].clone();
        rate["contractIdentification"] = json!({});
        let (read, told) = field("currencyExchange", &rate);
        rate.as_object_mut()
            .unwrap()
            .remove("contractIdentification");
        assert_eq!(read, json!([rate]));
        let outcomes: Vec<Outcome> = told.iter().map(|(_, outcome)| *outcome).collect();
        assert_eq!(outcomes, [Outcome::Kept, Outcome::FieldLeftOut], "{told:?}");
        let account = json!({ "resourceId": "a", "currency": "EUR", "ownerNames": ["Anna"] });
        let (read, _) = read_odd::<AccountList>(&json!({ "accounts": account }));
        assert_eq!(
            read["accounts"][0]["ownerNames"],
            json!([{ "name": "Anna" }])
        );
        // What is followed is not guessed at because its list is none: what is no element either,
        // is no list of one.
        let account = json!({ "resourceId": 7, "currency": "EUR" });
        let fault = answer::<AccountList>(&json!({ "accounts": account })).unwrap_err();
        assert_eq!(fault.path, "accounts");
    }

    #[test]
    fn the_day_that_orders_an_entry_alone_is_strict_and_a_blank_one_is_none() {
        for (days, kept) in [
            (json!(["2026-11-27", ""]), Some(json!(["2026-11-27", null]))),
            (json!(["", "2026-11-28"]), Some(json!([null, "2026-11-28"]))),
            (json!([" ", ""]), Some(json!([null, null]))),
            (
                json!(["2026-11-27", "soon"]),
                Some(json!(["2026-11-27", null])),
            ),
            (json!(["soon", "2026-11-28"]), None),
            (json!(["", "soon"]), None),
            (json!([null, "soon"]), None),
            (json!([null, "2026-11-28 soon"]), None),
        ] {
            let mut odd = entry("1");
            odd["bookingDate"] = days[0].clone();
            odd["valueDate"] = days[1].clone();
            let body = json!({ "transactions": { "booked": [], "pending": [odd], "_links": {} } });
            let (read, _) = read_odd::<TransactionsResponse>(&body);
            let entry = read["transactions"]["pending"].get(0);
            let read = entry.map(|entry| json!([entry["bookingDate"], entry["valueDate"]]));
            assert_eq!(read, kept, "{days}");
        }
    }

    #[test]
    fn a_balance_within_an_account_is_an_element_that_is_missing() {
        let whole = balance();
        let mut odd = balance();
        odd["balanceAmount"]["amount"] = json!("many");
        let account =
            json!({ "resourceId": "a", "currency": "EUR", "balances": [odd, whole.clone()] });
        let body = json!({ "accounts": [account] });
        let answer = answer::<AccountList>(&body).unwrap();
        assert_eq!(answer.deviations.left_out(), 1);
        assert!(!answer.is_whole());
        let (read, told) = read_odd::<AccountList>(&body);
        assert_eq!(read["accounts"][0]["balances"], json!([whole]));
        let path = "accounts[0].balances[0].balanceAmount".to_owned();
        assert_eq!(told, [(path, Outcome::ElementLeftOut)]);
    }

    #[test]
    fn a_balance_beside_entries_is_no_entry_that_is_missing() {
        let mut body = page(&[entry("1")]);
        body["balances"] = json!([{ "balanceType": "expected" }, balance()]);
        let answer = answer::<TransactionsResponse>(&body).unwrap();
        let deviations = &answer.deviations;
        assert_eq!(
            (deviations.left_out(), deviations.requested_left_out()),
            (1, 0)
        );
    }

    #[test]
    fn a_balance_of_an_unknown_type_and_a_card_without_number_are_kept() {
        let mut none = balance();
        none.as_object_mut().unwrap().remove("balanceType");
        let mut blank = balance();
        blank["balanceType"] = json!(" ");
        let mut odd = balance();
        odd["balanceType"] = json!({});
        let (read, told) = read_odd::<AccountBalances>(&json!({ "balances": [none, blank, odd] }));
        for (index, told) in told.iter().enumerate() {
            assert_eq!(read["balances"][index]["balanceType"], "unknown");
            let path = format!("balances[{index}].balanceType");
            assert_eq!(*told, (path, Outcome::FieldLeftOut));
        }
        assert_eq!(told.len(), 3);

        let cards = json!({ "cardAccounts": [{ "resourceId": "a", "currency": "EUR" }, { "currency": "EUR" }] });
        let answer = answer::<CardAccountList>(&cards).unwrap();
        let [card] = answer.card_accounts.as_slice() else {
            panic!("{answer:?}")
        };
        assert_eq!(card.resource_id.as_deref(), Some("a"));
        assert!(!card.reference().has_number());
        assert_eq!(
            (answer.deviations.total(), answer.deviations.left_out()),
            (2, 1)
        );
    }

    #[test]
    fn texts_have_a_limit_of_ours() {
        let endless = json!("x".repeat(4001));
        let (read, told) = field("creditorName", &endless);
        assert_eq!(read, Value::Null);
        assert!(
            matches!(told.as_slice(), [(_, Outcome::FieldLeftOut)]),
            "{told:?}"
        );
    }

    #[test]
    fn balances_of_a_type_of_the_banks_own_and_times_without_offset_are_kept() {
        let mut own = balance();
        own["balanceType"] = json!("CLBD");
        let mut local = balance();
        local["lastChangeDateTime"] = json!("2026-11-28T10:15:30.123");
        local["referenceDate"] = json!("2026-11-28T00:00:00");
        let mut money = balance();
        money["balanceAmount"]["amount"] = json!(12.5);
        let body = json!({ "balances": [own, local, money, balance()] });
        let (read, told) = read_odd::<AccountBalances>(&body);
        assert_eq!(read["balances"][0], own);
        assert_eq!(
            read["balances"][1]["lastChangeDateTime"],
            "2026-11-28T10:15:30.123Z"
        );
        assert_eq!(read["balances"][1]["referenceDate"], "2026-11-28");
        assert_eq!(read["balances"][2], balance());
        let expected = [
            ("balances[0].balanceType", Outcome::Kept),
            ("balances[1].lastChangeDateTime", Outcome::Kept),
            ("balances[1].referenceDate", Outcome::Kept),
            ("balances[2].balanceAmount.amount", Outcome::ElementLeftOut),
        ];
        assert_eq!(
            told,
            expected.map(|(path, outcome)| (path.to_owned(), outcome))
        );
    }

    #[test]
    fn accounts_that_cannot_be_followed_are_left_out_and_others_keep_their_places() {
        let account = |id: Value| json!({ "resourceId": id, "currency": "EUR" });
        let mut odd = account(json!("b"));
        odd["status"] = json!("frozen");
        odd["usage"] = json!("priv");
        odd["iban"] = json!("1234567890");
        odd["balances"] = json!([{ "balanceType": "expected" }]);
        let body = json!({ "accounts": [account(json!(7)), odd, account(json!("c")), account(json!("c")), account(json!(".."))] });
        let (read, told) = read_odd::<AccountList>(&body);
        let kept =
            json!({ "resourceId": "b", "currency": "EUR", "usage": "PRIV", "bban": "1234567890" });
        assert_eq!(read, json!({ "accounts": [kept] }));
        let expected = [
            ("accounts[0].resourceId", Outcome::ElementLeftOut),
            ("accounts[1].iban", Outcome::Kept),
            ("accounts[1].status", Outcome::FieldLeftOut),
            ("accounts[1].usage", Outcome::Kept),
            (
                "accounts[1].balances[0].balanceAmount",
                Outcome::ElementLeftOut,
            ),
            ("accounts[2].resourceId", Outcome::ElementLeftOut),
            ("accounts[3].resourceId", Outcome::ElementLeftOut),
            ("accounts[4].resourceId", Outcome::ElementLeftOut),
        ];
        let mut told = told;
        told.sort_by(|one, other| one.0.cmp(&other.0));
        let mut expected = expected
            .map(|(path, outcome)| (path.to_owned(), outcome))
            .to_vec();
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(told, expected);
    }

    #[test]
    fn lists_and_links_that_are_followed_are_never_taken_as_none() {
        for (name, value) in [
            ("booked", json!({})),
            ("pending", json!("none")),
            ("_links", json!([7])),
            ("_links", json!({ "next": "/v1/x" })),
        ] {
            let mut body = page(&[entry("1")]);
            body["transactions"][name] = value;
            let fault = answer::<TransactionsResponse>(&body).unwrap_err();
            assert!(
                fault.path.starts_with(&format!("transactions.{name}")),
                "{fault}"
            );
        }
        let mut body = page(&[entry("1")]);
        body["transactions"] = json!([]);
        assert_eq!(
            answer::<TransactionsResponse>(&body).unwrap_err().path,
            "transactions"
        );
        assert_eq!(
            answer::<TransactionsResponse>(&json!([])).unwrap_err().path,
            "."
        );
        // A page without any is the last one.
        let mut missing = page(&[entry("1")]);
        let lists = missing["transactions"].as_object_mut().unwrap();
        lists.remove("_links").unwrap();
        let mut null = page(&[entry("1")]);
        null["transactions"]["_links"] = Value::Null;
        for body in [missing, null] {
            let (read, told) = read_odd::<TransactionsResponse>(&body);
            let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
            assert_eq!(paths, ["transactions._links"]);
            assert_eq!(read, page(&[entry("1")]));
        }
        // Links that lead nowhere for us, and "nothing" for none.
        let mut body = page(&[entry("1")]);
        body["transactions"]["_links"] = json!({ "own thing": 7, "next": null });
        let (_, told) = read_odd::<TransactionsResponse>(&body);
        let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["transactions._links.?"]);
    }

    /// Each deviation costs the element it is in: what a large one with many costs has an end.
    #[test]
    fn many_deviations_in_a_large_element_cost_no_more_than_there_is_work() {
        let exchange = |quoted: &str| {
            json!({
                "sourceCurrency": "USD", "exchangeRate": "1.1", "unitCurrency": "EUR", "targetCurrency": "EUR",
                "quotationDate": quoted,
            })
        };
        let mut large = entry("1");
        let mut all = vec![exchange("2026-11-02"); 20_000];
        all.extend(vec![exchange("?"); 90]);
        large["currencyExchange"] = all.into();
        let document = page(&[large.clone(), entry("2")]);
        let answer = answer::<TransactionsResponse>(&document).unwrap();
        assert_eq!(answer.deviations.left_out(), 1);
        let told = answer.deviations.iter().next().unwrap();
        assert!(told.reason.contains("than can be looked at"), "{told}");
        let mut work = RepairBudget::on(&document);
        let mut repairs = 0;
        while work.take(values(&large)) {
            repairs += 1;
        }
        assert!(repairs < 50, "{repairs}");
    }

    #[test]
    fn a_name_twice_costs_its_object_and_what_needs_it() {
        let whole = page(&[entry("1"), entry("2")]).to_string();
        let twice = |from: &str, to: &str| {
            let body = whole.replacen(from, to, 1);
            assert_ne!(body, whole);
            let mut shape = Shape::default();
            shape.scan(body.as_bytes());
            decode::<TransactionsResponse>("Bank B", body.as_bytes(), &shape, None).unwrap()
        };
        let amount = r#""amount":"-14.54""#;
        let answer = twice(amount, &format!("{amount},{amount}"));
        assert_eq!(answer.deviations.left_out(), 1);
        assert_eq!(
            answer
                .transactions
                .as_ref()
                .unwrap()
                .booked
                .as_ref()
                .unwrap()
                .len(),
            1
        );
        let issuer = r#""issuer":"x""#;
        let answer = twice(issuer, &format!("{issuer},{issuer}"));
        let told: Vec<_> = answer.deviations.iter().map(ToString::to_string).collect();
        assert_eq!(answer.deviations.total(), 1, "{told:?}");
        assert!(
            told[0].contains("a name is there twice (field left out)"),
            "{told:?}"
        );
    }

    #[test]
    fn an_entry_with_too_many_deviations_is_left_out() {
        let mut odd = entry("1");
        let rates = vec![json!({ "sourceCurrency": 7 }); MAX_IN_ONE_ELEMENT + 1];
        odd["currencyExchange"] = rates.into();
        let (read, told) = read_odd::<TransactionsResponse>(&page(&[odd, entry("2")]));
        assert_eq!(read, page(&[entry("2")]));
        assert!(
            matches!(told.as_slice(), [(_, Outcome::ElementLeftOut)]),
            "{told:?}"
        );
    }

    #[test]
    fn of_a_consent_odd_fields_are_left_out() {
        let consent = |name: &str, value: Value| {
            let mut consent = json!({
                "access": { "allPsd2": "allAccounts" }, "recurringIndicator": true, "validUntil": "2027-05-24",
                "frequencyPerDay": 4, "lastActionDate": "2026-11-27", "consentStatus": "valid",
            });
            consent[name] = value;
            consent
        };
        for (name, odd, expected, outcome) in [
            (
                "lastActionDate",
                json!("2026-11-27T00:00:00"),
                json!("2026-11-27"),
                Outcome::Kept,
            ),
            (
                "frequencyPerDay",
                json!(0),
                Value::Null,
                Outcome::FieldLeftOut,
            ),
            ("frequencyPerDay", json!("4"), json!(4), Outcome::Kept),
            (
                "access",
                json!({ "allPsd2": "everything" }),
                json!({}),
                Outcome::FieldLeftOut,
            ),
            ("access", json!("all"), json!({}), Outcome::FieldLeftOut),
            (
                "validUntil",
                json!("soon"),
                Value::Null,
                Outcome::FieldLeftOut,
            ),
            (
                "recurringIndicator",
                json!("yes"),
                Value::Null,
                Outcome::FieldLeftOut,
            ),
        ] {
            let (read, told) = read_odd::<ConsentInformation>(&consent(name, odd.clone()));
            assert_eq!(
                read.get(name).unwrap_or(&Value::Null),
                &expected,
                "{name}: {odd}"
            );
            assert_eq!(read["consentStatus"], "valid");
            let [(_, became)] = told.as_slice() else {
                panic!("{name}: {told:?}")
            };
            assert_eq!(*became, outcome, "{name}: {odd}");
        }
        let odd = consent("consentStatus", json!("good"));
        let (read, _) = read_odd::<ConsentInformation>(&odd);
        assert_eq!(read["consentStatus"], "received");
    }

    #[test]
    fn of_a_step_of_an_approval_ids_and_links_that_lead_on_are_strict() {
        let created = |name: &str, value: Value| {
            let mut created = json!({
                "consentStatus": "received", "consentId": "c", "psuMessage": "Welcome",
                "scaMethods": [{ "authenticationType": "SMS_OTP", "authenticationMethodId": "m" }],
                "_links": { "scaRedirect": { "href": "https://bank.example" } },
            });
            created[name] = value;
            created
        };
        for (name, odd) in [
            ("psuMessage", json!([7])),
            ("scaMethods", json!([{ "authenticationType": "SMS_OTP" }])),
            ("scaMethods", json!("all")),
            ("challengeData", json!({ "otpMaxLength": "six" })),
            (
                "_links",
                json!({ "self": 7, "scaRedirect": { "href": "https://bank.example" } }),
            ),
        ] {
            let (read, told) = read_odd::<ConsentCreated>(&created(name, odd));
            assert_eq!(told.len(), 1, "{name}: {told:?}");
            assert_eq!(
                read["_links"]["scaRedirect"]["href"],
                "https://bank.example"
            );
        }
        for (name, odd) in [
            ("consentId", json!("..")),
            ("consentId", json!(7)),
            ("_links", json!({ "scaRedirect": "https://bank.example" })),
        ] {
            assert!(
                answer::<ConsentCreated>(&created(name, odd)).is_err(),
                "{name}"
            );
        }
        let started = json!({ "scaStatus": "received", "authorisationId": {}, "_links": {} });
        assert!(answer::<AuthorisationStarted>(&started).is_err());
        let list = json!({ "authorisationIds": ["a", 7] });
        assert!(answer::<AuthorisationList>(&list).is_err());
    }

    #[test]
    fn examples_of_the_standard_against_its_schema_may_deviate_too() {
        let mut odd = entry("1");
        odd["purposeCode"] = json!([7]);
        for details in [json!({ "transactionDetails": odd }), odd.clone()] {
            let body = json!({ "transactionsDetails": details });
            let (_, told) = read_odd::<TransactionResponse>(&body);
            let path = "transactionsDetails.transactionDetails.purposeCode".to_owned();
            assert_eq!(told, [(path, Outcome::FieldLeftOut)]);
        }
        let mut odd = balance();
        odd["debitAccounting"] = json!(true);
        odd["referenceDate"] = json!("soon");
        let body = json!({ "balances": [{ "debitAccounting": true }, odd] });
        let (read, told) = read_odd::<CardAccountBalances>(&body);
        assert_eq!(read["debitAccounting"], true);
        let path = "balances[0].referenceDate".to_owned();
        assert_eq!(told, [(path, Outcome::FieldLeftOut)]);
        let card = json!({ "cardTransactionId": "1", "transactionAmount": money("1"), "originalAmount": 7 });
        let body = json!({ "cardTransactions": { "booked": [card], "_links": {} } });
        let (_, told) = read_odd::<CardTransactionsResponse>(&body);
        let path = "cardTransactions.booked[0].originalAmount".to_owned();
        assert_eq!(told, [(path, Outcome::FieldLeftOut)]);
    }
}
