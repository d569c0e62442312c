//! The mutual-TLS door: who may connect at all, and who may stay.
//!
//! A connection passes these rooms: [`listener`] accepts it and does the handshake, in which the peer's certificate is
//! judged by the [`trust`] of the moment; [`connection`] is what the rest of the server knows of an open connection;
//! [`stream`] carries its bytes, and ends it when it is idle, or told to go. `open` knows all that are open, and has
//! each judged again when trust changes.
//!
//! At a listener for gateways, the certificate that is judged so is the gateway's own, one of the pinned [`gateways`]. The
//! peers that it speaks for come as chains in headers ([`certificate_header`]), and [`forwarding`] judges them by the very
//! same trust.
//!
//! [`trust_reloader`] keeps that trust up to date: it watches the files it is made of, and fetches revocation lists. [`ocsp_worker`]
//! asks the responders that certificates name.
//!
//! Nothing here knows what the server is for. What a trusted certificate means to it, it says in a [`policy`]. The example
//! `blackboard` is a server of quite another kind, with a protocol of its own.

pub mod certificate_header;
pub mod connection;
mod connection_registry;
pub mod fetch;
pub mod forwarding;
pub mod gateways;
pub mod http2;
pub mod listener;
pub mod ocsp_worker;
mod own_certificate;
pub mod peer_verdict;
pub mod pem_files;
pub mod policy;
mod quota;
pub mod stream;
pub mod trust;
pub mod trust_reloader;
mod verified_chain_cache;
mod verifier;
mod watched;

pub use crate::config_error::ConfigError;
