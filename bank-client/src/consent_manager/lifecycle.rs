//! State machine of a connection. No I/O, no clock.
//!
//! A connection has a current consent (used for reads) and a next one (requested). They change
//! independently, except that the approved next consent replaces the current one.

use serde::{Deserialize, Serialize};
use shared_types::xs2a::consent::ConsentStatus;

/// State of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lifecycle {
    pub(super) current: Current,
    pub(super) next: Next,
}

/// State of the current consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Current {
    /// There was none yet.
    None,
    /// It opens what was approved.
    Serving,
    /// It opens nothing more.
    Ended(EndReason),
    /// The connection is being given up.
    Leaving,
}

/// Reason for which a consent opens nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EndReason {
    /// Its last day has passed, or it was for one read.
    Expired,
    /// The customer has taken it back at the bank.
    RevokedByCustomer,
    /// A newer one has taken its place at the bank, or it was given up there in our name.
    Replaced,
    /// The bank does not know it any more.
    Gone,
}

/// State of the next consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Next {
    /// None.
    None,
    /// Its request is about to be sent, or was sent without a known outcome.
    Intended,
    /// The bank has it, and the customer is to approve it.
    Waiting,
    /// It was not approved.
    Failed(ApprovalFailure),
}

/// Reason for which a requested consent was never approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ApprovalFailure {
    /// The customer, or the bank, has refused it.
    Refused,
    /// It was not approved in time.
    Lapsed,
    /// The bank rejected the request.
    NotAsked,
}

/// Event that changes the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A consent request is about to be sent.
    Intended,
    /// The bank has accepted the request, and the consent awaits approval.
    Asked,
    /// The bank has rejected the request.
    NotAsked,
    /// The requested consent is approved.
    Approved,
    /// The requested consent is refused.
    Refused,
    /// It was not approved in time.
    Lapsed,
    /// The consent in use has ended.
    Ended(EndReason),
    /// The consent in use is valid after all: the bank did not know it by mistake.
    Restored,
    /// The connection is given up.
    Disconnected,
}

impl Lifecycle {
    /// State before the first consent request.
    pub(super) const fn new() -> Self {
        Self {
            current: Current::None,
            next: Next::None,
        }
    }

    /// The state after an event; `None` if the event is not possible or changes nothing.
    pub(super) const fn after(self, event: Event) -> Option<Self> {
        let (current, next) = match (self.current, self.next, event) {
            (Current::Leaving, ..) => return None,
            (_, next, Event::Disconnected) => (Current::Leaving, next),
            (_, Next::Waiting, Event::Approved) => (Current::Serving, Next::None),
            (Current::Serving, next, Event::Ended(reason)) => (Current::Ended(reason), next),
            (Current::Ended(EndReason::Gone), next, Event::Restored) => (Current::Serving, next),
            (current, Next::None | Next::Failed(_), Event::Intended) => (current, Next::Intended),
            (current, Next::Intended, Event::Asked) => (current, Next::Waiting),
            (current, Next::Intended, Event::NotAsked) => {
                (current, Next::Failed(ApprovalFailure::NotAsked))
            }
            (current, Next::Waiting, Event::Refused) => {
                (current, Next::Failed(ApprovalFailure::Refused))
            }
            (current, Next::Waiting, Event::Lapsed) => {
                (current, Next::Failed(ApprovalFailure::Lapsed))
            }
            _ => return None,
        };
        Some(Self { current, next })
    }
}

/// The event for the current consent's status at the bank. [`Lifecycle::after`] returns `None` if
/// it changes nothing.
pub(super) const fn of_current(status: ConsentStatus) -> Event {
    match status {
        ConsentStatus::Valid => Event::Restored,
        ConsentStatus::Expired => Event::Ended(EndReason::Expired),
        ConsentStatus::RevokedByPsu => Event::Ended(EndReason::RevokedByCustomer),
        ConsentStatus::TerminatedByTpp => Event::Ended(EndReason::Replaced),
        // It was valid once. A bank that takes that back without saying who wanted it does not
        // stand by it.
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised | ConsentStatus::Rejected => {
            Event::Ended(EndReason::Gone)
        }
    }
}

