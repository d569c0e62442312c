//! The SDK: against our own bank, and against banks that are slow, broken or lying.
//!
//! `tests/README.md` says what is tested where.

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
