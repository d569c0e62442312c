//! Middleware of all XS2A requests: limits, trust, identity and `X-Request-ID`.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError, web};
use shared_types::pki::eidas::{OrganisationId, Role};
use tokio::time::timeout;
use tracing::Instrument as _;
use uuid::Uuid;

use super::Xs2a;
use super::authentication::{AuthenticatedTpp, Connection, OpenRequest, closing};
use super::error::{ApiError, Result};
use super::traced;
use crate::bank_service::with_request_id;
use crate::http::{has_zero_byte, named_host};
use crate::identity::Tpp;
use crate::telemetry::gauge_guard::GaugeGuard;
use crate::telemetry::request_metrics::Answered;
use crate::transport::connection::RequestPermit;

/// The header that names a request, in both directions.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Authenticated TPP and request id. Available to every handler.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) tpp: Arc<Tpp>,
    pub(super) request_id: Uuid,
    /// Whether the body of the request is still arriving: distinguishes a slow TPP from a slow
    /// bank.
    pub(super) receiving: Rc<Cell<bool>>,
    /// Permit of the request among those of the TPP.
    pub(super) permit: Arc<RequestPermit>,
}

impl FromRequest for RequestContext {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Inserted by the middleware before the handler runs.
        let context = request.extensions().get::<Self>().cloned();
        std::future::ready(context.ok_or_else(ApiError::internal))
    }
}

/// The middleware around all resources.
pub(crate) async fn middleware(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let started = Instant::now();
    let state = request.app_data::<web::Data<Xs2a>>().cloned();
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    // Both are set when the server starts, for every request alike.
    let (Some(state), Some(connection)) = (state, connection) else {
        return Err(ApiError::internal().into());
    };
    let method = request.method().clone();
    let id = request_id(request.headers()).ok();
    let echo = id.and_then(|_| request.headers().get(X_REQUEST_ID).cloned());
    let counted = state.request_metrics.begin_request();
    let span = traced::span(&request, id);
    let outcome = pass(request, next, echo.clone(), &state, &connection)
        .instrument(span.clone())
        .await;
    let took = started.elapsed();
    let passed = outcome.as_ref().ok();
    let status = match &outcome {
        Ok(passed) => passed.response.status(),
        Err(given_up) => given_up.as_response_error().status_code(),
    };
    // The pattern, not the path: paths hold ids of consents and accounts. It is lost
    // with a request whose handler was cancelled.
    let resource = passed.and_then(|passed| passed.response.request().match_pattern());
    let tpp_session = passed.and_then(|passed| passed.tpp_session.as_ref());
    let tpp = tpp_session.map(|session| session.tpp.organisation());
    let refused = passed.and_then(|passed| passed.refused.as_ref());
    let summary = RequestSummary {
        method: &method,
        resource: resource.as_deref(),
        status: status.as_u16(),
        tpp,
        refused: refused.map(|error| error.code().as_str()),
    };
    let operation = traced::operation(&summary);
    let role = Role::AccountInformation;
    state.request_metrics.request(&Answered {
        operation: &operation,
        status: summary.status,
        role: tpp_session.and_then(|session| session.tpp.has(role).then_some(role)),
        took,
    });
    traced::conclude(&span, &summary, operation);
    tracing::info!(
        request_id = id.map(display),
        tpp = tpp.map(display),
        // A peer that is not identified is logged by its certificate.
        certificate = tpp.is_none().then(|| display(&connection.certificate)),
        gateway = connection.is_gateway().then(|| display(connection.address)),
        forwarded = tpp_session.and_then(AuthenticatedTpp::forwarded).map(display),
        method = %method,
        resource = summary.resource,
        status = summary.status,
        refused = summary.refused,
        microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    let Passed {
        mut response,
        open_request,
        ..
    } = outcome?;
    if let Some(echo) = echo {
        response.headers_mut().insert(X_REQUEST_ID, echo);
    }
    if connection.is_draining() {
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    // Account data is not cached.
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response.map_body(|_, body| {
        BoxBody::new(Sending {
            body,
            _open_request: open_request,
            _counted: counted,
        })
    }))
}

/// Log fields of a request, none of them personal data of a customer.
pub(super) struct RequestSummary<'a> {
    pub(super) method: &'a Method,
    /// The path as a template, if a resource has it.
    pub(super) resource: Option<&'a str>,
    pub(super) status: u16,
    pub(super) tpp: Option<&'a OrganisationId>,
    /// The error code of the middleware.
    pub(super) refused: Option<&'a str>,
}

/// Outcome of a request.
struct Passed {
    response: ServiceResponse<BoxBody>,
    tpp_session: Option<AuthenticatedTpp>,
    refused: Option<ApiError>,
    open_request: OpenRequest,
}

