//! Which way an account is read, and what follows from a refusal: rules, and nothing else.

use chrono::{Days, NaiveDate};
use shared_types::xs2a::message::MessageCode;

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
    /// The first day from which on the copy is whole.
    pub(super) since: Option<NaiveDate>,
    /// The day from which on days have to be listed, because something is known of them that has more than one explanation.
    pub(super) unsettled: Option<NaiveDate>,
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
    let settling = |from: NaiveDate| known.unsettled.map_or(from, |day| day.min(from));
    let Some(complete) = known.complete else {
        return Way::Everything {
            from: settling(back(today, wishes.history_days.into())),
        };
    };
    let dates = Way::Dates {
        from: settling(back(complete.min(today), wishes.overlap_days.into())),
    };
    let refused = known
        .refused
        .is_some_and(|day| back(today, ASK_AGAIN) < day);
    match (wishes.delta, &known.reference) {
        // What the bank has told once, and we have lost, it does not tell again.
        _ if known.in_flight || refused => dates,
        // A delta report settles nothing that only whole days do.
        _ if known.unsettled.is_some() || known.since.is_none() => dates,
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

/// The way to take instead, after so many pages, when the bank refuses this one; `None`: there is no other. What is to be
/// remembered of it holds once that way has been gone: a refusal may have had another reason.
pub(super) fn instead(
    way: &Way,
    error: &Error,
    pages: u64,
    known: &Known,
    wishes: &Wishes,
    today: NaiveDate,
) -> Option<(Way, Lesson)> {
    if !may_be_the_period(error) {
        return None;
    }
    match way {
        Way::Everything { from } => Some((
            Way::Everything {
                from: later(*from, today)?,
            },
            Lesson::Nothing,
        )),
        Way::Dates { from } => Some((
            Way::Dates {
                from: later(*from, today)?,
            },
            Lesson::Nothing,
        )),
        Way::AfterEntry { .. } | Way::AfterLastReport => {
            let unknown = codes(error).any(|code| *code == MessageCode::ResourceUnknown);
            let lesson = match way {
                _ if pages > 0 => Lesson::Nothing,
                Way::AfterEntry { .. } if unknown => Lesson::ForgetReference,
                _ => Lesson::NoDeltas,
            };
            Some((plan(known, &wishes.by_days(), today), lesson))
        }
    }
}

impl Wishes {
    /// The same, without delta reports.
    pub(super) fn by_days(&self) -> Self {
        Self {
            delta: None,
            ..*self
        }
    }
}

/// Whether a refusal may be about the period or the kind of list that was asked for: another one is tried then.
/// `CONSENT_INVALID` is among these: the same consent has just opened the list of accounts. So is an entry that the bank does
/// not know any more.
pub(super) fn may_be_the_period(error: &Error) -> bool {
    error.may_be_about_the_request() || says_there_are_none(error) && !error.has_other_reason()
}

/// Whether the bank says, in the place of a list, that there is none: of an account that it has just listed, that there are
/// no transactions in the period.
pub(super) fn says_there_are_none(error: &Error) -> bool {
    error.is_resource_unknown()
}

/// The codes of a refusal.
fn codes(error: &Error) -> impl Iterator<Item = &MessageCode> {
    let messages = match &error.kind {
        ErrorKind::Refused { messages, .. } => messages.as_slice(),
        _ => &[],
    };
    messages.iter().map(|message| &message.code)
}

/// A first day that the bank may show when it refuses an earlier one: some count the 90 days with today, and some without.
fn later(from: NaiveDate, today: NaiveDate) -> Option<NaiveDate> {
    [ALWAYS, ALWAYS - 1, ALWAYS - 2]
        .map(|days| back(today, days))
        .into_iter()
        .find(|day| from < *day)
}

/// The first day of a list that every bank gives. Its 90 days count with today, and its day may be one ahead of ours.
pub(super) fn always_from(today: NaiveDate) -> NaiveDate {
    back(today, ALWAYS - 2)
}

pub(super) fn back(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days))
        .unwrap_or(NaiveDate::MIN)
}
