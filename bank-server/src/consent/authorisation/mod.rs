//! Authorisations: starting one for a TPP, and approving it as the customer.
//!
//! The TPP's side ([`Authorisations::start`] and the steps in `embedded`) identifies an
//! authorisation by its consent and TPP. The customer's side (`customer`) identifies it by its id,
//! and requires a [`Proof`](crate::sca::Proof) that was made for it.

mod customer;
mod decoupled;
mod embedded;
mod facts;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use shared_types::environment::Randomness;
use shared_types::pki::eidas::OrganisationId;
use shared_types::xs2a::authorisation::{ScaApproach, ScaStatus};
use shared_types::xs2a::consent::ConsentStatus;

pub use self::customer::{ApprovalOutcome, ApprovalRequest, OfferedAccess};
pub(crate) use self::decoupled::POLL_INTERVAL;
pub use self::embedded::Step;
use super::{Event, NotTheCustomers, is_bank_offered, next};
use crate::calendar::Calendar;
use crate::config::ScaConfig;
use crate::core_banking::{CoreBanking, CoreBankingError};
use crate::domain::{ApprovedAccess, Authorisation, AuthorisationKey, PsuId};
use crate::keyed_locks::KeyedLocks;
use crate::sca::{Sca, ScaError};
pub use crate::store::authorisations::Start;
use crate::store::authorisations::{
    ApprovalRules, Approved, AuthorisationStore, NewAuthorisation, Started, WaitingLimits,
};
use crate::store::challenges::Challenges;
use crate::store::consents::Consents;
use crate::store::customer_consents::CustomerConsents;
use crate::store::{Database, StoreError};

/// Maximum number of authorisations of one consent: enough for several customers and some failed
/// attempts.
const MAX_PER_CONSENT: i64 = 20;

/// Limits on authorisations that wait in one customer's app: from one TPP, and altogether.
const MAX_WAITING_OF_TPP: i64 = 3;
const MAX_WAITING_OF_ALL: i64 = 10;

/// Service for the authorisations of TPPs and customers. Cheap to clone.
#[derive(Clone)]
pub struct Authorisations {
    store: AuthorisationStore,
    consents: Consents,
    given: CustomerConsents,
    challenges: Challenges,
    core: Arc<dyn CoreBanking>,
    sca: Sca,
    calendar: Calendar,
    randomness: Arc<dyn Randomness>,
    rules: ScaConfig,
    /// Serialises concurrent identical requests to start an authorisation, by its id.
    starting: KeyedLocks,
}

/// Result of an operation on an authorisation.
pub type Result<T, E = AuthorisationError> = std::result::Result<T, E>;

