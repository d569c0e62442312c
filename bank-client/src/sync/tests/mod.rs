//! Synchronisation rules against a bank that changes its data, with any page size and crashes.

mod crash_point;
mod gaps;
#[cfg(feature = "test-util")]
mod histories;
mod names;
mod rules;
mod runs;
mod stories;
#[cfg(feature = "test-util")]
mod with_accounts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{Days, NaiveDate};
use futures::stream::{BoxStream, StreamExt as _};
use futures::{TryStreamExt as _, stream};
use shared_types::environment::SystemRandomness;
use shared_types::xs2a::message::{Category, MessageCode, TppMessage};
use shared_types::xs2a::money::{Amount, Currency};
use shared_types::xs2a::text::Text;
use shared_types::xs2a::transaction::{BookingStatus, Transaction};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) use self::crash_point::CrashPoint;
use super::account::TransactionSource;
use super::plan::{AccountSyncState, Finding, next_way, plan};
use super::row::{Digester, Row};
use super::*;
use crate::error::ErrorKind;
use crate::pages::{EntryPage, TransactionFilter};
use crate::vault::{Key, Vault};

fn day(number: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 1, 1).unwrap() + Days::new(number)
}

const TODAY: u64 = 200;

fn vault(key: u8) -> Vault {
    Vault::new(
        &Key::from_bytes([key; 32]),
        "copy",
        Arc::new(SystemRandomness),
    )
    .unwrap()
}

fn refused(status: u16, code: MessageCode) -> Error {
    let message = TppMessage {
        category: Category::Error,
        code,
        path: None,
        text: None,
    };
    Error {
        bank: "Bank".to_owned(),
        kind: ErrorKind::Refused {
            status,
            messages: vec![message],
            request_id: Uuid::nil(),
            retry_after: None,
        },
    }
}

fn broken() -> Error {
    Error {
        bank: "Bank".to_owned(),
        kind: ErrorKind::Interrupted {
            cause: "the line is cut".to_owned(),
        },
    }
}

/// An entry of the model's bank.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Posted {
    booked: bool,
    /// Of booking, or of entry.
    day: u64,
    arrival: u64,
    transaction: Transaction,
}

/// How the model's bank tells what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offers {
    Nothing,
    References,
    LastReport,
}

/// What the model's bank lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tells {
    Lists,
    /// A list that is empty is left out, if it is that of pending ones.
    NoEmptyPending,
    /// 204, in the place of an empty list.
    Nothing,
    /// 404 `RESOURCE_UNKNOWN`, in the place of any list.
    Unknown,
    /// The same, in the place of an empty list of pending entries.
    NoPendingUnknown,
    /// Booked entries alone, in a delta report.
    BookedDeltas,
}

#[derive(Debug)]
struct Model {
    entries: Vec<Posted>,
    arrivals: u64,
    offers: Offers,
    /// How far the last report went.
    reported: u64,
    page: usize,
    /// After so many pages the line is cut.
    cut_after: Option<usize>,
    /// Periods may begin so many days back.
    history: u64,
    /// How a period that begins earlier is refused; otherwise it is cut in silence.
    refusal: Option<(u16, MessageCode)>,
    today: u64,
    oldest_first: bool,
    /// How the bank says that it has nothing, or that it cannot give it.
    tells: Tells,
    /// Entries that cannot be read, on each page.
    left_out: usize,
    asked: Vec<TransactionFilter>,
}

#[derive(Clone)]
struct Bank(Arc<Mutex<Model>>);

