//! Randomised histories of a simulated bank, and of a TPP that copies it.
//!
//! After each successful run the copy equals the bank, entry by entry, from the day that the copy
//! reports; it never reports more than it has.
//!
//! The bank ([`truth`]) has accounts that come, go and are renumbered, and entries that are
//! pending, booked, moved, changed and taken back, with and without days, alike, under names of
//! their own, shared ones and blanks. What it answers ([`answers`]) follows from that, in one of
//! many banks' ways, and goes over HTTP ([`wire`]) through all of the SDK. Pages break off, answers
//! list nothing, consents end, and the TPP ([`tpp`]) is killed before and after any commit and
//! while it waits for any answer.
//!
//! A history is a number. `SYNC_HISTORIES=10000` runs so many of them, from 0 on;
//! `SYNC_HISTORIES=5000..6000` these; and `SYNC_HISTORY=17` one. One that fails is told with its
//! number, and as few of its steps as it needs to fail.

mod answers;
mod chance;
mod tpp;
mod truth;
mod wire;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::NaiveDate;

use self::answers::Fault;
use self::chance::Chance;
use self::tpp::{Run, Tpp, Tried, Wants, Worker};
use self::truth::{Act, Habits, Truth};
use self::wire::Trouble;

/// Histories that the test suite runs: half a minute on two cores.
const HISTORIES: u64 = 300;

/// Histories beyond these that have failed once.
const FAILED_ONCE: [u64; 10] = [1727, 2374, 2415, 6181, 6496, 6947, 7175, 8214, 9042, 9934];

/// What happens next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// At the bank; the number decides what is left open.
    Act(Act, u64),
    Days(u64),
    Sync(Run),
}

/// A history to be.
#[derive(Debug, Clone)]
struct Plan {
    habits: Habits,
    wants: Wants,
    opening: u64,
    steps: Vec<Step>,
}

impl Plan {
    fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed);
        let habits = Habits::of(&mut chance);
        let wants = Wants {
            history_days: chance.among(&[730, 730, 400, 120]),
            page_size: chance.among(&[None, None, Some(2), Some(50)]),
        };
        let opening = chance.number();
        let number = 3 + chance.below(40);
        let steps = (0..number).map(|_| Step::of(&mut chance)).collect();
        Self {
            habits,
            wants,
            opening,
            steps,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}\n{:?}", self.habits, self.wants)?;
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "{step:?}"))
    }
}

impl Step {
    fn of(chance: &mut Chance) -> Self {
        match chance.below(20) {
            0..5 => Self::Sync(run(chance)),
            5..8 => Self::Days(match chance.below(8) {
                0 => 60 + chance.below(150),
                1 | 2 => chance.below(40),
                _ => chance.below(4),
            }),
            _ => {
                let act = chance.among(&[
                    Act::Book,
                    Act::Book,
                    Act::Book,
                    Act::Book,
                    Act::Book,
                    Act::Book,
                    Act::BookBatch,
                    Act::BookBatch,
                    Act::Repeat,
                    Act::Repeat,
                    Act::Pend,
                    Act::Pend,
                    Act::Pend,
                    Act::Pend,
                    Act::Settle,
                    Act::Settle,
                    Act::Settle,
                    Act::Vanish,
                    Act::Rewrite,
                    Act::Rewrite,
                    Act::Move,
                    Act::Cancel,
                    Act::OpenAccount,
                    Act::CloseAccount,
                    Act::Renumber,
                    Act::Reorder,
                    Act::ShortenHistory,
                    Act::EndConsent,
                ]);
                Self::Act(act, chance.number())
            }
        }
    }
}

/// A run: most of them go well.
fn run(chance: &mut Chance) -> Run {
    // A run of two accounts has some ten requests.
    let most = chance.among(&[3, 6, 12]);
    let at = chance.below(most);
    let trouble = match chance.below(8) {
        0..2 => Some(Trouble::Fault(
            at,
            chance.among(&[
                Fault::Down,
                Fault::Busy,
                Fault::Cut,
                Fault::CutLate,
                Fault::Html,
                Fault::Nothing,
                Fault::Download,
                Fault::NoLists,
                Fault::NoBooked,
                Fault::NoPending,
                Fault::Odd,
            ]),
        )),
        2 => Some(Trouble::Killed(at, chance.one_in(2))),
        _ => None,
    };
    Run {
        trouble,
        crash: chance.one_in(5).then(|| chance.below(60)),
        as_it_is: chance.one_in(8),
        again: chance.one_in(3),
    }
}

