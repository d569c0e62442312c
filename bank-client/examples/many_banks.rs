//! One customer's accounts at many banks, in the order of arrival, with totals per currency.
//!
//! ```text
//! many_banks DIRECTORY CERTIFICATE KEY BANK=CONSENT...
//! ```
//!
//! DIRECTORY is a file of banks (see `bank_client::directory`), CERTIFICATE and KEY are our own,
//! and each BANK is one of the directory by its id, with the CONSENT that the customer approved
//! there. The sandbox writes all of them. The exit code is 1 if a bank has failed.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "this program is for people at a terminal"
)]

mod common;

use std::error::Error;
use std::fs;
use std::process::ExitCode;

use bank_client::aggregator::{Aggregator, Member, Totals};
use bank_client::credentials::Credentials;
use bank_client::directory::{BankId, Directory};
use bank_client::{Breaker, Retries};
use futures::StreamExt as _;
use shared_types::xs2a::account::AccountDetails;
use shared_types::xs2a::text::plain;

#[tokio::main]
async fn main() -> ExitCode {
    common::exit(run().await)
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, certificate, key, consents @ ..] = arguments.as_slice() else {
        return Err("usage: many_banks DIRECTORY CERTIFICATE KEY BANK=CONSENT...".into());
    };
    let directory = Directory::read(directory)?;
    let own = Credentials::from_pem(&fs::read(certificate)?, &fs::read(key)?)?;
    let members = consents
        .iter()
        .map(|given| member(&directory, &own, given))
        .collect::<Result<Vec<_>, _>>()?;
    let aggregator = Aggregator::builder().members(members).build();

    let mut totals = Totals::default();
    let mut code = ExitCode::SUCCESS;
    let mut answers = aggregator.accounts(true);
    while let Some(answer) = answers.next().await {
        match answer.outcome {
            Ok(accounts) => {
                println!("{} ({:.0?})", answer.bank, answer.elapsed);
                for account in &accounts {
                    print(account);
                    totals.add_account(account);
                }
            }
            Err(error) => {
                println!("{error}; {}", error.advice());
                code = ExitCode::FAILURE;
            }
        }
    }
    for total in &totals {
        println!("in all  {total}");
    }
    Ok(code)
}

/// `BANK=CONSENT`, as a member of the aggregator. Its bank is asked again where that is safe, and
/// left alone while it is down.
fn member(directory: &Directory, own: &Credentials, given: &str) -> Result<Member, Box<dyn Error>> {
    let (id, consent) = given.split_once('=').ok_or("expected BANK=CONSENT")?;
    let entry = directory
        .get(&id.parse::<BankId>()?)
        .ok_or_else(|| format!("the directory has no bank {id}"))?;
    let bank = entry
        .bank(own)?
        .retries(Retries::default())
        .breaker(Breaker::default())
        .build()?;
    Ok(Member::new(id, bank.with_consent(consent)))
}

fn print(account: &AccountDetails) {
    let iban = account.iban.as_ref().map(ToString::to_string);
    let name = account.name.as_ref().map(|name| plain(name.as_str()));
    println!(
        "  {}  {}",
        iban.unwrap_or_default(),
        name.unwrap_or_default()
    );
    for balance in account.balances.iter().flatten() {
        println!(
            "    {} {}",
            balance.balance_amount,
            plain(&balance.balance_type.to_string())
        );
    }
}
