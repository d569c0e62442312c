//! Tables for people.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use shared_types::account::{AccountDetails, Balance};
use shared_types::card_account::{CardAccountDetails, CardTransaction};
use shared_types::consent::ConsentInformation;
use shared_types::text::Text;
use shared_types::transaction::Transaction;

use super::Listed;

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_header(header.iter().copied());
    table
}

fn or_empty<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// Amounts stand under each other at their right end.
fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

pub(super) fn accounts(accounts: &Vec<AccountDetails>) -> String {
    let mut table = table(&["id", "IBAN", "name", "balances"]);
    for account in accounts {
        table.add_row([
            or_empty(account.resource_id.as_ref()),
            or_empty(account.iban.as_ref()),
            or_empty(account.name.as_ref()),
            in_lines(account.balances.as_deref()),
        ]);
    }
    right(&mut table, 3);
    table.to_string()
}

pub(super) fn card_accounts(accounts: &Vec<CardAccountDetails>) -> String {
    let mut table = table(&["id", "card", "name", "limit", "balances"]);
    for account in accounts {
        table.add_row([
            or_empty(account.resource_id.as_ref()),
            account.masked_pan.to_string(),
            or_empty(account.name.as_ref()),
            or_empty(account.credit_limit.as_ref()),
            in_lines(account.balances.as_deref()),
        ]);
    }
    right(&mut table, 3);
    right(&mut table, 4);
    table.to_string()
}

fn in_lines(balances: Option<&[Balance]>) -> String {
    let lines = balances.unwrap_or_default().iter();
    lines
        .map(|balance| format!("{} {}", balance.balance_type, balance.balance_amount))
        .collect::<Vec<_>>()
        .join("\n")
}

pub(super) fn balances(balances: &[Balance]) -> String {
    let mut table = table(&["balance", "amount", "as of"]);
    for balance in balances {
        table.add_row([
            balance.balance_type.to_string(),
            balance.balance_amount.to_string(),
            or_empty(balance.reference_date.as_ref()),
        ]);
    }
    right(&mut table, 1);
    table.to_string()
}

pub(super) fn transactions(transactions: &[Listed<Transaction>]) -> String {
    let mut table = table(&["date", "id", "with", "what", "amount"]);
    for Listed {
        booked,
        transaction,
    } in transactions
    {
        table.add_row([
            date(
                *booked,
                or_empty(
                    transaction
                        .booking_date
                        .as_ref()
                        .or(transaction.value_date.as_ref()),
                ),
            ),
            or_empty(transaction.transaction_id.as_ref()),
            or_empty(
                transaction
                    .creditor_name
                    .as_ref()
                    .or(transaction.debtor_name.as_ref()),
            ),
            purpose(transaction),
            transaction.transaction_amount.to_string(),
        ]);
    }
    right(&mut table, 4);
    table.to_string()
}

fn purpose(transaction: &Transaction) -> String {
    let structured = transaction.remittance_information_structured_array.as_ref();
    transaction
        .remittance_information_unstructured
        .as_ref()
        .map(Text::as_str)
        .or_else(|| {
            structured
                .and_then(|references| references.first())
                .map(|first| first.reference.as_str())
        })
        .unwrap_or_default()
        .to_owned()
}

pub(super) fn card_transactions(transactions: &[Listed<CardTransaction>]) -> String {
    let mut table = table(&["date", "id", "what", "abroad", "amount"]);
    for Listed {
        booked,
        transaction,
    } in transactions
    {
        table.add_row([
            date(
                *booked,
                or_empty(
                    transaction
                        .booking_date
                        .as_ref()
                        .or(transaction.transaction_date.as_ref()),
                ),
            ),
            or_empty(transaction.card_transaction_id.as_ref()),
            or_empty(transaction.transaction_details.as_ref()),
            or_empty(transaction.original_amount.as_ref()),
            transaction.transaction_amount.to_string(),
        ]);
    }
    right(&mut table, 3);
    right(&mut table, 4);
    table.to_string()
}

fn date(booked: bool, date: String) -> String {
    if booked {
        date
    } else {
        format!("{date} pending")
    }
}

pub(super) fn consent(consent: &ConsentInformation) -> String {
    let mut table = table(&["consent", ""]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("status", consent.consent_status.to_string());
    row("last day", consent.valid_until.to_string());
    row("reads a day", consent.frequency_per_day.to_string());
    row(
        "recurring",
        if consent.recurring_indicator {
            "yes"
        } else {
            "no"
        }
        .to_owned(),
    );
    row("last action", or_empty(consent.last_action_date.as_ref()));
    let lists = [
        ("accounts", &consent.access.accounts),
        ("balances", &consent.access.balances),
        ("transactions", &consent.access.transactions),
    ];
    for (name, references) in lists {
        let numbers = references.iter().flatten().map(|reference| {
            reference
                .iban
                .as_ref()
                .map(ToString::to_string)
                .or(reference.masked_pan.as_ref().map(ToString::to_string))
        });
        let numbers: Vec<String> = numbers.map(Option::unwrap_or_default).collect();
        if !numbers.is_empty() {
            row(name, numbers.join("\n"));
        }
    }
    if consent.access.all_psd2.is_some() {
        row("accounts", "all".to_owned());
    }
    table.to_string()
}
