//! Whether a certificate was withdrawn before its time: revocation lists (RFC 5280, section 5).
//!
//! [`crate::trust::judge`] says what a path is made of, as [`Link`]s; [`Lists`] says how each of them stands. Who
//! fetches lists, from where and how often, is not decided here.

mod der;
mod issuer;
mod link;
mod list;
mod lists;
mod reason;
mod signature;

pub use self::issuer::{Issuer, IssuerId, Issuers};
pub use self::link::Link;
pub use self::list::{List, ListError};
pub use self::lists::{Lists, Standing};
pub use self::reason::{NotAReason, Reason};
