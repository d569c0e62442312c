//! SDK handles for other banks. They follow changes of our certificate and of the trust anchors.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bank_client::revocation::Revocation;
use bank_client::{Bank, ConfigurationError, Limits};
use shared_types::environment::{Clock, Randomness};
use shared_types::pki::eidas::OrganisationId;

use crate::config::OtherBankConfig;
use crate::identity::Licences;
use crate::transport::trust::{Trust, TrustSnapshot};

/// Limits of each call. A customer may be waiting for it.
const LIMITS: Limits = Limits {
    connecting: Duration::from_secs(3),
    call: Duration::from_secs(10),
    answer: 8 * 1024 * 1024,
    entries: 20_000,
    pages: 100,
};

/// Another bank, with its SDK handle.
pub(super) struct OtherBank {
    pub(super) name: String,
    pub(super) organisation: OrganisationId,
    url: String,
    /// The handle, and the trust snapshot from which it was made.
    made: Mutex<Option<(Arc<TrustSnapshot<Licences>>, Bank)>>,
}

/// Parts that all handles share.
pub(super) struct BankClientFactory {
    pub(super) trust: Arc<Trust<Licences>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) randomness: Arc<dyn Randomness>,
}

impl OtherBank {
    pub(super) fn new(config: OtherBankConfig) -> Self {
        Self {
            name: config.name,
            organisation: config.organisation,
            url: config.url,
            made: Mutex::default(),
        }
    }

    /// The handle with the current certificate, trust anchors and CRLs. Connections are kept until
    /// one of these changes.
    pub(super) fn handle(&self, factory: &BankClientFactory) -> Result<Bank, ConfigurationError> {
        let snapshot = factory.trust.current();
        // Nothing is half done while the lock is held.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.as_ref() {
            Some((of, bank)) if Arc::ptr_eq(of, &snapshot) => Ok(bank.clone()),
            _ => {
                let bank = self.make(factory, &snapshot)?;
                *made = Some((snapshot, bank.clone()));
                Ok(bank)
            }
        }
    }

    fn make(
        &self,
        factory: &BankClientFactory,
        snapshot: &TrustSnapshot<Licences>,
    ) -> Result<Bank, ConfigurationError> {
        Bank::builder(
            &self.url,
            self.organisation.clone(),
            snapshot.anchors.as_ref().clone(),
            snapshot.credentials.clone(),
        )
        .name(&self.name)
        .revocation(Revocation {
            statuses: snapshot.statuses.clone(),
            unknown_status: snapshot.unknown_status,
        })
        .limits(LIMITS)
        .clock(Arc::clone(&factory.clock))
        .randomness(Arc::clone(&factory.randomness))
        .build()
    }
}
