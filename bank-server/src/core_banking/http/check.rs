//! Contract test-kit: calls every operation of a core and reports each breach of
//! `docs/core-banking-api.md`. An entry that arrives meanwhile can look like one.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{Days, NaiveDate};
use futures::future::join_all;
use serde_json::{Map, Value};
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::transaction::BookingStatus;
use uuid::Uuid;

use super::HttpCore;
use crate::core_banking::{CoreBanking, CoreBankingError, Listed, Page, Result, TransactionQuery};
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
    /// Its breaches, each kind once with its first example; none if it holds.
    pub breaches: Vec<String>,
    /// Reason for which it was not checked.
    pub skipped: Option<&'static str>,
}

/// Checks a core, with the accounts of these customers. Fails with the cause if the core does not
/// answer: then nothing is known of it.
pub async fn check(
    core: &HttpCore,
    customers: &[PsuId],
    today: NaiveDate,
) -> Result<Vec<CheckOutcome>, String> {
    let mut checking = Checking {
        core,
        range: (
            today.checked_sub_days(DAYS).unwrap_or(today),
            today.checked_add_days(Days::new(366)).unwrap_or(today),
        ),
        outcomes: Vec::new(),
    };
    checking.all(customers).await?;
    Ok(checking.outcomes)
}

struct Checking<'a> {
    core: &'a HttpCore,
    range: (NaiveDate, NaiveDate),
    outcomes: Vec<CheckOutcome>,
}

/// Breaches of one promise.
#[derive(Default)]
struct Findings {
    /// Number of things that were looked at.
    checked: usize,
    breaches: Vec<Breach>,
}

/// A breach, without the positions that differ from answer to answer, and its first example.
struct Breach {
    kind: String,
    first: String,
    count: usize,
}

impl Findings {
    /// Adds a breach found at a place, such as an account.
    fn add(&mut self, place: &str, breach: &str) {
        let kind = without_positions(breach);
        match self.breaches.iter_mut().find(|known| known.kind == kind) {
            Some(known) => known.count += 1,
            None => self.breaches.push(Breach {
                kind,
                first: format!("{place}: {breach}"),
                count: 1,
            }),
        }
    }

    /// Adds a failed call.
    fn fail(&mut self, place: &str, error: &CoreBankingError) {
        self.add(place, &cause(error));
    }

    fn texts(self) -> Vec<String> {
        let text = |Breach { first, count, .. }| match count {
            1 => first,
            count => format!("{first} ({count} times; this is the first)"),
        };
        self.breaches.into_iter().map(text).collect()
    }
}

/// The cause of an error, which names operation and field.
fn cause(error: &CoreBankingError) -> String {
    match error {
        CoreBankingError::Unavailable(cause) | CoreBankingError::Failed(cause) => cause.to_string(),
    }
}

/// A breach without line, column and indexes.
fn without_positions(breach: &str) -> String {
    let breach = breach.split(" at line ").next().unwrap_or_default();
    let mut is_index = false;
    let keep = |letter: &char| {
        is_index = *letter == '[' || is_index && *letter != ']';
        !(is_index && letter.is_ascii_digit())
    };
    breach.chars().filter(keep).collect()
}

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

    fn title(&self) -> String {
        title(&self.account)
    }

    fn texts(&self) -> Vec<&str> {
        self.entries.iter().map(|(_, entry)| &*entry.json).collect()
    }

    fn values(&self) -> impl Iterator<Item = Value> {
        let parse = |entry: &(bool, Listed)| serde_json::from_str(&entry.1.json).ok();
        self.entries.iter().filter_map(parse)
    }
}

/// Names of an account in a breach: kind and id.
fn title(account: &Account) -> String {
    let kind = match account.kind {
        AccountKind::Payment(_) => "payment account",
        AccountKind::Card(_) => "card account",
    };
    format!("{kind} {}", account.id.0)
}

const NO_ACCOUNT: &str = "no account could be read";
const NO_ENTRY: &str = "no entry could be read";

