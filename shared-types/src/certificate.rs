//! A certificate in a few words, for people who read logs and errors.

use std::fmt;

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::digest;

/// Who a certificate is for, who issued it, and which one it is. It says nothing about trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSummary {
    /// Subject, as an RFC 4514-like text.
    pub subject: String,
    /// Issuer, in the same form.
    pub issuer: String,
    /// Serial number in hexadecimal.
    pub serial: String,
    /// SHA-256 of the DER encoding, in hexadecimal.
    pub fingerprint: String,
}

impl CertificateSummary {
    /// Reads what can be read. What cannot is said to be unreadable; the fingerprint is always there.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let fingerprint = digest::sha256(certificate);
        match X509Certificate::from_der(certificate) {
            Ok((_, parsed)) => Self {
                subject: printable(&parsed.subject().to_string()),
                issuer: printable(&parsed.issuer().to_string()),
                serial: digest::hex(parsed.raw_serial()),
                fingerprint,
            },
            Err(_) => Self {
                subject: "(unreadable)".to_owned(),
                issuer: "(unreadable)".to_owned(),
                serial: "(unreadable)".to_owned(),
                fingerprint,
            },
        }
    }
}

impl fmt::Display for CertificateSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (issued by {}, serial {})",
            self.subject, self.issuer, self.serial
        )
    }
}

/// Names come from strangers: no control characters, no endless text.
pub(crate) fn printable(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_control())
        .take(256)
        .collect()
}
