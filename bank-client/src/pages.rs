//! Pagination of transaction lists.

use std::collections::HashSet;
use std::marker::PhantomData;

use chrono::NaiveDate;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, iter, try_unfold};
use reqwest::{StatusCode, Url};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use shared_types::decode::Malformed;
use shared_types::xs2a::card_account::{CardTransaction, CardTransactionsResponse};
use shared_types::xs2a::link::Links;
use shared_types::xs2a::money::Currency;
use shared_types::xs2a::transaction::{BookingStatus, Transaction, TransactionsResponse};

use crate::decode::{DecodeNotes, ListField, ValidateResponse};
use crate::deviations::{DeviationCollector, Deviations};
use crate::error::{Error, ErrorKind};
use crate::execute::ConsentScope;
use crate::response::{Entries, Response};

/// Filter of transactions: those of a period, or what is new (a delta report, where the bank
/// has them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFilter {
    /// First day; the standard wants it, unless a delta report is asked for.
    pub from: Option<NaiveDate>,
    /// Last day; without it, the bank's today.
    pub to: Option<NaiveDate>,
    /// A delta report: what came to the account after the booked entry of this reference.
    pub entry_reference_from: Option<String>,
    /// A delta report: what came to the account after the last report that we got. The bank
    /// remembers which that was, so that an answer which does not reach us is not given again.
    pub delta_list: bool,
    /// Booked, pending or both.
    pub booking_status: BookingStatus,
    /// Balances along with the first page, where the consent opens them.
    pub with_balance: bool,
    /// Transactions on a page; without it, as the bank likes. A bank that does not know this
    /// parameter ignores it.
    pub page_size: Option<usize>,
}

impl TransactionFilter {
    /// Booked and pending transactions from that day on.
    #[must_use]
    pub fn since(from: NaiveDate) -> Self {
        Self {
            from: Some(from),
            ..Self::without_limits()
        }
    }

    /// Booked and pending transactions that came after the booked entry of that reference
    /// (`entryReferenceFrom`).
    #[must_use]
    pub fn after_entry(reference: impl Into<String>) -> Self {
        Self {
            entry_reference_from: Some(reference.into()),
            ..Self::without_limits()
        }
    }

    /// Booked and pending transactions that came after the bank's last report to us (`deltaList`).
    #[must_use]
    pub fn after_last_report() -> Self {
        Self {
            delta_list: true,
            ..Self::without_limits()
        }
    }

    fn without_limits() -> Self {
        Self {
            from: None,
            to: None,
            entry_reference_from: None,
            delta_list: false,
            booking_status: BookingStatus::Both,
            with_balance: false,
            page_size: None,
        }
    }

    /// Whether it is for all that there is of some days, and not for a delta report.
    pub(crate) fn is_of_days(&self) -> bool {
        self.entry_reference_from.is_none() && !self.delta_list
    }

    pub(crate) fn apply(&self, mut url: Url) -> Url {
        {
            let mut query = url.query_pairs_mut();
            if let Some(from) = self.from {
                query.append_pair("dateFrom", &from.to_string());
            }
            if let Some(to) = self.to {
                query.append_pair("dateTo", &to.to_string());
            }
            if let Some(reference) = &self.entry_reference_from {
                query.append_pair("entryReferenceFrom", reference);
            }
            if self.delta_list {
                query.append_pair("deltaList", "true");
            }
            query.append_pair("bookingStatus", self.booking_status.as_str());
            if self.with_balance {
                query.append_pair("withBalance", "true");
            }
            if let Some(size) = self.page_size {
                query.append_pair("pageSize", &size.to_string());
            }
        }
        url
    }
}

/// A transaction of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry<T> {
    /// Seen, but not booked yet.
    Pending(T),
    /// Booked.
    Booked(T),
}

/// A page of transactions of either kind of account.
pub(crate) trait TransactionPage: ValidateResponse + Send + 'static {
    type Item: Send + 'static;

    /// Fault of a page that lacks the requested list.
    const UNLISTED: &'static str = "it has no booked transactions, not even an empty list";

    /// The lists of the page.
    fn open(self) -> PageContents<Self::Item>;

    /// Sign of debits, if the page gives it.
    fn debit_accounting(&self) -> Option<bool> {
        None
    }
}

