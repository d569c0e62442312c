//! Tolerated deviations of a bank's response from the standard.
//!
//! Strict fields must conform: amounts, currencies, the dates by which entries are ordered, the ids
//! and links that the SDK uses in further requests, and the SDK's own limits. A list element (an
//! account, a balance or an entry) with a violation in a strict field is left out; the rest of the
//! list is returned. Any other field that deviates is kept as the bank sent it, or left out.
//!
//! [`Deviations`] counts and records all of this next to the response. A record has the path in the
//! response and the expected value, but none of the response's content.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Treatment of a value that deviates from the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The value is returned as the bank sent it, or converted to the standard's form where the
    /// conversion is unambiguous (`"4"` for `4`).
    Kept,
    /// The field is not returned.
    FieldLeftOut,
    /// The account, balance or entry is not returned, so the list is incomplete.
    ElementLeftOut,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kept => "kept",
            Self::FieldLeftOut => "field left out",
            Self::ElementLeftOut => "element of the list left out",
        })
    }
}

/// A value of a response that deviates from the standard. Contains no content of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deviation {
    /// The bank's name.
    pub bank: String,
    /// Path in the response: `transactions.booked[0].currencyExchange[0].unitCurrency`.
    pub path: String,
    /// Requirement of the standard at that path.
    pub reason: String,
    /// Treatment of the value.
    pub outcome: Outcome,
}

impl Deviation {
    /// The path without list indices (`transactions.booked[].valueDate`), to group the deviations
    /// of all elements by field.
    #[must_use]
    pub fn field(&self) -> String {
        let mut field = String::with_capacity(self.path.len());
        let mut in_index = false;
        for character in self.path.chars() {
            match character {
                '[' => {
                    in_index = true;
                    field.push_str("[]");
                }
                ']' => in_index = false,
                _ if in_index => {}
                other => field.push(other),
            }
        }
        field
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: at {}: {} ({})",
            self.bank, self.path, self.reason, self.outcome
        )
    }
}

/// Deviations of one response or several. Counts all of them, and records the first
/// [`MAX_RECORDED`](Self::MAX_RECORDED).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deviations {
    recorded: Vec<Deviation>,
    total: usize,
    left_out: usize,
    /// Number of left-out elements that are balances in a list of accounts or entries.
    balances_left_out: usize,
}

impl Deviations {
    /// Maximum number of recorded deviations.
    pub const MAX_RECORDED: usize = 100;

    /// The total number, including those that are not recorded.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Whether nothing deviates.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Number of list elements (accounts, balances, entries) that were left out because they could
    /// not be read. Unless it is 0, a list is incomplete.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// The first [`MAX_RECORDED`](Self::MAX_RECORDED) deviations, in the order of the response.
    pub fn iter(&self) -> std::slice::Iter<'_, Deviation> {
        self.recorded.iter()
    }

    /// Number of accounts or entries that were left out of the requested list. Balances that came
    /// with them are not counted.
    pub(crate) const fn requested_left_out(&self) -> usize {
        self.left_out - self.balances_left_out
    }

    /// Counts an element left out as a balance that came with the requested list.
    pub(crate) const fn count_balance_left_out(&mut self) {
        self.balances_left_out += 1;
    }

    /// Adds the deviations of another response.
    pub fn append(&mut self, other: Self) {
        self.total += other.total;
        self.left_out += other.left_out;
        self.balances_left_out += other.balances_left_out;
        let room = Self::MAX_RECORDED.saturating_sub(self.recorded.len());
        self.recorded.extend(other.recorded.into_iter().take(room));
    }

    /// Whether another deviation would be recorded, and not only counted.
    pub(crate) fn has_room(&self) -> bool {
        self.recorded.len() < Self::MAX_RECORDED
    }

    /// Counts a deviation. Records it as well, unless it is `None` because there is no room.
    pub(crate) fn push(&mut self, deviation: Option<Deviation>, outcome: Outcome) {
        self.total += 1;
        self.left_out += usize::from(outcome == Outcome::ElementLeftOut);
        self.recorded.extend(deviation);
    }
}

impl<'a> IntoIterator for &'a Deviations {
    type Item = &'a Deviation;
    type IntoIter = std::slice::Iter<'a, Deviation>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Deviations of a stream that is being read. Clones share the same collection.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviationCollector(Arc<Mutex<Deviations>>);

impl DeviationCollector {
    pub(crate) fn append(&self, deviations: Deviations) {
        if !deviations.is_empty() {
            self.lock(|collected| collected.append(deviations));
        }
    }

    /// Returns the collected deviations and resets the collector.
    pub(crate) fn take(&self) -> Deviations {
        self.lock(std::mem::take)
    }

    /// The deviations since the last [`take`](Self::take).
    pub(crate) fn snapshot(&self) -> Deviations {
        self.lock(|collected| collected.clone())
    }

    fn lock<T>(&self, access: impl FnOnce(&mut Deviations) -> T) -> T {
        // A panic under the lock leaves the counts usable, so poisoning is ignored.
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_deviations_are_counted_and_the_first_are_recorded() {
        let mut deviations = Deviations::default();
        for index in 0..150 {
            let outcome = if index % 2 == 0 {
                Outcome::FieldLeftOut
            } else {
                Outcome::ElementLeftOut
            };
            let recorded = deviations.has_room().then(|| Deviation {
                bank: "Bank B".to_owned(),
                path: format!("balances[{index}].x"),
                reason: "expected y".to_owned(),
                outcome,
            });
            deviations.push(recorded, outcome);
        }
        let mut combined = deviations.clone();
        combined.append(deviations);
        assert_eq!((combined.total(), combined.left_out()), (300, 150));
        assert_eq!(combined.iter().count(), Deviations::MAX_RECORDED);
        let first = combined.iter().next().unwrap();
        assert_eq!(first.field(), "balances[].x");
        assert_eq!(
            first.to_string(),
            "Bank B: at balances[0].x: expected y (field left out)"
        );
    }
}
