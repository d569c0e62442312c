//! Mutual-TLS listener: accepts TCP connections, performs the handshake and verifies the peer.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_http::Protocol;
use rustls_pki_types::CertificateDer;
use shared_types::pki::certificate::CertificateSummary;
use shared_types::pki::pkcs11::shake_hands;
use shared_types::pki::trust::Refusal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::connection::Connection;
use super::connection_registry::ConnectionRegistry;
use super::forwarded_peers::ForwardedPeers;
use super::policy::Policy;
use super::quota::{self, Quota};
use super::stream::MtlsStream;
use super::trust::Trust;
use super::verified_chain_cache::VerifiedPath;
use super::verifier::PeerVerifier;

/// Limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Time limit of the handshake.
    pub handshake: Duration,
    /// Time limit without a request.
    pub idle: Duration,
    /// Time limit for receiving a request, answering it and sending the response.
    pub response: Duration,
    /// Connections of one peer at a time.
    pub per_peer: usize,
    /// Requests of one peer at a time, over all its connections.
    pub requests_per_peer: usize,
    /// Bytes of the bodies of these requests together.
    pub body_bytes_per_peer: usize,
}

/// Accepts the connections of one listening socket.
pub struct MtlsListener<P: Policy> {
    pub(super) trust: Arc<Trust<P>>,
    /// The peers behind the gateways, at a listener for gateways.
    pub(super) forwarded_peers: Option<Arc<ForwardedPeers<P>>>,
    registry: ConnectionRegistry<P>,
    pub(super) quota: Quota,
    limits: ConnectionLimits,
    observer: Arc<dyn ConnectionObserver>,
    pub(super) draining: CancellationToken,
}

/// Observes accepted and rejected connections. The server's log is one observer; the sandbox and
/// tests have others.
pub trait ConnectionObserver: Send + Sync + 'static {
    /// A peer was rejected before any application data.
    fn connection_rejected(&self, peer: &RejectedConnection);

    /// A peer was accepted.
    fn connection_accepted(&self) {}
}

/// A connection that was rejected.
#[derive(Debug)]
pub struct RejectedConnection {
    /// The peer's address.
    pub address: SocketAddr,
    /// The certificate that the peer presented, if the handshake got that far.
    pub certificate: Option<CertificateSummary>,
    /// The reason.
    pub reason: RejectionReason,
}

/// The reason for rejecting a connection.
#[derive(Debug, thiserror::Error)]
pub enum RejectionReason {
    /// The certificate was refused, in the handshake or on resumption.
    #[error("certificate refused: {0}")]
    Refused(Refusal),
    /// The handshake failed for another reason; the peer may have refused *our* certificate.
    #[error("handshake failed: {0}")]
    Handshake(io::Error),
    /// The handshake took longer than allowed.
    #[error("handshake not finished within {} s", .0.as_secs_f32())]
    HandshakeTimeout(Duration),
    /// The revocation status was unknown and the OCSP responder did not answer in time.
    #[error("revocation status of the certificate unknown after {} s", .0.as_secs_f32())]
    StatusTimeout(Duration),
    /// The peer has more than twice its limit of connections.
    #[error("more than twice the allowed connections")]
    TooManyConnections,
    /// All peers together have reached the connection limit of the process.
    #[error("connection limit of the process reached")]
    ConnectionLimit,
}

/// Logs every rejected connection.
#[derive(Debug, Clone, Copy)]
pub struct LogRejectedConnections;

impl ConnectionObserver for LogRejectedConnections {
    fn connection_rejected(&self, peer: &RejectedConnection) {
        let certificate = peer.certificate.as_ref();
        tracing::warn!(
            peer = %peer.address,
            subject = certificate.map(|certificate| certificate.subject.as_str()),
            issuer = certificate.map(|certificate| certificate.issuer.as_str()),
            serial = certificate.map(|certificate| certificate.serial.as_str()),
            fingerprint = certificate.map(|certificate| certificate.fingerprint.as_str()),
            reason = %peer.reason,
            "peer rejected"
        );
    }
}

impl<P: Policy> MtlsListener<P> {
    /// A listener for peers that connect directly.
    pub fn new(
        trust: Arc<Trust<P>>,
        limits: ConnectionLimits,
        observer: Arc<dyn ConnectionObserver>,
    ) -> Self {
        Self {
            trust,
            forwarded_peers: None,
            registry: ConnectionRegistry(Mutex::default()),
            quota: Quota::new(quota::Limits {
                connections: limits.per_peer,
                requests: limits.requests_per_peer,
                body_bytes: limits.body_bytes_per_peer,
            }),
            limits,
            observer,
            draining: CancellationToken::new(),
        }
    }

    /// A second listener, for gateways that forward such peers, with a limit of connections for
    /// each gateway. A peer's requests count towards one limit at both listeners.
    #[must_use]
    pub fn for_gateways(&self, connections: usize) -> Self {
        let forwarded_peers = ForwardedPeers::new(Arc::clone(&self.trust), self.quota.clone());
        Self {
            trust: Arc::clone(&self.trust),
            forwarded_peers: Some(Arc::new(forwarded_peers)),
            registry: ConnectionRegistry(Mutex::default()),
            quota: Quota::new(quota::Limits {
                connections,
                requests: usize::MAX,
                body_bytes: usize::MAX,
            }),
            limits: self.limits,
            observer: Arc::clone(&self.observer),
            draining: self.draining.clone(),
        }
    }