/// A run that goes well.
const WELL: Run = Run {
    trouble: None,
    crash: None,
    as_it_is: false,
    again: true,
};

async fn happens(worker: &Worker, plan: &Plan) -> Result<(), String> {
    let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    let mut truth = Truth::new(plan.habits.clone(), first, &mut Chance::of(plan.opening));
    let mut tpp = Tpp::start(worker, plan.wants).await;
    for step in plan.steps.iter().chain(&[Step::Sync(WELL)]) {
        match step {
            Step::Act(act, chance) => truth.happen(*act, &mut Chance::of(*chance)),
            Step::Days(days) => truth.pass(*days),
            Step::Sync(run) => Box::pin(tpp.sync(&mut truth, run)).await?,
        }
    }
    Ok(())
}

/// A thread's own runtime, bank and handle.
struct Bench {
    runtime: tokio::runtime::Runtime,
    worker: Worker,
}

impl Bench {
    fn set() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let worker = runtime.block_on(Worker::start());
        Self { runtime, worker }
    }

    /// What is to be said against a history.
    fn against(&self, plan: &Plan) -> Option<String> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            self.runtime.block_on(happens(&self.worker, plan))
        }));
        outcome.unwrap_or_else(|_| Err("a panic".to_owned())).err()
    }

    /// As few steps as still fail, and what is to be said against them.
    fn shrunk(&self, mut plan: Plan, mut against: String) -> (Plan, String) {
        let mut size = plan.steps.len().div_ceil(2);
        while size > 0 {
            let mut start = 0;
            while start < plan.steps.len() {
                let mut fewer = plan.clone();
                let end = plan.steps.len().min(start + size);
                fewer.steps.drain(start..end);
                match self.against(&fewer) {
                    Some(still) if kind(&still) == kind(&against) => {
                        (plan, against) = (fewer, still);
                    }
                    _ => start = end,
                }
            }
            size /= 2;
        }
        (plan, against)
    }
}

/// What kind of fault that is: what is said of it, without numbers and details.
fn kind(against: &str) -> String {
    let line = against.lines().next().unwrap_or_default();
    let line = line.split(':').next().unwrap_or_default();
    line.chars()
        .filter(|character| !character.is_ascii_digit())
        .collect()
}

/// The seeds that are wanted.
fn seeds() -> Vec<u64> {
    let number = |text: &str| text.parse::<u64>().unwrap();
    if let Ok(one) = std::env::var("SYNC_HISTORY") {
        return vec![number(&one)];
    }
    match std::env::var("SYNC_HISTORIES") {
        Ok(wanted) => match wanted.split_once("..") {
            Some((first, end)) => (number(first)..number(end)).collect(),
            None => (0..number(&wanted)).collect(),
        },
        Err(_) => (0..HISTORIES).chain(FAILED_ONCE).collect(),
    }
}

#[test]
fn a_copy_equals_its_bank_whatever_happens_to_both() {
    let seeds = seeds();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    let tried = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let bench = Bench::set();
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(against) = bench.against(&Plan::of(seed)) {
                        failed.lock().unwrap().push((seed, against));
                    }
                }
                tried.lock().unwrap().push(bench.worker.tried.get());
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let Some((seed, against)) = failed.first() else {
        let tried = tried.into_inner().unwrap();
        let sum = |of: fn(&Tried) -> u64| tried.iter().map(of).sum::<u64>();
        let least = [
            sum(|tried| tried.whole),
            sum(|tried| tried.parts),
            sum(|tried| tried.killed),
            sum(|tried| tried.entries) / 10,
        ];
        let number = seeds.len() as u64;
        assert!(
            number < 100 || least.iter().all(|tried| *tried > number / 2),
            "{least:?}"
        );
        return;
    };
    let (plan, against) = Bench::set().shrunk(Plan::of(*seed), against.clone());
    let all: Vec<String> = failed
        .iter()
        .take(20)
        .map(|(seed, against)| format!("{seed}: {}", against.lines().next().unwrap_or_default()))
        .collect();
    panic!(
        "{} of {} histories fail:\n{}\n\nhistory {seed}, again with\n\
         SYNC_HISTORY={seed} cargo test --workspace --lib sync::tests::histories\n{plan}\n{against}",
        failed.len(),
        seeds.len(),
        all.join("\n"),
    );
}
