//! Lists of transactions, page by page.

use std::collections::HashSet;

use chrono::NaiveDate;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _, iter, try_unfold};
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use shared_types::card_account::{CardTransaction, CardTransactionsResponse};
use shared_types::decode::Malformed;
use shared_types::link::Links;
use shared_types::money::Currency;
use shared_types::transaction::{BookingStatus, Transaction, TransactionsResponse};

use crate::checks::Checked;
use crate::error::{Error, ErrorKind};
use crate::exchange::UnderConsent;

/// Which transactions are wanted: those of a period, or what is new (a delta report, where the bank has them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionFilter {
    /// First day; the standard wants it, unless a delta report is asked for.
    pub from: Option<NaiveDate>,
    /// Last day; without it, the bank's today.
    pub to: Option<NaiveDate>,
    /// A delta report: what came to the account after the booked entry of this reference.
    pub entry_reference_from: Option<String>,
    /// A delta report: what came to the account after the last report that we got. The bank remembers which that was, so
    /// that an answer which does not reach us is not given again.
    pub delta_list: bool,
    /// Booked, pending or both.
    pub booking_status: BookingStatus,
    /// Balances along with the first page, where the consent opens them.
    pub with_balance: bool,
    /// Transactions on a page; without it, as the bank likes. A bank that does not know this parameter ignores it.
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

    /// Booked and pending transactions that came after the booked entry of that reference (`entryReferenceFrom`).
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

/// What the pages of both kinds of account have in common.
pub(crate) trait TransactionPage: DeserializeOwned + Checked + Send {
    type Item: Send + 'static;

    /// Pending ones, booked ones, and links.
    fn open(self) -> (Vec<Self::Item>, Vec<Self::Item>, Option<Links>);

    /// How debits are quoted, if the page says so.
    fn debit_accounting(&self) -> Option<bool> {
        None
    }
}

impl TransactionPage for TransactionsResponse {
    type Item = Transaction;

    fn open(self) -> (Vec<Transaction>, Vec<Transaction>, Option<Links>) {
        self.transactions.map_or_else(Default::default, |report| {
            (
                report.pending.unwrap_or_default(),
                report.booked.unwrap_or_default(),
                Some(report.links),
            )
        })
    }
}

impl TransactionPage for CardTransactionsResponse {
    type Item = CardTransaction;

    fn debit_accounting(&self) -> Option<bool> {
        self.debit_accounting
    }

    fn open(self) -> (Vec<CardTransaction>, Vec<CardTransaction>, Option<Links>) {
        self.card_transactions
            .map_or_else(Default::default, |report| {
                (
                    report.pending.unwrap_or_default(),
                    report.booked.unwrap_or_default(),
                    Some(report.links),
                )
            })
    }
}

/// A page of the list that has standing orders.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct StandingOrders(TransactionsResponse);

impl Checked for StandingOrders {
    fn check(&self, held: Option<Currency>) -> Result<(), Malformed> {
        self.0.check(held)
    }
}

impl TransactionPage for StandingOrders {
    type Item = Transaction;

    fn open(self) -> (Vec<Transaction>, Vec<Transaction>, Option<Links>) {
        self.0.transactions.map_or_else(Default::default, |report| {
            let orders = report.information.unwrap_or_default();
            (orders, Vec::new(), Some(report.links))
        })
    }
}

/// A page of a list, as the bank cut it.
#[derive(Debug)]
pub(crate) struct PageOf<T> {
    pub(crate) pending: Vec<T>,
    pub(crate) booked: Vec<T>,
}

/// Is told what each page says of debits.
pub(crate) type OnDebits = Box<dyn Fn(Option<bool>) + Send + Sync>;

struct Reading {
    from: UnderConsent,
    on_debits: OnDebits,
    /// The account's currency, where it is known.
    held: Option<Currency>,
    next: Option<Url>,
    /// The pages that were read. A bank's links may be long, and there may be many of them: digests take the same
    /// little room each, and nobody can make up two links that share one.
    read: HashSet<[u8; 32]>,
}

/// All entries of the list that starts at `url`. A page is read when the one before it is used up.
pub(crate) fn entries<P: TransactionPage>(
    from: UnderConsent,
    held: Option<Currency>,
    url: Url,
    on_debits: OnDebits,
) -> BoxStream<'static, Result<Entry<P::Item>, Error>> {
    pages::<P>(from, held, url, on_debits)
        .map_ok(|page| {
            let pending = page.pending.into_iter().map(Entry::Pending);
            let booked = page.booked.into_iter().map(Entry::Booked);
            iter(pending.chain(booked).map(Ok))
        })
        .try_flatten()
        .boxed()
}

/// The pages of the list that starts at `url`. One is read when it is asked for.
pub(crate) fn pages<P: TransactionPage>(
    from: UnderConsent,
    held: Option<Currency>,
    url: Url,
    on_debits: OnDebits,
) -> BoxStream<'static, Result<PageOf<P::Item>, Error>> {
    let start = Reading {
        from,
        on_debits,
        held,
        next: Some(url),
        read: HashSet::new(),
    };
    try_unfold(start, |mut reading| async move {
        let Some(url) = reading.next.take() else {
            return Ok(None);
        };
        let page = reading.turn::<P>(url).await?;
        Ok(Some((page, reading)))
    })
    .boxed()
}

fn digest(url: &Url) -> [u8; 32] {
    Sha256::digest(url.as_str()).into()
}

impl Reading {
    async fn turn<P: TransactionPage>(&mut self, url: Url) -> Result<PageOf<P::Item>, Error> {
        let bank = &self.from.bank;
        let limit = bank.inner.limits.pages;
        if self.read.len() >= limit {
            return Err(bank.error(ErrorKind::TooManyPages { limit }));
        }
        if !self.read.insert(digest(&url)) {
            return Err(bank.error(ErrorKind::PageLoop));
        }
        let answer = self.from.get::<P>(url.clone(), self.held).await?;
        (self.on_debits)(answer.debit_accounting());
        let (pending, booked, links) = answer.open();
        self.next = links
            .as_ref()
            .and_then(|links| links.get("next"))
            .map(|link| bank.follow(&url, link))
            .transpose()?;
        Ok(PageOf { pending, booked })
    }
}
