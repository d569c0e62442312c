//! OCSP client without I/O (RFC 6960): writes requests, verifies responses.
//!
//! A [`Question`] is a request about one certificate; an [`Answer`] is the response of the issuer,
//! or of a responder that it has authorised. Transport is left to the caller.

mod answer;
mod basic;
mod question;

pub use self::answer::{Answer, AnswerError, CertStatus, Delegate};
pub use self::question::{CertificateId, Question};
