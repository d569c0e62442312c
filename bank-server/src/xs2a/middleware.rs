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
use super::authentication::{AuthenticatedTpp, Connection, OpenRequest, Rejection, closing};
use super::error::ApiError;
use super::traced;
use crate::http::{has_zero_byte, named_host};
use crate::identity::Tpp;
use crate::telemetry::figures::Answered;
use crate::telemetry::gauge_guard::GaugeGuard;
use crate::transport::connection::RequestPermit;

/// The header that names a request, in both directions.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Authenticated TPP and request id. Available to every handler.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) tpp: Arc<Tpp>,
    pub(super) request_id: Uuid,
    /// Whether the body of the request is still on its way; tells a slow TPP from a slow bank.
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
    let method = request.method().clone();
    let state = request.app_data::<web::Data<Xs2a>>().cloned();
    let id = request_id(request.headers()).ok();
    let echo = id.and_then(|_| request.headers().get(X_REQUEST_ID).cloned());
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let counted = state.as_ref().map(|state| state.figures.begin_request());
    let span = traced::span(&request, id);
    let outcome = pass(request, next, echo.clone(), connection.as_ref())
        .instrument(span.clone())
        .await;
    let took = started.elapsed();
    let passed = outcome.as_ref().ok();
    let status = match &outcome {
        Ok(passed) => passed.response.status(),
        Err(given_up) => given_up.as_response_error().status_code(),
    };
    // The pattern, not the path: paths hold ids of consents and accounts. It is gone with a request that was given up.
    let resource = passed.and_then(|passed| passed.response.request().match_pattern());
    let tpp_session = passed.and_then(|passed| passed.tpp_session.as_ref());
    let tpp = tpp_session.map(|tpp_session| tpp_session.tpp.organisation());
    let refused = passed.and_then(|passed| passed.refused.as_ref());
    let told = RequestSummary {
        method: &method,
        resource: resource.as_deref(),
        status: status.as_u16(),
        tpp,
        refused: refused.map(|error| error.code().as_str()),
    };
    let operation = traced::operation(&told);
    if let Some(state) = state {
        let in_role =
            tpp_session.filter(|tpp_session| tpp_session.tpp.has(Role::AccountInformation));
        state.figures.request(&Answered {
            operation: &operation,
            status: told.status,
            role: in_role.map(|_| Role::AccountInformation),
            took,
        });
    }
    traced::conclude(&span, &told, operation);
    let connection = connection.as_ref();
    let gateway = connection.filter(|connection| connection.is_gateway());
    tracing::info!(
        request_id = id.map(display),
        tpp = tpp.map(display),
        // A peer that is not identified is logged by its certificate.
        certificate = connection.filter(|_| tpp.is_none()).map(|connection| display(&connection.certificate)),
        gateway = gateway.map(|connection| display(connection.address)),
        forwarded = tpp_session.and_then(AuthenticatedTpp::forwarded).map(display),
        method = %method,
        resource = told.resource,
        status = told.status,
        refused = told.refused,
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
    if connection.is_some_and(|connection| connection.is_draining()) {
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    // Account data is for whom it was sent, once.
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
    /// The path as a template, if it leads somewhere.
    pub(super) resource: Option<&'a str>,
    pub(super) status: u16,
    pub(super) tpp: Option<&'a OrganisationId>,
    /// The code with which it was refused before it met a resource.
    pub(super) refused: Option<&'a str>,
}

/// A request that was let through, or refused.
struct Passed {
    response: ServiceResponse<BoxBody>,
    tpp_session: Option<AuthenticatedTpp>,
    refused: Option<ApiError>,
    open_request: Option<OpenRequest>,
}

async fn pass(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    echo: Option<HeaderValue>,
    connection: Option<&Arc<Connection>>,
) -> Result<Passed, actix_web::Error> {
    let mut open_request = connection.map(Connection::begin_request);
    let outcome = authenticate(&request, open_request.as_mut()).await;
    let tpp_session = outcome.as_ref().ok().cloned();
    let permit = open_request.as_ref().and_then(OpenRequest::permit);
    let (response, refused) = match outcome
        .and_then(|tpp_session| authorize(&request, tpp_session, permit).map_err(Rejection::from))
    {
        Err(closed) => (request.into_response(closed.respond()), Some(closed.error)),
        Ok(entered) => {
            let limit = entered.state.limits.request_timeout();
            let receiving = Rc::clone(&entered.context.receiving);
            request.extensions_mut().insert(entered.context);
            let given_up = |error| GivenUp {
                error,
                echo: echo.clone(),
            };
            let outcome = tokio::select! {
                biased;
                () = entered.tpp_session.ended() => {
                    let closed = entered.tpp_session.still_here().await.err();
                    Err(given_up(closed.map_or_else(ApiError::internal, |closed| closed.error)))
                }
                outcome = timeout(limit, next.call(request)) => outcome.map_err(|_| {
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
            // Trust can have ended while the answer was made: what the peer may no longer have is not sent.
            match entered.tpp_session.still_here().await {
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
    _open_request: Option<OpenRequest>,
    _counted: Option<GaugeGuard>,
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

struct Entered {
    state: web::Data<Xs2a>,
    context: RequestContext,
    tpp_session: AuthenticatedTpp,
}

/// Authenticates the TPP.
async fn authenticate(
    request: &ServiceRequest,
    open_request: Option<&mut OpenRequest>,
) -> Result<AuthenticatedTpp, Rejection> {
    // Both are set when the server starts, for every request alike.
    match (request.app_data::<web::Data<Xs2a>>(), open_request) {
        (Some(state), Some(open_request)) => {
            AuthenticatedTpp::of(request, state, open_request).await
        }
        _ => Err(Rejection::ending(ApiError::internal())),
    }
}

/// The checks, in order: the cheapest and the most important first.
fn authorize(
    request: &ServiceRequest,
    tpp_session: AuthenticatedTpp,
    permit: Option<Arc<RequestPermit>>,
) -> Result<Entered, ApiError> {
    let state = request
        .app_data::<web::Data<Xs2a>>()
        .ok_or_else(ApiError::internal)?;
    let permit = permit.ok_or_else(ApiError::too_many_requests)?;
    if !tpp_session.tpp.has(Role::AccountInformation) {
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
    let context = RequestContext {
        tpp: Arc::clone(&tpp_session.tpp),
        request_id,
        receiving: Rc::default(),
        permit,
    };
    Ok(Entered {
        state: state.clone(),
        context,
        tpp_session,
    })
}

/// `X-Request-ID`: exactly one, a UUID.
fn request_id(headers: &HeaderMap) -> Result<Uuid, ApiError> {
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

/// Whether JSON is among what the TPP takes (RFC 9110, section 12.5.1). No header means everything.
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

/// The request is gone with the handler that was given up, so the answer is made without it.
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
