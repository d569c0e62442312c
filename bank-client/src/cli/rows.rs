//! What lists are made of.

use bank_client::directory::BankEntry;
use rust_decimal::Decimal;
use serde::Serialize;
use shared_types::account::{AccountDetails, Balance};
use shared_types::card_account::{CardAccountDetails, CardTransaction, debits_negative};
use shared_types::money::Amount;
use shared_types::transaction::Transaction;

use super::screen::{Column, Field, Listed, amount, or_empty, text};

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

impl Listed for BankRow<'_> {
    const COLUMNS: &'static [Column] = &[
        text("id"),
        text("name"),
        text("BIC").spare(),
        text("country").spare(),
        text("address").spare(),
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
        let own = |text: &str| Field::Own(text.to_owned());
        vec![
            own(self.id),
            Field::Foreign(self.name.to_owned()),
            Field::own(self.bic.as_ref()),
            own(self.country),
            Field::Own(self.bank_codes.join(" ")),
            own(self.url),
            own(self.organisation),
        ]
    }
}

/// An account, and where it is.
#[derive(Debug, Serialize)]
pub(super) struct AccountRow<T> {
    pub(super) bank: String,
    #[serde(flatten)]
    pub(super) account: T,
}

impl Listed for AccountRow<AccountDetails> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("id").spare(),
        text("IBAN"),
        text("name").spare(),
        text("currency").spare(),
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
            Field::Foreign(self.bank.clone()),
            Field::foreign(account.resource_id.as_ref()),
            Field::own(account.iban.as_ref()),
            Field::foreign(account.name.as_ref()),
            Field::Own(account.currency.to_string()),
            Field::Whole,
        ]
    }
}

impl Listed for AccountRow<CardAccountDetails> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("id").spare(),
        text("card"),
        text("name").spare(),
        amount("limit").spare(),
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
            Field::Foreign(self.bank.clone()),
            Field::foreign(account.resource_id.as_ref()),
            Field::Foreign(account.masked_pan.to_string()),
            Field::foreign(account.name.as_ref()),
            Field::Own(account.currency.to_string()),
            Field::Own(
                account
                    .credit_limit
                    .map(|limit| limit.value().to_string())
                    .unwrap_or_default(),
            ),
            Field::Whole,
        ]
    }
}

/// The newest of each kind.
fn in_lines(balances: Option<&[Balance]>, debit_accounting: Option<bool>) -> String {
    let lines = Balance::newest(balances.unwrap_or_default()).into_iter();
    let lines = lines.map(|balance| {
        let amount = debits_negative(balance.balance_amount, debit_accounting);
        format!("{} {amount}", balance.balance_type)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A balance, and of which account.
#[derive(Debug, Serialize)]
pub(super) struct BalanceRow {
    pub(super) bank: String,
    /// Its IBAN, or what else it is known by.
    pub(super) account: String,
    #[serde(flatten)]
    pub(super) balance: Balance,
    /// Of a card account: how the bank quotes debits, if it says so.
    #[serde(rename = "debitAccounting", skip_serializing_if = "Option::is_none")]
    pub(super) debit_accounting: Option<bool>,
    /// How it came about, from the local copy.
    #[serde(skip)]
    pub(super) course: String,
}

impl Listed for BalanceRow {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("account"),
        text("balance"),
        amount("amount"),
        text("as of").spare(),
        text("course").spare(),
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
            self.course.clone(),
        ]
    }

    fn fields(&self) -> Vec<Field> {
        let amount = self.amount();
        vec![
            Field::Foreign(self.bank.clone()),
            Field::Foreign(self.account.clone()),
            Field::Own(self.balance.balance_type.to_string()),
            Field::Own(amount.value().to_string()),
            Field::Own(amount.currency().to_string()),
            Field::own(self.balance.reference_date.as_ref()),
            Field::Whole,
        ]
    }
}

impl BalanceRow {
    /// A debt is negative.
    fn amount(&self) -> Amount {
        debits_negative(self.balance.balance_amount, self.debit_accounting)
    }
}

/// A transaction, with what its list said of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransactionRow<T> {
    pub(super) bank: String,
    /// Its IBAN, or what else it is known by.
    pub(super) account: String,
    pub(super) booked: bool,
    #[serde(flatten)]
    pub(super) transaction: T,
    /// Of a card account: how the bank quotes debits, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) debit_accounting: Option<bool>,
    /// The sum of the lines down to this one, in its currency.
    #[serde(serialize_with = "as_text")]
    pub(super) running_total: Decimal,
}

/// As the standard writes amounts.
fn as_text<S: serde::Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What transactions of both kinds of account are listed by.
struct Shown {
    date: String,
    value_date: String,
    id: String,
    /// The other party.
    with: String,
    /// The number of its account.
    with_account: String,
    /// What a card paid, in the currency of the purchase.
    abroad: String,
    what: String,
    /// Negative when money went out.
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

/// An account as a narrow column has it: enough to tell one customer's accounts apart. What follows the number stays.
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
    /// With that in the column for the other party.
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

    /// With that after the other party.
    fn values(&self, after: Field, shown: Shown) -> Vec<Field> {
        vec![
            Field::Foreign(self.bank.clone()),
            Field::Foreign(self.account.clone()),
            Field::Own(if self.booked { "booked" } else { "pending" }.to_owned()),
            Field::Own(shown.date),
            Field::Foreign(shown.id),
            Field::Foreign(shown.with),
            after,
            Field::Foreign(shown.what),
            Field::Own(shown.amount.value().to_string()),
            Field::Own(shown.amount.currency().to_string()),
            Field::Own(self.running_total.to_string()),
            Field::Own(shown.value_date),
            Field::Whole,
        ]
    }
}

impl Listed for TransactionRow<Transaction> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("account"),
        text("date"),
        text("with"),
        text("what").spare(),
        amount("amount"),
        amount("total so far").spare(),
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
        self.values(Field::Foreign(shown.with_account.clone()), shown)
    }
}

impl Listed for TransactionRow<CardTransaction> {
    const COLUMNS: &'static [Column] = &[
        text("bank"),
        text("account"),
        text("date"),
        text("abroad"),
        text("what").spare(),
        amount("amount"),
        amount("total so far").spare(),
    ];
    const FIELDS: &'static [&'static str] = CARD_TRANSACTION_FIELDS;

    fn row(&self) -> Vec<String> {
        let shown = of_card(&self.transaction, self.debit_accounting);
        self.cells(shown.abroad.clone(), shown)
    }

    fn fields(&self) -> Vec<Field> {
        let shown = of_card(&self.transaction, self.debit_accounting);
        self.values(Field::Own(shown.abroad.clone()), shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_narrow_column_tells_accounts_apart() {
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
