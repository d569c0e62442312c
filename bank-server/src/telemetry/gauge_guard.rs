//! Gauge guard: counts an item until it is dropped.

use prometheus_client::metrics::gauge::Gauge;

/// One item of a gauge, until it is dropped.
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
