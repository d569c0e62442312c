//! Merged list of the newest transactions of several accounts.

use std::cmp::Reverse;

use super::super::accounts::Entry;
use super::super::foreign::Foreign;

/// Transaction with its bank and account.
pub(super) struct Line {
    pub(super) entry: Entry,
    pub(super) bank: Foreign,
    /// Name of the account.
    pub(super) account: Foreign,
}

/// The newest transactions of all lists, at most `most`: pending ones first, then booked ones by
/// day. Within a day, the order of the lists and of their lines is kept. Each list must begin with
/// its newest.
pub(super) fn merged(lists: impl IntoIterator<Item = Vec<Line>>, most: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = lists
        .into_iter()
        // No line of a list precedes the lines before it.
        .flat_map(|list| list.into_iter().take(most))
        .collect();
    lines.sort_by_key(|Line { entry, .. }| {
        // A line without a day is newer than those that have one.
        (!entry.pending, entry.day.is_some(), Reverse(entry.day))
    });
    lines.truncate(most);
    lines
}

#[cfg(test)]
mod tests {
    use chrono::{Days, NaiveDate};
    use proptest::prelude::*;
    use shared_types::xs2a::money::{Amount, Currency};

    use super::*;

    fn line(account: &str, ago: Option<u64>, pending: bool, cents: i64) -> Line {
        let today: NaiveDate = "2026-11-24".parse().unwrap();
        Line {
            entry: Entry {
                day: ago.map(|days| today - Days::new(days)),
                pending,
                who: None,
                what: None,
                amount: Amount::parse(&cents.to_string(), Currency::EUR).unwrap(),
            },
            bank: Foreign::new("B"),
            account: Foreign::new(account),
        }
    }

    fn told(lines: &[Line]) -> Vec<String> {
        let told = lines.iter();
        told.map(|line| format!("{}{}", line.account.as_str(), line.entry.amount.value()))
            .collect()
    }

    #[test]
    fn pending_ones_come_first_and_days_in_order() {
        let one = vec![
            line("a", None, true, 1),
            line("a", Some(0), false, 2),
            line("a", Some(5), false, 3),
        ];
        let two = vec![
            line("b", Some(1), true, 1),
            line("b", Some(0), false, 2),
            line("b", Some(4), false, 3),
        ];
        let all = merged([one, two], 10);
        assert_eq!(told(&all), ["a1", "b1", "a2", "b2", "b3", "a3"]);
    }

    proptest! {
        #[test]
        fn the_newest_of_all_are_there_and_each_accounts_order_stays(
            lists in prop::collection::vec(prop::collection::vec(0_u64..40, 0..30), 0..5), most in 0_usize..60
        ) {
            let build = || lists.iter().enumerate().map(|(account, days)| {
                let mut days = days.clone();
                days.sort_unstable();
                let lines = days.iter().zip(0_i64..);
                lines.map(|(ago, at)| line(&account.to_string(), Some(*ago), false, at)).collect::<Vec<_>>()
            }).collect::<Vec<_>>();
            let all: usize = lists.iter().map(Vec::len).sum();
            let merged = merged(build(), most);
            prop_assert_eq!(merged.len(), all.min(most));
            let days: Vec<_> = merged.iter().map(|line| line.entry.day).collect();
            prop_assert!(days.is_sorted_by(|earlier, later| earlier >= later));
            // No entry that was left out is newer than an entry in the list.
            let mut whole: Vec<_> = build().into_iter().flatten().map(|line| line.entry.day).collect();
            whole.sort_unstable_by(|left, right| right.cmp(left));
            whole.truncate(most);
            prop_assert_eq!(days, whole);
            for account in 0..lists.len() {
                let own = merged.iter().filter(|line| line.account.as_str() == account.to_string());
                let at: Vec<_> = own.map(|line| line.entry.amount.value()).collect();
                prop_assert!(at.is_sorted());
            }
        }
    }
}
