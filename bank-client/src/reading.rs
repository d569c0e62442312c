//! Reading of answers: exactly as the standard has them, and where they deviate, as far as the policy of
//! [`deviations`](crate::deviations) goes.
//!
//! An answer that conforms is read in one go. One that does not is read once more as a document, and then element by element
//! of its lists: where a value does not fit its field, it is put into the standard's form if that is certain, or removed, and
//! the element is read again. What is strict is not removed. The strict fields stand in small tables, beside the types of
//! answers (`checks`); what a type requires is strict in itself, because nothing can be read without it: it takes along the
//! optional object it belongs to (half an address is none), or the element.

use std::fmt::Write as _;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use shared_types::decode::{Fault, Malformed, Manner, Shape, Step, at, at_mut, document, part};
use shared_types::iban::Iban;
use shared_types::money::Currency;

use crate::checks::Checked;
use crate::deviations::{Deviation, Deviations, Outcome};
use crate::response::Response;

/// Deviations of one element, at most: one with more is left out.
const MOST_IN_ONE: usize = 100;

/// Reads a part of a document as some type, and tells whether that can be done.
pub(crate) type Decode = fn(&Value, Manner) -> Result<(), Fault>;

/// A list of an answer whose elements are read one by one.
pub(crate) struct List {
    /// The names that lead to it.
    pub(crate) names: &'static [&'static str],
    /// The fields of its elements that are strict though a type does not require them.
    pub(crate) strict: &'static [&'static str],
    /// What an element is.
    pub(crate) decode: Decode,
}

/// A [`Decode`] of that type.
pub(crate) fn as_type<T: DeserializeOwned>(value: &Value, manner: Manner) -> Result<(), Fault> {
    part::<T>(value, manner).map(drop)
}

/// What deviates in an answer that is being read.
pub(crate) struct Notes<'a> {
    bank: &'a str,
    deviations: Deviations,
    /// Elements that are not there any more: lists, and positions that they had.
    gone: Vec<(String, usize)>,
}

impl<'a> Notes<'a> {
    pub(crate) fn of(bank: &'a str) -> Self {
        Self {
            bank,
            deviations: Deviations::default(),
            gone: Vec::new(),
        }
    }

    pub(crate) fn into_deviations(self) -> Deviations {
        self.deviations
    }

