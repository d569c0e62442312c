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
use super::{AccountResult, Aggregator, AggregatorLimits, BankHandle, BankResult, Member};
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
    read_member: impl Fn(MemberRequest<M>, ResultSender<T>) -> F + Send + 'static,
) -> BoxStream<'static, T>
where
    M: BankHandle,
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let aggregator = aggregator.clone();
    async move {
        let (sender, mut receiver) = channel(clamp_limit(aggregator.limits.ready));
        let mut tasks = JoinSet::new();
        let time = Arc::new(RequestTimer::starts(aggregator.limits.deadline));
        for request in MemberRequest::all(&aggregator, &time) {
            let results = ResultSender {
                channel_sender: sender.clone(),
                time: Arc::clone(&time),
            };
            let task = read_member(request, results);
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

/// Clamps a limit to the range of channels and semaphores.
fn clamp_limit(limit: usize) -> usize {
    limit.clamp(1, Semaphore::MAX_PERMITS)
}

impl<M: BankHandle> MemberRequest<M> {
    /// One for each member.
    fn all(aggregator: &Aggregator<M>, time: &Arc<RequestTimer>) -> Vec<Self> {
        let limits = aggregator.limits;
        let overall = Arc::new(Semaphore::new(clamp_limit(limits.at_a_time)));
        let mut banks = HashMap::new();
        let request = |member: &Member<M>| {
            let bank = member.handle().bank();
            let (name, at_bank) = banks.entry(bank.identity()).or_insert_with(|| {
                let permits = Arc::new(Semaphore::new(clamp_limit(limits.per_bank)));
                (Arc::<str>::from(bank.name()), permits)
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
        let permits = async {
            let at_bank = Arc::clone(&self.at_bank).acquire_owned().await.ok()?;
            let overall = Arc::clone(&self.overall).acquire_owned().await.ok()?;
            Some(RequestPermit {
                _at_bank: at_bank,
                _overall: overall,
            })
        };
        match self.time.within(None, permits).await {
            // The semaphores are never closed. A permit acquired after the deadline is not used.
            Ok(Some(permit)) if !self.time.is_over() => Ok(permit),
            _ => Err(self.error(ErrorKind::NotAsked {
                limit: self.limits.deadline,
            })),
        }
    }

    /// Waits for the bank, up to the timeout of one request and the deadline of all.
    async fn wait<T>(&self, response: impl Future<Output = T>) -> Result<T, Error> {
        let limits = self.limits;
        let outcome = self.time.within(Some(limits.each), response).await;
        outcome.map_err(|expired| {
            let limit = match expired {
                TimeLimit::Each => limits.each,
                TimeLimit::Deadline => limits.deadline,
            };
            self.error(ErrorKind::Timeout { limit })
        })
    }

    /// Performs one request to the member. The caller drops the permit once the result is sent.
    pub(super) async fn perform<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> (BankResult<T>, Option<RequestPermit>) {
        let (elapsed, outcome, permit) = match self.acquire_permit().await {
            Ok(permit) => {
                let began = Instant::now();
                let outcome = self.wait(request).await.flatten();
                (began.elapsed(), outcome, Some(permit))
            }
            Err(error) => (Duration::ZERO, Err(error), None),
        };
        let result = BankResult {
            member: self.member.shared_key(),
            bank: Arc::clone(&self.bank),
            elapsed,
            outcome,
        };
        (result, permit)
    }
}

impl MemberRequest<AccountInformation> {
    /// Reads the member's accounts, and then runs `read_account` for all of them concurrently, with
    /// the account and its id.
    pub(super) async fn each_account<T, F: Future<Output = ()>>(
        &self,
        with_balance: bool,
        results: &ResultSender<AccountResult<T>>,
        deviations: &DeviationCollector,
        read_account: impl Fn(Arc<AccountDetails>, String) -> F,
    ) {
        let consent = self.handle();
        let request = Box::pin(async move { consent.accounts(with_balance).await });
        // Drops the permit here, because each account acquires one.
        let accounts = match self.perform(request).await.0.outcome {
            Ok(mut accounts) => {
                deviations.append(std::mem::take(&mut accounts.deviations));
                accounts
            }
            Err(error) => return results.send(self.item(None, Err(error))).await,
        };
        let accounts = iter(accounts.into_iter().enumerate());
        let all_accounts = accounts.for_each_concurrent(None, |(position, account)| {
            let id = account.resource_id.clone();
            let account = Arc::new(account);
            let reading = id.map(|id| read_account(Arc::clone(&account), id));
            async move {
                if let Some(reading) = reading {
                    return reading.await;
                }
                let missing_id = self.account_result(&account, Err(self.missing_id(position)));
                results.send(missing_id).await;
            }
        });
        all_accounts.await;
    }

    /// Reads an account's entries, and sends them one at a time. If reading fails, sends the error
    /// last.
    pub(super) async fn send_entries<T>(
        &self,
        account: &Arc<AccountDetails>,
        mut entries: Entries<Result<T, Error>>,
        results: &ResultSender<AccountResult<T>>,
        deviations: &DeviationCollector,
    ) {
        let _permit = match self.acquire_permit().await {
            Ok(permit) => permit,
            Err(error) => return results.send(self.account_result(account, Err(error))).await,
        };
        loop {
            let entry = self.wait(entries.next()).await;
            deviations.append(entries.take_deviations());
            let entry = match entry {
                Ok(None) => return,
                Ok(Some(entry)) => entry,
                Err(error) => Err(error),
            };
            let is_last = entry.is_err();
            results.send(self.account_result(account, entry)).await;
            if is_last {
                return;
            }
        }
    }

    pub(super) fn account_result<T>(
        &self,
        account: &Arc<AccountDetails>,
        outcome: Result<T, Error>,
    ) -> AccountResult<T> {
        self.item(Some(Arc::clone(account)), outcome)
    }

    fn item<T>(
        &self,
        account: Option<Arc<AccountDetails>>,
        outcome: Result<T, Error>,
    ) -> AccountResult<T> {
        AccountResult {
            member: self.member.shared_key(),
            bank: Arc::clone(&self.bank),
            account,
            outcome,
        }
    }

    /// Error for an account without a `resourceId`, which further requests would need.
    fn missing_id(&self, position: usize) -> Error {
        self.error(ErrorKind::missing_resource_id(&format!(
            "accounts[{position}]"
        )))
    }
}
