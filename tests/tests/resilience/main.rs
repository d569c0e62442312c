//! Faults and load: crashes, lost networks, replicas, restarts.
//!
//! `tests/README.md` says what is tested where.

#![forbid(unsafe_code)]

mod clocks;
mod core_banking;
mod descriptors;
mod disk_full;
mod durability;
mod fault_injection;
mod graceful_shutdown;
mod http2_limits;
mod postgresql;
mod replicas;
mod rolling_restart;
mod soak;
mod sync_crash_recovery;
