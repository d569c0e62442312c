//! Reader of all data that a consent covers at another bank.

use std::net::IpAddr;
use std::ptr;

use bank_client::{Bank, Entries, Entry, Error, Response, TransactionFilter};
use chrono::NaiveDate;
use futures::stream::{StreamExt as _, TryStreamExt as _, iter};
use shared_types::pki::digest::sha256;
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::card_account::{CardAccountDetails, CardTransaction};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::transaction::Transaction;

use super::snapshot::{
    AccountSnapshot, Dated, MAX_TRANSACTIONS, Recognised, Since, Snapshot, recognised,
};

/// Accounts that are read at a time.
const AT_A_TIME: usize = 4;

/// Accounts that are read of each kind.
const MAX_ACCOUNTS: usize = 100;

/// Parameters of a read.
pub(super) struct Fetch<'a> {
    pub(super) bank: &'a Bank,
    pub(super) consent: &'a str,
    /// Address of the customer's device, if the customer is present.
    pub(super) psu: Option<IpAddr>,
    /// Snapshot from before.
    pub(super) known: Option<&'a Snapshot>,
    pub(super) today: NaiveDate,
}

/// Reads accounts, balances and transactions: all of them the first time, then the new ones. Data
/// that cannot be read stays as it was. Fails only if nothing could be read.
pub(super) async fn fetch(parameters: &Fetch<'_>) -> Result<Snapshot, Error> {
    let under = parameters.bank.with_consent(parameters.consent);
    let under = match parameters.psu {
        Some(psu) => under.psu_ip_address(psu),
        None => under,
    };
    let consent = Some(sha256(parameters.consent.as_bytes()));
    let known = parameters.known;
    let reading = Reading {
        today: parameters.today,
        same_consent: known.is_some_and(|known| known.consent == consent),
    };
    let (payment, cards) = futures::join!(under.accounts(true), under.card_accounts(true));
    let (payment, cards) = match (payment, cards) {
        (Err(error), Err(_)) => return Err(error),
        lists => lists,
    };
    let payment = reading.accounts(
        payment.map(List::from),
        known.map_or(&[][..], |known| &known.payment),
        |id, filter| under.transactions(id, filter),
    );
    let cards = reading.accounts(
        cards.map(List::from),
        known.map_or(&[][..], |known| &known.cards),
        |id, filter| under.card_transactions(id, filter),
    );
    let (payment, mut cards) = futures::join!(payment, cards);
    for card in &mut cards.accounts {
        // Some banks send it with the transactions alone.
        let said = card.details.resource_id.as_ref();
        let said = said.and_then(|id| under.debit_accounting(id));
        card.details.debit_accounting = card.details.debit_accounting.or(said);
    }
    together(consent, payment, cards)
}

/// Snapshot of both kinds of account. Fails if nothing was read.
fn together(
    consent: Option<String>,
    payment: Read<AccountDetails, Transaction>,
    cards: Read<CardAccountDetails, CardTransaction>,
) -> Result<Snapshot, Error> {
    let whole = payment.whole + cards.whole;
    match payment.error.or(cards.error) {
        Some(error) if whole == 0 => Err(error),
        _ => Ok(Snapshot {
            consent,
            payment: payment.accounts,
            cards: cards.accounts,
            partial: payment.partial || cards.partial,
        }),
    }
}

/// A list of accounts.
struct List<A> {
    accounts: Vec<A>,
    /// Whether some could not be read.
    left_out: bool,
}

impl<A> From<Response<Vec<A>>> for List<A> {
    fn from(list: Response<Vec<A>>) -> Self {
        Self {
            left_out: list.deviations.left_out() > 0,
            accounts: list.into_inner(),
        }
    }
}

/// The accounts of one kind.
struct Read<A, T> {
    accounts: Vec<AccountSnapshot<A, T>>,
    /// Accounts that were read.
    whole: usize,
    /// First error.
    error: Option<Error>,
    /// Whether data could not be read, or was refused although some is known.
    partial: bool,
}

/// One account after a read.
struct ReadAccount<A, T> {
    held: AccountSnapshot<A, T>,
    error: Option<Error>,
    partial: bool,
}

