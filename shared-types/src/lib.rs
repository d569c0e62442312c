//! The foundation of both ends of XS2A: wire types, certificates and trust, clock and randomness.
//!
//! [`xs2a`], [`decode`], [`circuit`] and the decisions of [`pki`] are pure: no I/O, no clock, no randomness.
//! Time is a parameter.
//!
//! | module | subject |
//! |---|---|
//! | [`xs2a`] | wire types |
//! | [`decode`] | JSON to types, with the path of a fault |
//! | [`circuit`] | circuit breaker |
//! | [`pki`] | certificates: trust, revocation, identity, credentials |
//! | [`environment`] | clock and randomness |
//! | [`sealing`] | encryption of records, and the key of a program |
//! | [`files`] | files that are watched and locked |

pub mod circuit;
pub mod decode;
pub mod environment;
pub mod files;
pub mod pki;
pub mod sealing;
pub mod xs2a;
