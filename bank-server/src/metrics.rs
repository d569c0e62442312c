//! Prometheus metrics in the text format.
//!
//! State is read when metrics are scraped; events are counted when they happen, here and in the
//! database pool.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::bank_service::BankService;
use crate::identity::Licences;
use crate::identity_provider::IdentityProvider;
use crate::sca::Sca;
use crate::store::Database;
use crate::telemetry::gauges::gauges;
use crate::telemetry::request_metrics::RequestMetrics;
use crate::transport::listener::MtlsListener;
use crate::transport::trust_reloader::TrustReport;

/// The media type of the text.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The sources of metrics.
pub(crate) struct Parts<'a> {
    pub(crate) trust: Arc<ArcSwap<TrustReport>>,
    pub(crate) listeners: Vec<(&'static str, Arc<MtlsListener<Licences>>)>,
    pub(crate) request_metrics: &'a RequestMetrics,
    pub(crate) database: &'a Database,
    pub(crate) sca: &'a Sca,
    pub(crate) services: &'a [Arc<BankService>],
    pub(crate) identity_provider: Option<&'a IdentityProvider>,
}

/// All metrics of a bank.
pub(crate) struct Metrics(Registry);

impl Metrics {
    /// The metrics of a bank that consists of these parts.
    pub(crate) fn of(parts: Parts<'_>) -> Self {
        let mut registry = Registry::with_prefix("bank");
        registry.register_collector(Box::new(TrustMetrics(parts.trust)));
        registry.register_collector(Box::new(Connections(parts.listeners)));
        parts.request_metrics.register(&mut registry);
        parts.database.register(&mut registry);
        parts.sca.register(&mut registry);
        for service in parts.services {
            service.register(&mut registry);
        }
        if let Some(provider) = parts.identity_provider {
            provider.register(&mut registry);
        }
        Self(registry)
    }

    /// The text, as of this moment.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0)?;
        Ok(plain(&text))
    }
}

/// The library writes `OpenMetrics`, which not every tool reads. The text format before it knows no
/// units and no end, and describes a counter by the name that its samples have.
fn plain(open_metrics: &str) -> String {
    let is_type = |line: &&str| line.starts_with("# TYPE ");
    let counters: HashSet<&str> = open_metrics
        .lines()
        .filter(is_type)
        .filter_map(|line| line.strip_suffix(" counter")?.split(' ').nth(2))
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            (Some("#"), Some(word), Some(name), Some(rest)) if counters.contains(name) => {
                text.extend(["# ", word, " ", name, "_total ", rest, "\n"]);
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

struct Connections(Vec<(&'static str, Arc<MtlsListener<Licences>>)>);

/// The listeners have nothing to add.
impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").finish()
    }
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.iter();
        let counts = counts.map(|(name, listener)| ([("listener", *name)], listener.connections()));
        let what = "Connections that are open, by listener";
        gauges(&mut encoder, ("connections", what, None), counts)
    }
}

#[derive(Debug)]
struct TrustMetrics(Arc<ArcSwap<TrustReport>>);

impl Collector for TrustMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let report = self.0.load();
        let mut write = |name: &str, help: &str, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            let encoder = encoder.encode_descriptor(name, help, unit, metric.metric_type())?;
            metric.encode(encoder)
        };
        let count = |count: u64| ConstCounter::new(count);
        let applied = "Applied changes of trust";
        write("trust_changes", applied, None, &count(report.changes))?;
        let rejected = "Rejected reloads, which kept the previous value";
        write("trust_refusals", rejected, None, &count(report.refusals))?;
        write(
            "ocsp_questions",
            "OCSP queries",
            None,
            &count(report.ocsp_queries),
        )?;
        let failed = "OCSP queries without a usable response";
        write("ocsp_failures", failed, None, &count(report.ocsp_failures))?;
        let problems = i64::try_from(report.problems.len()).unwrap_or(i64::MAX);
        let current = "Current problems of trust: rejected reloads and expired parts";
        write("trust_problems", current, None, &ConstGauge::new(problems))?;
        let closed = ConstGauge::new(i64::from(report.closed));
        let cause = "1 if no peer can connect, for want of a fresh revocation list, a valid anchor or our key";
        write("trust_closed", cause, None, &closed)?;
        if let Some(until) = report.certificate_until {
            let last = "The last second of our own certificate, since 1970";
            let until = i64::try_from(until.as_secs()).unwrap_or(i64::MAX);
            let unit = Some(&Unit::Seconds);
            write(
                "certificate_valid_until",
                last,
                unit,
                &ConstGauge::new(until),
            )?;
        }
        lists(&mut encoder, &report)
    }
}

fn lists(encoder: &mut DescriptorEncoder<'_>, report: &TrustReport) -> Result<(), fmt::Error> {
    let of_each = || {
        report
            .lists
            .iter()
            .map(|list| ([("issuer", list.issuer.as_str())], list))
    };
    let what = "When the next revocation list of an issuer is due, since 1970";
    gauges(
        encoder,
        ("revocation_list_next_update", what, Some(&Unit::Seconds)),
        of_each().map(|(labels, list)| (labels, list.next_update.as_secs())),
    )?;
    let what = "Certificates on the revocation list of an issuer";
    gauges(
        encoder,
        ("revocation_list_entries", what, None),
        of_each().map(|(labels, list)| (labels, list.entries)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_names_of_their_samples() {
        let open_metrics = "# HELP a_counter All of them.\n# TYPE a_counter counter\na_counter_total{x=\"1\"} 2\n\
                            # HELP a_second How long.\n# TYPE a_second gauge\n# UNIT a_second second\na_second 1\n# EOF\n";
        let expected = "# HELP a_counter_total All of them.\n# TYPE a_counter_total counter\na_counter_total{x=\"1\"} 2\n\
                        # HELP a_second How long.\n# TYPE a_second gauge\na_second 1\n";
        assert_eq!(plain(open_metrics), expected);
    }
}
