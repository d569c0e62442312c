//! Walk through an account's transactions, page by page into the local copy.
//!
//! Pages are written in batches, each in a transaction of its own, so that other writers wait for
//! one batch and not for a slow bank. An aborted walk does no harm: its entries stay, unseen
//! entries stay too, and the next walk starts anew. Only a complete walk removes entries that the
//! bank no longer lists, and advances the day up to which the copy is complete.
//!
//! - [`matching`]: which stored entry a listed one equals, and provisional entries.
//! - [`settling`]: what is removed, changed, booked or new once the list was read to its end.
//! - [`coverage`]: the days for which a list proves that an entry does not exist.
//!
//! The outcome follows from the list and the copy alone, whatever the order of the list and its
//! page breaks. Cases that need a list of whole days are recorded in the account's row
//! (`unsettled`) when they are found, so that they survive a crash: names in a delta report that
//! the copy has, blank names, and repeated entries.
//!
//! Cost: one look-up by content and one write for each entry of a page; one more look-up by name
//! for a new entry. All use an index, whatever number of entries share a content or a name. Memory:
//! a page.

mod coverage;
mod matching;
mod settling;

use std::cmp::Reverse;

use chrono::NaiveDate;
use sqlx::Row as _;

use self::matching::IncomingEntry;
use super::SyncError;
use super::copy::{BATCH_ROWS, CopyError, LocalCopy, WriteTransaction};
use super::order::{Direction, Order, Reversal};
use super::row::{Digest, Row};
use crate::pages::EntryPage;

/// The transactions that a walk lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListScope {
    /// All transactions from that day on.
    Period { from: NaiveDate },
    /// New transactions, possibly without some pending ones.
    Delta,
}

/// Time of a walk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) today: NaiveDate,
}

/// Knowledge of the pending entries at the end of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PendingCoverage {
    /// As far as the walk listed them.
    AsListed,
    /// All were listed in a separate request.
    Complete,
    /// Unknown: pending entries stay.
    Unknown,
}

/// Counts of a walk's entries and changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) entries: u64,
    pub(super) new: u64,
    pub(super) changed: u64,
    pub(super) removed: u64,
    pub(super) matched: u64,
}

/// An entry after which the next delta report can start. The newest sorts first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Anchor {
    newest: Reverse<(NaiveDate, i64)>,
    name: Digest,
    reference: String,
}

impl From<sqlx::Error> for SyncError {
    fn from(error: sqlx::Error) -> Self {
        Self::Copy(error.into())
    }
}

/// Seconds after which an interrupted request is certainly no longer being answered.
const REQUEST_EXPIRY_SECONDS: i64 = 120;

/// Anchors that are kept: a name that turns out to be shared cannot be used.
const MAX_ANCHORS: usize = 20;

/// Value of `entry.dated`: the day is the booking date.
const DATED_BY_BOOKING: i64 = 1;
/// Value of `entry.dated`: the day is another one that the bank gives.
const DATED_BY_VALUE: i64 = 2;

/// Days between value date and booking date, at most.
const MAX_VALUE_DATE_DAYS: u64 = 31;

/// The kinds of entries for which the bank has sent a list, even an empty one.
#[derive(Debug, Clone, Copy, Default)]
struct ListedKinds {
    booked: bool,
    pending: bool,
}

/// A walk in progress.
pub(super) struct Window<'a> {
    copy: &'a LocalCopy,
    account: i64,
    scope: ListScope,
    moment: Moment,
    /// Whether the bank gives this report only once.
    is_one_time: bool,
    generation: i64,
    /// Time of the last complete walk.
    last_complete_walk: Option<i64>,
    /// Day of the last complete walk: the copy is complete up to it.
    complete_until: Option<NaiveDate>,
    /// First day from which the copy is complete.
    complete_from: Option<NaiveDate>,
    /// Whether the copy has pending entries that may be booked by now.
    pending: bool,
    overlap_days: u64,
    pages: u64,
    order: [Order; 2],
    listed: ListedKinds,
    /// The day from which a list of whole days is needed.
    recheck_from: Option<NaiveDate>,
    /// Whether a list of all pending entries is needed.
    recheck_pending: bool,
    anchors: Vec<Anchor>,
    /// Entries that could not be decoded.
    pub(super) left_out: u64,
    /// Those of the separate list of pending entries.
    pending_left_out: u64,
    pub(super) tally: Tally,
}

