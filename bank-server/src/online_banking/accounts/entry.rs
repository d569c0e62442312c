//! A transaction, as the owner of the account is shown it.

use chrono::NaiveDate;
use maud::{Markup, html};
use shared_types::card_account::CardTransaction;
use shared_types::money::Amount;
use shared_types::text::Text;
use shared_types::transaction::Transaction;

use super::super::foreign::Foreign;
use super::super::texts::Texts;
use super::super::writing::moved;
use super::view::turned;

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
        let structured = transaction
            .remittance_information_structured_array
            .iter()
            .flatten()
            .next()
            .map(|reference| Foreign::new(reference.reference.as_str()));
        let counterparty = transaction.counterparty().to_string();
        Self {
            day: transaction.booking_date,
            pending,
            who: (!counterparty.is_empty()).then(|| Foreign::new(counterparty)),
            what: own(transaction.remittance_information_unstructured.as_ref())
                .or_else(|| own(transaction.remittance_information_structured.as_ref()))
                .or(structured)
                .or_else(|| own(transaction.additional_information.as_ref())),
            amount: transaction.transaction_amount,
        }
    }

    /// Of a card.
    pub(in super::super) fn of_card(
        transaction: &CardTransaction,
        pending: bool,
        turn: bool,
    ) -> Self {
        Self {
            day: transaction.booking_date.or(transaction.transaction_date),
            pending,
            who: own(transaction.transaction_details.as_ref()),
            what: None,
            amount: turned(&transaction.transaction_amount, turn),
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
