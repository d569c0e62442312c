//! Requests carry the trace they belong to (W3C Trace Context), in the way that the program has set for all of itself
//! (`opentelemetry::global::set_text_map_propagator`). A program that has set none sends nothing.

use opentelemetry::global;
use opentelemetry_http::HeaderInjector;
use reqwest::header::HeaderMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Names the span that we are in.
pub(crate) fn carry(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    });
}
