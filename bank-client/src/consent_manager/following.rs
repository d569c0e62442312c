//! Learning from the bank what has become of a consent.

use chrono::TimeDelta;
use shared_types::xs2a::consent::ConsentStatus;

use super::ConnectionId;
use super::asking::Before;
use super::life::{Current, Ending, Event, Next, of_current, of_next};
use super::record::Held;
use super::usage::day_of;
use super::{ConnectionStatus, ConsentManager, ManagerError, refusal};
use crate::authorisations::NextStep;
use crate::bank::Bank;
use crate::error::{Error, ErrorKind};

/// A consent that is `rejected` sooner than that was refused, and not left lying.
const LEFT_LYING: TimeDelta = TimeDelta::minutes(20);

impl ConsentManager {
    /// Asks the bank where the consents of a connection stand, and acts upon it: a new one that is approved takes the place
    /// of the old one, at once, and the old one is given up at the bank.
    pub async fn follow(&self, id: &ConnectionId) -> Result<ConnectionStatus, ManagerError> {
        let _turn = self.turn(id).await?;
        self.follow_in_turn(id).await
    }

    pub(super) async fn follow_in_turn(
        &self,
        id: &ConnectionId,
    ) -> Result<ConnectionStatus, ManagerError> {
        let (connection, _) = self.load(id).await?;
        if connection.life.current == Current::Leaving {
            return Ok(ConnectionStatus::Leaving);
        }
        if connection.life.next == Next::Intended && self.is_abandoned(&connection) {
            self.ask(id, Before::Perhaps).await?;
        }
        if !self.look_at_next(id).await? {
            self.look_at_current(id, false).await?;
        }
        self.tidy(id).await?;
        self.standing(id).await
    }

    /// Asks where the consent stands that waits for the customer. Says whether it is approved, and has taken the place of
    /// the other.
    pub(super) async fn look_at_next(&self, id: &ConnectionId) -> Result<bool, ManagerError> {
        let (connection, _) = self.load(id).await?;
        let Some((asking, answer)) = connection.waiting() else {
            return Ok(false);
        };
        let handle = self.managed(&connection.bank)?;
        let now = self.now();
        let seen = asking.returned || now - asking.since < LEFT_LYING;
        let event = match status_of(handle, &answer.consent, false).await? {
            Word::Status(status) => of_next(status, seen),
            Word::NotKnown => Some(Event::Lapsed),
            Word::Odd => None,
        };
        let request_id = asking.request_id;
        let is_first = connection.held.is_none();
        let bank = &connection.bank;
        match event {
            None => Ok(false),
            Some(Event::Approved) => {
                let redirected = matches!(NextStep::of(&answer.links, None), NextStep::Redirect(_));
                if self.inner.only_after_return && redirected && !asking.returned {
                    tracing::info!(%bank, connection = %id, "the consent is approved; it counts once the customer is back");
                    return Ok(false);
                }
                // The bank may give less time than was asked for. The status alone says that it is approved.
                let given = match handle.consent(&answer.consent).await {
                    Ok(given) => Some(given.into_inner()),
                    Err(error) if error.is_transient() => return Err(error.into()),
                    Err(error) => {
                        let reasons = error.kind.label();
                        tracing::warn!(%bank, connection = %id, %reasons, "the content of the approved consent cannot be read: taking it as it was asked for");
                        None
                    }
                };
                let excess = given
                    .as_ref()
                    .map(|given| Held::excess(given, &asking.request));
                for field in excess.into_iter().flatten() {
                    tracing::warn!(%bank, connection = %id, field, "the bank gives more than was asked for: taking what was asked for");
                }
                let held = Held::of(&answer.consent, given.as_ref(), &asking.request, now);
                let (_, switched) = self
                    .change(id, |connection| {
                        let held = held.clone();
                        (connection.is_asking(request_id) && connection.switch(held)).then_some(())
                    })
                    .await?;
                if switched.is_some() {
                    let until = held.last_day;
                    let story = if is_first {
                        "the consent is approved"
                    } else {
                        "the new consent is approved, and takes the place of the old one"
                    };
                    tracing::info!(%bank, connection = %id, %until, "{story}");
                }
                Ok(true)
            }
            Some(event) => {
                let (after, failed) = self
                    .change(id, |connection| {
                        (connection.is_asking(request_id) && connection.fail(event)).then_some(())
                    })
                    .await?;
                if failed.is_some() {
                    let standing = self.standing_of(&after);
                    tracing::info!(%bank, connection = %id, "nothing came of the consent that was asked for: the connection {standing}");
                }
                Ok(false)
            }
        }
    }

    /// Asks where the consent stands under which is read, or was until the bank did not know it any more. `denied`: the bank
    /// has refused a read under it just now.
    pub(super) async fn look_at_current(
        &self,
        id: &ConnectionId,
        denied: bool,
    ) -> Result<(), ManagerError> {
        let (connection, _) = self.load(id).await?;
        let Some(held) = connection.held.as_ref() else {
            return Ok(());
        };
        let zone = self.zone(&connection.bank);
        let event = match connection.life.current {
            Current::Serving | Current::Over(Ending::Gone)
                if day_of(self.now(), zone) <= held.last_day =>
            {
                let handle = self.managed(&connection.bank)?;
                match status_of(handle, &held.consent, denied).await? {
                    Word::Status(status) => of_current(status),
                    Word::NotKnown => Event::Ended(Ending::Gone),
                    Word::Odd => return Ok(()),
                }
            }
            Current::Serving => Event::Ended(Ending::Expired),
            _ => return Ok(()),
        };
        let (after, ended) = self
            .change(id, |connection| {
                let same = connection.held.as_ref() == Some(held);
                (same && connection.meet(event)).then_some(())
            })
            .await?;
        if ended.is_some() {
            let standing = self.standing_of(&after);
            tracing::info!(bank = %connection.bank, connection = %id, "the connection {standing}");
        }
        Ok(())
    }
}

/// What a bank says of a consent.
enum Word {
    /// Where it stands.
    Status(ConsentStatus),
    /// The bank does not know it.
    NotKnown,
    /// A status that the standard does not have: it is not taken as approved, nor as ended.
    Odd,
}

/// Where a consent stands at the bank. One that was `denied` for a read, and is denied here too, is not known.
async fn status_of(bank: &Bank, consent: &str, denied: bool) -> Result<Word, Error> {
    match bank.consent_status(consent).await {
        Ok(status) => Ok(Word::Status(status)),
        Err(error) if refusal::is_expired(&error) => Ok(Word::Status(ConsentStatus::Expired)),
        Err(error) if error.is_consent_gone() || denied && error.is_bare_denial() => {
            Ok(Word::NotKnown)
        }
        Err(error) if matches!(error.kind, ErrorKind::UnknownStatus { .. }) => Ok(Word::Odd),
        Err(error) => Err(error),
    }
}
