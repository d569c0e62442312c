//! Host names of a certificate (RFC 5280, section 4.2.1.6; RFC 9525).

use std::net::IpAddr;

use rustls_pki_types::{CertificateDer, ServerName};

use super::certificate::Certificate;
use super::constraints::alternative_names;

const DNS: u8 = 0x82;
const ADDRESS: u8 = 0x87;

/// Whether a certificate is for that host. Its subject alternative names count, and nothing else
/// (RFC 9525, section 2).
///
/// Cost: one reading of the certificate.
#[must_use]
pub fn is_for_host(certificate: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
    let Ok(certificate) = Certificate::read(certificate) else {
        return false;
    };
    let names = alternative_names(&certificate).unwrap_or_default();
    names.iter().any(|name| match host {
        ServerName::DnsName(host) => {
            name.tag == DNS
                && std::str::from_utf8(name.content)
                    .is_ok_and(|presented| presents(presented, host.as_ref()))
        }
        ServerName::IpAddress(address) => {
            name.tag == ADDRESS
                && match IpAddr::from(*address) {
                    IpAddr::V4(address) => name.content == address.octets(),
                    IpAddr::V6(address) => name.content == address.octets(),
                }
        }
        _ => false,
    })
}

/// Whether the presented name is that host, or has a wildcard in the place of its first label (RFC
/// 9525, section 6.3). A wildcard never stands for what is below a top-level domain.
fn presents(presented: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match presented.strip_prefix("*.") {
        Some(domain) => {
            let below = host.split_once('.').map(|(_, below)| below);
            is_host(domain)
                && domain.contains('.')
                && below.is_some_and(|below| same_host(below, domain))
        }
        None => is_host(presented) && same_host(presented, host),
    }
}

/// Whether it is a name of labels: letters, digits, hyphens, and underscores, which some services
/// have.
pub(super) fn is_host(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

pub(super) fn same_host(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Whether the host is the domain or below it. All are below the empty domain.
pub(super) fn within(host: &str, domain: &str) -> bool {
    let Some(place) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (front, back) = host.as_bytes().split_at(place);
    back.eq_ignore_ascii_case(domain.as_bytes())
        && (front.is_empty() || domain.is_empty() || front.ends_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_whole_label() {
        for (presented, host, expected) in [
            ("example.com", "EXAMPLE.com", true),
            ("example.com", "example.com.", true),
            ("*.example.com", "foo.example.com", true),
            ("*.example.com", "foo.bar.example.com", false),
            ("*.example.com", "example.com", false),
            ("f*.example.com", "foo.example.com", false),
            ("*.com", "example.com", false),
            ("*", "example", false),
            ("", "example.com", false),
        ] {
            assert_eq!(presents(presented, host), expected, "{presented} {host}");
        }
    }

    #[test]
    fn a_domain_has_whole_labels() {
        assert!(within("a.example.com", "example.com"));
        assert!(within("example.com", "Example.com"));
        assert!(!within("an-example.com", "example.com"));
        assert!(!within("com", "example.com"));
        assert!(within("com", ""));
    }
}
