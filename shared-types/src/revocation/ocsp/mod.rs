//! Asking a certificate's issuer how it stands (OCSP, RFC 6960).
//!
//! A [`Question`] is about one certificate; an [`Answer`] is what the issuer, or a responder it has vouched for, said of
//! it. Who carries one to the responder and the other back is not decided here.

mod answer;
mod basic;
mod question;

pub use self::answer::{Answer, AnswerError, CertStatus, Delegate};
pub use self::question::{CertificateId, Question};
