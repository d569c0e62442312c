//! Metrics of the database: statements, failures, waits, connections.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::pool::Pool;
use crate::telemetry::gauges::gauges;

/// Operations that statements are counted by.
const OPERATIONS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// Operation of the statements that begin and end transactions, and of the rest.
pub(super) const OTHER: &str = "OTHER";

/// Operation of a statement, by its first word.
pub(super) fn operation_of(statement: &str) -> &'static str {
    let word = statement.split_whitespace().next().unwrap_or_default();
    let mut known = OPERATIONS.into_iter();
    known
        .find(|operation| word.eq_ignore_ascii_case(operation))
        .unwrap_or(OTHER)
}

/// Metrics that all connections of a database share.
#[derive(Debug, Clone)]
pub(super) struct DatabaseMetrics {
    statements: Family<[(&'static str, &'static str); 1], Histogram>,
    failures: Family<[(&'static str, &'static str); 1], Counter>,
    waits: Histogram,
    pub(super) waiting: Gauge,
}

/// Histogram buckets, from a tenth of a millisecond (a fast statement) to ten seconds (beyond every
/// timeout).
const SECONDS: [f64; 12] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0, 10.0,
];

impl DatabaseMetrics {
    pub(super) fn new() -> Self {
        Self {
            statements: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            failures: Family::default(),
            waits: Histogram::new(SECONDS),
            waiting: Gauge::default(),
        }
    }

    pub(super) fn statement(&self, operation: &'static str, took: Duration, failed: bool) {
        let labels = [("operation", operation)];
        self.statements
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        if failed {
            self.failures.get_or_create(&labels).inc();
        }
    }

    /// Counts a connection that could not be acquired.
    pub(super) fn unconnected(&self) {
        let labels = [("operation", "CONNECT")];
        self.failures.get_or_create(&labels).inc();
    }

    pub(super) fn waited(&self, took: Duration) {
        self.waits.observe(took.as_secs_f64());
    }

    /// Registers them, with a collector for the connections of those pools.
    pub(super) fn register(&self, registry: &mut Registry, pools: [(&'static str, Pool); 2]) {
        registry.register_with_unit(
            "store_statement",
            "How long statements took, from a free connection to the last row",
            Unit::Seconds,
            self.statements.clone(),
        );
        registry.register(
            "store_failures",
            "Statements that failed, and connections that did not come (CONNECT); a statement \
             that meets what is there already fails as well",
            self.failures.clone(),
        );
        registry.register_with_unit(
            "store_wait",
            "How long was waited for a connection to the database",
            Unit::Seconds,
            self.waits.clone(),
        );
        registry.register(
            "store_waiting",
            "What waits for a connection to the database",
            self.waiting.clone(),
        );
        registry.register_collector(Box::new(Connections(pools)));
    }
}

#[derive(Debug)]
struct Connections([(&'static str, Pool); 2]);

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.iter().flat_map(|(name, pool)| {
            let (idle, used) = pool.connections();
            [("idle", idle), ("used", used)]
                .map(|(state, count)| ([("pool", *name), ("state", state)], count))
        });
        let described = ("store_connections", "Connections to the database", None);
        gauges(&mut encoder, described, counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word() {
        for (statement, operation) in [
            ("SELECT 1", "SELECT"),
            ("  insert INTO x", "INSERT"),
            ("UPDATE x", "UPDATE"),
            ("DELETE\nFROM x", "DELETE"),
            ("BEGIN", "OTHER"),
            ("SELECTED", "OTHER"),
            ("", "OTHER"),
        ] {
            assert_eq!(operation_of(statement), operation, "{statement}");
        }
    }
}