impl<'a> Window<'a> {
    /// Begins a walk. Another walk through this account, also of another program, then fails with
    /// [`SyncError::Overtaken`] at its next page.
    pub(super) async fn begin(
        copy: &'a LocalCopy,
        account: i64,
        scope: ListScope,
        moment: Moment,
        is_one_time: bool,
    ) -> Result<Self, SyncError> {
        let mut sql = copy.begin().await?;
        // A report that the bank gives once counts as lost until it has arrived, and only a
        // complete walk makes up for it. It is not requested while another request for it may be
        // running.
        let row = sqlx::query(
            "UPDATE account SET generation = generation + 1, in_flight = CASE WHEN ?1 THEN ?2 ELSE in_flight END \
             WHERE id = ?3 AND NOT (?1 AND in_flight <> 0) \
             RETURNING generation, synced, complete, since, oldest_first",
        )
        .bind(is_one_time)
        .bind(moment.now.max(1))
        .bind(account)
        .fetch_optional(&mut *sql)
        .await?
        .ok_or(SyncError::Overtaken)?;
        let generation: i64 = row.try_get("generation")?;
        let pending = sqlx::query("SELECT 1 FROM entry WHERE account = ? AND booked = 0 LIMIT 1")
            .bind(account)
            .fetch_optional(&mut *sql)
            .await?
            .is_some();
        sql.commit().await?;
        let known = row.try_get::<Option<bool>, _>("oldest_first")?;
        let known = known.map(|oldest_first| {
            if oldest_first {
                Direction::OldestFirst
            } else {
                Direction::NewestFirst
            }
        });
        // Entries of later walks are newer.
        let order = || Order::around(generation.saturating_mul(1 << 32), known);
        Ok(Self {
            copy,
            account,
            scope,
            moment,
            is_one_time,
            generation,
            last_complete_walk: row.try_get("synced")?,
            complete_until: parse_day(row.try_get("complete")?)?,
            complete_from: parse_day(row.try_get("since")?)?,
            pending,
            overlap_days: 0,
            pages: 0,
            order: [order(), order()],
            listed: ListedKinds::default(),
            recheck_from: None,
            recheck_pending: false,
            anchors: Vec::new(),
            left_out: 0,
            pending_left_out: 0,
            tally: Tally::default(),
        })
    }

    /// Sets the days of the last walk that must be listed again, or there is a gap.
    pub(super) fn with_overlap(mut self, days: u32) -> Self {
        self.overlap_days = days.into();
        self
    }

    /// Takes over the anchors of a complete walk that needs a recheck.
    pub(super) fn with_anchors(mut self, anchors: Vec<Anchor>) -> Self {
        self.anchors = anchors;
        self
    }

    /// The entries after which the next delta report can start, with precedence over those of the
    /// following recheck: a delta report is in the order of arrival.
    pub(super) fn into_anchors(self) -> Vec<Anchor> {
        let first = |anchor: Anchor| Anchor {
            newest: Reverse((NaiveDate::MAX, anchor.newest.0.1)),
            ..anchor
        };
        self.anchors.into_iter().map(first).collect()
    }

    /// Whether the bank has sent no list of booked transactions, not even an empty one.
    pub(super) const fn lacks_booked_list(&self) -> bool {
        !self.listed.booked
    }

    /// Writes the next page.
    pub(super) async fn add_page(&mut self, page: &EntryPage<Row>) -> Result<(), SyncError> {
        self.listed.booked |= page.lists_booked;
        self.listed.pending |= page.lists_pending;
        self.left_out += u64::try_from(page.left_out).unwrap_or(u64::MAX);
        for (booked, rows) in [(false, &page.pending), (true, &page.booked)] {
            self.write_rows(booked, rows, self.listed_from()).await?;
        }
        self.anchors.sort();
        self.anchors.dedup();
        self.anchors.truncate(MAX_ANCHORS);
        self.pages += 1;
        Ok(())
    }

    /// Writes a page of all pending entries since that day.
    pub(super) async fn add_pending_page(
        &mut self,
        page: &EntryPage<Row>,
        from: NaiveDate,
    ) -> Result<(), SyncError> {
        // These entries are listed for the second time: unreadable ones count once.
        self.pending_left_out += u64::try_from(page.left_out).unwrap_or(u64::MAX);
        self.left_out = self.left_out.max(self.pending_left_out);
        self.write_rows(false, &page.pending, Some(from)).await
    }

