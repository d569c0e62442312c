//! Tests of the SDK: with `bank-server`, and with mock banks that are slow, fail, or send invalid
//! or false responses.
//!
//! `tests/README.md` lists the test binaries and their modules.

#![forbid(unsafe_code)]

mod aggregator;
mod blocking;
mod certificate_rotation;
mod consent_manager;
mod consent_renewal;
mod deviations;
mod end_to_end;
mod response_limits;
mod response_validation;
mod retries_and_breaker;
mod streaming;
