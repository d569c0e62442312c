//! A customer approves a consent.

use std::sync::Arc;

use shared_types::consent::ConsentStatus;

use super::{NotTheCustomers, chosen, grants, standing};
use crate::calendar::Calendar;
use crate::core_banking::{CoreBanking, CoreBankingError, PsuId};
use crate::store::StoreError;
use crate::store::consents::Consents;

/// Approves consents in the name of customers.
///
/// Whoever calls this has made sure that it *is* the customer, by strong customer authentication: the bank's own pages,
/// or an employee at a counter. It is not reachable over XS2A.
#[derive(Clone)]
pub struct Approvals {
    consents: Consents,
    core: Arc<dyn CoreBanking>,
    calendar: Calendar,
}

/// Why a consent was not approved.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// There is no such consent.
    #[error("there is no such consent")]
    Unknown,
    /// It is not waiting for an approval.
    #[error("the consent is {0}, and only a received one can be approved")]
    NotReceived(ConsentStatus),
    /// It names an account that the customer does not have.
    #[error(transparent)]
    NotTheCustomers(#[from] NotTheCustomers),
    /// The customer has no account.
    #[error("the customer has no account that the consent could open")]
    NoAccount,
    /// The core banking system failed.
    #[error(transparent)]
    CoreBanking(#[from] CoreBankingError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Approvals {
    pub(crate) fn new(consents: Consents, core: Arc<dyn CoreBanking>, calendar: Calendar) -> Self {
        Self {
            consents,
            core,
            calendar,
        }
    }

    /// Makes a received consent valid for all accounts of the customer that it asks for.
    pub async fn approve(&self, consent_id: &str, psu: &PsuId) -> Result<(), ApprovalError> {
        let consent = self
            .consents
            .find_for_customer(consent_id)
            .await?
            .ok_or(ApprovalError::Unknown)?;
        let now = self.calendar.now();
        let status = standing(&consent, now, &self.calendar);
        if status != ConsentStatus::Received {
            return Err(ApprovalError::NotReceived(status));
        }
        let accounts = self.core.accounts_of(psu).await?;
        let opened = grants(&consent.access, &accounts)?;
        if opened.is_empty() {
            return Err(ApprovalError::NoAccount);
        }
        let access = chosen(consent.access, &opened, &accounts);
        if self
            .consents
            .approve(consent_id, psu, &access, &opened, now)
            .await?
        {
            Ok(())
        } else {
            // Somebody was faster; what they made of it is told.
            let consent = self
                .consents
                .find_for_customer(consent_id)
                .await?
                .ok_or(ApprovalError::Unknown)?;
            Err(ApprovalError::NotReceived(consent.status))
        }
    }
}