    /// Writes rows in batches. Only written rows are counted.
    async fn write_rows(
        &mut self,
        booked: bool,
        rows: &[Row],
        listed_from: Option<NaiveDate>,
    ) -> Result<(), SyncError> {
        let [pending_order, booked_order] = &mut self.order;
        let order = if booked { booked_order } else { pending_order };
        let places = order.page(rows.iter().map(|row| row.booking_date.or(row.value_date)));
        if let Some(reversal) = order.reversal() {
            self.reverse_order(booked, reversal).await?;
        }
        let mut number = 0;
        for batch in rows.chunks(BATCH_ROWS) {
            let before = self.tally;
            let batch = batch.iter().zip(number..).map(|(row, number)| {
                let place = places.of(number);
                (row, place)
            });
            let batch: Vec<_> = batch.collect();
            number += batch.len();
            let written = self.write_batch(booked, &batch, listed_from).await;
            if written.is_err() {
                self.tally = before;
                return written;
            }
        }
        Ok(())
    }

    /// Reverses the order of the pages so far.
    async fn reverse_order(&self, booked: bool, reversal: Reversal) -> Result<(), SyncError> {
        let mut sql = self.begin_write().await?;
        sqlx::query(
            "UPDATE entry SET place = ? - place WHERE account = ? AND booked = ? AND generation = ? \
             AND place BETWEEN ? AND ?",
        )
        .bind(reversal.first.saturating_add(reversal.last))
        .bind(self.account)
        .bind(booked)
        .bind(self.generation)
        .bind(reversal.first)
        .bind(reversal.last)
        .execute(&mut *sql)
        .await?;
        Ok(sql.commit().await?)
    }

    async fn write_batch(
        &mut self,
        booked: bool,
        batch: &[(&Row, i64)],
        listed_from: Option<NaiveDate>,
    ) -> Result<(), SyncError> {
        let mut sql = self.begin_write().await?;
        for (row, place) in batch {
            let incoming = IncomingEntry {
                booked,
                row,
                place: *place,
                content: row.content_digest(&self.copy.digester),
                name: row.name_digest(&self.copy.digester),
                listed_from: listed_from.map(|day| day.to_string()),
            };
            self.upsert(&mut sql, &incoming).await?;
        }
        Ok(sql.commit().await?)
    }

    /// Records that a list of whole days from that day on is needed, in this run or a later one.
    async fn require_recheck(
        &mut self,
        sql: &mut WriteTransaction,
        day: NaiveDate,
    ) -> Result<(), CopyError> {
        if self.recheck_from.is_some_and(|asked| asked <= day) {
            return Ok(());
        }
        self.recheck_from = Some(day);
        sqlx::query(
            "UPDATE account SET unsettled = CASE WHEN unsettled <= ?1 THEN unsettled ELSE ?1 END WHERE id = ?2",
        )
        .bind(day.to_string())
        .bind(self.account)
        .execute(&mut **sql)
        .await?;
        Ok(())
    }

    /// The number of unseen pending entries that are not proved to be gone.
    pub(super) async fn count_unresolved_pending(&self) -> Result<i64, CopyError> {
        let from = self.pending_listed_from().map(|day| day.to_string());
        let row = sqlx::query(
            "SELECT COUNT(*) AS number FROM entry WHERE account = ? AND booked = 0 AND generation < ? \
             AND NOT (booked_as IS NOT NULL AND sure = 1) AND (? IS NULL OR listed_from IS NULL OR listed_from < ?)",
        )
        .bind(self.account)
        .bind(self.generation)
        .bind(&from)
        .bind(&from)
        .fetch_one(&self.copy.pool)
        .await?;
        Ok(row.try_get("number")?)
    }

    /// Whether this is a delta report that leaves pending entries open: many contain booked entries
    /// only, and a pending one that is stored already may be repeated or have a twin.
    pub(super) fn needs_pending_list(&self) -> bool {
        self.scope == ListScope::Delta && (!self.listed.pending || self.recheck_pending)
    }

