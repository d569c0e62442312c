//! Authentication of the TPP: the peer of the connection, or the peer whose certificate the gateway
//! forwards.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::dev::ServiceRequest;
use shared_types::pki::certificate::CertificateSummary;

use super::Xs2a;
use super::error::{ApiError, Result};
use crate::identity::{Licences, Tpp, TppRejection};
use crate::transport::certificate_header::unexpected;
use crate::transport::policy::PeerRejection;
use crate::transport::{connection, forwarded_peers};

pub(super) type Connection = connection::Connection<Licences>;
pub(super) type OpenRequest = connection::OpenRequest<Licences>;
type ForwardedPeers = forwarded_peers::ForwardedPeers<Licences>;
type ForwardedPeer = forwarded_peers::ForwardedPeer<Licences>;

/// Authenticated TPP. Cheap to clone.
#[derive(Clone)]
pub(super) struct AuthenticatedTpp {
    pub(super) tpp: Arc<Tpp>,
    connection: Arc<Connection>,
    forwarded: Option<Arc<ForwardedPeer>>,
}

/// Error of a request before it reaches a resource, and whether its connection ends with the
/// response. The connection of a gateway does not end for one of its peers.
pub(super) struct Rejection {
    pub(super) error: ApiError,
    close: bool,
}

impl AuthenticatedTpp {
    /// Authenticates the TPP. Fails if its certificate is not trusted.
    pub(super) async fn of(
        request: &ServiceRequest,
        state: &Xs2a,
        open_request: &mut OpenRequest,
    ) -> Result<Self, Rejection> {
        let connection = Arc::clone(open_request.connection());
        let (tpp, forwarded) = match connection.evaluate() {
            Err(end) => return Err(connection_rejected(&connection, &end)),
            Ok(connection::PeerKind::Peer(tpp)) => {
                check_direct_peer(request, state, &connection).map_err(Rejection::ending)?;
                (tpp, None)
            }
            Ok(connection::PeerKind::Gateway(forwarded_peers)) => {
                if connection.is_over_limit() {
                    tracing::warn!(gateway = %connection.address, certificate = %connection.certificate, "gateway exceeds its connection limit");
                    return Err(Rejection::ending(ApiError::gateway()));
                }
                let (tpp, forwarded) =
                    authenticate_forwarded(&forwarded_peers, request, state, &connection).await?;
                open_request.count_towards(&forwarded, &tpp);
                (tpp, Some(forwarded))
            }
        };
        Ok(Self {
            tpp,
            connection,
            forwarded,
        })
    }

    /// Fails if the certificate is no longer trusted.
    pub(super) async fn check_trust(&self) -> Result<(), Rejection> {
        if let Err(end) = self.connection.evaluate() {
            return Err(connection_rejected(&self.connection, &end));
        }
        let Some(forwarded) = &self.forwarded else {
            return Ok(());
        };
        let judged = forwarded.evaluate().await;
        judged
            .map(drop)
            .map_err(|end| forwarded_rejected(&self.connection, forwarded, &end))
    }

    /// Ready once the connection has lost trust.
    pub(super) async fn trust_lost(&self) {
        self.connection.trust_lost().await;
    }

    /// Certificate that the gateway has forwarded.
    pub(super) fn forwarded(&self) -> Option<&CertificateSummary> {
        self.forwarded
            .as_ref()
            .map(|forwarded| &forwarded.certificate)
    }
}

impl Rejection {
    /// Rejection that ends the connection.
    pub(super) fn ending(error: ApiError) -> Self {
        Self { error, close: true }
    }

    pub(super) fn respond(&self) -> HttpResponse {
        if self.close {
            closing(&self.error)
        } else {
            self.error.respond()
        }
    }
}

impl From<ApiError> for Rejection {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            close: false,
        }
    }
}

/// Response that ends the connection.
pub(super) fn closing(error: &ApiError) -> HttpResponse {
    let mut answer = error.respond();
    answer
        .head_mut()
        .set_connection_type(actix_web::http::ConnectionType::Close);
    answer
}

/// Checks of a peer that connects directly.
fn check_direct_peer(
    request: &ServiceRequest,
    state: &Xs2a,
    connection: &Connection,
) -> Result<()> {
    check_size(request, state)?;
    // Only gateways may send these headers.
    if let Some(name) = unexpected(request.headers(), state.certificate_header.as_ref(), false) {
        tracing::warn!(peer = %connection.address, certificate = %connection.certificate, header = %name, "certificate header from a peer that is no gateway");
        return Err(ApiError::format(
            name.as_str(),
            "certificates are not taken from headers here",
        ));
    }
    if connection.is_over_limit() {
        return Err(ApiError::too_many_connections());
    }
    Ok(())
}

/// Authenticates the TPP behind a gateway.
///
/// Cost: decoding of the header, one digest and one look-up. No signature is verified while the
/// verdict on the same chain is cached.
async fn authenticate_forwarded(
    forwarded_peers: &ForwardedPeers,
    request: &ServiceRequest,
    state: &Xs2a,
    gateway: &Connection,
) -> Result<(Arc<Tpp>, Arc<ForwardedPeer>), Rejection> {
    check_size(request, state)?;
    // Only with a listener for gateways are there any.
    let header = state
        .certificate_header
        .as_ref()
        .ok_or_else(ApiError::gateway)?;
    if let Some(name) = unexpected(request.headers(), Some(header), true) {
        tracing::warn!(gateway = %gateway.address, header = %name, "gateway passes on a certificate header of its peer");
        return Err(ApiError::format(
            name.as_str(),
            "certificates are not taken from this header here",
        )
        .into());
    }
    let read = header.read(request.headers()).map_err(|malformed| {
        tracing::warn!(gateway = %gateway.address, %malformed, "forwarded certificate malformed");
        ApiError::format(malformed.header.as_str(), malformed.problem.to_string())
    })?;
    let chain = read.ok_or_else(ApiError::no_certificate)?;
    let leaf = chain.first().map(CertificateSummary::of);
    let forwarded = forwarded_peers.peer(chain).await.map_err(|refusal| {
        tracing::warn!(gateway = %gateway.address, certificate = leaf.map(tracing::field::display), reason = %refusal, "forwarded peer rejected");
        ApiError::peer_rejected(&PeerRejection::Untrusted(refusal))
    })?;
    let tpp = forwarded
        .evaluate()
        .await
        .map_err(|end| forwarded_rejected(gateway, &forwarded, &end))?;
    Ok((tpp, forwarded))
}

/// Rejection of the forwarded peer, not of the gateway.
fn forwarded_rejected(
    gateway: &Connection,
    forwarded: &ForwardedPeer,
    end: &PeerRejection<TppRejection>,
) -> Rejection {
    tracing::warn!(gateway = %gateway.address, certificate = %forwarded.certificate, reason = %end, "forwarded peer rejected");
    ApiError::peer_rejected(end).into()
}

/// Rejection of a connection that has lost trust. If it is a gateway's, the forwarded peer gets a
/// neutral error.
fn connection_rejected(connection: &Connection, end: &PeerRejection<TppRejection>) -> Rejection {
    Rejection::ending(if connection.is_gateway() {
        ApiError::gateway()
    } else {
        connection.mark_notified();
        ApiError::peer_rejected(end)
    })
}

fn check_size(request: &ServiceRequest, state: &Xs2a) -> Result<()> {
    let fields: usize = request
        .headers()
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let target = request.uri().path_and_query();
    let size = fields + target.map_or(0, |target| target.as_str().len());
    if size > state.limits.max_header_bytes {
        return Err(ApiError::headers_too_large(state.limits.max_header_bytes));
    }
    Ok(())
}
