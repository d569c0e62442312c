//! Pages of an account's entries.
//!
//! The rows of a page come as one: to take a hundred rows out of a database costs more than to read
//! them there.

use bytestring::ByteString;
use chrono::NaiveDate;
use sqlx::Any;
use sqlx::any::AnyArguments;
use sqlx::query::QueryScalar;

use super::{Ledger, corrupt, failed};
use crate::core_banking::{CoreBankingError, Page, PageKey, Result, TransactionQuery};
use crate::domain::{AccountId, Arrival};

/// Puts rows into one text: each as date, number, the length in bytes of its id and of its JSON,
/// each with a blank behind it, and then those two.
///
/// They are concatenated in the order in which they come; the reader checks it. The limit is a sum,
/// because SQLite plans a statement anew each time it is run if it is a parameter.
macro_rules! as_one {
    ($rows:literal, $order:literal) => {
        concat!(
            "SELECT string_agg(concat(date, ' ', sequence, ' ', octet_length(transaction_id), ' ', \
             octet_length(details), ' ', transaction_id, details), '') AS page \
             FROM (SELECT date, sequence, transaction_id, details FROM entry ",
            $rows,
            " ORDER BY ",
            $order,
            " LIMIT $1 + 0) AS entries"
        )
    };
}

/// The order of the primary key, backwards.
const ENTRIES: &str = as_one!(
    "WHERE account = $2 AND booked = $3 AND date >= $4 AND (date, sequence) < ($5, $6)",
    "date DESC, sequence DESC"
);

/// The order of an entry's number is that of its arrival: see the migration.
pub(super) const ARRIVALS: &str = as_one!(
    "WHERE account = $2 AND booked = 1 AND sequence > $3 AND sequence < $4 AND date >= $5",
    "sequence DESC"
);

/// An entry as a slice of the page's text.
struct Entry<'a> {
    key: PageKey,
    id: &'a str,
    details: &'a str,
}

impl Ledger {
    /// One page: pending entries first, then booked ones, each the newest first. Each becomes what
    /// `of` makes of its id and its JSON, both out of the text that comes first.
    ///
    /// Cost: one statement for the pending ones and one for the booked ones, as far as each are
    /// wanted, with one look-up by index.
    pub(super) async fn page<D>(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
        of: impl Fn(&ByteString, &str, &str) -> Result<D, CoreBankingError> + Send,
    ) -> Result<Page<D>> {
        let mut entries: Vec<(PageKey, D)> = Vec::new();
        let after_pending = query.after.is_some_and(|after| after.booked);
        let parts = [
            (false, query.status.wants_pending() && !after_pending),
            (true, query.status.wants_booked()),
        ];
        for (booked, wanted) in parts {
            // One more than asked for shows whether there is a next page.
            let room = (query.limit + 1).saturating_sub(entries.len());
            if !wanted || room == 0 {
                continue;
            }
            let text = self.part(account, query, booked, room).await?;
            let mut rest: &str = &text;
            while !rest.is_empty() {
                let entry = next(&mut rest, booked).ok_or_else(|| corrupt("entry"))?;
                let before = entries.last().map(|(before, _)| before);
                if before.is_some_and(|before| !query.comes_after(before, &entry.key)) {
                    return Err(corrupt("the order of entry"));
                }
                entries.push((entry.key, of(&text, entry.id, entry.details)?));
            }
        }
        let more = entries.len() > query.limit;
        entries.truncate(query.limit);
        let next = entries.last().filter(|_| more).map(|(key, _)| *key);
        let newest = entries
            .iter()
            .find(|(key, _)| key.booked && query.since.is_some())
            .map(|(key, _)| Arrival(key.sequence));
        let (booked, pending): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(key, _)| key.booked);
        let details =
            |entries: Vec<(PageKey, D)>| entries.into_iter().map(|(_, details)| details).collect();
        Ok(Page {
            pending: details(pending),
            booked: details(booked),
            next,
            newest,
        })
    }

    /// The pending or the booked ones, as a text.
    async fn part(
        &self,
        account: &AccountId,
        query: &TransactionQuery,
        booked: bool,
        room: usize,
    ) -> Result<ByteString> {
        let after = query.after.filter(|after| after.booked == booked);
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        let statement: QueryScalar<'_, Any, Option<String>, AnyArguments> = match query.since {
            // A delta report: what arrived between two places, the latest first.
            Some(Arrival(since)) if booked => sqlx::query_scalar(ARRIVALS)
                .bind(room)
                .bind(account.0.as_str())
                .bind(since)
                .bind(after.map_or(i64::MAX, |after| after.sequence))
                .bind(query.from.to_string()),
            _ => {
                // Everything before this place: the end of the last day, or the end of the page
                // before.
                let end = (query.to, i64::MAX);
                let before = after.map_or(end, |after| (after.date, after.sequence).min(end));
                sqlx::query_scalar(ENTRIES)
                    .bind(room)
                    .bind(account.0.as_str())
                    .bind(i64::from(booked))
                    .bind(query.from.to_string())
                    .bind(before.0.to_string())
                    .bind(before.1)
            }
        };
        let page = statement.fetch_one(self.database.pool()).await;
        Ok(page.map_err(failed)?.unwrap_or_default().into())
    }
}

