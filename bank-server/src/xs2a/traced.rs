//! Span of a request, within the trace that the TPP's request belongs to, where it names one (W3C
//! Trace Context).

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderName};
use opentelemetry::propagation::Extractor;
use tracing::{Span, info_span};
use uuid::Uuid;

use super::middleware::RequestSummary;
use crate::telemetry::spans::{answered, rename, set_attribute, set_parent};

/// Span of a request. Names of fields are those of OpenTelemetry's semantic conventions for HTTP
/// servers, where there is one. No value is personal data of a customer.
pub(super) fn span(request: &ServiceRequest, id: Option<Uuid>) -> Span {
    let span = info_span!(
        "request",
        otel.kind = "server",
        request_id = id.map(display),
        http.request.method = %request.method(),
    );
    set_parent(&span, &Headers(request.headers()));
    span
}

/// Records the outcome of the request.
pub(super) fn conclude(span: &Span, summary: &RequestSummary<'_>, operation: String) {
    rename(span, operation);
    answered(span, summary.resource, summary.status);
    if let Some(tpp) = summary.tpp {
        set_attribute(span, "tpp", tpp.to_string());
    }
    if let Some(refused) = summary.refused {
        set_attribute(span, "refused", refused.to_owned());
    }
}

/// Method and path as a template, such as `GET /v1/accounts/{account_id}`. All unknown paths share
/// one name, and so do all unknown methods: there is no end to either.
pub(super) fn operation(summary: &RequestSummary<'_>) -> String {
    let known = [Method::GET, Method::POST, Method::PUT, Method::DELETE];
    let method = known.iter().find(|known| *known == summary.method);
    format!(
        "{} {}",
        method.map_or("OTHER", Method::as_str),
        summary.resource.unwrap_or("elsewhere")
    )
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_paths_and_methods_share_a_name() {
        let named = |method: &str, resource: Option<&str>| {
            operation(&RequestSummary {
                method: &Method::from_bytes(method.as_bytes()).unwrap(),
                resource,
                status: 404,
                tpp: None,
                refused: None,
            })
        };
        assert_eq!(named("GET", Some("/v1/accounts")), "GET /v1/accounts");
        assert_eq!(named("BREW", Some("/v1/accounts")), "OTHER /v1/accounts");
        assert_eq!(named("GET", None), "GET elsewhere");
    }
}
