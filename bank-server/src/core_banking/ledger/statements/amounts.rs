//! Amounts and dates as files write them.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use shared_types::xs2a::money::{Amount, Currency};

use crate::core_banking::ledger::currencies;

/// Sign before the decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DecimalSign {
    /// `1234.50`
    Point,
    /// `1234,50`
    Comma,
}

impl DecimalSign {
    /// The decimal sign of an amount, if it has one.
    pub(super) fn of(amount: &str) -> Option<Self> {
        amount.bytes().find_map(|byte| match byte {
            b'.' => Some(Self::Point),
            b',' => Some(Self::Comma),
            _ => None,
        })
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Point => b'.',
            Self::Comma => b',',
        }
    }
}

/// Longest amount, in characters: more are not digits of an amount.
const LONGEST: usize = 30;

const NOT_AN_AMOUNT: &str = "not an amount: digits, one sign before the decimals, no separators \
    between thousands";

/// Reads an amount without a sign. It has the decimals of its currency afterwards: further ones
/// must be zeros.
pub(super) fn amount(text: &str, sign: DecimalSign, currency: Currency) -> Result<Amount, String> {
    let separator = sign.byte();
    let mut digits: u32 = 0;
    let mut decimals: Option<u32> = None;
    let mut value: i128 = 0;
    if text.len() > LONGEST {
        return Err(NOT_AN_AMOUNT.to_owned());
    }
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            digits += 1;
            decimals = decimals.map(|decimals| decimals + 1);
            value = value * 10 + i128::from(byte - b'0');
        } else if byte == separator && decimals.is_none() && digits > 0 {
            decimals = Some(0);
        } else if matches!(byte, b'.' | b',') && !text.contains(char::from(separator)) {
            let separator = char::from(separator);
            return Err(format!(
                "the sign before the decimals is `{separator}` here"
            ));
        } else {
            return Err(NOT_AN_AMOUNT.to_owned());
        }
    }
    if digits == 0 {
        return Err(NOT_AN_AMOUNT.to_owned());
    }
    let value = Decimal::try_from_i128_with_scale(value, decimals.unwrap_or(0));
    let mut value = value.map_err(|_| "more digits than an amount has".to_owned())?;
    let of_currency = currencies::decimals(currency);
    if value.scale() > of_currency && value.normalize().scale() > of_currency {
        return Err(format!("{currency} has {of_currency} decimals"));
    }
    value.rescale(of_currency);
    Amount::new(value, currency).map_err(|fault| fault.to_string())
}

/// Whether the only sign in an amount can stand between thousands: `1.234`.
pub(super) fn may_have_thousands(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['-', '+']);
    let Some((before, behind)) = unsigned.split_once(['.', ',']) else {
        return false;
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_group = behind.len() == 3 && is_number(behind);
    is_group && (1..=3).contains(&before.len()) && is_number(before) && !before.starts_with('0')
}

/// Reads an amount that may have a minus, or a plus, before it.
pub(super) fn signed(text: &str, sign: DecimalSign, currency: Currency) -> Result<Amount, String> {
    match text.strip_prefix('-') {
        Some(unsigned) => Ok(amount(unsigned, sign, currency)?.opposite()),
        None => amount(text.strip_prefix('+').unwrap_or(text), sign, currency),
    }
}

/// Reads a currency code.
pub(super) fn currency(code: &str) -> Result<Currency, &'static str> {
    let known = currencies::is_known(code).then(|| code.parse().ok());
    known.flatten().ok_or("no currency of ISO 4217")
}

/// Reads a date of digits at fixed places: year, month and day.
pub(super) fn date(year: &str, month: &str, day: &str) -> Option<NaiveDate> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let year = i32::try_from(number(year)?).ok()?;
    NaiveDate::from_ymd_opt(year, number(month)?, number(day)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_digits_behind_the_only_sign_can_be_thousands() {
        for text in ["1.234", "-12,345", "+999.000"] {
            assert!(may_have_thousands(text), "{text}");
        }
        for text in [
            "1.23", "1.2345", "0.123", "1234.567", "1234", "1.234,50", "x.123",
        ] {
            assert!(!may_have_thousands(text), "{text}");
        }
    }

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        use DecimalSign::{Comma, Point};

        for (text, sign, currency, expected) in [
            ("1234.5", Point, "EUR", "1234.50"),
            ("1234,50", Comma, "EUR", "1234.50"),
            ("12,", Comma, "EUR", "12.00"),
            ("12", Comma, "EUR", "12.00"),
            ("0.10000", Point, "EUR", "0.10"),
            ("100.00", Point, "JPY", "100"),
            ("1.234", Point, "KWD", "1.234"),
            ("99999999999999.99", Point, "EUR", "99999999999999.99"),
        ] {
            let amount = amount(text, sign, currency.parse().unwrap());
            assert_eq!(amount.unwrap().value().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_the_reason() {
        use DecimalSign::{Comma, Point};

        for (text, sign, currency, said) in [
            ("1.234", Point, "EUR", "EUR has 2 decimals"),
            ("100.5", Point, "JPY", "JPY has 0 decimals"),
            ("1.00001", Point, "KWD", "KWD has 3 decimals"),
            ("1,5", Point, "EUR", "is `.` here"),
            ("1.5", Comma, "EUR", "is `,` here"),
            ("1.234,50", Comma, "EUR", "no separators between thousands"),
            ("1,234.50", Point, "EUR", "no separators between thousands"),
            ("1 234.50", Point, "EUR", "not an amount"),
            ("", Point, "EUR", "not an amount"),
            (".5", Point, "EUR", "not an amount"),
            ("1.2.3", Point, "EUR", "not an amount"),
            ("-1", Point, "EUR", "not an amount"),
            ("1e3", Point, "EUR", "not an amount"),
            ("١", Point, "EUR", "not an amount"),
            ("100000000000000", Point, "EUR", "more than 14 digits"),
            (
                "0000000000000000000000000000001",
                Point,
                "EUR",
                "not an amount",
            ),
        ] {
            let refused = amount(text, sign, currency.parse().unwrap()).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
        assert!(signed("--1", Point, Currency::EUR).is_err());
        let negative = signed("-1.50", Point, Currency::EUR).unwrap();
        assert_eq!(negative.to_string(), "-1.50 EUR");
        assert_eq!(
            signed("+1", Point, Currency::EUR).unwrap().to_string(),
            "1.00 EUR"
        );
    }

    #[test]
    fn a_date_is_made_of_digits() {
        assert!(date("2026", "02", "28").is_some());
        for (year, month, day) in [
            ("2026", "02", "29"),
            ("2026", "+1", "02"),
            ("2026", "1 ", "02"),
            ("2026", "", "02"),
            ("+202", "01", "02"),
        ] {
            assert!(date(year, month, day).is_none(), "{year} {month} {day}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            for sign in [DecimalSign::Point, DecimalSign::Comma] {
                let _ = signed(&text, sign, Currency::EUR);
                let _ = date(&text, &text, &text);
            }
        }

        #[test]
        fn an_amount_that_is_written_is_read_again(cents in -9_999_999_999_999_999_i64..9_999_999_999_999_999) {
            let amount = Amount::new(Decimal::new(cents, 2), Currency::EUR).unwrap();
            let text = amount.value().to_string();
            prop_assert_eq!(signed(&text, DecimalSign::Point, Currency::EUR).unwrap(), amount);
            let comma = text.replace('.', ",");
            prop_assert_eq!(signed(&comma, DecimalSign::Comma, Currency::EUR).unwrap(), amount);
        }
    }
}
