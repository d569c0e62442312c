//! Telemetry: the log, metrics, and traces.
//!
//! Log lines carry request ids, organisation ids and certificates. They never carry customer data:
//! accounts, names, amounts, consent ids or log-in ids.

pub(crate) mod gauge_guard;
pub(crate) mod gauges;
mod log_writer;
mod per_event_filter;
pub(crate) mod request_metrics;
pub(crate) mod spans;
mod traces;

use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};
use url::Url;

use self::log_writer::LogWriter;
use self::per_event_filter::per_event;
use crate::config::LogFormat;

/// Guard of the telemetry of this process: flushes traces when finished.
#[derive(Debug)]
pub struct TelemetryGuard(Option<SdkTracerProvider>);

/// Export of traces.
#[derive(Debug, Clone, Copy)]
pub struct TraceExport<'a> {
    /// URL of a collector that accepts OTLP as protobuf over HTTP.
    pub collector: &'a Url,
    /// Share of traces that is exported.
    pub sample_ratio: f64,
    /// Name of the bank, for `service.namespace`.
    pub bank: &'a str,
}

/// Sends the log of this process to standard error, and its traces to the destination
/// in `traces`. Call it on the runtime on which the bank will run.
pub fn start(
    filter: &str,
    format: LogFormat,
    traces: Option<TraceExport<'_>>,
) -> Result<TelemetryGuard, String> {
    let filter = EnvFilter::try_new(filter).map_err(|problem| format!("log.filter: {problem}"))?;
    let log = tracing_subscriber::fmt::layer()
        // Colours are for people at a terminal, not for files.
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(|| LogWriter);
    let log = match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => {
            let json = log.json().flatten_event(true).with_span_list(false);
            json.boxed()
        }
    };
    let traces = traces
        .map(traces::open)
        .transpose()
        .map_err(|problem| format!("traces.otlp: {problem}"))?;
    tracing_subscriber::registry()
        .with(log.with_filter(per_event(filter)))
        .with(traces.as_ref().map(traces::layer))
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(TelemetryGuard(traces))
}

impl TelemetryGuard {
    /// Exports the remaining traces.
    pub async fn finish(self) {
        let Some(provider) = self.0 else {
            return;
        };
        // It blocks, and sends from this runtime.
        let finished = tokio::task::spawn_blocking(move || provider.shutdown()).await;
        if let Ok(Err(error)) = finished {
            tracing::warn!(%error, "last traces not exported");
        }
    }
}
