//! Deviations of a bank's answer from the standard that do not make it unreadable.
//!
//! The policy of reading: money, currencies, the dates that order entries, the ids and links that
//! are followed, and our own limits are strict. Any other field that is odd is kept in the form it
//! has, or left out. A strict fault within an element of a list (an account, a balance, an entry)
//! leaves that element out, and no other. All of it is counted and recorded in [`Deviations`],
//! beside the answer; where it is in the answer and what was expected there, never its content.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Outcome for a value that deviates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It is in the answer: as the bank wrote it, or in the standard's form where that is certain
    /// (`"4"` for `4`).
    Kept,
    /// The field is not in the answer.
    FieldLeftOut,
    /// The whole account, balance or entry is not in the answer: the list is not whole.
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

/// A value of an answer that is not as the standard has it. It has no content of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deviation {
    /// The bank, by its name.
    pub bank: String,
    /// Path in the answer: `transactions.booked[0].currencyExchange[0].unitCurrency`.
    pub path: String,
    /// The expected value.
    pub reason: String,
    /// The outcome.
    pub outcome: Outcome,
}

impl Deviation {
    /// The path without positions in lists (`transactions.booked[].valueDate`): the same for each
    /// element.
    #[must_use]
    pub fn field(&self) -> String {
        let mut field = String::with_capacity(self.path.len());
        let mut within = false;
        for character in self.path.chars() {
            match character {
                '[' => {
                    within = true;
                    field.push_str("[]");
                }
                ']' => within = false,
                _ if within => {}
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

/// All that deviates in an answer, or in several: everything is counted, the first
/// [`MAX_RECORDED`](Self::MAX_RECORDED) are recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deviations {
    recorded: Vec<Deviation>,
    total: usize,
    left_out: usize,
    /// Those of them that are balances beside or within the requested elements.
    nested: usize,
}

impl Deviations {
    /// Deviations that are recorded, at most.
    pub const MAX_RECORDED: usize = 100;

    /// The total number, including those that are not recorded.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// Whether everything was as the standard has it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Elements of lists (accounts, balances, entries) that could not be read and are not in the
    /// answer. Unless it is 0, the list is not whole.
    #[must_use]
    pub const fn left_out(&self) -> usize {
        self.left_out
    }

    /// The deviations in the order of the answer, [`MAX_RECORDED`](Self::MAX_RECORDED) of them at
    /// most.
    pub fn iter(&self) -> std::slice::Iter<'_, Deviation> {
        self.recorded.iter()
    }

    /// Elements of the requested lists that were left out, without balances beside or within them.
    pub(crate) const fn listed_left_out(&self) -> usize {
        self.left_out - self.nested
    }

    /// Counts a left out balance beside or within the requested elements.
    pub(crate) const fn note_nested(&mut self) {
        self.nested += 1;
    }

    /// Adds those of another answer.
    pub fn append(&mut self, other: Self) {
        self.total += other.total;
        self.left_out += other.left_out;
        self.nested += other.nested;
        let room = Self::MAX_RECORDED.saturating_sub(self.recorded.len());
        self.recorded.extend(other.recorded.into_iter().take(room));
    }

    /// Whether one more would be recorded.
    pub(crate) fn has_room(&self) -> bool {
        self.recorded.len() < Self::MAX_RECORDED
    }

    /// Counts one, and records it, if given.
    pub(crate) fn note(&mut self, deviation: Option<Deviation>, outcome: Outcome) {
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

/// Collector of the deviations of a stream, while it is read.
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

    pub(crate) fn so_far(&self) -> Deviations {
        self.lock(|collected| collected.clone())
    }

    fn lock<T>(&self, look: impl FnOnce(&mut Deviations) -> T) -> T {
        // Counting and pushing leave nothing half done.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_told() {
        let mut deviations = Deviations::default();
        for index in 0..150 {
            let outcome = if index % 2 == 0 {
                Outcome::FieldLeftOut
            } else {
                Outcome::ElementLeftOut
            };
            let told = deviations.has_room().then(|| Deviation {
                bank: "Bank B".to_owned(),
                path: format!("balances[{index}].x"),
                reason: "expected y".to_owned(),
                outcome,
            });
            deviations.note(told, outcome);
        }
        let mut twice = deviations.clone();
        twice.append(deviations);
        assert_eq!((twice.total(), twice.left_out()), (300, 150));
        assert_eq!(twice.iter().count(), Deviations::MAX_RECORDED);
        let first = twice.iter().next().unwrap();
        assert_eq!(first.field(), "balances[].x");
        assert_eq!(
            first.to_string(),
            "Bank B: at balances[0].x: expected y (field left out)"
        );
    }
}
