//! XS2A over its listener: consents, authorisations, accounts, transactions, and the limits of all of them.
//!
//! `tests/README.md` says what is tested where.

#![forbid(unsafe_code)]

mod access_frequency;
mod accounts;
mod authorisations;
mod consent_lifecycle;
mod consents;
mod core_over_http;
mod generated_clients;
mod http_semantics;
mod openapi_conformance;
mod resource_limits;
mod sca_approaches;
mod sca_methods;
mod transactions_delta;
