//! Bank directory: the banks that a program knows.
//!
//! A directory is a TOML or JSON file with the URL and organisation of each bank, and what it
//! limits:
//!
//! ```toml
//! [[banks]]
//! id = "bank-b"                      # by what programs call it: a to z, 0 to 9 and -
//! name = "Bank B"                    # by what people call it
//! bic = "BNKBFRPP"                   # optional
//! bank_codes = ["20020"]             # as they stand in its IBANs; with the branch's, if only some are its
//! country = "FR"
//! url = "https://xs2a.bank-b.example"
//! organisation = "PSDFR-ACPR-20002"  # every other server is refused
//! anchors = ["ca1.pem"]              # trust anchors; paths are relative to this file
//! sca_approaches = ["redirect"]      # or "decoupled", "embedded"; optional
//!
//! [banks.limits]                     # what is known of them
//! history_days = 90                  # how far back transactions go
//! calls_a_day = 4                    # reads without the customer
//! consent_days = 180                 # the longest consent
//! delta = "entry-reference"          # or "delta-list": how it reports new entries
//! ```
//!
//! In JSON, it is an object with the same names. Fields that are unknown, values that are wrong,
//! and ids, names, BICs or bank codes that two banks share are errors with their position: see
//! [`DirectoryError`].
//!
//! ```
//! use bank_client::directory::Directory;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = Directory::from_toml(
//!     r#"
//!     [[banks]]
//!     id = "bank-b"
//!     name = "Crédit de la Baie"
//!     bic = "BNKBFRPP"
//!     bank_codes = ["20020"]
//!     country = "FR"
//!     url = "https://xs2a.bank-b.example"
//!     organisation = "PSDFR-ACPR-20002"
//!     anchors = ["ca1.pem"]
//!     "#,
//!     "/etc/banks",
//! )?;
//! let bank = directory.by_iban(&"FR3320020000170123456789041".parse()?)?;
//! assert_eq!(bank.id.as_str(), "bank-b");
//! assert_eq!(directory.by_bic(&"BNKBFRPP75A".parse()?), vec![bank]);
//! assert_eq!(directory.by_name("credti de la baie"), vec![bank]);
//! # Ok(())
//! # }
//! ```

mod entry;
mod error;
mod iban;
mod id;
mod names;
mod reading;
mod terms;

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;

use shared_types::xs2a::bic::Bic;
use shared_types::xs2a::iban::Iban;

pub use self::entry::{BankEntry, BankLimits, Delta, EntryError};
pub use self::error::{DirectoryError, Place, Unique};
pub use self::id::{BankId, NotABankId};
use self::names::Folded;
use self::reading::{Form, Step};
pub use self::terms::Terms;

/// The largest file, in bytes.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;

/// The most banks in a directory.
pub const MOST_BANKS: usize = 20_000;

/// The banks that a program knows.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    banks: Vec<BankEntry>,
    /// As they are compared, in the same order.
    names: Vec<Folded>,
    ids: HashMap<BankId, usize>,
    /// By country and code.
    codes: HashMap<(String, String), usize>,
}

/// Reason for which no bank is found for an IBAN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoBank {
    /// It is mistyped.
    #[error("the check digits of the IBAN do not hold: it is mistyped")]
    CheckDigits,
    /// It has more or fewer characters than those of its country.
    #[error("an IBAN of {country} has {expected} characters")]
    Length {
        /// Its country.
        country: String,
        /// The number it should have.
        expected: usize,
    },
    /// It is of a country whose IBANs are not known here.
    #[error("where IBANs of {country} name the bank is not known")]
    Country {
        /// Its country.
        country: String,
    },
    /// No bank of the directory has its code.
    #[error("no bank of the directory has a code with which {code} begins, in {country}")]
    Unknown {
        /// Its country.
        country: String,
        /// The codes of bank and branch in it.
        code: String,
    },
}

