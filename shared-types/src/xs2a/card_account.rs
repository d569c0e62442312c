//! Card accounts (service AIS, `/v1/card-accounts`).

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize};
use serde_with::skip_serializing_none;

use crate::decode::Split;
use crate::xs2a::account::{AccountReference, AccountStatus, Balance, Usage};
use crate::xs2a::link::Links;
use crate::xs2a::macros::required_fields_constructor;
use crate::xs2a::money::{Amount, Currency, Rate};
use crate::xs2a::text::{Text, is_placeholder};
use crate::xs2a::transaction::{ExchangeRate, joined};

/// An amount of a card account with debits negative, as payment accounts have them.
///
/// The standard's `debitAccounting` says how a bank quotes debits: positive if `true`, negative if
/// `false`. Absent means `false`. Only `true` turns the sign.
#[must_use]
pub fn debits_negative(amount: Amount, debit_accounting: Option<bool>) -> Amount {
    if debit_accounting == Some(true) {
        amount.opposite()
    } else {
        amount
    }
}

/// A card account (schema `cardAccountDetails`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CardAccountDetails {
    /// The `account-id` of the account's own path.
    pub resource_id: Option<String>,
    /// Card number with its middle digits masked. Empty in an answer that has none, against the
    /// standard.
    pub masked_pan: Text<35>,
    /// Currency of the account.
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
    /// Sign convention of amounts and balances: `true` quotes debits positive, `false` negative.
    /// Absent means `false`.
    pub debit_accounting: Option<bool>,
    /// Whether it can be used; absent means enabled.
    pub status: Option<AccountStatus>,
    /// Private or professional.
    pub usage: Option<Usage>,
    /// Further details, in words.
    pub details: Option<Text<1000>>,
    /// Credit limit of the card.
    pub credit_limit: Option<Amount>,
    /// Balances, if asked for and allowed.
    pub balances: Option<Vec<Balance>>,
    /// `balances` and `transactions`, as far as allowed.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

impl CardAccountDetails {
    /// Its number, if it has one, and its currency.
    #[must_use]
    pub fn reference(&self) -> AccountReference {
        let number = Some(&self.masked_pan).filter(|number| !is_placeholder(number.as_str()));
        AccountReference {
            currency: Some(self.currency),
            masked_pan: number.cloned(),
            ..AccountReference::default()
        }
    }
}

required_fields_constructor! {
    /// A card account of that number and currency, with no other field.
    CardAccountDetails::of(masked_pan: Text<35>, currency: Currency)
    resource_id owner_name name display_name product debit_accounting status usage details
    credit_limit balances links
}

/// Answer to `GET /v1/card-accounts` (schema `cardAccountList`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CardAccountList {
    /// The card accounts the consent opens.
    pub card_accounts: Vec<CardAccountDetails>,
}

/// Answer to `GET /v1/card-accounts/{account-id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CardAccountResponse {
    /// The card account.
    pub card_account: CardAccountDetails,
}

/// Answer to `GET /v1/card-accounts/{account-id}/balances` (schema
/// `readCardAccountBalanceResponse-200`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CardAccountBalances {
    /// The account.
    pub card_account: Option<AccountReference>,
    /// Sign convention of the balances: `true` quotes debits positive. Absent means `false`.
    pub debit_accounting: Option<bool>,
    /// The balances.
    pub balances: Vec<Balance>,
}

/// The standard's own example puts `debitAccounting` into the list of balances, against its schema.
/// A bank that follows the example is understood.
impl<'de> Deserialize<'de> for CardAccountBalances {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            card_account: Option<AccountReference>,
            debit_accounting: Option<bool>,
            balances: Vec<Entry>,
        }
        struct Entry {
            balance: Option<Balance>,
            debit_accounting: Option<bool>,
        }

        impl<'de> Deserialize<'de> for Entry {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let entry: Split<Balance, bool> = Split::read(deserializer, "debitAccounting")?;
                let balance = match entry.rest {
                    Ok(balance) => Some(balance),
                    Err(_) if entry.member.is_some() && !entry.other_seen => None,
                    // Half a balance is none, and is not left out.
                    Err(fault) => return Err(serde::de::Error::custom(fault)),
                };
                Ok(Self {
                    balance,
                    debit_accounting: entry.member,
                })
            }
        }

        let mut wire = Wire::deserialize(deserializer)?;
        let mut balances = Vec::with_capacity(wire.balances.len());
        for entry in wire.balances {
            balances.extend(entry.balance);
            wire.debit_accounting = entry.debit_accounting.or(wire.debit_accounting);
        }
        Ok(Self {
            card_account: wire.card_account,
            debit_accounting: wire.debit_accounting,
            balances,
        })
    }
}