    /// Re-evaluates every open connection when trust changes or time passes. Runs until it is
    /// dropped.
    pub async fn reevaluate_connections(self: Arc<Self>) {
        let reevaluation = self.registry.reevaluate_connections(&self.trust);
        let cache_invalidation = async {
            if let Some(forwarded_peers) = &self.forwarded_peers {
                forwarded_peers.invalidate_on_change().await;
            }
        };
        tokio::join!(reevaluation, cache_invalidation);
    }

    /// Starts the graceful shutdown of this listener and its gateway listener, and completes once
    /// no connection is open here. HTTP/2 peers receive a GOAWAY at once, HTTP/1.1 peers
    /// `Connection: close` with the next response. New connections are still served.
    pub async fn drain(&self) {
        self.draining.cancel();
        let mut tick = interval(Duration::from_millis(50));
        while self.registry.count() > 0 {
            tick.tick().await;
        }
    }

    /// Whether the graceful shutdown has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.registry.count()
    }

    /// Rejects a connection because all peers together have reached their limit.
    pub fn reject(&self, tcp: &TcpStream) {
        if let Ok(address) = tcp.peer_addr() {
            self.observer.connection_rejected(&RejectedConnection {
                address,
                certificate: None,
                reason: RejectionReason::ConnectionLimit,
            });
        }
    }

    /// Accepts or rejects one connection. Returns the input of an actix-http service; a server
    /// with another protocol needs the stream only.
    ///
    /// Cost: one mutual handshake, and for an accepted peer one more evaluation of its chain.
    pub async fn accept(
        &self,
        tcp: TcpStream,
    ) -> Option<(MtlsStream<P>, Protocol, Option<SocketAddr>)> {
        let address = tcp.peer_addr().ok()?;
        // Responses are small: waiting to fill a segment only adds latency. Failing to set this is
        // harmless.
        let _ = tcp.set_nodelay(true);
        let rejected = |certificate, reason| {
            self.observer.connection_rejected(&RejectedConnection {
                address,
                certificate,
                reason,
            });
        };
        let verifier = PeerVerifier::new(&self.trust, self.forwarded_peers.is_some());
        let own = self.trust.own_certificate();
        let acceptor = TlsAcceptor::from(verifier.tls_config(Arc::clone(&own)));
        let handshake = acceptor.accept(tcp).into_fallible();
        // A signature of a token would block the other connections of this worker.
        let threads = own.handshake_threads.as_ref();
        let handshake = shake_hands(threads, handshake.in_current_span());
        let tls = match timeout(self.limits.handshake, handshake).await {
            Ok(Ok(Ok(tls))) => tls,
            Ok(Err(panicked)) => {
                let failed = RejectionReason::Handshake(panicked.into());
                rejected(None, failed);
                return None;
            }
            Ok(Ok(Err((error, tcp)))) => {
                let (certificate, reason) = match verifier.refusal.get().cloned() {
                    Some((certificate, refusal)) => {
                        (Some(certificate), RejectionReason::Refused(refusal))
                    }
                    None => (None, rejection_reason(error)),
                };
                rejected(certificate, reason);
                linger(tcp, self.limits.handshake).await;
                return None;
            }
            Err(_) => {
                let late = RejectionReason::HandshakeTimeout(self.limits.handshake);
                rejected(None, late);
                return None;
            }
        };
        let session = tls.get_ref().1;
        let protocol = match session.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let chain = session.peer_certificates().unwrap_or_default().to_vec();
        let shown = chain.first().map(CertificateSummary::of);
        let path = verifier.path.get().cloned();
        match self.establish(address, chain, path).await {
            Ok((connection, limits)) => {
                self.observer.connection_accepted();
                let stream = MtlsStream::new(tls, protocol, connection, limits);
                Some((stream, protocol, Some(address)))
            }
            Err(reason) => {
                rejected(shown, reason);
                None
            }
        }
    }

    /// Establishes and registers the connection of a peer whose handshake has succeeded.
    async fn establish(
        &self,
        address: SocketAddr,
        chain: Vec<CertificateDer<'static>>,
        verified: Option<VerifiedPath>,
    ) -> Result<(Arc<Connection<P>>, ConnectionLimits), RejectionReason> {
        let mut limits = self.limits;
        let established = Connection::establish(address, chain, verified, self);
        // May query an OCSP responder, which has limits of its own besides this one.
        let connection = timeout(limits.handshake, established)
            .await
            .map_err(|_| RejectionReason::StatusTimeout(limits.handshake))?
            .map_err(RejectionReason::Refused)?;
        if connection.permit.is_far_over_limit() {
            return Err(RejectionReason::TooManyConnections);
        }
        // A peer over its limit receives an error response, and may not idle for long.
        if connection.is_over_limit() {
            limits.idle = limits.handshake;
        }
        let connection = Arc::new(connection);
        self.registry.add(&connection);
        // Trust may have changed between the verdict and the registration.
        let _ = connection.evaluate();
        Ok((connection, limits))
    }
}

/// Unwraps the error of rustls: a missing certificate is a refusal like others.
fn rejection_reason(error: io::Error) -> RejectionReason {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::NoCertificatesPresented) => {
            RejectionReason::Refused(Refusal::NoCertificate)
        }
        _ => RejectionReason::Handshake(error),
    }
}

/// Lingering close: an alert has been sent. Closing while the peer still sends would reset the
/// connection, and the reset would overtake the alert. So this stops sending and drains the input,
/// up to a time and size limit.
async fn linger(mut tcp: TcpStream, limit: Duration) {
    const MAX_BYTES: u64 = 64 * 1024;

    if tcp.shutdown().await.is_ok() {
        let mut rest = (&mut tcp).take(MAX_BYTES);
        let _ = timeout(limit, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
