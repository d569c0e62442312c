//! The programs `bank-client`, `bank-server` and `sandbox`, and what the documentation says of them.
//!
//! `tests/README.md` says what is tested where.

#![forbid(unsafe_code)]

mod bank_server;
mod commands;
mod contract_properties;
mod core_check;
mod dependencies;
mod document_references;
mod documentation;
mod error_handling;
mod explicit_bank;
mod module_order;
mod probe;
mod readme;
mod sandbox;
mod sandbox_with_core;
mod statements;
