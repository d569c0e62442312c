//! Log output on standard error: one line for each event, without characters that manipulate a
//! terminal.
//!
//! Control sequences in fields are escaped by tracing-subscriber, which leaves line breaks in
//! errors, and characters that turn the direction of writing.

use std::borrow::Cow;
use std::io;

use shared_types::xs2a::text::is_obeyed;

/// Writes one event per call: the log's layer passes each event as a whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        io::stderr().lock().write_all(line(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The event as a line. Escape characters are the layer's own colours.
fn line(event: &str) -> Cow<'_, str> {
    let is_shown = |character| character == '\u{1b}' || !is_obeyed(character);
    let (content, end) = match event.strip_suffix('\n') {
        Some(content) => (content, "\n"),
        None => (event, ""),
    };
    if content.chars().all(is_shown) {
        return Cow::Borrowed(event);
    }
    let shown = content.chars().map(|character| match character {
        '\n' | '\r' | '\t' => ' ',
        character if is_shown(character) => character,
        _ => char::REPLACEMENT_CHARACTER,
    });
    Cow::Owned(shown.chain(end.chars()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_that_reads_from_left_to_right() {
        for (event, expected) in [
            (
                "\u{1b}[32m INFO\u{1b}[0m served\n",
                "\u{1b}[32m INFO\u{1b}[0m served\n",
            ),
            (
                "WARN error=no\n2026 INFO served\n",
                "WARN error=no 2026 INFO served\n",
            ),
            ("name=\u{202e}A\u{0}\n", "name=\u{fffd}A\u{fffd}\n"),
        ] {
            assert_eq!(line(event), expected);
        }
    }
}
