//! Wire types of XS2A: the Berlin Group's `NextGenPSD2` framework, version 1.3.16, under its names.
//!
//! They are strict where a peer could do harm (money, dates, lengths, enumerations) and lenient
//! where the standard's own examples bend its schema; each such place says so.
//!
//! | module | subject |
//! |---|---|
//! | [`account`], [`card_account`], [`transaction`] | account information |
//! | [`consent`], [`authorisation`] | the customer's permission, and how it is given |
//! | [`message`] | errors: `tppMessages` and their codes |
//! | [`money`], [`iban`], [`bic`], [`text`], [`link`] | the words these are made of |

pub mod account;
pub mod authorisation;
pub mod bic;
pub mod card_account;
pub mod consent;
pub mod date;
pub mod iban;
pub mod link;
mod macros;
pub mod message;
pub mod money;
pub mod text;
pub mod transaction;
