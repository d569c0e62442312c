//! Formats of files, and how one is detected.

use super::Place;
use super::csv;
use crate::core_banking::ledger::import::Result;

/// Format of a file that can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// World file (JSON Lines): docs/world-file.md.
    World,
    /// Comma-separated values, or with another delimiter: docs/import.md.
    Csv,
    /// ISO 20022 bank-to-customer statement: camt.053.001, versions 02, 06 and 08.
    #[value(name = "camt.053", alias = "camt053")]
    Camt053,
    /// SWIFT customer statement message.
    Mt940,
}

impl Format {
    /// Detects the format by the beginning of a file.
    pub(super) fn detect(head: &str) -> Result<Self> {
        let start = head.trim_start();
        let first_line = start.lines().next().unwrap_or_default();
        let is_message = || {
            let mut lines = head.split(['\n', '\r']);
            lines.any(|line| line.starts_with(":20:"))
        };
        if start.is_empty() {
            Err(Place::new(1, ".").wrong("the file is empty"))
        } else if start.starts_with('<') {
            Ok(Self::Camt053)
        } else if start.starts_with("{1:") || is_message() {
            Ok(Self::Mt940)
        } else if start.starts_with('{') {
            Ok(Self::World)
        } else if csv::is_header(first_line) {
            Ok(Self::Csv)
        } else {
            Err(Place::new(1, ".").wrong(
                "the format is not recognised: a world file starts with {\"world\", camt.053 is \
                 XML, MT940 has a line :20:, and CSV has its columns in the first line \
                 (docs/import.md); --format names it",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_detected_by_its_beginning() {
        for (head, expected) in [
            ("{\"world\":{\"version\":1}}\n", Format::World),
            ("{}", Format::World),
            ("\n <?xml version=\"1.0\"?>", Format::Camt053),
            (
                "{1:F01BANKDEFFXXXX0000000000}{2:I940BANKDEFFXXXXN}{4:\n:20:A",
                Format::Mt940,
            ),
            ("BANKDEFF\r940\r\r\n:20:A\r\n", Format::Mt940),
            ("account;booking_date;amount;currency\n", Format::Csv),
        ] {
            assert_eq!(Format::detect(head).unwrap(), expected, "{head}");
        }
        for (head, said) in [
            (" \n", "the file is empty"),
            ("PK\u{3}\u{4}", "not recognised"),
        ] {
            let refused = Format::detect(head).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
