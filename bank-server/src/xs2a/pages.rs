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

/// Lifetime of a list, from its first page.
pub(super) const LIFETIME: TimeDelta = TimeDelta::hours(1);

/// The list that a token is valid for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListKey<'a> {
    pub(super) consent: &'a str,
    pub(super) account: &'a str,
    /// Parameters of the list, as in the links of its pages.
    pub(super) parameters: &'a str,
}

/// Position between two pages of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PagePosition {
    /// The last entry of the page before.
    pub(super) place: PageKey,
    /// Time of the first page.
    pub(super) started: DateTime<Utc>,
    /// Of a delta report: the arrival after which it starts.
    pub(super) since: Option<Arrival>,
    /// Of a delta report: the newest booked entry so far.
    pub(super) newest: Option<Arrival>,
}

impl ListKey<'_> {
    /// Token of the page after that position.
    pub(super) fn token(&self, vault: &Vault, position: &PagePosition) -> String {
        let PageKey {
            booked,
            date,
            sequence,
        } = position.place;
        let kind = if booked { 'b' } else { 'p' };
        let started = position.started.timestamp();
        let (since, newest) = (arrival(position.since), arrival(position.newest));
        let text = format!("{kind}.{date}.{sequence}.{started}.{since}.{newest}");
        let stamp = URL_SAFE_NO_PAD.encode(self.stamp(vault, &text));
        format!("{text}.{stamp}")
    }

    /// Opens a token. `None` if it is forged, of another list, or expired.
    pub(super) fn open(
        &self,
        vault: &Vault,
        token: &str,
        now: DateTime<Utc>,
    ) -> Option<PagePosition> {
        let (text, stamp) = token.rsplit_once('.')?;
        let position = parse(text)?;
        let given = URL_SAFE_NO_PAD.decode(stamp).ok()?;
        let genuine = bool::from(self.stamp(vault, text).ct_eq(&given));
        // Whole seconds, as in the token.
        let age = now.timestamp() - position.started.timestamp();
        (genuine && (0..=LIFETIME.num_seconds()).contains(&age)).then_some(position)
    }

    fn stamp(&self, vault: &Vault, position: &str) -> [u8; 32] {
        // No field but the last can hold a line break: the parameters are escaped as in a URL.
        let message = [position, self.consent, self.parameters, self.account];
        vault.mac("page", message.join("\n").as_bytes())
    }
}

fn arrival(place: Option<Arrival>) -> String {
    place.map_or_else(String::new, |Arrival(place)| place.to_string())
}

fn parse(text: &str) -> Option<PagePosition> {
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
    Some(PagePosition {
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

    const KEY: ListKey<'_> = ListKey {
        consent: "consent",
        account: "account",
        parameters: "dateFrom=2026-01-01&dateTo=2026-11-24&bookingStatus=both&pageSize=100",
    };

    fn vault() -> Vault {
        Vault::new(&[7; 32], Arc::new(SystemRandomness)).unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn position() -> PagePosition {
        PagePosition {
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
        let token = KEY.token(&vault(), &position());
        let opens = |key: ListKey<'_>| key.open(&vault(), &token, now()).is_some();
        assert!(opens(KEY));
        for other in [
            ListKey {
                consent: "another",
                ..KEY
            },
            ListKey {
                account: "another",
                ..KEY
            },
            ListKey {
                parameters: "deltaList=true&bookingStatus=both&pageSize=100",
                ..KEY
            },
            ListKey {
                parameters: "",
                ..KEY
            },
        ] {
            assert!(!opens(other), "{other:?}");
        }
        let other = Vault::new(&[8; 32], Arc::new(SystemRandomness)).unwrap();
        assert!(KEY.open(&other, &token, now()).is_none());
    }

    #[test]
    fn a_token_that_was_touched_is_none() {
        let token = KEY.token(&vault(), &position());
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
            assert!(KEY.open(&vault(), &touched, now()).is_none(), "{touched}");
        }
        let (unstamped, _) = token.rsplit_once('.').unwrap();
        for made_up in [unstamped.to_owned(), format!("{unstamped}."), String::new()] {
            assert!(KEY.open(&vault(), &made_up, now()).is_none());
        }
    }

    #[test]
    fn a_walk_lasts_an_hour() {
        let token = KEY.token(&vault(), &position());
        let opens = |seconds: i64| {
            let now = now() + TimeDelta::seconds(seconds);
            KEY.open(&vault(), &token, now).is_some()
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
            let position = PagePosition {
                place: PageKey { booked, date, sequence },
                started: now(),
                since: since.map(Arrival),
                newest: newest.map(Arrival),
            };
            let token = KEY.token(&vault(), &position);
            prop_assert_eq!(KEY.open(&vault(), &token, now()), Some(position));
        }

        #[test]
        fn no_token_panics(token in "\\PC*") {
            let _ = KEY.open(&vault(), &token, now());
        }
    }
}
