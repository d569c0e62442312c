//! Simulated TPP: keeps a copy, is killed now and then, and is compared with the true state.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use shared_types::environment::{Clock as _, ManualClock};
use sqlx::Row as _;
use tempfile::TempDir;

use super::super::super::*;
use super::super::vault;
use super::answers::{Fault, balances};
use super::truth::{Account, Deltas, Empty, OVERLAP, Truth, shape};
use super::wire::{Trouble, Wire};
use crate::bank::{Bank, BankBuilder};

/// The days that every bank shows before ours, where its day may be one ahead.
const ALWAYS: u64 = 88;

/// How a run is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) trouble: Option<Trouble>,
    /// The TPP is killed after so many points before and after its commits.
    pub(super) crash: Option<u64>,
    /// Without asking the customer for another consent where the last one has ended.
    pub(super) as_it_is: bool,
    /// Once more, while nothing happens at the bank.
    pub(super) again: bool,
}

/// How the TPP reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wants {
    pub(super) history_days: u32,
    pub(super) page_size: Option<usize>,
}

/// What has been tried.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tried {
    /// Runs that read all.
    pub(super) whole: u64,
    /// Runs that did not.
    pub(super) parts: u64,
    pub(super) killed: u64,
    /// Entries of accounts that were read to their end, compared one by one.
    pub(super) entries: u64,
}

/// What makes one history after another: a bank that listens, and a handle for it.
pub(super) struct Worker {
    pub(super) wire: Wire,
    pub(super) tried: Cell<Tried>,
    bank: Bank,
    clock: Arc<ManualClock>,
}

impl Worker {
    pub(super) async fn start() -> Self {
        let wire = Wire::start().await;
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let handle = Arc::<ManualClock>::clone(&clock);
        let bank = BankBuilder::mock(wire.address, "PSDXX-MOCK-1".parse().unwrap())
            .clock(handle)
            .build()
            .unwrap();
        Self {
            wire,
            tried: Cell::default(),
            bank,
            clock,
        }
    }

    fn note(&self, note: impl FnOnce(&mut Tried)) {
        let mut tried = self.tried.get();
        note(&mut tried);
        self.tried.set(tried);
    }

    fn set_clock(&self, time: DateTime<Utc>) {
        self.clock.step(time - self.clock.now());
    }
}

/// What is known of an account from the run before.
struct Met {
    key: AccountKey,
    consent: u64,
    resource: String,
    number: u64,
}

pub(super) struct Tpp<'a> {
    worker: &'a Worker,
    folder: TempDir,
    copy: LocalCopy,
    wants: Wants,
    runs: i64,
    /// The bank has once left out its pending entries: those that are older than a later list are
    /// not found.
    lacks_pending: bool,
    /// An entry was once left out: since then an account may be whole for less.
    left_out: bool,
    met: BTreeMap<u64, Met>,
}

/// All rows of the copy, by account and what they say, and how often each is there.
#[derive(Debug, Default)]
struct Rows {
    entries: BTreeMap<(i64, bool, Vec<u8>), u64>,
    /// Booked ones that were pending, by account.
    matched: BTreeMap<i64, u64>,
    accounts: u64,
    gone: u64,
}

/// An entry of the copy.
struct Said {
    day: NaiveDate,
    shape: String,
    mark: String,
}

type Verdict = Result<(), String>;

async fn open(folder: &TempDir) -> LocalCopy {
    // The disk is not what is tested here.
    let off = sqlx::sqlite::SqliteSynchronous::Off;
    LocalCopy::open_as(&folder.path().join("copy.db"), vault(1), off)
        .await
        .unwrap()
}

