//! Synchronisation of one account's transactions, with fallbacks where the bank refuses a request.

use chrono::NaiveDate;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use shared_types::xs2a::transaction::BookingStatus;

use super::copy::LocalCopy;
use super::deadline::Deadline;
use super::plan::{
    Finding, SyncOptions, Way, guaranteed_from, may_concern_request, next_way, plan,
    reports_no_transactions,
};
use super::row::Row;
use super::window::{Anchor, ListScope, Moment, PendingCoverage, Tally, Window};
use super::{AccountKey, AccountReport, SyncError};
use crate::accounts::AccountInformation;
use crate::error::{Error, ErrorKind};
use crate::pages::{EntryPage, TransactionFilter};

/// Source of transaction lists: a bank, or a test.
pub(super) trait TransactionSource: Send + Sync {
    /// The pages of an account's list.
    fn pages(
        &self,
        card: bool,
        resource: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<EntryPage<Row>, Error>>;

    /// That bank's error of that kind.
    fn error(&self, kind: ErrorKind) -> Error;
}

impl TransactionSource for AccountInformation {
    fn pages(
        &self,
        card: bool,
        resource: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<EntryPage<Row>, Error>> {
        let bank = self.bank().clone();
        let unwritable = move |fault: serde_json::Error| {
            bank.error(ErrorKind::malformed("transactions", fault.to_string()))
        };
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
    page: EntryPage<T>,
    row: impl Fn(T) -> Result<Row, serde_json::Error>,
) -> Result<EntryPage<Row>, serde_json::Error> {
    let all = |entries: Vec<T>| -> Result<Vec<Row>, serde_json::Error> {
        entries.into_iter().map(&row).collect()
    };
    Ok(EntryPage {
        pending: all(page.pending)?,
        booked: all(page.booked)?,
        left_out: page.left_out,
        lists_booked: page.lists_booked,
        lists_pending: page.lists_pending,
        deviations: page.deviations,
    })
}

/// Synchronisation of one account.
pub(super) struct AccountSync<'a, L> {
    pub(super) copy: &'a LocalCopy,
    pub(super) source: &'a L,
    pub(super) account: AccountKey,
    pub(super) card: bool,
    pub(super) resource: &'a str,
    pub(super) options: SyncOptions,
    pub(super) moment: Moment,
    pub(super) deadline: Deadline,
}

/// Outcome of a complete walk.
enum WalkEnd {
    /// The copy is up to date, as far as the bank lets it.
    Done,
    /// Open cases need a list of whole days from that day on. The next delta report can start after
    /// any of these entries.
    Recheck(NaiveDate, Vec<Anchor>),
}

/// Failure of a walk.
enum WalkError {
    /// The bank refused, or did not answer, after so many pages.
    Bank(Error, u64),
    Failed(SyncError),
}

impl<E: Into<SyncError>> From<E> for WalkError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Number of longer lists that may leave open cases before the longest possible one is requested.
const MAX_LONGER_WALKS: u32 = 2;

impl<L: TransactionSource> AccountSync<'_, L> {
    /// Reads new transactions by the best request that the bank supports, and falls back to another
    /// if the bank refuses it or leaves open cases.
    pub(super) async fn read(
        &self,
        report: &mut AccountReport,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), SyncError> {
        if self.deadline.is_over() {
            let limit = self.deadline.limit();
            return Err(self.source.error(ErrorKind::NotAsked { limit }).into());
        }
        let known = self.copy.sync_state(self.account).await?;
        let today = self.moment.today;
        let mut way = plan(&known, &self.options, today);
        let (mut finding_on_success, mut last, mut longer) = (Finding::Nothing, false, 0);
        let mut anchors = Vec::new();
        loop {
            report.way = Some(way.clone());
            let from = std::mem::take(&mut anchors);
            match self.walk(&way, last, from, report, progress).await {
                // Success confirms the finding from an earlier refusal, if there was one.
                Ok(WalkEnd::Done) => {
                    return Ok(self
                        .copy
                        .record_finding(self.account, finding_on_success, today)
                        .await?);
                }
                Ok(WalkEnd::Recheck(day, of_walk)) => {
                    let mut from = match plan(&known, &self.options.by_days(), today) {
                        Way::Dates { from } | Way::Everything { from } => from.min(day),
                        Way::AfterEntry { .. } | Way::AfterLastReport => day,
                    };
                    longer += 1;
                    if longer > MAX_LONGER_WALKS {
                        from = known.since.map_or(from, |since| since.min(from));
                        last = true;
                    }
                    (way, anchors) = (Way::Dates { from }, of_walk);
                }
                Err(WalkError::Failed(error)) => return Err(error),
                Err(WalkError::Bank(error, pages)) => {
                    let next = next_way(&way, &error, pages, &known, &self.options, today);
                    let Some((next, finding)) = next else {
                        return Err(SyncError::Bank(error));
                    };
                    // The bank shows no more than it does now.
                    last |= !matches!(way, Way::AfterEntry { .. } | Way::AfterLastReport);
                    match finding {
                        Finding::Nothing => {}
                        // Whatever follows, that entry serves no more.
                        Finding::ForgetReference => {
                            self.copy
                                .record_finding(self.account, finding, today)
                                .await?;
                        }
                        Finding::NoDeltas => finding_on_success = finding,
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
    ) -> Result<WalkEnd, WalkError> {
        let (scope, mut filter) = request_for(way);
        filter.page_size = self.options.page_size;
        let is_one_time = *way == Way::AfterLastReport;
        let mut window = Window::begin(self.copy, self.account.0, scope, self.moment, is_one_time)
            .await?
            .with_overlap(self.options.overlap_days)
            .with_anchors(anchors);
        let before = report.tally();
        let mut pages = self.source.pages(self.card, self.resource, &filter);
        let (mut read, mut none) = (0, None);
        loop {
            let page = match self.next(&mut pages).await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(error)
                    if read == 0
                        && scope != ListScope::Delta
                        && reports_no_transactions(&error) =>
                {
                    none = Some(error);
                    EntryPage::default()
                }
                Err(error) => return Err(WalkError::Bank(error, read)),
            };
            report.deviations.append(page.deviations.clone());
            window.add_page(&page).await?;
            read += 1;
            report.pages += 1;
            report.left_out = window.left_out;
            report.add(before, window.tally);
            progress(report.pages, report.entries);
            if none.is_some() {
                break;
            }
        }
        if window.contradicts_copy().await? {
            let reason = "it says that there are no transactions, and there were some";
            let error = none.unwrap_or_else(|| self.source.error(ErrorKind::NotListed { reason }));
            return Err(WalkError::Failed(error.into()));
        }
        let open = window.settle_booked(last).await?;
        report.add(before, window.tally);
        if let Some(day) = open {
            return Ok(WalkEnd::Recheck(day, window.into_anchors()));
        }
        let pending = self.pending(&mut window, report).await?;
        report.left_out = window.left_out;
        report.unlisted = window.lacks_booked_list();
        report.add(before, window.finish(pending).await?);
        Ok(WalkEnd::Done)
    }

    /// The next page, if it comes in time.
    async fn next(
        &self,
        pages: &mut BoxStream<'static, Result<EntryPage<Row>, Error>>,
    ) -> Result<Option<EntryPage<Row>>, Error> {
        let page = self.deadline.wait(pages.try_next()).await;
        page.unwrap_or_else(|late| Err(self.source.error(late)))
    }

    /// Requests the pending entries again if the walk leaves open whether some are gone. A bank
    /// that does not list pending entries alone lists them among the others.
    async fn pending(
        &self,
        window: &mut Window<'_>,
        report: &mut AccountReport,
    ) -> Result<PendingCoverage, SyncError> {
        if window.count_unresolved_pending().await? == 0 && !window.needs_pending_list() {
            return Ok(PendingCoverage::AsListed);
        }
        for status in [BookingStatus::Pending, BookingStatus::Both] {
            match self.all_pending(window, report, status).await {
                Ok(()) => {
                    report.pending_unknown = None;
                    return Ok(PendingCoverage::Complete);
                }
                Err(WalkError::Failed(error)) => return Err(error),
                // Booked entries are stored all the same, and the next run retries.
                Err(WalkError::Bank(error, _)) => {
                    let another = may_concern_request(&error);
                    report.pending_unknown = Some(error);
                    if !another {
                        break;
                    }
                }
            }
        }
        Ok(PendingCoverage::Unknown)
    }

    async fn all_pending(
        &self,
        window: &mut Window<'_>,
        report: &mut AccountReport,
        status: BookingStatus,
    ) -> Result<(), WalkError> {
        let from = guaranteed_from(self.moment.today);
        let filter = TransactionFilter {
            booking_status: status,
            page_size: self.options.page_size,
            ..TransactionFilter::since(from)
        };
        window.begin_pending_list().await?;
        let mut pages = self.source.pages(self.card, self.resource, &filter);
        let mut read = 0;
        loop {
            let page = match self.next(&mut pages).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(()),
                Err(error) if read == 0 && reports_no_transactions(&error) => return Ok(()),
                Err(error) => return Err(WalkError::Bank(error, read)),
            };
            report.pages += 1;
            read += 1;
            report.deviations.append(page.deviations.clone());
            window.add_pending_page(&page, from).await?;
        }
    }
}

fn request_for(way: &Way) -> (ListScope, TransactionFilter) {
    match way {
        Way::Everything { from } | Way::Dates { from } => (
            ListScope::Period { from: *from },
            TransactionFilter::since(*from),
        ),
        Way::AfterEntry { reference } => (
            ListScope::Delta,
            TransactionFilter::after_entry(reference.clone()),
        ),
        Way::AfterLastReport => (ListScope::Delta, TransactionFilter::after_last_report()),
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

    /// Adds what the walk has changed so far to what was there before it.
    fn add(&mut self, before: Tally, walk: Tally) {
        self.entries = before.entries + walk.entries;
        self.new = before.new + walk.new;
        self.changed = before.changed + walk.changed;
        self.removed = before.removed + walk.removed;
        self.matched = before.matched + walk.matched;
    }
}
