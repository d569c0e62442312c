//! Client of other banks on behalf of a customer: requesting a consent, checking its status,
//! reading data, ending it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_client::{Bank, Error};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{Days, TimeDelta};
use futures::stream::{StreamExt as _, iter};
use shared_types::environment::Randomness;
use shared_types::pki::digest::sha256;
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{ScaApproach, Secret};
use shared_types::xs2a::consent::{AccountAccess, AllAccounts, ConsentRequest, ConsentStatus};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Instrument as _;
use url::{Host, Url};

use super::connection_error::{ConnectionError, Ending};
use super::fetching::{Fetch, fetch};
use super::handles::{BankClientFactory, OtherBank};
use super::snapshot::Snapshot;
use crate::calendar::Calendar;
use crate::config::{Origin, OtherBankConfig};
use crate::domain::PsuId;
use crate::identity::Licences;
use crate::store::StoreError;
use crate::store::connections::{
    Connection, ConnectionStatus, Connections, NewConnection, RequestedConsent, ReturnOutcome,
};
use crate::transport::trust::Trust;

/// Days for which access is requested: the most that Delegated Regulation (EU) 2018/389, article
/// 10a, allows.
pub(super) const VALIDITY_DAYS: u64 = 180;

/// Reads a day while the customer is absent (article 36).
pub(super) const FREQUENCY_PER_DAY: NonZeroU32 = NonZeroU32::MIN.saturating_add(3);

/// Timeout of reading one other bank, waiting for a permit included.
const TIMEOUT: Duration = Duration::from_secs(12);

/// Banks that are read concurrently, for one customer and for all.
const MAX_CONCURRENT: usize = 4;
const MAX_CONCURRENT_FOR_ALL: usize = 32;

/// Largest snapshot of one consent, in bytes.
const MAX_SNAPSHOT: usize = 8 * 1024 * 1024;

/// Age up to which data is shown without reading it again, unless the customer refreshes it.
const FRESH: TimeDelta = TimeDelta::minutes(5);

/// Age up to which data is shown without reading it again in any case.
const JUST_NOW: TimeDelta = TimeDelta::seconds(10);

/// The accounts that customers hold at other banks.
pub(crate) struct OtherBanks {
    pub(super) banks: Vec<OtherBank>,
    pub(super) connections: Connections,
    factory: BankClientFactory,
    calendar: Calendar,
    origin: Origin,
    permits: Semaphore,
}

/// Parts of [`OtherBanks`].
pub(crate) struct OtherBanksParts {
    pub(crate) banks: Vec<OtherBankConfig>,
    pub(crate) connections: Connections,
    pub(crate) trust: Arc<Trust<Licences>>,
    pub(crate) calendar: Calendar,
    pub(crate) clock: Arc<dyn shared_types::environment::Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    pub(crate) origin: Origin,
}

/// Outcome of a request for a consent.
pub(super) enum Outcome {
    /// It is approved; its data was read, unless the other bank failed.
    Connected,
    /// The customer has declined it, or the other bank has rejected it.
    Refused,
    /// It has expired or was withdrawn.
    Ended,
    /// It is not approved yet.
    Waiting,
    /// The other bank has not returned its status.
    Unclear(ConnectionError),
}

/// Error of a request for a consent.
pub(super) enum ConsentRequestError {
    /// The other bank failed.
    Connection(ConnectionError),
    /// The other bank has no pages on which customers approve.
    NoPages,
    /// A newer request replaced this one, for example from another tab.
    Overtaken,
    /// Our own store failed.
    Store(StoreError),
}

impl From<StoreError> for ConsentRequestError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Refresh policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// On request of the customer.
    Now,
    /// If the data is not fresh.
    Stale,
}

impl OtherBanks {
    pub(crate) fn new(parts: OtherBanksParts) -> Self {
        Self {
            banks: parts.banks.into_iter().map(OtherBank::new).collect(),
            connections: parts.connections,
            factory: BankClientFactory {
                trust: parts.trust,
                clock: parts.clock,
                randomness: parts.randomness,
            },
            calendar: parts.calendar,
            origin: parts.origin,
            permits: Semaphore::new(MAX_CONCURRENT_FOR_ALL),
        }
    }

    /// The configured bank with that organisation id.
    pub(super) fn bank(&self, organisation: &str) -> Option<&OtherBank> {
        let mut banks = self.banks.iter();
        banks.find(|bank| bank.organisation.as_str() == organisation)
    }

