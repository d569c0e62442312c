//! Stream of all transactions of an account, with their number and sum per currency.
//!
//! However long the history, it takes the memory of one page: a page is read when the one before it
//! is used up.
//!
//! ```sh
//! cargo run -p bank-client --example stream -- https://xs2a.bank-b.example PSDFR-ACPR-20002 \
//!     ca1.pem qwac.pem qwac.key CONSENT ACCOUNT 2026-01-01
//! ```
//!
//! ```text
//! 1000000 transactions
//! EUR 49995000.00
//! memory: 11 MiB before the first, 17 MiB at most
//! ```
//!
//! The last line is printed where the system has `/proc/self/status`. An error goes to standard
//! error, with advice, after the sums of what was read until then.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use bank_client::credentials::Credentials;
use bank_client::{Bank, Breaker, Entry, Retries, TransactionFilter};
use chrono::NaiveDate;
use futures::TryStreamExt as _;
use rust_decimal::Decimal;
use shared_types::pki::trust::Anchors;
use shared_types::xs2a::money::Currency;

const USAGE: &str =
    "usage: stream URL ORGANISATION ANCHORS.pem CERTIFICATE.pem KEY.pem CONSENT ACCOUNT FROM";

/// Arguments of the command line.
struct Arguments {
    bank: Bank,
    consent: String,
    account: String,
    from: NaiveDate,
}

/// Sums of the entries that were read so far.
#[derive(Default)]
struct Sums {
    count: u64,
    by_currency: BTreeMap<Currency, Decimal>,
}

// One thread will do: there is one thing to wait for.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut err = io::stderr().lock();
    let arguments = match arguments(std::env::args().skip(1).collect()) {
        Ok(arguments) => arguments,
        Err(fault) => {
            let _ = writeln!(err, "error: {fault}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let before = kibibytes("VmRSS");
    let mut sums = Sums::default();
    let outcome = read(&arguments, &mut sums).await;
    let _ = print(&sums, before, kibibytes("VmHWM"));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "error: {error}\nhelp: {}", error.advice());
            ExitCode::FAILURE
        }
    }
}

async fn read(arguments: &Arguments, sums: &mut Sums) -> Result<(), bank_client::Error> {
    let reading = arguments.bank.with_consent(&arguments.consent);
    let filter = TransactionFilter::since(arguments.from);
    let mut entries = reading.transactions(&arguments.account, &filter);
    while let Some(Entry::Booked(entry) | Entry::Pending(entry)) = entries.try_next().await? {
        let amount = entry.transaction_amount;
        sums.count += 1;
        *sums.by_currency.entry(amount.currency()).or_default() += amount.value();
    }
    Ok(())
}

fn arguments(arguments: Vec<String>) -> Result<Arguments, Box<dyn Error>> {
    let [
        url,
        organisation,
        anchors,
        certificate,
        key,
        consent,
        account,
        from,
    ]: [String; 8] = arguments
        .try_into()
        .map_err(|_| "eight arguments are needed")?;
    let anchors = Anchors::from_pem(&std::fs::read(anchors)?)?;
    let credentials = Credentials::from_pem(&std::fs::read(certificate)?, &std::fs::read(key)?)?;
    let bank = Bank::builder(url, organisation.parse()?, anchors, credentials)
        .retries(Retries::default())
        .breaker(Breaker::default())
        .build()?;
    Ok(Arguments {
        bank,
        consent,
        account,
        from: from.parse()?,
    })
}

fn print(sums: &Sums, before: Option<u64>, most: Option<u64>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{} transactions", sums.count)?;
    for (currency, sum) in &sums.by_currency {
        writeln!(out, "{currency} {sum}")?;
    }
    if let (Some(before), Some(most)) = (before, most) {
        let (before, most) = (before / 1024, most.div_ceil(1024));
        writeln!(
            out,
            "memory: {before} MiB before the first, {most} MiB at most"
        )?;
    }
    Ok(())
}

/// A line of what Linux knows of this process, in KiB: `VmRSS` is what it takes now, `VmHWM` the
/// most that it took.
fn kibibytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .ok()
}
