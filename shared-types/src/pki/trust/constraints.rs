//! Name constraints (RFC 5280, section 4.2.1.10).

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::oid_registry::Oid;
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use super::certificate::Certificate;
use super::hosts::{is_host, same_host, within};
use crate::pki::certificate::printable;
use crate::pki::der::{self, Element, SEQUENCE};
use crate::pki::name::comparable;

/// Comparisons of names with subtrees, at most, over all paths of a chain.
const MAX_COMPARISONS: usize = 10_000;
/// A longer name counts as several: comparing it takes as many times as long.
const OCTETS_OF_COMPARISON: usize = 256;

/// Reason for which constraints are not met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// The constraints, or the names, cannot be read.
    Malformed,
    /// There are too many to compare.
    TooMany,
    /// This name is not among those that are allowed.
    Forbidden(String),
}

/// Compares names and constraints, within a bound for all paths of a chain.
#[derive(Debug)]
pub(super) struct Comparison {
    left: usize,
}

// The kinds of names, by the number of their tag (`GeneralName`).
const MAIL: u8 = 1;
const DNS: u8 = 2;
const DIRECTORY: u8 = 4;
const URI: u8 = 6;
const ADDRESS: u8 = 7;

/// A name, or the base of a subtree of names.
#[derive(Debug, Clone)]
struct General<'a> {
    kind: u8,
    content: &'a [u8],
    /// Of a directory name, the form in which it is compared.
    comparable: Vec<u8>,
}

impl<'a> General<'a> {
    fn read(element: &Element<'a>) -> Option<Self> {
        Self::new(element.tag & 0x1f, element.content)
    }

    fn new(kind: u8, content: &'a [u8]) -> Option<Self> {
        let is_directory = kind == DIRECTORY;
        if is_directory && !X509Name::from_der(content).is_ok_and(|(rest, _)| rest.is_empty()) {
            return None;
        }
        let comparable = if is_directory {
            comparable(content)
        } else {
            Vec::new()
        };
        Some(Self {
            kind,
            content,
            comparable,
        })
    }

    fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.content)
            .ok()
            .filter(|text| text.is_ascii())
    }
}

impl Default for Comparison {
    fn default() -> Self {
        Self {
            left: MAX_COMPARISONS,
        }
    }
}

impl Comparison {
    /// Checks all names of a certificate, subject and subject alternative names, against the
    /// constraints (an extension's value) of a CA above it.
    pub(super) fn check(
        &mut self,
        constraints: &[u8],
        certificate: &Certificate<'_>,
    ) -> Result<(), Breach> {
        let (permitted, excluded) = subtrees(constraints).ok_or(Breach::Malformed)?;
        for name in &names(certificate).ok_or(Breach::Malformed)? {
            let forbidden = || Breach::Forbidden(shown(name));
            if self.any(name, &excluded, overlaps)? == Some(true)
                || self.any(name, &permitted, lies_within)? == Some(false)
            {
                return Err(forbidden());
            }
        }
        Ok(())
    }

    /// Whether one of the subtrees of the name's kind matches; nothing, if there is none of the
    /// kind.
    fn any(
        &mut self,
        name: &General<'_>,
        subtrees: &[General<'_>],
        matches: impl Fn(&General<'_>, &General<'_>) -> Option<bool>,
    ) -> Result<Option<bool>, Breach> {
        let cost = 1 + name.content.len() / OCTETS_OF_COMPARISON;
        let mut found = None;
        for base in subtrees {
            self.left = self.left.checked_sub(cost).ok_or(Breach::TooMany)?;
            if base.kind == name.kind {
                let is_match = matches(name, base).ok_or(Breach::Malformed)?;
                found = Some(found.unwrap_or(false) || is_match);
            }
        }
        Ok(found)
    }
}

/// The permitted and the excluded subtrees.
fn subtrees(constraints: &[u8]) -> Option<(Vec<General<'_>>, Vec<General<'_>>)> {
    fn list<'a>(part: Option<Element<'a>>) -> Option<Vec<General<'a>>> {
        let Some(part) = part else {
            return Some(Vec::new());
        };
        let read = |subtree: &Element<'a>| match der::any(subtree.content)? {
            // "the minimum MUST be zero, and maximum MUST be absent": nothing comes after the base.
            (base, []) if subtree.tag == SEQUENCE => General::read(&base),
            _ => None,
        };
        let subtrees: Vec<_> = der::elements(part.content)?
            .iter()
            .map(read)
            .collect::<Option<_>>()?;
        (!subtrees.is_empty()).then_some(subtrees)
    }

    let (sequence, after) = der::element(constraints, SEQUENCE)?;
    let (permitted, rest) = der::optional(sequence.content, der::context_tag(0));
    let (excluded, rest) = der::optional(rest, der::context_tag(1));
    if !rest.is_empty() || !after.is_empty() || (permitted.is_none() && excluded.is_none()) {
        return None;
    }
    Some((list(permitted)?, list(excluded)?))
}

