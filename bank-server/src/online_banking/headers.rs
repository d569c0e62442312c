//! Middleware around all pages: host and origin checks, session, timeout, and the security headers
//! of the response.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use actix_http::ConnectionType;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ALLOW, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, ORIGIN, SET_COOKIE,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpResponse, ResponseError, web};
use tokio::time::timeout;
use tracing::{Instrument as _, info_span};

use super::client_address::NoAddress;
use super::problem::Problem;
use super::session::Visit;
use super::{OnlineBanking, assets};
use crate::http::{NotAHost, has_zero_byte, named_host};
use crate::telemetry::spans::{answered, rename};

/// Content security policy: our own resources and forms alone, and for one page the origin to which
/// its form redirects.
pub(super) fn content_security_policy(leads_to: Option<&str>) -> String {
    let also = leads_to.map(|origin| format!(" {origin}"));
    let also = also.unwrap_or_default();
    format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
         form-action 'self'{also}; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// The middleware.
pub(crate) async fn frame(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(state) = request.app_data::<web::Data<OnlineBanking>>().cloned() else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    let method = request.method().clone();
    let is_asset = request.path().starts_with(assets::FOLDER);
    let span = info_span!(
        "page",
        otel.kind = "server",
        http.request.method = %method,
    );
    let mut response = match (client(&request, &state), is_ours(&request, &state)) {
        (Err(error), _) => {
            let proxy = request.peer_addr();
            tracing::warn!(
                ?proxy,
                %error,
                "online banking: proxied request without a usable client address refused"
            );
            let text = state.texts.frame.no_address;
            bare(request, StatusCode::BAD_REQUEST, text)
        }
        (_, Err(error)) => bare(
            request,
            StatusCode::BAD_REQUEST,
            &format!("Host: {error}\n"),
        ),
        (_, Ok(false)) => {
            let text = state.texts.frame.misdirected;
            let text = state.texts.fill(text, &[("origin", &state.origin.text())]);
            bare(request, StatusCode::MISDIRECTED_REQUEST, &text)
        }
        (Ok(client), Ok(true)) => {
            let visit = async {
                match visit(&request, &state, client).await {
                    Ok(visit) => answer(request, next, visit).await,
                    Err(problem) => {
                        let page = problem.respond(&Visit::anonymous(&state, client));
                        Ok(request.into_response(page))
                    }
                }
            };
            visit.instrument(span.clone()).await?
        }
    };
    let is_asset = is_asset && response.status().is_success();
    protect(response.headers_mut(), &state, is_asset);
    // The pattern, not the path, because paths hold ids. The customer is not logged.
    let pattern = response.request().match_pattern();
    let pattern = pattern.as_deref();
    // A metric needs a bounded set of methods.
    let is_known = [Method::GET, Method::HEAD, Method::POST].contains(&method);
    let operation = format!(
        "{} {}",
        if is_known { method.as_str() } else { "OTHER" },
        pattern.unwrap_or("unmatched")
    );
    answered(&span, pattern, response.status().as_u16());
    state
        .request_metrics
        .page(&operation, response.status().as_u16());
    rename(&span, operation);
    tracing::info!(
        method = %method,
        page = pattern,
        status = response.status().as_u16(),
        "online banking"
    );
    Ok(response)
}

/// Plain-text response.
fn bare(request: ServiceRequest, status: StatusCode, text: &str) -> ServiceResponse<BoxBody> {
    let answer = HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .body(text.to_owned());
    request.into_response(answer)
}

/// The address of the browser that sent the request.
fn client(request: &ServiceRequest, state: &OnlineBanking) -> Result<IpAddr, NoAddress> {
    // Without a socket, in a test, there is none.
    let peer = request.peer_addr().map(|address| address.ip());
    let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    state.proxies.client(peer, request.headers())
}

/// Whether the request is for the configured host. Another one can be an attacker's name for our
/// address (DNS rebinding).
fn is_ours(request: &ServiceRequest, state: &OnlineBanking) -> Result<bool, NotAHost> {
    let named = named_host(request.head())?;
    Ok(named.is_some_and(|host| host.eq_ignore_ascii_case(&state.origin.authority())))
}

async fn visit(
    request: &ServiceRequest,
    state: &web::Data<OnlineBanking>,
    client: IpAddr,
) -> Result<Rc<Visit>, Problem> {
    let headers = request.headers();
    let size: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if size > state.limits.max_header_bytes {
        return Err(Problem::headers_too_large());
    }
    if has_zero_byte(request.uri()) {
        return Err(Problem::not_found());
    }
    if request.path().starts_with(assets::FOLDER) {
        return Ok(Rc::new(Visit::anonymous(state, client)));
    }
    Ok(Rc::new(Visit::of(state, headers, client).await?))
}

async fn answer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    visit: Rc<Visit>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let is_asset = request.path().starts_with(assets::FOLDER);
    let mut response = if let Err(problem) = same_origin(&request, &visit.state) {
        request.into_response(problem.respond(&visit))
    } else {
        request.extensions_mut().insert(Rc::clone(&visit));
        let Ok(answer) = timeout(visit.state.limits.request_timeout(), next.call(request)).await
        else {
            return Err(TimedOut(visit).into());
        };
        with_page(answer?.map_into_boxed_body(), &visit)
    };
    if !is_asset {
        set_cookies(response.headers_mut(), &visit);
    }
    Ok(response)
}

