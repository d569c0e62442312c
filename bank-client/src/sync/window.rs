//! A walk through an account's transactions, page by page into the copy.
//!
//! A page is written in pieces, each a transaction of the database: whoever else writes waits for one of them, and not for
//! the bank with the longest pages. A walk that breaks off has changed nothing but for the better: what it brought stays,
//! what it has not seen stays too, and the next walk starts from its beginning. Only one that was read whole removes what
//! the bank does not give any more, and says how far the copy has come.
//!
//! **Matching.** An entry of a list is the one in the copy of which the bank says the same, and which this walk has not met
//! yet; of several that are equal, any. If there is none, it is inserted. A name is a hint alone: where the copy has an entry
//! of the same name that was not met so far, the new one is *doubtful*, and not shown. At the end of a list of whole days, what
//! was not met is gone; it and a doubtful entry of its name are one entry that has changed, which keeps its id and times. What
//! is doubtful still, is new. The outcome follows from what is listed and what is in the copy, whatever the order of the list
//! and wherever its pages break.
//!
//! **What one list does not settle** is settled by a longer one, which [`Window::settle_booked`] asks for: a new entry that
//! has the name of one before the first day (changed, or a twin?), and an entry without a day of booking that is not listed
//! any more (gone, or older than the list?). What only a delta report says of names that are in the copy, of blank names, and
//! of entries that are known for long, is settled by a list of whole days. That this is so stands in the account's row
//! (`unsettled`) from the moment at which it is found, so that no crash forgets it.
//!
//! Cost: for each entry of a page one look-up by content and one write; for one that is new, a look-up by name too; for one
//! that is gone, two look-ups. All go along an index, whatever number of entries share a content or a name. Memory: a page.

use std::cmp::Reverse;

use chrono::NaiveDate;
use sqlx::Row as _;

use super::SyncError;
use super::copy::{CopyError, LocalCopy, PIECE, WriteTransaction, about_entry};
use super::order::{Direction, Order, Turn};
use super::plan::{always_from, back};
use super::row::{Digest, Row};
use crate::pages::PageOf;

/// What a walk goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// All that the bank has from that day on.
    Period { from: NaiveDate },
    /// What is new, and perhaps not all that is pending.
    Delta,
}

/// When a walk takes place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) today: NaiveDate,
}

/// What is known of the pending entries at the end of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    /// What the walk says of them.
    AsListed,
    /// They were all listed once more.
    Whole,
    /// It is not known which are still there.
    Unknown,
}

/// What a walk has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) entries: u64,
    pub(super) new: u64,
    pub(super) changed: u64,
    pub(super) removed: u64,
    pub(super) matched: u64,
}

/// An entry after which the next delta report can start: the first is the newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Anchor {
    newest: Reverse<(NaiveDate, i64)>,
    name: Digest,
    mark: String,
}

impl From<sqlx::Error> for SyncError {
    fn from(error: sqlx::Error) -> Self {
        Self::Copy(error.into())
    }
}

/// Seconds after which a request that was cut off is answered by no bank any more.
const SETTLED: i64 = 120;

/// Anchors that are kept in mind: of names that turn out to be shared, none serves.
const ANCHORS: usize = 20;

/// Days by which a value date and the day of booking are never apart.
const NEARLY: u64 = 31;

/// Pending entries that share a key, at most: a key of more is no hint, and looking through them would take too long.
const MAX_NAMESAKES: i64 = 100;

/// Equal entries without a day of booking that are looked through for the one that fits best, at most.
const MAX_EQUALS: i64 = 100;

/// Of `entry.dated`: the day is that of booking.
const BOOKED: i64 = 1;
/// The day is another one that the bank gives.
const VALUED: i64 = 2;

/// What the bank has listed, if only that there is none.
#[derive(Debug, Clone, Copy, Default)]
struct Listed {
    booked: bool,
    pending: bool,
}

pub(super) struct Window<'a> {
    copy: &'a LocalCopy,
    account: i64,
    span: Span,
    moment: Moment,
    /// What it reads, the bank tells once.
    told_once: bool,
    generation: i64,
    /// When the account was last read whole, on which day, and since when everything is here.
    synced: Option<i64>,
    complete: Option<NaiveDate>,
    since: Option<NaiveDate>,
    /// Whether there is anything pending that could be booked by now.
    pending: bool,
    overlap: u64,
    pages: u64,
    order: [Order; 2],
    listed: Listed,
    /// From which day on only a list of whole days tells.
    question: Option<NaiveDate>,
    /// Only a list of all that is pending tells.
    pending_question: bool,
    anchors: Vec<Anchor>,
    /// Entries that could not be read.
    pub(super) left_out: u64,
    /// Those in the list of pending ones alone.
    pending_left_out: u64,
    pub(super) tally: Tally,
}

impl<'a> Window<'a> {
    /// Begins a walk. Any other one through this account, of another program perhaps, takes no further page.
    pub(super) async fn begin(
        copy: &'a LocalCopy,
        account: i64,
        span: Span,
        moment: Moment,
        told_once: bool,
    ) -> Result<Self, SyncError> {
        let mut sql = copy.begin().await?;
        // What is told once counts as lost until it is here; no other walk than a whole one makes up for it. Nobody asks for
        // it while somebody else may have.
        let row = sqlx::query(
            "UPDATE account SET generation = generation + 1, in_flight = CASE WHEN ?1 THEN ?2 ELSE in_flight END \
             WHERE id = ?3 AND NOT (?1 AND in_flight <> 0) \
             RETURNING generation, synced, complete, since, oldest_first",
        )
        .bind(told_once)
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
        // Later walks bring newer entries.
        let order = || Order::around(generation.saturating_mul(1 << 32), known);
        Ok(Self {
            copy,
            account,
            span,
            moment,
            told_once,
            generation,
            synced: row.try_get("synced")?,
            complete: day_of(row.try_get("complete")?)?,
            since: day_of(row.try_get("since")?)?,
            pending,
            overlap: 0,
            pages: 0,
            order: [order(), order()],
            listed: Listed::default(),
            question: None,
            pending_question: false,
            anchors: Vec::new(),
            left_out: 0,
            pending_left_out: 0,
            tally: Tally::default(),
        })
    }

