//! Snapshot of the data last read from another bank, as stored.

use std::cmp::Reverse;

use bank_client::identity::{Identity, KnownAccount, match_accounts};
use chrono::{Days, NaiveDate};
use serde::{Deserialize, Serialize};
use shared_types::decode::{Malformed, kept};
use shared_types::xs2a::account::{AccountDetails, AccountReference};
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::transaction::Transaction;

/// All data that one consent covers. Without `Debug`, because it holds account data.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Digest of the consent, in which alone the `resourceId`s are valid.
    #[serde(default)]
    pub(super) consent: Option<String>,
    pub(super) payment: Vec<PaymentAccount>,
    pub(super) cards: Vec<CardAccount>,
    /// Whether some data could not be read: it is missing, or as it was before.
    #[serde(default)]
    pub(super) partial: bool,
}

impl Snapshot {
    /// Decodes a stored snapshot, with texts and names as the bank sent them.
    pub(super) fn read(data: &[u8]) -> Result<Self, Malformed> {
        kept(data)
    }
}

pub(super) type PaymentAccount = AccountSnapshot<AccountDetails, Transaction>;
pub(super) type CardAccount = AccountSnapshot<CardAccountDetails, CardTransaction>;

/// An account with its transactions, the newest first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccountSnapshot<A, T> {
    pub(super) details: A,
    pub(super) pending: Vec<T>,
    pub(super) booked: Vec<T>,
    /// All numbers that the bank has named so far.
    #[serde(default)]
    numbers: AccountReference,
}

/// Stored transactions of one account.
pub(super) const MAX_TRANSACTIONS: usize = 500;

/// Days of transactions that a bank always shows, today included.
const RECENT: u64 = 90;

/// Days of history that are requested right after an approval.
const HISTORY: u64 = 730;

/// Days that are read again, because a transaction may be booked late under an earlier day.
const OVERLAP: u64 = 7;

/// Transaction of any kind.
pub(super) trait Dated {
    /// Day of booking.
    fn booked_on(&self) -> Option<NaiveDate>;
}

impl Dated for Transaction {
    fn booked_on(&self) -> Option<NaiveDate> {
        self.booking_date
    }
}

impl Dated for CardTransaction {
    fn booked_on(&self) -> Option<NaiveDate> {
        self.booking_date.or(self.transaction_date)
    }
}

/// Account of any kind, with what identifies it under another consent.
pub(super) trait Recognised {
    fn identity(&self) -> Identity;

    /// Id that is valid in the consent alone.
    fn resource_id(&mut self) -> &mut Option<String>;

    fn links(&self) -> Option<&Links>;
}

impl Recognised for AccountDetails {
    fn identity(&self) -> Identity {
        Identity::of(self)
    }

    fn resource_id(&mut self) -> &mut Option<String> {
        &mut self.resource_id
    }

    fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }
}

impl Recognised for CardAccountDetails {
    fn identity(&self) -> Identity {
        Identity::of_card(self)
    }

    fn resource_id(&mut self) -> &mut Option<String> {
        &mut self.resource_id
    }

    fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }
}

/// First day of the transactions to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// All history: right after an approval, when banks show it.
    Beginning(NaiveDate),
    /// New transactions, with an overlap.
    Lately(NaiveDate),
}

impl Since {
    pub(super) const fn day(self) -> NaiveDate {
        match self {
            Self::Beginning(day) | Self::Lately(day) => day,
        }
    }

    /// The days that a bank always shows.
    pub(super) fn recent(today: NaiveDate) -> Self {
        Self::Lately(back(today, RECENT - 1))
    }
}

impl<A: Recognised, T: Dated + Clone> AccountSnapshot<A, T> {
    /// First day to read of an account, which may be known from before.
    pub(super) fn since(known: Option<&Self>, today: NaiveDate) -> Since {
        let Some(known) = known else {
            return Since::Beginning(back(today, HISTORY));
        };
        let newest = known.booked.iter().filter_map(Dated::booked_on).max();
        let recent = Since::recent(today);
        match newest {
            Some(newest) => Since::Lately(back(newest, OVERLAP).max(recent.day()).min(today)),
            None => recent,
        }
    }

