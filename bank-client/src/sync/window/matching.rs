//! Matching of listed entries with those in the copy.
//!
//! A listed entry equals a stored one with the same content that this walk has not seen; of several
//! equal ones, any. Otherwise it is inserted. A name (`entryReference`, transaction id) is a hint
//! only: if the copy has an unseen entry of the same name, the new one is *provisional* (column
//! `doubtful`) and hidden until the list has been read to its end.

use std::cmp::Reverse;

use chrono::NaiveDate;

use sqlx::Row as _;

use super::{Anchor, DATED_BY_BOOKING, DATED_BY_VALUE, ListScope, MAX_ANCHORS, Window};
use crate::sync::copy::{BATCH_ROWS, CopyError, WriteTransaction, about_entry};
use crate::sync::row::{Digest, Row};

/// Pending entries that may share a key. A key shared by more is no hint and too slow to search.
const MAX_NAMESAKES: i64 = 100;

/// Equal entries without a booking date that are searched for the best match.
const MAX_EQUALS: i64 = 100;

/// A listed entry, before it is matched.
pub(super) struct IncomingEntry<'a> {
    pub(super) booked: bool,
    pub(super) row: &'a Row,
    pub(super) place: i64,
    pub(super) content: Digest,
    pub(super) name: Digest,
    pub(super) listed_from: Option<String>,
}

/// A stored entry whose content equals that of a listed one.
struct EqualEntry {
    id: i64,
    first_seen: i64,
    is_provisional: bool,
}

