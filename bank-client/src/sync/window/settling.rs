//! Settlement of entries at the end of a walk: removed, changed, booked, or confirmed as new.
//!
//! After a complete list of whole days, an unseen entry of these days is gone; together with a
//! provisional entry of its name it is one entry that has changed and keeps its id and times.
//! Provisional entries that remain are new.
//!
//! A longer list is requested where one list is not enough: for a new entry that has the name of
//! one before the first day (changed, or a twin), and for an unlisted entry without a booking date
//! (gone, or older than the list).
//!
//! Cost: two index look-ups for each entry that is gone.

use chrono::NaiveDate;
use sqlx::Row as _;

use super::{
    DATED_BY_BOOKING, DATED_BY_VALUE, ListScope, MAX_VALUE_DATE_DAYS, PendingCoverage, Window,
    batch_rows, parse_day,
};
use crate::sync::SyncError;
use crate::sync::copy::{CopyError, WriteTransaction};
use crate::sync::plan::days_before;

/// A stored entry that is unseen or provisional.
struct StoredEntry {
    id: i64,
    name: Option<Vec<u8>>,
    is_provisional: bool,
}

impl StoredEntry {
    fn of(row: &sqlx::sqlite::SqliteRow) -> Result<Self, CopyError> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            is_provisional: row.try_get("doubtful")?,
        })
    }
}

/// Rule by which provisional entries are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProvisionalRule {
    /// Requests a longer list if that can decide.
    RecheckIfUnclear,
    /// Accepts all as new: there is no longer list.
    AcceptAll,
    /// Leaves an entry provisional as long as its namesake may exist: this list removes nothing.
    KeepUnclear,
}

