//! Places in a list, as TPPs carry them from page to page.
//!
//! Only the first page of a list is counted as a read. A TPP must therefore not be able to make up a place of its own,
//! nor keep one for ever: each token is stamped for one consent, one account and one query, and for an hour from when
//! the first page was read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use shared_types::date;
use subtle::ConstantTimeEq as _;

use crate::core_banking::{PageKey, TransactionQuery};
use crate::store::vault::Vault;

/// How long after its first page a list can be walked through.
pub(super) const LIFETIME: TimeDelta = TimeDelta::hours(1);

/// The list that is walked through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) consent: &'a str,
    pub(super) account: &'a str,
    pub(super) query: &'a TransactionQuery,
    /// When its first page was read.
    pub(super) started: DateTime<Utc>,
}

impl Walk<'_> {
    /// The token for the page after that place.
    pub(super) fn token(&self, vault: &Vault, place: PageKey) -> String {
        let PageKey {
            booked,
            date,
            sequence,
        } = place;
        let kind = if booked { 'b' } else { 'p' };
        let place = format!("{kind}.{date}.{sequence}.{}", self.started.timestamp());
        let stamp = URL_SAFE_NO_PAD.encode(self.stamp(vault, &place));
        format!("{place}.{stamp}")
    }

    fn stamp(&self, vault: &Vault, place: &str) -> [u8; 32] {
        let TransactionQuery {
            from,
            to,
            status,
            limit,
            ..
        } = self.query;
        let status = status.as_str();
        // No field but the last can hold a line break.
        let message = [
            place,
            self.consent,
            &from.to_string(),
            &to.to_string(),
            status,
            &limit.to_string(),
            self.account,
        ];
        vault.mac("page", message.join("\n").as_bytes())
    }
}

/// Reads a token back: the place, and when the walk began. `None` for one that was made up, is for another list, or too
/// old.
pub(super) fn open(
    vault: &Vault,
    consent: &str,
    account: &str,
    query: &TransactionQuery,
    token: &str,
    now: DateTime<Utc>,
) -> Option<(PageKey, DateTime<Utc>)> {
    let (text, stamp) = token.rsplit_once('.')?;
    let (place, started) = parse(text)?;
    let walk = Walk {
        consent,
        account,
        query,
        started,
    };
    let given = URL_SAFE_NO_PAD.decode(stamp).ok()?;
    let genuine = bool::from(walk.stamp(vault, text).ct_eq(&given));
    // Whole seconds: that is how the token has it.
    let age = now.timestamp() - started.timestamp();
    (genuine && (0..=LIFETIME.num_seconds()).contains(&age)).then_some((place, started))
}

fn parse(text: &str) -> Option<(PageKey, DateTime<Utc>)> {
    let mut parts = text.splitn(4, '.');
    let booked = match parts.next()? {
        "b" => true,
        "p" => false,
        _ => return None,
    };
    let date = date::parse(parts.next()?).ok()?;
    let sequence = parts.next()?.parse().ok()?;
    let started = DateTime::from_timestamp(parts.next()?.parse().ok()?, 0)?;
    let place = PageKey {
        booked,
        date,
        sequence,
    };
    Some((place, started))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bank_client::environment::SystemRandomness;
    use chrono::NaiveDate;
    use proptest::prelude::*;
    use shared_types::transaction::BookingStatus;

    use super::*;

    fn vault() -> Vault {
        Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap()
    }

    fn query() -> TransactionQuery {
        TransactionQuery {
            from: "2026-01-01".parse().unwrap(),
            to: "2026-11-24".parse().unwrap(),
            status: BookingStatus::Both,
            after: None,
            limit: 100,
        }
    }

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn token(place: PageKey) -> String {
        let (query, started) = (query(), now());
        let walk = Walk {
            consent: "consent",
            account: "account",
            query: &query,
            started,
        };
        walk.token(&vault(), place)
    }

    fn place() -> PageKey {
        PageKey {
            booked: true,
            date: "2026-11-20".parse().unwrap(),
            sequence: -4,
        }
    }

    #[test]
    fn a_token_is_good_for_its_list_alone() {
        let token = token(place());
        let opens = |consent: &str, account: &str, change: fn(&mut TransactionQuery)| {
            let mut query = query();
            change(&mut query);
            open(&vault(), consent, account, &query, &token, now()).is_some()
        };
        assert!(opens("consent", "account", |_| ()));
        assert!(!opens("another", "account", |_| ()));
        assert!(!opens("consent", "another", |_| ()));
        assert!(!opens("consent", "account", |query| query.from = NaiveDate::MIN));
        assert!(!opens("consent", "account", |query| query.to = NaiveDate::MAX));
        assert!(!opens("consent", "account", |query| query.limit = 500));
        assert!(!opens("consent", "account", |query| query.status =
            BookingStatus::Booked));
        let other = Vault::new(&[8; 32], Arc::new(SystemRandomness)).unwrap();
        assert!(open(&other, "consent", "account", &query(), &token, now()).is_none());
    }

    #[test]
    fn a_token_that_was_touched_is_none() {
        let token = token(place());
        for (from, to) in [
            ("b.", "p."),
            ("11-20", "11-21"),
            ("-4", "-5"),
            (&*now().timestamp().to_string(), "1799999999"),
        ] {
            let touched = token.replacen(from, to, 1);
            assert_ne!(touched, token);
            assert!(
                open(&vault(), "consent", "account", &query(), &touched, now()).is_none(),
                "{touched}"
            );
        }
        let (unstamped, _) = token.rsplit_once('.').unwrap();
        for made_up in [unstamped.to_owned(), format!("{unstamped}."), String::new()] {
            assert!(open(&vault(), "consent", "account", &query(), &made_up, now()).is_none());
        }
    }

    #[test]
    fn a_walk_lasts_an_hour() {
        let token = token(place());
        let opens = |seconds: i64| {
            let now = now() + TimeDelta::seconds(seconds);
            open(&vault(), "consent", "account", &query(), &token, now).is_some()
        };
        assert!(opens(3600));
        assert!(!opens(3601));
        assert!(!opens(-1), "not before it began");
    }

    proptest! {
        #[test]
        fn a_token_reads_back(booked: bool, day in 1..3_000_000_i32, sequence: i64) {
            let date = NaiveDate::from_num_days_from_ce_opt(day).unwrap();
            let place = PageKey { booked, date, sequence };
            let opened = open(&vault(), "consent", "account", &query(), &token(place), now());
            prop_assert_eq!(opened, Some((place, now())));
        }

        #[test]
        fn no_token_panics(token in "\\PC*") {
            let _ = open(&vault(), "consent", "account", &query(), &token, now());
        }
    }
}
