//! The configuration file and its profiles.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bank_client::credentials::Credentials;
use bank_client::directory::{BankEntry, BankId, Directory};
use bank_client::revocation::Revocation;
use bank_client::{Bank, Breaker, Retries};
use etcetera::{AppStrategy as _, AppStrategyArgs, choose_app_strategy};
use serde::Deserialize;
use shared_types::iban::Iban;
use shared_types::revocation::{FoundList, Issuers, List, Statuses, UnknownStatus};
use shared_types::trust::Anchors;

use super::arguments::ProfilePlace;
use super::failure::{Failure, failure};

/// The name of the file, in the system's folder for configuration.
const FILE: &str = "bank-client.toml";

/// The largest configuration file, in bytes.
const MOST_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profiles: BTreeMap<String, Written>,
}

/// A profile, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    directory: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    revocation: Option<WrittenRevocation>,
    store: Option<PathBuf>,
    copy: Option<PathBuf>,
    store_key: Option<StoreKey>,
    psu_ip_address: Option<IpAddr>,
}

/// What is known of revoked certificates, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRevocation {
    lists: Vec<PathBuf>,
    issuers: Vec<PathBuf>,
    #[serde(default)]
    unknown_status: UnknownStatus,
}

/// Where the key is that seals store and copy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum StoreKey {
    /// A file; made if it is not there.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The system's keyring, under that name.
    Keyring(String),
}

/// Which certificate we ask with, which banks there are, and where what we know of them is kept.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) directory: Directory,
    pub(super) credentials: Credentials,
    pub(super) revocation: Revocation,
    pub(super) store: PathBuf,
    pub(super) copy: PathBuf,
    pub(super) store_key: StoreKey,
    /// The address from which the customer reaches banks, where it is always the same.
    pub(super) psu_ip_address: Option<IpAddr>,
}

const START: &str = "name the file with --config, or write one with `bank-client init`";
const CORRECT: &str =
    "correct the configuration file; `bank-client init` writes one to compare it with";

/// Where the configuration file is.
pub(super) fn place(told: &ProfilePlace) -> Result<PathBuf, Failure> {
    match &told.config {
        Some(file) => Ok(file.clone()),
        None => Ok(folders()?.in_config_dir(FILE)),
    }
}

/// The system's folders for this program.
fn folders() -> Result<impl etcetera::AppStrategy, Failure> {
    let arguments = AppStrategyArgs {
        top_level_domain: String::new(),
        author: String::new(),
        app_name: "bank-client".to_owned(),
    };
    choose_app_strategy(arguments).map_err(|error| failure(error, "name a file with --config"))
}

impl Profile {
    /// Reads the profile, and the directory and certificate that it names.
    pub(super) fn read(told: &ProfilePlace) -> Result<Self, Failure> {
        let file = place(told)?;
        let written = Written::read(&file, &told.profile)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let at = |path: &Path| folder.join(path);
        let kept = |path: Option<&Path>, name: &str| match path {
            Some(path) => Ok(at(path)),
            None => Ok::<_, Failure>(folders()?.in_data_dir(&told.profile).join(name)),
        };
        let directory = Directory::read(at(&written.directory))
            .map_err(|error| failure(error, "correct the directory of banks"))?;
        let store_key = match written.store_key {
            Some(StoreKey::File(path)) => StoreKey::File(at(&path)),
            Some(elsewhere) => elsewhere,
            None => StoreKey::File(kept(None, "store.key")?),
        };
        Ok(Self {
            directory,
            credentials: credentials(&at(&written.certificate), &at(&written.key))?,
            revocation: written
                .revocation
                .map_or_else(|| Ok(Revocation::default()), |written| written.read(folder))?,
            store: kept(written.store.as_deref(), "consents.db")?,
            copy: kept(written.copy.as_deref(), "copy.db")?,
            store_key,
            psu_ip_address: written.psu_ip_address,
        })
    }

    /// The bank of that id.
    pub(super) fn entry(&self, id: &str) -> Result<&BankEntry, Failure> {
        let id: Option<BankId> = id.parse().ok();
        let entry = id.as_ref().and_then(|id| self.directory.get(id));
        entry.ok_or_else(|| {
            failure(
                "there is no bank of that id in the directory",
                "`bank-client banks` lists them",
            )
        })
    }

    /// The one bank that is meant: by its id, BIC or name, or by an IBAN. A customer's consent is asked for there, or data read:
    /// one whose name is only near what was typed is told, and not taken.
    pub(super) fn find(&self, meant: &str) -> Result<&BankEntry, Failure> {
        if let Ok(entry) = self.entry(meant) {
            return Ok(entry);
        }
        let ids = |entries: &[&BankEntry]| {
            let ids: Vec<&str> = (entries.iter().take(8))
                .map(|entry| entry.id.as_str())
                .collect();
            ids.join(", ")
        };
        let none = format!("no bank of the directory is called {meant}");
        let (found, near) = match self.by_number(meant)? {
            Some(found) => (found, Vec::new()),
            None => (self.directory.by_name(meant).into_iter())
                .partition(|entry| entry.is_called(meant)),
        };
        match (found.as_slice(), near.as_slice()) {
            ([entry], _) => Ok(entry),
            ([], []) => Err(failure(none, "`bank-client banks` lists them")),
            ([], near) => Err(failure(
                format!("{none}; nearest: {}", ids(near)),
                "if that is meant, give its id",
            )),
            (several, _) => Err(failure(
                format!("{meant} can be any of {}", ids(several)),
                "give the id of one of them",
            )),
        }
    }

