//! Wire types of XS2A, and the trust decision on certificates, for both ends.
//!
//! The wire types follow the Berlin Group's `NextGenPSD2` XS2A framework, version 1.3.16, and carry
//! its names. They are strict where a peer could do harm (money, dates, lengths, enumerations) and
//! lenient where the standard's own examples bend its schema; each such place says so.
//!
//! Wire types and the trust decision are pure: no I/O, no clock, no randomness. Time is a parameter. What both ends
//! take from the machine is in [`environment`] and [`files`].
//!
//! | module | subject |
//! |---|---|
//! | [`account`], [`card_account`], [`transaction`] | account information |
//! | [`consent`], [`authorisation`] | consents, and their approval by the customer |
//! | [`message`] | errors: `tppMessages` and their codes |
//! | [`money`], [`iban`], [`bic`], [`text`], [`link`] | basic types |
//! | [`decode`] | JSON to types, with the path of a fault |
//! | [`trust`] | the trust decision on a certificate chain |
//! | [`revocation`] | revocation of its certificates: CRLs and OCSP |
//! | [`pem`] | certificates, lists and keys as files have them |
//! | [`eidas`] | the identity in a certificate (ETSI TS 119 495) |
//! | [`register`] | the register of licensed parties |
//! | [`pki`] | a party's own certificate and key |
//! | [`environment`], [`files`] | clock, randomness, watched and locked files |
//! | [`certificate`], [`alert`], [`digest`] | descriptions for logs and errors |

pub mod account;
pub mod alert;
pub mod authorisation;
pub mod bic;
pub mod card_account;
pub mod certificate;
pub mod consent;
pub mod date;
pub mod decode;
pub mod digest;
pub mod eidas;
pub mod environment;
pub mod files;
pub mod iban;
pub mod link;
pub mod message;
pub mod money;
mod name;
pub mod pem;
pub mod pki;
pub mod register;
pub mod revocation;
pub mod text;
pub mod transaction;
pub mod trust;
