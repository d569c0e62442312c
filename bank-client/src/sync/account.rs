//! One account's transactions: the walk, and what follows when the bank refuses one.

use chrono::NaiveDate;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use shared_types::xs2a::transaction::BookingStatus;

use super::copy::LocalCopy;
use super::deadline::Deadline;
use super::plan::{
    Lesson, Way, Wishes, always_from, instead, may_be_the_period, plan, says_there_are_none,
};
use super::row::Row;
use super::window::{Anchor, Moment, Pending, Span, Tally, Window};
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
        left_out: page.left_out,
        lists_booked: page.lists_booked,
        lists_pending: page.lists_pending,
        deviations: page.deviations,
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

/// How a walk ended that was read to its end.
enum Ended {
    /// The copy is up to date, as far as the bank lets it.
    Done,
    /// Something is open that a list of whole days from that day on settles. Any of these entries serves for the next delta
    /// report.
    Open(NaiveDate, Vec<Anchor>),
}

/// Why a walk came to no end.
enum Broken {
    /// The bank refused, or did not answer, after so many pages.
    Bank(Error, u64),
    Failed(SyncError),
}

impl<E: Into<SyncError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// After so many longer lists that have left something open, the next one is the longest.
const LONGER: u32 = 2;

impl<L: Lists> Reading<'_, L> {
    /// Reads what is new, in the way that suits the bank; where it refuses that, or leaves something open, in another one.
    pub(super) async fn read(
        &self,
        report: &mut AccountReport,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), SyncError> {
        if self.deadline.is_over() {
            let limit = self.deadline.limit();
            return Err(self.lists.error(ErrorKind::NotAsked { limit }).into());
        }
        let known = self.copy.known(self.account).await?;
        let today = self.moment.today;
        let mut way = plan(&known, &self.wishes, today);
        let (mut learnt, mut last, mut longer) = (Lesson::Nothing, false, 0);
        let mut anchors = Vec::new();
        loop {
            report.way = Some(way.clone());
            let from = std::mem::take(&mut anchors);
            match self.walk(&way, last, from, report, progress).await {
                // What a refusal seemed to say is true: the other way is open.
                Ok(Ended::Done) => return Ok(self.copy.learn(self.account, learnt, today).await?),
                Ok(Ended::Open(day, of_walk)) => {
                    let mut from = match plan(&known, &self.wishes.by_days(), today) {
                        Way::Dates { from } | Way::Everything { from } => from.min(day),
                        Way::AfterEntry { .. } | Way::AfterLastReport => day,
                    };
                    longer += 1;
                    if longer > LONGER {
                        from = known.since.map_or(from, |since| since.min(from));
                        last = true;
                    }
                    (way, anchors) = (Way::Dates { from }, of_walk);
                }
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Bank(error, pages)) => {
                    let next = instead(&way, &error, pages, &known, &self.wishes, today);
                    let Some((next, lesson)) = next else {
                        return Err(SyncError::Bank(error));
                    };
                    // The bank shows no more than it does now.
                    last |= !matches!(way, Way::AfterEntry { .. } | Way::AfterLastReport);
                    match lesson {
                        Lesson::Nothing => {}
                        // Whatever follows, that entry serves no more.
                        Lesson::ForgetReference => {
                            self.copy.learn(self.account, lesson, today).await?;
                        }
                        Lesson::NoDeltas => learnt = lesson,
                    }
                    way = next;
                }
            }
        }
    }

    async fn walk(
        &self,
        way: &Way,
        last: bool,
        anchors: Vec<Anchor>,
        report: &mut AccountReport,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Ended, Broken> {
        let (span, mut filter) = asked(way);
        filter.page_size = self.wishes.page_size;
        let told_once = *way == Way::AfterLastReport;
        let mut window = Window::begin(self.copy, self.account.0, span, self.moment, told_once)
            .await?
            .overlapping(self.wishes.overlap_days)
            .going_on(anchors);
        let before = report.tally();
        let mut pages = self.lists.pages(self.card, self.resource, &filter);
        let (mut read, mut none) = (0, None);
        loop {
            let page = match self.next(&mut pages).await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error) if read == 0 && span != Span::Delta && says_there_are_none(&error) => {
                    none = Some(error);
                    PageOf::none()
                }
                Err(error) => return Err(Broken::Bank(error, read)),
            };
            report.deviations.append(page.deviations.clone());
            window.take(&page).await?;
            read += 1;
            report.pages += 1;
            report.left_out = window.left_out;
            report.add(before, window.tally);
            progress(report.pages, report.entries);
            if none.is_some() {
                break;
            }
        }
        if window.is_contradicted().await? {
            let reason = "it says that there are no transactions, and there were some";
            let error = none.unwrap_or_else(|| self.lists.error(ErrorKind::NotListed { reason }));
            return Err(Broken::Failed(error.into()));
        }
        let open = window.settle_booked(last).await?;
        report.add(before, window.tally);
        if let Some(day) = open {
            return Ok(Ended::Open(day, window.into_anchors()));
        }
        let pending = self.pending(&mut window, report).await?;
        report.left_out = window.left_out;
        report.unlisted = window.is_unlisted();
        report.add(before, window.finish(pending).await?);
        Ok(Ended::Done)
    }

    /// The next page, if it comes in time.
    async fn next(
        &self,
        pages: &mut BoxStream<'static, Result<PageOf<Row>, Error>>,
    ) -> Result<Option<PageOf<Row>>, Error> {
        let page = self.deadline.wait(pages.try_next()).await;
        page.unwrap_or_else(|late| Err(self.lists.error(late)))
    }

    /// Asks once more for what is pending, if the walk leaves it open whether some of it has vanished. A bank that does not
    /// list pending entries alone lists them among the others.
    async fn pending(
        &self,
        window: &mut Window<'_>,
        report: &mut AccountReport,
    ) -> Result<Pending, SyncError> {
        if window.doubtful().await? == 0 && !window.lacks_pending() {
            return Ok(Pending::AsListed);
        }
        for status in [BookingStatus::Pending, BookingStatus::Both] {
            match self.all_pending(window, report, status).await {
                Ok(()) => {
                    report.pending_unknown = None;
                    return Ok(Pending::Whole);
                }
                Err(Broken::Failed(error)) => return Err(error),
                // What is booked is here all the same, and the next run asks again.
                Err(Broken::Bank(error, _)) => {
                    let another = may_be_the_period(&error);
                    report.pending_unknown = Some(error);
                    if !another {
                        break;
                    }
                }
            }
        }
        Ok(Pending::Unknown)
    }

    async fn all_pending(
        &self,
        window: &mut Window<'_>,
        report: &mut AccountReport,
        status: BookingStatus,
    ) -> Result<(), Broken> {
        let from = always_from(self.moment.today);
        let filter = TransactionFilter {
            booking_status: status,
            page_size: self.wishes.page_size,
            ..TransactionFilter::since(from)
        };
        window.begin_pending().await?;
        let mut pages = self.lists.pages(self.card, self.resource, &filter);
        let mut read = 0;
        loop {
            let page = match self.next(&mut pages).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(()),
                Err(error) if read == 0 && says_there_are_none(&error) => return Ok(()),
                Err(error) => return Err(Broken::Bank(error, read)),
            };
            report.pages += 1;
            read += 1;
            report.deviations.append(page.deviations.clone());
            window.take_pending(&page, from).await?;
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
