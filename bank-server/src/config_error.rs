//! Error of a configuration, or of a file that it names.

use std::fmt;

/// An error of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, such as `xs2a.certificate`, or the file as a whole.
    pub key: String,
    /// The problem.
    pub problem: String,
    /// The line of the configuration file, from 1, where it is known.
    pub line: Option<usize>,
}

impl ConfigError {
    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            problem: problem.into(),
            line: None,
        }
    }

    /// The same, at that line of the file.
    pub(crate) fn at(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "{}: {}", self.key, self.problem)
    }
}
