//! The SDK that queries a bank's XS2A interface over mutual TLS.

#![forbid(unsafe_code)]

pub mod environment;
