//! Limits of an aggregator: concurrency, buffering and timeouts.

use std::time::Duration;

/// Limits of one round of questions: from the first poll of one of the
/// [`Aggregator`](super::Aggregator)'s streams to its end. Each call also has those of its
/// [`Bank`](crate::Bank) ([`Limits`](crate::Limits), and its retries and circuit breaker).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AggregatorLimits {
    /// Calls under way at a time, over all banks. At least 1. Default: 256.
    ///
    /// A bank that does not answer keeps its turn until it is given up: fewer than there are banks,
    /// and the living wait for the dead. Each takes a socket.
    pub at_a_time: usize,
    /// Calls under way at a time at one bank, over all members that share its handle. At least 1.
    /// Default: 4.
    pub per_bank: usize,
    /// For a question to one member, from its turn on, retries included; of transactions, for each
    /// page. Default: 40 s.
    pub each: Duration,
    /// For the whole round, from the first poll on. The time in which an answer waits for the
    /// program to take it does not count. Default: 60 s.
    pub deadline: Duration,
    /// Outcomes and entries that are ready before they are taken. At least 1. Default: 64.
    pub ready: usize,
}

impl Default for AggregatorLimits {
    fn default() -> Self {
        Self {
            at_a_time: 256,
            per_bank: 4,
            each: Duration::from_secs(40),
            deadline: Duration::from_mins(1),
            ready: 64,
        }
    }
}
