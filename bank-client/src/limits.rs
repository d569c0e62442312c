//! Limits of each call to a bank.

use std::time::Duration;

/// Limits of each call. For a call that is repeated, they hold for each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For connecting, the handshake included. Default: 5 s.
    pub connecting: Duration,
    /// For a whole call, connecting included. Default: 30 s.
    pub call: Duration,
    /// For the size of an answer, in bytes. Default: 32 MiB.
    pub answer: usize,
    /// For the elements of the lists in one answer, all lists together. An entry takes about a
    /// kilobyte of memory once it is decoded, however few bytes the bank spends on it. Default: 100
    /// 000.
    pub entries: usize,
    /// For the pages of one list. Default: 10 000.
    pub pages: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connecting: Duration::from_secs(5),
            call: Duration::from_secs(30),
            answer: 32 * 1024 * 1024,
            entries: 100_000,
            pages: 10_000,
        }
    }
}
