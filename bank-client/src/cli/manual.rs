//! `bank-client completions` and `bank-client man`.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Failure;
use super::arguments::Arguments;

/// Prints completions.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "bank-client", &mut text);
    Ok(io::stdout().lock().write_all(&text)?)
}

/// Prints the manual page: that of the program, then a section for each command.
pub(super) fn manual() -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut text)?;
    Ok(io::stdout().lock().write_all(&text)?)
}
