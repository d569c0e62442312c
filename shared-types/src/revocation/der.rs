//! As much of DER as it takes to walk over a list of any size without copying it.

pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const SEQUENCE: u8 = 0x30;

/// One element.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    /// With tag and length.
    pub(super) whole: &'a [u8],
    pub(super) content: &'a [u8],
}

/// The first element, and what comes after it.
pub(super) fn any(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
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
pub(super) fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    any(bytes).filter(|(element, _)| element.tag == tag)
}

/// The first element, if it has that tag; and what comes after it.
pub(super) fn optional(bytes: &[u8], tag: u8) -> (Option<Element<'_>>, &[u8]) {
    element(bytes, tag).map_or((None, bytes), |(element, rest)| (Some(element), rest))
}
