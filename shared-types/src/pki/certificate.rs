//! Short description of a certificate for logs and errors.

use std::fmt;
use std::net::IpAddr;

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::pki::digest;
use crate::pki::name;

/// Subject, issuer and serial number of a certificate. It implies no trust.
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
    /// Reads what can be read. What cannot is said to be unreadable; the fingerprint is always
    /// there.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let fingerprint = digest::sha256(certificate);
        match X509Certificate::from_der(certificate) {
            Ok((_, parsed)) => Self {
                subject: printable(&name::display(parsed.subject())),
                issuer: printable(&name::display(parsed.issuer())),
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

/// The host names and addresses that a certificate is for (subject alternative name; RFC 5280,
/// section 4.2.1.6); none, if it cannot be read.
#[must_use]
pub fn hosts(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = parsed.subject_alternative_name() else {
        return Vec::new();
    };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(host).collect()
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from))
        .ok()
}

/// A distinguished name in DER as an RFC 4514-like text, in the form of
/// [`CertificateSummary::subject`].
///
/// A TLS server names the authorities it accepts in this way (RFC 8446, section 4.2.4).
#[must_use]
pub fn distinguished_name(der: &[u8]) -> String {
    match X509Name::from_der(der) {
        Ok((_, name)) => printable(&name::display(&name)),
        Err(_) => "(unreadable)".to_owned(),
    }
}

/// Names come from strangers: no control characters, and 256 characters at most.
#[must_use]
pub fn printable(name: &str) -> String {
    name.chars()
        .filter(|character| !character.is_control())
        .take(256)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_distinguished_name_is_readable() {
        // SEQUENCE { SET { SEQUENCE { commonName (2.5.4.3), UTF8String "CA1" } } }
        let der = b"\x30\x0e\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03CA1";
        assert_eq!(distinguished_name(der), "CN=CA1");
        assert_eq!(distinguished_name(b"CA1"), "(unreadable)");
    }

    #[test]
    fn addresses_are_of_either_kind() {
        let text = |octets: &[u8]| address(octets).map(|address| address.to_string());
        assert_eq!(text(&[127, 0, 0, 1]).as_deref(), Some("127.0.0.1"));
        assert_eq!(text(&[0; 16]).as_deref(), Some("::"));
        assert_eq!(text(&[1, 2, 3]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>()) {
            let _ = distinguished_name(&bytes);
            let _ = hosts(&CertificateDer::from(bytes.as_slice()));
        }
    }
}
