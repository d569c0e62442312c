//! One account's transactions: the walk, and what follows when the bank refuses one.

use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use shared_types::transaction::BookingStatus;

use super::copy::LocalCopy;
use super::deadline::Deadline;
use super::plan::{Known, Lesson, Way, Wishes, instead, pending_from, plan};
use super::row::Row;
use super::window::{Moment, Pending, Span, Tally, Untaken, Window};
use super::{AccountKey, AccountReport, SyncError};
use crate::accounts::AccountInformation;
use crate::error::{Error, ErrorKind};
use crate::pages::{PageOf, TransactionFilter};

/// Where lists of transactions come from: a bank, or a test.
pub(super) trait Lists: Send + Sync {
    /// The pages of an account's list.
    fn pages(
        &self,
        card: bool,
        resource: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<PageOf<Row>, Error>>;

    /// That bank's error of that kind.
    fn error(&self, kind: ErrorKind) -> Error;
}

impl Lists for AccountInformation {
    fn pages(
        &self,
        card: bool,
        resource: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<PageOf<Row>, Error>> {
        let bank = self.bank().clone();
        let unwritable =
            move |fault: serde_json::Error| bank.malformed("transactions", fault.to_string());
        if card {
            let pages = self.card_transaction_pages(resource, filter);
            pages
                .map(move |page| rows(page?, |row| Row::card(&row)).map_err(&unwritable))
                .boxed()
        } else {
            let pages = self.transaction_pages(resource, filter);
            pages
                .map(move |page| rows(page?, Row::payment).map_err(&unwritable))
                .boxed()
        }
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.bank().error(kind)
    }
}

fn rows<T>(
    page: PageOf<T>,
    row: impl Fn(T) -> Result<Row, serde_json::Error>,
) -> Result<PageOf<Row>, serde_json::Error> {
    let all = |entries: Vec<T>| -> Result<Vec<Row>, serde_json::Error> {
        entries.into_iter().map(&row).collect()
    };
    Ok(PageOf {
        pending: all(page.pending)?,
        booked: all(page.booked)?,
    })
}

/// An account that is read.
pub(super) struct Reading<'a, L> {
    pub(super) copy: &'a LocalCopy,
    pub(super) lists: &'a L,
    pub(super) account: AccountKey,
    pub(super) card: bool,
    pub(super) resource: &'a str,
    pub(super) wishes: Wishes,
    pub(super) moment: Moment,
    pub(super) deadline: Deadline,
}

/// Why a walk came to no end.
enum Broken {
    /// The bank refused, or did not answer, after so many pages.
    Bank(Error, u64),
    Nameless,
    Failed(SyncError),
}

impl From<SyncError> for Broken {
    fn from(error: SyncError) -> Self {
        Self::Failed(error)
    }
}

impl<L: Lists> Reading<'_, L> {
    /// Reads what is new, in the way that suits the bank; where it refuses that, in another one.
    pub(super) async fn read(
        &self,
        report: &mut AccountReport,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), SyncError> {
        if self.deadline.is_over() {
            let limit = self.deadline.limit();
            return Err(self.lists.error(ErrorKind::NotAsked { limit }).into());
        }
        let mut known = self.copy.known(self.account).await?;
        let today = self.moment.today;
        let mut way = plan(&known, &self.wishes, today);
        loop {
            report.way = Some(way.clone());
            let (next, lesson) = match self.walk(&way, report, progress).await {
                Ok(()) => return Ok(()),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Nameless) => {
                    let by_dates = Wishes {
                        delta: None,
                        ..self.wishes
                    };
                    (plan(&known, &by_dates, today), Lesson::NoDeltas)
                }
                Err(Broken::Bank(error, pages)) => {
                    match instead(&way, &error, pages, &known, &self.wishes, today) {
                        Some(next) => next,
                        None => return Err(SyncError::Bank(error)),
                    }
                }
            };
            self.learn(&mut known, lesson).await?;
            way = next;
        }
    }

    async fn learn(&self, known: &mut Known, lesson: Lesson) -> Result<(), SyncError> {
        match lesson {
            Lesson::Nothing => return Ok(()),
            Lesson::ForgetReference => known.reference = None,
            Lesson::NoDeltas => known.refused = Some(self.moment.today),
        }
        Ok(self.copy.learn(self.account, known).await?)
    }

    async fn walk(
        &self,
        way: &Way,
        report: &mut AccountReport,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), Broken> {
        let (span, mut filter) = asked(way);
        filter.page_size = self.wishes.page_size;
        let told_once = *way == Way::AfterLastReport;
        let mut window =
            Window::begin(self.copy, self.account.0, span, self.moment, told_once).await?;
        let before = report.tally();
        let mut pages = self.lists.pages(self.card, self.resource, &filter);
        let mut read = 0;
        while let Some(page) = self
            .next(&mut pages)
            .await
            .map_err(|error| Broken::Bank(error, read))?
        {
            window.take(&page).await.map_err(|untaken| match untaken {
                Untaken::Nameless => Broken::Nameless,
                Untaken::Failed(error) => Broken::Failed(error),
            })?;
            read += 1;
            report.pages += 1;
            report.add(before, window.tally);
            progress(report.pages, report.entries);
        }
        let pending = self.pending(&mut window, report).await?;
        report.add(before, window.finish(pending).await?);
        Ok(())
    }

    /// The next page, if it comes in time.
    async fn next(
        &self,
        pages: &mut BoxStream<'static, Result<PageOf<Row>, Error>>,
    ) -> Result<Option<PageOf<Row>>, Error> {
        let page = self.deadline.wait(pages.try_next()).await;
        page.unwrap_or_else(|late| Err(self.lists.error(late)))
    }

    /// Asks once more for what is pending, if the walk leaves it open whether some of it has vanished.
    async fn pending(
        &self,
        window: &mut Window<'_>,
        report: &mut AccountReport,
    ) -> Result<Pending, SyncError> {
        if window.doubtful().await? == 0 {
            return Ok(Pending::AsListed);
        }
        let from = pending_from(self.moment.today);
        let filter = TransactionFilter {
            booking_status: BookingStatus::Pending,
            page_size: self.wishes.page_size,
            ..TransactionFilter::since(from)
        };
        window.begin_pending().await?;
        let mut pages = self.lists.pages(self.card, self.resource, &filter);
        loop {
            match self.next(&mut pages).await {
                Ok(Some(page)) => {
                    report.pages += 1;
                    window.take_pending(&page, from).await?;
                }
                Ok(None) => return Ok(Pending::Whole),
                // What is booked is here all the same, and the next run asks again.
                Err(error) => {
                    report.pending_unknown = Some(error);
                    return Ok(Pending::Unknown);
                }
            }
        }
    }
}

fn asked(way: &Way) -> (Span, TransactionFilter) {
    match way {
        Way::Everything { from } | Way::Dates { from } => (
            Span::Period { from: *from },
            TransactionFilter::since(*from),
        ),
        Way::AfterEntry { reference } => (
            Span::Delta,
            TransactionFilter::after_entry(reference.clone()),
        ),
        Way::AfterLastReport => (Span::Delta, TransactionFilter::after_last_report()),
    }
}

impl AccountReport {
    fn tally(&self) -> Tally {
        Tally {
            entries: self.entries,
            new: self.new,
            changed: self.changed,
            removed: self.removed,
            matched: self.matched,
        }
    }

    /// What was there before a walk, and what the walk has changed so far.
    fn add(&mut self, before: Tally, walk: Tally) {
        self.entries = before.entries + walk.entries;
        self.new = before.new + walk.new;
        self.changed = before.changed + walk.changed;
        self.removed = before.removed + walk.removed;
        self.matched = before.matched + walk.matched;
    }
}
