//! Rows of the lists of banks, accounts, balances and transactions.

use bank_client::directory::BankEntry;
use rust_decimal::Decimal;
use serde::Serialize;
use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction, debits_negative};
use shared_types::xs2a::money::Amount;
use shared_types::xs2a::transaction::Transaction;

use super::screen::{Columns, Field, Fields, ListRow, amount, or_empty, text};

/// A bank of the directory.
#[derive(Debug, Serialize)]
pub(super) struct BankRow {
    id: String,
    name: String,
    bic: Option<String>,
    country: String,
    bank_codes: Vec<String>,
    url: String,
    organisation: String,
}

impl From<&BankEntry> for BankRow {
    fn from(entry: &BankEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            name: entry.name.clone(),
            bic: entry.bic.as_ref().map(ToString::to_string),
            country: entry.country.clone(),
            bank_codes: entry.bank_codes.clone(),
            url: entry.url.clone(),
            organisation: entry.organisation.to_string(),
        }
    }
}

impl ListRow for BankRow {
    const COLUMNS: Columns<Self> = &[
        (text("id"), |bank| bank.id.clone()),
        (text("name"), |bank| bank.name.clone()),
        (text("BIC").optional(), |bank| or_empty(&bank.bic)),
        (text("country").optional(), |bank| bank.country.clone()),
        (text("address").optional(), |bank| bank.url.clone()),
    ];
    const FIELDS: Fields<Self> = &[
        ("id", |bank| Field::trusted(&bank.id)),
        ("name", |bank| Field::untrusted(&bank.name)),
        ("bic", |bank| Field::Trusted(or_empty(&bank.bic))),
        ("country", |bank| Field::trusted(&bank.country)),
        ("bank_codes", |bank| {
            Field::Trusted(bank.bank_codes.join(" "))
        }),
        ("url", |bank| Field::trusted(&bank.url)),
        ("organisation", |bank| Field::trusted(&bank.organisation)),
    ];
}

/// An account and its bank.
#[derive(Debug, Serialize)]
pub(super) struct AccountRow<T> {
    pub(super) bank: String,
    #[serde(flatten)]
    pub(super) account: T,
}

impl ListRow for AccountRow<AccountDetails> {
    const COLUMNS: Columns<Self> = &[
        (text("bank"), |row| row.bank.clone()),
        (text("id").optional(), |row| {
            or_empty(&row.account.resource_id)
        }),
        (text("IBAN"), |row| or_empty(&row.account.iban)),
        (text("name").optional(), |row| or_empty(&row.account.name)),
        (text("currency").optional(), |row| {
            row.account.currency.to_string()
        }),
        (amount("balances"), |row| {
            in_lines(row.account.balances.as_deref(), None)
        }),
    ];
    const FIELDS: Fields<Self> = &[
        ("bank", |row| Field::untrusted(&row.bank)),
        ("id", |row| {
            Field::Untrusted(or_empty(&row.account.resource_id))
        }),
        ("iban", |row| Field::Trusted(or_empty(&row.account.iban))),
        ("name", |row| Field::Untrusted(or_empty(&row.account.name))),
        ("currency", |row| Field::trusted(&row.account.currency)),
        ("json", |_| Field::Json),
    ];
}

impl ListRow for AccountRow<CardAccountDetails> {
    const COLUMNS: Columns<Self> = &[
        (text("bank"), |row| row.bank.clone()),
        (text("id").optional(), |row| {
            or_empty(&row.account.resource_id)
        }),
        (text("card"), |row| row.account.masked_pan.to_string()),
        (text("name").optional(), |row| or_empty(&row.account.name)),
        (amount("limit").optional(), |row| {
            or_empty(row.account.credit_limit)
        }),
        (amount("balances"), |AccountRow { account, .. }| {
            in_lines(account.balances.as_deref(), account.debit_accounting)
        }),
    ];
    const FIELDS: Fields<Self> = &[
        ("bank", |row| Field::untrusted(&row.bank)),
        ("id", |row| {
            Field::Untrusted(or_empty(&row.account.resource_id))
        }),
        ("card", |row| Field::untrusted(&row.account.masked_pan)),
        ("name", |row| Field::Untrusted(or_empty(&row.account.name))),
        ("currency", |row| Field::trusted(&row.account.currency)),
        ("credit_limit", |row| {
            let limit = row.account.credit_limit.map(|limit| limit.value());
            Field::Trusted(or_empty(limit))
        }),
        ("json", |_| Field::Json),
    ];
}

