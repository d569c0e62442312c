//! Matching of accounts between an earlier account list and a new one.
//!
//! A `resourceId` names an account within one consent; in another consent a bank may use the same
//! id for another account. Account numbers name it everywhere. [`match_accounts`] goes by these
//! rules, the surest first:
//!
//! 1. the same number, and the same id in the same consent;
//! 2. the same number (see [`AccountReference::compare`]), if one account before and one now have
//!    it;
//! 3. the same id in the same consent, if no number contradicts it;
//! 4. without a number that decides (there is none, or only a masked card number): all else that
//!    the bank says of the account, if there is one such account before and one now.
//!
//! Whatever is left is a new account: two accounts are never taken for one.
//!
//! ```
//! use bank_client::identity::{Identity, KnownAccount, match_accounts};
//! use shared_types::xs2a::account::AccountDetails;
//! use shared_types::xs2a::money::Currency;
//!
//! let account = |id: &str, iban: &str| AccountDetails {
//!     resource_id: Some(id.to_owned()),
//!     iban: iban.parse().ok(),
//!     ..AccountDetails::of(Currency::EUR)
//! };
//! let before = KnownAccount {
//!     identity: Identity::of(&account("1", "DE02120300000000202051")),
//!     same_consent: false,
//!     listed: true,
//! };
//! let now = [
//!     Identity::of(&account("1", "DE02500105170137075030")),
//!     Identity::of(&account("2", "DE02120300000000202051")),
//! ];
//! assert_eq!(match_accounts(&[before], &now), [None, Some(0)]);
//! ```

use std::collections::HashMap;

use shared_types::xs2a::account::{AccountDetails, AccountReference, ReferenceMatch};
use shared_types::xs2a::card_account::CardAccountDetails;

/// Identity of an account: id, numbers and description.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    resource_id: Option<String>,
    numbers: AccountReference,
    /// All other properties of the account, as JSON.
    description: String,
}

/// An account of an earlier list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAccount {
    /// The identity by which it is recognised.
    pub identity: Identity,
    /// Whether its `resourceId` is of the consent of the new list.
    pub same_consent: bool,
    /// Whether it was on the last list.
    pub listed: bool,
}

impl Identity {
    /// That of a payment account.
    #[must_use]
    pub fn of(account: &AccountDetails) -> Self {
        let described = AccountDetails {
            resource_id: None,
            iban: None,
            bban: None,
            msisdn: None,
            status: None,
            balances: None,
            links: None,
            ..account.clone()
        };
        Self {
            resource_id: account.resource_id.clone(),
            numbers: account.reference(),
            // Details have a form in JSON; if they had none, they would be like no others.
            description: serde_json::to_string(&described).unwrap_or_default(),
        }
    }

    /// That of a card account.
    #[must_use]
    pub fn of_card(account: &CardAccountDetails) -> Self {
        let described = CardAccountDetails {
            resource_id: None,
            debit_accounting: None,
            status: None,
            credit_limit: None,
            balances: None,
            links: None,
            ..account.clone()
        };
        Self {
            resource_id: account.resource_id.clone(),
            numbers: account.reference(),
            description: serde_json::to_string(&described).unwrap_or_default(),
        }
    }

    /// With the numbers that were known before, where the bank names none of that kind any more.
    #[must_use]
    pub fn with_earlier_numbers(mut self, earlier: AccountReference) -> Self {
        self.numbers = self.numbers.or(earlier);
        self
    }

    /// Its numbers.
    #[must_use]
    pub const fn numbers(&self) -> &AccountReference {
        &self.numbers
    }

    /// Its `resourceId`.
    #[must_use]
    pub fn resource_id(&self) -> Option<&str> {
        self.resource_id.as_deref()
    }

    fn compare(&self, other: &Self) -> ReferenceMatch {
        self.numbers.compare(&other.numbers)
    }

    /// Keys under which accounts with the same number are found.
    fn keys(&self) -> Vec<String> {
        let AccountReference {
            iban, bban, msisdn, ..
        } = &self.numbers;
        let iban = iban.as_ref().map(|iban| format!("iban {iban}"));
        let bban = bban.as_ref().map(|bban| format!("bban {}", bban.as_str()));
        let msisdn = msisdn
            .as_ref()
            .map(|msisdn| format!("msisdn {}", msisdn.as_str()));
        [iban, bban, msisdn].into_iter().flatten().collect()
    }
}

// It is account data.
partial_debug!(Identity {});

