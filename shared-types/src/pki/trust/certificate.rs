//! Certificate of a chain, with the fields that path building and validation use.

use std::collections::HashSet;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{BasicConstraints, ExtendedKeyUsage, KeyUsage, ParsedExtension};
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::oid_registry::Oid;
use x509_parser::oid_registry::asn1_rs::oid;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::X509Version;

use super::Refusal;
use crate::pki::certificate::printable;
use crate::pki::der::{self, BIT_STRING, INTEGER, OID, SEQUENCE, SET, elements};
use crate::pki::name::{comparable, display};
use crate::pki::revocation::extension::extensions;
use crate::pki::revocation::signature::Signed;

/// A certificate that could be read. Whether its content is right is asked once it is in a path.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    pub(super) parsed: X509Certificate<'a>,
    pub(super) signed: Signed<'a>,
    /// Subject and issuer, in the form in which names are compared.
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// The content of the `AlgorithmIdentifier` within what is signed.
    algorithm: &'a [u8],
}

/// The smallest RSA modulus, in bits (ETSI TS 119 312).
const MIN_RSA_BITS: usize = 2048;
/// The largest RSA modulus, in bits: what the cryptographic library checks signatures with, at a
/// bounded cost.
const MAX_RSA_BITS: usize = 8192;
/// The smallest elliptic-curve field, in bits.
const MIN_EC_BITS: usize = 256;

impl<'a> Certificate<'a> {
    /// The largest certificate that is read, in bytes.
    pub(super) const MAX_BYTES: usize = 16 * 1024;

