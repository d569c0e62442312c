//! Local copy of a customer's accounts at one bank: a full run first, then what is new.
//!
//! ```text
//! sync DIRECTORY BANK CERTIFICATE KEY CONSENT FOLDER
//! ```
//!
//! DIRECTORY is a file of banks (see `bank_client::directory`), BANK the id of one of them,
//! CERTIFICATE and KEY are our own, and CONSENT is the one that the customer approved there. The
//! copy is FOLDER/accounts.db, sealed with the key in FOLDER/accounts.key; all three are made if
//! they are not there. Run it as often as you like, and end it whenever you like: the next run goes
//! on.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "this program is for people at a terminal"
)]

mod common;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use bank_client::credentials::Credentials;
use bank_client::directory::{BankId, Directory};
use bank_client::environment::SystemRandomness;
use bank_client::sync::{
    AccountReport, CopiedAccount, CopiedDetails, LocalCopy, Progress, Synchroniser,
};
use bank_client::vault::{Key, Vault};
use bank_client::{Breaker, Retries};
use shared_types::xs2a::text::plain;

#[tokio::main]
async fn main() -> ExitCode {
    common::exit(run().await)
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, bank, certificate, key, consent, folder] = arguments.as_slice() else {
        return Err("usage: sync DIRECTORY BANK CERTIFICATE KEY CONSENT FOLDER".into());
    };
    let directory = Directory::read(directory)?;
    let id: BankId = bank.parse()?;
    let entry = directory
        .get(&id)
        .ok_or_else(|| format!("the directory has no bank {id}"))?;
    let own = Credentials::from_pem(&fs::read(certificate)?, &fs::read(key)?)?;
    // One that fails for a moment is asked again, and one that stays down is left alone.
    let handle = entry
        .bank(&own)?
        .retries(Retries::default())
        .breaker(Breaker::default())
        .build()?;
    let under = handle.with_consent(consent);

    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    let key = Key::from_file(&folder.join("accounts.key"), &SystemRandomness)?;
    let vault = Vault::new(&key, "copy", Arc::new(SystemRandomness))?;
    let copy = LocalCopy::open(folder.join("accounts.db"), vault).await?;

    let mut sync = Synchroniser::new(&copy, bank)
        .delta(entry.limits.delta)
        .time_zone(entry.time_zone);
    if let Some(days) = entry.limits.history_days {
        sync = sync.history_days(days);
    }
    let report = sync.run(&under, show).await?;

    let accounts = copy.accounts(bank).await?;
    for done in &report.accounts {
        if let Some(account) = accounts.iter().find(|account| account.key == done.account) {
            tell(&copy, account, done).await?;
        }
    }
    for error in &report.failures {
        println!("{error}; {}", error.advice());
    }
    Ok(if report.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(progress: Progress) {
    match progress {
        Progress::Accounts { count } => println!("{count} accounts"),
        Progress::Page {
            number, entries, ..
        } => println!("account {}: {entries} entries read", number + 1),
        _ => {}
    }
}

async fn tell(
    copy: &LocalCopy,
    account: &CopiedAccount,
    done: &AccountReport,
) -> Result<(), Box<dyn Error>> {
    let number = match &account.details {
        CopiedDetails::Payment(details) => details.iban.as_ref().map(ToString::to_string),
        CopiedDetails::Card(details) => Some(plain(details.masked_pan.as_str())),
    };
    println!("{}", number.unwrap_or_default());
    for balance in copy.balances(account.key).await? {
        let said = &balance.balance;
        println!(
            "  {} {}",
            said.balance_amount,
            plain(&said.balance_type.to_string())
        );
    }
    println!(
        "  {} new, {} changed, {} gone, {} booked that were pending",
        done.new, done.changed, done.removed, done.matched
    );
    if let Some(failure) = &done.failure {
        println!("  not read whole: {failure}");
    }
    if done.left_out > 0 {
        println!("  entries that could not be read: {}", done.left_out);
    }
    Ok(())
}