struct Reading {
    today: NaiveDate,
    /// Whether the known data was read under the same consent.
    same_consent: bool,
}

impl Reading {
    /// Reads the accounts of a list, some of which may be known from before.
    async fn accounts<A, T>(
        &self,
        list: Result<List<A>, Error>,
        before: &[AccountSnapshot<A, T>],
        read: impl Fn(&str, &TransactionFilter) -> Entries<Result<Entry<T>, Error>>,
    ) -> Read<A, T>
    where
        A: Recognised + Clone,
        T: Dated + Clone,
    {
        let List {
            mut accounts,
            left_out,
        } = match list {
            Ok(list) => list,
            Err(error) => return self.unlisted(error, before),
        };
        accounts.truncate(MAX_ACCOUNTS);
        let known = recognised(before, self.same_consent, &accounts);
        // The response does not identify which of the known accounts could not be read.
        let missing: Vec<_> = before
            .iter()
            .filter(|one| left_out && !known.iter().flatten().any(|known| ptr::eq(*known, *one)))
            .map(|one| AccountSnapshot::kept(one, self.same_consent))
            .collect();
        let read = accounts
            .into_iter()
            .zip(known)
            .map(|(details, before)| self.account(details, before, &read));
        let read: Vec<_> = iter(read).buffered(AT_A_TIME).collect().await;
        let mut all = Read {
            accounts: Vec::with_capacity(read.len() + missing.len()),
            whole: read.iter().filter(|one| one.error.is_none()).count(),
            error: None,
            partial: left_out,
        };
        for one in read {
            all.partial |= one.partial;
            all.error = all.error.or(one.error);
            all.accounts.push(one.held);
        }
        all.accounts.extend(missing);
        all
    }

    /// Result for a list that was not read, while the list of the other kind was.
    fn unlisted<A, T>(&self, error: Error, before: &[AccountSnapshot<A, T>]) -> Read<A, T>
    where
        A: Recognised + Clone,
        T: Dated + Clone,
    {
        // A bank without accounts of one kind may have no such resource, and a consent may not
        // cover it. Accounts that the same consent has covered before are still covered.
        let not_opened = error.is_kind_not_opened();
        let stays = !not_opened || self.same_consent;
        if !error.is_not_offered() {
            tracing::warn!(%error, "account list of another bank not read");
        }
        Read {
            accounts: before
                .iter()
                .filter(|_| stays)
                .map(|one| AccountSnapshot::kept(one, self.same_consent))
                .collect(),
            whole: 0,
            partial: !not_opened || stays && !before.is_empty(),
            error: (!error.is_not_offered()).then_some(error),
        }
    }

    /// Reads the transactions of one account.
    async fn account<A, T>(
        &self,
        mut details: A,
        before: Option<&AccountSnapshot<A, T>>,
        read: impl Fn(&str, &TransactionFilter) -> Entries<Result<Entry<T>, Error>>,
    ) -> ReadAccount<A, T>
    where
        A: Recognised,
        T: Dated + Clone,
    {
        let unread = |details, error: Option<Error>| ReadAccount {
            held: AccountSnapshot::unread(details, before),
            partial: error.is_some() || before.is_some_and(AccountSnapshot::has_entries),
            error,
        };
        let Some(id) = details.resource_id().clone() else {
            return unread(details, None);
        };
        let mut since = AccountSnapshot::since(before, self.today);
        let mut found = transactions(read(&id, &filter(since))).await;
        // Some banks show less than all, even right after an approval.
        let refused = |error: &Error| error.may_be_about_the_request();
        if matches!(since, Since::Beginning(_)) && found.as_ref().is_err_and(refused) {
            since = Since::recent(self.today);
            found = transactions(read(&id, &filter(since))).await;
        }
        match found {
            Ok(found) => ReadAccount {
                held: AccountSnapshot::now(details, found.pending, found.booked, before, since),
                error: None,
                partial: found.left_out,
            },
            // Banks leave links out; one that refuses as well does not open them.
            Err(error) if !links_transactions(details.links()) && refused(&error) => {
                unread(details, None)
            }
            Err(error) => {
                tracing::warn!(%error, "transactions at another bank not read");
                unread(details, Some(error))
            }
        }
    }
}

