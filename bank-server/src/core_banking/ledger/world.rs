//! The records of a world file: customers, accounts and transactions as a bank developer brings
//! them.
//!
//! `docs/world-file.md` explains the file to people.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared_types::decode::{Malformed, decode};
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::Transaction;
use uuid::Uuid;

use super::currencies;

/// The version that this program reads and writes.
pub const VERSION: u32 = 1;

/// One line of a world file: an object with one field, whose name is the kind of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Record {
    /// The first line, and only it.
    World(Header),
    /// A customer.
    Customer(Customer),
    /// A payment account.
    Account(AccountRecord<AccountDetails>),
    /// A card account.
    CardAccount(AccountRecord<CardAccountDetails>),
    /// A transaction of a payment account.
    Transaction(EntryRecord<Transaction>),
    /// A transaction of a card account.
    CardTransaction(EntryRecord<CardTransaction>),
}

/// Header of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
}

/// A customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The id with which the customer logs in.
    pub id: Text<70>,
    /// Her name.
    pub name: Text<140>,
}

/// An account; `D` is the standard's form of it, without `resourceId`, `balances` and `_links`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountRecord<D> {
    /// Its `resourceId`.
    pub id: Uuid,
    /// The customer.
    pub customer: Text<70>,
    /// Further holders.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Text<70>>,
    /// Number of its holders who have to approve a consent for it; 1, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<u32>,
    /// The balance before the first booked transaction of this file.
    pub opening_balance: Sum,
    /// The balance after the last one.
    pub closing_balance: Sum,
    /// The rest, in the standard's form.
    pub details: Box<D>,
}

/// A transaction; `D` is the standard's form of it, without `_links`. With a `bookingDate` it is
/// booked, without one it is pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryRecord<D> {
    /// The account.
    pub account: Uuid,
    /// The day on which a pending transaction was entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_date: Option<NaiveDate>,
    /// The rest, in the standard's form.
    pub details: Box<D>,
}

/// A sum of money in the account's currency: a decimal as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sum(pub Decimal);

impl TryFrom<String> for Sum {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Decimal::from_str_exact(&text)
            .map(Self)
            .map_err(|_| "not a decimal number such as -100.03")
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        sum.0.to_string()
    }
}

/// Reads one line. A field that would be lost, because it is misspelt or not supported, is an
/// error, and so is a text that is empty or has control characters.
pub fn read(line: &[u8]) -> Result<Record, Malformed> {
    let record: Record = decode(line)?;
    let given: Value = decode(line)?;
    match lost(&given, &to_value(&record)?) {
        None => match unusable(&given) {
            None => Ok(record),
            Some((path, reason)) => Err(Malformed {
                path,
                reason: reason.to_owned(),
            }),
        },
        Some(path) => Err(Malformed {
            path,
            reason: "no field of that name is known here".to_owned(),
        }),
    }
}

/// The record as a line, without its end.
pub fn write(record: &Record) -> Result<String, serde_json::Error> {
    serde_json::to_string(record)
}

pub(super) fn to_value<T: Serialize>(value: &T) -> Result<Value, Malformed> {
    let unwritable = |_| Malformed {
        path: ".".to_owned(),
        reason: "cannot be written as JSON".to_owned(),
    };
    serde_json::to_value(value).map_err(unwritable)
}

/// The path of the first field that is in `given` and not in `kept`.
fn lost(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            given.iter().find_map(|(name, value)| match kept.get(name) {
                // An explicit null is equivalent to an absent field.
                None if value.is_null() => None,
                None => Some(name.clone()),
                Some(kept) => lost(value, kept).map(|rest| below(name, &rest)),
            })
        }
        (Value::Array(given), Value::Array(kept)) => {
            given
                .iter()
                .zip(kept)
                .enumerate()
                .find_map(|(index, (given, kept))| {
                    lost(given, kept).map(|rest| below(&format!("[{index}]"), &rest))
                })
        }
        _ => None,
    }
}

/// The path of a field within another.
fn below(name: &str, rest: &str) -> String {
    if rest.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{rest}")
    }
}

/// Fields with a currency.
const CURRENCIES: [&str; 4] = [
    "currency",
    "sourceCurrency",
    "targetCurrency",
    "unitCurrency",
];

/// The path of the first text that cannot be used, and why.
fn unusable(given: &Value) -> Option<(String, &'static str)> {
    match given {
        Value::String(text) if text.contains(char::is_control) => {
            Some((String::new(), "a text has no control characters"))
        }
        Value::String(text) if text.trim().is_empty() => {
            Some((String::new(), "empty: give a text, or leave the field out"))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let is_unknown = |code: &str| !currencies::is_known(code);
            if CURRENCIES.contains(&name.as_str()) && value.as_str().is_some_and(is_unknown) {
                return Some((name.clone(), "no currency of ISO 4217"));
            }
            unusable(value).map(|(rest, reason)| (below(name, &rest), reason))
        }),
        Value::Array(values) => values.iter().enumerate().find_map(|(index, value)| {
            unusable(value).map(|(rest, reason)| (below(&format!("[{index}]"), &rest), reason))
        }),
        _ => None,
    }
}
