//! Reads under a connection, and the handling of reads that the bank refuses.

use std::future::Future;

use chrono::{DateTime, Utc};

use super::ConnectionId;
use super::lifecycle::EndReason;
use super::refusal::{self, RefusalMeaning};
use super::{Attendance, ConnectionStatus, ConsentManager, ManagerError, Renewal};
use crate::accounts::AccountInformation;
use crate::error::Error;

/// Consequence of a failed read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Read again: the connection serves, perhaps under another consent.
    Again,
    /// Without the customer, read again from then on.
    UsedUp {
        /// The time.
        again: DateTime<Utc>,
    },
    /// There is nothing to read under any more.
    Over(ConnectionStatus),
    /// The bank has refused because of the consent, and could not be asked about it: nothing has
    /// changed. Try again later.
    Unclear,
    /// It has nothing to do with the consent.
    Unrelated,
}

/// Attempts of one read that fails because of the consent.
const MAX_READ_ATTEMPTS: usize = 3;

impl ConsentManager {
    /// Returns a handle to read with. One call is one run over all that is to be read: with no
    /// customer present it is counted, and refused once the consent allows no more on the bank's
    /// day. [`next_unattended`](Self::next_unattended) returns when the next one is due.
    ///
    /// The bank is not asked. Where a read fails, see [`handle_error`](Self::handle_error), or take
    /// [`read`](Self::read), which does both.
    pub async fn reading(
        &self,
        id: &ConnectionId,
        attendance: Attendance,
    ) -> Result<AccountInformation, ManagerError> {
        let Attendance::Unattended = attendance else {
            return self.handle(id, attendance).await;
        };
        let (connection, counted) = self
            .change(id, |connection| {
                let (now, zone) = (self.now(), self.zone(&connection.bank));
                let reads_per_day = connection.serving(now, zone)?.reads_per_day;
                if connection
                    .usage
                    .used_up_until(now, reads_per_day, zone)
                    .is_some()
                {
                    return None;
                }
                connection.usage.count(now, zone);
                Some(())
            })
            .await?;
        match (counted, self.status_of_connection(&connection)) {
            (Some(()), _) => self.handle(id, attendance).await,
            (None, ConnectionStatus::UsedUp { again, .. }) => Err(ManagerError::UsedUp { again }),
            (None, status) => Err(ManagerError::NotServing(status)),
        }
    }

    /// Runs a read. If the bank refuses it because of the consent, the consent's status is checked;
    /// if the connection serves, `what` is retried, possibly under a new consent, up to three times
    /// in all. All attempts count as one run.
    pub async fn read<T, F: Future<Output = Result<T, Error>>>(
        &self,
        id: &ConnectionId,
        attendance: Attendance,
        what: impl Fn(AccountInformation) -> F,
    ) -> Result<T, ManagerError> {
        let mut handle = match self.reading(id, attendance).await {
            // It may have been approved meanwhile.
            Err(ManagerError::NotServing(status))
                if status == ConnectionStatus::Waiting
                    || status.renewal() == Some(Renewal::Waiting) =>
            {
                self.follow(id).await?;
                self.reading(id, attendance).await?
            }
            // That the bank does not know it may have been a mistake of the bank's.
            Err(ManagerError::NotServing(
                status @ ConnectionStatus::Ended {
                    reason: EndReason::Gone,
                    ..
                },
            )) => match self.follow(id).await {
                Ok(again) if again.is_serving() => self.reading(id, attendance).await?,
                _ => return Err(ManagerError::NotServing(status)),
            },
            outcome => outcome?,
        };
        let mut tried = 1;
        loop {
            let error = match what(handle).await {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            if tried == 1 && attendance == Attendance::Unattended && error.is_unasked() {
                self.uncount_read(id).await?;
            }
            handle = match self.handle_error(id, &error).await? {
                Verdict::Again if tried < MAX_READ_ATTEMPTS => self.handle(id, attendance).await?,
                Verdict::UsedUp { again } => return Err(ManagerError::UsedUp { again }),
                Verdict::Over(status) => return Err(ManagerError::NotServing(status)),
                _ => return Err(error.into()),
            };
            tried += 1;
        }
    }

    /// The bank was never asked in the run that was counted last ([`Error::is_unasked`] of its
    /// first question): it does not count. [`read`](Self::read) does so by itself.
    pub async fn uncount_read(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        self.change(id, |connection| {
            connection.usage.uncount();
            Some(())
        })
        .await?;
        Ok(())
    }

    /// Updates the connection after a failed read, and returns what follows.
    ///
    /// If the error may mean that the consent has ended, its status is requested once: a bank can
    /// be wrong for a moment. If it is valid, the connection stays in use. If a new consent was
    /// approved, it replaces the old one. An error about our certificate ends no consent.
    pub async fn handle_error(
        &self,
        id: &ConnectionId,
        error: &Error,
    ) -> Result<Verdict, ManagerError> {
        let reasons = error.kind.label();
        match refusal::of(error) {
            RefusalMeaning::Unrelated => Ok(Verdict::Unrelated),
            RefusalMeaning::UsedUp(wait) => {
                let (connection, again) = self
                    .change(id, |connection| {
                        let zone = self.zone(&connection.bank);
                        Some(connection.usage.refused(self.now(), wait, zone))
                    })
                    .await?;
                let again = again.unwrap_or_else(|| self.now());
                tracing::warn!(bank = %connection.bank, connection = %id, %reasons, %again, "unattended reads used up, as reported by the bank");
                Ok(Verdict::UsedUp { again })
            }
            said @ (RefusalMeaning::ConsentEnded | RefusalMeaning::Ambiguous) => {
                let _guard = self.lock(id).await?;
                let (connection, _) = self.load(id).await?;
                tracing::warn!(bank = %connection.bank, connection = %id, %reasons, "read refused because of the consent, checking its status");
                match self.poll_after_refusal(id).await {
                    Ok(status) if status.is_serving() && said == RefusalMeaning::Ambiguous => {
                        Ok(Verdict::Unrelated)
                    }
                    Ok(status) if status.is_serving() => {
                        tracing::info!(bank = %connection.bank, connection = %id, "consent still valid, retrying the read");
                        Ok(Verdict::Again)
                    }
                    Ok(status) => Ok(Verdict::Over(status)),
                    Err(ManagerError::Bank(error)) => {
                        let reasons = error.kind.label();
                        tracing::warn!(bank = %connection.bank, connection = %id, %reasons, "consent status unavailable, connection unchanged");
                        Ok(Verdict::Unclear)
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn poll_after_refusal(
        &self,
        id: &ConnectionId,
    ) -> Result<ConnectionStatus, ManagerError> {
        // At many banks, the approval of a new one ends the old one.
        if self.poll_pending(id).await? {
            self.terminate_obsolete(id).await?;
        } else {
            self.poll_active(id, true).await?;
        }
        self.status(id).await
    }

    /// Returns a handle to read with, uncounted.
    async fn handle(
        &self,
        id: &ConnectionId,
        attendance: Attendance,
    ) -> Result<AccountInformation, ManagerError> {
        let (connection, _) = self.load(id).await?;
        let bank = self.bank_handle(&connection.bank)?;
        let Some(active) = connection.serving(self.now(), self.zone(&connection.bank)) else {
            return Err(ManagerError::NotServing(
                self.status_of_connection(&connection),
            ));
        };
        let handle = bank.with_consent(&active.consent);
        Ok(match attendance {
            Attendance::Attended(psu) => handle.psu_ip_address(psu),
            Attendance::Unattended => handle,
        })
    }
}
