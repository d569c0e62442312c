//! Which way an account is read, and what follows from a refusal: rules, and nothing else.

use chrono::{Days, NaiveDate};
use shared_types::message::MessageCode;

use crate::directory::Delta;
use crate::error::{Error, ErrorKind};

/// The days that every bank shows, whenever it is asked (Delegated Regulation (EU) 2018/389, article 10a(1)(b)).
const ALWAYS: u64 = 90;

/// After so many days a bank that refused delta reports is asked again.
const ASK_AGAIN: u64 = 30;

/// The way in which the transactions of an account are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// All of them, from that day on: the first time.
    Everything {
        /// The first day.
        from: NaiveDate,
    },
    /// Those of the last days once more, and what has come since.
    Dates {
        /// The first day.
        from: NaiveDate,
    },
    /// What came after the newest entry that is known (`entryReferenceFrom`).
    AfterEntry {
        /// Its `entryReference`.
        reference: String,
    },
    /// What came after the bank's last report (`deltaList`).
    AfterLastReport,
}

/// What is known of an account when its transactions are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The day on which it was last read whole.
    pub(super) complete: Option<NaiveDate>,
    /// After which entry a delta report can start.
    pub(super) reference: Option<String>,
    /// A report was asked for that the bank gives once, and did not come to its end.
    pub(super) in_flight: bool,
    /// The day on which the bank refused a delta report.
    pub(super) refused: Option<NaiveDate>,
}

/// What the program wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wishes {
    pub(super) delta: Option<Delta>,
    pub(super) history_days: u32,
    pub(super) overlap_days: u32,
    pub(super) page_size: Option<usize>,
}

/// The way to begin with.
pub(super) fn plan(known: &Known, wishes: &Wishes, today: NaiveDate) -> Way {
    let Some(complete) = known.complete else {
        return Way::Everything {
            from: back(today, wishes.history_days.into()),
        };
    };
    let dates = Way::Dates {
        from: back(complete.min(today), wishes.overlap_days.into()),
    };
    let refused = known
        .refused
        .is_some_and(|day| back(today, ASK_AGAIN) < day);
    match (wishes.delta, &known.reference) {
        // What the bank has told once, and we have lost, it does not tell again.
        _ if known.in_flight || refused => dates,
        (Some(Delta::EntryReference), Some(reference)) => Way::AfterEntry {
            reference: reference.clone(),
        },
        (Some(Delta::DeltaList), _) => Way::AfterLastReport,
        _ => dates,
    }
}

/// What is to be remembered of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lesson {
    Nothing,
    /// The bank does not know that entry any more.
    ForgetReference,
    /// The bank has no delta reports.
    NoDeltas,
}

/// The way to take instead, after so many pages, when the bank refuses this one; `None`: there is no other.
pub(super) fn instead(
    way: &Way,
    error: &Error,
    pages: u64,
    known: &Known,
    wishes: &Wishes,
    today: NaiveDate,
) -> Option<(Way, Lesson)> {
    let (status, code) = refusal(error)?;
    let unknown = code == Some(&MessageCode::ResourceUnknown);
    match way {
        Way::Everything { from } if status == 400 => Some((
            Way::Everything {
                from: later(*from, today)?,
            },
            Lesson::Nothing,
        )),
        Way::Dates { from } if status == 400 => Some((
            Way::Dates {
                from: later(*from, today)?,
            },
            Lesson::Nothing,
        )),
        Way::AfterEntry { .. } | Way::AfterLastReport if status == 400 || unknown => {
            let lesson = match way {
                _ if pages > 0 => Lesson::Nothing,
                Way::AfterEntry { .. } if unknown => Lesson::ForgetReference,
                _ => Lesson::NoDeltas,
            };
            let by_dates = Wishes {
                delta: None,
                ..*wishes
            };
            Some((plan(known, &by_dates, today), lesson))
        }
        _ => None,
    }
}

/// A first day that the bank may show when it refuses an earlier one. Its day may be one ahead of ours.
fn later(from: NaiveDate, today: NaiveDate) -> Option<NaiveDate> {
    [ALWAYS, ALWAYS - 1]
        .map(|days| back(today, days))
        .into_iter()
        .find(|day| from < *day)
}

/// The first day of a list of pending entries that every bank gives.
pub(super) fn pending_from(today: NaiveDate) -> NaiveDate {
    back(today, ALWAYS - 1)
}

fn back(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days))
        .unwrap_or(NaiveDate::MIN)
}

/// The status with which a bank refused, and its reason.
pub(super) fn refusal(error: &Error) -> Option<(u16, Option<&MessageCode>)> {
    match &error.kind {
        ErrorKind::Refused { status, .. } | ErrorKind::Status { status, .. } => {
            Some((*status, error.code()))
        }
        _ => None,
    }
}
