//! How a round of questions goes: turns, deadlines, and the way back to whoever asked.

use std::collections::HashMap;
use std::future::Future;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{BoxStream, StreamExt as _, iter, poll_fn};
use shared_types::xs2a::account::AccountDetails;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::time::{Late, Time};
use super::{Aggregator, AggregatorLimits, AtBank, FromAccount, FromBank, Member};
use crate::accounts::AccountInformation;
use crate::deviations::Told;
use crate::error::{Error, ErrorKind};
use crate::response::Entries;

/// The way back. It has room for so many items only; who has more waits, and that time is the program's.
pub(super) struct ResultSender<T> {
    room: Sender<T>,
    time: Arc<Time>,
}

impl<T> ResultSender<T> {
    /// Hands an item over, once there is room.
    pub(super) async fn over(&self, item: T) {
        let Err(TrySendError::Full(item)) = self.room.try_send(item) else {
            return;
        };
        let held_up = self.time.held_up();
        // Nobody is there any more: then this task is about to be aborted.
        let _ = self.room.send(item).await;
        drop(held_up);
    }
}

/// One member's part of a round.
pub(super) struct Course<M> {
    member: Member<M>,
    bank: Arc<str>,
    limits: AggregatorLimits,
    time: Arc<Time>,
    overall: Arc<Semaphore>,
    at_bank: Arc<Semaphore>,
}

/// Held for as long as a member is asked, and until its answer is handed over.
pub(super) struct Turn {
    _at_bank: OwnedSemaphorePermit,
    _overall: OwnedSemaphorePermit,
}

/// Sends each member its way, in a task of its own, and passes on what they hand over. Begins with the first poll.
pub(super) fn run<M, T, F>(
    aggregator: &Aggregator<M>,
    way: impl Fn(Course<M>, ResultSender<T>) -> F + Send + 'static,
) -> BoxStream<'static, T>
where
    M: AtBank,
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let aggregator = aggregator.clone();
    async move {
        let (sender, mut receiver) = channel(within(aggregator.limits.ready));
        let mut tasks = JoinSet::new();
        let time = Arc::new(Time::starts(aggregator.limits.deadline));
        for course in Course::all(&aggregator, &time) {
            let handed = ResultSender {
                room: sender.clone(),
                time: Arc::clone(&time),
            };
            let task = way(course, handed);
            tasks.spawn(task.in_current_span());
        }
        poll_fn(move |context| match ready!(receiver.poll_recv(context)) {
            Some(item) => Poll::Ready(Some(item)),
            None => end(&mut tasks, context),
        })
    }
    .flatten_stream()
    .boxed()
}

/// A question that panicked is its author's: it goes on there.
fn end<T>(tasks: &mut JoinSet<()>, context: &mut Context<'_>) -> Poll<Option<T>> {
    while let Some(ended) = ready!(tasks.poll_join_next(context)) {
        if let Err(Ok(panic)) = ended.map_err(tokio::task::JoinError::try_into_panic) {
            resume_unwind(panic);
        }
    }
    Poll::Ready(None)
}

/// A limit as channels and semaphores take it.
fn within(limit: usize) -> usize {
    limit.clamp(1, Semaphore::MAX_PERMITS)
}

impl<M: AtBank> Course<M> {
    /// That of each member.
    fn all(aggregator: &Aggregator<M>, time: &Arc<Time>) -> Vec<Self> {
        let limits = aggregator.limits;
        let overall = Arc::new(Semaphore::new(within(limits.at_a_time)));
        let mut banks = HashMap::new();
        let course = |member: &Member<M>| {
            let bank = member.handle().bank();
            let (name, at_bank) = banks.entry(bank.identity()).or_insert_with(|| {
                let turns = Arc::new(Semaphore::new(within(limits.per_bank)));
                (Arc::<str>::from(bank.name()), turns)
            });
            Self {
                member: member.clone(),
                bank: Arc::clone(name),
                limits,
                time: Arc::clone(time),
                overall: Arc::clone(&overall),
                at_bank: Arc::clone(at_bank),
            }
        };
        aggregator.members.iter().map(course).collect()
    }

    pub(super) fn handle(&self) -> M {
        self.member.handle().clone()
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.member.handle().bank().error(kind)
    }