/// The transactions of one account.
struct Found<T> {
    pending: Vec<T>,
    booked: Vec<T>,
    /// Some could not be read.
    left_out: bool,
}

async fn transactions<T>(mut entries: Entries<Result<Entry<T>, Error>>) -> Result<Found<T>, Error> {
    let (mut pending, mut booked) = (Vec::new(), Vec::new());
    let mut first = entries.by_ref().take(2 * MAX_TRANSACTIONS);
    while let Some(entry) = first.try_next().await? {
        match entry {
            Entry::Pending(one) => pending.push(one),
            Entry::Booked(one) => booked.push(one),
        }
    }
    pending.truncate(MAX_TRANSACTIONS);
    Ok(Found {
        pending,
        booked,
        left_out: entries.deviations().left_out() > 0,
    })
}

fn filter(since: Since) -> TransactionFilter {
    TransactionFilter {
        page_size: Some(MAX_TRANSACTIONS),
        ..TransactionFilter::since(since.day())
    }
}

/// Whether an account that has links has one to its transactions.
fn links_transactions(links: Option<&Links>) -> bool {
    links.is_none_or(|links| links.get("transactions").is_some())
}

#[cfg(test)]
mod tests {
    use bank_client::ErrorKind;
    use futures::stream::StreamExt as _;
    use shared_types::xs2a::money::{Amount, Currency};
    use uuid::Uuid;

    use super::*;

    const TODAY: &str = "2026-11-24";

    fn error(status: u16, code: &str) -> Error {
        let message = serde_json::json!({ "category": "ERROR", "code": code });
        Error {
            bank: "Bank B".to_owned(),
            kind: ErrorKind::Refused {
                status,
                messages: vec![serde_json::from_value(message).unwrap()],
                request_id: Uuid::nil(),
                retry_after: None,
            },
        }
    }

    fn account(id: &str) -> AccountDetails {
        AccountDetails {
            resource_id: Some(id.to_owned()),
            ..AccountDetails::of(Currency::EUR)
        }
    }

    fn entry(cents: &str) -> Transaction {
        Transaction {
            booking_date: TODAY.parse().ok(),
            ..Transaction::of(Amount::parse(cents, Currency::EUR).unwrap())
        }
    }

    fn known(id: &str) -> AccountSnapshot<AccountDetails, Transaction> {
        let since = Since::recent(TODAY.parse().unwrap());
        AccountSnapshot::now(account(id), vec![], vec![entry("1.00")], None, since)
    }

    fn list(ids: &[&str], left_out: bool) -> List<AccountDetails> {
        List {
            accounts: ids.iter().copied().map(account).collect(),
            left_out,
        }
    }

    /// Of the accounts whose ids begin with an `r`, the bank refuses the transactions with that.
    async fn read(
        list: Result<List<AccountDetails>, Error>,
        before: &[AccountSnapshot<AccountDetails, Transaction>],
        same_consent: bool,
        refusal: &Error,
    ) -> Read<AccountDetails, Transaction> {
        let reading = Reading {
            today: TODAY.parse().unwrap(),
            same_consent,
        };
        let transactions = |id: &str, _: &TransactionFilter| {
            let one = if id.starts_with('r') {
                Err(refusal.clone())
            } else {
                Ok(Entry::Booked(entry("2.00")))
            };
            Entries::from(iter([one]).boxed())
        };
        reading.accounts(list, before, transactions).await
    }

    fn cards(error: Option<Error>) -> Read<CardAccountDetails, CardTransaction> {
        let reading = Reading {
            today: TODAY.parse().unwrap(),
            same_consent: true,
        };
        match error {
            Some(error) => reading.unlisted(error, &[]),
            None => Read {
                accounts: Vec::new(),
                whole: 0,
                error: None,
                partial: false,
            },
        }
    }

    fn booked(held: &AccountSnapshot<AccountDetails, Transaction>) -> Vec<String> {
        let amounts = held.booked.iter().map(|one| one.transaction_amount);
        amounts.map(|amount| amount.value().to_string()).collect()
    }

