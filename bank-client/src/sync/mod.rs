//! Synchronisation of accounts, balances and transactions into a local copy.
//!
//! A [`LocalCopy`] is a file; a [`Synchroniser`] updates it for one connection (the program's name
//! for a consent at a bank). The first run reads the last 730 days
//! ([`Synchroniser::history_days`]), or 90 if the bank refuses more; later runs read what is new,
//! by the best request that the bank supports:
//!
//! | the bank supports | later runs request |
//! |---|---|
//! | `entryReferenceFrom` | transactions after the newest known entry |
//! | `deltaList` alone | transactions since the bank's last report |
//! | neither, or it refuses | the last days again ([`Synchroniser::overlap_days`]) |
//!
//! **No duplicates.** A listed entry equals the stored one with the same content; of several equal
//! ones, each is one. The bank's `entryReference`, else its `transactionId`, is a hint: it shows
//! that an entry has changed if the stored one of that name is no longer listed. Entries that share
//! a name are all kept, and "0", blanks and "NOTPROVIDED" are not names.
//!
//! **Nothing lost**, whenever the program is killed: an aborted run does no harm, and the next one
//! starts its walk again. A report that the bank gives only once (`deltaList`) is recorded as lost
//! until it has arrived: after a crash the last days are read again. Open cases of a delta report
//! (a known or missing name, an entry that the copy has) are resolved by a list of days, in the
//! same run.
//!
//! **No stale entries.** Entries that the bank no longer lists are removed, but only by a complete
//! walk, and only in the days that it covers. An entry without a booking date is removed if a list
//! that must contain it lacks it: one that starts a month before its value date, or no later than
//! one that had it.
//!
//! **No guesses.** A response without lists is an error
//! ([`NotListed`](crate::ErrorKind::NotListed)) and removes nothing. Neither does 204, or 404
//! `RESOURCE_UNKNOWN` for an account that was just listed: both mean that there is nothing, and are
//! [reported](AccountReport::unlisted); if the copy has entries of that period, that is a failure.
//! Unreadable entries are [counted](AccountReport::left_out); such a run removes nothing and is not
//! complete. A bank that shows fewer days than were missed leaves a gap: the copy is complete
//! [from its end](CopiedAccount::since).
//!
//! A pending entry that is booked is recognised: the booked one has the time
//! [since which](CopiedEntry::pending_since) it was seen pending. Accounts that a consent no longer
//! covers stay, and are [marked](CopiedAccount::gone).
//!
//! **No merged accounts.** A `resourceId` names an account within its consent only. From consent to
//! consent an account is recognised by its numbers, and without them only if no other can be meant
//! ([`identity`](crate::identity)). Otherwise it is a new account, and the old one is marked as
//! gone.
//!
//! ```no_run
//! use bank_client::AccountInformation;
//! use bank_client::directory::Delta;
//! use bank_client::sync::{LocalCopy, Period, Synchroniser};
//! use bank_client::vault::Vault;
//! use bank_client::futures::TryStreamExt as _;
//!
//! # async fn example(under: AccountInformation, vault: Vault) -> Result<(), Box<dyn std::error::Error>> {
//! let copy = LocalCopy::open("accounts.db", vault).await?;
//! let sync = Synchroniser::new(&copy, "bank-b").delta(Some(Delta::EntryReference));
//! let report = sync.run(&under, |_| ()).await?;
//! println!("{} new entries", report.new_entries());
//! for account in copy.accounts("bank-b").await? {
//!     let mut entries = copy.transactions(account.key, Period::default());
//!     while let Some(entry) = entries.try_next().await? {
//!         println!("{}", entry.day);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use chrono_tz::Tz;

mod access;
mod account;
mod accounts;
mod copy;
mod deadline;
mod order;
mod plan;
mod reading;
mod row;
#[cfg(test)]
mod tests;
mod window;

