//! How many there are at a time.

use prometheus_client::metrics::gauge::Gauge;

/// One of those that a figure counts, until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub(crate) fn among(all: &Gauge) -> Self {
        all.inc();
        Self(all.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