    /// So many days of the last walk have to be listed once more, or there is a gap.
    pub(super) fn overlapping(mut self, days: u32) -> Self {
        self.overlap = days.into();
        self
    }

    /// Goes on from a walk that was read to its end and has left questions: its anchors serve.
    pub(super) fn going_on(mut self, anchors: Vec<Anchor>) -> Self {
        self.anchors = anchors;
        self
    }

    /// The entries after which the next delta report can start. They serve rather than those of a walk that goes on from
    /// here: a delta report is in the order of arrival.
    pub(super) fn into_anchors(self) -> Vec<Anchor> {
        let first = |anchor: Anchor| Anchor {
            newest: Reverse((NaiveDate::MAX, anchor.newest.0.1)),
            ..anchor
        };
        self.anchors.into_iter().map(first).collect()
    }

    /// Whether the bank has said that there are no booked transactions in another way than by an empty list.
    pub(super) const fn is_unlisted(&self) -> bool {
        !self.listed.booked
    }

    /// Takes the next page.
    pub(super) async fn take(&mut self, page: &PageOf<Row>) -> Result<(), SyncError> {
        self.listed.booked |= page.lists_booked;
        self.listed.pending |= page.lists_pending;
        self.left_out += u64::try_from(page.left_out).unwrap_or(u64::MAX);
        for (booked, rows) in [(false, &page.pending), (true, &page.booked)] {
            self.put_all(booked, rows, self.listed_from()).await?;
        }
        self.anchors.sort();
        self.anchors.dedup();
        self.anchors.truncate(ANCHORS);
        self.pages += 1;
        Ok(())
    }

    /// Takes a page of all that is pending since that day.
    pub(super) async fn take_pending(
        &mut self,
        page: &PageOf<Row>,
        from: NaiveDate,
    ) -> Result<(), SyncError> {
        // They are listed once more: what was left out then counts once.
        self.pending_left_out += u64::try_from(page.left_out).unwrap_or(u64::MAX);
        self.left_out = self.left_out.max(self.pending_left_out);
        self.put_all(false, &page.pending, Some(from)).await
    }

    /// Writes rows, piece by piece. What counts is what is written.
    async fn put_all(
        &mut self,
        booked: bool,
        rows: &[Row],
        listed_from: Option<NaiveDate>,
    ) -> Result<(), SyncError> {
        let [pending_order, booked_order] = &mut self.order;
        let order = if booked { booked_order } else { pending_order };
        let places = order.page(rows.iter().map(|row| row.booked_on.or(row.other_day)));
        if let Some(turn) = order.turn() {
            self.turn_round(booked, turn).await?;
        }
        let mut number = 0;
        for piece in rows.chunks(PIECE) {
            let before = self.tally;
            let piece = piece.iter().zip(number..).map(|(row, number)| {
                let place = places.of(number);
                (row, place)
            });
            let piece: Vec<_> = piece.collect();
            number += piece.len();
            let written = self.put_piece(booked, &piece, listed_from).await;
            if written.is_err() {
                self.tally = before;
                return written;
            }
        }
        Ok(())
    }

    /// Turns the order of the pages so far round.
    async fn turn_round(&self, booked: bool, turn: Turn) -> Result<(), SyncError> {
        let mut sql = self.enter().await?;
        sqlx::query(
            "UPDATE entry SET place = ? - place WHERE account = ? AND booked = ? AND generation = ? \
             AND place BETWEEN ? AND ?",
        )
        .bind(turn.first.saturating_add(turn.last))
        .bind(self.account)
        .bind(booked)
        .bind(self.generation)
        .bind(turn.first)
        .bind(turn.last)
        .execute(&mut *sql)
        .await?;
        Ok(sql.commit().await?)
    }

    async fn put_piece(
        &mut self,
        booked: bool,
        piece: &[(&Row, i64)],
        listed_from: Option<NaiveDate>,
    ) -> Result<(), SyncError> {
        let mut sql = self.enter().await?;
        for (row, place) in piece {
            let put = Put {
                booked,
                row,
                place: *place,
                content: row.content(&self.copy.digester),
                name: row.name(&self.copy.digester),
                listed_from: listed_from.map(|day| day.to_string()),
            };
            self.put(&mut sql, &put).await?;
        }
        Ok(sql.commit().await?)
    }

    async fn put(&mut self, sql: &mut WriteTransaction, put: &Put<'_>) -> Result<(), CopyError> {
        self.tally.entries += 1;
        let found = self.find_equal(sql, put).await?;
        if put.booked {
            self.drop_anchor(put, found.is_some());
        }
        let namesake = found.is_none() && self.has_namesake(sql, put).await?;
        if self.span == Span::Delta {
            let is_known = found.as_ref().is_some_and(|found| self.is_known(found));
            if put.booked && (is_known || namesake || !is_identified(put.row)) {
                return self.ask(sql, self.day(put.row).0).await;
            }
            self.pending_question |= is_known;
        }
        match found {
            Some(found) => self.see(sql, put, found.id).await,
            None => self.insert(sql, put, namesake).await,
        }
    }

