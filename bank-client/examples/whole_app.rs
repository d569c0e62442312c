//! Whole app: the customers' connections, concurrent reads at all their banks, and a local copy.
//!
//! ```text
//! whole_app DIRECTORY CERTIFICATE KEY STORE STORE_KEY COPY
//! ```
//!
//! STORE and `STORE_KEY` are where a `ConsentManager` keeps connections that customers have
//! approved: those of the command line will do (`bank-client connect BANK`), which calls them
//! `consents.db` and `store.key`. COPY is made if it is not there.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "this program is for people at a terminal"
)]

mod common;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bank_client::aggregator::{Aggregator, Member, Totals};
use bank_client::consent_manager::{Attendance, ConnectionId, ConsentManager};
use bank_client::credentials::Credentials;
use bank_client::directory::{BankId, BankLimits, Directory};
use bank_client::environment::SystemRandomness;
use bank_client::store::SqliteStore;
use bank_client::sync::{LocalCopy, Synchroniser};
use bank_client::vault::{Key, Vault};
use bank_client::{AccountInformation, Breaker, Retries};
use futures::StreamExt as _;
use futures::future::join_all;

/// A customer's bank, and what to read there with.
struct Source {
    id: ConnectionId,
    bank: BankId,
    under: AccountInformation,
}

#[tokio::main]
async fn main() -> ExitCode {
    common::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, certificate, key, store, store_key, copy] = arguments.as_slice() else {
        return Err("usage: whole_app DIRECTORY CERTIFICATE KEY STORE STORE_KEY COPY".into());
    };
    let directory = Directory::read(directory)?;
    let own = Credentials::from_pem(&std::fs::read(certificate)?, &std::fs::read(key)?)?;
    let key = Key::from_file(Path::new(store_key), &SystemRandomness)?;
    let vault = |purpose| Vault::new(&key, purpose, Arc::new(SystemRandomness));

    let store = SqliteStore::open(Path::new(store)).await?;
    let mut manager = ConsentManager::builder(Arc::new(store), vault("consents")?);
    for entry in directory.banks() {
        let handle = entry
            .bank(&own)?
            .retries(Retries::default())
            .breaker(Breaker::default())
            .build()?;
        manager = manager
            .bank(entry.id.clone(), handle)
            .terms(entry.id.clone(), entry.terms());
    }
    let manager = manager.build();
    let copy = LocalCopy::open(copy, vault("copy")?).await?;

    // One run: each connection is counted once, whatever is read under it.
    let mut sources = Vec::new();
    let connections = manager.connections().await?;
    if connections.is_empty() {
        return Err("no bank is connected: `bank-client connect BANK` connects one".into());
    }
    for connection in connections {
        match manager
            .reading(&connection.id, Attendance::Unattended)
            .await
        {
            Ok(under) => sources.push(Source {
                id: connection.id,
                bank: connection.bank,
                under,
            }),
            Err(error) => println!("{}: {error}", connection.bank),
        }
    }
    ask(&manager, &sources).await?;
    keep(&manager, &sources, &directory, &copy).await
}

/// Asks all banks at once, and adds up what they answer.
async fn ask(manager: &ConsentManager, sources: &[Source]) -> Result<(), Box<dyn Error>> {
    let members = sources
        .iter()
        .map(|source| Member::new(source.id.to_string(), source.under.clone()));
    let aggregator = Aggregator::builder().members(members).build();
    let mut totals = Totals::default();
    let mut answers = aggregator.accounts(true);
    while let Some(answer) = answers.next().await {
        match answer.outcome {
            Ok(accounts) => accounts
                .iter()
                .for_each(|account| totals.add_account(account)),
            Err(error) => {
                // Where it is the consent that has ended, the connection learns of it.
                let verdict = manager
                    .handle_error(&answer.member.parse()?, &error)
                    .await?;
                println!("{error}; {verdict:?}");
            }
        }
    }
    for total in &totals {
        println!("{total}");
    }
    Ok(())
}

/// Brings the copies of all banks up to date, at the same time.
async fn keep(
    manager: &ConsentManager,
    sources: &[Source],
    directory: &Directory,
    copy: &LocalCopy,
) -> Result<(), Box<dyn Error>> {
    let runs = sources.iter().map(|source| async move {
        let limits = directory.get(&source.bank).map(|entry| &entry.limits);
        let sync = Synchroniser::new(copy, source.id.to_string())
            .delta(limits.and_then(|limits: &BankLimits| limits.delta));
        (source, sync.run(&source.under, |_| ()).await)
    });
    for (source, outcome) in join_all(runs).await {
        let report = match outcome {
            Ok(report) => report,
            Err(error) => {
                println!("{}: {error}", source.bank);
                continue;
            }
        };
        for error in report.bank_errors() {
            manager.handle_error(&source.id, error).await?;
        }
        let accounts = copy.accounts(&source.id.to_string()).await?;
        println!(
            "{}: {} accounts, {} new entries, {}",
            source.bank,
            accounts.len(),
            report.new_entries(),
            if report.is_complete() {
                "up to date"
            } else {
                "not all of it"
            }
        );
    }
    Ok(())
}
