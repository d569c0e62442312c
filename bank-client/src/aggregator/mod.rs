//! Aggregator: concurrent requests to many banks.
//!
//! An [`Aggregator`] asks all its members at the same time, and hands over what they answer as it
//! arrives. Each member is a bank, mostly with a consent at it. A failure at one bank affects that
//! bank's result only:
//!
//! ```no_run
//! use bank_client::AccountInformation;
//! use bank_client::aggregator::{Aggregator, Totals};
//! use bank_client::futures::StreamExt as _;
//!
//! # async fn example(at_bank_b: AccountInformation, at_bank_r: AccountInformation) {
//! let aggregator = Aggregator::builder().member(at_bank_b).member(at_bank_r).build();
//! let mut totals = Totals::default();
//! let mut answers = aggregator.accounts(true);
//! while let Some(answer) = answers.next().await {
//!     match answer.outcome {
//!         Ok(accounts) => accounts.iter().for_each(|account| totals.add_account(account)),
//!         Err(error) => eprintln!("{error}; {}", error.advice()),
//!     }
//! }
//! for total in &totals {
//!     println!("{total}");
//! }
//! # }
//! ```
//!
//! # What holds
//!
//! - Every member has its outcome, in the order of arrival; of balances and transactions, every
//!   account has its items. A bank that has not answered by [`AggregatorLimits::deadline`] is given
//!   up, with a [`Timeout`](crate::ErrorKind::Timeout) of its own, or
//!   [`NotAsked`](crate::ErrorKind::NotAsked) if its turn did not come. What arrived before is
//!   handed over all the same.
//! - Nothing is asked before the stream is polled, and nothing goes on once it is dropped.
//! - Answers that the program does not take do not pile up: a member whose answer waits keeps its
//!   turn, and an account whose entries wait has no more of them read. While an answer waits for
//!   the program, the deadline waits as well.
//! - Each member is asked in a task of its own, so that handshakes use all the cores that the
//!   runtime has, and a program that takes its time over one answer does not make another bank
//!   late.
//! - Members with the same [`Bank`](crate::Bank) (a clone of it) share its connections, and the
//!   limit for each bank.

mod fan_out;
mod limits;
mod member;
mod time;
mod totals;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use shared_types::xs2a::account::{AccountDetails, Balance};
use shared_types::xs2a::transaction::Transaction;

use self::fan_out::{MemberRequest, ResultSender, run};
pub use self::limits::AggregatorLimits;
pub use self::member::{AtBank, Member};
pub use self::totals::{Total, Totals};
use crate::accounts::AccountInformation;
use crate::deviations::DeviationCollector;
use crate::error::Error;
use crate::pages::{Entry, TransactionFilter};
use crate::response::{Entries, Response};

/// Concurrent requests to many banks: see the [module documentation](self).
///
/// Cheap to clone. With consents as members it reads accounts; with mere [`Bank`](crate::Bank)s it
/// can [`ask`](Self::ask) them whatever does not take a consent.
#[derive(Debug, Clone)]
pub struct Aggregator<M = AccountInformation> {
    members: Arc<[Member<M>]>,
    limits: AggregatorLimits,
}

/// Builder of an [`Aggregator`].
#[derive(Debug)]
#[must_use = "it sends nothing before it is built"]
pub struct AggregatorBuilder<M> {
    members: Vec<Member<M>>,
    limits: AggregatorLimits,
}

/// Result of a request to one member.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FromBank<T> {
    /// The member, by its key.
    pub member: Arc<str>,
    /// The bank, by its name.
    pub bank: Arc<str>,
    /// From the member's turn to its outcome; nothing if its turn did not come.
    pub took: Duration,
    /// The answer, or why there is none.
    pub outcome: Result<T, Error>,
}

/// Result of a request to one member about one account.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FromAccount<T> {
    /// The member, by its key.
    pub member: Arc<str>,
    /// The bank, by its name.
    pub bank: Arc<str>,
    /// The account; none if it is the list of accounts that could not be read.
    pub account: Option<Arc<AccountDetails>>,
    /// The answer, or why there is none, or no more.
    pub outcome: Result<T, Error>,
}

