//! Encrypted store of connections: bank, customer and status of each.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bank_client::consent_manager::{
    ConnectionId, ConnectionStatus, ConsentManager, ManagerError, UnattendedReads,
};
use bank_client::directory::{BankEntry, BankId};
use bank_client::environment::{Randomness, SystemRandomness};
use bank_client::store::{SqliteStore, Store};
use bank_client::sync::LocalCopy;
use bank_client::vault::{Key, KeyError, Vault};

use super::arguments::ProfileLocation;
use super::config::{Profile, StoreKey};
use super::failure::{Diagnostic, Exit, Failure, failure};
use super::screen::note;

/// The customer's name if none is given.
pub(super) const DEFAULT_CUSTOMER: &str = "default";

/// A profile with its open store.
pub(super) struct ConnectionStore {
    pub(super) profile: Profile,
    store: Arc<dyn Store>,
    key: Key,
}

/// One customer's connection to one bank.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) bank: BankId,
    pub(super) customer: String,
    pub(super) status: ConnectionStatus,
    pub(super) consent: Option<String>,
    pub(super) days_left: Option<i64>,
    pub(super) unattended: Option<UnattendedReads>,
}

impl Connection {
    /// The label that identifies it to users and in the local copy.
    pub(super) fn label(&self) -> String {
        label(&self.bank, &self.customer)
    }
}

/// The label of a connection: bank, or bank and customer.
pub(super) fn label(bank: &BankId, customer: &str) -> String {
    if customer == DEFAULT_CUSTOMER {
        bank.to_string()
    } else {
        format!("{bank}/{customer}")
    }
}

const STORE: &str = "check that store and store_key of the profile are those they were made with, and can be written";

impl ConnectionStore {
    /// Opens the profile's store; creates it and its key if they do not exist.
    pub(super) async fn open(location: &ProfileLocation) -> Result<Self, Failure> {
        let profile = Profile::read(location)?;
        for file in [&profile.store, &profile.copy] {
            make_folder(file)?;
        }
        lost_key(&profile)?;
        let key = key(&profile.store_key).map_err(|error| failure(error, STORE))?;
        let store = SqliteStore::open(&profile.store)
            .await
            .map_err(|error| failure(error, STORE))?;
        Ok(Self {
            profile,
            store: Arc::new(store),
            key,
        })
    }

    /// Opens the local copy.
    pub(super) async fn copy(&self) -> Result<LocalCopy, Failure> {
        let vault = self.vault("copy")?;
        LocalCopy::open(&self.profile.copy, vault)
            .await
            .map_err(|error| failure(error, STORE))
    }

    /// A consent manager that can send requests to these banks.
    pub(super) fn manager(&self, banks: &[&BankEntry]) -> Result<ConsentManager, Failure> {
        let mut builder = ConsentManager::builder(Arc::clone(&self.store), self.vault("consents")?);
        for entry in self.profile.directory.banks() {
            builder = builder.terms(entry.id.clone(), entry.terms());
        }
        for entry in banks {
            builder = builder.bank(entry.id.clone(), self.profile.bank(entry)?);
        }
        Ok(builder.build())
    }

    /// Returns all connections, sorted by label.
    pub(super) async fn connections(&self) -> Result<Vec<Connection>, Failure> {
        let manager = self.manager(&[])?;
        let all = manager.connections().await.map_err(store_failure)?;
        for hidden in manager.unreadable().await.map_err(store_failure)? {
            note(format!(
                "the connection {} cannot be read: {}",
                hidden.id, hidden.error
            ));
        }
        let mut all: Vec<Connection> = all
            .into_iter()
            .map(|summary| Connection {
                id: summary.id,
                bank: summary.bank,
                customer: summary.customer,
                status: summary.status,
                consent: summary.consent,
                days_left: summary.days_left,
                unattended: summary.unattended,
            })
            .collect();
        all.sort_by_key(Connection::label);
        Ok(all)
    }

