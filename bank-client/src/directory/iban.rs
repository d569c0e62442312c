//! Position of the bank code in a country's IBANs.

/// Structure of the IBANs of a country.
struct Structure {
    country: &'static str,
    /// All characters.
    length: usize,
    /// Start of the bank's code: after country and check digits, and in Italy after one
    /// more.
    start: usize,
    /// As far as codes go: that of the bank, and where there is one that of the branch right behind
    /// it.
    codes: usize,
}

const fn country(country: &'static str, length: usize, codes: usize) -> Structure {
    Structure {
        country,
        length,
        start: 4,
        codes,
    }
}

/// The countries and territories of SEPA that have IBANs of their own. From the registry of ISO
/// 13616 ("IBAN Registry", published by SWIFT as registration authority): the IBAN's length, and
/// the positions of bank and branch identifier.
const STRUCTURES: [Structure; 42] = [
    country("AD", 24, 8),
    country("AL", 28, 7),
    country("AT", 20, 5),
    country("BE", 16, 3),
    country("BG", 22, 8),
    country("CH", 21, 5),
    country("CY", 28, 8),
    country("CZ", 24, 4),
    country("DE", 22, 8),
    country("DK", 18, 4),
    country("EE", 20, 2),
    country("ES", 24, 8),
    country("FI", 18, 3),
    country("FR", 27, 10),
    country("GB", 22, 10),
    country("GI", 23, 4),
    country("GR", 27, 7),
    country("HR", 21, 7),
    country("HU", 28, 7),
    country("IE", 22, 10),
    country("IS", 26, 4),
    Structure {
        start: 5,
        ..country("IT", 27, 10)
    },
    country("LI", 21, 5),
    country("LT", 20, 5),
    country("LU", 20, 3),
    country("LV", 21, 4),
    country("MC", 27, 10),
    country("MD", 24, 2),
    country("ME", 22, 3),
    country("MK", 19, 3),
    country("MT", 31, 9),
    country("NL", 18, 4),
    country("NO", 15, 4),
    country("PL", 28, 8),
    country("PT", 25, 8),
    country("RO", 24, 4),
    country("RS", 22, 3),
    country("SE", 24, 3),
    country("SI", 19, 5),
    country("SK", 24, 4),
    Structure {
        start: 5,
        ..country("SM", 27, 10)
    },
    country("VA", 22, 3),
];

/// Reason for which an IBAN leads to no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoCode {
    Country,
    Length { expected: usize },
}

/// The part of an IBAN that starts with the code of the bank: the bank's is at its beginning,
/// however long it is.
pub(super) fn codes(iban: &str) -> Result<&str, NoCode> {
    let country = iban.get(..2).unwrap_or_default();
    let found = STRUCTURES.binary_search_by(|structure| structure.country.cmp(country));
    let structure = found
        .ok()
        .and_then(|place| STRUCTURES.get(place))
        .ok_or(NoCode::Country)?;
    let wrong = NoCode::Length {
        expected: structure.length,
    };
    if iban.len() != structure.length {
        return Err(wrong);
    }
    let end = structure.start + structure.codes;
    iban.get(structure.start..end).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use shared_types::xs2a::iban::Iban;

    use super::*;

    #[test]
    fn the_registrys_examples_carry_their_codes() {
        let examples = [
            ("AD1200012030200359100100", "00012030"),
            ("AL47212110090000000235698741", "2121100"),
            ("AT611904300234573201", "19043"),
            ("BE68539007547034", "539"),
            ("BG80BNBG96611020345678", "BNBG9661"),
            ("CH9300762011623852957", "00762"),
            ("CY17002001280000001200527600", "00200128"),
            ("CZ6508000000192000145399", "0800"),
            ("DE89370400440532013000", "37040044"),
            ("DK5000400440116243", "0040"),
            ("EE382200221020145685", "22"),
            ("ES9121000418450200051332", "21000418"),
            ("FI2112345600000785", "123"),
            ("FR1420041010050500013M02606", "2004101005"),
            ("GB29NWBK60161331926819", "NWBK601613"),
            ("GI75NWBK000000007099453", "NWBK"),
            ("GR1601101250000000012300695", "0110125"),
            ("HR1210010051863000160", "1001005"),
            ("HU42117730161111101800000000", "1177301"),
            ("IE29AIBK93115212345678", "AIBK931152"),
            ("IS140159260076545510730339", "0159"),
            ("IT60X0542811101000000123456", "0542811101"),
            ("LI21088100002324013AA", "08810"),
            ("LT121000011101001000", "10000"),
            ("LU280019400644750000", "001"),
            ("LV80BANK0000435195001", "BANK"),
            ("MC5811222000010123456789030", "1122200001"),
            ("MD24AG000225100013104168", "AG"),
            ("ME25505000012345678951", "505"),
            ("MK07250120000058984", "250"),
            ("MT84MALT011000012345MTLCAST001S", "MALT01100"),
            ("NL91ABNA0417164300", "ABNA"),
            ("NO9386011117947", "8601"),
            ("PL61109010140000071219812874", "10901014"),
            ("PT50000201231234567890154", "00020123"),
            ("RO49AAAA1B31007593840000", "AAAA"),
            ("RS35260005601001611379", "260"),
            ("SE4550000000058398257466", "500"),
            ("SI56263300012039086", "26330"),
            ("SK3112000000198742637541", "1200"),
            ("SM86U0322509800000000270100", "0322509800"),
            ("VA59001123000012345678", "001"),
        ];
        assert_eq!(examples.len(), STRUCTURES.len());
        for (iban, code) in examples {
            assert!(iban.parse::<Iban>().unwrap().check_digits_hold(), "{iban}");
            assert_eq!(codes(iban), Ok(code), "{iban}");
        }
    }

    #[test]
    fn another_country_or_length_leads_to_none() {
        assert_eq!(codes("BR1800360305000010009795493C1"), Err(NoCode::Country));
        assert_eq!(
            codes("DE8937040044053201300"),
            Err(NoCode::Length { expected: 22 })
        );
        assert_eq!(codes(""), Err(NoCode::Country));
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(STRUCTURES.is_sorted_by_key(|structure| structure.country));
    }
}