/// The event for the next consent's status at the bank; `None` while it waits. `seen`: whether the
/// customer has visited the bank, since `rejected` means both a refusal and an expiry.
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

    const EVENTS: [Event; 12] = [
        Event::Intended,
        Event::Asked,
        Event::NotAsked,
        Event::Approved,
        Event::Refused,
        Event::Lapsed,
        Event::Ended(EndReason::Expired),
        Event::Ended(EndReason::RevokedByCustomer),
        Event::Ended(EndReason::Replaced),
        Event::Ended(EndReason::Gone),
        Event::Restored,
        Event::Disconnected,
    ];

    fn shown(lifecycle: Lifecycle) -> String {
        let current = match lifecycle.current {
            Current::None => "none",
            Current::Serving => "serving",
            Current::Ended(EndReason::Expired) => "expired",
            Current::Ended(EndReason::RevokedByCustomer) => "revoked",
            Current::Ended(EndReason::Replaced) => "replaced",
            Current::Ended(EndReason::Gone) => "gone",
            Current::Leaving => "leaving",
        };
        let next = match lifecycle.next {
            Next::None => "-",
            Next::Intended => "intended",
            Next::Waiting => "waiting",
            Next::Failed(ApprovalFailure::Refused) => "refused",
            Next::Failed(ApprovalFailure::Lapsed) => "lapsed",
            Next::Failed(ApprovalFailure::NotAsked) => "unasked",
        };
        format!("{current}/{next}")
    }

    const CURRENT: [Current; 7] = [
        Current::None,
        Current::Serving,
        Current::Ended(EndReason::Expired),
        Current::Ended(EndReason::RevokedByCustomer),
        Current::Ended(EndReason::Replaced),
        Current::Ended(EndReason::Gone),
        Current::Leaving,
    ];

    const NEXT: [Next; 6] = [
        Next::None,
        Next::Intended,
        Next::Waiting,
        Next::Failed(ApprovalFailure::Refused),
        Next::Failed(ApprovalFailure::Lapsed),
        Next::Failed(ApprovalFailure::NotAsked),
    ];

    /// What becomes of the consent that is asked for. Rows: `NEXT`. Columns: the first six of
    /// `EVENTS`. `approved` stands for the switch.
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
                let lifecycle = Lifecycle { current, next };
                let (mine, theirs) = shown(lifecycle)
                    .split_once('/')
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))
                    .unwrap();
                assert_eq!(theirs, cells[0]);
                for (cell, event) in cells[1..].iter().zip(EVENTS) {
                    let expected = match *cell {
                        _ if current == Current::Leaving => None,
                        "." => None,
                        "approved" => Some("serving/-".to_owned()),
                        next => Some(format!("{mine}/{next}")),
                    };
                    assert_eq!(
                        lifecycle.after(event).map(shown),
                        expected,
                        "{lifecycle:?} {event:?}"
                    );
                }
            }
        }
    }

    /// What becomes of the consent under which is read. Rows: `CURRENT`. Columns: the last six of
    /// `EVENTS`.
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
                let lifecycle = Lifecycle { current, next };
                let theirs = shown(lifecycle).split_once('/').unwrap().1.to_owned();
                assert!(shown(lifecycle).starts_with(cells[0]));
                for (cell, event) in cells[1..].iter().zip(&EVENTS[6..]) {
                    let expected = (*cell != ".").then(|| format!("{cell}/{theirs}"));
                    assert_eq!(
                        lifecycle.after(*event).map(shown),
                        expected,
                        "{lifecycle:?} {event:?}"
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
        let waiting = Lifecycle {
            current: Current::Serving,
            next: Next::Waiting,
        };
        let rows = table.lines().filter(|row| !row.trim().is_empty());
        for (row, status) in rows.zip(ConsentStatus::ALL.iter().copied()) {
            let cells: Vec<&str> = row.split_whitespace().collect();
            assert_eq!(cells[0], status.as_str());
            let current = waiting.after(of_current(status));
            let current = current.map_or("-".to_owned(), |lifecycle| {
                shown(lifecycle).replace("/waiting", "")
            });
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
