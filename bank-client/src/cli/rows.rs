//! Rows of the lists of banks, accounts, balances and transactions.

use bank_client::directory::BankEntry;
use rust_decimal::Decimal;
use serde::Serialize;
use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction, debits_negative};
use shared_types::xs2a::money::Amount;
use shared_types::xs2a::transaction::Transaction;

use super::screen::{Column, Field, ListRow, amount, or_empty, text};

/// A bank of the directory.
#[derive(Debug, Serialize)]
pub(super) struct BankRow<'a> {
    id: &'a str,
    name: &'a str,
    bic: Option<String>,
    country: &'a str,
    bank_codes: &'a [String],
    url: &'a str,
    organisation: &'a str,
}

impl<'a> From<&'a BankEntry> for BankRow<'a> {
    fn from(entry: &'a BankEntry) -> Self {
        Self {
            id: entry.id.as_str(),
            name: &entry.name,
            bic: entry.bic.as_ref().map(ToString::to_string),
            country: &entry.country,
            bank_codes: &entry.bank_codes,
            url: &entry.url,
            organisation: entry.organisation.as_str(),
        }
    }
}

impl ListRow for BankRow<'_> {
    const COLUMNS: &'static [Column] = &[
        text("id"),
        text("name"),
        text("BIC").optional(),
        text("country").optional(),
        text("address").optional(),
    ];
    const FIELDS: &'static [&'static str] = &[
        "id",
        "name",
        "bic",
        "country",
        "bank_codes",
        "url",
        "organisation",
    ];

    fn row(&self) -> Vec<String> {
        vec![
            self.id.to_owned(),
            self.name.to_owned(),
            or_empty(self.bic.as_ref()),
            self.country.to_owned(),
            self.url.to_owned(),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        let own = |text: &str| Field::Trusted(text.to_owned());
        vec![
            own(self.id),
            Field::Untrusted(self.name.to_owned()),
            Field::trusted(self.bic.as_ref()),
            own(self.country),
            Field::Trusted(self.bank_codes.join(" ")),
            own(self.url),
            own(self.organisation),
        ]
    }
}

/// An account and its bank.
#[derive(Debug, Serialize)]
pub(super) struct AccountRow<T> {
    pub(super) bank: String,
    #[serde(flatten)]
    pub(super) account: T,
}

impl ListRow for AccountRow<AccountDetails> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("id").optional(),
        text("IBAN"),
        text("name").optional(),
        text("currency").optional(),
        amount("balances"),
    ];
    const FIELDS: &'static [&'static str] = &["bank", "id", "iban", "name", "currency", "json"];

    fn row(&self) -> Vec<String> {
        let account = &self.account;
        vec![
            self.bank.clone(),
            or_empty(account.resource_id.as_ref()),
            or_empty(account.iban.as_ref()),
            or_empty(account.name.as_ref()),
            account.currency.to_string(),
            in_lines(account.balances.as_deref(), None),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        let account = &self.account;
        vec![
            Field::Untrusted(self.bank.clone()),
            Field::untrusted(account.resource_id.as_ref()),
            Field::trusted(account.iban.as_ref()),
            Field::untrusted(account.name.as_ref()),
            Field::Trusted(account.currency.to_string()),
            Field::Json,
        ]
    }
}

