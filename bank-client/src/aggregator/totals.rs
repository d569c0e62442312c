//! Totals of balances, by currency.

use std::fmt;

use rust_decimal::Decimal;
use shared_types::xs2a::account::{AccountDetails, Balance, BalanceType};
use shared_types::xs2a::card_account::{CardAccountBalances, CardAccountDetails, debits_negative};
use shared_types::xs2a::money::Currency;

/// Exact sums of balances, apart for each currency and for each kind of balance.
///
/// Available and booked balances are never added, and neither are balances with and without the
/// credit limit. Where an account has several
/// balances of one kind, for several days, the latest counts. An account that is added twice counts
/// twice. Debts are negative, whichever way a bank quotes those of cards (`debitAccounting`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals(Vec<Total>);

/// The sum of the balances of one kind in one currency.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Total {
    /// The currency.
    pub currency: Currency,
    /// Of which kind the balances are.
    pub balance_type: BalanceType,
    /// Whether the credit limit is counted in.
    pub credit_limit_included: bool,
    /// Number of balances that were added.
    pub balances: usize,
    /// Their sum.
    pub sum: Decimal,
}

impl Totals {
    /// Adds the balances that came along with an account.
    pub fn add_account(&mut self, account: &AccountDetails) {
        self.add(account.balances.as_deref().unwrap_or_default());
    }

    /// Adds the balances that came along with a card account.
    pub fn add_card_account(&mut self, account: &CardAccountDetails) {
        let balances = account.balances.as_deref().unwrap_or_default();
        self.add_card(balances, account.debit_accounting);
    }

    /// Adds the balances of one card account. If they lack the sign of debits, the account may
    /// have it: [`debit_accounting`](crate::AccountInformation::debit_accounting).
    pub fn add_card_balances(&mut self, balances: &CardAccountBalances, of_account: Option<bool>) {
        self.add_card(&balances.balances, balances.debit_accounting.or(of_account));
    }

    fn add_card(&mut self, balances: &[Balance], debit_accounting: Option<bool>) {
        let balances: Vec<Balance> = balances
            .iter()
            .map(|balance| Balance {
                balance_amount: debits_negative(balance.balance_amount, debit_accounting),
                ..balance.clone()
            })
            .collect();
        self.add(&balances);
    }

    /// Adds the balances of one payment account.
    pub fn add(&mut self, balances: &[Balance]) {
        for balance in Balance::newest(balances) {
            self.add_one(balance);
        }
    }

    fn add_one(&mut self, balance: &Balance) {
        let (currency, balance_type, credit_limit_included) = balance.kind();
        let amount = balance.balance_amount.value();
        let known = self
            .0
            .iter_mut()
            .find(|total| total.kind() == balance.kind());
        if let Some(total) = known {
            total.balances += 1;
            // An amount has at most 17 digits and a decimal 28: it takes a hundred thousand million
            // of the largest for a sum that does not fit.
            total.sum = total.sum.saturating_add(amount);
        } else {
            self.0.push(Total {
                currency,
                balance_type: balance_type.to_owned(),
                credit_limit_included,
                balances: 1,
                sum: amount,
            });
            self.0.sort_by_key(|total| {
                (
                    total.currency,
                    total.balance_type.to_string(),
                    total.credit_limit_included,
                )
            });
        }
    }

    /// The sums: by currency, then by kind.
    pub fn iter(&self) -> std::slice::Iter<'_, Total> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Totals {
    type Item = &'a Total;
    type IntoIter = std::slice::Iter<'a, Total>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Total {
    const fn kind(&self) -> (Currency, &BalanceType, bool) {
        (
            self.currency,
            &self.balance_type,
            self.credit_limit_included,
        )
    }
}

/// For people: `1234.50 EUR available now`.
impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.sum, self.currency, self.balance_type)?;
        if self.credit_limit_included {
            f.write_str(", credit limit included")?;
        }
        Ok(())
    }
}

