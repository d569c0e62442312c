//! Trace export over OTLP to a collector on this machine.
//!
//! A request is a span, with the database statements and the calls to other banks below it. It
//! continues the trace of the caller, and passes it on (W3C Trace Context). The sampling decision
//! is our own, by trace id: a TPP's sampled flag is ignored, because it could force everything to
//! be kept. Baggage is not passed on.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{KeyValue, global};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use super::TraceExport;
use super::per_event_filter::per_event;
use crate::transport::fetch::no_tls;

/// Time limit of an export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Exports spans to that collector from now on, in the background. If the collector is slow or
/// down, spans are dropped, and no request waits.
pub(super) fn open(export: TraceExport<'_>) -> Result<SdkTracerProvider, String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(export.collector.as_str())
        .with_timeout(EXPORT_TIMEOUT)
        .with_http_client(Sender::new().map_err(|error| error.to_string())?)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "bank-server"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.namespace", export.bank.to_owned()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler(export.sample_ratio))
        .with_resource(resource)
        .build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(provider)
}

/// Samples that part of all traces, by their ids alone.
fn sampler(ratio: f64) -> Sampler {
    Sampler::TraceIdRatioBased(ratio)
}

/// Exports spans of our own crates and the SDK.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = Targets::new()
        .with_target("bank_server", LevelFilter::DEBUG)
        .with_target("bank_client", LevelFilter::INFO);
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("bank-server"))
        .with_location(false)
        .with_threads(false)
        .with_filter(per_event(ours))
}

/// HTTP client of the exporter, on the runtime of the bank: exports start on a thread without one.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
}

impl Sender {
    #[expect(
        clippy::disallowed_methods,
        reason = "speaks plain HTTP alone; its TLS configuration has no trust anchors"
    )]
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let tls = no_tls()?;
        // No proxy and no redirect may lead away from this machine.
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(EXPORT_TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            runtime: Handle::current(),
        })
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let status = answer.status();
            Ok::<_, reqwest::Error>((status, answer.bytes().await?))
        });
        let (status, body) = sent.await??;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::Context;
    use opentelemetry::trace::{
        SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    };
    use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample as _};

    use super::*;

    #[test]
    fn the_sampled_flag_of_a_peer_is_ignored() {
        let trace = TraceId::from_bytes([7; 16]);
        for (flags, ratio, kept) in [
            (TraceFlags::SAMPLED, 0.0, SamplingDecision::Drop),
            (
                TraceFlags::default(),
                1.0,
                SamplingDecision::RecordAndSample,
            ),
        ] {
            let span = SpanId::from_bytes([7; 8]);
            let peer = SpanContext::new(trace, span, flags, true, TraceState::default());
            let parent = Context::new().with_remote_span_context(peer);
            let sampled = sampler(ratio).should_sample(
                Some(&parent),
                trace,
                "request",
                &SpanKind::Server,
                &[],
                &[],
            );
            assert_eq!(sampled.decision, kept);
        }
    }
}