/// A postal address (schema `address`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Division of a large organisation or building.
    pub department: Option<Text<70>>,
    /// Sub-division of a large organisation or building.
    pub sub_department: Option<Text<70>>,
    /// Street.
    pub street_name: Option<Text<70>>,
    /// House number.
    pub building_number: Option<Text<16>>,
    /// Name of the building.
    pub building_name: Option<Text<35>>,
    /// Floor.
    pub floor: Option<Text<70>>,
    /// Post box.
    pub post_box: Option<Text<16>>,
    /// Room.
    pub room: Option<Text<70>>,
    /// Postal code.
    pub post_code: Option<Text<16>>,
    /// Town.
    pub town_name: Option<Text<35>>,
    /// Location within the town.
    pub town_location_name: Option<Text<35>>,
    /// District.
    pub district_name: Option<Text<35>>,
    /// State, region or county.
    pub country_sub_division: Option<Text<35>>,
    /// Country, by its two letters (ISO 3166).
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[A-Z]{2}$"))]
    pub country: Text<2>,
}

required_fields_constructor! {
    /// An address in that country, with no other field.
    Address::of(country: Text<2>)
    department sub_department street_name building_number building_name floor post_box room
    post_code town_name town_location_name district_name country_sub_division
}

/// A card transaction (schema `cardTransaction`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CardTransaction {
    /// The transaction's id at the bank.
    pub card_transaction_id: Option<Text<35>>,
    /// The terminal.
    pub terminal_id: Option<Text<35>>,
    /// Day of the purchase.
    pub transaction_date: Option<NaiveDate>,
    /// When the acceptor took the card.
    pub acceptor_transaction_date_time: Option<DateTime<Utc>>,
    /// Day of booking; absent while pending.
    pub booking_date: Option<NaiveDate>,
    /// Day from which interest counts.
    pub value_date: Option<NaiveDate>,
    /// The amount, in the account's currency.
    pub transaction_amount: Amount,
    /// The whole of an instalment purchase, with charges, insurance and taxes.
    pub grand_total_amount: Option<Amount>,
    /// Exchange rates that were applied.
    pub currency_exchange: Option<Vec<ExchangeRate>>,
    /// The amount, in the currency of the purchase.
    pub original_amount: Option<Amount>,
    /// Fee for the conversion.
    pub markup_fee: Option<Amount>,
    /// Fee for the conversion, in per cent.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub markup_fee_percentage: Option<Rate>,
    /// The acceptor's id.
    pub card_acceptor_id: Option<Text<35>>,
    /// The acceptor's name.
    pub card_acceptor_name: Option<Text<70>>,
    /// The acceptor's address.
    pub card_acceptor_address: Option<Address>,
    /// The acceptor's telephone number, such as `+33-142345678`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, pattern = "^\\+[0-9]{1,3}-[0-9()+-]{1,30}$"))]
    pub card_acceptor_phone: Option<Text<35>>,
    /// Merchant category (ISO 18245).
    pub merchant_category_code: Option<Text<4>>,
    /// The card that was used; the standard spells this one field in capitals.
    #[serde(rename = "maskedPAN")]
    pub masked_pan: Option<Text<35>>,
    /// Further details, in words.
    pub transaction_details: Option<Text<1000>>,
    /// Whether it is on an invoice already.
    pub invoiced: Option<bool>,
    /// The bank's own code for the kind of transaction.
    pub proprietary_bank_transaction_code: Option<Text<35>>,
}

