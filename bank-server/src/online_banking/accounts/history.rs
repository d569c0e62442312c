//! Recent bookings of an account: source of the balance chart and of the monthly totals.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Days, Months, NaiveDate};
use rust_decimal::Decimal;
use shared_types::xs2a::card_account::debits_negative;
use shared_types::xs2a::transaction::BookingStatus;

use super::super::OnlineBanking;
use super::super::problem::Problem;
use super::view::View;
use crate::core_banking::TransactionQuery;

/// Months before the present one.
const MONTHS: u32 = 5;

/// Transactions that are read at a time, and how often.
const PAGE: usize = 500;
const PAGES: usize = 5;

/// What was booked, day by day.
pub(super) struct History {
    /// What came in and what went out on each day with transactions; what went out is negative.
    pub(super) days: BTreeMap<NaiveDate, (Decimal, Decimal)>,
    /// Everything from this day on is there.
    pub(super) since: NaiveDate,
    pub(super) today: NaiveDate,
    /// Whether there was more than is looked through.
    pub(super) short: bool,
}

impl History {
    /// Reads it: at most five pages, by index.
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
            query.after = if view.card {
                let page = state.core.card_transactions(&view.id, &query).await?;
                for entry in &page.booked {
                    let amount = debits_negative(entry.transaction_amount, view.debit_accounting);
                    history.add(entry.booking_date, amount.value());
                }
                page.next
            } else {
                let page = state.core.transactions(&view.id, &query).await?;
                for entry in &page.booked {
                    history.add(entry.booking_date, entry.transaction_amount.value());
                }
                page.next
            };
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

    /// There is more: the oldest day may be there in part only, and is left out.
    fn cut(&mut self) {
        if let Some((oldest, _)) = self.days.pop_first() {
            self.since = oldest.checked_add_days(Days::new(1)).unwrap_or(oldest);
            self.short = true;
        }
    }

    /// The balance at the end of each day of so many, the last of which is today; fewer, if there is not so much history.
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

    /// What came in and went out in each month, the newest first.
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

/// One month.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Month {
    pub(super) first: NaiveDate,
    pub(super) into: Decimal,
    /// Negative.
    pub(super) out: Decimal,
    /// Whether it is over, and there as a whole.
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
    fn the_balance_of_each_day_leads_to_the_one_of_today() {
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
    fn a_day_that_may_be_there_in_part_is_left_out() {
        let mut history = history();
        history.cut();
        assert_eq!(history.since, day("2026-11-01"));
        assert_eq!(history.months().len(), 1);
        let first = history.balances(Decimal::ONE, 90).first().copied();
        assert_eq!(first.map(|(day, _)| day), Some(day("2026-10-31")));
    }
}
