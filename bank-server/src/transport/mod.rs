//! The mutual-TLS door: who may connect at all.
//!
//! A connection passes these rooms: [`listener`] accepts it and does the handshake, in which [`trust`] judges the
//! peer's certificate by the snapshot of the moment; [`connection`] is what
//! the rest of the server knows of an open connection, and what ends it when it is idle.

pub mod connection;
pub mod listener;
mod quota;
pub mod trust;
