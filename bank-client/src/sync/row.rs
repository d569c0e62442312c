//! Row of the local copy: one booked or pending transaction, with the digests that identify it.
//!
//! A row is identified by the digest of its content. The bank's own ids are hints only: banks give
//! one `entryReference` to all entries of a batch, reuse a `transactionId`, and write "0", blanks
//! or "NOTPROVIDED" where they have none.

use aws_lc_rs::hmac;
use chrono::NaiveDate;
use serde::Serialize;
use shared_types::xs2a::card_account::CardTransaction;
use shared_types::xs2a::money::Amount;
use shared_types::xs2a::text::is_placeholder;
use shared_types::xs2a::transaction::Transaction;

/// Keyed digest of account data. Without the key, guessed data cannot be compared with it.
pub(super) type Digest = [u8; 16];

/// Computes digests with the key of the copy.
#[derive(Clone)]
pub(super) struct Digester(hmac::Key);

impl Digester {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Digest of `parts`, in this order. Equal parts of different `kind`s have different digests.
    pub(super) fn digest(&self, kind: &str, parts: &[&[u8]]) -> Digest {
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

/// A transaction of a payment account or a card account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// `entryReference`, unless it is a placeholder.
    pub(super) reference: Option<String>,
    /// `transactionId` or `cardTransactionId`, unless it is a placeholder.
    pub(super) id: Option<String>,
    /// `endToEndId`, unless it is a placeholder.
    end_to_end_id: Option<String>,
    pub(super) booking_date: Option<NaiveDate>,
    /// The value date; of a card transaction the transaction date, or else the value date.
    pub(super) value_date: Option<NaiveDate>,
    amount: Amount,
    counterparty: Option<String>,
    /// The transaction as JSON in the standard's form, without links.
    pub(super) details: Vec<u8>,
}

impl Row {
    pub(super) fn payment(mut transaction: Transaction) -> Result<Self, serde_json::Error> {
        transaction.links = None;
        let details = serde_json::to_vec(&transaction)?;
        let counterparty = transaction.counterparty().name.map(str::to_owned);
        Ok(Self {
            reference: unless_placeholder(transaction.entry_reference.as_ref()),
            id: unless_placeholder(transaction.transaction_id.as_ref()),
            end_to_end_id: unless_placeholder(transaction.end_to_end_id.as_ref()),
            booking_date: transaction.booking_date,
            value_date: transaction.value_date,
            amount: transaction.transaction_amount,
            counterparty,
            details,
        })
    }

    pub(super) fn card(transaction: &CardTransaction) -> Result<Self, serde_json::Error> {
        let details = serde_json::to_vec(transaction)?;
        let counterparty = unless_placeholder(transaction.card_acceptor_id.as_ref())
            .or_else(|| unless_placeholder(transaction.card_acceptor_name.as_ref()))
            .or_else(|| unless_placeholder(transaction.transaction_details.as_ref()));
        Ok(Self {
            reference: None,
            id: unless_placeholder(transaction.card_transaction_id.as_ref()),
            end_to_end_id: None,
            booking_date: transaction.booking_date,
            value_date: transaction.transaction_date.or(transaction.value_date),
            amount: transaction.transaction_amount,
            counterparty,
            details,
        })
    }

    /// Value of `entryReferenceFrom` for a delta report that starts after this entry. Card
    /// transactions have no `entryReference` in the standard: their id is used instead.
    pub(super) fn delta_reference(&self) -> Option<&str> {
        self.reference.as_deref().or(self.id.as_deref())
    }

    /// Whether the bank gives the entry a reference or an id.
    pub(super) fn has_reference_or_id(&self) -> bool {
        self.reference.is_some() || self.id.is_some()
    }

    /// Digest of all the bank's data about the entry. Several entries can have the same one: the
    /// copy then stores as many of them as the bank lists.
    pub(super) fn content_digest(&self, digester: &Digester) -> Digest {
        digester.digest("content", &[&self.details])
    }

    /// Digest by which an entry can be recognised after the bank has changed its content: of its
    /// reference, or else its id, or else its amount and dates.
    pub(super) fn name_digest(&self, digester: &Digester) -> Digest {
        match (&self.reference, &self.id) {
            (Some(reference), _) => digester.digest("reference", &[reference.as_bytes()]),
            (None, Some(id)) => digester.digest("id", &[id.as_bytes()]),
            (None, None) => {
                let text = |date: Option<NaiveDate>| {
                    date.map_or_else(String::new, |date| date.to_string())
                };
                let amount = self.amount.value().normalize().to_string();
                let parts = [
                    amount.as_bytes(),
                    self.amount.currency().as_str().as_bytes(),
                    text(self.booking_date).as_bytes(),
                    text(self.value_date).as_bytes(),
                ]
                .map(<[u8]>::to_vec);
                // Stored digests contain this kind: do not rename it.
                digester.digest("looks", &parts.each_ref().map(Vec::as_slice))
            }
        }
    }

    /// Keys that a pending entry shares with the booked entry that replaces it, most reliable
    /// first.
    pub(super) fn pending_keys(&self, digester: &Digester) -> Vec<PendingKey> {
        let mut keys = Vec::new();
        let mut push = |kind: &str, text: &Option<String>, is_reliable: bool| {
            if let Some(text) = text {
                let digest = digester.digest(kind, &[text.as_bytes()]);
                keys.push(PendingKey {
                    digest,
                    is_reliable,
                });
            }
        };
        push("pending by id", &self.id, true);
        push("pending by reference", &self.reference, true);
        push("pending by end-to-end id", &self.end_to_end_id, false);
        keys.extend(self.amount_digest(digester).map(|digest| PendingKey {
            digest,
            is_reliable: false,
        }));
        keys
    }

    /// Digest of amount and counterparty. `None` without a counterparty.
    pub(super) fn amount_digest(&self, digester: &Digester) -> Option<Digest> {
        let name = self.counterparty.as_ref()?.trim().to_lowercase();
        let amount = self.amount.value().normalize().to_string();
        let currency = self.amount.currency();
        let parts = [
            amount.as_bytes(),
            currency.as_str().as_bytes(),
            name.as_bytes(),
        ];
        Some(digester.digest("pending by amount", &parts))
    }
}

/// Key that links a pending entry to the booked entry that replaces it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PendingKey {
    pub(super) digest: Digest,
    /// Whether two entries with the same key are the same transaction, unless the bank reuses ids.
    pub(super) is_reliable: bool,
}

/// Digest of a value's JSON form.
pub(super) fn json_digest(
    digester: &Digester,
    kind: &str,
    value: &impl Serialize,
) -> Result<Digest, serde_json::Error> {
    Ok(digester.digest(kind, &[&serde_json::to_vec(value)?]))
}

/// The text, unless it is a placeholder such as "NOTPROVIDED".
fn unless_placeholder(text: Option<&impl ToString>) -> Option<String> {
    text.map(ToString::to_string)
        .filter(|text| !is_placeholder(text))
}
