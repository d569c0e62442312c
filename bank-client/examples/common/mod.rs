//! Exit code of the example programs.

use std::error::Error;
use std::process::{ExitCode, Termination};

/// The exit code of a program's outcome. An error goes to standard error.
#[expect(clippy::print_stderr, reason = "a program for a terminal")]
pub(crate) fn exit<T: Termination>(outcome: Result<T, Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(value) => value.report(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
