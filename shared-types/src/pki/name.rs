//! Distinguished names: their text, in whatever string type it was written, and their comparison
//! (RFC 5280, section 7.1).

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::pki::digest::hex;

/// The text of a string of any type that names are written in (`DirectoryString` and `IA5String`;
/// X.680, section 41). Nothing, if it is no string, or its octets are none of that type.
///
/// `TeletexString` is read as Latin-1, which is what certificates have in it instead of T.61.
pub(crate) fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::NumericString
        | Tag::Ia5String
        | Tag::VisibleString => std::str::from_utf8(value.data).ok().map(str::to_owned),
        Tag::T61String => Some(value.data.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, []) = value.data.as_chunks::<2>() else {
                return None;
            };
            let units = units.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        Tag::UniversalString => {
            let (characters, []) = value.data.as_chunks::<4>() else {
                return None;
            };
            let characters = characters.iter().map(|code| u32::from_be_bytes(*code));
            characters.map(char::from_u32).collect()
        }
        _ => None,
    }
}

/// A name as an RFC 4514-like text: `C=DE, O=Bank A`. A value that is no string is shown in
/// hexadecimal, after `#`.
pub(crate) fn display(name: &X509Name<'_>) -> String {
    let mut shown = String::new();
    for (place, parts) in name.iter_rdn().enumerate() {
        for (index, part) in parts.iter().enumerate() {
            shown.push_str(match (place, index) {
                (0, 0) => "",
                (_, 0) => ", ",
                _ => " + ",
            });
            let value = text(part.attr_value())
                .unwrap_or_else(|| format!("#{}", hex(part.attr_value().data)));
            // Writing to a `String` does not fail.
            let _ = match oid2abbrev(part.attr_type(), oid_registry()) {
                Ok(kind) => write!(shown, "{kind}={value}"),
                Err(_) => write!(shown, "{:?}={value}", part.attr_type()),
            };
        }
    }
    shown
}

/// A name in DER in a form that is equal for names that are the same: whatever the string types,
/// the case, the spaces, and the order within one relative name. Letters are compared without
/// Unicode normalization.
pub(crate) fn comparable(der: &[u8]) -> Vec<u8> {
    let Ok((_, name)) = X509Name::from_der(der) else {
        return der.to_vec();
    };
    let mut comparable = Vec::with_capacity(der.len());
    for parts in name.iter_rdn() {
        let mut parts: Vec<Vec<u8>> = parts.iter().map(comparable_part).collect();
        parts.sort_unstable();
        comparable.extend(parts.concat());
        comparable.push(b'\n');
    }
    comparable
}

/// Whether both are one name, however each is written.
pub(crate) fn is_one_name(one: &[u8], other: &[u8]) -> bool {
    one == other || comparable(one) == comparable(other)
}

/// It ends with a line feed, which folded text does not contain; a value that is not text is in
/// hexadecimal.
fn comparable_part(part: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let value = match text(part.attr_value()) {
        Some(text) => words(&text).to_lowercase(),
        None => format!("#{}", hex(part.attr_value().data)),
    };
    format!("{}={value}\n", hex(part.attr_type().as_bytes())).into_bytes()
}

/// The text with one space between words, and none around it: to RFC 5280, these make no
/// difference.
pub(crate) fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pki::der::{OID, SEQUENCE, SET, write};

    /// A name with one attribute for each relative name: the last octet of its OID below 2.5.4, the
    /// tag, the value.
    pub(crate) fn name(parts: &[(u8, u8, &[u8])]) -> Vec<u8> {
        let part = |(kind, tag, value): &(u8, u8, &[u8])| {
            let (kind, value) = (write(OID, &[&[0x55, 0x04, *kind]]), write(*tag, &[value]));
            write(SET, &[&write(SEQUENCE, &[&kind, &value])])
        };
        write(
            SEQUENCE,
            &[&parts.iter().flat_map(part).collect::<Vec<u8>>()],
        )
    }

    fn shown(tag: u8, value: &[u8]) -> String {
        let der = name(&[(10, tag, value)]);
        let (_, parsed) = X509Name::from_der(&der).unwrap();
        display(&parsed)
    }

    #[test]
    fn a_name_is_read_in_every_string_type() {
        for (tag, value) in [
            (0x0C, "Bänk Ω".as_bytes()),
            (0x1E, b"\x00B\x00\xE4\x00n\x00k\x00 \x03\xA9"),
            (0x1C, b"\0\0\0B\0\0\0\xE4\0\0\0n\0\0\0k\0\0\0 \0\0\x03\xA9"),
        ] {
            assert_eq!(shown(tag, value), "O=Bänk Ω", "{tag:#x}");
        }
        assert_eq!(shown(0x14, b"B\xE4nk"), "O=Bänk");
        assert_eq!(shown(0x13, b"Bank"), "O=Bank");
        // Half a character, and octets that are no string.
        assert_eq!(shown(0x1E, b"\x00B\x00"), "O=#004200");
        assert_eq!(shown(0x04, b"\x01"), "O=#01");
    }

    #[test]
    fn names_are_compared_as_text() {
        let printable = name(&[(6, 0x13, b"AT"), (10, 0x13, b"CA1 Trust Services")]);
        for same in [
            name(&[(6, 0x13, b"AT"), (10, 0x0C, b"CA1 Trust Services")]),
            name(&[(6, 0x0C, b"at"), (10, 0x14, b"  ca1  TRUST Services ")]),
            name(&[
                (6, 0x13, b"AT"),
                (
                    10,
                    0x1E,
                    b"\0C\0A\x001\0 \0T\0r\0u\0s\0t\0 \0S\0e\0r\0v\0i\0c\0e\0s",
                ),
            ]),
        ] {
            assert_eq!(comparable(&same), comparable(&printable), "{same:02x?}");
        }
        for other in [
            name(&[(6, 0x13, b"AT"), (10, 0x13, b"CA2 Trust Services")]),
            name(&[(6, 0x13, b"AT"), (11, 0x13, b"CA1 Trust Services")]),
            name(&[(10, 0x13, b"CA1 Trust Services"), (6, 0x13, b"AT")]),
            name(&[(10, 0x13, b"CA1 Trust Services")]),
            name(&[(6, 0x13, b"AT"), (10, 0x13, b"CA1TrustServices")]),
        ] {
            assert_ne!(comparable(&other), comparable(&printable), "{other:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), tag in any::<u8>(), value in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = comparable(&bytes);
            let der = name(&[(10, tag, &value)]);
            let _ = comparable(&der);
            if let Ok((_, name)) = X509Name::from_der(&der) {
                let _ = display(&name);
            }
        }
    }
}
