//! Balance history from the local copy.

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
use shared_types::xs2a::account::{AccountDetails, BalanceType, ReferenceMatch};
use shared_types::xs2a::money::Currency;

use super::failure::{Failure, failure};
use super::sparkline::sparkline;
use super::targets::Targets;

/// Maximum number of days in a history.
const DAYS: u64 = 60;

/// Maximum width of the sparkline, in blocks.
const WIDTH: usize = 20;

/// Reader of balance histories; empty if there is no local copy.
pub(super) struct BalanceHistories(Option<LocalCopy>);

impl BalanceHistories {
    pub(super) async fn open(targets: &Targets) -> Result<Self, Failure> {
        let store = targets.store.as_ref();
        let store = store.filter(|store| store.profile.copy.exists());
        Ok(Self(match store {
            Some(store) => Some(store.copy().await?),
            None => None,
        }))
    }

    /// Returns an account's history as a sparkline; empty if there is none. Accounts may share an
    /// IBAN, and under another consent a `resourceId` may name another account, so both are
    /// compared. Days are those of the bank's time zone.
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
            let history = history(copy, &copied, account.currency, zone).await?;
            Ok(sparkline(&history, WIDTH))
        };
        read.await.map_err(|error: CopyError| {
            failure(
                error,
                "check that copy and store_key of the profile are those it was made with",
            )
        })
    }
}

/// Whether the copied account is this account: the bank may have reassigned the id.
fn is_of(copied: &CopiedAccount, account: &AccountDetails) -> bool {
    let CopiedDetails::Payment(details) = &copied.details else {
        return false;
    };
    details.reference().compare(&account.reference()) != ReferenceMatch::Different
}

/// The closing balance of each day, oldest first: the current balance, less later bookings.
async fn history(
    copy: &LocalCopy,
    account: &CopiedAccount,
    currency: Currency,
    zone: Tz,
) -> Result<Vec<Decimal>, CopyError> {
    let balances = copy.balances(account.key).await?;
    let Some(booked) = booked(&balances, currency) else {
        return Ok(Vec::new());
    };
    // The balance holds for the time at which it was read, or for the end of an earlier day: later
    // entries are not part of it.
    let day_of = |time: DateTime<Utc>| time.with_timezone(&zone).date_naive();
    let today = day_of(booked.read.min(SystemClock.now()));
    let closed = match booked.balance.balance_type {
        BalanceType::ClosingBooked => booked.balance.reference_date,
        _ => None,
    };
    let today = closed.map_or(today, |closed| closed.min(today));
    let first = today.checked_sub_days(Days::new(DAYS)).unwrap_or(today);
    // Before the first day from which all entries are copied, there is no history.
    let first = account.since.map_or(today, |since| since.max(first));
    let period = Period {
        from: Some(first),
        to: None,
    };
    let mut booked_by_day: HashMap<NaiveDate, Decimal> = HashMap::new();
    let mut entries = copy.transactions(account.key, period);
    while let Some(entry) = entries.try_next().await? {
        if let CopiedTransaction::Payment(transaction) = &entry.transaction
            && entry.booked
            && entry.first_seen <= booked.read
            && closed.is_none_or(|closed| entry.day <= closed)
            && transaction.transaction_amount.currency() == currency
        {
            let sum = booked_by_day.entry(entry.day.min(today)).or_default();
            *sum = sum.saturating_add(transaction.transaction_amount.value());
        }
    }
    let now = booked.balance.balance_amount.value();
    Ok(daily_balances(now, &booked_by_day, first, today))
}

/// The current booked balance: balances come newest first within each type.
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

fn daily_balances(
    now: Decimal,
    booked_by_day: &HashMap<NaiveDate, Decimal>,
    first: NaiveDate,
    today: NaiveDate,
) -> Vec<Decimal> {
    let mut balance = now;
    let mut history = Vec::new();
    let mut day = Some(today);
    while let Some(at) = day.filter(|day| *day >= first) {
        history.push(balance);
        balance = balance.saturating_sub(booked_by_day.get(&at).copied().unwrap_or_default());
        day = at.pred_opt();
    }
    history.reverse();
    history
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
        use shared_types::xs2a::money::Amount;

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
        let histories = BalanceHistories(Some(copy));
        let [euros, dollars] = &accounts;
        let grown = histories
            .of(&member, &euros.details, Tz::UTC)
            .await
            .unwrap();
        let shrunk = histories
            .of(&member, &dollars.details, Tz::UTC)
            .await
            .unwrap();
        assert!(grown.starts_with('▁') && grown.ends_with('█'), "{grown}");
        assert!(shrunk.starts_with('█') && shrunk.ends_with('▁'), "{shrunk}");
        // Under another consent the id may be another account's.
        let other_consent = histories
            .of(&under("other"), &euros.details, Tz::UTC)
            .await
            .unwrap();
        assert_eq!(other_consent, "");
        // Nor does an account with another number get this history.
        let mut other = euros.details.clone();
        other.iban = "DE88100900001234567892".parse().ok();
        assert_eq!(histories.of(&member, &other, Tz::UTC).await.unwrap(), "");
    }

    #[test]
    fn a_course_goes_back_over_what_was_booked() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
        let booked_by_day =
            HashMap::from([(day(2), Decimal::from(10)), (day(4), Decimal::from(-3))]);
        let history = daily_balances(Decimal::from(100), &booked_by_day, day(1), day(5));
        assert_eq!(history, [93, 103, 103, 100, 100].map(Decimal::from));
    }
}
