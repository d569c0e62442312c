//! `bank-client`: asks a bank from the command line. A thin user of the SDK.

#![forbid(unsafe_code)]

mod cli;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(&arguments).await {
        Ok(output) => {
            // Whoever closes the pipe early has read enough.
            let _ = writeln!(std::io::stdout().lock(), "{}", output.text.trim_end());
            if output.good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(cli::Failure::CommandLine(error)) => error.exit(),
        Err(cli::Failure::Failed { cause, advice }) => {
            // If standard error is closed, the exit code still tells.
            let _ = writeln!(
                std::io::stderr().lock(),
                "error: {cause}\n  to do: {advice}"
            );
            ExitCode::FAILURE
        }
    }
}