    /// An entry in the copy of which the bank says the same, and which was not met so far. Of equal ones without a day of
    /// booking, the one that is known to be listed for the shortest time: then one that is not met and was listed so is gone,
    /// and not another one that is older. One that a longer list did not have is none of this one's.
    async fn find_equal(
        &self,
        sql: &mut WriteTransaction,
        put: &Put<'_>,
    ) -> Result<Option<Found>, CopyError> {
        let statement = if put.row.booked_on.is_some() {
            "SELECT id, first_seen, doubtful FROM entry WHERE account = ?1 AND booked = ?2 AND content = ?3 \
             AND generation < ?4 LIMIT 1"
        } else {
            "SELECT id, first_seen, doubtful FROM (SELECT * FROM entry WHERE account = ?1 AND booked = ?2 \
             AND content = ?3 AND generation < ?4 LIMIT ?6) \
             WHERE outside IS NULL OR ?5 IS NULL OR outside > ?5 ORDER BY listed_from DESC LIMIT 1"
        };
        let found = sqlx::query(statement)
            .bind(self.account)
            .bind(put.booked)
            .bind(put.content.as_slice())
            .bind(self.generation)
            .bind(&put.listed_from)
            .bind(MAX_EQUALS)
            .fetch_optional(&mut **sql)
            .await?;
        let found = found.map(|row| {
            Ok::<_, sqlx::Error>(Found {
                id: row.try_get("id")?,
                first_seen: row.try_get("first_seen")?,
                doubtful: row.try_get("doubtful")?,
            })
        });
        Ok(found.transpose()?)
    }

    /// Whether the copy has an entry of that name that was not met so far.
    async fn has_namesake(
        &self,
        sql: &mut WriteTransaction,
        put: &Put<'_>,
    ) -> Result<bool, CopyError> {
        let found = sqlx::query(
            "SELECT 1 FROM entry WHERE account = ? AND booked = ? AND name = ? AND doubtful IN (0, 1) \
             AND generation < ? LIMIT 1",
        )
        .bind(self.account)
        .bind(put.booked)
        .bind(put.name.as_slice())
        .bind(self.generation)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(found.is_some())
    }

    /// Whether an entry was known before this walk. Where a delta report has it, the bank repeats it, or there is another one
    /// like it. What came with a walk that broke off is told again.
    fn is_known(&self, found: &Found) -> bool {
        found.doubtful || self.synced.is_some_and(|synced| found.first_seen <= synced)
    }

    /// Notes an entry of the first page, or one that is known: what came before it is in this walk or an earlier one.
    fn drop_anchor(&mut self, put: &Put<'_>, known: bool) {
        let (Some(mark), Some(day)) = (put.row.mark(), put.row.booked_on) else {
            return;
        };
        if self.pages > 0 && !known {
            return;
        }
        // A delta report is in the order of arrival.
        let day = match (self.span, self.order[1].direction()) {
            (Span::Delta, Some(_)) => NaiveDate::MAX,
            _ => day,
        };
        self.anchors.push(Anchor {
            newest: Reverse((day, put.place)),
            name: put.name,
            mark: mark.to_owned(),
        });
        if self.anchors.len() > PIECE {
            self.anchors.sort();
            self.anchors.truncate(ANCHORS);
        }
    }

    /// Notes that only a list of whole days from that day on tells, for this run and for any later one.
    async fn ask(&mut self, sql: &mut WriteTransaction, day: NaiveDate) -> Result<(), CopyError> {
        if self.question.is_some_and(|asked| asked <= day) {
            return Ok(());
        }
        self.question = Some(day);
        sqlx::query(
            "UPDATE account SET unsettled = CASE WHEN unsettled <= ?1 THEN unsettled ELSE ?1 END WHERE id = ?2",
        )
        .bind(day.to_string())
        .bind(self.account)
        .execute(&mut **sql)
        .await?;
        Ok(())
    }

