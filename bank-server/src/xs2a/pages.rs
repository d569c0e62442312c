//! Page tokens of lists.
//!
//! Only the first page of a list is counted as a read. A TPP must therefore not be able to forge a
//! token, nor keep one for ever: each token is authenticated for one consent, one account and one
//! query, and expires an hour after the first page was read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use shared_types::xs2a::date;
use subtle::ConstantTimeEq as _;

use crate::core_banking::PageKey;
use crate::domain::Arrival;
use crate::store::vault::Vault;

/// How long after its first page a list can be walked through.
pub(super) const LIFETIME: TimeDelta = TimeDelta::hours(1);

/// The list that is walked through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) consent: &'a str,
    pub(super) account: &'a str,
    /// What was asked for, as it stands in the links of its pages.
    pub(super) asked: &'a str,
}

/// Where a walk is, between two pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last entry of the page before.
    pub(super) place: PageKey,
    /// When the first page was read.
    pub(super) started: DateTime<Utc>,
    /// Of a delta report: after which place it starts.
    pub(super) since: Option<Arrival>,
    /// Of a delta report: the newest booked entry so far.
    pub(super) newest: Option<Arrival>,
}

impl Walk<'_> {
    /// The token for the page after that mark.
    pub(super) fn token(&self, vault: &Vault, mark: &Mark) -> String {
        let PageKey {
            booked,
            date,
            sequence,
        } = mark.place;
        let kind = if booked { 'b' } else { 'p' };
        let started = mark.started.timestamp();
        let (since, newest) = (arrival(mark.since), arrival(mark.newest));
        let text = format!("{kind}.{date}.{sequence}.{started}.{since}.{newest}");
        let stamp = URL_SAFE_NO_PAD.encode(self.stamp(vault, &text));
        format!("{text}.{stamp}")
    }

    /// Reads a token back. `None` for one that was made up, is for another list, or too old.
    pub(super) fn open(&self, vault: &Vault, token: &str, now: DateTime<Utc>) -> Option<Mark> {
        let (text, stamp) = token.rsplit_once('.')?;
        let mark = parse(text)?;
        let given = URL_SAFE_NO_PAD.decode(stamp).ok()?;
        let genuine = bool::from(self.stamp(vault, text).ct_eq(&given));
        // Whole seconds: that is how the token has it.
        let age = now.timestamp() - mark.started.timestamp();
        (genuine && (0..=LIFETIME.num_seconds()).contains(&age)).then_some(mark)
    }

    fn stamp(&self, vault: &Vault, mark: &str) -> [u8; 32] {
        // No field but the last can hold a line break: what was asked for is escaped as in a URL.
        let message = [mark, self.consent, self.asked, self.account];
        vault.mac("page", message.join("\n").as_bytes())
    }
}

fn arrival(place: Option<Arrival>) -> String {
    place.map_or_else(String::new, |Arrival(place)| place.to_string())
}

fn parse(text: &str) -> Option<Mark> {
    let mut parts = text.splitn(6, '.');
    let booked = match parts.next()? {
        "b" => true,
        "p" => false,
        _ => return None,
    };
    let date = date::parse(parts.next()?).ok()?;
    let sequence = parts.next()?.parse().ok()?;
    let started = DateTime::from_timestamp(parts.next()?.parse().ok()?, 0)?;
    let mut arrival = || match parts.next()? {
        "" => Some(None),
        number => number.parse().ok().map(|place| Some(Arrival(place))),
    };
    Some(Mark {
        place: PageKey {
            booked,
            date,
            sequence,
        },
        started,
        since: arrival()?,
        newest: arrival()?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::NaiveDate;
    use proptest::prelude::*;
    use shared_types::environment::SystemRandomness;

    use super::*;

    const WALK: Walk<'_> = Walk {
        consent: "consent",
        account: "account",
        asked: "dateFrom=2026-01-01&dateTo=2026-11-24&bookingStatus=both&pageSize=100",
    };

    fn vault() -> Vault {
        Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn mark() -> Mark {
        Mark {
            place: PageKey {
                booked: true,
                date: "2026-11-20".parse().unwrap(),
                sequence: -4,
            },
            started: now(),
            since: Some(Arrival(17)),
            newest: None,
        }
    }

    #[test]
    fn a_token_is_good_for_its_list_alone() {
        let token = WALK.token(&vault(), &mark());
        let opens = |walk: Walk<'_>| walk.open(&vault(), &token, now()).is_some();
        assert!(opens(WALK));
        for other in [
            Walk {
                consent: "another",
                ..WALK
            },
            Walk {
                account: "another",
                ..WALK
            },
            Walk {
                asked: "deltaList=true&bookingStatus=both&pageSize=100",
                ..WALK
            },
            Walk { asked: "", ..WALK },
        ] {
            assert!(!opens(other), "{other:?}");
        }
        let other = Vault::new(&[8; 32], Arc::new(SystemRandomness)).unwrap();
        assert!(WALK.open(&other, &token, now()).is_none());
    }

    #[test]
    fn a_token_that_was_touched_is_none() {
        let token = WALK.token(&vault(), &mark());
        for (from, to) in [
            ("b.", "p."),
            ("11-20", "11-21"),
            ("-4", "-5"),
            (".17.", ".16."),
            (".17..", ".17.18."),
            (&*now().timestamp().to_string(), "1799999999"),
        ] {
            let touched = token.replacen(from, to, 1);
            assert_ne!(touched, token);
            assert!(WALK.open(&vault(), &touched, now()).is_none(), "{touched}");
        }
        let (unstamped, _) = token.rsplit_once('.').unwrap();
        for made_up in [unstamped.to_owned(), format!("{unstamped}."), String::new()] {
            assert!(WALK.open(&vault(), &made_up, now()).is_none());
        }
    }

    #[test]
    fn a_walk_lasts_an_hour() {
        let token = WALK.token(&vault(), &mark());
        let opens = |seconds: i64| {
            let now = now() + TimeDelta::seconds(seconds);
            WALK.open(&vault(), &token, now).is_some()
        };
        assert!(opens(3600));
        assert!(!opens(3601));
        assert!(!opens(-1), "not before it began");
    }

    proptest! {
        #[test]
        fn a_token_reads_back(
            booked: bool,
            day in 1..3_000_000_i32,
            sequence: i64,
            since: Option<i64>,
            newest: Option<i64>,
        ) {
            let date = NaiveDate::from_num_days_from_ce_opt(day).unwrap();
            let mark = Mark {
                place: PageKey { booked, date, sequence },
                started: now(),
                since: since.map(Arrival),
                newest: newest.map(Arrival),
            };
            let token = WALK.token(&vault(), &mark);
            prop_assert_eq!(WALK.open(&vault(), &token, now()), Some(mark));
        }

        #[test]
        fn no_token_panics(token in "\\PC*") {
            let _ = WALK.open(&vault(), &token, now());
        }
    }
}
