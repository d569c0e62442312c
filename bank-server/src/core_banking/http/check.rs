//! Contract test-kit: calls every operation of a core and reports each breach of
//! `docs/core-banking-api.md`. An entry that arrives meanwhile can look like one.

use std::collections::HashSet;

use chrono::{Days, NaiveDate};
use futures::future::join_all;
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::transaction::BookingStatus;
use uuid::Uuid;

use super::HttpCore;
use crate::core_banking::{CoreBanking, Listed, Page, Result, TransactionQuery};
use crate::domain::{Account, AccountId, AccountKind, Arrival, PsuId};

/// Accounts that are looked at, of all customers together.
const MAX_ACCOUNTS: usize = 20;

/// Entries of an account that are looked at.
const MAX_CHECKED_ENTRIES: usize = 2000;

/// Entries that are looked up one by one.
const MAX_LOOK_UPS: usize = 20;

/// Days before today that are looked at.
const DAYS: Days = Days::new(730);

/// Outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutcome {
    /// The promise of the contract.
    pub check: &'static str,
    /// Its breaches; none if it holds.
    pub breaches: Vec<String>,
    /// Reason for which it was not checked.
    pub skipped: Option<&'static str>,
}

/// Checks a core, with the accounts of these customers.
pub async fn check(core: &HttpCore, customers: &[PsuId], today: NaiveDate) -> Vec<CheckOutcome> {
    let mut checking = Checking {
        core,
        range: (
            today.checked_sub_days(DAYS).unwrap_or(today),
            today.checked_add_days(Days::new(366)).unwrap_or(today),
        ),
        outcomes: Vec::new(),
    };
    checking.all(customers).await;
    checking.outcomes
}

struct Checking<'a> {
    core: &'a HttpCore,
    range: (NaiveDate, NaiveDate),
    outcomes: Vec<CheckOutcome>,
}

/// Breaches of one promise.
type Breaches = Vec<String>;

/// All entries of an account, in the order of the core.
struct Listing {
    account: Account,
    /// Whether these are all entries, and not the first [`MAX_CHECKED_ENTRIES`].
    is_complete: bool,
    /// Whether booked, and the entry.
    entries: Vec<(bool, Listed)>,
}

impl Listing {
    fn id(&self) -> &AccountId {
        &self.account.id
    }

    fn texts(&self) -> Vec<&str> {
        self.entries.iter().map(|(_, entry)| &*entry.json).collect()
    }

    fn values(&self) -> impl Iterator<Item = serde_json::Value> {
        let parse = |entry: &(bool, Listed)| serde_json::from_str(&entry.1.json).ok();
        self.entries.iter().filter_map(parse)
    }
}

