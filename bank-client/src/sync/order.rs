//! Order of entries within a day, derived from the order of the bank's list.
//!
//! Most banks list the newest entry first, some the oldest; some order pages one way and the
//! entries of a page the other. The days on a page show the order of its entries, and the days of
//! two pages show the order of the pages. If all days are equal, the order of the previous page
//! applies; on the first page, that of the account's last walk, or else newest first, until a later
//! page shows the order.

use std::cmp::Ordering;

use chrono::NaiveDate;

/// Which end of a list comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    NewestFirst,
    OldestFirst,
}

/// Gives places to the entries of a list, page by page: the greater, the newer.
#[derive(Debug)]
pub(super) struct Order {
    /// The lowest place that is taken.
    low: i64,
    /// The next one above the highest.
    high: i64,
    /// Of the entries within a page.
    within: Option<Direction>,
    /// Of the pages.
    across: Option<Direction>,
    /// First and last day of the page before.
    before: Option<(NaiveDate, NaiveDate)>,
    /// The places before the last page, if that has shown that they are the wrong way round.
    reversal: Option<Reversal>,
}

/// Places whose order is to be turned round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reversal {
    pub(super) first: i64,
    pub(super) last: i64,
}

/// The places of a page's entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    first: i64,
    step: i64,
}

impl Places {
    /// The place of the entry of that number on the page, from 0.
    pub(super) fn of(self, number: usize) -> i64 {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.first.saturating_add(self.step.saturating_mul(number))
    }
}

impl Order {
    /// For a list whose places surround that one, in an account whose last list had that direction.
    pub(super) const fn around(middle: i64, known: Option<Direction>) -> Self {
        Self {
            low: middle,
            high: middle,
            within: known,
            across: known,
            before: None,
            reversal: None,
        }
    }

    /// The places of the pages before the last one, if that is the first to show the order, and it
    /// is the reverse of the one that was assumed.
    pub(super) const fn reversal(&self) -> Option<Reversal> {
        self.reversal
    }

    /// Takes the next page, of entries of these days.
    pub(super) fn page(&mut self, days: impl Iterator<Item = Option<NaiveDate>>) -> Places {
        let (mut number, mut rises, mut falls) = (0_i64, 0_u64, 0_u64);
        let (mut last, mut range) = (None, None);
        for day in days {
            number += 1;
            let Some(day) = day else { continue };
            match last.map_or(Ordering::Equal, |last| day.cmp(&last)) {
                Ordering::Greater => rises += 1,
                Ordering::Less => falls += 1,
                Ordering::Equal => {}
            }
            last = Some(day);
            let (first, end) = range.unwrap_or((day, day));
            range = Some((day.min(first), day.max(end)));
        }
        let guessed = self.within.is_none() && self.across.is_none();
        if let Some(within) = direction(rises.cmp(&falls)) {
            self.within = Some(within);
        }
        if let (Some(before), Some(range)) = (self.before, range) {
            let (ends, starts) = (range.1.cmp(&before.1), range.0.cmp(&before.0));
            if let Some(across) = direction(ends.then(starts)) {
                self.across = Some(across);
            }
        }
        self.before = range.or(self.before);
        let newest_first = Some(Direction::NewestFirst);
        // A list of one page goes the way of its entries.
        let across = self.across.or(self.within).or(newest_first);
        let turned = guessed && across != newest_first && self.low < self.high;
        self.reversal = turned.then(|| Reversal {
            first: self.low,
            last: self.high - 1,
        });
        let bottom = if across == newest_first {
            self.low -= number;
            self.low
        } else {
            self.high += number;
            self.high - number
        };
        if self.within.or(across) == newest_first {
            let first = bottom + number - 1;
            Places { first, step: -1 }
        } else {
            let first = bottom;
            Places { first, step: 1 }
        }
    }

    /// The direction of the list, as far as it has shown it.
    pub(super) const fn direction(&self) -> Option<Direction> {
        self.within
    }
}

fn direction(days: Ordering) -> Option<Direction> {
    match days {
        Ordering::Greater => Some(Direction::OldestFirst),
        Ordering::Less => Some(Direction::NewestFirst),
        Ordering::Equal => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of the entries of these pages, oldest first, as numbers in the order of the lists.
    fn sorted(known: Option<Direction>, pages: &[&[u32]]) -> Vec<usize> {
        let mut order = Order::around(0, known);
        let mut all = Vec::new();
        for page in pages {
            let days = page
                .iter()
                .map(|day| NaiveDate::from_ymd_opt(2026, 1, *day));
            let places = order.page(days);
            if let Some(reversal) = order.reversal() {
                for place in &mut all {
                    *place = reversal.first + reversal.last - *place;
                }
            }
            all.extend((0..page.len()).map(|number| places.of(number)));
        }
        let mut numbers: Vec<usize> = (0..all.len()).collect();
        numbers.sort_by_key(|number| all[*number]);
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "each has a place of its own");
        numbers
    }

    #[test]
    fn the_days_tell_which_end_of_a_list_comes_first() {
        let oldest = Some(Direction::OldestFirst);
        assert_eq!(sorted(None, &[&[9, 9, 8], &[8, 7]]), [4, 3, 2, 1, 0]);
        assert_eq!(sorted(None, &[&[7, 8], &[8, 9, 9]]), [0, 1, 2, 3, 4]);
        // One day shows no order: newest first applies, or the order of the last walk.
        assert_eq!(sorted(None, &[&[9, 9]]), [1, 0]);
        assert_eq!(sorted(oldest, &[&[9, 9]]), [0, 1]);
        assert_eq!(sorted(oldest, &[&[9, 8, 8]]), [2, 1, 0], "not any more");
        // A page of one day goes the way of the one before.
        assert_eq!(sorted(None, &[&[7, 8], &[9, 9]]), [0, 1, 2, 3]);
        assert_eq!(sorted(None, &[&[7, 7], &[7], &[7, 8]]), [0, 1, 2, 3, 4]);
        assert_eq!(sorted(None, &[&[7, 7], &[8, 8]]), [0, 1, 2, 3]);
        // One entry that was booked late does not turn a page round.
        assert_eq!(sorted(None, &[&[9, 7, 8, 6]]), [3, 2, 1, 0]);
        // The newest page first, and the oldest entry of each.
        assert_eq!(sorted(None, &[&[8, 9, 9], &[6, 7, 8]]), [3, 4, 5, 0, 1, 2]);
    }
}
