//! Certificate revocation: CRLs (RFC 5280, section 5) and OCSP (RFC 6960).
//!
//! [`crate::pki::trust::judge`] returns the path as [`PathCertificate`]s; [`Statuses`] returns the
//! revocation status of each. Fetching CRLs and OCSP responses is left to the caller.

mod answers;
pub(crate) mod extension;
mod issuer;
mod list;
mod lists;
pub mod ocsp;
mod path_certificate;
mod serial;
pub(crate) mod signature;
mod statuses;

pub use self::answers::Answers;
pub use self::issuer::{Issuer, IssuerId, Issuers};
pub use self::list::{FoundList, List, ListError};
pub use self::lists::Lists;
pub use self::path_certificate::PathCertificate;
pub use self::statuses::{RevocationStatus, Statuses, UnknownStatus};
pub use super::reason::{NotAReason, Reason};
