//! Default accounts of a mock bank.

use chrono::NaiveDate;
use serde_json::{Value, json};
use shared_types::xs2a::account::{AccountDetails, Balance, BalanceType};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::money::{Amount, Currency};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::Transaction;

use super::MockAccount;

/// A current and a savings account. Their IBANs are the ones that banks print in examples.
pub(super) fn accounts() -> Vec<MockAccount> {
    let mut pending = transaction("c-4", "-19.90", "Bookshop", None);
    pending.value_date = None;
    vec![
        MockAccount {
            details: account(
                "current",
                "DE02120300000000202051",
                "Current account",
                "CACC",
            ),
            balances: vec![
                balance("1480.10", BalanceType::InterimBooked),
                balance("1460.20", BalanceType::InterimAvailable),
            ],
            booked: vec![
                transaction("c-3", "-120.00", "Electricity", day(28)),
                transaction("c-2", "-899.90", "Rent", day(3)),
                transaction("c-1", "2500.00", "Salary", day(1)),
            ],
            pending: vec![pending],
        },
        MockAccount {
            details: account(
                "savings",
                "DE02500105170137075030",
                "Savings account",
                "SVGS",
            ),
            balances: vec![balance("5000.00", BalanceType::InterimBooked)],
            booked: vec![transaction("s-1", "5000.00", "Opening", day(2))],
            pending: Vec::new(),
        },
    ]
}

/// Accounts of the default consent.
pub(super) fn consent() -> Value {
    json!({
        "access": { "allPsd2": "allAccounts" },
        "recurringIndicator": true,
        "validUntil": "2099-12-31",
        "frequencyPerDay": 4,
    })
}

fn account(id: &str, iban: &str, name: &str, kind: &str) -> AccountDetails {
    let path = format!("/v1/accounts/{id}");
    AccountDetails {
        resource_id: Some(id.to_owned()),
        iban: iban.parse().ok(),
        name: Some(Text::cut(name)),
        owner_name: Some(Text::cut("Erika Mustermann")),
        cash_account_type: Some(Text::cut(kind)),
        links: Some(
            Links::new()
                .with("balances", format!("{path}/balances"))
                .with("transactions", format!("{path}/transactions")),
        ),
        ..AccountDetails::of(Currency::EUR)
    }
}

fn balance(amount: &str, balance_type: BalanceType) -> Balance {
    Balance {
        balance_amount: euros(amount),
        balance_type,
        credit_limit_included: None,
        last_change_date_time: None,
        reference_date: None,
        last_committed_transaction: None,
    }
}

fn transaction(id: &str, amount: &str, about: &str, booked: Option<NaiveDate>) -> Transaction {
    Transaction {
        transaction_id: Some(Text::cut(id)),
        entry_reference: booked.map(|_| Text::cut(id)),
        booking_date: booked,
        value_date: booked,
        remittance_information_unstructured: Some(Text::cut(about)),
        ..Transaction::of(euros(amount))
    }
}

fn euros(amount: &str) -> Amount {
    Amount::parse(amount, Currency::EUR).unwrap_or(Amount::zero(Currency::EUR))
}

/// A day of January 2026.
fn day(day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(2026, 1, day)
}
