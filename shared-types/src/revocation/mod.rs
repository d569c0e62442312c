//! Whether a certificate was withdrawn before its time: revocation lists (RFC 5280, section 5) and OCSP (RFC 6960).
//!
//! [`crate::trust::judge`] says what a path is made of, as [`PathCertificate`]s; [`Statuses`] says how each of them stands. Who
//! fetches lists and asks responders, where and how often, is not decided here.

mod answers;
pub(crate) mod der;
pub(crate) mod extension;
mod issuer;
mod list;
mod lists;
pub mod ocsp;
mod path_certificate;
mod reason;
mod serial;
pub(crate) mod signature;
mod statuses;

pub use self::answers::Answers;
pub use self::issuer::{Issuer, IssuerId, Issuers};
pub use self::list::{FoundList, List, ListError};
pub use self::lists::Lists;
pub use self::path_certificate::PathCertificate;
pub use self::reason::{NotAReason, Reason};
pub use self::statuses::{RevocationStatus, Statuses, UnknownStatus};
