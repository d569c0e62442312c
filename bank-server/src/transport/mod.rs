//! Mutual-TLS transport: listeners, trust in peer certificates, and hot reload of that trust.
//!
//! No byte of application data is exchanged with a peer whose certificate is not trusted. That
//! holds for full handshakes, for resumed sessions, and for connections that were open when trust
//! was withdrawn.
//!
//! A connection passes these modules: [`listener`] accepts it and performs the handshake, in which
//! `verifier` verifies the peer's certificate against the current [`trust`] snapshot;
//! [`connection`] holds the verdict, and is its interface for the rest of the server; [`stream`]
//! carries its bytes and enforces its timeouts; `goaway` sends the final message when trust is
//! lost. `connection_registry` holds all open connections and re-evaluates each when trust changes.
//!
//! At a listener for gateways, the verified certificate is the gateway's own, one of the pinned
//! [`gateways`]. The peers behind it arrive as chains in headers ([`certificate_header`]);
//! [`forwarded_peers`] evaluates them against the same trust.
//!
//! [`trust_reloader`] watches the files that trust is built from and fetches CRLs. [`ocsp_worker`]
//! queries OCSP responders.
//!
//! This module is independent of the application: a [`policy`] states what a trusted certificate
//! means to the server. The example `blackboard` is another server, with a protocol of its own.

pub mod certificate_header;
pub mod connection;
mod connection_registry;
pub mod fetch;
pub mod forwarded_peers;
pub mod gateways;
mod goaway;
pub mod http2;
pub mod listener;
pub mod ocsp_worker;
mod own_certificate;
pub mod pem_files;
pub mod policy;
mod quota;
pub(crate) mod service_tls;
pub(crate) mod source_watcher;
pub mod stream;
pub mod trust;
pub mod trust_reloader;
mod verified_chain_cache;
mod verifier;

pub use crate::config_error::ConfigError;