    fn vault(&self, purpose: &str) -> Result<Vault, Failure> {
        Vault::new(&self.key, purpose, Arc::new(SystemRandomness))
            .map_err(|error| failure(error, STORE))
    }
}

/// Fails if the key file is missing while encrypted data exists: a new key could not decrypt it.
fn lost_key(profile: &Profile) -> Result<(), Failure> {
    let StoreKey::File(key) = &profile.store_key else {
        return Ok(());
    };
    // In this order: another process that starts for the first time creates the key first.
    let sealed = [&profile.store, &profile.copy]
        .into_iter()
        .find(|file| file.exists());
    match sealed {
        Some(sealed) if !key.exists() => Err(failure(
            format!(
                "{} exists, but the key that encrypted it does not: {}",
                sealed.display(),
                key.display()
            ),
            "put the key back; if it is lost, move store and copy away, and connect the banks anew",
        )),
        _ => Ok(()),
    }
}

/// Creates the folder of a file, accessible to its owner only.
fn make_folder(file: &Path) -> Result<(), Failure> {
    let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|error| failure(format!("{}: {error}", folder.display()), STORE))
}

fn key(location: &StoreKey) -> Result<Key, KeyError> {
    match location {
        StoreKey::File(path) => {
            // The folder is the store's, or the user's own.
            Key::from_file(path, &SystemRandomness)
        }
        StoreKey::Env(variable) => Key::from_env(variable),
        StoreKey::Keyring(name) => keyring(name, &SystemRandomness),
    }
}

#[cfg(feature = "keyring")]
fn keyring(name: &str, randomness: &dyn Randomness) -> Result<Key, KeyError> {
    Key::from_keyring("bank-client", name, randomness)
}

#[cfg(not(feature = "keyring"))]
fn keyring(name: &str, _: &dyn Randomness) -> Result<Key, KeyError> {
    Err(KeyError::Keyring {
        place: bank_client::vault::KeyPlace::Keyring {
            service: "bank-client".to_owned(),
            name: name.to_owned(),
        },
        cause: "this bank-client was built without it (feature `keyring`)".to_owned(),
    })
}

/// The command that connects or renews a bank for the customer in the label.
pub(super) fn connect_command(bank: &BankId, label: &str) -> String {
    match label.split_once('/') {
        Some((_, customer)) => format!("bank-client connect {bank} --customer {customer}"),
        None => format!("bank-client connect {bank}"),
    }
}

/// Maps an error of the consent manager to cause and advice.
pub(super) fn diagnose(label: &str, bank: &BankId, error: &ManagerError) -> Diagnostic {
    match error {
        ManagerError::Bank(error) | ManagerError::Unanswered { error, .. } => {
            Diagnostic::from(error)
        }
        ManagerError::NotServing(status) => {
            let connect = connect_command(bank, label);
            let advice = match status {
                ConnectionStatus::Waiting | ConnectionStatus::NeverApproved(_) => {
                    format!("`{connect}`, or `bank-client revoke {label}` to give it up")
                }
                _ => format!("`{connect}`"),
            };
            Diagnostic::new(
                format!("{label}: nothing can be read: the connection {status}"),
                advice,
            )
            .exit(Exit::ConsentNeeded)
        }
        ManagerError::UsedUp { again } => Diagnostic::new(
            format!("{label}: no unattended reads left today"),
            format!(
                "wait until {}, or give --psu-ip-address if the customer is present",
                again.format("%Y-%m-%d %H:%M UTC")
            ),
        )
        .exit(Exit::Unreachable),
        error => Diagnostic::new(
            format!("{label}: {error}"),
            "try again; if it fails again, see `bank-client consents` for the status",
        ),
    }
}

/// Maps an error of the store itself.
pub(super) fn store_failure(error: ManagerError) -> Failure {
    failure(error, STORE)
}