impl ListRow for AccountRow<CardAccountDetails> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("id").optional(),
        text("card"),
        text("name").optional(),
        amount("limit").optional(),
        amount("balances"),
    ];
    const FIELDS: &'static [&'static str] = &[
        "bank",
        "id",
        "card",
        "name",
        "currency",
        "credit_limit",
        "json",
    ];

    fn row(&self) -> Vec<String> {
        let account = &self.account;
        vec![
            self.bank.clone(),
            or_empty(account.resource_id.as_ref()),
            account.masked_pan.to_string(),
            or_empty(account.name.as_ref()),
            or_empty(account.credit_limit.as_ref()),
            in_lines(account.balances.as_deref(), account.debit_accounting),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        let account = &self.account;
        vec![
            Field::Untrusted(self.bank.clone()),
            Field::untrusted(account.resource_id.as_ref()),
            Field::Untrusted(account.masked_pan.to_string()),
            Field::untrusted(account.name.as_ref()),
            Field::Trusted(account.currency.to_string()),
            Field::Trusted(
                account
                    .credit_limit
                    .map(|limit| limit.value().to_string())
                    .unwrap_or_default(),
            ),
            Field::Json,
        ]
    }
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
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("account"),
        text("balance"),
        amount("amount"),
        text("as of").optional(),
        text("history").optional(),
    ];
    const FIELDS: &'static [&'static str] = &[
        "bank", "account", "balance", "amount", "currency", "as_of", "json",
    ];

    fn row(&self) -> Vec<String> {
        vec![
            self.bank.clone(),
            short(&self.account),
            self.balance.balance_type.to_string(),
            self.amount().to_string(),
            or_empty(self.balance.reference_date.as_ref()),
            self.history.clone(),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        let amount = self.amount();
        vec![
            Field::Untrusted(self.bank.clone()),
            Field::Untrusted(self.account.clone()),
            Field::Trusted(self.balance.balance_type.to_string()),
            Field::Trusted(amount.value().to_string()),
            Field::Trusted(amount.currency().to_string()),
            Field::trusted(self.balance.reference_date.as_ref()),
            Field::Json,
        ]
    }
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

/// The displayed properties that both kinds of transaction share.
struct Shown {
    date: String,
    value_date: String,
    id: String,
    /// The other party.
    with: String,
    /// The other party's account number.
    with_account: String,
    /// The amount in the currency of the purchase, for a card transaction.
    abroad: String,
    what: String,
    /// Negative for a debit.
    amount: Amount,
}

fn of_account(transaction: &Transaction) -> Shown {
    let date = transaction
        .booking_date
        .as_ref()
        .or(transaction.value_date.as_ref());
    let counterparty = transaction.counterparty();
    Shown {
        date: or_empty(date),
        value_date: or_empty(transaction.value_date.as_ref()),
        id: or_empty(transaction.transaction_id.as_ref()),
        with: or_empty(counterparty.name.as_ref()),
        with_account: or_empty(counterparty.account),
        abroad: String::new(),
        what: or_empty(transaction.remittance_text().as_ref()),
        amount: transaction.transaction_amount,
    }
}

fn of_card(transaction: &CardTransaction, debit_accounting: Option<bool>) -> Shown {
    let date = transaction
        .booking_date
        .as_ref()
        .or(transaction.transaction_date.as_ref());
    let original = transaction.original_amount;
    let original = original.map(|amount| debits_negative(amount, debit_accounting));
    Shown {
        date: or_empty(date),
        value_date: or_empty(transaction.value_date.as_ref()),
        id: or_empty(transaction.card_transaction_id.as_ref()),
        with: or_empty(transaction.card_acceptor_name.as_ref()),
        with_account: String::new(),
        abroad: or_empty(original.as_ref()),
        what: or_empty(transaction.description().as_ref()),
        amount: debits_negative(transaction.transaction_amount, debit_accounting),
    }
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

const TRANSACTION_FIELDS: &[&str] = &[
    "bank",
    "account",
    "status",
    "date",
    "id",
    "with",
    "with_account",
    "what",
    "amount",
    "currency",
    "running_total",
    "value_date",
    "json",
];

const CARD_TRANSACTION_FIELDS: &[&str] = &[
    "bank",
    "account",
    "status",
    "date",
    "id",
    "with",
    "original_amount",
    "what",
    "amount",
    "currency",
    "running_total",
    "value_date",
    "json",
];

impl<T> TransactionRow<T> {
    /// The table cells, with `with` in the column for the other party.
    fn cells(&self, with: String, shown: Shown) -> Vec<String> {
        let date = if self.booked {
            shown.date
        } else {
            format!("{} pending", shown.date)
        };
        let total = format!("{} {}", self.running_total, shown.amount.currency());
        vec![
            self.bank.clone(),
            short(&self.account),
            date,
            with,
            shown.what,
            shown.amount.to_string(),
            total,
        ]
    }

    /// The CSV fields, with `after` behind the other party.
    fn values(&self, after: Field, shown: Shown) -> Vec<Field> {
        vec![
            Field::Untrusted(self.bank.clone()),
            Field::Untrusted(self.account.clone()),
            Field::Trusted(if self.booked { "booked" } else { "pending" }.to_owned()),
            Field::Trusted(shown.date),
            Field::Untrusted(shown.id),
            Field::Untrusted(shown.with),
            after,
            Field::Untrusted(shown.what),
            Field::Trusted(shown.amount.value().to_string()),
            Field::Trusted(shown.amount.currency().to_string()),
            Field::Trusted(self.running_total.to_string()),
            Field::Trusted(shown.value_date),
            Field::Json,
        ]
    }
}

impl ListRow for TransactionRow<Transaction> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("account"),
        text("date"),
        text("with"),
        text("what").optional(),
        amount("amount"),
        amount("total so far").optional(),
    ];
    const FIELDS: &'static [&'static str] = TRANSACTION_FIELDS;

    fn row(&self) -> Vec<String> {
        let shown = of_account(&self.transaction);
        let with = if shown.with.is_empty() {
            &shown.with_account
        } else {
            &shown.with
        };
        self.cells(with.clone(), shown)
    }

    fn fields(&self) -> Vec<Field> {
        let shown = of_account(&self.transaction);
        self.values(Field::Untrusted(shown.with_account.clone()), shown)
    }
}

impl ListRow for TransactionRow<CardTransaction> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("account"),
        text("date"),
        text("abroad"),
        text("what").optional(),
        amount("amount"),
        amount("total so far").optional(),
    ];
    const FIELDS: &'static [&'static str] = CARD_TRANSACTION_FIELDS;

    fn row(&self) -> Vec<String> {
        let shown = of_card(&self.transaction, self.debit_accounting);
        self.cells(shown.abroad.clone(), shown)
    }

    fn fields(&self) -> Vec<Field> {
        let shown = of_card(&self.transaction, self.debit_accounting);
        self.values(Field::Trusted(shown.abroad.clone()), shown)
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
