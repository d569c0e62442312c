//! A bank's PSD2 account interface (XS2A) behind mutual TLS.
//!
//! The binary `bank-server` runs a bank from a configuration file. As a library, the crate puts
//! XS2A in front of a core banking system of your own: implement [`core_banking::CoreBanking`] and
//! hand it to [`BankServer`].
//!
//! A request passes the modules in this order; [`transport`] imports none of the others:
//!
//! | module | subject |
//! |---|---|
//! | [`transport`] | mutual-TLS listeners, trust and hot reload |
//! | [`identity`] | from a peer certificate to a licensed TPP |
//! | [`xs2a`] | the HTTP resources |
//! | [`consent`] | the rules of consents, and how they are approved |
//! | [`sca`] | strong customer authentication |
//! | `identity_provider` | log-in and approval by the bank's OpenID Connect provider |
//! | `online_banking` | the customer pages |
//! | [`core_banking`] | the trait behind which a bank's systems stand, and the built-in ledger |
//! | `bank_service` | client of the HTTP services of the bank's own |
//! | [`store`] | persistence on SQL |
//! | [`domain`] | consents, authorisations, PSUs, accounts: types and nothing else |
//! | [`telemetry`] | log, metrics and traces |

#![forbid(unsafe_code)]

mod bank_service;
mod calendar;
pub mod config;
mod config_error;
pub mod consent;
pub mod core_banking;
pub mod domain;
mod http;
pub mod identity;
mod identity_provider;
mod keyed_locks;
mod metrics;
mod online_banking;
mod openapi;
mod operator;
pub mod sca;
mod server;
pub mod store;
pub mod telemetry;
pub mod transport;
pub mod xs2a;

pub use shared_types::environment;

pub use self::calendar::Calendar;

pub use self::server::{
    BankServer, NOT_CHECKED, RunningBank, StartError, check, check_file, raise_limit,
};
