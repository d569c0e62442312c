//! The commands `completions` and `man`.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::failure::{Failure, failure};

/// Date of the last change to the manual page.
const CHANGED: &str = "2026-11-25";

/// Prints completions.
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "bank-client", &mut text);
    Ok(io::stdout().lock().write_all(&text)?)
}

/// Prints the manual page of the program, or of one of its commands.
pub(super) fn manual(of: Option<&str>) -> Result<(), Failure> {
    let mut command = Arguments::command();
    command.build();
    let named = match of {
        None => clap_mangen::Man::new(command),
        Some(name) => {
            let found = command.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| {
                failure(
                    format!("there is no command {name}"),
                    "`bank-client help` lists them",
                )
            })?;
            clap_mangen::Man::new(found).title(format!("bank-client-{name}"))
        }
    };
    let mut text = Vec::new();
    named.date(CHANGED).render(&mut text)?;
    Ok(io::stdout().lock().write_all(&text)?)
}