    pub(super) fn read(der: &'a [u8]) -> Result<Self, Refusal> {
        if der.len() > Self::MAX_BYTES {
            return Err(Refusal::TooLarge {
                bytes: der.len(),
                most: Self::MAX_BYTES,
            });
        }
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| Refusal::Unreadable)?;
        if !rest.is_empty() {
            return Err(Refusal::Unreadable);
        }
        let signed = Signed::read(der).ok_or(Refusal::Unreadable)?;
        Ok(Self {
            signed,
            algorithm: algorithm_within(signed.content).ok_or(Refusal::Unreadable)?,
            subject: comparable(parsed.subject().as_raw()),
            issuer: comparable(parsed.issuer().as_raw()),
            parsed,
        })
    }

    /// Its subject, for people.
    pub(super) fn title(&self) -> String {
        printable(&display(self.parsed.subject()))
    }

    /// The public key (`SubjectPublicKeyInfo`), as DER.
    pub(super) fn key(&self) -> &'a [u8] {
        self.parsed.tbs_certificate.subject_pki.raw
    }

    /// Whether it is that very certificate.
    pub(super) fn is(&self, other: &Certificate<'_>) -> bool {
        self.parsed.as_raw() == other.parsed.as_raw()
    }

    /// Whether both are of one name and key.
    pub(super) fn is_same_authority(&self, other: &Certificate<'_>) -> bool {
        self.subject == other.subject && self.key() == other.key()
    }

    /// Whether subject and issuer are one name (RFC 5280, section 6.1).
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Whether its authority key identifier is that of the issuer's key; nothing, where one of them
    /// has none.
    pub(super) fn names_key_of(&self, issuer: &Certificate<'_>) -> Option<bool> {
        let above = self.find(|extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(above) => above.key_identifier.as_ref(),
            _ => None,
        })?;
        let own = issuer.find(|extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(own) => Some(own),
            _ => None,
        })?;
        Some(above == own)
    }

    pub(super) fn basic_constraints(&self) -> Option<&BasicConstraints> {
        self.find(|extension| match extension {
            ParsedExtension::BasicConstraints(constraints) => Some(constraints),
            _ => None,
        })
    }

    pub(super) fn is_ca(&self) -> bool {
        self.basic_constraints()
            .is_some_and(|constraints| constraints.ca)
    }

    pub(super) fn key_usage(&self) -> Option<&KeyUsage> {
        self.find(|extension| match extension {
            ParsedExtension::KeyUsage(usage) => Some(usage),
            _ => None,
        })
    }

    pub(super) fn extended_key_usage(&self) -> Option<&ExtendedKeyUsage<'a>> {
        self.find(|extension| match extension {
            ParsedExtension::ExtendedKeyUsage(usage) => Some(usage),
            _ => None,
        })
    }

    /// The first extension in which something is found.
    pub(super) fn find<'s, T>(
        &'s self,
        look: impl Fn(&'s ParsedExtension<'a>) -> Option<T>,
    ) -> Option<T> {
        let mut extensions = self.parsed.extensions().iter();
        extensions.find_map(|extension| look(extension.parsed_extension()))
    }

    /// The value of an extension, in DER.
    pub(super) fn value_of(&self, id: &Oid<'_>) -> Option<&'a [u8]> {
        let mut extensions = self.parsed.extensions().iter();
        extensions
            .find(|extension| extension.oid == *id)
            .map(|extension| extension.value)
    }

    /// Checks version, algorithm, extensions and key: what a certificate of a path has to be
    /// whatever is above it.
    pub(super) fn check_form(&self) -> Result<(), Refusal> {
        let malformed = |what: String| Refusal::Malformed {
            what,
            certificate: self.title(),
        };
        if self.parsed.version() != X509Version::V3 {
            return Err(malformed("its version is not 3".to_owned()));
        }
        if self.algorithm != self.signed.algorithm {
            let what = "it names two different signature algorithms (RFC 5280, section 4.1.1.2)";
            return Err(malformed(what.to_owned()));
        }
        let mut seen = HashSet::new();
        for extension in self.parsed.extensions() {
            let title = || named(&extension.oid);
            if !seen.insert(&extension.oid) {
                return Err(malformed(format!(
                    "the extension {} is there twice",
                    title()
                )));
            }
            let is_exact = extension.parsed_extension().error().is_none()
                && matches!(der::any(extension.value), Some((_, [])));
            if !is_exact && is_standard(&extension.oid) {
                return Err(malformed(format!("the extension {} is malformed", title())));
            }
            if extension.critical && !is_processed(extension.parsed_extension()) {
                return Err(Refusal::UnknownCriticalExtension {
                    extension: title(),
                    certificate: self.title(),
                });
            }
        }
        self.check_key()
    }

    /// Checks that signatures of its kind are verified here at all.
    pub(super) fn check_algorithm(&self) -> Result<(), Refusal> {
        let known = webpki::ALL_VERIFICATION_ALGS.iter();
        if known
            .map(|known| known.signature_alg_id())
            .any(|known| known.as_ref() == self.signed.algorithm)
        {
            return Ok(());
        }
        Err(Refusal::UnsupportedSignature {
            algorithm: named(&self.parsed.signature_algorithm.algorithm),
            certificate: self.title(),
        })
    }

    /// Checks that its key is strong enough, and not so large that signatures are expensive.
    pub(super) fn check_key(&self) -> Result<(), Refusal> {
        let weak = |what: String| {
            Err(Refusal::WeakKey(format!(
                "{what}, in that of {}",
                self.title()
            )))
        };
        match self.parsed.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => match bits(key.modulus) {
                bits @ ..MIN_RSA_BITS => weak(format!(
                    "RSA with {bits} bits; at least {MIN_RSA_BITS} are asked for"
                )),
                MIN_RSA_BITS..=MAX_RSA_BITS => Ok(()),
                bits => Err(Refusal::LargeKey {
                    bits,
                    most: MAX_RSA_BITS,
                    certificate: self.title(),
                }),
            },
            Ok(PublicKey::EC(point)) if point.key_size() < MIN_EC_BITS => weak(format!(
                "an elliptic curve of {} bits; at least {MIN_EC_BITS} are asked for",
                point.key_size()
            )),
            Ok(PublicKey::DSA(_)) => weak("DSA".to_owned()),
            // Ed25519 and ML-DSA arrive as `Unknown`; signatures by algorithms that are not known
            // are refused.
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::Unreadable),
        }
    }
}

/// Walks over a `TBSCertificate`, which has to have the parts of one and nothing between and after
/// them: the parser reads past what is too much in a part, and takes other types for object
/// identifiers. Returns the content of its `AlgorithmIdentifier`.
fn algorithm_within(content: &[u8]) -> Option<&[u8]> {
    /// Unique identifiers of issuer and subject.
    const UNIQUE: [u8; 2] = [0x81, 0x82];

    let (all, []) = der::element(content, SEQUENCE)? else {
        return None;
    };
    let (version, rest) = der::optional(all.content, der::context_tag(0));
    let (_serial, rest) = der::element(rest, INTEGER)?;
    let (algorithm, rest) = der::element(rest, SEQUENCE)?;
    let (issuer, rest) = der::element(rest, SEQUENCE)?;
    let (validity, rest) = der::element(rest, SEQUENCE)?;
    let (subject, rest) = der::element(rest, SEQUENCE)?;
    let (key, mut rest) = der::element(rest, SEQUENCE)?;
    for tag in UNIQUE {
        rest = der::optional(rest, tag).1;
    }
    let (extended, rest) = der::optional(rest, der::context_tag(3));
    let is_exact = rest.is_empty()
        && version.is_none_or(|version| are(version.content, [INTEGER]))
        && elements(validity.content)?.len() == 2
        && is_exact_key(key.content)?
        && is_exact_name(issuer.content)?
        && is_exact_name(subject.content)?
        && extended.is_none_or(|extended| {
            are(extended.content, [SEQUENCE])
                && der::any(extended.content)
                    .is_some_and(|(list, _)| extensions(list.content).all(|each| each.is_some()))
        });
    is_exact.then_some(algorithm.content)
}