    /// How many pending entries the walk has not met, and cannot say of that they are gone.
    pub(super) async fn doubtful(&self) -> Result<i64, CopyError> {
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

    /// Whether it is a delta report that does not settle what is pending: many have booked entries alone, so that they do not
    /// say that there is none; and a pending one that is known may be repeated, or have a twin.
    pub(super) fn lacks_pending(&self) -> bool {
        self.span == Span::Delta && (!self.listed.pending || self.pending_question)
    }

    /// Makes ready for a list of all that is pending: none of it counts as met.
    pub(super) async fn begin_pending(&self) -> Result<(), SyncError> {
        let mut sql = self.enter().await?;
        sqlx::query("UPDATE entry SET generation = ? - 1 WHERE account = ? AND booked = 0 AND generation = ?")
            .bind(self.generation)
            .bind(self.account)
            .bind(self.generation)
            .execute(&mut *sql)
            .await?;
        sql.commit().await?;
        Ok(())
    }

    /// Settles what has become of the booked entries, once the list was read to its end. `Some`: what is open is settled by
    /// a list of whole days from that day on. After the `last` there is no longer one: what is open then is kept.
    pub(super) async fn settle_booked(
        &mut self,
        last: bool,
    ) -> Result<Option<NaiveDate>, SyncError> {
        let Span::Period { from } = self.span else {
            if self.left_out > 0 || self.question.is_some() {
                let mut sql = self.enter().await?;
                self.ask(&mut sql, self.moment.today).await?;
                // The report is here, and what is open in it stands in the account's row.
                sqlx::query("UPDATE account SET in_flight = 0 WHERE id = ? AND ?")
                    .bind(self.account)
                    .bind(self.told_once)
                    .execute(&mut *sql)
                    .await?;
                sql.commit().await?;
            }
            return Ok(self.question);
        };
        self.question = None;
        let proof = self.proof(from).await?;
        self.span = Span::Period {
            from: proof.listed_from,
        };
        if self.left_out > 0 || !self.listed.booked {
            self.judge_doubtful(from, Judgement::Kept).await?;
            return Ok(None);
        }
        // The bank has just been asked for more than it shows, and has left a gap.
        let last = last || proof.is_cut;
        let mut from = from;
        if proof.is_cut {
            self.complete = None;
            from = proof.listed_from;
        }
        self.remove_booked(proof.listed_from).await?;
        self.judge_undated(from, proof.surely_from, last).await?;
        let judgement = if last {
            Judgement::Last
        } else {
            Judgement::Open
        };
        self.judge_doubtful(from, judgement).await?;
        Ok(self.question)
    }

    /// Whether the copy has booked entries of the days that were asked for, of which this walk has met none.
    pub(super) async fn is_contradicted(&self) -> Result<bool, CopyError> {
        let Span::Period { from } = self.span else {
            return Ok(false);
        };
        if self.listed.booked {
            return Ok(false);
        }
        let found = sqlx::query(
            "SELECT 1 FROM entry WHERE account = ? AND booked = 1 AND day >= ? AND generation < ? LIMIT 1",
        )
        .bind(self.account)
        .bind(from.to_string())
        .bind(self.generation)
        .fetch_optional(&self.copy.pool)
        .await?;
        Ok(found.is_some())
    }

    /// How far back the bank has listed. A bank need not show more than 90 days (Delegated Regulation (EU) 2018/389, article
    /// 10a(1)(b)), and some show no more, or some months, without a word: earlier days than these were listed as far as the
    /// first entry of the list. Where the copy has entries of such days that are not listed, an entry that is new proves
    /// nothing: banks list one that was booked late under an old day, too.
    async fn proof(&self, from: NaiveDate) -> Result<Proof, CopyError> {
        let always = always_from(self.moment.today);
        if from >= always {
            return Ok(Proof {
                listed_from: from,
                surely_from: from,
                is_cut: false,
            });
        }
        let row = sqlx::query(
            "SELECT MIN(day) AS first, MIN(CASE WHEN first_seen < ?4 THEN day END) AS first_known FROM entry \
             WHERE account = ?1 AND booked = 1 AND dated = 1 AND day >= ?2 AND generation = ?3",
        )
        .bind(self.account)
        .bind(from.to_string())
        .bind(self.generation)
        .bind(self.moment.now)
        .fetch_one(&self.copy.pool)
        .await?;
        let first = |day: Option<NaiveDate>| day.map_or(always, |day| day.min(always));
        let surely_from = first(day_of(row.try_get("first_known")?)?);
        let is_cut = sqlx::query(
            "SELECT 1 FROM entry WHERE account = ? AND booked = 1 AND dated = 1 AND day >= ? AND day < ? \
             AND generation < ? LIMIT 1",
        )
        .bind(self.account)
        .bind(from.to_string())
        .bind(surely_from.to_string())
        .bind(self.generation)
        .fetch_optional(&self.copy.pool)
        .await?
        .is_some();
        let listed_from = if is_cut {
            surely_from
        } else {
            first(day_of(row.try_get("first")?)?)
        };
        Ok(Proof {
            listed_from,
            surely_from,
            is_cut,
        })
    }

    /// Booked entries of the days that were listed, which the bank does not give any more. They are looked for along the
    /// index while others write, and removed piece by piece.
    async fn remove_booked(&mut self, from: NaiveDate) -> Result<(), SyncError> {
        let (mut day, mut place, mut id) = (from.to_string(), i64::MIN, i64::MIN);
        loop {
            let gone = sqlx::query(
                "SELECT id, name, doubtful, day, place FROM entry WHERE account = ?1 AND booked = 1 AND dated = 1 \
                 AND (day, place, id) > (?2, ?3, ?4) AND generation < ?5 \
                 ORDER BY day, place, id LIMIT ?6",
            )
            .bind(self.account)
            .bind(&day)
            .bind(place)
            .bind(id)
            .bind(self.generation)
            .bind(at_once())
            .fetch_all(&self.copy.pool)
            .await?;
            let Some(last) = gone.last() else {
                return Ok(());
            };
            (day, place, id) = (
                last.try_get("day")?,
                last.try_get("place")?,
                last.try_get("id")?,
            );
            let gone: Vec<Gone> = gone.iter().map(Gone::of).collect::<Result<_, _>>()?;
            self.let_go(true, &gone).await?;
        }
    }

    /// Removes entries that are gone, and gives those that have changed their new form.
    async fn let_go(&mut self, booked: bool, gone: &[Gone]) -> Result<(), SyncError> {
        if gone.is_empty() {
            return Ok(());
        }
        let before = self.tally;
        let mut sql = self.enter().await?;
        for gone in gone {
            self.let_one_go(&mut sql, booked, gone).await?;
        }
        let committed = sql.commit().await;
        if committed.is_err() {
            self.tally = before;
        }
        Ok(committed?)
    }

    async fn let_one_go(
        &mut self,
        sql: &mut WriteTransaction,
        booked: bool,
        gone: &Gone,
    ) -> Result<(), CopyError> {
        let form = match &gone.name {
            Some(name) if !gone.doubtful => self.other_form(sql, booked, name).await?,
            _ => None,
        };
        if let Some(form) = form {
            self.tally.changed += 1;
            return change(sql, gone.id, form).await;
        }
        // What was never shown is not missed.
        self.tally.removed += u64::from(!gone.doubtful);
        sqlx::query("DELETE FROM entry WHERE id = ?")
            .bind(gone.id)
            .execute(&mut **sql)
            .await?;
        Ok(())
    }

    /// A doubtful entry of that name that this walk has met.
    async fn other_form(
        &self,
        sql: &mut WriteTransaction,
        booked: bool,
        name: &[u8],
    ) -> Result<Option<i64>, CopyError> {
        let found = sqlx::query(
            "SELECT id FROM entry WHERE account = ? AND booked = ? AND name = ? AND doubtful = 1 AND generation = ? \
             LIMIT 1",
        )
        .bind(self.account)
        .bind(booked)
        .bind(name)
        .bind(self.generation)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(found.map(|row| row.try_get("id")).transpose()?)
    }

    /// Judges the booked entries without a day of booking that were not met: a list of days may leave them out for their age.
    /// Gone is what was listed for a period within this one, or has a value date that is well within what it surely lists.
    async fn judge_undated(
        &mut self,
        from: NaiveDate,
        surely_from: NaiveDate,
        last: bool,
    ) -> Result<(), SyncError> {
        let mut after: (i64, i64) = (i64::MIN, i64::MIN);
        loop {
            let unmet = sqlx::query(
                "SELECT id, name, doubtful, day, dated, listed_from, outside, generation FROM entry WHERE account = ?1 \
                 AND booked = 1 AND dated <> 1 AND generation < ?2 AND (generation, id) > (?3, ?4) \
                 ORDER BY generation, id LIMIT ?5",
            )
            .bind(self.account)
            .bind(self.generation)
            .bind(after.0)
            .bind(after.1)
            .bind(at_once())
            .fetch_all(&self.copy.pool)
            .await?;
            let Some(end) = unmet.last() else {
                return Ok(());
            };
            after = (end.try_get("generation")?, end.try_get("id")?);
            let (mut gone, mut outside) = (Vec::new(), Vec::new());
            let mut question: Option<NaiveDate> = None;
            for row in &unmet {
                let listed_from = day_of(row.try_get("listed_from")?)?;
                let known_outside = day_of(row.try_get("outside")?)?;
                let valued = row.try_get::<i64, _>("dated")? == VALUED;
                let value_day = day_of(row.try_get("day")?)?.filter(|_| valued);
                let surely = value_day.map(|day| back(day, NEARLY));
                // The latest first day of a list that must have it.
                let wide = listed_from.max(surely);
                let listed = if valued { surely_from } else { from };
                let no_longer_list = last || wide.is_some_and(|day| day >= from);
                if wide.is_some_and(|day| day >= listed)
                    || (no_longer_list && value_day.is_some_and(|day| day >= listed))
                {
                    gone.push(Gone::of(row)?);
                } else if known_outside.is_none_or(|day| day > from) {
                    outside.push(Gone::of(row)?.id);
                    let long_ago = value_day.is_some_and(|day| day < back(from, NEARLY));
                    let ask = wide.or(self.since).filter(|_| !last && !long_ago);
                    question = ask.into_iter().chain(question).min();
                }
            }
            self.let_go(true, &gone).await?;
            let mut sql = self.enter().await?;
            for id in outside {
                sqlx::query("UPDATE entry SET outside = ? WHERE id = ?")
                    .bind(from.to_string())
                    .bind(id)
                    .execute(&mut *sql)
                    .await?;
            }
            if let Some(day) = question.filter(|day| *day < from) {
                self.ask(&mut sql, day).await?;
            }
            sql.commit().await?;
        }
    }

    /// Judges what is doubtful still, after what is gone has been removed.
    async fn judge_doubtful(
        &mut self,
        from: NaiveDate,
        judgement: Judgement,
    ) -> Result<(), SyncError> {
        let mut after = i64::MIN;
        loop {
            let doubtful = sqlx::query(
                "SELECT id, name, doubtful FROM entry WHERE account = ? AND doubtful = 1 AND booked = 1 AND id > ? \
                 ORDER BY id LIMIT ?",
            )
            .bind(self.account)
            .bind(after)
            .bind(at_once())
            .fetch_all(&self.copy.pool)
            .await?;
            let Some(end) = doubtful.last() else {
                return Ok(());
            };
            after = end.try_get("id")?;
            let before = self.tally;
            let mut sql = self.enter().await?;
            for row in &doubtful {
                let doubtful = Gone::of(row)?;
                let open = match judgement {
                    Judgement::Last => None,
                    Judgement::Open => self.changed_from(&mut sql, &doubtful, from).await?,
                    Judgement::Kept => self.has_other(&mut sql, &doubtful).await?.then_some(from),
                };
                match open {
                    Some(_) if judgement == Judgement::Kept => {}
                    Some(day) => self.ask(&mut sql, day).await?,
                    None => {
                        self.tally.new += 1;
                        sqlx::query("UPDATE entry SET doubtful = 0 WHERE id = ?")
                            .bind(doubtful.id)
                            .execute(&mut *sql)
                            .await?;
                    }
                }
            }
            let committed = sql.commit().await;
            if committed.is_err() {
                self.tally = before;
            }
            committed?;
        }
    }

    /// The day of the one entry before these days that a doubtful one may be another form of. Where several share its name,
    /// or one was met, the name says nothing.
    async fn changed_from(
        &self,
        sql: &mut WriteTransaction,
        doubtful: &Gone,
        from: NaiveDate,
    ) -> Result<Option<NaiveDate>, CopyError> {
        let namesakes = sqlx::query(
            "SELECT generation, day, dated, listed_from FROM entry WHERE account = ? AND booked = 1 AND name = ? \
             AND doubtful = 0 ORDER BY generation LIMIT 2",
        )
        .bind(self.account)
        .bind(&doubtful.name)
        .fetch_all(&mut **sql)
        .await?;
        let [only] = namesakes.as_slice() else {
            return Ok(None);
        };
        let met = only.try_get::<i64, _>("generation")? >= self.generation;
        let mut day = day_of(only.try_get("day")?)?;
        if only.try_get::<i64, _>("dated")? != BOOKED {
            day = day_of(only.try_get("listed_from")?)?.or(day);
        }
        Ok(day.filter(|day| !met && *day < from))
    }

    async fn has_other(
        &self,
        sql: &mut WriteTransaction,
        doubtful: &Gone,
    ) -> Result<bool, CopyError> {
        let other = sqlx::query(
            "SELECT 1 FROM entry WHERE account = ? AND booked = 1 AND name = ? AND doubtful = 0 AND generation < ? \
             LIMIT 1",
        )
        .bind(self.account)
        .bind(&doubtful.name)
        .bind(self.generation)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(other.is_some())
    }

    /// Ends a walk that was read to its end, and has left nothing open that a longer one settles.
    pub(super) async fn finish(mut self, pending: Pending) -> Result<Tally, SyncError> {
        // An entry that could not be read may be any of those that were not met.
        let pending = if self.left_out > 0 {
            Pending::Unknown
        } else {
            pending
        };
        let whole = self.left_out == 0;
        let anchor = self.anchor().await?;
        let mut sql = self.enter().await?;
        self.tally.matched += self.settle(&mut sql, pending).await?;
        self.settle_pending(&mut sql, pending).await?;
        let about = format!("reference/{}", self.account);
        let reference = anchor
            .map(|mark| self.copy.vault.seal(&about, mark.as_bytes()))
            .transpose()
            .map_err(CopyError::from)?;
        let direction = match self.span {
            Span::Period { .. } => self.order[1].direction(),
            Span::Delta => None,
        };
        sqlx::query(
            "UPDATE account SET in_flight = CASE WHEN ?1 OR in_flight <= ?2 THEN 0 ELSE in_flight END, \
             synced = CASE WHEN ?3 THEN ?4 ELSE synced END, complete = ?5, \
             reference = CASE WHEN ?6 THEN COALESCE(?7, reference) ELSE reference END, since = ?8, \
             unsettled = CASE WHEN ?6 THEN NULL ELSE unsettled END, oldest_first = COALESCE(?9, oldest_first) \
             WHERE id = ?10",
        )
        // Somebody else's question may still be answered after this list was made.
        .bind(self.told_once)
        .bind(self.moment.now.saturating_sub(SETTLED))
        .bind(pending != Pending::Unknown)
        .bind(self.moment.now)
        .bind(self.moment.today.to_string())
        .bind(whole)
        .bind(reference)
        .bind(self.whole_since().map(|day| day.to_string()))
        .bind(direction.map(|direction| direction == Direction::OldestFirst))
        .bind(self.account)
        .execute(&mut *sql)
        .await?;
        sql.commit().await?;
        Ok(self.tally)
    }

    /// The first day from which on the copy is whole after this walk. One that does not reach back to the days before the
    /// last one leaves a gap: of these, something may have been booked since. Where an entry could not be read, it is not
    /// known of which day it is.
    fn whole_since(&self) -> Option<NaiveDate> {
        match self.span {
            _ if self.left_out > 0 => None,
            Span::Delta => self.since,
            Span::Period { from } => {
                let joins = self
                    .complete
                    .is_some_and(|complete| from <= back(complete, self.overlap));
                let before = self.since.filter(|_| joins);
                Some(before.map_or(from, |since| since.min(from)))
            }
        }
    }

    /// The newest entry whose name is its own.
    async fn anchor(&self) -> Result<Option<String>, CopyError> {
        for anchor in &self.anchors {
            let namesakes = sqlx::query(
                "SELECT 1 FROM entry WHERE account = ? AND booked = 1 AND name = ? AND doubtful IN (0, 1) LIMIT 2",
            )
            .bind(self.account)
            .bind(anchor.name.as_slice())
            .fetch_all(&self.copy.pool)
            .await?;
            if namesakes.len() == 1 {
                return Ok(Some(anchor.mark.clone()));
            }
        }
        Ok(None)
    }

    /// Pending entries that the walk has not met any more, and that are booked: the booked one is to know since when.
    async fn settle(&self, sql: &mut WriteTransaction, pending: Pending) -> Result<u64, CopyError> {
        let guesses_too = pending != Pending::Unknown;
        let matched = sqlx::query(
            "UPDATE entry SET pending_since = (SELECT MIN(p.first_seen) FROM entry p \
             WHERE p.account = ?1 AND p.booked = 0 AND p.generation < ?2 AND p.booked_as = entry.id) \
             WHERE account = ?1 AND id IN (SELECT p.booked_as FROM entry p \
             WHERE p.account = ?1 AND p.booked = 0 AND p.generation < ?2 AND p.booked_as IS NOT NULL \
             AND (p.sure = 1 OR ?3))",
        )
        .bind(self.account)
        .bind(self.generation)
        .bind(guesses_too)
        .execute(&mut **sql)
        .await?;
        sqlx::query(
            "DELETE FROM entry WHERE account = ? AND booked = 0 AND generation < ? AND booked_as IS NOT NULL \
             AND (sure = 1 OR ?)",
        )
        .bind(self.account)
        .bind(self.generation)
        .bind(guesses_too)
        .execute(&mut **sql)
        .await?;
        Ok(matched.rows_affected())
    }

    /// Pending entries that the bank does not give any more, or of which it says something else.
    async fn settle_pending(
        &mut self,
        sql: &mut WriteTransaction,
        pending: Pending,
    ) -> Result<(), CopyError> {
        let gone = sqlx::query(
            "SELECT id, name, doubtful FROM entry WHERE account = ? AND booked = 0 AND generation < ? \
             AND (? OR (? AND listed_from >= ?))",
        )
        .bind(self.account)
        .bind(self.generation)
        .bind(pending == Pending::Whole)
        .bind(pending == Pending::AsListed)
        .bind(self.pending_listed_from().map(|day| day.to_string()))
        .fetch_all(&mut **sql)
        .await?;
        for row in &gone {
            self.let_one_go(sql, false, &Gone::of(row)?).await?;
        }
        // As long as it is not known whether the one of that name is gone, there is one of the two.
        let settled = sqlx::query(
            "UPDATE entry SET doubtful = 0 WHERE account = ?1 AND booked = 0 AND doubtful = 1 AND (?2 OR NOT EXISTS \
             (SELECT 1 FROM entry other WHERE other.account = ?1 AND other.booked = 0 AND other.name = entry.name \
             AND other.doubtful = 0 AND other.generation < ?3))",
        )
        .bind(self.account)
        .bind(pending != Pending::Unknown)
        .bind(self.generation)
        .execute(&mut **sql)
        .await?;
        self.tally.new += settled.rows_affected();
        Ok(())
    }

    /// Begins a transaction, unless a later walk has begun.
    async fn enter(&self) -> Result<WriteTransaction, SyncError> {
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
        match self.span {
            Span::Period { from } => Some(from),
            Span::Delta => None,
        }
    }

    /// The same for pending entries, if the bank has listed them at all.
    fn pending_listed_from(&self) -> Option<NaiveDate> {
        self.listed_from().filter(|_| self.listed.pending)
    }

    async fn insert(
        &mut self,
        sql: &mut WriteTransaction,
        put: &Put<'_>,
        doubtful: bool,
    ) -> Result<(), CopyError> {
        if doubtful {
            if let (true, Some(from)) = (put.booked, self.listed_from()) {
                self.ask(sql, from).await?;
            }
        } else {
            self.tally.new += 1;
        }
        let (day, dated) = self.day(put.row);
        let inserted = sqlx::query(
            "INSERT INTO entry (account, booked, sealed_for, content, name, doubtful, day, dated, place, generation, \
             first_seen, listed_from, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.account)
        .bind(put.booked)
        .bind(put.content.as_slice())
        .bind(put.content.as_slice())
        .bind(put.name.as_slice())
        .bind(doubtful)
        .bind(day.to_string())
        .bind(dated)
        .bind(put.place)
        .bind(self.generation)
        .bind(self.moment.now)
        .bind(&put.listed_from)
        .bind(self.seal(put)?)
        .execute(&mut **sql)
        .await?;
        let id = inserted.last_insert_rowid();
        if put.booked {
            self.recognise(sql, put, id).await
        } else {
            self.write_keys(sql, put.row, id).await
        }
    }

    /// Notes that an entry that is known was met. A pending one that is still listed has not become a booked one.
    async fn see(
        &self,
        sql: &mut WriteTransaction,
        put: &Put<'_>,
        id: i64,
    ) -> Result<(), CopyError> {
        // Only a list of whole days tells the order within a day.
        let place = match self.span {
            Span::Period { .. } => Some(put.place),
            Span::Delta => None,
        };
        sqlx::query(
            "UPDATE entry SET generation = ?1, place = COALESCE(?2, place), name = ?3, booked_as = NULL, sure = 0, \
             listed_from = CASE WHEN listed_from > ?4 THEN listed_from ELSE COALESCE(?4, listed_from) END, \
             outside = CASE WHEN outside <= ?4 THEN NULL ELSE outside END WHERE id = ?5",
        )
        .bind(self.generation)
        .bind(place)
        .bind(put.name.as_slice())
        .bind(&put.listed_from)
        .bind(id)
        .execute(&mut **sql)
        .await?;
        Ok(())
    }

    /// Looks for the pending entry that a booked one was, among those that this walk has not met. Of several that share an
    /// id, it is rather the one with the same amount and counterparty; that it is the one is sure if it has these, and no
    /// other has that id.
    async fn recognise(
        &self,
        sql: &mut WriteTransaction,
        put: &Put<'_>,
        id: i64,
    ) -> Result<(), CopyError> {
        if !self.pending {
            return Ok(());
        }
        let looks = put.row.looks(&self.copy.digester);
        for (key, sure) in put.row.keys(&self.copy.digester) {
            let namesakes = sqlx::query(
                "SELECT COUNT(*) AS number FROM (SELECT 1 FROM pending_key WHERE account = ? AND key = ? LIMIT ?)",
            )
            .bind(self.account)
            .bind(key.as_slice())
            .bind(MAX_NAMESAKES + 1)
            .fetch_one(&mut **sql)
            .await?;
            if namesakes.try_get::<i64, _>("number")? > MAX_NAMESAKES {
                continue;
            }
            let found = sqlx::query(
                "UPDATE entry SET booked_as = ?1, sure = ?2 AND (?7 IS NULL OR EXISTS (SELECT 1 FROM pending_key \
                 WHERE account = ?3 AND key = ?7 AND entry = entry.id)) \
                 AND 2 > (SELECT COUNT(*) FROM (SELECT 1 FROM pending_key WHERE account = ?3 AND key = ?4 LIMIT 2)) \
                 AND 2 > (SELECT COUNT(*) FROM (SELECT 1 FROM entry WHERE account = ?3 AND booked = 1 AND name = ?5 \
                 AND doubtful IN (0, 1) LIMIT 2)) \
                 WHERE id = (SELECT p.id FROM pending_key k JOIN entry p ON p.id = k.entry \
                 WHERE k.account = ?3 AND k.key = ?4 AND p.booked_as IS NULL AND p.generation < ?6 \
                 ORDER BY NOT EXISTS (SELECT 1 FROM pending_key l WHERE l.account = ?3 AND l.key = ?7 \
                 AND l.entry = p.id), p.first_seen, p.id LIMIT 1)",
            )
            .bind(id)
            .bind(sure)
            .bind(self.account)
            .bind(key.as_slice())
            .bind(put.name.as_slice())
            .bind(self.generation)
            .bind(looks.as_ref().map(Digest::as_slice))
            .execute(&mut **sql)
            .await?;
            if found.rows_affected() > 0 {
                break;
            }
        }
        Ok(())
    }

    async fn write_keys(
        &self,
        sql: &mut WriteTransaction,
        row: &Row,
        id: i64,
    ) -> Result<(), CopyError> {
        for (key, _) in row.keys(&self.copy.digester) {
            sqlx::query("INSERT INTO pending_key (account, key, entry) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(self.account)
                .bind(key.as_slice())
                .bind(id)
                .execute(&mut **sql)
                .await?;
        }
        Ok(())
    }

    /// The day of an entry, and which one that is.
    fn day(&self, row: &Row) -> (NaiveDate, i64) {
        match (row.booked_on, row.other_day) {
            (Some(day), _) => (day, BOOKED),
            (None, Some(day)) => (day, VALUED),
            (None, None) => (self.moment.today, 0),
        }
    }

    fn seal(&self, put: &Put<'_>) -> Result<Vec<u8>, CopyError> {
        let about = about_entry(self.account, put.booked, &put.content);
        Ok(self.copy.vault.seal(&about, &put.row.details)?)
    }
}

/// A row on its way into the table.
struct Put<'a> {
    booked: bool,
    row: &'a Row,
    place: i64,
    content: Digest,
    name: Digest,
    listed_from: Option<String>,
}

/// How far back a list has gone.
struct Proof {
    /// The first day that counts as listed.
    listed_from: NaiveDate,
    /// The first day of which an entry is gone if the list does not have it.
    surely_from: NaiveDate,
    /// The copy has entries of earlier days that the list does not have.
    is_cut: bool,
}

/// An entry in the copy of which the bank says the same.
struct Found {
    id: i64,
    first_seen: i64,
    doubtful: bool,
}

/// An entry in the copy that the walk has not met, or does not know where it belongs.
struct Gone {
    id: i64,
    name: Option<Vec<u8>>,
    doubtful: bool,
}

impl Gone {
    fn of(row: &sqlx::sqlite::SqliteRow) -> Result<Self, CopyError> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            doubtful: row.try_get("doubtful")?,
        })
    }
}

