//! View of a transaction for the account holder.

use chrono::NaiveDate;
use maud::{Markup, html};
use shared_types::xs2a::card_account::{CardTransaction, debits_negative};
use shared_types::xs2a::money::Amount;
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::Transaction;

use super::super::foreign::Foreign;
use super::super::formatting::moved;
use super::super::texts::Texts;

/// A line in a list of transactions.
pub(in super::super) struct Entry {
    /// The day of booking; pending ones have none, or that of the purchase.
    pub(in super::super) day: Option<NaiveDate>,
    pub(in super::super) pending: bool,
    /// Who paid, or was paid.
    pub(in super::super) who: Option<Foreign>,
    /// What for.
    pub(in super::super) what: Option<Foreign>,
    /// Negative when money went out.
    pub(in super::super) amount: Amount,
}

fn own<const MAX: usize>(text: Option<&Text<MAX>>) -> Option<Foreign> {
    text.map(Text::as_str)
        .filter(|text| !text.is_empty())
        .map(Foreign::new)
}

impl Entry {
    /// Of a payment account.
    pub(in super::super) fn of(transaction: &Transaction, pending: bool) -> Self {
        let counterparty = transaction.counterparty().to_string();
        Self {
            day: transaction.booking_date,
            pending,
            who: (!counterparty.is_empty()).then(|| Foreign::new(counterparty)),
            what: transaction
                .remittance_text()
                .map(Foreign::new)
                .or_else(|| own(transaction.additional_information.as_ref())),
            amount: transaction.transaction_amount,
        }
    }

    /// Of a card.
    pub(in super::super) fn of_card(
        transaction: &CardTransaction,
        pending: bool,
        debit_accounting: Option<bool>,
    ) -> Self {
        Self {
            day: transaction.booking_date.or(transaction.transaction_date),
            pending,
            who: transaction.description().map(Foreign::new),
            what: None,
            amount: debits_negative(transaction.transaction_amount, debit_accounting),
        }
    }

    /// Who and what for, and whether it is pending.
    pub(in super::super) fn described(&self, texts: &Texts) -> Markup {
        let (first, second) = match (&self.who, &self.what) {
            (Some(who), what) => (Some(who), what.as_ref()),
            (None, what) => (what.as_ref(), None),
        };
        html! {
            div.what {
                @if let Some(first) = first { (first) } @else { (texts.accounts.unnamed) }
            }
            @if let Some(second) = second { div.for { (second) } }
            @if self.pending { span.tag.warning { (texts.accounts.pending) } }
        }
    }
}

/// A table of them.
pub(super) fn table(texts: &Texts, caption: &str, entries: &[Entry]) -> Markup {
    let words = &texts.accounts;
    html! {
        table {
            caption.hidden-text { (caption) }
            thead {
                tr {
                    th scope="col" { (words.day) }
                    th scope="col" { (words.what) }
                    th.right scope="col" { (words.amount) }
                }
            }
            tbody {
                @for entry in entries {
                    tr {
                        td.day {
                            @if let Some(day) = entry.day {
                                time datetime=(day) { (texts.short_date(day)) }
                            }
                        }
                        td { (entry.described(texts)) }
                        td.right { (moved(texts, &entry.amount)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_payment_was_for_is_shown_whichever_form_it_comes_in() {
        for (field, value, shown) in [
            (
                "remittanceInformationUnstructuredArray",
                json!(["Invoice 118", "second line"]),
                "Invoice 118 second line",
            ),
            (
                "remittanceInformationStructuredArray",
                json!([{ "reference": "RF18" }]),
                "RF18",
            ),
            ("additionalInformation", json!("a word more"), "a word more"),
        ] {
            let mut transaction =
                json!({ "transactionAmount": { "currency": "EUR", "amount": "-1" } });
            transaction[field] = value;
            let transaction = serde_json::from_value(transaction).unwrap();
            let what = Entry::of(&transaction, false).what.unwrap();
            assert_eq!(what.as_str(), shown, "{field}");
        }
    }

    #[test]
    fn a_purchase_is_negative_whichever_way_it_is_quoted() {
        for (amount, debit_accounting) in [
            ("80.00", Some(true)),
            ("-80.00", Some(false)),
            ("-80.00", None),
        ] {
            let purchase = serde_json::from_value(json!({
                "transactionAmount": { "currency": "EUR", "amount": amount },
                "cardAcceptorName": "Bookshop",
            }));
            let entry = Entry::of_card(&purchase.unwrap(), false, debit_accounting);
            assert_eq!(entry.amount.to_string(), "-80.00 EUR");
            assert_eq!(entry.who.unwrap().as_str(), "Bookshop");
        }
    }
}