impl<M: AtBank> Aggregator<M> {
    /// Starts a builder without members.
    pub fn builder() -> AggregatorBuilder<M> {
        AggregatorBuilder {
            members: Vec::new(),
            limits: AggregatorLimits::default(),
        }
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> &[Member<M>] {
        &self.members
    }

    /// Asks every member anything: one outcome for each, in the order of arrival.
    ///
    /// ```no_run
    /// # use bank_client::{Bank, aggregator::Aggregator};
    /// # use futures::StreamExt as _;
    /// # async fn example(banks: Vec<Bank>) {
    /// let banks = Aggregator::builder().members(banks).build();
    /// let mut standings = banks.ask(|bank| async move { bank.consent_status("0f7a…").await });
    /// # standings.next().await;
    /// # }
    /// ```
    ///
    /// A question counts as one call, however many calls it makes; let it make them one after the
    /// other. If it panics, the stream does once every other member's outcome was handed over.
    #[must_use]
    pub fn ask<T, A>(
        &self,
        question: impl Fn(M) -> A + Send + Sync + 'static,
    ) -> BoxStream<'static, FromBank<T>>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let question = Arc::new(question);
        run(self, move |request, results: ResultSender<FromBank<T>>| {
            let question = Arc::clone(&question);
            async move {
                let (answer, _permit) = request.answer(Box::pin(question(request.handle()))).await;
                results.send(answer).await;
            }
        })
    }
}

impl Aggregator {
    /// The payment accounts of every member, with balances where the consent opens them.
    #[must_use]
    pub fn accounts(
        &self,
        with_balance: bool,
    ) -> BoxStream<'static, FromBank<Response<Vec<AccountDetails>>>> {
        self.ask(move |under| async move { under.accounts(with_balance).await })
    }

    /// The balances of every account of every member: one outcome for each account, in the order of
    /// arrival.
    ///
    /// An account whose balances come along with the list of accounts is not asked about again.
    pub fn balances(&self) -> Entries<FromAccount<Vec<Balance>>> {
        self.with_deviations(|request, results, deviations| async move {
            request
                .each_account(true, &results, &deviations, |account, id| {
                    let (request, results, deviations) = (&request, &results, &deviations);
                    async move {
                        if let Some(balances) = account.balances.clone() {
                            return results.send(request.about(&account, Ok(balances))).await;
                        }
                        let under = request.handle();
                        let (answer, _permit) = request
                            .answer(Box::pin(async move { under.balances(&id).await }))
                            .await;
                        let balances = answer.outcome.map(|mut answer| {
                            deviations.append(std::mem::take(&mut answer.deviations));
                            answer.into_inner().balances
                        });
                        results.send(request.about(&account, balances)).await;
                    }
                })
                .await;
        })
    }

    /// Runs the operation for each member, and adds the deviations to the items.
    fn with_deviations<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
        &self,
        way: impl Fn(
            MemberRequest<AccountInformation>,
            ResultSender<FromAccount<T>>,
            DeviationCollector,
        ) -> F
        + Send
        + 'static,
    ) -> Entries<FromAccount<T>> {
        let deviations = DeviationCollector::default();
        let collector = deviations.clone();
        let stream = run(self, move |request, results| {
            way(request, results, collector.clone())
        });
        Entries::new(stream, deviations)
    }

    /// The transactions of every account of every member, entry by entry: within an account in the
    /// bank's order, pending ones first; between accounts in the order of arrival.
    ///
    /// If an account cannot be read to its end, the reason is its last item. Items read
    /// before it are returned.
    pub fn transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Entries<FromAccount<Entry<Transaction>>> {
        let filter = filter.clone();
        self.with_deviations(move |request, results, deviations| {
            let filter = filter.clone();
            async move {
                request
                    .each_account(false, &results, &deviations, |account, id| {
                        let (request, results, deviations) = (&request, &results, &deviations);
                        let entries = request.handle().transactions(&id, &filter);
                        async move {
                            request.read(&account, entries, results, deviations).await;
                        }
                    })
                    .await;
            }
        })
    }
}

impl<M: AtBank> AggregatorBuilder<M> {
    /// One more member: an [`AccountInformation`], a [`Bank`](crate::Bank), or a [`Member`] with a
    /// key of its own.
    pub fn member(mut self, member: impl Into<Member<M>>) -> Self {
        self.members.push(member.into());
        self
    }

    /// More members.
    pub fn members<I: Into<Member<M>>>(mut self, members: impl IntoIterator<Item = I>) -> Self {
        self.members.extend(members.into_iter().map(Into::into));
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: AggregatorLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Builds the aggregator. Nothing is sent yet.
    #[must_use]
    pub fn build(self) -> Aggregator<M> {
        Aggregator {
            members: self.members.into(),
            limits: self.limits,
        }
    }
}
