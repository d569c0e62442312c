//! Money: an exact decimal that never travels without its currency.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_with::DeserializeFromStr;

/// A currency by its three capital letters (ISO 4217). `XXX` stands for a multi-currency account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, DeserializeFromStr)]
pub struct Currency([u8; 3]);

/// The text is not three capital letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a currency code of three capital letters")]
pub struct NotACurrency;

impl Currency {
    /// The euro.
    pub const EUR: Self = Self(*b"EUR");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII letters are ever stored.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(letters) if letters.iter().all(u8::is_ascii_uppercase) => Ok(Self(letters)),
            _ => Err(NotACurrency),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An amount with its currency (schema `amount`): up to 14 digits before the point and 3 after it.
///
/// The decimals are kept as written: `1000.00` does not become `1000`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Amount {
    /// Three-letter currency code.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$", example = "EUR"))]
    currency: Currency,
    /// The value, with a point before the decimals and a leading minus when money went out.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^-?[0-9]{1,14}(\\.[0-9]{1,3})?$", example = "-100.03"))]
    amount: Decimal,
}

/// Error of an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// More than 14 digits before the point.
    #[error("more than 14 digits before the decimal point")]
    TooLarge,
    /// More than 3 digits after the point.
    #[error("more than 3 digits after the decimal point")]
    TooPrecise,
    /// Not a decimal number in the standard's form.
    #[error("not a decimal number such as -100.03")]
    NotANumber,
    /// Two amounts of different currencies were added.
    #[error("{0} and {1} cannot be added")]
    DifferentCurrencies(Currency, Currency),
}

impl Amount {
    /// An amount of that value.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, AmountError> {
        if amount.scale() > 3 {
            return Err(AmountError::TooPrecise);
        }
        if amount.trunc().abs() > Decimal::from(99_999_999_999_999_i64) {
            return Err(AmountError::TooLarge);
        }
        Ok(Self { currency, amount })
    }

    /// Reads the standard's textual form of the value.
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, AmountError> {
        let unsigned = amount.strip_prefix('-').unwrap_or(amount);
        let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(AmountError::NotANumber);
        }
        if whole.len() > 14 {
            return Err(AmountError::TooLarge);
        }
        if decimals.len() > 3 {
            return Err(AmountError::TooPrecise);
        }
        let value = Decimal::from_str_exact(amount).map_err(|_| AmountError::NotANumber)?;
        Self::new(value, currency)
    }

    /// Nothing, in that currency.
    #[must_use]
    pub const fn zero(currency: Currency) -> Self {
        Self {
            currency,
            amount: Decimal::ZERO,
        }
    }

    /// The value.
    #[must_use]
    pub const fn value(&self) -> Decimal {
        self.amount
    }

    /// The currency.
    #[must_use]
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// The same amount with the other sign. Zero stays as it is.
    #[must_use]
    pub fn opposite(&self) -> Self {
        let amount = if self.amount.is_zero() {
            self.amount
        } else {
            -self.amount
        };
        Self { amount, ..*self }
    }

    /// The sum, if both are of one currency and the sum still is an amount.
    pub fn checked_add(&self, other: &Self) -> Result<Self, AmountError> {
        if self.currency != other.currency {
            return Err(AmountError::DifferentCurrencies(
                self.currency,
                other.currency,
            ));
        }
        let sum = self
            .amount
            .checked_add(other.amount)
            .ok_or(AmountError::TooLarge)?;
        Self::new(sum, self.currency)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {}", self.amount, self.currency))
    }
}

/// Amounts are account data: `Debug` shows the currency only.
impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<amount in {}>", self.currency)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            currency: Currency,
            amount: String,
        }
        let wire = Wire::deserialize(deserializer)?;
        Self::parse(&wire.amount, wire.currency).map_err(serde::de::Error::custom)
    }
}

fn as_text<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A positive decimal rate written as text, such as an exchange rate or a percentage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Rate(#[serde(serialize_with = "as_text")] Decimal);

impl Rate {
    /// A rate of that value.
    #[must_use]
    pub const fn new(value: Decimal) -> Self {
        Self(value)
    }

    /// The value.
    #[must_use]
    pub const fn value(&self) -> Decimal {
        self.0
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Decimal::from_str_exact(&text)
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not a decimal number such as 1.0842"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_kept_as_written() {
        for text in [
            "1000.00",
            "0",
            "-100.03",
            "15000",
            "99999999999999.999",
            "007.10",
        ] {
            let json = format!(r#"{{"currency":"EUR","amount":"{text}"}}"#);
            let amount: Amount = serde_json::from_str(&json).unwrap();
            let back = serde_json::to_string(&amount).unwrap();
            assert_eq!(back.replace("\"7.10", "\"007.10"), json);
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_its_reason() {
        for (text, why) in [
            ("100000000000000", AmountError::TooLarge),
            ("0.0001", AmountError::TooPrecise),
            ("1e5", AmountError::NotANumber),
            ("+1", AmountError::NotANumber),
            ("1.", AmountError::NotANumber),
            (".5", AmountError::NotANumber),
            ("", AmountError::NotANumber),
            ("--1", AmountError::NotANumber),
            ("1_000", AmountError::NotANumber),
            (
                "0000000000000000000000000000000000000001",
                AmountError::TooLarge,
            ),
        ] {
            assert_eq!(Amount::parse(text, Currency::EUR), Err(why), "{text}");
        }
    }

    #[test]
    fn currencies_do_not_mix() {
        let euro = Amount::parse("1", Currency::EUR).unwrap();
        let dollar = Amount::parse("1", "USD".parse().unwrap()).unwrap();
        assert_eq!(
            euro.checked_add(&dollar),
            Err(AmountError::DifferentCurrencies(
                euro.currency(),
                dollar.currency()
            ))
        );
        assert_eq!(format!("{euro:?}"), "<amount in EUR>");
    }

    #[test]
    fn the_opposite_keeps_decimals_and_zero_has_no_sign() {
        for (text, opposite) in [("1000.00", "-1000.00"), ("-0.5", "0.5"), ("0.00", "0.00")] {
            let amount = Amount::parse(text, Currency::EUR).unwrap();
            assert_eq!(amount.opposite().to_string(), format!("{opposite} EUR"));
        }
    }

    proptest! {
        #[test]
        fn every_text_of_the_standards_pattern_parses(text in "-?[1-9][0-9]{0,13}(\\.[0-9]{1,3})?") {
            let amount = Amount::parse(&text, Currency::EUR).unwrap();
            prop_assert_eq!(amount.value().to_string(), text);
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = Amount::parse(&text, Currency::EUR);
        }

        #[test]
        fn adding_is_exact(left in -99_999_999_999_i64..99_999_999_999, right in -99_999_999_999_i64..99_999_999_999) {
            let cents = |value| Amount::new(Decimal::new(value, 2), Currency::EUR).unwrap();
            prop_assert_eq!(cents(left).checked_add(&cents(right)).unwrap(), cents(left + right));
        }
    }
}
