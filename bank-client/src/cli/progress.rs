//! How long work goes on, a line for each bank. Only on a terminal; on standard error, so that nothing of it gets into what
//! is printed.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::screen::plain;
use super::targets::Targets;

/// The lines, by the labels of those who are asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    all: MultiProgress,
    lines: HashMap<String, ProgressBar>,
}

/// How often the spinners turn.
const TURN: Duration = Duration::from_millis(120);

impl Progress {
    /// A line for each of those who are asked.
    pub(super) fn of(targets: &Targets) -> Self {
        let mut progress = Self::default();
        for member in &targets.members {
            let line = progress.all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:24} {bar:16} {msg}")
            {
                line.set_style(style.progress_chars("█▌ "));
            }
            line.set_prefix(plain(member.key()));
            line.enable_steady_tick(TURN);
            progress.lines.insert(member.key().to_owned(), line);
        }
        progress
    }

    /// So much of so much is done, and what is being done.
    pub(super) fn at(&self, label: &str, done: u64, of: u64, what: String) {
        if let Some(line) = self.lines.get(label) {
            line.set_length(of);
            line.set_position(done);
            line.set_message(what);
        }
    }

    /// One of them is done; its line goes.
    pub(super) fn done(&self, label: &str) {
        if let Some(line) = self.lines.get(label) {
            line.finish_and_clear();
        }
    }

    /// Prints something above the lines.
    pub(super) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }

    /// All is done.
    pub(super) fn end(&self) {
        self.lines.values().for_each(ProgressBar::finish_and_clear);
    }
}
