//! Payment accounts and their balances (service AIS, `/v1/accounts`).

use std::cmp::Reverse;
use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_with::skip_serializing_none;

use crate::decode::Manner;
use crate::xs2a::iban::Iban;
use crate::xs2a::link::Links;
use crate::xs2a::macros::{open_enum, required_fields_constructor};
use crate::xs2a::money::{Amount, Currency};
use crate::xs2a::text::{OpenText, Text, open_text};

/// Reference to an account (schema `accountReference`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccountReference {
    /// International account number.
    pub iban: Option<Iban>,
    /// National account number, where there is no IBAN.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^[a-zA-Z0-9]{1,30}$"))]
    pub bban: Option<Text<30>>,
    /// Card number.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, max_length = 35))]
    pub pan: Option<Text<35>>,
    /// Card number with its middle digits masked.
    pub masked_pan: Option<Text<35>>,
    /// Mobile phone number.
    pub msisdn: Option<Text<35>>,
    /// Any other identification.
    pub other: Option<OtherIdentification>,
    /// Currency of the (sub-)account.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^[A-Z]{3}$"))]
    pub currency: Option<Currency>,
    /// ISO 20022 `ExternalCashAccountType1Code`.
    pub cash_account_type: Option<OpenText>,
}

impl AccountReference {
    /// A reference by IBAN alone: all currencies of that account.
    #[must_use]
    pub fn iban(iban: Iban) -> Self {
        Self {
            iban: Some(iban),
            ..Self::default()
        }
    }

    /// A reference by masked card number.
    #[must_use]
    pub fn masked_pan(masked_pan: Text<35>) -> Self {
        Self {
            masked_pan: Some(masked_pan),
            ..Self::default()
        }
    }

    /// Compares two references by the first kind of number that both have: IBAN, BBAN, PAN, masked
    /// PAN, phone number, other identification, in this order. Sub-accounts in different currencies
    /// are different accounts.
    #[must_use]
    pub fn compare(&self, other: &Self) -> ReferenceMatch {
        fn equal<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> Option<bool> {
            Some(one? == other?)
        }
        if equal(self.currency.as_ref(), other.currency.as_ref()) == Some(false) {
            return ReferenceMatch::Different;
        }
        let certain = equal(self.iban.as_ref(), other.iban.as_ref())
            .or_else(|| equal(self.bban.as_ref(), other.bban.as_ref()))
            .or_else(|| equal(self.pan.as_ref(), other.pan.as_ref()));
        let masked = || equal(self.masked_pan.as_ref(), other.masked_pan.as_ref());
        let alias = || {
            equal(self.msisdn.as_ref(), other.msisdn.as_ref())
                .or_else(|| equal(self.other.as_ref(), other.other.as_ref()))
        };
        match (certain, masked(), alias()) {
            (Some(true), ..) | (None, None, Some(true)) => ReferenceMatch::Same,
            (None, Some(true), _) => ReferenceMatch::Similar,
            (None, None, None) => ReferenceMatch::Unknown,
            _ => ReferenceMatch::Different,
        }
    }

    /// Whether it has a number of any kind.
    #[must_use]
    pub const fn has_number(&self) -> bool {
        self.iban.is_some()
            || self.bban.is_some()
            || self.pan.is_some()
            || self.masked_pan.is_some()
            || self.msisdn.is_some()
            || self.other.is_some()
    }

    /// With the numbers of an earlier reference to the same account where this one has none of that
    /// kind.
    #[must_use]
    pub fn or(self, earlier: Self) -> Self {
        Self {
            iban: self.iban.or(earlier.iban),
            bban: self.bban.or(earlier.bban),
            pan: self.pan.or(earlier.pan),
            masked_pan: self.masked_pan.or(earlier.masked_pan),
            msisdn: self.msisdn.or(earlier.msisdn),
            other: self.other.or(earlier.other),
            currency: self.currency.or(earlier.currency),
            cash_account_type: self.cash_account_type.or(earlier.cash_account_type),
        }
    }
}

