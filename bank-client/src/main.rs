//! `bank-client`: asks a bank from the command line. A thin user of the SDK.

#![forbid(unsafe_code)]

mod cli;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    let outcome = cli::run(&arguments).await.map(|output| {
        // Whoever closes the pipe early has read enough.
        let _ = writeln!(std::io::stdout().lock(), "{}", output.trim_end());
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If standard error is closed, the exit code still tells.
            let _ = writeln!(
                std::io::stderr().lock(),
                "error: {}\n  to do: {}",
                failure.cause,
                failure.advice
            );
            ExitCode::FAILURE
        }
    }
}
