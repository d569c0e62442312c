//! Concurrent requests to all members: permits, timeouts, and the channel for results.

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

use super::time::{RequestTimer, TimeLimit};
use super::{Aggregator, AggregatorLimits, AtBank, FromAccount, FromBank, Member};
use crate::accounts::AccountInformation;
use crate::deviations::DeviationCollector;
use crate::error::{Error, ErrorKind};
use crate::response::Entries;

/// Sender of results to the program. Its channel is bounded; while it is full, the deadline pauses.
pub(super) struct ResultSender<T> {
    channel_sender: Sender<T>,
    time: Arc<RequestTimer>,
}

impl<T> ResultSender<T> {
    /// Sends a result, once the channel has room.
    pub(super) async fn send(&self, item: T) {
        let Err(TrySendError::Full(item)) = self.channel_sender.try_send(item) else {
            return;
        };
        let pause_guard = self.time.pause_guard();
        // An error means that the receiver is dropped: this task is about to be aborted.
        let _ = self.channel_sender.send(item).await;
        drop(pause_guard);
    }
}

/// Requests to one member of the aggregator.
pub(super) struct MemberRequest<M> {
    member: Member<M>,
    bank: Arc<str>,
    limits: AggregatorLimits,
    time: Arc<RequestTimer>,
    overall: Arc<Semaphore>,
    at_bank: Arc<Semaphore>,
}

/// Permit for a request, held until its result is sent.
pub(super) struct RequestPermit {
    _at_bank: OwnedSemaphorePermit,
    _overall: OwnedSemaphorePermit,
}

/// Runs each member's request in a task of its own and streams the results. Starts with the first
/// poll.
pub(super) fn run<M, T, F>(
    aggregator: &Aggregator<M>,
    way: impl Fn(MemberRequest<M>, ResultSender<T>) -> F + Send + 'static,
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
        let time = Arc::new(RequestTimer::starts(aggregator.limits.deadline));
        for request in MemberRequest::all(&aggregator, &time) {
            let results = ResultSender {
                channel_sender: sender.clone(),
                time: Arc::clone(&time),
            };
            let task = way(request, results);
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

/// Resumes a panic of a member's task in the task that polls the stream.
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

impl<M: AtBank> MemberRequest<M> {
    /// That of each member.
    fn all(aggregator: &Aggregator<M>, time: &Arc<RequestTimer>) -> Vec<Self> {
        let limits = aggregator.limits;
        let overall = Arc::new(Semaphore::new(within(limits.at_a_time)));
        let mut banks = HashMap::new();
        let request = |member: &Member<M>| {
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
        aggregator.members.iter().map(request).collect()
    }

    pub(super) fn handle(&self) -> M {
        self.member.handle().clone()
    }

    fn error(&self, kind: ErrorKind) -> Error {
        self.member.handle().bank().error(kind)
    }

    /// Acquires this member's permits. The bank's comes first, so that waiting for it blocks no
    /// other bank.
    async fn acquire_permit(&self) -> Result<RequestPermit, Error> {
        let turn = async {
            let at_bank = Arc::clone(&self.at_bank).acquire_owned().await.ok()?;
            let overall = Arc::clone(&self.overall).acquire_owned().await.ok()?;
            Some(RequestPermit {
                _at_bank: at_bank,
                _overall: overall,
            })
        };
        match self.time.within(None, turn).await {
            // The semaphores are never closed. A permit that is free after the deadline is of no
            // use.
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
                TimeLimit::Each => limits.each,
                TimeLimit::Deadline => limits.deadline,
            };
            self.error(ErrorKind::Timeout { limit })
        })
    }

    /// The answer to one question. The turn ends when it is dropped: once the result is sent.
    pub(super) async fn answer<T>(
        &self,
        question: impl Future<Output = Result<T, Error>>,
    ) -> (FromBank<T>, Option<RequestPermit>) {
        let (took, outcome, turn) = match self.acquire_permit().await {
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

impl MemberRequest<AccountInformation> {
    /// Reads the accounts, and then goes that way with all of them at once, each named by its id.
    pub(super) async fn each_account<T, F: Future<Output = ()>>(
        &self,
        with_balance: bool,
        results: &ResultSender<FromAccount<T>>,
        deviations: &DeviationCollector,
        way: impl Fn(Arc<AccountDetails>, String) -> F,
    ) {
        let under = self.handle();
        let question = Box::pin(async move { under.accounts(with_balance).await });
        // The turn ends here: the accounts need turns of their own.
        let accounts = match self.answer(question).await.0.outcome {
            Ok(mut accounts) => {
                deviations.append(std::mem::take(&mut accounts.deviations));
                accounts
            }
            Err(error) => return results.send(self.item(None, Err(error))).await,
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
                let missing_id = self.about(&account, Err(self.missing_id(position)));
                results.send(missing_id).await;
            }
        });
        going.await;
    }

    /// Reads an account's entries, and hands them over one by one; if they break off, then the
    /// reason last.
    pub(super) async fn read<T>(
        &self,
        account: &Arc<AccountDetails>,
        mut entries: Entries<Result<T, Error>>,
        results: &ResultSender<FromAccount<T>>,
        deviations: &DeviationCollector,
    ) {
        let _permit = match self.acquire_permit().await {
            Ok(turn) => turn,
            Err(error) => return results.send(self.about(account, Err(error))).await,
        };
        loop {
            let entry = self.wait(entries.next()).await;
            deviations.append(entries.take_deviations());
            let entry = match entry {
                Ok(None) => return,
                Ok(Some(entry)) => entry,
                Err(error) => Err(error),
            };
            let broken = entry.is_err();
            results.send(self.about(account, entry)).await;
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
    fn missing_id(&self, position: usize) -> Error {
        self.error(ErrorKind::missing_resource_id(&format!(
            "accounts[{position}]"
        )))
    }
}