/// Its number: the first that it has, in the order of [`compare`](AccountReference::compare).
/// Nothing, if it has none.
impl fmt::Display for AccountReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(iban) = &self.iban {
            return write!(f, "{iban}");
        }
        let text = |text: Option<&Text<35>>| text.map(|text| text.as_str().to_owned());
        let number = self.bban.as_ref().map(|bban| bban.as_str().to_owned());
        let number = number
            .or_else(|| text(self.pan.as_ref()))
            .or_else(|| text(self.masked_pan.as_ref()))
            .or_else(|| text(self.msisdn.as_ref()))
            .or_else(|| text(self.other.as_ref().map(|other| &other.identification)));
        f.write_str(&number.unwrap_or_default())
    }
}

/// Result of comparing two references.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReferenceMatch {
    /// The same account.
    Same,
    /// Cards whose masked numbers are equal; those of other cards may be as well.
    Similar,
    /// Two accounts.
    Different,
    /// No kind of number in common.
    Unknown,
}

/// An identification outside the usual schemes (schema `otherType`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OtherIdentification {
    /// The identification itself.
    pub identification: Text<35>,
    /// Scheme, by its ISO 20022 code.
    pub scheme_name_code: Option<Text<35>>,
    /// Scheme, by a name of its own.
    pub scheme_name_proprietary: Option<Text<35>>,
    /// The issuer of the identification.
    pub issuer: Option<Text<35>>,
}

/// An owner of an account (schema `accountOwner`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccountOwner {
    /// Name.
    pub name: Text<70>,
    /// Role: `owner`, `legalRepresentative` or `authorisedUser`.
    pub role: Option<Text<35>>,
}

/// Whether an account can be used (schema `accountStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum AccountStatus {
    /// In use.
    Enabled,
    /// Closed.
    Deleted,
    /// Blocked, for legal reasons for example.
    Blocked,
}

/// Private or professional use (field `usage`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum Usage {
    /// Private.
    Priv,
    /// Professional.
    Orga,
}

open_enum! {
    /// Type of a balance (schema `balanceType`).
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum BalanceType {
        /// Booked, at the end of an agreed period.
        ClosingBooked = "closingBooked",
        /// Booked and pending together.
        Expected = "expected",
        /// Booked, at the start of a period.
        OpeningBooked = "openingBooked",
        /// The amount that can be spent now.
        InterimAvailable = "interimAvailable",
        /// Booked so far today.
        InterimBooked = "interimBooked",
        /// The amount that can be spent at a later date.
        ForwardAvailable = "forwardAvailable",
        /// Card turnover not yet on an invoice.
        NonInvoiced = "nonInvoiced",
    }
    /// One that the standard does not name. Only an answer that deviates from the standard is read
    /// so.
    Other(Text<35>)
}

impl<'de> Deserialize<'de> for BalanceType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        open_text(deserializer, |name, manner| {
            match Text::try_from(name).map(Self::from_value) {
                Ok(Self::Other(name))
                    if manner != Manner::Tolerant || name.as_str().trim().is_empty() =>
                {
                    Err(UNKNOWN)
                }
                read => read.map_err(|_| UNKNOWN),
            }
        })
    }
}

const UNKNOWN: &str = "not one of closingBooked, expected, openingBooked, interimAvailable, \
                       interimBooked, forwardAvailable, nonInvoiced";

impl fmt::Display for BalanceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ClosingBooked => "closing booked",
            Self::Expected => "expected",
            Self::OpeningBooked => "opening booked",
            Self::InterimAvailable => "available now",
            Self::InterimBooked => "booked now",
            Self::ForwardAvailable => "available later",
            Self::NonInvoiced => "not invoiced",
            Self::Other(name) => name.as_str(),
        })
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for BalanceType {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("Which balance it is (schema `balanceType`)."))
            .enum_values(Some(Self::STANDARD.iter().map(Self::as_str)))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for BalanceType {}

/// One balance of an account (schema `balance`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// The amount.
    pub balance_amount: Amount,
    /// The type.
    pub balance_type: BalanceType,
    /// Whether the credit limit is counted in.
    pub credit_limit_included: Option<bool>,
    /// When the balance last changed.
    pub last_change_date_time: Option<DateTime<Utc>>,
    /// The day the balance stands for.
    pub reference_date: Option<NaiveDate>,
    /// `entryReference` of the last transaction counted in.
    pub last_committed_transaction: Option<Text<35>>,
}

