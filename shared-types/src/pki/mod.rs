//! Certificates and keys of both ends of a connection.

pub mod credentials;
