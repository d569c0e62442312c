//! Coverage of a transaction list: the days for which an entry that it lacks does not exist.

use chrono::{Days, NaiveDate};
use sqlx::Row as _;

use super::{DATED_BY_BOOKING, DATED_BY_VALUE, ListScope, MAX_VALUE_DATE_DAYS, Window, parse_day};
use crate::sync::copy::CopyError;
use crate::sync::plan::{days_before, guaranteed_from};

/// Days that a list covers completely, for entries with a booking date and without.
pub(super) struct Coverage {
    /// First day whose entries with a booking date are all in the list.
    pub(super) listed_from: NaiveDate,
    /// First day whose entries without a booking date are all in the list.
    pub(super) undated_from: NaiveDate,
    /// Whether the list lacks stored entries of requested days before `undated_from`: the bank
    /// shows a shorter period than was requested.
    pub(super) is_truncated: bool,
}

impl Window<'_> {
    /// Whether the bank sent no list of booked entries, although the copy has some of that period.
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

    /// Determines the days that a list from day `from` on covers.
    ///
    /// A bank must show the last 90 days (Delegated Regulation (EU) 2018/389, article 10a(1)(b)).
    /// Some banks silently omit older ones. The list therefore covers older days only from the day
    /// of its first entry. If it lacks stored entries of older days, only an entry that the copy
    /// already had counts as the first: a new one may have been booked late under an old date.
    pub(super) async fn coverage(&self, from: NaiveDate) -> Result<Coverage, CopyError> {
        let guaranteed = guaranteed_from(self.moment.today);
        if from >= guaranteed {
            return Ok(Coverage {
                listed_from: from,
                undated_from: from,
                is_truncated: false,
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
        let or_guaranteed =
            |day: Option<NaiveDate>| day.map_or(guaranteed, |day| day.min(guaranteed));
        let undated_from = or_guaranteed(parse_day(row.try_get("first_known")?)?);
        // An entry with this value date or a later one was booked on a requested day.
        let listed_by_value_date_from = from
            .checked_add_days(Days::new(MAX_VALUE_DATE_DAYS))
            .unwrap_or(from);
        let is_truncated = sqlx::query(
            // An entry with only a value date belongs to a list from this day on if it was in a
            // shorter list, or if its value date is a month or more after that day.
            "SELECT 1 FROM entry WHERE account = ?1 AND booked = 1 AND day >= ?2 AND day < ?3 \
             AND generation < ?4 AND (dated = ?5 OR (dated = ?6 AND (day >= ?7 OR listed_from >= ?2))) \
             LIMIT 1",
        )
        .bind(self.account)
        .bind(from.to_string())
        .bind(undated_from.to_string())
        .bind(self.generation)
        .bind(DATED_BY_BOOKING)
        .bind(DATED_BY_VALUE)
        .bind(listed_by_value_date_from.to_string())
        .fetch_optional(&self.copy.pool)
        .await?
        .is_some();
        let listed_from = if is_truncated {
            undated_from
        } else {
            or_guaranteed(parse_day(row.try_get("first")?)?)
        };
        Ok(Coverage {
            listed_from,
            undated_from,
            is_truncated,
        })
    }

    /// First day from which the copy is complete after this walk.
    ///
    /// If the walk does not overlap the last one, entries of the days between them may be missing:
    /// the copy is then complete from this walk's first day only. After an undecodable entry, which
    /// may be of any day, the copy is complete from no day.
    pub(super) fn first_complete_day(&self) -> Option<NaiveDate> {
        match self.scope {
            _ if self.left_out > 0 => None,
            ListScope::Delta => self.complete_from,
            ListScope::Period { from } => {
                let overlaps_last_walk = self
                    .complete_until
                    .is_some_and(|until| from <= days_before(until, self.overlap_days));
                let previous = self.complete_from.filter(|_| overlaps_last_walk);
                Some(previous.map_or(from, |previous| previous.min(from)))
            }
        }
    }
}
