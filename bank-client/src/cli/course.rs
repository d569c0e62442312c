//! The course of balances, from the local copy.

use std::collections::HashMap;

use bank_client::environment::{Clock as _, SystemClock};
use bank_client::sync::{
    CopiedAccount, CopiedDetails, CopiedTransaction, CopyError, LocalCopy, Period,
};
use chrono::{Days, NaiveDate};
use futures::TryStreamExt as _;
use rust_decimal::Decimal;
use shared_types::account::{Balance, BalanceType};
use shared_types::money::Currency;

use super::asked::Asked;
use super::failure::{Failure, failure};
use super::spark::sparkline;

/// So many days are shown.
const DAYS: u64 = 60;

/// In so many blocks.
const ROOM: usize = 20;

/// By whom is asked, and by what the account is known.
#[derive(Debug, Default)]
pub(super) struct Courses(HashMap<(String, String), String>);

impl Courses {
    /// Those of everybody who is asked, as far as there is a copy.
    pub(super) async fn read(asked: &Asked) -> Result<Self, Failure> {
        let mut courses = Self::default();
        let Some(kept) = asked
            .kept
            .as_ref()
            .filter(|kept| kept.profile.copy.exists())
        else {
            return Ok(courses);
        };
        let copy = kept.copy().await?;
        for member in &asked.members {
            courses.add(&copy, member.key()).await.map_err(|error| {
                failure(
                    error,
                    "see that copy and store_key of the profile are those it was made with",
                )
            })?;
        }
        Ok(courses)
    }

    async fn add(&mut self, copy: &LocalCopy, label: &str) -> Result<(), CopyError> {
        let today = SystemClock.now().date_naive();
        for account in copy.accounts(label).await? {
            let CopiedDetails::Payment(details) = &account.details else {
                continue;
            };
            let known_as = super::reading::known_as(details);
            let course = course(copy, &account, details.currency, today).await?;
            self.0
                .insert((label.to_owned(), known_as), sparkline(&course, ROOM));
        }
        Ok(())
    }

    /// That of an account; nothing, if there is none.
    pub(super) fn of(&self, label: &str, account: &str) -> &str {
        let key = (label.to_owned(), account.to_owned());
        self.0.get(&key).map_or("", String::as_str)
    }
}

/// What was booked at the end of each day, the oldest first: from what the bank says now, back over what was booked since.
async fn course(
    copy: &LocalCopy,
    account: &CopiedAccount,
    currency: Currency,
    today: NaiveDate,
) -> Result<Vec<Decimal>, CopyError> {
    let balances = copy.balances(account.key).await?;
    let Some(now) = booked(balances.iter().map(|copied| &copied.balance), currency) else {
        return Ok(Vec::new());
    };
    let first = today.checked_sub_days(Days::new(DAYS)).unwrap_or(today);
    let first = account.since.map_or(first, |since| since.max(first));
    let period = Period {
        from: Some(first),
        to: None,
    };
    let mut of_day: HashMap<NaiveDate, Decimal> = HashMap::new();
    let mut entries = copy.transactions(account.key, period);
    while let Some(entry) = entries.try_next().await? {
        if let CopiedTransaction::Payment(transaction) = &entry.transaction
            && entry.booked
            && transaction.transaction_amount.currency() == currency
        {
            let sum = of_day.entry(entry.day.min(today)).or_default();
            *sum = sum.saturating_add(transaction.transaction_amount.value());
        }
    }
    Ok(back(now, &of_day, first, today))
}

/// The balance that is booked now.
fn booked<'a>(balances: impl Iterator<Item = &'a Balance>, currency: Currency) -> Option<Decimal> {
    let of = |balance: &&Balance| match balance.balance_type {
        BalanceType::InterimBooked => 2,
        BalanceType::ClosingBooked => 1,
        _ => 0,
    };
    let own = balances.filter(|balance| balance.balance_amount.currency() == currency);
    let nearest = own.max_by_key(of)?;
    Some(nearest.balance_amount.value())
}

fn back(
    now: Decimal,
    of_day: &HashMap<NaiveDate, Decimal>,
    first: NaiveDate,
    today: NaiveDate,
) -> Vec<Decimal> {
    let mut balance = now;
    let mut course = Vec::new();
    let mut day = Some(today);
    while let Some(at) = day.filter(|day| *day >= first) {
        course.push(balance);
        balance = balance.saturating_sub(of_day.get(&at).copied().unwrap_or_default());
        day = at.pred_opt();
    }
    course.reverse();
    course
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_goes_back_over_what_was_booked() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
        let of_day = HashMap::from([(day(2), Decimal::from(10)), (day(4), Decimal::from(-3))]);
        let course = back(Decimal::from(100), &of_day, day(1), day(5));
        assert_eq!(course, [93, 103, 103, 100, 100].map(Decimal::from));
    }
}
