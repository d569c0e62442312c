//! Summary of deviations from the standard, one line for each bank, without content.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bank_client::{Deviation, Deviations, Outcome};

/// Maximum number of fields that are named for each outcome.
const MAX_NAMED_FIELDS: usize = 5;

/// A kind of deviation: what deviates, in singular and plural, and the outcome.
type Part = ([&'static str; 2], &'static str);

const FIELDS_IGNORED: Part = (["field", "fields"], "ignored");
const ACCOUNTS_IGNORED: Part = (["account", "accounts"], "ignored");
const BALANCES_IGNORED: Part = (["balance", "balances"], "ignored");
const ENTRIES_IGNORED: Part = (["entry", "entries"], "ignored");
const FIELDS_KEPT: Part = (["field", "fields"], "kept");

/// All kinds, in the order in which they are printed.
const PARTS: [Part; 5] = [
    ACCOUNTS_IGNORED,
    BALANCES_IGNORED,
    ENTRIES_IGNORED,
    FIELDS_IGNORED,
    FIELDS_KEPT,
];

/// One line for each bank whose responses deviate.
pub(super) fn lines(deviations: &Deviations) -> Vec<String> {
    let mut banks: BTreeMap<&str, Vec<(Part, String)>> = BTreeMap::new();
    for deviation in deviations {
        let found = banks.entry(&deviation.bank).or_default();
        found.push((part(deviation), deviation.field()));
    }
    let omitted = deviations.total() - deviations.iter().count();
    let mut lines: Vec<String> = banks
        .into_iter()
        .map(|(bank, found)| {
            let parts = PARTS.iter().filter_map(|part| summary(*part, &found));
            let parts: Vec<String> = parts.collect();
            let is_element =
                |(part, _): &(Part, String)| ![FIELDS_IGNORED, FIELDS_KEPT].contains(part);
            let advice = if found.iter().any(is_element) {
                "; the list is incomplete: report this to the bank"
            } else {
                ""
            };
            format!(
                "{bank} deviates from the standard: {}{advice}",
                parts.join(", ")
            )
        })
        .collect();
    if let (Some(last), 1..) = (lines.last_mut(), omitted) {
        // Writing to a text does not fail.
        let _ = write!(last, "; and {omitted} more deviations");
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

fn summary(part: Part, found: &[(Part, String)]) -> Option<String> {
    let mut fields: BTreeMap<&str, usize> = BTreeMap::new();
    for (of, field) in found {
        if *of == part {
            *fields.entry(field).or_default() += 1;
        }
    }
    let count: usize = fields.values().sum();
    let mut named: Vec<&str> = fields.keys().take(MAX_NAMED_FIELDS).copied().collect();
    if fields.len() > MAX_NAMED_FIELDS {
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
