//! Directory entry of one bank.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, de};
use shared_types::pki::credentials::Credentials;
use shared_types::pki::eidas::OrganisationId;
use shared_types::pki::trust::{AnchorError, Anchors};
use shared_types::xs2a::authorisation::ScaApproach;
use shared_types::xs2a::bic::Bic;

use super::id::BankId;
use super::names::Folded;
use super::terms::Terms;
use crate::address::interface;
use crate::bank::{Bank, BankBuilder};

/// One bank of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BankEntry {
    /// Its id for programs.
    pub id: BankId,
    /// Its name for people.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// Its BIC.
    pub bic: Option<Bic>,
    /// The codes by which its accounts are known within its country, as they stand in an IBAN.
    #[serde(default, deserialize_with = "bank_codes")]
    pub bank_codes: Vec<String>,
    /// Its country, by two capital letters.
    #[serde(deserialize_with = "country")]
    pub country: String,
    /// The time zone in which its days begin and end, by its IANA name such as `Europe/Berlin`:
    /// reads without the customer are counted by these days, and lists of days are asked for by
    /// them. UTC, if absent.
    #[serde(default = "utc", deserialize_with = "time_zone")]
    pub time_zone: Tz,
    /// Address of its XS2A interface.
    #[serde(deserialize_with = "address")]
    pub url: String,
    /// Its organisation id: no other server will do.
    pub organisation: OrganisationId,
    /// Files with the trust anchors for the bank, as PEM. Relative paths in a directory file are
    /// relative to its folder; after it is read, they are ready to open.
    #[serde(deserialize_with = "anchors")]
    pub anchors: Vec<PathBuf>,
    /// The ways in which its customers can approve, if that is known.
    #[serde(default, deserialize_with = "approaches")]
    pub sca_approaches: Vec<ScaApproach>,
    /// Its limits, as far as they are known.
    #[serde(default)]
    pub limits: BankLimits,
}

/// Limits of a bank. Nothing is known of what is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BankLimits {
    /// Days back that its transactions can be read.
    #[serde(deserialize_with = "days")]
    pub history_days: Option<u32>,
    /// Reads a day of each resource without the customer.
    #[serde(deserialize_with = "days")]
    pub calls_a_day: Option<u32>,
    /// For how many days it gives a consent at most.
    #[serde(deserialize_with = "days")]
    pub consent_days: Option<u32>,
    /// The delta report that it supports.
    pub delta: Option<Delta>,
}

/// Kind of report of the transactions that are new since the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Delta {
    /// From the last one that is known (`entryReferenceFrom`).
    EntryReference,
    /// Since the last time (`deltaList`): the bank remembers.
    DeltaList,
}

/// Fault for which an entry of a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// A file with anchors cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },
    /// A file with anchors holds none.
    #[error("{} {error}", path.display())]
    Anchors {
        /// Which file.
        path: PathBuf,
        /// The fault.
        error: AnchorError,
    },
}

impl BankEntry {
    /// Starts a handle for the bank, with its name, and the anchors as their files are now.
    pub fn bank(&self, credentials: &Credentials) -> Result<BankBuilder, EntryError> {
        let organisation = self.organisation.clone();
        let handle = Bank::builder(
            &self.url,
            organisation,
            self.trusted()?,
            credentials.clone(),
        );
        Ok(handle.name(&self.name))
    }

    /// Whether that is the bank's name as people type it: case and accents do not count, and words
    /// may be begun only. Nothing is mistyped.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        let distance = Folded::new(&self.name).distance(&Folded::new(name));
        distance.is_some_and(|distance| !distance.is_mistyped())
    }

    /// Terms of the bank for consent requests and the counting of reads.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            time_zone: self.time_zone,
            max_validity_days: self.limits.consent_days,
        }
    }

    /// The trust anchors for the bank, read from their files.
    pub fn trusted(&self) -> Result<Anchors, EntryError> {
        let mut certificates = Vec::new();
        let mut last = PathBuf::new();
        for path in &self.anchors {
            let pem = std::fs::read(path).map_err(|error| EntryError::Unreadable {
                path: path.clone(),
                error,
            })?;
            let read = Anchors::from_pem(&pem).map_err(|error| EntryError::Anchors {
                path: path.clone(),
                error,
            })?;
            certificates.extend_from_slice(read.certificates());
            last.clone_from(path);
        }
        Anchors::new(certificates).map_err(|error| EntryError::Anchors { path: last, error })
    }

    /// Has the paths start at that folder.
    pub(super) fn root(&mut self, folder: &Path) {
        for path in &mut self.anchors {
            *path = folder.join(&*path);
        }
    }
}

/// The longest name, in characters.
const LONGEST_NAME: usize = 140;

/// Deserializes a text that fulfils a condition.
fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    is_good: impl FnOnce(&str) -> bool,
    wanted: &str,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if !is_good(&text) {
        return Err(de::Error::custom(wanted));
    }
    Ok(text)
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_good = |name: &str| {
        !name.trim().is_empty()
            && name.chars().count() <= LONGEST_NAME
            && !name.chars().any(char::is_control)
    };
    let wanted = "a name is 1 to 140 characters, none of them a control character";
    checked(deserializer, is_good, wanted)
}

fn country<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let is_good =
        |country: &str| country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    checked(deserializer, is_good, "a country is two capital letters")
}

const fn utc() -> Tz {
    Tz::UTC
}

fn time_zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    let wanted = "a time zone is one of IANA's, such as \"Europe/Berlin\"";
    name.parse().map_err(|_| de::Error::custom(wanted))
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    interface(&url).map_err(de::Error::custom)?;
    Ok(url)
}

fn bank_codes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    /// One code.
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Code(#[serde(deserialize_with = "code")] String);

    fn code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let is_digit = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let is_good = |code: &str| (1..=10).contains(&code.len()) && code.bytes().all(is_digit);
        let wanted = "a bank code is 1 to 10 digits or capital letters, without blanks";
        checked(deserializer, is_good, wanted)
    }

    let codes = Vec::<Code>::deserialize(deserializer)?;
    Ok(codes.into_iter().map(|code| code.0).collect())
}

fn anchors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    let anchors = Vec::<PathBuf>::deserialize(deserializer)?;
    if anchors.is_empty() {
        return Err(de::Error::custom(
            "without anchors no bank is believed: name at least one file",
        ));
    }
    Ok(anchors)
}

fn approaches<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ScaApproach>, D::Error> {
    /// As configurations write it.
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Written {
        Redirect,
        Decoupled,
        Embedded,
    }

    let written = Vec::<Written>::deserialize(deserializer)?;
    let approaches = written.into_iter().map(|written| match written {
        Written::Redirect => ScaApproach::Redirect,
        Written::Decoupled => ScaApproach::Decoupled,
        Written::Embedded => ScaApproach::Embedded,
    });
    Ok(approaches.collect())
}

/// A number, and not zero.
fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    NonZeroU32::deserialize(deserializer).map(|number| Some(number.get()))
}
