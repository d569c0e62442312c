//! Traces, over OTLP to a collector on this machine.
//!
//! A request is a span, with the statements to the database and the calls to other banks that it led to below it. The trace
//! it belongs to comes with it, and goes on with those calls (W3C Trace Context). Which traces are kept is our own
//! decision, by their id: what a TPP says of it is not heeded, for it could have everything kept. Baggage is not passed on.

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

use super::per_event_filter::AskedEachTime;
use crate::config::TracesConfig;
use crate::transport::fetch::no_tls;

/// How long a collector may take for what it is sent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends spans to that collector from now on. They leave in the background; where the collector is late or gone, some are
/// lost, and no request waits.
pub(super) fn open(config: &TracesConfig, bank: &str) -> Result<SdkTracerProvider, String> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.otlp.as_str())
        .with_timeout(PATIENCE)
        .with_http_client(Sender::new().map_err(|error| error.to_string())?)
        .build()
        .map_err(|error| error.to_string())?;
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "bank-server"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.namespace", bank.to_owned()),
        ])
        .build();
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler(config.sample_ratio))
        .with_resource(resource)
        .build();
    global::set_text_map_propagator(TraceContextPropagator::new());
    Ok(provider)
}

/// Keeps that part of all traces, told by their ids alone.
fn sampler(ratio: f64) -> Sampler {
    Sampler::TraceIdRatioBased(ratio)
}

/// Makes spans of our own and the SDK's to be sent.
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
        .with_filter(AskedEachTime(ours))
}

/// Sends from the runtime of the bank: what leaves in the background is on a thread without one.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
}

impl Sender {
    #[expect(
        clippy::disallowed_methods,
        reason = "this client is given a TLS configuration that trusts nobody: it speaks plain HTTP"
    )]
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let tls = no_tls()?;
        // Neither a proxy nor a redirect leads away from this machine.
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
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
    fn what_a_peer_says_of_sampling_is_not_heeded() {
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
