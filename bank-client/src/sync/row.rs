//! A transaction on its way into the copy: what makes it this one and no other, and by what it is known again.

use aws_lc_rs::hmac;
use chrono::NaiveDate;
use serde::Serialize;
use shared_types::card_account::CardTransaction;
use shared_types::money::Amount;
use shared_types::transaction::Transaction;

/// A digest of account data. It is keyed: who has the copy alone cannot try out what it stands for.
pub(super) type Digest = [u8; 16];

/// Makes digests.
#[derive(Clone)]
pub(super) struct Digester(hmac::Key);

impl Digester {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The digest of these parts, in this order, as things of that kind.
    pub(super) fn of(&self, kind: &str, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(&kind.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut digest = Digest::default();
        for (byte, signed) in digest.iter_mut().zip(tag.as_ref()) {
            *byte = *signed;
        }
        digest
    }
}

/// A transaction of either kind of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// `entryReference`.
    pub(super) reference: Option<String>,
    /// `transactionId`, `cardTransactionId`.
    pub(super) id: Option<String>,
    end_to_end: Option<String>,
    /// The day of booking.
    pub(super) booked_on: Option<NaiveDate>,
    /// Another day that is known of it.
    pub(super) other_day: Option<NaiveDate>,
    amount: Amount,
    counterparty: Option<String>,
    /// What the entry says of itself; neither where more can be read, nor what the balance was after it.
    itself: Vec<u8>,
    /// In the standard's form, without links.
    pub(super) details: Vec<u8>,
}

impl Row {
    pub(super) fn payment(transaction: Transaction) -> Result<Self, serde_json::Error> {
        let mut kept = transaction;
        kept.links = None;
        let details = serde_json::to_vec(&kept)?;
        let itself = match kept.balance_after_transaction.take() {
            None => details.clone(),
            Some(_) => serde_json::to_vec(&kept)?,
        };
        let counterparty = kept.counterparty().name.map(str::to_owned);
        Ok(Self {
            reference: text(kept.entry_reference.as_ref()),
            id: text(kept.transaction_id.as_ref()),
            end_to_end: text(kept.end_to_end_id.as_ref()),
            booked_on: kept.booking_date,
            other_day: kept.value_date,
            amount: kept.transaction_amount,
            counterparty,
            itself,
            details,
        })
    }

    pub(super) fn card(transaction: &CardTransaction) -> Result<Self, serde_json::Error> {
        let details = serde_json::to_vec(transaction)?;
        let counterparty = text(transaction.card_acceptor_id.as_ref())
            .or_else(|| text(transaction.card_acceptor_name.as_ref()))
            .or_else(|| text(transaction.transaction_details.as_ref()));
        Ok(Self {
            reference: None,
            id: text(transaction.card_transaction_id.as_ref()),
            end_to_end: None,
            booked_on: transaction.booking_date,
            other_day: transaction.transaction_date.or(transaction.value_date),
            amount: transaction.transaction_amount,
            counterparty,
            itself: details.clone(),
            details,
        })
    }

    /// What the bank takes for `entryReferenceFrom`. The standard gives card transactions no reference of that name; their
    /// id is what there is.
    pub(super) fn mark(&self) -> Option<&str> {
        self.reference.as_deref().or(self.id.as_deref())
    }

    /// Whether the bank gives it a name.
    pub(super) fn is_named(&self) -> bool {
        self.reference.is_some() || self.id.is_some()
    }

    /// What makes it this entry: the bank's reference, else its id, else all it says of itself. Entries without a name
    /// that are equal are told apart by their number among equals.
    pub(super) fn identity(&self, digester: &Digester, number: u64) -> Digest {
        match (&self.reference, &self.id) {
            (Some(reference), _) => digester.of("reference", &[reference.as_bytes()]),
            (None, Some(id)) => digester.of("id", &[id.as_bytes()]),
            (None, None) => digester.of("itself", &[&self.itself, &number.to_be_bytes()]),
        }
    }

    /// By what a pending entry and the booked one that it becomes know each other, the surest first; whether it is sure.
    pub(super) fn keys(&self, digester: &Digester) -> Vec<(Digest, bool)> {
        let mut keys = Vec::new();
        let mut key = |kind: &str, text: &Option<String>, sure: bool| {
            if let Some(text) = text {
                keys.push((digester.of(kind, &[text.as_bytes()]), sure));
            }
        };
        key("pending by id", &self.id, true);
        key("pending by reference", &self.reference, true);
        // ISO 20022 has a word for "there is none".
        let given = self
            .end_to_end
            .clone()
            .filter(|id| !id.eq_ignore_ascii_case("NOTPROVIDED"));
        key("pending by end-to-end id", &given, false);
        if let Some(name) = &self.counterparty {
            let amount = self.amount.value().normalize().to_string();
            let currency = self.amount.currency();
            let name = name.trim().to_lowercase();
            let parts = [
                amount.as_bytes(),
                currency.as_str().as_bytes(),
                name.as_bytes(),
            ];
            keys.push((digester.of("pending by amount", &parts), false));
        }
        keys
    }
}

fn text(text: Option<&impl ToString>) -> Option<String> {
    text.map(ToString::to_string)
}

/// The digest of anything that has a form in JSON.
pub(super) fn digest_of(
    digester: &Digester,
    kind: &str,
    value: &impl Serialize,
) -> Result<Digest, serde_json::Error> {
    Ok(digester.of(kind, &[&serde_json::to_vec(value)?]))
}

/// After which entry the next delta report can start.
///
/// Any entry of the first page will do: what came before it is in this list, or in an earlier one. That of the latest day
/// is the best guess at the newest; among those of one day, the first where the newest stand first, as nearly everywhere.
pub(super) fn anchor(first_page: &[Row]) -> Option<&str> {
    let days: Vec<NaiveDate> = first_page.iter().filter_map(|row| row.booked_on).collect();
    let oldest_first = days.first() < days.last();
    let mut best: Option<&Row> = None;
    for row in first_page.iter().filter(|row| row.mark().is_some()) {
        let better = best.is_none_or(|best| {
            row.booked_on > best.booked_on || (oldest_first && row.booked_on == best.booked_on)
        });
        if better {
            best = Some(row);
        }
    }
    best.and_then(Row::mark)
}
