//! The SDK that queries banks' XS2A interfaces over mutual TLS: one bank, or all that a program
//! knows.
//!
//! It sends our certificate to a bank, trusts only the agreed authorities, and verifies that the
//! server is the expected bank. Under consents that customers have approved, it reads their
//! accounts, balances and transactions, and keeps copies of them. This page is a tour; each stop
//! links to the module that has the rest.
//!
//! # One bank
//!
//! A [`Bank`] is a handle for one bank. It is cheap to clone, and clones share its connections.
//! This program is whole; its `Cargo.toml` has one dependency, with the folder in which this crate
//! is:
//!
//! ```toml
//! [dependencies]
//! bank-client = { path = "bank-client", default-features = false }
//! ```
//!
//! ```no_run
//! use bank_client::credentials::Credentials;
//! use bank_client::futures::TryStreamExt as _;
//! use bank_client::shared_types::pki::trust::Anchors;
//! use bank_client::{Bank, Entry, TransactionFilter, tokio};
//!
//! #[tokio::main(crate = "bank_client::tokio")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let bank = Bank::builder(
//!         "https://xs2a.bank-b.example",
//!         "PSDFR-ACPR-20002".parse()?,
//!         Anchors::from_pem(&std::fs::read("ca1.pem")?)?,
//!         Credentials::from_pem(&std::fs::read("qwac.pem")?, &std::fs::read("qwac.key")?)?,
//!     )
//!     .name("Bank B")
//!     .build()?;
//!
//!     let accounts = bank.with_consent("0f7a…");
//!     for account in accounts.accounts(true).await? {
//!         let id = account.resource_id.unwrap_or_default();
//!         let since = TransactionFilter::since("2026-01-01".parse()?);
//!         let mut transactions = accounts.transactions(&id, &since);
//!         while let Some(entry) = transactions.try_next().await? {
//!             let (Entry::Booked(transaction) | Entry::Pending(transaction)) = entry;
//!             println!("{}", transaction.transaction_amount);
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! What this crate's signatures have of others, it gives on: [`chrono`] for dates, [`futures`] for
//! streams, [`shared_types`] for what goes over the wire, and [`tokio`], the runtime on which calls
//! are made.
//!
//! Lists come page by page, as they are asked for. Money is an exact decimal with its currency
//! ([`Amount`](shared_types::xs2a::money::Amount)), a day is a [`NaiveDate`](chrono::NaiveDate),
//! and both have a form for people.
//!
//! # A bank that falters
//!
//! A plain handle asks once. One that is built with [`Retries`] asks again where that is safe, with
//! the same `X-Request-ID`, and waits as long as the bank wants it to; a [`Breaker`] leaves a bank
//! alone that fails again and again. Refusals are never repeated. [`Limits`] bound each call in
//! time and in size.
//!
//! ```no_run
//! use bank_client::{BankBuilder, Breaker, Limits, Retries};
//!
//! # fn example(builder: BankBuilder) -> Result<(), bank_client::ConfigurationError> {
//! let bank = builder
//!     .retries(Retries::default())
//!     .breaker(Breaker::default())
//!     .limits(Limits { answer: 4 * 1024 * 1024, ..Limits::default() })
//!     .build()?;
//! # let _ = bank;
//! # Ok(())
//! # }
//! ```
//!
//! # All banks of a file
//!
//! A [`directory`] lists the URL and organisation of each bank, and finds the one of an IBAN, a BIC
//! or a name.
//!
//! ```no_run
//! use bank_client::directory::Directory;
//! # use bank_client::credentials::Credentials;
//!
//! # fn example(own: Credentials) -> Result<(), Box<dyn std::error::Error>> {
//! let directory = Directory::read("banks.toml")?;
//! let entry = directory.by_iban(&"FR3320020000170123456789041".parse()?)?;
//! let bank = entry.bank(&own)?.build()?;
//! # let _ = bank;
//! # Ok(())
//! # }
//! ```
//!
//! # Many banks at once
//!
//! An [`Aggregator`](aggregator::Aggregator) sends requests to all of them concurrently, and
//! streams the results in order of arrival. A failure at one bank affects that bank's result only.
//!
//! ```no_run
//! use bank_client::AccountInformation;
//! use bank_client::aggregator::{Aggregator, Totals};
//! use bank_client::futures::StreamExt as _;
//!
//! # async fn example(connected: Vec<AccountInformation>) {
//! let mut totals = Totals::default();
//! let mut answers = Aggregator::builder().members(connected).build().accounts(true);
//! while let Some(answer) = answers.next().await {
//!     match answer.outcome {
//!         Ok(accounts) => accounts.iter().for_each(|account| totals.add_account(account)),
//!         Err(error) => eprintln!("{error}; {}", error.advice()),
//!     }
//! }
//! # }
//! ```
//!
//! # A consent's life
//!
//! [`authorisations`] has each step by which a consent comes to be approved. The
//! [`consent_manager`] does all of this for an app: it requests consents, tracks their status,
//! renews them before they expire, counts and plans the reads without the customer, and
//! distinguishes "expired", "revoked" and "used up for today". Its data is kept in a [`store`],
//! encrypted by a [`vault`].
//!
//! # A local copy
//!
//! [`sync`] keeps accounts, balances and transactions in a file: first all, then only what is new.
//!
//! # Whole programs
//!
//! In the folder `examples` of this crate. `connected_banks` lists the accounts at all banks that
//! the command line tool has connected, by its `bank-client.toml`: with a sandbox that runs, it is
//! the shortest way to data.
//!
//! # An app's own tests
//!
//! With the feature `test-util`, a `test_util::MockBank` answers as a bank does,
//! without a network and without certificates: happy, slow, broken, rate-limited, or with an
//! expired consent, in a line each.
//!
//! ```
//! # #[cfg(feature = "test-util")]
//! # mod app {
//! use bank_client::test_util::MockBank;
//!
//! # pub async fn test() -> Result<(), Box<dyn std::error::Error>> {
//! let mock = MockBank::broken().await;
//! let error = mock.bank().with_consent(mock.consent_id()).accounts(true).await.unwrap_err();
//! assert!(error.is_transient());
//! # Ok(())
//! # }
//! # }
//! # #[cfg(feature = "test-util")]
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(app::test()).unwrap();
//! ```
//!
//! # An answer that deviates from the standard
//!
//! Money, currencies, the dates that order entries, the ids and links that are followed, and the
//! limits here are strict. Any other field that is odd is kept as the bank wrote it, or left out;
//! one odd entry, balance or account leaves the others as they are. All of it is counted and
//! reported with the response, by path and without content: a [`Response`] derefs to the data and
//! carries [`Deviations`], and a stream of [`Entries`] has those of the pages so far.
//!
//! ```no_run
//! use bank_client::{AccountInformation, TransactionFilter};
//! use bank_client::futures::TryStreamExt as _;
//!
//! # async fn example(reading: AccountInformation, filter: TransactionFilter) -> Result<(), bank_client::Error> {
//! let mut entries = reading.transactions("3dc3d5b3", &filter);
//! while let Some(entry) = entries.try_next().await? {
//!     println!("{entry:?}");
//! }
//! if !entries.is_whole() {
//!     eprintln!("entries that could not be read: {}", entries.deviations().left_out());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # When something goes wrong
//!
//! Errors distinguish "they refused us", "we refused them", a refusal with reasons, and a malformed
//! response: see [`ErrorKind`]. Each has a line of cause ([`Error`]'s `Display`) and a line
//! of what to do ([`Error::advice`]). To see why a bank turns us away, or we it, step by step,
//! there is [`probe`]. Each call is a span of `tracing`, `call`, with its operation, the bank, the
//! request id, the attempts and what came of it; neither account data nor consents are in it.
//!
//! Certificates end, and are replaced while calls are made: see [`rotation`]. Calls that have no
//! method here are made through [`http`], with the same trust and the same limits. Programs without
//! a runtime use the module `blocking`.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `cli` (on) | the program `bank-client`, and `sqlite` |
//! | `sqlite` | stores on SQLite: consents and tokens, and the local copy |
//! | `blocking` | the façade for programs without a runtime |
//! | `keyring` | the store's key from the system's keyring |
//! | `test-util` | banks to test against, and the contract for stores |
//!
//! A feature adds; it changes nothing of what is there without it.

