//! The SDK that queries a bank's XS2A interface over mutual TLS.
//!
//! A [`Bank`] is a handle for one bank. It shows the bank our certificate, believes only the authorities that were
//! agreed upon, and makes sure that the other end is the very bank it expects. Under a consent that the customer has
//! approved, it reads her accounts, balances and transactions.
//!
//! ```no_run
//! use bank_client::credentials::Credentials;
//! use bank_client::{Bank, Entry, TransactionFilter};
//! use futures::TryStreamExt as _;
//! use shared_types::trust::Anchors;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let bank = Bank::builder(
//!     "https://xs2a.bank-b.example",
//!     "PSDFR-ACPR-20002".parse()?,
//!     Anchors::from_pem(&std::fs::read("ca1.pem")?)?,
//!     Credentials::from_pem(&std::fs::read("qwac.pem")?, &std::fs::read("qwac.key")?)?,
//! )
//! .name("Bank B")
//! .build()?;
//!
//! let accounts = bank.with_consent("0f7a…");
//! for account in accounts.accounts(true).await? {
//!     let id = account.resource_id.unwrap_or_default();
//!     let since = chrono::NaiveDate::from_ymd_opt(2026, 1, 1).ok_or("no such day")?;
//!     let mut transactions = accounts.transactions(&id, &TransactionFilter::since(since));
//!     while let Some(Entry::Booked(transaction) | Entry::Pending(transaction)) = transactions.try_next().await? {
//!         println!("{}", transaction.transaction_amount);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! How a consent comes to be approved, see [`authorisations`]. Certificates end, and are replaced while calls are made: see [`rotation`].
//!
//! Errors tell "they refused us" from "we refused them" from a refusal with reasons from a malformed answer:
//! see [`ErrorKind`]. Each has a line of cause ([`Error`]'s `Display`) and a line of what to do ([`Error::advice`]).
//! To see why a bank turns us away, or we it, step by step, there is [`probe`].

#![forbid(unsafe_code)]

mod accounts;
mod address;
pub mod aggregator;
pub mod authorisations;
mod bank;
#[cfg(feature = "blocking")]
pub mod blocking;
mod breaker;
mod call;
mod checks;
mod connections;
pub mod consent_manager;
mod consents;
pub mod credentials;
pub mod directory;
pub mod environment;
mod error;
mod exchange;
pub mod files;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
pub mod http;
mod pages;
pub mod probe;
mod retries;
pub mod revocation;
pub mod rotation;
pub mod store;
#[cfg(feature = "sqlite")]
pub mod sync;
#[cfg(feature = "test-util")]
pub mod test_util;
mod tls;
mod transport_error;
pub mod vault;

pub use self::accounts::AccountInformation;
pub use self::bank::{Bank, BankBuilder, ConfigurationError, Limits};
pub use self::breaker::Breaker;
pub use self::error::{Error, ErrorKind};
pub use self::pages::{Entry, TransactionFilter};
pub use self::retries::Retries;
pub use self::tls::ServerRefusal;
