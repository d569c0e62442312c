//! Transaction row for the local copy: content digest, which identifies the entry, and its names.
//!
//! A name is a hint and no identity. Banks give one `entryReference` to all entries of a batch, use
//! a `transactionId` again, and write "0", blanks or "NOTPROVIDED" where they have none.

use aws_lc_rs::hmac;
use chrono::NaiveDate;
use serde::Serialize;
use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::money::Amount;
use shared_types::xs2a::text::is_placeholder;
use shared_types::xs2a::transaction::Transaction;

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
    /// `entryReference`, if it is one.
    pub(super) reference: Option<String>,
    /// `transactionId`, `cardTransactionId`, if it is one.
    pub(super) id: Option<String>,
    end_to_end: Option<String>,
    /// The day of booking.
    pub(super) booked_on: Option<NaiveDate>,
    /// Another day that is known of it.
    pub(super) other_day: Option<NaiveDate>,
    amount: Amount,
    counterparty: Option<String>,
    /// In the standard's form, without links.
    pub(super) details: Vec<u8>,
}

impl Row {
    pub(super) fn payment(transaction: Transaction) -> Result<Self, serde_json::Error> {
        let mut kept = transaction;
        kept.links = None;
        let details = serde_json::to_vec(&kept)?;
        let counterparty = kept.counterparty().name.map(str::to_owned);
        Ok(Self {
            reference: name(kept.entry_reference.as_ref()),
            id: name(kept.transaction_id.as_ref()),
            end_to_end: name(kept.end_to_end_id.as_ref()),
            booked_on: kept.booking_date,
            other_day: kept.value_date,
            amount: kept.transaction_amount,
            counterparty,
            details,
        })
    }

    pub(super) fn card(transaction: &CardTransaction) -> Result<Self, serde_json::Error> {
        let details = serde_json::to_vec(transaction)?;
        let counterparty = name(transaction.card_acceptor_id.as_ref())
            .or_else(|| name(transaction.card_acceptor_name.as_ref()))
            .or_else(|| name(transaction.transaction_details.as_ref()));
        Ok(Self {
            reference: None,
            id: name(transaction.card_transaction_id.as_ref()),
            end_to_end: None,
            booked_on: transaction.booking_date,
            other_day: transaction.transaction_date.or(transaction.value_date),
            amount: transaction.transaction_amount,
            counterparty,
            details,
        })
    }

    /// Reference that the bank takes for `entryReferenceFrom`. The standard gives card transactions
    /// no reference of that name; their id is what there is.
    pub(super) fn delta_reference(&self) -> Option<&str> {
        self.reference.as_deref().or(self.id.as_deref())
    }

    /// Whether the bank gives it a name.
    pub(super) fn is_named(&self) -> bool {
        self.reference.is_some() || self.id.is_some()
    }

    /// All that the bank says of it. Entries of which it says the same are told apart by their
    /// number alone.
    pub(super) fn content(&self, digester: &Digester) -> Digest {
        digester.of("content", &[&self.details])
    }

    /// Name by which it may be known again when the bank changes it: the bank's reference,
    /// else its id, else amount and days.
    pub(super) fn name(&self, digester: &Digester) -> Digest {
        match (&self.reference, &self.id) {
            (Some(reference), _) => digester.of("reference", &[reference.as_bytes()]),
            (None, Some(id)) => digester.of("id", &[id.as_bytes()]),
            (None, None) => {
                let day =
                    |day: Option<NaiveDate>| day.map_or_else(String::new, |day| day.to_string());
                let amount = self.amount.value().normalize().to_string();
                let parts = [
                    amount.as_bytes(),
                    self.amount.currency().as_str().as_bytes(),
                    day(self.booked_on).as_bytes(),
                    day(self.other_day).as_bytes(),
                ]
                .map(<[u8]>::to_vec);
                digester.of("looks", &parts.each_ref().map(Vec::as_slice))
            }
        }
    }

    /// Keys that a pending entry shares with the booked one that it becomes, the surest
    /// first; whether it is sure.
    pub(super) fn keys(&self, digester: &Digester) -> Vec<(Digest, bool)> {
        let mut keys = Vec::new();
        let mut key = |kind: &str, text: &Option<String>, sure: bool| {
            if let Some(text) = text {
                keys.push((digester.of(kind, &[text.as_bytes()]), sure));
            }
        };
        key("pending by id", &self.id, true);
        key("pending by reference", &self.reference, true);
        key("pending by end-to-end id", &self.end_to_end, false);
        keys.extend(self.amount_key(digester).map(|key| (key, false)));
        keys
    }

    /// Amount and counterparty.
    pub(super) fn amount_key(&self, digester: &Digester) -> Option<Digest> {
        let name = self.counterparty.as_ref()?.trim().to_lowercase();
        let amount = self.amount.value().normalize().to_string();
        let currency = self.amount.currency();
        let parts = [
            amount.as_bytes(),
            currency.as_str().as_bytes(),
            name.as_bytes(),
        ];
        Some(digester.of("pending by amount", &parts))
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

/// A text, if it names something.
fn name(given: Option<&impl ToString>) -> Option<String> {
    text(given).filter(|text| !is_placeholder(text))
}