pub use self::access::NotOpened;
use self::access::{Access, Part, Unread};
use self::account::AccountSync;
use self::accounts::{AccountLists, ListedAccount};
pub use self::copy::{CopyError, LocalCopy};
use self::deadline::Deadline;
use self::plan::SyncOptions;
pub use self::plan::Way;
pub use self::reading::{
    CopiedAccount, CopiedBalance, CopiedDetails, CopiedEntry, CopiedTransaction, Period,
};
use self::window::Moment;
use crate::accounts::AccountInformation;
use crate::deviations::Deviations;
use crate::directory::Delta;
use crate::error::Error;

/// An account in a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey(pub(crate) i64);

/// Brings a copy up to date for one connection.
#[derive(Debug, Clone)]
#[must_use]
pub struct Synchroniser {
    copy: LocalCopy,
    key: String,
    options: SyncOptions,
    time_zone: Tz,
    deadline: Duration,
}

/// Progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The accounts are known; so many are to be read.
    Accounts {
        /// Their number.
        count: usize,
    },
    /// A page of an account's transactions is in the copy.
    Page {
        /// The account.
        account: AccountKey,
        /// Which of the accounts it is, from 0.
        number: usize,
        /// Pages of this account so far.
        pages: u64,
        /// Their entries.
        entries: u64,
    },
    /// An account is done, or has failed.
    Done {
        /// The account.
        account: AccountKey,
        /// Which of the accounts it is, from 0.
        number: usize,
        /// Whether all of it was read.
        complete: bool,
    },
}

/// Failure of a run. Data written before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The bank did not give it.
    #[error(transparent)]
    Bank(#[from] Error),
    /// The copy could not be read or written.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Another run for the same connection is under way, in this program or in another one, and
    /// goes on. Nothing was asked.
    #[error("another run for {key} is under way, and goes on")]
    Busy {
        /// The program's key for the connection.
        key: String,
    },
    /// The account was forgotten meanwhile, or another run has taken it over.
    #[error("the account was forgotten, or taken over by another run, meanwhile")]
    Overtaken,
}

/// Report of a run.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Account by account, in the bank's order.
    pub accounts: Vec<AccountReport>,
    /// Accounts that were not in the copy before.
    pub new_accounts: u64,
    /// Accounts that the consent does not open any more.
    pub gone_accounts: u64,
    /// Balances that have changed.
    pub balances_changed: u64,
    /// Errors of account lists that could not be read to their end. Unread accounts of that kind
    /// stay in the copy unchanged.
    pub failures: Vec<Error>,
    /// Refusals of a list of accounts, where the bank gave that of the other kind, and
    /// none of these accounts was ever listed: the consent does not open them, and nothing is
    /// missing.
    pub lists_not_opened: Vec<Error>,
    /// Deviations of the lists of accounts, and of balances, from the standard.
    pub deviations: Deviations,
}

/// Report of a run for one account.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct AccountReport {
    /// The account.
    pub account: AccountKey,
    /// A card account.
    pub card: bool,
    /// The kind of request that returned its transactions. `None`: they are
    /// [not opened](Self::transactions_not_opened).
    pub way: Option<Way>,
    /// Pages that were read.
    pub pages: u64,
    /// Entries on them.
    pub entries: u64,
    /// Entries that were not in the copy before.
    pub new: u64,
    /// Entries whose content the bank has changed.
    pub changed: u64,
    /// Entries that the bank does not give any more.
    pub removed: u64,
    /// Booked entries that were matched with earlier pending ones.
    pub matched: u64,
    /// Entries of the last requested list that could not be read. If there are any, nothing is
    /// removed.
    pub left_out: u64,
    /// The bank reported that there are no transactions with 204 instead of an empty list, or with
    /// 404 `RESOURCE_UNKNOWN` for an account that it had just listed. Nothing is removed then.
    pub unlisted: bool,
    /// Error for which it is not known whether some pending entries are still there.
    pub pending_unknown: Option<Error>,
    /// Reason for which its transactions were not requested, or not given.
    pub transactions_not_opened: Option<NotOpened>,
    /// Reason for which its balances are not given. Those in the copy, if any, are of before:
    /// [`CopiedBalance::read`].
    pub balances_not_opened: Option<NotOpened>,
    /// Error of its balances that were not read. Those in the copy, if any, are of before:
    /// [`CopiedBalance::read`].
    pub balances_failure: Option<Error>,
    /// The error, if it was not read completely.
    pub failure: Option<SyncError>,
    /// Deviations of its pages from the standard.
    pub deviations: Deviations,
}

