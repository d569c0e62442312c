//! What deviates in answers, in a line for each bank. It is told on standard error, without content.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bank_client::{Deviation, Deviations, Outcome};

/// Fields that are named, at most, for each thing that became of them.
const NAMED: usize = 5;

/// What became of something, and of what: in one and in several.
type Part = ([&'static str; 2], &'static str);

const FIELDS_IGNORED: Part = (["field", "fields"], "ignored");
const ACCOUNTS_IGNORED: Part = (["account", "accounts"], "ignored");
const BALANCES_IGNORED: Part = (["balance", "balances"], "ignored");
const ENTRIES_IGNORED: Part = (["entry", "entries"], "ignored");
const FIELDS_KEPT: Part = (["field", "fields"], "kept");

/// In the order in which they are told.
const PARTS: [Part; 5] = [
    ACCOUNTS_IGNORED,
    BALANCES_IGNORED,
    ENTRIES_IGNORED,
    FIELDS_IGNORED,
    FIELDS_KEPT,
];

/// One line for each bank whose answers deviate.
pub(super) fn lines(deviations: &Deviations) -> Vec<String> {
    let mut banks: BTreeMap<&str, Vec<(Part, String)>> = BTreeMap::new();
    for deviation in deviations {
        let found = banks.entry(&deviation.bank).or_default();
        found.push((part(deviation), deviation.field()));
    }
    let untold = deviations.total() - deviations.iter().count();
    let mut lines: Vec<String> = banks
        .into_iter()
        .map(|(bank, found)| {
            let parts = PARTS.iter().filter_map(|part| told(*part, &found));
            let parts: Vec<String> = parts.collect();
            let is_element =
                |(part, _): &(Part, String)| ![FIELDS_IGNORED, FIELDS_KEPT].contains(part);
            let advice = if found.iter().any(is_element) {
                "; what is ignored is missing: tell the bank"
            } else {
                ""
            };
            format!(
                "{bank} deviates from the standard: {}{advice}",
                parts.join(", ")
            )
        })
        .collect();
    if let (Some(last), 1..) = (lines.last_mut(), untold) {
        // Writing to a text does not fail.
        let _ = write!(last, "; and {untold} more deviations");
    }
    lines
}

fn part(deviation: &Deviation) -> Part {
    let path = deviation.path.as_str();
    match deviation.outcome {
        Outcome::ElementLeftOut if path.contains("alances[") => BALANCES_IGNORED,
        Outcome::ElementLeftOut if path.contains("ccounts[") => ACCOUNTS_IGNORED,
        Outcome::ElementLeftOut => ENTRIES_IGNORED,
        Outcome::FieldLeftOut => FIELDS_IGNORED,
        _ => FIELDS_KEPT,
    }
}

fn told(part: Part, found: &[(Part, String)]) -> Option<String> {
    let mut fields: BTreeMap<&str, usize> = BTreeMap::new();
    for (of, field) in found {
        if *of == part {
            *fields.entry(field).or_default() += 1;
        }
    }
    let count: usize = fields.values().sum();
    let mut named: Vec<&str> = fields.keys().take(NAMED).copied().collect();
    if fields.len() > NAMED {
        named.push("…");
    }
    let named = named.join(", ");
    let ([one, several], became) = part;
    match count {
        0 => None,
        1 => Some(format!("1 {one} {became} ({named})")),
        count => Some(format!("{count} {several} {became} ({named})")),
    }
}
