//! Disconnection: termination of consents at the bank, and removal of the connection.

use super::ConnectionId;
use super::lifecycle::Current;
use super::record::PendingRequest;
use super::{ConsentManager, MAX_CONFLICT_RETRIES, ManagerError, is_conflict};
use crate::bank::Bank;
use crate::error::Error;
use crate::store::{Kind, Owner, Version};

impl ConsentManager {
    /// Gives a connection up: its consents at the bank first, then what is kept here, its tokens
    /// included.
    ///
    /// Nothing is read under it any more. All its consents are deleted at the bank, the one in use
    /// first. A consent that the bank no longer knows counts as deleted. If some cannot be deleted,
    /// this fails with [`ManagerError::NotGivenUp`] and the connection is
    /// [`Leaving`](super::ConnectionStatus::Leaving): another call tries these again, and
    /// [`forget`](Self::forget) removes the connection without the bank.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _guard = self.lock(id).await?;
        let mut had_ended = false;
        self.change(id, |connection| {
            had_ended = matches!(connection.lifecycle.current, Current::Ended(_));
            connection.leave().then_some(())
        })
        .await?;
        for _ in 0..MAX_CONFLICT_RETRIES {
            let (connection, seen) = match self.load(id).await {
                Err(ManagerError::NoSuchConnection(_)) => return Ok(()),
                found => found?,
            };
            if connection.lifecycle.current != Current::Leaving {
                // It was connected anew meanwhile, and what was to be given up still is.
                return Ok(());
            }
            let bank = self.bank_handle(&connection.bank)?;
            let mut errors = Vec::new();
            if let Some(pending) = &connection.pending {
                match self.resolve_unanswered(id, bank, pending).await {
                    Ok(()) => continue,
                    Err(ManagerError::Bank(error)) => errors.push(error),
                    Err(error) => return Err(error),
                }
            }
            let left = terminate_all(bank, &connection.to_terminate, had_ended).await;
            if errors.is_empty() && left.is_empty() {
                // What another process has written meanwhile is to be given up as well.
                if self.remove_as_seen(id, seen).await? {
                    tracing::info!(bank = %connection.bank, connection = %id, "connection removed");
                    return Ok(());
                }
                continue;
            }
            self.remove_terminated(id, &connection.to_terminate, &left)
                .await?;
            errors.extend(left.into_iter().map(|(_, error)| error));
            return Err(ManagerError::NotGivenUp { errors });
        }
        Err(ManagerError::Busy)
    }

    /// Repeats an unanswered consent request to learn the consent's id, so that it can be
    /// terminated.
    pub(super) async fn resolve_unanswered(
        &self,
        id: &ConnectionId,
        bank: &Bank,
        pending: &PendingRequest,
    ) -> Result<(), ManagerError> {
        let consent = match pending.send(bank).await {
            Ok(asked) => Some(asked.consent.consent_id),
            Err(error) if error.is_refusal() => None,
            Err(error) => return Err(error.into()),
        };
        self.change(id, |now| {
            now.is_pending(pending.request_id).then(|| {
                now.pending = None;
                now.to_terminate.extend(consent.clone());
            })
        })
        .await?;
        Ok(())
    }

    /// Terminates obsolete consents at the bank. Those that fail are retried the next time.
    pub(super) async fn terminate_obsolete(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let (connection, _) = self.load(id).await?;
        if connection.to_terminate.is_empty() {
            return Ok(());
        }
        let bank = self.bank_handle(&connection.bank)?;
        // The bank was asked just now where that consent stands, and has answered.
        let heard = connection.lifecycle.current == Current::Serving;
        let left = terminate_all(bank, &connection.to_terminate, heard).await;
        self.remove_terminated(id, &connection.to_terminate, &left)
            .await
    }

    /// Removes the terminated consents from the record: all that were tried and are not left.
    async fn remove_terminated(
        &self,
        id: &ConnectionId,
        tried: &[String],
        left: &[(&str, Error)],
    ) -> Result<(), ManagerError> {
        let done: Vec<&String> = tried
            .iter()
            .filter(|consent| left.iter().all(|(other, _)| other != consent))
            .collect();
        let (connection, changed) = self
            .change(id, |connection| {
                let before = connection.to_terminate.len();
                connection
                    .to_terminate
                    .retain(|other| !done.contains(&other));
                let fewer = before - connection.to_terminate.len();
                (fewer > 0).then_some(fewer)
            })
            .await?;
        if let Some(consents) = changed {
            tracing::info!(bank = %connection.bank, connection = %id, consents, "obsolete consents terminated at the bank");
        }
        Ok(())
    }

    /// Deletes a connection and its tokens without a request to the bank: for a bank that no longer
    /// exists.
    pub async fn forget(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _guard = self.lock(id).await?;
        self.load(id).await?;
        self.remove(id).await
    }

    /// Removes a connection, whatever other processes have changed meanwhile.
    async fn remove(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        for _ in 0..MAX_CONFLICT_RETRIES {
            let (_, seen) = match self.load(id).await {
                Err(ManagerError::NoSuchConnection(_)) => return Ok(()),
                found => found?,
            };
            if self.remove_as_seen(id, seen).await? {
                return Ok(());
            }
        }
        Err(ManagerError::Busy)
    }

    /// Removes a connection, its tokens first, if it is still as it was seen. Returns whether it
    /// was.
    pub(super) async fn remove_as_seen(
        &self,
        id: &ConnectionId,
        seen: Version,
    ) -> Result<bool, ManagerError> {
        self.remove_tokens(id).await?;
        let sealed = &self.inner.sealed;
        match sealed.remove(Kind::Connection, &id.to_string(), seen).await {
            Ok(()) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn remove_tokens(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let tokens = Owner::Connection(id.clone()).prefix();
        Ok(self.inner.sealed.remove_all(Kind::Token, &tokens).await?)
    }
}

/// Terminates all consents, the newest first. Returns those that failed, with the error.
///
/// A denial without a code is about that consent alone if the bank answers us otherwise: it has
/// `heard` us before, or does so now.
async fn terminate_all<'a>(
    bank: &Bank,
    consents: &'a [String],
    mut heard: bool,
) -> Vec<(&'a str, Error)> {
    let mut left = Vec::new();
    for consent in consents.iter().rev() {
        match bank.end_consent(consent).await {
            Ok(()) => heard = true,
            Err(error) => left.push((consent.as_str(), error)),
        }
    }
    left.retain(|(_, error)| !(heard && error.is_bare_denial()));
    left
}
