//! `bank-client`: command-line tool for banks' XS2A interfaces. A thin user of the SDK.

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    log();
    Box::pin(cli::run(&arguments)).await
}

/// Logs to standard error, filtered by `BANK_CLIENT_LOG`; logs nothing if it is not set.
fn log() {
    if let Ok(filter) = EnvFilter::try_from_env("BANK_CLIENT_LOG") {
        // There is no other log in this process.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init();
    }
}
