//! An account's balances, added up transaction by transaction.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use shared_types::xs2a::account::{Balance, BalanceType};
use shared_types::xs2a::money::{Amount, AmountError, Currency};

/// Sums of an account's transactions so far.
pub(super) struct Sums {
    currency: Currency,
    card: bool,
    closing: Decimal,
    booked: Decimal,
    pending: Decimal,
    not_invoiced: Decimal,
    last_booking: Option<NaiveDate>,
    entries: i64,
}

impl Sums {
    /// Before the first transaction. `closing` is the expected balance after the booked ones.
    pub(super) fn start(
        opening: Decimal,
        closing: Decimal,
        currency: Currency,
        card: bool,
    ) -> Self {
        Self {
            currency,
            card,
            closing,
            booked: opening,
            pending: Decimal::ZERO,
            not_invoiced: Decimal::ZERO,
            last_booking: None,
            entries: 0,
        }
    }

    /// Adds a transaction: booked on that day, or pending. Returns its number within the account,
    /// from 1.
    pub(super) fn add(
        &mut self,
        amount: &Amount,
        booking_date: Option<NaiveDate>,
        invoiced: bool,
    ) -> Result<i64, AmountError> {
        let plus = |sum: Decimal| {
            Ok::<_, AmountError>(
                Amount::new(sum, self.currency)?
                    .checked_add(amount)?
                    .value(),
            )
        };
        if booking_date.is_some() {
            self.booked = plus(self.booked)?;
            self.last_booking = self.last_booking.max(booking_date);
            if !invoiced {
                self.not_invoiced = plus(self.not_invoiced)?;
            }
        } else {
            self.pending = plus(self.pending)?;
        }
        self.entries += 1;
        Ok(self.entries)
    }

    /// Difference between the closing balance and the sum of the entries.
    pub(super) fn difference(&self) -> Decimal {
        self.closing - self.booked
    }

    /// The balances that the bank reports.
    pub(super) fn balances(&self) -> Result<Vec<Balance>, AmountError> {
        let second = if self.card {
            self.balance(self.not_invoiced, BalanceType::NonInvoiced)?
        } else {
            // Both are amounts, so their sum is far below the maximum of a decimal.
            self.balance(self.booked + self.pending, BalanceType::Expected)?
        };
        Ok(vec![
            self.balance(self.booked, BalanceType::InterimBooked)?,
            second,
        ])
    }

    fn balance(&self, sum: Decimal, balance_type: BalanceType) -> Result<Balance, AmountError> {
        Ok(Balance {
            balance_amount: Amount::new(sum, self.currency)?,
            balance_type,
            credit_limit_included: None,
            last_change_date_time: None,
            reference_date: self.last_booking,
            last_committed_transaction: None,
        })
    }
}
