//! View of a transaction for the account holder.

use chrono::NaiveDate;
use maud::{Markup, html};
use shared_types::xs2a::card_account::{CardTransaction, debits_negative};
use shared_types::xs2a::money::Amount;
use shared_types::xs2a::transaction::Transaction;

use super::super::foreign::Foreign;
use super::super::formatting::moved;
use super::super::texts::Texts;
use super::view::View;
use crate::core_banking::{CoreBanking, CoreBankingError, Page, PageKey, TransactionQuery};

/// Line in a list of transactions.
pub(in super::super) struct Entry {
    /// Day of booking. A pending transaction has none, or that of the purchase.
    pub(in super::super) day: Option<NaiveDate>,
    pub(in super::super) pending: bool,
    /// Counterparty.
    pub(in super::super) who: Option<Foreign>,
    /// Purpose.
    pub(in super::super) what: Option<Foreign>,
    /// Negative for a debit.
    pub(in super::super) amount: Amount,
}

/// Page of an account's transactions.
#[derive(Default)]
pub(in super::super) struct EntryPage {
    pub(in super::super) entries: Vec<Entry>,
    pub(in super::super) next: Option<PageKey>,
}

impl EntryPage {
    /// Reads the transactions of an account that match the query, and the text unless it is empty.
    pub(in super::super) async fn read(
        core: &dyn CoreBanking,
        view: &View,
        query: &TransactionQuery,
        text: &str,
    ) -> Result<Self, CoreBankingError> {
        fn page<T>(page: &Page<T>, of: impl Fn(&T, bool) -> Entry) -> EntryPage {
            EntryPage {
                entries: Entry::all(&page.pending, &page.booked, of).collect(),
                next: page.next,
            }
        }

        let id = &view.id;
        Ok(if view.card {
            let found = if text.is_empty() {
                core.card_transactions(id, query).await?
            } else {
                core.find_card_transactions(id, query, text).await?
            };
            let debits = view.debit_accounting;
            page(&found, |one, is_pending| {
                Entry::of_card(one, is_pending, debits)
            })
        } else if text.is_empty() {
            page(&core.transactions(id, query).await?, Entry::of)
        } else {
            page(&core.find_transactions(id, query, text).await?, Entry::of)
        })
    }
}

impl Entry {
    /// Entries of the pending and then of the booked transactions.
    pub(in super::super) fn all<'a, T>(
        pending: &'a [T],
        booked: &'a [T],
        of: impl Fn(&T, bool) -> Self,
    ) -> impl Iterator<Item = Self> {
        let pending = pending.iter().map(|one| (one, true));
        let all = pending.chain(booked.iter().map(|one| (one, false)));
        all.map(move |(one, is_pending)| of(one, is_pending))
    }

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
                .or_else(|| Foreign::of(transaction.additional_information.as_ref())),
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

    /// Counterparty and purpose, and whether it is pending.
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

/// Table of transactions, each with where it happened, if that is given.
pub(in super::super) fn table<'a>(
    texts: &Texts,
    caption: &str,
    entries: impl Iterator<Item = (&'a Entry, Option<Markup>)>,
) -> Markup {
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
                @for (entry, place) in entries {
                    tr {
                        td.day {
                            @if let Some(day) = entry.day {
                                time datetime=(day) { (texts.short_date(day)) }
                            }
                        }
                        td {
                            (entry.described(texts))
                            @if let Some(place) = place { div.for { (place) } }
                        }
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
    fn every_form_of_remittance_information_is_shown() {
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
    fn a_purchase_is_negative_in_either_quotation() {
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