    /// The banks that can be meant, the likeliest first. Names may be mistyped.
    pub(super) fn search(&self, meant: &str) -> Result<Vec<&BankEntry>, Failure> {
        let found = self.by_number(meant)?;
        Ok(found.unwrap_or_else(|| self.directory.by_name(meant)))
    }

    /// The banks of an IBAN or a BIC; `None` if it is neither.
    fn by_number(&self, meant: &str) -> Result<Option<Vec<&BankEntry>>, Failure> {
        let close: String = meant.split_whitespace().collect::<String>().to_uppercase();
        if let Ok(iban) = close.parse::<Iban>() {
            if !iban.check_digits_hold() {
                return Err(failure(
                    "the check digits of that IBAN are wrong",
                    "see that it is typed as it stands on the card or the statement",
                ));
            }
            let found = self.directory.by_iban(&iban);
            return found.map(|entry| Some(vec![entry])).map_err(|fault| {
                failure(
                    fault,
                    "see that the directory has the bank, with its bank codes",
                )
            });
        }
        let by_bic = close.parse().map(|bic| self.directory.by_bic(&bic));
        Ok(by_bic.ok().filter(|found| !found.is_empty()))
    }

    /// A handle for a bank.
    pub(super) fn bank(&self, entry: &BankEntry) -> Result<Bank, Failure> {
        let builder = entry
            .bank(&self.credentials)
            .map_err(|error| failure(error, "correct the bank's anchors in the directory"))?;
        builder
            .revocation(self.revocation.clone())
            .retries(Retries::default())
            .breaker(Breaker::default())
            .build()
            .map_err(|error| failure(error, "correct the bank's entry in the directory"))
    }
}

impl WrittenRevocation {
    fn read(&self, folder: &Path) -> Result<Revocation, Failure> {
        let mut authorities = Vec::new();
        for path in &self.issuers {
            let path = folder.join(path);
            let read = Anchors::from_pem(&read(&path)?)
                .map_err(|error| failure(format!("{} {error}", path.display()), LISTS))?;
            authorities.extend_from_slice(read.certificates());
        }
        let issuers = Issuers::new(&authorities);
        let mut statuses = Statuses::default();
        for path in &self.lists {
            if path.to_string_lossy().contains("://") {
                let cause = format!("{}: revocation lists are files here", path.display());
                return Err(failure(
                    cause,
                    "fetch the list with curl, and name the file",
                ));
            }
            let path = folder.join(path);
            let wrong = |error| failure(format!("{} {error}", path.display()), LISTS);
            for list in List::read_all(read(&path)?, &issuers).map_err(wrong)? {
                let FoundList { list, position } = list.map_err(wrong)?;
                let added = statuses.lists.add(Arc::new(list));
                added.map_err(|error| wrong(error.at(position)))?;
            }
        }
        Ok(Revocation {
            statuses,
            unknown_status: self.unknown_status,
        })
    }
}

impl Written {
    fn read(file: &Path, profile: &str) -> Result<Self, Failure> {
        let unreadable =
            |error: std::io::Error| failure(format!("{}: {error}", file.display()), START);
        if fs::metadata(file).map_err(unreadable)?.len() > MOST_BYTES {
            return Err(failure(
                format!("{}: larger than 1 MiB", file.display()),
                CORRECT,
            ));
        }
        let text = fs::read_to_string(file).map_err(unreadable)?;
        let mut read: File = toml::from_str(&text).map_err(|error| {
            let before = error
                .span()
                .and_then(|span| text.get(..span.start))
                .unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before
                .rsplit('\n')
                .next()
                .unwrap_or_default()
                .chars()
                .count()
                + 1;
            let message = error.message().replace('\n', "; ");
            failure(
                format!("{}:{line}:{column}: {message}", file.display()),
                CORRECT,
            )
        })?;
        let names: Vec<String> = read.profiles.keys().cloned().collect();
        read.profiles.remove(profile).ok_or_else(|| {
            let cause = format!("{} has no profile {profile}", file.display());
            let advice = format!("it has {}: name one with --profile", names.join(", "));
            failure(cause, advice)
        })
    }
}

const LISTS: &str =
    "see that lists are revocation lists, and issuers the authorities that signed them";
const FILES: &str = "see that certificate and key name PEM files that belong together";

/// The content of a file that the command line or a profile names.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::NotFound => "see that the path is right",
            ErrorKind::PermissionDenied => "see that you may read the file",
            _ => "see that the path is that of a file",
        };
        failure(format!("{}: {error}", path.display()), advice)
    })
}

pub(super) fn credentials(certificate: &Path, key: &Path) -> Result<Credentials, Failure> {
    if is_open_to_others(key) {
        return Err(failure(
            format!("{}: others can read the private key", key.display()),
            format!("`chmod 600 {}`", key.display()),
        ));
    }
    Credentials::from_pem(&read(certificate)?, &read(key)?).map_err(|error| {
        let wrong = if error.is_of_key() { key } else { certificate };
        failure(format!("{} {error}", wrong.display()), FILES)
    })
}

/// The owner alone writes a key, and beside the owner at most a group reads it, as where secrets are mounted. One that is not
/// there is told of where it is read.
#[cfg(unix)]
fn is_open_to_others(key: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    fs::metadata(key).is_ok_and(|found| found.permissions().mode() & 0o027 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> bool {
    false
}
