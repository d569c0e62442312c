//! Lifecycle of a connection: connect, poll the status, read, renew, disconnect.
//!
//! Start the sandbox in one terminal, and this in another:
//!
//! ```sh
//! cargo run --bin sandbox -- --dir /tmp/sandbox
//! cargo run -p bank-client --features sqlite --example consent_life -- \
//!     /tmp/sandbox/banks.toml bank-b /tmp/sandbox/pki/budget-app/qwac.pem /tmp/sandbox/pki/budget-app/qwac.key /tmp/app
//! ```
//!
//! The customer approves twice: the connection, and its renewal. At the bank, the new consent
//! replaces the one that the same TPP has from the same customer: a connection of `bank-client
//! connect` has ended then.
//!
//! The program prints the bank's page on which the customer approves, and continues after the
//! approval. It keeps its state, sealed, in `/tmp/app.db`, and the key in `/tmp/app.key`: stopped
//! at any point and started again, it continues.

#![expect(clippy::print_stdout, reason = "a program for a terminal")]

mod common;

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bank_client::authorisations::{ApprovalOptions, NextStep};
use bank_client::consent_manager::{
    Approval, Attendance, ConnectionId, ConnectionStatus, ConsentManager, ConsentTerms, Renewal,
};
use bank_client::credentials::Credentials;
use bank_client::directory::{BankId, Directory};
use bank_client::environment::SystemRandomness;
use bank_client::store::SqliteStore;
use bank_client::vault::{Key, Vault};
use bank_client::{Breaker, Retries};
use shared_types::xs2a::text::plain;

/// The address of the customer's device. A program with customers takes it from their connections.
const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[tokio::main]
async fn main() -> ExitCode {
    common::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, bank, certificate, key, place] = arguments.as_slice() else {
        return Err("usage: consent_life DIRECTORY BANK CERTIFICATE KEY PLACE".into());
    };
    let bank: BankId = bank.parse()?;
    let credentials = Credentials::from_pem(&std::fs::read(certificate)?, &std::fs::read(key)?)?;
    let manager = manager(directory, &bank, &credentials, place).await?;

    // One customer has one connection here; a program with many keeps theirs with what else it
    // knows of them.
    let known = manager.connections().await?;
    let known = known
        .into_iter()
        .find(|one| one.bank == bank && one.customer == "me");
    let id = if let Some(known) = known {
        known.id
    } else {
        let wish = ConsentTerms::all_accounts();
        let options = ApprovalOptions::new();
        let connecting = manager.connect(&bank, "me", DEVICE, &wish, &options);
        let approval = connecting.await?;
        tell(&approval);
        approval.connection
    };
    let status = decided(&manager, &id).await?;
    println!("The connection {status}.");
    if !status.is_serving() {
        return Ok(manager.disconnect(&id).await?);
    }
    read(&manager, &id).await?;

    println!("Renewing it: what there is serves until the new consent is approved.");
    tell(&manager.renew(&id, DEVICE, &ApprovalOptions::new()).await?);
    let status = decided(&manager, &id).await?;
    println!("The connection {status}.");
    read(&manager, &id).await?;

    manager.disconnect(&id).await?;
    println!("Given up, at the bank and here.");
    Ok(())
}

/// A manager for one bank of the directory, with what it keeps beside `place`.
async fn manager(
    directory: &str,
    bank: &BankId,
    credentials: &Credentials,
    place: &str,
) -> Result<ConsentManager, Box<dyn Error>> {
    let directory = Directory::read(directory)?;
    let entry = directory.get(bank).ok_or("no such bank in the directory")?;
    let handle = entry
        .bank(credentials)?
        .retries(Retries::default())
        .breaker(Breaker::default())
        .build()?;
    let key = Key::from_file(Path::new(&format!("{place}.key")), &SystemRandomness)?;
    let vault = Vault::new(&key, "consents", Arc::new(SystemRandomness))?;
    let store = SqliteStore::open(Path::new(&format!("{place}.db"))).await?;
    Ok(ConsentManager::builder(Arc::new(store), vault)
        .bank(bank.clone(), handle)
        .terms(bank.clone(), entry.terms())
        .build())
}

fn tell(approval: &Approval) {
    match &approval.next {
        NextStep::Redirect(page) => println!("Please approve at the bank: {page}"),
        NextStep::Nothing => {}
        _ => println!("This bank has no page for it: see bank_client::authorisations."),
    }
}

/// Follows the connection until the customer has decided.
async fn decided(
    manager: &ConsentManager,
    id: &ConnectionId,
) -> Result<ConnectionStatus, Box<dyn Error>> {
    loop {
        let status = manager.follow(id).await?;
        if status != ConnectionStatus::Waiting && status.renewal() != Some(Renewal::Waiting) {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

async fn read(manager: &ConsentManager, id: &ConnectionId) -> Result<(), Box<dyn Error>> {
    let attendance = Attendance::Attended(DEVICE);
    let accounts = manager
        .read(
            id,
            attendance,
            |bank| async move { bank.accounts(true).await },
        )
        .await?;
    for account in accounts {
        let name = account.name.map(|name| plain(name.as_str()));
        println!("  {} ({})", name.unwrap_or_default(), account.currency);
    }
    if let Some(next) = manager.next_unattended(id).await? {
        println!(
            "  The next read without the customer is due at {}.",
            next.format("%H:%M UTC on %F")
        );
    }
    Ok(())
}