#![forbid(unsafe_code)]

/// Implements `Debug` by the named fields: the others are account data, secrets or too long.
macro_rules! partial_debug {
    ($type:ident { $($field:ident),* }) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    };
}

mod accounts;
mod address;
pub mod aggregator;
pub mod authorisations;
mod bank;
#[cfg(feature = "blocking")]
pub mod blocking;
mod connections;
pub mod consent_manager;
mod consents;
mod decode;
mod deviations;
pub mod directory;
mod error;
mod execute;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod handshake_layer;
pub mod http;
pub mod identity;
mod limits;
#[cfg(feature = "sqlite")]
mod own_file;
mod pages;
pub mod probe;
mod response;
mod retries;
pub mod revocation;
pub mod rotation;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod store;
#[cfg(feature = "sqlite")]
pub mod sync;
#[cfg(feature = "test-util")]
pub mod test_util;
mod tls;
#[cfg(feature = "opentelemetry")]
mod trace_context;
mod transport;
mod transport_error;
mod validate;
pub mod vault;

pub use self::accounts::AccountInformation;
pub use self::bank::{Bank, BankBuilder};
pub use self::deviations::{Deviation, Deviations, Outcome};
pub use self::error::{ConfigurationError, Error, ErrorKind};
pub use self::handshake_layer::{HandshakeConnector, HandshakeLayer};
pub use self::limits::Limits;
pub use self::pages::{Entry, TransactionFilter};
pub use self::response::{Entries, Response};
pub use self::retries::Retries;
pub use self::tls::ServerRefusal;
pub use self::transport_error::{fetch_alert, tls_error};
pub use shared_types::circuit::Breaker;
pub use shared_types::environment;
pub use shared_types::pki::credentials;
pub use {chrono, futures, shared_types, tokio};
