//! The trust decision: certificates, revocation, hot reload, gateways, and the scheme's own authority.
//!
//! `tests/README.md` says what is tested where.

#![forbid(unsafe_code)]

mod certificate_paths;
mod foreign_lists;
mod foreign_names;
mod foreign_ocsp;
mod gateway_listener;
mod interoperability;
mod invalid_certificates;
mod keys_on_tokens;
mod mutual_tls;
mod ocsp;
mod random_paths;
mod scheme_ca;
mod transport_example;
mod trust_reload;
mod trust_revocation;
mod x509_limbo;
