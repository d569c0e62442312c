//! Choice of the transaction request (full, by dates, delta) and the fallback on refusal. No I/O.

use chrono::{Days, NaiveDate};
use shared_types::xs2a::message::MessageCode;

use crate::directory::Delta;
use crate::error::{Error, ErrorKind};

/// Days of history that every bank must show (Delegated Regulation (EU) 2018/389, article
/// 10a(1)(b)).
const GUARANTEED_DAYS: u64 = 90;

/// Days after which a bank that refused delta reports is tried again.
const DELTA_RETRY_DAYS: u64 = 30;

/// Kind of request for the transactions of an account.
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
    /// Entries after the newest one that is known (`entryReferenceFrom`).
    AfterEntry {
        /// Its `entryReference`.
        reference: String,
    },
    /// Transactions since the bank's last report (`deltaList`).
    AfterLastReport,
}

/// State of an account before its transactions are requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AccountSyncState {
    /// The day on which it was last read whole.
    pub(super) complete: Option<NaiveDate>,
    /// After which entry a delta report can start.
    pub(super) reference: Option<String>,
    /// Whether a report that the bank gives only once was requested, and not read to its end.
    pub(super) in_flight: bool,
    /// The day on which the bank refused a delta report.
    pub(super) refused: Option<NaiveDate>,
    /// The first day from which on the copy is whole.
    pub(super) since: Option<NaiveDate>,
    /// The day from which on days have to be listed, because something is known of them that has
    /// more than one explanation.
    pub(super) unsettled: Option<NaiveDate>,
}

/// Options of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SyncOptions {
    pub(super) delta: Option<Delta>,
    pub(super) history_days: u32,
    pub(super) overlap_days: u32,
    pub(super) page_size: Option<usize>,
}

/// The first request to try.
pub(super) fn plan(known: &AccountSyncState, options: &SyncOptions, today: NaiveDate) -> Way {
    let settling = |from: NaiveDate| known.unsettled.map_or(from, |day| day.min(from));
    let Some(complete) = known.complete else {
        return Way::Everything {
            from: settling(days_before(today, options.history_days.into())),
        };
    };
    let dates = Way::Dates {
        from: settling(days_before(
            complete.min(today),
            options.overlap_days.into(),
        )),
    };
    let refused = known
        .refused
        .is_some_and(|day| days_before(today, DELTA_RETRY_DAYS) < day);
    match (options.delta, &known.reference) {
        // A report that the bank gives once, and that was lost, is not given again.
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

/// Finding about the bank, from a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Nothing,
    /// The bank does not know that entry any more.
    ForgetReference,
    /// The bank has no delta reports.
    NoDeltas,
}

/// The request to try after the bank has refused one, having sent so many pages; `None`: there is
/// no other. The finding holds once that request succeeds: a refusal may have had another reason.
pub(super) fn next_way(
    way: &Way,
    error: &Error,
    pages: u64,
    known: &AccountSyncState,
    options: &SyncOptions,
    today: NaiveDate,
) -> Option<(Way, Finding)> {
    if !may_concern_request(error) {
        return None;
    }
    match way {
        Way::Everything { from } => Some((
            Way::Everything {
                from: narrower(*from, today)?,
            },
            Finding::Nothing,
        )),
        Way::Dates { from } => Some((
            Way::Dates {
                from: narrower(*from, today)?,
            },
            Finding::Nothing,
        )),
        Way::AfterEntry { .. } | Way::AfterLastReport => {
            let unknown = codes(error).any(|code| *code == MessageCode::ResourceUnknown);
            let finding = match way {
                _ if pages > 0 => Finding::Nothing,
                Way::AfterEntry { .. } if unknown => Finding::ForgetReference,
                _ => Finding::NoDeltas,
            };
            Some((plan(known, &options.by_days(), today), finding))
        }
    }
}

impl SyncOptions {
    /// The same, without delta reports.
    pub(super) fn by_days(&self) -> Self {
        Self {
            delta: None,
            ..*self
        }
    }
}

/// Whether a refusal may be about the requested period or kind of list: another one is tried then.
/// `CONSENT_INVALID` is among these, for the same consent has just opened the list of accounts. So
/// is an entry that the bank no longer knows.
pub(super) fn may_concern_request(error: &Error) -> bool {
    error.may_be_about_the_request() || reports_no_transactions(error) && !error.has_other_reason()
}

/// Whether the error means, for an account that the bank has just listed, that there are no
/// transactions in the period.
pub(super) fn reports_no_transactions(error: &Error) -> bool {
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

/// A first day that the bank may show when it refuses an earlier one: some count the 90 days with
/// today, and some without.
fn narrower(from: NaiveDate, today: NaiveDate) -> Option<NaiveDate> {
    [GUARANTEED_DAYS, GUARANTEED_DAYS - 1, GUARANTEED_DAYS - 2]
        .map(|days| days_before(today, days))
        .into_iter()
        .find(|day| from < *day)
}

/// The first day of a list that every bank gives. Its 90 days count with today, and its day may be
/// one ahead of ours.
pub(super) fn guaranteed_from(today: NaiveDate) -> NaiveDate {
    days_before(today, GUARANTEED_DAYS - 2)
}

pub(super) fn days_before(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_sub_days(Days::new(days))
        .unwrap_or(NaiveDate::MIN)
}