    /// Requests a consent to all accounts of a customer. Returns the id of the connection.
    pub(super) async fn request_consent(
        &self,
        bank: &OtherBank,
        psu: &PsuId,
        address: IpAddr,
    ) -> Result<String, ConsentRequestError> {
        // Pressing twice makes one request, and no customer keeps another bank busy.
        if let Some(id) = self.requested_just_now(bank, psu).await? {
            return Ok(id);
        }
        let randomness = self.factory.randomness.as_ref();
        let id = randomness.uuid().to_string();
        let state = URL_SAFE_NO_PAD.encode([randomness.bytes(), randomness.bytes()].concat());
        let digest = sha256(state.as_bytes());
        let new = NewConnection {
            id: &id,
            psu,
            bank: &bank.organisation,
            state: &digest,
            now: self.calendar.now(),
        };
        if let Some(earlier) = self.connections.begin(&new).await? {
            self.give_up_later(&earlier);
        }
        let requested = match self.send_request(bank, &state, address).await {
            Ok(requested) => requested,
            Err(error) => {
                self.connections.forget(psu, &id).await?;
                return Err(error);
            }
        };
        if self.connections.asked(&new, &requested).await? {
            Ok(id)
        } else {
            self.give_up_consent_later(&bank.organisation, requested.consent);
            Err(ConsentRequestError::Overtaken)
        }
    }

    async fn requested_just_now(
        &self,
        bank: &OtherBank,
        psu: &PsuId,
    ) -> Result<Option<String>, StoreError> {
        let now = self.calendar.now();
        let connections = self.connections.of(psu).await?;
        let asked = connections.into_iter().find(|one| {
            one.status == ConnectionStatus::Requested
                && one.bank == bank.organisation
                && one.link.is_some()
                && one.returned.is_none()
                && (now - one.begun).abs() < JUST_NOW
        });
        Ok(asked.map(|one| one.id))
    }

    async fn send_request(
        &self,
        bank: &OtherBank,
        state: &str,
        address: IpAddr,
    ) -> Result<RequestedConsent, ConsentRequestError> {
        let handle = self.handle(bank).map_err(ConsentRequestError::Connection)?;
        let today = self.calendar.today();
        let last_day = today.checked_add_days(Days::new(VALIDITY_DAYS));
        let wanted = ConsentRequest {
            access: AccountAccess {
                all_psd2: Some(AllAccounts::AllAccounts),
                ..AccountAccess::default()
            },
            recurring_indicator: true,
            valid_until: last_day.unwrap_or(today),
            frequency_per_day: FREQUENCY_PER_DAY,
            combined_service_indicator: false,
        };
        let way_back = self.origin.page(&format!("/other-banks/return/{state}"));
        let options = ApprovalOptions::new()
            .prefer(ScaApproach::Redirect)
            .return_to(&way_back)
            .return_to_if_refused(&way_back);
        let asked = handle.ask_for_consent(&wanted, address, &options).await;
        let asked = asked.map_err(|error| ConsentRequestError::Connection(logged(&error)))?;
        let authorisation = asked.authorisation_id().map(str::to_owned);
        let next = asked.next();
        let consent = asked.consent.consent_id;
        match next {
            NextStep::Redirect(link) if is_allowed_link(&link) => Ok(RequestedConsent {
                consent,
                authorisation,
                link,
            }),
            _ => {
                self.give_up_consent_later(&bank.organisation, consent);
                Err(ConsentRequestError::NoPages)
            }
        }
    }

    /// Processes the return of a customer from another bank.
    pub(super) async fn come_back(
        &self,
        psu: &PsuId,
        state: &str,
    ) -> Result<ReturnOutcome, StoreError> {
        let digest = sha256(state.as_bytes());
        let now = self.calendar.now();
        let back = self.connections.come_back(psu, &digest, now).await?;
        if let ReturnOutcome::Foreign(connection) = &back {
            // The customer who requested it must not see the accounts of another who approved it.
            tracing::warn!(
                "return from another bank rejected: not the customer who requested the consent"
            );
            self.give_up_later(connection);
        }
        Ok(back)
    }

    /// Reads the status of a consent from the other bank, and connects or forgets it. Of the
    /// request of the browser, only the confirmation code is used.
    ///
    /// Call it only after the customer has returned: the link could have been sent to another
    /// person.
    pub(super) async fn settle(
        &self,
        bank: &OtherBank,
        asked: &Connection,
        code: Option<&str>,
        address: IpAddr,
    ) -> Result<Outcome, StoreError> {
        let Some(consent) = asked.consent.as_deref() else {
            // The request for it failed.
            self.connections.forget(&asked.psu, &asked.id).await?;
            return Ok(Outcome::Ended);
        };
        let handle = match self.handle(bank) {
            Ok(handle) => handle,
            Err(connection_error) => return Ok(Outcome::Unclear(connection_error)),
        };
        if let Some((code, authorisation)) = code.zip(asked.authorisation.as_deref()) {
            confirm(&handle, consent, authorisation, code).await;
        }
        let status = match handle.consent_status(consent).await {
            Ok(status) => status,
            Err(error) if error.is_consent_gone() => ConsentStatus::Expired,
            Err(error) => return Ok(Outcome::Unclear(logged(&error))),
        };
        let ended = match status {
            ConsentStatus::Received | ConsentStatus::PartiallyAuthorised => {
                return Ok(Outcome::Waiting);
            }
            ConsentStatus::Valid => return self.connect(&handle, asked, consent, address).await,
            ConsentStatus::Rejected => Outcome::Refused,
            ConsentStatus::Expired
            | ConsentStatus::RevokedByPsu
            | ConsentStatus::TerminatedByTpp => Outcome::Ended,
        };
        self.connections.forget(&asked.psu, &asked.id).await?;
        Ok(ended)
    }

