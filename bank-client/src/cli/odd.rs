//! What deviates in answers, in a line for each bank. It is told on standard error, without content.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bank_client::{Deviations, Outcome};

/// Fields that are named, at most, for each thing that became of them.
const NAMED: usize = 5;

/// One line for each bank whose answers deviate.
pub(super) fn lines(deviations: &Deviations) -> Vec<String> {
    let mut banks: BTreeMap<&str, [BTreeMap<String, usize>; 3]> = BTreeMap::new();
    for deviation in deviations {
        let place = match deviation.outcome {
            Outcome::FieldLeftOut => 0,
            Outcome::ElementLeftOut => 1,
            _ => 2,
        };
        let fields = banks.entry(&deviation.bank).or_default();
        if let Some(fields) = fields.get_mut(place) {
            *fields.entry(deviation.field()).or_default() += 1;
        }
    }
    let untold = deviations.count() - deviations.iter().count();
    let mut lines: Vec<String> = banks
        .into_iter()
        .map(|(bank, [left_out, not_read, kept])| {
            let parts = [
                part(&left_out, ["field", "fields"], "odd and left out"),
                part(
                    &not_read,
                    ["element of a list", "elements of lists"],
                    "left out, a strict field being odd",
                ),
                part(&kept, ["field", "fields"], "odd and kept"),
            ];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            format!("{bank}: in its answers {}", parts.join("; "))
        })
        .collect();
    if let (Some(last), 1..) = (lines.last_mut(), untold) {
        // Writing to a text does not fail.
        let _ = write!(last, "; and {untold} more");
    }
    lines
}

fn part(
    fields: &BTreeMap<String, usize>,
    [one, several]: [&str; 2],
    became: &str,
) -> Option<String> {
    let count: usize = fields.values().sum();
    let mut named: Vec<String> = fields
        .iter()
        .take(NAMED)
        .map(|(field, times)| match times {
            1 => field.clone(),
            times => format!("{field} ({times})"),
        })
        .collect();
    if fields.len() > NAMED {
        named.push("…".to_owned());
    }
    let named = named.join(", ");
    match count {
        0 => None,
        1 => Some(format!("1 {one} was {became}: {named}")),
        count => Some(format!("{count} {several} were {became}: {named}")),
    }
}
