//! Progress bars, one for each target. Shown only on a terminal, and on standard error, so that
//! they never mix with results.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::screen::plain;
use super::targets::Targets;

/// The progress bars by the targets' labels.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    all: MultiProgress,
    lines: HashMap<String, ProgressBar>,
}

/// Interval between two frames of the spinners.
const TURN: Duration = Duration::from_millis(120);

impl Progress {
    /// Shows a progress bar for each target.
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

    /// Updates a target's position, total and message.
    pub(super) fn at(&self, label: &str, done: u64, of: u64, what: String) {
        if let Some(line) = self.lines.get(label) {
            line.set_length(of);
            line.set_position(done);
            line.set_message(what);
        }
    }

    /// Removes the progress bar of a target that is done.
    pub(super) fn done(&self, label: &str) {
        if let Some(line) = self.lines.get(label) {
            line.finish_and_clear();
        }
    }

    /// Hides the progress bars while `print` runs.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }

    /// Removes all progress bars.
    pub(super) fn end(&self) {
        self.lines.values().for_each(ProgressBar::finish_and_clear);
    }
}
