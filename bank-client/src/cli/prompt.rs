//! Prompts for the user at the terminal.

use std::io::{self, BufRead as _, Read as _};

use console::Term;
use shared_types::xs2a::authorisation::Secret;

use super::failure::{Failure, failure};
use super::screen::is_interactive;

/// Maximum length of a line.
const MAX_LINE_BYTES: u64 = 4096;

/// A prompt, which `--no-input` disables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt {
    pub(super) allowed: bool,
}

impl Prompt {
    /// Reads a line without echo. Without a terminal, reads the next line of standard input.
    pub(super) fn secret(self, question: &str) -> Result<Secret, Failure> {
        let answer = self.read(question, Term::read_secure_line)?;
        Secret::new(answer).map_err(|_| failure("that is too long", "try again"))
    }

    /// Reads a line.
    pub(super) fn line(self, question: &str) -> Result<String, Failure> {
        self.read(question, Term::read_line)
    }

    fn read(
        self,
        question: &str,
        read_line: impl Fn(&Term) -> io::Result<String>,
    ) -> Result<String, Failure> {
        let unanswered =
            |cause: String| failure(cause, "answer at a terminal, or on standard input");
        if !self.allowed {
            return Err(failure(
                format!("the bank requires: {question}"),
                "leave --no-input out, or prefer another way with --approach",
            ));
        }
        let answer = if is_interactive() {
            let terminal = Term::stderr();
            terminal.write_str(&format!("{question}: "))?;
            read_line(&terminal).map_err(|error| unanswered(error.to_string()))?
        } else {
            next_line().map_err(|error| unanswered(error.to_string()))?
        };
        let answer = answer.trim_end_matches(['\r', '\n']).to_owned();
        if answer.is_empty() {
            return Err(unanswered(format!("no answer to: {question}")));
        }
        Ok(answer)
    }
}

fn next_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin()
        .lock()
        .take(MAX_LINE_BYTES)
        .read_line(&mut line)?;
    Ok(line)
}
