//! Giving a connection up.

use super::asking::give_up;
use super::record::{Asking, ConnectionId};
use super::{ConsentManager, ManagerError, TRIES, is_conflict};
use crate::bank::Bank;
use crate::store::{Kind, Owner, Version};

impl ConsentManager {
    /// Gives a connection up: its consents at the bank first, then what is kept here, its tokens included.
    ///
    /// From the first moment on nothing is read under it. If the bank cannot be told, the answer is an error and the
    /// connection is [`Leaving`](super::Standing::Leaving): another call goes on from there, and
    /// [`forget`](Self::forget) does without the bank.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _turn = self.turn(id).await?;
        self.change(id, |connection| connection.leave().then_some(()))
            .await?;
        for _ in 0..TRIES {
            let (connection, seen) = match self.load(id).await {
                Err(ManagerError::NoSuchConnection(_)) => return Ok(()),
                found => found?,
            };
            let bank = &self.managed(&connection.bank)?.bank;
            if let Some(asking) = &connection.asking {
                self.recall(id, bank, asking).await?;
                continue;
            }
            for consent in &connection.to_give_up {
                if !give_up(bank, consent).await {
                    // What it says is worth more than that it did not.
                    bank.delete_consent(consent).await?;
                }
            }
            // What another process has written meanwhile is to be given up as well.
            if self.remove_as_seen(id, seen).await? {
                tracing::info!(bank = %connection.bank, connection = %id, "the connection is given up");
                return Ok(());
            }
        }
        Err(ManagerError::Busy)
    }

    /// A consent was asked for, and the answer is not known: the same request tells which one it is, so that it can be given
    /// up.
    async fn recall(
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

    /// Forgets a connection, with its tokens, and does not tell the bank: for a bank that is not there any more.
    pub async fn forget(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _turn = self.turn(id).await?;
        self.load(id).await?;
        self.remove(id).await
    }

    /// Removes a connection, whoever has changed it meanwhile.
    pub(super) async fn remove(&self, id: &ConnectionId) -> Result<(), ManagerError> {
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
    async fn remove_as_seen(&self, id: &ConnectionId, seen: Version) -> Result<bool, ManagerError> {
        let sealed = &self.inner.sealed;
        let tokens = Owner::Connection(id.clone()).prefix();
        sealed.remove_all(Kind::Token, &tokens).await?;
        match sealed.remove(Kind::Connection, &id.to_string(), seen).await {
            Ok(()) => Ok(true),
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