/// Error of an operation on an authorisation.
#[derive(Debug, thiserror::Error)]
pub enum AuthorisationError {
    /// There is no such consent, for this TPP.
    #[error("there is no such consent")]
    NoSuchConsent,
    /// There is no such authorisation, of this consent.
    #[error("there is no such authorisation")]
    Unknown,
    /// The consent is not waiting for an approval.
    #[error("the consent is {0}: it is not waiting for an approval")]
    ConsentOver(ConsentStatus),
    /// The authorisation is not at the point at which this can be done.
    #[error("the authorisation is {0}: this is not its next step")]
    OutOfTurn(ScaStatus),
    /// The step belongs to another approach: with this one, the TPP does not send the code, or no
    /// code is used.
    #[error("this is no step of the approach {0}")]
    OtherApproach(ScaApproach),
    /// It is for another customer.
    #[error("the authorisation is for another customer")]
    OtherCustomer,
    /// This customer has approved the consent before; others have to.
    #[error("this customer has approved the consent before")]
    ApprovedBefore,
    /// The consent has had too many authorisations.
    #[error("a consent may have {MAX_PER_CONSENT} authorisations; ask for a new consent")]
    TooMany,
    /// Too much waits for this customer's approval.
    #[error("too many requests wait for this customer's approval; let her answer, or wait")]
    TooManyWaiting,
    /// The request id came with another request before.
    #[error("this request id came with another request before; take a new one")]
    OtherRequest,
    /// The code that confirms is wrong.
    #[error("the confirmation code is wrong")]
    WrongConfirmation,
    /// The consent names an account that the customer does not have.
    #[error(transparent)]
    NotTheCustomers(#[from] NotTheCustomers),
    /// The consent leaves the choice of accounts to the customer, and a TPP cannot pass it on.
    #[error(
        "the customer chooses the accounts at the bank: start the authorisation without a \
         password, or name the accounts"
    )]
    NeedsChoice,
    /// The customer has no account that the consent could open, or has chosen none.
    #[error("no account is left that the consent could open")]
    NoAccount,
    /// The customer has not authenticated.
    #[error(transparent)]
    Sca(#[from] ScaError),
    /// The core banking system failed.
    #[error(transparent)]
    CoreBanking(#[from] CoreBankingError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The status of an authorisation at that time: after its lifetime without a step it has failed.
#[must_use]
pub fn current_status(
    authorisation: &Authorisation,
    rules: &ScaConfig,
    now: DateTime<Utc>,
) -> ScaStatus {
    let idle = now - authorisation.last_action;
    if !authorisation.status.is_final() && idle >= rules.authorisation_lifetime() {
        ScaStatus::Failed
    } else {
        authorisation.status
    }
}

/// Fails unless a consent of that status is waiting for an approval.
fn check_waiting(status: ConsentStatus) -> Result<()> {
    match status {
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised => Ok(()),
        status => Err(AuthorisationError::ConsentOver(status)),
    }
}

impl Authorisations {
    /// The service for that database.
    #[must_use]
    pub fn new(
        database: &Database,
        core: Arc<dyn CoreBanking>,
        sca: Sca,
        calendar: Calendar,
        randomness: Arc<dyn Randomness>,
        rules: ScaConfig,
    ) -> Self {
        Self {
            store: AuthorisationStore::new(database.clone()),
            consents: Consents::new(database.clone()),
            given: CustomerConsents::new(database.clone()),
            challenges: Challenges::new(database.clone()),
            core,
            sca,
            calendar,
            randomness,
            rules,
            starting: KeyedLocks::default(),
        }
    }

    /// Starts an authorisation of a TPP's own consent. The same request again leads to the same
    /// one.
    pub async fn start(&self, start: Start<'_>) -> Result<Authorisation> {
        let found = self.consents.find(start.tpp, start.consent_id).await?;
        let consent = found.ok_or(AuthorisationError::NoSuchConsent)?;
        if let Some(before) = self.store.by_request(start).await? {
            return self.started(before);
        }
        check_waiting(self.current_consent_status(&consent))?;
        if start.approach == ScaApproach::Embedded && is_bank_offered(&consent.access) {
            return Err(AuthorisationError::NeedsChoice);
        }
        let limits = start
            .psu
            .filter(|_| start.approach == ScaApproach::Decoupled)
            .map(|psu| self.limits(psu, &consent.id));
        let status = match (start.psu, start.approach) {
            (None, _) => ScaStatus::Received,
            // There is one method, and nothing to choose: it waits in the app from now on.
            (Some(_), ScaApproach::Decoupled) => ScaStatus::Started,
            (Some(_), _) => ScaStatus::PsuIdentified,
        };
        let new = NewAuthorisation {
            id: self.randomness.uuid(),
            start,
            status,
            now: self.calendar.now(),
        };
        self.started(self.store.insert(new, MAX_PER_CONSENT, limits).await?)
    }

    fn started(&self, started: Started) -> Result<Authorisation> {
        match started {
            Started::Authorisation(authorisation) => Ok(self.with_current_status(authorisation)),
            Started::OtherRequest => Err(AuthorisationError::OtherRequest),
            Started::TooMany => Err(AuthorisationError::TooMany),
            Started::TooManyWaiting => Err(AuthorisationError::TooManyWaiting),
        }
    }

    /// That authorisation of a TPP's own consent. Another TPP's is not found, like one that does
    /// not exist.
    pub async fn find(&self, key: AuthorisationKey<'_>) -> Result<Authorisation> {
        let found = self.store.find(key).await?;
        found
            .map(|found| self.with_current_status(found))
            .ok_or(AuthorisationError::Unknown)
    }

    /// All authorisations of a TPP's own consent, the oldest first.
    pub async fn list(&self, tpp: &OrganisationId, consent_id: &str) -> Result<Vec<Authorisation>> {
        let found = self.consents.find(tpp, consent_id).await?;
        let consent = found.ok_or(AuthorisationError::NoSuchConsent)?;
        let all = self.store.of_consent(&consent.id).await?;
        Ok(all
            .into_iter()
            .map(|one| self.with_current_status(one))
            .collect())
    }

    /// Ends an authorisation with success, and counts it for its consent.
    async fn succeed(
        &self,
        seen: &Authorisation,
        to: ScaStatus,
        psu: &PsuId,
        opening: Option<&ApprovedAccess>,
    ) -> Result<ConsentStatus> {
        let (now, calendar) = (self.calendar.now(), &self.calendar);
        let rules = ApprovalRules {
            approved: &|consent, complete| {
                next(consent, Event::Approved { complete }, now, calendar)
            },
            replaced: &|consent| next(consent, Event::Replaced, now, calendar),
        };
        match self
            .store
            .approve(seen, to, psu, opening, rules, now)
            .await?
        {
            Approved::Consent(status) => Ok(status),
            Approved::AuthorisationOver | Approved::ConsentOver => {
                Err(self.overtaken(&seen.id).await)
            }
        }
    }

    /// The authorisation with its current status.
    fn with_current_status(&self, authorisation: Authorisation) -> Authorisation {
        let status = current_status(&authorisation, &self.rules, self.calendar.now());
        Authorisation {
            status,
            ..authorisation
        }
    }

    /// The limits on what waits in a customer's app.
    fn limits<'a>(&self, psu: &'a PsuId, consent_id: &'a str) -> WaitingLimits<'a> {
        WaitingLimits {
            psu,
            consent_id,
            since: self.calendar.now() - self.rules.authorisation_lifetime(),
            max_of_tpp: MAX_WAITING_OF_TPP,
            max_of_all: MAX_WAITING_OF_ALL,
        }
    }

    /// The error for a request that came too late: with the status that the authorisation has now.
    async fn overtaken(&self, id: &str) -> AuthorisationError {
        match self.store.find_for_customer(id).await {
            Ok(Some(now)) => AuthorisationError::OutOfTurn(self.with_current_status(now).status),
            Ok(None) => AuthorisationError::Unknown,
            Err(error) => error.into(),
        }
    }
}
