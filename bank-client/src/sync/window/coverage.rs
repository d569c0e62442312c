//! Coverage of a list: the days for which it proves that an entry does not exist.

use chrono::{Days, NaiveDate};
use sqlx::Row as _;

use super::{DATED_BY_BOOKING, DATED_BY_VALUE, ListScope, MAX_VALUE_DATE_DAYS, Window, parse_day};
use crate::sync::copy::CopyError;
use crate::sync::plan::{days_before, guaranteed_from};

/// The days that a list covers.
pub(super) struct Coverage {
    /// The first day that counts as listed.
    pub(super) listed_from: NaiveDate,
    /// The first day for which an entry without a booking date is gone if the list lacks it.
    pub(super) certain_from: NaiveDate,
    /// Whether the copy has entries of earlier requested days that the list lacks.
    pub(super) is_cut: bool,
}

impl Window<'_> {
    /// Whether the bank has listed no booked entries for days of which the copy has some.
    pub(in crate::sync) async fn contradicts_copy(&self) -> Result<bool, CopyError> {
        let ListScope::Period { from } = self.scope else {
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

    /// The days that the list covers. A bank need not show more than 90 days (Delegated Regulation
    /// (EU) 2018/389, article 10a(1)(b)), and some silently show no more, or some months. Earlier
    /// days count as listed from the first entry of the list. If the copy has unlisted entries of
    /// such days, a new entry is no proof: banks also list an entry that was booked late under an
    /// old day.
    pub(super) async fn coverage(&self, from: NaiveDate) -> Result<Coverage, CopyError> {
        let guaranteed = guaranteed_from(self.moment.today);
        if from >= guaranteed {
            return Ok(Coverage {
                listed_from: from,
                certain_from: from,
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
        let first = |day: Option<NaiveDate>| day.map_or(guaranteed, |day| day.min(guaranteed));
        let certain_from = first(parse_day(row.try_get("first_known")?)?);
        let surely_listed = from
            .checked_add_days(Days::new(MAX_VALUE_DATE_DAYS))
            .unwrap_or(from);
        let is_cut = sqlx::query(
            // A list of these days had an entry with a value date alone if a shorter one did, or if
            // the value date is well within them.
            "SELECT 1 FROM entry WHERE account = ?1 AND booked = 1 AND day >= ?2 AND day < ?3 \
             AND generation < ?4 AND (dated = ?5 OR (dated = ?6 AND (day >= ?7 OR listed_from >= ?2))) \
             LIMIT 1",
        )
        .bind(self.account)
        .bind(from.to_string())
        .bind(certain_from.to_string())
        .bind(self.generation)
        .bind(DATED_BY_BOOKING)
        .bind(DATED_BY_VALUE)
        .bind(surely_listed.to_string())
        .fetch_optional(&self.copy.pool)
        .await?
        .is_some();
        let listed_from = if is_cut {
            certain_from
        } else {
            first(parse_day(row.try_get("first")?)?)
        };
        Ok(Coverage {
            listed_from,
            certain_from,
            is_cut,
        })
    }

    /// The first day from which the copy is complete after this walk. A walk that does not overlap
    /// the last one leaves a gap, in which entries may have been booked since. An unreadable entry
    /// may be of any day.
    pub(super) fn complete_since(&self) -> Option<NaiveDate> {
        match self.scope {
            _ if self.left_out > 0 => None,
            ListScope::Delta => self.since,
            ListScope::Period { from } => {
                let joins = self
                    .complete
                    .is_some_and(|complete| from <= days_before(complete, self.overlap));
                let before = self.since.filter(|_| joins);
                Some(before.map_or(from, |since| since.min(from)))
            }
        }
    }
}