async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    echo: Option<HeaderValue>,
    state: &Xs2a,
    connection: &Arc<Connection>,
) -> Result<Passed, actix_web::Error> {
    let mut open_request = connection.begin_request();
    let authenticated = AuthenticatedTpp::of(&request, state, &mut open_request).await;
    let tpp_session = authenticated.as_ref().ok().cloned();
    let authorized = authenticated.and_then(|session| {
        let context = authorize(&request, &session, open_request.permit())?;
        Ok((session, context))
    });
    let (response, refused) = match authorized {
        Err(closed) => (request.into_response(closed.respond()), Some(closed.error)),
        Ok((session, context)) => {
            let receiving = Rc::clone(&context.receiving);
            let request_id = context.request_id;
            request.extensions_mut().insert(context);
            let given_up = |error| GivenUp {
                error,
                echo: echo.clone(),
            };
            let outcome = tokio::select! {
                biased;
                () = session.trust_lost() => {
                    let closed = session.check_trust().await.err();
                    Err(given_up(closed.map_or_else(ApiError::internal, |closed| closed.error)))
                }
                outcome = timeout(state.limits.request_timeout(), with_request_id(request_id, next.call(request))) => outcome.map_err(|_| {
                    let error = if receiving.get() {
                        ApiError::slow_request()
                    } else {
                        ApiError::slow_answer()
                    };
                    tracing::warn!(%error, "request took too long");
                    given_up(error)
                }),
            };
            let response = outcome??.map_into_boxed_body();
            // Trust can have ended while the handler ran: the response is not sent then.
            match session.check_trust().await {
                Ok(()) => (response, None),
                Err(closed) => (response.into_response(closed.respond()), Some(closed.error)),
            }
        }
    };
    Ok(Passed {
        response,
        tpp_session,
        refused,
        open_request,
    })
}

/// A body that counts as an open answer until it is sent.
struct Sending {
    body: BoxBody,
    _open_request: OpenRequest,
    _counted: GaugeGuard,
}

impl MessageBody for Sending {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<web::Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}

/// Authorises the request. The cheapest and most important checks come first.
fn authorize(
    request: &ServiceRequest,
    session: &AuthenticatedTpp,
    permit: Option<Arc<RequestPermit>>,
) -> Result<RequestContext> {
    let permit = permit.ok_or_else(ApiError::too_many_requests)?;
    if !session.tpp.has(Role::AccountInformation) {
        return Err(ApiError::role());
    }
    named_host(request.head()).map_err(ApiError::not_a_host)?;
    if has_zero_byte(request.uri()) {
        return Err(ApiError::format(
            ".",
            "the path or the query holds a zero byte",
        ));
    }
    // The document about the interface is part of no request to an account.
    let request_id = match request_id(request.headers()) {
        Err(_) if request.path() == "/openapi.json" => Uuid::nil(),
        id => id?,
    };
    if !accepts_json(request.headers()) {
        return Err(ApiError::not_acceptable());
    }
    Ok(RequestContext {
        tpp: Arc::clone(&session.tpp),
        request_id,
        receiving: Rc::default(),
        permit,
    })
}

/// `X-Request-ID`: exactly one, a UUID.
fn request_id(headers: &HeaderMap) -> Result<Uuid> {
    let mut values = headers.get_all(X_REQUEST_ID);
    let wrong = |text: &'static str| ApiError::format("X-Request-ID", text);
    match (values.next(), values.next()) {
        (None, _) => Err(wrong("the header is required")),
        (Some(_), Some(_)) => Err(wrong("the header must be there once")),
        (Some(value), None) => value
            .to_str()
            .ok()
            // The hyphenated form alone, of the forms that the type could read.
            .filter(|text| text.len() == 36)
            .and_then(|text| Uuid::try_parse(text).ok())
            .ok_or_else(|| {
                wrong("the header must be a UUID such as 99391c7e-ad88-49ec-a2ad-99ddcb1f7721")
            }),
    }
}

/// Whether the TPP accepts JSON (RFC 9110, section 12.5.1). No header accepts everything.
fn accepts_json(headers: &HeaderMap) -> bool {
    let mut ranges = headers
        .get_all(ACCEPT)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .peekable();
    ranges.peek().is_none()
        || ranges.any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let refused = parts.any(|parameter| {
                parameter
                    .strip_prefix("q=")
                    .is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight == 0.0))
            });
            matches!(kind.as_str(), "*/*" | "application/*" | "application/json") && !refused
        })
}

/// Error of a request whose handler was cancelled. The request was dropped with it.
#[derive(Debug)]
struct GivenUp {
    error: ApiError,
    /// The `X-Request-ID` as it came.
    echo: Option<HeaderValue>,
}

impl std::fmt::Display for GivenUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for GivenUp {
    fn status_code(&self) -> actix_web::http::StatusCode {
        self.error.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = closing(&self.error);
        if let Some(echo) = &self.echo {
            response.headers_mut().insert(X_REQUEST_ID, echo.clone());
        }
        response
    }
}
