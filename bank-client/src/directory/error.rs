//! Directory errors, with the position of the fault.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// The place of that byte of a text.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte.min(text.len())).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Fault for which a directory cannot be used. Its text is one line: file, line, column, and what
/// is wrong there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The file cannot be read.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The operating system's error.
        error: io::Error,
    },
    /// The extension of the file is neither `.toml` nor `.json`.
    #[error("{}: a directory is a .toml or a .json file", file.display())]
    UnknownForm {
        /// Which file.
        file: PathBuf,
    },
    /// The file is larger than a directory may be.
    #[error("{}: larger than {limit} bytes", file.display())]
    TooLarge {
        /// Which file.
        file: PathBuf,
        /// The limit, in bytes.
        limit: usize,
    },
    /// There are more banks in it than a directory may have.
    #[error("{}: {banks} banks, more than {limit}", file.display())]
    TooMany {
        /// Which file.
        file: PathBuf,
        /// Their number.
        banks: usize,
        /// The limit.
        limit: usize,
    },
    /// It is not TOML or JSON, a field is unknown or missing, or a value is wrong.
    #[error("{}:{place}: {reason}", file.display())]
    Wrong {
        /// Which file.
        file: PathBuf,
        /// The place.
        place: Place,
        /// The fault.
        reason: String,
    },
    /// Two banks share what can only be one's.
    #[error("{}:{place}: {what} {value} is that of the bank at {first} already", file.display())]
    Duplicate {
        /// Which file.
        file: PathBuf,
        /// Place of the second one.
        place: Place,
        /// The field that they share.
        what: Unique,
        /// Its value.
        value: String,
        /// Place of the first one.
        first: Place,
    },
}

/// Field that two banks of a directory cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Unique {
    /// The id.
    Id,
    /// The name, case and accents aside.
    Name,
    /// The BIC.
    Bic,
    /// A bank code, within a country.
    BankCode,
}

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Id => "the id",
            Self::Name => "the name",
            Self::Bic => "the BIC",
            Self::BankCode => "the bank code",
        })
    }
}