    #[tokio::test]
    async fn a_refused_card_list_keeps_the_payment_accounts() {
        let expired = error(401, "CONSENT_EXPIRED");
        for (refusal, partial) in [
            (error(401, "CONSENT_INVALID"), false),
            (error(403, "SERVICE_BLOCKED"), false),
            (error(422, "FORMAT_ERROR"), false),
            (error(404, "RESOURCE_UNKNOWN"), false),
            (error(503, "SERVICE_BLOCKED"), true),
            (error(401, "ACCESS_EXCEEDED"), true),
        ] {
            let payment = read(Ok(list(&["1"], false)), &[], true, &expired).await;
            let read = together(None, payment, cards(Some(refusal.clone())));
            let read = read.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(booked(&read.payment[0]), ["2.00"], "{refusal}");
            assert_eq!(read.partial, partial, "{refusal}");
        }
        // Nothing else was read: then it counts.
        let none = read(Ok(list(&[], false)), &[], true, &expired).await;
        let refusal = error(401, "CONSENT_INVALID");
        assert!(together(None, none, cards(Some(refusal))).is_err());
        let none = read(Ok(list(&[], false)), &[], true, &expired).await;
        let unknown = error(404, "RESOURCE_UNKNOWN");
        assert!(together(None, none, cards(Some(unknown))).is_ok());
    }

    #[tokio::test]
    async fn an_unread_list_keeps_the_accounts_of_its_consent() {
        let before = [known("1")];
        let down = error(503, "SERVICE_BLOCKED");
        let closed = error(401, "CONSENT_INVALID");
        for (error, same_consent, kept, partial) in [
            (&down, true, 1, true),
            (&down, false, 1, true),
            (&closed, true, 1, true),
            (&closed, false, 0, false),
        ] {
            let read = read(Err(error.clone()), &before, same_consent, &down).await;
            assert_eq!(read.accounts.len(), kept, "{error} {same_consent}");
            assert_eq!(read.partial, partial, "{error} {same_consent}");
            // An id is good in its consent.
            let id = read
                .accounts
                .first()
                .map(|one| one.details.resource_id.is_some());
            assert!(id.is_none_or(|id| id == same_consent), "{error}");
        }
    }

    #[tokio::test]
    async fn a_failed_account_keeps_its_data_and_others_are_read() {
        let before = [known("r")];
        let down = error(503, "SERVICE_BLOCKED");
        let payment = read(Ok(list(&["r", "2"], false)), &before, true, &down).await;
        assert!(payment.partial && payment.error.is_some());
        assert_eq!(booked(&payment.accounts[0]), ["1.00"]);
        assert_eq!(booked(&payment.accounts[1]), ["2.00"]);
        assert!(together(None, payment, cards(None)).is_ok());
        let payment = read(Ok(list(&["r"], false)), &before, true, &down).await;
        assert!(
            together(None, payment, cards(None)).is_err(),
            "nothing was read"
        );
    }

    #[tokio::test]
    async fn refused_unlinked_transactions_keep_known_data() {
        let links = Links::new().with("account", "/a");
        let mut unlinked = account("r");
        unlinked.links = Some(links);
        for (before, partial) in [(vec![known("r")], true), (vec![], false)] {
            let list = List {
                accounts: vec![unlinked.clone()],
                left_out: false,
            };
            let refusal = error(401, "CONSENT_INVALID");
            let read = read(Ok(list), &before, true, &refusal).await;
            assert!(read.error.is_none());
            assert_eq!(read.partial, partial);
            assert_eq!(booked(&read.accounts[0]).len(), before.len());
        }
    }

    #[tokio::test]
    async fn an_unreadable_list_entry_keeps_its_account() {
        let before = [known("1"), known("2")];
        let down = error(503, "SERVICE_BLOCKED");
        let whole = read(Ok(list(&["1"], false)), &before, true, &down).await;
        assert_eq!((whole.accounts.len(), whole.partial), (1, false));
        let part = read(Ok(list(&["1"], true)), &before, true, &down).await;
        assert_eq!((part.accounts.len(), part.partial), (2, true));
        assert_eq!(booked(&part.accounts[1]), ["1.00"]);
    }
}
