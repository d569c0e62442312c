//! What both ends of XS2A put on the wire, and how both judge a certificate.
//!
//! The wire types follow the Berlin Group's `NextGenPSD2` XS2A framework, version 1.3.16, and carry its names.
//! They are strict where a peer could do harm (money, dates, lengths, enumerations) and lenient where the
//! standard's own examples bend its schema; each such place says so.
//!
//! The crate is pure: no I/O, no clock, no randomness. Time is a parameter.
//!
//! | module | subject |
//! |---|---|
//! | [`account`], [`card_account`], [`transaction`] | account information |
//! | [`consent`], [`authorisation`] | the customer's permission, and how it is given |
//! | [`message`] | errors: `tppMessages` and their codes |
//! | [`money`], [`iban`], [`bic`], [`text`], [`link`] | the words these are made of |
//! | [`decode`] | JSON to types, with the path of a fault |
//! | [`trust`] | may this certificate chain come in? |
//! | [`revocation`] | was one of its certificates withdrawn? |
//! | [`pem`] | certificates, lists and keys as files have them |
//! | [`eidas`] | who is it? (ETSI TS 119 495) |
//! | [`register`] | is it still licensed? |
//! | [`certificate`], [`alert`], [`digest`] | what logs and errors say of both |

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
pub mod iban;
pub mod link;
pub mod message;
pub mod money;
mod name;
pub mod pem;
pub mod register;
pub mod revocation;
pub mod text;
pub mod transaction;
pub mod trust;
