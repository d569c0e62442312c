//! Serial numbers, compared as numbers.
//!
//! A serial number is a positive `INTEGER` of at most 20 octets in its shortest form (RFC 5280,
//! section 4.1.2.2). CAs that keep to less exist, and the standard asks to handle what they issue:
//! certificates and lists take serial numbers of any length and form, and one rule says which are
//! the same.

/// The significant octets of a serial number's DER content: leading octets that
/// add nothing, and the one that says that a number is positive, are left out. A CA that writes it
/// in one place and forgets it in another means the same certificate.
pub(super) fn significant(serial: &[u8]) -> &[u8] {
    match minimal(serial) {
        [0, rest @ ..] if !rest.is_empty() => rest,
        minimal => minimal,
    }
}

/// The shortest form of the same number, as DER has it (X.690, section 8.3.2).
pub(super) fn minimal(mut serial: &[u8]) -> &[u8] {
    while let [0x00, 0x00..=0x7F, ..] | [0xFF, 0x80..=0xFF, ..] = serial {
        serial = serial.get(1..).unwrap_or_default();
    }
    serial
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn serial_numbers_are_compared_as_numbers() {
        for (one, same) in [
            (&[0x01][..], &[0x00, 0x00, 0x01][..]),
            (&[0x00, 0x80], &[0x00, 0x00, 0x80]),
            // Negative, and with its sign forgotten.
            (&[0xFB], &[0xFF, 0xFF, 0xFB]),
            (&[0x00, 0xFB], &[0xFB]),
            (&[0x00], &[0x00, 0x00]),
        ] {
            assert_eq!(significant(one), significant(same), "{one:02x?}");
        }
        for (one, other) in [
            (&[0x01][..], &[0x01, 0x00][..]),
            (&[0x00], &[0x01]),
            (&[0x00, 0xFF], &[0x01]),
            (&[0x00, 0xFF], &[0x00, 0xFF, 0xFF]),
        ] {
            assert_ne!(significant(one), significant(other), "{one:02x?}");
        }
        assert_eq!(minimal(&[0x00, 0x00, 0x80]), [0x00, 0x80]);
        assert_eq!(minimal(&[]), [0_u8; 0]);
    }

    proptest! {
        #[test]
        fn zeros_in_front_make_no_other_number(serial in proptest::collection::vec(any::<u8>(), 1..40), zeros in 0_usize..9) {
            let positive = [&[0], serial.as_slice()].concat();
            let padded = [vec![0; zeros], positive.clone()].concat();
            prop_assert_eq!(significant(&padded), significant(&positive));
        }
    }
}