impl Window<'_> {
    /// Settles the booked entries after the list was read to its end. `Some`: open cases need a
    /// list of whole days from that day on. After the last list, open cases are kept.
    pub(in crate::sync) async fn settle_booked(
        &mut self,
        is_last: bool,
    ) -> Result<Option<NaiveDate>, SyncError> {
        let ListScope::Period { from } = self.scope else {
            if self.left_out > 0 || self.recheck_from.is_some() {
                let mut sql = self.begin_write().await?;
                self.require_recheck(&mut sql, self.moment.today).await?;
                // The report has arrived, and its open cases are recorded in the account's row.
                sqlx::query("UPDATE account SET in_flight = 0 WHERE id = ? AND ?")
                    .bind(self.account)
                    .bind(self.is_one_time)
                    .execute(&mut *sql)
                    .await?;
                sql.commit().await?;
            }
            return Ok(self.recheck_from);
        };
        self.recheck_from = None;
        let coverage = self.coverage(from).await?;
        self.scope = ListScope::Period {
            from: coverage.listed_from,
        };
        if self.left_out > 0 || !self.listed.booked {
            self.settle_provisional(from, ProvisionalRule::KeepUnclear)
                .await?;
            return Ok(None);
        }
        // The bank shows less than was requested, and has left a gap.
        let is_last = is_last || coverage.is_truncated;
        let mut from = from;
        if coverage.is_truncated {
            self.complete_until = None;
            from = coverage.listed_from;
        }
        self.remove_unlisted_booked(coverage.listed_from).await?;
        self.settle_undated(from, coverage.undated_from, is_last)
            .await?;
        let rule = if is_last {
            ProvisionalRule::AcceptAll
        } else {
            ProvisionalRule::RecheckIfUnclear
        };
        self.settle_provisional(from, rule).await?;
        Ok(self.recheck_from)
    }

    /// Removes booked entries of the listed days that the bank no longer lists, in batches along
    /// the index, so that other writers wait for one batch only.
    async fn remove_unlisted_booked(&mut self, from: NaiveDate) -> Result<(), SyncError> {
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
            .bind(batch_rows())
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
            let gone: Vec<StoredEntry> =
                gone.iter().map(StoredEntry::of).collect::<Result<_, _>>()?;
            self.remove_or_replace_all(true, &gone).await?;
        }
    }

    /// Removes entries that are gone, and replaces those that have changed.
    async fn remove_or_replace_all(
        &mut self,
        booked: bool,
        gone: &[StoredEntry],
    ) -> Result<(), SyncError> {
        if gone.is_empty() {
            return Ok(());
        }
        let before = self.tally;
        let mut sql = self.begin_write().await?;
        for gone in gone {
            self.remove_or_replace(&mut sql, booked, gone).await?;
        }
        let committed = sql.commit().await;
        if committed.is_err() {
            self.tally = before;
        }
        Ok(committed?)
    }

    async fn remove_or_replace(
        &mut self,
        sql: &mut WriteTransaction,
        booked: bool,
        gone: &StoredEntry,
    ) -> Result<(), CopyError> {
        let form = match &gone.name {
            Some(name) if !gone.is_provisional => self.find_replacement(sql, booked, name).await?,
            _ => None,
        };
        if let Some(form) = form {
            self.tally.changed += 1;
            return replace_entry(sql, gone.id, form).await;
        }
        // Provisional entries were hidden: their removal is not counted.
        self.tally.removed += u64::from(!gone.is_provisional);
        sqlx::query("DELETE FROM entry WHERE id = ?")
            .bind(gone.id)
            .execute(&mut **sql)
            .await?;
        Ok(())
    }

    /// A provisional entry of that name that this walk has seen.
    async fn find_replacement(
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

    /// Settles unseen booked entries without a booking date, which a list may lack for their age.
    /// An entry is gone if it was listed for a period within this one, or if its value date is well
    /// within the days that are certainly listed.
    async fn settle_undated(
        &mut self,
        from: NaiveDate,
        undated_from: NaiveDate,
        is_last: bool,
    ) -> Result<(), SyncError> {
        let mut after: (i64, i64) = (i64::MIN, i64::MIN);
        loop {
            let unseen = sqlx::query(
                "SELECT id, name, doubtful, day, dated, listed_from, outside, generation FROM entry WHERE account = ?1 \
                 AND booked = 1 AND dated <> 1 AND generation < ?2 AND (generation, id) > (?3, ?4) \
                 ORDER BY generation, id LIMIT ?5",
            )
            .bind(self.account)
            .bind(self.generation)
            .bind(after.0)
            .bind(after.1)
            .bind(batch_rows())
            .fetch_all(&self.copy.pool)
            .await?;
            let Some(end) = unseen.last() else {
                return Ok(());
            };
            after = (end.try_get("generation")?, end.try_get("id")?);
            let (mut gone, mut outside) = (Vec::new(), Vec::new());
            let mut recheck_from: Option<NaiveDate> = None;
            for row in &unseen {
                let listed_from = parse_day(row.try_get("listed_from")?)?;
                let known_outside = parse_day(row.try_get("outside")?)?;
                let valued = row.try_get::<i64, _>("dated")? == DATED_BY_VALUE;
                let value_day = parse_day(row.try_get("day")?)?.filter(|_| valued);
                let surely = value_day.map(|day| days_before(day, MAX_VALUE_DATE_DAYS));
                // The latest first day of a list that must contain it.
                let must_list_from = listed_from.max(surely);
                let listed = if valued { undated_from } else { from };
                let no_longer_list = is_last || must_list_from.is_some_and(|day| day >= from);
                if must_list_from.is_some_and(|day| day >= listed)
                    || (no_longer_list && value_day.is_some_and(|day| day >= listed))
                {
                    gone.push(StoredEntry::of(row)?);
                } else if known_outside.is_none_or(|day| day > from) {
                    outside.push(StoredEntry::of(row)?.id);
                    let is_long_ago =
                        value_day.is_some_and(|day| day < days_before(from, MAX_VALUE_DATE_DAYS));
                    let recheck = must_list_from
                        .or(self.complete_from)
                        .filter(|_| !is_last && !is_long_ago);
                    recheck_from = recheck.into_iter().chain(recheck_from).min();
                }
            }
            self.remove_or_replace_all(true, &gone).await?;
            let mut sql = self.begin_write().await?;
            for id in outside {
                sqlx::query("UPDATE entry SET outside = ? WHERE id = ?")
                    .bind(from.to_string())
                    .bind(id)
                    .execute(&mut *sql)
                    .await?;
            }
            if let Some(day) = recheck_from.filter(|day| *day < from) {
                self.require_recheck(&mut sql, day).await?;
            }
            sql.commit().await?;
        }
    }

    /// Settles the provisional entries that remain after entries that are gone were removed.
    async fn settle_provisional(
        &mut self,
        from: NaiveDate,
        rule: ProvisionalRule,
    ) -> Result<(), SyncError> {
        let mut after = i64::MIN;
        loop {
            let provisional = sqlx::query(
                "SELECT id, name, doubtful FROM entry WHERE account = ? AND doubtful = 1 AND booked = 1 AND id > ? \
                 ORDER BY id LIMIT ?",
            )
            .bind(self.account)
            .bind(after)
            .bind(batch_rows())
            .fetch_all(&self.copy.pool)
            .await?;
            let Some(end) = provisional.last() else {
                return Ok(());
            };
            after = end.try_get("id")?;
            let before = self.tally;
            let mut sql = self.begin_write().await?;
            for row in &provisional {
                let provisional = StoredEntry::of(row)?;
                let open = match rule {
                    ProvisionalRule::AcceptAll => None,
                    ProvisionalRule::RecheckIfUnclear => {
                        self.recheck_day(&mut sql, &provisional, from).await?
                    }
                    ProvisionalRule::KeepUnclear => self
                        .has_unseen_counterpart(&mut sql, &provisional)
                        .await?
                        .then_some(from),
                };
                match open {
                    Some(_) if rule == ProvisionalRule::KeepUnclear => {}
                    Some(day) => self.require_recheck(&mut sql, day).await?,
                    None => {
                        self.tally.new += 1;
                        sqlx::query("UPDATE entry SET doubtful = 0 WHERE id = ?")
                            .bind(provisional.id)
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

    /// The day of the one earlier entry that a provisional one may be a changed form of. If several
    /// share its name, or one was seen, the name is no hint.
    async fn recheck_day(
        &self,
        sql: &mut WriteTransaction,
        provisional: &StoredEntry,
        from: NaiveDate,
    ) -> Result<Option<NaiveDate>, CopyError> {
        let namesakes = sqlx::query(
            "SELECT generation, day, dated, listed_from FROM entry WHERE account = ? AND booked = 1 AND name = ? \
             AND doubtful = 0 ORDER BY generation LIMIT 2",
        )
        .bind(self.account)
        .bind(&provisional.name)
        .fetch_all(&mut **sql)
        .await?;
        let [only] = namesakes.as_slice() else {
            return Ok(None);
        };
        let seen = only.try_get::<i64, _>("generation")? >= self.generation;
        let mut day = parse_day(only.try_get("day")?)?;
        if only.try_get::<i64, _>("dated")? != DATED_BY_BOOKING {
            day = parse_day(only.try_get("listed_from")?)?.or(day);
        }
        Ok(day.filter(|day| !seen && *day < from))
    }

    async fn has_unseen_counterpart(
        &self,
        sql: &mut WriteTransaction,
        provisional: &StoredEntry,
    ) -> Result<bool, CopyError> {
        let other = sqlx::query(
            "SELECT 1 FROM entry WHERE account = ? AND booked = 1 AND name = ? AND doubtful = 0 AND generation < ? \
             LIMIT 1",
        )
        .bind(self.account)
        .bind(&provisional.name)
        .bind(self.generation)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(other.is_some())
    }

    /// Removes unseen pending entries that are booked now; the booked one takes over `first_seen`.
    pub(super) async fn merge_booked_pending(
        &self,
        sql: &mut WriteTransaction,
        pending: PendingCoverage,
    ) -> Result<u64, CopyError> {
        let guesses_too = pending != PendingCoverage::Unknown;
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

    /// Settles unseen pending entries: gone, or changed.
    pub(super) async fn settle_pending(
        &mut self,
        sql: &mut WriteTransaction,
        pending: PendingCoverage,
    ) -> Result<(), CopyError> {
        let gone = sqlx::query(
            "SELECT id, name, doubtful FROM entry WHERE account = ? AND booked = 0 AND generation < ? \
             AND (? OR (? AND listed_from >= ?))",
        )
        .bind(self.account)
        .bind(self.generation)
        .bind(pending == PendingCoverage::Complete)
        .bind(pending == PendingCoverage::AsListed)
        .bind(self.pending_listed_from().map(|day| day.to_string()))
        .fetch_all(&mut **sql)
        .await?;
        for row in &gone {
            self.remove_or_replace(sql, false, &StoredEntry::of(row)?)
                .await?;
        }
        // As long as the namesake may still exist, only one of the two is shown.
        let settled = sqlx::query(
            "UPDATE entry SET doubtful = 0 WHERE account = ?1 AND booked = 0 AND doubtful = 1 AND (?2 OR NOT EXISTS \
             (SELECT 1 FROM entry other WHERE other.account = ?1 AND other.booked = 0 AND other.name = entry.name \
             AND other.doubtful = 0 AND other.generation < ?3))",
        )
        .bind(self.account)
        .bind(pending != PendingCoverage::Unknown)
        .bind(self.generation)
        .execute(&mut **sql)
        .await?;
        self.tally.new += settled.rows_affected();
        Ok(())
    }
}

/// Replaces an entry's content by that of another row, and deletes that row.
async fn replace_entry(sql: &mut WriteTransaction, id: i64, form: i64) -> Result<(), CopyError> {
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