/// An answer to a request for transactions, as far as there is something in it.
pub(crate) struct PageContents<T> {
    /// `transactions`, `cardTransactions`.
    report: Option<EntryLists<T>>,
    /// Address of the list, if the bank gives it as a file.
    download: Option<String>,
}

/// A page's lists: booked ones, pending ones, and links.
pub(crate) struct EntryLists<T> {
    booked: Option<Vec<T>>,
    pending: Option<Vec<T>>,
    links: Links,
}

impl<T> PageContents<T> {
    fn new(links: Option<&Links>, report: Option<EntryLists<T>>) -> Self {
        let download = links.and_then(|links| links.get("download"));
        let download = download.map(ToString::to_string);
        Self { report, download }
    }
}

macro_rules! transaction_page {
    ($page:ty, $item:ty, $report:ident, $($debit_accounting:ident)?) => {
        impl TransactionPage for $page {
            type Item = $item;

            fn open(self) -> PageContents<$item> {
                let report = self.$report.map(|report| EntryLists {
                    booked: report.booked,
                    pending: report.pending,
                    links: report.links,
                });
                PageContents::new(self.links.as_ref(), report)
            }
            $(
            fn debit_accounting(&self) -> Option<bool> {
                self.$debit_accounting
            }
            )?
        }
    };
}

transaction_page!(TransactionsResponse, Transaction, transactions,);
transaction_page!(
    CardTransactionsResponse,
    CardTransaction,
    card_transactions,
    debit_accounting
);

/// A page of the list that has standing orders.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct StandingOrders(TransactionsResponse);

impl ValidateResponse for StandingOrders {
    const LISTS: &'static [ListField] = TransactionsResponse::LISTS;
    const STRICT: &'static [&'static str] = TransactionsResponse::STRICT;

    fn validate(&mut self, notes: &mut DecodeNotes<'_>) -> Result<(), Malformed> {
        self.0.validate(notes)
    }
}

impl TransactionPage for StandingOrders {
    type Item = Transaction;

    const UNLISTED: &'static str =
        "it has no standing orders (`information`), not even an empty list";

    fn open(self) -> PageContents<Transaction> {
        let report = self.0.transactions.map(|report| EntryLists {
            booked: report.information,
            pending: None,
            links: report.links,
        });
        PageContents::new(self.0.links.as_ref(), report)
    }
}

/// A page of a list, as the bank cut it. By default, that there is nothing (204 No Content).
#[derive(Debug)]
#[cfg_attr(
    not(feature = "sqlite"),
    expect(dead_code, reason = "the local copy alone reads all of it")
)]
pub(crate) struct EntryPage<T> {
    pub(crate) pending: Vec<T>,
    pub(crate) booked: Vec<T>,
    /// Entries of the page that could not be read.
    pub(crate) left_out: usize,
    /// The bank lists booked ones here, if only that there are none. Otherwise it says in another
    /// way that there are none.
    pub(crate) lists_booked: bool,
    /// The bank lists pending ones here. Many leave the list out where it is empty; so it is not
    /// known whether it is.
    pub(crate) lists_pending: bool,
    /// Deviations of the page from the standard, those entries included.
    pub(crate) deviations: Deviations,
}

impl<T> Default for EntryPage<T> {
    fn default() -> Self {
        Self {
            pending: Vec::new(),
            booked: Vec::new(),
            left_out: 0,
            lists_booked: false,
            lists_pending: false,
            deviations: Deviations::default(),
        }
    }
}