/// All names of a certificate.
fn names<'c>(certificate: &'c Certificate<'_>) -> Option<Vec<General<'c>>> {
    let subject = certificate.parsed.subject();
    let mut names = if certificate.value_of(&ALTERNATIVE_NAMES).is_some() {
        let found = alternative_names(certificate)?;
        found.iter().map(General::read).collect::<Option<_>>()?
    } else {
        // An address of old, in the subject, counts where there are no alternative names.
        subject
            .iter_email()
            .filter_map(|mail| General::new(MAIL, mail.attr_value().data))
            .collect::<Vec<_>>()
    };
    if !certificate.subject.is_empty() {
        names.push(General::new(DIRECTORY, subject.as_raw())?);
    }
    Some(names)
}

static ALTERNATIVE_NAMES: Oid<'static> = oid!(2.5.29.17);

/// The subject alternative names, if there are any and they can be read.
pub(super) fn alternative_names<'a>(certificate: &Certificate<'a>) -> Option<Vec<Element<'a>>> {
    let value = certificate.value_of(&ALTERNATIVE_NAMES)?;
    let (sequence, after) = der::element(value, SEQUENCE)?;
    der::elements(sequence.content).filter(|_| after.is_empty())
}

/// Whether the name lies within a subtree of its own kind; nothing, if one of them cannot be read
/// or compared.
fn lies_within(name: &General<'_>, base: &General<'_>) -> Option<bool> {
    match name.kind {
        DNS => {
            let (name, base) = (name.text()?, base.text()?);
            let host = name.strip_prefix("*.").unwrap_or(name);
            (is_host(host) && (base.is_empty() || is_host(base))).then(|| within(host, base))
        }
        MAIL => mail_within(name.text()?, base.text()?),
        URI => uri_within(name.text()?, base.text()?),
        ADDRESS => address_within(name.content, base.content),
        // What is compared ends with each relative name: a beginning of it is a name above.
        DIRECTORY => Some(name.comparable.starts_with(&base.comparable)),
        // "the application MUST either process the constraint or reject the certificate"
        _ => None,
    }
}

/// Whether the name, or one that its wildcard stands for, lies within an excluded subtree.
fn overlaps(name: &General<'_>, base: &General<'_>) -> Option<bool> {
    let inside = lies_within(name, base)?;
    let wildcard = (name.kind == DNS)
        .then(|| name.text()?.strip_prefix("*."))
        .flatten();
    Some(inside || wildcard.is_some_and(|host| base.text().is_some_and(|base| within(base, host))))
}

fn mail_within(mail: &str, base: &str) -> Option<bool> {
    // Without quotes, in which there could be another @.
    let (local, host) = mail.split_once('@')?;
    if local.is_empty() || !is_host(host) {
        return None;
    }
    host_within(host, base).or_else(|| {
        // One mailbox: the part before the @ may be case-sensitive.
        let (only, at) = base.split_once('@')?;
        (!only.is_empty() && is_host(at)).then(|| local == only && same_host(host, at))
    })
}

fn uri_within(uri: &str, base: &str) -> Option<bool> {
    let (_, after) = uri.split_once("://")?;
    let authority = after.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = host.split(':').next()?;
    // "MUST be specified as a fully qualified domain name": with an address, constraints cannot be
    // met.
    let is_name = is_host(host) && host.parse::<Ipv4Addr>().is_err();
    host_within(host, base).filter(|_| is_name)
}

/// A host that is the base, or, where that begins with a period, below it; nothing, if the base is
/// no host.
fn host_within(host: &str, base: &str) -> Option<bool> {
    match base.strip_prefix('.') {
        Some(domain) => is_host(domain).then(|| within(host, domain) && !same_host(host, domain)),
        None => is_host(base).then(|| same_host(host, base)),
    }
}