/// The newest balance of each type, one per line.
fn in_lines(balances: Option<&[Balance]>, debit_accounting: Option<bool>) -> String {
    let lines = Balance::newest(balances.unwrap_or_default()).into_iter();
    let lines = lines.map(|balance| {
        let amount = debits_negative(balance.balance_amount, debit_accounting);
        format!("{} {amount}", balance.balance_type)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A balance and its account.
#[derive(Debug, Serialize)]
pub(super) struct BalanceRow {
    pub(super) bank: String,
    /// The account's name in the list: its IBAN or id.
    pub(super) account: String,
    #[serde(flatten)]
    pub(super) balance: Balance,
    /// For a card account: whether the bank quotes debits as positive amounts, if it says so.
    #[serde(rename = "debitAccounting", skip_serializing_if = "Option::is_none")]
    pub(super) debit_accounting: Option<bool>,
    /// The balance history as a sparkline, from the local copy.
    #[serde(skip)]
    pub(super) history: String,
}

impl ListRow for BalanceRow {
    const COLUMNS: Columns<Self> = &[
        (text("bank"), |row| row.bank.clone()),
        (text("account"), |row| short(&row.account)),
        (text("balance"), |row| row.balance.balance_type.to_string()),
        (amount("amount"), |row| row.amount().to_string()),
        (text("as of").optional(), |row| {
            or_empty(row.balance.reference_date)
        }),
        (text("history").optional(), |row| row.history.clone()),
    ];
    const FIELDS: Fields<Self> = &[
        ("bank", |row| Field::untrusted(&row.bank)),
        ("account", |row| Field::untrusted(&row.account)),
        ("balance", |row| Field::trusted(&row.balance.balance_type)),
        ("amount", |row| Field::trusted(&row.amount().value())),
        ("currency", |row| Field::trusted(&row.amount().currency())),
        ("as_of", |row| {
            Field::Trusted(or_empty(row.balance.reference_date))
        }),
        ("json", |_| Field::Json),
    ];
}

impl BalanceRow {
    /// The amount, with debts negative.
    fn amount(&self) -> Amount {
        debits_negative(self.balance.balance_amount, self.debit_accounting)
    }
}

/// A transaction with its bank, account and booking status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransactionRow<T> {
    pub(super) bank: String,
    /// The account's name in the list: its IBAN or id.
    pub(super) account: String,
    pub(super) booked: bool,
    #[serde(flatten)]
    pub(super) transaction: T,
    /// For a card account: whether the bank quotes debits as positive amounts, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) debit_accounting: Option<bool>,
    /// The sum of all rows so far in this currency.
    #[serde(serialize_with = "as_text")]
    pub(super) running_total: Decimal,
}

/// Serialises a decimal as a string, as the standard does for amounts.
fn as_text<S: serde::Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Displayed properties of a transaction of either kind of account.
pub(super) trait Displayed: Serialize + 'static {
    /// The column beside the date.
    const COUNTERPARTY: &'static str;
    /// The field behind the other party.
    const DETAIL: &'static str;

    fn date(&self) -> String;
    fn value_date(&self) -> String;
    fn id(&self) -> String;
    fn counterparty_cell(&self, debit_accounting: Option<bool>) -> String;
    /// The other party.
    fn name(&self) -> String;
    fn detail(&self, debit_accounting: Option<bool>) -> Field;
    fn description(&self) -> String;
    fn amount(&self) -> Amount;
}

impl Displayed for Transaction {
    const COUNTERPARTY: &'static str = "with";
    const DETAIL: &'static str = "with_account";

    fn date(&self) -> String {
        or_empty(self.booking_date.as_ref().or(self.value_date.as_ref()))
    }

    fn value_date(&self) -> String {
        or_empty(self.value_date)
    }

    fn id(&self) -> String {
        or_empty(&self.transaction_id)
    }

    fn counterparty_cell(&self, _: Option<bool>) -> String {
        let counterparty = self.counterparty();
        let name = or_empty(counterparty.name);
        if name.is_empty() {
            return or_empty(counterparty.account);
        }
        name
    }

    fn name(&self) -> String {
        or_empty(self.counterparty().name.as_ref())
    }

    fn detail(&self, _: Option<bool>) -> Field {
        Field::Untrusted(or_empty(self.counterparty().account))
    }

    fn description(&self) -> String {
        or_empty(self.remittance_text().as_ref())
    }

    fn amount(&self) -> Amount {
        self.transaction_amount
    }
}

/// For a card transaction, the amount in the currency of the purchase stands beside the date.
impl Displayed for CardTransaction {
    const COUNTERPARTY: &'static str = "abroad";
    const DETAIL: &'static str = "original_amount";

    fn date(&self) -> String {
        or_empty(
            self.booking_date
                .as_ref()
                .or(self.transaction_date.as_ref()),
        )
    }

    fn value_date(&self) -> String {
        or_empty(self.value_date)
    }

    fn id(&self) -> String {
        or_empty(&self.card_transaction_id)
    }

    fn counterparty_cell(&self, debit_accounting: Option<bool>) -> String {
        let original = self.original_amount;
        let original = original.map(|amount| debits_negative(amount, debit_accounting));
        or_empty(original)
    }

    fn name(&self) -> String {
        or_empty(&self.card_acceptor_name)
    }

    fn detail(&self, debit_accounting: Option<bool>) -> Field {
        Field::Trusted(self.counterparty_cell(debit_accounting))
    }

    fn description(&self) -> String {
        or_empty(self.description().as_ref())
    }

    fn amount(&self) -> Amount {
        self.transaction_amount
    }
}

impl<T: Displayed> TransactionRow<T> {
    /// The amount, negative for a debit.
    fn amount(&self) -> Amount {
        debits_negative(self.transaction.amount(), self.debit_accounting)
    }

    fn date_cell(&self) -> String {
        let pending = if self.booked { "" } else { " pending" };
        self.transaction.date() + pending
    }

    fn total_cell(&self) -> String {
        format!("{} {}", self.running_total, self.amount().currency())
    }

    fn status(&self) -> &'static str {
        if self.booked { "booked" } else { "pending" }
    }
}

