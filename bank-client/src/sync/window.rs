//! A walk through an account's transactions, page by page into the copy.
//!
//! A page is written in pieces, each a transaction of the database: whoever else writes waits for one of them, and not for
//! the bank with the longest pages. A walk that breaks off has changed nothing but for the better: what it brought stays,
//! what it has not seen stays too, and the next walk starts from its beginning. Only one that was read whole removes what
//! the bank does not give any more, and says how far the copy has come.

use chrono::NaiveDate;
use sqlx::Row as _;

use super::SyncError;
use super::copy::{CopyError, LocalCopy, PIECE, Write, about_entry};
use super::row::{Digest, Row, anchor};
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

/// Why a page was not taken.
#[derive(Debug)]
pub(super) enum Untaken {
    /// An entry of a delta report has no name: whether it is another one, or an equal one again, only a whole day tells.
    Nameless,
    Failed(SyncError),
}

impl<E: Into<SyncError>> From<E> for Untaken {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<sqlx::Error> for SyncError {
    fn from(error: sqlx::Error) -> Self {
        Self::Copy(error.into())
    }
}

/// Seconds after which a request that was cut off is answered by no bank any more.
const SETTLED: i64 = 120;

pub(super) struct Window<'a> {
    copy: &'a LocalCopy,
    account: i64,
    span: Span,
    moment: Moment,
    /// What it reads, the bank tells once.
    told_once: bool,
    generation: i64,
    /// Whether there is anything pending that could be booked by now.
    pending: bool,
    anchor: Option<String>,
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
             WHERE id = ?3 AND NOT (?1 AND in_flight <> 0) RETURNING generation",
        )
        .bind(told_once)
        .bind(moment.now.max(1))
        .bind(account)
        .fetch_optional(&mut *sql)
        .await?
        .ok_or(SyncError::Overtaken)?;
        let generation = row.try_get("generation")?;
        let pending = sqlx::query("SELECT 1 FROM entry WHERE account = ? AND booked = 0 LIMIT 1")
            .bind(account)
            .fetch_optional(&mut *sql)
            .await?
            .is_some();
        sql.commit().await?;
        Ok(Self {
            copy,
            account,
            span,
            moment,
            told_once,
            generation,
            pending,
            anchor: None,
            tally: Tally::default(),
        })
    }

    /// Takes the next page.
    pub(super) async fn take(&mut self, page: &PageOf<Row>) -> Result<(), Untaken> {
        let nameless = |row: &Row| !row.is_named();
        if self.span == Span::Delta && page.booked.iter().any(nameless) {
            return Err(Untaken::Nameless);
        }
        for (booked, rows) in [(false, &page.pending), (true, &page.booked)] {
            self.put_all(booked, rows, self.listed_from()).await?;
        }
        if self.anchor.is_none() {
            self.anchor = anchor(&page.booked).map(str::to_owned);
        }
        Ok(())
    }

    /// Takes a page of all that is pending since that day.
    pub(super) async fn take_pending(
        &mut self,
        page: &PageOf<Row>,
        from: NaiveDate,
    ) -> Result<(), SyncError> {
        self.put_all(false, &page.pending, Some(from)).await
    }

    /// Writes rows, piece by piece. What counts is what is written.
    async fn put_all(
        &mut self,
        booked: bool,
        rows: &[Row],
        listed_from: Option<NaiveDate>,
    ) -> Result<(), SyncError> {
        for piece in rows.chunks(PIECE) {
            let before = self.tally;
            let written = self.put_piece(booked, piece, listed_from).await;
            if written.is_err() {
                self.tally = before;
                return written;
            }
        }
        Ok(())
    }

    async fn put_piece(
        &mut self,
        booked: bool,
        piece: &[Row],
        listed_from: Option<NaiveDate>,
    ) -> Result<(), SyncError> {
        let mut sql = self.enter().await?;
        for row in piece {
            self.put(&mut sql, booked, row, listed_from).await?;
        }
        Ok(sql.commit().await?)
    }

    /// How many pending entries the walk has not met, and cannot say of that they are gone.
    pub(super) async fn doubtful(&self) -> Result<i64, CopyError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS number FROM entry WHERE account = ? AND booked = 0 AND generation < ? \
             AND NOT (booked_as IS NOT NULL AND sure = 1) AND (? IS NULL OR listed_from IS NULL OR listed_from < ?)",
        )
        .bind(self.account)
        .bind(self.generation)
        .bind(self.listed_from().map(|day| day.to_string()))
        .bind(self.listed_from().map(|day| day.to_string()))
        .fetch_one(&self.copy.pool)
        .await?;
        Ok(row.try_get("number")?)
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

    /// Ends a walk that was read whole.
    pub(super) async fn finish(mut self, pending: Pending) -> Result<Tally, SyncError> {
        self.tally.removed += self.remove_booked().await?;
        let mut sql = self.enter().await?;
        self.tally.matched += self.settle(&mut sql, pending).await?;
        self.tally.removed += self.remove_pending(&mut sql, pending).await?;
        let reference = self
            .anchor
            .as_ref()
            .map(|reference| {
                let about = format!("reference/{}", self.account);
                self.copy.vault.seal(&about, reference.as_bytes())
            })
            .transpose()
            .map_err(CopyError::from)?;
        let from = self.listed_from().map(|day| day.to_string());
        sqlx::query(
            "UPDATE account SET in_flight = CASE WHEN ? OR in_flight <= ? THEN 0 ELSE in_flight END, synced = ?, \
             complete = ?, reference = COALESCE(?, reference), \
             since = CASE WHEN ? IS NULL OR since < ? THEN since ELSE ? END WHERE id = ?",
        )
        // Somebody else's question may still be answered after this list was made.
        .bind(self.told_once)
        .bind(self.moment.now.saturating_sub(SETTLED))
        .bind(self.moment.now)
        .bind(self.moment.today.to_string())
        .bind(reference)
        .bind(&from)
        .bind(&from)
        .bind(&from)
        .bind(self.account)
        .execute(&mut *sql)
        .await?;
        sql.commit().await?;
        Ok(self.tally)
    }

    /// Pending entries that the walk has not met any more, and that are booked: the booked one is to know since when.
    async fn settle(&self, sql: &mut Write, pending: Pending) -> Result<u64, CopyError> {
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

    /// Pending entries that the bank does not give any more.
    async fn remove_pending(&self, sql: &mut Write, pending: Pending) -> Result<u64, CopyError> {
        let from = self.listed_from().map(|day| day.to_string());
        let vanished = sqlx::query(
            "DELETE FROM entry WHERE account = ? AND booked = 0 AND generation < ? \
             AND (? OR (? AND listed_from >= ?))",
        )
        .bind(self.account)
        .bind(self.generation)
        .bind(pending == Pending::Whole)
        .bind(pending == Pending::AsListed)
        .bind(&from)
        .execute(&mut **sql)
        .await?;
        Ok(vanished.rows_affected())
    }

    /// Booked entries of the days that were listed, which the bank does not give any more. They are looked for along the
    /// index while others write, and removed piece by piece.
    async fn remove_booked(&self) -> Result<u64, SyncError> {
        let Some(from) = self.listed_from() else {
            return Ok(0);
        };
        let (mut day, mut place, mut id) = (from.to_string(), i64::MIN, i64::MIN);
        let mut removed = 0;
        loop {
            let gone = sqlx::query(
                "SELECT id, day, place FROM entry WHERE account = ?1 AND booked = 1 AND dated = 1 \
                 AND (day, place, id) > (?2, ?3, ?4) AND day <= ?5 AND generation < ?6 \
                 ORDER BY day, place, id LIMIT ?7",
            )
            .bind(self.account)
            .bind(&day)
            .bind(place)
            .bind(id)
            .bind(self.moment.today.to_string())
            .bind(self.generation)
            .bind(i64::try_from(PIECE).unwrap_or(i64::MAX))
            .fetch_all(&self.copy.pool)
            .await?;
            let Some(last) = gone.last() else {
                return Ok(removed);
            };
            (day, place, id) = (
                last.try_get("day")?,
                last.try_get("place")?,
                last.try_get("id")?,
            );
            let mut sql = self.enter().await?;
            for row in &gone {
                let deleted = sqlx::query("DELETE FROM entry WHERE id = ? AND generation < ?")
                    .bind(row.try_get::<i64, _>("id")?)
                    .bind(self.generation)
                    .execute(&mut *sql)
                    .await?;
                removed += deleted.rows_affected();
            }
            sql.commit().await?;
        }
    }

    /// Begins a transaction, unless a later walk has begun.
    async fn enter(&self) -> Result<Write, SyncError> {
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

    async fn put(
        &mut self,
        sql: &mut Write,
        booked: bool,
        row: &Row,
        listed_from: Option<NaiveDate>,
    ) -> Result<(), CopyError> {
        self.tally.entries += 1;
        let identity = self.identity(sql, booked, row).await?;
        let content = self.copy.digester.of("content", &[&row.details]);
        let found = sqlx::query(
            "SELECT id, content FROM entry WHERE account = ? AND booked = ? AND identity = ?",
        )
        .bind(self.account)
        .bind(booked)
        .bind(identity.as_slice())
        .fetch_optional(&mut **sql)
        .await?;
        let put = Put {
            booked,
            row,
            identity,
            content,
            listed_from: listed_from.map(|day| day.to_string()),
        };
        let Some(found) = found else {
            self.tally.new += 1;
            return self.insert(sql, &put).await;
        };
        let id: i64 = found.try_get("id")?;
        let known: Vec<u8> = found.try_get("content")?;
        if known != content {
            self.tally.changed += 1;
            self.change(sql, &put, id).await?;
        }
        self.see(sql, &put, id).await
    }

    /// The identity of the row. Of those without a name that are equal, the first whose number this walk has not met yet.
    async fn identity(
        &self,
        sql: &mut Write,
        booked: bool,
        row: &Row,
    ) -> Result<Digest, CopyError> {
        let numbered = |number: u64| row.identity(&self.copy.digester, number);
        if row.is_named() {
            return Ok(numbered(0));
        }
        // Numbers that were met follow each other: the first that was not lies between two powers of two.
        let (mut met, mut step) = (0, 1);
        while self.is_met(sql, booked, &numbered(met + step - 1)).await? {
            met += step;
            step *= 2;
        }
        while step > 1 {
            step /= 2;
            if self.is_met(sql, booked, &numbered(met + step - 1)).await? {
                met += step;
            }
        }
        Ok(numbered(met))
    }

    async fn is_met(
        &self,
        sql: &mut Write,
        booked: bool,
        identity: &Digest,
    ) -> Result<bool, CopyError> {
        let met = sqlx::query(
            "SELECT 1 FROM entry WHERE account = ? AND booked = ? AND identity = ? AND generation = ?",
        )
        .bind(self.account)
        .bind(booked)
        .bind(identity.as_slice())
        .bind(self.generation)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(met.is_some())
    }

    /// Order within the day: later walks bring newer entries, and within one the newest stand first.
    fn place(&self) -> i64 {
        let number = i64::try_from(self.tally.entries).unwrap_or(i64::MAX);
        self.generation
            .saturating_mul(1 << 32)
            .saturating_sub(number)
    }

    async fn insert(&self, sql: &mut Write, put: &Put<'_>) -> Result<(), CopyError> {
        let inserted = sqlx::query(
            "INSERT INTO entry (account, booked, identity, content, day, dated, place, generation, first_seen, \
             listed_from, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.account)
        .bind(put.booked)
        .bind(put.identity.as_slice())
        .bind(put.content.as_slice())
        .bind(self.day(put.row).to_string())
        .bind(put.row.booked_on.is_some())
        .bind(self.place())
        .bind(self.generation)
        .bind(self.moment.now)
        .bind(&put.listed_from)
        .bind(self.seal(put)?)
        .execute(&mut **sql)
        .await?;
        let id = inserted.last_insert_rowid();
        if put.booked {
            self.recognise(sql, put.row, id).await
        } else {
            self.write_keys(sql, put.row, id).await
        }
    }

    async fn change(&self, sql: &mut Write, put: &Put<'_>, id: i64) -> Result<(), CopyError> {
        sqlx::query("UPDATE entry SET content = ?, day = ?, dated = ?, details = ? WHERE id = ?")
            .bind(put.content.as_slice())
            .bind(self.day(put.row).to_string())
            .bind(put.row.booked_on.is_some())
            .bind(self.seal(put)?)
            .bind(id)
            .execute(&mut **sql)
            .await?;
        if !put.booked {
            sqlx::query("DELETE FROM pending_key WHERE entry = ?")
                .bind(id)
                .execute(&mut **sql)
                .await?;
            self.write_keys(sql, put.row, id).await?;
        }
        Ok(())
    }

    /// Notes that an entry that is known was met. A pending one that is still listed has not become a booked one.
    async fn see(&self, sql: &mut Write, put: &Put<'_>, id: i64) -> Result<(), CopyError> {
        // Only a list of whole days tells the order within a day.
        let place = match self.span {
            Span::Period { .. } => Some(self.place()),
            Span::Delta => None,
        };
        sqlx::query(
            "UPDATE entry SET generation = ?, place = COALESCE(?, place), booked_as = NULL, sure = 0, \
             listed_from = CASE WHEN listed_from > ? THEN listed_from ELSE COALESCE(?, listed_from) END WHERE id = ?",
        )
        .bind(self.generation)
        .bind(place)
        .bind(&put.listed_from)
        .bind(&put.listed_from)
        .bind(id)
        .execute(&mut **sql)
        .await?;
        Ok(())
    }

    /// Looks for the pending entry that a booked one was, among those that this walk has not met.
    async fn recognise(&self, sql: &mut Write, row: &Row, id: i64) -> Result<(), CopyError> {
        if !self.pending {
            return Ok(());
        }
        for (key, sure) in row.keys(&self.copy.digester) {
            let found = sqlx::query(
                "UPDATE entry SET booked_as = ?, sure = ? WHERE id = (SELECT p.id FROM pending_key k \
                 JOIN entry p ON p.id = k.entry WHERE k.account = ? AND k.key = ? AND p.booked_as IS NULL \
                 AND p.generation < ? ORDER BY p.first_seen, p.id LIMIT 1)",
            )
            .bind(id)
            .bind(sure)
            .bind(self.account)
            .bind(key.as_slice())
            .bind(self.generation)
            .execute(&mut **sql)
            .await?;
            if found.rows_affected() > 0 {
                break;
            }
        }
        Ok(())
    }

    async fn write_keys(&self, sql: &mut Write, row: &Row, id: i64) -> Result<(), CopyError> {
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

    fn day(&self, row: &Row) -> NaiveDate {
        row.booked_on.or(row.other_day).unwrap_or(self.moment.today)
    }

    fn seal(&self, put: &Put<'_>) -> Result<Vec<u8>, CopyError> {
        let about = about_entry(self.account, put.booked, &put.identity);
        Ok(self.copy.vault.seal(&about, &put.row.details)?)
    }
}

/// A row on its way into the table.
struct Put<'a> {
    booked: bool,
    row: &'a Row,
    identity: Digest,
    content: Digest,
    listed_from: Option<String>,
}