fn address_within(address: &[u8], base: &[u8]) -> Option<bool> {
    let (network, mask) = base.split_at_checked(base.len() / 2)?;
    let number = |octets: &[u8]| match octets.len() {
        4 => <[u8; 4]>::try_from(octets)
            .ok()
            .map(|octets| u128::from(u32::from_be_bytes(octets))),
        16 => <[u8; 16]>::try_from(octets).ok().map(u128::from_be_bytes),
        _ => None,
    };
    let (address_bits, network_bits, mask_bits) =
        (number(address)?, number(network)?, number(mask)?);
    let width = mask.len() * 8;
    let ones = usize::try_from(mask_bits.count_ones()).ok()?;
    let zeros = usize::try_from(mask_bits.trailing_zeros()).ok()?.min(width);
    // A mask is ones, then zeros (RFC 4632).
    let is_inside =
        address.len() == network.len() && address_bits & mask_bits == network_bits & mask_bits;
    (network.len() == mask.len() && ones + zeros == width).then_some(is_inside)
}

/// A name for people.
fn shown(name: &General<'_>) -> String {
    let octets = name.content;
    match name.kind {
        DIRECTORY => crate::pki::certificate::distinguished_name(octets),
        ADDRESS => <[u8; 4]>::try_from(octets)
            .map(|octets| Ipv4Addr::from(octets).to_string())
            .or_else(|_| {
                <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).to_string())
            })
            .unwrap_or_else(|_| "an address".to_owned()),
        _ => printable(&String::from_utf8_lossy(octets)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn within(kind: u8, name: &[u8], base: &[u8]) -> Option<bool> {
        lies_within(&General::new(kind, name)?, &General::new(kind, base)?)
    }

    #[test]
    fn each_kind_of_name_has_its_own_subtrees() {
        for (kind, name, base, expected) in [
            (DNS, "a.example.com", "example.com", Some(true)),
            (DNS, "*.example.com", "Example.com", Some(true)),
            (DNS, "*.example.com", "a.example.com", Some(false)),
            (DNS, "an-example.com", "example.com", Some(false)),
            (DNS, "example.com", "", Some(true)),
            (DNS, "exam ple.com", "example.com", None),
            (DNS, "a.example.com", ".example.com", None),
            (DNS, "a.example.com", "*.example.com", None),
            (MAIL, "a@example.com", "example.com", Some(true)),
            (MAIL, "a@b.example.com", "example.com", Some(false)),
            (MAIL, "a@b.example.com", ".example.com", Some(true)),
            (MAIL, "a@example.com", "a@EXAMPLE.com", Some(true)),
            (MAIL, "A@example.com", "a@example.com", Some(false)),
            (MAIL, "a@b@example.com", "example.com", None),
            (URI, "https://example.com/a", "example.com", Some(true)),
            (
                URI,
                "https://a:b@c.example.com:443?d",
                ".example.com",
                Some(true),
            ),
            (
                URI,
                "https://example.com@evil.example/",
                "example.com",
                Some(false),
            ),
            (URI, "https://192.0.2.1/", "example.com", None),
            (URI, "urn:example", "example.com", None),
            (8, "any", "any", None),
        ] {
            let found = within(kind, name.as_bytes(), base.as_bytes());
            assert_eq!(found, expected, "{name} within {base}");
        }
        let excluded = |name: &str, base: &str| {
            let name = General::new(DNS, name.as_bytes()).unwrap();
            overlaps(&name, &General::new(DNS, base.as_bytes()).unwrap())
        };
        assert_eq!(excluded("*.example.com", "a.example.com"), Some(true));
        assert_eq!(excluded("*.example.com", "a.example.org"), Some(false));
    }

    #[test]
    fn addresses_lie_within_networks() {
        let network = [192, 0, 2, 0, 255, 255, 255, 0];
        assert_eq!(within(ADDRESS, &[192, 0, 2, 9], &network), Some(true));
        assert_eq!(within(ADDRESS, &[192, 0, 3, 9], &network), Some(false));
        assert_eq!(within(ADDRESS, &[0; 16], &network), Some(false));
        let holes = [192, 0, 2, 0, 255, 0, 255, 0];
        assert_eq!(within(ADDRESS, &[192, 0, 2, 9], &holes), None);
        assert_eq!(within(ADDRESS, &[192, 0, 2], &network), None);
        assert_eq!(within(ADDRESS, &[0; 16], &[0; 32]), Some(true));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            kind in 0_u8..10,
            name in any::<Vec<u8>>(),
            base in any::<Vec<u8>>(),
        ) {
            let _ = within(kind, &name, &base);
            let _ = subtrees(&base);
            let _ = subtrees(&der::write(SEQUENCE, &[&der::write(0xa0, &[&base])]));
            if let Some(name) = General::new(kind, &name) {
                let _ = shown(&name);
            }
        }
    }
}