    /// All numbers that the bank has named so far.
    fn numbers(&self) -> AccountReference {
        let identity = self.details.identity();
        identity.numbers().clone().or(self.numbers.clone())
    }

    /// Merges the entries that were read since that day with the stored ones.
    pub(super) fn now(
        details: A,
        pending: Vec<T>,
        mut booked: Vec<T>,
        known: Option<&Self>,
        since: Since,
    ) -> Self {
        if let Some(known) = known {
            let before = |one: &&T| one.booked_on().is_some_and(|day| day < since.day());
            booked.extend(known.booked.iter().filter(before).cloned());
        }
        // Banks may have another order; within a day, theirs is kept.
        booked.sort_by_key(|one| Reverse(one.booked_on()));
        booked.truncate(MAX_TRANSACTIONS);
        let mut identity = details.identity();
        if let Some(known) = known {
            identity = identity.with_earlier_numbers(known.numbers());
        }
        Self {
            details,
            pending,
            booked,
            numbers: identity.numbers().clone(),
        }
    }

    pub(super) fn has_entries(&self) -> bool {
        !self.pending.is_empty() || !self.booked.is_empty()
    }

    /// Keeps the known transactions of an account whose transactions could not be read.
    pub(super) fn unread(details: A, known: Option<&Self>) -> Self {
        let (pending, booked) = known
            .map(|known| (known.pending.clone(), known.booked.clone()))
            .unwrap_or_default();
        Self::now(
            details,
            pending,
            booked,
            known,
            Since::Lately(NaiveDate::MIN),
        )
    }

    /// Keeps a known account that could not be read, under another consent without its
    /// `resourceId`.
    pub(super) fn kept(known: &Self, same_consent: bool) -> Self
    where
        A: Clone,
    {
        let mut kept = known.clone();
        if !same_consent {
            *kept.details.resource_id() = None;
        }
        kept
    }
}

/// For each account, its snapshot from before.
pub(super) fn recognised<'a, A: Recognised, T: Dated + Clone>(
    before: &'a [AccountSnapshot<A, T>],
    same_consent: bool,
    accounts: &[A],
) -> Vec<Option<&'a AccountSnapshot<A, T>>> {
    let known = before.iter().map(|held| KnownAccount {
        identity: held.details.identity().with_earlier_numbers(held.numbers()),
        same_consent,
        listed: true,
    });
    let known: Vec<KnownAccount> = known.collect();
    let given: Vec<Identity> = accounts.iter().map(Recognised::identity).collect();
    let found = match_accounts(&known, &given).into_iter();
    found.map(|place| before.get(place?)).collect()
}

fn back(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days)).unwrap_or(day)
}

#[cfg(test)]
mod tests {
    use shared_types::xs2a::money::{Amount, Currency};

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn booked(on: &str, cents: &str) -> Transaction {
        Transaction {
            booking_date: Some(day(on)),
            ..Transaction::of(Amount::parse(cents, Currency::EUR).unwrap())
        }
    }

    fn held(booked: Vec<Transaction>) -> PaymentAccount {
        AccountSnapshot {
            details: AccountDetails::of(Currency::EUR),
            pending: Vec::new(),
            booked,
            numbers: AccountReference::default(),
        }
    }

    #[test]
    fn under_a_new_consent_an_account_is_matched_by_its_number() {
        const ONE: &str = "DE02120300000000202051";
        const TWO: &str = "DE02500105170137075030";

        let account = |id: &str, iban: &str| AccountDetails {
            resource_id: Some(id.to_owned()),
            iban: iban.parse().ok(),
            ..AccountDetails::of(Currency::EUR)
        };
        let of = |id: &str, iban: &str| PaymentAccount {
            details: account(id, iban),
            ..held(vec![booked("2026-11-20", "3")])
        };
        let before = [of("1", ONE), of("2", TWO)];
        let now = [account("1", TWO), account("2", "")];
        for same_consent in [true, false] {
            let found = recognised(&before, same_consent, &now);
            assert!(found[0] == Some(&before[1]), "{same_consent}");
            assert!(found[1].is_none(), "{same_consent}");
        }
        assert!(recognised(&before, true, &[account("2", "")])[0] == Some(&before[1]));
        assert!(recognised(&before, false, &[account("2", "")])[0].is_none());
        // The stored account number is kept.
        let since = Since::recent(day("2026-11-24"));
        let unnamed =
            AccountSnapshot::now(account("1", ""), vec![], vec![], Some(&of("1", ONE)), since);
        let known = [AccountSnapshot::now(
            account("1", ""),
            vec![],
            vec![],
            Some(&unnamed),
            since,
        )];
        assert!(recognised(&known, true, &[account("1", TWO)])[0].is_none());
    }

