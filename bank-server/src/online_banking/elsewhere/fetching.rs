//! Reading all that a consent opens at another bank.

use std::net::IpAddr;

use bank_client::{AccountInformation, Bank, Entry, Error, ErrorKind, TransactionFilter};
use chrono::NaiveDate;
use futures::TryFutureExt as _;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, iter};
use shared_types::digest::sha256;
use shared_types::link::Links;

use super::snapshot::{
    CardAccount, Dated, Held, MOST, PaymentAccount, Recognised, Since, Snapshot, recognised,
};

/// Accounts that are read at a time.
const AT_A_TIME: usize = 4;

/// Accounts that are read at all.
const MOST_ACCOUNTS: usize = 100;

/// What is to be read.
pub(super) struct Question<'a> {
    pub(super) bank: &'a Bank,
    pub(super) consent: &'a str,
    /// The customer's device, if she is waiting for it.
    pub(super) psu: Option<IpAddr>,
    /// What was read before.
    pub(super) known: Option<&'a Snapshot>,
    pub(super) today: NaiveDate,
}

/// Reads accounts, balances and transactions: all of them the first time, and then what is new.
pub(super) async fn fetch(question: &Question<'_>) -> Result<Snapshot, Error> {
    let under = question.bank.with_consent(question.consent);
    let under = match question.psu {
        Some(psu) => under.attended_by(psu),
        None => under,
    };
    let consent = Some(sha256(question.consent.as_bytes()));
    let same_consent = question.known.is_some_and(|known| known.consent == consent);
    let (payment, cards) = futures::try_join!(
        payment_accounts(question, same_consent, &under),
        cards(question, same_consent, &under)
    )?;
    Ok(Snapshot {
        consent,
        payment,
        cards,
    })
}

async fn payment_accounts(
    question: &Question<'_>,
    same_consent: bool,
    under: &AccountInformation,
) -> Result<Vec<PaymentAccount>, Error> {
    let before = question.known.map_or(&[][..], |known| &known.payment);
    let mut accounts = under.accounts(true).await?;
    accounts.truncate(MOST_ACCOUNTS);
    let before = recognised(before, same_consent, &accounts);
    let read = accounts.into_iter().zip(before).map(|(details, before)| {
        let asked = Asked {
            id: details.resource_id.clone(),
            linked: links_transactions(details.links.as_ref()),
            before,
            today: question.today,
        };
        let read = |id: &str, filter: &TransactionFilter| under.transactions(id, filter).boxed();
        account(details, asked, read)
    });
    iter(read).buffered(AT_A_TIME).try_collect().await
}

async fn cards(
    question: &Question<'_>,
    same_consent: bool,
    under: &AccountInformation,
) -> Result<Vec<CardAccount>, Error> {
    let before = question.known.map_or(&[][..], |known| &known.cards);
    let mut accounts = match under.card_accounts(true).await {
        Ok(accounts) => accounts.into_inner(),
        Err(error) if error.is_not_offered() => Vec::new(),
        Err(error) => return Err(error),
    };
    accounts.truncate(MOST_ACCOUNTS);
    let before = recognised(before, same_consent, &accounts);
    let read = accounts.into_iter().zip(before).map(|(details, before)| {
        let asked = Asked {
            id: details.resource_id.clone(),
            linked: links_transactions(details.links.as_ref()),
            before,
            today: question.today,
        };
        let read =
            |id: &str, filter: &TransactionFilter| under.card_transactions(id, filter).boxed();
        let read = account(details, asked, read);
        read.map_ok(|mut card| {
            // Some banks say it along with the transactions alone.
            let said = |id: &String| under.debit_accounting(id);
            let said = card.details.resource_id.as_ref().and_then(said);
            card.details.debit_accounting = card.details.debit_accounting.or(said);
            card
        })
    });
    iter(read).buffered(AT_A_TIME).try_collect().await
}

/// How the transactions of one account are asked for.
struct Asked<'a, A, T> {
    id: Option<String>,
    /// Whether the account's links lead to them, or it has none.
    linked: bool,
    /// What is known of the account.
    before: Option<&'a Held<A, T>>,
    today: NaiveDate,
}

/// Reads the transactions of one account.
async fn account<A, T>(
    details: A,
    asked: Asked<'_, A, T>,
    read: impl Fn(&str, &TransactionFilter) -> BoxStream<'static, Result<Entry<T>, Error>>,
) -> Result<Held<A, T>, Error>
where
    A: Recognised,
    T: Dated + Clone,
{
    let today = asked.today;
    let nothing = |details| Held::now(details, Vec::new(), Vec::new(), None, Since::recent(today));
    let Some(id) = asked.id else {
        return Ok(nothing(details));
    };
    let mut since = Held::since(asked.before, today);
    let mut found = transactions(read(&id, &filter(since))).await;
    // Some banks show less than all, even right after an approval.
    if matches!(since, Since::Beginning(_)) && found.as_ref().is_err_and(is_refused) {
        since = Since::recent(today);
        found = transactions(read(&id, &filter(since))).await;
    }
    let (pending, booked) = match found {
        // Banks leave links out; one that refuses as well does not open them.
        Err(error) if !asked.linked && is_refused(&error) => return Ok(nothing(details)),
        found => found?,
    };
    Ok(Held::now(details, pending, booked, asked.before, since))
}

async fn transactions<T>(
    entries: BoxStream<'static, Result<Entry<T>, Error>>,
) -> Result<(Vec<T>, Vec<T>), Error> {
    let (mut pending, mut booked) = (Vec::new(), Vec::new());
    let mut entries = entries.take(2 * MOST);
    while let Some(entry) = entries.try_next().await? {
        match entry {
            Entry::Pending(one) => pending.push(one),
            Entry::Booked(one) => booked.push(one),
        }
    }
    pending.truncate(MOST);
    Ok((pending, booked))
}

fn filter(since: Since) -> TransactionFilter {
    TransactionFilter {
        page_size: Some(MOST),
        ..TransactionFilter::since(since.day())
    }
}

/// Whether an account that has links has one to its transactions.
fn links_transactions(links: Option<&Links>) -> bool {
    links.is_none_or(|links| links.get("transactions").is_some())
}

fn is_refused(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Refused {
            status: 400..=403,
            ..
        }
    )
}