/// For each account of a new list, which of the known ones it is: its place among them. Each is at
/// most one, and the rules are those of the [module](self).
#[must_use]
pub fn match_accounts(known: &[KnownAccount], given: &[Identity]) -> Vec<Option<usize>> {
    let mut pairs = Pairs {
        known,
        given,
        found: vec![None; given.len()],
        taken: vec![false; known.len()],
    };
    pairs.by_resource(|compared| compared == ReferenceMatch::Same);
    pairs.by_number();
    pairs.by_resource(|compared| compared != ReferenceMatch::Different);
    pairs.by_description();
    pairs.found
}

/// The places in the index under one of that account's numbers that are meant, in order.
fn places(
    account: &Identity,
    index: &HashMap<String, Vec<usize>>,
    is_meant: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let keys = account.keys();
    let found = keys.iter().filter_map(|key| index.get(key)).flatten();
    let mut found: Vec<usize> = found.copied().filter(|place| is_meant(*place)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

struct Pairs<'a> {
    known: &'a [KnownAccount],
    given: &'a [Identity],
    found: Vec<Option<usize>>,
    taken: Vec<bool>,
}

impl Pairs<'_> {
    fn known(&self, place: usize) -> Option<&Identity> {
        self.known.get(place).map(|known| &known.identity)
    }

    fn is_open(&self, given: usize) -> bool {
        self.found.get(given).is_some_and(Option::is_none)
    }

    fn is_free(&self, known: usize) -> bool {
        self.taken.get(known).is_some_and(|taken| !taken)
    }

    fn pair(&mut self, known: usize, given: usize) {
        if let (Some(taken), Some(found)) = (self.taken.get_mut(known), self.found.get_mut(given)) {
            *taken = true;
            *found = Some(known);
        }
    }

    fn by_resource(&mut self, agrees: impl Fn(ReferenceMatch) -> bool) {
        let of_consent = self.known.iter().enumerate();
        let of_consent = of_consent.filter(|(_, known)| known.same_consent);
        let places: HashMap<&str, usize> = of_consent
            .filter_map(|(place, known)| Some((known.identity.resource_id()?, place)))
            .collect();
        for (place, account) in self.given.iter().enumerate() {
            let known = account.resource_id().and_then(|id| places.get(id).copied());
            if let Some(known) = known
                && self.is_open(place)
                && self.is_free(known)
                && self
                    .known(known)
                    .is_some_and(|before| agrees(before.compare(account)))
            {
                self.pair(known, place);
            }
        }
    }

    fn by_number(&mut self) {
        let known = index(self.known.iter().map(|known| known.identity.keys()));
        let given = index(self.given.iter().map(Identity::keys));
        for (place, account) in self.given.iter().enumerate() {
            if !self.is_open(place) {
                continue;
            }
            let candidates = self.same(account, &known);
            // Of accounts that have one number, one that was left off the lists before is not
            // meant.
            let is_listed =
                |known: &usize| self.known.get(*known).is_some_and(|known| known.listed);
            let listed: Vec<usize> = candidates.iter().copied().filter(is_listed).collect();
            let candidates = if listed.is_empty() {
                candidates
            } else {
                listed
            };
            if let [only] = *candidates
                && self
                    .known(only)
                    .is_some_and(|before| self.rivals(before, &given) == 1)
            {
                self.pair(only, place);
            }
        }
    }

    /// The known accounts that have that account's number.
    fn same(&self, account: &Identity, index: &HashMap<String, Vec<usize>>) -> Vec<usize> {
        places(account, index, |known| {
            let before = self.known(known).filter(|_| self.is_free(known));
            before.is_some_and(|before| before.compare(account) == ReferenceMatch::Same)
        })
    }

    /// The number of accounts in the new list with that known account's number.
    fn rivals(&self, before: &Identity, index: &HashMap<String, Vec<usize>>) -> usize {
        let same = places(before, index, |given| {
            let account = self.given.get(given).filter(|_| self.is_open(given));
            account.is_some_and(|account| before.compare(account) == ReferenceMatch::Same)
        });
        same.len()
    }

    /// Accounts that are recognised already count as well here: that one of several has been found
    /// makes nothing certain of the others.
    fn by_description(&mut self) {
        let described = |identity: &Identity| vec![identity.description.clone()];
        let known = index(self.known.iter().map(|known| described(&known.identity)));
        let given = index(self.given.iter().map(described));
        let none = Vec::new();
        for (place, account) in self.given.iter().enumerate() {
            if !self.is_open(place) {
                continue;
            }
            let may_be =
                |one: &Identity, other: &Identity| one.compare(other) != ReferenceMatch::Different;
            let candidates = known.get(&account.description).unwrap_or(&none).iter();
            let mut candidates = candidates
                .filter_map(|known| Some((*known, self.known(*known)?)))
                .filter(|(_, before)| may_be(before, account));
            let (Some((only, before)), None) = (candidates.next(), candidates.next()) else {
                continue;
            };
            let rivals = given.get(&account.description).unwrap_or(&none).iter();
            let rivals = rivals
                .filter_map(|given| self.given.get(*given))
                .filter(|account| may_be(before, account));
            let is_alone = rivals.take(2).count() == 1;
            let without = !before.numbers.has_number() && !account.numbers.has_number();
            let is_sure = without || before.compare(account) != ReferenceMatch::Unknown;
            if is_alone && is_sure && self.is_free(only) {
                self.pair(only, place);
            }
        }
    }
}

