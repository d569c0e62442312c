//! Asking whoever sits at the terminal.

use std::io::{self, BufRead as _, Read as _};

use console::Term;
use shared_types::authorisation::Secret;

use super::failure::{Failure, failure};
use super::screen::somebody_is_there;

/// The longest line that is taken, in bytes.
const LONGEST: u64 = 4096;

/// Whether anything may be asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Questions {
    pub(super) allowed: bool,
}

impl Questions {
    /// A line that stays unseen while it is typed. Where nobody sits at a terminal, it is the next one of standard input.
    pub(super) fn secret(self, question: &str) -> Result<Secret, Failure> {
        let answer = self.ask(question, Term::read_secure_line)?;
        Secret::new(answer).map_err(|_| failure("that is too long", "try again"))
    }

    /// A line.
    pub(super) fn line(self, question: &str) -> Result<String, Failure> {
        self.ask(question, Term::read_line)
    }

    fn ask(
        self,
        question: &str,
        read: impl Fn(&Term) -> io::Result<String>,
    ) -> Result<String, Failure> {
        let unanswered =
            |cause: String| failure(cause, "answer at a terminal, or on standard input");
        if !self.allowed {
            return Err(failure(
                format!("the bank wants to know: {question}"),
                "leave --no-input out, or prefer another way with --approach",
            ));
        }
        let answer = if somebody_is_there() {
            let terminal = Term::stderr();
            terminal.write_str(&format!("{question}: "))?;
            read(&terminal).map_err(|error| unanswered(error.to_string()))?
        } else {
            next_line().map_err(|error| unanswered(error.to_string()))?
        };
        let answer = answer.trim_end_matches(['\r', '\n']).to_owned();
        if answer.is_empty() {
            return Err(unanswered(format!("nothing was said to: {question}")));
        }
        Ok(answer)
    }
}

fn next_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(LONGEST).read_line(&mut line)?;
    Ok(line)
}
