//! Extensions of CRLs, of CRL entries and of OCSP responses (RFC 5280, sections 5.2 and 5.3; RFC
//! 6960, section 4.4).

use std::borrow::Cow;

use x509_parser::asn1_rs::Oid;

use crate::pki::der;

/// `Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }`
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extension<'a> {
    /// The content octets of its OID.
    pub(super) id: &'a [u8],
    pub(super) is_critical: bool,
    pub(super) value: &'a [u8],
}

impl Extension<'_> {
    /// Its OID, for people.
    pub(super) fn name(&self) -> String {
        dotted(self.id)
    }
}

/// The extensions in the content of a `SEQUENCE OF Extension`. What is none comes as nothing, and
/// ends them.
pub(crate) fn extensions(mut left: &[u8]) -> impl Iterator<Item = Option<Extension<'_>>> {
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let found = extension(left);
        left = found.map_or(&[], |(_, rest)| rest);
        Some(found.map(|(extension, _)| extension))
    })
}

fn extension(bytes: &[u8]) -> Option<(Extension<'_>, &[u8])> {
    let (whole, after) = der::element(bytes, der::SEQUENCE)?;
    let (id, rest) = der::element(whole.content, der::OID)?;
    let (critical, rest) = der::optional(rest, der::BOOLEAN);
    let (value, rest) = der::element(rest, der::OCTET_STRING)?;
    let found = Extension {
        id: id.content,
        // Anything but FALSE is TRUE (X.690, section 8.2.2).
        is_critical: critical.is_some_and(|critical| critical.content != [0]),
        value: value.content,
    };
    rest.is_empty().then_some((found, after))
}

/// An OID in dotted form, from its content octets.
pub(super) fn dotted(oid: &[u8]) -> String {
    Oid::new(Cow::Borrowed(oid)).to_id_string()
}
