//! Accounts at all banks connected with `bank-client connect`, from its default profile.
//!
//! ```text
//! connected_banks BANK_CLIENT_TOML
//! ```
//!
//! The sandbox writes such a file, `bank-client.toml`. Each run counts as one read without the
//! customer.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "this program is for people at a terminal"
)]

mod common;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bank_client::consent_manager::{Attendance, ConsentManager};
use bank_client::credentials::Credentials;
use bank_client::directory::Directory;
use bank_client::environment::SystemRandomness;
use bank_client::store::SqliteStore;
use bank_client::vault::{Key, Vault};
use serde::Deserialize;
use shared_types::xs2a::text::plain;

/// The part of the configuration that is needed.
#[derive(Deserialize)]
struct Configuration {
    profiles: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
struct Profile {
    directory: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    store: PathBuf,
    store_key: StoreKey,
}

#[derive(Deserialize)]
struct StoreKey {
    file: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    common::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1);
    let file = PathBuf::from(file.ok_or("usage: connected_banks BANK_CLIENT_TOML")?);
    let configuration: Configuration = toml::from_str(&fs::read_to_string(&file)?)?;
    let profile = configuration.profiles.get("default");
    let profile = profile.ok_or("it has no profile `default`")?;
    let folder = file.parent().unwrap_or(Path::new(""));

    let own = Credentials::from_pem(
        &fs::read(folder.join(&profile.certificate))?,
        &fs::read(folder.join(&profile.key))?,
    )?;
    let key = Key::from_file(&folder.join(&profile.store_key.file), &SystemRandomness)?;
    let vault = Vault::new(&key, "consents", Arc::new(SystemRandomness))?;
    let store = SqliteStore::open(&folder.join(&profile.store)).await?;
    let mut manager = ConsentManager::builder(Arc::new(store), vault);
    let directory = Directory::read(folder.join(&profile.directory))?;
    for entry in directory.banks() {
        let bank = entry.bank(&own)?.build()?;
        manager = manager
            .bank(entry.id.clone(), bank)
            .terms(entry.id.clone(), entry.terms());
    }
    let manager = manager.build();

    let connections = manager.connections().await?;
    if connections.is_empty() {
        return Err("no bank is connected: `bank-client connect BANK` connects one".into());
    }
    for connection in connections {
        println!("{}: the connection {}", connection.bank, connection.status);
        if !connection.status.is_serving() {
            continue;
        }
        let read = manager.read(&connection.id, Attendance::Unattended, |under| async move {
            under.accounts(true).await
        });
        match read.await {
            Ok(accounts) => {
                for account in &accounts {
                    let iban = account.iban.as_ref().map(ToString::to_string);
                    println!("  {}", iban.unwrap_or_default());
                    for balance in account.balances.iter().flatten() {
                        println!(
                            "    {} {}",
                            balance.balance_amount,
                            plain(&balance.balance_type.to_string())
                        );
                    }
                }
            }
            Err(error) => println!("  {error}"),
        }
    }
    Ok(())
}