    /// Replaces an earlier consent by the approved one, and reads all data.
    async fn connect(
        &self,
        handle: &Bank,
        asked: &Connection,
        consent: &str,
        address: IpAddr,
    ) -> Result<Outcome, StoreError> {
        // The other bank may grant less time than was requested. Where its response has no end, or
        // cannot be read, it is the requested one: the status has decided on the consent itself.
        let given = match handle.consent(consent).await {
            Ok(information) => information.valid_until,
            Err(error) if error.is_transient() => return Ok(Outcome::Unclear(logged(&error))),
            Err(error) => {
                logged(&error);
                None
            }
        };
        let asked_on = asked.begun.date_naive();
        let last_day = given
            .or_else(|| asked_on.checked_add_days(Days::new(VALIDITY_DAYS)))
            .unwrap_or(asked_on);
        for earlier in self.connections.take_over(asked, last_day).await? {
            self.give_up_later(&earlier);
        }
        // Right after the approval, all history can be read.
        if let Some(running) = self.connections.find(&asked.psu, &asked.id).await? {
            self.read(&running, None, Some(address)).await?;
        }
        Ok(Outcome::Connected)
    }

    /// Reads stale data, from several banks concurrently, while the customer is present.
    pub(super) async fn refresh(
        &self,
        connections: &[Connection],
        when: When,
        address: IpAddr,
    ) -> Result<(), StoreError> {
        let now = self.calendar.now();
        let fresh = match when {
            When::Now => JUST_NOW,
            When::Stale => FRESH,
        };
        let due = connections.iter().filter(|connection| {
            connection.status == ConnectionStatus::Active
                && connection
                    .tried
                    .is_none_or(|tried| (now - tried).abs() >= fresh)
        });
        let read = due.map(|connection| async move {
            let known = known(connection);
            self.read(connection, known.as_ref(), Some(address)).await
        });
        let read: Vec<_> = iter(read).buffer_unordered(MAX_CONCURRENT).collect().await;
        read.into_iter().collect()
    }

