//! Payment accounts and their balances (service AIS, `/v1/accounts`).

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::iban::Iban;
use crate::link::Links;
use crate::money::{Amount, Currency};
use crate::text::Text;

/// How an account is named on the wire (schema `accountReference`).
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
    pub cash_account_type: Option<Text<4>>,
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
    /// Who gave the identification.
    pub issuer: Option<Text<35>>,
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

/// Which balance it is (schema `balanceType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum BalanceType {
    /// Booked, at the end of an agreed period.
    ClosingBooked,
    /// Booked and pending together.
    Expected,
    /// Booked, at the start of a period.
    OpeningBooked,
    /// What can be spent now.
    InterimAvailable,
    /// Booked so far today.
    InterimBooked,
    /// What can be spent at a later date.
    ForwardAvailable,
    /// Card turnover not yet on an invoice.
    NonInvoiced,
}

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
        })
    }
}

/// One balance of an account (schema `balance`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// How much.
    pub balance_amount: Amount,
    /// Of which kind.
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
    /// The name the bank gives the account.
    pub name: Option<Text<70>>,
    /// The name the customer gives the account.
    pub display_name: Option<Text<70>>,
    /// The bank's product.
    pub product: Option<Text<35>>,
    /// ISO 20022 `ExternalCashAccountType1Code`: `CACC` current, `SVGS` savings.
    pub cash_account_type: Option<Text<4>>,
    /// Whether it can be used; absent means enabled.
    pub status: Option<AccountStatus>,
    /// BIC of the bank.
    pub bic: Option<Text<11>>,
    /// Other account numbers tied to this account, such as those of its cards.
    pub linked_accounts: Option<Text<70>>,
    /// Private or professional.
    pub usage: Option<Usage>,
    /// More, in words.
    pub details: Option<Text<500>>,
    /// Balances, if asked for and allowed.
    pub balances: Option<Vec<Balance>>,
    /// `balances` and `transactions`, as far as allowed.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

impl AccountDetails {
    /// An account in that currency, of which nothing else is said.
    #[must_use]
    pub fn of(currency: Currency) -> Self {
        Self {
            resource_id: None,
            iban: None,
            bban: None,
            msisdn: None,
            currency,
            owner_name: None,
            name: None,
            display_name: None,
            product: None,
            cash_account_type: None,
            status: None,
            bic: None,
            linked_accounts: None,
            usage: None,
            details: None,
            balances: None,
            links: None,
        }
    }
}

/// Answer to `GET /v1/accounts` (schema `accountList`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AccountBalances {
    /// Whose balances they are.
    pub account: Option<AccountReference>,
    /// The balances.
    pub balances: Vec<Balance>,
}
