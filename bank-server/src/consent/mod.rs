//! The rules of consents: what may be asked for, what an approval opens, and what may be read.
//!
//! [`check_request()`], [`grants()`] and [`status_on()`] are pure; [`Approvals`] applies them to the store on behalf of a
//! customer.

mod approval;
pub mod authorisation;
mod choice;
mod grants;
mod request;

use chrono::NaiveDate;
use shared_types::consent::ConsentStatus;

pub use self::approval::{ApprovalError, Approvals};
pub use self::grants::{NotTheCustomers, grants};
pub use self::request::{Violation, check_request};
use crate::store::consents::Consent;

/// Where a consent stands on that day: one whose last day has passed is expired, whatever is written down.
#[must_use]
pub fn status_on(consent: &Consent, today: NaiveDate) -> ConsentStatus {
    match consent.status {
        ConsentStatus::Received | ConsentStatus::PartiallyAuthorised | ConsentStatus::Valid
            if today > consent.valid_until =>
        {
            ConsentStatus::Expired
        }
        status => status,
    }
}