impl Checking<'_> {
    async fn all(&mut self, customers: &[PsuId]) {
        let ready = self.core.ready().await.err();
        let is_down = ready.is_some();
        let breaches = ready.iter().map(ToString::to_string).collect();
        self.record("the core is ready, and speaks version 1", breaches);
        if is_down {
            return;
        }
        match self.core.service.accepts_strangers().await {
            None => self.skip("callers without a certificate are refused", "plain HTTP"),
            Some(accepts) => {
                let breach = "a caller without a client certificate received an answer";
                let breaches = accepts.then(|| breach.to_owned()).into_iter().collect();
                self.record("callers without a certificate are refused", breaches);
            }
        }
        let breaches = self.unknown().await;
        self.record(
            "customers and accounts that do not exist are absent",
            breaches,
        );
        let breaches = self.core.unknown_properties().await;
        self.record("unknown properties of a request are ignored", breaches);
        if customers.is_empty() {
            self.skip(
                "accounts, balances and transactions",
                "no customer was named: --customer ID",
            );
            return;
        }
        let accounts = self.accounts(customers).await;
        self.balances(&accounts).await;
        let listings = self.listings(accounts).await;
        self.pages(&listings).await;
        self.filters(&listings).await;
        self.amounts(&listings);
        self.single_transactions(&listings).await;
        self.deltas(&listings).await;
        self.text_search(&listings).await;
        self.concurrency(&listings).await;
    }

    fn record(&mut self, check: &'static str, breaches: Breaches) {
        self.outcomes.push(CheckOutcome {
            check,
            breaches,
            skipped: None,
        });
    }

    fn skip(&mut self, check: &'static str, reason: &'static str) {
        self.outcomes.push(CheckOutcome {
            check,
            breaches: Vec::new(),
            skipped: Some(reason),
        });
    }

    fn query(&self, status: BookingStatus, limit: usize) -> TransactionQuery {
        TransactionQuery {
            from: self.range.0,
            to: self.range.1,
            status,
            since: None,
            after: None,
            limit,
        }
    }

    async fn page(&self, account: &Account, query: &TransactionQuery) -> Result<Page<Listed>> {
        match account.kind {
            AccountKind::Payment(_) => self.core.transactions_as_json(&account.id, query).await,
            AccountKind::Card(_) => {
                self.core
                    .card_transactions_as_json(&account.id, query)
                    .await
            }
        }
    }

    /// All entries of a query, page by page. Pages come to an end, since each starts after the last
    /// entry of the one before.
    async fn walk(
        &self,
        account: &Account,
        query: &TransactionQuery,
    ) -> Result<Vec<(bool, Listed)>> {
        let mut query = query.clone();
        let mut entries = Vec::new();
        loop {
            let page = self.page(account, &query).await?;
            entries.extend(page.pending.into_iter().map(|entry| (false, entry)));
            entries.extend(page.booked.into_iter().map(|entry| (true, entry)));
            query.after = page.next;
            if page.next.is_none() || entries.len() >= MAX_CHECKED_ENTRIES {
                return Ok(entries);
            }
        }
    }

    /// Names that no core has.
    async fn unknown(&self) -> Breaches {
        let customer = PsuId(format!("no-such-customer-{}", Uuid::nil()));
        let account = AccountId(format!("no-such-account-{}", Uuid::nil()));
        let ids = std::slice::from_ref(&account);
        let query = self.query(BookingStatus::Both, 10);
        let mut breaches = Breaches::new();
        let mut expect = |what: &str, outcome: Result<bool>| match outcome {
            Ok(true) => {}
            Ok(false) => breaches.push(format!("{what}: the answer is not empty")),
            Err(error) => breaches.push(error.to_string()),
        };
        let accounts = self.core.accounts_of(&customer).await;
        expect(
            "customer-accounts",
            accounts.map(|accounts| accounts.is_empty()),
        );
        let accounts = self.core.accounts(ids).await;
        expect("accounts", accounts.map(|accounts| accounts.is_empty()));
        let balances = self.core.balances(ids).await;
        expect(
            "balances",
            balances.map(|each| each.iter().all(Vec::is_empty)),
        );
        let empty = |page: Page<Listed>| page.pending.is_empty() && page.booked.is_empty();
        let page = self.core.transactions_as_json(&account, &query).await;
        expect("transactions", page.map(empty));
        let page = self.core.card_transactions_as_json(&account, &query).await;
        expect("card-transactions", page.map(empty));
        let transaction = self.core.transaction(&account, "1").await;
        expect(
            "transaction",
            transaction.map(|transaction| transaction.is_none()),
        );
        if self.core.has_deltas() {
            let arrival = self.core.arrival_of(&account, "1").await;
            expect("arrival", arrival.map(|arrival| arrival.is_none()));
        }
        breaches
    }

    async fn accounts(&mut self, customers: &[PsuId]) -> Vec<Account> {
        let mut breaches = Breaches::new();
        let mut accounts: Vec<Account> = Vec::new();
        for customer in customers {
            let PsuId(id) = customer;
            let twice = (
                self.core.accounts_of(customer).await,
                self.core.accounts_of(customer).await,
            );
            match twice {
                (Ok(first), Ok(second)) => {
                    if first != second {
                        breaches.push(format!(
                            "{id}: two answers differ, or are ordered otherwise"
                        ));
                    }
                    if first.is_empty() {
                        breaches.push(format!("{id}: has no accounts"));
                    }
                    let known: HashSet<_> =
                        accounts.iter().map(|account| account.id.clone()).collect();
                    let new = first.into_iter();
                    accounts.extend(new.filter(|account| !known.contains(&account.id)));
                }
                (first, second) => {
                    let errors = first.err().into_iter().chain(second.err());
                    breaches.extend(errors.map(|error| format!("{id}: {error}")));
                }
            }
        }
        accounts.truncate(MAX_ACCOUNTS);
        self.record("the accounts of a customer", breaches);
        let ids: Vec<AccountId> = accounts
            .iter()
            .rev()
            .map(|found| found.id.clone())
            .collect();
        let mut breaches = Breaches::new();
        match self.core.accounts(&ids).await {
            Ok(by_id) if by_id.iter().eq(accounts.iter().rev()) => {}
            Ok(_) => breaches.push("accounts and customer-accounts differ".to_owned()),
            Err(error) => breaches.push(error.to_string()),
        }
        self.record("the same accounts by their ids", breaches);
        accounts
    }

    async fn balances(&mut self, accounts: &[Account]) {
        let ids: Vec<AccountId> = accounts.iter().map(|account| account.id.clone()).collect();
        let breaches = match self.core.balances(&ids).await {
            Err(error) => vec![error.to_string()],
            Ok(balances) => accounts
                .iter()
                .zip(balances)
                .filter(|(account, balances)| {
                    let currency = currency(account);
                    balances.iter().any(|balance| {
                        currency.is_some_and(|own| balance.balance_amount.currency() != own)
                    })
                })
                .map(|(account, _)| format!("{}: a balance in another currency", account.id.0))
                .collect(),
        };
        self.record(
            "one list of balances for each account, in its currency",
            breaches,
        );
    }

    async fn listings(&mut self, accounts: Vec<Account>) -> Vec<Listing> {
        let mut listings = Vec::new();
        let mut breaches = Breaches::new();
        for account in accounts {
            let query = self.query(BookingStatus::Both, super::MAX_ENTRIES);
            match self.walk(&account, &query).await {
                Ok(entries) => listings.push(Listing {
                    account,
                    is_complete: entries.len() < MAX_CHECKED_ENTRIES,
                    entries,
                }),
                Err(error) => breaches.push(format!("{}: {error}", account.id.0)),
            }
        }
        if breaches.is_empty() && listings.iter().all(|listing| listing.entries.is_empty()) {
            breaches.push("no account has an entry in the last two years".to_owned());
        }
        self.record("the entries of each account, in order", breaches);
        listings
    }

    async fn pages(&mut self, listings: &[Listing]) {
        let mut breaches = Breaches::new();
        for listing in listings {
            // Pages that end within a day, and between pending and booked entries.
            for limit in [1, 2, 7] {
                let mut query = self.query(BookingStatus::Both, limit);
                let mut paged: Vec<String> = Vec::new();
                while paged.len() < limit * 30 {
                    match self.page(&listing.account, &query).await {
                        Ok(page) => {
                            let entries = page.pending.into_iter().chain(page.booked);
                            paged.extend(entries.map(|entry| entry.json.to_string()));
                            query.after = page.next;
                            if page.next.is_none() {
                                break;
                            }
                        }
                        Err(error) => {
                            breaches.push(format!("{}: {error}", listing.id().0));
                            break;
                        }
                    }
                }
                let texts = listing.texts();
                let is_short = query.after.is_none() && paged.len() < texts.len();
                if is_short || !texts.iter().zip(&paged).all(|(text, paged)| text == paged) {
                    breaches.push(format!(
                        "{}: pages of {limit} are not the list in parts",
                        listing.id().0
                    ));
                }
            }
        }
        self.record("pages together are the list", breaches);
    }

    async fn filters(&mut self, listings: &[Listing]) {
        let mut breaches = Breaches::new();
        for listing in listings.iter().filter(|listing| listing.is_complete) {
            let name = &listing.id().0;
            for (status, booked) in [
                (BookingStatus::Booked, true),
                (BookingStatus::Pending, false),
            ] {
                let query = self.query(status, super::MAX_ENTRIES);
                let expected = listing.entries.iter().filter(|(entry, _)| *entry == booked);
                match self.walk(&listing.account, &query).await {
                    Ok(found) if found.iter().eq(expected) => {}
                    Ok(_) => breaches.push(format!(
                        "{name}: bookingStatus {} is not that part of both",
                        status.as_str()
                    )),
                    Err(error) => breaches.push(format!("{name}: {error}")),
                }
            }
            let dates: Vec<NaiveDate> = listing.values().filter_map(|value| date(&value)).collect();
            let (Some(first), Some(last)) = (dates.iter().min(), dates.iter().max()) else {
                continue;
            };
            for day in [*first, *last] {
                let query = TransactionQuery {
                    from: day,
                    to: day,
                    ..self.query(BookingStatus::Booked, super::MAX_ENTRIES)
                };
                let expected = dates.iter().filter(|date| **date == day).count();
                match self.walk(&listing.account, &query).await {
                    Ok(found) if found.len() == expected => {}
                    Ok(_) => breaches.push(format!(
                        "{name}: dateFrom and dateTo on one day do not give the entries of it"
                    )),
                    Err(error) => breaches.push(format!("{name}: {error}")),
                }
            }
        }
        self.record("booking status and dates select entries", breaches);
    }

    fn amounts(&mut self, listings: &[Listing]) {
        let mut breaches = Breaches::new();
        for listing in listings {
            let own = currency(&listing.account).map(|own| own.as_str().to_owned());
            let is_other = |value: &serde_json::Value| {
                let amount = value.pointer("/transactionAmount/currency");
                own.is_some() && amount.and_then(|found| found.as_str()) != own.as_deref()
            };
            if listing.values().any(|value| is_other(&value)) {
                breaches.push(format!("{}: an amount in another currency", listing.id().0));
            }
        }
        self.record("amounts are in the account's currency", breaches);
    }

    async fn single_transactions(&mut self, listings: &[Listing]) {
        let mut breaches = Breaches::new();
        for listing in payment_accounts(listings) {
            for (_, entry) in listing.entries.iter().take(MAX_LOOK_UPS) {
                let Some(id) = &entry.id else {
                    continue;
                };
                let found = self.core.transaction(listing.id(), id).await;
                let found =
                    found.map(|found| found.and_then(|found| Listed::of(None, &found).ok()));
                match found {
                    Ok(Some(found)) if found.json == entry.json => {}
                    Ok(Some(_)) => breaches.push(format!(
                        "{}: a transaction is not the one in the list",
                        listing.id().0
                    )),
                    Ok(None) => breaches.push(format!(
                        "{}: a transaction of the list is not found by its id",
                        listing.id().0
                    )),
                    Err(error) => breaches.push(format!("{}: {error}", listing.id().0)),
                }
            }
        }
        self.record("a transaction by its id is that of the list", breaches);
    }

    async fn deltas(&mut self, listings: &[Listing]) {
        const CHECK: &str = "delta reports have what arrived later";
        if !self.core.has_deltas() {
            self.skip(CHECK, "core_banking.deltas is false");
            return;
        }
        let mut breaches = Breaches::new();
        for listing in listings.iter().filter(|listing| listing.is_complete) {
            let name = &listing.id().0;
            let since = |place| TransactionQuery {
                since: Some(place),
                ..self.query(BookingStatus::Booked, super::MAX_ENTRIES)
            };
            let all = match self
                .walk(&listing.account, &since(Arrival::BEFORE_ALL))
                .await
            {
                Ok(all) => all,
                Err(error) => {
                    breaches.push(format!("{name}: {error}"));
                    continue;
                }
            };
            let booked = listing.entries.iter().filter(|(booked, _)| *booked).count();
            if all.len() != booked {
                breaches.push(format!(
                    "{name}: a delta report from the start lacks entries"
                ));
            }
            let key = match listing.account.kind {
                AccountKind::Payment(_) => "entryReference",
                AccountKind::Card(_) => "cardTransactionId",
            };
            let references: Vec<Option<String>> = all
                .iter()
                .map(|(_, entry)| {
                    let value: serde_json::Value = serde_json::from_str(&entry.json).ok()?;
                    Some(value.get(key)?.as_str()?.to_owned())
                })
                .collect();
            for reference in references.iter().flatten().take(MAX_LOOK_UPS) {
                // Of several entries, the earliest: the last in the order of arrival.
                let named = |other: &Option<String>| other.as_ref() == Some(reference);
                let index = references.iter().rposition(named).unwrap_or_default();
                let later = match self.core.arrival_of(listing.id(), reference).await {
                    Ok(Some(arrived)) => self.walk(&listing.account, &since(arrived.place)).await,
                    Ok(None) => {
                        breaches.push(format!("{name}: arrival does not know a booked entry"));
                        continue;
                    }
                    Err(error) => Err(error),
                };
                match later {
                    Ok(later) if all.iter().take(index).eq(&later) => {}
                    Ok(_) => breaches.push(format!(
                        "{name}: a delta report is not what arrived after its entry"
                    )),
                    Err(error) => breaches.push(format!("{name}: {error}")),
                }
            }
        }
        self.record(CHECK, breaches);
    }

    async fn text_search(&mut self, listings: &[Listing]) {
        const CHECK: &str = "text search finds names and purposes in any case";
        if !self.core.text_search {
            self.skip(CHECK, "core_banking.text_search is false");
            return;
        }
        let mut breaches = Breaches::new();
        for listing in payment_accounts(listings) {
            let name = &listing.id().0;
            let text = listing.values().find_map(|value| {
                let keys = [
                    "creditorName",
                    "debtorName",
                    "remittanceInformationUnstructured",
                ];
                let texts = keys.iter().filter_map(|key| value.get(key)?.as_str());
                let mut words = texts.flat_map(str::split_whitespace);
                // Upper case of other letters is not one to one ("ß").
                let word = words.find(|word| {
                    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_alphabetic())
                });
                word.map(str::to_owned)
            });
            let Some(text) = text else {
                continue;
            };
            let mut numbers = Vec::new();
            for text in [text.clone(), text.to_uppercase(), text.to_lowercase()] {
                match self.find(listing.id(), &text).await {
                    Ok(number) => numbers.push(number),
                    Err(error) => breaches.push(format!("{name}: {error}")),
                }
            }
            if numbers.contains(&0) || numbers.windows(2).any(|pair| pair.first() != pair.last()) {
                breaches.push(format!(
                    "{name}: a text of an entry is not found in any case"
                ));
            }
            let unlikely = format!("no-such-text-{}", Uuid::nil());
            match self.find(listing.id(), &unlikely).await {
                Ok(0) => {}
                Ok(_) => breaches.push(format!("{name}: a text that no entry has is found")),
                Err(error) => breaches.push(format!("{name}: {error}")),
            }
        }
        self.record(CHECK, breaches);
    }

    /// Number of entries that a text search finds, on all its pages.
    async fn find(&self, account: &AccountId, text: &str) -> Result<usize> {
        let mut query = self.query(BookingStatus::Both, super::MAX_ENTRIES);
        let mut found = 0;
        loop {
            let page = self.core.find_transactions(account, &query, text).await?;
            found += page.pending.len() + page.booked.len();
            query.after = page.next;
            if page.next.is_none() || found >= MAX_CHECKED_ENTRIES {
                return Ok(found);
            }
        }
    }

    async fn concurrency(&mut self, listings: &[Listing]) {
        let Some(listing) = listings.first() else {
            return;
        };
        let query = self.query(BookingStatus::Both, super::MAX_ENTRIES);
        let pages = join_all((0..16).map(|_| self.page(&listing.account, &query))).await;
        let mut breaches: Breaches = Vec::new();
        let mut expected: Option<Page<Listed>> = None;
        for page in pages {
            match page {
                Err(error) => breaches.push(error.to_string()),
                Ok(page) => match &expected {
                    None => expected = Some(page),
                    Some(expected) if *expected == page => {}
                    Some(_) => breaches.push("queries at the same time differ".to_owned()),
                },
            }
        }
        self.record("sixteen queries at a time are answered alike", breaches);
    }
}

fn payment_accounts(listings: &[Listing]) -> impl Iterator<Item = &Listing> {
    let is_payment = |listing: &&Listing| matches!(listing.account.kind, AccountKind::Payment(_));
    listings.iter().filter(is_payment)
}

/// The currency of an account; `None` for one with several (`XXX`).
fn currency(account: &Account) -> Option<Currency> {
    let currency = match &account.kind {
        AccountKind::Payment(details) => details.currency,
        AccountKind::Card(details) => details.currency,
    };
    (currency.as_str() != "XXX").then_some(currency)
}

fn date(value: &serde_json::Value) -> Option<NaiveDate> {
    value.get("bookingDate")?.as_str()?.parse().ok()
}