    /// Reads connections while their customers are absent, as often as their consents allow.
    pub(crate) async fn refresh_unattended(&self) -> Result<(), StoreError> {
        let apart =
            TimeDelta::hours(24) / i32::try_from(FREQUENCY_PER_DAY.get()).unwrap_or(i32::MAX);
        let now = self.calendar.now();
        let before = now - apart;
        for id in self.connections.due(before, now, 100).await? {
            let now = self.calendar.now();
            match self.connections.claim(&id, before, now).await {
                Ok(Some(connection)) => {
                    let known = known(&connection);
                    self.read(&connection, known.as_ref(), None).await?;
                }
                Ok(None) => {}
                // An error of one connection does not stop the others.
                Err(error) if !error.is_transient() => {
                    tracing::error!(connection = id, %error, "connection to another bank not read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads one connection, and stores the result.
    async fn read(
        &self,
        connection: &Connection,
        known: Option<&Snapshot>,
        psu: Option<IpAddr>,
    ) -> Result<(), StoreError> {
        let found = match timeout(TIMEOUT, self.fetch(connection, known, psu)).await {
            Ok(found) => found,
            Err(_) => Err(ReadError::Connection(ConnectionError::Slow)),
        };
        let now = self.calendar.now();
        let error = match found {
            Ok(snapshot) => {
                let data = serde_json::to_vec(&snapshot)
                    .map_err(|_| StoreError::corrupt("connection.data"))?;
                if data.len() <= MAX_SNAPSHOT {
                    return self.connections.keep(connection, &data, now).await;
                }
                ConnectionError::Faulty
            }
            Err(ReadError::Connection(error)) => error,
            Err(ReadError::Ended(ending)) => {
                return self.connections.end(connection, ending.name(), now).await;
            }
        };
        self.connections.failed(connection, error.name(), now).await
    }

    async fn fetch(
        &self,
        connection: &Connection,
        known: Option<&Snapshot>,
        psu: Option<IpAddr>,
    ) -> Result<Snapshot, ReadError> {
        let gone = ReadError::Ended(Ending::Gone);
        let bank = self.bank(connection.bank.as_str());
        let Some((bank, consent)) = bank.zip(connection.consent.as_deref()) else {
            return Err(gone);
        };
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| ReadError::Connection(ConnectionError::Slow))?;
        let handle = self.handle(bank).map_err(ReadError::Connection)?;
        let parameters = Fetch {
            bank: &handle,
            consent,
            psu,
            known,
            today: self.calendar.today(),
        };
        let error = match fetch(&parameters).await {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) => error,
        };
        let connection_error = logged(&error);
        if !error.is_refusal() {
            return Err(ReadError::Connection(connection_error));
        }
        // The refusal may concern the consent or the request. Two without a reason concern the
        // consent.
        match handle.consent_status(consent).await {
            Ok(ConsentStatus::Valid) => Err(ReadError::Connection(connection_error)),
            Ok(status) => Err(ReadError::Ended(Ending::of(status))),
            Err(again) if again.is_consent_gone() => Err(gone),
            Err(again) if again.is_bare_denial() && error.is_bare_denial() => Err(gone),
            Err(_) => Err(ReadError::Connection(connection_error)),
        }
    }

    /// Forgets a connection with its data, and deletes its consent. Returns whether the other bank
    /// has confirmed that.
    pub(super) async fn disconnect(&self, connection: &Connection) -> Result<bool, StoreError> {
        self.connections
            .forget(&connection.psu, &connection.id)
            .await?;
        let Some(consent) = connection.consent.as_deref() else {
            return Ok(true);
        };
        let bank = self.bank(connection.bank.as_str());
        let Some(Ok(handle)) = bank.map(|bank| self.handle(bank)) else {
            return Ok(false);
        };
        let ended = handle.end_consent(consent).await;
        Ok(ended.map_err(|error| logged(&error)).is_ok())
    }

    /// Deletes the consent of a forgotten connection in the background. If that fails, the consent
    /// expires.
    fn give_up_later(&self, connection: &Connection) {
        if let Some(consent) = connection.consent.clone() {
            self.give_up_consent_later(&connection.bank, consent);
        }
    }

    fn give_up_consent_later(&self, bank: &OrganisationId, consent: String) {
        let bank = self.bank(bank.as_str());
        if let Some(Ok(handle)) = bank.map(|bank| self.handle(bank)) {
            let giving_up = async move {
                if let Err(error) = handle.end_consent(&consent).await {
                    tracing::info!(%error, "consent at another bank not deleted");
                }
            };
            tokio::spawn(giving_up.in_current_span());
        }
    }

    fn handle(&self, bank: &OtherBank) -> Result<Bank, ConnectionError> {
        bank.handle(&self.factory).map_err(|error| {
            tracing::error!(%error, bank = bank.name, "no client for another bank");
            ConnectionError::Faulty
        })
    }
}

/// Error of a read.
enum ReadError {
    Connection(ConnectionError),
    Ended(Ending),
}

/// Sends the confirmation code of the customer's browser. The consent's status shows the result.
async fn confirm(bank: &Bank, consent: &str, authorisation: &str, code: &str) {
    let Ok(code) = Secret::new(code) else {
        return;
    };
    if let Err(error) = bank.confirm(consent, authorisation, code).await {
        logged(&error);
    }
}

/// Logs an error, and returns it as the customer sees it.
fn logged(error: &Error) -> ConnectionError {
    tracing::warn!(%error, "request to another bank failed");
    ConnectionError::of(error)
}

/// Stored snapshot of a connection. One that cannot be decoded is logged and counts as missing.
pub(super) fn known(connection: &Connection) -> Option<Snapshot> {
    let data = connection.data.as_deref()?;
    let read = Snapshot::read(data).inspect_err(|fault| {
        let (connection, bank) = (&connection.id, &connection.bank);
        tracing::error!(connection, %bank, %fault, "stored data of another bank unreadable");
    });
    read.ok()
}

/// Whether a browser may be sent to a link: with TLS, or on this machine.
fn is_allowed_link(link: &str) -> bool {
    let Ok(url) = Url::parse(link) else {
        return false;
    };
    let local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    link.len() <= 2000 && (url.scheme() == "https" || url.scheme() == "http" && local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_local_links_are_allowed() {
        for good in [
            "https://b.example/authorise/1",
            "http://bank-b.localhost:8452/authorise/1",
            "http://127.0.0.1/",
        ] {
            assert!(is_allowed_link(good), "{good}");
        }
        let long = format!("https://b.example/{}", "x".repeat(2000));
        for bad in [
            "http://b.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "/authorise/1",
            "",
            "http://localhost.b.example/",
            &long,
        ] {
            assert!(!is_allowed_link(bad), "{bad}");
        }
    }
}
