//! Validation of a core's answers: what was asked for, of the right account, in order, once.
//!
//! No text repeats a value of an answer, which may be account data.

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;
use shared_types::decode::{Fault, Manner, Step, part};
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::card_account::CardAccountDetails;

use super::wire::{AccountBalances, CoreAccount, Entry, EntryDetails, EntryPage, Kind};
use crate::bank_service::{Breach, matches_query};
use crate::core_banking::{Page, PageKey, TransactionQuery};
use crate::domain::{Account, AccountId, AccountKind, Arrival};

/// Most digits of a masked card number: the first eight and the last four. Longer runs than the
/// first eight and two more are no masked number.
const MAX_PAN_DIGITS: usize = 12;
const MAX_PAN_RUN: usize = 10;

/// The card number is masked: a whole one never reaches a TPP. Spaces and hyphens group digits.
fn check_masked(number: &str) -> Result<(), Breach> {
    let letters = number.bytes().filter(|byte| !matches!(byte, b' ' | b'-'));
    let (mut digits, mut run, mut longest) = (0_usize, 0_usize, 0_usize);
    for letter in letters {
        run = if letter.is_ascii_digit() { run + 1 } else { 0 };
        digits += usize::from(letter.is_ascii_digit());
        longest = longest.max(run);
    }
    if digits > MAX_PAN_DIGITS || longest > MAX_PAN_RUN {
        return Err(format!(
            "is not masked: at most {MAX_PAN_DIGITS} digits, and {MAX_PAN_RUN} in a row"
        ));
    }
    Ok(())
}

/// Accounts, each once, in the standard's form.
pub(super) fn accounts(answered: Vec<CoreAccount>) -> Result<Vec<Account>, Breach> {
    let mut ids = HashSet::with_capacity(answered.len());
    let mut accounts = Vec::with_capacity(answered.len());
    for (index, answered) in answered.into_iter().enumerate() {
        let at = |breach: Breach| format!("accounts[{index}]{breach}");
        if !ids.insert(answered.account_id.clone()) {
            return Err(at(".accountId: comes twice".to_owned()));
        }
        accounts.push(account(answered).map_err(at)?);
    }
    Ok(accounts)
}

fn account(answered: CoreAccount) -> Result<Account, Breach> {
    let AccountId(id) = &answered.account_id;
    let is_unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
    if id.is_empty() || id.len() > 70 || !id.bytes().all(is_unreserved) {
        return Err(".accountId: is not 1 to 70 of A-Z a-z 0-9 . _ ~ -".to_owned());
    }
    if answered.approvals_needed == 0 {
        return Err(".approvalsNeeded: is 0".to_owned());
    }
    let kind = match answered.kind {
        Kind::Payment => {
            let details: AccountDetails = details(&answered.details)?;
            if details
                .iban
                .as_ref()
                .is_some_and(|iban| !iban.check_digits_hold())
            {
                return Err(".details.iban: the check digits are wrong".to_owned());
            }
            if details.iban.is_none() && details.bban.is_none() {
                return Err(".details: has neither iban nor bban".to_owned());
            }
            AccountKind::Payment(Box::new(details))
        }
        Kind::Card => {
            let details: CardAccountDetails = details(&answered.details)?;
            check_masked(details.masked_pan.as_str())
                .map_err(|breach| format!(".details.maskedPan: {breach}"))?;
            AccountKind::Card(Box::new(details))
        }
    };
    Ok(Account {
        id: answered.account_id,
        kind,
        approvals_needed: answered.approvals_needed,
    })
}

fn details<D: DeserializeOwned>(details: &serde_json::Value) -> Result<D, Breach> {
    part(details, Manner::Exact).map_err(|Fault { steps, reason, .. }| {
        let path = steps.iter().map(|step| match step {
            Step::Name(name) => format!(".{name}"),
            Step::Index(index) => format!("[{index}]"),
        });
        format!(".details{}: {reason}", path.collect::<String>())
    })
}

/// Those of the ids that exist, in the order of `ids`.
pub(super) fn accounts_of_ids(
    answered: Vec<CoreAccount>,
    ids: &[AccountId],
) -> Result<Vec<Account>, Breach> {
    let accounts = accounts(answered)?.into_iter();
    let mut accounts: HashMap<AccountId, Account> = accounts
        .map(|account| (account.id.clone(), account))
        .collect();
    let ordered: Vec<Account> = ids.iter().filter_map(|id| accounts.remove(id)).collect();
    if accounts.is_empty() {
        Ok(ordered)
    } else {
        Err("accounts: has one that is not in the query".to_owned())
    }
}

