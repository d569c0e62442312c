//! Aggregator: concurrent requests to many banks.
//!
//! An [`Aggregator`] sends a request to all its members concurrently, and streams their results in
//! order of arrival. A member is a consent at a bank ([`AccountInformation`]), or a bank without a
//! consent ([`Bank`](crate::Bank)). A failure at one bank affects that bank's result only:
//!
//! ```no_run
//! use bank_client::AccountInformation;
//! use bank_client::aggregator::{Aggregator, Totals};
//! use bank_client::futures::StreamExt as _;
//!
//! # async fn example(at_bank_b: AccountInformation, at_bank_r: AccountInformation) {
//! let aggregator = Aggregator::builder().member(at_bank_b).member(at_bank_r).build();
//! let mut totals = Totals::default();
//! let mut results = aggregator.accounts(true);
//! while let Some(result) = results.next().await {
//!     match result.outcome {
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
//! # Guarantees
//!
//! - **Completeness.** Every member yields a result; for balances and transactions, every account
//!   yields its items. At [`AggregatorLimits::deadline`], a bank that has not answered yields a
//!   [`Timeout`](crate::ErrorKind::Timeout), and one that no request was sent to yields
//!   [`NotAsked`](crate::ErrorKind::NotAsked). Results that arrived earlier are still yielded.
//! - **Laziness.** No request is sent before the stream is polled. Dropping the stream cancels all
//!   requests.
//! - **Backpressure.** Results that the program has not taken are bounded. A member whose result is
//!   waiting keeps its permit, and no further pages of a waiting account are read. The deadline is
//!   paused while a result waits.
//! - **Parallelism.** Each member's request runs in a separate task, so that TLS handshakes use all
//!   cores of the runtime. A program that is slow to process one result delays no other bank.
//! - **Shared limits.** Members with clones of the same [`Bank`](crate::Bank) share its connections
//!   and its limit on concurrent requests.

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
pub use self::member::{BankHandle, Member};
pub use self::totals::{Total, Totals};
use crate::accounts::AccountInformation;
use crate::deviations::DeviationCollector;
use crate::error::Error;
use crate::pages::{Entry, TransactionFilter};
use crate::response::{Entries, Response};

/// Concurrent requests to many banks: see the [module documentation](self).
///
/// Cheap to clone. With consents as members, it reads accounts. With [`Bank`](crate::Bank)s as
/// members, it sends requests that need no consent, by [`request`](Self::request).
#[derive(Debug, Clone)]
pub struct Aggregator<M = AccountInformation> {
    members: Arc<[Member<M>]>,
    limits: AggregatorLimits,
}

/// Builder of an [`Aggregator`].
#[derive(Debug)]
#[must_use = "no request is sent before the aggregator is built"]
pub struct AggregatorBuilder<M> {
    members: Vec<Member<M>>,
    limits: AggregatorLimits,
}

/// Result of a request to one member.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BankResult<T> {
    /// The member's key.
    pub member: Arc<str>,
    /// The bank's name.
    pub bank: Arc<str>,
    /// Time from the request to its outcome. Zero if no request was sent.
    pub elapsed: Duration,
    /// The response, or the error.
    pub outcome: Result<T, Error>,
}

/// Result of a request to one member about one account.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AccountResult<T> {
    /// The member's key.
    pub member: Arc<str>,
    /// The bank's name.
    pub bank: Arc<str>,
    /// The account. `None` if the member's list of accounts could not be read.
    pub account: Option<Arc<AccountDetails>>,
    /// An item of the account, or the error. After an error, the account has no more items.
    pub outcome: Result<T, Error>,
}

impl<M: BankHandle> Aggregator<M> {
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

    /// Sends a request to every member. Yields one result for each, in order of arrival.
    ///
    /// ```no_run
    /// # use bank_client::{Bank, aggregator::Aggregator};
    /// # use futures::StreamExt as _;
    /// # async fn example(banks: Vec<Bank>) {
    /// let banks = Aggregator::builder().members(banks).build();
    /// let mut statuses = banks.request(|bank| async move { bank.consent_status("0f7a…").await });
    /// # statuses.next().await;
    /// # }
    /// ```
    ///
    /// `send` counts as one request towards the limits, even if it makes several calls; it must
    /// make them sequentially. If it panics, the stream panics after it has yielded the results of
    /// all other members.
    #[must_use]
    pub fn request<T, A>(
        &self,
        send: impl Fn(M) -> A + Send + Sync + 'static,
    ) -> BoxStream<'static, BankResult<T>>
    where
        T: Send + 'static,
        A: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let send = Arc::new(send);
        run(
            self,
            move |request, results: ResultSender<BankResult<T>>| {
                let send = Arc::clone(&send);
                async move {
                    let (result, _permit) = request.perform(Box::pin(send(request.handle()))).await;
                    results.send(result).await;
                }
            },
        )
    }
}

