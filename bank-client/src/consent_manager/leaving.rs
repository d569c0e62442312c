//! Giving a connection up.

use super::asking::give_up;
use super::life::{Current, Event};
use super::record::ConnectionId;
use super::{ConsentManager, ManagerError};
use crate::store::{Kind, Owner, RecordError, StoreError};

impl ConsentManager {
    /// Gives a connection up: its consents at the bank first, then what is kept here, its tokens included.
    ///
    /// From the first moment on nothing is read under it. If the bank cannot be told, the answer is an error and the
    /// connection is [`Leaving`](super::Standing::Leaving): another call goes on from there, and
    /// [`forget`](Self::forget) does without the bank.
    pub async fn disconnect(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _turn = self.turn(id).await?;
        let (connection, _) = self
            .change(id, |connection| {
                if !connection.meet(Event::Left) {
                    return None;
                }
                let held = connection.held.take().map(|held| held.consent);
                let asked = connection.asking.take().and_then(|asking| asking.answer);
                let asked = asked.map(|answer| answer.consent);
                connection.to_give_up.extend(held.into_iter().chain(asked));
                Some(())
            })
            .await?;
        debug_assert_eq!(connection.life.current, Current::Leaving);
        let bank = &self.managed(&connection.bank)?.bank;
        for consent in &connection.to_give_up {
            if !give_up(bank, consent).await {
                // What it says is worth more than that it did not.
                bank.delete_consent(consent).await?;
            }
        }
        self.remove(id).await?;
        tracing::info!(bank = %connection.bank, connection = %id, "the connection is given up");
        Ok(())
    }

    /// Forgets a connection, with its tokens, and does not tell the bank: for a bank that is not there any more.
    pub async fn forget(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let _turn = self.turn(id).await?;
        self.load(id).await?;
        self.remove(id).await
    }

    pub(super) async fn remove(&self, id: &ConnectionId) -> Result<(), ManagerError> {
        let sealed = &self.inner.sealed;
        let tokens = Owner::Connection(id.clone()).prefix();
        sealed.remove_all(Kind::Token, &tokens).await?;
        loop {
            let (_, seen) = match self.load(id).await {
                Err(ManagerError::NoSuchConnection(_)) => return Ok(()),
                found => found?,
            };
            match sealed.remove(Kind::Connection, &id.to_string(), seen).await {
                Err(RecordError::Store(StoreError::Conflict)) => {}
                outcome => return Ok(outcome?),
            }
        }
    }
}
