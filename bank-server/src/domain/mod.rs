//! Domain types: consents, authorisations, PSUs, accounts.
//!
//! Types and nothing else. They import nothing of the server, so that the rules (`consent`, `sca`),
//! the core banking system and the store can share them without importing each other.

mod account;
mod approval_facts;
mod authorisation;
mod consent;
mod psu;
mod resource;
mod totp_secret;
mod tpp;

pub use self::account::{Account, AccountId, AccountKind, Arrival};
pub use self::approval_facts::{AccountAction, AccountFacts, ApprovalFacts, TppFacts};
pub use self::authorisation::{
    ApprovedAccess, Authorisation, AuthorisationKey, ExternalMethodId, MethodId, NotAMethod,
};
pub use self::consent::{Consent, CustomerConsent, Grant, Granted};
pub use self::psu::PsuId;
pub use self::resource::Resource;
pub use self::totp_secret::{TotpSecret, TotpSecretError};
pub use self::tpp::TppRecord;