/// What becomes of a doubtful entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    /// A longer list can be had, if it tells more.
    Open,
    /// No longer list can be had.
    Last,
    /// Nothing is removed: it stays doubtful as long as the other one may be there.
    Kept,
}

/// Gives an entry the form of another one, which is it.
async fn change(sql: &mut WriteTransaction, id: i64, form: i64) -> Result<(), CopyError> {
    for statement in [
        "UPDATE entry SET sealed_for = form.sealed_for, content = form.content, name = form.name, day = form.day, \
         dated = form.dated, place = form.place, generation = form.generation, listed_from = form.listed_from, \
         details = form.details, outside = NULL, booked_as = NULL, sure = 0 \
         FROM (SELECT * FROM entry WHERE id = ?2) AS form WHERE entry.id = ?1",
        "UPDATE entry SET booked_as = NULL, sure = 0 WHERE booked_as = ?2 AND ?1 <> ?2",
        "DELETE FROM pending_key WHERE entry = ?1 AND ?1 <> ?2",
        "UPDATE pending_key SET entry = ?1 WHERE entry = ?2",
        "DELETE FROM entry WHERE id = ?2 AND ?1 <> ?2",
    ] {
        sqlx::query(statement)
            .bind(id)
            .bind(form)
            .execute(&mut **sql)
            .await?;
    }
    Ok(())
}

/// Whether a delta report that has an entry says which one it is: by a name, and by a day of which it can be listed again.
fn is_identified(row: &Row) -> bool {
    row.is_named() && row.booked_on.or(row.other_day).is_some()
}

fn at_once() -> i64 {
    i64::try_from(PIECE).unwrap_or(i64::MAX)
}

fn day_of(text: Option<String>) -> Result<Option<NaiveDate>, CopyError> {
    text.map(|text| text.parse())
        .transpose()
        .map_err(|_| CopyError::Corrupt { what: "a day" })
}