fn index(keys: impl Iterator<Item = Vec<String>>) -> HashMap<String, Vec<usize>> {
    let mut index: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, keys) in keys.enumerate() {
        for key in keys {
            index.entry(key).or_default().push(place);
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared_types::xs2a::money::Currency;
    use shared_types::xs2a::text::Text;

    use super::*;

    const IBANS: [&str; 3] = [
        "DE02120300000000202051",
        "DE02500105170137075030",
        "DE88100900001234567892",
    ];

    fn account(id: &str, iban: Option<usize>, name: &str, currency: &str) -> Identity {
        Identity::of(&AccountDetails {
            resource_id: Some(id.to_owned()),
            iban: iban.map(|number| IBANS[number].parse().unwrap()),
            name: Some(Text::cut(name)),
            ..AccountDetails::of(currency.parse().unwrap())
        })
    }

    fn card(id: &str, pan: &str, owner: &str) -> Identity {
        Identity::of_card(&CardAccountDetails {
            resource_id: Some(id.to_owned()),
            owner_name: Some(Text::cut(owner)),
            ..CardAccountDetails::of(Text::cut(pan), Currency::EUR)
        })
    }

    fn before(same_consent: bool, accounts: &[Identity]) -> Vec<KnownAccount> {
        let known = |identity: &Identity| KnownAccount {
            identity: identity.clone(),
            same_consent,
            listed: true,
        };
        accounts.iter().map(known).collect()
    }

    fn current(id: &str, iban: usize) -> Identity {
        account(id, Some(iban), "Current", "EUR")
    }

    #[test]
    fn an_id_means_nothing_in_another_consent() {
        let known = before(false, &[current("1", 0), current("2", 1)]);
        assert_eq!(match_accounts(&known, &[current("1", 1)]), [Some(1)]);
        assert_eq!(match_accounts(&known, &[current("1", 2)]), [None]);
        let swapped = [current("1", 1), current("2", 0)];
        assert_eq!(match_accounts(&known, &swapped), [Some(1), Some(0)]);
        // Nor against its number in the same one.
        let known = before(true, &[current("1", 0), current("2", 1)]);
        assert_eq!(match_accounts(&known, &swapped), [Some(1), Some(0)]);
        assert_eq!(match_accounts(&known, &[current("1", 2)]), [None]);
    }

    #[test]
    fn within_a_consent_the_id_is_enough_where_no_number_contradicts() {
        let plain = |id: &str| account(id, None, "Current", "EUR");
        let known = before(true, &[plain("1"), plain("2")]);
        assert_eq!(
            match_accounts(&known, &[plain("2"), plain("3"), plain("1")]),
            [Some(1), None, Some(0)]
        );
        let known = before(true, &[current("1", 0)]);
        let renamed = account("1", None, "Daily", "EUR");
        assert_eq!(match_accounts(&known, &[renamed]), [Some(0)]);
        // The number decides first: the other one has only the id.
        let both = [plain("1"), current("2", 0)];
        assert_eq!(match_accounts(&known, &both), [None, Some(0)]);
        let dollars = account("1", Some(0), "Current", "USD");
        assert_eq!(match_accounts(&known, &[dollars]), [None]);
    }

    #[test]
    fn sub_accounts_and_accounts_of_one_number_are_not_taken_for_one_another() {
        let euros = current("1", 0);
        let dollars = account("2", Some(0), "Current", "USD");
        let known = before(false, &[euros, dollars]);
        let turned = [
            account("1", Some(0), "Current", "USD"),
            account("2", Some(0), "Current", "EUR"),
        ];
        assert_eq!(match_accounts(&known, &turned), [Some(1), Some(0)]);

        let twins = [current("1", 0), current("2", 0)];
        let known = before(false, &twins);
        assert_eq!(match_accounts(&known, &twins), [None, None]);
        assert_eq!(match_accounts(&known, &[current("1", 0)]), [None]);
        assert_eq!(
            match_accounts(&before(true, &twins), &twins),
            [Some(0), Some(1)]
        );
        // Their other properties may differ.
        let named = |one: &str, other: &str| {
            [
                account(one, Some(0), "Current", "EUR"),
                account(other, Some(0), "Pocket", "EUR"),
            ]
        };
        let known = before(false, &named("1", "2"));
        assert_eq!(match_accounts(&known, &named("2", "1")), [Some(0), Some(1)]);
        // One that has gone before is not the one that is meant.
        let mut known = before(false, &twins);
        known[0].listed = false;
        assert_eq!(match_accounts(&known, &[current("9", 0)]), [Some(1)]);
    }

    #[test]
    fn without_a_number_there_must_be_one_before_and_one_now() {
        let plain = |id: &str| account(id, None, "Account", "EUR");
        let known = before(false, &[plain("1")]);
        assert_eq!(match_accounts(&known, &[plain("7")]), [Some(0)]);
        assert_eq!(
            match_accounts(&known, &[plain("1"), plain("2")]),
            [None, None]
        );
        let other = account("1", None, "Savings", "EUR");
        assert_eq!(match_accounts(&known, &[other]), [None]);
        let dollars = account("1", None, "Account", "USD");
        assert_eq!(match_accounts(&known, &[dollars]), [None]);
        // With a number, or with no number any more, it may be another one.
        let numbered = account("1", Some(0), "Account", "EUR");
        assert_eq!(
            match_accounts(&known, std::slice::from_ref(&numbered)),
            [None]
        );
        assert_eq!(
            match_accounts(&before(false, &[numbered]), &[plain("1")]),
            [None]
        );
        // One that has gone may be meant as well.
        let mut two = before(false, &[plain("1"), plain("2")]);
        two[0].listed = false;
        assert_eq!(match_accounts(&two, &[plain("7")]), [None]);
        // One is matched by its id; the other is not.
        two[1].same_consent = true;
        assert_eq!(
            match_accounts(&two, &[plain("2"), plain("3")]),
            [Some(1), None]
        );
    }

    #[test]
    fn masked_card_numbers_are_shared_by_cards() {
        let known = before(false, &[card("1", "1234*5678", "Anna")]);
        assert_eq!(
            match_accounts(&known, &[card("9", "1234*5678", "Anna")]),
            [Some(0)]
        );
        assert_eq!(
            match_accounts(&known, &[card("1", "1234*5678", "Ben")]),
            [None]
        );
        assert_eq!(
            match_accounts(&known, &[card("1", "1234*9999", "Anna")]),
            [None]
        );
        let two = |one: &str, other: &str| {
            [
                card(one, "1234*5678", "Anna"),
                card(other, "1234*5678", "Anna"),
            ]
        };
        let known = before(false, &two("1", "2"));
        assert_eq!(match_accounts(&known, &two("2", "1")), [None, None]);
        let known = before(true, &two("1", "2"));
        assert_eq!(match_accounts(&known, &two("2", "1")), [Some(1), Some(0)]);
    }

    prop_compose! {
        fn any_account()(id in 0..4u8, iban in prop::option::of(0..3usize), name in 0..2u8, dollars in any::<bool>()) -> Identity {
            let currency = if dollars { "USD" } else { "EUR" };
            account(&id.to_string(), iban, &name.to_string(), currency)
        }
    }

    proptest! {
        /// Whatever banks list: nothing is taken twice, and nothing against its number or currency.
        #[test]
        fn no_two_accounts_become_one(
            known in prop::collection::vec((any_account(), any::<bool>(), any::<bool>()), 0..6),
            given in prop::collection::vec(any_account(), 0..6),
        ) {
            let known: Vec<KnownAccount> = known
                .into_iter()
                .map(|(identity, same_consent, listed)| KnownAccount { identity, same_consent, listed })
                .collect();
            let found = match_accounts(&known, &given);
            prop_assert_eq!(found.len(), given.len());
            let mut places: Vec<usize> = found.iter().flatten().copied().collect();
            let count = places.len();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), count);
            for (place, account) in found.iter().zip(&given) {
                let Some(place) = place else { continue };
                let before = &known[*place];
                prop_assert_ne!(before.identity.compare(account), ReferenceMatch::Different);
                let by_id = before.same_consent && before.identity.resource_id == account.resource_id;
                let by_number = before.identity.compare(account) == ReferenceMatch::Same;
                let by_description = before.identity.description == account.description;
                prop_assert!(by_id || by_number || by_description);
            }
        }
    }
}