impl<'a> Tpp<'a> {
    pub(super) async fn start(worker: &'a Worker, wants: Wants) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            worker,
            copy: open(&folder).await,
            folder,
            wants,
            runs: 0,
            lacks_pending: false,
            left_out: false,
            met: BTreeMap::new(),
        }
    }

    /// A run, and what is to be said against it.
    pub(super) async fn sync(&mut self, truth: &mut Truth, run: &Run) -> Verdict {
        if !truth.valid && !run.as_it_is {
            truth.give_consent();
        }
        Box::pin(self.once(truth, run)).await?;
        if run.again {
            let again = Run {
                trouble: None,
                crash: None,
                ..*run
            };
            // A bank's first report may bring older ones.
            let since = self.since().await;
            let before = self.within(&since).await;
            Box::pin(self.once(truth, &again)).await?;
            let after = self.within(&since).await;
            let well = truth.valid && run.trouble.is_none() && run.crash.is_none();
            if well && before != after {
                return Err("the same once more has changed entries".to_owned());
            }
        }
        Ok(())
    }

    async fn once(&mut self, truth: &mut Truth, run: &Run) -> Verdict {
        self.runs += 1;
        let noon = truth.today.and_hms_opt(12, 0, 0).unwrap().and_utc();
        let here = noon + TimeDelta::hours(truth.habits.zone);
        self.worker
            .set_clock(here + TimeDelta::minutes(7 * self.runs));
        let before = self.rows().await;
        let had = self.said_by_mark().await;
        self.worker.wire.with(|desk| {
            desk.truth = Some(truth.clone());
            desk.trouble = run.trouble;
            desk.killed = Arc::default();
            desk.asked.clear();
        });
        self.left_out |= matches!(run.trouble, Some(Trouble::Fault(_, Fault::Odd)));
        let leaves_out = matches!(run.trouble, Some(Trouble::Fault(_, Fault::NoPending)));
        self.lacks_pending |= leaves_out && truth.habits.told == Deltas::None;
        let outcome = Box::pin(self.run(truth, run.crash)).await;
        let asked = self.worker.wire.with(|desk| {
            *truth = desk.truth.take().unwrap();
            std::mem::take(&mut desk.asked)
        });
        if outcome.is_none() {
            // As after a crash: another program goes on.
            self.copy = open(&self.folder).await;
        }
        self.worker.note(|tried| match &outcome {
            None => tried.killed += 1,
            Some(Ok(report)) if report.is_complete() => tried.whole += 1,
            Some(_) => tried.parts += 1,
        });
        let verdict = match &outcome {
            None => Ok(()),
            Some(Err(error)) => Self::refused(truth, run, error),
            Some(Ok(report)) => self.judge(truth, run, report, &before).await,
        };
        let verdict = match verdict {
            Ok(()) => self.nothing_false_or_lost(truth, &had).await,
            verdict => verdict,
        };
        self.note(truth).await;
        verdict.map_err(|against| {
            let outcome =
                outcome.map_or_else(|| "killed".to_owned(), |outcome| format!("{outcome:#?}"));
            format!("{against}\nasked: {asked:#?}\n{outcome}")
        })
    }

    /// The run, unless the TPP is killed.
    async fn run(&self, truth: &Truth, crash: Option<u64>) -> Option<Result<Report, SyncError>> {
        let under = self
            .worker
            .bank
            .with_consent(format!("consent-{}", truth.consent));
        let mut sync = Synchroniser::new(&self.copy, "bank")
            .history_days(self.wants.history_days)
            .overlap_days(u32::try_from(OVERLAP).unwrap())
            .delta(match truth.habits.told {
                Deltas::None => None,
                Deltas::AfterEntry => Some(Delta::EntryReference),
                Deltas::LastReport => Some(Delta::DeltaList),
            });
        if let Some(size) = self.wants.page_size {
            sync = sync.page_size(size);
        }
        self.copy.crash.set(crash.unwrap_or(u64::MAX));
        let killed = self.worker.wire.with(|desk| Arc::clone(&desk.killed));
        let outcome = tokio::select! {
            outcome = sync.run(&under, |_| ()) => Some(outcome),
            () = killed.notified() => None,
            () = self.copy.crash.reached() => None,
        };
        self.copy.crash.set(u64::MAX);
        outcome
    }

    fn refused(truth: &Truth, run: &Run, error: &SyncError) -> Verdict {
        if truth.valid && run.trouble.is_none() {
            return Err(format!("a bank that is well was not read: {error}"));
        }
        Ok(())
    }

    /// What a report says, against what is true.
    async fn judge(&mut self, truth: &Truth, run: &Run, report: &Report, before: &Rows) -> Verdict {
        if truth.valid && run.trouble.is_none() {
            is_whole(truth, report)?;
        }
        let after = self.rows().await;
        let counted = (report.new_accounts, report.gone_accounts);
        let new = after.accounts - before.accounts;
        // Some may have come back.
        if counted.0 != new || (counted.1 < after.gone.saturating_sub(before.gone)) {
            return Err(format!(
                "accounts are counted wrong: {new} new, {} gone",
                after.gone
            ));
        }
        for account in &report.accounts {
            counts(account, before, &after)?;
        }
        let copied = self.copy.accounts("bank").await.unwrap();
        for account in truth.accounts.iter().filter(|account| account.open) {
            let live: Vec<_> = copied
                .iter()
                .filter(|copied| copied.gone.is_none() && mark_of(copied) == mark(account))
                .collect();
            let [live] = live.as_slice() else {
                if report.failures.is_empty() {
                    return Err(format!(
                        "{} stands {} times in the copy",
                        mark(account),
                        live.len()
                    ));
                }
                continue;
            };
            let Some(said) = report.accounts.iter().find(|said| said.account == live.key) else {
                if report.failures.is_empty() {
                    return Err(format!("{} is not in the report", mark(account)));
                }
                continue;
            };
            let read = said.failure.is_none()
                && said.left_out == 0
                && said.transactions_not_opened.is_none();
            if read {
                self.equal(truth, account, said, live).await?;
            }
            self.is_known_again(truth, account, live)?;
        }
        if report.failures.is_empty() {
            let live = copied.iter().filter(|copied| copied.gone.is_none()).count();
            let open = truth.accounts.iter().filter(|account| account.open).count();
            if live != open {
                return Err(format!(
                    "{live} accounts are said to be there, and {open} are"
                ));
            }
        }
        Ok(())
    }

    /// An account that was read to its end.
    async fn equal(
        &self,
        truth: &Truth,
        account: &Account,
        said: &AccountReport,
        copied: &CopiedAccount,
    ) -> Verdict {
        let Some(since) = copied.since else {
            return Err(format!(
                "{} was read, and is not said to be whole",
                mark(account)
            ));
        };
        if said.way.is_none() {
            return Err(format!(
                "{} was not read, and nothing failed",
                mark(account)
            ));
        }
        let today = self.worker.clock.now().date_naive();
        let latest = today - Days::new(ALWAYS.min(self.wants.history_days.into()));
        if since > latest && !self.left_out {
            return Err(format!(
                "{} is said to be whole since {since} only",
                mark(account)
            ));
        }
        let entries = self.said(copied.key).await;
        self.worker
            .note(|tried| tried.entries += entries.len() as u64);
        let here = count(entries.iter(), |_| true);
        let here_within = count(entries.iter(), |entry| entry.day >= since);
        // What is pending for longer than the list goes back, and has a twin, counts once.
        let listed = match said.way {
            Some(Way::Everything { from } | Way::Dates { from }) => from,
            _ => NaiveDate::MIN,
        };
        let (mut there, mut there_within) = (BTreeMap::new(), BTreeMap::<_, u64>::new());
        let mut pending_long = BTreeSet::new();
        for entry in &account.entries {
            let first = if entry.booked {
                since
            } else {
                since.max(latest)
            };
            let shape = account.shape_of(entry);
            let number = there_within.entry(shape.clone()).or_default();
            if entry.day >= first {
                if entry.booked || entry.day >= listed {
                    *number += 1;
                } else {
                    pending_long.insert(shape.clone());
                }
            }
            *there.entry(shape).or_default() += 1;
        }
        let pending = said.pending_unknown.is_none();
        for (shape, number) in &there_within {
            let here = here.get(shape).copied().unwrap_or(0);
            // A list of some days does not tell an entry without a day from one like it that is
            // older.
            let number = if is_dayless(shape) {
                1.min(*number)
            } else {
                u64::from(pending_long.contains(shape)).max(*number)
            };
            let compared = shape.starts_with("booked") || (pending && !self.lacks_pending);
            if compared && here < number {
                return Err(format!(
                    "{number} at the bank, {here} in the copy since {since}: {shape}"
                ));
            }
        }
        // One without a day stays where the bank does not show all the days on which it may be.
        let shows_all = truth.habits.history >= 400;
        for (shape, number) in &here_within {
            let there: u64 = there.get(shape).copied().unwrap_or(0);
            let compared =
                (shape.starts_with("booked") || pending) && (shows_all || !is_dayless(shape));
            if compared && there < *number {
                return Err(format!(
                    "{number} in the copy since {since}, {there} at the bank: {shape}"
                ));
            }
        }
        if said.balances_failure.is_none() && said.balances_not_opened.is_none() {
            let said = self.copy.balances(copied.key).await.unwrap();
            let said: Vec<Value> = said.iter().map(|said| json!(said.balance)).collect();
            if said != balances(account) {
                return Err(format!("other balances: {said:?}"));
            }
        }
        Ok(())
    }

    /// An account keeps its place in the copy while its number says that it is the same, or its id
    /// where it has no number.
    fn is_known_again(
        &mut self,
        truth: &Truth,
        account: &Account,
        copied: &CopiedAccount,
    ) -> Verdict {
        let met = Met {
            key: copied.key,
            consent: truth.consent,
            resource: account.resource.clone(),
            number: account.number,
        };
        let by_id = |last: &Met| last.consent == met.consent && last.resource == met.resource;
        if let Some(last) = self.met.get(&account.mark)
            && last.number == met.number
            && (account.has_iban || by_id(last))
            && last.key != met.key
        {
            return Err(format!("{} has become another one", mark(account)));
        }
        self.met.insert(account.mark, met);
        Ok(())
    }

    /// At whichever point a run ends: each entry of the copy was once the bank's, of that very
    /// account, and what was there and still is at the bank is not lost.
    async fn nothing_false_or_lost(&self, truth: &Truth, had: &BTreeMap<String, u64>) -> Verdict {
        for copied in self.copy.accounts("bank").await.unwrap() {
            let mark_here = mark_of(&copied);
            for said in self.said(copied.key).await {
                if said.mark != mark_here {
                    return Err(format!(
                        "an entry of {} is in the copy of {mark_here}",
                        said.mark
                    ));
                }
                let account = truth
                    .accounts
                    .iter()
                    .find(|account| mark(account) == mark_here);
                if !account.unwrap().ever.contains(&said.shape) {
                    return Err(format!("the bank has never said: {}", said.shape));
                }
            }
        }
        let has = self.said_by_mark().await;
        for account in &truth.accounts {
            let mut there: BTreeMap<String, u64> = BTreeMap::new();
            for entry in account.entries.iter().filter(|entry| entry.booked) {
                *there.entry(account.shape_of(entry)).or_default() += 1;
            }
            for (shape, there) in there {
                let number = |of: &BTreeMap<String, u64>| of.get(&shape).copied().unwrap_or(0);
                let (had, has) = (number(had), number(&has));
                if has < had.min(there) {
                    return Err(format!(
                        "lost: {had} before, {has} now, {there} at the bank: {shape}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What the bank may change from now on, and have it found.
    async fn note(&self, truth: &mut Truth) {
        let rows = sqlx::query("SELECT id, complete FROM account WHERE complete IS NOT NULL");
        let rows = rows.fetch_all(&self.copy.pool).await.unwrap();
        let complete: BTreeMap<i64, NaiveDate> = rows
            .iter()
            .map(|row| {
                (
                    row.get("id"),
                    row.get::<String, _>("complete").parse().unwrap(),
                )
            })
            .collect();
        let copied = self.copy.accounts("bank").await.unwrap();
        for account in &mut truth.accounts {
            // It may have been copied under more than one number.
            let same = copied
                .iter()
                .filter(|copied| mark_of(copied) == mark(account));
            account.read_on = same
                .filter_map(|copied| complete.get(&copied.key.0))
                .max()
                .copied();
        }
    }

    async fn rows(&self) -> Rows {
        let mut rows = Rows::default();
        let entries = sqlx::query(
            "SELECT account, booked, content, pending_since IS NOT NULL AS matched FROM entry \
             WHERE doubtful = 0",
        );
        for row in entries.fetch_all(&self.copy.pool).await.unwrap() {
            let account: i64 = row.get("account");
            let key = (account, row.get("booked"), row.get("content"));
            *rows.entries.entry(key).or_default() += 1;
            *rows.matched.entry(account).or_default() += row.get::<u64, _>("matched");
        }
        let accounts = sqlx::query("SELECT gone IS NOT NULL AS gone FROM account");
        for row in accounts.fetch_all(&self.copy.pool).await.unwrap() {
            rows.accounts += 1;
            rows.gone += row.get::<u64, _>("gone");
        }
        rows
    }

    async fn said(&self, account: AccountKey) -> Vec<Said> {
        let entries = self.copy.transactions(account, Period::default());
        let entries: Vec<_> = entries.try_collect().await.unwrap();
        entries.iter().map(said).collect()
    }

    /// The first day from which each account is whole.
    async fn since(&self) -> BTreeMap<AccountKey, NaiveDate> {
        let copied = self.copy.accounts("bank").await.unwrap();
        let whole = copied
            .iter()
            .filter_map(|copied| Some((copied.key, copied.since?)));
        whole.collect()
    }

    /// The entries with a day since those days.
    async fn within(
        &self,
        since: &BTreeMap<AccountKey, NaiveDate>,
    ) -> BTreeMap<(AccountKey, String), u64> {
        let mut all = BTreeMap::new();
        for (account, since) in since {
            for said in self.said(*account).await {
                if said.day >= *since && !is_dayless(&said.shape) {
                    *all.entry((*account, said.shape)).or_default() += 1;
                }
            }
        }
        all
    }

    /// The booked entries of all accounts, whichever place they have in the copy. Each says whose
    /// it is.
    async fn said_by_mark(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for copied in self.copy.accounts("bank").await.unwrap() {
            for said in self.said(copied.key).await {
                *all.entry(said.shape).or_default() += 1;
            }
        }
        all
    }
}

fn count<'a>(
    entries: impl Iterator<Item = &'a Said>,
    which: impl Fn(&Said) -> bool,
) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for entry in entries.filter(|entry| which(entry)) {
        *all.entry(entry.shape.clone()).or_default() += 1;
    }
    all
}

/// That a bank which is well was read whole, as far as it lets anyone.
fn is_whole(truth: &Truth, report: &Report) -> Verdict {
    if let Some(error) = report.failures.first() {
        return Err(format!("a list of accounts was not read: {error}"));
    }
    for said in &report.accounts {
        let excused = match &said.failure {
            // Without a list it is not known what is gone.
            Some(_) => truth.habits.empty != Empty::Lists,
            None => said.pending_unknown.is_some() && truth.habits.refuses_pending,
        };
        if !said.is_complete() && !excused {
            let failure = said.failure.as_ref().map(ToString::to_string);
            return Err(format!("an account was not read whole: {failure:?}"));
        }
    }
    Ok(())
}

/// What an account's report counts, against the rows before and after.
fn counts(said: &AccountReport, before: &Rows, after: &Rows) -> Verdict {
    let (mut come, mut gone) = (0, 0);
    let mut list = String::new();
    let account = said.account.0;
    let keys = before.entries.keys().chain(after.entries.keys());
    let keys: BTreeSet<_> = keys.filter(|(of, ..)| *of == account).collect();
    for key in keys {
        let number = |rows: &Rows| rows.entries.get(key).copied().unwrap_or(0);
        come += number(after).saturating_sub(number(before));
        gone += number(before).saturating_sub(number(after));
        let (was, is) = (number(before), number(after));
        writeln!(list, "{} {:x?}: {was} {is}", key.1, &key.2[..3]).unwrap();
    }
    if (
        said.new + said.changed,
        said.removed + said.changed + said.matched,
    ) != (come, gone)
    {
        return Err(format!(
            "{come} have come and {gone} have gone, and the report counts otherwise\n{list}"
        ));
    }
    Ok(())
}

fn said(entry: &CopiedEntry) -> Said {
    let (details, name) = match &entry.transaction {
        CopiedTransaction::Payment(details) => {
            (json!(details), "remittanceInformationUnstructured")
        }
        CopiedTransaction::Card(details) => (json!(details), "transactionDetails"),
    };
    Said {
        day: entry.day,
        shape: shape(entry.booked, &details),
        mark: details[name].as_str().unwrap().to_owned(),
    }
}

fn is_dayless(shape: &str) -> bool {
    shape.starts_with("booked") && !shape.contains("Date=")
}

fn mark(account: &Account) -> String {
    format!("account {}", account.mark)
}

fn mark_of(copied: &CopiedAccount) -> String {
    let name = match &copied.details {
        CopiedDetails::Payment(details) => details.name.as_ref(),
        CopiedDetails::Card(details) => details.name.as_ref(),
    };
    name.unwrap().to_string()
}
