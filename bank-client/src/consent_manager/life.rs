//! The life of a connection: which event leads from where to where. No I/O, no clock.
//!
//! A connection has two sides: the consent under which is read, and the one that is asked for next. They change apart
//! from each other but for one moment: when the next one is approved, it takes the place of the other.

use serde::{Deserialize, Serialize};
use shared_types::xs2a::consent::ConsentStatus;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    pub(super) current: Current,
    pub(super) next: Next,
}

/// The consent under which is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Current {
    /// There was none yet.
    None,
    /// It opens what was approved.
    Serving,
    /// It opens nothing more.
    Over(Ending),
    /// The connection is being given up.
    Leaving,
}

/// Why a consent opens nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Ending {
    /// Its last day has passed, or it was for one read.
    Expired,
    /// The customer has taken it back at the bank.
    RevokedByCustomer,
    /// A newer one has taken its place at the bank, or it was given up there in our name.
    Replaced,
    /// The bank does not know it any more.
    Gone,
}

/// The consent that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Next {
    /// None.
    None,
    /// It is about to be asked for; perhaps it was, and we do not know.
    Intended,
    /// The bank has it, and the customer is to approve it.
    Waiting,
    /// Nothing came of it.
    Failed(NeverApproved),
}

/// Why nothing came of a consent that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NeverApproved {
    /// The customer, or the bank, has refused it.
    Refused,
    /// It was not approved in time.
    Lapsed,
    /// The bank did not take the request.
    NotAsked,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// We are about to ask for a consent.
    Intended,
    /// The bank has answered, and the consent waits for the customer.
    Asked,
    /// The bank has answered that it takes no such request.
    NotAsked,
    /// The one that was asked for is approved.
    Approved,
    /// It is refused.
    Refused,
    /// It was not approved in time.
    Lapsed,
    /// The one under which is read has ended.
    Ended(Ending),
    /// The bank knows it again: that it did not was a mistake of its own.
    Restored,
    /// The connection is given up.
    Left,
}

impl Event {
    /// All of them.
    #[cfg(test)]
    const ALL: [Self; 12] = [
        Self::Intended,
        Self::Asked,
        Self::NotAsked,
        Self::Approved,
        Self::Refused,
        Self::Lapsed,
        Self::Ended(Ending::Expired),
        Self::Ended(Ending::RevokedByCustomer),
        Self::Ended(Ending::Replaced),
        Self::Ended(Ending::Gone),
        Self::Restored,
        Self::Left,
    ];
}

impl Life {
    /// Before the first consent is asked for.
    pub(super) const fn new() -> Self {
        Self {
            current: Current::None,
            next: Next::None,
        }
    }

    /// Where an event leads; `None` where it is not possible, or changes nothing.
    pub(super) const fn after(self, event: Event) -> Option<Self> {
        let Self { current, next } = self;
        if matches!(current, Current::Leaving) {
            return None;
        }
        let next = match (next, event) {
            (_, Event::Left) => {
                return Some(Self {
                    current: Current::Leaving,
                    next,
                });
            }
            (Next::Waiting, Event::Approved) => {
                return Some(Self {
                    current: Current::Serving,
                    next: Next::None,
                });
            }
            (_, Event::Ended(ending)) => {
                return match current {
                    Current::Serving => Some(Self {
                        current: Current::Over(ending),
                        next,
                    }),
                    _ => None,
                };
            }
            (_, Event::Restored) => {
                return match current {
                    Current::Over(Ending::Gone) => Some(Self {
                        current: Current::Serving,
                        next,
                    }),
                    _ => None,
                };
            }
            (Next::None | Next::Failed(_), Event::Intended) => Next::Intended,
            (Next::Intended, Event::Asked) => Next::Waiting,
            (Next::Intended, Event::NotAsked) => Next::Failed(NeverApproved::NotAsked),
            (Next::Waiting, Event::Refused) => Next::Failed(NeverApproved::Refused),
            (Next::Waiting, Event::Lapsed) => Next::Failed(NeverApproved::Lapsed),
            _ => return None,
        };
        Some(Self { current, next })
    }
}

/// What the bank's word on the consent under which is read, or was, comes to. Where it changes nothing,
/// [`Life::after`] says so.
pub(super) const fn of_current(status: ConsentStatus) -> Event {
    match status {
        ConsentStatus::Valid => Event::Restored,
        ConsentStatus::Expired => Event::Ended(Ending::Expired),
        ConsentStatus::RevokedByPsu => Event::Ended(Ending::RevokedByCustomer),
        ConsentStatus::TerminatedByTpp => Event::Ended(Ending::Replaced),
        // It was valid once. A bank that takes that back without saying who wanted it does not stand by it.
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised | ConsentStatus::Rejected => {
            Event::Ended(Ending::Gone)
        }
    }
}