/// Takes the next entry off the text. `None` if the text is not one of entries.
fn next<'a>(rest: &mut &'a str, booked: bool) -> Option<Entry<'a>> {
    let mut head = [""; 4];
    for word in &mut head {
        (*word, *rest) = rest.split_once(' ')?;
    }
    let [date, sequence, id, details] = head;
    let key = PageKey {
        booked,
        date: date.parse::<NaiveDate>().ok()?,
        sequence: sequence.parse().ok()?,
    };
    let mut take = |length: &str| {
        let (taken, left) = rest.split_at_checked(length.parse().ok()?)?;
        *rest = left;
        Some(taken)
    };
    Some(Entry {
        key,
        id: take(id)?,
        details: take(details)?,
    })
}

#[cfg(test)]
mod tests {
    use shared_types::xs2a::transaction::BookingStatus;

    use super::*;

    #[test]
    fn entries_are_told_apart_whatever_is_in_them() {
        let mut rest = "2026-11-24 7 4 2 a\nä{}2026-11-23 -1 3 8 1 2{\"a\": 1}";
        let first = next(&mut rest, true).unwrap();
        assert_eq!((first.id, first.details), ("a\nä", "{}"));
        assert_eq!((first.key.booked, first.key.sequence), (true, 7));
        let second = next(&mut rest, false).unwrap();
        assert_eq!((second.id, second.details), ("1 2", "{\"a\": 1}"));
        assert_eq!((second.key.booked, second.key.sequence), (false, -1));
        assert_eq!(rest, "");
    }

    #[test]
    fn what_is_no_text_of_entries_is_found_out() {
        for text in [
            "2026-11-24",
            "2026-11-24 7 1 2 a{",
            "2026-11-24 7 1 1 ää",
            "2026-13-24 7 1 1 aa",
            "2026-11-24 7 -1 1 aa",
            "2026-11-24 x 1 1 aa",
        ] {
            assert!(next(&mut &*text, true).is_none(), "{text}");
        }
    }

    #[test]
    fn a_page_that_comes_in_another_order_is_found_out() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
        let key = |booked, on, sequence| PageKey {
            booked,
            date: day(on),
            sequence,
        };
        let query = |since| TransactionQuery {
            from: day(1),
            to: day(30),
            status: BookingStatus::Both,
            since,
            after: None,
            limit: 10,
        };
        let (list, delta) = (query(None), query(Some(Arrival(0))));
        for (before, entry, in_list, in_delta) in [
            (key(true, 24, 1), key(true, 23, 9), true, false),
            (key(true, 24, 2), key(true, 24, 1), true, true),
            (key(true, 23, 2), key(true, 24, 1), false, true),
            (key(true, 24, 1), key(true, 24, 1), false, false),
            (key(false, 1, 1), key(true, 24, 9), true, true),
            (key(true, 24, 9), key(false, 1, 1), false, false),
            (key(false, 24, 1), key(false, 23, 9), true, true),
        ] {
            assert_eq!(
                list.comes_after(&before, &entry),
                in_list,
                "{before:?} {entry:?}"
            );
            assert_eq!(
                delta.comes_after(&before, &entry),
                in_delta,
                "{before:?} {entry:?}"
            );
        }
    }
}
