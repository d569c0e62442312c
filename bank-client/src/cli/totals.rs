//! Running totals of listed amounts, one for each currency.

use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use shared_types::xs2a::money::{Amount, Currency};

/// The totals by currency.
#[derive(Debug, Default)]
pub(super) struct RunningTotals(BTreeMap<Currency, Decimal>);

impl RunningTotals {
    /// Adds an amount and returns the new total of its currency.
    pub(super) fn add(&mut self, amount: Amount) -> Decimal {
        let total = self.0.entry(amount.currency()).or_default();
        // Saturates only after 10^11 of the largest amounts.
        *total = total.saturating_add(amount.value());
        *total
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for RunningTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = self
            .0
            .iter()
            .map(|(currency, total)| format!("{total} {currency}"));
        write!(f, "total: {}", totals.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_is_added_by_itself() {
        let mut totals = RunningTotals::default();
        let amount = |amount: &str, currency: &str| {
            Amount::parse(amount, currency.parse().unwrap()).unwrap()
        };
        let totals_so_far: Vec<String> = [("10.10", "EUR"), ("-3.00", "USD"), ("-0.20", "EUR")]
            .map(|(value, currency)| totals.add(amount(value, currency)).to_string())
            .into();
        assert_eq!(totals_so_far, ["10.10", "-3.00", "9.90"]);
        assert_eq!(totals.to_string(), "total: 9.90 EUR, -3.00 USD");
    }
}
