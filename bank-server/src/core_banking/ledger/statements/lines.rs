//! Bounded reading: lines of a text, and pieces of markup or records, each with a maximum length.

use std::io::{self, BufRead, Read};

use super::Place;
use crate::core_banking::ledger::import::Result;

/// Longest line of a text, in bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// Lines that end with CR, LF or both.
pub(super) struct Lines<R> {
    text: R,
    line: u64,
    /// The last line ended with CR: an LF at the start of the next piece belongs to it.
    after_return: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(text: R) -> Self {
        Self {
            text,
            line: 0,
            after_return: false,
        }
    }

    /// Number of the last line, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line.max(1)
    }

    /// The next line without its end, `None` at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<String>> {
        let mut bytes = Vec::new();
        self.line += 1;
        loop {
            let ready = self.text.fill_buf()?;
            if ready.is_empty() {
                if bytes.is_empty() {
                    self.line -= 1;
                    return Ok(None);
                }
                break;
            }
            if self.after_return && ready.first() == Some(&b'\n') {
                self.text.consume(1);
                self.after_return = false;
                continue;
            }
            self.after_return = false;
            let end = ready.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let piece = ready.get(..end.unwrap_or(ready.len())).unwrap_or_default();
            if bytes.len() + piece.len() > LONGEST_LINE {
                let problem = format!("longer than {LONGEST_LINE} bytes");
                return Err(Place::new(self.line, ".").wrong(problem));
            }
            bytes.extend_from_slice(piece);
            self.after_return = end.is_some_and(|end| ready.get(end) == Some(&b'\r'));
            let consumed = piece.len() + usize::from(end.is_some());
            self.text.consume(consumed);
            if end.is_some() {
                break;
            }
        }
        let line = String::from_utf8(bytes);
        let not_utf8 = |_| Place::new(self.line, ".").wrong("not UTF-8");
        line.map(Some).map_err(not_utf8)
    }
}

/// Reader that fails when more bytes are read than it allows, until it is given new ones. Counts
/// lines.
pub(super) struct Bounded<R> {
    text: R,
    line: u64,
    left: usize,
    is_spent: bool,
}

impl<R> Bounded<R> {
    pub(super) fn new(text: R) -> Self {
        Self {
            text,
            line: 1,
            left: 0,
            is_spent: false,
        }
    }

    /// Allows so many bytes from now on.
    pub(super) fn allow(&mut self, bytes: usize) {
        self.left = bytes;
    }

    /// Number of the line up to which it was read, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Whether more was read than allowed.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }
}

impl<R: BufRead> BufRead for Bounded<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let ready = self.text.fill_buf()?;
        if self.left == 0 && !ready.is_empty() {
            self.is_spent = true;
            return Err(io::Error::other("longer than allowed"));
        }
        Ok(ready.get(..ready.len().min(self.left)).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(ready) = self.text.fill_buf() {
            let consumed = ready.get(..amount).unwrap_or_default();
            self.line += consumed.split(|byte| *byte == b'\n').skip(1).count() as u64;
        }
        self.left = self.left.saturating_sub(amount);
        self.text.consume(amount);
    }
}

impl<R: BufRead> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let length = ready.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..length), ready.get(..length)) {
            target.copy_from_slice(source);
        }
        self.left = self.left.saturating_sub(length);
        self.text.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn lines(text: &str, capacity: usize) -> Vec<String> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, text.as_bytes()));
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(format!("{} {line}", lines.line()));
        }
        all
    }

    #[test]
    fn lines_end_in_any_way_and_are_counted() {
        for capacity in 1..9 {
            let all = lines("a\r\nb\nc\rd\r\n\r\ne", capacity);
            assert_eq!(all, ["1 a", "2 b", "3 c", "4 d", "5 ", "6 e"], "{capacity}");
        }
        assert!(lines("", 8).is_empty());
        assert_eq!(lines("\r", 8), ["1 "]);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused() {
        let text = format!("a\n{}", "x".repeat(LONGEST_LINE + 1));
        let mut lines = Lines::new(text.as_bytes());
        lines.next().unwrap();
        let refused = lines.next().unwrap_err().to_string();
        assert_eq!(refused, "line 2, at .: longer than 16384 bytes");
    }

    #[test]
    fn no_more_is_read_than_allowed() {
        let mut bounded = Bounded::new(&b"ab\ncd"[..]);
        bounded.allow(4);
        let mut text = [0; 4];
        bounded.read_exact(&mut text).unwrap();
        assert!(bounded.read(&mut text).is_err());
        assert!(bounded.is_spent());
        bounded.allow(1);
        assert_eq!(bounded.read(&mut text).unwrap(), 1);
        // The end of the text needs no allowance.
        assert_eq!(bounded.read(&mut text).unwrap(), 0);
    }
}