    /// Prepares for a list of all pending entries: marks them as unseen.
    pub(super) async fn begin_pending_list(&self) -> Result<(), SyncError> {
        let mut sql = self.begin_write().await?;
        sqlx::query("UPDATE entry SET generation = ? - 1 WHERE account = ? AND booked = 0 AND generation = ?")
            .bind(self.generation)
            .bind(self.account)
            .bind(self.generation)
            .execute(&mut *sql)
            .await?;
        sql.commit().await?;
        Ok(())
    }

    /// Ends a walk that was read to its end and needs no recheck.
    pub(super) async fn finish(mut self, pending: PendingCoverage) -> Result<Tally, SyncError> {
        // An unreadable entry may be any of the unseen ones.
        let pending = if self.left_out > 0 {
            PendingCoverage::Unknown
        } else {
            pending
        };
        let is_complete = self.left_out == 0;
        let anchor = self.newest_unique_anchor().await?;
        let mut sql = self.begin_write().await?;
        self.tally.matched += self.merge_booked_pending(&mut sql, pending).await?;
        self.settle_pending(&mut sql, pending).await?;
        let about = format!("reference/{}", self.account);
        let reference = anchor
            .map(|reference| self.copy.vault.seal(&about, reference.as_bytes()))
            .transpose()
            .map_err(CopyError::from)?;
        let direction = match self.scope {
            ListScope::Period { .. } => self.order[1].direction(),
            ListScope::Delta => None,
        };
        sqlx::query(
            "UPDATE account SET in_flight = CASE WHEN ?1 OR in_flight <= ?2 THEN 0 ELSE in_flight END, \
             synced = CASE WHEN ?3 THEN ?4 ELSE synced END, complete = ?5, \
             reference = CASE WHEN ?6 THEN COALESCE(?7, reference) ELSE reference END, since = ?8, \
             unsettled = CASE WHEN ?6 THEN NULL ELSE unsettled END, oldest_first = COALESCE(?9, oldest_first) \
             WHERE id = ?10",
        )
        // Another request may still be answered after this list was made.
        .bind(self.is_one_time)
        .bind(self.moment.now.saturating_sub(REQUEST_EXPIRY_SECONDS))
        .bind(pending != PendingCoverage::Unknown)
        .bind(self.moment.now)
        .bind(self.moment.today.to_string())
        .bind(is_complete)
        .bind(reference)
        .bind(self.first_complete_day().map(|day| day.to_string()))
        .bind(direction.map(|direction| direction == Direction::OldestFirst))
        .bind(self.account)
        .execute(&mut *sql)
        .await?;
        sql.commit().await?;
        Ok(self.tally)
    }

    /// The newest entry with a unique name.
    async fn newest_unique_anchor(&self) -> Result<Option<String>, CopyError> {
        for anchor in &self.anchors {
            let namesakes = sqlx::query(
                "SELECT 1 FROM entry WHERE account = ? AND booked = 1 AND name = ? AND doubtful IN (0, 1) LIMIT 2",
            )
            .bind(self.account)
            .bind(anchor.name.as_slice())
            .fetch_all(&self.copy.pool)
            .await?;
            if namesakes.len() == 1 {
                return Ok(Some(anchor.reference.clone()));
            }
        }
        Ok(None)
    }

    /// Begins a transaction; fails if a later walk has begun.
    async fn begin_write(&self) -> Result<WriteTransaction, SyncError> {
        let mut sql = self.copy.begin().await?;
        let row = sqlx::query("SELECT generation FROM account WHERE id = ?")
            .bind(self.account)
            .fetch_optional(&mut *sql)
            .await?;
        let generation: Option<i64> = row.map(|row| row.try_get("generation")).transpose()?;
        if generation == Some(self.generation) {
            Ok(sql)
        } else {
            Err(SyncError::Overtaken)
        }
    }

    fn listed_from(&self) -> Option<NaiveDate> {
        match self.scope {
            ListScope::Period { from } => Some(from),
            ListScope::Delta => None,
        }
    }

    /// The same for pending entries, if the bank has listed any.
    fn pending_listed_from(&self) -> Option<NaiveDate> {
        self.listed_from().filter(|_| self.listed.pending)
    }
}

fn batch_rows() -> i64 {
    i64::try_from(BATCH_ROWS).unwrap_or(i64::MAX)
}

fn parse_day(text: Option<String>) -> Result<Option<NaiveDate>, CopyError> {
    text.map(|text| text.parse())
        .transpose()
        .map_err(|_| CopyError::Corrupt { what: "a day" })
}
