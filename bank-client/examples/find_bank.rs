//! Look-up of a bank in a bank directory by an account's IBAN.
//!
//! ```sh
//! cargo run --example find_bank -- banks.toml DE80100900011234567890
//! ```

#![forbid(unsafe_code)]

mod common;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use bank_client::directory::Directory;
use shared_types::xs2a::iban::Iban;

fn main() -> ExitCode {
    common::exit(run())
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, number] = arguments.as_slice() else {
        return Err("usage: find_bank DIRECTORY IBAN".into());
    };
    let directory = Directory::read(file)?;
    let iban: Iban = number.replace(' ', "").to_uppercase().parse()?;
    let bank = directory.by_iban(&iban)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} ({}), at {}", bank.name, bank.id, bank.url)?;
    if let Some(bic) = &bank.bic {
        writeln!(out, "BIC {bic}")?;
    }
    Ok(())
}
