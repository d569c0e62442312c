//! Certificates and keys: who a party is, and whether it is trusted.
//!
//! | module | subject |
//! |---|---|
//! | [`trust`] | may this certificate chain come in? |
//! | [`revocation`] | was one of its certificates withdrawn? |
//! | [`eidas`] | which organisation is it? (ETSI TS 119 495) |
//! | [`register`] | is it still licensed? |
//! | [`credentials`] | a party's own certificate and key |
//! | [`key_location`] | the file, or the token, that holds a private key |
//! | [`pkcs11`] | private keys on tokens |
//! | [`pem`] | certificates, lists and keys as files have them |
//! | [`der`] | their encoding |
//! | [`certificate`], [`alert`], [`digest`] | descriptions of both in logs and errors |

pub mod alert;
pub mod certificate;
pub mod credentials;
mod crypto;
pub mod der;
pub mod digest;
pub mod eidas;
pub mod key_location;
mod name;
pub mod pem;
pub mod pkcs11;
mod reason;
mod refusal;
pub mod register;
pub mod revocation;
pub mod trust;
mod validity;