impl Bank {
    fn new(offers: Offers, page: usize) -> Self {
        Self(Arc::new(Mutex::new(Model {
            entries: Vec::new(),
            arrivals: 0,
            offers,
            reported: 0,
            page,
            cut_after: None,
            history: 1000,
            refusal: Some((400, MessageCode::PeriodInvalid)),
            today: TODAY,
            oldest_first: false,
            tells: Tells::Lists,
            left_out: 0,
            asked: Vec::new(),
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

impl Model {
    /// A booked entry of which the bank does not tell the day.
    fn post_undated(&mut self, day_number: u64, transaction: Transaction) {
        self.post(true, day_number, transaction);
        if let Some(posted) = self.entries.last_mut() {
            posted.transaction.booking_date = None;
        }
    }

    fn post(&mut self, booked: bool, day_number: u64, mut transaction: Transaction) {
        self.arrivals += 1;
        transaction.booking_date = booked.then(|| day(day_number));
        self.entries.push(Posted {
            booked,
            day: day_number,
            arrival: self.arrivals,
            transaction,
        });
    }

    fn list(&self, filter: &TransactionFilter) -> Result<Vec<Posted>, Error> {
        let mut listed = self.entries.clone();
        let mut since = 0;
        if filter.delta_list {
            if self.offers != Offers::LastReport {
                return Err(refused(400, MessageCode::ParameterNotSupported));
            }
            since = self.reported;
        } else if let Some(reference) = &filter.entry_reference_from {
            if self.offers != Offers::References {
                return Err(refused(400, MessageCode::ParameterNotSupported));
            }
            let known = self.entries.iter().find(|entry| {
                let known = entry.transaction.entry_reference.as_ref();
                let id = entry.transaction.transaction_id.as_ref();
                entry.booked
                    && known.map_or_else(|| id.map(Text::as_str), |known| Some(known.as_str()))
                        == Some(reference)
            });
            since = known
                .ok_or_else(|| refused(400, MessageCode::ResourceUnknown))?
                .arrival;
        } else {
            let from = filter.from.expect("a period or a delta");
            let shown = day(self.today) - Days::new(self.history);
            match &self.refusal {
                Some((status, code)) if from < shown => {
                    return Err(refused(*status, code.clone()));
                }
                _ => {}
            }
            listed.retain(|entry| day(entry.day) >= from.max(shown) && entry.day <= self.today);
        }
        listed.retain(|entry| !entry.booked || entry.arrival > since);
        listed.retain(|entry| match filter.booking_status {
            BookingStatus::Pending => !entry.booked,
            BookingStatus::Booked => entry.booked,
            BookingStatus::Both => true,
        });
        let delta = filter.from.is_none();
        listed.sort_by_key(|entry| {
            let order = if delta && entry.booked { 0 } else { entry.day };
            (entry.booked, std::cmp::Reverse((order, entry.arrival)))
        });
        if self.oldest_first {
            listed.reverse();
        }
        if delta && self.tells == Tells::BookedDeltas {
            listed.retain(|entry| entry.booked);
        }
        let pending_alone = filter.booking_status == BookingStatus::Pending;
        match self.tells {
            Tells::Unknown => Err(refused(404, MessageCode::ResourceUnknown)),
            Tells::NoPendingUnknown if pending_alone && listed.is_empty() => {
                Err(refused(404, MessageCode::ResourceUnknown))
            }
            _ => Ok(listed),
        }
    }
}

impl TransactionSource for Bank {
    fn error(&self, kind: ErrorKind) -> Error {
        Error {
            bank: "Bank".to_owned(),
            kind,
        }
    }

    fn pages(
        &self,
        _card: bool,
        _resource: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<EntryPage<Row>, Error>> {
        self.with(|model| {
            model.asked.push(filter.clone());
            let listed = match model.list(filter) {
                Ok(listed) => listed,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            let mut pages: Vec<Result<EntryPage<Row>, Error>> = listed
                .chunks(model.page)
                .map(|chunk| {
                    let rows = |booked: bool| {
                        let of_kind = chunk.iter().filter(|entry| entry.booked == booked);
                        of_kind
                            .map(|entry| Row::payment(entry.transaction.clone()).unwrap())
                            .collect()
                    };
                    let pending: Vec<Row> = rows(false);
                    let only_pending = filter.booking_status == BookingStatus::Pending;
                    Ok(EntryPage {
                        left_out: model.left_out,
                        lists_pending: only_pending
                            || matches!(model.tells, Tells::Lists | Tells::NoPendingUnknown)
                            || !pending.is_empty(),
                        ..listing(pending, rows(true))
                    })
                })
                .collect();
            if pages.is_empty() {
                pages.push(Ok(if model.tells == Tells::Nothing {
                    EntryPage::default()
                } else {
                    EntryPage {
                        left_out: model.left_out,
                        lists_pending: model.tells == Tells::Lists
                            || filter.booking_status == BookingStatus::Pending,
                        ..listing(Vec::new(), Vec::new())
                    }
                }));
            }
            match model.cut_after.take() {
                Some(after) => {
                    // The worst that a bank may do: what it meant to tell counts as told.
                    if filter.delta_list {
                        model.reported = model.arrivals;
                    }
                    if after < pages.len() {
                        pages.truncate(after);
                    }
                    pages.push(Err(broken()));
                }
                None if filter.delta_list => model.reported = model.arrivals,
                None => {}
            }
            stream::iter(pages).boxed()
        })
    }
}

struct Scene {
    copy: LocalCopy,
    bank: Bank,
    account: AccountKey,
    options: SyncOptions,
    /// For each run.
    time: Duration,
    folder: TempDir,
}

impl Scene {
    async fn set(offers: Offers, page: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The disk is not what is tested here.
        let off = sqlx::sqlite::SqliteSynchronous::Off;
        let copy = LocalCopy::open_as(&folder.path().join("copy.db"), vault(1), off)
            .await
            .unwrap();
        sqlx::query(
            "INSERT INTO account (id, connection, card, resource, position, content, details, first_seen) \
             VALUES (1, 'bank', 0, x'01', 0, x'', x'', 0)",
        )
        .execute(&copy.pool)
        .await
        .unwrap();
        Self {
            copy,
            bank: Bank::new(offers, page),
            account: AccountKey(1),
            options: SyncOptions {
                delta: match offers {
                    Offers::Nothing => None,
                    Offers::References => Some(Delta::EntryReference),
                    Offers::LastReport => Some(Delta::DeltaList),
                },
                history_days: 730,
                overlap_days: 30,
                page_size: None,
            },
            time: Duration::MAX,
            folder,
        }
    }

    async fn sync_at(&self, now: i64) -> (AccountReport, Result<(), SyncError>) {
        let mut report = AccountReport {
            account: self.account,
            ..AccountReport::default()
        };
        let reading = AccountSync {
            copy: &self.copy,
            source: &self.bank,
            account: self.account,
            card: false,
            resource: "account",
            options: self.options,
            moment: Moment {
                now,
                today: day(self.bank.with(|model| model.today)),
            },
            deadline: Deadline::after(self.time),
        };
        let outcome = reading.read(&mut report, &mut |_, _| ()).await;
        (report, outcome)
    }

    async fn sync(&self) -> AccountReport {
        let (report, outcome) = self.sync_at(1).await;
        outcome.unwrap();
        report
    }

    async fn copied(&self) -> Vec<CopiedEntry> {
        let entries = self.copy.transactions(self.account, Period::default());
        entries.try_collect().await.unwrap()
    }

    /// The copy and the bank have the same entries, each as often.
    async fn assert_equal(&self) {
        let mut copied: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.copied().await {
            let CopiedTransaction::Payment(transaction) = entry.transaction else {
                panic!("a card's")
            };
            *copied.entry(shape(entry.booked, &transaction)).or_default() += 1;
        }
        let mut posted: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.bank.with(|model| model.entries.clone()) {
            *posted
                .entry(shape(entry.booked, &entry.transaction))
                .or_default() += 1;
        }
        assert_eq!(copied, posted);
    }
}

fn shape(booked: bool, transaction: &Transaction) -> String {
    format!("{booked} {}", serde_json::to_string(transaction).unwrap())
}

fn payment(cents: i64, name: &str) -> Transaction {
    let amount = Amount::parse(&format!("{cents}"), Currency::EUR).unwrap();
    Transaction {
        creditor_name: Some(Text::cut(name)),
        ..Transaction::of(amount)
    }
}

fn named(id: &str, cents: i64) -> Transaction {
    Transaction {
        entry_reference: Some(Text::cut(id)),
        transaction_id: Some(Text::cut(id)),
        ..payment(cents, "Shop")
    }
}

/// A page with both lists.
fn listing<T>(pending: Vec<T>, booked: Vec<T>) -> EntryPage<T> {
    EntryPage {
        pending,
        booked,
        lists_booked: true,
        lists_pending: true,
        ..EntryPage::default()
    }
}
