//! Blocking SDK for programs without an async runtime: blocking calls, and iterators for streams.
//!
//! Handles are built as usual and then put on a [`Runtime`]. Only differences are documented here;
//! see [`Bank`](crate::Bank), [`AccountInformation`](crate::AccountInformation) and
//! [`aggregator`](crate::aggregator).
//!
//! ```no_run
//! use bank_client::TransactionFilter;
//! use bank_client::blocking::Runtime;
//!
//! # fn example(bank: bank_client::Bank, since: bank_client::chrono::NaiveDate) -> Result<(), Box<dyn std::error::Error>> {
//! let runtime = Runtime::start()?;
//! let accounts = runtime.bank(bank).with_consent("0f7a…");
//! for account in accounts.accounts(true)? {
//!     let id = account.resource_id.unwrap_or_default();
//!     for entry in accounts.transactions(&id, &TransactionFilter::since(since)) {
//!         println!("{:?}", entry?);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! In a program that has a runtime the calls work too, but stop the thread they are made on: use
//! the asynchronous side there. Whatever this façade lacks, [`Runtime::block_on`] makes up for.

mod aggregator;
mod bank;
mod runtime;

pub use self::aggregator::Aggregator;
pub use self::bank::{AccountInformation, Bank};
pub use self::runtime::{Items, Runtime};
