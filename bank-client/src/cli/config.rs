//! Configuration file of `bank-client`, with its profiles.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bank_client::credentials::{Credentials, CredentialsError};
use bank_client::directory::{BankEntry, BankId, Directory};
use bank_client::revocation::Revocation;
use bank_client::{Bank, Breaker, Retries};
use etcetera::{AppStrategy as _, AppStrategyArgs, choose_app_strategy};
use serde::Deserialize;
use shared_types::files::is_open_to_others;
use shared_types::pki::key_location::KeyLocation;
use shared_types::pki::revocation::{FoundList, Issuers, List, Statuses, UnknownStatus};
use shared_types::pki::trust::Anchors;
use shared_types::xs2a::iban::Iban;

use super::arguments::ProfileLocation;
use super::failure::{Failure, failure};

/// The name of the file in the system's configuration folder.
const FILE: &str = "bank-client.toml";

/// Maximum size of the configuration file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    profiles: BTreeMap<String, ProfileConfig>,
}

/// A profile as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProfileConfig {
    directory: PathBuf,
    certificate: PathBuf,
    key: KeyLocation,
    revocation: Option<RevocationConfig>,
    store: Option<PathBuf>,
    copy: Option<PathBuf>,
    store_key: Option<StoreKey>,
    psu_ip_address: Option<IpAddr>,
}

/// The section `revocation` as the file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevocationConfig {
    lists: Vec<PathBuf>,
    issuers: Vec<PathBuf>,
    #[serde(default)]
    unknown_status: UnknownStatus,
}

/// Location of the key that encrypts store and copy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum StoreKey {
    /// A file; created if it does not exist.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// An entry of this name in the system's keyring.
    Keyring(String),
}

/// A loaded profile: bank directory, credentials, revocation data and the paths of the stores.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) directory: Directory,
    pub(super) credentials: Credentials,
    pub(super) revocation: Revocation,
    pub(super) store: PathBuf,
    pub(super) copy: PathBuf,
    pub(super) store_key: StoreKey,
    /// The IP address of the customer's device, if it is always the same.
    pub(super) psu_ip_address: Option<IpAddr>,
}

const CONFIG_ADVICE: &str = "name the file with --config, or write one with `bank-client init`";
const CORRECT_ADVICE: &str =
    "correct the configuration file; `bank-client init` writes one to compare it with";