impl<T> EntryPage<T> {
    /// Makes a page from a response, if that has the requested list.
    ///
    /// If booked entries were requested, the standard requires `booked`; a later page may have
    /// pending ones instead. If only pending ones were requested, many banks omit an empty list.
    fn of(
        lists: EntryLists<T>,
        deviations: Deviations,
        request: BookingStatus,
        first: bool,
        unlisted: &'static str,
    ) -> Result<Self, ErrorKind> {
        let has_pending = lists.pending.as_ref().is_some_and(|all| !all.is_empty());
        let may_lack_booked = !request.wants_booked() || (!first && has_pending);
        if lists.booked.is_none() && !may_lack_booked {
            return Err(ErrorKind::NotListed { reason: unlisted });
        }
        Ok(Self {
            left_out: deviations.requested_left_out(),
            deviations,
            lists_booked: lists.booked.is_some(),
            lists_pending: lists.pending.is_some() || !request.wants_booked(),
            pending: lists.pending.unwrap_or_default(),
            booked: lists.booked.unwrap_or_default(),
        })
    }
}

/// Callback with each page's `debitAccounting`.
type OnDebits = Box<dyn Fn(Option<bool>) + Send + Sync>;

/// Position in a paginated list.
pub(crate) struct PageCursor<P> {
    scope: ConsentScope,
    /// The account's currency, where it is known.
    currency: Option<Currency>,
    request: BookingStatus,
    next: Option<Url>,
    on_debits: OnDebits,
    /// The pages that were read. A bank's links may be long, and there may be many of them: digests
    /// take the same little room each, and two forged links cannot share one.
    read: HashSet<[u8; 32]>,
    page: PhantomData<fn() -> P>,
}

/// All entries of a list. A page is read when the one before it is used up. `of_days`: they are all
/// that there is of some days, and no delta report.
pub(crate) fn entries<P: TransactionPage>(
    cursor: PageCursor<P>,
    of_days: bool,
) -> Entries<Result<Entry<P::Item>, Error>> {
    let deviations = DeviationCollector::default();
    let collector = deviations.clone();
    // The bank has listed an account whose currency is known.
    let unknown_is_none = of_days && cursor.currency.is_some();
    let stream = cursor
        .pages()
        .enumerate()
        .map(move |(before, page)| match page {
            Err(error) if before == 0 && unknown_is_none && error.is_resource_unknown() => {
                Ok(EntryPage::default())
            }
            page => page,
        })
        .map_ok(move |page| {
            collector.append(page.deviations);
            let pending = page.pending.into_iter().map(Entry::Pending);
            let booked = page.booked.into_iter().map(Entry::Booked);
            iter(pending.chain(booked).map(Ok))
        })
        .try_flatten()
        .boxed();
    Entries::new(stream, deviations)
}

impl<P: TransactionPage> PageCursor<P> {
    /// Starts at `url`.
    pub(crate) fn new(
        scope: ConsentScope,
        currency: Option<Currency>,
        url: Url,
        request: BookingStatus,
        on_debits: OnDebits,
    ) -> Self {
        Self {
            scope,
            currency,
            request,
            next: Some(url),
            on_debits,
            read: HashSet::new(),
            page: PhantomData,
        }
    }

