//! Propagation of the trace context (W3C Trace Context) in request headers.
//!
//! Uses the program's global propagator (`opentelemetry::global::set_text_map_propagator`); without
//! one, no header is sent.

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