impl Balance {
    /// The kind of a balance among those of one account: currency, type, and whether
    /// the credit limit is counted in.
    #[must_use]
    pub fn kind(&self) -> (Currency, &BalanceType, bool) {
        (
            self.balance_amount.currency(),
            &self.balance_type,
            self.credit_limit_included.unwrap_or(false),
        )
    }

    /// The day for which it stands, and when it changed on that day. One that does not say stands
    /// for now.
    fn as_of(&self) -> (NaiveDate, Option<DateTime<Utc>>) {
        let changed = self.last_change_date_time;
        let day = self
            .reference_date
            .or_else(|| changed.map(|changed| changed.date_naive()));
        (day.unwrap_or(NaiveDate::MAX), changed)
    }

    /// The balances of one account: kinds in the order in which they come, and of each kind the
    /// newest first (`referenceDate`, then `lastChangeDateTime`). Of equals, the one that the bank
    /// names first is the first.
    #[must_use]
    pub fn newest_first(balances: &[Self]) -> Vec<&Self> {
        let mut kinds: Vec<(Currency, &BalanceType, bool)> = Vec::new();
        let mut sorted: Vec<(usize, &Self)> = Vec::new();
        for balance in balances {
            let kind = balance.kind();
            let place = kinds.iter().position(|known| *known == kind);
            let place = place.unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            sorted.push((place, balance));
        }
        sorted.sort_by_key(|(place, balance)| (*place, Reverse(balance.as_of())));
        sorted.into_iter().map(|(_, balance)| balance).collect()
    }

    /// The newest balance of each kind.
    #[must_use]
    pub fn newest(balances: &[Self]) -> Vec<&Self> {
        let mut newest = Self::newest_first(balances);
        newest.dedup_by(|one, other| one.kind() == other.kind());
        newest
    }
}

/// An account (schema `accountDetails`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AccountDetails {
    /// The `account-id` of the account's own path.
    pub resource_id: Option<String>,
    /// International account number.
    pub iban: Option<Iban>,
    /// National account number.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^[a-zA-Z0-9]{1,30}$"))]
    pub bban: Option<Text<30>>,
    /// Mobile phone number.
    pub msisdn: Option<Text<35>>,
    /// Currency of the account; `XXX` for a multi-currency account.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{3}$"))]
    pub currency: Currency,
    /// Legal owner.
    pub owner_name: Option<Text<140>>,
    /// Owners, each with a role.
    pub owner_names: Option<Vec<AccountOwner>>,
    /// The PSU: for a corporate account, the person who acts on behalf of the company.
    pub psu_name: Option<Text<140>>,
    /// The name the bank gives the account.
    pub name: Option<Text<70>>,
    /// The name the customer gives the account.
    pub display_name: Option<Text<70>>,
    /// The bank's product.
    pub product: Option<Text<35>>,
    /// ISO 20022 `ExternalCashAccountType1Code`: `CACC` current, `SVGS` savings.
    pub cash_account_type: Option<OpenText>,
    /// Whether it can be used; absent means enabled.
    pub status: Option<AccountStatus>,
    /// BIC of the bank.
    pub bic: Option<Text<11>>,
    /// Other account numbers tied to this account, such as those of its cards.
    pub linked_accounts: Option<Text<70>>,
    /// Private or professional.
    pub usage: Option<Usage>,
    /// Further details, in words.
    pub details: Option<Text<500>>,
    /// Balances, if asked for and allowed.
    pub balances: Option<Vec<Balance>>,
    /// `balances` and `transactions`, as far as allowed.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

impl AccountDetails {
    /// Its numbers and currency.
    #[must_use]
    pub fn reference(&self) -> AccountReference {
        AccountReference {
            iban: self.iban.clone(),
            bban: self.bban.clone(),
            msisdn: self.msisdn.clone(),
            currency: Some(self.currency),
            ..AccountReference::default()
        }
    }
}

required_fields_constructor! {
    /// An account in that currency, with no other field.
    AccountDetails::of(currency: Currency)
    resource_id iban bban msisdn owner_name owner_names psu_name name display_name product
    cash_account_type status bic linked_accounts usage details balances links
}