    /// The pages of the list. Each is read when the stream is polled for it.
    pub(crate) fn pages(self) -> BoxStream<'static, Result<EntryPage<P::Item>, Error>> {
        try_unfold(self, |mut cursor| async move {
            let Some(url) = cursor.next.take() else {
                return Ok(None);
            };
            let page = cursor.read_page(url).await?;
            Ok(Some((page, cursor)))
        })
        .boxed()
    }

    fn not_listed(&self, reason: &'static str) -> Error {
        self.scope.bank.error(ErrorKind::NotListed { reason })
    }

    async fn read_page(&mut self, url: Url) -> Result<EntryPage<P::Item>, Error> {
        let first = self.read.is_empty();
        let Some((page, mut deviations)) = self.get(url.clone()).await? else {
            if first {
                return Ok(EntryPage::default());
            }
            return Err(self.not_listed("a page that it links to has no content"));
        };
        let mut at = url;
        let lists = match (page.report, page.download) {
            (Some(lists), _) => lists,
            (None, Some(link)) => {
                at = self.scope.bank.follow(&at, &link)?;
                let (lists, of_file) = self.download(at.clone()).await?;
                deviations = of_file;
                lists
            }
            (None, None) => {
                return Err(self.not_listed("it has no transactions, not even empty lists"));
            }
        };
        let next = lists.links.get("next");
        let next = next.map(|link| self.scope.bank.follow(&at, link));
        self.next = next.transpose()?;
        EntryPage::of(lists, deviations, self.request, first, P::UNLISTED)
            .map_err(|kind| self.scope.bank.error(kind))
    }

    /// Gets what is at that address. `None`: the bank has nothing there (204 No Content).
    async fn get(
        &mut self,
        url: Url,
    ) -> Result<Option<(PageContents<P::Item>, Deviations)>, Error> {
        let bank = &self.scope.bank;
        let limit = bank.inner.limits.pages;
        if self.read.len() >= limit {
            return Err(bank.error(ErrorKind::TooManyPages { limit }));
        }
        if !self.read.insert(Sha256::digest(url.as_str()).into()) {
            return Err(bank.error(ErrorKind::PageLoop));
        }
        let answer = self.scope.execute(url).await?;
        if answer.status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let page: Response<P> = bank.decode(&answer, self.currency)?;
        (self.on_debits)(page.debit_accounting());
        let (page, deviations) = page.into_parts();
        Ok(Some((page.open(), deviations)))
    }

    /// Gets a list that the bank gives as a file, if it is of the standard's JSON.
    async fn download(&mut self, url: Url) -> Result<(EntryLists<P::Item>, Deviations), Error> {
        let refused = self.not_listed("it links to a download that is not the standard's JSON");
        match self.get(url).await {
            Ok(page) => {
                let (page, deviations) = page.ok_or_else(|| refused.clone())?;
                Ok((page.report.ok_or(refused)?, deviations))
            }
            // A missing file does not mean that the list is missing.
            Err(error)
                if matches!(error.kind, ErrorKind::Malformed { .. })
                    || error.kind.status() == Some(404) =>
            {
                Err(refused)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use BookingStatus::{Booked, Both, Pending};
    use shared_types::decode::decode;

    use super::*;

    #[test]
    fn a_page_without_the_list_that_was_asked_for_is_none() {
        let lists = |booked: bool, pending: bool| EntryLists {
            booked: booked.then(Vec::<u8>::new),
            pending: pending.then(|| vec![1]),
            links: Links::default(),
        };
        for (booked, pending, request, first, right) in [
            (true, true, Both, true, Some((true, true))),
            (true, false, Both, true, Some((true, false))),
            (false, true, Both, true, None),
            (false, false, Both, true, None),
            (false, true, Both, false, Some((false, true))),
            (false, false, Both, false, None),
            (false, true, Booked, true, None),
            (true, false, Booked, true, Some((true, false))),
            (false, false, Pending, true, Some((false, true))),
        ] {
            let lists = lists(booked, pending);
            let page = EntryPage::of(lists, Deviations::default(), request, first, "");
            let has = page
                .ok()
                .map(|page| (page.lists_booked, page.lists_pending));
            assert_eq!(has, right, "{booked} {pending} {request:?} {first}");
        }
        // A later page has neither booked ones nor pending ones.
        let nothing = EntryLists {
            pending: Some(Vec::new()),
            ..lists(false, true)
        };
        assert!(EntryPage::of(nothing, Deviations::default(), Both, false, "").is_err());
    }

    #[test]
    fn a_page_without_standing_orders_is_not_an_empty_list_of_them() {
        let page = |list: &str| {
            let body = format!(r#"{{"transactions": {{{list}"_links": {{}}}}}}"#);
            let page: StandingOrders = decode(body.as_bytes()).unwrap();
            let lists = page.open().report.unwrap();
            EntryPage::of(
                lists,
                Deviations::default(),
                Booked,
                true,
                StandingOrders::UNLISTED,
            )
        };
        assert!(page(r#""information": [],"#).is_ok());
        let Err(ErrorKind::NotListed { reason }) = page("") else {
            panic!("an empty list")
        };
        assert!(reason.contains("`information`"), "{reason}");
    }
}
