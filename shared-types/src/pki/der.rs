//! Minimal DER reader and writer (X.690). Walks over a CRL of any size without copying it; writes
//! OCSP messages, CRLs and extensions.

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

/// The tag of an explicit or constructed element of that number, specific to its context.
#[must_use]
pub const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// The tag, in its one octet.
    pub tag: u8,
    /// The whole encoding, with tag and length.
    pub whole: &'a [u8],
    /// The content octets.
    pub content: &'a [u8],
}

impl Element<'_> {
    /// Whether its length is written in the fewest octets, as DER demands. Readers take others too,
    /// where CAs write them.
    #[must_use]
    pub fn is_minimal(&self) -> bool {
        self.whole.len() - self.content.len() == header(self.tag, self.content.len()).len()
    }
}

/// The first element, and what comes after it.
#[must_use]
pub fn any(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, after_tag) = bytes.split_first()?;
    let (&first, after_length) = after_tag.split_first()?;
    let (length, content) = if first < 0x80 {
        (usize::from(first), after_length)
    } else {
        let octets = usize::from(first & 0x7f);
        // Four are enough for every size that is allowed; none would be BER's indefinite form.
        if !(1..=4).contains(&octets) {
            return None;
        }
        let (length, content) = after_length.split_at_checked(octets)?;
        let length = length
            .iter()
            .fold(0_usize, |sum, octet| (sum << 8) | usize::from(*octet));
        (length, content)
    };
    let (content, rest) = content.split_at_checked(length)?;
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

/// The first element, which must have that tag, and what comes after it.
#[must_use]
pub fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    any(bytes).filter(|(element, _)| element.tag == tag)
}

/// The first element, if it has that tag; and what comes after it.
#[must_use]
pub fn optional(bytes: &[u8], tag: u8) -> (Option<Element<'_>>, &[u8]) {
    element(bytes, tag).map_or((None, bytes), |(element, rest)| (Some(element), rest))
}

/// All elements, one after the other; `None` if one of them cannot be read.
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

/// An element of that tag around the parts.
#[must_use]
pub fn write(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut der = header(tag, parts.iter().map(|part| part.len()).sum());
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

fn header(tag: u8, length: usize) -> Vec<u8> {
    let octets = length.to_be_bytes();
    let first = octets.iter().position(|octet| *octet != 0);
    let significant = octets
        .get(first.unwrap_or(octets.len())..)
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
        fn what_is_written_is_read(length in 0_usize..70_000, rest in 0_usize..3) {
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