impl Window<'_> {
    /// Marks the equal stored entry as seen, or inserts the listed one.
    pub(super) async fn upsert(
        &mut self,
        sql: &mut WriteTransaction,
        incoming: &IncomingEntry<'_>,
    ) -> Result<(), CopyError> {
        self.tally.entries += 1;
        let found = self.find_equal(sql, incoming).await?;
        if incoming.booked {
            self.add_anchor(incoming, found.is_some());
        }
        let namesake = found.is_none() && self.has_unseen_namesake(sql, incoming).await?;
        if self.scope == ListScope::Delta {
            let was_known_before = found
                .as_ref()
                .is_some_and(|found| self.was_known_before(found));
            if incoming.booked && (was_known_before || namesake || !is_identified(incoming.row)) {
                return self.require_recheck(sql, self.day(incoming.row).0).await;
            }
            self.recheck_pending |= was_known_before;
        }
        match found {
            Some(found) => self.mark_seen(sql, incoming, found.id).await,
            None => self.insert(sql, incoming, namesake).await,
        }
    }

    /// The unseen stored entry with the same content. Of several without a booking date, the one
    /// whose listing reaches back least: the entries that stay unseen are then those that a list of
    /// these days must contain. Entries that a list of this length has already lacked are excluded.
    async fn find_equal(
        &self,
        sql: &mut WriteTransaction,
        incoming: &IncomingEntry<'_>,
    ) -> Result<Option<EqualEntry>, CopyError> {
        let statement = if incoming.row.booking_date.is_some() {
            "SELECT id, first_seen, doubtful FROM entry WHERE account = ?1 AND booked = ?2 AND content = ?3 \
             AND generation < ?4 LIMIT 1"
        } else {
            "SELECT id, first_seen, doubtful FROM (SELECT * FROM entry WHERE account = ?1 AND booked = ?2 \
             AND content = ?3 AND generation < ?4 LIMIT ?6) \
             WHERE outside IS NULL OR ?5 IS NULL OR outside > ?5 ORDER BY listed_from DESC LIMIT 1"
        };
        let found = sqlx::query(statement)
            .bind(self.account)
            .bind(incoming.booked)
            .bind(incoming.content.as_slice())
            .bind(self.generation)
            .bind(&incoming.listed_from)
            .bind(MAX_EQUALS)
            .fetch_optional(&mut **sql)
            .await?;
        let found = found.map(|row| {
            Ok::<_, sqlx::Error>(EqualEntry {
                id: row.try_get("id")?,
                first_seen: row.try_get("first_seen")?,
                is_provisional: row.try_get("doubtful")?,
            })
        });
        Ok(found.transpose()?)
    }

    /// Whether the copy has an unseen entry of the same name.
    async fn has_unseen_namesake(
        &self,
        sql: &mut WriteTransaction,
        incoming: &IncomingEntry<'_>,
    ) -> Result<bool, CopyError> {
        let found = sqlx::query(
            "SELECT 1 FROM entry WHERE account = ? AND booked = ? AND name = ? AND doubtful IN (0, 1) \
             AND generation < ? LIMIT 1",
        )
        .bind(self.account)
        .bind(incoming.booked)
        .bind(incoming.name.as_slice())
        .bind(self.generation)
        .fetch_optional(&mut **sql)
        .await?;
        Ok(found.is_some())
    }

    /// Keeps an entry as a possible start of the next delta report: one of the first page, or one
    /// that is stored already. All entries before it are part of this walk or an earlier one.
    fn add_anchor(&mut self, incoming: &IncomingEntry<'_>, known: bool) {
        let (Some(reference), Some(day)) =
            (incoming.row.delta_reference(), incoming.row.booking_date)
        else {
            return;
        };
        if self.pages > 0 && !known {
            return;
        }
        // A delta report is in the order of arrival.
        let day = match (self.scope, self.order[1].direction()) {
            (ListScope::Delta, Some(_)) => NaiveDate::MAX,
            _ => day,
        };
        self.anchors.push(Anchor {
            newest: Reverse((day, incoming.place)),
            name: incoming.name,
            reference: reference.to_owned(),
        });
        if self.anchors.len() > BATCH_ROWS {
            self.anchors.sort();
            self.anchors.truncate(MAX_ANCHORS);
        }
    }

    /// Whether an entry was stored by an earlier completed walk. In a delta report it is then
    /// either a repetition or a twin. Entries of an aborted walk are reported again and do not
    /// count.
    fn was_known_before(&self, found: &EqualEntry) -> bool {
        found.is_provisional
            || self
                .last_complete_walk
                .is_some_and(|time| found.first_seen <= time)
    }

    async fn insert(
        &mut self,
        sql: &mut WriteTransaction,
        incoming: &IncomingEntry<'_>,
        is_provisional: bool,
    ) -> Result<(), CopyError> {
        if is_provisional {
            if let (true, Some(from)) = (incoming.booked, self.listed_from()) {
                self.require_recheck(sql, from).await?;
            }
        } else {
            self.tally.new += 1;
        }
        let (day, dated) = self.day(incoming.row);
        let inserted = sqlx::query(
            "INSERT INTO entry (account, booked, sealed_for, content, name, doubtful, day, dated, place, generation, \
             first_seen, listed_from, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(self.account)
        .bind(incoming.booked)
        .bind(incoming.content.as_slice())
        .bind(incoming.content.as_slice())
        .bind(incoming.name.as_slice())
        .bind(is_provisional)
        .bind(day.to_string())
        .bind(dated)
        .bind(incoming.place)
        .bind(self.generation)
        .bind(self.moment.now)
        .bind(&incoming.listed_from)
        .bind(self.seal(incoming)?)
        .execute(&mut **sql)
        .await?;
        let id = inserted.last_insert_rowid();
        if incoming.booked {
            self.match_pending(sql, incoming, id).await
        } else {
            self.insert_pending_keys(sql, incoming.row, id).await
        }
    }

    /// Marks a stored entry as seen. A pending one that is still listed has not been booked.
    async fn mark_seen(
        &self,
        sql: &mut WriteTransaction,
        incoming: &IncomingEntry<'_>,
        id: i64,
    ) -> Result<(), CopyError> {
        // Only a list of whole days gives the order within a day.
        let place = match self.scope {
            ListScope::Period { .. } => Some(incoming.place),
            ListScope::Delta => None,
        };
        sqlx::query(
            "UPDATE entry SET generation = ?1, place = COALESCE(?2, place), name = ?3, booked_as = NULL, sure = 0, \
             listed_from = CASE WHEN listed_from > ?4 THEN listed_from ELSE COALESCE(?4, listed_from) END, \
             outside = CASE WHEN outside <= ?4 THEN NULL ELSE outside END WHERE id = ?5",
        )
        .bind(self.generation)
        .bind(place)
        .bind(incoming.name.as_slice())
        .bind(&incoming.listed_from)
        .bind(id)
        .execute(&mut **sql)
        .await?;
        Ok(())
    }

    /// Links a booked entry to the unseen pending one that it was. Of several with the same id, the
    /// one with the same amount and counterparty is preferred; the link is certain if it has these
    /// and its id is unique.
    async fn match_pending(
        &self,
        sql: &mut WriteTransaction,
        incoming: &IncomingEntry<'_>,
        id: i64,
    ) -> Result<(), CopyError> {
        if !self.pending {
            return Ok(());
        }
        let amount_digest = incoming.row.amount_digest(&self.copy.digester);
        for key in incoming.row.pending_keys(&self.copy.digester) {
            let namesakes = sqlx::query(
                "SELECT COUNT(*) AS number FROM (SELECT 1 FROM pending_key WHERE account = ? AND key = ? LIMIT ?)",
            )
            .bind(self.account)
            .bind(key.digest.as_slice())
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
            .bind(key.is_reliable)
            .bind(self.account)
            .bind(key.digest.as_slice())
            .bind(incoming.name.as_slice())
            .bind(self.generation)
            .bind(amount_digest.as_ref().map(Digest::as_slice))
            .execute(&mut **sql)
            .await?;
            if found.rows_affected() > 0 {
                break;
            }
        }
        Ok(())
    }

    async fn insert_pending_keys(
        &self,
        sql: &mut WriteTransaction,
        row: &Row,
        id: i64,
    ) -> Result<(), CopyError> {
        for key in row.pending_keys(&self.copy.digester) {
            sqlx::query("INSERT INTO pending_key (account, key, entry) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
                .bind(self.account)
                .bind(key.digest.as_slice())
                .bind(id)
                .execute(&mut **sql)
                .await?;
        }
        Ok(())
    }

    /// The day of an entry, and the value of `dated` for it.
    pub(super) fn day(&self, row: &Row) -> (NaiveDate, i64) {
        match (row.booking_date, row.value_date) {
            (Some(day), _) => (day, DATED_BY_BOOKING),
            (None, Some(day)) => (day, DATED_BY_VALUE),
            (None, None) => (self.moment.today, 0),
        }
    }

    fn seal(&self, incoming: &IncomingEntry<'_>) -> Result<Vec<u8>, CopyError> {
        let about = about_entry(self.account, incoming.booked, &incoming.content);
        Ok(self.copy.vault.seal(&about, &incoming.row.details)?)
    }
}

/// Whether a delta report identifies the entry: by a name, and a day under which it is listed.
fn is_identified(row: &Row) -> bool {
    row.has_reference_or_id() && row.booking_date.or(row.value_date).is_some()
}