/// Answer to `GET /v1/accounts` (schema `accountList`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountList {
    /// The accounts the consent opens.
    pub accounts: Vec<AccountDetails>,
}

/// Answer to `GET /v1/accounts/{account-id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountResponse {
    /// The account.
    pub account: AccountDetails,
}

/// Answer to `GET /v1/accounts/{account-id}/balances` (schema `readAccountBalanceResponse-200`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountBalances {
    /// The account.
    pub account: Option<AccountReference>,
    /// The balances.
    pub balances: Vec<Balance>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(fields: &str) -> AccountReference {
        serde_json::from_str(&format!("{{{fields}}}")).unwrap()
    }

    #[test]
    fn references_are_compared_by_the_surest_number_that_both_have() {
        use ReferenceMatch::{Different, Same, Similar, Unknown};

        const ONE: &str = r#""iban": "DE02120300000000202051""#;
        const TWO: &str = r#""iban": "DE02500105170137075030""#;
        let with = |number: &str, more: &str| format!("{number}, {more}");
        for (one, other, expected) in [
            (ONE.to_owned(), ONE.to_owned(), Same),
            (ONE.to_owned(), TWO.to_owned(), Different),
            (
                with(ONE, r#""currency": "EUR""#),
                with(ONE, r#""currency": "USD""#),
                Different,
            ),
            (with(ONE, r#""currency": "EUR""#), ONE.to_owned(), Same),
            // A customer has another phone, and the same account.
            (
                with(ONE, r#""msisdn": "1""#),
                with(ONE, r#""msisdn": "2""#),
                Same,
            ),
            (
                with(ONE, r#""msisdn": "1""#),
                with(TWO, r#""msisdn": "1""#),
                Different,
            ),
            (
                r#""msisdn": "1""#.to_owned(),
                r#""msisdn": "1""#.to_owned(),
                Same,
            ),
            (
                r#""bban": "1""#.to_owned(),
                r#""bban": "2""#.to_owned(),
                Different,
            ),
            (
                r#""maskedPan": "1*4""#.to_owned(),
                r#""maskedPan": "1*4""#.to_owned(),
                Similar,
            ),
            (
                r#""maskedPan": "1*4""#.to_owned(),
                r#""maskedPan": "1*5""#.to_owned(),
                Different,
            ),
            (ONE.to_owned(), r#""bban": "1""#.to_owned(), Unknown),
            (String::new(), String::new(), Unknown),
        ] {
            let (one, other) = (reference(&one), reference(&other));
            assert_eq!(one.compare(&other), expected, "{one:?} {other:?}");
            assert_eq!(other.compare(&one), expected, "{one:?} {other:?}");
        }
    }

    #[test]
    fn of_several_balances_of_a_kind_the_newest_comes_first() {
        let balance = |kind: &str, amount: &str, said: &str| -> Balance {
            serde_json::from_str(&format!(
                r#"{{"balanceType": "{kind}", "balanceAmount": {{"currency": "EUR", "amount": "{amount}"}} {said}}}"#
            ))
            .unwrap()
        };
        let balances = [
            balance("closingBooked", "1", r#", "referenceDate": "2026-01-01""#),
            balance("expected", "9", ""),
            balance("closingBooked", "3", r#", "referenceDate": "2026-01-03""#),
            balance(
                "closingBooked",
                "4",
                r#", "referenceDate": "2026-01-03", "lastChangeDateTime": "2026-01-03T17:00:00Z""#,
            ),
            balance(
                "closingBooked",
                "2",
                r#", "lastChangeDateTime": "2026-01-02T17:00:00Z""#,
            ),
        ];
        let amounts = |balances: Vec<&Balance>| -> Vec<String> {
            let amounts = balances
                .iter()
                .map(|balance| balance.balance_amount.value().to_string());
            amounts.collect()
        };
        assert_eq!(
            amounts(Balance::newest_first(&balances)),
            ["4", "3", "2", "1", "9"]
        );
        assert_eq!(amounts(Balance::newest(&balances)), ["4", "9"]);
    }
}
