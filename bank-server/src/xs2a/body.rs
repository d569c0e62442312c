//! Reader of a request body: content type, size, JSON.

use actix_web::HttpRequest;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures::StreamExt as _;

use super::consent_access::single;
use super::error::{ApiError, Result};
use super::middleware::RequestContext;

/// Receives the body: `application/json`, not compressed, at most `limit` bytes. They count towards
/// the limit of the organisation until the request ends.
pub(super) async fn receive(
    request: &HttpRequest,
    mut payload: Payload,
    context: &RequestContext,
    limit: usize,
) -> Result<Bytes> {
    let media_type = single(request, "Content-Type")?.unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::media_type(
            "Content-Type",
            "the body must be application/json",
        ));
    }
    let encoding = single(request, "Content-Encoding")?;
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(ApiError::media_type(
            "Content-Encoding",
            "the body must not be compressed",
        ));
    }
    context.receiving.set(true);
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| ApiError::format(".", "the body did not arrive whole"))?;
        if body.len() + chunk.len() > limit {
            return Err(ApiError::body_too_large(limit));
        }
        if !context.permit.add_body_bytes(chunk.len()) {
            return Err(ApiError::too_many_body_bytes());
        }
        body.extend_from_slice(&chunk);
    }
    context.receiving.set(false);
    Ok(body.freeze())
}