impl Synchroniser {
    /// For the connection that the program knows by that key: the id of a bank, or of a consent's
    /// life at it.
    pub fn new(copy: &LocalCopy, key: impl Into<String>) -> Self {
        Self {
            copy: copy.clone(),
            key: key.into(),
            options: SyncOptions {
                delta: None,
                history_days: 730,
                overlap_days: 14,
                page_size: None,
            },
            time_zone: Tz::UTC,
            deadline: Duration::from_mins(30),
        }
    }

    /// The time zone by whose days the bank counts:
    /// [`BankEntry::time_zone`](crate::directory::BankEntry::time_zone). Default: UTC.
    pub fn time_zone(mut self, zone: Tz) -> Self {
        self.time_zone = zone;
        self
    }

    /// Sets the time limit of a run. Parts that are not read by then fail with
    /// [`Timeout`](crate::ErrorKind::Timeout), or with [`NotAsked`](crate::ErrorKind::NotAsked) if
    /// they were not requested yet. The next run continues with them. Default: half an hour.
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// Kind of delta report that the bank supports, if any.
    pub fn delta(mut self, delta: Option<Delta>) -> Self {
        self.options.delta = delta;
        self
    }

    /// Sets how many days back the first run reads. Default: 730. If the bank refuses, 90 are read.
    pub fn history_days(mut self, days: u32) -> Self {
        self.options.history_days = days;
        self
    }

    /// Sets how many days before the last run are read again from banks without delta reports. An
    /// entry that is booked under an earlier day than these is not found. Default: 14.
    pub fn overlap_days(mut self, days: u32) -> Self {
        self.options.overlap_days = days;
        self
    }

    /// Entries on a page. Default: as the bank likes.
    pub fn page_size(mut self, entries: usize) -> Self {
        self.options.page_size = Some(entries);
        self
    }