impl Aggregator {
    /// The payment accounts of every member. `with_balance` requests their balances as well, which
    /// are returned if the consent covers them.
    #[must_use]
    pub fn accounts(
        &self,
        with_balance: bool,
    ) -> BoxStream<'static, BankResult<Response<Vec<AccountDetails>>>> {
        self.request(move |consent| async move { consent.accounts(with_balance).await })
    }

    /// The balances of every account of every member: one result for each account, in order of
    /// arrival.
    ///
    /// If the bank's list of accounts contains the balances of an account, they are not requested
    /// separately.
    pub fn balances(&self) -> Entries<AccountResult<Vec<Balance>>> {
        self.run_with_deviations(|request, results, deviations| async move {
            request
                .each_account(true, &results, &deviations, |account, id| {
                    let (request, results, deviations) = (&request, &results, &deviations);
                    async move {
                        if let Some(balances) = account.balances.clone() {
                            return results
                                .send(request.account_result(&account, Ok(balances)))
                                .await;
                        }
                        let consent = request.handle();
                        let (result, _permit) = request
                            .perform(Box::pin(async move { consent.balances(&id).await }))
                            .await;
                        let balances = result.outcome.map(|mut response| {
                            deviations.append(std::mem::take(&mut response.deviations));
                            response.into_inner().balances
                        });
                        results
                            .send(request.account_result(&account, balances))
                            .await;
                    }
                })
                .await;
        })
    }

    /// Runs `read_member` for each member. Collects the deviations of all responses, and returns
    /// them with the stream of items.
    fn run_with_deviations<T: Send + 'static, F: Future<Output = ()> + Send + 'static>(
        &self,
        read_member: impl Fn(
            MemberRequest<AccountInformation>,
            ResultSender<AccountResult<T>>,
            DeviationCollector,
        ) -> F
        + Send
        + 'static,
    ) -> Entries<AccountResult<T>> {
        let deviations = DeviationCollector::default();
        let collector = deviations.clone();
        let stream = run(self, move |request, results| {
            read_member(request, results, collector.clone())
        });
        Entries::new(stream, deviations)
    }

    /// The transactions of every account of every member, one entry at a time. The entries of one
    /// account are in the bank's order, pending ones first. Those of different accounts are
    /// interleaved in order of arrival.
    ///
    /// If reading an account fails, the error is its last item, after the entries that were read.
    pub fn transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Entries<AccountResult<Entry<Transaction>>> {
        let filter = filter.clone();
        self.run_with_deviations(move |request, results, deviations| {
            let filter = filter.clone();
            async move {
                request
                    .each_account(false, &results, &deviations, |account, id| {
                        let (request, results, deviations) = (&request, &results, &deviations);
                        let entries = request.handle().transactions(&id, &filter);
                        async move {
                            request
                                .send_entries(&account, entries, results, deviations)
                                .await;
                        }
                    })
                    .await;
            }
        })
    }
}

impl<M: BankHandle> AggregatorBuilder<M> {
    /// Adds a member: an [`AccountInformation`], a [`Bank`](crate::Bank), or a [`Member`] with a
    /// custom key.
    pub fn member(mut self, member: impl Into<Member<M>>) -> Self {
        self.members.push(member.into());
        self
    }

    /// Adds several members.
    pub fn members<I: Into<Member<M>>>(mut self, members: impl IntoIterator<Item = I>) -> Self {
        self.members.extend(members.into_iter().map(Into::into));
        self
    }

    /// Sets the limits.
    pub fn limits(mut self, limits: AggregatorLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Builds the aggregator. Sends no request.
    #[must_use]
    pub fn build(self) -> Aggregator<M> {
        Aggregator {
            members: self.members.into(),
            limits: self.limits,
        }
    }
}
