//! Recent bookings of an account: source of the balance chart and of the monthly totals.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Days, Months, NaiveDate};
use rust_decimal::Decimal;
use shared_types::xs2a::transaction::BookingStatus;

use super::super::OnlineBanking;
use super::super::problem::Problem;
use super::entry::EntryPage;
use super::view::View;
use crate::core_banking::TransactionQuery;

/// Months before the present one.
const MONTHS: u32 = 5;

/// Transactions of a page, and pages.
const PAGE: usize = 500;
const PAGES: usize = 5;

/// Credits and debits of each day.
pub(super) struct History {
    /// Sums of the credits and of the debits, which are negative, on each day with transactions.
    days: BTreeMap<NaiveDate, (Decimal, Decimal)>,
    /// First day of which all transactions were read.
    pub(super) since: NaiveDate,
    today: NaiveDate,
    /// Whether there are earlier transactions that were not read.
    pub(super) short: bool,
}

impl History {
    /// Reads at most five pages, by index.
    pub(super) async fn read(
        state: &OnlineBanking,
        view: &View,
        today: NaiveDate,
    ) -> Result<Self, Problem> {
        let first = first_of_month(today)
            .checked_sub_months(Months::new(MONTHS))
            .unwrap_or(today);
        let mut history = Self {
            days: BTreeMap::new(),
            since: first,
            today,
            short: false,
        };
        let mut query = TransactionQuery {
            from: first,
            to: today,
            status: BookingStatus::Booked,
            since: None,
            after: None,
            limit: PAGE,
        };
        for _ in 0..PAGES {
            let page = EntryPage::read(state.core.as_ref(), view, &query, "").await?;
            for entry in page.entries {
                history.add(entry.day, entry.amount.value());
            }
            query.after = page.next;
            if query.after.is_none() {
                return Ok(history);
            }
        }
        history.cut();
        Ok(history)
    }

    fn add(&mut self, day: Option<NaiveDate>, amount: Decimal) {
        if let Some(day) = day {
            let (into, out) = self.days.entry(day).or_default();
            *(if amount < Decimal::ZERO { out } else { into }) += amount;
        }
    }

    /// Leaves out the oldest day, which may be incomplete because there are further pages.
    fn cut(&mut self) {
        if let Some((oldest, _)) = self.days.pop_first() {
            self.since = oldest.checked_add_days(Days::new(1)).unwrap_or(oldest);
            self.short = true;
        }
    }

    /// Balance at the end of each of the last days up to today; of fewer days, where the history is
    /// shorter.
    pub(super) fn balances(&self, closing: Decimal, days: u64) -> Vec<(NaiveDate, Decimal)> {
        let first = self
            .today
            .checked_sub_days(Days::new(days.saturating_sub(1)));
        // Of the day before the first that is known, the end is known as well.
        let known = self.since.pred_opt().unwrap_or(self.since);
        let first = first.unwrap_or(self.today).max(known);
        let mut balance = closing;
        let mut balances = Vec::new();
        let mut day = self.today;
        while day >= first {
            balances.push((day, balance));
            if let Some((into, out)) = self.days.get(&day) {
                balance -= into + out;
            }
            let Some(before) = day.pred_opt() else { break };
            day = before;
        }
        balances.reverse();
        balances
    }

    /// Credits and debits of each month, the newest first.
    pub(super) fn months(&self) -> Vec<Month> {
        let mut months: BTreeMap<NaiveDate, Month> = BTreeMap::new();
        for (day, (into, out)) in &self.days {
            let first = first_of_month(*day);
            let month = months.entry(first).or_insert(Month {
                first,
                into: Decimal::ZERO,
                out: Decimal::ZERO,
                whole: first >= self.since && first < first_of_month(self.today),
            });
            month.into += into;
            month.out += out;
        }
        months.into_values().rev().collect()
    }
}

/// Credits and debits of one month.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Month {
    pub(super) first: NaiveDate,
    pub(super) into: Decimal,
    /// Negative.
    pub(super) out: Decimal,
    /// Whether it has ended and all its transactions were read.
    pub(super) whole: bool,
}

fn first_of_month(day: NaiveDate) -> NaiveDate {
    day.with_day(1).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn history() -> History {
        let mut history = History {
            days: BTreeMap::new(),
            since: day("2026-06-01"),
            today: day("2026-11-24"),
            short: false,
        };
        for (on, amount) in [
            ("2026-11-24", "-0.10"),
            ("2026-11-24", "-0.20"),
            ("2026-11-22", "1200"),
            ("2026-10-31", "-1000.05"),
            ("2026-10-31", "5.05"),
        ] {
            history.add(Some(day(on)), amount.parse().unwrap());
        }
        history
    }

    #[test]
    fn daily_balances_end_with_todays() {
        let balances = history().balances("1000.00".parse().unwrap(), 4);
        let told: Vec<String> = balances
            .iter()
            .map(|(day, balance)| format!("{day} {balance}"))
            .collect();
        assert_eq!(
            told,
            [
                "2026-11-21 -199.70",
                "2026-11-22 1000.30",
                "2026-11-23 1000.30",
                "2026-11-24 1000.00"
            ]
        );
        assert_eq!(
            history().balances(Decimal::ONE, 9999).len(),
            178,
            "no further than is known"
        );
    }

    #[test]
    fn months_are_summed_exactly_and_the_present_one_is_not_over() {
        let month = |first: &str, into: &str, out: &str, whole| Month {
            first: day(first),
            into: into.parse().unwrap(),
            out: out.parse().unwrap(),
            whole,
        };
        assert_eq!(
            history().months(),
            [
                month("2026-11-01", "1200", "-0.30", false),
                month("2026-10-01", "5.05", "-1000.05", true)
            ]
        );
    }

    #[test]
    fn an_incomplete_day_is_left_out() {
        let mut history = history();
        history.cut();
        assert_eq!(history.since, day("2026-11-01"));
        assert_eq!(history.months().len(), 1);
        let first = history.balances(Decimal::ONE, 90).first().copied();
        assert_eq!(first.map(|(day, _)| day), Some(day("2026-10-31")));
    }
}
