//! Minimal reader and writer of DER elements (X.690).
//!
//! The readers return slices of the input, so that a large CRL is read without a copy. They return
//! `None` for input that is malformed or truncated.

/// `BOOLEAN`.
pub const BOOLEAN: u8 = 0x01;
/// `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub const OID: u8 = 0x06;
/// `ENUMERATED`.
pub const ENUMERATED: u8 = 0x0a;
/// `SEQUENCE` and `SEQUENCE OF`.
pub const SEQUENCE: u8 = 0x30;
/// `SET` and `SET OF`.
pub const SET: u8 = 0x31;

/// Tag of a constructed, context-specific element, such as `[0] EXPLICIT`. Valid for numbers up to
/// 30, whose tag is a single octet.
#[must_use]
pub const fn context_tag(number: u8) -> u8 {
    0xa0 | number
}

/// One DER element: tag, length and content.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// The tag octet.
    pub tag: u8,
    /// The complete encoding: tag, length and content.
    pub whole: &'a [u8],
    /// The content octets.
    pub content: &'a [u8],
}

impl Element<'_> {
    /// Whether the length is encoded in as few octets as possible, as DER requires. The readers in
    /// this module also accept longer encodings, because some CAs write them.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        self.whole.len() - self.content.len() == header(self.tag, self.content.len()).len()
    }
}

/// Reads the first element, whatever its tag is. Returns it and the bytes after it.
#[must_use]
pub fn any(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after_tag) = bytes.split_first()?;
    let (&first_octet, after_first_octet) = after_tag.split_first()?;
    let (length, after_length) = if first_octet < 0x80 {
        (usize::from(first_octet), after_first_octet)
    } else {
        let count = usize::from(first_octet & 0x7f);
        // Four octets allow for lengths up to 4 GiB. Zero octets are BER's indefinite form, which
        // DER does not allow.
        if !(1..=4).contains(&count) {
            return None;
        }
        let (octets, after_length) = after_first_octet.split_at_checked(count)?;
        let length = octets
            .iter()
            .fold(0_usize, |sum, octet| (sum << 8) | usize::from(*octet));
        (length, after_length)
    };
    let (content, rest) = after_length.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((
        Element {
            tag,
            whole,
            content,
        },
        rest,
    ))
}

/// Reads the first element, which must have this tag. Returns it and the bytes after it.
#[must_use]
pub fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    any(bytes).filter(|(element, _)| element.tag == tag)
}

/// Reads the first element if it has this tag. Returns it and the bytes after it. If it has another
/// tag or is malformed, returns `None` and all bytes.
#[must_use]
pub fn optional(bytes: &[u8], tag: u8) -> (Option<Element<'_>>, &[u8]) {
    element(bytes, tag).map_or((None, bytes), |(element, rest)| (Some(element), rest))
}

/// Reads all elements up to the end of the bytes. `None` if one of them is malformed.
#[must_use]
pub fn elements(mut bytes: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (element, rest) = any(bytes)?;
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

/// Writes an element with this tag. Its content is the concatenation of the parts.
#[must_use]
pub fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut der = header(tag, parts.iter().map(|part| part.len()).sum());
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

/// Tag and length, in as few octets as possible.
fn header(tag: u8, length: usize) -> Vec<u8> {
    let octets = length.to_be_bytes();
    let first_nonzero = octets.iter().position(|octet| *octet != 0);
    let significant = octets
        .get(first_nonzero.unwrap_or(octets.len())..)
        .unwrap_or_default();
    let mut der = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => der.push(short),
        _ => {
            der.extend(u8::try_from(significant.len()).map(|count| 0x80 | count));
            der.extend(significant);
        }
    }
    der
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_element_is_read_back(length in 0_usize..70_000, rest in 0_usize..3) {
            let content = vec![7; length];
            let mut der = write(SEQUENCE, &[&content]);
            der.extend(vec![9; rest]);
            let (found, after) = element(&der, SEQUENCE).unwrap();
            prop_assert_eq!(found.content, content.as_slice());
            prop_assert!(found.is_minimal());
            prop_assert_eq!(after.len(), rest);
        }
    }
}
