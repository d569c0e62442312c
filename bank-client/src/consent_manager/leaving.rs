//! Giving consents up at the bank, and connections with them.

use super::ConnectionId;
use super::life::Current;
use super::record::Asking;
use super::{ConsentManager, ManagerError, TRIES, is_conflict};
use crate::bank::Bank;
use crate::error::Error;
use crate::store::{Kind, Owner, Version};

impl ConsentManager {
    /// Gives a connection up: its consents at the bank first, then what is kept here, its tokens included.
    ///
    /// From the first moment on nothing is read under it. Every consent is tried, the one under which was read first; one
    /// that the bank does not know any more is given up. Where the bank cannot be told of some, the answer is
    /// [`ManagerError::NotGivenUp`] and the connection is [`Leaving`](super::ConnectionStatus::Leaving): another call goes on with
    /// these, and [`forget`](Self::forget) does without the bank.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _turn = self.turn(id).await?;
        let mut had_ended = false;
        self.change(id, |connection| {
            had_ended = matches!(connection.life.current, Current::Over(_));
            connection.leave().then_some(())
        })
        .await?;
        for _ in 0..TRIES {
            let (connection, seen) = match self.load(id).await {
                Err(ManagerError::NoSuchConnection(_)) => return Ok(()),
                found => found?,
            };
            if connection.life.current != Current::Leaving {
                // It was connected anew meanwhile, and what was to be given up still is.
                return Ok(());
            }
            let bank = self.managed(&connection.bank)?;
            let mut errors = Vec::new();
            if let Some(asking) = &connection.asking {
                match self.recall(id, bank, asking).await {
                    Ok(()) => continue,
                    Err(ManagerError::Bank(error)) => errors.push(error),
                    Err(error) => return Err(error),
                }
            }
            let left = give_up_all(bank, &connection.to_give_up, had_ended).await;
            if errors.is_empty() && left.is_empty() {
                // What another process has written meanwhile is to be given up as well.
                if self.remove_as_seen(id, seen).await? {
                    tracing::info!(bank = %connection.bank, connection = %id, "the connection is given up");
                    return Ok(());
                }
                continue;
            }
            self.given_up(id, &connection.to_give_up, &left).await?;
            errors.extend(left.into_iter().map(|(_, error)| error));
            return Err(ManagerError::NotGivenUp { errors });
        }
        Err(ManagerError::Busy)
    }

    /// A consent was asked for, and the answer is not known: the same request tells which one it is, so that it can be given
    /// up.
    pub(super) async fn recall(
        &self,
        id: &ConnectionId,
        bank: &Bank,
        asking: &Asking,
    ) -> Result<(), ManagerError> {
        let consent = match asking.send(bank).await {
            Ok(asked) => Some(asked.consent.consent_id),
            Err(error) if error.is_refusal() => None,
            Err(error) => return Err(error.into()),
        };
        self.change(id, |now| {
            now.is_asking(asking.request_id).then(|| {
                now.asking = None;
                now.to_give_up.extend(consent.clone());
            })
        })
        .await?;
        Ok(())
    }

    /// Gives up at the bank what serves nothing more. What the bank does not answer to is left for the next time.
    pub(super) async fn tidy(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let (connection, _) = self.load(id).await?;
        if connection.to_give_up.is_empty() {
            return Ok(());
        }
        let bank = self.managed(&connection.bank)?;
        // The bank was asked just now where that consent stands, and has answered.
        let heard = connection.life.current == Current::Serving;
        let left = give_up_all(bank, &connection.to_give_up, heard).await;
        self.given_up(id, &connection.to_give_up, &left).await
    }

    /// Of these consents, what is not left needs not be given up any more.
    async fn given_up(
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
                let before = connection.to_give_up.len();
                connection.to_give_up.retain(|other| !done.contains(&other));
                let fewer = before - connection.to_give_up.len();
                (fewer > 0).then_some(fewer)
            })
            .await?;
        if let Some(consents) = changed {
            tracing::info!(bank = %connection.bank, connection = %id, consents, "consents that serve nothing more are given up at the bank");
        }
        Ok(())
    }

    /// Forgets a connection, with its tokens, and does not tell the bank: for a bank that is not there any more.
    pub async fn forget(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _turn = self.turn(id).await?;
        self.load(id).await?;
        self.remove(id).await
    }

    /// Removes a connection, whoever has changed it meanwhile.
    async fn remove(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        for _ in 0..TRIES {
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

    /// Removes a connection, its tokens first, if it is still as it was seen. Says whether it was.
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

/// Gives up all of them, the newest first, whatever becomes of each. Returns those of which the bank could not be told.
///
/// A denial without a code is about that consent alone if the bank answers us otherwise: it has `heard` us before, or does so
/// now.
async fn give_up_all<'a>(
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