    /// Waits for this member's turn. The bank's comes first: who waits for it keeps nobody else waiting.
    async fn turn(&self) -> Result<Turn, Error> {
        let turn = async {
            let at_bank = Arc::clone(&self.at_bank).acquire_owned().await.ok()?;
            let overall = Arc::clone(&self.overall).acquire_owned().await.ok()?;
            Some(Turn {
                _at_bank: at_bank,
                _overall: overall,
            })
        };
        match self.time.within(None, turn).await {
            // The semaphores are never closed. A turn that comes when whoever had it was given up is of no use.
            Ok(Some(turn)) if !self.time.is_over() => Ok(turn),
            _ => Err(self.error(ErrorKind::NotAsked {
                limit: self.limits.deadline,
            })),
        }
    }

    /// Waits for the bank: for so long as for each question, and to the deadline at most.
    async fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        let limits = self.limits;
        let outcome = self.time.within(Some(limits.each), answer).await;
        outcome.map_err(|late| {
            let limit = match late {
                Late::Each => limits.each,
                Late::Deadline => limits.deadline,
            };
            self.error(ErrorKind::Timeout { limit })
        })
    }

    /// The answer to one question. The turn ends when it is dropped: once the answer is handed over.
    pub(super) async fn answer<T>(
        &self,
        question: impl Future<Output = Result<T, Error>>,
    ) -> (FromBank<T>, Option<Turn>) {
        let (took, outcome, turn) = match self.turn().await {
            Ok(turn) => {
                let began = Instant::now();
                let outcome = self.wait(question).await.flatten();
                (began.elapsed(), outcome, Some(turn))
            }
            Err(error) => (Duration::ZERO, Err(error), None),
        };
        let answer = FromBank {
            member: self.member.shared_key(),
            bank: Arc::clone(&self.bank),
            took,
            outcome,
        };
        (answer, turn)
    }
}

impl Course<AccountInformation> {
    /// Reads the accounts, and then goes that way with all of them at once, each named by its id.
    pub(super) async fn each_account<T, F: Future<Output = ()>>(
        &self,
        with_balance: bool,
        handed: &ResultSender<FromAccount<T>>,
        told: &Told,
        way: impl Fn(Arc<AccountDetails>, String) -> F,
    ) {
        let under = self.handle();
        let question = Box::pin(async move { under.accounts(with_balance).await });
        // The turn ends here: the accounts need turns of their own.
        let accounts = match self.answer(question).await.0.outcome {
            Ok(mut accounts) => {
                told.append(std::mem::take(&mut accounts.deviations));
                accounts
            }
            Err(error) => return handed.over(self.item(None, Err(error))).await,
        };
        let accounts = iter(accounts.into_iter().enumerate());
        let going = accounts.for_each_concurrent(None, |(position, account)| {
            let id = account.resource_id.clone();
            let account = Arc::new(account);
            let reading = id.map(|id| way(Arc::clone(&account), id));
            async move {
                if let Some(reading) = reading {
                    return reading.await;
                }
                let nameless = self.about(&account, Err(self.nameless(position)));
                handed.over(nameless).await;
            }
        });
        going.await;
    }

    /// Reads an account's entries, and hands them over one by one; if they break off, then the reason last.
    pub(super) async fn read<T>(
        &self,
        account: &Arc<AccountDetails>,
        mut entries: Entries<Result<T, Error>>,
        handed: &ResultSender<FromAccount<T>>,
        told: &Told,
    ) {
        let _turn = match self.turn().await {
            Ok(turn) => turn,
            Err(error) => return handed.over(self.about(account, Err(error))).await,
        };
        loop {
            let entry = self.wait(entries.next()).await;
            told.append(entries.take_deviations());
            let entry = match entry {
                Ok(None) => return,
                Ok(Some(entry)) => entry,
                Err(error) => Err(error),
            };
            let broken = entry.is_err();
            handed.over(self.about(account, entry)).await;
            if broken {
                return;
            }
        }
    }

    pub(super) fn about<T>(
        &self,
        account: &Arc<AccountDetails>,
        outcome: Result<T, Error>,
    ) -> FromAccount<T> {
        self.item(Some(Arc::clone(account)), outcome)
    }

    fn item<T>(
        &self,
        account: Option<Arc<AccountDetails>>,
        outcome: Result<T, Error>,
    ) -> FromAccount<T> {
        FromAccount {
            member: self.member.shared_key(),
            bank: Arc::clone(&self.bank),
            account,
            outcome,
        }
    }

    /// An account that the bank gave no id cannot be asked about.
    fn nameless(&self, position: usize) -> Error {
        self.error(ErrorKind::Malformed {
            path: format!("accounts[{position}].resourceId"),
            reason: "missing".to_owned(),
        })
    }
}