/// What the bank's word on the consent that is asked for comes to; `None` if it still waits. `seen` says whether the
/// customer has been there: `rejected` stands for her refusal as well as for time that has passed.
pub(super) const fn of_next(status: ConsentStatus, seen: bool) -> Option<Event> {
    match status {
        ConsentStatus::Valid => Some(Event::Approved),
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised => None,
        ConsentStatus::Rejected if seen => Some(Event::Refused),
        ConsentStatus::RevokedByPsu => Some(Event::Refused),
        ConsentStatus::Rejected | ConsentStatus::Expired | ConsentStatus::TerminatedByTpp => {
            Some(Event::Lapsed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(life: Life) -> String {
        let current = match life.current {
            Current::None => "none",
            Current::Serving => "serving",
            Current::Over(Ending::Expired) => "expired",
            Current::Over(Ending::RevokedByCustomer) => "revoked",
            Current::Over(Ending::Replaced) => "replaced",
            Current::Over(Ending::Gone) => "gone",
            Current::Leaving => "leaving",
        };
        let next = match life.next {
            Next::None => "-",
            Next::Intended => "intended",
            Next::Waiting => "waiting",
            Next::Failed(NeverApproved::Refused) => "refused",
            Next::Failed(NeverApproved::Lapsed) => "lapsed",
            Next::Failed(NeverApproved::NotAsked) => "unasked",
        };
        format!("{current}/{next}")
    }

    const CURRENT: [Current; 7] = [
        Current::None,
        Current::Serving,
        Current::Over(Ending::Expired),
        Current::Over(Ending::RevokedByCustomer),
        Current::Over(Ending::Replaced),
        Current::Over(Ending::Gone),
        Current::Leaving,
    ];

    const NEXT: [Next; 6] = [
        Next::None,
        Next::Intended,
        Next::Waiting,
        Next::Failed(NeverApproved::Refused),
        Next::Failed(NeverApproved::Lapsed),
        Next::Failed(NeverApproved::NotAsked),
    ];

    /// What becomes of the consent that is asked for. Rows: `NEXT`. Columns: the first six of `Event::ALL`. `approved`
    /// stands for the switch.
    #[test]
    fn what_is_asked_for_meets_every_event() {
        let table = "
                      intended  asked    notAsked  approved  refused  lapsed
            -         intended  .        .         .         .        .
            intended  .         waiting  unasked   .         .        .
            waiting   .         .        .         approved  refused  lapsed
            refused   intended  .        .         .         .        .
            lapsed    intended  .        .         .         .        .
            unasked   intended  .        .         .         .        .
        ";
        let rows = table.lines().filter(|row| !row.trim().is_empty()).skip(1);
        for (row, next) in rows.zip(NEXT) {
            let cells: Vec<&str> = row.split_whitespace().collect();
            for current in CURRENT {
                let life = Life { current, next };
                let (mine, theirs) = shown(life)
                    .split_once('/')
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
                    .unwrap();
                assert_eq!(theirs, cells[0]);
                for (cell, event) in cells[1..].iter().zip(Event::ALL) {
                    let expected = match *cell {
                        _ if current == Current::Leaving => None,
                        "." => None,
                        "approved" => Some("serving/-".to_owned()),
                        next => Some(format!("{mine}/{next}")),
                    };
                    assert_eq!(life.after(event).map(shown), expected, "{life:?} {event:?}");
                }
            }
        }
    }

    /// What becomes of the consent under which is read. Rows: `CURRENT`. Columns: the last six of `Event::ALL`.
    #[test]
    fn what_is_read_under_meets_every_event() {
        let table = "
                      expired  revoked  replaced  gone  restored  left
            none      .        .        .         .     .         leaving
            serving   expired  revoked  replaced  gone  .         leaving
            expired   .        .        .         .     .         leaving
            revoked   .        .        .         .     .         leaving
            replaced  .        .        .         .     .         leaving
            gone      .        .        .         .     serving   leaving
            leaving   .        .        .         .     .         .
        ";
        let rows = table.lines().filter(|row| !row.trim().is_empty()).skip(1);
        for (row, current) in rows.zip(CURRENT) {
            let cells: Vec<&str> = row.split_whitespace().collect();
            for next in NEXT {
                let life = Life { current, next };
                let theirs = shown(life).split_once('/').unwrap().1.to_owned();
                assert!(shown(life).starts_with(cells[0]));
                for (cell, event) in cells[1..].iter().zip(&Event::ALL[6..]) {
                    let expected = (*cell != ".").then(|| format!("{cell}/{theirs}"));
                    assert_eq!(
                        life.after(*event).map(shown),
                        expected,
                        "{life:?} {event:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_banks_word_is_told_apart() {
        let table = "
            received             gone      -        -
            rejected             gone      refused  lapsed
            valid                -         approved approved
            revokedByPsu         revoked   refused  refused
            expired              expired   lapsed   lapsed
            terminatedByTpp      replaced  lapsed   lapsed
            partiallyAuthorised  gone      -        -
        ";
        let waiting = Life {
            current: Current::Serving,
            next: Next::Waiting,
        };
        let rows = table.lines().filter(|row| !row.trim().is_empty());
        for (row, status) in rows.zip(ConsentStatus::ALL) {
            let cells: Vec<&str> = row.split_whitespace().collect();
            assert_eq!(cells[0], status.as_str());
            let current = waiting.after(of_current(status));
            let current =
                current.map_or("-".to_owned(), |life| shown(life).replace("/waiting", ""));
            let next = |seen| match of_next(status, seen) {
                Some(Event::Approved) => "approved".to_owned(),
                Some(event) => shown(waiting.after(event).unwrap()).replace("serving/", ""),
                None => "-".to_owned(),
            };
            assert_eq!(
                [current, next(true), next(false)].as_slice(),
                &cells[1..],
                "{status}"
            );
        }
    }
}