impl Checking<'_> {
    async fn all(&mut self, customers: &[PsuId]) -> Result<(), String> {
        const READY: &str = "the core is ready, and speaks version 1";
        const STRANGERS: &str = "callers without a certificate are refused";
        match self.core.ready().await {
            Ok(()) => self.record(READY, Vec::new()),
            Err(CoreBankingError::Failed(breach)) => {
                self.record(READY, vec![breach.to_string()]);
                return Ok(());
            }
            Err(error) => return Err(cause(&error)),
        }
        match self.core.service.accepts_strangers().await {
            None => self.skip(STRANGERS, "plain HTTP"),
            Some(accepts) => {
                let breach = "a caller without a client certificate received an answer";
                let breaches = accepts.then(|| breach.to_owned()).into_iter().collect();
                self.record(STRANGERS, breaches);
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
            return Ok(());
        }
        let accounts = self.accounts(customers).await;
        self.balances(&accounts).await;
        let listings = self.listings(accounts).await;
        self.sequences(&listings).await;
        self.pages(&listings).await;
        self.filters(&listings).await;
        self.amounts(&listings);
        self.single_transactions(&listings).await;
        self.deltas(&listings).await;
        self.text_search(&listings).await;
        self.concurrency(&listings).await;
        Ok(())
    }

    /// Records a check; one that had nothing to look at was not made, for that reason.
    fn conclude(&mut self, check: &'static str, findings: Findings, nothing: &'static str) {
        if findings.checked == 0 && findings.breaches.is_empty() {
            self.skip(check, nothing);
        } else {
            self.record(check, findings.texts());
        }
    }

    fn record(&mut self, check: &'static str, breaches: Vec<String>) {
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
    async fn unknown(&self) -> Vec<String> {
        let customer = PsuId(format!("no-such-customer-{}", Uuid::nil()));
        let account = AccountId(format!("no-such-account-{}", Uuid::nil()));
        let ids = std::slice::from_ref(&account);
        let query = self.query(BookingStatus::Both, 10);
        let mut breaches = Vec::new();
        let mut expect = |operation: &str, outcome: Result<bool>, promise: &str| match outcome {
            Ok(true) => {}
            Ok(false) => breaches.push(format!("{operation}: {promise}")),
            Err(CoreBankingError::Unavailable(cause)) => breaches.push(cause.to_string()),
            Err(error) => breaches.push(format!("{}, but {promise}", cause(&error))),
        };
        let accounts = self.core.accounts_of(&customer).await;
        expect(
            "customer-accounts",
            accounts.map(|accounts| accounts.is_empty()),
            "the accounts of a customer that does not exist are an empty list: \
             {\"customerId\": …, \"accounts\": []}",
        );
        let accounts = self.core.accounts(ids).await;
        expect(
            "accounts",
            accounts.map(|accounts| accounts.is_empty()),
            "an account that does not exist is absent: {\"accounts\": []}",
        );
        let balances = self.core.balances(ids).await;
        expect(
            "balances",
            balances.map(|each| each.iter().all(Vec::is_empty)),
            "the balances of an account that does not exist are an empty list: \
             {\"balances\": [{\"accountId\": …, \"balances\": []}]}",
        );
        let empty = |page: Page<Listed>| page.pending.is_empty() && page.booked.is_empty();
        let no_entries = "the entries of an account that does not exist are an empty list: \
                          {\"accountId\": …, \"entries\": []}";
        let page = self.core.transactions_as_json(&account, &query).await;
        expect("transactions", page.map(empty), no_entries);
        let page = self.core.card_transactions_as_json(&account, &query).await;
        expect("card-transactions", page.map(empty), no_entries);
        let transaction = self.core.transaction(&account, "1").await;
        expect(
            "transaction",
            transaction.map(|transaction| transaction.is_none()),
            "a transaction that does not exist is absent: {\"accountId\": …}",
        );
        if self.core.has_deltas() {
            let arrival = self.core.arrival_of(&account, "1").await;
            expect(
                "arrival",
                arrival.map(|arrival| arrival.is_none()),
                "the arrival of an entry that does not exist is absent: {\"accountId\": …}",
            );
        }
        breaches
    }

    async fn accounts(&mut self, customers: &[PsuId]) -> Vec<Account> {
        let mut findings = Findings::default();
        let mut accounts: Vec<Account> = Vec::new();
        for customer in customers {
            let place = format!("customer {}", customer.0);
            findings.checked += 1;
            let first = match self.core.accounts_of(customer).await {
                Ok(first) => first,
                Err(error) => {
                    findings.fail(&place, &error);
                    continue;
                }
            };
            match self.core.accounts_of(customer).await {
                Ok(second) if first == second => {}
                Ok(_) => findings.add(&place, "two answers differ, or are ordered otherwise"),
                Err(error) => findings.fail(&place, &error),
            }
            if first.is_empty() {
                findings.add(&place, "has no accounts; name a customer who has some");
            }
            let known: HashSet<_> = accounts.iter().map(|account| account.id.clone()).collect();
            let new = first.into_iter();
            accounts.extend(new.filter(|account| !known.contains(&account.id)));
        }
        accounts.truncate(MAX_ACCOUNTS);
        self.conclude("the accounts of a customer", findings, NO_ACCOUNT);
        let mut findings = Findings {
            checked: accounts.len(),
            ..Findings::default()
        };
        if !accounts.is_empty() {
            let reversed = accounts.iter().rev();
            let ids: Vec<AccountId> = reversed.map(|account| account.id.clone()).collect();
            match self.core.accounts(&ids).await {
                Ok(by_id) => {
                    for account in &accounts {
                        match by_id.iter().find(|found| found.id == account.id) {
                            Some(found) if found == account => {}
                            Some(_) => findings
                                .add(&title(account), "accounts and customer-accounts differ"),
                            None => findings.add(&title(account), "accounts lacks it"),
                        }
                    }
                }
                Err(error) => findings.fail("all of them", &error),
            }
        }
        self.conclude("the same accounts by their ids", findings, NO_ACCOUNT);
        accounts
    }

    async fn balances(&mut self, accounts: &[Account]) {
        const CHECK: &str = "one list of balances for each account, in its currency";
        if accounts.is_empty() {
            return self.skip(CHECK, NO_ACCOUNT);
        }
        let ids: Vec<AccountId> = accounts.iter().map(|account| account.id.clone()).collect();
        let mut findings = Findings::default();
        match self.core.balances(&ids).await {
            Err(error) => findings.fail("all accounts", &error),
            Ok(balances) => {
                for (account, balances) in accounts.iter().zip(balances) {
                    findings.checked += 1;
                    let own = currency(account);
                    let is_own = |found: Currency| own.is_none_or(|own| own == found);
                    let mut found = balances.iter().map(|one| one.balance_amount.currency());
                    if !found.all(is_own) {
                        findings.add(&title(account), "a balance in another currency");
                    }
                }
            }
        }
        self.conclude(CHECK, findings, NO_ACCOUNT);
    }

    async fn listings(&mut self, accounts: Vec<Account>) -> Vec<Listing> {
        let mut listings = Vec::new();
        let mut findings = Findings::default();
        for account in accounts {
            findings.checked += 1;
            let query = self.query(BookingStatus::Both, super::MAX_ENTRIES);
            match self.walk(&account, &query).await {
                Ok(entries) => listings.push(Listing {
                    account,
                    is_complete: entries.len() < MAX_CHECKED_ENTRIES,
                    entries,
                }),
                Err(error) => findings.fail(&title(&account), &error),
            }
        }
        let has_entry = listings.iter().any(|listing| !listing.entries.is_empty());
        if findings.breaches.is_empty() && !listings.is_empty() && !has_entry {
            findings.add(
                "all accounts",
                "none has an entry in the last two years; name a customer with entries",
            );
        }
        self.conclude(
            "the entries of each account, in order",
            findings,
            NO_ACCOUNT,
        );
        listings
    }

    async fn sequences(&mut self, listings: &[Listing]) {
        let mut findings = Findings::default();
        for listing in listings {
            let mut query = self.query(BookingStatus::Both, super::MAX_ENTRIES);
            let mut known: HashMap<i64, NaiveDate> = HashMap::new();
            loop {
                let page = match self.core.places(&listing.account, &query).await {
                    Ok(page) => page,
                    Err(error) => {
                        findings.fail(&listing.title(), &error);
                        break;
                    }
                };
                for entry in page.entries {
                    findings.checked += 1;
                    if let Some(other) = known.insert(entry.sequence, entry.date) {
                        let place = format!("{}, {} and {other}", listing.title(), entry.date);
                        findings.add(&place, "two entries have the same `sequence`");
                    }
                }
                query.after = page.next;
                if page.next.is_none() || known.len() >= MAX_CHECKED_ENTRIES {
                    break;
                }
            }
        }
        let check = "no two entries of an account have the same sequence";
        self.conclude(check, findings, NO_ENTRY);
    }

    async fn pages(&mut self, listings: &[Listing]) {
        let mut findings = Findings::default();
        for listing in listings
            .iter()
            .filter(|listing| !listing.entries.is_empty())
        {
            findings.checked += 1;
            let texts = listing.texts();
            // Pages that end within a day, between pending and booked entries, and with the list.
            'limits: for limit in [1, 2, 7, texts.len().min(super::MAX_ENTRIES)] {
                let place = format!("{}, pages of {limit}", listing.title());
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
                            if listing.is_complete && paged.len() >= texts.len() {
                                findings.add(&place, "`next` is there, and no entry follows");
                                break;
                            }
                        }
                        Err(error) => {
                            findings.fail(&place, &error);
                            continue 'limits;
                        }
                    }
                }
                let is_short = query.after.is_none() && paged.len() < texts.len();
                if is_short || !texts.iter().zip(&paged).all(|(text, paged)| text == paged) {
                    findings.add(&place, "are not the list in parts");
                }
            }
        }
        self.conclude("pages together are the list", findings, NO_ENTRY);
    }

    async fn filters(&mut self, listings: &[Listing]) {
        let mut findings = Findings::default();
        for listing in listings.iter().filter(|listing| listing.is_complete) {
            for (status, booked) in [
                (BookingStatus::Booked, true),
                (BookingStatus::Pending, false),
            ] {
                let query = self.query(status, super::MAX_ENTRIES);
                let expected = listing.entries.iter().filter(|(entry, _)| *entry == booked);
                match self.walk(&listing.account, &query).await {
                    Ok(found) if found.iter().eq(expected) => {}
                    Ok(_) => findings.add(
                        &listing.title(),
                        &format!("bookingStatus {} is not that part of both", status.as_str()),
                    ),
                    Err(error) => findings.fail(&listing.title(), &error),
                }
            }
            let dates: Vec<NaiveDate> = listing.values().filter_map(|value| date(&value)).collect();
            let (Some(first), Some(last)) = (dates.iter().min(), dates.iter().max()) else {
                continue;
            };
            findings.checked += 1;
            for day in [*first, *last] {
                let place = format!("{}, {day}", listing.title());
                let query = TransactionQuery {
                    from: day,
                    to: day,
                    ..self.query(BookingStatus::Booked, super::MAX_ENTRIES)
                };
                let expected = dates.iter().filter(|date| **date == day).count();
                match self.walk(&listing.account, &query).await {
                    Ok(found) if found.len() == expected => {}
                    Ok(found) => findings.add(
                        &place,
                        &format!(
                            "dateFrom and dateTo on this day give {} booked entries, and it has \
                             {expected}",
                            found.len()
                        ),
                    ),
                    Err(error) => findings.fail(&place, &error),
                }
            }
        }
        let check = "booking status and dates select entries";
        self.conclude(check, findings, NO_ENTRY);
    }

    fn amounts(&mut self, listings: &[Listing]) {
        let mut findings = Findings::default();
        for listing in listings {
            let own = currency(&listing.account).map(|own| own.as_str().to_owned());
            for ((_, entry), value) in listing.entries.iter().zip(listing.values()) {
                findings.checked += 1;
                let found = value.pointer("/transactionAmount/currency");
                if own.is_some() && found.and_then(|found| found.as_str()) != own.as_deref() {
                    let place = listing.title() + &transaction(entry);
                    findings.add(&place, "an amount in another currency");
                }
            }
        }
        self.conclude("amounts are in the account's currency", findings, NO_ENTRY);
    }

    async fn single_transactions(&mut self, listings: &[Listing]) {
        let mut findings = Findings::default();
        for listing in payment_accounts(listings) {
            for (_, entry) in listing.entries.iter().take(MAX_LOOK_UPS) {
                let Some(id) = &entry.id else {
                    continue;
                };
                findings.checked += 1;
                let place = listing.title() + &transaction(entry);
                let found = self.core.transaction(listing.id(), id).await;
                let found =
                    found.map(|found| found.and_then(|found| Listed::of(None, &found).ok()));
                match found {
                    Ok(Some(found)) if found.json == entry.json => {}
                    Ok(Some(found)) => findings.add(
                        &place,
                        &format!(
                            "is not the one in the list: {}",
                            differing(&found.json, &entry.json)
                        ),
                    ),
                    Ok(None) => findings.add(&place, "is in the list, and not found by its id"),
                    Err(error) => findings.fail(&place, &error),
                }
            }
        }
        let check = "a transaction by its id is that of the list";
        let nothing = "no entry of a payment account has a transactionId";
        self.conclude(check, findings, nothing);
    }

    async fn deltas(&mut self, listings: &[Listing]) {
        const CHECK: &str = "delta reports have what arrived later";
        if !self.core.has_deltas() {
            self.skip(CHECK, "core_banking.deltas is false");
            return;
        }
        let mut findings = Findings::default();
        for listing in listings.iter().filter(|listing| listing.is_complete) {
            let name = listing.title();
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
                    findings.fail(&name, &error);
                    continue;
                }
            };
            let booked = listing.entries.iter().filter(|(booked, _)| *booked).count();
            findings.checked += booked;
            if all.len() != booked {
                findings.add(&name, "a delta report from the start lacks entries");
            }
            let key = match listing.account.kind {
                AccountKind::Payment(_) => "entryReference",
                AccountKind::Card(_) => "cardTransactionId",
            };
            let references: Vec<Option<String>> = all
                .iter()
                .map(|(_, entry)| {
                    let value: Value = serde_json::from_str(&entry.json).ok()?;
                    Some(value.get(key)?.as_str()?.to_owned())
                })
                .collect();
            for reference in references.iter().flatten().take(MAX_LOOK_UPS) {
                let place = format!("{name}, {key} {reference}");
                // Of several entries, the earliest: the last in the order of arrival.
                let named = |other: &Option<String>| other.as_ref() == Some(reference);
                let index = references.iter().rposition(named).unwrap_or_default();
                let later = match self.core.arrival_of(listing.id(), reference).await {
                    Ok(Some(arrived)) => self.walk(&listing.account, &since(arrived.place)).await,
                    Ok(None) => {
                        findings.add(&place, "arrival does not know a booked entry");
                        continue;
                    }
                    Err(error) => Err(error),
                };
                match later {
                    Ok(later) if all.iter().take(index).eq(&later) => {}
                    Ok(_) => {
                        let breach = "a delta report is not what arrived after its entry";
                        findings.add(&place, breach);
                    }
                    Err(error) => findings.fail(&place, &error),
                }
            }
        }
        self.conclude(CHECK, findings, NO_ENTRY);
    }

    async fn text_search(&mut self, listings: &[Listing]) {
        const CHECK: &str = "text search finds names and purposes in any case";
        if !self.core.text_search {
            self.skip(CHECK, "core_banking.text_search is false");
            return;
        }
        let mut findings = Findings::default();
        for listing in payment_accounts(listings) {
            let name = listing.title();
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
            findings.checked += 1;
            let mut numbers = Vec::new();
            for text in [text.clone(), text.to_uppercase(), text.to_lowercase()] {
                match self.find(listing.id(), &text).await {
                    Ok(number) => numbers.push(number),
                    Err(error) => findings.fail(&name, &error),
                }
            }
            if numbers.contains(&0) || numbers.windows(2).any(|pair| pair.first() != pair.last()) {
                findings.add(&name, "a text of an entry is not found in any case");
            }
            let unlikely = format!("no-such-text-{}", Uuid::nil());
            match self.find(listing.id(), &unlikely).await {
                Ok(0) => {}
                Ok(_) => findings.add(&name, "a text that no entry has is found"),
                Err(error) => findings.fail(&name, &error),
            }
        }
        let nothing = "no entry of a payment account has a name or purpose";
        self.conclude(CHECK, findings, nothing);
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

    /// Different queries: answers that are mixed up differ.
    async fn concurrency(&mut self, listings: &[Listing]) {
        let mut findings = Findings::default();
        let mut expected = Vec::new();
        let listings = listings
            .iter()
            .filter(|listing| !listing.entries.is_empty());
        for (listing, limit) in listings.cycle().zip(1..=16) {
            let query = self.query(BookingStatus::Both, limit);
            // The checks before have reported what fails by itself.
            if let Ok(page) = self.page(&listing.account, &query).await {
                expected.push((&listing.account, query, page));
            }
        }
        findings.checked = expected.len();
        let queries = expected.iter();
        let pages = join_all(queries.map(|(account, query, _)| self.page(account, query))).await;
        for ((account, query, expected), page) in expected.iter().zip(pages) {
            let place = format!("{}, limit {}", title(account), query.limit);
            match page {
                Ok(page) if page == *expected => {}
                Ok(_) => findings.add(&place, "the answer is another one than before"),
                Err(error) => findings.fail(&place, &error),
            }
        }
        let check = "sixteen different queries at a time are answered as one by one";
        self.conclude(check, findings, NO_ENTRY);
    }
}

/// Names an entry in a breach, after its account, if it has an id.
fn transaction(entry: &Listed) -> String {
    let id = entry.id.as_ref();
    id.map_or_else(String::new, |id| format!(", transaction {id}"))
}

/// The names of the fields in which two entries differ.
fn differing(one: &str, other: &str) -> String {
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (one, other) = (parse(one), parse(other));
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = names
        .into_iter()
        .filter(|name| one.get(*name) != other.get(*name));
    differing.cloned().collect::<Vec<_>>().join(", ")
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

fn date(value: &Value) -> Option<NaiveDate> {
    value.get("bookingDate")?.as_str()?.parse().ok()
}