/// The path of the configuration file.
pub(super) fn config_path(location: &ProfileLocation) -> Result<PathBuf, Failure> {
    match &location.config {
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
    /// Reads the profile with the directory and credentials that it names.
    pub(super) fn read(location: &ProfileLocation) -> Result<Self, Failure> {
        let file = config_path(location)?;
        let config = ProfileConfig::read(&file, &location.profile)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let at = |path: &Path| folder.join(path);
        let data_file = |path: Option<&Path>, name: &str| match path {
            Some(path) => Ok(at(path)),
            None => Ok::<_, Failure>(folders()?.in_data_dir(&location.profile).join(name)),
        };
        let directory = Directory::read(at(&config.directory))
            .map_err(|error| failure(error, "correct the directory of banks"))?;
        let store_key = match config.store_key {
            Some(StoreKey::File(path)) => StoreKey::File(at(&path)),
            Some(other) => other,
            None => StoreKey::File(data_file(None, "store.key")?),
        };
        Ok(Self {
            directory,
            credentials: credentials(&at(&config.certificate), &config.key.in_folder(folder))?,
            revocation: config
                .revocation
                .map_or_else(|| Ok(Revocation::default()), |config| config.read(folder))?,
            store: data_file(config.store.as_deref(), "consents.db")?,
            copy: data_file(config.copy.as_deref(), "copy.db")?,
            store_key,
            psu_ip_address: config.psu_ip_address,
        })
    }

    /// Returns the bank with this id.
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

    /// Returns the one bank with this id, BIC or name, or with this IBAN. A name that is only
    /// similar is suggested in the error but not accepted, because consents are requested there.
    pub(super) fn find(&self, query: &str) -> Result<&BankEntry, Failure> {
        if let Ok(entry) = self.entry(query) {
            return Ok(entry);
        }
        let ids = |entries: &[&BankEntry]| {
            let ids: Vec<&str> = (entries.iter().take(8))
                .map(|entry| entry.id.as_str())
                .collect();
            ids.join(", ")
        };
        let none = format!("no bank of the directory is called {query}");
        let (found, near) = match self.by_number(query)? {
            Some(found) => (found, Vec::new()),
            None => (self.directory.by_name(query).into_iter())
                .partition(|entry| entry.is_called(query)),
        };
        match (found.as_slice(), near.as_slice()) {
            ([entry], _) => Ok(entry),
            ([], []) => Err(failure(none, "`bank-client banks` lists them")),
            ([], near) => Err(failure(
                format!("{none}; nearest: {}", ids(near)),
                "if you mean one of these, give its id",
            )),
            (several, _) => Err(failure(
                format!("{query} can be any of {}", ids(several)),
                "give the id of one of them",
            )),
        }
    }

    /// Returns the banks that match, best match first. Names may be mistyped.
    pub(super) fn search(&self, query: &str) -> Result<Vec<&BankEntry>, Failure> {
        let found = self.by_number(query)?;
        Ok(found.unwrap_or_else(|| self.directory.by_name(query)))
    }

    /// Returns the banks of an IBAN or a BIC; `None` if the query is neither.
    fn by_number(&self, query: &str) -> Result<Option<Vec<&BankEntry>>, Failure> {
        let compact: String = query.split_whitespace().collect::<String>().to_uppercase();
        if let Ok(iban) = compact.parse::<Iban>() {
            if !iban.check_digits_hold() {
                return Err(failure(
                    "the check digits of that IBAN are wrong",
                    "compare it with the card or the statement",
                ));
            }
            let found = self.directory.by_iban(&iban);
            return found.map(|entry| Some(vec![entry])).map_err(|fault| {
                failure(
                    fault,
                    "check that the directory has the bank, with its bank codes",
                )
            });
        }
        let by_bic = compact.parse().map(|bic| self.directory.by_bic(&bic));
        Ok(by_bic.ok().filter(|found| !found.is_empty()))
    }

    /// Returns an SDK handle for a bank.
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

impl RevocationConfig {
    fn read(&self, folder: &Path) -> Result<Revocation, Failure> {
        let mut authorities = Vec::new();
        for path in &self.issuers {
            let path = folder.join(path);
            let read = Anchors::from_pem(&read(&path)?).map_err(|error| {
                failure(format!("{} {error}", path.display()), REVOCATION_ADVICE)
            })?;
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
            let wrong = |error| failure(format!("{} {error}", path.display()), REVOCATION_ADVICE);
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

impl ProfileConfig {
    fn read(file: &Path, profile: &str) -> Result<Self, Failure> {
        let unreadable =
            |error: std::io::Error| failure(format!("{}: {error}", file.display()), CONFIG_ADVICE);
        if fs::metadata(file).map_err(unreadable)?.len() > MAX_FILE_BYTES {
            return Err(failure(
                format!("{}: larger than 1 MiB", file.display()),
                CORRECT_ADVICE,
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
                CORRECT_ADVICE,
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

const REVOCATION_ADVICE: &str =
    "check that lists are revocation lists, and issuers the authorities that signed them";
const CREDENTIALS_ADVICE: &str =
    "check that certificate and key name PEM files that belong together";

const TOKEN_ADVICE: &str = "check the URI, that the token is there, and that its PIN is right";

/// Reads a file that the command line or a profile names.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::NotFound => "check that the path is right",
            ErrorKind::PermissionDenied => "check that you may read the file",
            _ => "check that the path is that of a file",
        };
        failure(format!("{}: {error}", path.display()), advice)
    })
}

/// The private key that the command line names.
pub(super) fn key_location(key: &Path) -> Result<KeyLocation, Failure> {
    KeyLocation::try_from(key).map_err(|error| {
        let cause = format!("--key {error}");
        failure(cause, "name a file, or a key on a token by its PKCS#11 URI")
    })
}

/// Reads a certificate, and the key that belongs to it.
pub(super) fn credentials(certificate: &Path, key: &KeyLocation) -> Result<Credentials, Failure> {
    if let KeyLocation::File(key) = key
        && is_open_to_others(key)
    {
        return Err(failure(
            format!("{}: others can read the private key", key.display()),
            format!("`chmod 600 {}`", key.display()),
        ));
    }
    let secret = match key {
        KeyLocation::File(path) => read(path)?,
        KeyLocation::Token(uri) => uri.to_string().into_bytes(),
    };
    Credentials::from_pem(&read(certificate)?, &secret).map_err(|error| {
        let wrong = if error.is_of_key() {
            key.to_string()
        } else {
            certificate.display().to_string()
        };
        let advice = match error {
            CredentialsError::Token(_) | CredentialsError::Uri(_) => TOKEN_ADVICE,
            _ => CREDENTIALS_ADVICE,
        };
        failure(format!("{wrong} {error}"), advice)
    })
}