/// Sums are account data: `Debug` does not show them.
impl fmt::Debug for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<{} balances in {}, {}>",
            self.balances, self.currency, self.balance_type
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn balance(kind: &str, amount: &str, currency: &str) -> Balance {
        serde_json::from_value(json!({
            "balanceType": kind, "balanceAmount": { "currency": currency, "amount": amount }
        }))
        .unwrap()
    }

    fn shown(totals: &Totals) -> Vec<String> {
        totals.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn currencies_and_kinds_are_not_mixed() {
        let mut totals = Totals::default();
        totals.add(&[
            balance("interimAvailable", "0.10", "EUR"),
            balance("closingBooked", "5.00", "EUR"),
        ]);
        totals.add(&[balance("interimAvailable", "0.20", "EUR")]);
        totals.add(&[balance("interimAvailable", "7", "CHF")]);
        let with_credit = Balance {
            credit_limit_included: Some(true),
            ..balance("interimAvailable", "1000", "EUR")
        };
        totals.add(&[with_credit]);
        assert_eq!(
            shown(&totals),
            [
                "7 CHF available now",
                "0.30 EUR available now",
                "1000 EUR available now, credit limit included",
                "5.00 EUR closing booked",
            ]
        );
        let counted: Vec<usize> = totals.iter().map(|total| total.balances).collect();
        assert_eq!(counted, [1, 2, 1, 1]);
    }

    #[test]
    fn of_several_days_the_latest_counts() {
        let on = |day: &str, amount| Balance {
            reference_date: Some(day.parse().unwrap()),
            ..balance("closingBooked", amount, "EUR")
        };
        let mut totals = Totals::default();
        totals.add(&[
            on("2026-01-01", "1"),
            on("2026-01-03", "3"),
            on("2026-01-02", "2"),
        ]);
        assert_eq!(shown(&totals), ["3 EUR closing booked"]);
        let mut totals = Totals::default();
        totals.add(&[on("2026-01-01", "1"), balance("closingBooked", "9", "EUR")]);
        assert_eq!(shown(&totals), ["9 EUR closing booked"]);
        let mut totals = Totals::default();
        totals.add(&[on("2026-01-01", "1"), on("2026-01-01", "2")]);
        assert_eq!(shown(&totals), ["1 EUR closing booked"]);
        // Of those of one day, the one that changed last.
        let changed = |time: &str, amount| Balance {
            last_change_date_time: Some(time.parse().unwrap()),
            ..on("2026-01-01", amount)
        };
        let mut totals = Totals::default();
        totals.add(&[
            changed("2026-01-01T08:00:00Z", "1"),
            changed("2026-01-01T17:00:00Z", "2"),
        ]);
        assert_eq!(shown(&totals), ["2 EUR closing booked"]);
    }

    #[test]
    fn debts_of_cards_are_negative_whichever_way_they_are_quoted() {
        let mut totals = Totals::default();
        totals.add(&[balance("interimBooked", "100.00", "EUR")]);
        for (debit_accounting, amount) in [
            (Some(true), "30.00"),
            (Some(false), "-20.00"),
            (None, "-1.00"),
        ] {
            let balances = vec![balance("interimBooked", amount, "EUR")];
            let currency = Currency::EUR;
            totals.add_card_account(&CardAccountDetails {
                debit_accounting,
                balances: Some(balances.clone()),
                ..CardAccountDetails::of("1234".parse().unwrap(), currency)
            });
            let said = CardAccountBalances {
                card_account: None,
                debit_accounting,
                balances,
            };
            totals.add_card_balances(&said, Some(false));
        }
        assert_eq!(shown(&totals), ["-2.00 EUR booked now"]);
        let quoted = CardAccountBalances {
            card_account: None,
            debit_accounting: None,
            balances: vec![balance("interimBooked", "3.00", "EUR")],
        };
        totals.add_card_balances(&quoted, Some(true));
        assert_eq!(shown(&totals), ["-5.00 EUR booked now"]);
    }

    #[test]
    fn debug_does_not_show_them() {
        let mut totals = Totals::default();
        totals.add(&[balance("closingBooked", "4711", "EUR")]);
        assert!(!format!("{totals:?}").contains("4711"));
    }

    proptest! {
        #[test]
        fn sums_are_exact(thousandths in proptest::collection::vec(-99_999_999_999_999_999_i64..=99_999_999_999_999_999, 1..100)) {
            let mut totals = Totals::default();
            for part in &thousandths {
                let amount = Decimal::new(*part, 3).to_string();
                totals.add(&[balance("expected", &amount, "EUR")]);
            }
            let exact: i128 = thousandths.iter().copied().map(i128::from).sum();
            let total = totals.iter().next().unwrap();
            prop_assert_eq!(total.sum, Decimal::from_i128_with_scale(exact, 3));
            prop_assert_eq!(total.balances, thousandths.len());
        }
    }
}