required_fields_constructor! {
    /// A transaction of that amount, with no other field.
    CardTransaction::of(transaction_amount: Amount)
    card_transaction_id terminal_id transaction_date acceptor_transaction_date_time booking_date
    value_date grand_total_amount currency_exchange original_amount markup_fee
    markup_fee_percentage card_acceptor_id card_acceptor_name card_acceptor_address
    card_acceptor_phone merchant_category_code masked_pan transaction_details invoiced
    proprietary_bank_transaction_code
}

impl CardTransaction {
    /// Place and purpose of the purchase: the acceptor's name and the details, if the
    /// bank gives them.
    #[must_use]
    pub fn description(&self) -> Option<Cow<'_, str>> {
        let name = self
            .card_acceptor_name
            .as_ref()
            .map(|name| name.as_str().trim());
        let details = self
            .transaction_details
            .as_ref()
            .map(|details| details.as_str().trim());
        let details = details.filter(|details| name.is_none_or(|name| *details != name));
        // Many banks begin the details with the name.
        let name = name.filter(|name| details.is_none_or(|details| !details.contains(name)));
        joined(name.into_iter().chain(details).map(Cow::Borrowed), ", ")
    }
}

/// One page of card transactions (schema `cardAccountReport`).
#[skip_serializing_none]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CardAccountReport {
    /// Booked ones, if asked for.
    pub booked: Option<Vec<CardTransaction>>,
    /// Pending ones, if asked for.
    pub pending: Option<Vec<CardTransaction>>,
    /// `cardAccount`, and `first` and `next` where there is more than this page.
    #[serde(rename = "_links")]
    pub links: Links,
}

/// Answer to `GET /v1/card-accounts/{account-id}/transactions` (schema
/// `cardAccountsTransactionsResponse200`).
#[skip_serializing_none]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct CardTransactionsResponse {
    /// The account.
    pub card_account: Option<AccountReference>,
    /// Sign convention of amounts and balances: `true` quotes debits positive. Absent means `false`.
    pub debit_accounting: Option<bool>,
    /// The page.
    pub card_transactions: Option<CardAccountReport>,
    /// Balances, if asked for and allowed.
    pub balances: Option<Vec<Balance>>,
    /// `download`, where a bank hands the list over as a file instead.
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;

    #[test]
    fn a_purchase_is_described_by_acceptor_and_details() {
        for (name, details, expected) in [
            (None, None, None),
            (Some("Bookshop"), None, Some("Bookshop")),
            (None, Some("Two books"), Some("Two books")),
            (
                Some("Bookshop"),
                Some("Two books"),
                Some("Bookshop, Two books"),
            ),
            (
                Some("Bookshop"),
                Some("Bookshop Lyon"),
                Some("Bookshop Lyon"),
            ),
            (Some("Bookshop"), Some("Bookshop"), Some("Bookshop")),
            (Some(" "), Some(""), None),
        ] {
            let purchase = CardTransaction {
                card_acceptor_name: name.map(Text::cut),
                transaction_details: details.map(Text::cut),
                ..CardTransaction::of(Amount::zero(Currency::EUR))
            };
            assert_eq!(purchase.description().as_deref(), expected);
        }
    }

    #[test]
    fn debits_are_negative_whichever_way_they_are_quoted() {
        let purchase = |text: &str| Amount::parse(text, Currency::EUR).unwrap();
        for (quoted, debit_accounting) in [
            ("80.00", Some(true)),
            ("-80.00", Some(false)),
            ("-80.00", None),
        ] {
            assert_eq!(
                debits_negative(purchase(quoted), debit_accounting),
                purchase("-80.00")
            );
        }
    }

    #[test]
    fn a_balance_that_is_not_whole_is_not_left_out() {
        let read = |entry: &str| {
            let body = format!(
                r#"{{"balances": [{{"debitAccounting": true}}, {{"debitAccounting": true{entry}}}]}}"#
            );
            decode::<CardAccountBalances>(body.as_bytes())
        };
        let whole = r#", "balanceType": "interimBooked", "balanceAmount": {"currency": "EUR", "amount": "1.00"}"#;
        assert_eq!(read(whole).unwrap().balances.len(), 1);
        assert_eq!(read("").unwrap().balances.len(), 0);
        assert!(read(r#", "balanceType": "interimBooked""#).is_err());
    }
}
