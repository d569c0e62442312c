//! The course of balances, from the local copy.

use std::collections::HashMap;

use bank_client::AccountInformation;
use bank_client::aggregator::Member;
use bank_client::environment::{Clock as _, SystemClock};
use bank_client::sync::{
    CopiedAccount, CopiedBalance, CopiedDetails, CopiedTransaction, CopyError, LocalCopy, Period,
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use futures::TryStreamExt as _;
use rust_decimal::Decimal;
use shared_types::account::{AccountDetails, BalanceType, ReferenceMatch};
use shared_types::money::Currency;

use super::failure::{Failure, failure};
use super::spark::sparkline;
use super::targets::Targets;

/// So many days are shown.
const DAYS: u64 = 60;

/// In so many blocks.
const ROOM: usize = 20;

/// The copy from which they are read, if there is one.
pub(super) struct Courses(Option<LocalCopy>);

impl Courses {
    pub(super) async fn open(targets: &Targets) -> Result<Self, Failure> {
        let kept = targets.kept.as_ref();
        let kept = kept.filter(|kept| kept.profile.copy.exists());
        Ok(Self(match kept {
            Some(kept) => Some(kept.copy().await?),
            None => None,
        }))
    }

    /// That of an account; nothing, if there is none. It is that account's alone: one IBAN may have several, and one
    /// `resourceId` may be another account's in another consent. Its days are those of the bank's time zone.
    pub(super) async fn of(
        &self,
        member: &Member<AccountInformation>,
        account: &AccountDetails,
        zone: Tz,
    ) -> Result<String, Failure> {
        let (Some(copy), Some(id)) = (&self.0, &account.resource_id) else {
            return Ok(String::new());
        };
        let read = async {
            let copied = copy
                .account(member.key(), member.handle(), false, id)
                .await?;
            let Some(copied) = copied.filter(|copied| is_of(copied, account)) else {
                return Ok(String::new());
            };
            let course = course(copy, &copied, account.currency, zone).await?;
            Ok(sparkline(&course, ROOM))
        };
        read.await.map_err(|error: CopyError| {
            failure(
                error,
                "see that copy and store_key of the profile are those it was made with",
            )
        })
    }
}

/// Whether the copy has that account under its id: a bank may have given the id away since.
fn is_of(copied: &CopiedAccount, account: &AccountDetails) -> bool {
    let CopiedDetails::Payment(details) = &copied.details else {
        return false;
    };
    details.reference().compare(&account.reference()) != ReferenceMatch::Different
}

/// What was booked at the end of each day, the oldest first: from what the bank says now, back over what was booked since.
async fn course(
    copy: &LocalCopy,
    account: &CopiedAccount,
    currency: Currency,
    zone: Tz,
) -> Result<Vec<Decimal>, CopyError> {
    let balances = copy.balances(account.key).await?;
    let Some(booked) = booked(&balances, currency) else {
        return Ok(Vec::new());
    };
    // It stands for the moment at which it was read, or for the end of an earlier day: later entries are not counted in.
    let day_of = |time: DateTime<Utc>| time.with_timezone(&zone).date_naive();
    let today = day_of(booked.read.min(SystemClock.now()));
    let closed = match booked.balance.balance_type {
        BalanceType::ClosingBooked => booked.balance.reference_date,
        _ => None,
    };
    let today = closed.map_or(today, |closed| closed.min(today));
    let first = today.checked_sub_days(Days::new(DAYS)).unwrap_or(today);
    // Where it is not known from when on all entries are here, there is no course.
    let first = account.since.map_or(today, |since| since.max(first));
    let period = Period {
        from: Some(first),
        to: None,
    };
    let mut of_day: HashMap<NaiveDate, Decimal> = HashMap::new();
    let mut entries = copy.transactions(account.key, period);
    while let Some(entry) = entries.try_next().await? {
        if let CopiedTransaction::Payment(transaction) = &entry.transaction
            && entry.booked
            && entry.first_seen <= booked.read
            && closed.is_none_or(|closed| entry.day <= closed)
            && transaction.transaction_amount.currency() == currency
        {
            let sum = of_day.entry(entry.day.min(today)).or_default();
            *sum = sum.saturating_add(transaction.transaction_amount.value());
        }
    }
    let now = booked.balance.balance_amount.value();
    Ok(back(now, &of_day, first, today))
}

/// The balance that was booked last: of each kind, the newest comes first.
fn booked(balances: &[CopiedBalance], currency: Currency) -> Option<&CopiedBalance> {
    let own = || {
        balances
            .iter()
            .filter(|copied| copied.balance.balance_amount.currency() == currency)
    };
    let of = |wanted| own().find(|copied| copied.balance.balance_type == wanted);
    of(BalanceType::InterimBooked)
        .or_else(|| of(BalanceType::ClosingBooked))
        .or_else(|| own().next())
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

    /// Two accounts of one IBAN, one of which has grown while the other has shrunk.
    #[cfg(feature = "test-util")]
    #[tokio::test]
    async fn each_account_of_an_iban_has_its_own_course() {
        use std::sync::Arc;

        use bank_client::environment::SystemRandomness;
        use bank_client::sync::Synchroniser;
        use bank_client::test_util::{MockAccount, MockBank};
        use bank_client::vault::{Key, Vault};
        use shared_types::money::Amount;

        let account = |id: &str, currency: &str, moved: &str| -> MockAccount {
            let currency = currency.parse().unwrap();
            let mut account = MockBank::sample_accounts().remove(1);
            account.details.resource_id = Some(id.to_owned());
            account.details.currency = currency;
            account.balances[0].balance_amount = Amount::parse("100.00", currency).unwrap();
            account.booked[0].transaction_amount = Amount::parse(moved, currency).unwrap();
            account.booked[0].booking_date = SystemClock
                .now()
                .date_naive()
                .checked_sub_days(Days::new(30));
            account
        };
        let accounts = [account("1", "EUR", "90.00"), account("2", "USD", "-90.00")];
        let mock = MockBank::with_accounts(accounts.to_vec()).await;
        let folder = tempfile::tempdir().unwrap();
        let key = Key::from_bytes([1; 32]);
        let vault = Vault::new(&key, "copy", Arc::new(SystemRandomness)).unwrap();
        let copy = LocalCopy::open(folder.path().join("copy.db"), vault)
            .await
            .unwrap();
        let under = |consent: &str| Member::new("bank", mock.bank().with_consent(consent));
        let member = under(mock.consent_id());
        Synchroniser::new(&copy, "bank")
            .run(member.handle(), |_| ())
            .await
            .unwrap();
        let courses = Courses(Some(copy));
        let [euros, dollars] = &accounts;
        let grown = courses.of(&member, &euros.details, Tz::UTC).await.unwrap();
        let shrunk = courses
            .of(&member, &dollars.details, Tz::UTC)
            .await
            .unwrap();
        assert!(grown.starts_with('▁') && grown.ends_with('█'), "{grown}");
        assert!(shrunk.starts_with('█') && shrunk.ends_with('▁'), "{shrunk}");
        // Under another consent the id may be another account's.
        let elsewhere = courses
            .of(&under("other"), &euros.details, Tz::UTC)
            .await
            .unwrap();
        assert_eq!(elsewhere, "");
        // So it may be under another number.
        let mut other = euros.details.clone();
        other.iban = "DE88100900001234567892".parse().ok();
        assert_eq!(courses.of(&member, &other, Tz::UTC).await.unwrap(), "");
    }

    #[test]
    fn a_course_goes_back_over_what_was_booked() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
        let of_day = HashMap::from([(day(2), Decimal::from(10)), (day(4), Decimal::from(-3))]);
        let course = back(Decimal::from(100), &of_day, day(1), day(5));
        assert_eq!(course, [93, 103, 103, 100, 100].map(Decimal::from));
    }
}
