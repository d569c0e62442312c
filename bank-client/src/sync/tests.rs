//! The rules of synchronising, against a bank that changes its mind, on pages of any size, and with crashes in between.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{Days, NaiveDate};
use futures::stream::{BoxStream, StreamExt as _};
use futures::{TryStreamExt as _, stream};
use proptest::prelude::*;
use shared_types::message::{Category, MessageCode, TppMessage};
use shared_types::money::{Amount, Currency};
use shared_types::text::Text;
use shared_types::transaction::{BookingStatus, Transaction};
use tempfile::TempDir;
use uuid::Uuid;

use super::account::Lists;
use super::plan::{Known, Lesson, instead, plan};
use super::row::{Digester, Row, anchor};
use super::*;
use crate::environment::SystemRandomness;
use crate::error::ErrorKind;
use crate::pages::{PageOf, TransactionFilter};
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
            asked: Vec::new(),
        })))
    }

    fn with<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }
}

impl Model {
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
            if from < day(TODAY) - Days::new(self.history) {
                return Err(refused(400, MessageCode::PeriodInvalid));
            }
            listed.retain(|entry| day(entry.day) >= from && entry.day <= TODAY);
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
        Ok(listed)
    }
}

impl Lists for Bank {
    fn pages(
        &self,
        _card: bool,
        _resource: &str,
        filter: &TransactionFilter,
    ) -> BoxStream<'static, Result<PageOf<Row>, Error>> {
        self.with(|model| {
            model.asked.push(filter.clone());
            let listed = match model.list(filter) {
                Ok(listed) => listed,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            };
            let mut pages: Vec<Result<PageOf<Row>, Error>> = listed
                .chunks(model.page)
                .map(|chunk| {
                    let rows = |booked: bool| {
                        let of_kind = chunk.iter().filter(|entry| entry.booked == booked);
                        of_kind
                            .map(|entry| Row::payment(entry.transaction.clone()).unwrap())
                            .collect()
                    };
                    Ok(PageOf {
                        pending: rows(false),
                        booked: rows(true),
                    })
                })
                .collect();
            if pages.is_empty() {
                pages.push(Ok(PageOf {
                    pending: Vec::new(),
                    booked: Vec::new(),
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
    wishes: Wishes,
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
            wishes: Wishes {
                delta: match offers {
                    Offers::Nothing => None,
                    Offers::References => Some(Delta::EntryReference),
                    Offers::LastReport => Some(Delta::DeltaList),
                },
                history_days: 730,
                overlap_days: 30,
                page_size: None,
            },
            folder,
        }
    }

    async fn sync_at(&self, now: i64) -> (AccountReport, Result<(), SyncError>) {
        let mut report = AccountReport::of(self.account, false);
        let reading = Reading {
            copy: &self.copy,
            lists: &self.bank,
            account: self.account,
            card: false,
            resource: "account",
            wishes: self.wishes,
            moment: Moment {
                now,
                today: day(TODAY),
            },
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

#[tokio::test]
async fn the_first_run_reads_everything_and_later_ones_what_is_new() {
    for (offers, way) in [
        (Offers::Nothing, "Dates"),
        (Offers::References, "AfterEntry"),
        (Offers::LastReport, "AfterLastReport"),
    ] {
        let scene = Scene::set(offers, 3).await;
        scene.bank.with(|model| {
            for number in 0..10 {
                model.post(true, 150 + number, named(&format!("E{number}"), 5));
            }
            model.post(false, 199, payment(-7, "Cafe"));
        });
        let first = scene.sync().await;
        assert_eq!(
            first.way,
            Some(Way::Everything {
                from: day(TODAY) - Days::new(730)
            })
        );
        assert_eq!((first.new, first.pages), (11, 4));
        scene.assert_equal().await;
        // Booked late, under an earlier day.
        scene
            .bank
            .with(|model| model.post(true, 180, named("LATE", 6)));
        let second = scene.sync().await;
        assert!(
            format!("{:?}", second.way).contains(way),
            "{:?}",
            second.way
        );
        assert_eq!((second.new, second.removed, second.matched), (1, 0, 0));
        scene.assert_equal().await;
        let third = scene.sync().await;
        assert_eq!((third.new, third.changed, third.removed), (0, 0, 0));
        scene.assert_equal().await;
    }
}

#[tokio::test]
async fn a_bank_that_refuses_is_asked_in_another_way_and_not_so_again() {
    let scene = Scene::set(Offers::Nothing, 10).await;
    let mut scene = scene;
    scene.wishes.delta = Some(Delta::EntryReference);
    scene.bank.with(|model| {
        model.history = 89;
        model.post(true, 190, named("E1", 5));
    });
    let first = scene.sync().await;
    assert_eq!(
        first.way,
        Some(Way::Everything {
            from: day(TODAY) - Days::new(89)
        })
    );
    for asked in [2, 1] {
        scene.bank.with(|model| model.asked.clear());
        let next = scene.sync().await;
        assert!(
            matches!(next.way, Some(Way::Dates { .. })),
            "{:?}",
            next.way
        );
        assert_eq!(scene.bank.with(|model| model.asked.len()), asked);
    }
    // A bank that has deltas, and does not know the entry any more.
    let scene = Scene::set(Offers::References, 10).await;
    scene.bank.with(|model| {
        model.post(true, 190, named("E1", 5));
        model.post(true, 195, named("E2", 5));
    });
    scene.sync().await;
    scene
        .bank
        .with(|model| model.entries.retain(|entry| entry.day != 195));
    let next = scene.sync().await;
    assert!(
        matches!(next.way, Some(Way::Dates { .. })),
        "{:?}",
        next.way
    );
    assert_eq!(next.removed, 1);
    scene.assert_equal().await;
    let next = scene.sync().await;
    assert_eq!(
        next.way,
        Some(Way::AfterEntry {
            reference: "E1".to_owned()
        })
    );
    // One whose entries have no names cannot be asked for deltas.
    scene
        .bank
        .with(|model| model.post(true, 196, payment(5, "Shop")));
    let next = scene.sync().await;
    assert!(
        matches!(next.way, Some(Way::Dates { .. })),
        "{:?}",
        next.way
    );
    scene.assert_equal().await;
}

#[tokio::test]
async fn a_pending_entry_that_is_booked_tells_since_when_it_was_pending() {
    let with_end_to_end = |transaction: Transaction, id: &str| Transaction {
        end_to_end_id: Some(Text::cut(id)),
        ..transaction
    };
    let with_id = |transaction: Transaction, id: &str| Transaction {
        transaction_id: Some(Text::cut(id)),
        ..transaction
    };
    let as_entry = |transaction: Transaction, id: &str| Transaction {
        entry_reference: Some(Text::cut(id)),
        ..transaction
    };
    for offers in [Offers::Nothing, Offers::References, Offers::LastReport] {
        for (pending, booked, known) in [
            (
                with_id(payment(-5, "Shop"), "T1"),
                with_id(payment(-6, "Other"), "T1"),
                true,
            ),
            (
                as_entry(payment(-5, "Shop"), "R1"),
                as_entry(payment(-6, "Other"), "R1"),
                true,
            ),
            (
                with_end_to_end(payment(-5, "A"), "X"),
                with_end_to_end(payment(-6, "B"), "X"),
                true,
            ),
            (
                with_end_to_end(payment(-5, "A"), "NOTPROVIDED"),
                with_end_to_end(payment(-6, "B"), "NOTPROVIDED"),
                false,
            ),
            (payment(-5, "Cafe "), payment(-5, "CAFE"), true),
            (payment(-5, "Cafe"), payment(-5, "Pub"), false),
            (payment(-5, "Cafe"), payment(-6, "Cafe"), false),
        ] {
            let scene = Scene::set(offers, 2).await;
            scene.bank.with(|model| {
                model.post(true, 150, named("E1", 1));
                model.post(false, 199, payment(-4, "Stays"));
                model.post(false, 199, pending);
            });
            let (_, outcome) = scene.sync_at(1000).await;
            outcome.unwrap();
            scene.bank.with(|model| {
                model.entries.pop();
                let named = booked.transaction_id.is_some() || booked.entry_reference.is_some();
                let booked = if named {
                    booked
                } else {
                    as_entry(booked, "NEW")
                };
                model.post(true, 200, booked);
            });
            let (report, outcome) = scene.sync_at(2000).await;
            outcome.unwrap();
            scene.assert_equal().await;
            assert_eq!(report.matched, u64::from(known), "{offers:?}");
            assert_eq!(report.removed, u64::from(!known), "{offers:?}");
            let copied = scene.copied().await;
            let newest = copied.iter().find(|entry| entry.booked).unwrap();
            let since = newest.pending_since.map(|time| time.timestamp());
            assert_eq!(since, known.then_some(1000), "{offers:?}");
            assert_eq!(newest.first_seen.timestamp(), 2000);
            assert!(
                copied
                    .iter()
                    .all(|entry| entry.booked || entry.first_seen.timestamp() == 1000)
            );
        }
    }
}

#[tokio::test]
async fn what_looks_alike_and_is_still_pending_is_not_taken_for_booked() {
    let scene = Scene::set(Offers::References, 1).await;
    scene.bank.with(|model| {
        model.post(true, 150, named("E1", 1));
        model.post(false, 198, payment(-3, "Cafe"));
    });
    scene.sync_at(1000).await.1.unwrap();
    scene.bank.with(|model| {
        let coffee = Transaction {
            entry_reference: Some(Text::cut("E2")),
            ..payment(-3, "Cafe")
        };
        model.post(true, 199, coffee);
    });
    let (report, outcome) = scene.sync_at(2000).await;
    outcome.unwrap();
    assert_eq!(report.matched, 0);
    scene.assert_equal().await;
}

#[tokio::test]
async fn what_a_bank_tells_once_and_is_lost_is_read_again() {
    let scene = Scene::set(Offers::LastReport, 2).await;
    scene
        .bank
        .with(|model| model.post(true, 190, named("E0", 1)));
    scene.sync().await;
    scene.sync().await;
    for after in [0, 1, 2, 3] {
        scene.bank.with(|model| {
            for number in 0..4 {
                model.post(true, 191 + number, named(&format!("E{after}{number}"), 1));
            }
            model.cut_after = Some(after);
        });
        let (report, outcome) = scene.sync_at(1).await;
        assert!(matches!(outcome, Err(SyncError::Bank(_))));
        assert_eq!(report.way, Some(Way::AfterLastReport));
        let next = scene.sync().await;
        assert!(
            matches!(next.way, Some(Way::Dates { .. })),
            "{:?}",
            next.way
        );
        scene.assert_equal().await;
        assert_eq!(scene.sync().await.way, Some(Way::AfterLastReport));
    }
}

#[tokio::test]
async fn of_two_runs_the_later_one_goes_on() {
    use super::window::{Span, Untaken, Window};

    let scene = Scene::set(Offers::Nothing, 2).await;
    let moment = Moment {
        now: 1,
        today: day(TODAY),
    };
    let span = Span::Period { from: day(0) };
    let page = PageOf {
        pending: Vec::new(),
        booked: vec![Row::payment(named("E1", 1)).unwrap()],
    };
    let mut first = Window::begin(&scene.copy, 1, span, moment, false)
        .await
        .unwrap();
    first.take(&page).await.unwrap();
    let mut second = Window::begin(&scene.copy, 1, span, moment, false)
        .await
        .unwrap();
    let overtaken = first.take(&page).await;
    assert!(matches!(
        overtaken,
        Err(Untaken::Failed(SyncError::Overtaken))
    ));
    let overtaken = first.finish(super::window::Pending::AsListed).await;
    assert!(matches!(overtaken, Err(SyncError::Overtaken)));
    second.take(&page).await.unwrap();
    second
        .finish(super::window::Pending::AsListed)
        .await
        .unwrap();
    assert_eq!(scene.copied().await.len(), 1);
}

#[tokio::test]
async fn the_file_is_its_owners_and_its_keys_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("copy.db");
    std::fs::write(&path, "").unwrap();
    let scene = Scene::set(Offers::Nothing, 2).await;
    scene
        .bank
        .with(|model| model.post(true, 190, named("SECRET-REFERENCE", 123_456)));
    scene.sync().await;
    for file in std::fs::read_dir(scene.folder.path()).unwrap() {
        let path = file.unwrap().path();
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let bytes = std::fs::read(&path).unwrap();
        for secret in ["SECRET-REFERENCE", "123456", "Shop"] {
            let found = bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {}", path.display());
        }
    }
    let copy = LocalCopy::open(&path, vault(1)).await.unwrap();
    let wrong = LocalCopy::open(&path, vault(2)).await.unwrap_err();
    assert!(matches!(wrong, CopyError::Key { .. }), "{wrong}");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', 1, x'00', 0)",
    )
    .execute(&copy.pool)
    .await
    .unwrap();
    let newer = LocalCopy::open(&path, vault(1)).await.unwrap_err();
    assert!(matches!(newer, CopyError::Newer { .. }), "{newer}");
}

#[test]
fn the_way_follows_from_what_is_known_and_offered() {
    let wishes = |delta| Wishes {
        delta,
        history_days: 730,
        overlap_days: 14,
        page_size: None,
    };
    let today = day(TODAY);
    let known = Known {
        complete: Some(day(195)),
        reference: Some("E1".to_owned()),
        in_flight: false,
        refused: None,
    };
    let dates = Way::Dates { from: day(181) };
    let after = Way::AfterEntry {
        reference: "E1".to_owned(),
    };
    let (by_reference, by_report) = (Some(Delta::EntryReference), Some(Delta::DeltaList));
    assert_eq!(plan(&known, &wishes(None), today), dates);
    assert_eq!(plan(&known, &wishes(by_reference), today), after);
    assert_eq!(
        plan(&known, &wishes(by_report), today),
        Way::AfterLastReport
    );
    let lost = Known {
        in_flight: true,
        ..known.clone()
    };
    assert_eq!(plan(&lost, &wishes(by_report), today), dates);
    let without = Known {
        reference: None,
        ..known.clone()
    };
    assert_eq!(plan(&without, &wishes(by_reference), today), dates);
    for (refused, way) in [(171, &dates), (170, &after), (200, &dates)] {
        let refused = Known {
            refused: Some(day(refused)),
            ..known.clone()
        };
        assert_eq!(&plan(&refused, &wishes(by_reference), today), way);
    }
    let first = plan(&Known::default(), &wishes(by_report), today);
    assert_eq!(
        first,
        Way::Everything {
            from: today - Days::new(730)
        }
    );

    let next = |way: &Way, error: &Error, pages| {
        instead(way, error, pages, &known, &wishes(by_reference), today)
    };
    let period = refused(400, MessageCode::PeriodInvalid);
    let unknown = refused(400, MessageCode::ResourceUnknown);
    let unsupported = refused(400, MessageCode::ParameterNotSupported);
    let shorter = |days| {
        Some((
            Way::Everything {
                from: today - Days::new(days),
            },
            Lesson::Nothing,
        ))
    };
    assert_eq!(next(&first, &period, 3), shorter(90));
    assert_eq!(next(&shorter(90).unwrap().0, &period, 0), shorter(89));
    assert_eq!(next(&shorter(89).unwrap().0, &period, 0), None);
    assert_eq!(
        next(&after, &unknown, 0),
        Some((dates.clone(), Lesson::ForgetReference))
    );
    assert_eq!(
        next(&after, &unsupported, 0),
        Some((dates.clone(), Lesson::NoDeltas))
    );
    assert_eq!(
        next(&after, &unsupported, 1),
        Some((dates.clone(), Lesson::Nothing))
    );
    assert_eq!(
        next(&Way::AfterLastReport, &unsupported, 0),
        Some((dates.clone(), Lesson::NoDeltas))
    );
    for other in [
        refused(401, MessageCode::ConsentExpired),
        refused(429, MessageCode::AccessExceeded),
        broken(),
    ] {
        for way in [&first, &dates, &after, &Way::AfterLastReport] {
            assert_eq!(next(way, &other, 0), None, "{way:?} {other}");
        }
    }
}

#[test]
fn a_delta_starts_after_the_newest_of_the_first_page() {
    let row = |id: &str, number| {
        Row::payment(Transaction {
            booking_date: Some(day(number)),
            ..named(id, 1)
        })
        .unwrap()
    };
    let page = [row("A", 9), row("B", 9), row("C", 8)];
    assert_eq!(anchor(&page), Some("A"), "the newest first");
    let page = [row("C", 8), row("B", 9), row("A", 9)];
    assert_eq!(anchor(&page), Some("A"), "the oldest first");
    let page = [row("C", 8), row("A", 9), row("B", 8)];
    assert_eq!(anchor(&page), Some("A"), "in the order of arrival");
    let nameless = Row::payment(payment(1, "Shop")).unwrap();
    assert_eq!(anchor(&[nameless]), None);
    assert_eq!(anchor(&[]), None);
}

#[test]
fn an_entry_is_itself_whatever_else_is_said_of_it() {
    let digester = Digester::new(&[1; 32]);
    let identity = |transaction: Transaction, number| {
        Row::payment(transaction)
            .unwrap()
            .identity(&digester, number)
    };
    let other_words = Transaction {
        transaction_id: Some(Text::cut("T9")),
        ..named("E1", 2)
    };
    assert_eq!(
        identity(named("E1", 1), 0),
        identity(other_words.clone(), 0)
    );
    let without = |transaction: Transaction| Transaction {
        entry_reference: None,
        ..transaction
    };
    assert_ne!(
        identity(without(named("E1", 1)), 0),
        identity(named("E1", 1), 0)
    );
    assert_eq!(
        identity(without(named("E1", 1)), 0),
        identity(without(named("E1", 2)), 0)
    );
    assert_eq!(identity(payment(1, "A"), 3), identity(payment(1, "A"), 3));
    assert_ne!(identity(payment(1, "A"), 3), identity(payment(1, "A"), 4));
    assert_ne!(identity(payment(1, "A"), 0), identity(payment(1, "B"), 0));
    let elsewhere = Digester::new(&[2; 32]);
    let row = Row::payment(payment(1, "A")).unwrap();
    assert_ne!(row.identity(&digester, 0), row.identity(&elsewhere, 0));
}

/// What happens at the model's bank between two runs.
#[derive(Debug, Clone)]
enum Event {
    /// So many days ago, of so many cents, with a name or without one, at one of a few shops.
    Book {
        ago: u64,
        cents: i64,
        named: bool,
    },
    Pend {
        ago: u64,
        cents: i64,
        named: bool,
    },
    /// The entry of that number among those that are pending.
    Settle {
        number: usize,
        same_id: bool,
    },
    Vanish {
        number: usize,
    },
    /// A booked entry of the last days is another one now, or is gone: banks that only list can do that.
    Rewrite {
        number: usize,
    },
    Cancel {
        number: usize,
    },
    /// A run, cut after so many pages, or whole.
    Run {
        cut_after: Option<usize>,
        page: usize,
    },
}

fn event(named: bool) -> impl Strategy<Value = Event> {
    let ago = 0..20_u64;
    let cents = -3..3_i64;
    prop_oneof![
        4 => (ago.clone(), cents.clone(), any::<bool>()).prop_map(move |(ago, cents, name)| Event::Book { ago, cents, named: named || name }),
        3 => (ago, cents, any::<bool>()).prop_map(|(ago, cents, named)| Event::Pend { ago, cents, named }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(number, same_id)| Event::Settle { number, same_id }),
        1 => any::<usize>().prop_map(|number| Event::Vanish { number }),
        1 => any::<usize>().prop_map(|number| Event::Rewrite { number }),
        1 => any::<usize>().prop_map(|number| Event::Cancel { number }),
        4 => (proptest::option::of(0..4_usize), 1..6_usize).prop_map(|(cut_after, page)| Event::Run { cut_after, page }),
    ]
}

impl Model {
    fn happen(&mut self, event: &Event, number: usize, can_rewrite: bool) {
        let name = |named: bool, cents| {
            if named {
                super::tests::named(&format!("N{number}"), cents)
            } else {
                payment(cents, "Shop")
            }
        };
        let nth = |model: &Self, booked: bool, nth: usize| {
            let of_kind: Vec<usize> = (0..model.entries.len())
                .filter(|index| model.entries[*index].booked == booked)
                .collect();
            (!of_kind.is_empty()).then(|| of_kind[nth % of_kind.len()])
        };
        match *event {
            Event::Book { ago, cents, named } => self.post(true, TODAY - ago, name(named, cents)),
            Event::Pend { ago, cents, named } => {
                let pending = Transaction {
                    entry_reference: None,
                    ..name(named, cents)
                };
                self.post(false, TODAY - ago, pending);
            }
            Event::Settle {
                number: which,
                same_id,
            } => {
                if let Some(index) = nth(self, false, which) {
                    let mut entry = self.entries.remove(index).transaction;
                    entry.entry_reference = Some(Text::cut(&format!("S{number}")));
                    if !same_id {
                        entry.transaction_id = None;
                    }
                    self.post(true, TODAY, entry);
                }
            }
            Event::Vanish { number } => {
                if let Some(index) = nth(self, false, number) {
                    self.entries.remove(index);
                }
            }
            Event::Rewrite { number } if can_rewrite => {
                if let Some(index) = nth(self, true, number) {
                    self.entries[index].transaction.creditor_name = Some(Text::cut("Other"));
                }
            }
            Event::Cancel { number } if can_rewrite => {
                if let Some(index) = nth(self, true, number) {
                    self.entries.remove(index);
                }
            }
            Event::Rewrite { .. } | Event::Cancel { .. } | Event::Run { .. } => {}
        }
    }
}

fn story(offers: Offers, events: &[Event]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let scene = Scene::set(offers, 3).await;
        for (number, event) in events.iter().enumerate() {
            scene
                .bank
                .with(|model| model.happen(event, number, offers == Offers::Nothing));
            if let Event::Run { cut_after, page } = event {
                scene.bank.with(|model| {
                    model.page = *page;
                    model.cut_after = *cut_after;
                });
                let (_, outcome) = scene.sync_at(1).await;
                scene.bank.with(|model| model.cut_after = None);
                if cut_after.is_none() {
                    outcome.unwrap();
                    scene.assert_equal().await;
                }
            }
        }
        scene.sync().await;
        scene.assert_equal().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_copy_ends_equal_where_only_days_can_be_asked_for(events in proptest::collection::vec(event(false), 1..40)) {
        story(Offers::Nothing, &events);
    }

    #[test]
    fn the_copy_ends_equal_with_references(events in proptest::collection::vec(event(true), 1..40)) {
        story(Offers::References, &events);
    }

    #[test]
    fn the_copy_ends_equal_with_last_reports(events in proptest::collection::vec(event(true), 1..40)) {
        story(Offers::LastReport, &events);
    }
}