impl Directory {
    /// Reads a directory. The file's extension, `.toml` or `.json`, determines its format.
    pub fn read(file: impl AsRef<Path>) -> Result<Self, DirectoryError> {
        let file = file.as_ref();
        let form = match file.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => Form::Toml,
            Some("json") => Form::Json,
            _ => {
                return Err(DirectoryError::UnknownForm {
                    file: file.to_owned(),
                });
            }
        };
        let unreadable = |error| DirectoryError::Unreadable {
            file: file.to_owned(),
            error,
        };
        let open = std::fs::File::open(file).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // Reads one byte more than the limit, to detect a larger file.
        let most = u64::try_from(MOST_BYTES)
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        open.take(most)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        Self::parse(form, &bytes, file, folder)
    }

    /// Reads a directory from TOML. The paths in it are taken from that folder.
    pub fn from_toml(text: &str, folder: impl AsRef<Path>) -> Result<Self, DirectoryError> {
        let file = Path::new("directory");
        Self::parse(Form::Toml, text.as_bytes(), file, folder.as_ref())
    }

    /// Reads a directory from JSON. The paths in it are taken from that folder.
    pub fn from_json(text: &str, folder: impl AsRef<Path>) -> Result<Self, DirectoryError> {
        let file = Path::new("directory");
        Self::parse(Form::Json, text.as_bytes(), file, folder.as_ref())
    }

    /// The banks, in the order of the file.
    #[must_use]
    pub fn banks(&self) -> &[BankEntry] {
        &self.banks
    }

    /// The bank of that id.
    #[must_use]
    pub fn get(&self, id: &BankId) -> Option<&BankEntry> {
        self.ids.get(id).and_then(|place| self.banks.get(*place))
    }

    /// The bank that holds the account. Of several codes that the IBAN begins with, the longest
    /// counts: that of a branch before that of a bank.
    pub fn by_iban(&self, iban: &Iban) -> Result<&BankEntry, NoBank> {
        let text = iban.as_str().to_ascii_uppercase();
        let country = || text.get(..2).unwrap_or_default().to_owned();
        if !iban.check_digits_hold() {
            return Err(NoBank::CheckDigits);
        }
        let code = iban::codes(&text).map_err(|fault| match fault {
            iban::NoCode::Country => NoBank::Country { country: country() },
            iban::NoCode::Length { expected } => NoBank::Length {
                country: country(),
                expected,
            },
        })?;
        let beginnings = (1..=code.len()).rev().filter_map(|end| code.get(..end));
        let mut found = beginnings.filter_map(|beginning| {
            let place = self.codes.get(&(country(), beginning.to_owned()))?;
            self.banks.get(*place)
        });
        found.next().ok_or_else(|| NoBank::Unknown {
            country: country(),
            code: code.to_owned(),
        })
    }

    /// The banks of that BIC. One without a branch (`BNKBFRPP`, or with `XXX`) stands for all
    /// branches, asked for or listed; those that match exactly come first.
    #[must_use]
    pub fn by_bic(&self, bic: &Bic) -> Vec<&BankEntry> {
        let same_bank = |entry: &&BankEntry| {
            entry.bic.is_some_and(|known| {
                known.bank() == bic.bank()
                    && (known == *bic || known.branch().is_none() || bic.branch().is_none())
            })
        };
        let mut found: Vec<_> = self.banks.iter().filter(same_bank).collect();
        found.sort_by_key(|entry| entry.bic != Some(*bic));
        found
    }

    /// The banks whose name is meant, the likeliest first. Case and accents do not count; words may
    /// be begun only, and longer ones mistyped.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Vec<&BankEntry> {
        let asked = Folded::new(name);
        let candidates = self.banks.iter().zip(&self.names);
        let mut found: Vec<_> = candidates
            .filter_map(|(entry, name)| Some((name.distance(&asked)?, entry)))
            .collect();
        found.sort_by(|(one, first), (other, second)| {
            one.cmp(other).then_with(|| first.name.cmp(&second.name))
        });
        found.into_iter().map(|(_, entry)| entry).collect()
    }

    fn parse(form: Form, bytes: &[u8], file: &Path, folder: &Path) -> Result<Self, DirectoryError> {
        if bytes.len() > MOST_BYTES {
            return Err(DirectoryError::TooLarge {
                file: file.to_owned(),
                limit: MOST_BYTES,
            });
        }
        let text = str::from_utf8(bytes).map_err(|fault| {
            let before = bytes.get(..fault.valid_up_to()).unwrap_or_default();
            let before = str::from_utf8(before).unwrap_or_default();
            DirectoryError::Wrong {
                file: file.to_owned(),
                place: Place::of(before, before.len()),
                reason: "not UTF-8".to_owned(),
            }
        })?;
        let mut banks = form.banks(text).map_err(|fault| DirectoryError::Wrong {
            file: file.to_owned(),
            place: fault.place,
            reason: fault.reason,
        })?;
        if banks.len() > MOST_BANKS {
            return Err(DirectoryError::TooMany {
                file: file.to_owned(),
                banks: banks.len(),
                limit: MOST_BANKS,
            });
        }
        for bank in &mut banks {
            bank.root(folder);
        }
        let names: Vec<Folded> = banks.iter().map(|bank| Folded::new(&bank.name)).collect();
        if let Some(duplicate) = duplicate(&banks, &names) {
            return Err(DirectoryError::Duplicate {
                file: file.to_owned(),
                place: form.place(text, &duplicate.second),
                what: duplicate.what,
                value: duplicate.value,
                first: form.place(text, &duplicate.first),
            });
        }
        Ok(Self::index(banks, names))
    }

    fn index(banks: Vec<BankEntry>, names: Vec<Folded>) -> Self {
        let mut ids = HashMap::new();
        let mut codes = HashMap::new();
        for (place, bank) in banks.iter().enumerate() {
            ids.insert(bank.id.clone(), place);
            for code in &bank.bank_codes {
                codes.insert((bank.country.clone(), code.clone()), place);
            }
        }
        Self {
            banks,
            names,
            ids,
            codes,
        }
    }
}

/// A value that two banks share, and its places.
struct Duplicate {
    what: Unique,
    value: String,
    first: Vec<Step>,
    second: Vec<Step>,
}

/// The first thing that a bank shares with one before it.
fn duplicate(banks: &[BankEntry], names: &[Folded]) -> Option<Duplicate> {
    let mut seen: HashMap<(Unique, String), Vec<Step>> = HashMap::new();
    for (place, (bank, name)) in banks.iter().zip(names).enumerate() {
        let at = |field| vec![Step::Field("banks"), Step::Item(place), Step::Field(field)];
        let mut own = vec![
            (
                Unique::Id,
                bank.id.to_string(),
                bank.id.to_string(),
                at("id"),
            ),
            (
                Unique::Name,
                name.key().unwrap_or_else(|| bank.name.clone()),
                bank.name.clone(),
                at("name"),
            ),
        ];
        if let Some(bic) = bank.bic {
            own.push((Unique::Bic, bic.to_string(), bic.to_string(), at("bic")));
        }
        for (item, code) in bank.bank_codes.iter().enumerate() {
            let mut steps = at("bank_codes");
            steps.push(Step::Item(item));
            let key = format!("{} {code}", bank.country);
            own.push((Unique::BankCode, key, code.clone(), steps));
        }
        for (what, key, value, steps) in own {
            if let Some(first) = seen.get(&(what, key.clone())) {
                return Some(Duplicate {
                    what,
                    value,
                    first: first.clone(),
                    second: steps,
                });
            }
            seen.insert((what, key), steps);
        }
    }
    None
}

#[cfg(test)]
mod tests;