    #[test]
    fn history_is_read_once_and_then_new_transactions() {
        let today = day("2026-11-24");
        let since = |known: Option<&PaymentAccount>| AccountSnapshot::since(known, today);
        assert_eq!(since(None), Since::Beginning(day("2024-11-24")));
        // The 90th day back, today counted: the last that needs no new approval.
        assert_eq!(Since::recent(today), Since::Lately(day("2026-08-27")));
        assert_eq!(since(Some(&held(vec![]))), Since::recent(today));
        let old = held(vec![booked("2026-01-01", "1")]);
        assert_eq!(since(Some(&old)), Since::recent(today));
        let fresh = held(vec![booked("2026-11-01", "1"), booked("2026-11-20", "1")]);
        assert_eq!(since(Some(&fresh)), Since::Lately(day("2026-11-13")));
        let ahead = held(vec![booked("2026-12-24", "1")]);
        assert_eq!(since(Some(&ahead)), Since::Lately(today));
    }

    #[test]
    fn new_transactions_replace_those_of_the_same_days() {
        let known = held(vec![
            booked("2026-11-20", "3"),
            booked("2026-11-14", "2"),
            booked("2026-11-10", "1"),
        ]);
        let now = AccountSnapshot::now(
            known.details.clone(),
            vec![booked("2026-11-24", "9")],
            vec![booked("2026-11-13", "2.5"), booked("2026-11-20", "3")],
            Some(&known),
            Since::Lately(day("2026-11-13")),
        );
        let told: Vec<String> = now
            .booked
            .iter()
            .map(|one| one.transaction_amount.value().to_string())
            .collect();
        assert_eq!(told, ["3", "2.5", "1"], "newest first, none twice");
        assert_eq!(now.pending.len(), 1);
        let many = vec![booked("2026-11-20", "1"); MAX_TRANSACTIONS + 5];
        let whole = AccountSnapshot::now(
            known.details,
            vec![],
            many,
            None,
            Since::recent(day("2026-11-24")),
        );
        assert_eq!(whole.booked.len(), MAX_TRANSACTIONS);
    }

    #[test]
    fn a_snapshot_decodes() {
        let snapshot = Snapshot {
            consent: None,
            payment: vec![held(vec![booked("2026-11-20", "3.10")])],
            cards: Vec::new(),
            partial: true,
        };
        let json = serde_json::to_vec(&snapshot).unwrap();
        assert!(Snapshot::read(&json).unwrap() == snapshot);
    }

    #[test]
    fn values_beyond_the_standard_decode() {
        let long = "x".repeat(71);
        let account = serde_json::json!({
            "currency": "EUR", "name": long, "product": long, "cashAccountType": "a type of its own",
            "balances": [{
                "balanceType": "CLBD", "balanceAmount": { "currency": "EUR", "amount": "1.00" },
            }],
        });
        let card = serde_json::json!({
            "currency": "EUR", "maskedPan": "x".repeat(40), "name": long,
        });
        let entry = serde_json::json!({
            "bookingDate": "2026-11-20", "creditorName": long,
            "transactionAmount": { "currency": "EUR", "amount": "1.00" },
        });
        let json = serde_json::to_vec(&serde_json::json!({
            "payment": [{ "details": account, "pending": [], "booked": [entry] }],
            "cards": [{ "details": card, "pending": [], "booked": [] }],
        }));
        let snapshot = Snapshot::read(&json.unwrap()).unwrap();
        let again = serde_json::to_vec(&snapshot).unwrap();
        assert!(Snapshot::read(&again).unwrap() == snapshot);
    }
}