impl<T: Displayed> ListRow for TransactionRow<T> {
    const COLUMNS: Columns<Self> = &[
        (text("bank"), |row| row.bank.clone()),
        (text("account"), |row| short(&row.account)),
        (text("date"), Self::date_cell),
        (text(T::COUNTERPARTY), |row| {
            row.transaction.counterparty_cell(row.debit_accounting)
        }),
        (text("what").optional(), |row| row.transaction.description()),
        (amount("amount"), |row| row.amount().to_string()),
        (amount("total so far").optional(), Self::total_cell),
    ];
    const FIELDS: Fields<Self> = &[
        ("bank", |row| Field::untrusted(&row.bank)),
        ("account", |row| Field::untrusted(&row.account)),
        ("status", |row| Field::trusted(&row.status())),
        ("date", |row| Field::Trusted(row.transaction.date())),
        ("id", |row| Field::Untrusted(row.transaction.id())),
        ("with", |row| Field::Untrusted(row.transaction.name())),
        (T::DETAIL, |row| {
            row.transaction.detail(row.debit_accounting)
        }),
        ("what", |row| {
            Field::Untrusted(row.transaction.description())
        }),
        ("amount", |row| Field::trusted(&row.amount().value())),
        ("currency", |row| Field::trusted(&row.amount().currency())),
        ("running_total", |row| Field::trusted(&row.running_total)),
        ("value_date", |row| {
            Field::Trusted(row.transaction.value_date())
        }),
        ("json", |_| Field::Json),
    ];
}

/// Shortens an account number for a table: first and last four characters, and any suffix.
fn short(account: &str) -> String {
    let (number, rest) = match account.find(' ') {
        Some(end) => account.split_at(end),
        None => (account, ""),
    };
    let letters: Vec<char> = number.chars().collect();
    match (letters.first_chunk::<4>(), letters.last_chunk::<4>()) {
        (Some(first), Some(last)) if letters.len() > 12 => {
            let short: String = first.iter().chain(&['…']).chain(last).collect();
            short + rest
        }
        _ => account.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_account_numbers_are_shortened() {
        for (account, expected) in [
            ("FR7620020000179648017967381", "FR76…7381"),
            ("current", "current"),
            ("123456789012", "123456789012"),
            ("1234567890123", "1234…0123"),
            ("FR7620020000179648017967381 EUR", "FR76…7381 EUR"),
            ("current EUR", "current EUR"),
            ("", ""),
        ] {
            assert_eq!(short(account), expected);
        }
    }
}
