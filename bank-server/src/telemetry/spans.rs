//! Span attributes beyond those of `tracing`: parent trace, and values that are known at the end.

use http::HeaderMap;
use opentelemetry::propagation::Extractor;
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Value, global};
use opentelemetry_http::HeaderInjector;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Sets the parent of a new span from header fields (W3C Trace Context).
pub(crate) fn set_parent(span: &Span, headers: &dyn Extractor) {
    let context = global::get_text_map_propagator(|propagator| propagator.extract(headers));
    // Fails where traces are not collected.
    let _ = span.set_parent(context);
}

/// Names the current span in the header fields of a request (W3C Trace Context).
pub(crate) fn inject(headers: &mut HeaderMap) {
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(headers));
    });
}

/// Sets an attribute for the trace collector alone. Recording it through `tracing` costs a tenth of
/// a request, because it is also written to the log, which has separate lines for it.
pub(crate) fn set_attribute(span: &Span, name: &'static str, value: impl Into<Value>) {
    span.set_attribute(name, value);
}

/// Records the response status, and the route if a resource matched.
pub(crate) fn answered(span: &Span, route: Option<&str>, status: u16) {
    if let Some(route) = route {
        set_attribute(span, "http.route", route.to_owned());
    }
    set_attribute(span, "http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

/// Renames a span: the name of a request is known once its route is.
pub(crate) fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}
