//! Formatting of numbers, amounts, dates and times.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, NaiveDate, TimeZone};
use maud::{Markup, html};
use rust_decimal::Decimal;
use shared_types::xs2a::iban::Iban;
use shared_types::xs2a::money::{Amount, Currency};

use super::texts::Texts;

/// No-break space.
const NO_BREAK: char = '\u{a0}';

/// Minus sign as wide as a digit, which screen readers read as a minus.
const MINUS: char = '\u{2212}';

impl Texts {
    /// `1,234.50 EUR`.
    pub(super) fn amount(&self, amount: &Amount) -> String {
        self.money(amount.value(), amount.currency())
    }

    /// Formats a sum, which may be larger than an amount of the standard.
    pub(super) fn money(&self, value: Decimal, currency: Currency) -> String {
        format!("{}{NO_BREAK}{currency}", self.decimal(value))
    }

    /// Formats an amount, with a plus sign before a credit.
    pub(super) fn signed_amount(&self, amount: &Amount) -> String {
        let plus = if amount.value() > Decimal::ZERO {
            "+"
        } else {
            ""
        };
        format!("{plus}{}", self.amount(amount))
    }

    /// A decimal with at least two decimals, none of them lost.
    pub(super) fn decimal(&self, value: Decimal) -> String {
        let digits = value.abs().to_string();
        let (whole, decimals) = digits.split_once('.').unwrap_or((&digits, ""));
        let mut written = String::new();
        if value.is_sign_negative() && !value.is_zero() {
            written.push(MINUS);
        }
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                written.push_str(self.writing.thousands);
            }
            written.push(digit);
        }
        written.push_str(self.writing.point);
        // Writing to a String cannot fail.
        let _ = write!(written, "{decimals:0<2}");
        written
    }

    /// A decimal without `.00`, for the lines of a chart.
    pub(super) fn round(&self, value: Decimal) -> String {
        let written = self.decimal(value);
        let zeros = format!("{}00", self.writing.point);
        written.strip_suffix(&zeros).unwrap_or(&written).to_owned()
    }

    /// `24 November 2026`.
    pub(super) fn date(&self, date: NaiveDate) -> String {
        self.dated(date, &self.writing.months)
    }

    /// `24 Nov 2026`.
    pub(super) fn short_date(&self, date: NaiveDate) -> String {
        self.dated(date, &self.writing.short_months)
    }

    /// `Nov 2026`.
    pub(super) fn month(&self, date: NaiveDate) -> String {
        let (month, year) = (
            name(&self.writing.short_months, date),
            date.year().to_string(),
        );
        self.fill(self.writing.month, &[("month", month), ("year", &year)])
    }

    /// `24 November 2026, 14:05`.
    pub(super) fn time<Z: TimeZone>(&self, time: &DateTime<Z>) -> String
    where
        Z::Offset: std::fmt::Display,
    {
        let (date, clock) = (
            self.date(time.date_naive()),
            time.format("%H:%M").to_string(),
        );
        self.fill(self.writing.time, &[("date", &date), ("time", &clock)])
    }

    fn dated(&self, date: NaiveDate, months: &[&str; 12]) -> String {
        let (day, year) = (date.day().to_string(), date.year().to_string());
        let values = [
            ("day", day.as_str()),
            ("month", name(months, date)),
            ("year", &year),
        ];
        self.fill(self.writing.date, &values)
    }
}

fn name<'a>(months: &[&'a str; 12], date: NaiveDate) -> &'a str {
    let month = usize::try_from(date.month0()).unwrap_or_default();
    months.get(month).copied().unwrap_or_default()
}

/// Amount of a transaction. The colour repeats the sign.
pub(super) fn moved(texts: &Texts, amount: &Amount) -> Markup {
    let class = if amount.value() > Decimal::ZERO {
        "amount in"
    } else {
        "amount"
    };
    html! { span class=(class) { (texts.signed_amount(amount)) } }
}

/// Amount of a balance or limit.
pub(super) fn held(texts: &Texts, amount: &Amount) -> Markup {
    html! { span.amount { (texts.amount(amount)) } }
}

/// A day, also in machine-readable form.
pub(super) fn day(texts: &Texts, date: NaiveDate) -> Markup {
    html! { time datetime=(date) { (texts.date(date)) } }
}

/// An IBAN in groups of four (ISO 13616, its form on paper).
pub(super) fn grouped(iban: &Iban) -> String {
    let mut grouped = String::new();
    for (at, letter) in iban.as_str().chars().enumerate() {
        if at > 0 && at.is_multiple_of(4) {
            grouped.push(' ');
        }
        grouped.push(letter);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::super::texts::ENGLISH;
    use super::*;

    #[test]
    fn money_is_written_to_the_last_decimal() {
        for (value, written) in [
            ("0", "0.00"),
            ("-0.00", "0.00"),
            ("5", "5.00"),
            ("999.9", "999.90"),
            ("1000", "1,000.00"),
            ("-1234567.89", "\u{2212}1,234,567.89"),
            ("12.345", "12.345"),
            ("99999999999999.999", "99,999,999,999,999.999"),
        ] {
            assert_eq!(ENGLISH.decimal(value.parse().unwrap()), written);
        }
        let amount = Amount::parse("1200.50", "USD".parse().unwrap()).unwrap();
        assert_eq!(ENGLISH.signed_amount(&amount), "+1,200.50\u{a0}USD");
    }

    #[test]
    fn days_and_times_have_their_months_in_words() {
        let time: DateTime<chrono::Utc> = "2026-03-01T08:05:59Z".parse().unwrap();
        assert_eq!(ENGLISH.time(&time), "1 March 2026, 08:05");
        assert_eq!(ENGLISH.short_date(time.date_naive()), "1 Mar 2026");
        assert_eq!(ENGLISH.month(time.date_naive()), "Mar 2026");
        let iban: Iban = "DE89370400440532013000".parse().unwrap();
        assert_eq!(grouped(&iban), "DE89 3704 0044 0532 0130 00");
    }
}
