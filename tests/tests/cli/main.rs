//! The programs `bank-client`, `bank-server` and `sandbox`, and what the documentation says of them.
//!
//! `tests/README.md` says what is tested where.

#![forbid(unsafe_code)]

mod commands;
mod documentation;
mod error_handling;
mod probe;
mod programs;