/// The balances of each of the ids, in that order.
pub(super) fn balances(
    answered: Vec<AccountBalances>,
    ids: &[AccountId],
) -> Result<Vec<AccountBalances>, Breach> {
    let mut by_id = HashMap::with_capacity(answered.len());
    for (index, answered) in answered.into_iter().enumerate() {
        if by_id
            .insert(answered.account_id.clone(), answered)
            .is_some()
        {
            return Err(format!("balances[{index}].accountId: comes twice"));
        }
    }
    let ordered: Option<Vec<_>> = ids.iter().map(|id| by_id.remove(id)).collect();
    match ordered {
        None => Err("balances: lacks an account of the query".to_owned()),
        Some(_) if !by_id.is_empty() => {
            Err("balances: has an account that is not in the query".to_owned())
        }
        Some(ordered) => Ok(ordered),
    }
}

/// A page of entries. `is_search`: a page of a text search, which may have skipped entries.
pub(super) fn page<D: EntryDetails>(
    answered: EntryPage<D>,
    account: &AccountId,
    query: &TransactionQuery,
    is_search: bool,
) -> Result<Page<D>, Breach> {
    matches_query("accountId", &answered.account_id, account)?;
    if answered.entries.len() > query.limit {
        return Err("entries: more than `limit`".to_owned());
    }
    let mut last = query.after;
    for (index, entry) in answered.entries.iter().enumerate() {
        let at = |breach: &str| format!("entries[{index}]{breach}");
        is_within(entry, query).map_err(|breach| at(&breach))?;
        if last.is_some_and(|last| !query.comes_after(&last, &entry.place())) {
            let previous = if index == 0 {
                "`after`"
            } else {
                "the entry before"
            };
            return Err(at(&format!(": does not come after {previous}")));
        }
        last = Some(entry.place());
    }
    let mut ids = HashSet::with_capacity(answered.entries.len());
    let mut each = answered.entries.iter().enumerate();
    if let Some((index, _)) =
        each.find(|(_, entry)| entry.details.id().is_some_and(|id| !ids.insert(id)))
    {
        return Err(format!("entries[{index}].details: its id comes twice"));
    }
    let next = answered.next;
    check_next(next, last, query, is_search)?;
    let newest = answered.entries.iter().find(|entry| entry.booked);
    let newest = newest.filter(|_| query.since.is_some());
    let newest = newest.map(|entry| Arrival(entry.sequence));
    let mut page = Page {
        pending: Vec::new(),
        booked: Vec::new(),
        next,
        newest,
    };
    for entry in answered.entries {
        if entry.booked {
            page.booked.push(entry.details);
        } else {
            page.pending.push(entry.details);
        }
    }
    Ok(page)
}

/// The entry is one of the query.
fn is_within<D: EntryDetails>(entry: &Entry<D>, query: &TransactionQuery) -> Result<(), Breach> {
    let breach = |breach: &str| Err(breach.to_owned());
    let (wanted, status) = if entry.booked {
        (query.status.wants_booked(), "booked")
    } else {
        (query.status.wants_pending(), "pending")
    };
    if !wanted {
        return Err(format!(".booked: {status} entries were not asked for"));
    }
    if entry.date < query.from {
        return breach(".date: before `dateFrom`");
    }
    match query.since {
        Some(Arrival(since)) if entry.booked && entry.sequence <= since => {
            return breach(".sequence: did not arrive after `arrivedAfter`");
        }
        Some(_) if entry.booked => {}
        _ if entry.date > query.to => return breach(".date: after `dateTo`"),
        _ => {}
    }
    if let Some(number) = entry.details.masked_pan() {
        check_masked(number).map_err(|breach| format!(".details.maskedPAN: {breach}"))?;
    }
    let booking_date = entry.details.booking_date();
    match (entry.booked, booking_date) {
        (true, date) if date != Some(entry.date) => breach(".details.bookingDate: is not `date`"),
        (false, Some(_)) => breach(".details.bookingDate: a pending entry has none"),
        _ => Ok(()),
    }
}

/// The next page starts after the last entry of this one, so that pages come to an end.
fn check_next(
    next: Option<PageKey>,
    last: Option<PageKey>,
    query: &TransactionQuery,
    is_search: bool,
) -> Result<(), Breach> {
    let Some(next) = next else {
        return Ok(());
    };
    let breach = |breach: &str| Err(format!("next: {breach}"));
    let advances = |from: &PageKey| query.comes_after(from, &next);
    match last {
        Some(last) if last == next && query.after != Some(next) => Ok(()),
        Some(last) if is_search && advances(&last) => Ok(()),
        None if is_search => Ok(()),
        Some(_) if is_search => breach("is not beyond the last entry"),
        _ => breach("is not the place of the last entry"),
    }
}