    /// Notes a deviation; the path is made only if it is told.
    pub(crate) fn odd(
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
        self.deviations.note(deviation, outcome);
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

/// Reads an answer about an account whose currency may be known.
pub(crate) fn read<T: Checked>(
    bank: &str,
    body: &[u8],
    shape: &Shape,
    held: Option<Currency>,
) -> Result<Response<T>, Malformed> {
    let mut notes = Notes::of(bank);
    let mut value = match shape.decode(body) {
        Ok(value) => value,
        Err(_) => tolerantly::<T>(body, &mut notes)?,
    };
    value.check(held, &mut notes)?;
    Ok(Response::new(value, notes.into_deviations()))
}

fn tolerantly<T: Checked>(body: &[u8], notes: &mut Notes<'_>) -> Result<T, Malformed> {
    let mut document = document(body)?;
    T::to_standard(&mut document);
    let mut lists = Vec::new();
    for list in T::LISTS {
        let steps = steps(list.names);
        let Some(Value::Array(elements)) = at_mut(&mut document, &steps) else {
            continue;
        };
        let name = list.names.join(".");
        let mut readable = Vec::with_capacity(elements.len());
        for (position, mut element) in std::mem::take(elements).into_iter().enumerate() {
            let place = |steps: &[Step]| format!("{name}[{position}]{}", path(steps, false));
            match mend(&mut element, list.strict, list.decode) {
                Ok(mended) => {
                    for Mended { at, outcome } in mended {
                        notes.odd(|_| place(&at.steps), at.reason, outcome);
                    }
                    readable.push(element);
                }
                Err(fault) => {
                    let outcome = Outcome::ElementLeftOut;
                    notes.odd(|_| place(&fault.steps), fault.reason, outcome);
                    notes.gone.push((name.clone(), position));
                }
            }
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
    for Mended { at, outcome } in mend(&mut document, T::STRICT, as_type::<T>).map_err(malformed)? {
        notes.odd(|_| path(&at.steps, true), at.reason, outcome);
    }
    for (steps, readable) in lists {
        if let Some(list) = at_mut(&mut document, &steps) {
            *list = readable.into();
        }
    }
    part(&document, Manner::Tolerant).map_err(malformed)
}

/// A deviation that does not keep the value from being read any more.
struct Mended {
    at: Fault,
    outcome: Outcome,
}

/// Makes of a value one that can be read, [tolerantly](Manner::Tolerant). Fails with what is strict, or too much.
fn mend(value: &mut Value, strict: &[&str], decode: Decode) -> Result<Vec<Mended>, Fault> {
    let mut mended = Vec::new();
    if decode(value, Manner::Exact).is_ok() {
        return Ok(mended);
    }
    // Where there is something of ours now.
    let mut ours = Vec::new();
    // What was removed last, and the fault for which it was.
    let mut removed: Option<(Vec<Step>, Fault)> = None;
    while let Err(fault) = decode(value, Manner::Tolerant) {
        if mended.len() >= MOST_IN_ONE {
            return Err(Fault {
                reason: format!("more than {MOST_IN_ONE} deviations in one element"),
                ..fault
            });
        }
        // What it was taken from cannot be without it, and goes too.
        if let Some((steps, cause)) = &removed
            && fault.missing
            && *steps == fault.steps
        {
            let steps = remove(value, parent(steps), strict).ok_or_else(|| cause.clone())?;
            removed = Some((steps, cause.clone()));
            continue;
        }
        if let Some(place) = put_into_form(value, &fault, strict, decode) {
            ours.push(place);
            mended.push(Mended {
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
        removed = Some((steps, fault.clone()));
        mended.push(Mended {
            at: fault,
            outcome: Outcome::FieldLeftOut,
        });
    }
    mended.extend(kept(value, decode, &ours));
    Ok(mended)
}

/// What is kept as the bank wrote it, though the standard has it otherwise: texts that are too long, and names of its own.
fn kept(value: &Value, decode: Decode, ours: &[Vec<Step>]) -> Vec<Mended> {
    let mut probe = value.clone();
    let mut kept = Vec::new();
    while kept.len() < MOST_IN_ONE
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
            kept.push(Mended {
                at,
                outcome: Outcome::Kept,
            });
        }
    }
    kept
}

/// Removes what the steps lead to, from its object or its list. A list that is empty then goes too. Returns the way to what
/// is not there any more; `None` if it is strict.
fn remove(value: &mut Value, steps: &[Step], strict: &[&str]) -> Option<Vec<Step>> {
    let (last, owner) = steps.split_last()?;
    match (last, at_mut(value, owner)?) {
        // "Nothing" stands for what could be left out.
        (Step::Name(name), Value::Object(object))
            if !is_strict(steps, strict) || object.get(name).is_some_and(Value::is_null) =>
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

/// Whether what the steps lead to is in the table of what is strict. Of a list that is, each element is.
fn is_strict(steps: &[Step], strict: &[&str]) -> bool {
    let names: Vec<&str> = names(steps).collect();
    strict.contains(&names.join(".").as_str())
}

/// Money, which is never guessed at: an amount and its currency.
fn is_money(steps: &[Step]) -> bool {
    let names: Vec<&str> = names(steps).collect();
    match names.as_slice() {
        [.., "amount"] | ["currency"] => true,
        [.., owner, "currency"] => !owner.to_ascii_lowercase().ends_with("account"),
        _ => false,
    }
}

/// The links of a page of transactions. Many banks leave them out where there is no further page.
fn is_a_pages_links(steps: &[Step]) -> bool {
    let names: Vec<&str> = names(steps).collect();
    matches!(
        names.as_slice(),
        ["transactions" | "cardTransactions", "_links"]
    )
}

/// Puts a value into a form that its field takes and that means the same, if there is one. Returns where that is.
fn put_into_form(
    value: &mut Value,
    fault: &Fault,
    strict: &[&str],
    decode: Decode,
) -> Option<Vec<Step>> {
    let steps = &fault.steps;
    if fault.missing && is_a_pages_links(steps) {
        let Value::Object(page) = at_mut(value, parent(steps))? else {
            return None;
        };
        page.insert("_links".to_owned(), Value::Object(Map::new()));
        return Some(steps.clone());
    }
    if fault.missing || is_strict(steps, strict) || is_money(steps) {
        return None;
    }
    let odd = at(value, steps)?.clone();
    for form in forms(name(steps), &odd) {
        *at_mut(value, steps)? = form;
        let still = decode(value, Manner::Tolerant).err();
        if still.is_none_or(|again| !again.steps.starts_with(steps)) {
            return Some(steps.clone());
        }
    }
    *at_mut(value, steps)? = odd;
    move_number(value, steps)
}

/// Forms in which the value may be meant, the likeliest first.
fn forms(name: Option<&str>, odd: &Value) -> Vec<Value> {
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
            // A day with a time, a time without an offset.
            if let Some((day, _)) = text.split_once(['T', ' ']) {
                form(day.into());
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
            forms
        }
        // More digits than these are not certain to be those that were written.
        Value::Number(number) if number.to_string().len() <= 16 => {
            vec![number.to_string().into()]
        }
        Value::Bool(truth) => vec![truth.to_string().into()],
        Value::Array(lines) => {
            let lines: Option<Vec<&str>> = lines.iter().map(Value::as_str).collect();
            lines
                .filter(|lines| !lines.is_empty())
                .map(|lines| lines.join(" ").into())
                .into_iter()
                .collect()
        }
        Value::Object(object) => match object.get("reference") {
            Some(Value::String(reference)) => vec![reference.as_str().into()],
            _ => Vec::new(),
        },
        Value::Number(_) | Value::Null => Vec::new(),
    }
}

/// A number that is no IBAN is kept where other numbers are: that of another party's account as its other identification,
/// that of the account itself as its BBAN. Returns where it is now.
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
fn names(steps: &[Step]) -> impl Iterator<Item = &str> {
    steps.iter().filter_map(|step| match step {
        Step::Name(name) => Some(name.as_str()),
        Step::Index(_) => None,
    })
}

/// The name of what the steps lead to, if it is a member of an object.
fn name(steps: &[Step]) -> Option<&str> {
    match steps.last()? {
        Step::Name(name) => Some(name),
        Step::Index(_) => None,
    }
}

/// The steps as a path, from the root of the answer or behind a place in it. A link has a name that may be the bank's own: it
/// is not told unless it is one of those that are followed.
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
                    other if is_link && !crate::checks::FOLLOWED.contains(&other) => "?",
                    name => name,
                });
                is_link = name == "_links";
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::json;
    use shared_types::account::{AccountBalances, AccountList};
    use shared_types::authorisation::{AuthorisationList, AuthorisationStarted};
    use shared_types::card_account::{CardAccountBalances, CardTransactionsResponse};
    use shared_types::consent::{ConsentCreated, ConsentInformation};
    use shared_types::transaction::{TransactionResponse, TransactionsResponse};

    use super::*;

    fn answer<T: Checked>(body: &Value) -> Result<Response<T>, Malformed> {
        let body = body.to_string().into_bytes();
        let mut shape = Shape::default();
        shape.see(&body);
        read("Bank B", &body, &shape, None)
    }

    /// What was read, and where it deviates and how.
    fn read_odd<T: Checked + Serialize>(body: &Value) -> (Value, Vec<(String, Outcome)>) {
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

    /// The value without that member, without what cannot be without it, and without lists that are empty then.
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
    fn one_odd_member_of_an_entry_hides_no_other_and_a_strict_one_hides_no_other_entry() {
        let whole = entry("2");
        let mut all = Vec::new();
        members(&whole, &[], &mut all);
        assert!(all.len() > 50, "{}", all.len());
        for steps in all {
            let names: Vec<&str> = names(&steps).collect();
            let strict = matches!(names[0], "transactionAmount" | "bookingDate" | "valueDate");
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
                page(&[entry("1"), without(&whole, &steps), entry("3")])
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
                Outcome::FieldLeftOut,
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
        let mut body = page(&[entry("1")]);
        let lists = body["transactions"].as_object_mut().unwrap();
        lists.remove("_links").unwrap();
        let (read, told) = read_odd::<TransactionsResponse>(&body);
        let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["transactions._links"]);
        assert_eq!(read, page(&[entry("1")]));
        // Links that lead nowhere for us, and "nothing" for none.
        let mut body = page(&[entry("1")]);
        body["transactions"]["_links"] = json!({ "own thing": 7, "next": null });
        let (_, told) = read_odd::<TransactionsResponse>(&body);
        let paths: Vec<&str> = told.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["transactions._links.?"]);
    }

    #[test]
    fn a_name_twice_costs_its_object_and_what_needs_it() {
        let whole = page(&[entry("1"), entry("2")]).to_string();
        let twice = |from: &str, to: &str| {
            let body = whole.replacen(from, to, 1);
            assert_ne!(body, whole);
            let mut shape = Shape::default();
            shape.see(body.as_bytes());
            read::<TransactionsResponse>("Bank B", body.as_bytes(), &shape, None).unwrap()
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
        assert_eq!(answer.deviations.count(), 1, "{told:?}");
        assert!(
            told[0].contains("a name is there twice (field left out)"),
            "{told:?}"
        );
    }

    #[test]
    fn an_entry_with_too_many_deviations_is_left_out() {
        let mut odd = entry("1");
        let rates = vec![json!({ "sourceCurrency": 7 }); MOST_IN_ONE + 1];
        odd["currencyExchange"] = rates.into();
        let (read, told) = read_odd::<TransactionsResponse>(&page(&[odd, entry("2")]));
        assert_eq!(read, page(&[entry("2")]));
        assert!(
            matches!(told.as_slice(), [(_, Outcome::ElementLeftOut)]),
            "{told:?}"
        );
    }

    #[test]
    fn of_a_consent_the_status_decides() {
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
        let fault = answer::<ConsentInformation>(&consent("consentStatus", json!("good")));
        assert_eq!(fault.unwrap_err().path, "consentStatus");
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