    /// Reads the accounts, their balances, and what is new of their transactions.
    ///
    /// Fails if the account list cannot be read or the copy cannot be written. A failure of one
    /// account is in its [report](AccountReport::failure), and the others are read.
    ///
    /// Of two runs for the same connection the first one goes on, and the other fails at once
    /// ([`SyncError::Busy`]). The lock of a process that has ended, in whichever way, is released.
    pub async fn run(
        &self,
        under: &AccountInformation,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<Report, SyncError> {
        let now = under.bank().inner.clock.now();
        let moment = Moment {
            now: now.timestamp(),
            today: now.with_timezone(&self.time_zone).date_naive(),
        };
        let Some(_claim) = self.copy.claim(&self.key)? else {
            let key = self.key.clone();
            return Err(SyncError::Busy { key });
        };
        let deadline = Deadline::after(self.deadline);
        let mut report = Report::default();
        let access = Access::new(under, deadline);
        let accounts = self.accounts(&access, moment, &mut report).await?;
        progress(Progress::Accounts {
            count: accounts.len(),
        });
        for (number, (account, given)) in accounts.into_iter().enumerate() {
            let mut done = AccountReport {
                account,
                card: given.card,
                ..AccountReport::default()
            };
            let (numbers, links) = (given.numbers(), given.links());
            if access.is_closed(Part::Transactions, numbers, links).await {
                done.transactions_not_opened = Some(NotOpened::ByConsent);
            } else {
                let reading = AccountSync {
                    copy: &self.copy,
                    source: under,
                    account,
                    card: given.card,
                    resource: given.resource(),
                    options: self.options,
                    moment,
                    deadline,
                };
                let mut page = |pages, entries| {
                    progress(Progress::Page {
                        account,
                        number,
                        pages,
                        entries,
                    });
                };
                match reading.read(&mut done, &mut page).await {
                    Err(SyncError::Copy(error)) => return Err(error.into()),
                    Err(SyncError::Bank(error)) => {
                        let part = Part::Transactions;
                        match access.judge(error, part, numbers, links).await {
                            Unread::NotOpened(why) => {
                                done.way = None;
                                done.transactions_not_opened = Some(why);
                            }
                            Unread::Failed(error) => done.failure = Some(error.into()),
                        }
                    }
                    outcome => done.failure = outcome.err(),
                }
            }
            let debits = given.card.then(|| under.debit_accounting(given.resource()));
            if let Some(debits) = debits.flatten() {
                self.copy.store_debit_accounting(account, debits).await?;
            }
            match given.balances_unread {
                Some(Unread::NotOpened(why)) => done.balances_not_opened = Some(why),
                Some(Unread::Failed(error)) => done.balances_failure = Some(error),
                None => {}
            }
            progress(Progress::Done {
                account,
                number,
                complete: done.is_complete(),
            });
            report.accounts.push(done);
        }
        Ok(report)
    }

    async fn accounts(
        &self,
        access: &Access<'_>,
        moment: Moment,
        report: &mut Report,
    ) -> Result<Vec<(AccountKey, ListedAccount)>, SyncError> {
        let AccountLists {
            payment,
            card,
            deviations,
        } = accounts::list(access).await;
        report.deviations.append(deviations);
        let (payment, card) = match (payment, card) {
            // There is nothing to go on with.
            (Err(error), Err(_)) => return Err(error.into()),
            lists => lists,
        };
        let consent = access.under.consent_id();
        let mut all = Vec::new();
        for (card, list) in [(false, payment), (true, card)] {
            let mut list = match list {
                Ok(list) => list,
                // A bank without accounts of one kind may have no such resource, and a consent may
                // not open it. The bank has not lost those that it listed.
                Err(error) => {
                    let not_opened = error.is_kind_not_opened();
                    if !not_opened || self.copy.has_listed(&self.key, card).await? {
                        report.failures.push(error);
                    } else if !error.is_not_offered() {
                        report.lists_not_opened.push(error);
                    }
                    continue;
                }
            };
            let stored = self
                .copy
                .store_accounts(&self.key, card, consent, &list, moment.now)
                .await?;
            report.new_accounts += stored.new;
            report.gone_accounts += stored.gone;
            report.balances_changed += stored.balances_changed;
            report.failures.extend(list.missing_id.take());
            all.extend(stored.keys.into_iter().zip(list.accounts));
        }
        Ok(all)
    }
}

impl AccountReport {
    /// Whether all that the consent opens of it was read to the end, and what the copy has of it is
    /// what the bank says.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let parts = [&self.transactions_not_opened, &self.balances_not_opened];
        self.failure.is_none()
            && self.pending_unknown.is_none()
            && self.left_out == 0
            && self.balances_failure.is_none()
            && parts.into_iter().flatten().all(NotOpened::is_complete)
    }
}

impl Report {
    /// Entries that were not in the copy before.
    #[must_use]
    pub fn new_entries(&self) -> u64 {
        self.accounts.iter().map(|account| account.new).sum()
    }

    /// Parts that the bank did not give, with the reason: for
    /// [`ConsentManager::handle_error`](crate::consent_manager::ConsentManager::handle_error).
    pub fn bank_errors(&self) -> impl Iterator<Item = &Error> {
        let of_accounts = self.accounts.iter().flat_map(|account| {
            let failure = match &account.failure {
                Some(SyncError::Bank(error)) => Some(error),
                _ => None,
            };
            let parts = account
                .pending_unknown
                .iter()
                .chain(&account.balances_failure);
            failure.into_iter().chain(parts)
        });
        self.failures.iter().chain(of_accounts)
    }

    /// All that is not as the standard has it, of every answer. What could not be read is not in
    /// the copy; what was in it of that stays.
    #[must_use]
    pub fn all_deviations(&self) -> Deviations {
        let mut all = self.deviations.clone();
        for account in &self.accounts {
            all.append(account.deviations.clone());
        }
        all
    }

    /// Whether all that the consent opens was read to the end, and nothing of it left out because
    /// it could not be read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
            && self.deviations.left_out() == 0
            && self.accounts.iter().all(AccountReport::is_complete)
    }
}