/// `SEQUENCE { SEQUENCE { algorithm OID, parameters ANY OPTIONAL }, BIT STRING }`
fn is_exact_key(content: &[u8]) -> Option<bool> {
    let (algorithm, _) = der::any(content)?;
    let parts = elements(algorithm.content)?;
    let is_algorithm = matches!(parts.as_slice(), [id] | [id, _] if id.tag == OID);
    Some(is_algorithm && are(content, [SEQUENCE, BIT_STRING]))
}

/// `SEQUENCE OF SET OF SEQUENCE { type OID, value ANY }`
fn is_exact_name(content: &[u8]) -> Option<bool> {
    /// The class bits of a tag; all are zero for ASN.1's own types.
    const CLASS: u8 = 0xc0;

    let mut is_exact = true;
    for relative in elements(content)? {
        is_exact &= relative.tag == SET;
        for attribute in elements(relative.content)? {
            let parts = elements(attribute.content)?;
            is_exact &= attribute.tag == SEQUENCE
                && matches!(parts.as_slice(), [id, value] if id.tag == OID && value.tag & CLASS == 0);
        }
    }
    Some(is_exact)
}

/// Whether elements of those tags fill the content.
fn are<const N: usize>(content: &[u8], tags: [u8; N]) -> bool {
    elements(content).is_some_and(|found| found.iter().map(|one| one.tag).eq(tags))
}

/// The length of a positive number, in bits.
fn bits(number: &[u8]) -> usize {
    let first = number.iter().position(|octet| *octet != 0);
    let significant = first
        .and_then(|first| number.get(first..))
        .unwrap_or_default();
    let unused = significant.first().map_or(0, |octet| octet.leading_zeros());
    significant.len() * 8 - usize::try_from(unused).unwrap_or(0)
}

/// An object identifier in dotted form, with the name that it is known by.
pub(super) fn named(id: &Oid<'_>) -> String {
    let number = id.to_string();
    let name = oid2sn(id, oid_registry()).or(match number.as_str() {
        "1.2.840.10040.4.3" => Ok("dsa-with-SHA1"),
        "1.2.840.10045.4.1" => Ok("ecdsa-with-SHA1"),
        _ => Err(()),
    });
    name.map_or_else(|()| number.clone(), |name| format!("{name} ({number})"))
}

/// Whether RFC 5280 defines the extension.
fn is_standard(id: &Oid<'_>) -> bool {
    let arc = oid!(2.5.29);
    id.as_bytes().starts_with(arc.as_bytes()) || *id == oid!(1.3.6.1.5.5.7.1.1)
}

/// Whether paths are validated by the extension, so that it may be critical (RFC 5280, section
/// 4.2).
fn is_processed(extension: &ParsedExtension<'_>) -> bool {
    /// The qualifiers that RFC 5280, section 4.2.1.4, defines: their content is for people.
    const QUALIFIERS: [Oid<'static>; 2] = [oid!(1.3.6.1.5.5.7.2.1), oid!(1.3.6.1.5.5.7.2.2)];

    match extension {
        ParsedExtension::CertificatePolicies(policies) => policies
            .iter()
            .filter_map(|policy| policy.policy_qualifiers.as_ref())
            .flatten()
            .all(|qualifier| QUALIFIERS.contains(&qualifier.policy_qualifier_id)),
        ParsedExtension::BasicConstraints(_)
        | ParsedExtension::CRLDistributionPoints(_)
        | ParsedExtension::ExtendedKeyUsage(_)
        | ParsedExtension::InhibitAnyPolicy(_)
        | ParsedExtension::KeyUsage(_)
        | ParsedExtension::NameConstraints(_)
        | ParsedExtension::PolicyConstraints(_)
        | ParsedExtension::PolicyMappings(_)
        | ParsedExtension::SubjectAlternativeName(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_key_is_counted() {
        assert_eq!(bits(&[0x00, 0x80, 0x00]), 16);
        assert_eq!(bits(&[0x7f, 0xff]), 15);
        assert_eq!(bits(&[0x00, 0x01]), 1);
        assert_eq!(bits(&[]), 0);
    }

    #[test]
    fn extensions_have_their_number_and_the_name_they_are_known_by() {
        assert_eq!(named(&oid!(2.5.29.36)), "policyConstraints (2.5.29.36)");
        assert_eq!(named(&oid!(1.2.3.4)), "1.2.3.4");
    }
}