fn set_cookies(headers: &mut HeaderMap, visit: &Visit) {
    for line in visit.cookies() {
        // Our own names, base64 and hexadecimal digits are always valid.
        if let Ok(line) = HeaderValue::from_str(&line) {
            headers.append(SET_COOKIE, line);
        }
    }
}

/// Checks the origin of a form by the headers that browsers send. Without them, the form's token
/// alone decides.
fn same_origin(request: &ServiceRequest, state: &OnlineBanking) -> Result<(), Problem> {
    const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

    if request.method().is_safe() {
        return Ok(());
    }
    let headers = request.headers();
    let origin = headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    let foreign = origin.is_some_and(|origin| origin != state.origin.text().as_bytes())
        || site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"));
    if foreign {
        return Err(Problem::foreign_origin());
    }
    Ok(())
}

/// Renders the page of an error.
fn with_page(response: ServiceResponse<BoxBody>, visit: &Visit) -> ServiceResponse<BoxBody> {
    let error = response.response().error();
    let page = match error.map(|error| error.as_error::<Problem>()) {
        Some(Some(problem)) => problem.respond(visit),
        // Errors of actix-web itself: a malformed path or query.
        Some(None) if response.status().is_client_error() => Problem::not_found().respond(visit),
        Some(None) => Problem::failed().respond(visit),
        None => match response.status() {
            StatusCode::NOT_FOUND => Problem::not_found().respond(visit),
            StatusCode::METHOD_NOT_ALLOWED => {
                let mut page = Problem::wrong_method().respond(visit);
                if let Some(allow) = response.headers().get(ALLOW) {
                    page.headers_mut().insert(ALLOW, allow.clone());
                }
                page
            }
            _ => return response,
        },
    };
    response.into_response(page)
}

/// Timeout of a request. The request itself was dropped with its handler.
struct TimedOut(Rc<Visit>);

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request timed out")
    }
}

impl ResponseError for TimedOut {
    fn status_code(&self) -> StatusCode {
        Problem::too_slow().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let Self(visit) = self;
        let mut response = Problem::too_slow().respond(visit);
        protect(response.headers_mut(), &visit.state, false);
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
        response
    }
}

fn protect(headers: &mut HeaderMap, state: &OnlineBanking, is_asset: bool) {
    let is_https = state.origin.is_https();
    for (is_set, name, value) in [
        (true, "x-content-type-options", "nosniff"),
        (true, "x-frame-options", "DENY"),
        // Other sites get no referrer. With `no-referrer`, our own forms would have no origin.
        (true, "referrer-policy", "same-origin"),
        (true, "cross-origin-opener-policy", "same-origin"),
        (true, "cross-origin-resource-policy", "same-origin"),
        (true, "permissions-policy", PERMISSIONS),
        (
            is_https,
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        ),
        (!is_asset, "cache-control", "no-store"),
    ] {
        if is_set {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
    }
    if !headers.contains_key(CONTENT_SECURITY_POLICY)
        && let Ok(policy) = HeaderValue::from_str(&content_security_policy(None))
    {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
}

/// Browser features that the pages may use.
const PERMISSIONS: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=(), \
    publickey-credentials-get=(self), publickey-credentials-create=(self)";
